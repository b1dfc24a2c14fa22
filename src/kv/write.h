/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write.h: the changes of one entry. An entry that changes something gets one revision, and each of its
 * changes the next sub number of it; a put, a range delete, a transaction and the end of a lease are
 * all made of these steps.
 *
 * Invariants
 *  1. Every refusal comes before the first step (atomic failure); a step itself can only fail on the disk,
 *     which ends the process.
 *  2. The state between two steps is complete: a read at the new revision sees every change so far.
 *  3. At most WRITE_CHANGES_MAX changes: whoever begins a write knows that before.
 */
#ifndef HOLDFAST_KV_WRITE_H
#define HOLDFAST_KV_WRITE_H

#include "kv/state.h"

#define WRITE_CHANGES_MAX CHANGE_SUB_MAX

struct write {
    struct kv *kv;
    int64_t revision; /* of the changes */
    uint64_t count;   /* changes so far; the next one's sub number */
};

struct write write_begin(struct kv *kv);
/* The store moves to the new revision if there was a change. */
void write_end(struct write *w);

/* A put as a command or a transaction has it. */
struct put {
    struct view key, value; /* borrowed */
    int64_t lease;          /* exists, or 0 */
    uint16_t flags;         /* enum command_flag */
};

/* What is wrong with the fields alone: ERR_KEY_EMPTY, ERR_VALUE_PROVIDED, ERR_LEASE_PROVIDED. */
enum err put_refusal(const struct put *p);

/*
 * Put one key. With ignore_value or ignore_lease the caller has seen to it that the key is there; if a
 * step of the same write has deleted it since, there is nothing to keep: no value, no lease.
 *
 * newest  the key's newest state as newest_of gave it, nothing done since
 * answer  gets the pair before, if the flags ask for it; may be NULL
 */
MUST_USE enum err write_put(struct write *w, const struct put *p, struct newest *newest,
                            struct result *answer);

/*
 * Delete the live keys of a range, in key order.
 *
 * prev_kv  answer gets the pairs before
 * answer   ->count: how many were deleted; may be NULL
 * refusal  ERR_TOO_MANY_OPS when the sub numbers do not suffice, with nothing deleted; NULL: they do,
 *          the caller has counted
 */
MUST_USE enum err write_delete_range(struct write *w, struct key_range range, bool prev_kv,
                                     struct result *answer, enum err *refusal);

/* How many live keys a range has, as the store is now; stops counting beyond `most`. */
MUST_USE enum err write_count_keys(struct kv *kv, struct key_range range, uint64_t most,
                                   uint64_t *out);

bool is_alive(const struct kv_current *c);

#endif
