/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that a transaction's text becomes the request it means, that a refused line leaves the request as it
 * was, and that no octets at all make the parser look beyond its input. txn_text.h.
 */
#include "suite.h"

#include "cli/txn_text.h"

static enum err take(struct txn_text *t, const char *line)
{
    char problem[256] = "";
    enum err error = txn_text_line(t, view_of_text(line), problem, sizeof(problem));
    CU_ASSERT_EQUAL(error != OK, problem[0] != '\0');
    return error;
}

static bool is(ProtobufCBinaryData b, const char *text)
{
    return view_equal(view_of(b.data, b.len), view_of_text(text));
}

static void comparisons(void)
{
    struct txn_text t;
    txn_text_start(&t);
    CU_ASSERT_EQUAL(take(&t, "mod(\"a b\") > \"-7\""), OK);
    CU_ASSERT_EQUAL(take(&t, "  lease ( k , 'l' )!=  ff "), OK);
    CU_ASSERT_EQUAL(take(&t, "val(k)<\"\\x41\\102\\u00fc\\\"\""), OK);
    CU_ASSERT_EQUAL(t.request->n_compare, 3);
    const Etcdserverpb__Compare *c = t.request->compare[0];
    CU_ASSERT_EQUAL(c->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD);
    CU_ASSERT_EQUAL(c->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER);
    CU_ASSERT_EQUAL(c->mod_revision, -7);
    CU_ASSERT_TRUE(is(c->key, "a b"));
    CU_ASSERT_EQUAL(c->range_end.len, 0);
    c = t.request->compare[1];
    CU_ASSERT_EQUAL(c->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE);
    CU_ASSERT_EQUAL(c->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL);
    CU_ASSERT_EQUAL(c->lease, 255);
    CU_ASSERT_TRUE(is(c->range_end, "l"));
    c = t.request->compare[2];
    CU_ASSERT_TRUE(is(c->value, "AB\xc3\xbc\""));
    txn_text_free(&t);
}

static void three_parts(void)
{
    struct txn_text t;
    txn_text_start(&t);
    CU_ASSERT_EQUAL(take(&t, ""), OK);
    CU_ASSERT_EQUAL(t.part, TXN_SUCCESS);
    CU_ASSERT_EQUAL(take(&t, "put k \"v w\" --lease=10"), OK);
    CU_ASSERT_EQUAL(take(&t, " \t\r"), OK);
    CU_ASSERT_EQUAL(take(&t, "del k --prefix"), OK);
    CU_ASSERT_EQUAL(take(&t, "get '' --prefix --limit 3"), OK);
    CU_ASSERT_EQUAL(take(&t, ""), OK);
    CU_ASSERT_EQUAL(t.part, TXN_COMPLETE);
    CU_ASSERT_EQUAL(take(&t, ""), OK);
    CU_ASSERT_EQUAL(take(&t, "put k late"), ERR_MALFORMED);
    CU_ASSERT_EQUAL(t.request->n_success, 1);
    CU_ASSERT_EQUAL(t.request->success[0]->request_put->lease, 16);
    CU_ASSERT_TRUE(is(t.request->success[0]->request_put->value, "v w"));
    CU_ASSERT_EQUAL(t.request->n_failure, 2);
    CU_ASSERT_TRUE(is(t.request->failure[0]->request_delete_range->range_end, "l"));
    const Etcdserverpb__RangeRequest *get = t.request->failure[1]->request_range;
    CU_ASSERT_EQUAL(get->key.len, 1);
    CU_ASSERT_EQUAL(get->range_end.len, 1);
    CU_ASSERT_EQUAL(get->limit, 3);
    txn_text_free(&t);
}

static void refused_lines_change_nothing(void)
{
    static const char *const lines[] = {
        "x",
        "mod(k)",
        "mod(k) =",
        "mod(k) = x",
        "mod(k) = 1 2",
        "mod('k = 1",
        "mod(k) ! 1",
        "mod(k,) = ",
        "(k) = 1",
        "val(k) = \"\\x4\"",
        "ver(k) = \"99999999999999999999\"",
        "val(k) = \"\\u12\"",
        "lease(k) = g",
        "=",
    };
    struct txn_text t;
    txn_text_start(&t);
    CU_ASSERT_EQUAL(take(&t, "mod(k) = 1"), OK);
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        CU_ASSERT_EQUAL(take(&t, lines[i]), ERR_MALFORMED);
        CU_ASSERT_EQUAL(t.request->n_compare, 1);
    }
    CU_ASSERT_EQUAL(take(&t, ""), OK);
    static const char *const operations[] = {
        "x",         "put k",          "put k v w",        "get",          "get a b c",
        "del",       "get k --limit",  "put k \"v",        "put k \"v\"w", "get a b --prefix",
        "del k --x", "get k --rev=-1", "del k --prev-kv=1"};
    for (size_t i = 0; i < ARRAY_COUNT(operations); i++) {
        CU_ASSERT_EQUAL(take(&t, operations[i]), ERR_MALFORMED);
        CU_ASSERT_EQUAL(t.request->n_success, 0);
    }
    CU_ASSERT_EQUAL(t.part, TXN_SUCCESS);
    txn_text_free(&t);
}

/* Lines of random octets, mostly such as mean something, each in memory of exactly its size. */
static void hostile_octets(void)
{
    static const char alphabet[] = "mod(k)=<>!\"'\\x41u, put get del --prefix--limit=1\t";
    uint64_t random = 7;
    for (int round = 0; round < 20000; round++) {
        struct txn_text t;
        txn_text_start(&t);
        t.part = round % 2 == 0 ? TXN_COMPARES : TXN_SUCCESS;
        size_t size = (size_t)random_below(&random, 40);
        char *line = mem_alloc(size);
        for (size_t i = 0; i < size; i++) {
            line[i] = random_below(&random, 20) == 0
                          ? (char)random_next(&random)
                          : alphabet[random_below(&random, sizeof(alphabet))];
        }
        char problem[256];
        enum err error = txn_text_line(&t, view_of(line, size), problem, sizeof(problem));
        CU_ASSERT_TRUE(error == OK || error == ERR_MALFORMED);
        mem_free(line);
        txn_text_free(&t);
    }
}

SUITE("txn text", TEST(comparisons), TEST(three_parts), TEST(refused_lines_change_nothing),
      TEST(hostile_octets))
