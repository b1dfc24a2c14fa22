/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_5_1.c: Raft §5.1 "Raft basics", statement by statement: roles, terms, how terms spread, and that
 * requests may be repeated.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

static size_t count_role(struct cluster *c, enum raft_role role)
{
    size_t count = 0;
    for (uint64_t id = 1; id <= c->count; id++) {
        count += cluster_status(c, id).role == role ? 1 : 0;
    }
    return count;
}

/* In normal operation there is exactly one leader, and all others are followers. */
static void one_leads_and_all_others_follow(void)
{
    struct cluster *c = cluster_create(5, 1);
    c->delay_us_max = 3000;
    cluster_start_all(c);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    for (int i = 0; i < 50; i++) {
        cluster_run(c, CLUSTER_ELECTION_US / 3);
        CU_ASSERT_EQUAL(count_role(c, RAFT_LEADER), 1);
        CU_ASSERT_EQUAL(count_role(c, RAFT_FOLLOWER), 4);
    }
    cluster_destroy(&c);
}

/* Five of five: the cluster tolerates two failures, not three. */
static void five_tolerate_two_failures(void)
{
    struct cluster *c = cluster_create(5, 2);
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_crash(c, 4, 0);
    cluster_crash(c, 5, 0);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2);
    cluster_crash(c, 3, 0);
    (void)cluster_propose(c, 1, "y");
    cluster_run(c, 10 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 0);
    CU_ASSERT_EQUAL(cluster_status(c, 2).commit_index, 2);
    cluster_destroy(&c);
}

/* Followers are passive: left alone within their timeout they say nothing, they only answer. */
static void followers_only_answer(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    for (int i = 0; i < 9; i++) {
        c->now_us += CLUSTER_HEARTBEAT_US;
        cluster_tick(c, 1);
    }
    CU_ASSERT_EQUAL(c->flight_count, 0);
    struct raft_message beat = {.type = RAFT_APPEND_ENTRIES, .from = 2, .to = 1, .term = 1};
    cluster_receive(c, &beat);
    cluster_settle(c);
    CU_ASSERT_EQUAL(c->flight_count, 1);
    CU_ASSERT_PTR_NOT_NULL(cluster_find(c, 1, 2, RAFT_APPEND_REPLY));
    cluster_destroy(&c);
}

/* The leader takes the clients' commands; a follower that is asked does not, and knows who leads. */
static void commands_go_to_the_leader(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 2);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 2);
    CU_ASSERT_EQUAL(cluster_propose(c, 2, "x"), OK);
    cluster_destroy(&c);
}

/* Terms are numbered by consecutive integers, each begins with an election. */
static void each_election_begins_a_new_term(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    for (uint64_t term = 1; term <= 6; term++) {
        uint64_t id = 1 + term % 3;
        cluster_elect(c, id);
        CU_ASSERT_EQUAL(cluster_status(c, id).current_term, term);
    }
    CU_ASSERT_EQUAL(c->leadership_count, 6);
    cluster_destroy(&c);
}

/* A term may end without a leader, when the vote is split; the next begins, and there is one then. */
static void a_split_vote_ends_the_term(void)
{
    struct cluster *c = cluster_create(4, 1);
    cluster_start_all(c);
    c->network_held = true;
    cluster_time_out(c, 1);
    cluster_time_out(c, 2);
    /* both win their pre-votes, then each has two votes of four */
    while (cluster_count_flights(c, 0, 0, RAFT_REQUEST_PRE_VOTE) > 0) {
        (void)cluster_deliver(c, 0, 0, RAFT_REQUEST_PRE_VOTE);
    }
    while (cluster_count_flights(c, 0, 0, RAFT_PRE_VOTE_REPLY) > 0) {
        (void)cluster_deliver(c, 0, 0, RAFT_PRE_VOTE_REPLY);
    }
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    CU_ASSERT_EQUAL(cluster_status(c, 2).role, RAFT_CANDIDATE);
    (void)cluster_deliver(c, 1, 3, RAFT_REQUEST_VOTE);
    (void)cluster_deliver(c, 2, 4, RAFT_REQUEST_VOTE);
    c->network_held = false;
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 3).voted_for, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 4).voted_for, 2);
    CU_ASSERT_EQUAL(cluster_leader(c), 0);
    CU_ASSERT_TRUE(cluster_await_leader(c, 10 * CLUSTER_ELECTION_US));
    CU_ASSERT_TRUE(cluster_status(c, cluster_leader(c)).current_term >= 2);
    cluster_destroy(&c);
}

/* Terms are exchanged with every message: the smaller is raised to the larger, by requests and by answers. */
static void every_message_spreads_the_term(void)
{
    static const enum raft_message_type types[] = {
        RAFT_REQUEST_VOTE, RAFT_VOTE_REPLY,       RAFT_APPEND_ENTRIES, RAFT_APPEND_REPLY,
        RAFT_READ_INDEX,   RAFT_READ_INDEX_REPLY, RAFT_PRE_VOTE_REPLY};
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct cluster *c = cluster_create(3, 1);
        c->network_held = true;
        cluster_start(c, 1);
        struct raft_message m = {.type = types[i], .from = 2, .to = 1, .term = 12};
        cluster_receive(c, &m);
        CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 12);
        cluster_settle(c);
        CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.current_term, 12); /* and is kept on disk */
        cluster_destroy(&c);
    }
}

/* A candidate or leader that learns of a later term becomes a follower at once. */
static void who_is_out_of_date_becomes_a_follower(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    cluster_time_out(c, 1);
    struct raft_message grant = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 1, .granted = true};
    cluster_receive(c, &grant);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    struct raft_message refusal = {.type = RAFT_VOTE_REPLY, .from = 2, .to = 1, .term = 3};
    cluster_receive(c, &refusal);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 3);
    cluster_settle(c);

    cluster_lead_alone(c, 1);
    struct raft_message append = {.type = RAFT_APPEND_ENTRIES, .from = 3, .to = 1, .term = 9};
    cluster_receive(c, &append);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 3);
    cluster_destroy(&c);
}

/* A request with a stale term is rejected, and changes nothing. */
static void stale_requests_are_rejected(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, (const uint64_t[]){1, 1, 4, 0});
    cluster_start(c, 1);
    struct raft_message append = {.type = RAFT_APPEND_ENTRIES,
                                  .from = 2,
                                  .to = 1,
                                  .term = 3,
                                  .prev_log_index = 2,
                                  .prev_log_term = 1,
                                  .leader_commit = 2};
    cluster_receive(c, &append);
    CU_ASSERT_FALSE(cluster_find(c, 1, 2, RAFT_APPEND_REPLY)->granted);
    struct raft_message vote = {.type = RAFT_REQUEST_VOTE,
                                .from = 3,
                                .to = 1,
                                .term = 3,
                                .last_log_index = 9,
                                .last_log_term = 3};
    cluster_receive(c, &vote);
    CU_ASSERT_FALSE(cluster_find(c, 1, 3, RAFT_VOTE_REPLY)->granted);
    struct raft_status s = cluster_status(c, 1);
    CU_ASSERT_EQUAL(s.current_term, 4);
    CU_ASSERT_EQUAL(s.leader, 0);
    CU_ASSERT_EQUAL(s.commit_index, 0);
    CU_ASSERT_EQUAL(s.voted_for, 0);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 4");
    cluster_destroy(&c);
}

/* Requests are repeated if no answer comes, and repeating does no harm: every message of an election and a
 * replication delivered twice ends in the same state. */
static void messages_may_come_twice(void)
{
    struct cluster *c = cluster_create(3, 7);
    c->duplicate_permille = 1000;
    cluster_start_all(c);
    cluster_elect(c, 1);
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
        cluster_settle(c);
    }
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_EQUAL(cluster_status(c, 3).last_applied, 21);
    CU_ASSERT_EQUAL(c->leadership_count, 1);
    cluster_destroy(&c);
}

SUITE("Raft 5.1", TEST(one_leads_and_all_others_follow), TEST(five_tolerate_two_failures),
      TEST(followers_only_answer), TEST(commands_go_to_the_leader),
      TEST(each_election_begins_a_new_term), TEST(a_split_vote_ends_the_term),
      TEST(every_message_spreads_the_term), TEST(who_is_out_of_date_becomes_a_follower),
      TEST(stale_requests_are_rejected), TEST(messages_may_come_twice))
