/* SPDX-License-Identifier: Apache-2.0 */
/* net_door.c: the peer door of a node whose members change, in place of src/node/listener_actor.c: judges who calls, and
 * hands on whom no peer actor talks to yet. */
#include "net_parts.h"

#include <string.h>

bool net_door_opens(const struct sim_listener *l, const struct peer_greeting *hello)
{
    char names[PEER_SLOTS_MAX][MEMBER_NAME_MAX + 1] = {{0}};
    for (size_t i = 0; i < PEER_SLOTS_MAX; i++) {
        const struct sim_peer *p = l->net->slots[l->node][i];
        if (p != NULL) {
            memcpy(names[i], p->settings.name, sizeof(names[i]));
        }
    }
    struct peer_door door = {.own = &l->own,
                             .configuration = &l->configuration,
                             .version_least = PEER_VERSION_LEAST,
                             .version_most = PEER_VERSION_MOST,
                             .strangers = true,
                             .name_count = PEER_SLOTS_MAX,
                             .names = (const char(*)[MEMBER_NAME_MAX + 1]) names};
    uint16_t version = 0;
    struct peer_refusal why;
    enum err error = peer_handshake_check(&door, hello, &version, &why);
    if (error != OK) {
        log_event(LOG_INFO, "peer refused", "by=n%zu peer=%s reason=\"%s\"", l->node + 1,
                  hello->hello.name, why.sentence);
    }
    return error == OK;
}

static void release_sim_socket(struct msg *m)
{
    struct sim_socket *socket = (struct sim_socket *)m;
    struct net *n = socket->net;
    if (!socket->taken && !n->closing) {
        runner_at(n->runner, runner_now_us(n->runner), net_call_break, n,
                  socket->node | socket->slot << 8 | socket->connection << 16);
    }
    release_peer_socket(m);
}

void net_door_hand_over(const struct sim_listener *l, const struct sim_peer *p)
{
    struct sim_socket *socket = MSG_NEW(struct sim_socket, RAFT_STRANGER, release_sim_socket);
    socket->base.fd = -1;
    socket->base.hello = p->own;
    socket->base.version = PEER_VERSION_MOST;
    socket->net = l->net;
    socket->node = p->node;
    socket->slot = p->slot;
    socket->connection = p->connection;
    struct msg *moved = &socket->base.base;
    runner_send_as(l->net->runner, l->actor, l->actors->raft, &moved, 5);
}

static void listener_started(void *self, uint64_t now_us)
{
    struct sim_listener *l = self;
    UNUSED(now_us);
    l->net->listeners[l->node] = l;
}

static void listener_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct sim_listener *l = self;
    UNUSED(now_us);
    if (m->kind == LISTENER_IDENTITY) { /* LISTENER_PEERS: the actors know their names themselves */
        l->own = ((const struct peer_identity *)m)->own;
        l->configuration = ((const struct peer_identity *)m)->configuration;
    }
    msg_free_base(&m);
}

static void listener_stop(void *self, uint64_t now_us)
{
    struct sim_listener *l = self;
    UNUSED(now_us);
    l->net->listeners[l->node] = NULL;
    actor_stopped(actor_self());
}

static void listener_destroy(void *self)
{
    struct sim_listener *l = self;
    if (l->net->listeners[l->node] == l) {
        l->net->listeners[l->node] = NULL;
    }
    mem_free(l);
}

struct actor *net_listener_create(struct net *n, size_t node, uint64_t boot,
                                  const struct listener_actor_settings *settings)
{
    static const struct actor_ops ops = {.started = listener_started,
                                         .handle = listener_handle,
                                         .stop = listener_stop,
                                         .destroy = listener_destroy};
    struct sim_listener *l = mem_zalloc(sizeof(*l));
    l->net = n;
    l->node = node;
    l->boot = boot;
    l->own = settings->hello;
    l->configuration = settings->configuration;
    l->actors = settings->actors;
    l->actor = actor_create(&ops, l, "listener");
    return l->actor;
}
