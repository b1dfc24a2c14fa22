/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_lease.c: see rpc_lease.h. Written by hand over proto.h, because keepalives come by the thousand; field
 * numbers are those of src/api/proto/rpc.proto, and the tests compare with protobuf-c.
 */
#include "rpc_lease.h"

#include "rpc_kv_fields.h"

/* ---- requests ------------------------------------------------------------------------------------- */

int64_t rpc_lease_ttl_min_s(uint32_t election_timeout_ms)
{
    return ((int64_t)election_timeout_ms * 3 + 1999) / 2000;
}

enum err rpc_lease_grant_decode(struct view in, int64_t ttl_min_s, struct command *out)
{
    enum { GRANT_TTL = 1, GRANT_ID = 2 };
    struct command c = {.op = COMMAND_LEASE_GRANT};
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == GRANT_TTL) {
            c.ttl_s = (int64_t)proto_number(&r);
        } else if (r.field == GRANT_ID) {
            c.lease_id = (int64_t)proto_number(&r);
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    if (c.ttl_s > RPC_LEASE_TTL_MAX_S) {
        return ERR_LEASE_TTL_TOO_LARGE;
    }
    if (c.ttl_s < ttl_min_s) {
        c.ttl_s = ttl_min_s;
    }
    *out = c;
    return OK;
}

/* Requests with an id in field 1 and, perhaps, a flag in field 2. */
static enum err id_and_flag_decode(struct view in, int64_t *id, bool *flag)
{
    enum { FIELD_ID = 1, FIELD_FLAG = 2 };
    int64_t found_id = 0;
    bool found_flag = false;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == FIELD_ID) {
            found_id = (int64_t)proto_number(&r);
        } else if (r.field == FIELD_FLAG && flag != NULL) {
            found_flag = proto_number(&r) != 0;
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *id = found_id;
    if (flag != NULL) {
        *flag = found_flag;
    }
    return OK;
}

enum err rpc_lease_revoke_decode(struct view in, struct command *out)
{
    struct command c = {.op = COMMAND_LEASE_REVOKE};
    enum err error = id_and_flag_decode(in, &c.lease_id, NULL);
    if (error == OK) {
        *out = c;
    }
    return error;
}

enum err rpc_lease_keepalive_decode(struct view in, int64_t *lease_id)
{
    return id_and_flag_decode(in, lease_id, NULL);
}

enum err rpc_lease_time_to_live_decode(struct view in, struct query *out)
{
    struct query q = {.kind = QUERY_LEASE_TTL};
    enum err error = id_and_flag_decode(in, &q.lease, &q.want_keys);
    if (error == OK) {
        *out = q;
    }
    return error;
}

enum err rpc_lease_leases_decode(struct view in, struct query *out)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {}
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *out = (struct query){.kind = QUERY_LEASES};
    return OK;
}

/* ---- responses ------------------------------------------------------------------------------------ */

enum lease_field { LEASE_ID = 2, LEASE_TTL = 3 };

size_t rpc_lease_keepalive_size(const struct response_header *header,
                                const struct lease_info *lease)
{
    return proto_embedded_size(rpc_header_size(header)) + proto_uint_size((uint64_t)lease->id) +
           proto_uint_size((uint64_t)lease->ttl_s);
}

void rpc_lease_keepalive_write(const struct response_header *header, const struct lease_info *lease,
                               uint8_t *out)
{
    out = rpc_header_put(out, header);
    out = proto_uint_put(out, LEASE_ID, (uint64_t)lease->id);
    (void)proto_uint_put(out, LEASE_TTL, (uint64_t)lease->ttl_s);
}

/* The same fields as a keepalive's; the fourth, `error`, is never used by etcd either. */
size_t rpc_lease_grant_size(const struct response_header *header, const struct result *result)
{
    ASSERT(result->lease_count == 1);
    return rpc_lease_keepalive_size(header, &result->leases[0]);
}

void rpc_lease_grant_write(const struct response_header *header, const struct result *result,
                           uint8_t *out)
{
    rpc_lease_keepalive_write(header, &result->leases[0], out);
}

size_t rpc_lease_time_to_live_size(const struct response_header *header,
                                   const struct result *result)
{
    ASSERT(result->lease_count == 1);
    const struct lease_info *lease = &result->leases[0];
    size_t size =
        rpc_lease_keepalive_size(header, lease) + proto_uint_size((uint64_t)lease->granted_ttl_s);
    for (size_t i = 0; i < result->kv_count; i++) {
        size += proto_embedded_size(result->kvs[i].key.size);
    }
    return size;
}

void rpc_lease_time_to_live_write(const struct response_header *header, const struct result *result,
                                  uint8_t *out)
{
    enum { TIME_TO_LIVE_GRANTED_TTL = 4, TIME_TO_LIVE_KEYS = 5 };
    const struct lease_info *lease = &result->leases[0];
    rpc_lease_keepalive_write(header, lease, out);
    out += rpc_lease_keepalive_size(header, lease);
    out = proto_uint_put(out, TIME_TO_LIVE_GRANTED_TTL, (uint64_t)lease->granted_ttl_s);
    for (size_t i = 0; i < result->kv_count; i++) {
        out = proto_bytes_put(out, TIME_TO_LIVE_KEYS, result->kvs[i].key);
    }
}

size_t rpc_lease_leases_size(const struct response_header *header, const struct result *result)
{
    size_t size = proto_embedded_size(rpc_header_size(header));
    for (size_t i = 0; i < result->lease_count; i++) {
        size += proto_embedded_size(proto_uint_size((uint64_t)result->leases[i].id));
    }
    return size;
}

void rpc_lease_leases_write(const struct response_header *header, const struct result *result,
                            uint8_t *out)
{
    enum { LEASES_LEASES = 2, LEASE_STATUS_ID = 1 };
    out = rpc_header_put(out, header);
    for (size_t i = 0; i < result->lease_count; i++) {
        uint64_t id = (uint64_t)result->leases[i].id;
        out = proto_embedded_put(out, LEASES_LEASES, proto_uint_size(id));
        out = proto_uint_put(out, LEASE_STATUS_ID, id);
    }
}
