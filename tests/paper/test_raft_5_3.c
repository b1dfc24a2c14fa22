/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_5_3.c: Raft §5.3 "Log replication", statement by statement, with the logs of Fig. 6 and Fig. 7.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static struct cluster *led_by_1(size_t count)
{
    struct cluster *c = cluster_create(count, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    return c;
}

/* A command is appended to the leader's log as a new entry with its term and the next index, and sent to all others
 * in parallel. */
static void a_command_is_appended_and_sent_to_all(void)
{
    struct cluster *c = led_by_1(3);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x=3"), OK);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1");
    for (uint64_t to = 2; to <= 3; to++) {
        const struct raft_message *m = cluster_find(c, 1, to, RAFT_APPEND_ENTRIES);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL(m->entries->items[0].index, 2);
        CU_ASSERT_EQUAL(m->entries->items[0].term, 1);
        CU_ASSERT_TRUE(view_equal(m->entries->items[0].data, view_of_text("x=3")));
        CU_ASSERT_EQUAL(m->prev_log_index, 1); /* what comes just before it */
        CU_ASSERT_EQUAL(m->prev_log_term, 1);
    }
    cluster_destroy(&c);
}

/* When it is safely replicated it is applied, on the leader first and on the others when they hear of it. */
static void replicated_entries_are_applied(void)
{
    struct cluster *c = led_by_1(3);
    c->network_held = true;
    (void)cluster_propose(c, 1, "x");
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 1);
    (void)cluster_deliver(c, 1, 2, RAFT_APPEND_ENTRIES);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 1);
    (void)cluster_deliver(c, 2, 1, RAFT_APPEND_REPLY); /* a majority has it */
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 2);
    CU_ASSERT_EQUAL(cluster_node(c, 2)->applied_index, 1);
    c->network_held = false;
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_node(c, 2)->applied_index, 2);
    cluster_destroy(&c);
}

/* A follower that is slow, down, or loses messages is asked again and again, until it has everything. */
static void appends_are_repeated_until_all_have_everything(void)
{
    struct cluster *c = cluster_create(3, 9);
    c->drop_permille = 300;
    c->delay_us_max = 5000;
    cluster_start_all(c);
    CU_ASSERT_TRUE(cluster_await_leader(c, 60 * CLUSTER_ELECTION_US));
    cluster_crash(c, cluster_leader(c) % 3 + 1, 0);
    uint64_t down = cluster_leader(c) % 3 + 1;
    for (int i = 0; i < 30; i++) {
        if (cluster_leader(c) != 0) {
            (void)cluster_propose(c, cluster_leader(c), "x");
        }
        cluster_run(c, CLUSTER_HEARTBEAT_US);
    }
    cluster_start(c, down);
    c->drop_permille = 100;
    cluster_run(c, 20 * CLUSTER_ELECTION_US);
    c->drop_permille = 0;
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_TRUE(cluster_status(c, down).last_applied > 5);
    cluster_destroy(&c);
}

/* Fig. 6. An entry is committed once a majority has it, and with it all before it, those of earlier leaders too. */
static void committing_commits_all_before(void)
{
    struct cluster *c = cluster_create(5, 1);
    cluster_set_log(c, 1, TERMS(1, 1, 1, 2, 3, 3, 3, 3));
    cluster_set_log(c, 2, TERMS(1, 1, 1, 2, 3));
    cluster_set_log(c, 3, TERMS(1, 1, 1, 2, 3, 3, 3, 3));
    cluster_set_log(c, 4, TERMS(1, 1));
    cluster_set_log(c, 5, TERMS(1, 1, 1, 2, 3, 3, 3));
    cluster_start_all(c);
    cluster_elect(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 9);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 4), "1 1 1 2 3 3 3 3 4");
    cluster_destroy(&c);
}

/* The highest committed index rides on every append, heartbeats too, so that others find out. */
static void the_commit_index_rides_on_heartbeats(void)
{
    struct cluster *c = led_by_1(3);
    (void)cluster_propose(c, 1, "x");
    cluster_settle(c);
    c->network_held = true;
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    const struct raft_message *m = cluster_find(c, 1, 3, RAFT_APPEND_ENTRIES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_PTR_NULL(m->entries);
    CU_ASSERT_EQUAL(m->leader_commit, 2);
    cluster_destroy(&c);
}

/* Log Matching, first half: an index and a term name one entry for ever. A leader makes at most one entry per index
 * in its term and never moves it. Second half: the consistency check at each step carries the equality of all before
 * on. Checked on the logs of a cluster through twenty leaders. */
static void logs_match(void)
{
    struct cluster *c = cluster_create(5, 3);
    c->delay_us_max = 2000;
    c->disk_us_max = 2000;
    cluster_start_all(c);
    for (uint64_t i = 0; i < 20; i++) {
        CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
        uint64_t leader = cluster_leader(c);
        for (int k = 0; k < 5; k++) {
            (void)cluster_propose(c, leader, "x");
        }
        cluster_isolate(c, leader, true);
        for (int k = 0; k < 3; k++) {
            (void)cluster_propose(c, leader, "nobody hears");
        }
        cluster_run(c, 3 * CLUSTER_ELECTION_US);
        cluster_check_logs(c);
        cluster_isolate(c, leader, false);
    }
    cluster_run(c, 4 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_TRUE(c->leadership_count >= 20);
    cluster_destroy(&c);
}

/* Fig. 7: the leader at the top comes to power in term 8 over any of the followers (a) to (f): entries missing, extra
 * ones uncommitted, or both, of several terms. It makes all logs equal its own, and never changes its own. */
static void the_logs_of_figure_7_become_equal(void)
{
    struct cluster *c = cluster_create(7, 1);
    cluster_set_log(c, 1, TERMS(1, 1, 1, 4, 4, 5, 5, 6, 6, 6));
    cluster_set_log(c, 2, TERMS(1, 1, 1, 4, 4, 5, 5, 6, 6));          /* a */
    cluster_set_log(c, 3, TERMS(1, 1, 1, 4));                         /* b */
    cluster_set_log(c, 4, TERMS(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6));    /* c */
    cluster_set_log(c, 5, TERMS(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7)); /* d */
    cluster_set_log(c, 6, TERMS(1, 1, 1, 4, 4, 4, 4));                /* e */
    cluster_set_log(c, 7, TERMS(1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3));    /* f */
    for (uint64_t id = 1; id <= 7; id++) {
        cluster_set_term(c, id, 7, 0);
    }
    cluster_start_all(c);
    cluster_elect(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 8);
    for (uint64_t id = 1; id <= 7; id++) {
        CU_ASSERT_STRING_EQUAL(cluster_log_text(c, id), "1 1 1 4 4 5 5 6 6 6 8");
        CU_ASSERT_EQUAL(cluster_node(c, id)->disk.count, 11);
    }
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* When it comes to power a leader takes all others to be as far as itself (nextIndex), and goes back on refusal
 * until the logs meet. */
static void next_index_begins_at_the_end_and_goes_back(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_set_log(c, 1, TERMS(1, 1, 1, 1, 1));
    cluster_start(c, 1);
    cluster_start(c, 2);
    cluster_start(c, 3);
    cluster_time_out(c, 1);
    c->network_held = true;
    for (int i = 0; i < 100 && cluster_status(c, 1).role != RAFT_LEADER; i++) {
        (void)cluster_deliver(c, 0, 0, 0);
        cluster_settle(c);
    }
    const struct raft_message *first = cluster_find(c, 1, 2, RAFT_APPEND_ENTRIES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    CU_ASSERT_EQUAL(first->prev_log_index, 5);
    (void)cluster_deliver(c, 1, 2, RAFT_APPEND_ENTRIES);
    CU_ASSERT_FALSE(cluster_find(c, 2, 1, RAFT_APPEND_REPLY)->granted);
    (void)cluster_deliver(c, 2, 1, RAFT_APPEND_REPLY);
    const struct raft_message *second = cluster_find(c, 1, 2, RAFT_APPEND_ENTRIES);
    CU_ASSERT_EQUAL(second->prev_log_index, 0);
    CU_ASSERT_EQUAL(second->entries->count, 6);
    c->network_held = false;
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* The faster way back: one refused append per conflicting term, not per entry. */
static void one_refusal_per_conflicting_term(void)
{
    struct cluster *c = cluster_create(3, 1);
    uint64_t ours[301] = {0};
    uint64_t theirs[201] = {0};
    for (size_t i = 0; i < 300; i++) {
        ours[i] = i < 100 ? 1 : 7;
    }
    for (size_t i = 0; i < 200; i++) {
        theirs[i] = i < 100 ? 1 : i < 150 ? 4 : 5; /* two terms of fifty entries conflict */
    }
    cluster_set_log(c, 1, ours);
    cluster_set_log(c, 2, theirs);
    cluster_set_log(c, 3, ours);
    cluster_start_all(c);
    struct buffer trace = {0};
    cluster_time_out(c, 1);
    c->trace = &trace;
    cluster_settle(c);
    c->trace = NULL;
    buffer_u8(&trace, 0);
    size_t refusals = 0;
    for (const char *at = (const char *)trace.data; (at = strstr(at, "refused conflict")) != NULL;
         at++) {
        refusals++;
    }
    buffer_free(&trace);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_EQUAL(refusals, 3); /* too short, term 5, term 4 */
    cluster_destroy(&c);
}

/* A new entry is committed after one round trip to a majority; a slow follower holds up nobody. */
static void one_round_and_no_waiting_for_the_slow(void)
{
    struct cluster *c = led_by_1(5);
    cluster_disk_hold(c, 4, true);
    cluster_isolate(c, 5, true);
    uint64_t began = c->now_us;
    for (uint64_t i = 0; i < 20; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
        CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, i + 2);
    }
    CU_ASSERT_EQUAL(c->now_us, began);
    cluster_destroy(&c);
}

SUITE("Raft 5.3", TEST(a_command_is_appended_and_sent_to_all), TEST(replicated_entries_are_applied),
      TEST(appends_are_repeated_until_all_have_everything), TEST(committing_commits_all_before),
      TEST(the_commit_index_rides_on_heartbeats), TEST(logs_match),
      TEST(the_logs_of_figure_7_become_equal), TEST(next_index_begins_at_the_end_and_goes_back),
      TEST(one_refusal_per_conflicting_term), TEST(one_round_and_no_waiting_for_the_slow))
