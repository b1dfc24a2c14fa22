/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_times.h: how long writes spend at each stage on their way through a node's log. Where
 * holdfast_write_seconds says that writes are slow, these say whether the disk, the quorum or the table is.
 *
 * In flows, once a round of the raft actor, what the core knows (raft_status) and the time; out flow three
 * histograms. Nobody is asked for anything: an index that rises is the event. One sample stands for all entries
 * of a round. Entries that were in the log when the node started are not measured.
 *
 * Invariants
 *  1. applied <= committed <= end and applied <= durable <= end: counts of marks made so far.
 *  2. Marks lie in the order of their indexes; at most STAGE_MARKS_MAX wait, more are not measured.
 */
#ifndef HOLDFAST_STAGE_TIMES_H
#define HOLDFAST_STAGE_TIMES_H

#include "histogram.h"
#include "raft.h"

#define STAGE_MARKS_MAX 256

struct stage_mark {
    uint64_t index, appended_us, committed_us;
};

/* Zero-initialised is ready. */
struct stage_times {
    struct stage_mark marks[STAGE_MARKS_MAX]; /* mark n at n % STAGE_MARKS_MAX */
    uint64_t applied, durable, committed, end;
    uint64_t last_index; /* as it was seen last */
    bool started;
    struct histogram disk_us; /* from the log in memory to the log on this node's disk */
    struct histogram
        commit_us; /* from there (beside the disk) until it is known here to be committed */
    struct histogram apply_us; /* from then until it is applied here */
};

void stage_times_note(struct stage_times *times, const struct raft_status *status, uint64_t now_us);

#endif
