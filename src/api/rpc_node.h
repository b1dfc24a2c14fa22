/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_node.h: what clients ask of the node and the cluster rather than of the store: Maintenance.Status,
 * grpc.health.v1.Health, and the body of GET /version and /health. Rare calls:
 * protobuf-c does the octets.
 */
#ifndef HOLDFAST_API_RPC_NODE_H
#define HOLDFAST_API_RPC_NODE_H

#include "base.h"
#include "membership.h"
#include "rpc_kv.h"

/* What Status tells, gathered from raft and apply. */
struct status_facts {
    uint64_t leader; /* 0: none known */
    uint64_t commit_index, applied_index, term;
    uint64_t db_file_bytes, db_used_bytes;
    bool is_learner;
    bool low_space;  /* writes that need room are refused */
    bool disk_hangs; /* this member's */
};

enum health {
    HEALTH_UNKNOWN = 0,
    HEALTH_SERVING = 1,
    HEALTH_NOT_SERVING = 2,
    HEALTH_SERVICE_UNKNOWN = 3
};

/* Requests. ERR_MALFORMED. */
MUST_USE enum err rpc_status_decode(struct view in);
/* *known: the service asked for is "", the server as a whole. */
MUST_USE enum err rpc_health_decode(struct view in, bool *known);

/* Responses. `room` octets are left free before the message (for gRPC's prefix); *size counts the
 * message alone. Free with mem_free. */
uint8_t *rpc_status_encode(const struct response_header *header, const struct status_facts *facts,
                           size_t room, size_t *size);

#define RPC_HEALTH_BYTES 2
void rpc_health_write(enum health health, uint8_t out[RPC_HEALTH_BYTES]);

#endif
