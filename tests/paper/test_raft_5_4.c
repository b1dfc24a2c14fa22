/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_5_4.c: Raft §5.4 "Safety" and §5.5, §5.6, statement by statement: who may be elected, what may be
 * committed, Fig. 8 in both its endings, Fig. 9's argument as a schedule, crashes and timing.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* ---- 5.4.1 ------------------------------------------------------------------------------------------------ */

static bool votes_for(const uint64_t *own, uint64_t last_log_index, uint64_t last_log_term)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, own);
    cluster_start(c, 1);
    bool granted[2];
    for (int i = 0; i < 2; i++) {
        /* the pre-vote asks the same question */
        struct raft_message m = {
            .type = i == 0 ? RAFT_REQUEST_PRE_VOTE : RAFT_REQUEST_VOTE,
            .from = 2,
            .to = 1,
            .term = 20,
            .last_log_index = last_log_index,
            .last_log_term = last_log_term,
        };
        cluster_receive(c, &m);
        cluster_settle(c);
        granted[i] = cluster_find(c, 1, 2, i == 0 ? RAFT_PRE_VOTE_REPLY : RAFT_VOTE_REPLY)->granted;
    }
    CU_ASSERT_EQUAL(granted[0], granted[1]);
    cluster_destroy(&c);
    return granted[1];
}

/* A voter refuses if its own log is more up-to-date: the later last term wins, then the longer log. */
static void voters_refuse_who_is_less_up_to_date(void)
{
    CU_ASSERT_TRUE(votes_for(TERMS(1, 2), 2, 2));       /* the same */
    CU_ASSERT_TRUE(votes_for(TERMS(1, 2), 3, 2));       /* longer */
    CU_ASSERT_FALSE(votes_for(TERMS(1, 2), 1, 2));      /* shorter */
    CU_ASSERT_TRUE(votes_for(TERMS(1, 2, 2, 2), 1, 3)); /* later term, though shorter */
    CU_ASSERT_FALSE(votes_for(TERMS(1, 3), 99, 2));     /* earlier term, though longer */
    CU_ASSERT_FALSE(votes_for(TERMS(1), 0, 0));         /* empty */
    CU_ASSERT_TRUE(votes_for((const uint64_t[]){0}, 0, 0));
}

/* So a candidate wins only with every committed entry: a committed entry is in a majority, and each majority that
 * could elect somebody without it has a member that refuses. All elections of five nodes, three of which have it. */
static void nobody_without_the_committed_entries_wins(void)
{
    for (uint64_t id = 1; id <= 5; id++) {
        struct cluster *c = cluster_create(5, id);
        for (uint64_t k = 1; k <= 3; k++) {
            cluster_set_log(c, k, TERMS(1, 1, 2));
        }
        cluster_set_log(c, 4, TERMS(1, 1));
        cluster_set_log(c, 5, TERMS(1, 1, 1, 1, 1));
        cluster_start_all(c);
        cluster_time_out(c, id);
        cluster_settle(c);
        CU_ASSERT_EQUAL(cluster_status(c, id).role == RAFT_LEADER, id <= 3);
        cluster_destroy(&c);
    }
}

/* ---- 5.4.2, Fig. 8 ------------------------------------------------------------------------------------------ */

static void deliver_to_majority(struct cluster *c)
{
    cluster_settle(c);
}

/* Fig. 8 up to (c): entry 2 of term 2 lies on S1, S2, S3, a majority; S1 leads term 4 and has entry 3 of term 4,
 * which nobody else has. The paper's entries are the no-ops of the terms here. Append messages hold one entry. */
static struct cluster *figure_8_c(void)
{
    struct cluster *c = cluster_create(5, 1);
    c->append_bytes_max = 1;
    for (uint64_t id = 1; id <= 5; id++) {
        cluster_set_log(c, id, TERMS(1));
    }
    cluster_start_all(c);

    /* (a) S1 leads term 2 and reaches only S2 with its entry. */
    cluster_elect(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 2);
    for (uint64_t id = 1; id <= 5; id++) {
        /* undo what reached the others: their disks had not done it yet when all stopped */
        cluster_crash(c, id, 0);
        cluster_set_log(c, id, id <= 2 ? TERMS(1, 2) : TERMS(1));
        cluster_set_term(c, id, 2, 1);
        cluster_node(c, id)->applied_index = 0;
        cluster_node(c, id)->kv_durable_index = 0;
    }
    c->committed_count = 0; /* nothing of this was committed in the paper's story */
    c->leadership_count = 0;

    /* (b) S1 is down; S5 leads term 3 with the votes of S3 and S4, and makes its own entry 2. */
    for (uint64_t id = 3; id <= 5; id++) {
        cluster_start(c, id);
    }
    c->network_held = true;
    cluster_time_out(c, 5);
    while (cluster_status(c, 5).role != RAFT_LEADER) {
        if (!cluster_deliver(c, 0, 0, 0)) {
            break;
        }
        cluster_settle(c);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 5).current_term, 3);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 5), "1 3");
    cluster_crash(c, 5, 0); /* nobody heard of it */
    cluster_lose_all(c);

    /* (c) S5 is down; S1 is back, leads term 4 and goes on with entry 2: it reaches S3. */
    cluster_start(c, 1);
    cluster_start(c, 2);
    cluster_lose_all(c);
    cluster_time_out(c, 1);
    while (cluster_status(c, 1).role != RAFT_LEADER) {
        while (cluster_count_flights(c, 0, 0, 0) > 0 && cluster_status(c, 1).role != RAFT_LEADER) {
            (void)cluster_deliver(c, 0, 0, 0);
            cluster_settle(c);
        }
        if (cluster_status(c, 1).role != RAFT_LEADER) {
            cluster_time_out(c, 1); /* refused once by the term of S3 and S4 */
        }
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).current_term, 4);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 2 4");
    while (cluster_status(c, 3).last_log_index < 2) {
        if (!cluster_deliver(c, 1, 3, 0) && !cluster_deliver(c, 3, 1, 0)) {
            break;
        }
        cluster_settle(c);
    }
    while (cluster_deliver(c, 3, 1, 0)) {
        cluster_settle(c);
    }
    /* S2 has entry 2 and says so, but gets nothing new */
    (void)cluster_lose(c, 1, 2, 0);
    struct raft_message from_2 = {.type = RAFT_APPEND_REPLY,
                                  .from = 2,
                                  .to = 1,
                                  .term = 4,
                                  .granted = true,
                                  .match_index = 2};
    cluster_receive(c, &from_2);
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 2), "1 2");
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 3), "1 2");
    return c;
}

/* Trap 11. In (c) entry 2 is on a majority, but of an old term: it is not committed by counting. And it must not be,
 * for in (d) S5 is elected by S2, S3, S4 and overwrites it. */
static void figure_8_d_an_entry_on_a_majority_is_overwritten(void)
{
    struct cluster *c = figure_8_c();
    struct raft_progress p;
    CU_ASSERT_TRUE(raft_progress_of(cluster_node(c, 1)->raft, 3, &p));
    CU_ASSERT_EQUAL(p.match_index, 2);
    CU_ASSERT_TRUE(raft_progress_of(cluster_node(c, 1)->raft, 2, &p));
    CU_ASSERT_EQUAL(p.match_index, 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 3);
    CU_ASSERT_TRUE(cluster_status(c, 1).commit_index < 2);

    cluster_crash(c, 1, 0);
    cluster_lose_all(c);
    c->network_held = false;
    cluster_start(c, 5);
    while (cluster_status(c, 5).role != RAFT_LEADER) {
        cluster_time_out(c, 5);
        cluster_settle(c);
    }
    CU_ASSERT_TRUE(cluster_status(c, 5).current_term >= 5);
    for (uint64_t id = 2; id <= 5; id++) {
        CU_ASSERT_EQUAL(cluster_node(c, id)->disk.entries[1].term, 3);
    }
    CU_ASSERT_TRUE(cluster_status(c, 5).commit_index >= 2);
    cluster_start(c, 1);
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* (e): had S1 replicated an entry of its own term 4 to a majority, S5 could not win, and entry 2 is committed with it. */
static void figure_8_e_an_entry_of_the_own_term_protects_all_before(void)
{
    struct cluster *c = figure_8_c();
    cluster_crash(c, 4, 0); /* S4 hears nothing of it */
    c->network_held = false;
    for (int beat = 0; beat < 2; beat++) {
        c->now_us += CLUSTER_HEARTBEAT_US; /* finds what was lost */
        cluster_tick(c, 1);
        cluster_settle(c);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 3);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 2), "1 2 4");
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 3), "1 2 4");
    cluster_crash(c, 1, 0);
    cluster_start(c, 4);
    cluster_start(c, 5);
    for (int i = 0; i < 5; i++) {
        cluster_time_out(c, 5);
        cluster_settle(c);
        CU_ASSERT_NOT_EQUAL(cluster_status(c, 5).role, RAFT_LEADER);
    }
    while (cluster_status(c, 2).role != RAFT_LEADER) {
        cluster_time_out(c, 2);
        cluster_settle(c);
    }
    CU_ASSERT_EQUAL(cluster_node(c, 5)->disk.entries[1].term, 2);
    cluster_destroy(&c);
}

/* Entries keep their terms when a later leader replicates them. */
static void entries_keep_their_terms(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_set_log(c, 1, TERMS(1, 1, 3));
    cluster_start_all(c);
    cluster_elect(c, 1);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 2), "1 1 3 4");
    CU_ASSERT_EQUAL(cluster_node(c, 3)->disk.entries[2].term, 3);
    cluster_destroy(&c);
}

/* ---- 5.4.3, Fig. 9 -------------------------------------------------------------------------------------------- */

/* S1 commits an entry with S2 and S3 and dies. S5, which lacks it, cannot be elected: any majority without S1 has a
 * voter that holds the entry. Whoever is elected has it. */
static void the_voter_in_between_keeps_the_entry(void)
{
    for (uint64_t id = 2; id <= 5; id++) {
        struct cluster *c = cluster_create(5, 1);
        cluster_start_all(c);
        cluster_elect(c, 1);
        cluster_isolate(c, 4, true);
        cluster_isolate(c, 5, true);
        (void)cluster_propose(c, 1, "committed");
        deliver_to_majority(c);
        CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2);
        cluster_crash(c, 1, 0);
        cluster_heal(c);
        cluster_time_out(c, id);
        cluster_settle(c);
        CU_ASSERT_EQUAL(cluster_status(c, id).role == RAFT_LEADER, id <= 3);
        cluster_destroy(&c);
    }
}

/* ---- 5.5, 5.6 -------------------------------------------------------------------------------------------------- */

/* A follower that crashed is asked again until it answers; one that had done what it was asked but died before it
 * said so is asked again and takes no harm. */
static void a_crashed_follower_catches_up(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    c->network_held = true;
    (void)cluster_propose(c, 1, "x");
    (void)cluster_deliver(c, 1, 2, RAFT_APPEND_ENTRIES);
    cluster_crash(c, 2, 1); /* on disk, but not told */
    CU_ASSERT_EQUAL(cluster_node(c, 2)->disk.count, 2);
    c->network_held = false;
    cluster_settle(c);
    cluster_start(c, 2);
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_EQUAL(cluster_status(c, 2).last_log_index, 2);
    cluster_destroy(&c);
}

/* Safety does not depend on timing: with ticks at absurd times, late, early and out of order, nothing breaks; the
 * fake cluster asserts. And as soon as messages are faster than timeouts again, there is a leader. */
static void safety_does_not_depend_on_timing(void)
{
    struct cluster *c = cluster_create(5, 8);
    c->delay_us_max = 3 * CLUSTER_ELECTION_US; /* slower than any timeout */
    c->disk_us_max = CLUSTER_ELECTION_US;
    cluster_start_all(c);
    for (uint64_t i = 0; i < 300; i++) {
        uint64_t id = 1 + random_below(&c->random, 5);
        if (random_below(&c->random, 3) == 0) {
            cluster_tick(c, id);
        } else if (cluster_status(c, id).role != RAFT_LEADER && random_below(&c->random, 4) == 0) {
            cluster_time_out(c, id);
        }
        (void)cluster_propose(c, id, "x");
        cluster_run(c, CLUSTER_HEARTBEAT_US);
        cluster_check_logs(c);
    }
    c->delay_us_max = 1000;
    c->disk_us_max = 1000;
    cluster_run(c, 4 * CLUSTER_ELECTION_US); /* the slow messages are gone */
    CU_ASSERT_TRUE(cluster_await_leader(c, 10 * CLUSTER_ELECTION_US));
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

SUITE("Raft 5.4", TEST(voters_refuse_who_is_less_up_to_date),
      TEST(nobody_without_the_committed_entries_wins),
      TEST(figure_8_d_an_entry_on_a_majority_is_overwritten),
      TEST(figure_8_e_an_entry_of_the_own_term_protects_all_before), TEST(entries_keep_their_terms),
      TEST(the_voter_in_between_keeps_the_entry), TEST(a_crashed_follower_catches_up),
      TEST(safety_does_not_depend_on_timing))
