/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that a transaction's tree goes into octets and back, that whatever is not such an encoding is
 * refused with nothing allocated for what it claims to hold, and what is said of a tree; and that a
 * query's copy stands on its own.
 */
#include "suite.h"

#include "command.h"

static struct view v(const char *text)
{
    return view_of_text(text);
}

static bool same_range(const struct query *a, const struct query *b)
{
    return view_equal(a->key, b->key) && view_equal(a->range_end, b->range_end) &&
           a->limit == b->limit && a->revision == b->revision &&
           a->min_mod_revision == b->min_mod_revision &&
           a->max_mod_revision == b->max_mod_revision &&
           a->min_create_revision == b->min_create_revision &&
           a->max_create_revision == b->max_create_revision && a->sort_order == b->sort_order &&
           a->sort_target == b->sort_target && a->serializable == b->serializable &&
           a->keys_only == b->keys_only && a->count_only == b->count_only && b->kind == QUERY_RANGE;
}

static bool same_body(const struct txn_body *a, const struct txn_body *b);

static bool same_ops(const struct txn_op *a, const struct txn_op *b, size_t count)
{
    bool same = true;
    for (size_t i = 0; i < count; i++) {
        same = same && a[i].kind == b[i].kind && a[i].flags == b[i].flags &&
               a[i].lease == b[i].lease && view_equal(a[i].key, b[i].key) &&
               view_equal(a[i].value, b[i].value) && view_equal(a[i].range_end, b[i].range_end) &&
               (a[i].kind != TXN_RANGE || same_range(&a[i].range, &b[i].range)) &&
               (a[i].kind != TXN_TXN || same_body(a[i].txn, b[i].txn));
    }
    return same;
}

static bool same_body(const struct txn_body *a, const struct txn_body *b)
{
    bool same = a->compare_count == b->compare_count && a->success_count == b->success_count &&
                a->failure_count == b->failure_count;
    for (size_t i = 0; same && i < a->compare_count; i++) {
        const struct txn_compare *c = &a->compares[i];
        const struct txn_compare *d = &b->compares[i];
        same = c->result == d->result && c->target == d->target && c->number == d->number &&
               view_equal(c->key, d->key) && view_equal(c->range_end, d->range_end) &&
               view_equal(c->value, d->value);
    }
    return same && same_ops(a->success, b->success, a->success_count) &&
           same_ops(a->failure, b->failure, a->failure_count);
}

/* Something of everything. Static: trees point into each other. */
static const struct txn_body *example(void)
{
    static struct txn_compare inner_compares[1], compares[3];
    static struct txn_op inner_success[2], inner_failure[1], success[3], failure[1];
    static struct txn_body inner, root;
    inner_compares[0] = (struct txn_compare){.target = TXN_LEASE, .key = v("i"), .number = -4};
    inner_success[0] = (struct txn_op){.kind = TXN_PUT,
                                       .flags = COMMAND_IGNORE_LEASE | COMMAND_PREV_KV,
                                       .key = v("in"),
                                       .value = v("side")};
    inner_success[1] = (struct txn_op){.kind = TXN_DELETE_RANGE, .key = v("d")};
    inner_failure[0] = (struct txn_op){.kind = TXN_RANGE, .range = {.key = v("r")}};
    inner = (struct txn_body){inner_compares, 1, inner_success, 2, inner_failure, 1};
    compares[0] = (struct txn_compare){
        .result = TXN_NOT_EQUAL, .target = TXN_VALUE, .key = v("a"), .value = v("b")};
    compares[1] = (struct txn_compare){.result = TXN_GREATER,
                                       .target = TXN_VERSION,
                                       .key = v("a"),
                                       .range_end = v("z"),
                                       .number = 1};
    compares[2] = (struct txn_compare){.result = TXN_LESS, .target = TXN_MOD, .key = v("")};
    success[0] = (struct txn_op){.kind = TXN_RANGE,
                                 .range = {.key = v("k"),
                                           .range_end = v("l"),
                                           .limit = 1,
                                           .revision = -2,
                                           .min_mod_revision = 3,
                                           .max_mod_revision = 4,
                                           .min_create_revision = 5,
                                           .max_create_revision = 6,
                                           .sort_order = SORT_DESCEND,
                                           .sort_target = SORT_VALUE,
                                           .serializable = true,
                                           .count_only = true}};
    success[1] = (struct txn_op){.kind = TXN_TXN, .txn = &inner};
    success[2] = (struct txn_op){.kind = TXN_PUT, .key = v("p"), .value = v("v"), .lease = 9};
    failure[0] = (struct txn_op){
        .kind = TXN_DELETE_RANGE, .flags = COMMAND_PREV_KV, .key = v("x"), .range_end = v("y")};
    root = (struct txn_body){compares, 3, success, 3, failure, 1};
    return &root;
}

static enum err decode_exactly(const uint8_t *octets, size_t size)
{
    uint8_t *exact = mem_dup(octets, size);
    struct txn_body *none = (struct txn_body *)exact;
    struct txn_body *body = none;
    enum err error = txn_body_decode(view_of(exact, size), &body);
    if (error == OK) {
        mem_free(body);
    } else {
        CU_ASSERT_PTR_EQUAL(body, none);
    }
    mem_free(exact);
    return error;
}

static void trees_go_there_and_back(void)
{
    struct buffer out = {0};
    struct txn_body *back = NULL;
    txn_body_encode(example(), &out);
    CU_ASSERT_EQUAL_FATAL(txn_body_decode(view_of(out.data, out.size), &back), OK);
    CU_ASSERT_TRUE(same_body(example(), back));
    mem_free(back);
    for (size_t cut = 0; cut < out.size; cut++) {
        CU_ASSERT_EQUAL(decode_exactly(out.data, cut), ERR_TRUNCATED);
    }
    buffer_u8(&out, 0);
    CU_ASSERT_EQUAL(decode_exactly(out.data, out.size), ERR_MALFORMED);
    buffer_free(&out);
    const struct txn_body empty = {0};
    txn_body_encode(&empty, &out);
    CU_ASSERT_EQUAL(out.size, 12);
    CU_ASSERT_EQUAL_FATAL(txn_body_decode(view_of(out.data, out.size), &back), OK);
    CU_ASSERT_TRUE(same_body(&empty, back));
    mem_free(back);
    buffer_free(&out);
}

/* Whatever any single octet is changed to: refused, or a tree that is encoded as just these octets. */
static void every_octet_counts(void)
{
    struct buffer out = {0};
    txn_body_encode(example(), &out);
    for (size_t at = 0; at < out.size; at++) {
        for (unsigned flip = 1; flip < 256; flip++) {
            struct txn_body *body = NULL;
            out.data[at] ^= (uint8_t)flip;
            if (txn_body_decode(view_of(out.data, out.size), &body) == OK) {
                struct buffer again = {0};
                txn_body_encode(body, &again);
                CU_ASSERT_TRUE(
                    view_equal(view_of(again.data, again.size), view_of(out.data, out.size)));
                buffer_free(&again);
                mem_free(body);
            }
            out.data[at] ^= (uint8_t)flip;
        }
    }
    buffer_free(&out);
}

static void what_is_claimed_is_not_reserved(void)
{
    for (size_t field = 0; field < 3; field++) {
        uint8_t octets[64] = {0};
        octets[field * 4 + 3] = 0x7f; /* two thousand million compares or operations */
        CU_ASSERT_EQUAL(decode_exactly(octets, sizeof(octets)), ERR_TRUNCATED);
    }
}

/* A chain of txns in txns, the innermost with one put. */
static struct txn_body *chain(size_t depth, struct txn_body *bodies, struct txn_op *ops)
{
    for (size_t i = 0; i < depth; i++) {
        ops[i] = (struct txn_op){.kind = TXN_TXN, .txn = &bodies[i + 1]};
        bodies[i] = (struct txn_body){.failure = &ops[i], .failure_count = 1};
    }
    ops[depth - 1] = (struct txn_op){.kind = TXN_PUT, .key = v("deep")};
    return &bodies[0];
}

static void depth_is_bounded(void)
{
    static struct txn_body bodies[TXN_DEPTH_MAX + 2];
    static struct txn_op ops[TXN_DEPTH_MAX + 2];
    struct buffer out = {0};
    struct txn_body *back = NULL;
    txn_body_encode(chain(TXN_DEPTH_MAX, bodies, ops), &out);
    CU_ASSERT_EQUAL_FATAL(txn_body_decode(view_of(out.data, out.size), &back), OK);
    CU_ASSERT_TRUE(same_body(bodies, back));
    CU_ASSERT_TRUE(view_equal(txn_body_first_key(back), v("deep")));
    CU_ASSERT_FALSE(txn_body_is_read_only(back));
    mem_free(back);
    /* one more around it */
    struct buffer deeper = {0};
    for (int i = 0; i < 2; i++) {
        buffer_u32(&deeper, 0);
    }
    buffer_u32(&deeper, 1);
    buffer_u8(&deeper, TXN_TXN);
    buffer_append(&deeper, out.data, out.size);
    CU_ASSERT_EQUAL(decode_exactly(deeper.data, deeper.size), ERR_TOO_MANY_OPS);
    buffer_free(&deeper);
    buffer_free(&out);
}

static void what_is_said_of_a_tree(void)
{
    CU_ASSERT_TRUE(view_equal(txn_body_first_key(example()), v("a")));
    CU_ASSERT_FALSE(txn_body_is_read_only(example()));
    CU_ASSERT_FALSE(txn_body_is_serializable(example()));

    const struct txn_body empty = {0};
    CU_ASSERT_EQUAL(txn_body_first_key(&empty).size, 0);
    CU_ASSERT_TRUE(txn_body_is_read_only(&empty));
    CU_ASSERT_TRUE(txn_body_is_serializable(&empty));

    struct txn_op ranges[2] = {
        {.kind = TXN_RANGE, .range = {.key = v("r"), .serializable = true}},
        {.kind = TXN_RANGE, .range = {.key = v("s"), .serializable = true}},
    };
    struct txn_body reads = {
        .success = ranges, .success_count = 1, .failure = ranges + 1, .failure_count = 1};
    CU_ASSERT_TRUE(view_equal(txn_body_first_key(&reads), v("r")));
    CU_ASSERT_TRUE(txn_body_is_read_only(&reads));
    CU_ASSERT_TRUE(txn_body_is_serializable(&reads));
    ranges[1].range.serializable = false;
    CU_ASSERT_TRUE(txn_body_is_read_only(&reads));
    CU_ASSERT_FALSE(txn_body_is_serializable(&reads));

    struct txn_compare compare = {.key = v("c")};
    struct txn_body inner = {.compares = &compare, .compare_count = 1};
    struct txn_op nest = {.kind = TXN_TXN, .txn = &inner};
    const struct txn_body outer = {.failure = &nest, .failure_count = 1};
    CU_ASSERT_TRUE(view_equal(txn_body_first_key(&outer), v("c")));
    CU_ASSERT_TRUE(txn_body_is_read_only(&outer));
    CU_ASSERT_FALSE(txn_body_is_serializable(&outer)); /* etcd's rule: a nested txn is none */
    struct txn_op erase = {.kind = TXN_DELETE_RANGE, .key = v("e")};
    inner.failure = &erase;
    inner.failure_count = 1;
    CU_ASSERT_FALSE(txn_body_is_read_only(&outer)); /* also in a branch that may never run */
}

static void query_copy_stands_on_its_own(void)
{
    char key[] = "abc", end[] = "abd", body[] = "body";
    struct query from = {.kind = QUERY_TXN,
                         .key = view_of(key, 3),
                         .range_end = view_of(end, 3),
                         .body = view_of(body, 4),
                         .limit = 7,
                         .revision = 8,
                         .lease = 5,
                         .cluster_time_us = 6,
                         .sort_order = SORT_DESCEND,
                         .sort_target = SORT_MOD,
                         .keys_only = true};
    struct query *copy = query_create(&from);
    memset(key, 'x', 3);
    memset(end, 'x', 3);
    memset(body, 'x', 4);
    CU_ASSERT_EQUAL(copy->kind, QUERY_TXN);
    CU_ASSERT_TRUE(view_equal(copy->key, v("abc")));
    CU_ASSERT_TRUE(view_equal(copy->range_end, v("abd")));
    CU_ASSERT_TRUE(view_equal(copy->body, v("body")));
    CU_ASSERT_EQUAL(copy->limit, 7);
    CU_ASSERT_EQUAL(copy->revision, 8);
    CU_ASSERT_EQUAL(copy->lease, 5);
    CU_ASSERT_EQUAL(copy->cluster_time_us, 6);
    CU_ASSERT_EQUAL(copy->sort_order, SORT_DESCEND);
    CU_ASSERT_EQUAL(copy->sort_target, SORT_MOD);
    CU_ASSERT_TRUE(copy->keys_only);
    mem_free(copy);
    from = (struct query){.limit = 1};
    copy = query_create(&from);
    CU_ASSERT_EQUAL(copy->key.size, 0);
    CU_ASSERT_EQUAL(copy->range_end.size, 0);
    CU_ASSERT_EQUAL(copy->body.size, 0);
    mem_free(copy);
}

SUITE("base txn body", TEST(trees_go_there_and_back), TEST(every_octet_counts),
      TEST(what_is_claimed_is_not_reserved), TEST(depth_is_bounded), TEST(what_is_said_of_a_tree),
      TEST(query_copy_stands_on_its_own))
