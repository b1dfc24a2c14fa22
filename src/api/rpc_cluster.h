/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_cluster.h: holdfast.v1.Cluster (holdfast.proto): GetCluster, SetWish, Replace. Requests become member requests;
 * answers are made from what the node says of the cluster. No state, no I/O.
 */
#ifndef HOLDFAST_API_RPC_CLUSTER_H
#define HOLDFAST_API_RPC_CLUSTER_H

#include "member_request.h"
#include "pilot.h"
#include "rpc_kv.h"

/* Requests. ERR_MALFORMED; ERR_INVALID: nobody is named, or the wish is none. */
MUST_USE enum err rpc_get_cluster_decode(struct view in, bool *linearizable);
MUST_USE enum err rpc_set_wish_decode(struct view in, struct member_request *out);
MUST_USE enum err rpc_replace_decode(struct view in, struct member_request *out);

/* All borrowed. */
struct cluster_facts {
    const char *cluster; /* name */
    const struct configuration *configuration;
    uint64_t configuration_index, last_log_index;
    bool change_pending;
    uint64_t leader_id; /* 0: none known */
    const struct cluster_report *report;
};

/* Responses, as in rpc_members.h. */
uint8_t *rpc_get_cluster_encode(const struct response_header *header,
                                const struct cluster_facts *facts, size_t room, size_t *size);
uint8_t *rpc_set_wish_encode(const struct response_header *header, const struct cluster_wish *wish,
                             size_t room, size_t *size);
uint8_t *rpc_replace_encode(const struct response_header *header, const struct cluster_facts *facts,
                            size_t room, size_t *size);

#endif
