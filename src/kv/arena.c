/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.c: a list of chunks, the newest one being filled. Chunks double from small to large, so that
 * a store that idles holds little and a busy one seldom calls malloc. A request that would waste
 * much of a chunk gets one of its own behind the one being filled.
 */
#include "kv/arena.h"

#include <string.h>

#define ARENA_CHUNK_BYTES_FIRST ((size_t)4096)
#define ARENA_CHUNK_BYTES_MAX   ((size_t)256 * 1024)
#define ARENA_ALIGNMENT         ((size_t)8)

struct arena_chunk {
    struct arena_chunk *older;
    uint64_t octets[]; /* aligned to 8 */
};

static struct arena_chunk *chunk_create(struct arena *a, size_t size)
{
    struct arena_chunk *chunk = mem_alloc(sizeof(*chunk) + size);
    a->bytes += sizeof(*chunk) + size;
    return chunk;
}

void *arena_alloc(struct arena *a, size_t size)
{
    ASSERT(size <= SIZE_MAX / 4);
    size = (size + ARENA_ALIGNMENT - 1) & ~(ARENA_ALIGNMENT - 1);
    if (a->size - a->used < size) {
        if (a->last != NULL && size > ARENA_CHUNK_BYTES_MAX / 4) {
            struct arena_chunk *own = chunk_create(a, size);
            own->older = a->last->older;
            a->last->older = own;
            return own->octets;
        }
        size_t chunk_size =
            a->size < ARENA_CHUNK_BYTES_FIRST / 2 ? ARENA_CHUNK_BYTES_FIRST : a->size * 2;
        if (chunk_size > ARENA_CHUNK_BYTES_MAX) {
            chunk_size = ARENA_CHUNK_BYTES_MAX;
        }
        if (chunk_size < size) {
            chunk_size = size;
        }
        struct arena_chunk *chunk = chunk_create(a, chunk_size);
        chunk->older = a->last;
        a->last = chunk;
        a->size = chunk_size;
        a->used = 0;
    }
    uint8_t *room = (uint8_t *)a->last->octets + a->used;
    a->used += size;
    return room;
}

struct view arena_copy(struct arena *a, struct view from)
{
    if (from.size == 0) {
        return view_of(NULL, 0);
    }
    uint8_t *room = arena_alloc(a, from.size);
    memcpy(room, from.data, from.size);
    return view_of(room, from.size);
}

void arena_free(struct arena *a)
{
    struct arena_chunk *chunk = a->last;
    while (chunk != NULL) {
        struct arena_chunk *older = chunk->older;
        mem_free(chunk);
        chunk = older;
    }
    *a = (struct arena){0};
}
