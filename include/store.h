/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h: what the log and the KV table need from a disk. SQLite is behind it and nowhere else.
 *
 * Two kinds of file, one writing connection each:
 *   raft.db              log, term, vote, identity of the node; written by the log actor (log_db)
 *   <group>/kv-<n>.db    keys, revisions, applied_index; written by the flush actor (kv_writer), read
 *                        by the apply actor on a connection of its own (kv_reader); kv.db is a
 *                        symbolic link for people
 *   raft.mark            what raft.db must at least contain (design §4); written with the VFS's file
 *                        methods, never through SQLite
 *
 * Invariants
 *  1. Exactly one connection writes AND checkpoints a file; all others are read-only (SQLite
 *     before 3.51.3 has the WAL-reset race).
 *  2. Nothing opens, copies or hashes a live database file or its -shm except SQLite (trap 57).
 *  3. All file access goes through the default SQLite VFS, so that the simulator's in-memory disk
 *     sees all of it.
 *  4. A write or sync error on raft.db is final: the handle refuses everything after it (trap 20).
 *
 * Thread rules: a handle belongs to one actor. Connections are opened SQLITE_OPEN_NOMUTEX.
 */
#ifndef HOLDFAST_STORE_H
#define HOLDFAST_STORE_H

#include "base.h"
#include "entry.h"
#include "membership.h"
#include "raft.h"

/* ---- raft.db ----------------------------------------------------------------------------------- */

#define LOG_DB_FORMAT 2
#define KV_DB_FORMAT  2

/* What kv.db says of itself as it is durable on disk. */
struct kv_meta {
    uint64_t generation; /* of the file: a snapshot is installed under the next number */
    uint64_t applied_index, applied_term;
    int64_t revision;          /* 1 when empty */
    int64_t compact_revision;  /* 0: never */
    uint64_t cluster_time_us;  /* greatest stamp of an applied entry */
    uint64_t compact_progress; /* history up to this change is free of what compaction removes */
    /* Of the newest CONFIG entry at or below applied_index, also when the log no longer holds it;
     * count 0: none was applied yet. */
    struct configuration configuration;
};

struct log_db;

/* Identity of this node, drawn when the data directory is empty. */
struct node_identity {
    char cluster[MEMBER_NAME_MAX + 1]; /* the config's cluster name */
    char name[MEMBER_NAME_MAX + 1];    /* the config's node name */
    uint64_t member_id;                /* random incarnation, never 0 */
    uint64_t cluster_id;               /* 0 until the node has joined or bootstrapped a cluster */
    uint64_t boot_number;              /* starts of this data directory, 1 the first time */
};

/* What log_db_open found for one group; free with log_recovered_free. */
struct log_recovered {
    uint64_t current_term, voted_for;
    uint64_t trimmed_index, trimmed_term;
    uint64_t last_log_index, last_log_term; /* = trimmed_* for an empty log */
    struct raft_term_run *term_runs;
    size_t term_run_count;
    uint64_t persist_sequence;
    bool damaged;          /* the disk has lost or changed something it had acknowledged */
    char damage_text[160]; /* what was found, for the log line */
    bool may_not_vote;     /* durable flag: damaged now, or damaged earlier and not yet healed */
    uint64_t
        observed_commit_index; /* log_db_observe, as it was written last: at least so much is committed */
    struct configuration configuration; /* newest CONFIG entry at or below the log's end ... */
    uint64_t configuration_index;       /* ... count 0 / index 0: none */
};

/*
 * Open or create data_dir/raft.db. Before SQLite opens it the WAL is scanned for a valid commit
 * frame behind an invalid one, and raft.mark is read; after it, row checksums are verified (trap 22).
 *
 * data_dir   borrowed; must exist
 * cluster, node  names from the config; an existing file with others gives ERR_IDENTITY
 * seed       randomness for a new member id
 * problem    out on error: one sentence saying what is wrong and what to do (problem_size octets)
 *
 * ERR_NEWER_FORMAT, ERR_CORRUPT, ERR_IO, ERR_IDENTITY. Counts boot_number up durably.
 */
MUST_USE enum err log_db_open(const char *data_dir, const char *cluster, const char *node,
                              uint64_t seed, struct log_db **out, char *problem,
                              size_t problem_size);
/* Closes; the mark is synced. NULL is fine. */
void log_db_close(struct log_db **db);
void log_db_identity(const struct log_db *db, struct node_identity *out);

/*
 * Read the state of a group, verify every row, and repair what can be repaired. Once per group and
 * open, before the first log_db_begin.
 *
 * kv   borrowed; of that group's KV table, whose generation is noted if another was.
 *      An applied_index beyond the last entry, or an entry of
 *      another term there, proves damage too: the log then starts anew after kv->applied_index.
 * out  recovered.configuration is kv->configuration (index: applied_index) when the log holds no
 *      CONFIG entry
 *
 * When damaged, the durable may-not-vote flag is set before this returns; persist_sequence, term
 * and vote go on from the greater of file and mark. Entries from the first bad row on are removed
 * (they are fetched again from the leader). ERR_IO; ERR_CORRUPT when nothing can be made of the file
 * or entries between kv->applied_index and the log's start are gone; ERR_BUSY_FILE.
 */
MUST_USE enum err log_db_recover(struct log_db *db, uint32_t group, const struct kv_meta *kv,
                                 struct log_recovered *out);
void log_recovered_free(struct log_recovered *r);

/* The generation of the group's table that raft.db stands for; 0 for a new group. */
MUST_USE enum err log_db_generation(struct log_db *db, uint32_t group, uint64_t *out);
/* In a transaction, with the persist that begins the log anew behind a snapshot (traps 46, 58). */
MUST_USE enum err log_db_set_generation(struct log_db *db, uint32_t group, uint64_t generation);

/* Entries from..to (inclusive), stopping once bytes_max is reached (always at least one).
 * ERR_NOT_FOUND if `from` is trimmed or beyond the end; ERR_CHECKSUM, ERR_IO. */
MUST_USE enum err log_db_read(struct log_db *db, uint32_t group, uint64_t from, uint64_t to,
                              uint64_t bytes_max, struct entries **out);

/* One group commit: begin, any number of persists, trims and settings, commit. ERR_BUSY_FILE: a person
 * holds the write lock, nothing was begun, try again (a stall to report, not an I/O error). ERR_DISK_FULL, also from
 * each of the following up to the commit: the transaction is over and none of it happened; begin the same anew
 * when there may be room. Every other error is final. */
MUST_USE enum err log_db_begin(struct log_db *db);
/* Term and vote in one row, truncation, a new start behind a snapshot, entries, damage flag. persist is borrowed. With
 * reset_index the caller sets the generation in the same transaction. */
MUST_USE enum err log_db_persist(struct log_db *db, uint32_t group,
                                 const struct raft_persist *persist);
/* For people reading the file: whom this node takes for the leader (0: nobody) and how far it knows
 * the log committed. Kept in memory; written with the group's next persist, without a disk write of its
 * own, so it may be stale. Callable at any time. */
void log_db_observe(struct log_db *db, uint32_t group, uint64_t leader_id, uint64_t commit_index);
MUST_USE enum err log_db_set_cluster_id(struct log_db *db, uint64_t cluster_id);
/* Delete at most rows_max entries of the prefix up to and including through_index; *more says whether
 * some are left (trap 23). */
MUST_USE enum err log_db_trim(struct log_db *db, uint32_t group, uint64_t through_index,
                              uint32_t rows_max, bool *more);
/* COMMIT with synchronous=FULL, then the mark (fdatasync of it only when term or vote changed).
 * Any error but ERR_DISK_FULL is final, and that one too if it is the mark's: then `log_db_begin` says so. */
MUST_USE enum err log_db_commit(struct log_db *db);
/* Call between transactions. Runs a PASSIVE checkpoint when the WAL is past the soft limit and
 * `idle`, or past the hard limit; asks no more than one per call. */
MUST_USE enum err log_db_maintain(struct log_db *db, bool idle);
/* fsync the mark if it was written since; check that the names of file and WAL still stand for the files
 * written to: ERR_CORRUPT if not (trap 57). About once a second. */
MUST_USE enum err log_db_sync_mark(struct log_db *db);

struct db_figures {
    uint64_t file_bytes, used_bytes, wal_bytes;
    uint64_t commits, checkpoints;
    uint64_t checkpoint_blocked_count; /* in a row: someone's open read transaction pins the WAL */
    uint64_t last_commit_us, longest_commit_us;
    uint64_t pinned_us; /* how long an open read transaction has kept the WAL; 0: none does */
};
void log_db_figures(struct log_db *db, struct db_figures *out);

/* ---- kv.db ------------------------------------------------------------------------------------- */

/* A change's place: main revision and the order within it. One integer for SQLite: 43 + 20 bits. */
#define CHANGE_SUB_BITS 20
#define CHANGE_SUB_MAX  ((UINT64_C(1) << CHANGE_SUB_BITS) - 1)
static inline uint64_t change_id(int64_t revision, uint32_t sub)
{
    return ((uint64_t)revision << CHANGE_SUB_BITS) | sub;
}
static inline int64_t change_revision(uint64_t id)
{
    return (int64_t)(id >> CHANGE_SUB_BITS);
}

/* The newest state of a key: the small table `current`. */
struct kv_current {
    struct view key;
    uint64_t change;         /* change id of the newest revision */
    int64_t create_revision; /* 0 for a deleted key */
    int64_t version;         /* 0 for a deleted key */
    int64_t lease;
    uint64_t depth; /* how many history rows the key ever had, for the jump pointers */
    bool deleted;   /* a tombstone is the newest revision */
};

/* A row of the append-only table `history`. */
struct kv_history {
    uint64_t change;
    struct view key;
    struct view value;
    int64_t create_revision, version, lease;
    bool deleted;
    uint64_t previous_change; /* the key's revision before this one; 0: none */
    uint64_t
        jump_change; /* an older ancestor, skew-binary, for O(log n) reads in the past; 0: none */
};

/* A row of the table `leases`; times in cluster time. */
struct kv_lease {
    int64_t id;
    int64_t ttl_s;
    uint64_t deadline_us;
    uint64_t granted_us;
};

/* A sealed batch of changes on its way from apply to flush: one block of octets. Built in two parts:
 * history rows in change order while entries are applied, then current rows in key order at sealing. */
struct kv_batch {
    uint64_t number;
    uint64_t applied_index, applied_term;
    int64_t revision;
    int64_t compact_revision;
    uint64_t cluster_time_us;
    struct configuration *members; /* to write to the members table; NULL: unchanged. Owned. */
    struct buffer history;         /* encoded rows */
    size_t history_count;
    struct buffer current;
    size_t current_count;
    struct buffer leases;
    size_t lease_count;
};
void kv_batch_add_history(struct kv_batch *b, const struct kv_history *row);
void kv_batch_add_current(struct kv_batch *b, const struct kv_current *row);
/* The lease as it is now; ended: it is no more. The last word of a batch on a lease counts. */
void kv_batch_add_lease(struct kv_batch *b, const struct kv_lease *row, bool ended);
void kv_batch_free(struct kv_batch **b);

/*
 * The generation to open: the one raft.db names; or the next one if only that file is there, which is so
 * when raft.db has lost the switch to it (then it is damaged, and its log begins anew behind the table).
 * ERR_IO.
 */
MUST_USE enum err kv_generation_find(const char *data_dir, uint32_t group, uint64_t named,
                                     uint64_t *out);
/* Remove the files of the generations before and after the current one: what a finished or an
 * unfinished installation left. ERR_IO. */
MUST_USE enum err kv_generations_clean(const char *data_dir, uint32_t group, uint64_t current);
MUST_USE enum err kv_generation_remove(const char *data_dir, uint32_t group, uint64_t generation);

struct kv_writer;
/* Open or create data_dir/group-<g>/kv-<generation>.db and the kv.db link. synchronous=FULL: a
 * committed batch is a durable batch (trap 59). */
MUST_USE enum err kv_writer_open(const char *data_dir, uint32_t group, uint64_t generation,
                                 struct kv_writer **out, struct kv_meta *meta, char *problem,
                                 size_t problem_size);
void kv_writer_close(struct kv_writer **w);
/* One transaction: history, current, applied_index, members. ERR_IO, ERR_DISK_FULL, ERR_BUSY_FILE
 * (a person holds a write lock: nothing written, try again), ERR_FOREIGN_WRITE (data_version moved). */
MUST_USE enum err kv_writer_write(struct kv_writer *w, const struct kv_batch *batch);
/*
 * Take out what nobody may read any more, as of the compact_revision that was written last (kv_compact.h). One
 * slice of some milliseconds, between batches. ERR_BUSY_FILE as kv_writer_write.
 */
MUST_USE enum err kv_writer_compact_slice(struct kv_writer *w);
/* How much one slice does, and how much is collected before anything is deleted; for tests. */
struct kv_compact_bounds {
    uint64_t window_max, look_rows, rows_max;
};
void kv_writer_set_compact_bounds(struct kv_writer *w, const struct kv_compact_bounds *bounds);
/* Something is left to take out. */
bool kv_writer_compacting(const struct kv_writer *w);
/* Nothing is left that went out of reach at or below this revision; 0 until this start has seen to it. */
int64_t kv_writer_compacted(const struct kv_writer *w);
/* Between transactions: PASSIVE checkpoint when the WAL is past the soft limit, or always if idle. */
MUST_USE enum err kv_writer_maintain(struct kv_writer *w, bool idle);
void kv_writer_figures(struct kv_writer *w, struct db_figures *out);

struct kv_reader;
MUST_USE enum err kv_reader_open(const char *data_dir, uint32_t group, uint64_t generation,
                                 struct kv_reader **out, char *problem, size_t problem_size);
void kv_reader_close(struct kv_reader **r);
/* Reads from the first one until kv_reader_release share one snapshot of what was committed. Release
 * before counting on a later commit, and when there is nothing more to read now: a reader that holds
 * its snapshot keeps the WAL from being reset. Not within a scan; without a burst it does nothing. */
void kv_reader_release(struct kv_reader *r);
/* Rows are valid until the next call on the reader. ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT. */
MUST_USE enum err kv_reader_current(struct kv_reader *r, struct view key, struct kv_current *out);
MUST_USE enum err kv_reader_history(struct kv_reader *r, uint64_t change, struct kv_history *out);
/* Ascending scan of `current` from `start` (inclusive) while the transaction-less cursor lives.
 * One scan at a time; kv_reader_current must not be mixed into it, kv_reader_history may. */
MUST_USE enum err kv_reader_scan_start(struct kv_reader *r, struct view start);
/* ERR_NOT_FOUND at the end. */
MUST_USE enum err kv_reader_scan_next(struct kv_reader *r, struct kv_current *out);
void kv_reader_scan_end(struct kv_reader *r);
/*
 * Ascending scan of `history` from a change on; one at a time, kv_reader_history may be mixed into it.
 * Rows are valid until the next step. Like every read it keeps the burst's snapshot.
 */
MUST_USE enum err kv_reader_history_start(struct kv_reader *r, uint64_t from_change);
/* ERR_NOT_FOUND at the end. */
MUST_USE enum err kv_reader_history_next(struct kv_reader *r, struct kv_history *out);
void kv_reader_history_end(struct kv_reader *r);
/* meta.compact_revision in this burst's snapshot: below it history may be gone from the file. */
MUST_USE enum err kv_reader_compact_revision(struct kv_reader *r, int64_t *out);
/* All leases, and all keys that hang on one, in no particular order; *count of them in an array that the
 * caller frees with mem_free (a lease's keys: one allocation, the octets behind the array). For the start:
 * they work in one go. ERR_IO, ERR_CORRUPT. */
struct kv_lease_key {
    int64_t lease;
    struct view key;
};
MUST_USE enum err kv_reader_leases(struct kv_reader *r, struct kv_lease **out, size_t *count);
MUST_USE enum err kv_reader_lease_keys(struct kv_reader *r, struct kv_lease_key **out,
                                       size_t *count);
/* Size on disk: allocated and in use. */
void kv_reader_sizes(struct kv_reader *r, uint64_t *file_bytes, uint64_t *used_bytes);

/* ---- hashes and copies of kv.db ------------------------------------------------------------------ */

/* What members agree on at equal revisions, whatever their files look like. */
struct kv_hash {
    uint32_t hash;
    int64_t revision;         /* that was hashed */
    int64_t compact_revision; /* in force then */
};

struct kv_hasher;
MUST_USE enum err kv_hasher_open(const char *data_dir, uint32_t group, uint64_t generation,
                                 struct kv_hasher **out, char *problem, size_t problem_size);
void kv_hasher_close(struct kv_hasher **h);
/* Hash what is committed now, up to a revision (0: all). A read transaction is held until the last step.
 * ERR_FUTURE_REVISION, ERR_COMPACTED; then nothing was begun. ERR_IO, ERR_CORRUPT. */
MUST_USE enum err kv_hasher_begin(struct kv_hasher *h, int64_t revision);
/* At most rows_max rows of history. An error ends it. */
MUST_USE enum err kv_hasher_step(struct kv_hasher *h, uint64_t rows_max, bool *done);
/* After the last step. */
void kv_hasher_result(const struct kv_hasher *h, struct kv_hash *out);
/* Give up what is under way, if anything. */
void kv_hasher_abandon(struct kv_hasher *h);

#define KV_SNAPSHOT_SLOTS 2

struct kv_snapshot_facts {
    uint64_t applied_index, applied_term;
    int64_t revision, compact_revision;
    uint64_t bytes; /* of the file; an estimate until it is complete */
};

/* A copy of kv.db, as of one commit, in group-<g>/snapshot-<slot>.db. */
struct kv_snapshot;
/* Begin to copy what is committed now; what was in the slot is removed. A read transaction is held until
 * the copy is complete. ERR_DISK_FULL also when there is no room for all of it. */
MUST_USE enum err kv_snapshot_begin(const char *data_dir, uint32_t group, uint64_t generation,
                                    uint32_t slot, struct kv_snapshot **out, char *problem,
                                    size_t problem_size);
/* Copy at most `pages` of 4096 octets. *done: complete and on the disk. An error is final: close. */
MUST_USE enum err kv_snapshot_step(struct kv_snapshot *s, uint32_t pages, bool *done);
void kv_snapshot_facts(const struct kv_snapshot *s, struct kv_snapshot_facts *out);
/* Octets of the complete copy. */
MUST_USE enum err kv_snapshot_read(struct kv_snapshot *s, uint64_t offset, void *out, size_t size);
/* Closes; the file stays until kv_snapshot_remove. NULL is fine. */
void kv_snapshot_close(struct kv_snapshot **s);
/* Remove a slot's file and what a crash left beside it. */
MUST_USE enum err kv_snapshot_remove(const char *data_dir, uint32_t group, uint32_t slot);

/* A table on its way from another node, in the file of the next generation. */
struct kv_incoming;
/* Whose copy of what: octets of another are of no use. */
struct kv_incoming_source {
    uint64_t member, index, term;
    uint64_t bytes; /* of the whole */
};
/*
 * Octets of the same source that an earlier begin left unfinished, in this life or another, are kept:
 * kv_incoming_received says how many. Anything else under that name is removed. ERR_DISK_FULL also when there is
 * no room for the rest; ERR_IO.
 */
MUST_USE enum err kv_incoming_begin(const char *data_dir, uint32_t group, uint64_t generation,
                                    const struct kv_incoming_source *source,
                                    struct kv_incoming **out);
/* The next octets. ERR_INVALID (nothing written): not at the offset kv_incoming_received tells, or more than
 * was said. ERR_DISK_FULL, ERR_IO. */
MUST_USE enum err kv_incoming_write(struct kv_incoming *in, uint64_t offset, struct view octets);
uint64_t kv_incoming_received(const struct kv_incoming *in);
/*
 * All octets are there: check them against the SHA-256 of what was sent, make them durable, and read what the
 * table says of itself. ERR_CHECKSUM, ERR_NEWER_FORMAT, ERR_CORRUPT, ERR_IO: no begin goes on with it. Close it in
 * any case.
 */
MUST_USE enum err kv_incoming_complete(struct kv_incoming *in, struct view sha256,
                                       struct kv_meta *out);
/* The file stays; kv_generation_remove removes it. NULL is fine. */
void kv_incoming_close(struct kv_incoming **in);

/* ---- room ---------------------------------------------------------------------------------------- */

struct space;

struct space_facts {
    uint64_t free_bytes;    /* on the file system of the data directory, for this process */
    uint64_t reserve_bytes; /* held by the reserve file beside that */
    bool low;               /* writes that need room must wait */
};

/* data_dir is copied. reserve_bytes 0: no reserve; low_space_bytes 0: no watermark but the loss of the reserve. */
struct space *space_open(const char *data_dir, uint64_t reserve_bytes, uint64_t low_space_bytes);
void space_close(struct space **space);
/* Measure; make the reserve, or give it up: the last part of it only at a start. May block in the
 * file system. ERR_IO: nothing is known. */
MUST_USE enum err space_look(struct space *s, bool starting, struct space_facts *out);

#endif
