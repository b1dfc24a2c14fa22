/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge.h: the keys of a range in byte order with their newest state: open batch over sealed batch
 * over kv.db. Deleted keys are among them (their tombstone is their newest state); the caller decides
 * what it wants.
 *
 * One merge at a time, and no change of the overlay while it runs: begin, next ..., end. The scan of
 * kv.db it holds open pins that file's WAL, so a slice must be short.
 */
#ifndef HOLDFAST_KV_MERGE_H
#define HOLDFAST_KV_MERGE_H

#include "kv/state.h"

struct merge {
    struct kv *kv;
    struct key_range range;
    struct key_index_cursor open, sealed;
    bool scanning;          /* a scan of kv.db is open */
    bool disk_has;          /* disk is a row looked ahead at */
    bool disk_passed;       /* and it was handed out, or is older than what was */
    struct kv_current disk; /* its key lies in kv->scan_key */
};

/* from: the first key wanted, at or after range.start; borrowed for the call. A single key is no job
 * for a merge. */
MUST_USE enum err merge_begin(struct merge *m, struct kv *kv, struct key_range range,
                              struct view from);
/* The next key. ERR_NOT_FOUND at the end of the range. out->current.key is valid until the next call,
 * also when kv_reader_history is called in between. */
MUST_USE enum err merge_next(struct merge *m, struct newest *out);
/* Always call it, also after an error. */
void merge_end(struct merge *m);

#endif
