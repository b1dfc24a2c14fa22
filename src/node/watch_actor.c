/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_actor.c: tells clients what changes. It takes the changes of every applied entry from apply,
 * finds who watches their keys, and hands each client actor one batch a round; whoever is behind, by
 * wish or by not reading, is served from history without anybody else noticing.
 *
 * In: WATCH_CHANGES from apply; WATCH_CREATE, WATCH_CANCEL, WATCH_PROGRESS, WATCH_STREAM_CLOSED and
 * WATCH_ACK from clients. Out: CLIENT_WATCH; APPLY_WATCH. It reads kv.db on a connection of its own.
 *
 * While nobody watches, apply records nothing (APPLY_WATCH with epoch 0). The first watcher begins an
 * epoch; requests wait here until apply has said from which revision on it records. What is older
 * and not yet in kv.db then is waited for (source_ready), which apply hastens. The same happens when the
 * actor falls so far behind apply that apply stops recording: never does apply wait for it. Requests wait then
 * too, since what "from now on" means is not known here before apply records again.
 *
 * Every node has one and it sees applied entries only, so watches work at followers and do not notice
 * a change of leader.
 *
 * Memory: the ring (watch.ring_bytes_max and what kv.db lacks), changes on their way from apply
 * (WATCH_CHANGES_BYTES_MAX), responses on their way to sockets (watch.bytes_max, and a share and one response
 * for each stream beyond it), watchers (client.watchers_max).
 */
#include "watch_actor.h"

#include "install.h"
#include "watch_state.h"

#include <stdio.h>

void watch_fail(enum err error, const char *what)
{
    char detail[200];
    (void)snprintf(detail, sizeof(detail), "action=\"%s\" error=\"%s\"", what, err_text(error));
    actor_fatal(EXIT_CODE_DISK, "kv.db failed", detail);
}

/* ---- the source ------------------------------------------------------------------------------------- */

static void tell_apply(struct watch_actor *a, uint64_t epoch)
{
    struct apply_watch *m = MSG_NEW(struct apply_watch, APPLY_WATCH, NULL);
    m->group = GROUP_DEFAULT;
    m->epoch = epoch;
    m->taken_bytes = a->taken_bytes;
    a->taken_bytes = 0;
    ACTOR_SEND(a->apply, m);
}

static void source_ask(struct watch_actor *a)
{
    a->source = SOURCE_ASKED;
    a->taken_bytes = 0;
    tell_apply(a, ++a->epoch);
}

static void source_stop(struct watch_actor *a)
{
    a->source = SOURCE_OFF;
    a->taken_bytes = 0;
    a->off_at_us = UINT64_MAX;
    a->paused = false;
    tell_apply(a, 0);
    watch_ring_start(&a->ring, a->ring.revision);
}

static void take_request(struct watch_actor *a, struct msg *m);

static void source_begin(struct watch_actor *a, const struct watch_changes *changes)
{
    a->source = SOURCE_ON;
    watch_ring_start(&a->ring, changes->from_revision);
    a->committed_revision = changes->committed_revision;
    a->compact_revision = changes->compact_revision;
}

static void take_deferred(struct watch_actor *a)
{
    size_t count = a->deferred_count;
    a->deferred_count = 0; /* none of them comes back: the source is on and not paused */
    for (size_t i = 0; i < count; i++) {
        take_request(a, a->deferred[i]);
    }
}

static void take_changes(struct watch_actor *a, struct watch_changes *m)
{
    if (a->source == SOURCE_OFF || m->epoch != a->epoch) {
        return;
    }
    a->taken_bytes += m->bytes;
    if (a->source == SOURCE_ASKED) {
        source_begin(a, m);
    } else if (m->from_revision != a->ring.revision) {
        ASSERT(m->from_revision > a->ring.revision);
        log_event(LOG_NOTICE, "watchers read from history",
                  "reason=\"changes came faster than they were handed on\" revision=%" PRId64
                  " watchers=%zu",
                  m->from_revision, a->watcher_count);
        catch_up_gap(a, m->from_revision);
    }
    if (m->committed_revision > a->committed_revision) {
        kv_reader_release(a->reader); /* its snapshot is older */
        a->committed_revision = m->committed_revision;
    }
    if (m->events.count > 0) {
        watch_ring_push(&a->ring, &m->events, m->revision);
        deliver_live(a, watch_ring_block(&a->ring, a->ring.count - 1));
    }
    /* after the delivery: what the live are given was not compacted when it happened */
    if (m->compact_revision > a->compact_revision) {
        a->compact_revision = m->compact_revision;
    }
    watch_ring_trim(&a->ring, a->committed_revision);
    a->paused = m->paused;
    if (!a->paused) {
        take_deferred(a);
    }
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void refuse(struct watch_actor *a, struct watch_stream *s, const char *reason)
{
    deliver_plain(a, s, WATCH_RESPONSE_REFUSED, -1, a->ring.revision, reason);
}

static void take_create(struct watch_actor *a, const struct watch_create *m)
{
    struct watch_stream *s = stream_of(a, m->stream);
    if (s == NULL) {
        return;
    }
    if (m->start_revision < 0) {
        refuse(a, s, WATCH_REASON_COMPACTED);
        return;
    }
    if (watch_range_is_empty(bytes_view(&m->key), bytes_view(&m->range_end))) {
        refuse(a, s, WATCH_REASON_EMPTY);
        return;
    }
    if (m->watch_id != 0 && watcher_find(a, s, m->watch_id) != NULL) {
        refuse(a, s, WATCH_REASON_DUPLICATE);
        return;
    }
    if (a->watcher_count >= a->watchers_max ||
        a->watcher_octets + m->key.size + m->range_end.size > a->bytes_max) {
        refuse(a, s, WATCH_REASON_TOO_MANY);
        return;
    }
    int64_t id = m->watch_id != 0 ? m->watch_id : stream_next_id(a, s);
    struct watcher *w = watcher_create(a, s, id, m);
    deliver_plain(a, s, WATCH_RESPONSE_CREATED, id, a->ring.revision, NULL);
    w->next_revision = m->start_revision != 0 ? m->start_revision : a->ring.revision + 1;
    catch_up_add(a, w);
}

static void take_cancel(struct watch_actor *a, const struct watch_request *m)
{
    struct watch_stream *s = stream_of(a, m->stream);
    if (s == NULL) {
        return;
    }
    struct watcher *w = watcher_find(a, s, m->watch_id);
    if (w != NULL) {
        deliver_cancel(a, w, NULL);
    }
    deliver_plain(a, s, WATCH_RESPONSE_TAKEN, 1, 0, NULL);
}

static void take_progress(struct watch_actor *a, const struct watch_request *m)
{
    struct watch_stream *s = stream_of(a, m->stream);
    if (s == NULL) {
        return;
    }
    if (s->watcher_count > 0 && stream_may_send(a, s) && stream_is_synced(a, s)) {
        deliver_plain(a, s, WATCH_RESPONSE_PROGRESS, -1, a->ring.revision, NULL);
    }
    deliver_plain(a, s, WATCH_RESPONSE_TAKEN, 1, 0, NULL);
}

static void take_closed(struct watch_actor *a, const struct watch_request *m)
{
    struct watch_stream *s = stream_find(a, m->stream);
    if (s != NULL) {
        stream_destroy(a, s);
    }
}

static void take_ack(struct watch_actor *a, const struct watch_ack *m)
{
    for (size_t i = 0; i < m->count; i++) {
        struct watch_stream *s = stream_find(a, m->items[i].stream);
        if (s != NULL) {
            stream_give_back(a, s, m->items[i].cost);
        }
    }
}

static void defer(struct watch_actor *a, struct msg *m)
{
    ARRAY_RESERVE(a->deferred, a->deferred_capacity, a->deferred_count + 1);
    a->deferred[a->deferred_count++] = m;
}

/* Owns the message. Requests wait, in order, until it is known how far things are; a client has only so many under way
 * (WATCH_REQUESTS_MAX). */
static void take_request(struct watch_actor *a, struct msg *m)
{
    enum watch_kind kind = (enum watch_kind)m->kind;
    if (a->source == SOURCE_OFF && kind == WATCH_CREATE) {
        source_ask(a);
    }
    if (a->source == SOURCE_ASKED || a->paused) {
        defer(a, m);
        return;
    }
    switch (kind) {
    case WATCH_CREATE:
        take_create(a, (const struct watch_create *)m);
        break;
    case WATCH_CANCEL:
        take_cancel(a, (const struct watch_request *)m);
        break;
    case WATCH_PROGRESS:
        take_progress(a, (const struct watch_request *)m);
        break;
    case WATCH_STREAM_CLOSED:
        take_closed(a, (const struct watch_request *)m);
        break;
    case WATCH_ACK:
        take_ack(a, (const struct watch_ack *)m);
        break;
    case WATCH_CHANGES:
    case WATCH_INSTALL:
    case WATCH_FIGURES: /* no requests */
        ASSERT(kind != WATCH_CHANGES);
        ASSERT(kind != WATCH_FIGURES);
        ASSERT(kind != WATCH_INSTALL);
        break;
    }
    msg_free_base(&m);
}

/* ---- time ------------------------------------------------------------------------------------------- */

/* etcd: up to a tenth more, so that nodes and streams do not fall into step. */
static uint64_t progress_next_us(struct watch_actor *a, uint64_t now_us)
{
    return now_us + a->progress_interval_us +
           random_below(&a->seed, a->progress_interval_us / 10 + 1);
}

static void progress_tick(struct watch_actor *a)
{
    for (struct watcher *w = a->progress; w != NULL; w = w->progress_next) {
        if (w->quiet && watcher_is_synced(a, w) && stream_may_send(a, w->stream)) {
            deliver_plain(a, w->stream, WATCH_RESPONSE_PROGRESS, w->id, a->ring.revision, NULL);
        }
        w->quiet = true;
    }
}

static uint64_t next_deadline_us(const struct watch_actor *a, bool more, uint64_t now_us)
{
    if (more) {
        return now_us;
    }
    uint64_t at_us = a->retry_at_us;
    if (a->off_at_us < at_us) {
        at_us = a->off_at_us;
    }
    if (a->progress != NULL && a->progress_at_us < at_us) {
        at_us = a->progress_at_us;
    }
    return at_us;
}

/* ---- handlers --------------------------------------------------------------------------------------- */

static void started(void *self, uint64_t now_us)
{
    struct watch_actor *a = self;
    a->apply = a->links->apply;
    a->client_count = a->links->client_count;
    for (size_t i = 0; i < a->client_count; i++) {
        a->clients[i] = a->links->clients[i];
    }
    a->progress_at_us = progress_next_us(a, now_us);
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct watch_actor *a = self;
    UNUSED(now_us);
    if (m->kind == WATCH_CHANGES) {
        take_changes(a, (struct watch_changes *)m);
        msg_free_base(&m);
        return;
    }
    if (m->kind ==
        WATCH_INSTALL) { /* its changes follow as behind a gap: everybody reads its history */
        struct install *install = (struct install *)m;
        kv_reader_close(&a->reader);
        a->reader = install->watch_reader;
        install->watch_reader = NULL;
        msg_free_base(&m);
        return;
    }
    if (m->kind == WATCH_FIGURES) {
        struct figures *figures = (struct figures *)m;
        figures->has_watch = true;
        figures->watch_streams = a->stream_count;
        figures->watchers = a->watcher_count;
        figures->watchers_behind = a->watcher_count - a->live.entry_count;
        figures->watch_events = a->events_told;
        figures_pass_on(&figures);
        return;
    }
    take_request(a, m);
}

static void flush(void *self, uint64_t now_us)
{
    struct watch_actor *a = self;
    if (a->progress_at_us <= now_us) {
        progress_tick(a);
        a->progress_at_us = progress_next_us(a, now_us);
    }
    bool more = catch_up_work(a, now_us);
    kv_reader_release(a->reader);
    deliver_flush(a);
    if (a->watcher_count > 0 || a->deferred_count > 0 || a->source != SOURCE_ON) {
        a->off_at_us = UINT64_MAX;
    } else if (a->off_at_us == UINT64_MAX) {
        a->off_at_us = now_us + WATCH_LINGER_US;
    } else if (a->off_at_us <= now_us) {
        source_stop(a);
    }
    if (a->taken_bytes > 0 && a->source == SOURCE_ON) {
        tell_apply(a, a->epoch);
    }
#ifdef HOLDFAST_CHECK_SLOW
    watch_actor_check(a);
#endif
    actor_set_deadline(actor_self(), next_deadline_us(a, more, now_us));
}

/* Nothing to do but the flush that follows. */
static void expired(void *self, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
}

static void stop(void *self, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
    actor_stopped(actor_self()); /* the clients have ended their streams */
}

static void destroy(void *self)
{
    struct watch_actor *a = self;
    streams_free(a);
    catch_up_free(a);
    delivery_free(a);
    watch_ring_free(&a->ring);
    for (size_t i = 0; i < a->deferred_count; i++) {
        msg_free_base(&a->deferred[i]);
    }
    mem_free(a->deferred);
    kv_reader_close(&a->reader);
    mem_free(a);
}

static const struct actor_ops watch_actor_ops = {
    .started = started,
    .handle = handle,
    .flush = flush,
    .expired = expired,
    .stop = stop,
    .destroy = destroy,
};

struct actor *watch_actor_create(struct kv_reader **reader, const struct config *config,
                                 uint64_t seed, const struct node_actors *actors)
{
    struct watch_actor *a = mem_zalloc(sizeof(*a));
    a->reader = *reader;
    *reader = NULL;
    a->links = actors;
    a->watchers_max = config->watchers_max;
    a->progress_interval_us = (uint64_t)config->watch.progress_interval_ms * 1000;
    a->stream_bytes_max = config->watch.stream_bytes_max;
    a->bytes_max = config->watch.bytes_max;
    a->response_bytes_max = config->watch.response_bytes_max;
    a->ring.bytes_max = config->watch.ring_bytes_max;
    a->slice_events = WATCH_SLICE_EVENTS;
    a->slice_bytes = WATCH_SLICE_BYTES;
    a->scan_join = WATCH_SCAN_JOIN;
    a->seed = seed;
    a->off_at_us = UINT64_MAX;
    a->retry_at_us = UINT64_MAX;
    return actor_create(&watch_actor_ops, a, "watch");
}

void watch_actor_tune(void *self, uint64_t slice_events, uint64_t slice_bytes, int64_t scan_join)
{
    struct watch_actor *a = self;
    a->slice_events = slice_events;
    a->slice_bytes = slice_bytes;
    a->scan_join = scan_join;
}

/* ---- figures and invariants ------------------------------------------------------------------------- */

void watch_actor_figures(const void *self, struct watch_figures *out)
{
    const struct watch_actor *a = self;
    *out = (struct watch_figures){
        .streams = a->stream_count,
        .watchers = a->watcher_count,
        .live = a->live.entry_count,
        .behind = a->watcher_count - a->live.entry_count,
        .in_flight_bytes = a->in_flight,
        .ring_bytes = a->ring.bytes,
        .history_rows = a->history_rows,
        .revision = a->ring.revision,
        .ring_floor = a->ring.floor,
        .committed_revision = a->committed_revision,
        .recording = a->source != SOURCE_OFF,
    };
}

static void stream_check(const struct watch_stream *s, size_t *watchers, uint64_t *in_flight)
{
    size_t count = 0;
    size_t behind = 0;
    size_t parked = 0;
    for (const struct watcher *w = s->watchers; w != NULL; w = w->next) {
        ASSERT(w->stream == s);
        ASSERT(w->place != WATCHER_NOWHERE);
        ASSERT(w->gathered_first == 0);
        ASSERT((w->entry.place != NULL) == (w->place == WATCHER_LIVE || w->place == WATCHER_SCAN));
        ASSERT((w->scan != NULL) == (w->place == WATCHER_SCAN));
        behind += w->place != WATCHER_LIVE;
        parked += w->place == WATCHER_PARKED;
        count++;
    }
    ASSERT(count == s->watcher_count);
    ASSERT(behind == s->behind_count);
    ASSERT(parked == s->parked.count);
    *watchers += count;
    *in_flight += s->in_flight;
}

void watch_actor_check(const void *self)
{
    const struct watch_actor *a = self;
    size_t streams = 0;
    size_t watchers = 0;
    uint64_t in_flight = 0;
    for (size_t i = 0; i < a->stream_buckets; i++) {
        for (const struct watch_stream *s = a->streams[i]; s != NULL; s = s->hash_next) {
            stream_check(s, &watchers, &in_flight);
            streams++;
        }
    }
    ASSERT(streams == a->stream_count);
    ASSERT(watchers == a->watcher_count);
    ASSERT(in_flight == a->in_flight);
    watch_index_check(&a->live);
    size_t indexed = a->live.entry_count;
    for (size_t i = 0; i < WATCH_SCANS_MAX; i++) {
        const struct watch_scan *s = &a->scans[i];
        watch_index_check(&s->index);
        ASSERT(s->used || s->index.entry_count == 0);
        indexed += s->index.entry_count;
    }
    ASSERT(indexed <= a->watcher_count);
    watch_ring_check(&a->ring);
}
