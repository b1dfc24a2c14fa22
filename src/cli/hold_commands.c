/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold_commands.c: lock NAME [-- COMMAND] and elect NAME VALUE: hold something until a signal comes or
 * COMMAND has ended, then give it back.
 *
 * COMMAND runs only while the lock is held: when it is lost, COMMAND gets SIGTERM and, after a grace of
 * CHILD_GRACE_MS, SIGKILL. Between the loss and its end it may still act; who needs more than that compares
 * the fencing token in each write (docs/holdfastctl.md).
 */
#include "holder.h"

#include <string.h>

#define CHILD_GRACE_MS        5000
#define ENVIRONMENT_LINE_MAX  4096
#define ENVIRONMENT_LINES_MAX 6

struct hold {
    const struct cli_arguments *arguments;
    struct cli_loop loop;
    struct holder holder;
    int child_code; /* of COMMAND; -1: none has ended */
    bool lost;
    uint64_t kill_at_ms; /* UINT64_MAX: COMMAND need not be killed */
};

/* ---- COMMAND --------------------------------------------------------------------------------------- */

static bool add_line(char lines[][ENVIRONMENT_LINE_MAX], size_t *count, const char *name,
                     struct view value)
{
    if (memchr(value.data, '\0', value.size) != NULL ||
        strlen(name) + 1 + value.size >= ENVIRONMENT_LINE_MAX) {
        fprintf(stderr, "holdfastctl: the lock's name does not fit into an environment variable\n");
        return false;
    }
    (void)snprintf(lines[(*count)++], ENVIRONMENT_LINE_MAX, "%s=%.*s", name, (int)value.size,
                   (const char *)value.data);
    return true;
}

static bool start_command(struct hold *hold)
{
    char lines[ENVIRONMENT_LINES_MAX][ENVIRONMENT_LINE_MAX];
    size_t count = 0;
    char number[32];
    struct view key = bytes_view(&hold->holder.key);
    (void)snprintf(number, sizeof(number), "%" PRId64, hold->holder.revision);
    bool fits = add_line(lines, &count, "HOLDFAST_LOCK_KEY", key) &&
                add_line(lines, &count, "HOLDFAST_LOCK_REVISION", view_of_text(number)) &&
                add_line(lines, &count, "ETCD_LOCK_KEY", key) &&
                add_line(lines, &count, "ETCD_LOCK_REV", view_of_text(number));
    (void)snprintf(number, sizeof(number), "%016" PRIx64, (uint64_t)hold->holder.lease);
    fits = fits && add_line(lines, &count, "HOLDFAST_LOCK_LEASE", view_of_text(number));
    char *environment[ENVIRONMENT_LINES_MAX + 1] = {NULL};
    for (size_t i = 0; i < count; i++) {
        environment[i] = lines[i];
    }
    return fits && cli_child_start(&hold->loop, hold->arguments->command, environment, -1);
}

static void on_child(void *context, int wait_status)
{
    struct hold *hold = context;
    hold->child_code = cli_child_code(wait_status);
    cli_loop_stop(&hold->loop, hold->lost ? CLI_LOST : CLI_OK);
}

/* ---- the holder's functions ------------------------------------------------------------------------ */

static void print_held(const struct hold *hold)
{
    const struct holder *h = &hold->holder;
    if (hold->arguments->output == OUTPUT_JSON) {
        printf("{");
        print_json_octets(stdout, "key", bytes_view(&h->key));
        printf(",\"revision\":%" PRId64 ",\"lease\":\"%016" PRIx64 "\"}\n", h->revision,
               (uint64_t)h->lease);
    } else {
        print_octets(bytes_view(&h->key));
        printf("\n%" PRId64 "\n", h->revision);
    }
}

static void on_held(void *context)
{
    struct hold *hold = context;
    if (hold->arguments->command != NULL) {
        if (!start_command(hold)) {
            cli_loop_stop(&hold->loop, CLI_FAILED);
        }
        return;
    }
    print_held(hold);
    if (fflush(stdout) != 0) {
        cli_loop_stop(&hold->loop, CLI_FAILED); /* nobody will know that it is held */
    }
}

static void on_lost(void *context, const char *why)
{
    struct hold *hold = context;
    hold->lost = true;
    const char *what = hold->holder.campaign ? "leadership" : "lock";
    if (hold->loop.child == 0) {
        fprintf(stderr, "holdfastctl: the %s is lost: %s\n", what, why);
        cli_loop_stop(&hold->loop, CLI_LOST);
        return;
    }
    fprintf(stderr, "holdfastctl: the %s is lost: %s; ending %s\n", what, why,
            hold->arguments->command[0]);
    (void)kill(hold->loop.child, SIGTERM);
    (void)kill(hold->loop.child, SIGCONT); /* a stopped one could not end */
    hold->kill_at_ms = hold->loop.now_ms + CHILD_GRACE_MS;
}

static void on_failed(void *context, enum cli_exit code)
{
    struct hold *hold = context;
    cli_loop_stop(&hold->loop, code);
}

/* ---- the loop's functions -------------------------------------------------------------------------- */

static void on_up(void *context)
{
    struct hold *hold = context;
    holder_up(&hold->holder);
}

static void on_down(void *context)
{
    struct hold *hold = context;
    holder_down(&hold->holder);
}

static void on_signal(void *context, int number, bool from_terminal)
{
    struct hold *hold = context;
    if (hold->loop.child != 0) {
        if (!from_terminal) { /* else the terminal has told COMMAND as well */
            (void)kill(hold->loop.child, number);
        }
        return;
    }
    bool held = hold->holder.state == HOLDER_HELD;
    if (!held) {
        fprintf(stderr, "holdfastctl: ended before it was got\n");
    }
    cli_loop_stop(&hold->loop, held ? CLI_OK : CLI_FAILED);
}

static uint64_t on_due(void *context)
{
    const struct hold *hold = context;
    uint64_t due_ms = holder_due_ms(&hold->holder);
    return due_ms < hold->kill_at_ms ? due_ms : hold->kill_at_ms;
}

static void on_tick(void *context, uint64_t now_ms)
{
    struct hold *hold = context;
    if (now_ms >= hold->kill_at_ms && hold->loop.child != 0) {
        fprintf(stderr, "holdfastctl: %s did not end by itself; killing it\n",
                hold->arguments->command[0]);
        (void)kill(hold->loop.child, SIGKILL);
        hold->kill_at_ms = UINT64_MAX;
    }
    holder_tick(&hold->holder, now_ms);
}

/* The code for the shell. */
static int hold(const struct cli_arguments *arguments, bool campaign, struct view value)
{
    static const struct cli_loop_user loop_user = {.up = on_up,
                                                   .down = on_down,
                                                   .signal = on_signal,
                                                   .child = on_child,
                                                   .due_ms = on_due,
                                                   .tick = on_tick};
    static const struct holder_user holder_user = {
        .held = on_held, .lost = on_lost, .failed = on_failed};
    struct hold hold = {.arguments = arguments, .child_code = -1, .kill_at_ms = UINT64_MAX};
    hold.holder.arguments = arguments;
    hold.holder.loop = &hold.loop;
    hold.holder.user = &holder_user;
    hold.holder.context = &hold;
    hold.holder.campaign = campaign;
    hold.holder.name = view_of_text(arguments->words[1]);
    hold.holder.value = value;
    cli_loop_start(&hold.loop, arguments, &loop_user, &hold);
    holder_start(&hold.holder);
    enum cli_exit code = cli_loop_run(&hold.loop);
    cli_loop_end(&hold.loop);
    if (code != CLI_LOST && code != CLI_UNREACHABLE) {
        holder_release(&hold.holder);
    }
    holder_free(&hold.holder);
    return code == CLI_OK && hold.child_code >= 0 ? hold.child_code : (int)code;
}

int command_lock(const struct cli_arguments *arguments)
{
    if (arguments->word_count != 2 || arguments->words[1][0] == '\0') {
        return (int)cli_usage("lock NAME [--ttl SECONDS] [--wait TIME] [-- COMMAND...]");
    }
    return hold(arguments, false, view_of(NULL, 0));
}

enum cli_exit command_elect(const struct cli_arguments *arguments)
{
    if (arguments->word_count != 3 || arguments->words[1][0] == '\0') {
        return cli_usage("elect NAME VALUE [--ttl SECONDS] [--wait TIME] | elect --listen NAME");
    }
    return (enum cli_exit)hold(arguments, true, view_of_text(arguments->words[2]));
}
