/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios.c: see scenarios.h: the stage. */
#include "scenarios.h"

#include <string.h>

#define LOOK_US 1000

static const struct scenario *scenario_of(size_t number)
{
    return number < scenarios_members_count ? &scenarios_members[number]
                                            : &scenarios_lead[number - scenarios_members_count];
}

size_t scenario_count(void)
{
    return scenarios_members_count + scenarios_lead_count;
}

const char *scenario_name(size_t number)
{
    return scenario_of(number)->name;
}

/* Nothing goes wrong but what the story tells. */
static void calm(struct cluster *c)
{
    const struct disk_faults disk = {.sync_us_min = 50, .sync_us_max = 500};
    const struct net_faults links = {.delay_us_min = 100, .delay_us_max = 1500};
    const struct runner_pace pace = {.hop_us_min = 1, .hop_us_max = 30, .handle_us = 2};
    for (size_t i = 0; i < c->node_count; i++) {
        disk_set_faults(c->disk, i + 1, &disk);
        runner_pause_node(c->runner, i + 1, 0);
        for (size_t k = 0; k < c->node_count; k++) {
            net_set_link_delay(c->net, i, k, 0);
        }
    }
    net_heal_all(c->net);
    net_set_faults(c->net, &links);
    runner_set_pace(c->runner, &pace);
    c->dies_at_installs = false;
}

struct cluster *scenario_create(size_t number, bool verbose)
{
    const struct scenario *s = scenario_of(number);
    const struct members_plan plan = {.on = true,
                                      .random = number,
                                      .founders = s->founders,
                                      .voters = s->voters,
                                      .heal_after_s = s->heal_after_s};
    struct cluster *c = cluster_create(number + 1, s->machines, &plan, verbose);
    c->restarts = false;
    c->load = (struct client_load){.key_count = 3,
                                   .slots = 2,
                                   .think_us_max = 40000,
                                   .timeout_us_min = 300000,
                                   .timeout_us_max = 1000000,
                                   .put_of_100 = 40,
                                   .delete_of_100 = 5,
                                   .value_bytes_max = 40};
    for (size_t i = 0; i < c->node_count; i++) {
        struct config *config = &c->machines[i].config;
        config->raft.election_timeout_ms = s->election_timeout_ms;
        config->raft.heartbeat_ms = s->election_timeout_ms / 5;
        config->raft.leader_lease = s->leader_lease;
        config->raft.log_keep_bytes = s->log_keep_bytes;
        config->raft.window_bytes = 1 << 20;
        config->raft.append_bytes_max = 1 << 20;
        config->raft.apply_bytes_max = 1 << 20;
        config->raft.uncommitted_bytes_max = 1 << 20;
        config->kv.flush_interval_ms = 50;
        config->compaction.keep_s = 2;
        runner_set_clock(c->runner, i + 1, 1000000 * i, 0);
    }
    calm(c);
    if (s->prepare != NULL) {
        s->prepare(c);
    }
    return c;
}

void scenario_play(struct cluster *c, size_t number)
{
    scenario_of(number)->play(c);
    calm(c);
    c->restarts = true;
    c->restart_us_max = 1000000;
    for (size_t i = 0; i < c->node_count && !c->failed; i++) {
        if (c->machines[i].state == MACHINE_OFF) {
            cluster_start_node(c, i);
        }
    }
    stage_pass(c, 3000);
}

/* ---- what stories are told with ---------------------------------------------------------------------------- */

void stage_start(struct cluster *c, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        cluster_start_node(c, i);
    }
}

void stage_pass(struct cluster *c, uint64_t ms)
{
    if (!c->failed) {
        runner_run(c->runner, runner_now_us(c->runner) + ms * 1000);
    }
}

void stage_wait(struct cluster *c, bool (*is)(const struct cluster *c, size_t argument),
                size_t argument, uint64_t ms, const char *what)
{
    uint64_t end_us = runner_now_us(c->runner) + ms * 1000;
    while (!c->failed && !is(c, argument)) {
        if (runner_now_us(c->runner) >= end_us) {
            cluster_fail(c, "waited %" PRIu64 " ms for this: %s", ms, what);
            return;
        }
        runner_run(c->runner, runner_now_us(c->runner) + LOOK_US);
    }
}

void stage_expect(struct cluster *c, bool holds, const char *what)
{
    if (!holds && !c->failed) {
        cluster_fail(c, "it does not hold that %s", what);
    }
}

void stage_cut(struct cluster *c, size_t a, size_t b)
{
    net_cut(c->net, a, b, false);
    net_cut(c->net, b, a, false);
}

void stage_isolate(struct cluster *c, size_t node)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (i != node) {
            stage_cut(c, i, node);
        }
    }
}

void stage_ask(struct cluster *c, size_t node, enum member_action action, uint64_t id)
{
    const struct member_request request = {.action = action, .id = id};
    members_ask(c, node, &request);
}

void stage_wish(struct cluster *c, size_t node, uint32_t voters)
{
    const struct member_request request = {
        .action = MEMBER_WISH, .set_voters = true, .wish = {.voters = voters}};
    members_ask(c, node, &request);
}

void stage_crash(struct cluster *c, size_t node)
{
    cluster_crash_node(c, node, DISK_CUT_PROCESS);
}

uint64_t stage_id(const struct cluster *c, size_t node)
{
    return c->checks.nodes[node].member_id;
}

bool stage_leads(const struct cluster *c, size_t node)
{
    return cluster_leader(c) == node && c->checks.nodes[node].seen.term_committed;
}

bool stage_leads_another(const struct cluster *c, size_t not_node)
{
    size_t leader = cluster_leader(c);
    return leader != SIZE_MAX && leader != not_node && c->checks.nodes[leader].seen.term_committed;
}

bool stage_voters_are(const struct cluster *c, size_t count)
{
    return !configuration_is_joint(&c->checks.settled) &&
           configuration_voter_count(&c->checks.settled) == count;
}

bool stage_members_are(const struct cluster *c, size_t count)
{
    return !configuration_is_joint(&c->checks.settled) && c->checks.settled.count == count;
}

bool stage_all_caught_up(const struct cluster *c, size_t unused)
{
    UNUSED(unused);
    for (size_t i = 0; i < c->node_count; i++) {
        const struct checks_node *n = &c->checks.nodes[i];
        if (members_has(c, i) &&
            (!n->running || !n->seen_any || n->seen.last_applied + 20 < c->checks.model.count)) {
            return false;
        }
    }
    return true;
}

bool stage_is_gone(const struct cluster *c, size_t node)
{
    return !members_has(c, node) && !configuration_is_joint(&c->checks.settled);
}

size_t stage_settle(struct cluster *c, size_t members)
{
    stage_wait(c, stage_leads_another, SIZE_MAX, 20000, "a leader");
    stage_wait(c, stage_members_are, members, 20000, "all are members");
    stage_wait(c, stage_all_caught_up, 0, 20000, "all have caught up");
    /* A standby that was heard for long enough, and a leader that has seen everybody. */
    stage_pass(c, 6000);
    stage_wait(c, stage_leads_another, SIZE_MAX, 20000, "a leader");
    size_t leader = cluster_leader(c);
    return leader == SIZE_MAX ? 0 : leader;
}
