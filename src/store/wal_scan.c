/* SPDX-License-Identifier: Apache-2.0 */
/* wal_scan.c: see wal_scan.h. One pass, one frame in memory. */
#include "wal_scan.h"

#include "vfs_file.h"

#include <string.h>

#define WAL_MAGIC          0x377f0682u /* the lowest bit: checksums over big-endian words */
#define WAL_HEADER_BYTES   32
#define WAL_FRAME_HEADER   24
#define WAL_PAGE_BYTES_MIN 512
#define WAL_PAGE_BYTES_MAX 65536

struct sum {
    uint32_t a, b;
};

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

static uint32_t little_endian(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | (uint32_t)at[0];
}

/* The WAL's own checksum, going on from `from`; size is a multiple of 8. */
static struct sum sum_on(struct sum from, bool big, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        from.a += (big ? big_endian(data + i) : little_endian(data + i)) + from.b;
        from.b += (big ? big_endian(data + i + 4) : little_endian(data + i + 4)) + from.a;
    }
    return from;
}

static struct sum sum_stored(const uint8_t *at)
{
    return (struct sum){.a = big_endian(at), .b = big_endian(at + 4)};
}

static bool sum_equal(struct sum x, struct sum y)
{
    return x.a == y.a && x.b == y.b;
}

struct pass {
    uint32_t page_bytes;
    bool big;
    uint8_t salts[8];
    struct sum chain; /* as stored in the frame (or head) before */
    bool broken;
    bool ended_broken; /* a spoiled frame claimed to end a transaction */
};

/* Read the head. *whole false: it is spoiled, there is nothing to go on. */
static enum err pass_start(struct pass *p, struct vfs_file *file, bool *whole)
{
    uint8_t head[WAL_HEADER_BYTES];
    enum err error = vfs_file_read(file, 0, head, sizeof(head));
    if (error != OK) {
        return error;
    }
    uint32_t magic = big_endian(head);
    p->big = magic == (WAL_MAGIC | 1u);
    p->page_bytes = big_endian(head + 8);
    p->chain = sum_stored(head + 24);
    memcpy(p->salts, head + 16, sizeof(p->salts));
    struct sum computed = sum_on((struct sum){0, 0}, p->big, head, 24);
    *whole = (magic & ~1u) == WAL_MAGIC && sum_equal(computed, p->chain) &&
             p->page_bytes >= WAL_PAGE_BYTES_MIN && p->page_bytes <= WAL_PAGE_BYTES_MAX &&
             (p->page_bytes & (p->page_bytes - 1)) == 0;
    return OK;
}

static void pass_frame(struct pass *p, const uint8_t *frame, uint64_t number, struct wal_scan *out)
{
    bool own = memcmp(frame + 8, p->salts, sizeof(p->salts)) == 0;
    bool ends = own && big_endian(frame + 4) != 0;
    struct sum computed = sum_on(p->chain, p->big, frame, 8);
    computed = sum_on(computed, p->big, frame + WAL_FRAME_HEADER, p->page_bytes);
    p->chain = sum_stored(frame + 16);
    bool whole = own && big_endian(frame) != 0 && sum_equal(computed, p->chain);

    if (!p->broken && whole) {
        if (ends) {
            out->valid_count = number;
        }
        return;
    }
    if (!p->broken) {
        p->broken = true;
        out->spoiled_frame = number;
    }
    if (whole && ends) {
        out->lost_commits++;
        if (out->lost_commits > 1 || p->ended_broken) {
            out->damaged = true;
        }
    } else if (ends) {
        p->ended_broken = true;
    }
}

enum err wal_scan_file(const char *wal_path, struct wal_scan *out)
{
    struct wal_scan found = {0};
    struct vfs_file *file = NULL;
    uint8_t *frame = NULL;
    uint64_t size = 0;
    enum err error = vfs_file_open_read(wal_path, &file);
    if (error == ERR_NOT_FOUND) {
        *out = found;
        return OK;
    }
    if (error == OK) {
        error = vfs_file_size(file, &size);
    }
    if (error != OK || size < WAL_HEADER_BYTES) {
        goto out;
    }
    struct pass p = {0};
    bool whole = false;
    error = pass_start(&p, file, &whole);
    if (error != OK || !whole) {
        goto out;
    }
    size_t frame_bytes = WAL_FRAME_HEADER + p.page_bytes;
    found.frame_count = (size - WAL_HEADER_BYTES) / frame_bytes;
    frame = mem_alloc(frame_bytes);
    for (uint64_t i = 0; i < found.frame_count; i++) {
        error = vfs_file_read(file, WAL_HEADER_BYTES + i * frame_bytes, frame, frame_bytes);
        if (error != OK) {
            goto out;
        }
        pass_frame(&p, frame, i + 1, &found);
    }
out:
    mem_free(frame);
    vfs_file_close(&file);
    if (error == OK) {
        *out = found;
    }
    return error;
}
