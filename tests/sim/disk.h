/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h: the simulated disks of all nodes, offered to SQLite as the default VFS "sim".
 *
 * A path "/n<k>/..." lies on the disk of node k. Every file has two images: what a reader sees (the
 * page cache) and what is on the platter. Between the two lies a list of writes and truncations not
 * yet synced. A power cut keeps, loses or tears each of them, by the seed; the end of a process
 * alone loses nothing. Creations and deletions go through a journal of the disk, as on ext4: a sync
 * of any file commits all of it, a power cut keeps a prefix of the rest.
 *
 * A crash makes the disk dead first: every call through a handle of the crashed process fails and
 * touches nothing, for ever, so that closing its connections cannot checkpoint or delete a WAL.
 *
 * Not here: time passes through hooks of the runner; what is checked is none of the disk's business.
 *
 * Invariants
 *  1. A sync that returned OK: everything written to that file before is on the platter.
 *  2. A sync that failed: what was pending for that file counts as clean in the page cache and may
 *     or may not be on the platter; a later sync does not write it (trap 20).
 *  3. A handle belongs to one power-on of one disk; after that it is dead.
 */
#ifndef HOLDFAST_SIM_DISK_H
#define HOLDFAST_SIM_DISK_H

#include "base.h"

#define DISK_NODES_MAX 16
#define DISK_PARTS     1000000u /* fault probabilities are parts of a million per call */
#define DISK_SECTOR    512
#define DISK_NAME_MAX  255
#define DISK_FILES_MAX 64          /* names on one disk */
#define DISK_BYTES_MAX (512 << 20) /* of one file; more is a runaway */
#define DISK_SHM_BYTES 32768

struct disk;

struct disk_faults {
    uint32_t read_error;  /* xRead fails */
    uint32_t write_error; /* xWrite fails, perhaps after a part */
    uint32_t sync_error;  /* xSync fails; invariant 2 */
    uint32_t stall;       /* xSync takes stall_us instead */
    uint64_t sync_us_min, sync_us_max;
    uint64_t stall_us;
    bool full; /* writes that make a file longer fail with SQLITE_FULL */
};

enum disk_cut {
    DISK_CUT_PROCESS, /* kill -9: the page cache stays */
    DISK_CUT_POWER,   /* what was not synced is kept, lost or torn */
};

struct disk_hooks {
    uint64_t (*now_us)(void *context);
    void (*spend_us)(void *context, uint64_t us); /* a call took so long */
    void *context;
};

/* Make the disks and register them as SQLite's default VFS; only one at a time. Restarts SQLite's
 * own randomness, so that salts follow from the seed too. */
struct disk *disk_create(uint64_t seed, const struct disk_hooks *hooks);
/* Unregister and free. Handles still open are leaked by their owners, not freed here. */
void disk_destroy(struct disk **disk);

void disk_set_faults(struct disk *d, size_t node, const struct disk_faults *faults);
/* The disk dies at the count-th write, sync, truncation or deletion from now (1: the next), that
 * call being perhaps half done. 0: never. */
void disk_die_after(struct disk *d, size_t node, uint64_t count);
bool disk_is_dead(const struct disk *d, size_t node);
/* End of the process or of the machine. Harmless when dead already by disk_die_after. */
void disk_cut(struct disk *d, size_t node, enum disk_cut cut);
/* Nothing is left on it. Only while dead. */
void disk_wipe(struct disk *d, size_t node);
/* A new process may open files again. Handles from before stay dead. */
void disk_power_on(struct disk *d, size_t node);
/* Flip one bit of the file whose name ends so: anywhere, or, half of the times, in what was written last.
 * False if there is no such file or it is empty. Only while dead. */
bool disk_flip_bit(struct disk *d, size_t node, const char *name_end);

/* For tests of the disk. */
uint64_t disk_file_bytes(struct disk *d, size_t node, const char *name_end);
uint64_t disk_pending_count(struct disk *d, size_t node);

struct disk_figures {
    uint64_t writes, syncs, bytes_written, injected;
};
void disk_figures(const struct disk *d, struct disk_figures *out);

#endif
