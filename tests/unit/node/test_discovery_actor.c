/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_discovery_actor.c: SRV records against a name server of the test's own: what they name is told to raft once, what
 * changes is told again, name servers that fail are a line in the log and change nothing, and nobody is asked while
 * nobody wants to know. (src/node/discovery_actor.c)
 */
#include "../net/name_server.h"
#include "raw_peer.h"
#include "node/node.h"

struct rig {
    struct witness raft;
    struct node_actors actors;
    struct actor *discovery;
    struct name_server server;
    struct log_catch log;
};

static void set_up(struct rig *rig, enum name_server_mood mood)
{
    memset(rig, 0, sizeof(*rig));
    log_catch_start(&rig->log);
    witness_start(&rig->raft, "raft");
    name_server_start(&rig->server);
    rig->server.mood = mood;
    rig->server.service_count = 2;
    rig->server.services[0].octet = 'a', rig->server.services[0].port = 2380;
    rig->server.services[1].octet = 'b', rig->server.services[1].port = 2381;
    rig->actors.raft = rig->raft.actor;
    const struct discovery_actor_settings settings = {.name = "_holdfast._tcp.cluster.example",
                                                      .name_servers = rig->server.text,
                                                      .actors = &rig->actors};
    rig->discovery = discovery_actor_create(&settings);
    actor_start(rig->discovery);
}

static void tear_down(struct rig *rig)
{
    end_actor(rig->discovery);
    (void)witness_end(&rig->raft);
    name_server_end(&rig->server);
    log_catch_end(&rig->log);
}

/* Answer so many questions. */
static void serve(struct rig *rig, int count)
{
    struct pollfd door = {.fd = rig->server.fd, .events = POLLIN};
    for (int before = rig->server.question_count; rig->server.question_count < before + count;) {
        CU_ASSERT_FATAL(poll(&door, 1, WITNESS_PATIENCE_MS) > 0);
        name_server_answer(&rig->server);
    }
}

static void expect_seeds(struct rig *rig, const char *first, const char *second)
{
    struct msg *m = witness_take(&rig->raft);
    CU_ASSERT_EQUAL_FATAL(m->kind, RAFT_SEEDS);
    const struct raft_seeds *seeds = (const struct raft_seeds *)m;
    CU_ASSERT_EQUAL_FATAL(seeds->count, 2);
    CU_ASSERT_STRING_EQUAL(seeds->addresses[0], first);
    CU_ASSERT_STRING_EQUAL(seeds->addresses[1], second);
    msg_free_base(&m);
}

static void want(struct rig *rig, bool wanted)
{
    struct discovery_wanted *m = MSG_NEW(struct discovery_wanted, DISCOVERY_WANTED, NULL);
    m->wanted = wanted;
    ACTOR_SEND(rig->discovery, m);
}

static void told_once_and_when_it_changes(void)
{
    struct rig rig;
    set_up(&rig, ANSWERS);
    serve(&rig, 1);
    expect_seeds(&rig, "na.t:2380", "nb.t:2381");
    serve(&rig, 1); /* asked again, nothing new */
    rig.server.services[1].octet = 'c';
    serve(&rig, 1);
    expect_seeds(&rig, "na.t:2380", "nc.t:2381");
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "discovered "), 2);
    tear_down(&rig);
}

static void wanted_anew_is_told_anew(void)
{
    struct rig rig;
    set_up(&rig, ANSWERS);
    serve(&rig, 1);
    expect_seeds(&rig, "na.t:2380", "nb.t:2381");
    want(&rig, false);
    want(&rig, true);
    serve(&rig, 1);
    expect_seeds(&rig, "na.t:2380", "nb.t:2381");
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "discovered "), 1);
    tear_down(&rig);
}

/* Dead name servers at the start are a warning and a retry. */
static void failing_name_servers(void)
{
    struct rig rig;
    set_up(&rig, NO_SUCH_NAME);
    serve(&rig, 3);
    rig.server.mood = ANSWERS;
    serve(&rig, 1);
    expect_seeds(&rig, "na.t:2380", "nb.t:2381");
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "discovery failed"), 1);
    CU_ASSERT_EQUAL(log_catch_count(&rig.log, "discovered "), 1);
    tear_down(&rig);
}

/* Stopped in the middle of a lookup. */
static void stopped_while_asking(void)
{
    struct rig rig;
    set_up(&rig, SILENT);
    serve(&rig, 1);
    tear_down(&rig);
}

SUITE("discovery actor", TEST(told_once_and_when_it_changes), TEST(wanted_anew_is_told_anew),
      TEST(failing_name_servers), TEST(stopped_while_asking))
