/* SPDX-License-Identifier: Apache-2.0 */
/* host_files.c: see host_files.h. Linux. */
#include "host_files.h"

#include "vfs_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LOCK_LINE_MAX       256
#define LOCK_LINE_COUNT_MAX 65536 /* lines of /proc/locks looked at */

/* Octets of the -shm that SQLite locks for its five read marks (its file format, "WAL-Index Locks"). */
#define SHM_READ_LOCK_FIRST 123
#define SHM_READ_LOCK_LAST  127

static enum err errno_error(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ERR_DISK_FULL : ERR_IO;
}

/* The folder a path lies in; free with mem_free. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return mem_strdup(".");
    }
    if (slash == path) {
        return mem_strdup("/");
    }
    size_t size = (size_t)(slash - path);
    char *folder = mem_zalloc(size + 1);
    memcpy(folder, path, size);
    return folder;
}

static enum err folder_sync_of(const char *path)
{
    enum err error = OK;
    char *folder = folder_of(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(folder);
    if (fd < 0) {
        return ERR_IO;
    }
    if (fsync(fd) != 0) {
        error = ERR_IO;
    }
    (void)close(fd);
    return error;
}

enum err host_folder_make(const char *path)
{
    if (!vfs_is_host()) {
        return OK;
    }
    if (mkdir(path, 0750) != 0) {
        struct stat there;
        if (errno == EEXIST && stat(path, &there) == 0 && S_ISDIR(there.st_mode)) {
            return OK;
        }
        return errno_error();
    }
    return folder_sync_of(path);
}

enum err host_link_make(const char *link_path, const char *target)
{
    if (!vfs_is_host()) {
        return OK;
    }
    struct stat there;
    if (lstat(link_path, &there) == 0) {
        if (!S_ISLNK(there.st_mode)) {
            return ERR_INVALID;
        }
        char now[256];
        ssize_t size = readlink(link_path, now, sizeof(now) - 1);
        if (size >= 0) {
            now[size] = '\0';
            if (strcmp(now, target) == 0) {
                return OK;
            }
        }
    }
    /* A new link under another name, then renamed over the old one: people always find one of both. */
    enum err error = OK;
    size_t next_size = strlen(link_path) + sizeof(".next");
    char *next = mem_alloc(next_size);
    (void)snprintf(next, next_size, "%s.next", link_path);
    (void)unlink(next);
    if (symlink(target, next) != 0 || rename(next, link_path) != 0) {
        error = errno_error();
    } else {
        error = folder_sync_of(link_path);
    }
    mem_free(next);
    return error;
}

enum err host_free_bytes(const char *folder, uint64_t *out)
{
    if (!vfs_is_host()) {
        *out = UINT64_MAX;
        return OK;
    }
    struct statvfs facts;
    if (statvfs(folder, &facts) != 0) {
        return ERR_IO;
    }
    *out = (uint64_t)facts.f_bavail * facts.f_frsize;
    return OK;
}

enum err host_reserve_size(const char *path, uint64_t *out)
{
    struct stat there;
    *out = 0;
    if (!vfs_is_host()) {
        return OK;
    }
    if (stat(path, &there) != 0) {
        return errno == ENOENT ? OK : ERR_IO;
    }
    *out = (uint64_t)there.st_size;
    return OK;
}

enum err host_reserve_set(const char *path, uint64_t bytes)
{
    if (!vfs_is_host()) {
        return OK;
    }
    if (bytes == 0) {
        return unlink(path) == 0 || errno == ENOENT ? OK : ERR_IO;
    }
    enum err error = OK;
    struct stat there;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        return errno_error();
    }
    if (fstat(fd, &there) != 0) {
        error = ERR_IO;
    } else if ((uint64_t)there.st_size > bytes) {
        error = ftruncate(fd, (off_t)bytes) == 0 ? OK : ERR_IO;
    } else {
        int failed = posix_fallocate(fd, 0, (off_t)bytes);
        if (failed != 0) {
            error = failed == ENOSPC || failed == EDQUOT ? ERR_DISK_FULL : ERR_IO;
            if (ftruncate(fd, there.st_size) != 0) {
                error = ERR_IO;
            }
        }
    }
    (void)close(fd);
    return error;
}

enum err host_inode(const char *path, uint64_t *inode)
{
    if (!vfs_is_host()) {
        *inode = 0;
        return OK;
    }
    struct stat there;
    if (stat(path, &there) != 0) {
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    *inode = (uint64_t)there.st_ino;
    return OK;
}

static void process_name(int64_t pid, char *out, size_t size)
{
    char path[64];
    out[0] = '\0';
    (void)snprintf(path, sizeof(path), "/proc/%" PRId64 "/comm", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    if (fgets(out, (int)size, file) == NULL) {
        out[0] = '\0';
    }
    out[strcspn(out, "\n")] = '\0';
    (void)fclose(file);
}

/* A line of /proc/locks: "1: POSIX  ADVISORY  READ 123 fe:01:4711 124 124". */
static bool line_names_reader(char *line, const struct stat *shm, int64_t *pid)
{
    char *fields[8];
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL && count < ARRAY_COUNT(fields);
         word = strtok_r(NULL, " \n", &rest)) {
        fields[count++] = word;
    }
    if (count < 8 || strcmp(fields[1], "POSIX") != 0 || strcmp(fields[3], "READ") != 0) {
        return false;
    }
    char *at = NULL;
    unsigned long device_major = strtoul(fields[5], &at, 16);
    if (*at != ':') {
        return false;
    }
    unsigned long device_minor = strtoul(at + 1, &at, 16);
    if (*at != ':') {
        return false;
    }
    unsigned long long inode = strtoull(at + 1, NULL, 10);
    if (device_major != major(shm->st_dev) || device_minor != minor(shm->st_dev) ||
        inode != (unsigned long long)shm->st_ino) {
        return false;
    }
    long first = strtol(fields[6], NULL, 10);
    long last = strtol(fields[7], &at, 10);
    if (*at != '\0' || last < SHM_READ_LOCK_FIRST || first > SHM_READ_LOCK_LAST) {
        return false;
    }
    *pid = strtoll(fields[4], NULL, 10);
    return true;
}

void host_find_reader(const char *shm_path, struct host_reader *out)
{
    memset(out, 0, sizeof(*out));
    struct stat shm;
    if (!vfs_is_host() || stat(shm_path, &shm) != 0) {
        return;
    }
    FILE *locks = fopen("/proc/locks", "re");
    if (locks == NULL) {
        return;
    }
    char line[LOCK_LINE_MAX];
    for (size_t i = 0; i < LOCK_LINE_COUNT_MAX && fgets(line, sizeof(line), locks) != NULL; i++) {
        int64_t pid = 0;
        if (!line_names_reader(line, &shm, &pid)) {
            continue;
        }
        out->pid = pid;
        out->self = pid == (int64_t)getpid();
        if (!out->self) {
            break;
        }
    }
    (void)fclose(locks);
    if (out->pid > 0) {
        process_name(out->pid, out->name, sizeof(out->name));
    }
}
