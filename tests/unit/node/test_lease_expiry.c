/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_lease_expiry.c: what a leader's apply actor proposes about leases: each that is due once, naming the
 * renewal it saw, again in a new term, bounded; and the time itself now and then. (src/node/lease_expiry.c;
 * trap 53)
 */
#include "hand_runner.h"
#include "node/lease_expiry.h"

#include "../kv/fixture.h"

#define SECOND_US UINT64_C(1000000)

struct keeping {
    struct fixture kv;
    struct actor *raft;
    struct lease_expiry k;
};

static void set_up(struct keeping *x)
{
    *x = (struct keeping){0};
    fixture_start(&x->kv);
    x->raft = hand_receiver();
}

static void tear_down(struct keeping *x)
{
    fixture_end(&x->kv);
    actor_destroy(x->raft);
}

static void apply(struct keeping *x, struct command c)
{
    CU_ASSERT_EQUAL(fixture_error(&x->kv, &c), OK);
}

static void grant(struct keeping *x, int64_t id, int64_t ttl_s, uint64_t time_us)
{
    apply(x, (struct command){.op = COMMAND_LEASE_GRANT,
                              .lease_id = id,
                              .ttl_s = ttl_s,
                              .cluster_time_us = time_us});
}

static void hear(struct keeping *x, uint64_t term, uint64_t time_us, bool leads)
{
    const struct apply_clock clock = {.term = term, .cluster_time_us = time_us, .leads = leads};
    lease_expiry_clock(&x->k, &clock, x->kv.kv, x->raft);
}

/* What was proposed, applied at once if `carry_out`. Returns how many of that operation. */
static size_t proposed(struct keeping *x, enum command_op op, bool carry_out)
{
    struct msg *m = NULL;
    size_t count = 0;
    while ((m = hand_find(x->raft, RAFT_PROPOSE)) != NULL) {
        struct raft_propose *propose = (struct raft_propose *)m;
        struct command c;
        CU_ASSERT_TRUE(propose->only_if_leader);
        CU_ASSERT_EQUAL(propose->request_id, 0);
        CU_ASSERT_EQUAL_FATAL(command_decode(bytes_view(&propose->command), &c), OK);
        count += c.op == op;
        if (carry_out) {
            c.cluster_time_us = x->k.cluster_time_us; /* raft stamps it */
            apply(x, c);
        }
        msg_free_base(&m);
    }
    return count;
}

static void a_due_lease_is_proposed_once(void)
{
    struct keeping x;
    set_up(&x);
    grant(&x, 1, 10, 0);
    hear(&x, 2, 9 * SECOND_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, true), 0);
    hear(&x, 2, 10 * SECOND_US, true);
    hear(&x, 2, 10 * SECOND_US + 1, true);
    lease_expiry_applied(&x.k, x.kv.kv, x.raft);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, true), 1);
    CU_ASSERT_EQUAL(kv_lease_count(x.kv.kv), 0);
    tear_down(&x);
}

/* A follower proposes nothing; a leader of another term begins again, for what the earlier one proposed may
 * have been lost. */
static void it_is_a_leaders_work_and_a_terms(void)
{
    struct keeping x;
    set_up(&x);
    grant(&x, 1, 10, 0);
    hear(&x, 2, 20 * SECOND_US, false);
    lease_expiry_applied(&x.k, x.kv.kv, x.raft);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, false), 0);
    hear(&x, 3, 20 * SECOND_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, false), 1); /* lost */
    hear(&x, 4, 20 * SECOND_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, false), 1);
    hear(&x, 4, 21 * SECOND_US, false);
    hear(&x, 6, 21 * SECOND_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, true), 1);
    CU_ASSERT_EQUAL(kv_lease_count(x.kv.kv), 0);
    tear_down(&x);
}

/* Trap 53: kept alive between the proposal and its turn in the log; and then due again by the new deadline. */
static void a_renewal_in_between_wins(void)
{
    struct keeping x;
    uint8_t octets[8] = {1};
    set_up(&x);
    grant(&x, 1, 10, 0);
    hear(&x, 2, 10 * SECOND_US, true);
    apply(&x, (struct command){.op = COMMAND_LEASE_KEEPALIVE,
                               .ids = view_of(octets, 8),
                               .cluster_time_us = 10 * SECOND_US});
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, true), 1);
    CU_ASSERT_EQUAL(kv_lease_count(x.kv.kv), 1);
    hear(&x, 2, 20 * SECOND_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, true), 1);
    CU_ASSERT_EQUAL(kv_lease_count(x.kv.kv), 0);
    tear_down(&x);
}

/* Many at once: so many under way, the rest as those are applied. */
static void what_is_under_way_is_bounded(void)
{
    struct keeping x;
    set_up(&x);
    for (int64_t id = 1; id <= LEASE_EXPIRIES_MAX + 10; id++) {
        grant(&x, id, 10, 0);
    }
    hear(&x, 2, 10 * SECOND_US, true);
    hear(&x, 2, 11 * SECOND_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, true), LEASE_EXPIRIES_MAX);
    CU_ASSERT_EQUAL(kv_lease_count(x.kv.kv), 10);
    lease_expiry_applied(&x.k, x.kv.kv, x.raft);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, true), 10);
    CU_ASSERT_EQUAL(kv_lease_count(x.kv.kv), 0);
    tear_down(&x);
}

/* Refused by raft within the term (too much was under way): nobody says so, it is proposed again. */
static void a_proposal_that_got_lost_is_made_again(void)
{
    struct keeping x;
    set_up(&x);
    grant(&x, 1, 10, 0);
    hear(&x, 2, 10 * SECOND_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, false), 1);
    hear(&x, 2, 10 * SECOND_US + LEASE_PROPOSE_AGAIN_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, false), 0);
    hear(&x, 2, 10 * SECOND_US + LEASE_PROPOSE_AGAIN_US + 1, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_LEASE_EXPIRE, true), 1);
    CU_ASSERT_EQUAL(kv_lease_count(x.kv.kv), 0);
    tear_down(&x);
}

/* So that a restart of all loses little: a stamp enters the log while there are leases and nothing else
 * brings one. */
static void the_time_enters_the_log(void)
{
    struct keeping x;
    set_up(&x);
    hear(&x, 2, 100 * SECOND_US, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_CLOCK, true), 0); /* no leases */
    grant(&x, 1, 1000, 100 * SECOND_US);
    hear(&x, 2, 100 * SECOND_US + LEASE_CLOCK_US - 1, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_CLOCK, true), 0);
    hear(&x, 2, 100 * SECOND_US + LEASE_CLOCK_US, true);
    hear(&x, 2, 100 * SECOND_US + LEASE_CLOCK_US + 1, true); /* one is under way */
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_CLOCK, true), 1);
    uint64_t stamped_us = kv_cluster_time_us(x.kv.kv);
    CU_ASSERT_TRUE(stamped_us >= 100 * SECOND_US + LEASE_CLOCK_US);
    grant(&x, 2, 1000, stamped_us + LEASE_CLOCK_US); /* something else brings one */
    hear(&x, 2, stamped_us + LEASE_CLOCK_US + 1, true);
    CU_ASSERT_EQUAL(proposed(&x, COMMAND_CLOCK, true), 0);
    tear_down(&x);
}

SUITE("node: expiry of leases", TEST(a_due_lease_is_proposed_once),
      TEST(it_is_a_leaders_work_and_a_terms), TEST(a_renewal_in_between_wins),
      TEST(what_is_under_way_is_bounded), TEST(a_proposal_that_got_lost_is_made_again),
      TEST(the_time_enters_the_log))
