/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows when a node founds a cluster, joins one, or waits (trap 45: two nodes must never bootstrap
 * two clusters from one config file).
 */
#include "node/bootstrap.h"

#include "suite.h"

static void list_three(struct config *config, size_t own)
{
    memset(config, 0, sizeof(*config));
    config->member_count = 3;
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(config->members[i].name, sizeof(config->members[i].name), "n%zu", i + 1);
        (void)snprintf(config->members[i].peer, sizeof(config->members[i].peer), "h%zu:2380",
                       i + 1);
        (void)snprintf(config->members[i].client, sizeof(config->members[i].client), "h%zu:2379",
                       i + 1);
    }
    config->node_index = own;
    memcpy(config->node, config->members[own].name, sizeof(config->node));
}

static struct peer_hello hello_of(const struct config *config, size_t index, uint64_t id)
{
    struct peer_hello hello = {.member_id = id, .empty = true};
    memcpy(hello.name, config->members[index].name, sizeof(hello.name));
    hello.list_digest = bootstrap_list_digest(config);
    return hello;
}

struct fixture {
    struct config config;
    struct peer_hello own;
    struct bootstrap_peer peers[2];
};

/* Node `own` of three, and both others heard and empty. */
static struct fixture all_empty(size_t own)
{
    struct fixture f = {0};
    list_three(&f.config, own);
    f.own = hello_of(&f.config, own, 100 + own);
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        if (i != own) {
            f.peers[at].heard = true;
            f.peers[at++].hello = hello_of(&f.config, i, 100 + i);
        }
    }
    return f;
}

static struct bootstrap_decision decide(const struct fixture *f)
{
    return bootstrap_decide(&f->config, &f->own, f->peers, 2, false);
}

static void only_the_first_by_name_founds(void)
{
    struct fixture first = all_empty(0);
    struct fixture second = all_empty(1);
    struct fixture third = all_empty(2);
    CU_ASSERT_EQUAL(decide(&first).action, BOOTSTRAP_FOUND);
    CU_ASSERT_EQUAL(decide(&second).action, BOOTSTRAP_WAIT);
    CU_ASSERT_EQUAL(decide(&third).action, BOOTSTRAP_WAIT);
}

static void nobody_founds_before_all_have_answered(void)
{
    struct fixture f = all_empty(0);
    f.peers[1].heard = false;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_WAIT);
    CU_ASSERT_EQUAL(decide(&f).peer_index, 1);
    CU_ASSERT_EQUAL(decide(&f).heard_count, 1);
}

static void a_wiped_founder_joins_what_is_there(void)
{
    struct fixture f = all_empty(0);
    f.peers[0].hello.cluster_id = 77;
    f.peers[0].hello.empty = false;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_JOIN);
    CU_ASSERT_EQUAL(decide(&f).cluster_id, 77);
    f.peers[1].heard = false; /* one voice is enough to know that a cluster exists */
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_JOIN);
}

static void different_lists_found_nothing(void)
{
    struct fixture f = all_empty(0);
    f.peers[1].hello.list_digest++;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_LISTS_DIFFER);
    CU_ASSERT_EQUAL(decide(&f).peer_index, 1);
}

static void two_clusters_are_not_chosen_between(void)
{
    struct fixture f = all_empty(0);
    f.peers[0].hello.cluster_id = 77;
    f.peers[1].hello.cluster_id = 78;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_TWO_CLUSTERS);
}

static void a_node_that_is_not_empty_holds_founding_back(void)
{
    struct fixture f = all_empty(0);
    f.peers[0].hello.empty = false;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_WAIT);
}

static void digest_ignores_the_order_of_the_list(void)
{
    struct config one;
    list_three(&one, 0);
    struct config other = one;
    struct config_member swapped = other.members[0];
    other.members[0] = other.members[2];
    other.members[2] = swapped;
    CU_ASSERT_EQUAL(bootstrap_list_digest(&one), bootstrap_list_digest(&other));
    other.members[1].name[1] = 'x';
    CU_ASSERT_NOT_EQUAL(bootstrap_list_digest(&one), bootstrap_list_digest(&other));
}

static void the_configuration_binds_names_to_identities(void)
{
    struct fixture f = all_empty(1);
    struct configuration c;
    bootstrap_configuration(&f.config, &f.own, f.peers, 9, &c);
    CU_ASSERT_EQUAL(c.cluster_id, 9);
    CU_ASSERT_EQUAL(c.count, 3);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(c.members[i].id, 100 + i);
        CU_ASSERT_STRING_EQUAL(c.members[i].name, f.config.members[i].name);
        CU_ASSERT_TRUE(c.members[i].voter_incoming && c.members[i].voter_outgoing);
    }
}

static void a_single_member_founds_alone(void)
{
    struct config config;
    list_three(&config, 0);
    config.member_count = 1;
    struct peer_hello own = hello_of(&config, 0, 5);
    CU_ASSERT_EQUAL(bootstrap_decide(&config, &own, NULL, 0, false).action, BOOTSTRAP_FOUND);
}

/* Trap 45: bootstrap = true founds alone, and only if nobody knows of a cluster. */
static void one_founds_alone(void)
{
    struct fixture f = all_empty(1);
    f.config.bootstrap = f.own.bootstrap = true;
    f.peers[0].hello.list_digest = 77; /* others need not list the same */
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_FOUND);
    struct configuration c;
    bootstrap_configuration(&f.config, &f.own, f.peers, 9, &c);
    CU_ASSERT_EQUAL(c.count, 1);
    CU_ASSERT_EQUAL(c.members[0].id, 101);
    CU_ASSERT_STRING_EQUAL(c.members[0].name, f.config.members[1].name);

    f.peers[1].heard = false; /* somebody listed has not answered: he may know better */
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_WAIT);
    f.peers[1].heard = true;
    f.peers[1].hello.cluster_id = 5; /* this node was wiped */
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_JOIN);
    f.peers[1].hello.cluster_id = 0;
    f.peers[1].hello.bootstrap = true;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_TWO_FOUNDERS);
    CU_ASSERT_EQUAL(decide(&f).peer_index, 1);
}

/* The others of the list leave it to him, even the first by name. */
static void nobody_founds_beside_a_founder(void)
{
    struct fixture f = all_empty(0);
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_FOUND);
    f.peers[1].hello.bootstrap = true;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_WAIT);
    f.peers[1].hello.cluster_id = 5;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_JOIN);
}

/* Listed alone it waits until every member of a cluster would have called; strangers count. */
static void a_lone_founder_listens_first(void)
{
    struct config config;
    struct bootstrap_peer strangers[2] = {{.heard = false}, {.heard = true}};
    list_three(&config, 0);
    config.member_count = 1;
    config.bootstrap = true;
    struct peer_hello own = hello_of(&config, 0, 5);
    strangers[1].hello.member_id = 8;
    CU_ASSERT_EQUAL(bootstrap_decide(&config, &own, strangers, 2, false).action, BOOTSTRAP_WAIT);
    CU_ASSERT_EQUAL(bootstrap_decide(&config, &own, strangers, 2, true).action, BOOTSTRAP_FOUND);
    strangers[1].hello.cluster_id = 44;
    struct bootstrap_decision d = bootstrap_decide(&config, &own, strangers, 2, true);
    CU_ASSERT_EQUAL(d.action, BOOTSTRAP_JOIN);
    CU_ASSERT_EQUAL(d.cluster_id, 44);
}

static void a_joiner_never_founds(void)
{
    struct fixture f = all_empty(0);
    f.config.join_count = 1;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_WAIT);
    f.peers[0].hello.cluster_id = 3;
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_JOIN);
    f = all_empty(0);
    strcpy(f.config.discovery_srv, "_holdfast._tcp.example.org");
    CU_ASSERT_EQUAL(decide(&f).action, BOOTSTRAP_WAIT);
}

SUITE("bootstrap", TEST(only_the_first_by_name_founds),
      TEST(nobody_founds_before_all_have_answered), TEST(a_wiped_founder_joins_what_is_there),
      TEST(different_lists_found_nothing), TEST(two_clusters_are_not_chosen_between),
      TEST(a_node_that_is_not_empty_holds_founding_back),
      TEST(digest_ignores_the_order_of_the_list), TEST(the_configuration_binds_names_to_identities),
      TEST(a_single_member_founds_alone), TEST(one_founds_alone),
      TEST(nobody_founds_beside_a_founder), TEST(a_lone_founder_listens_first),
      TEST(a_joiner_never_founds))
