/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_ring.h: the newest changes in memory, as blocks that came from apply: what kv.db does not have
 * yet, and as much more as is allowed, so that a watcher that lags a little costs no disk.
 *
 * Invariants
 *  1. It holds every change of the revisions floor+1 .. revision, in order, and no other. A revision lies
 *     in one block.
 *  2. Only what kv.db has may go from the front, and only while more than bytes_max are held.
 */
#ifndef HOLDFAST_WATCH_RING_H
#define HOLDFAST_WATCH_RING_H

#include "watch.h"

struct watch_ring {
    struct event_block *blocks; /* a queue; none is empty */
    size_t first, count, capacity;
    int64_t floor, revision;
    uint64_t bytes, bytes_max;
};

/* A change's place. */
struct ring_place {
    size_t block; /* from the front */
    size_t index;
};

/* Forget everything and begin behind this revision. */
void watch_ring_start(struct watch_ring *r, int64_t floor);
/* Add the changes up to `revision`, at or above the present one; *events moves in and may be empty. */
void watch_ring_push(struct watch_ring *r, struct event_block *events, int64_t revision);
/* Let go what is too much and lies in kv.db, which holds everything up to committed_revision. */
void watch_ring_trim(struct watch_ring *r, int64_t committed_revision);
void watch_ring_free(struct watch_ring *r);

/* The block at a place; NULL behind the last. Borrowed until the next push or trim. */
const struct event_block *watch_ring_block(const struct watch_ring *r, size_t block);
/* The first change at or behind `change`; block == count: there is none. */
struct ring_place watch_ring_seek(const struct watch_ring *r, uint64_t change);
/* The change itself. False: not here. */
bool watch_ring_find(const struct watch_ring *r, uint64_t change, struct ring_place *out);
void watch_ring_check(const struct watch_ring *r);

#endif
