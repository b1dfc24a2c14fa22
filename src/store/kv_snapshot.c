/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_snapshot.c: a copy of a KV table as of one commit, made page by page while the table is written on.
 *
 * SQLite's backup interface copies from a connection that holds a read transaction, so that commits of the
 * writer neither change what is copied nor make it begin again (design §4). The copy is written without
 * a journal: it is nobody's until it is complete and synced; a crash leaves a file that the next start
 * removes. At the end it is taken out of WAL mode, so that it is one file that any sqlite3 opens, also where
 * it may not write.
 *
 * It is synced as it grows, a little at a time: on a journaling file system the sync of any other file, the log's too, may have
 * to wait for what was written here. With all of it synced at the end a put took 370 ms (p99), so 80.
 *
 * Names are slots, not indexes: what a crash left is found without listing a folder (an SQLite VFS cannot).
 */
#include "db.h"

#include "host_files.h"
#include "kv_schema.h"
#include "vfs_file.h"

#include <stdio.h>
#include <string.h>

#define KV_SNAPSHOT_CACHE_KIB  1024
#define KV_SNAPSHOT_NAME_MAX   64
#define KV_SNAPSHOT_ROOM_BYTES (UINT64_C(16) << 20) /* to stay free beside the copy */

struct kv_snapshot {
    struct db source;
    sqlite3 *copy;
    sqlite3_backup *backup;
    char *path;
    char *folder;
    struct kv_snapshot_facts facts;
    uint32_t unsynced_pages;
    struct vfs_file *file; /* once complete */
};

static enum err slot_path(const char *data_dir, uint32_t group, uint32_t slot, char **out)
{
    char name[KV_SNAPSHOT_NAME_MAX];
    (void)snprintf(name, sizeof(name), "group-%" PRIu32 "/snapshot-%" PRIu32 ".db", group, slot);
    return vfs_path(data_dir, name, out);
}

enum err kv_snapshot_remove(const char *data_dir, uint32_t group, uint32_t slot)
{
    char *path = NULL;
    enum err error = slot_path(data_dir, group, slot, &path);
    if (error == OK) {
        error = db_files_remove(path);
    }
    mem_free(path);
    return error;
}

static enum err copy_error(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
        return OK;
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY_FILE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    default:
        return ERR_IO;
    }
}

static enum err read_facts(struct kv_snapshot *s)
{
    sqlite3_stmt *meta = NULL;
    bool row = false;
    enum err error = db_execute(&s->source, "BEGIN");
    if (error == OK) {
        error = db_prepare(&s->source,
                           "SELECT applied_index, applied_term, revision, compact_revision, "
                           "(SELECT page_count FROM pragma_page_count()) FROM meta",
                           &meta);
    }
    if (error == OK) {
        error = db_step(&s->source, meta, &row);
    }
    if (error == OK && !row) {
        error = ERR_CORRUPT;
    }
    if (error == OK) {
        s->facts.applied_index = db_column_u64(meta, 0);
        s->facts.applied_term = db_column_u64(meta, 1);
        s->facts.revision = sqlite3_column_int64(meta, 2);
        s->facts.compact_revision = sqlite3_column_int64(meta, 3);
        s->facts.bytes = db_column_u64(meta, 4) * DB_PAGE_BYTES;
    }
    if (meta != NULL) {
        db_done(meta);
    }
    return error;
}

/* Room for the whole copy, before a page of it is written. */
static enum err check_room(const struct kv_snapshot *s)
{
    uint64_t free_bytes = 0;
    enum err error = host_free_bytes(s->folder, &free_bytes);
    if (error == OK && free_bytes < s->facts.bytes + KV_SNAPSHOT_ROOM_BYTES) {
        error = ERR_DISK_FULL;
    }
    return error;
}

static enum err copy_open(struct kv_snapshot *s)
{
    int rc = sqlite3_open_v2(
        s->path, &s->copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        /* complete and synced, or thrown away: nothing in between is of use */
        rc = sqlite3_exec(s->copy, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL,
                          NULL);
    }
    if (rc != SQLITE_OK) {
        return copy_error(rc);
    }
    s->backup = sqlite3_backup_init(s->copy, "main", s->source.handle, "main");
    return s->backup != NULL ? OK : copy_error(sqlite3_errcode(s->copy));
}

enum err kv_snapshot_begin(const char *data_dir, uint32_t group, uint64_t generation, uint32_t slot,
                           struct kv_snapshot **out, char *problem, size_t problem_size)
{
    struct kv_snapshot *s = mem_zalloc(sizeof(*s));
    char *path = NULL;
    problem[0] = '\0';
    enum err error = kv_path(data_dir, group, generation, &path);
    if (error == OK) {
        error = slot_path(data_dir, group, slot, &s->path);
    }
    if (error == OK) {
        s->folder = mem_strdup(data_dir);
        error = kv_snapshot_remove(data_dir, group, slot);
    }
    if (error == OK) {
        error = kv_connect(&s->source, path, "kv.db", KV_SNAPSHOT_CACHE_KIB, problem, problem_size);
    }
    if (error == OK) {
        error = read_facts(s);
    }
    if (error == OK) {
        error = check_room(s);
    }
    if (error == OK) {
        error = copy_open(s);
    }
    if (error != OK) {
        if (problem[0] == '\0') {
            (void)snprintf(problem, problem_size,
                           "kv.db cannot be copied to snapshot-%" PRIu32 ".db: %s", slot,
                           err_text(error));
        }
        kv_snapshot_close(&s);
    } else {
        *out = s;
    }
    mem_free(path);
    return error;
}

static void sources_close(struct kv_snapshot *s)
{
    if (s->backup != NULL) {
        (void)sqlite3_backup_finish(s->backup);
        s->backup = NULL;
    }
    if (s->copy != NULL) {
        (void)sqlite3_close(s->copy);
        s->copy = NULL;
    }
    db_close(&s->source);
}

/* The copy's header still says WAL, as the original's does. */
static enum err leave_wal(const char *path)
{
    sqlite3 *copy = NULL;
    int rc = sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(copy, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
    }
    int closed = sqlite3_close(copy);
    return copy_error(rc != SQLITE_OK ? rc : closed);
}

static enum err complete(struct kv_snapshot *s)
{
    int rc = sqlite3_backup_finish(s->backup);
    s->backup = NULL;
    enum err error = copy_error(rc);
    sources_close(s);
    if (error == OK) {
        error = leave_wal(s->path);
    }
    if (error == OK) {
        error = vfs_file_open_write(s->path, &s->file);
    }
    if (error == OK) {
        error = vfs_file_sync(s->file);
    }
    if (error == OK) {
        error = vfs_file_size(s->file, &s->facts.bytes);
    }
    return error;
}

static enum err sync_some(struct kv_snapshot *s, uint32_t pages)
{
    sqlite3_file *file = NULL;
    s->unsynced_pages += pages;
    if (s->unsynced_pages < KV_COPY_SYNC_BYTES / DB_PAGE_BYTES) {
        return OK;
    }
    s->unsynced_pages = 0;
    int rc = sqlite3_file_control(s->copy, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (rc == SQLITE_OK && file->pMethods != NULL) {
        rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
    }
    return copy_error(rc);
}

enum err kv_snapshot_step(struct kv_snapshot *s, uint32_t pages, bool *done)
{
    ASSERT(s->backup != NULL);
    int rc = sqlite3_backup_step(s->backup, (int)pages);
    if (rc == SQLITE_OK) {
        *done = false;
        return sync_some(s, pages);
    }
    enum err error = rc == SQLITE_DONE ? complete(s) : copy_error(rc);
    if (error == OK) {
        *done = true;
    }
    return error;
}

void kv_snapshot_facts(const struct kv_snapshot *s, struct kv_snapshot_facts *out)
{
    *out = s->facts;
}

enum err kv_snapshot_read(struct kv_snapshot *s, uint64_t offset, void *out, size_t size)
{
    ASSERT(s->file != NULL);
    ASSERT(offset + size <= s->facts.bytes);
    return vfs_file_read(s->file, offset, out, size);
}

void kv_snapshot_close(struct kv_snapshot **s)
{
    struct kv_snapshot *freed = *s;
    *s = NULL;
    if (freed == NULL) {
        return;
    }
    sources_close(freed);
    vfs_file_close(&freed->file);
    mem_free(freed->path);
    mem_free(freed->folder);
    mem_free(freed);
}
