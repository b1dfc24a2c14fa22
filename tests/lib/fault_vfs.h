/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault_vfs.h: a shim over the host's SQLite VFS that can make one call fail, for testing the error
 * path of every error with real files. While installed it is the default VFS, so both SQLite and the
 * files beside the databases go through it.
 *
 *   fault_vfs_install();
 *   fault_vfs_arm(FAULT_SYNC, "raft.db-wal", 3, SQLITE_IOERR_FSYNC, FAULT_ONCE);
 *   ... the third sync of that file fails ...
 *   fault_vfs_remove();
 *
 * One fault is armed at a time. Not thread-safe. The simulator has a disk of its own in tests/sim.
 */
#ifndef HOLDFAST_FAULT_VFS_H
#define HOLDFAST_FAULT_VFS_H

#include <stdbool.h>
#include <stdint.h>

enum fault_call {
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE, /* also truncate and delete */
    FAULT_SYNC,
    FAULT_CHANGE, /* WRITE or SYNC: everything that makes a state another one */
};

enum fault_then {
    FAULT_ONCE, /* only that call fails */
    FAULT_STAY, /* that call and all later ones of the kind on such files */
    FAULT_DIE,  /* from that call on every call that changes anything fails, on every file: the
                   process is as good as killed there; what was written before stays in the page cache */
};

/* Register as the default VFS; nothing is armed. */
void fault_vfs_install(void);
/* Make the host's VFS the default again. Files opened through the shim may still be closed. */
void fault_vfs_remove(void);

/*
 * Let the nth call (from 1) of the kind fail with the SQLite result code.
 *
 * suffix  the end of the file's path, e.g. "raft.mark"; "" for every file. Borrowed until disarmed.
 */
void fault_vfs_arm(enum fault_call call, const char *suffix, uint64_t nth, int code,
                   enum fault_then then);
void fault_vfs_disarm(void);
/* Calls that matched since arming (also past the failing one). Arm with nth 0 only to count. */
uint64_t fault_vfs_matched(void);
/* Whether the fault was met. */
bool fault_vfs_struck(void);

#endif
