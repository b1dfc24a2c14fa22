/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_ring.c: see watch_ring.h.
 */
#include "watch_ring.h"

#include <string.h>

static struct event_block *block_at(const struct watch_ring *r, size_t block)
{
    return &r->blocks[r->first + block];
}

static uint64_t last_change(const struct event_block *b)
{
    return b->items[b->count - 1].change;
}

void watch_ring_start(struct watch_ring *r, int64_t floor)
{
    for (size_t i = 0; i < r->count; i++) {
        event_block_free(block_at(r, i));
    }
    r->first = r->count = 0;
    r->bytes = 0;
    r->floor = r->revision = floor;
}

void watch_ring_free(struct watch_ring *r)
{
    watch_ring_start(r, 0);
    mem_free(r->blocks);
    *r = (struct watch_ring){0};
}

void watch_ring_push(struct watch_ring *r, struct event_block *events, int64_t revision)
{
    ASSERT(revision >= r->revision);
    ASSERT((events->count == 0) == (revision == r->revision));
    if (events->count == 0) {
        event_block_free(events);
        return;
    }
    ASSERT(change_revision(events->items[0].change) == r->revision + 1);
    ASSERT(change_revision(last_change(events)) == revision);
    QUEUE_RESERVE(r->blocks, r->first, r->count, r->capacity);
    *block_at(r, r->count) = *events;
    r->count++;
    r->bytes += event_block_bytes(events);
    r->revision = revision;
    *events = (struct event_block){0};
}

void watch_ring_trim(struct watch_ring *r, int64_t committed_revision)
{
    while (r->count > 0 && r->bytes > r->bytes_max) {
        struct event_block *oldest = block_at(r, 0);
        int64_t through = change_revision(last_change(oldest));
        if (through > committed_revision) {
            break;
        }
        r->floor = through;
        r->bytes -= event_block_bytes(oldest);
        event_block_free(oldest);
        r->first++;
        r->count--;
    }
    if (r->count == 0) {
        r->first = 0;
    }
}

const struct event_block *watch_ring_block(const struct watch_ring *r, size_t block)
{
    return block < r->count ? block_at(r, block) : NULL;
}

struct ring_place watch_ring_seek(const struct watch_ring *r, uint64_t change)
{
    size_t low = 0; /* the first block that ends at or behind the change */
    size_t high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (last_change(block_at(r, middle)) < change) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == r->count) {
        return (struct ring_place){.block = low};
    }
    const struct event_block *b = block_at(r, low);
    size_t from = 0;
    size_t to = b->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (b->items[middle].change < change) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return (struct ring_place){.block = low, .index = from};
}

bool watch_ring_find(const struct watch_ring *r, uint64_t change, struct ring_place *out)
{
    struct ring_place place = watch_ring_seek(r, change);
    if (place.block == r->count || block_at(r, place.block)->items[place.index].change != change) {
        return false;
    }
    *out = place;
    return true;
}

void watch_ring_check(const struct watch_ring *r)
{
    uint64_t bytes = 0;
    int64_t revision = r->floor;
    uint64_t change = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct event_block *b = block_at(r, i);
        ASSERT(b->count > 0);
        ASSERT(change_revision(b->items[0].change) == revision + 1);
        for (size_t k = 0; k < b->count; k++) {
            ASSERT(b->items[k].change > change);
            change = b->items[k].change;
            int64_t at = change_revision(change);
            ASSERT(at == revision || at == revision + 1);
            revision = at;
        }
        bytes += event_block_bytes(b);
    }
    ASSERT(revision == r->revision);
    ASSERT(bytes == r->bytes);
}
