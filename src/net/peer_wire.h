/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_wire.h: what two nodes say to each other, octet by octet. Frames in, frames out; fed octets,
 * giving octets. No socket, no clock, no thread: peer_actor.c and listener_actor.c bring those.
 *
 * There is one TCP connection per pair and direction: node A dials B and sends on that connection;
 * what B has to say to A travels on the connection that B dialled. So every connection has one
 * writer of messages, and a connection that works in one direction only is seen as such.
 *
 *   A dials B             A -> B   HELLO     versions A speaks, who A is, whom it believes to reach
 *   B accepts             B -> A   WELCOME   the version chosen, who B is        (or REFUSED, close)
 *   for as long as it lives A -> B MESSAGE   a Raft message; several may come in one write
 *                         A -> B   HELLO_UPDATE  A's identity has news (it joined a cluster)
 *   at any time           either   REFUSED   why this connection ends, in a sentence for people
 *
 * A frame, little-endian:
 *
 *   0   u32  length      of what follows the checksum: 8 + the body
 *   4   u32  checksum32  of those octets
 *   8   u8   type        enum peer_frame_type
 *   9   u8   flags       0 in version 1
 *   10  u16  reserved    0 in version 1
 *   12  u32  group       which Raft group it belongs to; 0 for handshake frames
 *   16       body
 *
 * Invariants
 *  1. The first frame of either side can be read by every version: the frame's header, and the
 *     fields of HELLO, WELCOME and REFUSED, never change; later versions append, readers ignore
 *     what follows the fields they know.
 *  2. A decoder holds at most one frame of its limit plus one read; it grows with what has arrived,
 *     never with what a header promises.
 *  3. A decoder that has found an error stays in error: after a broken frame nothing on the stream
 *     can be trusted.
 *  4. Names and sentences that leave this file hold no control characters and fit their arrays.
 */
#ifndef HOLDFAST_NET_PEER_WIRE_H
#define HOLDFAST_NET_PEER_WIRE_H

#include "base.h"
#include "message.h" /* struct peer_hello */

#define PEER_WIRE_MAGIC    UINT32_C(0x52504648) /* "HFPR" */
#define PEER_VERSION_LEAST 1
#define PEER_VERSION_MOST  1

#define PEER_FRAME_HEADER_BYTES 16
/* Header octets that `length` and the checksum cover. */
#define PEER_FRAME_COVERED_BYTES 8
/* One append_entries with its data octets and one entry over it at the greatest request size, and
 * slack for the encoding. */
#define PEER_FRAME_BYTES_MAX ((size_t)8 << 20)
/* The first frame, read before anything is known of the other side. */
#define PEER_HELLO_FRAME_BYTES_MAX ((size_t)2048)
#define PEER_READ_BYTES            ((size_t)64 << 10)
#define PEER_SENTENCE_MAX          399

enum peer_frame_type {
    PEER_FRAME_HELLO = 1,
    PEER_FRAME_WELCOME = 2,
    PEER_FRAME_REFUSED = 3,
    PEER_FRAME_MESSAGE = 4,
    PEER_FRAME_HELLO_UPDATE = 5,
};

struct peer_frame {
    enum peer_frame_type type;
    uint32_t group;
    struct view body; /* borrowed from the decoder until its next call */
};

/* The body of HELLO, WELCOME (both versions are the chosen one) and HELLO_UPDATE. */
struct peer_greeting {
    uint16_t version_least, version_most;
    struct peer_hello hello;
    char target[MEMBER_NAME_MAX +
                1]; /* the name the sender believes to talk to; "": whoever it is */
};

/* The body of REFUSED. */
struct peer_refusal {
    enum err error;
    char sentence[PEER_SENTENCE_MAX + 1];
};

/* ---- writing ----------------------------------------------------------------------------------- */

/* Begin a frame at the end of `out`; append the body, then end it. Returns where it begins. */
size_t peer_frame_begin(struct buffer *out, enum peer_frame_type type, uint32_t group);
/* Fill in length and checksum. ERR_TOO_LARGE beyond PEER_FRAME_BYTES_MAX: the frame is taken back out. */
MUST_USE enum err peer_frame_end(struct buffer *out, size_t begin);

/* Append a whole frame. type: HELLO, WELCOME or HELLO_UPDATE. */
void peer_greeting_encode(enum peer_frame_type type, const struct peer_greeting *greeting,
                          struct buffer *out);
void peer_refusal_encode(const struct peer_refusal *refusal, struct buffer *out);

/* ---- reading bodies ---------------------------------------------------------------------------- */

/* ERR_PROTOCOL: not the magic number (something else dialled this port). ERR_TRUNCATED,
 * ERR_MALFORMED: a name is empty, too long or holds control characters, an id is 0, or the least
 * version is above the most. */
MUST_USE enum err peer_greeting_decode(struct view body, struct peer_greeting *out);
/* Unknown codes become ERR_PROTOCOL; control characters of the sentence become '?'. ERR_TRUNCATED. */
MUST_USE enum err peer_refusal_decode(struct view body, struct peer_refusal *out);

/* ---- the incremental decoder ------------------------------------------------------------------- */

struct peer_decoder {
    struct buffer in;
    size_t start;           /* octets of `in` already given out */
    size_t frame_bytes_max; /* header included */
    enum err failed;
};

/* Zero or freed before. frame_bytes_max: header included, at most PEER_FRAME_BYTES_MAX. */
void peer_decoder_init(struct peer_decoder *d, size_t frame_bytes_max);
void peer_decoder_free(struct peer_decoder *d);

/* Room for up to `size` octets from the socket; then say how many came (0 .. size). */
uint8_t *peer_decoder_room(struct peer_decoder *d, size_t size);
void peer_decoder_fed(struct peer_decoder *d, size_t room_size, size_t came);
/* The same from memory. */
void peer_decoder_feed(struct peer_decoder *d, struct view octets);

/*
 * The next whole frame.
 *
 * have  out: false when more octets are needed
 * out   filled if *have
 *
 * ERR_TOO_LARGE, ERR_MALFORMED (length, flags or reserved), ERR_CHECKSUM, ERR_PROTOCOL (unknown
 * type); the same error again at every later call.
 */
MUST_USE enum err peer_decoder_next(struct peer_decoder *d, struct peer_frame *out, bool *have);

/* What was fed behind the last frame given out; borrowed until the next call. */
struct view peer_decoder_rest(const struct peer_decoder *d);

#endif
