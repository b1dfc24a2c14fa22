/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.h: who may hold how much. Sending a message never waits and never fails, so no queue has a
 * bound of its own; what is in flight is bounded where it enters, by credits, windows and budgets, and
 * here those bounds are added up, one line per holder. The daemon logs the lines at its start, so that
 * a person can compare the sum with the machine before the machine does.
 *
 * In flow the configuration and the fixed bounds of rooms that this one may not look into; out flow
 * numbers. Nothing is enforced here: each line names the mechanism that does.
 *
 * The numbers are worst cases of payload octets that are held at the same time. What comes on top, and
 * is small or not ours: code, stacks, allocator overhead, SQLite's page caches, the kernel's socket
 * buffers.
 */
#ifndef HOLDFAST_LIMITS_H
#define HOLDFAST_LIMITS_H

#include "base.h"
#include "config.h"

#define LIMITS_LINES_MAX 24

/* Constants of other rooms, filled in by main. */
struct limits_fixed {
    uint64_t logger_lines;      /* unwritten log lines; further ones are dropped and counted */
    uint64_t logger_line_bytes; /* the longest line */
    uint64_t peer_unsent_bytes; /* encoded and not yet taken by the socket, per peer */
    uint64_t peer_slots;        /* actors made for peers, at work or spare */
    uint64_t peer_frame_bytes;  /* the largest frame, read in full before it is decoded */
    uint64_t connection_output_bytes; /* made ready for a client that does not read */
    uint64_t watch_changes_bytes;     /* changes on their way from apply to watch */
    uint64_t keepalive_bytes;         /* keepalives that wait in one client actor */
    uint64_t databases_descriptors;   /* files of all SQLite connections */
};

struct limit_line {
    const char *holder;  /* the actor, or the place between two */
    const char *what;    /* what it holds */
    const char *through; /* the mechanism that keeps the bound */
    uint64_t messages;   /* 0: bounded by octets alone */
    uint64_t bytes;
};

struct limits {
    size_t count;
    struct limit_line lines[LIMITS_LINES_MAX];
    uint64_t messages, bytes; /* sums over the lines */
    uint64_t descriptors;     /* the process may need at once */
};

/* Work out all lines. config and fixed are borrowed for the call. Sums stay below UINT64_MAX for every
 * configuration that config_load accepts. */
void limits_compute(const struct config *config, const struct limits_fixed *fixed,
                    struct limits *out);

/* Log a line per holder (info) and the sum (notice); a warning if the process may not open as many
 * descriptors as it could need. */
void limits_log(const struct limits *limits);

#endif
