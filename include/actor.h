/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actor.h: the only face of threads. An actor is one thread, one inbox, the file descriptors it
 * watches, one deadline, and a table of handlers. Actors share no memory; they move messages.
 *
 * Two runners stand behind this header, chosen at link time: src/actor runs each actor on its own
 * pthread; tests/sim runs all actors of all simulated nodes in one thread from a seed.
 *
 * Invariants
 *  1. A handler never blocks (but for SQLite in log, flush and apply), never sleeps and never reads
 *     a clock: `now_us` is handed in by the runner.
 *  2. actor_send never waits and never fails. What is in flight is therefore bounded where work
 *     enters; src/actor/limits.c works out the sum, one line per holder.
 *  3. Messages from one sender to one receiver arrive in the order they were sent. Nothing is said
 *     about the order of messages from different senders.
 *  4. After actor_send the sender owns nothing: its pointer is NULL. The receiver's `handle` owns
 *     the message and frees it or sends it on.
 */
#ifndef HOLDFAST_ACTOR_H
#define HOLDFAST_ACTOR_H

#include "base.h"
#include "histogram.h"

struct actor;

/*
 * First member of every message. `release` frees what the message points to (not the message
 * itself) and may be NULL; it is called by msg_free, also for messages still queued at shutdown.
 */
struct msg {
    _Atomic(struct msg *) next; /* the inbox's link; only src/actor touches it */
    struct actor *from; /* the sending actor, NULL when sent from outside; set by actor_send */
    void (*release)(struct msg *self);
    uint32_t kind;    /* of the receiver's enum in message.h */
    uint64_t sent_us; /* when, as the sender knew the time; 0: from outside. Set by actor_send */
};

/* Allocate a zeroed message of the type with its kind and release function filled in. */
void *msg_new(size_t size, uint32_t kind, void (*release)(struct msg *self));
#define MSG_NEW(type, kind, release) ((type *)msg_new(sizeof(type), (kind), (release)))

/* Release and free *m, and null the pointer. *m may be NULL. */
void msg_free_base(struct msg **m);
#define MSG_FREE(m)                                                                                \
    do {                                                                                           \
        struct msg *freed_ = (m) ? &(m)->base : NULL;                                              \
        (m) = NULL;                                                                                \
        msg_free_base(&freed_);                                                                    \
    } while (0)

/* Handlers. Any may be NULL except `handle` and `stop`. `self` is the actor's private struct. */
struct actor_ops {
    /* Once, on the actor's own thread, before anything else. */
    void (*started)(void *self, uint64_t now_us);
    /* Takes one message; owns it. */
    void (*handle)(void *self, struct msg *m, uint64_t now_us);
    /* The batch is over: the inbox was found empty, or `batch_max` messages were handled. Called
     * after every group of handle/ready/expired calls, before the thread may sleep. now_us is read anew: it is
     * not before the moment when anything of the batch was taken, which theirs may be. */
    void (*flush)(void *self, uint64_t now_us);
    /* A watched descriptor is ready. `events` is of EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR. */
    void (*ready)(void *self, int fd, void *tag, uint32_t events, uint64_t now_us);
    /* The deadline set with actor_set_deadline has passed; it is cleared before the call. */
    void (*expired)(void *self, uint64_t now_us);
    /* Asked to stop: finish what is under way, then call actor_stopped (now or in a later handler). */
    void (*stop)(void *self, uint64_t now_us);
    /* After the thread has ended (or the simulated node crashed): free the private struct. */
    void (*destroy)(void *self);
};

#define ACTOR_BATCH_MAX                                                                            \
    512 /* messages handled between two flushes and two looks at the descriptors */

/*
 * Make an actor; it does not run yet, but messages may already be sent to it.
 *
 * ops    borrowed for ever (a static table)
 * self   the private struct; belongs to the actor from now on, freed by ops->destroy
 * name   copied; the thread's name and the speaker of its log lines, e.g. "raft" or "peer-n2"
 */
struct actor *actor_create(const struct actor_ops *ops, void *self, const char *name);

/* Start the thread. Once. */
void actor_start(struct actor *a);

/* Move *m to the inbox of `to` and null *m. Callable from any thread, also from none of ours. */
void actor_send_base(struct actor *to, struct msg **m);
#define ACTOR_SEND(to, m)                                                                          \
    do {                                                                                           \
        struct actor *receiver_ = (to); /* first: it may be named by the message itself */         \
        struct msg *sent_ = &(m)->base;                                                            \
        (m) = NULL;                                                                                \
        actor_send_base(receiver_, &sent_);                                                        \
    } while (0)

/* ---- only from inside the actor's own handlers ------------------------------------------------- */

/* The actor whose handler is running on this thread; NULL outside. */
struct actor *actor_self(void);

/* Watch, change, forget a descriptor. The tag comes back in `ready`. Forget before close(). */
void actor_watch(struct actor *self, int fd, uint32_t events, void *tag);
void actor_rewatch(struct actor *self, int fd, uint32_t events, void *tag);
void actor_unwatch(struct actor *self, int fd);

/* One deadline per actor, absolute, in the runner's microseconds; UINT64_MAX clears it. */
void actor_set_deadline(struct actor *self, uint64_t at_us);

/* Say that this actor has stopped; its thread ends after the handler returns. */
void actor_stopped(struct actor *self);

/* A stopwatch in microseconds for statistics (how long an fsync took); virtual time in the
 * simulator. Never a base for decisions. */
uint64_t actor_stopwatch_us(void);

/* What the runner counts of an actor, for monitoring. */
#define ACTOR_FIGURES_NAME_MAX 63
struct actor_figures {
    char name[ACTOR_FIGURES_NAME_MAX + 1];
    uint64_t messages;        /* handled */
    uint64_t rounds;          /* groups of handler calls with one flush behind them */
    uint64_t busy_us;         /* in handlers */
    uint64_t queued;          /* messages waiting now, QUEUED_COUNT_MAX at most */
    struct histogram wait_us; /* from sending to handling */
};
#define ACTOR_QUEUED_COUNT_MAX 100000
/* The running actor's own. In the simulator only name, messages and queued. */
void actor_figures(struct actor *self, struct actor_figures *out);

/* Wall clock in seconds since 1970 is deliberately not offered. */

/*
 * The process cannot go on (a failed fsync, a lost WAL): log it and end the process at once with
 * the exit code, without flushing anything. In the simulator it crashes the node instead and
 * unwinds to the scheduler. Does not return.
 */
NO_RETURN void actor_fatal(enum exit_code code, const char *event, const char *detail);

/* ---- from outside (main, tests) ---------------------------------------------------------------- */

/* Ask the actor to stop; returns at once. Asking twice is harmless. */
void actor_stop(struct actor *a);

/* Wait until the actor has stopped and its thread has ended. */
void actor_join(struct actor *a);

/* After join (or if never started): free inbox, queued messages, private struct and the actor. */
void actor_destroy(struct actor *a);

/* ---- credits: a counter several actors may draw from, for bounding what enters ------------------ */

struct credits;
struct credits *credits_create(uint64_t total);
void credits_destroy(struct credits *c);
bool credits_take(struct credits *c, uint64_t count); /* false: not enough, nothing taken */
void credits_give(struct credits *c, uint64_t count);
uint64_t credits_left(const struct credits *c);

#endif
