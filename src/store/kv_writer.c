/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_writer.c: the one connection that writes and checkpoints a group's KV table. A batch is one
 * transaction: history in the order of changes, newest states in key order, members, applied_index.
 *
 * synchronous=FULL, so that a committed batch is a durable batch and its applied_index may be reported
 * for trimming the log (traps 18, 59).
 */
#include "db.h"

#include "host_files.h"
#include "kv_batch.h"
#include "kv_compact.h"
#include "kv_meta.h"
#include "kv_schema.h"
#include "vfs_file.h"

#include <stdio.h>
#include <string.h>

#define KV_WRITER_CACHE_KIB 8192
#define KV_BUSY_TIMEOUT_MS  50
#ifndef HOLDFAST_SMALL_BOUNDS
#define KV_WAL_HARD_BYTES (16 << 20) /* checkpoint past this; when idle in any case */
#else                                /* the simulator: checkpoints come within seconds */
#define KV_WAL_HARD_BYTES (256 << 10)
#endif
#define KV_WAL_KEEP_BYTES (128 << 20) /* one batch of 20,000 changes in 1 M keys is 111 MiB */
#define KV_WAL_WARN_BYTES (256 << 20)
#define KV_NAME_MAX       48

struct kv_writer {
    struct db db;
    struct kv_compact compact;
    sqlite3_stmt *history_insert, *current_write, *members_clear, *member_insert;
    sqlite3_stmt *removed_clear, *removed_insert;
    sqlite3_stmt *wish_write, *declared_clear, *declared_insert;
    sqlite3_stmt *cluster_write, *meta_write, *lease_write, *lease_delete;
};

/* group-<g>/ with the link kv.db for people. */
static enum err folder_make(const char *data_dir, uint32_t group, char *problem,
                            size_t problem_size)
{
    size_t size = strlen(data_dir) + KV_NAME_MAX;
    char *folder = mem_alloc(size);
    (void)snprintf(folder, size, "%s/group-%" PRIu32, data_dir, group);
    enum err error = host_folder_make(folder);
    if (error != OK) {
        (void)snprintf(problem, problem_size, "the folder %s cannot be made: %s", folder,
                       err_text(error));
    }
    mem_free(folder);
    return error;
}

static void link_make(const char *data_dir, uint32_t group, uint64_t generation)
{
    char target[KV_NAME_MAX];
    size_t size = strlen(data_dir) + KV_NAME_MAX;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/group-%" PRIu32 "/kv.db", data_dir, group);
    (void)snprintf(target, sizeof(target), "kv-%" PRIu64 ".db", generation);
    if (host_link_make(path, target) != OK) {
        /* Only people need it. */
        log_event(LOG_WARNING, "link cannot be made", "path=\"%s\" target=%s", path, target);
    }
    mem_free(path);
}

static enum err prepare_all(struct kv_writer *w)
{
    const struct {
        sqlite3_stmt **out;
        const char *sql;
    } list[] = {
        {&w->history_insert, "INSERT INTO history(change, key, create_revision, version, lease, "
                             "deleted, previous_change, jump_change, value) "
                             "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"},
        {&w->current_write, "REPLACE INTO current(key, change, create_revision, version, lease, "
                            "depth, deleted) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
        {&w->members_clear, "DELETE FROM members"},
        {&w->member_insert, "INSERT INTO members(position, member_id, name, peer, client, "
                            "voter_incoming, voter_outgoing, leaving, added_as) "
                            "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"},
        {&w->removed_clear, "DELETE FROM removed_members"},
        {&w->removed_insert, "INSERT INTO removed_members(position, member_id) VALUES(?1, ?2)"},
        {&w->wish_write, "UPDATE wish SET voters = ?1, heal_after_s = ?2, paused = ?3"},
        {&w->declared_clear, "DELETE FROM declared_members"},
        {&w->declared_insert, "INSERT INTO declared_members(position, member_id, peer, learner) "
                              "VALUES(?1, ?2, ?3, ?4)"},
        {&w->cluster_write, "UPDATE meta SET cluster_id = ?1"},
        {&w->meta_write, "UPDATE meta SET applied_index = ?1, applied_term = ?2, revision = ?3, "
                         "compact_revision = ?4, cluster_time_us = ?5"},
        {&w->lease_write, "REPLACE INTO leases(lease_id, ttl_s, deadline_us, granted_us) "
                          "VALUES(?1, ?2, ?3, ?4)"},
        {&w->lease_delete, "DELETE FROM leases WHERE lease_id = ?1"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(list); i++) {
        enum err error = db_prepare(&w->db, list[i].sql, list[i].out);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

/* ---- opening ----------------------------------------------------------------------------------- */

enum err kv_writer_open(const char *data_dir, uint32_t group, uint64_t generation,
                        struct kv_writer **out, struct kv_meta *meta, char *problem,
                        size_t problem_size)
{
    struct kv_writer *w = mem_zalloc(sizeof(*w));
    struct kv_meta found = {0};
    char *path = NULL;
    bool created = false;
    problem[0] = '\0';
    enum err error = folder_make(data_dir, group, problem, problem_size);
    if (error != OK) {
        goto out;
    }
    error = kv_path(data_dir, group, generation, &path);
    if (error != OK) {
        goto out;
    }
    static const char *const upgrades[KV_DB_FORMAT - 1] = {KV_UPGRADE_1};
    const struct db_settings settings = {
        .path = path,
        .name = "kv.db",
        .application_id = DB_APPLICATION_KV,
        .format = KV_DB_FORMAT,
        .schema = KV_SCHEMA,
        .upgrades = upgrades,
        .cache_kib = KV_WRITER_CACHE_KIB,
        .busy_timeout_ms = KV_BUSY_TIMEOUT_MS,
        .idle_bytes = 0,
        .limit_bytes = KV_WAL_HARD_BYTES,
        .keep_bytes = KV_WAL_KEEP_BYTES,
        .warn_bytes = KV_WAL_WARN_BYTES,
    };
    error = db_open(&w->db, &settings, &created, problem, problem_size);
    if (error == OK) {
        error = prepare_all(w);
    }
    if (error == OK) {
        error = kv_meta_read(&w->db, &found);
    }
    if (error == OK) {
        error =
            kv_compact_open(&w->compact, &w->db, found.compact_revision, found.compact_progress);
    }
    if (error == OK) {
        error = db_checkpoint_all(&w->db);
    }
    if (error == OK) {
        error = db_remember_names(&w->db);
    }
out:
    if (error != OK) {
        if (problem[0] == '\0') {
            (void)snprintf(problem, problem_size, "%s/group-%" PRIu32 "/kv.db cannot be used: %s",
                           data_dir, group, err_text(error));
        }
        kv_writer_close(&w);
    } else {
        link_make(data_dir, group, generation);
        found.generation = generation;
        *meta = found;
        *out = w;
    }
    mem_free(path);
    return error;
}

void kv_writer_close(struct kv_writer **w)
{
    struct kv_writer *writer = *w;
    *w = NULL;
    if (writer != NULL) {
        kv_compact_free(&writer->compact);
        db_close(&writer->db);
        mem_free(writer);
    }
}

/* ---- writing ----------------------------------------------------------------------------------- */

static enum err write_history(struct kv_writer *w, const struct kv_batch *batch)
{
    struct kv_batch_cursor at;
    struct kv_history row;
    sqlite3_stmt *s = w->history_insert;
    kv_batch_history_start(batch, &at);
    while (kv_batch_history_next(&at, &row)) {
        db_bind_u64(s, 1, row.change);
        db_bind_blob(s, 2, row.key);
        db_bind_i64(s, 3, row.create_revision);
        db_bind_i64(s, 4, row.version);
        db_bind_i64(s, 5, row.lease);
        db_bind_u64(s, 6, row.deleted ? 1 : 0);
        db_bind_u64(s, 7, row.previous_change);
        db_bind_u64(s, 8, row.jump_change);
        db_bind_blob(s, 9, row.value);
        enum err error = db_run(&w->db, s);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

static enum err write_current(struct kv_writer *w, const struct kv_batch *batch)
{
    struct kv_batch_cursor at;
    struct kv_current row;
    sqlite3_stmt *s = w->current_write;
    kv_batch_current_start(batch, &at);
    while (kv_batch_current_next(&at, &row)) {
        db_bind_blob(s, 1, row.key);
        db_bind_u64(s, 2, row.change);
        db_bind_i64(s, 3, row.create_revision);
        db_bind_i64(s, 4, row.version);
        db_bind_i64(s, 5, row.lease);
        db_bind_u64(s, 6, row.depth);
        db_bind_u64(s, 7, row.deleted ? 1 : 0);
        enum err error = db_run(&w->db, s);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

static enum err write_members(struct kv_writer *w, const struct configuration *c)
{
    db_bind_u64(w->cluster_write, 1, c->cluster_id);
    enum err error = db_run(&w->db, w->cluster_write);
    if (error == OK) {
        error = db_run(&w->db, w->members_clear);
    }
    for (size_t i = 0; error == OK && i < c->count; i++) {
        const struct member *m = &c->members[i];
        sqlite3_stmt *s = w->member_insert;
        db_bind_u64(s, 1, i + 1);
        db_bind_u64(s, 2, m->id);
        db_bind_text(s, 3, m->name);
        db_bind_text(s, 4, m->peer);
        db_bind_text(s, 5, m->client);
        db_bind_u64(s, 6, m->voter_incoming ? 1 : 0);
        db_bind_u64(s, 7, m->voter_outgoing ? 1 : 0);
        db_bind_u64(s, 8, m->leaving ? 1 : 0);
        db_bind_u64(s, 9, m->added_as);
        error = db_run(&w->db, s);
    }
    if (error == OK) {
        error = db_run(&w->db, w->removed_clear);
    }
    for (size_t i = 0; error == OK && i < c->removed_count; i++) {
        db_bind_u64(w->removed_insert, 1, i + 1);
        db_bind_u64(w->removed_insert, 2, c->removed[i]);
        error = db_run(&w->db, w->removed_insert);
    }
    if (error == OK) {
        db_bind_u64(w->wish_write, 1, c->wish.voters);
        db_bind_u64(w->wish_write, 2, c->wish.heal_after_s);
        db_bind_u64(w->wish_write, 3, c->wish.paused ? 1 : 0);
        error = db_run(&w->db, w->wish_write);
    }
    if (error == OK) {
        error = db_run(&w->db, w->declared_clear);
    }
    for (size_t i = 0; error == OK && i < c->declared_count; i++) {
        db_bind_u64(w->declared_insert, 1, i + 1);
        db_bind_u64(w->declared_insert, 2, c->declared[i].id);
        db_bind_text(w->declared_insert, 3, c->declared[i].peer);
        db_bind_u64(w->declared_insert, 4, c->declared[i].learner ? 1 : 0);
        error = db_run(&w->db, w->declared_insert);
    }
    return error;
}

static enum err write_leases(struct kv_writer *w, const struct kv_batch *batch)
{
    struct kv_batch_cursor at;
    struct kv_lease row;
    bool ended = false;
    kv_batch_lease_start(batch, &at);
    while (kv_batch_lease_next(&at, &row, &ended)) {
        sqlite3_stmt *s = ended ? w->lease_delete : w->lease_write;
        db_bind_i64(s, 1, row.id);
        if (!ended) {
            db_bind_i64(s, 2, row.ttl_s);
            db_bind_u64(s, 3, row.deadline_us);
            db_bind_u64(s, 4, row.granted_us);
        }
        enum err error = db_run(&w->db, s);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

enum err kv_writer_write(struct kv_writer *w, const struct kv_batch *batch)
{
    enum err error = db_begin(&w->db);
    if (error != OK) {
        return error;
    }
    error = write_history(w, batch);
    if (error == OK) {
        error = write_current(w, batch);
    }
    if (error == OK) {
        error = write_leases(w, batch);
    }
    if (error == OK && batch->members != NULL) {
        error = write_members(w, batch->members);
    }
    if (error == OK) {
        db_bind_u64(w->meta_write, 1, batch->applied_index);
        db_bind_u64(w->meta_write, 2, batch->applied_term);
        db_bind_i64(w->meta_write, 3, batch->revision);
        db_bind_i64(w->meta_write, 4, batch->compact_revision);
        db_bind_u64(w->meta_write, 5, batch->cluster_time_us);
        error = db_run(&w->db, w->meta_write);
    }
    if (error != OK) {
        db_rollback(&w->db);
        return error;
    }
    error = db_commit(&w->db);
    if (error == OK) {
        kv_compact_want(&w->compact, batch->compact_revision);
    }
    return error;
}

enum err kv_writer_compact_slice(struct kv_writer *w)
{
    return kv_compact_slice(&w->compact);
}

void kv_writer_set_compact_bounds(struct kv_writer *w, const struct kv_compact_bounds *bounds)
{
    w->compact.bounds = *bounds;
}

bool kv_writer_compacting(const struct kv_writer *w)
{
    return w->compact.done < w->compact.wanted;
}

int64_t kv_writer_compacted(const struct kv_writer *w)
{
    return w->compact.done;
}

enum err kv_writer_maintain(struct kv_writer *w, bool idle)
{
    enum err error = db_maintain(&w->db, idle);
    return error == OK ? db_check_names(&w->db) : error;
}

void kv_writer_figures(struct kv_writer *w, struct db_figures *out)
{
    db_figures(&w->db, out);
}
