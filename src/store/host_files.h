/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_files.h: the few things about files that an SQLite VFS cannot do: make a folder, a symbolic
 * link, sync a folder, ask which file a name stands for, find out who holds a lock. All of it is skipped (and
 * answers "fine") when the default VFS is not one of this host's, as in the simulator.
 *
 * Nothing here opens a database file or its -shm: only their names and inodes are looked at (trap 57).
 */
#ifndef HOLDFAST_STORE_HOST_FILES_H
#define HOLDFAST_STORE_HOST_FILES_H

#include "base.h"

/* Make the folder if missing, and its name durable. ERR_IO, ERR_DISK_FULL. */
MUST_USE enum err host_folder_make(const char *path);
/* Make `link_path` (in its folder) a symbolic link to `target`, replacing another link but never a
 * file. ERR_INVALID if a file is in the way, ERR_IO. */
MUST_USE enum err host_link_make(const char *link_path, const char *target);
/* The inode number of the path. ERR_NOT_FOUND if there is no such name, ERR_IO. 0 off the host. */
MUST_USE enum err host_inode(const char *path, uint64_t *inode);

/* Octets an unprivileged process may still write to the file system of the folder; UINT64_MAX off the
 * host. ERR_IO. */
MUST_USE enum err host_free_bytes(const char *folder, uint64_t *out);

/* A file that does nothing but hold room: its size, 0 if there is none (and off the host). ERR_IO. */
MUST_USE enum err host_reserve_size(const char *path, uint64_t *out);
/* Make it hold this much, blocks given to it; 0: no file. ERR_DISK_FULL: as it was; ERR_IO. */
MUST_USE enum err host_reserve_set(const char *path, uint64_t bytes);

struct host_reader {
    int64_t pid; /* 0: nobody found */
    bool self;   /* it is this process */
    char name[32];
};
/* Who holds a shared lock on one of the read marks of the database whose -shm lies at the path;
 * another process if there is one, else this one. From /proc/locks. */
void host_find_reader(const char *shm_path, struct host_reader *out);

#endif
