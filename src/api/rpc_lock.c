/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_lock.c: see rpc_lock.h.
 */
#include "rpc_lock.h"

#include "rpc_kv_fields.h"

enum { CODE_UNKNOWN = 2 };

const struct rpc_error rpc_error_lock_expired = {CODE_UNKNOWN, "mutex: session is expired"};
const struct rpc_error rpc_error_campaign_expired = {CODE_UNKNOWN, "election: session is expired"};

enum err rpc_lock_decode(struct view in, struct lock_request *out)
{
    enum { LOCK_NAME = 1, LOCK_LEASE };
    struct lock_request request = {.lease = 0};
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == LOCK_NAME) {
            request.name = proto_octets(&r);
        } else if (r.field == LOCK_LEASE) {
            request.lease = (int64_t)proto_number(&r);
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *out = request;
    return OK;
}

enum err rpc_unlock_decode(struct view in, struct view *key)
{
    enum { UNLOCK_KEY = 1 };
    struct view found = {0};
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == UNLOCK_KEY) {
            found = proto_octets(&r);
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *key = found;
    return OK;
}

size_t rpc_lock_size(const struct response_header *header, struct view key)
{
    return rpc_bare_size(header) + proto_bytes_size(key);
}

void rpc_lock_write(const struct response_header *header, struct view key, uint8_t *out)
{
    enum { LOCK_RESPONSE_KEY = 2 };
    out = rpc_header_put(out, header);
    (void)proto_bytes_put(out, LOCK_RESPONSE_KEY, key);
}

struct rpc_error rpc_recipe_error(enum err error)
{
    struct rpc_error plain = rpc_error_of(error);
    if (error == ERR_LEASE_NOT_FOUND || error == ERR_KEY_EMPTY || error == ERR_TOO_LARGE) {
        plain.code = CODE_UNKNOWN;
    }
    return plain;
}
