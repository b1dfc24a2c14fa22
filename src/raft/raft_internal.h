/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_internal.h: the state behind include/raft.h and what the files of this room call in each
 * other. Nothing outside src/raft (and its unit tests) includes it.
 *
 * How a step runs. Every event but FLUSH only changes state; FLUSH turns the state into effects in
 * the order of raft_flush (raft.c): commit, reads, persist, held messages, appends or answers,
 * apply, disk reads, trim. So everything that came in one batch shares one disk write, one append
 * per follower and one read round.
 *
 * How words wait for the disk. Whatever a message says of this node's term or vote must be on disk
 * first. Every message that is not an append of an established leader goes through the outbox with
 * a gate: the sequence of the persist that carries the hard state (term, vote, may_not_vote) as it
 * was when the message was written. It leaves when DURABLE has reached the gate. Append
 * acknowledgements are not queued but computed when they leave: min(durable, matched).
 */
#ifndef HOLDFAST_RAFT_INTERNAL_H
#define HOLDFAST_RAFT_INTERNAL_H

#include "raft.h"

#include <string.h>

/* ---- bounds ------------------------------------------------------------------------------------ */

#ifndef HOLDFAST_SMALL_BOUNDS
#define OUTBOX_MAX                                                                                 \
    256 /* messages held for the disk; beyond it the oldest are dropped, as a network may */
#define PERSISTS_OUTSTANDING_MAX 64    /* beyond it entries wait for the next persist */
#define INFLIGHT_MAX             256   /* append messages under way to one follower */
#define READ_ROUNDS_MAX          4     /* rounds (leader) or asked batches (follower) outstanding */
#define READ_REQUESTS_MAX        256   /* own batches and followers' requests held by a leader */
#define LOG_CHUNK_ITEMS          256   /* entries in one chunk of the in-memory log */
#define LOG_CHUNK_DATA_BYTES     65536 /* payload octets in one chunk; a larger entry gets its own */
#define LOG_TRIM_SLACK_ENTRIES   1024  /* kept on disk beyond what is needed */
#define LOG_TRIM_STEP_ENTRIES    256   /* a trim is worth an effect only from here on */
#else /* the simulator: every bound is reached within a minute of a small cluster's life */
#define OUTBOX_MAX               16
#define PERSISTS_OUTSTANDING_MAX 3
#define INFLIGHT_MAX             4
#define READ_ROUNDS_MAX          2
#define READ_REQUESTS_MAX        8
#define LOG_CHUNK_ITEMS          8
#define LOG_CHUNK_DATA_BYTES     2048
#define LOG_TRIM_SLACK_ENTRIES   20
#define LOG_TRIM_STEP_ENTRIES    5
#endif

#define READ_RETRY_US                                                                              \
    UINT64_C(20000) /* a question not answered by then is asked again, at the earliest */
#define LEASE_PARTS                    3  /* a lease is so many quarters of what was promised */
#define LOG_KEEP_MARKS                 16 /* log_keep_bytes is kept to a sixteenth */
#define LOG_KEEP_FACTOR                4 /* of log_keep_bytes may lie behind a snapshot that is on its way */
#define PROGRESS_MAX                   (2 * MEMBERS_MAX) /* members, and former ones that do not know it yet */
#define TELL_REMOVED_ELECTION_TIMEOUTS 10 /* that long a former member is told of its removal */
#define CLUSTER_TIME_MAX_US                                                                        \
    (UINT64_MAX / 2) /* no cluster lives that long; beyond it time could wrap */

_Static_assert(READ_REQUESTS_MAX > READ_ROUNDS_MAX, "own batches always find a place");

/* ---- raft_log.c: terms of the whole log, entries of its end, what of it is on disk -------------- */

struct log_item {
    struct entry entry; /* data points into the chunk */
    uint64_t end_bytes; /* running sum of data + ENTRY_OVERHEAD up to and including this entry */
};

struct log_chunk {
    uint64_t first_index;
    size_t count;
    size_t data_used, data_size;
    uint8_t *data;
    struct log_item items[LOG_CHUNK_ITEMS];
};

struct log_pending {
    uint64_t sequence;
    uint64_t last_index; /* entries up to here are on disk once `sequence` is */
};

/*
 * Invariants
 *  1. trimmed_index <= durable_index <= handed_index <= last_index.
 *  2. Entries memory_first..last_index are in memory; memory_first - 1 <= last_index.
 *  3. Term runs ascend in index and term, the first starts at trimmed_index + 1, and there is none
 *     exactly if the log is empty.
 *  4. A pending persist's last_index never exceeds handed_index: truncation clamps it (trap 14).
 */
struct raft_log {
    uint64_t trimmed_index, trimmed_term; /* the log starts after this entry */

    /* The log began anew behind a snapshot: to be told to the disk with the next persist, and the sequence of
     * that persist once it has been handed out. */
    bool reset_waiting;
    uint64_t reset_sequence;

    /* A mark per keep_bytes / LOG_KEEP_MARKS octets appended: how much of the log's end is how many octets. */
    uint64_t keep_bytes;                                  /* 0: no mark is made */
    uint64_t mark_bytes;                                  /* since the last one */
    uint64_t marks[LOG_KEEP_FACTOR * LOG_KEEP_MARKS + 1]; /* indexes, ascending: a ring */
    size_t mark_start, mark_count;
    uint64_t last_index;

    struct raft_term_run *runs;
    size_t run_count, run_capacity;

    struct log_chunk **chunks; /* chunks[chunk_start .. chunk_start + chunk_count) */
    size_t chunk_start, chunk_count, chunk_capacity;
    uint64_t memory_first;
    uint64_t memory_base_bytes; /* end_bytes of the entry before memory_first */

    uint64_t persist_sequence; /* last one given out */
    uint64_t durable_sequence; /* last one acknowledged */
    uint64_t handed_index;     /* entries up to here were given to the disk */
    uint64_t durable_index;    /* entries up to here are on it */
    uint64_t truncate_from;    /* to be told to the disk with the next persist; 0: nothing */
    struct log_pending pendings[PERSISTS_OUTSTANDING_MAX]; /* a ring */
    size_t pending_start, pending_count;
};

void raft_log_init(struct raft_log *log, const struct raft_boot *boot);
void raft_log_release(struct raft_log *log);
/* Copies *e to the end; its index must be last_index + 1, its term not below the last one. */
void raft_log_append(struct raft_log *log, const struct entry *e);
/* Drops entries >= from. */
void raft_log_truncate(struct raft_log *log, uint64_t from);
/* Term of an entry; trimmed_index <= index <= last_index. */
uint64_t raft_log_term_at(const struct raft_log *log, uint64_t index);
uint64_t raft_log_last_term(const struct raft_log *log);
/* First index of the run of equal terms that index lies in; trimmed_index < index <= last_index. */
uint64_t raft_log_run_first(const struct raft_log *log, uint64_t index);
/* Greatest index <= limit whose entry has exactly this term; 0 if there is none. */
uint64_t raft_log_last_of_term(const struct raft_log *log, uint64_t term, uint64_t limit);
/* An entry in memory; borrowed until the log changes. */
const struct entry *raft_log_entry(const struct raft_log *log, uint64_t index);
/* Bytes (data and overhead) of entries after `after` up to and including `through`; entries no
 * longer in memory count 0. */
uint64_t raft_log_bytes_between(const struct raft_log *log, uint64_t after, uint64_t through);
/* Greatest index <= through such that the entries after `after` fit bytes_max, but at least one;
 * after >= memory_first - 1, through > after. */
uint64_t raft_log_fit(const struct raft_log *log, uint64_t after, uint64_t through,
                      uint64_t bytes_max);
/* A copy of entries in memory first..last, owned by the caller. */
struct entries *raft_log_slice(const struct raft_log *log, uint64_t first, uint64_t last);
/* Frees whole chunks of entries <= applied while the applied ones in memory exceed bytes_max. */
void raft_log_evict(struct raft_log *log, uint64_t applied, uint64_t bytes_max);
/* Forgets everything up to and including index, which is on no road any more. */
void raft_log_trim(struct raft_log *log, uint64_t index);
/* Fills truncate_from, entries and sequence of a persist. There must be room for one more. */
void raft_log_hand_out(struct raft_log *log, struct raft_persist *out);
void raft_log_durable(struct raft_log *log, uint64_t sequence);
/* Begins the log anew after index, of that term, which a snapshot stands for. If the log holds this very entry what
 * follows it stays, else nothing does. index > trimmed_index. */
void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term);
/* A reset is not on disk yet: what depends on it must not be said or done. */
bool raft_log_reset_pending(const struct raft_log *log);
/* Entries after this are at most about times * keep_bytes; trimmed_index if all of them are, or if there is no
 * bound. */
uint64_t raft_log_keep_after(const struct raft_log *log, size_t times);
void raft_log_check(const struct raft_log *log);

/* ---- membership.c: configurations in the log ----------------------------------------------------- */

struct configuration_at {
    uint64_t index; /* of its entry; 0: before the first */
    struct configuration *configuration;
};

/* ---- replication.c: a leader's view of one other member ------------------------------------------ */

enum progress_state {
    PROGRESS_PROBE,     /* where its log matches is not known: one append at a time */
    PROGRESS_REPLICATE, /* appends are pipelined up to the window */
    PROGRESS_SNAPSHOT   /* it needs what the log does not hold any more: heartbeats only */
};

struct inflight {
    uint64_t last_index;
    uint64_t bytes;
};

/*
 * Invariants
 *  1. match_index < next_index <= last_index + 1.
 *  2. inflight_bytes is the sum over the ring.
 *  3. leaving_index is 0 exactly for members of the configuration in force.
 */
struct progress {
    uint64_t id;
    enum progress_state state;
    uint64_t match_index; /* durable there and equal to our log */
    uint64_t next_index;
    bool probe_sent;     /* probing and waiting for the answer; the heartbeat asks again */
    uint64_t probe_last; /* last index the outstanding probe carries */
    struct inflight ring[INFLIGHT_MAX];
    size_t ring_start, ring_count;
    uint64_t inflight_bytes;
    uint64_t last_heard_us;
    uint64_t heartbeat_due_us;
    uint64_t sent_commit; /* the commit index it can know of from what was sent */
    uint64_t sent_round;
    uint64_t acked_round;
    uint64_t sent_us; /* our clock at the last append, and at the last one it has answered */
    uint64_t acked_sent_us;
    uint64_t vote_promise_us; /* with that answer: so long it votes for nobody else */
    uint64_t kv_durable_index;
    struct entries *disk_entries; /* read from disk for it, to be sent at the next flush */
    bool wants_disk;
    uint64_t disk_retry_us;
    bool no_vote;         /* damaged, by its last word (trap 22) */
    uint64_t disk_age_us; /* by its last word, as is low_space */
    bool low_space;

    bool snapshot_said;  /* the node has been told to send one */
    bool snapshot_ready; /* it is made, and snapshot_index is its own */
    uint64_t snapshot_index;
    uint64_t snapshot_retry_us; /* another one not before */

    /* Thesis §4.2.1: a round ends when it holds what we had when the round began. */
    uint64_t round_target, round_began_us, round_count, last_round_us;

    /* Not a member any more (trap 7): fed until it knows, or long enough. */
    uint64_t leaving_index; /* of the configuration without it; 0: a member */
    uint64_t leaving_since_us;
    uint64_t
        told_us; /* our clock when the commit of leaving_index was first sent to it; 0: not yet */
};

/* ---- read_index.c -------------------------------------------------------------------------------- */

/* A closed batch of own reads, or a follower's READ_INDEX at the leader. */
struct read_request {
    uint64_t batch;    /* own: number of the batch; 0: a follower's */
    uint64_t from;     /* a follower's: who asks */
    uint64_t read_id;  /* a follower's: its id; own: under which we asked the leader, 0: not yet */
    uint64_t asked_us; /* own, as a follower: when we asked last */
    uint64_t first_asked_us; /* ... and first under this id */
    uint64_t closed_us;      /* own: when it was closed; every answer was found later than that */
    bool
        vouched; /* a follower's: it is no damaged one, so its question is its acknowledgement too */
    uint64_t round;      /* as leader: confirmed by acknowledgements of >= this; 0: none yet */
    uint64_t read_index; /* commit_index when the round began */
};

/* ---- the state ------------------------------------------------------------------------------------ */

struct held_message {
    uint64_t gate; /* leaves when durable_sequence has reached it */
    struct raft_message message;
};

/* ---- disk_health.c ------------------------------------------------------------------------------- */

struct disk_handed {
    uint64_t sequence, handed_us;
};

struct disk_health {
    uint64_t stall_us;                                   /* a setting; 0: never gives way */
    struct disk_handed handed[PERSISTS_OUTSTANDING_MAX]; /* a ring: not durable yet */
    size_t start, count;
    uint64_t expected_us;    /* when the next event was to come at the latest */
    uint64_t slept_until_us; /* when one came much later than that */
    uint64_t leader_age_us;  /* the leader's last word */
    bool leader_says_low;
    bool low_space;      /* this node's own */
    bool transfer_tried; /* leader: since its disk hangs */
};

/* What raft_check compares with: the state at the last check. */
struct raft_checked {
    bool valid;
    enum raft_role role;
    uint64_t current_term, voted_for, leader;
    uint64_t commit_index, last_applied, last_index;
    uint64_t persist_sequence, durable_sequence, trimmed_index;
    uint64_t cluster_time_us, time_applied_us, transfer_target;
};

/* What state_changed compares with. */
struct raft_reported {
    enum raft_role role;
    uint64_t current_term, leader, configuration_index, settled_index, transfer_target;
    bool may_not_vote, removed, valid;
    bool disk_hangs, low_space, cluster_low_space;
};

struct raft {
    /* Settings, never changed. */
    uint64_t id;
    uint64_t election_timeout_us, heartbeat_us;
    uint64_t window_bytes, append_bytes_max, cache_bytes_max, uncommitted_bytes_max;
    uint64_t apply_bytes_max;
    uint64_t trim_slack_entries, trim_step_entries; /* the constants; smaller in tests */

    uint64_t random; /* state of random_next */
    uint64_t now_us;
    uint64_t stall_end_us; /* last time when no event had come for an election timeout */

    /* Raft Fig. 2, persistent; written with the next persist when hard_state_dirty. */
    uint64_t current_term, voted_for;
    bool may_not_vote;
    bool hard_state_dirty;
    bool leader_lease, vote_guard; /* settings */
    bool leader_heard;             /* election.c: since the last flush */
    bool lease_given_up;           /* leader_lease.c: leader, for good in this term */
    uint64_t hard_state_sequence;  /* the persist that carries the hard state as it is now */
    struct raft_log log;

    /* Raft Fig. 2, volatile. */
    enum raft_role role;
    uint64_t leader; /* 0: unknown */
    uint64_t commit_index, last_applied;
    uint64_t apply_handed_index; /* given out for apply */
    uint64_t boot_applied_index; /* applied before this start */
    uint64_t kv_durable_index;
    uint64_t leader_trim_index; /* every member has the log durably applied up to here */

    /* configurations[count-1] is in force; [0] is the newest that cannot be rolled back. */
    struct configuration_at *configurations;
    size_t configuration_count, configuration_capacity;

    /* election.c */
    uint64_t election_deadline_us;
    uint64_t election_spread_us; /* random part of the timeout, drawn anew at each attempt */
    uint64_t last_leader_contact_us;
    uint64_t vote_from_us; /* with vote_guard: no vote before */
    uint64_t votes[MEMBERS_MAX];
    size_t vote_count;
    bool own_vote_counted; /* a candidate's vote for itself is on disk */
    bool wanted;           /* candidate: the leader has asked for it (Thesis §3.10) */
    bool told_removed;     /* a member answered that we are none any more */

    /* follower.c: the conversation with the leader of the current term */
    uint64_t matched_index; /* own log equals the leader's up to here */
    bool reply_due;
    uint64_t reply_round;   /* greatest read round heard */
    uint64_t reply_sent_us; /* greatest stamp of the leader's clock heard */
    uint64_t acked_match_index, acked_round, last_reply_us;

    /* replication.c */
    struct progress *progress;
    size_t progress_count;
    uint64_t leader_since_us;
    uint64_t term_first_index; /* leader: index of its no-op */
    uint64_t log_read_peer;    /* for whom a disk read is outstanding; 0: none */
    uint64_t log_read_from;
    size_t log_read_turn;
    bool commit_stale; /* something that commit_index depends on has moved */

    /* transfer.c */
    bool transfer_said;       /* timeout_now has been sent */
    uint64_t transfer_target; /* 0: no transfer under way */
    uint64_t transfer_deadline_us;

    struct disk_health disk;

    /* cluster_time.c */
    uint64_t cluster_time_us;
    uint64_t time_applied_us;   /* greatest stamp among the applied entries */
    uint64_t time_term;         /* of the leader that said cluster_time_us, where that is more */
    uint64_t time_confirmed_us; /* leader: last moment a quorum has confirmed; 0: none yet */
    uint64_t time_since_us;     /* leader: since when, by its own clock */
    uint64_t time_own_us;       /* leader: cluster time by its own confirmations alone */

    /* read_index.c */
    uint64_t open_batch; /* number of the batch that takes reads now */
    uint64_t open_read_count;
    struct read_request reads[READ_REQUESTS_MAX];
    size_t read_count;
    uint64_t read_round, confirmed_round;
    uint64_t round_trip_us; /* how long answers take: the longest, slowly forgotten */
    uint64_t read_id_next;
    uint64_t heal_read_id, heal_asked_us; /* a damaged node's own question (trap 22) */
    uint64_t heal_index;                  /* its answer; UINT64_MAX: none yet */

    struct held_message outbox[OUTBOX_MAX]; /* a ring */
    size_t outbox_start, outbox_count;

    struct raft_checked checked;
    struct raft_reported reported;
};

/* ---- raft.c ---------------------------------------------------------------------------------------- */

/* Queue a message without entries for its receiver; `from` is filled in. Leaves at a FLUSH, once the
 * hard state as it is now is on disk. */
void raft_outbox_push(struct raft *r, const struct raft_message *m);
/* Add a message to the effects; takes its entries. */
void raft_effects_send(struct raft *r, struct raft_effects *out, const struct raft_message *m);
bool raft_hard_state_durable(const struct raft *r);
uint64_t raft_max(uint64_t a, uint64_t b);
uint64_t raft_min(uint64_t a, uint64_t b);

/* ---- election.c ------------------------------------------------------------------------------------- */

/* restarted: it has had a disk before, and may have acknowledged a leader. */
void election_init(struct raft *r, bool restarted);
void election_tick(struct raft *r);
/* The leader wants this node to take over: stand at once, without a pre-vote. */
void election_campaign_for_transfer(struct raft *r);
/* FLUSH: a sole voter need not wait; a candidate's own vote may have become durable. */
void election_flush(struct raft *r);
void election_peer_up(struct raft *r, uint64_t peer);
/* Whether this node would campaign when its timeout passes. */
bool election_may_campaign(const struct raft *r);
/* A leader was heard in the current term: start the timeout again. */
void election_leader_heard(struct raft *r, uint64_t leader);
/* FLUSH, before anything is answered: what this node promises the leader it has heard counts from now. */
void election_promise_flush(struct raft *r);
/* Take a term >= the current one as a follower; leader 0: not known. */
void election_become_follower(struct raft *r, uint64_t term, uint64_t leader);
void election_on_request(struct raft *r, const struct raft_message *m);
void election_on_reply(struct raft *r, const struct raft_message *m);
/* The asker is no member any more: say so. And the same said to us. */
void election_refuse_removed(struct raft *r, const struct raft_message *m);
void election_told_removed(struct raft *r);
/* True if a vote request must be ignored because a leader lives (Raft §6, Thesis §4.2.3). */
bool election_is_sticky(struct raft *r, const struct raft_message *m);

/* ---- follower.c -------------------------------------------------------------------------------------- */

/* An append of the current term; the entries stay the caller's. */
void follower_on_append(struct raft *r, const struct raft_message *m);
void follower_refuse_old_term(struct raft *r, const struct raft_message *m);
void follower_forget_leader(struct raft *r);
/* FLUSH: acknowledge what is durable and matches. */
void follower_flush(struct raft *r, struct raft_effects *out);

/* ---- replication.c ------------------------------------------------------------------------------------ */

void replication_start(struct raft *r); /* just became leader */
void replication_stop(struct raft *r);  /* no longer leader */
void replication_propose(struct raft *r, struct raft_event *event);
void replication_on_reply(struct raft *r, const struct raft_message *m);
void replication_on_log_entries(struct raft *r, uint64_t from_index, struct entries **entries);
/* The member says that its disk lost something: forget what it acknowledged. */
void replication_member_damaged(struct raft *r, uint64_t member);
void replication_peer_up(struct raft *r, uint64_t peer);
void replication_peer_down(struct raft *r, uint64_t peer);
/* Another configuration is in force: keep the views of who stays. */
void replication_configuration_changed(struct raft *r);
/* Whether a quorum was heard within the election timeout (Thesis §6.2). */
bool replication_has_quorum_contact(struct raft *r);
void replication_advance_commit(struct raft *r);
void replication_flush(struct raft *r, struct raft_effects *out);
uint64_t replication_deadline_us(const struct raft *r);
struct progress *replication_find(const struct raft *r, uint64_t id);

/* The next probe goes there. */
void replication_probe_at(struct progress *p, uint64_t next_index);

/* ---- snapshot.c ------------------------------------------------------------------------------------------- */

/* The member needs what was trimmed. */
void snapshot_begin(struct raft *r, struct progress *p);
void snapshot_wanted_flush(struct raft *r, struct raft_effects *out);
void snapshot_on_ready(struct raft *r, struct raft_event *event);
void snapshot_on_sent(struct raft *r, uint64_t member, bool installed);
/* FLUSH: what of the log may go. */
void snapshot_trim_flush(struct raft *r, struct raft_effects *out);
void snapshot_on_install(struct raft *r, const struct raft_message *m);
void snapshot_refuse_old_term(struct raft *r, const struct raft_message *m);
void snapshot_on_install_reply(struct raft *r, const struct raft_message *m);
void snapshot_on_installed(struct raft *r, struct raft_event *event);

/* ---- transfer.c ------------------------------------------------------------------------------------------- */

void transfer_request(struct raft *r, struct raft_event *event);
void transfer_stop(struct raft *r); /* it is over, or leads no more */
/* FLUSH of a leader: the target has all there is, or time is up. */
void transfer_flush(struct raft *r, struct raft_effects *out);
/* A leader is about to go: somebody shall take over at once. */
void transfer_leave(struct raft *r, struct raft_effects *out);
void transfer_on_timeout_now(struct raft *r, const struct raft_message *m);
uint64_t transfer_deadline_us(const struct raft *r);

/* ---- disk_health.c ------------------------------------------------------------------------------------- */

/* Before and after each step: when it came, and when the next was asked for. */
void disk_health_step(struct raft *r, uint64_t now_us);
void disk_health_stepped(struct raft *r, uint64_t deadline_us);
void disk_health_handed(struct raft *r, uint64_t sequence);
void disk_health_durable(struct raft *r, uint64_t sequence);
/* Of the oldest write that is not durable; 0: all are. */
uint64_t disk_health_age_us(const struct raft *r);
/* It is older than disk_stall_ms allows. */
bool disk_health_hangs(const struct raft *r);
/* What an append or a reply says of disks. */
void disk_health_fill(const struct raft *r, struct raft_message *m);
void disk_health_leader_said(struct raft *r, const struct raft_message *m);
void disk_health_member_said(struct progress *p, const struct raft_message *m);
/* A leader's view of another member's disk. */
bool disk_health_works(const struct raft *r, const struct progress *p);
/* Some voter is short of room. */
bool disk_health_cluster_is_low(const struct raft *r);
/* FLUSH of a leader: begin a transfer if its disk hangs. True: it must cease to lead. */
MUST_USE bool disk_health_flush(struct raft *r);

/* ---- cluster_time.c ------------------------------------------------------------------------------------ */

/* The greatest stamp of what was applied, by itself or in a snapshot. */
void cluster_time_applied(struct raft *r, uint64_t stamp_us);
/* The leader of the present term was that far; after its entries were taken. */
void cluster_time_heard(struct raft *r, uint64_t cluster_time_us);
void cluster_time_start(struct raft *r); /* becomes leader; before it appends */
/* FLUSH of a leader: count what a quorum has confirmed. */
void cluster_time_flush(struct raft *r);
uint64_t cluster_time_deadline_us(const struct raft *r);

/* ---- leader_lease.c ------------------------------------------------------------------------------------ */

void leader_lease_start(struct raft *r); /* just became leader */
/* Another member is about to be told to stand for election (trap 34). */
void leader_lease_give_up(struct raft *r);
/* Nobody else leads, as of now_us of this FLUSH. */
bool leader_lease_holds(struct raft *r);

/* ---- read_index.c -------------------------------------------------------------------------------------- */

/* A question asked at asked_us has been answered. */
void read_index_round_trip(struct raft *r, uint64_t asked_us);
/* Leader: the member has not acknowledged a round that still matters, for so long that it may be lost. */
bool read_index_round_lost(const struct raft *r, const struct progress *p);
void read_index_init(struct raft *r);
uint64_t read_index_join(struct raft *r);
/* Role, leader or term changed: what was asked must be asked again. */
void read_index_leader_changed(struct raft *r);
void read_index_on_request(struct raft *r, const struct raft_message *m);
void read_index_on_reply(struct raft *r, const struct raft_message *m, struct raft_effects *out);
void read_index_peer_up(struct raft *r, uint64_t peer);
/* FLUSH, before the appends: close batches, begin a round, answer what is confirmed. */
void read_index_flush(struct raft *r, struct raft_effects *out);
uint64_t read_index_deadline_us(const struct raft *r);

/* ---- membership.c ---------------------------------------------------------------------------------------- */

void membership_init(struct raft *r, const struct raft_boot *boot);
void membership_release(struct raft *r);
const struct configuration *membership_current(const struct raft *r);
uint64_t membership_current_index(const struct raft *r);
/* A CONFIG entry was appended at index; the configuration is copied. In force at once (Raft §6). */
void membership_append(struct raft *r, uint64_t index, const struct configuration *c);
/* Entries >= from are gone: back to the configuration before them (trap 38). */
void membership_truncate(struct raft *r, uint64_t from);
/* Entries up to commit_index stay for ever: forget what they replaced. */
void membership_commit(struct raft *r);
/* The newest committed configuration. */
const struct configuration *membership_settled(const struct raft *r);
/* This node votes in the settled configuration or in one that may be rolled back. */
bool membership_ever_votes(const struct raft *r);
/* It was a member once and is not any more, as the log or another member says. */
bool membership_is_removed(const struct raft *r);
/* The log begins anew after index: this was in force there, and newer ones stay if their entries did. */
void membership_reset(struct raft *r, uint64_t index, const struct configuration *c);
/* Leader: append this configuration; it is copied and in force. */
void membership_propose(struct raft *r, const struct configuration *c);
void membership_bootstrap(struct raft *r, const struct configuration *c);

/* ---- change.c ---------------------------------------------------------------------------------------------- */

/* The configuration to append first on the way from current, which must not be joint, to target. Errors of a
 * target that cannot be, see raft.h; out is then untouched. */
MUST_USE enum err change_first(const struct configuration *current,
                               const struct configuration *target, struct configuration *out);
/* ... and the one that ends a joint one. */
void change_second(const struct configuration *joint, struct configuration *out);
void change_request(struct raft *r, struct raft_event *event);
/* FLUSH of a leader: C_old,new is committed, so C_new follows. */
void change_flush(struct raft *r);
/* A leader whose committed configuration gives it no vote: its work is done. */
bool change_leader_is_out(const struct raft *r);

#endif
