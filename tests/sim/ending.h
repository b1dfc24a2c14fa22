/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ending.h: how a run ends, whatever happened in it: nothing goes wrong any more, and within a bounded time everything
 * must be as it should be.
 */
#ifndef HOLDFAST_SIM_ENDING_H
#define HOLDFAST_SIM_ENDING_H

#include "cluster.h"

/* After the nemesis has healed everything. Failures go to cluster_fail. */
void ending_run(struct cluster *c);

#endif
