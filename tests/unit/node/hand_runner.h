/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hand_runner.h: a third runner of actors (include/actor.h), moved by the test's own hand: messages are
 * handled when the test says so, at the time it says. For what a handler does with a deadline that has
 * passed or with a message that comes late, which threads would show only now and then.
 *
 * It stands in for src/actor/actor.c in the programs that include it. No descriptors are watched.
 */
#ifndef HOLDFAST_TESTS_HAND_RUNNER_H
#define HOLDFAST_TESTS_HAND_RUNNER_H

#include "suite.h"

#include "actor.h"

#include <stdlib.h>

#define HAND_QUEUE_MAX 4096

struct actor {
    const struct actor_ops *ops; /* NULL: a receiver whose messages the test takes */
    void *self;
    struct msg *queue[HAND_QUEUE_MAX];
    size_t first, count;
    uint64_t deadline_us;
    bool stopped;
};

static struct actor *hand_running;

struct actor *actor_create(const struct actor_ops *ops, void *self, const char *name)
{
    struct actor *a = mem_zalloc(sizeof(*a));
    (void)name;
    a->ops = ops;
    a->self = self;
    a->deadline_us = UINT64_MAX;
    return a;
}

void actor_start(struct actor *a)
{
    (void)a; /* the test's hand moves it */
}

void actor_destroy(struct actor *a)
{
    for (size_t i = 0; i < a->count; i++) {
        msg_free_base(&a->queue[a->first + i]);
    }
    if (a->ops != NULL && a->ops->destroy != NULL) {
        a->ops->destroy(a->self);
    }
    mem_free(a);
}

void actor_send_base(struct actor *to, struct msg **m)
{
    ASSERT(to->first + to->count < HAND_QUEUE_MAX);
    (*m)->from = hand_running;
    to->queue[to->first + to->count++] = *m;
    *m = NULL;
}

struct actor *actor_self(void)
{
    return hand_running;
}

void actor_set_deadline(struct actor *self, uint64_t at_us)
{
    self->deadline_us = at_us;
}

void actor_stopped(struct actor *self)
{
    self->stopped = true;
}

void actor_figures(struct actor *self, struct actor_figures *out)
{
    UNUSED(self);
    *out = (struct actor_figures){0};
}

uint64_t actor_stopwatch_us(void)
{
    return 0;
}

NO_RETURN void actor_fatal(enum exit_code code, const char *event, const char *detail)
{
    (void)fprintf(stderr, "%s: %s (exit code %d)\n", event, detail, (int)code);
    abort();
}

/* ---- the test's hand ------------------------------------------------------------------------------ */

/* A receiver without handlers. */
static inline struct actor *hand_receiver(void)
{
    return actor_create(NULL, NULL, "receiver");
}

/* The oldest message of a receiver, moved out; NULL: none. */
static inline struct msg *hand_take(struct actor *a)
{
    if (a->count == 0) {
        a->first = 0;
        return NULL;
    }
    a->count--;
    return a->queue[a->first++];
}

static inline void hand_started(struct actor *a, uint64_t now_us)
{
    hand_running = a;
    if (a->ops->started != NULL) {
        a->ops->started(a->self, now_us);
    }
    if (a->ops->flush != NULL) {
        a->ops->flush(a->self, now_us);
    }
    hand_running = NULL;
}

/* One round of the loop at now_us: all messages, the deadline if it has passed, the flush. */
static inline void hand_round(struct actor *a, uint64_t now_us)
{
    struct msg *m = NULL;
    hand_running = a;
    while ((m = hand_take(a)) != NULL) {
        a->ops->handle(a->self, m, now_us);
    }
    if (a->deadline_us <= now_us) {
        a->deadline_us = UINT64_MAX;
        a->ops->expired(a->self, now_us);
    }
    if (a->ops->flush != NULL) {
        a->ops->flush(a->self, now_us);
    }
    hand_running = NULL;
}

/* The first message of this kind, moved out; the ones before it are let go. NULL: none. */
static inline struct msg *hand_find(struct actor *a, uint32_t kind)
{
    struct msg *m = NULL;
    while ((m = hand_take(a)) != NULL && m->kind != kind) {
        msg_free_base(&m);
    }
    return m;
}

#endif
