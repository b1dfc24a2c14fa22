/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_figures.c: the way of a question for figures: through every actor once and back to who asked, and through
 * the peer actors of nodes that joined at run time as well. (src/node/figures.c, src/node/raft_peers.c)
 */
#include "hand_runner.h"
#include "node/node.h"
#include "node/raft_peers.h"

#define SLOTS 4

static struct actor *taken_by(struct actor *const *all, size_t count, uint32_t kind,
                              struct figures **out)
{
    for (size_t i = 0; i < count; i++) {
        struct msg *m = hand_find(all[i], kind);
        if (m != NULL) {
            *out = (struct figures *)m;
            return all[i];
        }
    }
    return NULL;
}

/* n1 of a list of two; n3 was added while it runs. */
static void peers_that_joined_are_asked(void)
{
    struct config *config = mem_zalloc(sizeof(*config));
    struct configuration *configuration = mem_zalloc(sizeof(*configuration));
    struct raft_peers *peers = mem_zalloc(sizeof(*peers));
    struct node_actors actors = {.peer_count = 1, .peer_slot_count = SLOTS, .client_count = 2};
    struct peer_hello own = {.name = "n1", .cluster_id = 9, .member_id = 1};
    actors.raft = hand_receiver();
    actors.log = hand_receiver();
    actors.apply = hand_receiver();
    actors.flush = hand_receiver();
    actors.watch = hand_receiver();
    for (size_t i = 0; i < SLOTS; i++) {
        actors.peers[i] = hand_receiver();
    }
    for (size_t i = 0; i < actors.client_count; i++) {
        actors.clients[i] = hand_receiver();
    }
    config->member_count = 2;
    configuration->count = 3;
    for (size_t i = 0; i < 3; i++) {
        struct member *m = &configuration->members[i];
        m->id = i + 1;
        (void)snprintf(m->name, sizeof(m->name), "n%zu", i + 1);
        (void)snprintf(m->peer, sizeof(m->peer), "h%zu:1", i + 1);
        if (i < 2) {
            memcpy(config->members[i].name, m->name, sizeof(m->name));
            memcpy(config->members[i].peer, m->peer, sizeof(m->peer));
        }
    }
    memcpy(config->node, "n1", 3);
    raft_peers_init(peers, config, &own, configuration, &actors);
    raft_peers_identity(peers, &own, configuration);
    CU_ASSERT_TRUE_FATAL(peers->running[1]);

    struct figures *m = figures_create(&actors, actors.clients[0], CLIENT_FIGURES, 5);
    figures_pass_on(&m);
    m = (struct figures *)hand_find(actors.raft, RAFT_FIGURES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    raft_peers_figures(peers, m); /* as the raft actor does */
    figures_pass_on(&m);
    size_t asked[SLOTS] = {0};
    struct actor *by = NULL;
    while ((by = taken_by(actors.peers, SLOTS, PEER_FIGURES, &m)) != NULL) {
        for (size_t i = 0; i < SLOTS; i++) {
            asked[i] += by == actors.peers[i];
        }
        figures_pass_on(&m);
    }
    CU_ASSERT_EQUAL(asked[0], 1);
    CU_ASSERT_EQUAL(asked[1], 1);
    CU_ASSERT_EQUAL(asked[2], 0); /* nobody is there; its actor does not run */
    struct actor *const others[] = {actors.log, actors.apply, actors.flush, actors.watch,
                                    actors.clients[1]};
    const uint32_t kinds[] = {LOG_FIGURES, APPLY_FIGURES, FLUSH_FIGURES, WATCH_FIGURES,
                              CLIENT_FIGURES};
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        CU_ASSERT_PTR_EQUAL(taken_by(&others[i], 1, kinds[i], &m), others[i]);
        figures_pass_on(&m);
    }
    CU_ASSERT_PTR_EQUAL(taken_by(actors.clients, 1, CLIENT_FIGURES, &m), actors.clients[0]);
    CU_ASSERT_EQUAL(m->request_id, 5);
    CU_ASSERT_EQUAL(m->stop_at, m->stop_count);
    MSG_FREE(m);

    actor_destroy(actors.raft);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        actor_destroy(others[i]);
    }
    actor_destroy(actors.clients[0]);
    for (size_t i = 0; i < SLOTS; i++) {
        actor_destroy(actors.peers[i]);
    }
    mem_free(peers);
    mem_free(configuration);
    mem_free(config);
}

SUITE("node: figures", TEST(peers_that_joined_are_asked))
