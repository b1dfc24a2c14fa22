/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.c: see watch.h.
 */
#include "watch.h"

#include <string.h>

static struct event *append(struct event_block *b, struct view key, struct view value)
{
    ARRAY_RESERVE(b->items, b->capacity, b->count + 1);
    struct event *e = &b->items[b->count++];
    *e = (struct event){
        .key_at = b->octets.size, .key_size = (uint32_t)key.size, .value_size = value.size};
    uint8_t *to = buffer_extend(&b->octets, key.size + value.size);
    if (key.size > 0) {
        memcpy(to, key.data, key.size);
    }
    if (value.size > 0) {
        memcpy(to + key.size, value.data, value.size);
    }
    return e;
}

void event_block_add(struct event_block *b, const struct kv_history *row)
{
    struct event *e = append(b, row->key, row->value);
    e->change = row->change;
    e->previous_change = row->previous_change;
    e->create_revision = row->create_revision;
    e->version = row->version;
    e->lease = row->lease;
    e->deleted = row->deleted;
}

void event_block_copy(struct event_block *b, const struct event_block *from, size_t index)
{
    const struct event *source = &from->items[index];
    struct view key = event_key(from, index);
    struct event *e = append(b, key, view_of(key.data + key.size, source->value_size));
    size_t key_at = e->key_at;
    *e = *source;
    e->key_at = key_at;
}

struct view event_key(const struct event_block *b, size_t index)
{
    static const uint8_t nothing[1];
    const uint8_t *octets = b->octets.data != NULL ? b->octets.data : nothing;
    return view_of(octets + b->items[index].key_at, b->items[index].key_size);
}

struct key_value event_pair(const struct event_block *b, size_t index)
{
    const struct event *e = &b->items[index];
    struct view key = event_key(b, index);
    struct key_value pair = {.key = key, .mod_revision = change_revision(e->change)};
    if (!e->deleted) {
        pair.value = view_of(key.data + key.size, e->value_size);
        pair.create_revision = e->create_revision;
        pair.version = e->version;
        pair.lease = e->lease;
    }
    return pair;
}

size_t event_block_bytes(const struct event_block *b)
{
    return b->capacity * sizeof(b->items[0]) + b->octets.capacity;
}

void event_block_clear(struct event_block *b)
{
    b->count = 0;
    b->octets.size = 0;
}

void event_block_free(struct event_block *b)
{
    mem_free(b->items);
    buffer_free(&b->octets);
    *b = (struct event_block){0};
}

void watch_batch_free(struct watch_batch **b)
{
    struct watch_batch *freed = *b;
    *b = NULL;
    if (freed == NULL) {
        return;
    }
    event_block_free(&freed->events);
    event_block_free(&freed->previous);
    mem_free(freed->previous_of);
    mem_free(freed->refs);
    mem_free(freed->responses);
    mem_free(freed);
}
