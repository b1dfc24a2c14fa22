/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn.h: transactions: applied from an entry (one revision for all its changes), or read as a query, in
 * slices. The tree is txn_body.h's.
 *
 * The course of a transaction is the way through the branches that run. It is decided before anything
 * runs, for nested ones too: every compare sees the store as it was.
 */
#ifndef HOLDFAST_KV_TXN_H
#define HOLDFAST_KV_TXN_H

#include "kv/range.h"
#include "kv/state.h"

/* Apply COMMAND_TXN's body. result NULL: nobody here wants the answer; ranges are not even read then. */
MUST_USE enum err txn_apply(struct kv *kv, struct view body, struct result *result,
                            enum err *refusal);

/* Which branch runs, for each transaction in the order they are come to. */
struct txn_path {
    bool *succeeded;
    size_t count, capacity;
};

/* A walk along the path. */
struct txn_course {
    struct {
        const struct txn_op *ops; /* of the branch that runs */
        size_t at, count;
        struct result *result; /* of this transaction; NULL: not wanted */
    } branches[TXN_DEPTH_MAX];
    size_t depth;
    size_t path_at;
};

/* Deciding a path, in slices. */
struct txn_decision {
    struct txn_course course;
    const struct txn_body *body; /* whose compares are looked at; NULL: none */
    size_t compare_at;
    bool scanning; /* scan is compares[compare_at]'s */
    bool found;    /* it had a key */
    bool holds;
    struct scan scan;
    uint64_t at_most;
};

/* A transaction of ranges being answered as a query. */
struct txn_read {
    struct txn_body *body; /* owned */
    struct result *result; /* borrowed; its revision is the one read */
    struct txn_path path;
    struct txn_decision decision;
    struct txn_course course;
    bool decided;
    bool running; /* range is to be freed */
    struct range_run range;
    int64_t oldest_revision; /* of those that it reads, as far as is decided */
};

/* ERR_MALFORMED, ERR_TRUNCATED, ERR_TOO_MANY_OPS: not a body of ranges; *out stays NULL. The query and
 * the result are borrowed; the result's revision is the one read. */
MUST_USE enum err txn_read_begin(const struct query *q, struct result *result,
                                 struct txn_read **out);
/* Works for about *budget rows. *done: the result is complete; its error may be set. */
MUST_USE enum err txn_read_step(struct kv *kv, struct txn_read *r, uint64_t *budget, bool *done);
/* Octets held beyond what the result knows of. */
uint64_t txn_read_bytes(const struct txn_read *r);
void txn_read_free(struct txn_read **r);

#endif
