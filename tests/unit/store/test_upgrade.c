/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of format 1, as the first holdfast made them, are brought to today's format when they are opened:
 * with what they hold, in one transaction, and to the very tables and views a new file has.
 */
#include "store_test.h"

#include "fault_vfs.h"
#include "format_1.h"

static const char raft_1[] = FORMAT_1_PRAGMAS(0x68666c67) FORMAT_1_LOG;

static const char kv_1[] = FORMAT_1_PRAGMAS(0x68666b76) FORMAT_1_KV
    "UPDATE meta SET applied_index = 9, applied_term = 2, revision = 3, compact_revision = 0,"
    " cluster_id = 5;"
    "INSERT INTO members VALUES(1, 7, 'n1', 'n1:2380', 'n1:2379', 1, 0);"
    "INSERT INTO history VALUES(2 << 20, x'6b', 2, 1, 0, 0, 0, 0, x'6f6c64');"
    "INSERT INTO history VALUES(3 << 20, x'6b', 2, 2, 0, 0, 2 << 20, 2 << 20, x'6e6577');"
    "INSERT INTO current VALUES(x'6b', 3 << 20, 2, 2, 0, 2, 0);";

/* Write a file of format 1 with plain SQLite and close it. */
static void write_old(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_close(db), SQLITE_OK);
}

static void kv_path_of(const char *folder, char out[2 * TEST_PATH_MAX])
{
    (void)snprintf(out, 2 * TEST_PATH_MAX, "%.500s/group-0", folder);
    (void)mkdir(out, 0700);
    (void)snprintf(out, 2 * TEST_PATH_MAX, "%.500s/group-0/kv-0.db", folder);
}

/* Every name and every column there is; the text of what was added to, ALTER TABLE writes in its own way. */
#define SHAPE                                                                                      \
    "SELECT (SELECT group_concat(x) FROM (SELECT name || CASE type WHEN 'table' THEN '' ELSE sql " \
    "END AS x FROM sqlite_master ORDER BY name)) || (SELECT group_concat(y) FROM (SELECT m.name "  \
    "|| p.cid || p.name || p.type || p.\"notnull\" || p.pk AS y FROM sqlite_master m, "            \
    "pragma_table_xinfo(m.name) p ORDER BY m.name, p.cid)) || (SELECT user_version FROM "          \
    "pragma_user_version)"

static void shape_of(const char *path, char *out, size_t size)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *shape = NULL;
    CU_ASSERT_EQUAL_FATAL(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_prepare_v2(db, SHAPE, -1, &shape, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_step(shape), SQLITE_ROW);
    (void)snprintf(out, size, "%s", (const char *)sqlite3_column_text(shape, 0));
    CU_ASSERT_TRUE(strlen(out) > 500);
    CU_ASSERT_TRUE(strlen(out) < size - 1);
    (void)sqlite3_finalize(shape);
    (void)sqlite3_close(db);
}

static struct kv_writer *kv_open(const char *folder, struct kv_meta *meta)
{
    char problem[TEST_PROBLEM_MAX] = "";
    struct kv_writer *w = NULL;
    return kv_writer_open(folder, 0, 0, &w, meta, problem, sizeof(problem)) == OK ? w : NULL;
}

static void check_kv_content(const char *folder, const struct kv_meta *meta)
{
    char problem[TEST_PROBLEM_MAX];
    struct kv_reader *r = NULL;
    struct kv_current current;
    struct kv_history history;
    CU_ASSERT_EQUAL(meta->applied_index, 9);
    CU_ASSERT_EQUAL(meta->applied_term, 2);
    CU_ASSERT_EQUAL(meta->revision, 3);
    CU_ASSERT_EQUAL(meta->configuration.cluster_id, 5);
    CU_ASSERT_EQUAL(meta->configuration.count, 1);
    CU_ASSERT_EQUAL(meta->configuration.wish.voters, 1); /* as many as there were */
    CU_ASSERT_EQUAL(meta->configuration.wish.heal_after_s, 60);
    CU_ASSERT_EQUAL_FATAL(kv_reader_open(folder, 0, 0, &r, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL(kv_reader_current(r, view_of_text("k"), &current), OK);
    CU_ASSERT_EQUAL(current.change, change_id(3, 0));
    CU_ASSERT_EQUAL(current.version, 2);
    CU_ASSERT_EQUAL(kv_reader_history(r, change_id(2, 0), &history), OK);
    CU_ASSERT_TRUE(view_equal(history.value, view_of_text("old")));
    kv_reader_close(&r);
}

static void kv_of_format_1_is_brought_up(void)
{
    static char old_shape[32768], new_shape[32768];
    char old_folder[TEST_PATH_MAX], new_folder[TEST_PATH_MAX], path[2 * TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(old_folder);
    test_folder_make(new_folder);
    kv_path_of(old_folder, path);
    write_old(path, kv_1);
    struct kv_writer *w = kv_open(old_folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    check_kv_content(old_folder, &meta);
    shape_of(path, old_shape, sizeof(old_shape));
    kv_writer_close(&w);
    w = kv_open(old_folder, &meta); /* and stays so */
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    check_kv_content(old_folder, &meta);
    kv_writer_close(&w);

    w = kv_open(new_folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    kv_path_of(new_folder, path);
    shape_of(path, new_shape, sizeof(new_shape));
    CU_ASSERT_STRING_EQUAL(old_shape, new_shape);
    kv_writer_close(&w);
    test_folder_remove(old_folder);
    test_folder_remove(new_folder);
}

/* Whichever write fails: the next start finds the old format or the new, and all that was in it. */
static void an_upgrade_that_fails_is_none(void)
{
    bool struck = true;
    uint64_t nth = 0;
    while (struck) {
        char folder[TEST_PATH_MAX], path[2 * TEST_PATH_MAX];
        struct kv_meta meta;
        test_folder_make(folder);
        kv_path_of(folder, path);
        write_old(path, kv_1);
        fault_vfs_install();
        fault_vfs_arm(FAULT_CHANGE, "", ++nth, SQLITE_IOERR, FAULT_DIE);
        struct kv_writer *w = kv_open(folder, &meta);
        struck = fault_vfs_struck();
        CU_ASSERT_TRUE(w == NULL || !struck);
        kv_writer_close(&w);
        fault_vfs_remove();
        w = kv_open(folder, &meta);
        CU_ASSERT_PTR_NOT_NULL_FATAL(w);
        check_kv_content(folder, &meta);
        kv_writer_close(&w);
        test_folder_remove(folder);
    }
    CU_ASSERT_TRUE(nth > 5);
}

static void log_of_format_1_is_brought_up(void)
{
    static char old_shape[32768], new_shape[32768];
    char old_folder[TEST_PATH_MAX], new_folder[TEST_PATH_MAX], path[2 * TEST_PATH_MAX];
    char problem[TEST_PROBLEM_MAX] = "";
    struct log_db *db = NULL;
    test_folder_make(old_folder);
    test_folder_make(new_folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db", old_folder);
    write_old(path, raft_1);
    CU_ASSERT_EQUAL_FATAL(log_db_open(old_folder, "demo", "n1", 1, &db, problem, sizeof(problem)),
                          OK);
    shape_of(path, old_shape, sizeof(old_shape));
    log_db_close(&db);
    CU_ASSERT_EQUAL_FATAL(log_db_open(new_folder, "demo", "n1", 1, &db, problem, sizeof(problem)),
                          OK);
    (void)snprintf(path, sizeof(path), "%s/raft.db", new_folder);
    shape_of(path, new_shape, sizeof(new_shape));
    CU_ASSERT_STRING_EQUAL(old_shape, new_shape);
    log_db_close(&db);
    test_folder_remove(old_folder);
    test_folder_remove(new_folder);
}

SUITE("store: upgrade", TEST(kv_of_format_1_is_brought_up), TEST(an_upgrade_that_fails_is_none),
      TEST(log_of_format_1_is_brought_up))
