/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leader_lease.c: reads that the leader answers without asking anybody. In: acknowledgements, which echo when the
 * append that they answer was sent. Out: whether this node can be sure, by its clock alone, that nobody else leads.
 * Thesis §6.4.1. Off by default; rounds (read_index.c) need no clock.
 *
 * Whoever acknowledges an append votes for nobody for an election timeout afterwards (election_is_sticky, with
 * vote_guard also across a restart and across a higher term that it hears of), but at the wish of the leader. How long
 * that is by its own setting it says with the acknowledgement; who says nothing promises nothing. So after a quorum has
 * acknowledged appends sent at S or later nobody else is elected before S + the shortest of their promises, by the
 * slowest of those clocks. The lease is three quarters of that by our own clock, and never more than of our own
 * election timeout: two clocks of which one is a
 * seventh too fast and the other a seventh too slow still agree (trap 35). It starts when the append was sent, not when
 * the answer came. now_us comes from CLOCK_BOOTTIME, which goes on in suspend; it is read after the reads were taken
 * from the queue, so a process that is stopped in between finds its lease over.
 *
 * What it relies on, and nothing can check: clocks within that bound, a clock that does not stand still while
 * others' go on (some hypervisors stop all clocks of a paused machine), and that nobody comes back with a shorter
 * election timeout while what it promised with the longer one still counts.
 *
 * Invariants
 *  1. Once timeout_now has been said there is no lease in this term any more (trap 34): it may arrive late.
 *  2. Who does not vote in the configuration in force has no lease: the voters it leads may do without it.
 *  3. A damaged member's acknowledgement does not count (trap 22).
 */
#include "raft_internal.h"

void leader_lease_start(struct raft *r)
{
    r->lease_given_up = false;
}

void leader_lease_give_up(struct raft *r)
{
    r->lease_given_up = true;
}

/* Until when, by our clock and with room for both clocks' errors, the member has promised to vote for nobody else. */
static uint64_t promised_of(void *context, uint64_t id)
{
    const struct raft *r = context;
    if (id == r->id) {
        return UINT64_MAX;
    }
    const struct progress *p = replication_find(r, id);
    if (p == NULL || p->acked_sent_us == 0) {
        return 0;
    }
    uint64_t promise_us =
        p->vote_promise_us < r->election_timeout_us ? p->vote_promise_us : r->election_timeout_us;
    return p->acked_sent_us + promise_us / 4 * LEASE_PARTS;
}

bool leader_lease_holds(struct raft *r)
{
    if (!r->leader_lease || r->role != RAFT_LEADER || r->lease_given_up || r->may_not_vote ||
        !configuration_is_voter(membership_current(r), r->id)) {
        return false;
    }
    return r->now_us < configuration_quorum_value(membership_current(r), promised_of, r);
}
