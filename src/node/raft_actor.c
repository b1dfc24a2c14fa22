/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_actor.c: owns the consensus core; turns messages into events and effects into messages.
 *
 * In: PROPOSE and READ from clients, RECEIVED and PEER_UP/DOWN from peers, DURABLE and LOG_ENTRIES
 * from log, APPLIED and what is due from apply, KV_DURABLE from flush, ticks. Out: PERSIST, READ, TRIM
 * to log; SEND to peers; ENTRIES, READ, STATUS, CLOCK to apply; STATE, STATUS and refusals to clients; ARM to timer.
 *
 * Not here: any decision of the protocol (raft/), when a cluster is founded (bootstrap.c), what is
 * certain about lost requests (requests.c). Blocks in nothing.
 *
 * Invariants
 *  1. Requests are proposed or forwarded in the order of their numbers per client actor; while no
 *     leader is known they are held in that order.
 *  2. A forward names the term it was sent in and is appended only by the leader of that very term.
 *  3. Nothing is proposed twice by this node on its own: a request that got lost is answered by a
 *     barrier ("not carried out") or by its client's timeout ("unknown"), traps 51, 52.
 *  4. A node without a cluster takes no consensus message.
 */
#include "raft_state.h"

#include <stdio.h>
#include <string.h>

#define RAFT_TIMER     1
#define EXPIRY_LOOK_US UINT64_C(1000000) /* how often requests that wait are looked through */

const struct raft *raft_actor_core(const struct raft_actor *self)
{
    return self->core;
}

void raft_actor_step(struct raft_actor *a, struct raft_event *event)
{
    raft_step(a->core, event, &a->effects);
}

/* ---- answers to clients --------------------------------------------------------------------------- */

/* NULL: it is nobody's of this node. */
static struct actor *client_of(const struct raft_actor *a, uint64_t request_id)
{
    size_t client = REQUEST_CLIENT_OF(request_id);
    return request_id != 0 && client < a->to.client_count ? a->to.clients[client] : NULL;
}

void raft_actor_refuse(struct raft_actor *a, uint64_t request_id, enum err error)
{
    struct actor *client = client_of(a, request_id);
    if (client != NULL) {
        client_refuse(client, request_id, error);
    }
}

void raft_actor_answer_status(struct raft_actor *a, uint64_t request_id)
{
    struct actor *client = client_of(a, request_id);
    if (client != NULL) {
        struct node_status *status = MSG_NEW(struct node_status, CLIENT_STATUS, NULL);
        status->request_id = request_id;
        raft_actor_status(a, status);
        ACTOR_SEND(client, status);
    }
}

/* Every client actor and the supervisor hear of role, leader, term and members. */
static void tell_state(struct raft_actor *a)
{
    for (size_t i = 0; i <= a->to.client_count; i++) {
        bool client = i < a->to.client_count;
        struct actor *to = client ? a->to.clients[i] : a->to.supervisor;
        if (to == NULL) {
            continue;
        }
        struct client_state *state =
            MSG_NEW(struct client_state, client ? CLIENT_STATE : SUPERVISOR_STATE, NULL);
        state->cluster_id = a->own.cluster_id;
        state->member_id = a->own.member_id;
        state->leader_id = a->seen.leader;
        state->term = a->seen.current_term;
        state->may_not_vote = a->seen.may_not_vote;
        state->low_space = a->seen.cluster_low_space;
        state->removed = a->seen.removed;
        state->configuration = *raft_configuration(a->core);
        ACTOR_SEND(to, state);
    }
}

void raft_actor_status(struct raft_actor *a, struct node_status *status)
{
    raft_status(a->core, &status->raft);
    status->configuration = *raft_configuration(a->core);
    status->configuration.cluster_id = a->own.cluster_id;
    raft_pilot_report(a, a->now_us, &status->report);
}

/* ---- peers -------------------------------------------------------------------------------------- */

void raft_actor_send(struct raft_actor *a, struct raft_message *message)
{
    raft_peers_send(&a->peers, message);
}

/* Our identity or the members changed: whoever greets others has to know. By the settled members: one that is
 * being removed hears of it first. */
void raft_actor_identity(struct raft_actor *a)
{
    const struct configuration *settled = raft_settled_configuration(a->core);
    raft_peers_identity(&a->peers, &a->own,
                        settled->count > 0 ? settled : raft_configuration(a->core));
}

bool raft_actor_is_blank(const struct raft_actor *a)
{
    return a->own.cluster_id == 0;
}

/* ---- effects -------------------------------------------------------------------------------------- */

static void send_persist(struct raft_actor *a)
{
    struct log_persist *persist = MSG_NEW(struct log_persist, LOG_PERSIST, release_persist);
    persist->group = GROUP_DEFAULT;
    persist->persist = a->effects.persist;
    struct raft_status status;
    raft_status(a->core, &status);
    persist->leader_id = status.leader;
    persist->commit_index = status.commit_index;
    persist->kv_generation = raft_snapshots_persist(&a->snapshots, &persist->persist);
    a->effects.persist.entries = NULL;
    a->effects.has_persist = false;
    if (a->founding && a->founding_sequence == 0) {
        a->founding_sequence = persist->persist.sequence;
    }
    ACTOR_SEND(a->to.log, persist);
}

static void send_apply(struct raft_actor *a)
{
    struct apply_entries *apply =
        MSG_NEW(struct apply_entries, APPLY_ENTRIES, release_apply_entries);
    apply->group = GROUP_DEFAULT;
    apply->entries = a->effects.apply;
    a->effects.apply = NULL;
    uint64_t greatest_term = apply->entries->items[apply->entries->count - 1].term;
    if (request_barrier_applying(&a->barrier, greatest_term, a->to.client_count, apply->barriers)) {
        apply->barrier_count = a->to.client_count;
    }
    ACTOR_SEND(a->to.apply, apply);
}

/* Apply hears how far cluster time is while this node leads, and when it does not any more. */
static void tell_clock(struct raft_actor *a, uint64_t now_us)
{
    struct raft_status status;
    raft_status(a->core, &status);
    bool leads = status.role == RAFT_LEADER && status.term_committed;
    bool changed = leads != a->clock.leads || (leads && status.current_term != a->clock.term);
    uint64_t every_us =
        a->lease_count > 0 ? a->config.raft.heartbeat_ms * UINT64_C(1000) : APPLY_CLOCK_IDLE_US;
    bool due = leads && now_us >= a->clock_told_us + every_us &&
               status.cluster_time_us > a->clock.cluster_time_us;
    if (!changed && !due) {
        return;
    }
    a->clock_told_us = now_us;
    struct apply_clock *clock = MSG_NEW(struct apply_clock, APPLY_CLOCK, NULL);
    clock->group = GROUP_DEFAULT;
    clock->term = status.current_term;
    clock->cluster_time_us = status.cluster_time_us;
    clock->leads = leads;
    a->clock = *clock;
    ACTOR_SEND(a->to.apply, clock);
}

static void arm(struct raft_actor *a, uint64_t now_us)
{
    uint64_t at_us = a->effects.deadline_us;
    if ((a->held.count > 0 || a->batch_count > 0) && at_us > now_us + EXPIRY_LOOK_US) {
        at_us = now_us + EXPIRY_LOOK_US; /* the clients of what waits may have been told by then */
    }
    struct raft_status status;
    raft_status(a->core, &status);
    uint64_t wait_us = raft_proposals_wait_us(a, status.current_term);
    if (a->held.count > 0 && wait_us > now_us && at_us > wait_us) {
        at_us = wait_us;
    }
    if (a->members.count > 0 && at_us > now_us + EXPIRY_LOOK_US) {
        at_us = now_us + EXPIRY_LOOK_US;
    }
    if (status.role == RAFT_LEADER && at_us > a->members.look_at_us) {
        at_us = a->members.look_at_us;
    }
    if (a->stopping && at_us > a->stop_at_us) {
        at_us = a->stop_at_us;
    }
    if (at_us > a->look_for_peers_us) {
        at_us = a->look_for_peers_us;
    }
    if (raft_actor_is_blank(a) && !a->quiet_seen && at_us > a->quiet_at_us) {
        at_us = a->quiet_at_us;
    }
    /* A later deadline needs no message: the tick that is armed comes early and asks again. Nor does one
     * that has passed: its tick is on its way, and arming anew would make it stale; a node that flushes
     * faster than ticks travel would then never take one. */
    if (at_us < a->armed_at_us) {
        a->timer_generation++;
        a->armed_at_us = at_us;
        timer_arm(a->to.timer, actor_self(), RAFT_TIMER, RAFT_TICK, a->timer_generation, at_us);
    }
}

static const char *member_name(const struct raft_actor *a, uint64_t id)
{
    int found = configuration_find(raft_configuration(a->core), id);
    if (id == 0) {
        return "none";
    }
    return found < 0 ? "unknown" : raft_configuration(a->core)->members[found].name;
}

static void say_disk(const struct raft_actor *a, const struct raft_status *status)
{
    if (status->disk_hangs && !a->seen.disk_hangs) {
        log_event(LOG_WARNING, "disk hangs", "oldest_write_ms=%" PRIu64 " consequence=\"%s\"",
                  status->disk_age_us / 1000,
                  status->role == RAFT_LEADER
                      ? "gives way to a member whose disk works, if a majority has one"
                      : "does not stand for election");
    } else if (!status->disk_hangs && a->seen.disk_hangs) {
        log_event(LOG_NOTICE, "disk works again", "oldest_write_ms=%" PRIu64,
                  status->disk_age_us / 1000);
    }
    if (status->cluster_low_space != a->seen.cluster_low_space) {
        log_event(status->cluster_low_space ? LOG_WARNING : LOG_NOTICE,
                  status->cluster_low_space ? "writes that need room are refused"
                                            : "writes that need room are taken again",
                  "short_of_room=\"%s\"",
                  status->low_space           ? "this node"
                  : status->cluster_low_space ? "another voter"
                                              : "nobody");
    }
}

static void state_changed(struct raft_actor *a)
{
    struct raft_status status;
    raft_status(a->core, &status);
    if (status.role != a->seen.role || status.current_term != a->seen.current_term ||
        status.leader != a->seen.leader) {
        bool quiet = status.role == a->seen.role && status.leader == a->seen.leader;
        log_event(quiet ? LOG_DEBUG : LOG_NOTICE, raft_role_text(status.role),
                  "term=%" PRIu64 " leader=%s last_log_index=%" PRIu64 " commit_index=%" PRIu64,
                  status.current_term, member_name(a, status.leader), status.last_log_index,
                  status.commit_index);
    }
    if (a->seen.may_not_vote && !status.may_not_vote) {
        log_event(LOG_NOTICE, "log repaired", "reason=\"caught up with the leader; votes again\"");
    }
    say_disk(a, &status);
    if (status.leader != 0 && status.leader != a->seen.leader) {
        a->leader_changes++;
    }
    a->seen = status;
    if (status.configuration_index != a->seen_configuration_index ||
        status.configuration_settled_index != a->seen_settled_index) {
        a->seen_configuration_index = status.configuration_index;
        a->seen_settled_index = status.configuration_settled_index;
        const struct configuration *configuration = raft_configuration(a->core);
        a->own.empty = a->own.empty && configuration->count == 0;
        if (configuration->count > 0 && configuration_find(configuration, a->own.member_id) < 0) {
            log_event(LOG_ERROR, "not a member",
                      "reason=\"the cluster's configuration does not hold this node's identity\" "
                      "member_id=%016" PRIx64,
                      a->own.member_id);
        }
        if (!a->founding) {
            raft_actor_identity(a);
        }
    }
    tell_state(a);
}

static void carry_out(struct raft_actor *a, uint64_t now_us)
{
    struct raft_effects *out = &a->effects;
    if (out->has_persist) {
        send_persist(a);
    }
    for (size_t i = 0; i < out->send_count; i++) {
        raft_actor_send(a, &out->sends[i]);
    }
    if (out->apply != NULL) {
        send_apply(a);
    }
    for (size_t i = 0; i < out->read_count; i++) {
        raft_reads_answer(a, &out->reads[i]);
    }
    raft_snapshots_wanted(&a->snapshots);
    if (out->log_read_from != 0) {
        struct log_read *read = MSG_NEW(struct log_read, LOG_READ, NULL);
        read->group = GROUP_DEFAULT;
        read->from = out->log_read_from;
        read->to = out->log_read_to;
        read->bytes_max = out->log_read_bytes_max;
        ACTOR_SEND(a->to.log, read);
    }
    if (out->trim_index != 0) {
        struct log_trim *trim = MSG_NEW(struct log_trim, LOG_TRIM, NULL);
        trim->group = GROUP_DEFAULT;
        trim->through = out->trim_index;
        ACTOR_SEND(a->to.log, trim);
    }
    if (out->state_changed) {
        state_changed(a);
    }
    arm(a, now_us);
    raft_effects_clear(out);
}

/* ---- handlers ------------------------------------------------------------------------------------- */

static void started(void *self, uint64_t now_us)
{
    struct raft_actor *a = self;
    a->to = *a->links;
    a->boot.now_us = now_us;
    a->boot.configuration = &a->boot_configuration;
    a->boot.term_runs = a->boot_term_runs;
    a->core = raft_create(&a->boot);
    a->boot.tail = NULL;
    mem_free(a->boot_term_runs);
    a->boot_term_runs = NULL;
    a->bootstrap_dirty = true;
    a->quiet_at_us = now_us + raft_founding_quiet_us(a);
    raft_snapshots_init(&a->snapshots, a->core, &a->effects, &a->peers, &a->to, a->own.member_id,
                        (uint64_t)a->config.raft.election_timeout_ms * 1000);
    raft_peers_init(&a->peers, &a->config, &a->own, raft_configuration(a->core), &a->to);
    a->effects.state_changed = true; /* tell everybody where we start */
    a->seen_configuration_index = UINT64_MAX;
    a->armed_at_us = UINT64_MAX;
}

/* The core hears of it for its term; what is in it is for the copy actor. */
static void take_snapshot_message(struct raft_actor *a, struct raft_message *message,
                                  uint64_t now_us)
{
    struct bytes chunk = message->chunk;
    message->chunk = (struct bytes){0};
    const struct raft_message head = *message;
    struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .now_us = now_us, .received = message};
    raft_actor_step(a, &event);
    if (head.type == RAFT_INSTALL_SNAPSHOT) {
        raft_snapshots_take_chunk(&a->snapshots, &head, &chunk);
    } else {
        raft_snapshots_take_reply(&a->snapshots, &head, now_us);
    }
    bytes_free(&chunk);
}

static void take_received(struct raft_actor *a, struct raft_received *received, uint64_t now_us)
{
    struct raft_message *message = &received->message;
    if (raft_actor_is_blank(a)) {
        return;
    }
    switch (message->type) {
    case RAFT_FORWARD:
        raft_proposals_forward(a, message, now_us);
        return;
    case RAFT_FORWARD_REFUSED:
        raft_proposals_refused(a, message, now_us);
        return;
    case RAFT_MEMBERS:
        raft_members_forwarded(a, message, now_us);
        return;
    case RAFT_MEMBERS_REPLY:
        raft_members_replied(a, message);
        return;
    case RAFT_REQUEST_PRE_VOTE:
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_REQUEST_VOTE:
    case RAFT_VOTE_REPLY:
    case RAFT_APPEND_ENTRIES:
    case RAFT_APPEND_REPLY:
    case RAFT_READ_INDEX:
    case RAFT_READ_INDEX_REPLY:
    case RAFT_TIMEOUT_NOW:
        break;
    case RAFT_INSTALL_SNAPSHOT:
    case RAFT_INSTALL_SNAPSHOT_REPLY:
        take_snapshot_message(a, message, now_us);
        return;
    }
    struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .now_us = now_us, .received = message};
    raft_actor_step(a, &event);
}

static void take_peer_up(struct raft_actor *a, const struct raft_peer_up *up, uint64_t now_us)
{
    if (raft_peers_up(&a->peers, up) == SIZE_MAX) {
        return;
    }
    a->bootstrap_dirty = true;
    struct raft_event event = {
        .type = RAFT_EVENT_PEER_UP, .now_us = now_us, .peer = up->hello.member_id};
    raft_actor_step(a, &event);
    raft_snapshots_peer_up(&a->snapshots, up->hello.member_id, now_us);
}

static void take_peer_down(struct raft_actor *a, const struct raft_peer_down *down, uint64_t now_us)
{
    if (raft_peers_down(&a->peers, down) == SIZE_MAX) {
        return;
    }
    a->bootstrap_dirty = true;
    struct raft_event event = {
        .type = RAFT_EVENT_PEER_DOWN, .now_us = now_us, .peer = down->member_id};
    raft_actor_step(a, &event);
}

/* A received table stands for entries this node will not see: what becomes of its requests among them is not to be
 * known (requests.h cannot speak for them). */
static void tell_unknown(struct raft_actor *a)
{
    for (size_t i = 0; i < a->to.client_count; i++) {
        if (a->barrier.current[i] != 0) {
            struct client_barrier *unknown = MSG_NEW(struct client_barrier, CLIENT_UNKNOWN, NULL);
            unknown->request_id = a->barrier.current[i];
            ACTOR_SEND(a->to.clients[i], unknown);
        }
    }
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct raft_actor *a = self;
    struct raft_event event = {.now_us = now_us};
    a->now_us = now_us;
    switch ((enum raft_kind)m->kind) {
    case RAFT_PROPOSE:
        raft_proposals_hold(a, (struct raft_propose *)m);
        return;
    case RAFT_READ:
        raft_reads_take(a, (struct read_request *)m, now_us);
        return;
    case RAFT_STATUS: {
        struct node_status *status = (struct node_status *)m;
        raft_actor_status(a, status);
        status->base.kind = APPLY_STATUS;
        ACTOR_SEND(a->to.apply, status);
        return;
    }
    case RAFT_CHANGE_MEMBERS:
        raft_members_take(a, (const struct raft_change_members *)m);
        break;
    case RAFT_RECEIVED:
        take_received(a, (struct raft_received *)m, now_us);
        break;
    case RAFT_PEER_UP:
        take_peer_up(a, (const struct raft_peer_up *)m, now_us);
        break;
    case RAFT_SNAPSHOT_READY:
        raft_snapshots_ready(&a->snapshots, (const struct snapshot_ready *)m, now_us);
        break;
    case RAFT_SNAPSHOT_CHUNK:
        raft_snapshots_send_chunk(&a->snapshots, (struct snapshot_chunk *)m);
        break;
    case RAFT_CHUNK_TAKEN:
        raft_snapshots_taken(&a->snapshots, (const struct snapshot_taken *)m, now_us);
        break;
    case RAFT_INSTALLED:
        raft_snapshots_installed(&a->snapshots, ((const struct raft_index *)m)->index);
        break;
    case RAFT_STRANGER: {
        struct peer_socket *socket = (struct peer_socket *)m;
        raft_peers_stranger(&a->peers, &socket);
        a->bootstrap_dirty = true;
        return;
    }
    case RAFT_SEEDS:
        raft_peers_seeds(&a->peers, (const struct raft_seeds *)m);
        break;
    case RAFT_PEER_DOWN:
        take_peer_down(a, (const struct raft_peer_down *)m, now_us);
        break;
    case RAFT_DURABLE:
        event.type = RAFT_EVENT_DURABLE;
        event.sequence = ((const struct raft_durable *)m)->sequence;
        raft_actor_step(a, &event);
        if (raft_snapshots_durable(&a->snapshots, event.sequence)) {
            tell_unknown(a);
        }
        if (a->founding && a->founding_sequence != 0 && event.sequence >= a->founding_sequence) {
            a->founding = false;
            raft_actor_identity(a);
        }
        break;
    case RAFT_LOG_ENTRIES: {
        struct raft_log_entries *answer = (struct raft_log_entries *)m;
        event.type = RAFT_EVENT_LOG_ENTRIES;
        event.log_entries.from_index = answer->from_index;
        event.log_entries.entries = answer->entries;
        answer->entries = NULL;
        raft_actor_step(a, &event);
        break;
    }
    case RAFT_APPLIED:
    case RAFT_KV_DURABLE:
        event.type = m->kind == RAFT_APPLIED ? RAFT_EVENT_APPLIED : RAFT_EVENT_KV_DURABLE;
        event.index = ((const struct raft_index *)m)->index;
        event.cluster_time_us = ((const struct raft_index *)m)->cluster_time_us;
        if (m->kind == RAFT_APPLIED) {
            a->lease_count = ((const struct raft_index *)m)->lease_count;
        }
        raft_actor_step(a, &event);
        break;
    case RAFT_FIGURES: {
        struct figures *figures = (struct figures *)m;
        raft_status(a->core, &figures->raft);
        figures->configuration = *raft_settled_configuration(a->core);
        figures->space = a->space;
        figures->leader_changes = a->leader_changes;
        figures->proposals_failed = a->proposals_failed;
        figures->write_disk_us = a->stage_times.disk_us;
        figures->write_commit_us = a->stage_times.commit_us;
        figures->write_apply_us = a->stage_times.apply_us;
        raft_peers_figures(&a->peers, figures);
        figures_pass_on(&figures);
        return;
    }
    case RAFT_SPACE:
        a->space = ((const struct raft_space *)m)->facts;
        event.type = RAFT_EVENT_SPACE;
        event.low_space = a->space.low;
        raft_actor_step(a, &event);
        break;
    case RAFT_PROBE:
        m->kind = LOG_PROBE;
        actor_send_base(a->to.log, &m);
        return;
    case RAFT_TICK:
        if (((const struct tick *)m)->generation == a->timer_generation) {
            a->armed_at_us = UINT64_MAX;
            event.type = RAFT_EVENT_TICK;
            raft_actor_step(a, &event);
            held_expire(&a->held, now_us);
            raft_reads_expire(a, now_us);
            raft_snapshots_tick(&a->snapshots, now_us);
        }
        break;
    }
    msg_free_base(&m);
}

static void step_and_carry_out(struct raft_actor *a, uint64_t now_us)
{
    a->now_us = now_us;
    raft_founding_consider(a, now_us);
    a->look_for_peers_us = raft_peers_look(&a->peers, now_us);
    raft_proposals_held(a, now_us);
    raft_proposals_led(a, now_us);
    raft_members_flush(a, now_us);
    raft_reads_flush(a, now_us);
    struct raft_event event = {.type = RAFT_EVENT_FLUSH, .now_us = now_us};
    raft_actor_step(a, &event);
    struct raft_status status;
    raft_status(a->core, &status);
    stage_times_note(&a->stage_times, &status, now_us);
    carry_out(a, now_us);
    tell_clock(a, now_us);
}

static void finish(struct raft_actor *a)
{
    a->stopping = false;
    raft_members_stop(a);
    for (size_t i = 0; i < a->held.count; i++) {
        raft_actor_refuse(a, held_at(&a->held, i)->request_id, ERR_STOPPED);
    }
    held_done(&a->held, a->held.count);
    actor_stopped(actor_self());
}

static void flush(void *self, uint64_t now_us)
{
    struct raft_actor *a = self;
    step_and_carry_out(a, now_us);
    if (!a->stopping) {
        return;
    }
    struct raft_status status;
    raft_status(a->core, &status);
    bool over = status.role == RAFT_LEADER ? status.transfer_target == 0 : status.leader != 0;
    if (over || now_us >= a->stop_at_us) {
        log_event(LOG_NOTICE, "lead handed over", "to=%s term=%" PRIu64,
                  status.role == RAFT_LEADER ? "none" : member_name(a, status.leader),
                  status.current_term);
        finish(a);
    }
}

/* A leader hands over first, so that a planned restart is not noticed: the cluster does not have to find out by
 * silence (Thesis §3.10). At the latest after an election timeout it goes all the same. */
static void stop(void *self, uint64_t now_us)
{
    struct raft_actor *a = self;
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .now_us = now_us};
    raft_actor_step(a, &event);
    struct raft_status status;
    raft_status(a->core, &status);
    bool hands_over = event.transfer.error == OK && status.transfer_target != 0;
    if (hands_over) {
        a->stop_at_us = now_us + (uint64_t)a->config.raft.election_timeout_ms * 1000;
    }
    a->stopping = hands_over;
    step_and_carry_out(a, now_us);
    if (!hands_over) {
        finish(a);
    }
}

static void destroy(void *self)
{
    struct raft_actor *a = self;
    held_free(&a->held);
    held_free(&a->led);
    raft_reads_free(a);
    raft_effects_release(&a->effects);
    if (a->core != NULL) {
        raft_destroy(&a->core);
    }
    entries_free(&a->boot.tail);
    mem_free(a->boot_term_runs);
    mem_free(a);
}

static const struct actor_ops raft_actor_ops = {
    .started = started,
    .handle = handle,
    .flush = flush,
    .stop = stop,
    .destroy = destroy,
};

struct actor *raft_actor_create(struct raft_actor_settings *settings)
{
    struct raft_actor *a = mem_zalloc(sizeof(*a));
    a->config = settings->config;
    a->own = settings->hello;
    a->boot = settings->boot;
    settings->boot.tail = NULL;
    a->boot_configuration = settings->configuration;
    a->boot_term_runs = settings->term_runs;
    settings->term_runs = NULL;
    a->links = settings->actors;
    a->random_state = settings->boot.seed ^ settings->hello.boot_id;
    a->bootstrap_said_peer = SIZE_MAX - 1;
    return actor_create(&raft_actor_ops, a, "raft");
}
