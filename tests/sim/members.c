/* SPDX-License-Identifier: Apache-2.0 */
/* members.c: see members.h. */
#include "members.h"

#include "cluster.h"

#include <stdio.h>
#include <string.h>

#define REQUEST_US      3000000 /* for a request, and again for one that was forwarded */
#define RISK_US         8000000 /* after which nothing of it is under way any more */
#define BELIEF_US       10000000 /* so long a dead node may be thought alive: what it sent was late */
#define PAUSE_US_MAX    4000000
#define PERSON_US       3000000
#define FIRST_START_MAX 25000000
#define COUNTER_FIRST   (UINT64_C(1) << 48) /* beyond what clients count to */

static uint64_t draw(struct members_plan *plan, uint64_t least, uint64_t most)
{
    return least + random_below(&plan->random, most - least + 1);
}

/* ---- the plan ------------------------------------------------------------------------------------------ */

void members_draw(struct members_plan *plan, uint64_t seed, size_t *node_count)
{
    static const size_t founders[] = {1, 1, 3, 3, 3, 5};
    static const uint32_t voters[] = {3, 3, 3, 5, WISH_VOTERS_AUTO, CONFIG_VOTERS_LISTED};
    *plan = (struct members_plan){.random = seed ^ UINT64_C(0x6d656d62657273)};
    plan->on = draw(plan, 0, 2) == 0;
    if (!plan->on) {
        return;
    }
    plan->founders = founders[draw(plan, 0, ARRAY_COUNT(founders) - 1)];
    plan->declared = draw(plan, 0, 4) == 0;
    plan->voters = voters[draw(plan, 0, ARRAY_COUNT(voters) - 1)];
    plan->heal_after_s = draw(plan, 0, 7) == 0 ? WISH_HEAL_NEVER : (uint32_t)draw(plan, 1, 8);
    size_t least = plan->founders + 1 > 4 ? plan->founders + 1 : 4;
    *node_count = (size_t)draw(plan, least, CLUSTER_NODES_MAX);
}

static void list_member(struct config *config, size_t machine)
{
    struct config_member *m = &config->members[config->member_count++];
    (void)snprintf(m->name, sizeof(m->name), "n%zu", machine + 1);
    (void)snprintf(m->peer, sizeof(m->peer), "n%zu:2380", machine + 1);
    (void)snprintf(m->client, sizeof(m->client), "n%zu:2379", machine + 1);
}

static void join_all(struct config *config, size_t own, size_t count)
{
    config->bootstrap = false;
    config->join_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (i != own) {
            char *address = config->join[config->join_count++];
            (void)snprintf(address, sizeof(config->join[0]), "n%zu:2380", i + 1);
        }
    }
}

void members_config(const struct members_plan *plan, size_t node, struct config *config)
{
    bool founds = node < plan->founders;
    config->member_count = 0;
    config->node_index = 0;
    if (founds && plan->founders > 1) {
        for (size_t i = 0; i < plan->founders; i++) {
            list_member(config, i);
        }
        config->node_index = node;
    } else {
        list_member(config, node);
        config->bootstrap = founds;
        if (!founds) {
            join_all(config, node, plan->founders);
        }
    }
    config->voters = plan->voters;
    config->heal_after_s = plan->heal_after_s;
    config->admit_declared = plan->declared;
    config->request_timeout_ms = REQUEST_US / 1000;
    if (config->raft.log_keep_bytes == 0) {
        config->raft.log_keep_bytes = 30000;
    }
}

uint64_t members_first_start_us(struct members_plan *plan, size_t node, uint64_t drawn_us)
{
    return node < plan->founders ? drawn_us : draw(plan, 0, FIRST_START_MAX);
}

/* ---- looking -------------------------------------------------------------------------------------------- */

static size_t machine_of(const struct cluster *c, uint64_t id)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (id != 0 && c->checks.nodes[i].member_id == id) {
            return i;
        }
    }
    return SIZE_MAX;
}

static bool machine_works(const struct cluster *c, size_t node)
{
    return !c->machines[node].gone && c->machines[node].state != MACHINE_LOST;
}

static bool was_removed(const struct cluster *c, size_t node)
{
    return map_get(&c->checks.removed, c->checks.nodes[node].member_id, 0) != NULL;
}

/* Its log is there, and it may vote. */
static bool is_whole(const struct cluster *c, size_t node)
{
    const struct machine *m = &c->machines[node];
    const struct checks_node *n = &c->checks.nodes[node];
    return machine_works(c, node) && !m->flipped && !m->spoiling_disk && !n->excused &&
           !(n->seen_any && n->seen.may_not_vote);
}

static bool destroyed_lately(const struct cluster *c, size_t node)
{
    const struct machine *m = &c->machines[node];
    return m->destroyed_us != 0 && runner_now_us(c->runner) < m->destroyed_us + BELIEF_US;
}

/* The configurations that may be in force are the newest committed one and newer ones in anybody's log. 0: one is
 * joint, so that nothing may be lost now. */
static size_t fewest_voters(const struct cluster *c)
{
    const struct configuration *settled = &c->checks.settled;
    size_t fewest = configuration_voter_count(settled);
    if (configuration_is_joint(settled)) {
        return 0;
    }
    for (size_t i = 0; i < c->node_count; i++) {
        const struct checks_voters *v = &c->checks.nodes[i].force;
        if (v->index > c->checks.settled_index && checks_voters_joint(v)) {
            return 0;
        }
        if (v->index > c->checks.settled_index && v->count < fewest) {
            fewest = v->count;
        }
    }
    if (settled->wish.voters != WISH_VOTERS_AUTO && settled->wish.voters < fewest) {
        fewest = settled->wish.voters;
    }
    return fewest;
}

static bool may_vote_somewhere(const struct cluster *c, uint64_t id)
{
    if (configuration_is_voter(&c->checks.settled, id)) {
        return true;
    }
    for (size_t i = 0; i < c->node_count; i++) {
        const struct checks_voters *v = &c->checks.nodes[i].force;
        if (v->index > c->checks.settled_index && checks_voters_have(v, id)) {
            return true;
        }
    }
    return false;
}

/* Voters that are gone or not whole, and whoever may still be taken for alive. but: not counted. */
static size_t doubtful(const struct cluster *c, size_t but)
{
    size_t count = 0;
    for (size_t i = 0; i < c->node_count; i++) {
        bool votes = may_vote_somewhere(c, c->checks.nodes[i].member_id);
        count += i != but && ((votes && !is_whole(c, i)) || destroyed_lately(c, i) ||
                              c->machines[i].spoiling_disk);
    }
    const struct configuration *settled = &c->checks.settled;
    for (size_t i = 0; i < settled->count; i++) {
        const struct member *m = &settled->members[i];
        size_t at = machine_of(c, m->id);
        count += m->voter_incoming && at == SIZE_MAX;
    }
    return count;
}

bool members_may_destroy(const struct cluster *c, size_t node)
{
    if (was_removed(c, node)) {
        return true;
    }
    return c->checks.model.count > 0 && c->checks.settled.count > 0 && is_whole(c, node) &&
           runner_now_us(c->runner) >= c->plan.risk_until_us &&
           (doubtful(c, node) + 1) * 2 < fewest_voters(c);
}

bool members_has(const struct cluster *c, size_t node)
{
    uint64_t id = c->checks.nodes[node].member_id;
    return !c->plan.on || (id != 0 && configuration_find(&c->checks.settled, id) >= 0);
}

/* ---- asking ----------------------------------------------------------------------------------------------- */

void members_ask(struct cluster *c, size_t node, const struct member_request *request)
{
    const struct machine *m = &c->machines[node];
    if (m->state != MACHINE_RUNNING) {
        return;
    }
    struct raft_change_members *change =
        MSG_NEW(struct raft_change_members, RAFT_CHANGE_MEMBERS, NULL);
    change->group = GROUP_DEFAULT;
    change->request_id = REQUEST_ID(0, COUNTER_FIRST + ++c->plan.counter);
    change->deadline_us = runner_node_clock_us(c->runner, node + 1) + REQUEST_US;
    change->request = *request;
    c->members.requests++;
    log_event(LOG_INFO, "people ask",
              "asked=n%zu action=%d id=%016" PRIx64 " name=%s peer=%s voters=%u", node + 1,
              (int)request->action, request->id, request->name, request->peer,
              request->wish.voters);
    if (request->action == MEMBER_REMOVE || request->action == MEMBER_REPLACE) {
        struct members_asked *a =
            &c->plan.removals[c->plan.counter % ARRAY_COUNT(c->plan.removals)];
        *a = (struct members_asked){
            .request_id = change->request_id, .id = request->id, .node = node};
    }
    ACTOR_SEND(m->actors->raft, change);
}

void members_answered(struct cluster *c, size_t node, uint64_t request_id)
{
    for (size_t i = 0; i < ARRAY_COUNT(c->plan.removals); i++) {
        struct members_asked *a = &c->plan.removals[i];
        if (a->request_id != 0 && a->request_id == request_id && a->node == node) {
            a->done = true;
            c->members.removals_done++;
        }
    }
}

/* 3. Looked at in the end: a removal is committed a moment before anybody hands it out, and lasts. */
static void check_removals(struct cluster *c)
{
    for (size_t i = 0; i < ARRAY_COUNT(c->plan.removals); i++) {
        const struct members_asked *a = &c->plan.removals[i];
        if (a->done && a->id != 0 && configuration_find(&c->checks.settled, a->id) >= 0) {
            cluster_fail(c, "n%zu said that member %016" PRIx64 " is removed; it is still there",
                         a->node + 1, a->id);
        }
    }
}

/* ---- what people want ---------------------------------------------------------------------------------------- */

static void risk(struct cluster *c)
{
    c->plan.risk_until_us = runner_now_us(c->runner) + RISK_US;
}

/* People take no voter away while another one is in doubt. */
static bool all_whole(const struct cluster *c)
{
    return doubtful(c, SIZE_MAX) == 0;
}

static const struct member *draw_member(struct cluster *c)
{
    const struct configuration *settled = &c->checks.settled;
    return &settled->members[draw(&c->plan, 0, settled->count - 1)];
}

static bool draw_request(struct cluster *c, struct member_request *r)
{
    static const uint32_t voters[] = {3, 3, 5, 5, WISH_VOTERS_AUTO, 1};
    const struct member *m = draw_member(c);
    struct members_plan *plan = &c->plan;
    *r = (struct member_request){.id = m->id};
    switch (draw(plan, 0, 9)) {
    case 0:
        r->action = MEMBER_ADD;
        r->id = random_next(&plan->random) | 1;
        r->learner = draw(plan, 0, 1) == 0;
        (void)snprintf(r->peer, sizeof(r->peer), "n%zu:2380", (size_t)draw(plan, 1, c->node_count));
        return true;
    case 1:
        r->action = MEMBER_UPDATE;
        (void)snprintf(r->peer, sizeof(r->peer), "%s:%u", m->name,
                       (unsigned)draw(plan, 2380, 2382));
        return true;
    case 2:
    case 3:
        r->action = MEMBER_REMOVE;
        break;
    case 4:
        r->action = MEMBER_REPLACE;
        memcpy(r->name, m->name, sizeof(r->name));
        r->id = 0;
        break;
    case 5:
        r->action = MEMBER_PROMOTE;
        break;
    default:
        r->action = MEMBER_WISH;
        r->set_voters = true;
        r->wish.voters = voters[draw(plan, 0, ARRAY_COUNT(voters) - 1)];
        r->set_heal_after_s = draw(plan, 0, 1) == 0;
        r->wish.heal_after_s = (uint32_t)draw(plan, 0, 8);
        r->set_paused = draw(plan, 0, 2) == 0;
        r->wish.paused = draw(plan, 0, 3) == 0;
        break;
    }
    return all_whole(c);
}

static size_t draw_asked(struct cluster *c)
{
    size_t leader = cluster_leader(c);
    bool any = leader == SIZE_MAX || draw(&c->plan, 0, 2) == 0;
    return any ? (size_t)draw(&c->plan, 0, c->node_count - 1) : leader;
}

/* ---- what befalls machines --------------------------------------------------------------------------------------- */

static void wipe(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    cluster_crash_node(c, node, DISK_CUT_POWER);
    if (m->state != MACHINE_OFF) {
        return;
    }
    log_event(LOG_INFO, "disk emptied", "node=n%zu", node + 1);
    cluster_wipe_node(c, node);
    m->destroyed_us = runner_now_us(c->runner);
    /* Who has founded the cluster alone does not do so again: the rest of that risk is documented. */
    if (m->config.bootstrap) {
        join_all(&m->config, node, c->node_count);
    }
    c->members.wiped++;
}

static void kill_for_good(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    cluster_crash_node(c, node, DISK_CUT_POWER);
    if (m->state != MACHINE_OFF) {
        return;
    }
    log_event(LOG_INFO, "machine is gone", "node=n%zu", node + 1);
    m->gone = true;
    m->destroyed_us = runner_now_us(c->runner);
    c->members.gone++;
}

static void come_back(struct cluster *c, size_t node)
{
    c->machines[node].gone = false;
    c->members.returned++;
    if (draw(&c->plan, 0, 1) == 0) {
        wipe(c, node);
    }
    cluster_restart_later(c, node, 1000);
}

static void befall(struct cluster *c)
{
    size_t node = (size_t)draw(&c->plan, 0, c->node_count - 1);
    struct machine *m = &c->machines[node];
    if (m->gone) {
        come_back(c, node);
    } else if (m->boot > 0 && machine_works(c, node) && members_may_destroy(c, node)) {
        if (draw(&c->plan, 0, 2) == 0 && !was_removed(c, node)) {
            kill_for_good(c, node);
        } else {
            wipe(c, node);
        }
    }
}

static void call_act(void *context, uint64_t argument)
{
    struct cluster *c = context;
    UNUSED(argument);
    if (c->plan.healed) {
        return;
    }
    struct member_request request;
    if (c->checks.settled.count == 0) {
        /* nothing to change yet */
    } else if (draw(&c->plan, 0, 2) == 0) {
        befall(c);
    } else if (draw_request(c, &request)) {
        risk(c);
        members_ask(c, draw_asked(c), &request);
    }
    runner_at(c->runner, runner_now_us(c->runner) + draw(&c->plan, 200000, PAUSE_US_MAX), call_act,
              c, 0);
}

void members_begin(struct cluster *c)
{
    if (c->plan.on) {
        call_act(c, 0);
    }
}

/* ---- setting right what is left ----------------------------------------------------------------------------------- */

/* An empty node whose name is still a voter's, or that nobody declared. */
static bool help_in(struct cluster *c, size_t leader, size_t node)
{
    const struct machine *m = &c->machines[node];
    if (m->state != MACHINE_RUNNING || members_has(c, node) || was_removed(c, node)) {
        return false;
    }
    if (m->config.join_count + 1 < c->node_count) {
        /* Whom it joins or lists may be members no more. */
        struct config *config = &c->machines[node].config;
        config->members[0] = config->members[config->node_index];
        config->member_count = 1;
        config->node_index = 0;
        join_all(config, node, c->node_count);
        cluster_crash_node(c, node, DISK_CUT_PROCESS);
        return false;
    }
    struct member_request r = {0};
    const char *name = m->config.members[m->config.node_index].name;
    if (configuration_find_name(&c->checks.settled, name) >= 0) {
        r.action = MEMBER_REPLACE;
        memcpy(r.name, name, sizeof(r.name));
    } else if (c->plan.declared) {
        r.action = MEMBER_ADD;
        r.id = random_next(&c->plan.random) | 1;
        r.learner = true;
        memcpy(r.peer, m->config.members[m->config.node_index].peer, sizeof(r.peer));
    } else {
        return false;
    }
    members_ask(c, leader, &r);
    return true;
}

static void call_person(void *context, uint64_t argument)
{
    struct cluster *c = context;
    UNUSED(argument);
    size_t leader = cluster_leader(c);
    const struct cluster_wish *wish = &c->checks.settled.wish;
    if (leader != SIZE_MAX && (wish->paused || wish->heal_after_s == WISH_HEAL_NEVER)) {
        struct member_request r = {.action = MEMBER_WISH,
                                   .set_paused = true,
                                   .set_heal_after_s = true,
                                   .wish = {.heal_after_s = 3}};
        members_ask(c, leader, &r);
    } else if (leader != SIZE_MAX) {
        for (size_t i = 0; i < c->node_count; i++) {
            if (help_in(c, leader, i)) {
                break; /* one at a time */
            }
        }
    }
    runner_at(c->runner, runner_now_us(c->runner) + PERSON_US, call_person, c, 0);
}

void members_heal(struct cluster *c)
{
    if (c->plan.on) {
        c->plan.healed = true;
        runner_at(c->runner, runner_now_us(c->runner) + PERSON_US, call_person, c, 0);
    }
}

/* ---- checks -------------------------------------------------------------------------------------------------------- */

/* Since when nobody with this identity can answer any more; 0: somebody can. */
static uint64_t dead_since_us(const struct cluster *c, uint64_t id)
{
    size_t at = machine_of(c, id);
    if (at != SIZE_MAX) {
        return machine_works(c, at) ? 0 : c->machines[at].destroyed_us;
    }
    for (size_t i = 0; i < c->checks.grave_count; i++) {
        if (c->checks.graves[i].member_id == id) {
            return c->checks.graves[i].at_us;
        }
    }
    return 0;
}

void members_changed(struct cluster *c, size_t node, const struct configuration *now)
{
    size_t promoted = 0, demoted = 0, voted = 0, votes = 0, alive = 0;
    bool joint = configuration_is_joint(now);
    c->members.configurations++;
    c->members.joint += joint;
    if (!joint) {
        return;
    }
    for (size_t i = 0; i < now->count; i++) {
        const struct member *m = &now->members[i];
        uint64_t dead_us = dead_since_us(c, m->id);
        promoted += m->voter_incoming && !m->voter_outgoing;
        demoted += m->voter_outgoing && !m->voter_incoming && !m->leaving;
        voted += m->voter_outgoing;
        votes += m->voter_incoming;
        alive +=
            m->voter_incoming && (dead_us == 0 || runner_now_us(c->runner) < dead_us + BELIEF_US);
    }
    size_t wished = now->wish.voters == WISH_VOTERS_AUTO ? voted : now->wish.voters;
    if (demoted > promoted + (voted > wished ? voted - wished : 0)) { /* 1 */
        cluster_fail(c, "n%zu demotes %zu of %zu voters and promotes %zu, wished are %zu", node + 1,
                     demoted, voted, promoted, wished);
    }
    if (2 * alive <= votes) { /* 2 */
        cluster_fail(c, "n%zu chooses %zu voters of whom %zu are alive", node + 1, votes, alive);
    }
}

/* Would take part, if it were asked. */
static bool is_sound(const struct cluster *c, uint64_t id)
{
    size_t at = machine_of(c, id);
    return at != SIZE_MAX && c->machines[at].state == MACHINE_RUNNING &&
           !(c->checks.nodes[at].seen_any && c->checks.nodes[at].seen.may_not_vote);
}

static bool voters_as_wished(const struct cluster *c)
{
    const struct configuration *k = &c->checks.settled;
    size_t lasting = 0, dead = 0, standbys = 0;
    for (size_t i = 0; i < k->count; i++) {
        const struct member *m = &k->members[i];
        bool sound = is_sound(c, m->id);
        lasting += m->voter_incoming || sound;
        dead += m->voter_incoming && !sound;
        standbys += !m->voter_incoming && sound;
    }
    const struct pilot_wish wish = {.voters = k->wish.voters};
    size_t voters = configuration_voter_count(k);
    size_t wanted = pilot_voters_wanted(&wish, lasting);
    bool enough = voters >= wanted && (wish.voters == PILOT_VOTERS_AUTO || voters <= wish.voters);
    return enough && (dead == 0 || standbys == 0);
}

void members_finish(struct cluster *c)
{
    if (c->plan.on) {
        check_removals(c);
    }
}

bool members_settled(const struct cluster *c)
{
    size_t leader = cluster_leader(c);
    const struct configuration *k = &c->checks.settled;
    if (leader == SIZE_MAX || k->count == 0 || configuration_is_joint(k) || k->wish.paused ||
        k->wish.heal_after_s == WISH_HEAL_NEVER ||
        c->checks.nodes[leader].seen.configuration_settled_index <
            c->checks.nodes[leader].seen.configuration_index) {
        return false;
    }
    for (size_t i = 0; i < c->node_count; i++) {
        bool runs = c->machines[i].state == MACHINE_RUNNING;
        if (machine_works(c, i) && (!runs || (!members_has(c, i) && !was_removed(c, i)))) {
            return false;
        }
    }
    return voters_as_wished(c);
}

void members_say(const struct cluster *c, char *out, size_t size)
{
    const struct configuration *k = &c->checks.settled;
    size_t leader = cluster_leader(c);
    int used = snprintf(
        out, size, "configuration %" PRIu64 ", leader n%zu, wish %u%s%s:", c->checks.settled_index,
        leader + 1, k->wish.voters, k->wish.paused ? " paused" : "",
        k->wish.heal_after_s == WISH_HEAL_NEVER ? " never heals" : "");
    for (size_t i = 0; i < k->count && used > 0 && (size_t)used < size; i++) {
        const struct member *m = &k->members[i];
        used += snprintf(out + used, size - (size_t)used, " %s%s%s%s", m->name,
                         m->voter_incoming ? "+" : "", m->voter_outgoing ? "-" : "",
                         is_sound(c, m->id) ? "" : "(unsound)");
    }
    for (size_t i = 0; i < c->node_count && used > 0 && (size_t)used < size; i++) {
        if (!members_has(c, i)) {
            used += snprintf(out + used, size - (size_t)used, " [n%zu %s]", i + 1,
                             was_removed(c, i)                         ? "removed"
                             : !machine_works(c, i)                    ? "gone"
                             : c->machines[i].state == MACHINE_RUNNING ? "not in"
                                                                       : "off");
        }
    }
}
