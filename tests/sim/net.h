/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h: the simulated network, and the simulated peer actors that stand in for src/node/peer_actor
 * on it. As there, each node dials each other one and sends on the connection it dialled; a
 * handshake goes over it first, judged by src/net/peer_handshake.c; identity news follow on it; what
 * an older boot said is dropped. Where members change, a door stands before the peer actors: a node that none of them
 * talks to is handed to the raft actor, which targets a spare one.
 *
 * Messages travel encoded. A link may delay, lose, repeat and reorder them; a cut link loses them or
 * holds them until it heals, and after a while breaks the connection. A connection may also be
 * reset at any time: what is in flight on it is lost, and raft hears PEER_DOWN.
 */
#ifndef HOLDFAST_SIM_NET_H
#define HOLDFAST_SIM_NET_H

#include "disk.h"
#include "node/node.h"
#include "runner.h"

#define NET_NODES_MAX        8
#define NET_FRAMES_MAX       100000 /* in flight; more is a runaway */
#define NET_DIAL_RETRY_US    50000
#define NET_REFUSED_RETRY_US 1000000
#define NET_STRANGER_WAITS   2000 /* milliseconds for which a stranger's messages wait to be taken */

struct net;

struct net_faults {
    uint64_t delay_us_min, delay_us_max;
    uint32_t slow_parts; /* of a million: this message takes up to slow_us more */
    uint64_t slow_us;
    uint32_t loss_parts, repeat_parts;
    uint32_t reset_parts; /* per message: its connection breaks */
    bool reorder;         /* messages may overtake each other */
};

struct net *net_create(uint64_t seed, size_t node_count, struct runner *runner);
void net_destroy(struct net **net);
void net_set_faults(struct net *n, const struct net_faults *faults);
/* More delay in one direction, beside what the faults say. */
void net_set_link_delay(struct net *n, size_t from, size_t to, uint64_t delay_us);

/* One direction. hold: what is sent meanwhile arrives after the cut heals; else it is lost. */
void net_cut(struct net *n, size_t from, size_t to, bool hold);
void net_heal(struct net *n, size_t from, size_t to);
void net_heal_all(struct net *n);

/* A peer actor of `node`; settings as for the real one. The node of number k is called n<k+1>, and so do its
 * addresses begin. */
struct actor *net_peer_create(struct net *n, size_t node, uint64_t boot,
                              const struct peer_actor_settings *settings);
/* The door of a node whose members change at run time: greets also those that no peer actor talks to. */
struct actor *net_listener_create(struct net *n, size_t node, uint64_t boot,
                                  const struct listener_actor_settings *settings);
/* The run is over: what is freed from now on is no news to anybody. */
void net_close(struct net *n);
/* The node's process is gone; its actors are too. */
void net_node_down(struct net *n, size_t node);

struct net_figures {
    uint64_t sent, delivered, lost, connections;
};
void net_figures(const struct net *n, struct net_figures *out);

#endif
