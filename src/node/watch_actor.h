/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_actor.h: what of the watch actor its tests and the simulator's checks look at.
 */
#ifndef HOLDFAST_WATCH_ACTOR_H
#define HOLDFAST_WATCH_ACTOR_H

#include "base.h"

struct watch_figures {
    size_t streams, watchers, live, behind;
    uint64_t in_flight_bytes, ring_bytes;
    uint64_t history_rows; /* read from kv.db for watchers that were behind */
    int64_t revision, ring_floor, committed_revision;
    bool recording;
};

/* self: the actor's private struct. */
void watch_actor_figures(const void *self, struct watch_figures *out);
/* Other bounds than the built-in ones, for tests: what a slice of a scan looks at, and how far ahead of a scan a
 * watcher may be to join it. */
void watch_actor_tune(void *self, uint64_t slice_events, uint64_t slice_bytes, int64_t scan_join);
/* Asserts the invariants; walks everything. */
void watch_actor_check(const void *self);

#endif
