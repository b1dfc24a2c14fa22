/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_peers.h: the raft actor's view of the other nodes: which peer actor talks to whom (peer_slots.h), what
 * each node said of itself last, and who is connected. Tells the peer actors and the listener what changes.
 *
 * Inside the raft actor's thread. Not here: consensus, and who becomes a member (admission.h).
 *
 * Invariants
 *  1. A spare peer actor is started when it gets its first target, and hears our identity before it.
 *  2. Seeds (`join`) are dialled while no member is known and while nobody was heard for SEEDS_ELECTION_TIMEOUTS.
 *  3. heard[i] is of the node that slot i stands for; a slot that gets another node forgets it.
 */
#ifndef HOLDFAST_RAFT_PEERS_H
#define HOLDFAST_RAFT_PEERS_H

#include "bootstrap.h"
#include "node.h"
#include "peer_slots.h"

#define SEEDS_ELECTION_TIMEOUTS 2

struct raft_peers {
    const struct node_actors *to; /* borrowed */
    struct peer_slots slots;
    struct bootstrap_peer heard[PEER_SLOTS_MAX];
    bool running[PEER_SLOTS_MAX];
    bool discovery_wanted;
    bool has_seeds, dirty; /* there are any; something has changed since the last look */
    uint64_t patience_us;
    bool lost;           /* nobody has been heard for so long */
    uint64_t lost_at_us; /* nobody is heard: then we are, and again and again; else UINT64_MAX */
    struct peer_hello own;
    struct configuration configuration; /* as told last */
};

/* `to` is borrowed and complete. */
void raft_peers_init(struct raft_peers *p, const struct config *config,
                     const struct peer_hello *own, const struct configuration *configuration,
                     const struct node_actors *to);
/* Our identity, or the members that are settled, changed: whoever greets others has to know; members get their
 * peer actors. */
void raft_peers_identity(struct raft_peers *p, const struct peer_hello *own,
                         const struct configuration *configuration);
/* A handshake worked or broke. The slot, or SIZE_MAX if it means nothing any more. */
size_t raft_peers_up(struct raft_peers *p, const struct raft_peer_up *up);
size_t raft_peers_down(struct raft_peers *p, const struct raft_peer_down *down);
/* What SRV records name now. */
void raft_peers_seeds(struct raft_peers *p, const struct raft_seeds *seeds);
/* Whether seeds are needed. Returns when to look again; UINT64_MAX: when something has changed. */
uint64_t raft_peers_look(struct raft_peers *p, uint64_t now_us);
/* A node that no actor talks to has called; the socket moves on, or goes with the message. */
void raft_peers_stranger(struct raft_peers *p, struct peer_socket **socket);
/* The slot of the member id; SIZE_MAX: it was not heard. */
size_t raft_peers_of_member(const struct raft_peers *p, uint64_t member_id);
/* Moves what the message owns. Dropped where no connection is known: the protocol repeats itself. */
void raft_peers_send(struct raft_peers *p, struct raft_message *message);
/* The figures go to all peer actors next that have somebody to talk to. */
void raft_peers_figures(const struct raft_peers *p, struct figures *figures);
const char *raft_peers_name(const struct raft_peers *p, size_t at);

#endif
