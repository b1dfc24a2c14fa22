/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.h: octets that are allocated one by one and freed all at once: the values of a batch and the
 * pages of its index. A put then costs no malloc, and dropping a flushed batch costs a few frees.
 *
 * Invariants
 *  1. What was handed out never moves and stays valid until arena_free.
 *  2. `bytes` is the sum of all chunks, for byte budgets.
 */
#ifndef HOLDFAST_KV_ARENA_H
#define HOLDFAST_KV_ARENA_H

#include "base.h"

struct arena_chunk;

/* Zero-initialised is empty. */
struct arena {
    struct arena_chunk *last; /* the chunk being filled; older ones hang behind it */
    size_t used, size;        /* of the last chunk */
    size_t bytes;
};

/* `size` octets aligned to 8, uninitialised. Never NULL. */
void *arena_alloc(struct arena *a, size_t size);
/* A copy of the octets, valid until arena_free. */
struct view arena_copy(struct arena *a, struct view from);
/* Free everything; the arena is empty again. */
void arena_free(struct arena *a);

#endif
