/* SPDX-License-Identifier: Apache-2.0 */
/* sha256.c: see sha256.h. The library's calls fail only without memory or without SHA-256: both end us. */
#include "sha256.h"

#include <openssl/evp.h>

void sha256_start(struct sha256 *s)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    ASSERT(context != NULL);
    ASSERT(EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1);
    s->context = context;
}

void sha256_add(struct sha256 *s, struct view octets)
{
    ASSERT(s->context != NULL);
    ASSERT(EVP_DigestUpdate(s->context, octets.data, octets.size) == 1);
}

void sha256_finish(struct sha256 *s, uint8_t out[SHA256_BYTES])
{
    unsigned size = 0;
    ASSERT(s->context != NULL);
    ASSERT(EVP_DigestFinal_ex(s->context, out, &size) == 1);
    ASSERT(size == SHA256_BYTES);
    sha256_drop(s);
}

void sha256_drop(struct sha256 *s)
{
    EVP_MD_CTX_free(s->context);
    s->context = NULL;
}
