/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_election.h: v3electionpb's Election service: requests read, responses written. What an election is
 * stands in src/node/client_recipes.c and client_election.c. No state, no I/O.
 */
#ifndef HOLDFAST_API_RPC_ELECTION_H
#define HOLDFAST_API_RPC_ELECTION_H

#include "base.h"
#include "rpc_error.h"
#include "rpc_kv.h"

/* What a leader shows to prove that it is one: key and create revision are the fencing token. */
struct leader_key {
    struct view name, key;
    int64_t create_revision;
    int64_t lease;
};

struct campaign_request {
    struct view name, value;
    int64_t lease; /* 0: the node makes one */
};

/* Of Proclaim and Resign. */
struct leader_request {
    bool given; /* there was a leader in it at all */
    struct leader_key leader;
    struct view value; /* Proclaim */
};

/* Views point into `in`. ERR_MALFORMED; *out is untouched then. */
MUST_USE enum err rpc_campaign_decode(struct view in, struct campaign_request *out);
MUST_USE enum err rpc_proclaim_decode(struct view in, struct leader_request *out);
MUST_USE enum err rpc_resign_decode(struct view in, struct leader_request *out);
/* Of Leader and Observe. */
MUST_USE enum err rpc_leader_decode(struct view in, struct view *name);

size_t rpc_campaign_size(const struct response_header *header, const struct leader_key *leader);
void rpc_campaign_write(const struct response_header *header, const struct leader_key *leader,
                        uint8_t *out);
size_t rpc_leader_size(const struct response_header *header, const struct key_value *kv);
void rpc_leader_write(const struct response_header *header, const struct key_value *kv,
                      uint8_t *out);

extern const struct rpc_error rpc_error_no_leader_elected, rpc_error_not_elected,
    rpc_error_leader_missing;

#endif
