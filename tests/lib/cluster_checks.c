/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_checks.c: what must hold over all nodes of the fake cluster (Raft figure 3): Election Safety, Leader
 * Completeness, Log Matching and State Machine Safety, the latter by entries and by the table they make.
 */
#include "cluster_internal.h"

static uint64_t digest_of(const struct entry *e)
{
    return checksum64(e->data) ^ (e->origin * 31 + e->request_id * 131 + (uint64_t)e->type + 1);
}

/* State Machine Safety: all agree on what stands at an index. digest 0: content not at hand. */
static void agree(struct cluster *c, uint64_t index, uint64_t term, uint64_t digest)
{
    while (c->committed_count < index) {
        ARRAY_RESERVE(c->committed, c->committed_capacity, c->committed_count + 1);
        c->committed[c->committed_count++] = (struct cluster_committed){0};
    }
    struct cluster_committed *known = &c->committed[index - 1];
    ASSERT(known->term == 0 || known->term == term);
    ASSERT(known->digest == 0 || digest == 0 || known->digest == digest);
    known->term = term;
    known->digest = digest == 0 ? known->digest : digest;
}

/* State Machine Safety by its result: whoever has applied up to an index has the same table, also if a part of it
 * came as a snapshot. */
void cluster_table_agrees(struct cluster *c, const struct cluster_table *t)
{
    struct cluster_committed *known = &c->committed[t->index - 1];
    ASSERT(known->term == t->term);
    ASSERT(known->table_digest == 0 || t->digest == 0 || known->table_digest == t->digest);
    known->table_digest = t->digest == 0 ? known->table_digest : t->digest;
}

static void table_apply(struct cluster *c, struct cluster_table *t, const struct entry *e)
{
    /* A test may have said that a node has applied so much, without what it was: digest 0, not known. */
    bool known = e->index == t->index + 1 && (t->index == 0 || t->digest != 0);
    t->index = e->index;
    t->term = e->term;
    t->digest = known ? (t->digest * 31 + digest_of(e)) | 1 : 0;
    if (e->type == ENTRY_CONFIG) {
        enum err error = configuration_decode(e->data, &t->configuration);
        ASSERT(error == OK);
        t->configuration_index = e->index;
    }
    cluster_table_agrees(c, t);
}

void cluster_applied(struct cluster *c, struct cluster_node *n, const struct entries *block)
{
    for (size_t i = 0; i < block->count; i++) {
        const struct entry *e = &block->items[i];
        ASSERT(e->index == n->applied_index + 1);
        agree(c, e->index, e->term, digest_of(e));
        n->applied_index = e->index;
        table_apply(c, n->table, e);
    }
}

static void check_leader(struct cluster *c, struct cluster_node *n)
{
    uint64_t term = n->raft->current_term;
    if (n->raft->role != RAFT_LEADER || n->leader_term_seen == term) {
        return;
    }
    n->leader_term_seen = term;
    for (size_t i = 0; i < c->leadership_count; i++) {
        /* Election Safety */
        ASSERT(c->leaderships[i].term != term || c->leaderships[i].leader == n->id);
    }
    ARRAY_RESERVE(c->leaderships, c->leadership_capacity, c->leadership_count + 1);
    c->leaderships[c->leadership_count++] =
        (struct cluster_leadership){.term = term, .leader = n->id};
    /* Leader Completeness */
    for (uint64_t i = n->raft->log.trimmed_index + 1; i <= c->committed_count; i++) {
        if (c->committed[i - 1].term != 0) {
            ASSERT(i <= n->raft->log.last_index);
            ASSERT(raft_log_term_at(&n->raft->log, i) == c->committed[i - 1].term);
        }
    }
}

void cluster_check_node(struct cluster *c, struct cluster_node *n)
{
    raft_check(n->raft);
    check_leader(c, n);
    const struct raft_log *log = &n->raft->log;
    for (uint64_t i = n->commit_seen + 1; i <= n->raft->commit_index; i++) {
        if (i > log->trimmed_index) {
            uint64_t digest = i >= log->memory_first ? digest_of(raft_log_entry(log, i)) : 0;
            agree(c, i, raft_log_term_at(log, i), digest);
        }
    }
    n->commit_seen = n->raft->commit_index;
}

static void check_pair(const struct raft_log *a, const struct raft_log *b)
{
    uint64_t index = raft_min(a->last_index, b->last_index);
    uint64_t start = raft_max(a->trimmed_index, b->trimmed_index);
    bool same = false;
    for (; index > start; index--) {
        bool equal = raft_log_term_at(a, index) == raft_log_term_at(b, index);
        ASSERT(equal || !same); /* Log Matching: equal here means equal before */
        same = same || equal;
        if (equal && index >= a->memory_first && index >= b->memory_first) {
            ASSERT(digest_of(raft_log_entry(a, index)) == digest_of(raft_log_entry(b, index)));
        }
    }
}

void cluster_check_logs(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        for (size_t k = i + 1; k < c->count; k++) {
            if (c->nodes[i].up && c->nodes[k].up) {
                check_pair(&c->nodes[i].raft->log, &c->nodes[k].raft->log);
            }
        }
    }
}

bool cluster_is_converged(struct cluster *c)
{
    const struct raft *first = NULL;
    uint64_t leader = cluster_leader(c);
    for (size_t i = 0; i < c->count; i++) {
        const struct raft *r = c->nodes[i].raft;
        if (!c->nodes[i].up) {
            continue;
        }
        if (leader != 0 &&
            configuration_find(raft_configuration(cluster_node(c, leader)->raft), i + 1) < 0) {
            continue;
        }
        first = first == NULL ? r : first;
        if (r->log.last_index != first->log.last_index ||
            raft_log_last_term(&r->log) != raft_log_last_term(&first->log) ||
            r->last_applied != r->log.last_index) {
            return false;
        }
    }
    return first != NULL;
}
