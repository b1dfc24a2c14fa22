/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deadlines.h: many deadlines behind the one an actor has: a binary heap whose members lie inside the
 * things that wait. Most requests are answered long before their deadline and most deadlines are later
 * than all before them, so adding and removing at the heap's end is the common, cheap case.
 *
 * Invariants
 *  1. items[d->place] == d for every member; place is DEADLINE_NONE for everybody else.
 *  2. No member is earlier than its parent.
 */
#ifndef HOLDFAST_DEADLINES_H
#define HOLDFAST_DEADLINES_H

#include "base.h"

#define DEADLINE_NONE SIZE_MAX

struct deadline {
    uint64_t at_us;
    size_t place; /* DEADLINE_NONE before its first use */
    int kind;     /* the owner's own mark: what lies around it */
};

struct deadlines {
    struct deadline **items;
    size_t count, capacity;
};

/* Add, or move if it is in already. */
void deadlines_set(struct deadlines *heap, struct deadline *d, uint64_t at_us);
/* Harmless if it is not in. */
void deadlines_clear(struct deadlines *heap, struct deadline *d);
/* The earliest; NULL if there is none. */
struct deadline *deadlines_first(const struct deadlines *heap);
/* Frees the heap's own memory; nobody may be in. */
void deadlines_free(struct deadlines *heap);
void deadlines_check(const struct deadlines *heap);

#endif
