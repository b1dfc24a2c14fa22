/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.c: how the cluster's members change. In: a target, the whole list of members as it shall be. Out: CONFIG
 * entries that lead there. Raft §6 (joint consensus), Thesis §4.
 *
 * If the target has the same voters as now, one plain entry does it: learners come and go, names, addresses and the
 * wish change. If the voters differ, a joint entry C_old,new is appended first: every decision needs a majority of the
 * old voters and one of the new; when it is committed the leader, this one or the next, appends C_new. So any set
 * of voters can follow any other in one operation (trap 40), and at no moment can two disjoint majorities
 * exist.
 *
 * One change at a time, counted by the log: nothing is accepted while the newest CONFIG entry is not committed or
 * is joint (trap 39), nor before the leader has committed an entry of its own term; without that rule, or the
 * first, the published schedule of raft-dev 2015 loses committed entries (trap 37).
 *
 * Departure from the paper: Thesis §4.2.1 lets the leader wait for a new server's log before the change. Here a
 * new server is a learner first and whoever decides on its promotion looks at its rounds (raft_progress);
 * the core does as it is told.
 *
 * Invariants
 *  1. A leader's next configuration either has the voters of the one before it, or is joint with these as the outgoing
 *     half, or is what a committed joint one leads to.
 *  2. An id that was removed is never taken back while the configuration remembers it (trap 42).
 */
#include "raft_internal.h"

static bool text_ends(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

static enum err check_member(const struct configuration *current,
                             const struct configuration *target, size_t at)
{
    const struct member *m = &target->members[at];
    if (m->id == 0 || m->name[0] == 0 || !text_ends(m->name, sizeof(m->name)) ||
        !text_ends(m->peer, sizeof(m->peer)) || !text_ends(m->client, sizeof(m->client))) {
        return ERR_INVALID;
    }
    if (configuration_was_removed(current, m->id)) {
        return ERR_ID_REUSED;
    }
    for (size_t i = 0; i < at; i++) {
        if (target->members[i].id == m->id) {
            return ERR_INVALID;
        }
        if (strcmp(target->members[i].name, m->name) == 0) {
            return ERR_IDENTITY;
        }
    }
    return OK;
}

static enum err check_target(const struct configuration *current,
                             const struct configuration *target)
{
    if (target->count == 0 || target->count > MEMBERS_MAX ||
        target->declared_count > DECLARED_MAX) {
        return ERR_INVALID;
    }
    bool anybody_votes = false;
    for (size_t i = 0; i < target->count; i++) {
        enum err error = check_member(current, target, i);
        if (error != OK) {
            return error;
        }
        anybody_votes = anybody_votes || target->members[i].voter_incoming;
    }
    return anybody_votes ? OK : ERR_INVALID;
}

static void remember_removed(struct configuration *c, uint64_t id)
{
    if (c->removed_count == REMOVED_MAX) {
        memmove(&c->removed[0], &c->removed[1], (REMOVED_MAX - 1) * sizeof(c->removed[0]));
        c->removed_count--;
    }
    c->removed[c->removed_count++] = id;
}

static bool voters_differ(const struct configuration *current, const struct configuration *target)
{
    for (size_t i = 0; i < target->count; i++) {
        const struct member *m = &target->members[i];
        if (m->voter_incoming != configuration_is_voter(current, m->id)) {
            return true;
        }
    }
    for (size_t i = 0; i < current->count; i++) {
        const struct member *m = &current->members[i];
        if (m->voter_incoming && configuration_find(target, m->id) < 0) {
            return true;
        }
    }
    return false;
}

/* Whoever gets the entry, this node at its next start too, must be able to read it: one that nobody can read would stop
 * the log for good. */
static bool is_readable(const struct configuration *c)
{
    struct configuration *again = mem_alloc(sizeof(*again));
    struct buffer octets = {0};
    configuration_encode(c, &octets);
    bool readable = configuration_decode(view_of(octets.data, octets.size), again) == OK;
    buffer_free(&octets);
    mem_free(again);
    return readable;
}

enum err change_first(const struct configuration *current, const struct configuration *target,
                      struct configuration *out)
{
    ASSERT(!configuration_is_joint(current));
    enum err error = check_target(current, target);
    if (error != OK) {
        return error;
    }
    bool joint = voters_differ(current, target);
    struct configuration *next = mem_dup(current, sizeof(*current));
    memcpy(next->members, target->members, sizeof(next->members));
    next->count = target->count;
    next->wish = target->wish;
    memcpy(next->declared, target->declared, sizeof(next->declared));
    next->declared_count = target->declared_count;
    for (size_t i = 0; i < next->count; i++) {
        struct member *m = &next->members[i];
        m->voter_outgoing = joint ? configuration_is_voter(current, m->id) : m->voter_incoming;
        m->leaving = false;
    }
    for (size_t i = 0; i < current->count && error == OK; i++) {
        const struct member *m = &current->members[i];
        if (configuration_find(target, m->id) >= 0) {
            continue;
        }
        if (!m->voter_incoming) {
            remember_removed(next, m->id);
        } else if (next->count == MEMBERS_MAX) {
            error = ERR_TOO_LARGE;
        } else {
            struct member *leaving = &next->members[next->count++];
            *leaving = *m;
            leaving->voter_incoming = false;
            leaving->leaving = true;
        }
    }
    if (error == OK && !is_readable(next)) {
        error = ERR_INVALID;
    }
    if (error == OK) {
        *out = *next;
    }
    mem_free(next);
    return error;
}

void change_second(const struct configuration *joint, struct configuration *out)
{
    struct configuration *next = mem_dup(joint, sizeof(*joint));
    memset(next->members, 0, sizeof(next->members));
    next->count = 0;
    for (size_t i = 0; i < joint->count; i++) {
        const struct member *m = &joint->members[i];
        if (m->leaving) {
            remember_removed(next, m->id);
            continue;
        }
        struct member *stays = &next->members[next->count++];
        *stays = *m;
        stays->voter_outgoing = m->voter_incoming;
    }
    *out = *next;
    mem_free(next);
}

static bool are_equal(const struct configuration *a, const struct configuration *b)
{
    struct buffer left = {0};
    struct buffer right = {0};
    configuration_encode(a, &left);
    configuration_encode(b, &right);
    bool equal = view_equal(view_of(left.data, left.size), view_of(right.data, right.size));
    buffer_free(&left);
    buffer_free(&right);
    return equal;
}

static enum err may_change(const struct raft *r, uint64_t expected_index)
{
    if (r->role != RAFT_LEADER) {
        return r->leader == 0 ? ERR_NO_LEADER : ERR_NOT_LEADER;
    }
    if (r->transfer_target != 0) {
        return ERR_LEADER_CHANGED;
    }
    bool settled = membership_current_index(r) <= r->commit_index;
    if (r->commit_index < r->term_first_index || !settled ||
        configuration_is_joint(membership_current(r))) {
        return ERR_CHANGE_PENDING;
    }
    if (expected_index != 0 && expected_index != membership_current_index(r)) {
        return ERR_CHANGED_SINCE;
    }
    return OK;
}

void change_request(struct raft *r, struct raft_event *event)
{
    enum err error = may_change(r, event->change.expected_index);
    struct configuration *next = mem_alloc(sizeof(*next));
    if (error == OK) {
        error = change_first(membership_current(r), event->change.target, next);
    }
    if (error == OK && !are_equal(membership_current(r), next)) {
        membership_propose(r, next);
    }
    if (error == OK) {
        event->change.index = membership_current_index(r);
    }
    event->change.error = error;
    mem_free(next);
}

void change_flush(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    /* During a transfer the log must stand still; the next leader does this. */
    if (membership_current_index(r) > r->commit_index || r->transfer_target != 0 ||
        !configuration_is_joint(membership_current(r))) {
        return;
    }
    struct configuration *next = mem_alloc(sizeof(*next));
    change_second(membership_current(r), next);
    membership_propose(r, next);
    mem_free(next);
}

bool change_leader_is_out(const struct raft *r)
{
    return membership_current_index(r) <= r->commit_index &&
           !configuration_is_voter(membership_current(r), r->id);
}
