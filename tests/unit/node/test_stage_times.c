/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_stage_times.c: each stage is measured from its beginning to its end, whatever is cut off or comes in too great a number.
 */
#include "base.h"
#include "suite.h"

#include "node/stage_times.h"

static void note(struct stage_times *t, uint64_t last, uint64_t durable, uint64_t commit,
                 uint64_t applied, uint64_t now_us)
{
    struct raft_status status = {.last_log_index = last,
                                 .durable_index = durable,
                                 .commit_index = commit,
                                 .last_applied = applied};
    stage_times_note(t, &status, now_us);
}

static void stages_are_measured(void)
{
    struct stage_times *t = mem_zalloc(sizeof *t);
    note(t, 5, 5, 4, 4, 1000); /* what was there before is not measured */
    note(t, 5, 5, 5, 5, 1500);
    CU_ASSERT_EQUAL(t->commit_us.count, 0);
    note(t, 7, 5, 5, 5, 2000); /* two entries in one round: one sample */
    note(t, 8, 5, 5, 5, 2100);
    note(t, 8, 7, 5, 5, 2500);
    CU_ASSERT_EQUAL(t->disk_us.count, 1);
    CU_ASSERT_EQUAL(t->disk_us.sum, 500);
    note(t, 8, 8, 8, 5, 3000);
    CU_ASSERT_EQUAL(t->disk_us.count, 2);
    CU_ASSERT_EQUAL(t->disk_us.sum, 500 + 900);
    CU_ASSERT_EQUAL(t->commit_us.count, 2);
    CU_ASSERT_EQUAL(t->commit_us.sum, 1000 + 900);
    CU_ASSERT_EQUAL(t->apply_us.count, 0);
    note(t, 8, 8, 8, 7, 3030);
    note(t, 8, 8, 8, 8, 3050);
    CU_ASSERT_EQUAL(t->apply_us.count, 2);
    CU_ASSERT_EQUAL(t->apply_us.sum, 30 + 50);
    mem_free(t);
}

/* Entries of a leader that lost are no samples; those in their place are, from when they came. */
static void truncated_entries_are_forgotten(void)
{
    struct stage_times *t = mem_zalloc(sizeof *t);
    note(t, 1, 1, 1, 1, 0);
    note(t, 3, 1, 1, 1, 100);
    note(t, 4, 3, 1, 1, 200); /* 3 was durable */
    note(t, 2, 2, 1, 1, 300);
    note(t, 4, 2, 1, 1, 400);
    note(t, 4, 4, 4, 4, 500);
    CU_ASSERT_EQUAL(t->commit_us.count, 1);
    CU_ASSERT_EQUAL(t->commit_us.sum, 100);
    CU_ASSERT_EQUAL(t->apply_us.count, 1);
    CU_ASSERT_EQUAL(t->disk_us.count, 2);
    CU_ASSERT_EQUAL(t->disk_us.sum, 100 + 100);
    mem_free(t);
}

/* More rounds without a commit than marks: those beyond are not measured, and it goes on afterwards. */
static void many_wait(void)
{
    struct stage_times *t = mem_zalloc(sizeof *t);
    note(t, 0, 0, 0, 0, 0);
    for (uint64_t i = 1; i <= STAGE_MARKS_MAX + 50; i++) {
        note(t, i, 0, 0, 0, i);
    }
    uint64_t last = STAGE_MARKS_MAX + 50;
    note(t, last, last, last, last, 1000);
    CU_ASSERT_EQUAL(t->commit_us.count, STAGE_MARKS_MAX);
    CU_ASSERT_EQUAL(t->apply_us.count, STAGE_MARKS_MAX);
    note(t, last + 1, last, last, last, 2000);
    note(t, last + 1, last + 1, last + 1, last + 1, 2010);
    CU_ASSERT_EQUAL(t->commit_us.count, STAGE_MARKS_MAX + 1);
    mem_free(t);
}

SUITE("node stage times", TEST(stages_are_measured), TEST(truncated_entries_are_forgotten),
      TEST(many_wait))
