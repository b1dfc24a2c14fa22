/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster.h: a cluster of bare Raft cores in one thread, for tests of src/raft. Each node has a fake
 * disk (persists become durable in order, some time after they were handed over, or when the test says
 * so), a fake state machine (it checks and remembers), and a fake network in between (delay, loss,
 * duplication, reordering, one-way cuts). Everything follows from the seed.
 *
 * Not here: actors, SQLite, sockets. The whole-node simulator is another thing (tests/sim).
 *
 * Two ways of use. By hand: delays are 0, cluster_settle carries out all there is to do at this
 * moment; with `network_held` or `disk_held` set the test moves single messages and persists. By
 * itself: cluster_run lets time pass with random delays.
 *
 * After every step of every node the cluster checks, for all nodes together, what Raft Fig. 3 promises:
 *   Election Safety        at most one leader per term, ever
 *   State Machine Safety   no two nodes commit or apply different entries at an index
 *   Leader Completeness    whoever becomes leader has every entry committed before
 * and that no read is answered with an index below what was committed when it was asked (linearizable
 * reads). cluster_check_logs compares whole logs (Log Matching). All of these ASSERT.
 */
#ifndef HOLDFAST_TESTS_CLUSTER_H
#define HOLDFAST_TESTS_CLUSTER_H

#include "raft.h"

#define CLUSTER_NODES_MAX        12
#define CLUSTER_ELECTION_MS      1000
#define CLUSTER_HEARTBEAT_MS     100
#define CLUSTER_ELECTION_US      (UINT64_C(1000) * CLUSTER_ELECTION_MS)
#define CLUSTER_HEARTBEAT_US     (UINT64_C(1000) * CLUSTER_HEARTBEAT_MS)
#define CLUSTER_START_US         UINT64_C(1000000)
#define CLUSTER_SETTLE_STEPS_MAX 100000 /* more at one moment is a storm of messages: a bug */

struct cluster_entry {
    uint64_t term, origin, request_id;
    enum entry_type type;
    struct bytes data;
};

/* A state machine: what was applied, in short, and the members as of it. As a snapshot it travels. */
struct cluster_table {
    uint64_t index, term, digest;
    struct configuration configuration;
    uint64_t configuration_index;
};

struct cluster_pending {
    struct raft_persist persist;
    struct cluster_table *table; /* that persist.reset_index switches to */
    uint64_t done_us;
};

/* What would survive a crash. */
struct cluster_disk {
    uint64_t current_term, voted_for, sequence;
    bool may_not_vote;
    uint64_t trimmed_index, trimmed_term;
    struct cluster_entry
        *entries; /* entry i of the log is entries[i - 1]; trimmed ones are empty */
    size_t count, capacity;
    struct cluster_pending *pendings;
    size_t pending_count, pending_capacity;
    bool held; /* persists wait for cluster_disk_release */
    /* the one outstanding log_read */
    bool reading;
    uint64_t read_from, read_to, read_bytes_max, read_done_us;
    size_t read_count;
    uint64_t trim_index; /* the last one asked for */
    struct configuration
        *trimmed_configuration; /* of the newest trimmed CONFIG entry; NULL: none */
    uint64_t trimmed_configuration_index;
    struct cluster_table
        *received; /* durable beside the one in use, no persist has taken it over */
};

struct cluster_read {
    uint64_t batch;
    uint64_t index_min; /* committed somewhere when the read was asked */
    bool answered;
    uint64_t index;
};

struct cluster_node {
    uint64_t id;
    bool up;
    struct raft *raft;
    struct raft_effects effects;
    struct cluster_disk disk;
    uint64_t applied_index, kv_durable_index;
    struct cluster_table *table, *durable_table;      /* as of these two */
    uint64_t snapshot_sent_us[CLUSTER_NODES_MAX + 1]; /* being sent to this member since; 0: not */
    size_t snapshots_installed;
    struct entries **applying; /* handed out, not yet reported applied */
    size_t applying_count, applying_capacity;
    bool apply_held;
    uint64_t apply_done_us;
    struct cluster_read *reads;
    size_t read_count, read_capacity;
    uint64_t starts;
    uint64_t commit_seen; /* for checking what was committed since */
    uint64_t leader_term_seen;
    enum raft_role role_seen; /* for the trace */
    uint64_t term_seen;
    uint64_t next_request;
    uint64_t tick_us;
    size_t persist_count; /* persists handed out since the start of the test */
};

struct cluster_flight {
    struct raft_message message;
    uint64_t arrive_us;
};

struct cluster_leadership {
    uint64_t term, leader;
};

struct cluster_committed {
    uint64_t term, digest;
    uint64_t table_digest; /* of a state machine that applied all up to here; 0: not known */
};

struct cluster {
    size_t count;
    struct cluster_node nodes[CLUSTER_NODES_MAX]; /* node id i is nodes[i - 1] */
    struct configuration
        configuration; /* given at start to each node that is in it; others are blank */
    bool blank;        /* start the nodes without configuration */
    uint64_t now_us, random;

    /* knobs, to be set before the nodes start */
    uint64_t window_bytes, append_bytes_max, cache_bytes_max, uncommitted_bytes_max;
    uint64_t apply_bytes_max;
    uint64_t trim_slack_entries, trim_step_entries; /* 0: the core's own */
    uint64_t log_keep_bytes;
    uint32_t disk_stall_ms;                        /* 0: nobody gives way for his disk */
    bool leader_lease;                             /* and every node has vote_guard */
    int64_t drift_permille[CLUSTER_NODES_MAX + 1]; /* by node id: its clock gains so much */
    bool snapshots_held;                           /* snapshots_wanted is answered by the test */

    /* the network */
    struct cluster_flight *flights;
    size_t flight_count, flight_capacity;
    bool network_held;
    bool cut[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1]; /* [from][to] */
    uint64_t delay_us_max, disk_us_max, apply_us_max;       /* random in 0..max; 0: at once */
    unsigned drop_permille, duplicate_permille;

    /* what all nodes together must keep */
    struct cluster_leadership *leaderships;
    size_t leadership_count, leadership_capacity;
    struct cluster_committed *committed; /* entry i at [i - 1]; term 0: not known */
    size_t committed_count, committed_capacity;

    struct buffer *trace;   /* NULL: none; borrowed */
    struct buffer log_text; /* of cluster_log_text */
    size_t sent_count;      /* messages ever sent */
};

/* Nodes 1..count, all voting, not yet started. */
struct cluster *cluster_create(size_t count, uint64_t seed);
/* Before start: only nodes 1..voters are members; the others are blank nodes waiting for a log. */
void cluster_set_voters(struct cluster *c, size_t voters);
void cluster_destroy(struct cluster **c);
struct cluster_node *cluster_node(struct cluster *c, uint64_t id);

/* Before start: give a node's disk entries of these terms (0-terminated), and a term and vote. The
 * entries of one index and term are the same on every node. */
void cluster_set_log(struct cluster *c, uint64_t id, const uint64_t *terms);
void cluster_set_term(struct cluster *c, uint64_t id, uint64_t current_term, uint64_t voted_for);

/* What the node's own clock shows now. */
uint64_t cluster_clock_us(const struct cluster *c, uint64_t id);

/* Start a node from its disk. kv starts at its kv_durable_index. */
void cluster_start(struct cluster *c, uint64_t id);
void cluster_start_all(struct cluster *c);
/* Stop it as kill -9 would: of the persists under way the first `keep` are on disk after all. */
void cluster_crash(struct cluster *c, uint64_t id, size_t keep);
/* While down: the disk lost the log from this index on and the start finds out (trap 22). */
void cluster_damage(struct cluster *c, uint64_t id, uint64_t lost_from);

/* One event and the flush after it, at the present time; effects are carried out. */
void cluster_step(struct cluster *c, uint64_t id, struct raft_event *event);
/* The event without a flush; effects stay in the node. */
void cluster_step_only(struct cluster *c, uint64_t id, struct raft_event *event);
void cluster_flush(struct cluster *c, uint64_t id);
/* A tick, now. */
void cluster_tick(struct cluster *c, uint64_t id);
/* Time passes until this node's election timeout; only it gets a tick. */
void cluster_time_out(struct cluster *c, uint64_t id);
/* One message from whomever its fields say; `m` gives its entries away. */
void cluster_receive(struct cluster *c, struct raft_message *m);

/* Carry out everything due now, until nothing is. */
void cluster_settle(struct cluster *c);
/* Let time pass, carrying out everything when it is due. */
void cluster_run(struct cluster *c, uint64_t for_us);

/* Network by hand. Finding: the oldest such message in flight; type 0: any. NULL: none. */
struct raft_message *cluster_find(struct cluster *c, uint64_t from, uint64_t to,
                                  enum raft_message_type type);
size_t cluster_count_flights(struct cluster *c, uint64_t from, uint64_t to,
                             enum raft_message_type type);
/* Deliver (or lose) the oldest such message; false: there was none. Flushes the receiver. */
bool cluster_deliver(struct cluster *c, uint64_t from, uint64_t to, enum raft_message_type type);
bool cluster_lose(struct cluster *c, uint64_t from, uint64_t to, enum raft_message_type type);
void cluster_lose_all(struct cluster *c);
/* A copy of a message in flight, for delivering it twice or late; owned by the caller. */
struct raft_message cluster_copy(const struct raft_message *m);
/* Cut or mend one direction, or all links of a node, or everything (mend only). */
void cluster_cut(struct cluster *c, uint64_t from, uint64_t to, bool cut);
void cluster_isolate(struct cluster *c, uint64_t id, bool isolated);
void cluster_heal(struct cluster *c);

/* Disk and state machine by hand: hold, and let the first `count` persists or blocks through. */
void cluster_disk_hold(struct cluster *c, uint64_t id, bool held);
void cluster_disk_release(struct cluster *c, uint64_t id, size_t count);
void cluster_apply_hold(struct cluster *c, uint64_t id, bool held);
/* The KV table of the node is durable as far as it is applied. */
void cluster_kv_flush(struct cluster *c, uint64_t id);

/* Ask the node to change members: `voters` and `learners` are ids, 0-terminated (NULL: none). */
enum err cluster_change(struct cluster *c, uint64_t id, const uint64_t *voters,
                        const uint64_t *learners);
/* Ask the node to hand over its lead; target 0: to whom it likes. */
enum err cluster_transfer(struct cluster *c, uint64_t id, uint64_t target);
/* Give the member a snapshot of the node's state machine as it is: SNAPSHOT_READY, then one chunk with all of it. */
enum err cluster_send_snapshot(struct cluster *c, uint64_t id, uint64_t member);
enum err cluster_propose(struct cluster *c, uint64_t id, const char *text);
/* Ask for a read at the node; returns its place in node->reads. Flushes. */
size_t cluster_read(struct cluster *c, uint64_t id);

/* Looking in. */
struct raft_status cluster_status(struct cluster *c, uint64_t id);
/* The leader of the highest term among the nodes that are up; 0: none. */
uint64_t cluster_leader(struct cluster *c);
/* Make this node leader by its timeout; the others' messages are carried out. ASSERTs it worked. */
void cluster_elect(struct cluster *c, uint64_t id);
/* The same for a node whose network is held and whose neighbours may not even be up: their grants are
 * made up, and what it sends on the way is lost. What it sends as leader afterwards is in flight. */
void cluster_lead_alone(struct cluster *c, uint64_t id);
/* Let time pass until there is a leader whose term's first entry is committed; false after `for_us`. */
bool cluster_await_leader(struct cluster *c, uint64_t for_us);
/* Terms of the node's log as text, "1 1 2"; valid until the next call. Lowest index first. */
const char *cluster_log_text(struct cluster *c, uint64_t id);
void cluster_check_logs(struct cluster *c);
/* All up nodes have the same log, all applied; with a leader known: all up members of its configuration. */
bool cluster_is_converged(struct cluster *c);

/* One line of the trace for a message, as the transcripts show it. */
void cluster_print_message(struct buffer *out, const struct raft_message *m);
void cluster_print_state(struct cluster *c, struct buffer *out);
/* "1 2 3", joint "1 2 3 -> 2 3 4", "learners 5", "removed 1", each if there are any. */
void cluster_print_configuration(struct buffer *out, const struct configuration *configuration);

#endif
