/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_state.h: the raft actor's inside, for its files:
 *
 *   raft_actor.c      messages in, effects out, start and stop
 *   raft_founding.c   an empty node: whether it founds a cluster or joins one
 *   raft_proposals.c  clients' commands: held, appended, forwarded, refused
 *   raft_members.c    who is a member: requests of people and nodes, admission
 *   raft_pilot.c      who votes: what the leader sees of the members, and the autopilot
 *   raft_reads.c      linearizable reads, in batches of the core
 *
 * All run in the raft actor's thread.
 */
#ifndef HOLDFAST_RAFT_STATE_H
#define HOLDFAST_RAFT_STATE_H

#include "bootstrap.h"
#include "held.h"
#include "node.h"
#include "raft_actor.h"
#include "raft_members.h"
#include "raft_peers.h"
#include "raft_snapshots.h"
#include "requests.h"
#include "stage_times.h"

/* Reads waiting for one batch of the core. */
struct read_batch {
    uint64_t number;
    struct read_request **requests;
    size_t count, capacity;
};

struct raft_actor {
    struct raft *core;
    struct raft_effects effects;
    struct config config;
    struct peer_hello own;
    struct raft_boot boot; /* until started */
    struct configuration boot_configuration;
    struct raft_term_run *boot_term_runs;
    const struct node_actors *links;
    struct node_actors to; /* copied at start */

    uint64_t now_us; /* of the handler running */
    struct raft_peers peers;
    uint64_t look_for_peers_us; /* when to look at them again */
    struct raft_members members;
    struct raft_pilot pilot;
    bool stopping;
    uint64_t stop_at_us; /* stop at the latest */
    struct raft_snapshots snapshots;
    bool bootstrap_dirty, quiet_seen;
    uint64_t quiet_at_us; /* whoever has a cluster of our name would have called by then */
    enum bootstrap_action bootstrap_said;
    size_t bootstrap_said_peer;
    bool founding;              /* the founded configuration is not durable yet: tell nobody */
    uint64_t founding_sequence; /* the persist that holds it; 0: not handed out yet */
    uint64_t random_state;

    struct held held; /* to be proposed, in order; waits while no leader is known */
    struct held led;  /* apply's own proposals: go with the next flush, into our log or nowhere */
    struct request_barrier barrier;
    struct request_filter filter;
    uint64_t refused_term; /* the leader we know of this term refused a forward: wait for another */
    /* ... refused one because it hands its office over: wait for another leader, or ask it again then. */
    uint64_t moving_term, moving_until_us;

    struct read_batch *batches; /* in order of their numbers */
    size_t batch_count, batch_capacity;
    uint64_t read_bytes; /* of the reads in all of them */
    struct read_request *
        *stale; /* may be answered by what is known already; until the next flush */
    size_t stale_count, stale_capacity;
    /* Whatever was committed anywhere before as_of_us of our own clock is at or below index. 0: nothing known. */
    uint64_t known_as_of_us, known_index;

    struct space_facts space; /* of this node, as it was seen last */
    uint64_t lease_count;     /* as apply said last */
    struct apply_clock clock; /* what apply was told last ... */
    uint64_t clock_told_us;   /* ... and when */
    uint64_t armed_at_us, timer_generation;
    struct raft_status seen; /* what was last told to clients and logged */
    uint64_t seen_configuration_index, seen_settled_index;
    uint64_t leader_changes;   /* to a leader that is known, as etcd counts them */
    uint64_t proposals_failed; /* of this node's clients, refused */
    struct stage_times stage_times;
};

/* ---- raft_actor.c -------------------------------------------------------------------------------------- */

void raft_actor_step(struct raft_actor *a, struct raft_event *event);
/* Tell a client, if it is one of ours. */
void raft_actor_refuse(struct raft_actor *a, uint64_t request_id, enum err error);
void raft_actor_status(struct raft_actor *a, struct node_status *status);
/* Tell a client, if it is one of ours, with what raft knows. */
void raft_actor_answer_status(struct raft_actor *a, uint64_t request_id);
/* Moves what the message owns. */
void raft_actor_send(struct raft_actor *a, struct raft_message *message);
/* Our identity or the members changed: whoever greets others has to know. */
void raft_actor_identity(struct raft_actor *a);
/* It belongs to no cluster yet. */
bool raft_actor_is_blank(const struct raft_actor *a);

/* ---- raft_founding.c ----------------------------------------------------------------------------------- */

/* After so long at the start any member of our cluster would have called. */
uint64_t raft_founding_quiet_us(const struct raft_actor *a);
/* Found a cluster or join one, if this node belongs to none and what was heard says so. */
void raft_founding_consider(struct raft_actor *a, uint64_t now_us);

/* ---- raft_members.c ------------------------------------------------------------------------------------ */

#define PILOT_LOOK_US UINT64_C(1000000) /* or an election timeout, if that is shorter */

void raft_members_take(struct raft_actor *a, const struct raft_change_members *m);
/* RAFT_MEMBERS and its reply; borrowed. */
void raft_members_forwarded(struct raft_actor *a, const struct raft_message *message,
                            uint64_t now_us);
void raft_members_replied(struct raft_actor *a, const struct raft_message *message);
/* Before the core's FLUSH. */
void raft_members_flush(struct raft_actor *a, uint64_t now_us);
uint64_t raft_members_look_us(const struct raft_actor *a);
void raft_members_stop(struct raft_actor *a);

/* ---- raft_pilot.c -------------------------------------------------------------------------------------- */

void raft_pilot_view(const struct raft_actor *a, uint64_t now_us, struct pilot_view *out);
/* Notes whether this node leads and when the members changed. */
void raft_pilot_flush(struct raft_actor *a, const struct raft_status *status, uint64_t now_us);
/* Ask the autopilot and do as it says; does nothing where this node does not lead. */
void raft_pilot_look(struct raft_actor *a, uint64_t now_us);
/* No change of members is under way, and one may begin. Of a leader. */
bool raft_pilot_settled(const struct raft_actor *a, const struct raft_status *status);
void raft_pilot_report(const struct raft_actor *a, uint64_t now_us, struct cluster_report *out);

/* ---- raft_proposals.c ---------------------------------------------------------------------------------- */

/* Moves in; refused where too much waits. */
void raft_proposals_hold(struct raft_actor *a, struct raft_propose *propose);
/* Hand everything held to the leader, which may be this node. Leaves it held where none is known. */
void raft_proposals_held(struct raft_actor *a, uint64_t now_us);
/* What apply proposed as the leader's: appended here or dropped. */
void raft_proposals_led(struct raft_actor *a, uint64_t now_us);
/* A forward of another node, and what came back of ours. */
void raft_proposals_forward(struct raft_actor *a, struct raft_message *message, uint64_t now_us);
void raft_proposals_refused(struct raft_actor *a, const struct raft_message *message,
                            uint64_t now_us);
/* In this term nothing is forwarded before; 0: it may be now. */
uint64_t raft_proposals_wait_us(const struct raft_actor *a, uint64_t term);

/* ---- raft_reads.c -------------------------------------------------------------------------------------- */

/* Moves in: it waits for its batch's index, or for the flush. */
void raft_reads_take(struct raft_actor *a, struct read_request *request, uint64_t now_us);
/* Before the core's flush, at its time: who may read something older gets it if it is young enough, or waits too. */
void raft_reads_flush(struct raft_actor *a, uint64_t now_us);
void raft_reads_answer(struct raft_actor *a, const struct raft_read_answer *answer);
/* Reads whose clients have been told go; their batches may stay empty until the core answers. */
void raft_reads_expire(struct raft_actor *a, uint64_t now_us);
void raft_reads_free(struct raft_actor *a);

#endif
