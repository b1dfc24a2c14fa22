/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_maintenance.h: Hash, HashKV and Snapshot of etcd's Maintenance service: requests and responses as
 * octets (sheet §1.7). What is hashed and copied is the store's and the copy actor's affair.
 */
#ifndef HOLDFAST_API_RPC_MAINTENANCE_H
#define HOLDFAST_API_RPC_MAINTENANCE_H

#include "base.h"
#include "rpc_kv.h"
#include "store.h"

/* An empty request (Hash, Snapshot). ERR_MALFORMED. */
MUST_USE enum err rpc_empty_decode(struct view in);
/* *revision: 0 for the newest. ERR_MALFORMED. */
MUST_USE enum err rpc_hash_kv_decode(struct view in, int64_t *revision);

#define RPC_HASH_BYTES_MAX 96

/* Return the size of what was written. */
size_t rpc_hash_write(const struct response_header *header, uint32_t hash,
                      uint8_t out[RPC_HASH_BYTES_MAX]);
size_t rpc_hash_kv_write(const struct response_header *header, const struct kv_hash *hash,
                         uint8_t out[RPC_HASH_BYTES_MAX]);

/* One message of a snapshot: octets of the file, how many follow; as etcd's without a header. */
size_t rpc_snapshot_size(struct view blob, uint64_t remaining);
void rpc_snapshot_write(struct view blob, uint64_t remaining, uint8_t *out);

#endif
