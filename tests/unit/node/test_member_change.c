/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_member_change.c: what each request makes of the members, what it is refused for, and that a removed or
 * wiped voter never leaves a quorum that cannot work (traps 42, 43).
 */
#include "node/member_change.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

struct world {
    struct configuration c;
    struct pilot_view view;
};

/* Members n1.. with ids 1..; all alive and caught up. */
static void make(struct world *w, size_t count, size_t voters)
{
    memset(w, 0, sizeof(*w));
    w->c.cluster_id = 9;
    w->c.wish.voters = (uint32_t)voters;
    w->c.count = count;
    w->view.configuration = &w->c;
    w->view.settled = true;
    w->view.leader_id = 1;
    w->view.member_count = count;
    for (size_t i = 0; i < count; i++) {
        struct member *m = &w->c.members[i];
        m->id = i + 1;
        (void)snprintf(m->name, sizeof(m->name), "n%zu", i + 1);
        (void)snprintf(m->peer, sizeof(m->peer), "h%zu:1", i + 1);
        m->voter_incoming = m->voter_outgoing = i < voters;
        w->view.members[i] = (struct pilot_member){.id = i + 1, .alive = true, .caught_up = true};
    }
}

static void silence(struct world *w, uint64_t id)
{
    w->view.members[id - 1].alive = false;
}

static struct configuration after;

static enum err ask(const struct world *w, struct member_request request)
{
    return member_change(&w->view, &request, &after);
}

static struct member_request admission(uint64_t id, const char *name, const char *peer)
{
    struct member_request r = {.action = MEMBER_ADMIT, .id = id};
    (void)snprintf(r.name, sizeof(r.name), "%s", name);
    (void)snprintf(r.peer, sizeof(r.peer), "%s", peer);
    return r;
}

static struct member_request with_peer(enum member_action action, uint64_t id, const char *peer)
{
    struct member_request r = {.action = action, .id = id};
    (void)snprintf(r.peer, sizeof(r.peer), "%s", peer);
    return r;
}

static void a_new_node_comes_as_a_learner(void)
{
    struct world w;
    make(&w, 3, 3);
    CU_ASSERT_EQUAL(ask(&w, admission(7, "n7", "h7:1")), OK);
    CU_ASSERT_EQUAL(after.count, 4);
    CU_ASSERT_FALSE(configuration_is_voter(&after, 7));
    CU_ASSERT_EQUAL(ask(&w, admission(2, "n2", "h2:1")), OK); /* a member already */
    CU_ASSERT_EQUAL(after.count, 3);
    CU_ASSERT_EQUAL(ask(&w, admission(7, "n7", "")), ERR_MEMBER_URLS);
    w.c.removed[w.c.removed_count++] = 7;
    CU_ASSERT_EQUAL(ask(&w, admission(7, "n7", "h7:1")), ERR_ID_REUSED);
}

/* Trap 42: ids that MemberAdd gave are known to whoever asked; nobody comes under one as its own. (Found by fuzzing: the
 * configuration that came of it could not be read by anybody.) */
static void nobody_comes_under_a_declared_id(void)
{
    struct world w;
    make(&w, 3, 3);
    w.c.declared_count = 1;
    w.c.declared[0].id = 52;
    (void)snprintf(w.c.declared[0].peer, sizeof(w.c.declared[0].peer), "h9:1");
    CU_ASSERT_EQUAL(ask(&w, admission(52, "n9", "h9:1")), ERR_ID_REUSED);
    CU_ASSERT_EQUAL(ask(&w, admission(52, "n8", "h8:1")), ERR_ID_REUSED);
    CU_ASSERT_EQUAL(ask(&w, admission(53, "n9", "h9:1")), OK);
    CU_ASSERT_EQUAL(after.members[3].added_as, 52);
    w.c = after;
    CU_ASSERT_EQUAL(ask(&w, admission(52, "n8", "h8:1")), ERR_ID_REUSED);
}

/* Trap 42: a wiped disk is a new member, and takes the place of the old one only if that one has no vote. */
static void a_wiped_node_waits_for_its_vote_to_go(void)
{
    struct world w;
    make(&w, 4, 3);
    CU_ASSERT_EQUAL(ask(&w, admission(7, "n3", "h3:1")), ERR_IDENTITY);
    CU_ASSERT_EQUAL(ask(&w, admission(7, "n4", "h4:1")), OK);
    CU_ASSERT_EQUAL(after.count, 4);
    CU_ASSERT_TRUE(configuration_find(&after, 4) < 0);
    CU_ASSERT_TRUE(configuration_find(&after, 7) >= 0);
}

static void there_is_room_for_so_many(void)
{
    struct world w;
    make(&w, MEMBERS_MAX, 3);
    CU_ASSERT_EQUAL(ask(&w, admission(99, "n99", "h99:1")), ERR_TOO_MANY_MEMBERS);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_ADD, 99, "h99:1")), ERR_TOO_MANY_MEMBERS);
}

static void what_was_added_is_bound_when_it_comes(void)
{
    struct world w;
    make(&w, 3, 3);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_ADD, 50, "h7:1")), OK);
    CU_ASSERT_EQUAL(after.declared_count, 1);
    CU_ASSERT_EQUAL(after.count, 3);
    CU_ASSERT_EQUAL(after.wish.voters, 4); /* it was added to vote */
    w.c = after;
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_ADD, 51, "h7:1")), ERR_PEER_URL_EXISTS);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_ADD, 51, "h2:1")), ERR_PEER_URL_EXISTS);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_ADD, 51, "")), ERR_MEMBER_URLS);
    struct member_request again = with_peer(MEMBER_ADD, 50, "h7:1");
    again.again = true;
    CU_ASSERT_EQUAL(ask(&w, again), OK);
    CU_ASSERT_EQUAL(after.declared_count, 1);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_PROMOTE, 50, "")), ERR_LEARNER_NOT_READY);
    CU_ASSERT_EQUAL(ask(&w, admission(7, "n7", "h7:1")), OK);
    CU_ASSERT_EQUAL(after.declared_count, 0);
    int at = member_change_find(&after, 50);
    CU_ASSERT_TRUE_FATAL(at >= 0);
    CU_ASSERT_EQUAL(after.members[at].id, 7);
    w.c = after;
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 50, "")), OK);
    CU_ASSERT_TRUE(configuration_find(&after, 7) < 0);
}

static void a_learner_added_does_not_raise_the_wish(void)
{
    struct world w;
    make(&w, 3, 3);
    struct member_request r = with_peer(MEMBER_ADD, 50, "h7:1");
    r.learner = true;
    CU_ASSERT_EQUAL(ask(&w, r), OK);
    CU_ASSERT_EQUAL(after.wish.voters, 3);
    w.c = after;
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 50, "")), OK);
    CU_ASSERT_EQUAL(after.declared_count, 0);
}

/* Trap 43, and a standby takes the place in the same step. */
static void removing_a_voter(void)
{
    struct world w;
    make(&w, 4, 3);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 2, "")), OK);
    CU_ASSERT_EQUAL(configuration_voter_count(&after), 3);
    CU_ASSERT_TRUE(configuration_is_voter(&after, 4));
    silence(&w, 4); /* no standby is ready */
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 2, "")), OK);
    CU_ASSERT_EQUAL(configuration_voter_count(&after), 2);
    silence(&w, 3); /* n1 and n3 would be left, of whom one works */
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 2, "")), ERR_NOT_ENOUGH_STARTED);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 3, "")), OK); /* the dead one may go */
    silence(&w, 2);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 3, "")), ERR_UNHEALTHY);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 77, "")), ERR_MEMBER_NOT_FOUND);
    make(&w, 1, 1);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_REMOVE, 1, "")), ERR_NOT_ENOUGH_STARTED);
}

static void a_member_is_replaced_by_name(void)
{
    struct world w;
    make(&w, 4, 3);
    struct member_request r = {.action = MEMBER_REPLACE, .name = "n3"};
    CU_ASSERT_EQUAL(ask(&w, r), OK);
    CU_ASSERT_TRUE(configuration_find(&after, 3) < 0);
    CU_ASSERT_TRUE(configuration_is_voter(&after, 4));
    r.name[1] = '9';
    CU_ASSERT_EQUAL(ask(&w, r), ERR_MEMBER_NOT_FOUND);
}

static void what_was_removed_before_is_fine_only_again(void)
{
    struct world w;
    make(&w, 3, 3);
    w.c.removed[w.c.removed_count++] = 8;
    struct member_request r = with_peer(MEMBER_REMOVE, 8, "");
    CU_ASSERT_EQUAL(ask(&w, r), ERR_MEMBER_NOT_FOUND);
    r.again = true;
    CU_ASSERT_EQUAL(ask(&w, r), OK);
}

static void promotion_needs_a_member_in_sync(void)
{
    struct world w;
    make(&w, 4, 3);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_PROMOTE, 3, "")), ERR_NOT_A_LEARNER);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_PROMOTE, 5, "")), ERR_MEMBER_NOT_FOUND);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_PROMOTE, 4, "")), OK);
    CU_ASSERT_TRUE(configuration_is_voter(&after, 4));
    CU_ASSERT_EQUAL(after.wish.voters, 4);
    w.view.members[3].caught_up = false;
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_PROMOTE, 4, "")), ERR_LEARNER_NOT_READY);
    w.view.members[3].caught_up = true;
    w.view.members[3].unfit = true;
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_PROMOTE, 4, "")), ERR_LEARNER_NOT_READY);
}

static void addresses_are_one_members(void)
{
    struct world w;
    make(&w, 3, 3);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_UPDATE, 2, "new:1")), OK);
    CU_ASSERT_STRING_EQUAL(after.members[1].peer, "new:1");
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_UPDATE, 2, "h2:1")), OK);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_UPDATE, 2, "h3:1")), ERR_PEER_URL_EXISTS);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_UPDATE, 2, "")), ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(ask(&w, with_peer(MEMBER_UPDATE, 9, "new:1")), ERR_MEMBER_NOT_FOUND);
}

static void the_wish_changes_by_parts(void)
{
    struct world w;
    make(&w, 3, 3);
    struct member_request r = {.action = MEMBER_WISH, .set_voters = true, .wish = {.voters = 5}};
    CU_ASSERT_EQUAL(ask(&w, r), OK);
    CU_ASSERT_EQUAL(after.wish.voters, 5);
    CU_ASSERT_EQUAL(after.wish.heal_after_s, w.c.wish.heal_after_s);
    r.wish.voters = 4;
    CU_ASSERT_EQUAL(ask(&w, r), ERR_INVALID);
    r.wish.voters = 9;
    CU_ASSERT_EQUAL(ask(&w, r), ERR_INVALID);
    r.wish.voters = WISH_VOTERS_AUTO;
    CU_ASSERT_EQUAL(ask(&w, r), OK);
    r = (struct member_request){.action = MEMBER_WISH, .set_paused = true, .wish.paused = true};
    CU_ASSERT_EQUAL(ask(&w, r), OK);
    CU_ASSERT_TRUE(after.wish.paused);
    CU_ASSERT_EQUAL(after.wish.voters, 3);
}

static void requests_travel(void)
{
    struct member_request r = {.action = MEMBER_WISH,
                               .id = UINT64_MAX,
                               .name = "n1",
                               .peer = "p:1",
                               .client = "c:1",
                               .learner = true,
                               .again = true,
                               .set_heal_after_s = true,
                               .set_paused = true,
                               .wish = {.voters = 7, .heal_after_s = 9, .paused = true}};
    struct member_request back;
    struct buffer data = {0};
    member_request_encode(&r, &data);
    CU_ASSERT_EQUAL_FATAL(member_request_decode(view_of(data.data, data.size), &back), OK);
    CU_ASSERT_EQUAL(memcmp(&r, &back, sizeof(r)), 0);
    for (size_t size = 0; size < data.size; size++) {
        CU_ASSERT_EQUAL(member_request_decode(view_of(data.data, size), &back), ERR_TRUNCATED);
    }
    data.data[0] = 2;
    CU_ASSERT_EQUAL(member_request_decode(view_of(data.data, data.size), &back), ERR_NEWER_FORMAT);
    data.data[0] = 1;
    data.data[1] = MEMBER_TRANSFER;
    CU_ASSERT_EQUAL(member_request_decode(view_of(data.data, data.size), &back), ERR_MALFORMED);
    buffer_free(&data);
}

static void replies_travel(void)
{
    const enum err errors[] = {OK, ERR_MEMBER_NOT_FOUND, ERR_NOT_ENOUGH_STARTED, ERR_TOO_LARGE};
    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        struct member_reply r = {.error = errors[i], .index = 5, .term = 6};
        struct member_reply back;
        struct buffer data = {0};
        member_reply_encode(&r, &data);
        CU_ASSERT_EQUAL_FATAL(member_reply_decode(view_of(data.data, data.size), &back), OK);
        CU_ASSERT_EQUAL(back.error, errors[i]);
        CU_ASSERT_EQUAL(back.index, 5);
        CU_ASSERT_EQUAL(back.term, 6);
        CU_ASSERT_EQUAL(member_reply_decode(view_of(data.data, data.size - 1), &back),
                        ERR_TRUNCATED);
        buffer_free(&data);
    }
}

SUITE("node: member change", TEST(a_new_node_comes_as_a_learner),
      TEST(nobody_comes_under_a_declared_id), TEST(a_wiped_node_waits_for_its_vote_to_go),
      TEST(there_is_room_for_so_many), TEST(what_was_added_is_bound_when_it_comes),
      TEST(a_learner_added_does_not_raise_the_wish), TEST(removing_a_voter),
      TEST(a_member_is_replaced_by_name), TEST(what_was_removed_before_is_fine_only_again),
      TEST(promotion_needs_a_member_in_sync), TEST(addresses_are_one_members),
      TEST(the_wish_changes_by_parts), TEST(requests_travel), TEST(replies_travel))
