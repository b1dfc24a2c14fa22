/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.c: blocks of log entries: one allocation that holds the struct, the entries and their octets.
 * Made by whoever knows how much will go in, filled in order, then only read, moved, copied and freed.
 *
 * Invariants, beside those of entry.h
 *  1. The public struct is the first member of the private one, so that one mem_free frees all.
 *  2. Every entry's data points into the block's own octets; a block refers to nothing outside it.
 *  3. The caller's two numbers at creation are bounds that entries_add asserts.
 *
 * The wire form: u8 format, u64 first index, u32 count, then for each entry u64 term, u64 origin,
 * u64 request id, u8 type, u32 size, octets. Indexes follow from the first one.
 */
#include "entry.h"

#include <string.h>

#define ENTRIES_MAGIC           UINT32_C(0x656e7472)
#define ENTRIES_WIRE_HEAD_BYTES 13
#define ENTRY_WIRE_HEAD_BYTES   29

struct entries_block {
    struct entries entries; /* first: the public face */
    uint32_t magic;
    size_t item_capacity;
    uint8_t *octets_next;
    size_t octets_left;
    struct entry items[];
};

static struct entries_block *block_of(struct entries *entries)
{
    struct entries_block *block = (struct entries_block *)(void *)entries;
    ASSERT(block->magic == ENTRIES_MAGIC);
    return block;
}

struct entries *entries_create(size_t count, size_t data_bytes)
{
    ASSERT(count <= SIZE_MAX / 4 / sizeof(struct entry));
    ASSERT(data_bytes <= SIZE_MAX / 4);
    size_t items_bytes = count * sizeof(struct entry);
    struct entries_block *block =
        mem_alloc(sizeof(struct entries_block) + items_bytes + data_bytes);
    *block = (struct entries_block){
        .entries = {.first_index = 0, .count = 0, .bytes = 0, .items = block->items},
        .magic = ENTRIES_MAGIC,
        .item_capacity = count,
        .octets_next = (uint8_t *)block->items + items_bytes,
        .octets_left = data_bytes,
    };
    return &block->entries;
}

void entries_add(struct entries *entries, const struct entry *e)
{
    struct entries_block *block = block_of(entries);
    ASSERT(entries->count < block->item_capacity);
    ASSERT(e->data.size <= block->octets_left);
    if (entries->count == 0) {
        entries->first_index = e->index;
    } else {
        ASSERT(e->index == entries->first_index + entries->count);
        ASSERT(e->term >= entries->items[entries->count - 1].term);
    }
    struct entry *added = &entries->items[entries->count++];
    *added = *e;
    added->data = view_of(block->octets_next, e->data.size);
    if (e->data.size > 0) {
        memcpy(block->octets_next, e->data.data, e->data.size);
        block->octets_next += e->data.size;
        block->octets_left -= e->data.size;
    }
    entries->bytes += e->data.size + ENTRY_OVERHEAD;
}

uint8_t *entries_data(struct entries *entries, size_t at)
{
    struct entries_block *block = block_of(entries);
    ASSERT(at < entries->count);
    uint8_t *start = (uint8_t *)block;
    return start + (entries->items[at].data.data - start);
}

struct entries *entries_slice(const struct entries *from, uint64_t first, uint64_t last)
{
    ASSERT(from->count > 0);
    ASSERT(first >= from->first_index);
    ASSERT(first <= last);
    ASSERT(last <= entries_last_index(from));
    size_t start = (size_t)(first - from->first_index);
    size_t count = (size_t)(last - first) + 1;
    size_t data_bytes = 0;
    for (size_t i = start; i < start + count; i++) {
        data_bytes += from->items[i].data.size;
    }
    struct entries *slice = entries_create(count, data_bytes);
    for (size_t i = start; i < start + count; i++) {
        entries_add(slice, &from->items[i]);
    }
    return slice;
}

struct entries *entries_copy(const struct entries *from)
{
    if (from->count == 0) {
        return entries_create(0, 0);
    }
    return entries_slice(from, from->first_index, entries_last_index(from));
}

void entries_free(struct entries **entries)
{
    if (*entries == NULL) {
        return;
    }
    struct entries_block *block = block_of(*entries);
    block->magic = 0; /* a second free, or a use after it, meets the assert */
    mem_free(block);
    *entries = NULL;
}

/* ---- wire --------------------------------------------------------------------------------------- */

void entries_encode(const struct entries *entries, struct buffer *out)
{
    ASSERT(entries->count <= UINT32_MAX);
    buffer_u8(out, ENTRY_FORMAT);
    buffer_u64(out, entries->first_index);
    buffer_u32(out, (uint32_t)entries->count);
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *e = &entries->items[i];
        buffer_u64(out, e->term);
        buffer_u64(out, e->origin);
        buffer_u64(out, e->request_id);
        buffer_u8(out, (uint8_t)e->type);
        buffer_view(out, e->data);
    }
}

/* One entry's head and a view of its data. */
static void entry_read(struct reader *in, uint64_t index, struct entry *out)
{
    *out = (struct entry){.index = index};
    out->term = reader_u64(in);
    out->origin = reader_u64(in);
    out->request_id = reader_u64(in);
    out->type = (enum entry_type)reader_u8(in);
    out->data = reader_view(in);
}

enum err entries_decode(struct reader *in, struct entries **out)
{
    uint8_t format = reader_u8(in);
    if (in->failed) {
        return ERR_TRUNCATED;
    }
    if (format > ENTRY_FORMAT) {
        return ERR_NEWER_FORMAT;
    }
    if (format == 0) {
        return ERR_MALFORMED;
    }
    uint64_t first_index = reader_u64(in);
    uint32_t count = reader_u32(in);
    if (in->failed) {
        return ERR_TRUNCATED;
    }
    if (first_index > UINT64_MAX - count) {
        return ERR_MALFORMED;
    }
    /* Before anything is allocated for it, the count must be possible in what is left. */
    if (count > in->size / ENTRY_WIRE_HEAD_BYTES) {
        in->failed = true;
        return ERR_TRUNCATED;
    }

    /* First look: check everything and sum the sizes; on a copy, so that the second look starts here. */
    struct reader look = *in;
    size_t data_bytes = 0;
    uint64_t previous_term = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct entry e;
        entry_read(&look, first_index + i, &e);
        if (look.failed) {
            in->failed = true;
            return ERR_TRUNCATED;
        }
        if ((unsigned)e.type > (unsigned)ENTRY_CONFIG || e.term < previous_term) {
            return ERR_MALFORMED;
        }
        previous_term = e.term;
        data_bytes += e.data.size;
    }

    struct entries *decoded = entries_create(count, data_bytes);
    decoded->first_index = first_index;
    for (uint32_t i = 0; i < count; i++) {
        struct entry e;
        entry_read(in, first_index + i, &e);
        entries_add(decoded, &e);
    }
    *out = decoded;
    return OK;
}
