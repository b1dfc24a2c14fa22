/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h: a node's figures as Prometheus text (exposition format 0.0.4), under the names that etcd's
 * dashboards and alerts know where the figure means the same, and under holdfast_ where it is our own.
 */
#ifndef HOLDFAST_API_METRICS_H
#define HOLDFAST_API_METRICS_H

#include "base.h"
#include "figures.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* What the kernel says of the process; a negative number: not known, and left out. */
struct process_figures {
    double cpu_s, start_s; /* start: seconds since 1970 */
    int64_t resident_bytes, virtual_bytes, open_fds, max_fds;
};

/* Append all of it. member_id: this node's. */
void metrics_write(const struct figures *figures, const struct process_figures *process,
                   uint64_t member_id, struct buffer *out);

#endif
