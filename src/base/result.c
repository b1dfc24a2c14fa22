/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result.c: the state machine's answer. Pairs are copied into chunks of octets; a chunk never moves
 * and never grows, so the views in `kvs` stay valid while pairs are added (the array of pairs itself
 * moves, its views do not).
 *
 * Invariants
 *  1. chunk_used <= chunk_size; both speak of the last chunk.
 *  2. The list of chunks has room for the least power of two not below octets_chunk_count, and for
 *     RESULT_CHUNKS_LEAST at least; so it grows exactly when the count is at such a power.
 */
#include "command.h"

#include <string.h>

#define RESULT_CHUNKS_LEAST      4
#define RESULT_CHUNK_BYTES_FIRST 1024
#define RESULT_CHUNK_BYTES_MAX   (1024 * 1024)

_Static_assert((RESULT_CHUNKS_LEAST & (RESULT_CHUNKS_LEAST - 1)) == 0, "a power of two");

struct result *result_create(void)
{
    return mem_zalloc(sizeof(struct result));
}

static void chunk_list_grow(struct result *r)
{
    size_t count = r->octets_chunk_count;
    size_t capacity = 0;
    if (count == 0) {
        capacity = RESULT_CHUNKS_LEAST;
    } else if (count >= RESULT_CHUNKS_LEAST && (count & (count - 1)) == 0) {
        capacity = count * 2;
    } else {
        return;
    }
    r->octets_chunks = mem_realloc(r->octets_chunks, capacity * sizeof(r->octets_chunks[0]));
}

/* Room for `size` octets that stays where it is until result_free. */
static uint8_t *room_of(struct result *r, size_t size)
{
    if (r->octets_chunk_count == 0 || r->chunk_size - r->chunk_used < size) {
        size_t chunk_size = r->chunk_size * 2;
        if (chunk_size < RESULT_CHUNK_BYTES_FIRST) {
            chunk_size = RESULT_CHUNK_BYTES_FIRST;
        }
        if (chunk_size > RESULT_CHUNK_BYTES_MAX) {
            chunk_size = RESULT_CHUNK_BYTES_MAX;
        }
        if (chunk_size < size) {
            chunk_size = size;
        }
        chunk_list_grow(r);
        r->octets_chunks[r->octets_chunk_count++] = mem_alloc(chunk_size);
        r->chunk_size = chunk_size;
        r->chunk_used = 0;
    }
    uint8_t *room = r->octets_chunks[r->octets_chunk_count - 1] + r->chunk_used;
    r->chunk_used += size;
    return room;
}

static struct view copy_into(uint8_t *room, struct view from)
{
    if (from.size > 0) {
        memcpy(room, from.data, from.size);
    }
    return view_of(room, from.size);
}

void result_add(struct result *r, const struct key_value *kv, bool keys_only)
{
    struct view value = keys_only ? view_of(NULL, 0) : kv->value;
    ASSERT(kv->key.size <= SIZE_MAX / 4);
    ASSERT(value.size <= SIZE_MAX / 4);
    ARRAY_RESERVE(r->kvs, r->kv_capacity, r->kv_count + 1);
    uint8_t *room = room_of(r, kv->key.size + value.size);
    struct key_value *added = &r->kvs[r->kv_count++];
    *added = *kv;
    added->key = copy_into(room, kv->key);
    added->value = copy_into(room + kv->key.size, value);
    r->bytes += kv->key.size + value.size;
}

void result_add_lease(struct result *r, const struct lease_info *lease)
{
    ARRAY_RESERVE(r->leases, r->lease_capacity, r->lease_count + 1);
    r->leases[r->lease_count++] = *lease;
}

/* A txn's answer is a tree: its results are freed from a list, without recursion. */
void result_free(struct result **r)
{
    struct result *first = *r;
    *r = NULL;
    while (first != NULL) {
        struct result *freed = first;
        first = freed->next;
        for (size_t i = 0; i < freed->response_count; i++) {
            struct result *inner = freed->responses[i].result;
            if (inner != NULL) {
                inner->next = first;
                first = inner;
            }
        }
        for (size_t i = 0; i < freed->octets_chunk_count; i++) {
            mem_free(freed->octets_chunks[i]);
        }
        mem_free(freed->octets_chunks);
        mem_free(freed->kvs);
        mem_free(freed->leases);
        mem_free(freed->responses);
        mem_free(freed);
    }
}
