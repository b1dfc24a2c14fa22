/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membership.h: who belongs to the cluster, as data in the log (Raft §6, Thesis §4).
 *
 * A configuration is a list of members; each carries its name, its identity and its two addresses,
 * and says whether it votes in the old (outgoing) and in the new (incoming) majority. Outside a
 * change of voters the two are the same set. The format holds joint consensus and learners from the
 * first entry on, so that changing members later changes no format.
 *
 * Identity: a member id is a random 64-bit incarnation drawn when an empty data directory is first
 * used. A wiped disk is a new member; ids are never reused (trap 42).
 */
#ifndef HOLDFAST_MEMBERSHIP_H
#define HOLDFAST_MEMBERSHIP_H

#include "base.h"

#define CONFIGURATION_FORMAT 1
#define MEMBERS_MAX          16
#define MEMBER_NAME_MAX      63
#define MEMBER_ADDRESS_MAX   271 /* host name of 253 octets, ":65535", and a little */

struct member {
    uint64_t id; /* never 0 */
    char name[MEMBER_NAME_MAX + 1];
    char peer[MEMBER_ADDRESS_MAX + 1];   /* host:port other members dial */
    char client[MEMBER_ADDRESS_MAX + 1]; /* host:port clients dial */
    bool voter_incoming;
    bool voter_outgoing;
};

struct configuration {
    uint64_t cluster_id; /* never 0 in a real configuration */
    size_t count;        /* 0: this node does not know any configuration yet */
    struct member members[MEMBERS_MAX];
};

/* Index in members of the id, or -1. */
int configuration_find(const struct configuration *c, uint64_t id);
int configuration_find_name(const struct configuration *c, const char *name);
bool configuration_is_voter(const struct configuration *c, uint64_t id);
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
