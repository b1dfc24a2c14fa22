/* SPDX-License-Identifier: Apache-2.0 */
/* db.c: see db.h. Opening, statements, transactions, errors. The WAL's account is in checkpoint.c. */
#include "db.h"

#include "vfs_file.h"

#include "actor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ------------------------------------------------------------------------------------ */

static enum err error_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY_FILE;
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* a table or column is missing: somebody changed the schema */
    case SQLITE_SCHEMA:
    case SQLITE_CONSTRAINT: /* a row is there that must not be: not what we wrote */
    case SQLITE_MISMATCH:
        return ERR_CORRUPT;
    default:
        return ERR_IO;
    }
}

/* A read that fails says nothing about what was written. */
static bool is_write_error(int rc)
{
    switch (rc) {
    case SQLITE_IOERR:
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
    case SQLITE_IOERR_TRUNCATE:
        return true;
    default:
        return false;
    }
}

/* A full quota comes as a failed write, and no room for the -shm as an error of its own, but nothing is wrong with the
 * disk. */
static bool is_quota(struct db *db, int rc)
{
    return rc == SQLITE_IOERR_SHMSIZE || (rc == SQLITE_IOERR_WRITE && db->handle != NULL &&
                                          sqlite3_system_errno(db->handle) == EDQUOT);
}

enum err db_error(struct db *db, int rc, const char *what)
{
    rc = is_quota(db, rc) ? SQLITE_FULL : rc;
    enum err error = error_of(rc);
    ASSERT((rc & 0xff) != SQLITE_MISUSE);
    ASSERT((rc & 0xff) != SQLITE_NOMEM);
    ASSERT((rc & 0xff) != SQLITE_RANGE);
    if (error == OK || error == ERR_BUSY_FILE) {
        return error;
    }
    if (error == ERR_DISK_FULL) {
        if (!db->full_said) {
            log_event(LOG_ERROR, "disk full", "file=%s while=\"%s\"", db->settings.name, what);
        }
        db->full_said = true;
        return error;
    }
    log_event(LOG_ERROR, "database error", "file=%s while=\"%s\" code=%d error=\"%s\" text=\"%s\"",
              db->settings.name, what, rc, err_text(error),
              db->handle != NULL ? sqlite3_errmsg(db->handle) : "");
    db->failed = true;
    db->write_failed = db->write_failed || is_write_error(rc);
    return error;
}

/* ---- statements -------------------------------------------------------------------------------- */

enum err db_prepare(struct db *db, const char *sql, sqlite3_stmt **out)
{
    ASSERT(db->statement_count < DB_STATEMENTS_MAX);
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (rc != SQLITE_OK) {
        return db_error(db, rc, sql);
    }
    db->statements[db->statement_count++] = statement;
    *out = statement;
    return OK;
}

enum err db_execute(struct db *db, const char *sql)
{
    return db_error(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), sql);
}

enum err db_run(struct db *db, sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    ASSERT(rc != SQLITE_ROW);
    enum err error = rc == SQLITE_DONE ? OK : db_error(db, rc, sqlite3_sql(statement));
    (void)sqlite3_reset(statement);
    return error;
}

enum err db_step(struct db *db, sqlite3_stmt *statement, bool *row)
{
    int rc = sqlite3_step(statement);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        return db_error(db, rc, sqlite3_sql(statement));
    }
    *row = rc == SQLITE_ROW;
    return OK;
}

void db_done(sqlite3_stmt *statement)
{
    (void)sqlite3_reset(statement);
}

void db_bind_blob(sqlite3_stmt *statement, int at, struct view value)
{
    int rc = value.size == 0
                 ? sqlite3_bind_zeroblob(statement, at, 0)
                 : sqlite3_bind_blob64(statement, at, value.data, value.size, SQLITE_STATIC);
    ASSERT(rc == SQLITE_OK);
}

void db_bind_u64(sqlite3_stmt *statement, int at, uint64_t value)
{
    int rc = sqlite3_bind_int64(statement, at, (sqlite3_int64)value);
    ASSERT(rc == SQLITE_OK);
}

void db_bind_i64(sqlite3_stmt *statement, int at, int64_t value)
{
    int rc = sqlite3_bind_int64(statement, at, (sqlite3_int64)value);
    ASSERT(rc == SQLITE_OK);
}

void db_bind_text(sqlite3_stmt *statement, int at, const char *value)
{
    int rc = sqlite3_bind_text(statement, at, value, -1, SQLITE_TRANSIENT);
    ASSERT(rc == SQLITE_OK);
}

struct view db_column_view(sqlite3_stmt *statement, int at)
{
    const void *data = sqlite3_column_blob(statement, at);
    return view_of(data, (size_t)sqlite3_column_bytes(statement, at));
}

/* One number from a statement that is not kept. */
static enum err number_of(struct db *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW) {
            *out = sqlite3_column_int64(statement, 0);
            rc = SQLITE_OK;
        } else if (rc == SQLITE_DONE) {
            rc = SQLITE_CORRUPT;
        }
    }
    enum err error = db_error(db, rc, sql);
    (void)sqlite3_finalize(statement);
    return error;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static enum err create_tables(struct db *db)
{
    char numbers[128];
    (void)snprintf(numbers, sizeof(numbers), "PRAGMA application_id=%d; PRAGMA user_version=%d;",
                   db->settings.application_id, db->settings.format);
    /* One transaction: after a crash the file is empty or complete. */
    enum err error = db_execute(db, "BEGIN IMMEDIATE");
    if (error == OK) {
        error = db_execute(db, db->settings.schema);
    }
    if (error == OK) {
        error = db_execute(db, numbers);
    }
    if (error == OK) {
        error = db_execute(db, "COMMIT");
    }
    return error;
}

/* One transaction, so that after a crash the file has the old format or the new. */
static enum err upgrade(struct db *db, int format)
{
    char number[64];
    log_event(LOG_NOTICE, "database file upgraded", "file=%s from_format=%d to_format=%d",
              db->settings.name, format, db->settings.format);
    (void)snprintf(number, sizeof(number), "PRAGMA user_version=%d", db->settings.format);
    enum err error = db_execute(db, "BEGIN IMMEDIATE");
    for (int at = format; error == OK && at < db->settings.format; at++) {
        error = db_execute(db, db->settings.upgrades[at - 1]);
    }
    if (error == OK) {
        error = db_execute(db, number);
    }
    if (error == OK) {
        error = db_execute(db, "COMMIT");
    }
    return error;
}

static enum err check_format(struct db *db, bool *empty, int *found, char *problem,
                             size_t problem_size)
{
    const struct db_settings *s = &db->settings;
    int64_t application_id = 0;
    int64_t format = 0;
    int64_t table_count = 0;
    enum err error = number_of(db, "PRAGMA application_id", &application_id);
    if (error == OK) {
        error = number_of(db, "PRAGMA user_version", &format);
    }
    if (error == OK) {
        error = number_of(db, "SELECT count(*) FROM sqlite_master", &table_count);
    }
    if (error != OK) {
        return error;
    }
    *empty = application_id == 0 && format == 0 && table_count == 0;
    if (*empty && s->schema != NULL) {
        return OK;
    }
    if (application_id != s->application_id || format <= 0) {
        (void)snprintf(problem, problem_size,
                       "%s is not a holdfast file of this kind; move it out of the data directory",
                       s->path);
        return ERR_CORRUPT;
    }
    if (format > s->format) {
        (void)snprintf(problem, problem_size,
                       "%s has format %" PRId64 ", this holdfast knows formats up to %d; start the "
                       "newer holdfast that wrote it",
                       s->path, format, s->format);
        return ERR_NEWER_FORMAT;
    }
    *found = (int)format;
    return OK;
}

/* SQLite says no by naming another mode, not by an error: where files cannot be mapped into memory. */
static enum err switch_to_wal(struct db *db, char *problem, size_t problem_size)
{
    sqlite3_stmt *pragma = NULL;
    bool wal = false;
    int rc = sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode=WAL", -1, &pragma, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(pragma);
    }
    if (rc == SQLITE_ROW) {
        const char *mode = (const char *)sqlite3_column_text(pragma, 0);
        wal = mode != NULL && strcmp(mode, "wal") == 0;
        rc = sqlite3_step(pragma); /* the change is committed when the statement ends */
    }
    enum err error = db_error(db, rc, "PRAGMA journal_mode=WAL");
    (void)sqlite3_finalize(pragma);
    if (error == OK && !wal) {
        (void)snprintf(
            problem, problem_size,
            "%s cannot use a write-ahead log on this file system; use a local one for the "
            "data directory",
            db->path);
        error = ERR_IO;
    }
    return error;
}

static enum err set_up(struct db *db, bool *created, char *problem, size_t problem_size)
{
    char pragmas[256];
    bool empty = false;
    int format = db->settings.format;
    enum err error = check_format(db, &empty, &format, problem, problem_size);
    if (error != OK) {
        return error;
    }
    (void)snprintf(pragmas, sizeof(pragmas),
                   "PRAGMA cache_size=-%d; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;",
                   db->settings.cache_kib);
    error = db_execute(db, pragmas);
    if (error != OK || db->settings.schema == NULL) {
        return error;
    }
    if (empty) {
        error = db_execute(db, "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;");
    }
    if (error == OK) {
        error = switch_to_wal(db, problem, problem_size);
    }
    if (error == OK) {
        (void)snprintf(pragmas, sizeof(pragmas),
                       "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
                       "PRAGMA secure_delete=OFF; PRAGMA journal_size_limit=%d;",
                       db->settings.keep_bytes);
        error = db_execute(db, pragmas);
    }
    if (error == OK && empty) {
        error = create_tables(db);
    }
    if (error == OK && format < db->settings.format) {
        error = upgrade(db, format);
    }
    if (error == OK) {
        *created = empty;
    }
    return error;
}

static enum err prepare_own(struct db *db)
{
    enum err error = db_prepare(db, "PRAGMA page_count", &db->page_count);
    if (error == OK) {
        error = db_prepare(db, "PRAGMA freelist_count", &db->free_count);
    }
    if (error == OK) {
        error = db_prepare(db, "PRAGMA data_version", &db->version);
    }
    if (error == OK) {
        error = db_prepare(db, "BEGIN IMMEDIATE", &db->begin);
    }
    if (error == OK) {
        error = db_prepare(db, "COMMIT", &db->commit);
    }
    if (error == OK) {
        error = db_prepare(db, "ROLLBACK", &db->rollback);
    }
    return error;
}

/* SQLite tells here, right after each commit, how many frames the WAL holds. */
static int on_commit(void *context, sqlite3 *handle, const char *name, int frames)
{
    struct db *db = context;
    UNUSED(handle);
    UNUSED(name);
    db->wal_frames = (uint64_t)frames;
    return SQLITE_OK;
}

enum err db_open(struct db *db, const struct db_settings *settings, bool *created, char *problem,
                 size_t problem_size)
{
    memset(db, 0, sizeof(*db));
    db->settings = *settings;
    db->path = mem_strdup(settings->path);
    db->settings.path = db->path;
    problem[0] = '\0';

    int flags = settings->schema != NULL ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                         : SQLITE_OPEN_READONLY;
    int rc = sqlite3_open_v2(settings->path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
    enum err error = db_error(db, rc, "open");
    if (error == OK) {
        (void)sqlite3_extended_result_codes(db->handle, 1);
        error = db_error(db, sqlite3_busy_timeout(db->handle, settings->busy_timeout_ms), "open");
    }
    if (error == OK) {
        error = set_up(db, created, problem, problem_size);
    }
    if (error == OK) {
        /* Not before: PRAGMA wal_autocheckpoint takes the hook away. */
        (void)sqlite3_wal_hook(db->handle, on_commit, db);
        error = prepare_own(db);
    }
    if (error == OK) {
        error = number_of(db, "PRAGMA data_version", &db->data_version);
    }
    if (error != OK) {
        if (problem[0] == '\0') {
            (void)snprintf(problem, problem_size, "%s cannot be opened: %s (%s)", settings->path,
                           err_text(error), db->handle != NULL ? sqlite3_errmsg(db->handle) : "");
        }
        db_close(db);
    }
    return error;
}

enum err db_files_remove(const char *path)
{
    /* The -wal first: a database without it is older than it should be, but nobody's any more. */
    static const char *const suffixes[] = {"-wal", "-shm", "-journal", ""};
    size_t size = strlen(path) + sizeof("-journal");
    char *file = mem_alloc(size);
    enum err error = OK;
    for (size_t i = 0; error == OK && i < ARRAY_COUNT(suffixes); i++) {
        (void)snprintf(file, size, "%s%s", path, suffixes[i]);
        error = vfs_file_remove(file);
    }
    mem_free(file);
    return error;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < db->statement_count; i++) {
        (void)sqlite3_finalize(db->statements[i]);
    }
    if (db->handle != NULL) {
        if (db->failed) {
            (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        }
        int rc = sqlite3_close(db->handle);
        ASSERT(rc != SQLITE_BUSY); /* a statement was not finalized */
    }
    mem_free(db->path);
    memset(db, 0, sizeof(*db));
}

/* ---- transactions ------------------------------------------------------------------------------ */

enum err db_begin(struct db *db)
{
    ASSERT(!db->in_transaction);
    if (db->failed) {
        return ERR_IO;
    }
    enum err error = db_run(db, db->begin);
    if (error != OK) {
        return error;
    }
    db->in_transaction = true;

    bool row = false;
    error = db_step(db, db->version, &row);
    int64_t version = error == OK && row ? sqlite3_column_int64(db->version, 0) : 0;
    db_done(db->version);
    if (error == OK && version != db->data_version) {
        log_event(LOG_ERROR, "foreign write",
                  "file=%s next=\"find out who wrote to the file or emptied its -wal; nothing but "
                  "holdfast may\"",
                  db->settings.name);
        error = ERR_FOREIGN_WRITE;
        db->failed = true;
    }
    if (error != OK) {
        db_rollback(db);
    }
    return error;
}

enum err db_commit(struct db *db)
{
    ASSERT(db->in_transaction);
    if (db->failed) {
        db_rollback(db);
        return ERR_IO;
    }
    uint64_t start_us = actor_stopwatch_us();
    enum err error = db_run(db, db->commit);
    if (error != OK) {
        /* Busy cannot be: the write lock is held. Whatever else it is, it is final. */
        db->failed = db->failed || error != ERR_DISK_FULL;
        db_rollback(db);
        return error;
    }
    db->in_transaction = false;
    db->full_said = false;
    db_count_commit(db, actor_stopwatch_us() - start_us);
    return OK;
}

enum err db_set_sync(struct db *db, bool synced)
{
    ASSERT(!db->in_transaction);
    if (db->failed) {
        return ERR_IO;
    }
    if (db->unsynced == !synced) {
        return OK;
    }
    enum err error =
        db_execute(db, synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    if (error == OK) {
        db->unsynced = !synced;
    }
    return error;
}

void db_rollback(struct db *db)
{
    if (!db->in_transaction) {
        return;
    }
    (void)sqlite3_step(db->rollback);
    (void)sqlite3_reset(db->rollback);
    db->in_transaction = false;
}

enum err db_check_structure(struct db *db)
{
    enum err error = OK;
    sqlite3_stmt *check = NULL;
    int rc = sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &check, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(check);
        if (rc == SQLITE_ROW) {
            const char *text = (const char *)sqlite3_column_text(check, 0);
            if (text == NULL || strcmp(text, "ok") != 0) {
                log_event(LOG_ERROR, "database structure broken", "file=%s found=\"%s\"",
                          db->settings.name, text != NULL ? text : "");
                error = ERR_CORRUPT;
            }
            rc = SQLITE_OK;
        }
    }
    if (error == OK) {
        error = db_error(db, rc, "quick_check");
    }
    (void)sqlite3_finalize(check);
    return error;
}
