/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that the simulated disk is a disk: plain SQLite runs on it in WAL mode with two connections,
 * what was synced survives every power cut, what was not is lost or torn and never corrupts the
 * file, and each injected fault arrives as the error SQLite documents for it. The rules are those of
 * SQLite's "Atomic Commit", "Write-Ahead Logging" and "The OS interface" pages.
 */
#include "../../sim/disk.h"
#include "suite.h"

#include <sqlite3.h>

static uint64_t zero_now(void *context)
{
    UNUSED(context);
    return 0;
}

static void add_us(void *context, uint64_t us)
{
    *(uint64_t *)context += us;
}

static struct disk *fresh_disk(uint64_t seed, uint64_t *spent_us)
{
    const struct disk_hooks hooks = {.now_us = zero_now, .spend_us = add_us, .context = spent_us};
    return disk_create(seed, &hooks);
}

static sqlite3 *open_db(const char *path)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(
        path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        n = sqlite3_column_int64(s, 0);
    }
    sqlite3_finalize(s);
    return n;
}

static bool intact(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    bool ok = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL) == SQLITE_OK &&
              sqlite3_step(s) == SQLITE_ROW &&
              strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
    sqlite3_finalize(s);
    return ok;
}

static sqlite3 *open_wal(const char *path, const char *synchronous)
{
    sqlite3 *db = open_db(path);
    if (db == NULL) {
        return NULL;
    }
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "PRAGMA synchronous=%s", synchronous);
    if (run(db, "PRAGMA journal_mode=WAL") != SQLITE_OK || run(db, sql) != SQLITE_OK ||
        run(db, "CREATE TABLE IF NOT EXISTS t(i INTEGER PRIMARY KEY, v BLOB)") != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

/* WAL mode with a writer and a reader: the reader keeps its snapshot, a second writer is busy. */
static void wal_with_two_connections(void)
{
    uint64_t spent_us = 0;
    struct disk *d = fresh_disk(1, &spent_us);
    sqlite3 *writer = open_wal("/n1/a.db", "FULL");
    sqlite3 *reader = open_db("/n1/a.db");
    CU_ASSERT_PTR_NOT_NULL_FATAL(writer);
    CU_ASSERT_PTR_NOT_NULL_FATAL(reader);

    CU_ASSERT_EQUAL(run(writer, "INSERT INTO t VALUES(1, 'x')"), SQLITE_OK);
    CU_ASSERT_EQUAL(run(reader, "BEGIN"), SQLITE_OK);
    CU_ASSERT_EQUAL(number(reader, "SELECT count(*) FROM t"), 1);
    CU_ASSERT_EQUAL(run(writer, "INSERT INTO t VALUES(2, 'y')"), SQLITE_OK);
    CU_ASSERT_EQUAL(number(reader, "SELECT count(*) FROM t"), 1);
    CU_ASSERT_EQUAL(run(reader, "COMMIT"), SQLITE_OK);
    CU_ASSERT_EQUAL(number(reader, "SELECT count(*) FROM t"), 2);

    CU_ASSERT_EQUAL(run(writer, "BEGIN IMMEDIATE"), SQLITE_OK);
    CU_ASSERT_EQUAL(run(reader, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    CU_ASSERT_EQUAL(run(writer, "COMMIT"), SQLITE_OK);
    CU_ASSERT_TRUE(disk_file_bytes(d, 1, "a.db-wal") > 0);

    sqlite3_close(reader);
    sqlite3_close(writer); /* the last one checkpoints and deletes the WAL */
    CU_ASSERT_EQUAL(disk_file_bytes(d, 1, "a.db-wal"), 0);
    writer = open_wal("/n1/a.db", "FULL");
    CU_ASSERT_EQUAL(number(writer, "SELECT count(*) FROM t"), 2);
    sqlite3_close(writer);
    disk_destroy(&d);
}

/* synchronous=FULL: after any power cut every acknowledged commit is there, and only a prefix of the
 * commits (trap 21), with checkpoints in between. */
static void power_cut_keeps_what_was_synced(void)
{
    int lost_commits = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t spent_us = 0;
        struct disk *d = fresh_disk(seed, &spent_us);
        sqlite3 *db = open_wal("/n1/a.db", "FULL");
        CU_ASSERT_PTR_NOT_NULL_FATAL(db);
        disk_die_after(d, 1, 1 + seed * 7 % 150);
        int64_t acknowledged = 0;
        for (int64_t i = 1; i <= 60; i++) {
            char sql[96];
            (void)snprintf(sql, sizeof(sql),
                           "INSERT INTO t VALUES(%" PRId64 ", randomblob(%" PRId64 "))", i,
                           100 + i * 37 % 3000);
            if (run(db, sql) != SQLITE_OK) {
                break;
            }
            acknowledged = i;
            if (i % 10 == 0) {
                (void)run(db, "PRAGMA wal_checkpoint(PASSIVE)");
            }
        }
        CU_ASSERT_TRUE(disk_is_dead(d, 1) || acknowledged == 60);
        disk_cut(d, 1, DISK_CUT_POWER);
        sqlite3_close(db); /* dead: must not checkpoint */
        disk_power_on(d, 1);
        db = open_wal("/n1/a.db", "FULL");
        CU_ASSERT_PTR_NOT_NULL_FATAL(db);
        CU_ASSERT_TRUE(intact(db));
        int64_t kept = number(db, "SELECT count(*) FROM t");
        CU_ASSERT_EQUAL(number(db, "SELECT coalesce(max(i), 0) FROM t"), kept);
        CU_ASSERT_TRUE(kept == acknowledged || kept == acknowledged + 1);
        lost_commits += kept == acknowledged && acknowledged < 60;
        sqlite3_close(db);
        disk_destroy(&d);
    }
    CU_ASSERT_TRUE(lost_commits > 0); /* the cut does bite */
}

/* synchronous=NORMAL loses acknowledged commits at a power cut but stays consistent (trap 21), and
 * loses nothing when only the process ends. */
static void power_cut_loses_what_was_not_synced(void)
{
    int lost = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        bool power = seed % 2 == 0;
        uint64_t spent_us = 0;
        struct disk *d = fresh_disk(seed, &spent_us);
        sqlite3 *db = open_wal("/n1/a.db", "NORMAL");
        CU_ASSERT_PTR_NOT_NULL_FATAL(db);
        for (int i = 1; i <= 20; i++) {
            CU_ASSERT_EQUAL(run(db, "INSERT INTO t(v) VALUES(randomblob(500))"), SQLITE_OK);
        }
        CU_ASSERT_TRUE(disk_pending_count(d, 1) > 0);
        disk_cut(d, 1, power ? DISK_CUT_POWER : DISK_CUT_PROCESS);
        sqlite3_close(db);
        disk_power_on(d, 1);
        db = open_db("/n1/a.db");
        CU_ASSERT_PTR_NOT_NULL_FATAL(db);
        CU_ASSERT_TRUE(intact(db));
        int64_t kept = number(db, "SELECT count(*) FROM t");
        if (power) {
            lost += kept < 20;
        } else {
            CU_ASSERT_EQUAL(kept, 20);
        }
        sqlite3_close(db);
        disk_destroy(&d);
    }
    CU_ASSERT_TRUE(lost > 10);
}

/* A handle of the crashed process neither reads nor writes, even after the next power-on. */
static void dead_handles_stay_dead(void)
{
    uint64_t spent_us = 0;
    struct disk *d = fresh_disk(3, &spent_us);
    sqlite3 *old = open_wal("/n1/a.db", "FULL");
    CU_ASSERT_EQUAL(run(old, "INSERT INTO t VALUES(1, 'x')"), SQLITE_OK);
    disk_cut(d, 1, DISK_CUT_PROCESS);
    CU_ASSERT_PTR_NULL(open_wal("/n1/a.db", "FULL"));
    disk_power_on(d, 1);
    sqlite3 *db = open_wal("/n1/a.db", "FULL");
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_NOT_EQUAL(run(old, "INSERT INTO t VALUES(2, 'y')"), SQLITE_OK);
    uint64_t wal_bytes = disk_file_bytes(d, 1, "a.db-wal");
    sqlite3_close(old);
    CU_ASSERT_EQUAL(disk_file_bytes(d, 1, "a.db-wal"), wal_bytes);
    CU_ASSERT_EQUAL(number(db, "SELECT count(*) FROM t"), 1);
    CU_ASSERT_EQUAL(run(db, "INSERT INTO t VALUES(2, 'y')"), SQLITE_OK);
    sqlite3_close(db);
    /* another node's disk lives on meanwhile */
    disk_cut(d, 1, DISK_CUT_POWER);
    db = open_wal("/n2/a.db", "FULL");
    CU_ASSERT_PTR_NOT_NULL(db);
    sqlite3_close(db);
    disk_destroy(&d);
}

/* Each fault comes as SQLite's own error; a failed fsync is not made good by a later one (trap 20). */
static void faults_arrive_as_errors(void)
{
    uint64_t spent_us = 0;
    struct disk *d = fresh_disk(4, &spent_us);
    sqlite3 *db = open_wal("/n1/a.db", "FULL");
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);

    struct disk_faults f = {.full = true};
    disk_set_faults(d, 1, &f);
    CU_ASSERT_EQUAL(run(db, "INSERT INTO t VALUES(1, randomblob(20000))"), SQLITE_FULL);
    f = (struct disk_faults){.write_error = DISK_PARTS};
    disk_set_faults(d, 1, &f);
    CU_ASSERT_EQUAL(run(db, "INSERT INTO t VALUES(1, 'x')"), SQLITE_IOERR);
    CU_ASSERT_EQUAL(sqlite3_extended_errcode(db), SQLITE_IOERR_WRITE);
    f = (struct disk_faults){.sync_error = DISK_PARTS};
    disk_set_faults(d, 1, &f);
    CU_ASSERT_EQUAL(run(db, "INSERT INTO t VALUES(1, 'x')"), SQLITE_IOERR);
    CU_ASSERT_EQUAL(sqlite3_extended_errcode(db), SQLITE_IOERR_FSYNC);
    CU_ASSERT_EQUAL(disk_pending_count(d, 1), 0);
    f = (struct disk_faults){.stall = DISK_PARTS, .stall_us = 5000000};
    disk_set_faults(d, 1, &f);
    spent_us = 0;
    CU_ASSERT_EQUAL(run(db, "INSERT INTO t VALUES(2, 'x')"), SQLITE_OK);
    CU_ASSERT_TRUE(spent_us >= 5000000);
    sqlite3_close(db);
    struct disk_figures figures;
    disk_figures(d, &figures);
    CU_ASSERT_TRUE(figures.injected >= 4);
    disk_destroy(&d);
}

/* Read errors reach the caller too, and pass. */
static void read_errors_arrive(void)
{
    uint64_t spent_us = 0;
    struct disk *d = fresh_disk(5, &spent_us);
    sqlite3 *db = open_wal("/n1/a.db", "FULL");
    CU_ASSERT_EQUAL(run(db, "INSERT INTO t VALUES(1, 'x')"), SQLITE_OK);
    sqlite3_close(db);
    db = open_db("/n1/a.db");
    struct disk_faults f = {.read_error = DISK_PARTS};
    disk_set_faults(d, 1, &f);
    CU_ASSERT_EQUAL(number(db, "SELECT count(*) FROM t"), -1);
    disk_set_faults(d, 1, &(struct disk_faults){0});
    CU_ASSERT_EQUAL(number(db, "SELECT count(*) FROM t"), 1);
    sqlite3_close(db);
    disk_destroy(&d);
}

/* A flipped bit in the WAL loses every commit behind it, silently: what trap 22 is about. */
static void flipped_bits_drop_commits(void)
{
    int dropped = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t spent_us = 0;
        struct disk *d = fresh_disk(seed, &spent_us);
        sqlite3 *db = open_wal("/n1/a.db", "FULL");
        for (int i = 1; i <= 30; i++) {
            CU_ASSERT_EQUAL(run(db, "INSERT INTO t(v) VALUES('x')"), SQLITE_OK);
        }
        disk_cut(d, 1, DISK_CUT_PROCESS);
        sqlite3_close(db);
        CU_ASSERT_TRUE(disk_flip_bit(d, 1, "a.db-wal"));
        CU_ASSERT_FALSE(disk_flip_bit(d, 1, "nothing"));
        disk_power_on(d, 1);
        db = open_db("/n1/a.db");
        dropped += number(db, "SELECT count(*) FROM t") < 30;
        sqlite3_close(db);
        disk_destroy(&d);
    }
    CU_ASSERT_TRUE(dropped > 20);
}

/* Deletion and creation are journalled: a prefix of them survives, and a sync commits all. */
static void names_are_journalled(void)
{
    int came_back = 0, stayed_away = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t spent_us = 0;
        struct disk *d = fresh_disk(seed, &spent_us);
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
        CU_ASSERT_STRING_EQUAL(vfs->zName, "sim");
        sqlite3 *db = open_wal("/n1/a.db", "FULL");
        CU_ASSERT_EQUAL(run(db, "INSERT INTO t VALUES(1, 'x')"), SQLITE_OK);
        sqlite3_close(db);
        CU_ASSERT_EQUAL(vfs->xDelete(vfs, "/n1/a.db", 0), SQLITE_OK);
        CU_ASSERT_EQUAL(vfs->xDelete(vfs, "/n1/a.db", 0), SQLITE_IOERR_DELETE_NOENT);
        disk_cut(d, 1, DISK_CUT_POWER);
        disk_power_on(d, 1);
        if (disk_file_bytes(d, 1, "a.db") > 0) {
            came_back++;
            db = open_db("/n1/a.db");
            CU_ASSERT_EQUAL(number(db, "SELECT count(*) FROM t"), 1);
            sqlite3_close(db);
            CU_ASSERT_EQUAL(vfs->xDelete(vfs, "/n1/a.db", 1), SQLITE_OK);
            disk_cut(d, 1, DISK_CUT_POWER);
            CU_ASSERT_EQUAL(disk_file_bytes(d, 1, "a.db"), 0);
        } else {
            stayed_away++;
        }
        disk_destroy(&d);
    }
    CU_ASSERT_TRUE(came_back > 0);
    CU_ASSERT_TRUE(stayed_away > 0);
}

/* The same seed draws the same salts: the WAL of two runs is octet for octet the same size and the
 * same random blobs come out. */
static void same_seed_same_randomness(void)
{
    int64_t drawn[2];
    for (int i = 0; i < 2; i++) {
        uint64_t spent_us = 0;
        struct disk *d = fresh_disk(77, &spent_us);
        sqlite3 *db = open_wal("/n1/a.db", "FULL");
        drawn[i] = number(db, "SELECT random()");
        sqlite3_close(db);
        disk_destroy(&d);
    }
    CU_ASSERT_EQUAL(drawn[0], drawn[1]);
}

SUITE("simulated disk", TEST(wal_with_two_connections), TEST(power_cut_keeps_what_was_synced),
      TEST(power_cut_loses_what_was_not_synced), TEST(dead_handles_stay_dead),
      TEST(faults_arrive_as_errors), TEST(read_errors_arrive), TEST(flipped_bits_drop_commits),
      TEST(names_are_journalled), TEST(same_seed_same_randomness))
