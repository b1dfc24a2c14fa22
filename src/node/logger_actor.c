/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logger_actor.c: log lines in, stderr out; the one place that waits for whoever reads our stderr
 * (trap 27: a stuck pipe must not stop consensus). Senders never wait: a line costs them a message,
 * and beyond LOGGER_LINES_MAX unwritten lines they drop it and count it.
 *
 * stderr may be shared with our parent, so it cannot be made non-blocking; and epoll refuses regular
 * files. So the logger asks poll() for room before each line, waits there at most
 * LOGGER_WAIT_MS at a time, and between two waits looks at its inbox: that is how a request to stop
 * reaches a logger whose pipe is stuck. A pipe with room takes a whole line (lines are shorter than
 * PIPE_BUF), so the write behind a successful poll does not block.
 *
 * Deliberately not here: files, rotation, filtering. Format and level are src/base/log.c's.
 *
 * Invariants
 *  1. Unwritten lines are never more than LOGGER_LINES_MAX: each holds a credit from its sender's
 *     log_event until it is written.
 *  2. Every dropped line is counted, and the count is written once there is room again.
 *  3. Stopping ends within LOGGER_STOP_PATIENCE_MS, whatever happens to stderr.
 */
#include "node.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOGGER_WAIT_MS          100
#define LOGGER_STOP_PATIENCE_MS 1000
#define US_PER_MS               1000

/* What the sending threads touch: made by logger_install, owned by the logger. */
struct logger_sink {
    struct actor *logger;
    struct credits *lines; /* one per line on its way */
    struct credits *drops; /* one taken per dropped line; never given back: a counter */
};

struct logger_sink_message {
    struct msg base;
    struct logger_sink *sink; /* moved */
};

struct logger {
    struct logger_sink *sink; /* NULL until installed */
    struct logger_line **lines;
    size_t first, count; /* lines[first .. first + count) wait to be written */
    size_t capacity;
    uint64_t drops_reported;
    bool stopping, stopped;
    uint64_t give_up_us; /* while stopping */
};

/* ---- the senders' side ------------------------------------------------------------------------- */

static void sink_free(struct logger_sink *sink)
{
    if (sink != NULL) {
        credits_destroy(sink->lines);
        credits_destroy(sink->drops);
        mem_free(sink);
    }
}

static void release_sink(struct msg *m)
{
    sink_free(((struct logger_sink_message *)m)->sink);
}

/* Runs on whatever thread logs. */
static void sink_line(void *context, enum log_level level, const char *line, size_t size)
{
    struct logger_sink *sink = context;
    if (!credits_take(sink->lines, 1)) {
        /* Never short: nobody drops 2^64 lines. */
        (void)credits_take(sink->drops, 1);
        return;
    }
    struct logger_line *m = msg_new(sizeof(*m) + size, LOGGER_LINE, NULL);
    m->level = level;
    m->size = size;
    memcpy(m->text, line, size);
    ACTOR_SEND(sink->logger, m);
}

void logger_install(struct actor *logger)
{
    struct logger_sink *sink = mem_zalloc(sizeof(*sink));
    sink->logger = logger;
    sink->lines = credits_create(LOGGER_LINES_MAX);
    sink->drops = credits_create(UINT64_MAX);
    struct logger_sink_message *m = MSG_NEW(struct logger_sink_message, LOGGER_SINK, release_sink);
    m->sink = sink;
    ACTOR_SEND(logger, m);
    log_set_sink(sink_line, sink);
}

void logger_uninstall(void)
{
    log_set_sink(NULL, NULL);
}

/* ---- writing ----------------------------------------------------------------------------------- */

/* Waits for room at most once per round, whose mark `waited` is: a reader that takes a line now and
 * then must not keep us from our inbox. */
static bool stderr_has_room(bool *waited)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    /* An error or a hang-up counts as room: the write then fails at once and nobody waits. */
    if (poll(&room, 1, 0) > 0) {
        return true;
    }
    if (*waited) {
        return false;
    }
    *waited = true;
    return poll(&room, 1, LOGGER_WAIT_MS) > 0;
}

/* Write what waits. False if stderr took no more. */
static bool write_lines(struct logger *l, bool *waited)
{
    while (l->count > 0) {
        if (!stderr_has_room(waited)) {
            return false;
        }
        struct logger_line *line = l->lines[l->first];
        log_write_stderr(line->level, line->text, line->size);
        MSG_FREE(line);
        l->first++;
        l->count--;
        if (l->sink != NULL) {
            credits_give(l->sink->lines, 1);
        }
    }
    l->first = 0;
    return true;
}

static bool write_drops(struct logger *l, bool *waited)
{
    uint64_t drops = l->sink != NULL ? UINT64_MAX - credits_left(l->sink->drops) : 0;
    if (drops == l->drops_reported) {
        return true;
    }
    if (!stderr_has_room(waited)) {
        return false;
    }
    char text[96];
    int length = snprintf(text, sizeof(text), "logger: log lines dropped count=%" PRIu64,
                          drops - l->drops_reported);
    ASSERT(length > 0);
    log_write_stderr(LOG_WARNING, text, (size_t)length);
    l->drops_reported = drops;
    return true;
}

/* ---- handlers ---------------------------------------------------------------------------------- */

static void logger_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct logger *l = self;
    UNUSED(now_us);
    switch ((enum logger_kind)m->kind) {
    case LOGGER_LINE:
        if (l->first > 0 && l->first + l->count == l->capacity) {
            memmove(l->lines, l->lines + l->first, l->count * sizeof(l->lines[0]));
            l->first = 0;
        }
        ARRAY_RESERVE(l->lines, l->capacity, l->first + l->count + 1);
        l->lines[l->first + l->count++] = (struct logger_line *)m;
        return;
    case LOGGER_SINK: {
        struct logger_sink_message *installed = (struct logger_sink_message *)m;
        ASSERT(l->sink == NULL);
        l->sink = installed->sink;
        installed->sink = NULL;
        MSG_FREE(installed);
        return;
    }
    }
    assert_failed("ASSERT", "a kind of message the logger knows", __FILE__, __LINE__);
}

static void logger_flush(void *self, uint64_t now_us)
{
    struct logger *l = self;
    if (l->stopped) {
        return;
    }
    bool waited = false;
    bool written = write_lines(l, &waited) && write_drops(l, &waited);
    if (l->stopping && (written || now_us >= l->give_up_us)) {
        l->stopped = true;
        actor_stopped(actor_self());
        return;
    }
    /* Stuck: go round at once; the wait was in poll(). */
    actor_set_deadline(actor_self(), written ? UINT64_MAX : now_us);
}

/* Only wakes the loop; the work is in flush. */
static void logger_expired(void *self, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
}

static void logger_stop(void *self, uint64_t now_us)
{
    struct logger *l = self;
    l->stopping = true;
    l->give_up_us = now_us + (uint64_t)LOGGER_STOP_PATIENCE_MS * US_PER_MS;
}

static void logger_destroy(void *self)
{
    struct logger *l = self;
    for (size_t i = 0; i < l->count; i++) {
        MSG_FREE(l->lines[l->first + i]);
    }
    mem_free(l->lines);
    sink_free(l->sink);
    mem_free(l);
}

struct actor *logger_actor_create(void)
{
    static const struct actor_ops ops = {
        .handle = logger_handle,
        .flush = logger_flush,
        .expired = logger_expired,
        .stop = logger_stop,
        .destroy = logger_destroy,
    };
    return actor_create(&ops, mem_zalloc(sizeof(struct logger)), "logger");
}
