/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_health.c: whether the members' disks work and have room, and what a leader does whose own does not work.
 * In: the times at which persists were handed out and became DURABLE, SPACE from the node, and what append_entries
 * and append replies say of their senders' disks. Out: a transfer of the lead, at worst its end; no candidacy
 * while the disk hangs; one word for the whole cluster on whether there is room for more.
 *
 * A leader replicates beside its own write (Thesis §10.2.1), so its cluster commits on while its disk hangs,
 * and heartbeats need no disk at all: without more it would lead for ever, and nobody who asked it would ever
 * hear of his write, because entries are applied only when durable here. Were heartbeats to wait for the disk, every
 * slow sync would be an election (trap 49). So being alive and having a disk are told apart: every append and every
 * reply carries the age of the sender's oldest write that is not durable yet.
 *
 * A leader whose own is older than disk_stall_us gives way, if without it a majority is left that is heard and whose
 * disks work: first by a transfer, and if that has come to nothing by ceasing to lead. Without such a
 * majority nobody would do better, and it stays. A disk counts as working when its oldest write is younger
 * than half of disk_stall_us, so that the lead does not wander between two disks that are equally bad.
 *
 * Time during which this node did not run is not the disk's (trap 9): an event that comes an election timeout later than
 * was asked for begins the age of what is outstanding anew.
 *
 * Room: a write that grows the store is refused where it enters, by the node that was asked. It must
 * know of every voter, because a follower without room is as stuck as a leader: followers tell the leader, the leader
 * tells all. Who has not been heard for an election timeout counts for nothing. Here this is one flag that goes
 * through; what it means, and how much room is enough, is the node's business.
 *
 * Invariants
 *  1. The ring holds exactly the persists handed out and not yet durable, in order.
 *  2. Nothing here touches the log, the term or a vote, but by transfer.c and election.c.
 */
#include "raft_internal.h"

void disk_health_step(struct raft *r, uint64_t now_us)
{
    struct disk_health *d = &r->disk;
    if (now_us > d->expected_us && now_us - d->expected_us >= r->election_timeout_us) {
        d->slept_until_us = now_us;
    }
}

void disk_health_stepped(struct raft *r, uint64_t deadline_us)
{
    r->disk.expected_us = deadline_us;
}

void disk_health_handed(struct raft *r, uint64_t sequence)
{
    struct disk_health *d = &r->disk;
    ASSERT(d->count < PERSISTS_OUTSTANDING_MAX);
    d->handed[(d->start + d->count++) % PERSISTS_OUTSTANDING_MAX] =
        (struct disk_handed){.sequence = sequence, .handed_us = r->now_us};
}

void disk_health_durable(struct raft *r, uint64_t sequence)
{
    struct disk_health *d = &r->disk;
    while (d->count > 0 && d->handed[d->start].sequence <= sequence) {
        d->start = (d->start + 1) % PERSISTS_OUTSTANDING_MAX;
        d->count--;
    }
}

uint64_t disk_health_age_us(const struct raft *r)
{
    const struct disk_health *d = &r->disk;
    if (d->count == 0) {
        return 0;
    }
    uint64_t since = raft_max(d->handed[d->start].handed_us, d->slept_until_us);
    return r->now_us > since ? r->now_us - since : 0;
}

bool disk_health_hangs(const struct raft *r)
{
    return r->disk.stall_us != 0 && disk_health_age_us(r) >= r->disk.stall_us;
}

/* ---- what others say --------------------------------------------------------------------------------- */

void disk_health_fill(const struct raft *r, struct raft_message *m)
{
    m->disk_age_us = disk_health_age_us(r);
    m->flag_low_space =
        m->type == RAFT_APPEND_ENTRIES ? disk_health_cluster_is_low(r) : r->disk.low_space;
}

void disk_health_leader_said(struct raft *r, const struct raft_message *m)
{
    r->disk.leader_age_us = m->disk_age_us;
    r->disk.leader_says_low = m->flag_low_space;
}

void disk_health_member_said(struct progress *p, const struct raft_message *m)
{
    p->disk_age_us = m->disk_age_us;
    p->low_space = m->flag_low_space;
}

bool disk_health_works(const struct raft *r, const struct progress *p)
{
    return r->disk.stall_us == 0 || p->disk_age_us < r->disk.stall_us / 2;
}

static bool is_heard(const struct raft *r, const struct progress *p)
{
    return r->now_us - p->last_heard_us < r->election_timeout_us;
}

bool disk_health_cluster_is_low(const struct raft *r)
{
    const struct configuration *c = membership_current(r);
    bool low = r->disk.low_space && configuration_is_voter(c, r->id);
    if (r->role != RAFT_LEADER) {
        return low || r->disk.leader_says_low;
    }
    for (size_t i = 0; i < r->progress_count; i++) {
        const struct progress *p = &r->progress[i];
        low = low || (p->low_space && is_heard(r, p) && configuration_is_voter(c, p->id));
    }
    return low;
}

/* ---- giving way ----------------------------------------------------------------------------------------- */

static bool is_other_that_works(void *context, uint64_t id)
{
    const struct raft *r = context;
    const struct progress *p = id == r->id ? NULL : replication_find(r, id);
    return p != NULL && !p->no_vote && is_heard(r, p) && disk_health_works(r, p);
}

bool disk_health_flush(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    if (!disk_health_hangs(r)) {
        r->disk.transfer_tried = false;
        return false;
    }
    if (r->transfer_target != 0 ||
        !configuration_has_quorum(membership_current(r), is_other_that_works, r)) {
        return false;
    }
    if (r->disk.transfer_tried) {
        return true; /* it came to nothing */
    }
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .now_us = r->now_us};
    transfer_request(r, &event);
    r->disk.transfer_tried = true;
    return event.transfer.error != OK; /* they work, but none is known to be ready: let them see */
}
