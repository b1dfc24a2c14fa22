/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ordered index of a batch's keys against a sorted array: every order of insertion ends in the same
 * sequence, a seek finds the first key at or after the one asked for, and no order makes pages that
 * are nearly empty.
 */
#include "kv/key_index.h"
#include "suite.h"

#include <stdlib.h>

/* An entry takes 24 octets of a page; half-full pages, inner pages and the last chunk of the arena come on
 * top, full pages leave only the latter two. */
enum { KEYS = 20000, KEY_BYTES = 8, BYTES_PER_KEY_MAX = 100, BYTES_PER_KEY_FULL_MAX = 40 };

static void key_write(uint8_t key[KEY_BYTES], uint64_t number)
{
    for (int i = 0; i < KEY_BYTES; i++) {
        key[i] = (uint8_t)(number >> (8 * (KEY_BYTES - 1 - i)));
    }
}

/* order[i] is the i-th number to insert; numbers are even, so that odd ones are gaps to seek in. */
static void insert_and_check(const uint64_t *order, size_t count, size_t bytes_per_key_max)
{
    struct key_index x = {0};
    uint8_t(*keys)[KEY_BYTES] = mem_alloc(count * sizeof(*keys));
    for (size_t i = 0; i < count; i++) {
        key_write(keys[i], order[i]);
        key_index_insert(&x, view_of(keys[i], KEY_BYTES), keys[i]);
    }
    key_index_check(&x);
    CU_ASSERT_EQUAL(x.count, count);
    CU_ASSERT(x.pages.bytes < count * bytes_per_key_max + 8192);

    struct key_index_cursor c = key_index_seek(&x, view_of(NULL, 0));
    struct view key = {0};
    for (uint64_t number = 0; number < count; number++) {
        uint8_t expected[KEY_BYTES];
        key_write(expected, 2 * number);
        const uint8_t *item = key_index_get(&c, &key);
        CU_ASSERT_PTR_NOT_NULL_FATAL(item);
        CU_ASSERT_EQUAL(memcmp(item, expected, KEY_BYTES), 0);
        CU_ASSERT(view_equal(key, view_of(expected, KEY_BYTES)));
        key_index_next(&c);
        if (number > 0) { /* a gap: the key after it */
            uint8_t gap[KEY_BYTES];
            key_write(gap, 2 * number - 1);
            struct key_index_cursor found = key_index_seek(&x, view_of(gap, KEY_BYTES));
            item = key_index_get(&found, &key);
            CU_ASSERT(item != NULL && memcmp(item, expected, KEY_BYTES) == 0);
        }
    }
    CU_ASSERT_PTR_NULL(key_index_get(&c, &key));
    uint8_t beyond[KEY_BYTES];
    key_write(beyond, 2 * count);
    c = key_index_seek(&x, view_of(beyond, KEY_BYTES));
    CU_ASSERT_PTR_NULL(key_index_get(&c, &key));
    key_index_free(&x);
    CU_ASSERT_EQUAL(x.count, 0);
    mem_free(keys);
}

static void empty_index_has_an_end(void)
{
    struct key_index x = {0};
    struct view key = {0};
    struct key_index_cursor c = key_index_seek(&x, view_of_text("a"));
    CU_ASSERT_PTR_NULL(key_index_get(&c, &key));
    key_index_check(&x);
    key_index_free(&x);
}

static void ascending_and_descending(void)
{
    uint64_t *order = mem_alloc(KEYS * sizeof(*order));
    for (uint64_t i = 0; i < KEYS; i++) {
        order[i] = 2 * i;
    }
    insert_and_check(order, KEYS, BYTES_PER_KEY_FULL_MAX); /* pages are left full */
    for (uint64_t i = 0; i < KEYS; i++) {
        order[i] = 2 * (KEYS - 1 - i);
    }
    insert_and_check(order, KEYS, BYTES_PER_KEY_MAX);
    mem_free(order);
}

/* Even first, then the ones between them from both sides: keys always meet full pages. */
static void from_outside_in(void)
{
    uint64_t *order = mem_alloc(KEYS * sizeof(*order));
    size_t at = 0;
    for (uint64_t i = 0; i < KEYS / 2; i++) {
        order[at++] = 2 * i;
        order[at++] = 2 * (KEYS - 1 - i);
    }
    insert_and_check(order, KEYS, BYTES_PER_KEY_MAX);
    mem_free(order);
}

/* A full page, then keys right behind it from the greatest down: each meets the end of a full page that
 * is not the last one. */
static void descending_behind_a_full_page(void)
{
    uint64_t *order = mem_alloc(KEYS * sizeof(*order));
    for (uint64_t i = 0; i < KEYS; i++) {
        order[i] = i < 64 ? 2 * i : 2 * (KEYS - 1 - (i - 64));
    }
    insert_and_check(order, KEYS, BYTES_PER_KEY_MAX);
    mem_free(order);
}

static void random_orders(void)
{
    uint64_t *order = mem_alloc(KEYS * sizeof(*order));
    uint64_t seed = 1;
    for (size_t count = 1; count <= KEYS; count = count * 3 + 1) {
        for (uint64_t i = 0; i < count; i++) {
            order[i] = 2 * i;
        }
        for (uint64_t i = count - 1; i > 0; i--) {
            uint64_t other = random_below(&seed, i + 1);
            uint64_t swapped = order[i];
            order[i] = order[other];
            order[other] = swapped;
        }
        insert_and_check(order, count, BYTES_PER_KEY_MAX);
    }
    mem_free(order);
}

SUITE("kv key_index", TEST(empty_index_has_an_end), TEST(ascending_and_descending),
      TEST(from_outside_in), TEST(descending_behind_a_full_page), TEST(random_orders))
