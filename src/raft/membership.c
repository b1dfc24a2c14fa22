/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membership.c: who belongs to the cluster. In: CONFIG entries as they are appended and truncated.
 * Out: the configuration in force, quorums over it, its encoding. Raft §6, Thesis §4.
 *
 * A configuration takes effect when its entry is appended, committed or not (Raft §6). The duty that comes
 * with this is to go back when the entry is truncated (trap 38), so uncommitted configurations are kept as
 * a stack.
 *
 * Not here: how one configuration leads to the next (change.c).
 *
 * Invariants
 *  1. The stack is never empty; its indexes ascend; its bottom cannot be rolled back.
 *  2. A quorum is a majority of the incoming and of the outgoing voters; nobody else counts.
 */
#include "raft_internal.h"

/* ---- configurations as values ----------------------------------------------------------------------- */

int configuration_find(const struct configuration *c, uint64_t id)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id == id) {
            return (int)i;
        }
    }
    return -1;
}

int configuration_find_name(const struct configuration *c, const char *name)
{
    int found = -1;
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->members[i].name, name) == 0 && (found < 0 || !c->members[i].leaving)) {
            found = (int)i;
        }
    }
    return found;
}

int configuration_find_declared(const struct configuration *c, uint64_t id)
{
    for (size_t i = 0; i < c->declared_count; i++) {
        if (c->declared[i].id == id) {
            return (int)i;
        }
    }
    return -1;
}

size_t configuration_voter_count(const struct configuration *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        count += c->members[i].voter_incoming ? 1 : 0;
    }
    return count;
}

bool configuration_is_voter(const struct configuration *c, uint64_t id)
{
    int at = configuration_find(c, id);
    return at >= 0 && (c->members[at].voter_incoming || c->members[at].voter_outgoing);
}

bool configuration_is_joint(const struct configuration *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].voter_incoming != c->members[i].voter_outgoing) {
            return true;
        }
    }
    return false;
}

bool configuration_was_removed(const struct configuration *c, uint64_t id)
{
    for (size_t i = 0; i < c->removed_count; i++) {
        if (c->removed[i] == id) {
            return true;
        }
    }
    return false;
}

static bool in_half(const struct member *m, bool incoming)
{
    return incoming ? m->voter_incoming : m->voter_outgoing;
}

static bool half_has_quorum(const struct configuration *c, bool incoming,
                            bool (*yes)(void *context, uint64_t id), void *context)
{
    size_t voters = 0;
    size_t agreeing = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (in_half(&c->members[i], incoming)) {
            voters++;
            agreeing += yes(context, c->members[i].id) ? 1 : 0;
        }
    }
    /* With no voters 0 > 0 is false, as it must be. */
    return agreeing > voters / 2;
}

bool configuration_has_quorum(const struct configuration *c,
                              bool (*yes)(void *context, uint64_t id), void *context)
{
    return half_has_quorum(c, true, yes, context) && half_has_quorum(c, false, yes, context);
}

static uint64_t half_quorum_value(const struct configuration *c, bool incoming,
                                  uint64_t (*value_of)(void *context, uint64_t id), void *context)
{
    uint64_t values[MEMBERS_MAX]; /* descending */
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (!in_half(&c->members[i], incoming)) {
            continue;
        }
        uint64_t value = value_of(context, c->members[i].id);
        size_t at = count++;
        while (at > 0 && values[at - 1] < value) {
            values[at] = values[at - 1];
            at--;
        }
        values[at] = value;
    }
    return count == 0 ? 0 : values[count / 2];
}

uint64_t configuration_quorum_value(const struct configuration *c,
                                    uint64_t (*value_of)(void *context, uint64_t id), void *context)
{
    return raft_min(half_quorum_value(c, true, value_of, context),
                    half_quorum_value(c, false, value_of, context));
}

/*
 * ---- encoding ----
 * format, cluster id, count, per member id, flags and three texts (since format 2 also added_as); count, removed ids.
 * Since format 2: voters, heal_after_s, flags of the wish; count, per declared one id, flags and a text.
 */

enum {
    MEMBER_FLAG_INCOMING = 1,
    MEMBER_FLAG_OUTGOING = 2,
    MEMBER_FLAG_LEAVING = 4,
    MEMBER_FLAGS_ALL = MEMBER_FLAG_INCOMING | MEMBER_FLAG_OUTGOING | MEMBER_FLAG_LEAVING,
    WISH_FLAG_PAUSED = 1,
    DECLARED_FLAG_LEARNER = 1,
    FORMAT_OF_WISH = 2,
};

void configuration_encode(const struct configuration *c, struct buffer *out)
{
    ASSERT(c->count <= MEMBERS_MAX);
    buffer_u8(out, CONFIGURATION_FORMAT);
    buffer_u64(out, c->cluster_id);
    buffer_u8(out, (uint8_t)c->count);
    for (size_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        unsigned flags = (m->voter_incoming ? MEMBER_FLAG_INCOMING : 0U) |
                         (m->voter_outgoing ? MEMBER_FLAG_OUTGOING : 0U) |
                         (m->leaving ? MEMBER_FLAG_LEAVING : 0U);
        buffer_u64(out, m->id);
        buffer_u8(out, (uint8_t)flags);
        buffer_view(out, view_of_text(m->name));
        buffer_view(out, view_of_text(m->peer));
        buffer_view(out, view_of_text(m->client));
        buffer_u64(out, m->added_as);
    }
    ASSERT(c->removed_count <= REMOVED_MAX);
    buffer_u8(out, (uint8_t)c->removed_count);
    for (size_t i = 0; i < c->removed_count; i++) {
        buffer_u64(out, c->removed[i]);
    }
    buffer_u32(out, c->wish.voters);
    buffer_u32(out, c->wish.heal_after_s);
    buffer_u8(out, c->wish.paused ? WISH_FLAG_PAUSED : 0);
    ASSERT(c->declared_count <= DECLARED_MAX);
    buffer_u8(out, (uint8_t)c->declared_count);
    for (size_t i = 0; i < c->declared_count; i++) {
        const struct declared_member *d = &c->declared[i];
        buffer_u64(out, d->id);
        buffer_u8(out, d->learner ? DECLARED_FLAG_LEARNER : 0);
        buffer_view(out, view_of_text(d->peer));
    }
}

/* A text of at most size_max octets without a zero octet into a zeroed array one larger. */
static bool read_text(struct reader *in, char *out, size_t size_max)
{
    struct view text = reader_view(in);
    if (in->failed || text.size > size_max) {
        return false;
    }
    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL) {
        return false;
    }
    if (text.size > 0) {
        memcpy(out, text.data, text.size);
    }
    out[text.size] = 0;
    return true;
}

static enum err decode_member(struct reader *in, uint8_t format, struct configuration *c)
{
    struct member m = {.id = reader_u64(in)};
    uint8_t flags = reader_u8(in);
    bool texts = read_text(in, m.name, MEMBER_NAME_MAX) &&
                 read_text(in, m.peer, MEMBER_ADDRESS_MAX) &&
                 read_text(in, m.client, MEMBER_ADDRESS_MAX);
    m.added_as = texts && format >= FORMAT_OF_WISH ? reader_u64(in) : 0;
    if (in->failed) {
        return ERR_TRUNCATED;
    }
    if (!texts || m.id == 0 || m.name[0] == 0) {
        return ERR_MALFORMED;
    }
    m.voter_incoming = (flags & MEMBER_FLAG_INCOMING) != 0;
    m.voter_outgoing = (flags & MEMBER_FLAG_OUTGOING) != 0;
    m.leaving = (flags & MEMBER_FLAG_LEAVING) != 0;
    if ((flags & ~(unsigned)MEMBER_FLAGS_ALL) != 0 ||
        (m.leaving && (m.voter_incoming || !m.voter_outgoing))) {
        return ERR_MALFORMED;
    }
    int namesake = configuration_find_name(c, m.name);
    bool replaced = namesake >= 0 && c->members[namesake].leaving != m.leaving;
    if (configuration_find(c, m.id) >= 0 || (namesake >= 0 && !replaced)) {
        return ERR_MALFORMED;
    }
    c->members[c->count++] = m;
    return OK;
}

static enum err decode_removed(struct reader *in, struct configuration *c)
{
    size_t count = reader_u8(in);
    if (!in->failed && count > REMOVED_MAX) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < count && !in->failed; i++) {
        c->removed[i] = reader_u64(in);
        if (!in->failed && (c->removed[i] == 0 || configuration_find(c, c->removed[i]) >= 0)) {
            return ERR_MALFORMED;
        }
    }
    c->removed_count = count;
    return in->failed ? ERR_TRUNCATED : OK;
}

static enum err decode_wish(struct reader *in, struct configuration *c)
{
    c->wish.voters = reader_u32(in);
    c->wish.heal_after_s = reader_u32(in);
    uint8_t flags = reader_u8(in);
    if (in->failed) {
        return ERR_TRUNCATED;
    }
    if (c->wish.voters > MEMBERS_MAX || (flags & ~(unsigned)WISH_FLAG_PAUSED) != 0) {
        return ERR_MALFORMED;
    }
    c->wish.paused = flags != 0;
    return OK;
}

static enum err decode_declared(struct reader *in, struct configuration *c)
{
    size_t count = reader_u8(in);
    if (!in->failed && count > DECLARED_MAX) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct declared_member d = {.id = reader_u64(in)};
        uint8_t flags = reader_u8(in);
        bool text = read_text(in, d.peer, MEMBER_ADDRESS_MAX);
        if (in->failed) {
            break;
        }
        if (!text || d.id == 0 || d.peer[0] == 0 || configuration_find(c, d.id) >= 0 ||
            configuration_find_declared(c, d.id) >= 0 ||
            (flags & ~(unsigned)DECLARED_FLAG_LEARNER) != 0) {
            return ERR_MALFORMED;
        }
        d.learner = flags != 0;
        c->declared[c->declared_count++] = d;
    }
    return in->failed ? ERR_TRUNCATED : OK;
}

/* Before there was a wish: as many voters as there are, nobody replaced in haste. */
static void default_wish(struct configuration *c)
{
    c->wish.voters = (uint32_t)configuration_voter_count(c);
    c->wish.heal_after_s = WISH_HEAL_AFTER_S;
}

enum err configuration_decode(struct view in, struct configuration *out)
{
    enum err error = OK;
    struct configuration *c = mem_zalloc(sizeof(*c));
    struct reader reader = {.data = in.data, .size = in.size};
    uint8_t format = reader_u8(&reader);
    c->cluster_id = reader_u64(&reader);
    size_t count = reader_u8(&reader);
    if (format > CONFIGURATION_FORMAT) {
        error = ERR_NEWER_FORMAT;
        goto out;
    }
    if (reader.failed) {
        error = ERR_TRUNCATED;
        goto out;
    }
    if (format == 0 || count > MEMBERS_MAX) {
        error = ERR_MALFORMED;
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        error = decode_member(&reader, format, c);
        if (error != OK) {
            goto out;
        }
    }
    error = decode_removed(&reader, c);
    if (error == OK && format < FORMAT_OF_WISH) {
        default_wish(c);
    } else if (error == OK) {
        error = decode_wish(&reader, c);
        error = error == OK ? decode_declared(&reader, c) : error;
    }
    if (error != OK) {
        goto out;
    }
    if (reader.size != 0) {
        error = ERR_MALFORMED;
        goto out;
    }
    *out = *c;
out:
    mem_free(c);
    return error;
}

/* ---- the stack ------------------------------------------------------------------------------------------ */

static void push(struct raft *r, uint64_t index, const struct configuration *c)
{
    ARRAY_RESERVE(r->configurations, r->configuration_capacity, r->configuration_count + 1);
    r->configurations[r->configuration_count++] =
        (struct configuration_at){.index = index, .configuration = mem_dup(c, sizeof(*c))};
}

/* What the applied entries say cannot be rolled back; what the tail says can. A damaged log may end below
 * what was applied and get those entries once more: so there the base counts as lying before all of it. */
void membership_init(struct raft *r, const struct raft_boot *boot)
{
    struct configuration *c = mem_zalloc(sizeof(*c));
    if (boot->configuration != NULL && boot->configuration->count > 0) {
        uint64_t sure = boot->may_not_vote ? boot->trimmed_index : boot->applied_index;
        push(r, raft_min(boot->configuration_index, sure), boot->configuration);
    } else {
        push(r, 0, c);
    }
    for (size_t i = 0; boot->tail != NULL && i < boot->tail->count; i++) {
        const struct entry *e = &boot->tail->items[i];
        if (e->type == ENTRY_CONFIG) {
            enum err error = configuration_decode(e->data, c);
            ASSERT(error == OK); /* it was decoded before it was appended */
            push(r, e->index, c);
        }
    }
    mem_free(c);
}

void membership_release(struct raft *r)
{
    for (size_t i = 0; i < r->configuration_count; i++) {
        mem_free(r->configurations[i].configuration);
    }
    mem_free(r->configurations);
    r->configurations = NULL;
    r->configuration_count = 0;
    r->configuration_capacity = 0;
}

const struct configuration *membership_current(const struct raft *r)
{
    return r->configurations[r->configuration_count - 1].configuration;
}

uint64_t membership_current_index(const struct raft *r)
{
    return r->configurations[r->configuration_count - 1].index;
}

const struct configuration *membership_settled(const struct raft *r)
{
    return r->configurations[0].configuration;
}

/* A server must be able to be elected by a configuration it is not part of, as long as that one is not
 * committed: it may be the only one whose log is long enough (Thesis §4.2.2). */
bool membership_ever_votes(const struct raft *r)
{
    for (size_t i = 0; i < r->configuration_count; i++) {
        if (configuration_is_voter(r->configurations[i].configuration, r->id)) {
            return true;
        }
    }
    return false;
}

void membership_append(struct raft *r, uint64_t index, const struct configuration *c)
{
    ASSERT(index > membership_current_index(r));
    push(r, index, c);
    if (configuration_find(c, r->id) >= 0) {
        r->told_removed = false;
    }
    replication_configuration_changed(r);
}

void membership_truncate(struct raft *r, uint64_t from)
{
    bool changed = false;
    while (r->configuration_count > 1 && membership_current_index(r) >= from) {
        mem_free(r->configurations[--r->configuration_count].configuration);
        changed = true;
    }
    if (changed) {
        replication_configuration_changed(r);
    }
}

void membership_commit(struct raft *r)
{
    size_t settled = 0;
    while (settled + 1 < r->configuration_count &&
           r->configurations[settled + 1].index <= r->commit_index) {
        mem_free(r->configurations[settled].configuration);
        settled++;
    }
    if (settled > 0) {
        r->configuration_count -= settled;
        memmove(r->configurations, r->configurations + settled,
                r->configuration_count * sizeof(*r->configurations));
    }
}

static void append_entry(struct raft *r, uint64_t term, const struct configuration *c)
{
    struct buffer data = {0};
    configuration_encode(c, &data);
    struct entry e = {.index = r->log.last_index + 1,
                      .term = term,
                      .type = ENTRY_CONFIG,
                      .data = view_of(data.data, data.size)};
    raft_log_append(&r->log, &e);
    buffer_free(&data);
    membership_append(r, e.index, c);
}

void membership_propose(struct raft *r, const struct configuration *c)
{
    ASSERT(r->role == RAFT_LEADER);
    append_entry(r, r->current_term, c);
}

bool membership_is_removed(const struct raft *r)
{
    return r->told_removed || configuration_was_removed(membership_settled(r), r->id);
}

void membership_reset(struct raft *r, uint64_t index, const struct configuration *c)
{
    size_t gone = 0;
    while (gone < r->configuration_count && r->configurations[gone].index <= index) {
        mem_free(r->configurations[gone++].configuration);
    }
    /* Those behind the log's end went with it. */
    while (r->configuration_count > gone && membership_current_index(r) > r->log.last_index) {
        mem_free(r->configurations[--r->configuration_count].configuration);
    }
    ASSERT(gone > 0); /* the bottom lay at or below the commit index */
    r->configurations[0] =
        (struct configuration_at){.index = index, .configuration = mem_dup(c, sizeof(*c))};
    memmove(&r->configurations[1], &r->configurations[gone],
            (r->configuration_count - gone) * sizeof(*r->configurations));
    r->configuration_count -= gone - 1;
    if (configuration_find(membership_current(r), r->id) >= 0) {
        r->told_removed = false;
    }
}

/*
 * The first entry of a cluster's log: no election precedes it, because only one node ever writes it
 * (design: all listed members said they were empty). Term 1 leaves room for no earlier leader.
 */
void membership_bootstrap(struct raft *r, const struct configuration *c)
{
    ASSERT(r->log.last_index == 0);
    ASSERT(c->count > 0);
    ASSERT(c->cluster_id != 0);
    if (r->current_term == 0) {
        r->current_term = 1;
        r->hard_state_dirty = true;
    }
    append_entry(r, 1, c);
    /* Nobody else can lead this cluster: no reason to wait for a timeout. */
    r->election_deadline_us = r->now_us;
}

uint64_t raft_term_at(const struct raft *r, uint64_t index)
{
    bool there = index > r->log.trimmed_index && index <= r->log.last_index;
    return there ? raft_log_term_at(&r->log, index) : 0;
}

const struct configuration *raft_configuration(const struct raft *r)
{
    return membership_current(r);
}

const struct configuration *raft_settled_configuration(const struct raft *r)
{
    return membership_settled(r);
}
