/* SPDX-License-Identifier: Apache-2.0 */
/*
 * credits.c: a counter that several actors draw from, for bounding what enters the node. What each
 * counter's total is, limits.c works out.
 *
 * Invariants
 *  1. 0 <= left <= total, at every moment and for every observer: a take that finds too few changes
 *     nothing, not even for an instant.
 *  2. All orders are relaxed: the number is all there is. It publishes no other memory; what a credit
 *     was spent on travels by message.
 */
#include "actor.h"

#include <stdatomic.h>

struct credits {
    _Atomic(uint64_t) left;
    uint64_t total; /* never changes */
};

struct credits *credits_create(uint64_t total)
{
    struct credits *c = mem_zalloc(sizeof(*c));
    atomic_init(&c->left, total);
    c->total = total;
    return c;
}

void credits_destroy(struct credits *c)
{
    mem_free(c);
}

bool credits_take(struct credits *c, uint64_t count)
{
    uint64_t left = atomic_load_explicit(&c->left, memory_order_relaxed);
    /* Lock-free: a round is repeated only because another thread's take or give succeeded. */
    while (left >= count) {
        if (atomic_compare_exchange_weak_explicit(&c->left, &left, left - count,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void credits_give(struct credits *c, uint64_t count)
{
    uint64_t before = atomic_fetch_add_explicit(&c->left, count, memory_order_relaxed);
    ASSERT(before <= c->total);
    ASSERT(count <= c->total - before);
}

uint64_t credits_left(const struct credits *c)
{
    return atomic_load_explicit(&c->left, memory_order_relaxed);
}
