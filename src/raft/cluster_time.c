/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_time.c: the clock that leases run by (design: "Leases run in cluster time"). In: the times of events,
 * acknowledgements of appends, stamps of the leader and of applied entries. Out: cluster_time_us, which
 * append_entries carry and with which proposals are stamped.
 *
 * It is no clock of the day and no node's clock: it counts how long the cluster had a leader that a quorum
 * followed. A leader stamps each append with its own clock (sent_us) and followers send the stamp back. The
 * greatest stamp that a quorum has sent back is a moment at which nobody else can have led; cluster time moves
 * by the distance from the last such moment to this one. A follower keeps the greatest time it has heard, and as
 * a leader goes on from there. So a time without a leader lengthens every lease by that time and no more.
 *
 * What was heard counts only beside a log that ends in the term of the leader who said it. A leader that has lost
 * what it had heard (it restarted) begins at the stamps it has applied, which is always right: leases last longer. But then
 * what it grants is stamped earlier than others remember, and who remembers more from a term before, and leads after it,
 * would end those leases early. Who has such a grant in its log has heard its leader; who has not, has none to end.
 * Every entry of a log that ends in a leader's term stood in that leader's log too (§5.3), and no time of that leader is
 * further from any of their stamps than the clock has moved since.
 *
 * Only one node's clock is in each difference: a stamp comes back to whom it came from, in the term it was
 * sent in, and a leader that starts anew leads in another term (trap 53).
 *
 * A leader that was stopped for a while (SIGSTOP, a moved VM) finds its followers again if they have not
 * elected another; what it slept through is counted as one election timeout at most, so that nobody's lease
 * ends because of it before its holder could speak.
 *
 * What a leader has confirmed lags behind its clock by the way to the followers and back. A deadline is counted
 * from a stamp, and if a lease were granted just before such a lag is made up for, it would end early by it. So
 * proposals are stamped with how far cluster time can be at most at this moment: as if a quorum had confirmed
 * just now, if that is less than an election timeout ago. What is confirmed later than that is not counted any more:
 * answers that grow late, each a little more, would make up step by step for what no stamp had in it, and end a lease early
 * that was granted meanwhile. That clock never runs faster than the leader's own, therefore nothing that was stamped with it comes
 * to its deadline early, whatever is confirmed afterwards and whoever leads then.
 *
 * Invariants
 *  1. cluster_time_us never falls while a node leads, and is never below the stamps it has applied.
 *  2. It moves by a node's own clock only while this node leads, and no further than a quorum has confirmed.
 *  3. Between two moments of one leadership neither it nor a later one differs from an earlier stamp by more than
 *     the time that has passed.
 */
#include "raft_internal.h"

static void learn(struct raft *r, uint64_t cluster_time_us)
{
    r->cluster_time_us = raft_max(r->cluster_time_us, cluster_time_us);
}

void cluster_time_applied(struct raft *r, uint64_t stamp_us)
{
    r->time_applied_us = raft_max(r->time_applied_us, stamp_us);
    learn(r, stamp_us);
}

/* What is known from now on is of this term; of another one nothing is left but the stamps. */
static void begin_term(struct raft *r, uint64_t known_term)
{
    if (r->time_term != known_term) {
        r->cluster_time_us = r->time_applied_us;
    }
    r->time_term = r->current_term;
}

void cluster_time_heard(struct raft *r, uint64_t cluster_time_us)
{
    if (raft_log_last_term(&r->log) == r->current_term) {
        begin_term(r, r->current_term);
        learn(r, cluster_time_us);
    }
}

void cluster_time_start(struct raft *r)
{
    ASSERT(raft_log_last_term(&r->log) < r->current_term);
    begin_term(r, raft_log_last_term(&r->log));
    r->time_confirmed_us = 0;
    r->time_since_us = r->now_us;
    r->time_own_us = r->cluster_time_us;
}

static uint64_t confirmed_of(void *context, uint64_t id)
{
    const struct raft *r = context;
    if (id == r->id) {
        return r->now_us;
    }
    const struct progress *p = replication_find(r, id);
    return p == NULL ? 0 : p->acked_sent_us;
}

void cluster_time_flush(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    /* What is longer ago than a stamp reaches ahead is lost, whoever confirms it yet: it was not in the stamps. */
    if (r->time_confirmed_us != 0 && r->now_us > r->election_timeout_us) {
        r->time_confirmed_us = raft_max(r->time_confirmed_us, r->now_us - r->election_timeout_us);
    }
    uint64_t confirmed = configuration_quorum_value(membership_current(r), confirmed_of, r);
    if (confirmed <= r->time_confirmed_us) {
        return;
    }
    /* The first moment of a leadership only says where to count from. */
    if (r->time_confirmed_us != 0) {
        uint64_t passed = confirmed - r->time_confirmed_us;
        r->time_own_us += raft_min(passed, r->election_timeout_us);
        /* Not added to what was learned from stamps: they have this leader's own time in them. */
        learn(r, r->time_own_us);
    }
    r->time_confirmed_us = confirmed;
}

uint64_t raft_stamp_us(const struct raft *r, uint64_t now_us)
{
    ASSERT(r->role == RAFT_LEADER);
    uint64_t from = r->time_confirmed_us != 0 ? r->time_confirmed_us : r->time_since_us;
    uint64_t ahead = now_us > from ? raft_min(now_us - from, r->election_timeout_us) : 0;
    return raft_max(r->cluster_time_us, r->time_own_us + ahead);
}

/* Who is alone sends no heartbeats whose ticks would move its time on. */
uint64_t cluster_time_deadline_us(const struct raft *r)
{
    return r->progress_count > 0 ? UINT64_MAX : r->time_confirmed_us + r->heartbeat_us;
}
