/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actor.c: the runner of actors: one pthread each. It takes messages, looks at descriptors, minds the
 * deadline, calls the handlers, and sleeps when there is nothing to do. It is the only reader of the
 * monotonic clock in the process; tests/sim replaces this file by a scheduler of one thread.
 *
 * One round of the loop
 *   1. read the clock; everything in this round up to the flush happens at that `now_us`
 *   2. handle up to ACTOR_BATCH_MAX messages
 *   3. ready descriptors: those the last sleep reported, else a look that does not wait
 *   4. the deadline, if it has passed
 *   5. flush, if anything was called; at a time read after everything was taken that it answers, so that what
 *      holds by the clock (a leader's lease) held when it was asked, however long the thread was stopped
 *   6. sleep, unless the batch was full; the inbox's protocol (inbox.h, promise 5) guards the gap
 *
 * The clock is CLOCK_BOOTTIME: it goes on in suspend, so a node that wakes up knows how long it was
 * gone (traps 9 and 35). The deadline is therefore kept by a timerfd on the same clock, not by
 * epoll's timeout: that one counts without suspend and, but for the newest kernels, in milliseconds.
 *
 * Invariants
 *  1. All fields behind `inbox` and `stop_asked` belong to the actor's thread between start and join.
 *  2. Wake eventfd and timerfd are edge-triggered and never read: each write and each expiry is one
 *     edge, and what it announces is looked at in the round that follows anyway.
 *  3. A descriptor's report is believed only if its generation is that of the newest actor_watch: an
 *     earlier handler of the same report may have closed the descriptor and got the number again.
 *  4. Whoever sends to an actor stops sending before it is destroyed (main stops and joins all, then
 *     destroys all): a producer touches the inbox after its message is already visible.
 */
#include "actor.h"
#include "inbox.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define ACTOR_NAME_MAX     63
#define THREAD_NAME_MAX    15 /* the kernel's limit */
#define ACTOR_EVENTS_MAX   128
#define LAST_WORDS_MAX     1024
#define LAST_WORDS_WAIT_MS 100

#define KIND_STOP UINT32_MAX /* the runner's own; never handed to a handler */

/* epoll's 64 bits: the two descriptors of our own, or generation and number of a watched one. */
#define EVENT_WAKE  UINT64_MAX
#define EVENT_TIMER (UINT64_MAX - 1)

struct watch {
    void *tag;
    uint32_t generation; /* counts the watches of this descriptor number */
    bool watched;
};

struct actor {
    struct inbox inbox;
    _Atomic(bool) stop_asked;

    const struct actor_ops *ops;
    void *self;
    char name[ACTOR_NAME_MAX + 1];
    pthread_t thread;
    bool started, joined; /* of the thread that starts and joins */

    bool stopped;       /* the actor said so */
    bool called;        /* a handler ran in this round, so flush is due */
    struct msg *parked; /* found by the last look before sleeping; first of the next round */
    struct msg
        stop_request; /* queued by actor_stop; part of the actor, so stopping needs no memory */

    int wake_fd, timer_fd, epoll_fd;
    uint64_t deadline_us; /* UINT64_MAX: none */
    uint64_t armed_us; /* what the timerfd stands at; never later than an unmet deadline in sleep */

    struct watch *watches; /* by descriptor number */
    size_t watch_capacity;
    size_t watched_count;
    struct epoll_event events[ACTOR_EVENTS_MAX];
    int event_count; /* reported by the last sleep and not yet looked at */

    uint64_t known_us; /* the latest time this thread has read: what messages are stamped with */
    struct actor_figures figures; /* all but `queued` */
};

static _Thread_local struct actor *current_actor = NULL;

/* ---- clock -------------------------------------------------------------------------------------- */

static uint64_t clock_now_us(void)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_BOOTTIME, &now);
    ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t actor_stopwatch_us(void)
{
    uint64_t now_us = clock_now_us();
    if (current_actor != NULL) {
        current_actor->known_us =
            now_us; /* what is sent behind a long fsync was not sent before it */
    }
    return now_us;
}

void actor_figures(struct actor *a, struct actor_figures *out)
{
    ASSERT(a == current_actor);
    *out = a->figures;
    (void)snprintf(out->name, sizeof(out->name), "%s", a->name);
    out->queued = inbox_count(&a->inbox, ACTOR_QUEUED_COUNT_MAX) + (a->parked != NULL ? 1 : 0);
}

/* ---- fatal -------------------------------------------------------------------------------------- */

void actor_fatal(enum exit_code code, const char *event, const char *detail)
{
    /* Straight to stderr, since a line given to the logger actor would die with it. But whoever reads
     * the other end may be stuck, and ending now matters more than saying why. */
    struct pollfd stderr_room = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&stderr_room, 1, LAST_WORDS_WAIT_MS) == 1 && (stderr_room.revents & POLLOUT) != 0) {
        char line[LAST_WORDS_MAX];
        int length = snprintf(line, sizeof(line), "%s: %s exit_code=%d detail=\"%s\"",
                              current_actor != NULL ? current_actor->name : "main", event,
                              (int)code, detail != NULL ? detail : "");
        size_t size = length < 0 ? 0 : (size_t)length;
        log_write_stderr(LOG_ERROR, line, size < sizeof(line) ? size : sizeof(line) - 1);
    }
    _exit((int)code);
}

/* A system call that fails only when the machine is out of something we need in order to live. */
NO_RETURN static void fatal_errno(const char *event)
{
    char text[128];
    actor_fatal(EXIT_CODE_FAILURE, event, strerror_r(errno, text, sizeof(text)));
}

/* ---- life --------------------------------------------------------------------------------------- */

static void watch_own(struct actor *a, int fd, uint64_t data)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.u64 = data}};
    if (epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        fatal_errno("cannot make an actor");
    }
}

struct actor *actor_create(const struct actor_ops *ops, void *self, const char *name)
{
    ASSERT(ops->handle != NULL);
    ASSERT(ops->stop != NULL);
    struct actor *a = mem_zalloc(sizeof(*a));
    inbox_init(&a->inbox);
    atomic_init(&a->stop_asked, false);
    a->ops = ops;
    a->self = self;
    snprintf(a->name, sizeof(a->name), "%s", name);
    a->stop_request.kind = KIND_STOP;
    a->deadline_us = UINT64_MAX;
    a->armed_us = UINT64_MAX;

    a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    a->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (a->wake_fd < 0 || a->timer_fd < 0 || a->epoll_fd < 0) {
        fatal_errno("cannot make an actor");
    }
    watch_own(a, a->wake_fd, EVENT_WAKE);
    watch_own(a, a->timer_fd, EVENT_TIMER);
    return a;
}

static void *actor_run(void *argument);

void actor_start(struct actor *a)
{
    ASSERT(!a->started);
    a->started = true;

    /* The new thread inherits the mask, so it never has a moment in which it could take a signal that
     * main waits for. What a thread's own mistake raises must stay deliverable. */
    sigset_t blocked, before;
    sigfillset(&blocked);
    static const int own_mistakes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    for (size_t i = 0; i < ARRAY_COUNT(own_mistakes); i++) {
        sigdelset(&blocked, own_mistakes[i]);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int failed = pthread_create(&a->thread, NULL, actor_run, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        errno = failed;
        fatal_errno("cannot start a thread");
    }
}

/* True if it was asked before. Relaxed: only the first of several askers matters, the request itself
 * travels through the inbox. */
static bool stop_was_asked(struct actor *a)
{
    return atomic_exchange_explicit(&a->stop_asked, true, memory_order_relaxed);
}

static void wake(struct actor *a)
{
    uint64_t one = 1;
    ssize_t written = 0;
    /* Ends: an eventfd write of one fails only if interrupted, or after 2^64 wake-ups. */
    do {
        written = write(a->wake_fd, &one, sizeof(one));
    } while (written < 0 && errno == EINTR);
    ASSERT(written == (ssize_t)sizeof(one));
}

void actor_stop(struct actor *a)
{
    if (!stop_was_asked(a) && inbox_push(&a->inbox, &a->stop_request)) {
        wake(a);
    }
}

void actor_join(struct actor *a)
{
    if (!a->started || a->joined) {
        return;
    }
    int failed = pthread_join(a->thread, NULL);
    ASSERT(failed == 0);
    a->joined = true;
}

static void message_discard(struct actor *a, struct msg *m)
{
    if (m != &a->stop_request) {
        msg_free_base(&m);
    }
}

void actor_destroy(struct actor *a)
{
    if (a == NULL) {
        return;
    }
    ASSERT(!a->started || a->joined);
    if (a->parked != NULL) {
        message_discard(a, a->parked);
    }
    struct msg *m = NULL;
    while ((m = inbox_take(&a->inbox)) != NULL) {
        message_discard(a, m);
    }
    if (a->ops->destroy != NULL) {
        a->ops->destroy(a->self);
    }
    close(a->epoll_fd);
    close(a->timer_fd);
    close(a->wake_fd);
    mem_free(a->watches);
    mem_free(a);
}

/* ---- sending ------------------------------------------------------------------------------------ */

void actor_send_base(struct actor *to, struct msg **m)
{
    struct msg *sent = *m;
    *m = NULL;
    sent->from = current_actor;
    sent->sent_us = current_actor != NULL ? current_actor->known_us : 0;
    if (inbox_push(&to->inbox, sent)) {
        wake(to);
    }
}

struct actor *actor_self(void)
{
    return current_actor;
}

/* ---- descriptors -------------------------------------------------------------------------------- */

static void watch_control(struct actor *a, int operation, int fd, uint32_t events)
{
    uint64_t data = (uint64_t)a->watches[fd].generation << 32 | (uint32_t)fd;
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    if (epoll_ctl(a->epoll_fd, operation, fd, &event) == 0) {
        return;
    }
    if (errno == ENOMEM || errno == ENOSPC) {
        fatal_errno("cannot watch a descriptor");
    }
    assert_failed("ASSERT", "epoll_ctl takes the descriptor", __FILE__, __LINE__);
}

static bool is_watched(const struct actor *a, int fd)
{
    return fd >= 0 && (size_t)fd < a->watch_capacity && a->watches[fd].watched;
}

void actor_watch(struct actor *a, int fd, uint32_t events, void *tag)
{
    ASSERT(a == current_actor);
    ASSERT(a->ops->ready != NULL);
    ASSERT(fd >= 0);
    ASSERT(!is_watched(a, fd));
    size_t capacity_before = a->watch_capacity;
    ARRAY_RESERVE(a->watches, a->watch_capacity, (size_t)fd + 1);
    for (size_t i = capacity_before; i < a->watch_capacity; i++) {
        a->watches[i] = (struct watch){.tag = NULL, .generation = 0, .watched = false};
    }
    /* Below 2^31, so that neither of our own two descriptors' marks is ever formed. */
    uint32_t generation = (a->watches[fd].generation + 1) & INT32_MAX;
    a->watches[fd] = (struct watch){.tag = tag, .generation = generation, .watched = true};
    watch_control(a, EPOLL_CTL_ADD, fd, events);
    a->watched_count++;
}

void actor_rewatch(struct actor *a, int fd, uint32_t events, void *tag)
{
    ASSERT(a == current_actor);
    ASSERT(is_watched(a, fd));
    a->watches[fd].tag = tag;
    watch_control(a, EPOLL_CTL_MOD, fd, events);
}

void actor_unwatch(struct actor *a, int fd)
{
    ASSERT(a == current_actor);
    ASSERT(is_watched(a, fd));
    watch_control(a, EPOLL_CTL_DEL, fd, 0);
    a->watches[fd].watched = false;
    a->watches[fd].tag = NULL;
    a->watched_count--;
}

void actor_set_deadline(struct actor *a, uint64_t at_us)
{
    ASSERT(a == current_actor);
    ASSERT(a->ops->expired != NULL);
    a->deadline_us = at_us;
}

void actor_stopped(struct actor *a)
{
    ASSERT(a == current_actor);
    a->stopped = true;
}

/* ---- the loop ----------------------------------------------------------------------------------- */

static void handle_one(struct actor *a, struct msg *m, uint64_t now_us)
{
    a->called = true;
    if (m == &a->stop_request) {
        a->ops->stop(a->self, now_us);
    } else {
        a->figures.messages++;
        if (m->sent_us != 0) { /* a message may have come after this round's time was read */
            histogram_add(&a->figures.wait_us, now_us > m->sent_us ? now_us - m->sent_us : 0,
                          HISTOGRAM_TIMES);
        }
        a->ops->handle(a->self, m, now_us);
    }
}

/* Returns true if the batch was full, so that the inbox may hold more. */
static bool handle_messages(struct actor *a, uint64_t now_us)
{
    for (int handled = 0; handled < ACTOR_BATCH_MAX; handled++) {
        if (a->stopped) {
            return false;
        }
        struct msg *m = a->parked;
        if (m != NULL) {
            a->parked = NULL;
        } else {
            m = inbox_take(&a->inbox);
        }
        if (m == NULL) {
            return false;
        }
        handle_one(a, m, now_us);
    }
    return true;
}

/* Wait for descriptors, our own two among them; -1 waits for ever, 0 only looks. */
static void collect_events(struct actor *a, int timeout_ms)
{
    int count = epoll_wait(a->epoll_fd, a->events, ACTOR_EVENTS_MAX, timeout_ms);
    /* Signals are blocked, but a debugger or a stop and continue interrupts all the same: an empty round
     * does no harm. Anything else is a broken epoll descriptor. */
    ASSERT(count >= 0 || errno == EINTR);
    a->event_count = count > 0 ? count : 0;
}

static void handle_events(struct actor *a, uint64_t now_us)
{
    for (int i = 0; i < a->event_count && !a->stopped; i++) {
        uint64_t data = a->events[i].data.u64;
        if (data == EVENT_WAKE) {
            continue; /* the messages are looked at anyway */
        }
        if (data == EVENT_TIMER) {
            a->armed_us = UINT64_MAX; /* so is the deadline */
            continue;
        }
        int fd = (int)(uint32_t)data;
        if (!is_watched(a, fd) || a->watches[fd].generation != (uint32_t)(data >> 32)) {
            continue; /* forgotten by a handler before us in this report (invariant 3) */
        }
        a->called = true;
        a->ops->ready(a->self, fd, a->watches[fd].tag, a->events[i].events, now_us);
    }
    a->event_count = 0;
}

/* Make the timerfd expire no later than the deadline. It may stand earlier, for a deadline since moved
 * or cleared: that wakes us once for nothing, and spares a system call for each deadline that is pushed
 * on before it is due, as most are. */
static void arm_timer(struct actor *a)
{
    if (a->deadline_us >= a->armed_us) {
        return;
    }
    uint64_t at_us = a->deadline_us > 0 ? a->deadline_us : 1; /* zero would disarm */
    struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(at_us / 1000000),
                     .tv_nsec = (long)(at_us % 1000000) * 1000},
    };
    int failed = timerfd_settime(a->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    ASSERT(failed == 0);
    a->armed_us = a->deadline_us;
}

static void sleep_until_something(struct actor *a)
{
    a->parked = inbox_park(&a->inbox);
    if (a->parked != NULL) {
        return;
    }
    arm_timer(a);
    collect_events(a, -1);
    inbox_unpark(&a->inbox);
}

static void actor_loop(struct actor *a)
{
    uint64_t now_us = clock_now_us();
    a->known_us = now_us;
    if (a->ops->started != NULL) {
        a->called = true;
        a->ops->started(a->self, now_us);
    }
    /* Ends with actor_stopped. */
    for (;;) {
        bool more = handle_messages(a, now_us);
        if (a->event_count == 0 && a->watched_count > 0 && !a->stopped) {
            collect_events(a, 0);
        }
        handle_events(a, now_us);
        if (a->deadline_us <= now_us && !a->stopped) {
            a->deadline_us = UINT64_MAX;
            a->called = true;
            a->ops->expired(a->self, now_us);
        }
        if (a->called && a->ops->flush != NULL) {
            a->ops->flush(a->self, clock_now_us());
        }
        if (a->called) {
            a->figures.rounds++;
            a->figures.busy_us += clock_now_us() - now_us;
        }
        a->called = false;
        if (a->stopped) {
            return;
        }
        if (!more) {
            sleep_until_something(a);
        }
        now_us = clock_now_us();
        a->known_us = now_us;
    }
}

static void *actor_run(void *argument)
{
    struct actor *a = argument;
    char thread_name[THREAD_NAME_MAX + 1];
    snprintf(thread_name, sizeof(thread_name), "%.*s", THREAD_NAME_MAX, a->name);
    pthread_setname_np(pthread_self(), thread_name); /* for people with `top -H`; may fail */
    log_set_speaker(a->name);
    current_actor = a;
    actor_loop(a);
    current_actor = NULL;
    log_set_speaker(NULL);
    return NULL;
}
