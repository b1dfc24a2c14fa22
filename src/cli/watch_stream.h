/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_stream.h: one watch that outlives connections. It rides on a cli_loop: its user calls
 * watch_stream_up and watch_stream_down from the loop's functions of these names, and gets every event
 * exactly once and in order, whichever endpoints served them.
 *
 * Invariants
 *  1. `next_revision` is the lowest revision whose events may not have been handed out yet; after a break
 *     the watch is created anew with it. All events of one revision come in one response (fragments
 *     are not asked for), so a revision is handed out wholly or not at all.
 *  2. Events below next_revision are dropped (a server must not send them; a repeat would be worse).
 *  3. Before the first `created` of a watch from now on, nothing is known; a break there starts from now.
 */
#ifndef HOLDFAST_CLI_WATCH_STREAM_H
#define HOLDFAST_CLI_WATCH_STREAM_H

#include "loop.h"

struct watch_stream;

struct watch_stream_user {
    /* The server watches from now on. revision: its revision then. Again after each break. */
    void (*created)(void *context, int64_t revision);
    /* Events, never none; already counted in next_revision. header_revision: the response's. */
    void (*events)(void *context, Mvccpb__Event *const *events, size_t count,
                   int64_t header_revision);
    /* Nothing up to and with this revision is outstanding. NULL: not wanted. */
    void (*progress)(void *context, int64_t revision);
    /* It is over, which has been printed: compacted, cancelled or refused by the server. */
    void (*ended)(void *context, enum cli_exit code);
};

struct watch_stream {
    struct cli_loop *loop;
    const struct watch_stream_user *user;
    void *context;
    struct view key, range_end; /* borrowed */
    bool previous, progress_notify, no_put, no_delete;
    int64_t next_revision; /* 0: from now on */
    struct grpc_call *call;
};

void watch_stream_up(struct watch_stream *w);
void watch_stream_down(struct watch_stream *w);
/* Stop it; nothing more comes. */
void watch_stream_cancel(struct watch_stream *w);

#endif
