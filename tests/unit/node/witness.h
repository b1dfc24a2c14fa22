/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness.h: an actor that stands where raft, a client or a peer would and hands every message it gets
 * to the test's own thread, through a pipe. The test then owns the message and waits for it with a
 * patience that only a failing test uses up.
 */
#ifndef HOLDFAST_TESTS_WITNESS_H
#define HOLDFAST_TESTS_WITNESS_H

#include "suite.h"

#include "message.h"

#include <poll.h>
#include <unistd.h>

#define WITNESS_PATIENCE_MS (60 * 1000)

struct witness {
    struct actor *actor;
    int read_fd, write_fd;
};

static void witness_handle(void *self, struct msg *m, uint64_t now_us)
{
    const struct witness *p = self;
    (void)now_us;
    ASSERT(write(p->write_fd, &m, sizeof(m)) == (ssize_t)sizeof(m));
}

static void witness_stop_handler(void *self, uint64_t now_us)
{
    (void)self;
    (void)now_us;
    actor_stopped(actor_self());
}

static inline void witness_start(struct witness *p, const char *name)
{
    static const struct actor_ops ops = {.handle = witness_handle, .stop = witness_stop_handler};
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    p->read_fd = fds[0];
    p->write_fd = fds[1];
    p->actor = actor_create(&ops, p, name);
    actor_start(p->actor);
}

/* The next message, or NULL after wait_ms. */
static inline struct msg *witness_wait(struct witness *p, int wait_ms)
{
    struct pollfd ready = {.fd = p->read_fd, .events = POLLIN};
    struct msg *m = NULL;
    if (poll(&ready, 1, wait_ms) == 1) {
        CU_ASSERT_EQUAL_FATAL(read(p->read_fd, &m, sizeof(m)), (ssize_t)sizeof(m));
    }
    return m;
}

/* The next message; the test fails without one. */
static inline struct msg *witness_take(struct witness *p)
{
    struct msg *m = witness_wait(p, WITNESS_PATIENCE_MS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}

/* Stop, and free what nobody took; returns how many messages that was. */
static inline size_t witness_end(struct witness *p)
{
    size_t count = 0;
    actor_stop(p->actor);
    actor_join(p->actor);
    for (struct msg *m = witness_wait(p, 0); m != NULL; m = witness_wait(p, 0)) {
        msg_free_base(&m);
        count++;
    }
    actor_destroy(p->actor);
    close(p->read_fd);
    close(p->write_fd);
    return count;
}

static inline void end_actor(struct actor *a)
{
    actor_stop(a);
    actor_join(a);
    actor_destroy(a);
}

#endif
