/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_delivery.c: from changes to responses. Each event of a block is looked up in an index once; who
 * has it gathers places in the block; then each one touched gets one response, and the batch of its
 * client actor one copy of the event, however many watchers of that client share it.
 *
 * The previous state of a key (prev_kv) is fetched when the first watcher of a client wants it: from the
 * ring, or else from kv.db, which has what the ring has not (source_ready). While kv.db is locked by somebody,
 * who wants one of its rows falls behind and is served later, from the revision on that it lacks; others
 * notice nothing, and kv.db is not asked again in the round.
 */
#include "watch_state.h"

#include <string.h>

/* ---- batches ---------------------------------------------------------------------------------------- */

#define PREVIOUS_UNKNOWN (WATCH_PREVIOUS_NONE - 1) /* not looked for yet; for the client: none */

static struct watch_batch *batch_of(struct watch_actor *a, size_t client)
{
    struct watch_output *o = &a->outputs[client];
    if (o->batch == NULL) {
        o->batch = mem_zalloc(sizeof(*o->batch));
        o->stamp = ++a->stamp; /* copies in the batch before are not in this one */
    }
    return o->batch;
}

static void output_send(struct watch_actor *a, size_t client)
{
    struct watch_output *o = &a->outputs[client];
    if (o->batch == NULL) {
        return;
    }
    if (o->batch->response_count == 0) { /* events that could not be told after all */
        watch_batch_free(&o->batch);
        return;
    }
    struct client_watch *m = MSG_NEW(struct client_watch, CLIENT_WATCH, release_client_watch);
    m->group = GROUP_DEFAULT;
    m->batch = o->batch;
    o->batch = NULL;
    ACTOR_SEND(a->clients[client], m);
}

void deliver_flush(struct watch_actor *a)
{
    for (size_t i = 0; i < a->client_count; i++) {
        output_send(a, i);
    }
}

static void send_if_full(struct watch_actor *a, size_t client)
{
    const struct watch_batch *b = a->outputs[client].batch;
    if (b != NULL && (b->events.octets.size + b->previous.octets.size >= WATCH_BATCH_BYTES ||
                      b->response_count >= WATCH_BATCH_COUNT)) {
        output_send(a, client);
    }
}

void delivery_free(struct watch_actor *a)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        watch_batch_free(&a->outputs[i].batch);
        mem_free(a->outputs[i].map);
    }
    mem_free(a->gather.refs);
    mem_free(a->gather.touched);
    mem_free(a->gather.matches.items);
}

static struct watch_response *response_add(struct watch_batch *b, const struct watch_stream *s,
                                           enum watch_response_kind kind, int64_t watch_id,
                                           int64_t revision)
{
    ARRAY_RESERVE(b->responses, b->response_capacity, b->response_count + 1);
    struct watch_response *r = &b->responses[b->response_count++];
    *r = (struct watch_response){.stream = s->number,
                                 .kind = kind,
                                 .watch_id = watch_id,
                                 .revision = revision,
                                 .ref_first = b->ref_count,
                                 .cost = WATCH_RESPONSE_COST};
    return r;
}

void deliver_plain(struct watch_actor *a, struct watch_stream *s, enum watch_response_kind kind,
                   int64_t watch_id, int64_t revision, const char *reason)
{
    struct watch_response *r = response_add(batch_of(a, s->client), s, kind, watch_id, revision);
    r->cancel_reason = reason;
    if (kind == WATCH_RESPONSE_TAKEN) {
        r->cost = 0;
    }
    stream_charge(a, s, r->cost);
    send_if_full(a, s->client);
}

void deliver_compacted(struct watch_actor *a, struct watcher *w)
{
    struct watch_stream *s = w->stream;
    struct watch_response *r =
        response_add(batch_of(a, s->client), s, WATCH_RESPONSE_CANCELED, w->id, 0);
    r->compact_revision = a->compact_revision;
    stream_charge(a, s, r->cost);
    watcher_destroy(a, w);
    send_if_full(a, s->client);
}

void deliver_cancel(struct watch_actor *a, struct watcher *w, const char *reason)
{
    deliver_plain(a, w->stream, WATCH_RESPONSE_CANCELED, w->id, a->ring.revision, reason);
    watcher_destroy(a, w);
}

/* ---- who gets what ---------------------------------------------------------------------------------- */

void gather_begin(struct watch_actor *a)
{
    uint64_t stamp = ++a->stamp;
    for (size_t i = 0; i < a->client_count; i++) {
        a->outputs[i].stamp = stamp;
    }
    a->gather.ref_count = 0;
    a->gather.touched_count = 0;
}

static void gather_add(struct gather *g, struct watcher *w, uint32_t index)
{
    ARRAY_RESERVE(g->refs, g->ref_capacity, g->ref_count + 1);
    g->refs[g->ref_count++] = (struct gather_ref){.event = index};
    uint32_t place = (uint32_t)g->ref_count;
    if (w->gathered_first == 0) {
        ARRAY_RESERVE(g->touched, g->touched_capacity, g->touched_count + 1);
        g->touched[g->touched_count++] = w;
        w->gathered_first = place;
    } else {
        g->refs[w->gathered_last - 1].next = place;
    }
    w->gathered_last = place;
}

bool gather_event(struct watch_actor *a, const struct watch_index *x, struct view key,
                  uint64_t change, bool deleted, uint32_t index)
{
    struct gather *g = &a->gather;
    int64_t revision = change_revision(change);
    bool taken = false;
    watch_index_match(x, key, &g->matches);
    for (size_t i = 0; i < g->matches.count; i++) {
        for (struct watch_entry *e = g->matches.items[i]->entries; e != NULL; e = e->next) {
            struct watcher *w = (struct watcher *)(void *)e;
            if (w->next_revision <= revision && !(deleted ? w->no_delete : w->no_put)) {
                gather_add(g, w, index);
                taken = true;
            }
        }
    }
    return taken;
}

/* ---- prev_kv ---------------------------------------------------------------------------------------- */

/* The row of a change, from the ring or from kv.db. ERR_NOT_FOUND: compacted away; ERR_BUSY_FILE. The views
 * are valid until the next read. */
static enum err row_of(struct watch_actor *a, uint64_t change, struct kv_history *out)
{
    struct ring_place place;
    if (watch_ring_find(&a->ring, change, &place)) {
        const struct event_block *b = watch_ring_block(&a->ring, place.block);
        const struct event *e = &b->items[place.index];
        struct view key = event_key(b, place.index);
        *out = (struct kv_history){.change = change,
                                   .key = key,
                                   .value = view_of(key.data + key.size, e->value_size),
                                   .create_revision = e->create_revision,
                                   .version = e->version,
                                   .lease = e->lease,
                                   .deleted = e->deleted,
                                   .previous_change = e->previous_change};
        return OK;
    }
    if (a->busy) {
        return ERR_BUSY_FILE;
    }
    enum err error = kv_reader_history(a->reader, change, out);
    a->busy = error == ERR_BUSY_FILE;
    return error;
}

/* What the key held at the revision before the event's: the newest row of an earlier revision, if it is
 * a life and if that revision is not compacted. Nothing for a put that begins a life, as in etcd: also
 * where the same revision ended the life before. ERR_BUSY_FILE: not to be known now, *out untouched. */
static enum err previous_find(struct watch_actor *a, struct watch_batch *b, size_t index,
                              uint32_t *out)
{
    const struct event *e = &b->events.items[index];
    int64_t revision = change_revision(e->change);
    uint64_t change = e->previous_change;
    struct kv_history row = {0};
    if (revision - 1 < a->compact_revision || (!e->deleted && e->create_revision == revision)) {
        change = 0;
    }
    while (change != 0) { /* a second change of the key within its revision: a few steps at most */
        enum err error = row_of(a, change, &row);
        if (error == ERR_BUSY_FILE) {
            return error;
        }
        if (error == ERR_NOT_FOUND) {
            change = 0;
            break;
        }
        if (error != OK) {
            watch_fail(error, "read previous");
        }
        if (change_revision(change) < revision) {
            break;
        }
        change = row.previous_change;
    }
    if (change == 0 || row.deleted || !view_equal(row.key, event_key(&b->events, index))) {
        *out = WATCH_PREVIOUS_NONE;
        return OK;
    }
    event_block_add(&b->previous, &row);
    *out = (uint32_t)(b->previous.count - 1);
    return OK;
}

/* ---- responses -------------------------------------------------------------------------------------- */

/* The batch's copy of an event of the block. */
static uint32_t output_event(struct watch_output *o, const struct event_block *block,
                             uint32_t index)
{
    struct watch_batch *b = o->batch;
    if (index >= o->map_capacity) {
        size_t before = o->map_capacity;
        ARRAY_RESERVE(o->map, o->map_capacity, (size_t)index + 1);
        memset(o->map + before, 0, (o->map_capacity - before) * sizeof(o->map[0]));
    }
    struct output_event *known = &o->map[index];
    if (known->stamp != o->stamp) {
        known->stamp = o->stamp;
        known->index = (uint32_t)b->events.count;
        event_block_copy(&b->events, block, index);
        ARRAY_RESERVE(b->previous_of, b->previous_of_capacity, b->events.count);
        b->previous_of[known->index] = PREVIOUS_UNKNOWN;
    }
    return known->index;
}

static uint64_t event_cost(const struct event *e)
{
    return WATCH_EVENT_COST + e->key_size + (uint64_t)e->value_size;
}

/* Octets of the event's previous state are added to *bytes. ERR_BUSY_FILE: *bytes untouched. */
static enum err previous_cost(struct watch_actor *a, struct watch_batch *b, uint32_t index,
                              uint64_t *bytes)
{
    if (b->previous_of[index] == PREVIOUS_UNKNOWN) {
        enum err error = previous_find(a, b, index, &b->previous_of[index]);
        if (error != OK) {
            return error;
        }
    }
    uint32_t previous = b->previous_of[index];
    *bytes += previous == WATCH_PREVIOUS_NONE ? 0 : event_cost(&b->previous.items[previous]);
    return OK;
}

/* Of what was gathered from *at on: whole revisions, up to about a slice's octets, in one response. *at: what
 * is left; 0: nothing. ERR_TOO_LARGE: a revision of it is too large to be sent; ERR_BUSY_FILE: kv.db cannot be
 * read now. Then nothing was added but events nobody refers to. */
static enum err respond(struct watch_actor *a, struct watcher *w, const struct event_block *block,
                        int64_t revision, uint32_t *at)
{
    struct watch_stream *s = w->stream;
    struct watch_batch *b = batch_of(a, s->client);
    struct watch_output *o = &a->outputs[s->client];
    const struct gather *g = &a->gather;
    size_t first = b->ref_count;
    size_t whole_count = 0; /* references, octets and the place behind the last whole revision */
    uint64_t whole_bytes = 0;
    uint32_t whole_at = *at;
    uint64_t bytes = 0;
    int64_t last_revision = 0;
    uint32_t next = *at;
    enum err error = OK;
    for (; next != 0; next = g->refs[next - 1].next) {
        const struct event *e = &block->items[g->refs[next - 1].event];
        if (change_revision(e->change) != last_revision) {
            last_revision = change_revision(e->change);
            whole_count = b->ref_count - first;
            whole_bytes = bytes;
            whole_at = next;
            if (bytes >= a->slice_bytes) {
                break;
            }
        }
        uint32_t index = output_event(o, block, g->refs[next - 1].event);
        bytes += event_cost(e);
        if (w->prev_kv && (error = previous_cost(a, b, index, &bytes)) != OK) {
            break;
        }
        if (bytes > a->response_bytes_max) {
            error = ERR_TOO_LARGE;
            break;
        }
        ARRAY_RESERVE(b->refs, b->ref_capacity, b->ref_count + 1);
        b->refs[b->ref_count++] = index;
    }
    if (next == 0) {
        whole_count = b->ref_count - first;
        whole_bytes = bytes;
        whole_at = 0;
    }
    b->ref_count = first + whole_count;
    *at = whole_at;
    if (whole_count == 0) {
        return error;
    }
    struct watch_response *r = response_add(b, s, WATCH_RESPONSE_EVENTS, w->id, revision);
    r->ref_first = first;
    r->ref_count = whole_count;
    a->events_told += whole_count;
    r->prev_kv = w->prev_kv;
    r->fragment = w->fragment;
    r->cost += whole_bytes;
    stream_charge(a, s, r->cost);
    w->quiet = false;
    return OK;
}

/* It lacks what was gathered from `at` on and is in no index or queue from now on. */
static void put_off(struct watch_actor *a, struct watcher *w, const struct event_block *block,
                    uint32_t at)
{
    w->next_revision = change_revision(block->items[a->gather.refs[at - 1].event].change);
    watcher_displace(a, w);
}

/* One watcher's part. It may be gone afterwards. */
static void deliver_gathered(struct watch_actor *a, struct watcher *w,
                             const struct event_block *block, int64_t revision)
{
    struct watch_stream *s = w->stream;
    uint32_t at = w->gathered_first;
    w->gathered_first = 0;
    while (at != 0) {
        if (!stream_may_send(a, s)) {
            put_off(a, w, block, at);
            watcher_park(a, w);
            return;
        }
        enum err error = respond(a, w, block, revision, &at);
        if (error == ERR_BUSY_FILE) {
            put_off(a, w, block, at);
            watcher_place_behind(a, w, NULL); /* the scan it was in moves on */
            return;
        }
        if (error != OK) {
            deliver_cancel(a, w, WATCH_REASON_TOO_LARGE);
            return;
        }
        send_if_full(a, s->client);
    }
}

void gather_deliver(struct watch_actor *a, const struct event_block *block, int64_t revision)
{
    struct gather *g = &a->gather;
    for (size_t i = 0; i < g->touched_count; i++) {
        deliver_gathered(a, g->touched[i], block, revision);
    }
    g->ref_count = 0;
    g->touched_count = 0;
}

void gather_abandon(struct watch_actor *a)
{
    struct gather *g = &a->gather;
    for (size_t i = 0; i < g->touched_count; i++) {
        g->touched[i]->gathered_first = 0;
    }
    g->ref_count = 0;
    g->touched_count = 0;
}

void deliver_live(struct watch_actor *a, const struct event_block *block)
{
    if (a->live.entry_count == 0) {
        return;
    }
    gather_begin(a);
    size_t i = 0;
    while (i < block->count) {
        int64_t revision = change_revision(block->items[i].change);
        for (; i < block->count && change_revision(block->items[i].change) == revision; i++) {
            const struct event *e = &block->items[i];
            (void)gather_event(a, &a->live, event_key(block, i), e->change, e->deleted,
                               (uint32_t)i);
        }
        gather_deliver(a, block, revision);
    }
}
