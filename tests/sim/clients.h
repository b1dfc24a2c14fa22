/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clients.h: simulated client actors (actors->clients[]): they ask raft and apply as the real client
 * actor does, wait, give up, and write everything into the history.
 */
#ifndef HOLDFAST_SIM_CLIENTS_H
#define HOLDFAST_SIM_CLIENTS_H

#include "history.h"
#include "runner.h"
#include "watch_history.h"

#define CLIENT_SLOTS_MAX 8

/* How clients behave; shared by all, changed by the simulator between handlers. */
struct client_load {
    uint32_t key_count;
    size_t slots;          /* requests of one client at a time */
    uint64_t think_us_max; /* pause between two of a slot */
    uint64_t timeout_us_min, timeout_us_max;
    uint32_t put_of_100, delete_of_100;                               /* of plain keys */
    uint32_t txn_of_100, shared_of_100, lease_of_100, compact_of_100; /* the rest reads */
    bool keepers;                                          /* each client keeps a lease */
    uint32_t serializable_of_100, past_of_100, all_of_100; /* of reads */
    size_t value_bytes_max;
    bool finishing; /* ask for everything, linearizably, until one answer came; then nothing more */
};

struct client_settings {
    size_t node, client_index;
    uint64_t seed, origin;
    const struct client_load *load; /* borrowed for the actor's life */
    struct history *history;
    struct watch_history *watches;
    struct runner *runner;
    const struct node_actors *actors;
};

struct actor *client_create(const struct client_settings *settings);
/* load->finishing, and the answer has come. */
bool client_finished(const struct actor *client);

#endif
