/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox.c: the list and the sleep protocol of inbox.h, with each memory order argued where it stands.
 * No standalone fence: ThreadSanitizer cannot see one.
 */
#include "inbox.h"

#include <stdatomic.h>

void inbox_init(struct inbox *inbox)
{
    /* Plain initialisation: the inbox becomes known to other threads by what publishes the actor. */
    atomic_init(&inbox->stub.next, NULL);
    inbox->stub.from = NULL;
    inbox->stub.release = NULL;
    inbox->stub.kind = 0;
    inbox->tail = &inbox->stub;
    atomic_init(&inbox->head, &inbox->stub);
    atomic_init(&inbox->asleep, false);
}

static void list_add(struct inbox *inbox, struct msg *m)
{
    /* relaxed: published by the release of the exchange below, to the producer that exchanges next. */
    atomic_store_explicit(&m->next, NULL, memory_order_relaxed);

    /*
     * acq_rel. Release: the NULL above must stand before the next producer's store into the same
     * m->next, which it may do as soon as it got m from here. Acquire: the counterpart, for our own
     * store into previous->next. Without the pair, NULL could overwrite a link, and lose the list.
     */
    struct msg *previous = atomic_exchange_explicit(&inbox->head, m, memory_order_acq_rel);

    /* release: publishes all fields of m to the consumer, whose acquire load of this link is how it
     * learns of m. From here on neither m nor previous is ours. */
    atomic_store_explicit(&previous->next, m, memory_order_release);
}

bool inbox_push(struct inbox *inbox, struct msg *m)
{
    list_add(inbox, m);
    /*
     * acq_rel. Release: the link above is visible to the consumer if its exchange comes later (promise
     * 5). Acquire: keeps the release sequence's readers ordered as well; it costs nothing on a locked
     * instruction. An exchange even when `asleep` is likely false: a plain load could be satisfied
     * before the link store left this processor, and the wake-up would be lost.
     */
    return atomic_exchange_explicit(&inbox->asleep, false, memory_order_acq_rel);
}

struct msg *inbox_take(struct inbox *inbox)
{
    struct msg *tail = inbox->tail;
    /* acquire, here and below: pairs with the release store of the link; whoever sees the link sees the
     * message behind it complete. */
    struct msg *next = atomic_load_explicit(&tail->next, memory_order_acquire);
    if (tail == &inbox->stub) {
        if (next == NULL) {
            return NULL;
        }
        inbox->tail = next;
        tail = next;
        next = atomic_load_explicit(&tail->next, memory_order_acquire);
    }
    if (next != NULL) {
        inbox->tail = next;
        return tail;
    }

    /*
     * relaxed: only the address is compared, nothing is read through it. It cannot be older than tail:
     * the exchange that put tail there happened before the link that led us to it. If it is already
     * newer, a push is half done and tail must wait for its link.
     */
    if (atomic_load_explicit(&inbox->head, memory_order_relaxed) != tail) {
        return NULL;
    }

    /* tail is the only one: put the stub behind it, so that it can be taken off. */
    list_add(inbox, &inbox->stub);
    next = atomic_load_explicit(&tail->next, memory_order_acquire);
    if (next != NULL) {
        inbox->tail = next;
        return tail;
    }
    return NULL; /* a producer came between tail and the stub and has not linked yet */
}

struct msg *inbox_park(struct inbox *inbox)
{
    /* acq_rel. Acquire: sees the links of all producers whose exchange came before (promise 5). Release:
     * continues the sequence for our own later exchanges. */
    atomic_exchange_explicit(&inbox->asleep, true, memory_order_acq_rel);
    struct msg *m = inbox_take(inbox);
    if (m != NULL) {
        inbox_unpark(inbox);
    }
    return m;
}

void inbox_unpark(struct inbox *inbox)
{
    /* An exchange although its value is not wanted: a plain store would break the release sequence, and
     * a producer that read `false` just before it would be seen by no later exchange of ours. */
    atomic_exchange_explicit(&inbox->asleep, false, memory_order_acq_rel);
}

size_t inbox_count(const struct inbox *inbox, size_t most)
{
    size_t count = 0;
    const struct msg *m = inbox->tail;
    while (m != NULL && count < most) {
        count += m != &inbox->stub ? 1 : 0;
        /* acquire: as in inbox_take, the message behind the link is complete. A message stays linked until
         * this thread takes it. */
        m = atomic_load_explicit(&m->next, memory_order_acquire);
    }
    return count;
}
