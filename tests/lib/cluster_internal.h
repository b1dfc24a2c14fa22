/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_internal.h: what the three files of the fake cluster call in each other. It looks into the
 * core's state: a check that asked only the public face would not see the logs.
 */
#ifndef HOLDFAST_TESTS_CLUSTER_INTERNAL_H
#define HOLDFAST_TESTS_CLUSTER_INTERNAL_H

#include "cluster.h"
#include "raft/raft_internal.h"

#include <stdio.h>

/* cluster.c */
void cluster_check_node(struct cluster *c, struct cluster_node *n);
void cluster_applied(struct cluster *c, struct cluster_node *n, const struct entries *block);
void cluster_table_agrees(struct cluster *c, const struct cluster_table *t);
uint64_t cluster_disk_write(struct cluster_node *n);
/* install_snapshot or its reply has been heard by the core: the node's part. Takes nothing. */
void cluster_take_snapshot_message(struct cluster *c, const struct raft_message *m);
/* A snapshot that was lost on its way is given up. */
void cluster_snapshot_overdue(struct cluster *c, struct cluster_node *n, uint64_t member);
void cluster_disk_read(struct cluster *c, struct cluster_node *n);
void cluster_tell(struct cluster *c, uint64_t id, enum raft_event_type type);

/* cluster_network.c */
uint64_t cluster_random(struct cluster *c, uint64_t max);     /* 0..max */
void cluster_send(struct cluster *c, struct raft_message *m); /* takes the entries */
void cluster_forget_flights(struct cluster *c, uint64_t id);

/* cluster_text.c */
void cluster_trace(struct cluster *c, const char *format, ...) PRINTF_LIKE(2, 3);
void cluster_print_persist(struct cluster *c, uint64_t id, const struct raft_persist *p);

#endif
