/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_kv.c: see rpc_kv.h. Written by hand over proto.h because it is the hot path; field numbers are
 * those of src/api/proto/rpc.proto and kv.proto, and the tests compare with protobuf-c.
 */
#include "rpc_kv.h"

#include "rpc_kv_fields.h"

/* ---- requests ------------------------------------------------------------------------------------- */

enum put_field {
    PUT_KEY = 1,
    PUT_VALUE,
    PUT_LEASE,
    PUT_PREV_KV,
    PUT_IGNORE_VALUE,
    PUT_IGNORE_LEASE
};

enum delete_field { DELETE_KEY = 1, DELETE_RANGE_END, DELETE_PREV_KV };

enum range_field {
    RANGE_KEY = 1,
    RANGE_RANGE_END,
    RANGE_LIMIT,
    RANGE_REVISION,
    RANGE_SORT_ORDER,
    RANGE_SORT_TARGET,
    RANGE_SERIALIZABLE,
    RANGE_KEYS_ONLY,
    RANGE_COUNT_ONLY,
    RANGE_MIN_MOD_REVISION,
    RANGE_MAX_MOD_REVISION,
    RANGE_MIN_CREATE_REVISION,
    RANGE_MAX_CREATE_REVISION,
};

static void set_flag(struct command *c, enum command_flag flag, bool on)
{
    /* the last occurrence of a field counts, so a flag may also be taken back */
    c->flags = (uint16_t)(on ? c->flags | flag : c->flags & ~flag);
}

bool kv_fields_put(struct view in, struct command *c)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        switch (r.field) {
        case PUT_KEY:
            c->key = proto_octets(&r);
            break;
        case PUT_VALUE:
            c->value = proto_octets(&r);
            break;
        case PUT_LEASE:
            c->lease = (int64_t)proto_number(&r);
            break;
        case PUT_PREV_KV:
            set_flag(c, COMMAND_PREV_KV, proto_number(&r) != 0);
            break;
        case PUT_IGNORE_VALUE:
            set_flag(c, COMMAND_IGNORE_VALUE, proto_number(&r) != 0);
            break;
        case PUT_IGNORE_LEASE:
            set_flag(c, COMMAND_IGNORE_LEASE, proto_number(&r) != 0);
            break;
        default:
            break;
        }
    }
    return !r.failed;
}

enum err rpc_put_decode(struct view in, size_t request_bytes_max, struct command *out)
{
    struct command c = {.op = COMMAND_PUT};
    if (!kv_fields_put(in, &c)) {
        return ERR_MALFORMED;
    }
    if (c.key.size == 0) {
        return ERR_KEY_EMPTY;
    }
    if ((c.flags & COMMAND_IGNORE_VALUE) != 0 && c.value.size != 0) {
        return ERR_VALUE_PROVIDED;
    }
    if ((c.flags & COMMAND_IGNORE_LEASE) != 0 && c.lease != 0) {
        return ERR_LEASE_PROVIDED;
    }
    if (command_size(&c) > request_bytes_max) {
        return ERR_TOO_LARGE;
    }
    *out = c;
    return OK;
}

bool kv_fields_delete_range(struct view in, struct command *c)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        switch (r.field) {
        case DELETE_KEY:
            c->key = proto_octets(&r);
            break;
        case DELETE_RANGE_END:
            c->range_end = proto_octets(&r);
            break;
        case DELETE_PREV_KV:
            set_flag(c, COMMAND_PREV_KV, proto_number(&r) != 0);
            break;
        default:
            break;
        }
    }
    return !r.failed;
}

enum err rpc_delete_range_decode(struct view in, size_t request_bytes_max, struct command *out)
{
    struct command c = {.op = COMMAND_DELETE_RANGE};
    if (!kv_fields_delete_range(in, &c)) {
        return ERR_MALFORMED;
    }
    if (c.key.size == 0) {
        return ERR_KEY_EMPTY;
    }
    if (command_size(&c) > request_bytes_max) {
        return ERR_TOO_LARGE;
    }
    *out = c;
    return OK;
}

bool kv_fields_range(struct view in, struct query *q)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        switch (r.field) {
        case RANGE_KEY:
            q->key = proto_octets(&r);
            break;
        case RANGE_RANGE_END:
            q->range_end = proto_octets(&r);
            break;
        case RANGE_LIMIT:
            q->limit = (int64_t)proto_number(&r);
            break;
        case RANGE_REVISION:
            q->revision = (int64_t)proto_number(&r);
            break;
        case RANGE_SORT_ORDER:
            q->sort_order = (enum sort_order)(uint32_t)proto_number(&r);
            break;
        case RANGE_SORT_TARGET:
            q->sort_target = (enum sort_target)(uint32_t)proto_number(&r);
            break;
        case RANGE_SERIALIZABLE:
            q->serializable = proto_number(&r) != 0;
            break;
        case RANGE_KEYS_ONLY:
            q->keys_only = proto_number(&r) != 0;
            break;
        case RANGE_COUNT_ONLY:
            q->count_only = proto_number(&r) != 0;
            break;
        case RANGE_MIN_MOD_REVISION:
            q->min_mod_revision = (int64_t)proto_number(&r);
            break;
        case RANGE_MAX_MOD_REVISION:
            q->max_mod_revision = (int64_t)proto_number(&r);
            break;
        case RANGE_MIN_CREATE_REVISION:
            q->min_create_revision = (int64_t)proto_number(&r);
            break;
        case RANGE_MAX_CREATE_REVISION:
            q->max_create_revision = (int64_t)proto_number(&r);
            break;
        default:
            break;
        }
    }
    return !r.failed;
}

enum err rpc_range_decode(struct view in, struct query *out)
{
    struct query q = {.limit = 0};
    if (!kv_fields_range(in, &q)) {
        return ERR_MALFORMED;
    }
    if (q.key.size == 0) {
        return ERR_KEY_EMPTY;
    }
    /* enums are open: any 32-bit number may have come */
    if ((uint32_t)q.sort_order > SORT_DESCEND || (uint32_t)q.sort_target > SORT_VALUE) {
        return ERR_INVALID_SORT;
    }
    *out = q;
    return OK;
}

/* ---- responses ------------------------------------------------------------------------------------- */

size_t rpc_header_size(const struct response_header *h)
{
    return proto_uint_size(h->cluster_id) + proto_uint_size(h->member_id) +
           proto_uint_size((uint64_t)h->revision) + proto_uint_size(h->raft_term);
}

uint8_t *rpc_header_put(uint8_t *out, const struct response_header *h)
{
    out = proto_embedded_put(out, RESPONSE_HEADER, rpc_header_size(h));
    out = proto_uint_put(out, HEADER_CLUSTER_ID, h->cluster_id);
    out = proto_uint_put(out, HEADER_MEMBER_ID, h->member_id);
    out = proto_uint_put(out, HEADER_REVISION, (uint64_t)h->revision);
    return proto_uint_put(out, HEADER_RAFT_TERM, h->raft_term);
}

size_t rpc_key_value_size(const struct key_value *kv)
{
    return proto_bytes_size(kv->key) + proto_uint_size((uint64_t)kv->create_revision) +
           proto_uint_size((uint64_t)kv->mod_revision) + proto_uint_size((uint64_t)kv->version) +
           proto_bytes_size(kv->value) + proto_uint_size((uint64_t)kv->lease);
}

uint8_t *rpc_key_value_put(uint8_t *out, unsigned field, const struct key_value *kv)
{
    out = proto_embedded_put(out, field, rpc_key_value_size(kv));
    out = proto_bytes_put(out, KEY_VALUE_KEY, kv->key);
    out = proto_uint_put(out, KEY_VALUE_CREATE_REVISION, (uint64_t)kv->create_revision);
    out = proto_uint_put(out, KEY_VALUE_MOD_REVISION, (uint64_t)kv->mod_revision);
    out = proto_uint_put(out, KEY_VALUE_VERSION, (uint64_t)kv->version);
    out = proto_bytes_put(out, KEY_VALUE_VALUE, kv->value);
    return proto_uint_put(out, KEY_VALUE_LEASE, (uint64_t)kv->lease);
}

static size_t key_values_size(const struct result *r)
{
    size_t size = 0;
    for (size_t i = 0; i < r->kv_count; i++) {
        size += proto_embedded_size(rpc_key_value_size(&r->kvs[i]));
    }
    return size;
}

static uint8_t *key_values_put(uint8_t *out, unsigned field, const struct result *r)
{
    for (size_t i = 0; i < r->kv_count; i++) {
        out = rpc_key_value_put(out, field, &r->kvs[i]);
    }
    return out;
}

size_t rpc_put_size(const struct response_header *header, const struct result *result)
{
    return proto_embedded_size(rpc_header_size(header)) + key_values_size(result);
}

void rpc_put_write(const struct response_header *header, const struct result *result, uint8_t *out)
{
    enum { PUT_RESPONSE_PREV_KV = 2 };
    ASSERT(result->kv_count <= 1);
    out = rpc_header_put(out, header);
    (void)key_values_put(out, PUT_RESPONSE_PREV_KV, result);
}

size_t rpc_delete_range_size(const struct response_header *header, const struct result *result)
{
    return proto_embedded_size(rpc_header_size(header)) + proto_uint_size((uint64_t)result->count) +
           key_values_size(result);
}

void rpc_delete_range_write(const struct response_header *header, const struct result *result,
                            uint8_t *out)
{
    enum { DELETE_RESPONSE_DELETED = 2, DELETE_RESPONSE_PREV_KVS = 3 };
    out = rpc_header_put(out, header);
    out = proto_uint_put(out, DELETE_RESPONSE_DELETED, (uint64_t)result->count);
    (void)key_values_put(out, DELETE_RESPONSE_PREV_KVS, result);
}

size_t rpc_range_size(const struct response_header *header, const struct result *result)
{
    return proto_embedded_size(rpc_header_size(header)) + key_values_size(result) +
           proto_uint_size(result->more) + proto_uint_size((uint64_t)result->count);
}

void rpc_range_write(const struct response_header *header, const struct result *result,
                     uint8_t *out)
{
    enum { RANGE_RESPONSE_KVS = 2, RANGE_RESPONSE_MORE = 3, RANGE_RESPONSE_COUNT = 4 };
    out = rpc_header_put(out, header);
    out = key_values_put(out, RANGE_RESPONSE_KVS, result);
    out = proto_uint_put(out, RANGE_RESPONSE_MORE, result->more);
    (void)proto_uint_put(out, RANGE_RESPONSE_COUNT, (uint64_t)result->count);
}

size_t rpc_bare_size(const struct response_header *header)
{
    return proto_embedded_size(rpc_header_size(header));
}

void rpc_bare_write(const struct response_header *header, uint8_t *out)
{
    (void)rpc_header_put(out, header);
}
