/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of kv.db holds exactly what was committed when it was begun, though the table is written and
 * checkpointed on meanwhile; it is one file that the stock sqlite3 opens; what a crash left of one is
 * removed; each error is told. Real files. Design §4.
 */
#include "../kv/fixture.h"
#include "fault_vfs.h"
#include "store_test.h"

static void fill(struct fixture *f, int from, int to)
{
    for (int i = from; i < to; i++) {
        char key[16];
        char value[600];
        (void)snprintf(key, sizeof(key), "key-%04d", i);
        memset(value, 'v', sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        fixture_put(f, key, value);
    }
    fixture_flush(f);
}

static void snapshot_path(const struct fixture *f, char out[2 * TEST_PATH_MAX])
{
    (void)snprintf(out, 2 * TEST_PATH_MAX, "%s/group-0/snapshot-1.db", f->directory);
}

static void as_of_its_beginning(void)
{
    struct fixture f;
    struct kv_snapshot *s = NULL;
    struct kv_snapshot_facts facts;
    char problem[TEST_PROBLEM_MAX];
    char path[2 * TEST_PATH_MAX];
    char text[64];
    bool done = false;
    int more = 300;
    int steps = 0;
    fixture_start(&f);
    fill(&f, 0, 300);
    uint64_t applied = f.index;
    CU_ASSERT_EQUAL_FATAL(kv_snapshot_begin(f.directory, 0, 0, 1, &s, problem, sizeof(problem)),
                          OK);
    while (!done) {
        CU_ASSERT_EQUAL_FATAL(kv_snapshot_step(s, 5, &done), OK);
        fill(&f, more, more + 10);
        more += 10;
        CU_ASSERT_EQUAL(kv_writer_maintain(f.writer, true), OK);
        steps++;
    }
    CU_ASSERT(steps > 10);
    kv_snapshot_facts(s, &facts);
    CU_ASSERT_EQUAL(facts.applied_index, applied);
    CU_ASSERT_EQUAL(facts.revision, 301);
    CU_ASSERT_EQUAL(facts.bytes % 4096, 0);

    /* one file, not in WAL mode, sound, with what was there */
    snapshot_path(&f, path);
    CU_ASSERT_TRUE(
        test_sqlite3("-readonly", path, "SELECT count(*) FROM history", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "300");
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path, "PRAGMA integrity_check", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "ok");
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path, "PRAGMA journal_mode", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "delete");
    struct bytes whole = {0};
    CU_ASSERT_TRUE_FATAL(test_file_read(f.directory, "group-0/snapshot-1.db", &whole));
    CU_ASSERT_EQUAL_FATAL(whole.size, facts.bytes);
    uint8_t *read = mem_alloc(whole.size);
    CU_ASSERT_EQUAL(kv_snapshot_read(s, 0, read, 100), OK);
    CU_ASSERT_EQUAL(kv_snapshot_read(s, 100, read + 100, whole.size - 100), OK);
    CU_ASSERT_EQUAL(memcmp(read, whole.data, whole.size), 0);
    mem_free(read);
    bytes_free(&whole);
    kv_snapshot_close(&s);

    CU_ASSERT_EQUAL(kv_snapshot_remove(f.directory, 0, 1), OK);
    CU_ASSERT_FALSE(test_file_read(f.directory, "group-0/snapshot-1.db", &whole));
    CU_ASSERT_EQUAL(kv_snapshot_remove(f.directory, 0, 1), OK);
    fixture_end(&f);
}

/* A copy given up, or left by a crash, is in nobody's way. */
static void begun_again(void)
{
    struct fixture f;
    struct kv_snapshot *s = NULL;
    char problem[TEST_PROBLEM_MAX];
    char path[2 * TEST_PATH_MAX];
    char text[64];
    bool done = false;
    fixture_start(&f);
    fill(&f, 0, 200);
    CU_ASSERT_EQUAL_FATAL(kv_snapshot_begin(f.directory, 0, 0, 1, &s, problem, sizeof(problem)),
                          OK);
    CU_ASSERT_EQUAL(kv_snapshot_step(s, 3, &done), OK);
    CU_ASSERT_FALSE(done);
    kv_snapshot_close(&s);
    test_file_write(f.directory, "group-0/snapshot-1.db-wal", view_of_text("left by a crash"));
    test_file_write(f.directory, "group-0/snapshot-1.db-journal", view_of_text("and this"));
    CU_ASSERT_EQUAL_FATAL(kv_snapshot_begin(f.directory, 0, 0, 1, &s, problem, sizeof(problem)),
                          OK);
    while (!done) {
        CU_ASSERT_EQUAL_FATAL(kv_snapshot_step(s, 1000, &done), OK);
    }
    kv_snapshot_close(&s);
    snapshot_path(&f, path);
    CU_ASSERT_TRUE(
        test_sqlite3("-readonly", path, "SELECT count(*) FROM current", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "200");
    fixture_end(&f);
}

static enum err copy_all(const struct fixture *f)
{
    struct kv_snapshot *s = NULL;
    char problem[TEST_PROBLEM_MAX];
    bool done = false;
    enum err error = kv_snapshot_begin(f->directory, 0, 0, 1, &s, problem, sizeof(problem));
    while (error == OK && !done) {
        error = kv_snapshot_step(s, 10, &done);
    }
    kv_snapshot_close(&s);
    return error;
}

static void errors_are_told(void)
{
    struct fixture f;
    fixture_start(&f);
    fill(&f, 0, 200);
    fault_vfs_install();
    fault_vfs_arm(FAULT_WRITE, "snapshot-1.db", 3, SQLITE_FULL, FAULT_ONCE);
    CU_ASSERT_EQUAL(copy_all(&f), ERR_DISK_FULL);
    fault_vfs_arm(FAULT_WRITE, "snapshot-1.db", 2, SQLITE_IOERR_WRITE, FAULT_ONCE);
    CU_ASSERT_EQUAL(copy_all(&f), ERR_IO);
    fault_vfs_arm(FAULT_SYNC, "snapshot-1.db", 1, SQLITE_IOERR_FSYNC, FAULT_ONCE);
    CU_ASSERT_EQUAL(copy_all(&f), ERR_IO);
    fault_vfs_arm(FAULT_OPEN, "snapshot-1.db", 1, SQLITE_CANTOPEN, FAULT_ONCE);
    CU_ASSERT_EQUAL(copy_all(&f), ERR_IO);
    fault_vfs_remove();
    CU_ASSERT_EQUAL(copy_all(&f), OK);
    fixture_end(&f);
}

SUITE("store: copies of kv.db", TEST(as_of_its_beginning), TEST(begun_again), TEST(errors_are_told))
