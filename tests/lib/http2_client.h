/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_client.h: an HTTP/2 client in memory for tests of the server's engines and of the client actor:
 * nghttp2's client session, which also checks that what the server says is HTTP. No socket: octets in,
 * octets out. What came back is kept per stream.
 */
#ifndef HOLDFAST_TESTS_HTTP2_CLIENT_H
#define HOLDFAST_TESTS_HTTP2_CLIENT_H

#include "base.h"

#define HTTP2_CLIENT_STREAMS_MAX 4096

struct http2_client_answer {
    char status[8];
    char content_type[64];
    char grpc_status[8];
    char grpc_message[600];
    char leader[300]; /* holdfast-leader */
    struct buffer body;
    bool header_ended; /* END_STREAM came with the first header frame ("trailers-only") */
    bool ended;        /* END_STREAM came */
    bool closed;
    uint32_t code; /* of RST_STREAM, if that closed it */
    size_t window_updates;
};

struct http2_client;
struct http2_client *http2_client_create(void);
/* Before the first octet goes out: windows so large that they hold nobody back. */
void http2_client_open_windows(struct http2_client *client);
void http2_client_destroy(struct http2_client **client);

struct http2_client_header {
    const char *name, *value;
};

/* Begin a request; `headers` come behind the pseudo headers (NULL name ends; may be NULL). Method POST,
 * content-type application/grpc and te: trailers are there already unless `bare`.
 * end: no body. Returns the stream's id. */
int32_t http2_client_request(struct http2_client *client, const char *path,
                             const struct http2_client_header *headers, bool bare, bool end);
/* A piece of the body; copied. */
void http2_client_data(struct http2_client *client, int32_t stream, struct view data, bool end);
void http2_client_reset(struct http2_client *client, int32_t stream, uint32_t code);
void http2_client_ping(struct http2_client *client);

/* Octets for the server, appended to out. */
void http2_client_take(struct http2_client *client, struct buffer *out);
/* Octets from the server. False: nghttp2 finds fault with them. */
bool http2_client_feed(struct http2_client *client, struct view in);

/* What came back on a stream; valid until destroy. */
const struct http2_client_answer *http2_client_answer(struct http2_client *client, int32_t stream);
/* Error code of a GOAWAY that came; -1: none. */
int64_t http2_client_go_away(const struct http2_client *client);
size_t http2_client_ping_acks(const struct http2_client *client);
/* Octets of the bodies given that wait for window. */
size_t http2_client_unsent(const struct http2_client *client, int32_t stream);

/* A gRPC request with one message, as unary clients send it: header, prefix, message, end. */
int32_t http2_client_unary(struct http2_client *client, const char *path, struct view message,
                           const struct http2_client_header *headers);

#endif
