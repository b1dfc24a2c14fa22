/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_compact.h: taking rows out of kv.db that nobody may read any more, in slices between the batches.
 *
 * Compacted at revision C, of each key only the newest row at or below C stays, and not even that if it
 * is a deletion from before C (one of C itself stays for those who watch from there). So a row is
 * *superseded* if another row at or below C names it as its previous one, and then it goes; a deletion
 * below C goes, and with it its key's row in `current` if it is still the newest.
 *
 * To find them every row is looked at once in its life, in the order of changes: `progress` goes forward,
 * and what the rows of a *window* supersede is collected. Then it is deleted in ascending order, so that
 * rows that lie side by side go together. (Deleting each row's previous one as it is met costs a page of
 * WAL for nearly every row when keys are written at random.)
 *
 * Only what is durable is compacted: kv.db holds all changes up to its own meta.compact_revision, and no
 * row that a batch still in memory could point to as its newest is taken, because it is the newest.
 *
 * Invariants
 *  1. Up to `progress` no row is left that goes; progress is durable only after the deletions of its window,
 *     and every deletion may be repeated.
 *  2. Within a window superseded rows go in ascending order and before deletions: a row goes after the one it
 *     names as previous, so that a crash in between loses no name.
 *  3. Progress stays below revision C: its deletions go with the next compaction.
 *
 * Slices are committed without a sync: the next batch syncs all of the WAL, and what a crash loses before
 * is done again.
 */
#ifndef HOLDFAST_STORE_KV_COMPACT_H
#define HOLDFAST_STORE_KV_COMPACT_H

#include "db.h"

enum kv_compact_phase { COMPACT_IDLE, COMPACT_LOOK, COMPACT_SUPERSEDED, COMPACT_DELETIONS };

/* Changes that come in no order and go in ascending order: sorted in runs as they come, and the runs merged
 * as they go, so that no slice has to sort them all. */
struct change_run {
    size_t at, end; /* of items */
};

struct change_list {
    uint64_t *items;
    size_t count, capacity;
    size_t sorted;           /* items before are in runs */
    struct change_run *runs; /* a heap by their next item */
    size_t run_count, run_capacity;
};

struct kv_compact {
    struct db *db; /* the writer's */
    struct kv_compact_bounds bounds;
    enum kv_compact_phase phase;
    int64_t wanted;    /* durable compact_revision; 0: none */
    int64_t target;    /* being worked on */
    int64_t done;      /* nothing is left to do at or below it */
    uint64_t progress; /* durable */
    uint64_t looked;   /* rows up to here were looked at for `target` */
    struct change_list superseded, deletions;
    sqlite3_stmt *look, *key_of, *history_delete, *current_delete, *progress_write;
};

/* progress: as found in meta. Statements are the connection's and go with it. */
MUST_USE enum err kv_compact_open(struct kv_compact *c, struct db *db, int64_t compact_revision,
                                  uint64_t progress);
void kv_compact_free(struct kv_compact *c);
/* A batch with this compact_revision has been committed. */
void kv_compact_want(struct kv_compact *c, int64_t compact_revision);
/* One slice: bounded by rows and by a few milliseconds. ERR_BUSY_FILE: nothing done, try again. */
MUST_USE enum err kv_compact_slice(struct kv_compact *c);

#endif
