/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h: how a node is put together from actors. main.c and the simulator both do it this way; the
 * simulator brings its own peers and clients, and has neither listener nor logger.
 *
 * Order: open the stores (no thread yet, so that errors become exit codes), create the actors,
 * fill in `struct node_actors`, start right to left, stop left to right.
 */
#ifndef HOLDFAST_NODE_H
#define HOLDFAST_NODE_H

#include "actor.h"
#include "config.h"
#include "message.h"
#include "store.h"

/*
 * Everybody's addresses. Complete before the first actor starts and never changed while one runs;
 * each actor copies what it needs in `started`. One group for now: raft, apply and flush are those
 * of GROUP_DEFAULT.
 */
struct node_actors {
    struct actor *timer, *raft, *log, *apply, *watch, *flush, *copy;
    struct actor *listener;   /* NULL in the simulator */
    struct actor *supervisor; /* NULL in the simulator */
    struct actor *space;      /* NULL in the simulator */
    struct actor *discovery;  /* NULL without discovery_srv, and in the simulator */
    struct credits
        *answer_bytes; /* what answers to reads may hold; NULL in the simulator: no bound */
    size_t client_count;
    struct actor *clients[CLIENTS_MAX];
    size_t peer_count; /* all listed members but this node, in the config's order */
    size_t
        peer_slot_count; /* actors in `peers`: those of the listed members, then spare ones, which the raft actor
                               starts when it needs them (peer_slots.h). 0: as many as peer_count. */
    struct actor *peers[PEER_SLOTS_MAX];
    char peer_names[MEMBERS_MAX][MEMBER_NAME_MAX + 1]; /* of the listed ones */
};

/* So many election timeouts, and so long at least, a peer may take no octet before its connection is given up. */
#define PEER_STALL_TIMEOUTS 4
#define PEER_STALL_MIN_MS   1000
static inline uint64_t peer_stall_us(uint64_t election_timeout_ms)
{
    uint64_t stall_ms = PEER_STALL_TIMEOUTS * election_timeout_ms;
    return (stall_ms > PEER_STALL_MIN_MS ? stall_ms : PEER_STALL_MIN_MS) * 1000;
}

/* What is on this node's disk, opened and recovered. */
struct node_stores {
    struct log_db *log;
    struct kv_writer *writer;
    struct kv_reader *reader;
    struct kv_reader *watch_reader; /* of the watch actor */
    struct kv_meta meta;
    struct log_recovered recovered;
    struct node_identity identity;
    struct entries *tail; /* log entries after meta.applied_index; NULL if none */
};

/* Open everything under config->data_dir. On error nothing stays open and `problem` says it; the
 * returned exit code is what main ends with. seed: randomness for a first start. */
MUST_USE enum exit_code node_stores_open(const struct config *config, uint64_t seed,
                                         struct node_stores *out, char *problem,
                                         size_t problem_size);
void node_stores_close(struct node_stores *stores);

/* Our own hello as of the stores. boot_id: random, of this start. */
void node_hello(const struct config *config, const struct node_stores *stores, uint64_t boot_id,
                struct peer_hello *out);

/* The applied configuration, which no truncation can take back; count 0: none yet. One in the log's tail is the core's to
 * find, since it may still be truncated. Borrowed from the stores. */
const struct configuration *node_configuration(const struct node_stores *stores);

/* Create timer, log, raft, apply, watch, flush and copy; the stores move in. seed: of the core and ids. */
void node_create_core(const struct config *config, struct node_stores *stores, uint64_t seed,
                      uint64_t boot_id, struct node_actors *actors);

/* ---- the actors; each file pair's create function. `actors` is borrowed until started -------------- */

struct actor *timer_actor_create(void);
struct actor *log_actor_create(struct log_db *db, const struct node_actors *actors);
/* Reads kv.db as a whole: hashes and copies. data_dir is copied. bytes_per_second: of copies to members; 0: no limit. */
struct actor *copy_actor_create(const char *data_dir, uint64_t generation,
                                uint64_t bytes_per_second, const struct node_actors *actors);
/* data_dir is copied. */
struct actor *flush_actor_create(struct kv_writer *writer, const char *data_dir,
                                 const struct node_actors *actors);
/* config: borrowed for the call; NULL: nothing is compacted by itself. */
struct actor *apply_actor_create(struct kv *kv, uint64_t origin, const struct config *config,
                                 const struct node_actors *actors);

/* reader moves in. seed: for the jitter of progress notifications. config is copied. */
struct actor *watch_actor_create(struct kv_reader **reader, const struct config *config,
                                 uint64_t seed, const struct node_actors *actors);

struct raft_actor_settings {
    struct config config;    /* copied */
    struct peer_hello hello; /* own */
    struct raft_boot boot;   /* tail moves in; now_us is filled in at `started` */
    struct configuration configuration;
    struct raft_term_run *term_runs; /* moves in */
    const struct node_actors *actors;
};
struct actor *raft_actor_create(struct raft_actor_settings *settings);

/* Encoded octets a peer actor holds for its socket beside the core's window; then it reconnects. */
#define PEER_UNSENT_BYTES_MAX ((uint64_t)32 << 20)

struct peer_actor_settings {
    size_t peer_index;              /* own place in actors->peers */
    char name[MEMBER_NAME_MAX + 1]; /* the member this actor talks to; "": see PEER_TARGET */
    char address[MEMBER_ADDRESS_MAX +
                 1]; /* host:port, resolved anew at every dial; "": nobody yet */
    char second[MEMBER_ADDRESS_MAX + 1]; /* dialled in turn with it; "": none */
    struct peer_hello hello;             /* what we say of ourselves; updated by PEER_IDENTITY */
    struct configuration configuration;
    uint32_t heartbeat_ms, election_timeout_ms;
    uint64_t window_bytes; /* what the core keeps in flight to one peer; bounds the output buffer */
    uint64_t seed;         /* for back-off jitter */
    const char *name_servers; /* "address:port,..."; borrowed; NULL: the system's */
    const struct node_actors *actors;
};
struct actor *peer_actor_create(const struct peer_actor_settings *settings);

/* Looks up SRV records while raft wants it, and tells it the seeds. */
struct discovery_actor_settings {
    const char *name;         /* of the records; copied */
    const char *name_servers; /* as of a peer actor */
    const struct node_actors *actors;
};
struct actor *discovery_actor_create(const struct discovery_actor_settings *settings);

/* Accepts both kinds of connections: client sockets go round-robin to client actors; peer sockets
 * are greeted (hello read, checked, answered) and moved to their peer actor. */
struct listener_actor_settings {
    int client_fd, peer_fd; /* listening sockets, moved in */
    struct peer_hello hello;
    struct configuration configuration;
    struct credits
        *connections; /* bound on client connections; taken here, given back by clients */
    const struct node_actors *actors;
};
struct actor *listener_actor_create(const struct listener_actor_settings *settings);

struct client_actor_settings {
    size_t client_index;
    uint64_t seed;             /* for ids that clients leave to us: another one at every start */
    struct config config;      /* copied */
    struct client_state state; /* first value; only the fields behind `base` count */
    struct credits *connections, *requests, *streams,
        *bytes; /* shared counters, borrowed for the actor's life */
    const struct node_actors *actors;
};
struct actor *client_actor_create(const struct client_actor_settings *settings);

/* Looks after the room on the disk. space moves in. */
struct actor *space_actor_create(struct space **space, const struct node_actors *actors);

/* Tells the service manager READY's companions: STATUS when leadership changes, and the watchdog as long
 * as raft and log take their messages. watchdog_us 0: no watchdog. */
struct actor *supervisor_actor_create(uint64_t watchdog_us, const struct node_actors *actors);

/* Writes log lines to stderr, so that nobody else waits for a stuck pipe. logger_install makes it the
 * log sink; lines beyond a bound are counted and said to be missing when there is room again. */
#define LOGGER_LINES_MAX 4096
struct actor *logger_actor_create(void);
void logger_install(struct actor *logger);
void logger_uninstall(void); /* back to writing directly, for the last words */

#endif
