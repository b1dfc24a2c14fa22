/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_plan.h: what separates the cluster that a file declares from the one there is, as steps in an order in which each is
 * safe: who is missing is added before anybody goes, and nobody's vote goes before another one has it (the leader
 * sees to that, in one joint step). Pure: a file and an answer in, steps out.
 *
 * The file declares nodes (`members`) and a number (`membership.voters`), never who votes: a cluster that has healed
 * itself is what it should be. A plan is made anew after each step, so an apply that was stopped goes on where it was.
 */
#ifndef HOLDFAST_CLI_CLUSTER_PLAN_H
#define HOLDFAST_CLI_CLUSTER_PLAN_H

#include "config.h"
#include "holdfast.pb-c.h"

#define PLAN_STEPS_MAX     (4 * MEMBERS_MAX + 2)
#define PLAN_STEP_TEXT_MAX 1023

enum cluster_step_kind {
    STEP_DECLARE, /* MemberAdd as a learner, by its peer address */
    STEP_JOIN,    /* wait until its node has come and has the log */
    STEP_UPDATE,  /* MemberUpdate: another peer address */
    STEP_REPLACE, /* a voter goes, a standby gets its place */
    STEP_REMOVE,  /* a standby goes */
    STEP_WISH,    /* SetWish: voters and heal_after_s */
    STEP_RESUME,  /* the autopilot goes on */
};

struct cluster_step {
    enum cluster_step_kind kind;
    uint64_t id; /* of the member; 0: it has none yet */
    char name[MEMBER_NAME_MAX + 1];
    char peer[MEMBER_ADDRESS_MAX + 1];
    char text[PLAN_STEP_TEXT_MAX + 1]; /* for people */
};

struct cluster_plan {
    size_t count; /* 0: the cluster is as declared */
    struct cluster_step steps[PLAN_STEPS_MAX];
};

void cluster_plan_make(const struct config *declared,
                       const Holdfast__V1__GetClusterResponse *actual, struct cluster_plan *out);
/* Members that vote now or from the change on that is under way. */
size_t cluster_plan_voters(const Holdfast__V1__GetClusterResponse *actual);
/* The member of that name; NULL: none, or declared only. */
const Holdfast__V1__Member *cluster_plan_member(const Holdfast__V1__GetClusterResponse *actual,
                                                const char *name);
/* "voter", ... */
const char *cluster_role_text(Holdfast__V1__Role role);
/* The number as the interface has it: 0 for "auto". */
uint32_t cluster_plan_voters_declared(const struct config *declared);

#endif
