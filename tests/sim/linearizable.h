/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linearizable.h: is there an order of these operations on one key that respects real time and makes
 * every answer right? (Herlihy and Wing 1990.)
 *
 * The search is that of Wing and Gong with Lowe's memory of configurations already seen ("Testing for
 * linearizability", 2017): take an operation that no other must precede, see whether the register
 * allows its answer, go on; back up at the first return that cannot be passed. What was seen is
 * (set of operations taken, value of the register).
 *
 * Keys are independent (linearizability is local), so a history is checked key by key.
 */
#ifndef HOLDFAST_SIM_LINEARIZABLE_H
#define HOLDFAST_SIM_LINEARIZABLE_H

#include "base.h"

enum linearizable_kind { LINEARIZABLE_PUT, LINEARIZABLE_DELETE, LINEARIZABLE_GET };

#define LINEARIZABLE_UNKNOWN UINT64_MAX /* return_us: no answer; it may have happened, or not */
#define LINEARIZABLE_OPS_MAX 8192

struct linearizable_op {
    enum linearizable_kind kind;
    uint64_t value;     /* put: what was written, never 0; get: what was read, 0: nothing there */
    int deleted;        /* delete: 1 or 0 keys were there; -1: not known */
    uint64_t invoke_us; /* virtual times; equal times count as overlapping */
    uint64_t return_us;
};

enum linearizable_verdict { LINEARIZABLE_YES, LINEARIZABLE_NO, LINEARIZABLE_UNDECIDED };

/*
 * ops        borrowed, in any order; gets without an answer are ignored
 * steps_max  beyond so many steps of the search the verdict is UNDECIDED
 * culprit    out, with NO: index in ops of the operation whose return could not be passed; may be NULL
 */
enum linearizable_verdict linearizable_check(const struct linearizable_op *ops, size_t count,
                                             uint64_t steps_max, size_t *culprit);

#endif
