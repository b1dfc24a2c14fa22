/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkers.h: what must hold of the nodes whatever happens, seen from outside: through the messages
 * between their actors, the state of their cores between two handlers, and what they find on their
 * disks at start.
 *
 * Checked here (Raft = the extended paper, "trap n" = the list of traps)
 *  1. Election Safety: at most one leader in a term. Raft Fig. 3
 *  2. Log Matching: an (index, term) has one content and one predecessor. Raft Fig. 3
 *  3. Leader Completeness: a leader holds every entry committed in an earlier term. Raft Fig. 3
 *  4. State Machine Safety: through model.h. Raft Fig. 3
 *  5. One vote in a term, across crashes; no vote, campaign, acknowledgement or new term is made
 *     known before the disk has it. Traps 1, 2, 12, 13
 *  6. An entry handed out for apply is durable here, and a leader has committed it (14). Traps 11, 12, 13
 *  7. No committed entry is truncated. Trap 15
 *  8. What was said to be durable is on the disk at the next start, and a log is called damaged only if
 *     something did happen to it. Traps 20, 21, 22
 *  9. A damaged node neither votes nor campaigns. Trap 22
 * 10. Entries are applied in order from where kv.db ends, and kv.db ends in a state the log produces.
 *     Trap 18
 * 11. Term and commit index of a running node never fall.
 * 12. A leader moves its commit index only to an entry of its own term. Raft §5.4.2, trap 11
 * 13. A log begins anew only behind a committed entry, above what was handed out for apply. Traps 46, 47
 * 14 and on, of members and majorities: checks_members.h
 */
#ifndef HOLDFAST_SIM_CHECKERS_H
#define HOLDFAST_SIM_CHECKERS_H

#include "checks_members.h"
#include "message.h"
#include "model.h"
#include "node/node.h"

#define CHECKS_TEXT_MAX     2000
#define CHECKS_NODES_MAX    8
#define CHECKS_PERSISTS_MAX 65536 /* on their way to one disk; more is a runaway */

/* A persist the log actor has not reported durable. */
struct checks_persist {
    uint64_t sequence, term, vote, truncate_from;
    uint64_t reset_index; /* the log begins anew behind it; 0: it does not */
    uint64_t first_index;
    size_t count;
    uint64_t *terms;
    uint64_t *contents;  /* checksum of each entry, mixed with the term before it */
    uint64_t cluster_id; /* of a configuration among them; 0: there is none */
};

/* A log as terms by index; terms[i-1] is index i. */
struct checks_log {
    uint64_t *terms;
    size_t count, capacity;
};

struct checks_node {
    bool running;
    bool start_refused; /* since it ran last */
    bool excused; /* its disk was tampered with, or refused a sync, since it was last known whole */
    bool damaged_ever; /* it started damaged once: what it acknowledged before does not count */
    uint64_t member_id;
    struct checks_log told;    /* what the core has asked the log actor to have */
    struct checks_log durable; /* what the log actor said is on the disk */
    uint64_t durable_term, durable_vote, durable_sequence;
    struct checks_persist *persists;
    size_t persist_first, persist_count, persist_capacity;
    uint64_t handed_index;   /* last entry handed out for apply */
    uint64_t fresh_last;     /* ... which nobody had handed out before, in the batch at hand, */
    uint64_t fresh_count;    /* and how many of them */
    struct raft_status seen; /* after its raft actor's last run */
    bool seen_any;
    bool asked_or_gave_vote;       /* since then */
    struct checks_configs configs; /* as `told` */
    struct checks_voters force;    /* as `seen` */
    bool changed; /* it has appended a configuration as a leader; whoever looks clears it */
};

/* A member whose disk is gone for good. */
struct checks_grave {
    uint64_t member_id, at_us;
    bool damaged_ever;
    struct checks_log durable;
};

typedef void checks_fail_fn(void *context, const char *text);

struct checks {
    size_t node_count;
    struct checks_node nodes[CHECKS_NODES_MAX];
    struct model model;
    struct map leaders; /* (term, 0) -> member id */
    struct map votes;   /* (voter, term) -> candidate */
    struct map content; /* (index, term) -> checksum mixed with the term before */
    struct map hashes;  /* (applied_index, 0) -> kv_hash */
    uint64_t greatest_term;
    uint64_t snapshots_installed; /* logs that began anew, durably */
    struct checks_grave graves[CHECKS_GRAVES_MAX];
    size_t grave_count;
    uint64_t commit_greatest;     /* of any leader */
    uint64_t cluster_id;          /* of whatever reached a disk; 0: nothing did */
    struct configuration settled; /* the newest committed one; count 0: none */
    uint64_t settled_index;
    struct map removed; /* (former member, 0) -> index of the configuration without it */
    checks_fail_fn *fail;
    void *context;
    /* Called when an entry is first seen committed. */
    void (*committed)(void *context, const struct entry *e);
};

void checks_start(struct checks *c, size_t node_count, checks_fail_fn *fail, void *context);
void checks_free(struct checks *c);
void checks_fail(struct checks *c, size_t node, const char *format, ...) PRINTF_LIKE(3, 4);

/* A node opened its files. */
void checks_node_started(struct checks *c, size_t node, const struct node_stores *stores);
void checks_node_down(struct checks *c, size_t node);
/* Its disk was emptied while it was off: it comes back as another member. */
void checks_wiped(struct checks *c, size_t node, uint64_t now_us);
/* Its raft.db was tampered with, or a sync of it failed: damage is no surprise from now on. */
void checks_excuse(struct checks *c, size_t node);
/* A message within a node. */
void checks_sent(struct checks *c, size_t node, const struct msg *m);
/* The raft actor's batch is over. */
void checks_raft_ran(struct checks *c, size_t node, const struct raft *core);
/* What a state machine says of itself is what the log makes it. */
void checks_state(struct checks *c, size_t node, const struct kv *kv);
/* kv_hash at applied_index; equal on all nodes. */
void checks_hash(struct checks *c, size_t node, uint64_t applied_index, uint64_t hash);

#endif
