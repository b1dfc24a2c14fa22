/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nemesis.h: what goes wrong, and when, drawn from the seed: phases of faults and quiet phases in
 * between, so that there is progress to be lost. It keeps to what the design promises to survive: no
 * more than a minority of logs is ever damaged at a time; everything else may happen to everybody.
 */
#ifndef HOLDFAST_SIM_NEMESIS_H
#define HOLDFAST_SIM_NEMESIS_H

#include "cluster.h"

struct nemesis;

struct nemesis *nemesis_create(struct cluster *c, uint64_t length_us);
void nemesis_destroy(struct nemesis **nemesis);
/* End all faults now and for good: links heal, disks work, machines that are off start. */
void nemesis_heal(struct nemesis *n);

#endif
