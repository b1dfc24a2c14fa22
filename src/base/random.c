/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random.c: deterministic pseudo-random numbers from a state that the caller owns (splitmix64, Steele,
 * Lea and Flood 2014). Same seed, same numbers, in every build: the simulator replays a run from it.
 * True randomness (ids, boot numbers) comes from the kernel in main.c and is deliberately not here.
 */
#include "base.h"

uint64_t random_next(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / golden ratio: every state once per period */
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

/* Each try is refused with a chance below 1/2, so all are with one below 2^-64. */
#define RANDOM_TRIES_MAX 64

uint64_t random_below(uint64_t *state, uint64_t bound)
{
    ASSERT(bound > 0);
    /* 2^64 is no multiple of most bounds: refuse the lowest (2^64 mod bound) values, so that each
     * remainder is equally likely. */
    uint64_t refused_below = (UINT64_C(0) - bound) % bound;
    uint64_t value = random_next(state);
    for (int tries = 1; value < refused_below && tries < RANDOM_TRIES_MAX; tries++) {
        value = random_next(state);
    }
    return value % bound;
}
