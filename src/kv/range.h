/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range.h: one range as etcd answers it, in slices, at a fixed revision. Its face to others is kv_read_*
 * in kv.h; transactions run it too.
 */
#ifndef HOLDFAST_KV_RANGE_H
#define HOLDFAST_KV_RANGE_H

#include "kv/range_sort.h"
#include "kv/scan.h"

enum range_phase { RANGE_SCAN, RANGE_SORT, RANGE_DONE };

struct range_run {
    const struct query *query; /* borrowed */
    struct result *result;     /* borrowed; gets pairs, count and more, and ERR_TOO_LARGE */
    enum range_phase phase;
    int64_t revision; /* what is read */
    struct scan scan;
    bool all;           /* take the whole range before cutting (sort order or filter) */
    uint64_t taken_max; /* pairs to take; UINT64_MAX: all */
    struct range_sort sort;
};

/*
 * What is wrong with a range: ERR_KEY_EMPTY, ERR_INVALID_SORT, ERR_FUTURE_REVISION, ERR_COMPACTED.
 *
 * now     the newest revision that may be asked for
 * in_txn  a negative revision is refused as compacted; else it means the newest
 */
enum err range_refusal(const struct kv *kv, const struct query *q, int64_t now, bool in_txn);

/* Begin a range that was not refused; query and result are borrowed until range_free. Without a revision
 * of its own it reads at `now`. */
void range_begin(struct range_run *run, const struct query *q, int64_t now, struct result *result);
/* Works for at most *budget rows, counted down. Finished when phase is RANGE_DONE. */
MUST_USE enum err range_step(struct kv *kv, struct range_run *run, uint64_t *budget);
void range_free(struct range_run *run);

/* Add a pair unless the result is, or would become, larger than one gRPC message: then its error
 * becomes ERR_TOO_LARGE and its pairs are of no use. */
void range_answer_add(struct result *r, const struct key_value *kv, bool keys_only);

#endif
