/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.h: what clients asked and were answered, in virtual time, and whether that can be.
 *
 * Each answer is judged at once against the model (what is committed): a write that was acknowledged
 * is committed at the revision its answer names; one that was said to be "not carried out" never is; a
 * linearizable read shows a state at least as new as everything that was answered before the read
 * was asked, and exactly the state of its revision; what one client reads on its node never goes back.
 * At the end each key's history is judged once more by linearizable.h, which knows no revisions.
 */
#ifndef HOLDFAST_SIM_HISTORY_H
#define HOLDFAST_SIM_HISTORY_H

#include "checkers.h"
#include "linearizable.h"

enum history_kind { HISTORY_PUT, HISTORY_DELETE, HISTORY_GET, HISTORY_ALL, HISTORY_MEMBERS };
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
};

struct history {
    struct history_op *ops;
    size_t count, capacity;
    struct map by_request; /* (origin, request_id) -> place in ops */
    struct checks *checks;
    uint32_t key_count;
    int64_t floor_revision;
    uint64_t value_last;
    uint64_t done, not_done, unknown, undecided;
};

void history_start(struct history *h, struct checks *checks, uint32_t key_count);
void history_free(struct history *h);

/* Note that it is asked now; returns its place. value of a put is drawn here, unique. */
size_t history_ask(struct history *h, const struct history_op *op, uint64_t now_us);
/* The answer came. result borrowed. session_revision: the newest revision this client has seen on this
 * boot of its node; moved on. */
void history_answer(struct history *h, size_t at, const struct result *result,
                    int64_t *session_revision, uint64_t now_us);
void history_not(struct history *h, size_t at, uint64_t now_us);
void history_unknown(struct history *h, size_t at);
/* The entry was committed for the first time. */
void history_committed(struct history *h, const struct entry *e);
/* Linearizability of each key. */
void history_judge(struct history *h);

#endif
