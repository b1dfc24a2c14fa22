/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c: commands to octets and back, in the flat format of command.h.
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

#define COMMAND_OP_LAST COMMAND_CLOCK

/* What an operation's encoding may hold. */
struct shape {
    uint8_t format;
    uint16_t flags;      /* those it may have */
    bool number;         /* may be other than 0 */
    bool number_not_0;   /* must be */
    bool key;            /* may be other than empty */
    bool octets;         /* the second field is the caller's octets */
    bool stamp;          /* the second field begins with a stamp ... */
    uint8_t stamp_extra; /* ... and this many octets of numbers */
    bool ids;            /* ... and then at least one lease id */
};

static const struct shape shapes[COMMAND_OP_LAST + 1] = {
    [COMMAND_PUT] = {.format = 1,
                     .flags = COMMAND_PREV_KV | COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE,
                     .number = true,
                     .key = true,
                     .octets = true},
    [COMMAND_DELETE_RANGE] = {.format = 1, .flags = COMMAND_PREV_KV, .key = true, .octets = true},
    [COMMAND_TXN] = {.format = 2, .key = true, .octets = true},
    [COMMAND_COMPACT] = {.format = 2, .flags = COMMAND_PHYSICAL, .number = true},
    [COMMAND_LEASE_GRANT] =
        {.format = 2, .number = true, .number_not_0 = true, .stamp = true, .stamp_extra = 8},
    [COMMAND_LEASE_REVOKE] = {.format = 2, .number = true},
    [COMMAND_LEASE_KEEPALIVE] = {.format = 2, .stamp = true, .ids = true},
    [COMMAND_LEASE_EXPIRE] = {.format = 2, .number = true, .stamp = true, .stamp_extra = 8},
    [COMMAND_CLOCK] = {.format = 2, .stamp = true},
};

static const struct shape *shape_of(enum command_op op)
{
    ASSERT(op >= COMMAND_PUT);
    ASSERT(op <= COMMAND_OP_LAST);
    return &shapes[op];
}

static size_t second_size(const struct command *c, const struct shape *shape)
{
    if (shape->octets) {
        return c->second.size;
    }
    if (!shape->stamp) {
        return 0;
    }
    return COMMAND_STAMP_BYTES + shape->stamp_extra + (shape->ids ? c->ids.size : 0);
}

static size_t key_size_of(const struct command *c, const struct shape *shape)
{
    return shape->key ? c->key.size : 0;
}

size_t command_size(const struct command *c)
{
    const struct shape *shape = shape_of(c->op);
    return COMMAND_HEADER_BYTES + key_size_of(c, shape) + second_size(c, shape);
}

static uint8_t *append(uint8_t *out, const void *octets, size_t size)
{
    if (size > 0) {
        memcpy(out, octets, size);
    }
    return out + size;
}

static uint8_t *append_u64(uint8_t *out, uint64_t value)
{
    uint64_t wire = htole64(value);
    return append(out, &wire, sizeof(wire));
}

void command_encode(const struct command *c, uint8_t *out)
{
    const struct shape *shape = shape_of(c->op);
    size_t second = second_size(c, shape);
    size_t key_size = key_size_of(c, shape);
    ASSERT(key_size <= UINT32_MAX);
    ASSERT(second <= UINT32_MAX);
    ASSERT(!shape->ids || (c->ids.size > 0 && c->ids.size % sizeof(uint64_t) == 0));
    uint16_t flags = htole16(c->flags);
    uint32_t wire_key_size = htole32((uint32_t)key_size);
    uint32_t wire_second_size = htole32((uint32_t)second);
    *out++ = shape->format;
    *out++ = (uint8_t)c->op;
    out = append(out, &flags, sizeof(flags));
    out = append(out, &wire_key_size, sizeof(wire_key_size));
    out = append(out, &wire_second_size, sizeof(wire_second_size));
    out = append_u64(out, shape->number ? (uint64_t)c->number : 0);
    out = append(out, c->key.data, key_size);
    if (shape->octets) {
        (void)append(out, c->second.data, second);
        return;
    }
    if (!shape->stamp) {
        return;
    }
    out = append_u64(out, c->cluster_time_us);
    if (c->op == COMMAND_LEASE_GRANT) {
        (void)append_u64(out, (uint64_t)c->ttl_s);
    } else if (c->op == COMMAND_LEASE_EXPIRE) {
        (void)append_u64(out, c->deadline_us);
    } else if (shape->ids) {
        (void)append(out, c->ids.data, c->ids.size);
    }
}

/* The second field of an operation that is stamped. */
static enum err decode_stamped(struct view second, const struct shape *shape, struct command *out)
{
    size_t fixed = (size_t)COMMAND_STAMP_BYTES + shape->stamp_extra;
    if (second.size < fixed || (!shape->ids && second.size > fixed)) {
        return ERR_MALFORMED;
    }
    struct view rest = view_of(second.data + fixed, second.size - fixed);
    if (shape->ids && (rest.size == 0 || rest.size % sizeof(uint64_t) != 0)) {
        return ERR_MALFORMED;
    }
    struct reader r = {.data = second.data, .size = fixed, .failed = false};
    out->cluster_time_us = reader_u64(&r);
    if (out->op == COMMAND_LEASE_GRANT) {
        out->ttl_s = (int64_t)reader_u64(&r);
    } else if (out->op == COMMAND_LEASE_EXPIRE) {
        out->deadline_us = reader_u64(&r);
    }
    if (shape->ids) {
        out->ids = rest;
    }
    return OK;
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
    uint32_t size = reader_u32(&r);
    int64_t number = (int64_t)reader_u64(&r);
    uint64_t expected = (uint64_t)key_size + size;
    if (r.size < expected) {
        return ERR_TRUNCATED;
    }
    if (r.size > expected || op < COMMAND_PUT || op > COMMAND_OP_LAST) {
        return ERR_MALFORMED;
    }
    const struct shape *shape = &shapes[op];
    if (in.data[0] != shape->format || (flags & ~shape->flags) != 0 ||
        (!shape->number && number != 0) || (shape->number_not_0 && number == 0) ||
        (!shape->key && key_size > 0) || (!shape->octets && !shape->stamp && size > 0)) {
        return ERR_MALFORMED;
    }
    struct command decoded = {
        .op = (enum command_op)op,
        .flags = flags,
        .number = number,
        .key = view_of(r.data, key_size),
    };
    struct view second = view_of(r.data + key_size, size);
    if (shape->octets) {
        decoded.second = second;
    } else if (shape->stamp) {
        enum err error = decode_stamped(second, shape, &decoded);
        if (error != OK) {
            return error;
        }
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

void command_stamp(uint8_t *octets, size_t size, uint64_t cluster_time_us)
{
    if (size < COMMAND_STAMP_AT + COMMAND_STAMP_BYTES || octets[0] == 0 ||
        octets[0] > COMMAND_FORMAT || octets[1] > COMMAND_OP_LAST || !shapes[octets[1]].stamp) {
        return;
    }
    (void)append_u64(octets + COMMAND_STAMP_AT, cluster_time_us);
}

int64_t command_id_at(const struct command *c, size_t at)
{
    ASSERT(at < command_id_count(c));
    uint64_t wire = 0;
    memcpy(&wire, c->ids.data + at * sizeof(wire), sizeof(wire));
    return (int64_t)le64toh(wire);
}

bool command_grows(const struct command *c)
{
    switch (c->op) {
    case COMMAND_PUT:
    case COMMAND_LEASE_GRANT:
        return true;
    case COMMAND_TXN: {
        struct txn_body *body = NULL;
        if (txn_body_decode(c->body, &body) != OK) {
            return true;
        }
        bool puts = txn_body_puts(body);
        mem_free(body);
        return puts;
    }
    case COMMAND_DELETE_RANGE:
    case COMMAND_COMPACT:
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
    case COMMAND_LEASE_EXPIRE:
    case COMMAND_CLOCK:
        return false;
    }
    return true;
}
