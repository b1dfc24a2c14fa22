/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range_sort.h: a merge sort that can stop in the middle, so that sorting a large answer does not
 * delay applies. Stable: pairs that tie stay in key order.
 */
#ifndef HOLDFAST_KV_RANGE_SORT_H
#define HOLDFAST_KV_RANGE_SORT_H

#include "command.h"

struct range_sort {
    struct key_value *from; /* the caller's array or `spare`, whichever holds the newest round */
    struct key_value *to;
    size_t count;
    enum sort_target target;
    bool descending;
    size_t width;            /* length of sorted runs in `from` */
    size_t run;              /* start of the pair of runs being merged */
    size_t left, right, at;  /* next of the left run, of the right run, next place in `to` */
    struct key_value *pairs; /* the caller's array */
    struct key_value *spare; /* owned */
};

/* pairs: sorted in place by the time range_sort_step says so; borrowed until range_sort_free. */
void range_sort_begin(struct range_sort *s, struct key_value *pairs, size_t count,
                      enum sort_target target, bool descending);
/* Moves at most *budget pairs and counts it down. True: sorted. */
bool range_sort_step(struct range_sort *s, uint64_t *budget);
void range_sort_free(struct range_sort *s);

#endif
