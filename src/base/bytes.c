/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.c: owned octets (bytes), borrowed octets (view), a growing output (buffer) and a checked
 * input (reader). Every format of holdfast, on disk and between nodes, is written by buffer_* and
 * read by reader_*; all numbers are little-endian.
 *
 * Invariants
 *  1. A buffer has size <= capacity; its octets move when it grows, so nobody keeps pointers into it.
 *  2. A reader never looks beyond its input. Once `failed` it stays failed and yields zeros and empty
 *     views, so that a decoder may read a whole record and check once.
 */
#include "base.h"

#include <endian.h>
#include <string.h>

#define BUFFER_CAPACITY_LEAST 64

struct view view_of_text(const char *text)
{
    return view_of(text, strlen(text));
}

struct bytes bytes_copy(struct view from)
{
    struct bytes copy = {.data = NULL, .size = from.size};
    if (from.size > 0) {
        copy.data = mem_dup(from.data, from.size);
    }
    return copy;
}

void bytes_free(struct bytes *b)
{
    mem_free(b->data);
    *b = (struct bytes){.data = NULL, .size = 0};
}

int view_compare(struct view a, struct view b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

bool view_equal(struct view a, struct view b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- buffer ------------------------------------------------------------------------------------ */

uint8_t *buffer_extend(struct buffer *b, size_t size)
{
    ASSERT(size <= SIZE_MAX / 4);
    ASSERT(b->size <= SIZE_MAX / 4);
    size_t needed = b->size + size;
    if (needed > b->capacity || b->data == NULL) {
        size_t capacity = b->capacity < BUFFER_CAPACITY_LEAST ? BUFFER_CAPACITY_LEAST : b->capacity;
        while (capacity < needed) {
            capacity *= 2;
        }
        b->data = mem_realloc(b->data, capacity);
        b->capacity = capacity;
    }
    uint8_t *room = b->data + b->size;
    b->size = needed;
    return room;
}

void buffer_append(struct buffer *b, const void *data, size_t size)
{
    if (size == 0) {
        return;
    }
    memcpy(buffer_extend(b, size), data, size);
}

void buffer_consume(struct buffer *b, size_t size)
{
    ASSERT(size <= b->size);
    if (size == 0) {
        return;
    }
    b->size -= size;
    if (b->size > 0) {
        memmove(b->data, b->data + size, b->size);
    }
}

void buffer_free(struct buffer *b)
{
    mem_free(b->data);
    *b = (struct buffer){.data = NULL, .size = 0, .capacity = 0};
}

void buffer_u8(struct buffer *b, uint8_t value)
{
    *buffer_extend(b, 1) = value;
}

void buffer_u16(struct buffer *b, uint16_t value)
{
    uint16_t wire = htole16(value);
    memcpy(buffer_extend(b, sizeof(wire)), &wire, sizeof(wire));
}

void buffer_u32(struct buffer *b, uint32_t value)
{
    uint32_t wire = htole32(value);
    memcpy(buffer_extend(b, sizeof(wire)), &wire, sizeof(wire));
}

void buffer_u64(struct buffer *b, uint64_t value)
{
    uint64_t wire = htole64(value);
    memcpy(buffer_extend(b, sizeof(wire)), &wire, sizeof(wire));
}

void buffer_view(struct buffer *b, struct view v)
{
    ASSERT(v.size <= UINT32_MAX);
    buffer_u32(b, (uint32_t)v.size);
    buffer_append(b, v.data, v.size);
}

/* ---- reader ------------------------------------------------------------------------------------ */

/* The next `size` octets, or NULL with `failed` set. */
static const uint8_t *reader_take(struct reader *r, size_t size)
{
    if (r->failed || r->size < size) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *at = r->data;
    if (size > 0) {
        r->data += size;
        r->size -= size;
    }
    return at;
}

uint8_t reader_u8(struct reader *r)
{
    const uint8_t *at = reader_take(r, 1);
    return at == NULL ? 0 : *at;
}

uint16_t reader_u16(struct reader *r)
{
    uint16_t wire = 0;
    const uint8_t *at = reader_take(r, sizeof(wire));
    if (at != NULL) {
        memcpy(&wire, at, sizeof(wire));
    }
    return le16toh(wire);
}

uint32_t reader_u32(struct reader *r)
{
    uint32_t wire = 0;
    const uint8_t *at = reader_take(r, sizeof(wire));
    if (at != NULL) {
        memcpy(&wire, at, sizeof(wire));
    }
    return le32toh(wire);
}

uint64_t reader_u64(struct reader *r)
{
    uint64_t wire = 0;
    const uint8_t *at = reader_take(r, sizeof(wire));
    if (at != NULL) {
        memcpy(&wire, at, sizeof(wire));
    }
    return le64toh(wire);
}

struct view reader_view(struct reader *r)
{
    uint32_t size = reader_u32(r);
    const uint8_t *at = reader_take(r, size);
    if (r->failed) {
        return view_of(NULL, 0);
    }
    return view_of(at, size);
}
