/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_request.h: what people and nodes ask of the membership, as one value that travels from a client to its
 * node and from there to the leader. What comes of it is said in member_change.h.
 */
#ifndef HOLDFAST_MEMBER_REQUEST_H
#define HOLDFAST_MEMBER_REQUEST_H

#include "base.h"
#include "membership.h"

/* Numbers go over the wire. */
enum member_action {
    MEMBER_ADMIT = 1, /* a node has called: id, name, peer, client, as it says them itself */
    MEMBER_ADD,       /* somebody will come from `peer`; `id` is what the asker was told; learner */
    MEMBER_REMOVE,    /* id */
    MEMBER_UPDATE,    /* id, peer */
    MEMBER_PROMOTE,   /* id */
    MEMBER_REPLACE,   /* id, or name: as REMOVE, by whatever a person knows */
    MEMBER_WISH,      /* of `wish` what the set_ flags say */
    MEMBER_TRANSFER,  /* hand over the lead to id; never forwarded */
};

struct member_request {
    enum member_action action;
    uint64_t id;
    char name[MEMBER_NAME_MAX + 1];
    char peer[MEMBER_ADDRESS_MAX + 1];
    char client[MEMBER_ADDRESS_MAX + 1];
    bool learner;
    bool again; /* it may have been carried out already: then that is fine */
    bool set_voters, set_heal_after_s, set_paused;
    struct cluster_wish wish;
};

#endif
