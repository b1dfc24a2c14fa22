/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.h: in one run of three the members change while everything else goes wrong: how such a cluster is founded,
 * who joins it later, what people ask of it, which machines lose their disks or never come back, and what all
 * that must have led to in the end.
 *
 * Nothing is asked for that the design does not promise to survive: of the voters of any configuration that may be in
 * force a majority keeps its disks, also if the autopilot decides at that very moment by what it saw an instant
 * before. So disks are lost one at a time, and not while people take voters away.
 *
 * Checked here, beside checks_members.h
 *  1. The autopilot demotes nobody without a promotion, but down to the number that is wished. Trap 43
 *  2. Of the voters that a leader chooses a majority is alive. Trap 43
 *  3. A removal that was answered as done is done.
 *  4. In the end every node that runs is a member, or was removed; as many vote as are wished and can; no voter is
 *     dead that a standby could replace.
 *  5. Then nobody disturbs: no term passes any more, whoever was removed and still runs. Trap 7
 */
#ifndef HOLDFAST_SIM_MEMBERS_H
#define HOLDFAST_SIM_MEMBERS_H

#include "config.h"
#include "message.h"
#include "raft.h"

struct cluster;

#define MEMBERS_SLOTS 14 /* peer actors of a node: six others, seeds, strangers */

struct members_plan {
    bool on;
    uint64_t random;
    size_t founders; /* machines that list each other; 1: the first founds alone */
    bool declared;   /* who was not declared is not admitted */
    uint32_t voters, heal_after_s;
    bool healed;            /* people set right what is left */
    uint64_t risk_until_us; /* until then people may be taking voters away */
    uint64_t counter;       /* of requests */
    struct members_asked {
        uint64_t request_id, id;
        size_t node;
        bool done;  /* so it was answered */
    } removals[64]; /* the latest */
};

struct members_figures {
    uint64_t configurations, joint; /* committed by leaders */
    uint64_t requests, removals_done, wiped, gone, returned;
};

/* Does this run change members, and how was it begun. node_count: machines in all, changed if it does. */
void members_draw(struct members_plan *plan, uint64_t seed, size_t *node_count);
/* The node's configuration file: whom it lists and whom it joins. */
void members_config(const struct members_plan *plan, size_t node, struct config *config);
/* When a machine is switched on first. */
uint64_t members_first_start_us(struct members_plan *plan, size_t node, uint64_t drawn_us);
/* People and bad luck from now on. */
void members_begin(struct cluster *c);
/* ... end; what is left to set right, people do. */
void members_heal(struct cluster *c);

/* Somebody asks a node that runs; what is answered is looked at. */
void members_ask(struct cluster *c, size_t node, const struct member_request *request);
/* May this node's disk be lost, or its log be damaged? */
bool members_may_destroy(const struct cluster *c, size_t node);
/* A leader appended another configuration. */
void members_changed(struct cluster *c, size_t node, const struct configuration *now);
/* A client was told the state of the cluster, as the answer to this request. */
void members_answered(struct cluster *c, size_t node, uint64_t request_id);
/* It is a member of what is committed, or members are fixed. */
bool members_has(const struct cluster *c, size_t node);
/* 4 */
bool members_settled(const struct cluster *c);
/* 3; the run is over. */
void members_finish(struct cluster *c);
/* What members_settled waits for, for a failure. */
void members_say(const struct cluster *c, char *out, size_t size);

#endif
