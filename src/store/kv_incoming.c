/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_incoming.c: a table that comes in chunks from another node, written beside the living one under the
 * next generation's name. When all of it is there and is what was sent, it is synced, and not before raft.db
 * names it is it anybody's table (design §4; traps 46, 58).
 *
 * Chunks are taken in order only: whoever sends asks how far we are (kv_incoming_received) after a break. A break may
 * be the end of this process: kv-<n>.db-part says whose copy the file is the beginning of, until it is whole. It is
 * synced now and then, so that no other sync has to wait for much of it; that proves nothing. What a power cut took is noticed
 * by the digest of the whole, and the transfer begins anew.
 */
#include "db.h"

#include "../base/sha256.h"
#include "host_files.h"
#include "kv_meta.h"
#include "kv_schema.h"
#include "vfs_file.h"

#include <string.h>

#define KV_INCOMING_ROOM_BYTES (UINT64_C(16) << 20) /* to stay free beside it */
#define KV_INCOMING_CACHE_KIB  256
#define KV_INCOMING_READ_BYTES ((size_t)65536)

struct kv_incoming {
    char *path;
    char *part_path;
    struct vfs_file *file;
    uint64_t generation;
    uint64_t bytes, received, synced;
    struct sha256 digest;
};

/* ---- the beginning of a copy ------------------------------------------------------------------------- */

enum { PART_MEMBER, PART_INDEX, PART_TERM, PART_BYTES, PART_CHECKSUM, PART_WORDS };

static void part_words(const struct kv_incoming_source *source, uint64_t out[PART_WORDS])
{
    out[PART_MEMBER] = source->member;
    out[PART_INDEX] = source->index;
    out[PART_TERM] = source->term;
    out[PART_BYTES] = source->bytes;
    out[PART_CHECKSUM] = checksum64(view_of(out, PART_CHECKSUM * sizeof(*out)));
}

static enum err part_is_of(const char *part_path, const struct kv_incoming_source *source,
                           bool *out)
{
    uint64_t wanted[PART_WORDS];
    uint64_t found[PART_WORDS];
    struct vfs_file *file = NULL;
    part_words(source, wanted);
    *out = false;
    enum err error = vfs_file_open_read(part_path, &file);
    if (error == OK) {
        error = vfs_file_read(file, 0, found, sizeof(found));
        *out = error == OK && memcmp(found, wanted, sizeof(found)) == 0;
    }
    vfs_file_close(&file);
    return error == ERR_NOT_FOUND || error == ERR_TRUNCATED ? OK : error;
}

static enum err part_write(const char *part_path, const struct kv_incoming_source *source)
{
    uint64_t words[PART_WORDS];
    struct vfs_file *file = NULL;
    part_words(source, words);
    enum err error = vfs_file_open_write(part_path, &file);
    if (error == OK) {
        error = vfs_file_write(file, 0, words, sizeof(words));
    }
    vfs_file_close(&file);
    return error;
}

/* The digest has to hear again what the file holds already. */
static enum err resume(struct kv_incoming *in)
{
    uint64_t size = 0;
    enum err error = vfs_file_size(in->file, &size);
    if (error != OK || size > in->bytes) {
        return error;
    }
    uint8_t *octets = mem_alloc(KV_INCOMING_READ_BYTES);
    while (error == OK && in->received < size) {
        uint64_t left = size - in->received;
        size_t piece = left < KV_INCOMING_READ_BYTES ? (size_t)left : KV_INCOMING_READ_BYTES;
        error = vfs_file_read(in->file, in->received, octets, piece);
        if (error == OK) {
            sha256_add(&in->digest, view_of(octets, piece));
            in->received += piece;
        }
    }
    mem_free(octets);
    return error;
}

enum err kv_incoming_begin(const char *data_dir, uint32_t group, uint64_t generation,
                           const struct kv_incoming_source *source, struct kv_incoming **out)
{
    struct kv_incoming *in = mem_zalloc(sizeof(*in));
    uint64_t free_bytes = 0;
    bool same = false;
    in->generation = generation;
    in->bytes = source->bytes;
    sha256_start(&in->digest);
    enum err error = kv_path(data_dir, group, generation, &in->path);
    if (error == OK) {
        error = kv_part_path(data_dir, group, generation, &in->part_path);
    }
    if (error == OK) {
        error = part_is_of(in->part_path, source, &same);
    }
    if (error == OK && !same) {
        error = kv_generation_remove(data_dir, group, generation);
    }
    if (error == OK && !same) {
        error = part_write(in->part_path, source);
    }
    if (error == OK) {
        error = vfs_file_open_write(in->path, &in->file);
    }
    if (error == OK && same) {
        error = resume(in);
    }
    if (error == OK) {
        error = host_free_bytes(data_dir, &free_bytes);
    }
    if (error == OK && (free_bytes < KV_INCOMING_ROOM_BYTES ||
                        free_bytes - KV_INCOMING_ROOM_BYTES < in->bytes - in->received)) {
        error = ERR_DISK_FULL;
    }
    if (error != OK) {
        kv_incoming_close(&in);
        return error;
    }
    *out = in;
    return OK;
}

/* ---- its octets --------------------------------------------------------------------------------------- */

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
    if (error == OK && in->received - in->synced >= KV_COPY_SYNC_BYTES) {
        in->synced = in->received;
        error = vfs_file_sync(in->file);
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
    enum err error =
        kv_connect(&db, path, "received kv.db", KV_INCOMING_CACHE_KIB, problem, sizeof(problem));
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
    enum err error = OK;
    if (sha256.size != sizeof(found) || memcmp(sha256.data, found, sizeof(found)) != 0) {
        error = ERR_CHECKSUM;
    }
    if (error == OK) {
        error = vfs_file_sync(in->file);
    }
    vfs_file_close(&in->file); /* before SQLite opens it (trap 57) */
    struct kv_meta meta = {.generation = in->generation};
    if (error == OK) {
        error = read_table(in->path, &meta);
    }
    enum err removed = vfs_file_remove(in->part_path); /* it is whole, or of no use */
    if (error == OK && removed == OK) {
        *out = meta;
    }
    return error != OK ? error : removed;
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
    mem_free(freed->part_path);
    mem_free(freed->path);
    mem_free(freed);
}
