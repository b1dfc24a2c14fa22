/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster.h: the simulated machines: starting, stopping and crashing whole nodes, and the one struct
 * everything of a run hangs on.
 *
 * A node is put together as main.c does it (node_stores_open, node_create_core, then peers and
 * clients), from the same handlers; only the runner, the peers, the clients and the VFS are ours.
 */
#ifndef HOLDFAST_SIM_CLUSTER_H
#define HOLDFAST_SIM_CLUSTER_H

#include "clients.h"
#include "members.h"
#include "net.h"

#define CLUSTER_NODES_MAX  7
#define CLUSTER_CLIENTS    2 /* client actors of a node */
#define CLUSTER_TEXT_MAX   2048
#define CLUSTER_LINES      400 /* last log lines kept for a failure */
#define CLUSTER_LINE_BYTES 320

enum machine_state {
    MACHINE_OFF, /* no process; restart_at is set, or it stays off */
    MACHINE_RUNNING,
    MACHINE_STOPPING, /* asked to stop in order */
    MACHINE_LOST,     /* its data directory is beyond repair after we spoilt it */
};

struct machine {
    enum machine_state state;
    struct config config;
    struct node_actors *actors;
    uint64_t boot; /* power-ons */
    uint64_t boot_id;
    enum disk_cut last_cut;
    size_t stop_step;    /* STOPPING: how many actors have been asked */
    uint64_t hash_after; /* kv_hash is taken when the applied index has passed it */
    bool faulty_disk;    /* errors are being injected: exits for the disk's sake are no surprise */
    bool flipped;        /* a bit of its raft.db-wal was flipped in this run */
    bool gone;           /* nobody switches it on again */
    uint64_t destroyed_us; /* when it was gone or lost its disk last; 0: never */
    bool spoiling_disk;    /* ... of a kind after which the log rightly counts as damaged */
};

struct cluster_figures {
    uint64_t crashes, power_cuts, stops, fatals, refused_starts, flips, damaged_starts;
    uint64_t lost, stranded; /* nodes that need a person */
    uint64_t snapshots_sent; /* first chunks */
    uint64_t transfers;      /* asked for */
    uint64_t timeouts_now;   /* ... and the target told to take over, stops in order included */
};

struct cluster {
    uint64_t seed, random;
    size_t node_count;
    struct runner *runner;
    struct disk *disk;
    struct net *net;
    struct checks checks;
    struct history history;
    struct watch_history watches;
    struct client_load load;
    struct machine machines[CLUSTER_NODES_MAX]; /* machine i is node i+1 in names and paths */
    struct cluster_figures figures;
    struct members_plan plan;
    struct members_figures members;
    bool restarts; /* crashed nodes come back by themselves */
    uint64_t restart_us_max;
    bool
        dies_at_installs; /* a node that takes a received table for its own may end in the middle of that */
    uint64_t install_random;
    uint32_t flip_of_100; /* chance that a bit of raft.db-wal flips while a node is off */

    bool failed;
    char failure[CLUSTER_TEXT_MAX];
    uint64_t failed_at_us;
    bool verbose;
    char (*lines)[CLUSTER_LINE_BYTES];
    size_t line_count;
};

/* Draw a cluster from the seed. Nothing runs yet. plan: copied. */
struct cluster *cluster_create(uint64_t seed, size_t node_count, const struct members_plan *plan,
                               bool verbose);
void cluster_destroy(struct cluster **cluster);

void cluster_start_node(struct cluster *c, size_t node);
/* The process ends now, or the machine does. Comes back by itself if c->restarts. */
void cluster_crash_node(struct cluster *c, size_t node, enum disk_cut cut);
/* It is off, and its disk is empty from now on: it comes back as a new member. */
void cluster_wipe_node(struct cluster *c, size_t node);
/* Ask it to stop in order; it is off once all actors have. */
void cluster_stop_node(struct cluster *c, size_t node);
/* Ask a node to hand over the lead to another, or to itself; nothing if either was never started. Nobody waits for the
 * answer. */
void cluster_move_leader(struct cluster *c, size_t asked, size_t target);
void cluster_restart_later(struct cluster *c, size_t node, uint64_t delay_us);
void cluster_fail(struct cluster *c, const char *format, ...) PRINTF_LIKE(2, 3);

/* How many nodes run; how many have a whole log (running or not). */
size_t cluster_running(const struct cluster *c);
size_t cluster_whole(const struct cluster *c);
/* May this node's log be damaged? All but a minority must stay whole. */
bool cluster_may_damage(const struct cluster *c, size_t node);
/* A node that needs entries its leader no longer has; only a snapshot, another leader or a person could
 * help. Trimming waits for all members, so this takes a damaged log, its own or its leader's. Never with log_keep_bytes: in
 * those runs a snapshot has to come. */
bool cluster_is_stranded(const struct cluster *c, size_t node);
/* The leader of the highest term; SIZE_MAX: none. */
size_t cluster_leader(const struct cluster *c);
/* NULL if the node does not run. */
const struct raft *cluster_core(const struct cluster *c, size_t node);

#endif
