/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2.h: the server side of HTTP/2 as an engine without a socket: octets in, octets out, and calls
 * back to its owner. nghttp2 does frames, HPACK and windows; here are the streams as the owner sees
 * them, the queue of what each still has to send, and the bounds against a hostile client.
 *
 * Flows in: octets a client sent (http2_feed), answers of the owner (http2_respond, http2_write,
 * http2_finish). Flows out: callbacks, and octets for the socket (http2_take).
 *
 * Not here: sockets, clocks (`now_us` is handed in), gRPC (grpc.h), and any look at `:authority` or
 * at which pseudo headers came: etcd clients send what no strict reading of the RFC allows, so
 * nghttp2's own check of HTTP messages is off (docs/decisions/0040-http.md).
 *
 * Invariants
 *  1. Each stream the owner was told of by `request` ends with exactly one `closed`; after it the
 *     pointer is dead. http2_destroy gives `closed` for all that are left.
 *  2. The owner may call http2_respond, _write, _finish and _reset from inside callbacks; http2_feed,
 *     http2_take and http2_destroy never.
 *  3. What a stream has to send leaves in the order written; trailers come last, once.
 *  4. A window is reopened only for what was consumed: the connection's at once (else one slow stream
 *     would block the others), a stream's when its owner says so (http2_consume).
 */
#ifndef HOLDFAST_HTTP2_H
#define HOLDFAST_HTTP2_H

#include "base.h"
#include "http_fields.h"

#define HTTP2_PREFACE             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HTTP2_PREFACE_BYTES       24
#define HTTP2_STREAM_WINDOW_BYTES (1 << 20)
#define HTTP2_WINDOW_BYTES        (16 << 20)
#define HTTP2_HEADER_FLOOD        8 /* times the bound on a header, and the connection ends */
#define HTTP2_PATH_MAX            255
#define HTTP2_FIELD_MAX           63   /* of the other header fields kept */
#define HTTP2_RESETS_BURST        2000 /* streams a client may open and cancel at one go ... */
#define HTTP2_RESETS_PER_SECOND   200  /* ... and for ever */
#define HTTP2_HEADERS_OUT_MAX     24   /* header fields of one answer */

/* Octets a stream has to send; filled by the owner, then moved in. One allocation. */
struct http2_chunk {
    struct http2_chunk *next;
    size_t size;
    size_t sent;
    uint8_t data[];
};

struct http2_chunk *http2_chunk_create(size_t size);
void http2_chunk_free(struct http2_chunk **chunk);

struct http2;

/* What was kept of a request's header. Texts are terminated; a longer one is cut and `cut` is set. */
struct http2_stream {
    void *owner; /* the owner's; NULL at `request` */
    struct http2 *connection;
    int32_t id;
    bool ended;      /* the client has half-closed */
    bool cut;        /* a kept field was longer than its place */
    bool too_large;  /* the header is larger than header_bytes_max: not all of it was looked at */
    bool has_leader; /* metadata hasleader: true */
    bool responded;  /* the answer's header was given */
    bool finished;   /* ... and its end */
    char method[16];
    char path[HTTP2_PATH_MAX + 1];
    char content_type[HTTP2_FIELD_MAX + 1];
    char grpc_timeout[16];
    char grpc_encoding[HTTP2_FIELD_MAX + 1];
    char max_staleness_ms[16];          /* our own metadata */
    char authority[HTTP2_PATH_MAX + 1]; /* a longer one is cut without setting `cut` */
    /* What browsers and plain HTTP clients say beside that (http2.c has the list), and a path too long for
     * its place as ":path". NULL: nothing of it came, as with gRPC. */
    struct http_fields *fields;

    /* the engine's own */
    size_t path_size;
    size_t header_bytes;
    struct http2_chunk *first, *last; /* to be sent */
    size_t queued_bytes;
    bool deferred; /* nghttp2 waits to be told of more data */
    bool drain_wanted, drain_listed;
    size_t drain_mark;
    struct http2_stream *next_drained;
    bool with_trailers;
    const char *trailer_status; /* static */
    char *trailer_message;      /* owned; NULL: none */
    struct http2_stream *next, *previous;
};

/* All calls come from inside http2_feed, http2_take or http2_destroy. */
struct http2_callbacks {
    /* The header is complete. `stream->ended`: no body will come. */
    void (*request)(void *context, struct http2_stream *stream);
    /* A piece of the body, borrowed for the call. */
    void (*data)(void *context, struct http2_stream *stream, struct view data);
    /* The client has half-closed (called also when the header ended the stream). */
    void (*ended)(void *context, struct http2_stream *stream);
    /* Not more than the mark of http2_want_drained is queued. */
    void (*drained)(void *context, struct http2_stream *stream);
    /* The stream is gone: answered completely, reset by either side, or the connection died. */
    void (*closed)(void *context, struct http2_stream *stream);
};

/*
 * What all connections of one thread share: nghttp2's tables and a pool of streams.
 * Callbacks are borrowed for its life.
 */
struct http2_shared;
struct http2_limits {
    uint32_t streams_max;      /* open at a time, of one connection */
    uint32_t header_bytes_max; /* of one request, as RFC 9113 §6.5.2 counts */
};
struct http2_shared *http2_shared_create(const struct http2_callbacks *callbacks,
                                         const struct http2_limits *limits);
/* After the last connection was destroyed. */
void http2_shared_destroy(struct http2_shared **shared);

/* A new connection; `context` is handed to every callback. The SETTINGS frame waits in http2_take. */
struct http2 *http2_create(struct http2_shared *shared, void *context);
/* Streams still open get their `closed`. */
void http2_destroy(struct http2 **h);

/*
 * Take octets the client sent, preface included, all of them.
 * ERR_PROTOCOL: the connection is beyond repair; send what http2_take gives (a GOAWAY) and close.
 */
MUST_USE enum err http2_feed(struct http2 *h, struct view in, uint64_t now_us);

/* Append octets for the client to `out` until nothing is left or out->size reaches `limit` (it may
 * be passed by one frame). True: something may be left. */
bool http2_take(struct http2 *h, struct buffer *out, size_t limit);

/* Nothing more will come or go: close the socket once what was taken is sent. */
bool http2_is_over(const struct http2 *h);

/* Streams open now. */
size_t http2_stream_count(const struct http2 *h);
/* The client has begun something it owes the rest of: its first SETTINGS, or a header. */
bool http2_is_partial(const struct http2 *h);
/* Answers that are complete here and that the client's window lets us send only a part of. */
size_t http2_unread_answers(const struct http2 *h);

/* One header field of an answer. */
struct http2_header {
    const char *name; /* static, lower case */
    struct view value;
    bool lasting; /* the value stays as it is until the stream is closed; else it is copied */
};

/*
 * Begin the answer.
 *
 * headers  borrowed for the call (values: see `lasting`); `:status` first; at most HTTP2_HEADERS_OUT_MAX
 * end      nothing follows (a header-only answer, gRPC's "trailers-only")
 */
void http2_respond(struct http2_stream *s, const struct http2_header *headers, size_t count,
                   bool end);

/* More of the body; *chunk moves in. After http2_respond without end, before http2_finish. */
void http2_write(struct http2_stream *s, struct http2_chunk **chunk);

/*
 * The body is complete.
 *
 * grpc_status   decimal, static; sent as trailer `grpc-status`. NULL: no trailers
 * grpc_message  copied; empty: left out
 */
void http2_finish(struct http2_stream *s, const char *grpc_status, struct view grpc_message);

/* Call `drained` once, as soon as not more than `mark` octets of the body wait in the stream; from inside
 * http2_take, so the owner sees to it that one follows. A second call replaces the mark. */
void http2_want_drained(struct http2_stream *s, size_t mark);

/* The owner is done with `size` octets of what `data` gave: let the client send that many more. */
void http2_consume(struct http2_stream *s, size_t size);

/* Give the stream up: RST_STREAM with an error code of RFC 9113 §7. `closed` follows later. */
#define HTTP2_NO_ERROR          0
#define HTTP2_PROTOCOL_ERROR    1
#define HTTP2_INTERNAL_ERROR    2
#define HTTP2_CANCEL            8
#define HTTP2_ENHANCE_YOUR_CALM 11
void http2_reset(struct http2_stream *s, uint32_t code);

/* Say GOAWAY: streams that are open go on, new ones are not taken; the client may try those elsewhere. */
void http2_go_away(struct http2 *h, uint32_t code);

#endif
