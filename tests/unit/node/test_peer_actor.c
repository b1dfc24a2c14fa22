/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_peer_actor.c: one real peer actor against another end that the test plays by hand, so that it
 * can also misbehave: dialling and names, what is told to raft, what is told to the log and how
 * often, older and newer starts, slow and dead readers, broken frames. Two whole nodes talk in
 * test_peer_pair.c. (src/node/peer_actor.c, peer_outbound.c, peer_inbound.c)
 */
#include "raw_peer.h"
#include "../net/name_server.h"
#include "node/node.h"

#include <stdlib.h>

#define ELECTION_MS 10000 /* so that no time-out ends a connection because the test is slow */

/* n1's actor for n2; the test is n2 and n1's raft. */
struct rig {
    struct witness raft;
    struct node_actors actors;
    struct actor *peer;
    int listening; /* n2's door; -1: closed */
    uint16_t port;
    struct log_catch log;
    struct peer_hello n2;
};

static void set_up_to(struct rig *rig, const char *host, const char *name_servers,
                      uint32_t election_ms)
{
    memset(rig, 0, sizeof(*rig));
    log_catch_start(&rig->log);
    witness_start(&rig->raft, "raft");
    rig->actors.raft = rig->raft.actor;
    rig->listening = raw_listen("127.0.0.1", 0);
    rig->port = socket_local_port(rig->listening);
    rig->n2 = raw_hello(2);
    struct peer_actor_settings settings = {.peer_index = 0,
                                           .name = "n2",
                                           .hello = raw_hello(1),
                                           .heartbeat_ms = 50,
                                           .election_timeout_ms = election_ms,
                                           .seed = 1,
                                           .name_servers = name_servers,
                                           .actors = &rig->actors};
    snprintf(settings.address, sizeof(settings.address), "%s:%u", host, rig->port);
    rig->peer = peer_actor_create(&settings);
}

static void set_up(struct rig *rig)
{
    set_up_to(rig, "127.0.0.1", NULL, ELECTION_MS);
    actor_start(rig->peer);
}

/* expected_left: messages to raft that the test did not take. */
static void tear_down(struct rig *rig)
{
    end_actor(rig->peer);
    (void)witness_end(&rig->raft);
    if (rig->listening >= 0) {
        close(rig->listening);
    }
    log_catch_end(&rig->log);
}

static struct peer_greeting take_hello(struct raw_peer *raw)
{
    struct peer_greeting greeting = raw_expect_greeting(raw, PEER_FRAME_HELLO);
    CU_ASSERT_STRING_EQUAL(greeting.hello.name, "n1");
    CU_ASSERT_STRING_EQUAL(greeting.target, "n2");
    CU_ASSERT_EQUAL(greeting.version_least, PEER_VERSION_LEAST);
    CU_ASSERT_EQUAL(greeting.version_most, PEER_VERSION_MOST);
    return greeting;
}

static void welcome(struct raw_peer *raw, const struct peer_hello *n2)
{
    struct peer_greeting greeting = raw_greeting(n2, "n1");
    raw_greet(raw, PEER_FRAME_WELCOME, &greeting);
}

/* Accept n1's dial and hear its HELLO. */
static struct raw_peer take_dial(struct rig *rig)
{
    struct raw_peer raw = raw_peer_of(raw_accept(rig->listening));
    take_hello(&raw);
    return raw;
}

static struct peer_hello take_up(struct rig *rig)
{
    struct msg *m = witness_take(&rig->raft);
    CU_ASSERT_EQUAL_FATAL(m->kind, RAFT_PEER_UP);
    CU_ASSERT_EQUAL(((struct raft_peer_up *)m)->peer_index, 0);
    struct peer_hello hello = ((struct raft_peer_up *)m)->hello;
    msg_free_base(&m);
    return hello;
}

static void take_down(struct rig *rig, uint64_t member_id)
{
    struct msg *m = witness_take(&rig->raft);
    CU_ASSERT_EQUAL_FATAL(m->kind, RAFT_PEER_DOWN);
    CU_ASSERT_EQUAL(((struct raft_peer_down *)m)->peer_index, 0);
    CU_ASSERT_EQUAL(((struct raft_peer_down *)m)->member_id, member_id);
    msg_free_base(&m);
}

/* n1 dials, n2 welcomes, raft hears of it. */
static struct raw_peer connect_out(struct rig *rig)
{
    struct raw_peer raw = take_dial(rig);
    welcome(&raw, &rig->n2);
    CU_ASSERT_EQUAL(take_up(rig).boot_id, rig->n2.boot_id);
    return raw;
}

/* n2's connection to n1, as the listener hands it over. */
static struct raw_peer connect_in_from(struct rig *rig, const struct peer_hello *hello,
                                       const char *host)
{
    int door = raw_listen("127.0.0.1", 0);
    struct raw_peer raw = raw_peer_of(raw_dial_from(host, socket_local_port(door)));
    struct peer_socket *m = MSG_NEW(struct peer_socket, PEER_SOCKET, release_peer_socket);
    m->fd = raw_accept(door);
    m->hello = *hello;
    m->version = PEER_VERSION_MOST;
    ACTOR_SEND(rig->peer, m);
    close(door);
    return raw;
}

static struct raw_peer connect_in(struct rig *rig, const struct peer_hello *hello)
{
    return connect_in_from(rig, hello, "127.0.0.1");
}

static uint64_t take_received(struct rig *rig)
{
    struct msg *m = witness_take(&rig->raft);
    CU_ASSERT_EQUAL_FATAL(m->kind, RAFT_RECEIVED);
    uint64_t term = ((struct raft_received *)m)->message.term;
    CU_ASSERT_EQUAL(((struct raft_received *)m)->group, GROUP_DEFAULT);
    msg_free_base(&m);
    return term;
}

static void send_message(struct rig *rig, uint64_t term, size_t data_bytes)
{
    struct peer_send *m = MSG_NEW(struct peer_send, PEER_SEND, release_peer_send);
    m->message = (struct raft_message){
        .type = RAFT_APPEND_ENTRIES, .from = 11, .to = rig->n2.member_id, .term = term};
    if (data_bytes > 0) {
        uint8_t *data = mem_zalloc(data_bytes);
        struct entry e = {.index = 1, .term = 1, .type = ENTRY_COMMAND};
        e.data = view_of(data, data_bytes);
        m->message.entries = entries_create(1, data_bytes);
        entries_add(m->message.entries, &e);
        mem_free(data);
    }
    ACTOR_SEND(rig->peer, m);
}

static uint64_t expect_message(struct raw_peer *raw)
{
    struct peer_frame frame = {0};
    struct raft_message got = {0};
    CU_ASSERT_TRUE_FATAL(raw_next(raw, &frame));
    CU_ASSERT_EQUAL_FATAL(frame.type, PEER_FRAME_MESSAGE);
    CU_ASSERT_EQUAL_FATAL(raft_message_decode(frame.body, &got), OK);
    uint64_t term = got.term;
    raft_message_free(&got);
    return term;
}

static void send_identity(struct rig *rig, const struct peer_hello *own, uint64_t n2_id)
{
    struct peer_identity *m = MSG_NEW(struct peer_identity, PEER_IDENTITY, NULL);
    m->own = *own;
    if (n2_id != 0) {
        m->configuration.cluster_id = own->cluster_id;
        m->configuration.count = 1;
        m->configuration.members[0].id = n2_id;
        strcpy(m->configuration.members[0].name, "n2");
        m->configuration.members[0].voter_incoming = m->configuration.members[0].voter_outgoing =
            true;
    }
    ACTOR_SEND(rig->peer, m);
}

/* ---- our connection ----------------------------------------------------------------------------- */

static void dial_greet_send(void)
{
    struct rig rig;
    set_up(&rig);
    rig.n2.cluster_id = 9;
    rig.n2.empty = false;
    struct raw_peer raw = take_dial(&rig);
    welcome(&raw, &rig.n2);
    struct peer_hello hello = take_up(&rig);
    CU_ASSERT_STRING_EQUAL(hello.name, "n2");
    CU_ASSERT_EQUAL(hello.member_id, 22);
    CU_ASSERT_EQUAL(hello.cluster_id, 9);
    CU_ASSERT_FALSE(hello.empty);
    for (uint64_t i = 1; i <= 500; i++) {
        send_message(&rig, i, i % 50 == 0 ? 300000 : i);
    }
    for (uint64_t i = 1; i <= 500; i++) {
        CU_ASSERT_EQUAL(expect_message(&raw), i);
    }
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "connected to peer peer=n2"), 1);
    raw_close(&raw);
    take_down(&rig, 22);
    tear_down(&rig);
}

/* What cannot be sent is dropped and counted, before the welcome as well as without a connection. */
static void unconnected_messages_are_dropped(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer raw = take_dial(&rig);
    for (uint64_t i = 1; i <= 5; i++) {
        send_message(&rig, 1000,
                     10); /* handled before the welcome below is read or after: see term */
    }
    struct peer_hello own = raw_hello(1);
    send_identity(&rig, &own, 0); /* nothing new, so nothing is sent for it */
    end_actor(rig.peer);
    log_catch_wait(&rig.log, "messages dropped for lack of a connection peer=n2 count=5", 1);
    raw_expect_end(&raw);
    raw_close(&raw);
    (void)witness_end(&rig.raft);
    close(rig.listening);
    log_catch_end(&rig.log);
}

/* Every way in which an attempt fails is followed by another one, and told once. */
static void failed_attempts_are_repeated(void)
{
    struct rig rig;
    set_up(&rig);
    for (int i = 0; i < 4; i++) { /* closed before the hello is answered */
        struct raw_peer raw = take_dial(&rig);
        raw_close(&raw);
    }
    struct raw_peer raw = connect_out(&rig); /* what failed before has been logged by now */
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "peer unreachable peer=n2"), 1);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "closed by the peer"), 1);
    raw_close(&raw);
    tear_down(&rig);
}

static void answers_that_are_none(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer raw = take_dial(&rig);
    raw_write(raw.fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    raw_expect_end(&raw);
    raw_close(&raw);
    raw = take_dial(&rig);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "reason=\"too large\""), 1);
    struct peer_greeting greeting = raw_greeting(&rig.n2, "n1");
    raw_greet(&raw, PEER_FRAME_HELLO, &greeting); /* a frame that has no place there */
    raw_expect_end(&raw);
    raw_close(&raw);
    raw = take_dial(&rig);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "protocol violation"), 1);
    raw_close(&raw);
    raw = connect_out(&rig);
    raw_close(&raw);
    tear_down(&rig);
}

/* Nobody listens there, then somebody does. */
static void refused_connection_is_repeated(void)
{
    struct rig rig;
    set_up_to(&rig, "127.0.0.1", NULL, ELECTION_MS);
    close(rig.listening);
    actor_start(rig.peer);
    log_catch_wait(&rig.log, "peer unreachable peer=n2", 1);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "Connection refused"), 1);
    rig.listening = raw_listen("127.0.0.1", rig.port);
    struct raw_peer raw = connect_out(&rig);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "peer unreachable"), 1);
    raw_close(&raw);
    tear_down(&rig);
}

/* A peer that accepts and then says nothing is given up. */
static void mute_acceptor_is_given_up(void)
{
    struct rig rig;
    set_up_to(&rig, "127.0.0.1", NULL, 3000);
    actor_start(rig.peer);
    struct raw_peer mute = take_dial(&rig);
    struct raw_peer raw = connect_out(&rig);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "its handshake does not come"), 1);
    raw_expect_end(&mute);
    raw_close(&mute);
    raw_close(&raw);
    tear_down(&rig);
}

/* Invariant 5 of peer.h: the pauses at least double from 25..50 ms until one election timeout. */
static void pauses_grow(void)
{
    struct rig rig;
    set_up_to(&rig, "127.0.0.1", NULL, ELECTION_MS);
    uint64_t before_us = actor_stopwatch_us();
    actor_start(rig.peer);
    for (int i = 0; i < 6; i++) {
        struct raw_peer raw = take_dial(&rig);
        raw_close(&raw);
    }
    /* Five pauses of at least half of 50, 100, 200, 400, 800 ms lie between them. */
    CU_ASSERT_TRUE(actor_stopwatch_us() - before_us >= 775000);
    tear_down(&rig);
}

/* A name is resolved again at every dial: the second one goes where the name points by then. */
static void name_is_resolved_at_every_dial(void)
{
    struct rig rig;
    struct name_server server;
    name_server_start(&server);
    server.mood = ANSWERS_V4;
    server.last_octet = 1;
    set_up_to(&rig, "n2.cluster.example", server.text, ELECTION_MS);
    int elsewhere = raw_listen("127.0.0.2", rig.port);
    actor_start(rig.peer);
    for (int round = 0; round < 4; round++) {
        int expected = round % 2 == 0 ? rig.listening : elsewhere;
        int before = server.question_count;
        server.last_octet = round % 2 == 0 ? 1 : 2;
        struct pollfd list[2] = {{.fd = server.fd, .events = POLLIN},
                                 {.fd = expected, .events = POLLIN}};
        do {
            CU_ASSERT_FATAL(poll(list, 2, WITNESS_PATIENCE_MS) > 0);
            name_server_answer(&server);
        } while ((list[1].revents & POLLIN) == 0);
        struct raw_peer raw = raw_peer_of(raw_accept(expected));
        take_hello(&raw);
        CU_ASSERT_TRUE(server.question_count > before);
        raw_close(&raw);
    }
    close(elsewhere);
    tear_down(&rig);
    name_server_end(&server);
}

/* Let the name server answer until n1 has dialled the door. */
static struct raw_peer serve_names_until_dialled(struct name_server *server, int door)
{
    struct pollfd list[2] = {{.fd = server->fd, .events = POLLIN}, {.fd = door, .events = POLLIN}};
    do {
        CU_ASSERT_FATAL(poll(list, 2, WITNESS_PATIENCE_MS) > 0);
        name_server_answer(server);
    } while ((list[1].revents & POLLIN) == 0);
    struct raw_peer raw = raw_peer_of(raw_accept(door));
    take_hello(&raw);
    return raw;
}

/* Name servers that do not answer, or deny the name, keep nobody apart that was together before; told once. */
static void last_good_address_when_names_fail(void)
{
    static const enum name_server_mood moods[] = {SILENT, NO_SUCH_NAME};
    for (size_t i = 0; i < ARRAY_COUNT(moods); i++) {
        struct rig rig;
        struct name_server server;
        name_server_start(&server);
        server.mood = ANSWERS_V4;
        server.last_octet = 1;
        set_up_to(&rig, "n2.cluster.example", server.text, ELECTION_MS);
        actor_start(rig.peer);
        struct raw_peer raw = serve_names_until_dialled(&server, rig.listening);
        welcome(&raw, &rig.n2);
        (void)take_up(&rig);
        server.mood = moods[i];
        for (int round = 0; round < 2; round++) {
            raw_close(&raw);
            take_down(&rig, 22);
            raw = serve_names_until_dialled(&server, rig.listening);
            welcome(&raw, &rig.n2);
            (void)take_up(&rig);
        }
        CU_ASSERT_EQUAL(log_catch_count(&rig.log, "name cannot be resolved peer=n2"), 1);
        server.mood = ANSWERS_V4;
        raw_close(&raw);
        take_down(&rig, 22);
        raw = serve_names_until_dialled(&server, rig.listening);
        CU_ASSERT_EQUAL(log_catch_count(&rig.log, "name resolved again peer=n2"), 1);
        raw_close(&raw);
        tear_down(&rig);
        name_server_end(&server);
    }
}

/* The peer has dialled us, so it can be reached there, whatever the name servers say: nothing at all, or the address
 * that it had before it moved. */
static void address_the_peer_dials_from(void)
{
    for (int stale = 0; stale < 2; stale++) {
        struct rig rig;
        struct name_server server;
        name_server_start(&server);
        server.mood = stale ? ANSWERS_V4 : NO_SUCH_NAME;
        server.last_octet = 9; /* nobody listens there */
        set_up_to(&rig, "n2.cluster.example", server.text, ELECTION_MS);
        struct raw_peer in =
            connect_in(&rig, &rig.n2); /* waits in the inbox: there before the dial */
        actor_start(rig.peer);
        struct raw_peer raw = serve_names_until_dialled(&server, rig.listening);
        raw_close(&raw);
        raw_close(&in);
        tear_down(&rig);
        name_server_end(&server);
    }
}

/* An address that swallows what is sent to it: a door behind which nobody takes anybody in. */
static int mute_door(const char *host, uint16_t port, int waiting[4])
{
    struct socket_address at = raw_address(host, port);
    int fd = raw_listen(host, port);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 0), 0);
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL_FATAL(socket_connect_start(&at, &waiting[i]), OK);
    }
    return fd;
}

/* It called from one address and then from another: it has moved, and is dialled there first. Its name still stands for
 * where it was, where nobody says no. */
static void who_has_moved_is_called_back(void)
{
    struct rig rig;
    struct name_server server;
    int waiting[4];
    name_server_start(&server);
    server.mood = ANSWERS_V4;
    server.last_octet = 2;
    set_up_to(&rig, "n2.cluster.example", server.text, 1000 * ELECTION_MS);
    int mute = mute_door("127.0.0.2", rig.port, waiting);
    struct raw_peer before = connect_in_from(&rig, &rig.n2, "127.0.0.2");
    struct raw_peer in = connect_in(&rig, &rig.n2);
    actor_start(rig.peer);
    struct raw_peer raw = serve_names_until_dialled(&server, rig.listening);
    welcome(&raw, &rig.n2);
    (void)take_up(&rig);
    raw_close(&raw);
    raw_close(&in);
    raw_close(&before);
    for (size_t i = 0; i < 4; i++) {
        close(waiting[i]);
    }
    close(mute);
    tear_down(&rig);
    name_server_end(&server);
}

/* Connected, silent, and the name has moved away: what the name stands for now is dialled. */
static void silent_connection_follows_the_name(void)
{
    struct rig rig;
    struct name_server server;
    name_server_start(&server);
    server.mood = ANSWERS_V4;
    server.last_octet = 1;
    set_up_to(&rig, "n2.cluster.example", server.text, ELECTION_MS);
    int elsewhere = raw_listen("127.0.0.2", rig.port);
    actor_start(rig.peer);
    struct raw_peer raw = serve_names_until_dialled(&server, rig.listening);
    welcome(&raw, &rig.n2);
    (void)take_up(&rig);
    server.last_octet = 2;
    struct raw_peer moved = serve_names_until_dialled(&server, elsewhere);
    raw_expect_end(&raw);
    take_down(&rig, 22);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "its name stands for another address now"), 1);
    raw_close(&raw);
    raw_close(&moved);
    close(elsewhere);
    tear_down(&rig);
    name_server_end(&server);
}

static void unknown_name_is_told(void)
{
    struct rig rig;
    struct name_server server;
    name_server_start(&server);
    server.mood = NO_SUCH_NAME;
    set_up_to(&rig, "n2.cluster.example", server.text, ELECTION_MS);
    actor_start(rig.peer);
    struct pollfd list[2] = {{.fd = server.fd, .events = POLLIN},
                             {.fd = rig.log.read_fd, .events = POLLIN}};
    while (log_catch_count(&rig.log, "peer unreachable peer=n2") == 0) {
        CU_ASSERT_FATAL(poll(list, 2, WITNESS_PATIENCE_MS) > 0);
        name_server_answer(&server);
    }
    tear_down(&rig); /* most likely in the middle of the next lookup */
    name_server_end(&server);
}

/* "localhost" may mean ::1 and 127.0.0.1; only the second answers here. */
static void addresses_are_tried_in_turn(void)
{
    struct rig rig;
    struct name_server server;
    name_server_start(&server);
    server.mood = ANSWERS; /* ::1 and 127.0.0.1 */
    server.last_octet = 1;
    set_up_to(&rig, "n2.cluster.example", server.text, ELECTION_MS);
    actor_start(rig.peer);
    struct pollfd list[2] = {{.fd = server.fd, .events = POLLIN},
                             {.fd = rig.listening, .events = POLLIN}};
    do {
        CU_ASSERT_FATAL(poll(list, 2, WITNESS_PATIENCE_MS) > 0);
        name_server_answer(&server);
    } while ((list[1].revents & POLLIN) == 0);
    struct raw_peer raw = connect_out(&rig);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "peer unreachable"), 0);
    raw_close(&raw);
    tear_down(&rig);
    name_server_end(&server);
}

/* At rest, then told of a seed whose name nobody knows yet, then of another one. */
static void seeds_without_names_are_dialled(void)
{
    struct rig rig;
    set_up_to(&rig, "127.0.0.1", NULL, ELECTION_MS);
    end_actor(rig.peer);
    struct peer_actor_settings settings = {.hello = raw_hello(1),
                                           .heartbeat_ms = 50,
                                           .election_timeout_ms = ELECTION_MS,
                                           .seed = 1,
                                           .actors = &rig.actors};
    rig.peer = peer_actor_create(&settings);
    actor_start(rig.peer);
    int elsewhere = raw_listen("127.0.0.2", rig.port);
    for (int host = 1; host <= 2; host++) {
        struct peer_target *target = MSG_NEW(struct peer_target, PEER_TARGET, NULL);
        snprintf(target->address, sizeof(target->address), "127.0.0.%d:%u", host, rig.port);
        ACTOR_SEND(rig.peer, target);
        struct raw_peer raw = raw_peer_of(raw_accept(host == 1 ? rig.listening : elsewhere));
        struct peer_greeting greeting = raw_expect_greeting(&raw, PEER_FRAME_HELLO);
        CU_ASSERT_STRING_EQUAL(greeting.target, "");
        raw_close(&raw);
    }
    close(elsewhere);
    tear_down(&rig);
}

/* ---- refusals ----------------------------------------------------------------------------------- */

/* They refuse us: told once per reason, not per attempt; and we go on trying. */
static void being_refused_is_told_once_per_reason(void)
{
    struct rig rig;
    set_up(&rig);
    for (int i = 0; i < 6; i++) {
        struct raw_peer raw = take_dial(&rig);
        raw_refuse(&raw, ERR_UNKNOWN_MEMBER, i < 3 ? "first reason; do this" : "second; do that");
        raw_expect_end(&raw);
        raw_close(&raw);
    }
    struct raw_peer raw = take_dial(&rig);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "refused by peer"), 2);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "first reason; do this"), 1);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "second; do that"), 1);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "error=\"not a member of this cluster\""), 2);
    raw_close(&raw);
    tear_down(&rig);
}

/* The same for one that welcomes us first and refuses us then, as a peer actor does. */
static void refused_behind_the_welcome(void)
{
    struct rig rig;
    set_up_to(&rig, "127.0.0.1", NULL, 60000); /* so that no connection counts as lasting */
    actor_start(rig.peer);
    for (int i = 0; i < 4; i++) {
        struct raw_peer raw = connect_out(&rig);
        raw_refuse(&raw, ERR_IDENTITY, "an older start; end it");
        raw_expect_end(&raw);
        raw_close(&raw);
        take_down(&rig, 22);
    }
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "refused by peer"), 1);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "connected to peer"), 1);
    tear_down(&rig);
}

/* We refuse who answers: each kind, with its sentence on both sides. */
static void answerers_that_do_not_fit(void)
{
    struct peer_hello own = raw_hello(1), n2 = raw_hello(2);
    own.cluster_id = 9;
    struct {
        struct peer_hello hello;
        const char *target;
        uint16_t version;
        enum err error;
        const char *part;
    } cases[] = {
        {n2, "n1", PEER_VERSION_MOST + 1, ERR_VERSION, "upgrade the older one"},
        {n2, "n1", PEER_VERSION_MOST, ERR_CLUSTER_MISMATCH, "configured for cluster 'test'"},
        {n2, "n1", PEER_VERSION_MOST, ERR_CLUSTER_MISMATCH, "belongs to another cluster (id"},
        {n2, "n1", PEER_VERSION_MOST, ERR_ADDRESS, "'n1' dialled 'n2' but reached 'n3'"},
        {n2, "n4", PEER_VERSION_MOST, ERR_ADDRESS, "dialled 'n4' but reached 'n1'"},
        {n2, "n1", PEER_VERSION_MOST, ERR_IDENTITY, "an empty node whose name is bound"},
    };
    strcpy(cases[1].hello.cluster, "test");
    cases[2].hello.cluster_id = 8;
    strcpy(cases[3].hello.name, "n3");
    cases[5].hello.member_id = 23;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct peer_greeting greeting = raw_greeting(&cases[i].hello, cases[i].target);
        greeting.version_least = greeting.version_most = cases[i].version;
        struct peer_refusal refusal = {0};
        struct rig rig;
        set_up_to(&rig, "127.0.0.1", NULL, ELECTION_MS);
        send_identity(&rig, &own, 22);
        actor_start(rig.peer);
        for (int attempt = 0; attempt < 2; attempt++) {
            struct raw_peer raw = take_dial(&rig);
            raw_greet(&raw, PEER_FRAME_WELCOME, &greeting);
            refusal = raw_expect_refusal(&raw);
            CU_ASSERT_EQUAL(refusal.error, cases[i].error);
            CU_ASSERT_PTR_NOT_NULL(strstr(refusal.sentence, cases[i].part));
            raw_expect_end(&raw);
            raw_close(&raw);
        }
        log_catch_wait(&rig.log, refusal.sentence, 1);
        CU_ASSERT_EQUAL(log_catch_count(&rig.log, refusal.sentence), 1);
        CU_ASSERT_EQUAL(log_catch_count(&rig.log, "peer refused"), 1);
        tear_down(&rig);
    }
}

/* ---- their connection --------------------------------------------------------------------------- */

static void messages_from_the_peer(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer raw = connect_in(&rig, &rig.n2);
    for (uint64_t i = 1; i <= 300; i++) {
        raw_send_message(&raw, 22, i);
    }
    for (uint64_t i = 1; i <= 300; i++) {
        CU_ASSERT_EQUAL(take_received(&rig), i);
    }
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "receiving from peer peer=n2"), 1);
    raw_close(&raw);
    tear_down(&rig);
}

/* Octets that the listener had already read come first. */
static void early_octets(void)
{
    struct rig rig;
    set_up(&rig);
    int door = raw_listen("127.0.0.1", 0);
    struct raw_peer raw = raw_peer_of(raw_dial(socket_local_port(door)));
    struct buffer frames = {0};
    raw_put_message(&frames, 22, 1);
    raw_put_message(&frames, 22, 2);
    size_t split = frames.size - 5;
    struct peer_socket *m = MSG_NEW(struct peer_socket, PEER_SOCKET, release_peer_socket);
    m->fd = raw_accept(door);
    m->hello = rig.n2;
    m->version = PEER_VERSION_MOST;
    buffer_append(&m->early, frames.data, split);
    ACTOR_SEND(rig.peer, m);
    CU_ASSERT_EQUAL(take_received(&rig), 1);
    raw_write(raw.fd, frames.data + split, 5);
    CU_ASSERT_EQUAL(take_received(&rig), 2);
    buffer_free(&frames);
    close(door);
    raw_close(&raw);
    tear_down(&rig);
}

/* Each of these ends the connection and nothing of it reaches raft; a good one works afterwards. */
static void broken_input(void)
{
    struct rig rig;
    set_up(&rig);
    struct peer_greeting greeting = raw_greeting(&rig.n2, "n1");
    struct peer_greeting other = greeting;
    other.hello.boot_id++;
    struct buffer inputs[7] = {0};
    raw_put_message(&inputs[0], 33, 1); /* says it is from somebody else */
    raw_put_message(&inputs[1], 22, 1);
    inputs[1].data[30] ^= 1; /* checksum */
    peer_greeting_encode(PEER_FRAME_HELLO, &greeting, &inputs[2]);
    peer_greeting_encode(PEER_FRAME_WELCOME, &greeting, &inputs[3]);
    peer_greeting_encode(PEER_FRAME_HELLO_UPDATE, &other,
                         &inputs[4]); /* turns into another start */
    size_t begin = peer_frame_begin(&inputs[5], PEER_FRAME_MESSAGE, 0);
    buffer_u32(&inputs[5], 7); /* no Raft message */
    CU_ASSERT_EQUAL(peer_frame_end(&inputs[5], begin), OK);
    begin = peer_frame_begin(&inputs[6], PEER_FRAME_HELLO_UPDATE, 0); /* too short */
    CU_ASSERT_EQUAL(peer_frame_end(&inputs[6], begin), OK);
    for (size_t i = 0; i < ARRAY_COUNT(inputs); i++) {
        struct raw_peer raw = connect_in(&rig, &rig.n2);
        raw_write(raw.fd, inputs[i].data, inputs[i].size);
        raw_expect_end(&raw);
        raw_close(&raw);
        buffer_free(&inputs[i]);
    }
    struct raw_peer raw = connect_in(&rig, &rig.n2);
    raw_send_message(&raw, 22, 77);
    CU_ASSERT_EQUAL(take_received(&rig), 77); /* and nothing before it */
    raw_close(&raw);
    tear_down(&rig);
}

static void newer_connection_replaces(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer first = connect_in(&rig, &rig.n2);
    raw_send_message(&first, 22, 1);
    CU_ASSERT_EQUAL(take_received(&rig), 1);
    struct raw_peer second = connect_in(&rig, &rig.n2);
    raw_expect_end(&first);
    raw_send_message(&second, 22, 2);
    CU_ASSERT_EQUAL(take_received(&rig), 2);
    raw_close(&first);
    raw_close(&second);
    tear_down(&rig);
}

/* Design §4: a newer start takes over from the older one, in both directions; an older one is refused. */
static void older_start_is_refused(void)
{
    struct rig rig;
    set_up(&rig);
    struct peer_hello older = rig.n2, newer = rig.n2;
    newer.boot_number++;
    newer.boot_id++;
    struct raw_peer out = connect_out(&rig);
    struct raw_peer old_in = connect_in(&rig, &older);
    raw_send_message(&old_in, 22, 1);
    CU_ASSERT_EQUAL(take_received(&rig), 1);

    struct raw_peer new_in = connect_in(&rig, &newer);
    raw_expect_end(&old_in);
    raw_expect_end(&out); /* it leads to a process that is no more */
    take_down(&rig, 22);
    raw_send_message(&new_in, 22, 2);
    CU_ASSERT_EQUAL(take_received(&rig), 2);

    struct raw_peer late = connect_in(&rig, &older);
    struct peer_refusal refusal = raw_expect_refusal(&late);
    CU_ASSERT_EQUAL(refusal.error, ERR_IDENTITY);
    CU_ASSERT_PTR_NOT_NULL(strstr(refusal.sentence, "boot number 1 after boot 2 was seen"));
    raw_expect_end(&late);
    log_catch_wait(&rig.log, refusal.sentence, 1);
    raw_send_message(&new_in, 22, 3); /* and the newer one was not disturbed */
    CU_ASSERT_EQUAL(take_received(&rig), 3);

    struct raw_peer again = take_dial(&rig); /* an answer of the older start is refused, too */
    welcome(&again, &older);
    CU_ASSERT_EQUAL(raw_expect_refusal(&again).error, ERR_IDENTITY);
    raw_close(&again);
    again = take_dial(&rig);
    welcome(&again, &newer);
    CU_ASSERT_EQUAL(take_up(&rig).boot_id, newer.boot_id);
    raw_close(&again);
    raw_close(&late);
    raw_close(&new_in);
    raw_close(&old_in);
    raw_close(&out);
    tear_down(&rig);
}

/* A welcome of a newer start ends the connection that the older one had dialled. */
static void newer_welcome_ends_older_input(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer old_in = connect_in(&rig, &rig.n2);
    raw_send_message(&old_in, 22, 1);
    CU_ASSERT_EQUAL(take_received(&rig), 1);
    rig.n2.boot_number++;
    rig.n2.boot_id++;
    struct raw_peer out = connect_out(&rig);
    raw_expect_end(&old_in);
    raw_close(&old_in);
    raw_close(&out);
    tear_down(&rig);
}

/* ---- identities --------------------------------------------------------------------------------- */

static void news_of_the_peer_reach_raft(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer out = connect_out(&rig);
    struct raw_peer in = connect_in(&rig, &rig.n2); /* says nothing new: raft hears nothing */
    struct peer_greeting greeting = raw_greeting(&rig.n2, "n1");
    greeting.hello.empty = false;
    greeting.hello.cluster_id = 9;
    raw_greet(&in, PEER_FRAME_HELLO_UPDATE, &greeting);
    struct peer_hello hello = take_up(&rig);
    CU_ASSERT_EQUAL(hello.cluster_id, 9);
    CU_ASSERT_FALSE(hello.empty);
    raw_close(&in);
    raw_close(&out);
    tear_down(&rig);
}

/* News that come while our connection is down are not UP yet; the next welcome brings them. */
static void news_wait_for_our_connection(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer dialled = take_dial(&rig); /* held without an answer */
    struct peer_hello hello = rig.n2;
    hello.empty = false;
    hello.cluster_id = 9;
    struct raw_peer in = connect_in(&rig, &hello);
    raw_send_message(&in, 22, 1);
    CU_ASSERT_EQUAL(take_received(&rig), 1); /* no PEER_UP before it */
    welcome(&dialled, &rig.n2);              /* an answer that was older */
    struct peer_hello told = take_up(&rig);
    CU_ASSERT_EQUAL(told.cluster_id, 9);
    CU_ASSERT_FALSE(told.empty);
    raw_close(&in);
    raw_close(&dialled);
    tear_down(&rig);
}

/* Our own news: on the connection that is up, or right behind a welcome that crossed them. */
static void own_news_are_announced(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer raw = take_dial(&rig);
    struct peer_hello own = raw_hello(1);
    own.empty = false;
    send_identity(&rig, &own, 0); /* the HELLO is already out */
    struct raw_peer in = connect_in(&rig, &rig.n2);
    raw_send_message(&in, 22, 1);
    CU_ASSERT_EQUAL(take_received(&rig), 1); /* so the identity has been taken */
    welcome(&raw, &rig.n2);
    take_up(&rig);
    CU_ASSERT_FALSE(raw_expect_greeting(&raw, PEER_FRAME_HELLO_UPDATE).hello.empty);
    own.cluster_id = 9;
    send_identity(&rig, &own, 22);
    CU_ASSERT_EQUAL(raw_expect_greeting(&raw, PEER_FRAME_HELLO_UPDATE).hello.cluster_id, 9);
    send_identity(&rig, &own, 22); /* nothing new */
    send_message(&rig, 5, 0);
    CU_ASSERT_EQUAL(expect_message(&raw), 5);
    raw_close(&raw);
    raw_close(&in);
    raw = take_dial(&rig); /* and the next HELLO has it all */
    raw_close(&raw);
    tear_down(&rig);
}

/* When the cluster's configuration comes to be known, a connected peer may turn out to be a wrong one. */
static void configuration_ends_wrong_connections(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer out = connect_out(&rig);
    struct raw_peer in = connect_in(&rig, &rig.n2);
    raw_send_message(&in, 22, 1);
    CU_ASSERT_EQUAL(take_received(&rig), 1);
    struct peer_hello own = raw_hello(1);
    own.cluster_id = 9;
    own.empty = false;
    send_identity(&rig, &own, 23); /* n2's name is bound to another incarnation */
    CU_ASSERT_EQUAL(raw_expect_greeting(&out, PEER_FRAME_HELLO_UPDATE).hello.cluster_id, 9);
    CU_ASSERT_EQUAL(raw_expect_refusal(&out).error, ERR_IDENTITY);
    raw_expect_end(&out);
    CU_ASSERT_EQUAL(raw_expect_refusal(&in).error, ERR_IDENTITY);
    raw_expect_end(&in);
    take_down(&rig, 22);
    struct raw_peer late = connect_in(&rig, &rig.n2); /* the listener may not know it yet */
    struct peer_refusal refusal = raw_expect_refusal(&late);
    CU_ASSERT_EQUAL(refusal.error, ERR_IDENTITY);
    /* One thing to tell, though it was met on three connections. */
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, refusal.sentence), 1);
    raw_close(&late);
    raw_close(&in);
    raw_close(&out);
    tear_down(&rig);
}

/* ---- slow and dead readers ---------------------------------------------------------------------- */

/* A peer that takes nothing is disconnected for its unsent octets when more and more are to be sent ... */
static void output_is_bounded(void)
{
    struct rig rig;
    set_up_to(&rig, "127.0.0.1", NULL, 60000); /* so that time does not end it */
    actor_start(rig.peer);
    struct raw_peer raw = connect_out(&rig); /* and is not read from now on */
    for (int i = 0; i < 72; i++) {           /* 32 MiB may wait, some more are in the sockets */
        send_message(&rig, 1, (size_t)1 << 20);
    }
    take_down(&rig, 22);
    log_catch_wait(&rig.log, "it takes messages too slowly", 1);
    raw_close(&raw);
    raw = connect_out(&rig); /* and can come back */
    send_message(&rig, 7, 10);
    while (expect_message(&raw) != 7) { /* some of the large ones may have been behind the reset */
    }
    raw_close(&raw);
    tear_down(&rig);
}

/* ... and for its silence when not. */
static void stalled_peer_is_disconnected(void)
{
    struct rig rig;
    set_up_to(&rig, "127.0.0.1", NULL, 1500);
    actor_start(rig.peer);
    struct raw_peer raw = connect_out(&rig);
    for (int i = 0; i < 28; i++) {
        send_message(&rig, 1, (size_t)1 << 20);
    }
    take_down(&rig, 22);
    log_catch_wait(&rig.log, "it takes no data", 1);
    raw_close(&raw);
    tear_down(&rig);
}

/* A slow reader that does read gets everything, in order. */
static void slow_reader_gets_everything(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer raw = connect_out(&rig);
    for (uint64_t i = 1; i <= 24; i++) {
        send_message(&rig, i, (size_t)1 << 20);
    }
    for (uint64_t i = 1; i <= 24; i++) {
        CU_ASSERT_EQUAL(expect_message(&raw), i);
    }
    raw_close(&raw);
    tear_down(&rig);
}

/* A message that no frame can hold is dropped and said, and does not end the connection. */
static void too_large_message(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer raw = connect_out(&rig);
    for (int i = 0; i < 3; i++) {
        send_message(&rig, 1, PEER_FRAME_BYTES_MAX);
    }
    send_message(&rig, 2, 10);
    CU_ASSERT_EQUAL(expect_message(&raw), 2);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "message too large for a peer frame"), 1);
    raw_close(&raw);
    tear_down(&rig);
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* What was handed over before the stop still goes out as far as the socket takes it. */
static void stop_sends_what_it_can(void)
{
    struct rig rig;
    set_up(&rig);
    struct raw_peer raw = connect_out(&rig);
    struct raw_peer in = connect_in(&rig, &rig.n2);
    for (uint64_t i = 1; i <= 20; i++) {
        send_message(&rig, i, 100);
    }
    actor_stop(rig.peer);
    actor_join(rig.peer);
    for (uint64_t i = 1; i <= 20; i++) {
        CU_ASSERT_EQUAL(expect_message(&raw), i);
    }
    raw_expect_end(&raw);
    raw_expect_end(&in);
    raw_close(&in);
    raw_close(&raw);
    tear_down(&rig);
}

static void stop_in_every_state(void)
{
    struct rig rig;
    for (int state = 0; state < 3; state++) {
        struct name_server server;
        name_server_start(&server);
        server.mood = SILENT;
        set_up_to(&rig, state == 0 ? "n2.cluster.example" : "127.0.0.1", server.text, ELECTION_MS);
        if (state == 1) { /* waiting, most likely */
            close(rig.listening);
            rig.listening = -1;
        }
        actor_start(rig.peer);
        struct pollfd asked = {.fd = server.fd, .events = POLLIN};
        struct raw_peer raw = {.fd = -1};
        switch (state) {
        case 0: /* resolving */
            CU_ASSERT_EQUAL(poll(&asked, 1, WITNESS_PATIENCE_MS), 1);
            break;
        case 1:
            log_catch_wait(&rig.log, "peer unreachable", 1);
            break;
        default: /* greeting */
            raw = take_dial(&rig);
            break;
        }
        tear_down(&rig);
        if (raw.fd >= 0) {
            raw_expect_end(&raw);
            raw_close(&raw);
        }
        name_server_end(&server);
    }
    set_up_to(&rig, "127.0.0.1", NULL, ELECTION_MS);
    actor_destroy(rig.peer); /* never started */
    (void)witness_end(&rig.raft);
    close(rig.listening);
    log_catch_end(&rig.log);
}

SUITE("peer actor", TEST(dial_greet_send), TEST(unconnected_messages_are_dropped),
      TEST(failed_attempts_are_repeated), TEST(answers_that_are_none),
      TEST(refused_connection_is_repeated), TEST(mute_acceptor_is_given_up), TEST(pauses_grow),
      TEST(name_is_resolved_at_every_dial), TEST(last_good_address_when_names_fail),
      TEST(address_the_peer_dials_from), TEST(who_has_moved_is_called_back),
      TEST(silent_connection_follows_the_name), TEST(seeds_without_names_are_dialled),
      TEST(unknown_name_is_told), TEST(addresses_are_tried_in_turn),
      TEST(being_refused_is_told_once_per_reason), TEST(refused_behind_the_welcome),
      TEST(answerers_that_do_not_fit), TEST(messages_from_the_peer), TEST(early_octets),
      TEST(broken_input), TEST(newer_connection_replaces), TEST(older_start_is_refused),
      TEST(newer_welcome_ends_older_input), TEST(news_of_the_peer_reach_raft),
      TEST(news_wait_for_our_connection), TEST(own_news_are_announced),
      TEST(configuration_ends_wrong_connections), TEST(output_is_bounded),
      TEST(stalled_peer_is_disconnected), TEST(slow_reader_gets_everything),
      TEST(too_large_message), TEST(stop_sends_what_it_can), TEST(stop_in_every_state))
