/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_generation.c: which of the files kv-<n>.db is a group's table. A snapshot is installed as a file of a new
 * name, never renamed over a live one (SQLite pairs a database with its -wal by name, trap 58): the number
 * rises by one with each, and raft.db names the current one in the transaction that begins the log anew.
 *
 * So at any crash there are at most two: the current one, and the next (unfinished, then kv-<n>.db-part is there
 * too; or not named yet) or the one before (not removed yet).
 */
#include "db.h"
#include "kv_schema.h"
#include "store.h"
#include "vfs_file.h"

#include <stdio.h>

#define KV_NAME_MAX        64
#define KV_CONNECT_BUSY_MS 250

static enum err file_path(const char *data_dir, uint32_t group, uint64_t generation,
                          const char *suffix, char **out)
{
    char name[KV_NAME_MAX];
    (void)snprintf(name, sizeof(name), "group-%" PRIu32 "/kv-%" PRIu64 ".db%s", group, generation,
                   suffix);
    return vfs_path(data_dir, name, out);
}

enum err kv_path(const char *data_dir, uint32_t group, uint64_t generation, char **out)
{
    return file_path(data_dir, group, generation, "", out);
}

enum err kv_part_path(const char *data_dir, uint32_t group, uint64_t generation, char **out)
{
    return file_path(data_dir, group, generation, "-part", out);
}

static enum err is_part(const char *data_dir, uint32_t group, uint64_t generation, bool *out)
{
    char *path = NULL;
    enum err error = kv_part_path(data_dir, group, generation, &path);
    if (error == OK) {
        error = vfs_file_exists(path, out);
        mem_free(path);
    }
    return error;
}

enum err kv_connect(struct db *db, const char *path, const char *name, int cache_kib, char *problem,
                    size_t problem_size)
{
    bool created = false;
    const struct db_settings settings = {
        .path = path,
        .name = name,
        .application_id = DB_APPLICATION_KV,
        .format = KV_DB_FORMAT,
        .cache_kib = cache_kib,
        .busy_timeout_ms = KV_CONNECT_BUSY_MS,
    };
    return db_open(db, &settings, &created, problem, problem_size);
}

static enum err is_there(const char *data_dir, uint32_t group, uint64_t generation, bool *out)
{
    char *path = NULL;
    enum err error = kv_path(data_dir, group, generation, &path);
    if (error == OK) {
        error = vfs_file_exists(path, out);
        mem_free(path);
    }
    return error;
}

enum err kv_generation_find(const char *data_dir, uint32_t group, uint64_t named, uint64_t *out)
{
    bool there = false;
    bool next = false;
    enum err error = is_there(data_dir, group, named, &there);
    if (error == OK && !there) {
        error = is_there(data_dir, group, named + 1, &next);
    }
    if (error == OK && next) {
        bool part = false;
        error = is_part(data_dir, group, named + 1, &part);
        next = !part;
    }
    if (error == OK) {
        *out = !there && next ? named + 1 : named;
    }
    return error;
}

enum err kv_generation_remove(const char *data_dir, uint32_t group, uint64_t generation)
{
    char *path = NULL;
    char *part_path = NULL;
    enum err error = kv_path(data_dir, group, generation, &path);
    if (error == OK) {
        error = kv_part_path(data_dir, group, generation, &part_path);
    }
    if (error == OK) {
        error = db_files_remove(path);
    }
    if (error == OK) {
        error = vfs_file_remove(part_path);
    }
    mem_free(part_path);
    mem_free(path);
    return error;
}

enum err kv_generations_clean(const char *data_dir, uint32_t group, uint64_t current)
{
    bool part = false;
    enum err error = is_part(data_dir, group, current + 1, &part);
    if (error == OK &&
        !part) { /* the beginning of a received table is gone on with, or begun anew over it */
        error = kv_generation_remove(data_dir, group, current + 1);
    }
    if (error == OK && current > 0) {
        error = kv_generation_remove(data_dir, group, current - 1);
    }
    return error;
}
