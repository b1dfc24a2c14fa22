/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_proposals.c: clients' commands on their way: held while nobody leads, appended by a leader, handed on in
 * order and in the term that was known, never twice; what another node forwards is appended only in the very term it
 * was sent in, once, and given back otherwise (traps 51, 52). Nothing goes out during a transfer (trap 50).
 * (src/node/raft_proposals.c; what an earlier term's refusal means, and stamps, are in test_raft_actor.c)
 */
#include "raft_hand.h"

static void propose(struct raft_hand *h, uint64_t number, uint64_t within_us)
{
    static const uint8_t octets[] = "\1put";
    struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, release_propose);
    m->request_id = REQUEST_ID(0, number);
    m->deadline_us = h->now_us + within_us;
    m->command.size = sizeof(octets) - 1;
    m->command.data = mem_dup(octets, sizeof(octets) - 1);
    ACTOR_SEND(h->actor, m);
}

/* From n2, whose boot id is `origin`: requests first..last, in one block. */
static void forward(struct raft_hand *h, uint64_t term, uint64_t origin, uint64_t first,
                    uint64_t last, const char *octets)
{
    struct entries *block = entries_create(last - first + 1, 16 * (last - first + 1));
    for (uint64_t i = first; i <= last; i++) {
        struct entry e = {.index = i - first + 1,
                          .type = ENTRY_COMMAND,
                          .origin = origin,
                          .request_id = REQUEST_ID(0, i),
                          .data = view_of_text(octets)};
        entries_add(block, &e);
    }
    raft_hand_receive(
        h, (struct raft_message){
               .type = RAFT_FORWARD, .from = HAND_ID(2), .term = term, .entries = block});
}

static uint64_t term_of(const struct raft_hand *h)
{
    struct raft_status status;
    raft_status(h->raft->core, &status);
    return status.current_term;
}

/* ---- this node's ----------------------------------------------------------------------------------------------- */

static void a_leader_appends_in_order(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    for (uint64_t i = 1; i <= 5; i++) {
        propose(&h, i, 60 * HAND_SECOND);
    }
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.command_count, 5);
    for (uint64_t i = 1; i <= 5; i++) {
        CU_ASSERT_EQUAL(h.commands[i - 1].request_id, REQUEST_ID(0, i));
        CU_ASSERT_EQUAL(h.commands[i - 1].origin, HAND_BOOT);
    }
    CU_ASSERT_EQUAL(h.forward_count, 0);
    raft_hand_destroy(&h);
}

static void a_follower_hands_on_once_and_in_order(void)
{
    struct raft_hand h;
    raft_hand_create(&h, 3, 3);
    hand_started(h.actor, h.now_us);
    propose(&h, 1, 60 * HAND_SECOND);
    propose(&h, 2, 60 * HAND_SECOND);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.raft->held.count, 2); /* nobody leads */
    raft_hand_led_by(&h, 2, 3, 1, NULL, 1, 1);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.raft->held.count, 2); /* it is not connected */
    raft_hand_up(&h, 2);
    propose(&h, 3, 60 * HAND_SECOND);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.forward_count, 1);
    CU_ASSERT_EQUAL(h.forwards[0].type, RAFT_FORWARD);
    CU_ASSERT_EQUAL(h.forwards[0].to, HAND_ID(2));
    CU_ASSERT_EQUAL(h.forwards[0].term, 3);
    CU_ASSERT_EQUAL(h.forwards[0].count, 3);
    CU_ASSERT_EQUAL(h.forwards[0].first_id, REQUEST_ID(0, 1));
    CU_ASSERT_EQUAL(h.forwards[0].last_id, REQUEST_ID(0, 3));
    /* Trap 52: never again by itself, whatever happens: it may be in the log. */
    raft_hand_led_by(&h, 3, 4, 1, NULL, 1, 1);
    raft_hand_round(&h);
    h.now_us += 30 * HAND_SECOND;
    raft_hand_led_by(&h, 3, 4, 1, NULL, 1, 1);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.forward_count, 1);
    CU_ASSERT_EQUAL(h.told_count, 0);
    CU_ASSERT_EQUAL(h.command_count, 0);
    raft_hand_destroy(&h);
}

/* What was held until after its deadline is not begun: its client was told, and may have gone on. */
static void what_is_due_is_not_begun(void)
{
    struct raft_hand h;
    raft_hand_create(&h, 3, 3);
    hand_started(h.actor, h.now_us);
    propose(&h, 1, HAND_SECOND);
    propose(&h, 2, 60 * HAND_SECOND);
    raft_hand_round(&h);
    h.now_us += 2 * HAND_SECOND;
    raft_hand_up(&h, 2);
    raft_hand_led_by(&h, 2, 3, 1, NULL, 1, 1);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.forward_count, 1);
    CU_ASSERT_EQUAL(h.forwards[0].count, 1);
    CU_ASSERT_EQUAL(h.forwards[0].first_id, REQUEST_ID(0, 2));
    raft_hand_destroy(&h);
}

/* Trap 50: while the lead is handed over nothing is appended and nothing refused; if nothing comes of it, it goes on. */
static void during_a_transfer_all_is_held(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    const struct member_request transfer = {.action = MEMBER_TRANSFER, .id = HAND_ID(2)};
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &transfer);
    raft_hand_round(&h);
    propose(&h, 2, 60 * HAND_SECOND);
    raft_hand_run(&h, HAND_ELECTION / 2);
    CU_ASSERT_EQUAL(h.command_count, 0);
    CU_ASSERT_EQUAL(h.raft->held.count, 1);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 2), ERR_COUNT);
    raft_hand_run(&h, HAND_ELECTION);
    CU_ASSERT_EQUAL(h.command_count, 1);
    CU_ASSERT_EQUAL(h.raft->held.count, 0);
    raft_hand_destroy(&h);
}

/* A leader that may not append more says so, at once. */
static void what_is_too_much_is_refused(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    hand_other(&h, 2)->silent = hand_other(&h, 3)->silent =
        true; /* nothing is committed any more */
    uint8_t *octets = mem_zalloc(400 << 10);
    octets[0] = 1;
    for (uint64_t i = 1; i <= 4; i++) {
        struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, release_propose);
        m->request_id = REQUEST_ID(0, i);
        m->deadline_us = UINT64_MAX;
        m->command.size = 400 << 10;
        m->command.data = mem_dup(octets, 400 << 10);
        ACTOR_SEND(h.actor, m);
        raft_hand_round(&h);
    }
    mem_free(octets);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_COUNT);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 2), ERR_COUNT);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 3), ERR_OVERLOAD);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 4), ERR_OVERLOAD);
    CU_ASSERT_EQUAL(h.command_count, 2);
    CU_ASSERT_EQUAL(h.raft->proposals_failed, 2);
    raft_hand_destroy(&h);
}

/* ---- other nodes' ------------------------------------------------------------------------------------------------ */

/* Trap 51: whoever forwards calls a request lost when it has applied an entry of a later term than that it was sent in.
 * So a forward must never enter the log in another term, be it by the leader of both. */
static void a_forward_of_another_term_is_given_back(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    uint64_t term = term_of(&h);
    CU_ASSERT_TRUE_FATAL(term > 1);
    forward(&h, term - 1, 22, 1, 3, "\1put");
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.command_count, 0);
    CU_ASSERT_EQUAL_FATAL(h.forward_count, 1);
    CU_ASSERT_EQUAL(h.forwards[0].type, RAFT_FORWARD_REFUSED);
    CU_ASSERT_EQUAL(h.forwards[0].to, HAND_ID(2));
    CU_ASSERT_EQUAL(h.forwards[0].term, term - 1);
    CU_ASSERT_EQUAL(h.forwards[0].refusal, ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(h.forwards[0].count, 3);
    forward(&h, term, 22, 4, 5, "\1put");
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.command_count, 2);
    CU_ASSERT_EQUAL(h.commands[0].origin, 22);
    CU_ASSERT_EQUAL(h.commands[0].request_id, REQUEST_ID(0, 4));
    CU_ASSERT_EQUAL(h.forward_count, 1);
    raft_hand_destroy(&h);
}

/* Trap 52: a forward that comes twice, whole or in part, is appended once and not answered again. */
static void a_forward_is_appended_once(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    uint64_t term = term_of(&h);
    forward(&h, term, 22, 1, 3, "\1put");
    forward(&h, term, 22, 1, 3, "\1put");
    forward(&h, term, 22, 3, 4, "\1put");
    forward(&h, term, 23, 1, 1, "\1put"); /* another start of that node: other requests */
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.command_count, 5);
    for (uint64_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(h.commands[i].request_id, REQUEST_ID(0, i + 1));
    }
    CU_ASSERT_EQUAL(h.forward_count, 0);
    raft_hand_destroy(&h);
}

/* What this version could not apply does not enter the log, and is not called "not carried out" either: a leader of
 * the newer version may have it. */
static void what_cannot_be_read_is_dropped(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    uint64_t term = term_of(&h);
    forward(&h, term, 22, 1, 1, "\377put");
    forward(&h, term, 22, 2, 2, "");
    raft_hand_receive(
        &h, (struct raft_message){.type = RAFT_FORWARD, .from = HAND_ID(2), .term = term});
    raft_hand_receive(
        &h, (struct raft_message){.type = RAFT_FORWARD_REFUSED, .from = HAND_ID(2), .term = term});
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.command_count, 0);
    CU_ASSERT_EQUAL(h.forward_count, 0);
    raft_hand_destroy(&h);
}

/* Another start's requests that are given back are nobody's here. */
static void what_is_given_back_is_told_to_whom_it_belongs(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    for (uint64_t origin = HAND_BOOT; origin <= HAND_BOOT + 1; origin++) {
        struct entry e = {.index = 1,
                          .type = ENTRY_COMMAND,
                          .origin = origin,
                          .request_id = REQUEST_ID(0, origin),
                          .data = view_of_text("\1put")};
        struct entries *block = entries_create(1, e.data.size);
        entries_add(block, &e);
        raft_hand_receive(&h, (struct raft_message){.type = RAFT_FORWARD_REFUSED,
                                                    .from = HAND_ID(2),
                                                    .term = 2,
                                                    .refusal = ERR_OVERLOAD,
                                                    .entries = block});
    }
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.told_count, 1);
    CU_ASSERT_EQUAL(raft_hand_told(&h, HAND_BOOT), ERR_OVERLOAD);
    raft_hand_destroy(&h);
}

SUITE("node: proposals", TEST(a_leader_appends_in_order),
      TEST(a_follower_hands_on_once_and_in_order), TEST(what_is_due_is_not_begun),
      TEST(during_a_transfer_all_is_held), TEST(what_is_too_much_is_refused),
      TEST(a_forward_of_another_term_is_given_back), TEST(a_forward_is_appended_once),
      TEST(what_cannot_be_read_is_dropped), TEST(what_is_given_back_is_told_to_whom_it_belongs))
