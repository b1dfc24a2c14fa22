/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_expiry.h: what the apply actor does about leases while its node leads: it proposes the end of those
 * that are due, each naming the renewal it saw, and now and then the time itself.
 *
 * In: the cluster time from raft (APPLY_CLOCK), the state machine's leases. Out: RAFT_PROPOSE that raft
 * appends only as leader. Whether an expiry is still right when it is applied is decided there, by every
 * node alike (kv/lease.c); here nothing is decided, so that what is lost or proposed twice does no harm.
 *
 * Invariants
 *  1. Nothing is proposed while this node does not lead.
 *  2. At most LEASE_EXPIRIES_MAX proposals are under way in a term.
 */
#ifndef HOLDFAST_NODE_LEASE_EXPIRY_H
#define HOLDFAST_NODE_LEASE_EXPIRY_H

#include "message.h"

#define LEASE_EXPIRIES_MAX     512               /* expiries proposed and not yet applied */
#define LEASE_PROPOSE_AGAIN_US UINT64_C(5000000) /* cluster time without one of them applied */
/* Cluster time that may pass without a stamp in the log while there are leases. It is what leases gain
 * when all nodes restart at once, and one small entry each. */
#define LEASE_CLOCK_US UINT64_C(5000000)

/* Zero-initialised: does not lead. */
struct lease_expiry {
    bool leads;
    uint64_t term;
    uint64_t cluster_time_us;   /* as heard last */
    uint64_t clock_proposed_us; /* the time when a CLOCK was last proposed */
    uint64_t progress_us;       /* ... an expiry was last proposed, or seen to be applied */
    size_t under_way;
};

/* Raft said how far cluster time is, and whether this node leads. */
void lease_expiry_clock(struct lease_expiry *k, const struct apply_clock *clock, struct kv *kv,
                        struct actor *raft);
/* Entries were applied: there may be room for more. */
void lease_expiry_applied(struct lease_expiry *k, struct kv *kv, struct actor *raft);

#endif
