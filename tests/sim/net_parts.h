/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_parts.h: the network's inside, for its two files: net.c has links, frames and the peer actors, net_door.c the door
 * at which nodes knock that no peer actor talks to.
 */
#ifndef HOLDFAST_SIM_NET_PARTS_H
#define HOLDFAST_SIM_NET_PARTS_H

#include "net.h"

#include "net/peer_handshake.h"

struct sim_peer {
    struct net *net;
    size_t node, slot;
    size_t peer;   /* the machine at its target's address; SIZE_MAX: nobody */
    uint64_t boot; /* power-ons of the node, counted by the simulator */
    struct peer_actor_settings settings;
    struct peer_hello own, known, out_hello;
    struct configuration configuration;
    struct actor *actor, *raft;
    bool up, greeting;
    uint64_t connection; /* of the last dial that worked */
    uint64_t
        parting; /* the connection before: we closed it in order, what was sent on it still arrives */
};

/* The door of a node whose members change: judges who calls, as src/node/listener_actor does. */
struct sim_listener {
    struct net *net;
    size_t node;
    uint64_t boot;
    const struct node_actors *actors;
    struct peer_hello own;
    struct configuration configuration;
    struct actor *actor;
};

/* A connection on its way to the peer actor that shall have it. If nobody takes it, it breaks. */
struct sim_socket {
    struct peer_socket base;
    struct net *net;
    size_t node, slot; /* who dialled */
    uint64_t connection;
    bool taken;
};

struct net_link {
    bool cut, hold;
    uint64_t cut_number;
    uint64_t last_arrival_us;
    uint64_t delay_us;
};

struct frame {
    struct frame *previous, *next; /* of all in flight, so that the end of a run frees them */
    size_t from, from_slot, to;
    uint64_t connection, to_boot;
    uint64_t member_id, boot_number; /* of the sender, as in its hello */
    unsigned waited;                 /* for a stranger's connection to be taken */
    bool hello;                      /* an identity update; else a message */
    struct peer_hello hello_body;
    uint32_t group;
    struct buffer body;
};

struct net {
    uint64_t random;
    size_t node_count;
    struct runner *runner;
    struct net_faults faults;
    struct sim_peer *slots[NET_NODES_MAX][PEER_SLOTS_MAX]; /* NULL: not started */
    struct sim_listener *listeners[NET_NODES_MAX]; /* NULL: down, or the members are fixed */
    bool closing;
    struct net_link links[NET_NODES_MAX][NET_NODES_MAX];
    uint64_t connection_last;
    struct frame *first_frame;
    size_t frames;
    struct net_figures figures;
};

/* Does the door let it in? */
bool net_door_opens(const struct sim_listener *l, const struct peer_greeting *hello);
/* A connection that p just dialled goes to the raft actor behind the door. */
void net_door_hand_over(const struct sim_listener *l, const struct sim_peer *p);
/* A connection breaks: node, slot << 8, connection << 16. */
void net_call_break(void *context, uint64_t argument);

#endif
