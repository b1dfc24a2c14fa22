/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply_reads.h: the reads of the apply actor: waiting for their index, or worked on in slices between the
 * applies. Part of that actor; nothing here is known elsewhere.
 *
 * Invariants
 *  1. A linearizable read is answered only at or after its read index (trap 33), from the state in
 *     memory merged with what is committed in kv.db.
 *  2. A large read works a slice per round, between applies, at its pinned revision. What it gathers is
 *     charged to the clients' credit for octets until its answer is sent; without credit it is refused.
 *  3. Reads whose clients have been told that their time is up are dropped, begun or not.
 */
#ifndef HOLDFAST_APPLY_READS_H
#define HOLDFAST_APPLY_READS_H

#include "kv.h"
#include "message.h"
#include "node.h"

/* One read: waiting for its index, or being worked on. */
struct pending_read {
    struct read_request *request;
    struct kv_read *read; /* NULL: not begun */
    uint64_t charged;     /* octets of its result taken from answer_bytes */
};

struct pending_reads {
    struct pending_read *items;
    size_t first, count, capacity; /* a queue: live items are first .. first+count-1 */
};

/* Zero-initialised and with its links set it is ready. */
struct apply_reads {
    const struct node_actors *links; /* borrowed: the clients, and their credit */
    struct pending_reads waiting;    /* their index is not applied yet; read indexes never fall */
    struct pending_reads active;
    bool held; /* the table is being replaced: all wait */
    uint64_t answered;
};

/* One more; the request moves in. Begun at once if its index is applied. */
void reads_take(struct apply_reads *r, struct kv *kv, struct read_request *request,
                uint64_t now_us);
/* Reads whose index has been reached begin. After every apply, and when reads_deadline_us comes. */
void reads_wake(struct apply_reads *r, struct kv *kv, uint64_t now_us);
/* A slice of each that is worked on. */
void reads_work(struct apply_reads *r, struct kv *kv, uint64_t now_us);
/* When reads_wake or reads_work is wanted; UINT64_MAX: never as it stands. */
uint64_t reads_deadline_us(const struct apply_reads *r, uint64_t now_us);
/* The table they read is being replaced: who was begun is told `error`, the others wait until reads_go_on. */
void reads_hold(struct apply_reads *r, enum err error);
/* With the table there is now; to be followed by reads_wake. */
void reads_go_on(struct apply_reads *r);
void reads_free(struct apply_reads *r);

/* ---- for the whole actor ------------------------------------------------------------------------- */

/* Whose request it was; NULL: nobody's of this node. */
struct actor *apply_client(const struct node_actors *links, uint64_t request_id);
/* The result moves to its client. charged: octets of it taken from the credit for answers. */
void apply_reply(const struct node_actors *links, uint64_t request_id, struct result **result,
                 uint64_t charged);
/* The table cannot be used any more (trap 19): ends the process. */
NO_RETURN void apply_fail(enum err error, const char *what);

#endif
