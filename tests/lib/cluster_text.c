/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_text.c: what people read of the fake cluster: the trace of a transcript, logs and states.
 */
#include "cluster_internal.h"

#include <stdarg.h>

#define LINE_MAX_OCTETS 256

static void print(struct buffer *out, const char *format, ...) PRINTF_LIKE(2, 3);
static void print_list(struct buffer *out, const char *format, va_list list) PRINTF_LIKE(2, 0);

static void print_list(struct buffer *out, const char *format, va_list list)
{
    char line[LINE_MAX_OCTETS];
    int size = vsnprintf(line, sizeof(line), format, list);
    ASSERT(size >= 0);
    ASSERT((size_t)size < sizeof(line));
    buffer_append(out, line, (size_t)size);
}

static void print(struct buffer *out, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print_list(out, format, list);
    va_end(list);
}

void cluster_trace(struct cluster *c, const char *format, ...)
{
    if (c->trace == NULL) {
        return;
    }
    va_list list;
    va_start(list, format);
    print_list(c->trace, format, list);
    va_end(list);
}

/* " 4..6 [2 2 3]", or " 4 [2]"; a configuration: "[2c]" */
static void print_entries(struct buffer *out, const struct entries *block)
{
    if (block->count == 1) {
        print(out, " entry %" PRIu64 " [", block->first_index);
    } else {
        print(out, " entries %" PRIu64 "..%" PRIu64 " [", block->first_index,
              entries_last_index(block));
    }
    for (size_t i = 0; i < block->count; i++) {
        print(out, "%s%" PRIu64 "%s", i == 0 ? "" : " ", block->items[i].term,
              block->items[i].type == ENTRY_CONFIG ? "c" : "");
    }
    print(out, "]");
}

static const char *type_text(enum raft_message_type type)
{
    switch (type) {
    case RAFT_REQUEST_PRE_VOTE:
        return "request_pre_vote";
    case RAFT_PRE_VOTE_REPLY:
        return "pre_vote_reply";
    case RAFT_REQUEST_VOTE:
        return "request_vote";
    case RAFT_VOTE_REPLY:
        return "vote_reply";
    case RAFT_APPEND_ENTRIES:
        return "append_entries";
    case RAFT_APPEND_REPLY:
        return "append_reply";
    case RAFT_READ_INDEX:
        return "read_index";
    case RAFT_READ_INDEX_REPLY:
        return "read_index_reply";
    case RAFT_INSTALL_SNAPSHOT:
        return "install_snapshot";
    case RAFT_INSTALL_SNAPSHOT_REPLY:
        return "install_snapshot_reply";
    case RAFT_TIMEOUT_NOW:
        return "timeout_now";
    case RAFT_FORWARD:
        return "forward";
    case RAFT_FORWARD_REFUSED:
        return "forward_refused";
    case RAFT_MEMBERS:
        return "members";
    case RAFT_MEMBERS_REPLY:
        return "members_reply";
    }
    return "?";
}

void cluster_print_message(struct buffer *out, const struct raft_message *m)
{
    print(out, "%" PRIu64 " -> %" PRIu64 " %s term=%" PRIu64, m->from, m->to, type_text(m->type),
          m->term);
    switch (m->type) {
    case RAFT_REQUEST_PRE_VOTE:
    case RAFT_REQUEST_VOTE:
        print(out, " last=%" PRIu64 "/%" PRIu64 "%s", m->last_log_index, m->last_log_term,
              m->flag_transfer ? " transfer" : "");
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        print(out, " %s", m->granted ? "granted" : m->flag_removed ? "removed" : "refused");
        break;
    case RAFT_APPEND_ENTRIES:
        print(out, " prev=%" PRIu64 "/%" PRIu64 " commit=%" PRIu64, m->prev_log_index,
              m->prev_log_term, m->leader_commit);
        if (m->read_round != 0) {
            print(out, " round=%" PRIu64, m->read_round);
        }
        if (m->entries != NULL) {
            print_entries(out, m->entries);
        }
        break;
    case RAFT_APPEND_REPLY:
        if (m->granted) {
            print(out, " match=%" PRIu64, m->match_index);
        } else {
            print(out, " refused conflict=%" PRIu64 "/%" PRIu64, m->conflict_index,
                  m->conflict_term);
        }
        if (m->read_round != 0) {
            print(out, " round=%" PRIu64, m->read_round);
        }
        if (m->flag_no_vote) {
            print(out, " no_vote");
        }
        break;
    case RAFT_READ_INDEX:
        break; /* the id is random */
    case RAFT_READ_INDEX_REPLY:
        if (m->granted) {
            print(out, " index=%" PRIu64, m->read_index);
        } else {
            print(out, " refused");
        }
        break;
    case RAFT_INSTALL_SNAPSHOT:
        print(out, " last_included=%" PRIu64 "/%" PRIu64, m->last_included_index,
              m->last_included_term);
        break;
    case RAFT_INSTALL_SNAPSHOT_REPLY:
        print(out, " last_included=%" PRIu64 "/%" PRIu64 " %s", m->last_included_index,
              m->last_included_term,
              m->done      ? "done"
              : m->granted ? "granted"
                           : "refused");
        break;
    case RAFT_TIMEOUT_NOW:
        print(out, " last=%" PRIu64, m->last_log_index);
        break;
    case RAFT_FORWARD:
    case RAFT_FORWARD_REFUSED:
    case RAFT_MEMBERS:
    case RAFT_MEMBERS_REPLY:
        break;
    }
}

void cluster_print_persist(struct cluster *c, uint64_t id, const struct raft_persist *p)
{
    if (c->trace == NULL) {
        return;
    }
    print(c->trace, "%" PRIu64 " persist %" PRIu64 ": term %" PRIu64 " vote %" PRIu64, id,
          p->sequence, p->current_term, p->voted_for);
    if (p->reset_index != 0) {
        print(c->trace, " reset %" PRIu64 "/%" PRIu64, p->reset_index, p->reset_term);
    }
    if (p->truncate_from != 0) {
        print(c->trace, " truncate %" PRIu64, p->truncate_from);
    }
    if (p->entries != NULL) {
        print_entries(c->trace, p->entries);
    }
    print(c->trace, "%s\n", p->may_not_vote ? " may not vote" : "");
}

const char *cluster_log_text(struct cluster *c, uint64_t id)
{
    struct buffer *text = &c->log_text;
    text->size = 0;
    const struct raft_log *log = &cluster_node(c, id)->raft->log;
    for (uint64_t i = log->trimmed_index + 1; i <= log->last_index; i++) {
        print(text, "%s%" PRIu64, i == log->trimmed_index + 1 ? "" : " ", raft_log_term_at(log, i));
    }
    buffer_u8(text, 0);
    return (const char *)text->data;
}

static void print_half(struct buffer *out, const struct configuration *c, bool incoming)
{
    const char *space = "";
    for (uint64_t id = 1; id <= CLUSTER_NODES_MAX; id++) {
        int at = configuration_find(c, id);
        const struct member *m = at < 0 ? NULL : &c->members[at];
        if (m != NULL && (incoming ? m->voter_incoming : m->voter_outgoing)) {
            print(out, "%s%" PRIu64, space, id);
            space = " ";
        }
    }
}

void cluster_print_configuration(struct buffer *out, const struct configuration *configuration)
{
    print_half(out, configuration, false);
    if (configuration_is_joint(configuration)) {
        print(out, " -> ");
        print_half(out, configuration, true);
    }
    const char *word = " learners";
    for (size_t i = 0; i < configuration->count; i++) {
        const struct member *m = &configuration->members[i];
        if (!m->voter_incoming && !m->voter_outgoing) {
            print(out, "%s %" PRIu64, word, m->id);
            word = "";
        }
    }
    word = " removed";
    for (size_t i = 0; i < configuration->removed_count; i++) {
        print(out, "%s %" PRIu64, word, configuration->removed[i]);
        word = "";
    }
    print(out, "\n");
}

void cluster_print_state(struct cluster *c, struct buffer *out)
{
    for (uint64_t id = 1; id <= c->count; id++) {
        if (!cluster_node(c, id)->up) {
            print(out, "%" PRIu64 " is down\n", id);
            continue;
        }
        struct raft_status s = cluster_status(c, id);
        print(out,
              "%" PRIu64 " %s term=%" PRIu64 " vote=%" PRIu64 " leader=%" PRIu64 " commit=%" PRIu64
              " applied=%" PRIu64 " durable=%" PRIu64 " log=[",
              id, raft_role_text(s.role), s.current_term, s.voted_for, s.leader, s.commit_index,
              s.last_applied, s.durable_index);
        const char *log = cluster_log_text(c, id);
        buffer_append(out, log, strlen(log));
        print(out, "]%s%s\n", s.may_not_vote ? " may not vote" : "", s.removed ? " removed" : "");
    }
}
