/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sha256.h: SHA-256 (FIPS 180-4) of octets that come in pieces. etcd's snapshot stream ends with the
 * digest of all that went before it; who writes the stream and who checks it both need it.
 *
 * OpenSSL does the work (docs/decisions/0061); nothing else of it is seen here.
 */
#ifndef HOLDFAST_BASE_SHA256_H
#define HOLDFAST_BASE_SHA256_H

#include "base.h"

#define SHA256_BYTES 32

/* Zeroed or finished: not started. */
struct sha256 {
    void *context; /* the library's; NULL while not started */
};

/* Begin; what was in *s before is not looked at. */
void sha256_start(struct sha256 *s);
/* s must be started. */
void sha256_add(struct sha256 *s, struct view octets);
/* Ends it and frees what it held: start anew before adding again. */
void sha256_finish(struct sha256 *s, uint8_t out[SHA256_BYTES]);
/* For a digest nobody wants any more; also on a zeroed or finished one. */
void sha256_drop(struct sha256 *s);

#endif
