/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenarios.h: written stories for whole nodes, beside what seeds draw: the schedules that are known to have lost data
 * or split clusters elsewhere, each with the trap it is about. All checks look on as in any run, and every story ends
 * as every run does (ending.h).
 *
 *   scenarios_members.c  who belongs to the cluster, traps 37 to 45
 *   scenarios_lead.c     leases, transfers, disks, snapshots, traps 34, 35, 44 to 50
 */
#ifndef HOLDFAST_SIM_SCENARIOS_H
#define HOLDFAST_SIM_SCENARIOS_H

#include "cluster.h"

struct scenario {
    const char *name;
    size_t machines, founders; /* as members.h */
    uint32_t voters, heal_after_s;
    uint32_t election_timeout_ms;
    uint64_t log_keep_bytes;
    bool leader_lease;
    void (*prepare)(struct cluster *c); /* before anything runs; NULL: nothing to do */
    void (*play)(struct cluster *c);
};

size_t scenario_count(void);
const char *scenario_name(size_t number);
struct cluster *scenario_create(size_t number, bool verbose);
/* Afterwards nothing is cut or off any more. */
void scenario_play(struct cluster *c, size_t number);

/* ---- for the stories ------------------------------------------------------------------------------------ */

extern const struct scenario scenarios_members[];
extern const size_t scenarios_members_count;
extern const struct scenario scenarios_lead[];
extern const size_t scenarios_lead_count;

void stage_start(struct cluster *c, size_t first, size_t count);
void stage_pass(struct cluster *c, uint64_t ms);
/* Until is(c, argument); within so long, or the story has failed. */
void stage_wait(struct cluster *c, bool (*is)(const struct cluster *c, size_t argument),
                size_t argument, uint64_t ms, const char *what);
void stage_expect(struct cluster *c, bool holds, const char *what);
/* Both ways; what is in flight is lost. */
void stage_cut(struct cluster *c, size_t a, size_t b);
void stage_isolate(struct cluster *c, size_t node);
void stage_ask(struct cluster *c, size_t node, enum member_action action, uint64_t id);
void stage_wish(struct cluster *c, size_t node, uint32_t voters);
/* The process ends and comes back only when it is started. */
void stage_crash(struct cluster *c, size_t node);
uint64_t stage_id(const struct cluster *c, size_t node);

/* For stage_wait. */
bool stage_leads(const struct cluster *c, size_t node);
bool stage_leads_another(const struct cluster *c, size_t not_node);
/* So many vote in the newest committed configuration, which is not joint. */
bool stage_voters_are(const struct cluster *c, size_t count);
bool stage_members_are(const struct cluster *c, size_t count);
/* Everybody who is a member runs and has everything that is committed. */
bool stage_all_caught_up(const struct cluster *c, size_t unused);
bool stage_is_gone(const struct cluster *c, size_t node);

/* A leader, and the cluster as its founders and standbys make it: so many members, all caught up. */
size_t stage_settle(struct cluster *c, size_t members);

#endif
