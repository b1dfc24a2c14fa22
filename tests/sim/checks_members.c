/* SPDX-License-Identifier: Apache-2.0 */
/* checks_members.c: see checks_members.h, whose numbers the comments below use. */
#include "checks_members.h"

#include "checkers.h"

#include <string.h>

/* ---- values ------------------------------------------------------------------------------------------- */

static void voters_of(const struct configuration *c, uint64_t index, uint64_t term,
                      struct checks_voters *out)
{
    *out = (struct checks_voters){.index = index, .term = term};
    for (size_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        if (m->voter_incoming || m->voter_outgoing) {
            out->items[out->count++] = (struct checks_voter){
                .id = m->id, .in = m->voter_incoming, .out = m->voter_outgoing};
        }
    }
}

bool checks_voters_joint(const struct checks_voters *v)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->items[i].in != v->items[i].out) {
            return true;
        }
    }
    return false;
}

static const struct checks_voter *voter_of(const struct checks_voters *v, uint64_t id)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->items[i].id == id) {
            return &v->items[i];
        }
    }
    return NULL;
}

bool checks_voters_have(const struct checks_voters *v, uint64_t id)
{
    return voter_of(v, id) != NULL;
}

void checks_configs_cut(struct checks_configs *c, uint64_t from)
{
    while (c->count > 0 && c->indexes[c->count - 1] >= from) {
        c->count--;
    }
}

void checks_configs_add(struct checks_configs *c, uint64_t index)
{
    ARRAY_RESERVE(c->indexes, c->capacity, c->count + 1);
    c->indexes[c->count++] = index;
}

void checks_configs_base(struct checks_configs *c, uint64_t index)
{
    size_t gone = 0;
    while (gone < c->count && c->indexes[gone] <= index) {
        gone++;
    }
    c->count -= gone;
    if (c->count > 0) {
        memmove(c->indexes, c->indexes + gone, c->count * sizeof(c->indexes[0]));
    }
    c->base = index;
}

/* ---- majorities ---------------------------------------------------------------------------------------- */

static bool log_holds(const struct checks_log *log, uint64_t index, uint64_t term)
{
    return index <= log->count && log->terms[index - 1] == term;
}

/* Whoever started damaged once may have forgotten what it acknowledged before. A disk that is gone acknowledged what
 * it held then. */
static bool holds(const struct checks *c, uint64_t id, uint64_t index, uint64_t term)
{
    for (size_t i = 0; i < c->node_count; i++) {
        const struct checks_node *n = &c->nodes[i];
        if (n->member_id == id) {
            return n->damaged_ever || log_holds(&n->durable, index, term);
        }
    }
    for (size_t i = 0; i < c->grave_count; i++) {
        if (c->graves[i].member_id == id) {
            return c->graves[i].damaged_ever || log_holds(&c->graves[i].durable, index, term);
        }
    }
    return false;
}

static bool quorum_holds(const struct checks *c, const struct checks_voters *v, uint64_t index,
                         uint64_t term)
{
    size_t in = 0, in_yes = 0, out = 0, out_yes = 0;
    for (size_t i = 0; i < v->count; i++) {
        bool yes = holds(c, v->items[i].id, index, term);
        in += v->items[i].in;
        in_yes += v->items[i].in && yes;
        out += v->items[i].out;
        out_yes += v->items[i].out && yes;
    }
    return 2 * in_yes > in && 2 * out_yes > out;
}

static uint64_t term_in(const struct checks_log *log, uint64_t index)
{
    return index == 0 || index > log->count ? 0 : log->terms[index - 1];
}

static void check_committed(struct checks *c, size_t node, const struct checks_voters *v,
                            const struct checks_voters *or_else, uint64_t index, uint64_t term)
{
    if (!quorum_holds(c, v, index, term) && !quorum_holds(c, or_else, index, term)) {
        checks_fail(c, node,
                    "commits entry %" PRIu64 " of term %" PRIu64
                    ", which is not durable on a majority of the voters of configuration %" PRIu64
                    "%s",
                    index, term, v->index, checks_voters_joint(v) ? " (joint)" : "");
    }
}

/*
 * 14. Nobody's commit index was so far before. Within a batch a leader may go from a joint configuration, which it
 * just committed, to what follows; what it committed with which is told apart by the joint one's index.
 */
static void check_commit(struct checks *c, size_t node, const struct raft_status *s,
                         const struct checks_voters *before, const struct checks_voters *now)
{
    const struct checks_node *n = &c->nodes[node];
    uint64_t index = s->commit_index;
    uint64_t term = term_in(&n->told, index);
    term = term == 0 ? s->current_term : term;
    if (!n->seen_any || before->index == 0) {
        before = now;
    }
    bool left_joint = now->index > before->index && checks_voters_joint(before);
    if (left_joint && before->index > c->commit_greatest) {
        uint64_t joint_term = term_in(&n->told, before->index);
        joint_term =
            joint_term == 0 ? s->current_term : joint_term; /* not handed to its disk yet */
        check_committed(c, node, before, before, before->index, joint_term);
    }
    check_committed(c, node, before, now, index, term);
    c->commit_greatest = index;
}

/* ---- what follows what ------------------------------------------------------------------------------------ */

static bool follows(const struct checks_voters *before, const struct checks_voters *now)
{
    bool was_joint = checks_voters_joint(before);
    bool is_joint = checks_voters_joint(now);
    for (size_t i = 0; i < before->count; i++) {
        const struct checks_voter *next = voter_of(now, before->items[i].id);
        bool voted = was_joint ? before->items[i].in : true;
        bool votes = next != NULL && (is_joint ? next->out : next->in);
        if (voted != votes) {
            return false;
        }
    }
    for (size_t i = 0; i < now->count; i++) {
        if ((!is_joint || now->items[i].out) && voter_of(before, now->items[i].id) == NULL) {
            return false;
        }
    }
    return !(was_joint && is_joint);
}

/* 16 */
static void check_step(struct checks *c, size_t node, const struct raft_status *s,
                       const struct checks_voters *before, const struct checks_voters *now)
{
    if (before->index > s->commit_index) {
        checks_fail(c, node,
                    "appends configuration %" PRIu64 " while configuration %" PRIu64
                    " is not committed",
                    now->index, before->index);
    } else if (!s->term_committed) {
        checks_fail(c, node,
                    "appends configuration %" PRIu64 " before an entry of its own term %" PRIu64
                    " is committed",
                    now->index, s->current_term);
    } else if (!follows(before, now)) {
        checks_fail(c, node, "configuration %" PRIu64 " does not follow from %" PRIu64, now->index,
                    before->index);
    }
}

/* 17. Only where all of the log has been handed to the disk, so that it is known here. */
static void check_in_force(struct checks *c, size_t node, const struct raft_status *s)
{
    const struct checks_node *n = &c->nodes[node];
    const struct checks_configs *k = &n->configs;
    if (s->last_log_index != n->told.count) {
        return;
    }
    bool right = k->count > 0 ? s->configuration_index == k->indexes[k->count - 1]
                              : s->configuration_index <= k->base;
    if (!right) {
        checks_fail(c, node,
                    "configuration %" PRIu64 " is in force, the newest in its log is %" PRIu64,
                    s->configuration_index, k->count > 0 ? k->indexes[k->count - 1] : k->base);
    }
}

/* ---- for checkers.c --------------------------------------------------------------------------------------- */

void checks_members_durable(struct checks *c, size_t node, uint64_t cluster_id)
{
    if (c->cluster_id == 0) {
        c->cluster_id = cluster_id;
    } else if (c->cluster_id != cluster_id) { /* 18 */
        checks_fail(c, node,
                    "two clusters: its disk has a configuration of %016" PRIx64
                    ", others have of %016" PRIx64,
                    cluster_id, c->cluster_id);
    }
}

void checks_members_committed(struct checks *c, size_t node, const struct entry *e)
{
    if (e->type != ENTRY_CONFIG) {
        return;
    }
    struct configuration *next = mem_alloc(sizeof(*next));
    if (configuration_decode(e->data, next) != OK) {
        checks_fail(c, node, "committed configuration %" PRIu64 " cannot be read", e->index);
        mem_free(next);
        return;
    }
    for (size_t i = 0; i < next->count; i++) { /* 19 */
        uint64_t id = next->members[i].id;
        if (map_get(&c->removed, id, 0) != NULL) {
            checks_fail(c, node, "removed member %016" PRIx64 " is back in configuration %" PRIu64,
                        id, e->index);
        }
    }
    for (size_t i = 0; i < c->settled.count; i++) {
        uint64_t id = c->settled.members[i].id;
        if (configuration_find(next, id) < 0 && map_get(&c->removed, id, 0) == NULL) {
            map_put(&c->removed, id, 0, e->index);
        }
    }
    c->settled = *next;
    c->settled_index = e->index;
    mem_free(next);
}

void checks_members_ran(struct checks *c, size_t node, const struct raft *core,
                        const struct raft_status *s)
{
    struct checks_node *n = &c->nodes[node];
    struct checks_voters before = n->force;
    uint64_t term = term_in(&n->told, s->configuration_index);
    if (s->configuration_index != before.index || term != before.term || !n->seen_any) {
        voters_of(raft_configuration(core), s->configuration_index, term, &n->force);
    }
    if (s->commit_index > c->commit_greatest) {
        check_commit(c, node, s, &before, &n->force);
    }
    bool leads = n->seen_any && s->role == RAFT_LEADER && n->seen.role == RAFT_LEADER &&
                 n->seen.current_term == s->current_term;
    if (leads && n->force.index > before.index) {
        check_step(c, node, s, &before, &n->force);
        n->changed = true;
    }
    check_in_force(c, node, s);
}

/* 15 */
void checks_members_elected(struct checks *c, size_t node, const struct raft_status *s)
{
    const struct checks_voters *v = &c->nodes[node].force;
    size_t in = 0, in_yes = 0, out = 0, out_yes = 0;
    for (size_t i = 0; i < v->count; i++) {
        const uint64_t *vote = map_get(&c->votes, v->items[i].id, s->current_term);
        bool yes = v->items[i].id == s->id || (vote != NULL && *vote == s->id);
        in += v->items[i].in;
        in_yes += v->items[i].in && yes;
        out += v->items[i].out;
        out_yes += v->items[i].out && yes;
    }
    if (2 * in_yes <= in || 2 * out_yes <= out) {
        checks_fail(c, node,
                    "leads term %" PRIu64 " with %zu of %zu votes (and %zu of %zu of the outgoing "
                    "voters) of configuration %" PRIu64,
                    s->current_term, in_yes, in, out_yes, out, v->index);
    }
}
