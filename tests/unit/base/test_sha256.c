/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that digests are those of FIPS 180-4 (its published examples), and that it does not matter in
 * which pieces the octets come, at every length around the block's edges.
 */
#include "suite.h"

#include "base/sha256.h"

static void digest_text(struct view octets, size_t piece, char out[2 * SHA256_BYTES + 1])
{
    struct sha256 s = {0};
    sha256_start(&s);
    for (size_t at = 0; at < octets.size; at += piece) {
        size_t left = octets.size - at;
        sha256_add(&s, view_of(octets.data + at, left < piece ? left : piece));
    }
    uint8_t digest[SHA256_BYTES];
    sha256_finish(&s, digest);
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
    }
}

static void published_examples(void)
{
    char text[2 * SHA256_BYTES + 1];
    digest_text(view_of(NULL, 0), 1, text);
    CU_ASSERT_STRING_EQUAL(text,
                           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_text(view_of_text("abc"), 3, text);
    CU_ASSERT_STRING_EQUAL(text,
                           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_text(view_of_text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), 56, text);
    CU_ASSERT_STRING_EQUAL(text,
                           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    struct buffer million = {0};
    memset(buffer_extend(&million, 1000000), 'a', 1000000);
    digest_text(view_of(million.data, million.size), 997, text);
    CU_ASSERT_STRING_EQUAL(text,
                           "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    buffer_free(&million);
}

static void pieces_do_not_matter(void)
{
    uint8_t octets[3 * 64 + 1];
    for (size_t i = 0; i < sizeof(octets); i++) {
        octets[i] = (uint8_t)(i * 7 + 1);
    }
    for (size_t size = 0; size <= sizeof(octets); size++) {
        char whole[2 * SHA256_BYTES + 1];
        char parts[2 * SHA256_BYTES + 1];
        digest_text(view_of(octets, size), size + 1, whole);
        for (size_t piece = 1; piece <= size; piece++) {
            digest_text(view_of(octets, size), piece, parts);
            CU_ASSERT_STRING_EQUAL(parts, whole);
        }
    }
}

SUITE("sha256", TEST(published_examples), TEST(pieces_do_not_matter))
