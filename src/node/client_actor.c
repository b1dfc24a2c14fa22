/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_actor.c: a thread of the client port. It owns the sockets moved to it by the listener, and
 * every request that came over them until it is answered.
 *
 * In: CLIENT_SOCKET from the listener; CLIENT_REPLY and CLIENT_STATUS from apply and raft;
 * CLIENT_BARRIER from apply; CLIENT_STATE from raft; octets of clients. Out: RAFT_PROPOSE, RAFT_READ,
 * RAFT_STATUS, APPLY_READ; octets. Parts: see client_actor.h; pending.c (who waits for which number),
 * deadlines.c.
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

#include "client_lease.h"
#include "client_watch.h"

#include <stddef.h>
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

static void take_copy(struct client_actor *a, const struct client_copy *m)
{
    struct client_call *call = call_of_stream_number(a, m->number);
    if (call != NULL) {
        ASSERT(call->ops->copy != NULL);
        call->ops->copy(a, call, m);
    }
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
    web_connection_closed(c);
    credits_give(a->connections, 1);
}

static void connection_drained(void *owner, struct client_connection *c)
{
    if (c->web_call != NULL && c->web_call->drain_wanted) {
        call_drained(owner, c->web_call);
    }
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct client_actor *a = self;
    a->now_us = now_us;
    switch ((enum client_kind)m->kind) {
    case CLIENT_REPLY:
        calls_take_reply(a, (struct client_reply *)m);
        break;
    case CLIENT_STATUS:
        calls_take_status(a, (struct node_status *)m);
        break;
    case CLIENT_SOCKET:
        take_socket(a, (struct client_socket *)m, now_us);
        return;
    case CLIENT_COPY:
        take_copy(a, (const struct client_copy *)m);
        break;
    case CLIENT_FIGURES: {
        struct figures *figures = (struct figures *)m;
        calls_take_figures(a, &figures);
        return;
    }
    case CLIENT_UNKNOWN:
        calls_take_unknown(a, (struct client_barrier *)m);
        break;
    case CLIENT_BARRIER:
        calls_take_barrier(a, (struct client_barrier *)m);
        break;
    case CLIENT_STATE:
        calls_take_state(a, (struct client_state *)m);
        break;
    case CLIENT_WATCH:
        watches_take(a, (struct client_watch *)m);
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

static struct client_call *call_of_timer(struct deadline *d)
{
    uint8_t *at = (void *)d;
    return (void *)(at - offsetof(struct client_call, timer));
}

static void run_deadlines(struct client_actor *a)
{
    struct deadline *d;
    while ((d = deadlines_first(&a->deadlines)) != NULL && d->at_us <= a->now_us) {
        deadlines_clear(&a->deadlines, d);
        switch ((enum deadline_kind)d->kind) {
        case DEADLINE_OF_CALL:
            call_expired(a, (struct client_call *)(void *)d);
            break;
        case DEADLINE_OF_TIMER:
            call_timer_expired(a, call_of_timer(d));
            break;
        case DEADLINE_OF_CONNECTION:
            connection_expired((struct client_connection *)(void *)d, a->now_us);
            break;
        case DEADLINE_OF_LEADERLESS:
            calls_leaderless(a);
            break;
        }
    }
}

static void end_now(struct client_actor *a)
{
    calls_end_now(a);
    connections_flush(&a->shared, a->now_us);
    while (a->shared.all != NULL) {
        connection_close(a->shared.all);
    }
    calls_end_now(a); /* what was begun for clients that went just now */
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
    keepalives_flush(a);
    connections_flush(&a->shared, now_us);
    watches_flush(a);
    if (a->stopping) {
        if (now_us >= a->stop_at_us) {
            end_now(a);
        }
        if (a->shared.count == 0 && a->internal_count == 0) {
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
    calls_stop(a);
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
    calls_free(a);
    keepalives_free(a->keepalives);
    watches_free(a);
    pending_free(&a->pending);
    pending_free(&a->numbers);
    deadlines_clear(&a->deadlines, &a->leaderless); /* the leader may have left before us */
    deadlines_free(&a->deadlines);
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
    a->random = settings->seed;
    a->connections = settings->connections;
    a->requests = settings->requests;
    a->streams = settings->streams;
    a->bytes = settings->bytes;
    a->leaderless = (struct deadline){.place = DEADLINE_NONE, .kind = DEADLINE_OF_LEADERLESS};
    a->links = settings->actors;
    /* etcd: 5 s and two election timeouts */
    uint64_t timeout_ms = settings->config.request_timeout_ms != 0
                              ? settings->config.request_timeout_ms
                              : 5000 + 2 * (uint64_t)settings->config.raft.election_timeout_ms;
    a->request_timeout_us = timeout_ms * 1000;
    a->message_max = (size_t)settings->config.request_bytes_max + GRPC_RECEIVE_OVERHEAD;
    a->armed_us = UINT64_MAX;
    const struct http2_limits http2_limits = {
        .streams_max = settings->config.client_streams_per_connection_max,
        .header_bytes_max = settings->config.client_header_bytes_max};
    a->shared = (struct connection_shared){
        .owner = a,
        .closed = connection_closed,
        .drained = connection_drained,
        .http2 = http2_shared_create(&client_http2_callbacks, &http2_limits),
        .http1_callbacks = &client_http1_callbacks,
        .deadlines = &a->deadlines,
        .bytes = a->bytes,
        .bytes_max = settings->config.client_bytes_in_flight_max,
        .idle_timeout_us = settings->config.client_idle_timeout_s != 0
                               ? (uint64_t)settings->config.client_idle_timeout_s * 1000000
                               : UINT64_MAX,
        .input = mem_alloc(CONNECTION_INPUT_BYTES),
    };
    char name[32];
    (void)snprintf(name, sizeof name, "client-%zu", a->index);
    return actor_create(&client_ops, a, name);
}
