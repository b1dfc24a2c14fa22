/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process_figures.h: what the kernel says of this process, for /metrics.
 */
#ifndef HOLDFAST_PROCESS_FIGURES_H
#define HOLDFAST_PROCESS_FIGURES_H

#include "../api/metrics.h"

/* Reads a few files of /proc, which are made in memory and keep nobody waiting. What cannot be read is -1. */
void process_figures_read(struct process_figures *out);

#endif
