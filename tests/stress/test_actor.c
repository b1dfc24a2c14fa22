/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows on real threads that actors under load keep what actor.h promises: order per sender with
 * several senders, a ring of actors that wake one another, descriptors and deadlines beside messages,
 * and stopping in the middle of it all with every message released. Traps 27 and 56. Run it under
 * ThreadSanitizer with gcc and clang.
 *
 * As in test_inbox.c, the alarm only turns a hang into a failure.
 */
#include "suite.h"

#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#define HANG_ALARM_SECONDS 600

/* Counts messages that live; every message made in this file is counted by its release. */
static struct credits *alive;
#define ALIVE_MOST UINT64_C(1000000)

static void release_counted(struct msg *m)
{
    UNUSED(m);
    credits_give(alive, 1);
}

struct number {
    struct msg base;
    uint32_t sender;
    uint64_t sequence;
};

static struct number *number_new(uint32_t sender, uint64_t sequence)
{
    struct number *n = MSG_NEW(struct number, 1, release_counted);
    bool counted = credits_take(alive, 1);
    ASSERT(counted);
    n->sender = sender;
    n->sequence = sequence;
    return n;
}

static void begin(void)
{
    alive = credits_create(ALIVE_MOST);
    alarm(HANG_ALARM_SECONDS);
}

static void end(void)
{
    alarm(0);
    CU_ASSERT_EQUAL(credits_left(alive), ALIVE_MOST); /* none leaked, none freed twice */
    credits_destroy(alive);
}

static void destroy_self(void *self)
{
    mem_free(self);
}

/* ---- several senders, one receiver -------------------------------------------------------------- */

#define SENDERS            4
#define NUMBERS_PER_SENDER 20000

struct receiver {
    struct actor *actor;
    uint64_t next[SENDERS];
    uint64_t wrong_order, unflushed, unflushed_most;
    uint64_t *out; /* the test's copy, written when stopped */
};

static void receiver_handle(void *self, struct msg *m, uint64_t now_us)
{
    UNUSED(now_us);
    struct receiver *r = self;
    struct number *n = (struct number *)m;
    r->wrong_order += n->sequence != r->next[n->sender]++;
    r->unflushed++;
    if (r->unflushed > r->unflushed_most) {
        r->unflushed_most = r->unflushed;
    }
    MSG_FREE(n);
}

static void receiver_flush(void *self, uint64_t now_us)
{
    UNUSED(now_us);
    struct receiver *r = self;
    r->unflushed = 0;
}

static void receiver_stop(void *self, uint64_t now_us)
{
    UNUSED(now_us);
    struct receiver *r = self;
    r->out[0] = r->wrong_order;
    r->out[1] = r->unflushed_most;
    for (size_t i = 0; i < SENDERS; i++) {
        r->out[2] += r->next[i];
    }
    actor_stopped(r->actor);
}

static const struct actor_ops receiver_ops = {
    .handle = receiver_handle,
    .flush = receiver_flush,
    .stop = receiver_stop,
    .destroy = destroy_self,
};

struct sender {
    pthread_t thread;
    struct actor *to;
    uint32_t number;
};

static void *send_numbers(void *argument)
{
    struct sender *s = argument;
    for (uint64_t i = 0; i < NUMBERS_PER_SENDER; i++) {
        struct number *n = number_new(s->number, i);
        ACTOR_SEND(s->to, n);
    }
    return NULL;
}

static struct actor *receiver_start(uint64_t *out)
{
    struct receiver *r = mem_zalloc(sizeof(*r));
    r->out = out;
    r->actor = actor_create(&receiver_ops, r, "receiver");
    struct actor *a = r->actor;
    actor_start(a);
    return a;
}

static void order_holds_per_sender(void)
{
    begin();
    uint64_t out[3] = {0};
    struct actor *receiver = receiver_start(out);
    struct sender senders[SENDERS] = {0};
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i].to = receiver;
        senders[i].number = i;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&senders[i].thread, NULL, send_numbers, &senders[i]),
                              0);
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
    }
    actor_stop(receiver); /* behind all of them */
    actor_join(receiver);
    actor_destroy(receiver);
    CU_ASSERT_EQUAL(out[0], 0);
    CU_ASSERT_TRUE(out[1] <= ACTOR_BATCH_MAX);
    CU_ASSERT_EQUAL(out[2], SENDERS * NUMBERS_PER_SENDER);
    end();
}

/* Asked to stop while senders are at it: it ends, and what it had not handled is released. */
static void stop_while_loaded(void)
{
    for (int round = 0; round < 20; round++) {
        begin();
        uint64_t out[3] = {0};
        struct actor *receiver = receiver_start(out);
        struct sender senders[SENDERS] = {0};
        for (uint32_t i = 0; i < SENDERS; i++) {
            senders[i].to = receiver;
            senders[i].number = i;
            CU_ASSERT_EQUAL_FATAL(
                pthread_create(&senders[i].thread, NULL, send_numbers, &senders[i]), 0);
            if (i == SENDERS / 2) {
                actor_stop(receiver);
            }
        }
        actor_stop(receiver);
        actor_join(receiver);
        for (uint32_t i = 0; i < SENDERS; i++) {
            pthread_join(senders[i].thread, NULL);
        }
        actor_destroy(receiver);
        CU_ASSERT_EQUAL(out[0], 0);
        end();
    }
}

/* ---- a ring ------------------------------------------------------------------------------------- */

#define RING        5
#define RING_TOKENS 3
#define RING_HOPS   20000

struct ring_node {
    struct actor *actor, *next, *finish;
    uint64_t hops;
};

static void ring_handle(void *self, struct msg *m, uint64_t now_us)
{
    UNUSED(now_us);
    struct ring_node *r = self;
    struct number *n = (struct number *)m;
    r->hops++;
    if (++n->sequence < RING_HOPS) {
        ACTOR_SEND(r->next, n);
    } else {
        ACTOR_SEND(r->finish, n);
    }
}

static void ring_stop(void *self, uint64_t now_us)
{
    UNUSED(now_us);
    actor_stopped(((struct ring_node *)self)->actor);
}

static const struct actor_ops ring_ops = {
    .handle = ring_handle,
    .stop = ring_stop,
    .destroy = destroy_self,
};

/* Ends itself when all tokens came in. */
struct finish {
    struct actor *actor;
    int tokens;
};

static void finish_handle(void *self, struct msg *m, uint64_t now_us)
{
    UNUSED(now_us);
    struct finish *f = self;
    struct number *n = (struct number *)m;
    MSG_FREE(n);
    if (++f->tokens == RING_TOKENS) {
        actor_stopped(f->actor);
    }
}

static void finish_stop(void *self, uint64_t now_us)
{
    UNUSED(now_us);
    actor_stopped(((struct finish *)self)->actor);
}

static const struct actor_ops finish_ops = {
    .handle = finish_handle,
    .stop = finish_stop,
    .destroy = destroy_self,
};

/* Each hop wakes a sleeper: one lost wake-up in 60,000 would stop a token for ever. */
static void a_ring_never_falls_asleep(void)
{
    begin();
    struct finish *f = mem_zalloc(sizeof(*f));
    struct actor *finish = f->actor = actor_create(&finish_ops, f, "finish");
    struct ring_node *nodes[RING];
    struct actor *actors[RING];
    for (size_t i = 0; i < RING; i++) {
        nodes[i] = mem_zalloc(sizeof(*nodes[i]));
        actors[i] = nodes[i]->actor = actor_create(&ring_ops, nodes[i], "ring");
        nodes[i]->finish = finish;
    }
    for (size_t i = 0; i < RING; i++) {
        nodes[i]->next = actors[(i + 1) % RING];
    }
    actor_start(finish);
    for (size_t i = 0; i < RING; i++) {
        actor_start(actors[i]);
    }
    for (uint32_t i = 0; i < RING_TOKENS; i++) {
        struct number *n = number_new(i, 0);
        ACTOR_SEND(actors[i], n);
    }
    actor_join(finish);
    for (size_t i = 0; i < RING; i++) {
        actor_stop(actors[i]);
    }
    uint64_t hops = 0;
    for (size_t i = 0; i < RING; i++) {
        actor_join(actors[i]);
        hops += nodes[i]->hops;
    }
    for (size_t i = 0; i < RING; i++) {
        actor_destroy(actors[i]);
    }
    actor_destroy(finish);
    CU_ASSERT_EQUAL(hops, (uint64_t)RING_TOKENS * RING_HOPS);
    end();
}

/* ---- everything at once ------------------------------------------------------------------------- */

#define PIPE_OCTETS    20000
#define EXPIRIES_LEAST 20

/* Reads a pipe that a thread fills, takes numbers that threads send, and sets itself deadlines. */
struct busy {
    struct actor *actor;
    int read_fd;
    bool pipe_ended;
    uint64_t octets, numbers, expiries, early_expiries, deadline_us, wrong_order;
    uint64_t next[SENDERS];
    uint64_t *out;
};

static void busy_check_end(struct busy *b)
{
    if (b->pipe_ended && b->numbers == SENDERS * NUMBERS_PER_SENDER &&
        b->expiries >= EXPIRIES_LEAST) {
        b->out[0] = b->octets;
        b->out[1] = b->wrong_order;
        b->out[2] = b->early_expiries;
        actor_stopped(b->actor);
    }
}

static void busy_started(void *self, uint64_t now_us)
{
    struct busy *b = self;
    actor_watch(b->actor, b->read_fd, EPOLLIN, b);
    b->deadline_us = now_us + 200;
    actor_set_deadline(b->actor, b->deadline_us);
}

static void busy_handle(void *self, struct msg *m, uint64_t now_us)
{
    UNUSED(now_us);
    struct busy *b = self;
    struct number *n = (struct number *)m;
    b->numbers++;
    b->wrong_order += n->sequence != b->next[n->sender]++;
    MSG_FREE(n);
    busy_check_end(b);
}

static void busy_ready(void *self, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    UNUSED(tag);
    UNUSED(events);
    UNUSED(now_us);
    struct busy *b = self;
    char octets[64];
    ssize_t got = read(fd, octets, sizeof(octets));
    if (got > 0) {
        b->octets += (uint64_t)got;
    } else if (got == 0) {
        actor_unwatch(b->actor, fd);
        b->pipe_ended = true;
    }
    busy_check_end(b);
}

static void busy_expired(void *self, uint64_t now_us)
{
    struct busy *b = self;
    b->expiries++;
    b->early_expiries += now_us < b->deadline_us;
    b->deadline_us = now_us + 200;
    actor_set_deadline(b->actor, b->deadline_us);
    busy_check_end(b);
}

static void busy_stop(void *self, uint64_t now_us)
{
    UNUSED(now_us);
    actor_stopped(((struct busy *)self)->actor);
}

static const struct actor_ops busy_ops = {
    .started = busy_started,
    .handle = busy_handle,
    .ready = busy_ready,
    .expired = busy_expired,
    .stop = busy_stop,
    .destroy = destroy_self,
};

static void *fill_pipe(void *argument)
{
    int fd = *(int *)argument;
    for (int i = 0; i < PIPE_OCTETS; i++) {
        while (write(fd, "x", 1) < 0 && errno == EINTR) {}
    }
    close(fd);
    return NULL;
}

static void messages_descriptors_and_deadlines_together(void)
{
    begin();
    uint64_t out[3] = {0};
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    CU_ASSERT_EQUAL(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    struct busy *b = mem_zalloc(sizeof(*b));
    b->read_fd = fds[0];
    b->out = out;
    struct actor *busy = b->actor = actor_create(&busy_ops, b, "busy");
    actor_start(busy);
    pthread_t filler;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&filler, NULL, fill_pipe, &fds[1]), 0);
    struct sender senders[SENDERS] = {0};
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i].to = busy;
        senders[i].number = i;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&senders[i].thread, NULL, send_numbers, &senders[i]),
                              0);
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
    }
    pthread_join(filler, NULL);
    actor_join(busy);
    actor_destroy(busy);
    CU_ASSERT_EQUAL(out[0], PIPE_OCTETS);
    CU_ASSERT_EQUAL(out[1], 0);
    CU_ASSERT_EQUAL(out[2], 0);
    close(fds[0]);
    end();
}

SUITE("stress actor", TEST(order_holds_per_sender), TEST(stop_while_loaded),
      TEST(a_ring_never_falls_asleep), TEST(messages_descriptors_and_deadlines_together))
