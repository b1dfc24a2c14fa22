/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_links.c: links that fail in one direction. Trap 5: pre-vote alone and check-quorum alone can leave a
 * cluster without a leader for ever (hours, in one published outage); together with sticky votes they do not.
 * Trap 4: a node that comes back with a higher term can neither win nor be pulled down.
 *
 * Three nodes: all 64 patterns of cut directions. Five nodes: all patterns of up to three cut directions, and all
 * patterns of the links of one node (there are 2^20 in all). After each the links heal, and within a few
 * timeouts there must be a leader that commits, and one log. With a single direction cut the cluster must even
 * keep working while it is cut.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define TROUBLE_US   (8 * CLUSTER_ELECTION_US)
#define HEAL_US_MAX  (12 * CLUSTER_ELECTION_US)
#define SINGLE_WAIT  (10 * CLUSTER_ELECTION_US)
#define DIRECTIONS_5 20

/* Direction number i of n nodes: from i / (n - 1), to the i % (n - 1)th other. */
static void cut_direction(struct cluster *c, size_t i)
{
    uint64_t from = 1 + i / (c->count - 1);
    uint64_t to = 1 + i % (c->count - 1);
    to += to >= from ? 1 : 0;
    cluster_cut(c, from, to, true);
}

static struct cluster *running(size_t count, uint64_t seed)
{
    struct cluster *c = cluster_create(count, seed);
    c->delay_us_max = 2000;
    c->disk_us_max = 1000;
    cluster_start_all(c);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    cluster_run(c, CLUSTER_HEARTBEAT_US);
    return c;
}

/* One command is committed by whoever leads; waits for a leader if need be. */
static bool works(struct cluster *c, uint64_t for_us)
{
    uint64_t until = c->now_us + for_us;
    while (c->now_us < until) {
        for (uint64_t id = 1; id <= c->count; id++) {
            if (cluster_status(c, id).role != RAFT_LEADER ||
                cluster_propose(c, id, "works") != OK) {
                continue;
            }
            uint64_t index = cluster_status(c, id).last_log_index;
            uint64_t term = cluster_status(c, id).current_term;
            cluster_run(c, CLUSTER_HEARTBEAT_US);
            if (cluster_status(c, id).current_term == term &&
                cluster_status(c, id).commit_index >= index) {
                return true;
            }
        }
        cluster_run(c, CLUSTER_HEARTBEAT_US);
    }
    return false;
}

static void heal_and_check(struct cluster *c)
{
    cluster_heal(c);
    CU_ASSERT_TRUE(works(c, HEAL_US_MAX));
    cluster_run(c, 4 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
}

/* Trap 5 on three nodes: every pattern. */
static void every_pattern_of_three_nodes_heals(void)
{
    for (size_t pattern = 0; pattern < 64; pattern++) {
        struct cluster *c = running(3, pattern + 1);
        size_t count = 0;
        for (size_t i = 0; i < 6; i++) {
            if ((pattern >> i & 1) != 0) {
                cut_direction(c, i);
                count++;
            }
        }
        cluster_run(c, TROUBLE_US);
        if (count <= 1) {
            CU_ASSERT_TRUE(works(c, SINGLE_WAIT));
        }
        heal_and_check(c);
        cluster_destroy(&c);
    }
}

static void try_directions(const size_t *cuts, size_t count, uint64_t seed)
{
    struct cluster *c = running(5, seed);
    for (size_t i = 0; i < count; i++) {
        cut_direction(c, cuts[i]);
    }
    cluster_run(c, TROUBLE_US);
    if (count == 1) {
        CU_ASSERT_TRUE(works(c, SINGLE_WAIT));
    }
    heal_and_check(c);
    cluster_destroy(&c);
}

/* Trap 5 on five nodes: one, two and three directions. */
static void few_cuts_among_five_nodes_heal(void)
{
    uint64_t seed = 1;
    for (size_t a = 0; a < DIRECTIONS_5; a++) {
        try_directions((const size_t[]){a}, 1, seed++);
        for (size_t b = a + 1; b < DIRECTIONS_5; b++) {
            try_directions((const size_t[]){a, b}, 2, seed++);
            for (size_t d = b + 1; d < DIRECTIONS_5; d++) {
                try_directions((const size_t[]){a, b, d}, 3, seed++);
            }
        }
    }
}

/* ... and all 256 patterns of the links of one node, once that of the leader, once of another. */
static void every_pattern_of_one_nodes_links_heals(void)
{
    for (size_t pattern = 0; pattern < 512; pattern++) {
        struct cluster *c = running(5, pattern + 1);
        uint64_t leader = cluster_leader(c);
        uint64_t node = (pattern >> 8 & 1) != 0 ? leader : leader % 5 + 1;
        size_t bit = 0;
        for (uint64_t other = 1; other <= 5; other++) {
            if (other != node) {
                cluster_cut(c, node, other, (pattern >> bit & 1) != 0);
                cluster_cut(c, other, node, (pattern >> (bit + 1) & 1) != 0);
                bit += 2;
            }
        }
        cluster_run(c, TROUBLE_US);
        /* The four others are a majority among themselves: somebody among them works. */
        CU_ASSERT_TRUE(works(c, SINGLE_WAIT));
        heal_and_check(c);
        cluster_destroy(&c);
    }
}

/* Trap 4: node 3 hears nobody, is heard, and holds a higher term (it voted in an election that failed). With the
 * others' stickiness it cannot win; its answer to the leader's append tells the term, and after one more election
 * all is well: within two election timeouts after healing. */
static void a_node_with_a_higher_term_comes_back(void)
{
    struct cluster *c = running(3, 3);
    uint64_t leader = cluster_leader(c);
    uint64_t other = leader % 3 + 1;
    uint64_t term = cluster_status(c, leader).current_term;
    cluster_crash(c, other, 9);
    cluster_set_term(c, other, term + 7, other);
    cluster_isolate(c, other, true);
    cluster_start(c, other);
    cluster_run(c, 3 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_leader(c), leader);
    CU_ASSERT_EQUAL(cluster_status(c, leader).current_term, term);
    cluster_heal(c);
    cluster_run(c, 4 * CLUSTER_HEARTBEAT_US); /* the leader has heard of the term by now */
    CU_ASSERT_TRUE(cluster_status(c, leader).current_term >= term + 7);
    CU_ASSERT_TRUE(works(c, 4 * CLUSTER_ELECTION_US));
    CU_ASSERT_TRUE(cluster_status(c, cluster_leader(c)).current_term > term + 7);
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* Traps 3, 4: a follower that is cut off for long and comes back disturbs nobody: same leader, same term. */
static void a_partitioned_follower_does_not_disturb(void)
{
    struct cluster *c = running(5, 4);
    uint64_t leader = cluster_leader(c);
    uint64_t term = cluster_status(c, leader).current_term;
    uint64_t away = leader % 5 + 1;
    for (int way = 0; way < 3; way++) {
        for (uint64_t other = 1; other <= 5; other++) {
            if (other != away) {
                cluster_cut(c, other, away, way != 1); /* it hears nobody */
                cluster_cut(c, away, other, way != 0); /* nobody hears it */
            }
        }
        cluster_run(c, 20 * CLUSTER_ELECTION_US);
        cluster_heal(c);
        cluster_run(c, 4 * CLUSTER_ELECTION_US);
        CU_ASSERT_EQUAL(cluster_leader(c), leader);
        for (uint64_t id = 1; id <= 5; id++) {
            CU_ASSERT_EQUAL(cluster_status(c, id).current_term, term);
        }
    }
    CU_ASSERT_TRUE(works(c, CLUSTER_ELECTION_US));
    cluster_destroy(&c);
}

/* Check-quorum: a leader that is heard by all but hears nobody makes way. */
static void a_deaf_leader_makes_way(void)
{
    struct cluster *c = running(3, 5);
    uint64_t leader = cluster_leader(c);
    for (uint64_t other = 1; other <= 3; other++) {
        cluster_cut(c, other, leader, true);
    }
    CU_ASSERT_EQUAL(cluster_propose(c, leader, "heard but not acknowledged"), OK);
    cluster_run(c, 8 * CLUSTER_ELECTION_US);
    uint64_t next = cluster_leader(c);
    CU_ASSERT_NOT_EQUAL(next, leader);
    CU_ASSERT_NOT_EQUAL(next, 0);
    CU_ASSERT_TRUE(works(c, CLUSTER_ELECTION_US));
    heal_and_check(c);
    cluster_destroy(&c);
}

SUITE("raft: one-way links", TEST(every_pattern_of_three_nodes_heals),
      TEST(few_cuts_among_five_nodes_heal), TEST(every_pattern_of_one_nodes_links_heals),
      TEST(a_node_with_a_higher_term_comes_back), TEST(a_partitioned_follower_does_not_disturb),
      TEST(a_deaf_leader_makes_way))
