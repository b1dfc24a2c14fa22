/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c: what the core knows of snapshots: who needs one, what of the log stays while it is sent, and how a log
 * begins anew behind one. In: refusals at the log's start, news of the node's helpers that make, send and receive
 * files. Out: snapshots_wanted, a persist with reset_index. Raft §7.
 *
 * The octets are not here. The node makes a file, sends it in chunks (install_snapshot) and writes it; the core
 * tells for whom, goes on with heartbeats meanwhile, and keeps the log from the snapshot's index on, so that the
 * receiver can be fed from where the snapshot ends (trap 48). At the receiver the whole file is durable under a
 * name of its own before SNAPSHOT_INSTALLED; the persist that follows switches to it and to the log's new start in
 * one transaction, and until that is durable this node acknowledges nothing new and applies nothing (trap 46).
 *
 * The log is kept for members that lag, up to log_keep_bytes: beyond it a member that lacks what goes will get a
 * snapshot instead of holding everybody's disk for ever. While a snapshot is on its way the log behind its index
 * may grow to LOG_KEEP_FACTOR times that; then it is given up, and the receiver will need another.
 *
 * Invariants
 *  1. A log never begins anew at or below commit_index: an old snapshot changes nothing (trap 47).
 *  2. What follows the snapshot's last entry and agrees with it is kept (trap 47).
 *  3. No trim passes the index of a snapshot that is being made or sent, up to the bound above.
 */
#include "raft_internal.h"

/* ---- the leader's side ----------------------------------------------------------------------------- */

void snapshot_begin(struct raft *r, struct progress *p)
{
    p->state = PROGRESS_SNAPSHOT;
    p->snapshot_said = false;
    p->snapshot_ready = false;
    /* It will hold at least what is durable now. */
    p->snapshot_index = r->kv_durable_index;
}

void snapshot_wanted_flush(struct raft *r, struct raft_effects *out)
{
    for (size_t i = 0; i < r->progress_count; i++) {
        struct progress *p = &r->progress[i];
        if (p->state == PROGRESS_SNAPSHOT && !p->snapshot_said) {
            p->snapshot_said = true;
            ARRAY_RESERVE(out->snapshots_wanted, out->snapshot_wanted_capacity,
                          out->snapshot_wanted_count + 1);
            out->snapshots_wanted[out->snapshot_wanted_count++] = p->id;
        }
    }
}

static struct progress *receiver(const struct raft *r, uint64_t member)
{
    struct progress *p = r->role == RAFT_LEADER ? replication_find(r, member) : NULL;
    return p != NULL && p->state == PROGRESS_SNAPSHOT ? p : NULL;
}

void snapshot_on_ready(struct raft *r, struct raft_event *event)
{
    struct progress *p = receiver(r, event->snapshot_ready.member);
    uint64_t index = event->snapshot_ready.index;
    bool fits = p != NULL && index >= r->log.trimmed_index && index <= r->commit_index;
    event->snapshot_ready.error = p == NULL ? ERR_NOT_FOUND : fits ? OK : ERR_INVALID;
    if (fits) {
        p->snapshot_ready = true;
        p->snapshot_index = index;
    }
}

void snapshot_on_sent(struct raft *r, uint64_t member, bool installed)
{
    struct progress *p = receiver(r, member);
    if (p == NULL) {
        return;
    }
    uint64_t next = r->log.trimmed_index + 1;
    if (installed && p->snapshot_ready) {
        next = raft_max(next, p->snapshot_index + 1);
    }
    p->snapshot_retry_us = r->now_us + r->election_timeout_us;
    replication_probe_at(p, next);
}

/* ---- how much of the log stays ------------------------------------------------------------------------ */

/* Whatever may go of it as far as this node's own table is concerned. */
static uint64_t own_safe_index(const struct raft *r)
{
    uint64_t safe = raft_min(r->kv_durable_index, r->last_applied);
    safe = raft_min(safe, r->commit_index);
    return raft_min(safe, r->log.durable_index);
}

void snapshot_trim_flush(struct raft *r, struct raft_effects *out)
{
    if (raft_log_reset_pending(&r->log)) {
        return;
    }
    uint64_t go = raft_max(r->leader_trim_index, raft_log_keep_after(&r->log, 1));
    for (size_t i = 0; i < r->progress_count; i++) {
        const struct progress *p = &r->progress[i];
        if (p->state == PROGRESS_SNAPSHOT) {
            /* The bound is a matter of the disk and comes first. */
            uint64_t held =
                raft_max(p->snapshot_index, raft_log_keep_after(&r->log, LOG_KEEP_FACTOR));
            go = raft_min(go, held);
        }
    }
    go = raft_min(go, own_safe_index(r));
    if (go < r->log.trimmed_index + r->trim_slack_entries + r->trim_step_entries) {
        return;
    }
    out->trim_index = go - r->trim_slack_entries;
    raft_log_trim(&r->log, out->trim_index);
}

/* ---- the receiver's side --------------------------------------------------------------------------------- */

/* A chunk came. The core only hears that the leader lives; a refusal tells a former one our term. */
void snapshot_on_install(struct raft *r, const struct raft_message *m)
{
    election_leader_heard(r, m->from);
}

void snapshot_refuse_old_term(struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = {
        .type = RAFT_INSTALL_SNAPSHOT_REPLY,
        .to = m->from,
        .term = r->current_term,
        .last_included_index = m->last_included_index,
        .last_included_term = m->last_included_term,
        .granted = false,
    };
    raft_outbox_push(r, &answer);
}

void snapshot_on_install_reply(struct raft *r, const struct raft_message *m)
{
    struct progress *p = r->role == RAFT_LEADER ? replication_find(r, m->from) : NULL;
    if (p != NULL) {
        p->last_heard_us = r->now_us;
    }
}

void snapshot_on_installed(struct raft *r, struct raft_event *event)
{
    uint64_t index = event->snapshot_installed.index;
    uint64_t term = event->snapshot_installed.term;
    bool follows = r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE;
    uint64_t has = raft_max(r->commit_index, r->last_applied);
    event->snapshot_installed.accepted =
        follows && index > has && term <= r->current_term && term > 0;
    if (!event->snapshot_installed.accepted) {
        r->reply_due =
            r->leader != 0 && r->role == RAFT_FOLLOWER; /* the leader learns where we are */
        return;
    }
    raft_log_reset(&r->log, index, term);
    r->commit_index = index;
    r->last_applied = index;
    r->apply_handed_index = index;
    r->kv_durable_index = index;
    membership_reset(r, index, event->snapshot_installed.configuration);
    cluster_time_applied(r, event->snapshot_installed.cluster_time_us);
    if (r->leader != 0) {
        /* What is committed is in the log of every leader from then on (§5.4.3). */
        r->matched_index = raft_max(r->matched_index, index);
        r->reply_due = true;
    }
}
