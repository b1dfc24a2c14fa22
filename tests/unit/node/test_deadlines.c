/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_deadlines.c: the heap of deadlines: the earliest is first, whatever was set, moved and cleared.
 */
#include "base.h"
#include "suite.h"

#include "node/deadlines.h"

static void first_is_the_earliest(void)
{
    struct deadlines heap = {0};
    struct deadline a = {.place = DEADLINE_NONE}, b = a, c = a;
    CU_ASSERT_PTR_NULL(deadlines_first(&heap));
    deadlines_clear(&heap, &a); /* harmless */
    deadlines_set(&heap, &a, 30);
    deadlines_set(&heap, &b, 10);
    deadlines_set(&heap, &c, 20);
    CU_ASSERT_PTR_EQUAL(deadlines_first(&heap), &b);
    deadlines_set(&heap, &b, 40); /* moved back */
    CU_ASSERT_PTR_EQUAL(deadlines_first(&heap), &c);
    deadlines_set(&heap, &a, 5); /* moved ahead */
    CU_ASSERT_PTR_EQUAL(deadlines_first(&heap), &a);
    deadlines_clear(&heap, &a);
    deadlines_clear(&heap, &a); /* twice is harmless */
    CU_ASSERT_PTR_EQUAL(deadlines_first(&heap), &c);
    deadlines_clear(&heap, &c);
    deadlines_clear(&heap, &b);
    CU_ASSERT_PTR_NULL(deadlines_first(&heap));
    deadlines_free(&heap);
}

static void agrees_with_a_search(void)
{
    enum { COUNT = 200 };
    static struct deadline items[COUNT];
    struct deadlines heap = {0};
    uint64_t seed = 11;
    for (size_t i = 0; i < COUNT; i++) {
        items[i].place = DEADLINE_NONE;
    }
    for (int step = 0; step < 20000; step++) {
        struct deadline *d = &items[random_below(&seed, COUNT)];
        if (random_below(&seed, 3) == 0) {
            deadlines_clear(&heap, d);
        } else {
            deadlines_set(&heap, d, random_below(&seed, 1000));
        }
        deadlines_check(&heap);
        uint64_t least = UINT64_MAX;
        for (size_t i = 0; i < COUNT; i++) {
            if (items[i].place != DEADLINE_NONE && items[i].at_us < least) {
                least = items[i].at_us;
            }
        }
        const struct deadline *first = deadlines_first(&heap);
        CU_ASSERT_EQUAL(first != NULL ? first->at_us : UINT64_MAX, least);
    }
    for (size_t i = 0; i < COUNT; i++) {
        deadlines_clear(&heap, &items[i]);
    }
    deadlines_free(&heap);
}

SUITE("node deadlines", TEST(first_is_the_earliest), TEST(agrees_with_a_search))
