/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sha256.h: SHA-256 (FIPS 180-4) of octets that come in pieces. etcd's snapshot stream ends with the
 * digest of all that went before it; who writes the stream and who checks it both need it.
 *
 * Not here: anything secret. It runs in time that depends on the length only, but it is meant for
 * finding damage.
 */
#ifndef HOLDFAST_BASE_SHA256_H
#define HOLDFAST_BASE_SHA256_H

#include "base.h"

#define SHA256_BYTES       32
#define SHA256_BLOCK_BYTES 64

struct sha256 {
    uint32_t state[8];
    uint64_t total_bytes;
    uint8_t block[SHA256_BLOCK_BYTES]; /* total_bytes % 64 of it are filled */
};

void sha256_start(struct sha256 *s);
void sha256_add(struct sha256 *s, struct view octets);
/* Ends it: start anew before adding again. */
void sha256_finish(struct sha256 *s, uint8_t out[SHA256_BYTES]);

#endif
