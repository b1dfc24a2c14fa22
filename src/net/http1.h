/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1.h: the server side of HTTP/1.1 as an engine without a socket: octets in, one request at a time out
 * to the owner, answers back as octets. http_parser reads the grammar; here are the bounds, the order of
 * answers, keep-alive, and the frames of a body that is sent in pieces. Its calls back are the same three
 * as HTTP/2's (http2.h): header, data, end.
 *
 * Flows in: octets a client sent, the owner's answers. Flows out: callbacks, and octets appended to the
 * owner's output buffer.
 *
 * Not here: sockets, routes, the meaning of a target, how much of a body is kept (the owner bounds it). No
 * upgrade to anything: HTTP/2 on this port starts with its own preface (http2.h).
 *
 * Invariants
 *  1. At most one request is out with the owner, from `request` until its answer is complete and its body
 *     has been read; what a client sends behind it ("pipelining") waits unparsed, bounded by the caller,
 *     who does not feed while http1_is_busy.
 *  2. A header is bounded before it is kept. A body is handed on piece by piece and never kept here.
 *  3. After an answer that closes, nothing more is parsed.
 *  4. An answer given before its request's body has come keeps the connection only if at most
 *     HTTP1_DISCARD_MAX octets remain to be thrown away.
 */
#ifndef HOLDFAST_HTTP1_H
#define HOLDFAST_HTTP1_H

#include "base.h"
#include "http_fields.h"

#define HTTP1_HEADER_BYTES_MAX (16 * 1024)
#define HTTP1_TARGET_MAX       8192 /* a key of 2 KiB with every octet percent-encoded, and a query */
#define HTTP1_DISCARD_MAX      (64 * 1024)
#define HTTP1_LENGTH_UNKNOWN   UINT64_MAX

/* All of it is borrowed until the request is over. */
struct http1_request {
    const char *method; /* static */
    struct view target; /* path and query as sent */
    const struct http_fields *fields;
    uint64_t body_size; /* 0: none; HTTP1_LENGTH_UNKNOWN: it comes in chunks */
};

/*
 * All calls come from inside http1_feed. The owner may answer inside them, and must not call http1_feed,
 * http1_feed_end or http1_destroy.
 */
struct http1_callbacks {
    /* The header is complete. Answer now or later; `data` and `ended` follow only while no answer is
     * complete. A client that waits for it is told to go on with the body (RFC 9110 §10.1.1) if the
     * owner did not answer inside. */
    void (*request)(void *context, const struct http1_request *request);
    /* A piece of the body, borrowed for the call. */
    void (*data)(void *context, struct view piece);
    /* The request is complete (called also when it has no body). */
    void (*ended)(void *context);
};

struct http1;

/* callbacks and out are borrowed for its life. */
struct http1 *http1_create(const struct http1_callbacks *callbacks, void *context,
                           struct buffer *out);
void http1_destroy(struct http1 **h);

/*
 * Take octets the client sent: *in moves on by what was used; it stops behind a request that is out
 * with the owner. A request that cannot be read is answered here (400, 405, 414, 417, 431) and then
 * nothing more is taken.
 */
void http1_feed(struct http1 *h, struct view *in);

/* The client has sent its last octet. */
void http1_feed_end(struct http1 *h);

/* A whole request is out with the owner: do not feed. */
bool http1_is_busy(const struct http1 *h);
/* http1_feed is running: it goes on by itself after an answer. */
bool http1_is_feeding(const struct http1 *h);
/* Some of a request has come but not all: a slow client may be given up. Not so for a body of which the
 * owner said that it may take as long as it likes. */
bool http1_is_partial(const struct http1 *h);
/* An answer in pieces was begun and is not finished. */
bool http1_is_streaming(const struct http1 *h);
/* Nothing more will be read: close the socket once the output is sent. */
bool http1_is_over(const struct http1 *h);

/* The header fields of the request that is out. */
const struct http_fields *http1_fields(const struct http1 *h);
/* The body of the request that is out is a stream without an end in sight. */
void http1_body_is_stream(struct http1 *h);

struct http1_header {
    const char *name;
    struct view value; /* no line ends in it */
};

/* What the owner answers. Everything is live for the call. */
struct http1_answer {
    int status;
    const char *content_type; /* NULL: none */
    const struct http1_header *headers;
    size_t header_count;
    struct view body;
    bool close; /* end the connection after it */
};

/* Give the whole answer to the request that is out. A HEAD request gets the header only. */
void http1_respond(struct http1 *h, const struct http1_answer *answer);

/*
 * Give it in pieces: begin (`body` is not looked at), any number of writes, finish. A client of HTTP/1.0
 * gets the pieces as they are and a close behind the last.
 */
void http1_begin(struct http1 *h, const struct http1_answer *answer);
void http1_write(struct http1 *h, struct view piece);
void http1_finish(struct http1 *h);
/* Break off an answer that was begun: the connection ends without the last chunk, so that the client can
 * tell. */
void http1_break(struct http1 *h);

#endif
