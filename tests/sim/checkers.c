/* SPDX-License-Identifier: Apache-2.0 */
/* checkers.c: see checkers.h, whose numbers the comments below use. */
#include "checkers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void checks_fail(struct checks *c, size_t node, const char *format, ...)
{
    char text[CHECKS_TEXT_MAX];
    int used = snprintf(text, sizeof(text), "n%zu: ", node + 1);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
    va_end(arguments);
    c->fail(c->context, text);
}

/* ---- logs as terms ---------------------------------------------------------------------------------- */

static uint64_t term_at(const struct checks_log *log, uint64_t index)
{
    return index == 0 || index > log->count ? 0 : log->terms[index - 1];
}

static void log_cut(struct checks_log *log, uint64_t truncate_from)
{
    if (truncate_from != 0 && truncate_from <= log->count) {
        log->count = (size_t)truncate_from - 1;
    }
}

static void log_add(struct checks_log *log, uint64_t term)
{
    ARRAY_RESERVE(log->terms, log->capacity, log->count + 1);
    log->terms[log->count++] = term;
}

static void log_copy(struct checks_log *to, const struct checks_log *from)
{
    ARRAY_RESERVE(to->terms, to->capacity, from->count + 1);
    if (from->count > 0) {
        memcpy(to->terms, from->terms, from->count * sizeof(to->terms[0]));
    }
    to->count = from->count;
}

/* The log begins anew behind a committed entry; what follows it and agrees with it stays. */
static void log_begin_anew(const struct model *m, struct checks_log *log, uint64_t index)
{
    ASSERT(index <= m->count);
    if (term_at(log, index) != m->entries[index - 1].term) {
        log_cut(log, index);
    }
    while (log->count < index) {
        log_add(log, 0);
    }
    for (uint64_t i = 1; i <= index; i++) {
        log->terms[i - 1] = m->entries[i - 1].term;
    }
}

void checks_start(struct checks *c, size_t node_count, checks_fail_fn *failed, void *context)
{
    ASSERT(node_count <= CHECKS_NODES_MAX);
    *c = (struct checks){.node_count = node_count, .fail = failed, .context = context};
    model_start(&c->model);
}

static void persists_clear(struct checks_node *n)
{
    for (size_t i = 0; i < n->persist_count; i++) {
        mem_free(n->persists[n->persist_first + i].terms);
        mem_free(n->persists[n->persist_first + i].contents);
    }
    n->persist_first = 0;
    n->persist_count = 0;
}

void checks_free(struct checks *c)
{
    for (size_t i = 0; i < CHECKS_NODES_MAX; i++) {
        persists_clear(&c->nodes[i]);
        mem_free(c->nodes[i].persists);
        mem_free(c->nodes[i].told.terms);
        mem_free(c->nodes[i].durable.terms);
        mem_free(c->nodes[i].configs.indexes);
    }
    for (size_t i = 0; i < c->grave_count; i++) {
        mem_free(c->graves[i].durable.terms);
    }
    map_free(&c->removed);
    map_free(&c->leaders);
    map_free(&c->votes);
    map_free(&c->content);
    map_free(&c->hashes);
    model_free(&c->model);
}

/* ---- start and end of a node -------------------------------------------------------------------------- */

/* What a persist makes of a log. */
static void log_take(const struct model *m, struct checks_log *log, const struct checks_persist *p)
{
    log_cut(log, p->truncate_from);
    if (p->reset_index != 0) {
        log_begin_anew(m, log, p->reset_index);
    }
    for (size_t i = 0; i < p->count; i++) {
        log_add(log, p->terms[i]);
    }
}

/* What was said to be durable, and what the disk took behind it: entries and row are one transaction. */
static void expected_log(const struct model *m, const struct checks_node *n,
                         const struct log_recovered *found, struct checks_log *out)
{
    log_copy(out, &n->durable);
    for (size_t k = 0; k < n->persist_count; k++) {
        const struct checks_persist *p = &n->persists[n->persist_first + k];
        if (p->sequence <= found->persist_sequence) {
            log_take(m, out, p);
        }
    }
}

static void recovered_log(const struct model *m, const struct checks_log *expected,
                          const struct log_recovered *found, struct checks_log *out)
{
    /* The terms of what was trimmed are not on the disk. A damaged log takes kv.db's word for where it begins (10). */
    log_copy(out, expected);
    if (found->damaged && found->trimmed_index > 0 && found->trimmed_index <= m->count) {
        log_begin_anew(m, out, found->trimmed_index);
    }
    log_cut(out, found->trimmed_index + 1);
    for (size_t i = 0; i < found->term_run_count; i++) {
        uint64_t last = i + 1 < found->term_run_count ? found->term_runs[i + 1].first_index - 1
                                                      : found->last_log_index;
        while (out->count < last) {
            log_add(out, found->term_runs[i].term);
        }
    }
}

/* 8 */
static void check_recovered(struct checks *c, size_t node, const struct log_recovered *found,
                            const struct checks_log *expected, const struct checks_log *log)
{
    struct checks_node *n = &c->nodes[node];
    if (found->damaged) {
        if (!n->excused) {
            checks_fail(c, node, "calls its log damaged although nothing happened to it: %s",
                        found->damage_text);
        }
        return;
    }
    if (n->start_refused && n->excused && found->may_not_vote) {
        return; /* the start that was refused has found the damage and written so */
    }
    if (log->count < found->last_log_index) {
        checks_fail(c, node, "term runs of the log end at %zu, the log at %" PRIu64, log->count,
                    found->last_log_index);
    }
    if (found->current_term < n->durable_term ||
        (found->current_term == n->durable_term && n->durable_vote != 0 &&
         found->voted_for != n->durable_vote)) {
        checks_fail(c, node,
                    "the disk forgot term %" PRIu64 " vote %" PRIx64 " and has term %" PRIu64
                    " vote %" PRIx64,
                    n->durable_term, n->durable_vote, found->current_term, found->voted_for);
    }
    if (found->persist_sequence < n->durable_sequence) {
        checks_fail(c, node, "the disk is at persist %" PRIu64 ", %" PRIu64 " was durable",
                    found->persist_sequence, n->durable_sequence);
    }
    if (found->trimmed_index > expected->count || found->trimmed_index > c->model.count) {
        checks_fail(c, node,
                    "its log begins behind entry %" PRIu64 "; it had %zu, committed are %zu",
                    found->trimmed_index, expected->count, c->model.count);
        return;
    }
    for (uint64_t i = 1; i <= found->trimmed_index; i++) {
        if (expected->terms[i - 1] != c->model.entries[i - 1].term) {
            checks_fail(c, node,
                        "trimmed entry %" PRIu64 " of term %" PRIu64
                        ", which is not the committed one",
                        i, expected->terms[i - 1]);
            return;
        }
    }
    for (uint64_t i = 1; i <= expected->count || i <= log->count; i++) {
        if (term_at(log, i) != term_at(expected, i)) {
            checks_fail(c, node,
                        "the disk forgot entry %" PRIu64 " of term %" PRIu64 " (now %" PRIu64 ")",
                        i, term_at(expected, i), term_at(log, i));
            return;
        }
    }
}

/* 10 */
static void check_kv_meta(struct checks *c, size_t node, const struct kv_meta *meta)
{
    const struct model *m = &c->model;
    if (meta->applied_index == 0) {
        if (meta->revision != 1) {
            checks_fail(c, node, "an empty kv.db has revision %" PRId64, meta->revision);
        }
        return;
    }
    if (meta->applied_index > m->count) {
        checks_fail(c, node, "kv.db holds index %" PRIu64 ", but only %zu are committed",
                    meta->applied_index, m->count);
        return;
    }
    const struct model_entry *e = &m->entries[meta->applied_index - 1];
    if (meta->revision != e->revision || meta->applied_term != e->term) {
        checks_fail(c, node,
                    "kv.db at index %" PRIu64 " has revision %" PRId64 " of term %" PRIu64
                    ", the log says %" PRId64 " of term %" PRIu64,
                    meta->applied_index, meta->revision, meta->applied_term, e->revision, e->term);
    }
}

void checks_node_started(struct checks *c, size_t node, const struct node_stores *stores)
{
    struct checks_node *n = &c->nodes[node];
    const struct log_recovered *found = &stores->recovered;
    if (n->member_id != 0 && n->member_id != stores->identity.member_id &&
        n->durable_sequence > 0) {
        checks_fail(c, node, "woke up with another identity");
    }
    n->member_id = stores->identity.member_id;

    struct checks_log expected = {0};
    struct checks_log log = {0};
    expected_log(&c->model, n, found, &expected);
    recovered_log(&c->model, &expected, found, &log);
    check_recovered(c, node, found, &expected, &log);
    check_kv_meta(c, node, &stores->meta);

    n->damaged_ever = n->damaged_ever || found->damaged;
    n->excused = n->excused && (found->damaged || found->may_not_vote);
    n->start_refused = false;
    log_copy(&n->durable, &log);
    log_copy(&n->told, &log);
    mem_free(expected.terms);
    mem_free(log.terms);
    n->durable_term = found->current_term;
    n->durable_vote = found->voted_for;
    n->durable_sequence = found->persist_sequence;
    persists_clear(n);
    n->handed_index = stores->meta.applied_index;
    n->configs.count = 0;
    n->configs.base = stores->meta.applied_index;
    for (size_t i = 0; stores->tail != NULL && i < stores->tail->count; i++) {
        if (stores->tail->items[i].type == ENTRY_CONFIG) {
            checks_configs_add(&n->configs, stores->tail->items[i].index);
        }
    }
    n->seen_any = false;
    n->fresh_count = 0;
    n->asked_or_gave_vote = false;
    n->running = true;
}

void checks_node_down(struct checks *c, size_t node)
{
    c->nodes[node].running = false;
}

void checks_wiped(struct checks *c, size_t node, uint64_t now_us)
{
    struct checks_node *n = &c->nodes[node];
    if (n->member_id != 0) {
        ASSERT(c->grave_count < CHECKS_GRAVES_MAX);
        struct checks_grave *g = &c->graves[c->grave_count++];
        *g = (struct checks_grave){
            .member_id = n->member_id, .at_us = now_us, .damaged_ever = n->damaged_ever};
        log_copy(&g->durable, &n->durable);
    }
    persists_clear(n);
    mem_free(n->persists);
    mem_free(n->told.terms);
    mem_free(n->durable.terms);
    mem_free(n->configs.indexes);
    *n = (struct checks_node){0};
}

void checks_excuse(struct checks *c, size_t node)
{
    c->nodes[node].excused = true;
}

/* ---- messages ------------------------------------------------------------------------------------------ */

/* 2. Of what reached a disk: a founder that crashes before its founding entry is durable forgets it, and
 * has told nobody, so it may found again. */
static void check_log_matching(struct checks *c, size_t node, uint64_t index, uint64_t term,
                               uint64_t content)
{
    uint64_t *known = map_get(&c->content, index, term);
    if (known == NULL) {
        map_put(&c->content, index, term, content);
    } else if (*known != content) {
        checks_fail(c, node, "Log Matching: entry %" PRIu64 " of term %" PRIu64 " has two contents",
                    index, term);
    }
}

/* 0: cannot be read. */
static uint64_t cluster_of(const struct entry *e)
{
    struct configuration *c = mem_alloc(sizeof(*c));
    uint64_t id = configuration_decode(e->data, c) == OK ? c->cluster_id : 0;
    mem_free(c);
    return id;
}

static void on_persist(struct checks *c, size_t node, const struct raft_persist *persist)
{
    struct checks_node *n = &c->nodes[node];
    uint64_t reset = persist->reset_index;
    if (reset != 0) { /* 13 */
        if (reset > c->model.count || c->model.entries[reset - 1].term != persist->reset_term ||
            reset <= n->handed_index) {
            checks_fail(c, node,
                        "begins its log anew behind entry %" PRIu64 " of term %" PRIu64
                        ", has handed out %" PRIu64 ", committed are %zu",
                        reset, persist->reset_term, n->handed_index, c->model.count);
            return;
        }
    }
    if (persist->truncate_from != 0) {
        for (uint64_t i = persist->truncate_from; i <= n->told.count && i <= c->model.count; i++) {
            if (n->told.terms[i - 1] == c->model.entries[i - 1].term) {
                checks_fail(c, node, "truncates committed entry %" PRIu64, i); /* 7 */
                break;
            }
        }
        log_cut(&n->told, persist->truncate_from);
        checks_configs_cut(&n->configs, persist->truncate_from);
    }
    if (reset != 0) {
        log_begin_anew(&c->model, &n->told, reset);
        checks_configs_base(&n->configs, reset);
        checks_configs_cut(&n->configs, n->told.count + 1);
    }
    struct checks_persist p = {.sequence = persist->sequence,
                               .term = persist->current_term,
                               .vote = persist->voted_for,
                               .truncate_from = persist->truncate_from,
                               .reset_index = reset};
    if (persist->entries != NULL) {
        p.first_index = persist->entries->first_index;
        p.count = persist->entries->count;
        p.terms = mem_alloc(p.count * sizeof(p.terms[0]));
        p.contents = mem_alloc(p.count * sizeof(p.contents[0]));
        if (p.first_index != n->told.count + 1) {
            checks_fail(c, node, "persists entry %" PRIu64 " behind entry %zu", p.first_index,
                        n->told.count);
        }
        for (size_t i = 0; i < p.count; i++) {
            const struct entry *e = &persist->entries->items[i];
            p.terms[i] = e->term;
            p.contents[i] = model_checksum(e) * 31 + term_at(&n->told, e->index - 1);
            log_add(&n->told, e->term);
            if (e->type == ENTRY_CONFIG) {
                checks_configs_add(&n->configs, e->index);
                p.cluster_id = cluster_of(e);
            }
        }
    }
    if (n->persist_count == 0) {
        n->persist_first = 0;
    }
    ASSERT(n->persist_count < CHECKS_PERSISTS_MAX);
    ARRAY_RESERVE(n->persists, n->persist_capacity, n->persist_first + n->persist_count + 1);
    n->persists[n->persist_first + n->persist_count++] = p;
}

static void on_durable(struct checks *c, size_t node, uint64_t sequence)
{
    struct checks_node *n = &c->nodes[node];
    while (n->persist_count > 0 && n->persists[n->persist_first].sequence <= sequence) {
        struct checks_persist *p = &n->persists[n->persist_first];
        log_take(&c->model, &n->durable, p);
        if (p->reset_index != 0) {
            n->handed_index = p->reset_index;
            c->snapshots_installed++;
        }
        for (size_t i = 0; i < p->count; i++) {
            check_log_matching(c, node, p->first_index + i, p->terms[i], p->contents[i]);
        }
        if (p->cluster_id != 0) {
            checks_members_durable(c, node, p->cluster_id);
        }
        n->durable_term = p->term;
        n->durable_vote = p->vote;
        n->durable_sequence = p->sequence;
        mem_free(p->terms);
        mem_free(p->contents);
        n->persist_first++;
        n->persist_count--;
    }
}

/*
 * 3, for leaders elected before the commit was seen. An entry of an earlier term may have been committed by a later
 * one only, and leaders between need not have it. The committing leader's term is at most this node's, which is
 * known when its batch is over.
 */
static void check_leaders_hold(struct checks *c, size_t node, uint64_t term)
{
    struct checks_node *from = &c->nodes[node];
    for (; from->fresh_count > 0; from->fresh_count--) {
        uint64_t index = from->fresh_last + 1 - from->fresh_count;
        uint64_t entry_term = c->model.entries[index - 1].term;
        c->model.entries[index - 1].commit_term = term;
        if (index > c->commit_greatest) { /* 6 */
            checks_fail(c, node, "hands out entry %" PRIu64 ", which no leader has committed",
                        index);
        }
        for (size_t i = 0; i < c->node_count; i++) {
            const struct checks_node *n = &c->nodes[i];
            if (n->running && n->seen_any && n->seen.role == RAFT_LEADER &&
                n->seen.current_term > term && term_at(&n->told, index) != entry_term) {
                checks_fail(c, i,
                            "Leader Completeness: leader of term %" PRIu64
                            " lacks committed entry %" PRIu64 " of term %" PRIu64,
                            n->seen.current_term, index, entry_term);
            }
        }
    }
}

static void on_apply(struct checks *c, size_t node, const struct entries *entries)
{
    struct checks_node *n = &c->nodes[node];
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *e = &entries->items[i];
        if (e->index != n->handed_index + 1) {
            checks_fail(c, node, "hands out entry %" PRIu64 " after %" PRIu64, e->index,
                        n->handed_index);
        }
        n->handed_index = e->index;
        if (term_at(&n->durable, e->index) != e->term) {
            checks_fail(c, node, "hands out entry %" PRIu64 " which is not durable here", e->index);
        }
        char why[MODEL_TEXT_MAX];
        bool is_new = false;
        if (!model_committed(&c->model, e, &is_new, why)) {
            checks_fail(c, node, "%s", why);
            return;
        }
        if (is_new) {
            checks_members_committed(c, node, e);
            n->fresh_last = e->index;
            n->fresh_count++;
            if (c->committed != NULL) {
                c->committed(c->context, e);
            }
        }
    }
}

/* 5 */
static void on_peer_send(struct checks *c, size_t node, const struct raft_message *m)
{
    struct checks_node *n = &c->nodes[node];
    bool binds = m->type == RAFT_REQUEST_VOTE || m->type == RAFT_VOTE_REPLY ||
                 m->type == RAFT_APPEND_ENTRIES || m->type == RAFT_APPEND_REPLY;
    if (binds && m->term > n->durable_term) {
        checks_fail(c, node,
                    "makes term %" PRIu64 " known (message %d) while its disk has %" PRIu64,
                    m->term, (int)m->type, n->durable_term);
    }
    if ((m->type == RAFT_VOTE_REPLY && m->granted) || m->type == RAFT_REQUEST_VOTE) {
        uint64_t candidate = m->type == RAFT_REQUEST_VOTE ? n->member_id : m->to;
        n->asked_or_gave_vote = true;
        if (n->durable_term == m->term && n->durable_vote != candidate) {
            checks_fail(c, node,
                        "says it votes for %" PRIx64 " in term %" PRIu64 ", its disk says %" PRIx64,
                        candidate, m->term, n->durable_vote);
        }
        uint64_t *before = map_get(&c->votes, n->member_id, m->term);
        if (before == NULL) {
            map_put(&c->votes, n->member_id, m->term, candidate);
        } else if (*before != candidate) {
            checks_fail(c, node, "votes twice in term %" PRIu64, m->term);
        }
    }
    if (m->type == RAFT_APPEND_REPLY && m->granted && m->match_index > n->durable.count) {
        checks_fail(c, node, "acknowledges entry %" PRIu64 " while its disk ends at %zu",
                    m->match_index, n->durable.count);
    }
}

void checks_sent(struct checks *c, size_t node, const struct msg *m)
{
    switch (m->kind) {
    case LOG_PERSIST:
        on_persist(c, node, &((const struct log_persist *)m)->persist);
        break;
    case RAFT_DURABLE:
        on_durable(c, node, ((const struct raft_durable *)m)->sequence);
        break;
    case APPLY_ENTRIES:
        on_apply(c, node, ((const struct apply_entries *)m)->entries);
        break;
    case PEER_SEND:
        on_peer_send(c, node, &((const struct peer_send *)m)->message);
        break;
    default: /* kinds of five enums: the rest says nothing the paper limits */
        break;
    }
}

/* ---- states ------------------------------------------------------------------------------------------------ */

static void check_new_leader(struct checks *c, size_t node, const struct raft_status *s)
{
    const struct checks_node *n = &c->nodes[node];
    uint64_t *leader = map_get(&c->leaders, s->current_term, 0);
    if (leader == NULL) {
        map_put(&c->leaders, s->current_term, 0, s->id);
    } else if (*leader != s->id) {
        checks_fail(c, node, "Election Safety: term %" PRIu64 " has two leaders",
                    s->current_term); /* 1 */
    }
    checks_members_elected(c, node, s);
    const struct model *m = &c->model;
    for (size_t i = m->count; i > 0; i--) { /* 3 */
        if (m->entries[i - 1].commit_term != 0 && m->entries[i - 1].commit_term < s->current_term) {
            if (term_at(&n->told, i) != m->entries[i - 1].term) {
                checks_fail(c, node,
                            "Leader Completeness: the new leader of term %" PRIu64
                            " lacks committed entry %zu of term %" PRIu64,
                            s->current_term, i, m->entries[i - 1].term);
            }
            break;
        }
    }
}

void checks_raft_ran(struct checks *c, size_t node, const struct raft *core)
{
    struct checks_node *n = &c->nodes[node];
    struct raft_status s;
    raft_status(core, &s);
    checks_members_ran(c, node, core, &s);
    check_leaders_hold(c, node, s.current_term);
    if (n->seen_any) {
        if (s.current_term < n->seen.current_term) {
            checks_fail(c, node, "its term falls from %" PRIu64 " to %" PRIu64,
                        n->seen.current_term, s.current_term);
        }
        if (s.commit_index < n->seen.commit_index) {
            checks_fail(c, node, "its commit index falls from %" PRIu64 " to %" PRIu64,
                        n->seen.commit_index, s.commit_index);
        }
    }
    /* 12. Term 0: not even handed to the own disk yet, so it is of the current term. */
    bool led = n->seen_any && n->seen.role == RAFT_LEADER && n->seen.current_term == s.current_term;
    uint64_t commit_term = term_at(&n->told, s.commit_index);
    if (led && s.role == RAFT_LEADER && s.commit_index > n->seen.commit_index &&
        commit_term != s.current_term && commit_term != 0) {
        checks_fail(c, node,
                    "the leader of term %" PRIu64 " commits entry %" PRIu64 " of term %" PRIu64,
                    s.current_term, s.commit_index, commit_term);
    }
    if (s.role == RAFT_LEADER &&
        (!n->seen_any || n->seen.role != RAFT_LEADER || n->seen.current_term != s.current_term)) {
        check_new_leader(c, node, &s);
    }
    if (s.may_not_vote && n->asked_or_gave_vote) {
        checks_fail(c, node, "votes or campaigns while its log is damaged"); /* 9 */
    }
    if (!s.may_not_vote) {
        n->excused = n->excused && n->seen_any && n->seen.may_not_vote ? false : n->excused;
    }
    n->asked_or_gave_vote = false;
    n->seen = s;
    n->seen_any = true;
    if (s.current_term > c->greatest_term) {
        c->greatest_term = s.current_term;
    }
}

void checks_state(struct checks *c, size_t node, const struct kv *kv)
{
    uint64_t index = kv_applied_index(kv);
    if (index == 0 || index > c->model.count) {
        return;
    }
    const struct model_entry *e = &c->model.entries[index - 1];
    if (kv_revision(kv) != e->revision || kv_compact_revision(kv) != e->compact_revision ||
        kv_cluster_time_us(kv) != e->cluster_time_us || kv_lease_count(kv) != e->lease_count) {
        checks_fail(c, node,
                    "at index %" PRIu64 " it has revision %" PRId64 ", compacted %" PRId64
                    ", cluster time %" PRIu64 ", %" PRIu64 " leases; should be %" PRId64
                    ", %" PRId64 ", %" PRIu64 ", %zu",
                    index, kv_revision(kv), kv_compact_revision(kv), kv_cluster_time_us(kv),
                    kv_lease_count(kv), e->revision, e->compact_revision, e->cluster_time_us,
                    e->lease_count);
    }
}

void checks_hash(struct checks *c, size_t node, uint64_t applied_index, uint64_t hash)
{
    uint64_t *known = map_get(&c->hashes, applied_index, 0);
    if (known == NULL) {
        map_put(&c->hashes, applied_index, 0, hash);
    } else if (*known != hash) {
        checks_fail(c, node, "the state at index %" PRIu64 " differs from another node's",
                    applied_index);
    }
}
