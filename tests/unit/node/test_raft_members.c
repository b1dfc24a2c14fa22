/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_members.c: requests about members on their way: a leader carries out one at a time and answers when it is
 * committed, not before (trap 39); a follower hands on, repeats what is not answered, and calls nothing done or refused
 * that may be otherwise (trap 51); nodes that call are taken in or turned away (traps 7, 42); a lead that is asked
 * for goes or stays, and whoever asked hears which (trap 50). A real core. (src/node/raft_members.c)
 */
#include "raft_hand.h"

/* ---- requests ----------------------------------------------------------------------------------------------- */

static struct member_request add_of(uint64_t id, const char *peer)
{
    struct member_request r = {.action = MEMBER_ADD, .id = id, .learner = true};
    (void)snprintf(r.peer, sizeof(r.peer), "%s", peer);
    return r;
}

static struct member_request removal_of(uint64_t id)
{
    return (struct member_request){.action = MEMBER_REMOVE, .id = id};
}

static struct member_request transfer_to(uint64_t id)
{
    return (struct member_request){.action = MEMBER_TRANSFER, .id = id};
}

static struct member_request paused_wish(void)
{
    return (struct member_request){
        .action = MEMBER_WISH, .set_paused = true, .wish = {.paused = true}};
}

static void forward(struct raft_hand *h, uint64_t from, uint64_t number,
                    const struct member_request *request)
{
    struct buffer data = {0};
    member_request_encode(request, &data);
    raft_hand_receive_data(h, RAFT_MEMBERS, HAND_ID(from), 20 + from, number, &data);
}

static void answer(struct raft_hand *h, uint64_t origin, uint64_t number, struct member_reply reply)
{
    struct buffer data = {0};
    member_reply_encode(&reply, &data);
    raft_hand_receive_data(h, RAFT_MEMBERS_REPLY, HAND_ID(2), origin, REQUEST_ID(0, number), &data);
}

/* ---- the leader carries out ----------------------------------------------------------------------------------- */

static void who_asked_is_told_when_it_is_committed(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 1, 1);
    h.disk_waits = true;
    const struct member_request add = add_of(55, "h9:1");
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &add);
    raft_hand_run(&h, 2 * HAND_SECOND);
    CU_ASSERT_EQUAL(h.config_entries, 1);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_COUNT);
    h.disk_waits = false;
    raft_hand_round(&h);
    raft_hand_run(&h, HAND_STEP);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), OK);
    CU_ASSERT_EQUAL(raft_hand_members(&h)->declared_count, 1);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    raft_hand_destroy(&h);
}

/* Trap 39: the second begins when the first is committed, however many wait. */
static void one_change_at_a_time(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 1, 1);
    h.disk_waits = true;
    const struct member_request first = add_of(55, "h8:1");
    const struct member_request second = add_of(56, "h9:1");
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &first);
    raft_hand_ask(&h, 2, 60 * HAND_SECOND, &second);
    raft_hand_run(&h, HAND_SECOND);
    CU_ASSERT_EQUAL(h.config_entries, 1);
    CU_ASSERT_EQUAL(raft_hand_members(&h)->declared_count, 1);
    h.disk_waits = false;
    raft_hand_round(&h);
    raft_hand_run(&h, HAND_SECOND);
    CU_ASSERT_EQUAL(h.config_entries, 2);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), OK);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 2), OK);
    CU_ASSERT_EQUAL(raft_hand_members(&h)->declared_count, 2);
    raft_hand_destroy(&h);
}

/* A change of voters is done when the joint configuration is left, not when it is committed. */
static void a_joint_change_is_done_when_it_is_left(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    const struct member_request removal = removal_of(HAND_ID(3));
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &removal);
    bool saw_joint = false;
    for (size_t i = 0; i < 100 && raft_hand_told(&h, 1) == ERR_COUNT; i++) {
        hand_round(h.actor, h.now_us);
        hand_play_disk(&h);
        hand_play_others(&h);
        hand_play_clients(&h);
        saw_joint = saw_joint || configuration_is_joint(raft_settled_configuration(h.raft->core));
        if (raft_hand_told(&h, 1) != ERR_COUNT) {
            CU_ASSERT_FALSE(configuration_is_joint(raft_settled_configuration(h.raft->core)));
        }
    }
    CU_ASSERT_TRUE(saw_joint);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), OK);
    CU_ASSERT_EQUAL(raft_hand_members(&h)->count, 2);
    raft_hand_destroy(&h);
}

static void what_cannot_be_done_is_refused_at_once(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    const struct member_request unknown = removal_of(77);
    const struct member_request taken = add_of(55, "h2:2380");
    const struct member_request wish = {
        .action = MEMBER_WISH, .set_voters = true, .wish = {.voters = 4}};
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &unknown);
    raft_hand_ask(&h, 2, 60 * HAND_SECOND, &taken);
    raft_hand_ask(&h, 3, 60 * HAND_SECOND, &wish);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_MEMBER_NOT_FOUND);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 2), ERR_PEER_URL_EXISTS);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 3), ERR_INVALID);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    CU_ASSERT_EQUAL(h.config_entries, 0);
    raft_hand_destroy(&h);
}

/* Trap 43, what a person asks for too: no majority of the voters alive, no change of voters. */
static void no_voter_goes_while_too_few_are_alive(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    hand_other(&h, 3)->silent = true;
    raft_hand_run(&h, 2 * HAND_SECOND);
    /* of n1 and n3 alone no strict majority would be alive */
    const struct member_request removal = removal_of(HAND_ID(2));
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &removal);
    raft_hand_run(&h, HAND_STEP);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_NOT_ENOUGH_STARTED);
    /* of n1 and n2 one is */
    const struct member_request dead = removal_of(HAND_ID(3));
    raft_hand_ask(&h, 2, 60 * HAND_SECOND, &dead);
    raft_hand_run(&h, HAND_SECOND);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 2), OK);
    CU_ASSERT_EQUAL(configuration_voter_count(raft_hand_members(&h)), 2);
    raft_hand_destroy(&h);
}

/* ---- bounds --------------------------------------------------------------------------------------------------- */

static void what_waits_is_bounded(void)
{
    struct raft_hand h;
    raft_hand_start(&h, 3, 3); /* nobody leads */
    const struct member_request add = add_of(55, "h9:1");
    for (uint64_t i = 1; i <= MEMBER_REQUESTS_MAX + 3; i++) {
        raft_hand_ask(&h, i, HAND_SECOND / 2, &add);
    }
    raft_hand_round(&h);
    for (uint64_t i = 1; i <= MEMBER_REQUESTS_MAX + 3; i++) {
        CU_ASSERT_EQUAL(raft_hand_told(&h, i), i <= MEMBER_REQUESTS_MAX ? ERR_COUNT : ERR_OVERLOAD);
    }
    CU_ASSERT_EQUAL(h.raft->members.count, MEMBER_REQUESTS_MAX);
    raft_hand_destroy(&h);
}

/* Its client has been told by then that the outcome is unknown: it is not told once more. */
static void what_is_due_goes_without_a_word(void)
{
    struct raft_hand h;
    raft_hand_create(&h, 3, 3);
    hand_started(h.actor, h.now_us); /* nobody is connected, so nobody leads */
    const struct member_request add = add_of(55, "h9:1");
    raft_hand_ask(&h, 1, 3 * HAND_SECOND, &add);
    raft_hand_ask(&h, 2, 60 * HAND_SECOND, &add);
    raft_hand_run(&h, 2 * HAND_SECOND);
    CU_ASSERT_EQUAL(h.raft->members.count, 2);
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_EQUAL(h.raft->members.count, 1);
    CU_ASSERT_EQUAL(h.told_count, 0);
    raft_hand_destroy(&h);
}

/* A node that waits for its cluster takes requests, and lets them go in time as well: else the next ones would be
 * refused for ever. */
static void also_of_a_node_without_a_cluster(void)
{
    struct raft_hand h;
    raft_hand_start(&h, 0, 0);
    const struct member_request add = add_of(55, "h9:1");
    for (uint64_t i = 1; i <= MEMBER_REQUESTS_MAX; i++) {
        raft_hand_ask(&h, i, HAND_SECOND, &add);
    }
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    raft_hand_ask(&h, 100, HAND_SECOND, &add);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.told_count, 0);
    raft_hand_destroy(&h);
}

static void who_stops_says_so_to_its_clients(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    hand_other(&h, 2)->silent = true;
    const struct member_request add = add_of(55, "h9:1");
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &add);
    raft_hand_run(&h, HAND_STEP);
    hand_running = h.actor;
    h.actor->ops->stop(h.actor->self, h.now_us);
    hand_running = NULL;
    hand_play_clients(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_STOPPED);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    raft_hand_destroy(&h);
}

/* ---- handed on by a follower -------------------------------------------------------------------------------------- */

static void a_follower_hands_on_once_it_hears_the_leader(void)
{
    struct raft_hand h;
    raft_hand_create(&h, 3, 3);
    hand_started(h.actor, h.now_us);
    const struct member_request add = add_of(55, "h9:1");
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &add);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.travel_count, 0);
    raft_hand_up(&h, 2);
    raft_hand_led_by(&h, 2, 3, 1, NULL, 1, 1);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.travel_count, 1);
    const struct hand_travel *t = &h.travels[0];
    CU_ASSERT_EQUAL(t->type, RAFT_MEMBERS);
    CU_ASSERT_EQUAL(t->to, HAND_ID(2));
    CU_ASSERT_EQUAL(t->from, HAND_ID(1));
    CU_ASSERT_EQUAL(t->origin, HAND_BOOT);
    CU_ASSERT_EQUAL(t->request_id, REQUEST_ID(0, 1));
    CU_ASSERT_EQUAL(t->request.action, MEMBER_ADD);
    CU_ASSERT_EQUAL(t->request.id, 55);
    CU_ASSERT_FALSE(t->request.again);
    raft_hand_destroy(&h);
}

/* Trap 52: what was not answered goes again and says so, after a while or to the next leader. */
static void what_is_not_answered_goes_again(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    const struct member_request add = add_of(55, "h9:1");
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &add);
    raft_hand_round(&h);
    h.now_us += MEMBER_RESEND_US - 1;
    raft_hand_led_by(&h, 2, 3, 1, NULL, 1, 1);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.travel_count, 1);
    h.now_us += 1;
    raft_hand_led_by(&h, 2, 3, 1, NULL, 1, 1);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.travel_count, 2);
    CU_ASSERT_FALSE(h.travels[0].request.again);
    CU_ASSERT_TRUE(h.travels[1].request.again);
    /* another leads: at once */
    raft_hand_led_by(&h, 3, 4, 1, NULL, 1, 1);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.travel_count, 3);
    CU_ASSERT_EQUAL(h.travels[2].to, HAND_ID(3));
    CU_ASSERT_EQUAL(h.travels[2].request_id, REQUEST_ID(0, 1));
    CU_ASSERT_TRUE(h.travels[2].request.again);
    raft_hand_destroy(&h);
}

static void the_leaders_refusal_is_passed_on(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    const struct member_request add = add_of(55, "h9:1");
    for (uint64_t i = 1; i <= 2; i++) {
        raft_hand_ask(&h, i, 60 * HAND_SECOND, &add);
    }
    raft_hand_round(&h);
    answer(&h, HAND_BOOT, 1, (struct member_reply){.error = ERR_PEER_URL_EXISTS});
    answer(&h, HAND_BOOT, 2, (struct member_reply){.error = ERR_NOT_LEADER});
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_PEER_URL_EXISTS);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 2), ERR_COUNT); /* nothing was done: it goes again */
    CU_ASSERT_EQUAL(h.travel_count, 2);
    h.now_us += MEMBER_RESEND_US;
    raft_hand_led_by(&h, 2, 3, 1, NULL, 1, 1);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.travel_count, 3);
    raft_hand_destroy(&h);
}

/* Words that are not for this start of this node, that nobody asked for, that come twice or cannot be read. */
static void stray_answers_change_nothing(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    const struct member_request add = add_of(55, "h9:1");
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &add);
    raft_hand_round(&h);
    answer(&h, HAND_BOOT + 1, 1, (struct member_reply){.error = ERR_INVALID});
    answer(&h, HAND_BOOT, 2, (struct member_reply){.error = ERR_INVALID});
    struct buffer garbage = {0};
    buffer_append(&garbage, "\377\377", 2);
    raft_hand_receive_data(&h, RAFT_MEMBERS_REPLY, HAND_ID(2), HAND_BOOT, REQUEST_ID(0, 1),
                           &garbage);
    raft_hand_receive(&h, (struct raft_message){.type = RAFT_MEMBERS_REPLY, .from = HAND_ID(2)});
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.told_count, 0);
    CU_ASSERT_EQUAL(h.raft->members.count, 1);
    /* It is in the log: a refusal that comes after that is another leader's, of a request that is done. */
    answer(&h, HAND_BOOT, 1, (struct member_reply){.index = 5, .term = 3});
    answer(&h, HAND_BOOT, 1, (struct member_reply){.error = ERR_ID_REUSED});
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.told_count, 0);
    CU_ASSERT_EQUAL(h.raft->members.count, 1);
    raft_hand_destroy(&h);
}

/* Entry `index` of `term` says who the members are: the first three, and the wish that is asked for. */
static struct entries *config_entry(const struct raft_hand *h, uint64_t index, uint64_t term)
{
    struct configuration c = *raft_hand_members(h);
    struct buffer data = {0};
    c.wish.paused = true;
    configuration_encode(&c, &data);
    const struct entry e = {
        .index = index, .term = term, .type = ENTRY_CONFIG, .data = view_of(data.data, data.size)};
    struct entries *block = entries_create(1, data.size);
    block->first_index = index;
    entries_add(block, &e);
    buffer_free(&data);
    return block;
}

static struct entries *no_op(uint64_t index, uint64_t term)
{
    const struct entry e = {.index = index, .term = term, .type = ENTRY_NOOP};
    struct entries *block = entries_create(1, 0);
    block->first_index = index;
    entries_add(block, &e);
    return block;
}

/* Done is what this node knows to be committed, of the leader that began it. */
static void a_follower_answers_when_it_knows(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    const struct member_request wish = paused_wish();
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &wish);
    raft_hand_round(&h);
    raft_hand_led_by(&h, 2, 3, 1, no_op(2, 3), 1, 1);
    raft_hand_led_by(&h, 2, 3, 2, config_entry(&h, 3, 3), 2, 3);
    answer(&h, HAND_BOOT, 1, (struct member_reply){.index = 3, .term = 3});
    raft_hand_run(&h, HAND_STEP);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1),
                    ERR_COUNT); /* it is here, but not known to be committed */
    raft_hand_led_by(&h, 2, 3, 3, NULL, 3, 3);
    raft_hand_round(&h);
    hand_play_clients(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), OK);
    raft_hand_destroy(&h);
}

/* Trap 51: the leader that began it fell before the entry was committed, and another's stands in its place. */
static void an_entry_that_was_overwritten_was_not_carried_out(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    const struct member_request wish = paused_wish();
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &wish);
    raft_hand_round(&h);
    answer(&h, HAND_BOOT, 1, (struct member_reply){.index = 2, .term = 3});
    raft_hand_run(&h, HAND_STEP);
    raft_hand_led_by(&h, 3, 4, 1, no_op(2, 4), 1, 1);
    raft_hand_led_by(&h, 3, 4, 2, config_entry(&h, 3, 4), 2, 4);
    raft_hand_run(&h, HAND_STEP);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_COUNT);
    raft_hand_led_by(&h, 3, 4, 3, NULL, 3, 4);
    raft_hand_run(&h, HAND_STEP);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_LEADER_CHANGED);
    raft_hand_destroy(&h);
}

/* Trap 51 as well: a snapshot stands for the entry, and whose entry that was nobody can say any more. Then neither
 * "done" nor "not carried out" is known. */
static void behind_a_snapshot_the_outcome_is_unknown(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    const struct member_request wish = paused_wish();
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &wish);
    raft_hand_round(&h);
    answer(&h, HAND_BOOT, 1, (struct member_reply){.index = 3, .term = 3});
    raft_hand_run(&h, HAND_STEP);
    struct snapshot_taken *taken = MSG_NEW(struct snapshot_taken, RAFT_CHUNK_TAKEN, NULL);
    taken->member = HAND_ID(2);
    taken->index = taken->meta.applied_index = 20;
    taken->term = taken->meta.applied_term = 3;
    taken->complete = true;
    taken->meta.generation = 2;
    taken->meta.configuration = *raft_hand_members(&h);
    ACTOR_SEND(h.actor, taken);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_TIMEOUT);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    raft_hand_destroy(&h);
}

/* ---- what other nodes hand on ---------------------------------------------------------------------------------------- */

/* It is answered when it has begun, with where; its own node sees when that is committed. */
static void a_forward_is_answered_when_begun(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    h.disk_waits = true;
    const struct member_request wish = paused_wish();
    forward(&h, 2, 31, &wish);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.travel_count, 1);
    const struct hand_travel *t = &h.travels[0];
    struct raft_status status;
    raft_status(h.raft->core, &status);
    CU_ASSERT_EQUAL(t->type, RAFT_MEMBERS_REPLY);
    CU_ASSERT_EQUAL(t->to, HAND_ID(2));
    CU_ASSERT_EQUAL(t->origin, 22);
    CU_ASSERT_EQUAL(t->request_id, 31);
    CU_ASSERT_EQUAL(t->reply.error, OK);
    CU_ASSERT_EQUAL(t->reply.index, h.last_config_index);
    CU_ASSERT_EQUAL(t->reply.term, status.current_term);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    /* The next one waits for it, and comes twice: that is one. */
    const struct member_request add = add_of(55, "h9:1");
    forward(&h, 3, 32, &add);
    forward(&h, 3, 32, &add);
    forward(&h, 2, 32, &add); /* the same number of another node is another request */
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.raft->members.count, 2);
    CU_ASSERT_EQUAL(h.travel_count, 1);
    h.disk_waits = false;
    raft_hand_round(&h);
    raft_hand_run(&h, HAND_SECOND);
    CU_ASSERT_EQUAL_FATAL(h.travel_count, 3);
    CU_ASSERT_EQUAL(h.travels[1].reply.error, OK);
    CU_ASSERT_EQUAL(h.travels[2].reply.error, ERR_PEER_URL_EXISTS);
    raft_hand_destroy(&h);
}

/* Trap 52: what came again and was done already is done. */
static void a_forward_that_comes_again_is_done_once(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    struct member_request add = add_of(55, "h9:1");
    forward(&h, 2, 31, &add);
    raft_hand_run(&h, HAND_SECOND);
    add.again = true;
    forward(&h, 2, 31, &add);
    raft_hand_run(&h, HAND_SECOND);
    CU_ASSERT_EQUAL_FATAL(h.travel_count, 2);
    CU_ASSERT_EQUAL(h.travels[1].reply.error, OK);
    CU_ASSERT_EQUAL(h.travels[1].reply.index, h.travels[0].reply.index);
    CU_ASSERT_EQUAL(h.config_entries, 1);
    raft_hand_destroy(&h);
}

static void a_forward_to_a_follower_is_sent_back(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    const struct member_request wish = paused_wish();
    forward(&h, 3, 31, &wish);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL_FATAL(h.travel_count, 1);
    CU_ASSERT_EQUAL(h.travels[0].to, HAND_ID(3));
    CU_ASSERT_EQUAL(h.travels[0].reply.error, ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    raft_hand_destroy(&h);
}

static void what_cannot_be_read_is_dropped(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    struct buffer garbage = {0};
    buffer_append(&garbage, "\377\377\377", 3);
    raft_hand_receive_data(&h, RAFT_MEMBERS, HAND_ID(2), 22, 31, &garbage);
    struct buffer nobodys = {0};
    const struct member_request wish = paused_wish();
    member_request_encode(&wish, &nobodys);
    raft_hand_receive_data(&h, RAFT_MEMBERS, HAND_ID(2), 0, 32, &nobodys); /* no origin */
    raft_hand_receive(&h, (struct raft_message){.type = RAFT_MEMBERS, .from = HAND_ID(2)});
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(h.travel_count, 0);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    CU_ASSERT_EQUAL(h.config_entries, 0);
    raft_hand_destroy(&h);
}

/* ---- admission -------------------------------------------------------------------------------------------------------- */

static int place_of(const struct raft_hand *h, uint64_t node)
{
    return configuration_find(raft_hand_members(h), HAND_ID(node));
}

static void a_node_that_calls_becomes_a_learner(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_up(&h, 4);
    raft_hand_run(&h, 2 * HAND_SECOND);
    int at = place_of(&h, 4);
    CU_ASSERT_TRUE_FATAL(at >= 0);
    const struct member *m = &raft_hand_members(&h)->members[at];
    CU_ASSERT_STRING_EQUAL(m->name, "n4");
    CU_ASSERT_STRING_EQUAL(m->peer, "h4:2380");
    CU_ASSERT_STRING_EQUAL(m->client, "h4:2379");
    CU_ASSERT_FALSE(m->voter_incoming || m->voter_outgoing);
    CU_ASSERT_EQUAL(h.config_entries, 1);
    raft_hand_destroy(&h);
}

/* Whoever has another cluster or none is not asked in; nor one that has hung up. */
static void only_who_belongs_here_is_taken_in(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    struct peer_hello hello = raft_hand_hello(4);
    hello.cluster_id = HAND_CLUSTER + 1;
    raft_hand_up_as(&h, 4, &hello);
    hello = raft_hand_hello(5);
    hello.cluster_id = 0;
    raft_hand_up_as(&h, 5, &hello);
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_EQUAL(raft_hand_members(&h)->count, 3);
    CU_ASSERT_EQUAL(h.config_entries, 0);
    raft_hand_destroy(&h);

    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, 3 * HAND_SECOND / 2);
    uint64_t until_us = h.raft->members.look_at_us;
    raft_hand_up(&h, 4);
    raft_hand_down(&h, 4);
    raft_hand_run(&h, until_us + HAND_SECOND - h.now_us);
    CU_ASSERT_EQUAL(place_of(&h, 4), -1);
    raft_hand_destroy(&h);
}

/* Trap 42: a wiped voter is a new member, and does not get the old one's place while that one has a vote; nor does
 * what was removed come back under its id. */
static void neither_a_wiped_voter_nor_a_removed_member(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    hand_other(&h, 3)->silent = true;
    struct peer_hello wiped = raft_hand_hello(3);
    wiped.member_id = 777;
    raft_hand_up_as(&h, 3, &wiped);
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_EQUAL(configuration_find(raft_hand_members(&h), 777), -1);
    CU_ASSERT_EQUAL(h.raft->members.refused_id, 777);
    CU_ASSERT_EQUAL(h.raft->members.refused_error, ERR_IDENTITY);
    /* a person gives the old one's vote up: now there is a place */
    const struct member_request removal = removal_of(HAND_ID(3));
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &removal);
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), OK);
    CU_ASSERT_TRUE(configuration_find(raft_hand_members(&h), 777) >= 0);
    CU_ASSERT_FALSE(configuration_is_voter(raft_hand_members(&h), 777));
    /* and the old disk comes back */
    const struct member_request learner = removal_of(777);
    raft_hand_ask(&h, 2, 60 * HAND_SECOND, &learner);
    raft_hand_run(&h, HAND_SECOND / 2);
    raft_hand_up(&h, 3);
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_EQUAL(place_of(&h, 3), -1);
    CU_ASSERT_EQUAL(raft_hand_members(&h)->count, 2);
    raft_hand_destroy(&h);
}

/* admit = "declared": who is in the config file, or was added by its address; the id that MemberAdd gave goes with
 * it. */
static void the_declared_only(void)
{
    struct raft_hand h;
    raft_hand_create(&h, 1, 1);
    h.raft->config.admit_declared = true;
    hand_started(h.actor, h.now_us);
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_TRUE_FATAL(raft_hand_leads(&h));
    raft_hand_up(&h, 2);
    raft_hand_up(&h, 4);
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_TRUE(place_of(&h, 2) >= 0);
    CU_ASSERT_EQUAL(place_of(&h, 4), -1);
    CU_ASSERT_EQUAL(h.raft->members.refused_error, ERR_UNKNOWN_MEMBER);
    const struct member_request add = add_of(55, "h4:2380");
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &add);
    raft_hand_run(&h, 3 * HAND_SECOND);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), OK);
    CU_ASSERT_TRUE_FATAL(place_of(&h, 4) >= 0);
    CU_ASSERT_EQUAL(raft_hand_members(&h)->members[place_of(&h, 4)].added_as, 55);
    CU_ASSERT_EQUAL(raft_hand_members(&h)->declared_count, 0);
    raft_hand_destroy(&h);
}

/* A node calls a follower: the leader hears of it, once a look, and owes no answer. */
static void a_follower_speaks_for_who_calls_it(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    raft_hand_up(&h, 4);
    for (size_t i = 0; i < 20; i++) {
        raft_hand_led_by(&h, 2, 3, 1, NULL, 1, 1);
        raft_hand_run(&h, HAND_SECOND / 10);
    }
    CU_ASSERT_TRUE(h.travel_count >= 1);
    CU_ASSERT_TRUE(h.travel_count <= 3);
    CU_ASSERT_EQUAL(h.travels[0].to, HAND_ID(2));
    CU_ASSERT_EQUAL(h.travels[0].request_id, 0);
    CU_ASSERT_EQUAL(h.travels[0].request.action, MEMBER_ADMIT);
    CU_ASSERT_EQUAL(h.travels[0].request.id, HAND_ID(4));
    CU_ASSERT_STRING_EQUAL(h.travels[0].request.peer, "h4:2380");
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    raft_hand_destroy(&h);

    /* the other side */
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    struct member_request admission = {.action = MEMBER_ADMIT, .id = HAND_ID(4)};
    memcpy(admission.name, "n4", 3);
    memcpy(admission.peer, "h4:2380", 8);
    forward(&h, 2, 0, &admission);
    forward(&h, 3, 0, &admission);
    raft_hand_run(&h, HAND_SECOND);
    CU_ASSERT_TRUE(place_of(&h, 4) >= 0);
    CU_ASSERT_EQUAL(h.travel_count, 0);
    CU_ASSERT_EQUAL(h.config_entries, 1);
    raft_hand_destroy(&h);
}

/* ---- the lead is handed over ------------------------------------------------------------------------------------------ */

/* Trap 50: it has worked when another leads, and not before. */
static void a_transfer_is_done_when_another_leads(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    struct raft_status status;
    raft_status(h.raft->core, &status);
    const struct member_request transfer = transfer_to(HAND_ID(2));
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &transfer);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_COUNT);
    CU_ASSERT_EQUAL(h.raft->members.count, 1);
    raft_hand_led_by(&h, 2, status.current_term + 1, status.commit_index, NULL,
                     status.last_log_index, status.current_term);
    raft_hand_round(&h);
    hand_play_clients(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), OK);
    CU_ASSERT_EQUAL(h.raft->members.count, 0);
    raft_hand_destroy(&h);
}

/* Nobody takes over in an election timeout: this node leads on, and whoever asked hears that. */
static void a_transfer_that_comes_to_nothing_is_said(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    const struct member_request transfer = transfer_to(HAND_ID(2));
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &transfer);
    raft_hand_run(&h, HAND_ELECTION / 2);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_COUNT);
    raft_hand_run(&h, HAND_ELECTION);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_TIMEOUT);
    CU_ASSERT_TRUE(raft_hand_leads(&h));
    raft_hand_destroy(&h);
}

static void who_cannot_take_over_is_not_asked_to(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 2); /* n3 is a learner */
    raft_hand_run(&h, HAND_SECOND);
    const struct member_request learner = transfer_to(HAND_ID(3));
    const struct member_request nobody = transfer_to(77);
    const struct member_request itself = transfer_to(HAND_ID(1));
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &learner);
    raft_hand_ask(&h, 2, 60 * HAND_SECOND, &nobody);
    raft_hand_ask(&h, 3, 60 * HAND_SECOND, &itself);
    raft_hand_round(&h);
    hand_play_clients(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_BAD_TRANSFEREE);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 2), ERR_BAD_TRANSFEREE);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 3), OK);
    raft_hand_destroy(&h);

    raft_hand_follow(&h, 3, 3); /* never handed on: its client asks the leader */
    const struct member_request transfer = transfer_to(HAND_ID(2));
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &transfer);
    raft_hand_round(&h);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(h.travel_count, 0);
    raft_hand_destroy(&h);
}

/* While the lead is on its way no change begins: the target's log must not fall behind. */
static void no_change_during_a_transfer(void)
{
    struct raft_hand h;
    raft_hand_lead(&h, 3, 3);
    raft_hand_run(&h, HAND_SECOND);
    const struct member_request transfer = transfer_to(HAND_ID(2));
    const struct member_request add = add_of(55, "h9:1");
    raft_hand_ask(&h, 1, 60 * HAND_SECOND, &transfer);
    raft_hand_ask(&h, 2, 60 * HAND_SECOND, &add);
    raft_hand_run(&h, HAND_ELECTION / 2);
    CU_ASSERT_EQUAL(h.config_entries, 0);
    raft_hand_run(&h, HAND_ELECTION);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 1), ERR_TIMEOUT);
    CU_ASSERT_EQUAL(raft_hand_told(&h, 2), OK);
    CU_ASSERT_EQUAL(h.config_entries, 1);
    raft_hand_destroy(&h);
}

SUITE("node: requests about members", TEST(who_asked_is_told_when_it_is_committed),
      TEST(one_change_at_a_time), TEST(a_joint_change_is_done_when_it_is_left),
      TEST(what_cannot_be_done_is_refused_at_once), TEST(no_voter_goes_while_too_few_are_alive),
      TEST(what_waits_is_bounded), TEST(what_is_due_goes_without_a_word),
      TEST(also_of_a_node_without_a_cluster), TEST(who_stops_says_so_to_its_clients),
      TEST(a_follower_hands_on_once_it_hears_the_leader), TEST(what_is_not_answered_goes_again),
      TEST(the_leaders_refusal_is_passed_on), TEST(stray_answers_change_nothing),
      TEST(a_follower_answers_when_it_knows),
      TEST(an_entry_that_was_overwritten_was_not_carried_out),
      TEST(behind_a_snapshot_the_outcome_is_unknown), TEST(a_forward_is_answered_when_begun),
      TEST(a_forward_that_comes_again_is_done_once), TEST(a_forward_to_a_follower_is_sent_back),
      TEST(what_cannot_be_read_is_dropped), TEST(a_node_that_calls_becomes_a_learner),
      TEST(only_who_belongs_here_is_taken_in), TEST(neither_a_wiped_voter_nor_a_removed_member),
      TEST(the_declared_only), TEST(a_follower_speaks_for_who_calls_it),
      TEST(a_transfer_is_done_when_another_leads), TEST(a_transfer_that_comes_to_nothing_is_said),
      TEST(who_cannot_take_over_is_not_asked_to), TEST(no_change_during_a_transfer))
