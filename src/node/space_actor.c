/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space_actor.c: looks after the room on the disk (store/space.c). A helper of the stores' actors with a
 * thread of its own, because asking a file system, or giving it a file to hold, may take as long as it likes.
 *
 * In: time. Out: RAFT_SPACE to raft, after each look; the core makes of it what the cluster must know. Log
 * lines when it changes, never else.
 */
#include "node.h"

#define SPACE_LOOK_US     UINT64_C(1000000) /* by then uncommitted_bytes_max may have been written */
#define SPACE_LOW_LOOK_US UINT64_C(200000)  /* while there is little room */

struct space_actor {
    struct space *space;
    const struct node_actors *links;
    struct actor *raft;
    struct space_facts seen;
    bool failed_said;
};

static void say(struct space_actor *a, const struct space_facts *now)
{
    if (now->low && !a->seen.low) {
        log_event(
            LOG_WARNING, "disk is short of room",
            "free_bytes=%" PRIu64 " reserve_bytes=%" PRIu64
            " consequence=\"writes that need room are refused; deletions and compaction work\"",
            now->free_bytes, now->reserve_bytes);
    } else if (!now->low && a->seen.low) {
        log_event(LOG_NOTICE, "disk has room again",
                  "free_bytes=%" PRIu64 " reserve_bytes=%" PRIu64, now->free_bytes,
                  now->reserve_bytes);
    } else if (now->reserve_bytes < a->seen.reserve_bytes) {
        log_event(LOG_WARNING, "reserve given up", "free_bytes=%" PRIu64 " reserve_bytes=%" PRIu64,
                  now->free_bytes, now->reserve_bytes);
    }
    a->seen = *now;
}

static void look(struct space_actor *a, uint64_t now_us)
{
    struct space_facts now;
    enum err error = space_look(a->space, false, &now);
    if (error != OK) {
        if (!a->failed_said) {
            log_event(LOG_WARNING, "free space unknown", "error=\"%s\"", err_text(error));
        }
    } else {
        say(a, &now);
        struct raft_space *told = MSG_NEW(struct raft_space, RAFT_SPACE, NULL);
        told->group = GROUP_DEFAULT;
        told->facts = now;
        ACTOR_SEND(a->raft, told);
    }
    a->failed_said = error != OK;
    actor_set_deadline(actor_self(), now_us + (a->seen.low ? SPACE_LOW_LOOK_US : SPACE_LOOK_US));
}

static void started(void *self, uint64_t now_us)
{
    struct space_actor *a = self;
    a->raft = a->links->raft;
    look(a, now_us);
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
    msg_free_base(&m); /* nobody sends it anything */
}

static void expired(void *self, uint64_t now_us)
{
    look(self, now_us);
}

static void stop(void *self, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
    actor_stopped(actor_self());
}

static void destroy(void *self)
{
    struct space_actor *a = self;
    space_close(&a->space);
    mem_free(a);
}

static const struct actor_ops space_actor_ops = {
    .started = started,
    .handle = handle,
    .expired = expired,
    .stop = stop,
    .destroy = destroy,
};

struct actor *space_actor_create(struct space **space, const struct node_actors *actors)
{
    struct space_actor *a = mem_zalloc(sizeof(*a));
    a->space = *space;
    *space = NULL;
    a->links = actors;
    return actor_create(&space_actor_ops, a, "space");
}
