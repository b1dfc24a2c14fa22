/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.h: what watching is made of where it crosses walls: blocks of events (kv -> apply -> watch)
 * and batches of responses (watch -> client -> api).
 *
 * An event is a row of history: what one change did to one key. Blocks and batches hold octets in one
 * buffer each and name them by places in it, so that they can grow and move without fixing pointers.
 *
 * Not here: who watches what (src/kv/watch_index.h), how events travel (src/node/watch_actor.h).
 */
#ifndef HOLDFAST_WATCH_H
#define HOLDFAST_WATCH_H

#include "base.h"
#include "command.h"
#include "store.h"

/* ---- events ------------------------------------------------------------------------------------- */

struct event {
    uint64_t change;          /* revision and place within it (store.h) */
    uint64_t previous_change; /* the key's change before this one; 0: none */
    int64_t create_revision, version, lease;
    size_t key_at; /* in the block's octets; the value lies right behind the key */
    uint32_t key_size;
    bool deleted;
    size_t value_size;
};

/* Events in the order of their changes. Zero-initialised is empty. */
struct event_block {
    struct event *items;
    size_t count, capacity;
    struct buffer octets;
};

/* Append a copy of the row. */
void event_block_add(struct event_block *b, const struct kv_history *row);
/* Append a copy of an event of another block. */
void event_block_copy(struct event_block *b, const struct event_block *from, size_t index);
struct view event_key(const struct event_block *b, size_t index);
/* The event as a key-value pair; of a deletion only key and mod_revision are set. Borrowed. */
struct key_value event_pair(const struct event_block *b, size_t index);
/* Octets of memory, for budgets. */
size_t event_block_bytes(const struct event_block *b);
void event_block_clear(struct event_block *b); /* empty, room kept */
void event_block_free(struct event_block *b);

/* ---- responses ---------------------------------------------------------------------------------- */

enum watch_response_kind {
    WATCH_RESPONSE_CREATED,
    WATCH_RESPONSE_REFUSED, /* created and cancelled at once; watch_id is -1, cancel_reason set */
    WATCH_RESPONSE_EVENTS,
    WATCH_RESPONSE_PROGRESS, /* watch_id -1: of the stream; else of that watcher */
    WATCH_RESPONSE_CANCELED, /* by the client, or with compact_revision, or with a reason */
    WATCH_RESPONSE_TAKEN, /* `watch_id` requests were taken that have no answer; not for the wire */
};

struct watch_response {
    uint64_t stream;
    int64_t watch_id;
    int64_t revision;            /* of the header */
    int64_t compact_revision;    /* 0: not cancelled by a compaction */
    const char *cancel_reason;   /* static; NULL: none */
    size_t ref_first, ref_count; /* its events: batch->refs[ref_first ..] */
    enum watch_response_kind kind;
    bool prev_kv;  /* with each event goes what was there before */
    bool fragment; /* may be split when it is large */
    uint64_t cost; /* octets charged to the stream's credit; WATCH_ACK gives them back */
};

#define WATCH_PREVIOUS_NONE UINT32_MAX

/* What one client actor is told at a time: each event once, and who gets which. */
struct watch_batch {
    struct event_block events;
    uint32_t *previous_of; /* per event: index in `previous`, or WATCH_PREVIOUS_NONE */
    size_t previous_of_capacity;
    struct event_block previous;
    uint32_t *refs; /* indexes of events, ascending within a response */
    size_t ref_count, ref_capacity;
    struct watch_response *responses;
    size_t response_count, response_capacity;
};

void watch_batch_free(struct watch_batch **b);

/* Fixed texts of the interface. */
#define WATCH_REASON_DUPLICATE "mvcc: duplicate watch ID provided on the WatchStream"
#define WATCH_REASON_EMPTY     "mvcc: watcher range is empty"
#define WATCH_REASON_COMPACTED "etcdserver: mvcc: required revision has been compacted"
#define WATCH_REASON_TOO_MANY  "holdfast: too many watchers on this node (client.watchers_max)"
#define WATCH_REASON_TOO_LARGE                                                                     \
    "holdfast: the events of one revision are too large (watch.response_bytes_max)"

#endif
