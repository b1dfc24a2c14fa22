/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data_dir.c: one process per data directory. A POSIX lock on holdfast.lock, because it says who holds it; the file is
 * opened once and never closed, since a close of any descriptor of it would give the lock up (trap 57 in small).
 */
#include "recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA_DIR_MODE  0750
#define LOCK_FILE_MODE 0640
#define LOCK_PATH_MAX  4096

enum err data_dir_take(const char *data_dir, bool make, char *problem, size_t problem_size)
{
    if (make && mkdir(data_dir, DATA_DIR_MODE) != 0 && errno != EEXIST) {
        (void)snprintf(problem, problem_size, "data_dir %s cannot be made: %s", data_dir,
                       strerrordesc_np(errno));
        return ERR_IO;
    }
    char path[LOCK_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/holdfast.lock", data_dir);
    int flags = O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0);
    int fd = openat(AT_FDCWD, path, flags, LOCK_FILE_MODE);
    if (fd < 0) {
        (void)snprintf(problem, problem_size, "%s cannot be opened: %s", path,
                       strerrordesc_np(errno));
        return ERR_IO;
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &lock) == 0) {
        return OK;
    }
    struct flock holder = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_GETLK, &holder) == 0 && holder.l_type != F_UNLCK) {
        (void)snprintf(problem, problem_size,
                       "data directory %s is used by process %ld; stop it first", data_dir,
                       (long)holder.l_pid);
    } else {
        (void)snprintf(problem, problem_size, "data directory %s is used by another process",
                       data_dir);
    }
    (void)close(fd);
    return ERR_BUSY_FILE;
}
