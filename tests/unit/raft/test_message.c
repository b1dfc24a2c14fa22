/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_message.c: raft_message as octets and back, for every type; and inputs that no node of ours sends.
 */
#include "raft.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>

static const enum raft_message_type types[] = {RAFT_REQUEST_PRE_VOTE,
                                               RAFT_PRE_VOTE_REPLY,
                                               RAFT_REQUEST_VOTE,
                                               RAFT_VOTE_REPLY,
                                               RAFT_APPEND_ENTRIES,
                                               RAFT_APPEND_REPLY,
                                               RAFT_READ_INDEX,
                                               RAFT_READ_INDEX_REPLY,
                                               RAFT_TIMEOUT_NOW,
                                               RAFT_FORWARD,
                                               RAFT_FORWARD_REFUSED,
                                               RAFT_INSTALL_SNAPSHOT,
                                               RAFT_INSTALL_SNAPSHOT_REPLY,
                                               RAFT_MEMBERS,
                                               RAFT_MEMBERS_REPLY};

static struct entries *two_entries(void)
{
    struct entries *block = entries_create(2, 16);
    struct entry a = {.index = 8,
                      .term = 3,
                      .origin = 70,
                      .request_id = 71,
                      .type = ENTRY_COMMAND,
                      .data = view_of("first", 5)};
    struct entry b = {.index = 9, .term = 4, .type = ENTRY_NOOP};
    entries_add(block, &a);
    entries_add(block, &b);
    return block;
}

/* A message with something in every field that its type has (include/raft.h). */
static struct raft_message full(enum raft_message_type type)
{
    struct raft_message m = {.type = type, .from = 1, .to = UINT64_MAX, .term = 7};
    m.flag_no_vote = true;
    switch (type) {
    case RAFT_REQUEST_PRE_VOTE:
    case RAFT_REQUEST_VOTE:
        m.last_log_index = 11;
        m.last_log_term = 12;
        m.flag_transfer = true;
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        m.granted = true;
        m.flag_removed = true;
        break;
    case RAFT_APPEND_ENTRIES:
        m.prev_log_index = 13;
        m.prev_log_term = 14;
        m.leader_commit = 15;
        m.read_round = 16;
        m.trim_index = 17;
        m.sent_us = 26;
        m.cluster_time_us = 27;
        m.disk_age_us = 40;
        m.flag_low_space = true;
        m.entries = two_entries();
        break;
    case RAFT_APPEND_REPLY:
        m.granted = true;
        m.match_index = 18;
        m.conflict_index = 19;
        m.conflict_term = 20;
        m.read_round = 21;
        m.kv_durable_index = 22;
        m.disk_age_us = 41;
        m.vote_promise_us = 42;
        m.flag_low_space = true;
        m.sent_us = 28;
        break;
    case RAFT_READ_INDEX:
        m.read_id = 23;
        break;
    case RAFT_READ_INDEX_REPLY:
        m.read_id = 24;
        m.read_index = 25;
        m.granted = true;
        break;
    case RAFT_INSTALL_SNAPSHOT:
        m.total_bytes = 32;
        m.chunk_checksum = 33;
        m.chunk = bytes_copy(view_of("chunk", 5));
        m.last_included_index = 34;
        m.last_included_term = 35;
        m.offset = 36;
        m.done = true;
        break;
    case RAFT_INSTALL_SNAPSHOT_REPLY:
        m.last_included_index = 37;
        m.last_included_term = 38;
        m.offset = 39;
        m.granted = true;
        m.done = true;
        break;
    case RAFT_TIMEOUT_NOW:
        m.last_log_index = 29;
        break;
    case RAFT_FORWARD:
    case RAFT_FORWARD_REFUSED:
    case RAFT_MEMBERS:
    case RAFT_MEMBERS_REPLY:
        m.refusal = type == RAFT_FORWARD_REFUSED ? ERR_OVERLOAD : OK;
        m.entries = two_entries();
        break;
    }
    return m;
}

static void every_field_of_every_type_travels(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct raft_message sent = full(types[i]);
        struct buffer wire = {0};
        raft_message_encode(&sent, &wire);
        struct raft_message got = {0};
        CU_ASSERT_EQUAL_FATAL(raft_message_decode(view_of(wire.data, wire.size), &got), OK);
        CU_ASSERT_EQUAL(got.entries != NULL, sent.entries != NULL);
        if (got.entries != NULL) {
            CU_ASSERT_EQUAL(got.entries->first_index, 8);
            CU_ASSERT_EQUAL(got.entries->count, 2);
            CU_ASSERT_EQUAL(got.entries->items[0].origin, 70);
            CU_ASSERT_EQUAL(got.entries->items[0].request_id, 71);
            CU_ASSERT_TRUE(view_equal(got.entries->items[0].data, view_of("first", 5)));
            CU_ASSERT_EQUAL(got.entries->items[1].type, ENTRY_NOOP);
        }
        struct entries *sent_entries = sent.entries;
        struct entries *got_entries = got.entries;
        sent.entries = NULL;
        got.entries = NULL;
        CU_ASSERT_EQUAL(got.type, sent.type);
        CU_ASSERT_EQUAL(got.from, sent.from);
        CU_ASSERT_EQUAL(got.to, sent.to);
        CU_ASSERT_EQUAL(got.term, sent.term);
        CU_ASSERT_EQUAL(got.last_log_index, sent.last_log_index);
        CU_ASSERT_EQUAL(got.last_log_term, sent.last_log_term);
        CU_ASSERT_EQUAL(got.prev_log_index, sent.prev_log_index);
        CU_ASSERT_EQUAL(got.prev_log_term, sent.prev_log_term);
        CU_ASSERT_EQUAL(got.leader_commit, sent.leader_commit);
        CU_ASSERT_EQUAL(got.match_index, sent.match_index);
        CU_ASSERT_EQUAL(got.conflict_index, sent.conflict_index);
        CU_ASSERT_EQUAL(got.conflict_term, sent.conflict_term);
        CU_ASSERT_EQUAL(got.read_round, sent.read_round);
        CU_ASSERT_EQUAL(got.read_id, sent.read_id);
        CU_ASSERT_EQUAL(got.read_index, sent.read_index);
        CU_ASSERT_EQUAL(got.trim_index, sent.trim_index);
        CU_ASSERT_EQUAL(got.kv_durable_index, sent.kv_durable_index);
        CU_ASSERT_EQUAL(got.sent_us, sent.sent_us);
        CU_ASSERT_EQUAL(got.disk_age_us, sent.disk_age_us);
        CU_ASSERT_EQUAL(got.vote_promise_us, sent.vote_promise_us);
        CU_ASSERT_EQUAL(got.flag_low_space, sent.flag_low_space);
        CU_ASSERT_EQUAL(got.cluster_time_us, sent.cluster_time_us);
        CU_ASSERT_EQUAL(got.granted, sent.granted);
        CU_ASSERT_EQUAL(got.last_included_index, sent.last_included_index);
        CU_ASSERT_EQUAL(got.last_included_term, sent.last_included_term);
        CU_ASSERT_EQUAL(got.offset, sent.offset);
        CU_ASSERT_EQUAL(got.total_bytes, sent.total_bytes);
        CU_ASSERT_EQUAL(got.chunk_checksum, sent.chunk_checksum);
        CU_ASSERT_TRUE(view_equal(bytes_view(&got.chunk), bytes_view(&sent.chunk)));
        CU_ASSERT_EQUAL(got.done, sent.done);
        bytes_free(&got.chunk);
        bytes_free(&sent.chunk);
        CU_ASSERT_EQUAL(got.refusal, sent.refusal);
        CU_ASSERT_EQUAL(got.flag_transfer, sent.flag_transfer);
        CU_ASSERT_EQUAL(got.flag_no_vote, sent.flag_no_vote);
        CU_ASSERT_EQUAL(got.flag_removed, sent.flag_removed);
        entries_free(&sent_entries);
        entries_free(&got_entries);
        buffer_free(&wire);
    }
}

/* Cut anywhere it is too short; with an octet more it is malformed; neither touches the result. */
static void a_wrong_length_is_refused(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct raft_message sent = full(types[i]);
        struct buffer wire = {0};
        raft_message_encode(&sent, &wire);
        struct raft_message got = {.term = 12345};
        for (size_t size = 0; size < wire.size; size++) {
            /* a copy of exactly this size, so that a sanitizer sees a read behind it */
            uint8_t *cut = mem_dup(wire.data, size);
            CU_ASSERT_NOT_EQUAL(raft_message_decode(view_of(cut, size), &got), OK);
            mem_free(cut);
        }
        buffer_u8(&wire, 0);
        CU_ASSERT_EQUAL(raft_message_decode(view_of(wire.data, wire.size), &got), ERR_MALFORMED);
        CU_ASSERT_EQUAL(got.term, 12345);
        raft_message_free(&sent);
        buffer_free(&wire);
    }
}

/* A leader that has too much to do, or hands over, still leads: whoever forwards must be able to tell. */
static void a_refusal_says_why(void)
{
    static const enum err reasons[] = {ERR_NOT_LEADER, ERR_OVERLOAD, ERR_LEADER_CHANGED};
    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++) {
        struct raft_message sent = {
            .type = RAFT_FORWARD_REFUSED, .from = 1, .to = 2, .term = 3, .refusal = reasons[i]};
        struct buffer wire = {0};
        raft_message_encode(&sent, &wire);
        struct raft_message got = {0};
        CU_ASSERT_EQUAL(raft_message_decode(view_of(wire.data, wire.size), &got), OK);
        CU_ASSERT_EQUAL(got.refusal, reasons[i]);
        wire.data[wire.size - 1] = 99; /* a reason of a later version */
        CU_ASSERT_EQUAL(raft_message_decode(view_of(wire.data, wire.size), &got), OK);
        CU_ASSERT_EQUAL(got.refusal, ERR_LEADER_CHANGED);
        buffer_free(&wire);
    }
}

static enum err decode_with(size_t at, uint8_t value)
{
    struct raft_message sent = full(RAFT_READ_INDEX);
    struct buffer wire = {0};
    raft_message_encode(&sent, &wire);
    wire.data[at] = value;
    struct raft_message got = {0};
    enum err error = raft_message_decode(view_of(wire.data, wire.size), &got);
    raft_message_free(&got);
    buffer_free(&wire);
    return error;
}

static void unknown_formats_types_and_flags_are_refused(void)
{
    CU_ASSERT_EQUAL(decode_with(0, 2), ERR_NEWER_FORMAT);
    CU_ASSERT_EQUAL(decode_with(0, 0), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_with(1, 0), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_with(1, 14), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_with(1, 255), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_with(2, 0x80), ERR_MALFORMED);
    CU_ASSERT_EQUAL(decode_with(2, 8), ERR_MALFORMED); /* entries in a type that has none */
}

/* Octets changed at random, and random octets: decoding ends with an error or a message that encodes again. */
static void random_octets_do_no_harm(void)
{
    uint64_t random = 3;
    for (int i = 0; i < 20000; i++) {
        struct raft_message sent = full(types[random_below(&random, ARRAY_COUNT(types))]);
        struct buffer wire = {0};
        raft_message_encode(&sent, &wire);
        raft_message_free(&sent);
        uint64_t changes = 1 + random_below(&random, 4);
        for (uint64_t k = 0; k < changes; k++) {
            wire.data[random_below(&random, wire.size)] = (uint8_t)random_next(&random);
        }
        struct raft_message got = {0};
        if (raft_message_decode(view_of(wire.data, wire.size), &got) == OK) {
            struct buffer again = {0};
            raft_message_encode(&got, &again);
            CU_ASSERT_EQUAL(again.size, wire.size);
            buffer_free(&again);
            raft_message_free(&got);
        }
        buffer_free(&wire);
    }
}

SUITE("raft: message", TEST(every_field_of_every_type_travels), TEST(a_wrong_length_is_refused),
      TEST(a_refusal_says_why), TEST(unknown_formats_types_and_flags_are_refused),
      TEST(random_octets_do_no_harm))
