/* SPDX-License-Identifier: Apache-2.0 */
/* nemesis.c: see nemesis.h. */
#include "nemesis.h"

#include <string.h>

#define TRANSFER_INTERVAL_US_MAX 5000000

/* What a phase may hold; several at once. */
enum evil {
    EVIL_CRASHES,    /* processes and machines end, at any disk operation */
    EVIL_STOPS,      /* and in order */
    EVIL_PARTITION,  /* two sides */
    EVIL_ONE_WAY,    /* single directions are cut */
    EVIL_OLD_LEADER, /* a leader that speaks to nobody and hears late */
    EVIL_BAD_LINKS,  /* loss, repetition, reordering, resets */
    EVIL_SLOW_LINKS, /* delays about the election timeout */
    EVIL_SLOW_DISKS,
    EVIL_BAD_DISK, /* errors on one disk */
    EVIL_FULL_DISK,
    EVIL_PAUSES,        /* a node does not run for a while */
    EVIL_FROZEN_LEADER, /* ... the leader, for longer than leases last */
    EVIL_SLOW_ACTORS,
    EVIL_COUNT
};

struct nemesis {
    struct cluster *c;
    uint64_t random;
    uint64_t end_us;
    bool healed, quiet;
    uint64_t phase;
    size_t late_leader; /* the leader whose answers grow late; SIZE_MAX: none */
    uint32_t evils;     /* bit set of the seed: what may happen at all */
    bool transfers;     /* of the seed as well: the lead is moved */
    uint64_t
        transfer_random; /* its own, so that seeds without transfers draw what they always drew */
    bool active[EVIL_COUNT];
};

static uint64_t draw(struct nemesis *n, uint64_t least, uint64_t most)
{
    return least + random_below(&n->random, most - least + 1);
}

static bool one_in(struct nemesis *n, uint64_t count)
{
    return random_below(&n->random, count) == 0;
}

static size_t draw_node(struct nemesis *n)
{
    return (size_t)random_below(&n->random, n->c->node_count);
}

/* ---- single blows ------------------------------------------------------------------------------------ */

static void crash(struct nemesis *n, size_t node)
{
    cluster_crash_node(n->c, node, one_in(n, 2) ? DISK_CUT_POWER : DISK_CUT_PROCESS);
}

static void partition(struct nemesis *n)
{
    struct cluster *c = n->c;
    uint64_t side = random_next(&n->random);
    bool hold = one_in(n, 2);
    for (size_t a = 0; a < c->node_count; a++) {
        for (size_t b = 0; b < c->node_count; b++) {
            if (a != b && (side >> a & 1) != (side >> b & 1)) {
                net_cut(c->net, a, b, hold);
            }
        }
    }
}

static void one_way(struct nemesis *n)
{
    struct cluster *c = n->c;
    for (uint64_t i = draw(n, 1, c->node_count); i > 0; i--) {
        size_t a = draw_node(n), b = draw_node(n);
        if (a != b) {
            net_cut(c->net, a, b, one_in(n, 2));
        }
    }
}

/*
 * Trap 30: nobody hears the leader any more, but it goes on hearing answers to what it said long ago, so
 * that it does not notice; meanwhile the others elect another one. Answers may only grow late step by
 * step, each by less than the election timeout, or the leader would miss them and step down.
 *
 * Trap 11: or some of the others hear it and it hears nobody, so that they hold entries of its term which it
 * never commits.
 */
static uint64_t timeout_us_of(const struct nemesis *n)
{
    return 1000 * (uint64_t)n->c->machines[0].config.raft.election_timeout_ms;
}

static void old_leader_end(struct nemesis *n)
{
    n->late_leader = SIZE_MAX;
    net_heal_all(n->c->net);
    for (size_t a = 0; a < n->c->node_count; a++) {
        for (size_t b = 0; b < n->c->node_count; b++) {
            net_set_link_delay(n->c->net, a, b, 0);
        }
    }
}

static void cut_leader(struct nemesis *n, size_t leader, bool deaf)
{
    struct cluster *c = n->c;
    for (size_t i = 0; i < c->node_count; i++) {
        if (i == leader) {
            continue;
        }
        if (deaf) {
            net_cut(c->net, i, leader, false);
        }
        if (!deaf || one_in(n, 2)) {
            net_cut(c->net, leader, i, one_in(n, 2));
        }
    }
}

#define LATE_STEPS 5

static void call_late(void *context, uint64_t argument)
{
    struct nemesis *n = context;
    struct cluster *c = n->c;
    uint64_t step = argument & 0xff;
    if (n->healed || n->phase != argument >> 8 || n->late_leader == SIZE_MAX) {
        return;
    }
    if (step > LATE_STEPS || cluster_leader(c) != n->late_leader) {
        old_leader_end(n);
        return;
    }
    uint64_t timeout_us = timeout_us_of(n);
    if (step < LATE_STEPS) {
        for (size_t i = 0; i < c->node_count; i++) {
            if (i != n->late_leader) {
                net_set_link_delay(c->net, i, n->late_leader, step * timeout_us * 6 / 10);
            }
        }
    } else {
        cut_leader(n, n->late_leader, false);
        timeout_us *= 4;
    }
    runner_at(c->runner, runner_now_us(c->runner) + timeout_us, call_late, n, argument + 1);
}

static void old_leader(struct nemesis *n)
{
    struct cluster *c = n->c;
    size_t leader = cluster_leader(c);
    if (leader == SIZE_MAX || n->late_leader != SIZE_MAX) {
        return;
    }
    net_heal_all(c->net);
    if (one_in(n, 3)) {
        cut_leader(n, leader, true);
    } else {
        n->late_leader = leader;
        call_late(n, n->phase << 8 | 1);
    }
}

/* A failed read, write or sync of raft.db ends the node and makes its log count as damaged (traps 20,
 * 22): so on a minority only. */
static void bad_disk(struct nemesis *n, struct disk_faults *f)
{
    switch (draw(n, 0, 2)) {
    case 0:
        f->read_error = 2000;
        break;
    case 1:
        f->write_error = 3000;
        break;
    default:
        f->sync_error = 5000;
        break;
    }
}

static void set_disks(struct nemesis *n)
{
    struct cluster *c = n->c;
    for (size_t i = 0; i < c->node_count; i++) {
        c->machines[i].spoiling_disk = false;
    }
    size_t bad = n->active[EVIL_BAD_DISK] ? draw_node(n) : SIZE_MAX;
    if (bad != SIZE_MAX && !cluster_may_damage(c, bad)) {
        bad = SIZE_MAX;
    }
    size_t full = n->active[EVIL_FULL_DISK] ? draw_node(n) : SIZE_MAX;
    for (size_t i = 0; i < c->node_count; i++) {
        struct disk_faults f = {.sync_us_min = 50, .sync_us_max = 500};
        if (n->active[EVIL_SLOW_DISKS] && one_in(n, 2)) {
            f.sync_us_max = 30000;
            f.stall = 5000;
            f.stall_us = draw(n, 100000, 3000000);
        }
        if (i == bad) {
            bad_disk(n, &f);
        }
        f.full = i == full;
        c->machines[i].spoiling_disk = i == bad;
        c->machines[i].faulty_disk = i == bad || i == full;
        disk_set_faults(c->disk, i + 1, &f);
    }
}

static void set_links(struct nemesis *n)
{
    struct net_faults f = {.delay_us_min = 100, .delay_us_max = 1500};
    if (n->active[EVIL_SLOW_LINKS]) {
        f.delay_us_max = draw(n, 10000, 300000);
        f.slow_parts = (uint32_t)draw(n, 0, 100000);
        f.slow_us = draw(n, 100000, 3000000);
    }
    if (n->active[EVIL_BAD_LINKS]) {
        f.loss_parts = (uint32_t)draw(n, 0, 200000);
        f.repeat_parts = (uint32_t)draw(n, 0, 100000);
        f.reset_parts = (uint32_t)draw(n, 0, 10000);
        f.reorder = one_in(n, 2);
    }
    net_set_faults(n->c->net, &f);
    /* Answers that come when their question is long forgotten: each direction has its own delay. */
    bool uneven = n->active[EVIL_SLOW_LINKS] && one_in(n, 2);
    uint64_t most_us = 3000 * (uint64_t)n->c->machines[0].config.raft.election_timeout_ms;
    for (size_t a = 0; a < n->c->node_count; a++) {
        for (size_t b = 0; b < n->c->node_count; b++) {
            net_set_link_delay(n->c->net, a, b, uneven && one_in(n, 3) ? draw(n, 0, most_us) : 0);
        }
    }
}

static void set_pace(struct nemesis *n)
{
    struct runner_pace pace = {.hop_us_min = 1, .hop_us_max = 30, .handle_us = 2};
    if (n->active[EVIL_SLOW_ACTORS]) {
        pace.hop_us_max = draw(n, 30, 3000);
        pace.slow_parts = (uint32_t)draw(n, 1000, 20000);
        pace.slow_us = draw(n, 1000, 200000);
    }
    runner_set_pace(n->c->runner, &pace);
}

/* Trap 53: when it wakes, leases that others have kept alive meanwhile look long over to it; and when nobody else
 * leads by then, time must not jump. */
static void freeze_leader(struct nemesis *n)
{
    struct cluster *c = n->c;
    size_t leader = cluster_leader(c);
    if (leader == SIZE_MAX) {
        return;
    }
    uint64_t us = one_in(n, 2) ? draw(n, 0, timeout_us_of(n)) : draw(n, 1000000, 8000000);
    for (size_t i = 0; i < c->node_count; i++) {
        if (i == leader ||
            (us > 1000000 && one_in(n, 4))) { /* or with it those who would elect another */
            runner_pause_node(c->runner, i + 1, runner_now_us(c->runner) + us);
        }
    }
}

/*
 * A person moves the lead: to whoever is a member, whether it can take over or not, also to the leader itself, and
 * now and then a node is asked that does not lead. One time in six the asked node
 * is stopped in order instead, and a leader hands over first.
 */
static void transfer(struct nemesis *n)
{
    struct cluster *c = n->c;
    size_t asked = cluster_leader(c);
    if (random_below(&n->transfer_random, 8) == 0) {
        asked = (size_t)random_below(&n->transfer_random, c->node_count);
    }
    if (asked == SIZE_MAX) {
        return;
    }
    if (random_below(&n->transfer_random, 6) == 0) {
        cluster_stop_node(c, asked);
        return;
    }
    size_t target = (size_t)random_below(&n->transfer_random, c->node_count);
    cluster_move_leader(c, asked, target);
}

static void call_transfer(void *context, uint64_t argument)
{
    struct nemesis *n = context;
    UNUSED(argument);
    if (n->healed) {
        return;
    }
    transfer(n);
    runner_at(n->c->runner,
              runner_now_us(n->c->runner) + 100000 +
                  random_below(&n->transfer_random, TRANSFER_INTERVAL_US_MAX),
              call_transfer, n, 0);
}

/* ---- blows that come again and again within a phase ------------------------------------------------------ */

static void strike(struct nemesis *n)
{
    struct cluster *c = n->c;
    if (n->active[EVIL_CRASHES]) {
        size_t node = draw_node(n);
        if (one_in(n, 3)) {
            crash(n, node);
        } else {
            disk_die_after(c->disk, node + 1, draw(n, 1, 60));
        }
    }
    if (n->active[EVIL_STOPS] && one_in(n, 3)) {
        cluster_stop_node(c, draw_node(n));
    }
    if (n->active[EVIL_PARTITION] && one_in(n, 3)) {
        net_heal_all(c->net);
        partition(n);
    }
    if (n->active[EVIL_ONE_WAY] && one_in(n, 2)) {
        if (one_in(n, 2)) {
            net_heal_all(c->net);
        }
        one_way(n);
    }
    if (n->active[EVIL_OLD_LEADER] && one_in(n, 2)) {
        old_leader(n);
    }
    if (n->active[EVIL_FROZEN_LEADER] && one_in(n, 2)) {
        freeze_leader(n);
    }
    if (n->active[EVIL_PAUSES] && one_in(n, 2)) {
        runner_pause_node(c->runner, draw_node(n) + 1,
                          runner_now_us(c->runner) + draw(n, 10000, 4000000));
    }
}

static void call_strike(void *context, uint64_t argument)
{
    struct nemesis *n = context;
    if (n->healed || n->quiet || n->phase != argument) {
        return;
    }
    strike(n);
    runner_at(n->c->runner, runner_now_us(n->c->runner) + draw(n, 50000, 3000000), call_strike, n,
              argument);
}

/* ---- phases -------------------------------------------------------------------------------------------------- */

static void call_phase(void *context, uint64_t argument)
{
    struct nemesis *n = context;
    UNUSED(argument);
    if (n->healed) {
        return;
    }
    struct cluster *c = n->c;
    n->quiet = !n->quiet;
    n->phase++;
    n->late_leader = SIZE_MAX;
    memset(n->active, 0, sizeof(n->active));
    if (!n->quiet) {
        for (size_t i = 0; i < EVIL_COUNT; i++) {
            n->active[i] = (n->evils >> i & 1) && one_in(n, 3);
        }
    }
    net_heal_all(c->net);
    set_disks(n);
    set_links(n);
    set_pace(n);
    if (n->active[EVIL_PARTITION]) {
        partition(n);
    }
    if (n->active[EVIL_ONE_WAY]) {
        one_way(n);
    }
    uint64_t now_us = runner_now_us(c->runner);
    if (!n->quiet) {
        runner_at(c->runner, now_us + draw(n, 1000, 2000000), call_strike, n, n->phase);
    }
    runner_at(c->runner,
              now_us + (n->quiet ? draw(n, 1000000, 8000000) : draw(n, 2000000, 15000000)),
              call_phase, n, 0);
}

struct nemesis *nemesis_create(struct cluster *c, uint64_t length_us)
{
    struct nemesis *n = mem_zalloc(sizeof(*n));
    n->c = c;
    n->random = c->seed ^ UINT64_C(0x6576696c);
    n->end_us = length_us;
    n->evils = (uint32_t)random_next(&n->random) | (uint32_t)random_next(&n->random);
    c->flip_of_100 = one_in(n, 2) ? 50 : 0;
    n->quiet = one_in(n, 2); /* the first phase is the other kind */
    c->restart_us_max = one_in(n, 3) ? 10000000 : 1500000;
    call_phase(n, 0);
    n->transfer_random = c->seed ^ UINT64_C(0x7472616e73666572);
    n->transfers = random_below(&n->transfer_random, 3) == 0;
    if (n->transfers) {
        call_transfer(n, 0);
    }
    return n;
}

void nemesis_destroy(struct nemesis **nemesis)
{
    mem_free(*nemesis);
    *nemesis = NULL;
}

void nemesis_heal(struct nemesis *n)
{
    struct cluster *c = n->c;
    n->healed = true;
    memset(n->active, 0, sizeof(n->active));
    net_heal_all(c->net);
    set_disks(n);
    set_links(n);
    set_pace(n);
    c->restart_us_max = 500000;
    c->flip_of_100 = 0;
    c->dies_at_installs = false;
    for (size_t i = 0; i < c->node_count; i++) {
        disk_die_after(c->disk, i + 1, 0);
        runner_pause_node(c->runner, i + 1, 0);
        if (c->machines[i].state == MACHINE_OFF) {
            cluster_start_node(c, i);
        }
    }
}
