/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft.c: raft_step, one switch over events, and raft_flush, which turns what a batch of events
 * changed into effects. Also the outbox of messages that wait for the disk. Raft Fig. 2.
 *
 * In: an event. Out: effects. Deliberately not here: any rule of the paper; those live in the files
 * named after its sections.
 *
 * Invariants
 *  1. Only FLUSH writes to the effects (and every step the deadline and state_changed).
 *  2. A message leaves the outbox only when the hard state it was written under is on disk, and
 *     never if its term is over.
 */
#include "raft_internal.h"

uint64_t raft_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t raft_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

const char *raft_role_text(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER:
        return "follower";
    case RAFT_PRE_CANDIDATE:
        return "pre_candidate";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEADER:
        return "leader";
    }
    return "unknown";
}

/* ---- effects ---------------------------------------------------------------------------------------- */

void raft_effects_clear(struct raft_effects *out)
{
    entries_free(&out->persist.entries);
    for (size_t i = 0; i < out->send_count; i++) {
        raft_message_free(&out->sends[i]);
    }
    entries_free(&out->apply);
    struct raft_message *sends = out->sends;
    size_t send_capacity = out->send_capacity;
    struct raft_read_answer *reads = out->reads;
    size_t read_capacity = out->read_capacity;
    uint64_t *wanted = out->snapshots_wanted;
    size_t wanted_capacity = out->snapshot_wanted_capacity;
    memset(out, 0, sizeof(*out));
    out->sends = sends;
    out->send_capacity = send_capacity;
    out->reads = reads;
    out->read_capacity = read_capacity;
    out->snapshots_wanted = wanted;
    out->snapshot_wanted_capacity = wanted_capacity;
}

void raft_effects_release(struct raft_effects *out)
{
    raft_effects_clear(out);
    mem_free(out->sends);
    mem_free(out->reads);
    mem_free(out->snapshots_wanted);
    memset(out, 0, sizeof(*out));
}

void raft_effects_send(struct raft *r, struct raft_effects *out, const struct raft_message *m)
{
    ARRAY_RESERVE(out->sends, out->send_capacity, out->send_count + 1);
    struct raft_message *sent = &out->sends[out->send_count++];
    *sent = *m;
    sent->from = r->id;
}

/* ---- outbox ------------------------------------------------------------------------------------------ */

bool raft_hard_state_durable(const struct raft *r)
{
    return !r->hard_state_dirty && r->log.durable_sequence >= r->hard_state_sequence;
}

void raft_outbox_push(struct raft *r, const struct raft_message *m)
{
    ASSERT(m->entries == NULL);
    if (r->outbox_count == OUTBOX_MAX) {
        /* The disk is stuck. Losing the oldest is what a network may do at any time. */
        r->outbox_start = (r->outbox_start + 1) % OUTBOX_MAX;
        r->outbox_count--;
    }
    struct held_message *held = &r->outbox[(r->outbox_start + r->outbox_count++) % OUTBOX_MAX];
    held->message = *m;
    held->message.from = r->id;
    held->gate = r->hard_state_dirty ? r->log.persist_sequence + 1 : r->hard_state_sequence;
}

/* A pre-vote's term is the one its sender would take, so it does not grow old the same way. */
static bool is_over(const struct raft *r, const struct raft_message *m)
{
    bool pre_vote = m->type == RAFT_REQUEST_PRE_VOTE || m->type == RAFT_PRE_VOTE_REPLY;
    return !pre_vote && m->term < r->current_term;
}

static void outbox_flush(struct raft *r, struct raft_effects *out)
{
    /* Gates rise with the order of pushing, so the first held one holds all behind it. */
    while (r->outbox_count > 0) {
        const struct held_message *held = &r->outbox[r->outbox_start];
        if (held->gate > r->log.durable_sequence) {
            break;
        }
        if (!is_over(r, &held->message)) {
            raft_effects_send(r, out, &held->message);
        }
        r->outbox_start = (r->outbox_start + 1) % OUTBOX_MAX;
        r->outbox_count--;
    }
}

/* ---- flush -------------------------------------------------------------------------------------------- */

static void persist_flush(struct raft *r, struct raft_effects *out)
{
    bool news = r->hard_state_dirty || r->log.truncate_from != 0 || r->log.reset_waiting ||
                r->log.handed_index < r->log.last_index;
    if (!news || out->has_persist || r->log.pending_count == PERSISTS_OUTSTANDING_MAX) {
        return;
    }
    struct raft_persist *p = &out->persist;
    raft_log_hand_out(&r->log, p);
    p->current_term = r->current_term;
    p->voted_for = r->voted_for;
    p->may_not_vote = r->may_not_vote;
    out->has_persist = true;
    disk_health_handed(r, p->sequence);
    if (r->hard_state_dirty) {
        r->hard_state_dirty = false;
        r->hard_state_sequence = p->sequence;
    }
}

/* Committed and durable here, and no more than apply_bytes_max beyond what is applied. */
static void apply_flush(struct raft *r, struct raft_effects *out)
{
    uint64_t through = raft_min(r->commit_index, r->log.durable_index);
    if (out->apply != NULL || through <= r->apply_handed_index || raft_log_reset_pending(&r->log)) {
        return;
    }
    uint64_t outstanding = raft_log_bytes_between(&r->log, r->last_applied, r->apply_handed_index);
    if (outstanding >= r->apply_bytes_max) {
        return;
    }
    uint64_t last =
        raft_log_fit(&r->log, r->apply_handed_index, through, r->apply_bytes_max - outstanding);
    out->apply = raft_log_slice(&r->log, r->apply_handed_index + 1, last);
    r->apply_handed_index = last;
}

/* Trap 22: the damaged node's durable log covers a read index it obtained after its start, so it has
 * again whatever it may have promised before. */
static void heal_flush(struct raft *r)
{
    if (r->may_not_vote && !raft_log_reset_pending(&r->log) &&
        raft_min(r->log.durable_index, r->commit_index) >= r->heal_index) {
        r->may_not_vote = false;
        r->hard_state_dirty = true;
    }
}

static void flush(struct raft *r, struct raft_effects *out)
{
    election_promise_flush(r);
    election_flush(r);
    if (r->role == RAFT_LEADER) {
        replication_advance_commit(r);
        change_flush(r);
        cluster_time_flush(r);
    }
    heal_flush(r);
    read_index_flush(r, out);
    persist_flush(r, out);
    outbox_flush(r, out);
    if (r->role == RAFT_LEADER) {
        replication_flush(r, out);
        bool gives_way = disk_health_flush(r);
        transfer_flush(r, out);
        if (gives_way || change_leader_is_out(r)) {
            /* Only now: the commit of what ends its leadership has been sent (Raft §6, trap 41). */
            transfer_leave(r, out);
            election_become_follower(r, r->current_term, 0);
        }
    } else {
        follower_flush(r, out);
    }
    apply_flush(r, out);
    snapshot_trim_flush(r, out);
    raft_log_evict(&r->log, raft_min(r->last_applied, r->log.durable_index), r->cache_bytes_max);
}

/* ---- received ------------------------------------------------------------------------------------------ */

/* A message of a term before ours: say so where it helps the sender out of a dead end (trap 4). */
static void received_old(struct raft *r, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_REQUEST_PRE_VOTE:
    case RAFT_REQUEST_VOTE:
        election_on_request(r, m);
        break;
    case RAFT_APPEND_ENTRIES:
        follower_refuse_old_term(r, m);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        snapshot_refuse_old_term(r, m);
        break;
    case RAFT_READ_INDEX:
        read_index_on_request(r, m);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
    case RAFT_APPEND_REPLY:
    case RAFT_READ_INDEX_REPLY:
    case RAFT_INSTALL_SNAPSHOT_REPLY:
    case RAFT_TIMEOUT_NOW: /* late: what it spoke of is over (trap 50) */
    case RAFT_FORWARD:
    case RAFT_FORWARD_REFUSED:
    case RAFT_MEMBERS:
    case RAFT_MEMBERS_REPLY:
        break;
    }
}

static void received(struct raft *r, const struct raft_message *m, struct raft_effects *out)
{
    if (m->to != r->id || m->from == r->id || m->from == 0) {
        return; /* meant for another incarnation, or nonsense */
    }
    bool asks = m->type == RAFT_REQUEST_PRE_VOTE || m->type == RAFT_REQUEST_VOTE;
    if (asks && configuration_was_removed(membership_settled(r), m->from)) {
        election_refuse_removed(r, m);
        return;
    }
    if (m->flag_removed) {
        election_told_removed(r);
        return;
    }
    /* A pre-vote speaks of a term nobody has yet: neither the request nor a grant moves ours. */
    bool hypothetical =
        m->type == RAFT_REQUEST_PRE_VOTE || (m->type == RAFT_PRE_VOTE_REPLY && m->granted);
    if (m->term < r->current_term) {
        received_old(r, m);
        return;
    }
    if (!hypothetical && m->term > r->current_term) {
        if (m->type == RAFT_REQUEST_VOTE && election_is_sticky(r, m)) {
            return;
        }
        election_become_follower(r, m->term, 0);
    }
    switch (m->type) {
    case RAFT_REQUEST_PRE_VOTE:
    case RAFT_REQUEST_VOTE:
        election_on_request(r, m);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        election_on_reply(r, m);
        break;
    case RAFT_APPEND_ENTRIES:
        follower_on_append(r, m);
        break;
    case RAFT_APPEND_REPLY:
        replication_on_reply(r, m);
        break;
    case RAFT_READ_INDEX:
        read_index_on_request(r, m);
        break;
    case RAFT_READ_INDEX_REPLY:
        read_index_on_reply(r, m, out);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        snapshot_on_install(r, m);
        break;
    case RAFT_INSTALL_SNAPSHOT_REPLY:
        snapshot_on_install_reply(r, m);
        break;
    case RAFT_TIMEOUT_NOW:
        transfer_on_timeout_now(r, m);
        break;
    case RAFT_FORWARD:
    case RAFT_FORWARD_REFUSED:
    case RAFT_MEMBERS:
    case RAFT_MEMBERS_REPLY:
        break; /* between raft actors; the core has no part in it */
    }
}

/* ---- step ----------------------------------------------------------------------------------------------- */

static void applied(struct raft *r, uint64_t index)
{
    ASSERT(index <= r->apply_handed_index);
    r->last_applied = raft_max(r->last_applied, index);
}

static void report_change(struct raft *r, struct raft_effects *out)
{
    struct raft_reported now = {
        .role = r->role,
        .current_term = r->current_term,
        .leader = r->leader,
        .configuration_index = membership_current_index(r),
        .settled_index = r->configurations[0].index,
        .may_not_vote = r->may_not_vote,
        .removed = membership_is_removed(r),
        .transfer_target = r->transfer_target,
        .disk_hangs = disk_health_hangs(r),
        .low_space = r->disk.low_space,
        .cluster_low_space = disk_health_cluster_is_low(r),
        .valid = true,
    };
    const struct raft_reported *was = &r->reported;
    if (!was->valid || was->role != now.role || was->current_term != now.current_term ||
        was->leader != now.leader || was->configuration_index != now.configuration_index ||
        was->settled_index != now.settled_index || was->removed != now.removed ||
        was->transfer_target != now.transfer_target || was->may_not_vote != now.may_not_vote ||
        was->disk_hangs != now.disk_hangs || was->low_space != now.low_space ||
        was->cluster_low_space != now.cluster_low_space) {
        out->state_changed = true;
        r->reported = now;
    }
}

static uint64_t next_deadline(const struct raft *r)
{
    uint64_t at = read_index_deadline_us(r);
    if (r->role == RAFT_LEADER) {
        at = raft_min(at, replication_deadline_us(r));
        at = raft_min(at, cluster_time_deadline_us(r));
        at = raft_min(at, transfer_deadline_us(r));
    } else if (election_may_campaign(r)) {
        at = raft_min(at, r->election_deadline_us);
    }
    return at;
}

void raft_step(struct raft *r, struct raft_event *event, struct raft_effects *out)
{
    /* Time that stood still for us (SIGSTOP, a moved VM) says nothing about the others (trap 9). */
    if (event->now_us >= r->now_us + r->election_timeout_us) {
        r->stall_end_us = event->now_us;
    }
    disk_health_step(r, event->now_us);
    r->now_us = raft_max(r->now_us, event->now_us);

    switch (event->type) {
    case RAFT_EVENT_TICK:
        election_tick(r);
        break;
    case RAFT_EVENT_RECEIVED:
        received(r, event->received, out);
        raft_message_free(event->received);
        break;
    case RAFT_EVENT_PROPOSE:
        replication_propose(r, event);
        break;
    case RAFT_EVENT_READ:
        event->read.batch = read_index_join(r);
        break;
    case RAFT_EVENT_DURABLE:
        raft_log_durable(&r->log, event->sequence);
        disk_health_durable(r, event->sequence);
        r->commit_stale = true;
        break;
    case RAFT_EVENT_APPLIED:
        applied(r, event->index);
        cluster_time_applied(r, event->cluster_time_us);
        break;
    case RAFT_EVENT_KV_DURABLE:
        r->kv_durable_index = raft_max(r->kv_durable_index, event->index);
        break;
    case RAFT_EVENT_LOG_ENTRIES:
        replication_on_log_entries(r, event->log_entries.from_index, &event->log_entries.entries);
        break;
    case RAFT_EVENT_PEER_UP:
        election_peer_up(r, event->peer);
        replication_peer_up(r, event->peer);
        read_index_peer_up(r, event->peer);
        break;
    case RAFT_EVENT_PEER_DOWN:
        replication_peer_down(r, event->peer);
        break;
    case RAFT_EVENT_BOOTSTRAP:
        membership_bootstrap(r, event->configuration);
        election_tick(r);
        break;
    case RAFT_EVENT_CHANGE_CONFIGURATION:
        change_request(r, event);
        break;
    case RAFT_EVENT_SNAPSHOT_READY:
        snapshot_on_ready(r, event);
        break;
    case RAFT_EVENT_SNAPSHOT_SENT:
        snapshot_on_sent(r, event->snapshot_sent.member, event->snapshot_sent.installed);
        break;
    case RAFT_EVENT_SNAPSHOT_INSTALLED:
        snapshot_on_installed(r, event);
        break;
    case RAFT_EVENT_TRANSFER:
        transfer_request(r, event);
        break;
    case RAFT_EVENT_SPACE:
        r->disk.low_space = event->low_space;
        break;
    case RAFT_EVENT_FLUSH:
        flush(r, out);
        break;
    }
    report_change(r, out);
    out->deadline_us = next_deadline(r);
    disk_health_stepped(r, out->deadline_us);
#ifdef HOLDFAST_CHECK_SLOW
    raft_check(r);
#endif
}

/* ---- life --------------------------------------------------------------------------------------------------- */

struct raft *raft_create(const struct raft_boot *boot)
{
    ASSERT(boot->id != 0);
    ASSERT(boot->election_timeout_ms > 0);
    ASSERT(boot->heartbeat_ms > 0);
    ASSERT(boot->heartbeat_ms < boot->election_timeout_ms);
    ASSERT(boot->append_bytes_max > 0);
    ASSERT(boot->window_bytes > 0);
    ASSERT(boot->apply_bytes_max > 0);
    ASSERT(boot->uncommitted_bytes_max > 0);
    /* Only a damaged node may have applied more than its log still holds. */
    ASSERT(boot->applied_index <= boot->last_log_index || boot->may_not_vote);
    ASSERT(boot->applied_index >= boot->trimmed_index);

    struct raft *r = mem_zalloc(sizeof(*r));
    r->id = boot->id;
    r->election_timeout_us = (uint64_t)boot->election_timeout_ms * 1000;
    r->heartbeat_us = (uint64_t)boot->heartbeat_ms * 1000;
    r->disk.stall_us = (uint64_t)boot->disk_stall_ms * 1000;
    r->disk.expected_us = boot->now_us;
    r->leader_lease = boot->leader_lease;
    r->vote_guard = boot->vote_guard;
    r->window_bytes = boot->window_bytes;
    r->append_bytes_max = boot->append_bytes_max;
    r->cache_bytes_max = boot->cache_bytes_max;
    r->uncommitted_bytes_max = boot->uncommitted_bytes_max;
    r->apply_bytes_max = boot->apply_bytes_max;
    r->trim_slack_entries = LOG_TRIM_SLACK_ENTRIES;
    r->trim_step_entries = LOG_TRIM_STEP_ENTRIES;
    r->random = boot->seed;
    r->now_us = boot->now_us;
    r->current_term = boot->current_term;
    r->voted_for = boot->voted_for;
    r->may_not_vote = boot->may_not_vote;
    r->hard_state_sequence = boot->last_persist_sequence;
    raft_log_init(&r->log, boot);
    ASSERT(raft_log_last_term(&r->log) <= r->current_term);

    /* What the KV table holds durably was committed. But a damaged log may hold other entries at
     * those places than the ones that were applied, so there nothing is taken as committed. */
    r->commit_index = boot->may_not_vote ? boot->trimmed_index : boot->applied_index;
    r->last_applied = boot->applied_index;
    r->apply_handed_index = boot->applied_index;
    r->boot_applied_index = boot->applied_index;
    r->kv_durable_index = boot->applied_index;
    r->heal_index = UINT64_MAX;
    cluster_time_applied(r, boot->cluster_time_us);

    membership_init(r, boot);
    membership_commit(r);
    election_init(r, boot->last_persist_sequence > 0);
    read_index_init(r);
    struct entries *tail = boot->tail;
    entries_free(&tail);
    return r;
}

void raft_destroy(struct raft **r)
{
    if (*r == NULL) {
        return;
    }
    replication_stop(*r);
    membership_release(*r);
    raft_log_release(&(*r)->log);
    mem_free(*r);
    *r = NULL;
}

void raft_status(const struct raft *r, struct raft_status *out)
{
    *out = (struct raft_status){
        .id = r->id,
        .current_term = r->current_term,
        .voted_for = r->voted_for,
        .leader = r->leader,
        .role = r->role,
        .commit_index = r->commit_index,
        .last_applied = r->last_applied,
        .last_log_index = r->log.last_index,
        .durable_index = r->log.durable_index,
        .first_log_index = r->log.trimmed_index + 1,
        .configuration_index = membership_current_index(r),
        .configuration_settled_index = r->configurations[0].index,
        .removed = membership_is_removed(r),
        .transfer_target = r->transfer_target,
        .cluster_time_us = r->cluster_time_us,
        .may_not_vote = r->may_not_vote,
        .term_committed = r->role == RAFT_LEADER && r->commit_index >= r->term_first_index,
        .disk_age_us = disk_health_age_us(r),
        .leader_disk_age_us =
            r->role == RAFT_LEADER ? disk_health_age_us(r) : r->disk.leader_age_us,
        .disk_hangs = disk_health_hangs(r),
        .low_space = r->disk.low_space,
        .cluster_low_space = disk_health_cluster_is_low(r),
        .read_batches_waiting = r->read_count + (r->open_read_count > 0 ? 1 : 0),
        .uncommitted_bytes = raft_log_bytes_between(&r->log, r->commit_index, r->log.last_index),
        .cache_bytes = raft_log_bytes_between(&r->log, r->log.memory_first - 1, r->log.last_index),
    };
}
