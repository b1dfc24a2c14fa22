/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_walk.h: all operations of a transaction's tree in the order of the encoding, a nested txn before
 * the operations of its body; both branches of each. Without recursion: the places are kept here.
 */
#ifndef HOLDFAST_BASE_TXN_WALK_H
#define HOLDFAST_BASE_TXN_WALK_H

#include "command.h"

#define TXN_PUT_FLAGS    (COMMAND_PREV_KV | COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE)
#define TXN_DELETE_FLAGS COMMAND_PREV_KV

struct txn_walk {
    const struct txn_body *bodies[TXN_DEPTH_MAX];
    size_t at[TXN_DEPTH_MAX]; /* next operation of each, success before failure */
    size_t depth;
    const struct txn_body *entering; /* the next call begins with its first operation */
    bool too_deep; /* a body nests deeper than TXN_DEPTH_MAX: the walk ended there */
};

void txn_walk_begin(struct txn_walk *w, const struct txn_body *body);
/* The next operation, or NULL at the end. Its body is the last of `bodies`. */
const struct txn_op *txn_walk_next(struct txn_walk *w);

#endif
