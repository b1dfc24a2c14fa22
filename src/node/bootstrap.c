/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bootstrap.c: see bootstrap.h. No I/O, no clock, no randomness: the caller draws the cluster id.
 *
 * Two clusters cannot arise from one list: founding needs every listed member's word that it is
 * empty, and only one name may found. A founder that crashes after its own write is found by its
 * cluster id at the next start; a wiped founder meets members that have a cluster and joins (trap 45).
 */
#include "bootstrap.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(const void *left, const void *right)
{
    const char *const *a = left;
    const char *const *b = right;
    return strcmp(*a, *b);
}

static void sorted_names(const struct config *config, const char **names)
{
    for (size_t i = 0; i < config->member_count; i++) {
        names[i] = config->members[i].name;
    }
    qsort(names, config->member_count, sizeof(names[0]), compare_names);
}

uint64_t bootstrap_list_digest(const struct config *config)
{
    const char *names[MEMBERS_MAX] = {NULL};
    sorted_names(config, names);
    struct buffer text = {0};
    for (size_t i = 0; i < config->member_count; i++) {
        buffer_view(&text, view_of_text(names[i]));
    }
    uint64_t digest = checksum64(view_of(text.data, text.size));
    buffer_free(&text);
    return digest;
}

struct bootstrap_decision bootstrap_decide(const struct config *config,
                                           const struct peer_hello *own,
                                           const struct bootstrap_peer *peers, size_t peer_count,
                                           bool quiet)
{
    size_t listed_count = config->member_count - 1;
    ASSERT(peer_count >= listed_count);
    struct bootstrap_decision decision = {.action = BOOTSTRAP_WAIT, .peer_index = SIZE_MAX};

    for (size_t i = 0; i < peer_count; i++) {
        const struct peer_hello *hello = &peers[i].hello;
        if (!peers[i].heard || hello->cluster_id == 0) {
            continue;
        }
        if (decision.action == BOOTSTRAP_JOIN && decision.cluster_id != hello->cluster_id) {
            decision.action = BOOTSTRAP_TWO_CLUSTERS;
            decision.peer_index = i;
            return decision;
        }
        decision.action = BOOTSTRAP_JOIN;
        decision.cluster_id = hello->cluster_id;
        decision.peer_index = i;
    }
    if (decision.action == BOOTSTRAP_JOIN || config->join_count > 0 ||
        config->discovery_srv[0] != '\0') {
        return decision;
    }

    for (size_t i = 0; i < listed_count; i++) {
        if (!peers[i].heard) {
            if (decision.peer_index == SIZE_MAX) {
                decision.peer_index = i;
            }
            continue;
        }
        decision.heard_count++;
        if (peers[i]
                .hello.bootstrap) { /* of two founders neither founds; of one, the others join it */
            decision.action = config->bootstrap ? BOOTSTRAP_TWO_FOUNDERS : BOOTSTRAP_WAIT;
            decision.peer_index = i;
            return decision;
        }
        if (!config->bootstrap && peers[i].hello.list_digest != own->list_digest) {
            decision.action = BOOTSTRAP_LISTS_DIFFER;
            decision.peer_index = i;
            return decision;
        }
        /* Not empty, yet of no cluster: it is between two states; wait for its next hello. */
        if (!peers[i].hello.empty) {
            decision.peer_index = i;
            return decision;
        }
    }
    if (decision.heard_count < listed_count || (listed_count == 0 && config->bootstrap && !quiet)) {
        return decision;
    }
    if (config->bootstrap) {
        decision.action = BOOTSTRAP_FOUND;
        return decision;
    }
    const char *names[MEMBERS_MAX] = {NULL};
    sorted_names(config, names);
    if (strcmp(names[0], own->name) == 0) {
        decision.action = BOOTSTRAP_FOUND;
    }
    return decision;
}

void bootstrap_configuration(const struct config *config, const struct peer_hello *own,
                             const struct bootstrap_peer *peers, uint64_t cluster_id,
                             struct configuration *out)
{
    memset(out, 0, sizeof(*out));
    out->cluster_id = cluster_id;
    out->wish.voters = config->voters;
    out->wish.heal_after_s = config->heal_after_s;
    size_t peer_index = 0;
    for (size_t i = 0; i < config->member_count; i++) {
        if (config->bootstrap && i != config->node_index) {
            continue;
        }
        struct member *member = &out->members[out->count++];
        const struct config_member *listed = &config->members[i];
        member->id = i == config->node_index ? own->member_id : peers[peer_index++].hello.member_id;
        memcpy(member->name, listed->name, sizeof(member->name));
        memcpy(member->peer, listed->peer, sizeof(member->peer));
        memcpy(member->client, listed->client, sizeof(member->client));
        member->voter_incoming = true;
        member->voter_outgoing = true;
    }
    if (config->voters == CONFIG_VOTERS_LISTED) {
        out->wish.voters = config->bootstrap ? WISH_VOTERS_AUTO : (uint32_t)out->count;
    }
}
