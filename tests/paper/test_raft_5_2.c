/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_5_2.c: Raft §5.2 "Leader election", statement by statement. Where an attempt begins with a pre-vote
 * (Thesis §9.6) the paper's election is the part behind it.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

/* Node 1 of `count` is a candidate, its vote on disk, its requests in flight; the others are the test. */
static struct cluster *candidate_of(size_t count)
{
    struct cluster *c = cluster_create(count, 1);
    c->network_held = true;
    cluster_start(c, 1);
    cluster_time_out(c, 1);
    cluster_lose_all(c);
    for (uint64_t id = 2; cluster_status(c, 1).role == RAFT_PRE_CANDIDATE; id++) {
        struct raft_message grant = {
            .type = RAFT_PRE_VOTE_REPLY, .from = id, .to = 1, .term = 1, .granted = true};
        cluster_receive(c, &grant);
    }
    cluster_settle(c);
    return c;
}

static void vote(struct cluster *c, uint64_t from, bool granted)
{
    struct raft_message m = {
        .type = RAFT_VOTE_REPLY, .from = from, .to = 1, .term = 1, .granted = granted};
    cluster_receive(c, &m);
}

/* Servers start as followers, whatever they were before. */
static void servers_start_as_followers(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_crash(c, 1, 0);
    cluster_start(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_destroy(&c);
}

/* A server stays follower as long as it hears from a leader: heartbeats, which are appends without entries. */
static void heartbeats_keep_followers(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    for (int i = 0; i < 100; i++) {
        struct raft_message beat = {.type = RAFT_APPEND_ENTRIES, .from = 2, .to = 1, .term = 1};
        cluster_receive(c, &beat);
        c->now_us += CLUSTER_ELECTION_US - 1;
        cluster_tick(c, 1);
        CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    }
    cluster_destroy(&c);
}

/* ... or grants a vote to a candidate (Fig. 2, rules for followers). */
static void granting_a_vote_keeps_a_follower(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    c->now_us = cluster_node(c, 1)->raft->election_deadline_us - 1;
    struct raft_message request = {.type = RAFT_REQUEST_VOTE, .from = 2, .to = 1, .term = 1};
    cluster_receive(c, &request);
    c->now_us += 10;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_destroy(&c);
}

/* A refused request keeps nobody: the timeout goes on. */
static void refusing_a_vote_resets_nothing(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, (const uint64_t[]){1, 0});
    cluster_start(c, 1);
    uint64_t deadline = cluster_node(c, 1)->raft->election_deadline_us;
    struct raft_message request = {.type = RAFT_REQUEST_VOTE, .from = 2, .to = 1, .term = 2};
    cluster_receive(c, &request);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->raft->election_deadline_us, deadline);
    cluster_destroy(&c);
}

/* To begin an election a follower raises its term, becomes candidate, votes for itself and asks all others. */
static void an_election_asks_all_others(void)
{
    struct cluster *c = candidate_of(5);
    struct raft_status s = cluster_status(c, 1);
    CU_ASSERT_EQUAL(s.role, RAFT_CANDIDATE);
    CU_ASSERT_EQUAL(s.current_term, 1);
    CU_ASSERT_EQUAL(s.voted_for, 1);
    for (uint64_t to = 2; to <= 5; to++) {
        CU_ASSERT_EQUAL(cluster_count_flights(c, 1, to, RAFT_REQUEST_VOTE), 1);
        CU_ASSERT_EQUAL(cluster_find(c, 1, to, RAFT_REQUEST_VOTE)->term, 1);
    }
    cluster_destroy(&c);
}

/* It wins with the votes of a majority of the whole cluster, not of those who answered; for 1..7 nodes. */
static void a_majority_of_the_full_cluster_elects(void)
{
    for (size_t count = 2; count <= CLUSTER_NODES_MAX; count++) {
        struct cluster *c = candidate_of(count);
        size_t votes = 1;
        for (uint64_t id = 2; id <= count; id++) {
            bool leads = votes > count / 2;
            CU_ASSERT_EQUAL(cluster_status(c, 1).role, leads ? RAFT_LEADER : RAFT_CANDIDATE);
            vote(c, id, true);
            votes++;
        }
        CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
        cluster_destroy(&c);
    }
}

/* Refusals elect nobody. */
static void refusals_do_not_elect(void)
{
    struct cluster *c = candidate_of(5);
    for (uint64_t id = 2; id <= 5; id++) {
        vote(c, id, false);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    cluster_destroy(&c);
}

/* Each server votes for at most one candidate in a term, first come, first served. */
static void first_come_first_served(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    for (uint64_t from = 2; from <= 3; from++) {
        struct raft_message request = {.type = RAFT_REQUEST_VOTE, .from = from, .to = 1, .term = 1};
        cluster_receive(c, &request);
        cluster_settle(c);
        CU_ASSERT_EQUAL(cluster_find(c, 1, from, RAFT_VOTE_REPLY)->granted, from == 2);
    }
    /* in the next term it has a vote again */
    struct raft_message next = {.type = RAFT_REQUEST_VOTE, .from = 3, .to = 1, .term = 2};
    cluster_lose_all(c);
    cluster_receive(c, &next);
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_find(c, 1, 3, RAFT_VOTE_REPLY)->granted);
    cluster_destroy(&c);
}

/* Once elected it lets all others know at once, to keep them from elections. */
static void a_winner_speaks_at_once(void)
{
    struct cluster *c = candidate_of(3);
    cluster_lose_all(c);
    vote(c, 2, true);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 2, RAFT_APPEND_ENTRIES), 1);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 3, RAFT_APPEND_ENTRIES), 1);
    cluster_destroy(&c);
}

/* ... and goes on with heartbeats in idle times. */
static void a_leader_sends_heartbeats(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    for (int i = 0; i < 200; i++) {
        size_t sent = c->sent_count;
        cluster_run(c, CLUSTER_HEARTBEAT_US);
        CU_ASSERT_EQUAL(c->sent_count - sent, 4); /* two beats, two answers */
    }
    CU_ASSERT_EQUAL(c->leadership_count, 1);
    cluster_destroy(&c);
}

/* While waiting for votes: a leader of a term at least as large is recognised, of a smaller one rejected. */
static void a_candidate_judges_a_leader_by_its_term(void)
{
    struct cluster *c = candidate_of(3);
    cluster_lose_all(c);
    struct raft_message old = {.type = RAFT_APPEND_ENTRIES, .from = 2, .to = 1, .term = 0};
    cluster_receive(c, &old);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    CU_ASSERT_FALSE(cluster_find(c, 1, 2, RAFT_APPEND_REPLY)->granted);
    struct raft_message same = {.type = RAFT_APPEND_ENTRIES, .from = 3, .to = 1, .term = 1};
    cluster_receive(c, &same);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 3);
    CU_ASSERT_EQUAL(cluster_status(c, 1).voted_for, 1); /* the vote of the term stays given */
    cluster_destroy(&c);
}

/* Third outcome: nobody wins. The candidate times out and begins again; every attempt has its own random timeout,
 * so that split votes are rare and do not repeat for ever: with all timeouts running at once and real delays, five
 * nodes have a leader within a few timeouts, from any seed. */
static void split_votes_are_resolved(void)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct cluster *c = cluster_create(5, seed);
        c->delay_us_max = 20000;
        c->disk_us_max = 20000;
        cluster_start_all(c);
        CU_ASSERT_TRUE(cluster_await_leader(c, 10 * CLUSTER_ELECTION_US));
        cluster_destroy(&c);
    }
}

/* An election that did not succeed is followed by another in a later term. */
static void a_failed_election_is_repeated_in_a_later_term(void)
{
    struct cluster *c = candidate_of(3);
    cluster_time_out(c, 1); /* its votes never came */
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_PRE_CANDIDATE);
    struct raft_message grant = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 3, .to = 1, .term = 2, .granted = true};
    cluster_receive(c, &grant);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 2);
    vote(c, 2, true); /* a vote of the failed one */
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    cluster_destroy(&c);
}

SUITE("Raft 5.2", TEST(servers_start_as_followers), TEST(heartbeats_keep_followers),
      TEST(granting_a_vote_keeps_a_follower), TEST(refusing_a_vote_resets_nothing),
      TEST(an_election_asks_all_others), TEST(a_majority_of_the_full_cluster_elects),
      TEST(refusals_do_not_elect), TEST(first_come_first_served), TEST(a_winner_speaks_at_once),
      TEST(a_leader_sends_heartbeats), TEST(a_candidate_judges_a_leader_by_its_term),
      TEST(split_votes_are_resolved), TEST(a_failed_election_is_repeated_in_a_later_term))
