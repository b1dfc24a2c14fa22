/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_plan.c: from a file and an answer to the steps between them: nothing where the cluster is as declared, also
 * when others vote than at first; who is missing comes before who goes; a number that grows comes before removals, one that
 * shrinks after them. (src/cli/cluster_plan.c)
 */
#include "suite.h"

#include "cli/cluster_plan.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    struct config declared;
    Holdfast__V1__GetClusterResponse actual;
    Holdfast__V1__Wish wish;
    Holdfast__V1__Member members[MEMBERS_MAX];
    Holdfast__V1__Member *pointers[MEMBERS_MAX];
    char names[MEMBERS_MAX][8], peers[MEMBERS_MAX][16];
    struct cluster_plan plan;
};

static void declare(struct fixture *f, int i)
{
    struct config_member *m = &f->declared.members[f->declared.member_count++];
    (void)snprintf(m->name, sizeof(m->name), "n%d", i);
    (void)snprintf(m->peer, sizeof(m->peer), "h%d:2380", i);
}

static Holdfast__V1__Member *have(struct fixture *f, int i, Holdfast__V1__Role role)
{
    size_t at = f->actual.n_members++;
    Holdfast__V1__Member *m = &f->members[at];
    holdfast__v1__member__init(m);
    (void)snprintf(f->names[at], sizeof(f->names[at]), "n%d", i);
    (void)snprintf(f->peers[at], sizeof(f->peers[at]), "h%d:2380", i);
    m->id = (uint64_t)i + 100;
    m->name = f->names[at];
    m->peer = f->peers[at];
    m->role = role;
    f->pointers[at] = m;
    return m;
}

/* Three that vote, declared and there. */
static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    holdfast__v1__get_cluster_response__init(&f->actual);
    holdfast__v1__wish__init(&f->wish);
    f->actual.members = f->pointers;
    f->actual.wish = &f->wish;
    f->wish.voters = f->declared.voters = 3;
    f->wish.heal_after_s = f->declared.heal_after_s = 60;
    for (int i = 1; i <= 3; i++) {
        declare(f, i);
        (void)have(f, i, HOLDFAST__V1__ROLE__ROLE_VOTER);
    }
}

static bool plan_is(struct fixture *f, const enum cluster_step_kind *kinds, size_t count)
{
    cluster_plan_make(&f->declared, &f->actual, &f->plan);
    bool same = f->plan.count == count;
    for (size_t i = 0; i < count && same; i++) {
        same = f->plan.steps[i].kind == kinds[i];
    }
    for (size_t i = 0; i < f->plan.count && !same; i++) {
        fprintf(stderr, "\n%zu. %s", i + 1, f->plan.steps[i].text);
    }
    return same;
}

#define EXPECT_PLAN(f, ...)                                                                        \
    do {                                                                                           \
        static const enum cluster_step_kind kinds[] = {__VA_ARGS__};                               \
        CU_ASSERT_TRUE(plan_is(f, kinds, ARRAY_COUNT(kinds)));                                     \
    } while (0)

static void as_declared(void)
{
    struct fixture f;
    set_up(&f);
    CU_ASSERT_TRUE(plan_is(&f, NULL, 0));
    declare(&f, 4); /* healed: n4 votes for n2, which is a standby now */
    f.members[1].role = HOLDFAST__V1__ROLE__ROLE_STANDBY;
    (void)have(&f, 4, HOLDFAST__V1__ROLE__ROLE_VOTER);
    CU_ASSERT_TRUE(plan_is(&f, NULL, 0));
    CU_ASSERT_EQUAL(cluster_plan_voters(&f.actual), 3);
    f.declared.voters = CONFIG_VOTERS_LISTED; /* the file says nothing of the number */
    f.wish.voters = 5;
    CU_ASSERT_TRUE(plan_is(&f, NULL, 0));
}

static void three_to_five(void)
{
    struct fixture f;
    set_up(&f);
    declare(&f, 4);
    declare(&f, 5);
    f.declared.voters = 5;
    EXPECT_PLAN(&f, STEP_DECLARE, STEP_DECLARE, STEP_JOIN, STEP_JOIN, STEP_WISH);
    CU_ASSERT_STRING_EQUAL(f.plan.steps[0].peer, "h4:2380");
    CU_ASSERT_PTR_NOT_NULL(strstr(f.plan.steps[4].text, "voters from 3 to 5"));
    Holdfast__V1__Member *m = have(&f, 4, HOLDFAST__V1__ROLE__ROLE_DECLARED);
    m->name[0] = '\0'; /* stopped and resumed: n4 is declared by its address */
    EXPECT_PLAN(&f, STEP_DECLARE, STEP_JOIN, STEP_JOIN, STEP_WISH);
    (void)snprintf(m->name, 8, "n4");
    m->role = HOLDFAST__V1__ROLE__ROLE_STANDBY;
    (void)have(&f, 5, HOLDFAST__V1__ROLE__ROLE_STANDBY);
    EXPECT_PLAN(&f, STEP_WISH);
}

static void one_is_exchanged(void)
{
    struct fixture f;
    set_up(&f);
    declare(&f, 4);
    f.declared.members[1] = f.declared.members[3]; /* n4 instead of n2 */
    f.declared.member_count = 3;
    EXPECT_PLAN(&f, STEP_DECLARE, STEP_JOIN, STEP_REPLACE);
    CU_ASSERT_EQUAL(f.plan.steps[2].id, 102);
    Holdfast__V1__Member *four = have(&f, 4, HOLDFAST__V1__ROLE__ROLE_STANDBY);
    f.actual.from_leader = true; /* n4 has come: nobody goes before it has the log */
    four->alive = true;
    EXPECT_PLAN(&f, STEP_JOIN, STEP_REPLACE);
    four->alive = false; /* nobody waits for the dead */
    EXPECT_PLAN(&f, STEP_REPLACE);
    four->alive = four->caught_up = true;
    EXPECT_PLAN(&f, STEP_REPLACE);
    f.members[1].role = HOLDFAST__V1__ROLE__ROLE_STANDBY; /* it does not vote anyway */
    four->caught_up = false;
    EXPECT_PLAN(&f, STEP_REMOVE);
}

static void five_to_three(void)
{
    struct fixture f;
    set_up(&f);
    f.wish.voters = 5;
    f.wish.paused = true; /* an apply that was killed */
    (void)have(&f, 4, HOLDFAST__V1__ROLE__ROLE_VOTER);
    (void)have(&f, 5, HOLDFAST__V1__ROLE__ROLE_VOTER);
    EXPECT_PLAN(&f, STEP_REPLACE, STEP_REPLACE, STEP_WISH, STEP_RESUME);
    declare(&f, 4);
    declare(&f, 5); /* they stay as standbys */
    EXPECT_PLAN(&f, STEP_WISH, STEP_RESUME);
}

static void other_addresses_and_strangers(void)
{
    struct fixture f;
    set_up(&f);
    strcpy(f.declared.members[2].peer, "elsewhere:1");
    Holdfast__V1__Member *m = have(&f, 9, HOLDFAST__V1__ROLE__ROLE_DECLARED);
    m->name[0] = '\0';
    EXPECT_PLAN(&f, STEP_UPDATE, STEP_REMOVE);
    CU_ASSERT_EQUAL(f.plan.steps[0].id, 103);
    CU_ASSERT_STRING_EQUAL(f.plan.steps[0].peer, "elsewhere:1");
    CU_ASSERT_EQUAL(f.plan.steps[1].id, 109);
}

SUITE("cli: cluster plan", TEST(as_declared), TEST(three_to_five), TEST(one_is_exchanged),
      TEST(five_to_three), TEST(other_addresses_and_strangers))
