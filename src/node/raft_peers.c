/* SPDX-License-Identifier: Apache-2.0 */
/* raft_peers.c: see raft_peers.h. */
#include "raft_peers.h"

#include <string.h>

static void tell_target(struct raft_peers *p, size_t at)
{
    const struct peer_slot *slot = &p->slots.items[at];
    struct peer_target *target = MSG_NEW(struct peer_target, PEER_TARGET, NULL);
    if (!slot->resting) {
        memcpy(target->name, slot->name, sizeof(target->name));
        memcpy(target->address, slot->address, sizeof(target->address));
        memcpy(target->second, slot->second, sizeof(target->second));
    }
    ACTOR_SEND(p->to->peers[at], target);
}

static void tell_identity(struct raft_peers *p, struct actor *to, uint32_t kind)
{
    struct peer_identity *identity = MSG_NEW(struct peer_identity, kind, NULL);
    identity->own = p->own;
    identity->configuration = p->configuration;
    ACTOR_SEND(to, identity);
}

static void tell_listener(struct raft_peers *p)
{
    if (p->to->listener == NULL) {
        return;
    }
    struct listener_peers *names = MSG_NEW(struct listener_peers, LISTENER_PEERS, NULL);
    names->count = p->slots.count;
    for (size_t i = 0; i < p->slots.count; i++) {
        memcpy(names->names[i], p->slots.items[i].name, sizeof(names->names[i]));
    }
    ACTOR_SEND(p->to->listener, names);
}

static bool is_alone(const struct raft_peers *p)
{
    bool alone = true;
    for (size_t i = 0; i < p->slots.count; i++) {
        alone = alone && !p->heard[i].heard;
    }
    return alone;
}

/* SRV records are asked for while we belong to no cluster, and while nobody is connected. */
static void want_discovery(struct raft_peers *p)
{
    bool wanted = p->own.cluster_id == 0 || is_alone(p);
    if (p->to->discovery == NULL || wanted == p->discovery_wanted) {
        return;
    }
    p->discovery_wanted = wanted;
    struct discovery_wanted *m = MSG_NEW(struct discovery_wanted, DISCOVERY_WANTED, NULL);
    m->wanted = wanted;
    ACTOR_SEND(p->to->discovery, m);
}

/* The slot stands for another node, or has another address. */
static void slot_changed(struct raft_peers *p, size_t at)
{
    const struct peer_slot *slot = &p->slots.items[at];
    if (strcmp(p->heard[at].hello.name, slot->name) != 0) {
        memset(&p->heard[at], 0, sizeof(p->heard[at]));
    }
    if (!p->running[at]) {
        if (!slot->used || slot->resting) {
            return;
        }
        p->running[at] = true;
        tell_identity(p, p->to->peers[at], PEER_IDENTITY);
        actor_start(p->to->peers[at]);
    }
    tell_target(p, at);
}

void raft_peers_init(struct raft_peers *p, const struct config *config,
                     const struct peer_hello *own, const struct configuration *configuration,
                     const struct node_actors *to)
{
    memset(p, 0, sizeof(*p));
    p->to = to;
    p->own = *own;
    p->configuration = *configuration;
    size_t count = to->peer_slot_count > to->peer_count ? to->peer_slot_count : to->peer_count;
    peer_slots_init(&p->slots, config, count);
    p->discovery_wanted = true;
    p->patience_us = SEEDS_ELECTION_TIMEOUTS * 1000 * (uint64_t)config->raft.election_timeout_ms;
    p->lost_at_us = UINT64_MAX;
    p->has_seeds = config->join_count > 0;
    p->dirty = true;
    for (size_t i = 0; i < count; i++) {
        p->running[i] = i < to->peer_count;
        p->slots.items[i].resting = p->slots.items[i].seed; /* until the first look */
    }
}

uint64_t raft_peers_look(struct raft_peers *p, uint64_t now_us)
{
    bool changed[PEER_SLOTS_MAX] = {false};
    if (!p->has_seeds || (!p->dirty && now_us < p->lost_at_us)) {
        return p->lost_at_us; /* it is asked after each batch of messages */
    }
    p->dirty = false;
    bool blank = p->own.cluster_id == 0 || p->configuration.count == 0;
    bool alone = is_alone(p);
    bool afresh = alone && now_us >= p->lost_at_us;
    p->lost = alone && (p->lost || afresh);
    if (!alone) {
        p->lost_at_us = UINT64_MAX;
    } else if (afresh || p->lost_at_us == UINT64_MAX) {
        p->lost_at_us = now_us + p->patience_us;
    }
    peer_slots_rest(&p->slots, blank || p->lost, afresh, changed);
    for (size_t i = 0; i < p->slots.count; i++) {
        if (changed[i]) {
            slot_changed(p, i);
        }
    }
    return p->lost_at_us;
}

void raft_peers_identity(struct raft_peers *p, const struct peer_hello *own,
                         const struct configuration *configuration)
{
    p->dirty = true;
    bool changed[PEER_SLOTS_MAX] = {false};
    p->own = *own;
    p->configuration = *configuration;
    want_discovery(p);
    /* What was sent to a former member goes before it is told to go (one queue). */
    for (size_t i = 0; i < p->slots.count; i++) {
        if (p->running[i]) {
            tell_identity(p, p->to->peers[i], PEER_IDENTITY);
        }
    }
    if (p->to->listener != NULL) {
        tell_identity(p, p->to->listener, LISTENER_IDENTITY);
    }
    if (configuration->count == 0 || p->slots.count == p->to->peer_count) {
        return; /* nobody is known, or there are no spare actors */
    }
    bool any = false;
    peer_slots_update(&p->slots, configuration, changed);
    for (size_t i = 0; i < p->slots.count; i++) {
        if (changed[i]) {
            slot_changed(p, i);
            any = true;
        }
    }
    if (any) {
        tell_listener(p);
    }
}

size_t raft_peers_up(struct raft_peers *p, const struct raft_peer_up *up)
{
    p->dirty = true;
    size_t at = up->peer_index;
    if (at >= p->slots.count || !p->slots.items[at].used) {
        return SIZE_MAX;
    }
    struct peer_slot *slot = &p->slots.items[at];
    if (slot->name[0] != '\0' && strcmp(slot->name, up->hello.name) != 0) {
        return SIZE_MAX; /* of the node that the slot stood for before */
    }
    if (slot->name[0] == '\0') {
        if (peer_slots_name_seed(&p->slots, at, up->hello.name)) {
            slot_changed(p, at);
            tell_listener(p);
        } else if (peer_slots_drop_found(&p->slots, at)) {
            slot_changed(p, at);
            return SIZE_MAX;
        } else {
            size_t other = peer_slots_rest_twin(&p->slots, at, up->hello.name);
            slot_changed(p, at);
            if (other != SIZE_MAX) {
                tell_target(p, other); /* it may have got a second address */
            }
            return SIZE_MAX;
        }
    }
    p->heard[at].heard = true;
    p->heard[at].hello = up->hello;
    want_discovery(p);
    return at;
}

size_t raft_peers_down(struct raft_peers *p, const struct raft_peer_down *down)
{
    p->dirty = true;
    size_t at = down->peer_index;
    if (at >= p->slots.count || p->heard[at].hello.member_id != down->member_id) {
        return SIZE_MAX;
    }
    p->heard[at].heard = false; /* founding wants everybody's word at once */
    want_discovery(p);
    return at;
}

void raft_peers_seeds(struct raft_peers *p, const struct raft_seeds *seeds)
{
    bool changed[PEER_SLOTS_MAX] = {false};
    if (p->slots.count == p->to->peer_count) {
        return; /* there are no spare actors */
    }
    peer_slots_seeds(&p->slots, seeds, changed);
    for (size_t i = 0; i < p->slots.count; i++) {
        if (changed[i]) {
            slot_changed(p, i);
        }
    }
    tell_listener(p);
}

void raft_peers_stranger(struct raft_peers *p, struct peer_socket **socket)
{
    p->dirty = true;
    struct peer_socket *m = *socket;
    *socket = NULL;
    size_t at = peer_slots_find(&p->slots, m->hello.name);
    if (at == SIZE_MAX && p->slots.count > p->to->peer_count) {
        at = peer_slots_add_stranger(&p->slots, m->hello.name, m->hello.peer);
        if (at != SIZE_MAX) {
            slot_changed(p, at);
            tell_listener(p);
        }
    }
    if (at == SIZE_MAX) {
        log_event(LOG_WARNING, "stranger turned away",
                  "peer=%s reason=\"no place for it, or it says no address\"", m->hello.name);
        MSG_FREE(m);
        return;
    }
    /* Its word is heard before ours is: a member of a cluster may refuse us, and yet we must not found another. */
    p->heard[at].hello = m->hello;
    p->heard[at].heard = true;
    m->base.kind = PEER_SOCKET;
    ACTOR_SEND(p->to->peers[at], m);
}

size_t raft_peers_of_member(const struct raft_peers *p, uint64_t member_id)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < p->slots.count && member_id != 0; i++) {
        /* A seed's connection may lead to a node that has a slot of its own: that one is better. */
        if (p->heard[i].hello.member_id == member_id &&
            (found == SIZE_MAX || (p->heard[i].heard && !p->heard[found].heard))) {
            found = i;
        }
    }
    return found;
}

void raft_peers_send(struct raft_peers *p, struct raft_message *message)
{
    size_t at = raft_peers_of_member(p, message->to);
    if (at == SIZE_MAX) {
        raft_message_free(message);
        return;
    }
    struct peer_send *send = MSG_NEW(struct peer_send, PEER_SEND, release_peer_send);
    send->group = GROUP_DEFAULT;
    send->message = *message;
    memset(message, 0, sizeof(*message));
    ACTOR_SEND(p->to->peers[at], send);
}

void raft_peers_figures(const struct raft_peers *p, struct figures *figures)
{
    for (size_t i = p->slots.count; i > 0; i--) {
        if (p->running[i - 1] && p->slots.items[i - 1].used) {
            figures_visit(figures, p->to->peers[i - 1], PEER_FIGURES);
        }
    }
}

const char *raft_peers_name(const struct raft_peers *p, size_t at)
{
    if (at >= p->slots.count) {
        return "none";
    }
    const struct peer_slot *slot = &p->slots.items[at];
    return slot->name[0] != '\0' ? slot->name : slot->address;
}
