/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_actor.h: the parts of the client actor that its two files share: client_actor.c takes
 * messages and looks after time, client_calls.c takes requests in and gives answers out.
 */
#ifndef HOLDFAST_CLIENT_ACTOR_H
#define HOLDFAST_CLIENT_ACTOR_H

#include "client_connection.h"
#include "deadlines.h"
#include "message.h"
#include "node.h"
#include "pending.h"

#include "../api/method.h"
#include "../api/rpc_error.h"
#include "../net/grpc.h"

#define CALL_POOL_MAX          4096   /* free calls kept for reuse */
#define CALL_BYTES             512    /* credits every call is charged beside its message */
#define GRPC_RECEIVE_OVERHEAD  524288 /* etcd's receive limit above max-request-bytes */
#define ANSWER_BYTES_UNCHARGED 4096   /* answers up to this ride on the request's own credits */

enum call_kind { CALL_RPC, CALL_WEB };

/*
 * One request under way. It lives from its header until its stream is closed (HTTP/1: until it is
 * answered or the connection is closed), and holds its credits as long.
 */
struct client_call {
    struct deadline deadline; /* first */
    struct client_connection *connection;
    struct http2_stream *stream; /* NULL: HTTP/1 */
    enum call_kind call_kind;
    enum method_kind kind;
    bool server_streams;
    bool dispatched; /* the message was taken (unary) */
    bool answered;
    bool client_deadline; /* the deadline is the client's own, not request_timeout */
    uint64_t request_id;  /* 0: nobody works on it */
    uint64_t bytes_held;
    struct view content_type; /* of the answer */
    struct grpc_reader reader;
    struct bytes command; /* of a write until it is answered: it may have to be proposed again */
    struct client_call *next, *previous; /* of the watchers of health */
};

struct client_actor {
    struct actor *actor;
    size_t index;
    struct config config;
    struct client_state state;
    struct credits *connections, *requests, *bytes;
    const struct node_actors *links;
    struct actor *raft, *apply;
    uint64_t request_timeout_us;
    size_t message_max;

    uint64_t now_us; /* of the handler running */
    uint64_t counter;
    uint64_t armed_us;
    struct pending pending;
    struct deadlines deadlines;
    struct connection_shared shared;
    struct client_call *pool;
    size_t pool_count;
    size_t call_count;
    struct client_call *watchers; /* streams of Health.Watch */
    bool stopping;
    uint64_t stop_at_us;
};

/* The engines' callbacks; the context of each is its connection. */
extern const struct http2_callbacks client_http2_callbacks;
extern const struct http1_callbacks client_http1_callbacks;

/* Send the call's command to raft under a new number. Only for a write that certainly was not carried
 * out under its old one. */
void call_propose_again(struct client_actor *a, struct client_call *call);

/* Answer with an error, once; the call leaves the table of pending ones. */
void call_fail(struct client_actor *a, struct client_call *call, struct rpc_error error);
/* Answer with a result or a status; *result and status stay the caller's. */
void call_reply(struct client_actor *a, struct client_call *call, const struct result *result);
void call_reply_status(struct client_actor *a, struct client_call *call,
                       const struct node_status *status);
/* The node is about to stop: tell those who watch its health and end their streams. */
void calls_end_watchers(struct client_actor *a);
/* The connection is being closed: its HTTP/1 request, if any, is forgotten. */
void call_forget_web(struct client_connection *c);
void calls_free_pool(struct client_actor *a);

#endif
