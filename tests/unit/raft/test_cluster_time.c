/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_time.c: the time that leases run by moves only while a leader holds a quorum, goes on from one leader to
 * the next, does not jump and never falls (trap 53). Design: "Leases run in cluster time".
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define SECOND_US UINT64_C(1000000)

static uint64_t time_of(struct cluster *c, uint64_t id)
{
    return cluster_status(c, id).cluster_time_us;
}

static struct cluster *with_leader(size_t count)
{
    struct cluster *c = cluster_create(count, 5);
    cluster_start_all(c);
    cluster_elect(c, 1);
    return c;
}

/* While all is well the leader's time follows its clock by a heartbeat, and everybody's follows the leader's. */
static void it_runs_with_a_quorum_and_followers_hear_it(void)
{
    struct cluster *c = with_leader(3);
    uint64_t before = time_of(c, 1);
    cluster_run(c, 10 * SECOND_US);
    uint64_t passed = time_of(c, 1) - before;
    CU_ASSERT_TRUE(passed <= 10 * SECOND_US);
    CU_ASSERT_TRUE(passed >= 10 * SECOND_US - 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(time_of(c, 1) - time_of(c, 2) <= 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(time_of(c, 1) - time_of(c, 3) <= 2 * CLUSTER_HEARTBEAT_US);
    /* One follower is a quorum with the leader. */
    cluster_crash(c, 3, 0);
    before = time_of(c, 1);
    cluster_run(c, 10 * SECOND_US);
    CU_ASSERT_TRUE(time_of(c, 1) - before >= 10 * SECOND_US - 2 * CLUSTER_HEARTBEAT_US);
    cluster_destroy(&c);
}

static void a_single_node_keeps_time_without_anybody_speaking(void)
{
    struct cluster *c = cluster_create(1, 5);
    cluster_start_all(c);
    cluster_settle(c);
    cluster_run(c, 10 * SECOND_US);
    uint64_t time_us = time_of(c, 1);
    CU_ASSERT_TRUE(time_us <= 10 * SECOND_US);
    CU_ASSERT_TRUE(time_us >= 10 * SECOND_US - 2 * CLUSTER_HEARTBEAT_US);
    cluster_destroy(&c);
}

/* Trap 53: a leader cut off with a minority stands still at once, not only when it gives up its office. */
static void it_stands_still_at_a_leader_without_a_quorum(void)
{
    struct cluster *c = with_leader(5);
    cluster_run(c, SECOND_US);
    for (uint64_t other = 3; other <= 5; other++) {
        cluster_cut(c, 1, other, true);
        cluster_cut(c, other, 1, true);
    }
    uint64_t before = time_of(c, 1);
    cluster_run(c, CLUSTER_ELECTION_US / 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(time_of(c, 1), before);
    cluster_destroy(&c);
}

/* What comes back late speaks of the moment it was sent, not of the moment it came. */
static void an_acknowledgement_counts_from_when_the_append_was_sent(void)
{
    struct cluster *c = with_leader(3);
    cluster_run(c, SECOND_US);
    c->network_held = true;
    uint64_t sent = c->now_us + CLUSTER_HEARTBEAT_US;
    c->now_us = sent;
    cluster_tick(c, 1);
    uint64_t confirmed = cluster_node(c, 1)->raft->time_confirmed_us;
    uint64_t before = time_of(c, 1);
    cluster_lose(c, 1, 3, 0);
    c->now_us += CLUSTER_HEARTBEAT_US / 2;
    CU_ASSERT_TRUE(cluster_deliver(c, 1, 2, RAFT_APPEND_ENTRIES));
    CU_ASSERT_TRUE(cluster_deliver(c, 2, 1, RAFT_APPEND_REPLY));
    CU_ASSERT_EQUAL(time_of(c, 1), before + sent - confirmed);
    /* Again, later: it says nothing new. */
    c->now_us += CLUSTER_HEARTBEAT_US / 4;
    struct raft_message again = {
        .type = RAFT_APPEND_REPLY,
        .from = 2,
        .to = 1,
        .term = cluster_status(c, 1).current_term,
        .granted = true,
        .match_index = 1,
        .sent_us = sent,
    };
    cluster_receive(c, &again);
    CU_ASSERT_EQUAL(time_of(c, 1), before + sent - confirmed);
    /* A stamp that this leader never gave out counts for nothing. */
    again.sent_us = c->now_us;
    cluster_receive(c, &again);
    CU_ASSERT_EQUAL(time_of(c, 1), before + sent - confirmed);
    cluster_destroy(&c);
}

/* A damaged node may have promised itself to another leader and forgotten it (trap 22). */
static void a_damaged_member_confirms_nothing(void)
{
    struct cluster *c = with_leader(3);
    cluster_run(c, SECOND_US);
    cluster_isolate(c, 3, true);
    c->network_held = true;
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    uint64_t before = time_of(c, 1);
    struct raft_message reply = {
        .type = RAFT_APPEND_REPLY,
        .from = 2,
        .to = 1,
        .term = cluster_status(c, 1).current_term,
        .granted = true,
        .match_index = 1,
        .sent_us = c->now_us,
        .flag_no_vote = true,
    };
    cluster_receive(c, &reply);
    CU_ASSERT_EQUAL(time_of(c, 1), before);
    reply.flag_no_vote = false;
    cluster_receive(c, &reply);
    CU_ASSERT_TRUE(time_of(c, 1) > before);
    cluster_destroy(&c);
}

/* Trap 53: stopped for long and woken again among followers that have not elected another. */
static void a_frozen_leader_does_not_jump(void)
{
    struct cluster *c = with_leader(3);
    cluster_run(c, SECOND_US);
    uint64_t before = time_of(c, 1);
    c->now_us += 60 * SECOND_US; /* nobody gets a tick: all were stopped */
    cluster_tick(c, 1);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_TRUE(time_of(c, 1) > before);
    CU_ASSERT_TRUE(time_of(c, 1) - before <= CLUSTER_ELECTION_US);
    cluster_destroy(&c);

    c = cluster_create(1, 5);
    cluster_start_all(c);
    cluster_settle(c);
    before = time_of(c, 1);
    c->now_us += 60 * SECOND_US;
    cluster_tick(c, 1);
    CU_ASSERT_TRUE(time_of(c, 1) - before <= CLUSTER_ELECTION_US);
    cluster_destroy(&c);
}

/* The time without a leader lengthens leases by itself and no more. */
static void a_new_leader_goes_on_from_the_greatest_it_has_seen(void)
{
    struct cluster *c = with_leader(3);
    cluster_run(c, 5 * SECOND_US);
    cluster_crash(c, 1, 0);
    uint64_t seen = time_of(c, 2);
    CU_ASSERT_TRUE(seen > 4 * SECOND_US);
    cluster_time_out(c, 2);
    cluster_settle(c);
    CU_ASSERT_EQUAL_FATAL(cluster_status(c, 2).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(time_of(c, 2), seen);
    uint64_t since = c->now_us;
    cluster_run(c, 5 * SECOND_US);
    CU_ASSERT_TRUE(time_of(c, 2) > seen + 4 * SECOND_US);
    CU_ASSERT_TRUE(time_of(c, 2) <= seen + c->now_us - since);
    cluster_destroy(&c);
}

/* Trap 53: a leader that restarted and leads again has forgotten what others heard of it. What it grants then is stamped
 * earlier than they remember; none of them may hold that against it when it leads in turn. */
static void what_was_heard_before_a_restarted_leader_does_not_count(void)
{
    struct cluster *c = with_leader(3);
    cluster_run(c, 5 * SECOND_US);
    cluster_crash(c, 1, 0);
    cluster_start(c, 1);
    CU_ASSERT_TRUE(time_of(c, 1) < time_of(c, 2));
    cluster_elect(c, 1);
    cluster_run(c, SECOND_US);
    uint64_t stamped = raft_stamp_us(cluster_node(c, 1)->raft, c->now_us);
    uint64_t at_us = c->now_us;
    CU_ASSERT_TRUE(stamped < 3 * SECOND_US);
    cluster_crash(c, 1, 0);
    cluster_time_out(c, 2);
    cluster_settle(c);
    CU_ASSERT_EQUAL_FATAL(cluster_status(c, 2).role, RAFT_LEADER);
    cluster_run(c, SECOND_US);
    CU_ASSERT_TRUE(time_of(c, 2) <= stamped + c->now_us - at_us);
    CU_ASSERT_TRUE(time_of(c, 2) > stamped);
    cluster_destroy(&c);
}

/* What a leader said of whom this node has no entry counts for nothing: its log may hold grants that one never saw. */
static void what_a_leader_says_counts_beside_its_entries(void)
{
    struct cluster *c = with_leader(3);
    cluster_run(c, SECOND_US);
    cluster_crash(c, 1, 0);
    uint64_t heard = time_of(c, 2);
    struct raft_message ahead = {
        .type = RAFT_APPEND_ENTRIES,
        .from = 3,
        .to = 2,
        .term = cluster_status(c, 2).current_term + 1,
        .prev_log_index = cluster_status(c, 2).last_log_index,
        .prev_log_term = cluster_status(c, 2).current_term,
        .cluster_time_us = 60 * SECOND_US,
    };
    cluster_receive(c, &ahead);
    CU_ASSERT_EQUAL(time_of(c, 2), heard);
    cluster_destroy(&c);
}

/* After a restart only the stamps of what is applied are left; what is applied later is learned from as well. */
static void stamps_of_applied_entries_are_learned(void)
{
    struct cluster *c = cluster_create(3, 5);
    cluster_start_all(c);
    struct raft_event applied = {
        .type = RAFT_EVENT_APPLIED, .index = 0, .cluster_time_us = 7 * SECOND_US};
    cluster_step(c, 1, &applied);
    CU_ASSERT_EQUAL(time_of(c, 1), 7 * SECOND_US);
    applied.cluster_time_us = 3 * SECOND_US;
    cluster_step(c, 1, &applied);
    CU_ASSERT_EQUAL(time_of(c, 1), 7 * SECOND_US);
    cluster_elect(c, 1);
    CU_ASSERT_TRUE(time_of(c, 1) >= 7 * SECOND_US);
    CU_ASSERT_TRUE(time_of(c, 2) >= 7 * SECOND_US);

    struct raft_boot boot = {
        .id = 1,
        .now_us = 1,
        .election_timeout_ms = 1000,
        .heartbeat_ms = 100,
        .window_bytes = 1000,
        .append_bytes_max = 1000,
        .uncommitted_bytes_max = 1000,
        .apply_bytes_max = 1000,
        .cluster_time_us = 9 * SECOND_US,
    };
    struct raft *r = raft_create(&boot);
    struct raft_status status;
    raft_status(r, &status);
    CU_ASSERT_EQUAL(status.cluster_time_us, 9 * SECOND_US);
    raft_destroy(&r);
    cluster_destroy(&c);
}

/* No message of a peer may bring the time to where it could wrap. */
static void a_time_that_no_cluster_reaches_is_not_believed(void)
{
    struct cluster *c = with_leader(3);
    uint64_t before = time_of(c, 2);
    struct raft_message m = {
        .type = RAFT_APPEND_ENTRIES,
        .from = 1,
        .to = 2,
        .term = cluster_status(c, 1).current_term,
        .prev_log_index = 1,
        .prev_log_term = 1,
        .cluster_time_us = UINT64_MAX,
    };
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(time_of(c, 2), before);
    cluster_destroy(&c);
}

/*
 * What is stamped never comes to its deadline early: no time anywhere is further from an earlier stamp than the
 * clock has moved since. Over links that come and go for shorter than an election, leaders that change, and
 * stamps that are committed and learned from.
 */
static void nothing_stamped_ends_early(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct cluster *c = cluster_create(3, seed);
        c->delay_us_max = 30000;
        c->disk_us_max = 10000;
        cluster_start_all(c);
        uint64_t random = seed;
        uint64_t least_behind_us = UINT64_MAX; /* least (clock - stamp) so far */
        for (int i = 0; i < 1500; i++) {
            cluster_run(c, 10000 + random_below(&random, 20000));
            if (random_below(&random, 20) == 0) {
                uint64_t node = 1 + random_below(&random, 3);
                cluster_isolate(c, node, random_below(&random, 2) == 0);
            }
            for (uint64_t id = 1; id <= 3; id++) {
                CU_ASSERT_TRUE_FATAL(least_behind_us == UINT64_MAX ||
                                     time_of(c, id) <= c->now_us - least_behind_us);
            }
            for (uint64_t id = 1; id <= 3; id++) {
                if (cluster_status(c, id).role != RAFT_LEADER) {
                    continue;
                }
                uint64_t stamp = raft_stamp_us(cluster_node(c, id)->raft, c->now_us);
                CU_ASSERT_TRUE(stamp >= time_of(c, id));
                /* A leader that a quorum does not follow gets nothing committed; its stamps are nobody's. */
                if (random_below(&random, 3) == 0 && stamp <= c->now_us - CLUSTER_START_US) {
                    uint64_t others = 0;
                    for (uint64_t other = 1; other <= 3; other++) {
                        others += other != id && cluster_status(c, other).leader == id &&
                                  !c->cut[other][id] && !c->cut[id][other];
                    }
                    if (others > 0) {
                        struct raft_event applied = {.type = RAFT_EVENT_APPLIED,
                                                     .index = cluster_node(c, id)->applied_index,
                                                     .cluster_time_us = stamp};
                        cluster_step(c, id, &applied);
                        least_behind_us = c->now_us - stamp < least_behind_us ? c->now_us - stamp
                                                                              : least_behind_us;
                    }
                }
            }
        }
        CU_ASSERT_TRUE(least_behind_us != UINT64_MAX);
        cluster_destroy(&c);
    }
}

/* Granted while the followers are silent for a moment: what is confirmed when they speak again is not the lease's. */
static void a_stamp_holds_what_is_not_confirmed_yet(void)
{
    struct cluster *c = with_leader(3);
    cluster_run(c, SECOND_US);
    cluster_isolate(c, 1, true);
    cluster_run(c, CLUSTER_ELECTION_US * 6 / 10);
    CU_ASSERT_EQUAL_FATAL(cluster_status(c, 1).role, RAFT_LEADER);
    uint64_t before = time_of(c, 1);
    uint64_t stamp = raft_stamp_us(cluster_node(c, 1)->raft, c->now_us);
    CU_ASSERT_TRUE(stamp >= before + CLUSTER_ELECTION_US * 6 / 10);
    uint64_t at = c->now_us;
    cluster_isolate(c, 1, false);
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(time_of(c, 1) > before + CLUSTER_ELECTION_US / 2);
    CU_ASSERT_TRUE(time_of(c, 1) <= stamp + (c->now_us - at));
    /* Nor is it counted twice once it comes back in an applied entry. */
    stamp = raft_stamp_us(cluster_node(c, 1)->raft, c->now_us);
    at = c->now_us;
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED,
                                 .index = cluster_node(c, 1)->applied_index,
                                 .cluster_time_us = stamp};
    cluster_step(c, 1, &applied);
    cluster_run(c, SECOND_US);
    CU_ASSERT_TRUE(time_of(c, 1) <= stamp + (c->now_us - at));
    /* Who was stopped for long is not ahead by all of that. */
    c->now_us += 60 * SECOND_US;
    CU_ASSERT_TRUE(raft_stamp_us(cluster_node(c, 1)->raft, c->now_us) <=
                   stamp + SECOND_US + CLUSTER_ELECTION_US);
    cluster_destroy(&c);
}

static void answer_of_2(struct cluster *c, uint64_t sent_us)
{
    struct raft_message reply = {
        .type = RAFT_APPEND_REPLY,
        .from = 2,
        .to = 1,
        .term = cluster_status(c, 1).current_term,
        .granted = true,
        .match_index = 1,
        .sent_us = sent_us,
    };
    cluster_receive(c, &reply);
}

/*
 * Answers grow late, each a little more, so that the leader is never without one and what they confirm lies further and
 * further back; then they come all at once. A lease granted before that must not end early by what they make up for.
 * (Found by the simulator: an expiry 0.8 s after a lease of 1 s was asked for.)
 */
static void what_late_answers_confirm_is_not_made_up_for(void)
{
    struct cluster *c = with_leader(3);
    cluster_run(c, SECOND_US);
    c->network_held = true;
    uint64_t begin = c->now_us;
    uint64_t steps = 6 * CLUSTER_ELECTION_US / CLUSTER_HEARTBEAT_US;
    for (uint64_t i = 1; i <= steps; i++) {
        c->now_us += CLUSTER_HEARTBEAT_US;
        cluster_tick(c, 1);
        answer_of_2(c, begin + i * CLUSTER_HEARTBEAT_US / 2);
    }
    CU_ASSERT_EQUAL_FATAL(cluster_status(c, 1).role, RAFT_LEADER);
    uint64_t stamp = raft_stamp_us(cluster_node(c, 1)->raft, c->now_us);
    uint64_t at = c->now_us;
    for (uint64_t i = steps + 1; i <= 2 * steps; i++) {
        answer_of_2(c, begin + i * CLUSTER_HEARTBEAT_US / 2);
        CU_ASSERT_TRUE_FATAL(time_of(c, 1) <= stamp + (c->now_us - at));
    }
    /* From then on it runs again. */
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    answer_of_2(c, c->now_us);
    CU_ASSERT_TRUE(time_of(c, 1) > stamp);
    CU_ASSERT_TRUE(time_of(c, 1) <= stamp + (c->now_us - at));
    cluster_destroy(&c);
}

SUITE("raft: cluster time", TEST(it_runs_with_a_quorum_and_followers_hear_it),
      TEST(a_single_node_keeps_time_without_anybody_speaking),
      TEST(it_stands_still_at_a_leader_without_a_quorum),
      TEST(an_acknowledgement_counts_from_when_the_append_was_sent),
      TEST(a_damaged_member_confirms_nothing), TEST(a_frozen_leader_does_not_jump),
      TEST(a_new_leader_goes_on_from_the_greatest_it_has_seen),
      TEST(what_was_heard_before_a_restarted_leader_does_not_count),
      TEST(what_a_leader_says_counts_beside_its_entries),
      TEST(stamps_of_applied_entries_are_learned),
      TEST(a_time_that_no_cluster_reaches_is_not_believed), TEST(nothing_stamped_ends_early),
      TEST(a_stamp_holds_what_is_not_confirmed_yet),
      TEST(what_late_answers_confirm_is_not_made_up_for))
