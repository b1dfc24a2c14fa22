/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows on real threads that no message of the inbox is lost, doubled, reordered within its producer or
 * seen half-filled, and that no wake-up is lost (trap 56): producers push at their own pace, with breaks
 * that let the consumer fall asleep again and again, and one that wakes the sleeper must be the one that
 * was told to. Run it under ThreadSanitizer with gcc and clang.
 *
 * A lost wake-up would be a hang. The alarm turns it into a failure; it is no measure of speed, a
 * healthy run takes seconds even on a slow machine.
 */
#include "suite.h"

#include "actor/inbox.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PRODUCERS           4
#define MESSAGES_PER_THREAD 30000
#define HANG_ALARM_SECONDS  600

struct numbered {
    struct msg base;
    uint32_t producer;
    uint32_t sequence;
    uint64_t content; /* filled before the push, checked after the take */
};

struct bench {
    struct inbox inbox;
    int wake_fd;
    uint32_t pause_every; /* 0: never */
};

struct producer {
    pthread_t thread;
    struct bench *bench;
    uint32_t number;
    uint64_t wake_ups;
};

static uint64_t content_of(uint32_t producer, uint32_t sequence)
{
    uint64_t state = (uint64_t)producer << 32 | sequence;
    return random_next(&state);
}

static void *produce(void *argument)
{
    struct producer *p = argument;
    for (uint32_t i = 0; i < MESSAGES_PER_THREAD; i++) {
        struct numbered *m = MSG_NEW(struct numbered, 1, NULL);
        m->producer = p->number;
        m->sequence = i;
        m->content = content_of(p->number, i);
        if (inbox_push(&p->bench->inbox, &m->base)) {
            uint64_t one = 1;
            while (write(p->bench->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {}
            p->wake_ups++;
        }
        if (p->bench->pause_every != 0 && i % p->bench->pause_every == 0) {
            sched_yield(); /* lets the consumer run dry; nothing depends on whether it does */
        }
    }
    return NULL;
}

static void run(uint32_t pause_every)
{
    struct bench bench = {.pause_every = pause_every};
    struct producer producers[PRODUCERS] = {0};
    uint32_t next[PRODUCERS] = {0};
    inbox_init(&bench.inbox);
    bench.wake_fd = eventfd(0, EFD_CLOEXEC);
    CU_ASSERT_TRUE_FATAL(bench.wake_fd >= 0);
    alarm(HANG_ALARM_SECONDS);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i].bench = &bench;
        producers[i].number = i;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&producers[i].thread, NULL, produce, &producers[i]),
                              0);
    }

    uint64_t taken = 0, sleeps = 0, wrong_order = 0, wrong_content = 0;
    while (taken < (uint64_t)PRODUCERS * MESSAGES_PER_THREAD) {
        struct msg *m = inbox_take(&bench.inbox);
        if (m == NULL) {
            m = inbox_park(&bench.inbox);
        }
        if (m == NULL) {
            uint64_t count = 0;
            while (read(bench.wake_fd, &count, sizeof(count)) < 0 && errno == EINTR) {}
            sleeps++;
            inbox_unpark(&bench.inbox);
            continue;
        }
        struct numbered *got = (struct numbered *)m;
        wrong_order += got->producer >= PRODUCERS || got->sequence != next[got->producer]++;
        wrong_content += got->content != content_of(got->producer, got->sequence);
        taken++;
        MSG_FREE(got);
    }
    uint64_t wake_ups = 0;
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
        CU_ASSERT_EQUAL(next[i], MESSAGES_PER_THREAD);
        wake_ups += producers[i].wake_ups;
    }
    alarm(0);
    CU_ASSERT_EQUAL(wrong_order, 0);
    CU_ASSERT_EQUAL(wrong_content, 0);
    CU_ASSERT_PTR_NULL(inbox_take(&bench.inbox));
    /* Exactly one producer is told of each sleep; a park that found a message may leave one behind. */
    CU_ASSERT_TRUE(wake_ups >= sleeps);
    printf(" sleeps=%llu wake_ups=%llu ", (unsigned long long)sleeps, (unsigned long long)wake_ups);
    close(bench.wake_fd);
}

static void no_message_is_lost_under_full_load(void)
{
    run(0);
}

static void no_wake_up_is_lost_when_the_consumer_often_sleeps(void)
{
    run(1);
    run(3);
    run(17);
}

SUITE("stress inbox", TEST(no_message_is_lost_under_full_load),
      TEST(no_wake_up_is_lost_when_the_consumer_often_sleeps))
