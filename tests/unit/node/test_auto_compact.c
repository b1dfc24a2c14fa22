/* SPDX-License-Identifier: Apache-2.0 */
/* When history is compacted by itself: etcd's rules by age and by number, only by a leader, again if lost. */
#include "suite.h"

#include "node/auto_compact.h"

#define S UINT64_C(1000000)

/* One call per second from `from_s` until the first proposal; the second of it, or `to_s`. */
static uint64_t first_at(struct auto_compact *k, uint64_t from_s, uint64_t to_s, int64_t compacted,
                         bool leads, int64_t *target)
{
    *target = 0;
    for (uint64_t s = from_s; s < to_s; s++) {
        *target =
            auto_compact_step(k, s * S, (int64_t)s, compacted, leads); /* a revision a second */
        if (*target != 0) {
            return s;
        }
    }
    return to_s;
}

static void by_age(void)
{
    struct auto_compact k;
    int64_t target = 0;
    auto_compact_init(&k, 3600, 0);
    CU_ASSERT_EQUAL(first_at(&k, 1, 10000, 0, true, &target), 3601);
    CU_ASSERT_EQUAL(target, 1); /* what was the newest an hour ago */
    CU_ASSERT_EQUAL(first_at(&k, 3602, 20000, 1, true, &target), 7201);
    CU_ASSERT_EQUAL(target, 3601);
    CU_ASSERT_TRUE(k.count <= 12);
    auto_compact_free(&k);
    /* days are kept, compacted every hour */
    auto_compact_init(&k, 48 * 3600, 0);
    CU_ASSERT_EQUAL(first_at(&k, 1, 400000, 0, true, &target), 48 * 3600 + 1);
    CU_ASSERT_EQUAL(first_at(&k, 48 * 3600 + 2, 400000, 1, true, &target), 49 * 3600 + 1);
    CU_ASSERT_EQUAL(target, 3601);
    CU_ASSERT_TRUE(k.count <= 482);
    auto_compact_free(&k);
}

static void only_a_leader_and_again_if_lost(void)
{
    struct auto_compact k;
    int64_t target = 0;
    auto_compact_init(&k, 100, 0);
    CU_ASSERT_EQUAL(first_at(&k, 1, 500, 0, false, &target), 500);
    /* it has looked on all the time, so what is due is known when it begins to lead */
    CU_ASSERT_TRUE(first_at(&k, 500, 600, 0, true, &target) <= 510);
    CU_ASSERT_TRUE(target >= 390 && target <= 410);
    uint64_t again = first_at(&k, 511, 700, 0, true, &target); /* never applied: lost */
    CU_ASSERT_TRUE(again >= 511 && again <= 525);
    CU_ASSERT_TRUE(first_at(&k, again + 1, 900, target, true, &target) >= again + 100);
    auto_compact_free(&k);
}

static void by_number_and_never(void)
{
    struct auto_compact k;
    int64_t target = 0;
    auto_compact_init(&k, 0, 1000);
    CU_ASSERT_EQUAL(first_at(&k, 1, 10000, 0, true, &target), 1201); /* a tick each 300 s */
    CU_ASSERT_EQUAL(target, 201);
    CU_ASSERT_EQUAL(first_at(&k, 1202, 10000, 201, true, &target), 1501);
    auto_compact_free(&k);
    auto_compact_init(&k, 0, 0);
    CU_ASSERT_EQUAL(k.next_us, UINT64_MAX);
    CU_ASSERT_EQUAL(first_at(&k, 1, 100000, 0, true, &target), 100000);
    CU_ASSERT_EQUAL(k.count, 0);
    auto_compact_free(&k);
}

SUITE("node auto compact", TEST(by_age), TEST(only_a_leader_and_again_if_lost),
      TEST(by_number_and_never))
