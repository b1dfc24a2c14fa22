/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply_actor.c: owns the state machine. Applies committed entries in order, answers the clients of
 * this node whose requests they carry, answers reads once their index is applied (apply_reads.h), and
 * seals batches for the flush actor.
 *
 * In: APPLY_ENTRIES and APPLY_READ/APPLY_STATUS from raft (serializable reads from clients),
 * APPLY_FLUSHED and APPLY_COMPACTED from flush, APPLY_WATCH from watch. Out: CLIENT_REPLY, CLIENT_STATUS,
 * CLIENT_BARRIER, RAFT_APPLIED, FLUSH_BATCH, WATCH_CHANGES.
 *
 * Invariants
 *  1. Entries are applied in index order, each once. Nothing is skipped: an error from the disk ends
 *     the process (trap 19).
 *  2. While the overlay is full (the disk does not keep up) entries wait here, unapplied; the core
 *     stops handing out more at apply_bytes_max, so memory is bounded (trap 26).
 *  3. While somebody watches, the changes of a block go to the watch actor before the replies to its
 *     writes go to clients. Apply never waits for the watch actor: when too much is on its way there,
 *     recording stops and begins anew later; what lies between is read from kv.db.
 */
#include "apply_actor.h"

#include "apply_reads.h"
#include "auto_compact.h"
#include "lease_expiry.h"
#include "install.h"
#include "node.h"

#include <stdio.h>
#include <string.h>

#define APPLY_SLOW_US          UINT64_C(100000) /* etcd's: an entry that takes longer is counted */
#define APPLY_REPLIES_HELD_MAX 256 /* answers that wait for the changes of their block */
/* Requests for copies of kv.db, until it holds what was applied when they came. */
struct waiting_copy {
    struct copy_request *request;
    uint64_t index;
};

/* Answers to physical compactions, until kv.db is that far. */
struct waiting_compaction {
    uint64_t request_id;
    struct result *result;
};

/* An answer that waits until the changes it stands for are on their way to the watch actor. */
struct held_reply {
    uint64_t request_id;
    struct result *result;
};

struct apply_actor {
    struct kv *kv;
    uint64_t origin; /* entries with it carry requests of this node's clients */
    const struct node_actors *links;
    struct actor *raft, *copy, *flush, *watch;
    size_t client_count;
    struct actor *clients[CLIENTS_MAX];

    struct apply_entries **blocks; /* waiting to be applied, in order */
    size_t block_first, block_count, block_capacity;
    size_t entry_at; /* next entry of the first block */

    struct apply_reads reads;

    struct waiting_copy *copies; /* in the order of coming, so of index */
    size_t copy_count, copy_capacity;
    uint64_t sealed_index;  /* of the batch handed over last */
    uint64_t flushed_index; /* kv.db holds everything up to here */

    struct waiting_compaction *compactions; /* in the order of their revisions */
    size_t compaction_count, compaction_capacity;
    int64_t compacted_revision; /* kv.db is rid of what is below */

    struct auto_compact auto_compact;
    struct lease_expiry leases;

    uint64_t watch_epoch;    /* 0: nobody watches */
    uint64_t watch_bytes;    /* changes on their way to the watch actor */
    int64_t watch_told;      /* revision of the last changes sent */
    int64_t watch_compacted; /* ... and what else they said */
    int64_t watch_committed;
    bool watch_paused;    /* too much was on its way: nothing is recorded */
    int64_t seal_through; /* the watch actor waits for kv.db to hold this revision */
    struct held_reply *held;
    size_t held_count, held_capacity;

    uint64_t puts, delete_ranges, txns; /* done here */
    uint64_t leases_granted, leases_revoked, leases_expired, leases_renewed;
    uint64_t slow_applies;
    bool installing; /* another table is being opened: entries and reads wait */
    uint64_t applied_told;
    bool overlay_full_said;
};

struct kv *apply_actor_kv(struct apply_actor *self)
{
    return self->kv;
}

static void send_barriers(struct apply_actor *a, const struct apply_entries *block)
{
    for (size_t i = 0; i < block->barrier_count && i < a->client_count; i++) {
        if (block->barriers[i] != 0) {
            struct client_barrier *barrier = MSG_NEW(struct client_barrier, CLIENT_BARRIER, NULL);
            barrier->request_id = block->barriers[i];
            ACTOR_SEND(a->clients[i], barrier);
        }
    }
}

/* Somebody waits for kv.db to hold what is applied. */
static bool copy_waits(const struct apply_actor *a)
{
    return a->copy_count > 0 && a->sealed_index < a->copies[a->copy_count - 1].index;
}

static void seal_if_due(struct apply_actor *a, uint64_t now_us)
{
    bool due = kv_should_seal(a->kv, now_us) || copy_waits(a) ||
               kv_committed_revision(a->kv) < a->seal_through;
    if (a->installing || !due) {
        return;
    }
    struct kv_batch *batch = kv_seal(a->kv);
    if (batch != NULL) {
        a->sealed_index = batch->applied_index;
        struct flush_batch *flush = MSG_NEW(struct flush_batch, FLUSH_BATCH, release_flush_batch);
        flush->group = GROUP_DEFAULT;
        flush->batch = batch;
        ACTOR_SEND(a->flush, flush);
    }
}

/* ---- watching ----------------------------------------------------------------------------------- */

/* Send what was recorded, or at least how far things are. If that makes too much on its way, recording ends. */
static void send_changes(struct apply_actor *a)
{
    struct watch_changes *m = MSG_NEW(struct watch_changes, WATCH_CHANGES, release_watch_changes);
    m->group = GROUP_DEFAULT;
    m->epoch = a->watch_epoch;
    m->from_revision = a->watch_told;
    m->revision = a->watch_told = kv_revision(a->kv);
    m->compact_revision = a->watch_compacted = kv_compact_revision(a->kv);
    m->committed_revision = a->watch_committed = kv_committed_revision(a->kv);
    kv_events_take(a->kv, &m->events);
    m->bytes = sizeof(*m) + event_block_bytes(&m->events);
    a->watch_bytes += m->bytes;
    a->watch_paused = a->watch_bytes > WATCH_CHANGES_BYTES_MAX;
    m->paused = a->watch_paused;
    if (a->watch_paused) {
        kv_events_want(a->kv, false);
    }
    ACTOR_SEND(a->watch, m);
}

/* Begin recording at the present revision. */
static void record(struct apply_actor *a)
{
    kv_events_want(a->kv, true);
    a->watch_told = kv_revision(a->kv);
    a->seal_through = a->watch_told;
    send_changes(a);
}

/* News for the watch actor, if there are any. */
static void tell_watch(struct apply_actor *a)
{
    if (a->watch_epoch == 0 || a->watch_paused ||
        (kv_revision(a->kv) == a->watch_told && kv_compact_revision(a->kv) == a->watch_compacted &&
         kv_committed_revision(a->kv) == a->watch_committed)) {
        return;
    }
    send_changes(a);
}

static void take_watch(struct apply_actor *a, const struct apply_watch *m)
{
    if (m->epoch != a->watch_epoch) {
        a->watch_epoch = m->epoch;
        a->watch_bytes = 0;
        if (m->epoch != 0) {
            kv_events_want(a->kv, false); /* of an older epoch */
            record(a);
        } else {
            kv_events_want(a->kv, false);
            a->watch_paused = false;
        }
        return;
    }
    ASSERT(m->taken_bytes <= a->watch_bytes);
    a->watch_bytes -= m->taken_bytes;
    if (a->watch_paused && a->watch_bytes < WATCH_CHANGES_BYTES_MAX / 2) {
        record(a);
    }
}

/* The changes of what was applied go first, then the answers. */
static void tell_watch_and_clients(struct apply_actor *a)
{
    tell_watch(a);
    for (size_t i = 0; i < a->held_count; i++) {
        apply_reply(a->links, a->held[i].request_id, &a->held[i].result, 0);
    }
    a->held_count = 0;
}

static void reply_or_hold(struct apply_actor *a, uint64_t request_id, struct result **result)
{
    if (a->watch_epoch == 0) {
        apply_reply(a->links, request_id, result, 0);
        return;
    }
    ARRAY_RESERVE(a->held, a->held_capacity, a->held_count + 1);
    a->held[a->held_count++] = (struct held_reply){.request_id = request_id, .result = *result};
    *result = NULL;
}

/* ---- compactions ---------------------------------------------------------------------------------- */

/* Revisions of compactions only rise, so those that are done stand in front. */
static void answer_compactions(struct apply_actor *a, int64_t revision)
{
    size_t done = 0;
    while (done < a->compaction_count &&
           a->compactions[done].result->physical_revision <= revision) {
        apply_reply(a->links, a->compactions[done].request_id, &a->compactions[done].result, 0);
        done++;
    }
    a->compaction_count -= done;
    for (size_t i = 0; done > 0 && i < a->compaction_count; i++) {
        a->compactions[i] = a->compactions[done + i];
    }
}

static void wait_for_compaction(struct apply_actor *a, uint64_t request_id, struct result **result)
{
    ARRAY_RESERVE(a->compactions, a->compaction_capacity, a->compaction_count + 1);
    a->compactions[a->compaction_count++] =
        (struct waiting_compaction){.request_id = request_id, .result = *result};
    *result = NULL;
}

/* ---- entries ------------------------------------------------------------------------------------ */

/* What an entry did, seen from outside: a refused one moves neither the revision nor the leases. */
static void count_command(struct apply_actor *a, const struct entry *e, int64_t revision_before,
                          uint64_t leases_before)
{
    uint8_t op = 0;
    uint32_t key_size = 0;
    if (e->type != ENTRY_COMMAND) {
        return;
    }
    command_peek(e->data, &op, &key_size);
    bool wrote = kv_revision(a->kv) > revision_before;
    bool fewer_leases = kv_lease_count(a->kv) < leases_before;
    a->puts += op == COMMAND_PUT && wrote ? 1 : 0;
    a->delete_ranges += op == COMMAND_DELETE_RANGE ? 1 : 0;
    a->txns += op == COMMAND_TXN ? 1 : 0;
    a->leases_granted += kv_lease_count(a->kv) > leases_before ? 1 : 0;
    a->leases_revoked += op == COMMAND_LEASE_REVOKE && fewer_leases ? 1 : 0;
    a->leases_expired += op == COMMAND_LEASE_EXPIRE && fewer_leases ? 1 : 0;
}

/* Apply what waits until nothing is left or the overlay is full. */
static void apply_waiting(struct apply_actor *a, uint64_t now_us)
{
    uint64_t begun_us = actor_stopwatch_us();
    while (a->block_count > 0 && !a->installing) {
        struct apply_entries *block = a->blocks[a->block_first];
        while (a->entry_at < block->entries->count) {
            if (kv_is_full(a->kv)) {
                seal_if_due(a, now_us);
                if (!a->overlay_full_said) {
                    log_event(LOG_WARNING, "apply waits",
                              "reason=\"kv.db does not keep up with the log\" applied=%" PRIu64,
                              kv_applied_index(a->kv));
                    a->overlay_full_said = true;
                }
                tell_watch_and_clients(a);
                return;
            }
            const struct entry *e = &block->entries->items[a->entry_at++];
            if (e->index <= kv_applied_index(a->kv)) {
                continue; /* void: an installed table holds it */
            }
            bool ours = e->origin == a->origin && e->request_id != 0;
            struct result *result = NULL;
            int64_t revision_before = kv_revision(a->kv);
            uint64_t leases_before = kv_lease_count(a->kv);
            uint64_t renewed_before = kv_leases_renewed(a->kv);
            enum err error = kv_apply(a->kv, e, now_us, ours, &result);
            if (error != OK) {
                apply_fail(error, "apply");
            }
            count_command(a, e, revision_before, leases_before);
            a->leases_renewed += kv_leases_renewed(a->kv) - renewed_before;
            uint64_t ended_us = actor_stopwatch_us();
            a->slow_applies += ended_us - begun_us > APPLY_SLOW_US;
            begun_us = ended_us;
            if (ours && result->physical_revision > a->compacted_revision) {
                wait_for_compaction(a, e->request_id, &result);
            } else if (ours) {
                reply_or_hold(a, e->request_id, &result);
            }
            if (a->held_count >= APPLY_REPLIES_HELD_MAX) {
                tell_watch_and_clients(a);
            }
        }
        tell_watch_and_clients(a); /* before the barriers, which speak of who has no answer yet: */
        if (block->barrier_count > 0) { /* who waits for rows to go is told that the rest is done */
            answer_compactions(a, INT64_MAX);
        }
        send_barriers(a, block);
        a->block_first++;
        a->block_count--;
        a->entry_at = 0;
        MSG_FREE(block);
    }
    a->block_first = 0;
}

static void take_block(struct apply_actor *a, struct apply_entries *block)
{
    ASSERT(block->entries != NULL && block->entries->count > 0);
    QUEUE_RESERVE(a->blocks, a->block_first, a->block_count, a->block_capacity);
    a->blocks[a->block_first + a->block_count++] = block;
}

/* ---- copies of kv.db ------------------------------------------------------------------------------ */

static void forward_copies(struct apply_actor *a)
{
    size_t gone = 0;
    while (gone < a->copy_count && a->copies[gone].index <= a->flushed_index) {
        struct copy_request *request = a->copies[gone++].request;
        request->base.kind = COPY_BEGIN;
        ACTOR_SEND(a->copy, request);
    }
    a->copy_count -= gone;
    for (size_t i = 0; gone > 0 && i < a->copy_count; i++) {
        a->copies[i] = a->copies[gone + i];
    }
}

static void take_copy(struct apply_actor *a, struct copy_request *request)
{
    request->revision = kv_revision(a->kv);
    ARRAY_RESERVE(a->copies, a->copy_capacity, a->copy_count + 1);
    a->copies[a->copy_count++] =
        (struct waiting_copy){.request = request, .index = kv_applied_index(a->kv)};
    forward_copies(a);
}

/* Nobody waits any more: for what is still here, or for what copy was told of. */
static void cancel_copy(struct apply_actor *a, struct copy_ack *m)
{
    size_t at = 0;
    while (at < a->copy_count && a->copies[at].request->number != m->number) {
        at++;
    }
    if (at == a->copy_count) {
        m->base.kind = COPY_CANCEL;
        ACTOR_SEND(a->copy, m);
        return;
    }
    MSG_FREE(a->copies[at].request);
    a->copy_count--;
    memmove(&a->copies[at], &a->copies[at + 1], (a->copy_count - at) * sizeof(a->copies[0]));
    MSG_FREE(m);
}

/* ---- another table (install.h) ------------------------------------------------------------------- */

static void begin_install(struct apply_actor *a, struct install *m)
{
    ASSERT(!a->installing);
    a->installing = true;
    log_event(LOG_NOTICE, "installing a snapshot", "generation=%" PRIu64 " applied_before=%" PRIu64,
              m->generation, kv_applied_index(a->kv));
    /* What was handed out before is void: the table holds it. Whoever waited for it was told by raft. */
    for (size_t i = 0; i < a->block_count; i++) {
        MSG_FREE(a->blocks[a->block_first + i]);
    }
    a->block_first = a->block_count = a->entry_at = 0;
    answer_compactions(a, INT64_MAX);
    /* Reads that were begun have pinned a revision of the old table, which may be compacted in the new one. */
    reads_hold(&a->reads, ERR_LEADER_CHANGED);
    m->base.kind = FLUSH_INSTALL;
    ACTOR_SEND(a->flush, m);
}

static void tell_watch_table(struct apply_actor *a, struct install **m)
{
    if (a->watch == NULL) {
        MSG_FREE(*m);
        return;
    }
    (*m)->base.kind = WATCH_INSTALL;
    ACTOR_SEND(a->watch, *m);
    if (a->watch_epoch != 0) {
        record(a);
    }
}

static void take_installed(struct apply_actor *a, struct install *m)
{
    struct kv_limits limits = *kv_limits_of(a->kv);
    kv_destroy(&a->kv);
    a->kv = kv_create(&m->reader, &m->meta, &limits);
    a->installing = false;
    reads_go_on(&a->reads);
    a->flushed_index = a->sealed_index = kv_applied_index(a->kv);
    a->compacted_revision = m->compacted_revision;
    a->overlay_full_said = false;
    struct raft_index *copy = MSG_NEW(struct raft_index, COPY_INSTALL, NULL);
    copy->group = m->group;
    copy->index = m->generation;
    ACTOR_SEND(a->copy, copy);
    log_event(LOG_NOTICE, "snapshot installed", "applied=%" PRIu64 " revision=%" PRId64,
              kv_applied_index(a->kv), kv_revision(a->kv));
    tell_watch_table(a, &m);
    forward_copies(a);
}

/* ---- handlers ----------------------------------------------------------------------------------- */

static void started(void *self, uint64_t now_us)
{
    struct apply_actor *a = self;
    UNUSED(now_us);
    a->reads.links = a->links;
    a->raft = a->links->raft;
    a->flush = a->links->flush;
    a->copy = a->links->copy;
    a->flushed_index = a->sealed_index = kv_applied_index(a->kv);
    a->watch = a->links->watch;
    a->client_count = a->links->client_count;
    for (size_t i = 0; i < a->client_count; i++) {
        a->clients[i] = a->links->clients[i];
    }
}

static void take_status(struct apply_actor *a, struct node_status *status)
{
    uint64_t overlay_bytes = 0;
    status->revision = kv_revision(a->kv);
    status->applied_index = kv_applied_index(a->kv);
    kv_sizes(a->kv, &status->db_file_bytes, &status->db_used_bytes, &overlay_bytes);
    struct actor *client = apply_client(a->links, status->request_id);
    if (client == NULL) {
        MSG_FREE(status);
        return;
    }
    status->base.kind = CLIENT_STATUS;
    ACTOR_SEND(client, status);
}

static void give_figures(struct apply_actor *a, struct figures *figures)
{
    uint64_t file_bytes = 0;
    uint64_t used_bytes = 0;
    kv_sizes(a->kv, &file_bytes, &used_bytes, &figures->overlay_bytes);
    figures->revision = kv_revision(a->kv);
    figures->compact_revision = kv_compact_revision(a->kv);
    figures->applied_index = kv_applied_index(a->kv);
    figures->lease_count = kv_lease_count(a->kv);
    figures->puts = a->puts;
    figures->delete_ranges = a->delete_ranges;
    figures->txns = a->txns;
    figures->ranges = a->reads.answered;
    figures->leases_granted = a->leases_granted;
    figures->leases_revoked = a->leases_revoked;
    figures->leases_expired = a->leases_expired;
    figures->leases_renewed = a->leases_renewed;
    figures->slow_applies = a->slow_applies;
    figures->installing = a->installing;
    figures_pass_on(&figures);
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct apply_actor *a = self;
    switch ((enum apply_kind)m->kind) {
    case APPLY_ENTRIES:
        take_block(a, (struct apply_entries *)m);
        apply_waiting(a, now_us);
        reads_wake(&a->reads, a->kv, now_us);
        return;
    case APPLY_READ:
        reads_take(&a->reads, a->kv, (struct read_request *)m, now_us);
        return;
    case APPLY_STATUS:
        take_status(a, (struct node_status *)m);
        return;
    case APPLY_FIGURES:
        give_figures(a, (struct figures *)m);
        return;
    case APPLY_COPY:
        take_copy(a, (struct copy_request *)m);
        return;
    case APPLY_COPY_CANCEL:
        cancel_copy(a, (struct copy_ack *)m);
        return;
    case APPLY_COMPACTED:
        a->compacted_revision = ((const struct apply_compacted *)m)->revision;
        answer_compactions(a, a->compacted_revision);
        break;
    case APPLY_CLOCK:
        lease_expiry_clock(&a->leases, (const struct apply_clock *)m, a->kv, a->raft);
        break;
    case APPLY_INSTALL:
        begin_install(a, (struct install *)m);
        return;
    case APPLY_INSTALLED:
        take_installed(a, (struct install *)m);
        apply_waiting(a, now_us);
        reads_wake(&a->reads, a->kv, now_us);
        return;
    case APPLY_FLUSHED:
        if (a->installing) {
            break; /* of the table that is left behind */
        }
        a->flushed_index = a->sealed_index;
        forward_copies(a);
        kv_flushed(a->kv, ((const struct apply_flushed *)m)->batch_number);
        if (a->overlay_full_said && !kv_is_full(a->kv)) {
            log_event(LOG_NOTICE, "apply goes on", "applied=%" PRIu64, kv_applied_index(a->kv));
            a->overlay_full_said = false;
        }
        apply_waiting(a, now_us);
        reads_wake(&a->reads, a->kv, now_us);
        break;
    case APPLY_WATCH:
        take_watch(a, (const struct apply_watch *)m);
        break;
    }
    msg_free_base(&m);
}

static uint64_t next_deadline_us(const struct apply_actor *a, uint64_t now_us)
{
    uint64_t at_us = a->installing ? UINT64_MAX : kv_seal_deadline_us(a->kv);
    if (a->auto_compact.next_us < at_us) {
        at_us = a->auto_compact.next_us;
    }
    uint64_t read_us = reads_deadline_us(&a->reads, now_us);
    return read_us < at_us ? read_us : at_us;
}

/* What is old enough to go, if this node leads. */
static void compact_by_itself(struct apply_actor *a, uint64_t now_us)
{
    int64_t revision = auto_compact_step(&a->auto_compact, now_us, kv_revision(a->kv),
                                         kv_compact_revision(a->kv), a->leases.leads);
    if (revision == 0) {
        return;
    }
    const struct command compact = {.op = COMMAND_COMPACT, .revision = revision};
    propose_as_leader(a->raft, &compact);
}

static void flush(void *self, uint64_t now_us)
{
    struct apply_actor *a = self;
    reads_work(&a->reads, a->kv, now_us);
    compact_by_itself(a, now_us);
    kv_release(a->kv);
    uint64_t applied = kv_applied_index(a->kv);
    if (applied != a->applied_told && !a->installing) {
        struct raft_index *told = MSG_NEW(struct raft_index, RAFT_APPLIED, NULL);
        told->group = GROUP_DEFAULT;
        told->index = applied;
        told->cluster_time_us = kv_cluster_time_us(a->kv);
        told->lease_count = kv_lease_count(a->kv);
        ACTOR_SEND(a->raft, told);
        a->applied_told = applied;
        lease_expiry_applied(&a->leases, a->kv, a->raft);
    }
    tell_watch(a); /* of a flush or a compaction */
    seal_if_due(a, now_us);
    actor_set_deadline(actor_self(), next_deadline_us(a, now_us));
}

/* Nothing to do but the flush that follows: it seals by age and works on reads. */
static void expired(void *self, uint64_t now_us)
{
    struct apply_actor *a = self;
    reads_wake(&a->reads, a->kv, now_us);
}

static void stop(void *self, uint64_t now_us)
{
    struct apply_actor *a = self;
    apply_waiting(a, now_us);
    reads_wake(&a->reads, a->kv, now_us);
    struct kv_batch *batch =
        a->installing ? NULL : kv_seal(a->kv); /* what cannot go now is replayed from the log */
    if (batch != NULL) {
        struct flush_batch *last = MSG_NEW(struct flush_batch, FLUSH_BATCH, release_flush_batch);
        last->group = GROUP_DEFAULT;
        last->batch = batch;
        ACTOR_SEND(a->flush, last);
    }
    actor_stopped(actor_self());
}

static void destroy(void *self)
{
    struct apply_actor *a = self;
    reads_free(&a->reads);
    for (size_t i = 0; i < a->block_count; i++) {
        MSG_FREE(a->blocks[a->block_first + i]);
    }
    for (size_t k = 0; k < a->copy_count; k++) {
        MSG_FREE(a->copies[k].request);
    }
    mem_free(a->copies);
    for (size_t i = 0; i < a->compaction_count; i++) {
        result_free(&a->compactions[i].result);
    }
    mem_free(a->compactions);
    auto_compact_free(&a->auto_compact);
    mem_free(a->blocks);
    ASSERT(a->held_count == 0);
    mem_free(a->held);
    kv_destroy(&a->kv);
    mem_free(a);
}

static const struct actor_ops apply_actor_ops = {
    .started = started,
    .handle = handle,
    .flush = flush,
    .expired = expired,
    .stop = stop,
    .destroy = destroy,
};

struct actor *apply_actor_create(struct kv *kv, uint64_t origin, const struct config *config,
                                 const struct node_actors *actors)
{
    struct apply_actor *a = mem_zalloc(sizeof(*a));
    auto_compact_init(&a->auto_compact, config != NULL ? config->compaction.keep_s : 0,
                      config != NULL ? config->compaction.keep_revisions : 0);
    a->kv = kv;
    a->origin = origin;
    a->links = actors;
    a->applied_told = kv_applied_index(kv);
    return actor_create(&apply_actor_ops, a, "apply");
}
