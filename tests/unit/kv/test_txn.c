/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions: etcd's rules one by one (sheet 2.5), then random trees against a model that knows nothing
 * of overlays, chains or slices: arrays of what every key was at every revision. Traps: nested compares see
 * the store before the transaction; a compare of a value that is not there; one refused operation refuses
 * all; reads inside see what was written; one revision.
 */
#include "fixture.h"

#include "kv/lease.h"

static struct view v(const char *text)
{
    return view_of_text(text);
}

static struct txn_op put(const char *key, const char *value)
{
    return (struct txn_op){.kind = TXN_PUT, .key = v(key), .value = v(value)};
}

static struct txn_op erase(const char *key, const char *end)
{
    return (struct txn_op){.kind = TXN_DELETE_RANGE, .key = v(key), .range_end = v(end)};
}

static struct txn_op get(const char *key, const char *end)
{
    return (struct txn_op){.kind = TXN_RANGE, .range = {.key = v(key), .range_end = v(end)}};
}

static struct txn_op nest(struct txn_body *body)
{
    return (struct txn_op){.kind = TXN_TXN, .txn = body};
}

/* Through the log. */
static struct result *apply(struct fixture *f, const struct txn_body *body)
{
    struct buffer octets = {0};
    txn_body_encode(body, &octets);
    const struct command c = {.op = COMMAND_TXN,
                              .key = txn_body_first_key(body),
                              .body = view_of(octets.data, octets.size)};
    struct result *result = fixture_apply(f, &c);
    buffer_free(&octets);
    return result;
}

static struct result *query(struct fixture *f, const struct txn_body *body, uint64_t rows_max)
{
    struct buffer octets = {0};
    txn_body_encode(body, &octets);
    const struct query q = {.kind = QUERY_TXN, .body = view_of(octets.data, octets.size)};
    struct result *result = fixture_query_sliced(f, &q, rows_max);
    buffer_free(&octets);
    return result;
}

static struct result *then(struct fixture *f, struct txn_op *ops, size_t count)
{
    const struct txn_body body = {.success = ops, .success_count = count};
    return apply(f, &body);
}

#define THEN(f, ...)                                                                               \
    then(f, (struct txn_op[]){__VA_ARGS__},                                                        \
         sizeof((struct txn_op[]){__VA_ARGS__}) / sizeof(struct txn_op))

static enum err error_of(struct result *result)
{
    enum err error = result->error;
    result_free(&result);
    return error;
}

/* ---- one revision ------------------------------------------------------------------------------------ */

static void one_revision_and_what_each_operation_sees(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    fixture_put(&f, "a", "1");
    fixture_put(&f, "b", "2"); /* revision 3 */
    struct txn_op with_previous = erase("a", "");
    with_previous.flags = COMMAND_PREV_KV;
    struct result *r = THEN(&f, get("a", "z"), put("c", "3"), get("a", "z"), with_previous,
                            erase("x", ""), get("a", "z"));
    CU_ASSERT_EQUAL_FATAL(r->error, OK);
    CU_ASSERT_TRUE(r->succeeded);
    CU_ASSERT_EQUAL(r->revision, 4);
    CU_ASSERT_EQUAL_FATAL(r->response_count, 6);
    static const struct {
        enum txn_op_kind kind;
        int64_t revision, count;
        const char *keys;
    } expected[] = {
        {TXN_RANGE, 3, 2, "a b"},      {TXN_PUT, 4, 0, ""},          {TXN_RANGE, 4, 3, "a b c"},
        {TXN_DELETE_RANGE, 4, 1, "a"}, {TXN_DELETE_RANGE, 4, 0, ""}, {TXN_RANGE, 4, 2, "b c"},
    };
    for (size_t i = 0; i < 6; i++) {
        char keys[256];
        const struct result_response *response = &r->responses[i];
        CU_ASSERT_EQUAL(response->kind, expected[i].kind);
        CU_ASSERT_EQUAL(response->result->revision, expected[i].revision);
        CU_ASSERT_EQUAL(response->result->count, expected[i].count);
        CU_ASSERT_STRING_EQUAL(fixture_keys(response->result, keys), expected[i].keys);
    }
    CU_ASSERT_EQUAL(r->responses[2].result->kvs[2].mod_revision, 4);
    CU_ASSERT_EQUAL(r->responses[2].result->kvs[2].version, 1);
    CU_ASSERT_TRUE(fixture_view_is(r->responses[3].result->kvs[0].value, "1"));
    result_free(&r);
    for (int flushed = 0; flushed < 2; flushed++) {
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 3, text), "1");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 4, text), "(none)");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "c", 4, text), "3");
        fixture_flush(&f);
    }
    /* what changes nothing is no revision */
    r = THEN(&f, get("a", "z"), erase("x", "y"));
    CU_ASSERT_EQUAL(r->revision, 4);
    CU_ASSERT_EQUAL(r->responses[1].result->revision, 4);
    result_free(&r);
    r = THEN(&f, put("b", "2"));
    CU_ASSERT_EQUAL(r->revision, 5);
    result_free(&r);
    fixture_end(&f);
}

/* Twice changed in one revision: what etcd's quirk lets through. The key is gone afterwards, and its
 * history has both changes. */
static void put_and_deleted_in_one_revision(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    fixture_put(&f, "x", "old");
    struct txn_op all = erase("a", "");
    all.range_end = view_of("\0", 1);
    struct result *r = THEN(&f, put("x", "new"), put("y", "new"), all, get("x", ""));
    CU_ASSERT_EQUAL_FATAL(r->error, OK);
    CU_ASSERT_EQUAL(r->responses[2].result->count, 2);
    CU_ASSERT_EQUAL(r->responses[3].result->count, 0);
    CU_ASSERT_EQUAL(r->revision, 3);
    result_free(&r);
    for (int flushed = 0; flushed < 2; flushed++) {
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "x", 2, text), "old");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "x", 3, text), "(none)");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "x", 0, text), "(none)");
        fixture_flush(&f);
    }
    r = THEN(&f, all, put("x", "again"), get("x", ""));
    CU_ASSERT_EQUAL(r->responses[2].result->kvs[0].version, 1);
    CU_ASSERT_EQUAL(r->responses[2].result->kvs[0].create_revision, 4);
    result_free(&r);
    /* nothing is left to keep: refused, and so is all of it */
    struct txn_op keep = put("x", "");
    keep.flags = COMMAND_IGNORE_VALUE;
    CU_ASSERT_EQUAL(error_of(THEN(&f, all, keep)), ERR_KEY_NOT_FOUND);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "x", 0, text), "again");
    fixture_end(&f);
}

/* ---- compares ------------------------------------------------------------------------------------------ */

static bool holds(struct fixture *f, struct txn_compare c)
{
    const struct txn_body body = {.compares = &c, .compare_count = 1};
    struct result *applied = apply(f, &body);
    struct result *read = query(f, &body, 1);
    bool held = applied->succeeded;
    CU_ASSERT_EQUAL(applied->error, OK);
    CU_ASSERT_EQUAL(read->error, OK);
    CU_ASSERT_EQUAL(read->succeeded, held);
    result_free(&applied);
    result_free(&read);
    return held;
}

/* As bits: equal, greater, less, not equal. */
static unsigned all_results(struct fixture *f, struct txn_compare c)
{
    unsigned bits = 0;
    for (unsigned result = TXN_EQUAL; result <= TXN_NOT_EQUAL; result++) {
        c.result = (enum txn_compare_result)result;
        bits |= holds(f, c) ? 1U << result : 0;
    }
    return bits;
}

#define EQUAL   (1U << TXN_EQUAL)
#define GREATER ((1U << TXN_GREATER) | (1U << TXN_NOT_EQUAL))
#define LESS    ((1U << TXN_LESS) | (1U << TXN_NOT_EQUAL))

static void every_target_and_result(void)
{
    struct fixture f;
    fixture_start(&f);
    fixture_put(&f, "k", "a");
    fixture_put(&f, "k", "b");
    fixture_put(&f, "l", "c");
    for (int flushed = 0; flushed < 2; flushed++) {
        static const struct {
            enum txn_compare_target target;
            int64_t stored;
        } numbers[] = {{TXN_VERSION, 2}, {TXN_CREATE, 2}, {TXN_MOD, 3}, {TXN_LEASE, 0}};
        for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
            struct txn_compare c = {.target = numbers[i].target, .key = v("k")};
            c.number = numbers[i].stored;
            CU_ASSERT_EQUAL(all_results(&f, c), EQUAL);
            c.number = numbers[i].stored - 1;
            CU_ASSERT_EQUAL(all_results(&f, c), GREATER);
            c.number = numbers[i].stored + 1;
            CU_ASSERT_EQUAL(all_results(&f, c), LESS);
            c.key = v("absent"); /* counts as 0 */
            CU_ASSERT_EQUAL(all_results(&f, c), LESS);
            c.number = 0;
            CU_ASSERT_EQUAL(all_results(&f, c), EQUAL);
            c.key = v("m");
            c.range_end = v("z"); /* and so does a range without a key, or none */
            CU_ASSERT_EQUAL(all_results(&f, c), EQUAL);
            c.range_end = v("c");
            CU_ASSERT_EQUAL(all_results(&f, c), EQUAL);
        }
        struct txn_compare c = {.target = TXN_VALUE, .key = v("k"), .value = v("b")};
        CU_ASSERT_EQUAL(all_results(&f, c), EQUAL);
        c.value = v("a\xff");
        CU_ASSERT_EQUAL(all_results(&f, c), GREATER);
        c.value = v("b ");
        CU_ASSERT_EQUAL(all_results(&f, c), LESS);
        c.key = v("absent");
        CU_ASSERT_EQUAL(all_results(&f, c), 0); /* not even "not equal" */
        c.value = v("");
        CU_ASSERT_EQUAL(all_results(&f, c), 0);
        /* every key of the range */
        c = (struct txn_compare){
            .target = TXN_VALUE, .key = v("k"), .range_end = v("m"), .value = v("b")};
        CU_ASSERT_EQUAL(all_results(&f, c), 0);
        c.value = v("a");
        CU_ASSERT_EQUAL(all_results(&f, c), GREATER);
        c = (struct txn_compare){
            .target = TXN_MOD, .key = v("k"), .range_end = v("m"), .number = 3};
        CU_ASSERT_EQUAL(all_results(&f, c), 0);
        c.number = 4;
        c.result = TXN_NOT_EQUAL; /* of l it does not hold */
        CU_ASSERT_FALSE(holds(&f, c));
        fixture_flush(&f);
    }
    fixture_end(&f);
}

static void which_branch_is_settled_before_anything_runs(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    struct txn_op yes = put("yes", "1"), no = put("no", "1");
    struct txn_compare is_new = {.target = TXN_VERSION, .key = v("k"), .number = 0};
    struct txn_body inner = {&is_new, 1, &yes, 1, &no, 1};
    struct result *r = THEN(&f, put("k", "written"), nest(&inner));
    CU_ASSERT_EQUAL_FATAL(r->response_count, 2);
    const struct result *nested = r->responses[1].result;
    CU_ASSERT_EQUAL(r->responses[1].kind, TXN_TXN);
    CU_ASSERT_TRUE(nested->succeeded);
    CU_ASSERT_EQUAL(nested->revision, 0); /* a nested header is empty */
    CU_ASSERT_EQUAL_FATAL(nested->response_count, 1);
    CU_ASSERT_EQUAL(nested->responses[0].result->revision, 2);
    result_free(&r);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "yes", 0, text), "1");
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "no", 0, text), "(none)");
    /* now it is there */
    struct txn_op only_nested = nest(&inner);
    r = then(&f, &only_nested, 1);
    CU_ASSERT_FALSE(r->responses[0].result->succeeded);
    CU_ASSERT_EQUAL(r->error, OK);
    result_free(&r);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "no", 0, text), "1");
    fixture_end(&f);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void one_refused_operation_refuses_all(void)
{
    struct fixture f;
    fixture_start(&f);
    fixture_put(&f, "a", "1");
    fixture_put(&f, "a", "2"); /* revision 3 */
    struct txn_op no_lease = put("b", "x");
    no_lease.lease = 5;
    struct txn_op no_key = put("b", "");
    no_key.flags = COMMAND_IGNORE_VALUE;
    struct txn_op neither = no_key;
    neither.lease = 5;
    struct txn_op future = get("a", "");
    future.range.revision = 4; /* the one this very transaction makes */
    struct txn_op past = get("a", "");
    past.range.revision = 2;
    struct txn_op negative = get("a", "");
    negative.range.revision = -1;
    CU_ASSERT_EQUAL(error_of(THEN(&f, put("c", "1"), no_lease)), ERR_LEASE_NOT_FOUND);
    CU_ASSERT_EQUAL(error_of(THEN(&f, put("c", "1"), no_key)), ERR_KEY_NOT_FOUND);
    CU_ASSERT_EQUAL(error_of(THEN(&f, put("c", "1"), neither)), ERR_KEY_NOT_FOUND);
    CU_ASSERT_EQUAL(error_of(THEN(&f, put("c", "1"), future)), ERR_FUTURE_REVISION);
    CU_ASSERT_EQUAL(error_of(THEN(&f, put("c", "1"), negative)), ERR_COMPACTED);
    CU_ASSERT_EQUAL(error_of(THEN(&f, put("c", "1"), past)), OK); /* revision 4 */
    CU_ASSERT_EQUAL(error_of(THEN(&f, future, put("d", "1"))), OK);
    /* puts are asked before ranges, wherever they stand */
    future.range.revision = 99;
    CU_ASSERT_EQUAL(error_of(THEN(&f, future, no_lease)), ERR_LEASE_NOT_FOUND);
    /* and only those of the branches that run */
    struct txn_compare never = {.target = TXN_VALUE, .key = v("none")};
    struct txn_body body = {&never, 1, &no_lease, 1, NULL, 0};
    CU_ASSERT_EQUAL(error_of(apply(&f, &body)), OK);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 5);
    struct query everything = fixture_everything();
    struct result *r = fixture_query(&f, &everything);
    char keys[256];
    CU_ASSERT_STRING_EQUAL(fixture_keys(r, keys), "a c d");
    result_free(&r);
    /* octets that are no body are refused like everywhere */
    const struct command broken = {.op = COMMAND_TXN, .body = v("no body")};
    CU_ASSERT_EQUAL(fixture_error(&f, &broken), ERR_TRUNCATED);
    struct txn_op writes = put("a", "1");
    body = (struct txn_body){.success = &writes, .success_count = 1};
    CU_ASSERT_EQUAL(error_of(query(&f, &body, 10)), ERR_MALFORMED); /* no query writes */
    fixture_end(&f);
}

/* A key is on the lease of its last put, and on none once it is deleted. */
static void leases_follow_their_keys(void)
{
    struct fixture f;
    fixture_start(&f);
    struct lease *one = lease_table_add(&f.kv->leases, 1, 60, 0, 0);
    struct lease *two = lease_table_add(&f.kv->leases, 2, 60, 0, 0);
    struct txn_op a = put("a", "1"), b = put("b", "1");
    a.lease = 1;
    b.lease = 1;
    CU_ASSERT_EQUAL(error_of(THEN(&f, a, b)), OK);
    CU_ASSERT_EQUAL(one->key_count, 2);
    a.lease = 2;
    struct txn_op keep = put("b", "2");
    keep.flags = COMMAND_IGNORE_LEASE;
    CU_ASSERT_EQUAL(error_of(THEN(&f, a, keep)), OK);
    CU_ASSERT_EQUAL(one->key_count, 1);
    CU_ASSERT_EQUAL(two->key_count, 1);
    CU_ASSERT_EQUAL(error_of(THEN(&f, put("a", "3"), erase("b", ""))), OK);
    CU_ASSERT_EQUAL(one->key_count, 0);
    CU_ASSERT_EQUAL(two->key_count, 0);
    fixture_end(&f);
}

/* The sub numbers of one revision are counted before the first of them is used. */
static void more_changes_than_a_revision_has_room_for(void)
{
    struct fixture f;
    fixture_start(&f);
    uint64_t half = CHANGE_SUB_MAX / 2 + 1;
    for (uint64_t i = 0; i < half; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "%08" PRIu64, i);
        fixture_put(&f, key, "");
        if (i % 100000 == 0) {
            fixture_flush(&f);
        }
    }
    int64_t revision = kv_revision(f.kv);
    CU_ASSERT_EQUAL(error_of(THEN(&f, put("x", "1"), erase("0", "1"), erase("0", "2"))),
                    ERR_TOO_MANY_OPS);
    CU_ASSERT_EQUAL(kv_revision(f.kv), revision);
    struct result *r = THEN(&f, put("x", "1"), erase("0", "1"));
    CU_ASSERT_EQUAL(r->error, OK);
    CU_ASSERT_EQUAL(r->responses[1].result->count, (int64_t)half);
    result_free(&r);
    fixture_end(&f);
}

/* ---- against a model -------------------------------------------------------------------------------------- */

#define KEYS          6
#define REVISIONS_MAX 4000

struct cell {
    bool alive;
    char value;
    int64_t create, mod, version;
};

struct model {
    struct cell keys[KEYS];
    struct cell past[REVISIONS_MAX][KEYS];
    int64_t revision;
};

static const char *const names[KEYS] = {"a", "b", "c", "d", "e", "f"};

static bool in_range(unsigned k, struct view key, struct view end)
{
    struct view name = v(names[k]);
    if (end.size == 0) {
        return view_equal(name, key);
    }
    bool unbounded = end.size == 1 && end.data[0] == 0;
    return view_compare(name, key) >= 0 && (unbounded || view_compare(name, end) < 0);
}

static bool model_compare_one(const struct txn_compare *c, const struct cell *cell)
{
    int64_t stored = c->target == TXN_VERSION  ? cell->version
                     : c->target == TXN_CREATE ? cell->create
                     : c->target == TXN_MOD    ? cell->mod
                                               : 0;
    int64_t given = c->number;
    if (c->target == TXN_VALUE) {
        stored = cell->value;
        given = c->value.data[0];
    }
    switch (c->result) {
    case TXN_EQUAL:
        return stored == given;
    case TXN_GREATER:
        return stored > given;
    case TXN_LESS:
        return stored < given;
    case TXN_NOT_EQUAL:
        return stored != given;
    }
    return false;
}

static bool model_compare(const struct cell before[KEYS], const struct txn_body *body)
{
    for (size_t i = 0; i < body->compare_count; i++) {
        const struct txn_compare *c = &body->compares[i];
        static const struct cell nothing;
        bool any = false;
        for (unsigned k = 0; k < KEYS; k++) {
            if (before[k].alive && in_range(k, c->key, c->range_end)) {
                any = true;
                if (!model_compare_one(c, &before[k])) {
                    return false;
                }
            }
        }
        if (!any && (c->target == TXN_VALUE || !model_compare_one(c, &nothing))) {
            return false;
        }
    }
    return true;
}

/* What etcd refuses, in its order: puts first. */
static enum err model_refusal(const struct model *m, const struct txn_body *body, bool puts)
{
    bool held = model_compare(m->keys, body);
    const struct txn_op *ops = held ? body->success : body->failure;
    size_t count = held ? body->success_count : body->failure_count;
    for (size_t i = 0; i < count; i++) {
        enum err error = OK;
        const struct query *q = &ops[i].range;
        if (ops[i].kind == TXN_TXN) {
            error = model_refusal(m, ops[i].txn, puts);
        } else if (ops[i].kind == TXN_PUT && puts && (ops[i].flags & COMMAND_IGNORE_VALUE) != 0) {
            error = m->keys[ops[i].key.data[0] - 'a'].alive ? OK : ERR_KEY_NOT_FOUND;
        } else if (ops[i].kind == TXN_RANGE && !puts && q->revision > m->revision) {
            error = ERR_FUTURE_REVISION;
        }
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

static void check_pair(const struct key_value *pair, unsigned k, const struct cell *cell)
{
    CU_ASSERT_TRUE(view_equal(pair->key, v(names[k])));
    CU_ASSERT_TRUE(pair->value.size == 1 && pair->value.data[0] == (uint8_t)cell->value);
    CU_ASSERT_EQUAL(pair->create_revision, cell->create);
    CU_ASSERT_EQUAL(pair->mod_revision, cell->mod);
    CU_ASSERT_EQUAL(pair->version, cell->version);
}

/* Run in the model and hold the answer beside it. */
static void model_run(struct model *m, const struct cell before[KEYS], const struct txn_body *body,
                      bool *changed, const struct result *answer)
{
    bool held = model_compare(before, body);
    const struct txn_op *ops = held ? body->success : body->failure;
    size_t count = held ? body->success_count : body->failure_count;
    CU_ASSERT_EQUAL(answer->succeeded, held);
    CU_ASSERT_EQUAL_FATAL(answer->response_count, count);
    for (size_t i = 0; i < count; i++) {
        const struct result *r = answer->responses[i].result;
        size_t at = 0;
        CU_ASSERT_EQUAL(answer->responses[i].kind, ops[i].kind);
        if (ops[i].kind == TXN_TXN) {
            CU_ASSERT_EQUAL(r->revision, 0);
            model_run(m, before, ops[i].txn, changed, r);
            continue;
        }
        if (ops[i].kind == TXN_PUT) {
            unsigned k = (unsigned)ops[i].key.data[0] - 'a';
            struct cell *cell = &m->keys[k];
            CU_ASSERT_EQUAL(r->kv_count, cell->alive && (ops[i].flags & COMMAND_PREV_KV) ? 1 : 0);
            if (r->kv_count == 1) {
                check_pair(&r->kvs[0], k, cell);
            }
            char value = (ops[i].flags & COMMAND_IGNORE_VALUE) != 0 ? cell->value
                                                                    : (char)ops[i].value.data[0];
            *cell = (struct cell){.alive = true,
                                  .value = value,
                                  .create = cell->alive ? cell->create : m->revision + 1,
                                  .mod = m->revision + 1,
                                  .version = cell->alive ? cell->version + 1 : 1};
            *changed = true;
        } else if (ops[i].kind == TXN_DELETE_RANGE) {
            int64_t deleted = 0;
            for (unsigned k = 0; k < KEYS; k++) {
                if (m->keys[k].alive && in_range(k, ops[i].key, ops[i].range_end)) {
                    check_pair(&r->kvs[at++], k, &m->keys[k]);
                    m->keys[k] = (struct cell){0};
                    *changed = true;
                    deleted++;
                }
            }
            CU_ASSERT_EQUAL(r->count, deleted);
        } else {
            const struct query *q = &ops[i].range;
            const struct cell *cells = q->revision > 0 ? m->past[q->revision] : m->keys;
            for (unsigned k = 0; k < KEYS; k++) {
                if (cells[k].alive && in_range(k, q->key, q->range_end)) {
                    CU_ASSERT_TRUE_FATAL(at < r->kv_count);
                    check_pair(&r->kvs[at++], k, &cells[k]);
                }
            }
            CU_ASSERT_EQUAL(r->count, (int64_t)at);
        }
        CU_ASSERT_EQUAL(r->kv_count, ops[i].kind == TXN_PUT ? r->kv_count : at);
        CU_ASSERT_EQUAL(r->revision, m->revision + (*changed ? 1 : 0));
    }
}

#define NODES 40

struct forest {
    struct txn_body bodies[NODES];
    struct txn_op ops[NODES][8];
    struct txn_compare compares[NODES][3];
    size_t used;
};

static struct view some_end(uint64_t *seed)
{
    switch (random_below(seed, 3)) {
    case 0:
        return view_of(NULL, 0);
    case 1:
        return view_of("\0", 1);
    default:
        return v(names[random_below(seed, KEYS)]);
    }
}

static void grow(struct forest *f, struct txn_body *body, uint64_t *seed, unsigned level,
                 const struct model *m, bool read_only)
{
    static const char *const values[] = {"p", "q", "r"};
    size_t at = (size_t)(body - f->bodies);
    struct txn_op *ops = f->ops[at];
    size_t then_count = random_below(seed, 4);
    size_t else_count = random_below(seed, 4);
    size_t compare_count = random_below(seed, 3);
    for (size_t i = 0; i < compare_count; i++) {
        static const enum txn_compare_target targets[] = {TXN_VERSION, TXN_CREATE, TXN_MOD,
                                                          TXN_VALUE, TXN_LEASE};
        f->compares[at][i] = (struct txn_compare){
            .result = (enum txn_compare_result)random_below(seed, 4),
            .target = targets[random_below(seed, 5)],
            .key = v(names[random_below(seed, KEYS)]),
            .range_end = some_end(seed),
            .number =
                (int64_t)random_below(seed, 2) * m->revision / 2 + (int64_t)random_below(seed, 3),
            .value = v(values[random_below(seed, 3)]),
        };
    }
    for (size_t i = 0; i < then_count + else_count; i++) {
        uint64_t kind = random_below(seed, 10);
        struct view key = v(names[random_below(seed, KEYS)]);
        ops[i] =
            (struct txn_op){.kind = TXN_RANGE, .range = {.key = key, .range_end = some_end(seed)}};
        if (random_below(seed, 3) == 0) {
            ops[i].range.revision =
                1 + (int64_t)random_below(seed, (uint64_t)m->revision + (kind == 9 ? 2 : 0));
        }
        if (kind < 2 && level < 3 && f->used < NODES) {
            ops[i] = nest(&f->bodies[f->used++]);
            grow(f, ops[i].txn, seed, level + 1, m, read_only);
        } else if (kind < 6 && !read_only) {
            bool keep = random_below(seed, 4) == 0;
            ops[i] = (struct txn_op){
                .kind = TXN_PUT,
                .key = key,
                .value = keep ? v("") : v(values[random_below(seed, 3)]),
                .flags = (uint16_t)((keep ? COMMAND_IGNORE_VALUE : 0) | random_below(seed, 2))};
        } else if (kind < 8 && !read_only) {
            ops[i] = (struct txn_op){.kind = TXN_DELETE_RANGE,
                                     .key = key,
                                     .range_end = some_end(seed),
                                     .flags = COMMAND_PREV_KV};
        }
    }
    *body = (struct txn_body){f->compares[at], compare_count,    ops,
                              then_count,      ops + then_count, else_count};
}

/* The quirk's other half, a put with ignore_value behind the delete that took the value: refused by us where
 * etcd breaks down. Left out of the model. */
static bool has_quirk(const struct txn_body *body)
{
    bool erases = false, keeps = false;
    struct buffer octets = {0};
    struct txn_body *copy = NULL;
    txn_body_encode(body, &octets);
    CU_ASSERT_EQUAL_FATAL(txn_body_decode(view_of(octets.data, octets.size), &copy), OK);
    const struct txn_body *stack[NODES];
    size_t depth = 0;
    stack[depth++] = copy;
    while (depth > 0) {
        const struct txn_body *b = stack[--depth];
        for (size_t i = 0; i < b->success_count + b->failure_count; i++) {
            const struct txn_op *op =
                i < b->success_count ? &b->success[i] : &b->failure[i - b->success_count];
            if (op->kind == TXN_TXN) {
                stack[depth++] = op->txn;
            }
            erases = erases || (op->kind == TXN_DELETE_RANGE && op->range_end.size == 1 &&
                                op->range_end.data[0] == 0);
            keeps = keeps || (op->kind == TXN_PUT && (op->flags & COMMAND_IGNORE_VALUE) != 0);
        }
    }
    mem_free(copy);
    buffer_free(&octets);
    return erases && keeps;
}

static void random_trees_against_the_model(void)
{
    static struct forest forest;
    static struct model m;
    unsigned applied = 0, refused = 0, read = 0, nested = 0;
    uint64_t seed = 11;
    struct fixture f;
    fixture_start(&f);
    memset(&m, 0, sizeof(m));
    m.revision = 1;
    while (m.revision < REVISIONS_MAX - 1) {
        bool read_only = random_below(&seed, 4) == 0;
        forest.used = 1;
        grow(&forest, &forest.bodies[0], &seed, 0, &m, read_only);
        const struct txn_body *root = &forest.bodies[0];
        if (txn_body_check(root, 128) != OK || has_quirk(root)) {
            continue;
        }
        enum err refusal = model_refusal(&m, root, true);
        refusal = refusal != OK ? refusal : model_refusal(&m, root, false);
        struct result *r = read_only && random_below(&seed, 2) == 0
                               ? query(&f, root, 1 + random_below(&seed, 5))
                               : apply(&f, root);
        CU_ASSERT_EQUAL_FATAL(r->error, refusal);
        if (refusal == OK) {
            struct cell before[KEYS];
            bool changed = false;
            memcpy(before, m.keys, sizeof(before));
            model_run(&m, before, root, &changed, r);
            m.revision += changed ? 1 : 0;
            memcpy(m.past[m.revision], m.keys, sizeof(m.keys));
            applied += changed ? 1 : 0;
            read += changed ? 0 : 1;
            nested += forest.used > 1 ? 1 : 0;
        } else {
            refused++;
        }
        CU_ASSERT_EQUAL_FATAL(r->revision, m.revision);
        result_free(&r);
        if (random_below(&seed, 20) == 0) {
            fixture_flush(&f);
        }
        if (random_below(&seed, 300) == 0) {
            fixture_flush(&f);
            fixture_close(&f);
            fixture_open(&f);
        }
    }
    CU_ASSERT_TRUE(applied > 1000);
    CU_ASSERT_TRUE(refused > 100);
    CU_ASSERT_TRUE(read > 500);
    CU_ASSERT_TRUE(nested > 500);
    fixture_end(&f);
}

SUITE("kv txn", TEST(one_revision_and_what_each_operation_sees),
      TEST(put_and_deleted_in_one_revision), TEST(every_target_and_result),
      TEST(which_branch_is_settled_before_anything_runs), TEST(one_refused_operation_refuses_all),
      TEST(leases_follow_their_keys), TEST(more_changes_than_a_revision_has_room_for),
      TEST(random_trees_against_the_model))
