/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_actor.c: speaks with the service manager. STATUS says in words what this node is right
 * now; the watchdog is fed only after a probe has gone through raft and log, so a node whose
 * consensus or disk thread hangs for the whole watchdog time is restarted.
 *
 * In: SUPERVISOR_STATE from raft, SUPERVISOR_PROBED from log, ticks. Out: RAFT_PROBE, sd_notify.
 * Without a service manager sd_notify does nothing.
 */
#include "node.h"

#include <systemd/sd-daemon.h>

#define SUPERVISOR_TIMER 1

struct supervisor_actor {
    uint64_t watchdog_us;
    const struct node_actors *links;
    struct actor *raft, *timer;
    uint64_t probe_number, generation;
};

static void arm(struct supervisor_actor *a, uint64_t now_us)
{
    a->generation++;
    timer_arm(a->timer, actor_self(), SUPERVISOR_TIMER, SUPERVISOR_TICK, a->generation,
              now_us + a->watchdog_us / 3);
}

static void started(void *self, uint64_t now_us)
{
    struct supervisor_actor *a = self;
    a->raft = a->links->raft;
    a->timer = a->links->timer;
    if (a->watchdog_us > 0) {
        arm(a, now_us);
    }
}

static void say_state(const struct client_state *state)
{
    const struct configuration *configuration = &state->configuration;
    int leader = configuration_find(configuration, state->leader_id);
    if (state->cluster_id == 0) {
        (void)sd_notify(0, "STATUS=Waiting for the other members to found or join a cluster");
    } else if (state->leader_id == 0 || leader < 0) {
        (void)sd_notifyf(0, "STATUS=Term %" PRIu64 ", no leader known", state->term);
    } else if (state->leader_id == state->member_id) {
        (void)sd_notifyf(0, "STATUS=Leader of term %" PRIu64, state->term);
    } else {
        (void)sd_notifyf(0, "STATUS=Follower in term %" PRIu64 ", leader %s%s", state->term,
                         configuration->members[leader].name,
                         state->may_not_vote ? "; repairing its log, does not vote" : "");
    }
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct supervisor_actor *a = self;
    switch ((enum supervisor_kind)m->kind) {
    case SUPERVISOR_STATE:
        say_state((const struct client_state *)m);
        break;
    case SUPERVISOR_TICK:
        if (((const struct tick *)m)->generation == a->generation) {
            struct probe *probe = MSG_NEW(struct probe, RAFT_PROBE, NULL);
            probe->number = ++a->probe_number;
            ACTOR_SEND(a->raft, probe);
            arm(a, now_us);
        }
        break;
    case SUPERVISOR_PROBED:
        (void)sd_notify(0, "WATCHDOG=1");
        break;
    }
    msg_free_base(&m);
}

static void stop(void *self, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
    actor_stopped(actor_self());
}

static const struct actor_ops supervisor_actor_ops = {
    .started = started,
    .handle = handle,
    .stop = stop,
    .destroy = mem_free,
};

struct actor *supervisor_actor_create(uint64_t watchdog_us, const struct node_actors *actors)
{
    struct supervisor_actor *a = mem_zalloc(sizeof(*a));
    a->watchdog_us = watchdog_us;
    a->links = actors;
    return actor_create(&supervisor_actor_ops, a, "supervisor");
}
