/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_state.h: the raft actor's inside, for its files:
 *
 *   raft_actor.c      messages in, effects out, start and stop
 *   raft_founding.c   an empty node: whether it founds a cluster or joins one
 *   raft_proposals.c  clients' commands: held, appended, forwarded, refused
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
#include "raft_peers.h"
#include "requests.h"

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

    struct raft_peers peers;
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

    struct read_batch *batches; /* in order of their numbers */
    size_t batch_count, batch_capacity;
    uint64_t read_bytes; /* of the reads in all of them */

    struct space_facts space; /* of this node, as it was seen last */
    uint64_t lease_count;     /* as apply said last */
    struct apply_clock clock; /* what apply was told last ... */
    uint64_t clock_told_us;   /* ... and when */
    uint64_t armed_at_us, timer_generation;
    struct raft_status seen; /* what was last told to clients and logged */
    uint64_t seen_configuration_index, seen_settled_index;
    uint64_t leader_changes;   /* to a leader that is known, as etcd counts them */
    uint64_t proposals_failed; /* of this node's clients, refused */
};

/* ---- raft_actor.c -------------------------------------------------------------------------------------- */

void raft_actor_step(struct raft_actor *a, struct raft_event *event);
/* Tell a client, if it is one of ours. */
void raft_actor_refuse(struct raft_actor *a, uint64_t request_id, enum err error);
void raft_actor_status(struct raft_actor *a, struct node_status *status);
/* Moves what the message owns. */
void raft_actor_send(struct raft_actor *a, struct raft_message *message);
/* Our identity or the members changed: whoever greets others has to know. */
void raft_actor_identity(struct raft_actor *a);
/* It belongs to no cluster yet. */
bool raft_actor_is_blank(const struct raft_actor *a);

/* ---- raft_founding.c ----------------------------------------------------------------------------------- */

/* Found a cluster or join one, if this node belongs to none and what was heard says so. */
void raft_founding_consider(struct raft_actor *a, uint64_t now_us);

/* ---- raft_proposals.c ---------------------------------------------------------------------------------- */

/* Moves in; refused where too much waits. */
void raft_proposals_hold(struct raft_actor *a, struct raft_propose *propose);
/* Hand everything held to the leader, which may be this node. Leaves it held where none is known. */
void raft_proposals_held(struct raft_actor *a, uint64_t now_us);
/* What apply proposed as the leader's: appended here or dropped. */
void raft_proposals_led(struct raft_actor *a, uint64_t now_us);
/* A forward of another node, and what came back of ours. */
void raft_proposals_forward(struct raft_actor *a, struct raft_message *message, uint64_t now_us);
void raft_proposals_refused(struct raft_actor *a, const struct raft_message *message);

/* ---- raft_reads.c -------------------------------------------------------------------------------------- */

/* Moves in: it waits for its batch's index. */
void raft_reads_take(struct raft_actor *a, struct read_request *request, uint64_t now_us);
void raft_reads_answer(struct raft_actor *a, const struct raft_read_answer *answer);
/* Reads whose clients have been told go; their batches may stay empty until the core answers. */
void raft_reads_expire(struct raft_actor *a, uint64_t now_us);
void raft_reads_free(struct raft_actor *a);

#endif
