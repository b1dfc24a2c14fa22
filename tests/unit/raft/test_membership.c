/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_membership.c: quorums of old and new voters, the encoding of a configuration, the stack that rolls back
 * with the log (trap 38), and the first start of a cluster. Raft §6, Thesis §4.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

/* Members 1..count; bit i of the masks says whether member i + 1 votes. */
static struct configuration make(size_t count, unsigned incoming, unsigned outgoing)
{
    struct configuration c = {.cluster_id = 9, .count = count};
    for (size_t i = 0; i < count; i++) {
        struct member *m = &c.members[i];
        m->id = i + 1;
        (void)snprintf(m->name, sizeof(m->name), "n%zu", i + 1);
        (void)snprintf(m->peer, sizeof(m->peer), "h%zu:1", i + 1);
        (void)snprintf(m->client, sizeof(m->client), "h%zu:2", i + 1);
        m->voter_incoming = (incoming >> i & 1) != 0;
        m->voter_outgoing = (outgoing >> i & 1) != 0;
    }
    return c;
}

static bool in_mask(void *context, uint64_t id)
{
    const unsigned *mask = context;
    return (*mask >> (id - 1) & 1) != 0;
}

static unsigned bits(unsigned mask)
{
    unsigned count = 0;
    for (; mask != 0; mask &= mask - 1) {
        count++;
    }
    return count;
}

/* For every pair of voter sets over five members and every set of those who agree: a quorum is a majority of
 * both, and any two quorums of the same configuration share a member. */
static void quorums_are_majorities_of_both_halves(void)
{
    for (unsigned incoming = 0; incoming < 32; incoming++) {
        for (unsigned outgoing = 0; outgoing < 32; outgoing++) {
            struct configuration c = make(5, incoming, outgoing);
            unsigned smallest = 0; /* members in every quorum seen so far: two must overlap */
            for (unsigned yes = 0; yes < 32; yes++) {
                bool expected = bits(yes & incoming) * 2 > bits(incoming) &&
                                bits(yes & outgoing) * 2 > bits(outgoing);
                bool got = configuration_has_quorum(&c, in_mask, &yes);
                if (expected != got) {
                    CU_FAIL("quorum is wrong");
                }
                unsigned others = ~yes & 31;
                if (got && configuration_has_quorum(&c, in_mask, &others)) {
                    CU_FAIL("two quorums without a common member");
                }
                smallest |= got ? yes : 0;
            }
            if ((incoming == 0 || outgoing == 0) != (smallest == 0)) {
                CU_FAIL("a configuration without voters has no quorum, others have");
            }
        }
    }
}

static uint64_t from_values(void *context, uint64_t id)
{
    const uint64_t *values = context;
    return values[id - 1];
}

struct at_least {
    const uint64_t *values;
    uint64_t least;
};

static bool has_at_least(void *context, uint64_t id)
{
    const struct at_least *a = context;
    return a->values[id - 1] >= a->least;
}

/* The quorum value is the greatest v that a quorum has: checked against has_quorum. */
static void the_quorum_value_is_the_greatest_a_quorum_has(void)
{
    uint64_t random = 4;
    for (int i = 0; i < 5000; i++) {
        uint64_t values[7];
        for (size_t k = 0; k < 7; k++) {
            values[k] = random_below(&random, 6);
        }
        struct configuration c =
            make(7, (unsigned)random_below(&random, 128), (unsigned)random_below(&random, 128));
        uint64_t expected = 0;
        for (uint64_t v = 0; v < 6; v++) {
            struct at_least a = {.values = values, .least = v};
            expected = configuration_has_quorum(&c, has_at_least, &a) ? v : expected;
        }
        if (configuration_quorum_value(&c, from_values, values) != expected) {
            CU_FAIL("quorum value is wrong");
        }
    }
}

static void members_are_found_by_id_and_name(void)
{
    struct configuration c = make(3, 3, 1);
    CU_ASSERT_EQUAL(configuration_find(&c, 2), 1);
    CU_ASSERT_EQUAL(configuration_find(&c, 4), -1);
    CU_ASSERT_EQUAL(configuration_find_name(&c, "n3"), 2);
    CU_ASSERT_EQUAL(configuration_find_name(&c, "n"), -1);
    CU_ASSERT_TRUE(configuration_is_voter(&c, 1));
    CU_ASSERT_TRUE(configuration_is_voter(&c, 2));
    CU_ASSERT_FALSE(configuration_is_voter(&c, 3));
    CU_ASSERT_FALSE(configuration_is_voter(&c, 4));
}

static void a_configuration_travels_whole(void)
{
    struct configuration c = make(MEMBERS_MAX, 0x5555, 0x3333);
    memset(c.members[2].name, 'n', MEMBER_NAME_MAX);
    memset(c.members[3].peer, 'p', MEMBER_ADDRESS_MAX);
    c.members[4].client[0] = 0;
    c.members[1].voter_incoming = false;
    c.members[1].voter_outgoing = true;
    c.members[1].leaving = true;
    c.removed[0] = 100;
    c.removed[1] = UINT64_MAX;
    c.removed_count = 2;
    struct buffer wire = {0};
    configuration_encode(&c, &wire);
    struct configuration got;
    CU_ASSERT_EQUAL_FATAL(configuration_decode(view_of(wire.data, wire.size), &got), OK);
    CU_ASSERT_EQUAL(got.cluster_id, 9);
    CU_ASSERT_EQUAL_FATAL(got.count, MEMBERS_MAX);
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        CU_ASSERT_EQUAL(got.members[i].id, c.members[i].id);
        CU_ASSERT_STRING_EQUAL(got.members[i].name, c.members[i].name);
        CU_ASSERT_STRING_EQUAL(got.members[i].peer, c.members[i].peer);
        CU_ASSERT_STRING_EQUAL(got.members[i].client, c.members[i].client);
        CU_ASSERT_EQUAL(got.members[i].voter_incoming, c.members[i].voter_incoming);
        CU_ASSERT_EQUAL(got.members[i].voter_outgoing, c.members[i].voter_outgoing);
        CU_ASSERT_EQUAL(got.members[i].leaving, c.members[i].leaving);
    }
    CU_ASSERT_EQUAL(got.removed_count, 2);
    CU_ASSERT_TRUE(configuration_was_removed(&got, 100));
    CU_ASSERT_TRUE(configuration_was_removed(&got, UINT64_MAX));
    CU_ASSERT_FALSE(configuration_was_removed(&got, 1));
    for (size_t size = 0; size < wire.size; size++) {
        uint8_t *cut = mem_dup(wire.data, size);
        CU_ASSERT_NOT_EQUAL(configuration_decode(view_of(cut, size), &got), OK);
        mem_free(cut);
    }
    buffer_u8(&wire, 0);
    CU_ASSERT_EQUAL(configuration_decode(view_of(wire.data, wire.size), &got), ERR_MALFORMED);
    CU_ASSERT_EQUAL(got.count, MEMBERS_MAX); /* untouched */
    buffer_free(&wire);
}

static enum err decode_changed(void (*change)(struct configuration *c), size_t at, int value)
{
    struct configuration c = make(2, 3, 3);
    if (change != NULL) {
        change(&c);
    }
    struct buffer wire = {0};
    configuration_encode(&c, &wire);
    if (value >= 0) {
        wire.data[at] = (uint8_t)value;
    }
    struct configuration got;
    enum err error = configuration_decode(view_of(wire.data, wire.size), &got);
    buffer_free(&wire);
    return error;
}

static void without_id(struct configuration *c)
{
    c->members[1].id = 0;
}

static void without_name(struct configuration *c)
{
    c->members[1].name[0] = 0;
}

static void same_id(struct configuration *c)
{
    c->members[1].id = c->members[0].id;
}

static void same_name(struct configuration *c)
{
    memcpy(c->members[1].name, c->members[0].name, sizeof(c->members[1].name));
}

/* Who leaves does not vote in the new half, and votes in the old one. */
static void leaving_voter(struct configuration *c)
{
    c->members[1].leaving = true;
}

static void leaving_learner(struct configuration *c)
{
    c->members[1].leaving = true;
    c->members[1].voter_incoming = false;
    c->members[1].voter_outgoing = false;
}

static void leaving_namesakes(struct configuration *c)
{
    for (size_t i = 0; i < 2; i++) {
        c->members[i].leaving = true;
        c->members[i].voter_incoming = false;
    }
    same_name(c);
}

static void replaced(struct configuration *c)
{
    c->members[1].leaving = true;
    c->members[1].voter_incoming = false;
    same_name(c);
}

static void removed_and_not(struct configuration *c)
{
    c->removed[c->removed_count++] = c->members[0].id;
}

static void removed_nobody(struct configuration *c)
{
    c->removed[c->removed_count++] = 0;
}

/* Room behind the name, so that a name said to be too long is there. */
static void long_peer(struct configuration *c)
{
    memset(c->members[0].peer, 'p', MEMBER_ADDRESS_MAX);
}

static void wish_of_too_many(struct configuration *c)
{
    c->wish.voters = MEMBERS_MAX + 1;
}

static void declared_member(struct configuration *c)
{
    c->declared[c->declared_count++] =
        (struct declared_member){.id = c->members[0].id, .peer = "h:1"};
}

static void declared_without_address(struct configuration *c)
{
    c->declared[c->declared_count++] = (struct declared_member){.id = 77};
}

/* The wish and those who are to come travel with the members. */
static void the_wish_is_kept(void)
{
    struct configuration c = make(3, 7, 7);
    struct configuration back;
    struct buffer data = {0};
    c.wish = (struct cluster_wish){.voters = 5, .heal_after_s = 90, .paused = true};
    c.members[1].added_as = 99;
    c.declared[c.declared_count++] =
        (struct declared_member){.id = 77, .peer = "h7:1", .learner = true};
    configuration_encode(&c, &data);
    CU_ASSERT_EQUAL_FATAL(configuration_decode(view_of(data.data, data.size), &back), OK);
    CU_ASSERT_EQUAL(back.wish.voters, 5);
    CU_ASSERT_EQUAL(back.wish.heal_after_s, 90);
    CU_ASSERT_TRUE(back.wish.paused);
    CU_ASSERT_EQUAL(back.members[0].added_as, 0);
    CU_ASSERT_EQUAL(back.members[1].added_as, 99);
    CU_ASSERT_EQUAL(configuration_find_declared(&back, 77), 0);
    CU_ASSERT_EQUAL(configuration_find_declared(&back, 78), -1);
    CU_ASSERT_TRUE(back.declared[0].learner);
    CU_ASSERT_STRING_EQUAL(back.declared[0].peer, "h7:1");
    buffer_free(&data);
}

/* Format 1 had no wish: as many voters as there were. */
static void format_1_wishes_what_it_has(void)
{
    static const uint8_t old[] = {
        1, 0, 0, 0, 0, 0, 0, 0, 9, 1, /* format, cluster, count */
        0, 0, 0, 0, 0, 0, 0, 7, 3, 0, 0, 0, 1, 'n', 0, 0, 0, 0, 0, 0, 0, 0, /* a voter */
        0,                                                                  /* nobody removed */
    };
    struct buffer now = {0};
    struct configuration c = make(1, 1, 1);
    configuration_encode(&c, &now); /* tells how numbers lie */
    bool little = now.data[1] != 0;
    buffer_free(&now);
    uint8_t octets[sizeof(old)];
    memcpy(octets, old, sizeof(old));
    if (little) {
        const size_t words[][2] = {{1, 8}, {10, 8}, {19, 4}, {24, 4}, {28, 4}};
        for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
            for (size_t k = 0; k < words[i][1]; k++) {
                octets[words[i][0] + k] = old[words[i][0] + words[i][1] - 1 - k];
            }
        }
    }
    CU_ASSERT_EQUAL_FATAL(configuration_decode(view_of(octets, sizeof(octets)), &c), OK);
    CU_ASSERT_EQUAL(c.count, 1);
    CU_ASSERT_EQUAL(c.members[0].id, 7);
    CU_ASSERT_EQUAL(c.wish.voters, 1);
    CU_ASSERT_EQUAL(c.wish.heal_after_s, WISH_HEAL_AFTER_S);
    CU_ASSERT_FALSE(c.wish.paused);
}

static void malformed_configurations_are_refused(void)
{
    CU_ASSERT_EQUAL(decode_changed(wish_of_too_many, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(declared_member, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(declared_without_address, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(NULL, 0, -1), OK);
    CU_ASSERT_EQUAL(decode_changed(NULL, 0, CONFIGURATION_FORMAT + 1), ERR_NEWER_FORMAT);
    CU_ASSERT_EQUAL(decode_changed(NULL, 0, 0), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(NULL, 9, MEMBERS_MAX + 1), ERR_MALFORMED); /* count */
    CU_ASSERT_EQUAL(decode_changed(NULL, 18, 8), ERR_MALFORMED);              /* flags */
    CU_ASSERT_EQUAL(decode_changed(long_peer, 19, 64), ERR_MALFORMED);        /* name too long */
    CU_ASSERT_EQUAL(decode_changed(NULL, 24, 0), ERR_MALFORMED); /* a zero octet in a name */
    CU_ASSERT_EQUAL(decode_changed(without_id, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(without_name, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(same_id, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(same_name, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(leaving_voter, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(leaving_learner, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(leaving_namesakes, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(replaced, 0, -1), OK);
    CU_ASSERT_EQUAL(decode_changed(removed_and_not, 0, -1), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(removed_nobody, 0, -1), ERR_MALFORMED);
}

/* ---- in the log ------------------------------------------------------------------------------------------- */

static struct raft_message append_of(uint64_t from, uint64_t term, uint64_t prev,
                                     uint64_t prev_term, uint64_t commit,
                                     const struct configuration *configuration)
{
    struct buffer data = {0};
    struct entry e = {.index = prev + 1, .term = term, .type = ENTRY_COMMAND};
    if (configuration != NULL) {
        configuration_encode(configuration, &data);
        e.type = ENTRY_CONFIG;
        e.data = view_of(data.data, data.size);
    }
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES,
                             .from = from,
                             .to = 1,
                             .term = term,
                             .prev_log_index = prev,
                             .prev_log_term = prev_term,
                             .leader_commit = commit,
                             .entries = entries_create(1, data.size)};
    entries_add(m.entries, &e);
    buffer_free(&data);
    return m;
}

static size_t members(struct cluster *c)
{
    return raft_configuration(cluster_node(c, 1)->raft)->count;
}

/* Trap 38: in force from append on; back to the one before when the entry is cut; settled when committed. */
static void configurations_roll_back_with_the_log(void)
{
    struct cluster *c = cluster_create(5, 1);
    c->network_held = true;
    c->blank = true;
    cluster_start(c, 1);
    struct configuration three = make(3, 7, 7);
    struct configuration four = make(4, 15, 15);
    struct configuration five = make(5, 31, 31);
    struct raft_message m = append_of(2, 1, 0, 0, 0, &three);
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(members(c), 3);
    CU_ASSERT_TRUE(election_may_campaign(cluster_node(c, 1)->raft));
    m = append_of(2, 1, 1, 1, 1, &four);
    cluster_receive(c, &m);
    m = append_of(2, 1, 2, 1, 1, &five);
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(members(c), 5);
    CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_index, 3);
    /* a new leader overwrites both */
    m = append_of(3, 2, 1, 1, 1, NULL);
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(members(c), 3);
    CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_index, 1);
    m = append_of(3, 2, 2, 2, 3, &five);
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(members(c), 5);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->raft->configuration_count, 1); /* committed: no way back */
    cluster_destroy(&c);
}

/* Trap 38 at the very first entry: cut, the node is blank again and does not campaign. Also when the entry was
 * on disk already at the start. */
static void a_node_can_become_blank_again(void)
{
    for (int restart = 0; restart < 2; restart++) {
        struct cluster *c = cluster_create(3, 1);
        c->network_held = true;
        c->blank = true;
        cluster_start(c, 1);
        struct configuration three = make(3, 7, 7);
        struct raft_message m = append_of(2, 1, 0, 0, 0, &three);
        cluster_receive(c, &m);
        cluster_settle(c);
        if (restart == 1) {
            cluster_crash(c, 1, 0);
            cluster_start(c, 1);
        }
        CU_ASSERT_EQUAL(members(c), 3);
        CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_index, 1);
        m = append_of(3, 2, 0, 0, 0, NULL);
        cluster_receive(c, &m);
        CU_ASSERT_EQUAL(members(c), 0);
        CU_ASSERT_FALSE(election_may_campaign(cluster_node(c, 1)->raft));
        cluster_destroy(&c);
    }
}

/* A leader to whom the log brings another configuration keeps its view of who stays. The log is written to
 * directly here, so that nothing of change.c plays a part. */
static void a_leader_follows_its_configuration(void)
{
    struct cluster *c = cluster_create(5, 1);
    c->network_held = true;
    c->configuration = make(3, 7, 7);
    cluster_start(c, 1);
    cluster_lead_alone(c, 1);
    struct raft_message ok = {.type = RAFT_APPEND_REPLY,
                              .from = 2,
                              .to = 1,
                              .term = 1,
                              .granted = true,
                              .match_index = 1};
    cluster_receive(c, &ok);
    cluster_settle(c);
    struct raft *r = cluster_node(c, 1)->raft;
    struct configuration joint = make(5, 31, 7); /* 4 and 5 come in */
    struct buffer data = {0};
    configuration_encode(&joint, &data);
    struct entry e = {
        .index = 2, .term = 1, .type = ENTRY_CONFIG, .data = view_of(data.data, data.size)};
    raft_log_append(&r->log, &e);
    membership_append(r, 2, &joint);
    buffer_free(&data);
    cluster_flush(c, 1);
    cluster_settle(c);
    struct raft_progress p;
    CU_ASSERT_TRUE(raft_progress_of(r, 2, &p));
    CU_ASSERT_EQUAL(p.match_index, 1);
    CU_ASSERT_TRUE(raft_progress_of(r, 5, &p));
    /* old majority alone does not commit, nor the new one alone; both do */
    ok.match_index = 2;
    cluster_receive(c, &ok);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 1);
    ok.from = 4;
    cluster_receive(c, &ok);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2);
    cluster_destroy(&c);
}

/* Trap 38 over a restart: what is applied is the base, the tail may be rolled back to it. */
static void after_a_restart_it_rolls_back_to_what_is_applied(void)
{
    struct cluster *c = cluster_create(5, 1);
    c->network_held = true;
    c->blank = true;
    cluster_start(c, 1);
    struct configuration three = make(3, 7, 7);
    struct configuration joint = make(4, 15, 7);
    struct raft_message m = append_of(2, 1, 0, 0, 1, &three);
    cluster_receive(c, &m);
    cluster_settle(c);
    cluster_kv_flush(c, 1);
    m = append_of(2, 1, 1, 1, 1, &joint);
    cluster_receive(c, &m);
    cluster_settle(c);
    cluster_crash(c, 1, 0);
    cluster_start(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_index, 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_settled_index, 1);
    CU_ASSERT_EQUAL(members(c), 4);
    CU_ASSERT_EQUAL(raft_settled_configuration(cluster_node(c, 1)->raft)->count, 3);
    m = append_of(3, 2, 1, 1, 1, NULL);
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(members(c), 3);
    CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_index, 1);
    cluster_destroy(&c);
}

/* ---- the first start ------------------------------------------------------------------------------------------ */

/* BOOTSTRAP writes the configuration as entry 1 of term 1; the node asks for votes at once, the blank ones give
 * them, and get the configuration through the log. */
static void a_cluster_begins_with_one_entry(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->blank = true;
    cluster_start_all(c);
    cluster_run(c, 10 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 0);
    struct raft_event event = {.type = RAFT_EVENT_BOOTSTRAP, .configuration = &c->configuration};
    cluster_step(c, 2, &event);
    cluster_settle(c); /* no timeout is waited for */
    CU_ASSERT_EQUAL(cluster_leader(c), 2);
    for (uint64_t id = 1; id <= 3; id++) {
        CU_ASSERT_STRING_EQUAL(cluster_log_text(c, id), "1 2");
        CU_ASSERT_EQUAL(cluster_status(c, id).commit_index, 2);
        CU_ASSERT_EQUAL(raft_configuration(cluster_node(c, id)->raft)->count, 3);
        CU_ASSERT_EQUAL(raft_configuration(cluster_node(c, id)->raft)->cluster_id, 77);
    }
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.entries[0].type, ENTRY_CONFIG);
    cluster_destroy(&c);
}

static void a_single_member_begins_at_once(void)
{
    struct cluster *c = cluster_create(1, 1);
    c->blank = true;
    cluster_start(c, 1);
    cluster_settle(c);
    struct raft_event event = {.type = RAFT_EVENT_BOOTSTRAP, .configuration = &c->configuration};
    cluster_step(c, 1, &event);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2);
    /* and it finds itself again after a restart, with the entry not yet in the KV table */
    cluster_crash(c, 1, 0);
    cluster_start(c, 1);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(members(c), 1);
    cluster_destroy(&c);
}

/* The one who began the cluster dies before anybody has the entry: on disk it is kept, and it goes on later. */
static void a_begin_that_was_interrupted_goes_on(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->blank = true;
    cluster_start_all(c);
    cluster_isolate(c, 1, true);
    struct raft_event event = {.type = RAFT_EVENT_BOOTSTRAP, .configuration = &c->configuration};
    cluster_step(c, 1, &event);
    cluster_settle(c);
    cluster_crash(c, 1, 0);
    cluster_heal(c);
    cluster_start(c, 1);
    CU_ASSERT_TRUE(cluster_await_leader(c, 10 * CLUSTER_ELECTION_US));
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

SUITE("raft: membership", TEST(quorums_are_majorities_of_both_halves),
      TEST(the_quorum_value_is_the_greatest_a_quorum_has), TEST(members_are_found_by_id_and_name),
      TEST(a_configuration_travels_whole), TEST(the_wish_is_kept),
      TEST(format_1_wishes_what_it_has), TEST(malformed_configurations_are_refused),
      TEST(configurations_roll_back_with_the_log), TEST(a_node_can_become_blank_again),
      TEST(a_leader_follows_its_configuration),
      TEST(after_a_restart_it_rolls_back_to_what_is_applied), TEST(a_cluster_begins_with_one_entry),
      TEST(a_single_member_begins_at_once), TEST(a_begin_that_was_interrupted_goes_on))
