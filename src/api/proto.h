/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto.h: protobuf's wire form in a few inline functions, for the messages on the hot path (a put, a
 * range and their answers), which are read in place and written straight into the answer's frame.
 * Everything else goes through protobuf-c; the tests hold the two against each other.
 *
 * Invariants
 *  1. A reader never passes its end, whatever the octets are; a failure sticks.
 *  2. Zero values are not written (proto3), and what a *_size function returns is what *_put writes.
 */
#ifndef HOLDFAST_API_PROTO_H
#define HOLDFAST_API_PROTO_H

#include "base.h"

#include <string.h>

enum proto_wire { PROTO_VARINT = 0, PROTO_FIXED64 = 1, PROTO_BYTES = 2, PROTO_FIXED32 = 5 };

/* ---- writing; field numbers below 16 only, so that a tag is one octet ----------------------------- */

static inline size_t proto_varint_size(uint64_t value)
{
    /* floor(log2 / 7) + 1, as a multiplication; the tests try every length */
    unsigned log2 = 63u - (unsigned)__builtin_clzll(value | 1);
    return (log2 * 9 + 73) >> 6;
}

static inline uint8_t *proto_varint_put(uint8_t *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

static inline size_t proto_uint_size(uint64_t value)
{
    return value == 0 ? 0 : 1 + proto_varint_size(value);
}

static inline uint8_t *proto_uint_put(uint8_t *out, unsigned field, uint64_t value)
{
    if (value == 0) {
        return out;
    }
    *out++ = (uint8_t)(field << 3 | PROTO_VARINT);
    return proto_varint_put(out, value);
}

/* A field of `size` octets, tag and size included; also an embedded message's, empty or not. */
static inline size_t proto_embedded_size(size_t size)
{
    return 1 + proto_varint_size(size) + size;
}

static inline uint8_t *proto_embedded_put(uint8_t *out, unsigned field, size_t size)
{
    *out++ = (uint8_t)(field << 3 | PROTO_BYTES);
    return proto_varint_put(out, size);
}

static inline size_t proto_bytes_size(struct view value)
{
    return value.size == 0 ? 0 : proto_embedded_size(value.size);
}

static inline uint8_t *proto_bytes_put(uint8_t *out, unsigned field, struct view value)
{
    if (value.size == 0) {
        return out;
    }
    out = proto_embedded_put(out, field, value.size);
    memcpy(out, value.data, value.size);
    return out + value.size;
}

/* ---- reading -------------------------------------------------------------------------------------- */

struct proto_reader {
    const uint8_t *at, *end;
    bool failed;
    /* of the field found last */
    uint32_t field;
    enum proto_wire wire;
    uint64_t number;    /* PROTO_VARINT */
    struct view octets; /* PROTO_BYTES */
};

static inline struct proto_reader proto_reader_of(struct view in)
{
    static const uint8_t nothing[1];
    const uint8_t *at = in.size > 0 ? in.data : nothing;
    return (struct proto_reader){.at = at, .end = at + in.size};
}

/* The next field with its value, unknown ones too (groups are stepped over). False at the end or on
 * malformed octets (`failed`). */
bool proto_next(struct proto_reader *r);

/* The next number of a packed field: of a reader of its octets (proto_reader_of). False at the end or on malformed
 * octets (`failed`). */
bool proto_packed_next(struct proto_reader *elements, uint64_t *out);

/* The value of the field found last, or, if it came in another wire type, a failure. */
static inline uint64_t proto_number(struct proto_reader *r)
{
    if (r->wire != PROTO_VARINT) {
        r->failed = true;
        return 0;
    }
    return r->number;
}

static inline struct view proto_octets(struct proto_reader *r)
{
    if (r->wire != PROTO_BYTES) {
        r->failed = true;
        return (struct view){0};
    }
    return r->octets;
}

#endif
