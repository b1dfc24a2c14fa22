/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_change.c: how one list of members becomes another: which entries lead there, who counts meanwhile, what is
 * refused, how learners come along, and how those hear of it who are not wanted any more. Raft §6, Thesis §4; traps
 * 7, 8, 37, 39 to 42.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define IDS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* ---- as values -------------------------------------------------------------------------------------------- */

/* Members by masks: bit i for id i + 1. */
static struct configuration make(unsigned members, unsigned voters)
{
    struct configuration c = {.cluster_id = 9};
    for (unsigned i = 0; i < 16; i++) {
        if ((members >> i & 1) != 0) {
            struct member *m = &c.members[c.count++];
            m->id = i + 1;
            (void)snprintf(m->name, sizeof(m->name), "n%u", i + 1);
            m->voter_incoming = (voters >> i & 1) != 0;
            m->voter_outgoing = m->voter_incoming;
        }
    }
    return c;
}

static unsigned half(const struct configuration *c, bool incoming)
{
    unsigned mask = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        mask |= (incoming ? m->voter_incoming : m->voter_outgoing) ? 1U << (m->id - 1) : 0;
    }
    return mask;
}

static unsigned all(const struct configuration *c)
{
    unsigned mask = 0;
    for (size_t i = 0; i < c->count; i++) {
        mask |= 1U << (c->members[i].id - 1);
    }
    return mask;
}

static bool in_mask(void *context, uint64_t id)
{
    return (*(const unsigned *)context >> (id - 1) & 1) != 0;
}

/* No set decides under a while its complement decides under b. */
static bool quorums_overlap(const struct configuration *a, const struct configuration *b)
{
    for (unsigned yes = 0; yes < 32; yes++) {
        unsigned others = ~yes & 31;
        if (configuration_has_quorum(a, in_mask, &yes) &&
            configuration_has_quorum(b, in_mask, &others)) {
            return false;
        }
    }
    return true;
}

/* Every list of members over five ids to every other: the way is one or two entries, ends at the target, and any
 * majority of a configuration shares a member with any of the next one. */
static void every_change_goes_by_overlapping_majorities(void)
{
    for (unsigned from_members = 1; from_members < 32; from_members++) {
        for (unsigned to_members = 1; to_members < 32; to_members++) {
            for (unsigned bits = 0; bits < 16; bits++) {
                unsigned from_voters = from_members & (bits * 11 % 32 | (bits & 1));
                unsigned to_voters = to_members & (bits * 7 % 32 | (bits >> 1 & 1));
                if (from_voters == 0 || to_voters == 0) {
                    continue;
                }
                struct configuration from = make(from_members, from_voters);
                struct configuration target = make(to_members, to_voters);
                struct configuration first;
                struct configuration second;
                CU_ASSERT_EQUAL_FATAL(change_first(&from, &target, &first), OK);
                bool good = quorums_overlap(&from, &first);
                good = good && half(&first, false) == from_voters;
                good = good && half(&first, true) == to_voters;
                good = good && configuration_is_joint(&first) == (from_voters != to_voters);
                second = first;
                if (configuration_is_joint(&first)) {
                    change_second(&first, &second);
                    good = good && quorums_overlap(&first, &second);
                }
                good = good && all(&second) == to_members && half(&second, true) == to_voters &&
                       half(&second, false) == to_voters;
                for (unsigned i = 0; i < 5; i++) {
                    bool gone = (from_members & ~to_members & 1U << i) != 0;
                    good = good && configuration_was_removed(&second, i + 1) == gone;
                }
                if (!good) {
                    CU_FAIL("a change went wrong");
                }
            }
        }
    }
}

/* Trap 42: a wiped disk comes back under its name as somebody else, at once in both halves. */
static void a_name_may_go_from_the_leaving_to_the_coming(void)
{
    struct configuration from = make(7, 7);
    struct configuration target = make(11, 11); /* 4 in place of 3 */
    memcpy(target.members[2].name, "n3", 3);
    struct configuration first;
    CU_ASSERT_EQUAL_FATAL(change_first(&from, &target, &first), OK);
    CU_ASSERT_EQUAL(first.count, 4);
    CU_ASSERT_EQUAL(first.members[configuration_find_name(&first, "n3")].id, 4);
    struct buffer wire = {0};
    configuration_encode(&first, &wire);
    struct configuration got;
    CU_ASSERT_EQUAL(configuration_decode(view_of(wire.data, wire.size), &got), OK);
    CU_ASSERT_TRUE(got.members[configuration_find(&got, 3)].leaving);
    buffer_free(&wire);
}

static enum err first_of(const struct configuration *target)
{
    struct configuration from = make(7, 7);
    from.removed[0] = 9;
    from.removed_count = 1;
    struct configuration out = {.cluster_id = 1234};
    enum err error = change_first(&from, target, &out);
    CU_ASSERT_TRUE(error == OK || out.cluster_id == 1234);
    return error;
}

static void targets_that_cannot_be_are_refused(void)
{
    struct configuration t = make(7, 7);
    CU_ASSERT_EQUAL(first_of(&t), OK);
    t = make(0, 0);
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID);
    t = make(7, 0);
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID); /* nobody votes */
    t = make(7, 7);
    t.count = MEMBERS_MAX + 1;
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID);
    t = make(7, 7);
    t.members[2].id = 2;
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID);
    t = make(7, 7);
    t.members[2].id = 0;
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID);
    t = make(7, 7);
    t.members[2].name[0] = 0;
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID);
    t = make(7, 7);
    memset(t.members[2].peer, 'p', sizeof(t.members[2].peer)); /* no end */
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID);
    t = make(7, 7);
    memcpy(t.members[2].name, "n1", 3);
    CU_ASSERT_EQUAL(first_of(&t), ERR_IDENTITY);
    t = make(7, 7); /* what nobody could read back would stop every log it got into */
    t.declared_count = 1;
    t.declared[0] = (struct declared_member){.id = 2, .peer = "new:1"};
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID);
    t.declared[0].id = 77;
    CU_ASSERT_EQUAL(first_of(&t), OK);
    t.declared[0].peer[0] = 0;
    CU_ASSERT_EQUAL(first_of(&t), ERR_INVALID);
    t = make(15, 15);
    t.members[3].id = 9; /* trap 42 */
    CU_ASSERT_EQUAL(first_of(&t), ERR_ID_REUSED);
    t = make(0xfff8,
             0xfff8); /* 13 others, with the three of before too many together? 16: just fits */
    CU_ASSERT_EQUAL(first_of(&t), ERR_ID_REUSED); /* 9 is among them */
    t = make(0xfef8, 0xfef8);
    CU_ASSERT_EQUAL(first_of(&t), OK);
    t.members[t.count] = t.members[0];
    t.members[t.count].id = 100;
    memcpy(t.members[t.count++].name, "m1", 3);
    CU_ASSERT_EQUAL(first_of(&t), OK);
    t.members[t.count] = t.members[0];
    t.members[t.count].id = 101;
    memcpy(t.members[t.count++].name, "m2", 3);
    CU_ASSERT_EQUAL(first_of(&t), ERR_TOO_LARGE);
}

/* Only the latest REMOVED_MAX former members are remembered. */
static void former_members_are_remembered_up_to_a_bound(void)
{
    struct configuration c = make(1, 1);
    for (uint64_t id = 100; id < 100 + REMOVED_MAX + 5; id++) {
        struct configuration with = c;
        with.members[1] = (struct member){.id = id, .name = "x"};
        with.count = 2;
        struct configuration one = make(1, 1);
        struct configuration next;
        CU_ASSERT_EQUAL_FATAL(change_first(&c, &with, &next), OK);
        CU_ASSERT_EQUAL_FATAL(change_first(&next, &one, &c), OK);
    }
    CU_ASSERT_EQUAL(c.removed_count, REMOVED_MAX);
    CU_ASSERT_FALSE(configuration_was_removed(&c, 104));
    CU_ASSERT_TRUE(configuration_was_removed(&c, 105));
    CU_ASSERT_TRUE(configuration_was_removed(&c, 100 + REMOVED_MAX + 4));
}

/* ---- asking a leader --------------------------------------------------------------------------------------- */

static struct cluster *with_leader(size_t count, size_t voters)
{
    struct cluster *c = cluster_create(count, 1);
    cluster_set_voters(c, voters);
    cluster_start_all(c);
    cluster_elect(c, 1);
    return c;
}

static const char *members(struct cluster *c, uint64_t id)
{
    static char text[200];
    struct buffer out = {0};
    cluster_print_configuration(&out, raft_configuration(cluster_node(c, id)->raft));
    (void)snprintf(text, sizeof(text), "%.*s", (int)out.size - 1, (const char *)out.data);
    buffer_free(&out);
    return text;
}

static void only_a_leader_changes_members(void)
{
    struct cluster *c = cluster_create(4, 1);
    cluster_set_voters(c, 3);
    cluster_start_all(c);
    CU_ASSERT_EQUAL(cluster_change(c, 2, IDS(1, 2, 3, 4), NULL), ERR_NO_LEADER);
    cluster_elect(c, 1);
    CU_ASSERT_EQUAL(cluster_change(c, 2, IDS(1, 2, 3, 4), NULL), ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3, 4), NULL), OK);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(members(c, 1), "1 2 3 4");
    CU_ASSERT_STRING_EQUAL(members(c, 4), "1 2 3 4");
    cluster_destroy(&c);
}

/* Trap 37: not before an entry of its own term is committed. */
static void a_new_leader_commits_its_own_entry_first(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    c->network_held = true;
    cluster_lead_alone(c, 1);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2), NULL), ERR_CHANGE_PENDING);
    struct raft_message ok = {.type = RAFT_APPEND_REPLY,
                              .from = 2,
                              .to = 1,
                              .term = 1,
                              .granted = true,
                              .match_index = 1};
    cluster_receive(c, &ok);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2), NULL), OK);
    cluster_destroy(&c);
}

/* Trap 39: counted by the log, so that a leader that finds one there knows of it; joint or plain. */
static void one_change_at_a_time(void)
{
    struct cluster *c = with_leader(4, 3);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4)), OK);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), NULL), ERR_CHANGE_PENDING);
    c->network_held = false;
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3, 4), NULL), OK);
    cluster_lose_all(c);
    /* C_old,new reaches 2 alone; 1 is gone; 2 leads and must not begin another */
    cluster_destroy(&c);

    c = with_leader(4, 3);
    cluster_cut(c, 1, 3, true);
    cluster_cut(c, 1, 4, true);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(2, 3, 4), NULL), OK);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(members(c, 2), "1 2 3 -> 2 3 4");
    cluster_crash(c, 1, 0);
    c->network_held = true;
    cluster_lead_alone(c, 2);
    CU_ASSERT_EQUAL(cluster_change(c, 2, IDS(1, 2, 3), NULL), ERR_CHANGE_PENDING);
    CU_ASSERT_STRING_EQUAL(members(c, 2), "1 2 3 -> 2 3 4");
    cluster_destroy(&c);
}

/* The next leader finishes what a former one began (Raft §6). */
static void another_leader_finishes_a_joint_change(void)
{
    struct cluster *c = with_leader(5, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(3, 4, 5), NULL), OK);
    for (uint64_t id = 2; id <= 5; id++) {
        while (cluster_deliver(c, 1, id, 0)) {}
    }
    CU_ASSERT_STRING_EQUAL(members(c, 2), "1 2 3 -> 3 4 5");
    CU_ASSERT_STRING_EQUAL(members(c, 3), "1 2 3 -> 3 4 5");
    cluster_crash(c, 1, 0);
    cluster_lose_all(c);
    c->network_held = false;
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    uint64_t leader = cluster_leader(c);
    CU_ASSERT_TRUE(leader >= 3);
    CU_ASSERT_STRING_EQUAL(members(c, leader), "3 4 5 removed 1 2");
    CU_ASSERT_TRUE(cluster_status(c, 2).removed);
    cluster_destroy(&c);
}

static void a_target_is_checked_against_what_it_was_derived_from(void)
{
    struct cluster *c = with_leader(4, 3);
    struct configuration target = *raft_configuration(cluster_node(c, 1)->raft);
    target.members[1].peer[0] = 'x';
    struct raft_event event = {.type = RAFT_EVENT_CHANGE_CONFIGURATION,
                               .change = {.target = &target}};
    uint64_t last = cluster_status(c, 1).last_log_index;
    cluster_step(c, 1, &event);
    cluster_settle(c);
    CU_ASSERT_EQUAL(event.change.error, OK);
    CU_ASSERT_EQUAL(event.change.index, last + 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_index, last + 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).configuration_settled_index, last + 1);
    /* one entry was enough: nobody's vote changed */
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, last + 1);
    CU_ASSERT_EQUAL(raft_configuration(cluster_node(c, 3)->raft)->members[1].peer[0], 'x');

    target.members[1].peer[0] = 'y';
    event.change.expected_index = last;
    cluster_step(c, 1, &event);
    CU_ASSERT_EQUAL(event.change.error, ERR_CHANGED_SINCE);
    event.change.expected_index = last + 1;
    cluster_step(c, 1, &event);
    CU_ASSERT_EQUAL(event.change.error, OK);
    CU_ASSERT_EQUAL(event.change.index, last + 2);
    cluster_settle(c);
    /* asked for what is: nothing to do, and nothing done */
    event.change.expected_index = 0;
    cluster_step(c, 1, &event);
    CU_ASSERT_EQUAL(event.change.error, OK);
    CU_ASSERT_EQUAL(event.change.index, last + 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, last + 2);
    cluster_destroy(&c);
}

/* Trap 40: 3 to 5 and back in one operation each, and 2 to 1 with the other one dead is not possible. */
static void growing_and_shrinking(void)
{
    struct cluster *c = with_leader(5, 3);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3, 4, 5), NULL), OK);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(members(c, 5), "1 2 3 4 5");
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 4, 5), NULL), OK);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(members(c, 5), "1 4 5 removed 2 3");
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 4, 5), NULL), ERR_ID_REUSED);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 4), NULL), OK);
    cluster_settle(c);
    cluster_crash(c, 4, 0);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1), NULL), OK);
    uint64_t commit = cluster_status(c, 1).commit_index;
    cluster_run(c, CLUSTER_ELECTION_US / 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, commit);
    cluster_start(c, 4);
    cluster_run(c, 4 * CLUSTER_ELECTION_US);
    uint64_t leader = cluster_leader(c);
    CU_ASSERT_EQUAL_FATAL(leader, 1);
    CU_ASSERT_STRING_EQUAL(members(c, 1), "1 removed 2 3 5 4");
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "alone"), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, cluster_status(c, 1).last_log_index);
    cluster_destroy(&c);
}

/* ---- learners ----------------------------------------------------------------------------------------------- */

/* A learner gets the log, answers for nothing and reads linearizably. */
static void a_learner_counts_for_nothing(void)
{
    struct cluster *c = with_leader(4, 3);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4)), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "a"), OK);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(members(c, 4), "1 2 3 learners 4");
    CU_ASSERT_EQUAL(cluster_status(c, 4).commit_index, cluster_status(c, 1).commit_index);
    size_t read = cluster_read(c, 4);
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_node(c, 4)->reads[read].answered);
    CU_ASSERT_FALSE(election_may_campaign(cluster_node(c, 4)->raft));
    /* with two voters away its acknowledgement commits nothing, confirms no round and keeps no leader in office */
    cluster_crash(c, 2, 0);
    cluster_crash(c, 3, 0);
    uint64_t commit = cluster_status(c, 1).commit_index;
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "b"), OK);
    read = cluster_read(c, 1);
    cluster_run(c, CLUSTER_ELECTION_US / 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, commit);
    CU_ASSERT_FALSE(cluster_node(c, 1)->reads[read].answered);
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_leader(c), 0);
    cluster_destroy(&c);
}

/* Trap 8: promoted, but it does not know yet; its vote is needed and given. */
static void a_promoted_learner_votes_before_it_knows(void)
{
    struct cluster *c = with_leader(4, 2);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2), IDS(3)), OK);
    cluster_settle(c);
    cluster_cut(c, 1, 3, true);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), NULL), OK);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(members(c, 2), "1 2 3");
    CU_ASSERT_STRING_EQUAL(members(c, 3), "1 2 learners 3");
    cluster_crash(c, 1, 0);
    cluster_heal(c);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    CU_ASSERT_EQUAL(cluster_leader(c), 2);
    CU_ASSERT_STRING_EQUAL(members(c, 3), "1 2 3");
    cluster_destroy(&c);
}

/* Thesis §4.2.1: rounds, measured by the times of events. */
static void rounds_say_how_far_a_learner_is(void)
{
    struct cluster *c = with_leader(4, 3);
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    }
    cluster_settle(c);
    cluster_isolate(c, 4, true);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4)), OK);
    cluster_run(c, 3 * CLUSTER_ELECTION_US);
    struct raft_progress p;
    CU_ASSERT_TRUE_FATAL(raft_progress_of(cluster_node(c, 1)->raft, 4, &p));
    CU_ASSERT_EQUAL(p.round_count, 0);
    CU_ASSERT_FALSE(p.caught_up);
    cluster_heal(c);
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE_FATAL(raft_progress_of(cluster_node(c, 1)->raft, 4, &p));
    CU_ASSERT_TRUE(p.round_count >= 1);
    cluster_run(c, 3 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE_FATAL(raft_progress_of(cluster_node(c, 1)->raft, 4, &p));
    CU_ASSERT_TRUE(p.last_round_us < CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(p.caught_up);
    cluster_isolate(c, 4, true);
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE_FATAL(raft_progress_of(cluster_node(c, 1)->raft, 4, &p));
    CU_ASSERT_FALSE(p.caught_up);
    cluster_destroy(&c);
}

/* ---- who is removed ------------------------------------------------------------------------------------------ */

/* Trap 41: it leads on until C_new is committed, does not count itself, and tells the others of the commit. */
static void a_leader_removes_itself(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(2, 3), NULL), OK);
    cluster_deliver(c, 1, 2, 0);
    cluster_settle(c);
    cluster_deliver(c, 2, 1, 0);
    /* of the new configuration only 2 has it: not committed, though two of three have it */
    CU_ASSERT_STRING_EQUAL(members(c, 1), "1 2 3 -> 2 3");
    cluster_deliver(c, 1, 3, 0);
    cluster_settle(c);
    cluster_deliver(c, 3, 1, 0);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(members(c, 1), "2 3 removed 1");
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    uint64_t joint = cluster_status(c, 1).commit_index;
    /* C_new on the leader's disk and on one of two: the leader does not count */
    while (cluster_deliver(c, 1, 2, 0)) {}
    cluster_settle(c);
    while (cluster_deliver(c, 2, 1, 0)) {}
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, joint);
    while (cluster_deliver(c, 1, 3, 0)) {}
    cluster_settle(c);
    while (cluster_deliver(c, 3, 1, 0)) {}
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, joint + 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_TRUE(cluster_status(c, 1).removed);
    /* the commit was sent before it left */
    const struct raft_message *last = cluster_find(c, 1, 2, RAFT_APPEND_ENTRIES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(last);
    CU_ASSERT_EQUAL(last->leader_commit, joint + 1);
    c->network_held = false;
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_status(c, 2).commit_index > joint);
    CU_ASSERT_TRUE(cluster_status(c, 3).commit_index > joint);
    cluster_run(c, 20 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_leader(c) >= 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_destroy(&c);
}

/* Trap 7: it gets the last configuration and the news that it is committed; then nothing more. */
static void the_removed_are_told(void)
{
    struct cluster *c = with_leader(3, 3);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2), NULL), OK);
    cluster_settle(c);
    cluster_run(c, 3 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(cluster_status(c, 3).removed);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->raft->progress_count, 1);
    uint64_t term = cluster_status(c, 1).current_term;
    cluster_run(c, 10 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_status(c, 3).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, term);
    /* it knows after a restart as well */
    cluster_kv_flush(c, 3);
    cluster_crash(c, 3, 0);
    cluster_start(c, 3);
    CU_ASSERT_TRUE(cluster_status(c, 3).removed);
    cluster_destroy(&c);
}

/* Who cannot be reached is not fed for ever. */
static void the_unreachable_are_given_up(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_isolate(c, 3, true);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2), NULL), OK);
    cluster_settle(c);
    struct raft_progress p;
    CU_ASSERT_FALSE(raft_progress_of(cluster_node(c, 1)->raft, 3, &p));
    cluster_run(c, (TELL_REMOVED_ELECTION_TIMEOUTS - 1) * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->raft->progress_count, 2);
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->raft->progress_count, 1);
    cluster_destroy(&c);
}

/* Trap 7: away while it was removed, it comes back and asks for votes. It disturbs nobody and hears why, from anybody
 * and whatever its term. */
static void who_was_away_is_told_when_it_asks(void)
{
    struct cluster *c = with_leader(3, 3);
    cluster_isolate(c, 3, true);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2), NULL), OK);
    cluster_run(c, (TELL_REMOVED_ELECTION_TIMEOUTS + 2) * CLUSTER_ELECTION_US);
    uint64_t term = cluster_status(c, 1).current_term;
    CU_ASSERT_FALSE(cluster_status(c, 3).removed);
    c->network_held = true;
    cluster_lose_all(c);
    cluster_heal(c);
    cluster_time_out(c, 3);
    CU_ASSERT_TRUE(cluster_deliver(c, 3, 2, RAFT_REQUEST_PRE_VOTE));
    const struct raft_message *answer = cluster_find(c, 2, 3, RAFT_PRE_VOTE_REPLY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_FALSE(answer->granted);
    CU_ASSERT_TRUE(answer->flag_removed);
    CU_ASSERT_TRUE(cluster_deliver(c, 2, 3, RAFT_PRE_VOTE_REPLY));
    CU_ASSERT_TRUE(cluster_status(c, 3).removed);
    CU_ASSERT_EQUAL(cluster_status(c, 3).role, RAFT_FOLLOWER);
    /* it asks no more, though by its own log it votes */
    cluster_lose_all(c);
    cluster_time_out(c, 3);
    CU_ASSERT_PTR_NULL(cluster_find(c, 3, 1, RAFT_REQUEST_PRE_VOTE));
    CU_ASSERT_PTR_NULL(cluster_find(c, 3, 2, RAFT_REQUEST_PRE_VOTE));
    CU_ASSERT_EQUAL(cluster_status(c, 3).role, RAFT_FOLLOWER);
    /* nor does a true vote request of it move anybody */
    struct raft_message m = {.type = RAFT_REQUEST_VOTE,
                             .from = 3,
                             .to = 2,
                             .term = term + 10,
                             .last_log_index = 100,
                             .last_log_term = term + 9};
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(cluster_status(c, 2).current_term, term);
    c->network_held = false;
    cluster_run(c, 5 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, term);
    cluster_destroy(&c);
}

/* Thesis §4.2.2: C_new reached only one who is not part of it, and the leader died. Nobody else can win, so it must
 * stand, be elected without its own vote, commit C_new and go. */
static void who_is_out_stands_while_the_way_out_is_not_committed(void)
{
    struct cluster *c = with_leader(4, 3);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4)), OK);
    cluster_run(c, CLUSTER_ELECTION_US);
    c->network_held = true;
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 4), NULL), OK);
    for (uint64_t id = 2; id <= 4; id++) {
        while (cluster_deliver(c, 1, id, 0)) {}
        cluster_settle(c);
    }
    for (uint64_t id = 2; id <= 4; id++) {
        while (cluster_deliver(c, id, 1, 0)) {}
        cluster_settle(c);
    }
    CU_ASSERT_STRING_EQUAL(members(c, 1), "1 2 4 removed 3");
    while (cluster_deliver(c, 1, 3, 0)) {}
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(members(c, 3), "1 2 4 removed 3");
    CU_ASSERT_STRING_EQUAL(members(c, 2), "1 2 3 -> 1 2 4");
    CU_ASSERT_STRING_EQUAL(members(c, 4), "1 2 3 -> 1 2 4");
    cluster_crash(c, 1, 0);
    cluster_lose_all(c);
    c->network_held = false;
    CU_ASSERT_TRUE(cluster_await_leader(c, 30 * CLUSTER_ELECTION_US));
    cluster_run(c, 10 * CLUSTER_ELECTION_US);
    uint64_t leader = cluster_leader(c);
    CU_ASSERT_TRUE(leader == 2 || leader == 4);
    CU_ASSERT_TRUE(cluster_status(c, 3).removed);
    CU_ASSERT_STRING_EQUAL(members(c, 2), "1 2 4 removed 3");
    CU_ASSERT_STRING_EQUAL(members(c, 4), "1 2 4 removed 3");
    cluster_destroy(&c);
}

SUITE("raft: change of members", TEST(every_change_goes_by_overlapping_majorities),
      TEST(a_name_may_go_from_the_leaving_to_the_coming), TEST(targets_that_cannot_be_are_refused),
      TEST(former_members_are_remembered_up_to_a_bound), TEST(only_a_leader_changes_members),
      TEST(a_new_leader_commits_its_own_entry_first), TEST(one_change_at_a_time),
      TEST(another_leader_finishes_a_joint_change),
      TEST(a_target_is_checked_against_what_it_was_derived_from), TEST(growing_and_shrinking),
      TEST(a_learner_counts_for_nothing), TEST(a_promoted_learner_votes_before_it_knows),
      TEST(rounds_say_how_far_a_learner_is), TEST(a_leader_removes_itself),
      TEST(the_removed_are_told), TEST(the_unreachable_are_given_up),
      TEST(who_was_away_is_told_when_it_asks),
      TEST(who_is_out_stands_while_the_way_out_is_not_committed))
