/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending.c: see pending.h.
 */
#include "pending.h"

#define PENDING_SLOTS_MIN 256

static size_t home(const struct pending *p, uint64_t id)
{
    return (size_t)id & (p->capacity - 1);
}

static void insert(struct pending *p, uint64_t id, void *call)
{
    size_t at = home(p, id);
    while (p->slots[at].id != 0) {
        ASSERT(p->slots[at].id != id);
        at = (at + 1) & (p->capacity - 1);
    }
    p->slots[at] = (struct pending_slot){.id = id, .call = call};
}

void pending_add(struct pending *p, uint64_t id, void *call)
{
    ASSERT(id != 0);
    if ((p->count + 1) * 2 > p->capacity) {
        struct pending old = *p;
        p->capacity = old.capacity == 0 ? PENDING_SLOTS_MIN : old.capacity * 2;
        p->slots = mem_zalloc(p->capacity * sizeof(struct pending_slot));
        for (size_t i = 0; i < old.capacity; i++) {
            if (old.slots[i].id != 0) {
                insert(p, old.slots[i].id, old.slots[i].call);
            }
        }
        mem_free(old.slots);
    }
    insert(p, id, call);
    p->count++;
}

/* The slot of an id, or SIZE_MAX. */
static size_t slot_of(const struct pending *p, uint64_t id)
{
    if (id == 0 || p->capacity == 0) {
        return SIZE_MAX;
    }
    size_t at = home(p, id);
    while (p->slots[at].id != id) {
        if (p->slots[at].id == 0) {
            return SIZE_MAX;
        }
        at = (at + 1) & (p->capacity - 1);
    }
    return at;
}

void *pending_find(const struct pending *p, uint64_t id)
{
    size_t at = slot_of(p, id);
    return at == SIZE_MAX ? NULL : p->slots[at].call;
}

void *pending_take(struct pending *p, uint64_t id)
{
    size_t at = slot_of(p, id);
    if (at == SIZE_MAX) {
        return NULL;
    }
    size_t mask = p->capacity - 1;
    void *call = p->slots[at].call;
    /* close the gap: whoever behind it would be cut off from home moves in */
    size_t gap = at;
    for (size_t next = (gap + 1) & mask; p->slots[next].id != 0; next = (next + 1) & mask) {
        size_t from_home = (next - home(p, p->slots[next].id)) & mask;
        size_t from_gap = (next - gap) & mask;
        if (from_home >= from_gap) {
            p->slots[gap] = p->slots[next];
            gap = next;
        }
    }
    p->slots[gap] = (struct pending_slot){0};
    p->count--;
    return call;
}

void pending_free(struct pending *p)
{
    mem_free(p->slots);
    *p = (struct pending){0};
}

void pending_check(const struct pending *p)
{
    size_t seen = 0;
    for (size_t i = 0; i < p->capacity; i++) {
        if (p->slots[i].id == 0) {
            continue;
        }
        seen++;
        for (size_t at = home(p, p->slots[i].id); at != i; at = (at + 1) & (p->capacity - 1)) {
            ASSERT(p->slots[at].id != 0);
        }
    }
    ASSERT(seen == p->count);
    ASSERT(p->count * 2 <= p->capacity);
}
