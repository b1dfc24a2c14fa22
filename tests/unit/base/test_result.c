/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that a result's pairs are copies whose views never move, however many are added and however
 * large they are. command.h, "answers".
 */
#include "suite.h"

#include "command.h"

#define PAIRS 5000

static void views_never_move(void)
{
    struct result *r = result_create();
    static struct view keys[PAIRS], values[PAIRS];
    static uint8_t value[40000];
    uint64_t seed = 1;
    size_t bytes = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        char key[32];
        int key_size = snprintf(key, sizeof(key), "key-%zu", i);
        /* mostly small, now and then larger than a chunk */
        size_t size = (size_t)random_below(&seed, i % 500 == 0 ? sizeof(value) : 100);
        memset(value, (int)(i & 0xff), size);
        const struct key_value kv = {.key = view_of(key, (size_t)key_size),
                                     .value = view_of(value, size),
                                     .create_revision = 1,
                                     .mod_revision = (int64_t)i,
                                     .version = 3,
                                     .lease = 4};
        result_add(r, &kv, false);
        keys[i] = r->kvs[i].key;
        values[i] = r->kvs[i].value;
        bytes += (size_t)key_size + size;
    }
    CU_ASSERT_EQUAL(r->kv_count, PAIRS);
    CU_ASSERT_EQUAL(r->bytes, bytes);
    bool same_place = true, same_content = true;
    for (size_t i = 0; i < PAIRS; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%zu", i);
        same_place = same_place && r->kvs[i].key.data == keys[i].data &&
                     r->kvs[i].value.data == values[i].data;
        same_content = same_content && view_equal(r->kvs[i].key, view_of_text(key)) &&
                       r->kvs[i].mod_revision == (int64_t)i && r->kvs[i].lease == 4 &&
                       r->kvs[i].value.size == values[i].size;
        for (size_t k = 0; k < values[i].size; k++) {
            same_content = same_content && values[i].data[k] == (i & 0xff);
        }
    }
    CU_ASSERT_TRUE(same_place);
    CU_ASSERT_TRUE(same_content);
    result_free(&r);
    CU_ASSERT_PTR_NULL(r);
    result_free(&r); /* nothing to free is fine */
}

/* Each pair a chunk of its own, so that the list of chunks grows past each power of two. */
static void many_chunks(void)
{
    struct result *r = result_create();
    size_t size = 2 * 1024 * 1024;
    uint8_t *value = mem_zalloc(size);
    for (size_t i = 0; i < 20; i++) {
        value[0] = (uint8_t)i;
        const struct key_value kv = {.key = view_of_text("k"), .value = view_of(value, size)};
        result_add(r, &kv, false);
        CU_ASSERT_EQUAL(r->octets_chunk_count, i + 1);
    }
    for (size_t i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(r->kvs[i].value.data[0], i);
    }
    mem_free(value);
    result_free(&r);
}

static void keys_only_leaves_values_out(void)
{
    struct result *r = result_create();
    const struct key_value kv = {
        .key = view_of_text("k"), .value = view_of_text("value"), .version = 9};
    result_add(r, &kv, true);
    CU_ASSERT_TRUE(view_equal(r->kvs[0].key, view_of_text("k")));
    CU_ASSERT_EQUAL(r->kvs[0].value.size, 0);
    CU_ASSERT_EQUAL(r->kvs[0].version, 9);
    CU_ASSERT_EQUAL(r->bytes, 1);
    const struct key_value empty = {.key = view_of(NULL, 0), .value = view_of(NULL, 0)};
    result_add(r, &empty, false);
    CU_ASSERT_EQUAL(r->kv_count, 2);
    CU_ASSERT_EQUAL(r->bytes, 1);
    result_free(&r);
}

/* A txn's answer is a tree, freed as one: deeper than any stack should be asked to be, and with an
 * operation that was refused before it had a result. Leaks are ASan's to find. */
static void a_tree_is_freed_whole(void)
{
    struct result *root = result_create();
    struct result *at = root;
    for (int i = 0; i < 100000; i++) {
        const struct key_value kv = {.key = view_of_text("k"), .value = view_of_text("v")};
        result_add(at, &kv, false);
        at->response_count = 3;
        at->responses = mem_zalloc(3 * sizeof(at->responses[0]));
        at->responses[0] = (struct result_response){TXN_TXN, result_create()};
        at->responses[2] = (struct result_response){TXN_PUT, result_create()};
        at = at->responses[0].result;
    }
    result_free(&root);
    CU_ASSERT_PTR_NULL(root);
}

static void leases_in_order(void)
{
    struct result *r = result_create();
    for (int64_t i = 0; i < 100; i++) {
        const struct lease_info lease = {.id = i, .ttl_s = -i, .granted_ttl_s = 2 * i};
        result_add_lease(r, &lease);
    }
    CU_ASSERT_EQUAL(r->lease_count, 100);
    CU_ASSERT_EQUAL(r->leases[99].id, 99);
    CU_ASSERT_EQUAL(r->leases[99].ttl_s, -99);
    CU_ASSERT_EQUAL(r->leases[99].granted_ttl_s, 198);
    result_free(&r);
}

SUITE("base result", TEST(a_tree_is_freed_whole), TEST(leases_in_order), TEST(views_never_move),
      TEST(many_chunks), TEST(keys_only_leaves_values_out))
