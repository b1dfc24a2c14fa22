/* SPDX-License-Identifier: Apache-2.0 */
/*
 * install.h: how a received table takes the living one's place while the node runs. raft has switched
 * raft.db to it (the log begins anew behind it); from then on, by message:
 *
 *   raft -> apply     APPLY_INSTALL: entries handed out before are void; further ones and reads wait
 *   apply -> flush    FLUSH_INSTALL, behind the last batch: close the old table, open the new one
 *   flush -> apply    APPLY_INSTALLED: connections for apply and watch, what the table says of itself
 *   apply -> watch    WATCH_INSTALL: watchers go on from the new table's history
 *   apply -> copy     COPY_INSTALL
 *   copy -> raft      RAFT_INSTALLED: another table may be received
 *   flush             removes the old table's files: connections that are still open to it do no harm
 *
 * The struct of these messages is one.
 */
#ifndef HOLDFAST_NODE_INSTALL_H
#define HOLDFAST_NODE_INSTALL_H

#include "message.h"

struct install {
    struct msg base;
    uint32_t group;
    uint64_t generation;
    struct kv_meta meta;        /* from flush on */
    int64_t compacted_revision; /* ... history is free of what is below */
    struct kv_reader *reader;   /* to apply, then to watch: their own; NULL: taken */
    struct kv_reader *watch_reader;
};

void release_install(struct msg *m);

#endif
