/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_index.h: keys of one batch in byte order, each with an item. Keys are only ever added; the
 * whole index is dropped at once when the batch has been flushed. That is why it can be a B+-tree
 * without deletion on an arena: about log2(n) comparisons to insert or seek, neighbours side by side
 * in a leaf for scans.
 *
 * Not here: point lookups (the overlay's hash does them) and removal.
 *
 * Invariants
 *  1. Keys are unique and ascending over the chain of leaves.
 *  2. Every page but the root holds at least one entry; all leaves are at the same depth.
 *  3. An inner page's entry i holds the least key of child i as of the split that made it; entry 0's
 *     key is never compared.
 */
#ifndef HOLDFAST_KV_KEY_INDEX_H
#define HOLDFAST_KV_KEY_INDEX_H

#include "base.h"
#include "kv/arena.h"

struct key_index_page;

/* Zero-initialised is empty. */
struct key_index {
    struct arena pages;
    struct key_index_page *root;
    uint32_t height; /* pages from root to leaf; 0 when empty */
    size_t count;
};

/* A place between two keys. Valid until the next insertion. */
struct key_index_cursor {
    const struct key_index_page *leaf; /* NULL: at the end */
    uint32_t at;
};

/* Add a key that is not there yet. Key octets and item are borrowed until key_index_free. */
void key_index_insert(struct key_index *x, struct view key, void *item);
/* The first entry at or after the key. */
struct key_index_cursor key_index_seek(const struct key_index *x, struct view key);
/* The item under the cursor, its key in *key; NULL at the end. */
void *key_index_get(const struct key_index_cursor *c, struct view *key);
void key_index_next(struct key_index_cursor *c);
/* Drop all entries; the index is empty again. */
void key_index_free(struct key_index *x);
/* Asserts the invariants over the whole tree. */
void key_index_check(const struct key_index *x);

#endif
