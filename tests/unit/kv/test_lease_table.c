/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of leases in memory: by id, by deadline, with their keys. By hand for each rule, and against a
 * plain array for all of them together.
 */
#include "kv/lease_table.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

static size_t take(struct lease_table *t, uint64_t time_us, struct lease **out, size_t count_max)
{
    size_t count = lease_table_take_due(t, time_us, SIZE_MAX, out, count_max);
    lease_table_check(t);
    return count;
}

/* Due at its deadline, not a microsecond before; handed out once. */
static void a_lease_is_due_at_its_deadline(void)
{
    struct lease_table t;
    struct lease *due[4];
    lease_table_init(&t);
    struct lease *a = lease_table_add(&t, 7, 10, 1000, 0);
    CU_ASSERT_PTR_EQUAL(lease_table_find(&t, 7), a);
    CU_ASSERT_PTR_NULL(lease_table_find(&t, 8));
    CU_ASSERT_EQUAL(take(&t, 999, due, 4), 0);
    CU_ASSERT_EQUAL(take(&t, 1000, due, 4), 1);
    CU_ASSERT_PTR_EQUAL(due[0], a);
    CU_ASSERT_EQUAL(take(&t, 2000, due, 4), 0);
    lease_table_untake(&t); /* the proposal may have been lost */
    CU_ASSERT_EQUAL(take(&t, 2000, due, 4), 1);
    lease_table_remove(&t, &a);
    CU_ASSERT_PTR_NULL(a);
    CU_ASSERT_PTR_NULL(lease_table_find(&t, 7));
    lease_table_check(&t);
    lease_table_free(&t);
}

/* Trap 53: whoever is renewed is not due by its old deadline, also when it was handed out for it already. */
static void a_renewed_lease_is_due_later(void)
{
    struct lease_table t;
    struct lease *due[4];
    lease_table_init(&t);
    struct lease *a = lease_table_add(&t, 1, 1, 1000, 0);
    struct lease *b = lease_table_add(&t, 2, 1, 1500, 0);
    lease_table_renew(&t, a, 3000);
    CU_ASSERT_EQUAL(take(&t, 2000, due, 4), 1);
    CU_ASSERT_PTR_EQUAL(due[0], b);
    lease_table_renew(&t, b, 2500);
    CU_ASSERT_EQUAL(take(&t, 2499, due, 4), 0);
    CU_ASSERT_EQUAL(take(&t, 2500, due, 4), 1);
    CU_ASSERT_PTR_EQUAL(due[0], b);
    CU_ASSERT_EQUAL(take(&t, 3000, due, 4), 1);
    CU_ASSERT_PTR_EQUAL(due[0], a);
    lease_table_free(&t);
}

/* In the order of deadlines, as many as are asked for, with a bound on the work of one call. */
static void due_leases_come_in_order_and_in_slices(void)
{
    struct lease_table t;
    struct lease *due[4];
    lease_table_init(&t);
    for (int64_t id = 1; id <= 6; id++) {
        (void)lease_table_add(&t, id, 1, (uint64_t)(700 - id * 100), 0);
    }
    CU_ASSERT_EQUAL(take(&t, 1000, due, 4), 4);
    CU_ASSERT_EQUAL(due[0]->id, 6);
    CU_ASSERT_EQUAL(due[3]->id, 3);
    CU_ASSERT_EQUAL(take(&t, 1000, due, 4), 2);
    CU_ASSERT_EQUAL(due[1]->id, 1);
    lease_table_untake(&t);
    for (int64_t id = 1; id <= 6; id++) {
        lease_table_renew(&t, lease_table_find(&t, id), 2000);
    }
    CU_ASSERT_EQUAL(lease_table_take_due(&t, 1000, 3, due, 4), 0);
    CU_ASSERT_EQUAL(t.heap[0].due_us, 400); /* 100, 200 and 300 were looked at */
    lease_table_check(&t);
    lease_table_free(&t);
}

/* A key hangs on one lease at most: attaching moves it, and a lease that goes takes its keys along. */
static void a_key_hangs_on_one_lease(void)
{
    struct lease_table t;
    lease_table_init(&t);
    struct lease *a = lease_table_add(&t, 1, 1, 10, 0);
    struct lease *b = lease_table_add(&t, -2, 1, 10, 0);
    lease_table_attach(&t, a, view_of_text("z"));
    lease_table_attach(&t, a, view_of_text("x"));
    lease_table_attach(&t, a, view_of_text("xy"));
    lease_table_attach(&t, a, view_of_text("x"));
    lease_table_check(&t);
    CU_ASSERT_EQUAL(a->key_count, 3);
    struct view *keys = lease_table_keys(a);
    CU_ASSERT_TRUE(view_equal(keys[0], view_of_text("x")));
    CU_ASSERT_TRUE(view_equal(keys[1], view_of_text("xy")));
    CU_ASSERT_TRUE(view_equal(keys[2], view_of_text("z")));
    mem_free(keys);
    lease_table_attach(&t, b, view_of_text("xy"));
    lease_table_check(&t);
    CU_ASSERT_EQUAL(a->key_count, 2);
    CU_ASSERT_PTR_EQUAL(lease_table_of_key(&t, view_of_text("xy")), b);
    lease_table_attach(&t, NULL, view_of_text("x"));
    lease_table_attach(&t, NULL, view_of_text("never"));
    CU_ASSERT_PTR_NULL(lease_table_of_key(&t, view_of_text("x")));
    lease_table_remove(&t, &a);
    lease_table_check(&t);
    CU_ASSERT_PTR_NULL(lease_table_of_key(&t, view_of_text("z")));
    CU_ASSERT_PTR_EQUAL(lease_table_of_key(&t, view_of_text("xy")), b);
    CU_ASSERT_EQUAL(t.keys.count, 1);
    keys = lease_table_keys(b);
    CU_ASSERT_TRUE(view_equal(keys[0], view_of_text("xy")));
    mem_free(keys);
    lease_table_free(&t);
}

/* Each changed lease is named once until the list is emptied; one that went is named too. */
static void changed_leases_are_named(void)
{
    struct lease_table t;
    lease_table_init(&t);
    struct lease *a = lease_table_add(&t, 1, 1, 10, 0);
    struct lease *b = lease_table_add(&t, 2, 1, 10, 0);
    CU_ASSERT_EQUAL(t.changed_count, 0);
    lease_table_mark(&t, a);
    lease_table_mark(&t, a);
    CU_ASSERT_EQUAL(t.changed_count, 1);
    lease_table_remove(&t, &b);
    CU_ASSERT_EQUAL(t.changed_count, 2);
    CU_ASSERT_EQUAL(t.changed[0], 1);
    CU_ASSERT_EQUAL(t.changed[1], 2);
    lease_table_free(&t);
}

/* ---- against a plain array ------------------------------------------------------------------------- */

#define MODEL_LEASES 200
#define MODEL_KEYS   100

struct model {
    bool exists[MODEL_LEASES], taken[MODEL_LEASES];
    uint64_t deadline_us[MODEL_LEASES];
    int of_key[MODEL_KEYS]; /* -1: none */
};

static void model_drop(struct model *m, int id)
{
    m->exists[id] = m->taken[id] = false;
    for (int k = 0; k < MODEL_KEYS; k++) {
        m->of_key[k] = m->of_key[k] == id ? -1 : m->of_key[k];
    }
}

static struct view key_text(int k, char room[16])
{
    (void)snprintf(room, 16, "key%d", k * 7 % MODEL_KEYS);
    return view_of_text(room);
}

static void model_compare(const struct model *m, const struct lease_table *t)
{
    size_t count = 0;
    char room[16];
    for (int id = 0; id < MODEL_LEASES; id++) {
        const struct lease *lease = lease_table_find(t, id);
        CU_ASSERT_EQUAL_FATAL(lease != NULL, m->exists[id]);
        if (lease != NULL) {
            CU_ASSERT_EQUAL(lease->deadline_us, m->deadline_us[id]);
            CU_ASSERT_EQUAL(lease->taken, m->taken[id]);
            count++;
        }
    }
    CU_ASSERT_EQUAL(t->leases.count, count);
    for (int k = 0; k < MODEL_KEYS; k++) {
        const struct lease *lease = lease_table_of_key(t, key_text(k, room));
        CU_ASSERT_EQUAL(lease == NULL ? -1 : lease->id, m->of_key[k]);
    }
    struct lease_line *lines = lease_table_lines(t);
    uint64_t before = 0;
    for (size_t left = count; left > 0;) {
        struct lease_line line = lease_lines_pop(lines, &left);
        CU_ASSERT_TRUE(line.deadline_us >= before);
        CU_ASSERT_EQUAL(line.deadline_us, m->deadline_us[line.id]);
        before = line.deadline_us;
    }
    mem_free(lines);
}

static void the_table_is_what_an_array_is(void)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct model m = {0};
        struct lease_table t;
        char room[16];
        uint64_t random = seed;
        uint64_t now_us = 0;
        lease_table_init(&t);
        for (int k = 0; k < MODEL_KEYS; k++) {
            m.of_key[k] = -1;
        }
        for (int i = 0; i < 4000; i++) {
            int id = (int)random_below(&random, MODEL_LEASES);
            int k = (int)random_below(&random, MODEL_KEYS);
            struct lease *lease = lease_table_find(&t, id);
            struct lease *due[8];
            size_t count = 0;
            now_us += random_below(&random, 10);
            switch (random_below(&random, 8)) {
            case 0:
            case 1:
                if (lease == NULL) {
                    m.exists[id] = true;
                    m.deadline_us[id] = now_us + random_below(&random, 1000);
                    (void)lease_table_add(&t, id, 1, m.deadline_us[id], now_us);
                }
                break;
            case 2:
            case 3:
                if (lease != NULL) {
                    m.deadline_us[id] += random_below(&random, 500);
                    m.taken[id] = false;
                    lease_table_renew(&t, lease, m.deadline_us[id]);
                }
                break;
            case 4:
                if (lease != NULL && random_below(&random, 4) == 0) {
                    model_drop(&m, id);
                    lease_table_remove(&t, &lease);
                }
                break;
            case 5:
                m.of_key[k] = lease != NULL ? id : -1;
                lease_table_attach(&t, lease, key_text(k, room));
                break;
            case 6:
                count = lease_table_take_due(&t, now_us, SIZE_MAX, due, ARRAY_COUNT(due));
                for (size_t d = 0; d < count; d++) {
                    CU_ASSERT_TRUE(m.deadline_us[due[d]->id] <= now_us);
                    m.taken[due[d]->id] = true;
                }
                for (int other = 0; other < MODEL_LEASES && count < ARRAY_COUNT(due); other++) {
                    CU_ASSERT_TRUE(!m.exists[other] || m.taken[other] ||
                                   m.deadline_us[other] > now_us);
                }
                break;
            case 7:
                if (random_below(&random, 10) == 0) {
                    lease_table_untake(&t);
                    memset(m.taken, 0, sizeof(m.taken));
                }
                break;
            }
            if (i % 50 == 0) {
                lease_table_check(&t);
                model_compare(&m, &t);
            }
        }
        lease_table_free(&t);
    }
}

SUITE("kv: table of leases", TEST(a_lease_is_due_at_its_deadline),
      TEST(a_renewed_lease_is_due_later), TEST(due_leases_come_in_order_and_in_slices),
      TEST(a_key_hangs_on_one_lease), TEST(changed_leases_are_named),
      TEST(the_table_is_what_an_array_is))
