/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_founding.c: the raft actor's first start: carries out what bootstrap.h decides. In: what was heard of other
 * nodes. Out: the cluster's id to the log, the first configuration to the core, sentences for people.
 */
#include "raft_state.h"

#include <string.h>

static void say_whom_for(const struct raft_actor *a, const struct bootstrap_decision *decision,
                         const char *missing)
{
    if (a->config.join_count > 0 || a->config.discovery_srv[0] != '\0') {
        log_event(LOG_NOTICE, "waiting for a member of the cluster",
                  "reason=\"join or discovery_srv says that there is one, and none has answered "
                  "yet\"");
    } else if (a->config.member_count == 1) {
        log_event(LOG_NOTICE, "listening for a cluster of this name",
                  "reason=\"bootstrap: one is founded unless a member of it calls within six "
                  "election timeouts\"");
    } else {
        log_event(LOG_NOTICE, "waiting for the other members",
                  "heard=%zu of=%zu next_missing=%s reason=\"a cluster is founded only when all "
                  "listed members answer that they are empty\"",
                  decision->heard_count, a->config.member_count - 1, missing);
    }
}

static void say_waiting(struct raft_actor *a, const struct bootstrap_decision *decision)
{
    if (decision->action == a->bootstrap_said && decision->peer_index == a->bootstrap_said_peer) {
        return;
    }
    a->bootstrap_said = decision->action;
    a->bootstrap_said_peer = decision->peer_index;
    const char *peer = raft_peers_name(&a->peers, decision->peer_index);
    switch (decision->action) {
    case BOOTSTRAP_LISTS_DIFFER:
        log_event(
            LOG_ERROR, "cannot found a cluster",
            "reason=\"the members lists differ\" peer=%s next=\"give all nodes the same members "
            "in their configuration files and restart them\"",
            peer);
        break;
    case BOOTSTRAP_TWO_FOUNDERS:
        log_event(LOG_ERROR, "cannot found a cluster",
                  "reason=\"this node and another both have bootstrap = true\" peer=%s next=\"take "
                  "it out "
                  "of the configuration file of one of them and restart that one\"",
                  peer);
        break;
    case BOOTSTRAP_TWO_CLUSTERS:
        log_event(
            LOG_ERROR, "cannot join",
            "reason=\"the listed members belong to different clusters\" peer=%s next=\"list only "
            "members of one cluster\"",
            peer);
        break;
    case BOOTSTRAP_WAIT:
        say_whom_for(a, decision, peer);
        break;
    case BOOTSTRAP_FOUND:
    case BOOTSTRAP_JOIN:
        break;
    }
}

static void found_cluster(struct raft_actor *a, uint64_t now_us)
{
    uint64_t cluster_id = 0;
    while (cluster_id == 0) {
        cluster_id = random_next(&a->random_state);
    }
    struct configuration configuration;
    bootstrap_configuration(&a->config, &a->own, a->peers.heard, cluster_id, &configuration);

    struct log_cluster_id *id = MSG_NEW(struct log_cluster_id, LOG_CLUSTER_ID, NULL);
    id->cluster_id = cluster_id;
    ACTOR_SEND(a->to.log, id);

    a->own.cluster_id = cluster_id;
    a->own.empty = false;
    struct raft_event event = {
        .type = RAFT_EVENT_BOOTSTRAP, .now_us = now_us, .configuration = &configuration};
    raft_actor_step(a, &event);
    a->founding = true;
    log_event(LOG_NOTICE, "founding the cluster",
              "cluster=%s cluster_id=%016" PRIx64 " members=%zu", a->own.cluster, cluster_id,
              configuration.count);
}

/*
 * A member may still hold a connection to the node that was here before, under another address perhaps, so that no reset
 * tells it: it notices when that connection has taken nothing for so long (peer_stall_us), and dials anew
 * within one more (peer.h); another one for the way. Three were too few: a founder that lost its disk and its
 * address founded a second cluster.
 */
#define QUIET_DIAL_TIMEOUTS 2

uint64_t raft_founding_quiet_us(const struct raft_actor *a)
{
    uint64_t timeout_ms = a->config.raft.election_timeout_ms;
    return peer_stall_us(timeout_ms) + QUIET_DIAL_TIMEOUTS * 1000 * timeout_ms;
}

void raft_founding_consider(struct raft_actor *a, uint64_t now_us)
{
    bool quiet = now_us >= a->quiet_at_us;
    if (!raft_actor_is_blank(a) || (!a->bootstrap_dirty && quiet == a->quiet_seen)) {
        return;
    }
    a->bootstrap_dirty = false;
    a->quiet_seen = quiet;
    struct bootstrap_decision decision =
        bootstrap_decide(&a->config, &a->own, a->peers.heard, a->peers.slots.count, quiet);
    switch (decision.action) {
    case BOOTSTRAP_FOUND:
        found_cluster(a, now_us);
        break;
    case BOOTSTRAP_JOIN: {
        struct log_cluster_id *id = MSG_NEW(struct log_cluster_id, LOG_CLUSTER_ID, NULL);
        id->cluster_id = decision.cluster_id;
        ACTOR_SEND(a->to.log, id);
        a->own.cluster_id = decision.cluster_id;
        log_event(LOG_NOTICE, "joining the cluster", "cluster_id=%016" PRIx64 " told_by=%s",
                  decision.cluster_id, raft_peers_name(&a->peers, decision.peer_index));
        raft_actor_identity(a);
        break;
    }
    case BOOTSTRAP_WAIT:
    case BOOTSTRAP_LISTS_DIFFER:
    case BOOTSTRAP_TWO_FOUNDERS:
    case BOOTSTRAP_TWO_CLUSTERS:
        say_waiting(a, &decision);
        break;
    }
}
