/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two members with the same log have the same HashKV at each revision, however their files came to be:
 * batches cut elsewhere, and compaction that has removed all, a part or nothing of what nobody may read.
 * And what differs is noticed. Real files.
 */
#include "../kv/fixture.h"
#include "store_test.h"

#define OPERATIONS 400

/* A life of 20 keys: puts, deletes and lives that begin again. flush_every: where batches end. */
static void live(struct fixture *f, uint64_t seed, uint64_t flush_every)
{
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        char key[16];
        char value[32];
        (void)snprintf(key, sizeof(key), "key-%02" PRIu64, random_below(&seed, 20));
        if (random_below(&seed, 4) == 0) {
            (void)fixture_delete(f, key, "");
        } else {
            (void)snprintf(value, sizeof(value), "value-%" PRIu64, random_below(&seed, 1000));
            fixture_put(f, key, value);
        }
        if (i % flush_every == 0) {
            fixture_flush(f);
        }
    }
    fixture_flush(f);
}

static enum err hash_of(const char *directory, int64_t revision, uint64_t slice,
                        struct kv_hash *out)
{
    struct kv_hasher *h = NULL;
    char problem[TEST_PROBLEM_MAX];
    bool done = false;
    CU_ASSERT_EQUAL_FATAL(kv_hasher_open(directory, 0, 0, &h, problem, sizeof(problem)), OK);
    enum err error = kv_hasher_begin(h, revision);
    while (error == OK && !done) {
        error = kv_hasher_step(h, slice, &done);
    }
    if (error == OK) {
        kv_hasher_result(h, out);
    }
    kv_hasher_close(&h);
    return error;
}

static void sql(const struct fixture *f, const char *text)
{
    char path[2 * TEST_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/group-0/kv.db", f->directory);
    CU_ASSERT_TRUE_FATAL(test_sqlite3("", path, text, NULL, 0));
}

static void same_log_same_hash(void)
{
    struct fixture a;
    struct fixture b;
    struct fixture other;
    struct kv_hash one;
    struct kv_hash two;
    fixture_start(&a);
    fixture_start(&b);
    fixture_start(&other);
    live(&a, 7, 1);
    live(&b, 7, 33);
    live(&other, 8, 33);
    int64_t newest = kv_revision(a.kv);
    for (int64_t revision = 1; revision <= newest; revision += 13) {
        CU_ASSERT_EQUAL(hash_of(a.directory, revision, 1, &one), OK);
        CU_ASSERT_EQUAL(hash_of(b.directory, revision, 1000, &two), OK);
        CU_ASSERT_EQUAL(one.hash, two.hash);
        CU_ASSERT_EQUAL(one.revision, revision);
    }
    CU_ASSERT_EQUAL(hash_of(a.directory, 0, 10, &one), OK);
    CU_ASSERT_EQUAL(one.revision, newest);
    CU_ASSERT_EQUAL(hash_of(b.directory, newest, 10, &two), OK);
    CU_ASSERT_EQUAL(one.hash, two.hash);
    CU_ASSERT_EQUAL(hash_of(b.directory, newest - 1, 10, &two), OK);
    CU_ASSERT_NOT_EQUAL(one.hash, two.hash);
    CU_ASSERT_EQUAL(hash_of(other.directory, 0, 10, &two), OK);
    CU_ASSERT_NOT_EQUAL(one.hash, two.hash);
    CU_ASSERT_EQUAL(hash_of(a.directory, newest + 1, 10, &two), ERR_FUTURE_REVISION);
    fixture_end(&a);
    fixture_end(&b);
    fixture_end(&other);
}

/* Compacted at `at`: in name only, half removed, or all. The rules are those of the state machine. */
static void how_far_removal_has_come_does_not_matter(void)
{
    static const char superseded[] =
        "DELETE FROM history WHERE change IN (SELECT h.previous_change FROM history h WHERE "
        "h.change <= (%d << 20 | 1048575) AND h.change <= (%d << 20 | 1048575));"
        "DELETE FROM history WHERE deleted AND change < (%d << 20) AND change <= (%d << 20 | "
        "1048575);"
        "UPDATE meta SET compact_progress = (%d << 20 | 1048575)";
    for (int at = 40; at <= 240; at += 50) {
        struct kv_hash hashes[3];
        struct kv_hash oldest[3];
        for (int form = 0; form < 3; form++) {
            struct fixture f;
            char text[1024];
            fixture_start(&f);
            live(&f, 21, 17);
            fixture_close(&f);
            (void)snprintf(text, sizeof(text), "UPDATE meta SET compact_revision = %d", at);
            sql(&f, text);
            if (form > 0) {
                int progress = form == 1 ? at / 2 : at;
                (void)snprintf(text, sizeof(text), superseded, at, progress, at, progress,
                               progress);
                sql(&f, text);
            }
            CU_ASSERT_EQUAL(hash_of(f.directory, at + 30, 7, &hashes[form]), OK);
            CU_ASSERT_EQUAL(hashes[form].compact_revision, at);
            CU_ASSERT_EQUAL(hashes[form].hash, hashes[0].hash);
            CU_ASSERT_EQUAL(hash_of(f.directory, at, 7, &oldest[form]), OK);
            CU_ASSERT_EQUAL(oldest[form].hash, oldest[0].hash);
            CU_ASSERT_NOT_EQUAL(oldest[form].hash, hashes[0].hash);
            CU_ASSERT_EQUAL(hash_of(f.directory, at - 1, 7, &oldest[form]), ERR_COMPACTED);
            fixture_open(&f);
            fixture_end(&f);
        }
    }
}

/* What is hashed stands still while the table is written on, and a hash that is given up holds nothing. */
static void others_write_on(void)
{
    struct fixture f;
    struct kv_hash before;
    struct kv_hash during;
    struct kv_hasher *h = NULL;
    char problem[TEST_PROBLEM_MAX];
    bool done = false;
    fixture_start(&f);
    live(&f, 3, 50);
    CU_ASSERT_EQUAL(hash_of(f.directory, 0, 100, &before), OK);
    CU_ASSERT_EQUAL_FATAL(kv_hasher_open(f.directory, 0, 0, &h, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL(kv_hasher_begin(h, 0), OK);
    while (!done) {
        CU_ASSERT_EQUAL_FATAL(kv_hasher_step(h, 20, &done), OK);
        fixture_put(&f, "key-00", "changed");
        fixture_flush(&f);
    }
    kv_hasher_result(h, &during);
    CU_ASSERT_EQUAL(during.hash, before.hash);
    CU_ASSERT_EQUAL(during.revision, before.revision);
    CU_ASSERT_EQUAL(kv_hasher_begin(h, 0), OK);
    CU_ASSERT_EQUAL(kv_hasher_step(h, 1, &done), OK);
    CU_ASSERT_FALSE(done);
    kv_hasher_abandon(h);
    struct db_figures figures;
    CU_ASSERT_EQUAL(kv_writer_maintain(f.writer, true), OK);
    kv_writer_figures(f.writer, &figures);
    CU_ASSERT_EQUAL(figures.checkpoint_blocked_count, 0);
    kv_hasher_close(&h);
    fixture_end(&f);
}

SUITE("store: hash of kv.db", TEST(same_log_same_hash),
      TEST(how_far_removal_has_come_does_not_matter), TEST(others_write_on))
