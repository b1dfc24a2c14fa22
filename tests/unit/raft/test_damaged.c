/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_damaged.c: trap 22, the core's part. A node whose disk lost what it had acknowledged comes back with
 * may_not_vote: it neither votes nor campaigns, its acknowledgements are not counted for reads, until its
 * durable log covers a read index that it obtained itself after the start. It may append and acknowledge
 * all the while. design.md §4.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* Node 1 of three is damaged; the others are the test. */
static struct cluster *damaged(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, TERMS(1, 1, 1, 1));
    cluster_damage(c, 1, 3);
    cluster_start(c, 1);
    return c;
}

static void leader_says(struct cluster *c, uint64_t prev, uint64_t commit, uint64_t count)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES,
                             .from = 2,
                             .to = 1,
                             .term = 1,
                             .prev_log_index = prev,
                             .prev_log_term = prev == 0 ? 0 : 1,
                             .leader_commit = commit,
                             .read_round = 4};
    if (count > 0) {
        m.entries = entries_create((size_t)count, 0);
        for (uint64_t i = 1; i <= count; i++) {
            struct entry e = {.index = prev + i, .term = 1, .type = ENTRY_COMMAND};
            entries_add(m.entries, &e);
        }
    }
    cluster_receive(c, &m);
    cluster_settle(c);
}

static void it_neither_votes_nor_campaigns(void)
{
    struct cluster *c = damaged();
    struct raft_message pre = {.type = RAFT_REQUEST_PRE_VOTE,
                               .from = 2,
                               .to = 1,
                               .term = 9,
                               .last_log_index = 9,
                               .last_log_term = 9};
    struct raft_message vote = pre;
    vote.type = RAFT_REQUEST_VOTE;
    cluster_receive(c, &pre);
    CU_ASSERT_FALSE(cluster_find(c, 1, 2, RAFT_PRE_VOTE_REPLY)->granted);
    cluster_receive(c, &vote);
    cluster_settle(c);
    CU_ASSERT_FALSE(cluster_find(c, 1, 2, RAFT_VOTE_REPLY)->granted);
    CU_ASSERT_EQUAL(cluster_status(c, 1).voted_for, 0);
    cluster_lose_all(c);
    c->now_us += 50 * CLUSTER_ELECTION_US;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_destroy(&c);
}

/* It appends and acknowledges, and says in each answer that it is damaged. */
static void it_appends_and_says_what_it_is(void)
{
    struct cluster *c = damaged();
    leader_says(c, 2, 2, 2);
    const struct raft_message *m = cluster_find(c, 1, 2, RAFT_APPEND_REPLY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_TRUE(m->flag_no_vote);
    CU_ASSERT_EQUAL(m->read_round, 4);
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 4);
    cluster_destroy(&c);
}

/* It asks for a read index by itself, again after a heartbeat if it hears nothing, and votes once its durable
 * log covers the answer; that it may is on disk before anybody hears of a vote. */
static void it_heals_when_its_log_covers_a_read_index(void)
{
    struct cluster *c = damaged();
    leader_says(c, 2, 2, 0);
    const struct raft_message *question = cluster_find(c, 1, 2, RAFT_READ_INDEX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(question);
    uint64_t id = question->read_id;
    cluster_lose_all(c);
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(cluster_find(c, 1, 2, RAFT_READ_INDEX));
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, RAFT_READ_INDEX)->read_id, id);

    struct raft_message answer = {.type = RAFT_READ_INDEX_REPLY,
                                  .from = 2,
                                  .to = 1,
                                  .term = 1,
                                  .granted = true,
                                  .read_id = id,
                                  .read_index = 4};
    cluster_receive(c, &answer);
    CU_ASSERT_TRUE(cluster_status(c, 1).may_not_vote);
    cluster_disk_hold(c, 1, true);
    leader_says(c, 2, 4, 2); /* in the log and committed, but not durable */
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 4);
    CU_ASSERT_TRUE(cluster_status(c, 1).may_not_vote);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_FALSE(cluster_status(c, 1).may_not_vote);
    CU_ASSERT_TRUE(cluster_node(c, 1)->disk.may_not_vote);

    cluster_lose_all(c);
    c->now_us += CLUSTER_ELECTION_US;
    struct raft_message vote = {.type = RAFT_REQUEST_VOTE,
                                .from = 3,
                                .to = 1,
                                .term = 2,
                                .last_log_index = 4,
                                .last_log_term = 1};
    cluster_receive(c, &vote);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_disk_hold(c, 1, false);
    cluster_settle(c);
    CU_ASSERT_FALSE(cluster_node(c, 1)->disk.may_not_vote);
    CU_ASSERT_TRUE(cluster_find(c, 1, 3, RAFT_VOTE_REPLY)->granted);
    cluster_destroy(&c);
}

/* The flag is durable: a restart before the healing does not lift it. */
static void a_restart_does_not_heal(void)
{
    struct cluster *c = damaged();
    leader_says(c, 2, 4, 2);
    cluster_crash(c, 1, 0);
    cluster_start(c, 1);
    CU_ASSERT_TRUE(cluster_status(c, 1).may_not_vote);
    cluster_destroy(&c);
}

/* What a damaged log still holds may be a past that was overwritten: nothing of it is taken as committed, and
 * the leader's entries replace it even at places the KV table has applied. */
static void its_log_proves_nothing(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, TERMS(1, 1, 1, 2, 2));
    cluster_node(c, 1)->kv_durable_index = 4;
    cluster_damage(c, 1, 6);
    cluster_start(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 0);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_applied, 4);
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES,
                             .from = 2,
                             .to = 1,
                             .term = 3,
                             .prev_log_index = 3,
                             .prev_log_term = 1,
                             .leader_commit = 6};
    m.entries = entries_create(3, 0);
    for (uint64_t i = 4; i <= 6; i++) {
        struct entry e = {.index = i, .term = 3, .type = ENTRY_COMMAND};
        entries_add(m.entries, &e);
    }
    cluster_receive(c, &m);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 1 3 3 3");
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 6);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 6); /* from 5 on: 4 was applied before */
    cluster_destroy(&c);
}

/* The leader believes a damaged follower that it has less than it once acknowledged, also without having
 * noticed that it was away, and does not count what is gone. */
static void the_leader_believes_the_loss(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    for (int i = 0; i < 5; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
    }
    struct raft_progress p;
    CU_ASSERT_TRUE(raft_progress_of(cluster_node(c, 1)->raft, 2, &p));
    CU_ASSERT_EQUAL(p.match_index, 6);
    struct raft_message refusal = {.type = RAFT_APPEND_REPLY,
                                   .from = 2,
                                   .to = 1,
                                   .term = 1,
                                   .conflict_index = 3,
                                   .flag_no_vote = true};
    struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .received = &refusal};
    cluster_step_only(c, 1, &event);
    CU_ASSERT_TRUE(raft_progress_of(cluster_node(c, 1)->raft, 2, &p));
    CU_ASSERT_EQUAL(p.match_index, 0);
    CU_ASSERT_EQUAL(p.next_index, 3);
    cluster_flush(c, 1);
    cluster_destroy(&c);
}

/* A lost acknowledgement must not commit anything once the damaged node has asked for the read index that heals
 * it. Five nodes: 3 acknowledged entry 2, lost it and asks; then 4 acknowledges it. Leader and 4 are no
 * majority; counting 3 would commit an entry that 2, 3 and 5 could outvote. */
static void a_lost_acknowledgement_commits_nothing(void)
{
    struct cluster *c = cluster_create(5, 1);
    c->network_held = true;
    cluster_start(c, 1);
    cluster_lead_alone(c, 1);
    struct raft_message m = {.type = RAFT_APPEND_REPLY, .to = 1, .term = 1, .granted = true};
    for (uint64_t from = 2; from <= 4; from++) {
        struct raft_message first = m;
        first.from = from;
        first.match_index = 1;
        cluster_receive(c, &first);
    }
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 1);
    (void)cluster_propose(c, 1, "x");
    cluster_settle(c);
    struct raft_message from_3 = m;
    from_3.from = 3;
    from_3.match_index = 2;
    cluster_receive(c, &from_3);
    struct raft_message question = {
        .type = RAFT_READ_INDEX, .from = 3, .to = 1, .term = 1, .read_id = 5, .flag_no_vote = true};
    cluster_receive(c, &question);
    struct raft_message from_4 = m;
    from_4.from = 4;
    from_4.match_index = 2;
    cluster_receive(c, &from_4);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 1);
    struct raft_message again = m; /* it has it again, durably: now it counts */
    again.from = 3;
    again.match_index = 2;
    again.flag_no_vote = true;
    cluster_receive(c, &again);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2);
    cluster_destroy(&c);
}

/* A whole life: a follower loses everything, the cluster goes on, it comes back, catches up, heals by itself, and
 * its vote then helps to elect. While it is damaged, the only other one left cannot win with it. */
static void a_damaged_member_heals_in_a_cluster(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    for (int i = 0; i < 20; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
    }
    cluster_crash(c, 3, 0);
    cluster_damage(c, 3, 1);
    cluster_isolate(c, 1, true);
    cluster_start(c, 3);
    cluster_run(c, 20 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_status(c, 2).role, RAFT_PRE_CANDIDATE); /* 3 may not help it */
    CU_ASSERT_TRUE(cluster_status(c, 3).may_not_vote);
    cluster_heal(c);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_FALSE(cluster_status(c, 3).may_not_vote);
    uint64_t leader = cluster_leader(c);
    cluster_crash(c, leader, 0);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US)); /* with 3's vote */
    cluster_destroy(&c);
}

SUITE("raft: damaged node", TEST(it_neither_votes_nor_campaigns),
      TEST(it_appends_and_says_what_it_is), TEST(it_heals_when_its_log_covers_a_read_index),
      TEST(a_restart_does_not_heal), TEST(its_log_proves_nothing),
      TEST(the_leader_believes_the_loss), TEST(a_lost_acknowledgement_commits_nothing),
      TEST(a_damaged_member_heals_in_a_cluster))
