/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that the simulator's runner keeps the promises of actor.h that src/actor keeps with threads:
 * order per sender and receiver, a flush behind every batch, deadlines on the node's own clock,
 * actor_fatal that does not return; and those of its own: the same seed runs the same, a crashed
 * node's messages are freed, a busy or paused actor runs later.
 */
#include "../../sim/runner.h"
#include "suite.h"

#define MESSAGES 200

struct number {
    struct msg base;
    uint32_t sender, value;
};

static int released;

static void count_release(struct msg *m)
{
    UNUSED(m);
    released++;
}

/* Takes numbers and remembers what happened to it. */
struct taker {
    uint32_t last[3]; /* per sender */
    size_t taken, flushes, expiries;
    size_t since_flush;
    bool out_of_order, wrong_sender;
    struct actor *senders[3];
    uint64_t set_at_us, expired_at_us;
    uint64_t spend_us, fatal_at;
    struct runner *runner;
    bool *destroyed;
};

static void taker_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct taker *t = self;
    struct number *n = (struct number *)m;
    UNUSED(now_us);
    t->out_of_order = t->out_of_order || n->value != t->last[n->sender] + 1;
    t->wrong_sender = t->wrong_sender || m->from != t->senders[n->sender];
    t->last[n->sender] = n->value;
    t->taken++;
    t->since_flush++;
    runner_spend_us(t->runner, t->spend_us);
    msg_free_base(&m);
    if (t->fatal_at != 0 && t->taken == t->fatal_at) {
        actor_fatal(EXIT_CODE_DISK, "taker failed", "on purpose");
    }
}

static void taker_flush(void *self, uint64_t now_us)
{
    struct taker *t = self;
    t->flushes++;
    t->since_flush = 0;
    if (t->set_at_us != 0) {
        actor_set_deadline(actor_self(), now_us + t->set_at_us);
        t->set_at_us = 0;
    }
}

static void taker_expired(void *self, uint64_t now_us)
{
    struct taker *t = self;
    t->expiries++;
    t->expired_at_us = now_us;
}

static void taker_stop(void *self, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
    actor_stopped(actor_self());
}

static void taker_destroy(void *self)
{
    struct taker *t = self;
    *t->destroyed = true;
}

static const struct actor_ops taker_ops = {.handle = taker_handle,
                                           .flush = taker_flush,
                                           .expired = taker_expired,
                                           .stop = taker_stop,
                                           .destroy = taker_destroy};

/* Sends its numbers, a few per wake-up. */
struct giver {
    struct actor *to;
    uint32_t sender, sent;
};

static void giver_expired(void *self, uint64_t now_us)
{
    struct giver *g = self;
    for (int i = 0; i < 5 && g->sent < MESSAGES; i++) {
        struct number *n = MSG_NEW(struct number, 1, count_release);
        n->sender = g->sender;
        n->value = ++g->sent;
        ACTOR_SEND(g->to, n);
        CU_ASSERT_PTR_NULL(n);
    }
    actor_set_deadline(actor_self(), g->sent < MESSAGES ? now_us + 3 : UINT64_MAX);
}

static void giver_started(void *self, uint64_t now_us)
{
    giver_expired(self, now_us);
}

static void giver_handle(void *self, struct msg *m, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
    msg_free_base(&m);
}

static const struct actor_ops giver_ops = {
    .started = giver_started, .handle = giver_handle, .expired = giver_expired, .stop = taker_stop};

struct fatal_seen {
    int count;
    size_t node;
    enum exit_code code;
};

static void on_fatal(void *context, size_t node, enum exit_code code, const char *event,
                     const char *detail)
{
    struct fatal_seen *seen = context;
    UNUSED(event);
    UNUSED(detail);
    seen->count++;
    seen->node = node;
    seen->code = code;
}

struct scene {
    struct runner *runner;
    struct taker taker;
    struct giver givers[3];
    struct actor *actor;
    struct fatal_seen fatal;
    bool destroyed;
};

static void scene_open(struct scene *s, uint64_t seed)
{
    memset(s, 0, sizeof(*s));
    released = 0;
    const struct runner_hooks hooks = {.fatal = on_fatal, .context = &s->fatal};
    s->runner = runner_create(seed, &hooks);
    const struct runner_pace pace = {
        .hop_us_min = 1, .hop_us_max = 40, .slow_parts = 50000, .slow_us = 500, .handle_us = 1};
    runner_set_pace(s->runner, &pace);
    runner_set_clock(s->runner, 1, 1000000, 100000); /* a tenth too fast */
    runner_enter_node(s->runner, 1);
    s->taker.runner = s->runner;
    s->taker.destroyed = &s->destroyed;
    s->actor = actor_create(&taker_ops, &s->taker, "taker");
    for (uint32_t i = 0; i < 3; i++) {
        s->givers[i] = (struct giver){.to = s->actor, .sender = i};
        s->taker.senders[i] = actor_create(&giver_ops, &s->givers[i], "giver");
        actor_start(s->taker.senders[i]);
    }
    actor_start(s->actor);
}

static void order_is_kept_per_sender(void)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct scene s;
        scene_open(&s, seed);
        runner_run(s.runner, 100000);
        CU_ASSERT_EQUAL(s.taker.taken, 3 * MESSAGES);
        CU_ASSERT_EQUAL(released, 3 * MESSAGES);
        CU_ASSERT_FALSE(s.taker.out_of_order);
        CU_ASSERT_FALSE(s.taker.wrong_sender);
        runner_destroy(&s.runner);
        CU_ASSERT_TRUE(s.destroyed);
    }
}

static void flush_follows_every_batch(void)
{
    struct scene s;
    scene_open(&s, 7);
    runner_run(s.runner, 100000);
    CU_ASSERT_TRUE(s.taker.flushes > 0);
    CU_ASSERT_TRUE(s.taker.flushes < s.taker.taken); /* batches do gather */
    CU_ASSERT_EQUAL(s.taker.since_flush, 0);
    runner_destroy(&s.runner);
}

/* The node's clock runs a tenth too fast, so 1000 of its microseconds pass in about 909. */
static void deadlines_are_on_the_nodes_clock(void)
{
    struct scene s;
    scene_open(&s, 8);
    s.taker.set_at_us = 100000;
    runner_run(s.runner, 90000);
    CU_ASSERT_EQUAL(s.taker.expiries, 0);
    CU_ASSERT_TRUE(runner_node_clock_us(s.runner, 1) >= 1000000 + 90000 * 11 / 10);
    runner_run(s.runner, 96000);
    CU_ASSERT_EQUAL(s.taker.expiries, 1);
    CU_ASSERT_TRUE(s.taker.expired_at_us >= 1100000);
    runner_run(s.runner, 1000000);
    CU_ASSERT_EQUAL(s.taker.expiries, 1);
    runner_destroy(&s.runner);
}

static void same_seed_same_run(void)
{
    uint64_t digests[3];
    for (uint64_t i = 0; i < 3; i++) {
        struct scene s;
        scene_open(&s, i < 2 ? 11 : 12);
        runner_run(s.runner, 100000);
        digests[i] = runner_digest(s.runner);
        runner_destroy(&s.runner);
    }
    CU_ASSERT_EQUAL(digests[0], digests[1]);
    CU_ASSERT_NOT_EQUAL(digests[0], digests[2]);
}

/* What a handler spends makes its actor late, not the others. */
static void busy_actors_run_later(void)
{
    struct scene s;
    scene_open(&s, 13);
    s.taker.spend_us = 1000;
    runner_run(s.runner, 100000);
    CU_ASSERT_TRUE(s.taker.taken >= 90);
    CU_ASSERT_TRUE(s.taker.taken <= 110 + ACTOR_BATCH_MAX);
    CU_ASSERT_EQUAL(s.givers[0].sent, MESSAGES);
    runner_run(s.runner, 2000000);
    CU_ASSERT_EQUAL(s.taker.taken, 3 * MESSAGES);
    runner_destroy(&s.runner);
}

static void paused_nodes_run_later(void)
{
    struct scene s;
    scene_open(&s, 14);
    runner_pause_node(s.runner, 1, 50000);
    runner_run(s.runner, 49000);
    CU_ASSERT_TRUE(s.taker.taken == 0);
    runner_run(s.runner, 150000);
    CU_ASSERT_EQUAL(s.taker.taken, 3 * MESSAGES);
    runner_destroy(&s.runner);
}

/* actor_fatal ends all actors of its node in the middle of a handler; nothing of it is leaked but the
 * private struct of the actor that failed. */
static void fatal_errors_unwind(void)
{
    struct scene s;
    scene_open(&s, 15);
    s.taker.fatal_at = 100;
    runner_run(s.runner, 100000);
    CU_ASSERT_EQUAL(s.fatal.count, 1);
    CU_ASSERT_EQUAL(s.fatal.node, 1);
    CU_ASSERT_EQUAL(s.fatal.code, EXIT_CODE_DISK);
    CU_ASSERT_EQUAL(s.taker.taken, 100);
    CU_ASSERT_FALSE(s.destroyed);
    CU_ASSERT_FALSE(runner_is_alive(s.actor));
    uint32_t sent = s.givers[0].sent + s.givers[1].sent + s.givers[2].sent;
    runner_destroy(&s.runner);
    CU_ASSERT_EQUAL((uint32_t)released, sent);
}

static void stopping(void)
{
    struct scene s;
    scene_open(&s, 16);
    runner_run(s.runner, 100000);
    actor_stop(s.actor);
    CU_ASSERT_FALSE(runner_has_stopped(s.actor));
    runner_run(s.runner, 200000);
    CU_ASSERT_TRUE(runner_has_stopped(s.actor));
    actor_join(s.actor);
    actor_destroy(s.actor);
    CU_ASSERT_TRUE(s.destroyed);
    runner_destroy(&s.runner);
}

static void credits_count(void)
{
    struct credits *c = credits_create(3);
    CU_ASSERT_TRUE(credits_take(c, 2));
    CU_ASSERT_FALSE(credits_take(c, 2));
    CU_ASSERT_EQUAL(credits_left(c), 1);
    credits_give(c, 1);
    CU_ASSERT_TRUE(credits_take(c, 2));
    credits_destroy(c);
}

SUITE("simulator's runner", TEST(order_is_kept_per_sender), TEST(flush_follows_every_batch),
      TEST(deadlines_are_on_the_nodes_clock), TEST(same_seed_same_run), TEST(busy_actors_run_later),
      TEST(paused_nodes_run_later), TEST(fatal_errors_unwind), TEST(stopping), TEST(credits_count))
