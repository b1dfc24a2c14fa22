/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sha256.c: see sha256.h. The names are those of FIPS 180-4: a message schedule W of 64 words per
 * block, eight working variables, and the functions of section 4.1.2.
 */
#include "sha256.h"

#include <string.h>

#define LENGTH_BYTES 8 /* of the message's length in bits at the end of the last block */

/* Section 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate_right(uint32_t x, unsigned count)
{
    return (x >> count) | (x << (32 - count));
}

static uint32_t big_endian(const uint8_t *octets)
{
    return (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 | (uint32_t)octets[2] << 8 |
           octets[3];
}

/* Section 6.2.2. */
static void take_block(struct sha256 *s, const uint8_t *block)
{
    uint32_t schedule[64];
    for (size_t t = 0; t < 16; t++) {
        schedule[t] = big_endian(block + 4 * t);
    }
    for (size_t t = 16; t < 64; t++) {
        uint32_t early = schedule[t - 15];
        uint32_t late = schedule[t - 2];
        uint32_t sigma0 = rotate_right(early, 7) ^ rotate_right(early, 18) ^ (early >> 3);
        uint32_t sigma1 = rotate_right(late, 17) ^ rotate_right(late, 19) ^ (late >> 10);
        schedule[t] = sigma1 + schedule[t - 7] + sigma0 + schedule[t - 16];
    }
    uint32_t v[8]; /* a to h */
    memcpy(v, s->state, sizeof(v));
    for (size_t t = 0; t < 64; t++) {
        uint32_t sum1 = rotate_right(v[4], 6) ^ rotate_right(v[4], 11) ^ rotate_right(v[4], 25);
        uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t first = v[7] + sum1 + choose + round_constants[t] + schedule[t];
        uint32_t sum0 = rotate_right(v[0], 2) ^ rotate_right(v[0], 13) ^ rotate_right(v[0], 22);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += first;
        v[0] = first + sum0 + majority;
    }
    for (size_t i = 0; i < ARRAY_COUNT(v); i++) {
        s->state[i] += v[i];
    }
}

void sha256_start(struct sha256 *s)
{
    /* Section 5.3.3: of the square roots of the first eight primes. */
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, initial, sizeof(initial));
    s->total_bytes = 0;
}

void sha256_add(struct sha256 *s, struct view octets)
{
    size_t filled = s->total_bytes % SHA256_BLOCK_BYTES;
    s->total_bytes += octets.size;
    while (octets.size > 0) {
        if (filled == 0 && octets.size >= SHA256_BLOCK_BYTES) {
            take_block(s, octets.data);
            octets = view_of(octets.data + SHA256_BLOCK_BYTES, octets.size - SHA256_BLOCK_BYTES);
            continue;
        }
        size_t room = SHA256_BLOCK_BYTES - filled;
        size_t count = octets.size < room ? octets.size : room;
        memcpy(s->block + filled, octets.data, count);
        octets = view_of(octets.data + count, octets.size - count);
        filled += count;
        if (filled == SHA256_BLOCK_BYTES) {
            take_block(s, s->block);
            filled = 0;
        }
    }
}

void sha256_finish(struct sha256 *s, uint8_t out[SHA256_BYTES])
{
    /* Section 5.1.1: a one bit, zeros, and the length in bits as the last 64 of a block. */
    static const uint8_t padding[SHA256_BLOCK_BYTES] = {0x80};
    uint64_t bits = s->total_bytes * 8;
    size_t filled = s->total_bytes % SHA256_BLOCK_BYTES;
    size_t end = SHA256_BLOCK_BYTES - LENGTH_BYTES;
    size_t count = filled < end ? end - filled : end + SHA256_BLOCK_BYTES - filled;
    sha256_add(s, view_of(padding, count));
    uint8_t length[LENGTH_BYTES];
    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        length[i] = (uint8_t)(bits >> (8 * (LENGTH_BYTES - 1 - i)));
    }
    sha256_add(s, view_of(length, sizeof(length)));
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        out[i] = (uint8_t)(s->state[i / 4] >> (8 * (3 - i % 4)));
    }
}
