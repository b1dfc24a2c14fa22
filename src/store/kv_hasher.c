/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_hasher.c: one number for all that may be read of a KV table, at a revision, from the file: what
 * HashKV compares between members. Reads in slices on a connection and in a read transaction of its own,
 * so nobody waits and what is hashed stands still.
 *
 * The number is the sum of a checksum of each row of history that counts, so the order of reading is free and a
 * row can be taken back. With C the compact revision, counting are: every row after C; and at or before C
 * the newest of each key, unless it is a tombstone from before C (one exactly at C may still be read by a
 * watch). Which of the rows that nobody may read the flusher has removed already is its own affair, and
 * differs between members: rows at or before C are therefore added when met, and the row each of them
 * supersedes, if still there, is taken back. Up to meta.compact_progress there is nothing to take back.
 *
 * Invariants
 *  1. A row is taken back at most once, because it is superseded by one row, and only after it was added,
 *     because it is older.
 *  2. Nothing that is a node's own goes in: no index, no pointers between rows, no progress.
 */
#include "db.h"

#include "kv_schema.h"

#include <stdio.h>

#define KV_HASHER_CACHE_KIB 1024

struct kv_hasher {
    struct db db;
    sqlite3_stmt *begin, *end, *meta, *rows, *row;
    bool held;
    bool scanning;
    uint64_t compact_change; /* the last change of the compact revision */
    uint64_t progress;       /* rows up to here supersede nothing that is left */
    int64_t compact_revision;
    int64_t revision;
    uint64_t sum, count;
    struct buffer scratch;
};

enum err kv_hasher_open(const char *data_dir, uint32_t group, uint64_t generation,
                        struct kv_hasher **out, char *problem, size_t problem_size)
{
    struct kv_hasher *h = mem_zalloc(sizeof(*h));
    char *path = NULL;
    problem[0] = '\0';
    enum err error = kv_path(data_dir, group, generation, &path);
    if (error != OK) {
        goto out;
    }
    error = kv_connect(&h->db, path, "kv.db", KV_HASHER_CACHE_KIB, problem, problem_size);
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } list[] = {
        {&h->begin, "BEGIN"},
        {&h->end, "COMMIT"},
        {&h->meta, "SELECT revision, compact_revision, compact_progress FROM meta"},
        {&h->rows, "SELECT change, deleted, previous_change, create_revision, version, lease, key, "
                   "value FROM history WHERE change <= ?1 ORDER BY change"},
        {&h->row, "SELECT change, deleted, previous_change, create_revision, version, lease, key, "
                  "value FROM history WHERE change = ?1"},
    };
    for (size_t i = 0; error == OK && i < ARRAY_COUNT(list); i++) {
        error = db_prepare(&h->db, list[i].sql, list[i].statement);
    }
out:
    if (error != OK) {
        if (problem[0] == '\0') {
            (void)snprintf(problem, problem_size, "%s/group-%" PRIu32 "/kv.db cannot be read: %s",
                           data_dir, group, err_text(error));
        }
        kv_hasher_close(&h);
    } else {
        *out = h;
    }
    mem_free(path);
    return error;
}

static void release(struct kv_hasher *h)
{
    if (h->scanning) {
        db_done(h->rows);
        h->scanning = false;
    }
    if (h->held) {
        bool row = false;
        enum err ignored = db_step(&h->db, h->end, &row); /* nothing was written */
        UNUSED(ignored);
        db_done(h->end);
        h->held = false;
    }
}

void kv_hasher_close(struct kv_hasher **h)
{
    struct kv_hasher *freed = *h;
    *h = NULL;
    if (freed == NULL) {
        return;
    }
    release(freed);
    db_close(&freed->db);
    buffer_free(&freed->scratch);
    mem_free(freed);
}

static enum err read_meta(struct kv_hasher *h, int64_t *newest)
{
    bool row = false;
    enum err error = db_step(&h->db, h->meta, &row);
    if (error == OK && !row) {
        error = ERR_CORRUPT;
    }
    if (error == OK) {
        *newest = sqlite3_column_int64(h->meta, 0);
        h->compact_revision = sqlite3_column_int64(h->meta, 1);
        h->progress = db_column_u64(h->meta, 2);
    }
    db_done(h->meta);
    return error;
}

enum err kv_hasher_begin(struct kv_hasher *h, int64_t revision)
{
    int64_t newest = 0;
    bool row = false;
    release(h);
    enum err error = db_step(&h->db, h->begin, &row);
    db_done(h->begin);
    h->held = error == OK;
    if (error == OK) {
        error = read_meta(h, &newest);
    }
    if (error == OK && revision > newest) {
        error = ERR_FUTURE_REVISION;
    }
    h->revision = revision > 0 ? revision : newest;
    if (error == OK && h->revision < h->compact_revision) {
        error = ERR_COMPACTED;
    }
    if (error != OK) {
        release(h);
        return error;
    }
    h->compact_change = change_id(h->compact_revision, (uint32_t)CHANGE_SUB_MAX);
    h->sum = 0;
    h->count = 0;
    db_bind_u64(h->rows, 1, change_id(h->revision, (uint32_t)CHANGE_SUB_MAX));
    h->scanning = true;
    return OK;
}

static uint64_t row_checksum(struct kv_hasher *h, sqlite3_stmt *s)
{
    h->scratch.size = 0;
    buffer_u64(&h->scratch, db_column_u64(s, 0));
    buffer_u8(&h->scratch, sqlite3_column_int(s, 1) != 0);
    buffer_u64(&h->scratch, db_column_u64(s, 3));
    buffer_u64(&h->scratch, db_column_u64(s, 4));
    buffer_u64(&h->scratch, db_column_u64(s, 5));
    buffer_view(&h->scratch, db_column_view(s, 6));
    buffer_view(&h->scratch, db_column_view(s, 7));
    return checksum64(view_of(h->scratch.data, h->scratch.size));
}

/* A row that is the newest of its key at the compact revision, as far as is known. */
static bool counts(const struct kv_hasher *h, sqlite3_stmt *s)
{
    uint64_t change = db_column_u64(s, 0);
    bool deleted = sqlite3_column_int(s, 1) != 0;
    return change > h->compact_change || !deleted || change_revision(change) == h->compact_revision;
}

static enum err take_back(struct kv_hasher *h, uint64_t change)
{
    bool row = false;
    db_bind_u64(h->row, 1, change);
    enum err error = db_step(&h->db, h->row, &row);
    if (error == OK && row && counts(h, h->row)) {
        h->sum -= row_checksum(h, h->row);
        h->count--;
    }
    db_done(h->row);
    return error;
}

static enum err take_row(struct kv_hasher *h)
{
    uint64_t change = db_column_u64(h->rows, 0);
    uint64_t previous = db_column_u64(h->rows, 2);
    if (counts(h, h->rows)) {
        h->sum += row_checksum(h, h->rows);
        h->count++;
    }
    if (change <= h->compact_change && change > h->progress && previous != 0) {
        return take_back(h, previous);
    }
    return OK;
}

enum err kv_hasher_step(struct kv_hasher *h, uint64_t rows_max, bool *done)
{
    enum err error = OK;
    bool row = true;
    ASSERT(h->scanning);
    for (uint64_t i = 0; error == OK && row && i < rows_max; i++) {
        error = db_step(&h->db, h->rows, &row);
        if (error == OK && row) {
            error = take_row(h);
        }
    }
    if (error != OK) {
        release(h);
        return error;
    }
    *done = !row;
    if (!row) {
        release(h);
    }
    return OK;
}

void kv_hasher_result(const struct kv_hasher *h, struct kv_hash *out)
{
    struct buffer all = {0};
    buffer_u64(&all, h->sum);
    buffer_u64(&all, h->count);
    buffer_u64(&all, (uint64_t)h->revision);
    buffer_u64(&all, (uint64_t)h->compact_revision);
    *out = (struct kv_hash){
        .hash = checksum32(view_of(all.data, all.size)),
        .revision = h->revision,
        .compact_revision = h->compact_revision,
    };
    buffer_free(&all);
}

void kv_hasher_abandon(struct kv_hasher *h)
{
    release(h);
}
