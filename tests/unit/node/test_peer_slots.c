/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_peer_slots.c: which peer actor talks to whom as members come and go: listed nodes and seeds keep their
 * places, a name keeps its slot, places of former members and of strangers are used again, and the whole of
 * the largest cluster fits. (src/node/peer_slots.c)
 */
#include "suite.h"

#include "node/peer_slots.h"

static void config_make(struct config *c, size_t listed, size_t seeds)
{
    memset(c, 0, sizeof(*c));
    c->member_count = listed;
    for (size_t i = 0; i < listed; i++) {
        (void)snprintf(c->members[i].name, sizeof(c->members[i].name), "n%zu", i + 1);
        (void)snprintf(c->members[i].peer, sizeof(c->members[i].peer), "config%zu:1", i + 1);
    }
    (void)snprintf(c->node, sizeof(c->node), "n1");
    c->join_count = seeds;
    for (size_t i = 0; i < seeds; i++) {
        (void)snprintf(c->join[i], sizeof(c->join[i]), "seed%zu:1", i + 1);
    }
}

/* Members n<first> .. n<last>. */
static void members_make(struct configuration *c, size_t first, size_t last)
{
    memset(c, 0, sizeof(*c));
    for (size_t i = first; i <= last; i++) {
        struct member *m = &c->members[c->count++];
        m->id = i;
        (void)snprintf(m->name, sizeof(m->name), "n%zu", i);
        (void)snprintf(m->peer, sizeof(m->peer), "host%zu:1", i);
    }
}

static void check(const struct peer_slots *s)
{
    for (size_t i = 0; i < s->count; i++) {
        for (size_t k = 0; k < i && s->items[i].used && s->items[i].name[0] != '\0'; k++) {
            CU_ASSERT_FALSE(s->items[k].used && strcmp(s->items[k].name, s->items[i].name) == 0);
        }
        CU_ASSERT_FALSE(s->items[i].used && strcmp(s->items[i].name, s->own_name) == 0);
    }
}

static void listed_nodes_keep_their_places(void)
{
    struct config config;
    struct configuration c;
    struct peer_slots s;
    bool changed[PEER_SLOTS_MAX] = {false};
    config_make(&config, 3, 0);
    peer_slots_init(&s, &config, PEER_SLOTS_MAX);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n2"), 0);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n3"), 1);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n1"), SIZE_MAX);
    CU_ASSERT_EQUAL(peer_slots_find(&s, ""), SIZE_MAX);
    members_make(&c, 1, 4);
    peer_slots_update(&s, &c, changed);
    CU_ASSERT_TRUE(changed[0] && changed[1] && changed[2] && !changed[3]);
    CU_ASSERT_STRING_EQUAL(s.items[0].address, "host2:1");  /* the log's word, */
    CU_ASSERT_STRING_EQUAL(s.items[0].second, "config2:1"); /* then the file's */
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n4"), 2);
    CU_ASSERT_STRING_EQUAL(s.items[2].second, "");
    memset(changed, 0, sizeof(changed));
    peer_slots_update(&s, &c, changed);
    for (size_t i = 0; i < PEER_SLOTS_MAX; i++) {
        CU_ASSERT_FALSE(changed[i]);
    }
    members_make(&c, 1, 1); /* a former member stays where the file lists it, and goes elsewhere */
    peer_slots_update(&s, &c, changed);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n2"), 0);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n4"), SIZE_MAX);
    CU_ASSERT_TRUE(changed[2]);
    check(&s);
}

static void seeds_get_names(void)
{
    struct config config;
    struct configuration c;
    struct peer_slots s;
    bool changed[PEER_SLOTS_MAX] = {false};
    config_make(&config, 1, 2);
    peer_slots_init(&s, &config, PEER_SLOTS_MAX);
    CU_ASSERT_TRUE(s.items[0].seed && s.items[1].seed);
    CU_ASSERT_TRUE(peer_slots_name_seed(&s, 0, "n5"));
    CU_ASSERT_FALSE(peer_slots_name_seed(&s, 1, "n5")); /* both addresses lead to one node */
    CU_ASSERT_FALSE(peer_slots_name_seed(&s, 1, "n1")); /* or to ourselves */
    members_make(&c, 4, 6);
    peer_slots_update(&s, &c, changed);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n5"), 0);
    CU_ASSERT_STRING_EQUAL(s.items[0].address, "host5:1");
    CU_ASSERT_STRING_EQUAL(s.items[0].second, "seed1:1");
    check(&s);
}

/* A seed is dialled while it is wanted; one that led to a node with a slot of its own would push that slot's
 * connection out at the other end, so it rests, and its address is that slot's second. */
static void seeds_rest(void)
{
    struct config config;
    struct configuration c;
    struct peer_slots s;
    bool changed[PEER_SLOTS_MAX] = {false};
    config_make(&config, 1, 3);
    peer_slots_init(&s, &config, PEER_SLOTS_MAX);
    peer_slots_rest(&s, true, false, changed);
    CU_ASSERT_FALSE(changed[0] || changed[1] || changed[2]); /* as they were made */
    CU_ASSERT_TRUE(peer_slots_name_seed(&s, 0, "n5"));
    CU_ASSERT_EQUAL(peer_slots_rest_twin(&s, 1, "n5"), 0);
    CU_ASSERT_STRING_EQUAL(s.items[0].second, "seed2:1");
    CU_ASSERT_EQUAL(peer_slots_rest_twin(&s, 2, "n5"), 0);
    CU_ASSERT_STRING_EQUAL(s.items[0].second, "seed2:1"); /* it has one */
    CU_ASSERT_TRUE(s.items[1].resting && s.items[2].resting);
    peer_slots_rest(&s, true, false, changed);
    CU_ASSERT_TRUE(s.items[1].resting && s.items[2].resting && !s.items[0].resting);
    peer_slots_rest(&s, true, true, changed);
    CU_ASSERT_FALSE(s.items[1].resting || s.items[2].resting);
    CU_ASSERT_TRUE(changed[1] && changed[2] && !changed[0]);

    memset(changed, 0, sizeof(changed));
    peer_slots_rest(&s, false, false, changed);
    CU_ASSERT_TRUE(changed[1] && changed[2] && !changed[0]); /* what has a name is a node's */
    members_make(&c, 1, 5);
    peer_slots_update(&s, &c, changed);
    CU_ASSERT_TRUE(s.items[1].resting && !s.items[0].resting);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n5"), 0);
    CU_ASSERT_EQUAL(peer_slots_rest_twin(&s, 1, "n1"), SIZE_MAX); /* ourselves */
    check(&s);
}

static void strangers_make_room(void)
{
    struct config config;
    struct configuration c;
    struct peer_slots s;
    bool changed[PEER_SLOTS_MAX] = {false};
    char name[16];
    config_make(&config, 1, CONFIG_JOIN_MAX);
    peer_slots_init(&s, &config, PEER_SLOTS_MAX);
    CU_ASSERT_EQUAL(peer_slots_add_stranger(&s, "n1", "host:1"), SIZE_MAX);
    CU_ASSERT_EQUAL(peer_slots_add_stranger(&s, "n9", ""), SIZE_MAX);
    size_t added = 0;
    do {
        (void)snprintf(name, sizeof(name), "s%zu", added);
    } while (peer_slots_add_stranger(&s, name, "host:1") != SIZE_MAX && ++added < 1000);
    CU_ASSERT_EQUAL(added, PEER_SLOTS_MAX - CONFIG_JOIN_MAX);
    members_make(&c, 1, MEMBERS_MAX); /* the largest cluster */
    peer_slots_update(&s, &c, changed);
    for (size_t i = 2; i <= MEMBERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%zu", i);
        CU_ASSERT_NOT_EQUAL(peer_slots_find(&s, name), SIZE_MAX);
    }
    check(&s);
    /* a stranger that becomes a member keeps its slot and is none any more */
    config_make(&config, 1, 0);
    peer_slots_init(&s, &config, PEER_SLOTS_MAX);
    size_t at = peer_slots_add_stranger(&s, "n3", "host3:1");
    members_make(&c, 1, 3);
    peer_slots_update(&s, &c, changed);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n3"), at);
    CU_ASSERT_FALSE(peer_slots_drop_stranger(&s, at));
    at = peer_slots_add_stranger(&s, "n4", "host4:1");
    CU_ASSERT_TRUE(peer_slots_drop_stranger(&s, at));
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n4"), SIZE_MAX);
}

static void seeds_make(struct raft_seeds *seeds, size_t first, size_t last)
{
    memset(seeds, 0, sizeof(*seeds));
    for (size_t i = first; i <= last; i++) {
        (void)snprintf(seeds->addresses[seeds->count++], sizeof(seeds->addresses[0]), "host%zu:1",
                       i);
    }
}

static size_t slots_used(const struct peer_slots *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        count += s->items[i].used;
    }
    return count;
}

/* Targets of SRV records are seeds: they come and go with the records, unless they have become members. */
static void targets_come_and_go(void)
{
    struct config config;
    struct configuration c;
    struct peer_slots s;
    struct raft_seeds seeds;
    bool changed[PEER_SLOTS_MAX] = {false};
    config_make(&config, 1, 0);
    (void)snprintf(config.members[0].peer, sizeof(config.members[0].peer), "host1:1");
    peer_slots_init(&s, &config, PEER_SLOTS_MAX);
    seeds_make(&seeds, 1, 4); /* host1 is this node */
    peer_slots_seeds(&s, &seeds, changed);
    CU_ASSERT_EQUAL(slots_used(&s), 3);
    CU_ASSERT_TRUE(changed[0] && changed[1] && changed[2]);
    memset(changed, 0, sizeof(changed));
    peer_slots_seeds(&s, &seeds, changed); /* the same again */
    for (size_t i = 0; i < PEER_SLOTS_MAX; i++) {
        CU_ASSERT_FALSE(changed[i]);
    }
    CU_ASSERT_TRUE(peer_slots_name_seed(&s, 0, "n2"));
    CU_ASSERT_FALSE(peer_slots_drop_found(&s, 0)); /* named: it is this slot's node */
    CU_ASSERT_FALSE(peer_slots_name_seed(&s, 1, "n2"));
    CU_ASSERT_TRUE(peer_slots_drop_found(&s, 1)); /* host3 turned out to be n2 as well */
    seeds_make(&seeds, 5, 5);
    peer_slots_seeds(&s, &seeds, changed);
    CU_ASSERT_EQUAL(slots_used(&s), 2); /* n2, which has a name, and host5; host4 is gone */
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n2"), 0);
    members_make(&c, 1, 2);
    peer_slots_update(&s, &c, changed);
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n2"), 0);
    members_make(&c, 1, 1);
    peer_slots_update(&s, &c, changed); /* n2 is no member and no target any more */
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n2"), SIZE_MAX);
    CU_ASSERT_EQUAL(slots_used(&s), 1);
    check(&s);
}

/* Seeds of both kinds leave room for all members. */
static void targets_are_bounded(void)
{
    struct config config;
    struct configuration c;
    struct peer_slots s;
    struct raft_seeds seeds;
    bool changed[PEER_SLOTS_MAX] = {false};
    config_make(&config, 1, 3);
    peer_slots_init(&s, &config, PEER_SLOTS_MAX);
    seeds_make(&seeds, 101, 100 + SEEDS_MAX);
    peer_slots_seeds(&s, &seeds, changed);
    CU_ASSERT_EQUAL(slots_used(&s), CONFIG_JOIN_MAX);
    members_make(&c, 1, MEMBERS_MAX);
    peer_slots_update(&s, &c, changed);
    for (size_t i = 2; i <= MEMBERS_MAX; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "n%zu", i);
        CU_ASSERT_NOT_EQUAL(peer_slots_find(&s, name), SIZE_MAX);
    }
    check(&s);
}

/* A config file that lists as many nodes as it can, all of another time; the largest cluster, all of other nodes; and
 * every address to join by: there is a place for each. */
static void nothing_that_is_allowed_is_too_much(void)
{
    struct config config;
    struct configuration c;
    struct peer_slots s;
    bool changed[PEER_SLOTS_MAX] = {false};
    char name[16];
    config_make(&config, MEMBERS_MAX, CONFIG_JOIN_MAX);
    peer_slots_init(&s, &config, PEER_SLOTS_MAX);
    members_make(&c, 101, 100 + MEMBERS_MAX);
    peer_slots_update(&s, &c, changed);
    for (size_t i = 101; i <= 100 + MEMBERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%zu", i);
        CU_ASSERT_NOT_EQUAL(peer_slots_find(&s, name), SIZE_MAX);
    }
    CU_ASSERT_EQUAL(peer_slots_find(&s, "n2"), 0);
    check(&s);
}

SUITE("node: peer slots", TEST(nothing_that_is_allowed_is_too_much),
      TEST(listed_nodes_keep_their_places), TEST(seeds_get_names), TEST(seeds_rest),
      TEST(strangers_make_room), TEST(targets_come_and_go), TEST(targets_are_bounded))
