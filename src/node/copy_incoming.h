/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy_incoming.h: the part of the copy actor that writes a table which a leader sends in chunks, beside the
 * living one (store.h, kv_incoming). One at a time: the chunks of a newer one end an older one.
 *
 * In: COPY_CHUNK and COPY_DISCARD from raft. Out: RAFT_CHUNK_TAKEN, for each chunk: how far we are, or why not.
 */
#ifndef HOLDFAST_NODE_COPY_INCOMING_H
#define HOLDFAST_NODE_COPY_INCOMING_H

#include "message.h"

/* Zero-initialised: nothing is coming. */
struct copy_incoming {
    struct kv_incoming *file; /* NULL: none */
    uint64_t from, index, term, total_bytes;
    uint64_t generation;
    bool complete;
};

/* A chunk; the message is let go. generation: of the living table. */
void copy_incoming_chunk(struct copy_incoming *in, const char *data_dir, uint64_t generation,
                         struct actor *raft, struct snapshot_chunk **chunk);
/* Nobody wants it: the file goes. */
void copy_incoming_discard(struct copy_incoming *in, const char *data_dir);
/* It has become the living table. */
void copy_incoming_installed(struct copy_incoming *in);

#endif
