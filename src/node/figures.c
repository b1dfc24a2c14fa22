/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures.c: the way of a question for figures through the node, figures.h.
 */
#include "figures.h"

#include "message.h"
#include "node.h"

#include <string.h>

static void add_stop(struct figures *m, struct actor *actor, uint32_t kind)
{
    if (actor != NULL) {
        ASSERT(m->stop_count < FIGURES_STOPS_MAX);
        m->stops[m->stop_count++] = (struct figures_stop){.actor = actor, .kind = kind};
    }
}

struct figures *figures_create(const struct node_actors *actors, struct actor *asker,
                               uint32_t asker_kind, uint64_t request_id)
{
    _Static_assert(CLIENTS_MAX + PEER_SLOTS_MAX + 5 <= FIGURES_STOPS_MAX,
                   "every actor has its stop");
    struct figures *m = MSG_NEW(struct figures, asker_kind, NULL);
    m->request_id = request_id;
    add_stop(m, actors->raft, RAFT_FIGURES);
    add_stop(m, actors->log, LOG_FIGURES);
    add_stop(m, actors->apply, APPLY_FIGURES);
    add_stop(m, actors->flush, FLUSH_FIGURES);
    add_stop(m, actors->watch, WATCH_FIGURES);
    for (size_t i = 0; i < actors->client_count; i++) {
        if (actors->clients[i] != asker) {
            add_stop(m, actors->clients[i], CLIENT_FIGURES);
        }
    }
    add_stop(m, asker, asker_kind);
    return m;
}

void figures_visit(struct figures *m, struct actor *actor, uint32_t kind)
{
    ASSERT(m->stop_count < FIGURES_STOPS_MAX);
    ASSERT(m->stop_at < m->stop_count); /* the last stop stays the last */
    struct figures_stop *next = &m->stops[m->stop_at];
    memmove(next + 1, next, (m->stop_count - m->stop_at) * sizeof(*next));
    *next = (struct figures_stop){.actor = actor, .kind = kind};
    m->stop_count++;
}

void figures_pass_on(struct figures **m)
{
    struct figures *moved = *m;
    *m = NULL;
    ASSERT(moved->actor_count < FIGURES_STOPS_MAX);
    actor_figures(actor_self(), &moved->actors[moved->actor_count++]);
    ASSERT(moved->stop_at < moved->stop_count);
    const struct figures_stop *stop = &moved->stops[moved->stop_at++];
    moved->base.kind = stop->kind;
    struct actor *to = stop->actor;
    ACTOR_SEND(to, moved);
}
