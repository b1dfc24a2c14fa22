/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_hand.h: a client actor moved by the test's own hand: virtual time, real socket pairs, receivers
 * where raft, apply and watch would be. For what takes minutes, and for orders that threads would show only
 * now and then.
 */
#ifndef HOLDFAST_TESTS_CLIENT_HAND_H
#define HOLDFAST_TESTS_CLIENT_HAND_H

#include "hand_runner.h"
#include "http2_client.h"

#include "message.h"
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define VIEW(text)  view_of((text), sizeof(text) - 1)
#define SECOND      UINT64_C(1000000)
#define WATCHED_MAX 64

/* ---- descriptors, as src/actor/actor.c has them ---------------------------------------------------- */

static struct hand_watch {
    int fd;
    uint32_t events;
    void *tag;
} hand_watched[WATCHED_MAX];
static size_t hand_watched_count;

void actor_watch(struct actor *self, int fd, uint32_t events, void *tag)
{
    UNUSED(self);
    ASSERT(hand_watched_count < WATCHED_MAX);
    hand_watched[hand_watched_count++] =
        (struct hand_watch){.fd = fd, .events = events, .tag = tag};
}

static struct hand_watch *hand_watch_of(int fd)
{
    for (size_t i = 0; i < hand_watched_count; i++) {
        if (hand_watched[i].fd == fd) {
            return &hand_watched[i];
        }
    }
    return NULL;
}

void actor_rewatch(struct actor *self, int fd, uint32_t events, void *tag)
{
    UNUSED(self);
    struct hand_watch *w = hand_watch_of(fd);
    ASSERT(w != NULL);
    ASSERT(w->tag == tag);
    w->events = events;
}

void actor_unwatch(struct actor *self, int fd)
{
    UNUSED(self);
    struct hand_watch *w = hand_watch_of(fd);
    ASSERT(w != NULL);
    *w = hand_watched[--hand_watched_count];
}

/* ---- the node -------------------------------------------------------------------------------------- */

struct port {
    struct node_actors actors;
    struct credits *connections, *requests, *streams, *bytes;
    struct client_actor_settings *settings;
    struct actor *client;
    uint64_t now_us;
};

#define PORT_CREDITS 1000
#define PORT_BYTES   (4u << 20)

/* Fill in the settings; change what the test is about, then port_start. */
static inline void port_prepare(struct port *p)
{
    *p = (struct port){.now_us = 1000 * SECOND};
    p->actors.raft = hand_receiver();
    p->actors.apply = hand_receiver();
    p->actors.watch = hand_receiver();
    p->connections = credits_create(PORT_CREDITS);
    p->requests = credits_create(PORT_CREDITS);
    p->streams = credits_create(PORT_CREDITS);
    p->bytes = credits_create(PORT_BYTES);
    p->settings = mem_zalloc(sizeof *p->settings);
    struct client_actor_settings *s = p->settings;
    s->client_index = 3;
    s->config.request_bytes_max = 100000;
    s->config.request_timeout_ms = 7000;
    s->config.raft.election_timeout_ms = 1000;
    s->config.client_txn_ops_max = 128;
    s->config.client_streams_per_connection_max = 1000;
    s->config.client_header_bytes_max = 32768;
    s->config.client_idle_timeout_s = 3600;
    s->config.client_bytes_in_flight_max = PORT_BYTES;
    s->state.cluster_id = 10;
    s->state.member_id = 20;
    s->state.term = 30;
    s->state.leader_id = 20;
    s->connections = p->connections;
    s->requests = p->requests;
    s->streams = p->streams;
    s->bytes = p->bytes;
    s->actors = &p->actors;
}

static inline void port_start(struct port *p)
{
    p->client = client_actor_create(p->settings);
    hand_started(p->client, p->now_us);
}

/* Whatever descriptors are ready, the messages, the deadline, the flush; until nothing moves any more. */
static inline void port_run(struct port *p)
{
    bool moved = true;
    for (size_t rounds = 0; moved && rounds < 1000; rounds++) {
        moved = p->client->count > 0 || p->client->deadline_us <= p->now_us;
        hand_running = p->client;
        for (size_t i = 0; i < hand_watched_count; i++) {
            struct hand_watch w = hand_watched[i];
            short wanted = (short)(((w.events & EPOLLIN) != 0 ? POLLIN : 0) |
                                   ((w.events & EPOLLOUT) != 0 ? POLLOUT : 0));
            struct pollfd ready = {.fd = w.fd, .events = wanted};
            if (poll(&ready, 1, 0) == 1) {
                uint32_t events = ((ready.revents & POLLIN) != 0 ? EPOLLIN : 0u) |
                                  ((ready.revents & POLLOUT) != 0 ? EPOLLOUT : 0u) |
                                  ((ready.revents & POLLHUP) != 0 ? EPOLLHUP : 0u);
                p->client->ops->ready(p->client->self, w.fd, w.tag, events, p->now_us);
                moved = true;
            }
        }
        hand_running = NULL;
        hand_round(p->client, p->now_us);
    }
}

/* Time passes, deadline by deadline as threads would see it. */
static inline void port_wait(struct port *p, uint64_t until_us)
{
    while (p->client->deadline_us <= until_us) {
        if (p->client->deadline_us > p->now_us) {
            p->now_us = p->client->deadline_us;
        }
        port_run(p);
    }
    p->now_us = until_us;
    port_run(p);
}

static inline void port_end(struct port *p)
{
    p->client->ops->stop(p->client->self, p->now_us);
    hand_round(p->client, p->now_us);
    if (!p->client->stopped) {
        port_wait(p, p->now_us + 10 * SECOND);
    }
    CU_ASSERT_TRUE(p->client->stopped);
    actor_destroy(p->client);
    actor_destroy(p->actors.raft);
    actor_destroy(p->actors.apply);
    actor_destroy(p->actors.watch);
    CU_ASSERT_EQUAL(credits_left(p->connections), PORT_CREDITS);
    CU_ASSERT_EQUAL(credits_left(p->requests), PORT_CREDITS);
    CU_ASSERT_EQUAL(credits_left(p->streams), PORT_CREDITS);
    CU_ASSERT_EQUAL(credits_left(p->bytes), PORT_BYTES);
    credits_destroy(p->connections);
    credits_destroy(p->requests);
    credits_destroy(p->streams);
    credits_destroy(p->bytes);
    mem_free(p->settings);
}

/* ---- its clients ----------------------------------------------------------------------------------- */

struct caller {
    struct port *port;
    int fd;
    bool ended; /* the node closed */
    struct http2_client *client;
};

static inline int port_connect(struct port *p)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
                          0);
    CU_ASSERT_TRUE_FATAL(credits_take(p->connections, 1)); /* as the listener does */
    struct client_socket *m = MSG_NEW(struct client_socket, CLIENT_SOCKET, release_client_socket);
    m->fd = fds[1];
    ACTOR_SEND(p->client, m);
    return fds[0];
}

static inline struct caller caller_open(struct port *p)
{
    return (struct caller){.port = p, .fd = port_connect(p), .client = http2_client_create()};
}

static inline void caller_close(struct caller *c)
{
    (void)close(c->fd);
    http2_client_destroy(&c->client);
    port_run(c->port);
}

/* Send what the client's engine has to say (all of it fits), let the node run. */
static inline void caller_send(struct caller *c)
{
    struct buffer out = {0};
    http2_client_take(c->client, &out);
    for (size_t at = 0; at < out.size;) {
        ssize_t done = send(c->fd, out.data + at, out.size - at, MSG_NOSIGNAL);
        if (done <= 0) {
            CU_ASSERT_TRUE_FATAL(done < 0 && errno == EAGAIN);
            port_run(c->port);
            continue;
        }
        at += (size_t)done;
    }
    buffer_free(&out);
    port_run(c->port);
}

/* Send and take until both sides are silent. */
static inline void caller_run(struct caller *c)
{
    uint8_t in[65536];
    ssize_t size = 0;
    caller_send(c);
    while (!c->ended && ((size = recv(c->fd, in, sizeof in, 0)) >= 0 || errno != EAGAIN)) {
        if (size <= 0) {
            c->ended = true;
            return;
        }
        CU_ASSERT_TRUE(http2_client_feed(c->client, view_of(in, (size_t)size)));
        caller_send(c);
    }
}

/* One message to a method, and whatever that leads to at once. */
static inline int32_t caller_unary(struct caller *c, const char *path, struct view message,
                                   const struct http2_client_header *headers)
{
    int32_t id = http2_client_unary(c->client, path, message, headers);
    caller_run(c);
    return id;
}

static inline const struct http2_client_answer *caller_answer(struct caller *c, int32_t id)
{
    caller_run(c);
    return http2_client_answer(c->client, id);
}

static inline void caller_expect(struct caller *c, int32_t id, const char *code, const char *text)
{
    const struct http2_client_answer *a = caller_answer(c, id);
    CU_ASSERT_TRUE(a->closed);
    CU_ASSERT_STRING_EQUAL(a->grpc_status, code);
    CU_ASSERT_STRING_EQUAL(a->grpc_message, text);
}

/* ---- what raft and apply answer -------------------------------------------------------------------- */

/* The next command proposed; decoded into *command, whose views point into *keep. 0: none. */
static inline uint64_t port_take_propose(struct port *p, struct command *command,
                                         struct bytes *keep)
{
    struct raft_propose *m = (struct raft_propose *)hand_find(p->actors.raft, RAFT_PROPOSE);
    if (m == NULL) {
        return 0;
    }
    uint64_t id = m->request_id;
    *keep = m->command;
    m->command = (struct bytes){0};
    CU_ASSERT_EQUAL_FATAL(command_decode(bytes_view(keep), command), OK);
    MSG_FREE(m);
    return id;
}

static inline void port_reply(struct port *p, uint64_t id, struct result *result)
{
    struct client_reply *m = MSG_NEW(struct client_reply, CLIENT_REPLY, release_client_reply);
    m->request_id = id;
    m->result = result;
    ACTOR_SEND(p->client, m);
    port_run(p);
}

static inline void port_refuse(struct port *p, uint64_t id, enum err error)
{
    client_refuse(p->client, id, error);
    port_run(p);
}

static inline void port_set_leader(struct port *p, uint64_t leader_id)
{
    struct client_state *m = MSG_NEW(struct client_state, CLIENT_STATE, NULL);
    m->cluster_id = 10;
    m->member_id = 20;
    m->term = 30;
    m->leader_id = leader_id;
    ACTOR_SEND(p->client, m);
    port_run(p);
}

#endif
