/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_proposals.c: commands of this node's clients on their way to the leader, and those that other nodes forward
 * to this one. Invariants 1 to 3 of raft_actor.c are kept here.
 */
#include "raft_state.h"

void raft_proposals_hold(struct raft_actor *a, struct raft_propose *propose)
{
    if (a->seen.removed) {
        raft_actor_refuse(a, propose->request_id, ERR_REMOVED);
        MSG_FREE(propose);
        return;
    }
    struct held *to = propose->only_if_leader ? &a->led : &a->held;
    if (!held_push(to, &propose, a->config.raft.uncommitted_bytes_max)) {
        a->proposals_failed++;
        raft_actor_refuse(a, propose->request_id, ERR_OVERLOAD);
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
    raft_actor_step(a, &event);
    return event.propose.error;
}

/* What apply proposed as the leader's: it looks at the clock again and again, so nothing is lost by a refusal. */
void raft_proposals_led(struct raft_actor *a, uint64_t now_us)
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

uint64_t raft_proposals_wait_us(const struct raft_actor *a, uint64_t term)
{
    return a->moving_term == term ? a->moving_until_us : 0;
}

/* Hand everything held to the leader, which may be this node. Leaves it held where none is known. */
void raft_proposals_held(struct raft_actor *a, uint64_t now_us)
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
                   a->refused_term == status.current_term ||
                   raft_proposals_wait_us(a, status.current_term) > now_us)) {
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
                    raft_actor_refuse(a, held_at(&a->held, i)->request_id, error);
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
            raft_actor_send(a, &forward);
        }
        held_done(&a->held, count);
    }
}

/* A forward arrived: append it if we lead in the very term it was sent in. */
void raft_proposals_forward(struct raft_actor *a, struct raft_message *message, uint64_t now_us)
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
    raft_actor_send(a, &refused);
}

void raft_proposals_refused(struct raft_actor *a, const struct raft_message *message,
                            uint64_t now_us)
{
    if (message->entries == NULL) {
        return;
    }
    struct raft_status status;
    raft_status(a->core, &status);
    bool of_the_leader = message->from == status.leader && message->term == status.current_term;
    if (message->refusal == ERR_NOT_LEADER && of_the_leader) {
        /* Who does not lead in this term any more never leads in it again. A refusal of an earlier term's
         * forward says nothing about a leader that has been elected again since. */
        a->refused_term = message->term;
    }
    if (message->refusal == ERR_LEADER_CHANGED && of_the_leader) {
        /* It hands over. The next leader is heard of in a moment, with another term; but if nothing comes of
         * it this one goes on, and nobody says so. Asked at once it would refuse again and again meanwhile. */
        a->moving_term = message->term;
        a->moving_until_us = now_us + (uint64_t)a->config.raft.heartbeat_ms * 1000;
    }
    for (size_t i = 0; i < message->entries->count; i++) {
        const struct entry *e = &message->entries->items[i];
        if (e->origin == a->own.boot_id) {
            a->proposals_failed++;
            raft_actor_refuse(a, e->request_id,
                              message->refusal == ERR_OVERLOAD ? ERR_OVERLOAD : ERR_LEADER_CHANGED);
        }
    }
}
