/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_election.c: timeouts, pre-votes, votes, stickiness and check-quorum of single nodes, whose
 * neighbours are played by the test. Raft §5.2, §5.4.1, Thesis §4.2.3, §6.2, §9.6; traps 1-4, 6, 8, 9.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

/* Node 1 of three runs; 2 and 3 are the test. */
static struct cluster *one_of_three(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    return c;
}

static struct raft_message request(enum raft_message_type type, uint64_t from, uint64_t term,
                                   uint64_t last_log_index, uint64_t last_log_term)
{
    return (struct raft_message){.type = type,
                                 .from = from,
                                 .to = 1,
                                 .term = term,
                                 .last_log_index = last_log_index,
                                 .last_log_term = last_log_term};
}

static struct raft_message heartbeat(uint64_t from, uint64_t term)
{
    return (struct raft_message){.type = RAFT_APPEND_ENTRIES, .from = from, .to = 1, .term = term};
}

/* Whether node 1 granted its vote to `to` in what it sent last; the answer is taken away. */
static bool granted_to(struct cluster *c, uint64_t to, enum raft_message_type type)
{
    const struct raft_message *m = cluster_find(c, 1, to, type);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    bool granted = m->granted;
    (void)cluster_lose(c, 1, to, type);
    return granted;
}

/* Nothing happens before the timeout; then a pre-vote for the next term goes to both others, and neither
 * term nor vote nor disk has changed (Thesis §9.6). */
static void a_timeout_begins_with_a_pre_vote(void)
{
    struct cluster *c = one_of_three();
    size_t persists = cluster_node(c, 1)->persist_count;
    c->now_us += CLUSTER_ELECTION_US - 1;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_time_out(c, 1);
    struct raft_status s = cluster_status(c, 1);
    CU_ASSERT_EQUAL(s.role, RAFT_PRE_CANDIDATE);
    CU_ASSERT_EQUAL(s.current_term, 0);
    CU_ASSERT_EQUAL(s.voted_for, 0);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->persist_count, persists);
    for (uint64_t to = 2; to <= 3; to++) {
        const struct raft_message *m = cluster_find(c, 1, to, RAFT_REQUEST_PRE_VOTE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL(m->term, 1);
    }
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 0, 0), 2);
    cluster_destroy(&c);
}

/* Trap 9: the timeout lies in [T, 2T) and is drawn again at every attempt. */
static void every_attempt_draws_its_timeout_anew(void)
{
    struct cluster *c = one_of_three();
    uint64_t last = 0;
    size_t different = 0;
    for (int i = 0; i < 50; i++) {
        const struct raft *r = cluster_node(c, 1)->raft;
        uint64_t timeout = r->election_deadline_us - c->now_us;
        CU_ASSERT_TRUE(timeout >= CLUSTER_ELECTION_US);
        CU_ASSERT_TRUE(timeout < 2 * CLUSTER_ELECTION_US);
        different += timeout != last ? 1 : 0;
        last = timeout;
        cluster_time_out(c, 1);
    }
    CU_ASSERT_TRUE(different > 45);
    cluster_destroy(&c);
}

/* Trap 9: an hour without events (SIGSTOP) is one timeout: one pre-vote per voter, no term spent, and
 * the next attempt lies a timeout from now. */
static void a_long_stall_is_one_pre_vote(void)
{
    struct cluster *c = one_of_three();
    c->now_us += UINT64_C(3600) * 1000 * 1000;
    cluster_tick(c, 1);
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 0, RAFT_REQUEST_PRE_VOTE), 2);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 0, 0), 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 0);
    CU_ASSERT_TRUE(cluster_node(c, 1)->tick_us >= c->now_us + CLUSTER_ELECTION_US);
    cluster_destroy(&c);
}

/* Ticks may come early or twice; only the deadline counts. */
static void early_ticks_do_nothing(void)
{
    struct cluster *c = one_of_three();
    for (int i = 0; i < 100; i++) {
        cluster_tick(c, 1);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_destroy(&c);
}

/* Trap 3: a storm of pre-votes changes nothing at the one who answers: no term, no vote, no disk write, no
 * reset of its own timeout. */
static void a_pre_vote_changes_nothing_at_the_voter(void)
{
    struct cluster *c = one_of_three();
    size_t persists = cluster_node(c, 1)->persist_count;
    uint64_t deadline = cluster_node(c, 1)->raft->election_deadline_us;
    for (uint64_t i = 0; i < 100; i++) {
        c->now_us += 1000;
        struct raft_message m = request(RAFT_REQUEST_PRE_VOTE, 2 + i % 2, 1 + i, 0, 0);
        cluster_receive(c, &m);
        CU_ASSERT_TRUE(granted_to(c, 2 + i % 2, RAFT_PRE_VOTE_REPLY));
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 0);
    CU_ASSERT_EQUAL(cluster_status(c, 1).voted_for, 0);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->persist_count, persists);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->raft->election_deadline_us, deadline);
    cluster_destroy(&c);
}

/* Trap 4: a grant of a pre-vote carries the asked term, a refusal the receiver's own. */
static void pre_vote_replies_carry_the_right_term(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, (const uint64_t[]){5, 5, 0});
    cluster_start(c, 1);
    struct raft_message good = request(RAFT_REQUEST_PRE_VOTE, 2, 9, 2, 5);
    cluster_receive(c, &good);
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, 0)->term, 9);
    CU_ASSERT_TRUE(granted_to(c, 2, RAFT_PRE_VOTE_REPLY));

    struct raft_message short_log = request(RAFT_REQUEST_PRE_VOTE, 2, 9, 1, 5);
    cluster_receive(c, &short_log);
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, 0)->term, 5);
    CU_ASSERT_FALSE(granted_to(c, 2, RAFT_PRE_VOTE_REPLY));

    /* also for a term that is already taken, and for one that is over */
    struct raft_message same_term = request(RAFT_REQUEST_PRE_VOTE, 2, 5, 2, 5);
    cluster_receive(c, &same_term);
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, 0)->term, 5);
    CU_ASSERT_FALSE(granted_to(c, 2, RAFT_PRE_VOTE_REPLY));
    struct raft_message old_term = request(RAFT_REQUEST_PRE_VOTE, 2, 3, 2, 5);
    cluster_receive(c, &old_term);
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, 0)->term, 5);
    CU_ASSERT_FALSE(granted_to(c, 2, RAFT_PRE_VOTE_REPLY));
    cluster_destroy(&c);
}

/* Trap 4, the other side: a pre-candidate that is behind learns the term from the refusal and asks for
 * the one after it next time. */
static void a_refused_pre_candidate_takes_on_the_term(void)
{
    struct cluster *c = one_of_three();
    cluster_time_out(c, 1);
    struct raft_message refusal = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 7, .granted = false};
    cluster_receive(c, &refusal);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 7);
    cluster_settle(c);
    cluster_lose_all(c);
    cluster_time_out(c, 1);
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, RAFT_REQUEST_PRE_VOTE)->term, 8);
    cluster_destroy(&c);
}

/* Traps 1, 2: the candidate raises its term, votes for itself, writes both in one persist, and only when
 * that is on disk asks others and counts its own vote. */
static void a_candidate_asks_when_its_vote_is_on_disk(void)
{
    struct cluster *c = one_of_three();
    cluster_disk_hold(c, 1, true);
    cluster_time_out(c, 1);
    cluster_lose_all(c);
    struct raft_message grant = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 1, .granted = true};
    cluster_receive(c, &grant);
    const struct cluster_disk *d = &cluster_node(c, 1)->disk;
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    CU_ASSERT_EQUAL_FATAL(d->pending_count, 1);
    CU_ASSERT_EQUAL(d->pendings[0].persist.current_term, 1);
    CU_ASSERT_EQUAL(d->pendings[0].persist.voted_for, 1);
    CU_ASSERT_EQUAL(c->flight_count, 0);

    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 0, RAFT_REQUEST_VOTE), 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    struct raft_message vote = {
        .type = RAFT_VOTE_REPLY, .from = 3, .to = 1, .term = 1, .granted = true};
    cluster_receive(c, &vote);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    cluster_destroy(&c);
}

/* Trap 9: the election behind a won pre-vote has a timeout of its own, however late the pre-vote was won. */
static void a_candidate_has_a_whole_timeout(void)
{
    struct cluster *c = one_of_three();
    cluster_time_out(c, 1);
    c->now_us = cluster_node(c, 1)->raft->election_deadline_us - 1;
    struct raft_message grant = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 1, .granted = true};
    cluster_receive(c, &grant);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    CU_ASSERT_TRUE(cluster_node(c, 1)->tick_us >= c->now_us + CLUSTER_ELECTION_US);
    cluster_destroy(&c);
}

/* Traps 1, 13: a vote is told only when it is on disk; the term it came with as well. */
static void a_vote_is_granted_when_it_is_on_disk(void)
{
    struct cluster *c = one_of_three();
    cluster_disk_hold(c, 1, true);
    struct raft_message m = request(RAFT_REQUEST_VOTE, 2, 4, 0, 0);
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(cluster_status(c, 1).voted_for, 2);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    /* what is said in between waits as well, for it would tell the term */
    struct raft_message old = request(RAFT_REQUEST_VOTE, 3, 3, 0, 0);
    cluster_receive(c, &old);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_TRUE(granted_to(c, 2, RAFT_VOTE_REPLY));
    CU_ASSERT_EQUAL(cluster_find(c, 1, 3, RAFT_VOTE_REPLY)->term, 4);
    CU_ASSERT_FALSE(granted_to(c, 3, RAFT_VOTE_REPLY));
    cluster_destroy(&c);
}

/* Trap 2: a vote given later in a term that is already on disk is written as well before it is told. */
static void a_later_vote_is_written_too(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, (const uint64_t[]){2, 0});
    cluster_start(c, 1);
    struct raft_message refused = request(RAFT_REQUEST_VOTE, 2, 4, 0, 0); /* its log is short */
    cluster_receive(c, &refused);
    cluster_settle(c);
    CU_ASSERT_FALSE(granted_to(c, 2, RAFT_VOTE_REPLY));
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.current_term, 4);
    cluster_disk_hold(c, 1, true);
    struct raft_message good = request(RAFT_REQUEST_VOTE, 3, 4, 1, 2);
    cluster_receive(c, &good);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_TRUE(granted_to(c, 3, RAFT_VOTE_REPLY));
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.voted_for, 3);
    cluster_destroy(&c);
}

/* Trap 2: one vote per term; the same candidate asked again hears the same; a crash forgets nothing that
 * was told. */
static void one_vote_per_term_also_after_a_crash(void)
{
    struct cluster *c = one_of_three();
    struct raft_message first = request(RAFT_REQUEST_VOTE, 2, 4, 0, 0);
    struct raft_message again = first;
    struct raft_message other = request(RAFT_REQUEST_VOTE, 3, 4, 9, 4);
    struct raft_message late = first;
    struct raft_message other_late = other;
    cluster_receive(c, &first);
    cluster_settle(c);
    CU_ASSERT_TRUE(granted_to(c, 2, RAFT_VOTE_REPLY));
    cluster_receive(c, &again);
    CU_ASSERT_TRUE(granted_to(c, 2, RAFT_VOTE_REPLY));
    cluster_receive(c, &other);
    CU_ASSERT_FALSE(granted_to(c, 3, RAFT_VOTE_REPLY));
    cluster_crash(c, 1, 0);
    cluster_start(c, 1);
    cluster_receive(c, &other_late);
    CU_ASSERT_FALSE(granted_to(c, 3, RAFT_VOTE_REPLY));
    cluster_receive(c, &late);
    CU_ASSERT_TRUE(granted_to(c, 2, RAFT_VOTE_REPLY));
    cluster_destroy(&c);
}

/* Thesis §4.2.3: while a leader lives, votes and pre-votes are ignored, and the term does not move; once it
 * was silent for the least election timeout they are heard. */
static void voters_stick_to_a_living_leader(void)
{
    struct cluster *c = one_of_three();
    struct raft_message beat = heartbeat(2, 1);
    cluster_receive(c, &beat);
    cluster_settle(c);
    cluster_lose_all(c);
    c->now_us += CLUSTER_ELECTION_US - 1;
    struct raft_message pre = request(RAFT_REQUEST_PRE_VOTE, 3, 2, 0, 0);
    struct raft_message vote = request(RAFT_REQUEST_VOTE, 3, 2, 0, 0);
    struct raft_message pre_late = pre;
    struct raft_message vote_late = vote;
    cluster_receive(c, &pre);
    cluster_receive(c, &vote);
    cluster_settle(c);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 1);

    c->now_us += 1;
    cluster_receive(c, &pre_late);
    CU_ASSERT_TRUE(granted_to(c, 3, RAFT_PRE_VOTE_REPLY));
    cluster_receive(c, &vote_late);
    cluster_settle(c);
    CU_ASSERT_TRUE(granted_to(c, 3, RAFT_VOTE_REPLY));
    cluster_destroy(&c);
}

/* Trap 6: a vote asked by the leader's own wish overrides stickiness. */
static void a_transfer_overrides_stickiness(void)
{
    struct cluster *c = one_of_three();
    struct raft_message beat = heartbeat(2, 1);
    cluster_receive(c, &beat);
    cluster_settle(c);
    cluster_lose_all(c);
    struct raft_message vote = request(RAFT_REQUEST_VOTE, 3, 2, 0, 0);
    vote.flag_transfer = true;
    cluster_receive(c, &vote);
    cluster_settle(c);
    CU_ASSERT_TRUE(granted_to(c, 3, RAFT_VOTE_REPLY));
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 2);
    cluster_destroy(&c);
}

/* A leader in contact with a quorum ignores candidates as well. */
static void a_leader_with_a_quorum_is_not_disturbed(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    uint64_t term = cluster_status(c, 1).current_term;
    struct raft_message vote = request(RAFT_REQUEST_VOTE, 3, term + 5, 99, term);
    cluster_receive(c, &vote);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, term);
    cluster_destroy(&c);
}

/* Trap 4: an append of an old term is answered with the own term, so that its sender steps down. */
static void an_old_leader_hears_the_term(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_term(c, 1, 9, 0);
    cluster_start(c, 1);
    struct raft_message beat = heartbeat(2, 5);
    cluster_receive(c, &beat);
    const struct raft_message *m = cluster_find(c, 1, 2, RAFT_APPEND_REPLY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->term, 9);
    CU_ASSERT_FALSE(m->granted);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 0);
    cluster_destroy(&c);
}

static void a_leader_steps_down_for_a_higher_term(void)
{
    struct cluster *c = one_of_three();
    cluster_lead_alone(c, 1);
    struct raft_message reply = {.type = RAFT_APPEND_REPLY, .from = 2, .to = 1, .term = 9};
    cluster_receive(c, &reply);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 9);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 0);
    cluster_destroy(&c);
}

/* Thesis §6.2: a leader that hears no quorum for an election timeout steps down, in its own term; one
 * follower of two is a quorum with itself. */
static void a_leader_without_a_quorum_steps_down(void)
{
    struct cluster *c = one_of_three();
    cluster_lead_alone(c, 1);
    uint64_t term = cluster_status(c, 1).current_term;
    for (int i = 0; i < 30; i++) {
        c->now_us += CLUSTER_HEARTBEAT_US;
        struct raft_message reply = {
            .type = RAFT_APPEND_REPLY, .from = 2, .to = 1, .term = term, .granted = true};
        cluster_receive(c, &reply);
        cluster_tick(c, 1);
        CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    }
    for (int i = 0; i < 9; i++) {
        c->now_us += CLUSTER_HEARTBEAT_US;
        cluster_tick(c, 1);
        CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    }
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, term);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 0);
    cluster_destroy(&c);
}

/* Trap 9 for a leader: after a stall the silence of the others is our own; it gets one timeout to hear them,
 * and steps down if it does not. */
static void a_stalled_leader_listens_before_it_steps_down(void)
{
    struct cluster *c = one_of_three();
    cluster_lead_alone(c, 1);
    c->now_us += 20 * CLUSTER_ELECTION_US;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    for (int i = 0; i < 10; i++) {
        c->now_us += CLUSTER_HEARTBEAT_US;
        cluster_tick(c, 1);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_destroy(&c);
}

/* A single member elects itself at once, as soon as its vote is on disk. */
static void a_sole_voter_does_not_wait(void)
{
    struct cluster *c = cluster_create(1, 1);
    cluster_disk_hold(c, 1, true);
    cluster_start(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_FALSE(cluster_status(c, 1).term_committed);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_TRUE(cluster_status(c, 1).term_committed);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->tick_us, c->now_us + CLUSTER_HEARTBEAT_US);
    cluster_destroy(&c);
}

/* A blank node never campaigns, but votes if asked and takes a leader's entries. */
static void a_blank_node_votes_and_follows(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    c->blank = true;
    cluster_start(c, 1);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->tick_us, UINT64_MAX);
    c->now_us += 100 * CLUSTER_ELECTION_US;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    struct raft_message vote = request(RAFT_REQUEST_VOTE, 2, 1, 1, 1);
    cluster_receive(c, &vote);
    cluster_settle(c);
    CU_ASSERT_TRUE(granted_to(c, 2, RAFT_VOTE_REPLY));
    struct raft_message beat = heartbeat(2, 1);
    cluster_receive(c, &beat);
    CU_ASSERT_TRUE(granted_to(c, 2, RAFT_APPEND_REPLY));
    cluster_destroy(&c);
}

/* Trap 8: a learner never campaigns, but votes if asked: it may not know yet that it was promoted. */
static void a_learner_votes_if_asked(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    c->configuration.members[0].voter_incoming = false;
    c->configuration.members[0].voter_outgoing = false;
    cluster_start(c, 1);
    c->now_us += 100 * CLUSTER_ELECTION_US;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    struct raft_message vote = request(RAFT_REQUEST_VOTE, 2, 1, 0, 0);
    cluster_receive(c, &vote);
    cluster_settle(c);
    CU_ASSERT_TRUE(granted_to(c, 2, RAFT_VOTE_REPLY));
    cluster_destroy(&c);
}

/* A learner's vote counts for nothing, and one voter's vote counts once. */
static void only_voters_count_and_only_once(void)
{
    struct cluster *c = cluster_create(4, 1);
    c->network_held = true;
    c->configuration.members[3].voter_incoming = false;
    c->configuration.members[3].voter_outgoing = false;
    cluster_start(c, 1);
    cluster_time_out(c, 1);
    CU_ASSERT_PTR_NULL(cluster_find(c, 1, 4, 0)); /* not even asked */
    struct raft_message learner = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 4, .to = 1, .term = 1, .granted = true};
    for (int i = 0; i < 3; i++) {
        struct raft_message copy = learner;
        cluster_receive(c, &copy);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_PRE_CANDIDATE);
    cluster_destroy(&c);

    c = cluster_create(5, 1);
    c->network_held = true;
    cluster_start(c, 1);
    cluster_time_out(c, 1);
    struct raft_message voter = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 1, .granted = true};
    for (int i = 0; i < 3; i++) {
        struct raft_message copy = voter;
        cluster_receive(c, &copy);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_PRE_CANDIDATE);
    cluster_destroy(&c);
}

/* Answers of another attempt do not count: of a pre-vote for another term, of a vote of an old term. */
static void late_votes_do_not_count(void)
{
    struct cluster *c = one_of_three();
    cluster_time_out(c, 1);
    struct raft_message wrong = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 5, .granted = true};
    cluster_receive(c, &wrong);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_PRE_CANDIDATE);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 0);
    struct raft_message right = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 1, .granted = true};
    struct raft_message twice = right;
    cluster_receive(c, &right);
    cluster_receive(c, &twice); /* the same grant again is no vote */
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    /* the attempt fails; a vote of its term comes during the next one */
    cluster_time_out(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_PRE_CANDIDATE);
    struct raft_message late = {
        .type = RAFT_VOTE_REPLY, .from = 2, .to = 1, .term = 1, .granted = true};
    cluster_receive(c, &late);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_PRE_CANDIDATE);
    cluster_destroy(&c);
}

/* A candidate that hears the leader of its term follows it (Raft §5.2). */
static void a_candidate_follows_the_leader_of_its_term(void)
{
    struct cluster *c = one_of_three();
    cluster_time_out(c, 1);
    struct raft_message grant = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 1, .granted = true};
    cluster_receive(c, &grant);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_CANDIDATE);
    struct raft_message beat = heartbeat(3, 1);
    cluster_receive(c, &beat);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 3);
    cluster_destroy(&c);
}

/* A request lost because the connection did not stand yet is sent again when it does. */
static void requests_are_repeated_when_a_connection_comes_up(void)
{
    struct cluster *c = one_of_three();
    cluster_time_out(c, 1);
    cluster_lose_all(c);
    struct raft_event up = {.type = RAFT_EVENT_PEER_UP, .peer = 3};
    cluster_step(c, 1, &up);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 3, RAFT_REQUEST_PRE_VOTE), 1);
    CU_ASSERT_EQUAL(c->flight_count, 1);
    cluster_destroy(&c);
}

/* Messages for another incarnation of this name, or from itself, are not for this node (trap 42). */
static void strangers_messages_are_dropped(void)
{
    struct cluster *c = one_of_three();
    struct raft_message other = request(RAFT_REQUEST_VOTE, 2, 4, 0, 0);
    other.to = 99;
    struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .received = &other};
    cluster_step(c, 1, &event);
    struct raft_message own = request(RAFT_REQUEST_VOTE, 1, 4, 0, 0);
    cluster_receive(c, &own);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 0);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_destroy(&c);
}

SUITE("raft: election", TEST(a_timeout_begins_with_a_pre_vote),
      TEST(every_attempt_draws_its_timeout_anew), TEST(a_long_stall_is_one_pre_vote),
      TEST(early_ticks_do_nothing), TEST(a_pre_vote_changes_nothing_at_the_voter),
      TEST(pre_vote_replies_carry_the_right_term), TEST(a_refused_pre_candidate_takes_on_the_term),
      TEST(a_candidate_asks_when_its_vote_is_on_disk), TEST(a_vote_is_granted_when_it_is_on_disk),
      TEST(a_later_vote_is_written_too), TEST(a_candidate_has_a_whole_timeout),
      TEST(one_vote_per_term_also_after_a_crash), TEST(voters_stick_to_a_living_leader),
      TEST(a_transfer_overrides_stickiness), TEST(a_leader_with_a_quorum_is_not_disturbed),
      TEST(an_old_leader_hears_the_term), TEST(a_leader_steps_down_for_a_higher_term),
      TEST(a_leader_without_a_quorum_steps_down),
      TEST(a_stalled_leader_listens_before_it_steps_down), TEST(a_sole_voter_does_not_wait),
      TEST(a_blank_node_votes_and_follows), TEST(a_learner_votes_if_asked),
      TEST(only_voters_count_and_only_once), TEST(late_votes_do_not_count),
      TEST(a_candidate_follows_the_leader_of_its_term),
      TEST(requests_are_repeated_when_a_connection_comes_up), TEST(strangers_messages_are_dropped))
