/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_fixture.h: a client actor on its own thread with witnesses where raft and apply would be, and
 * clients at the other end of socket pairs. What the actor asks for, the test's thread takes and answers.
 */
#ifndef HOLDFAST_TESTS_CLIENT_FIXTURE_H
#define HOLDFAST_TESTS_CLIENT_FIXTURE_H

#include "base.h"
#include "suite.h"

#include "http2_client.h"
#include "witness.h"

#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define CONNECTIONS_TOTAL 100
#define REQUESTS_TOTAL    1000
#define STREAMS_TOTAL     1000
#define BYTES_TOTAL       (64u << 20)
#define REQUEST_BYTES_MAX 10000

struct fixture {
    struct witness raft, apply;
    struct node_actors actors;
    struct credits *connections, *requests, *streams, *bytes;
    struct actor *client;
};

struct fixture_options {
    uint64_t requests, bytes;    /* 0: plenty */
    uint64_t streams;            /* likewise */
    uint32_t request_timeout_ms; /* 0: ten minutes */
    uint32_t idle_timeout_s;     /* 0: never */
    bool no_leader;
};

static inline void fixture_start(struct fixture *f, struct fixture_options options)
{
    *f = (struct fixture){0};
    witness_start(&f->raft, "raft");
    witness_start(&f->apply, "apply");
    f->actors.raft = f->raft.actor;
    f->actors.apply = f->apply.actor;
    f->connections = credits_create(CONNECTIONS_TOTAL);
    f->requests = credits_create(options.requests != 0 ? options.requests : REQUESTS_TOTAL);
    f->streams = credits_create(options.streams != 0 ? options.streams : STREAMS_TOTAL);
    f->bytes = credits_create(options.bytes != 0 ? options.bytes : BYTES_TOTAL);
    struct client_actor_settings *s = mem_zalloc(sizeof *s);
    s->client_index = 3;
    s->config.request_bytes_max = REQUEST_BYTES_MAX;
    s->config.client_txn_ops_max = 128;
    s->config.client_streams_per_connection_max = 1000;
    s->config.client_header_bytes_max = 32768;
    s->config.client_idle_timeout_s = options.idle_timeout_s;
    s->config.request_timeout_ms =
        options.request_timeout_ms != 0 ? options.request_timeout_ms : 600000;
    s->state.cluster_id = 10;
    s->state.member_id = 20;
    s->state.term = 30;
    s->state.leader_id = options.no_leader ? 0 : 20;
    s->connections = f->connections;
    s->requests = f->requests;
    s->streams = f->streams;
    s->bytes = f->bytes;
    s->actors = &f->actors;
    f->client = client_actor_create(s);
    mem_free(s);
    actor_start(f->client);
}

/* Stop and free everything; all credits must be back, and nobody asked raft or apply for more. */
static inline void fixture_end(struct fixture *f)
{
    end_actor(f->client);
    CU_ASSERT_EQUAL(witness_end(&f->raft), 0);
    CU_ASSERT_EQUAL(witness_end(&f->apply), 0);
    CU_ASSERT_EQUAL(credits_left(f->connections), CONNECTIONS_TOTAL);
    credits_destroy(f->connections);
    credits_destroy(f->requests);
    credits_destroy(f->streams);
    credits_destroy(f->bytes);
}

/* A connected client's descriptor, blocking on our side. */
static inline int fixture_connect(struct fixture *f)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CU_ASSERT_EQUAL_FATAL(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    CU_ASSERT_TRUE_FATAL(credits_take(f->connections, 1)); /* as the listener does */
    struct client_socket *m = MSG_NEW(struct client_socket, CLIENT_SOCKET, release_client_socket);
    m->fd = fds[1];
    ACTOR_SEND(f->client, m);
    return fds[0];
}

static inline void send_all(int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t done = send(fd, at, size, MSG_NOSIGNAL);
        CU_ASSERT_TRUE_FATAL(done > 0);
        at += done;
        size -= (size_t)done;
    }
}

/* ---- an HTTP/2 client on a socket ------------------------------------------------------------------ */

struct link {
    int fd;
    bool ended; /* the server closed */
    struct http2_client *client;
};

static inline struct link link_open(struct fixture *f)
{
    return (struct link){.fd = fixture_connect(f), .client = http2_client_create()};
}

static inline void link_close(struct link *l)
{
    close(l->fd);
    http2_client_destroy(&l->client);
}

/* Send what the client session has to say. */
static inline void link_send(struct link *l)
{
    struct buffer out = {0};
    http2_client_take(l->client, &out);
    if (out.size > 0) {
        send_all(l->fd, out.data, out.size);
    }
    buffer_free(&out);
}

/* One round: send, wait for octets, take them. False: nothing came (or the server closed). */
static inline bool link_round(struct link *l, int wait_ms)
{
    uint8_t in[65536];
    link_send(l);
    struct pollfd ready = {.fd = l->fd, .events = POLLIN};
    if (l->ended || poll(&ready, 1, wait_ms) != 1) {
        return false;
    }
    ssize_t size = recv(l->fd, in, sizeof in, 0);
    if (size <= 0) {
        l->ended = true;
        return false;
    }
    CU_ASSERT_TRUE(http2_client_feed(l->client, view_of(in, (size_t)size)));
    link_send(l);
    return true;
}

/* Until the stream is closed; the test fails without. */
static inline const struct http2_client_answer *link_await(struct link *l, int32_t stream)
{
    const struct http2_client_answer *a = http2_client_answer(l->client, stream);
    while (!a->closed && link_round(l, WITNESS_PATIENCE_MS)) {}
    CU_ASSERT_TRUE_FATAL(a->closed);
    return a;
}

static inline int32_t link_unary(struct link *l, const char *path, struct view message)
{
    int32_t id = http2_client_unary(l->client, path, message, NULL);
    link_send(l);
    return id;
}

static inline void expect_error(struct link *l, int32_t stream, const char *code, const char *text)
{
    const struct http2_client_answer *a = link_await(l, stream);
    CU_ASSERT_STRING_EQUAL(a->status, "200");
    CU_ASSERT_STRING_EQUAL(a->grpc_status, code);
    CU_ASSERT_STRING_EQUAL(a->grpc_message, text);
    CU_ASSERT_EQUAL(a->body.size, 0);
}

/* ---- what raft and apply answer -------------------------------------------------------------------- */

static inline uint64_t take_propose(struct fixture *f, struct command *command, struct bytes *keep)
{
    struct raft_propose *m = (struct raft_propose *)witness_take(&f->raft);
    CU_ASSERT_EQUAL_FATAL(m->base.kind, RAFT_PROPOSE);
    uint64_t id = m->request_id;
    if (keep != NULL) {
        *keep = m->command;
        m->command = (struct bytes){0};
        CU_ASSERT_EQUAL(command_decode(bytes_view(keep), command), OK);
    }
    MSG_FREE(m);
    return id;
}

static inline struct read_request *take_read(struct witness *from, uint32_t kind)
{
    struct read_request *m = (struct read_request *)witness_take(from);
    CU_ASSERT_EQUAL_FATAL(m->base.kind, kind);
    return m;
}

static inline uint64_t take_read_id(struct witness *from, uint32_t kind)
{
    struct read_request *m = take_read(from, kind);
    uint64_t id = m->request_id;
    MSG_FREE(m);
    return id;
}

static inline void reply_result(struct fixture *f, uint64_t id, struct result *result)
{
    struct client_reply *m = MSG_NEW(struct client_reply, CLIENT_REPLY, release_client_reply);
    m->request_id = id;
    m->result = result;
    ACTOR_SEND(f->client, m);
}

static inline void reply_ok(struct fixture *f, uint64_t id, int64_t revision)
{
    struct result *r = result_create();
    r->revision = revision;
    reply_result(f, id, r);
}

static inline void reply_error(struct fixture *f, uint64_t id, enum err error)
{
    struct client_reply *m = MSG_NEW(struct client_reply, CLIENT_REPLY, release_client_reply);
    m->request_id = id;
    m->error = error;
    ACTOR_SEND(f->client, m);
}

#define PATH_PUT             "/etcdserverpb.KV/Put"
#define PATH_RANGE           "/etcdserverpb.KV/Range"
#define VIEW(text)           view_of((text), sizeof(text) - 1)
#define PUT_K_V              VIEW("\x0a\x01k\x12\x01v")
#define RANGE_K              VIEW("\x0a\x01k")
#define RANGE_K_SERIALIZABLE VIEW("\x0a\x01k\x38\x01")

#endif
