/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures.h: what a node knows of itself in numbers, for /metrics. One message travels from the client actor
 * that was asked through every actor that has something to say and back; each fills in its part from its
 * private statistics (style: nothing is shared) and passes it on.
 *
 * The way is a list of stops in the message: an actor joins in by one kind in its enum, figures_pass_on in its
 * handler, and a line in figures_create's list. Which peer actors run only the raft actor knows: it adds them.
 *
 * Never a number that is made up: what nobody counts is not in here.
 */
#ifndef HOLDFAST_FIGURES_H
#define HOLDFAST_FIGURES_H

#include "actor.h"
#include "histogram.h"
#include "membership.h"
#include "raft.h"
#include "store.h"

#define FIGURES_STOPS_MAX 112 /* client actors, peers, and the rest; figures.c looks */
#define FIGURES_METHODS   48  /* more than there are kinds of methods */
#define FIGURES_CODES     17  /* gRPC's */

struct figures_stop {
    struct actor *actor;
    uint32_t kind; /* of the actor's enum */
};

struct figures_peer {
    char name[MEMBER_NAME_MAX + 1];
    uint64_t member_id;
    bool connected;
    uint64_t sent_bytes, received_bytes, dropped_messages, lost_connections;
    struct histogram round_trip_us;
};

/* Summed over the client actors. */
struct figures_clients {
    uint64_t started[FIGURES_METHODS]; /* by enum method_kind */
    uint64_t handled[FIGURES_METHODS][FIGURES_CODES];
    uint64_t received_bytes, sent_bytes; /* of protobuf messages */
    uint64_t connections, calls;
    uint64_t healthy, unhealthy; /* answers of /health */
    struct histogram write_us;   /* from the proposal to its answer, in the client actor */
};

struct figures {
    struct msg base;
    uint64_t request_id;
    size_t stop_at, stop_count;
    struct figures_stop stops[FIGURES_STOPS_MAX];
    size_t actor_count;
    struct actor_figures actors[FIGURES_STOPS_MAX];

    struct raft_status raft;
    struct configuration configuration;
    uint64_t leader_changes, proposals_failed;
    struct histogram write_disk_us, write_commit_us, write_apply_us; /* node/stage_times.h */
    struct space_facts space;                                        /* all 0: not known */

    struct db_figures log_db, kv_db;
    struct histogram log_commit_us, log_batch; /* appends gathered in one commit */
    uint64_t log_bytes;                        /* of entries written */
    struct histogram flush_commit_us, flush_changes;

    int64_t revision, compact_revision;
    uint64_t applied_index, lease_count;
    uint64_t puts, delete_ranges, txns, ranges; /* applied here; ranges: answered here */
    uint64_t leases_granted, leases_revoked, leases_expired, leases_renewed; /* applied here */
    uint64_t slow_applies; /* entries that took longer than APPLY_SLOW_US */
    bool installing;       /* a snapshot takes the place of the table */
    uint64_t overlay_bytes;

    bool has_watch;
    uint64_t watch_streams, watchers, watchers_behind, watch_events; /* events: told so far */

    size_t peer_count; /* those whose id is known */
    struct figures_peer peers[MEMBERS_MAX];
    struct figures_clients clients;
};

struct node_actors;
/* A message for the way through all actors of the node; the last stop is `asker` with its kind. */
struct figures *figures_create(const struct node_actors *actors, struct actor *asker,
                               uint32_t asker_kind, uint64_t request_id);
/* This stop comes next, before those that are left. */
void figures_visit(struct figures *m, struct actor *actor, uint32_t kind);
/* The actor running adds what the runner knows of it, and sends the message on. *m moves. */
void figures_pass_on(struct figures **m);

#endif
