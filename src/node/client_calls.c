/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_calls.c: the life of a call, between its transport on one side and its ops on the other:
 * admission by credits, deadlines, and its one answer. Its steps: client_steps.c.
 *
 * Admission: a request takes one credit of `requests` (a lasting one of `streams`) with its header and
 * as many of `bytes` as its message says, before a single octet of it is kept. Who gets none is told
 * "too many requests". A long answer to a read takes credits too and is withheld without them; a write's
 * answer never is, because the write has happened.
 *
 * Time: a call that is not lasting ends at its client's deadline or after the request timeout, whichever
 * comes first. A lasting one ends at its client's deadline alone; each of its steps has the request timeout,
 * and a message that was begun has to come whole soon, since it holds credits.
 *
 * Invariants
 *  1. A call is answered at most once, and nothing is promised after call_close.
 *  2. A lasting call is in one of a->lasting until it is answered or closed.
 */
#include "client_actor.h"

#include <string.h>

#define LEADERLESS_ELECTION_TIMEOUTS 3 /* etcd's own patience for streams that insist on a leader */

/* ---- lists ---------------------------------------------------------------------------------------- */

static void list_add(struct client_actor *a, struct client_call *call)
{
    call->list = &a->lasting[a->lasting_current];
    call->previous = NULL;
    call->next = *call->list;
    if (call->next != NULL) {
        call->next->previous = call;
    }
    *call->list = call;
}

static void list_remove(struct client_call *call)
{
    if (call->list == NULL) {
        return;
    }
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else {
        *call->list = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    call->next = call->previous = NULL;
    call->list = NULL;
}

/* Do something once to every lasting call there is now; it and others may end by it, or new ones come. */
static void for_each_lasting(struct client_actor *a,
                             void (*what)(struct client_actor *a, struct client_call *call))
{
    struct client_call **old = &a->lasting[a->lasting_current];
    a->lasting_current ^= 1;
    ASSERT(a->lasting[a->lasting_current] == NULL);
    while (*old != NULL) {
        struct client_call *call = *old;
        list_remove(call);
        list_add(a, call);
        what(a, call);
    }
}

/* ---- life ----------------------------------------------------------------------------------------- */

static struct client_call *call_create(struct client_actor *a)
{
    struct client_call *call = a->pool;
    if (call != NULL) {
        a->pool = call->next;
        a->pool_count--;
    } else {
        call = mem_alloc(sizeof *call);
    }
    *call = (struct client_call){
        .client_until_us = UINT64_MAX, .step_until_us = UINT64_MAX, .message_until_us = UINT64_MAX};
    call->deadline.place = DEADLINE_NONE;
    call->deadline.kind = DEADLINE_OF_CALL;
    call->timer.place = DEADLINE_NONE;
    call->timer.kind = DEADLINE_OF_TIMER;
    a->call_count++;
    return call;
}

/* It is over: nobody works on it any more, its ops have nothing to do with it from here on. */
static void call_settle(struct client_actor *a, struct client_call *call)
{
    call_forget_step(a, call);
    deadlines_clear(&a->deadlines, &call->deadline);
    deadlines_clear(&a->deadlines, &call->timer);
    if (call->stream_number != 0) {
        (void)pending_take(&a->numbers, call->stream_number);
    }
    list_remove(call);
    call->drain_wanted = false;
    if (!call->closed_told) {
        call->closed_told = true;
        if (call->ops->closed != NULL) {
            call->ops->closed(a, call);
        }
    }
    call->stream_number = 0; /* the ops tell by it whose watch or copy is over */
}

static void count_handled(struct client_actor *a, const struct method *method, uint8_t code)
{
    if (method != NULL && code < FIGURES_CODES) {
        a->figures.handled[method->kind][code]++;
    }
}

void call_close(struct client_actor *a, struct client_call *call)
{
    if (!call->answered) { /* its client has left */
        count_handled(a, call->method, GRPC_CANCELED);
    }
    call_settle(a, call);
    grpc_reader_free(&call->reader);
    http2_chunk_free(&call->chunk);
    if (call->transport->release != NULL) {
        call->transport->release(call);
    }
    if (call->connection == NULL) {
        ASSERT(a->internal_count > 0);
        a->internal_count--;
    } else {
        credits_give(call->lasting ? a->streams : a->requests, 1);
        connection_discharge(call->connection, call->bytes_held);
    }
    ASSERT(a->call_count > 0);
    a->call_count--;
    if (a->pool_count < CALL_POOL_MAX) {
        call->next = a->pool;
        a->pool = call;
        a->pool_count++;
    } else {
        mem_free(call);
    }
}

bool call_take_bytes(struct client_actor *a, struct client_call *call, uint64_t bytes)
{
    ASSERT(call->connection != NULL);
    UNUSED(a);
    if (!connection_charge(call->connection, bytes)) {
        return false;
    }
    call->bytes_held += bytes;
    return true;
}

bool call_take_answer(struct client_actor *a, struct client_call *call, uint64_t bytes)
{
    return bytes <= ANSWER_BYTES_UNCHARGED || call_take_bytes(a, call, bytes);
}

void call_leave_bytes(struct client_call *call, uint64_t waiting)
{
    struct client_connection *c = call->connection;
    uint64_t more = waiting > c->held_bytes ? waiting - c->held_bytes : 0;
    uint64_t left = more < call->bytes_held ? more : call->bytes_held;
    call->bytes_held -= left;
    connection_hold(c, left);
}

void call_give_bytes(struct client_actor *a, struct client_call *call, uint64_t bytes)
{
    UNUSED(a);
    ASSERT(bytes <= call->bytes_held);
    call->bytes_held -= bytes;
    connection_discharge(call->connection, bytes);
}

/* What a node answers that was removed from the cluster. */
static bool tells_of_the_node(enum method_kind kind)
{
    return kind == METHOD_STATUS || kind == METHOD_MEMBER_LIST || kind == METHOD_GET_CLUSTER ||
           kind == METHOD_HEALTH_CHECK || kind == METHOD_HEALTH_WATCH;
}

static struct client_call *admit(struct client_actor *a, struct client_connection *c,
                                 const struct call_request *request, struct rpc_error *error)
{
    const struct call_ops *ops = request->ops;
    if (a->stopping || ops == NULL) {
        *error = rpc_error_of(a->stopping ? ERR_STOPPED : ERR_UNIMPLEMENTED);
        return NULL;
    }
    if (a->state.removed && request->method != NULL && !tells_of_the_node(request->method->kind)) {
        *error = rpc_error_of(ERR_REMOVED);
        return NULL;
    }
    if (request->has_leader && a->state.leader_id == 0) {
        *error = rpc_error_of(ERR_NO_LEADER);
        return NULL;
    }
    struct credits *credits = ops->lasting ? a->streams : a->requests;
    if (!credits_take(credits, 1)) {
        *error = ops->lasting ? rpc_error_too_many_streams : rpc_error_of(ERR_OVERLOAD);
        return NULL;
    }
    if (!connection_charge(c, CALL_BYTES)) {
        credits_give(credits, 1);
        *error = rpc_error_of(ERR_OVERLOAD);
        return NULL;
    }
    struct client_call *call = call_create(a);
    call->connection = c;
    call->transport = request->transport;
    call->ops = ops;
    call->method = request->method;
    call->lasting = ops->lasting;
    call->has_leader = request->has_leader;
    call->max_staleness_us = request->max_staleness_us;
    call->bytes_held = CALL_BYTES;
    if (request->timeout_us < UINT64_MAX - a->now_us) {
        call->client_until_us = a->now_us + request->timeout_us;
    }
    uint64_t until_us = call->client_until_us;
    if (call->lasting) {
        list_add(a, call);
    } else if (until_us > a->now_us + a->request_timeout_us) {
        until_us = a->now_us + a->request_timeout_us;
    }
    if (until_us != UINT64_MAX) {
        deadlines_set(&a->deadlines, &call->deadline, until_us);
    }
    return call;
}

struct client_call *call_admit(struct client_actor *a, struct client_connection *c,
                               const struct call_request *request, struct rpc_error *error)
{
    if (request->method != NULL) {
        a->figures.started[request->method->kind]++;
    }
    struct client_call *call = admit(a, c, request, error);
    if (call == NULL) {
        count_handled(a, request->method, error->code);
    }
    return call;
}

static void internal_finish(struct client_actor *a, struct client_call *call)
{
    call_close(a, call);
}

static void internal_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    UNUSED(error);
    call_close(a, call);
}

static const struct call_transport internal_transport = {.finish = internal_finish,
                                                         .fail = internal_fail};

struct client_call *call_create_internal(struct client_actor *a, const struct call_ops *ops)
{
    struct client_call *call = call_create(a);
    call->transport = &internal_transport;
    call->ops = ops;
    call->lasting = true;
    a->internal_count++;
    list_add(a, call);
    return call;
}

/* ---- requests ------------------------------------------------------------------------------------- */

void call_dispatch(struct client_actor *a, struct client_call *call, struct view message)
{
    ASSERT(!call->answered);
    ASSERT(!call->dispatched);
    a->figures.received_bytes += message.size;
    call->dispatched = call->method == NULL || !call->method->client_streams;
    call->ops->message(a, call, message);
}

void call_arm_deadline(struct client_actor *a, struct client_call *call)
{
    uint64_t at_us = call->client_until_us;
    if (call->step_until_us < at_us) {
        at_us = call->step_until_us;
    }
    if (call->message_until_us < at_us) {
        at_us = call->message_until_us;
    }
    if (at_us != UINT64_MAX) {
        deadlines_set(&a->deadlines, &call->deadline, at_us);
    } else {
        deadlines_clear(&a->deadlines, &call->deadline);
    }
}

void call_partial(struct client_actor *a, struct client_call *call, bool partial)
{
    ASSERT(call->lasting);
    if (partial != (call->message_until_us != UINT64_MAX)) {
        call->message_until_us = partial ? a->now_us + CALL_MESSAGE_US : UINT64_MAX;
        call_arm_deadline(a, call);
    }
}

void call_half_close(struct client_actor *a, struct client_call *call)
{
    call->half_closed = true;
    if (!call->answered && call->ops->half_closed != NULL) {
        call->ops->half_closed(a, call);
    }
}

/* ---- answers -------------------------------------------------------------------------------------- */

struct response_header call_header(const struct client_actor *a, int64_t revision)
{
    return (struct response_header){.cluster_id = a->state.cluster_id,
                                    .member_id = a->state.member_id,
                                    .raft_term = a->state.term,
                                    .revision = revision};
}

void call_begin(struct client_actor *a, struct client_call *call)
{
    if (!call->begun) {
        call->begun = true;
        call->transport->begin(a, call);
    }
}

uint8_t *call_room(struct client_actor *a, struct client_call *call, size_t size)
{
    if (!call->lasting) {
        (void)call_take_answer(a, call, size);
    }
    call_begin(a, call);
    a->figures.sent_bytes += size;
    return call->transport->room(a, call, size);
}

uint8_t *call_room_or_fail(struct client_actor *a, struct client_call *call, size_t size)
{
    call->may_withhold = true;
    if (!call->lasting && !call_take_answer(a, call, size)) {
        call_fail(a, call, rpc_error_of(ERR_OVERLOAD));
        return NULL;
    }
    call_begin(a, call);
    a->figures.sent_bytes += size;
    return call->transport->room(a, call, size);
}

void call_push(struct client_actor *a, struct client_call *call)
{
    ASSERT(!call->answered);
    call->transport->push(a, call);
}

void call_send(struct client_actor *a, struct client_call *call, struct view message)
{
    uint8_t *room = call_room(a, call, message.size);
    if (message.size > 0) {
        memcpy(room, message.data, message.size);
    }
    call_push(a, call);
}

void call_end(struct client_actor *a, struct client_call *call)
{
    ASSERT(!call->answered);
    call->answered = true;
    call_settle(a, call);
}

void call_finish(struct client_actor *a, struct client_call *call)
{
    if (call->transport->ready != NULL && !call->transport->ready(a, call)) {
        call_fail_with(a, call, ERR_OVERLOAD);
        return;
    }
    count_handled(a, call->method, 0);
    call_end(a, call);
    call->transport->finish(a, call);
}

void call_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    count_handled(a, call->method, error.code);
    call_end(a, call);
    call->transport->fail(a, call, error);
}

void call_fail_with(struct client_actor *a, struct client_call *call, enum err error)
{
    call_fail(a, call, rpc_error_of(error));
}

bool call_leader_hint(const struct client_actor *a, struct rpc_error error, struct view *out)
{
    const struct configuration *c = &a->state.configuration;
    int at = configuration_find(c, a->state.leader_id);
    if (!rpc_error_names_leader(error) || a->state.leader_id == 0 || at < 0 ||
        c->members[at].client[0] == 0) {
        return false;
    }
    *out = view_of_text(c->members[at].client);
    return true;
}

void call_want_drained(struct client_actor *a, struct client_call *call, uint64_t mark)
{
    ASSERT(!call->answered);
    call->drain_wanted = true;
    call->drain_mark = mark;
    call->transport->want_drained(a, call, mark);
}

void call_drained(struct client_actor *a, struct client_call *call)
{
    call->drain_wanted = false;
    if (!call->answered && call->ops->drained != NULL) {
        call->ops->drained(a, call);
    }
}

/* ---- timers, stream numbers ------------------------------------------------------------------------- */

void call_set_timer(struct client_actor *a, struct client_call *call, uint64_t at_us)
{
    ASSERT(!call->answered);
    if (at_us == UINT64_MAX) {
        deadlines_clear(&a->deadlines, &call->timer);
    } else {
        deadlines_set(&a->deadlines, &call->timer, at_us);
    }
}

uint64_t call_stream_number(struct client_actor *a, struct client_call *call)
{
    ASSERT(!call->answered);
    if (call->stream_number == 0) {
        call->stream_number = REQUEST_ID(a->index, ++a->counter);
        pending_add(&a->numbers, call->stream_number, call);
    }
    return call->stream_number;
}

struct client_call *call_of_stream_number(struct client_actor *a, uint64_t number)
{
    return pending_find(&a->numbers, number);
}

static void end_removed(struct client_actor *a, struct client_call *call)
{
    if (call->method != NULL && !tells_of_the_node(call->method->kind)) {
        call_fail_with(a, call, ERR_REMOVED);
    }
}

void calls_take_state(struct client_actor *a, const struct client_state *state)
{
    struct msg base = a->state.base;
    bool had_leader = a->state.leader_id != 0;
    bool removed_now = state->removed && !a->state.removed;
    a->state = *state;
    a->state.base = base;
    if (removed_now) {
        for_each_lasting(a, end_removed);
    }
    if (a->state.leader_id != 0) {
        deadlines_clear(&a->deadlines, &a->leaderless);
    } else if (had_leader) {
        deadlines_set(&a->deadlines, &a->leaderless,
                      a->now_us + (uint64_t)LEADERLESS_ELECTION_TIMEOUTS *
                                      a->config.raft.election_timeout_ms * 1000);
    }
}

/* ---- time ----------------------------------------------------------------------------------------- */

static void end_leaderless(struct client_actor *a, struct client_call *call)
{
    if (call->has_leader) {
        call_fail_with(a, call, ERR_NO_LEADER);
    }
}

void calls_leaderless(struct client_actor *a)
{
    for_each_lasting(a, end_leaderless);
}

void call_expired(struct client_actor *a, struct client_call *call)
{
    if (a->now_us >= call->client_until_us) {
        call_fail(a, call, rpc_error_deadline);
    } else if (!call->lasting || a->now_us >= call->message_until_us) {
        call_fail_with(a, call, ERR_TIMEOUT);
    } else {
        call_step_timed_out(a, call);
    }
}

void call_timer_expired(struct client_actor *a, struct client_call *call)
{
    call->ops->timer(a, call);
}

static void stop_one(struct client_actor *a, struct client_call *call)
{
    if (call->ops->stopping != NULL) {
        call->ops->stopping(a, call);
    } else {
        call_fail_with(a, call, ERR_STOPPED);
    }
}

void calls_stop(struct client_actor *a)
{
    for_each_lasting(a, stop_one);
}

static void end_internal(struct client_actor *a, struct client_call *call)
{
    if (call->connection == NULL) {
        call_fail_with(a, call, ERR_STOPPED);
    }
}

void calls_end_now(struct client_actor *a)
{
    for (size_t i = 0; i < a->pending.capacity; i++) {
        while (a->pending.slots[i].id != 0) { /* taking one may move another here */
            call_fail_with(a, a->pending.slots[i].call, ERR_STOPPED);
        }
    }
    for_each_lasting(a, end_internal); /* those that wait for a time, not for an answer */
}

void calls_free(struct client_actor *a)
{
    for (size_t i = 0; i < ARRAY_COUNT(a->lasting); i++) {
        while (a->lasting[i] != NULL) {
            ASSERT(a->lasting[i]->connection == NULL); /* the others went with their connections */
            call_close(a, a->lasting[i]);
        }
    }
    while (a->pool != NULL) {
        struct client_call *call = a->pool;
        a->pool = call->next;
        mem_free(call);
    }
    a->pool_count = 0;
}

void call_answer_encoded(struct client_actor *a, struct client_call *call, uint8_t **message,
                         size_t size)
{
    call_send(a, call, view_of(*message, size));
    mem_free(*message);
    *message = NULL;
    call_finish(a, call);
}

void call_answer_bare(struct client_actor *a, struct client_call *call, int64_t revision)
{
    struct response_header header = call_header(a, revision);
    rpc_bare_write(&header, call_room(a, call, rpc_bare_size(&header)));
    call_push(a, call);
    call_finish(a, call);
}

void call_reply_bare(struct client_actor *a, struct client_call *call, const struct result *result)
{
    call_answer_bare(a, call, result->revision);
}
