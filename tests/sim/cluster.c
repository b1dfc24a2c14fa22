/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.c: see cluster.h. */
#include "cluster.h"

#include "node/apply_actor.h"
#include "node/raft_actor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STOP_POLL_US    1000
#define HASH_INTERVAL   40 /* entries between two looks at kv_hash, about */
#define PATH_NODE(node) ((node) + 1)
#define INSTALL_OPERATIONS_MAX                                                                     \
    40 /* on the disk, about what the end of the old table and the start of the new one take */

static uint64_t draw(struct cluster *c, uint64_t least, uint64_t most)
{
    return least + random_below(&c->random, most - least + 1);
}

/* ---- failures and lines --------------------------------------------------------------------------- */

void cluster_fail(struct cluster *c, const char *format, ...)
{
    if (c->failed) {
        return; /* the first one counts */
    }
    c->failed = true;
    c->failed_at_us = runner_now_us(c->runner);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(c->failure, sizeof(c->failure), format, arguments);
    va_end(arguments);
    runner_halt(c->runner);
}

static void check_failed(void *context, const char *text)
{
    cluster_fail(context, "%s", text);
}

static void keep_line(void *context, enum log_level level, const char *line, size_t size)
{
    struct cluster *c = context;
    UNUSED(level);
    if (c->verbose) {
        printf("%12.6f %.*s\n", (double)runner_exact_us(c->runner) / 1e6, (int)size, line);
        return;
    }
    (void)snprintf(c->lines[c->line_count++ % CLUSTER_LINES], CLUSTER_LINE_BYTES, "%12.6f %.*s",
                   (double)runner_exact_us(c->runner) / 1e6, (int)size, line);
}

/* ---- hooks ------------------------------------------------------------------------------------------- */

static uint64_t disk_now(void *context)
{
    struct cluster *c = context;
    return runner_exact_us(c->runner);
}

static void disk_spend(void *context, uint64_t us)
{
    struct cluster *c = context;
    runner_spend_us(c->runner, us);
}

static void on_sent(void *context, struct actor *to, const struct msg *m)
{
    struct cluster *c = context;
    if (m->kind == PEER_SEND) {
        const struct raft_message *said = &((const struct peer_send *)m)->message;
        c->figures.timeouts_now += said->type == RAFT_TIMEOUT_NOW;
        c->figures.snapshots_sent += said->type == RAFT_INSTALL_SNAPSHOT && said->offset == 0;
    }
    size_t node = runner_node_of(to) - 1;
    if (m->kind == LOG_PERSIST && ((const struct log_persist *)m)->persist.reset_index != 0 &&
        c->dies_at_installs && random_below(&c->install_random, 2) == 0) {
        disk_die_after(c->disk, PATH_NODE(node),
                       1 + random_below(&c->install_random, INSTALL_OPERATIONS_MAX));
    }
    if (m->kind == CLIENT_STATUS) {
        members_answered(c, node, ((const struct node_status *)m)->request_id);
    }
    checks_sent(&c->checks, node, m);
}

static void check_hash(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    struct kv *kv = apply_actor_kv(runner_private_of(m->actors->apply));
    uint64_t applied = kv_applied_index(kv);
    if (applied < m->hash_after) {
        return;
    }
    uint64_t hash = 0;
    checks_state(&c->checks, node, kv);
    enum err error = kv_hash(kv, &hash);
    if (error == OK) {
        checks_hash(&c->checks, node, applied, hash);
    } else if (!m->faulty_disk) {
        cluster_fail(c, "n%zu: kv_hash: %s", node + 1, err_text(error));
    } else {
        /* Our look met the injected error in the node's stead; it would have ended as well. */
        cluster_crash_node(c, node, DISK_CUT_PROCESS);
        return;
    }
    m->hash_after = applied - applied % HASH_INTERVAL + HASH_INTERVAL;
}

static void on_ran(void *context, struct actor *a)
{
    struct cluster *c = context;
    size_t node = runner_node_of(a) - 1;
    struct machine *m = &c->machines[node];
    if (m->actors == NULL) {
        return;
    }
    if (disk_is_dead(c->disk, PATH_NODE(node))) {
        cluster_crash_node(c, node, draw(c, 0, 1) == 0 ? DISK_CUT_POWER : DISK_CUT_PROCESS);
        return;
    }
    if (a == m->actors->raft) {
        const struct raft *core = cluster_core(c, node);
        if (core != NULL) {
            checks_raft_ran(&c->checks, node, core);
            if (c->checks.nodes[node].changed) {
                c->checks.nodes[node].changed = false;
                members_changed(c, node, raft_configuration(core));
            }
        }
    } else if (a == m->actors->apply) {
        check_hash(c, node);
    }
}

static void on_committed(void *context, const struct entry *e)
{
    struct cluster *c = context;
    history_committed(&c->history, e, runner_exact_us(c->runner));
}

/* The process is gone: what all parts have to know. */
static void node_is_down(struct cluster *c, size_t node, enum disk_cut cut)
{
    struct machine *m = &c->machines[node];
    m->last_cut = cut;
    mem_free(m->actors);
    m->actors = NULL;
    m->state = MACHINE_OFF;
    net_node_down(c->net, node);
    checks_node_down(&c->checks, node);
    if (c->restarts) {
        cluster_restart_later(c, node, draw(c, 1000, c->restart_us_max));
    }
}

/* actor_fatal: the actors are gone already. */
static void on_fatal(void *context, size_t path_node, enum exit_code code, const char *event,
                     const char *detail)
{
    struct cluster *c = context;
    size_t node = path_node - 1;
    struct machine *m = &c->machines[node];
    bool dead = disk_is_dead(c->disk, path_node);
    /* A frame lost in the middle of a checkpoint may leave a broken tree that is met much later: then to
     * stop for good is right. */
    bool broken = m->flipped && strstr(detail, err_text(ERR_CORRUPT)) != NULL;
    if (!dead && !broken &&
        (!m->faulty_disk || (code != EXIT_CODE_DISK && code != EXIT_CODE_DISK_FULL))) {
        cluster_fail(c, "n%zu ended with code %d: %s: %s", node + 1, (int)code, event, detail);
    }
    c->figures.fatals++;
    if (m->spoiling_disk) {
        checks_excuse(&c->checks, node);
    }
    enum disk_cut cut = draw(c, 0, 2) == 0 ? DISK_CUT_PROCESS : DISK_CUT_POWER;
    disk_cut(c->disk, path_node, cut);
    node_is_down(c, node, cut);
    if (broken) {
        m->state = MACHINE_LOST;
        m->destroyed_us = runner_now_us(c->runner);
        c->figures.lost++;
    }
}

/* ---- nodes ------------------------------------------------------------------------------------------------ */

static void draw_config(struct cluster *c, struct config *shared)
{
    static const uint32_t election_ms[] = {200, 500, 1000, 1000};
    static const uint64_t small_or_large[] = {300, 5000, 1 << 20};
    static const uint64_t append_bytes[] = {100, 1000, 1 << 20}; /* 100: an entry a message */
    memset(shared, 0, sizeof(*shared));
    (void)snprintf(shared->cluster, sizeof(shared->cluster), "sim");
    shared->member_count = c->node_count;
    for (size_t i = 0; i < c->node_count; i++) {
        struct config_member *m = &shared->members[i];
        (void)snprintf(m->name, sizeof(m->name), "n%zu", i + 1);
        (void)snprintf(m->peer, sizeof(m->peer), "n%zu:2380", i + 1);
        (void)snprintf(m->client, sizeof(m->client), "n%zu:2379", i + 1);
    }
    shared->log_level = LOG_DEBUG;
    shared->client_threads = CLUSTER_CLIENTS;
    shared->request_bytes_max = 1 << 20;
    shared->raft.election_timeout_ms = election_ms[draw(c, 0, 3)];
    shared->raft.heartbeat_ms = shared->raft.election_timeout_ms / 5;
    shared->raft.disk_stall_ms = 1500;
    shared->raft.window_bytes = small_or_large[draw(c, 0, 2)];
    shared->raft.append_bytes_max = append_bytes[draw(c, 0, 2)];
    shared->raft.cache_bytes_max = small_or_large[draw(c, 0, 2)];
    shared->raft.uncommitted_bytes_max = small_or_large[draw(c, 1, 2)];
    shared->raft.apply_bytes_max = small_or_large[draw(c, 0, 2)];
    shared->raft.leader_lease = draw(c, 0, 2) == 0;
    shared->raft.read_lag_max_entries = draw(c, 0, 1) == 0 ? 50 : 20000;
    shared->kv.flush_changes_max = (uint32_t)draw(c, 1, 200);
    shared->kv.flush_interval_ms = (uint32_t)draw(c, 10, 1000);
    shared->kv.flush_bytes_max = 1 << 20;
    shared->kv.overlay_bytes_max = draw(c, 0, 3) == 0 ? 20000 : 1 << 22;
    shared->compaction.keep_s = draw(c, 0, 3);
    shared->compaction.keep_revisions = draw(c, 0, 2) * 20;
    shared->kv.cache_bytes_max = draw(c, 0, 1) == 0 ? 0 : 1 << 20;
    shared->watchers_max = 1000;
    shared->watch.progress_interval_ms = 500;
    shared->watch.ring_bytes_max = draw(c, 0, 1) == 0 ? 4096 : 1 << 20;
    shared->watch.stream_bytes_max = draw(c, 0, 1) == 0 ? 2000 : 1 << 16;
    shared->watch.bytes_max = draw(c, 0, 2) == 0 ? 4000 : 1 << 20;
    shared->watch.response_bytes_max = 1 << 22;
}

/* A log that keeps little: who was away for a while needs a snapshot. Its own random state, so that the other seeds draw
 * what they always drew. */
static void draw_snapshots(struct cluster *c, struct config *shared)
{
    uint64_t random = c->seed ^ UINT64_C(0x736e617073686f74);
    if (random_below(&random, 3) == 0) {
        shared->raft.log_keep_bytes = 1000 + random_below(&random, 20000);
        c->dies_at_installs = true;
    }
    c->install_random = random;
}

/* One in two clusters whose leaders read by leases has members that wait longer for a leader than others do. */
static void draw_timeouts(const struct cluster *c, struct config *config)
{
    uint64_t random = c->seed ^ UINT64_C(0x74696d656f757473);
    if (!config->raft.leader_lease || random_below(&random, 2) == 0) {
        return;
    }
    for (size_t i = 0; i <= config->node_index; i++) {
        config->raft.election_timeout_ms =
            config->raft.heartbeat_ms * 5 * (1 + (uint32_t)random_below(&random, 3));
    }
}

static void draw_load(struct cluster *c)
{
    static const uint64_t think_us[] = {200000, 1000000, 4000000};
    c->load = (struct client_load){
        .key_count = (uint32_t)draw(c, 1, 6),
        .slots = (size_t)draw(c, 1, 4),
        .think_us_max = think_us[draw(c, 0, 2)],
        .timeout_us_min = 200000,
        .timeout_us_max = 200000 + 2000000 * draw(c, 0, 2),
        .put_of_100 = (uint32_t)draw(c, 15, 40),
        .delete_of_100 = (uint32_t)draw(c, 0, 10),
        .txn_of_100 = (uint32_t)draw(c, 0, 20),
        .shared_of_100 = (uint32_t)draw(c, 0, 10),
        .lease_of_100 = (uint32_t)(draw(c, 0, 1) * draw(c, 0, 12)),
        .compact_of_100 = (uint32_t)(draw(c, 0, 1) * draw(c, 0, 2)),
        .keepers = draw(c, 0, 2) != 0,
        .serializable_of_100 = 15,
        .past_of_100 = 10,
        .all_of_100 = 20,
        .value_bytes_max = draw(c, 0, 3) == 0 ? 1000 : 40,
    };
}

struct cluster *cluster_create(uint64_t seed, size_t node_count, const struct members_plan *plan,
                               bool verbose)
{
    struct cluster *c = mem_zalloc(sizeof(*c));
    c->plan = *plan;
    ASSERT(node_count <= CLUSTER_NODES_MAX);
    c->seed = seed;
    c->random = seed ^ UINT64_C(0x636c7573746572);
    c->node_count = node_count;
    c->verbose = verbose;
    c->lines = mem_zalloc(CLUSTER_LINES * sizeof(c->lines[0]));
    const struct runner_hooks hooks = {
        .sent = on_sent, .ran = on_ran, .fatal = on_fatal, .context = c};
    c->runner = runner_create(seed, &hooks);
    const struct disk_hooks disk_hooks = {.now_us = disk_now, .spend_us = disk_spend, .context = c};
    c->disk = disk_create(seed, &disk_hooks);
    c->net = net_create(seed, node_count, c->runner);
    checks_start(&c->checks, node_count, check_failed, c);
    c->checks.committed = on_committed;
    draw_load(c);
    history_start(&c->history, &c->checks, c->load.key_count);
    watch_history_start(&c->watches, &c->checks, (size_t)draw(c, 0, WATCH_SUBS_MAX),
                        random_next(&c->random));

    struct config shared;
    draw_config(c, &shared);
    draw_snapshots(c, &shared);
    for (size_t i = 0; i < node_count; i++) {
        struct machine *m = &c->machines[i];
        m->config = shared;
        m->config.node_index = i;
        draw_timeouts(c, &m->config);
        memcpy(m->config.node, shared.members[i].name, sizeof(m->config.node));
        if (c->plan.on) {
            members_config(&c->plan, i, &m->config);
        }
        (void)snprintf(m->config.data_dir, sizeof(m->config.data_dir), "/n%zu", PATH_NODE(i));
        static const int64_t drifts[] = {0, 0, 0, 200, -200, 10000, -10000, 50000, -50000};
        /* What leases promise to stand (trap 35). */
        static const int64_t lease_drifts[] = {0, 50000, -50000, 100000, -100000, 100000, -100000};
        int64_t drift = shared.raft.leader_lease ? lease_drifts[draw(c, 0, 6)]
                                                 : drifts[draw(c, 0, ARRAY_COUNT(drifts) - 1)];
        runner_set_clock(c->runner, PATH_NODE(i), draw(c, 0, 1000000000), drift);
        disk_cut(c->disk, PATH_NODE(i), DISK_CUT_PROCESS);
    }
    c->restarts = true;
    c->restart_us_max = 2000000;
    log_set_sink(keep_line, c);
    log_set_level(verbose ? LOG_DEBUG : LOG_INFO);
    return c;
}

void cluster_destroy(struct cluster **cluster)
{
    struct cluster *c = *cluster;
    *cluster = NULL;
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->node_count; i++) {
        disk_cut(c->disk, PATH_NODE(i), DISK_CUT_PROCESS);
    }
    c->restarts = false;
    net_close(c->net);
    for (size_t i = 0; i < c->node_count; i++) {
        runner_crash_node(c->runner, PATH_NODE(i));
        mem_free(c->machines[i].actors);
    }
    log_set_sink(NULL, NULL);
    runner_destroy(&c->runner);
    net_destroy(&c->net);
    disk_destroy(&c->disk);
    history_free(&c->history);
    checks_free(&c->checks);
    mem_free(c->lines);
    mem_free(c);
}

/* The files could not be opened: the disk again, or what we did to it, or a bug. */
static void start_refused(struct cluster *c, size_t node, enum exit_code code, const char *problem)
{
    struct machine *m = &c->machines[node];
    bool dead = disk_is_dead(c->disk, PATH_NODE(node));
    c->figures.refused_starts++;
    c->checks.nodes[node].start_refused = true;
    log_event(LOG_WARNING, "start refused", "node=n%zu code=%d problem=\"%s\"", node + 1, (int)code,
              problem);
    disk_cut(c->disk, PATH_NODE(node), DISK_CUT_PROCESS);
    if (m->spoiling_disk) {
        checks_excuse(&c->checks, node);
    }
    if (code == EXIT_CODE_DATA_FORMAT && c->checks.nodes[node].excused) {
        m->state = MACHINE_LOST;
        m->destroyed_us = runner_now_us(c->runner);
        c->figures.lost++;
        return;
    }
    if (!dead && (!m->faulty_disk || code == EXIT_CODE_DATA_FORMAT || code == EXIT_CODE_IDENTITY)) {
        cluster_fail(c, "n%zu does not start, code %d: %s", node + 1, (int)code, problem);
    }
    m->state = MACHINE_OFF;
    cluster_restart_later(c, node, draw(c, 100000, 1000000));
}

/* As main.c: one for each listed member, and where members change spare ones. */
static void create_peers(struct cluster *c, size_t node, const struct peer_hello *hello,
                         const struct configuration *configuration)
{
    const struct config *config = &c->machines[node].config;
    struct node_actors *a = c->machines[node].actors;
    size_t slots = c->plan.on ? MEMBERS_SLOTS : config->member_count - 1;
    for (size_t i = 0; a->peer_slot_count < slots; i++) {
        if (i == config->node_index) {
            continue;
        }
        struct peer_actor_settings settings = {
            .peer_index = a->peer_slot_count,
            .hello = *hello,
            .configuration = *configuration,
            .heartbeat_ms = config->raft.heartbeat_ms,
            .election_timeout_ms = config->raft.election_timeout_ms,
            .seed = random_next(&c->random),
            .actors = a,
        };
        if (i < config->member_count) {
            memcpy(settings.name, config->members[i].name, sizeof(settings.name));
            memcpy(settings.address, config->members[i].peer, sizeof(settings.address));
            memcpy(a->peer_names[a->peer_count++], settings.name, sizeof(settings.name));
        }
        a->peers[a->peer_slot_count++] =
            net_peer_create(c->net, node, c->machines[node].boot, &settings);
    }
    if (c->plan.on) {
        const struct listener_actor_settings settings = {
            .hello = *hello, .configuration = *configuration, .actors = a};
        a->listener = net_listener_create(c->net, node, c->machines[node].boot, &settings);
    }
}

static void create_clients(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    struct node_actors *a = m->actors;
    for (size_t i = 0; i < CLUSTER_CLIENTS; i++) {
        const struct client_settings settings = {
            .node = node + 1,
            .client_index = i,
            .seed = random_next(&c->random),
            .origin = m->boot_id,
            .load = &c->load,
            .history = &c->history,
            .watches = &c->watches,
            .runner = c->runner,
            .actors = a,
        };
        a->clients[a->client_count++] = client_create(&settings);
    }
}

/* Not after a power cut: there raft.mark may lag (design §4), and the loss of the last transaction to
 * both at once is beyond what anybody could tell. */
static void perhaps_flip(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    if (m->boot > 0 && m->last_cut == DISK_CUT_PROCESS &&
        random_below(&c->random, 100) < c->flip_of_100 && cluster_may_damage(c, node) &&
        disk_flip_bit(c->disk, PATH_NODE(node), "raft.db-wal")) {
        c->figures.flips++;
        m->flipped = true;
        checks_excuse(&c->checks, node);
        log_event(LOG_INFO, "bit flipped", "node=n%zu", node + 1);
    }
}

void cluster_start_node(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    if (m->state != MACHINE_OFF || m->gone) {
        return;
    }
    perhaps_flip(c, node);
    char problem[400];
    struct node_stores stores;
    disk_power_on(c->disk, PATH_NODE(node));
    enum exit_code code =
        node_stores_open(&m->config, random_next(&c->random), &stores, problem, sizeof(problem));
    if (code == EXIT_CODE_OK && disk_is_dead(c->disk, PATH_NODE(node))) {
        node_stores_close(&stores);
        code = EXIT_CODE_DISK;
    }
    if (code != EXIT_CODE_OK) {
        start_refused(c, node, code, problem);
        return;
    }
    m->state = MACHINE_RUNNING;
    m->boot++;
    m->boot_id = random_next(&c->random) | 1;
    c->figures.damaged_starts += stores.recovered.damaged;
    log_event(LOG_INFO, "machine starts",
              "node=n%zu boot=%" PRIu64 " term=%" PRIu64 " log=%" PRIu64 " trimmed=%" PRIu64
              " kv=%" PRIu64 " damaged=%d may_not_vote=%d %s",
              node + 1, m->boot, stores.recovered.current_term, stores.recovered.last_log_index,
              stores.recovered.trimmed_index, stores.meta.applied_index, stores.recovered.damaged,
              stores.recovered.may_not_vote, stores.recovered.damage_text);
    checks_node_started(&c->checks, node, &stores);

    m->actors = mem_zalloc(sizeof(*m->actors));
    m->hash_after = stores.meta.applied_index;
    runner_enter_node(c->runner, PATH_NODE(node));
    struct peer_hello hello;
    node_hello(&m->config, &stores, m->boot_id, &hello);
    struct configuration configuration = stores.recovered.configuration;
    node_create_core(&m->config, &stores, random_next(&c->random), m->boot_id, m->actors);
    create_peers(c, node, &hello, &configuration);
    create_clients(c, node);
    struct node_actors *a = m->actors;
    actor_start(a->timer);
    actor_start(a->flush);
    actor_start(a->copy);
    actor_start(a->watch);
    actor_start(a->apply);
    actor_start(a->log);
    if (a->listener != NULL) {
        actor_start(a->listener);
    }
    for (size_t i = 0; i < a->peer_count; i++) {
        actor_start(a->peers[i]);
    }
    actor_start(a->raft);
    for (size_t i = 0; i < a->client_count; i++) {
        actor_start(a->clients[i]);
    }
}

void cluster_crash_node(struct cluster *c, size_t node, enum disk_cut cut)
{
    struct machine *m = &c->machines[node];
    if (m->state != MACHINE_RUNNING && m->state != MACHINE_STOPPING) {
        return;
    }
    c->figures.crashes++;
    c->figures.power_cuts += cut == DISK_CUT_POWER;
    log_event(LOG_INFO, "machine crashes", "node=n%zu power=%d", node + 1, cut == DISK_CUT_POWER);
    disk_cut(c->disk, PATH_NODE(node), cut);
    runner_crash_node(c->runner, PATH_NODE(node));
    node_is_down(c, node, cut);
}

void cluster_wipe_node(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    ASSERT(m->state == MACHINE_OFF);
    disk_wipe(c->disk, PATH_NODE(node));
    checks_wiped(&c->checks, node, runner_now_us(c->runner));
    m->flipped = false;
}

static void call_restart(void *context, uint64_t argument)
{
    cluster_start_node(context, (size_t)argument);
}

void cluster_restart_later(struct cluster *c, size_t node, uint64_t delay_us)
{
    runner_at(c->runner, runner_now_us(c->runner) + delay_us, call_restart, c, node);
}

/* ---- stopping in order, as main.c does ------------------------------------------------------------------------- */

/* The actors in the order in which they are asked; NULL behind the last. */
static struct actor *stop_order(const struct node_actors *a, size_t step)
{
    if (a->listener != NULL && step-- == 0) {
        return a->listener;
    }
    if (step < a->client_count) {
        return a->clients[step];
    }
    step -= a->client_count;
    if (step == 0) {
        return a->raft;
    }
    step--;
    if (step < a->peer_slot_count) {
        return a->peers[step];
    }
    step -= a->peer_slot_count;
    struct actor *const rest[] = {a->log, a->apply, a->watch, a->copy, a->flush, a->timer};
    return step < ARRAY_COUNT(rest) ? rest[step] : NULL;
}

static void call_stop_step(void *context, uint64_t argument)
{
    struct cluster *c = context;
    size_t node = (size_t)(argument & 0xff);
    struct machine *m = &c->machines[node];
    if (m->state != MACHINE_STOPPING || m->boot != argument >> 8) {
        return;
    }
    struct actor *asked = m->stop_step > 0 ? stop_order(m->actors, m->stop_step - 1) : NULL;
    if (asked == NULL || runner_has_stopped(asked) || !runner_was_started(asked)) {
        struct actor *next = stop_order(m->actors, m->stop_step);
        if (next == NULL) {
            c->figures.stops++;
            log_event(LOG_INFO, "machine stops", "node=n%zu", node + 1);
            runner_crash_node(c->runner,
                              PATH_NODE(node)); /* frees; the disk is alive, files close */
            enum disk_cut cut = draw(c, 0, 1) == 0 ? DISK_CUT_POWER : DISK_CUT_PROCESS;
            disk_cut(c->disk, PATH_NODE(node), cut);
            node_is_down(c, node, cut);
            return;
        }
        m->stop_step++;
        actor_stop(next);
    }
    runner_at(c->runner, runner_now_us(c->runner) + STOP_POLL_US, call_stop_step, c, argument);
}

void cluster_stop_node(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    if (m->state != MACHINE_RUNNING) {
        return;
    }
    m->state = MACHINE_STOPPING;
    m->stop_step = 0;
    call_stop_step(c, node | m->boot << 8);
}

#define MOVE_TIMEOUT_US 5000000

void cluster_move_leader(struct cluster *c, size_t asked, size_t target)
{
    const struct machine *m = &c->machines[asked];
    uint64_t id = c->checks.nodes[target].member_id;
    if (m->state != MACHINE_RUNNING || id == 0) {
        return;
    }
    c->figures.transfers++;
    log_event(LOG_INFO, "lead is to move", "asked=n%zu to=n%zu", asked + 1, target + 1);
    struct raft_change_members *move =
        MSG_NEW(struct raft_change_members, RAFT_CHANGE_MEMBERS, NULL);
    move->group = GROUP_DEFAULT;
    move->deadline_us = runner_node_clock_us(c->runner, PATH_NODE(asked)) + MOVE_TIMEOUT_US;
    move->request = (struct member_request){.action = MEMBER_TRANSFER, .id = id};
    ACTOR_SEND(m->actors->raft, move);
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

size_t cluster_running(const struct cluster *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->node_count; i++) {
        count += c->machines[i].state == MACHINE_RUNNING;
    }
    return count;
}

size_t cluster_whole(const struct cluster *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->node_count; i++) {
        const struct checks_node *n = &c->checks.nodes[i];
        bool may_not_vote = n->seen_any && n->seen.may_not_vote;
        count += c->machines[i].state != MACHINE_LOST && !c->machines[i].spoiling_disk &&
                 !n->excused && !may_not_vote;
    }
    return count;
}

bool cluster_may_damage(const struct cluster *c, size_t node)
{
    if (c->plan.on) {
        return members_may_destroy(c, node);
    }
    const struct checks_node *target = &c->checks.nodes[node];
    bool whole = !target->excused && !(target->seen_any && target->seen.may_not_vote);
    /* Until the founding entry is committed its founder's disk is the only one that knows it. And whose
     * bits were flipped once may still be found broken. */
    size_t doubtful = c->node_count - cluster_whole(c);
    for (size_t i = 0; i < c->node_count; i++) {
        doubtful += i != node && c->machines[i].flipped;
    }
    return whole && c->checks.model.count > 0 && (doubtful + 1) * 2 < c->node_count;
}

size_t cluster_leader(const struct cluster *c)
{
    size_t leader = SIZE_MAX;
    for (size_t i = 0; i < c->node_count; i++) {
        const struct checks_node *n = &c->checks.nodes[i];
        if (n->running && n->seen_any && n->seen.role == RAFT_LEADER &&
            (leader == SIZE_MAX ||
             n->seen.current_term > c->checks.nodes[leader].seen.current_term)) {
            leader = i;
        }
    }
    return leader;
}

bool cluster_is_stranded(const struct cluster *c, size_t node)
{
    const struct checks_node *n = &c->checks.nodes[node];
    size_t leader = cluster_leader(c);
    return n->running && n->seen_any && leader != SIZE_MAX && leader != node &&
           c->figures.damaged_starts > 0 && c->machines[node].config.raft.log_keep_bytes == 0 &&
           c->checks.nodes[leader].seen.first_log_index > n->seen.last_log_index + 1;
}

const struct raft *cluster_core(const struct cluster *c, size_t node)
{
    const struct machine *m = &c->machines[node];
    if (m->actors == NULL || !runner_is_alive(m->actors->raft)) {
        return NULL;
    }
    return raft_actor_core(runner_private_of(m->actors->raft));
}
