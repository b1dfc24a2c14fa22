/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_steps.c: what a call asks of the node, one thing at a time: a proposal, a read, a question. Each has a
 * number, under which its answer finds the call again; and what is certain about lost ones (requests.h).
 *
 * In: CLIENT_REPLY, CLIENT_STATUS, CLIENT_BARRIER, CLIENT_FIGURES. Out: RAFT_PROPOSE, RAFT_READ, APPLY_READ, RAFT_STATUS.
 *
 * Invariants
 *  1. request_id != 0 exactly while the call is in the table of steps under way.
 *  2. Request numbers rise in the order in which proposals are sent to raft (requests.h needs it).
 *  3. `command` holds octets exactly while step_is_write, and request_id != 0 then.
 */
#include "client_actor.h"

static void drop_command(struct client_call *call)
{
    call->step_is_write = false;
    bytes_free(&call->command);
}

void call_forget_step(struct client_actor *a, struct client_call *call)
{
    if (call->request_id != 0) {
        (void)pending_take(&a->pending, call->request_id);
        call->request_id = 0;
        drop_command(call);
    }
}

/* ---- steps ---------------------------------------------------------------------------------------- */

/* A number for the next step, and until when it is worth anything. */
static uint64_t step_number(struct client_actor *a, struct client_call *call)
{
    ASSERT(!call->answered);
    ASSERT(call->request_id == 0);
    call->request_id = REQUEST_ID(a->index, ++a->counter);
    pending_add(&a->pending, call->request_id, call);
    if (call->lasting) {
        call->step_until_us = a->now_us + a->request_timeout_us;
        call_arm_deadline(a, call);
    }
    return call->request_id;
}

/* After it nobody waits for the answer. */
static uint64_t step_until_us(const struct client_call *call)
{
    if (!call->lasting) {
        return call->deadline.at_us;
    }
    return call->step_until_us < call->client_until_us ? call->step_until_us
                                                       : call->client_until_us;
}

static void send_proposal(struct client_actor *a, struct client_call *call)
{
    uint64_t request_id = step_number(a, call);
    if (a->state.low_space && call->step_grows) {
        /* By message, as raft would: whoever proposes is not called back while it does. */
        call->proposed_us = a->now_us;
        client_refuse(a->actor, request_id, ERR_NO_SPACE_LEFT);
        return;
    }
    struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, release_propose);
    m->group = GROUP_DEFAULT;
    m->request_id = request_id;
    m->deadline_us = step_until_us(call);
    m->command = bytes_copy(bytes_view(&call->command));
    call->proposed_us = a->now_us;
    ACTOR_SEND(a->raft, m);
}

void call_propose(struct client_actor *a, struct client_call *call, const struct command *command)
{
    ASSERT(!call->step_is_write);
    call->command.size = command_size(command);
    call->command.data = mem_alloc(call->command.size);
    command_encode(command, call->command.data);
    call->step_is_write = true;
    call->step_grows = a->state.low_space && command_grows(command);
    send_proposal(a, call);
}

/* Under a new number: only for a write that certainly was not carried out under its old one. */
static void propose_again(struct client_actor *a, struct client_call *call)
{
    ASSERT(call->step_is_write);
    if (call->request_id != 0) {
        (void)pending_take(&a->pending, call->request_id);
        call->request_id = 0;
    }
    send_proposal(a, call);
}

static void send_read(struct client_actor *a, struct client_call *call, const struct query *query)
{
    bool serializable = query != NULL && query->serializable;
    struct read_request *m =
        MSG_NEW(struct read_request, serializable ? APPLY_READ : RAFT_READ, release_read_request);
    m->group = GROUP_DEFAULT;
    m->request_id = step_number(a, call);
    m->deadline_us = step_until_us(call);
    m->members = query == NULL;
    bool range = query != NULL && query->kind == QUERY_RANGE;
    m->max_staleness_us = range ? call->max_staleness_us : 0;
    m->query = query != NULL ? query_create(query) : NULL;
    ACTOR_SEND(serializable ? a->apply : a->raft, m);
}

void call_query(struct client_actor *a, struct client_call *call, const struct query *query)
{
    send_read(a, call, query);
}

void call_change_members(struct client_actor *a, struct client_call *call,
                         const struct member_request *request)
{
    struct raft_change_members *m = MSG_NEW(struct raft_change_members, RAFT_CHANGE_MEMBERS, NULL);
    m->group = GROUP_DEFAULT;
    m->request_id = step_number(a, call);
    m->deadline_us = step_until_us(call);
    m->request = *request;
    ACTOR_SEND(a->raft, m);
}

void call_members(struct client_actor *a, struct client_call *call)
{
    send_read(a, call, NULL);
}

void call_figures(struct client_actor *a, struct client_call *call)
{
    struct figures *m = figures_create(a->links, a->actor, CLIENT_FIGURES, step_number(a, call));
    figures_pass_on(&m);
}

void call_status(struct client_actor *a, struct client_call *call)
{
    struct node_status *m = MSG_NEW(struct node_status, RAFT_STATUS, NULL);
    m->group = GROUP_DEFAULT;
    m->request_id = step_number(a, call);
    ACTOR_SEND(a->raft, m);
}

/* ---- what comes back -------------------------------------------------------------------------------- */

/* The step is over: a lasting call goes back to its client's deadline. */
static void step_done(struct client_actor *a, struct client_call *call)
{
    call->request_id = 0;
    if (call->step_is_write) {
        histogram_add(&a->figures.write_us, a->now_us - call->proposed_us, HISTOGRAM_TIMES);
        drop_command(call);
    }
    if (call->lasting) {
        call->step_until_us = UINT64_MAX;
        call_arm_deadline(a, call);
    }
}

static void step_refused(struct client_actor *a, struct client_call *call, enum err error)
{
    if (call->ops->refused != NULL) {
        call->ops->refused(a, call, error);
    } else {
        call_fail_with(a, call, error);
    }
}

void call_step_timed_out(struct client_actor *a, struct client_call *call)
{
    call_forget_step(a, call);
    step_done(a, call);
    step_refused(a, call, ERR_TIMEOUT);
}

void calls_take_reply(struct client_actor *a, const struct client_reply *reply)
{
    struct client_call *call = pending_take(&a->pending, reply->request_id);
    if (call == NULL) {
        return;
    }
    if (reply->error == ERR_LEADER_CHANGED && call->step_is_write) {
        call->request_id = 0;
        propose_again(a, call);
        return;
    }
    enum err error = reply->error;
    if (error == OK && reply->result != NULL) {
        error = reply->result->error;
    }
    step_done(a, call);
    if (error != OK || reply->result == NULL) {
        step_refused(a, call, error);
    } else {
        call->ops->reply(a, call, reply->result);
    }
}

void calls_take_status(struct client_actor *a, const struct node_status *status)
{
    struct client_call *call = pending_take(&a->pending, status->request_id);
    if (call != NULL) {
        step_done(a, call);
        call->ops->status(a, call, status);
    }
}

static void add_figures(struct figures_clients *sum, const struct client_actor *a)
{
    const struct figures_clients *own = &a->figures;
    for (size_t i = 0; i < FIGURES_METHODS; i++) {
        sum->started[i] += own->started[i];
        for (size_t k = 0; k < FIGURES_CODES; k++) {
            sum->handled[i][k] += own->handled[i][k];
        }
    }
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum->write_us.buckets[i] += own->write_us.buckets[i];
    }
    sum->write_us.count += own->write_us.count;
    sum->write_us.sum += own->write_us.sum;
    sum->received_bytes += own->received_bytes;
    sum->sent_bytes += own->sent_bytes;
    sum->healthy += own->healthy;
    sum->unhealthy += own->unhealthy;
    sum->connections += a->shared.count;
    sum->calls += a->call_count;
}

void calls_take_figures(struct client_actor *a, struct figures **figures)
{
    struct figures *m = *figures;
    add_figures(&m->clients, a);
    if (m->stop_at < m->stop_count) {
        figures_pass_on(figures);
        return;
    }
    struct client_call *call = pending_take(&a->pending, m->request_id);
    if (call != NULL) {
        step_done(a, call);
        call->ops->figures(a, call, m);
    }
    MSG_FREE(*figures);
}

/* Rare (a change of term, a snapshot), so the whole table is looked through. */
static void each_write(struct client_actor *a, uint64_t through,
                       void (*act)(struct client_actor *a, struct client_call *call))
{
    struct client_call **found = NULL;
    size_t count = 0;
    size_t capacity = 0;
    for (size_t i = 0; i < a->pending.capacity; i++) {
        const struct pending_slot *slot = &a->pending.slots[i];
        const struct client_call *call = slot->call;
        if (slot->id != 0 && slot->id <= through && call->step_is_write) {
            ARRAY_RESERVE(found, capacity, count + 1);
            found[count++] = slot->call;
        }
    }
    for (size_t i = 0; i < count; i++) {
        act(a, found[i]);
    }
    mem_free(found);
}

void calls_take_barrier(struct client_actor *a, const struct client_barrier *barrier)
{
    each_write(a, barrier->request_id, propose_again);
}

void calls_take_unknown(struct client_actor *a, const struct client_barrier *unknown)
{
    each_write(a, unknown->request_id, call_step_timed_out);
}
