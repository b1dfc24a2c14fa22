/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_members.c: configurations, and requests about members, as they come out of the log and from other nodes: any
 * octets are refused or read, and what is read is written the same. Then the one is done to the other and shown to the
 * autopilot: whoever votes afterwards can, nothing grows beyond its bound, and the result is a configuration again.
 * libFuzzer; the first two octets say where the request begins and who is alive.
 */
#include "membership.h"
#include "node/member_change.h"
#include "pilot.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_configuration(const struct configuration *c)
{
    static struct configuration again;
    struct buffer first = {0};
    struct buffer second = {0};
    ASSERT(c->count <= MEMBERS_MAX);
    ASSERT(c->declared_count <= DECLARED_MAX);
    ASSERT(c->removed_count <= REMOVED_MAX);
    configuration_encode(c, &first);
    ASSERT(configuration_decode(view_of(first.data, first.size), &again) == OK);
    configuration_encode(&again, &second);
    ASSERT(view_equal(view_of(first.data, first.size), view_of(second.data, second.size)));
    buffer_free(&first);
    buffer_free(&second);
}

static void check_request(const struct member_request *request)
{
    struct member_request again;
    struct buffer out = {0};
    struct buffer second = {0};
    member_request_encode(request, &out);
    ASSERT(member_request_decode(view_of(out.data, out.size), &again) == OK);
    member_request_encode(&again, &second);
    ASSERT(view_equal(view_of(out.data, out.size), view_of(second.data, second.size)));
    buffer_free(&out);
    buffer_free(&second);
}

static void check_reply(struct view in)
{
    struct member_reply reply, again;
    struct buffer out = {0};
    if (member_reply_decode(in, &reply) != OK) {
        return;
    }
    member_reply_encode(&reply, &out);
    ASSERT(member_reply_decode(view_of(out.data, out.size), &again) == OK);
    ASSERT(again.error == reply.error);
    ASSERT(again.index == reply.index);
    ASSERT(again.term == reply.term);
    buffer_free(&out);
}

static void look(const struct configuration *c, uint8_t alive, struct pilot_view *view)
{
    memset(view, 0, sizeof(*view));
    view->configuration = c;
    view->settled = true;
    view->leader_id = c->members[0].id;
    view->since_change_us = view->settle_us = view->stable_us = 1;
    view->member_count = c->count;
    for (size_t i = 0; i < c->count; i++) {
        bool lives = (alive >> (i % 8) & 1) != 0;
        view->members[i] = (struct pilot_member){.id = c->members[i].id,
                                                 .alive = lives,
                                                 .silent_us = lives ? 0 : UINT64_MAX / 2,
                                                 .steady_us = lives ? 2 : 0,
                                                 .caught_up = lives};
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct configuration c, after;
    static struct pilot_view view;
    static struct pilot_decision decision;
    if (size < 2) {
        return 0;
    }
    struct view all = view_of(data + 2, size - 2);
    size_t cut = all.size * data[0] / 255;
    struct view left = view_of(all.data, cut);
    struct view right = view_of(all.data + cut, all.size - cut);
    struct member_request request;
    check_reply(right);
    bool asked = member_request_decode(right, &request) == OK;
    if (asked) {
        check_request(&request);
    }
    if (configuration_decode(left, &c) != OK) {
        return 0;
    }
    check_configuration(&c);
    if (c.count == 0 || configuration_is_joint(&c)) {
        return 0;
    }
    look(&c, data[1], &view);
    const struct pilot_wish wish = {.voters = c.wish.voters, .heal_after_us = 1};
    pilot_decide(&view, &wish, &decision);
    ASSERT(memchr(decision.reason, 0, sizeof(decision.reason)) != NULL);
    if (decision.action == PILOT_CHANGE) {
        ASSERT(configuration_voter_count(&decision.target) > 0);
        check_configuration(&decision.target);
    }
    if (asked && member_change(&view, &request, &after) == OK) {
        check_configuration(&after);
        ASSERT(configuration_voter_count(&c) == 0 || configuration_voter_count(&after) > 0);
    }
    return 0;
}
