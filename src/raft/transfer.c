/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.c: a leader hands its office to another member, so that a planned restart costs a round trip and not an
 * election timeout. In: the wish, and whom. Out: timeout_now to the target. Thesis §3.10.
 *
 * The leader stops taking proposals, feeds the target until that has all it has itself, and then says timeout_now,
 * once. The target stands for election at once, without a pre-vote, and its requests say that the leader wants
 * it, so that voters who hear that leader do not ignore them (trap 6). If nothing has come of it within an election
 * timeout the leader goes on as before: proposals are taken again (trap 50).
 *
 * A timeout_now names the leader's last entry. Whoever got more from it since then knows that the leader has gone
 * on, and drops it; so does whoever is in another term, or hears another leader. What still arrives late does no
 * harm but an election.
 *
 * A lease is given up before timeout_now is said, for the rest of the term (trap 34): the word may arrive at any time.
 * Rounds need no such care: one is acknowledged in its term or not at all.
 *
 * Invariants
 *  1. transfer_target is set only while this node leads, and never to itself.
 *  2. While it is set the leader's log does not grow.
 */
#include "raft_internal.h"

static bool can_lead(const struct raft *r, uint64_t id)
{
    const struct configuration *c = membership_current(r);
    int at = configuration_find(c, id);
    const struct progress *p = replication_find(r, id);
    return at >= 0 && c->members[at].voter_incoming && p != NULL &&
           p->state == PROGRESS_REPLICATE && !p->no_vote && disk_health_works(r, p) &&
           r->now_us - p->last_heard_us < r->election_timeout_us;
}

/* Who needs least to be as far as we are. 0: nobody. */
static uint64_t best_target(const struct raft *r)
{
    const struct progress *best = NULL;
    for (size_t i = 0; i < r->progress_count; i++) {
        const struct progress *p = &r->progress[i];
        if (can_lead(r, p->id) && (best == NULL || p->match_index > best->match_index)) {
            best = p;
        }
    }
    return best == NULL ? 0 : best->id;
}

void transfer_request(struct raft *r, struct raft_event *event)
{
    uint64_t target = event->transfer.target;
    event->transfer.error = OK;
    if (r->role != RAFT_LEADER) {
        event->transfer.error = r->leader == 0 ? ERR_NO_LEADER : ERR_NOT_LEADER;
        return;
    }
    if (target == r->id) {
        return;
    }
    if (r->transfer_target != 0) {
        /* On its way already, and what has been said cannot be taken back. */
        bool same = target == 0 || target == r->transfer_target;
        event->transfer.error = same ? OK : ERR_LEADER_CHANGED;
        return;
    }
    target = target == 0 ? best_target(r) : target;
    if (target == 0 || !can_lead(r, target)) {
        event->transfer.error = ERR_BAD_TRANSFEREE;
        return;
    }
    r->transfer_target = target;
    r->transfer_said = false;
    r->transfer_deadline_us = r->now_us + r->election_timeout_us;
}

void transfer_stop(struct raft *r)
{
    r->transfer_target = 0;
    r->transfer_said = false;
    r->transfer_deadline_us = 0;
}

static void say_timeout_now(struct raft *r, uint64_t target, struct raft_effects *out)
{
    leader_lease_give_up(r);
    struct raft_message m = {
        .type = RAFT_TIMEOUT_NOW,
        .to = target,
        .term = r->current_term,
        .last_log_index = r->log.last_index,
    };
    raft_effects_send(r, out, &m);
}

void transfer_flush(struct raft *r, struct raft_effects *out)
{
    ASSERT(r->role == RAFT_LEADER);
    if (r->transfer_target == 0) {
        return;
    }
    if (r->now_us >= r->transfer_deadline_us || !can_lead(r, r->transfer_target)) {
        transfer_stop(r);
        return;
    }
    const struct progress *p = replication_find(r, r->transfer_target);
    if (!r->transfer_said && p->match_index == r->log.last_index) {
        r->transfer_said = true;
        say_timeout_now(r, r->transfer_target, out);
    }
}

/* Nobody has to wait for an election timeout, if somebody is ready. */
void transfer_leave(struct raft *r, struct raft_effects *out)
{
    ASSERT(r->role == RAFT_LEADER);
    uint64_t target = best_target(r);
    if (target != 0 && replication_find(r, target)->match_index == r->log.last_index) {
        say_timeout_now(r, target, out);
    }
}

void transfer_on_timeout_now(struct raft *r, const struct raft_message *m)
{
    ASSERT(m->term == r->current_term);
    if (r->role != RAFT_FOLLOWER || m->from != r->leader || !election_may_campaign(r) ||
        m->last_log_index != r->log.last_index) {
        return;
    }
    election_campaign_for_transfer(r);
}

uint64_t transfer_deadline_us(const struct raft *r)
{
    return r->transfer_target == 0 ? UINT64_MAX : r->transfer_deadline_us;
}
