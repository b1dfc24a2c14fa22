/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.c: the write-ahead log's account of a connection: when to copy it into the database file,
 * who keeps it from being started anew, and whether it is still the file its name stands for.
 *
 * A WAL restarts only if all of it was copied when a write transaction begins and nobody reads from
 * it; a checkpoint on another connection never brings that about under back-to-back commits (trap
 * 25). So the writer itself copies, PASSIVE, between COMMIT and BEGIN, once the WAL has reached its
 * limit, or at leisure when idle. What one checkpoint has to copy is bounded by that limit.
 *
 * A reader that stays (a person's open transaction) makes the WAL grow: that is said once, with the
 * reader's process when it can be found, and once more when it is over (trap 24).
 */
#include "db.h"

#include "actor.h"
#include "host_files.h"

#include <stdio.h>
#include <string.h>

static uint64_t wal_bytes(const struct db *db)
{
    return db->wal_frames == 0 ? 0 : DB_WAL_HEADER_BYTES + db->wal_frames * DB_WAL_FRAME_BYTES;
}

/* path + suffix; free with mem_free. */
static char *path_with(const char *path, const char *suffix)
{
    size_t size = strlen(path) + strlen(suffix) + 1;
    char *joined = mem_alloc(size);
    (void)snprintf(joined, size, "%s%s", path, suffix);
    return joined;
}

static void count_blocked(struct db *db)
{
    if (db->figures.checkpoint_blocked_count++ == 0) {
        db->pinned_since_us = actor_stopwatch_us();
    }
    if (db->pin_reported || wal_bytes(db) < db->settings.warn_bytes) {
        return;
    }
    struct host_reader reader;
    char *shm_path = path_with(db->path, "-shm");
    host_find_reader(shm_path, &reader);
    mem_free(shm_path);
    char who[96];
    if (reader.pid == 0) {
        (void)snprintf(who, sizeof(who), "unknown");
    } else {
        (void)snprintf(who, sizeof(who), "%s (%s)", reader.name,
                       reader.self ? "this process" : "another process");
    }
    log_event(LOG_WARNING, "write-ahead log pinned",
              "file=%s bytes=%" PRIu64 " for_ms=%" PRIu64 " reader=\"%s\" pid=%" PRId64
              " next=\"the reader's open transaction keeps the file growing until it ends\"",
              db->settings.name, wal_bytes(db), (actor_stopwatch_us() - db->pinned_since_us) / 1000,
              who, reader.pid);
    db->pin_reported = true;
}

static void count_free(struct db *db)
{
    if (db->pin_reported) {
        log_event(LOG_NOTICE, "write-ahead log free again", "file=%s pinned_ms=%" PRIu64,
                  db->settings.name, (actor_stopwatch_us() - db->pinned_since_us) / 1000);
        db->pin_reported = false;
    }
    db->figures.checkpoint_blocked_count = 0;
}

/* Pages this connection has written to the WAL since the count was last set to 0. */
static uint64_t pages_written(struct db *db, bool reset)
{
    int now = 0;
    int most = 0;
    (void)sqlite3_db_status(db->handle, SQLITE_DBSTATUS_CACHE_WRITE, &now, &most, reset ? 1 : 0);
    return (uint64_t)now;
}

void db_count_commit(struct db *db, uint64_t took_us)
{
    db->figures.commits++;
    db->figures.last_commit_us = took_us;
    if (took_us > db->figures.longest_commit_us) {
        db->figures.longest_commit_us = took_us;
    }
    if (db->wal_copied) {
        /* All had been copied, so this commit should have started the WAL anew: then the WAL holds no
         * more frames than pages were written since. */
        if (db->wal_frames > pages_written(db, false)) {
            count_blocked(db);
        } else {
            count_free(db);
        }
        db->wal_copied = false;
    }
}

/* Nothing worth a transaction is wrong with free pages, so only many of them are given back. */
static enum err give_back_pages(struct db *db)
{
    bool row = false;
    enum err error = db_step(db, db->free_count, &row);
    int64_t free_pages = error == OK && row ? sqlite3_column_int64(db->free_count, 0) : 0;
    db_done(db->free_count);
    if (error != OK || free_pages < DB_VACUUM_FREE_MIN) {
        return error;
    }
    error = db_step(db, db->page_count, &row);
    int64_t pages = error == OK && row ? sqlite3_column_int64(db->page_count, 0) : 0;
    db_done(db->page_count);
    if (error != OK || free_pages < pages / 2) {
        return error;
    }
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", DB_VACUUM_PAGES_MAX);
    error = db_begin(db);
    if (error == ERR_BUSY_FILE) {
        return OK;
    }
    if (error == OK) {
        error = db_execute(db, sql);
        if (error == OK) {
            error = db_commit(db);
        } else {
            db_rollback(db);
        }
    }
    return error;
}

static enum err checkpoint(struct db *db, int mode)
{
    int frames = 0;
    int copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, mode, &frames, &copied);
    if ((rc & 0xff) == SQLITE_BUSY) {
        /* Somebody else copies or writes right now. */
        count_blocked(db);
        return OK;
    }
    if (rc != SQLITE_OK) {
        return db_error(db, rc, "checkpoint");
    }
    db->figures.checkpoints++;
    db->wal_frames_before = db->wal_frames;
    if (frames != copied) {
        count_blocked(db);
        return OK;
    }
    db->wal_copied = true;
    (void)pages_written(db, true);
    return OK;
}

enum err db_maintain(struct db *db, bool idle)
{
    ASSERT(!db->in_transaction);
    if (db->failed) {
        return ERR_IO;
    }
    if (!db->wal_copied) {
        uint64_t bytes = wal_bytes(db);
        bool wanted = bytes > (idle ? db->settings.idle_bytes : db->settings.limit_bytes);
        bool blocked = db->figures.checkpoint_blocked_count > 0;
        if (wanted && blocked && !idle &&
            db->wal_frames < db->wal_frames_before + DB_WAL_RETRY_FRAMES) {
            wanted = false;
        }
        if (wanted) {
            return checkpoint(db, SQLITE_CHECKPOINT_PASSIVE);
        }
    }
    return idle ? give_back_pages(db) : OK;
}

enum err db_checkpoint_all(struct db *db)
{
    ASSERT(!db->in_transaction);
    int rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if ((rc & 0xff) == SQLITE_BUSY) {
        return OK;
    }
    if (rc != SQLITE_OK) {
        return db_error(db, rc, "checkpoint");
    }
    db->figures.checkpoints++;
    db->wal_frames = 0;
    db->wal_frames_before = 0;
    return OK;
}

/* ---- is it still our file? --------------------------------------------------------------------- */

enum err db_remember_names(struct db *db)
{
    char *wal_path = path_with(db->path, "-wal");
    enum err error = host_inode(wal_path, &db->wal_inode);
    if (error == OK) {
        error = host_inode(db->path, &db->file_inode);
    }
    mem_free(wal_path);
    return error == ERR_NOT_FOUND ? ERR_CORRUPT : error;
}

enum err db_check_names(struct db *db)
{
    uint64_t wal_inode = 0;
    uint64_t file_inode = 0;
    char *wal_path = path_with(db->path, "-wal");
    enum err error = host_inode(wal_path, &wal_inode);
    if (error == OK) {
        error = host_inode(db->path, &file_inode);
    }
    mem_free(wal_path);
    bool lost = error == ERR_NOT_FOUND ||
                (error == OK && (wal_inode != db->wal_inode || file_inode != db->file_inode));
    if (!lost) {
        return error;
    }
    log_event(LOG_ERROR, "database file replaced or deleted while in use",
              "file=%s next=\"commits would go to a file without a name; stop whatever moves, "
              "deletes or copies over files in the data directory\"",
              db->settings.name);
    db->failed = true;
    return ERR_CORRUPT;
}

void db_figures(struct db *db, struct db_figures *out)
{
    bool row = false;
    uint64_t pages = 0;
    uint64_t free_pages = 0;
    if (!db->failed) {
        if (db_step(db, db->page_count, &row) == OK && row) {
            pages = db_column_u64(db->page_count, 0);
        }
        db_done(db->page_count);
        if (db_step(db, db->free_count, &row) == OK && row) {
            free_pages = db_column_u64(db->free_count, 0);
        }
        db_done(db->free_count);
    }
    *out = db->figures;
    out->file_bytes = pages * DB_PAGE_BYTES;
    out->used_bytes = (pages - free_pages) * DB_PAGE_BYTES;
    out->wal_bytes = wal_bytes(db);
    if (db->figures.checkpoint_blocked_count > 0) {
        out->pinned_us = actor_stopwatch_us() - db->pinned_since_us;
    }
}
