/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_leader_lease.c: reads by a lease, and the promises of voters that it stands on. Thesis §6.4.1; traps 10, 22,
 * 34, 35. The fake cluster asserts for every answer that its index is not below what was committed anywhere when
 * the read was asked. Transcripts: tests/scenario/20 and 21.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define LEASE_US (CLUSTER_ELECTION_US / 4 * LEASE_PARTS)

static struct cluster *leased(size_t count)
{
    struct cluster *c = cluster_create(count, 1);
    c->leader_lease = true;
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    return c;
}

static bool reads_at_once(struct cluster *c, uint64_t id)
{
    size_t read = cluster_read(c, id);
    return cluster_node(c, id)->reads[read].answered;
}

static void a_leader_with_a_lease_asks_nobody(void)
{
    struct cluster *c = leased(3);
    c->network_held = true;
    CU_ASSERT_TRUE(reads_at_once(c, 1));
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_destroy(&c);
}

static void without_the_setting_there_is_none(void)
{
    struct cluster *c = leased(3);
    cluster_node(c, 1)->raft->leader_lease = false;
    c->network_held = true;
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    cluster_destroy(&c);
}

/* A learner's question, and one of five voters, is answered by the lease with one message. */
static void questions_are_answered_by_the_lease(void)
{
    struct cluster *c = cluster_create(6, 1);
    c->leader_lease = true;
    c->configuration.members[5].voter_incoming = false;
    c->configuration.members[5].voter_outgoing = false;
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    for (uint64_t id = 5; id <= 6; id++) {
        size_t sent = c->sent_count;
        size_t read = cluster_read(c, id);
        cluster_settle(c);
        CU_ASSERT_TRUE(cluster_node(c, id)->reads[read].answered);
        CU_ASSERT_EQUAL(c->sent_count - sent, 2);
    }
    cluster_destroy(&c);
}

/* Trap 35: it begins when the append was sent, however late the answer comes. */
static void it_begins_when_the_append_was_sent(void)
{
    struct cluster *c = leased(3);
    c->network_held = true;
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    uint64_t sent_us = c->now_us;
    (void)cluster_deliver(c, 1, 2, 0);
    cluster_settle(c);
    cluster_lose_all(c);
    struct raft_message answer = {.type = RAFT_APPEND_REPLY,
                                  .from = 2,
                                  .to = 1,
                                  .term = cluster_status(c, 1).current_term,
                                  .granted = true,
                                  .match_index = 1,
                                  .sent_us = sent_us,
                                  .vote_promise_us = CLUSTER_ELECTION_US};
    c->now_us = sent_us + LEASE_US - 1;
    cluster_receive(c, &answer);
    CU_ASSERT_TRUE(reads_at_once(c, 1));
    c->now_us += 1;
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    cluster_destroy(&c);
}

/* Election timeouts may differ: who would vote for another sooner than the leader would has said so. Before, the leader
 * read on while both others had elected one of them. */
static void it_is_as_long_as_the_voters_promise(void)
{
    struct cluster *c = leased(3);
    for (uint64_t id = 2; id <= 3; id++) {
        struct raft *r = cluster_node(c, id)->raft;
        r->election_timeout_us = CLUSTER_ELECTION_US / 4;
        r->vote_from_us = c->now_us;
    }
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US); /* they have promised anew */
    c->network_held = true;
    cluster_lose_all(c);
    cluster_tick(c, 1); /* the appends that they answer are sent now, or were sent before */
    uint64_t now_us = c->now_us;
    c->now_us += LEASE_US / 4 - 1 - CLUSTER_HEARTBEAT_US;
    CU_ASSERT_TRUE(reads_at_once(c, 1));
    c->now_us = now_us + LEASE_US / 4;
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    cluster_destroy(&c);
}

/* A longer promise than its own timeout makes no longer lease: the leader gives up its lead by that. */
static void it_is_never_longer_than_the_leaders_own(void)
{
    struct cluster *c = leased(3);
    for (uint64_t id = 2; id <= 3; id++) {
        cluster_node(c, id)->raft->election_timeout_us = 10 * CLUSTER_ELECTION_US;
    }
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    c->network_held = true;
    c->now_us += LEASE_US;
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    cluster_destroy(&c);
}

/* A node without vote_guard promises nothing, whatever it acknowledges. */
static void who_promises_nothing_gives_none(void)
{
    struct cluster *c = leased(3);
    cluster_node(c, 2)->raft->vote_guard = false;
    cluster_node(c, 3)->raft->vote_guard = false;
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    c->network_held = true;
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    cluster_destroy(&c);
}

/* Of five, two that acknowledge are a majority with the leader; one is not. */
static void a_quorum_gives_it(void)
{
    struct cluster *c = leased(5);
    for (uint64_t id = 2; id <= 4; id++) {
        cluster_cut(c, id, 1, true);
    }
    cluster_run(c, LEASE_US + CLUSTER_HEARTBEAT_US);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    cluster_cut(c, 4, 1, false);
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(reads_at_once(c, 1));
    cluster_destroy(&c);
}

/* Trap 22: a damaged member promises nothing. */
static void a_damaged_members_word_does_not_count(void)
{
    struct cluster *c = leased(3);
    c->network_held = true;
    c->now_us += LEASE_US + CLUSTER_HEARTBEAT_US;
    struct raft *r = cluster_node(c, 1)->raft;
    cluster_flush(c, 1);
    struct raft_message answer = {.type = RAFT_APPEND_REPLY,
                                  .from = 2,
                                  .to = 1,
                                  .term = r->current_term,
                                  .granted = true,
                                  .match_index = 1,
                                  .sent_us = r->progress[0].sent_us,
                                  .vote_promise_us = CLUSTER_ELECTION_US,
                                  .flag_no_vote = true};
    cluster_receive(c, &answer);
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    answer.flag_no_vote = false;
    cluster_receive(c, &answer);
    CU_ASSERT_TRUE(reads_at_once(c, 1));
    cluster_destroy(&c);
}

/* Trap 34: given up before timeout_now is said, and not taken up again when the transfer fails. */
static void a_transfer_ends_it_for_the_term(void)
{
    struct cluster *c = leased(3);
    c->network_held = true;
    CU_ASSERT_TRUE(reads_at_once(c, 1));
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 3), OK);
    CU_ASSERT_PTR_NOT_NULL(cluster_find(c, 1, 3, RAFT_TIMEOUT_NOW));
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    cluster_lose_all(c);
    c->network_held = false;
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).transfer_target, 0);
    c->network_held = true;
    CU_ASSERT_FALSE(reads_at_once(c, 1));
    cluster_destroy(&c);
}

/* ---- the voter's promise --------------------------------------------------------------------------- */

static void request_vote(struct cluster *c, uint64_t from, uint64_t to, bool transfer)
{
    for (int pre_vote = 1; pre_vote >= 0; pre_vote--) {
        struct raft_message m = {.type = pre_vote ? RAFT_REQUEST_PRE_VOTE : RAFT_REQUEST_VOTE,
                                 .from = from,
                                 .to = to,
                                 .term = cluster_status(c, to).current_term + 1,
                                 .last_log_index = 100,
                                 .last_log_term = cluster_status(c, to).current_term,
                                 .flag_transfer = transfer};
        if (!pre_vote || !transfer) {
            cluster_receive(c, &m);
            cluster_settle(c);
        }
    }
}

static size_t votes(struct cluster *c, uint64_t from)
{
    return cluster_count_flights(c, from, 0, RAFT_PRE_VOTE_REPLY) +
           cluster_count_flights(c, from, 0, RAFT_VOTE_REPLY);
}

/* Trap 10: a voter that was restarted does not know what it promised; it waits as long as that can hold. */
static void a_restarted_voter_waits(void)
{
    struct cluster *c = leased(3);
    c->network_held = true;
    cluster_crash(c, 3, 0);
    cluster_lose_all(c);
    cluster_start(c, 3);
    cluster_lose_all(c);
    c->now_us += CLUSTER_ELECTION_US - 1;
    request_vote(c, 2, 3, false);
    CU_ASSERT_EQUAL(votes(c, 3), 0);
    c->now_us += 1;
    request_vote(c, 2, 3, false);
    CU_ASSERT_EQUAL(votes(c, 3), 2);
    cluster_destroy(&c);
}

/* ... but not for a transfer: that leader has no lease any more. A node that had no disk has promised nothing. */
static void transfers_and_new_nodes_do_not_wait(void)
{
    struct cluster *c = leased(3);
    c->network_held = true;
    cluster_crash(c, 3, 0);
    cluster_start(c, 3);
    cluster_lose_all(c);
    request_vote(c, 2, 3, true);
    CU_ASSERT_EQUAL(votes(c, 3), 1);
    cluster_destroy(&c);

    c = cluster_create(3, 1);
    c->leader_lease = true;
    c->network_held = true;
    cluster_start(c, 3);
    request_vote(c, 2, 3, false);
    CU_ASSERT_EQUAL(votes(c, 3), 2);
    cluster_destroy(&c);
}

/* A higher term heard of from elsewhere makes a voter forget its leader, not its promise. */
static void a_higher_term_does_not_end_the_promise(void)
{
    struct cluster *c = leased(3);
    c->network_held = true;
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    (void)cluster_deliver(c, 1, 3, 0);
    cluster_lose_all(c);
    struct raft_message refusal = {.type = RAFT_PRE_VOTE_REPLY,
                                   .from = 2,
                                   .to = 3,
                                   .term = cluster_status(c, 3).current_term + 1};
    cluster_receive(c, &refusal);
    CU_ASSERT_EQUAL(cluster_status(c, 3).leader, 0);
    c->now_us += CLUSTER_ELECTION_US - 1;
    request_vote(c, 2, 3, false);
    CU_ASSERT_EQUAL(votes(c, 3), 0);
    c->now_us += 1;
    request_vote(c, 2, 3, false);
    CU_ASSERT_EQUAL(votes(c, 3), 2);
    cluster_destroy(&c);
}

/* The promise counts from the answer's moment, not from when the clock was read before the message came: a
 * process may be stopped between the two. */
static void a_promise_counts_from_the_flush(void)
{
    struct cluster *c = leased(3);
    c->network_held = true;
    struct raft *r = cluster_node(c, 3)->raft;
    uint64_t read_us = c->now_us;
    struct raft_message beat = {.type = RAFT_APPEND_ENTRIES,
                                .from = 1,
                                .to = 3,
                                .term = r->current_term,
                                .sent_us = read_us + 500000};
    struct raft_event received = {.type = RAFT_EVENT_RECEIVED, .received = &beat};
    cluster_step_only(c, 3, &received);
    c->now_us = read_us + 600000;
    cluster_flush(c, 3);
    CU_ASSERT_EQUAL(r->vote_from_us, c->now_us + CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(r->election_deadline_us >= r->vote_from_us);
    cluster_destroy(&c);
}

SUITE("raft: leader lease", TEST(a_leader_with_a_lease_asks_nobody),
      TEST(without_the_setting_there_is_none), TEST(questions_are_answered_by_the_lease),
      TEST(it_begins_when_the_append_was_sent), TEST(it_is_as_long_as_the_voters_promise),
      TEST(it_is_never_longer_than_the_leaders_own), TEST(who_promises_nothing_gives_none),
      TEST(a_quorum_gives_it), TEST(a_damaged_members_word_does_not_count),
      TEST(a_transfer_ends_it_for_the_term), TEST(a_restarted_voter_waits),
      TEST(transfers_and_new_nodes_do_not_wait), TEST(a_higher_term_does_not_end_the_promise),
      TEST(a_promise_counts_from_the_flush))
