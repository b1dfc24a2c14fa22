/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_members.c: requests about members on their way: from this node's clients, from other nodes, and those that
 * this node makes itself for nodes that call it and are no members yet (admission). Each is carried out by the
 * leader, one change at a time, and is done when the change is committed and not joint any more.
 *
 * A request that was forwarded and not answered goes again, marked so: a leader that has done it already says that
 * it is done. A change that was begun and whose entry is gone when its index is committed was not carried out; where a
 * snapshot stands for the entry the outcome is unknown.
 *
 * Not here: what a request makes of the members (member_change.c), who votes (raft_pilot.c).
 *
 * Invariants
 *  1. At most MEMBER_REQUESTS_MAX wait; each goes at its deadline, its client has been told by then.
 *  2. Requests of other nodes wait only here, on the leader; they are answered when begun.
 */
#include "raft_state.h"

#include "member_change.h"

#include <string.h>

/* ---- answers ---------------------------------------------------------------------------------------------- */

/* A message about members is one entry of data. The data is let go. */
static void post(struct raft_actor *a, enum raft_message_type type, uint64_t to, uint64_t origin,
                 uint64_t request_id, struct buffer *data)
{
    struct entry e = {.index = 1,
                      .type = ENTRY_COMMAND,
                      .origin = origin,
                      .request_id = request_id,
                      .data = view_of(data->data, data->size)};
    struct raft_message message = {
        .type = type, .from = a->own.member_id, .to = to, .entries = entries_create(1, data->size)};
    entries_add(message.entries, &e);
    buffer_free(data);
    raft_actor_send(a, &message);
}

static void reply_to(struct raft_actor *a, const struct member_waiting *w,
                     const struct member_reply *reply)
{
    struct buffer data = {0};
    member_reply_encode(reply, &data);
    post(a, RAFT_MEMBERS_REPLY, w->from, w->origin, w->request_id, &data);
}

/* It will not be carried out. */
static void fail(struct raft_actor *a, const struct member_waiting *w, enum err error)
{
    if (w->origin != 0) {
        const struct member_reply reply = {.error = error};
        if (w->request_id != 0) {
            reply_to(a, w, &reply);
        }
        return;
    }
    raft_actor_refuse(a, w->request_id, error);
}

static void remove_at(struct raft_members *m, size_t at)
{
    memmove(&m->waiting[at], &m->waiting[at + 1], (m->count - at - 1) * sizeof(m->waiting[0]));
    m->count--;
}

static void add(struct raft_actor *a, const struct member_waiting *w)
{
    struct raft_members *m = &a->members;
    if (m->count == MEMBER_REQUESTS_MAX) {
        fail(a, w, ERR_OVERLOAD);
        return;
    }
    m->waiting[m->count++] = *w;
}

/* ---- carrying out, on the leader ---------------------------------------------------------------------------- */

/* Declared by a person: in the config file, or by MemberAdd. */
static bool is_declared(const struct raft_actor *a, const struct member_request *request)
{
    for (size_t i = 0; i < a->config.member_count; i++) {
        if (strcmp(a->config.members[i].name, request->name) == 0) {
            return true;
        }
    }
    const struct configuration *c = raft_configuration(a->core);
    for (size_t i = 0; i < c->declared_count; i++) {
        if (strcmp(c->declared[i].peer, request->peer) == 0) {
            return true;
        }
    }
    return configuration_find_name(c, request->name) >= 0;
}

static void say_not_admitted(struct raft_actor *a, const struct member_request *request,
                             enum err error)
{
    if (a->members.refused_id == request->id && a->members.refused_error == error) {
        return;
    }
    a->members.refused_id = request->id;
    a->members.refused_error = error;
    const char *next = "";
    if (error == ERR_UNKNOWN_MEMBER) {
        next = " next=\"declare it: in this node's list of members, or by 'member add'\"";
    } else if (error == ERR_IDENTITY) {
        next = " next=\"'cluster replace' it, or wait until another member votes in its place\"";
    }
    log_event(LOG_WARNING, "node not admitted", "peer=%s member_id=%016" PRIx64 " reason=\"%s\"%s",
              request->name, request->id, err_text(error), next);
}

/* ERR_CHANGE_PENDING: not yet. */
static enum err carry_out(struct raft_actor *a, const struct raft_status *status,
                          const struct member_request *request, uint64_t *index, uint64_t now_us)
{
    if (!raft_pilot_settled(a, status)) {
        return ERR_CHANGE_PENDING;
    }
    if (request->action == MEMBER_ADMIT && a->config.admit_declared && !is_declared(a, request)) {
        return ERR_UNKNOWN_MEMBER;
    }
    struct pilot_view *view = mem_alloc(sizeof(*view));
    struct configuration *target = mem_alloc(sizeof(*target));
    raft_pilot_view(a, now_us, view);
    enum err error = member_change(view, request, target);
    bool is_new = configuration_find(view->configuration, request->id) < 0;
    if (error == OK) {
        struct raft_event event = {.type = RAFT_EVENT_CHANGE_CONFIGURATION, .now_us = now_us};
        event.change.target = target;
        event.change.expected_index = status->configuration_index;
        raft_actor_step(a, &event);
        error = event.change.error;
        *index = event.change.index;
    }
    mem_free(view);
    mem_free(target);
    if (request->action == MEMBER_ADMIT && error == OK && is_new) {
        log_event(LOG_NOTICE, "node admitted",
                  "peer=%s member_id=%016" PRIx64 " address=%s as=standby", request->name,
                  request->id, request->peer);
    }
    bool later = error == ERR_LEADER_CHANGED || error == ERR_CHANGED_SINCE ||
                 error == ERR_NOT_LEADER || error == ERR_NO_LEADER;
    return later ? ERR_CHANGE_PENDING : error;
}

/* ---- on the way ------------------------------------------------------------------------------------------------ */

static void send(struct raft_actor *a, const struct member_request *request, uint64_t request_id,
                 uint64_t leader)
{
    struct buffer data = {0};
    member_request_encode(request, &data);
    post(a, RAFT_MEMBERS, leader, a->own.boot_id, request_id, &data);
}

static bool hears_leader(const struct raft_actor *a, const struct raft_status *status)
{
    size_t peer = raft_peers_of_member(&a->peers, status->leader);
    return peer != SIZE_MAX && a->peers.heard[peer].heard;
}

/* Held ones: begin, or hand on. True: it waits no more. */
static bool try_held(struct raft_actor *a, const struct raft_status *status,
                     struct member_waiting *w, uint64_t now_us)
{
    if (status->role == RAFT_LEADER) {
        enum err error = carry_out(a, status, &w->request, &w->index, now_us);
        if (error == ERR_CHANGE_PENDING) {
            return false;
        }
        w->term = status->current_term;
        w->state = MEMBER_BEGUN;
        if (error != OK) {
            if (w->request.action == MEMBER_ADMIT) {
                say_not_admitted(a, &w->request, error);
            }
            fail(a, w, error);
            return true;
        }
        if (w->origin != 0) {
            const struct member_reply reply = {.index = w->index, .term = w->term};
            if (w->request_id != 0) {
                reply_to(a, w, &reply);
            }
            return true;
        }
        return false;
    }
    if (w->origin != 0) {
        fail(a, w, ERR_NOT_LEADER);
        return true;
    }
    if (hears_leader(a, status)) {
        w->state = MEMBER_SENT;
        w->term = status->current_term;
        w->sent_us = now_us;
        send(a, &w->request, w->request_id, status->leader);
        w->request.again = true;
    }
    return false;
}

static bool try_transfer(struct raft_actor *a, const struct raft_status *status,
                         struct member_waiting *w, uint64_t now_us)
{
    if (w->state == MEMBER_HELD) {
        struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .now_us = now_us};
        event.transfer.target = w->request.id;
        raft_actor_step(a, &event);
        if (event.transfer.error != OK) {
            fail(a, w, event.transfer.error);
            return true;
        }
        w->state = MEMBER_BEGUN;
        w->term = status->current_term;
        if (w->request.id == a->own.member_id) {
            raft_actor_answer_status(a, w->request_id);
            return true;
        }
        return false;
    }
    if (status->current_term > w->term && status->leader != 0) {
        if (status->leader == a->own.member_id) {
            fail(a, w, ERR_LEADER_CHANGED);
        } else {
            raft_actor_answer_status(a, w->request_id);
        }
        return true;
    }
    if (status->role == RAFT_LEADER && status->transfer_target == 0) {
        fail(a, w, ERR_TIMEOUT); /* it did not take over in an election timeout */
        return true;
    }
    return false;
}

/* True: it waits no more. */
static bool advance(struct raft_actor *a, const struct raft_status *status,
                    struct member_waiting *w, uint64_t now_us)
{
    if (w->request.action == MEMBER_TRANSFER) {
        return try_transfer(a, status, w, now_us);
    }
    if (w->state == MEMBER_SENT &&
        (w->term != status->current_term || now_us >= w->sent_us + MEMBER_RESEND_US)) {
        w->state = MEMBER_HELD;
    }
    if (w->state == MEMBER_HELD) {
        if (try_held(a, status, w, now_us)) {
            return true;
        }
    }
    if (w->state == MEMBER_BEGUN && status->configuration_settled_index >= w->index &&
        !configuration_is_joint(raft_settled_configuration(a->core))) {
        uint64_t term = raft_term_at(a->core, w->index);
        if (term == 0) {
            fail(a, w,
                 ERR_TIMEOUT); /* a snapshot stands for it: whose entry it was is not to be known */
        } else if (term != w->term) {
            fail(a, w, ERR_LEADER_CHANGED);
        } else {
            raft_actor_answer_status(a, w->request_id);
        }
        return true;
    }
    return false;
}

/* ---- admission ------------------------------------------------------------------------------------------------- */

static bool wants_in(const struct raft_actor *a, const struct bootstrap_peer *peer)
{
    const struct peer_hello *hello = &peer->hello;
    return peer->heard && hello->cluster_id == a->own.cluster_id && hello->cluster_id != 0 &&
           configuration_find(raft_configuration(a->core), hello->member_id) < 0 &&
           configuration_find(raft_settled_configuration(a->core), hello->member_id) < 0 &&
           !configuration_was_removed(raft_configuration(a->core), hello->member_id);
}

static void admit(struct raft_actor *a, const struct raft_status *status,
                  const struct peer_hello *hello, uint64_t now_us)
{
    struct member_request request = {.action = MEMBER_ADMIT, .id = hello->member_id};
    memcpy(request.name, hello->name, sizeof(request.name));
    memcpy(request.peer, hello->peer, sizeof(request.peer));
    memcpy(request.client, hello->client, sizeof(request.client));
    if (status->role != RAFT_LEADER) {
        send(a, &request, 0, status->leader);
        return;
    }
    uint64_t index = 0;
    enum err error = carry_out(a, status, &request, &index, now_us);
    if (error != OK && error != ERR_CHANGE_PENDING) {
        say_not_admitted(a, &request, error);
    }
}

static void look_for_nodes(struct raft_actor *a, const struct raft_status *status, uint64_t now_us)
{
    bool can_ask = status->role == RAFT_LEADER || hears_leader(a, status);
    for (size_t i = 0; i < a->peers.slots.count && can_ask; i++) {
        if (wants_in(a, &a->peers.heard[i])) {
            admit(a, status, &a->peers.heard[i].hello, now_us);
        }
    }
}

/* ---- for raft_actor.c -------------------------------------------------------------------------------------------- */

void raft_members_take(struct raft_actor *a, const struct raft_change_members *m)
{
    const struct member_waiting w = {.state = MEMBER_HELD,
                                     .request = m->request,
                                     .request_id = m->request_id,
                                     .deadline_us = m->deadline_us};
    add(a, &w);
}

void raft_members_forwarded(struct raft_actor *a, const struct raft_message *message,
                            uint64_t now_us)
{
    for (size_t i = 0; message->entries != NULL && i < message->entries->count; i++) {
        const struct entry *e = &message->entries->items[i];
        struct member_waiting w = {
            .state = MEMBER_HELD,
            .request_id = e->request_id,
            .deadline_us = now_us + (uint64_t)a->config.request_timeout_ms * 1000,
            .from = message->from,
            .origin = e->origin,
        };
        if (w.origin == 0 || member_request_decode(e->data, &w.request) != OK) {
            continue;
        }
        /* Admissions come again by themselves. */
        bool twice = false;
        for (size_t k = 0; k < a->members.count; k++) {
            const struct member_waiting *other = &a->members.waiting[k];
            twice = twice || (other->origin == w.origin && other->request_id == w.request_id &&
                              other->request.action == w.request.action &&
                              other->request.id == w.request.id);
        }
        if (!twice) {
            add(a, &w);
        }
    }
}

void raft_members_replied(struct raft_actor *a, const struct raft_message *message)
{
    for (size_t i = 0; message->entries != NULL && i < message->entries->count; i++) {
        const struct entry *e = &message->entries->items[i];
        struct member_reply reply;
        if (e->origin != a->own.boot_id || member_reply_decode(e->data, &reply) != OK) {
            continue;
        }
        for (size_t k = 0; k < a->members.count; k++) {
            struct member_waiting *w = &a->members.waiting[k];
            if (w->request_id != e->request_id || w->origin != 0 || w->state != MEMBER_SENT) {
                continue;
            }
            if (reply.error == OK) {
                w->state = MEMBER_BEGUN;
                w->index = reply.index;
                w->term = reply.term;
            } else if (reply.error != ERR_NOT_LEADER) { /* else it goes again by itself */
                fail(a, w, reply.error);
                remove_at(&a->members, k);
            }
            break;
        }
    }
}

/* Their clients have been told that the outcome is unknown. */
static void let_due_go(struct raft_members *m, uint64_t now_us)
{
    for (size_t i = m->count; i > 0; i--) {
        if (m->waiting[i - 1].deadline_us <= now_us) {
            remove_at(m, i - 1);
        }
    }
}

void raft_members_flush(struct raft_actor *a, uint64_t now_us)
{
    struct raft_status status;
    raft_status(a->core, &status);
    let_due_go(&a->members, now_us);
    if (raft_actor_is_blank(a)) {
        return;
    }
    if (status.removed && !a->members.removed_said) {
        log_event(LOG_ERROR, "removed from the cluster",
                  "member_id=%016" PRIx64 " next=\"stop this node; to let it join as a new member, "
                  "empty its data directory\"",
                  a->own.member_id);
    }
    a->members.removed_said = status.removed;
    for (size_t i = 0; i < a->members.count;) {
        struct member_waiting *w = &a->members.waiting[i];
        if (advance(a, &status, w, now_us)) {
            remove_at(&a->members, i);
        } else {
            i++;
        }
        raft_status(a->core, &status);
    }
    raft_pilot_flush(a, &status, now_us);
    if (now_us >= a->members.look_at_us) {
        a->members.look_at_us = now_us + raft_members_look_us(a);
        raft_pilot_look(a, now_us);
        raft_status(a->core, &status);
        look_for_nodes(a, &status, now_us);
    }
}

uint64_t raft_members_look_us(const struct raft_actor *a)
{
    uint64_t timeout_us = (uint64_t)a->config.raft.election_timeout_ms * 1000;
    return timeout_us < PILOT_LOOK_US ? timeout_us : PILOT_LOOK_US;
}

void raft_members_stop(struct raft_actor *a)
{
    for (size_t i = 0; i < a->members.count; i++) {
        const struct member_waiting *w = &a->members.waiting[i];
        if (w->origin == 0) {
            raft_actor_refuse(a, w->request_id, ERR_STOPPED);
        }
    }
    a->members.count = 0;
}
