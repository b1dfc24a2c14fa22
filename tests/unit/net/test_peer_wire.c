/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_peer_wire.c: shows that what one node writes another reads, however the octets are cut, and
 * that nothing else gets through: flipped bits, cut frames, lengths that lie, other protocols, names
 * that would forge log lines. (src/net/peer_wire.h)
 */
#include "net/peer_wire.h"
#include "suite.h"

#include "raft.h"

static struct peer_greeting some_greeting(void)
{
    struct peer_greeting g = {.version_least = 1, .version_most = 3};
    strcpy(g.hello.cluster, "prod");
    strcpy(g.hello.name, "n1");
    strcpy(g.target, "n2");
    g.hello.member_id = UINT64_C(0x1122334455667788);
    g.hello.cluster_id = 7;
    g.hello.boot_id = UINT64_MAX;
    g.hello.boot_number = 12;
    g.hello.list_digest = 99;
    g.hello.empty = true;
    return g;
}

static void assert_greeting_equal(const struct peer_greeting *a, const struct peer_greeting *b)
{
    CU_ASSERT_EQUAL(a->version_least, b->version_least);
    CU_ASSERT_EQUAL(a->version_most, b->version_most);
    CU_ASSERT_STRING_EQUAL(a->hello.cluster, b->hello.cluster);
    CU_ASSERT_STRING_EQUAL(a->hello.name, b->hello.name);
    CU_ASSERT_STRING_EQUAL(a->target, b->target);
    CU_ASSERT_EQUAL(a->hello.member_id, b->hello.member_id);
    CU_ASSERT_EQUAL(a->hello.cluster_id, b->hello.cluster_id);
    CU_ASSERT_EQUAL(a->hello.boot_id, b->hello.boot_id);
    CU_ASSERT_EQUAL(a->hello.boot_number, b->hello.boot_number);
    CU_ASSERT_EQUAL(a->hello.list_digest, b->hello.list_digest);
    CU_ASSERT_EQUAL(a->hello.empty, b->hello.empty);
}

static struct peer_decoder decoder_of(size_t frame_bytes_max, struct view octets)
{
    struct peer_decoder d;
    peer_decoder_init(&d, frame_bytes_max);
    peer_decoder_feed(&d, octets);
    return d;
}

/* The error the decoder ends with on these octets, or OK if it waits for more or gives a frame. */
static enum err error_of(size_t frame_bytes_max, struct view octets)
{
    struct peer_decoder d = decoder_of(frame_bytes_max, octets);
    struct peer_frame frame;
    bool have = false;
    enum err error = peer_decoder_next(&d, &frame, &have);
    if (error != OK) {
        /* An error stays, whatever comes behind it. */
        uint8_t more[64] = {0};
        peer_decoder_feed(&d, view_of(more, sizeof(more)));
        CU_ASSERT_EQUAL(peer_decoder_next(&d, &frame, &have), error);
        CU_ASSERT_FALSE(have);
    }
    peer_decoder_free(&d);
    return error;
}

static struct buffer frame_of(const void *body, size_t size)
{
    struct buffer out = {0};
    size_t begin = peer_frame_begin(&out, PEER_FRAME_MESSAGE, 5);
    buffer_append(&out, body, size);
    CU_ASSERT_EQUAL_FATAL(peer_frame_end(&out, begin), OK);
    return out;
}

static void put_u32_at(struct buffer *b, size_t at, uint32_t value)
{
    for (size_t i = 0; i < 4; i++) {
        b->data[at + i] = (uint8_t)(value >> (8 * i));
    }
}

/* ---- round trips -------------------------------------------------------------------------------- */

static void greeting_round_trip(void)
{
    static const enum peer_frame_type types[] = {PEER_FRAME_HELLO, PEER_FRAME_WELCOME,
                                                 PEER_FRAME_HELLO_UPDATE};
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct peer_greeting sent = some_greeting(), got;
        struct buffer out = {0};
        peer_greeting_encode(types[i], &sent, &out);
        struct peer_decoder d = decoder_of(PEER_HELLO_FRAME_BYTES_MAX, view_of(out.data, out.size));
        struct peer_frame frame;
        bool have = false;
        CU_ASSERT_EQUAL_FATAL(peer_decoder_next(&d, &frame, &have), OK);
        CU_ASSERT_TRUE_FATAL(have);
        CU_ASSERT_EQUAL(frame.type, types[i]);
        CU_ASSERT_EQUAL(frame.group, 0);
        CU_ASSERT_EQUAL_FATAL(peer_greeting_decode(frame.body, &got), OK);
        assert_greeting_equal(&sent, &got);
        CU_ASSERT_EQUAL(peer_decoder_rest(&d).size, 0);
        peer_decoder_free(&d);
        buffer_free(&out);
    }
}

/* The longest names fit the first frame's limit. */
static void longest_greeting_fits(void)
{
    struct peer_greeting sent = some_greeting(), got;
    memset(sent.hello.cluster, 'c', MEMBER_NAME_MAX);
    memset(sent.hello.name, 'n', MEMBER_NAME_MAX);
    memset(sent.target, 't', MEMBER_NAME_MAX);
    struct buffer out = {0};
    peer_greeting_encode(PEER_FRAME_HELLO, &sent, &out);
    CU_ASSERT(out.size <= PEER_HELLO_FRAME_BYTES_MAX);
    CU_ASSERT_EQUAL_FATAL(
        peer_greeting_decode(
            view_of(out.data + PEER_FRAME_HEADER_BYTES, out.size - PEER_FRAME_HEADER_BYTES), &got),
        OK);
    assert_greeting_equal(&sent, &got);
    buffer_free(&out);
}

static void refusal_round_trip(void)
{
    static const enum err errors[] = {ERR_PROTOCOL,   ERR_VERSION,        ERR_CLUSTER_MISMATCH,
                                      ERR_ADDRESS,    ERR_UNKNOWN_MEMBER, ERR_IDENTITY,
                                      ERR_NOT_FOUNDED};
    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        struct peer_refusal sent = {.error = errors[i]}, got;
        memset(sent.sentence, 'x', PEER_SENTENCE_MAX);
        struct buffer out = {0};
        peer_refusal_encode(&sent, &out);
        CU_ASSERT(out.size <= PEER_HELLO_FRAME_BYTES_MAX);
        CU_ASSERT_EQUAL_FATAL(peer_refusal_decode(view_of(out.data + PEER_FRAME_HEADER_BYTES,
                                                          out.size - PEER_FRAME_HEADER_BYTES),
                                                  &got),
                              OK);
        CU_ASSERT_EQUAL(got.error, errors[i]);
        CU_ASSERT_STRING_EQUAL(got.sentence, sent.sentence);
        buffer_free(&out);
    }
}

/* A Raft message with entries through a frame; several frames in one write. */
static void messages_round_trip(void)
{
    struct buffer out = {0};
    for (uint64_t i = 1; i <= 3; i++) {
        struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .from = 1, .to = 2, .term = 4};
        m.prev_log_index = i;
        m.entries = entries_create(1, 5);
        struct entry e = {.index = i + 1, .term = 4, .type = ENTRY_COMMAND};
        e.data = view_of("hello", 5);
        entries_add(m.entries, &e);
        size_t begin = peer_frame_begin(&out, PEER_FRAME_MESSAGE, (uint32_t)i);
        raft_message_encode(&m, &out);
        CU_ASSERT_EQUAL_FATAL(peer_frame_end(&out, begin), OK);
        raft_message_free(&m);
    }
    struct peer_decoder d = decoder_of(PEER_FRAME_BYTES_MAX, view_of(out.data, out.size));
    for (uint64_t i = 1; i <= 3; i++) {
        struct peer_frame frame;
        bool have = false;
        CU_ASSERT_EQUAL_FATAL(peer_decoder_next(&d, &frame, &have), OK);
        CU_ASSERT_TRUE_FATAL(have);
        CU_ASSERT_EQUAL(frame.group, i);
        struct raft_message got = {0};
        CU_ASSERT_EQUAL_FATAL(raft_message_decode(frame.body, &got), OK);
        CU_ASSERT_EQUAL(got.prev_log_index, i);
        CU_ASSERT_EQUAL_FATAL(got.entries->count, 1);
        CU_ASSERT(view_equal(got.entries->items[0].data, view_of("hello", 5)));
        raft_message_free(&got);
    }
    peer_decoder_free(&d);
    buffer_free(&out);
}

/* The same frames come out whatever pieces the octets arrive in. */
static void any_pieces(void)
{
    uint64_t random = 42;
    for (int round = 0; round < 200; round++) {
        struct buffer out = {0};
        size_t sizes[8];
        for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
            uint8_t body[700];
            sizes[i] = random_below(&random, sizeof(body));
            memset(body, (int)i, sizeof(body));
            struct buffer frame = frame_of(body, sizes[i]);
            buffer_append(&out, frame.data, frame.size);
            buffer_free(&frame);
        }
        struct peer_decoder d;
        peer_decoder_init(&d, PEER_FRAME_BYTES_MAX);
        size_t fed = 0, taken = 0;
        while (taken < ARRAY_COUNT(sizes)) {
            struct peer_frame frame;
            bool have = false;
            CU_ASSERT_EQUAL_FATAL(peer_decoder_next(&d, &frame, &have), OK);
            if (have) {
                CU_ASSERT_EQUAL_FATAL(frame.body.size, sizes[taken]);
                for (size_t i = 0; i < frame.body.size; i++) {
                    CU_ASSERT_EQUAL_FATAL(frame.body.data[i], taken);
                }
                taken++;
                continue;
            }
            CU_ASSERT_FATAL(fed < out.size);
            size_t room = 1 + random_below(&random, 300);
            size_t piece = random_below(&random, room + 1);
            if (piece > out.size - fed) {
                piece = out.size - fed;
            }
            uint8_t *at = peer_decoder_room(&d, room);
            memcpy(at, out.data + fed, piece);
            peer_decoder_fed(&d, room, piece);
            fed += piece;
        }
        CU_ASSERT_EQUAL(fed, out.size);
        peer_decoder_free(&d);
        buffer_free(&out);
    }
}

/* ---- what must not get through ------------------------------------------------------------------ */

/* Every prefix of a frame is waited on, none is given out or refused. */
static void truncated_frame_waits(void)
{
    struct buffer out = frame_of("payload", 7);
    for (size_t size = 0; size < out.size; size++) {
        struct peer_decoder d = decoder_of(PEER_FRAME_BYTES_MAX, view_of(out.data, size));
        struct peer_frame frame;
        bool have = true;
        CU_ASSERT_EQUAL(peer_decoder_next(&d, &frame, &have), OK);
        CU_ASSERT_FALSE(have);
        peer_decoder_free(&d);
    }
    buffer_free(&out);
}

/* Each single flipped bit of a frame is noticed, at the latest when its supposed end has come. */
static void flipped_bits(void)
{
    struct buffer out = frame_of("some octets that matter", 23);
    size_t frame_bytes = out.size;
    uint8_t behind[PEER_HELLO_FRAME_BYTES_MAX] = {0};
    buffer_append(&out, behind, sizeof(behind)); /* what a longer length would take in */
    for (size_t bit = 0; bit < frame_bytes * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        CU_ASSERT_NOT_EQUAL(error_of(PEER_HELLO_FRAME_BYTES_MAX, view_of(out.data, out.size)), OK);
        out.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    CU_ASSERT_EQUAL(error_of(PEER_HELLO_FRAME_BYTES_MAX, view_of(out.data, out.size)), OK);
    buffer_free(&out);
}

/* A length beyond the limit is refused as soon as its four octets are there; the limit itself is not. */
static void oversize(void)
{
    struct buffer out = frame_of("x", 1);
    uint32_t most = (uint32_t)(PEER_HELLO_FRAME_BYTES_MAX - 8);
    put_u32_at(&out, 0, most + 1);
    CU_ASSERT_EQUAL(error_of(PEER_HELLO_FRAME_BYTES_MAX, view_of(out.data, 4)), ERR_TOO_LARGE);
    put_u32_at(&out, 0, most);
    CU_ASSERT_EQUAL(error_of(PEER_HELLO_FRAME_BYTES_MAX, view_of(out.data, 4)), OK);
    put_u32_at(&out, 0, UINT32_MAX);
    CU_ASSERT_EQUAL(error_of(PEER_FRAME_BYTES_MAX, view_of(out.data, 4)), ERR_TOO_LARGE);
    put_u32_at(&out, 0, 7);
    CU_ASSERT_EQUAL(error_of(PEER_FRAME_BYTES_MAX, view_of(out.data, 4)), ERR_MALFORMED);
    put_u32_at(&out, 0, 0);
    CU_ASSERT_EQUAL(error_of(PEER_FRAME_BYTES_MAX, view_of(out.data, 4)), ERR_MALFORMED);
    buffer_free(&out);
}

/* A body at the limit passes, one octet more is taken back out of the output. */
static void frame_limit_when_writing(void)
{
    struct buffer out = {0};
    buffer_u8(&out, 77);
    size_t begin = peer_frame_begin(&out, PEER_FRAME_MESSAGE, 0);
    size_t most = PEER_FRAME_BYTES_MAX - PEER_FRAME_HEADER_BYTES;
    memset(buffer_extend(&out, most), 1, most);
    CU_ASSERT_EQUAL(peer_frame_end(&out, begin), OK);
    struct peer_decoder d = decoder_of(PEER_FRAME_BYTES_MAX, view_of(out.data + 1, out.size - 1));
    struct peer_frame frame;
    bool have = false;
    CU_ASSERT_EQUAL(peer_decoder_next(&d, &frame, &have), OK);
    CU_ASSERT_TRUE(have);
    CU_ASSERT_EQUAL(frame.body.size, most);
    peer_decoder_free(&d);

    buffer_u8(&out, 1);
    CU_ASSERT_EQUAL(peer_frame_end(&out, begin), ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(out.size, 1);
    CU_ASSERT_EQUAL(out.data[0], 77);
    buffer_free(&out);
}

/* With a right checksum, too, flags, reserved octets and unknown types are refused. */
static void reserved_fields(void)
{
    for (size_t at = 9; at <= 11; at++) {
        struct buffer out = frame_of("abc", 3);
        out.data[at] = 1;
        put_u32_at(&out, 4, checksum32(view_of(out.data + 8, out.size - 8)));
        CU_ASSERT_EQUAL(error_of(PEER_FRAME_BYTES_MAX, view_of(out.data, out.size)), ERR_MALFORMED);
        buffer_free(&out);
    }
    static const uint8_t unknown[] = {0, 6, 255};
    for (size_t i = 0; i < sizeof(unknown); i++) {
        struct buffer out = frame_of("abc", 3);
        out.data[8] = unknown[i];
        put_u32_at(&out, 4, checksum32(view_of(out.data + 8, out.size - 8)));
        CU_ASSERT_EQUAL(error_of(PEER_FRAME_BYTES_MAX, view_of(out.data, out.size)), ERR_PROTOCOL);
        buffer_free(&out);
    }
}

/* Somebody points a browser, or a TLS client, at the peer port. */
static void other_protocols(void)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: n1\r\n\r\n";
    static const uint8_t tls[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01};
    static const char http2[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    CU_ASSERT_EQUAL(error_of(PEER_HELLO_FRAME_BYTES_MAX, view_of_text(http)), ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(error_of(PEER_HELLO_FRAME_BYTES_MAX, view_of_text(http2)), ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(error_of(PEER_HELLO_FRAME_BYTES_MAX, view_of(tls, sizeof(tls))), ERR_TOO_LARGE);
}

/* Random octets never crash, never loop, and hardly ever are a frame. */
static void garbage(void)
{
    uint64_t random = 7;
    for (int round = 0; round < 2000; round++) {
        uint8_t octets[256];
        for (size_t i = 0; i < sizeof(octets); i++) {
            octets[i] = (uint8_t)random_next(&random);
        }
        octets[2] = octets[3] = 0; /* lengths that are not refused for their size */
        struct peer_decoder d = decoder_of(PEER_FRAME_BYTES_MAX, view_of(octets, sizeof(octets)));
        struct peer_frame frame;
        bool have = false;
        (void)!peer_decoder_next(&d, &frame, &have);
        CU_ASSERT_FALSE(have);
        peer_decoder_free(&d);
        struct peer_greeting greeting;
        struct peer_refusal refusal;
        CU_ASSERT_NOT_EQUAL(peer_greeting_decode(view_of(octets, sizeof(octets)), &greeting), OK);
        (void)!peer_refusal_decode(view_of(octets, sizeof(octets)), &refusal);
    }
}

/* A promise of 8 MiB costs no memory before the octets come. */
static void promises_cost_nothing(void)
{
    struct buffer out = frame_of("x", 1);
    put_u32_at(&out, 0, (uint32_t)(PEER_FRAME_BYTES_MAX - 8));
    struct peer_decoder d = decoder_of(PEER_FRAME_BYTES_MAX, view_of(out.data, out.size));
    struct peer_frame frame;
    bool have = false;
    CU_ASSERT_EQUAL(peer_decoder_next(&d, &frame, &have), OK);
    CU_ASSERT_FALSE(have);
    CU_ASSERT(d.in.capacity < 4096);
    peer_decoder_free(&d);
    buffer_free(&out);
}

/* A large frame's memory is given back once it has been taken out. */
static void memory_is_given_back(void)
{
    size_t size = PEER_FRAME_BYTES_MAX / 2;
    uint8_t *body = mem_zalloc(size);
    struct buffer out = frame_of(body, size);
    struct peer_decoder d = decoder_of(PEER_FRAME_BYTES_MAX, view_of(out.data, out.size));
    struct peer_frame frame;
    bool have = false;
    CU_ASSERT_EQUAL(peer_decoder_next(&d, &frame, &have), OK);
    CU_ASSERT_TRUE(have);
    (void)peer_decoder_room(&d, 16);
    peer_decoder_fed(&d, 16, 0);
    CU_ASSERT(d.in.capacity <= (size_t)1 << 20);
    peer_decoder_free(&d);
    buffer_free(&out);
    mem_free(body);
}

/* ---- bodies ------------------------------------------------------------------------------------- */

static struct buffer greeting_body(const struct peer_greeting *g)
{
    struct buffer out = {0};
    peer_greeting_encode(PEER_FRAME_HELLO, g, &out);
    buffer_consume(&out, PEER_FRAME_HEADER_BYTES);
    return out;
}

static enum err greeting_error(const struct peer_greeting *g)
{
    struct buffer body = greeting_body(g);
    struct peer_greeting got;
    enum err error = peer_greeting_decode(view_of(body.data, body.size), &got);
    buffer_free(&body);
    return error;
}

static void greeting_cut_short(void)
{
    struct peer_greeting g = some_greeting(), got;
    struct buffer body = greeting_body(&g);
    for (size_t size = 0; size < body.size; size++) {
        CU_ASSERT_EQUAL(peer_greeting_decode(view_of(body.data, size), &got), ERR_TRUNCATED);
    }
    buffer_free(&body);
}

/* A later version appends fields; this one reads what it knows (peer_wire.h, invariant 1). */
static void greeting_of_the_future(void)
{
    struct peer_greeting g = some_greeting(), got;
    struct buffer body = greeting_body(&g);
    buffer_u64(&body, 123456);
    CU_ASSERT_EQUAL_FATAL(peer_greeting_decode(view_of(body.data, body.size), &got), OK);
    assert_greeting_equal(&g, &got);
    buffer_free(&body);
}

static void greeting_malformed(void)
{
    struct peer_greeting g = some_greeting();
    CU_ASSERT_EQUAL(greeting_error(&g), OK);

    g = some_greeting();
    g.hello.name[0] = '\0';
    CU_ASSERT_EQUAL(greeting_error(&g), ERR_MALFORMED);
    g = some_greeting();
    g.hello.cluster[0] = '\0';
    CU_ASSERT_EQUAL(greeting_error(&g), ERR_MALFORMED);
    g = some_greeting();
    strcpy(g.hello.peer, "host\n1:2380");
    CU_ASSERT_EQUAL(greeting_error(&g), ERR_MALFORMED);
    g = some_greeting();
    g.target[0] = '\0'; /* an address to join by: whoever it is */
    CU_ASSERT_EQUAL(greeting_error(&g), OK);
    g = some_greeting();
    strcpy(g.hello.name, "n1\nforged line"); /* would be a log line of its own */
    CU_ASSERT_EQUAL(greeting_error(&g), ERR_MALFORMED);
    g = some_greeting();
    g.hello.member_id = 0;
    CU_ASSERT_EQUAL(greeting_error(&g), ERR_MALFORMED);
    g = some_greeting();
    g.version_least = 0;
    CU_ASSERT_EQUAL(greeting_error(&g), ERR_MALFORMED);
    g = some_greeting();
    g.version_least = 4; /* above the most */
    CU_ASSERT_EQUAL(greeting_error(&g), ERR_MALFORMED);
}

static void greeting_wrong_octets(void)
{
    struct peer_greeting g = some_greeting(), got;
    struct buffer body = greeting_body(&g);
    body.data[0] ^= 1; /* the magic number */
    CU_ASSERT_EQUAL(peer_greeting_decode(view_of(body.data, body.size), &got), ERR_PROTOCOL);
    body.data[0] ^= 1;
    body.data[8 + 40] = 4; /* an unknown flag */
    CU_ASSERT_EQUAL(peer_greeting_decode(view_of(body.data, body.size), &got), ERR_MALFORMED);
    body.data[8 + 40] = 1;
    put_u32_at(&body, 8 + 41, MEMBER_NAME_MAX + 1); /* a name that does not fit its array */
    uint8_t filler[MEMBER_NAME_MAX + 1];
    memset(filler, 'x', sizeof(filler));
    buffer_append(&body, filler, sizeof(filler));
    CU_ASSERT_EQUAL(peer_greeting_decode(view_of(body.data, body.size), &got), ERR_MALFORMED);
    buffer_free(&body);
}

/* The other side's sentence goes into our log: cut, and without what could forge or colour a line. */
static void refusal_is_disarmed(void)
{
    struct buffer body = {0};
    buffer_u32(&body, 4711); /* a code of the future */
    uint8_t sentence[2 * PEER_SENTENCE_MAX];
    memset(sentence, 'y', sizeof(sentence));
    memcpy(sentence, "a\nb\x1b[31m\"c", 10);
    buffer_view(&body, view_of(sentence, sizeof(sentence)));
    struct peer_refusal got;
    CU_ASSERT_EQUAL_FATAL(peer_refusal_decode(view_of(body.data, body.size), &got), OK);
    CU_ASSERT_EQUAL(got.error, ERR_PROTOCOL);
    CU_ASSERT_EQUAL(strlen(got.sentence), PEER_SENTENCE_MAX);
    CU_ASSERT_EQUAL(strncmp(got.sentence, "a?b?[31m?c", 10), 0);
    for (size_t size = 0; size < body.size; size++) {
        CU_ASSERT_EQUAL(peer_refusal_decode(view_of(body.data, size), &got), ERR_TRUNCATED);
    }
    buffer_free(&body);
}

SUITE("peer wire", TEST(greeting_round_trip), TEST(longest_greeting_fits), TEST(refusal_round_trip),
      TEST(messages_round_trip), TEST(any_pieces), TEST(truncated_frame_waits), TEST(flipped_bits),
      TEST(oversize), TEST(frame_limit_when_writing), TEST(reserved_fields), TEST(other_protocols),
      TEST(garbage), TEST(promises_cost_nothing), TEST(memory_is_given_back),
      TEST(greeting_cut_short), TEST(greeting_of_the_future), TEST(greeting_malformed),
      TEST(greeting_wrong_octets), TEST(refusal_is_disarmed))
