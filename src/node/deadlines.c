/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deadlines.c: see deadlines.h.
 */
#include "deadlines.h"

static void put(struct deadlines *heap, size_t place, struct deadline *d)
{
    heap->items[place] = d;
    d->place = place;
}

static void rise(struct deadlines *heap, size_t place)
{
    struct deadline *d = heap->items[place];
    while (place > 0) {
        size_t parent = (place - 1) / 2;
        if (heap->items[parent]->at_us <= d->at_us) {
            break;
        }
        put(heap, place, heap->items[parent]);
        place = parent;
    }
    put(heap, place, d);
}

static void sink(struct deadlines *heap, size_t place)
{
    struct deadline *d = heap->items[place];
    for (;;) {
        size_t child = place * 2 + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && heap->items[child + 1]->at_us < heap->items[child]->at_us) {
            child++;
        }
        if (d->at_us <= heap->items[child]->at_us) {
            break;
        }
        put(heap, place, heap->items[child]);
        place = child;
    }
    put(heap, place, d);
}

void deadlines_set(struct deadlines *heap, struct deadline *d, uint64_t at_us)
{
    if (d->place == DEADLINE_NONE) {
        ARRAY_RESERVE(heap->items, heap->capacity, heap->count + 1);
        d->at_us = at_us;
        put(heap, heap->count++, d);
        rise(heap, d->place);
        return;
    }
    ASSERT(heap->items[d->place] == d);
    bool earlier = at_us < d->at_us;
    d->at_us = at_us;
    if (earlier) {
        rise(heap, d->place);
    } else {
        sink(heap, d->place);
    }
}

void deadlines_clear(struct deadlines *heap, struct deadline *d)
{
    size_t place = d->place;
    if (place == DEADLINE_NONE) {
        return;
    }
    ASSERT(heap->items[place] == d);
    d->place = DEADLINE_NONE;
    struct deadline *last = heap->items[--heap->count];
    if (last == d) {
        return;
    }
    put(heap, place, last);
    rise(heap, place);
    sink(heap, last->place);
}

struct deadline *deadlines_first(const struct deadlines *heap)
{
    return heap->count > 0 ? heap->items[0] : NULL;
}

void deadlines_free(struct deadlines *heap)
{
    ASSERT(heap->count == 0);
    mem_free(heap->items);
    *heap = (struct deadlines){0};
}

void deadlines_check(const struct deadlines *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        ASSERT(heap->items[i]->place == i);
        ASSERT(i == 0 || heap->items[(i - 1) / 2]->at_us <= heap->items[i]->at_us);
    }
}
