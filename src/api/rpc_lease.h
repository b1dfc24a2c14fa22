/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_lease.h: etcd's Lease service: requests become commands and queries, results become responses.
 *
 * Flows in: protobuf octets of a request, or the state machine's result. Flows out: a command or a query,
 * or the octets of a response. No state, no I/O. Which ids a node draws is not here (client_lease.c).
 *
 * TTLs are clamped here, before they enter the log: how short is too short depends on the configured
 * election timeout, which may differ from node to node while it is being changed.
 */
#ifndef HOLDFAST_API_RPC_LEASE_H
#define HOLDFAST_API_RPC_LEASE_H

#include "base.h"
#include "command.h"
#include "rpc_kv.h"

#define RPC_LEASE_TTL_MAX_S INT64_C(9000000000) /* etcd's */

/* The least TTL that is granted: one and a half election timeouts, in whole seconds, rounded up. A shorter
 * lease could end before a new leader has been able to renew it. etcd's rule. */
int64_t rpc_lease_ttl_min_s(uint32_t election_timeout_ms);

/*
 * Each decodes a request. ERR_MALFORMED; grant: ERR_LEASE_TTL_TOO_LARGE; revoke, and all others: no more.
 * *out is untouched then.
 *
 * grant: a TTL below ttl_min_s, zero and negative too, becomes ttl_min_s; out->lease_id is 0 where the
 * client leaves it to the node.
 */
MUST_USE enum err rpc_lease_grant_decode(struct view in, int64_t ttl_min_s, struct command *out);
MUST_USE enum err rpc_lease_revoke_decode(struct view in, struct command *out);
MUST_USE enum err rpc_lease_keepalive_decode(struct view in, int64_t *lease_id);
MUST_USE enum err rpc_lease_time_to_live_decode(struct view in, struct query *out);
MUST_USE enum err rpc_lease_leases_decode(struct view in, struct query *out);

/* A response: first its size in octets, then written into exactly that many. */
size_t rpc_lease_grant_size(const struct response_header *header, const struct result *result);
void rpc_lease_grant_write(const struct response_header *header, const struct result *result,
                           uint8_t *out);
size_t rpc_lease_keepalive_size(const struct response_header *header,
                                const struct lease_info *lease);
void rpc_lease_keepalive_write(const struct response_header *header, const struct lease_info *lease,
                               uint8_t *out);
size_t rpc_lease_time_to_live_size(const struct response_header *header,
                                   const struct result *result);
void rpc_lease_time_to_live_write(const struct response_header *header, const struct result *result,
                                  uint8_t *out);
size_t rpc_lease_leases_size(const struct response_header *header, const struct result *result);
void rpc_lease_leases_write(const struct response_header *header, const struct result *result,
                            uint8_t *out);

#endif
