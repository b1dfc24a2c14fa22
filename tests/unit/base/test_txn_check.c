/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which transactions are refused before they are proposed, and with what: etcd's rules one by one (traps
 * of the API sheet, 2.5), then the duplicate rule against the plain recursive one that etcd runs, on
 * random trees.
 */
#include "suite.h"

#include "command.h"

#define OPS_MAX 128

static struct view v(const char *text)
{
    return view_of_text(text);
}

static struct txn_op put(const char *key)
{
    return (struct txn_op){.kind = TXN_PUT, .key = v(key), .value = v("x")};
}

static struct txn_op erase(const char *key, const char *end)
{
    return (struct txn_op){.kind = TXN_DELETE_RANGE, .key = v(key), .range_end = v(end)};
}

static struct txn_op range(const char *key)
{
    return (struct txn_op){.kind = TXN_RANGE, .range = {.key = v(key)}};
}

static struct txn_op nest(struct txn_body *body)
{
    return (struct txn_op){.kind = TXN_TXN, .txn = body};
}

static enum err check_then(struct txn_op *ops, size_t count)
{
    struct txn_body body = {.success = ops, .success_count = count};
    enum err then = txn_body_check(&body, OPS_MAX);
    struct txn_body other = {.failure = ops, .failure_count = count};
    CU_ASSERT_EQUAL(txn_body_check(&other, OPS_MAX), then); /* the branches have the same rules */
    return then;
}

#define CHECK(...)                                                                                 \
    check_then((struct txn_op[]){__VA_ARGS__},                                                     \
               sizeof((struct txn_op[]){__VA_ARGS__}) / sizeof(struct txn_op))

static void numbers_of_operations(void)
{
    static struct txn_op ops[OPS_MAX + 1];
    static struct txn_compare compares[OPS_MAX + 1];
    for (size_t i = 0; i <= OPS_MAX; i++) {
        ops[i] = range("k");
        compares[i].key = v("k");
    }
    struct txn_body body = {compares, OPS_MAX, ops, OPS_MAX, ops, OPS_MAX};
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), OK); /* each of them, exactly 128 */
    body.compare_count++;
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), ERR_TOO_MANY_OPS);
    body = (struct txn_body){.success = ops, .success_count = OPS_MAX + 1};
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), ERR_TOO_MANY_OPS);
    body = (struct txn_body){.failure = ops, .failure_count = OPS_MAX + 1};
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), ERR_TOO_MANY_OPS);
    /* a nested one has what its parent's longest list left */
    struct txn_body inner = {.success = ops, .success_count = 120};
    struct txn_op outer_ops[9];
    for (size_t i = 0; i < 9; i++) {
        outer_ops[i] = range("k");
    }
    outer_ops[3] = nest(&inner);
    body = (struct txn_body){.success = outer_ops, .success_count = 8};
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), OK);
    body.success_count = 9;
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), ERR_TOO_MANY_OPS);
    body = (struct txn_body){compares, 9, outer_ops, 8, NULL, 0};
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), ERR_TOO_MANY_OPS);
}

/* However many operations the config allows, what cannot be encoded is not let in. */
static void depth(void)
{
    static struct txn_body bodies[TXN_DEPTH_MAX + 1];
    static struct txn_op ops[TXN_DEPTH_MAX + 1];
    for (size_t i = 0; i < TXN_DEPTH_MAX; i++) {
        ops[i] = nest(&bodies[i + 1]);
        bodies[i] = (struct txn_body){.success = &ops[i], .success_count = 1};
    }
    bodies[TXN_DEPTH_MAX] = (struct txn_body){0};
    CU_ASSERT_EQUAL(txn_body_check(&bodies[1], 10000), OK);
    CU_ASSERT_EQUAL(txn_body_check(&bodies[0], 10000), ERR_TOO_MANY_OPS);
    CU_ASSERT_EQUAL(txn_body_check(&bodies[1], TXN_DEPTH_MAX - 2), ERR_TOO_MANY_OPS);
}

static void fields(void)
{
    struct txn_op op = {.kind = TXN_NONE};
    CU_ASSERT_EQUAL(check_then(&op, 1), ERR_KEY_NOT_FOUND); /* sic */
    CU_ASSERT_EQUAL(CHECK(put("")), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(CHECK(erase("", "z")), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(CHECK(range("")), ERR_KEY_EMPTY);
    op = put("a");
    op.flags = COMMAND_IGNORE_VALUE;
    CU_ASSERT_EQUAL(check_then(&op, 1), ERR_VALUE_PROVIDED);
    op.value.size = 0;
    CU_ASSERT_EQUAL(check_then(&op, 1), OK);
    op.flags = COMMAND_IGNORE_LEASE;
    op.lease = 1;
    CU_ASSERT_EQUAL(check_then(&op, 1), ERR_LEASE_PROVIDED);
    op = range("a");
    op.range.sort_order = (enum sort_order)3;
    CU_ASSERT_EQUAL(check_then(&op, 1), ERR_INVALID_SORT);
    op = range("a");
    op.range.sort_target = (enum sort_target)(-1);
    CU_ASSERT_EQUAL(check_then(&op, 1), ERR_INVALID_SORT);
    struct txn_compare compare = {.key = v("")};
    struct txn_body body = {.compares = &compare, .compare_count = 1};
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), ERR_KEY_EMPTY);
    struct txn_op nested = nest(&body);
    CU_ASSERT_EQUAL(check_then(&nested, 1), ERR_KEY_EMPTY);
    compare = (struct txn_compare){.key = v("k"), .target = (enum txn_compare_target)5};
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), ERR_INVALID_COMPARE);
    /* in the order of the request: before the duplicates, the first one wins */
    CU_ASSERT_EQUAL(CHECK(put("a"), put("a"), put("")), ERR_KEY_EMPTY);
}

static void duplicates_in_one_list(void)
{
    CU_ASSERT_EQUAL(CHECK(put("a"), put("b")), OK);
    CU_ASSERT_EQUAL(CHECK(put("a"), put("a")), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(put("a"), erase("a", "")), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(erase("a", ""), put("a")), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(erase("a", "c"), put("b")), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(erase("a", "c"), put("c")), OK);
    CU_ASSERT_EQUAL(CHECK(erase("a", "c"), erase("b", ""), erase("a", "c")), OK);
    CU_ASSERT_EQUAL(CHECK(erase("c", "a"), put("b")), OK); /* an empty range */
    CU_ASSERT_EQUAL(CHECK(range("a"), put("a"), range("a")), OK);
    struct txn_op quirk = erase("a", "");
    quirk.range_end = view_of("\0", 1);
    CU_ASSERT_EQUAL(CHECK(put("x"), quirk), OK);
    CU_ASSERT_EQUAL(CHECK(quirk, put("x")), OK);
    struct txn_op here = put("a"), there = put("a");
    struct txn_body body = {
        .success = &here, .success_count = 1, .failure = &there, .failure_count = 1};
    CU_ASSERT_EQUAL(txn_body_check(&body, OPS_MAX), OK); /* only one of them runs */
}

static void duplicates_in_nested_ones(void)
{
    struct txn_op a = put("a"), a_too = put("a"), b = put("b"), all = erase("a", "z");
    struct txn_body then_a = {.success = &a, .success_count = 1};
    struct txn_body both = {
        .success = &a, .success_count = 1, .failure = &a_too, .failure_count = 1};
    struct txn_body else_b = {.failure = &b, .failure_count = 1};
    struct txn_body then_all = {.success = &all, .success_count = 1};
    CU_ASSERT_EQUAL(CHECK(nest(&then_a), put("b")), OK);
    CU_ASSERT_EQUAL(CHECK(nest(&then_a), put("a")), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(put("a"), nest(&then_a)), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(nest(&then_a), nest(&then_a)), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(nest(&both)), OK);
    CU_ASSERT_EQUAL(CHECK(nest(&both), nest(&else_b)), OK);
    CU_ASSERT_EQUAL(CHECK(nest(&both), put("a")), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(erase("a", ""), nest(&both)), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(nest(&both), erase("a", "")), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(put("m"), nest(&then_all)), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(nest(&then_all), nest(&then_a)), ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(CHECK(nest(&then_a), nest(&then_all)), OK); /* etcd's: only what came before */
}

/* ---- etcd's own way, recursively, over keys "a".."h" ------------------------------------------------- */

#define KEYS 8

struct found {
    bool puts[KEYS], deletes[KEYS], duplicate;
};

static unsigned key_at(struct view key)
{
    return (unsigned)key.data[0] - 'a';
}

static struct found reference(const struct txn_op *ops, size_t count)
{
    struct found all = {0};
    for (size_t i = 0; i < count; i++) {
        for (unsigned k = 0; k < KEYS && ops[i].kind == TXN_DELETE_RANGE; k++) {
            const uint8_t octet = (uint8_t)('a' + k);
            bool single = ops[i].range_end.size == 0;
            bool in = single ? ops[i].key.data[0] == octet
                             : ops[i].key.data[0] <= octet && octet < ops[i].range_end.data[0];
            all.deletes[k] = all.deletes[k] || in;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind != TXN_TXN) {
            continue;
        }
        struct found then = reference(ops[i].txn->success, ops[i].txn->success_count);
        struct found other = reference(ops[i].txn->failure, ops[i].txn->failure_count);
        all.duplicate = all.duplicate || then.duplicate || other.duplicate;
        for (unsigned k = 0; k < KEYS; k++) {
            bool seen = all.puts[k];
            bool either = then.puts[k] || other.puts[k];
            all.duplicate = all.duplicate || (either && (seen || all.deletes[k]));
        }
        for (unsigned k = 0; k < KEYS; k++) {
            all.puts[k] = all.puts[k] || then.puts[k] || other.puts[k];
            all.deletes[k] = all.deletes[k] || then.deletes[k] || other.deletes[k];
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == TXN_PUT) {
            unsigned k = key_at(ops[i].key);
            all.duplicate = all.duplicate || all.puts[k] || all.deletes[k];
            all.puts[k] = true;
        }
    }
    return all;
}

#define NODES 64

struct forest {
    struct txn_body bodies[NODES];
    struct txn_op ops[NODES][8];
    size_t used;
};

static const char *const names[KEYS] = {"a", "b", "c", "d", "e", "f", "g", "h"};

static void grow(struct forest *f, struct txn_body *body, uint64_t *seed, unsigned level)
{
    struct txn_op *ops = f->ops[body - f->bodies];
    size_t then = random_below(seed, 5);
    size_t other = random_below(seed, 4);
    for (size_t i = 0; i < then + other; i++) {
        uint64_t kind = random_below(seed, 10);
        uint64_t key = random_below(seed, KEYS);
        if (kind < 4 && level < 4 && f->used < NODES) {
            ops[i] = nest(&f->bodies[f->used++]);
            grow(f, ops[i].txn, seed, level + 1);
        } else if (kind < 7) {
            ops[i] = put(names[key]);
        } else if (kind < 9) {
            ops[i] = erase(names[key],
                           random_below(seed, 2) == 0 ? "" : names[random_below(seed, KEYS)]);
        } else {
            ops[i] = range(names[key]);
        }
    }
    *body = (struct txn_body){
        .success = ops, .success_count = then, .failure = ops + then, .failure_count = other};
}

static void duplicates_as_etcd_finds_them(void)
{
    static struct forest f;
    uint64_t seed = 7;
    unsigned refused = 0, nested = 0;
    for (int round = 0; round < 60000; round++) {
        f.used = 1;
        grow(&f, &f.bodies[0], &seed, 0);
        const struct txn_body *root = &f.bodies[0];
        bool duplicate = reference(root->success, root->success_count).duplicate ||
                         reference(root->failure, root->failure_count).duplicate;
        enum err error = txn_body_check(root, OPS_MAX);
        CU_ASSERT_EQUAL(error, duplicate ? ERR_DUPLICATE_KEY : OK);
        refused += duplicate ? 1 : 0;
        nested += f.used > 2 && !duplicate ? 1 : 0;
    }
    CU_ASSERT_TRUE(refused > 5000);
    CU_ASSERT_TRUE(nested > 2000);
}

/* A request of a megabyte of nothing but this is checked in a moment; all against all would be hours. */
static void many(void)
{
    size_t count = 60000;
    struct txn_op *ops = mem_zalloc(count * sizeof(*ops));
    char *keys = mem_alloc(count * 8);
    for (size_t i = 0; i < count; i++) {
        char *key = keys + i * 8;
        (void)snprintf(key, 8, "%06zu", i);
        ops[i] = i % 2 == 0 ? put(key) : erase(key, "");
    }
    struct txn_body body = {.success = ops, .success_count = count};
    CU_ASSERT_EQUAL(txn_body_check(&body, count), OK);
    ops[1] = erase("000001", "000001x");
    ops[3] = erase("0000021", "0000041");
    CU_ASSERT_EQUAL(txn_body_check(&body, count), ERR_DUPLICATE_KEY);
    mem_free(ops);
    mem_free(keys);
}

SUITE("base txn check", TEST(numbers_of_operations), TEST(depth), TEST(fields),
      TEST(duplicates_in_one_list), TEST(duplicates_in_nested_ones),
      TEST(duplicates_as_etcd_finds_them), TEST(many))
