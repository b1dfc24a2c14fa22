/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_open.c: opening and closing raft.db. Order at opening, and why:
 *
 *   1. the mark: is there a note of a failed sync?
 *   2. the WAL is scanned, before SQLite opens the file and forgets what follows a spoiled frame
 *   3. SQLite opens the file (and recovers the WAL up to the first spoiled frame)
 *   4. one transaction: the boot number, and the may-not-vote flag of all groups if 1 or 2 found
 *      something; only then is the evidence destroyed by
 *   5. copying the WAL into the file and emptying it. From here on every frame with the WAL's salts
 *      was written by this process, which is what the scan of the next start relies on
 *   6. the note of 1 is cleared
 */
#include "log_state.h"

#include "log_schema.h"
#include "vfs_file.h"
#include "wal_scan.h"

#include <stdio.h>
#include <string.h>

#define LOG_CACHE_KIB       2048
#define LOG_BUSY_TIMEOUT_MS 50 /* a person's write lock: waited for this long, then reported */
#ifndef HOLDFAST_SMALL_BOUNDS
#define LOG_WAL_SOFT_BYTES (1 << 20) /* checkpoint when idle past this ... */
#define LOG_WAL_HARD_BYTES (4 << 20) /* ... and in any case past this */
#else                                /* the simulator: checkpoints come within seconds */
#define LOG_WAL_SOFT_BYTES (64 << 10)
#define LOG_WAL_HARD_BYTES (256 << 10)
#endif
#define LOG_WAL_KEEP_BYTES (8 << 20)
#define LOG_WAL_WARN_BYTES (16 << 20)

/* ---- statements -------------------------------------------------------------------------------- */

static enum err prepare_all(struct log_db *db)
{
    const struct {
        sqlite3_stmt **out;
        const char *sql;
    } list[] = {
        {&db->entry_insert,
         "INSERT INTO log(id, term, type, origin, request_id, op, key_size, crc, "
         "data) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"},
        {&db->entry_delete, "DELETE FROM log WHERE id BETWEEN ?1 AND ?2"},
        {&db->entry_read, "SELECT id, term, type, origin, request_id, crc, data FROM log "
                          "WHERE id BETWEEN ?1 AND ?2 ORDER BY id"},
        {&db->entry_term, "SELECT term FROM log WHERE id = ?1"},
        {&db->state_read, "SELECT current_term, voted_for, persist_seq, may_not_vote, "
                          "trimmed_index, trimmed_term, last_log_index, last_log_term, leader, "
                          "commit_index FROM hard_state WHERE group_id = ?1"},
        {&db->state_write,
         "INSERT INTO hard_state(group_id, current_term, voted_for, persist_seq, may_not_vote, "
         "trimmed_index, trimmed_term, last_log_index, last_log_term, leader, commit_index) "
         "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
         "ON CONFLICT(group_id) DO UPDATE SET current_term = ?2, voted_for = ?3, persist_seq = ?4, "
         "may_not_vote = ?5, trimmed_index = ?6, trimmed_term = ?7, last_log_index = ?8, "
         "last_log_term = ?9, leader = ?10, commit_index = ?11"},
        {&db->generation_read, "SELECT kv_generation FROM groups WHERE group_id = ?1"},
        {&db->generation_write, "REPLACE INTO groups(group_id, kv_generation) VALUES(?1, ?2)"},
        {&db->cluster_write, "UPDATE node SET cluster_id = ?1"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(list); i++) {
        enum err error = db_prepare(&db->db, list[i].sql, list[i].out);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

/* ---- identity ---------------------------------------------------------------------------------- */

static enum err identity_create(struct log_db *db, uint64_t seed)
{
    uint64_t state = seed;
    struct node_identity *id = &db->identity;
    do {
        /* 63 bits: SQLite's integers are signed, and a person should see one number, not two. */
        id->member_id = random_next(&state) >> 1;
    } while (id->member_id == 0);
    id->cluster_id = 0;
    id->boot_number = 0;
    sqlite3_stmt *insert = NULL;
    enum err error = db_prepare(&db->db,
                                "INSERT INTO node(one, cluster, name, member_id, cluster_id, "
                                "boot_number) VALUES(1, ?1, ?2, ?3, 0, 0)",
                                &insert);
    if (error == OK) {
        db_bind_text(insert, 1, id->cluster);
        db_bind_text(insert, 2, id->name);
        db_bind_u64(insert, 3, id->member_id);
        error = db_run(&db->db, insert);
    }
    return error;
}

/* Read the node row into the identity, comparing names. *there: the file has one. */
static enum err identity_read(struct log_db *db, bool *there, char *problem, size_t problem_size)
{
    struct node_identity *id = &db->identity;
    sqlite3_stmt *select = NULL;
    enum err error = db_prepare(
        &db->db, "SELECT member_id, cluster_id, boot_number, cluster, name FROM node", &select);
    if (error == OK) {
        error = db_step(&db->db, select, there);
    }
    if (error == OK && *there) {
        const char *cluster = (const char *)sqlite3_column_text(select, 3);
        const char *name = (const char *)sqlite3_column_text(select, 4);
        if (cluster == NULL || name == NULL) {
            error = ERR_CORRUPT;
        } else if (strcmp(cluster, id->cluster) != 0 || strcmp(name, id->name) != 0) {
            (void)snprintf(
                problem, problem_size,
                "%s belongs to node \"%s\" of cluster \"%s\", the configuration says node "
                "\"%s\" of cluster \"%s\"; correct the configuration or use an empty data "
                "directory",
                db->db.path, name, cluster, id->name, id->cluster);
            error = ERR_IDENTITY;
        }
        id->member_id = db_column_u64(select, 0);
        id->cluster_id = db_column_u64(select, 1);
        id->boot_number = db_column_u64(select, 2);
    }
    if (select != NULL) {
        db_done(select);
    }
    return error;
}

/* ---- opening ----------------------------------------------------------------------------------- */

/* Steps 1 and 2: look for damage that opening would hide. */
static enum err find_damage(struct log_db *db, const char *wal_path)
{
    bool failed = false;
    enum err error = raft_mark_read_failure(db->mark, &failed);
    if (error != OK) {
        return error;
    }
    if (failed) {
        (void)snprintf(db->damage_text, sizeof(db->damage_text),
                       "the last run ended with a failed write or sync of raft.db");
    }
    struct wal_scan scan;
    error = wal_scan_file(wal_path, &scan);
    if (error == OK && scan.damaged && !failed) {
        (void)snprintf(db->damage_text, sizeof(db->damage_text),
                       "frame %" PRIu64 " of raft.db-wal is spoiled and at least %" PRIu64
                       " committed transactions lie behind it",
                       scan.spoiled_frame, scan.lost_commits);
    }
    return error;
}

/* Step 4. */
static enum err boot(struct log_db *db, bool there, uint64_t seed)
{
    enum err error = db_begin(&db->db);
    if (error != OK) {
        return error;
    }
    if (!there) {
        error = identity_create(db, seed);
    }
    if (error == OK) {
        error = db_execute(&db->db, "UPDATE node SET boot_number = boot_number + 1");
    }
    if (error == OK && db->damage_text[0] != '\0') {
        error = db_execute(&db->db, "UPDATE hard_state SET may_not_vote = 1");
    }
    if (error != OK) {
        db_rollback(&db->db);
        return error;
    }
    db->identity.boot_number++;
    return db_commit(&db->db);
}

static enum err open_all(struct log_db *db, const char *data_dir, uint64_t seed, char *problem,
                         size_t problem_size)
{
    char *path = NULL;
    char *wal_path = NULL;
    char *mark_path = NULL;
    bool created = false;
    bool there = false;
    enum err error = vfs_path(data_dir, "raft.db", &path);
    if (error == OK) {
        error = vfs_path(data_dir, "raft.db-wal", &wal_path);
    }
    if (error == OK) {
        error = vfs_path(data_dir, "raft.mark", &mark_path);
    }
    if (error != OK) {
        (void)snprintf(problem, problem_size,
                       "the data directory %s cannot be used: its path is too "
                       "long or not readable",
                       data_dir);
        goto out;
    }
    error = raft_mark_open(mark_path, &db->mark);
    if (error != OK) {
        (void)snprintf(problem, problem_size, "%s cannot be opened or written: %s", mark_path,
                       err_text(error));
        goto out;
    }
    error = find_damage(db, wal_path);
    if (error != OK) {
        (void)snprintf(problem, problem_size, "%s or %s cannot be read: %s", wal_path, mark_path,
                       err_text(error));
        goto out;
    }
    static const char *const upgrades[LOG_DB_FORMAT - 1] = {LOG_UPGRADE_1};
    const struct db_settings settings = {
        .path = path,
        .name = "raft.db",
        .application_id = DB_APPLICATION_RAFT,
        .format = LOG_DB_FORMAT,
        .schema = LOG_SCHEMA,
        .upgrades = upgrades,
        .cache_kib = LOG_CACHE_KIB,
        .busy_timeout_ms = LOG_BUSY_TIMEOUT_MS,
        .idle_bytes = LOG_WAL_SOFT_BYTES,
        .limit_bytes = LOG_WAL_HARD_BYTES,
        .keep_bytes = LOG_WAL_KEEP_BYTES,
        .warn_bytes = LOG_WAL_WARN_BYTES,
    };
    error = db_open(&db->db, &settings, &created, problem, problem_size);
    if (error != OK) {
        goto out;
    }
    error = prepare_all(db);
    if (error == OK) {
        error = identity_read(db, &there, problem, problem_size);
    }
    if (error == OK) {
        error = boot(db, there, seed);
    }
    if (error == OK) {
        error = db_checkpoint_all(&db->db);
    }
    if (error == OK) {
        error = db_remember_names(&db->db);
    }
    if (error == OK) {
        error = raft_mark_write_failure(db->mark, false);
    }
    if (error != OK && problem[0] == '\0') {
        (void)snprintf(problem, problem_size, "%s cannot be used: %s", path, err_text(error));
    }
out:
    mem_free(path);
    mem_free(wal_path);
    mem_free(mark_path);
    return error;
}

enum err log_db_open(const char *data_dir, const char *cluster, const char *node, uint64_t seed,
                     struct log_db **out, char *problem, size_t problem_size)
{
    ASSERT(strlen(cluster) <= MEMBER_NAME_MAX);
    ASSERT(strlen(node) <= MEMBER_NAME_MAX);
    struct log_db *db = mem_zalloc(sizeof(*db));
    (void)snprintf(db->identity.cluster, sizeof(db->identity.cluster), "%s", cluster);
    (void)snprintf(db->identity.name, sizeof(db->identity.name), "%s", node);
    problem[0] = '\0';
    enum err error = open_all(db, data_dir, seed, problem, problem_size);
    if (error != OK) {
        /* Whoever could not open must not tidy up either: the WAL is evidence. */
        db->db.failed = true;
        log_db_close(&db);
        return error;
    }
    *out = db;
    return OK;
}

void log_db_close(struct log_db **db)
{
    struct log_db *d = *db;
    *db = NULL;
    if (d == NULL) {
        return;
    }
    db_rollback(&d->db); /* what was not committed was never acknowledged */
    if (d->mark != NULL && !d->db.failed && log_db_note(d, raft_mark_sync(d->mark)) != OK) {
        log_event(LOG_ERROR, "raft.mark cannot be synced", "at=close");
    }
    db_close(&d->db);
    raft_mark_close(&d->mark);
    mem_free(d->groups);
    mem_free(d->saved_groups);
    mem_free(d);
}

void log_db_identity(const struct log_db *db, struct node_identity *out)
{
    *out = db->identity;
}
