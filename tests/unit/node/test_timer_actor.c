/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_timer_actor.c: shows that ticks come in the order of their times, that arming again replaces,
 * that a tick carries the generation it was armed with (so a receiver can drop stale ones), and that
 * nothing fires early. Most tests send everything before the timer starts and with times long past:
 * then the order does not depend on how fast this machine is. (src/node/timer_actor.c)
 */
#include "witness.h"
#include "node/node.h"

#define KIND     77
#define HOUR_US  UINT64_C(3600000000)
#define SENTINEL 999999 /* a timer number due after all others of a test */

static struct tick take_tick(struct witness *p)
{
    struct msg *m = witness_take(p);
    CU_ASSERT_EQUAL(m->kind, KIND);
    struct tick copy = {.timer = ((struct tick *)m)->timer,
                        .generation = ((struct tick *)m)->generation};
    msg_free_base(&m);
    return copy;
}

static void earliest_first(void)
{
    struct witness p;
    struct actor *timer = timer_actor_create();
    witness_start(&p, "receiver");
    /* 300 different times in a scattered order, below one batch of the runner. */
    for (uint64_t i = 0; i < 300; i++) {
        uint64_t at_us = i * 7919 % 300;
        timer_arm(timer, p.actor, (uint32_t)at_us, KIND, at_us + 1000, at_us);
    }
    actor_start(timer);
    for (uint32_t i = 0; i < 300; i++) {
        struct tick tick = take_tick(&p);
        CU_ASSERT_EQUAL(tick.timer, i);
        CU_ASSERT_EQUAL(tick.generation, i + 1000);
    }
    end_actor(timer);
    CU_ASSERT_EQUAL(witness_end(&p), 0);
}

static void equal_times_in_order_of_arming(void)
{
    struct witness p;
    struct actor *timer = timer_actor_create();
    witness_start(&p, "receiver");
    for (uint32_t i = 0; i < 100; i++) {
        timer_arm(timer, p.actor, i, KIND, 0, 5);
    }
    timer_arm(timer, p.actor, 3, KIND, 1, 5); /* armed again: now the last */
    actor_start(timer);
    for (uint32_t i = 0; i < 99; i++) {
        CU_ASSERT_EQUAL(take_tick(&p).timer, i < 3 ? i : i + 1);
    }
    struct tick last = take_tick(&p);
    CU_ASSERT_EQUAL(last.timer, 3);
    CU_ASSERT_EQUAL(last.generation, 1);
    end_actor(timer);
    CU_ASSERT_EQUAL(witness_end(&p), 0);
}

/* One tick per (to, timer), of the newest arming; the same number of another receiver is another. */
static void arming_again_replaces(void)
{
    struct witness p, q;
    struct actor *timer = timer_actor_create();
    witness_start(&p, "first");
    witness_start(&q, "second");
    timer_arm(timer, p.actor, 1, KIND, 10, 1);
    timer_arm(timer, p.actor, 2, KIND, 20, 500);
    timer_arm(timer, q.actor, 1, KIND, 30, 2);
    timer_arm(timer, p.actor, 1, KIND, 11, 1000); /* later than it was, and than timer 2 */
    timer_arm(timer, p.actor, SENTINEL, KIND, 0, 2000);
    timer_arm(timer, p.actor, 4, KIND, 40, 3000);
    timer_arm(timer, p.actor, 4, KIND, 41, 3); /* earlier than it was */
    actor_start(timer);
    static const struct tick expected[] = {{.timer = 4, .generation = 41},
                                           {.timer = 2, .generation = 20},
                                           {.timer = 1, .generation = 11},
                                           {.timer = SENTINEL}};
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        struct tick tick = take_tick(&p);
        CU_ASSERT_EQUAL(tick.timer, expected[i].timer);
        CU_ASSERT_EQUAL(tick.generation, expected[i].generation);
    }
    CU_ASSERT_EQUAL(take_tick(&q).generation, 30);
    end_actor(timer);
    CU_ASSERT_EQUAL(witness_end(&p), 0);
    CU_ASSERT_EQUAL(witness_end(&q), 0);
}

static void disarm(void)
{
    struct witness p;
    struct actor *timer = timer_actor_create();
    witness_start(&p, "receiver");
    timer_arm(timer, p.actor, 9, KIND, 1, UINT64_MAX); /* was not armed: no harm */
    timer_arm(timer, p.actor, 1, KIND, 1, 1);
    timer_arm(timer, p.actor, 2, KIND, 1, 2);
    timer_arm(timer, p.actor, SENTINEL, KIND, 0, 3);
    timer_arm(timer, p.actor, 1, KIND, 2, UINT64_MAX);
    actor_start(timer);
    CU_ASSERT_EQUAL(take_tick(&p).timer, 2);
    CU_ASSERT_EQUAL(take_tick(&p).timer, SENTINEL);
    end_actor(timer);
    CU_ASSERT_EQUAL(witness_end(&p), 0);
}

/* A tick may already be under way when its timer is armed again: it then carries the old generation
 * and the new one comes, too. The receiver can tell. */
static void stale_ticks_are_told_by_generation(void)
{
    struct witness p;
    struct actor *timer = timer_actor_create();
    witness_start(&p, "receiver");
    actor_start(timer);
    timer_arm(timer, p.actor, 1, KIND, 1, 0);
    struct msg *under_way = witness_take(&p); /* sent, and not yet looked at by the receiver */
    timer_arm(timer, p.actor, 1, KIND, 2, 0);
    CU_ASSERT_EQUAL(((struct tick *)under_way)->generation, 1);
    msg_free_base(&under_way);
    CU_ASSERT_EQUAL(take_tick(&p).generation, 2);
    end_actor(timer);
    CU_ASSERT_EQUAL(witness_end(&p), 0);
}

/* By the real clock: never early, and each after the one before. */
static void never_early(void)
{
    struct witness p;
    struct actor *timer = timer_actor_create();
    witness_start(&p, "receiver");
    actor_start(timer);
    for (uint64_t generation = 1; generation <= 20; generation++) {
        uint64_t at_us = actor_stopwatch_us() + generation * 500;
        timer_arm(timer, p.actor, 1, KIND, generation, at_us);
        CU_ASSERT_EQUAL(take_tick(&p).generation, generation);
        CU_ASSERT_TRUE(actor_stopwatch_us() >= at_us);
    }
    end_actor(timer);
    CU_ASSERT_EQUAL(witness_end(&p), 0);
}

/* What is far away neither fires nor delays what is due; stopping forgets it. */
static void far_timers_wait(void)
{
    struct witness p;
    struct actor *timer = timer_actor_create();
    witness_start(&p, "receiver");
    actor_start(timer);
    uint64_t now_us = actor_stopwatch_us();
    for (uint32_t i = 0; i < 50; i++) {
        timer_arm(timer, p.actor, i, KIND, 1, now_us + HOUR_US + i);
    }
    timer_arm(timer, p.actor, SENTINEL, KIND, 2, now_us + 2000);
    CU_ASSERT_EQUAL(take_tick(&p).timer, SENTINEL);
    timer_arm(timer, p.actor, 7, KIND, 3, 0); /* one of them is pulled near */
    CU_ASSERT_EQUAL(take_tick(&p).generation, 3);
    end_actor(timer);
    CU_ASSERT_EQUAL(witness_end(&p), 0);
}

/* Random arming, re-arming and disarming against a plain array. */
static void as_a_plain_array(void)
{
    enum { TIMERS = 40, OPERATIONS = 500 };
    uint64_t random = 3;
    for (int round = 0; round < 20; round++) {
        uint64_t at[TIMERS], order[TIMERS];
        memset(at, 0xff, sizeof(at));
        struct witness p;
        struct actor *timer = timer_actor_create();
        witness_start(&p, "receiver");
        for (uint64_t i = 0; i < OPERATIONS; i++) {
            uint32_t which = (uint32_t)random_below(&random, TIMERS);
            uint64_t at_us =
                random_below(&random, 4) == 0 ? UINT64_MAX : random_below(&random, 100);
            timer_arm(timer, p.actor, which, KIND, i, at_us);
            at[which] = at_us;
            order[which] = i;
        }
        actor_start(timer);
        for (;;) {
            uint32_t least = TIMERS;
            for (uint32_t i = 0; i < TIMERS; i++) {
                if (at[i] != UINT64_MAX && (least == TIMERS || at[i] < at[least] ||
                                            (at[i] == at[least] && order[i] < order[least]))) {
                    least = i;
                }
            }
            if (least == TIMERS) {
                break;
            }
            struct tick tick = take_tick(&p);
            CU_ASSERT_EQUAL(tick.timer, least);
            CU_ASSERT_EQUAL(tick.generation, order[least]);
            at[least] = UINT64_MAX;
        }
        end_actor(timer);
        CU_ASSERT_EQUAL(witness_end(&p), 0);
    }
}

SUITE("timer actor", TEST(earliest_first), TEST(equal_times_in_order_of_arming),
      TEST(arming_again_replaces), TEST(disarm), TEST(stale_ticks_are_told_by_generation),
      TEST(never_early), TEST(far_timers_wait), TEST(as_a_plain_array))
