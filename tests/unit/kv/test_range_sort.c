/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sliced merge sort: sorted by every target in both directions, stable, whatever the size of the
 * slices, and no slice moves more pairs than its budget.
 */
#include "kv/range_sort.h"
#include "suite.h"

#include <stdlib.h>

enum { PAIRS_MAX = 200 };

static int64_t target_of(const struct key_value *p, enum sort_target target)
{
    switch (target) {
    case SORT_VERSION:
        return p->version;
    case SORT_CREATE:
        return p->create_revision;
    case SORT_MOD:
        return p->mod_revision;
    case SORT_KEY:
        return p->key.data[0];
    case SORT_VALUE:
        return p->value.data[0];
    }
    return 0;
}

static void sorts_stably(void)
{
    static uint8_t octets[PAIRS_MAX][2];
    uint64_t seed = 7;
    for (size_t round = 0; round < 400; round++) {
        size_t count = (size_t)random_below(&seed, PAIRS_MAX);
        enum sort_target target = (enum sort_target)random_below(&seed, 5);
        bool descending = random_below(&seed, 2) == 1;
        uint64_t slice = 1 + random_below(&seed, 50);
        struct key_value pairs[PAIRS_MAX];
        for (size_t i = 0; i < count; i++) {
            octets[i][0] = (uint8_t)random_below(&seed, 20);
            octets[i][1] = (uint8_t)random_below(&seed, 20);
            pairs[i] = (struct key_value){
                .key = view_of(&octets[i][0], 1),
                .value = view_of(&octets[i][1], 1),
                .version = (int64_t)random_below(&seed, 20),
                .create_revision = (int64_t)random_below(&seed, 20),
                .mod_revision = (int64_t)random_below(&seed, 20),
                .lease = (int64_t)i, /* the place it came from */
            };
        }
        struct range_sort sort;
        range_sort_begin(&sort, pairs, count, target, descending);
        bool done = false;
        size_t steps = 0;
        while (!done) {
            uint64_t budget = slice;
            done = range_sort_step(&sort, &budget);
            CU_ASSERT(budget <= slice);
            CU_ASSERT(done || budget == 0);
            steps++;
            CU_ASSERT_FATAL(steps <= PAIRS_MAX * 9);
        }
        range_sort_free(&sort);
        bool seen[PAIRS_MAX] = {false};
        for (size_t i = 0; i < count; i++) {
            seen[pairs[i].lease] = true;
            if (i == 0) {
                continue;
            }
            int64_t before = target_of(&pairs[i - 1], target);
            int64_t here = target_of(&pairs[i], target);
            CU_ASSERT(descending ? before >= here : before <= here);
            CU_ASSERT(before != here || pairs[i - 1].lease < pairs[i].lease);
        }
        for (size_t i = 0; i < count; i++) {
            CU_ASSERT(seen[i]);
        }
    }
}

/* n pairs need ceil(log2 n) rounds of n moves: slices add up to exactly that. */
static void work_is_bounded_by_the_budget(void)
{
    enum { COUNT = 64, ROUNDS = 6, SLICE = 10 };
    struct key_value pairs[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        pairs[i] = (struct key_value){.version = (int64_t)((i * 37) % COUNT)};
    }
    struct range_sort sort;
    range_sort_begin(&sort, pairs, COUNT, SORT_VERSION, false);
    uint64_t moved = 0;
    bool done = false;
    while (!done) {
        uint64_t budget = SLICE;
        done = range_sort_step(&sort, &budget);
        moved += SLICE - budget;
    }
    CU_ASSERT_EQUAL(moved, COUNT * ROUNDS);
    range_sort_free(&sort);
}

SUITE("kv range_sort", TEST(sorts_stably), TEST(work_is_bounded_by_the_budget))
