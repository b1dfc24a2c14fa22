/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows what actor.h promises, on real threads: order of the handlers, batches and flushes, deadlines,
 * descriptors, stopping, and the end by actor_fatal. design.md §2; traps 9, 27 and 56.
 *
 * One probe actor is told by messages what to do and writes down what happened to it; the test reads
 * the notes after the join. Nothing waits for a time to pass but the deadlines themselves, whose only
 * claim is "not before".
 */
#include "suite.h"

#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANG_ALARM_SECONDS 600

/* ---- the probe ---------------------------------------------------------------------------------- */

enum probe_kind {
    PROBE_NOTE = 1, /* write down number and sender */
    PROBE_CALL,     /* call a function inside the actor */
    PROBE_FORWARD,  /* send on to `to` */
};

struct probe;

struct probe_message {
    struct msg base;
    uint64_t number;
    void (*call)(struct probe *p, uint64_t now_us);
    struct actor *to;
    struct actor *sender_expected;
    int *released;
};

#define NOTES_MAX 4096

struct probe {
    struct actor *actor;
    char notes[NOTES_MAX + 1]; /* a letter for each handler called */
    size_t note_count;
    uint64_t numbers[NOTES_MAX];
    struct actor *senders[NOTES_MAX];
    size_t number_count;
    size_t since_flush, group_sizes[64], group_count;
    uint64_t group_now_us;
    bool now_us_changed_in_group, now_us_fell, self_wrong, flushed_nothing;
    uint64_t last_now_us;

    void (*on_started)(struct probe *p, uint64_t now_us);
    void (*on_ready)(struct probe *p, int fd, void *tag, uint32_t events, uint64_t now_us);
    void (*on_expired)(struct probe *p, uint64_t now_us);
    void (*on_stop)(struct probe *p, uint64_t now_us);
    void (*on_note)(struct probe *p, uint64_t now_us);
    struct actor *echo; /* forwards to us, so that we may fall asleep in between */

    int fds[4];
    uint64_t deadline_us, expired_at_us;
    size_t ready_count, expired_count, stop_count, destroy_count_at_join;
    bool *destroyed;
    char thread_name[32];
    bool signals_blocked;
};

static void probe_note(struct probe *p, char letter, uint64_t now_us)
{
    if (p->note_count < NOTES_MAX) {
        p->notes[p->note_count++] = letter;
    }
    if (p->since_flush > 0 && p->group_now_us != now_us) {
        p->now_us_changed_in_group = true;
    }
    if (now_us < p->last_now_us) {
        p->now_us_fell = true;
    }
    if (actor_self() != p->actor) {
        p->self_wrong = true;
    }
    p->group_now_us = now_us;
    p->last_now_us = now_us;
    p->since_flush++;
}

static void probe_started(void *self, uint64_t now_us)
{
    struct probe *p = self;
    probe_note(p, 's', now_us);
    if (p->on_started != NULL) {
        p->on_started(p, now_us);
    }
}

static void probe_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct probe *p = self;
    struct probe_message *message = (struct probe_message *)m;
    probe_note(p, 'm', now_us);
    switch ((enum probe_kind)m->kind) {
    case PROBE_NOTE:
        if (p->number_count < NOTES_MAX) {
            p->numbers[p->number_count] = message->number;
            p->senders[p->number_count++] = m->from;
        }
        if (p->on_note != NULL) {
            p->on_note(p, now_us);
        }
        break;
    case PROBE_CALL:
        message->call(p, now_us);
        break;
    case PROBE_FORWARD:
        m->kind = PROBE_NOTE;
        ACTOR_SEND(message->to, message);
        return;
    }
    MSG_FREE(message);
}

static void probe_flush(void *self, uint64_t now_us)
{
    struct probe *p = self;
    /* Read anew, after everything that it answers was taken (trap 35). */
    if (now_us < p->last_now_us) {
        p->now_us_fell = true;
    }
    p->last_now_us = now_us;
    p->flushed_nothing = p->flushed_nothing || p->since_flush == 0;
    if (p->group_count < ARRAY_COUNT(p->group_sizes)) {
        p->group_sizes[p->group_count++] = p->since_flush;
    }
    p->since_flush = 0;
    if (p->note_count < NOTES_MAX) {
        p->notes[p->note_count++] = 'f';
    }
}

static void probe_ready(void *self, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    struct probe *p = self;
    probe_note(p, 'r', now_us);
    p->ready_count++;
    p->on_ready(p, fd, tag, events, now_us);
}

static void probe_expired(void *self, uint64_t now_us)
{
    struct probe *p = self;
    probe_note(p, 'e', now_us);
    p->expired_count++;
    p->expired_at_us = now_us;
    if (p->on_expired != NULL) {
        p->on_expired(p, now_us);
    }
}

static void probe_stop(void *self, uint64_t now_us)
{
    struct probe *p = self;
    probe_note(p, 'S', now_us);
    p->stop_count++;
    if (p->on_stop != NULL) {
        p->on_stop(p, now_us);
        return;
    }
    actor_stopped(p->actor);
}

static void probe_destroy(void *self)
{
    struct probe *p = self;
    *p->destroyed = true;
}

static const struct actor_ops probe_ops = {
    .started = probe_started,
    .handle = probe_handle,
    .flush = probe_flush,
    .ready = probe_ready,
    .expired = probe_expired,
    .stop = probe_stop,
    .destroy = probe_destroy,
};

/* The probe outlives its actor here, so that its notes can be read: destroy only says so. */
static struct probe *probe_create(bool *destroyed, const char *name)
{
    struct probe *p = mem_zalloc(sizeof(*p));
    *destroyed = false;
    p->destroyed = destroyed;
    p->actor = actor_create(&probe_ops, p, name);
    return p;
}

static void probe_release(struct msg *m)
{
    struct probe_message *message = (struct probe_message *)m;
    if (message->released != NULL) {
        (*message->released)++;
    }
}

static void send_number(struct actor *to, uint64_t number)
{
    struct probe_message *m = MSG_NEW(struct probe_message, PROBE_NOTE, probe_release);
    m->number = number;
    ACTOR_SEND(to, m);
}

static void send_call(struct actor *to, void (*call)(struct probe *p, uint64_t now_us))
{
    struct probe_message *m = MSG_NEW(struct probe_message, PROBE_CALL, probe_release);
    m->call = call;
    ACTOR_SEND(to, m);
}

/* What holds in every test. */
static void probe_end(struct probe *p, bool *destroyed)
{
    CU_ASSERT_FALSE(p->now_us_changed_in_group);
    CU_ASSERT_FALSE(p->now_us_fell);
    CU_ASSERT_FALSE(p->self_wrong);
    CU_ASSERT_FALSE(p->flushed_nothing);
    CU_ASSERT_FALSE(*destroyed);
    actor_destroy(p->actor);
    CU_ASSERT_TRUE(*destroyed);
    mem_free(p);
}

static void stop_and_join(struct probe *p)
{
    actor_stop(p->actor);
    actor_join(p->actor);
}

/* ---- messages ----------------------------------------------------------------------------------- */

static void started_comes_first_then_messages_in_order(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    for (uint64_t i = 0; i < 5; i++) { /* sent before it runs: they wait */
        send_number(p->actor, i);
    }
    actor_start(p->actor);
    for (uint64_t i = 5; i < 10; i++) {
        send_number(p->actor, i);
    }
    stop_and_join(p);
    CU_ASSERT_EQUAL(p->notes[0], 's');
    CU_ASSERT_EQUAL(p->number_count, 10);
    for (uint64_t i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(p->numbers[i], i);
        CU_ASSERT_PTR_NULL(p->senders[i]); /* from none of ours */
    }
    CU_ASSERT_PTR_NULL(actor_self());
    probe_end(p, &destroyed);
}

/* The flush contract: after at most ACTOR_BATCH_MAX messages, and after the inbox was found empty. */
static void batches_are_bounded_and_flushed(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    uint64_t count = 2 * ACTOR_BATCH_MAX + 10;
    for (uint64_t i = 0; i < count; i++) {
        send_number(p->actor, i);
    }
    actor_stop(p->actor);
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL_FATAL(p->group_count, 3);
    CU_ASSERT_EQUAL(p->group_sizes[0], ACTOR_BATCH_MAX + 1); /* `started` opens the first group */
    CU_ASSERT_EQUAL(p->group_sizes[1], ACTOR_BATCH_MAX);
    CU_ASSERT_EQUAL(p->group_sizes[2], 10 + 1); /* and `stop` is in the last */
    CU_ASSERT_EQUAL(p->notes[p->note_count - 1], 'f');
    probe_end(p, &destroyed);
}

static struct actor_figures seen_figures;

static void look_at_figures(struct probe *p, uint64_t now_us)
{
    UNUSED(now_us);
    actor_figures(p->actor, &seen_figures);
}

/* An actor can say what it has handled and what waits; a message sent by an actor has waited for a time
 * that is counted, one from outside has not. */
static void figures_are_counted(void)
{
    bool destroyed;
    bool other_destroyed;
    struct probe *p = probe_create(&destroyed, "counted");
    struct probe *other = probe_create(&other_destroyed, "other");
    struct probe_message *m = MSG_NEW(struct probe_message, PROBE_FORWARD, probe_release);
    m->to = p->actor;
    ACTOR_SEND(other->actor, m);
    actor_start(other->actor);
    stop_and_join(other); /* its message waits for the other now */
    send_number(p->actor, 1);
    send_call(p->actor, look_at_figures);
    send_number(p->actor, 2);
    actor_stop(p->actor);
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_STRING_EQUAL(seen_figures.name, "counted");
    CU_ASSERT_EQUAL(seen_figures.messages, 3);
    CU_ASSERT_EQUAL(seen_figures.queued, 2); /* a note and the stop */
    CU_ASSERT_EQUAL(seen_figures.wait_us.count, 1);
    probe_end(p, &destroyed);
    probe_end(other, &other_destroyed);
}

static void sender_is_named(void)
{
    bool first_destroyed, second_destroyed;
    struct probe *first = probe_create(&first_destroyed, "first");
    struct probe *second = probe_create(&second_destroyed, "second");
    actor_start(second->actor);
    actor_start(first->actor);
    struct probe_message *m = MSG_NEW(struct probe_message, PROBE_FORWARD, probe_release);
    m->number = 7;
    m->to = second->actor;
    ACTOR_SEND(first->actor, m);
    CU_ASSERT_PTR_NULL(m);
    stop_and_join(first);
    stop_and_join(second);
    CU_ASSERT_EQUAL_FATAL(second->number_count, 1);
    CU_ASSERT_EQUAL(second->numbers[0], 7);
    CU_ASSERT_PTR_EQUAL(second->senders[0], first->actor);
    probe_end(first, &first_destroyed);
    probe_end(second, &second_destroyed);
}

/* ---- stopping ----------------------------------------------------------------------------------- */

static void asking_twice_stops_once(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    actor_stop(p->actor);
    actor_stop(p->actor);
    actor_start(p->actor);
    actor_join(p->actor);
    actor_join(p->actor);
    actor_stop(p->actor);
    CU_ASSERT_EQUAL(p->stop_count, 1);
    CU_ASSERT_STRING_EQUAL(p->notes, "sSf");
    probe_end(p, &destroyed);
}

static void queued_messages_are_released_at_the_end(void)
{
    bool destroyed;
    int released = 0;
    struct probe *p = probe_create(&destroyed, "probe");
    for (int i = 0; i < 3; i++) {
        struct probe_message *m = MSG_NEW(struct probe_message, PROBE_NOTE, probe_release);
        m->released = &released;
        if (i == 1) {
            actor_stop(p->actor); /* one before the request, two behind it */
        }
        ACTOR_SEND(p->actor, m);
    }
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->number_count, 1);
    CU_ASSERT_EQUAL(released, 1);
    CU_ASSERT_FALSE(destroyed);
    actor_destroy(p->actor);
    CU_ASSERT_TRUE(destroyed);
    CU_ASSERT_EQUAL(released, 3);
    mem_free(p);
}

static void never_started_actor_releases_too(void)
{
    bool destroyed;
    int released = 0;
    struct probe *p = probe_create(&destroyed, "probe");
    struct probe_message *m = MSG_NEW(struct probe_message, PROBE_NOTE, probe_release);
    m->released = &released;
    ACTOR_SEND(p->actor, m);
    actor_stop(p->actor);
    actor_join(p->actor); /* nothing to wait for */
    actor_destroy(p->actor);
    CU_ASSERT_EQUAL(released, 1);
    CU_ASSERT_TRUE(destroyed);
    mem_free(p);
}

static void stop_later(struct probe *p, uint64_t now_us)
{
    actor_set_deadline(p->actor, now_us + 1000);
}

static void stopped_now(struct probe *p, uint64_t now_us)
{
    UNUSED(now_us);
    actor_stopped(p->actor);
}

/* An actor may finish what is under way: the thread ends when it says so, not when it was asked. */
static void stopping_may_take_its_time(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    p->on_stop = stop_later;
    p->on_expired = stopped_now;
    actor_start(p->actor);
    stop_and_join(p);
    CU_ASSERT_EQUAL(p->stop_count, 1);
    CU_ASSERT_EQUAL(p->expired_count, 1);
    CU_ASSERT_STRING_EQUAL(p->notes + p->note_count - 2, "ef");
    probe_end(p, &destroyed);
}

/* ---- deadlines ---------------------------------------------------------------------------------- */

static void set_deadline(struct probe *p, uint64_t now_us)
{
    p->deadline_us = now_us + 3000;
    actor_set_deadline(p->actor, p->deadline_us);
}

static void deadline_expires_once_and_not_before(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    p->on_started = set_deadline;
    p->on_expired = stopped_now;
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->expired_count, 1);
    CU_ASSERT_TRUE(p->expired_at_us >= p->deadline_us);
    probe_end(p, &destroyed);
}

static void deadline_moved_on(struct probe *p, uint64_t now_us)
{
    if (p->expired_count < 20) {
        /* later, then earlier than what the timer stands at; both must be kept */
        p->deadline_us = now_us + (p->expired_count % 2 == 0 ? 2000 : 100);
        actor_set_deadline(p->actor, now_us + 60000000);
        actor_set_deadline(p->actor, p->deadline_us);
        return;
    }
    actor_stopped(p->actor);
}

static void deadline_moves_both_ways(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    p->on_started = deadline_moved_on;
    p->on_expired = deadline_moved_on;
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->expired_count, 20);
    CU_ASSERT_TRUE(p->expired_at_us >= p->deadline_us);
    probe_end(p, &destroyed);
}

static void send_through_echo(struct probe *p)
{
    struct probe_message *m = MSG_NEW(struct probe_message, PROBE_FORWARD, probe_release);
    m->to = p->actor;
    ACTOR_SEND(p->echo, m);
}

#define AN_HOUR_US UINT64_C(3600000000)

static void deadline_in_an_hour(struct probe *p, uint64_t now_us)
{
    actor_set_deadline(p->actor, now_us + AN_HOUR_US);
    send_through_echo(p);
}

#define ROUND_TRIPS 100 /* in most of which the probe sleeps and sets its timer */

static void deadline_moved_by_a_note(struct probe *p, uint64_t now_us)
{
    if (p->number_count < ROUND_TRIPS) {
        send_through_echo(p);
        return;
    }
    if (p->expired_count == 0) { /* from an hour to now: the timer must be set anew */
        p->deadline_us = now_us + 2000;
    } else { /* from soon to a little later: the timer may fire for nothing, and must be set anew then */
        p->deadline_us += 3000;
    }
    actor_set_deadline(p->actor, p->deadline_us);
}

static void deadline_again_or_stopped(struct probe *p, uint64_t now_us)
{
    p->numbers[p->expired_count - 1] = (uint64_t)(now_us >= p->deadline_us);
    if (p->expired_count == 2) {
        actor_stopped(p->actor);
        return;
    }
    p->deadline_us = now_us + 2000;
    actor_set_deadline(p->actor, p->deadline_us);
    send_through_echo(p);
}

/* As above, but with the timer set by a sleep in between. A deadline that stays an hour away would be a
 * hang: that is what the alarm is for. */
static void deadline_moves_while_asleep(void)
{
    bool destroyed, echo_destroyed;
    alarm(HANG_ALARM_SECONDS);
    struct probe *echo = probe_create(&echo_destroyed, "echo");
    struct probe *p = probe_create(&destroyed, "probe");
    p->echo = echo->actor;
    p->on_started = deadline_in_an_hour;
    p->on_note = deadline_moved_by_a_note;
    p->on_expired = deadline_again_or_stopped;
    actor_start(echo->actor);
    actor_start(p->actor);
    actor_join(p->actor);
    stop_and_join(echo);
    alarm(0);
    CU_ASSERT_EQUAL(p->expired_count, 2);
    CU_ASSERT_EQUAL(p->numbers[0], 1);
    CU_ASSERT_EQUAL(p->numbers[1], 1);
    probe_end(p, &destroyed);
    probe_end(echo, &echo_destroyed);
}

static int status_of_child(void (*child)(void), int stderr_fd)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(stderr_fd, STDERR_FILENO);
        child();
        _exit(0);
    }
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

#define SUSPENDED_S    100000
#define NO_TIMES_APART 77

/* In a time namespace where the clock that counts suspend is far ahead of the one that does not, as after a suspend:
 * the actors' clock is the former. */
static void child_after_a_suspend(void)
{
    struct timespec now;
    char text[64];
    int file = unshare(CLONE_NEWTIME) == 0 ? open("/proc/self/timens_offsets", O_WRONLY) : -1;
    int size = snprintf(text, sizeof(text), "boottime %d 0\n", SUSPENDED_S);
    if (file < 0 || write(file, text, (size_t)size) != size) {
        _exit(NO_TIMES_APART);
    }
    close(file);
    pid_t pid = fork(); /* who unshares is not in it, who is born afterwards is */
    if (pid == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t other_us = (uint64_t)now.tv_sec * 1000000;
        _exit(actor_stopwatch_us() >= other_us + SUSPENDED_S * UINT64_C(1000000) ? 0 : 1);
    }
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

/* Traps 9 and 35: deadlines count the time in suspend. A suspend cannot be had here, but the kernel says on which clock a
 * timer runs, and may set the clocks apart. */
static void deadlines_run_on_the_clock_that_counts_suspend(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    size_t timers = 0, on_boottime = 0;
    for (int fd = 0; fd < 256; fd++) {
        char path[64], text[1024];
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        FILE *file = fopen(path, "re");
        if (file == NULL) {
            continue;
        }
        size_t size = fread(text, 1, sizeof(text) - 1, file);
        text[size] = '\0';
        fclose(file);
        char expected[32];
        snprintf(expected, sizeof(expected), "clockid: %d\n", CLOCK_BOOTTIME);
        timers += strstr(text, "clockid: ") != NULL;
        on_boottime += strstr(text, expected) != NULL;
    }
    CU_ASSERT_EQUAL(timers, 1);
    CU_ASSERT_EQUAL(on_boottime, 1);
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t before_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    uint64_t stopwatch_us = actor_stopwatch_us();
    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t after_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    CU_ASSERT_TRUE(before_us <= stopwatch_us);
    CU_ASSERT_TRUE(stopwatch_us <= after_us);
    probe_end(p, &destroyed);
    int status = status_of_child(child_after_a_suspend, STDERR_FILENO);
    CU_ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_TIMES_APART) {
        fputs("\n    (time namespaces are not allowed here)", stdout);
    } else {
        CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    }
}

static void cleared_then_set_again(struct probe *p, uint64_t now_us)
{
    actor_set_deadline(p->actor, now_us + 500);
    actor_set_deadline(p->actor, UINT64_MAX);
    send_call(p->actor, set_deadline);
}

static void cleared_deadline_does_not_expire(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    p->on_started = cleared_then_set_again;
    p->on_expired = stopped_now;
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->expired_count, 1);
    CU_ASSERT_TRUE(p->expired_at_us >= p->deadline_us);
    probe_end(p, &destroyed);
}

/* A deadline that lies in the past already is met in the next round; zero too. */
static void past_deadline(struct probe *p, uint64_t now_us)
{
    actor_set_deadline(p->actor, p->expired_count == 0 ? 0 : now_us);
    if (p->expired_count == 2) {
        actor_stopped(p->actor);
    }
}

static void past_deadline_is_met_at_once(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    p->on_started = past_deadline;
    p->on_expired = past_deadline;
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->expired_count, 2);
    probe_end(p, &destroyed);
}

/* The inbox never runs empty, the deadline is met all the same. */
static void keep_busy(struct probe *p, uint64_t now_us)
{
    UNUSED(now_us);
    if (p->expired_count == 0) {
        send_call(p->actor, keep_busy);
    }
}

static void busy_from_the_start(struct probe *p, uint64_t now_us)
{
    set_deadline(p, now_us);
    for (int i = 0; i < 2 * ACTOR_BATCH_MAX; i++) {
        send_call(p->actor, keep_busy);
    }
}

static void deadline_is_met_under_load(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    p->on_started = busy_from_the_start;
    actor_start(p->actor);
    actor_stop(p->actor); /* asked at once, handled in its turn among the load */
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->stop_count, 1);
    probe_end(p, &destroyed);

    p = probe_create(&destroyed, "probe");
    p->on_started = busy_from_the_start;
    p->on_expired = stopped_now;
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->expired_count, 1);
    probe_end(p, &destroyed);
}

/* ---- descriptors -------------------------------------------------------------------------------- */

static char tag_first, tag_second, tag_new;

static void watch_first(struct probe *p, uint64_t now_us)
{
    UNUSED(now_us);
    actor_watch(p->actor, p->fds[0], EPOLLIN, &tag_first);
}

static void read_one_then_stop(struct probe *p, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    UNUSED(now_us);
    char octet = 0;
    ssize_t got = read(fd, &octet, 1);
    if (fd == p->fds[0] && tag == &tag_first && (events & EPOLLIN) != 0 && got == 1 &&
        octet == 'x') {
        p->numbers[0] = 1;
    }
    actor_unwatch(p->actor, fd);
    actor_stopped(p->actor);
}

static void readable_descriptor_is_reported_to_a_sleeper(void)
{
    bool destroyed;
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    struct probe *p = probe_create(&destroyed, "probe");
    p->fds[0] = fds[0];
    p->on_started = watch_first;
    p->on_ready = read_one_then_stop;
    actor_start(p->actor);
    CU_ASSERT_EQUAL(write(fds[1], "x", 1), 1);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->ready_count, 1);
    CU_ASSERT_EQUAL(p->numbers[0], 1);
    close(fds[0]);
    close(fds[1]);
    probe_end(p, &destroyed);
}

/* Messages that never end must not starve the descriptors. */
static void watch_and_keep_busy(struct probe *p, uint64_t now_us)
{
    watch_first(p, now_us);
    for (int i = 0; i < 2 * ACTOR_BATCH_MAX; i++) {
        send_call(p->actor, keep_busy);
    }
}

static void readable_descriptor_is_reported_under_load(void)
{
    bool destroyed;
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    struct probe *p = probe_create(&destroyed, "probe");
    p->fds[0] = fds[0];
    p->on_started = watch_and_keep_busy;
    p->on_ready = read_one_then_stop;
    actor_start(p->actor);
    CU_ASSERT_EQUAL(write(fds[1], "x", 1), 1);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->numbers[0], 1);
    close(fds[0]);
    close(fds[1]);
    probe_end(p, &destroyed);
}

static void watch_two(struct probe *p, uint64_t now_us)
{
    UNUSED(now_us);
    actor_watch(p->actor, p->fds[0], EPOLLIN, &tag_first);
    actor_watch(p->actor, p->fds[1], EPOLLIN, &tag_second);
}

/* Both descriptors are in one report. Whoever comes first closes the other, whose number is then a
 * fresh, silent pipe: the report's second half must not reach it. */
static void replace_the_other(struct probe *p, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    UNUSED(now_us);
    UNUSED(events);
    if (tag == &tag_new) {
        p->numbers[1]++;
        actor_stopped(p->actor);
        return;
    }
    int other = fd == p->fds[0] ? p->fds[1] : p->fds[0];
    actor_unwatch(p->actor, fd);
    actor_unwatch(p->actor, other);
    p->numbers[0] = (uint64_t)(dup2(p->fds[2], other) == other); /* closes and takes its number */
    actor_watch(p->actor, other, EPOLLIN, &tag_new);
    p->fds[3] = other;
    send_call(p->actor, stopped_now);
}

static void stale_report_is_not_believed(void)
{
    bool destroyed;
    int first[2], second[2], silent[2];
    CU_ASSERT_EQUAL_FATAL(pipe(first), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(second), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(silent), 0);
    CU_ASSERT_EQUAL(write(first[1], "x", 1), 1);
    CU_ASSERT_EQUAL(write(second[1], "x", 1), 1);
    struct probe *p = probe_create(&destroyed, "probe");
    p->fds[0] = first[0];
    p->fds[1] = second[0];
    p->fds[2] = silent[0];
    p->on_started = watch_two;
    p->on_ready = replace_the_other;
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->numbers[0], 1);
    CU_ASSERT_EQUAL(p->numbers[1], 0);
    CU_ASSERT_EQUAL(p->ready_count, 1);
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
        close(silent[i]);
    }
    probe_end(p, &destroyed);
}

static void watch_for_room(struct probe *p, uint64_t now_us)
{
    UNUSED(now_us);
    actor_watch(p->actor, p->fds[1], 0, &tag_first);
    actor_rewatch(p->actor, p->fds[1], EPOLLOUT, &tag_second);
}

static void note_room(struct probe *p, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    UNUSED(now_us);
    p->numbers[0] = (uint64_t)(tag == &tag_second && (events & EPOLLOUT) != 0);
    actor_unwatch(p->actor, fd);
    actor_stopped(p->actor);
}

static void rewatch_changes_events_and_tag(void)
{
    bool destroyed;
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    struct probe *p = probe_create(&destroyed, "probe");
    p->fds[1] = fds[1];
    p->on_started = watch_for_room;
    p->on_ready = note_room;
    actor_start(p->actor);
    actor_join(p->actor);
    CU_ASSERT_EQUAL(p->numbers[0], 1);
    close(fds[0]);
    close(fds[1]);
    probe_end(p, &destroyed);
}

/* ---- the thread --------------------------------------------------------------------------------- */

static void look_at_own_thread(struct probe *p, uint64_t now_us)
{
    UNUSED(now_us);
    sigset_t mask;
    pthread_getname_np(pthread_self(), p->thread_name, sizeof(p->thread_name));
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    p->signals_blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1 &&
                         sigismember(&mask, SIGHUP) == 1 && sigismember(&mask, SIGPIPE) == 1 &&
                         sigismember(&mask, SIGSEGV) == 0;
    log_event(LOG_NOTICE, "probe speaks", "number=%d", 1);
    uint64_t before_us = actor_stopwatch_us();
    p->numbers[0] = (uint64_t)(actor_stopwatch_us() >= before_us && before_us >= now_us);
}

static char sink_line[256];

static void catch_line(void *context, enum log_level level, const char *line, size_t size)
{
    UNUSED(context);
    UNUSED(level);
    snprintf(sink_line, sizeof(sink_line), "%.*s", (int)size, line);
}

static void thread_has_name_speaker_and_no_signals(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "peer-with-a-long-name");
    p->on_started = look_at_own_thread;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    log_set_sink(catch_line, NULL);
    actor_start(p->actor);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    stop_and_join(p);
    log_set_sink(NULL, NULL);
    CU_ASSERT_STRING_EQUAL(p->thread_name, "peer-with-a-lon");
    CU_ASSERT_TRUE(p->signals_blocked);
    CU_ASSERT_EQUAL(p->numbers[0], 1);
    CU_ASSERT_STRING_EQUAL(sink_line, "peer-with-a-long-name: probe speaks number=1");
    CU_ASSERT_EQUAL(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    probe_end(p, &destroyed);
}

/* ---- the end of the process --------------------------------------------------------------------- */

/* Runs `child` with stderr at `stderr_fd`; returns its wait status. */
static void at_exit_marker(void)
{
    fputs("atexit ran", stderr);
}

static void child_ends_fatally(void)
{
    atexit(at_exit_marker); /* must not run: nothing is flushed */
    actor_fatal(EXIT_CODE_DISK, "raft.db cannot be written", "disk I/O error");
}

static void fatal_logs_and_ends_with_the_code(void)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    int status = status_of_child(child_ends_fatally, fds[1]);
    close(fds[1]);
    char text[1024];
    ssize_t size = read(fds[0], text, sizeof(text) - 1);
    text[size > 0 ? size : 0] = '\0';
    close(fds[0]);
    CU_ASSERT_TRUE(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), EXIT_CODE_DISK);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(text, "raft.db cannot be written exit_code=74 detail=\"disk I/O error\"\n"));
    CU_ASSERT_PTR_NULL(strstr(text, "atexit ran"));
}

/* Trap 27's cousin: nobody reads the other end of stderr, and the process ends all the same. */
static void fatal_ends_with_a_stuck_stderr(void)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    int flags = fcntl(fds[1], F_GETFL);
    fcntl(fds[1], F_SETFL, flags | O_NONBLOCK);
    char filler[4096];
    memset(filler, '.', sizeof(filler));
    while (write(fds[1], filler, sizeof(filler)) > 0) {}
    fcntl(fds[1], F_SETFL, flags);
    int status = status_of_child(child_ends_fatally, fds[1]);
    CU_ASSERT_TRUE(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), EXIT_CODE_DISK);
    close(fds[0]);
    close(fds[1]);
}

static void child_watches_as_a_stranger(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    actor_watch(p->actor, STDIN_FILENO, EPOLLIN, NULL);
}

static void child_sets_a_deadline_as_a_stranger(void)
{
    bool destroyed;
    struct probe *p = probe_create(&destroyed, "probe");
    actor_set_deadline(p->actor, 1);
}

static void strangers_are_refused(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int status = status_of_child(child_watches_as_a_stranger, nowhere);
    CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = status_of_child(child_sets_a_deadline_as_a_stranger, nowhere);
    CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    close(nowhere);
}

SUITE("actor", TEST(started_comes_first_then_messages_in_order),
      TEST(batches_are_bounded_and_flushed), TEST(sender_is_named), TEST(figures_are_counted),
      TEST(asking_twice_stops_once), TEST(queued_messages_are_released_at_the_end),
      TEST(never_started_actor_releases_too), TEST(stopping_may_take_its_time),
      TEST(deadline_expires_once_and_not_before), TEST(deadline_moves_both_ways),
      TEST(deadline_moves_while_asleep), TEST(deadlines_run_on_the_clock_that_counts_suspend),
      TEST(cleared_deadline_does_not_expire), TEST(past_deadline_is_met_at_once),
      TEST(deadline_is_met_under_load), TEST(readable_descriptor_is_reported_to_a_sleeper),
      TEST(readable_descriptor_is_reported_under_load), TEST(stale_report_is_not_believed),
      TEST(rewatch_changes_events_and_tag), TEST(thread_has_name_speaker_and_no_signals),
      TEST(fatal_logs_and_ends_with_the_code), TEST(fatal_ends_with_a_stuck_stderr),
      TEST(strangers_are_refused))
