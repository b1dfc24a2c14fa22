/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_peer_pair.c: two nodes' listeners and peer actors on loopback, each on its own thread, with
 * the test in the place of both rafts: messages both ways, a restart, refusals with the same sentence
 * in both logs, and the identities that a bootstrap needs. (src/node/peer_actor.c, listener_actor.c)
 */
#include "raw_peer.h"
#include "node/node.h"

#define ELECTION_MS 10000 /* no time-out of ours ends a connection under a slow test */

/* One node: number n talks to the other number. */
struct side {
    struct witness raft, client;
    struct node_actors actors;
    struct actor *peer, *listener;
    struct credits *connections;
    struct peer_hello hello;
    uint16_t port;
};

struct rig {
    struct side a, b;
    struct log_catch log;
};

/* Build, not start. other_port: where the other one listens. */
static void side_create(struct side *s, int peer_fd, const char *other, uint16_t other_port)
{
    char name[32];
    witness_start(&s->raft, "raft");
    witness_start(&s->client, "client");
    memset(&s->actors, 0, sizeof(s->actors));
    s->actors.raft = s->raft.actor;
    s->actors.client_count = 1;
    s->actors.clients[0] = s->client.actor;
    s->actors.peer_count = 1;
    strcpy(s->actors.peer_names[0], other);
    s->connections = credits_create(1);
    struct peer_actor_settings peer = {.hello = s->hello,
                                       .heartbeat_ms = 50,
                                       .election_timeout_ms = ELECTION_MS,
                                       .seed = s->hello.member_id,
                                       .actors = &s->actors};
    snprintf(name, sizeof(name), "%s", other);
    strcpy(peer.name, name);
    snprintf(peer.address, sizeof(peer.address), "localhost:%u", other_port);
    s->peer = peer_actor_create(&peer);
    s->actors.peers[0] = s->peer;
    struct listener_actor_settings listener = {.client_fd = raw_listen("127.0.0.1", 0),
                                               .peer_fd = peer_fd,
                                               .hello = s->hello,
                                               .connections = s->connections,
                                               .actors = &s->actors};
    s->port = socket_local_port(peer_fd);
    s->listener = listener_actor_create(&listener);
}

static void side_start(struct side *s)
{
    actor_start(s->peer);
    actor_start(s->listener);
}

/* Returns how many messages to raft nobody took. */
static size_t side_end(struct side *s)
{
    actor_stop(s->listener);
    actor_stop(s->peer);
    actor_join(s->listener);
    actor_join(s->peer);
    actor_destroy(s->listener);
    actor_destroy(s->peer);
    credits_destroy(s->connections);
    CU_ASSERT_EQUAL(witness_end(&s->client), 0);
    return witness_end(&s->raft);
}

/* n1 and n2, not started; a test may change hellos and addresses through the arguments. */
static void set_up(struct rig *rig, const struct peer_hello *a, const struct peer_hello *b)
{
    int a_fd = raw_listen("127.0.0.1", 0), b_fd = raw_listen("127.0.0.1", 0);
    memset(rig, 0, sizeof(*rig));
    log_catch_start(&rig->log);
    rig->a.hello = *a;
    rig->b.hello = *b;
    side_create(&rig->a, a_fd, "n2", socket_local_port(b_fd));
    side_create(&rig->b, b_fd, "n1", socket_local_port(a_fd));
}

static void tear_down(struct rig *rig)
{
    (void)side_end(&rig->a);
    (void)side_end(&rig->b);
    log_catch_end(&rig->log);
}

static void send_identity(struct side *s, const struct configuration *configuration)
{
    struct actor *to[] = {s->peer, s->listener};
    const uint32_t kinds[] = {PEER_IDENTITY, LISTENER_IDENTITY};
    for (size_t i = 0; i < ARRAY_COUNT(to); i++) {
        struct peer_identity *m = MSG_NEW(struct peer_identity, kinds[i], NULL);
        m->own = s->hello;
        m->configuration = *configuration;
        ACTOR_SEND(to[i], m);
    }
}

static struct configuration binding(const char *name, uint64_t id)
{
    struct configuration c = {.cluster_id = 9, .count = 1};
    c.members[0].id = id;
    snprintf(c.members[0].name, sizeof(c.members[0].name), "%s", name);
    c.members[0].voter_incoming = c.members[0].voter_outgoing = true;
    return c;
}

static struct peer_hello take_up(struct side *s)
{
    struct msg *m = witness_take(&s->raft);
    CU_ASSERT_EQUAL_FATAL(m->kind, RAFT_PEER_UP);
    struct peer_hello hello = ((struct raft_peer_up *)m)->hello;
    msg_free_base(&m);
    return hello;
}

static void take_down(struct side *s)
{
    struct msg *m = witness_take(&s->raft);
    CU_ASSERT_EQUAL_FATAL(m->kind, RAFT_PEER_DOWN);
    msg_free_base(&m);
}

static void send_message(struct side *s, uint64_t term, size_t data_bytes)
{
    struct peer_send *m = MSG_NEW(struct peer_send, PEER_SEND, release_peer_send);
    struct entry e = {.index = term, .term = 1, .type = ENTRY_COMMAND};
    uint8_t *data = mem_alloc(data_bytes);
    memset(data, (int)term, data_bytes);
    e.data = view_of(data, data_bytes);
    m->group = 3;
    m->message = (struct raft_message){
        .type = RAFT_APPEND_ENTRIES, .from = s->hello.member_id, .term = term};
    m->message.entries = entries_create(1, data_bytes);
    entries_add(m->message.entries, &e);
    mem_free(data);
    ACTOR_SEND(s->peer, m);
}

static void expect_message(struct side *s, uint64_t from, uint64_t term, size_t data_bytes)
{
    struct msg *m = witness_take(&s->raft);
    CU_ASSERT_EQUAL_FATAL(m->kind, RAFT_RECEIVED);
    const struct raft_received *received = (const struct raft_received *)m;
    CU_ASSERT_EQUAL(received->group, 3);
    CU_ASSERT_EQUAL(received->message.from, from);
    CU_ASSERT_EQUAL(received->message.term, term);
    CU_ASSERT_EQUAL_FATAL(received->message.entries->count, 1);
    struct view data = received->message.entries->items[0].data;
    CU_ASSERT_EQUAL_FATAL(data.size, data_bytes);
    CU_ASSERT_TRUE(data.size == 0 || data.data[data.size - 1] == (uint8_t)term);
    msg_free_base(&m);
}

/* ---- tests -------------------------------------------------------------------------------------- */

/* Everything arrives, once and in order, in both directions at once, small and large. */
static void messages_both_ways(void)
{
    struct rig rig;
    struct peer_hello n1 = raw_hello(1), n2 = raw_hello(2);
    set_up(&rig, &n1, &n2);
    side_start(&rig.a);
    side_start(&rig.b);
    CU_ASSERT_EQUAL(take_up(&rig.a).member_id, 22);
    CU_ASSERT_EQUAL(take_up(&rig.b).member_id, 11);
    for (uint64_t i = 1; i <= 2000; i++) {
        send_message(&rig.a, i, i % 400 == 0 ? (size_t)2 << 20 : i % 300);
        send_message(&rig.b, i, i % 300 == 0 ? (size_t)1 << 20 : i % 200);
    }
    for (uint64_t i = 1; i <= 2000; i++) {
        expect_message(&rig.b, 11, i, i % 400 == 0 ? (size_t)2 << 20 : i % 300);
        expect_message(&rig.a, 22, i, i % 300 == 0 ? (size_t)1 << 20 : i % 200);
    }
    CU_ASSERT_EQUAL(side_end(&rig.a), 0);
    (void)side_end(&rig.b); /* saw its connection go */
    log_catch_end(&rig.log);
}

/* n2 goes and comes back with its next boot number on the same port; n1 finds it by itself. */
static void restart_of_one_side(void)
{
    struct rig rig;
    struct peer_hello n1 = raw_hello(1), n2 = raw_hello(2);
    set_up(&rig, &n1, &n2);
    side_start(&rig.a);
    side_start(&rig.b);
    CU_ASSERT_EQUAL(take_up(&rig.a).boot_number, 1);
    take_up(&rig.b);
    for (uint64_t boot = 2; boot <= 4; boot++) {
        uint16_t port = rig.b.port;
        (void)side_end(&rig.b);
        take_down(&rig.a);
        send_message(&rig.a, 1, 10); /* lost */
        rig.b.hello.boot_number = boot;
        rig.b.hello.boot_id += 7;
        side_create(&rig.b, raw_listen("127.0.0.1", port), "n1", rig.a.port);
        side_start(&rig.b);
        CU_ASSERT_EQUAL(take_up(&rig.a).boot_number, boot);
        CU_ASSERT_EQUAL(take_up(&rig.b).boot_number, 1);
        send_message(&rig.a, 100 + boot, 10);
        expect_message(&rig.b, 11, 100 + boot, 10);
        send_message(&rig.b, 200 + boot, 10);
        expect_message(&rig.a, 22, 200 + boot, 10);
    }
    tear_down(&rig);
}

/*
 * Both sides go on trying and both say the same sentence, each once. `part`: of the sentence; both
 * directions may meet the same obstacle with the names exchanged, so it is counted per sentence.
 */
static void expect_refusal(const struct peer_hello *a, const struct peer_hello *b,
                           const struct configuration *a_knows, enum err error, const char *part)
{
    struct rig rig;
    set_up(&rig, a, b);
    if (a_knows != NULL) {
        send_identity(&rig.a, a_knows);
    }
    side_start(&rig.a);
    side_start(&rig.b);
    /* One side refuses, and the other one hears it. */
    char refused[512], heard[512];
    snprintf(refused, sizeof(refused), "error=\"%s\" reason=\"%s", err_text(error), part);
    snprintf(heard, sizeof(heard), "refused by peer");
    log_catch_wait(&rig.log, refused, 2);
    log_catch_wait(&rig.log, heard, 1);
    CU_ASSERT_TRUE(log_catch_count(&rig.log, "peer refused") >= 1);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "connected to peer"), 0);
    tear_down(&rig);
}

static void other_cluster_name(void)
{
    struct peer_hello n1 = raw_hello(1), n2 = raw_hello(2);
    strcpy(n2.cluster, "test");
    expect_refusal(&n1, &n2, NULL, ERR_CLUSTER_MISMATCH,
                   "node 'n2' is configured for cluster 'test', node 'n1' for cluster 'prod'");
}

static void other_cluster_id(void)
{
    struct peer_hello n1 = raw_hello(1), n2 = raw_hello(2);
    n1.cluster_id = 9;
    n2.cluster_id = 8;
    expect_refusal(&n1, &n2, NULL, ERR_CLUSTER_MISMATCH, "node 'n2' belongs to another cluster");
}

/* The daemon at n2's address calls itself n9. */
static void name_not_listed(void)
{
    struct peer_hello n1 = raw_hello(1), n9 = raw_hello(9);
    expect_refusal(&n1, &n9, NULL, ERR_UNKNOWN_MEMBER,
                   "node 'n9' is not in the members list of node 'n1'");
}

/* The same, as the dialler sees it: it reached somebody else. */
static void wrong_address(void)
{
    struct peer_hello n1 = raw_hello(1), n9 = raw_hello(9);
    expect_refusal(&n1, &n9, NULL, ERR_ADDRESS, "node 'n1' dialled 'n2' but reached 'n9'");
}

static void own_name_twice(void)
{
    struct peer_hello n1 = raw_hello(1), other = raw_hello(1);
    other.member_id = 12;
    /* n1's target is n2, so the address is found wrong first in one direction ... */
    expect_refusal(&n1, &other, NULL, ERR_ADDRESS, "node 'n1' dialled 'n2' but reached 'n1'");
}

/* Trap 42: n2's disk was wiped; n1 knows which incarnation its name is bound to. Said on both sides. */
static void wiped_disk(void)
{
    struct peer_hello n1 = raw_hello(1), n2 = raw_hello(2);
    struct configuration knows = binding("n2", 4711);
    n1.cluster_id = 9;
    n1.empty = false;
    expect_refusal(&n1, &n2, &knows, ERR_IDENTITY,
                   "node 'n2' is an empty node whose name is bound to another incarnation");
}

/* A bootstrap as the transport sees it: all say empty, n1 founds, n2 hears of it without a new
 * connection, and the listener tells later diallers. */
static void identities_travel(void)
{
    struct rig rig;
    struct peer_hello n1 = raw_hello(1), n2 = raw_hello(2);
    set_up(&rig, &n1, &n2);
    side_start(&rig.a);
    side_start(&rig.b);
    CU_ASSERT_TRUE(take_up(&rig.a).empty);
    struct peer_hello heard = take_up(&rig.b);
    CU_ASSERT_TRUE(heard.empty);
    CU_ASSERT_EQUAL(heard.list_digest, 5);
    rig.a.hello.empty = false;
    rig.a.hello.cluster_id = 9;
    struct configuration knows = binding("n2", 22);
    send_identity(&rig.a, &knows);
    heard = take_up(&rig.b);
    CU_ASSERT_FALSE(heard.empty);
    CU_ASSERT_EQUAL(heard.cluster_id, 9);
    CU_ASSERT_EQUAL(heard.boot_id, n1.boot_id);
    send_message(&rig.a, 5, 10); /* on the connection that was there before */
    expect_message(&rig.b, 11, 5, 10);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "connected to peer peer=n1"), 1);
    tear_down(&rig);
}

/* Stopping one side in the middle of traffic loses messages, not the other side. */
static void stop_under_traffic(void)
{
    struct rig rig;
    struct peer_hello n1 = raw_hello(1), n2 = raw_hello(2);
    set_up(&rig, &n1, &n2);
    side_start(&rig.a);
    side_start(&rig.b);
    take_up(&rig.a);
    take_up(&rig.b);
    for (uint64_t i = 1; i <= 300; i++) {
        send_message(&rig.a, i, 50000);
        send_message(&rig.b, i, 50000);
    }
    actor_stop(rig.b.peer);
    actor_stop(rig.b.listener);
    for (uint64_t i = 1; i <= 300; i++) {
        send_message(&rig.a, 300 + i, 50000);
    }
    tear_down(&rig);
}

SUITE("two peers", TEST(messages_both_ways), TEST(restart_of_one_side), TEST(other_cluster_name),
      TEST(other_cluster_id), TEST(name_not_listed), TEST(wrong_address), TEST(own_name_twice),
      TEST(wiped_disk), TEST(identities_travel), TEST(stop_under_traffic))
