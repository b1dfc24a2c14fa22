/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios_members.c: stories of who belongs to the cluster; see scenarios.h. */
#include "scenarios.h"

#include <stdio.h>

static size_t other_than(const struct cluster *c, size_t a, size_t b)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (i != a && i != b && configuration_is_voter(&c->checks.settled, stage_id(c, i))) {
            return i;
        }
    }
    return a;
}

static size_t standby(const struct cluster *c)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (members_has(c, i) && !configuration_is_voter(&c->checks.settled, stage_id(c, i))) {
            return i;
        }
    }
    return 0;
}

static void expect_no_cluster(struct cluster *c)
{
    stage_expect(c, c->checks.cluster_id == 0, "nobody has founded a cluster");
}

static void wipe_and_start(struct cluster *c, size_t node)
{
    stage_crash(c, node);
    cluster_wipe_node(c, node);
    cluster_start_node(c, node);
}

/* ---- trap 45: two clusters ---------------------------------------------------------------------------------- */

/* Three nodes start from one list while the first cannot reach the others: neither side may found. */
static void one_list_two_sides(struct cluster *c)
{
    stage_isolate(c, 0);
    stage_start(c, 0, 3);
    stage_pass(c, 10000);
    expect_no_cluster(c);
    net_heal_all(c->net);
    stage_cut(c, 1, 2); /* the first hears both, these do not hear each other: it may found */
    stage_wait(c, stage_leads_another, SIZE_MAX, 20000, "a leader");
}

/* The founder of the list, or who founded alone, loses its disk: it must not found another one. */
static void wiped_founder(struct cluster *c)
{
    stage_start(c, 0, c->node_count);
    stage_wait(c, stage_voters_are, 3, 40000, "three vote");
    stage_settle(c, 3);
    wipe_and_start(c, 0);
    stage_pass(c, 10000);
    stage_expect(c, c->checks.nodes[0].durable.count == 0,
                 "an empty node whose name is a voter's has no log");
}

static void prepare_two_founders(struct cluster *c)
{
    for (size_t i = 0; i < 2; i++) {
        struct config *config = &c->machines[i].config;
        config->member_count = 2;
        config->members[0] = config->members[1] = c->machines[0].config.members[0];
        (void)snprintf(config->members[1].name, sizeof(config->members[1].name), "n2");
        (void)snprintf(config->members[1].peer, sizeof(config->members[1].peer), "n2:2380");
        config->node_index = i;
        config->join_count = 0;
        config->bootstrap = true;
    }
}

/* Both have bootstrap = true. Neither founds until a person has decided. */
static void two_founders(struct cluster *c)
{
    stage_start(c, 0, 2);
    stage_pass(c, 10000);
    expect_no_cluster(c);
    stage_crash(c, 1);
    c->machines[1].config.bootstrap = false;
    cluster_start_node(c, 1);
    stage_wait(c, stage_leads, 0, 20000, "the first has founded the cluster");
    stage_wait(c, stage_members_are, 2, 20000, "the second has joined");
}

/* ---- traps 37, 38: the published schedule of single-server changes ----------------------------------------------- */

/*
 * raft-dev 2015: of four, the first leader appends the addition of a fifth, alone; the second leader appends the removal
 * of the first one and, with three to vote from now on, could commit it with two; the first comes back and could be
 * elected by itself, the fifth, and one that never heard of the removal. Two majorities that share nobody.
 */
static void single_server_bug(struct cluster *c)
{
    stage_start(c, 0, 5);
    size_t first = stage_settle(c, 5);
    size_t fifth = standby(c);
    stage_isolate(c, first);
    stage_ask(c, first, MEMBER_PROMOTE, stage_id(c, fifth));
    stage_pass(c, 50);
    stage_expect(c, checks_voters_joint(&c->checks.nodes[first].force),
                 "the first leader has appended the fifth");
    stage_wait(c, stage_leads_another, first, 10000, "a second leader");
    if (c->failed) {
        return;
    }
    size_t second = cluster_leader(c);
    size_t deaf = other_than(c, first, second);
    stage_isolate(c, deaf);
    stage_ask(c, second, MEMBER_REMOVE, stage_id(c, first));
    stage_pass(c, 300);
    stage_expect(c, !stage_is_gone(c, first), "two of four do not remove one");
    /* Now the first, the fifth and the deaf one are together, and the others are cut off. */
    net_heal_all(c->net);
    for (size_t i = 0; i < c->node_count; i++) {
        for (size_t k = 0; k < c->node_count; k++) {
            bool here = i == first || i == fifth || i == deaf;
            bool there = k == first || k == fifth || k == deaf;
            if (here && !there) {
                stage_cut(c, i, k);
            }
        }
    }
    uint64_t committed = c->checks.commit_greatest;
    stage_pass(c, 8000);
    stage_expect(c, c->checks.commit_greatest == committed,
                 "neither two of four nor those with the fifth commit anything");
    net_heal_all(c->net);
    stage_wait(c, stage_leads_another, SIZE_MAX, 20000, "a leader");
    stage_wait(c, stage_all_caught_up, 0, 20000, "all have caught up");
}

/* ---- traps 38, 39: a leader that is cut off with a change begun -------------------------------------------------------- */

static bool has_begun(const struct cluster *c, size_t node)
{
    return checks_voters_joint(&c->checks.nodes[node].force);
}

static void change_of_a_lost_leader(struct cluster *c)
{
    stage_start(c, 0, 5);
    size_t first = stage_settle(c, 5);
    stage_wish(c, first, 5);
    stage_wait(c, has_begun, first, 20000, "the leader begins to grow");
    stage_isolate(c, first); /* what it has sent is lost */
    stage_wait(c, stage_leads_another, first, 10000, "another leader");
    stage_wait(c, stage_voters_are, 5, 20000, "that one grows the cluster");
    net_heal_all(c->net);
    stage_wait(c, stage_all_caught_up, 0, 20000, "all have caught up");
}

/* Trap 37: a leader is asked for a change the moment it is one; first it commits something of its own. */
static bool leads_at_all(const struct cluster *c, size_t not_node)
{
    size_t leader = cluster_leader(c);
    return leader != SIZE_MAX && leader != not_node;
}

static void change_of_a_new_leader(struct cluster *c)
{
    stage_start(c, 0, 4);
    size_t leader = stage_settle(c, 4);
    for (size_t round = 0; round < 4 && !c->failed; round++) {
        for (size_t i = 0; i < c->node_count;
             i++) { /* nothing is committed in the blink of an eye */
            for (size_t k = 0; k < c->node_count; k++) {
                net_set_link_delay(c->net, i, k, 20000);
            }
        }
        stage_isolate(c, leader);
        stage_wait(c, leads_at_all, leader, 10000, "a new leader");
        size_t before = leader;
        leader = cluster_leader(c);
        if (c->failed) {
            return;
        }
        stage_ask(c, leader, round % 2 == 0 ? MEMBER_PROMOTE : MEMBER_REMOVE,
                  stage_id(c, standby(c)));
        stage_pass(c, 2000);
        net_heal_all(c->net);
        stage_pass(c, 2000);
        leader = cluster_leader(c) == SIZE_MAX ? before : cluster_leader(c);
    }
}

/* Standbys hear everything and decide nothing: a leader with two of them and no other voter commits nothing. */
static void standbys_count_for_nothing(struct cluster *c)
{
    stage_start(c, 0, 5);
    size_t leader = stage_settle(c, 5);
    for (size_t i = 0; i < c->node_count; i++) {
        if (i != leader && configuration_is_voter(&c->checks.settled, stage_id(c, i))) {
            stage_isolate(c, i);
        }
    }
    stage_pass(c, 30);
    uint64_t committed = c->checks.commit_greatest;
    stage_pass(c, 8000);
    stage_expect(c, c->checks.commit_greatest == committed, "nothing is committed");
}

/* Trap 39: as many changes as people can think of, at once and everywhere; begun by one leader, ended by another. */
static void changes_at_once(struct cluster *c)
{
    stage_start(c, 0, 6);
    size_t leader = stage_settle(c, 6);
    for (size_t i = 0; i < c->node_count; i++) {
        if (!configuration_is_voter(&c->checks.settled, stage_id(c, i))) {
            stage_ask(c, leader, MEMBER_PROMOTE, stage_id(c, i));
        }
    }
    stage_ask(c, other_than(c, leader, leader), MEMBER_REMOVE,
              stage_id(c, other_than(c, leader, leader)));
    stage_wish(c, 5, 5);
    stage_wait(c, has_begun, leader, 10000, "one change has begun");
    cluster_move_leader(c, leader, other_than(c, leader, leader));
    stage_pass(c, 200);
    stage_crash(c, leader);
    stage_wait(c, stage_leads_another, leader, 10000, "another leader");
    stage_pass(c, 3000);
}

/* ---- trap 40: even sizes ---------------------------------------------------------------------------------------------- */

/* One of three is down. Five are reached in one step: four, of which three must answer, never decide. */
static void three_to_five_with_one_down(struct cluster *c)
{
    stage_start(c, 0, 5);
    size_t leader = stage_settle(c, 5);
    stage_crash(c, other_than(c, leader, leader));
    uint64_t before = c->members.joint;
    stage_pass(c, 1500);
    stage_wish(c, leader, 5);
    stage_wait(c, stage_voters_are, 5, 20000, "five vote");
    stage_expect(c, c->members.joint == before + 1, "it took one joint configuration");
}

/* ---- trap 41 ------------------------------------------------------------------------------------------------------------ */

static void leader_removes_itself(struct cluster *c)
{
    stage_start(c, 0, 4);
    size_t leader = stage_settle(c, 4);
    stage_ask(c, leader, MEMBER_REMOVE, stage_id(c, leader));
    stage_wait(c, stage_is_gone, leader, 5000, "the leader has removed itself");
    stage_wait(c, stage_leads_another, leader, 10000, "another one leads");
    uint64_t term = c->checks.greatest_term;
    stage_pass(c, 5000);
    stage_expect(c, c->checks.greatest_term == term, "it leaves the others alone");
}

/* Two vote, and the one that leads goes: the change needs both, what follows only the other. */
static void leader_removes_itself_of_two(struct cluster *c)
{
    stage_start(c, 0, 3);
    size_t leader = stage_settle(c, 3);
    stage_crash(c, other_than(c, leader, leader));
    stage_pass(c, 2000);
    stage_ask(c, leader, MEMBER_REMOVE, stage_id(c, other_than(c, leader, leader)));
    stage_wait(c, stage_voters_are, 2, 10000, "two vote");
    size_t stays = other_than(c, leader, leader);
    stage_isolate(c, leader);
    stage_ask(c, leader, MEMBER_REMOVE, stage_id(c, leader));
    uint64_t committed = c->checks.commit_greatest;
    stage_pass(c, 300);
    stage_expect(c, c->checks.commit_greatest == committed, "one of two commits nothing");
    net_heal_all(c->net);
    stage_wait(c, stage_is_gone, leader, 10000, "the leader has removed itself");
    stage_wait(c, stage_leads, stays, 10000, "who stays leads");
}

/* Trap 7: removed while it was off, it never hears of it. */
static void removed_while_down(struct cluster *c)
{
    stage_start(c, 0, 4);
    size_t leader = stage_settle(c, 4);
    size_t gone = other_than(c, leader, leader);
    stage_crash(c, gone);
    stage_pass(c, 2000);
    stage_ask(c, leader, MEMBER_REMOVE, stage_id(c, gone));
    stage_wait(c, stage_is_gone, gone, 10000, "it is removed");
    uint64_t term = c->checks.greatest_term;
    cluster_start_node(c, gone);
    stage_pass(c, 10000);
    stage_expect(c, c->checks.greatest_term == term, "it leaves the others alone");
}

/* ---- traps 42, 43 --------------------------------------------------------------------------------------------------------- */

static bool stands_by(const struct cluster *c, size_t node)
{
    return members_has(c, node) && !configuration_is_voter(&c->checks.settled, stage_id(c, node));
}

/* A voter loses its disk: refused until the standby votes in its place, then a standby itself. */
static void wiped_voter(struct cluster *c)
{
    stage_start(c, 0, 4);
    size_t leader = stage_settle(c, 4);
    size_t wiped = other_than(c, leader, leader);
    size_t heir = standby(c);
    uint64_t before = stage_id(c, wiped);
    wipe_and_start(c, wiped);
    stage_wait(c, stands_by, wiped, 20000, "the empty node stands by");
    stage_expect(c, stage_id(c, wiped) != before, "it has another identity");
    stage_expect(c, configuration_is_voter(&c->checks.settled, stage_id(c, heir)),
                 "the standby votes in its place");
    stage_expect(c, stage_voters_are(c, 3), "three vote");
}

static bool is_member(const struct cluster *c, size_t node)
{
    return members_has(c, node);
}

/* One is away while all others lose their disks, one after the other. What it knows of them is wrong when it comes back:
 * their names are bound to identities that are no more. */
static void returns_among_strangers(struct cluster *c)
{
    stage_start(c, 0, 5);
    stage_settle(c, 5);
    size_t away = standby(c);
    stage_crash(c, away);
    for (size_t i = 0; i < c->node_count && !c->failed; i++) {
        if (i != away) {
            wipe_and_start(c, i);
            stage_pass(c, 500);
            stage_wait(c, is_member, i, 30000, "the empty node is a member");
            stage_pass(c, 4000);
            stage_wait(c, stage_voters_are, 3, 30000, "three vote");
        }
    }
    cluster_start_node(c, away);
    stage_wait(c, stage_all_caught_up, 0, 20000, "who was away has caught up");
}

/* While half of the cluster is silent, and while most of it is, no vote is taken from anybody. */
static void silence_shrinks_nothing(struct cluster *c)
{
    stage_start(c, 0, 5);
    size_t leader = stage_settle(c, 5);
    size_t a = other_than(c, leader, leader);
    size_t b = other_than(c, leader, a);
    uint64_t before = c->members.configurations;
    stage_isolate(c, a);
    stage_isolate(c, b);
    stage_pass(c, 15000);
    size_t third = SIZE_MAX;
    for (size_t i = 0; i < c->node_count; i++) {
        third = i != a && i != b && i != cluster_leader(c) ? i : third;
    }
    stage_isolate(c, third);
    stage_pass(c, 15000);
    stage_expect(c, c->members.configurations == before, "no configuration was appended");
    stage_expect(c, stage_voters_are(c, 5), "five vote");
}

static bool has_healed(const struct cluster *c, size_t dead)
{
    return stage_voters_are(c, 3) && !configuration_is_voter(&c->checks.settled, stage_id(c, dead));
}

/* A voter dies for good; the standby that should take its place is only half there. */
static void no_removal_before_promotion(struct cluster *c)
{
    stage_start(c, 0, 3);
    size_t leader = stage_settle(c, 3);
    size_t dead = other_than(c, leader, leader);
    stage_crash(c, dead);
    c->machines[dead].gone = true;
    c->machines[dead].destroyed_us = runner_now_us(c->runner);
    stage_pass(c, 10000);
    stage_expect(c, stage_voters_are(c, 3), "without a standby three vote");
    cluster_start_node(c, 3);
    stage_wait(c, stage_members_are, 4, 20000, "a standby has come");
    stage_wait(c, stage_voters_are, 3, 20000, "three vote");
    stage_wait(c, has_healed, dead, 20000, "the standby votes in its place");
}

const struct scenario scenarios_members[] = {
    {"one_list_two_sides", 3, 3, 3, 3, 500, 30000, false, NULL, one_list_two_sides},
    {"wiped_founder_of_a_list", 3, 3, 3, 3, 500, 30000, false, NULL, wiped_founder},
    {"wiped_founder_alone", 3, 1, 3, 3, 500, 30000, false, NULL, wiped_founder},
    {"two_founders", 2, 1, 3, 3, 500, 30000, false, prepare_two_founders, two_founders},
    {"single_server_bug", 5, 4, 4, WISH_HEAL_NEVER, 500, 30000, false, NULL, single_server_bug},
    {"change_of_a_lost_leader", 5, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL,
     change_of_a_lost_leader},
    {"change_of_a_new_leader", 4, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL,
     change_of_a_new_leader},
    {"standbys_count_for_nothing", 5, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL,
     standbys_count_for_nothing},
    {"changes_at_once", 6, 3, 3, 3, 500, 30000, false, NULL, changes_at_once},
    {"three_to_five_with_one_down", 5, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL,
     three_to_five_with_one_down},
    {"leader_removes_itself", 4, 3, 3, 3, 500, 30000, false, NULL, leader_removes_itself},
    {"leader_removes_itself_of_two", 3, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL,
     leader_removes_itself_of_two},
    {"removed_while_down", 4, 3, 3, WISH_HEAL_NEVER, 500, 30000, false, NULL, removed_while_down},
    {"wiped_voter", 4, 3, 3, 2, 500, 30000, false, NULL, wiped_voter},
    {"returns_among_strangers", 5, 3, 3, 1, 500, 30000, false, NULL, returns_among_strangers},
    {"silence_shrinks_nothing", 5, 5, 5, 1, 500, 30000, false, NULL, silence_shrinks_nothing},
    {"no_removal_before_promotion", 4, 3, 3, 1, 500, 30000, false, NULL,
     no_removal_before_promotion},
};
const size_t scenarios_members_count = ARRAY_COUNT(scenarios_members);
