/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.h: what clients asked and were answered, in virtual time, and whether that can be.
 *
 * Each answer is judged at once against the model (what is committed): a write that was acknowledged
 * is committed at the revision its answer names; one that was said to be "not carried out" never is; a
 * linearizable read shows a state at least as new as everything that was answered before the read
 * was asked, and exactly the state of its revision; what one client reads on its node never goes back.
 * Every write must be answered what the model says of its entry, down to the pairs of a nested transaction.
 * At the end each plain key's history is judged once more by linearizable.h, which knows no revisions.
 *
 * Keys. The first `key_count` are plain: put, deleted and read one at a time, so that the search can judge them.
 * From HISTORY_SHARED_FIRST on transactions, leases and deletes of ranges do what they like; HISTORY_LOCK_KEY is
 * a lock's.
 *
 * Leases (history_leases.c). A lease must not end before its TTL has passed in true time since its last committed
 * renewal was asked for, however clocks drift and whoever was stopped; a leaderless time only lengthens it (trap 53).
 * A write guarded by a lock's revision must be refused when somebody else was told before it was asked that the
 * lock is theirs (trap 54).
 *
 * Watches are judged in watch_history.h.
 */
#ifndef HOLDFAST_SIM_HISTORY_H
#define HOLDFAST_SIM_HISTORY_H

#include "checkers.h"
#include "linearizable.h"

enum history_kind {
    HISTORY_PUT,    /* of a plain key */
    HISTORY_DELETE, /* of a plain key */
    HISTORY_GET,
    HISTORY_ALL,
    HISTORY_MEMBERS,
    HISTORY_WRITE, /* any other that becomes an entry: options, ranges, transactions, compactions, leases */
    HISTORY_TXN_READ,
    HISTORY_TTL,
    HISTORY_LEASES,
};

#define HISTORY_SHARED_FIRST 10
#define HISTORY_SHARED_COUNT 8
#define HISTORY_LOCK_KEY     20
#define HISTORY_DRIFT_PARTS  100000 /* of a million: no clock is faster or slower by more */
#define HISTORY_IDS_MAX      16
enum history_outcome {
    HISTORY_PENDING,
    HISTORY_DONE,
    HISTORY_NOT,    /* definitely not carried out */
    HISTORY_UNKNOWN /* nobody knows */
};

struct history_op {
    enum history_kind kind;
    enum history_outcome outcome;
    size_t node;
    uint64_t origin, request_id;
    uint32_t key;
    uint64_t value;        /* put: written; get: read */
    int64_t past_revision; /* get: asked for the state at it; 0: the present */
    bool serializable;
    int64_t floor_revision; /* what had been answered to anybody when this was asked */
    uint64_t invoke_us, return_us;
    int64_t revision;
    int deleted;
    uint64_t command_sum; /* writes: checksum of the command, its stamp left out */
    bool physical;        /* its answer waits for the disk, so later ones may come before */
    bool compacts;
    bool want_keys;        /* ttl */
    int64_t lease;         /* ttl */
    struct bytes body;     /* txn read: owned */
    bool acquires;         /* puts the lock key if nobody has it */
    int64_t guard;         /* the lock's revision that it insists on; 0: none */
    uint64_t floor_index;  /* an entry that somebody had been answered when this was asked */
    int64_t floor_compact; /* ... of a compaction */
    int64_t floor_lock;    /* the newest acquisition that was answered by then */
};

struct history {
    struct history_op *ops;
    size_t count, capacity;
    struct map by_request; /* (origin, request_id) -> place in ops */
    struct checks *checks;
    uint32_t key_count;
    int64_t floor_revision;
    uint64_t floor_index;
    int64_t floor_compact, floor_lock;
    int64_t ids[HISTORY_IDS_MAX]; /* of leases, the newest that were asked for; 0: none yet */
    size_t id_count;              /* ever */
    uint64_t value_last;
    uint64_t txns, leases_granted, leases_expired, guarded, guarded_refused; /* committed */
    uint64_t done, not_done, unknown, undecided;
};

void history_start(struct history *h, struct checks *checks, uint32_t key_count);
void history_free(struct history *h);

/* A value nobody has written. */
uint64_t history_value(struct history *h);
/* Note that it is asked now; returns its place. */
size_t history_ask(struct history *h, const struct history_op *op, uint64_t now_us);
/* The answer came. result borrowed. session_revision: the newest revision this client has seen on this
 * boot of its node; moved on. */
void history_answer(struct history *h, size_t at, const struct result *result,
                    int64_t *session_revision, uint64_t now_us);
/* Checksum of an encoded command without its stamp, which its leader writes. */
uint64_t history_command_sum(struct view command);
void history_not(struct history *h, size_t at, uint64_t now_us);
void history_unknown(struct history *h, size_t at);
/* The entry was committed for the first time. */
void history_committed(struct history *h, const struct entry *e, uint64_t now_us);
/* Linearizability of each key. */
void history_judge(struct history *h);

/* ---- between the files of the history ----------------------------------------------------------- */

void history_fail(struct history *h, const struct history_op *op, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* Answers to questions about leases. */
void history_judge_leases(struct history *h, const struct history_op *op,
                          const struct result *result);
/* A write was answered, and not refused. */
void history_judge_lock(struct history *h, const struct history_op *op,
                        const struct result *result);
/* After an entry that may have ended a lease. */
void history_lease_ended(struct history *h, const struct entry *e, uint64_t now_us);

#endif
