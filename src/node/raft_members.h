/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_members.h: requests about members that wait in the raft actor, and what it remembers for the autopilot.
 * Part of struct raft_actor (raft_state.h).
 */
#ifndef HOLDFAST_RAFT_MEMBERS_H
#define HOLDFAST_RAFT_MEMBERS_H

#include "member_request.h"
#include "message.h"
#include "pilot.h"

#define MEMBER_REQUESTS_MAX 64
#define MEMBER_RESEND_US                                                                           \
    UINT64_C(1000000) /* a request that was forwarded and not answered goes again */

enum member_wait {
    MEMBER_HELD,  /* for a leader, or for the change before it */
    MEMBER_SENT,  /* to the leader of `term` */
    MEMBER_BEGUN, /* in the log at index and term */
};

struct member_waiting {
    enum member_wait state;
    struct member_request request;
    uint64_t request_id, deadline_us;
    uint64_t from, origin; /* another node's: its member and boot ids; 0: our client's */
    uint64_t index, term;
    uint64_t sent_us;
};

struct raft_members {
    struct member_waiting waiting[MEMBER_REQUESTS_MAX];
    size_t count;
    /* nodes that would be members: what was said of them last */
    uint64_t refused_id;
    enum err refused_error;
    uint64_t look_at_us;
    bool removed_said;
};

struct raft_pilot {
    bool leads;
    uint64_t led_since_us, changed_at_us, settled_index;
    struct pilot_seen {
        uint64_t id, alive_since_us; /* 0: silent */
    } seen[MEMBERS_MAX];
    size_t seen_count;
    struct pilot_decision decision; /* of the last look */
    char last_change[PILOT_REASON_MAX];
    uint64_t last_change_us;
};

#endif
