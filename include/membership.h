/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membership.h: who belongs to the cluster, as data in the log (Raft §6, Thesis §4).
 *
 * A configuration is a list of members; each carries its name, its identity and its two addresses,
 * and says whether it votes in the old (outgoing) and in the new (incoming) majority. Outside a
 * change of voters the two are the same set; while voters change the configuration is joint
 * (C_old,new), and whoever will be gone afterwards is marked as leaving. A member that votes in neither
 * is a learner: it gets the log and counts for nothing.
 *
 * Identity: a member id is a random 64-bit incarnation drawn when an empty data directory is first
 * used. A wiped disk is a new member; ids are never reused (trap 42). So a configuration also lists the
 * ids that were members once, the latest REMOVED_MAX of them: one of these is not taken back, and is told
 * so when it asks for a vote (trap 7).
 *
 * With the members goes the wish: how many of them should vote, and after which silence one is replaced. It is
 * what people want, the configuration is what is; the autopilot (pilot.h) leads from one to the other. And
 * those who were declared members by their peer address alone and have not called yet.
 */
#ifndef HOLDFAST_MEMBERSHIP_H
#define HOLDFAST_MEMBERSHIP_H

#include "base.h"

#define CONFIGURATION_FORMAT 2
#define MEMBERS_MAX          16
#define REMOVED_MAX          64
#define DECLARED_MAX         8
#define MEMBER_NAME_MAX      63
#define MEMBER_ADDRESS_MAX   271 /* host name of 253 octets, ":65535", and a little */

struct member {
    uint64_t id; /* never 0 */
    char name[MEMBER_NAME_MAX + 1];
    char peer[MEMBER_ADDRESS_MAX + 1];   /* host:port other members dial */
    char client[MEMBER_ADDRESS_MAX + 1]; /* host:port clients dial */
    bool voter_incoming;
    bool voter_outgoing;
    bool leaving; /* joint: an outgoing voter that the new configuration does not hold */
    uint64_t
        added_as; /* it was declared under this id before it came with its own; 0: it was not */
};

#define WISH_VOTERS_AUTO  0 /* as many as there are lasting members for: 1, 3 or 5 */
#define WISH_VOTERS_MAX   7
#define WISH_HEAL_AFTER_S 60
#define WISH_HEAL_NEVER   0

struct cluster_wish {
    uint32_t voters;       /* or WISH_VOTERS_AUTO */
    uint32_t heal_after_s; /* silence after which a voter is replaced, or WISH_HEAL_NEVER */
    bool paused;           /* the autopilot changes nothing */
};

/* Somebody will come from this address and is to be taken in: MemberAdd knows nothing else of it. */
struct declared_member {
    uint64_t id; /* never 0; no member's */
    char peer[MEMBER_ADDRESS_MAX + 1];
    bool learner; /* it was not meant to vote */
};

struct configuration {
    uint64_t cluster_id; /* never 0 in a real configuration */
    size_t count;        /* 0: this node does not know any configuration yet */
    struct member members[MEMBERS_MAX];
    size_t removed_count;
    uint64_t removed[REMOVED_MAX]; /* ids of former members, the latest last */
    struct cluster_wish wish;
    size_t declared_count;
    struct declared_member declared[DECLARED_MAX];
};

/* Index in members of the id, or -1. */
int configuration_find(const struct configuration *c, uint64_t id);
/* Of two members with one name one is leaving, replaced by the other: the other is found. */
int configuration_find_name(const struct configuration *c, const char *name);
/* Index in declared of the id, or -1. */
int configuration_find_declared(const struct configuration *c, uint64_t id);
/* How many members vote from now on (the incoming half). */
size_t configuration_voter_count(const struct configuration *c);
/* Whether it votes, in either half. */
bool configuration_is_voter(const struct configuration *c, uint64_t id);
/* The two halves differ: a change of voters is under way. */
bool configuration_is_joint(const struct configuration *c);
/* The id was a member once and is none any more. */
bool configuration_was_removed(const struct configuration *c, uint64_t id);
/* True if the members for which `yes(context, id)` holds form a majority of the incoming voters AND
 * of the outgoing voters. False for an empty configuration. */
bool configuration_has_quorum(const struct configuration *c,
                              bool (*yes)(void *context, uint64_t id), void *context);
/* The greatest value v such that members with value_of(id) >= v are a quorum (of both majorities). */
uint64_t configuration_quorum_value(const struct configuration *c,
                                    uint64_t (*value_of)(void *context, uint64_t id),
                                    void *context);
void configuration_encode(const struct configuration *c, struct buffer *out);
MUST_USE enum err configuration_decode(struct view in, struct configuration *out);

#endif
