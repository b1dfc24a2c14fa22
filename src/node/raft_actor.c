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
#include "raft_actor.h"

#include "bootstrap.h"
#include "held.h"
#include "node.h"
#include "raft_peers.h"
#include "requests.h"

#include <stdio.h>
#include <string.h>

#define RAFT_TIMER 1
#define QUIET_ELECTION_TIMEOUTS                                                                    \
    3 /* a member of our cluster would have called by then: it dials once per timeout */
#define PROPOSE_BYTES_MAX (1024 * 1024)     /* data octets proposed or forwarded in one block */
#define EXPIRY_LOOK_US    UINT64_C(1000000) /* how often requests that wait are looked through */

/* Reads waiting for one batch of the core. */
struct read_batch {
    uint64_t number;
    struct read_request **requests;
    size_t count, capacity;
};

struct raft_actor {
    struct raft *core;
    struct raft_effects effects;
    struct config config;
    struct peer_hello own;
    struct raft_boot boot; /* until started */
    struct configuration boot_configuration;
    struct raft_term_run *boot_term_runs;
    const struct node_actors *links;
    struct node_actors to; /* copied at start */

    struct raft_peers peers;
    bool bootstrap_dirty, quiet_seen;
    uint64_t quiet_at_us; /* whoever has a cluster of our name would have called by then */
    enum bootstrap_action bootstrap_said;
    size_t bootstrap_said_peer;
    bool founding;              /* the founded configuration is not durable yet: tell nobody */
    uint64_t founding_sequence; /* the persist that holds it; 0: not handed out yet */
    uint64_t random_state;

    struct held held; /* to be proposed, in order; waits while no leader is known */
    struct held led;  /* apply's own proposals: go with the next flush, into our log or nowhere */
    struct request_barrier barrier;
    struct request_filter filter;
    uint64_t refused_term; /* the leader we know of this term refused a forward: wait for another */

    struct read_batch *batches; /* in order of their numbers */
    size_t batch_count, batch_capacity;
    uint64_t read_bytes; /* of the reads in all of them */

    uint64_t lease_count;     /* as apply said last */
    struct apply_clock clock; /* what apply was told last ... */
    uint64_t clock_told_us;   /* ... and when */
    uint64_t armed_at_us, timer_generation;
    struct raft_status seen; /* what was last told to clients and logged */
    uint64_t seen_configuration_index, seen_settled_index;
    uint64_t leader_changes;   /* to a leader that is known, as etcd counts them */
    uint64_t proposals_failed; /* of this node's clients, refused */
};

const struct raft *raft_actor_core(const struct raft_actor *self)
{
    return self->core;
}

static void step(struct raft_actor *a, struct raft_event *event)
{
    raft_step(a->core, event, &a->effects);
}

/* ---- answers to clients --------------------------------------------------------------------------- */

static void refuse(struct raft_actor *a, uint64_t request_id, enum err error)
{
    size_t client = REQUEST_CLIENT_OF(request_id);
    if (request_id == 0 || client >= a->to.client_count) {
        return;
    }
    client_refuse(a->to.clients[client], request_id, error);
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
        state->configuration = *raft_configuration(a->core);
        ACTOR_SEND(to, state);
    }
}

static void fill_status(struct raft_actor *a, struct node_status *status)
{
    raft_status(a->core, &status->raft);
    status->configuration = *raft_configuration(a->core);
    status->configuration.cluster_id = a->own.cluster_id;
}

/* ---- peers -------------------------------------------------------------------------------------- */

static void send_to_member(struct raft_actor *a, struct raft_message *message)
{
    raft_peers_send(&a->peers, message);
}

/* Our identity or the members changed: whoever greets others has to know. By the settled members: one that is
 * being removed hears of it first. */
static void tell_identity(struct raft_actor *a)
{
    const struct configuration *settled = raft_settled_configuration(a->core);
    raft_peers_identity(&a->peers, &a->own,
                        settled->count > 0 ? settled : raft_configuration(a->core));
}

/* ---- the first start ------------------------------------------------------------------------------ */

static bool is_blank(const struct raft_actor *a)
{
    return a->own.cluster_id == 0;
}

static void say_waiting(struct raft_actor *a, const struct bootstrap_decision *decision)
{
    if (decision->action == a->bootstrap_said && decision->peer_index == a->bootstrap_said_peer) {
        return;
    }
    a->bootstrap_said = decision->action;
    a->bootstrap_said_peer = decision->peer_index;
    const char *peer = raft_peers_name(&a->peers, decision->peer_index);
    switch (decision->action) {
    case BOOTSTRAP_LISTS_DIFFER:
        log_event(
            LOG_ERROR, "cannot found a cluster",
            "reason=\"the members lists differ\" peer=%s next=\"give all nodes the same members "
            "in their configuration files and restart them\"",
            peer);
        break;
    case BOOTSTRAP_TWO_FOUNDERS:
        log_event(LOG_ERROR, "cannot found a cluster",
                  "reason=\"this node and another both have bootstrap = true\" peer=%s next=\"take "
                  "it out "
                  "of the configuration file of one of them and restart that one\"",
                  peer);
        break;
    case BOOTSTRAP_TWO_CLUSTERS:
        log_event(
            LOG_ERROR, "cannot join",
            "reason=\"the listed members belong to different clusters\" peer=%s next=\"list only "
            "members of one cluster\"",
            peer);
        break;
    case BOOTSTRAP_WAIT:
        log_event(
            LOG_NOTICE, "waiting for the other members",
            "heard=%zu of=%zu next_missing=%s reason=\"a cluster is founded only when all listed "
            "members answer that they are empty\"",
            decision->heard_count, a->to.peer_count, peer);
        break;
    case BOOTSTRAP_FOUND:
    case BOOTSTRAP_JOIN:
        break;
    }
}

static void found_cluster(struct raft_actor *a, uint64_t now_us)
{
    uint64_t cluster_id = 0;
    while (cluster_id == 0) {
        cluster_id = random_next(&a->random_state);
    }
    struct configuration configuration;
    bootstrap_configuration(&a->config, &a->own, a->peers.heard, cluster_id, &configuration);

    struct log_cluster_id *id = MSG_NEW(struct log_cluster_id, LOG_CLUSTER_ID, NULL);
    id->cluster_id = cluster_id;
    ACTOR_SEND(a->to.log, id);

    a->own.cluster_id = cluster_id;
    a->own.empty = false;
    struct raft_event event = {
        .type = RAFT_EVENT_BOOTSTRAP, .now_us = now_us, .configuration = &configuration};
    step(a, &event);
    a->founding = true;
    log_event(LOG_NOTICE, "founding the cluster",
              "cluster=%s cluster_id=%016" PRIx64 " members=%zu", a->own.cluster, cluster_id,
              configuration.count);
}

static void consider_bootstrap(struct raft_actor *a, uint64_t now_us)
{
    bool quiet = now_us >= a->quiet_at_us;
    if (!is_blank(a) || (!a->bootstrap_dirty && quiet == a->quiet_seen)) {
        return;
    }
    a->bootstrap_dirty = false;
    a->quiet_seen = quiet;
    struct bootstrap_decision decision =
        bootstrap_decide(&a->config, &a->own, a->peers.heard, a->peers.slots.count, quiet);
    switch (decision.action) {
    case BOOTSTRAP_FOUND:
        found_cluster(a, now_us);
        break;
    case BOOTSTRAP_JOIN: {
        struct log_cluster_id *id = MSG_NEW(struct log_cluster_id, LOG_CLUSTER_ID, NULL);
        id->cluster_id = decision.cluster_id;
        ACTOR_SEND(a->to.log, id);
        a->own.cluster_id = decision.cluster_id;
        log_event(LOG_NOTICE, "joining the cluster", "cluster_id=%016" PRIx64 " told_by=%s",
                  decision.cluster_id, raft_peers_name(&a->peers, decision.peer_index));
        tell_identity(a);
        break;
    }
    case BOOTSTRAP_WAIT:
    case BOOTSTRAP_LISTS_DIFFER:
    case BOOTSTRAP_TWO_FOUNDERS:
    case BOOTSTRAP_TWO_CLUSTERS:
        say_waiting(a, &decision);
        break;
    }
}

/* ---- proposals ------------------------------------------------------------------------------------ */

static void hold(struct raft_actor *a, struct raft_propose *propose)
{
    struct held *to = propose->only_if_leader ? &a->led : &a->held;
    if (!held_push(to, &propose, a->config.raft.uncommitted_bytes_max)) {
        a->proposals_failed++;
        refuse(a, propose->request_id, ERR_OVERLOAD);
        MSG_FREE(propose);
    }
}

static void note_proposed(struct raft_actor *a, uint64_t term, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        request_barrier_proposed(&a->barrier, term, held_at(&a->held, i)->request_id);
    }
}

/* Append the block to our log, stamped with the cluster time of this moment: only the leader knows it. */
static enum err append(struct raft_actor *a, struct entries *block, uint64_t now_us)
{
    uint64_t stamp_us = raft_stamp_us(a->core, now_us);
    for (size_t i = 0; i < block->count; i++) {
        command_stamp(entries_data(block, i), block->items[i].data.size, stamp_us);
    }
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .now_us = now_us};
    event.propose.commands = block;
    step(a, &event);
    return event.propose.error;
}

/* What apply proposed as the leader's: it looks at the clock again and again, so nothing is lost by a refusal. */
static void propose_led(struct raft_actor *a, uint64_t now_us)
{
    while (a->led.count > 0) {
        struct raft_status status;
        size_t count = a->led.count;
        raft_status(a->core, &status);
        if (status.role == RAFT_LEADER) {
            struct entries *block = held_block(&a->led, a->own.boot_id, &count);
            if (append(a, block, now_us) != OK) {
                count = a->led.count;
            }
            entries_free(&block);
        }
        held_done(&a->led, count);
    }
}

/* Hand everything held to the leader, which may be this node. Leaves it held where none is known. */
static void propose_held(struct raft_actor *a, uint64_t now_us)
{
    if (a->held.count == 0) {
        return;
    }
    struct raft_status status;
    raft_status(a->core, &status);
    bool leads = status.role == RAFT_LEADER;
    size_t peer = leads ? SIZE_MAX : raft_peers_of_member(&a->peers, status.leader);
    if (status.transfer_target != 0) {
        return; /* held until somebody else leads, or this node goes on */
    }
    if (!leads && (peer == SIZE_MAX || !a->peers.heard[peer].heard ||
                   a->refused_term == status.current_term)) {
        return;
    }
    held_expire(&a->held, now_us);
    while (a->held.count > 0) {
        size_t count = 0;
        struct entries *block = held_block(&a->held, a->own.boot_id, &count);
        if (leads) {
            enum err error = append(a, block, now_us);
            if (error == OK) {
                note_proposed(a, status.current_term, count);
            } else {
                for (size_t i = 0; i < count; i++) {
                    a->proposals_failed++;
                    refuse(a, held_at(&a->held, i)->request_id, error);
                }
            }
            entries_free(&block);
        } else {
            note_proposed(a, status.current_term, count);
            struct raft_message forward = {.type = RAFT_FORWARD,
                                           .from = a->own.member_id,
                                           .to = status.leader,
                                           .term = status.current_term,
                                           .entries = block};
            send_to_member(a, &forward);
        }
        held_done(&a->held, count);
    }
}

/* A forward arrived: append it if we lead in the very term it was sent in. */
static void take_forward(struct raft_actor *a, struct raft_message *message, uint64_t now_us)
{
    struct entries *all = message->entries;
    if (all == NULL || all->count == 0) {
        return;
    }
    struct entries *fresh = entries_create(all->count, all->bytes);
    for (size_t i = 0; i < all->count; i++) {
        struct entry e = all->items[i];
        /* What this version cannot read must not enter the log: nobody of its version could apply it. */
        bool readable = e.data.size > 0 && e.data.data[0] <= COMMAND_FORMAT;
        if (e.type == ENTRY_COMMAND && readable &&
            request_filter_take(&a->filter, e.origin, e.request_id)) {
            e.index = fresh->count + 1;
            e.term = 0;
            entries_add(fresh, &e);
        }
    }
    if (fresh->count == 0) {
        entries_free(&fresh);
        return;
    }
    struct raft_status status;
    raft_status(a->core, &status);
    enum err error = ERR_NOT_LEADER;
    if (status.role == RAFT_LEADER && status.current_term == message->term) {
        error = append(a, fresh, now_us);
    }
    if (error == OK) {
        entries_free(&fresh);
        return;
    }
    struct raft_message refused = {.type = RAFT_FORWARD_REFUSED,
                                   .from = a->own.member_id,
                                   .to = message->from,
                                   .term = message->term,
                                   .refusal = error,
                                   .entries = fresh};
    send_to_member(a, &refused);
}

static void take_forward_refused(struct raft_actor *a, const struct raft_message *message)
{
    if (message->entries == NULL) {
        return;
    }
    struct raft_status status;
    raft_status(a->core, &status);
    if (message->refusal == ERR_NOT_LEADER && message->from == status.leader &&
        message->term == status.current_term) {
        /* Who does not lead in this term any more never leads in it again. A refusal of an earlier term's
         * forward says nothing about a leader that has been elected again since. */
        a->refused_term = message->term;
    }
    for (size_t i = 0; i < message->entries->count; i++) {
        const struct entry *e = &message->entries->items[i];
        if (e->origin == a->own.boot_id) {
            a->proposals_failed++;
            refuse(a, e->request_id,
                   message->refusal == ERR_OVERLOAD ? ERR_OVERLOAD : ERR_LEADER_CHANGED);
        }
    }
}

/* ---- reads ---------------------------------------------------------------------------------------- */

static uint64_t read_size(const struct read_request *request)
{
    const struct query *query = request->query;
    return sizeof(*request) + (query == NULL ? 0 : query->key.size + query->range_end.size);
}

static void take_read(struct raft_actor *a, struct read_request *request, uint64_t now_us)
{
    uint64_t bytes = a->read_bytes + read_size(request);
    if (a->read_bytes > 0 && bytes > a->config.raft.uncommitted_bytes_max) { /* as in hold */
        refuse(a, request->request_id, ERR_OVERLOAD);
        MSG_FREE(request);
        return;
    }
    struct raft_event event = {.type = RAFT_EVENT_READ, .now_us = now_us};
    step(a, &event);
    struct read_batch *batch = a->batch_count > 0 ? &a->batches[a->batch_count - 1] : NULL;
    if (batch == NULL || batch->number != event.read.batch) {
        ASSERT(batch == NULL || batch->number < event.read.batch);
        ARRAY_RESERVE(a->batches, a->batch_capacity, a->batch_count + 1);
        ASSERT(a->batches != NULL);
        batch = &a->batches[a->batch_count++];
        memset(batch, 0, sizeof(*batch));
        batch->number = event.read.batch;
    }
    ARRAY_RESERVE(batch->requests, batch->capacity, batch->count + 1);
    batch->requests[batch->count++] = request;
    a->read_bytes = bytes;
}

static void answer_read(struct raft_actor *a, struct read_request *request,
                        const struct raft_read_answer *answer)
{
    if (answer->error != OK) {
        refuse(a, request->request_id, answer->error);
        MSG_FREE(request);
        return;
    }
    if (request->members) {
        size_t client = REQUEST_CLIENT_OF(request->request_id);
        if (client < a->to.client_count) {
            struct node_status *status = MSG_NEW(struct node_status, CLIENT_STATUS, NULL);
            status->request_id = request->request_id;
            fill_status(a, status);
            ACTOR_SEND(a->to.clients[client], status);
        }
        MSG_FREE(request);
        return;
    }
    request->read_index = answer->index;
    if (request->query != NULL && request->query->kind == QUERY_LEASE_TTL) {
        struct raft_status status;
        raft_status(a->core, &status);
        request->query->cluster_time_us = status.cluster_time_us;
    }
    request->base.kind = APPLY_READ;
    ACTOR_SEND(a->to.apply, request);
}

static void answer_batch(struct raft_actor *a, const struct raft_read_answer *answer)
{
    for (size_t i = 0; i < a->batch_count; i++) {
        struct read_batch *batch = &a->batches[i];
        if (batch->number != answer->batch) {
            continue;
        }
        for (size_t k = 0; k < batch->count; k++) {
            a->read_bytes -= read_size(batch->requests[k]);
            answer_read(a, batch->requests[k], answer);
        }
        mem_free(batch->requests);
        memmove(batch, batch + 1, (a->batch_count - i - 1) * sizeof(*batch));
        a->batch_count--;
        return;
    }
}

/* Reads whose clients have been told go; their batches may stay empty until the core answers. */
static void drop_expired_reads(struct raft_actor *a, uint64_t now_us)
{
    for (size_t i = 0; i < a->batch_count; i++) {
        struct read_batch *batch = &a->batches[i];
        size_t left = 0;
        for (size_t k = 0; k < batch->count; k++) {
            if (batch->requests[k]->deadline_us < now_us) {
                a->read_bytes -= read_size(batch->requests[k]);
                MSG_FREE(batch->requests[k]);
            } else {
                batch->requests[left++] = batch->requests[k];
            }
        }
        batch->count = left;
    }
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
    if (is_blank(a) && !a->quiet_seen && at_us > a->quiet_at_us) {
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
            tell_identity(a);
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
        send_to_member(a, &out->sends[i]);
    }
    if (out->apply != NULL) {
        send_apply(a);
    }
    for (size_t i = 0; i < out->read_count; i++) {
        answer_batch(a, &out->reads[i]);
    }
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
    a->quiet_at_us =
        now_us + QUIET_ELECTION_TIMEOUTS * 1000 * (uint64_t)a->config.raft.election_timeout_ms;
    raft_peers_init(&a->peers, &a->config, &a->own, raft_configuration(a->core), &a->to);
    a->effects.state_changed = true; /* tell everybody where we start */
    a->seen_configuration_index = UINT64_MAX;
    a->armed_at_us = UINT64_MAX;
}

static void take_received(struct raft_actor *a, struct raft_received *received, uint64_t now_us)
{
    struct raft_message *message = &received->message;
    if (is_blank(a)) {
        return;
    }
    switch (message->type) {
    case RAFT_FORWARD:
        take_forward(a, message, now_us);
        return;
    case RAFT_FORWARD_REFUSED:
        take_forward_refused(a, message);
        return;
    case RAFT_REQUEST_PRE_VOTE:
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_REQUEST_VOTE:
    case RAFT_VOTE_REPLY:
    case RAFT_APPEND_ENTRIES:
    case RAFT_APPEND_REPLY:
    case RAFT_READ_INDEX:
    case RAFT_READ_INDEX_REPLY:
    case RAFT_INSTALL_SNAPSHOT:
    case RAFT_INSTALL_SNAPSHOT_REPLY:
    case RAFT_TIMEOUT_NOW:
        break;
    }
    struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .now_us = now_us, .received = message};
    step(a, &event);
}

static void take_peer_up(struct raft_actor *a, const struct raft_peer_up *up, uint64_t now_us)
{
    if (raft_peers_up(&a->peers, up) == SIZE_MAX) {
        return;
    }
    a->bootstrap_dirty = true;
    struct raft_event event = {
        .type = RAFT_EVENT_PEER_UP, .now_us = now_us, .peer = up->hello.member_id};
    step(a, &event);
}

static void take_peer_down(struct raft_actor *a, const struct raft_peer_down *down, uint64_t now_us)
{
    if (raft_peers_down(&a->peers, down) == SIZE_MAX) {
        return;
    }
    a->bootstrap_dirty = true;
    struct raft_event event = {
        .type = RAFT_EVENT_PEER_DOWN, .now_us = now_us, .peer = down->member_id};
    step(a, &event);
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct raft_actor *a = self;
    struct raft_event event = {.now_us = now_us};
    switch ((enum raft_kind)m->kind) {
    case RAFT_PROPOSE:
        hold(a, (struct raft_propose *)m);
        return;
    case RAFT_READ:
        take_read(a, (struct read_request *)m, now_us);
        return;
    case RAFT_STATUS: {
        struct node_status *status = (struct node_status *)m;
        fill_status(a, status);
        status->base.kind = APPLY_STATUS;
        ACTOR_SEND(a->to.apply, status);
        return;
    }
    case RAFT_RECEIVED:
        take_received(a, (struct raft_received *)m, now_us);
        break;
    case RAFT_PEER_UP:
        take_peer_up(a, (const struct raft_peer_up *)m, now_us);
        break;
    case RAFT_STRANGER: {
        struct peer_socket *socket = (struct peer_socket *)m;
        raft_peers_stranger(&a->peers, &socket);
        a->bootstrap_dirty = true;
        return;
    }
    case RAFT_PEER_DOWN:
        take_peer_down(a, (const struct raft_peer_down *)m, now_us);
        break;
    case RAFT_DURABLE:
        event.type = RAFT_EVENT_DURABLE;
        event.sequence = ((const struct raft_durable *)m)->sequence;
        step(a, &event);
        if (a->founding && a->founding_sequence != 0 && event.sequence >= a->founding_sequence) {
            a->founding = false;
            tell_identity(a);
        }
        break;
    case RAFT_LOG_ENTRIES: {
        struct raft_log_entries *answer = (struct raft_log_entries *)m;
        event.type = RAFT_EVENT_LOG_ENTRIES;
        event.log_entries.from_index = answer->from_index;
        event.log_entries.entries = answer->entries;
        answer->entries = NULL;
        step(a, &event);
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
        step(a, &event);
        break;
    case RAFT_FIGURES: {
        struct figures *figures = (struct figures *)m;
        raft_status(a->core, &figures->raft);
        figures->configuration = *raft_settled_configuration(a->core);
        figures->leader_changes = a->leader_changes;
        figures->proposals_failed = a->proposals_failed;
        figures_pass_on(&figures);
        return;
    }
    case RAFT_PROBE:
        m->kind = LOG_PROBE;
        actor_send_base(a->to.log, &m);
        return;
    case RAFT_TICK:
        if (((const struct tick *)m)->generation == a->timer_generation) {
            a->armed_at_us = UINT64_MAX;
            event.type = RAFT_EVENT_TICK;
            step(a, &event);
            held_expire(&a->held, now_us);
            drop_expired_reads(a, now_us);
        }
        break;
    }
    msg_free_base(&m);
}

static void flush(void *self, uint64_t now_us)
{
    struct raft_actor *a = self;
    consider_bootstrap(a, now_us);
    propose_held(a, now_us);
    propose_led(a, now_us);
    struct raft_event event = {.type = RAFT_EVENT_FLUSH, .now_us = now_us};
    step(a, &event);
    carry_out(a, now_us);
    tell_clock(a, now_us);
}

static void stop(void *self, uint64_t now_us)
{
    struct raft_actor *a = self;
    flush(a, now_us);
    for (size_t i = 0; i < a->held.count; i++) {
        refuse(a, held_at(&a->held, i)->request_id, ERR_STOPPED);
    }
    held_done(&a->held, a->held.count);
    actor_stopped(actor_self());
}

static void destroy(void *self)
{
    struct raft_actor *a = self;
    held_free(&a->held);
    held_free(&a->led);
    for (size_t i = 0; i < a->batch_count; i++) {
        for (size_t k = 0; k < a->batches[i].count; k++) {
            MSG_FREE(a->batches[i].requests[k]);
        }
        mem_free(a->batches[i].requests);
    }
    mem_free(a->batches);
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
