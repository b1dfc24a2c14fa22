/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pilot.c: the autopilot's rules one by one, and all of them together on random views (trap 43:
 * silence shrinks no quorum, nobody goes before his replacement votes, nothing without a majority of the
 * old configuration; trap 40: odd numbers, 3 -> 5 -> 3 in one step). (src/pilot/pilot.c)
 */
#include "suite.h"

#include "pilot.h"

#define SECOND UINT64_C(1000000)

struct world {
    struct configuration configuration;
    struct pilot_view view;
    struct pilot_wish wish;
};

/* `voters` voters n1.., then `standbys` standbys; all alive, caught up and steady; n1 leads. */
static void world_make(struct world *w, size_t voters, size_t standbys)
{
    memset(w, 0, sizeof(*w));
    w->configuration.cluster_id = 1;
    w->configuration.count = voters + standbys;
    for (size_t i = 0; i < voters + standbys; i++) {
        struct member *m = &w->configuration.members[i];
        m->id = 100 + i;
        (void)snprintf(m->name, sizeof(m->name), "n%zu", i + 1);
        m->voter_incoming = m->voter_outgoing = i < voters;
        w->view.members[i] = (struct pilot_member){
            .id = m->id, .alive = true, .steady_us = 3600 * SECOND, .caught_up = true};
    }
    w->view.configuration = &w->configuration;
    w->view.member_count = w->configuration.count;
    w->view.settled = true;
    w->view.leader_id = 100;
    w->view.settle_us = 10 * SECOND;
    w->view.stable_us = 10 * SECOND;
    w->view.since_change_us = 3600 * SECOND;
    w->wish = (struct pilot_wish){.voters = 3, .heal_after_us = 30 * SECOND};
}

static void silence(struct world *w, size_t node, uint64_t seconds)
{
    w->view.members[node - 1].alive = false;
    w->view.members[node - 1].silent_us = seconds * SECOND;
    w->view.members[node - 1].steady_us = 0;
}

static enum pilot_action decide(const struct world *w, struct pilot_decision *out)
{
    pilot_decide(&w->view, &w->wish, out);
    return out->action;
}

/* The voters of the target as digits: "1 3 4". */
static const char *voters(const struct pilot_decision *d, char out[64])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < d->target.count; i++) {
        if (d->target.members[i].voter_incoming) {
            used += (size_t)snprintf(out + used, 64 - used, "%s%s", used > 0 ? " " : "",
                                     d->target.members[i].name + 1);
        }
    }
    return out;
}

static void rests(void)
{
    struct world w;
    struct pilot_decision d;
    for (size_t standbys = 0; standbys <= 3; standbys++) {
        world_make(&w, 3, standbys);
        CU_ASSERT_EQUAL(decide(&w, &d), PILOT_REST);
    }
    world_make(&w, 3, 1);
    silence(&w, 2, 29); /* not long enough */
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_REST);
    world_make(&w, 3, 1);
    silence(&w, 4, 9999); /* a standby may be silent for ever */
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_REST);
}

static void replaces_a_silent_voter(void)
{
    struct world w;
    struct pilot_decision d;
    char text[64];
    world_make(&w, 3, 2);
    silence(&w, 2, 40);
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);
    CU_ASSERT_STRING_EQUAL(voters(&d, text), "1 3 4");
    CU_ASSERT_STRING_EQUAL(d.reason, "replace n2 (silent for 40 s) by n4");
    /* the member stays, as a standby */
    CU_ASSERT_EQUAL(d.target.count, 5);
    /* the longest silent first, one at a time */
    world_make(&w, 5, 2);
    w.wish.voters = 5;
    silence(&w, 2, 40);
    silence(&w, 5, 50);
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);
    CU_ASSERT_STRING_EQUAL(voters(&d, text), "1 2 3 4 6");
}

static void waits(void)
{
    struct world w;
    struct pilot_decision d;
    world_make(&w, 3, 0);
    silence(&w, 2, 40); /* nobody to replace it */
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(d.reason, "no standby"));

    world_make(&w, 3, 1);
    silence(&w, 2, 40);
    w.view.members[3].caught_up = false;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    w.view.members[3].caught_up = true;
    w.view.members[3].unfit = true;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    w.view.members[3].unfit = false;
    w.view.members[3].steady_us = 9 * SECOND;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    w.view.members[3].steady_us = 10 * SECOND;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);

    w.view.since_change_us = 9 * SECOND;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    w.view.since_change_us = 10 * SECOND;
    w.view.settled = false;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    w.view.settled = true;
    w.wish.paused = true;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    w.wish.paused = false;
    w.wish.heal_after_us = UINT64_MAX;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_REST);
}

/* Trap 43: without a majority of the old voters nothing is done, and silence shrinks nothing. */
static void never_without_a_majority(void)
{
    struct world w;
    struct pilot_decision d;
    world_make(&w, 3, 2);
    silence(&w, 2, 40);
    silence(&w, 3, 40);
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(d.reason, "majority"));
    world_make(&w, 5, 0);
    w.wish.voters = PILOT_VOTERS_AUTO;
    silence(&w, 4, 4000);
    silence(&w, 5, 4000);
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
    w.wish.voters = 5;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_WAIT);
}

static void scales_in_one_step(void)
{
    struct world w;
    struct pilot_decision d;
    char text[64];
    world_make(&w, 3, 2);
    w.wish.voters = 5;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);
    CU_ASSERT_STRING_EQUAL(voters(&d, text), "1 2 3 4 5");
    w.view.members[4].caught_up = false; /* four would be no better than three */
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_REST);
    world_make(&w, 3, 2);
    w.wish.voters = PILOT_VOTERS_AUTO;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);
    CU_ASSERT_STRING_EQUAL(voters(&d, text), "1 2 3 4 5");
    /* a bootstrapped leader and its first companions */
    world_make(&w, 1, 1);
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_REST);
    world_make(&w, 1, 2);
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);
    CU_ASSERT_STRING_EQUAL(voters(&d, text), "1 2 3");

    world_make(&w, 5, 0);
    w.view.leader_id = 104;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);
    CU_ASSERT_STRING_EQUAL(voters(&d, text), "1 2 5"); /* not the leader */
    silence(&w, 1, 1);                                 /* but whoever is silent */
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);
    CU_ASSERT_STRING_EQUAL(voters(&d, text), "2 3 5");
    world_make(&w, 5, 1);
    w.wish.voters = PILOT_VOTERS_AUTO;
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_REST);
}

static void retires_on_request(void)
{
    struct world w;
    struct pilot_decision d;
    char text[64];
    world_make(&w, 3, 1);
    w.view.members[0].retiring = true; /* the leader itself */
    CU_ASSERT_EQUAL(decide(&w, &d), PILOT_CHANGE);
    CU_ASSERT_STRING_EQUAL(voters(&d, text), "2 3 4");
    CU_ASSERT_STRING_EQUAL(d.reason, "replace n1 (retiring) by n4");
}

static size_t alive_of(const struct world *w, const struct configuration *c, bool sound,
                       size_t *total)
{
    size_t alive = 0;
    *total = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].voter_incoming) {
            const struct pilot_member *seen = &w->view.members[i];
            ++*total;
            alive += seen->alive && (!sound || (seen->caught_up && !seen->unfit));
        }
    }
    return alive;
}

/* On any view: what is done keeps the rules, is done again the same way, and leads to rest. */
static void random_views(void)
{
    uint64_t seed = 20261125;
    size_t changes = 0;
    for (int round = 0; round < 20000; round++) {
        struct world w;
        struct pilot_decision d;
        struct pilot_decision again;
        world_make(&w, 1 + random_below(&seed, 5), random_below(&seed, 5));
        static const uint32_t wishes[] = {PILOT_VOTERS_AUTO, 1, 3, 5};
        w.wish.voters = wishes[random_below(&seed, 4)];
        for (size_t i = 1; i < w.configuration.count; i++) {
            struct pilot_member *m = &w.view.members[i];
            if (random_below(&seed, 3) == 0) {
                silence(&w, i + 1, random_below(&seed, 60));
            }
            m->caught_up = random_below(&seed, 4) != 0;
            m->unfit = random_below(&seed, 8) == 0;
            m->retiring = random_below(&seed, 16) == 0;
            m->steady_us = m->alive ? random_below(&seed, 40) * SECOND : 0;
        }
        w.view.settled = random_below(&seed, 8) != 0;
        for (int step = 0; step < 12; step++) {
            enum pilot_action action = decide(&w, &d);
            (void)decide(&w, &again);
            CU_ASSERT_EQUAL(memcmp(&d, &again, sizeof(d)), 0);
            CU_ASSERT_EQUAL(action == PILOT_REST, d.reason[0] == '\0');
            if (action != PILOT_CHANGE) {
                break;
            }
            changes++;
            size_t before = 0;
            size_t after = 0;
            CU_ASSERT_FATAL(w.view.settled);
            CU_ASSERT(2 * alive_of(&w, &w.configuration, false, &before) > before);
            CU_ASSERT(2 * alive_of(&w, &d.target, true, &after) > after);
            CU_ASSERT_EQUAL(d.target.count, w.configuration.count);
            CU_ASSERT(after % 2 == 1 || after == before); /* a heal keeps the number */
            CU_ASSERT(after >= before || (w.wish.voters != 0 && after == w.wish.voters));
            for (size_t i = 0; i < d.target.count; i++) {
                d.target.members[i].voter_outgoing = d.target.members[i].voter_incoming;
            }
            w.configuration = d.target;
            CU_ASSERT_NOT_EQUAL_FATAL(step, 11); /* it comes to an end */
        }
    }
    CU_ASSERT(changes > 2000);
}

SUITE("pilot: decisions", TEST(rests), TEST(replaces_a_silent_voter), TEST(waits),
      TEST(never_without_a_majority), TEST(scales_in_one_step), TEST(retires_on_request),
      TEST(random_views))
