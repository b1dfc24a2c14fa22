/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.h: every message between actors, grouped by receiver: fields, from -> to, and who owns
 * what afterwards. Work moves client -> raft -> {log, peer} -> raft -> apply -> client/flush; only
 * replies, acknowledgements and ticks point back.
 *
 * A message owns everything it points to unless a line says otherwise; msg release functions in
 * src/node/message.c free it. Messages may be re-kinded and sent on without a copy (READ travels
 * client -> raft -> apply -> client in one allocation).
 */
#ifndef HOLDFAST_MESSAGE_H
#define HOLDFAST_MESSAGE_H

#include "actor.h"
#include "command.h"
#include "entry.h"
#include "figures.h"
#include "kv.h"
#include "member_request.h"
#include "membership.h"
#include "pilot.h"
#include "raft.h"
#include "store.h"
#include "watch.h"

#define GROUP_DEFAULT 0

/* Places for peer actors: the members that the config file lists, those of the configuration (all of them may be others),
 * and addresses to join by; what is free of it takes nodes that want to become members. */
#define PEER_SLOTS_MAX (2 * MEMBERS_MAX + 8)

/*
 * A client request's number on its node: the client actor's index in the upper 8 bits, a counter
 * that never repeats in this boot below. Zero is nobody.
 */
#define REQUEST_CLIENT_SHIFT 56
#define REQUEST_ID(client_index, counter)                                                          \
    (((uint64_t)(client_index) << REQUEST_CLIENT_SHIFT) | (counter))
#define REQUEST_CLIENT_OF(request_id) ((size_t)((request_id) >> REQUEST_CLIENT_SHIFT))
#define CLIENTS_MAX                   64

/* RAFT_, LOG_, APPLY_, FLUSH_, WATCH_, PEER_ and CLIENT_FIGURES carry struct figures (figures.h) from the client
 * actor that was asked through all of them and back. */

/* ---- to timer ---------------------------------------------------------------------------------- */

enum timer_kind { TIMER_ARM = 1 };

/* any -> timer. At at_us the timer sends struct tick of `kind` to `to`. A new ARM with the same
 * (to, timer) replaces the old one; at_us UINT64_MAX disarms. */
struct timer_arm {
    struct msg base;
    struct actor *to;
    uint32_t timer;      /* the receiver's own number for this timer */
    uint32_t kind;       /* kind of the tick, of the receiver's enum */
    uint64_t generation; /* comes back in the tick, so that stale ticks are dropped */
    uint64_t at_us;
};

/* timer -> whoever armed. */
struct tick {
    struct msg base;
    uint32_t timer;
    uint64_t generation;
};

/* Arm without ceremony. */
void timer_arm(struct actor *timer, struct actor *to, uint32_t number, uint32_t kind,
               uint64_t generation, uint64_t at_us);

/* ---- to raft ------------------------------------------------------------------------------------ */

enum raft_kind {
    RAFT_PROPOSE = 100,
    RAFT_READ,
    RAFT_STATUS,
    RAFT_RECEIVED,
    RAFT_PEER_UP,
    RAFT_PEER_DOWN,
    RAFT_DURABLE,
    RAFT_LOG_ENTRIES,
    RAFT_APPLIED,
    RAFT_KV_DURABLE,
    RAFT_TICK,
    RAFT_PROBE,
    RAFT_FIGURES,
    RAFT_STRANGER,
    RAFT_SPACE,
    RAFT_SEEDS,
    RAFT_CHANGE_MEMBERS,
    RAFT_SNAPSHOT_READY,
    RAFT_SNAPSHOT_CHUNK,
    RAFT_CHUNK_TAKEN,
    RAFT_INSTALLED,
};

/* client -> raft: append this command. Answered by CLIENT_REPLY from apply (applied) or from raft (refused).
 * apply -> raft: what a leader's state machine finds to be due; nobody is answered. */
struct raft_propose {
    struct msg base;
    uint32_t group;
    uint64_t request_id;
    uint64_t deadline_us; /* after it the client has been told; drop instead of proposing */
    bool only_if_leader;  /* apply's own, request_id 0: dropped where this node does not lead */
    struct bytes command; /* encoded, command.h */
};

/* Send apply's own: proposed if this node leads, else dropped; nobody is answered. command: copied. */
void propose_as_leader(struct actor *raft, const struct command *command);

/* client -> raft -> apply: a read. Linearizable: raft finds read_index and sends it on as APPLY_READ.
 * Serializable: the client sends it to apply at once with read_index 0. Answered by CLIENT_REPLY. */
struct read_request {
    struct msg base;
    uint32_t group;
    uint64_t request_id;
    uint64_t deadline_us;
    uint64_t read_index;
    uint64_t max_staleness_us; /* what was true so long ago, or later, will do; 0: linearizable */
    bool
        members; /* MemberList: raft itself answers with CLIENT_STATUS once the index is confirmed */
    struct query *query; /* NULL when `members` */
};

/* client -> raft: other members, another wish, or another leader. Answered by CLIENT_STATUS once it is so, or by
 * CLIENT_REPLY with the error. */
struct raft_change_members {
    struct msg base;
    uint32_t group;
    uint64_t request_id;
    uint64_t deadline_us;
    struct member_request request;
};

/* client -> raft -> apply -> client (CLIENT_STATUS): each fills in what it knows. */
struct node_status {
    struct msg base;
    uint32_t group;
    uint64_t request_id;
    struct raft_status raft;
    struct configuration configuration;
    struct cluster_report report;
    int64_t revision;
    uint64_t applied_index;
    uint64_t db_file_bytes, db_used_bytes;
};

/* peer -> raft. `message` owns its entries. */
struct raft_received {
    struct msg base;
    uint32_t group;
    struct raft_message message;
};

/* What a handshake said about a node (both directions say it). */
struct peer_hello {
    char cluster[MEMBER_NAME_MAX + 1];
    char name[MEMBER_NAME_MAX + 1];
    uint64_t member_id;
    uint64_t cluster_id; /* 0: it belongs to none yet */
    uint64_t boot_id;    /* random, of this start; messages of an older boot are dropped */
    uint64_t boot_number;
    uint64_t list_digest;                /* checksum64 of the config's sorted member names */
    bool empty;                          /* its log is empty and it knows no cluster */
    bool bootstrap;                      /* it will found a cluster alone */
    char peer[MEMBER_ADDRESS_MAX + 1];   /* host:port at which other nodes may dial it */
    char client[MEMBER_ADDRESS_MAX + 1]; /* host:port at which clients may */
};

/* peer -> raft: the handshake with this member succeeded on the connection we send on (or told us
 * something new). */
struct raft_peer_up {
    struct msg base;
    size_t peer_index; /* in the node's list of peers */
    struct peer_hello hello;
};

/* RAFT_STRANGER carries struct peer_socket, listener -> raft: a node of this cluster's name, welcomed, that no peer actor
 * talks to. raft finds it one, or lets go of the socket. */

/* peer -> raft */
struct raft_peer_down {
    struct msg base;
    size_t peer_index;
    uint64_t member_id;
};

/* log -> raft: everything persisted up to this sequence number is on disk. */
struct raft_durable {
    struct msg base;
    uint32_t group;
    uint64_t sequence;
};

/* log -> raft: answer to LOG_READ. entries NULL: no longer there. */
struct raft_log_entries {
    struct msg base;
    uint32_t group;
    uint64_t from_index;
    struct entries *entries;
};

/* apply -> raft (APPLIED) and flush -> raft (KV_DURABLE). As RAFT_INSTALLED copy -> raft: this generation of the table has
 * taken over, another may be received. */
struct raft_index {
    struct msg base;
    uint32_t group;
    uint64_t index;
    uint64_t cluster_time_us; /* APPLIED: the greatest stamp applied so far; 0: none */
    uint64_t lease_count;     /* APPLIED */
};

/* space -> raft, after each look at the disk. */
struct raft_space {
    struct msg base;
    uint32_t group;
    struct space_facts facts;
};

/* ---- to log ------------------------------------------------------------------------------------- */

enum log_kind { LOG_PERSIST = 200, LOG_READ, LOG_TRIM, LOG_CLUSTER_ID, LOG_PROBE, LOG_FIGURES };

/* raft -> log: one transaction with whatever else waits; answered by RAFT_DURABLE after the commit. */
struct log_persist {
    struct msg base;
    uint32_t group;
    struct raft_persist persist; /* owns entries */
    uint64_t kv_generation;      /* with persist.reset_index: the table that takes over; else 0 */
    uint64_t leader_id,
        commit_index; /* as this node sees them now; shown to people, nothing more */
};

/* raft -> log; answered by RAFT_LOG_ENTRIES. */
struct log_read {
    struct msg base;
    uint32_t group;
    uint64_t from, to, bytes_max;
};

/* raft -> log: entries up to `through` may go. In slices, between commits. */
struct log_trim {
    struct msg base;
    uint32_t group;
    uint64_t through;
};

/* raft -> log: this node now belongs to that cluster; durable before any later persist. */
struct log_cluster_id {
    struct msg base;
    uint64_t cluster_id;
};

/* ---- to peer ------------------------------------------------------------------------------------ */

enum peer_kind { PEER_SEND = 300, PEER_SOCKET, PEER_IDENTITY, PEER_FIGURES, PEER_TARGET };

/* raft -> peer: put it on the wire; dropped if there is no connection. */
struct peer_send {
    struct msg base;
    uint32_t group;
    struct raft_message message;
};

/* listener -> peer: an accepted connection whose hello named this peer and was checked and answered;
 * octets read behind the hello come along. */
struct peer_socket {
    struct msg base;
    int fd; /* moved; release closes it */
    struct peer_hello hello;
    uint32_t version; /* protocol version agreed */
    struct buffer early;
};

/* raft -> peer, raft -> listener: what our own hello says from now on, and the members whose ids are
 * known, for checking others'. */
struct peer_identity {
    struct msg base;
    struct peer_hello own;
    struct configuration configuration; /* count 0: not known yet */
};

/*
 * raft -> peer: whom to talk to from now on. Another name than before ends both connections and what was known;
 * so do no name and no address: nobody. A first name for whoever answered at the address keeps them.
 */
struct peer_target {
    struct msg base;
    char name[MEMBER_NAME_MAX + 1]; /* "": whoever answers at the address */
    char address[MEMBER_ADDRESS_MAX + 1];
    char second[MEMBER_ADDRESS_MAX + 1]; /* dialled in turn with the first; "": none */
};

/* discovery -> raft: peer addresses that SRV records name now, instead of those of the message before. */
#define SEEDS_MAX 8
struct raft_seeds {
    struct msg base;
    size_t count;
    char addresses[SEEDS_MAX][MEMBER_ADDRESS_MAX + 1];
};

/* ---- to discovery ------------------------------------------------------------------------------- */

enum discovery_kind { DISCOVERY_WANTED = 340 };

/* raft -> discovery: whether anybody needs the answer. It begins wanted; each time it is wanted anew the
 * seeds are told anew. */
struct discovery_wanted {
    struct msg base;
    bool wanted;
};

/* ---- to listener -------------------------------------------------------------------------------- */

enum listener_kind { LISTENER_IDENTITY = 350, LISTENER_PEERS };
/* LISTENER_IDENTITY carries struct peer_identity. */

/* raft -> listener: the names whose sockets go straight to the peer actors of these places. */
struct listener_peers {
    struct msg base;
    size_t count;
    char names[PEER_SLOTS_MAX][MEMBER_NAME_MAX + 1]; /* "": nobody */
};

/* ---- to apply ----------------------------------------------------------------------------------- */

enum apply_kind {
    APPLY_ENTRIES = 400,
    APPLY_READ,
    APPLY_STATUS,
    APPLY_FLUSHED,
    APPLY_FIGURES,
    APPLY_COPY,
    APPLY_COPY_CANCEL,
    APPLY_CLOCK,
    APPLY_WATCH,
    APPLY_COMPACTED,
    APPLY_INSTALL,
    APPLY_INSTALLED,
};

/*
 * raft -> apply: committed and durable entries, in order. `barrier_count` > 0: the block holds the
 * first entry of a new term; once it is applied every request of client actor i numbered up to
 * barrier[i] that is still unanswered was definitely not carried out: apply sends CLIENT_BARRIER.
 */
struct apply_entries {
    struct msg base;
    uint32_t group;
    struct entries *entries;
    size_t barrier_count;
    uint64_t barriers[CLIENTS_MAX];
};

/* APPLY_READ carries struct read_request, APPLY_STATUS struct node_status. */

/* flush -> apply: kv.db is rid of what went out of reach at or below this revision. */
struct apply_compacted {
    struct msg base;
    uint32_t group;
    int64_t revision;
};

/* raft -> apply: how far cluster time is. From a leader with an entry of its term committed: at each
 * heartbeat interval while there are leases, else at APPLY_CLOCK_IDLE_US; and once more with `leads` false when
 * it no longer is. */
struct apply_clock {
    struct msg base;
    uint32_t group;
    uint64_t term;
    uint64_t cluster_time_us;
    bool leads;
};

#define APPLY_CLOCK_IDLE_US UINT64_C(1000000)

/* flush -> apply */
struct apply_flushed {
    struct msg base;
    uint32_t group;
    uint64_t batch_number;
};

/*
 * watch -> apply: send changes (WATCH_CHANGES) from now on; the first comes at once. Or: of what was sent
 * this much is worked off.
 */
struct apply_watch {
    struct msg base;
    uint32_t group;
    uint64_t epoch; /* 0: nobody watches, send nothing. A new one begins anew */
    uint64_t taken_bytes;
};

/* ---- to watch ----------------------------------------------------------------------------------- */

enum watch_kind {
    WATCH_CHANGES = 900,
    WATCH_CREATE,
    WATCH_CANCEL,
    WATCH_PROGRESS,
    WATCH_STREAM_CLOSED,
    WATCH_ACK,
    WATCH_FIGURES,
    WATCH_INSTALL,
};

/* What apply may have sent to watch and not got back; beyond it apply stops recording and begins anew
 * later, and watchers are served from kv.db meanwhile. */
#ifndef HOLDFAST_SMALL_BOUNDS
#define WATCH_CHANGES_BYTES_MAX ((uint64_t)32 << 20)
#else /* the simulator: a watch actor falls behind apply within a minute */
#define WATCH_CHANGES_BYTES_MAX ((uint64_t)1000)
#endif

/*
 * apply -> watch: every change of the revisions from_revision+1 .. revision, in order. A from_revision
 * that is not the `revision` of the message before: what lies between was not recorded, and stands in
 * kv.db once committed_revision has reached from_revision. Sent before the replies to the writes it
 * holds, so that a client that was answered finds its write in the past of a new watch; with `paused` what
 * follows is not recorded, and only the next message says how far things are.
 */
struct watch_changes {
    struct msg base;
    uint32_t group;
    uint64_t epoch;
    int64_t from_revision, revision;
    int64_t compact_revision;
    int64_t committed_revision; /* kv.db holds everything up to here */
    struct event_block events;  /* owned */
    uint64_t bytes;             /* to be given back by APPLY_WATCH */
    bool paused;                /* until enough of them are */
};

/* client -> watch. A stream's number is a REQUEST_ID: it says which client actor to answer, by
 * CLIENT_WATCH, and never comes twice. The first request makes the stream known. */
struct watch_create {
    struct msg base;
    uint32_t group;
    uint64_t stream;
    int64_t watch_id; /* 0: the watch actor chooses */
    struct bytes key, range_end;
    int64_t start_revision; /* 0: from now on */
    bool no_put, no_delete, prev_kv, progress_notify, fragment;
};

/* client -> watch: WATCH_CANCEL (watch_id), WATCH_PROGRESS and WATCH_STREAM_CLOSED, after which nothing
 * may come for the stream. */
struct watch_request {
    struct msg base;
    uint32_t group;
    uint64_t stream;
    int64_t watch_id;
};

/* client -> watch: responses of these streams have gone to their sockets; `cost` is their sum. */
struct watch_acked {
    uint64_t stream, cost;
};
struct watch_ack {
    struct msg base;
    uint32_t group;
    size_t count;
    struct watch_acked items[];
};

/* ---- to flush ----------------------------------------------------------------------------------- */

enum flush_kind { FLUSH_BATCH = 500, FLUSH_FIGURES, FLUSH_INSTALL };

/* apply -> flush: write it in one transaction; answered by APPLY_FLUSHED and RAFT_KV_DURABLE. */
struct flush_batch {
    struct msg base;
    uint32_t group;
    struct kv_batch *batch;
};

/* ---- to copy -------------------------------------------------------------------------------------- */

enum copy_kind {
    COPY_BEGIN = 560,
    COPY_ACK,
    COPY_CANCEL,
    COPY_INSTALL,
    COPY_GO,
    COPY_STOP,
    COPY_CHUNK,
    COPY_DISCARD,
};

/*
 * client -> apply (APPLY_COPY) -> copy (COPY_BEGIN): a hash of kv.db, or a copy of it in chunks. apply keeps it until
 * kv.db holds everything that was applied when it came. Answered by CLIENT_COPY.
 */
struct copy_request {
    struct msg base;
    uint32_t group;
    uint64_t number; /* call_stream_number of the asking call */
    bool snapshot;   /* else a hash */
    uint64_t member; /* 0: for a client. Else for this member, answered by RAFT_SNAPSHOT_READY */
    int64_t hash_revision; /* 0: the newest */
    int64_t revision;      /* filled in by apply: the store's when it took the request */
};

/* client -> copy (COPY_ACK): `bytes` octets of chunks have gone to the socket. client -> apply (APPLY_COPY_CANCEL) ->
 * copy (COPY_CANCEL): nobody waits. The way the request went, so that it cannot overtake it. */
struct copy_ack {
    struct msg base;
    uint64_t number;
    uint64_t bytes;
};

/*
 * raft -> copy. COPY_GO: send the member's copy on: it has all up to `offset`; `again`: what was sent behind that is
 * lost. COPY_STOP: it needs none any more. COPY_DISCARD (no member): what came in is not wanted.
 */
struct copy_go {
    struct msg base;
    uint64_t member;
    uint64_t offset;
    bool again;
};

/* copy -> raft (RAFT_SNAPSHOT_READY): the copy for a member is made, or cannot be. */
struct snapshot_ready {
    struct msg base;
    uint64_t member;
    enum err error;
    uint64_t index, term, total_bytes;
};

/* copy -> raft -> (wire) (RAFT_SNAPSHOT_CHUNK); (wire) -> raft -> copy (COPY_CHUNK): octets of a table as of index.
 * done: all were sent before, and octets is their SHA-256. */
struct snapshot_chunk {
    struct msg base;
    uint64_t member; /* it is for, or from */
    uint64_t index, term;
    uint64_t offset, total_bytes;
    struct bytes octets;
    bool done;
};

/* copy -> raft (RAFT_CHUNK_TAKEN): how far the table that comes in is. */
struct snapshot_taken {
    struct msg base;
    uint64_t member, index, term;
    uint64_t offset; /* the next octet wanted */
    enum err error;  /* not OK: given up */
    bool complete;   /* whole, checked and durable; meta.generation is its file's */
    struct kv_meta meta;
};

/* ---- to client ---------------------------------------------------------------------------------- */

enum client_kind {
    CLIENT_SOCKET = 600,
    CLIENT_REPLY,
    CLIENT_STATUS,
    CLIENT_BARRIER,
    CLIENT_STATE,
    CLIENT_COPY,
    CLIENT_UNKNOWN,
    CLIENT_WATCH,
    CLIENT_FIGURES,
};

/* listener -> client: an accepted connection, moved. */
struct client_socket {
    struct msg base;
    int fd;
};

/* apply -> client, raft -> client. Unknown request ids (timed out, cancelled) are dropped. */
struct client_reply {
    struct msg base;
    uint64_t request_id;
    enum err error;          /* of the request as a whole; else see result->error */
    struct result *result;   /* NULL when error != OK */
    struct credits *credits; /* what the result holds is charged here and given back on release; */
    uint64_t charged;        /* NULL, 0: nothing is */
};

/* Answer a request with an error and nothing else. error: not OK. */
void client_refuse(struct actor *client, uint64_t request_id, enum err error);

/* CLIENT_STATUS carries struct node_status. */

/* apply -> client: writes numbered up to this that are still unanswered were not carried out. */
struct client_barrier {
    struct msg base;
    uint64_t request_id;
};

/* CLIENT_UNKNOWN carries struct client_barrier, raft -> client: a snapshot stands for entries that this node has not seen;
 * whether writes numbered up to this that are still unanswered are among them, nobody can say. */

/* raft -> every client actor, when something of it changed: for response headers and /health. */
struct client_state {
    struct msg base;
    uint64_t cluster_id, member_id, leader_id, term;
    bool may_not_vote;
    bool low_space; /* some voter is short of room: nothing that grows is taken */
    bool removed;   /* from the cluster: nothing is served any more */
    struct configuration configuration;
};

/* copy -> client: a hash, or the next chunk of a copy. */
struct client_copy {
    struct msg base;
    uint64_t number;
    enum err error; /* not OK: nothing else follows */
    struct kv_hash hash;
    int64_t revision;    /* of the store (hash), of the copy (chunk) */
    struct bytes octets; /* of the copy; in the last message its SHA-256 */
    uint64_t remaining;  /* octets of the copy behind these */
    bool last;
};

/* watch -> client: all that one client actor is told in a round. Responses to streams that are closed
 * meanwhile are dropped. */
struct client_watch {
    struct msg base;
    uint32_t group;
    struct watch_batch *batch;
};

/* ---- to supervisor ------------------------------------------------------------------------------ */

enum supervisor_kind { SUPERVISOR_STATE = 800, SUPERVISOR_TICK, SUPERVISOR_PROBED };

/* SUPERVISOR_STATE carries struct client_state, raft -> supervisor, as to the clients. */

/* supervisor -> raft (RAFT_PROBE) -> log (LOG_PROBE) -> supervisor (SUPERVISOR_PROBED): the two threads
 * a node cannot live without take their messages. */
struct probe {
    struct msg base;
    uint64_t number;
};

/* ---- to logger ---------------------------------------------------------------------------------- */

enum logger_kind { LOGGER_LINE = 700, LOGGER_SINK };
/* LOGGER_SINK comes from logger_install alone and is private to logger_actor.c. */

/* any -> logger: one finished log line. */
struct logger_line {
    struct msg base;
    enum log_level level;
    size_t size;
    char text[]; /* not terminated */
};

/* ---- release functions, one per shape that owns something ---------------------------------------- */

void release_propose(struct msg *m);
void release_read_request(struct msg *m);
void release_received(struct msg *m);
void release_log_entries(struct msg *m);
void release_persist(struct msg *m);
void release_peer_send(struct msg *m);
void release_peer_socket(struct msg *m);
void release_apply_entries(struct msg *m);
void release_flush_batch(struct msg *m);
void release_watch_changes(struct msg *m);
void release_watch_create(struct msg *m);
void release_client_watch(struct msg *m);
void release_client_socket(struct msg *m);
void release_client_reply(struct msg *m);
void release_client_copy(struct msg *m);
void release_snapshot_chunk(struct msg *m);

#endif
