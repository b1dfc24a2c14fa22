/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner.c: see runner.h. A binary heap of events ordered by (time, number); four kinds: a message
 * arrives, an actor runs, a deadline passes, a call of the simulator.
 *
 * Actor shells are never freed before the runner is, so that an event for a dead actor finds a flag
 * and not freed memory.
 */
#include "runner.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

enum event_kind { EVENT_ARRIVAL, EVENT_RUN, EVENT_DEADLINE, EVENT_CALL };

struct event {
    uint64_t at_us;
    uint64_t number; /* order among equals */
    enum event_kind kind;
    struct actor *actor;
    union {
        struct msg *message;
        uint64_t generation; /* of the deadline */
        struct {
            runner_call_fn *function;
            void *context;
            uint64_t argument;
        } call;
    };
};

struct actor {
    const struct actor_ops *ops;
    void *self;
    struct runner *runner;
    size_t node, slot;
    char name[64]; /* "n1/raft" */
    struct msg *first, *last;
    size_t waiting;
    bool start_asked, started, stop_asked, stop_said, stopped, dead, run_scheduled, deadline_due;
    uint64_t deadline_us; /* on the node's clock */
    uint64_t deadline_generation;
    uint64_t busy_until_us;
};

struct runner_node {
    struct actor *actors[RUNNER_ACTORS_PER_NODE];
    size_t actor_count;
    uint64_t clock_origin_us;
    int64_t drift_parts;
    uint64_t paused_until_us;
    /* Last arrival time by sender and receiver slot; sender 0 is "from outside". */
    uint64_t last_arrival_us[RUNNER_ACTORS_PER_NODE + 1][RUNNER_ACTORS_PER_NODE];
};

struct runner {
    uint64_t random;
    struct runner_hooks hooks;
    struct runner_pace pace;
    uint64_t now_us, spent_us;
    struct event *heap;
    size_t heap_count, heap_capacity;
    uint64_t event_number, events_run;
    struct runner_node nodes[RUNNER_NODES_MAX];
    size_t entered_node;
    struct actor *running;
    bool halted;
    uint64_t digest;
    struct actor **shells;
    size_t shell_count, shell_capacity;
    jmp_buf unwind;
    struct {
        enum exit_code code;
        char event[64];
        char detail[256];
    } fatal;
};

static struct runner *current_runner;

/* ---- heap ---------------------------------------------------------------------------------------- */

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static void heap_push(struct runner *r, struct event e)
{
    ASSERT(r->heap_count < RUNNER_EVENTS_MAX);
    ARRAY_RESERVE(r->heap, r->heap_capacity, r->heap_count + 1);
    e.number = ++r->event_number;
    size_t at = r->heap_count++;
    while (at > 0) {
        size_t up = (at - 1) / 2;
        if (!event_before(&e, &r->heap[up])) {
            break;
        }
        r->heap[at] = r->heap[up];
        at = up;
    }
    r->heap[at] = e;
}

static struct event heap_pop(struct runner *r)
{
    struct event top = r->heap[0];
    struct event last = r->heap[--r->heap_count];
    size_t at = 0;
    for (;;) {
        size_t down = 2 * at + 1;
        if (down >= r->heap_count) {
            break;
        }
        if (down + 1 < r->heap_count && event_before(&r->heap[down + 1], &r->heap[down])) {
            down++;
        }
        if (!event_before(&r->heap[down], &last)) {
            break;
        }
        r->heap[at] = r->heap[down];
        at = down;
    }
    r->heap[at] = last;
    return top;
}

/* ---- clocks ---------------------------------------------------------------------------------------- */

static uint64_t node_clock_at(const struct runner_node *n, uint64_t t_us)
{
    int64_t gained = (int64_t)(t_us / 1000) * n->drift_parts / 1000;
    return n->clock_origin_us + (uint64_t)((int64_t)t_us + gained);
}

/* The first virtual time at which the node's clock shows at least at_us. */
static uint64_t virtual_time_of(const struct runner_node *n, uint64_t at_us)
{
    if (at_us <= n->clock_origin_us) {
        return 0;
    }
    uint64_t wanted_us = at_us - n->clock_origin_us;
    uint64_t t_us = (uint64_t)((double)wanted_us * 1e6 / (1e6 + (double)n->drift_parts));
    while (node_clock_at(n, t_us) < at_us) {
        t_us += 1 + (at_us - node_clock_at(n, t_us)) / 2;
    }
    return t_us;
}

uint64_t runner_now_us(const struct runner *r)
{
    return r->now_us;
}

uint64_t runner_exact_us(const struct runner *r)
{
    return r->now_us + r->spent_us;
}

void runner_spend_us(struct runner *r, uint64_t us)
{
    r->spent_us += us;
}

uint64_t runner_node_clock_us(const struct runner *r, size_t node)
{
    return node_clock_at(&r->nodes[node], runner_exact_us(r));
}

/* ---- the runner itself ---------------------------------------------------------------------------- */

struct runner *runner_create(uint64_t seed, const struct runner_hooks *hooks)
{
    ASSERT(current_runner == NULL);
    struct runner *r = mem_zalloc(sizeof(*r));
    r->random = seed ^ UINT64_C(0x72756e6e6572);
    r->hooks = *hooks;
    r->pace = (struct runner_pace){.hop_us_min = 1, .hop_us_max = 30, .handle_us = 2};
    current_runner = r;
    return r;
}

void runner_destroy(struct runner **runner)
{
    struct runner *r = *runner;
    *runner = NULL;
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < RUNNER_NODES_MAX; i++) {
        runner_crash_node(r, i);
    }
    while (r->heap_count > 0) {
        struct event e = heap_pop(r);
        if (e.kind == EVENT_ARRIVAL) {
            msg_free_base(&e.message);
        }
    }
    for (size_t i = 0; i < r->shell_count; i++) {
        mem_free(r->shells[i]);
    }
    mem_free(r->shells);
    mem_free(r->heap);
    mem_free(r);
    current_runner = NULL;
}

void runner_set_pace(struct runner *r, const struct runner_pace *pace)
{
    r->pace = *pace;
}

void runner_set_clock(struct runner *r, size_t node, uint64_t origin_us, int64_t drift_parts)
{
    r->nodes[node].clock_origin_us = origin_us;
    r->nodes[node].drift_parts = drift_parts;
}

void runner_halt(struct runner *r)
{
    r->halted = true;
}

void runner_enter_node(struct runner *r, size_t node)
{
    ASSERT(node < RUNNER_NODES_MAX);
    r->entered_node = node;
}

size_t runner_node_of(const struct actor *a)
{
    return a->node;
}

const char *runner_name_of(const struct actor *a)
{
    return a->name;
}

void *runner_private_of(const struct actor *a)
{
    return a->self;
}

bool runner_is_alive(const struct actor *a)
{
    return !a->dead;
}

bool runner_was_started(const struct actor *a)
{
    return a->start_asked;
}

bool runner_has_stopped(const struct actor *a)
{
    return a->stopped;
}

uint64_t runner_digest(const struct runner *r)
{
    return r->digest;
}

uint64_t runner_event_count(const struct runner *r)
{
    return r->events_run;
}

void runner_at(struct runner *r, uint64_t at_us, runner_call_fn *function, void *context,
               uint64_t argument)
{
    heap_push(r, (struct event){.at_us = at_us < r->now_us ? r->now_us : at_us,
                                .kind = EVENT_CALL,
                                .call = {function, context, argument}});
}

/* ---- scheduling an actor ------------------------------------------------------------------------------ */

static uint64_t draw_hop_us(struct runner *r)
{
    uint64_t us = r->pace.hop_us_min;
    if (r->pace.hop_us_max > r->pace.hop_us_min) {
        us += random_below(&r->random, r->pace.hop_us_max - r->pace.hop_us_min + 1);
    }
    if (r->pace.slow_parts != 0 && random_below(&r->random, 1000000) < r->pace.slow_parts) {
        us += random_below(&r->random, r->pace.slow_us + 1);
    }
    return us;
}

static void schedule_run(struct actor *a, uint64_t at_us)
{
    struct runner *r = a->runner;
    if (a->run_scheduled || a->dead || a->stopped || !a->start_asked) {
        return;
    }
    a->run_scheduled = true;
    if (at_us < a->busy_until_us) {
        at_us = a->busy_until_us;
    }
    if (at_us < r->nodes[a->node].paused_until_us) {
        at_us = r->nodes[a->node].paused_until_us;
    }
    heap_push(r, (struct event){.at_us = at_us, .kind = EVENT_RUN, .actor = a});
}

static void enqueue(struct runner *r, struct actor *from, struct actor *to, struct msg *m,
                    uint64_t delay_us)
{
    uint64_t *last = NULL;
    if (from == NULL) {
        last = &r->nodes[to->node].last_arrival_us[0][to->slot];
    } else {
        ASSERT(from->node == to->node); /* nodes talk through the network only */
        last = &r->nodes[to->node].last_arrival_us[from->slot + 1][to->slot];
    }
    uint64_t at_us = runner_exact_us(r) + delay_us;
    if (at_us < *last) {
        at_us = *last;
    }
    *last = at_us;
    m->from = from;
    if (r->hooks.sent != NULL) {
        r->hooks.sent(r->hooks.context, to, m);
    }
    heap_push(r, (struct event){.at_us = at_us, .kind = EVENT_ARRIVAL, .actor = to, .message = m});
}

void runner_send_as(struct runner *r, struct actor *from, struct actor *to, struct msg **m,
                    uint64_t delay_us)
{
    struct msg *moved = *m;
    *m = NULL;
    enqueue(r, from, to, moved, delay_us);
}

/* ---- running ---------------------------------------------------------------------------------------------- */

static void run_handlers(struct runner *r, struct actor *a)
{
    const struct runner_node *n = &r->nodes[a->node];
    if (!a->started) {
        a->started = true;
        if (a->ops->started != NULL) {
            a->ops->started(a->self, node_clock_at(n, runner_exact_us(r)));
        }
    }
    size_t batch = a->waiting < ACTOR_BATCH_MAX ? a->waiting : ACTOR_BATCH_MAX;
    if (batch > 1 && random_below(&r->random, 4) == 0) {
        batch = 1 + (size_t)random_below(&r->random, batch);
    }
    for (size_t i = 0; i < batch && !a->stopped; i++) {
        struct msg *m = a->first;
        a->first = m->next;
        if (a->first == NULL) {
            a->last = NULL;
        }
        a->waiting--;
        r->spent_us += r->pace.handle_us;
        r->digest = r->digest * UINT64_C(0x100000001b3) + m->kind;
        a->ops->handle(a->self, m, node_clock_at(n, runner_exact_us(r)));
    }
    if (a->deadline_due && !a->stopped) {
        a->deadline_due = false;
        if (a->deadline_us <= node_clock_at(n, r->now_us)) {
            a->deadline_us = UINT64_MAX;
            if (a->ops->expired != NULL) {
                a->ops->expired(a->self, node_clock_at(n, runner_exact_us(r)));
            }
        }
    }
    if (a->stop_asked && !a->stop_said) {
        a->stop_said = true;
        a->ops->stop(a->self, node_clock_at(n, runner_exact_us(r)));
    }
    if (a->ops->flush != NULL && !a->stopped) {
        a->ops->flush(a->self, node_clock_at(n, runner_exact_us(r)));
    }
}

static void run_actor(struct runner *r, struct actor *a)
{
    a->run_scheduled = false;
    if (a->dead || a->stopped) {
        return;
    }
    if (r->nodes[a->node].paused_until_us > r->now_us || a->busy_until_us > r->now_us) {
        schedule_run(a, r->now_us);
        return;
    }
    r->running = a;
    r->spent_us =
        1; /* nothing is free, so that an actor with a deadline of now does not stop time */
    log_set_speaker(a->name);
    if (setjmp(r->unwind) != 0) {
        size_t node = r->running->node;
        /* The handler was left in the middle; its private struct may be in any state and is leaked,
         * once per fatal error. */
        r->running->self = NULL;
        r->running = NULL;
        r->spent_us = 0;
        log_set_speaker(NULL);
        runner_crash_node(r, node);
        if (r->hooks.fatal != NULL) {
            r->hooks.fatal(r->hooks.context, node, r->fatal.code, r->fatal.event, r->fatal.detail);
        }
        return;
    }
    run_handlers(r, a);
    r->running = NULL;
    log_set_speaker(NULL);
    a->busy_until_us = r->now_us + r->spent_us;
    r->digest = (r->digest ^ (r->now_us + a->node * 64 + a->slot)) * UINT64_C(0x100000001b3);
    if (a->waiting > 0) {
        schedule_run(a, a->busy_until_us);
    }
    if (r->hooks.ran != NULL) {
        r->hooks.ran(r->hooks.context, a);
    }
    r->spent_us = 0;
}

static void arrive(struct runner *r, struct actor *a, struct msg *m)
{
    if (a->dead || a->stopped) {
        msg_free_base(&m);
        return;
    }
    m->next = NULL;
    if (a->last != NULL) {
        a->last->next = m;
    } else {
        a->first = m;
    }
    a->last = m;
    a->waiting++;
    schedule_run(a, r->now_us + draw_hop_us(r));
}

void runner_run(struct runner *r, uint64_t until_us)
{
    r->halted = false;
    while (!r->halted && r->heap_count > 0 && r->heap[0].at_us <= until_us) {
        struct event e = heap_pop(r);
        ASSERT(e.at_us >= r->now_us);
        r->now_us = e.at_us;
        r->events_run++;
        switch (e.kind) {
        case EVENT_ARRIVAL:
            arrive(r, e.actor, e.message);
            break;
        case EVENT_RUN:
            run_actor(r, e.actor);
            break;
        case EVENT_DEADLINE:
            if (e.generation == e.actor->deadline_generation && !e.actor->dead) {
                e.actor->deadline_due = true;
                schedule_run(e.actor, r->now_us);
            }
            break;
        case EVENT_CALL:
            e.call.function(e.call.context, e.call.argument);
            break;
        }
    }
    if (!r->halted && r->now_us < until_us) {
        r->now_us = until_us;
    }
}

void runner_pause_node(struct runner *r, size_t node, uint64_t until_us)
{
    r->nodes[node].paused_until_us = until_us;
}

static void end_actor(struct actor *a)
{
    if (a->dead) {
        return;
    }
    a->dead = true;
    while (a->first != NULL) {
        struct msg *m = a->first;
        a->first = m->next;
        msg_free_base(&m);
    }
    a->last = NULL;
    a->waiting = 0;
    if (a->self != NULL && a->ops->destroy != NULL) {
        a->ops->destroy(a->self);
    }
    a->self = NULL;
}

void runner_crash_node(struct runner *r, size_t node)
{
    struct runner_node *n = &r->nodes[node];
    ASSERT(r->running == NULL);
    for (size_t i = 0; i < n->actor_count; i++) {
        end_actor(n->actors[i]);
    }
    n->actor_count = 0;
    n->paused_until_us = 0;
    memset(n->last_arrival_us, 0, sizeof(n->last_arrival_us));
}

/* ---- actor.h ---------------------------------------------------------------------------------------------- */

void *msg_new(size_t size, uint32_t kind, void (*release)(struct msg *self))
{
    struct msg *m = mem_zalloc(size);
    m->kind = kind;
    m->release = release;
    return m;
}

void msg_free_base(struct msg **m)
{
    struct msg *freed = *m;
    *m = NULL;
    if (freed == NULL) {
        return;
    }
    if (freed->release != NULL) {
        freed->release(freed);
    }
    mem_free(freed);
}

struct actor *actor_create(const struct actor_ops *ops, void *self, const char *name)
{
    struct runner *r = current_runner;
    ASSERT(r != NULL);
    struct runner_node *n = &r->nodes[r->entered_node];
    ASSERT(n->actor_count < RUNNER_ACTORS_PER_NODE);
    struct actor *a = mem_zalloc(sizeof(*a));
    a->ops = ops;
    a->self = self;
    a->runner = r;
    a->node = r->entered_node;
    a->slot = n->actor_count;
    a->deadline_us = UINT64_MAX;
    (void)snprintf(a->name, sizeof(a->name), "n%zu/%s", a->node, name);
    n->actors[n->actor_count++] = a;
    ARRAY_RESERVE(r->shells, r->shell_capacity, r->shell_count + 1);
    r->shells[r->shell_count++] = a;
    return a;
}

void actor_start(struct actor *a)
{
    a->start_asked = true;
    schedule_run(a, runner_exact_us(a->runner) + draw_hop_us(a->runner));
}

void actor_send_base(struct actor *to, struct msg **m)
{
    struct runner *r = current_runner;
    struct msg *moved = *m;
    *m = NULL;
    enqueue(r, r->running, to, moved, draw_hop_us(r));
}

struct actor *actor_self(void)
{
    return current_runner != NULL ? current_runner->running : NULL;
}

/* Simulated actors have no descriptors: peers and clients that own sockets are replaced here. */
static void no_descriptors(void)
{
    bool descriptors_in_simulator = true;
    ASSERT(!descriptors_in_simulator);
}

void actor_watch(struct actor *self, int fd, uint32_t events, void *tag)
{
    UNUSED(self);
    UNUSED(fd);
    UNUSED(events);
    UNUSED(tag);
    no_descriptors();
}

void actor_rewatch(struct actor *self, int fd, uint32_t events, void *tag)
{
    actor_watch(self, fd, events, tag);
}

void actor_unwatch(struct actor *self, int fd)
{
    actor_watch(self, fd, 0, NULL);
}

void actor_set_deadline(struct actor *self, uint64_t at_us)
{
    ASSERT(self == current_runner->running);
    if (at_us == self->deadline_us && !self->deadline_due) {
        return;
    }
    self->deadline_us = at_us;
    self->deadline_generation++;
    self->deadline_due = false;
    if (at_us != UINT64_MAX) {
        struct runner *r = self->runner;
        uint64_t virtual_us = virtual_time_of(&r->nodes[self->node], at_us);
        if (virtual_us < r->now_us) {
            virtual_us = r->now_us;
        }
        heap_push(r, (struct event){.at_us = virtual_us,
                                    .kind = EVENT_DEADLINE,
                                    .actor = self,
                                    .generation = self->deadline_generation});
    }
}

void actor_stopped(struct actor *self)
{
    ASSERT(self == current_runner->running);
    self->stopped = true;
}

void actor_figures(struct actor *self, struct actor_figures *out)
{
    *out = (struct actor_figures){.queued = self->waiting};
    (void)snprintf(out->name, sizeof(out->name), "%s", self->name);
}

uint64_t actor_stopwatch_us(void)
{
    return current_runner != NULL ? runner_exact_us(current_runner) : 0;
}

NO_RETURN void actor_fatal(enum exit_code code, const char *event, const char *detail)
{
    struct runner *r = current_runner;
    ASSERT(r->running != NULL);
    log_event(LOG_ERROR, event, "%s", detail);
    r->fatal.code = code;
    (void)snprintf(r->fatal.event, sizeof(r->fatal.event), "%s", event);
    (void)snprintf(r->fatal.detail, sizeof(r->fatal.detail), "%s", detail);
    longjmp(r->unwind, 1);
}

void actor_stop(struct actor *a)
{
    a->stop_asked = true;
    schedule_run(a, runner_exact_us(a->runner) + draw_hop_us(a->runner));
}

void actor_join(struct actor *a)
{
    ASSERT(a->stopped); /* the simulator waits by events, never here */
}

void actor_destroy(struct actor *a)
{
    ASSERT(a->stopped || !a->started);
    end_actor(a);
}

/* ---- credits ------------------------------------------------------------------------------------------------ */

struct credits {
    uint64_t left;
};

struct credits *credits_create(uint64_t total)
{
    struct credits *c = mem_alloc(sizeof(*c));
    c->left = total;
    return c;
}

void credits_destroy(struct credits *c)
{
    mem_free(c);
}

bool credits_take(struct credits *c, uint64_t count)
{
    if (c->left < count) {
        return false;
    }
    c->left -= count;
    return true;
}

void credits_give(struct credits *c, uint64_t count)
{
    c->left += count;
}

uint64_t credits_left(const struct credits *c)
{
    return c->left;
}
