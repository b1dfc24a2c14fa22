/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_kv.h: etcd's KV service: requests become commands and queries, results become responses.
 *
 * Flows in: protobuf octets of a request, or the state machine's result. Flows out: a command or
 * query whose views point into the request, or the octets of a response. No state, no I/O.
 *
 * The checks here are those etcd makes before it proposes, in etcd's order (sheet §2.3); what needs
 * the store (leases, existence) is found when the entry is applied.
 */
#ifndef HOLDFAST_API_RPC_KV_H
#define HOLDFAST_API_RPC_KV_H

#include "base.h"
#include "command.h"

/* What every answer says of the node that gives it. */
struct response_header {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t raft_term;
    int64_t revision; /* 0: unset, as in Cluster's answers */
};

/*
 * Each decodes a request and checks it; views in *out point into `in`.
 *
 * request_bytes_max  bound on the command's encoding, etcd's max-request-bytes
 *
 * ERR_MALFORMED, ERR_KEY_EMPTY; put: ERR_VALUE_PROVIDED, ERR_LEASE_PROVIDED; put and delete:
 * ERR_TOO_LARGE; range: ERR_INVALID_SORT. *out is untouched then.
 */
MUST_USE enum err rpc_put_decode(struct view in, size_t request_bytes_max, struct command *out);
MUST_USE enum err rpc_delete_range_decode(struct view in, size_t request_bytes_max,
                                          struct command *out);
MUST_USE enum err rpc_range_decode(struct view in, struct query *out);

/* A response: first its size in octets, then written into exactly that many. */
size_t rpc_put_size(const struct response_header *header, const struct result *result);
void rpc_put_write(const struct response_header *header, const struct result *result, uint8_t *out);
size_t rpc_delete_range_size(const struct response_header *header, const struct result *result);
void rpc_delete_range_write(const struct response_header *header, const struct result *result,
                            uint8_t *out);
size_t rpc_range_size(const struct response_header *header, const struct result *result);
void rpc_range_write(const struct response_header *header, const struct result *result,
                     uint8_t *out);

/* A response that is a header and nothing else: Compact's, Unlock's and others'. */
size_t rpc_bare_size(const struct response_header *header);
void rpc_bare_write(const struct response_header *header, uint8_t *out);

#endif
