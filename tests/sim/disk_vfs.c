/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_vfs.c: the simulated disk as SQLite sees it: an sqlite3_vfs with the version 2 methods of
 * shared memory, so that WAL works with several connections, and SQLite's five file locks. There is
 * one thread: a lock held by somebody else is SQLITE_BUSY at once.
 *
 * SQLite's documents "The OS interface" and "WAL-mode file format" say what is asked of it.
 */
#include "disk_model.h"

#include <stdio.h>
#include <string.h>

/* ---- faults ----------------------------------------------------------------------------------------- */

static bool handle_is_dead(const struct disk_handle *h)
{
    return h->unit->dead || h->generation != h->unit->generation;
}

/* Count a changing call; true when it is the one at which the disk dies. */
static bool dies_now(struct disk_unit *unit)
{
    if (unit->die_after == 0 || --unit->die_after > 0) {
        return false;
    }
    unit->dead = true;
    return true;
}

static void spend_sync(struct disk *d, const struct disk_faults *f)
{
    uint64_t us = f->sync_us_min;
    if (f->sync_us_max > f->sync_us_min) {
        us += random_below(&d->random, f->sync_us_max - f->sync_us_min);
    }
    if (disk_chance(d, f->stall)) {
        us = f->stall_us;
        d->figures.injected++;
    }
    d->hooks.spend_us(d->hooks.context, us);
}

/* ---- file methods ------------------------------------------------------------------------------------- */

static struct disk_handle *handle_of(sqlite3_file *file)
{
    return (struct disk_handle *)file;
}

static void shm_release_locks(struct disk_handle *h)
{
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        if (h->shm_shared_mask & (1u << i)) {
            h->share->shm_shared[i]--;
        }
        if (h->shm_exclusive_mask & (1u << i)) {
            h->share->shm_exclusive[i] = NULL;
        }
    }
    h->shm_shared_mask = 0;
    h->shm_exclusive_mask = 0;
}

static void lock_release(struct disk_handle *h, int level)
{
    struct disk_share *s = h->share;
    if (h->lock >= SQLITE_LOCK_EXCLUSIVE && s->exclusive == h) {
        s->exclusive = NULL;
    }
    if (s->pending == h) {
        s->pending = NULL;
    }
    if (s->reserved == h) {
        s->reserved = NULL;
    }
    if (level == SQLITE_LOCK_NONE && h->lock >= SQLITE_LOCK_SHARED) {
        s->shared_count--;
    }
    h->lock = level;
}

static int sim_close(sqlite3_file *file)
{
    struct disk_handle *h = handle_of(file);
    shm_release_locks(h);
    lock_release(h, SQLITE_LOCK_NONE);
    disk_share_release(h->share);
    /* The last connection of a living process gone: the shared memory goes too. */
    if (!handle_is_dead(h)) {
        if (h->inode->share != NULL && h->inode->share->users == 1) {
            disk_share_release(h->inode->share);
            h->inode->share = NULL;
        }
        if (h->delete_on_close && h->name[0] != '\0') {
            disk_unit_delete(h->unit, h->name);
        }
    }
    disk_inode_release(h->inode);
    h->inode = NULL;
    return SQLITE_OK;
}

static int sim_read(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    struct disk_handle *h = handle_of(file);
    struct disk *d = h->disk;
    if (handle_is_dead(h)) {
        return SQLITE_IOERR_READ;
    }
    if (disk_chance(d, h->unit->faults.read_error)) {
        d->figures.injected++;
        return SQLITE_IOERR_READ;
    }
    const struct disk_image *image = &h->inode->seen;
    size_t wanted = (size_t)size;
    size_t at = (size_t)offset;
    size_t there = at < image->size ? image->size - at : 0;
    if (there > wanted) {
        there = wanted;
    }
    if (there > 0) {
        memcpy(out, image->data + at, there);
    }
    if (there < wanted) {
        memset((uint8_t *)out + there, 0, wanted - there);
        return SQLITE_IOERR_SHORT_READ;
    }
    return SQLITE_OK;
}

/* How much of a write that fails in the middle is done: of one that lies in a sector all or nothing, as raft.mark's slots
 * rely on. */
static size_t drawn_part(struct disk *d, uint64_t offset, size_t size)
{
    size_t part = (size_t)random_below(&d->random, size + 1);
    if (size > 0 && offset / DISK_SECTOR == (offset + size - 1) / DISK_SECTOR) {
        part = 2 * part > size ? size : 0;
    }
    return part;
}

static int sim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    struct disk_handle *h = handle_of(file);
    struct disk *d = h->disk;
    if (handle_is_dead(h)) {
        return SQLITE_IOERR_WRITE;
    }
    size_t part = (size_t)size;
    int result = SQLITE_OK;
    if (dies_now(h->unit)) {
        part = drawn_part(d, (uint64_t)offset, part);
        result = SQLITE_IOERR_WRITE;
    } else if (h->unit->faults.full && (uint64_t)offset + part > h->inode->seen.size) {
        d->figures.injected++;
        return SQLITE_FULL;
    } else if (disk_chance(d, h->unit->faults.write_error)) {
        d->figures.injected++;
        part = drawn_part(d, (uint64_t)offset, part);
        result = SQLITE_IOERR_WRITE;
    }
    if (part > 0) {
        disk_inode_write(h->inode, (uint64_t)offset, data, part);
    }
    d->figures.writes++;
    d->figures.bytes_written += part;
    return result;
}

static int sim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct disk_handle *h = handle_of(file);
    if (handle_is_dead(h) || dies_now(h->unit)) {
        return SQLITE_IOERR_TRUNCATE;
    }
    disk_inode_truncate(h->unit, h->inode, (uint64_t)size);
    return SQLITE_OK;
}

static int sim_sync(sqlite3_file *file, int flags)
{
    struct disk_handle *h = handle_of(file);
    struct disk *d = h->disk;
    UNUSED(flags);
    if (handle_is_dead(h)) {
        return SQLITE_IOERR_FSYNC;
    }
    d->figures.syncs++;
    if (dies_now(h->unit)) {
        return SQLITE_IOERR_FSYNC; /* all of it still pending: the cut decides */
    }
    spend_sync(d, &h->unit->faults);
    if (disk_chance(d, h->unit->faults.sync_error)) {
        d->figures.injected++;
        disk_inode_sync_failed(h->inode, &d->random);
        return SQLITE_IOERR_FSYNC;
    }
    disk_inode_sync(h->inode);
    disk_unit_commit_journal(h->unit);
    return SQLITE_OK;
}

static int sim_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct disk_handle *h = handle_of(file);
    if (handle_is_dead(h)) {
        return SQLITE_IOERR_FSTAT;
    }
    *size = (sqlite3_int64)h->inode->seen.size;
    return SQLITE_OK;
}

static int sim_lock(sqlite3_file *file, int level)
{
    struct disk_handle *h = handle_of(file);
    struct disk_share *s = h->share;
    if (handle_is_dead(h)) {
        return SQLITE_IOERR_LOCK;
    }
    if (h->lock >= level) {
        return SQLITE_OK;
    }
    if (level == SQLITE_LOCK_SHARED) {
        if ((s->exclusive != NULL && s->exclusive != h) ||
            (s->pending != NULL && s->pending != h)) {
            return SQLITE_BUSY;
        }
        s->shared_count++;
    } else if (level == SQLITE_LOCK_RESERVED) {
        if (s->reserved != NULL && s->reserved != h) {
            return SQLITE_BUSY;
        }
        s->reserved = h;
    } else {
        if ((s->pending != NULL && s->pending != h) || (s->reserved != NULL && s->reserved != h)) {
            return SQLITE_BUSY;
        }
        s->pending = h;
        if (s->shared_count > 1) {
            return SQLITE_BUSY; /* pending stays: no new readers */
        }
        s->exclusive = h;
        level = SQLITE_LOCK_EXCLUSIVE;
    }
    h->lock = level;
    return SQLITE_OK;
}

static int sim_unlock(sqlite3_file *file, int level)
{
    struct disk_handle *h = handle_of(file);
    if (h->lock > level || h->share->pending == h) {
        lock_release(h, level);
    }
    return SQLITE_OK;
}

static int sim_check_reserved(sqlite3_file *file, int *out)
{
    struct disk_handle *h = handle_of(file);
    *out = h->share->reserved != NULL || h->share->exclusive != NULL;
    return handle_is_dead(h) ? SQLITE_IOERR_CHECKRESERVEDLOCK : SQLITE_OK;
}

static int sim_file_control(sqlite3_file *file, int op, void *argument)
{
    UNUSED(file);
    UNUSED(op);
    UNUSED(argument);
    return SQLITE_NOTFOUND;
}

static int sim_sector_size(sqlite3_file *file)
{
    UNUSED(file);
    return 4096;
}

static int sim_device_characteristics(sqlite3_file *file)
{
    UNUSED(file);
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- shared memory -------------------------------------------------------------------------------------- */

static int sim_shm_map(sqlite3_file *file, int page, int page_bytes, int extend,
                       void volatile **out)
{
    struct disk_handle *h = handle_of(file);
    struct disk_share *s = h->share;
    *out = NULL;
    if (handle_is_dead(h)) {
        return SQLITE_IOERR_SHMMAP;
    }
    ASSERT(page_bytes == DISK_SHM_BYTES);
    h->shm_mapped = true;
    if ((size_t)page >= s->shm_page_count) {
        if (!extend) {
            return SQLITE_OK;
        }
        ARRAY_RESERVE(s->shm_pages, s->shm_page_capacity, (size_t)page + 1);
        while (s->shm_page_count <= (size_t)page) {
            s->shm_pages[s->shm_page_count++] = mem_zalloc(DISK_SHM_BYTES);
        }
    }
    *out = s->shm_pages[page];
    return SQLITE_OK;
}

static int sim_shm_lock(sqlite3_file *file, int first, int count, int flags)
{
    struct disk_handle *h = handle_of(file);
    struct disk_share *s = h->share;
    uint16_t mask = (uint16_t)(((1u << count) - 1u) << first);

    if (flags & SQLITE_SHM_UNLOCK) {
        for (int i = first; i < first + count; i++) {
            if (h->shm_shared_mask & (1u << i)) {
                s->shm_shared[i]--;
            }
            if (h->shm_exclusive_mask & (1u << i)) {
                s->shm_exclusive[i] = NULL;
            }
        }
        h->shm_shared_mask &= (uint16_t)~mask;
        h->shm_exclusive_mask &= (uint16_t)~mask;
        return SQLITE_OK;
    }
    if (handle_is_dead(h)) {
        return SQLITE_IOERR_SHMLOCK;
    }
    if (flags & SQLITE_SHM_SHARED) {
        ASSERT(count == 1);
        if (h->shm_shared_mask & mask) {
            return SQLITE_OK;
        }
        if (s->shm_exclusive[first] != NULL) {
            return SQLITE_BUSY;
        }
        s->shm_shared[first]++;
        h->shm_shared_mask |= mask;
        return SQLITE_OK;
    }
    for (int i = first; i < first + count; i++) {
        int own = (h->shm_shared_mask & (1u << i)) ? 1 : 0;
        if ((s->shm_exclusive[i] != NULL && s->shm_exclusive[i] != h) || s->shm_shared[i] > own) {
            return SQLITE_BUSY;
        }
    }
    for (int i = first; i < first + count; i++) {
        s->shm_exclusive[i] = h;
    }
    h->shm_exclusive_mask |= mask;
    return SQLITE_OK;
}

static void sim_shm_barrier(sqlite3_file *file)
{
    UNUSED(file); /* one thread */
}

static int sim_shm_unmap(sqlite3_file *file, int delete_it)
{
    struct disk_handle *h = handle_of(file);
    UNUSED(delete_it); /* the pages go with the last handle */
    shm_release_locks(h);
    h->shm_mapped = false;
    return SQLITE_OK;
}

static const sqlite3_io_methods sim_methods = {
    .iVersion = 2,
    .xClose = sim_close,
    .xRead = sim_read,
    .xWrite = sim_write,
    .xTruncate = sim_truncate,
    .xSync = sim_sync,
    .xFileSize = sim_file_size,
    .xLock = sim_lock,
    .xUnlock = sim_unlock,
    .xCheckReservedLock = sim_check_reserved,
    .xFileControl = sim_file_control,
    .xSectorSize = sim_sector_size,
    .xDeviceCharacteristics = sim_device_characteristics,
    .xShmMap = sim_shm_map,
    .xShmLock = sim_shm_lock,
    .xShmBarrier = sim_shm_barrier,
    .xShmUnmap = sim_shm_unmap,
};

/* ---- VFS methods ------------------------------------------------------------------------------------------ */

/* "/n<k>/..." lies on disk k; everything else (temporary files) on disk 0. */
static struct disk_unit *unit_of(struct disk *d, const char *path)
{
    unsigned node = 0;
    if (path != NULL && path[0] == '/' && path[1] == 'n') {
        for (const char *p = path + 2; *p >= '0' && *p <= '9'; p++) {
            node = node * 10 + (unsigned)(*p - '0');
            ASSERT(node < DISK_NODES_MAX);
        }
    }
    return &d->units[node];
}

static int sim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *flags_out)
{
    struct disk *d = vfs->pAppData;
    struct disk_handle *h = handle_of(file);
    struct disk_unit *unit = unit_of(d, name);
    struct disk_inode *inode = NULL;

    *h = (struct disk_handle){.disk = d, .unit = unit};
    if (unit->dead) {
        return SQLITE_CANTOPEN;
    }
    if (name == NULL) {
        inode = disk_inode_create();
    } else {
        inode = disk_folder_find(&unit->seen, name);
        if (inode != NULL && (flags & SQLITE_OPEN_EXCLUSIVE) && (flags & SQLITE_OPEN_CREATE)) {
            return SQLITE_CANTOPEN;
        }
        if (inode == NULL) {
            if (!(flags & SQLITE_OPEN_CREATE) || unit->faults.full || dies_now(unit)) {
                return SQLITE_CANTOPEN;
            }
            inode = disk_unit_create(unit, name);
        }
        inode->users++;
        (void)snprintf(h->name, sizeof(h->name), "%s", name);
    }
    if (inode->share == NULL) {
        inode->share = mem_zalloc(sizeof(*inode->share));
        inode->share->users = 1; /* the inode's own */
    }
    inode->share->users++;
    h->share = inode->share;
    h->inode = inode;
    h->generation = unit->generation;
    h->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    h->base.pMethods = &sim_methods;
    if (flags_out != NULL) {
        *flags_out = flags;
    }
    return SQLITE_OK;
}

static int sim_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    struct disk *d = vfs->pAppData;
    struct disk_unit *unit = unit_of(d, name);
    if (unit->dead) {
        return SQLITE_IOERR_DELETE;
    }
    if (disk_folder_find(&unit->seen, name) == NULL) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    if (dies_now(unit)) {
        return SQLITE_IOERR_DELETE;
    }
    disk_unit_delete(unit, name);
    if (sync_folder) {
        disk_unit_commit_journal(unit);
    }
    return SQLITE_OK;
}

static int sim_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    struct disk_unit *unit = unit_of(vfs->pAppData, name);
    UNUSED(flags);
    if (unit->dead) {
        return SQLITE_IOERR_ACCESS;
    }
    struct disk_inode *inode = disk_folder_find(&unit->seen, name);
    /* As the unix VFS: an empty file does not "exist". */
    *out = inode != NULL && (flags != SQLITE_ACCESS_EXISTS || inode->seen.size > 0);
    return SQLITE_OK;
}

static int sim_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    UNUSED(vfs);
    int written = snprintf(out, (size_t)size, "%s", name);
    return written < 0 || written >= size ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int sim_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    struct disk *d = vfs->pAppData;
    for (int i = 0; i < size; i++) {
        out[i] = (char)(random_next(&d->random) & 0xff);
    }
    return size;
}

static int sim_sleep(sqlite3_vfs *vfs, int us)
{
    struct disk *d = vfs->pAppData;
    d->hooks.spend_us(d->hooks.context, (uint64_t)us);
    return us;
}

static int sim_current_time_64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    struct disk *d = vfs->pAppData;
    /* Milliseconds of the Julian calendar; noon of 2000-01-01 is where virtual time begins. */
    *out = INT64_C(211813488000000) + (sqlite3_int64)(d->hooks.now_us(d->hooks.context) / 1000);
    return SQLITE_OK;
}

static int sim_current_time(sqlite3_vfs *vfs, double *out)
{
    sqlite3_int64 ms = 0;
    (void)sim_current_time_64(vfs, &ms);
    *out = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int sim_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    UNUSED(vfs);
    if (size > 0) {
        out[0] = '\0';
    }
    return 0;
}

void disk_vfs_fill(struct disk *disk)
{
    disk->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(struct disk_handle),
        .mxPathname = DISK_NAME_MAX,
        .zName = "sim",
        .pAppData = disk,
        .xOpen = sim_open,
        .xDelete = sim_delete,
        .xAccess = sim_access,
        .xFullPathname = sim_full_pathname,
        .xRandomness = sim_randomness,
        .xSleep = sim_sleep,
        .xCurrentTime = sim_current_time,
        .xGetLastError = sim_last_error,
        .xCurrentTimeInt64 = sim_current_time_64,
    };
}
