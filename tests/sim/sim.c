/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.c: runs seeds. One seed is one cluster's life: nodes start empty, clients work, the nemesis
 * strikes for a fixed virtual time, then everything heals, and all nodes must come together, serve
 * linearizable reads, and hold the same state; all the while the checkers look on.
 *
 * Each seed runs in a process of its own, so that a failed assert ends that seed and names it. A
 * failure prints the seed, the commit and the command that replays it.
 */
#include "ending.h"
#include "nemesis.h"
#include "scenarios.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SIM_COMMIT
#define SIM_COMMIT "unknown"
#endif

#define SEED_SECONDS_MAX 1200 /* real time after which a seed hangs for certain */
#define SETTLE_US        3000000
#define FAILURE_LINES    60
#define JOBS_MAX         16

struct options {
    uint64_t first_seed, last_seed;
    uint64_t length_s;
    size_t node_count; /* 0: drawn */
    size_t jobs;
    bool verbose, twice, no_fork, keep_going, fixed;
    bool scenarios; /* the seeds are their numbers, from 1 */
};

struct outcome {
    uint64_t seed;
    bool failed;
    uint64_t digest, events, virtual_us;
    uint64_t operations, done, not_done, unknown, undecided, committed, terms;
    uint64_t txns, leases, expired, guarded, guarded_refused;
    uint64_t watch_events, watches, watch_compacted;
    struct cluster_figures machines;
    bool members_change;
    uint64_t members_seeds;
    struct members_figures members;
    struct net_figures net;
    uint64_t injected, snapshots_installed;
};

static struct cluster *running; /* for the handler of fatal signals alone */
static struct options opt = {.length_s = 60, .jobs = 1};

/* ---- one seed ------------------------------------------------------------------------------------------ */

static size_t nodes_of(uint64_t seed)
{
    return opt.node_count != 0 ? opt.node_count : seed % 4 == 3 ? 5 : 3;
}

static void print_failure(const struct cluster *c, const char *what)
{
    size_t kept = c->line_count < FAILURE_LINES ? c->line_count : FAILURE_LINES;
    for (size_t i = 0; i < kept; i++) {
        printf("    %s\n", c->lines[(c->line_count - kept + i) % CLUSTER_LINES]);
    }
    double at_s = (double)runner_exact_us(c->runner) / 1e6;
    if (opt.scenarios) {
        printf("FAILED scenario=%s commit=%s at=%.6f s: %s\n  replay: make sim SCENARIO=%s\n",
               scenario_name(c->seed - 1), SIM_COMMIT, at_s, what, scenario_name(c->seed - 1));
    } else {
        printf("FAILED seed=%" PRIu64 " commit=%s at=%.6f s nodes=%zu: %s\n"
               "  replay: make sim SEED=%" PRIu64 " LENGTH=%" PRIu64 "%s\n",
               c->seed, SIM_COMMIT, at_s, c->node_count, what, c->seed, opt.length_s,
               opt.node_count != 0 ? " NODES=... as given" : "");
    }
    fflush(stdout);
}

static void on_fatal_signal(int number)
{
    (void)signal(number, SIG_DFL);
    if (running != NULL) {
        char what[64];
        (void)snprintf(what, sizeof(what), "signal %d (%s)", number,
                       number == SIGABRT   ? "an assert"
                       : number == SIGALRM ? "hangs"
                                           : "crash");
        print_failure(running, what);
    }
    (void)raise(number);
}

static void call_start(void *context, uint64_t argument)
{
    cluster_start_node(context, (size_t)argument);
}

static void note_outcome(const struct cluster *c, struct outcome *out)
{
    *out = (struct outcome){
        .seed = c->seed,
        .failed = c->failed,
        .digest = runner_digest(c->runner) ^ c->checks.model.count,
        .events = runner_event_count(c->runner),
        .virtual_us = runner_now_us(c->runner),
        .operations = c->history.count,
        .done = c->history.done,
        .not_done = c->history.not_done,
        .unknown = c->history.unknown,
        .undecided = c->history.undecided,
        .txns = c->history.txns,
        .leases = c->history.leases_granted,
        .expired = c->history.leases_expired,
        .guarded = c->history.guarded,
        .guarded_refused = c->history.guarded_refused,
        .watch_events = c->watches.events,
        .watches = c->watches.taken_up,
        .watch_compacted = c->watches.compacted,
        .committed = c->checks.model.count,
        .terms = c->checks.greatest_term,
        .snapshots_installed = c->checks.snapshots_installed,
        .machines = c->figures,
        .members_change = c->plan.on,
        .members = c->members,
    };
    net_figures(c->net, &out->net);
    struct disk_figures disk;
    disk_figures(c->disk, &disk);
    out->injected = disk.injected;
    if (c->failed) {
        print_failure(c, c->failure);
    }
}

/* A story instead of a nemesis. */
static void run_scenario(uint64_t number, struct outcome *out)
{
    struct cluster *c = scenario_create(number - 1, opt.verbose);
    running = c;
    scenario_play(c, number - 1);
    if (!c->failed) {
        members_heal(c);
        ending_run(c);
    }
    note_outcome(c, out);
    out->seed = number;
    running = NULL;
    cluster_destroy(&c);
}

static void run_seed(uint64_t seed, struct outcome *out)
{
    struct members_plan plan = {0};
    size_t node_count = nodes_of(seed);
    if (opt.node_count == 0 && !opt.fixed) {
        members_draw(&plan, seed, &node_count);
    }
    struct cluster *c = cluster_create(seed, node_count, &plan, opt.verbose);
    running = c;
    struct nemesis *nemesis = nemesis_create(c, opt.length_s * 1000000);
    for (size_t i = 0; i < c->node_count; i++) {
        uint64_t at_us = random_below(&c->random, 1000000);
        if (c->plan.on) {
            at_us = members_first_start_us(&c->plan, i, at_us);
        }
        runner_at(c->runner, at_us, call_start, c, i);
    }
    members_begin(c);
    runner_run(c->runner, opt.length_s * 1000000);
    if (!c->failed) {
        nemesis_heal(nemesis);
        members_heal(c);
        runner_run(c->runner, opt.length_s * 1000000 + SETTLE_US);
    }
    ending_run(c);
    note_outcome(c, out);
    running = NULL;
    nemesis_destroy(&nemesis);
    cluster_destroy(&c);
}

/* ---- many seeds ------------------------------------------------------------------------------------------ */

static void run_checked(uint64_t seed, struct outcome *out)
{
    void (*run)(uint64_t seed, struct outcome * out) = opt.scenarios ? run_scenario : run_seed;
    run(seed, out);
    if (opt.twice && !out->failed) {
        struct outcome again;
        run(seed, &again);
        if (again.digest != out->digest || again.events != out->events) {
            printf("FAILED seed=%" PRIu64 " commit=%s: two runs differ (%016" PRIx64
                   " after %" PRIu64 " events, %016" PRIx64 " after %" PRIu64 ")\n",
                   seed, SIM_COMMIT, out->digest, out->events, again.digest, again.events);
            out->failed = true;
        }
    }
}

static void catch_fatal_signals(void)
{
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        (void)signal(numbers[i], on_fatal_signal);
    }
}

struct job {
    pid_t pid;
    int fd;
    uint64_t seed;
};

static void job_start(struct job *job, uint64_t seed)
{
    int ends[2];
    if (pipe(ends) != 0) {
        perror("pipe");
        exit(2);
    }
    fflush(stdout);
    job->seed = seed;
    job->fd = ends[0];
    job->pid = fork();
    if (job->pid < 0) {
        perror("fork");
        exit(2);
    }
    if (job->pid == 0) {
        close(ends[0]);
        catch_fatal_signals();
        (void)alarm(SEED_SECONDS_MAX);
        struct outcome out;
        run_checked(seed, &out);
        ssize_t written = write(ends[1], &out, sizeof(out));
        fflush(stdout);
        _exit(written == (ssize_t)sizeof(out) ? 0 : 2);
    }
    close(ends[1]);
}

static bool job_finish(struct job *job, struct outcome *out)
{
    ssize_t size = 0;
    do {
        size = read(job->fd, out, sizeof(*out));
    } while (size < 0 && errno == EINTR);
    close(job->fd);
    int status = 0;
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR) {}
    if (size != (ssize_t)sizeof(*out)) {
        *out = (struct outcome){.seed = job->seed, .failed = true};
    }
    return !out->failed;
}

static void add(struct outcome *sum, const struct outcome *o)
{
    sum->events += o->events;
    sum->virtual_us += o->virtual_us;
    sum->operations += o->operations;
    sum->done += o->done;
    sum->not_done += o->not_done;
    sum->unknown += o->unknown;
    sum->undecided += o->undecided;
    sum->committed += o->committed;
    sum->terms += o->terms;
    sum->injected += o->injected;
    sum->machines.crashes += o->machines.crashes;
    sum->txns += o->txns;
    sum->leases += o->leases;
    sum->expired += o->expired;
    sum->guarded += o->guarded;
    sum->guarded_refused += o->guarded_refused;
    sum->watch_events += o->watch_events;
    sum->watches += o->watches;
    sum->watch_compacted += o->watch_compacted;
    sum->machines.power_cuts += o->machines.power_cuts;
    sum->machines.stops += o->machines.stops;
    sum->machines.fatals += o->machines.fatals;
    sum->machines.refused_starts += o->machines.refused_starts;
    sum->machines.flips += o->machines.flips;
    sum->machines.damaged_starts += o->machines.damaged_starts;
    sum->machines.stranded += o->machines.stranded;
    sum->machines.lost += o->machines.lost;
    sum->machines.snapshots_sent += o->machines.snapshots_sent;
    sum->snapshots_installed += o->snapshots_installed;
    sum->machines.transfers += o->machines.transfers;
    sum->machines.timeouts_now += o->machines.timeouts_now;
    sum->members_seeds += o->members_change;
    sum->members.configurations += o->members.configurations;
    sum->members.joint += o->members.joint;
    sum->members.requests += o->members.requests;
    sum->members.removals_done += o->members.removals_done;
    sum->members.wiped += o->members.wiped;
    sum->members.gone += o->members.gone;
    sum->members.returned += o->members.returned;
    sum->net.sent += o->net.sent;
    sum->net.lost += o->net.lost;
    sum->net.connections += o->net.connections;
}

static void report(const struct outcome *sum, uint64_t seeds, uint64_t failures, double elapsed_s)
{
    double hours = (double)sum->virtual_us / 3.6e9;
    printf("%" PRIu64 " seeds, %" PRIu64 " failed; %.2f simulated cluster-hours in %.1f s: %.1f "
           "cluster-hours a minute\n",
           seeds, failures, hours, elapsed_s, elapsed_s > 0 ? hours * 60 / elapsed_s : 0);
    printf("  operations %" PRIu64 ": done %" PRIu64 ", not carried out %" PRIu64
           ", outcome unknown %" PRIu64 "; entries committed %" PRIu64 "; terms %" PRIu64
           "; keys undecided %" PRIu64 "\n",
           sum->operations, sum->done, sum->not_done, sum->unknown, sum->committed, sum->terms,
           sum->undecided);
    printf("  transactions %" PRIu64 "; leases %" PRIu64 ", expired %" PRIu64
           "; guarded writes %" PRIu64 ", refused %" PRIu64 "; watches taken up %" PRIu64
           ", compacted %" PRIu64 ", events %" PRIu64 "\n",
           sum->txns, sum->leases, sum->expired, sum->guarded, sum->guarded_refused, sum->watches,
           sum->watch_compacted, sum->watch_events);
    printf("  crashes %" PRIu64 " (power %" PRIu64 "), fatal errors %" PRIu64 ", stops %" PRIu64
           ", refused starts %" PRIu64 ", disk faults %" PRIu64 ", bits flipped %" PRIu64
           ", damaged starts %" PRIu64 ", data directories lost %" PRIu64 ", stranded %" PRIu64
           "\n",
           sum->machines.crashes, sum->machines.power_cuts, sum->machines.fatals,
           sum->machines.stops, sum->machines.refused_starts, sum->injected, sum->machines.flips,
           sum->machines.damaged_starts, sum->machines.lost, sum->machines.stranded);
    printf("  snapshots begun %" PRIu64 ", installed %" PRIu64 "\n", sum->machines.snapshots_sent,
           sum->snapshots_installed);
    printf("  transfers asked for %" PRIu64 ", targets told to take over %" PRIu64 "\n",
           sum->machines.transfers, sum->machines.timeouts_now);
    printf("  seeds that change members %" PRIu64 ": configurations appended %" PRIu64
           ", of them joint %" PRIu64 "; people asked %" PRIu64 ", removals done %" PRIu64
           "; disks emptied %" PRIu64 ", machines gone %" PRIu64 ", back %" PRIu64 "\n",
           sum->members_seeds, sum->members.configurations, sum->members.joint,
           sum->members.requests, sum->members.removals_done, sum->members.wiped, sum->members.gone,
           sum->members.returned);
    printf("  messages %" PRIu64 ", lost %" PRIu64 ", connections %" PRIu64 ", events %" PRIu64
           "\n",
           sum->net.sent, sum->net.lost, sum->net.connections, sum->events);
}

static uint64_t run_all(struct outcome *sum)
{
    uint64_t failures = 0;
    struct job jobs[JOBS_MAX];
    size_t first = 0, count = 0; /* a ring: results are taken in the order of the seeds */
    uint64_t next = opt.first_seed;
    while (next <= opt.last_seed || count > 0) {
        struct outcome out;
        if (next <= opt.last_seed && opt.no_fork) {
            run_checked(next++, &out);
        } else if (next <= opt.last_seed && count < opt.jobs && (failures == 0 || opt.keep_going)) {
            job_start(&jobs[(first + count) % JOBS_MAX], next++);
            count++;
            continue;
        } else if (count > 0) {
            (void)job_finish(&jobs[first], &out);
            first = (first + 1) % JOBS_MAX;
            count--;
        } else {
            break;
        }
        failures += out.failed;
        if (out.failed && opt.scenarios) {
            printf("scenario %s failed\n", scenario_name(out.seed - 1));
        } else if (opt.scenarios) {
            printf("scenario %-28s passed, digest %016" PRIx64 "\n", scenario_name(out.seed - 1),
                   out.digest);
        } else if (out.failed) {
            printf("seed %" PRIu64 " failed\n", out.seed);
        } else if (opt.first_seed == opt.last_seed) {
            printf("seed %" PRIu64 " passed, digest %016" PRIx64 "\n", out.seed, out.digest);
        }
        add(sum, &out);
        if (failures > 0 && !opt.keep_going && opt.no_fork) {
            break;
        }
    }
    return failures;
}

/* ---- command line ---------------------------------------------------------------------------------------- */

static uint64_t number_of(const char *text, char **end)
{
    errno = 0;
    uint64_t n = strtoull(text, end, 10);
    if (errno != 0 || *end == text) {
        fprintf(stderr, "sim: not a number: %s\n", text);
        exit(64);
    }
    return n;
}

static void parse_seeds(const char *text)
{
    char *end = NULL;
    opt.first_seed = number_of(text, &end);
    opt.last_seed = opt.first_seed;
    if (*end == '-') {
        opt.last_seed = number_of(end + 1, &end);
    }
    if (*end != '\0' || opt.last_seed < opt.first_seed) {
        fprintf(stderr, "sim: seeds are N or FROM-TO: %s\n", text);
        exit(64);
    }
}

static void parse_scenario(const char *name)
{
    size_t number = 0;
    while (number < scenario_count() && strcmp(scenario_name(number), name) != 0) {
        number++;
    }
    opt.scenarios = true;
    opt.first_seed = strcmp(name, "all") == 0 ? 1 : number + 1;
    opt.last_seed = strcmp(name, "all") == 0 ? scenario_count() : number + 1;
    if (opt.last_seed > scenario_count()) {
        fprintf(stderr, "sim: no scenario is called %s\n", name);
        exit(64);
    }
}

static void usage(void)
{
    fprintf(stderr, "sim --seeds N|FROM-TO|random | --scenario NAME|all [--length VIRTUAL_SECONDS] "
                    "[--nodes 3|5] [--jobs N]\n"
                    "    [--twice] [--keep-going] [--no-fork] [--fixed] [-v]\n"
                    "--fixed: members never change\n");
    exit(64);
}

static void parse(int argc, char **argv)
{
    char *end = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "-v") == 0) {
            opt.verbose = true;
        } else if (strcmp(argv[i], "--twice") == 0) {
            opt.twice = true;
        } else if (strcmp(argv[i], "--no-fork") == 0) {
            opt.no_fork = true;
        } else if (strcmp(argv[i], "--fixed") == 0) {
            opt.fixed = true;
        } else if (strcmp(argv[i], "--keep-going") == 0) {
            opt.keep_going = true;
        } else if (value == NULL) {
            usage();
        } else if (strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--seeds") == 0) {
            parse_seeds(value);
            i++;
        } else if (strcmp(argv[i], "--scenario") == 0) {
            parse_scenario(value);
            i++;
        } else if (strcmp(argv[i], "--fresh") == 0) { /* so many seeds nobody chose */
            opt.first_seed = (uint64_t)time(NULL) * 1000;
            opt.last_seed = opt.first_seed + number_of(value, &end) - 1;
            i++;
        } else if (strcmp(argv[i], "--length") == 0) {
            opt.length_s = number_of(value, &end);
            i++;
        } else if (strcmp(argv[i], "--nodes") == 0) {
            opt.node_count = (size_t)number_of(value, &end);
            i++;
        } else if (strcmp(argv[i], "--jobs") == 0) {
            opt.jobs = (size_t)number_of(value, &end);
            i++;
        } else {
            usage();
        }
    }
    if (opt.jobs == 0 || opt.jobs > JOBS_MAX || opt.node_count > CLUSTER_NODES_MAX ||
        opt.last_seed == 0 || opt.length_s == 0) {
        usage();
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    struct timespec start, end;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    if (opt.no_fork) {
        catch_fatal_signals();
    }
    printf("seeds %" PRIu64 "-%" PRIu64 ", %" PRIu64 " virtual seconds each, commit %s\n",
           opt.first_seed, opt.last_seed, opt.length_s, SIM_COMMIT);
    struct outcome sum = {0};
    uint64_t failures = run_all(&sum);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    double elapsed_s =
        (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    report(&sum, opt.last_seed - opt.first_seed + 1, failures, elapsed_s);
    return failures == 0 ? 0 : 1;
}
