/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index from key ranges to watchers against brute force: whatever is added and removed in whatever
 * order, a key finds exactly the watchers whose range contains it, as etcd reads key and range_end.
 * And its cost: a key that nobody watches meets no watcher.
 */
#include "kv/watch_index.h"
#include "suite.h"

#include <stdlib.h>

enum { WATCHERS = 400, STEPS = 30000 };

struct range_watcher {
    struct watch_entry entry; /* first */
    uint8_t key[4], end[4];
    size_t key_size, end_size;
    bool in, found;
};

static size_t draw_key(uint64_t *seed, uint8_t out[4])
{
    size_t size = (size_t)random_below(seed, 4);
    for (size_t i = 0; i < size; i++) {
        out[i] =
            (uint8_t)random_below(seed, 3); /* 0x00 too, so that "\0" ends ranges now and then */
    }
    return size;
}

static bool contains(const struct range_watcher *w, struct view key)
{
    struct view start = view_of(w->key, w->key_size);
    struct view end = view_of(w->end, w->end_size);
    if (end.size == 0) {
        return view_equal(key, start);
    }
    bool unbounded = end.size == 1 && end.data[0] == 0;
    return view_compare(start, key) <= 0 && (unbounded || view_compare(key, end) < 0);
}

static void check_key(struct watch_index *x, struct range_watcher *all, struct view key,
                      struct watch_matches *matches)
{
    watch_index_match(x, key, matches);
    for (size_t i = 0; i < matches->count; i++) {
        for (struct watch_entry *e = matches->items[i]->entries; e != NULL; e = e->next) {
            struct range_watcher *w = (struct range_watcher *)(void *)e;
            CU_ASSERT_FALSE(w->found); /* nobody twice */
            w->found = true;
        }
    }
    for (size_t i = 0; i < WATCHERS; i++) {
        CU_ASSERT_EQUAL(all[i].found, all[i].in && contains(&all[i], key));
        all[i].found = false;
    }
}

static void equals_brute_force(void)
{
    struct watch_index x = {0};
    struct watch_matches matches = {0};
    struct range_watcher *all = mem_zalloc(WATCHERS * sizeof(*all));
    uint64_t seed = 42;
    for (int step = 0; step < STEPS; step++) {
        /* grow and shrink by turns, so that the tree is emptied and built again */
        bool growing = (step / 2000) % 2 == 0;
        struct range_watcher *w = &all[random_below(&seed, WATCHERS)];
        bool add = random_below(&seed, 10) < (growing ? 8U : 2U);
        if (add && !w->in) {
            w->key_size = draw_key(&seed, w->key);
            w->end_size = random_below(&seed, 3) == 0 ? 0 : draw_key(&seed, w->end);
            struct view key = view_of(w->key, w->key_size);
            struct view end = view_of(w->end, w->end_size);
            if (!watch_range_is_empty(key, end)) {
                watch_index_add(&x, &w->entry, key, end);
                w->in = true;
            }
        } else if (!add && w->in) {
            watch_index_remove(&x, &w->entry);
            w->in = false;
        }
        if (step % 16 == 0) {
            uint8_t key[4];
            size_t size = draw_key(&seed, key);
            check_key(&x, all, view_of(key, size), &matches);
        }
        if (step % 500 == 0) {
            watch_index_check(&x);
        }
    }
    for (size_t i = 0; i < WATCHERS; i++) {
        if (all[i].in) {
            watch_index_remove(&x, &all[i].entry);
        }
    }
    watch_index_check(&x);
    CU_ASSERT_EQUAL(x.entry_count, 0);
    CU_ASSERT_PTR_NULL(watch_index_any(&x));
    watch_index_free(&x);
    mem_free(matches.items);
    mem_free(all);
}

static void equal_ranges_share_a_place(void)
{
    struct watch_index x = {0};
    struct watch_matches matches = {0};
    struct watch_entry *entries = mem_zalloc(10000 * sizeof(*entries));
    for (size_t i = 0; i < 10000; i++) {
        watch_index_add(&x, &entries[i], view_of_text("a/"), view_of_text("a0"));
    }
    CU_ASSERT_EQUAL(x.range_count, 1);
    watch_index_match(&x, view_of_text("a/k"), &matches);
    CU_ASSERT_EQUAL(matches.count, 1);
    watch_index_match(&x, view_of_text("b"), &matches);
    CU_ASSERT_EQUAL(matches.count, 0);
    watch_index_check(&x);
    size_t left = 0;
    for (struct watch_entry *e = watch_index_any(&x); e != NULL; e = watch_index_any(&x)) {
        watch_index_remove(&x, e);
        left++;
    }
    CU_ASSERT_EQUAL(left, 10000);
    watch_index_free(&x);
    mem_free(matches.items);
    mem_free(entries);
}

static void empty_ranges_are_known(void)
{
    CU_ASSERT_TRUE(watch_range_is_empty(view_of_text("b"), view_of_text("b")));
    CU_ASSERT_TRUE(watch_range_is_empty(view_of_text("b"), view_of_text("a")));
    CU_ASSERT_FALSE(watch_range_is_empty(view_of_text("b"), view_of_text("c")));
    CU_ASSERT_FALSE(watch_range_is_empty(view_of_text("b"), view_of(NULL, 0)));
    CU_ASSERT_FALSE(watch_range_is_empty(view_of_text("b"), view_of("\0", 1)));
    CU_ASSERT_FALSE(watch_range_is_empty(view_of("\0", 1), view_of("\0", 1)));
}

/* Sorted starts are the worst order for a tree that does not balance itself. */
static void ascending_ranges_stay_balanced(void)
{
    enum { COUNT = 20000 };
    struct watch_index x = {0};
    struct watch_matches matches = {0};
    struct watch_entry *entries = mem_zalloc(COUNT * sizeof(*entries));
    for (unsigned i = 0; i < COUNT; i++) {
        char key[16];
        char end[16];
        (void)snprintf(key, sizeof(key), "k%06u/", i);
        (void)snprintf(end, sizeof(end), "k%06u0", i);
        watch_index_add(&x, &entries[i], view_of_text(key), view_of_text(end));
    }
    watch_index_check(&x);
    CU_ASSERT_TRUE(x.root->height <= 20);
    watch_index_match(&x, view_of_text("k007777/x"), &matches);
    CU_ASSERT_EQUAL(matches.count, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        watch_index_remove(&x, &entries[i]);
    }
    CU_ASSERT_PTR_NULL(x.root);
    watch_index_free(&x);
    mem_free(matches.items);
    mem_free(entries);
}

SUITE("kv: watch index", TEST(equals_brute_force), TEST(equal_ranges_share_a_place),
      TEST(empty_ranges_are_known), TEST(ascending_ranges_stay_balanced))
