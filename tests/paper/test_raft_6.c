/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_6.c: Raft §6 "Cluster membership changes", statement by statement. Unit tests of the same rules are in
 * tests/unit/raft/test_change.c, transcripts in tests/scenario/13 to 17.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define IDS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static struct cluster *with_leader(size_t count, size_t voters, uint64_t leader)
{
    struct cluster *c = cluster_create(count, 3);
    cluster_set_voters(c, voters);
    cluster_start_all(c);
    cluster_elect(c, leader);
    cluster_run(c, CLUSTER_ELECTION_US);
    return c;
}

static bool is_joint(struct cluster *c, uint64_t id)
{
    return configuration_is_joint(raft_configuration(cluster_node(c, id)->raft));
}

static void cut_both(struct cluster *c, uint64_t a, uint64_t b)
{
    cluster_cut(c, a, b, true);
    cluster_cut(c, b, a, true);
}

/* "Log entries are replicated to all servers in both configurations." */
static void entries_go_to_both_configurations(void)
{
    struct cluster *c = with_leader(6, 3, 1);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 5, 6), NULL), OK);
    for (uint64_t id = 2; id <= 6; id++) {
        bool in_one_of_them = id != 4;
        CU_ASSERT_EQUAL(cluster_find(c, 1, id, RAFT_APPEND_ENTRIES) != NULL, in_one_of_them);
    }
    cluster_destroy(&c);
}

/* "Any server from either configuration may serve as leader": here one that is only in the new one, and one that is
 * only in the old one. */
static void a_leader_may_come_from_either(void)
{
    for (uint64_t id = 2; id <= 4; id += 2) {
        struct cluster *c = with_leader(5, 3, 1);
        CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4, 5)), OK);
        cluster_settle(c);
        c->network_held = true;
        CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(3, 4, 5), NULL), OK);
        for (uint64_t other = 2; other <= 5; other++) {
            while (cluster_deliver(c, 1, other, 0)) {}
            cluster_settle(c);
            CU_ASSERT_TRUE(is_joint(c, other));
        }
        cluster_crash(c, 1, 0);
        cluster_lose_all(c);
        c->network_held = false;
        cluster_time_out(c, id);
        cluster_settle(c);
        CU_ASSERT_EQUAL(c->leaderships[1].leader, id);         /* the first after 1 */
        CU_ASSERT_TRUE(cluster_status(c, 3).commit_index > 4); /* and it has finished the change */
        CU_ASSERT_FALSE(is_joint(c, 3));
        cluster_destroy(&c);
    }
}

/* "Agreement (for elections and entry commitment) requires separate majorities from both the old and new
 * configurations." */
static void agreement_needs_both_majorities(void)
{
    /* commitment: all of the old ones, one of the new */
    struct cluster *c = with_leader(6, 3, 1);
    cluster_isolate(c, 4, true);
    cluster_isolate(c, 5, true);
    uint64_t commit = cluster_status(c, 1).commit_index;
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(4, 5, 6), NULL), OK);
    cluster_run(c, CLUSTER_ELECTION_US / 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, commit);
    /* all of the new ones, one of the old */
    cluster_destroy(&c);
    c = with_leader(6, 3, 1);
    cluster_isolate(c, 2, true);
    cluster_isolate(c, 3, true);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(4, 5, 6), NULL), OK);
    cluster_run(c, CLUSTER_ELECTION_US / 3);
    CU_ASSERT_TRUE(cluster_node(c, 6)->raft->log.last_index > commit);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, commit);
    /* elections: 1 gives up; nobody wins while the old majority is away, even with all of the new */
    cluster_crash(c, 1, 0);
    cluster_run(c, 20 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 0);
    cluster_start(c, 1);
    cluster_heal(c);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    cluster_destroy(&c);
}

/* "A server always uses the latest configuration in its log, regardless of whether the entry is committed." */
static void the_latest_configuration_counts_committed_or_not(void)
{
    struct cluster *c = with_leader(3, 3, 1);
    cut_both(c, 1, 2);
    cut_both(c, 1, 3);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2), NULL), OK);
    CU_ASSERT_TRUE(is_joint(c, 1));
    CU_ASSERT_FALSE(is_joint(c, 2));
    uint64_t index = cluster_status(c, 1).configuration_index;
    CU_ASSERT_TRUE(index > cluster_status(c, 1).commit_index);
    CU_ASSERT_EQUAL(index, cluster_status(c, 1).last_log_index);
    cluster_destroy(&c);
}

/* "If the leader crashes, a new leader may be chosen under either C_old or C_old,new, depending on whether the winning
 * candidate has received C_old,new." */
static void after_a_crash_the_winner_s_log_decides(void)
{
    struct cluster *c = with_leader(4, 3, 1);
    cut_both(c, 1, 3);
    cut_both(c, 1, 4);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(2, 3, 4), NULL), OK);
    cluster_settle(c);
    CU_ASSERT_TRUE(is_joint(c, 2));
    CU_ASSERT_FALSE(is_joint(c, 3));
    cluster_crash(c, 1, 0);
    cluster_heal(c);
    /* 3 has a shorter log than 2 and only 2 to vote for it */
    cluster_time_out(c, 3);
    cluster_settle(c);
    CU_ASSERT_NOT_EQUAL(cluster_status(c, 3).role, RAFT_LEADER);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    CU_ASSERT_EQUAL(cluster_leader(c), 2);
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_FALSE(is_joint(c, 2));
    CU_ASSERT_EQUAL(raft_configuration(cluster_node(c, 2)->raft)->count, 3);
    cluster_destroy(&c);

    /* the entry reached nobody: the others go on as if nothing had been asked, and 1 takes its entry back */
    c = with_leader(4, 3, 1);
    cluster_isolate(c, 1, true);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(2, 3, 4), NULL), OK);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    cluster_run(c, 4 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(is_joint(c, 1));
    cluster_heal(c);
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_FALSE(is_joint(c, 1));
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* "At this point C_old,new has been committed: neither C_old nor C_new can make decisions without approval of the
 * other": the old majority alone elects nobody. */
static void the_old_ones_alone_decide_nothing_any_more(void)
{
    struct cluster *c = with_leader(5, 3, 1);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 4, 5), NULL), OK);
    c->network_held = false;
    cluster_isolate(c, 4, true);
    cluster_isolate(c, 5, true);
    cluster_settle(c);
    cluster_heal(c);
    CU_ASSERT_TRUE(is_joint(c, 2));
    CU_ASSERT_TRUE(is_joint(c, 3));
    cluster_isolate(c, 1, true);
    cluster_isolate(c, 4, true);
    cluster_isolate(c, 5, true);
    cluster_run(c, 20 * CLUSTER_ELECTION_US);
    CU_ASSERT_NOT_EQUAL(cluster_status(c, 2).role, RAFT_LEADER);
    CU_ASSERT_NOT_EQUAL(cluster_status(c, 3).role, RAFT_LEADER);
    cluster_destroy(&c);
}

/* "New servers join the cluster as non-voting members (the leader replicates log entries to them, but they are not
 * considered for majorities)." */
static void new_servers_come_as_non_voting_members(void)
{
    struct cluster *c = with_leader(5, 3, 1);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4, 5)), OK);
    cluster_settle(c);
    CU_ASSERT_FALSE(is_joint(c, 1));
    CU_ASSERT_EQUAL(cluster_status(c, 5).last_log_index, cluster_status(c, 1).last_log_index);
    cluster_isolate(c, 2, true);
    cluster_isolate(c, 3, true);
    uint64_t commit = cluster_status(c, 1).commit_index;
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 5).last_log_index, commit + 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, commit);
    cluster_destroy(&c);
}

/* "The leader steps down (returns to follower state) once it has committed the C_new log entry." */
static void a_leader_outside_of_the_new_configuration_steps_down(void)
{
    struct cluster *c = with_leader(3, 3, 1);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(2, 3), NULL), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_index,
                    cluster_status(c, 1).configuration_settled_index);
    cluster_destroy(&c);
}

/* "Removed servers ... will then time out and start new elections. ... servers disregard RequestVote RPCs when they
 * believe a current leader exists." One that nobody remembers, too: an outsider with a long log. */
static void servers_disregard_requests_while_a_leader_lives(void)
{
    struct cluster *c = with_leader(4, 3, 1);
    uint64_t term = cluster_status(c, 2).current_term;
    struct raft_message m = {.type = RAFT_REQUEST_VOTE,
                             .from = 4,
                             .to = 2,
                             .term = term + 5,
                             .last_log_index = 1000,
                             .last_log_term = term + 4};
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(cluster_status(c, 2).current_term, term);
    /* "within the minimum election timeout of hearing from a current leader": later it is heard */
    cluster_isolate(c, 1, true);
    c->now_us += CLUSTER_ELECTION_US;
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(cluster_status(c, 2).current_term, term + 5);
    cluster_destroy(&c);
}

SUITE("paper: Raft 6", TEST(entries_go_to_both_configurations), TEST(a_leader_may_come_from_either),
      TEST(agreement_needs_both_majorities), TEST(the_latest_configuration_counts_committed_or_not),
      TEST(after_a_crash_the_winner_s_log_decides),
      TEST(the_old_ones_alone_decide_nothing_any_more),
      TEST(new_servers_come_as_non_voting_members),
      TEST(a_leader_outside_of_the_new_configuration_steps_down),
      TEST(servers_disregard_requests_while_a_leader_lives))
