/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_error.h: from our errors to what an etcd client is told: a gRPC code and etcd's exact text.
 * Clients compare the texts, so they are part of the interface.
 */
#ifndef HOLDFAST_API_RPC_ERROR_H
#define HOLDFAST_API_RPC_ERROR_H

#include "base.h"

struct rpc_error {
    uint8_t code; /* of gRPC; net/grpc.h names them */
    const char *text;
};

/* The answer for an error; for OK {0, ""}. What etcd has no text for goes out as UNKNOWN with ours. */
struct rpc_error rpc_error_of(enum err error);

/* The answer should say where to go instead: metadata RPC_LEADER_FIELD, the leader's client address. */
bool rpc_error_names_leader(struct rpc_error error);
#define RPC_LEADER_FIELD "holdfast-leader"

/* The client's own deadline has passed. */
extern const struct rpc_error rpc_error_deadline;
/* Protobuf that cannot be read. */
extern const struct rpc_error rpc_error_unmarshal;
/* A unary call that ended without a message. */
extern const struct rpc_error rpc_error_no_message;
/* ... or in the middle of one. */
extern const struct rpc_error rpc_error_cut_message;
/* client.streams_max is reached. */
extern const struct rpc_error rpc_error_too_many_streams;
/* client.header_bytes_max. */
extern const struct rpc_error rpc_error_large_header;
/* grpc.health.v1 was asked for a service we do not have. */
extern const struct rpc_error rpc_error_unknown_health_service;

#endif
