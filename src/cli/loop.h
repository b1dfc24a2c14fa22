/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h: one poll loop for the commands that stay: watch, lease keep-alive, lock, elect. It holds a
 * connection to one endpoint at a time, goes to the next when that breaks, turns signals and the end of
 * a child into calls, and keeps time. Nothing in it sleeps.
 *
 * In flows what the kernel says (octets, signals, time); out flow calls of the user's functions. What is
 * said over the connection is the user's: it begins its calls in `up` and forgets them in `down`.
 *
 * Giving up: until an endpoint has proved good (cli_loop_good) every endpoint is tried once; then the
 * command ends with CLI_UNREACHABLE. Afterwards they are tried in turn without end, with growing pauses.
 *
 * Invariants
 *  1. The user's functions run from cli_loop_run only, one at a time.
 *  2. `down` follows each `up` exactly once, and no callback of a call begun in between comes after it
 *     (those ended by the break report `transport` just before).
 *  3. A signal that was ignored when the program started (nohup) stays ignored.
 */
#ifndef HOLDFAST_CLI_LOOP_H
#define HOLDFAST_CLI_LOOP_H

#include "cli.h"

#include <signal.h>
#include <sys/types.h>

#define LOOP_PROBLEM_MAX 511

struct cli_loop_user {
    void (*up)(void *context);
    void (*down)(void *context);
    /* A signal came; from_terminal: the terminal sent it to the whole foreground group. */
    void (*signal)(void *context, int number, bool from_terminal);
    void (*child)(void *context,
                  int wait_status);    /* the child has ended; NULL if none is started */
    uint64_t (*due_ms)(void *context); /* when `tick` is wanted; UINT64_MAX: not; NULL: never */
    void (*tick)(void *context, uint64_t now_ms);
};

struct cli_loop {
    const struct cli_arguments *arguments;
    const struct cli_loop_user *user;
    void *context;

    struct grpc_channel *channel; /* NULL: none */
    size_t at;                    /* endpoint of the channel, or the next to try */
    uint64_t now_ms;              /* as of the last wake-up */

    /* the loop's own */
    bool is_up, has_been_good, paused, stopped, break_asked;
    enum cli_exit code;
    uint32_t failures; /* endpoints in a row that were no good */
    uint64_t dial_at_ms;
    char problem[LOOP_PROBLEM_MAX + 1];
    int signal_fd;
    sigset_t masked, mask_before;
    pid_t child;
};

/* Start to catch signals. arguments, user and context are borrowed until cli_loop_end. */
void cli_loop_start(struct cli_loop *loop, const struct cli_arguments *arguments,
                    const struct cli_loop_user *user, void *context);
/* Run until cli_loop_stop; its code. On CLI_UNREACHABLE the reason has been printed. */
enum cli_exit cli_loop_run(struct cli_loop *loop);
/* Close the connection and give the signals back. */
void cli_loop_end(struct cli_loop *loop);

/* For the user's functions: */
void cli_loop_stop(struct cli_loop *loop, enum cli_exit code);
/* The endpoint is at work: a later break is retried for ever. Says so if it comes after a break. */
void cli_loop_good(struct cli_loop *loop);
/* This endpoint is no good: drop the connection and go on at the next one. */
void cli_loop_break(struct cli_loop *loop, const char *why);
/* While paused nothing is read, so that the server holds back what it has (flow control). */
void cli_loop_pause(struct cli_loop *loop, bool paused);
const char *cli_loop_endpoint(const struct cli_loop *loop);

/*
 * Start a child. It dies with this process (SIGTERM), and is waited for by the loop.
 *
 * command      words, the last NULL; the first is looked up in PATH
 * environment  "NAME=value" strings added to ours, the last NULL
 * input_fd     its standard input; -1: ours
 *
 * False: it could not be started, which has been printed.
 */
bool cli_child_start(struct cli_loop *loop, char *const *command, char *const *environment,
                     int input_fd);
/* Exit code of a child as a shell gives it: its own, or 128 + the signal's number. */
int cli_child_code(int wait_status);

#endif
