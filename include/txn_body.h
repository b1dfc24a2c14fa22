/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_body.h: queries, and the tree of a transaction: what is compared, and what is done then or else.
 * The API builds the tree from etcd's request, the log carries it encoded (COMMAND_TXN's second field, or
 * a QUERY_TXN's body), the state machine decodes and runs it. What it *means* is in src/kv/txn.c.
 *
 * The encoding is flat and self-delimiting, all numbers little-endian, a view as u32 size and octets:
 *
 *   body     u32 compares, u32 success ops, u32 failure ops, then these in that order
 *   compare  u8 result, u8 target, i64 number, key, range_end, value
 *   op       u8 kind, then of a
 *     range         u8 flags (1 serializable, 2 keys_only, 4 count_only), u32 sort order, u32 sort target,
 *                   i64 limit, revision, min_mod, max_mod, min_create, max_create, key, range_end
 *     put           u16 flags of command.h, i64 lease, key, value
 *     delete range  u16 flags of command.h, key, range_end
 *     txn           a body
 *
 * Invariants
 *  1. txn_body_decode accepts exactly what txn_body_encode writes: no trailing octets, no unknown number.
 *  2. Bodies nest at most TXN_DEPTH_MAX deep, and no function of the project recurses over them.
 */
#ifndef HOLDFAST_TXN_BODY_H
#define HOLDFAST_TXN_BODY_H

#include "base.h"

#define TXN_DEPTH_MAX                                                                              \
    128 /* the outermost counts; etcd's rule of operations allows no more by default */

/* ---- reads ------------------------------------------------------------------------------------- */

enum sort_order { SORT_NONE = 0, SORT_ASCEND = 1, SORT_DESCEND = 2 };
enum sort_target { SORT_KEY = 0, SORT_VERSION = 1, SORT_CREATE = 2, SORT_MOD = 3, SORT_VALUE = 4 };

enum query_kind {
    QUERY_RANGE = 0, /* etcd's RangeRequest */
    QUERY_TXN,       /* a transaction without puts and deletes: `body` */
    QUERY_LEASE_TTL, /* `lease`, with its keys if want_keys */
    QUERY_LEASES,    /* all leases, the one that ends first first */
};

/* One allocation (query_create), moved from client to raft to apply. */
struct query {
    enum query_kind kind;
    bool serializable;
    struct view key; /* range, and all of these */
    struct view range_end;
    int64_t limit;
    int64_t revision;
    int64_t min_mod_revision, max_mod_revision;
    int64_t min_create_revision, max_create_revision;
    enum sort_order sort_order; /* from the wire: may be any number */
    enum sort_target sort_target;
    bool keys_only;
    bool count_only;
    bool want_keys; /* lease ttl */
    int64_t lease;
    struct view body; /* txn: encoded */
    /* The leader's cluster time when the read was confirmed, filled in by the raft actor; 0 (serializable):
     * the latest this node's state machine knows. */
    uint64_t cluster_time_us;
};

/* A copy in one allocation, views pointing into it; free with mem_free. */
struct query *query_create(const struct query *from);

/* ---- transactions ------------------------------------------------------------------------------- */

enum txn_compare_result { TXN_EQUAL = 0, TXN_GREATER = 1, TXN_LESS = 2, TXN_NOT_EQUAL = 3 };
enum txn_compare_target {
    TXN_VERSION = 0,
    TXN_CREATE = 1,
    TXN_MOD = 2,
    TXN_VALUE = 3,
    TXN_LEASE = 4,
};

/* What is stored stands on the left: TXN_GREATER is stored > given. */
struct txn_compare {
    enum txn_compare_result result;
    enum txn_compare_target target;
    struct view key, range_end; /* with range_end: must hold for every key of the range */
    int64_t number;             /* all targets but value */
    struct view value;          /* value */
};

enum txn_op_kind {
    TXN_NONE =
        0, /* the request had an empty operation: txn_body_check refuses it, it is never encoded */
    TXN_RANGE = 1,
    TXN_PUT = 2,
    TXN_DELETE_RANGE = 3,
    TXN_TXN = 4,
};

struct txn_body;

struct txn_op {
    enum txn_op_kind kind;
    struct query range;     /* range: the members of a RangeRequest */
    uint16_t flags;         /* put, delete range: enum command_flag */
    int64_t lease;          /* put */
    struct view key, value; /* put, delete range */
    struct view range_end;  /* delete range */
    struct txn_body *txn;   /* txn */
};

struct txn_body {
    struct txn_compare *compares;
    size_t compare_count;
    struct txn_op *success;
    size_t success_count;
    struct txn_op *failure;
    size_t failure_count;
};

/* Append the encoding. The tree is borrowed, its depth at most TXN_DEPTH_MAX. */
void txn_body_encode(const struct txn_body *body, struct buffer *out);

/*
 * Decode into a tree in one allocation, freed with one mem_free. Views point into the input.
 * ERR_TRUNCATED, ERR_MALFORMED; ERR_TOO_MANY_OPS: nested deeper than TXN_DEPTH_MAX.
 */
MUST_USE enum err txn_body_decode(struct view in, struct txn_body **out);

/* The first key named, in the order of the encoding; empty if there is none. */
struct view txn_body_first_key(const struct txn_body *body);
/* No put and no delete range in any branch: answered as a query, without an entry. */
bool txn_body_is_read_only(const struct txn_body *body);
/* A put in any branch: it may need room. */
bool txn_body_puts(const struct txn_body *body);
/* Every operation of every branch is a serializable range: answered without asking the leader. */
bool txn_body_is_serializable(const struct txn_body *body);

/*
 * The rules that etcd checks on a request before it is proposed, in its order: numbers of operations,
 * empty keys and flags that contradict the fields; then the duplicate rule (txn_check.c). ops_max may
 * differ from node to node, so the state machine does not ask for them again.
 *
 * body     borrowed; may nest deeper than TXN_DEPTH_MAX, may hold any number as an enum
 * ops_max  the most that each of a body's three lists may hold; a nested body has what is left of it
 *          beside the longest list of its parent
 *
 * ERR_TOO_MANY_OPS (also: nested too deep), ERR_KEY_EMPTY, ERR_VALUE_PROVIDED, ERR_LEASE_PROVIDED,
 * ERR_INVALID_SORT, ERR_KEY_NOT_FOUND (etcd's answer to an empty operation), ERR_DUPLICATE_KEY,
 * ERR_INVALID_COMPARE.
 */
MUST_USE enum err txn_body_check(const struct txn_body *body, size_t ops_max);

#endif
