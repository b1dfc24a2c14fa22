/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_model.h: what disk.c (files, journal, power cuts) and disk_vfs.c (SQLite's face of it) share.
 */
#ifndef HOLDFAST_SIM_DISK_MODEL_H
#define HOLDFAST_SIM_DISK_MODEL_H

#include "disk.h"
#include <sqlite3.h>

/* A growing image of a file. */
struct disk_image {
    uint8_t *data;
    size_t size, capacity;
};

/* A write or truncation that is not on the platter yet. */
struct disk_pending {
    bool truncate;
    bool committed;  /* truncate: the journal has it */
    uint64_t offset; /* truncate: the new size */
    size_t size;
    size_t data_at; /* write: its octets in pending_data */
    uint64_t journal_number;
};

struct disk_handle;

/* Locks and shared memory of a file, between the connections of one power-on. */
struct disk_share {
    size_t users;
    int shared_count;
    const struct disk_handle *reserved, *pending, *exclusive;
    uint8_t **shm_pages;
    size_t shm_page_count, shm_page_capacity;
    int shm_shared[SQLITE_SHM_NLOCK];
    const struct disk_handle *shm_exclusive[SQLITE_SHM_NLOCK];
};

struct disk_inode {
    size_t users; /* names, journal entries and handles */
    struct disk_image seen, platter;
    struct disk_pending *pending;
    size_t pending_count, pending_capacity;
    struct buffer pending_data;
    struct disk_share *share;
    uint64_t written_offset; /* of the last write */
    size_t written_size;
};

struct disk_name {
    char text[DISK_NAME_MAX + 1];
    struct disk_inode *inode;
};

struct disk_folder {
    struct disk_name names[DISK_FILES_MAX];
    size_t count;
};

struct disk_journal_entry {
    uint64_t number;
    char name[DISK_NAME_MAX + 1]; /* empty: a truncation, whose details lie in its inode */
    struct disk_inode *inode;     /* NULL: deletion */
};

struct disk_unit {
    struct disk_folder seen, platter;
    struct disk_journal_entry *journal;
    size_t journal_count, journal_capacity;
    uint64_t journal_next;
    struct disk_faults faults;
    bool dead;
    uint64_t generation; /* power-ons */
    uint64_t die_after;  /* 0: not armed */
};

struct disk {
    sqlite3_vfs vfs;
    uint64_t random;
    struct disk_hooks hooks;
    struct disk_unit units[DISK_NODES_MAX];
    struct disk_figures figures;
};

/* What SQLite holds: first the methods, as its rules want. */
struct disk_handle {
    sqlite3_file base;
    struct disk *disk;
    struct disk_unit *unit;
    uint64_t generation;
    struct disk_inode *inode;
    struct disk_share *share;
    int lock; /* SQLITE_LOCK_NONE ... EXCLUSIVE */
    bool shm_mapped;
    uint16_t shm_shared_mask, shm_exclusive_mask;
    bool delete_on_close;
    char name[DISK_NAME_MAX + 1];
};

/* disk.c */
struct disk_inode *disk_folder_find(const struct disk_folder *folder, const char *name);
struct disk_inode *disk_unit_create(struct disk_unit *unit, const char *name);
void disk_unit_delete(struct disk_unit *unit, const char *name);
void disk_unit_commit_journal(struct disk_unit *unit);
struct disk_inode *disk_inode_create(void);
void disk_inode_release(struct disk_inode *inode);
void disk_inode_write(struct disk_inode *inode, uint64_t offset, const void *data, size_t size);
void disk_inode_truncate(struct disk_unit *unit, struct disk_inode *inode, uint64_t size);
void disk_inode_sync(struct disk_inode *inode);
void disk_inode_sync_failed(struct disk_inode *inode, uint64_t *random);
void disk_share_release(struct disk_share *share);

/* disk_vfs.c */
void disk_vfs_fill(struct disk *disk);

static inline bool disk_chance(struct disk *d, uint32_t parts)
{
    return parts != 0 && random_below(&d->random, DISK_PARTS) < parts;
}

#endif
