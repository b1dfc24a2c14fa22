/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timer_actor.c: deadlines in (TIMER_ARM), ticks out. The only clock is `now_us` of the runner, and
 * the only alarm the runner's one deadline, so the same handler keeps real and simulated time.
 *
 * The armed timers are a binary heap over (at_us, order of arming). A timer is named by (to, timer);
 * arming it again replaces it. Whether it is armed is found by looking through the heap: there are a
 * few per actor, so under a hundred, and the look costs less than a hash table's upkeep.
 *
 * Deliberately not here: dropping stale ticks. A tick may already be in the receiver's inbox when the
 * receiver arms again or disarms; only the receiver can tell, by the generation the tick carries.
 *
 * Invariants
 *  1. A (to, timer) is in the heap at most once.
 *  2. A tick leaves at or after its at_us, never before; ticks due together leave in the order of
 *     their times, then of their arming.
 *  3. After every batch the runner's deadline is the heap's least time.
 */
#include "node.h"

/* Actors times their timers; beyond this an actor invents timer numbers, which is our mistake. */
#define TIMERS_MAX 4096

struct armed {
    uint64_t at_us;
    uint64_t order; /* of arming, so that equal times do not depend on the heap's shape */
    struct actor *to;
    uint64_t generation;
    uint32_t timer, kind;
};

struct timer_actor {
    struct armed *heap; /* heap[0] is due first */
    size_t count, capacity;
    uint64_t order_last;
};

void timer_arm(struct actor *timer, struct actor *to, uint32_t number, uint32_t kind,
               uint64_t generation, uint64_t at_us)
{
    struct timer_arm *m = MSG_NEW(struct timer_arm, TIMER_ARM, NULL);
    m->to = to;
    m->timer = number;
    m->kind = kind;
    m->generation = generation;
    m->at_us = at_us;
    ACTOR_SEND(timer, m);
}

/* ---- heap -------------------------------------------------------------------------------------- */

static bool earlier(const struct armed *a, const struct armed *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_swap(struct timer_actor *t, size_t i, size_t j)
{
    struct armed kept = t->heap[i];
    t->heap[i] = t->heap[j];
    t->heap[j] = kept;
}

/* Restore the heap around i, whose time has changed in either direction. */
static void heap_settle(struct timer_actor *t, size_t i)
{
    while (i > 0 && earlier(&t->heap[i], &t->heap[(i - 1) / 2])) {
        heap_swap(t, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < t->count; child++) {
            if (earlier(&t->heap[child], &t->heap[least])) {
                least = child;
            }
        }
        if (least == i) {
            return;
        }
        heap_swap(t, i, least);
        i = least;
    }
}

static void heap_remove(struct timer_actor *t, size_t i)
{
    t->count--;
    if (i < t->count) {
        t->heap[i] = t->heap[t->count];
        heap_settle(t, i);
    }
}

static void heap_check(const struct timer_actor *t)
{
    for (size_t i = 1; i < t->count; i++) {
        CHECK_SLOW(!earlier(&t->heap[i], &t->heap[(i - 1) / 2]));
    }
}

/* ---- handlers ---------------------------------------------------------------------------------- */

static void arm(struct timer_actor *t, const struct timer_arm *m)
{
    size_t at = 0;
    while (at < t->count && (t->heap[at].to != m->to || t->heap[at].timer != m->timer)) {
        at++;
    }
    if (m->at_us == UINT64_MAX) {
        if (at < t->count) {
            heap_remove(t, at);
        }
        return;
    }
    if (at == t->count) {
        ASSERT(t->count < TIMERS_MAX);
        ARRAY_RESERVE(t->heap, t->capacity, t->count + 1);
        t->count++;
    }
    t->heap[at] = (struct armed){.at_us = m->at_us,
                                 .order = ++t->order_last,
                                 .to = m->to,
                                 .generation = m->generation,
                                 .timer = m->timer,
                                 .kind = m->kind};
    heap_settle(t, at);
}

static void timer_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct timer_actor *t = self;
    UNUSED(now_us);
    switch ((enum timer_kind)m->kind) {
    case TIMER_ARM: {
        struct timer_arm *request = (struct timer_arm *)m;
        arm(t, request);
        MSG_FREE(request);
        return;
    }
    }
    assert_failed("ASSERT", "a kind of message the timer knows", __FILE__, __LINE__);
}

static void timer_expired(void *self, uint64_t now_us)
{
    struct timer_actor *t = self;
    /* Ends: each round takes one out, and a receiver's new ARM is handled after us. */
    while (t->count > 0 && t->heap[0].at_us <= now_us) {
        struct armed due = t->heap[0];
        heap_remove(t, 0);
        struct tick *tick = MSG_NEW(struct tick, due.kind, NULL);
        tick->timer = due.timer;
        tick->generation = due.generation;
        ACTOR_SEND(due.to, tick);
    }
}

static void timer_flush(void *self, uint64_t now_us)
{
    struct timer_actor *t = self;
    UNUSED(now_us);
    heap_check(t);
    actor_set_deadline(actor_self(), t->count > 0 ? t->heap[0].at_us : UINT64_MAX);
}

/* Whoever armed is stopped before us or drops what comes late; ticks not yet due are of no use. */
static void timer_stop(void *self, uint64_t now_us)
{
    struct timer_actor *t = self;
    UNUSED(now_us);
    t->count = 0;
    actor_stopped(actor_self());
}

static void timer_destroy(void *self)
{
    struct timer_actor *t = self;
    mem_free(t->heap);
    mem_free(t);
}

struct actor *timer_actor_create(void)
{
    static const struct actor_ops ops = {
        .handle = timer_handle,
        .expired = timer_expired,
        .flush = timer_flush,
        .stop = timer_stop,
        .destroy = timer_destroy,
    };
    return actor_create(&ops, mem_zalloc(sizeof(struct timer_actor)), "timer");
}
