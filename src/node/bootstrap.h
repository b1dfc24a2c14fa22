/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bootstrap.h: the first start of a cluster, as a pure function of what the hellos said.
 *
 * A node whose log is empty asks all members its config lists. If any node it hears of has a cluster, it joins
 * that one's identity and waits for its log. Else it founds one:
 *
 *   from a list   only if all listed members answer "empty" with the same list of names, and only the first of
 *                 the list by name; all of them are members then (design: identity and first start)
 *   alone         with `bootstrap = true`, when all listed members answer that they know of no cluster, or, if
 *                 none is listed, after a time in which every member of a cluster of this name would have called
 *   never         with `join` or `discovery_srv`
 *
 * A node that does none of it waits, and says why once per reason.
 */
#ifndef HOLDFAST_BOOTSTRAP_H
#define HOLDFAST_BOOTSTRAP_H

#include "config.h"
#include "message.h"

/* What is known of a listed member; index is the peer's. */
struct bootstrap_peer {
    bool heard;
    struct peer_hello hello;
};

enum bootstrap_action {
    BOOTSTRAP_WAIT,         /* not all have answered, or somebody else will found the cluster */
    BOOTSTRAP_FOUND,        /* this node founds the cluster now */
    BOOTSTRAP_JOIN,         /* a peer belongs to a cluster: take over its id and wait for its log */
    BOOTSTRAP_LISTS_DIFFER, /* a peer lists other members: wait, a person must decide */
    BOOTSTRAP_TWO_FOUNDERS, /* a peer wants to found alone as well: wait, a person must decide */
    BOOTSTRAP_TWO_CLUSTERS, /* peers belong to different clusters: wait, a person must decide */
};

struct bootstrap_decision {
    enum bootstrap_action action;
    uint64_t cluster_id; /* JOIN */
    size_t
        peer_index; /* the peer the decision is about, or the first one not heard; else SIZE_MAX */
    size_t heard_count;
};

/* Digest of the sorted member names of a config; equal lists in any order give equal digests. */
uint64_t bootstrap_list_digest(const struct config *config);

/*
 * Decide for an empty node.
 *
 * peers  first those that the config lists without this node, in its order; then others that were heard of
 * quiet  nobody has called for long enough (only looked at when this node is listed alone)
 */
struct bootstrap_decision bootstrap_decide(const struct config *config,
                                           const struct peer_hello *own,
                                           const struct bootstrap_peer *peers, size_t peer_count,
                                           bool quiet);

/* The initial configuration: all listed members vote, ids from the hellos; with `bootstrap` this node alone. Only
 * after FOUND. */
void bootstrap_configuration(const struct config *config, const struct peer_hello *own,
                             const struct bootstrap_peer *peers, uint64_t cluster_id,
                             struct configuration *out);

#endif
