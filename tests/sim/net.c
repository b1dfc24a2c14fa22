/* SPDX-License-Identifier: Apache-2.0 */
/* net.c: see net.h. A connection is a number that rises at every new one; a frame remembers the one it
 * was sent on, and is dropped when that one is no more. */
#include "net_parts.h"

#include <stdio.h>
#include <string.h>

static bool chance(struct net *n, uint32_t parts)
{
    return parts != 0 && random_below(&n->random, 1000000) < parts;
}

static uint64_t draw_delay_us(struct net *n)
{
    uint64_t us = n->faults.delay_us_min;
    if (n->faults.delay_us_max > us) {
        us += random_below(&n->random, n->faults.delay_us_max - us + 1);
    }
    if (chance(n, n->faults.slow_parts)) {
        us += random_below(&n->random, n->faults.slow_us + 1);
    }
    return us;
}

/* ---- telling raft --------------------------------------------------------------------------------- */

static void report_up(struct sim_peer *p)
{
    struct raft_peer_up *m = MSG_NEW(struct raft_peer_up, RAFT_PEER_UP, NULL);
    m->peer_index = p->settings.peer_index;
    m->hello = p->known;
    struct msg *moved = &m->base;
    runner_send_as(p->net->runner, p->actor, p->raft, &moved, 5);
}

static void report_down(struct sim_peer *p)
{
    struct raft_peer_down *m = MSG_NEW(struct raft_peer_down, RAFT_PEER_DOWN, NULL);
    m->peer_index = p->settings.peer_index;
    m->member_id = p->out_hello.member_id;
    struct msg *moved = &m->base;
    runner_send_as(p->net->runner, p->actor, p->raft, &moved, 5);
}

/* ---- connections ------------------------------------------------------------------------------------ */

/* "n4:2380" is machine 3, whatever follows the number. */
static size_t machine_at(const char *address)
{
    size_t number = 0;
    for (const char *at = address + (address[0] == 'n'); *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (size_t)(*at - '0');
    }
    return number >= 1 && number <= NET_NODES_MAX ? number - 1 : SIZE_MAX;
}

/* The actor of `node` that talks to the node of that name; NULL: none does. */
static struct sim_peer *slot_named(const struct net *n, size_t node, const char *name)
{
    for (size_t i = 0; i < PEER_SLOTS_MAX; i++) {
        struct sim_peer *p = n->slots[node][i];
        if (p != NULL && name[0] != '\0' && strcmp(p->settings.name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

static void dial(struct sim_peer *p);

static void call_dial(void *context, uint64_t argument)
{
    struct net *n = context;
    size_t node = (size_t)(argument & 0xff);
    size_t slot = (size_t)(argument >> 8 & 0xff);
    struct sim_peer *p = n->slots[node][slot];
    if (p != NULL && p->greeting && p->boot == argument >> 16) {
        dial(p);
    }
}

static void dial_later(struct sim_peer *p, uint64_t delay_us)
{
    struct net *n = p->net;
    uint64_t jitter_us = random_below(&n->random, delay_us + 1);
    p->greeting = true;
    runner_at(n->runner, runner_now_us(n->runner) + delay_us / 2 + jitter_us, call_dial, n,
              p->node | p->slot << 8 | p->boot << 16);
}

static void connection_break(struct sim_peer *p, uint64_t redial_us)
{
    if (!p->up) {
        return;
    }
    p->up = false;
    p->connection = 0;
    report_down(p);
    if (p->peer != SIZE_MAX) {
        dial_later(p, redial_us);
    }
}

/* In order: what was sent goes first. */
static void connection_close(struct sim_peer *p, uint64_t redial_us)
{
    if (p->up) {
        p->parting = p->connection;
        connection_break(p, redial_us);
    }
}

static struct peer_greeting greeting_of(const struct sim_peer *p)
{
    struct peer_greeting g = {
        .version_least = PEER_VERSION_LEAST, .version_most = PEER_VERSION_MOST, .hello = p->own};
    memcpy(g.target, p->settings.name, sizeof(g.target));
    return g;
}

/* Does `judge` take what `other` says of itself? */
static bool welcome(const struct sim_peer *judge, const struct peer_greeting *other)
{
    struct peer_door door = {.own = &judge->own,
                             .configuration = &judge->configuration,
                             .version_least = PEER_VERSION_LEAST,
                             .version_most = PEER_VERSION_MOST,
                             .expected = judge->settings.name};
    uint16_t version = 0;
    struct peer_refusal why;
    enum err error = peer_handshake_check(&door, other, &version, &why);
    if (error != OK) {
        log_event(LOG_INFO, "handshake refused", "reason=\"%s\"", why.sentence);
    }
    return error == OK;
}

/* Merge a hello that came in (not on our own connection). */
static bool note_inbound(struct sim_peer *p, const struct peer_hello *hello)
{
    bool news = false;
    struct peer_refusal why;
    if (peer_handshake_note(&p->known, hello, &news, &why) != OK) {
        return false;
    }
    if (p->up && p->out_hello.boot_id != hello->boot_id) {
        connection_break(p, NET_DIAL_RETRY_US);
    } else if (news && p->up) {
        report_up(p);
    }
    return true;
}

static void connection_up(struct sim_peer *p, const struct peer_hello *theirs)
{
    p->up = true;
    p->out_hello = *theirs;
    p->net->figures.connections++;
    report_up(p);
}

/* No actor talks to us there yet: the door lets us in, raft says who shall. They have heard our word then, whatever we
 * think of theirs: so an empty node learns of a cluster that refuses it (trap 45). */
static void dial_stranger(struct sim_peer *p, const struct sim_listener *door)
{
    struct peer_greeting answer = {
        .version_least = PEER_VERSION_LEAST, .version_most = PEER_VERSION_MOST, .hello = door->own};
    memcpy(answer.target, p->own.name, sizeof(answer.target));
    bool news = false;
    struct peer_refusal why;
    p->connection = ++p->net->connection_last;
    net_door_hand_over(door, p);
    if (!welcome(p, &answer) || peer_handshake_note(&p->known, &door->own, &news, &why) != OK) {
        p->connection = 0;
        dial_later(p, NET_REFUSED_RETRY_US);
        return;
    }
    connection_up(p, &door->own);
}

static void dial(struct sim_peer *p)
{
    struct net *n = p->net;
    p->greeting = false;
    if (p->up || p->peer == SIZE_MAX) {
        return;
    }
    const struct sim_listener *door = n->listeners[p->peer];
    struct sim_peer *other = slot_named(n, p->peer, p->own.name);
    if ((other == NULL && door == NULL) || n->links[p->node][p->peer].cut ||
        n->links[p->peer][p->node].cut) {
        dial_later(p, NET_DIAL_RETRY_US);
        return;
    }
    struct peer_greeting hello = greeting_of(p);
    if (door != NULL && !net_door_opens(door, &hello)) {
        dial_later(p, NET_REFUSED_RETRY_US);
        return;
    }
    if (other == NULL) {
        dial_stranger(p, door);
        return;
    }
    struct peer_greeting answer = greeting_of(other);
    bool news = false;
    struct peer_refusal why;
    if (!welcome(other, &hello) || !note_inbound(other, &p->own) || !welcome(p, &answer) ||
        peer_handshake_note(&p->known, &other->own, &news, &why) != OK) {
        dial_later(p, NET_REFUSED_RETRY_US);
        return;
    }
    p->connection = ++n->connection_last;
    connection_up(p, &other->own);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

static void frame_add(struct net *n, struct frame *f)
{
    ASSERT(n->frames < NET_FRAMES_MAX);
    n->frames++;
    f->previous = NULL;
    f->next = n->first_frame;
    if (f->next != NULL) {
        f->next->previous = f;
    }
    n->first_frame = f;
}

static void frame_free(struct net *n, struct frame *f)
{
    if (f->previous != NULL) {
        f->previous->next = f->next;
    } else {
        n->first_frame = f->next;
    }
    if (f->next != NULL) {
        f->next->previous = f->previous;
    }
    buffer_free(&f->body);
    mem_free(f);
    n->frames--;
}

static void receive_hello(struct sim_peer *to, const struct frame *f)
{
    struct peer_greeting g = {.version_least = PEER_VERSION_LEAST,
                              .version_most = PEER_VERSION_MOST,
                              .hello = f->hello_body};
    memcpy(g.target, to->own.name, sizeof(g.target));
    struct sim_peer *from = to->net->slots[f->from][f->from_slot];
    if (!welcome(to, &g) || !note_inbound(to, &f->hello_body)) {
        if (from != NULL && from->connection == f->connection) {
            connection_break(from, NET_REFUSED_RETRY_US);
        }
    }
}

static void receive_message(struct sim_peer *to, const struct frame *f)
{
    struct raft_received *m = MSG_NEW(struct raft_received, RAFT_RECEIVED, release_received);
    m->group = f->group;
    enum err error = raft_message_decode(view_of(f->body.data, f->body.size), &m->message);
    ASSERT(error == OK); /* nothing on this network changes octets; TCP's checksum and ours would */
    to->net->figures.delivered++;
    struct msg *moved = &m->base;
    runner_send_as(to->net->runner, to->actor, to->raft, &moved, 5);
}

/* The actor of `node` that talks to that machine, under the name of its place. */
static struct sim_peer *slot_of_machine(const struct net *n, size_t node, size_t machine)
{
    char name[MEMBER_NAME_MAX + 1];
    (void)snprintf(name, sizeof(name), "n%zu", machine + 1);
    return slot_named(n, node, name);
}

static void call_deliver(void *context, uint64_t argument)
{
    struct net *n = context;
    struct frame *f = (struct frame *)(uintptr_t)argument; /* owned by this one call */
    struct sim_peer *to = slot_of_machine(n, f->to, f->from);
    struct sim_peer *from = n->slots[f->from][f->from_slot];
    const struct net_link *link = &n->links[f->from][f->to];
    bool on = from != NULL && from->connection == f->connection;
    if (to == NULL && on && n->listeners[f->to] != NULL && f->waited++ < NET_STRANGER_WAITS) {
        runner_at(n->runner, runner_now_us(n->runner) + 1000, call_deliver, n, argument);
        return;
    }
    bool alive = to != NULL && to->boot == f->to_boot;
    /* A sender that reconnected meanwhile gave its old connection up; one that died may still be heard
     * until its next boot is. */
    if (from != NULL && !on && from->parting != f->connection &&
        f->boot_number == from->own.boot_number) {
        alive = false;
    }
    if (alive && (f->boot_number < to->known.boot_number || f->member_id != to->known.member_id)) {
        alive = false;
    }
    if (alive && link->cut) {
        if (link->hold) {
            runner_at(n->runner, runner_now_us(n->runner) + 20000, call_deliver, n, argument);
            return;
        }
        alive = false;
    }
    if (!alive) {
        n->figures.lost++;
    } else if (f->hello) {
        receive_hello(to, f);
    } else {
        receive_message(to, f);
    }
    frame_free(n, f);
}

static void schedule_frame(struct net *n, struct frame *f)
{
    struct net_link *link = &n->links[f->from][f->to];
    uint64_t at_us = runner_exact_us(n->runner) + draw_delay_us(n) + link->delay_us;
    if (!n->faults.reorder) {
        if (at_us < link->last_arrival_us) {
            at_us = link->last_arrival_us;
        }
        link->last_arrival_us = at_us;
    }
    runner_at(n->runner, at_us, call_deliver, n, (uint64_t)(uintptr_t)f);
}

static struct frame *frame_new(struct sim_peer *p)
{
    struct net *n = p->net;
    const struct sim_peer *to = slot_of_machine(n, p->peer, p->node);
    struct frame *f = mem_zalloc(sizeof(*f));
    frame_add(n, f);
    f->from = p->node;
    f->from_slot = p->slot;
    f->to = p->peer;
    f->connection = p->connection;
    f->to_boot = to != NULL ? to->boot : 0;
    if (to == NULL && n->listeners[p->peer] != NULL) {
        f->to_boot = n->listeners[p->peer]->boot;
    }
    f->member_id = p->own.member_id;
    f->boot_number = p->own.boot_number;
    return f;
}

static void send_frame(struct sim_peer *p, struct frame *f)
{
    struct net *n = p->net;
    n->figures.sent++;
    if (!f->hello && chance(n, n->faults.loss_parts)) {
        n->figures.lost++;
        frame_free(n, f);
        return;
    }
    if (!f->hello && chance(n, n->faults.repeat_parts)) {
        struct frame *again = mem_dup(f, sizeof(*f));
        again->body = (struct buffer){0};
        buffer_append(&again->body, f->body.data, f->body.size);
        frame_add(n, again);
        schedule_frame(n, again);
    }
    schedule_frame(n, f);
}

/* ---- the peer actor ---------------------------------------------------------------------------------------- */

static void peer_started(void *self, uint64_t now_us)
{
    struct sim_peer *p = self;
    UNUSED(now_us);
    p->raft = p->settings.actors->raft;
    p->net->slots[p->node][p->slot] = p;
    if (p->peer != SIZE_MAX) {
        dial_later(p, 2000);
    }
}

/* As src/node/peer_actor.c: another node, and nothing of the one before stays. */
static void take_target(struct sim_peer *p, const struct peer_target *target)
{
    bool same = strcmp(p->settings.name, target->name) == 0 &&
                (target->name[0] != '\0' || strcmp(p->settings.address, target->address) == 0);
    same = same || (p->settings.name[0] == '\0' && p->known.member_id != 0 &&
                    strcmp(p->known.name, target->name) == 0);
    memcpy(p->settings.name, target->name, sizeof(p->settings.name));
    memcpy(p->settings.address, target->address, sizeof(p->settings.address));
    size_t machine = machine_at(target->address);
    if (same && machine == p->peer) {
        return;
    }
    struct sim_peer *other =
        p->peer != SIZE_MAX && slot_of_machine(p->net, p->node, p->peer) == NULL
            ? slot_of_machine(p->net, p->peer, p->node)
            : NULL;
    if (other != NULL && p->net->listeners[p->node] != NULL) { /* the one that it dialled, too */
        connection_break(other, NET_DIAL_RETRY_US);
    }
    p->peer = SIZE_MAX;
    connection_close(p, NET_DIAL_RETRY_US);
    p->peer = machine;
    memset(&p->known, 0, sizeof(p->known));
    if (machine != SIZE_MAX) {
        dial_later(p, 2000);
    }
}

/* Who is connected may no longer be welcome. */
static void judge_again(struct sim_peer *p)
{
    struct peer_greeting g = {
        .version_least = PEER_VERSION_LEAST, .version_most = PEER_VERSION_MOST, .hello = p->known};
    memcpy(g.target, p->own.name, sizeof(g.target));
    if (p->peer == SIZE_MAX || p->known.member_id == 0 || welcome(p, &g)) {
        return;
    }
    connection_close(p, NET_REFUSED_RETRY_US);
    struct sim_peer *other = slot_of_machine(p->net, p->peer, p->node);
    if (other != NULL && slot_of_machine(p->net, p->node, p->peer) == p) {
        connection_close(other, NET_REFUSED_RETRY_US);
    }
}

static void take_identity(struct sim_peer *p, const struct peer_identity *identity)
{
    p->own = identity->own;
    p->configuration = identity->configuration;
    if (p->up) {
        struct frame *f = frame_new(p);
        f->hello = true;
        f->hello_body = p->own;
        send_frame(p, f);
    }
    if (p->net->listeners[p->node] != NULL) {
        judge_again(p);
    }
}

static void take_socket(struct sim_peer *p, struct sim_socket *socket)
{
    struct peer_greeting g = {.version_least = PEER_VERSION_LEAST,
                              .version_most = PEER_VERSION_MOST,
                              .hello = socket->base.hello};
    memcpy(g.target, p->own.name, sizeof(g.target));
    socket->taken = welcome(p, &g) && note_inbound(p, &socket->base.hello);
}

static void peer_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct sim_peer *p = self;
    UNUSED(now_us);
    switch ((enum peer_kind)m->kind) {
    case PEER_SEND: {
        const struct peer_send *send = (const struct peer_send *)m;
        if (p->up && chance(p->net, p->net->faults.reset_parts)) {
            connection_break(p, NET_DIAL_RETRY_US);
        }
        if (p->up) {
            struct frame *f = frame_new(p);
            f->group = send->group;
            raft_message_encode(&send->message, &f->body);
            send_frame(p, f);
        }
        break;
    }
    case PEER_IDENTITY:
        take_identity(p, (const struct peer_identity *)m);
        break;
    case PEER_TARGET:
        take_target(p, (const struct peer_target *)m);
        break;
    case PEER_SOCKET:
        take_socket(p, (struct sim_socket *)m);
        break;
    case PEER_FIGURES:
        break;
    }
    msg_free_base(&m);
}

static void peer_stop(void *self, uint64_t now_us)
{
    struct sim_peer *p = self;
    UNUSED(now_us);
    p->net->slots[p->node][p->slot] = NULL;
    actor_stopped(actor_self());
}

static void peer_destroy(void *self)
{
    struct sim_peer *p = self;
    if (p->net->slots[p->node][p->slot] == p) {
        p->net->slots[p->node][p->slot] = NULL;
    }
    mem_free(p);
}

struct actor *net_peer_create(struct net *n, size_t node, uint64_t boot,
                              const struct peer_actor_settings *settings)
{
    static const struct actor_ops ops = {
        .started = peer_started, .handle = peer_handle, .stop = peer_stop, .destroy = peer_destroy};
    struct sim_peer *p = mem_zalloc(sizeof(*p));
    p->net = n;
    p->node = node;
    p->slot = settings->peer_index;
    p->peer = machine_at(settings->address);
    p->boot = boot;
    p->settings = *settings;
    p->own = settings->hello;
    p->configuration = settings->configuration;
    char name[MEMBER_NAME_MAX + 8];
    if (settings->name[0] != '\0') {
        (void)snprintf(name, sizeof(name), "peer-%s", settings->name);
    } else {
        (void)snprintf(name, sizeof(name), "peer-%zu", settings->peer_index);
    }
    p->actor = actor_create(&ops, p, name);
    return p->actor;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

struct net *net_create(uint64_t seed, size_t node_count, struct runner *runner)
{
    ASSERT(node_count <= NET_NODES_MAX);
    struct net *n = mem_zalloc(sizeof(*n));
    n->random = seed ^ UINT64_C(0x6e6574);
    n->node_count = node_count;
    n->runner = runner;
    n->faults = (struct net_faults){.delay_us_min = 100, .delay_us_max = 500};
    return n;
}

void net_destroy(struct net **net)
{
    struct net *n = *net;
    *net = NULL;
    if (n == NULL) {
        return;
    }
    while (n->first_frame != NULL) {
        frame_free(n, n->first_frame);
    }
    mem_free(n);
}

void net_close(struct net *n)
{
    n->closing = true;
}

void net_set_faults(struct net *n, const struct net_faults *faults)
{
    n->faults = *faults;
}

void net_set_link_delay(struct net *n, size_t from, size_t to, uint64_t delay_us)
{
    n->links[from][to].delay_us = delay_us;
}

/* The cut outlived a stalled connection's patience. */
static void call_give_up(void *context, uint64_t argument)
{
    struct net *n = context;
    size_t from = (size_t)(argument & 0xff);
    size_t to = (size_t)(argument >> 8 & 0xff);
    if (!n->links[from][to].cut || n->links[from][to].cut_number != argument >> 16) {
        return;
    }
    for (size_t i = 0; i < PEER_SLOTS_MAX; i++) {
        struct sim_peer *p = n->slots[from][i];
        if (p != NULL && p->peer == to) {
            connection_break(p, NET_DIAL_RETRY_US);
        }
    }
}

void net_cut(struct net *n, size_t from, size_t to, bool hold)
{
    struct net_link *link = &n->links[from][to];
    if (link->cut) {
        return;
    }
    link->cut = true;
    link->hold = hold;
    link->cut_number++;
    uint64_t patience_us = 200000 + random_below(&n->random, 4000000);
    runner_at(n->runner, runner_now_us(n->runner) + patience_us, call_give_up, n,
              from | to << 8 | link->cut_number << 16);
}

void net_heal(struct net *n, size_t from, size_t to)
{
    n->links[from][to].cut = false;
}

void net_heal_all(struct net *n)
{
    for (size_t from = 0; from < NET_NODES_MAX; from++) {
        for (size_t to = 0; to < NET_NODES_MAX; to++) {
            net_heal(n, from, to);
        }
    }
}

void net_call_break(void *context, uint64_t argument)
{
    struct net *n = context;
    struct sim_peer *p = n->slots[argument & 0xff][argument >> 8 & 0xff];
    if (p != NULL && p->connection == argument >> 16) {
        connection_break(p, NET_DIAL_RETRY_US);
    }
}

/* Its kernel says so at once, or nobody does for a while. */
static void notice_down(struct sim_peer *p)
{
    struct net *n = p->net;
    uint64_t notice_us = random_below(&n->random, 2) == 0 ? 500 : random_below(&n->random, 3000000);
    /* What is sent is not acknowledged: the real one gives up then (peer.h). */
    uint64_t stall_us = 4000 * (uint64_t)p->settings.election_timeout_ms;
    stall_us = stall_us > 1000000 ? stall_us : 1000000;
    if (n->listeners[p->node] != NULL && notice_us > stall_us) {
        notice_us = stall_us;
    }
    runner_at(n->runner, runner_now_us(n->runner) + notice_us, net_call_break, n,
              p->node | p->slot << 8 | p->connection << 16);
}

void net_node_down(struct net *n, size_t node)
{
    ASSERT(n->listeners[node] == NULL);
    for (size_t i = 0; i < n->node_count; i++) {
        for (size_t k = 0; k < PEER_SLOTS_MAX; k++) {
            struct sim_peer *p = n->slots[i][k];
            ASSERT(i != node || p == NULL);
            if (p != NULL && p->peer == node && p->up) {
                notice_down(p);
            }
        }
    }
}

void net_figures(const struct net *n, struct net_figures *out)
{
    *out = n->figures;
}
