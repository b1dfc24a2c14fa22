/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking compacted rows out of kv.db, killed at every write: whatever was done by then, the next start
 * finishes it, and then exactly the rows are left that must be. Slices are not synced, batches are. A
 * person's lock is a stall. Which rows those are in general is shown in kv/test_compact.c.
 */
#include "store_test.h"

#include "fault_vfs.h"

#define KEYS   5
#define ROUNDS 12

static const struct kv_compact_bounds small = {.window_max = 9, .look_rows = 4, .rows_max = 3};

static struct kv_writer *writer_open(const char *folder, struct kv_meta *meta)
{
    char problem[TEST_PROBLEM_MAX] = "";
    struct kv_writer *w = NULL;
    if (kv_writer_open(folder, 0, 0, &w, meta, problem, sizeof(problem)) != OK) {
        return NULL;
    }
    kv_writer_set_compact_bounds(w, &small);
    return w;
}

static struct view key_of(unsigned key)
{
    static const char names[KEYS + 1] = "abcde";
    return view_of(names + key, 1);
}

/* Revision r writes key r % KEYS; every third time round it is deleted instead. */
static bool deleted_at(int64_t revision)
{
    return revision / KEYS % 3 == 2;
}

static enum err write_revision(struct kv_writer *w, int64_t revision, int64_t compact_revision)
{
    struct kv_batch *b = mem_zalloc(sizeof(*b));
    int64_t previous = revision - KEYS >= 2 ? revision - KEYS : 0;
    b->number = b->applied_index = (uint64_t)revision;
    b->applied_term = 1;
    b->revision = revision;
    b->compact_revision = compact_revision;
    const struct kv_history row = {.change = change_id(revision, 0),
                                   .key = key_of((unsigned)revision % KEYS),
                                   .deleted = deleted_at(revision),
                                   .previous_change = change_id(previous, 0)};
    const struct kv_current current = {
        .key = row.key, .change = row.change, .deleted = row.deleted};
    kv_batch_add_history(b, &row);
    kv_batch_add_current(b, &current);
    enum err error = kv_writer_write(w, b);
    kv_batch_free(&b);
    return error;
}

/* Is the row left once everything up to `compacted` is done? */
static bool is_kept(int64_t revision, int64_t newest, int64_t compacted)
{
    bool superseded = revision + KEYS <= compacted && revision + KEYS <= newest;
    return revision > compacted ||
           (!superseded && (!deleted_at(revision) || revision == compacted));
}

static void check_rows(const char *folder, int64_t newest, int64_t compacted)
{
    char problem[TEST_PROBLEM_MAX] = "";
    struct kv_reader *r = NULL;
    struct kv_history row;
    struct kv_current current;
    CU_ASSERT_EQUAL_FATAL(kv_reader_open(folder, 0, 0, &r, problem, sizeof(problem)), OK);
    for (int64_t revision = 2; revision <= newest; revision++) {
        bool kept = is_kept(revision, newest, compacted);
        CU_ASSERT_EQUAL(kv_reader_history(r, change_id(revision, 0), &row),
                        kept ? OK : ERR_NOT_FOUND);
        if (revision + KEYS > newest) {
            struct view key = key_of((unsigned)revision % KEYS);
            CU_ASSERT_EQUAL(kv_reader_current(r, key, &current), kept ? OK : ERR_NOT_FOUND);
        }
    }
    kv_reader_close(&r);
}

static enum err finish(struct kv_writer *w)
{
    enum err error = OK;
    while (error == OK && kv_writer_compacting(w)) {
        error = kv_writer_compact_slice(w);
    }
    return error;
}

/* Writes and compactions until the first error. */
static void run(const char *folder)
{
    struct kv_meta meta;
    struct kv_writer *w = writer_open(folder, &meta);
    enum err error = w == NULL ? ERR_IO : OK;
    int64_t compacted = 0;
    for (int64_t revision = 2; error == OK && revision < 2 + ROUNDS * KEYS; revision++) {
        compacted = revision % 13 == 0 ? revision - 4 : compacted;
        error = write_revision(w, revision, compacted);
        if (error == OK && kv_writer_compacting(w)) {
            error = kv_writer_compact_slice(w);
        }
        if (error == OK && revision % 10 == 0) {
            error = kv_writer_maintain(w, true);
        }
        if (error == OK && revision % 26 == 25) {
            error = finish(w);
        }
    }
    kv_writer_close(&w);
}

static void check_after(const char *folder, bool complete)
{
    struct kv_meta meta;
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(kv_writer_compacting(w), meta.compact_revision > 0);
    CU_ASSERT_EQUAL(finish(w), OK);
    CU_ASSERT_EQUAL(kv_writer_compacted(w), meta.compact_revision);
    CU_ASSERT_TRUE(!complete || meta.revision == 1 + ROUNDS * KEYS);
    kv_writer_close(&w);
    check_rows(folder, meta.revision, meta.compact_revision);
}

static void killed_between_any_two_writes(void)
{
    bool struck = true;
    uint64_t nth = 0;
    fault_vfs_install();
    while (struck) {
        char folder[TEST_PATH_MAX];
        test_folder_make(folder);
        fault_vfs_arm(FAULT_CHANGE, "", ++nth, SQLITE_IOERR, FAULT_DIE);
        run(folder);
        struck = fault_vfs_struck();
        fault_vfs_disarm();
        check_after(folder, !struck);
        test_folder_remove(folder);
    }
    CU_ASSERT_TRUE(nth > 300);
    fault_vfs_remove();
}

/* Neither one slice nor many cost a sync; the batch behind them does. */
static void slices_are_not_synced(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(folder);
    fault_vfs_install();
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    for (int64_t revision = 2; revision < 60; revision++) {
        CU_ASSERT_EQUAL(write_revision(w, revision, revision == 59 ? 50 : 0), OK);
    }
    CU_ASSERT_TRUE(kv_writer_compacting(w));
    fault_vfs_arm(FAULT_SYNC, "kv-0.db-wal", 0, 0, FAULT_ONCE);
    CU_ASSERT_EQUAL(finish(w), OK);
    CU_ASSERT_EQUAL(fault_vfs_matched(), 0);
    CU_ASSERT_EQUAL(write_revision(w, 60, 50), OK);
    CU_ASSERT_EQUAL(fault_vfs_matched(), 1);
    fault_vfs_disarm();
    kv_writer_close(&w);
    fault_vfs_remove();
    check_rows(folder, 60, 50);
    test_folder_remove(folder);
}

SUITE("store: compaction", TEST(killed_between_any_two_writes), TEST(slices_are_not_synced))
