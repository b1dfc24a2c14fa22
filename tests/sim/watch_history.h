/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_history.h: what watchers are told, against the model's events. A *subscription* is one watcher's life over
 * crashes, cancels and changes of node: whoever takes it up again starts it at the first revision it lacks.
 *
 * Invariants
 *  1. Each event of the range and filters from the first revision on comes exactly once, in order, with the
 *     model's content; nothing is missing between two positions, whoever served them.
 *  2. Events of one revision come together.
 *  3. A progress notification of revision R comes only when everything up to R has come.
 *  4. A watch is cancelled as compacted only if what it lacks may be: its position lies below a revision that
 *     is compacted. From there it goes on, and lacks nothing else.
 *  5. prev_kv is what the key held at the revision before, and may lack only where that is compacted.
 *
 * Not here: that a watch "from now on" begins behind what its client had been answered. A real inbox keeps the order of
 * pushes of all senders, so changes that go to the watch actor before a reply to a client come before what that client
 * asks next; the simulator's runner keeps the order between two actors only. tests/unit/node has that.
 */
#ifndef HOLDFAST_SIM_WATCH_HISTORY_H
#define HOLDFAST_SIM_WATCH_HISTORY_H

#include "checkers.h"

#include "watch.h"

#define WATCH_SUBS_MAX 16

struct watch_sub {
    bool owned;
    size_t node; /* that serves it while owned */
    char key[8], end[8];
    size_t key_size, end_size;
    bool no_put, no_delete, prev_kv, progress_notify, fragment;
    int64_t next_revision;  /* the first it may lack; 0: it begins with what happens from now on */
    int64_t first_revision; /* nothing below it is sent by whoever serves it now */
    size_t cursor;          /* events before are done with */
    uint64_t events;
};

struct watch_history {
    struct watch_sub subs[WATCH_SUBS_MAX];
    size_t count;
    struct checks *checks;
    uint64_t random;
    uint64_t events, previous, compacted, progressed, taken_up;
};

void watch_history_start(struct watch_history *w, struct checks *checks, size_t count,
                         uint64_t seed);
/* One that nobody serves, or NULL. Goes on where it is; sometimes begins anew with another range. */
struct watch_sub *watch_sub_take(struct watch_history *w, size_t node, bool may_renew);
/* Nobody serves it from now on. */
void watch_sub_release(struct watch_sub *s);
void watch_sub_created(struct watch_history *w, struct watch_sub *s, int64_t revision);
void watch_sub_events(struct watch_history *w, struct watch_sub *s, const struct watch_batch *batch,
                      const struct watch_response *response);
void watch_sub_progress(struct watch_history *w, struct watch_sub *s, int64_t revision);
void watch_sub_compacted(struct watch_history *w, struct watch_sub *s, int64_t compact_revision);
/* It has had every event there is. */
bool watch_sub_is_done(const struct watch_history *w, struct watch_sub *s);
void watch_sub_fail(struct watch_history *w, const struct watch_sub *s, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
