/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_times.c: see stage_times.h.
 */
#include "stage_times.h"

static struct stage_mark *mark_at(struct stage_times *times, uint64_t number)
{
    return &times->marks[number % STAGE_MARKS_MAX];
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What was appended since; or cut off, by another leader's entries. */
static void note_log(struct stage_times *times, uint64_t last_index, uint64_t now_us)
{
    while (times->end > times->committed && mark_at(times, times->end - 1)->index > last_index) {
        times->end--;
        times->durable = least(times->durable, times->end);
    }
    if (last_index > times->last_index && times->end - times->applied < STAGE_MARKS_MAX) {
        *mark_at(times, times->end++) =
            (struct stage_mark){.index = last_index, .appended_us = now_us};
    }
    times->last_index = last_index;
}

void stage_times_note(struct stage_times *times, const struct raft_status *status, uint64_t now_us)
{
    if (!times->started) {
        times->started = true;
        times->last_index = status->last_log_index;
        return;
    }
    note_log(times, status->last_log_index, now_us);
    for (; times->durable < times->end; times->durable++) {
        const struct stage_mark *mark = mark_at(times, times->durable);
        if (mark->index > status->durable_index) {
            break;
        }
        histogram_add(&times->disk_us, now_us - mark->appended_us, HISTOGRAM_TIMES);
    }
    for (; times->committed < times->end; times->committed++) {
        struct stage_mark *mark = mark_at(times, times->committed);
        if (mark->index > status->commit_index) {
            break;
        }
        mark->committed_us = now_us;
        histogram_add(&times->commit_us, now_us - mark->appended_us, HISTOGRAM_TIMES);
    }
    /* Only what is durable here is applied; a snapshot that was installed counts as both. */
    for (; times->applied < least(times->committed, times->durable); times->applied++) {
        const struct stage_mark *mark = mark_at(times, times->applied);
        if (mark->index > status->last_applied) {
            break;
        }
        histogram_add(&times->apply_us, now_us - mark->committed_us, HISTOGRAM_TIMES);
    }
    ASSERT(times->applied <= times->committed && times->committed <= times->end);
    ASSERT(times->applied <= times->durable && times->durable <= times->end);
}
