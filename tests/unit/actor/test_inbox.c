/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows, in one thread and step by step, what inbox.h promises: order, each message once, the gap of a
 * half-done push, and the sleep protocol. design.md §2; trap 56. What several threads do to it is shown
 * by test_inbox_interleavings.c (every order of steps) and tests/stress/test_inbox.c (real threads).
 */
#include "suite.h"

#include "actor/inbox.h"

#include <stdatomic.h>

struct numbered {
    struct msg base;
    uint64_t number;
};

static struct numbered messages[8];
static struct inbox inbox;

static void set_up(void)
{
    inbox_init(&inbox);
    for (size_t i = 0; i < ARRAY_COUNT(messages); i++) {
        messages[i] = (struct numbered){.number = i};
    }
}

/* The number of the message taken, or -1. */
static int take(void)
{
    struct numbered *m = (struct numbered *)inbox_take(&inbox);
    return m == NULL ? -1 : (int)m->number;
}

static void empty_gives_nothing(void)
{
    set_up();
    CU_ASSERT_EQUAL(take(), -1);
    CU_ASSERT_EQUAL(take(), -1);
}

static void messages_come_out_in_order_and_once(void)
{
    set_up();
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_FALSE(inbox_push(&inbox, &messages[i].base));
    }
    CU_ASSERT_EQUAL(take(), 0);
    CU_ASSERT_EQUAL(take(), 1);
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[3].base));
    CU_ASSERT_EQUAL(take(), 2);
    CU_ASSERT_EQUAL(take(), 3);
    CU_ASSERT_EQUAL(take(), -1);
}

/* A message may be pushed again as soon as it was taken: nobody else looks at it any more. */
static void taken_message_is_free_for_reuse(void)
{
    set_up();
    for (int round = 0; round < 100; round++) {
        CU_ASSERT_FALSE(inbox_push(&inbox, &messages[0].base));
        CU_ASSERT_EQUAL(take(), 0);
        CU_ASSERT_EQUAL(take(), -1);
    }
}

/* A producer stopped between its exchange and its link: nothing behind the gap is visible, nothing is
 * lost, and the order is that of the exchanges. */
static void half_done_push_hides_what_is_behind_it(void)
{
    set_up();
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[0].base));
    struct msg *slow = &messages[1].base;
    atomic_store(&slow->next, NULL);
    struct msg *previous = atomic_exchange(&inbox.head, slow);
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[2].base));
    /* Message 0 itself cannot be taken off either: the stub's place is behind the gap. */
    CU_ASSERT_EQUAL(take(), -1);
    CU_ASSERT_EQUAL(take(), -1);
    atomic_store(&previous->next, slow);
    CU_ASSERT_EQUAL(take(), 0);
    CU_ASSERT_EQUAL(take(), 1);
    CU_ASSERT_EQUAL(take(), 2);
    CU_ASSERT_EQUAL(take(), -1);
}

static void half_done_push_on_an_empty_inbox(void)
{
    set_up();
    struct msg *slow = &messages[0].base;
    atomic_store(&slow->next, NULL);
    struct msg *previous = atomic_exchange(&inbox.head, slow);
    CU_ASSERT_EQUAL(take(), -1);
    CU_ASSERT_PTR_NULL(inbox_park(&inbox)); /* the consumer sleeps in the gap ... */
    atomic_store(&previous->next, slow);
    CU_ASSERT_TRUE(atomic_exchange(&inbox.asleep, false)); /* ... and the same producer wakes it */
    CU_ASSERT_EQUAL(take(), 0);
}

static void awake_consumer_needs_no_wake_up(void)
{
    set_up();
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[0].base));
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[1].base));
}

static void sleeping_consumer_is_woken_by_exactly_one(void)
{
    set_up();
    CU_ASSERT_PTR_NULL(inbox_park(&inbox));
    CU_ASSERT_TRUE(inbox_push(&inbox, &messages[0].base));
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[1].base));
    inbox_unpark(&inbox);
    CU_ASSERT_EQUAL(take(), 0);
    CU_ASSERT_EQUAL(take(), 1);
}

/* The look once more: what came before the announcement keeps the consumer awake. */
static void parking_finds_what_came_before(void)
{
    set_up();
    CU_ASSERT_EQUAL(take(), -1);
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[0].base));
    CU_ASSERT_PTR_EQUAL(inbox_park(&inbox), &messages[0].base);
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[1].base));
    CU_ASSERT_EQUAL(take(), 1);
}

/* Woken by a descriptor or a timer, not by a push: pushes need no system call from then on. */
static void unparked_consumer_needs_no_wake_up(void)
{
    set_up();
    CU_ASSERT_PTR_NULL(inbox_park(&inbox));
    inbox_unpark(&inbox);
    CU_ASSERT_FALSE(inbox_push(&inbox, &messages[0].base));
    CU_ASSERT_EQUAL(take(), 0);
}

/* The consumer can say how many wait, from an inbox of any history. */
static void waiting_messages_are_counted(void)
{
    set_up();
    CU_ASSERT_EQUAL(inbox_count(&inbox, 10), 0);
    for (size_t i = 0; i < 3; i++) {
        (void)!inbox_push(&inbox, &messages[i].base);
        CU_ASSERT_EQUAL(inbox_count(&inbox, 10), i + 1);
    }
    CU_ASSERT_EQUAL(inbox_count(&inbox, 2), 2);
    CU_ASSERT_EQUAL(take(), 0);
    CU_ASSERT_EQUAL(inbox_count(&inbox, 10), 2);
    CU_ASSERT_EQUAL(take(), 1);
    CU_ASSERT_EQUAL(take(), 2);
    CU_ASSERT_EQUAL(inbox_count(&inbox, 10), 0);
    (void)!inbox_push(&inbox, &messages[3].base);
    CU_ASSERT_EQUAL(inbox_count(&inbox, 10), 1);
}

SUITE("actor inbox", TEST(empty_gives_nothing), TEST(messages_come_out_in_order_and_once),
      TEST(taken_message_is_free_for_reuse), TEST(half_done_push_hides_what_is_behind_it),
      TEST(half_done_push_on_an_empty_inbox), TEST(awake_consumer_needs_no_wake_up),
      TEST(sleeping_consumer_is_woken_by_exactly_one), TEST(parking_finds_what_came_before),
      TEST(unparked_consumer_needs_no_wake_up), TEST(waiting_messages_are_counted))
