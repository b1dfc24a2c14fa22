/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlay.h: what the state machine holds in memory in front of kv.db: every key changed by the open
 * or the sealed batch with its newest state, these batches' history rows, and a cache of unchanged
 * ("clean") keys.
 *
 * One node per key, found by a hash. Order is kept only where it is needed: each batch has an index
 * of the keys it changed (key_index.h). Clean keys are in none, because a scan meets them in kv.db
 * anyway. Sealing swaps the batches; flushing drops the sealed one wholesale.
 *
 * Not here: disk, revisions rules, encoding for the flusher.
 *
 * Invariants
 *  1. A node's fields are the key's newest state. A clean node equals its row in kv.db.
 *  2. A node is dirty_open exactly if its key is in open.index, dirty_sealed exactly if in
 *     sealed.index; it is clean otherwise. Only clean nodes are in `clean` and only they are evicted.
 *  3. Rows of a batch ascend by change; each of sealed is before each of open.
 *  4. The value of a dirty node lies in the arena of the batch of its newest change; a clean node
 *     owns its value if it has one.
 *  5. cache_bytes is the sum over clean nodes; after each call it is at most cache_bytes_max.
 */
#ifndef HOLDFAST_KV_OVERLAY_H
#define HOLDFAST_KV_OVERLAY_H

#include "base.h"
#include "kv/arena.h"
#include "kv/key_index.h"
#include "store.h"

#define OVERLAY_CACHED_VALUE_BYTES_MAX ((size_t)64 * 1024) /* larger values are read from disk */

/* One key. Private but for reading; changed through the functions below only. */
struct overlay_node {
    struct overlay_node *hash_next;
    uint64_t hash;
    uint64_t change; /* newest change id; 0: the key never existed (only until overlay_write) */
    int64_t create_revision, version, lease;
    uint64_t depth;
    uint64_t jump_change;      /* of the newest row */
    uint64_t jump_jump_change; /* of the row jump_change names; saves a look-up on most puts */
    const uint8_t *value;      /* in a batch's arena, or `owned` */
    size_t value_size;
    uint8_t *owned;  /* the value of a clean node; NULL otherwise */
    size_t clean_at; /* place in overlay.clean */
    uint32_t key_size;
    bool deleted;
    bool dirty_open, dirty_sealed;
    bool clean;           /* in overlay.clean; false between overlay_hold and overlay_write */
    bool value_known;     /* value is the newest row's value */
    bool value_read;      /* someone has read it since it was written: worth keeping when clean */
    bool jump_known;      /* jump_change is */
    bool jump_jump_known; /* jump_jump_change is */
    bool referenced;      /* second chance of the clock */
    uint8_t key[];
};

/* A history row of the open or sealed batch. */
struct overlay_row {
    uint64_t change, previous_change, jump_change;
    const struct overlay_node *node;
    const uint8_t *value; /* in the batch's arena */
    size_t value_size;
    int64_t create_revision, version, lease;
    bool deleted;
};

struct overlay_batch {
    struct arena values;
    struct key_index index; /* items are struct overlay_node * */
    struct overlay_row *rows;
    size_t row_count, row_capacity;
};

struct overlay {
    struct overlay_node *
        *buckets; /* linear hashing: grows one bucket per insertion, no rehash stall */
    size_t bucket_capacity;
    size_t
        bucket_round; /* a power of two; buckets 0 .. bucket_round + bucket_split - 1 are in use */
    size_t bucket_split;
    size_t node_count;

    struct overlay_batch open, sealed;
    bool has_sealed;

    struct overlay_node **clean;
    size_t clean_count, clean_capacity, clean_hand;
    size_t cache_bytes, cache_bytes_max;
    size_t dirty_node_bytes; /* nodes that are dirty, without values */
};

void overlay_init(struct overlay *o, size_t cache_bytes_max);
void overlay_free(struct overlay *o);

/* The key's node, or NULL. Borrowed until the next call that may evict: overlay_cache, _flushed. */
struct overlay_node *overlay_find(struct overlay *o, struct view key);
struct view overlay_key(const struct overlay_node *node);
/* The node's value for an answer; value_known must hold. Remembers that it was wanted. */
struct view overlay_value(struct overlay_node *node);
/* The node's state in the store's words; views borrowed like the node. */
struct kv_current overlay_current(const struct overlay_node *node);

/* Keep a row just read from kv.db, which has no node yet. value NULL: not known. Copies. */
void overlay_cache(struct overlay *o, const struct kv_current *row, const struct view *value);
/* Give a clean node its value, read from kv.db. Copies. May evict others, not this node. */
void overlay_cache_value(struct overlay *o, struct overlay_node *node, struct view value);

/* A node for a key that has none and is about to be written: `row` is its state in kv.db, or NULL for
 * a key that never existed. Must be followed by overlay_write. */
struct overlay_node *overlay_hold(struct overlay *o, struct view key, const struct kv_current *row);
/*
 * Append the row to the open batch and make it the node's newest state; depth grows by one.
 * row->key is not looked at (the node has it), the value is copied. It may point into this node's.
 * jump_jump_known: *jump_jump is the jump_change of the row that row->jump_change names.
 */
void overlay_write(struct overlay *o, struct overlay_node *node, const struct kv_history *row,
                   bool jump_jump_known, uint64_t jump_jump);

/* The history row with this change id in the open or sealed batch, or NULL. Borrowed until the next
 * overlay_write, _seal or _flushed; the octets of key and value until the batch is flushed. */
const struct overlay_row *overlay_row_find(const struct overlay *o, uint64_t change);

/* open becomes sealed, which must be free. */
void overlay_seal(struct overlay *o);
/* sealed is on disk: drop its rows; keys not changed since become clean. */
void overlay_flushed(struct overlay *o);

/* Octets held for the two batches, without the cache. */
size_t overlay_dirty_bytes(const struct overlay *o);
/* Asserts the invariants; walks everything. */
void overlay_check(const struct overlay *o);

#endif
