/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk_health.c: a leader whose disk hangs gives way to members whose disks work, and only to those; nobody leads
 * or stands for election while his disk hangs; what was proposed meanwhile is committed by the others' disks (Thesis
 * §10.2.1). Whether there is room is known to all. Traps 9, 12, 49.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define STALL_MS 1500
#define STALL_US (UINT64_C(1000) * STALL_MS)

static struct cluster *with_leader(size_t count)
{
    struct cluster *c = cluster_create(count, 11);
    c->disk_stall_ms = STALL_MS;
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_run(c, CLUSTER_ELECTION_US);
    return c;
}

/* A write that reaches everybody but the held disks. */
static void propose(struct cluster *c, uint64_t id)
{
    CU_ASSERT_EQUAL(cluster_propose(c, id, "x"), OK);
    cluster_settle(c);
}

/* Trap 49: heartbeats go on without the disk, and the leader goes within 2 s all the same. */
static void a_leader_whose_disk_hangs_gives_way(void)
{
    struct cluster *c = with_leader(3);
    cluster_disk_hold(c, 1, true);
    propose(c, 1);
    uint64_t last = cluster_status(c, 1).last_log_index;
    CU_ASSERT_TRUE(cluster_status(c, 1).durable_index < last);
    /* committed by the others' disks, Thesis §10.2.1; not applied here, for it is not durable here */
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, last);
    CU_ASSERT_TRUE(cluster_status(c, 1).last_applied < last);
    CU_ASSERT_EQUAL(cluster_status(c, 2).last_applied, last);

    cluster_run(c, STALL_US - CLUSTER_HEARTBEAT_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    CU_ASSERT_FALSE(cluster_status(c, 1).disk_hangs);
    propose(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, last + 1);
    cluster_run(c, 500000);
    uint64_t leader = cluster_leader(c);
    CU_ASSERT_NOT_EQUAL(leader, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_TRUE(cluster_status(c, 1).disk_hangs);
    CU_ASSERT_EQUAL(cluster_propose(c, leader, "y"), OK);
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_status(c, leader).commit_index > last + 1);

    /* it comes back to nothing but work */
    cluster_disk_hold(c, 1, false);
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_leader(c), leader);
    CU_ASSERT_FALSE(cluster_status(c, 1).disk_hangs);
    CU_ASSERT_EQUAL(cluster_status(c, 1).disk_age_us, 0);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* An idle leader has no write that waits: nothing is known of its disk, and nobody suffers. */
static void without_a_write_nothing_happens(void)
{
    struct cluster *c = with_leader(3);
    cluster_disk_hold(c, 1, true);
    cluster_run(c, 4 * STALL_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).disk_age_us, 0);
    cluster_destroy(&c);
}

/* It stays where nobody would do better: all hang; a majority with the third; alone; switched off. */
static void it_stays_if_nobody_is_better(void)
{
    struct cluster *c = with_leader(3);
    cluster_disk_hold(c, 1, true);
    cluster_disk_hold(c, 3, true);
    propose(c, 1);
    cluster_run(c, 3 * STALL_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 0);
    /* with 3's disk there is a majority again without 1's */
    cluster_disk_hold(c, 3, false);
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_NOT_EQUAL(cluster_leader(c), 1);
    cluster_destroy(&c);

    c = with_leader(2);
    cluster_disk_hold(c, 1, true);
    propose(c, 1);
    cluster_run(c, 3 * STALL_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    cluster_destroy(&c);

    c = with_leader(3);
    cluster_isolate(c, 3, true);
    cluster_disk_hold(c, 1, true);
    propose(c, 1);
    cluster_run(c, 3 * STALL_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    cluster_destroy(&c);

    c = cluster_create(3, 11);
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_run(c, CLUSTER_ELECTION_US);
    cluster_disk_hold(c, 1, true);
    propose(c, 1);
    cluster_run(c, 3 * STALL_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    cluster_destroy(&c);
}

/* A member with a slow disk is no target either, whoever wishes it. */
static void a_slow_disk_is_no_target(void)
{
    struct cluster *c = with_leader(3);
    cluster_disk_hold(c, 2, true);
    propose(c, 1);
    cluster_run(c, STALL_US);
    struct raft_progress p;
    CU_ASSERT_TRUE(raft_progress_of(cluster_node(c, 1)->raft, 2, &p));
    CU_ASSERT_TRUE(p.disk_age_us >= STALL_US - 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 2), ERR_BAD_TRANSFEREE);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 0), OK);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 3);
    cluster_destroy(&c);
}

/* A transfer whose timeout_now is lost costs an election timeout; then it ceases to lead, and they elect. */
static void if_the_transfer_comes_to_nothing_it_steps_down(void)
{
    struct cluster *c = with_leader(3);
    cluster_disk_hold(c, 1, true);
    propose(c, 1);
    bool lost = false;
    for (size_t i = 0; i < 40 && cluster_status(c, 1).role == RAFT_LEADER; i++) {
        c->network_held = true;
        c->now_us += CLUSTER_HEARTBEAT_US;
        cluster_tick(c, 1);
        lost = cluster_lose(c, 1, 2, RAFT_TIMEOUT_NOW) || cluster_lose(c, 1, 3, RAFT_TIMEOUT_NOW) ||
               lost;
        c->network_held = false;
        cluster_settle(c);
    }
    CU_ASSERT_TRUE(lost);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_run(c, 3 * CLUSTER_ELECTION_US);
    CU_ASSERT_NOT_EQUAL(cluster_leader(c), 0);
    CU_ASSERT_NOT_EQUAL(cluster_leader(c), 1);
    cluster_destroy(&c);
}

/* While its disk hangs it neither asks for votes nor takes over; without it the others elect, and then they do not
 * elect it. */
static void it_does_not_stand_while_its_disk_hangs(void)
{
    struct cluster *c = with_leader(5);
    cluster_disk_hold(c, 2, true);
    propose(c, 1);
    cluster_run(c, STALL_US + CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(cluster_status(c, 2).disk_hangs);
    cluster_isolate(c, 1, true);
    cluster_isolate(c, 3, true);
    cluster_isolate(c, 4, true);
    cluster_isolate(c, 5, true);
    cluster_run(c, 5 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_status(c, 2).role, RAFT_FOLLOWER);
    CU_ASSERT_TRUE(cluster_status(c, 2).disk_hangs); /* ticks that come rarely are no sleep */
    struct raft_message now = {.type = RAFT_TIMEOUT_NOW,
                               .from = 1,
                               .to = 2,
                               .term = cluster_status(c, 2).current_term,
                               .last_log_index = cluster_status(c, 2).last_log_index};
    cluster_receive(c, &now);
    CU_ASSERT_EQUAL(cluster_status(c, 2).role, RAFT_FOLLOWER);
    cluster_disk_hold(c, 2, false);
    cluster_run(c, 3 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_status(c, 2).role, RAFT_PRE_CANDIDATE);
    cluster_destroy(&c);
}

/* Trap 9: what was slept through (SIGSTOP, a moved VM) is not the disk's. */
static void sleep_is_not_the_disks(void)
{
    struct cluster *c = with_leader(3);
    cluster_disk_hold(c, 1, true);
    propose(c, 1);
    c->now_us += 10 * STALL_US;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).disk_age_us, 0);
    CU_ASSERT_FALSE(cluster_status(c, 1).disk_hangs);
    cluster_run(c, CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(cluster_status(c, 1).disk_age_us >= CLUSTER_HEARTBEAT_US / 2);
    cluster_destroy(&c);
}

static void say_space(struct cluster *c, uint64_t id, bool low)
{
    struct raft_event event = {.type = RAFT_EVENT_SPACE, .low_space = low};
    cluster_step(c, id, &event);
}

static bool all_know(struct cluster *c, bool low)
{
    cluster_run(c, 3 * CLUSTER_HEARTBEAT_US);
    for (uint64_t id = 1; id <= c->count; id++) {
        if (cluster_status(c, id).cluster_low_space != low) {
            return false;
        }
    }
    return true;
}

static void all_know_when_a_voter_is_short_of_room(void)
{
    struct cluster *c = with_leader(3);
    CU_ASSERT_TRUE(all_know(c, false));
    say_space(c, 3, true);
    CU_ASSERT_TRUE(all_know(c, true));
    CU_ASSERT_FALSE(cluster_status(c, 2).low_space);
    say_space(c, 1, true);
    say_space(c, 3, false);
    CU_ASSERT_TRUE(all_know(c, true));
    say_space(c, 1, false);
    CU_ASSERT_TRUE(all_know(c, false));
    /* who is gone needs no room */
    say_space(c, 3, true);
    CU_ASSERT_TRUE(all_know(c, true));
    cluster_isolate(c, 3, true);
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_FALSE(cluster_status(c, 1).cluster_low_space);
    CU_ASSERT_FALSE(cluster_status(c, 2).cluster_low_space);
    cluster_destroy(&c);
}

static void a_learner_that_is_short_of_room_stops_nobody(void)
{
    struct cluster *c = cluster_create(4, 11);
    cluster_set_voters(c, 3);
    cluster_start_all(c);
    cluster_elect(c, 1);
    CU_ASSERT_EQUAL(cluster_change(c, 1, (const uint64_t[]){1, 2, 3, 0}, (const uint64_t[]){4, 0}),
                    OK);
    cluster_settle(c);
    say_space(c, 4, true);
    CU_ASSERT_TRUE(all_know(c, false));
    CU_ASSERT_TRUE(cluster_status(c, 4).low_space);
    cluster_destroy(&c);
}

SUITE("raft: disk health", TEST(a_leader_whose_disk_hangs_gives_way),
      TEST(without_a_write_nothing_happens), TEST(it_stays_if_nobody_is_better),
      TEST(a_slow_disk_is_no_target), TEST(if_the_transfer_comes_to_nothing_it_steps_down),
      TEST(it_does_not_stand_while_its_disk_hangs), TEST(sleep_is_not_the_disks),
      TEST(all_know_when_a_voter_is_short_of_room),
      TEST(a_learner_that_is_short_of_room_stops_nobody))
