/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_meta.h: what a KV table says of itself: its place in the log, its revisions, and the members as of that
 * place. Read when a table is opened, and from one that came from another node.
 */
#ifndef HOLDFAST_STORE_KV_META_H
#define HOLDFAST_STORE_KV_META_H

#include "db.h"

/* *out is filled over what is there; generation is not touched. Statements stay with the connection.
 * ERR_CORRUPT, ERR_IO. */
MUST_USE enum err kv_meta_read(struct db *db, struct kv_meta *out);

#endif
