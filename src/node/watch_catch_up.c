/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_catch_up.c: watchers that are behind. A scan goes through history once for all who are in it:
 * first kv.db, then the ring, and hands them over to the living when it has reached the newest
 * revision. A few scans run side by side by turns, a slice each, so that neither one who reads from the
 * beginning nor many who do keep others waiting: who is just a little ahead of a scan joins it,
 * who is far from all begins one of his own, and when none is free those who wait share the next.
 *
 * The seam: kv.db is asked for nothing beyond ring.floor, the ring for nothing at or below it, and
 * kv.db holds everything up to the floor (source_ready). A slice reads kv.db in one snapshot, and with it
 * how far that snapshot is compacted, because rows may be gone from the file before the word of the
 * compaction has come from apply.
 */
#include "watch_state.h"

/* ---- places ----------------------------------------------------------------------------------------- */

bool source_ready(const struct watch_actor *a)
{
    return a->source == SOURCE_ON && a->committed_revision >= a->ring.floor;
}

static int64_t position_of(const struct watcher *w)
{
    return w->place == WATCHER_SCAN && w->scan->next > w->next_revision ? w->scan->next
                                                                        : w->next_revision;
}

/* The scan that will soon be at this revision; NULL: none. */
static struct watch_scan *scan_to_join(struct watch_actor *a, int64_t revision)
{
    struct watch_scan *nearest = NULL;
    for (size_t i = 0; i < WATCH_SCANS_MAX; i++) {
        struct watch_scan *s = &a->scans[i];
        if (s->used && s->next <= revision && revision - s->next <= a->scan_join &&
            (nearest == NULL || s->next > nearest->next)) {
            nearest = s;
        }
    }
    return nearest;
}

static struct watch_scan *scan_begin(struct watch_actor *a, int64_t revision)
{
    for (size_t i = 0; i < WATCH_SCANS_MAX; i++) {
        struct watch_scan *s = &a->scans[i];
        if (!s->used) {
            ASSERT(s->index.entry_count == 0);
            s->used = true;
            s->next = revision;
            return s;
        }
    }
    return NULL;
}

static void scan_end(struct watch_scan *s)
{
    ASSERT(s->index.entry_count == 0);
    watch_index_free(&s->index);
    s->used = false;
}

void catch_up_add(struct watch_actor *a, struct watcher *w)
{
    ASSERT(w->place == WATCHER_NOWHERE);
    if (w->next_revision < a->compact_revision) {
        deliver_compacted(a, w);
        return;
    }
    /* what prev_kv needs may lie before the floor and not be in kv.db yet */
    bool may_need_history = w->prev_kv && !source_ready(a);
    if (w->next_revision > a->ring.revision && !may_need_history) {
        watcher_place_live(a, w);
        return;
    }
    struct watch_scan *scan = scan_to_join(a, w->next_revision);
    if (scan == NULL) {
        scan = scan_begin(a, w->next_revision);
    }
    watcher_place_behind(a, w, scan);
}

/* A scan is free: the one that is farthest behind begins it, and all who wait and are near enough join. */
static void admit_waiting(struct watch_actor *a)
{
    while (a->waiting.count > 0) {
        int64_t least = INT64_MAX;
        for (const struct watcher *w = a->waiting.first; w != NULL; w = w->queue_next) {
            least = w->next_revision < least ? w->next_revision : least;
        }
        struct watch_scan *scan = scan_to_join(a, least);
        if (scan == NULL) {
            scan = scan_begin(a, least);
        }
        if (scan == NULL) {
            return;
        }
        struct watcher *next = NULL;
        for (struct watcher *w = a->waiting.first; w != NULL; w = next) {
            next = w->queue_next;
            watcher_displace(a, w);
            watcher_place_behind(a, w, scan);
        }
    }
}

void catch_up_gap(struct watch_actor *a, int64_t from_revision)
{
    int64_t lacking = a->ring.revision + 1;
    watch_ring_start(&a->ring, from_revision);
    struct watch_entry *e = NULL;
    while ((e = watch_index_any(&a->live)) != NULL) {
        struct watcher *w = (struct watcher *)(void *)e;
        watcher_displace(a, w);
        w->next_revision = w->next_revision > lacking ? w->next_revision : lacking;
        struct watch_scan *scan = scan_to_join(a, w->next_revision);
        if (scan == NULL) {
            scan = scan_begin(a, w->next_revision);
        }
        watcher_place_behind(a, w, scan);
    }
}

/* ---- a slice ---------------------------------------------------------------------------------------- */

/* Those in the scan who lack what is compacted are told so; the others go on behind it. */
static void scan_drop_compacted(struct watch_actor *a, struct watch_scan *scan)
{
    if (scan->next >= a->compact_revision) {
        return;
    }
    struct watch_index old = scan->index;
    int64_t next = scan->next;
    scan->index = (struct watch_index){0};
    scan->next = a->compact_revision;
    struct watch_entry *e = NULL;
    while ((e = watch_index_any(&old)) != NULL) {
        struct watcher *w = (struct watcher *)(void *)e;
        watch_index_remove(&old, e);
        w->scan = NULL;
        w->stream->behind_count--;
        w->place = WATCHER_NOWHERE;
        w->next_revision = w->next_revision > next ? w->next_revision : next;
        if (w->next_revision < a->compact_revision) {
            deliver_compacted(a, w);
        } else {
            watcher_place_behind(a, w, scan);
        }
    }
    watch_index_free(&old);
}

/* Keep the event for those in the scan who take it. */
static void slice_event(struct watch_actor *a, const struct watch_scan *scan,
                        const struct kv_history *row)
{
    if (gather_event(a, &scan->index, row->key, row->change, row->deleted,
                     (uint32_t)a->scratch.count)) {
        event_block_add(&a->scratch, row);
    }
}

static bool slice_is_full(const struct watch_actor *a, uint64_t rows)
{
    return rows >= a->slice_events || a->scratch.octets.size >= a->slice_bytes;
}

/* From kv.db, up to the floor. *through: the last revision that was looked at in whole. */
static enum err slice_of_history(struct watch_actor *a, struct watch_scan *scan, int64_t *through)
{
    struct kv_history row = {0};
    int64_t revision = scan->next - 1;
    uint64_t rows = 0;
    *through = a->ring.floor;
    enum err error = kv_reader_history_start(a->reader, change_id(scan->next, 0));
    if (error != OK) {
        return error;
    }
    while ((error = kv_reader_history_next(a->reader, &row)) == OK) {
        int64_t at = change_revision(row.change);
        if (at > a->ring.floor) {
            break;
        }
        if (at != revision && slice_is_full(a, rows)) {
            *through = at - 1;
            break;
        }
        revision = at;
        rows++;
        slice_event(a, scan, &row);
    }
    kv_reader_history_end(a->reader);
    a->history_rows += rows;
    return error == ERR_NOT_FOUND ? OK : error;
}

static void slice_of_ring(struct watch_actor *a, struct watch_scan *scan, int64_t *through)
{
    struct ring_place place = watch_ring_seek(&a->ring, change_id(scan->next, 0));
    const struct event_block *b = NULL;
    int64_t revision = scan->next - 1;
    uint64_t rows = 0;
    *through = a->ring.revision;
    while ((b = watch_ring_block(&a->ring, place.block)) != NULL) {
        for (; place.index < b->count; place.index++) {
            const struct event *e = &b->items[place.index];
            int64_t at = change_revision(e->change);
            if (at != revision && slice_is_full(a, rows)) {
                *through = at - 1;
                return;
            }
            revision = at;
            rows++;
            struct view key = event_key(b, place.index);
            if (gather_event(a, &scan->index, key, e->change, e->deleted,
                             (uint32_t)a->scratch.count)) {
                event_block_copy(&a->scratch, b, place.index);
            }
        }
        place = (struct ring_place){.block = place.block + 1};
    }
}

/* Everybody in it has all there is. */
static void scan_to_live(struct watch_actor *a, struct watch_scan *scan)
{
    struct watch_entry *e = NULL;
    while ((e = watch_index_any(&scan->index)) != NULL) {
        struct watcher *w = (struct watcher *)(void *)e;
        int64_t position = position_of(w);
        watcher_displace(a, w);
        w->next_revision = position;
        watcher_place_live(a, w);
    }
    scan_end(scan);
}

/* Two scans that are close become one: the one ahead waits for the other. */
static void scan_merge(struct watch_actor *a, struct watch_scan *scan)
{
    for (size_t i = 0; i < WATCH_SCANS_MAX; i++) {
        struct watch_scan *ahead = &a->scans[i];
        if (!ahead->used || ahead == scan || ahead->next < scan->next ||
            (uint64_t)(ahead->next - scan->next) > a->slice_events) {
            continue;
        }
        struct watch_entry *e = NULL;
        while ((e = watch_index_any(&ahead->index)) != NULL) {
            struct watcher *w = (struct watcher *)(void *)e;
            int64_t position = position_of(w);
            watcher_displace(a, w);
            w->next_revision = position;
            watcher_place_behind(a, w, scan);
        }
        scan_end(ahead);
    }
}

/* kv.db may turn out to be busy: then it is as before, or some who wanted previous states have left it. */
static void scan_work(struct watch_actor *a, struct watch_scan *scan)
{
    int64_t through = 0;
    enum err error = OK;
    if (scan->index.entry_count == 0) { /* all have left */
        scan_end(scan);
        return;
    }
    bool from_history = scan->next <= a->ring.floor;
    if (from_history) {
        int64_t compacted = 0;
        error = kv_reader_compact_revision(a->reader, &compacted);
        if (error == OK && compacted > a->compact_revision) {
            a->compact_revision = compacted;
        }
    }
    if (error == OK) {
        scan_drop_compacted(a, scan);
        from_history = scan->next <= a->ring.floor;
        gather_begin(a);
        event_block_clear(&a->scratch);
        if (from_history) {
            error = slice_of_history(a, scan, &through);
        } else {
            slice_of_ring(a, scan, &through);
        }
    }
    if (error == ERR_BUSY_FILE) {
        gather_abandon(a);
        a->busy = true;
        return;
    }
    if (error != OK) {
        watch_fail(error, "read history");
    }
    gather_deliver(a, &a->scratch, a->ring.revision);
    scan->next = through + 1;
    if (scan->index.entry_count == 0) {
        scan_end(scan);
    } else if (scan->next > a->ring.revision) {
        scan_to_live(a, scan);
    } else {
        scan_merge(a, scan);
    }
}

/* ---- turns ------------------------------------------------------------------------------------------ */

/* Watchers whose streams have credit again go on, a few of each stream. True: some did. */
static bool unpark(struct watch_actor *a)
{
    struct watch_stream *s = NULL;
    size_t streams = a->resume_count;
    bool any = false;
    while (streams-- > 0 && (s = stream_take_resumable(a)) != NULL) {
        for (size_t i = 0; i < WATCH_UNPARK_MAX && s->parked.count > 0; i++) {
            struct watcher *w = s->parked.first;
            watcher_displace(a, w);
            catch_up_add(a, w);
            any = true;
        }
        stream_give_back(a, s, 0); /* its turn comes again if some are left */
    }
    return any;
}

static struct watch_scan *scan_next(struct watch_actor *a)
{
    for (size_t i = 0; i < WATCH_SCANS_MAX; i++) {
        struct watch_scan *s = &a->scans[(a->scan_turn + i) % WATCH_SCANS_MAX];
        if (s->used) {
            a->scan_turn = (size_t)(s - a->scans) + 1;
            return s;
        }
    }
    return NULL;
}

/* Is kv.db left alone for now? */
static bool is_busy(struct watch_actor *a, uint64_t now_us)
{
    if (a->busy && a->retry_at_us == UINT64_MAX) {
        a->retry_at_us = now_us + WATCH_BUSY_RETRY_US;
    }
    if (a->retry_at_us != UINT64_MAX && a->retry_at_us > now_us) {
        return true;
    }
    a->retry_at_us = UINT64_MAX;
    a->busy = false;
    return false;
}

bool catch_up_work(struct watch_actor *a, uint64_t now_us)
{
    if (!source_ready(a) || is_busy(a, now_us)) {
        return false;
    }
    bool more = unpark(a);
    admit_waiting(a);
    struct watch_scan *scan = scan_next(a);
    if (scan != NULL) {
        scan_work(a, scan);
    }
    if (is_busy(a, now_us)) {
        return false;
    }
    admit_waiting(a);
    for (size_t i = 0; i < WATCH_SCANS_MAX; i++) {
        more = more || a->scans[i].used;
    }
    return more;
}

void catch_up_free(struct watch_actor *a)
{
    for (size_t i = 0; i < WATCH_SCANS_MAX; i++) {
        watch_index_free(&a->scans[i].index);
    }
    watch_index_free(&a->live);
    event_block_free(&a->scratch);
}
