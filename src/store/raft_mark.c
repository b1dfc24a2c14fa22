/* SPDX-License-Identifier: Apache-2.0 */
/* raft_mark.c: see raft_mark.h. All integers little-endian; a checksum ends the used part. */
#include "raft_mark.h"

#include "vfs_file.h"

#include <string.h>

#define MARK_MAGIC       UINT64_C(0x6b72616d74666c68) /* "hlftmark" */
#define MARK_SLOT_WORDS  9 /* magic, member, group, the five of the slot, checksum */
#define MARK_FIRST_GROUP 2 /* sector of the first group's first slot */

struct raft_mark {
    struct vfs_file *file;
    bool dirty;
    uint8_t next_slot[RAFT_MARK_GROUPS_MAX]; /* 0 or 1: which slot is overwritten next */
};

_Static_assert(MARK_SLOT_WORDS * 8 <= RAFT_MARK_SECTOR_BYTES, "a slot is one sector");

static void word_put(uint8_t *sector, size_t at, uint64_t value)
{
    for (size_t i = 0; i < 8; i++) {
        sector[at * 8 + i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t word_get(const uint8_t *sector, size_t at)
{
    uint64_t value = 0;
    for (size_t i = 8; i > 0; i--) {
        value = value << 8 | sector[at * 8 + i - 1];
    }
    return value;
}

/* Close a sector of `words` words, the last of which is the checksum of those before. */
static void sector_seal(uint8_t *sector, size_t words)
{
    word_put(sector, words - 1, checksum64(view_of(sector, (words - 1) * 8)));
}

static bool sector_valid(const uint8_t *sector, size_t words)
{
    return word_get(sector, 0) == MARK_MAGIC &&
           word_get(sector, words - 1) == checksum64(view_of(sector, (words - 1) * 8));
}

static bool sector_blank(const uint8_t *sector)
{
    for (size_t i = 0; i < RAFT_MARK_SECTOR_BYTES; i++) {
        if (sector[i] != 0) {
            return false;
        }
    }
    return true;
}

/* A sector beyond the end of the file, or cut by it, reads as blank. */
static enum err sector_read(struct raft_mark *mark, uint64_t number, uint8_t *sector)
{
    memset(sector, 0, RAFT_MARK_SECTOR_BYTES);
    uint64_t size = 0;
    enum err error = vfs_file_size(mark->file, &size);
    if (error != OK || size < (number + 1) * RAFT_MARK_SECTOR_BYTES) {
        return error;
    }
    return vfs_file_read(mark->file, number * RAFT_MARK_SECTOR_BYTES, sector,
                         RAFT_MARK_SECTOR_BYTES);
}

static enum err sector_write(struct raft_mark *mark, uint64_t number, const uint8_t *sector)
{
    mark->dirty = true;
    return vfs_file_write(mark->file, number * RAFT_MARK_SECTOR_BYTES, sector,
                          RAFT_MARK_SECTOR_BYTES);
}

enum err raft_mark_open(const char *path, struct raft_mark **out)
{
    uint8_t sector[RAFT_MARK_SECTOR_BYTES];
    struct raft_mark *mark = mem_zalloc(sizeof(*mark));
    enum err error = vfs_file_open_write(path, &mark->file);
    if (error == OK) {
        error = sector_read(mark, 0, sector);
    }
    if (error == OK && sector_valid(sector, 3) && word_get(sector, 1) > RAFT_MARK_FORMAT) {
        error = ERR_NEWER_FORMAT;
    }
    if (error == OK && !sector_valid(sector, 3)) {
        /* New, or its head was spoiled; the slots have checksums of their own. */
        memset(sector, 0, sizeof(sector));
        word_put(sector, 0, MARK_MAGIC);
        word_put(sector, 1, RAFT_MARK_FORMAT);
        sector_seal(sector, 3);
        error = sector_write(mark, 0, sector);
        if (error == OK) {
            error = raft_mark_sync(mark);
        }
    }
    if (error != OK) {
        raft_mark_close(&mark);
        return error;
    }
    *out = mark;
    return OK;
}

void raft_mark_close(struct raft_mark **mark)
{
    struct raft_mark *m = *mark;
    *mark = NULL;
    if (m != NULL) {
        vfs_file_close(&m->file);
        mem_free(m);
    }
}

enum err raft_mark_load(struct raft_mark *mark, uint64_t member_id, uint32_t group,
                        enum raft_mark_state *state, struct raft_mark_slot *out)
{
    ASSERT(group < RAFT_MARK_GROUPS_MAX);
    bool found = false;
    bool spoiled = false;
    struct raft_mark_slot newest = {0};
    for (uint8_t i = 0; i < 2; i++) {
        uint8_t sector[RAFT_MARK_SECTOR_BYTES];
        enum err error = sector_read(mark, MARK_FIRST_GROUP + 2 * (uint64_t)group + i, sector);
        if (error != OK) {
            return error;
        }
        if (!sector_valid(sector, MARK_SLOT_WORDS)) {
            spoiled = spoiled || !sector_blank(sector);
            continue;
        }
        if (word_get(sector, 1) != member_id || word_get(sector, 2) != group) {
            continue;
        }
        if (!found || word_get(sector, 3) > newest.persist_sequence) {
            newest = (struct raft_mark_slot){
                .persist_sequence = word_get(sector, 3),
                .current_term = word_get(sector, 4),
                .voted_for = word_get(sector, 5),
                .last_log_index = word_get(sector, 6),
                .last_log_term = word_get(sector, 7),
            };
            mark->next_slot[group] = i ^ 1;
        }
        found = true;
    }
    if (found) {
        *out = newest;
    }
    *state = found ? RAFT_MARK_FOUND : spoiled ? RAFT_MARK_SPOILED : RAFT_MARK_NONE;
    return OK;
}

enum err raft_mark_store(struct raft_mark *mark, uint64_t member_id, uint32_t group,
                         const struct raft_mark_slot *slot)
{
    ASSERT(group < RAFT_MARK_GROUPS_MAX);
    uint8_t sector[RAFT_MARK_SECTOR_BYTES] = {0};
    word_put(sector, 0, MARK_MAGIC);
    word_put(sector, 1, member_id);
    word_put(sector, 2, group);
    word_put(sector, 3, slot->persist_sequence);
    word_put(sector, 4, slot->current_term);
    word_put(sector, 5, slot->voted_for);
    word_put(sector, 6, slot->last_log_index);
    word_put(sector, 7, slot->last_log_term);
    sector_seal(sector, MARK_SLOT_WORDS);
    enum err error =
        sector_write(mark, MARK_FIRST_GROUP + 2 * (uint64_t)group + mark->next_slot[group], sector);
    if (error == OK) {
        mark->next_slot[group] ^= 1;
    }
    return error;
}

enum err raft_mark_sync(struct raft_mark *mark)
{
    if (!mark->dirty) {
        return OK;
    }
    enum err error = vfs_file_sync(mark->file);
    if (error == OK) {
        mark->dirty = false;
    }
    return error;
}

enum err raft_mark_read_failure(struct raft_mark *mark, bool *failed)
{
    uint8_t sector[RAFT_MARK_SECTOR_BYTES];
    enum err error = sector_read(mark, 1, sector);
    if (error == OK) {
        /* A spoiled note counts as set: it was being written or cleared. */
        *failed = sector_valid(sector, 3) ? word_get(sector, 1) != 0 : !sector_blank(sector);
    }
    return error;
}

enum err raft_mark_write_failure(struct raft_mark *mark, bool failed)
{
    uint8_t sector[RAFT_MARK_SECTOR_BYTES] = {0};
    word_put(sector, 0, MARK_MAGIC);
    word_put(sector, 1, failed ? 1 : 0);
    sector_seal(sector, 3);
    enum err error = sector_write(mark, 1, sector);
    return error == OK ? raft_mark_sync(mark) : error;
}
