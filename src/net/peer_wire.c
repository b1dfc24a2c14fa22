/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_wire.c: encoding and decoding of frames between nodes; format, rules and invariants are in
 * peer_wire.h. What a MESSAGE body means is src/raft/message.c's business, who may connect is
 * peer_handshake.c's.
 */
#include "peer_wire.h"

#include <endian.h>
#include <string.h>

/* An idle decoder keeps no more than this, so that one large append does not cost memory for ever. */
#define DECODER_KEEP_BYTES ((size_t)1 << 20)

_Static_assert(PEER_FRAME_BYTES_MAX <= UINT32_MAX, "a frame's length is a u32");
_Static_assert(PEER_HELLO_FRAME_BYTES_MAX >
                   PEER_FRAME_HEADER_BYTES + 64 + 3 * (4 + (size_t)MEMBER_NAME_MAX),
               "the longest greeting fits the first frame's limit");
_Static_assert(PEER_HELLO_FRAME_BYTES_MAX > PEER_FRAME_HEADER_BYTES + 8 + PEER_SENTENCE_MAX,
               "the longest refusal fits the first frame's limit");

/*
 * Error numbers on the wire are part of the protocol and stay; enum err is ours and may be
 * reordered.
 */
static const struct {
    uint32_t wire;
    enum err error;
} refusal_codes[] = {
    {1, ERR_PROTOCOL},       {2, ERR_VERSION},  {3, ERR_CLUSTER_MISMATCH}, {4, ERR_ADDRESS},
    {5, ERR_UNKNOWN_MEMBER}, {6, ERR_IDENTITY}, {7, ERR_NOT_FOUNDED},
};

static uint32_t refusal_code_wire(enum err error)
{
    for (size_t i = 0; i < ARRAY_COUNT(refusal_codes); i++) {
        if (refusal_codes[i].error == error) {
            return refusal_codes[i].wire;
        }
    }
    return refusal_codes[0].wire;
}

static enum err refusal_code_error(uint32_t wire)
{
    for (size_t i = 0; i < ARRAY_COUNT(refusal_codes); i++) {
        if (refusal_codes[i].wire == wire) {
            return refusal_codes[i].error;
        }
    }
    return ERR_PROTOCOL;
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void put_u32(uint8_t *at, uint32_t value)
{
    uint32_t wire = htole32(value);
    memcpy(at, &wire, sizeof(wire));
}

enum { HELLO_EMPTY = 1, HELLO_BOOTSTRAP = 2 };

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t wire = 0;
    memcpy(&wire, at, sizeof(wire));
    return le32toh(wire);
}

size_t peer_frame_begin(struct buffer *out, enum peer_frame_type type, uint32_t group)
{
    size_t begin = out->size;
    buffer_u32(out, 0);
    buffer_u32(out, 0);
    buffer_u8(out, (uint8_t)type);
    buffer_u8(out, 0);
    buffer_u16(out, 0);
    buffer_u32(out, group);
    return begin;
}

enum err peer_frame_end(struct buffer *out, size_t begin)
{
    ASSERT(out->size >= begin + PEER_FRAME_HEADER_BYTES);
    size_t size = out->size - begin;
    if (size > PEER_FRAME_BYTES_MAX) {
        out->size = begin;
        return ERR_TOO_LARGE;
    }
    uint8_t *frame = out->data + begin;
    size_t covered = size - (PEER_FRAME_HEADER_BYTES - PEER_FRAME_COVERED_BYTES);
    put_u32(frame, (uint32_t)covered);
    put_u32(frame + 4, checksum32(view_of(frame + 8, covered)));
    return OK;
}

void peer_greeting_encode(enum peer_frame_type type, const struct peer_greeting *greeting,
                          struct buffer *out)
{
    const struct peer_hello *hello = &greeting->hello;
    size_t begin = peer_frame_begin(out, type, 0);
    buffer_u32(out, PEER_WIRE_MAGIC);
    buffer_u16(out, greeting->version_least);
    buffer_u16(out, greeting->version_most);
    buffer_u64(out, hello->cluster_id);
    buffer_u64(out, hello->member_id);
    buffer_u64(out, hello->boot_id);
    buffer_u64(out, hello->boot_number);
    buffer_u64(out, hello->list_digest);
    buffer_u8(out, (uint8_t)((hello->empty ? HELLO_EMPTY : 0) |
                             (hello->bootstrap ? HELLO_BOOTSTRAP : 0)));
    buffer_view(out, view_of_text(hello->cluster));
    buffer_view(out, view_of_text(hello->name));
    buffer_view(out, view_of_text(greeting->target));
    buffer_view(out, view_of_text(hello->peer));
    buffer_view(out, view_of_text(hello->client));
    enum err error = peer_frame_end(out, begin);
    ASSERT(error == OK);
}

void peer_refusal_encode(const struct peer_refusal *refusal, struct buffer *out)
{
    size_t begin = peer_frame_begin(out, PEER_FRAME_REFUSED, 0);
    buffer_u32(out, refusal_code_wire(refusal->error));
    buffer_view(out, view_of_text(refusal->sentence));
    enum err error = peer_frame_end(out, begin);
    ASSERT(error == OK);
}

/* ---- reading bodies ---------------------------------------------------------------------------- */

static bool is_control(uint8_t octet)
{
    return octet < 0x20 || octet == 0x7f;
}

/* A text of least .. most octets without control characters, terminated in `out`. */
static bool read_text(struct reader *in, size_t least, size_t most, char *out)
{
    struct view name = reader_view(in);
    if (in->failed || name.size < least || name.size > most) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (is_control(name.data[i])) {
            return false;
        }
    }
    if (name.size > 0) {
        memcpy(out, name.data, name.size);
    }
    out[name.size] = '\0';
    return true;
}

static bool read_name(struct reader *in, char *out)
{
    return read_text(in, 1, MEMBER_NAME_MAX, out);
}

enum err peer_greeting_decode(struct view body, struct peer_greeting *out)
{
    struct reader in = {.data = body.data, .size = body.size, .failed = false};
    struct peer_greeting read = {0};
    uint32_t magic = reader_u32(&in);
    if (in.failed) {
        return ERR_TRUNCATED;
    }
    if (magic != PEER_WIRE_MAGIC) {
        return ERR_PROTOCOL;
    }
    read.version_least = reader_u16(&in);
    read.version_most = reader_u16(&in);
    read.hello.cluster_id = reader_u64(&in);
    read.hello.member_id = reader_u64(&in);
    read.hello.boot_id = reader_u64(&in);
    read.hello.boot_number = reader_u64(&in);
    read.hello.list_digest = reader_u64(&in);
    uint8_t flags = reader_u8(&in);
    bool names = read_name(&in, read.hello.cluster) && read_name(&in, read.hello.name) &&
                 read_text(&in, 0, MEMBER_NAME_MAX, read.target) &&
                 read_text(&in, 0, MEMBER_ADDRESS_MAX, read.hello.peer) &&
                 read_text(&in, 0, MEMBER_ADDRESS_MAX, read.hello.client);
    if (in.failed) {
        return ERR_TRUNCATED;
    }
    if (!names || flags > (HELLO_EMPTY | HELLO_BOOTSTRAP) || read.version_least == 0 ||
        read.version_least > read.version_most || read.hello.member_id == 0) {
        return ERR_MALFORMED;
    }
    read.hello.empty = (flags & HELLO_EMPTY) != 0;
    read.hello.bootstrap = (flags & HELLO_BOOTSTRAP) != 0;
    *out = read;
    return OK;
}

enum err peer_refusal_decode(struct view body, struct peer_refusal *out)
{
    struct reader in = {.data = body.data, .size = body.size, .failed = false};
    uint32_t code = reader_u32(&in);
    struct view sentence = reader_view(&in);
    if (in.failed) {
        return ERR_TRUNCATED;
    }
    size_t size = sentence.size < PEER_SENTENCE_MAX ? sentence.size : PEER_SENTENCE_MAX;
    memset(out, 0, sizeof(*out));
    out->error = refusal_code_error(code);
    for (size_t i = 0; i < size; i++) {
        /* A quotation mark would end the quoted value of a log line. */
        bool harmless = !is_control(sentence.data[i]) && sentence.data[i] != '"';
        out->sentence[i] = harmless ? (char)sentence.data[i] : '?';
    }
    return OK;
}

/* ---- the incremental decoder ------------------------------------------------------------------- */

void peer_decoder_init(struct peer_decoder *d, size_t frame_bytes_max)
{
    ASSERT(frame_bytes_max >= PEER_FRAME_HEADER_BYTES);
    ASSERT(frame_bytes_max <= PEER_FRAME_BYTES_MAX);
    *d = (struct peer_decoder){.frame_bytes_max = frame_bytes_max, .failed = OK};
}

void peer_decoder_free(struct peer_decoder *d)
{
    buffer_free(&d->in);
    d->start = 0;
}

uint8_t *peer_decoder_room(struct peer_decoder *d, size_t size)
{
    if (d->start > 0) {
        /* Only the rest of one frame is moved, and only after whole frames were taken out. */
        buffer_consume(&d->in, d->start);
        d->start = 0;
        if (d->in.size == 0 && d->in.capacity > DECODER_KEEP_BYTES) {
            buffer_free(&d->in);
        }
    }
    return buffer_extend(&d->in, size);
}

void peer_decoder_fed(struct peer_decoder *d, size_t room_size, size_t came)
{
    ASSERT(came <= room_size);
    ASSERT(d->in.size >= room_size);
    d->in.size -= room_size - came;
}

void peer_decoder_feed(struct peer_decoder *d, struct view octets)
{
    if (octets.size > 0) {
        memcpy(peer_decoder_room(d, octets.size), octets.data, octets.size);
    }
}

static bool type_known(uint8_t type)
{
    return type >= PEER_FRAME_HELLO && type <= PEER_FRAME_HELLO_UPDATE;
}

enum err peer_decoder_next(struct peer_decoder *d, struct peer_frame *out, bool *have)
{
    *have = false;
    if (d->failed != OK) {
        return d->failed;
    }
    struct view rest = peer_decoder_rest(d);
    if (rest.size < 4) {
        return OK;
    }
    /* Refuse a bad length as soon as it is there: nobody is waited for to send the rest of it. */
    size_t covered = get_u32(rest.data);
    size_t uncovered = PEER_FRAME_HEADER_BYTES - PEER_FRAME_COVERED_BYTES;
    if (covered < PEER_FRAME_COVERED_BYTES) {
        d->failed = ERR_MALFORMED;
        return d->failed;
    }
    if (covered > d->frame_bytes_max - uncovered) {
        d->failed = ERR_TOO_LARGE;
        return d->failed;
    }
    if (rest.size < uncovered + covered) {
        return OK;
    }
    if (get_u32(rest.data + 4) != checksum32(view_of(rest.data + uncovered, covered))) {
        d->failed = ERR_CHECKSUM;
        return d->failed;
    }
    uint8_t type = rest.data[8];
    if (rest.data[9] != 0 || rest.data[10] != 0 || rest.data[11] != 0) {
        d->failed = ERR_MALFORMED;
        return d->failed;
    }
    if (!type_known(type)) {
        d->failed = ERR_PROTOCOL;
        return d->failed;
    }
    out->type = (enum peer_frame_type)type;
    out->group = get_u32(rest.data + 12);
    out->body = view_of(rest.data + PEER_FRAME_HEADER_BYTES, covered - PEER_FRAME_COVERED_BYTES);
    d->start += uncovered + covered;
    *have = true;
    return OK;
}

struct view peer_decoder_rest(const struct peer_decoder *d)
{
    if (d->in.size == d->start) {
        return view_of(NULL, 0);
    }
    return view_of(d->in.data + d->start, d->in.size - d->start);
}
