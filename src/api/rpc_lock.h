/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_lock.h: v3lockpb's Lock service: requests read, responses written. What a lock is stands in
 * src/node/client_recipes.c. No state, no I/O.
 *
 * etcd's servers of Lock and Election are clients of its own KV service, and errors of that inner client go out
 * as UNKNOWN whatever their code is; rpc_recipe_error says which of them do here.
 */
#ifndef HOLDFAST_API_RPC_LOCK_H
#define HOLDFAST_API_RPC_LOCK_H

#include "base.h"
#include "rpc_error.h"
#include "rpc_kv.h"

struct lock_request {
    struct view name;
    int64_t lease; /* 0: the node makes one */
};

/* Views point into `in`. ERR_MALFORMED; *out is untouched then. */
MUST_USE enum err rpc_lock_decode(struct view in, struct lock_request *out);
MUST_USE enum err rpc_unlock_decode(struct view in, struct view *key);

size_t rpc_lock_size(const struct response_header *header, struct view key);
void rpc_lock_write(const struct response_header *header, struct view key, uint8_t *out);

/* What is wrong with the request itself is UNKNOWN, as in etcd; what may pass keeps its code, so that
 * clients try again. */
struct rpc_error rpc_recipe_error(enum err error);
/* The lease of a waiting call is gone, and its key with it. */
extern const struct rpc_error rpc_error_lock_expired, rpc_error_campaign_expired;

#endif
