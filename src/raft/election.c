/* SPDX-License-Identifier: Apache-2.0 */
/*
 * election.c: timeouts, pre-votes, votes and the change of roles. In: ticks, vote requests and
 * replies. Out: requests and replies in the outbox, a new role. Raft §5.2, §5.4.1; pre-vote Thesis
 * §9.6; stickiness and check-quorum Thesis §4.2.3 and §6.2.
 *
 * The three belong together (traps 4, 5): pre-vote keeps a cut-off node from raising terms, stickiness
 * keeps voters from helping it against a live leader, check-quorum makes a leader that cannot hear a
 * majority get out of the way. The dead ends this could build are opened by answering old terms
 * explicitly with one's own: a pre-candidate that is behind, or a leader that a member has outgrown,
 * learns the term and goes on from there.
 *
 * Departures from the paper: every attempt begins with a pre-vote, also after a lost election (but not one
 * that the leader itself has asked for, transfer.c), so a
 * term is only spent when a majority said it would vote. A timeout that passed long ago (the process
 * was stopped) therefore costs one harmless question (trap 9). A sole voter does not wait.
 *
 * Invariants
 *  1. Roles move only along `legal_moves`.
 *  2. A pre-vote request changes nothing at the one who answers it (trap 3).
 *  3. A candidate counts its own vote only once it is on disk, and asks others only then (trap 2).
 */
#include "raft_internal.h"

/* [from][to]. A leader never stands for election again without having been a follower. A follower stands
 * without a pre-vote only when its leader asks it to. */
static const bool legal_moves[4][4] = {
    [RAFT_FOLLOWER] =
        {[RAFT_FOLLOWER] = true, [RAFT_PRE_CANDIDATE] = true, [RAFT_CANDIDATE] = true},
    [RAFT_PRE_CANDIDATE] =
        {[RAFT_FOLLOWER] = true, [RAFT_PRE_CANDIDATE] = true, [RAFT_CANDIDATE] = true},
    [RAFT_CANDIDATE] = {[RAFT_FOLLOWER] = true, [RAFT_PRE_CANDIDATE] = true, [RAFT_LEADER] = true},
    [RAFT_LEADER] = {[RAFT_FOLLOWER] = true},
};

static void change_role(struct raft *r, enum raft_role to)
{
    ASSERT(legal_moves[r->role][to]);
    r->role = to;
}

/* ---- timeouts ------------------------------------------------------------------------------------------ */

/* In [T, 2T), drawn anew at each attempt, so that split votes do not repeat (Raft §5.2, trap 9). */
static void draw_timeout(struct raft *r)
{
    r->election_spread_us = random_below(&r->random, r->election_timeout_us);
    r->election_deadline_us = r->now_us + r->election_timeout_us + r->election_spread_us;
}

void election_init(struct raft *r, bool restarted)
{
    draw_timeout(r);
    /* Trap 10. Who never had a disk has acknowledged nobody. */
    r->vote_from_us = restarted ? r->now_us + r->election_timeout_us : 0;
}

bool election_may_campaign(const struct raft *r)
{
    return !r->may_not_vote && !membership_is_removed(r) && membership_ever_votes(r) &&
           !disk_health_hangs(r); /* nobody could hear of a write from it (trap 49) */
}

void election_leader_heard(struct raft *r, uint64_t leader)
{
    ASSERT(leader != 0);
    ASSERT(r->leader == 0 || r->leader == leader);
    if (r->role != RAFT_FOLLOWER) {
        change_role(r, RAFT_FOLLOWER);
    }
    if (r->leader != leader) {
        r->leader = leader;
        read_index_leader_changed(r);
    }
    r->last_leader_contact_us = r->now_us;
    r->leader_heard = true;
    r->election_deadline_us = r->now_us + r->election_timeout_us + r->election_spread_us;
}

/* The message may have come later than the clock was read that it was handled by, and the leader counts its lease from
 * the moment it was sent. The answer leaves after this moment, so the promise that it carries covers enough. */
void election_promise_flush(struct raft *r)
{
    if (r->leader_heard && r->role == RAFT_FOLLOWER) {
        r->last_leader_contact_us = r->now_us;
        r->vote_from_us = r->now_us + r->election_timeout_us;
        r->election_deadline_us = raft_max(
            r->election_deadline_us, r->now_us + r->election_timeout_us + r->election_spread_us);
    }
    r->leader_heard = false;
}

bool election_is_sticky(struct raft *r, const struct raft_message *m)
{
    if (m->flag_transfer) {
        return false; /* that leader gave its lease up before it said so (trap 34) */
    }
    if (r->vote_guard && r->role != RAFT_LEADER && r->now_us < r->vote_from_us) {
        return true; /* also when a higher term made this node forget who leads */
    }
    if (r->leader == 0) {
        return false;
    }
    if (r->role == RAFT_LEADER) {
        return replication_has_quorum_contact(r);
    }
    return r->now_us - r->last_leader_contact_us < r->election_timeout_us;
}

/* ---- roles ----------------------------------------------------------------------------------------------- */

void election_become_follower(struct raft *r, uint64_t term, uint64_t leader)
{
    ASSERT(term >= r->current_term);
    bool was_leader = r->role == RAFT_LEADER;
    if (r->role != RAFT_FOLLOWER) {
        change_role(r, RAFT_FOLLOWER);
    }
    if (term > r->current_term) {
        r->current_term = term;
        r->voted_for = 0;
        r->hard_state_dirty = true;
        follower_forget_leader(r);
    }
    r->leader = leader;
    if (was_leader) {
        replication_stop(r);
        follower_forget_leader(r);
        draw_timeout(r);
    }
    read_index_leader_changed(r);
}

static bool has_voted(void *context, uint64_t id)
{
    const struct raft *r = context;
    for (size_t i = 0; i < r->vote_count; i++) {
        if (r->votes[i] == id) {
            return true;
        }
    }
    return false;
}

static void count_vote(struct raft *r, uint64_t id)
{
    /* Votes of strangers would count for nothing in the quorum; the bound is the member count. */
    if (!has_voted(r, id) && configuration_find(membership_current(r), id) >= 0) {
        ASSERT(r->vote_count < MEMBERS_MAX);
        r->votes[r->vote_count++] = id;
    }
}

static bool is_elected(struct raft *r)
{
    return configuration_has_quorum(membership_current(r), has_voted, r);
}

static void become_leader(struct raft *r)
{
    change_role(r, RAFT_LEADER);
    r->leader = r->id;
    follower_forget_leader(r);
    replication_start(r);
    read_index_leader_changed(r);
}

static void ask(struct raft *r, uint64_t to)
{
    bool pre_vote = r->role == RAFT_PRE_CANDIDATE;
    struct raft_message m = {
        .type = pre_vote ? RAFT_REQUEST_PRE_VOTE : RAFT_REQUEST_VOTE,
        .to = to,
        .term = pre_vote ? r->current_term + 1 : r->current_term,
        .last_log_index = r->log.last_index,
        .last_log_term = raft_log_last_term(&r->log),
        .flag_transfer = r->wanted,
    };
    raft_outbox_push(r, &m);
}

static void ask_all(struct raft *r)
{
    const struct configuration *c = membership_current(r);
    for (size_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        if (m->id != r->id && (m->voter_incoming || m->voter_outgoing)) {
            ask(r, m->id);
        }
    }
}

/* Raft §5.2: a new term, the own vote in it, and a request to everybody else. The requests leave,
 * and the own vote counts, when this is on disk. */
static void become_candidate(struct raft *r, bool wanted)
{
    change_role(r, RAFT_CANDIDATE);
    r->wanted = wanted;
    r->current_term++;
    r->voted_for = r->id;
    r->hard_state_dirty = true;
    r->vote_count = 0;
    r->own_vote_counted = false;
    follower_forget_leader(r);
    draw_timeout(r);
    ask_all(r);
}

/* Thesis §9.6. Nothing that others or the disk could see changes. */
static void become_pre_candidate(struct raft *r)
{
    change_role(r, RAFT_PRE_CANDIDATE);
    r->wanted = false;
    r->leader = 0;
    read_index_leader_changed(r);
    r->vote_count = 0;
    draw_timeout(r);
    count_vote(r, r->id);
    if (is_elected(r)) {
        become_candidate(r, false);
    } else {
        ask_all(r);
    }
}

void election_campaign_for_transfer(struct raft *r)
{
    r->leader = 0;
    read_index_leader_changed(r);
    become_candidate(r, true);
}

void election_tick(struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        /* Check-quorum, Thesis §6.2: clients of a cut-off leader must not wait for ever. */
        if (!replication_has_quorum_contact(r)) {
            election_become_follower(r, r->current_term, 0);
        }
        return;
    }
    if (r->now_us < r->election_deadline_us) {
        return;
    }
    if (election_may_campaign(r)) {
        become_pre_candidate(r);
    } else {
        draw_timeout(r);
    }
}

static bool is_self(void *context, uint64_t id)
{
    const struct raft *r = context;
    return id == r->id;
}

void election_flush(struct raft *r)
{
    /* With a leader known it waits all the same: that one may just be removing itself. */
    if (r->role == RAFT_FOLLOWER && r->leader == 0 && election_may_campaign(r) &&
        configuration_has_quorum(membership_current(r), is_self, r)) {
        become_pre_candidate(r);
    }
    if (r->role == RAFT_CANDIDATE && !r->own_vote_counted && raft_hard_state_durable(r)) {
        r->own_vote_counted = true;
        count_vote(r, r->id);
        if (is_elected(r)) {
            become_leader(r);
        }
    }
}

/* A request sent before the connection stood is lost; ask again instead of waiting a timeout. */
void election_peer_up(struct raft *r, uint64_t peer)
{
    bool asking = r->role == RAFT_PRE_CANDIDATE || r->role == RAFT_CANDIDATE;
    if (asking && !has_voted(r, peer) && configuration_is_voter(membership_current(r), peer)) {
        ask(r, peer);
    }
}

/* ---- the voter's side --------------------------------------------------------------------------------------- */

/* Raft §5.4.1: the later last term wins, then the longer log. */
static bool is_up_to_date(const struct raft *r, const struct raft_message *m)
{
    uint64_t last_term = raft_log_last_term(&r->log);
    if (m->last_log_term != last_term) {
        return m->last_log_term > last_term;
    }
    return m->last_log_index >= r->log.last_index;
}

static void reply(struct raft *r, const struct raft_message *m, bool granted)
{
    bool pre_vote = m->type == RAFT_REQUEST_PRE_VOTE;
    struct raft_message answer = {
        .type = pre_vote ? RAFT_PRE_VOTE_REPLY : RAFT_VOTE_REPLY,
        .to = m->from,
        /* A grant of a pre-vote speaks of the asked term; a refusal tells ours, so that a sender
         * that is behind catches up (trap 4). */
        .term = pre_vote && granted ? m->term : r->current_term,
        .granted = granted,
    };
    raft_outbox_push(r, &answer);
}

/* Votes are given to whoever asks, member or not: this node may not know yet who was promoted, the
 * asker or itself (trap 8). Whether a vote counts is the candidate's configuration's to say. */
void election_on_request(struct raft *r, const struct raft_message *m)
{
    if (m->term < r->current_term) {
        reply(r, m, false);
        return;
    }
    if (election_is_sticky(r, m)) {
        return;
    }
    bool granted = !r->may_not_vote && is_up_to_date(r, m);
    if (m->type == RAFT_REQUEST_PRE_VOTE) {
        reply(r, m, granted && m->term > r->current_term);
        return;
    }
    ASSERT(m->term == r->current_term);
    granted = granted && (r->voted_for == 0 || r->voted_for == m->from);
    if (granted) {
        /* A candidate or leader of this term has voted for itself. */
        ASSERT(r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE);
        if (r->voted_for == 0) {
            r->voted_for = m->from;
            r->hard_state_dirty = true;
        }
        if (r->role == RAFT_PRE_CANDIDATE) {
            change_role(r, RAFT_FOLLOWER); /* do not outbid whom we just voted for */
        }
        r->election_deadline_us = r->now_us + r->election_timeout_us + r->election_spread_us;
    }
    reply(r, m, granted);
}

/* Trap 7: it never heard of its removal. Said however sticky this node is; nothing here changes by it. */
void election_refuse_removed(struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = {
        .type = m->type == RAFT_REQUEST_PRE_VOTE ? RAFT_PRE_VOTE_REPLY : RAFT_VOTE_REPLY,
        .to = m->from,
        .term = r->current_term,
        .flag_removed = true,
    };
    raft_outbox_push(r, &answer);
}

void election_told_removed(struct raft *r)
{
    if (r->role == RAFT_PRE_CANDIDATE || r->role == RAFT_CANDIDATE) {
        r->told_removed = true;
        change_role(r, RAFT_FOLLOWER);
    }
}

/* ---- the candidate's side -------------------------------------------------------------------------------------- */

void election_on_reply(struct raft *r, const struct raft_message *m)
{
    if (!m->granted) {
        return; /* a higher term has been taken on by now; otherwise the timeout decides */
    }
    if (m->type == RAFT_PRE_VOTE_REPLY) {
        if (r->role == RAFT_PRE_CANDIDATE && m->term == r->current_term + 1) {
            count_vote(r, m->from);
            if (is_elected(r)) {
                become_candidate(r, false);
            }
        }
        return;
    }
    if (r->role == RAFT_CANDIDATE && m->term == r->current_term) {
        count_vote(r, m->from);
        if (is_elected(r)) {
            become_leader(r);
        }
    }
}
