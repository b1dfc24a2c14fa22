/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads: etcd's key ranges, order of work, count, more, revisions and refusals, one test per rule; and
 * that a read in slices answers the state at its revision whatever is applied in between.
 */
#include "fixture.h"
#include "kv/range.h"
#include "kv/state.h"

/* One fixture with keys in all three places: a, c on disk; b sealed; d, and a again, open. */
static void start_spread(struct fixture *f)
{
    fixture_start(f);
    fixture_put(f, "a", "9"); /* 2 */
    fixture_put(f, "c", "3"); /* 3 */
    fixture_put(f, "x", "0"); /* 4 */
    fixture_flush(f);
    fixture_put(f, "b", "5");         /* 5 */
    (void)fixture_delete(f, "x", ""); /* 6 */
    fixture_seal(f);
    fixture_put(f, "d", "1"); /* 7 */
    fixture_put(f, "a", "2"); /* 8 */
}

static void expect_keys(struct fixture *f, const struct query *q, const char *keys, int64_t count,
                        bool more)
{
    char text[256];
    for (uint64_t rows_max = 1; rows_max < 8; rows_max++) {
        struct result *result = fixture_query_sliced(f, q, rows_max);
        CU_ASSERT_EQUAL(result->error, OK);
        CU_ASSERT_STRING_EQUAL(fixture_keys(result, text), keys);
        CU_ASSERT_EQUAL(result->count, count);
        CU_ASSERT_EQUAL(result->more, more);
        CU_ASSERT_EQUAL(result->revision, kv_revision(f->kv));
        size_t bytes = 0;
        for (size_t i = 0; i < result->kv_count; i++) {
            bytes += result->kvs[i].key.size + result->kvs[i].value.size;
        }
        CU_ASSERT_EQUAL(result->bytes, bytes);
        result_free(&result);
    }
}

static void key_ranges(void)
{
    static const uint8_t zero = 0;
    struct fixture f;
    start_spread(&f);
    struct query q = fixture_range("b", "");
    expect_keys(&f, &q, "b", 1, false);
    q = fixture_range("bb", "");
    expect_keys(&f, &q, "", 0, false);
    q = fixture_range("x", ""); /* deleted */
    expect_keys(&f, &q, "", 0, false);
    q = fixture_range("a", "c");
    expect_keys(&f, &q, "a b", 2, false);
    q = fixture_range("a", "a\x01");
    expect_keys(&f, &q, "a", 1, false);
    q = fixture_range("b", "b"); /* key >= range_end: empty and fine */
    expect_keys(&f, &q, "", 0, false);
    q = fixture_range("c", "a");
    expect_keys(&f, &q, "", 0, false);
    q = fixture_range("b", "");
    q.range_end = view_of(&zero, 1);
    expect_keys(&f, &q, "b c d", 3, false);
    q = fixture_everything();
    expect_keys(&f, &q, "a b c d", 4, false);
    fixture_end(&f);
}

/* Octets compare unsigned; a zero octet and 0xff are octets like others. */
static void keys_are_octets(void)
{
    static const uint8_t keys[][2] = {{0, 0},       {0, 1},    {'a', 0},
                                      {0x7f, 0xff}, {0x80, 0}, {0xff, 0xff}};
    struct fixture f;
    fixture_start(&f);
    for (size_t i = ARRAY_COUNT(keys); i > 0; i--) {
        struct command c = {.op = COMMAND_PUT, .key = view_of(keys[i - 1], 2)};
        CU_ASSERT_EQUAL(fixture_error(&f, &c), OK);
        if (i % 2 == 0) {
            fixture_flush(&f);
        }
    }
    struct query q = fixture_everything();
    struct result *result = fixture_query_sliced(&f, &q, 1);
    CU_ASSERT_EQUAL_FATAL(result->kv_count, ARRAY_COUNT(keys));
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        CU_ASSERT(view_equal(result->kvs[i].key, view_of(keys[i], 2)));
    }
    result_free(&result);
    fixture_end(&f);
}

/* count is of the whole range whatever limit and filters say; more tells that the limit cut. */
static void limit_count_and_more(void)
{
    struct fixture f;
    start_spread(&f);
    struct query q = fixture_everything();
    q.limit = 1;
    expect_keys(&f, &q, "a", 4, true);
    q.limit = 3;
    expect_keys(&f, &q, "a b c", 4, true);
    q.limit = 4;
    expect_keys(&f, &q, "a b c d", 4, false);
    q.limit = INT64_MAX;
    expect_keys(&f, &q, "a b c d", 4, false);
    q.limit = -2; /* not positive: no limit */
    expect_keys(&f, &q, "a b c d", 4, false);
    q.limit = 1;
    q.key = view_of_text("d");
    expect_keys(&f, &q, "d", 1, false);
    fixture_end(&f);
}

/* count_only: no pairs, more false, limit ignored. */
static void count_only(void)
{
    struct fixture f;
    start_spread(&f);
    struct query q = fixture_everything();
    q.count_only = true;
    q.limit = 1;
    expect_keys(&f, &q, "", 4, false);
    q.sort_order = SORT_DESCEND;
    q.min_mod_revision = 8;
    expect_keys(&f, &q, "", 4, false);
    q = fixture_range("a", "");
    q.count_only = true;
    expect_keys(&f, &q, "", 1, false);
    fixture_end(&f);
}

/* keys_only blanks values and keeps everything else; sorting by value still works. */
static void keys_only(void)
{
    struct fixture f;
    start_spread(&f);
    for (int by_value = 0; by_value < 2; by_value++) {
        struct query q = fixture_everything();
        q.keys_only = true;
        q.sort_target = by_value ? SORT_VALUE : SORT_KEY;
        expect_keys(&f, &q, by_value ? "d a c b" : "a b c d", 4, false);
        struct result *result = fixture_query(&f, &q);
        for (size_t i = 0; i < result->kv_count; i++) {
            CU_ASSERT_EQUAL(result->kvs[i].value.size, 0);
            CU_ASSERT(result->kvs[i].mod_revision > 1);
            CU_ASSERT(result->kvs[i].version > 0);
        }
        result_free(&result);
    }
    struct query q = fixture_range("a", "");
    q.keys_only = true;
    struct result *result = fixture_query(&f, &q);
    CU_ASSERT_EQUAL_FATAL(result->kv_count, 1);
    CU_ASSERT_EQUAL(result->kvs[0].value.size, 0);
    CU_ASSERT_EQUAL(result->kvs[0].version, 2);
    result_free(&result);
    fixture_end(&f);
}

/* Filters drop pairs outside the bounds, which belong to the range; 0 is no bound. */
static void filters(void)
{
    struct fixture f;
    start_spread(&f); /* mod: a 8, b 5, c 3, d 7; create: a 2, b 5, c 3, d 7 */
    struct query q = fixture_everything();
    q.min_mod_revision = 5;
    expect_keys(&f, &q, "a b d", 4, false);
    q.max_mod_revision = 7;
    expect_keys(&f, &q, "b d", 4, false);
    q.limit = 1; /* cut after filtering */
    expect_keys(&f, &q, "b", 4, true);
    q = fixture_everything();
    q.min_create_revision = 3;
    q.max_create_revision = 5;
    expect_keys(&f, &q, "b c", 4, false);
    q.limit = 2;
    expect_keys(&f, &q, "b c", 4, false);
    q = fixture_range("a", "");
    q.max_mod_revision = 7;
    expect_keys(&f, &q, "", 1, false);
    q = fixture_everything();
    q.max_create_revision = -1;
    expect_keys(&f, &q, "", 4, false);
    fixture_end(&f);
}

static void sort_targets_and_orders(void)
{
    static const struct {
        enum sort_target target;
        const char *ascending, *descending;
    } cases[] = {
        {SORT_KEY, "a b c d", "d c b a"},
        {SORT_VERSION, "b c d a", "a b c d"}, /* b, c, d tie: key order */
        {SORT_CREATE, "a c b d", "d b c a"},
        {SORT_MOD, "c b d a", "a d b c"},
        {SORT_VALUE, "d a c b", "b c a d"},
    };
    struct fixture f;
    start_spread(&f);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct query q = fixture_everything();
        q.sort_target = cases[i].target;
        q.sort_order = SORT_ASCEND;
        expect_keys(&f, &q, cases[i].ascending, 4, false);
        q.sort_order = SORT_NONE; /* ascending by the target */
        expect_keys(&f, &q, cases[i].ascending, 4, false);
        q.sort_order = SORT_DESCEND;
        expect_keys(&f, &q, cases[i].descending, 4, false);
    }
    fixture_end(&f);
}

/* With an order: sorted, then cut. Without, and a target other than the key: cut to limit + 1, sorted,
 * then cut. So the last pair by that target of the first limit + 1 keys is the one that goes. */
static void order_of_sorting_and_cutting(void)
{
    struct fixture f;
    start_spread(&f); /* mod: a 8, b 5, c 3, d 7 */
    struct query q = fixture_everything();
    q.limit = 1;
    q.sort_target = SORT_MOD;
    q.sort_order = SORT_ASCEND;
    expect_keys(&f, &q, "c", 4, true);
    q.sort_order = SORT_DESCEND;
    expect_keys(&f, &q, "a", 4, true);
    q.sort_order = SORT_NONE;
    expect_keys(&f, &q, "b", 4, true);
    q.limit = 2;
    expect_keys(&f, &q, "c b", 4, true);
    q.min_mod_revision = 1; /* a filter: the whole range is taken first */
    q.limit = 1;
    expect_keys(&f, &q, "c", 4, true);
    q = fixture_everything();
    q.limit = 2;
    q.sort_order = SORT_ASCEND;
    expect_keys(&f, &q, "a b", 4, true);
    q.sort_order = SORT_DESCEND;
    expect_keys(&f, &q, "d c", 4, true);
    fixture_end(&f);
}

/* The header's revision is the store's, not the one asked for; not positive means newest. */
static void old_revisions(void)
{
    struct fixture f;
    start_spread(&f);
    struct query q = fixture_everything();
    q.revision = 1;
    expect_keys(&f, &q, "", 0, false);
    q.revision = 2;
    expect_keys(&f, &q, "a", 1, false);
    q.revision = 5;
    expect_keys(&f, &q, "a b c x", 4, false);
    q.revision = 6;
    expect_keys(&f, &q, "a b c", 3, false);
    q.revision = 8;
    expect_keys(&f, &q, "a b c d", 4, false);
    q.revision = -3;
    expect_keys(&f, &q, "a b c d", 4, false);
    q = fixture_range("a", "");
    q.revision = 7;
    struct result *result = fixture_query(&f, &q);
    CU_ASSERT_EQUAL_FATAL(result->kv_count, 1);
    CU_ASSERT(fixture_view_is(result->kvs[0].value, "9"));
    CU_ASSERT_EQUAL(result->kvs[0].mod_revision, 2);
    CU_ASSERT_EQUAL(result->kvs[0].version, 1);
    result_free(&result);
    fixture_end(&f);
}

static void expect_refusal(struct fixture *f, const struct query *q, enum err expected)
{
    struct result *result = fixture_query(f, q);
    CU_ASSERT_EQUAL(result->error, expected);
    CU_ASSERT_EQUAL(result->kv_count, 0);
    CU_ASSERT_EQUAL(result->count, 0);
    CU_ASSERT_EQUAL(result->compact_revision,
                    expected == ERR_COMPACTED ? f->kv->compact_revision : 0);
    result_free(&result);
}

static void refusals(void)
{
    struct fixture f;
    start_spread(&f);
    struct query q = fixture_range("", "b");
    q.sort_order = (enum sort_order)9;
    expect_refusal(&f, &q, ERR_KEY_EMPTY);
    q.key = view_of_text("a");
    q.revision = 9;
    expect_refusal(&f, &q, ERR_INVALID_SORT);
    q.sort_order = SORT_DESCEND;
    q.sort_target = (enum sort_target)5;
    expect_refusal(&f, &q, ERR_INVALID_SORT);
    q.sort_target = (enum sort_target) - 1;
    expect_refusal(&f, &q, ERR_INVALID_SORT);
    q.sort_target = SORT_KEY;
    expect_refusal(&f, &q, ERR_FUTURE_REVISION);
    q.range_end = view_of_text("a"); /* also for a range that is empty anyway */
    expect_refusal(&f, &q, ERR_FUTURE_REVISION);
    fixture_end(&f);
}

/* Below the compact revision is refused; the compact revision itself is readable (7.7). */
static void compacted_revisions(void)
{
    struct fixture f;
    start_spread(&f);
    f.kv->compact_revision = 5;
    struct query q = fixture_everything();
    q.revision = 4;
    expect_refusal(&f, &q, ERR_COMPACTED);
    q.revision = 5;
    expect_keys(&f, &q, "a b c x", 4, false);
    q.revision = 0;
    expect_keys(&f, &q, "a b c d", 4, false);
    fixture_end(&f);
}

/* ---- slices --------------------------------------------------------------------------------------- */

/* A read in small slices, and between them puts, deletes, new keys, seals and flushes: it answers the
 * state when it began, and says that state's revision. */
static void sliced_read_answers_its_revision(void)
{
    enum { KEYS = 40 };
    struct fixture f;
    char key[16];
    fixture_start(&f);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof(key), "k%03d", 2 * i);
        fixture_put(&f, key, key);
        if (i % 7 == 0) {
            fixture_flush(&f);
        }
    }
    int64_t revision = kv_revision(f.kv);
    struct query q = fixture_everything();
    struct query *moved = query_create(&q);
    struct kv_read *read = kv_read_start(f.kv, &moved);
    bool done = false;
    for (int step = 0; !done; step++) {
        CU_ASSERT_EQUAL_FATAL(kv_read_step(f.kv, read, 3, &done), OK);
        CU_ASSERT_FATAL(step < 10 * KEYS);
        for (int i = 0; i < KEYS; i += 3) {
            (void)snprintf(key, sizeof(key), "k%03d", 2 * i + step % 2);
            fixture_put(&f, key, "changed");
        }
        (void)snprintf(key, sizeof(key), "k%03d", 2 * ((step * 11) % KEYS));
        (void)fixture_delete(&f, key, "");
        switch (step % 4) {
        case 0:
            fixture_seal(&f);
            break;
        case 1:
            fixture_write(&f);
            break;
        case 2:
            fixture_tell(&f);
            break;
        default:
            break;
        }
    }
    struct result *result = kv_read_finish(&read);
    CU_ASSERT_EQUAL(result->revision, revision);
    CU_ASSERT_EQUAL(result->count, KEYS);
    CU_ASSERT_EQUAL_FATAL(result->kv_count, KEYS);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof(key), "k%03d", 2 * i);
        CU_ASSERT(fixture_view_is(result->kvs[i].key, key));
        CU_ASSERT(fixture_view_is(result->kvs[i].value, key));
        CU_ASSERT_EQUAL(result->kvs[i].version, 1);
    }
    result_free(&result);
    fixture_end(&f);
}

/* A step looks at no more than rows_max keys, so a read of n keys takes at least n / rows_max steps. */
static void steps_are_bounded(void)
{
    enum { KEYS = 100, ROWS = 10 };
    struct fixture f;
    char key[16];
    fixture_start(&f);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof(key), "k%03d", i);
        fixture_put(&f, key, "v");
        if (i == KEYS / 2) {
            fixture_flush(&f);
        }
    }
    struct query q = fixture_everything();
    q.count_only = true;
    struct query *moved = query_create(&q);
    struct kv_read *read = kv_read_start(f.kv, &moved);
    bool done = false;
    int steps = 0;
    while (!done) {
        CU_ASSERT_EQUAL_FATAL(kv_read_step(f.kv, read, ROWS, &done), OK);
        steps++;
    }
    CU_ASSERT(steps >= KEYS / ROWS);
    CU_ASSERT(steps <= KEYS / ROWS + 2);
    struct result *result = kv_read_finish(&read);
    CU_ASSERT_EQUAL(result->count, KEYS);
    result_free(&result);
    fixture_end(&f);
}

/* A read that is given up in the middle leaves nothing behind (leak and scan checked by ASan and by the
 * next read). */
static void abandoned_read(void)
{
    struct fixture f;
    start_spread(&f);
    struct query q = fixture_everything();
    q.sort_order = SORT_DESCEND;
    for (int steps = 0; steps < 8; steps++) {
        struct query *moved = query_create(&q);
        struct kv_read *read = kv_read_start(f.kv, &moved);
        bool done = false;
        for (int i = 0; i < steps && !done; i++) {
            CU_ASSERT_EQUAL(kv_read_step(f.kv, read, 1, &done), OK);
        }
        struct result *result = kv_read_finish(&read);
        result_free(&result);
    }
    expect_keys(&f, &q, "d c b a", 4, false);
    fixture_end(&f);
}

/* Point reads come from memory once the key has been read: no further row is fetched from disk. */
static void point_reads_are_cached(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    fixture_put(&f, "a", "1");
    fixture_flush(&f);
    fixture_close(&f);
    fixture_open(&f); /* memory is empty */
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "1");
    CU_ASSERT_EQUAL(f.kv->history_disk_reads, 1);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "1");
    }
    CU_ASSERT_EQUAL(f.kv->history_disk_reads, 1);
    fixture_put(&f, "a", "2");
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "2");
    fixture_flush(&f);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "2"); /* it was read: kept */
    CU_ASSERT_EQUAL(f.kv->history_disk_reads, 1);
    fixture_end(&f);
}

/* An answer that one message could not carry becomes ERR_TOO_LARGE and stops growing. */
static void too_large_answers_are_refused(void)
{
    struct result *result = result_create();
    struct key_value pair = {.key = view_of_text("key"), .value = view_of_text("value")};
    result->bytes = RESULT_BYTES_MAX - 8;
    range_answer_add(result, &pair, false);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL(result->kv_count, 1);
    result->bytes = RESULT_BYTES_MAX - 7;
    range_answer_add(result, &pair, true);
    CU_ASSERT_EQUAL(result->error, OK);
    range_answer_add(result, &pair, false);
    CU_ASSERT_EQUAL(result->error, ERR_TOO_LARGE);
    result->bytes = 0;
    range_answer_add(result, &pair, false);
    CU_ASSERT_EQUAL(result->kv_count, 2);
    result_free(&result);
}

SUITE("kv range", TEST(key_ranges), TEST(keys_are_octets), TEST(limit_count_and_more),
      TEST(count_only), TEST(keys_only), TEST(filters), TEST(sort_targets_and_orders),
      TEST(order_of_sorting_and_cutting), TEST(old_revisions), TEST(refusals),
      TEST(compacted_revisions), TEST(sliced_read_answers_its_revision), TEST(steps_are_bounded),
      TEST(abandoned_read), TEST(point_reads_are_cached), TEST(too_large_answers_are_refused))
