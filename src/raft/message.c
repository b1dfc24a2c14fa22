/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.c: a raft_message as octets and back. The frame around it (length, group, checksum) is the
 * peer wire's. In: a message. Out: octets, or the error of a peer that does not keep to the format.
 *
 * Form: u8 format, u8 type, u8 flags, u64 from, u64 to, u64 term, then the u64 fields of the type in
 * the order of `fields`, a u8 refusal if it is one, then the entries if the flag says so. Which type has which field is one
 * table, so that encoding and decoding cannot differ.
 *
 * Invariants
 *  1. A field that the type does not have is not sent and reads as 0.
 *  2. Nothing may follow the last field: an input that is longer than its message is malformed.
 */
#include "raft_internal.h"

#define TERM_MAX                                                                                   \
    (UINT64_MAX / 2) /* nobody gets there one election at a time; beyond it terms could wrap */
#define MESSAGE_FORMAT 1

enum {
    FLAG_GRANTED = 1,
    FLAG_TRANSFER = 2,
    FLAG_NO_VOTE = 4,
    FLAG_ENTRIES = 8,
    FLAG_REMOVED = 16,
    FLAG_DONE = 32,
    FLAG_LOW_SPACE = 64,
    FLAGS_ALL = FLAG_GRANTED | FLAG_TRANSFER | FLAG_NO_VOTE | FLAG_ENTRIES | FLAG_REMOVED |
                FLAG_DONE | FLAG_LOW_SPACE
};

/* Bits of the types that carry a field. */
#define TYPE(type)         (1U << (unsigned)(type))
#define TYPES_OF_SNAPSHOTS (TYPE(RAFT_INSTALL_SNAPSHOT) | TYPE(RAFT_INSTALL_SNAPSHOT_REPLY))

static const struct {
    size_t offset;
    unsigned types;
} fields[] = {
    {offsetof(struct raft_message, last_log_index),
     TYPE(RAFT_REQUEST_PRE_VOTE) | TYPE(RAFT_REQUEST_VOTE) | TYPE(RAFT_TIMEOUT_NOW)},
    {offsetof(struct raft_message, last_log_term),
     TYPE(RAFT_REQUEST_PRE_VOTE) | TYPE(RAFT_REQUEST_VOTE)},
    {offsetof(struct raft_message, prev_log_index), TYPE(RAFT_APPEND_ENTRIES)},
    {offsetof(struct raft_message, prev_log_term), TYPE(RAFT_APPEND_ENTRIES)},
    {offsetof(struct raft_message, leader_commit), TYPE(RAFT_APPEND_ENTRIES)},
    {offsetof(struct raft_message, trim_index), TYPE(RAFT_APPEND_ENTRIES)},
    {offsetof(struct raft_message, cluster_time_us), TYPE(RAFT_APPEND_ENTRIES)},
    {offsetof(struct raft_message, sent_us), TYPE(RAFT_APPEND_ENTRIES) | TYPE(RAFT_APPEND_REPLY)},
    {offsetof(struct raft_message, read_round),
     TYPE(RAFT_APPEND_ENTRIES) | TYPE(RAFT_APPEND_REPLY)},
    {offsetof(struct raft_message, match_index), TYPE(RAFT_APPEND_REPLY)},
    {offsetof(struct raft_message, conflict_index), TYPE(RAFT_APPEND_REPLY)},
    {offsetof(struct raft_message, conflict_term), TYPE(RAFT_APPEND_REPLY)},
    {offsetof(struct raft_message, kv_durable_index), TYPE(RAFT_APPEND_REPLY)},
    {offsetof(struct raft_message, vote_promise_us), TYPE(RAFT_APPEND_REPLY)},
    {offsetof(struct raft_message, disk_age_us),
     TYPE(RAFT_APPEND_ENTRIES) | TYPE(RAFT_APPEND_REPLY)},
    {offsetof(struct raft_message, read_id), TYPE(RAFT_READ_INDEX) | TYPE(RAFT_READ_INDEX_REPLY)},
    {offsetof(struct raft_message, read_index), TYPE(RAFT_READ_INDEX_REPLY)},
    {offsetof(struct raft_message, last_included_index), TYPES_OF_SNAPSHOTS},
    {offsetof(struct raft_message, last_included_term), TYPES_OF_SNAPSHOTS},
    {offsetof(struct raft_message, offset), TYPES_OF_SNAPSHOTS},
    {offsetof(struct raft_message, total_bytes), TYPE(RAFT_INSTALL_SNAPSHOT)},
    {offsetof(struct raft_message, chunk_checksum), TYPE(RAFT_INSTALL_SNAPSHOT)},
};

#define TYPES_KNOWN                                                                                \
    (TYPE(RAFT_REQUEST_PRE_VOTE) | TYPE(RAFT_PRE_VOTE_REPLY) | TYPE(RAFT_REQUEST_VOTE) |           \
     TYPE(RAFT_VOTE_REPLY) | TYPE(RAFT_APPEND_ENTRIES) | TYPE(RAFT_APPEND_REPLY) |                 \
     TYPE(RAFT_READ_INDEX) | TYPE(RAFT_READ_INDEX_REPLY) | TYPE(RAFT_TIMEOUT_NOW) |                \
     TYPES_OF_SNAPSHOTS | TYPE(RAFT_FORWARD) | TYPE(RAFT_FORWARD_REFUSED) | TYPE(RAFT_MEMBERS) |   \
     TYPE(RAFT_MEMBERS_REPLY))
#define TYPES_WITH_ENTRIES                                                                         \
    (TYPE(RAFT_APPEND_ENTRIES) | TYPE(RAFT_FORWARD) | TYPE(RAFT_FORWARD_REFUSED) |                 \
     TYPE(RAFT_MEMBERS) | TYPE(RAFT_MEMBERS_REPLY))

/* Errors have numbers of their own on the wire. An unknown one is a refusal of a newer version: ask again. */
enum { REFUSAL_NOT_LEADER = 1, REFUSAL_OVERLOAD = 2, REFUSAL_LEADER_CHANGED = 3 };

static uint8_t refusal_code(enum err error)
{
    return error == ERR_NOT_LEADER ? REFUSAL_NOT_LEADER
           : error == ERR_OVERLOAD ? REFUSAL_OVERLOAD
                                   : REFUSAL_LEADER_CHANGED;
}

static enum err refusal_of(uint8_t code)
{
    return code == REFUSAL_NOT_LEADER ? ERR_NOT_LEADER
           : code == REFUSAL_OVERLOAD ? ERR_OVERLOAD
                                      : ERR_LEADER_CHANGED;
}

void raft_message_free(struct raft_message *m)
{
    entries_free(&m->entries);
    bytes_free(&m->chunk);
}

void raft_message_encode(const struct raft_message *m, struct buffer *out)
{
    ASSERT(m->entries == NULL || (TYPE(m->type) & TYPES_WITH_ENTRIES) != 0);
    unsigned flags = (m->granted ? FLAG_GRANTED : 0U) | (m->flag_transfer ? FLAG_TRANSFER : 0U) |
                     (m->flag_no_vote ? FLAG_NO_VOTE : 0U) | (m->flag_removed ? FLAG_REMOVED : 0U) |
                     (m->done ? FLAG_DONE : 0U) | (m->flag_low_space ? FLAG_LOW_SPACE : 0U) |
                     (m->entries != NULL ? FLAG_ENTRIES : 0U);
    buffer_u8(out, MESSAGE_FORMAT);
    buffer_u8(out, (uint8_t)m->type);
    buffer_u8(out, (uint8_t)flags);
    buffer_u64(out, m->from);
    buffer_u64(out, m->to);
    buffer_u64(out, m->term);
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        if ((fields[i].types & TYPE(m->type)) != 0) {
            uint64_t value = 0;
            memcpy(&value, (const uint8_t *)m + fields[i].offset, sizeof(value));
            buffer_u64(out, value);
        }
    }
    if (m->type == RAFT_INSTALL_SNAPSHOT) {
        ASSERT(m->chunk.size <= SNAPSHOT_CHUNK_BYTES_MAX);
        buffer_view(out, bytes_view(&m->chunk));
    }
    if (m->type == RAFT_FORWARD_REFUSED) {
        buffer_u8(out, refusal_code(m->refusal));
    }
    if (m->entries != NULL) {
        entries_encode(m->entries, out);
    }
}

enum err raft_message_decode(struct view in, struct raft_message *out)
{
    struct reader reader = {.data = in.data, .size = in.size};
    uint8_t format = reader_u8(&reader);
    uint8_t type = reader_u8(&reader);
    uint8_t flags = reader_u8(&reader);
    struct raft_message m = {0};
    m.from = reader_u64(&reader);
    m.to = reader_u64(&reader);
    m.term = reader_u64(&reader);
    if (format > MESSAGE_FORMAT) {
        return ERR_NEWER_FORMAT;
    }
    if (reader.failed) {
        return ERR_TRUNCATED;
    }
    if (m.term > TERM_MAX) {
        return ERR_MALFORMED;
    }
    if (format == 0 || type > RAFT_MEMBERS_REPLY || (TYPE(type) & TYPES_KNOWN) == 0) {
        return ERR_MALFORMED;
    }
    if ((flags & ~(unsigned)FLAGS_ALL) != 0) {
        return ERR_MALFORMED;
    }
    m.type = (enum raft_message_type)type;
    m.granted = (flags & FLAG_GRANTED) != 0;
    m.flag_transfer = (flags & FLAG_TRANSFER) != 0;
    m.flag_no_vote = (flags & FLAG_NO_VOTE) != 0;
    m.flag_removed = (flags & FLAG_REMOVED) != 0;
    m.done = (flags & FLAG_DONE) != 0;
    m.flag_low_space = (flags & FLAG_LOW_SPACE) != 0;
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        if ((fields[i].types & TYPE(type)) != 0) {
            uint64_t value = reader_u64(&reader);
            memcpy((uint8_t *)&m + fields[i].offset, &value, sizeof(value));
        }
    }
    if (type == RAFT_FORWARD_REFUSED) {
        m.refusal = refusal_of(reader_u8(&reader));
    }
    struct view chunk = {0};
    if (type == RAFT_INSTALL_SNAPSHOT) {
        chunk = reader_view(&reader);
    }
    if (reader.failed) {
        return ERR_TRUNCATED;
    }
    if (chunk.size > SNAPSHOT_CHUNK_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    if ((flags & FLAG_ENTRIES) != 0) {
        if ((TYPE(type) & TYPES_WITH_ENTRIES) == 0) {
            return ERR_MALFORMED;
        }
        enum err error = entries_decode(&reader, &m.entries);
        if (error != OK) {
            return error;
        }
    }
    if (reader.size != 0) {
        raft_message_free(&m);
        return ERR_MALFORMED;
    }
    if (chunk.size > 0) {
        m.chunk = bytes_copy(chunk);
    }
    *out = m;
    return OK;
}
