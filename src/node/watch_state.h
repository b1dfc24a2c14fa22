/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_state.h: the watch actor's private state, seen by its parts only.
 *
 *   watch_actor.c     messages, requests, time
 *   watch_streams.c   streams and watchers: tables, numbers, credit
 *   watch_delivery.c  from changes to responses: who gets what, and the batches for the client actors
 *   watch_catch_up.c  watchers that are behind, and the scans of history that serve them
 *   watch_ring.c      the newest changes
 *
 * Where a watcher is
 *   LIVE     in `live`: it has everything up to ring.revision, or waits for a revision beyond it
 *   SCAN     in the index of a scan: it has everything below the greater of next_revision and scan->next
 *   WAITING  behind and in no index: no scan is free
 *   PARKED   behind and in no index: its stream has no credit; next_revision is the first it lacks
 *
 * Invariants
 *  1. A watcher gets each event of its range and filters from its first revision on once, in order:
 *     next_revision only rises, and places change only with next_revision set to the first revision it
 *     lacks.
 *  2. ring.floor <= committed_revision, or nothing is read from kv.db and nobody is LIVE who may need
 *     what lies before the floor (source_ready).
 *  3. A stream's in_flight is the cost of the responses sent to its client actor and not acknowledged;
 *     events are added only while it may_send. `in_flight` of the actor is the sum.
 *  4. stream->behind_count is how many of its watchers are not LIVE.
 */
#ifndef HOLDFAST_WATCH_STATE_H
#define HOLDFAST_WATCH_STATE_H

#include "config.h"
#include "message.h"
#include "node.h"
#include "watch_ring.h"

#include "kv/watch_index.h"

#ifdef HOLDFAST_SMALL_BOUNDS
#define WATCH_SLICE_EVENTS 5    /* rows of history looked at in one go, whole revisions */
#define WATCH_SLICE_BYTES  4096 /* ... or octets kept of them */
#define WATCH_SCANS_MAX    2
#define WATCH_SCAN_JOIN    20
#define WATCH_LINGER_US    (1000 * UINT64_C(1000))
#else
#define WATCH_SLICE_EVENTS 1000
#define WATCH_SLICE_BYTES  (1 << 20)
#define WATCH_SCANS_MAX    8     /* side by side, by turns */
#define WATCH_SCAN_JOIN    10000 /* revisions a watcher waits for a scan rather than begin another */
#define WATCH_LINGER_US    (10 * UINT64_C(1000000)) /* recording goes on after the last watcher */
#endif
#define WATCH_UNPARK_MAX    64        /* watchers of one stream that begin anew in a round */
#define WATCH_BATCH_BYTES   (1 << 20) /* a client actor's batch is sent at this size ... */
#define WATCH_BATCH_COUNT   8192      /* ... or with this many responses */
#define WATCH_RESPONSE_COST 64
#define WATCH_EVENT_COST    48 /* beside key and value */
/* A stream may always have this much on its way, also when all streams together have too much; more than
 * a client holds back before it acknowledges (WATCH_ACK_BYTES; the simulator's hold back what they like). */
#ifndef HOLDFAST_SMALL_BOUNDS
#define WATCH_STREAM_SHARE (16 * 1024)
#else
#define WATCH_STREAM_SHARE 500
#endif
#define WATCH_BUSY_RETRY_US (50 * UINT64_C(1000)) /* kv.db is locked by another process */

struct watch_actor;
struct watch_stream;

enum watcher_place { WATCHER_NOWHERE, WATCHER_LIVE, WATCHER_SCAN, WATCHER_WAITING, WATCHER_PARKED };

struct watcher {
    struct watch_entry entry; /* first; in `live` or in a scan's index */
    struct watch_stream *stream;
    struct watcher *hash_next;
    struct watcher *next, *previous;             /* of the stream */
    struct watcher *queue_next, *queue_previous; /* of the waiting or the stream's parked ones */
    struct watcher *progress_next, *progress_previous; /* of those that asked for notifications */
    struct watch_scan *scan;
    int64_t id;
    int64_t start_revision; /* as asked for */
    int64_t next_revision;
    enum watcher_place place;
    bool no_put, no_delete, prev_kv, progress_notify, fragment;
    bool quiet; /* no event since the last progress tick */
    /* events of the block at hand: index + 1 in gather.refs; first 0: none */
    uint32_t gathered_first, gathered_last;
    uint32_t key_size, end_size;
    uint8_t octets[]; /* key, then range_end */
};

struct watcher_queue {
    struct watcher *first, *last;
    size_t count;
};

struct watch_stream {
    struct watch_stream *hash_next;
    struct watch_stream *resume_next; /* of those with parked watchers and credit */
    bool resuming;
    uint64_t number;
    size_t client;
    uint64_t in_flight;
    int64_t next_id;
    int64_t
        start_max; /* none of its watchers asked for a later start; may be stale after a cancel */
    struct watcher *watchers;
    size_t watcher_count, behind_count;
    struct watcher_queue parked;
};

struct watch_scan {
    bool used;
    struct watch_index index;
    int64_t next; /* everything below was given to those who are in it */
};

struct gather_ref {
    uint32_t event; /* index in the block at hand */
    uint32_t next;  /* index + 1 of the watcher's next one; 0: none */
};

/* Who gets which events of the block at hand. */
struct gather {
    struct gather_ref *refs;
    size_t ref_count, ref_capacity;
    struct watcher **touched;
    size_t touched_count, touched_capacity;
    struct watch_matches matches;
};

/* What one client actor will be told. */
struct watch_output {
    struct watch_batch *batch; /* NULL: nothing yet */
    struct output_event {
        uint64_t stamp; /* of the slice and batch that `index` belongs to */
        uint32_t index;
    } * map; /* from an event of the block at hand to the batch's copy */
    size_t map_capacity;
    uint64_t stamp;
};

enum watch_source { SOURCE_OFF, SOURCE_ASKED, SOURCE_ON };

struct watch_actor {
    struct kv_reader *reader;
    const struct node_actors *links;
    struct actor *apply;
    size_t client_count;
    struct actor *clients[CLIENTS_MAX];

    uint32_t watchers_max;
    uint64_t progress_interval_us;
    uint64_t stream_bytes_max, bytes_max, response_bytes_max;
    uint64_t slice_events, slice_bytes;
    int64_t scan_join;
    uint64_t seed;

    enum watch_source source;
    uint64_t epoch;
    bool paused;           /* apply does not record: how far things are is not known */
    struct msg **deferred; /* requests that wait for the source, in order */
    size_t deferred_count, deferred_capacity;
    uint64_t taken_bytes; /* of changes, to be given back to apply */
    struct watch_ring ring;
    int64_t compact_revision, committed_revision;
    uint64_t off_at_us; /* when recording ends; UINT64_MAX: somebody watches */

    struct watch_index live;
    struct watch_scan scans[WATCH_SCANS_MAX];
    size_t scan_turn;
    struct watcher_queue waiting;
    struct watch_stream *resume_first, *resume_last;
    size_t resume_count;
    bool busy;            /* kv.db was found locked, and is not asked before retry_at_us */
    uint64_t retry_at_us; /* of kv.db; UINT64_MAX: not needed */
    struct event_block scratch;

    struct watch_stream **streams; /* hash tables; a power of two of chains */
    size_t stream_count, stream_buckets;
    struct watcher **watchers;
    size_t watcher_count, watcher_buckets;
    uint64_t watcher_octets;  /* of their keys; at most bytes_max */
    struct watcher *progress; /* those that asked for notifications */
    uint64_t progress_at_us;

    uint64_t in_flight;
    uint64_t stamp;
    struct gather gather;
    struct watch_output outputs[CLIENTS_MAX];
    uint64_t history_rows; /* read from kv.db for watchers */
    uint64_t events_told;  /* to all of them */
};

/* ---- watch_streams.c -------------------------------------------------------------------------------- */

struct watch_stream *stream_find(const struct watch_actor *a, uint64_t number);
/* NULL: the number names no client actor. */
struct watch_stream *stream_of(struct watch_actor *a, uint64_t number);
/* The stream and all its watchers. */
void stream_destroy(struct watch_actor *a, struct watch_stream *s);
bool stream_may_send(const struct watch_actor *a, const struct watch_stream *s);
void stream_charge(struct watch_actor *a, struct watch_stream *s, uint64_t cost);
void stream_give_back(struct watch_actor *a, struct watch_stream *s, uint64_t cost);
/* The least number from the stream's counter on that no watcher has; moves the counter. */
int64_t stream_next_id(struct watch_actor *a, struct watch_stream *s);
/* Does every watcher of it have all events up to the ring's revision? */
bool stream_is_synced(const struct watch_actor *a, struct watch_stream *s);

struct watcher *watcher_find(const struct watch_actor *a, const struct watch_stream *s, int64_t id);
/* Placed nowhere yet. */
struct watcher *watcher_create(struct watch_actor *a, struct watch_stream *s, int64_t id,
                               const struct watch_create *request);
void watcher_destroy(struct watch_actor *a, struct watcher *w);
bool watcher_is_synced(const struct watch_actor *a, const struct watcher *w);
/* Take it out of whatever index or queue it is in. */
void watcher_displace(struct watch_actor *a, struct watcher *w);
void watcher_place_live(struct watch_actor *a, struct watcher *w);
/* In the index of the scan, or WAITING if it is NULL. */
void watcher_place_behind(struct watch_actor *a, struct watcher *w, struct watch_scan *scan);
void watcher_park(struct watch_actor *a, struct watcher *w);
struct view watcher_key(const struct watcher *w);
struct view watcher_end(const struct watcher *w);
/* A stream with parked watchers that may send, its turn over; NULL: none. */
struct watch_stream *stream_take_resumable(struct watch_actor *a);
void streams_free(struct watch_actor *a);

/* ---- watch_delivery.c ------------------------------------------------------------------------------- */

/* A response without events; it is sent whatever the credit says, its cost is charged. */
void deliver_plain(struct watch_actor *a, struct watch_stream *s, enum watch_response_kind kind,
                   int64_t watch_id, int64_t revision, const char *reason);
/* Cancel because history is gone, or with a reason; the watcher is destroyed. */
void deliver_compacted(struct watch_actor *a, struct watcher *w);
void deliver_cancel(struct watch_actor *a, struct watcher *w, const char *reason);
/* Before the first gather of a block. */
void gather_begin(struct watch_actor *a);
/* Give the event to those in the index whose range it is in and who lack it. True: somebody takes it.
 * `index` is its place in the block that gather_deliver will be given. */
bool gather_event(struct watch_actor *a, const struct watch_index *x, struct view key,
                  uint64_t change, bool deleted, uint32_t index);
/* Responses of whole revisions to each who was given something. Those without credit are parked at the first
 * revision they lack; a revision that is too much for one response cancels. */
void gather_deliver(struct watch_actor *a, const struct event_block *block, int64_t revision);
/* Forget what was gathered: the block could not be read to its end. */
void gather_abandon(struct watch_actor *a);
/* Changes that came from apply, to those who are LIVE: a response per revision. */
void deliver_live(struct watch_actor *a, const struct event_block *block);
/* Send the batches. */
void deliver_flush(struct watch_actor *a);
void delivery_free(struct watch_actor *a);

/* ---- watch_catch_up.c ------------------------------------------------------------------------------- */

/* A watcher that lacks next_revision and what follows; in no index or queue. */
void catch_up_add(struct watch_actor *a, struct watcher *w);
/* The ring begins anew behind this revision; whoever was LIVE is behind. */
void catch_up_gap(struct watch_actor *a, int64_t from_revision);
/* Some work for those who are behind. True: there is more to do at once. */
bool catch_up_work(struct watch_actor *a, uint64_t now_us);
/* kv.db holds everything that the ring does not. */
bool source_ready(const struct watch_actor *a);
void catch_up_free(struct watch_actor *a);

/* ---- watch_actor.c ---------------------------------------------------------------------------------- */

NO_RETURN void watch_fail(enum err error, const char *what);

#endif
