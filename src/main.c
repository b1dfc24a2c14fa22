/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c: holdfastd. Reads the configuration, takes the data directory, opens the stores and the
 * listening sockets, builds the actors right to left, says READY, waits for a signal, and stops them
 * left to right: the door closes first, what is under way is answered, the disks come last.
 *
 * The only place of the daemon that draws real randomness, and the only one that handles signals.
 * A second SIGTERM or SIGINT ends the process at once: everything acknowledged is on disk.
 */
#include "actor/limits.h"
#include "config.h"
#include "net/peer_wire.h"
#include "net/socket.h"
#include "node/client_connection.h"
#include "node/client_lease.h"
#include "api/web_policy.h"
#include "node/node.h"
#include "recover.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define ROOM_RETRY_S     1
#define PROBLEM_TEXT_MAX 1024
#define LISTEN_RETRY_S   1
#define DATABASES_DESCRIPTORS                                                                      \
    36 /* seven connections at most, their -wal and -shm, the mark, the lock */

const char *argp_program_version = "holdfastd " HOLDFAST_VERSION;
const char *argp_program_bug_address = NULL;

enum option_key { OPTION_CHECK_CONFIG = 256, OPTION_PRINT_CONFIG, OPTION_ACCEPT_DAMAGED_LOG };

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "Configuration file (default: /etc/holdfast/holdfast.conf)", 0},
    {"check-config", OPTION_CHECK_CONFIG, "FILE", 0, "Check FILE, say what is wrong, and exit", 0},
    {"print-config", OPTION_PRINT_CONFIG, NULL, 0,
     "Print the effective configuration with every default, and exit", 0},
    {"accept-damaged-log", OPTION_ACCEPT_DAMAGED_LOG, NULL, 0,
     "One-member cluster only: go on with what is left of a damaged log. What was acknowledged and "
     "is "
     "damaged is lost",
     0},
    {0},
};

static const char doc[] =
    "Run a node of a holdfast cluster: a strongly consistent key-value store with etcd's v3 API.\v"
    "Exit codes: 0 stopped in order, 1 failure, 64 usage, 65 data format, 66 identity of the data "
    "directory, 73 data directory in use, 74 disk failed, 78 configuration.";

struct arguments {
    const char *config_path;
    bool check_only, print_only, accept_damaged_log;
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->config_path = value;
        return 0;
    case OPTION_CHECK_CONFIG:
        arguments->config_path = value;
        arguments->check_only = true;
        return 0;
    case OPTION_PRINT_CONFIG:
        arguments->print_only = true;
        return 0;
    case OPTION_ACCEPT_DAMAGED_LOG:
        arguments->accept_damaged_log = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", value);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static uint64_t draw_random(void)
{
    uint64_t value = 0;
    while (value == 0) {
        if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value)) {
            value = 0;
        }
    }
    return value;
}

/* ---- limits ------------------------------------------------------------------------------------------ */

/* As many descriptors as the hard limit allows: connections are bounded by the configuration. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void say_limits(const struct config *config)
{
    const struct limits_fixed fixed = {
        .logger_lines = LOGGER_LINES_MAX,
        .logger_line_bytes = LOG_LINE_MAX,
        .peer_unsent_bytes = PEER_UNSENT_BYTES_MAX + config->raft.window_bytes,
        .peer_slots = PEER_SLOTS_MAX,
        .peer_frame_bytes = PEER_FRAME_BYTES_MAX,
        .connection_output_bytes = CONNECTION_OUTPUT_BYTES,
        .databases_descriptors = DATABASES_DESCRIPTORS,
        .watch_changes_bytes = WATCH_CHANGES_BYTES_MAX,
        .keepalive_bytes = KEEPALIVES_WAITING_MAX * KEEPALIVE_WAITING_BYTES,
    };
    struct limits limits;
    limits_compute(config, &fixed, &limits);
    limits_log(&limits);
}

/* ---- actors ------------------------------------------------------------------------------------------ */

struct daemon {
    struct config config;
    struct node_stores stores;
    struct space *space;
    struct node_actors actors;
    struct actor *logger;
    struct credits *connections, *requests, *streams, *bytes;
    int client_fd, peer_fd;
    uint64_t boot_id;
    bool accept_damaged_log;
    struct peer_hello hello;
    struct configuration configuration;
};

static void create_clients(struct daemon *d)
{
    d->actors.client_count = d->config.client_threads;
    for (size_t i = 0; i < d->actors.client_count; i++) {
        struct client_actor_settings settings = {
            .client_index = i,
            .seed = draw_random(),
            .config = d->config,
            .connections = d->connections,
            .requests = d->requests,
            .streams = d->streams,
            .bytes = d->bytes,
            .actors = &d->actors,
        };
        settings.state.cluster_id = d->hello.cluster_id;
        settings.state.member_id = d->hello.member_id;
        d->actors.clients[i] = client_actor_create(&settings);
    }
}

/* One for each listed member, and spare ones for nodes that are heard of later. */
static void create_peers(struct daemon *d)
{
    size_t listed = 0;
    for (size_t i = 0; i < d->config.member_count + PEER_SLOTS_MAX; i++) {
        if (i == d->config.node_index) {
            continue;
        }
        if (d->actors.peer_slot_count == PEER_SLOTS_MAX) {
            break;
        }
        size_t peer_index = d->actors.peer_slot_count++;
        struct peer_actor_settings settings = {
            .peer_index = peer_index,
            .hello = d->hello,
            .configuration = d->configuration,
            .heartbeat_ms = d->config.raft.heartbeat_ms,
            .election_timeout_ms = d->config.raft.election_timeout_ms,
            .window_bytes = d->config.raft.window_bytes,
            .seed = draw_random(),
            .actors = &d->actors,
        };
        if (i < d->config.member_count) {
            memcpy(settings.name, d->config.members[i].name, sizeof(settings.name));
            memcpy(settings.address, d->config.members[i].peer, sizeof(settings.address));
            memcpy(d->actors.peer_names[peer_index], settings.name, sizeof(settings.name));
            listed++;
        }
        d->actors.peers[peer_index] = peer_actor_create(&settings);
    }
    d->actors.peer_count = listed;
}

static uint64_t watchdog_us(void)
{
    uint64_t interval_us = 0;
    return sd_watchdog_enabled(0, &interval_us) > 0 ? interval_us : 0;
}

static void build(struct daemon *d)
{
    d->boot_id = draw_random();
    node_hello(&d->config, &d->stores, d->boot_id, &d->hello);
    d->configuration = *node_configuration(&d->stores);
    d->connections = credits_create(d->config.client_connections_max);
    d->requests = credits_create(d->config.client_requests_in_flight_max);
    d->streams = credits_create(d->config.client_streams_max);
    d->bytes = credits_create(d->config.client_bytes_in_flight_max);

    d->actors.answer_bytes = d->bytes;
    node_create_core(&d->config, &d->stores, draw_random(), d->boot_id, &d->actors);
    create_peers(d);
    create_clients(d);
    d->actors.supervisor = supervisor_actor_create(watchdog_us(), &d->actors);
    d->actors.space = space_actor_create(&d->space, &d->actors);
    if (d->config.discovery_srv[0] != '\0') {
        struct discovery_actor_settings discovery = {.name = d->config.discovery_srv,
                                                     .actors = &d->actors};
        d->actors.discovery = discovery_actor_create(&discovery);
    }
    struct listener_actor_settings listener = {
        .client_fd = d->client_fd,
        .peer_fd = d->peer_fd,
        .hello = d->hello,
        .configuration = d->configuration,
        .connections = d->connections,
        .actors = &d->actors,
    };
    d->actors.listener = listener_actor_create(&listener);
}

static void start(struct daemon *d)
{
    struct node_actors *a = &d->actors;
    actor_start(a->timer);
    actor_start(a->flush);
    actor_start(a->copy);
    actor_start(a->watch);
    actor_start(a->apply);
    actor_start(a->log);
    for (size_t i = 0; i < a->peer_count; i++) {
        actor_start(a->peers[i]);
    }
    actor_start(a->supervisor);
    actor_start(a->space);
    if (a->discovery != NULL) {
        actor_start(a->discovery);
    }
    actor_start(a->raft);
    for (size_t i = 0; i < a->client_count; i++) {
        actor_start(a->clients[i]);
    }
    actor_start(a->listener);
}

static void stop_and_join(struct actor *a)
{
    actor_stop(a);
    actor_join(a);
}

/* Left to right, each only when whoever sends it work has stopped. */
static void stop(struct daemon *d)
{
    struct node_actors *a = &d->actors;
    stop_and_join(a->listener);
    for (size_t i = 0; i < a->client_count; i++) {
        actor_stop(a->clients[i]);
    }
    for (size_t i = 0; i < a->client_count; i++) {
        actor_join(a->clients[i]);
    }
    stop_and_join(a->raft);
    if (a->discovery != NULL) {
        stop_and_join(a->discovery);
    }
    for (size_t i = 0; i < a->peer_slot_count; i++) {
        actor_stop(a->peers[i]);
    }
    for (size_t i = 0; i < a->peer_slot_count; i++) {
        actor_join(a->peers[i]);
    }
    stop_and_join(a->log);
    stop_and_join(a->apply);
    stop_and_join(a->copy);
    stop_and_join(a->watch);
    stop_and_join(a->flush);
    stop_and_join(a->space);
    stop_and_join(a->supervisor);
    stop_and_join(a->timer);
}

static void destroy(struct daemon *d)
{
    struct node_actors *a = &d->actors;
    actor_destroy(a->listener);
    for (size_t i = 0; i < a->client_count; i++) {
        actor_destroy(a->clients[i]);
    }
    actor_destroy(a->raft);
    if (a->discovery != NULL) {
        actor_destroy(a->discovery);
    }
    for (size_t i = 0; i < a->peer_slot_count; i++) {
        actor_destroy(a->peers[i]);
    }
    actor_destroy(a->log);
    actor_destroy(a->apply);
    actor_destroy(a->watch);
    actor_destroy(a->flush);
    actor_destroy(a->copy);
    actor_destroy(a->space);
    actor_destroy(a->supervisor);
    actor_destroy(a->timer);
    credits_destroy(d->connections);
    credits_destroy(d->requests);
    credits_destroy(d->streams);
    credits_destroy(d->bytes);
}

/* ---- signals ----------------------------------------------------------------------------------------- */

static void leave_at_once(int number)
{
    UNUSED(number);
    static const char text[] = "holdfastd: second signal, leaving at once\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    UNUSED(ignored);
    _exit(EXIT_CODE_FAILURE);
}

static void block_signals(sigset_t *stopping)
{
    sigemptyset(stopping);
    sigaddset(stopping, SIGTERM);
    sigaddset(stopping, SIGINT);
    (void)sigprocmask(SIG_BLOCK, stopping, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int wait_for_signal(const sigset_t *stopping)
{
    int number = 0;
    while (sigwait(stopping, &number) != 0) {}
    struct sigaction second = {.sa_handler = leave_at_once};
    sigemptyset(&second.sa_mask);
    (void)sigaction(SIGTERM, &second, NULL);
    (void)sigaction(SIGINT, &second, NULL);
    (void)sigprocmask(SIG_UNBLOCK, stopping, NULL);
    return number;
}

/* ---- run --------------------------------------------------------------------------------------------- */

/*
 * A damaged node gets back from the others what it lost, and does not vote until then. A one-member
 * cluster has no others: only a person can say that what is left is all there is.
 */
static enum exit_code judge_damage(struct daemon *d)
{
    struct log_recovered *found = &d->stores.recovered;
    const char *what = found->damaged ? found->damage_text : "found at an earlier start";
    if (!found->may_not_vote) {
        return EXIT_CODE_OK;
    }
    if (d->config.member_count > 1) {
        log_event(LOG_ERROR, "log damaged",
                  "what=\"%s\" next=\"nothing: the node follows without voting until the others "
                  "have given "
                  "it back what it lost\"",
                  what);
        return EXIT_CODE_OK;
    }
    if (!d->accept_damaged_log) {
        fprintf(stderr,
                "holdfastd: the log in %s is damaged (%s), and a one-member cluster has nobody to "
                "get it "
                "back from; check the disk, restore a backup, or start once with "
                "--accept-damaged-log to "
                "go on with what is left\n",
                d->config.data_dir, what);
        return EXIT_CODE_DATA_FORMAT;
    }
    log_event(LOG_ERROR, "log damaged", "what=\"%s\" decision=\"accepted by --accept-damaged-log\"",
              what);
    found->may_not_vote = false;
    return EXIT_CODE_OK;
}

/*
 * Listen on an address that may be a name. Name servers that do not answer are waited for, since after a power cut they
 * may well start later than we do; a name that they say is none, and an address that is in use, end the start.
 * EXIT_CODE_OK with *fd -1: a signal came.
 */
static enum exit_code listen_on(const char *address, const sigset_t *stopping, int *fd)
{
    char problem[PROBLEM_TEXT_MAX] = "";
    bool told = false;
    for (;;) { /* until it works, cannot work, or is ended by a signal */
        enum err error = socket_listen(address, fd, problem, sizeof(problem));
        if (error == OK) {
            return EXIT_CODE_OK;
        }
        if (error != ERR_NOT_FOUND) {
            fprintf(stderr, "holdfastd: %s\n", problem);
            return EXIT_CODE_FAILURE;
        }
        if (!told) {
            told = true;
            log_event(LOG_WARNING, "waiting for name servers",
                      "address=%s reason=\"%s\" next=\"trying again every second\"", address,
                      problem);
            (void)sd_notifyf(0, "STATUS=Waiting for name servers to resolve %s", address);
        }
        const struct timespec pause = {.tv_sec = LISTEN_RETRY_S};
        *fd = -1;
        if (sigtimedwait(stopping, NULL, &pause) > 0) {
            return EXIT_CODE_OK;
        }
    }
}

/*
 * The stores, on a full disk with the help of what is left of the reserve. Where even that is too little, somebody else
 * uses the disk: wait for room, as long as it takes. Ended by a signal: OK with no stores.
 */
static enum exit_code open_stores(struct daemon *d, const sigset_t *stopping, char *problem,
                                  size_t problem_size)
{
    bool told = false;
    d->space = space_open(d->config.data_dir, d->config.store.reserve_bytes,
                          d->config.store.low_space_bytes);
    for (;;) {
        struct space_facts facts = {0};
        if (space_look(d->space, true, &facts) == OK && facts.low && !told) {
            log_event(LOG_WARNING, "disk is short of room",
                      "free_bytes=%" PRIu64 " reserve_bytes=%" PRIu64, facts.free_bytes,
                      facts.reserve_bytes);
        }
        enum exit_code code =
            node_stores_open(&d->config, draw_random(), &d->stores, problem, problem_size);
        if (code != EXIT_CODE_DISK_FULL) {
            return code;
        }
        if (!told) {
            told = true;
            log_event(LOG_ERROR, "waiting for room",
                      "data_dir=%s reason=\"%s\" next=\"trying again every second\"",
                      d->config.data_dir, problem);
            (void)sd_notifyf(0, "STATUS=Waiting for room in %s", d->config.data_dir);
        }
        const struct timespec pause = {.tv_sec = ROOM_RETRY_S};
        if (sigtimedwait(stopping, NULL, &pause) > 0) {
            return EXIT_CODE_OK;
        }
    }
}

static enum exit_code open_everything(struct daemon *d, const sigset_t *stopping)
{
    char problem[PROBLEM_TEXT_MAX] = "";
    enum err taken = data_dir_take(d->config.data_dir, true, problem, sizeof(problem));
    if (taken != OK) {
        fprintf(stderr, "holdfastd: %s\n", problem);
        return taken == ERR_BUSY_FILE ? EXIT_CODE_IN_USE : EXIT_CODE_FAILURE;
    }
    d->client_fd = d->peer_fd = -1;
    enum exit_code code = open_stores(d, stopping, problem, sizeof(problem));
    if (code != EXIT_CODE_OK) {
        fprintf(stderr, "holdfastd: %s\n", problem);
        return code;
    }
    if (d->stores.log == NULL) {
        return EXIT_CODE_OK;
    }
    code = judge_damage(d);
    if (code != EXIT_CODE_OK) {
        node_stores_close(&d->stores);
        return code;
    }
    code = listen_on(d->config.listen_client, stopping, &d->client_fd);
    if (code == EXIT_CODE_OK && d->client_fd >= 0) {
        code = listen_on(d->config.listen_peer, stopping, &d->peer_fd);
    }
    if (code != EXIT_CODE_OK || d->peer_fd < 0) {
        node_stores_close(&d->stores);
    }
    return code;
}

static enum exit_code run(struct daemon *d)
{
    sigset_t stopping;
    block_signals(&stopping);
    raise_descriptor_limit();
    enum exit_code code = open_everything(d, &stopping);
    if (code != EXIT_CODE_OK || d->peer_fd < 0) {
        return code;
    }
    d->logger = logger_actor_create();
    actor_start(d->logger);
    logger_install(d->logger);
    log_event(LOG_NOTICE, "starting",
              "version=" HOLDFAST_VERSION " cluster=%s node=%s member_id=%016" PRIx64
              " boot=%" PRIu64 " client=%s peer=%s",
              d->config.cluster, d->config.node, d->stores.identity.member_id,
              d->stores.identity.boot_number, d->config.listen_client, d->config.listen_peer);
    if (!web_is_loopback(d->config.listen_client)) {
        log_event(LOG_WARNING, "clients are served without encryption beyond this machine",
                  "client=%s advice=\"trust the network, or listen on 127.0.0.1 behind a proxy\"",
                  d->config.listen_client);
    }
    say_limits(&d->config);
    build(d);
    start(d);
    (void)sd_notify(0, "READY=1");

    int number = wait_for_signal(&stopping);
    (void)sd_notify(0, "STOPPING=1");
    log_event(LOG_NOTICE, "stopping", "signal=%s", strsignal(number));
    stop(d);
    log_event(LOG_NOTICE, "stopped", "node=%s", d->config.node);
    logger_uninstall();
    stop_and_join(d->logger);
    actor_destroy(d->logger);
    destroy(d);
    return EXIT_CODE_OK;
}

static void print_config(const struct config *config)
{
    struct buffer text = {0};
    config_print(config, &text);
    (void)fwrite(text.data, 1, text.size, stdout);
    buffer_free(&text);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.config_path = "/etc/holdfast/holdfast.conf"};
    static const struct argp argp = {options, parse_option, NULL, doc, NULL, NULL, NULL};
    argp_err_exit_status = EXIT_CODE_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments) != 0) {
        return EXIT_CODE_USAGE;
    }
    static struct daemon daemon; /* large; its life is the process's */
    char problem[PROBLEM_TEXT_MAX] = "";
    enum err error = config_load(arguments.config_path, &daemon.config, problem, sizeof(problem));
    if (error != OK) {
        fprintf(stderr, "holdfastd: %s\n", problem);
        return EXIT_CODE_CONFIG;
    }
    if (arguments.check_only) {
        printf("%s: ok: node %s of %zu members of cluster %s\n", arguments.config_path,
               daemon.config.node, daemon.config.member_count, daemon.config.cluster);
        return EXIT_CODE_OK;
    }
    if (arguments.print_only) {
        print_config(&daemon.config);
        return EXIT_CODE_OK;
    }
    log_set_level(daemon.config.log_level);
    daemon.accept_damaged_log = arguments.accept_damaged_log;
    return (int)run(&daemon);
}
