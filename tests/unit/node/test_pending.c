/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pending.c: the table of pending requests against a plain array, with the numbers a client actor
 * gives (consecutive) and with hostile ones; its invariants after every step.
 */
#include "base.h"
#include "suite.h"

#include "node/pending.h"

static void adds_and_takes(void)
{
    struct pending p = {0};
    int a, b;
    CU_ASSERT_PTR_NULL(pending_take(&p, 1)); /* nothing there at all */
    pending_add(&p, 1, &a);
    pending_add(&p, 2, &b);
    CU_ASSERT_PTR_NULL(pending_take(&p, 0));
    CU_ASSERT_PTR_NULL(pending_take(&p, 3));
    CU_ASSERT_PTR_EQUAL(pending_take(&p, 2), &b);
    CU_ASSERT_PTR_NULL(pending_take(&p, 2)); /* only once */
    CU_ASSERT_PTR_EQUAL(pending_take(&p, 1), &a);
    CU_ASSERT_EQUAL(p.count, 0);
    pending_free(&p);
}

/* Random adding and taking of ids that collide on purpose (same low bits), up to several growths. */
static void agrees_with_an_array(void)
{
    enum { IDS = 3000 };
    static uint64_t ids[IDS];
    static bool in[IDS];
    uint64_t seed = 7;
    struct pending p = {0};
    for (size_t i = 0; i < IDS; i++) {
        ids[i] = i % 3 == 0 ? (i + 1) << 20 : i % 3 == 1 ? ((uint64_t)3 << 56) + i : i * 256 + 255;
        in[i] = false;
    }
    size_t count = 0;
    for (int step = 0; step < 60000; step++) {
        size_t i = (size_t)random_below(&seed, step < 30000 ? 300 : IDS);
        if (in[i]) {
            CU_ASSERT_PTR_EQUAL(pending_take(&p, ids[i]), &ids[i]);
            count--;
        } else {
            CU_ASSERT_PTR_NULL(pending_take(&p, ids[i]));
            pending_add(&p, ids[i], &ids[i]);
            count++;
        }
        in[i] = !in[i];
        CU_ASSERT_EQUAL(p.count, count);
        if (step % 64 == 0) {
            pending_check(&p);
        }
    }
    for (size_t i = 0; i < IDS; i++) {
        CU_ASSERT_PTR_EQUAL(pending_take(&p, ids[i]), in[i] ? &ids[i] : NULL);
    }
    CU_ASSERT_EQUAL(p.count, 0);
    pending_check(&p);
    pending_free(&p);
}

SUITE("node pending", TEST(adds_and_takes), TEST(agrees_with_an_array))
