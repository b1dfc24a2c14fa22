/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_8.c: Raft §8 "Client interaction", statement by statement, as far as the core is concerned: finding the
 * leader, the no-op, and reads that are linearizable without a log entry. (Commands carried out once although asked
 * twice are the state machine's affair.)
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

/* Whoever is asked refuses if it does not lead, and names the leader it heard of most recently. */
static void a_client_is_told_who_leads(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), ERR_NO_LEADER);
    cluster_elect(c, 2);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 2);
    cluster_elect(c, 3);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 3);
    cluster_destroy(&c);
}

/* First precaution: at the start of its term a leader may not know which entries are committed, so it commits a blank
 * one before it answers a read; the read then sees everything that was committed before. */
static void a_new_leader_knows_what_is_committed_after_its_no_op(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    c->network_held = true;
    (void)cluster_propose(c, 1, "committed, but only node 1 knows");
    (void)cluster_deliver(c, 1, 2, RAFT_APPEND_ENTRIES);
    cluster_settle(c);
    (void)cluster_deliver(c, 2, 1, RAFT_APPEND_REPLY);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2);
    CU_ASSERT_EQUAL(cluster_status(c, 2).commit_index, 1);
    cluster_crash(c, 1, 9);
    cluster_lose_all(c);

    cluster_time_out(c, 2);
    while (cluster_status(c, 2).role != RAFT_LEADER) {
        CU_ASSERT_TRUE_FATAL(cluster_deliver(c, 0, 0, 0));
        cluster_settle(c);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 2).commit_index, 1); /* it lags behind */
    size_t read = cluster_read(c, 2);
    struct raft_message heard = {
        .type = RAFT_APPEND_REPLY, .from = 3, .to = 2, .term = 2, .granted = true};
    cluster_receive(c, &heard); /* a majority follows it, but the no-op is not committed */
    CU_ASSERT_FALSE(cluster_node(c, 2)->reads[read].answered);
    c->network_held = false;
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_node(c, 2)->reads[read].answered);
    CU_ASSERT_TRUE(cluster_node(c, 2)->reads[read].index >= 2);
    cluster_destroy(&c);
}

/* Second precaution: a leader checks that it has not been deposed before it answers, by heartbeats with a majority.
 * A deposed one that does not know it yet answers nothing stale. */
static void a_deposed_leader_answers_no_read(void)
{
    struct cluster *c = cluster_create(5, 2);
    cluster_start_all(c);
    cluster_elect(c, 1);
    /* 1 and 2 on one side, the majority elects 3 and goes on */
    for (uint64_t a = 1; a <= 2; a++) {
        for (uint64_t b = 3; b <= 5; b++) {
            cluster_cut(c, a, b, true);
            cluster_cut(c, b, a, true);
        }
    }
    cluster_elect(c, 3);
    (void)cluster_propose(c, 3, "newer");
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER); /* it believes so */
    size_t at_1 = cluster_read(c, 1);
    size_t at_2 = cluster_read(c, 2); /* and a follower that believes it */
    cluster_settle(c);
    cluster_run(c, CLUSTER_HEARTBEAT_US * 3);
    CU_ASSERT_FALSE(cluster_node(c, 1)->reads[at_1].answered);
    CU_ASSERT_FALSE(cluster_node(c, 2)->reads[at_2].answered);
    cluster_heal(c);
    cluster_run(c, 3 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_node(c, 1)->reads[at_1].answered);
    CU_ASSERT_TRUE(cluster_node(c, 2)->reads[at_2].answered);
    CU_ASSERT_TRUE(cluster_node(c, 1)->reads[at_1].index >= 3);
    CU_ASSERT_TRUE(cluster_node(c, 2)->reads[at_2].index >= 3);
    cluster_destroy(&c);
}

/* Reads write nothing: no entry, no disk. */
static void reads_write_nothing(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    size_t persists = 0;
    for (uint64_t id = 1; id <= 3; id++) {
        persists += cluster_node(c, id)->persist_count;
    }
    for (int i = 0; i < 30; i++) {
        uint64_t id = 1 + (uint64_t)i % 3;
        size_t read = cluster_read(c, id);
        cluster_settle(c);
        CU_ASSERT_TRUE(cluster_node(c, id)->reads[read].answered);
    }
    for (uint64_t id = 1; id <= 3; id++) {
        persists -= cluster_node(c, id)->persist_count;
    }
    CU_ASSERT_EQUAL(persists, 0);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, 1);
    cluster_destroy(&c);
}

/* Linearizable: through leader changes, delays and losses every answered read names at least what was committed
 * anywhere when it was asked (the fake cluster asserts it), and reads do get answered. */
static void reads_are_linearizable_in_a_storm(void)
{
    size_t answered = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct cluster *c = cluster_create(3 + seed % 3, seed);
        c->delay_us_max = 60000;
        c->disk_us_max = 20000;
        c->drop_permille = 50;
        c->duplicate_permille = 50;
        cluster_start_all(c);
        for (int i = 0; i < 150; i++) {
            uint64_t id = 1 + random_below(&c->random, c->count);
            (void)cluster_read(c, id);
            uint64_t leader = cluster_leader(c);
            if (leader != 0) {
                (void)cluster_propose(c, leader, "x");
            }
            if (i % 30 == 29) {
                cluster_isolate(c, 1 + random_below(&c->random, c->count), true);
            } else if (i % 30 == 15) {
                cluster_heal(c);
            }
            cluster_run(c, random_below(&c->random, CLUSTER_HEARTBEAT_US));
        }
        for (uint64_t id = 1; id <= c->count; id++) {
            for (size_t k = 0; k < cluster_node(c, id)->read_count; k++) {
                answered += cluster_node(c, id)->reads[k].answered ? 1 : 0;
            }
        }
        cluster_destroy(&c);
    }
    CU_ASSERT_TRUE(answered > 30 * 75); /* half of all, and more */
}

SUITE("Raft 8", TEST(a_client_is_told_who_leads),
      TEST(a_new_leader_knows_what_is_committed_after_its_no_op),
      TEST(a_deposed_leader_answers_no_read), TEST(reads_write_nothing),
      TEST(reads_are_linearizable_in_a_storm))
