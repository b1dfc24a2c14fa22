/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pilot.h: the autopilot: who should vote, from what the leader observes and what people wish. A pure
 * function, so that the simulator runs it as it is; the raft actor asks it now and then while it leads and
 * carries out what it says as one change of configuration.
 *
 * It changes voting rights only. Who is a member at all is decided elsewhere (admission, people).
 *
 * Rules
 *  1. At most one change at a time, and none while another is under way or not yet committed, or before
 *     `settle_us` have passed since the last one (hysteresis).
 *  2. Nothing without a strict majority of the present voters alive, this node among them (trap 43).
 *  3. After the change a strict majority of the voters is alive and caught up: a silent voter is replaced
 *     by a standby that already has the log, never taken out alone. Silence alone never shrinks a quorum.
 *  4. A standby is worth a vote when it has been alive without a break for `stable_us`, is caught up in
 *     rounds (Thesis §4.2.1), and neither its disk nor its log is damaged.
 *  5. The number of voters is odd wherever the members allow it, and changes 3 -> 5 and 5 -> 3 in one
 *     joint step (trap 40).
 *  6. Same view, same decision; ties are broken by name.
 */
#ifndef HOLDFAST_PILOT_H
#define HOLDFAST_PILOT_H

#include "base.h"
#include "membership.h"

#define PILOT_REASON_MAX  192
#define PILOT_VOTERS_AUTO 0 /* as many as there are lasting members for: 1, 3 or 5 */
#define PILOT_VOTERS_MAX  7

/* What people wish; replicated. */
struct pilot_wish {
    uint32_t voters;        /* 1, 3, 5, 7, or PILOT_VOTERS_AUTO */
    uint64_t heal_after_us; /* silence after which a voter is replaced; UINT64_MAX: never */
    bool paused;            /* somebody else changes members now (`cluster apply`) */
};

/* What the leader sees of one member. */
struct pilot_member {
    uint64_t id;
    bool alive;         /* heard within an election timeout; the leader itself always */
    uint64_t silent_us; /* since it was heard last; 0 when alive */
    uint64_t steady_us; /* alive without a break, as long as this leader knows */
    bool caught_up;     /* voters: replicates; standbys: in rounds */
    bool unfit;         /* may not vote (damaged), or its disk hangs */
    bool retiring;      /* people want it to stop voting (its node is about to be taken away) */
};

struct pilot_view {
    const struct configuration *configuration; /* in force; borrowed */
    bool settled;       /* ... and committed, and not joint, and no change is pending */
    uint64_t leader_id; /* this node */
    uint64_t settle_us, stable_us;
    uint64_t since_change_us; /* since the last change was settled, or since this node leads */
    size_t member_count;
    struct pilot_member members[MEMBERS_MAX]; /* one for each of the configuration, any order */
};

enum pilot_action {
    PILOT_REST,   /* all is as it should be */
    PILOT_WAIT,   /* something should be done and cannot be yet: the reason says why */
    PILOT_CHANGE, /* other voters: target */
};

struct pilot_decision {
    enum pilot_action action;
    struct configuration target;   /* PILOT_CHANGE: voter_incoming says who shall vote */
    char reason[PILOT_REASON_MAX]; /* for people: "replace n2 (silent for 40 s) by n4" */
};

/* What the leader knows of the members and of its autopilot. */
struct cluster_report {
    bool leads; /* else nothing of the rest is known */
    enum pilot_action action;
    char reason[PILOT_REASON_MAX];
    char last_change[PILOT_REASON_MAX]; /* "": none in this lead */
    uint64_t last_change_ago_us;
    uint32_t voters_wanted;
    size_t member_count;
    struct {
        struct pilot_member seen;
        uint64_t match_index;
    } members[MEMBERS_MAX];
};

/* Decide. view and wish are borrowed. */
void pilot_decide(const struct pilot_view *view, const struct pilot_wish *wish,
                  struct pilot_decision *out);

/* How many should vote, given the wish and how many members could (PILOT_VOTERS_AUTO: 5 from five on, 3 from
 * three on, else 1; otherwise the greatest odd number up to the wish). */
uint32_t pilot_voters_wanted(const struct pilot_wish *wish, size_t lasting_count);

#endif
