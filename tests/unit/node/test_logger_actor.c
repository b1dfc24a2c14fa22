/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_logger_actor.c: shows with a real pipe for stderr that a reader who has stopped reading stops
 * nobody but the logger (trap 27), that what was dropped meanwhile is counted and said, and that the
 * logger can be stopped all the same. A guard that fails here shows as a test that never ends.
 * (src/node/logger_actor.c)
 */
#include "witness.h"
#include "node/node.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

#define LINES_MAX LOGGER_LINES_MAX

/* Our stderr is a pipe for the time of a test. */
struct rig {
    int kept_stderr, read_fd;
    struct actor *logger;
    char *text; /* what was read from the pipe */
    size_t size, capacity;
    size_t filler;
};

static void set_up(struct rig *rig)
{
    int fds[2];
    memset(rig, 0, sizeof(*rig));
    (void)signal(SIGPIPE, SIG_IGN); /* as main does */
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    rig->kept_stderr = dup(STDERR_FILENO);
    CU_ASSERT_EQUAL_FATAL(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    close(fds[1]);
    rig->read_fd = fds[0];
    rig->logger = logger_actor_create();
    logger_install(rig->logger);
    actor_start(rig->logger);
}

static void tear_down(struct rig *rig)
{
    logger_uninstall();
    actor_destroy(rig->logger);
    CU_ASSERT_EQUAL(dup2(rig->kept_stderr, STDERR_FILENO), STDERR_FILENO);
    close(rig->kept_stderr);
    if (rig->read_fd >= 0) {
        close(rig->read_fd);
    }
    mem_free(rig->text);
}

/* Nobody reads any more: the pipe is full. */
static void fill_pipe(struct rig *rig)
{
    static const char filler[4096] = {0};
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    CU_ASSERT_EQUAL(fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
    size_t size = sizeof(filler);
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, filler, size);
        if (written < 0) {
            size /= 2; /* down to the last octet */
        } else {
            rig->filler += (size_t)written;
        }
    }
    CU_ASSERT_EQUAL(fcntl(STDERR_FILENO, F_SETFL, flags), 0);
}

static size_t count_of(const struct rig *rig, const char *part)
{
    size_t count = 0;
    const char *at = rig->text;
    while (at != NULL && (at = strstr(at, part)) != NULL) {
        at++;
        count++;
    }
    return count;
}

/* Read from the pipe, behind the filler, until `part` has come `count` times. */
static void read_until(struct rig *rig, const char *part, size_t count)
{
    while (count_of(rig, part) < count) {
        struct pollfd ready = {.fd = rig->read_fd, .events = POLLIN};
        CU_ASSERT_EQUAL_FATAL(poll(&ready, 1, WITNESS_PATIENCE_MS), 1);
        char octets[65536];
        ssize_t came = read(rig->read_fd, octets, sizeof(octets));
        CU_ASSERT_FATAL(came > 0);
        size_t skipped = rig->filler < (size_t)came ? rig->filler : (size_t)came;
        rig->filler -= skipped;
        size_t size = (size_t)came - skipped;
        ARRAY_RESERVE(rig->text, rig->capacity, rig->size + size + 1);
        memcpy(rig->text + rig->size, octets + skipped, size);
        rig->size += size;
        rig->text[rig->size] = '\0';
    }
}

static void lines_arrive_in_order(void)
{
    struct rig rig;
    set_up(&rig);
    for (int i = 0; i < 1000; i++) {
        log_event(LOG_NOTICE, "line", "number=%04d.", i);
    }
    read_until(&rig, "number=0999.", 1);
    const char *at = rig.text;
    for (int i = 0; i < 1000 && at != NULL; i++) {
        char part[32];
        snprintf(part, sizeof(part), "line number=%04d.\n", i);
        at = strstr(at, part);
        CU_ASSERT_PTR_NOT_NULL(at);
    }
    CU_ASSERT_EQUAL(count_of(&rig, "\n"), 1000);
    actor_stop(rig.logger);
    actor_join(rig.logger);
    tear_down(&rig);
}

/* Trap 27. The senders go on, a bounded number of lines waits, the rest is counted and said. */
static void stuck_pipe_stops_nobody(void)
{
    struct rig rig;
    set_up(&rig);
    fill_pipe(&rig);
    for (int i = 0; i < LINES_MAX + 1500; i++) {
        log_event(LOG_NOTICE, "line", "number=%05d.", i); /* returns */
    }
    read_until(&rig, "log lines dropped", 1);
    read_until(&rig, "number=", LINES_MAX);
    CU_ASSERT_EQUAL(count_of(&rig, "number="), LINES_MAX);
    CU_ASSERT_EQUAL(count_of(&rig, "log lines dropped count=1500\n"), 1);
    CU_ASSERT_EQUAL(count_of(&rig, "number=04095."), 1);
    CU_ASSERT_EQUAL(count_of(&rig, "number=04096."), 0);

    /* There is room again: nothing more is dropped, and nothing is reported twice. */
    for (int i = 0; i < LINES_MAX; i++) {
        log_event(LOG_NOTICE, "after", "number=%05d.", i);
        if (i % 1000 == 0) { /* the reader keeps up */
            read_until(&rig, "after", (size_t)i + 1);
        }
    }
    read_until(&rig, "after", LINES_MAX);
    CU_ASSERT_EQUAL(count_of(&rig, "log lines dropped"), 1);
    actor_stop(rig.logger);
    actor_join(rig.logger);
    tear_down(&rig);
}

static void stop_writes_what_waits(void)
{
    struct rig rig;
    set_up(&rig);
    for (int i = 0; i < 300; i++) {
        log_event(LOG_NOTICE, "line", "number=%d.", i);
    }
    actor_stop(rig.logger);
    actor_join(rig.logger);
    logger_uninstall();
    log_event(LOG_NOTICE, "last words", "said=directly");
    read_until(&rig, "last words said=directly", 1);
    CU_ASSERT_EQUAL(count_of(&rig, "line number="), 300);
    tear_down(&rig);
}

static void stop_with_a_stuck_pipe_ends(void)
{
    struct rig rig;
    set_up(&rig);
    fill_pipe(&rig);
    for (int i = 0; i < 600; i++) {
        log_event(LOG_NOTICE, "line", "number=%d.", i);
    }
    actor_stop(rig.logger);
    actor_join(rig.logger); /* returns */
    tear_down(&rig);
}

/* The reader is gone altogether: writing fails, nobody waits, nobody dies. */
static void broken_pipe(void)
{
    struct rig rig;
    set_up(&rig);
    close(rig.read_fd);
    rig.read_fd = -1;
    for (int i = 0; i < 2 * LINES_MAX; i++) {
        log_event(LOG_NOTICE, "line", "number=%d.", i);
    }
    actor_stop(rig.logger);
    actor_join(rig.logger);
    tear_down(&rig);
}

/* A regular file, which epoll would refuse, works like the rest. */
static void file_for_stderr(void)
{
    struct rig rig;
    char path[] = "/tmp/holdfast-logger-XXXXXX";
    set_up(&rig);
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    for (int i = 0; i < 500; i++) {
        log_event(LOG_NOTICE, "line", "number=%d.", i);
    }
    actor_stop(rig.logger);
    actor_join(rig.logger);
    char octets[65536] = "";
    ssize_t size = pread(fd, octets, sizeof(octets) - 1, 0);
    CU_ASSERT_TRUE(size > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(octets, "line number=499.\n"));
    close(fd);
    unlink(path);
    tear_down(&rig);
}

/* ---- several threads log at once ---------------------------------------------------------------- */

#define TALKERS      3
#define TALKER_LINES 1000

static void talker_handle(void *self, struct msg *m, uint64_t now_us)
{
    (void)self;
    (void)now_us;
    for (int i = 0; i < TALKER_LINES; i++) {
        log_event(LOG_NOTICE, "talk", "number=%d.", i);
    }
    msg_free_base(&m);
}

static void many_senders(void)
{
    static const struct actor_ops ops = {.handle = talker_handle, .stop = witness_stop_handler};
    struct rig rig;
    struct actor *talkers[TALKERS];
    set_up(&rig);
    fill_pipe(&rig);
    for (int i = 0; i < TALKERS; i++) {
        char name[24];
        snprintf(name, sizeof(name), "talker%d", i);
        talkers[i] = actor_create(&ops, NULL, name);
        struct tick *go = MSG_NEW(struct tick, 1, NULL);
        ACTOR_SEND(talkers[i], go);
        actor_start(talkers[i]);
    }
    for (int i = 0; i < TALKERS; i++) {
        end_actor(talkers[i]); /* none of them waits for the pipe */
    }
    read_until(&rig, "talk", TALKERS * TALKER_LINES * 2); /* "talkerN: talk": two each */
    for (int i = 0; i < TALKERS; i++) {
        char part[24];
        snprintf(part, sizeof(part), "talker%d: talk", i);
        CU_ASSERT_EQUAL(count_of(&rig, part), TALKER_LINES);
    }
    CU_ASSERT_EQUAL(count_of(&rig, "dropped"), 0);
    actor_stop(rig.logger);
    actor_join(rig.logger);
    tear_down(&rig);
}

static void never_started(void)
{
    struct actor *logger = logger_actor_create();
    logger_install(logger);
    log_event(LOG_NOTICE, "line", "lost=1");
    logger_uninstall();
    actor_destroy(logger); /* frees the lines and the sink */
}

SUITE("logger actor", TEST(lines_arrive_in_order), TEST(stuck_pipe_stops_nobody),
      TEST(stop_writes_what_waits), TEST(stop_with_a_stuck_pipe_ends), TEST(broken_pipe),
      TEST(file_for_stderr), TEST(many_senders), TEST(never_started))
