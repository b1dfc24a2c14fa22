/* SPDX-License-Identifier: Apache-2.0 */
/*
 * discovery_actor.c: looks up the SRV records of `discovery_srv` and tells raft the peer addresses they name.
 *
 * In: DISCOVERY_WANTED from raft. Out: RAFT_SEEDS, when what they name has changed or is wanted anew.
 *
 * Not here: the targets' addresses (each peer actor resolves the name it dials), and who is dialled (peer_slots.h).
 *
 * Invariants
 *  1. It asks only while it is wanted, one lookup at a time; the next one begins a bounded time after the one before.
 *  2. Name servers that fail change nothing: the seeds told last stay. Failure and recovery are logged once each.
 */
#include "node.h"

#include "../net/resolve.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define DISCOVERY_EVERY_US  UINT64_C(5000000) /* after an answer, while it is still wanted */
#define DISCOVERY_RETRY_US  UINT64_C(1000000) /* after a failure */
#define DISCOVERY_TRY_MS    1000
#define DISCOVERY_TRIES     2
#define DISCOVERY_NAME_SIZE (CONFIG_WORDS_MAX + 1)

struct discovery_actor {
    char name[DISCOVERY_NAME_SIZE];
    const struct node_actors *links;
    struct actor *raft;
    struct resolver *resolver;
    bool wanted, asking;
    uint64_t ask_at_us;
    uint64_t told;      /* hash of the failure logged last; 0: none since it last worked */
    uint64_t seeds_sum; /* of the seeds told last; 0: none since it was wanted */
    uint64_t logged_sum;
};

static void watch(void *context, int fd, bool fresh, bool readable, bool writable)
{
    uint32_t events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0);
    if (events == 0) {
        actor_unwatch(actor_self(), fd);
    } else if (fresh) {
        actor_watch(actor_self(), fd, events, context);
    } else {
        actor_rewatch(actor_self(), fd, events, context);
    }
}

static void failed(struct discovery_actor *a, const char *reason)
{
    uint64_t hash = checksum64(view_of_text(reason)) | 1;
    if (a->told != hash) {
        a->told = hash;
        log_event(LOG_WARNING, "discovery failed",
                  "discovery_srv=%s reason=\"%s\" next=\"asking again\"", a->name, reason);
    }
}

static void found(struct discovery_actor *a, const struct resolve_services *services)
{
    struct raft_seeds *seeds = MSG_NEW(struct raft_seeds, RAFT_SEEDS, NULL);
    struct buffer text = {0};
    for (size_t i = 0; i < services->count && seeds->count < SEEDS_MAX; i++) {
        char *address = seeds->addresses[seeds->count++];
        (void)snprintf(address, sizeof(seeds->addresses[0]), "%s:%u", services->items[i].host,
                       services->items[i].port);
        buffer_view(&text, view_of_text(address));
    }
    uint64_t sum = checksum64(view_of(text.data, text.size)) | 1;
    buffer_free(&text);
    if (sum != a->logged_sum || a->told != 0) {
        a->logged_sum = sum;
        a->told = 0;
        log_event(LOG_NOTICE, "discovered", "discovery_srv=%s count=%zu first=%s", a->name,
                  seeds->count, seeds->addresses[0]);
    }
    if (sum == a->seeds_sum) {
        MSG_FREE(seeds);
        return;
    }
    a->seeds_sum = sum;
    ACTOR_SEND(a->raft, seeds);
}

static void take_answer(struct discovery_actor *a, uint64_t now_us)
{
    struct resolve_services services;
    if (!a->asking || !resolve_take_services(a->resolver, &services)) {
        return;
    }
    a->asking = false;
    if (services.error != OK) {
        a->ask_at_us = now_us + DISCOVERY_RETRY_US;
        failed(a, services.reason);
        return;
    }
    a->ask_at_us = now_us + DISCOVERY_EVERY_US;
    found(a, &services);
}

static void ask(struct discovery_actor *a, uint64_t now_us)
{
    a->asking = true;
    resolve_start_services(a->resolver, a->name);
    take_answer(a, now_us); /* what cannot even be asked is answered at once */
}

static void started(void *self, uint64_t now_us)
{
    struct discovery_actor *a = self;
    a->raft = a->links->raft;
    a->links = NULL;
    a->ask_at_us = now_us;
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct discovery_actor *a = self;
    switch ((enum discovery_kind)m->kind) {
    case DISCOVERY_WANTED:
        a->wanted = ((const struct discovery_wanted *)m)->wanted;
        a->seeds_sum = 0;
        if (a->wanted && !a->asking && a->ask_at_us > now_us + DISCOVERY_RETRY_US) {
            a->ask_at_us = now_us + DISCOVERY_RETRY_US;
        }
        msg_free_base(&m);
        return;
    }
    assert_failed("ASSERT", "a kind of message discovery knows", __FILE__, __LINE__);
}

static void ready(void *self, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    struct discovery_actor *a = self;
    UNUSED(tag);
    resolve_ready(a->resolver, fd, (events & ~(uint32_t)EPOLLOUT) != 0, (events & EPOLLOUT) != 0);
    take_answer(a, now_us);
}

static void expired(void *self, uint64_t now_us)
{
    struct discovery_actor *a = self;
    if (a->asking) {
        resolve_tick(a->resolver);
        take_answer(a, now_us);
    } else if (a->wanted && a->ask_at_us <= now_us) {
        ask(a, now_us);
    }
}

static void flush(void *self, uint64_t now_us)
{
    struct discovery_actor *a = self;
    uint64_t at_us = a->wanted ? a->ask_at_us : UINT64_MAX;
    if (a->asking) {
        uint64_t wait_us = resolve_wait_us(a->resolver);
        at_us = wait_us == UINT64_MAX ? UINT64_MAX : now_us + wait_us;
    }
    actor_set_deadline(actor_self(), at_us);
}

static void stop(void *self, uint64_t now_us)
{
    struct discovery_actor *a = self;
    UNUSED(now_us);
    resolve_cancel(a->resolver);
    a->asking = a->wanted = false;
    actor_stopped(actor_self());
}

static void destroy(void *self)
{
    struct discovery_actor *a = self;
    resolve_destroy(&a->resolver);
    mem_free(a);
}

struct actor *discovery_actor_create(const struct discovery_actor_settings *settings)
{
    static const struct actor_ops ops = {
        .started = started,
        .handle = handle,
        .flush = flush,
        .ready = ready,
        .expired = expired,
        .stop = stop,
        .destroy = destroy,
    };
    struct discovery_actor *a = mem_zalloc(sizeof(*a));
    (void)snprintf(a->name, sizeof(a->name), "%s", settings->name);
    a->links = settings->actors;
    a->wanted = true;
    const struct resolve_settings resolve = {.watch = watch,
                                             .context = a,
                                             .timeout_ms = DISCOVERY_TRY_MS,
                                             .tries = DISCOVERY_TRIES,
                                             .servers = settings->name_servers};
    a->resolver = resolve_create(&resolve);
    return actor_create(&ops, a, "discovery");
}
