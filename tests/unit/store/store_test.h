/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_test.h: what the store's tests share: a data directory that goes away, persists in one call,
 * copies of the files of a DEAD process, and SQL as a person would run it from another process.
 *
 * Descriptors of database files are opened and closed here only while no connection of this process has
 * the file open (trap 57); what needs a living file is done in a child or by the sqlite3 program.
 */
#ifndef HOLDFAST_STORE_TEST_H
#define HOLDFAST_STORE_TEST_H

#include "store.h"
#include "suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_PATH_MAX    512
#define TEST_PROBLEM_MAX 512
#define TEST_FILE_MAX    (64 << 20)

static const struct kv_meta kv_empty = {.revision = 1};

/* ---- folders ----------------------------------------------------------------------------------- */

static inline void test_folder_make(char out[TEST_PATH_MAX])
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(out, TEST_PATH_MAX, "%.400s/holdfast-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(out) == NULL) {
        perror(out);
        abort();
    }
}

/* Two levels are enough: data_dir/group-<g>/. */
static inline void test_folder_empty(const char *folder, int depth)
{
    DIR *d = opendir(folder);
    if (d == NULL) {
        return;
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        char path[2 * TEST_PATH_MAX + 256];
        (void)snprintf(path, sizeof(path), "%.1000s/%s", folder, e->d_name);
        if (e->d_type == DT_DIR && depth == 0) {
            test_folder_empty(path, 1);
            (void)rmdir(path);
        } else {
            (void)unlink(path);
        }
    }
    (void)closedir(d);
}

static inline void test_folder_remove(const char *folder)
{
    test_folder_empty(folder, 0);
    (void)rmdir(folder);
}

/* ---- whole files of dead processes ------------------------------------------------------------- */

static inline bool test_file_read(const char *folder, const char *name, struct bytes *out)
{
    char path[2 * TEST_PATH_MAX + 256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    struct stat status;
    bool good = fstat(fd, &status) == 0 && status.st_size <= TEST_FILE_MAX;
    if (good) {
        out->size = (size_t)status.st_size;
        out->data = mem_alloc(out->size);
        good = read(fd, out->data, out->size) == (ssize_t)out->size;
    }
    (void)close(fd);
    return good;
}

static inline void test_file_write(const char *folder, const char *name, struct view content)
{
    char path[2 * TEST_PATH_MAX + 256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, content.data, content.size) != (ssize_t)content.size) {
        perror(path);
        abort();
    }
    (void)close(fd);
}

/* raft.db, raft.db-wal and raft.mark as a dead process left them. */
struct test_files {
    struct bytes db, wal, mark;
};

static inline void test_files_read(const char *folder, struct test_files *out)
{
    memset(out, 0, sizeof(*out));
    if (!test_file_read(folder, "raft.db", &out->db) ||
        !test_file_read(folder, "raft.mark", &out->mark)) {
        abort();
    }
    (void)test_file_read(folder, "raft.db-wal", &out->wal);
}

/* Put them into an emptied folder; without a -shm, as after a restart of the machine. */
static inline void test_files_write(const char *folder, const struct test_files *from)
{
    test_folder_empty(folder, 0);
    test_file_write(folder, "raft.db", bytes_view(&from->db));
    test_file_write(folder, "raft.mark", bytes_view(&from->mark));
    if (from->wal.size > 0) {
        test_file_write(folder, "raft.db-wal", bytes_view(&from->wal));
    }
}

static inline void test_files_free(struct test_files *files)
{
    bytes_free(&files->db);
    bytes_free(&files->wal);
    bytes_free(&files->mark);
}

/* ---- the log ----------------------------------------------------------------------------------- */

static inline struct log_db *test_log_open(const char *folder)
{
    char problem[TEST_PROBLEM_MAX] = "";
    struct log_db *db = NULL;
    enum err error = log_db_open(folder, "demo", "n1", 42, &db, problem, sizeof(problem));
    if (error != OK) {
        (void)fprintf(stderr, "log_db_open: %s: %s\n", err_text(error), problem);
        return NULL;
    }
    return db;
}

/* Entries first..last of a term, each with `size` octets that depend on its index. */
static inline struct entries *test_entries(uint64_t first, uint64_t last, uint64_t term,
                                           size_t size)
{
    size_t count = (size_t)(last - first + 1);
    struct entries *block = entries_create(count, count * size);
    uint8_t *data = mem_alloc(size);
    for (uint64_t i = first; i <= last; i++) {
        for (size_t k = 0; k < size; k++) {
            data[k] = (uint8_t)(i * 31 + k);
        }
        struct entry e = {.index = i,
                          .term = term,
                          .origin = UINT64_C(0xfedcba9876543210),
                          .request_id = i + 1000,
                          .type = ENTRY_COMMAND,
                          .data = view_of(data, size)};
        entries_add(block, &e);
    }
    mem_free(data);
    return block;
}

/* One persist in one commit; entries is freed. */
static inline enum err test_persist(struct log_db *db, uint64_t sequence, uint64_t term,
                                    uint64_t vote, uint64_t truncate_from, struct entries *entries)
{
    struct raft_persist persist = {.sequence = sequence,
                                   .current_term = term,
                                   .voted_for = vote,
                                   .truncate_from = truncate_from,
                                   .entries = entries};
    enum err error = log_db_begin(db);
    if (error == OK) {
        error = log_db_persist(db, 0, &persist);
        enum err committed = log_db_commit(db);
        error = error == OK ? committed : error;
    }
    entries_free(&entries);
    return error;
}

/* ---- other processes --------------------------------------------------------------------------- */

/* Run SQL in a process of its own, as a person would; true if the program ended well. The output's
 * first line goes to `out` (out_size octets) if not NULL. */
static inline bool test_sqlite3(const char *options, const char *path, const char *sql, char *out,
                                size_t out_size)
{
    char command[4096];
    (void)snprintf(command, sizeof(command), "sqlite3 %s '%s' \"%s\" 2>&1", options, path, sql);
    FILE *pipe = popen(command, "re");
    if (pipe == NULL) {
        return false;
    }
    char line[1024] = "";
    bool first = true;
    if (out != NULL) {
        out[0] = '\0';
    }
    while (fgets(line, sizeof(line), pipe) != NULL) {
        if (first && out != NULL) {
            (void)snprintf(out, out_size, "%.*s", (int)out_size - 1, line);
            out[strcspn(out, "\n")] = '\0';
        }
        first = false;
    }
    return pclose(pipe) == 0;
}

/* A person with an open sqlite3 session. */
struct test_person {
    pid_t pid;
    int to, from;
};

static inline void test_person_start(struct test_person *p, const char *options, const char *path)
{
    char command[2 * TEST_PATH_MAX];
    int to[2];
    int from[2];
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        abort();
    }
    (void)snprintf(command, sizeof(command), "exec sqlite3 -bail %s '%.900s'", options, path);
    p->pid = fork();
    if (p->pid == 0) {
        (void)dup2(to[0], 0);
        (void)dup2(from[1], 1);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    p->to = to[1];
    p->from = from[0];
}

/* Lines for the session; returns when they are done, false if the session ended with an error. */
static inline bool test_person_say(struct test_person *p, const char *lines)
{
    char text[1024];
    char answer[4096] = "";
    size_t have = 0;
    int size = snprintf(text, sizeof(text), "%s\n.print said-and-done\n", lines);
    if (write(p->to, text, (size_t)size) != (ssize_t)size) {
        return false;
    }
    while (strstr(answer, "said-and-done") == NULL) {
        ssize_t more = read(p->from, answer + have, sizeof(answer) - 1 - have);
        if (more <= 0) {
            return false;
        }
        have += (size_t)more;
        answer[have] = '\0';
        if (have > sizeof(answer) / 2) {
            memmove(answer, answer + have - 32, 33);
            have = 32;
        }
    }
    return true;
}

/* .quit, and wait; true if it ended well. */
static inline bool test_person_quit(struct test_person *p)
{
    int status = 0;
    bool written = write(p->to, ".quit\n", 6) == 6;
    (void)close(p->to);
    (void)close(p->from);
    return written && waitpid(p->pid, &status, 0) == p->pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

#endif
