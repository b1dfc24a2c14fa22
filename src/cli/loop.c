/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c: see loop.h. */
#include "loop.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define RETRY_MS_LEAST 100
#define RETRY_MS_MOST  2000

const char *cli_loop_endpoint(const struct cli_loop *loop)
{
    return loop->arguments->endpoints[loop->at];
}

/* ---- signals --------------------------------------------------------------------------------------- */

static void catch_signals(struct cli_loop *loop)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    (void)sigemptyset(&loop->masked);
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            (void)sigaddset(&loop->masked, numbers[i]);
        }
    }
    (void)sigaddset(&loop->masked, SIGCHLD);
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, children would vanish without a word */
    (void)sigprocmask(SIG_BLOCK, &loop->masked, &loop->mask_before);
    loop->signal_fd = signalfd(-1, &loop->masked, SFD_NONBLOCK | SFD_CLOEXEC);
    ASSERT(loop->signal_fd >= 0);
}

static void look_after_child(struct cli_loop *loop)
{
    int status = 0;
    if (loop->child > 0 && waitpid(loop->child, &status, WNOHANG) == loop->child) {
        loop->child = 0;
        loop->user->child(loop->context, status);
    }
}

static void read_signals(struct cli_loop *loop)
{
    struct signalfd_siginfo got;
    while (!loop->stopped && read(loop->signal_fd, &got, sizeof(got)) == (ssize_t)sizeof(got)) {
        if (got.ssi_signo == SIGCHLD) {
            look_after_child(loop);
        } else {
            loop->user->signal(loop->context, (int)got.ssi_signo, got.ssi_code == SI_KERNEL);
        }
    }
}

/* ---- the connection -------------------------------------------------------------------------------- */

static uint64_t pause_ms(const struct cli_loop *loop)
{
    size_t rounds = loop->failures / loop->arguments->endpoint_count;
    uint64_t ms = RETRY_MS_LEAST;
    while (rounds > 1 && ms < RETRY_MS_MOST) {
        ms *= 2;
        rounds--;
    }
    return rounds == 0 ? 0 : ms < RETRY_MS_MOST ? ms : RETRY_MS_MOST;
}

static void endpoint_failed(struct cli_loop *loop, const char *problem)
{
    size_t count = loop->arguments->endpoint_count;
    loop->failures++;
    if (!loop->has_been_good && loop->failures >= count) {
        fprintf(stderr,
                "holdfastctl: no endpoint answered; the last one said: %s\n"
                "  is holdfastd running there? name others with --endpoints host:port,host:port\n",
                problem);
        cli_loop_stop(loop, CLI_UNREACHABLE);
        return;
    }
    if (!loop->has_been_good) {
        fprintf(stderr, "holdfastctl: %s; trying the next endpoint\n", problem);
    } else if (loop->failures == 1) {
        fprintf(stderr, "holdfastctl: %s; going on elsewhere as soon as an endpoint answers\n",
                problem);
    }
    loop->at = (loop->at + 1) % count;
    loop->dial_at_ms = loop->now_ms + pause_ms(loop);
}

static void drop(struct cli_loop *loop, const char *why)
{
    char problem[LOOP_PROBLEM_MAX + 1]; /* the channel may own `why` */
    (void)snprintf(problem, sizeof(problem), "%s", why);
    grpc_channel_close(&loop->channel);
    loop->break_asked = false; /* the calls that ended just now may have asked again */
    if (loop->is_up) {
        loop->is_up = false;
        loop->user->down(loop->context);
    }
    if (!loop->stopped) {
        endpoint_failed(loop, problem);
    }
}

static void dial(struct cli_loop *loop)
{
    char problem[LOOP_PROBLEM_MAX + 1] = "";
    if (grpc_channel_start(cli_loop_endpoint(loop), loop->arguments->timeout_ms, &loop->channel,
                           problem, sizeof(problem)) != OK) {
        endpoint_failed(loop, problem);
    }
}

static void after_work(struct cli_loop *loop, enum err error)
{
    if (error != OK) {
        drop(loop, grpc_channel_problem(loop->channel));
        return;
    }
    if (!loop->is_up && grpc_channel_is_connected(loop->channel)) {
        loop->is_up = true;
        loop->user->up(loop->context);
    }
    if (loop->break_asked) {
        drop(loop, loop->problem);
    }
}

void cli_loop_good(struct cli_loop *loop)
{
    if (loop->has_been_good && loop->failures > 0) {
        fprintf(stderr, "holdfastctl: going on at %s\n", cli_loop_endpoint(loop));
    }
    loop->has_been_good = true;
    loop->failures = 0;
}

void cli_loop_break(struct cli_loop *loop, const char *why)
{
    (void)snprintf(loop->problem, sizeof(loop->problem), "%s: %s", cli_loop_endpoint(loop), why);
    loop->break_asked = true;
}

void cli_loop_stop(struct cli_loop *loop, enum cli_exit code)
{
    loop->stopped = true;
    loop->code = code;
}

void cli_loop_pause(struct cli_loop *loop, bool paused)
{
    loop->paused = paused;
}

/* ---- run ------------------------------------------------------------------------------------------- */

void cli_loop_start(struct cli_loop *loop, const struct cli_arguments *arguments,
                    const struct cli_loop_user *user, void *context)
{
    memset(loop, 0, sizeof(*loop));
    loop->arguments = arguments;
    loop->user = user;
    loop->context = context;
    loop->now_ms = grpc_channel_clock_ms();
    catch_signals(loop);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t user_due_ms(const struct cli_loop *loop)
{
    return loop->user->due_ms != NULL ? loop->user->due_ms(loop->context) : UINT64_MAX;
}

/* What time alone makes due. The time until the next such moment, or -1. */
static int on_time(struct cli_loop *loop)
{
    loop->now_ms = grpc_channel_clock_ms();
    uint64_t due_ms = user_due_ms(loop);
    if (due_ms <= loop->now_ms) {
        loop->user->tick(loop->context, loop->now_ms);
        due_ms = user_due_ms(loop);
    }
    if (!loop->stopped && loop->channel == NULL && loop->now_ms >= loop->dial_at_ms) {
        dial(loop);
    }
    if (loop->stopped) {
        return 0;
    }
    uint64_t channel_due_ms = loop->dial_at_ms;
    if (loop->channel != NULL) {
        channel_due_ms = UINT64_MAX;
        after_work(loop, loop->paused
                             ? OK
                             : grpc_channel_tick(loop->channel, loop->now_ms, &channel_due_ms));
        if (loop->channel == NULL) {
            channel_due_ms = loop->dial_at_ms;
        }
    }
    due_ms = least(due_ms, channel_due_ms);
    if (due_ms == UINT64_MAX) {
        return -1;
    }
    uint64_t wait_ms = due_ms > loop->now_ms ? due_ms - loop->now_ms : 0;
    return wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms;
}

enum cli_exit cli_loop_run(struct cli_loop *loop)
{
    while (!loop->stopped) {
        int wait_ms = on_time(loop);
        if (loop->stopped) {
            break;
        }
        bool reads = loop->channel != NULL && !loop->paused;
        struct pollfd ready[] = {
            {.fd = loop->signal_fd, .events = POLLIN},
            {.fd = reads ? grpc_channel_fd(loop->channel) : -1,
             .events = reads ? grpc_channel_events(loop->channel) : 0},
        };
        if (poll(ready, ARRAY_COUNT(ready), wait_ms) < 0 && errno != EINTR) {
            fprintf(stderr, "holdfastctl: poll: %s\n", strerror(errno));
            cli_loop_stop(loop, CLI_FAILED);
        }
        loop->now_ms = grpc_channel_clock_ms();
        read_signals(loop);
        if (!loop->stopped && reads && ready[1].revents != 0) {
            after_work(loop, grpc_channel_work(loop->channel));
        }
    }
    return loop->code;
}

void cli_loop_end(struct cli_loop *loop)
{
    grpc_channel_close(&loop->channel);
    (void)close(loop->signal_fd);
    (void)sigprocmask(SIG_SETMASK, &loop->mask_before, NULL);
}
