/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending.h: which call a request id belongs to. Open addressing with linear probing; ids come from a
 * counter, so consecutive ones lie side by side and collide only with those a table's length older.
 *
 * Invariants
 *  1. At most half of the slots are taken.
 *  2. From the home slot of each id up to the slot it lies in, no slot is empty.
 *  3. Ids are never 0, never twice.
 */
#ifndef HOLDFAST_PENDING_H
#define HOLDFAST_PENDING_H

#include "base.h"

struct pending_slot {
    uint64_t id; /* 0: empty */
    void *call;
};

struct pending {
    struct pending_slot *slots;
    size_t count, capacity; /* capacity is a power of two, or 0 */
};

void pending_add(struct pending *p, uint64_t id, void *call);
/* The call; NULL if nobody waits under this id. */
void *pending_find(const struct pending *p, uint64_t id);
/* The same, and removed. */
void *pending_take(struct pending *p, uint64_t id);
void pending_free(struct pending *p);
void pending_check(const struct pending *p);

#endif
