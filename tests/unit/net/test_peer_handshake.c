/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_peer_handshake.c: shows who is let in and who is not, that each refusal has its own code, and
 * that its sentence names both nodes and says what to do. Traps 42 (a wiped disk is a new member) and
 * 45 (two clusters from one config), design §3 and §4 (boot numbers). (src/net/peer_handshake.h)
 */
#include "net/peer_handshake.h"
#include "suite.h"

static struct peer_hello own, n2;
static struct configuration configuration;
static const char listed[2][MEMBER_NAME_MAX + 1] = {"n2", "n3"};
static struct peer_door door;
static struct peer_greeting greeting;
static struct peer_refusal why;

/* n1 judges a greeting of n2 in which nothing is wrong; each test breaks one thing. */
static void set_up(void)
{
    own = (struct peer_hello){.cluster = "prod", .name = "n1", .member_id = 11, .cluster_id = 5};
    n2 = (struct peer_hello){.cluster = "prod", .name = "n2", .member_id = 22, .cluster_id = 5};
    configuration = (struct configuration){.cluster_id = 5, .count = 2};
    configuration.members[0].id = 11;
    strcpy(configuration.members[0].name, "n1");
    configuration.members[1].id = 22;
    strcpy(configuration.members[1].name, "n2");
    configuration.members[0].voter_incoming = configuration.members[0].voter_outgoing = true;
    configuration.members[1].voter_incoming = configuration.members[1].voter_outgoing = true;
    door = (struct peer_door){.own = &own,
                              .configuration = &configuration,
                              .version_least = 1,
                              .version_most = 2,
                              .name_count = 2,
                              .names = listed};
    greeting =
        (struct peer_greeting){.version_least = 1, .version_most = 1, .hello = n2, .target = "n1"};
    memset(&why, 0, sizeof(why));
}

static enum err check(uint16_t *version)
{
    uint16_t unused = 0;
    return peer_handshake_check(&door, &greeting, version != NULL ? version : &unused, &why);
}

static void assert_refused(enum err error, const char *part)
{
    CU_ASSERT_EQUAL(check(NULL), error);
    CU_ASSERT_EQUAL(why.error, error);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.sentence, part));
    CU_ASSERT_PTR_NOT_NULL(strchr(why.sentence, ';')); /* what is wrong; what to do */
    CU_ASSERT_PTR_NULL(strchr(why.sentence, '"'));     /* fits a quoted value */
    CU_ASSERT(strlen(why.sentence) < PEER_SENTENCE_MAX);
}

static void welcome(void)
{
    set_up();
    CU_ASSERT_EQUAL(check(NULL), OK);
    door.expected = "n2"; /* the dialler's side */
    CU_ASSERT_EQUAL(check(NULL), OK);
}

static void highest_common_version(void)
{
    uint16_t version = 0;
    set_up();
    greeting.version_least = 1;
    greeting.version_most = 9;
    CU_ASSERT_EQUAL(check(&version), OK);
    CU_ASSERT_EQUAL(version, 2);
    greeting.version_most = 1;
    CU_ASSERT_EQUAL(check(&version), OK);
    CU_ASSERT_EQUAL(version, 1);
}

static void no_common_version(void)
{
    set_up();
    greeting.version_least = 3;
    greeting.version_most = 4;
    assert_refused(ERR_VERSION,
                   "node 'n2' speaks peer protocol versions 3 to 4, node 'n1' speaks 1 to 2; "
                   "upgrade");
    set_up();
    door.version_least = 2;
    assert_refused(ERR_VERSION, "versions 1 to 1");
}

static void other_cluster_name(void)
{
    set_up();
    strcpy(greeting.hello.cluster, "test");
    assert_refused(ERR_CLUSTER_MISMATCH, "configured for cluster 'test', node 'n1' for cluster "
                                         "'prod'; correct 'cluster'");
}

/* Both empty nodes and nodes of a cluster talk; two different clusters do not (trap 45). */
static void other_cluster_id(void)
{
    set_up();
    greeting.hello.cluster_id = 6;
    assert_refused(ERR_CLUSTER_MISMATCH, "belongs to another cluster");
    greeting.hello.cluster_id = 0;
    CU_ASSERT_EQUAL(check(NULL), OK);
    greeting.hello.cluster_id = 6;
    own.cluster_id = 0;
    CU_ASSERT_EQUAL(check(NULL), OK);
}

static void wrong_target(void)
{
    set_up();
    strcpy(greeting.target, "n3");
    assert_refused(ERR_ADDRESS, "node 'n2' dialled 'n3' but reached 'n1'; correct the address of "
                                "'n3' in the members list of 'n2'");
}

/* The dialler's side of the same mistake. */
static void wrong_answerer(void)
{
    set_up();
    door.expected = "n3";
    assert_refused(ERR_ADDRESS, "node 'n1' dialled 'n3' but reached 'n2'; correct the address of "
                                "'n3' in the members list of 'n1'");
}

static void unknown_name(void)
{
    set_up();
    strcpy(greeting.hello.name, "n9");
    assert_refused(ERR_UNKNOWN_MEMBER, "node 'n9' is not in the members list of node 'n1'; add it");
}

/* A node that dials an address to join by reaches one that has no cluster yet, as at every first start with a bootstrapped
 * leader: nobody's mistake. One that believes to be in a list, and is not, is. */
static void joins_before_the_founding(void)
{
    set_up();
    strcpy(greeting.hello.name, "n9");
    own.cluster_id = greeting.hello.cluster_id = 0;
    greeting.target[0] = '\0';
    assert_refused(ERR_NOT_FOUNDED,
                   "node 'n9' wants to join the cluster of node 'n1', which is not "
                   "founded yet");
    struct peer_refusal told = {.error = ERR_NOT_FOUNDED};
    CU_ASSERT_EQUAL(peer_refusal_level(&told), LOG_DEBUG);
    strcpy(greeting.target, "n1");
    assert_refused(ERR_UNKNOWN_MEMBER, "node 'n9' is not in the members list of node 'n1'; add it");
    told.error = ERR_UNKNOWN_MEMBER;
    CU_ASSERT_EQUAL(peer_refusal_level(&told), LOG_WARNING);
    greeting.target[0] = '\0';
    own.cluster_id = 5; /* founded, but strangers do not come in by this door */
    assert_refused(ERR_UNKNOWN_MEMBER, "node 'n9' is not in the members list of node 'n1'; add it");
}

static void own_name_twice(void)
{
    set_up();
    strcpy(greeting.hello.name, "n1");
    assert_refused(ERR_UNKNOWN_MEMBER, "two nodes call themselves 'n1'; give each");
}

/* Trap 42: a known name with another incarnation is refused, empty or not. */
static void other_incarnation(void)
{
    set_up();
    greeting.hello.member_id = 23;
    greeting.hello.empty = true;
    greeting.hello.cluster_id = 0;
    assert_refused(ERR_IDENTITY,
                   "node 'n2' is an empty node whose name is bound to another incarnation");
    greeting.hello.empty = false;
    assert_refused(ERR_IDENTITY, "the name of node 'n2' is bound to another incarnation");
    configuration.count = 0; /* nothing is known yet: bootstrap */
    CU_ASSERT_EQUAL(check(NULL), OK);
}

/* A standby's disk was wiped: the empty node may come, and the leader will take it in its place. */
static void a_standby_may_come_anew(void)
{
    set_up();
    greeting.hello.member_id = 23;
    greeting.hello.empty = true;
    greeting.hello.cluster_id = 0;
    configuration.members[1].voter_incoming = configuration.members[1].voter_outgoing = false;
    CU_ASSERT_EQUAL(check(NULL), OK);
    configuration.members[1].voter_outgoing = true; /* it still votes in one half */
    assert_refused(ERR_IDENTITY, "bound to another incarnation");
    configuration.members[1].voter_outgoing = false;
    greeting.hello.empty = false; /* it brings a log of its own */
    assert_refused(ERR_IDENTITY, "bound to another incarnation");
}

/* Its name's former bearer was replaced while we were away: it has the log that will tell us so. */
static void who_took_a_place_meanwhile_may_come(void)
{
    set_up();
    greeting.hello.member_id = 23;
    CU_ASSERT_EQUAL(check(NULL), OK);
    greeting.hello.empty = true; /* it knows our cluster and was not taken in yet */
    assert_refused(ERR_IDENTITY, "bound to another incarnation");
    greeting.hello.empty = false;
    configuration.removed_count = 1; /* it is the former one */
    configuration.removed[0] = 23;
    assert_refused(ERR_UNKNOWN_MEMBER, "was removed from the cluster");
}

/* Trap 42: ids are never reused. */
static void removed_members_stay_out(void)
{
    set_up();
    configuration.count = 1;
    configuration.removed_count = 1;
    configuration.removed[0] = greeting.hello.member_id;
    assert_refused(ERR_UNKNOWN_MEMBER, "was removed from the cluster; empty its data");
}

/* An unlisted name may come in if one of both is to join the other, and not else. */
static void strangers_join(void)
{
    const struct {
        uint64_t own, other;
        enum err error;
    } cases[] = {{9, 0, OK},
                 {0, 9, OK},
                 {9, 9, OK},
                 {0, 0, ERR_UNKNOWN_MEMBER},
                 {9, 8, ERR_CLUSTER_MISMATCH}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        set_up();
        door.strangers = true;
        strcpy(greeting.hello.name, "n9");
        greeting.hello.member_id = 99;
        own.cluster_id = cases[i].own;
        greeting.hello.cluster_id = cases[i].other;
        CU_ASSERT_EQUAL(check(NULL), cases[i].error);
    }
    set_up();
    greeting.target[0] = '\0'; /* it dialled an address to join by */
    CU_ASSERT_EQUAL(check(NULL), OK);
    door.expected = "";
    CU_ASSERT_EQUAL(check(NULL), OK);
}

/* The longest names and numbers are cut, never overrun. */
static void sentence_is_bounded(void)
{
    set_up();
    memset(own.name, 'a', MEMBER_NAME_MAX);
    memset(greeting.hello.name, 'b', MEMBER_NAME_MAX);
    memset(greeting.target, 'c', MEMBER_NAME_MAX);
    CU_ASSERT_EQUAL(check(NULL), ERR_ADDRESS);
    CU_ASSERT(strlen(why.sentence) <= PEER_SENTENCE_MAX);
}

/* ---- what is known of a peer -------------------------------------------------------------------- */

static struct peer_hello known;
static bool news;

static enum err note(uint64_t member_id, uint64_t boot_number, uint64_t boot_id)
{
    n2.member_id = member_id;
    n2.boot_number = boot_number;
    n2.boot_id = boot_id;
    return peer_handshake_note(&known, &n2, &news, &why);
}

static void newer_boot_is_news(void)
{
    set_up();
    memset(&known, 0, sizeof(known));
    CU_ASSERT_EQUAL(note(22, 5, 500), OK);
    CU_ASSERT_TRUE(news);
    CU_ASSERT_EQUAL(note(22, 5, 500), OK);
    CU_ASSERT_FALSE(news);
    CU_ASSERT_EQUAL(note(22, 6, 600), OK);
    CU_ASSERT_TRUE(news);
    CU_ASSERT_EQUAL(known.boot_id, 600);
}

/* Design §4: messages of an older start are dropped; its connection is not even taken. */
static void older_boot_is_refused(void)
{
    set_up();
    memset(&known, 0, sizeof(known));
    CU_ASSERT_EQUAL(note(22, 6, 600), OK);
    CU_ASSERT_EQUAL(note(22, 5, 500), ERR_IDENTITY);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.sentence, "boot number 5 after boot 6 was seen;"));
    CU_ASSERT_EQUAL(known.boot_number, 6);
    CU_ASSERT_EQUAL(note(23, 1, 100), OK); /* another incarnation counts from 1 */
}

static void copied_data_directory_is_refused(void)
{
    set_up();
    memset(&known, 0, sizeof(known));
    CU_ASSERT_EQUAL(note(22, 6, 600), OK);
    CU_ASSERT_EQUAL(note(22, 6, 601), ERR_IDENTITY);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.sentence, "runs twice"));
    CU_ASSERT_EQUAL(known.boot_id, 600);
}

/* The two directions may overtake each other: what an older answer says takes nothing back. */
static void knowledge_only_grows(void)
{
    set_up();
    memset(&known, 0, sizeof(known));
    n2.empty = true;
    n2.cluster_id = 0;
    CU_ASSERT_EQUAL(note(22, 6, 600), OK);
    CU_ASSERT_TRUE(known.empty);
    n2.empty = false;
    n2.cluster_id = 5;
    CU_ASSERT_EQUAL(note(22, 6, 600), OK);
    CU_ASSERT_TRUE(news);
    n2.empty = true;
    n2.cluster_id = 0;
    CU_ASSERT_EQUAL(note(22, 6, 600), OK);
    CU_ASSERT_FALSE(news);
    CU_ASSERT_FALSE(known.empty);
    CU_ASSERT_EQUAL(known.cluster_id, 5);
    CU_ASSERT_EQUAL(note(22, 7, 700), OK); /* but a new start may be empty again: say it */
    CU_ASSERT_TRUE(known.empty);
}

SUITE("peer handshake", TEST(welcome), TEST(highest_common_version), TEST(no_common_version),
      TEST(other_cluster_name), TEST(other_cluster_id), TEST(wrong_target), TEST(wrong_answerer),
      TEST(unknown_name), TEST(joins_before_the_founding), TEST(own_name_twice),
      TEST(other_incarnation), TEST(who_took_a_place_meanwhile_may_come), TEST(sentence_is_bounded),
      TEST(a_standby_may_come_anew), TEST(removed_members_stay_out), TEST(strangers_join),
      TEST(newer_boot_is_news), TEST(older_boot_is_refused), TEST(copied_data_directory_is_refused),
      TEST(knowledge_only_grows))
