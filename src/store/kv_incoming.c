/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_incoming.c: a table that comes in chunks from another node, written beside the living one under the
 * next generation's name. When all of it is there and is what was sent, it is synced, and not before raft.db
 * names it is it anybody's table (design §4; traps 46, 58).
 *
 * Chunks are taken in order only: whoever sends asks how far we are (kv_incoming_received) after a break.
 */
#include "db.h"

#include "../base/sha256.h"
#include "host_files.h"
#include "kv_meta.h"
#include "kv_schema.h"
#include "vfs_file.h"

#include <string.h>

#define KV_INCOMING_ROOM_BYTES (UINT64_C(16) << 20) /* to stay free beside it */
#define KV_INCOMING_BUSY_MS    250

struct kv_incoming {
    char *path;
    struct vfs_file *file;
    uint64_t generation;
    uint64_t bytes, received;
    struct sha256 digest;
};

enum err kv_incoming_begin(const char *data_dir, uint32_t group, uint64_t generation,
                           uint64_t bytes, struct kv_incoming **out)
{
    struct kv_incoming *in = mem_zalloc(sizeof(*in));
    uint64_t free_bytes = 0;
    in->generation = generation;
    in->bytes = bytes;
    enum err error = kv_path(data_dir, group, generation, &in->path);
    if (error == OK) {
        error = kv_generation_remove(data_dir, group, generation);
    }
    if (error == OK) {
        error = host_free_bytes(data_dir, &free_bytes);
    }
    if (error == OK &&
        (free_bytes < KV_INCOMING_ROOM_BYTES || free_bytes - KV_INCOMING_ROOM_BYTES < bytes)) {
        error = ERR_DISK_FULL;
    }
    if (error == OK) {
        error = vfs_file_open_write(in->path, &in->file);
    }
    if (error != OK) {
        kv_incoming_close(&in);
        return error;
    }
    sha256_start(&in->digest);
    *out = in;
    return OK;
}

enum err kv_incoming_write(struct kv_incoming *in, uint64_t offset, struct view octets)
{
    if (offset != in->received || octets.size > in->bytes - in->received) {
        return ERR_INVALID;
    }
    enum err error = vfs_file_write(in->file, offset, octets.data, octets.size);
    if (error == OK) {
        sha256_add(&in->digest, octets);
        in->received += octets.size;
    }
    return error;
}

uint64_t kv_incoming_received(const struct kv_incoming *in)
{
    return in->received;
}

static enum err read_table(const char *path, struct kv_meta *out)
{
    struct db db = {0};
    char problem[256];
    bool created = false;
    const struct db_settings settings = {
        .path = path,
        .name = "received kv.db",
        .application_id = DB_APPLICATION_KV,
        .format = KV_DB_FORMAT,
        .cache_kib = 256,
        .busy_timeout_ms = KV_INCOMING_BUSY_MS,
    };
    enum err error = db_open(&db, &settings, &created, problem, sizeof(problem));
    if (error == OK) {
        error = kv_meta_read(&db, out);
    }
    db_close(&db);
    return error;
}

enum err kv_incoming_complete(struct kv_incoming *in, struct view sha256, struct kv_meta *out)
{
    uint8_t found[SHA256_BYTES];
    ASSERT(in->received == in->bytes);
    ASSERT(in->file != NULL);
    sha256_finish(&in->digest, found);
    if (sha256.size != sizeof(found) || memcmp(sha256.data, found, sizeof(found)) != 0) {
        return ERR_CHECKSUM;
    }
    enum err error = vfs_file_sync(in->file);
    vfs_file_close(&in->file); /* before SQLite opens it (trap 57) */
    struct kv_meta meta = {.generation = in->generation};
    if (error == OK) {
        error = read_table(in->path, &meta);
    }
    if (error == OK) {
        *out = meta;
    }
    return error;
}

void kv_incoming_close(struct kv_incoming **in)
{
    struct kv_incoming *freed = *in;
    *in = NULL;
    if (freed == NULL) {
        return;
    }
    sha256_drop(&freed->digest);
    vfs_file_close(&freed->file);
    mem_free(freed->path);
    mem_free(freed);
}
