/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_transfer.c: a leader hands over its office: whom it takes, what it does meanwhile, what ends it, and what late
 * messages of it may do. Thesis §3.10; traps 6, 34, 50.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define IDS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static struct cluster *with_leader(size_t count, size_t voters)
{
    struct cluster *c = cluster_create(count, 7);
    cluster_set_voters(c, voters);
    cluster_start_all(c);
    cluster_elect(c, 1);
    return c;
}

/* Trap 6: all hear the old leader and vote all the same; no time passes; nothing committed is lost. */
static void the_target_takes_over_at_once(void)
{
    struct cluster *c = with_leader(3, 3);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "before"), OK);
    cluster_settle(c);
    uint64_t commit = cluster_status(c, 1).commit_index;
    uint64_t term = cluster_status(c, 1).current_term;
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 3), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_leader(c), 3);
    CU_ASSERT_EQUAL(cluster_status(c, 3).current_term, term + 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 0);
    CU_ASSERT_TRUE(cluster_status(c, 3).commit_index > commit);
    CU_ASSERT_EQUAL(cluster_propose(c, 3, "after"), OK);
    cluster_destroy(&c);
}

static void who_asks_the_wrong_node_or_for_the_wrong_one_is_told(void)
{
    struct cluster *c = cluster_create(4, 7);
    cluster_set_voters(c, 3);
    cluster_start_all(c);
    CU_ASSERT_EQUAL(cluster_transfer(c, 2, 3), ERR_NO_LEADER);
    cluster_elect(c, 1);
    CU_ASSERT_EQUAL(cluster_transfer(c, 2, 3), ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 4), ERR_BAD_TRANSFEREE); /* no member */
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4)), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 4), ERR_BAD_TRANSFEREE); /* a learner */
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 1), OK);                 /* itself: done */
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 0);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    /* silent for an election timeout */
    cluster_isolate(c, 3, true);
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 3), ERR_BAD_TRANSFEREE);
    cluster_destroy(&c);
}

/* A damaged node could not stand (trap 22). */
static void a_damaged_member_is_no_target(void)
{
    struct cluster *c = with_leader(3, 3);
    struct raft_message reply = {.type = RAFT_APPEND_REPLY,
                                 .from = 2,
                                 .to = 1,
                                 .term = cluster_status(c, 1).current_term,
                                 .granted = true,
                                 .flag_no_vote = true};
    cluster_receive(c, &reply);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), ERR_BAD_TRANSFEREE);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 0), OK);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 3);
    cluster_destroy(&c);
}

/* The one that is furthest, of those who are there. */
static void without_a_target_the_best_one_is_taken(void)
{
    struct cluster *c = with_leader(5, 5);
    cluster_run(c, CLUSTER_ELECTION_US);
    cluster_cut(c, 1, 2, true);
    cluster_cut(c, 1, 3, true);
    cluster_cut(c, 1, 5, true);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 0), OK);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 4);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_leader(c), 4);
    cluster_destroy(&c);

    c = cluster_create(1, 7);
    cluster_start_all(c);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 0), ERR_BAD_TRANSFEREE);
    cluster_destroy(&c);
}

/* Trap 50: nothing is taken meanwhile, timeout_now waits until the target has all, and is said once. */
static void it_waits_until_the_target_has_everything(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), OK);
    CU_ASSERT_PTR_NULL(cluster_find(c, 1, 2, RAFT_TIMEOUT_NOW));
    uint64_t last = cluster_status(c, 1).last_log_index;
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "y"), ERR_LEADER_CHANGED);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2), NULL), ERR_LEADER_CHANGED);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, last);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), OK);                 /* it is under way */
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 3), ERR_LEADER_CHANGED); /* and not to be turned */
    while (cluster_deliver(c, 1, 2, 0)) {}
    cluster_settle(c);
    CU_ASSERT_PTR_NULL(cluster_find(c, 1, 2, RAFT_TIMEOUT_NOW));
    while (cluster_deliver(c, 2, 1, 0)) {}
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 2, RAFT_TIMEOUT_NOW), 1);
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 2, RAFT_TIMEOUT_NOW), 1);
    cluster_destroy(&c);
}

/* Trap 50: a target that does not manage costs an election timeout, then the leader goes on. A timeout_now that comes
 * after that finds a log that has grown, and is dropped. */
static void it_goes_on_if_nothing_comes_of_it(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), OK);
    struct raft_message *said = cluster_find(c, 1, 2, RAFT_TIMEOUT_NOW);
    CU_ASSERT_PTR_NOT_NULL_FATAL(said);
    struct raft_message late = cluster_copy(said);
    CU_ASSERT_TRUE(cluster_lose(c, 1, 2, RAFT_TIMEOUT_NOW));
    c->network_held = false;
    cluster_run(c, CLUSTER_ELECTION_US / 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 2);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), ERR_LEADER_CHANGED);
    cluster_run(c, CLUSTER_ELECTION_US / 2 + CLUSTER_HEARTBEAT_US);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 0);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    cluster_settle(c);
    cluster_receive(c, &late);
    CU_ASSERT_EQUAL(cluster_status(c, 2).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    cluster_destroy(&c);
}

/* The deadline comes with a tick of its own, also where heartbeats are rarer than it. */
static void the_deadline_is_asked_for(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), OK);
    CU_ASSERT_TRUE(transfer_deadline_us(cluster_node(c, 1)->raft) <=
                   c->now_us + CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_node(c, 1)->tick_us <= c->now_us + CLUSTER_ELECTION_US);
    cluster_destroy(&c);
}

static enum raft_role after_timeout_now(struct cluster *c, uint64_t from, uint64_t term,
                                        uint64_t last)
{
    struct raft_message m = {
        .type = RAFT_TIMEOUT_NOW, .from = from, .to = 2, .term = term, .last_log_index = last};
    cluster_receive(c, &m);
    return cluster_status(c, 2).role;
}

/* Trap 50: of another term, of somebody else than the leader, about another end of the log, to a learner: dropped. */
static void a_timeout_now_out_of_order_is_dropped(void)
{
    struct cluster *c = with_leader(3, 3);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 3), OK);
    cluster_settle(c);
    uint64_t term = cluster_status(c, 3).current_term;
    uint64_t last = cluster_status(c, 2).last_log_index;
    c->network_held = true;
    CU_ASSERT_EQUAL(after_timeout_now(c, 1, term - 1, last), RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(after_timeout_now(c, 1, term, last), RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(after_timeout_now(c, 3, term, last - 1), RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(after_timeout_now(c, 3, term, last + 1), RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(after_timeout_now(c, 3, term, last), RAFT_CANDIDATE);
    CU_ASSERT_EQUAL(cluster_status(c, 2).current_term, term + 1);
    /* of a term nobody has seen: no leader is known in it */
    CU_ASSERT_EQUAL(after_timeout_now(c, 3, term + 5, last), RAFT_FOLLOWER);
    cluster_destroy(&c);

    c = cluster_create(3, 7);
    c->configuration.members[1].voter_incoming = false;
    c->configuration.members[1].voter_outgoing = false;
    cluster_start_all(c);
    cluster_elect(c, 1);
    CU_ASSERT_EQUAL(after_timeout_now(c, 1, cluster_status(c, 1).current_term,
                                      cluster_status(c, 2).last_log_index),
                    RAFT_FOLLOWER);
    cluster_destroy(&c);
}

/* A wanted candidate that loses asks like anybody else the next time. */
static void the_leaders_wish_counts_for_one_attempt(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), OK);
    CU_ASSERT_TRUE(cluster_deliver(c, 1, 2, RAFT_TIMEOUT_NOW));
    cluster_settle(c);
    const struct raft_message *asked = cluster_find(c, 2, 3, RAFT_REQUEST_VOTE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(asked);
    CU_ASSERT_TRUE(asked->flag_transfer);
    CU_ASSERT_PTR_NULL(cluster_find(c, 2, 3, RAFT_REQUEST_PRE_VOTE));
    cluster_lose_all(c);
    cluster_time_out(c, 2);
    cluster_settle(c);
    asked = cluster_find(c, 2, 3, RAFT_REQUEST_PRE_VOTE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(asked);
    CU_ASSERT_FALSE(asked->flag_transfer);
    cluster_destroy(&c);
}

/* Trap 34: the old leader is slow to learn that it is none any more. It answers no read with what it knows. */
static void a_delayed_old_leader_answers_no_reads(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), OK);
    CU_ASSERT_TRUE(cluster_deliver(c, 1, 2, RAFT_TIMEOUT_NOW));
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_deliver(c, 2, 3, RAFT_REQUEST_VOTE));
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_deliver(c, 3, 2, RAFT_VOTE_REPLY));
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 2).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    size_t read = cluster_read(c, 1);
    while (cluster_deliver(c, 1, 3, 0)) {}
    while (cluster_deliver(c, 1, 2, 0)) {}
    cluster_settle(c);
    while (cluster_deliver(c, 3, 1, RAFT_APPEND_REPLY)) {}
    CU_ASSERT_FALSE(cluster_node(c, 1)->reads[read].answered);
    CU_ASSERT_NOT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    c->network_held = false;
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_node(c, 1)->reads[read].answered); /* by the new one */
    cluster_destroy(&c);
}

/* The target is removed, or votes no more: the transfer ends, and the leader goes on. */
static void a_target_that_cannot_lead_any_more_ends_it(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), OK);
    struct raft_event down = {.type = RAFT_EVENT_PEER_DOWN, .peer = 2};
    cluster_step(c, 1, &down);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 0);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "y"), OK);
    cluster_destroy(&c);
}

/* A leader that changes the members away from itself hands over on its way out. */
static void a_leader_that_removes_itself_hands_over(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(2, 3), NULL), OK);
    cluster_settle(c); /* no timeout is waited for */
    CU_ASSERT_TRUE(cluster_leader(c) >= 2);
    CU_ASSERT_TRUE(cluster_status(c, 1).removed);
    cluster_destroy(&c);
}

SUITE("raft: transfer", TEST(the_target_takes_over_at_once),
      TEST(who_asks_the_wrong_node_or_for_the_wrong_one_is_told),
      TEST(a_damaged_member_is_no_target), TEST(without_a_target_the_best_one_is_taken),
      TEST(it_waits_until_the_target_has_everything), TEST(it_goes_on_if_nothing_comes_of_it),
      TEST(the_deadline_is_asked_for), TEST(a_timeout_now_out_of_order_is_dropped),
      TEST(the_leaders_wish_counts_for_one_attempt), TEST(a_delayed_old_leader_answers_no_reads),
      TEST(a_target_that_cannot_lead_any_more_ends_it),
      TEST(a_leader_that_removes_itself_hands_over))
