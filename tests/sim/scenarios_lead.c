/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios_lead.c: stories of who leads, and of what followers are fed with; see scenarios.h. */
#include "scenarios.h"

#define ROUNDS 6

/* Everybody asks all the time, so that what could be read wrongly is read. */
static void prepare_readers(struct cluster *c)
{
    c->load.slots = 2;
    c->load.think_us_max = 12000;
    c->load.put_of_100 = 25;
    c->load.key_count = 1;
    c->load.timeout_us_min = 100000;
    c->load.timeout_us_max = 400000;
}

static size_t next_to(const struct cluster *c, size_t node)
{
    return (node + 1) % c->node_count;
}

static size_t leader_now(struct cluster *c)
{
    stage_wait(c, stage_leads_another, SIZE_MAX, 20000, "a leader");
    size_t leader = cluster_leader(c);
    return leader == SIZE_MAX ? 0 : leader;
}

/* ---- traps 10, 34, 35: reads by lease ------------------------------------------------------------------------ */

/* Trap 34: the leader hands over and does not hear for a while that it worked. */
static void transfer_under_a_lease(struct cluster *c)
{
    stage_start(c, 0, 3);
    for (size_t round = 0; round < ROUNDS && !c->failed; round++) {
        size_t leader = leader_now(c);
        stage_pass(c, 500);
        for (size_t i = 0; i < c->node_count; i++) {
            net_set_link_delay(c->net, i, leader, 250000);
        }
        stage_pass(c, 1200);
        cluster_move_leader(c, leader, next_to(c, leader));
        stage_wait(c, stage_leads, next_to(c, leader), 3000, "who was meant to leads");
        stage_pass(c, 1500);
        for (size_t i = 0; i < c->node_count; i++) {
            net_set_link_delay(c->net, i, leader, 0);
        }
        stage_pass(c, 1000);
    }
}

static void prepare_clocks(struct cluster *c)
{
    prepare_readers(c);
    for (size_t i = 0; i < c->node_count; i++) {
        runner_set_clock(c->runner, i + 1, 1000000 * i, i == 0 ? -100000 : 100000);
    }
}

/* Trap 35: the leader's clock is slow, all others are fast, and they do not hear each other any more. */
static void lease_of_a_slow_clock(struct cluster *c)
{
    stage_start(c, 0, 5);
    leader_now(c);
    for (size_t round = 0; round < 3 && !c->failed; round++) {
        for (size_t i = 0; i < 40 && !c->failed && !stage_leads(c, 0); i++) {
            cluster_move_leader(c, leader_now(c), 0);
            stage_pass(c, 500);
        }
        stage_wait(c, stage_leads, 0, 5000, "the slow one leads");
        stage_pass(c, 1000);
        stage_isolate(c, 0);
        stage_wait(c, stage_leads_another, 0, 10000, "another leader");
        stage_pass(c, 1000);
        net_heal_all(c->net);
        stage_pass(c, 2000);
    }
}

/* Trap 10: a voter that has just promised to follow restarts, and somebody who has not heard the leader for long asks
 * it for its vote. */
static void promise_of_a_restarted_voter(struct cluster *c)
{
    stage_start(c, 0, 3);
    for (size_t round = 0; round < ROUNDS && !c->failed; round++) {
        size_t leader = leader_now(c);
        size_t asks = next_to(c, leader);
        size_t restarts = next_to(c, asks);
        stage_pass(c, 2000);
        stage_cut(c, leader, asks);
        stage_pass(c, 2300);
        if (cluster_leader(c) != leader) {
            net_heal_all(c->net);
            continue;
        }
        stage_cut(c, leader, restarts);
        stage_crash(c, restarts);
        cluster_start_node(c, restarts);
        stage_wait(c, stage_leads_another, leader, 10000, "another leader");
        stage_pass(c, 1000);
        net_heal_all(c->net);
        stage_pass(c, 1000);
    }
}

/* ---- trap 50: transfers that come to nothing ------------------------------------------------------------------ */

static uint64_t writes_done(const struct cluster *c)
{
    return c->checks.model.count;
}

static void transfer_to_nobody(struct cluster *c)
{
    stage_start(c, 0, 3);
    size_t leader = stage_settle(c, 3);
    size_t target = next_to(c, leader);
    /* It is off. */
    stage_crash(c, target);
    stage_pass(c, 100);
    cluster_move_leader(c, leader, target);
    stage_pass(c, 3000);
    stage_expect(c, stage_leads(c, leader), "nothing changes when the target is off");
    cluster_start_node(c, target);
    stage_pass(c, 3000);
    /* It goes when it should take over: writes wait for it at most an election timeout. */
    leader = leader_now(c);
    target = next_to(c, leader);
    uint64_t before = c->figures.timeouts_now;
    stage_isolate(c, target);
    cluster_move_leader(c, leader, target);
    stage_pass(c, 1500);
    uint64_t written = writes_done(c);
    stage_pass(c, 2000);
    stage_expect(c, writes_done(c) > written + 20, "the leader goes on writing");
    stage_expect(c, c->figures.timeouts_now <= before + 1, "the target is told once");
    stage_expect(c, stage_leads(c, leader), "the leader still leads");
}

static void prepare_short_log(struct cluster *c)
{
    c->load.think_us_max = 20000;
    c->load.slots = 3;
    c->load.value_bytes_max = 400;
}

/* Who needs a snapshot does not become leader, asked or not. */
static void transfer_to_one_far_behind(struct cluster *c)
{
    stage_start(c, 0, 3);
    size_t leader = stage_settle(c, 3);
    size_t target = next_to(c, leader);
    stage_crash(c, target);
    stage_pass(c, 8000);
    uint64_t snapshots = c->checks.snapshots_installed;
    cluster_start_node(c, target);
    for (size_t i = 0; i < 100 && c->checks.snapshots_installed == snapshots && !c->failed; i++) {
        cluster_move_leader(c, leader, target);
        stage_pass(c, 5);
        stage_expect(c, cluster_leader(c) != target || c->checks.snapshots_installed > snapshots,
                     "it does not lead before it has the snapshot");
    }
    stage_expect(c, c->checks.snapshots_installed > snapshots, "it needed a snapshot");
}

/* ---- traps 46, 47, 48, 58: snapshots ---------------------------------------------------------------------------- */

/* The node ends at each of the disk's operations about an install in turn. */
static void install_cut_short(struct cluster *c)
{
    stage_start(c, 0, 3);
    size_t leader = stage_settle(c, 3);
    size_t away = next_to(c, leader);
    for (size_t round = 0; round < ROUNDS && !c->failed; round++) {
        stage_crash(c, away);
        stage_pass(c, 1500);
        c->dies_at_installs = true;
        c->restarts = true;
        c->restart_us_max = 100000;
        cluster_start_node(c, away);
        stage_pass(c, 1500);
        c->dies_at_installs = false;
        stage_pass(c, 500);
        c->restarts = false;
        if (c->machines[away].state == MACHINE_OFF) {
            cluster_start_node(c, away);
        }
        stage_wait(c, stage_all_caught_up, 0, 20000, "it has caught up");
    }
    stage_expect(c, c->checks.snapshots_installed > 3, "snapshots were installed");
}

/* Trap 47: the next table comes while the one before has been given to raft.db and is not yet the living one: its files are
 * not the next one's to overwrite. */
static void snapshots_in_quick_succession(struct cluster *c)
{
    stage_start(c, 0, 3);
    size_t leader = stage_settle(c, 3);
    size_t slow = next_to(c, leader);
    const struct disk_faults disk = {.stall = DISK_PARTS / 2, .stall_us = 300000};
    for (size_t round = 0; round < 12 && !c->failed; round++) {
        stage_isolate(c, slow);
        stage_pass(c, 600);
        disk_set_faults(c->disk, slow + 1, &disk);
        net_heal_all(c->net);
        stage_pass(c, 1500);
    }
    stage_expect(c, c->checks.snapshots_installed > 6, "snapshots were installed");
}

static void prepare_slow_snapshots(struct cluster *c)
{
    c->load.value_bytes_max = 200;
    for (size_t i = 0; i < c->node_count; i++) {
        c->machines[i].config.raft.snapshot_bytes_per_second = 20000;
    }
}

/* Trap 48: the log that would be trimmed moves on while a snapshot is on its slow way. */
static void log_moves_under_a_snapshot(struct cluster *c)
{
    stage_start(c, 0, 3);
    stage_settle(c, 3);
    stage_pass(c, 5000);
    cluster_start_node(c, 3);
    stage_wait(c, stage_members_are, 4, 20000, "the fourth is a member");
    stage_wait(c, stage_all_caught_up, 0, 60000, "the fourth has caught up");
    stage_expect(c, c->checks.snapshots_installed >= 1, "it took a snapshot");
    stage_expect(c, c->figures.snapshots_sent < 20, "it did not take one after the other");
}

/* ---- trap 49 -------------------------------------------------------------------------------------------------------- */

/* The leader's disk hangs. It gives way, and does not lead again while it does. */
static void leader_of_a_hanging_disk(struct cluster *c)
{
    stage_start(c, 0, 3);
    size_t leader = stage_settle(c, 3);
    const struct disk_faults hangs = {.stall = DISK_PARTS, .stall_us = 4000000};
    disk_set_faults(c->disk, leader + 1, &hangs);
    stage_wait(c, stage_leads_another, leader, 6000, "another leader");
    for (size_t i = 0; i < 20 && !c->failed; i++) {
        stage_pass(c, 500);
        stage_expect(c, cluster_leader(c) != leader, "who hangs does not lead");
    }
    uint64_t written = writes_done(c);
    stage_pass(c, 2000);
    stage_expect(c, writes_done(c) > written + 20, "the others go on");
}

/* ---- trap 44 ---------------------------------------------------------------------------------------------------------- */

/* Power fails everywhere at once, right after the members have changed: all wake up with the same members. */
static void members_after_a_power_cut(struct cluster *c)
{
    stage_start(c, 0, 5);
    size_t leader = stage_settle(c, 5);
    stage_wish(c, leader, 5);
    stage_wait(c, stage_voters_are, 5, 20000, "five vote");
    for (size_t i = 0; i < c->node_count; i++) {
        cluster_crash_node(c, i, DISK_CUT_POWER);
    }
    stage_start(c, 0, 5);
    leader_now(c);
    stage_wait(c, stage_all_caught_up, 0, 20000, "all have caught up");
    for (size_t i = 0; i < c->node_count && !c->failed; i++) {
        const struct raft *core = cluster_core(c, i);
        stage_expect(c, core != NULL && configuration_voter_count(raft_configuration(core)) == 5,
                     "everybody knows that five vote");
    }
}

const struct scenario scenarios_lead[] = {
    {"transfer_under_a_lease", 3, 3, 3, WISH_HEAL_NEVER, 1000, 30000, true, prepare_readers,
     transfer_under_a_lease},
    {"lease_of_a_slow_clock", 5, 5, 5, WISH_HEAL_NEVER, 1000, 30000, true, prepare_clocks,
     lease_of_a_slow_clock},
    {"promise_of_a_restarted_voter", 3, 3, 3, WISH_HEAL_NEVER, 1000, 30000, true, prepare_readers,
     promise_of_a_restarted_voter},
    {"transfer_to_nobody", 3, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL, transfer_to_nobody},
    {"transfer_to_one_far_behind", 3, 3, 3, WISH_HEAL_NEVER, 500, 5000, false, prepare_short_log,
     transfer_to_one_far_behind},
    {"install_cut_short", 3, 3, 3, WISH_HEAL_NEVER, 500, 3000, false, prepare_short_log,
     install_cut_short},
    {"snapshots_in_quick_succession", 3, 3, 3, WISH_HEAL_NEVER, 500, 1000, false, prepare_short_log,
     snapshots_in_quick_succession},
    {"log_moves_under_a_snapshot", 4, 3, 3, WISH_HEAL_NEVER, 500, 100000, false,
     prepare_slow_snapshots, log_moves_under_a_snapshot},
    {"leader_of_a_hanging_disk", 3, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL,
     leader_of_a_hanging_disk},
    {"members_after_a_power_cut", 5, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL,
     members_after_a_power_cut},
};
const size_t scenarios_lead_count = ARRAY_COUNT(scenarios_lead);
