/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that the checker accepts every history a register could have produced and refuses the
 * classic wrong ones: stale read, lost update, read of the future, resurrected value. Random good
 * histories are made by choosing a moment inside each operation's interval; random bad ones by
 * changing one answer of them to a value that moment rules out. (Herlihy and Wing 1990; Lowe 2017.)
 */
#include "../../sim/linearizable.h"
#include "suite.h"

#include <stdlib.h>

#define STEPS 1000000

#define PUT(v, from, to)                                                                           \
    {                                                                                              \
        LINEARIZABLE_PUT, (v), -1, (from), (to)                                                    \
    }
#define GET(v, from, to)                                                                           \
    {                                                                                              \
        LINEARIZABLE_GET, (v), -1, (from), (to)                                                    \
    }
#define DELETE(n, from, to)                                                                        \
    {                                                                                              \
        LINEARIZABLE_DELETE, 0, (n), (from), (to)                                                  \
    }
#define EVER LINEARIZABLE_UNKNOWN

#define VERDICT(...)                                                                               \
    linearizable_check((const struct linearizable_op[]){__VA_ARGS__},                              \
                       sizeof((const struct linearizable_op[]){__VA_ARGS__}) /                     \
                           sizeof(struct linearizable_op),                                         \
                       STEPS, NULL)

static void plain_sequences(void)
{
    CU_ASSERT_EQUAL(linearizable_check(NULL, 0, STEPS, NULL), LINEARIZABLE_YES);
    CU_ASSERT_EQUAL(VERDICT(GET(0, 1, 2), PUT(7, 3, 4), GET(7, 5, 6)), LINEARIZABLE_YES);
    CU_ASSERT_EQUAL(VERDICT(PUT(7, 1, 2), DELETE(1, 3, 4), GET(0, 5, 6)), LINEARIZABLE_YES);
    CU_ASSERT_EQUAL(VERDICT(GET(7, 1, 2)), LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(VERDICT(PUT(7, 1, 2), GET(0, 3, 4)), LINEARIZABLE_NO);
}

static void stale_read(void)
{
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, 2), PUT(2, 3, 4), GET(1, 5, 6)), LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, 2), PUT(2, 3, 6), GET(1, 5, 7)), LINEARIZABLE_YES);
    /* once the new value was seen, the old one may not come back, though the put still runs */
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, 2), PUT(2, 3, 20), GET(2, 5, 6), GET(1, 7, 8)),
                    LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, 2), PUT(2, 3, 20), GET(1, 5, 6), GET(2, 7, 8)),
                    LINEARIZABLE_YES);
}

static void unknown_outcomes(void)
{
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, EVER), GET(0, 5, 6)), LINEARIZABLE_YES);
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, EVER), GET(0, 5, 6), GET(1, 7, 8)), LINEARIZABLE_YES);
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, EVER), GET(1, 5, 6), GET(0, 7, 8)), LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, EVER), GET(1, 5, 6), DELETE(-1, 2, EVER), GET(0, 7, 8)),
                    LINEARIZABLE_YES);
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 5, EVER), GET(1, 2, 3)), LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(VERDICT(GET(9, 5, EVER), PUT(1, 1, 2)), LINEARIZABLE_YES);
}

static void delete_counts(void)
{
    CU_ASSERT_EQUAL(VERDICT(DELETE(1, 1, 2)), LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(VERDICT(DELETE(0, 1, 2), PUT(3, 3, 4), DELETE(1, 5, 6)), LINEARIZABLE_YES);
    CU_ASSERT_EQUAL(VERDICT(PUT(3, 3, 4), DELETE(1, 5, 6), DELETE(1, 7, 8)), LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(VERDICT(PUT(3, 3, 4), DELETE(1, 5, 8), DELETE(1, 5, 8)), LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(VERDICT(PUT(3, 3, 4), DELETE(1, 5, 8), DELETE(0, 5, 8)), LINEARIZABLE_YES);
}

/* Equal times overlap: the return at 4 and the call at 4 may be in either order. */
static void equal_times_overlap(void)
{
    CU_ASSERT_EQUAL(VERDICT(PUT(1, 1, 2), PUT(2, 3, 4), GET(1, 4, 5)), LINEARIZABLE_YES);
}

static void culprit_is_named(void)
{
    const struct linearizable_op ops[] = {PUT(1, 1, 2), PUT(2, 3, 4), GET(2, 5, 6), GET(1, 7, 8)};
    size_t culprit = 99;
    CU_ASSERT_EQUAL(linearizable_check(ops, 4, STEPS, &culprit), LINEARIZABLE_NO);
    CU_ASSERT_EQUAL(culprit, 3);
}

static void gives_up_when_told(void)
{
    const struct linearizable_op ops[] = {PUT(1, 1, 2), GET(1, 5, 6)};
    CU_ASSERT_EQUAL(linearizable_check(ops, 2, 1, NULL), LINEARIZABLE_UNDECIDED);
}

/* ---- random histories ------------------------------------------------------------------------------ */

struct planned {
    uint64_t moment;
    size_t op;
};

static int by_moment(const void *left, const void *right)
{
    const struct planned *a = left;
    const struct planned *b = right;
    return a->moment < b->moment ? -1 : a->moment > b->moment;
}

#define RANDOM_OPS 400

/* Answers as a register gives them when each operation happens at a moment of its interval. */
static void make_history(uint64_t *random, struct linearizable_op *ops, struct planned *plan)
{
    for (size_t i = 0; i < RANDOM_OPS; i++) {
        uint64_t start = 10 + random_below(random, 4000) * 10;
        uint64_t length = 1 + random_below(random, 300);
        uint64_t kind = random_below(random, 10);
        ops[i].kind = kind < 4   ? LINEARIZABLE_PUT
                      : kind < 5 ? LINEARIZABLE_DELETE
                                 : LINEARIZABLE_GET;
        ops[i].value = ops[i].kind == LINEARIZABLE_PUT ? i + 1 : 0;
        ops[i].deleted = -1;
        ops[i].invoke_us = start;
        ops[i].return_us = start + length;
        plan[i] = (struct planned){start * 1000 + random_below(random, length * 1000), i};
    }
    qsort(plan, RANDOM_OPS, sizeof(plan[0]), by_moment);
    uint64_t value = 0;
    for (size_t i = 0; i < RANDOM_OPS; i++) {
        struct linearizable_op *op = &ops[plan[i].op];
        bool unknown = op->kind != LINEARIZABLE_GET && random_below(random, 20) == 0;
        if (unknown) {
            op->return_us = LINEARIZABLE_UNKNOWN;
            if (random_below(random, 2) == 0) {
                continue; /* and it never happened */
            }
        }
        if (op->kind == LINEARIZABLE_PUT) {
            value = op->value;
        } else if (op->kind == LINEARIZABLE_DELETE) {
            op->deleted = unknown ? -1 : value != 0;
            value = 0;
        } else {
            op->value = value;
        }
    }
}

static void random_good_histories(void)
{
    static struct linearizable_op ops[RANDOM_OPS];
    static struct planned plan[RANDOM_OPS];
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t random = seed;
        make_history(&random, ops, plan);
        CU_ASSERT_EQUAL(linearizable_check(ops, RANDOM_OPS, STEPS * 10, NULL), LINEARIZABLE_YES);
    }
}

/* A read gets the value of a write that was already overwritten by another one before it began. */
static void random_bad_histories(void)
{
    static struct linearizable_op ops[RANDOM_OPS];
    static struct planned plan[RANDOM_OPS];
    int made = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t random = seed;
        make_history(&random, ops, plan);
        bool spoilt = false;
        for (size_t i = RANDOM_OPS / 2; i < RANDOM_OPS && !spoilt; i++) {
            if (ops[i].kind != LINEARIZABLE_GET) {
                continue;
            }
            for (size_t a = 0; a < RANDOM_OPS && !spoilt; a++) {
                for (size_t b = 0; b < RANDOM_OPS && !spoilt; b++) {
                    if (ops[a].kind == LINEARIZABLE_PUT && ops[b].kind == LINEARIZABLE_PUT &&
                        ops[a].return_us < ops[b].invoke_us &&
                        ops[b].return_us < ops[i].invoke_us) {
                        ops[i].value = ops[a].value;
                        spoilt = true;
                    }
                }
            }
        }
        made += spoilt;
        if (spoilt) {
            CU_ASSERT_EQUAL(linearizable_check(ops, RANDOM_OPS, STEPS * 10, NULL), LINEARIZABLE_NO);
        }
    }
    CU_ASSERT_TRUE(made > 190);
}

SUITE("linearizability checker", TEST(plain_sequences), TEST(stale_read), TEST(unknown_outcomes),
      TEST(delete_counts), TEST(equal_times_overlap), TEST(culprit_is_named),
      TEST(gives_up_when_told), TEST(random_good_histories), TEST(random_bad_histories))
