/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction: what may be asked for; what can be read afterwards; which rows are left in the file. On random
 * histories two state machines get the same log, one whose file is compacted in slices at random moments
 * and one whose file never is: they must not differ in anything that can be read, nor in their hash. Rows
 * pointed to that are gone, clean nodes of keys whose row is gone, and keys put again behind a deletion
 * that is gone come up by themselves.
 */
#include "fixture.h"

#include "kv/state.h"

static struct command compact_command(int64_t revision)
{
    return (struct command){.op = COMMAND_COMPACT, .revision = revision};
}

static enum err compact(struct fixture *f, int64_t revision)
{
    struct command c = compact_command(revision);
    return fixture_error(f, &c);
}

static uint64_t hash_of(struct fixture *f)
{
    uint64_t hash = 0;
    CU_ASSERT_EQUAL(kv_hash(f->kv, &hash), OK);
    return hash;
}

static void slices(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count && kv_writer_compacting(f->writer); i++) {
        CU_ASSERT_EQUAL_FATAL(kv_writer_compact_slice(f->writer), OK);
        kv_release(f->kv);
    }
}

static enum err read_error(struct fixture *f, const char *key, int64_t revision, int64_t *passed)
{
    struct query q = {.key = view_of_text(key), .revision = revision};
    struct result *result = fixture_query(f, &q);
    enum err error = result->error;
    *passed = result->compact_revision;
    result_free(&result);
    return error;
}

/* ---- what may be asked for ----------------------------------------------------------------------------- */

static void refusals(void)
{
    struct fixture f;
    int64_t passed = 0;
    fixture_start(&f);
    for (int i = 0; i < 5; i++) {
        fixture_put(&f, "k", "v"); /* revisions 2 to 6 */
    }
    CU_ASSERT_EQUAL(compact(&f, -1), ERR_COMPACTED);
    CU_ASSERT_EQUAL(compact(&f, 0), OK); /* etcd's: accepted as long as nothing is compacted */
    CU_ASSERT_EQUAL(compact(&f, 7), ERR_FUTURE_REVISION);
    struct command c = compact_command(4);
    struct result *result = fixture_apply(&f, &c);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL(result->revision, 6); /* not a change */
    CU_ASSERT_EQUAL(result->physical_revision, 0);
    result_free(&result);
    CU_ASSERT_EQUAL(compact(&f, 4), ERR_COMPACTED); /* not even again */
    CU_ASSERT_EQUAL(compact(&f, 0), ERR_COMPACTED);
    for (int restarted = 0; restarted < 2; restarted++) {
        CU_ASSERT_EQUAL(read_error(&f, "k", 3, &passed), ERR_COMPACTED);
        CU_ASSERT_EQUAL(passed, 4);
        CU_ASSERT_EQUAL(read_error(&f, "k", 4, &passed), OK); /* itself can be read */
        CU_ASSERT_EQUAL(read_error(&f, "k", 0, &passed), OK);
        CU_ASSERT_EQUAL(read_error(&f, "k", -3, &passed), OK);
        CU_ASSERT_EQUAL(kv_compact_revision(f.kv), 4);
        fixture_flush(&f);
        fixture_close(&f);
        fixture_open(&f);
    }
    c = compact_command(6); /* the newest: allowed */
    c.flags = COMMAND_PHYSICAL;
    result = fixture_apply(&f, &c);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL(result->physical_revision, 6);
    result_free(&result);
    result = fixture_apply(&f, &c);
    CU_ASSERT_EQUAL(result->error, ERR_COMPACTED);
    CU_ASSERT_EQUAL(result->physical_revision, 0);
    result_free(&result);
    fixture_end(&f);
}

/* ---- a read that is passed by a compaction --------------------------------------------------------------- */

static void a_read_under_way_is_passed(void)
{
    struct fixture f;
    char key[16];
    fixture_start(&f);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(key, sizeof(key), "k%02d", i);
        fixture_put(&f, key, "old");
    }
    for (int newest = 0; newest < 2; newest++) {
        struct query q = fixture_everything();
        int64_t before = kv_revision(f.kv);
        bool done = false;
        q.revision = newest != 0 ? 0 : before;
        struct query *moved = query_create(&q);
        struct kv_read *read = kv_read_start(f.kv, &moved);
        CU_ASSERT_EQUAL_FATAL(kv_read_step(f.kv, read, 3, &done), OK);
        CU_ASSERT_FALSE(done);
        for (int i = 0; i < 20; i++) {
            (void)snprintf(key, sizeof(key), "k%02d", i);
            fixture_put(&f, key, "new");
        }
        CU_ASSERT_EQUAL(compact(&f, kv_revision(f.kv) - 1), OK);
        fixture_flush(&f);
        slices(&f, 1000);
        while (!done) {
            CU_ASSERT_EQUAL_FATAL(kv_read_step(f.kv, read, 3, &done), OK);
        }
        struct result *result = kv_read_finish(&read);
        CU_ASSERT_EQUAL(result->error, newest != 0 ? OK : ERR_COMPACTED);
        if (newest != 0) { /* begun again: all of it is from one revision */
            CU_ASSERT_EQUAL(result->revision, kv_revision(f.kv));
            CU_ASSERT_EQUAL(result->kv_count, 20);
            for (size_t i = 0; i < result->kv_count; i++) {
                CU_ASSERT_TRUE(fixture_view_is(result->kvs[i].value, "new"));
            }
        } else {
            CU_ASSERT_EQUAL(result->compact_revision, kv_compact_revision(f.kv));
        }
        result_free(&result);
    }
    fixture_end(&f);
}

/* A transaction reads at the newest revision, but one of its ranges at an older one: this one may be passed
 * alone, and then what it would find is not what was there. */
static void an_older_range_of_a_transaction_is_passed(void)
{
    struct fixture f;
    char key[16];
    fixture_start(&f);
    for (int i = 0; i < 40; i++) {
        (void)snprintf(key, sizeof(key), "k%02d", i % 20);
        fixture_put(&f, key, i < 20 ? "old" : "new"); /* revisions 2 to 41 */
    }
    struct txn_op range = {.kind = TXN_RANGE, .range = fixture_everything()};
    range.range.revision = 21;
    struct txn_body body = {.success = &range, .success_count = 1};
    struct buffer encoded = {0};
    txn_body_encode(&body, &encoded);
    struct query q = {.kind = QUERY_TXN, .body = view_of(encoded.data, encoded.size)};
    for (int passed = 0; passed < 2; passed++) {
        bool done = false;
        struct query *moved = query_create(&q);
        struct kv_read *read = kv_read_start(f.kv, &moved);
        CU_ASSERT_EQUAL_FATAL(kv_read_step(f.kv, read, 3, &done), OK);
        CU_ASSERT_FALSE(done);
        CU_ASSERT_EQUAL(compact(&f, passed != 0 ? 41 : 21), OK);
        fixture_flush(&f);
        slices(&f, 1000);
        while (!done) {
            CU_ASSERT_EQUAL_FATAL(kv_read_step(f.kv, read, 3, &done), OK);
        }
        struct result *result = kv_read_finish(&read);
        CU_ASSERT_EQUAL(result->error, passed != 0 ? ERR_COMPACTED : OK);
        if (passed == 0 && result->response_count == 1) {
            const struct result *inner = result->responses[0].result;
            CU_ASSERT_EQUAL(inner->kv_count, 20);
            for (size_t i = 0; i < inner->kv_count; i++) {
                CU_ASSERT_TRUE(fixture_view_is(inner->kvs[i].value, "old"));
            }
        }
        result_free(&result);
    }
    buffer_free(&encoded);
    fixture_end(&f);
}

/* ---- which rows are left ------------------------------------------------------------------------------- */

#define KEYS          7
#define REVISIONS_MAX 1500

struct change {
    uint64_t id;
    unsigned key;
    bool deleted;
};

struct model {
    char values[REVISIONS_MAX][KEYS]; /* 0: not there */
    struct change changes[REVISIONS_MAX * KEYS];
    size_t change_count;
    int64_t revision, compacted;
};

static const char *const names[KEYS] = {"a", "b", "c", "d", "e", "f", "g"};

static bool is_kept(const struct model *m, size_t at)
{
    const struct change *c = &m->changes[at];
    if (change_revision(c->id) > m->compacted) {
        return true;
    }
    for (size_t later = at + 1; later < m->change_count; later++) {
        if (change_revision(m->changes[later].id) > m->compacted) {
            break;
        }
        if (m->changes[later].key == c->key) {
            return false;
        }
    }
    return !c->deleted || change_revision(c->id) == m->compacted;
}

/* Everything is on disk and nothing is left to do: exactly the rows that the rules keep are there. */
static void check_rows(struct fixture *f, const struct model *m)
{
    struct kv_reader *r = f->kv->reader;
    struct kv_history row;
    struct kv_current current;
    size_t at = 0;
    bool in_current[KEYS] = {0};
    CU_ASSERT_EQUAL_FATAL(kv_reader_history_start(r, 0), OK);
    while (kv_reader_history_next(r, &row) == OK) {
        while (at < m->change_count && !is_kept(m, at)) {
            at++;
        }
        CU_ASSERT_TRUE_FATAL(at < m->change_count);
        CU_ASSERT_EQUAL_FATAL(row.change, m->changes[at].id);
        in_current[m->changes[at].key] = true;
        at++;
    }
    kv_reader_history_end(r);
    while (at < m->change_count && !is_kept(m, at)) {
        at++;
    }
    CU_ASSERT_EQUAL(at, m->change_count);
    for (unsigned k = 0; k < KEYS; k++) {
        CU_ASSERT_EQUAL(kv_reader_current(r, view_of_text(names[k]), &current),
                        in_current[k] ? OK : ERR_NOT_FOUND);
    }
    kv_release(f->kv);
}

static void check_reads(struct fixture *f, const struct model *m, uint64_t *seed)
{
    int64_t from = m->compacted > 0 ? m->compacted : 1;
    int64_t revision = from + (int64_t)random_below(seed, (uint64_t)(m->revision - from) + 1);
    for (unsigned k = 0; k < KEYS; k++) {
        char text[64];
        const char *value = fixture_get(f, names[k], revision, text);
        char expected = m->values[revision][k];
        CU_ASSERT_EQUAL(value[0], expected != 0 ? expected : '(');
    }
}

static void both(struct fixture *f, struct fixture *g, const struct command *c)
{
    CU_ASSERT_EQUAL(fixture_error(f, c), OK);
    CU_ASSERT_EQUAL(fixture_error(g, c), OK);
}

static void random_step(struct fixture *f, struct fixture *g, struct model *m, uint64_t *seed)
{
    unsigned k = (unsigned)random_below(seed, KEYS);
    char value[2] = {(char)('p' + random_below(seed, 8)), 0};
    uint64_t kind = random_below(seed, 10);
    memcpy(m->values[m->revision + 1], m->values[m->revision], KEYS);
    if (kind < 6) {
        struct command c = fixture_put_command(names[k], value);
        both(f, g, &c);
        m->revision++;
        m->values[m->revision][k] = value[0];
        m->changes[m->change_count++] = (struct change){change_id(m->revision, 0), k, false};
    } else {
        unsigned end = k + 1 + (unsigned)random_below(seed, 3);
        struct command c = fixture_delete_command(names[k], end < KEYS ? names[end] : "z");
        uint32_t sub = 0;
        both(f, g, &c);
        for (unsigned d = k; d < end && d < KEYS; d++) {
            if (m->values[m->revision][d] != 0) {
                m->values[m->revision + 1][d] = 0;
                m->changes[m->change_count++] =
                    (struct change){change_id(m->revision + 1, sub++), d, true};
            }
        }
        m->revision += sub > 0 ? 1 : 0;
    }
}

static void run_random(uint64_t seed, const struct kv_compact_bounds *bounds)
{
    static struct model m;
    struct fixture f, g;
    fixture_start(&f);
    fixture_start(&g);
    f.limits.cache_bytes_max = g.limits.cache_bytes_max = 1500; /* some nodes stay, some go */
    memset(&m, 0, sizeof(m));
    m.revision = 1;
    kv_writer_set_compact_bounds(f.writer, bounds);
    while (m.revision < REVISIONS_MAX - 2) {
        random_step(&f, &g, &m, &seed);
        switch (random_below(&seed, 16)) {
        case 0:
            fixture_seal(&f);
            break;
        case 1:
            fixture_write(&f);
            break;
        case 2:
            fixture_tell(&f);
            break;
        case 3:
        case 4:
        case 5:
            slices(&f, (unsigned)random_below(&seed, 4));
            break;
        case 6:
            check_reads(&f, &m, &seed);
            break;
        case 7:
            if (random_below(&seed, 3) == 0) {
                fixture_flush(&g);
            }
            CU_ASSERT_EQUAL(hash_of(&f), hash_of(&g));
            break;
        case 8:
            if (m.revision > m.compacted && random_below(&seed, 2) == 0) {
                int64_t by = (int64_t)random_below(&seed, (uint64_t)(m.revision - m.compacted)) + 1;
                struct command c = compact_command(m.compacted + by);
                both(&f, &g, &c);
                m.compacted += by;
            }
            break;
        case 9:
            if (random_below(&seed, 6) == 0) {
                fixture_flush(&f);
                slices(&f, 10000);
                check_rows(&f, &m);
            }
            break;
        case 10:
            if (random_below(&seed, 6) == 0) { /* what is not yet in the file is replayed */
                fixture_flush(&f);
                fixture_close(&f);
                fixture_open(&f);
                kv_writer_set_compact_bounds(f.writer, bounds);
            }
            break;
        default:
            break;
        }
    }
    CU_ASSERT_EQUAL(hash_of(&f), hash_of(&g));
    fixture_end(&f);
    fixture_end(&g);
}

static void random_histories(void)
{
    static const struct kv_compact_bounds bounds[] = {
        {.window_max = 1, .look_rows = 1, .rows_max = 1},
        {.window_max = 7, .look_rows = 3, .rows_max = 2},
        {.window_max = 40, .look_rows = 9, .rows_max = 5},
        {.window_max = 100000, .look_rows = 1000, .rows_max = 1000},
    };
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run_random(seed, &bounds[seed % ARRAY_COUNT(bounds)]);
    }
}

/* ---- a long chain stays quick --------------------------------------------------------------------------- */

/* Reads in the past of a hot key cost O(log n) rows also when most of its chain is gone. */
static void jumps_over_what_is_left(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(text, sizeof(text), "%d", i);
        fixture_put(&f, "hot", text); /* revision i + 2 */
        if (i % 500 == 499) {
            CU_ASSERT_EQUAL(compact(&f, i - 300), OK);
            fixture_flush(&f);
            slices(&f, 1000);
            fixture_close(&f);
            fixture_open(&f);
        }
    }
    for (int64_t revision = 2700; revision <= 3001; revision++) {
        char expected[64], found[64];
        uint64_t before = f.kv->history_disk_reads;
        (void)snprintf(expected, sizeof(expected), "%d", (int)revision - 2);
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "hot", revision, found), expected);
        CU_ASSERT_TRUE(f.kv->history_disk_reads - before < 40);
    }
    fixture_end(&f);
}

SUITE("kv compact", TEST(refusals), TEST(a_read_under_way_is_passed),
      TEST(an_older_range_of_a_transaction_is_passed), TEST(random_histories),
      TEST(jumps_over_what_is_left))
