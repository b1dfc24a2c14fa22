/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_actor.h: the parts of the client actor that its files share.
 *
 *   client_actor.c       messages in, time, start and stop
 *   client_connection.c  a socket and its engine
 *   client_transport.c   gRPC: from HTTP/2's callbacks to calls and back
 *   client_web.c         plain HTTP: likewise
 *   client_calls.c       life of a call: admission, deadlines, answers
 *   client_steps.c       what a call asks of raft and apply, and their answers
 *   client_methods.c     which method is carried out by whom (struct call_ops)
 *   client_kv.c ...      what each method does (client_lease.c also gathers keepalives of all streams)
 *
 * A *call* is one request of a client (or one of our own, "internal") from its header to its end. It has
 * a transport, which knows how answers travel, and ops, which know what the method means. Ops are
 * called with protobuf messages and with the answers to their *steps*: a proposal (call_propose), a
 * read (call_query) or a question to the node (call_status), at most one at a time. So a method is a
 * small state machine; its state hangs at call->state.
 *
 * Rules for ops
 *  1. A call is answered at most once: call_finish or call_fail. After either the call may be gone:
 *     return at once. The same holds after call_dispatch, and after call_room_or_fail gave NULL.
 *  2. `closed` comes exactly once, when the call has been answered or its client is gone, whichever is
 *     first; then free call->state. From inside it nothing may be sent, but an internal call may be made.
 *  3. A step that is under way when the call ends is forgotten: its reply finds nobody. What it asked
 *     for may still happen.
 *  4. Nothing blocks, nothing reads a clock: a->now_us.
 */
#ifndef HOLDFAST_CLIENT_ACTOR_H
#define HOLDFAST_CLIENT_ACTOR_H

#include "client_connection.h"
#include "client_transport.h"
#include "deadlines.h"
#include "message.h"
#include "node.h"
#include "pending.h"

#include "../api/method.h"
#include "../api/rpc_error.h"
#include "../api/rpc_kv.h"
#include "../net/grpc.h"

#define CALL_POOL_MAX          4096   /* free calls kept for reuse */
#define CALL_BYTES             512    /* credits every call is charged beside its message */
#define GRPC_RECEIVE_OVERHEAD  524288 /* etcd's receive limit above max-request-bytes */
#define ANSWER_BYTES_UNCHARGED 4096   /* answers up to this ride on the request's own credits */
#define CALL_MESSAGE_US        UINT64_C(30000000) /* for a message to a lasting call to come whole */

struct client_call;
struct client_watch;   /* CLIENT_WATCH, message.h */
struct watch_response; /* one response in it */

/*
 * What a method does. Any but `message` may be NULL.
 */
struct call_ops {
    /* The method's calls live long: they hold a credit of client.streams_max and not one of
     * requests_in_flight_max, and have no deadline unless their client gave one. */
    bool lasting;

    /* A request message, borrowed for the call of this function. Unary and server-streaming methods get
     * exactly one, client-streaming ones any number. */
    void (*message)(struct client_actor *a, struct client_call *call, struct view message);
    /* The client will send no more (client-streaming methods only). NULL: nothing happens. */
    void (*half_closed)(struct client_actor *a, struct client_call *call);
    /* Rule 2. */
    void (*closed)(struct client_actor *a, struct client_call *call);

    /* The step's answer, result->error is OK. The result is borrowed. */
    void (*reply)(struct client_actor *a, struct client_call *call, const struct result *result);
    /* The step failed: the error of raft or of the state machine. NULL: the call fails with it. A step
     * of a lasting call that was not answered in the request timeout fails with ERR_TIMEOUT. */
    void (*refused)(struct client_actor *a, struct client_call *call, enum err error);
    /* The answer to call_status or call_members; borrowed. */
    void (*status)(struct client_actor *a, struct client_call *call,
                   const struct node_status *status);
    /* A response for this call's stream number (call_stream_number); both borrowed. */
    void (*watch)(struct client_actor *a, struct client_call *call, const struct client_watch *m,
                  const struct watch_response *response);
    /* The answer to a request to the copy actor under this call's stream number; borrowed. */
    void (*copy)(struct client_actor *a, struct client_call *call, const struct client_copy *m);
    /* The answer to call_figures; borrowed. */
    void (*figures)(struct client_actor *a, struct client_call *call,
                    const struct figures *figures);
    /* call_want_drained's answer. */
    void (*drained)(struct client_actor *a, struct client_call *call);
    /* call_set_timer's time has come. */
    void (*timer)(struct client_actor *a, struct client_call *call);
    /* The node is about to stop: end a lasting call. NULL: call_fail with ERR_STOPPED. */
    void (*stopping)(struct client_actor *a, struct client_call *call);
};

/*
 * One request under way. It lives from its header until its stream is closed (HTTP/1: until it is
 * answered or the connection is closed; internal: until it is answered), and holds its credits as long.
 */
struct client_call {
    struct deadline deadline; /* first */
    struct deadline timer;
    struct client_connection *connection; /* NULL: internal */
    const struct call_transport *transport;
    const struct call_ops *ops;
    const struct method *method; /* NULL: not an RPC */
    void *state;                 /* the ops' own */

    bool lasting;
    bool has_leader; /* ends when the cluster has had no leader for a while (metadata hasleader) */
    bool dispatched; /* its one message was taken (not client-streaming) */
    bool half_closed;
    bool begun;
    bool answered;      /* finished or failed */
    bool closed_told;   /* ops->closed was called */
    bool step_is_write; /* `command` is under way */
    bool step_grows;    /* ... and may need room */
    bool may_withhold;  /* its answer is to a read: without room it may be refused instead */
    bool drain_wanted;
    uint64_t drain_mark;
    uint64_t client_until_us;  /* the client's own deadline; UINT64_MAX: none, as with these: */
    uint64_t step_until_us;    /* lasting: the step under way */
    uint64_t message_until_us; /* lasting: the rest of a message that was begun */
    uint64_t request_id;       /* of the step under way; 0: none */
    uint64_t stream_number;    /* 0: none */
    uint64_t bytes_held;
    uint64_t proposed_us;
    uint64_t max_staleness_us; /* 0: none */
    struct bytes command; /* of a write until it is answered: it may have to be proposed again */
    struct client_call *next, *previous; /* of the lasting ones */
    struct client_call **list;           /* the head of the list it is in; NULL: in none */

    /* gRPC's own */
    struct http2_stream *stream; /* also of plain HTTP on HTTP/2 */
    struct view content_type;    /* of the answer */
    struct grpc_reader reader;
    struct http2_chunk *chunk; /* the room */
    size_t unread;             /* octets taken for which the window is not opened yet */
    /* another transport's own */
    void *carrier;
};

struct client_actor {
    struct actor *actor;
    size_t index;
    struct config config;
    struct client_state state;
    struct credits *connections, *requests, *streams, *bytes;
    const struct node_actors *links;
    struct actor *raft, *apply;
    uint64_t request_timeout_us;
    size_t message_max;

    uint64_t now_us; /* of the handler running */
    uint64_t counter;
    uint64_t armed_us;
    struct pending pending; /* steps under way */
    struct pending numbers; /* stream numbers */
    struct deadlines deadlines;
    struct connection_shared shared;
    struct client_call *pool;
    size_t pool_count;
    size_t call_count;
    size_t internal_count;
    struct figures_clients figures;
    struct client_call *lasting[2]; /* two lists, so that all can be visited while some end */
    size_t lasting_current;         /* where new ones go */
    struct client_watches *watches; /* of client_watch.c; NULL: nothing yet */
    struct deadline leaderless;     /* then lasting calls with has_leader end */
    struct keepalives *keepalives;  /* of client_lease.c; NULL: nobody has asked yet */
    uint64_t random;
    bool stopping;
    uint64_t stop_at_us;
};

/* ---- for ops: answers ------------------------------------------------------------------------------ */

/* What every response's header says; revision 0: unset. */
struct response_header call_header(const struct client_actor *a, int64_t revision);

/* The answer begins (a stream's client may wait for this header); harmless if it has begun. */
void call_begin(struct client_actor *a, struct client_call *call);
/* Send one protobuf message, copied. Begins the answer if that was not done. */
void call_send(struct client_actor *a, struct client_call *call, struct view message);
/* The same without a copy: write exactly `size` octets into the room, then call_push, with nothing of
 * this call between. A long answer of a call that is not lasting is charged to the octets in flight
 * where credits are left. */
uint8_t *call_room(struct client_actor *a, struct client_call *call, size_t size);
/* For an answer that may be refused, a read's: NULL if there are no credits, and the call has failed. */
uint8_t *call_room_or_fail(struct client_actor *a, struct client_call *call, size_t size);
void call_push(struct client_actor *a, struct client_call *call);
/* The answer is complete. */
void call_finish(struct client_actor *a, struct client_call *call);
/* The answer is an error; error.text is borrowed for the call. */
void call_fail(struct client_actor *a, struct client_call *call, struct rpc_error error);
void call_fail_with(struct client_actor *a, struct client_call *call, enum err error);
/* The leader's client address if the error's answer should name it; false: it should not, or none is known. */
bool call_leader_hint(const struct client_actor *a, struct rpc_error error, struct view *out);

/* One message is the whole answer: `*message`, which is freed; or a header and nothing more. */
void call_answer_encoded(struct client_actor *a, struct client_call *call, uint8_t **message,
                         size_t size);
void call_answer_bare(struct client_actor *a, struct client_call *call, int64_t revision);
/* An ops->reply: that, with the result's revision. */
void call_reply_bare(struct client_actor *a, struct client_call *call, const struct result *result);

/* Messages of lasting calls are charged nowhere: whoever sends without being asked bounds himself by this.
 * ops->drained is called once when not more than `mark` octets are queued, never from in here. */
void call_want_drained(struct client_actor *a, struct client_call *call, uint64_t mark);

/* ---- for ops: steps ---------------------------------------------------------------------------------- */

/* Append a command to the log; answered by ops->reply or ops->refused. Encoded at once, views need not
 * last. A write that was lost for certain in a change of leaders is proposed again. */
void call_propose(struct client_actor *a, struct client_call *call, const struct command *command);
/* Read from the store, linearizably or (query->serializable) as this node knows it. Copied. */
void call_query(struct client_actor *a, struct client_call *call, const struct query *query);
/* Ask raft and apply how they are; answered by ops->status. */
void call_status(struct client_actor *a, struct client_call *call);
/* Ask every actor of the node for its figures; answered by ops->figures. */
void call_figures(struct client_actor *a, struct client_call *call);
/* The members as of now, confirmed by a quorum; answered by ops->status or ops->refused. */
void call_members(struct client_actor *a, struct client_call *call);
/* Other members, another wish, another leader; answered by ops->status once it is so, or by ops->refused. Copied. */
void call_change_members(struct client_actor *a, struct client_call *call,
                         const struct member_request *request);
/* Forget the step under way, if any. */
void call_forget_step(struct client_actor *a, struct client_call *call);
/* Octets in flight beside what the call holds already; given back when it ends, or by call_give_bytes. */
bool call_take_bytes(struct client_actor *a, struct client_call *call, uint64_t bytes);
/* The same for an answer's: small ones ride on what the request took. */
bool call_take_answer(struct client_actor *a, struct client_call *call, uint64_t bytes);
void call_give_bytes(struct client_actor *a, struct client_call *call, uint64_t bytes);
/* The call is about to end while `waiting` octets, with its answer, wait for the socket: they stay charged, by
 * its connection. */
void call_leave_bytes(struct client_call *call, uint64_t waiting);

/* ops->timer at at_us, replacing an earlier one; UINT64_MAX: never. */
void call_set_timer(struct client_actor *a, struct client_call *call, uint64_t at_us);
/* The call's number for watches (WATCH_CREATE): drawn at the first use, never repeated in this boot, of the
 * form of a request's number (REQUEST_CLIENT_OF names this actor). */
uint64_t call_stream_number(struct client_actor *a, struct client_call *call);
/* NULL: the call has ended. */
struct client_call *call_of_stream_number(struct client_actor *a, uint64_t number);

/*
 * An internal call: no client, no transport; ops->message is never called, call_finish and call_fail only end
 * it, call_send is not allowed. It holds no credits, so its maker bounds how many there are. For work that must
 * go on when its client is gone, and for work of the actor itself.
 */
struct client_call *call_create_internal(struct client_actor *a, const struct call_ops *ops);

/* ---- for transports ------------------------------------------------------------------------------------ */

/* Who carries a method out; NULL: not built yet. */
const struct call_ops *ops_of_method(enum method_kind kind);

struct call_request {
    const struct call_transport *transport;
    const struct call_ops *ops;
    const struct method *method; /* NULL: not an RPC */
    uint64_t timeout_us;         /* the client's own; UINT64_MAX: none */
    bool has_leader;
    uint64_t max_staleness_us; /* of its reads; 0: they are linearizable */
};

/*
 * Admit a request: stopping, no leader for one that insists, no credits. NULL: refused, *error says why
 * (nothing was sent). Else the transport fills in its own fields.
 */
struct client_call *call_admit(struct client_actor *a, struct client_connection *c,
                               const struct call_request *request, struct rpc_error *error);
/* A request message of protobuf, borrowed for the call. Not after the call was answered. */
void call_dispatch(struct client_actor *a, struct client_call *call, struct view message);
/* Of a lasting call: some of a message has come, but not all; or all. */
void call_partial(struct client_actor *a, struct client_call *call, bool partial);
/* The client sends no more. */
void call_half_close(struct client_actor *a, struct client_call *call);
/* want_drained's mark is reached. */
void call_drained(struct client_actor *a, struct client_call *call);
/* The client's side is gone, or its answer is sent completely: free the call. */
void call_close(struct client_actor *a, struct client_call *call);
/* It is answered, by its transport itself: call_finish without transport->finish. */
void call_end(struct client_actor *a, struct client_call *call);

static inline struct client_actor *client_actor_of(const struct client_connection *c)
{
    return c->shared->owner;
}

/* ---- between client_calls.c and client_steps.c --------------------------------------------------------- */

/* Of a lasting call: the earliest of its client's deadline, its step's, and its message's. */
void call_arm_deadline(struct client_actor *a, struct client_call *call);
/* Of a lasting call: its step was not answered in time. */
void call_step_timed_out(struct client_actor *a, struct client_call *call);

/* ---- for client_actor.c ---------------------------------------------------------------------------------- */

void calls_take_reply(struct client_actor *a, const struct client_reply *reply);
void calls_take_status(struct client_actor *a, const struct node_status *status);
/* *figures moves: it is answered here, or goes on its way. */
void calls_take_figures(struct client_actor *a, struct figures **figures);
void calls_take_unknown(struct client_actor *a, const struct client_barrier *unknown);
void calls_take_barrier(struct client_actor *a, const struct client_barrier *barrier);
void calls_take_state(struct client_actor *a, const struct client_state *state);
void call_expired(struct client_actor *a, struct client_call *call);
void call_timer_expired(struct client_actor *a, struct client_call *call);
void calls_leaderless(struct client_actor *a);
/* The node is about to stop: lasting calls end. */
void calls_stop(struct client_actor *a);
/* Its time to stop is up: whatever waits for a step is told so. */
void calls_end_now(struct client_actor *a);
void calls_free(struct client_actor *a);

#endif
