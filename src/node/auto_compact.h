/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auto_compact.h: when history is old enough to go: the apply actor of every node notes the store's
 * revision now and then by its own clock, and the one whose node leads proposes what is due. The
 * compaction is an entry like any other, so nothing depends on these clocks but when it comes.
 *
 * By age: every tenth of keep_us (of an hour, if that is less) a sample is taken; once there is one as old
 * as keep_us, its revision is compacted, and again each keep_us, or hour, as etcd does. By number: each
 * tick (five minutes, if there is no age) all but the newest keep_revisions. What a change of leader lost
 * is proposed again at the next tick. A restart forgets the samples: history then stays longer.
 *
 * Invariants
 *  1. Nothing is proposed while this node does not lead.
 *  2. Samples ascend in time; all but the first are younger than keep_us.
 */
#ifndef HOLDFAST_NODE_AUTO_COMPACT_H
#define HOLDFAST_NODE_AUTO_COMPACT_H

#include "base.h"

struct auto_compact_sample {
    uint64_t at_us;
    int64_t revision;
};

/* Zero-initialised: never. */
struct auto_compact {
    uint64_t keep_us;       /* 0: not by age */
    int64_t keep_revisions; /* 0: not by number */
    uint64_t tick_us;
    uint64_t again_us; /* between two compactions by age */
    uint64_t next_us;  /* the next tick; UINT64_MAX: none */
    uint64_t done_us;  /* the last one by age; 0: none yet */
    int64_t proposed;  /* the newest revision asked for */
    struct auto_compact_sample *samples;
    size_t first, count, capacity; /* a queue: live ones are first .. first + count - 1 */
};

void auto_compact_init(struct auto_compact *k, uint64_t keep_s, uint64_t keep_revisions);
void auto_compact_free(struct auto_compact *k);
/*
 * The revision to propose a compaction of, or 0. Call it at any time, and at next_us at the latest.
 *
 * revision, compact_revision  the store's
 */
int64_t auto_compact_step(struct auto_compact *k, uint64_t now_us, int64_t revision,
                          int64_t compact_revision, bool leads);

#endif
