/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that a request is called "not carried out" only when that is certain (trap 51), and that a
 * forward that arrives twice is taken once (trap 52).
 */
#include "node/requests.h"

#include "suite.h"

static void requests_below_the_applied_term_are_lost(void)
{
    struct request_barrier b = {0};
    uint64_t out[CLIENTS_MAX] = {0};
    request_barrier_proposed(&b, 3, REQUEST_ID(0, 1));
    request_barrier_proposed(&b, 3, REQUEST_ID(1, 4));
    CU_ASSERT_TRUE(request_barrier_applying(&b, 5, 2, out));
    CU_ASSERT_EQUAL(out[0], REQUEST_ID(0, 1));
    CU_ASSERT_EQUAL(out[1], REQUEST_ID(1, 4));
}

static void requests_of_the_applied_term_are_not(void)
{
    struct request_barrier b = {0};
    uint64_t out[CLIENTS_MAX] = {0};
    request_barrier_proposed(&b, 3, REQUEST_ID(0, 1));
    request_barrier_proposed(&b, 4, REQUEST_ID(0, 2));
    CU_ASSERT_TRUE(request_barrier_applying(&b, 4, 1, out));
    CU_ASSERT_EQUAL(out[0], REQUEST_ID(0, 1));
}

static void an_older_term_than_the_last_proposal_gives_no_barrier(void)
{
    struct request_barrier b = {0};
    uint64_t out[CLIENTS_MAX] = {0};
    request_barrier_proposed(&b, 3, REQUEST_ID(0, 1));
    request_barrier_proposed(&b, 7, REQUEST_ID(0, 2));
    /* request 1 could be an entry of term 3 behind this block's last entry of term 3 */
    CU_ASSERT_FALSE(request_barrier_applying(&b, 3, 1, out));
    CU_ASSERT_FALSE(request_barrier_applying(&b, 5, 1, out));
    CU_ASSERT_TRUE(request_barrier_applying(&b, 7, 1, out));
    CU_ASSERT_EQUAL(out[0], REQUEST_ID(0, 1));
}

static void one_barrier_per_term(void)
{
    struct request_barrier b = {0};
    uint64_t out[CLIENTS_MAX] = {0};
    request_barrier_proposed(&b, 1, REQUEST_ID(0, 1));
    CU_ASSERT_TRUE(request_barrier_applying(&b, 2, 1, out));
    CU_ASSERT_FALSE(request_barrier_applying(&b, 2, 1, out));
}

static void nothing_proposed_nothing_to_say(void)
{
    struct request_barrier b = {0};
    uint64_t out[CLIENTS_MAX] = {0};
    CU_ASSERT_FALSE(request_barrier_applying(&b, 2, 1, out));
}

static void a_forward_is_taken_once(void)
{
    static struct request_filter f;
    memset(&f, 0, sizeof(f));
    CU_ASSERT_TRUE(request_filter_take(&f, 10, REQUEST_ID(0, 1)));
    CU_ASSERT_FALSE(request_filter_take(&f, 10, REQUEST_ID(0, 1)));
    CU_ASSERT_TRUE(request_filter_take(&f, 10, REQUEST_ID(0, 3)));
    CU_ASSERT_FALSE(request_filter_take(&f, 10, REQUEST_ID(0, 2))); /* overtaken: never mind */
    CU_ASSERT_TRUE(request_filter_take(&f, 10, REQUEST_ID(1, 1)));
    CU_ASSERT_TRUE(request_filter_take(&f, 11, REQUEST_ID(0, 1)));
    CU_ASSERT_FALSE(request_filter_take(&f, 11, REQUEST_ID(CLIENTS_MAX, 1)));
}

static void old_boots_are_forgotten_last_in_last_out(void)
{
    static struct request_filter f;
    memset(&f, 0, sizeof(f));
    for (uint64_t origin = 1; origin <= REQUEST_ORIGINS_MAX + 1; origin++) {
        CU_ASSERT_TRUE(request_filter_take(&f, origin, REQUEST_ID(0, 1)));
    }
    CU_ASSERT_FALSE(request_filter_take(&f, REQUEST_ORIGINS_MAX + 1, REQUEST_ID(0, 1)));
    CU_ASSERT_FALSE(request_filter_take(&f, 2, REQUEST_ID(0, 1)));
}

SUITE("requests", TEST(requests_below_the_applied_term_are_lost),
      TEST(requests_of_the_applied_term_are_not),
      TEST(an_older_term_than_the_last_proposal_gives_no_barrier), TEST(one_barrier_per_term),
      TEST(nothing_proposed_nothing_to_say), TEST(a_forward_is_taken_once),
      TEST(old_boots_are_forgotten_last_in_last_out))
