/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_reader.c: the apply actor's own read-only connection to a group's KV table. It sees what the
 * writer has committed, no sooner.
 *
 * Reads come in bursts: the first one begins a read transaction, the following ones share its snapshot,
 * and kv_reader_release ends it. Beginning and ending one costs as much as a point read itself
 * (locks, a look at the WAL's index), so a burst halves the cost of each. An idle reader must not keep
 * the WAL from being started anew (trap 25): the owner releases when it has nothing more to read now.
 */
#include "db.h"

#include "kv_schema.h"

#include <stdio.h>
#include <string.h>

#define KV_READER_CACHE_KIB 4096

struct kv_reader {
    struct db db;
    sqlite3_stmt *current, *history, *scan, *changes, *compacted, *begin, *end;
    sqlite3_stmt *leases, *lease_keys; /* NULL until asked for */
    bool scanning;
    bool scanning_changes;
    bool held;                              /* a read transaction is open */
    struct buffer current_row, history_row; /* copies of the octets last handed out */
};

enum err kv_reader_open(const char *data_dir, uint32_t group, uint64_t generation,
                        struct kv_reader **out, char *problem, size_t problem_size)
{
    struct kv_reader *r = mem_zalloc(sizeof(*r));
    char *path = NULL;
    problem[0] = '\0';
    enum err error = kv_path(data_dir, group, generation, &path);
    if (error != OK) {
        goto out;
    }
    error = kv_connect(&r->db, path, "kv.db", KV_READER_CACHE_KIB, problem, problem_size);
    if (error == OK) {
        error = db_prepare(&r->db,
                           "SELECT change, create_revision, version, lease, depth, deleted "
                           "FROM current WHERE key = ?1",
                           &r->current);
    }
    if (error == OK) {
        error = db_prepare(&r->db,
                           "SELECT key, create_revision, version, lease, deleted, previous_change, "
                           "jump_change, value FROM history WHERE change = ?1",
                           &r->history);
    }
    if (error == OK) {
        error = db_prepare(&r->db,
                           "SELECT change, create_revision, version, lease, depth, deleted, key "
                           "FROM current WHERE key >= ?1 ORDER BY key",
                           &r->scan);
    }
    if (error == OK) {
        error = db_prepare(&r->db,
                           "SELECT key, create_revision, version, lease, deleted, previous_change, "
                           "jump_change, value, change FROM history WHERE change >= ?1 "
                           "ORDER BY change",
                           &r->changes);
    }
    if (error == OK) {
        error = db_prepare(&r->db, "SELECT compact_revision FROM meta", &r->compacted);
    }
    if (error == OK) {
        error = db_prepare(&r->db, "BEGIN", &r->begin);
    }
    if (error == OK) {
        error = db_prepare(&r->db, "COMMIT", &r->end);
    }
out:
    if (error != OK) {
        if (problem[0] == '\0') {
            (void)snprintf(problem, problem_size, "%s/group-%" PRIu32 "/kv.db cannot be read: %s",
                           data_dir, group, err_text(error));
        }
        kv_reader_close(&r);
    } else {
        *out = r;
    }
    mem_free(path);
    return error;
}

void kv_reader_close(struct kv_reader **r)
{
    struct kv_reader *reader = *r;
    *r = NULL;
    if (reader == NULL) {
        return;
    }
    db_close(&reader->db);
    buffer_free(&reader->current_row);
    buffer_free(&reader->history_row);
    mem_free(reader);
}

/* Before every read: join the burst, or begin one. */
static enum err hold(struct kv_reader *r)
{
    if (r->db.failed) {
        return ERR_IO;
    }
    if (r->held) {
        return OK;
    }
    bool row = false;
    enum err error = db_step(&r->db, r->begin, &row);
    db_done(r->begin);
    r->held = error == OK;
    return error;
}

void kv_reader_release(struct kv_reader *r)
{
    ASSERT(!r->scanning);
    ASSERT(!r->scanning_changes);
    if (!r->held) {
        return;
    }
    r->held = false;
    bool row = false;
    /* Nothing was written, so there is nothing to fail; the next read would meet what is wrong. */
    enum err ignored = db_step(&r->db, r->end, &row);
    UNUSED(ignored);
    db_done(r->end);
}

/* The columns current and scan share. */
static void take_current(sqlite3_stmt *s, struct kv_current *out)
{
    out->change = db_column_u64(s, 0);
    out->create_revision = sqlite3_column_int64(s, 1);
    out->version = sqlite3_column_int64(s, 2);
    out->lease = sqlite3_column_int64(s, 3);
    out->depth = db_column_u64(s, 4);
    out->deleted = sqlite3_column_int(s, 5) != 0;
}

/* The columns history's two statements share, but for octets and change. */
static void take_history(sqlite3_stmt *s, struct kv_history *out)
{
    out->create_revision = sqlite3_column_int64(s, 1);
    out->version = sqlite3_column_int64(s, 2);
    out->lease = sqlite3_column_int64(s, 3);
    out->deleted = sqlite3_column_int(s, 4) != 0;
    out->previous_change = db_column_u64(s, 5);
    out->jump_change = db_column_u64(s, 6);
}

enum err kv_reader_current(struct kv_reader *r, struct view key, struct kv_current *out)
{
    ASSERT(!r->scanning);
    enum err error = hold(r);
    if (error != OK) {
        return error;
    }
    bool row = false;
    db_bind_blob(r->current, 1, key);
    error = db_step(&r->db, r->current, &row);
    if (error == OK && !row) {
        error = ERR_NOT_FOUND;
    }
    if (error == OK) {
        r->current_row.size = 0;
        buffer_append(&r->current_row, key.data, key.size);
        take_current(r->current, out);
        out->key = view_of(r->current_row.data, key.size);
    }
    db_done(r->current);
    return error;
}

enum err kv_reader_history(struct kv_reader *r, uint64_t change, struct kv_history *out)
{
    enum err error = hold(r);
    if (error != OK) {
        return error;
    }
    bool row = false;
    sqlite3_stmt *s = r->history;
    db_bind_u64(s, 1, change);
    error = db_step(&r->db, s, &row);
    if (error == OK && !row) {
        error = ERR_NOT_FOUND;
    }
    if (error == OK) {
        struct view key = db_column_view(s, 0);
        struct view value = db_column_view(s, 7);
        r->history_row.size = 0;
        buffer_append(&r->history_row, key.data, key.size);
        buffer_append(&r->history_row, value.data, value.size);
        out->change = change;
        out->key = view_of(r->history_row.data, key.size);
        out->value = view_of(r->history_row.data + key.size, value.size);
        take_history(s, out);
    }
    db_done(s);
    return error;
}

enum err kv_reader_scan_start(struct kv_reader *r, struct view start)
{
    ASSERT(!r->scanning);
    enum err error = hold(r);
    if (error != OK) {
        return error;
    }
    /* Copied: the statement is stepped long after this call. */
    r->current_row.size = 0;
    buffer_append(&r->current_row, start.data, start.size);
    db_bind_blob(r->scan, 1, view_of(r->current_row.data, start.size));
    r->scanning = true;
    return OK;
}

enum err kv_reader_scan_next(struct kv_reader *r, struct kv_current *out)
{
    ASSERT(r->scanning);
    bool row = false;
    enum err error = db_step(&r->db, r->scan, &row);
    if (error != OK) {
        return error;
    }
    if (!row) {
        return ERR_NOT_FOUND;
    }
    take_current(r->scan, out);
    out->key = db_column_view(r->scan, 6);
    return OK;
}

void kv_reader_scan_end(struct kv_reader *r)
{
    db_done(r->scan);
    r->scanning = false;
}

enum err kv_reader_history_start(struct kv_reader *r, uint64_t from_change)
{
    ASSERT(!r->scanning_changes);
    enum err error = hold(r);
    if (error == OK) {
        db_bind_u64(r->changes, 1, from_change);
        r->scanning_changes = true;
    }
    return error;
}

enum err kv_reader_history_next(struct kv_reader *r, struct kv_history *out)
{
    ASSERT(r->scanning_changes);
    bool row = false;
    sqlite3_stmt *s = r->changes;
    enum err error = db_step(&r->db, s, &row);
    if (error != OK) {
        return error;
    }
    if (!row) {
        return ERR_NOT_FOUND;
    }
    out->key = db_column_view(s, 0);
    out->value = db_column_view(s, 7);
    out->change = db_column_u64(s, 8);
    take_history(s, out);
    return OK;
}

void kv_reader_history_end(struct kv_reader *r)
{
    db_done(r->changes);
    r->scanning_changes = false;
}

enum err kv_reader_compact_revision(struct kv_reader *r, int64_t *out)
{
    enum err error = hold(r);
    if (error != OK) {
        return error;
    }
    bool row = false;
    error = db_step(&r->db, r->compacted, &row);
    if (error == OK && !row) {
        error = ERR_CORRUPT;
    }
    if (error == OK) {
        *out = sqlite3_column_int64(r->compacted, 0);
    }
    db_done(r->compacted);
    return error;
}

/* ---- leases, at the start ------------------------------------------------------------------------ */

enum err kv_reader_leases(struct kv_reader *r, struct kv_lease **out, size_t *count)
{
    struct kv_lease *leases = NULL;
    size_t capacity = 0;
    size_t found = 0;
    bool row = false;
    enum err error = hold(r);
    if (error != OK) {
        return error;
    }
    if (r->leases == NULL) {
        error = db_prepare(&r->db, "SELECT lease_id, ttl_s, deadline_us, granted_us FROM leases",
                           &r->leases);
    }
    while (error == OK) {
        error = db_step(&r->db, r->leases, &row);
        if (error != OK || !row) {
            break;
        }
        ARRAY_RESERVE(leases, capacity, found + 1);
        leases[found++] = (struct kv_lease){
            .id = sqlite3_column_int64(r->leases, 0),
            .ttl_s = sqlite3_column_int64(r->leases, 1),
            .deadline_us = db_column_u64(r->leases, 2),
            .granted_us = db_column_u64(r->leases, 3),
        };
    }
    if (r->leases != NULL) {
        db_done(r->leases);
    }
    if (error != OK) {
        mem_free(leases);
        return error;
    }
    *out = leases;
    *count = found;
    return OK;
}

enum err kv_reader_lease_keys(struct kv_reader *r, struct kv_lease_key **out, size_t *count)
{
    struct kv_lease_key *keys = NULL;
    struct buffer octets = {0};
    size_t capacity = 0;
    size_t found = 0;
    bool row = false;
    enum err error = hold(r);
    if (error != OK) {
        return error;
    }
    if (r->lease_keys == NULL) { /* the condition is the partial index's */
        error =
            db_prepare(&r->db, "SELECT lease, key FROM current WHERE lease <> 0", &r->lease_keys);
    }
    while (error == OK) {
        error = db_step(&r->db, r->lease_keys, &row);
        if (error != OK || !row) {
            break;
        }
        struct view key = db_column_view(r->lease_keys, 1);
        ARRAY_RESERVE(keys, capacity, found + 1);
        keys[found++] = (struct kv_lease_key){
            .lease = sqlite3_column_int64(r->lease_keys, 0),
            .key = view_of(NULL, key.size),
        };
        buffer_append(&octets, key.data, key.size);
    }
    if (r->lease_keys != NULL) {
        db_done(r->lease_keys);
    }
    if (error == OK && found > 0) {
        keys = mem_realloc(keys, found * sizeof(*keys) + octets.size);
        uint8_t *room = (uint8_t *)(keys + found);
        if (octets.size > 0) {
            memcpy(room, octets.data, octets.size);
        }
        for (size_t i = 0; i < found; i++) {
            keys[i].key.data = room;
            room += keys[i].key.size;
        }
    }
    buffer_free(&octets);
    if (error != OK) {
        mem_free(keys);
        return error;
    }
    *out = keys;
    *count = found;
    return OK;
}

void kv_reader_sizes(struct kv_reader *r, uint64_t *file_bytes, uint64_t *used_bytes)
{
    struct db_figures figures;
    db_figures(&r->db, &figures);
    *file_bytes = figures.file_bytes;
    *used_bytes = figures.used_bytes;
}
