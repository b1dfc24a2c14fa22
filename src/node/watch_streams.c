/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_streams.c: streams and watchers: found by number, placed, moved, and the credit of each stream.
 * See watch_state.h for the places and invariants.
 */
#include "watch_state.h"

#include <string.h>

#define BUCKETS_LEAST 16

/* ---- hash tables ------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    return x;
}

static uint64_t watcher_hash(uint64_t stream, int64_t id)
{
    return mix(mix(stream) + (uint64_t)id);
}

static void streams_grow(struct watch_actor *a)
{
    struct watch_stream **old = a->streams;
    size_t old_count = a->stream_buckets;
    a->stream_buckets = old_count == 0 ? BUCKETS_LEAST : old_count * 2;
    a->streams = mem_zalloc(a->stream_buckets * sizeof(a->streams[0]));
    for (size_t i = 0; i < old_count; i++) {
        struct watch_stream *next = NULL;
        for (struct watch_stream *s = old[i]; s != NULL; s = next) {
            next = s->hash_next;
            struct watch_stream **bucket = &a->streams[mix(s->number) & (a->stream_buckets - 1)];
            s->hash_next = *bucket;
            *bucket = s;
        }
    }
    mem_free(old);
}

static void watchers_grow(struct watch_actor *a)
{
    struct watcher **old = a->watchers;
    size_t old_count = a->watcher_buckets;
    a->watcher_buckets = old_count == 0 ? BUCKETS_LEAST : old_count * 2;
    a->watchers = mem_zalloc(a->watcher_buckets * sizeof(a->watchers[0]));
    for (size_t i = 0; i < old_count; i++) {
        struct watcher *next = NULL;
        for (struct watcher *w = old[i]; w != NULL; w = next) {
            next = w->hash_next;
            uint64_t hash = watcher_hash(w->stream->number, w->id);
            struct watcher **bucket = &a->watchers[hash & (a->watcher_buckets - 1)];
            w->hash_next = *bucket;
            *bucket = w;
        }
    }
    mem_free(old);
}

/* ---- queues of watchers ----------------------------------------------------------------------------- */

static void queue_push(struct watcher_queue *q, struct watcher *w)
{
    w->queue_next = NULL;
    w->queue_previous = q->last;
    if (q->last != NULL) {
        q->last->queue_next = w;
    } else {
        q->first = w;
    }
    q->last = w;
    q->count++;
}

static void queue_remove(struct watcher_queue *q, struct watcher *w)
{
    if (w->queue_previous != NULL) {
        w->queue_previous->queue_next = w->queue_next;
    } else {
        q->first = w->queue_next;
    }
    if (w->queue_next != NULL) {
        w->queue_next->queue_previous = w->queue_previous;
    } else {
        q->last = w->queue_previous;
    }
    w->queue_next = w->queue_previous = NULL;
    q->count--;
}

/* ---- streams ---------------------------------------------------------------------------------------- */

struct watch_stream *stream_find(const struct watch_actor *a, uint64_t number)
{
    if (a->stream_buckets == 0) {
        return NULL;
    }
    struct watch_stream *s = a->streams[mix(number) & (a->stream_buckets - 1)];
    while (s != NULL && s->number != number) {
        s = s->hash_next;
    }
    return s;
}

struct watch_stream *stream_of(struct watch_actor *a, uint64_t number)
{
    struct watch_stream *s = stream_find(a, number);
    size_t client = REQUEST_CLIENT_OF(number);
    if (s != NULL || client >= a->client_count) {
        return s;
    }
    if (a->stream_count == a->stream_buckets) {
        streams_grow(a);
    }
    s = mem_zalloc(sizeof(*s));
    s->number = number;
    s->client = client;
    struct watch_stream **bucket = &a->streams[mix(number) & (a->stream_buckets - 1)];
    s->hash_next = *bucket;
    *bucket = s;
    a->stream_count++;
    return s;
}

static void resume_push(struct watch_actor *a, struct watch_stream *s)
{
    if (s->resuming || s->parked.count == 0) {
        return;
    }
    s->resuming = true;
    s->resume_next = NULL;
    if (a->resume_last != NULL) {
        a->resume_last->resume_next = s;
    } else {
        a->resume_first = s;
    }
    a->resume_last = s;
    a->resume_count++;
}

static void resume_remove(struct watch_actor *a, struct watch_stream *s)
{
    if (!s->resuming) {
        return;
    }
    struct watch_stream *previous = NULL;
    struct watch_stream *at = a->resume_first;
    while (at != s) {
        previous = at;
        at = at->resume_next;
    }
    if (previous != NULL) {
        previous->resume_next = s->resume_next;
    } else {
        a->resume_first = s->resume_next;
    }
    if (a->resume_last == s) {
        a->resume_last = previous;
    }
    s->resuming = false;
    a->resume_count--;
}

void stream_destroy(struct watch_actor *a, struct watch_stream *s)
{
    while (s->watchers != NULL) {
        watcher_destroy(a, s->watchers);
    }
    ASSERT(s->behind_count == 0);
    resume_remove(a, s);
    ASSERT(a->in_flight >= s->in_flight);
    a->in_flight -= s->in_flight;
    struct watch_stream **link = &a->streams[mix(s->number) & (a->stream_buckets - 1)];
    while (*link != s) {
        link = &(*link)->hash_next;
    }
    *link = s->hash_next;
    a->stream_count--;
    mem_free(s);
}

bool stream_may_send(const struct watch_actor *a, const struct watch_stream *s)
{
    return s->in_flight < WATCH_STREAM_SHARE ||
           (s->in_flight < a->stream_bytes_max && a->in_flight < a->bytes_max);
}

void stream_charge(struct watch_actor *a, struct watch_stream *s, uint64_t cost)
{
    s->in_flight += cost;
    a->in_flight += cost;
}

void stream_give_back(struct watch_actor *a, struct watch_stream *s, uint64_t cost)
{
    ASSERT(s->in_flight >= cost);
    ASSERT(a->in_flight >= cost);
    s->in_flight -= cost;
    a->in_flight -= cost;
    resume_push(a, s);
}

int64_t stream_next_id(struct watch_actor *a, struct watch_stream *s)
{
    while (watcher_find(a, s, s->next_id) != NULL) {
        s->next_id++;
    }
    return s->next_id++;
}

bool stream_is_synced(const struct watch_actor *a, struct watch_stream *s)
{
    if (s->behind_count > 0) {
        return false;
    }
    if (s->start_max > a->ring.revision) { /* or somebody's who has left */
        s->start_max = 0;
        for (const struct watcher *w = s->watchers; w != NULL; w = w->next) {
            s->start_max = w->start_revision > s->start_max ? w->start_revision : s->start_max;
        }
    }
    return s->start_max <= a->ring.revision;
}

/* One that may not send now for the sake of all streams together stays; somebody's acknowledgement gets
 * the actor back to it. */
struct watch_stream *stream_take_resumable(struct watch_actor *a)
{
    struct watch_stream *s = a->resume_first;
    while (s != NULL && !stream_may_send(a, s)) {
        if (a->in_flight >= a->bytes_max && s->in_flight < a->stream_bytes_max) {
            s = s->resume_next; /* those behind may still have their share */
            continue;
        }
        struct watch_stream *next = s->resume_next;
        resume_remove(a, s);
        s = next;
    }
    if (s != NULL) {
        resume_remove(a, s);
    }
    return s;
}

void streams_free(struct watch_actor *a)
{
    for (size_t i = 0; i < a->stream_buckets; i++) {
        while (a->streams[i] != NULL) {
            stream_destroy(a, a->streams[i]);
        }
    }
    ASSERT(a->watcher_count == 0);
    ASSERT(a->in_flight == 0);
    mem_free(a->streams);
    mem_free(a->watchers);
}

/* ---- watchers --------------------------------------------------------------------------------------- */

struct view watcher_key(const struct watcher *w)
{
    return view_of(w->octets, w->key_size);
}

struct view watcher_end(const struct watcher *w)
{
    return view_of(w->octets + w->key_size, w->end_size);
}

struct watcher *watcher_find(const struct watch_actor *a, const struct watch_stream *s, int64_t id)
{
    if (a->watcher_buckets == 0) {
        return NULL;
    }
    struct watcher *w = a->watchers[watcher_hash(s->number, id) & (a->watcher_buckets - 1)];
    while (w != NULL && (w->stream != s || w->id != id)) {
        w = w->hash_next;
    }
    return w;
}

static void link_progress(struct watch_actor *a, struct watcher *w)
{
    w->progress_next = a->progress;
    if (w->progress_next != NULL) {
        w->progress_next->progress_previous = w;
    }
    a->progress = w;
}

static void unlink_progress(struct watch_actor *a, struct watcher *w)
{
    if (w->progress_previous != NULL) {
        w->progress_previous->progress_next = w->progress_next;
    } else {
        a->progress = w->progress_next;
    }
    if (w->progress_next != NULL) {
        w->progress_next->progress_previous = w->progress_previous;
    }
}

struct watcher *watcher_create(struct watch_actor *a, struct watch_stream *s, int64_t id,
                               const struct watch_create *request)
{
    struct watcher *w = mem_zalloc(sizeof(*w) + request->key.size + request->range_end.size);
    w->stream = s;
    w->id = id;
    w->start_revision = request->start_revision;
    w->no_put = request->no_put;
    w->no_delete = request->no_delete;
    w->prev_kv = request->prev_kv;
    w->progress_notify = request->progress_notify;
    w->fragment = request->fragment;
    w->key_size = (uint32_t)request->key.size;
    w->end_size = (uint32_t)request->range_end.size;
    if (w->key_size > 0) {
        memcpy(w->octets, request->key.data, w->key_size);
    }
    if (w->end_size > 0) {
        memcpy(w->octets + w->key_size, request->range_end.data, w->end_size);
    }
    if (a->watcher_count == a->watcher_buckets) {
        watchers_grow(a);
    }
    struct watcher **bucket = &a->watchers[watcher_hash(s->number, id) & (a->watcher_buckets - 1)];
    w->hash_next = *bucket;
    *bucket = w;
    a->watcher_count++;
    a->watcher_octets += w->key_size + w->end_size;
    w->next = s->watchers;
    if (w->next != NULL) {
        w->next->previous = w;
    }
    s->watchers = w;
    s->watcher_count++;
    if (w->start_revision > s->start_max) {
        s->start_max = w->start_revision;
    }
    if (w->progress_notify) {
        link_progress(a, w);
    }
    return w;
}

void watcher_destroy(struct watch_actor *a, struct watcher *w)
{
    struct watch_stream *s = w->stream;
    watcher_displace(a, w);
    if (w->progress_notify) {
        unlink_progress(a, w);
    }
    if (w->previous != NULL) {
        w->previous->next = w->next;
    } else {
        s->watchers = w->next;
    }
    if (w->next != NULL) {
        w->next->previous = w->previous;
    }
    s->watcher_count--;
    struct watcher **link = &a->watchers[watcher_hash(s->number, w->id) & (a->watcher_buckets - 1)];
    while (*link != w) {
        link = &(*link)->hash_next;
    }
    *link = w->hash_next;
    a->watcher_count--;
    a->watcher_octets -= w->key_size + w->end_size;
    mem_free(w);
}

bool watcher_is_synced(const struct watch_actor *a, const struct watcher *w)
{
    return w->place == WATCHER_LIVE && w->start_revision <= a->ring.revision;
}

void watcher_displace(struct watch_actor *a, struct watcher *w)
{
    switch (w->place) {
    case WATCHER_NOWHERE:
        return;
    case WATCHER_LIVE:
        watch_index_remove(&a->live, &w->entry);
        break;
    case WATCHER_SCAN:
        watch_index_remove(&w->scan->index, &w->entry);
        w->scan = NULL;
        break;
    case WATCHER_WAITING:
        queue_remove(&a->waiting, w);
        break;
    case WATCHER_PARKED:
        queue_remove(&w->stream->parked, w);
        break;
    }
    if (w->place != WATCHER_LIVE) {
        w->stream->behind_count--;
    }
    w->place = WATCHER_NOWHERE;
}

void watcher_place_live(struct watch_actor *a, struct watcher *w)
{
    ASSERT(w->place == WATCHER_NOWHERE);
    w->place = WATCHER_LIVE;
    watch_index_add(&a->live, &w->entry, watcher_key(w), watcher_end(w));
}

void watcher_place_behind(struct watch_actor *a, struct watcher *w, struct watch_scan *scan)
{
    ASSERT(w->place == WATCHER_NOWHERE);
    w->stream->behind_count++;
    w->scan = scan;
    if (scan != NULL) {
        w->place = WATCHER_SCAN;
        watch_index_add(&scan->index, &w->entry, watcher_key(w), watcher_end(w));
    } else {
        w->place = WATCHER_WAITING;
        queue_push(&a->waiting, w);
    }
}

void watcher_park(struct watch_actor *a, struct watcher *w)
{
    ASSERT(w->place == WATCHER_NOWHERE);
    w->place = WATCHER_PARKED;
    w->stream->behind_count++;
    queue_push(&w->stream->parked, w);
    if (w->stream->in_flight < a->stream_bytes_max) { /* it waits for the others' sake only */
        resume_push(a, w->stream);
    }
}
