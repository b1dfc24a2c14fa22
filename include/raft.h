/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft.h: the consensus core as a pure function: raft_step(state, event, effects).
 *
 * No I/O, no clock, no threads, no SQLite: time arrives in the event, randomness is a seed in the
 * state. Names are the paper's. "Raft §" is the extended Raft paper, "Thesis §" Ongaro's dissertation.
 *
 * The contract with the caller (the raft actor, or a test)
 *  1. Effects of a step are carried out in the order of the fields of struct raft_effects: persist
 *     first handed to the log, then sends, then apply, then reads. Nothing is waited for.
 *  2. PROPOSE, READ, RECEIVED and DURABLE only change state and queue; the FLUSH event, given once
 *     after each batch of events, turns what was queued into one PERSIST, the appends for each
 *     follower, and one ReadIndex round. A test may flush after each event.
 *  3. What must not be said before the disk has it (votes granted, append acknowledgements, a new
 *     term made known) is held back inside the core until DURABLE reports its sequence number
 *     (traps 1, 2, 12, 13). The leader replicates in parallel with its own write and counts itself
 *     only when durable (Thesis §10.2.1).
 *  4. Entries are handed out for apply only when committed AND durable on this node.
 *  5. Every persist carries a rising `sequence`. DURABLE(s) means all persists up to s are on disk.
 *     An entry is durable when the acknowledged number reaches the persist that last wrote it, so
 *     the completion of a write for a truncated entry never counts (trap 14).
 */
#ifndef HOLDFAST_RAFT_H
#define HOLDFAST_RAFT_H

#include "base.h"
#include "entry.h"
#include "membership.h"

#define SNAPSHOT_CHUNK_BYTES_MAX (1024 * 1024)

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };
const char *raft_role_text(enum raft_role role);

/* ---- messages between members ------------------------------------------------------------------ */

enum raft_message_type {
    RAFT_REQUEST_PRE_VOTE = 1, /* Thesis §9.6 */
    RAFT_PRE_VOTE_REPLY = 2,
    RAFT_REQUEST_VOTE = 3, /* Raft §5.2 */
    RAFT_VOTE_REPLY = 4,
    RAFT_APPEND_ENTRIES = 5, /* Raft §5.3; without entries: a heartbeat */
    RAFT_APPEND_REPLY = 6,
    RAFT_READ_INDEX = 7, /* Thesis §6.4, from a follower */
    RAFT_READ_INDEX_REPLY = 8,
    RAFT_INSTALL_SNAPSHOT = 9, /* Raft §7: one chunk; made and taken by the node, not the core */
    RAFT_INSTALL_SNAPSHOT_REPLY = 10,
    RAFT_TIMEOUT_NOW = 11, /* Thesis §3.10 */
    RAFT_FORWARD = 12,     /* a client's command, from another node to the leader (raft actor) */
    RAFT_FORWARD_REFUSED =
        13,            /* ... definitely not appended: the receiver does not lead in that term */
    RAFT_MEMBERS = 14, /* a request about members, from another node to the leader (raft actor) */
    RAFT_MEMBERS_REPLY = 15, /* ... refused, or begun */
};

/*
 * One message. Fields not named for a type are 0. Owns `entries` and `chunk`.
 *
 *   every type            term: the sender's current term (for pre-votes: the term it would take)
 *   request_(pre_)vote    last_log_index, last_log_term, flag_transfer
 *   (pre_)vote_reply      granted, flag_removed
 *   append_entries        prev_log_index, prev_log_term, leader_commit, entries (may be NULL),
 *                         read_round (0: none), trim_index, sent_us, cluster_time_us, disk_age_us,
 *                         flag_low_space
 *   append_reply          granted = log matched at prev; match_index (durable and matching);
 *                         on refusal: conflict_index, conflict_term (fast back-up, Raft §5.3 end);
 *                         read_round and sent_us echoed; flag_no_vote; disk_age_us, flag_low_space;
 *                         vote_promise_us
 *   read_index            read_id; the leader answers with the same id
 *   read_index_reply      read_id, read_index, granted (false: ask again, leader not ready or gone)
 *   install_snapshot      last_included_index and _term (with `from` they name the snapshot), offset, chunk,
 *                         chunk_checksum, total_bytes; done: the last chunk. The receiver's core hears
 *                         it for its term (RECEIVED); what is in it is for the node
 *   install_snapshot_     the same name; offset: octets that are durable, the next one wanted (a cut transfer
 *     reply               goes on there); granted: taken; done: installed and durable, or not needed;
 *                         neither: given up, or of an old term
 *   timeout_now           last_log_index: of the leader when it said so
 *   forward               entries: commands to append, indexes and terms meaningless
 *   members(_reply)       entries: one, its data is the request (the reply) in the node's own form
 *   forward_refused       entries: the same, given back; refusal; term: that of the forward
 */
struct raft_message {
    enum raft_message_type type;
    uint64_t from; /* member ids */
    uint64_t to;
    uint64_t term;
    uint64_t last_log_index, last_log_term;
    uint64_t prev_log_index, prev_log_term;
    uint64_t leader_commit;
    uint64_t match_index;
    uint64_t conflict_index, conflict_term;
    uint64_t read_round;
    uint64_t read_id, read_index;
    uint64_t trim_index;       /* every member holds the log up to here durably in its KV table */
    uint64_t kv_durable_index; /* append_reply: how far the sender's KV table is durable */
    uint64_t sent_us;          /* the leader's own clock: means nothing to anybody else */
    uint64_t cluster_time_us;  /* how far the leader is in cluster time (cluster_time.c) */
    uint64_t
        vote_promise_us; /* for so long after it heard the leader the sender votes for nobody; 0: who knows */
    uint64_t disk_age_us; /* of the sender's oldest write that is not durable yet; 0: none */
    bool granted;
    bool flag_transfer; /* vote asked by the leader's own wish: overrides stickiness (trap 6) */
    /* forward_refused: ERR_NOT_LEADER, ERR_OVERLOAD, or ERR_LEADER_CHANGED while it hands over its lead */
    enum err refusal;
    bool flag_removed; /* the receiver was a member once and is none any more (trap 7) */
    bool flag_no_vote; /* the sender is damaged: do not count it in a ReadIndex quorum (trap 22) */
    bool
        flag_low_space; /* append_reply: the sender is short of room; append_entries: some voter is */
    uint64_t last_included_index, last_included_term;
    uint64_t offset, total_bytes, chunk_checksum;
    struct bytes chunk; /* owned; at most SNAPSHOT_CHUNK_BYTES_MAX */
    bool done;
    struct entries *entries;
};

void raft_message_free(struct raft_message *m); /* frees what it owns, not the struct */

/* ---- start ------------------------------------------------------------------------------------- */

struct raft_term_run {
    uint64_t first_index, term;
};

/* What the disk said at start; borrowed for the call but `tail`, which moves in. */
struct raft_boot {
    uint64_t id;   /* own member id */
    uint64_t seed; /* for election timeouts; also draws read ids */
    uint64_t now_us;
    uint64_t current_term, voted_for;
    uint64_t trimmed_index, trimmed_term;  /* the log starts after this entry; 0,0: complete */
    const struct raft_term_run *term_runs; /* of the whole log on disk, ascending */
    size_t term_run_count;
    struct entries *tail; /* the log after applied_index; NULL if none */
    uint64_t last_log_index;
    uint64_t applied_index;   /* of the KV table as it is durable on disk: committed for sure */
    uint64_t cluster_time_us; /* the greatest stamp among the applied entries; 0: none has any */
    /* As of applied_index (the KV table knows it); NULL or count 0: none was applied. Newer ones are taken
     * from the tail. */
    const struct configuration *configuration;
    uint64_t configuration_index;   /* of its entry, or anything between that and applied_index */
    bool may_not_vote;              /* damaged node (design.md §4, trap 22) */
    uint64_t last_persist_sequence; /* sequences go on from here */
    uint32_t election_timeout_ms, heartbeat_ms;
    /* Age of a write that is not durable at which a leader gives way to members whose disks work, and from which on
     * this node does not stand for election (trap 49); 0: never. */
    uint32_t disk_stall_ms;
    /* Reads by lease while this node leads (leader_lease.c). Safe only where clocks go at most a seventh wrong. */
    bool leader_lease;
    /* Vote for nobody within an election timeout of this start or of the last word of a leader, unless that leader
     * wants it: it may be reading by a lease, whatever this node's own setting is (trap 10). Nodes always set it. */
    bool vote_guard;
    uint64_t window_bytes;          /* appends in flight per follower */
    uint64_t append_bytes_max;      /* data octets in one append_entries */
    uint64_t cache_bytes_max;       /* applied entries kept in memory for followers */
    uint64_t uncommitted_bytes_max; /* beyond this PROPOSE is refused with ERR_OVERLOAD (trap 26) */
    uint64_t apply_bytes_max;       /* handed out for apply and not yet reported applied */
    /* What members lack stays in the log up to about so many octets; then it goes and they get a snapshot.
     * 0: it stays for ever, as without snapshots it must. */
    uint64_t log_keep_bytes;
};

struct raft;

/* Make the state. Never fails (memory is fatal); asserts on a boot record that breaks invariants. */
struct raft *raft_create(const struct raft_boot *boot);
void raft_destroy(struct raft **r);

/* ---- events ------------------------------------------------------------------------------------ */

enum raft_event_type {
    RAFT_EVENT_TICK,        /* time has passed; now_us counts */
    RAFT_EVENT_RECEIVED,    /* a message from another member */
    RAFT_EVENT_PROPOSE,     /* commands to append, if leader */
    RAFT_EVENT_READ,        /* one linearizable read wants an index */
    RAFT_EVENT_DURABLE,     /* persists up to `sequence` are on disk */
    RAFT_EVENT_APPLIED,     /* entries up to `index` are applied (in memory) here */
    RAFT_EVENT_KV_DURABLE,  /* the KV table is durable up to `index` here: the log may go */
    RAFT_EVENT_LOG_ENTRIES, /* the log's answer to effects.log_read */
    RAFT_EVENT_PEER_UP,     /* a connection to the member works (again) */
    RAFT_EVENT_PEER_DOWN,   /* it broke: what was in flight is lost */
    RAFT_EVENT_BOOTSTRAP,   /* write the initial configuration as entry 1 (only on an empty log) */
    RAFT_EVENT_CHANGE_CONFIGURATION, /* other members, if leader */
    RAFT_EVENT_SNAPSHOT_READY,       /* leader: the file for a member is made */
    RAFT_EVENT_SNAPSHOT_SENT,        /* leader: it has been sent, or cannot be */
    RAFT_EVENT_SNAPSHOT_INSTALLED, /* one was received and is whole and durable beside the table */
    RAFT_EVENT_TRANSFER,           /* hand over the lead */
    RAFT_EVENT_SPACE,              /* this node's disk is short of room, or is no longer */
    RAFT_EVENT_FLUSH,              /* the batch of events is over */
};

struct raft_event {
    enum raft_event_type type;
    uint64_t now_us;
    union {
        struct raft_message *received; /* what it owns is taken; the struct is the caller's */
        struct {
            /* Commands; type, origin, request_id and data count, index and term are given here.
             * Borrowed. On return `error` says whether ALL were appended (OK) or none:
             * ERR_NOT_LEADER, ERR_NO_LEADER, ERR_OVERLOAD, ERR_LEADER_CHANGED (leadership is being
             * handed over: propose again once status.transfer_target is 0 or there is a new leader). */
            const struct entries *commands;
            enum err error;
        } propose;
        struct {
            /* Out: the batch this read belongs to; answered by effects.reads with the same number. */
            uint64_t batch;
        } read;
        uint64_t sequence; /* DURABLE */
        bool low_space;    /* SPACE */
        struct {
            uint64_t index; /* APPLIED, KV_DURABLE */
            /* APPLIED: the greatest stamp among what was ever applied here; 0: none has any. */
            uint64_t cluster_time_us;
        };
        struct {
            uint64_t from_index;
            struct entries *entries; /* moved in; NULL: no longer on disk */
        } log_entries;
        uint64_t peer;                             /* PEER_UP, PEER_DOWN: member id */
        const struct configuration *configuration; /* BOOTSTRAP */
        struct {
            /* SNAPSHOT_READY: the answer to effects.snapshots_wanted, when the file is made (or one made
             * before is still good). error: OK; ERR_NOT_FOUND: the member needs none any more;
             * ERR_INVALID: index below the log's start, another is needed. */
            uint64_t member, index;
            enum err error;
        } snapshot_ready;
        struct {
            /* SNAPSHOT_SENT. installed: the member said done; else it failed for good or cannot be made, and
             * the member will be asked again after an election timeout. A broken connection is no failure. */
            uint64_t member;
            bool installed;
        } snapshot_sent;
        struct {
            /* SNAPSHOT_INSTALLED: what the received table says of itself, durable under a name of its own (trap
             * 58). Borrowed. accepted: the next persist has reset_index and the table takes over with it,
             * entries after index are handed out once it is DURABLE, and KV_DURABLE means the new table from then
             * on; what was handed out for apply before is void. Else it is not newer than what is committed here (or
             * this node does not follow): throw the file away and answer done. */
            uint64_t index, term, cluster_time_us;
            const struct configuration *configuration; /* as of index */
            bool accepted;
        } snapshot_installed;
        struct {
            /*
             * TRANSFER. target: member id; 0: whoever is best prepared. On return `error`: OK (begun; it has
             * worked when this node leads no more, and has failed when status.transfer_target is 0 again
             * while it leads, at the latest after an election timeout; itself: nothing to do),
             * ERR_NOT_LEADER, ERR_NO_LEADER, ERR_BAD_TRANSFEREE (no voter, damaged, silent, too far
             * behind), ERR_LEADER_CHANGED (another member is just taking over).
             */
            uint64_t target;
            enum err error;
        } transfer;
        struct {
            /*
             * CHANGE_CONFIGURATION. The whole list of members as it shall be: ids, names, addresses, and
             * voter_incoming for those who shall vote; the rest is not looked at. Borrowed.
             * expected_index: the configuration_index that the target was derived from; 0: any.
             *
             * On return `error`:
             *   OK                  begun; done once configuration_settled_index >= index and the settled
             *                       configuration is not joint. If nothing differs, index is of what is.
             *   ERR_NOT_LEADER, ERR_NO_LEADER
             *   ERR_CHANGE_PENDING  one is under way, or the leader is too new to know: ask again
             *   ERR_CHANGED_SINCE   not expected_index any more
             *   ERR_ID_REUSED       an id that was removed before (trap 42)
             *   ERR_IDENTITY        two members of one name
             *   ERR_TOO_LARGE       old and new members together are more than MEMBERS_MAX
             *   ERR_INVALID         nobody votes; an id twice or 0, members' and declared ones'; no name
             * In all error cases nothing was appended.
             */
            const struct configuration *target;
            uint64_t expected_index;
            enum err error;
            uint64_t index;
        } change;
    };
};

/* ---- effects ----------------------------------------------------------------------------------- */

struct raft_persist {
    uint64_t sequence;
    uint64_t current_term, voted_for; /* always both: one row (trap 1) */
    /* Not 0: the log begins anew behind a snapshot. In the same transaction entries up to here go, this is the
     * log's start (index and term), and raft.db stands for the received table (traps 46, 58). */
    uint64_t reset_index, reset_term;
    uint64_t truncate_from;  /* delete entries >= this first; 0: none */
    struct entries *entries; /* to append; NULL: none. Owned by the effects. */
    bool may_not_vote;
};

struct raft_read_answer {
    uint64_t batch;
    uint64_t index; /* apply at least this before reading */
    /* OK: whatever was committed anywhere before this moment of our own clock is at or below index. */
    uint64_t as_of_us;
    enum err error; /* OK, or ERR_LEADER_CHANGED: the batch must be asked again or failed */
};

/*
 * What the caller must now do. Zero-initialise once; reuse with raft_effects_clear. Everything
 * pointed to belongs to the effects until the caller takes it (sets the pointer NULL).
 */
struct raft_effects {
    bool has_persist; /* at most one per step, only from FLUSH */
    struct raft_persist persist;

    struct raft_message *sends; /* in order */
    size_t send_count, send_capacity;

    /* Committed entries to apply next, in order, each exactly once; NULL: none. */
    struct entries *apply;

    struct raft_read_answer *reads;
    size_t read_count, read_capacity;

    /* Entries wanted from disk for a lagging follower; count 0: none. At most one outstanding. */
    uint64_t log_read_from;
    uint64_t log_read_to;
    uint64_t log_read_bytes_max;

    uint64_t trim_index; /* entries up to here may be deleted from disk; 0: no news */

    /* Member ids that need a snapshot, each told once until SNAPSHOT_SENT. The answer is SNAPSHOT_READY, chunks
     * to the member, and SNAPSHOT_SENT; or SNAPSHOT_SENT with installed false. */
    uint64_t *snapshots_wanted;
    size_t snapshot_wanted_count, snapshot_wanted_capacity;

    /* role, term, leader, voting right, transfer, disk and room, or configuration (also: it is settled): ask
     * raft_status */
    bool state_changed;
    uint64_t deadline_us; /* give a TICK no later than this */
};

void raft_effects_clear(struct raft_effects *out);   /* frees what is still owned, keeps capacity */
void raft_effects_release(struct raft_effects *out); /* ... and the capacity too */

/*
 * Take one event. Raft Fig. 2, Thesis Fig. 3.1.
 *
 * r      borrowed, changed
 * event  borrowed; see the union for what is moved; out-fields are filled
 * out    effects are appended to what is there
 *
 * Asserts Figure 3's invariants at its end in debug builds and in the simulator.
 */
void raft_step(struct raft *r, struct raft_event *event, struct raft_effects *out);

/* ---- looking in -------------------------------------------------------------------------------- */

struct raft_status {
    uint64_t id, current_term, voted_for, leader; /* leader 0: unknown */
    enum raft_role role;
    uint64_t commit_index, last_applied, last_log_index, durable_index, first_log_index;
    uint64_t configuration_index;         /* of the configuration in force */
    uint64_t configuration_settled_index; /* of the newest one that is committed, as known here */
    bool removed;                         /* once a member, none any more */
    uint64_t transfer_target;             /* leader: who is to take over; 0: nobody */
    /* Cluster time as this node knows it; never falls while it leads. Whether a lease is due is judged by it. */
    uint64_t cluster_time_us;
    bool may_not_vote;
    bool term_committed; /* leader: an entry of its term is committed */
    uint64_t disk_age_us,
        leader_disk_age_us; /* of the oldest write that is not durable, here and there */
    bool disk_hangs;        /* it is older than disk_stall_ms */
    bool low_space;         /* this node is short of room */
    bool
        cluster_low_space; /* it, or another voter as far as is known: writes that need room must wait */
    size_t read_batches_waiting;
    uint64_t uncommitted_bytes, cache_bytes;
};

void raft_status(const struct raft *r, struct raft_status *out);
/* A leader's stamp for what it appends now: how far cluster time can be at most. Never below
 * raft_status.cluster_time_us, and never faster than the clock that now_us comes from. */
uint64_t raft_stamp_us(const struct raft *r, uint64_t now_us);
/* The newest configuration in the log (in force from append on, Raft §6); borrowed until the next step. */
const struct configuration *raft_configuration(const struct raft *r);
/* The newest committed one; count 0: none is known. Borrowed as well. */
const struct configuration *raft_settled_configuration(const struct raft *r);
/* A leader's view of a follower; false if unknown or not leading. */
struct raft_progress {
    uint64_t match_index, next_index, inflight_bytes, last_heard_us, kv_durable_index;
    uint64_t disk_age_us;
    bool low_space;
    bool probing;
    bool needs_snapshot;
    uint64_t snapshot_index; /* of the one that is being sent to it; 0: none, or not made yet */
    /* How a learner comes along (Thesis §4.2.1): a round ends when it holds what the leader held when the round
     * began. caught_up: the last one took less than an election timeout, and so does the present one. */
    uint64_t round_count, last_round_us;
    bool caught_up;
    bool may_not_vote; /* damaged, by its last word */
};
bool raft_progress_of(const struct raft *r, uint64_t member, struct raft_progress *out);

/* Term of the entry at index as far as this node's log says; 0: it is not there (any more). */
uint64_t raft_term_at(const struct raft *r, uint64_t index);

/* The invariants of Fig. 3 and LogCabin's list on this state and against the last check; asserts. */
void raft_check(struct raft *r);

/* Wire form of a message without its frame (format of entries included). */
void raft_message_encode(const struct raft_message *m, struct buffer *out);
MUST_USE enum err raft_message_decode(struct view in, struct raft_message *out);

#endif
