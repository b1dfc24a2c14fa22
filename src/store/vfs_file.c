/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfs_file.c: see vfs_file.h. Files are opened with the type "super journal": for the unix VFS that
 * means no locks are kept for them, and the first sync after creating one syncs its folder too.
 */
#include "vfs_file.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

struct vfs_file {
    sqlite3_file *methods; /* szOsFile octets, the VFS's own */
    char *path;            /* the VFS may keep the pointer while the file is open */
};

static enum err io_error(int rc)
{
    int primary = rc & 0xff;
    if (primary == SQLITE_OK) {
        return OK;
    }
    return primary == SQLITE_FULL ? ERR_DISK_FULL : ERR_IO;
}

enum err vfs_path(const char *dir, const char *name, char **out)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    ASSERT(vfs != NULL);
    size_t joined_size = strlen(dir) + strlen(name) + 2;
    char *joined = mem_alloc(joined_size);
    (void)snprintf(joined, joined_size, "%s/%s", dir, name);

    size_t full_size = (size_t)vfs->mxPathname + 1;
    char *full = mem_zalloc(full_size + 1);
    int rc = vfs->xFullPathname(vfs, joined, (int)full_size, full);
    mem_free(joined);
    if ((rc & 0xff) != SQLITE_OK) {
        mem_free(full);
        return ERR_IO;
    }
    *out = full;
    return OK;
}

static enum err file_open(const char *path, int flags, struct vfs_file **out)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    ASSERT(vfs != NULL);
    struct vfs_file *file = mem_zalloc(sizeof(*file));
    file->methods = mem_zalloc((size_t)vfs->szOsFile);
    /* A VFS may look for URI parameters behind the name's end: leave it an empty list. */
    size_t path_size = strlen(path) + 1;
    file->path = mem_zalloc(path_size + 2);
    memcpy(file->path, path, path_size);

    int flags_out = 0;
    int rc = vfs->xOpen(vfs, file->path, file->methods, flags, &flags_out);
    if (rc != SQLITE_OK) {
        if (file->methods->pMethods != NULL) {
            (void)file->methods->pMethods->xClose(file->methods);
        }
        mem_free(file->methods);
        mem_free(file->path);
        mem_free(file);
        return ERR_IO;
    }
    *out = file;
    return OK;
}

enum err vfs_file_open_read(const char *path, struct vfs_file **out)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    ASSERT(vfs != NULL);
    int there = 0;
    int rc = vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &there);
    if (rc != SQLITE_OK) {
        return ERR_IO;
    }
    if (!there) {
        return ERR_NOT_FOUND;
    }
    return file_open(path, SQLITE_OPEN_READONLY | SQLITE_OPEN_SUPER_JOURNAL, out);
}

enum err vfs_file_open_write(const char *path, struct vfs_file **out)
{
    return file_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_SUPER_JOURNAL,
                     out);
}

void vfs_file_close(struct vfs_file **file)
{
    struct vfs_file *f = *file;
    *file = NULL;
    if (f == NULL) {
        return;
    }
    (void)f->methods->pMethods->xClose(f->methods);
    mem_free(f->methods);
    mem_free(f->path);
    mem_free(f);
}

enum err vfs_file_size(struct vfs_file *file, uint64_t *out)
{
    sqlite3_int64 size = 0;
    enum err error = io_error(file->methods->pMethods->xFileSize(file->methods, &size));
    if (error == OK) {
        *out = size < 0 ? 0 : (uint64_t)size;
    }
    return error;
}

/* SQLite asks its VFS for a database page at a time at most; the unix one cuts a greater count to its low 17 bits. */
#define VFS_PIECE_BYTES ((size_t)65536)

enum err vfs_file_read(struct vfs_file *file, uint64_t offset, void *out, size_t size)
{
    for (size_t at = 0; at < size; at += VFS_PIECE_BYTES) {
        size_t piece = size - at < VFS_PIECE_BYTES ? size - at : VFS_PIECE_BYTES;
        int rc = file->methods->pMethods->xRead(file->methods, (uint8_t *)out + at, (int)piece,
                                                (sqlite3_int64)offset + (sqlite3_int64)at);
        if (rc == SQLITE_IOERR_SHORT_READ) {
            return ERR_TRUNCATED;
        }
        if (rc != SQLITE_OK) {
            return io_error(rc);
        }
    }
    return OK;
}

enum err vfs_file_write(struct vfs_file *file, uint64_t offset, const void *data, size_t size)
{
    for (size_t at = 0; at < size; at += VFS_PIECE_BYTES) {
        size_t piece = size - at < VFS_PIECE_BYTES ? size - at : VFS_PIECE_BYTES;
        int rc =
            file->methods->pMethods->xWrite(file->methods, (const uint8_t *)data + at, (int)piece,
                                            (sqlite3_int64)offset + (sqlite3_int64)at);
        if (rc != SQLITE_OK) {
            return io_error(rc);
        }
    }
    return OK;
}

enum err vfs_file_sync(struct vfs_file *file)
{
    return io_error(
        file->methods->pMethods->xSync(file->methods, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY));
}

enum err vfs_file_exists(const char *path, bool *out)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    ASSERT(vfs != NULL);
    int there = 0;
    if (vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &there) != SQLITE_OK) {
        return ERR_IO;
    }
    *out = there != 0;
    return OK;
}

enum err vfs_file_remove(const char *path)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    ASSERT(vfs != NULL);
    int there = 0;
    int rc = vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &there);
    if (rc == SQLITE_OK && there) {
        rc = vfs->xDelete(vfs, path, 1);
    }
    return rc == SQLITE_IOERR_DELETE_NOENT ? OK : io_error(rc);
}

bool vfs_is_host(void)
{
    const sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    return vfs != NULL && strncmp(vfs->zName, "unix", 4) == 0;
}
