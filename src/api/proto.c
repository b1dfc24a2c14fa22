/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto.c: see proto.h.
 */
#include "proto.h"

#define VARINT_OCTETS_MAX 10
#define GROUP_START       3
#define GROUP_END         4
#define FIELD_MAX         ((1u << 29) - 1)

static bool take_varint(struct proto_reader *r, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_OCTETS_MAX && r->at < r->end; i++) {
        uint8_t octet = *r->at++;
        if (i == VARINT_OCTETS_MAX - 1 && octet > 1) {
            break; /* more than 64 bits */
        }
        value |= (uint64_t)(octet & 0x7f) << (7 * i);
        if (octet < 0x80) {
            *out = value;
            return true;
        }
    }
    r->failed = true;
    return false;
}

static bool skip(struct proto_reader *r, size_t size)
{
    if ((size_t)(r->end - r->at) < size) {
        r->failed = true;
        return false;
    }
    r->at += size;
    return true;
}

bool proto_next(struct proto_reader *r)
{
    size_t groups = 0; /* unknown groups we are inside of; bounded by the input's size */
    while (!r->failed && r->at < r->end) {
        uint64_t tag;
        if (!take_varint(r, &tag)) {
            return false;
        }
        if ((tag >> 3) == 0 || (tag >> 3) > FIELD_MAX) {
            r->failed = true;
            return false;
        }
        r->field = (uint32_t)(tag >> 3);
        switch (tag & 7) {
        case PROTO_VARINT:
            r->wire = PROTO_VARINT;
            if (!take_varint(r, &r->number)) {
                return false;
            }
            break;
        case PROTO_BYTES: {
            uint64_t size;
            r->wire = PROTO_BYTES;
            if (!take_varint(r, &size)) {
                return false;
            }
            const uint8_t *start = r->at;
            if (size > SIZE_MAX || !skip(r, (size_t)size)) {
                r->failed = true;
                return false;
            }
            r->octets = view_of(start, (size_t)size);
            break;
        }
        case PROTO_FIXED64:
        case PROTO_FIXED32:
            r->wire = (tag & 7) == PROTO_FIXED64 ? PROTO_FIXED64 : PROTO_FIXED32;
            if (!skip(r, r->wire == PROTO_FIXED64 ? 8 : 4)) {
                return false;
            }
            break;
        case GROUP_START:
            groups++;
            continue;
        case GROUP_END:
            if (groups == 0) {
                r->failed = true;
                return false;
            }
            groups--;
            continue;
        default:
            r->failed = true;
            return false;
        }
        if (groups == 0) {
            return true;
        }
    }
    if (groups > 0) {
        r->failed = true;
    }
    return false;
}

bool proto_packed_next(struct proto_reader *elements, uint64_t *out)
{
    return !elements->failed && elements->at < elements->end && take_varint(elements, out);
}
