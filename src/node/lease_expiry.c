/* SPDX-License-Identifier: Apache-2.0 */
/* lease_expiry.c: see lease_expiry.h. */
#include "lease_expiry.h"

static void propose_due(struct lease_expiry *k, struct kv *kv, struct actor *raft)
{
    struct lease_due due[LEASE_EXPIRIES_MAX];
    size_t under_way = kv_leases_taken(kv);
    if (under_way < k->under_way) {
        k->progress_us = k->cluster_time_us;
    } else if (under_way > 0 && k->cluster_time_us - k->progress_us > LEASE_PROPOSE_AGAIN_US) {
        kv_leases_untake(kv); /* raft refused them: too much was under way */
        under_way = 0;
    }
    size_t count = 0;
    if (under_way < LEASE_EXPIRIES_MAX) {
        count = kv_leases_take_due(kv, k->cluster_time_us, due, LEASE_EXPIRIES_MAX - under_way);
    }
    for (size_t i = 0; i < count; i++) {
        const struct command expire = {
            .op = COMMAND_LEASE_EXPIRE, .lease_id = due[i].id, .deadline_us = due[i].deadline_us};
        propose_as_leader(raft, &expire);
        k->progress_us = k->cluster_time_us;
    }
    k->under_way = under_way + count;
}

/* A restart of all nodes goes on from the greatest stamp that was applied. */
static void propose_clock(struct lease_expiry *k, const struct kv *kv, struct actor *raft)
{
    uint64_t stamped_us = kv_cluster_time_us(kv);
    if (stamped_us < k->clock_proposed_us) {
        stamped_us = k->clock_proposed_us;
    }
    if (kv_lease_count(kv) == 0 || k->cluster_time_us < stamped_us + LEASE_CLOCK_US) {
        return;
    }
    const struct command clock = {.op = COMMAND_CLOCK};
    propose_as_leader(raft, &clock);
    k->clock_proposed_us = k->cluster_time_us;
}

void lease_expiry_clock(struct lease_expiry *k, const struct apply_clock *clock, struct kv *kv,
                        struct actor *raft)
{
    if (!clock->leads || !k->leads || clock->term != k->term) {
        /* What an earlier leadership proposed may have been lost with it. */
        kv_leases_untake(kv);
        *k = (struct lease_expiry){.leads = clock->leads, .term = clock->term};
        k->progress_us = clock->cluster_time_us;
    }
    k->cluster_time_us = clock->cluster_time_us;
    if (k->leads) {
        propose_due(k, kv, raft);
        propose_clock(k, kv, raft);
    }
}

void lease_expiry_applied(struct lease_expiry *k, struct kv *kv, struct actor *raft)
{
    if (k->leads) {
        propose_due(k, kv, raft);
    }
}
