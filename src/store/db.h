/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db.h: one SQLite connection as both stores use it: open or create with the project's pragmas,
 * prepared statements, one kind of error, write transactions that notice a foreign writer, and the
 * checkpoint between transactions.
 *
 * Pragmas and why: WAL (readers and the writer do not wait for each other), synchronous=FULL (a
 * commit is on the disk when it returns, traps 21 and 59), wal_autocheckpoint=0 (checkpoints run
 * when the owner says so, docs/decisions/0013), locking_mode NORMAL (a person can look inside, trap
 * 24), auto_vacuum=INCREMENTAL (room is given back in slices, never with a stop), page_size 4096.
 *
 * Invariants
 *  1. A write transaction is BEGIN IMMEDIATE, so a person's write lock shows before anything is
 *     written. It and a full disk are the only errors after which the handle goes on: no room means that a
 *     write was not taken, so the transaction is rolled back and nothing of it can be found later; no sync has
 *     failed (one that fails for want of room is an error like any other; docs/decisions/0021).
 *  2. The connection that writes is the one that checkpoints, and only between its transactions (the
 *     WAL-reset race of SQLite before 3.51.3).
 *  3. After any other error `failed` is set; nothing is done with the handle but closing it, and
 *     closing does not checkpoint (a retry after a failed fsync would be one, trap 20).
 */
#ifndef HOLDFAST_STORE_DB_H
#define HOLDFAST_STORE_DB_H

#include "base.h"
#include "store.h"

#include <sqlite3.h>

#define DB_PAGE_BYTES       4096
#define DB_WAL_HEADER_BYTES 32
#define DB_WAL_FRAME_BYTES  (DB_PAGE_BYTES + 24)
#define DB_WAL_RETRY_FRAMES 256        /* frames between two tries while someone pins it */
#define DB_VACUUM_FREE_MIN  2048       /* free pages worth giving back ... */
#define DB_VACUUM_PAGES_MAX 256        /* ... this many in one slice, when idle */
#define DB_APPLICATION_RAFT 0x68666c67 /* "hflg" */
#define DB_APPLICATION_KV   0x68666b76 /* "hfkv" */
#define DB_STATEMENTS_MAX   40

struct db_settings {
    const char *path; /* in full, as vfs_path gives it */
    const char *name; /* "raft.db": for sentences to people */
    int application_id;
    int format;         /* newest PRAGMA user_version this program understands */
    const char *schema; /* creates an empty file's tables; NULL for a read-only connection */
    /* upgrades[n - 1] brings a file of format n to format n + 1; format - 1 of them, NULL if none. */
    const char *const *upgrades;
    int cache_kib;
    int busy_timeout_ms;  /* how long a person's write lock is waited for */
    uint64_t idle_bytes;  /* checkpoint when idle and the WAL is longer than this */
    uint64_t limit_bytes; /* checkpoint in any case past this */
    int keep_bytes;       /* a WAL file that grew longer is cut back when it restarts */
    uint64_t warn_bytes;  /* someone pins the WAL: said once it is this long */
};

/*
 * Invariants of the WAL's account
 *  a. wal_frames is what the WAL held after the newest commit on this connection.
 *  b. wal_copied: all of it is in the database file and nothing was committed since; the next
 *     transaction then starts the WAL anew, unless a reader holds on to it.
 */
struct db {
    sqlite3 *handle;
    struct db_settings settings; /* path and name point to what this struct owns */
    char *path;
    bool failed;
    bool full_said; /* a full disk was logged; until a commit works */
    bool
        write_failed; /* ... by a write or sync: what the page cache shows may not be on the disk */
    bool in_transaction;
    bool unsynced; /* transactions are committed without a sync (db_set_sync) */
    int64_t data_version;

    sqlite3_stmt *statements[DB_STATEMENTS_MAX]; /* all that were prepared, for closing */
    size_t statement_count;
    sqlite3_stmt *begin, *commit, *rollback, *version, *page_count, *free_count;

    uint64_t wal_frames;
    uint64_t wal_frames_before; /* at the last checkpoint */
    bool wal_copied;
    uint64_t wal_inode, file_inode;
    bool pin_reported;
    uint64_t pinned_since_us;
    struct db_figures figures;
};

/*
 * Open the file for writing, or for reading only when settings->schema is NULL; create its tables if it
 * is empty (*created). A file of an older format is brought to the newest in one transaction.
 *
 * problem  out on error: one sentence for people
 *
 * ERR_NEWER_FORMAT, ERR_CORRUPT (also: not a file of ours), ERR_IO, ERR_BUSY_FILE, ERR_DISK_FULL.
 */
MUST_USE enum err db_open(struct db *db, const struct db_settings *settings, bool *created,
                          char *problem, size_t problem_size);
/* Closes; harmless on a zeroed struct. */
void db_close(struct db *db);

/* Remove a database that nobody has open, and what lies beside it. No file is no error. ERR_IO. */
MUST_USE enum err db_files_remove(const char *path);

/* What an SQLite result code means; logs it (but busy) and marks the handle failed. */
MUST_USE enum err db_error(struct db *db, int rc, const char *what);
/* Prepare once, for the connection's life. */
MUST_USE enum err db_prepare(struct db *db, const char *sql, sqlite3_stmt **out);
MUST_USE enum err db_execute(struct db *db, const char *sql);
/* Step a statement that gives no row, and reset it. */
MUST_USE enum err db_run(struct db *db, sqlite3_stmt *statement);
/* Step; *row says whether there is one. The caller resets with db_done. */
MUST_USE enum err db_step(struct db *db, sqlite3_stmt *statement, bool *row);
void db_done(sqlite3_stmt *statement);

/* Bind without a copy: valid until the statement is reset. An empty view is an empty blob, not NULL. */
void db_bind_blob(sqlite3_stmt *statement, int at, struct view value);
void db_bind_u64(sqlite3_stmt *statement, int at, uint64_t value);
void db_bind_i64(sqlite3_stmt *statement, int at, int64_t value);
/* A copied text. */
void db_bind_text(sqlite3_stmt *statement, int at, const char *value);
static inline uint64_t db_column_u64(sqlite3_stmt *statement, int at)
{
    return (uint64_t)sqlite3_column_int64(statement, at);
}
/* Borrowed until the statement is stepped or reset. */
struct view db_column_view(sqlite3_stmt *statement, int at);

/* BEGIN IMMEDIATE. ERR_BUSY_FILE (nothing begun), ERR_FOREIGN_WRITE, ERR_IO. */
MUST_USE enum err db_begin(struct db *db);
MUST_USE enum err db_commit(struct db *db);
/* Whether the next transactions are synced as they commit. One that is not is durable with the next one that
 * is; a crash before may lose it, whole. Only between transactions. Opened files are. */
MUST_USE enum err db_set_sync(struct db *db, bool synced);
/* For a transaction that meets an error; the handle is already marked failed. */
void db_rollback(struct db *db);

/* Between transactions: at most one PASSIVE checkpoint (checkpoint.c). */
MUST_USE enum err db_maintain(struct db *db, bool idle);
/* Copy everything and empty the WAL, unless someone reads: then as far as possible. */
MUST_USE enum err db_checkpoint_all(struct db *db);
/* Does the name of the WAL still stand for the file we write to? ERR_CORRUPT if not (trap 57). */
MUST_USE enum err db_check_names(struct db *db);
/* Take the names as they are now for the right ones. */
MUST_USE enum err db_remember_names(struct db *db);
/* Called by db_commit: how many frames the WAL holds now. */
void db_count_commit(struct db *db, uint64_t took_us);
/* The whole structure of the file; ERR_CORRUPT. For a file that is known to be damaged. */
MUST_USE enum err db_check_structure(struct db *db);
void db_figures(struct db *db, struct db_figures *out);

#endif
