/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that no order of steps of the real inbox.c loses a message, doubles one, or leaves the consumer
 * asleep (trap 56), by going through the orders: inbox.c is compiled here with a pause before each
 * atomic operation, producers and consumer are coroutines of one thread, and a depth-first search
 * replays the run for each choice of who goes on, with at most so many preemptions (Musuvathi and
 * Qadeer, PLDI 2007: few preemptions find nearly all such bugs).
 *
 * What it does not show: the effect of weaker memory orders. Those are argued in inbox.c and looked
 * after by ThreadSanitizer in tests/stress.
 */
#include "suite.h"

#include "actor/inbox.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#endif
#ifdef UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

static void pause_here(void);

/* One thread runs it all, so two plain accesses with no pause between them are one atomic step. */
#undef atomic_init
#undef atomic_store_explicit
#undef atomic_load_explicit
#undef atomic_exchange_explicit
#define atomic_init(at, value) (*(at) = (value))
#define atomic_store_explicit(at, value, order)                                                    \
    do {                                                                                           \
        pause_here();                                                                              \
        *(at) = (value);                                                                           \
    } while (0)
#define atomic_load_explicit(at, order) (pause_here(), *(at))
#define atomic_exchange_explicit(at, value, order)                                                 \
    __extension__({                                                                                \
        pause_here();                                                                              \
        __typeof__(value) before_ = *(at);                                                         \
        *(at) = (value);                                                                           \
        before_;                                                                                   \
    })

#include "../../../src/actor/inbox.c"

/* ---- coroutines --------------------------------------------------------------------------------- */

#define TASKS_MAX        4
#define STEPS_MAX        400
#define STACK_BYTES      (64 * 1024)
#define MESSAGES_MAX     8
#define STEPS_IN_RUN_MAX STEPS_MAX

struct task {
    ucontext_t context;
    void *fiber;
    bool finished;
    bool asleep; /* the consumer, until a wake-up comes */
};

struct numbered {
    struct msg base;
    size_t producer, sequence;
};

static struct {
    struct task tasks[TASKS_MAX]; /* 0: the consumer */
    size_t task_count, current;
    ucontext_t scheduler;
    void *scheduler_fiber;
    uint8_t *stacks[TASKS_MAX];

    struct inbox inbox;
    size_t messages_each;
    struct numbered messages[TASKS_MAX][MESSAGES_MAX];
    size_t next[TASKS_MAX], taken;
    uint64_t wake_ups; /* the eventfd */
    bool wrong_order;
} world;

static void switch_to(ucontext_t *from, ucontext_t *to, void *fiber)
{
#ifdef UNDER_TSAN
    __tsan_switch_to_fiber(fiber, 0);
#else
    UNUSED(fiber);
#endif
    swapcontext(from, to);
}

static void pause_here(void)
{
    switch_to(&world.tasks[world.current].context, &world.scheduler, world.scheduler_fiber);
}

static void consume(void)
{
    size_t total = (world.task_count - 1) * world.messages_each;
    while (world.taken < total) {
        struct msg *m = inbox_take(&world.inbox);
        if (m == NULL) {
            m = inbox_park(&world.inbox);
        }
        if (m == NULL) {
            while (world.wake_ups == 0) {
                world.tasks[0].asleep = true;
                pause_here();
            }
            world.wake_ups = 0;
            inbox_unpark(&world.inbox);
            continue;
        }
        struct numbered *got = (struct numbered *)m;
        if (got->sequence != world.next[got->producer]++) {
            world.wrong_order = true;
        }
        world.taken++;
    }
}

static void produce(size_t producer)
{
    for (size_t i = 0; i < world.messages_each; i++) {
        if (inbox_push(&world.inbox, &world.messages[producer][i].base)) {
            pause_here(); /* between the exchange and the write, as a thread may be */
            world.wake_ups++;
            world.tasks[0].asleep = false;
        }
    }
}

static void task_main(void)
{
    size_t own = world.current;
    if (own == 0) {
        consume();
    } else {
        produce(own);
    }
    world.tasks[own].finished = true;
    pause_here();
    abort(); /* the scheduler never resumes a finished task */
}

/* ---- the search --------------------------------------------------------------------------------- */

struct choice {
    size_t taken, options;
};

static struct choice path[STEPS_IN_RUN_MAX];
static size_t path_length;

static bool is_runnable(size_t task)
{
    return !world.tasks[task].finished && !world.tasks[task].asleep;
}

static void task_begin(struct task *task, uint8_t *stack)
{
    getcontext(&task->context);
    task->context.uc_stack.ss_sp = stack;
    task->context.uc_stack.ss_size = STACK_BYTES;
    task->context.uc_link = NULL;
    makecontext(&task->context, task_main, 0);
#ifdef UNDER_TSAN
    task->fiber = __tsan_create_fiber(0);
#endif
}

static void world_begin(size_t producers, size_t messages_each)
{
    world.task_count = producers + 1;
    world.messages_each = messages_each;
    world.taken = 0;
    world.wake_ups = 0;
    world.wrong_order = false;
    memset(world.next, 0, sizeof(world.next));
    inbox_init(&world.inbox);
    for (size_t t = 0; t < world.task_count; t++) {
        struct task *task = &world.tasks[t];
        task->finished = false;
        task->asleep = false;
        task_begin(task, world.stacks[t]);
        for (size_t i = 0; i < messages_each; i++) {
            world.messages[t][i] = (struct numbered){.producer = t, .sequence = i};
        }
    }
}

static void world_end(void)
{
#ifdef UNDER_TSAN
    for (size_t t = 0; t < world.task_count; t++) {
        __tsan_destroy_fiber(world.tasks[t].fiber);
    }
#endif
}

/* One run along `path`, extended where it ends. Returns NULL, or what went wrong. */
static const char *run_once(size_t producers, size_t messages_each, size_t preemptions_max)
{
    world_begin(producers, messages_each);
    const char *fault = NULL;
    size_t preemptions = 0, last = 0;
    size_t step = 0;
    for (; step < STEPS_IN_RUN_MAX && fault == NULL; step++) {
        /* Who may go on: the last one first; others if it cannot, or if a preemption is left. */
        size_t options[TASKS_MAX], count = 0;
        bool last_can = is_runnable(last);
        if (last_can) {
            options[count++] = last;
        }
        for (size_t t = 0; t < world.task_count; t++) {
            if (t != last && is_runnable(t) && (!last_can || preemptions < preemptions_max)) {
                options[count++] = t;
            }
        }
        if (count == 0) {
            break;
        }
        if (step == path_length) {
            path[path_length++] = (struct choice){.taken = 0, .options = count};
        }
        if (path[step].options != count) {
            fault = "a replay took another way";
            break;
        }
        size_t next = options[path[step].taken];
        if (last_can && next != last) {
            preemptions++;
        }
        last = next;
        world.current = next;
        switch_to(&world.scheduler, &world.tasks[next].context, world.tasks[next].fiber);
    }
    if (fault == NULL) {
        if (step == STEPS_IN_RUN_MAX) {
            fault = "it goes on for ever";
        } else if (!world.tasks[0].finished) {
            fault = "the consumer sleeps on a message: a wake-up was lost";
        } else if (world.wrong_order) {
            fault = "messages came out of order or twice";
        }
    }
    world_end();
    return fault;
}

/* The next path in depth-first order; false when all were taken. */
static bool path_advance(void)
{
    while (path_length > 0) {
        struct choice *last = &path[path_length - 1];
        if (last->taken + 1 < last->options) {
            last->taken++;
            return true;
        }
        path_length--;
    }
    return false;
}

static void search(size_t producers, size_t messages_each, size_t preemptions_max)
{
#ifdef UNDER_TSAN
    preemptions_max = 1; /* its fibers are dear; the full search is for the other builds */
    world.scheduler_fiber = __tsan_get_current_fiber();
#endif
    for (size_t t = 0; t < TASKS_MAX; t++) {
        world.stacks[t] = mem_alloc(STACK_BYTES);
    }
    path_length = 0;
    uint64_t runs = 0;
    const char *fault = NULL;
    do {
        fault = run_once(producers, messages_each, preemptions_max);
        runs++;
    } while (fault == NULL && path_advance());
    if (fault != NULL) {
        printf("\n  %s, after these choices:", fault);
        for (size_t i = 0; i < path_length; i++) {
            printf(" %zu", path[i].taken);
        }
        printf("\n");
    }
    printf(" orders=%llu ", (unsigned long long)runs);
    CU_ASSERT_PTR_NULL(fault);
    CU_ASSERT_TRUE(runs > 5); /* it did search */
    for (size_t t = 0; t < TASKS_MAX; t++) {
        mem_free(world.stacks[t]);
    }
}

static void one_producer_five_preemptions(void)
{
    search(1, 2, 5);
}

static void two_producers_four_preemptions(void)
{
    search(2, 1, 4);
}

static void two_producers_of_two_messages(void)
{
    search(2, 2, 3);
}

static void three_producers(void)
{
    search(3, 1, 2);
}

SUITE("actor inbox, orders of steps", TEST(one_producer_five_preemptions),
      TEST(two_producers_four_preemptions), TEST(two_producers_of_two_messages),
      TEST(three_producers))
