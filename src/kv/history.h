/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.h: the revisions of one key as a chain of history rows, newest first, with a jump pointer
 * in each row so that an old revision is found in O(log n) row reads (Myers, "An applicative
 * random-access stack", 1983; docs/decisions/0030).
 *
 * Rows lie in the open batch, in the sealed one or in kv.db; nobody else needs to know where.
 *
 * Invariants
 *  1. previous_change and jump_change are 0 or less than the row's change and of the same key.
 *  2. The row at depth d (1 is the oldest) jumps to the row at depth d - history_jump_width(d).
 *  3. A pointer to at or below the compact revision may dangle. No look-up at or above the compact revision
 *     follows such a jump; and where previous_change dangles, the key was deleted then.
 *  4. Depth counts from where the chain of this node's file began: nodes may differ in it and in their
 *     jumps, as they compact at their own pace, and in nothing that can be read.
 */
#ifndef HOLDFAST_KV_HISTORY_H
#define HOLDFAST_KV_HISTORY_H

#include "kv/state.h"

/* How far the row at this depth jumps back: the least term of `depth` written greedily as a sum of
 * numbers 2^k - 1. depth > 0. */
uint64_t history_jump_width(uint64_t depth);

/* The row of this change, which must be one of `key`. Views are valid until the next reader call.
 * ERR_CORRUPT if it is missing or of another key; the reader's errors. */
MUST_USE enum err history_row(struct kv *kv, struct view key, uint64_t change,
                              struct kv_history *out);

/* As history_row, but out->change is 0 for change 0 and for a row that compaction took away: a deletion from
 * before the compact revision, of which nothing is left to say. */
MUST_USE enum err history_row_or_none(struct kv *kv, struct view key, uint64_t change,
                                      struct kv_history *out);

/*
 * The key's newest row at or before a change id.
 *
 * newest     the key's newest change
 * at_most    look for the newest row with change <= at_most
 * out        change 0: the key has none that old; views valid until the next reader call
 * rows_read  counted up by the rows looked at
 */
MUST_USE enum err history_find(struct kv *kv, struct view key, uint64_t newest, uint64_t at_most,
                               struct kv_history *out, uint64_t *rows_read);

/* Pointers of the row about to be written behind `newest`, which is the key's newest state. */
struct history_link {
    uint64_t previous_change, jump_change;
    bool jump_jump_known;
    uint64_t jump_jump; /* jump_change of the row that jump_change names */
};
MUST_USE enum err history_link_next(struct kv *kv, struct view key, const struct newest *newest,
                                    struct history_link *out);

#endif
