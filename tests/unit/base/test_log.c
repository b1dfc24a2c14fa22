/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows what a log line looks like: level filter, speaker, bound and no control characters; and how it
 * reaches stderr: one write per line, the journal's prefix only for the journal, partial writes and a
 * full non-blocking pipe. base.h, "log lines".
 */
#include "suite.h"

#include "base.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char line[4096];
static enum log_level line_level;
static size_t line_count;

static void catch_line(void *context, enum log_level level, const char *text, size_t size)
{
    CU_ASSERT_PTR_EQUAL(context, &line_count);
    CU_ASSERT_TRUE_FATAL(size < sizeof(line));
    memcpy(line, text, size);
    line[size] = '\0';
    line_level = level;
    line_count++;
}

static void set_up(void)
{
    line_count = 0;
    line[0] = '\0';
    log_set_sink(catch_line, &line_count);
    log_set_level(LOG_INFO);
    log_set_speaker(NULL);
}

static void tear_down(void)
{
    log_set_sink(NULL, NULL);
    log_set_level(LOG_INFO);
    log_set_speaker(NULL);
}

static void line_is_speaker_event_and_pairs(void)
{
    set_up();
    log_event(LOG_NOTICE, "became leader", "term=%d log=%d", 3, 17);
    CU_ASSERT_STRING_EQUAL(line, "became leader term=3 log=17");
    CU_ASSERT_EQUAL(line_level, LOG_NOTICE);
    log_set_speaker("n1/raft");
    log_event(LOG_WARNING, "became leader", "term=%d", 4);
    CU_ASSERT_STRING_EQUAL(line, "n1/raft: became leader term=4");
    log_event(LOG_INFO, "bare", "%s", "");
    CU_ASSERT_STRING_EQUAL(line, "n1/raft: bare ");
    tear_down();
}

static void levels_filter(void)
{
    set_up();
    log_set_level(LOG_WARNING);
    log_event(LOG_NOTICE, "no", "x=%d", 1);
    CU_ASSERT_EQUAL(line_count, 0);
    log_event(LOG_WARNING, "yes", "x=%d", 1);
    log_event(LOG_ERROR, "yes", "x=%d", 1);
    CU_ASSERT_EQUAL(line_count, 2);
    log_set_level(LOG_DEBUG);
    log_event(LOG_DEBUG, "yes", "x=%d", 1);
    CU_ASSERT_EQUAL(line_count, 3);
    tear_down();
}

static void long_lines_are_cut_and_marked(void)
{
    set_up();
    static char text[8192];
    memset(text, 'a', sizeof(text) - 1);
    log_event(LOG_INFO, "long", "x=%s", text);
    CU_ASSERT_TRUE(strlen(line) <= 2048 + 3);
    CU_ASSERT_STRING_EQUAL(line + strlen(line) - 4, "a...");
    log_event(LOG_INFO, text, "x=%d", 1);
    CU_ASSERT_TRUE(strlen(line) <= 2048 + 3);
    CU_ASSERT_STRING_EQUAL(line + strlen(line) - 4, "a...");
    /* every length around the bound */
    for (size_t size = 2030; size < 2060; size++) {
        text[size] = '\0';
        log_event(LOG_INFO, text, "x=%d", 1);
        CU_ASSERT_TRUE(strlen(line) >= 2030 && strlen(line) <= 2048 + 3);
        log_event(LOG_INFO, "e", "%s", text);
        CU_ASSERT_TRUE(strlen(line) >= 2030 && strlen(line) <= 2048 + 3);
        text[size] = 'a';
    }
    tear_down();
}

/* What a client put into a name can neither forge a line nor reach a terminal. */
static void control_characters_are_replaced(void)
{
    set_up();
    log_event(LOG_INFO, "event", "name=%s", "a\nb\rc\x1b[31md\te\x7f");
    CU_ASSERT_STRING_EQUAL(line, "event name=a?b?c?[31md?e?");
    tear_down();
}

static void *speak(void *argument)
{
    UNUSED(argument);
    log_event(LOG_INFO, "other", "x=%d", 1);
    return NULL;
}

static void speaker_is_the_threads_own(void)
{
    set_up();
    log_set_speaker("main");
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, speak, NULL), 0);
    pthread_join(thread, NULL);
    CU_ASSERT_STRING_EQUAL(line, "other x=1");
    log_event(LOG_INFO, "own", "x=%d", 1);
    CU_ASSERT_STRING_EQUAL(line, "main: own x=1");
    tear_down();
}

/* ---- stderr ------------------------------------------------------------------------------------- */

static int saved_stderr;

static void stderr_to(int fd)
{
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
}

static void stderr_back(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    unsetenv("JOURNAL_STREAM");
}

/* A packet pipe (O_DIRECT) keeps each write apart: one read is one write(2). */
static void each_line_is_one_write_with_a_time(void)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_DIRECT), 0);
    unsetenv("JOURNAL_STREAM");
    stderr_to(fds[1]);
    errno = EBADF;
    log_write_stderr(LOG_WARNING, "first", 5);
    int errno_after = errno;
    log_write_stderr(LOG_NOTICE, "second", 6);
    stderr_back();
    CU_ASSERT_EQUAL(errno_after, EBADF);
    char text[256];
    ssize_t size = read(fds[0], text, sizeof(text) - 1);
    CU_ASSERT_TRUE_FATAL(size > 0);
    text[size] = '\0';
    /* 2025-01-31T12:34:56.789Z warning first */
    const char *form = "dddd-dd-ddTdd:dd:dd.dddZ ";
    CU_ASSERT_TRUE_FATAL((size_t)size > strlen(form));
    for (size_t i = 0; form[i] != '\0'; i++) {
        CU_ASSERT_TRUE(form[i] == 'd' ? isdigit((unsigned char)text[i]) != 0 : text[i] == form[i]);
    }
    CU_ASSERT_STRING_EQUAL(text + strlen(form), "warning first\n");
    size = read(fds[0], text, sizeof(text) - 1);
    CU_ASSERT_TRUE_FATAL(size > 0);
    text[size] = '\0';
    CU_ASSERT_STRING_EQUAL(text + strlen(form), "notice second\n");
    close(fds[0]);
    close(fds[1]);
}

static void journal_gets_its_prefix_only_if_it_is_the_journal(void)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_DIRECT), 0);
    struct stat found;
    CU_ASSERT_EQUAL(fstat(fds[1], &found), 0);
    char stream[64], text[256];
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)found.st_dev, (uintmax_t)found.st_ino);
    stderr_to(fds[1]);
    setenv("JOURNAL_STREAM", stream, 1);
    log_write_stderr(LOG_ERROR, "to the journal", 14);
    setenv("JOURNAL_STREAM", "1:2", 1); /* inherited from a parent, stderr redirected since */
    log_write_stderr(LOG_ERROR, "not to it", 9);
    setenv("JOURNAL_STREAM", "", 1);
    log_write_stderr(LOG_ERROR, "nor so", 6);
    stderr_back();
    ssize_t size = read(fds[0], text, sizeof(text) - 1);
    text[size > 0 ? size : 0] = '\0';
    CU_ASSERT_STRING_EQUAL(text, "<3>to the journal\n");
    size = read(fds[0], text, sizeof(text) - 1);
    text[size > 0 ? size : 0] = '\0';
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "Z error not to it\n"));
    size = read(fds[0], text, sizeof(text) - 1);
    text[size > 0 ? size : 0] = '\0';
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "Z error nor so\n"));
    close(fds[0]);
    close(fds[1]);
}

#define LINES_THROUGH_A_FULL_PIPE 200

static void *drain(void *argument)
{
    int fd = *(int *)argument;
    char text[700]; /* no divisor of anything, so that lines arrive in pieces */
    size_t *total = mem_zalloc(2 * sizeof(*total));
    ssize_t got = 0;
    while ((got = read(fd, text, sizeof(text))) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            total[0] += text[i] == 'x';
            total[1] += text[i] == '\n';
        }
    }
    return total;
}

/* Whoever shares stderr may have made it non-blocking; a slow reader then costs no octet. */
static void full_non_blocking_pipe_loses_nothing(void)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    CU_ASSERT_TRUE(fcntl(fds[1], F_SETPIPE_SZ, 4096) > 0);
    CU_ASSERT_EQUAL(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    pthread_t reader;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&reader, NULL, drain, &fds[0]), 0);
    char text[2000];
    memset(text, 'x', sizeof(text));
    stderr_to(fds[1]);
    close(fds[1]);
    for (int i = 0; i < LINES_THROUGH_A_FULL_PIPE; i++) {
        log_write_stderr(LOG_INFO, text, sizeof(text));
    }
    stderr_back(); /* closes the last writing end */
    void *counted = NULL;
    pthread_join(reader, &counted);
    size_t *total = counted;
    CU_ASSERT_EQUAL(total[0], LINES_THROUGH_A_FULL_PIPE * sizeof(text));
    CU_ASSERT_EQUAL(total[1], LINES_THROUGH_A_FULL_PIPE);
    mem_free(total);
    close(fds[0]);
}

/* Nowhere to write to: the line is lost, the caller goes on. */
static void broken_stderr_is_survived(void)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    stderr_to(fd);
    log_write_stderr(LOG_INFO, "lost", 4);
    stderr_back();
    close(fd);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    stderr_to(fd);
    log_write_stderr(LOG_INFO, "lost", 4);
    stderr_back();
    close(fd);
}

static void overlong_line_is_cut_at_the_door(void)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    static char text[16384], got[16384];
    memset(text, 'x', sizeof(text));
    stderr_to(fds[1]);
    log_write_stderr(LOG_INFO, text, sizeof(text));
    stderr_back();
    close(fds[1]);
    ssize_t size = read(fds[0], got, sizeof(got));
    CU_ASSERT_TRUE(size > 2048 && size < 4096);
    CU_ASSERT_EQUAL(got[size - 1], '\n');
    close(fds[0]);
}

SUITE("base log", TEST(line_is_speaker_event_and_pairs), TEST(levels_filter),
      TEST(long_lines_are_cut_and_marked), TEST(control_characters_are_replaced),
      TEST(speaker_is_the_threads_own), TEST(each_line_is_one_write_with_a_time),
      TEST(journal_gets_its_prefix_only_if_it_is_the_journal),
      TEST(full_non_blocking_pipe_loses_nothing), TEST(broken_stderr_is_survived),
      TEST(overlong_line_is_cut_at_the_door))
