/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_lease.c: the methods of etcd's Lease service. Grants, revokes and look-ups are one step each, as
 * in client_kv.c. Keepalives are gathered: whatever asks in one round of the actor, or while a batch is
 * under way, goes into the next one, for all streams of this actor together, so that 100,000 leases cost
 * the log a few entries a second and not 100,000 (design: "keepalives batched into one entry per group
 * commit"). Batches leave at least KEEPALIVE_PACE_US apart: one that comes alone leaves at once, but thousands
 * a second would else become as many commits as the disk can do, each with a keepalive or two.
 *
 * In: LeaseKeepAliveRequests of any number of streams. Out: one COMMAND_LEASE_KEEPALIVE at a time, made by
 * an internal call, and an answer for each request on its stream when the batch has been applied here. A batch
 * that was lost for certain is proposed again as any write is. One without an answer (a connection to the
 * leader broke, say) is proposed again after a while as well, because all others wait behind it, and renewing a
 * lease twice is as good as once; without an answer in the request timeout it ends the streams it was for, whose
 * clients ask anew.
 *
 * Invariants
 *  1. Requests wait in the order they came; the first `sent` of them are the batch under way. So answers on
 *     a stream come in the order of its requests.
 *  2. A stream's state lives as long as its call or a waiting request names it.
 *  3. What waits is bounded: requests by KEEPALIVES_WAITING_MAX; and each of them, with its answer until the
 *     stream's socket has taken its answers, by the clients' credits for octets.
 */
#include "client_lease.h"

#include "client_methods.h"

#include "../api/rpc_lease.h"

#include <string.h>

#define KEEPALIVE_BATCH_MAX ((size_t)8192) /* ids in one entry: 64 KiB */
#define KEEPALIVE_PACE_US   UINT64_C(2000)
#define KEEPALIVE_PATIENCES 8  /* the first one's share of the request timeout; then it doubles */
#define KEEPALIVE_BYTES     64 /* charged for a request and its answer */

/* The state of a LeaseKeepAlive call. */
struct keepalive_stream {
    struct client_call *call; /* NULL: it has ended */
    size_t waiting;           /* requests not answered yet */
    size_t charged; /* requests charged to the call: those, and answered ones in its queue */
};

struct keepalive {
    struct keepalive_stream *stream;
    int64_t id;
};

_Static_assert(sizeof(struct keepalive) == KEEPALIVE_WAITING_BYTES, "as counted by limits");

struct keepalives {
    struct client_call
        *call; /* internal: proposes the batches; NULL: none yet, or ended by a stop */
    struct keepalive *items; /* a queue: items[first .. first + count - 1] */
    size_t first, count, capacity;
    size_t sent;
    uint64_t next_at_us;  /* no batch leaves before */
    uint64_t until_us;    /* the batch under way is given up then */
    uint64_t patience_us; /* and proposed again after this */
};

int64_t client_lease_id(struct client_actor *a)
{
    int64_t id = 0;
    while (id == 0) {
        id = (int64_t)(random_next(&a->random) >> 1);
    }
    return id;
}

/* ---- LeaseGrant ----------------------------------------------------------------------------------- */

/* Whether the id was ours to draw; then another is drawn where it exists already. */
struct grant {
    struct command command;
    bool drawn;
};

static void grant_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct command command;
    enum err error = rpc_lease_grant_decode(
        message, rpc_lease_ttl_min_s(a->config.raft.election_timeout_ms), &command);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    struct grant *grant = mem_zalloc(sizeof *grant);
    grant->drawn = command.lease_id == 0;
    if (grant->drawn) {
        command.lease_id = client_lease_id(a);
    }
    grant->command = command;
    call->state = grant;
    call_propose(a, call, &command);
}

static void grant_refused(struct client_actor *a, struct client_call *call, enum err error)
{
    struct grant *grant = call->state;
    if (error == ERR_LEASE_EXISTS && grant->drawn) {
        grant->command.lease_id = client_lease_id(a);
        call_propose(a, call, &grant->command);
        return;
    }
    call_fail_with(a, call, error);
}

static void grant_reply(struct client_actor *a, struct client_call *call,
                        const struct result *result)
{
    struct response_header header = call_header(a, result->revision);
    rpc_lease_grant_write(&header, result,
                          call_room(a, call, rpc_lease_grant_size(&header, result)));
    call_push(a, call);
    call_finish(a, call);
}

static void grant_closed(struct client_actor *a, struct client_call *call)
{
    UNUSED(a);
    mem_free(call->state);
    call->state = NULL;
}

const struct call_ops client_lease_grant_ops = {.message = grant_message,
                                                .refused = grant_refused,
                                                .reply = grant_reply,
                                                .closed = grant_closed};

/* ---- LeaseRevoke ---------------------------------------------------------------------------------- */

static void revoke_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct command command;
    enum err error = rpc_lease_revoke_decode(message, &command);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_propose(a, call, &command);
}

const struct call_ops client_lease_revoke_ops = {.message = revoke_message,
                                                 .reply = call_reply_bare};

/* ---- LeaseTimeToLive, LeaseLeases ------------------------------------------------------------------ */

static void time_to_live_message(struct client_actor *a, struct client_call *call,
                                 struct view message)
{
    struct query query;
    enum err error = rpc_lease_time_to_live_decode(message, &query);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_query(a, call, &query);
}

static void time_to_live_reply(struct client_actor *a, struct client_call *call,
                               const struct result *result)
{
    struct response_header header = call_header(a, result->revision);
    uint8_t *room = call_room_or_fail(a, call, rpc_lease_time_to_live_size(&header, result));
    if (room != NULL) {
        rpc_lease_time_to_live_write(&header, result, room);
        call_push(a, call);
        call_finish(a, call);
    }
}

const struct call_ops client_lease_time_to_live_ops = {.message = time_to_live_message,
                                                       .reply = time_to_live_reply};

static void leases_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct query query;
    enum err error = rpc_lease_leases_decode(message, &query);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_query(a, call, &query);
}

static void leases_reply(struct client_actor *a, struct client_call *call,
                         const struct result *result)
{
    struct response_header header = call_header(a, result->revision);
    uint8_t *room = call_room_or_fail(a, call, rpc_lease_leases_size(&header, result));
    if (room != NULL) {
        rpc_lease_leases_write(&header, result, room);
        call_push(a, call);
        call_finish(a, call);
    }
}

const struct call_ops client_lease_leases_ops = {.message = leases_message, .reply = leases_reply};

/* ---- LeaseKeepAlive: the batches ------------------------------------------------------------------- */

static void stream_let_go(struct keepalive_stream *stream)
{
    if (stream->call == NULL && stream->waiting == 0) {
        mem_free(stream);
    }
}

/* The first of those that wait, out of the queue. To be followed by request_done. */
static struct keepalive take_first(struct keepalives *k)
{
    ASSERT(k->count > 0);
    struct keepalive taken = k->items[k->first++];
    k->count--;
    if (k->count == 0) {
        k->first = 0;
    }
    return taken;
}

static void request_done(struct keepalive_stream *stream)
{
    ASSERT(stream->waiting > 0);
    stream->waiting--;
    stream_let_go(stream);
}

static void drop_dead(struct keepalives *k)
{
    while (k->count > 0 && k->items[k->first].stream->call == NULL) {
        request_done(take_first(k).stream);
    }
}

static void propose_sent(struct client_actor *a, struct keepalives *k)
{
    struct buffer ids = {0};
    for (size_t i = 0; i < k->sent; i++) {
        buffer_u64(&ids, (uint64_t)k->items[k->first + i].id);
    }
    const struct command command = {.op = COMMAND_LEASE_KEEPALIVE,
                                    .ids = view_of(ids.data, ids.size)};
    call_propose(a, k->call, &command);
    buffer_free(&ids);
    call_set_timer(a, k->call, a->now_us + k->patience_us);
}

void keepalives_flush(struct client_actor *a)
{
    struct keepalives *k = a->keepalives;
    if (k == NULL || k->sent > 0 || k->call == NULL) {
        return;
    }
    drop_dead(k);
    if (k->count == 0) {
        return;
    }
    if (a->now_us < k->next_at_us && !a->stopping) {
        call_set_timer(a, k->call, k->next_at_us);
        return;
    }
    k->next_at_us = a->now_us + KEEPALIVE_PACE_US;
    k->sent = k->count < KEEPALIVE_BATCH_MAX ? k->count : KEEPALIVE_BATCH_MAX;
    k->until_us = a->now_us + a->request_timeout_us;
    k->patience_us = a->request_timeout_us / KEEPALIVE_PATIENCES;
    propose_sent(a, k);
}

/* Answers leave the queue: what they were charged goes back. */
static void keepalive_drained(struct client_actor *a, struct client_call *call)
{
    struct keepalive_stream *stream = call->state;
    call_give_bytes(a, call, (stream->charged - stream->waiting) * KEEPALIVE_BYTES);
    stream->charged = stream->waiting;
}

static void answer(struct client_actor *a, struct keepalive_stream *stream,
                   const struct response_header *header, const struct lease_info *lease)
{
    struct client_call *call = stream->call;
    rpc_lease_keepalive_write(header, lease,
                              call_room(a, call, rpc_lease_keepalive_size(header, lease)));
    call_push(a, call);
    if (call->half_closed && stream->waiting == 1) { /* this one */
        call_finish(a, call);
    } else if (!call->drain_wanted) {
        call_want_drained(a, call, ANSWER_BYTES_UNCHARGED);
    }
}

static void batch_reply(struct client_actor *a, struct client_call *call,
                        const struct result *result)
{
    struct keepalives *k = call->state;
    struct response_header header = call_header(a, result->revision);
    ASSERT(result->lease_count == k->sent);
    for (size_t i = 0; i < result->lease_count; i++) {
        struct keepalive asked = take_first(k);
        ASSERT(asked.id == result->leases[i].id);
        if (asked.stream->call != NULL) {
            answer(a, asked.stream, &header, &result->leases[i]);
        }
        request_done(asked.stream);
    }
    k->sent = 0;
    call_set_timer(a, call, UINT64_MAX);
}

/* Refused, or nobody knows: the streams that the batch was for end, and their clients begin again. */
static void batch_refused(struct client_actor *a, struct client_call *call, enum err error)
{
    struct keepalives *k = call->state;
    if (error == ERR_TIMEOUT && a->state.leader_id == 0) {
        error = ERR_NO_LEADER;
    }
    for (size_t left = k->sent; left > 0; left--) {
        struct keepalive asked = take_first(k);
        if (asked.stream->call != NULL) {
            call_fail_with(a, asked.stream->call, error);
        }
        request_done(asked.stream);
    }
    k->sent = 0;
    call_set_timer(a, call, UINT64_MAX);
}

/* The batch under way is overdue, or the next one is due. */
static void batch_timer(struct client_actor *a, struct client_call *call)
{
    struct keepalives *k = call->state;
    if (k->sent == 0) {
        return; /* the pace allows the next one, which leaves with the flush that follows */
    }
    call_forget_step(a, call);
    if (a->now_us >= k->until_us) {
        batch_refused(a, call, ERR_TIMEOUT);
        return;
    }
    k->patience_us *= 2;
    if (k->patience_us > k->until_us - a->now_us) {
        k->patience_us = k->until_us - a->now_us;
    }
    propose_sent(a, k);
}

/* Only a stop of the node ends it; the streams end by the same. */
static void batch_closed(struct client_actor *a, struct client_call *call)
{
    struct keepalives *k = call->state;
    UNUSED(a);
    k->call = NULL;
    k->sent = 0;
}

static const struct call_ops batch_ops = {
    .reply = batch_reply, .refused = batch_refused, .closed = batch_closed, .timer = batch_timer};

static struct keepalives *keepalives_of(struct client_actor *a)
{
    if (a->keepalives == NULL) {
        a->keepalives = mem_zalloc(sizeof(struct keepalives));
    }
    if (a->keepalives->call == NULL && !a->stopping) {
        a->keepalives->call = call_create_internal(a, &batch_ops);
        a->keepalives->call->state = a->keepalives;
    }
    return a->keepalives;
}

void keepalives_free(struct keepalives *k)
{
    if (k == NULL) {
        return;
    }
    while (k->count > 0) {
        request_done(take_first(k).stream);
    }
    mem_free(k->items);
    mem_free(k);
}

/* ---- LeaseKeepAlive: the streams ------------------------------------------------------------------- */

static void keepalive_message(struct client_actor *a, struct client_call *call, struct view message)
{
    int64_t id = 0;
    enum err error = rpc_lease_keepalive_decode(message, &id);
    struct keepalives *k = keepalives_of(a);
    if (error == OK &&
        (k->count >= KEEPALIVES_WAITING_MAX || !call_take_bytes(a, call, KEEPALIVE_BYTES))) {
        error = ERR_OVERLOAD;
    }
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    struct keepalive_stream *stream = call->state;
    if (stream == NULL) {
        stream = mem_zalloc(sizeof *stream);
        stream->call = call;
        call->state = stream;
    }
    QUEUE_RESERVE(k->items, k->first, k->count, k->capacity);
    k->items[k->first + k->count++] = (struct keepalive){.stream = stream, .id = id};
    stream->waiting++;
    stream->charged++;
}

static void keepalive_half_closed(struct client_actor *a, struct client_call *call)
{
    const struct keepalive_stream *stream = call->state;
    if (stream == NULL || stream->waiting == 0) {
        call_finish(a, call);
    }
}

static void keepalive_closed(struct client_actor *a, struct client_call *call)
{
    struct keepalive_stream *stream = call->state;
    UNUSED(a);
    if (stream != NULL) {
        call->state = NULL;
        stream->call = NULL;
        stream_let_go(stream);
    }
}

const struct call_ops client_lease_keepalive_ops = {.lasting = true,
                                                    .message = keepalive_message,
                                                    .half_closed = keepalive_half_closed,
                                                    .drained = keepalive_drained,
                                                    .closed = keepalive_closed};
