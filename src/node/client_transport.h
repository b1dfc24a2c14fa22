/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_transport.h: how the answer to a call gets to its client. A call's meaning (client_kv.c,
 * client_watch.c, ...) speaks protobuf and knows nothing of frames; a transport knows frames and
 * nothing of meaning. Between both stands client_calls.c, whose call_* functions are the only callers of
 * this table.
 *
 * Transports: gRPC over HTTP/2 (client_transport.c), HTTP for JSON, REST and events (client_web.c), and
 * none at all for an internal call, which has no client.
 *
 * Invariants (client_calls.c keeps them, a transport may rely on them)
 *  1. begin at most once, before room, push and finish; fail with or without a begin before it.
 *  2. room and push alternate; push belongs to the room given last.
 *  3. After finish or fail nothing more is asked of the transport for this call.
 */
#ifndef HOLDFAST_CLIENT_TRANSPORT_H
#define HOLDFAST_CLIENT_TRANSPORT_H

#include "base.h"

#include "../api/rpc_error.h"
#include "../net/http1.h"
#include "../net/http2.h"

struct client_actor;
struct client_call;

struct call_transport {
    /* The answer begins: its header is to be sent even if no message follows soon. */
    void (*begin)(struct client_actor *a, struct client_call *call);
    /* Room for one protobuf message of `size` octets, never NULL; it belongs to the transport. */
    uint8_t *(*room)(struct client_actor *a, struct client_call *call, size_t size);
    /* The room is filled: send it. */
    void (*push)(struct client_actor *a, struct client_call *call);
    /* Is there room for the complete answer? False: it is refused instead (call_fail follows). NULL: always. */
    bool (*ready)(struct client_actor *a, struct client_call *call);
    /* The answer is complete. The call may be freed by this. */
    void (*finish)(struct client_actor *a, struct client_call *call);
    /* The answer is an error, perhaps after messages. The call may be freed by this. */
    void (*fail)(struct client_actor *a, struct client_call *call, struct rpc_error error);
    /* Call call_drained(a, call) once, as soon as not more than `mark` octets are queued (at the
     * earliest from the next flush on, never from inside this function). */
    void (*want_drained)(struct client_actor *a, struct client_call *call, uint64_t mark);
    /* The call is about to be freed: free call->carrier. NULL: there is none. */
    void (*release)(struct client_call *call);
};

/* gRPC; and its engine's callbacks, whose context is the connection. */
extern const struct call_transport grpc_transport;
extern const struct http2_callbacks client_http2_callbacks;

/* HTTP/1.1's engine and what on HTTP/2 is not gRPC (client_web.c). */
extern const struct http1_callbacks client_http1_callbacks;
struct client_connection;
/* A request on HTTP/2 whose content type is not gRPC's. Sets s->owner to a call if it makes one; only then
 * the other two, and call_close with the stream's end, follow. data: http2_consume is web's to call. */
void web_http2_request(struct client_connection *c, struct http2_stream *s);
void web_http2_data(struct client_connection *c, struct http2_stream *s, struct view data);
void web_http2_ended(struct client_connection *c, struct http2_stream *s);
/* Whether a page that names itself in this request may talk to us; true for what is no page. */
bool web_http2_origin_allowed(const struct client_connection *c, const struct http2_stream *s);
/* The connection is being closed: its HTTP/1 request, if any, is forgotten. */
void web_connection_closed(struct client_connection *c);

#endif
