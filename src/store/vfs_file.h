/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfs_file.h: plain files through the default SQLite VFS, for what lies beside the databases:
 * raft.mark, and the write-ahead log when it is scanned before SQLite opens it.
 *
 * Why not the open call: the simulator's disk is an SQLite VFS in memory. Whatever goes through here loses,
 * tears and fails there as it would on a real disk.
 *
 * Never for a live database or its -shm (trap 57): closing any descriptor of those drops SQLite's
 * POSIX locks. A -wal carries no locks and may be read.
 *
 * One handle belongs to one actor. Short reads are not errors; the caller sees how much there was.
 */
#ifndef HOLDFAST_STORE_VFS_FILE_H
#define HOLDFAST_STORE_VFS_FILE_H

#include "base.h"

struct vfs_file;

/* dir + "/" + name as the VFS spells it in full; free with mem_free. ERR_IO. */
MUST_USE enum err vfs_path(const char *dir, const char *name, char **out);

/* Open for reading. ERR_NOT_FOUND if there is none (or it is empty), ERR_IO. */
MUST_USE enum err vfs_file_open_read(const char *path, struct vfs_file **out);
/* Open for reading and writing, created if missing; the first sync then makes its name durable. */
MUST_USE enum err vfs_file_open_write(const char *path, struct vfs_file **out);
void vfs_file_close(struct vfs_file **file);

MUST_USE enum err vfs_file_size(struct vfs_file *file, uint64_t *out);
/* Reads exactly size octets, the caller having asked for the size before. ERR_TRUNCATED, ERR_IO. */
MUST_USE enum err vfs_file_read(struct vfs_file *file, uint64_t offset, void *out, size_t size);
/* ERR_IO, ERR_DISK_FULL */
MUST_USE enum err vfs_file_write(struct vfs_file *file, uint64_t offset, const void *data,
                                 size_t size);
/* ERR_IO. */
MUST_USE enum err vfs_file_exists(const char *path, bool *out);
/* Remove the file if it is there; its name's end is durable. ERR_IO */
MUST_USE enum err vfs_file_remove(const char *path);
/* fdatasync. ERR_IO */
MUST_USE enum err vfs_file_sync(struct vfs_file *file);

/* Whether the default VFS keeps real files of this host (a "unix*" VFS, also a shim over it). */
bool vfs_is_host(void);

#endif
