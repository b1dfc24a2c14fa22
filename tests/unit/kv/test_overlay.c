/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay by itself: what is dirty is never evicted, the cache stays within its bound, rows of both
 * batches are found by change id, and a flush keeps what has been read meanwhile. Each test ends with
 * overlay_check, which asserts the invariants in overlay.h.
 */
#include "kv/overlay.h"
#include "suite.h"

#include <stdio.h>

static struct view text_key(char out[32], uint64_t number)
{
    int size = snprintf(out, 32, "key-%08" PRIu64, number);
    return view_of(out, (size_t)size);
}

/* Write `value` to the key at revision `revision`, as mvcc.c does. */
static void write_key(struct overlay *o, struct view key, int64_t revision, struct view value)
{
    struct overlay_node *node = overlay_find(o, key);
    uint64_t previous = node != NULL ? node->change : 0;
    struct kv_history row = {
        .change = change_id(revision, 0),
        .key = key,
        .value = value,
        .create_revision = revision,
        .version = 1,
        .previous_change = previous,
    };
    if (node == NULL) {
        node = overlay_hold(o, key, NULL);
    }
    overlay_write(o, node, &row, false, 0);
}

static void written_keys_are_found(void)
{
    enum { KEYS = 100000 };
    struct overlay o;
    char text[32];
    overlay_init(&o, 0);
    for (uint64_t i = 0; i < KEYS; i++) {
        write_key(&o, text_key(text, i), (int64_t)i + 2, view_of_text("v"));
    }
    CU_ASSERT_EQUAL(o.node_count, KEYS);
    for (uint64_t i = 0; i < KEYS; i++) {
        struct overlay_node *node = overlay_find(&o, text_key(text, i));
        CU_ASSERT_PTR_NOT_NULL_FATAL(node);
        CU_ASSERT_EQUAL(node->change, change_id((int64_t)i + 2, 0));
        CU_ASSERT_EQUAL(node->depth, 1);
    }
    CU_ASSERT_PTR_NULL(overlay_find(&o, view_of_text("key-")));
    overlay_check(&o);
    overlay_free(&o);
}

static void rows_are_found_in_both_batches(void)
{
    struct overlay o;
    overlay_init(&o, 0);
    struct view a = view_of_text("a");
    CU_ASSERT_PTR_NULL(overlay_row_find(&o, change_id(2, 0)));
    write_key(&o, a, 2, view_of_text("two"));
    write_key(&o, a, 3, view_of_text("three"));
    overlay_seal(&o);
    write_key(&o, a, 5, view_of_text("five"));
    overlay_check(&o);
    const struct overlay_row *row = overlay_row_find(&o, change_id(2, 0));
    CU_ASSERT_PTR_NOT_NULL_FATAL(row);
    CU_ASSERT(view_equal(view_of(row->value, row->value_size), view_of_text("two")));
    CU_ASSERT(view_equal(overlay_key(row->node), a));
    CU_ASSERT_PTR_NOT_NULL(overlay_row_find(&o, change_id(3, 0)));
    CU_ASSERT_PTR_NOT_NULL(overlay_row_find(&o, change_id(5, 0)));
    CU_ASSERT_PTR_NULL(overlay_row_find(&o, change_id(4, 0)));
    CU_ASSERT_PTR_NULL(overlay_row_find(&o, change_id(1, 0)));
    CU_ASSERT_PTR_NULL(overlay_row_find(&o, change_id(6, 0)));
    overlay_flushed(&o);
    overlay_check(&o);
    CU_ASSERT_PTR_NULL(overlay_row_find(&o, change_id(3, 0)));
    CU_ASSERT_PTR_NOT_NULL(overlay_row_find(&o, change_id(5, 0)));
    struct overlay_node *node = overlay_find(&o, a); /* dirty again: not evicted with cache 0 */
    CU_ASSERT_PTR_NOT_NULL_FATAL(node);
    CU_ASSERT_EQUAL(node->change, change_id(5, 0));
    overlay_seal(&o);
    overlay_flushed(&o);
    CU_ASSERT_PTR_NULL(overlay_find(&o, a));
    CU_ASSERT_EQUAL(overlay_dirty_bytes(&o), 0);
    overlay_check(&o);
    overlay_free(&o);
}

/* A value read while dirty stays in memory over the flush; one that was only written does not. */
static void flush_keeps_values_that_were_read(void)
{
    struct overlay o;
    overlay_init(&o, 1 << 20);
    write_key(&o, view_of_text("read"), 2, view_of_text("r"));
    write_key(&o, view_of_text("written"), 3, view_of_text("old"));
    (void)overlay_value(overlay_find(&o, view_of_text("read")));
    (void)overlay_value(overlay_find(&o, view_of_text("written")));
    write_key(&o, view_of_text("written"), 4, view_of_text("w")); /* not read since */
    overlay_seal(&o);
    overlay_flushed(&o);
    overlay_check(&o);
    struct overlay_node *read = overlay_find(&o, view_of_text("read"));
    struct overlay_node *written = overlay_find(&o, view_of_text("written"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(read);
    CU_ASSERT_PTR_NOT_NULL_FATAL(written);
    CU_ASSERT_TRUE(read->value_known);
    CU_ASSERT(view_equal(overlay_value(read), view_of_text("r")));
    CU_ASSERT_FALSE(written->value_known);
    CU_ASSERT_EQUAL(written->change, change_id(4, 0));
    overlay_cache_value(&o, written, view_of_text("w"));
    CU_ASSERT(view_equal(overlay_value(written), view_of_text("w")));
    overlay_check(&o);
    overlay_free(&o);
}

static void cache_is_bounded_and_recent_keys_stay(void)
{
    enum { CACHE_BYTES = 64 * 1024, KEYS = 5000 };
    struct overlay o;
    char text[32];
    overlay_init(&o, CACHE_BYTES);
    struct view value = view_of_text("0123456789");
    struct view hot = view_of_text("hot");
    struct kv_current row = {.key = hot, .change = change_id(2, 0), .version = 1, .depth = 1};
    overlay_cache(&o, &row, &value);
    write_key(&o, view_of_text("dirty"), 3, value);
    for (uint64_t i = 0; i < KEYS; i++) {
        row.key = text_key(text, i);
        overlay_cache(&o, &row, &value);
        CU_ASSERT(o.cache_bytes <= CACHE_BYTES);
        CU_ASSERT_PTR_NOT_NULL_FATAL(overlay_find(&o, hot)); /* asked for all the time */
    }
    CU_ASSERT_PTR_NOT_NULL(overlay_find(&o, row.key)); /* the new one is not the victim */
    CU_ASSERT_PTR_NULL(overlay_find(&o, text_key(text, 0)));
    CU_ASSERT_PTR_NOT_NULL(overlay_find(&o, view_of_text("dirty")));
    overlay_check(&o);
    overlay_free(&o);
}

static void large_values_are_not_cached(void)
{
    struct overlay o;
    overlay_init(&o, 1 << 20);
    uint8_t *large = mem_zalloc(OVERLAY_CACHED_VALUE_BYTES_MAX + 1);
    struct view value = view_of(large, OVERLAY_CACHED_VALUE_BYTES_MAX + 1);
    struct kv_current row = {
        .key = view_of_text("k"), .change = change_id(2, 0), .version = 1, .depth = 1};
    overlay_cache(&o, &row, &value);
    struct overlay_node *node = overlay_find(&o, row.key);
    CU_ASSERT_PTR_NOT_NULL_FATAL(node);
    CU_ASSERT_FALSE(node->value_known);
    overlay_cache_value(&o, node, value);
    CU_ASSERT_FALSE(node->value_known);
    write_key(&o, view_of_text("w"), 3, value);
    (void)overlay_value(overlay_find(&o, view_of_text("w")));
    overlay_seal(&o);
    overlay_flushed(&o);
    CU_ASSERT_FALSE(overlay_find(&o, view_of_text("w"))->value_known);
    overlay_check(&o);
    overlay_free(&o);
    /* A node larger than the whole cache is not kept at all. */
    overlay_init(&o, 16);
    overlay_cache(&o, &row, NULL);
    CU_ASSERT_PTR_NULL(overlay_find(&o, row.key));
    overlay_check(&o);
    overlay_free(&o);
    mem_free(large);
}

/* A put that keeps the old value hands in a view into the very node it changes. */
static void value_may_come_from_the_node_itself(void)
{
    struct overlay o;
    overlay_init(&o, 1 << 20);
    struct view old = view_of_text("kept");
    struct kv_current row = {
        .key = view_of_text("k"), .change = change_id(2, 0), .version = 1, .depth = 1};
    overlay_cache(&o, &row, &old);
    write_key(&o, row.key, 3, overlay_value(overlay_find(&o, row.key)));
    CU_ASSERT(view_equal(overlay_value(overlay_find(&o, row.key)), old));
    write_key(&o, row.key, 4, overlay_value(overlay_find(&o, row.key)));
    CU_ASSERT(view_equal(overlay_value(overlay_find(&o, row.key)), old));
    overlay_check(&o);
    overlay_free(&o);
}

/* Random writes, reads, seals and flushes; the invariants hold after each. */
static void random_walk_keeps_the_invariants(void)
{
    uint64_t seed = 99;
    for (size_t round = 0; round < 20; round++) {
        struct overlay o;
        char text[32];
        int64_t revision = 1;
        overlay_init(&o, (size_t)random_below(&seed, 20000));
        for (size_t step = 0; step < 500; step++) {
            struct view key = text_key(text, random_below(&seed, 100));
            switch (random_below(&seed, 8)) {
            case 0:
                if (!o.has_sealed) {
                    overlay_seal(&o);
                }
                break;
            case 1:
                if (o.has_sealed) {
                    overlay_flushed(&o);
                }
                break;
            case 2: {
                struct overlay_node *node = overlay_find(&o, key);
                if (node != NULL && node->value_known) {
                    CU_ASSERT(view_equal(overlay_value(node), key));
                }
                break;
            }
            case 3:
                if (overlay_find(&o, key) == NULL) {
                    struct kv_current row = {.key = key, .change = 1, .version = 1, .depth = 1};
                    overlay_cache(&o, &row, random_below(&seed, 2) == 1 ? &key : NULL);
                }
                break;
            default:
                write_key(&o, key, ++revision, key);
                break;
            }
            overlay_check(&o);
        }
        overlay_free(&o);
    }
}

SUITE("kv overlay", TEST(written_keys_are_found), TEST(rows_are_found_in_both_batches),
      TEST(flush_keeps_values_that_were_read), TEST(cache_is_bounded_and_recent_keys_stay),
      TEST(large_values_are_not_cached), TEST(value_may_come_from_the_node_itself),
      TEST(random_walk_keeps_the_invariants))
