/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replication.c: the leader's side of the log. In: proposals, append replies, entries read from disk.
 * Out: append_entries for every other member, and the commit index. Raft §5.3, §5.4.2; writing the own
 * disk in parallel Thesis §10.2.1.
 *
 * Each other member has a progress: PROBE while it is not known where its log matches (one append at
 * a time, repeated by the heartbeat), REPLICATE once it is (appends follow each other up to a window of
 * bytes). A heartbeat is a true append_entries without entries at next_index - 1, so it finds a lost
 * message: the follower refuses, and we go back to where it stands. Entries that left memory come from
 * the disk, one read at a time for all followers together, taking turns.
 *
 * Invariants
 *  1. commit_index moves by counting only to an entry of the current term (§5.4.2, trap 11); this node
 *     counts with what is durable here, no more (trap 12).
 *  2. A leader never changes or removes an entry of its own log.
 *  3. The acknowledgement of a damaged node does not count for a read round (trap 22).
 *
 * Who is no member of the configuration in force any more is fed on for a while, so that it hears of its
 * removal (trap 7); it counts for nothing.
 */
#include "raft_internal.h"

struct progress *replication_find(const struct raft *r, uint64_t id)
{
    for (size_t i = 0; i < r->progress_count; i++) {
        if (r->progress[i].id == id) {
            return &r->progress[i];
        }
    }
    return NULL;
}

static void progress_release(struct progress *p)
{
    entries_free(&p->disk_entries);
}

static void ring_clear(struct progress *p)
{
    p->ring_start = 0;
    p->ring_count = 0;
    p->inflight_bytes = 0;
}

static void ring_acknowledge(struct progress *p, uint64_t match_index)
{
    while (p->ring_count > 0 && p->ring[p->ring_start].last_index <= match_index) {
        p->inflight_bytes -= p->ring[p->ring_start].bytes;
        p->ring_start = (p->ring_start + 1) % INFLIGHT_MAX;
        p->ring_count--;
    }
}

static void probe(struct progress *p)
{
    p->state = PROGRESS_PROBE;
    p->probe_sent = false;
    p->probe_last = p->next_index - 1;
    p->sent_commit = 0;
    ring_clear(p);
    entries_free(&p->disk_entries);
    p->wants_disk = false;
}

static struct progress *progress_add(struct raft *r, uint64_t id)
{
    /* One array for the whole leadership: PROGRESS_MAX is its bound and its size. */
    ASSERT(r->progress_count < PROGRESS_MAX);
    struct progress *p = &r->progress[r->progress_count++];
    memset(p, 0, sizeof(*p));
    p->id = id;
    p->next_index = r->log.last_index + 1;
    p->last_heard_us = r->now_us;
    p->heartbeat_due_us = r->now_us;
    p->round_target = r->log.last_index;
    p->round_began_us = r->now_us;
    probe(p);
    return p;
}

static void progress_remove(struct raft *r, size_t at)
{
    progress_release(&r->progress[at]);
    r->progress_count--;
    memmove(&r->progress[at], &r->progress[at + 1],
            (r->progress_count - at) * sizeof(r->progress[0]));
}

/* ---- becoming and ceasing to be leader ----------------------------------------------------------------- */

/* Raft §5.3: everybody is taken to be as far as we are until they say otherwise. §8: a blank entry of our
 * term, because only with it can anything be committed and be known to be. */
void replication_start(struct raft *r)
{
    ASSERT(r->progress == NULL);
    r->progress = mem_zalloc(PROGRESS_MAX * sizeof(*r->progress));
    const struct configuration *c = membership_current(r);
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id != r->id) {
            progress_add(r, c->members[i].id);
        }
    }
    r->leader_since_us = r->now_us;
    cluster_time_start(r);
    struct entry no_op = {
        .index = r->log.last_index + 1, .term = r->current_term, .type = ENTRY_NOOP};
    raft_log_append(&r->log, &no_op);
    r->term_first_index = no_op.index;
    r->commit_stale = true;
    leader_lease_start(r);
}

void replication_stop(struct raft *r)
{
    for (size_t i = 0; i < r->progress_count; i++) {
        progress_release(&r->progress[i]);
    }
    mem_free(r->progress);
    r->progress = NULL;
    r->progress_count = 0;
    transfer_stop(r);
}

/* Members always find a place; who left first waits no longer. */
static void make_room(struct raft *r)
{
    size_t at = 0;
    while (r->progress_count == PROGRESS_MAX && at < r->progress_count) {
        if (r->progress[at].leaving_index != 0) {
            progress_remove(r, at);
        } else {
            at++;
        }
    }
}

void replication_configuration_changed(struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        return;
    }
    const struct configuration *c = membership_current(r);
    for (size_t i = 0; i < r->progress_count; i++) {
        struct progress *p = &r->progress[i];
        if (configuration_find(c, p->id) < 0 && p->leaving_index == 0) {
            p->leaving_index = membership_current_index(r);
            p->leaving_since_us = r->now_us;
        }
    }
    for (size_t i = 0; i < c->count; i++) {
        uint64_t id = c->members[i].id;
        if (id != r->id && replication_find(r, id) == NULL) {
            make_room(r);
            progress_add(r, id);
        }
    }
    r->commit_stale = true;
}

/* It has what removed it and the news that this is committed, or is not to be reached. */
static bool is_told(const struct raft *r, const struct progress *p)
{
    bool knows =
        p->match_index >= p->leaving_index && p->told_us != 0 && p->acked_sent_us >= p->told_us;
    return knows || r->now_us - p->leaving_since_us >=
                        TELL_REMOVED_ELECTION_TIMEOUTS * r->election_timeout_us;
}

static void forget_told(struct raft *r)
{
    for (size_t i = r->progress_count; i-- > 0;) {
        if (r->progress[i].leaving_index != 0 && is_told(r, &r->progress[i])) {
            progress_remove(r, i);
        }
    }
}

/* ---- proposals -------------------------------------------------------------------------------------------- */

void replication_propose(struct raft *r, struct raft_event *event)
{
    const struct entries *commands = event->propose.commands;
    if (r->role != RAFT_LEADER) {
        event->propose.error = r->leader == 0 ? ERR_NO_LEADER : ERR_NOT_LEADER;
        return;
    }
    if (r->transfer_target != 0) {
        event->propose.error = ERR_LEADER_CHANGED;
        return;
    }
    /* Two ways to drown (trap 26): followers too slow to commit, a state machine too slow to apply.
     * Whoever is alone gets in, however large, so that the bound never blocks for good. */
    uint64_t uncommitted = raft_log_bytes_between(&r->log, r->commit_index, r->log.last_index);
    uint64_t unapplied = raft_log_bytes_between(&r->log, r->last_applied, r->commit_index);
    if ((uncommitted > 0 && uncommitted + commands->bytes > r->uncommitted_bytes_max) ||
        unapplied > r->uncommitted_bytes_max) {
        event->propose.error = ERR_OVERLOAD;
        return;
    }
    for (size_t i = 0; i < commands->count; i++) {
        struct entry e = commands->items[i];
        ASSERT(e.type == ENTRY_COMMAND);
        e.index = r->log.last_index + 1;
        e.term = r->current_term;
        raft_log_append(&r->log, &e);
    }
    event->propose.error = OK;
}

/* ---- commit -------------------------------------------------------------------------------------------------- */

static uint64_t match_of(void *context, uint64_t id)
{
    const struct raft *r = context;
    if (id == r->id) {
        return r->log.durable_index;
    }
    const struct progress *p = replication_find(r, id);
    return p == NULL ? 0 : p->match_index;
}

void replication_advance_commit(struct raft *r)
{
    if (!r->commit_stale) {
        return;
    }
    r->commit_stale = false;
    uint64_t held = configuration_quorum_value(membership_current(r), match_of, r);
    /* Fig. 8: an entry of an earlier term is committed only by one of this term above it. */
    if (held > r->commit_index && raft_log_term_at(&r->log, held) == r->current_term) {
        r->commit_index = held;
        membership_commit(r);
    }
}

/* ---- replies ------------------------------------------------------------------------------------------------- */

static void on_granted(struct raft *r, struct progress *p, const struct raft_message *m)
{
    if (m->match_index > r->log.last_index) {
        return; /* no follower of ours can say that */
    }
    if (m->match_index > p->match_index) {
        p->match_index = m->match_index;
        r->commit_stale = true;
    }
    if (m->match_index >= p->round_target) {
        p->round_count++;
        p->last_round_us = r->now_us - p->round_began_us;
        p->round_began_us = r->now_us;
        p->round_target = r->log.last_index;
    }
    ring_acknowledge(p, p->match_index);
    p->next_index = raft_max(p->next_index, p->match_index + 1);
    /* A receiver of a snapshot has it, or has caught up without. */
    if (p->state == PROGRESS_SNAPSHOT && p->match_index >= r->log.trimmed_index) {
        p->state = PROGRESS_REPLICATE;
    }
    if (p->state == PROGRESS_PROBE) {
        p->state = PROGRESS_REPLICATE;
        p->next_index = raft_max(p->next_index, p->probe_last + 1);
    }
}

/* The place to try next. The follower names its first entry of the term that conflicts; if we have that
 * term too, our last entry of it may match (Raft §5.3, end: one refusal per term, not per entry). */
static uint64_t backed_up_index(const struct raft *r, const struct progress *p,
                                const struct raft_message *m)
{
    uint64_t next = m->conflict_index;
    if (m->conflict_term != 0) {
        uint64_t last = raft_log_last_of_term(&r->log, m->conflict_term, p->next_index - 1);
        if (last >= m->conflict_index) {
            next = last + 1;
        }
    }
    next = raft_max(next, raft_max(p->match_index, r->log.trimmed_index) + 1);
    return raft_min(next, p->next_index);
}

void replication_probe_at(struct progress *p, uint64_t next_index)
{
    p->next_index = raft_max(next_index, p->match_index + 1);
    probe(p);
}

/* It has been asked at the log's start, and still says it lacks something below. */
static bool needs_snapshot(const struct raft *r, const struct progress *p,
                           const struct raft_message *m)
{
    return m->conflict_index <= r->log.trimmed_index && p->next_index == r->log.trimmed_index + 1 &&
           r->now_us >= p->snapshot_retry_us;
}

static void on_refused(struct raft *r, struct progress *p, const struct raft_message *m)
{
    if (m->conflict_index == 0) {
        return;
    }
    if (m->conflict_index <= p->match_index && m->conflict_term == 0) {
        return; /* late: its log has grown since */
    }
    if (p->state == PROGRESS_SNAPSHOT) {
        return; /* as expected */
    }
    if (p->state == PROGRESS_PROBE && needs_snapshot(r, p, m)) {
        ring_clear(p);
        snapshot_begin(r, p);
        return;
    }
    uint64_t next = backed_up_index(r, p, m);
    bool moved = next < p->next_index;
    p->next_index = next;
    if (p->state == PROGRESS_REPLICATE) {
        probe(p);
    } else if (moved) {
        p->probe_sent = false;
        p->probe_last = next - 1;
        ring_clear(p);
    }
    /* A refusal at a place that cannot be moved leaves the next try to the heartbeat. */
}

void replication_on_reply(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_LEADER) {
        return;
    }
    struct progress *p = replication_find(r, m->from);
    if (p == NULL) {
        return;
    }
    p->last_heard_us = r->now_us;
    p->kv_durable_index = m->kv_durable_index;
    p->no_vote = m->flag_no_vote;
    disk_health_member_said(p, m);
    if (!m->flag_no_vote && m->read_round <= p->sent_round) {
        p->acked_round = raft_max(p->acked_round, m->read_round);
    }
    if (m->sent_us != 0 && m->sent_us <= p->sent_us) {
        read_index_round_trip(r, m->sent_us);
    }
    if (!m->flag_no_vote && m->sent_us <= p->sent_us) {
        if (m->sent_us >= p->acked_sent_us) {
            p->acked_sent_us = m->sent_us;
            p->vote_promise_us = m->vote_promise_us;
        }
    }
    if (m->flag_no_vote && m->match_index < p->match_index) {
        replication_member_damaged(r, p->id);
    }
    if (m->granted) {
        on_granted(r, p, m);
    } else {
        on_refused(r, p, m);
    }
}

/*
 * A damaged member (trap 22) has less than it once acknowledged. What it lost must not be counted for a
 * commit after it has been given the read index it heals with: it could then vote for somebody who lacks
 * an entry that was committed by its lost acknowledgement. So its word of today replaces that of then.
 */
void replication_member_damaged(struct raft *r, uint64_t member)
{
    struct progress *p = replication_find(r, member);
    if (p != NULL) {
        p->match_index = 0;
    }
}

/* A new connection may lead to a process that has started anew, on a disk that lost something. What
 * it holds is asked afresh; forgetting match_index is always safe. */
void replication_peer_up(struct raft *r, uint64_t peer)
{
    struct progress *p = r->role == RAFT_LEADER ? replication_find(r, peer) : NULL;
    if (p != NULL) {
        p->match_index = 0;
        if (p->state != PROGRESS_SNAPSHOT) {
            probe(p); /* a snapshot is resumed where it was cut */
        }
    }
}

void replication_peer_down(struct raft *r, uint64_t peer)
{
    struct progress *p = r->role == RAFT_LEADER ? replication_find(r, peer) : NULL;
    if (p != NULL) {
        if (p->state == PROGRESS_SNAPSHOT) {
            return;
        }
        if (p->match_index > r->log.trimmed_index) {
            p->next_index = p->match_index + 1;
        }
        probe(p);
        p->probe_sent = true; /* nobody is there to hear it; the heartbeat goes on */
    }
}

/* ---- check-quorum ------------------------------------------------------------------------------------------------ */

static uint64_t heard_of(void *context, uint64_t id)
{
    const struct raft *r = context;
    if (id == r->id) {
        return UINT64_MAX;
    }
    const struct progress *p = replication_find(r, id);
    return p == NULL ? 0 : p->last_heard_us;
}

bool replication_has_quorum_contact(struct raft *r)
{
    uint64_t heard = configuration_quorum_value(membership_current(r), heard_of, r);
    heard = raft_max(heard, raft_max(r->leader_since_us, r->stall_end_us));
    return heard >= r->now_us || r->now_us - heard < r->election_timeout_us;
}

/* ---- sending --------------------------------------------------------------------------------------------------------- */

/* One append_entries at next_index - 1. Takes the entries, which begin at next_index; NULL: none. */
static void send_append(struct raft *r, struct progress *p, struct entries *entries,
                        struct raft_effects *out)
{
    uint64_t prev = p->next_index - 1;
    uint64_t last = entries == NULL ? prev : entries_last_index(entries);
    struct raft_message m = {
        .type = RAFT_APPEND_ENTRIES,
        .to = p->id,
        .term = r->current_term,
        .prev_log_index = prev,
        .prev_log_term = raft_log_term_at(&r->log, prev),
        .leader_commit = r->commit_index,
        .read_round = r->read_round,
        .trim_index = r->leader_trim_index,
        .sent_us = r->now_us,
        .cluster_time_us = r->cluster_time_us,
        .entries = entries,
    };
    disk_health_fill(r, &m);
    if (p->state == PROGRESS_PROBE) {
        ring_clear(p); /* the probe before this one is given up */
    }
    if (entries != NULL) {
        ASSERT(entries->first_index == p->next_index);
        ASSERT(p->ring_count < INFLIGHT_MAX);
        p->ring[(p->ring_start + p->ring_count++) % INFLIGHT_MAX] =
            (struct inflight){.last_index = last, .bytes = entries->bytes};
        p->inflight_bytes += entries->bytes;
    }
    if (p->state == PROGRESS_PROBE) {
        p->probe_sent = true;
        p->probe_last = last;
    } else {
        p->next_index = last + 1;
    }
    p->sent_commit = raft_min(r->commit_index, last);
    p->sent_round = r->read_round;
    p->sent_us = r->now_us;
    if (p->leaving_index != 0 && p->told_us == 0 && p->sent_commit >= p->leaving_index) {
        p->told_us = r->now_us;
    }
    p->heartbeat_due_us = r->now_us + r->heartbeat_us;
    raft_effects_send(r, out, &m);
}

static struct entries *next_block(const struct raft *r, const struct progress *p)
{
    uint64_t last =
        raft_log_fit(&r->log, p->next_index - 1, r->log.last_index, r->append_bytes_max);
    return raft_log_slice(&r->log, p->next_index, last);
}

static bool send_entries(struct raft *r, struct progress *p, struct raft_effects *out)
{
    bool sent = false;
    p->wants_disk = false;
    if (p->next_index <= r->log.trimmed_index) {
        /* What it should get next is gone. It is asked at the log's start; if that is too far, a snapshot. */
        p->next_index = r->log.trimmed_index + 1;
        if (p->state == PROGRESS_REPLICATE) {
            probe(p);
        }
    }
    if (p->state == PROGRESS_SNAPSHOT) {
        return false;
    }
    if (p->state == PROGRESS_PROBE) {
        if (p->probe_sent) {
            return false;
        }
        bool in_memory = p->next_index >= r->log.memory_first && p->next_index <= r->log.last_index;
        send_append(r, p, in_memory ? next_block(r, p) : NULL, out);
        return true;
    }
    while (p->next_index <= r->log.last_index && p->ring_count < INFLIGHT_MAX &&
           p->inflight_bytes < r->window_bytes) {
        struct entries *block = NULL;
        if (p->disk_entries != NULL && p->disk_entries->first_index == p->next_index) {
            block = p->disk_entries;
            p->disk_entries = NULL;
        } else if (p->next_index >= r->log.memory_first) {
            block = next_block(r, p);
        } else {
            p->wants_disk = r->now_us >= p->disk_retry_us;
            break;
        }
        send_append(r, p, block, out);
        sent = true;
    }
    entries_free(&p->disk_entries); /* not wanted any more */
    return sent;
}

static bool must_speak(const struct raft *r, const struct progress *p)
{
    if (r->now_us >= p->heartbeat_due_us) {
        return true;
    }
    if (p->sent_round < r->read_round && r->read_round > r->confirmed_round &&
        configuration_is_voter(membership_current(r), p->id)) {
        return true;
    }
    if (read_index_round_lost(r, p)) {
        return true;
    }
    /* Requests that came in at a follower are answered there, so it hears of a commit at once. */
    return p->state == PROGRESS_REPLICATE &&
           p->sent_commit < raft_min(r->commit_index, p->next_index - 1);
}

static void read_from_disk(struct raft *r, struct raft_effects *out)
{
    if (r->log_read_peer != 0 || out->log_read_from != 0) {
        return;
    }
    for (size_t i = 0; i < r->progress_count; i++) {
        size_t at = (r->log_read_turn + 1 + i) % r->progress_count;
        const struct progress *p = &r->progress[at];
        if (p->wants_disk) {
            r->log_read_turn = at;
            r->log_read_peer = p->id;
            r->log_read_from = p->next_index;
            out->log_read_from = p->next_index;
            out->log_read_to = raft_min(r->log.memory_first - 1, r->log.last_index);
            out->log_read_bytes_max = r->append_bytes_max;
            return;
        }
    }
}

/* What every member, this one included, has durably in its KV table and in its log. */
static void update_trim_index(struct raft *r)
{
    uint64_t all = raft_min(r->kv_durable_index, r->log.durable_index);
    for (size_t i = 0; i < r->progress_count; i++) {
        const struct progress *p = &r->progress[i];
        if (p->leaving_index == 0) {
            all = raft_min(all, raft_min(p->kv_durable_index, p->match_index));
        }
    }
    r->leader_trim_index = raft_max(r->leader_trim_index, all);
}

void replication_flush(struct raft *r, struct raft_effects *out)
{
    /* A leader's term was on disk before its election: nothing it says needs to wait. */
    ASSERT(raft_hard_state_durable(r));
    forget_told(r);
    update_trim_index(r);
    for (size_t i = 0; i < r->progress_count; i++) {
        struct progress *p = &r->progress[i];
        bool sent = send_entries(r, p, out);
        if (!sent && must_speak(r, p)) {
            send_append(r, p, NULL, out);
        }
    }
    read_from_disk(r, out);
    snapshot_wanted_flush(r, out);
}

void replication_on_log_entries(struct raft *r, uint64_t from_index, struct entries **entries)
{
    struct progress *p = r->role == RAFT_LEADER ? replication_find(r, r->log_read_peer) : NULL;
    bool expected = r->log_read_peer != 0 && r->log_read_from == from_index;
    r->log_read_peer = 0;
    if (p != NULL && *entries == NULL) {
        p->disk_retry_us = r->now_us + r->heartbeat_us;
    }
    if (p == NULL || *entries == NULL || !expected || p->state != PROGRESS_REPLICATE ||
        p->next_index != from_index) {
        entries_free(entries);
        return;
    }
    const struct entries *block = *entries;
    uint64_t last = entries_last_index(block);
    /* The same last entry means the same entries before it (Log Matching, §5.3). */
    if (block->first_index != from_index || last > r->log.last_index ||
        last <= r->log.trimmed_index ||
        raft_log_term_at(&r->log, last) != block->items[block->count - 1].term) {
        p->disk_retry_us = r->now_us + r->heartbeat_us;
        entries_free(entries);
        return;
    }
    entries_free(&p->disk_entries);
    p->disk_entries = *entries;
    *entries = NULL;
}

uint64_t replication_deadline_us(const struct raft *r)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < r->progress_count; i++) {
        at = raft_min(at, r->progress[i].heartbeat_due_us);
    }
    return at;
}

bool raft_progress_of(const struct raft *r, uint64_t member, struct raft_progress *out)
{
    const struct progress *p = r->role == RAFT_LEADER ? replication_find(r, member) : NULL;
    if (p == NULL || p->leaving_index != 0) {
        return false;
    }
    uint64_t overdue_us = r->election_timeout_us;
    *out = (struct raft_progress){
        .match_index = p->match_index,
        .next_index = p->next_index,
        .inflight_bytes = p->inflight_bytes,
        .last_heard_us = p->last_heard_us,
        .kv_durable_index = p->kv_durable_index,
        .disk_age_us = p->disk_age_us,
        .low_space = p->low_space,
        .may_not_vote = p->no_vote,
        .probing = p->state == PROGRESS_PROBE,
        .needs_snapshot = p->state == PROGRESS_SNAPSHOT,
        .snapshot_index =
            p->state == PROGRESS_SNAPSHOT && p->snapshot_ready ? p->snapshot_index : 0,
        .round_count = p->round_count,
        .last_round_us = p->last_round_us,
        .caught_up = p->state == PROGRESS_REPLICATE && p->round_count > 0 &&
                     p->last_round_us < overdue_us && r->now_us - p->round_began_us < overdue_us &&
                     r->now_us - p->last_heard_us < overdue_us,
    };
    return true;
}
