/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c: one line per event. In flow an event and its key=value text from any thread; out flows one
 * finished line to the sink, which by default writes it to stderr in a single write(2), so that lines
 * of several threads never mix.
 *
 * Deliberately not here: queues and threads (the logger actor is a sink), files, rotation, syslog.
 * The service manager keeps the lines.
 *
 * Invariants
 *  1. A line is at most LOG_LINE_MAX octets and holds no control character: what a client or a peer
 *     put into a name can neither forge a second line nor reach a terminal.
 *  2. Sink and level are set before the first thread starts and only read afterwards. The speaker is
 *     the thread's own.
 *  3. The wall clock is read here and only for the text a person reads; nothing decides on it.
 */
#include "base.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_PREFIX_MAX 64

static void default_sink(void *context, enum log_level level, const char *line, size_t size)
{
    UNUSED(context);
    log_write_stderr(level, line, size);
}

static log_sink_fn *log_sink = default_sink;
static void *log_sink_context = NULL;
static enum log_level log_level_most = LOG_INFO;
static _Thread_local const char *log_speaker = NULL;

void log_set_sink(log_sink_fn *sink, void *context)
{
    log_sink = sink != NULL ? sink : default_sink;
    log_sink_context = context;
}

void log_set_level(enum log_level most_verbose)
{
    log_level_most = most_verbose;
}

void log_set_speaker(const char *speaker)
{
    log_speaker = speaker;
}

/* What snprintf would have written, cut to what it could write into `room` octets. */
static size_t written_of(int length, size_t room)
{
    if (length < 0 || room == 0) {
        return 0;
    }
    return (size_t)length < room ? (size_t)length : room - 1;
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    if (level > log_level_most) {
        return;
    }
    static const char cut_mark[] = "...";
    char line[LOG_LINE_MAX + sizeof(cut_mark)];
    size_t size = 0;
    bool cut = false;

    int length = log_speaker != NULL ? snprintf(line, LOG_LINE_MAX, "%s: %s", log_speaker, event)
                                     : snprintf(line, LOG_LINE_MAX, "%s", event);
    cut = length >= LOG_LINE_MAX;
    size = written_of(length, LOG_LINE_MAX);
    if (!cut && format != NULL && format[0] != '\0') {
        line[size++] = ' ';
        size_t room = LOG_LINE_MAX - size;
        if (room > 0) {
            va_list arguments;
            va_start(arguments, format);
            length = vsnprintf(line + size, room, format, arguments);
            va_end(arguments);
            cut = length >= 0 && (size_t)length >= room;
            size += written_of(length, room);
        }
    }
    if (cut) { /* the mark's room was set apart above */
        memcpy(line + size, cut_mark, sizeof(cut_mark) - 1);
        size += sizeof(cut_mark) - 1;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char octet = (unsigned char)line[i];
        if (octet < 0x20 || octet == 0x7f) {
            line[i] = '?';
        }
    }
    log_sink(log_sink_context, level, line, size);
}

/* ---- stderr ------------------------------------------------------------------------------------ */

/*
 * True if stderr is the journal's socket: systemd names its device and inode in JOURNAL_STREAM
 * (systemd.exec(5)). Looked up per line, because stderr may be redirected after the start and a
 * remembered answer would be one more global; lines are rare.
 */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM"); /* NOLINT(concurrency-mt-unsafe): never set */
    struct stat found;
    if (stream == NULL || fstat(STDERR_FILENO, &found) != 0) {
        return false;
    }
    char expected[LOG_PREFIX_MAX];
    int length = snprintf(expected, sizeof(expected), "%ju:%ju", (uintmax_t)found.st_dev,
                          (uintmax_t)found.st_ino);
    return length > 0 && strcmp(stream, expected) == 0;
}

static const char *level_text(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARNING:
        return "warning";
    case LOG_NOTICE:
        return "notice";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "unknown";
}

/* "<5>" for the journal, which has its own clock; else time and level in words. */
static size_t prefix_write(enum log_level level, char *out, size_t room)
{
    if (stderr_is_journal()) {
        return written_of(snprintf(out, room, "<%d>", (int)level), room);
    }
    struct timespec now = {0};
    struct tm parts = {0};
    clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock; a zero is a readable lie */
    gmtime_r(&now.tv_sec, &parts);
    char moment[32];
    moment[strftime(moment, sizeof(moment), "%Y-%m-%dT%H:%M:%S", &parts)] = '\0';
    return written_of(
        snprintf(out, room, "%s.%03ldZ %s ", moment, now.tv_nsec / 1000000, level_text(level)),
        room);
}

/* Ends: each round writes at least an octet, waits for room, or gives up. A line that cannot be
 * written is lost: there is nobody left to tell. */
static void write_all(const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, data, size);
        if (written > 0) {
            data += written;
            size -= (size_t)written;
            continue;
        }
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0 && errno == EAGAIN) { /* someone who shares the pipe made it non-blocking */
            struct pollfd wait = {.fd = STDERR_FILENO, .events = POLLOUT};
            if (poll(&wait, 1, -1) >= 0 || errno == EINTR) {
                continue;
            }
        }
        return;
    }
}

void log_write_stderr(enum log_level level, const char *line, size_t size)
{
    /* Callers may be in the middle of reporting an errno of their own. */
    int errno_before = errno;
    char out[LOG_PREFIX_MAX + LOG_LINE_MAX + 8];
    size_t used = prefix_write(level, out, LOG_PREFIX_MAX);
    size_t room = sizeof(out) - used - 1;
    if (size > room) {
        size = room;
    }
    if (size > 0) {
        memcpy(out + used, line, size);
        used += size;
    }
    out[used++] = '\n';
    write_all(out, used);
    errno = errno_before;
}
