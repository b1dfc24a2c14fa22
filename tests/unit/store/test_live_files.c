/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files while the node runs and a person looks into them with the stock sqlite3: neither disturbs the
 * other, a reader who stays is named and the WAL recovers when they leave, and the accident of trap 57
 * is noticed. Traps 24, 25, 57. The node's part runs in this process, the person's in another.
 */
#include "store_test.h"

#define WAL_HARD_BYTES (4 << 20) /* what log_open.c sets; the WAL is bounded near it */

/* Log lines are kept here. */
static char log_text[1 << 16];
static size_t log_size;

static void keep_line(void *context, enum log_level level, const char *line, size_t size)
{
    (void)context;
    (void)level;
    if (log_size + size + 2 < sizeof(log_text)) {
        memcpy(log_text + log_size, line, size);
        log_size += size;
        log_text[log_size++] = '\n';
        log_text[log_size] = '\0';
    }
}

static size_t lines_with(const char *text)
{
    size_t count = 0;
    for (const char *at = strstr(log_text, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

static struct log_db *open_ready(const char *folder)
{
    struct log_recovered found;
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);
    return db;
}

/* Commits of 100 entries of 1,000 octets with the maintenance the log actor does after each. */
static void commit_many(struct log_db *db, uint64_t *sequence, uint64_t *last, size_t count,
                        uint64_t *wal_bytes_max)
{
    for (size_t i = 0; i < count; i++) {
        struct db_figures figures;
        *sequence += 1;
        CU_ASSERT_EQUAL_FATAL(
            test_persist(db, *sequence, 1, 0, 0, test_entries(*last + 1, *last + 100, 1, 1000)),
            OK);
        *last += 100;
        CU_ASSERT_EQUAL_FATAL(log_db_maintain(db, false), OK);
        log_db_figures(db, &figures);
        if (wal_bytes_max != NULL && figures.wal_bytes > *wal_bytes_max) {
            *wal_bytes_max = figures.wal_bytes;
        }
    }
}

/* Trap 25: back-to-back commits, never idle; the WAL stays near its limit. */
static void wal_is_bounded_under_load(void)
{
    char folder[TEST_PATH_MAX];
    uint64_t sequence = 0;
    uint64_t last = 0;
    uint64_t wal_bytes_max = 0;
    struct db_figures figures;
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    commit_many(db, &sequence, &last, 400, &wal_bytes_max); /* 40 MB */
    log_db_figures(db, &figures);
    CU_ASSERT_TRUE(figures.checkpoints > 5);
    CU_ASSERT_TRUE(wal_bytes_max < WAL_HARD_BYTES + (1 << 20));
    CU_ASSERT_EQUAL(figures.checkpoint_blocked_count, 0);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* A transaction larger than the WAL it starts anew is not taken for a reader who holds on to it. */
static void large_commit_is_no_reader(void)
{
    char folder[TEST_PATH_MAX];
    uint64_t sequence = 0;
    uint64_t last = 0;
    struct db_figures figures;
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    commit_many(db, &sequence, &last, 15, NULL);
    CU_ASSERT_EQUAL(log_db_maintain(db, true), OK);
    CU_ASSERT_EQUAL(
        test_persist(db, ++sequence, 1, 0, 0, test_entries(last + 1, last + 20, 1, 1 << 20)), OK);
    log_db_figures(db, &figures);
    CU_ASSERT_TRUE(figures.wal_bytes > 20 << 20);
    CU_ASSERT_EQUAL(figures.checkpoint_blocked_count, 0);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* Trap 24: a person reads while the node writes. Neither gets an error. The WAL grows while their
 * transaction is open; that is said once with their process, and once more when it is over. */
static void reader_who_stays(void)
{
    char folder[TEST_PATH_MAX];
    char path[TEST_PATH_MAX + 32];
    char pid_text[32];
    uint64_t sequence = 0;
    uint64_t last = 0;
    struct db_figures figures;
    struct test_person person;
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    struct log_db *db = open_ready(folder);
    commit_many(db, &sequence, &last, 10, NULL);
    log_size = 0;
    log_text[0] = '\0';
    log_set_sink(keep_line, NULL);

    test_person_start(&person, "-readonly", path);
    CU_ASSERT_TRUE(test_person_say(&person, "BEGIN; SELECT count(*) FROM log_readable;"));
    commit_many(db, &sequence, &last, 250, NULL);
    log_db_figures(db, &figures);
    CU_ASSERT_TRUE(figures.wal_bytes > 4 * WAL_HARD_BYTES);
    CU_ASSERT_TRUE(figures.checkpoint_blocked_count > 0);
    CU_ASSERT_EQUAL(lines_with("write-ahead log pinned"), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(log_text, "sqlite3 (another process)"));
    (void)snprintf(pid_text, sizeof(pid_text), "pid=%ld ", (long)person.pid);
    CU_ASSERT_PTR_NOT_NULL(strstr(log_text, pid_text));
    CU_ASSERT_TRUE(test_person_say(&person, "SELECT count(*) FROM log; COMMIT;"));

    commit_many(db, &sequence, &last, 10, NULL);
    log_db_figures(db, &figures);
    CU_ASSERT_TRUE(figures.wal_bytes < WAL_HARD_BYTES);
    CU_ASSERT_EQUAL(figures.checkpoint_blocked_count, 0);
    CU_ASSERT_EQUAL(lines_with("write-ahead log free again"), 1);
    CU_ASSERT_EQUAL(lines_with("write-ahead log pinned"), 1);
    CU_ASSERT_TRUE(test_person_say(&person, "SELECT count(*) FROM status;"));
    CU_ASSERT_TRUE(test_person_quit(&person));
    log_set_sink(NULL, NULL);

    /* After a reader of the whole session has gone, the node's file is still its file. */
    CU_ASSERT_EQUAL(log_db_sync_mark(db), OK);
    commit_many(db, &sequence, &last, 2, NULL);
    log_db_close(&db);
    db = open_ready(folder);
    struct entries *block = NULL;
    CU_ASSERT_EQUAL(log_db_read(db, 0, last, last, 10, &block), OK);
    entries_free(&block);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* People come and go with read-write sessions that only read: their closing must not take the WAL. */
static void visitors_with_write_sessions(void)
{
    char folder[TEST_PATH_MAX];
    char path[TEST_PATH_MAX + 32];
    uint64_t sequence = 0;
    uint64_t last = 0;
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    struct log_db *db = open_ready(folder);
    for (int i = 0; i < 5; i++) {
        commit_many(db, &sequence, &last, 5, NULL);
        CU_ASSERT_TRUE(test_sqlite3("", path, "SELECT count(*) FROM log_readable", NULL, 0));
        CU_ASSERT_EQUAL(log_db_sync_mark(db), OK);
    }
    log_db_close(&db);
    test_folder_remove(folder);
}

/* A person's checkpoint that only copies is no foreign write; one that empties the WAL under the
 * node cannot be told from a write and is taken for one, nothing being lost. */
static void visitors_checkpoint(void)
{
    static const struct {
        const char *sql;
        enum err next;
    } cases[] = {
        {"PRAGMA wal_checkpoint(PASSIVE)", OK},
        {"PRAGMA wal_checkpoint(FULL)", OK},
        {"PRAGMA wal_checkpoint(RESTART)", OK},
        {"PRAGMA wal_checkpoint(TRUNCATE)", ERR_FOREIGN_WRITE},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char folder[TEST_PATH_MAX];
        char path[TEST_PATH_MAX + 32];
        uint64_t sequence = 0;
        uint64_t last = 0;
        test_folder_make(folder);
        (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
        struct log_db *db = open_ready(folder);
        commit_many(db, &sequence, &last, 3, NULL);
        CU_ASSERT_TRUE(test_sqlite3("", path, cases[i].sql, NULL, 0));
        CU_ASSERT_EQUAL(log_db_begin(db), cases[i].next);
        if (cases[i].next == OK) {
            CU_ASSERT_EQUAL(log_db_commit(db), OK);
            commit_many(db, &sequence, &last, 3, NULL);
        }
        log_db_close(&db);
        db = open_ready(folder);
        struct entries *block = NULL;
        CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 1, last, UINT64_MAX, &block), OK);
        CU_ASSERT_EQUAL(block->count, last);
        entries_free(&block);
        log_db_close(&db);
        test_folder_remove(folder);
    }
}

/* Trap 57, exactly that sequence: a stray open and close of the live file drops SQLite's locks, a
 * person's select then deletes the live WAL on leaving, and commits go on into a file without a name. The
 * log's look at its names finds it; the handle then refuses everything. */
static void stray_close_is_noticed(void)
{
    char folder[TEST_PATH_MAX];
    char path[TEST_PATH_MAX + 32];
    uint64_t sequence = 0;
    uint64_t last = 0;
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    struct log_db *db = open_ready(folder);
    commit_many(db, &sequence, &last, 2, NULL);
    CU_ASSERT_EQUAL(log_db_sync_mark(db), OK);

    int stray = open(path, O_RDONLY | O_CLOEXEC); /* what nobody may do */
    CU_ASSERT_TRUE(stray >= 0);
    (void)close(stray);
    CU_ASSERT_TRUE(test_sqlite3("", path, "SELECT count(*) FROM log", NULL, 0));
    CU_ASSERT_EQUAL(log_db_sync_mark(db), ERR_CORRUPT);
    CU_ASSERT_EQUAL(log_db_begin(db), ERR_IO);
    CU_ASSERT_EQUAL(log_db_maintain(db, true), ERR_IO);
    log_db_close(&db);

    /* What was committed before is whole at the next start. */
    struct log_recovered found;
    db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.last_log_index, last);
    log_recovered_free(&found);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* A file moved away or replaced under the running node. */
static void replaced_file_is_noticed(void)
{
    static const char *const names[] = {"raft.db", "raft.db-wal"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char folder[TEST_PATH_MAX];
        char path[TEST_PATH_MAX + 32];
        char away[TEST_PATH_MAX + 32];
        uint64_t sequence = 0;
        uint64_t last = 0;
        test_folder_make(folder);
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)snprintf(away, sizeof(away), "%s/away", folder);
        struct log_db *db = open_ready(folder);
        commit_many(db, &sequence, &last, 2, NULL);
        CU_ASSERT_EQUAL(rename(path, away), 0);
        test_file_write(folder, names[i], view_of_text("another file"));
        CU_ASSERT_EQUAL(log_db_sync_mark(db), ERR_CORRUPT);
        log_db_close(&db);
        test_folder_remove(folder);
    }
}

/* ---- kv.db ------------------------------------------------------------------------------------- */

static enum err write_batch(struct kv_writer *w, int64_t revision)
{
    struct kv_batch *b = mem_zalloc(sizeof(*b));
    uint8_t *value = mem_zalloc(1 << 20);
    const struct kv_history row = {.change = change_id(revision, 0),
                                   .key = view_of_text("key"),
                                   .value = view_of(value, 1 << 20),
                                   .create_revision = 2,
                                   .version = 1};
    const struct kv_current now = {
        .key = row.key, .change = row.change, .create_revision = 2, .version = 1, .depth = 1};
    b->applied_index = (uint64_t)revision;
    b->applied_term = 1;
    b->revision = revision;
    kv_batch_add_history(b, &row);
    kv_batch_add_current(b, &now);
    enum err error = kv_writer_write(w, b);
    kv_batch_free(&b);
    mem_free(value);
    return error;
}

/* The apply actor's reader, left alone after a point read, must not keep the WAL from starting anew
 * (trap 25); in the middle of a scan it does, until the scan ends. */
static void own_reader_does_not_pin(void)
{
    char folder[TEST_PATH_MAX];
    char problem[TEST_PROBLEM_MAX];
    struct kv_meta meta;
    struct kv_writer *w = NULL;
    struct kv_reader *r = NULL;
    struct kv_current current;
    struct kv_history history;
    struct db_figures figures;
    test_folder_make(folder);
    CU_ASSERT_EQUAL_FATAL(kv_writer_open(folder, 0, 0, &w, &meta, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL_FATAL(kv_reader_open(folder, 0, 0, &r, problem, sizeof(problem)), OK);
    uint64_t wal_bytes_max = 0;
    for (int64_t i = 2; i < 60; i++) {
        CU_ASSERT_EQUAL(write_batch(w, i), OK);
        CU_ASSERT_EQUAL(kv_reader_current(r, view_of_text("key"), &current), OK);
        CU_ASSERT_EQUAL(current.change, change_id(i, 0));
        CU_ASSERT_EQUAL(kv_reader_history(r, current.change, &history), OK);
        kv_reader_release(r);
        CU_ASSERT_EQUAL(kv_writer_maintain(w, false), OK);
        kv_writer_figures(w, &figures);
        wal_bytes_max = figures.wal_bytes > wal_bytes_max ? figures.wal_bytes : wal_bytes_max;
    }
    CU_ASSERT_TRUE(figures.checkpoints > 2);
    CU_ASSERT_TRUE(wal_bytes_max < 20 << 20);
    CU_ASSERT_EQUAL(figures.checkpoint_blocked_count, 0);

    CU_ASSERT_EQUAL(kv_reader_scan_start(r, view_of(NULL, 0)), OK);
    CU_ASSERT_EQUAL(kv_reader_scan_next(r, &current), OK);
    for (int64_t i = 60; i < 100; i++) {
        CU_ASSERT_EQUAL(write_batch(w, i), OK);
        CU_ASSERT_EQUAL(kv_writer_maintain(w, false), OK);
    }
    kv_writer_figures(w, &figures);
    CU_ASSERT_TRUE(figures.wal_bytes > 30 << 20);
    CU_ASSERT_TRUE(figures.checkpoint_blocked_count > 0);
    kv_reader_scan_end(r);
    kv_reader_release(r);
    CU_ASSERT_EQUAL(kv_writer_maintain(w, true), OK);
    CU_ASSERT_EQUAL(write_batch(w, 100), OK);
    kv_writer_figures(w, &figures);
    CU_ASSERT_TRUE(figures.wal_bytes < 4 << 20);
    CU_ASSERT_EQUAL(figures.checkpoint_blocked_count, 0);
    kv_reader_close(&r);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

/* Room that trimming freed is given back in slices when idle, never in one stop (trap 23). */
static void freed_room_is_given_back(void)
{
    char folder[TEST_PATH_MAX];
    uint64_t sequence = 0;
    uint64_t last = 0;
    struct db_figures before;
    struct db_figures after;
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    commit_many(db, &sequence, &last, 300, NULL); /* 30 MB */
    log_db_figures(db, &before);
    bool more = true;
    while (more) {
        CU_ASSERT_EQUAL_FATAL(log_db_begin(db), OK);
        CU_ASSERT_EQUAL_FATAL(log_db_trim(db, 0, last - 10, 2000, &more), OK);
        CU_ASSERT_EQUAL_FATAL(log_db_commit(db), OK);
        CU_ASSERT_EQUAL_FATAL(log_db_maintain(db, false), OK);
    }
    log_db_figures(db, &after);
    CU_ASSERT_TRUE(after.used_bytes < before.used_bytes / 10);
    for (int i = 0; i < 200; i++) {
        CU_ASSERT_EQUAL_FATAL(log_db_maintain(db, true), OK);
    }
    log_db_figures(db, &after);
    CU_ASSERT_TRUE(after.file_bytes < before.file_bytes / 2);
    log_db_close(&db);

    const struct kv_meta kv = {.applied_index = last, .applied_term = 1, .revision = 2};
    struct log_recovered found;
    db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL(log_db_recover(db, 0, &kv, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.trimmed_index, last - 10);
    CU_ASSERT_EQUAL(found.last_log_index, last);
    log_recovered_free(&found);
    log_db_close(&db);
    test_folder_remove(folder);
}

SUITE("store: live files", TEST(wal_is_bounded_under_load), TEST(large_commit_is_no_reader),
      TEST(reader_who_stays), TEST(visitors_with_write_sessions), TEST(visitors_checkpoint),
      TEST(stray_close_is_noticed), TEST(replaced_file_is_noticed), TEST(own_reader_does_not_pin),
      TEST(freed_room_is_given_back))
