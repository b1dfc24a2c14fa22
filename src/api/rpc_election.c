/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_election.c: see rpc_election.h.
 */
#include "rpc_election.h"

#include "rpc_kv_fields.h"

enum { CODE_UNKNOWN = 2 };

const struct rpc_error rpc_error_no_leader_elected = {CODE_UNKNOWN, "election: no leader"};
const struct rpc_error rpc_error_not_elected = {CODE_UNKNOWN, "election: not leader"};
const struct rpc_error rpc_error_leader_missing = {CODE_UNKNOWN,
                                                   "\"leader\" field must be provided"};

enum leader_key_field { LEADER_KEY_NAME = 1, LEADER_KEY_KEY, LEADER_KEY_REV, LEADER_KEY_LEASE };

/* Over what *out holds already: a message given twice is one. */
static bool read_leader_key(struct view in, struct leader_key *out)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        switch (r.field) {
        case LEADER_KEY_NAME:
            out->name = proto_octets(&r);
            break;
        case LEADER_KEY_KEY:
            out->key = proto_octets(&r);
            break;
        case LEADER_KEY_REV:
            out->create_revision = (int64_t)proto_number(&r);
            break;
        case LEADER_KEY_LEASE:
            out->lease = (int64_t)proto_number(&r);
            break;
        default:
            break;
        }
    }
    return !r.failed;
}

enum err rpc_campaign_decode(struct view in, struct campaign_request *out)
{
    enum { CAMPAIGN_NAME = 1, CAMPAIGN_LEASE, CAMPAIGN_VALUE };
    struct campaign_request request = {.lease = 0};
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == CAMPAIGN_NAME) {
            request.name = proto_octets(&r);
        } else if (r.field == CAMPAIGN_LEASE) {
            request.lease = (int64_t)proto_number(&r);
        } else if (r.field == CAMPAIGN_VALUE) {
            request.value = proto_octets(&r);
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *out = request;
    return OK;
}

/* Resign has the leader alone, Proclaim a value behind it. */
static enum err read_leader_request(struct view in, bool with_value, struct leader_request *out)
{
    enum { REQUEST_LEADER = 1, REQUEST_VALUE };
    struct leader_request request = {.given = false};
    bool good = true;
    struct proto_reader r = proto_reader_of(in);
    while (good && proto_next(&r)) {
        if (r.field == REQUEST_LEADER) {
            struct view leader = proto_octets(&r);
            request.given = true;
            good = read_leader_key(leader, &request.leader);
        } else if (r.field == REQUEST_VALUE && with_value) {
            request.value = proto_octets(&r);
        }
    }
    if (r.failed || !good) {
        return ERR_MALFORMED;
    }
    *out = request;
    return OK;
}

enum err rpc_proclaim_decode(struct view in, struct leader_request *out)
{
    return read_leader_request(in, true, out);
}

enum err rpc_resign_decode(struct view in, struct leader_request *out)
{
    return read_leader_request(in, false, out);
}

enum err rpc_leader_decode(struct view in, struct view *name)
{
    enum { LEADER_NAME = 1 };
    struct view found = {0};
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == LEADER_NAME) {
            found = proto_octets(&r);
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *name = found;
    return OK;
}

static size_t leader_key_size(const struct leader_key *leader)
{
    return proto_bytes_size(leader->name) + proto_bytes_size(leader->key) +
           proto_uint_size((uint64_t)leader->create_revision) +
           proto_uint_size((uint64_t)leader->lease);
}

size_t rpc_campaign_size(const struct response_header *header, const struct leader_key *leader)
{
    return rpc_bare_size(header) + proto_embedded_size(leader_key_size(leader));
}

void rpc_campaign_write(const struct response_header *header, const struct leader_key *leader,
                        uint8_t *out)
{
    enum { CAMPAIGN_RESPONSE_LEADER = 2 };
    out = rpc_header_put(out, header);
    out = proto_embedded_put(out, CAMPAIGN_RESPONSE_LEADER, leader_key_size(leader));
    out = proto_bytes_put(out, LEADER_KEY_NAME, leader->name);
    out = proto_bytes_put(out, LEADER_KEY_KEY, leader->key);
    out = proto_uint_put(out, LEADER_KEY_REV, (uint64_t)leader->create_revision);
    (void)proto_uint_put(out, LEADER_KEY_LEASE, (uint64_t)leader->lease);
}

size_t rpc_leader_size(const struct response_header *header, const struct key_value *kv)
{
    return rpc_bare_size(header) + proto_embedded_size(rpc_key_value_size(kv));
}

void rpc_leader_write(const struct response_header *header, const struct key_value *kv,
                      uint8_t *out)
{
    enum { LEADER_RESPONSE_KV = 2 };
    out = rpc_header_put(out, header);
    (void)rpc_key_value_put(out, LEADER_RESPONSE_KV, kv);
}
