/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proto.c: protobuf's wire form: varints of every length, skipping of what is unknown, and input
 * that ends or lies (sheet §1.10).
 */
#include "base.h"
#include "suite.h"

#include "api/proto.h"

/* What *_size says is what *_put writes and what proto_next reads, for values of every bit length. */
static void numbers_round_trip(void)
{
    for (unsigned bits = 0; bits <= 64; bits++) {
        for (int around = -1; around <= 1; around++) {
            uint64_t value = (bits == 64 ? 0 : UINT64_C(1) << bits) + (uint64_t)(int64_t)around;
            uint8_t out[16];
            size_t size = (size_t)(proto_uint_put(out, 5, value) - out);
            CU_ASSERT_EQUAL(size, proto_uint_size(value));
            struct proto_reader r = proto_reader_of(view_of(out, size));
            if (value == 0) {
                CU_ASSERT_EQUAL(size, 0);
                continue;
            }
            CU_ASSERT_TRUE(proto_next(&r));
            CU_ASSERT_EQUAL(r.field, 5);
            CU_ASSERT_EQUAL(proto_number(&r), value);
            CU_ASSERT_FALSE(proto_next(&r));
            CU_ASSERT_FALSE(r.failed);
        }
    }
    CU_ASSERT_EQUAL(proto_varint_size(UINT64_MAX), 10); /* -1 as int64 */
}

static void octets_round_trip(void)
{
    static const size_t sizes[] = {0, 1, 127, 128, 300, 16383, 16384, 70000};
    uint8_t *data = mem_zalloc(70000);
    uint8_t *out = mem_alloc(70010);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct view value = view_of(data, sizes[i]);
        size_t size = (size_t)(proto_bytes_put(out, 2, value) - out);
        CU_ASSERT_EQUAL(size, proto_bytes_size(value));
        struct proto_reader r = proto_reader_of(view_of(out, size));
        CU_ASSERT_EQUAL(proto_next(&r), sizes[i] > 0);
        if (sizes[i] > 0) {
            CU_ASSERT_TRUE(view_equal(proto_octets(&r), value));
        }
    }
    mem_free(out);
    mem_free(data);
}

/* Unknown fields of every wire type, groups in groups too, are stepped over. */
static void skips_the_unknown(void)
{
    static const uint8_t wire[] = {
        0x78, 0x05,                                        /* 15: varint */
        0x79, 1,    2,    3,    4,    5,    6,    7,    8, /* 15: 64 bits */
        0x7d, 1,    2,    3,    4,                         /* 15: 32 bits */
        0x7b, 0x08, 0x01, 0x83, 0x01, 0x84, 0x01, 0x7c,    /* 15: group { 1: 1, 16: group {} } */
        0x82, 0x01, 0x02, 'x',  'y',                       /* 16: octets */
        0x0a, 0x01, 'k',                                   /* 1: octets */
    };
    struct proto_reader r = proto_reader_of(view_of(wire, sizeof wire));
    size_t fields = 0;
    while (proto_next(&r)) {
        fields++;
        if (r.field == 1) {
            CU_ASSERT_TRUE(view_equal(proto_octets(&r), view_of_text("k")));
        }
    }
    CU_ASSERT_FALSE(r.failed);
    CU_ASSERT_EQUAL(fields, 5); /* the group does not show */
}

static bool fails(const void *octets, size_t size)
{
    struct proto_reader r = proto_reader_of(view_of(octets, size));
    while (proto_next(&r)) {}
    return r.failed;
}

static void refuses_malformed(void)
{
    CU_ASSERT_FALSE(fails("", 0));
    CU_ASSERT_TRUE(fails("\x08", 1));         /* a varint that is not there */
    CU_ASSERT_TRUE(fails("\x08\x80", 2));     /* ... that does not end */
    CU_ASSERT_TRUE(fails("\x80", 1));         /* nor this tag */
    CU_ASSERT_TRUE(fails("\x0a\x05hell", 6)); /* octets cut short */
    CU_ASSERT_TRUE(
        fails("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11)); /* a size of 2^64-1 */
    CU_ASSERT_TRUE(fails("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11)); /* 65 bits */
    CU_ASSERT_TRUE(fails("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12));
    CU_ASSERT_TRUE(fails("\x09\x01\x02", 3));             /* 64 bits cut short */
    CU_ASSERT_TRUE(fails("\x0d\x01\x02", 3));             /* 32 bits cut short */
    CU_ASSERT_TRUE(fails("\x0b\x08\x01", 3));             /* a group without end */
    CU_ASSERT_TRUE(fails("\x0c", 1));                     /* an end without group */
    CU_ASSERT_TRUE(fails("\x0e", 1));                     /* wire type 6 */
    CU_ASSERT_TRUE(fails("\x00\x01", 2));                 /* field 0 */
    CU_ASSERT_TRUE(fails("\xff\xff\xff\xff\x7f\x01", 6)); /* a field number above 2^29-1 */
}

/* A known field in another wire type than its own is an error, as in etcd. */
static void refuses_wrong_wire_type(void)
{
    struct proto_reader r = proto_reader_of(view_of("\x08\x01", 2));
    CU_ASSERT_TRUE(proto_next(&r));
    CU_ASSERT_EQUAL(proto_octets(&r).size, 0);
    CU_ASSERT_TRUE(r.failed);
    CU_ASSERT_FALSE(proto_next(&r)); /* sticks */
    r = proto_reader_of(view_of("\x0a\x01x", 3));
    CU_ASSERT_TRUE(proto_next(&r));
    CU_ASSERT_EQUAL(proto_number(&r), 0);
    CU_ASSERT_TRUE(r.failed);
}

/* A packed field's numbers, each by proto's own rules: what ends too early or has more than 64 bits fails. */
static void packed_numbers(void)
{
    static const uint8_t three[] = {0x01, 0x80, 0x01, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    static const uint64_t expected[] = {1, 128, UINT64_MAX};
    struct proto_reader r = proto_reader_of(view_of(three, sizeof three));
    uint64_t number = 0;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        CU_ASSERT_TRUE(proto_packed_next(&r, &number));
        CU_ASSERT_EQUAL(number, expected[i]);
    }
    CU_ASSERT_FALSE(proto_packed_next(&r, &number));
    CU_ASSERT_FALSE(r.failed);

    r = proto_reader_of(view_of(three, sizeof three - 1)); /* its last octet is lacking */
    CU_ASSERT_TRUE(proto_packed_next(&r, &number));
    CU_ASSERT_TRUE(proto_packed_next(&r, &number));
    CU_ASSERT_FALSE(proto_packed_next(&r, &number));
    CU_ASSERT_TRUE(r.failed);

    static const uint8_t wide[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                   0x80, 0x80, 0x80, 0x02, 0x01};
    r = proto_reader_of(view_of(wide, sizeof wide));
    CU_ASSERT_FALSE(proto_packed_next(&r, &number));
    CU_ASSERT_TRUE(r.failed);
    CU_ASSERT_FALSE(proto_packed_next(&r, &number)); /* and stays so */
    r = proto_reader_of(view_of(NULL, 0));
    CU_ASSERT_FALSE(proto_packed_next(&r, &number));
    CU_ASSERT_FALSE(r.failed);
}

SUITE("api proto", TEST(packed_numbers), TEST(numbers_round_trip), TEST(octets_round_trip),
      TEST(skips_the_unknown), TEST(refuses_malformed), TEST(refuses_wrong_wire_type))
