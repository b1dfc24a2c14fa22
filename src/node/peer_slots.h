/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_slots.h: which peer actor talks to whom. The actors stand in a fixed array (node.h), made at the start
 * and never exchanged; whom each of them talks to changes with the members. Pure: names and addresses in,
 * a table out; the raft actor tells the actors what changed.
 *
 * In the table, in order of precedence:
 *   the members of the configuration, by the address that it says (the config file's as a second try)
 *   the members that the config file lists: seeds, until and beside what the log says
 *   the addresses to join by (`join`, and the targets of `discovery_srv`), of nodes whose names are not known yet
 *   strangers: nodes that called us and may become members
 *
 * Invariants
 *  1. A name is in at most one slot; our own in none.
 *  2. A slot keeps its name as long as the name is wanted, so that connections live on.
 *  3. Two slots never lead to one node for long: each new connection of ours takes the place of the one before at the
 *     other end, so that the two would cut each other off for ever. Hence seeds rest unless they are needed.
 *  4. The first slots are the config file's members without this node, in its order, from the start on and for ever:
 *     the rules of the first start count on them.
 */
#ifndef HOLDFAST_PEER_SLOTS_H
#define HOLDFAST_PEER_SLOTS_H

#include "config.h"
#include "message.h"

_Static_assert(SEEDS_MAX <= CONFIG_JOIN_MAX, "all seeds have a place");
_Static_assert(PEER_SLOTS_MAX >= 2 * MEMBERS_MAX + CONFIG_JOIN_MAX, "listed ones, members, seeds");

struct peer_slot {
    bool used;
    bool listed;                    /* by the config file: never let go */
    bool seed;                      /* by `join`: never let go, its name may not be known */
    bool found;                     /* by SRV records: as a seed, until they name it no more */
    bool stranger;                  /* called us; goes when its place is needed or it is a member */
    bool resting;                   /* a seed without a name that is not dialled now ... */
    bool twin;                      /* ... because it led to a node that has a slot of its own */
    char name[MEMBER_NAME_MAX + 1]; /* "": whoever answers at the address */
    char address[MEMBER_ADDRESS_MAX + 1];
    char second[MEMBER_ADDRESS_MAX + 1]; /* tried in turn with the first; "": none */
};

struct peer_slots {
    size_t count; /* slots there are actors for */
    char own_name[MEMBER_NAME_MAX + 1];
    char own_address[MEMBER_ADDRESS_MAX + 1];
    struct peer_slot items[PEER_SLOTS_MAX];
};

/* Slots for the config file's members and join addresses. count: at least as many as those. */
void peer_slots_init(struct peer_slots *s, const struct config *config, size_t count);
/* Slots for a configuration's members; those of former ones are free again. changed[i] is set for each slot
 * whose content is another now. */
void peer_slots_update(struct peer_slots *s, const struct configuration *configuration,
                       bool changed[PEER_SLOTS_MAX]);
/* What SRV records name now. Slots that stand for such a target and for nothing else come and go with it; an address that
 * is in the table or our own needs none. At most CONFIG_JOIN_MAX seeds of both kinds; what is beyond is left out. */
void peer_slots_seeds(struct peer_slots *s, const struct raft_seeds *seeds,
                      bool changed[PEER_SLOTS_MAX]);
/* The slot of the name; SIZE_MAX: none. */
size_t peer_slots_find(const struct peer_slots *s, const char *name);
/* A slot for a node that called us; SIZE_MAX: there is no room, or the address is none. */
size_t peer_slots_add_stranger(struct peer_slots *s, const char *name, const char *address);
/* Whoever answered at a seed's address is called so. False: this name is another slot's already, or our own;
 * the seed's slot is then not needed. */
bool peer_slots_name_seed(struct peer_slots *s, size_t at, const char *name);
/*
 * The address of a seed turned out to be that of the node `name`, which has a slot of its own: the seed rests. That slot
 * tries the seed's address in turn with its own, if it has no second one yet. Returns that slot; SIZE_MAX: it is ourselves.
 */
size_t peer_slots_rest_twin(struct peer_slots *s, size_t at, const char *name);
/* Seeds without a name are dialled if they are wanted, but for twins; `afresh`: those, too, once more. */
void peer_slots_rest(struct peer_slots *s, bool wanted, bool afresh, bool changed[PEER_SLOTS_MAX]);
/* A target of SRV records turned out to be a node that has a slot of its own: free again. True if it was one. */
bool peer_slots_drop_found(struct peer_slots *s, size_t at);
/* A stranger is gone: its slot is free again. True if it was one. */
bool peer_slots_drop_stranger(struct peer_slots *s, size_t at);

#endif
