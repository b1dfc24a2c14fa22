/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox.h: the queue of an actor: many producers, one consumer, and the protocol by which the consumer
 * falls asleep without missing a message. The list is Dmitry Vyukov's intrusive MPSC queue, written in
 * C11 atomics; docs/decisions/0002-inbox.md tells what it was chosen over.
 *
 * In flow messages from any thread; out flow the same messages on the consumer's thread. Descriptors,
 * clocks and threads are deliberately not here: who sleeps on what is actor.c's affair.
 *
 * The list runs from `tail` (oldest, the consumer's end) over msg.next to `head` (newest, where
 * producers add). A stub message inside the inbox stands in when the list would be empty, so that
 * producers never see an empty list and never touch `tail`.
 *
 * What is promised, and what is not
 *  1. A push is wait-free: one exchange, one store, one more exchange for the wake-up. No allocation.
 *  2. Messages of one producer come out in the order it pushed them.
 *  3. Every pushed message comes out exactly once.
 *  4. NOT promised: that the consumer sees a push the instant it began. Between a producer's exchange
 *     of `head` and its store of the link, the list is cut there: inbox_take may say "empty" although
 *     that message, and complete pushes behind it, are under way; a producer preempted in between
 *     delays them until it runs again. So the consumer is not lock-free. It never spins on the gap: it
 *     goes to sleep, and the same producer's next step is the exchange of `asleep`, which wakes it.
 *  5. No wake-up is lost. Producer: link, then exchange(asleep, false), wake if it was true. Consumer:
 *     exchange(asleep, true), look once more, then sleep. All writes of `asleep` are exchanges, so they
 *     stand in one order in which each reads its predecessor. Take any producer's exchange P and the
 *     consumer's last exchange C before it sleeps. P after C: P, or another producer's exchange between
 *     them, read `true` and wakes the consumer. P before C: C synchronises with P (release sequences run
 *     through read-modify-writes), so the link is visible to the look that follows C, and the
 *     consumer does not sleep.
 *  6. Nobody touches a message after it was taken: a producer's last access to a message other than
 *     its own is the link store, and the consumer takes a message only after it has seen that.
 */
#ifndef HOLDFAST_INBOX_H
#define HOLDFAST_INBOX_H

#include "actor.h"

#define INBOX_CACHE_LINE_BYTES 64

struct inbox {
    /* Producers write these two on every push; the consumer's own fields lie on another line. */
    _Atomic(struct msg *) head;
    _Atomic(bool) asleep;
    char padding[INBOX_CACHE_LINE_BYTES];
    struct msg *tail; /* consumer only */
    struct msg stub;
};

/* Make it empty, the consumer awake. It must not move afterwards: it holds a pointer into itself. */
void inbox_init(struct inbox *inbox);

/*
 * Add a message. From any thread.
 *
 * m  moved in; filled completely
 *
 * Returns true if the consumer is asleep or about to be, and this caller must wake it.
 */
MUST_USE bool inbox_push(struct inbox *inbox, struct msg *m);

/* The oldest message, moved out, or NULL (promise 4). Consumer only. */
struct msg *inbox_take(struct inbox *inbox);

/*
 * Announce sleep and look once more. Consumer only.
 *
 * Returns NULL: the consumer may sleep; whoever pushes from now on wakes it. Else a message, moved
 * out, and the consumer is awake again.
 */
struct msg *inbox_park(struct inbox *inbox);

/* How many messages wait, as far as the consumer can see; counts to `most`. Consumer only. */
size_t inbox_count(const struct inbox *inbox, size_t most);

/* The consumer has returned from its sleep, for whatever reason. Consumer only. */
void inbox_unpark(struct inbox *inbox);

#endif
