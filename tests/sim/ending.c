/* SPDX-License-Identifier: Apache-2.0 */
/* ending.c: see ending.h. */
#include "ending.h"

#include "node/apply_actor.h"

#define FINISH_US_MAX  60000000
#define WATCHES_US_MAX 600000000
#define STEP_US        100000
#define QUIET_US       8000000

/* Nobody expects anything of it in the end. */
static bool is_out(const struct cluster *c, size_t node)
{
    return c->machines[node].state == MACHINE_LOST || c->machines[node].gone ||
           cluster_is_stranded(c, node) || !members_has(c, node);
}

static bool clients_finished(const struct cluster *c)
{
    for (size_t i = 0; i < c->node_count; i++) {
        const struct machine *m = &c->machines[i];
        if (is_out(c, i)) {
            continue;
        }
        if (m->state != MACHINE_RUNNING) {
            return false;
        }
        for (size_t k = 0; k < m->actors->client_count; k++) {
            if (!client_finished(m->actors->clients[k])) {
                return false;
            }
        }
    }
    return true;
}

static bool all_applied(const struct cluster *c)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (is_out(c, i)) {
            continue;
        }
        if (c->machines[i].state != MACHINE_RUNNING) {
            return false;
        }
        struct raft_status s;
        raft_status(cluster_core(c, i), &s);
        if (s.last_applied != c->checks.model.count || s.may_not_vote) {
            return false;
        }
    }
    return true;
}

/* Nobody keeps a lease alive any more, so all of them end. */
static bool leases_ended(const struct cluster *c)
{
    return c->checks.model.leases_alive == 0;
}

static bool watches_done(const struct cluster *c)
{
    for (size_t i = 0; i < c->watches.count; i++) {
        struct watch_sub *s = &((struct cluster *)(uintptr_t)c)->watches.subs[i];
        if (s->owned && is_out(c, s->node - 1)) {
            continue; /* its node lacks what all others have */
        }
        if (!watch_sub_is_done(&c->watches, s)) {
            return false;
        }
    }
    return true;
}

/* Into the log: which watches wait, and where. */
static void say_watches(const struct cluster *c)
{
    for (size_t i = 0; i < c->watches.count; i++) {
        struct watch_sub *s = &((struct cluster *)(uintptr_t)c)->watches.subs[i];
        if (!watch_sub_is_done(&c->watches, s)) {
            log_event(LOG_WARNING, "watch waits",
                      "sub=%zu node=n%zu owned=%d next=%" PRId64 " events=%" PRIu64, i, s->node,
                      s->owned, s->next_revision, s->events);
        }
    }
}

static void run_until(struct cluster *c, bool (*done)(const struct cluster *c), const char *what)
{
    uint64_t end_us = runner_now_us(c->runner) + FINISH_US_MAX;
    uint64_t last_us = runner_now_us(c->runner) + WATCHES_US_MAX;
    uint64_t events = c->watches.events;
    while (!c->failed && !done(c)) {
        if (done == watches_done && c->watches.events > events && end_us < last_us) {
            /* Small windows, acknowledged now and then: it takes a while, but it goes on. */
            events = c->watches.events;
            end_us = runner_now_us(c->runner) + FINISH_US_MAX;
        }
        if (runner_now_us(c->runner) >= end_us) {
            char members[CLUSTER_TEXT_MAX / 2] = "";
            if (c->plan.on) {
                members_say(c, members, sizeof(members));
            }
            if (done == watches_done) {
                say_watches(c);
            }
            cluster_fail(c, "not live: %d s after everything healed %s; %s",
                         FINISH_US_MAX / 1000000, what, members);
            return;
        }
        runner_run(c->runner, runner_now_us(c->runner) + STEP_US);
    }
}

static void final_states(struct cluster *c)
{
    for (size_t i = 0; i < c->node_count && !c->failed; i++) {
        if (c->machines[i].state != MACHINE_RUNNING) {
            continue;
        }
        c->figures.stranded += cluster_is_stranded(c, i);
        if (is_out(c, i)) {
            continue;
        }
        struct kv *kv = apply_actor_kv(runner_private_of(c->machines[i].actors->apply));
        uint64_t hash = 0;
        if (kv_hash(kv, &hash) != OK) {
            cluster_fail(c, "n%zu: kv_hash fails after everything healed", i + 1);
        }
        if (kv_revision(kv) != c->checks.model.revision) {
            cluster_fail(c, "n%zu ends at revision %" PRId64 ", should be %" PRId64, i + 1,
                         kv_revision(kv), c->checks.model.revision);
        }
        checks_hash(&c->checks, i, kv_applied_index(kv), hash);
    }
}

/* Whoever was removed and runs disturbs nobody: with nothing going wrong no term passes (trap 7). */
static void run_quiet(struct cluster *c)
{
    uint64_t term = c->checks.greatest_term;
    if (!c->plan.on || c->failed) {
        return;
    }
    runner_run(c->runner, runner_now_us(c->runner) + QUIET_US);
    if (c->checks.greatest_term != term) {
        cluster_fail(c, "terms pass although all is well: %" PRIu64 ", before %" PRIu64,
                     c->checks.greatest_term, term);
    }
}

void ending_run(struct cluster *c)
{
    c->load.finishing = true;
    if (c->plan.on) {
        run_until(c, members_settled, "the members are not as they should be");
    }
    run_until(c, clients_finished, "a client still waits for a linearizable read");
    run_until(c, leases_ended, "a lease that nobody keeps has not ended");
    run_until(c, watches_done, "a watch lacks events");
    run_until(c, all_applied, "a node has not applied everything or may not vote");
    final_states(c);
    run_quiet(c);
    members_finish(c);
    if (!c->failed) {
        history_judge(&c->history);
    }
}
