/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_index.h: who watches this key? An index from keys and key ranges to watchers, so that a put
 * looks at those it concerns and no others.
 *
 * Watchers of equal ranges share one place. Single keys are found by a hash; ranges lie in a balanced
 * tree by their start, each node knowing the greatest end below it (an interval tree).
 *
 * Flows in: entries with their ranges as etcd encodes them. Flows out: the places whose ranges contain a
 * key; each has a list of entries. Not here: revisions, filters, what a watcher is.
 *
 * Invariants
 *  1. An entry is in exactly one place, and a place has at least one entry.
 *  2. The tree is ordered by (start, end), an unbounded end being the greatest; sibling heights differ
 *     by at most one; `greatest_end` of a node is the greatest end of its subtree.
 *  3. Cost: add and remove O(log n) of places; match O(m log n) for m places found.
 */
#ifndef HOLDFAST_KV_WATCH_INDEX_H
#define HOLDFAST_KV_WATCH_INDEX_H

#include "base.h"

struct watch_place;

/* Embedded in whatever watches. */
struct watch_entry {
    struct watch_entry *next, *previous; /* of the place */
    struct watch_place *place;           /* NULL: in no index */
};

/* The watchers of one range. */
struct watch_place {
    struct watch_entry *entries;
    struct watch_place *left, *right; /* of the tree; `left` links the hash's chain */
    uint64_t hash;                    /* of a single key */
    size_t start_size, end_size;
    const struct watch_place *greatest_end; /* the place in this subtree that ends last */
    int height;
    bool single, unbounded;
    uint8_t octets[]; /* start, then end */
};

/* Zero-initialised is empty. */
struct watch_index {
    struct watch_place *root;
    struct watch_place **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t single_count, range_count;
    size_t entry_count;
};

/* True if no key can be in it: key at or behind a range_end that is neither empty nor one 0x00. */
bool watch_range_is_empty(struct view key, struct view range_end);

/* Add an entry that is in no index. key and range_end are copied; the range is not empty. */
void watch_index_add(struct watch_index *x, struct watch_entry *e, struct view key,
                     struct view range_end);
/* Take an entry out. */
void watch_index_remove(struct watch_index *x, struct watch_entry *e);

/* Any entry; NULL: the index is empty. */
struct watch_entry *watch_index_any(const struct watch_index *x);

/* Places whose range contains the key, in no particular order. */
struct watch_matches {
    struct watch_place **items; /* free with mem_free; kept from call to call */
    size_t count, capacity;
};
/* `out` is filled anew; the places are valid until the next add or remove. */
void watch_index_match(const struct watch_index *x, struct view key, struct watch_matches *out);

/* Every entry has been removed or is abandoned (its memory need not be there any more). */
void watch_index_free(struct watch_index *x);
/* Asserts the invariants over everything. */
void watch_index_check(const struct watch_index *x);

#endif
