/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invariants.c: what must hold of one node's state, and of the step from the last check to this one,
 * as asserts. Raft Fig. 2 and 3; the habit of checking changes as well as states is LogCabin's.
 *
 * Called at the end of every step in debug builds and in the simulator. What needs several nodes
 * (election safety, log matching between logs, leader completeness, state machine safety) is checked
 * by whoever has them all: tests/lib/cluster.c and the simulator.
 */
#include "raft_internal.h"

static void check_indexes(const struct raft *r)
{
    raft_log_check(&r->log);
    ASSERT(r->log.trimmed_index <= r->commit_index);
    ASSERT(r->commit_index <= r->log.last_index);
    ASSERT(r->last_applied <= r->apply_handed_index);
    ASSERT(raft_log_last_term(&r->log) <= r->current_term);
    /* Applied is what was committed and durable here, or was so before a damaged disk lost it. */
    ASSERT(r->apply_handed_index <=
           raft_max(r->boot_applied_index, raft_min(r->commit_index, r->log.durable_index)));
    ASSERT(r->may_not_vote || r->boot_applied_index <= r->log.last_index);
    /* Entries still to be applied are in memory. */
    ASSERT(r->log.memory_first <= r->apply_handed_index + 1 ||
           r->log.memory_first == r->log.last_index + 1);
}

static void check_hard_state(const struct raft *r)
{
    ASSERT(r->hard_state_sequence <= r->log.persist_sequence);
    ASSERT(r->outbox_count <= OUTBOX_MAX);
    uint64_t gate = 0;
    for (size_t i = 0; i < r->outbox_count; i++) {
        const struct held_message *held = &r->outbox[(r->outbox_start + i) % OUTBOX_MAX];
        ASSERT(held->gate >= gate);
        ASSERT(held->message.from == r->id);
        gate = held->gate;
    }
}

static void check_role(const struct raft *r)
{
    switch (r->role) {
    case RAFT_FOLLOWER:
        ASSERT(r->leader != r->id);
        break;
    case RAFT_PRE_CANDIDATE:
        ASSERT(r->leader == 0);
        break;
    case RAFT_CANDIDATE:
        ASSERT(r->leader == 0);
        ASSERT(r->voted_for == r->id);
        ASSERT(!r->may_not_vote);
        break;
    case RAFT_LEADER:
        ASSERT(r->leader == r->id);
        ASSERT(r->voted_for == r->id);
        ASSERT(!r->may_not_vote);
        ASSERT(raft_hard_state_durable(r));
        ASSERT(r->term_first_index <= r->log.last_index);
        ASSERT(raft_log_last_term(&r->log) == r->current_term);
        break;
    }
    ASSERT((r->role == RAFT_LEADER) == (r->progress != NULL));
    ASSERT(r->progress_count <= PROGRESS_MAX);
    ASSERT(r->transfer_target == 0 || (r->role == RAFT_LEADER && r->transfer_target != r->id));
    ASSERT(r->transfer_target != 0 || !r->transfer_said);
    ASSERT(r->role != RAFT_LEADER || r->time_confirmed_us <= r->now_us);
    /* What the term's leader said is kept through a pre-vote, which ends nothing, but not beyond. */
    ASSERT(r->matched_index == 0 || r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE);
    ASSERT(r->matched_index <= r->log.last_index || r->matched_index <= r->log.trimmed_index);
    ASSERT(r->vote_count <= MEMBERS_MAX);
}

static void check_progress(const struct raft *r)
{
    for (size_t i = 0; i < r->progress_count; i++) {
        const struct progress *p = &r->progress[i];
        ASSERT(p->id != r->id);
        ASSERT(p->match_index < p->next_index);
        ASSERT(p->next_index <= r->log.last_index + 1);
        ASSERT(p->ring_count <= INFLIGHT_MAX);
        uint64_t bytes = 0;
        uint64_t last = 0;
        for (size_t k = 0; k < p->ring_count; k++) {
            const struct inflight *in = &p->ring[(p->ring_start + k) % INFLIGHT_MAX];
            ASSERT(in->last_index > last);
            last = in->last_index;
            bytes += in->bytes;
        }
        ASSERT(bytes == p->inflight_bytes);
        ASSERT(p->sent_round <= r->read_round);
        ASSERT(p->acked_round <= p->sent_round);
        ASSERT((p->leaving_index == 0) == (configuration_find(membership_current(r), p->id) >= 0));
        ASSERT(p->acked_sent_us <= p->sent_us);
        ASSERT(p->sent_us <= r->now_us);
    }
}

static void check_reads(const struct raft *r)
{
    ASSERT(r->read_count <= READ_REQUESTS_MAX);
    ASSERT(r->confirmed_round <= r->read_round);
    ASSERT(r->read_round - r->confirmed_round <= READ_ROUNDS_MAX);
    for (size_t i = 0; i < r->read_count; i++) {
        const struct read_request *q = &r->reads[i];
        ASSERT(q->batch < r->open_batch);
        ASSERT(q->round == 0 || r->role == RAFT_LEADER);
        ASSERT(q->round == 0 || q->round > r->confirmed_round);
        ASSERT(q->batch != 0 || q->read_id != 0);
        ASSERT(q->batch != 0 || r->role == RAFT_LEADER);
    }
}

static bool same_voters(const struct configuration *a, bool incoming_a,
                        const struct configuration *b, bool incoming_b)
{
    size_t voters = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct member *m = &a->members[i];
        if (incoming_a ? m->voter_incoming : m->voter_outgoing) {
            int at = configuration_find(b, m->id);
            if (at < 0 ||
                !(incoming_b ? b->members[at].voter_incoming : b->members[at].voter_outgoing)) {
                return false;
            }
            voters++;
        }
    }
    for (size_t i = 0; i < b->count; i++) {
        voters -=
            (incoming_b ? b->members[i].voter_incoming : b->members[i].voter_outgoing) ? 1 : 0;
    }
    return voters == 0;
}

/* Raft §6: a step from one to the next keeps the majority that decides, or adds one, or drops the older one. */
static void check_transition(const struct configuration *from, const struct configuration *to)
{
    bool was_joint = configuration_is_joint(from);
    bool is_joint = configuration_is_joint(to);
    ASSERT(!was_joint || !is_joint);
    ASSERT(same_voters(from, true, to, was_joint));
    ASSERT(is_joint || same_voters(from, true, to, true));
}

static void check_configurations(const struct raft *r)
{
    ASSERT(r->configuration_count > 0);
    if (r->role == RAFT_LEADER && r->commit_index >= r->term_first_index) {
        ASSERT(r->configuration_count <= 2); /* one change in flight (trap 39) */
        for (size_t i = 1; i < r->configuration_count; i++) {
            check_transition(r->configurations[i - 1].configuration,
                             r->configurations[i].configuration);
        }
    }
    for (size_t i = 1; i < r->configuration_count; i++) {
        ASSERT(r->configurations[i].index > r->configurations[i - 1].index);
        ASSERT(r->configurations[i].index > r->commit_index);
        ASSERT(r->configurations[i].index <= r->log.last_index);
    }
}

static void check_change(const struct raft *r)
{
    const struct raft_checked *was = &r->checked;
    if (!was->valid) {
        return;
    }
    ASSERT(r->current_term >= was->current_term);
    ASSERT(r->commit_index >= was->commit_index);
    ASSERT(r->last_applied >= was->last_applied);
    ASSERT(r->log.persist_sequence >= was->persist_sequence);
    ASSERT(r->log.durable_sequence >= was->durable_sequence);
    ASSERT(r->log.trimmed_index >= was->trimmed_index);
    ASSERT(r->time_applied_us >= was->time_applied_us);
    ASSERT(r->cluster_time_us >= r->time_applied_us);
    if (r->current_term == was->current_term) {
        ASSERT(was->voted_for == 0 || r->voted_for == was->voted_for);
        /* One leader per term, as far as this node has heard (§5.2). */
        ASSERT(was->leader == 0 || r->leader == 0 || r->leader == was->leader);
        ASSERT(was->role != RAFT_LEADER || r->role != RAFT_CANDIDATE);
        if (was->role == RAFT_LEADER && r->role == RAFT_LEADER) {
            ASSERT(r->log.last_index >= was->last_index); /* Leader Append-Only, §5.3 */
            ASSERT(r->cluster_time_us >= was->cluster_time_us);
            if (was->transfer_target != 0 && r->transfer_target != 0) {
                ASSERT(r->log.last_index == was->last_index);
            }
        }
    }
}

void raft_check(struct raft *r)
{
    check_indexes(r);
    check_hard_state(r);
    check_role(r);
    check_progress(r);
    check_reads(r);
    check_configurations(r);
    check_change(r);
    r->checked = (struct raft_checked){
        .valid = true,
        .role = r->role,
        .current_term = r->current_term,
        .voted_for = r->voted_for,
        .leader = r->leader,
        .commit_index = r->commit_index,
        .last_applied = r->last_applied,
        .last_index = r->log.last_index,
        .persist_sequence = r->log.persist_sequence,
        .durable_sequence = r->log.durable_sequence,
        .trimmed_index = r->log.trimmed_index,
        .cluster_time_us = r->cluster_time_us,
        .time_applied_us = r->time_applied_us,
        .transfer_target = r->transfer_target,
    };
}
