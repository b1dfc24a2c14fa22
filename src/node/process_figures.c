/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process_figures.c: see process_figures.h.
 */
#include "process_figures.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STAT_START_FIELD 20 /* of proc(5)'s fields behind the name: starttime, number 22 */
#define STAT_VSIZE_FIELD 21 /* vsize */
#define STAT_RSS_FIELD   22 /* rss, in pages */

/* The file's beginning, terminated; false if there is none. */
static bool read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = read(fd, out, size - 1);
    (void)close(fd);
    out[got > 0 ? got : 0] = 0;
    return got > 0;
}

/* Seconds since 1970 at which the machine started; negative: not known. */
static double boot_time_s(void)
{
    char text[16384];
    const char *at = read_file("/proc/stat", text, sizeof text) ? strstr(text, "\nbtime ") : NULL;
    return at != NULL ? strtod(at + strlen("\nbtime "), NULL) : -1;
}

static void read_stat(struct process_figures *out)
{
    char text[1024];
    if (!read_file("/proc/self/stat", text, sizeof text)) {
        return;
    }
    char *at = strrchr(text, ')'); /* the name may hold anything, blanks and brackets too */
    if (at == NULL) {
        return;
    }
    char *rest = NULL;
    size_t field = 1;
    for (char *word = strtok_r(at + 1, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        uint64_t value = strtoull(word, NULL, 10);
        if (field == STAT_START_FIELD) {
            double boot_s = boot_time_s();
            out->start_s = boot_s < 0 ? -1 : boot_s + (double)value / (double)sysconf(_SC_CLK_TCK);
        } else if (field == STAT_VSIZE_FIELD) {
            out->virtual_bytes = (int64_t)value;
        } else if (field == STAT_RSS_FIELD) {
            out->resident_bytes = (int64_t)value * sysconf(_SC_PAGESIZE);
        }
        field++;
    }
}

static int64_t count_descriptors(void)
{
    DIR *all = opendir("/proc/self/fd");
    int64_t count = -1;
    if (all == NULL) {
        return count;
    }
    /* ".", ".." and the one that looks are in it too; one thread reads a stream of its own */
    for (count = -3; readdir(all) != NULL; count++) {}
    (void)closedir(all);
    return count;
}

void process_figures_read(struct process_figures *out)
{
    struct rusage usage;
    struct rlimit limit;
    *out = (struct process_figures){.cpu_s = -1,
                                    .start_s = -1,
                                    .resident_bytes = -1,
                                    .virtual_bytes = -1,
                                    .open_fds = count_descriptors(),
                                    .max_fds = -1};
    read_stat(out);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        out->cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        out->max_fds = (int64_t)limit.rlim_cur;
    }
}
