/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_pilot.c: what the leader sees of the members, and what its autopilot makes of that, over time and with a
 * real core: standbys get a vote after they were heard for a while, a voter that is silent is replaced in one joint step
 * and never merely taken out (traps 40, 43), one change at a time (trap 39), and a new leader starts from what it
 * sees itself. (src/node/raft_pilot.c; the rules one by one are in tests/unit/pilot)
 */
#include "raft_hand.h"

#define SETTLE (2 * HAND_ELECTION)
#define STABLE (5 * HAND_ELECTION)

static struct pilot_view seen;
static struct cluster_report report;

static const struct pilot_member *shown(const struct raft_hand *h, uint64_t node)
{
    raft_pilot_view(h->raft, h->now_us, &seen);
    for (size_t i = 0; i < seen.member_count; i++) {
        if (seen.members[i].id == HAND_ID(node)) {
            return &seen.members[i];
        }
    }
    CU_FAIL_FATAL("no such member");
    return NULL;
}

static const struct cluster_report *report_of(const struct raft_hand *h)
{
    raft_pilot_report(h->raft, h->now_us, &report);
    return &report;
}

static bool votes(const struct raft_hand *h, uint64_t node)
{
    return configuration_is_voter(raft_hand_members(h), HAND_ID(node));
}

static void wish(struct raft_hand *h, uint64_t number, uint32_t voters, uint32_t heal_after_s)
{
    const struct member_request request = {
        .action = MEMBER_WISH,
        .set_voters = true,
        .set_heal_after_s = true,
        .wish = {.voters = voters, .heal_after_s = heal_after_s}};
    raft_hand_ask(h, number, 60 * HAND_SECOND, &request);
    raft_hand_run(h, HAND_SECOND / 2);
    CU_ASSERT_EQUAL_FATAL(raft_hand_told(h, number), OK);
}

static void pause_pilot(struct raft_hand *h, uint64_t number, bool paused)
{
    const struct member_request request = {
        .action = MEMBER_WISH, .set_paused = true, .wish = {.paused = paused}};
    raft_hand_ask(h, number, 60 * HAND_SECOND, &request);
    raft_hand_run(h, HAND_SECOND / 2);
    CU_ASSERT_EQUAL_FATAL(raft_hand_told(h, number), OK);
}

/* Run until the configuration votes so, at most so long. How long it took; UINT64_MAX: it did not come to it. */
static uint64_t run_until_voters(struct raft_hand *h, size_t count, uint64_t limit_us)
{
    uint64_t start_us = h->now_us;
    while (h->now_us - start_us < limit_us) {
        const struct configuration *c = raft_settled_configuration(h->raft->core);
        if (configuration_voter_count(c) == count && !configuration_is_joint(c)) {
            return h->now_us - start_us;
        }
        raft_hand_run(h, HAND_STEP);
    }
    return UINT64_MAX;
}

/* Another term is heard of: this node leads no more, and is elected anew. */
static void lead_again(struct raft_hand *h)
{
    struct raft_status status;
    raft_status(h->raft->core, &status);
    uint64_t term = status.current_term;
    raft_hand_receive(
        h, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = HAND_ID(2), .term = term + 1});
    raft_hand_round(h);
    raft_status(h->raft->core, &status);
    CU_ASSERT_EQUAL(status.role, RAFT_FOLLOWER);
    CU_ASSERT_FALSE(report_of(h)->leads);
    for (size_t i = 0; i < 500 && !raft_hand_leads(h); i++) {
        raft_hand_run(h, HAND_STEP);
    }
    CU_ASSERT_TRUE_FATAL(raft_hand_leads(h));
}

/* ---- what is seen -------------------------------------------------------------------------------------------- */

static void what_a_leader_sees(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 4, 3);
    raft_hand_run(&h, 2 * HAND_SECOND);
    for (uint64_t node = 1; node <= 4; node++) {
        const struct pilot_member *m = shown(&h, node);
        CU_ASSERT_TRUE(m->alive);
        CU_ASSERT_TRUE(m->caught_up);
        CU_ASSERT_FALSE(m->unfit);
        CU_ASSERT_EQUAL(m->silent_us, 0);
        CU_ASSERT_TRUE(m->steady_us >= HAND_SECOND / 2);
        CU_ASSERT_TRUE(m->steady_us <= 3 * HAND_SECOND);
    }
    CU_ASSERT_EQUAL(seen.leader_id, HAND_ID(1));
    CU_ASSERT_TRUE(seen.settled);
    CU_ASSERT_EQUAL(seen.settle_us, SETTLE);
    CU_ASSERT_EQUAL(seen.stable_us, STABLE);

    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, HAND_ELECTION / 2);
    CU_ASSERT_TRUE(shown(&h, 3)->alive); /* not yet */
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_FALSE(shown(&h, 3)->alive);
    CU_ASSERT_EQUAL(shown(&h, 3)->steady_us, 0);
    CU_ASSERT_TRUE(shown(&h, 3)->silent_us >= 3 * HAND_SECOND);
    CU_ASSERT_TRUE(shown(&h, 3)->silent_us <= 4 * HAND_SECOND);
    hand_other(&h, 3)->silent = false;
    raft_hand_run(&h, 2 * HAND_SECOND);
    CU_ASSERT_TRUE(shown(&h, 3)->alive);
    CU_ASSERT_TRUE(shown(&h, 3)->steady_us <= 2 * HAND_SECOND); /* from anew */

    hand_other(&h, 2)->damaged = true;
    hand_other(&h, 3)->disk_age_us = HAND_ELECTION;
    raft_hand_run(&h, HAND_SECOND / 2);
    CU_ASSERT_TRUE(shown(&h, 2)->unfit);
    CU_ASSERT_TRUE(shown(&h, 3)->unfit);
    CU_ASSERT_FALSE(shown(&h, 4)->unfit);
    raft_hand_destroy(&h);
}

/* Who was never heard by this leader has been silent since it leads, and no longer. */
static void silence_is_counted_from_this_lead(void)
{
    struct raft_hand h;
    raft_hand_create(&h, 3, 3);
    hand_started(h.actor, h.now_us);
    hand_other(&h, 3)->silent = true;
    raft_hand_up(&h, 2);
    raft_hand_run(&h, 60 * HAND_SECOND);
    CU_ASSERT_TRUE_FATAL(raft_hand_leads(&h));
    uint64_t led_us = h.now_us - h.raft->pilot.led_since_us;
    CU_ASSERT_EQUAL(shown(&h, 3)->silent_us, led_us);
    lead_again(&h);
    CU_ASSERT_TRUE(shown(&h, 3)->silent_us < 2 * HAND_SECOND);
    raft_hand_destroy(&h);
}

static void who_does_not_lead_says_nothing_of_the_members(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    CU_ASSERT_FALSE(report_of(&h)->leads);
    CU_ASSERT_EQUAL(report.member_count, 0);
    raft_hand_run(&h, 10 * HAND_MS);
    raft_hand_destroy(&h);
}

static void what_it_reports(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, 3 * HAND_SECOND);
    struct raft_status status;
    raft_status(h.raft->core, &status);
    CU_ASSERT_TRUE(report_of(&h)->leads);
    CU_ASSERT_EQUAL(report.action, PILOT_REST);
    CU_ASSERT_EQUAL(report.voters_wanted, 3);
    CU_ASSERT_EQUAL(report.member_count, 3);
    CU_ASSERT_STRING_EQUAL(report.last_change, "");
    CU_ASSERT_EQUAL(report.last_change_ago_us, 0);
    for (size_t i = 0; i < report.member_count; i++) {
        CU_ASSERT_EQUAL(report.members[i].match_index, status.last_log_index);
    }
    raft_hand_destroy(&h);
}

/* ---- what is done -------------------------------------------------------------------------------------------- */

/* One node founds, two call: they vote when they have been heard without a break for a while, both in one joint step
 * (trap 40). */
static void standbys_get_a_vote(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 1, 1);
    raft_hand_up(&h, 2);
    raft_hand_up(&h, 3);
    uint64_t took_us = run_until_voters(&h, 3, 30 * HAND_SECOND);
    CU_ASSERT_TRUE(took_us >= STABLE);
    CU_ASSERT_TRUE(took_us <= STABLE + 5 * HAND_SECOND);
    CU_ASSERT_EQUAL(h.config_entries, 4); /* two admissions, C_old,new and C_new */
    CU_ASSERT_STRING_EQUAL(report_of(&h)->last_change, "grow from 1 voters to 3");
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_TRUE(report_of(&h)->last_change_ago_us >= 3 * HAND_SECOND);
    CU_ASSERT_TRUE(report.last_change_ago_us <= 4 * HAND_SECOND);
    CU_ASSERT_EQUAL(report.action, PILOT_REST);
    raft_hand_destroy(&h);
}

/* A break begins the waiting anew; a damaged standby, or one whose disk hangs, waits until it is neither. */
static void a_standby_has_to_be_sound_for_a_while(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 1, 1);
    raft_hand_up(&h, 2);
    raft_hand_up(&h, 3);
    raft_hand_run(&h, STABLE - HAND_SECOND);
    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 2 * HAND_SECOND);
    hand_other(&h, 3)->silent = false;
    CU_ASSERT_EQUAL(run_until_voters(&h, 3, STABLE - HAND_SECOND), UINT64_MAX);
    hand_other(&h, 2)->damaged = true;
    CU_ASSERT_EQUAL(run_until_voters(&h, 3, 2 * STABLE), UINT64_MAX);
    hand_other(&h, 2)->damaged = false;
    hand_other(&h, 3)->disk_age_us = 2 * HAND_ELECTION;
    CU_ASSERT_EQUAL(run_until_voters(&h, 3, 2 * STABLE), UINT64_MAX);
    CU_ASSERT_EQUAL(configuration_voter_count(raft_hand_members(&h)), 1);
    hand_other(&h, 3)->disk_age_us = 0;
    CU_ASSERT_NOT_EQUAL(run_until_voters(&h, 3, STABLE), UINT64_MAX);
    raft_hand_destroy(&h);
}

/* Trap 43: a silent voter is replaced when people said so, by one that has the log, and in the same step. */
static void a_silent_voter_is_replaced(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 4, 3);
    wish(&h, 1, 3, 20);
    raft_hand_run(&h, STABLE + SETTLE);
    size_t entries = h.config_entries;
    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 19 * HAND_SECOND);
    CU_ASSERT_TRUE(votes(&h, 3));
    CU_ASSERT_FALSE(votes(&h, 4));
    raft_hand_run(&h, 4 * HAND_SECOND);
    CU_ASSERT_FALSE(votes(&h, 3));
    CU_ASSERT_TRUE(votes(&h, 4));
    CU_ASSERT_EQUAL(configuration_voter_count(raft_hand_members(&h)), 3);
    CU_ASSERT_EQUAL(h.config_entries, entries + 2);
    CU_ASSERT_STRING_EQUAL(report_of(&h)->last_change, "replace n3 (silent for 20 s) by n4");
    raft_hand_destroy(&h);
}

/* ... but not without a standby, not where healing is switched off, not while somebody else changes members, and not
 * where no majority of the voters is alive. */
static void silence_alone_takes_no_vote(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    wish(&h, 1, 3, 5);
    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 60 * HAND_SECOND);
    CU_ASSERT_EQUAL(configuration_voter_count(raft_hand_members(&h)), 3);
    CU_ASSERT_EQUAL(report_of(&h)->action, PILOT_WAIT);
    raft_hand_destroy(&h);

    raft_hand_lead(&h, 4, 3);
    wish(&h, 1, 3, WISH_HEAL_NEVER);
    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 600 * HAND_SECOND);
    CU_ASSERT_TRUE(votes(&h, 3));
    CU_ASSERT_FALSE(votes(&h, 4));
    raft_hand_destroy(&h);

    raft_hand_lead(&h, 4, 3);
    wish(&h, 1, 3, 5);
    pause_pilot(&h, 2, true);
    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 60 * HAND_SECOND);
    CU_ASSERT_TRUE(votes(&h, 3));
    CU_ASSERT_STRING_EQUAL(report_of(&h)->reason, "paused");
    pause_pilot(&h, 3, false);
    raft_hand_run(&h, 5 * HAND_SECOND);
    CU_ASSERT_FALSE(votes(&h, 3));
    CU_ASSERT_TRUE(votes(&h, 4));
    raft_hand_destroy(&h);
}

/* Two of three voters fall silent: whoever leads cannot heal that by itself, and steps down soon (check-quorum). */
static void without_a_majority_nothing_is_changed(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 5, 3);
    wish(&h, 1, 3, 1);
    raft_hand_run(&h, STABLE + SETTLE);
    size_t entries = h.config_entries;
    hand_other(&h, 2)->silent = hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 30 * HAND_SECOND);
    CU_ASSERT_EQUAL(h.config_entries, entries);
    CU_ASSERT_TRUE(votes(&h, 2) && votes(&h, 3));
    CU_ASSERT_FALSE(raft_hand_leads(&h));
    raft_hand_destroy(&h);
}

/* Trap 39 and hysteresis: two voters are lost one after the other; the second is replaced when the first replacement is
 * committed and some time has passed, not together with it. */
static void one_change_and_then_a_pause(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 5, 3);
    wish(&h, 1, 3, 10);
    raft_hand_run(&h, STABLE + SETTLE);
    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 9 * HAND_SECOND);
    CU_ASSERT_TRUE(votes(&h, 3));
    h.disk_waits =
        true; /* the change begins and is committed by the others: not settled before C_new is */
    raft_hand_run(&h, 3 * HAND_SECOND);
    h.disk_waits = false;
    raft_hand_round(&h);
    raft_hand_run(&h, HAND_SECOND);
    CU_ASSERT_FALSE(votes(&h, 3));
    uint64_t first_us = h.raft->pilot.last_change_us;
    hand_other(&h, 2)->silent = true;
    raft_hand_run(&h, 30 * HAND_SECOND);
    CU_ASSERT_FALSE(votes(&h, 2));
    CU_ASSERT_TRUE(h.raft->pilot.last_change_us - first_us >= SETTLE);
    CU_ASSERT_EQUAL(configuration_voter_count(raft_hand_members(&h)), 3);
    raft_hand_destroy(&h);
}

/* A wish for fewer: the leader is the last to lose its vote. */
static void fewer_voters_by_a_wish_only(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, SETTLE + HAND_SECOND);
    wish(&h, 1, 1, 60);
    /* the wish is a change too, half a second old: hysteresis counts from it */
    uint64_t took_us = run_until_voters(&h, 1, 10 * HAND_SECOND);
    CU_ASSERT_TRUE(took_us >= SETTLE - HAND_SECOND / 2 - HAND_STEP);
    CU_ASSERT_TRUE(took_us <= SETTLE + HAND_SECOND);
    CU_ASSERT_TRUE(votes(&h, 1));
    CU_ASSERT_EQUAL(raft_hand_members(&h)->count, 3); /* the others stay as standbys */
    raft_hand_destroy(&h);
}

/* ---- from lead to lead ----------------------------------------------------------------------------------------- */

/* What the leader before it had seen is not this one's: standbys wait again. */
static void nothing_is_remembered_from_one_lead_to_the_next(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    wish(&h, 1, 3, 5);
    raft_hand_up(&h, 4);
    raft_hand_run(&h, STABLE + SETTLE);
    CU_ASSERT_TRUE(shown(&h, 4)->steady_us >= STABLE);
    lead_again(&h);
    CU_ASSERT_TRUE(shown(&h, 4)->steady_us < HAND_ELECTION);
    CU_ASSERT_STRING_EQUAL(report_of(&h)->last_change, "");
    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 4 * HAND_SECOND);
    CU_ASSERT_TRUE(votes(&h, 3));
    raft_hand_run(&h, 6 * HAND_SECOND);
    CU_ASSERT_FALSE(votes(&h, 3));
    CU_ASSERT_TRUE(votes(&h, 4));
    raft_hand_destroy(&h);
}

/* Settled: an entry of this term is committed, the configuration is, it is not joint, and the lead stays. */
static void when_a_change_may_begin(void)
{
    struct raft_hand h;
    struct raft_status status;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    raft_status(h.raft->core, &status);
    CU_ASSERT_TRUE(raft_pilot_settled(h.raft, &status));
    struct raft_status other = status;
    other.term_committed = false; /* trap 37 */
    CU_ASSERT_FALSE(raft_pilot_settled(h.raft, &other));
    other = status;
    other.transfer_target = HAND_ID(2);
    CU_ASSERT_FALSE(raft_pilot_settled(h.raft, &other));
    other = status;
    other.configuration_settled_index--;
    CU_ASSERT_FALSE(raft_pilot_settled(h.raft, &other));
    /* joint, as the core has it from the moment it is appended */
    h.disk_waits = true;
    hand_other(&h, 2)->silent = hand_other(&h, 3)->silent = true;
    const struct member_request removal = {.action = MEMBER_REMOVE, .id = HAND_ID(3)};
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &removal);
    raft_hand_round(&h);
    CU_ASSERT_TRUE_FATAL(configuration_is_joint(raft_hand_members(&h)));
    raft_status(h.raft->core, &status);
    status.configuration_settled_index = status.configuration_index;
    CU_ASSERT_FALSE(raft_pilot_settled(h.raft, &status));
    raft_hand_destroy(&h);
}

SUITE("node: autopilot", TEST(what_a_leader_sees), TEST(silence_is_counted_from_this_lead),
      TEST(who_does_not_lead_says_nothing_of_the_members), TEST(what_it_reports),
      TEST(standbys_get_a_vote), TEST(a_standby_has_to_be_sound_for_a_while),
      TEST(a_silent_voter_is_replaced), TEST(silence_alone_takes_no_vote),
      TEST(without_a_majority_nothing_is_changed), TEST(one_change_and_then_a_pause),
      TEST(fewer_voters_by_a_wish_only), TEST(nothing_is_remembered_from_one_lead_to_the_next),
      TEST(when_a_change_may_begin))
