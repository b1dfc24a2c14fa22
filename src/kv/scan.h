/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan.h: the live keys of a range as they were at one revision, in byte order, in slices. Ranges and
 * the compares of transactions are made of it.
 *
 * Invariants
 *  1. Whatever is applied between two slices, what is handed out is the state at `at_most`: a key whose
 *     newest change is later is followed back through its chain, and one that came later has no row
 *     there.
 *  2. No scan of kv.db is open between slices.
 *  3. at_most is not below the compact revision: history that a reader may need is never removed.
 */
#ifndef HOLDFAST_KV_SCAN_H
#define HOLDFAST_KV_SCAN_H

#include "kv/state.h"

struct scan {
    struct key_range range;
    uint64_t at_most;     /* last change that counts */
    struct buffer resume; /* where the next slice begins; empty: at the range's start */
    bool done;
    bool stopped; /* by the visitor */
};

/* One live key as it was. */
struct scan_row {
    struct key_value pair; /* value: only after scan_value */
    bool single;           /* the range is one key: worth keeping in memory */
    bool past;             /* it has changed since */
    uint64_t rows_read;    /* rows looked at so far for this key, counted against the slice */
    struct newest newest;
};

/* False: the scan ends here. An error is the disk's. Calls nothing of merge.h. */
typedef enum err scan_visit_fn(void *context, struct kv *kv, struct scan_row *row, bool *go_on);

void scan_begin(struct scan *s, struct key_range range, uint64_t at_most);
/* Hands rows to `visit` until the range is done, it says stop, or the budget of rows (counted down) is
 * used up. */
MUST_USE enum err scan_slice(struct scan *s, struct kv *kv, uint64_t *budget, scan_visit_fn *visit,
                             void *context);
void scan_free(struct scan *s);

/* Fill in row->pair.value; valid until the next reader call. */
MUST_USE enum err scan_value(struct kv *kv, struct scan_row *row);
/* Keep what was read of a single key in memory for the next reader. */
void scan_keep(struct kv *kv, struct scan_row *row, bool value_read);

#endif
