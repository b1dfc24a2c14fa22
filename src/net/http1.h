/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1.h: the server side of HTTP/1.1 as an engine without a socket: octets in, one request at a
 * time out to the owner, answers back as octets. http_parser reads the grammar; here are the bounds,
 * the order of answers and keep-alive.
 *
 * Flows in: octets a client sent, the owner's answers. Flows out: the `request` callback, and octets
 * appended to the owner's output buffer.
 *
 * Not here: sockets, routes, the meaning of a target (src/api/web.h). No upgrade to anything: HTTP/2
 * on this port starts with its own preface (http2.h).
 *
 * Invariants
 *  1. At most one request is out with the owner; what a client sends behind it ("pipelining") waits
 *     unparsed, bounded by the caller, who does not feed while http1_is_busy.
 *  2. Header and body of a request are bounded before they are kept.
 *  3. After an answer that closes, nothing more is parsed.
 */
#ifndef HOLDFAST_HTTP1_H
#define HOLDFAST_HTTP1_H

#include "base.h"

#define HTTP1_HEADER_BYTES_MAX (16 * 1024)
#define HTTP1_TARGET_MAX       2048

struct http1_request {
    const char *method; /* static */
    struct view target; /* path and query as sent; borrowed until the answer is given */
    struct view body;   /* likewise */
};

struct http1_callbacks {
    /* Answer it with http1_respond, now or later. */
    void (*request)(void *context, const struct http1_request *request);
};

struct http1;

/* callbacks and out are borrowed for its life; body_bytes_max bounds a request's body. */
struct http1 *http1_create(const struct http1_callbacks *callbacks, void *context,
                           struct buffer *out, size_t body_bytes_max);
void http1_destroy(struct http1 **h);

/*
 * Take octets the client sent: *in moves on by what was used; it stops behind a request that is out
 * with the owner. A request that cannot be read is answered here (400, 413, 414, 431) and then
 * nothing more is taken.
 */
void http1_feed(struct http1 *h, struct view *in);

/* The client has sent its last octet. */
void http1_feed_end(struct http1 *h);

/* A request is out with the owner: do not feed. */
bool http1_is_busy(const struct http1 *h);
/* Some of a request has come but not all: a slow client may be given up. */
bool http1_is_partial(const struct http1 *h);
/* Nothing more will be read: close the socket once the output is sent. */
bool http1_is_over(const struct http1 *h);

/* What the owner answers. Texts are static or live for the call. */
struct http1_answer {
    int status;
    const char *content_type; /* NULL: none */
    const char *allow;        /* for 405; NULL: none */
    struct view body;
    bool close; /* end the connection after it */
};

/* Give the answer to the request that is out. A HEAD request gets the header only. */
void http1_respond(struct http1 *h, const struct http1_answer *answer);

#endif
