/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that credits are refused without taking any, come back, are never more than there were, and
 * that threads which take and give at the same time lose and invent none. actor.h, "credits".
 */
#include "suite.h"

#include "actor.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void take_and_give_are_exact(void)
{
    struct credits *c = credits_create(10);
    CU_ASSERT_TRUE(credits_take(c, 4));
    CU_ASSERT_EQUAL(credits_left(c), 6);
    CU_ASSERT_FALSE(credits_take(c, 7)); /* not enough: nothing taken */
    CU_ASSERT_EQUAL(credits_left(c), 6);
    CU_ASSERT_TRUE(credits_take(c, 6));
    CU_ASSERT_FALSE(credits_take(c, 1));
    CU_ASSERT_TRUE(credits_take(c, 0));
    credits_give(c, 10);
    CU_ASSERT_EQUAL(credits_left(c), 10);
    credits_destroy(c);
}

static void child_gives_too_much(uint64_t count)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDERR_FILENO);
    struct credits *c = credits_create(2);
    (void)credits_take(c, 1);
    credits_give(c, count);
    _exit(0);
}

static void giving_what_was_not_taken_is_a_bug(void)
{
    static const uint64_t counts[] = {2, UINT64_MAX}; /* the second would wrap to fewer */
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            child_gives_too_much(counts[i]);
        }
        int status = 0;
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

#define THREADS 4
#define ROUNDS  20000
#define TOTAL   6

struct taker {
    pthread_t thread;
    struct credits *credits;
    uint64_t taken_count;
    bool too_many_left;
};

static void *take_and_give(void *argument)
{
    struct taker *t = argument;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t count = i % 3 + 1;
        if (credits_take(t->credits, count)) {
            t->taken_count++;
            /* we hold `count`, so no more than the rest is left, whatever others do */
            t->too_many_left = t->too_many_left || credits_left(t->credits) > TOTAL - count;
            credits_give(t->credits, count);
        }
    }
    return NULL;
}

static void threads_lose_and_invent_none(void)
{
    struct credits *c = credits_create(TOTAL);
    struct taker takers[THREADS] = {0};
    for (size_t i = 0; i < THREADS; i++) {
        takers[i].credits = c;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&takers[i].thread, NULL, take_and_give, &takers[i]),
                              0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(takers[i].thread, NULL);
        CU_ASSERT_TRUE(takers[i].taken_count > 0);
        CU_ASSERT_FALSE(takers[i].too_many_left);
    }
    CU_ASSERT_EQUAL(credits_left(c), TOTAL);
    credits_destroy(c);
}

SUITE("actor credits", TEST(take_and_give_are_exact), TEST(giving_what_was_not_taken_is_a_bug),
      TEST(threads_lose_and_invent_none))
