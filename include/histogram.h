/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram.h: how often a value fell between powers of two. Private to whoever counts: no atomics, a few
 * nanoseconds an addition; copied into a message when somebody asks.
 */
#ifndef HOLDFAST_HISTOGRAM_H
#define HOLDFAST_HISTOGRAM_H

#include "base.h"

#define HISTOGRAM_BUCKETS 20
#define HISTOGRAM_TIMES   4 /* scale of durations in microseconds: 16 us ... 8.4 s */
#define HISTOGRAM_COUNTS  0 /* scale of counts: 1 ... 524288 */

/* Zero-initialised is empty. */
struct histogram {
    uint64_t
        buckets[HISTOGRAM_BUCKETS]; /* values up to 2^(place + scale), above the bucket before */
    uint64_t count, sum;            /* values beyond the last bucket are in these alone */
};

static inline void histogram_add(struct histogram *h, uint64_t value, unsigned scale)
{
    unsigned place = 0;
    if (value > (UINT64_C(1) << scale)) {
        place = 64 - (unsigned)__builtin_clzll(value - 1) - scale; /* of the power not below it */
    }
    if (place < HISTOGRAM_BUCKETS) {
        h->buckets[place]++;
    }
    h->count++;
    h->sum += value;
}

static inline uint64_t histogram_bound(size_t place, unsigned scale)
{
    return UINT64_C(1) << (place + scale);
}

#endif
