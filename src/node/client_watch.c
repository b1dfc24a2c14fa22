/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_watch.c: the Watch service's stream, and the acknowledging that keeps a slow one from
 * filling memory.
 *
 * In: WatchRequests of clients, CLIENT_WATCH from the watch actor. Out: WATCH_CREATE, WATCH_CANCEL,
 * WATCH_PROGRESS, WATCH_STREAM_CLOSED, WATCH_ACK; WatchResponses.
 *
 * A batch from the watch actor holds each event once. Its octets are encoded here at their first use and
 * copied into the frame of every stream that gets it, so that 10,000 watchers of one key cost 10,000 copies and
 * one encoding.
 *
 * What is on its way to a stream is charged by the watch actor and given back when the socket has it:
 * once WATCH_ACK_BYTES are outstanding, the queue's length is remembered, and when that much has
 * drained, the sum is acknowledged. So a stream that is read costs an acknowledgement every few KiB, and one
 * that is not gets nothing more than its credit.
 */
#include "client_watch.h"

#include "client_methods.h"

#include "../api/rpc_watch.h"

#include <string.h>

#define ENCODED_BYTES_KEPT (4 << 20) /* room for encoded events that stays when it is not used */

/* What of the batch at hand is encoded already. */
struct encoded {
    size_t at, size; /* size 0: not yet */
};

struct client_watches {
    struct buffer octets;
    struct encoded *plain, *with_previous; /* per event of the batch */
    size_t plain_capacity, with_previous_capacity;
    const struct watch_batch *batch;
    struct watch_acked *acks;
    size_t ack_count, ack_capacity;
};

static struct client_watches *watches_of(struct client_actor *a)
{
    if (a->watches == NULL) {
        a->watches = mem_zalloc(sizeof(*a->watches));
    }
    return a->watches;
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void send_request(struct client_actor *a, uint64_t stream, enum watch_kind kind,
                         int64_t watch_id)
{
    struct watch_request *m = MSG_NEW(struct watch_request, kind, NULL);
    m->group = GROUP_DEFAULT;
    m->stream = stream;
    m->watch_id = watch_id;
    ACTOR_SEND(a->links->watch, m);
}

static void send_create(struct client_actor *a, uint64_t stream, const struct watch_call *request)
{
    struct watch_create *m = MSG_NEW(struct watch_create, WATCH_CREATE, release_watch_create);
    m->group = GROUP_DEFAULT;
    m->stream = stream;
    m->watch_id = request->watch_id;
    m->key = bytes_copy(request->key);
    m->range_end = bytes_copy(request->range_end);
    m->start_revision = request->start_revision;
    m->no_put = request->no_put;
    m->no_delete = request->no_delete;
    m->prev_kv = request->prev_kv;
    m->progress_notify = request->progress_notify;
    m->fragment = request->fragment;
    ACTOR_SEND(a->links->watch, m);
}

bool call_watch(struct client_actor *a, struct client_call *call, struct call_watches *w,
                const struct watch_call *request)
{
    if (w->requests >= WATCH_REQUESTS_MAX) {
        call_fail_with(a, call, ERR_OVERLOAD);
        return false;
    }
    w->requests++;
    w->stream = call_stream_number(a, call);
    switch (request->kind) {
    case WATCH_CALL_CREATE:
        send_create(a, w->stream, request);
        break;
    case WATCH_CALL_CANCEL:
        send_request(a, w->stream, WATCH_CANCEL, request->watch_id);
        break;
    case WATCH_CALL_PROGRESS:
        send_request(a, w->stream, WATCH_PROGRESS, 0);
        break;
    case WATCH_CALL_NONE:
        ASSERT(request->kind != WATCH_CALL_NONE);
        break;
    }
    return true;
}

void call_watch_close(struct client_actor *a, struct call_watches *w)
{
    if (w->stream != 0) {
        send_request(a, w->stream, WATCH_STREAM_CLOSED, 0);
    }
    *w = (struct call_watches){0};
}

/* ---- acknowledging -------------------------------------------------------------------------------- */

bool call_watch_taken(struct call_watches *w, const struct watch_response *response)
{
    switch (response->kind) {
    case WATCH_RESPONSE_CREATED:
    case WATCH_RESPONSE_REFUSED:
        ASSERT(w->requests > 0);
        w->requests--;
        return true;
    case WATCH_RESPONSE_TAKEN:
        ASSERT(w->requests > 0);
        w->requests--;
        return false;
    case WATCH_RESPONSE_EVENTS:
    case WATCH_RESPONSE_PROGRESS:
    case WATCH_RESPONSE_CANCELED:
        break;
    }
    return true;
}

static void ack_add(struct client_actor *a, uint64_t stream, uint64_t cost)
{
    struct client_watches *all = watches_of(a);
    ARRAY_RESERVE(all->acks, all->ack_capacity, all->ack_count + 1);
    all->acks[all->ack_count++] = (struct watch_acked){.stream = stream, .cost = cost};
}

void call_watch_done(struct client_actor *a, struct call_watches *w,
                     const struct watch_response *response)
{
    w->unacked += response->cost;
    if (w->unacked >= WATCH_ACK_BYTES) {
        ack_add(a, w->stream, w->unacked);
        w->unacked = 0;
    }
}

static void acking_begin(struct client_actor *a, struct client_call *call, struct call_watches *w)
{
    w->acking = w->unacked;
    w->unacked = 0;
    w->since = 0;
    call_want_drained(a, call, 0);
}

void call_watch_sent(struct client_actor *a, struct client_call *call, struct call_watches *w,
                     const struct watch_response *response, size_t octets)
{
    w->unacked += response->cost;
    if (w->acking > 0) {
        w->since += octets;
        call_want_drained(a, call, w->since);
    } else if (w->unacked >= WATCH_ACK_BYTES) {
        acking_begin(a, call, w);
    }
}

void call_watch_drained(struct client_actor *a, struct client_call *call, struct call_watches *w)
{
    if (w->acking == 0) {
        return;
    }
    ack_add(a, w->stream, w->acking);
    w->acking = 0;
    if (w->unacked >= WATCH_ACK_BYTES) {
        acking_begin(a, call, w);
    }
}

void watches_flush(struct client_actor *a)
{
    struct client_watches *all = a->watches;
    if (all == NULL || all->ack_count == 0) {
        return;
    }
    size_t size = all->ack_count * sizeof(all->acks[0]);
    struct watch_ack *m = msg_new(sizeof(*m) + size, WATCH_ACK, NULL);
    m->group = GROUP_DEFAULT;
    m->count = all->ack_count;
    memcpy(m->items, all->acks, size);
    all->ack_count = 0;
    ACTOR_SEND(a->links->watch, m);
}

/* ---- responses ------------------------------------------------------------------------------------ */

void watches_take(struct client_actor *a, const struct client_watch *m)
{
    const struct watch_batch *batch = m->batch;
    struct client_watches *all = watches_of(a);
    all->batch = NULL;
    all->octets.size = 0;
    for (size_t i = 0; i < batch->response_count; i++) {
        const struct watch_response *response = &batch->responses[i];
        struct client_call *call = call_of_stream_number(a, response->stream);
        if (call != NULL) { /* else its client has left meanwhile */
            call->ops->watch(a, call, m, response);
        }
    }
    all->batch = NULL;
    if (all->octets.capacity > ENCODED_BYTES_KEPT) {
        buffer_free(&all->octets);
    }
}

void watches_free(struct client_actor *a)
{
    struct client_watches *all = a->watches;
    if (all != NULL) {
        buffer_free(&all->octets);
        mem_free(all->plain);
        mem_free(all->with_previous);
        mem_free(all->acks);
        mem_free(all);
        a->watches = NULL;
    }
}

static void encoding_begin(struct client_watches *all, const struct watch_batch *batch)
{
    if (all->batch == batch) {
        return;
    }
    all->batch = batch;
    ARRAY_RESERVE(all->plain, all->plain_capacity, batch->events.count);
    ARRAY_RESERVE(all->with_previous, all->with_previous_capacity, batch->events.count);
    if (batch->events.count > 0) {
        memset(all->plain, 0, batch->events.count * sizeof(all->plain[0]));
        memset(all->with_previous, 0, batch->events.count * sizeof(all->with_previous[0]));
    }
}

/* The octets of an event of the batch at hand. */
static struct encoded encode(struct client_watches *all, uint32_t index, bool prev_kv)
{
    const struct watch_batch *batch = all->batch;
    uint32_t previous_index = prev_kv ? batch->previous_of[index] : WATCH_PREVIOUS_NONE;
    bool has_previous = previous_index < batch->previous.count;
    struct encoded *known = has_previous ? &all->with_previous[index] : &all->plain[index];
    if (known->size == 0) {
        struct key_value pair = event_pair(&batch->events, index);
        struct key_value previous = {0};
        if (has_previous) {
            previous = event_pair(&batch->previous, previous_index);
        }
        bool deleted = batch->events.items[index].deleted;
        const struct key_value *before = has_previous ? &previous : NULL;
        known->size = rpc_watch_event_size(&pair, deleted, before);
        known->at = all->octets.size;
        (void)rpc_watch_event_put(buffer_extend(&all->octets, known->size), &pair, deleted, before);
    }
    return *known;
}

/* Events refs[from .. to-1] in one message. */
static size_t send_answer(struct client_actor *a, struct client_call *call,
                          const struct watch_answer *answer, const uint32_t *refs, size_t count,
                          size_t events_size, bool prev_kv)
{
    struct client_watches *all = watches_of(a);
    size_t size = rpc_watch_answer_size(answer) + events_size;
    uint8_t *out = rpc_watch_answer_put(call_room(a, call, size), answer);
    for (size_t i = 0; i < count; i++) {
        struct encoded event = encode(all, refs[i], prev_kv);
        memcpy(out, all->octets.data + event.at, event.size);
        out += event.size;
    }
    call_push(a, call);
    return size;
}

/*
 * Events of a response: whole, or, if its client takes pieces and it is as large as etcd allows a request to
 * be with its overhead, in pieces of at least one event that stay below that.
 */
static size_t send_events(struct client_actor *a, struct client_call *call,
                          struct watch_answer *answer, const struct watch_batch *batch,
                          const struct watch_response *response)
{
    struct client_watches *all = watches_of(a);
    const uint32_t *refs = batch->refs + response->ref_first;
    size_t count = response->ref_count;
    size_t bound = (size_t)a->config.request_bytes_max + GRPC_RECEIVE_OVERHEAD;
    size_t sent = 0;
    size_t events_size = 0;
    encoding_begin(all, batch);
    for (size_t i = 0; i < count; i++) {
        events_size += encode(all, refs[i], response->prev_kv).size;
    }
    if (!response->fragment || count < 2 || rpc_watch_answer_size(answer) + events_size < bound) {
        return send_answer(a, call, answer, refs, count, events_size, response->prev_kv);
    }
    answer->fragment = true;
    size_t head = rpc_watch_answer_size(answer);
    size_t at = 0;
    while (at < count) {
        size_t size = encode(all, refs[at], response->prev_kv).size;
        size_t to = at + 1;
        while (to < count) {
            size_t more = encode(all, refs[to], response->prev_kv).size;
            if (head + size + more >= bound) {
                break;
            }
            size += more;
            to++;
        }
        answer->fragment = to < count;
        sent += send_answer(a, call, answer, refs + at, to - at, size, response->prev_kv);
        at = to;
    }
    return sent;
}

/* ---- the Watch service ---------------------------------------------------------------------------- */

static struct call_watches *state_of(struct client_call *call)
{
    if (call->state == NULL) {
        call->state = mem_zalloc(sizeof(struct call_watches));
    }
    return call->state;
}

static void watch_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct watch_call request;
    enum err error = rpc_watch_decode(message, &request);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    if (request.kind != WATCH_CALL_NONE) {
        bool sent = call_watch(a, call, state_of(call), &request);
        UNUSED(sent); /* else it has failed */
    }
}

static void watch_response(struct client_actor *a, struct client_call *call,
                           const struct client_watch *m, const struct watch_response *response)
{
    struct call_watches *w = state_of(call);
    struct watch_answer answer = {
        .header = call_header(a, response->revision),
        .watch_id = response->watch_id,
        .compact_revision = response->compact_revision,
        .cancel_reason = response->cancel_reason,
    };
    size_t sent = 0;
    if (!call_watch_taken(w, response)) {
        return;
    }
    switch (response->kind) {
    case WATCH_RESPONSE_CREATED:
        answer.created = true;
        break;
    case WATCH_RESPONSE_REFUSED:
        answer.created = true;
        answer.canceled = true;
        break;
    case WATCH_RESPONSE_CANCELED:
        answer.canceled = true;
        break;
    case WATCH_RESPONSE_EVENTS:
    case WATCH_RESPONSE_PROGRESS:
    case WATCH_RESPONSE_TAKEN:
        break;
    }
    if (response->kind == WATCH_RESPONSE_EVENTS) {
        sent = send_events(a, call, &answer, m->batch, response);
    } else {
        sent = send_answer(a, call, &answer, NULL, 0, 0, false);
    }
    call_watch_sent(a, call, w, response, sent);
}

static void watch_drained(struct client_actor *a, struct client_call *call)
{
    call_watch_drained(a, call, state_of(call));
}

static void watch_closed(struct client_actor *a, struct client_call *call)
{
    if (call->state != NULL) {
        call_watch_close(a, call->state);
        mem_free(call->state);
        call->state = NULL;
    }
}

/* Half-closing does not end it: events go on (sheet 2.6). */
const struct call_ops client_watch_ops = {
    .lasting = true,
    .message = watch_message,
    .closed = watch_closed,
    .watch = watch_response,
    .drained = watch_drained,
};
