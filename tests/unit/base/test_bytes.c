/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that views order and compare as memcmp does, that a buffer grows, shrinks from the front and
 * writes little-endian octets, and that a reader never looks beyond its input. base.h, "bytes".
 */
#include "suite.h"

#include "base.h"

static void views_order_as_memcmp_then_by_length(void)
{
    CU_ASSERT_TRUE(view_compare(view_of_text("a"), view_of_text("b")) < 0);
    CU_ASSERT_TRUE(view_compare(view_of_text("b"), view_of_text("a")) > 0);
    CU_ASSERT_TRUE(view_compare(view_of_text("a"), view_of_text("ab")) < 0);
    CU_ASSERT_TRUE(view_compare(view_of_text("ab"), view_of_text("a")) > 0);
    CU_ASSERT_EQUAL(view_compare(view_of_text("ab"), view_of_text("ab")), 0);
    CU_ASSERT_TRUE(view_compare(view_of_text("\x7f"), view_of_text("\x80")) <
                   0); /* octets, not char */
    CU_ASSERT_EQUAL(view_compare(view_of(NULL, 0), view_of(NULL, 0)), 0);
    CU_ASSERT_TRUE(view_compare(view_of(NULL, 0), view_of_text("a")) < 0);
    CU_ASSERT_TRUE(view_equal(view_of(NULL, 0), view_of_text("")));
    CU_ASSERT_TRUE(view_equal(view_of("a\0b", 3), view_of("a\0b", 3)));
    CU_ASSERT_FALSE(view_equal(view_of("a\0b", 3), view_of("a\0c", 3)));
    CU_ASSERT_FALSE(view_equal(view_of_text("a"), view_of_text("ab")));
}

static void bytes_are_a_copy_of_their_own(void)
{
    char text[] = "abc";
    struct bytes copy = bytes_copy(view_of(text, 3));
    text[0] = 'x';
    CU_ASSERT_TRUE(view_equal(bytes_view(&copy), view_of_text("abc")));
    bytes_free(&copy);
    CU_ASSERT_PTR_NULL(copy.data);
    CU_ASSERT_EQUAL(copy.size, 0);
    copy = bytes_copy(view_of(NULL, 0));
    CU_ASSERT_PTR_NULL(copy.data);
    bytes_free(&copy);
}

static void buffer_grows_and_keeps_its_octets(void)
{
    struct buffer b = {0};
    for (int i = 0; i < 10000; i++) {
        buffer_u8(&b, (uint8_t)i);
    }
    CU_ASSERT_EQUAL(b.size, 10000);
    CU_ASSERT_TRUE(b.capacity >= b.size);
    bool same = true;
    for (int i = 0; i < 10000; i++) {
        same = same && b.data[i] == (uint8_t)i;
    }
    CU_ASSERT_TRUE(same);
    buffer_append(&b, NULL, 0);
    CU_ASSERT_EQUAL(b.size, 10000);
    buffer_free(&b);
    CU_ASSERT_PTR_NULL(b.data);
    CU_ASSERT_EQUAL(b.size, 0);
    CU_ASSERT_EQUAL(b.capacity, 0);
}

static void extend_of_nothing_gives_a_pointer(void)
{
    struct buffer b = {0};
    CU_ASSERT_PTR_NOT_NULL(buffer_extend(&b, 0));
    CU_ASSERT_EQUAL(b.size, 0);
    uint8_t *room = buffer_extend(&b, 3);
    memcpy(room, "abc", 3);
    CU_ASSERT_EQUAL(b.size, 3);
    CU_ASSERT_EQUAL(memcmp(b.data, "abc", 3), 0);
    buffer_free(&b);
}

static void consume_drops_from_the_front(void)
{
    struct buffer b = {0};
    buffer_append(&b, "abcdef", 6);
    buffer_consume(&b, 2);
    CU_ASSERT_TRUE(view_equal(view_of(b.data, b.size), view_of_text("cdef")));
    buffer_consume(&b, 0);
    CU_ASSERT_EQUAL(b.size, 4);
    buffer_consume(&b, 4);
    CU_ASSERT_EQUAL(b.size, 0);
    buffer_append(&b, "g", 1);
    CU_ASSERT_TRUE(view_equal(view_of(b.data, b.size), view_of_text("g")));
    buffer_free(&b);
}

static void numbers_are_little_endian(void)
{
    struct buffer b = {0};
    buffer_u8(&b, 0x01);
    buffer_u16(&b, 0x0302);
    buffer_u32(&b, UINT32_C(0x07060504));
    buffer_u64(&b, UINT64_C(0x0f0e0d0c0b0a0908));
    buffer_view(&b, view_of_text("xy"));
    static const uint8_t expected[] = {1,  2,  3,  4,  5, 6, 7, 8, 9,   10, 11,
                                       12, 13, 14, 15, 2, 0, 0, 0, 'x', 'y'};
    CU_ASSERT_TRUE(view_equal(view_of(b.data, b.size), view_of(expected, sizeof(expected))));

    struct reader r = {.data = b.data, .size = b.size};
    CU_ASSERT_EQUAL(reader_u8(&r), 1);
    CU_ASSERT_EQUAL(reader_u16(&r), 0x0302);
    CU_ASSERT_EQUAL(reader_u32(&r), UINT32_C(0x07060504));
    CU_ASSERT_EQUAL(reader_u64(&r), UINT64_C(0x0f0e0d0c0b0a0908));
    CU_ASSERT_TRUE(view_equal(reader_view(&r), view_of_text("xy")));
    CU_ASSERT_FALSE(r.failed);
    CU_ASSERT_EQUAL(r.size, 0);
    buffer_free(&b);
}

/* Each reader function on inputs one octet too short; the octets lie at the end of an allocation, so that
 * the sanitizer sees a look beyond them. */
static void short_input_fails_and_stays_failed(void)
{
    for (size_t kind = 0; kind < 5; kind++) {
        static const size_t needed[] = {1, 2, 4, 8, 4};
        for (size_t size = 0; size < needed[kind]; size++) {
            uint8_t *octets = mem_alloc(size);
            memset(octets, 0xff, size);
            struct reader r = {.data = octets, .size = size};
            uint64_t value = 1;
            switch (kind) {
            case 0:
                value = reader_u8(&r);
                break;
            case 1:
                value = reader_u16(&r);
                break;
            case 2:
                value = reader_u32(&r);
                break;
            case 3:
                value = reader_u64(&r);
                break;
            default:
                value = reader_view(&r).size;
            }
            CU_ASSERT_EQUAL(value, 0);
            CU_ASSERT_TRUE(r.failed);
            CU_ASSERT_EQUAL(reader_u8(&r), 0); /* though an octet may be left */
            CU_ASSERT_TRUE(r.failed);
            mem_free(octets);
        }
    }
}

static void view_longer_than_the_input_fails(void)
{
    struct buffer b = {0};
    buffer_u32(&b, 4);
    buffer_append(&b, "abc", 3);
    struct reader r = {.data = b.data, .size = b.size};
    struct view v = reader_view(&r);
    CU_ASSERT_TRUE(r.failed);
    CU_ASSERT_PTR_NULL(v.data);
    CU_ASSERT_EQUAL(v.size, 0);
    b.data[0] = 3;
    r = (struct reader){.data = b.data, .size = b.size};
    CU_ASSERT_TRUE(view_equal(reader_view(&r), view_of_text("abc")));
    b.data[3] = 0xff; /* nearly 4 GiB */
    r = (struct reader){.data = b.data, .size = b.size};
    (void)reader_view(&r);
    CU_ASSERT_TRUE(r.failed);
    buffer_free(&b);
}

static void empty_view_at_the_end_is_fine(void)
{
    struct buffer b = {0};
    buffer_view(&b, view_of(NULL, 0));
    struct reader r = {.data = b.data, .size = b.size};
    CU_ASSERT_EQUAL(reader_view(&r).size, 0);
    CU_ASSERT_FALSE(r.failed);
    buffer_free(&b);
}

SUITE("base bytes", TEST(views_order_as_memcmp_then_by_length), TEST(bytes_are_a_copy_of_their_own),
      TEST(buffer_grows_and_keeps_its_octets), TEST(extend_of_nothing_gives_a_pointer),
      TEST(consume_drops_from_the_front), TEST(numbers_are_little_endian),
      TEST(short_input_fails_and_stays_failed), TEST(view_longer_than_the_input_fails),
      TEST(empty_view_at_the_end_is_fine))
