/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follower.c: the receiver of append_entries. In: appends and heartbeats. Out: a log that agrees with
 * the leader's, a commit index, and acknowledgements. Raft §5.3, Fig. 2 "Receiver implementation".
 *
 * Acknowledgements are not made per message but per flush, from two numbers: how far our log is known
 * to equal the leader's in this term (matched_index), and how far it is on disk. A success says
 * min of both (traps 13, 16), so one answer covers all that came in a batch, a lost answer is made good
 * by the next, and an answer never speaks of an old tail behind what the leader sent. A heartbeat or a
 * new read round is answered at once; entries are answered when the disk has them, or when nothing was
 * said for half a heartbeat interval, so that a slow disk is not taken for a dead node.
 *
 * Back-pressure of a slow state machine: committed entries not yet applied stay in memory, so beyond
 * uncommitted_bytes_max of them nothing more is acknowledged; the leader's window closes (trap 26).
 *
 * Invariants
 *  1. The log is cut only at a real conflict, never by a shorter or older message (trap 15), and never
 *     at or below commit_index.
 *  2. commit_index never exceeds the last entry this leader's messages proved equal (trap 17).
 */
#include "raft_internal.h"

void follower_forget_leader(struct raft *r)
{
    r->matched_index = 0;
    r->reply_due = false;
    r->reply_round = 0;
    r->reply_sent_us = 0;
    r->acked_match_index = 0;
    r->acked_round = 0;
    r->last_reply_us = 0;
}

/* A leader of an old term must learn ours even though this node cannot win an election (trap 4). */
void follower_refuse_old_term(struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = {
        .type = RAFT_APPEND_REPLY,
        .to = m->from,
        .term = r->current_term,
        .granted = false,
        .kv_durable_index = r->kv_durable_index,
        .flag_no_vote = r->may_not_vote,
    };
    disk_health_fill(r, &answer);
    raft_outbox_push(r, &answer);
}

static void refuse(struct raft *r, const struct raft_message *m, uint64_t conflict_index,
                   uint64_t conflict_term)
{
    struct raft_message answer = {
        .type = RAFT_APPEND_REPLY,
        .to = m->from,
        .term = r->current_term,
        .granted = false,
        .conflict_index = conflict_index,
        .conflict_term = conflict_term,
        .read_round = m->read_round,
        .sent_us = m->sent_us,
        .kv_durable_index = r->kv_durable_index,
        .flag_no_vote = r->may_not_vote,
    };
    disk_health_fill(r, &answer);
    raft_outbox_push(r, &answer);
    r->last_reply_us = r->now_us;
}

/* What no leader of ours sends. Configurations are decoded here, before anything is changed. */
static bool is_well_formed(const struct raft_message *m)
{
    if (m->prev_log_term > m->term || m->leader_commit > UINT64_MAX - 1 ||
        m->cluster_time_us > CLUSTER_TIME_MAX_US) {
        return false;
    }
    if (m->entries == NULL) {
        return true;
    }
    const struct entries *block = m->entries;
    if (block->count == 0 || block->first_index != m->prev_log_index + 1) {
        return false;
    }
    if (block->items[0].term < m->prev_log_term || block->items[block->count - 1].term > m->term) {
        return false;
    }
    bool good = true;
    struct configuration *c = NULL;
    for (size_t i = 0; i < block->count && good; i++) {
        if (block->items[i].type == ENTRY_CONFIG) {
            c = c == NULL ? mem_alloc(sizeof(*c)) : c;
            good = configuration_decode(block->items[i].data, c) == OK;
        }
    }
    mem_free(c);
    return good;
}

static void append(struct raft *r, const struct entry *e)
{
    raft_log_append(&r->log, e);
    if (e->type == ENTRY_CONFIG) {
        struct configuration *c = mem_alloc(sizeof(*c));
        enum err error = configuration_decode(e->data, c);
        ASSERT(error == OK); /* is_well_formed has looked */
        membership_append(r, e->index, c);
        mem_free(c);
    }
}

/* Fig. 2, receiver 3 and 4: drop what conflicts, append what is new. */
static void take_entries(struct raft *r, const struct entries *block)
{
    for (size_t i = 0; i < block->count; i++) {
        const struct entry *e = &block->items[i];
        if (e->index <= r->log.trimmed_index) {
            continue;
        }
        if (e->index <= r->log.last_index) {
            if (raft_log_term_at(&r->log, e->index) == e->term) {
                continue; /* have it; a shorter old message must not cut the rest (trap 15) */
            }
            ASSERT(e->index > r->commit_index);
            membership_truncate(r, e->index);
            raft_log_truncate(&r->log, e->index);
        }
        append(r, e);
    }
}

/* Where the leader should look next: our first entry of the conflicting term (Raft §5.3, end). */
static void refuse_conflict(struct raft *r, const struct raft_message *m)
{
    if (m->prev_log_index > r->log.last_index) {
        refuse(r, m, r->log.last_index + 1, 0);
        return;
    }
    /* Not below what is known to be equal: the leader would take that for an answer that comes late. */
    uint64_t equal = raft_max(r->commit_index, r->matched_index);
    uint64_t first = raft_log_run_first(&r->log, m->prev_log_index);
    refuse(r, m, raft_max(first, equal + 1), raft_log_term_at(&r->log, m->prev_log_index));
}

/* Fig. 2, receiver 2. What is committed or trimmed here is in every leader's log (§5.4.3). */
static bool prev_matches(const struct raft *r, const struct raft_message *m)
{
    if (m->prev_log_index <= r->log.trimmed_index) {
        return true;
    }
    if (m->prev_log_index > r->log.last_index) {
        return false;
    }
    bool matches = raft_log_term_at(&r->log, m->prev_log_index) == m->prev_log_term;
    ASSERT(matches || m->prev_log_index > r->commit_index);
    return matches;
}

void follower_on_append(struct raft *r, const struct raft_message *m)
{
    if (!is_well_formed(m)) {
        return;
    }
    election_leader_heard(r, m->from);
    disk_health_leader_said(r, m);
    if (!prev_matches(r, m)) {
        refuse_conflict(r, m);
        return;
    }
    uint64_t last_new = m->prev_log_index;
    if (m->entries != NULL) {
        take_entries(r, m->entries);
        last_new = entries_last_index(m->entries);
    }
    r->matched_index = raft_max(r->matched_index, last_new);
    cluster_time_heard(r, m->cluster_time_us);

    uint64_t commit = raft_min(m->leader_commit, last_new);
    bool commit_news = commit > r->commit_index;
    if (commit_news) {
        ASSERT(commit <= r->log.last_index);
        r->commit_index = commit;
        membership_commit(r);
    }
    r->leader_trim_index = raft_max(r->leader_trim_index, m->trim_index);

    /* Entries alone wait for the disk; news of a commit alone needs no answer; all else is answered with
     * the next flush, and so are these if nothing was said for a while. */
    bool silent = r->now_us >= r->last_reply_us + r->heartbeat_us / 2;
    bool repeated = last_new <= r->acked_match_index;
    bool needs_no_answer = m->entries == NULL ? commit_news && repeated : !repeated;
    if (!needs_no_answer || silent || m->read_round > r->reply_round) {
        r->reply_due = true;
    }
    r->reply_round = raft_max(r->reply_round, m->read_round);
    r->reply_sent_us = raft_max(r->reply_sent_us, m->sent_us);
}

/* Durable and equal to the leader's. While too much that is committed waits for the state machine, no
 * more than before. (Not: while too much is unapplied. A new leader commits nothing before its own
 * term's entry is acknowledged, so counting uncommitted entries would wait for itself.) */
static uint64_t acknowledgeable_index(const struct raft *r)
{
    uint64_t match = raft_min(r->log.durable_index, r->matched_index);
    uint64_t waiting = raft_log_bytes_between(&r->log, r->last_applied, r->commit_index);
    /* Nor what a snapshot brought, before the disk has switched to it (trap 46). */
    bool wait = waiting > r->uncommitted_bytes_max || raft_log_reset_pending(&r->log);
    return wait ? raft_min(match, r->acked_match_index) : match;
}

void follower_flush(struct raft *r, struct raft_effects *out)
{
    if (r->role != RAFT_FOLLOWER || r->leader == 0 || !raft_hard_state_durable(r)) {
        return;
    }
    uint64_t match = acknowledgeable_index(r);
    if (!r->reply_due && match <= r->acked_match_index) {
        return;
    }
    struct raft_message answer = {
        .type = RAFT_APPEND_REPLY,
        .to = r->leader,
        .term = r->current_term,
        .granted = true,
        .match_index = match,
        .read_round = r->reply_round,
        .sent_us = r->reply_sent_us,
        .vote_promise_us = r->vote_guard ? r->election_timeout_us : 0,
        .kv_durable_index = r->kv_durable_index,
        .flag_no_vote = r->may_not_vote,
    };
    disk_health_fill(r, &answer);
    raft_effects_send(r, out, &answer);
    r->reply_due = false;
    r->acked_match_index = raft_max(r->acked_match_index, match);
    r->acked_round = r->reply_round;
    r->last_reply_us = r->now_us;
}
