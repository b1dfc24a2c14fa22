/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c: commands to octets and back, in the flat format of command.h; and queries, which only
 * travel between actors and so have no encoding.
 *
 * The format is read by raft.db's views as well (SQL substr on fixed places), so a change of it is a
 * new COMMAND_FORMAT. What a command *means* is deliberately not here (src/kv).
 *
 * Invariants
 *  1. command_decode accepts exactly what command_encode writes: no trailing octets, no unknown flag.
 *     Every node decodes an entry the same way, whatever a client or a torn disk put into it.
 */
#include "command.h"

#include <endian.h>
#include <string.h>

#define COMMAND_FLAGS_PUT    (COMMAND_PREV_KV | COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE)
#define COMMAND_FLAGS_DELETE COMMAND_PREV_KV

static struct view command_second(const struct command *c)
{
    return c->op == COMMAND_PUT ? c->value : c->range_end;
}

size_t command_size(const struct command *c)
{
    return COMMAND_HEADER_BYTES + c->key.size + command_second(c).size;
}

void command_encode(const struct command *c, uint8_t *out)
{
    struct view second = command_second(c);
    ASSERT(c->op == COMMAND_PUT || c->op == COMMAND_DELETE_RANGE);
    ASSERT(c->key.size <= UINT32_MAX);
    ASSERT(second.size <= UINT32_MAX);
    uint16_t flags = htole16(c->flags);
    uint32_t key_size = htole32((uint32_t)c->key.size);
    uint32_t second_size = htole32((uint32_t)second.size);
    uint64_t lease = htole64((uint64_t)c->lease);
    out[0] = COMMAND_FORMAT;
    out[1] = (uint8_t)c->op;
    memcpy(out + 2, &flags, sizeof(flags));
    memcpy(out + 4, &key_size, sizeof(key_size));
    memcpy(out + 8, &second_size, sizeof(second_size));
    memcpy(out + 12, &lease, sizeof(lease));
    if (c->key.size > 0) {
        memcpy(out + COMMAND_HEADER_BYTES, c->key.data, c->key.size);
    }
    if (second.size > 0) {
        memcpy(out + COMMAND_HEADER_BYTES + c->key.size, second.data, second.size);
    }
}

enum err command_decode(struct view in, struct command *out)
{
    if (in.size < 1) {
        return ERR_TRUNCATED;
    }
    if (in.data[0] > COMMAND_FORMAT) { /* before the size: a newer header may be shorter */
        return ERR_NEWER_FORMAT;
    }
    if (in.data[0] == 0) {
        return ERR_MALFORMED;
    }
    if (in.size < COMMAND_HEADER_BYTES) {
        return ERR_TRUNCATED;
    }
    struct reader r = {.data = in.data + 1, .size = in.size - 1, .failed = false};
    uint8_t op = reader_u8(&r);
    uint16_t flags = reader_u16(&r);
    uint32_t key_size = reader_u32(&r);
    uint32_t second_size = reader_u32(&r);
    int64_t lease = (int64_t)reader_u64(&r);
    uint64_t expected = (uint64_t)key_size + second_size;
    if (r.size < expected) {
        return ERR_TRUNCATED;
    }
    if (r.size > expected) {
        return ERR_MALFORMED;
    }
    struct command decoded = {
        .op = (enum command_op)op,
        .flags = flags,
        .lease = lease,
        .key = view_of(r.data, key_size),
    };
    struct view second = view_of(r.data + key_size, second_size);
    if (op == COMMAND_PUT) {
        if ((flags & ~COMMAND_FLAGS_PUT) != 0) {
            return ERR_MALFORMED;
        }
        decoded.value = second;
    } else if (op == COMMAND_DELETE_RANGE) {
        if ((flags & ~COMMAND_FLAGS_DELETE) != 0 || lease != 0) {
            return ERR_MALFORMED;
        }
        decoded.range_end = second;
    } else {
        return ERR_MALFORMED;
    }
    *out = decoded;
    return OK;
}

void command_peek(struct view in, uint8_t *op, uint32_t *key_size)
{
    struct command c;
    if (command_decode(in, &c) != OK) {
        *op = 0;
        *key_size = 0;
        return;
    }
    *op = (uint8_t)c.op;
    *key_size = (uint32_t)c.key.size;
}

/* ---- queries ------------------------------------------------------------------------------------ */

struct query *query_create(const struct query *from)
{
    struct query *copy = mem_alloc(sizeof(*copy) + from->key.size + from->range_end.size);
    *copy = *from;
    uint8_t *octets = (uint8_t *)(copy + 1);
    copy->key = view_of(octets, from->key.size);
    if (from->key.size > 0) {
        memcpy(octets, from->key.data, from->key.size);
    }
    octets += from->key.size;
    copy->range_end = view_of(octets, from->range_end.size);
    if (from->range_end.size > 0) {
        memcpy(octets, from->range_end.data, from->range_end.size);
    }
    return copy;
}
