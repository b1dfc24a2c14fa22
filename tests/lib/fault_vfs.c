/* SPDX-License-Identifier: Apache-2.0 */
/* fault_vfs.c: see fault_vfs.h. Every method passes through to the host's file behind ours. */
#include "fault_vfs.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct fault_file {
    sqlite3_file base;
    char *path;
    sqlite3_file *real; /* right behind this struct */
};

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *host;
    bool armed, struck, dead;
    enum fault_call call;
    const char *suffix;
    uint64_t nth, matched;
    int code;
    enum fault_then then;
} shim;

static bool ends_with(const char *path, const char *suffix)
{
    size_t path_size = path != NULL ? strlen(path) : 0;
    size_t suffix_size = strlen(suffix);
    return path_size >= suffix_size && strcmp(path + path_size - suffix_size, suffix) == 0;
}

/* What a call of this kind on this file must return; SQLITE_OK: go on to the host. */
static int verdict(enum fault_call call, const char *path)
{
    if (shim.dead && call != FAULT_READ) {
        return call == FAULT_OPEN ? SQLITE_CANTOPEN : SQLITE_IOERR;
    }
    if (!shim.armed || path == NULL || !ends_with(path, shim.suffix)) {
        return SQLITE_OK;
    }
    bool change = call == FAULT_WRITE || call == FAULT_SYNC;
    if (call != shim.call && !(shim.call == FAULT_CHANGE && change)) {
        return SQLITE_OK;
    }
    shim.matched++;
    bool strikes = shim.nth != 0 && (shim.matched == shim.nth ||
                                     (shim.then == FAULT_STAY && shim.matched > shim.nth));
    if (!strikes) {
        return SQLITE_OK;
    }
    shim.struck = true;
    shim.dead = shim.then == FAULT_DIE;
    return shim.code;
}

static struct fault_file *mine(sqlite3_file *file)
{
    return (struct fault_file *)(void *)file;
}

static int fault_close(sqlite3_file *file)
{
    struct fault_file *f = mine(file);
    int rc = f->real->pMethods != NULL ? f->real->pMethods->xClose(f->real) : SQLITE_OK;
    free(f->path);
    f->path = NULL;
    return rc;
}

static int fault_read(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    struct fault_file *f = mine(file);
    int rc = verdict(FAULT_READ, f->path);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xRead(f->real, out, size, offset);
}

static int fault_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    struct fault_file *f = mine(file);
    int rc = verdict(FAULT_WRITE, f->path);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xWrite(f->real, data, size, offset);
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct fault_file *f = mine(file);
    int rc = verdict(FAULT_WRITE, f->path);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xTruncate(f->real, size);
}

static int fault_sync(sqlite3_file *file, int flags)
{
    struct fault_file *f = mine(file);
    int rc = verdict(FAULT_SYNC, f->path);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xSync(f->real, flags);
}

static int fault_file_size(sqlite3_file *file, sqlite3_int64 *out)
{
    return mine(file)->real->pMethods->xFileSize(mine(file)->real, out);
}

static int fault_lock(sqlite3_file *file, int level)
{
    return mine(file)->real->pMethods->xLock(mine(file)->real, level);
}

static int fault_unlock(sqlite3_file *file, int level)
{
    return mine(file)->real->pMethods->xUnlock(mine(file)->real, level);
}

static int fault_check_reserved(sqlite3_file *file, int *out)
{
    return mine(file)->real->pMethods->xCheckReservedLock(mine(file)->real, out);
}

static int fault_control(sqlite3_file *file, int op, void *argument)
{
    return mine(file)->real->pMethods->xFileControl(mine(file)->real, op, argument);
}

static int fault_sector_size(sqlite3_file *file)
{
    return mine(file)->real->pMethods->xSectorSize(mine(file)->real);
}

static int fault_characteristics(sqlite3_file *file)
{
    return mine(file)->real->pMethods->xDeviceCharacteristics(mine(file)->real);
}

static int fault_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return mine(file)->real->pMethods->xShmMap(mine(file)->real, page, size, extend, out);
}

static int fault_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return mine(file)->real->pMethods->xShmLock(mine(file)->real, offset, count, flags);
}

static void fault_shm_barrier(sqlite3_file *file)
{
    mine(file)->real->pMethods->xShmBarrier(mine(file)->real);
}

static int fault_shm_unmap(sqlite3_file *file, int delete_it)
{
    return mine(file)->real->pMethods->xShmUnmap(mine(file)->real, delete_it);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = fault_close,
    .xRead = fault_read,
    .xWrite = fault_write,
    .xTruncate = fault_truncate,
    .xSync = fault_sync,
    .xFileSize = fault_file_size,
    .xLock = fault_lock,
    .xUnlock = fault_unlock,
    .xCheckReservedLock = fault_check_reserved,
    .xFileControl = fault_control,
    .xSectorSize = fault_sector_size,
    .xDeviceCharacteristics = fault_characteristics,
    .xShmMap = fault_shm_map,
    .xShmLock = fault_shm_lock,
    .xShmBarrier = fault_shm_barrier,
    .xShmUnmap = fault_shm_unmap,
};

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                      int *flags_out)
{
    struct fault_file *f = mine(file);
    (void)vfs;
    memset(f, 0, sizeof(*f));
    int rc = verdict(FAULT_OPEN, name);
    if (rc != SQLITE_OK) {
        return rc;
    }
    f->real = (sqlite3_file *)(void *)(f + 1);
    rc = shim.host->xOpen(shim.host, name, f->real, flags, flags_out);
    if (rc != SQLITE_OK) {
        return rc;
    }
    f->path = strdup(name != NULL ? name : "");
    f->base.pMethods = &fault_methods;
    return SQLITE_OK;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    int rc = verdict(FAULT_WRITE, name);
    return rc != SQLITE_OK ? rc : shim.host->xDelete(shim.host, name, sync_folder);
}

void fault_vfs_install(void)
{
    shim.host = sqlite3_vfs_find("unix");
    shim.vfs = *shim.host;
    shim.vfs.iVersion = 2;
    shim.vfs.zName = "unix-fault";
    shim.vfs.pNext = NULL;
    shim.vfs.szOsFile = (int)sizeof(struct fault_file) + shim.host->szOsFile;
    shim.vfs.xOpen = fault_open;
    shim.vfs.xDelete = fault_delete;
    fault_vfs_disarm();
    (void)sqlite3_vfs_register(&shim.vfs, 1);
}

void fault_vfs_remove(void)
{
    fault_vfs_disarm();
    (void)sqlite3_vfs_unregister(&shim.vfs);
    (void)sqlite3_vfs_register(shim.host, 1);
}

void fault_vfs_arm(enum fault_call call, const char *suffix, uint64_t nth, int code,
                   enum fault_then then)
{
    shim.armed = true;
    shim.struck = false;
    shim.dead = false;
    shim.call = call;
    shim.suffix = suffix;
    shim.nth = nth;
    shim.matched = 0;
    shim.code = code;
    shim.then = then;
}

void fault_vfs_disarm(void)
{
    shim.armed = false;
    shim.dead = false;
}

uint64_t fault_vfs_matched(void)
{
    return shim.matched;
}

bool fault_vfs_struck(void)
{
    return shim.struck;
}
