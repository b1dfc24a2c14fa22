/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_snapshots.h: the raft actor's part of snapshots (Raft §7): between the core, which says who needs one and
 * when a log begins anew, the copy actor, which makes, cuts and writes the files, and the peers. Octets pass
 * through; nothing is decided about the log here.
 *
 *   sending    core: wanted -> apply -> copy: made -> core: ready -> copy: go -> chunks -> peer
 *              peer: how far -> copy: go; done -> core: sent
 *   receiving  peer: chunk -> copy: taken -> peer: how far; whole -> core: installed, and if it is accepted:
 *              the persist that begins the log anew names the file -> durable -> apply (install.h) -> peer: done
 *
 * Invariants
 *  1. A member has at most one snapshot under way; a node receives at most one.
 *  2. `done` is said only when raft.db stands for the received table, or it is not needed.
 *  3. While a received table waits for raft.db, and until apply, flush and copy stand for it, no other one is taken:
 *     it would be written where the first one lies.
 */
#ifndef HOLDFAST_RAFT_SNAPSHOTS_H
#define HOLDFAST_RAFT_SNAPSHOTS_H

#include "raft_peers.h"

struct snapshot_send {
    uint64_t member; /* 0: free */
    bool ready;      /* made and wanted; chunks go */
    uint64_t index, term;
    uint64_t acknowledged; /* octets */
    uint64_t moved_us;     /* when something of it was last heard or repeated */
};

struct raft_snapshots {
    struct raft *core;            /* borrowed, as long as this lives */
    struct raft_effects *effects; /* likewise */
    struct raft_peers *peers;     /* likewise */
    const struct node_actors *to; /* likewise */
    uint64_t own_id;
    uint64_t repeat_us; /* without news a window is sent again */
    struct snapshot_send sends[MEMBERS_MAX];

    struct snapshot_taken whole; /* received and accepted; member 0: none */
    uint64_t whole_sequence; /* of the persist that begins the log anew; 0: not handed out yet */
    uint64_t installing;     /* generation that raft.db stands for and copy does not yet; 0: none */
};

void raft_snapshots_init(struct raft_snapshots *s, struct raft *core, struct raft_effects *effects,
                         struct raft_peers *peers, const struct node_actors *to, uint64_t own_id,
                         uint64_t election_timeout_us);
/* effects.snapshots_wanted; taken from there. */
void raft_snapshots_wanted(struct raft_snapshots *s);
void raft_snapshots_ready(struct raft_snapshots *s, const struct snapshot_ready *m,
                          uint64_t now_us);
/* A chunk of ours, on its way out. */
void raft_snapshots_send_chunk(struct raft_snapshots *s, struct snapshot_chunk *m);
/* INSTALL_SNAPSHOT and its reply. The core heard them before, without the chunk. */
void raft_snapshots_take_chunk(struct raft_snapshots *s, const struct raft_message *message,
                               struct bytes *chunk);
void raft_snapshots_take_reply(struct raft_snapshots *s, const struct raft_message *message,
                               uint64_t now_us);
/* The copy actor took a chunk. */
void raft_snapshots_taken(struct raft_snapshots *s, const struct snapshot_taken *m,
                          uint64_t now_us);
/* A persist goes out: the generation it is to name, 0 for all but the one that begins the log anew. */
uint64_t raft_snapshots_persist(struct raft_snapshots *s, const struct raft_persist *persist);
/* Persists up to `sequence` are durable: true if the received table takes over now; the caller tells the clients. */
bool raft_snapshots_durable(struct raft_snapshots *s, uint64_t sequence);
/* The whole node stands for this generation now. */
void raft_snapshots_installed(struct raft_snapshots *s, uint64_t generation);
/* The connection to a member is new: what was on its way is lost. */
void raft_snapshots_peer_up(struct raft_snapshots *s, uint64_t member, uint64_t now_us);
/* Now and then: repeats what got lost; ends everything when this node does not lead any more. */
void raft_snapshots_tick(struct raft_snapshots *s, uint64_t now_us);

#endif
