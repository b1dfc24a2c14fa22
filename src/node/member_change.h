/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_change.h: from a request to the configuration it asks for, or the error its asker is told. Pure: the
 * leader hands in what it sees of the members (pilot.h) and carries the target out (raft.h, CHANGE_CONFIGURATION).
 *
 * Here is decided who is a member. Who votes is the autopilot's, but for two cases that people ask for by name:
 * a promotion, and the removal of a voter, whose place a ready standby takes in the same step.
 *
 * Rules
 *  1. A new node comes as a learner. In place of a member of the same name only if that one does not vote: it is a
 *     node whose data directory was emptied (trap 42).
 *  2. A change of voters needs a majority of the present ones alive, and leaves voters of whom a strict majority is
 *     alive, caught up and sound (trap 43).
 *  3. What was removed does not come back under its id.
 *  4. A wish for a number of voters grows with a promotion or with an added voter that goes beyond it, or the
 *     autopilot would take back what a person just did.
 */
#ifndef HOLDFAST_MEMBER_CHANGE_H
#define HOLDFAST_MEMBER_CHANGE_H

#include "member_request.h"
#include "pilot.h"

/*
 * The configuration that the request leads to. If nothing is to be done it equals the present one.
 *
 * view  as the leader sees it; its configuration must be settled
 * out   untouched on error
 *
 * ERR_MEMBER_NOT_FOUND; ERR_PEER_URL_EXISTS; ERR_MEMBER_URLS (no address); ERR_TOO_MANY_MEMBERS;
 * ERR_NOT_A_LEARNER, ERR_LEARNER_NOT_READY (promotion); ERR_UNHEALTHY (no majority of the voters is alive);
 * ERR_NOT_ENOUGH_STARTED (too few would vote afterwards); ERR_ID_REUSED; ERR_IDENTITY (the name belongs to a voter);
 * ERR_INVALID (no such wish).
 */
MUST_USE enum err member_change(const struct pilot_view *view, const struct member_request *request,
                                struct configuration *out);

/* Index in members of the id, be it its own or the one it was declared under; -1: none. */
int member_change_find(const struct configuration *c, uint64_t id);

/* The wire form of a request. */
void member_request_encode(const struct member_request *request, struct buffer *out);
MUST_USE enum err member_request_decode(struct view in, struct member_request *out);

/* What the leader answers another node: refused, or begun with the entry of this index and term. */
struct member_reply {
    enum err error;
    uint64_t index, term;
};
void member_reply_encode(const struct member_reply *reply, struct buffer *out);
MUST_USE enum err member_reply_decode(struct view in, struct member_reply *out);

#endif
