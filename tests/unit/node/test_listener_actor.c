/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_listener_actor.c: shows with real sockets and threads what each of the two doors does: clients
 * in turn and under their credit, peers greeted, judged, answered and handed over; and that
 * half-open, mute, foreign and too many connections cost a bounded something and then nothing.
 * (src/node/listener_actor.c)
 */
#include "raw_peer.h"
#include "node/node.h"

#include <errno.h>

#define GREETINGS_MAX 64 /* as in listener_actor.c */

struct rig {
    struct witness clients[2], n2, n3, raft;
    struct node_actors actors;
    struct credits *connections;
    struct actor *listener;
    uint16_t client_port, peer_port;
    struct log_catch log;
};

static void set_up(struct rig *rig, uint64_t connections)
{
    memset(rig, 0, sizeof(*rig));
    log_catch_start(&rig->log);
    witness_start(&rig->clients[0], "client-0");
    witness_start(&rig->clients[1], "client-1");
    witness_start(&rig->n2, "peer-n2");
    witness_start(&rig->n3, "peer-n3");
    witness_start(&rig->raft, "raft");
    rig->actors.raft = rig->raft.actor;
    rig->actors.client_count = 2;
    rig->actors.clients[0] = rig->clients[0].actor;
    rig->actors.clients[1] = rig->clients[1].actor;
    rig->actors.peer_count = 2;
    rig->actors.peers[0] = rig->n2.actor;
    rig->actors.peers[1] = rig->n3.actor;
    strcpy(rig->actors.peer_names[0], "n2");
    strcpy(rig->actors.peer_names[1], "n3");
    rig->connections = credits_create(connections);
    struct listener_actor_settings settings = {.client_fd = raw_listen("127.0.0.1", 0),
                                               .peer_fd = raw_listen("127.0.0.1", 0),
                                               .hello = raw_hello(1),
                                               .connections = rig->connections,
                                               .actors = &rig->actors};
    rig->client_port = socket_local_port(settings.client_fd);
    rig->peer_port = socket_local_port(settings.peer_fd);
    rig->listener = listener_actor_create(&settings);
    actor_start(rig->listener);
}

static void tear_down(struct rig *rig)
{
    end_actor(rig->listener);
    CU_ASSERT_EQUAL(witness_end(&rig->clients[0]), 0);
    CU_ASSERT_EQUAL(witness_end(&rig->clients[1]), 0);
    CU_ASSERT_EQUAL(witness_end(&rig->n2), 0);
    CU_ASSERT_EQUAL(witness_end(&rig->n3), 0);
    CU_ASSERT_EQUAL(witness_end(&rig->raft), 0);
    credits_destroy(rig->connections);
    log_catch_end(&rig->log);
}

static void expect_end(int fd)
{
    uint8_t octet;
    size_t came = 1;
    raw_wait(fd, POLLIN);
    CU_ASSERT_EQUAL(socket_read(fd, &octet, 1, &came), ERR_CLOSED);
}

/* ---- the client door ---------------------------------------------------------------------------- */

static int take_client(struct witness *w)
{
    struct msg *m = witness_take(w);
    CU_ASSERT_EQUAL_FATAL(m->kind, CLIENT_SOCKET);
    struct client_socket *socket = (struct client_socket *)m;
    int fd = socket->fd;
    socket->fd = -1;
    msg_free_base(&m);
    return fd;
}

/* Each socket goes to the next client actor, and it is the connection it seems to be. */
static void clients_in_turn(void)
{
    struct rig rig;
    set_up(&rig, 100);
    for (unsigned i = 0; i < 6; i++) {
        int dialled = raw_dial(rig.client_port);
        int moved = take_client(&rig.clients[i % 2]);
        uint8_t octet = (uint8_t)i, got = 99;
        size_t came = 0;
        raw_write(dialled, &octet, 1);
        raw_wait(moved, POLLIN);
        CU_ASSERT_EQUAL(socket_read(moved, &got, 1, &came), OK);
        CU_ASSERT_EQUAL(got, i);
        CU_ASSERT_EQUAL(credits_left(rig.connections), 100 - i - 1);
        close(moved);
        close(dialled);
    }
    tear_down(&rig);
}

/* Beyond the credit a connection is closed at once; when a client gives back, the next is taken. */
static void client_credit(void)
{
    struct rig rig;
    set_up(&rig, 1);
    int first = raw_dial(rig.client_port);
    int moved = take_client(&rig.clients[0]);
    for (int i = 0; i < 3; i++) {
        int refused = raw_dial(rig.client_port);
        expect_end(refused);
        close(refused);
    }
    log_catch_wait(&rig.log, "client turned away: client_connections_max reached", 3);
    credits_give(rig.connections, 1);
    int second = raw_dial(rig.client_port);
    int moved_second = take_client(&rig.clients[1]);
    close(moved);
    close(moved_second);
    close(first);
    close(second);
    tear_down(&rig);
}

/* What strangers do fills no log: a bounded number of lines, then one that says so. */
static void log_is_bounded(void)
{
    struct rig rig;
    set_up(&rig, 0);
    for (int i = 0; i < 100; i++) {
        int refused = raw_dial(rig.client_port);
        expect_end(refused);
        close(refused);
    }
    /* 16 per ten seconds; a slow machine may begin a few more periods in a hundred dials, not 6. */
    CU_ASSERT_TRUE(log_catch_count(&rig.log, "client turned away") < 100);
    CU_ASSERT_TRUE(log_catch_count(&rig.log, "not logged for now") >= 1);
    tear_down(&rig);
}

/* Out of descriptors the backlog stays readable: the listener looks away instead of spinning, and
 * takes the connection when it can. */
static void out_of_descriptors(void)
{
    struct rig rig;
    struct rlimit before, none;
    set_up(&rig, 100);
    struct socket_address address = raw_address("127.0.0.1", rig.client_port);
    int dialled = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    int lowest_free = dup(dialled); /* all numbers below are taken */
    CU_ASSERT_FATAL(lowest_free > 0);
    close(lowest_free);
    none.rlim_cur = (rlim_t)lowest_free;
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t before_us = actor_stopwatch_us();
    CU_ASSERT_EQUAL_FATAL(connect(dialled, &address.any, address.size), 0);
    log_catch_wait(&rig.log, "cannot accept connections: out of file descriptors", 5);
    CU_ASSERT_TRUE(actor_stopwatch_us() - before_us >= 400000); /* four pauses */
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(take_client(&rig.clients[0]));
    close(dialled);
    tear_down(&rig);
}

/* ---- the peer door ------------------------------------------------------------------------------ */

static void peer_is_welcomed(void)
{
    struct rig rig;
    set_up(&rig, 1);
    struct peer_hello hello = raw_hello(3);
    hello.boot_number = 17;
    struct peer_greeting greeting = raw_greeting(&hello, "n1");
    struct raw_peer raw = raw_peer_of(raw_dial(rig.peer_port));
    /* A message right behind the hello, in the same write, comes along as `early`. */
    struct buffer out = {0};
    peer_greeting_encode(PEER_FRAME_HELLO, &greeting, &out);
    size_t hello_size = out.size;
    raw_put_message(&out, 33, 4);
    raw_write(raw.fd, out.data, out.size);

    struct peer_greeting answer = raw_expect_greeting(&raw, PEER_FRAME_WELCOME);
    CU_ASSERT_STRING_EQUAL(answer.hello.name, "n1");
    CU_ASSERT_STRING_EQUAL(answer.target, "n3");
    CU_ASSERT_EQUAL(answer.hello.member_id, 11);
    CU_ASSERT_EQUAL(answer.version_least, PEER_VERSION_MOST);
    CU_ASSERT_EQUAL(answer.version_most, PEER_VERSION_MOST);

    struct msg *m = witness_take(&rig.n3);
    CU_ASSERT_EQUAL_FATAL(m->kind, PEER_SOCKET);
    struct peer_socket *socket = (struct peer_socket *)m;
    CU_ASSERT_STRING_EQUAL(socket->hello.name, "n3");
    CU_ASSERT_EQUAL(socket->hello.boot_number, 17);
    CU_ASSERT_EQUAL(socket->version, PEER_VERSION_MOST);
    uint8_t rest[512];
    size_t early = socket->early.size, came = 0;
    CU_ASSERT_FATAL(early <= out.size - hello_size);
    memcpy(rest, socket->early.data, early);
    while (early < out.size - hello_size) { /* what had not arrived yet is in the socket */
        raw_wait(socket->fd, POLLIN);
        CU_ASSERT_EQUAL_FATAL(socket_read(socket->fd, rest + early, sizeof(rest) - early, &came),
                              OK);
        early += came;
    }
    CU_ASSERT(view_equal(view_of(rest, early), view_of(out.data + hello_size, early)));
    buffer_free(&out);
    msg_free_base(&m); /* closes the socket */
    raw_expect_end(&raw);
    raw_close(&raw);
    tear_down(&rig);
}

static void hello_octet_by_octet(void)
{
    struct rig rig;
    set_up(&rig, 1);
    struct peer_hello hello = raw_hello(2);
    struct peer_greeting greeting = raw_greeting(&hello, "n1");
    struct raw_peer raw = raw_peer_of(raw_dial(rig.peer_port));
    struct buffer out = {0};
    peer_greeting_encode(PEER_FRAME_HELLO, &greeting, &out);
    for (size_t i = 0; i < out.size; i++) {
        raw_write(raw.fd, out.data + i, 1);
    }
    raw_expect_greeting(&raw, PEER_FRAME_WELCOME);
    struct msg *m = witness_take(&rig.n2);
    CU_ASSERT_EQUAL(((struct peer_socket *)m)->early.size, 0);
    msg_free_base(&m);
    buffer_free(&out);
    raw_close(&raw);
    tear_down(&rig);
}

/* Dial, say this, and read the refusal to its end. */
static struct peer_refusal refused(struct rig *rig, const struct peer_greeting *greeting)
{
    struct raw_peer raw = raw_peer_of(raw_dial(rig->peer_port));
    raw_greet(&raw, PEER_FRAME_HELLO, greeting);
    struct peer_refusal refusal = raw_expect_refusal(&raw);
    raw_expect_end(&raw);
    raw_close(&raw);
    return refusal;
}

/* Each kind of refusal: the code and the sentence over the wire, the same sentence in our log. */
static void refusals(void)
{
    struct rig rig;
    set_up(&rig, 1);
    struct peer_identity *identity = MSG_NEW(struct peer_identity, LISTENER_IDENTITY, NULL);
    identity->own = raw_hello(1);
    identity->own.cluster_id = 9;
    identity->configuration.count = 1;
    identity->configuration.members[0].id = 22;
    strcpy(identity->configuration.members[0].name, "n2");
    identity->configuration.members[0].voter_incoming =
        identity->configuration.members[0].voter_outgoing = true;
    ACTOR_SEND(rig.listener, identity);
    /* The identity is in force once the WELCOME shows it. */
    struct peer_hello good = raw_hello(2);
    struct peer_greeting greeting = raw_greeting(&good, "n1");
    for (uint64_t cluster_id = 0; cluster_id != 9;) {
        struct raw_peer raw = raw_peer_of(raw_dial(rig.peer_port));
        raw_greet(&raw, PEER_FRAME_HELLO, &greeting);
        cluster_id = raw_expect_greeting(&raw, PEER_FRAME_WELCOME).hello.cluster_id;
        struct msg *m = witness_take(&rig.n2);
        msg_free_base(&m);
        raw_close(&raw);
    }

    struct peer_refusal r;
    struct {
        struct peer_greeting greeting;
        enum err error;
        const char *part;
    } cases[] = {
        {greeting, ERR_VERSION, "upgrade the older one"},
        {greeting, ERR_CLUSTER_MISMATCH, "configured for cluster 'test'"},
        {greeting, ERR_CLUSTER_MISMATCH, "belongs to another cluster (id"},
        {greeting, ERR_ADDRESS, "dialled 'n3' but reached 'n1'"},
        {greeting, ERR_IDENTITY, "an empty node whose name is bound to another incarnation"},
    };
    cases[0].greeting.version_least = cases[0].greeting.version_most = PEER_VERSION_MOST + 1;
    strcpy(cases[1].greeting.hello.cluster, "test");
    cases[2].greeting.hello.cluster_id = 8;
    strcpy(cases[3].greeting.target, "n3");
    cases[4].greeting.hello.member_id = 23;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (int attempt = 0; attempt < 3; attempt++) {
            r = refused(&rig, &cases[i].greeting);
            CU_ASSERT_EQUAL(r.error, cases[i].error);
            CU_ASSERT_PTR_NOT_NULL(strstr(r.sentence, cases[i].part));
        }
        /* Told once, however often it tries, and in the same words. */
        CU_ASSERT_EQUAL(log_catch_count(&rig.log, r.sentence), 1);
    }
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "peer refused"), ARRAY_COUNT(cases));
    tear_down(&rig);
}

/* A name that no peer actor talks to: of a cluster, to raft, who finds it one; of none, away. */
static void strangers(void)
{
    struct rig rig;
    set_up(&rig, 1);
    struct peer_hello hello = raw_hello(7);
    struct peer_greeting greeting = raw_greeting(&hello, "n1");
    struct peer_refusal r = refused(&rig, &greeting);
    CU_ASSERT_EQUAL(r.error, ERR_UNKNOWN_MEMBER);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.sentence, "'n7' is not in the members list"));

    greeting.hello.cluster_id = 9;
    struct raw_peer raw = raw_peer_of(raw_dial(rig.peer_port));
    raw_greet(&raw, PEER_FRAME_HELLO, &greeting);
    (void)raw_expect_greeting(&raw, PEER_FRAME_WELCOME);
    struct msg *m = witness_take(&rig.raft);
    CU_ASSERT_EQUAL(m->kind, RAFT_STRANGER);
    CU_ASSERT_STRING_EQUAL(((struct peer_socket *)m)->hello.name, "n7");
    CU_ASSERT(((struct peer_socket *)m)->fd >= 0);
    msg_free_base(&m); /* raft has no place: the socket goes with the message */
    raw_expect_end(&raw);
    raw_close(&raw);

    struct listener_peers *names = MSG_NEW(struct listener_peers, LISTENER_PEERS, NULL);
    names->count = 2; /* the second place is n7's now */
    strcpy(names->names[1], "n7");
    ACTOR_SEND(rig.listener, names);
    raw = raw_peer_of(raw_dial(rig.peer_port));
    raw_greet(&raw, PEER_FRAME_HELLO, &greeting);
    (void)raw_expect_greeting(&raw, PEER_FRAME_WELCOME);
    m = witness_take(&rig.n3);
    CU_ASSERT_EQUAL(m->kind, PEER_SOCKET);
    msg_free_base(&m);
    raw_close(&raw);
    tear_down(&rig);
}

/* A dialler that writes on although it is refused still gets to read why. */
static void refused_while_writing(void)
{
    struct rig rig;
    set_up(&rig, 1);
    struct peer_hello hello = raw_hello(7);
    struct peer_greeting greeting = raw_greeting(&hello, "n1");
    struct raw_peer raw = raw_peer_of(raw_dial(rig.peer_port));
    struct buffer out = {0};
    peer_greeting_encode(PEER_FRAME_HELLO, &greeting, &out);
    for (int i = 0; i < 100; i++) {
        raw_put_message(&out, 77, 1);
    }
    raw_write(raw.fd, out.data, out.size);
    buffer_free(&out);
    CU_ASSERT_EQUAL(raw_expect_refusal(&raw).error, ERR_UNKNOWN_MEMBER);
    raw_expect_end(&raw);
    CU_ASSERT_EQUAL(errno, 0); /* a goodbye; a reset could have overtaken the sentence */
    raw_close(&raw);
    tear_down(&rig);
}

/* What is no hello at all is closed without an answer. */
static void foreign_protocols(void)
{
    struct rig rig;
    set_up(&rig, 1);
    struct peer_hello hello = raw_hello(2);
    struct peer_greeting greeting = raw_greeting(&hello, "n1");
    struct buffer frames[4] = {0};
    buffer_append(&frames[0], "GET / HTTP/1.1\r\n\r\n", 18);
    peer_greeting_encode(PEER_FRAME_WELCOME, &greeting, &frames[1]); /* not a HELLO */
    peer_greeting_encode(PEER_FRAME_HELLO, &greeting, &frames[2]);
    frames[2].data[20] ^= 4; /* checksum */
    size_t begin = peer_frame_begin(&frames[3], PEER_FRAME_HELLO, 0);
    buffer_u32(&frames[3], 12345); /* not the magic number */
    CU_ASSERT_EQUAL(peer_frame_end(&frames[3], begin), OK);
    static const char *const reasons[] = {"too large", "protocol violation",
                                          "checksum does not match", "protocol violation"};
    for (size_t i = 0; i < ARRAY_COUNT(frames); i++) {
        struct raw_peer raw = raw_peer_of(raw_dial(rig.peer_port));
        raw_write(raw.fd, frames[i].data, frames[i].size);
        raw_expect_end(&raw);
        raw_close(&raw);
        CU_ASSERT_EQUAL(log_catch_count(&rig.log, "peer connection without a valid hello"), i + 1);
        CU_ASSERT_TRUE(log_catch_count(&rig.log, reasons[i]) >= 1);
        buffer_free(&frames[i]);
    }
    tear_down(&rig);
}

/* A connection that says nothing, or half a hello, is not kept. */
static void mute_connections_end(void)
{
    struct rig rig;
    set_up(&rig, 1);
    int mute = raw_dial(rig.peer_port), half = raw_dial(rig.peer_port);
    raw_write(half, "\x40\0\0\0abc", 7);
    expect_end(mute);
    expect_end(half);
    log_catch_wait(&rig.log, "no hello came in time", 2);
    close(mute);
    close(half);
    tear_down(&rig);
}

/* Beyond GREETINGS_MAX the oldest gives way, and a real peer still gets in. */
static void too_many_half_open(void)
{
    struct rig rig;
    int half_open[GREETINGS_MAX];
    set_up(&rig, 1);
    for (int i = 0; i < GREETINGS_MAX; i++) {
        half_open[i] = raw_dial(rig.peer_port);
    }
    struct peer_hello hello = raw_hello(2);
    struct peer_greeting greeting = raw_greeting(&hello, "n1");
    struct raw_peer raw = raw_peer_of(raw_dial(rig.peer_port));
    raw_greet(&raw, PEER_FRAME_HELLO, &greeting);
    raw_expect_greeting(&raw, PEER_FRAME_WELCOME);
    struct msg *m = witness_take(&rig.n2);
    msg_free_base(&m);
    for (int i = 0; i < GREETINGS_MAX; i++) { /* one now, the rest at their deadline */
        expect_end(half_open[i]);
        close(half_open[i]);
    }
    raw_close(&raw);
    tear_down(&rig);
}

/* ---- the end ------------------------------------------------------------------------------------ */

static void stop_closes_the_doors(void)
{
    struct rig rig;
    set_up(&rig, 1);
    int half_open = raw_dial(rig.peer_port);
    actor_stop(rig.listener);
    actor_join(rig.listener);
    expect_end(half_open);
    close(half_open);
    uint16_t ports[] = {rig.client_port, rig.peer_port};
    for (size_t i = 0; i < ARRAY_COUNT(ports); i++) {
        struct socket_address address = raw_address("127.0.0.1", ports[i]);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CU_ASSERT_EQUAL(connect(fd, &address.any, address.size), -1);
        close(fd);
    }
    tear_down(&rig);
}

static void never_started(void)
{
    struct node_actors actors = {0};
    struct listener_actor_settings settings = {.client_fd = raw_listen("127.0.0.1", 0),
                                               .peer_fd = raw_listen("127.0.0.1", 0),
                                               .hello = raw_hello(1),
                                               .actors = &actors};
    uint16_t port = socket_local_port(settings.client_fd);
    actor_destroy(listener_actor_create(&settings));
    struct socket_address address = raw_address("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(connect(fd, &address.any, address.size), -1);
    close(fd);
}

SUITE("listener actor", TEST(clients_in_turn), TEST(client_credit), TEST(log_is_bounded),
      TEST(out_of_descriptors), TEST(peer_is_welcomed), TEST(hello_octet_by_octet), TEST(refusals),
      TEST(refused_while_writing), TEST(strangers), TEST(foreign_protocols),
      TEST(mute_connections_end), TEST(too_many_half_open), TEST(stop_closes_the_doors),
      TEST(never_started))
