/* SPDX-License-Identifier: Apache-2.0 */
/*
 * last_words.h: an actor that ends its process, by hand_runner's actor_fatal: in a process of its own, whose standard
 * error nobody reads. What it tells by last_words_tell is known afterwards, and whether it had said more than that to others.
 */
#ifndef HOLDFAST_LAST_WORDS_H
#define HOLDFAST_LAST_WORDS_H

#include "base.h"
#include "suite.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Exit codes of that process: its end had come and others had not heard more, or had; or nothing ended it. */
#define ENDED_SILENT    42
#define ENDED_SAYING    43
#define ENDED_BY_ITSELF 0
#define ENDED_UNREAD    3

static struct {
    bool (*is_silent)(const void *of);
    const void *of;
    int told_fd;
} last_words;

static inline void last_words_at_the_end(int number)
{
    UNUSED(number);
    _exit(last_words.is_silent(last_words.of) ? ENDED_SILENT : ENDED_SAYING);
}

/* For `act`. */
static inline void last_words_tell(uint64_t number)
{
    if (write(last_words.told_fd, &number, sizeof(number)) != (ssize_t)sizeof(number)) {
        _exit(ENDED_UNREAD);
    }
}

/*
 * Act.
 *
 * is_silent  of(`of`): nothing is on its way to others that was not told
 * greatest   out: the greatest number told, if any was
 *
 * Returns waitpid's status.
 */
static inline int last_words_of(void (*act)(void *context), void *context,
                                bool (*is_silent)(const void *of), const void *of,
                                uint64_t *greatest)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t child = fork();
    CU_ASSERT_TRUE_FATAL(child >= 0);
    if (child == 0) {
        int silent = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(silent, STDERR_FILENO);
        last_words.is_silent = is_silent;
        last_words.of = of;
        last_words.told_fd = ends[1];
        (void)signal(SIGABRT, last_words_at_the_end);
        act(context);
        _exit(ENDED_BY_ITSELF);
    }
    (void)close(ends[1]);
    uint64_t number = 0;
    while (read(ends[0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
        *greatest = number > *greatest ? number : *greatest;
    }
    (void)close(ends[0]);
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

#endif
