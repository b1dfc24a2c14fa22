/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_txn.h: etcd's Txn and Compact: requests become the body of a command or of a query, results become
 * responses.
 *
 * Flows in: protobuf octets of a request, or the state machine's result. Flows out: a checked and encoded
 * body (txn_body.h), a command, or the octets of a response. No state, no I/O; nothing here recurses over
 * what a client nests.
 */
#ifndef HOLDFAST_API_RPC_TXN_H
#define HOLDFAST_API_RPC_TXN_H

#include "base.h"
#include "command.h"
#include "rpc_kv.h"

/* Compares and operations of a whole tree, as a multiple of ops_max: etcd bounds each list alone, and what
 * lists in lists add up to only by the size of the message. */
#define RPC_TXN_TOTAL_FACTOR 128

struct txn_request {
    struct bytes body;     /* owned: as in COMMAND_TXN and QUERY_TXN */
    struct view first_key; /* into the request */
    bool read_only;        /* to be asked as a query, without an entry */
    bool serializable;     /* ... without the leader */
};

/*
 * Decode and check a TxnRequest, in etcd's order (sheet §2.5).
 *
 * ops_max            etcd's max-txn-ops
 * request_bytes_max  bound on the encoded command, if it is to be one
 *
 * ERR_MALFORMED, ERR_TOO_LARGE, and what txn_body_check says. *out is untouched then; else free its body.
 */
MUST_USE enum err rpc_txn_decode(struct view in, size_t ops_max, size_t request_bytes_max,
                                 struct txn_request *out);

/*
 * A response: first its size, then written into exactly that many octets. `sizes` remembers between the
 * two what nested answers measure; zeroed before the first, freed by the second.
 */
struct txn_sizes {
    struct txn_node *nodes;
    size_t count, capacity;
};
size_t rpc_txn_size(const struct response_header *header, const struct result *result,
                    struct txn_sizes *sizes);
void rpc_txn_write(const struct response_header *header, const struct result *result,
                   struct txn_sizes *sizes, uint8_t *out);
void rpc_txn_sizes_free(struct txn_sizes *sizes);

/* Compact. ERR_MALFORMED. */
MUST_USE enum err rpc_compact_decode(struct view in, struct command *out);

#endif
