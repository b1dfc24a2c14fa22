/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that a block of entries is a copy of its own, that slices are right, that the wire form goes
 * there and back, and that no cut or flipped octet of it makes the decoder read or allocate beyond its
 * input. entry.h.
 */
#include "suite.h"

#include "entry.h"

static struct entries *sample(void)
{
    struct entries *block = entries_create(4, 11);
    const struct entry entries[] = {
        {.index = 7,
         .term = 2,
         .origin = 11,
         .request_id = 21,
         .type = ENTRY_COMMAND,
         .data = view_of_text("alpha")},
        {.index = 8, .term = 2, .type = ENTRY_NOOP},
        {.index = 9,
         .term = 3,
         .origin = 12,
         .request_id = 22,
         .type = ENTRY_CONFIG,
         .data = view_of_text("beta")},
        {.index = 10,
         .term = 5,
         .origin = UINT64_MAX,
         .request_id = UINT64_MAX - 1,
         .type = ENTRY_COMMAND,
         .data = view_of("\0x", 2)},
    };
    for (size_t i = 0; i < ARRAY_COUNT(entries); i++) {
        entries_add(block, &entries[i]);
    }
    return block;
}

static bool same_entry(const struct entry *a, const struct entry *b)
{
    return a->index == b->index && a->term == b->term && a->origin == b->origin &&
           a->request_id == b->request_id && a->type == b->type && view_equal(a->data, b->data);
}

static bool same_block(const struct entries *a, const struct entries *b)
{
    bool same = a->first_index == b->first_index && a->count == b->count && a->bytes == b->bytes;
    for (size_t i = 0; same && i < a->count; i++) {
        same = same_entry(&a->items[i], &b->items[i]);
    }
    return same;
}

static void block_holds_copies(void)
{
    char text[] = "changed later";
    struct entries *block = entries_create(1, sizeof(text));
    const struct entry e = {
        .index = 1, .term = 1, .type = ENTRY_COMMAND, .data = view_of(text, 13)};
    entries_add(block, &e);
    memset(text, 'x', sizeof(text));
    CU_ASSERT_TRUE(view_equal(block->items[0].data, view_of_text("changed later")));
    CU_ASSERT_EQUAL(block->first_index, 1);
    CU_ASSERT_EQUAL(block->bytes, 13 + ENTRY_OVERHEAD);
    CU_ASSERT_EQUAL(entries_last_index(block), 1);
    entries_free(&block);
    CU_ASSERT_PTR_NULL(block);
    entries_free(&block); /* nothing to free is fine */
}

static void copy_and_slices(void)
{
    struct entries *block = sample();
    CU_ASSERT_EQUAL(block->bytes, 11 + 4 * ENTRY_OVERHEAD);
    struct entries *copy = entries_copy(block);
    CU_ASSERT_TRUE(same_block(block, copy));
    CU_ASSERT_PTR_NOT_EQUAL(block->items[0].data.data, copy->items[0].data.data);
    for (uint64_t first = 7; first <= 10; first++) {
        for (uint64_t last = first; last <= 10; last++) {
            struct entries *slice = entries_slice(block, first, last);
            CU_ASSERT_EQUAL(slice->first_index, first);
            CU_ASSERT_EQUAL(entries_last_index(slice), last);
            for (size_t i = 0; i < slice->count; i++) {
                CU_ASSERT_TRUE(same_entry(&slice->items[i], &copy->items[first - 7 + i]));
            }
            entries_free(&slice);
        }
    }
    entries_free(&block);
    CU_ASSERT_TRUE(view_equal(copy->items[0].data, view_of_text("alpha"))); /* outlives its model */
    entries_free(&copy);
    block = entries_create(0, 0);
    copy = entries_copy(block);
    CU_ASSERT_EQUAL(copy->count, 0);
    entries_free(&block);
    entries_free(&copy);
}

static void wire_form_goes_there_and_back(void)
{
    struct entries *block = sample(), *back = NULL;
    struct buffer wire = {0};
    entries_encode(block, &wire);
    buffer_u8(&wire, 0xee); /* what follows is the caller's */
    struct reader r = {.data = wire.data, .size = wire.size};
    CU_ASSERT_EQUAL_FATAL(entries_decode(&r, &back), OK);
    CU_ASSERT_TRUE(same_block(block, back));
    CU_ASSERT_EQUAL(r.size, 1);
    CU_ASSERT_EQUAL(reader_u8(&r), 0xee);
    entries_free(&back);
    entries_free(&block);
    buffer_free(&wire);

    block = entries_create(0, 0);
    entries_encode(block, &wire);
    r = (struct reader){.data = wire.data, .size = wire.size};
    CU_ASSERT_EQUAL_FATAL(entries_decode(&r, &back), OK);
    CU_ASSERT_EQUAL(back->count, 0);
    entries_free(&back);
    entries_free(&block);
    buffer_free(&wire);
}

/* Octets copied to an allocation of exactly their size, so that the sanitizer sees a look beyond. */
static enum err decode_exactly(const uint8_t *octets, size_t size, struct entries **out)
{
    uint8_t *exact = mem_dup(octets, size);
    struct reader r = {.data = exact, .size = size};
    enum err error = entries_decode(&r, out);
    mem_free(exact);
    return error;
}

static void every_cut_is_refused(void)
{
    struct entries *block = sample(), *back = NULL;
    struct buffer wire = {0};
    entries_encode(block, &wire);
    for (size_t size = 0; size < wire.size; size++) {
        CU_ASSERT_EQUAL(decode_exactly(wire.data, size, &back), ERR_TRUNCATED);
        CU_ASSERT_PTR_NULL(back);
    }
    entries_free(&block);
    buffer_free(&wire);
}

/* Any octet with any bit flipped: refused, or a block that keeps its invariants. */
static void flipped_octets_are_refused_or_harmless(void)
{
    struct entries *block = sample(), *back = NULL;
    struct buffer wire = {0};
    entries_encode(block, &wire);
    for (size_t at = 0; at < wire.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            wire.data[at] = (uint8_t)(wire.data[at] ^ (1 << bit));
            enum err error = decode_exactly(wire.data, wire.size, &back);
            if (error == OK) {
                for (size_t i = 0; i < back->count; i++) {
                    CU_ASSERT_EQUAL(back->items[i].index, back->first_index + i);
                    CU_ASSERT_TRUE(back->items[i].type <= ENTRY_CONFIG);
                    CU_ASSERT_TRUE(i == 0 || back->items[i].term >= back->items[i - 1].term);
                }
                entries_free(&back);
            } else {
                CU_ASSERT_PTR_NULL(back);
            }
            wire.data[at] = (uint8_t)(wire.data[at] ^ (1 << bit));
        }
    }
    entries_free(&block);
    buffer_free(&wire);
}

/* The wire's head: u8 format, u64 first index, u32 count. */
static void head(struct buffer *wire, uint8_t format, uint64_t first_index, uint32_t count)
{
    wire->size = 0;
    buffer_u8(wire, format);
    buffer_u64(wire, first_index);
    buffer_u32(wire, count);
}

static void item(struct buffer *wire, uint64_t term, uint8_t type, uint32_t size)
{
    buffer_u64(wire, term);
    buffer_u64(wire, 0);
    buffer_u64(wire, 0);
    buffer_u8(wire, type);
    buffer_u32(wire, size);
}

static void each_rule_is_checked(void)
{
    struct buffer wire = {0};
    struct entries *back = NULL;
    head(&wire, ENTRY_FORMAT + 1, 1, 0);
    CU_ASSERT_EQUAL(decode_exactly(wire.data, wire.size, &back), ERR_NEWER_FORMAT);
    head(&wire, 0, 1, 0);
    CU_ASSERT_EQUAL(decode_exactly(wire.data, wire.size, &back), ERR_MALFORMED);
    head(&wire, ENTRY_FORMAT, UINT64_MAX, 1); /* indexes would wrap */
    item(&wire, 1, ENTRY_NOOP, 0);
    CU_ASSERT_EQUAL(decode_exactly(wire.data, wire.size, &back), ERR_MALFORMED);
    head(&wire, ENTRY_FORMAT, 1, UINT32_MAX); /* a count that only an allocation would believe */
    item(&wire, 1, ENTRY_NOOP, 0);
    CU_ASSERT_EQUAL(decode_exactly(wire.data, wire.size, &back), ERR_TRUNCATED);
    head(&wire, ENTRY_FORMAT, 1, 2); /* a term that falls */
    item(&wire, 2, ENTRY_NOOP, 0);
    item(&wire, 1, ENTRY_NOOP, 0);
    CU_ASSERT_EQUAL(decode_exactly(wire.data, wire.size, &back), ERR_MALFORMED);
    head(&wire, ENTRY_FORMAT, 1, 1); /* a type nobody knows */
    item(&wire, 1, ENTRY_CONFIG + 1, 0);
    CU_ASSERT_EQUAL(decode_exactly(wire.data, wire.size, &back), ERR_MALFORMED);
    head(&wire, ENTRY_FORMAT, 1, 1); /* data beyond the end */
    item(&wire, 1, ENTRY_COMMAND, 1);
    CU_ASSERT_EQUAL(decode_exactly(wire.data, wire.size, &back), ERR_TRUNCATED);
    CU_ASSERT_PTR_NULL(back);
    buffer_free(&wire);
}

SUITE("base entry", TEST(block_holds_copies), TEST(copy_and_slices),
      TEST(wire_form_goes_there_and_back), TEST(every_cut_is_refused),
      TEST(flipped_octets_are_refused_or_harmless), TEST(each_rule_is_checked))
