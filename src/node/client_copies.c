/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_copies.c: Hash, HashKV and Snapshot: a request to the copy actor under the call's stream
 * number, and what comes back under it.
 *
 * They last: hashing a large store takes as long as it takes, and only the client's own deadline ends it. A
 * snapshot's chunks are acknowledged when they have gone to the socket, so a client that does not read
 * holds COPY_WINDOW_BYTES (copy_actor.c) and nothing more.
 */
#include "client_methods.h"

#include "../api/rpc_maintenance.h"

#define SNAPSHOT_DRAIN_BYTES ((uint64_t)64 * 1024)

static void ask(struct client_actor *a, struct client_call *call, bool snapshot, int64_t revision)
{
    struct copy_request *m = MSG_NEW(struct copy_request, APPLY_COPY, NULL);
    m->group = GROUP_DEFAULT;
    m->number = call_stream_number(a, call);
    m->snapshot = snapshot;
    m->hash_revision = revision;
    ACTOR_SEND(a->apply, m);
}

/* Whoever has the request: apply until kv.db is far enough, then copy. A cancel straight to copy could be there
 * before the request, which would then be served to nobody. */
static void cancel(struct client_actor *a, uint64_t number)
{
    struct copy_ack *m = MSG_NEW(struct copy_ack, APPLY_COPY_CANCEL, NULL);
    m->number = number;
    ACTOR_SEND(a->apply, m);
}

static void acknowledge(struct client_actor *a, uint64_t number, uint64_t bytes)
{
    struct copy_ack *m = MSG_NEW(struct copy_ack, COPY_ACK, NULL);
    m->number = number;
    m->bytes = bytes;
    ACTOR_SEND(a->links->copy, m);
}

static void copy_closed(struct client_actor *a, struct client_call *call)
{
    if (call->stream_number != 0) {
        cancel(a, call->stream_number);
    }
    mem_free(call->state);
    call->state = NULL;
}

/* ---- hashes --------------------------------------------------------------------------------------- */

static void hash_message(struct client_actor *a, struct client_call *call, struct view message)
{
    enum err error = rpc_empty_decode(message);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    ask(a, call, false, 0);
}

static void hash_kv_message(struct client_actor *a, struct client_call *call, struct view message)
{
    int64_t revision = 0;
    enum err error = rpc_hash_kv_decode(message, &revision);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    ask(a, call, false, revision);
}

static void hash_answer(struct client_actor *a, struct client_call *call,
                        const struct client_copy *m)
{
    uint8_t room[RPC_HASH_BYTES_MAX];
    if (m->error != OK) {
        call_fail_with(a, call, m->error);
        return;
    }
    struct response_header header = call_header(a, m->revision);
    size_t size = call->ops == &client_hash_ops ? rpc_hash_write(&header, m->hash.hash, room)
                                                : rpc_hash_kv_write(&header, &m->hash, room);
    call_send(a, call, view_of(room, size));
    call_finish(a, call);
}

const struct call_ops client_hash_ops = {
    .lasting = true, .message = hash_message, .copy = hash_answer, .closed = copy_closed};
const struct call_ops client_hash_kv_ops = {
    .lasting = true, .message = hash_kv_message, .copy = hash_answer, .closed = copy_closed};

/* ---- snapshot ------------------------------------------------------------------------------------- */

struct snapshot_state {
    uint64_t unacknowledged; /* octets of chunks sent to the client's queue and not told to copy */
};

static void snapshot_message(struct client_actor *a, struct client_call *call, struct view message)
{
    enum err error = rpc_empty_decode(message);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call->state = mem_zalloc(sizeof(struct snapshot_state));
    call_begin(a, call);
    ask(a, call, true, 0);
}

static void snapshot_chunk(struct client_actor *a, struct client_call *call,
                           const struct client_copy *m)
{
    struct snapshot_state *state = call->state;
    if (m->error != OK) {
        call_fail_with(a, call, m->error);
        return;
    }
    struct view blob = bytes_view(&m->octets);
    rpc_snapshot_write(blob, m->remaining,
                       call_room(a, call, rpc_snapshot_size(blob, m->remaining)));
    call_push(a, call);
    if (m->last) {
        call_finish(a, call);
        return;
    }
    state->unacknowledged += m->octets.size;
    call_want_drained(a, call, SNAPSHOT_DRAIN_BYTES);
}

static void snapshot_drained(struct client_actor *a, struct client_call *call)
{
    struct snapshot_state *state = call->state;
    if (state->unacknowledged > 0) {
        acknowledge(a, call->stream_number, state->unacknowledged);
        state->unacknowledged = 0;
    }
}

const struct call_ops client_snapshot_ops = {.lasting = true,
                                             .message = snapshot_message,
                                             .copy = snapshot_chunk,
                                             .drained = snapshot_drained,
                                             .closed = copy_closed};
