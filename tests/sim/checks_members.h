/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checks_members.h: what must hold of the members, whatever happens: which configuration a node's log puts in
 * force, and whether what was decided had the majorities that it asks for. Part of checkers.h, whose numbers go on:
 *
 * 14. What a leader commits is durable on a majority of the voters of the configuration in its log, and of both halves
 *     of a joint one; learners and strangers count for nothing. Raft §6, traps 11, 40, 41
 * 15. Whoever leads was voted for by such majorities. Raft §6, traps 40, 42
 * 16. A leader's configuration follows from the one before it: the same voters, or joint with these as the outgoing
 *     half, or what a joint one leads to; and only when that one is committed and an entry of the leader's own
 *     term is, too. Traps 37, 39
 * 17. The configuration in force is the newest in the log, also after a truncation. Trap 38
 * 18. Every configuration that reached a disk is of one cluster. Trap 45
 * 19. No id that was removed is a member again. Trap 42
 */
#ifndef HOLDFAST_SIM_CHECKS_MEMBERS_H
#define HOLDFAST_SIM_CHECKS_MEMBERS_H

#include "base.h"
#include "entry.h"
#include "membership.h"
#include "raft.h"

#define CHECKS_GRAVES_MAX 64

struct checks;
struct checks_node;

/* A configuration as far as majorities go. */
struct checks_voters {
    uint64_t index, term; /* of its entry; index 0: none */
    size_t count;
    struct checks_voter {
        uint64_t id;
        bool in, out; /* votes in the incoming, in the outgoing half */
    } items[MEMBERS_MAX];
};

/* Indexes of the CONFIG entries in a node's log, ascending. What lies at or below base cannot go any more. */
struct checks_configs {
    uint64_t *indexes;
    size_t count, capacity;
    uint64_t base;
};

bool checks_voters_joint(const struct checks_voters *v);
bool checks_voters_have(const struct checks_voters *v, uint64_t id);

void checks_configs_cut(struct checks_configs *c, uint64_t from);
void checks_configs_add(struct checks_configs *c, uint64_t index);
/* Everything up to here is certain now: a table was applied or received. */
void checks_configs_base(struct checks_configs *c, uint64_t index);

/* A configuration of that cluster reached a disk (18). */
void checks_members_durable(struct checks *c, size_t node, uint64_t cluster_id);
/* An entry was committed: if it is a configuration it is the newest committed one (18, 19). */
void checks_members_committed(struct checks *c, size_t node, const struct entry *e);
/* The raft actor's batch is over: s is new, n->seen what was before. */
void checks_members_ran(struct checks *c, size_t node, const struct raft *core,
                        const struct raft_status *s);
/* A node leads a new term; after checks_members_ran. */
void checks_members_elected(struct checks *c, size_t node, const struct raft_status *s);

#endif
