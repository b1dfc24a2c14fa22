/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_actor.c: a thread of the client port. It owns the sockets moved to it by the listener, and
 * every request that came over them until it is answered.
 *
 * In: CLIENT_SOCKET from the listener; CLIENT_REPLY and CLIENT_STATUS from apply and raft;
 * CLIENT_BARRIER from apply; CLIENT_STATE from raft; octets of clients. Out: RAFT_PROPOSE, RAFT_READ,
 * RAFT_STATUS, APPLY_READ; octets. Parts: client_connection.c (a socket and its engine),
 * client_calls.c (requests and answers), pending.c (who waits for which number), deadlines.c.
 *
 * What a client is told when no answer comes (trap 51): at its own deadline DEADLINE_EXCEEDED, at
 * ours "request timed out" - both leave open whether a write happened. After a barrier or a refused
 * forward the write definitely did not happen: it is proposed again, and its client sees a pause.
 *
 * Invariants
 *  1. The actor's one deadline is never later than the earliest of `deadlines` when it sleeps.
 *  2. Everything answered in a round leaves in one write per connection, in the flush.
 *  3. Stopping ends: when nothing is under way, or CLIENT_STOP_US after it began.
 */
#include "client_actor.h"

#include <stdio.h>
#include <string.h>

#define CLIENT_STOP_US UINT64_C(3000000) /* for requests under way to end by themselves */

static void started(void *self, uint64_t now_us)
{
    struct client_actor *a = self;
    UNUSED(now_us);
    a->actor = actor_self();
    a->raft = a->links->raft;
    a->apply = a->links->apply;
    a->shared.actor = a->actor;
}

/* ---- messages -------------------------------------------------------------------------------------- */

static bool is_write(const struct client_call *call)
{
    return call->call_kind == CALL_RPC &&
           (call->kind == METHOD_PUT || call->kind == METHOD_DELETE_RANGE);
}

static void take_reply(struct client_actor *a, struct client_reply *reply)
{
    struct client_call *call = pending_take(&a->pending, reply->request_id);
    if (call != NULL) {
        call->request_id = 0;
        if (reply->error == ERR_LEADER_CHANGED && is_write(call)) {
            call_propose_again(a, call);
        } else if (reply->error != OK || reply->result == NULL) {
            call_fail(a, call, rpc_error_of(reply->error));
        } else {
            call_reply(a, call, reply->result);
        }
    }
    MSG_FREE(reply);
}

static void take_status(struct client_actor *a, struct node_status *status)
{
    struct client_call *call = pending_take(&a->pending, status->request_id);
    if (call != NULL) {
        call->request_id = 0;
        call_reply_status(a, call, status);
    }
    MSG_FREE(status);
}

/* Rare (a change of term), so the whole table is looked through. */
static void take_barrier(struct client_actor *a, const struct client_barrier *barrier)
{
    struct client_call **lost = NULL;
    size_t count = 0;
    size_t capacity = 0;
    for (size_t i = 0; i < a->pending.capacity; i++) {
        const struct pending_slot *slot = &a->pending.slots[i];
        if (slot->id != 0 && slot->id <= barrier->request_id && is_write(slot->call)) {
            ARRAY_RESERVE(lost, capacity, count + 1);
            lost[count++] = slot->call;
        }
    }
    for (size_t i = 0; i < count; i++) {
        call_propose_again(a, lost[i]);
    }
    mem_free(lost);
}

static void take_state(struct client_actor *a, const struct client_state *state)
{
    struct msg base = a->state.base;
    a->state = *state;
    a->state.base = base;
}

static void take_socket(struct client_actor *a, struct client_socket *socket, uint64_t now_us)
{
    if (!a->stopping) {
        (void)connection_open(&a->shared, socket->fd, now_us);
        socket->fd = -1;
    } else {
        credits_give(a->connections, 1);
    }
    MSG_FREE(socket);
}

static void connection_closed(void *owner, struct client_connection *c)
{
    struct client_actor *a = owner;
    call_forget_web(c);
    credits_give(a->connections, 1);
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct client_actor *a = self;
    a->now_us = now_us;
    switch ((enum client_kind)m->kind) {
    case CLIENT_REPLY:
        take_reply(a, (struct client_reply *)m);
        return;
    case CLIENT_STATUS:
        take_status(a, (struct node_status *)m);
        return;
    case CLIENT_SOCKET:
        take_socket(a, (struct client_socket *)m, now_us);
        return;
    case CLIENT_BARRIER:
        take_barrier(a, (struct client_barrier *)m);
        break;
    case CLIENT_STATE:
        take_state(a, (struct client_state *)m);
        break;
    }
    msg_free_base(&m);
}

static void ready(void *self, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    struct client_actor *a = self;
    UNUSED(fd);
    a->now_us = now_us;
    connection_ready(tag, events, now_us);
}

/* ---- time ------------------------------------------------------------------------------------------ */

static void give_up_call(struct client_actor *a, struct client_call *call)
{
    call_fail(a, call, call->client_deadline ? rpc_error_deadline : rpc_error_of(ERR_TIMEOUT));
}

static void run_deadlines(struct client_actor *a)
{
    struct deadline *d;
    while ((d = deadlines_first(&a->deadlines)) != NULL && d->at_us <= a->now_us) {
        deadlines_clear(&a->deadlines, d);
        if (d->kind == DEADLINE_OF_CONNECTION) {
            connection_expired((struct client_connection *)(void *)d);
        } else {
            give_up_call(a, (struct client_call *)(void *)d);
        }
    }
}

static void end_now(struct client_actor *a)
{
    for (size_t i = 0; i < a->pending.capacity; i++) {
        while (a->pending.slots[i].id != 0) { /* taking one may move another here */
            call_fail(a, a->pending.slots[i].call, rpc_error_of(ERR_STOPPED));
        }
    }
    connections_flush(&a->shared, a->now_us);
    while (a->shared.all != NULL) {
        connection_close(a->shared.all);
    }
}

static void expired(void *self, uint64_t now_us)
{
    struct client_actor *a = self;
    a->now_us = now_us;
    a->armed_us = UINT64_MAX;
    run_deadlines(a);
}

static void flush(void *self, uint64_t now_us)
{
    struct client_actor *a = self;
    a->now_us = now_us;
    connections_flush(&a->shared, now_us);
    if (a->stopping) {
        if (a->shared.count > 0 && now_us >= a->stop_at_us) {
            end_now(a);
        }
        if (a->shared.count == 0) {
            actor_stopped(a->actor);
            return;
        }
    }
    const struct deadline *first = deadlines_first(&a->deadlines);
    uint64_t next_us = first != NULL ? first->at_us : UINT64_MAX;
    if (a->stopping && a->stop_at_us < next_us) {
        next_us = a->stop_at_us;
    }
    if (next_us < a->armed_us) { /* an alarm that comes too early only costs a look */
        a->armed_us = next_us;
        actor_set_deadline(a->actor, next_us);
    }
}

static void stop(void *self, uint64_t now_us)
{
    struct client_actor *a = self;
    a->now_us = now_us;
    if (a->stopping) {
        return;
    }
    a->stopping = true;
    a->stop_at_us = now_us + CLIENT_STOP_US;
    calls_end_watchers(a);
    for (struct client_connection *c = a->shared.all; c != NULL; c = c->next) {
        connection_drain(c);
    }
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void destroy(void *self)
{
    struct client_actor *a = self;
    /* after a stop nothing is left; after a crash in the simulator or a start that failed there may be */
    ASSERT(a->shared.count == 0);
    pending_free(&a->pending);
    deadlines_free(&a->deadlines);
    calls_free_pool(a);
    http2_shared_destroy(&a->shared.http2);
    buffer_free(&a->shared.scratch);
    mem_free(a->shared.input);
    mem_free(a);
}

static const struct actor_ops client_ops = {
    .started = started,
    .handle = handle,
    .flush = flush,
    .ready = ready,
    .expired = expired,
    .stop = stop,
    .destroy = destroy,
};

struct actor *client_actor_create(const struct client_actor_settings *settings)
{
    ASSERT(settings->client_index < CLIENTS_MAX);
    struct client_actor *a = mem_zalloc(sizeof *a);
    a->index = settings->client_index;
    a->config = settings->config;
    a->state = settings->state;
    a->connections = settings->connections;
    a->requests = settings->requests;
    a->bytes = settings->bytes;
    a->links = settings->actors;
    /* etcd: 5 s and two election timeouts */
    uint64_t timeout_ms = settings->config.request_timeout_ms != 0
                              ? settings->config.request_timeout_ms
                              : 5000 + 2 * (uint64_t)settings->config.raft.election_timeout_ms;
    a->request_timeout_us = timeout_ms * 1000;
    a->message_max = (size_t)settings->config.request_bytes_max + GRPC_RECEIVE_OVERHEAD;
    a->armed_us = UINT64_MAX;
    a->shared = (struct connection_shared){
        .owner = a,
        .closed = connection_closed,
        .http2 = http2_shared_create(&client_http2_callbacks),
        .http1_callbacks = &client_http1_callbacks,
        .http1_body_bytes_max = a->message_max,
        .deadlines = &a->deadlines,
        .input = mem_alloc(CONNECTION_INPUT_BYTES),
    };
    char name[32];
    (void)snprintf(name, sizeof name, "client-%zu", a->index);
    return actor_create(&client_ops, a, name);
}
