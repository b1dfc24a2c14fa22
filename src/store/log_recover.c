/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_recover.c: reading one group at start: what the file holds, whether it is less or other than
 * what was acknowledged (trap 22), and what is made of it then.
 *
 * Damage is any of
 *   - found before the file was opened: a failed sync, or commits lost behind a spoiled WAL frame
 *   - raft.mark knows a later persist, or the same one with other content, or cannot be read
 *   - an entry whose checksum fails, that is missing, or whose term falls
 *   - the table is not as long as the hard state says
 *   - the KV table holds an entry the log does not, or one of another term
 * A damaged group keeps the greatest term known, with the mark's vote in it, and sets the durable
 * may-not-vote flag, so that it neither votes nor campaigns until it has caught up. Its log is cut at
 * the first bad entry; entries at or below the KV table's applied_index are not needed any more, so if
 * the bad one is among those, the log starts after applied_index instead, as after a snapshot.
 *
 * Invariants at return: the table, the hard_state row and the mark agree, durably.
 */
#include "log_state.h"

#include "log_schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct recovery {
    struct log_db *db;
    const struct kv_meta *kv;
    struct log_group group;
    bool known; /* the file has a hard_state row of the group */
    struct raft_mark_slot mark;
    enum raft_mark_state mark_state;
    bool damaged;
    char damage_text[LOG_DAMAGE_TEXT_MAX];

    /* Of the entries read so far. */
    struct raft_term_run *runs;
    size_t run_count, run_capacity;
    uint64_t last_index, last_term;
    struct bytes configuration; /* data of the newest CONFIG entry */
    uint64_t configuration_index;
    bool other_generation; /* of the table than the one noted */
};

/* Note damage; the first finding is the one that is told. */
static void PRINTF_LIKE(2, 3) damage(struct recovery *r, const char *format, ...)
{
    if (!r->damaged) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(r->damage_text, sizeof(r->damage_text), format, arguments);
        va_end(arguments);
    }
    r->damaged = true;
}

static enum err read_state(struct recovery *r)
{
    sqlite3_stmt *s = r->db->state_read;
    struct log_group *g = &r->group;
    db_bind_u64(s, 1, g->group);
    enum err error = db_step(&r->db->db, s, &r->known);
    if (error == OK && r->known) {
        g->current_term = db_column_u64(s, 0);
        g->voted_for = db_column_u64(s, 1);
        g->persist_sequence = db_column_u64(s, 2);
        g->may_not_vote = db_column_u64(s, 3) != 0;
        g->trimmed_index = db_column_u64(s, 4);
        g->trimmed_term = db_column_u64(s, 5);
        g->last_log_index = db_column_u64(s, 6);
        g->last_log_term = db_column_u64(s, 7);
        g->leader = 0; /* as observed by the run before: nobody's word now */
        g->commit_index = db_column_u64(s, 9);
    }
    db_done(s);
    return error;
}

/* ---- entries ----------------------------------------------------------------------------------- */

static void forget_entries(struct recovery *r, uint64_t start_index, uint64_t start_term)
{
    r->run_count = 0;
    r->last_index = start_index;
    r->last_term = start_term;
    bytes_free(&r->configuration);
    r->configuration_index = 0;
}

static void take_entry(struct recovery *r, const struct entry *e)
{
    if (r->run_count == 0 || r->runs[r->run_count - 1].term != e->term) {
        ARRAY_RESERVE(r->runs, r->run_capacity, r->run_count + 1);
        r->runs[r->run_count++] = (struct raft_term_run){.first_index = e->index, .term = e->term};
    }
    if (e->type == ENTRY_CONFIG) {
        bytes_free(&r->configuration);
        r->configuration = bytes_copy(e->data);
        r->configuration_index = e->index;
    }
    r->last_index = e->index;
    r->last_term = e->term;
}

/* Read what follows the start entry; *bad is the first entry that cannot be used, 0 if all can. */
static enum err read_entries(struct recovery *r, uint64_t start_index, uint64_t start_term,
                             uint64_t *bad)
{
    sqlite3_stmt *s = r->db->entry_read;
    uint32_t group = r->group.group;
    bool row = false;
    forget_entries(r, start_index, start_term);
    *bad = 0;
    db_bind_u64(s, 1, log_row_id(group, start_index + 1));
    db_bind_u64(s, 2, log_row_id(group, LOG_INDEX_MAX));
    enum err error = db_step(&r->db->db, s, &row);
    while (error == OK && row) {
        struct entry e;
        bool matches = false;
        log_row_entry(r->db, group, &e, &matches);
        if (e.index != r->last_index + 1) {
            damage(r, "entry %" PRIu64 " is missing", r->last_index + 1);
            *bad = r->last_index + 1;
        } else if (!matches) {
            damage(r, "the checksum of entry %" PRIu64 " fails", e.index);
            *bad = e.index;
        } else if (e.term < r->last_term) {
            damage(r, "the term falls at entry %" PRIu64, e.index);
            *bad = e.index;
        } else if (e.index > r->group.last_log_index) {
            damage(r, "entry %" PRIu64 " lies beyond the log's end", e.index);
            *bad = e.index;
        }
        if (*bad != 0) {
            break;
        }
        take_entry(r, &e);
        error = db_step(&r->db->db, s, &row);
    }
    db_done(s);
    return error;
}

static uint64_t term_of(const struct recovery *r, uint64_t index)
{
    uint64_t term = 0;
    for (size_t i = 0; i < r->run_count && r->runs[i].first_index <= index; i++) {
        term = r->runs[i].term;
    }
    return term;
}

/* Find out which entries can be used. Sets the group's start; last_index is the end. */
static enum err settle_entries(struct recovery *r)
{
    struct log_group *g = &r->group;
    const struct kv_meta *kv = r->kv;
    uint64_t bad = 0;
    enum err error = read_entries(r, g->trimmed_index, g->trimmed_term, &bad);
    if (error == OK && bad != 0 && bad <= kv->applied_index) {
        error = read_entries(r, kv->applied_index, kv->applied_term, &bad);
        g->trimmed_index = kv->applied_index;
        g->trimmed_term = kv->applied_term;
    }
    if (error != OK || kv->applied_index == 0) {
        return error;
    }
    bool conflict = false;
    if (kv->applied_index > r->last_index) {
        damage(r, "kv.db holds entry %" PRIu64 ", the log ends at %" PRIu64, kv->applied_index,
               r->last_index);
        conflict = true;
    } else {
        uint64_t term =
            kv->applied_index == g->trimmed_index ? g->trimmed_term : term_of(r, kv->applied_index);
        if (term != kv->applied_term) {
            damage(r,
                   "entry %" PRIu64 " is of term %" PRIu64 " in the log and %" PRIu64 " in kv.db",
                   kv->applied_index, term, kv->applied_term);
            conflict = true;
        }
    }
    if (conflict) {
        g->trimmed_index = kv->applied_index;
        g->trimmed_term = kv->applied_term;
        forget_entries(r, kv->applied_index, kv->applied_term);
    }
    return OK;
}

/* ---- the mark ---------------------------------------------------------------------------------- */

static void compare_mark(struct recovery *r)
{
    const struct log_group *g = &r->group;
    const struct raft_mark_slot *m = &r->mark;
    if (r->mark_state == RAFT_MARK_SPOILED) {
        damage(r, "raft.mark cannot be read");
        return;
    }
    if (r->mark_state == RAFT_MARK_NONE || m->persist_sequence < g->persist_sequence) {
        return;
    }
    if (m->persist_sequence > g->persist_sequence) {
        damage(r,
               "raft.db is at persist %" PRIu64 ", raft.mark at %" PRIu64
               ": acknowledged transactions are missing",
               g->persist_sequence, m->persist_sequence);
    } else if (m->current_term != g->current_term || m->voted_for != g->voted_for ||
               m->last_log_index != g->last_log_index || m->last_log_term != g->last_log_term) {
        damage(r, "raft.db and raft.mark differ at persist %" PRIu64, g->persist_sequence);
    }
}

/* The greatest term known, and the mark's vote in it: the newest word that may have been given. */
static void take_greater_term(struct recovery *r)
{
    struct log_group *g = &r->group;
    if (r->mark_state != RAFT_MARK_FOUND || r->mark.current_term < g->current_term) {
        return;
    }
    if (r->mark.current_term > g->current_term || r->mark.voted_for != 0) {
        g->voted_for = r->mark.voted_for;
    }
    g->current_term = r->mark.current_term;
}

/* ---- making file and mark agree ---------------------------------------------------------------- */

static enum err delete_outside(struct recovery *r)
{
    const struct log_group *g = &r->group;
    enum err error = log_entries_delete(r->db, g->group, 0, g->trimmed_index);
    if (error == OK && r->last_index < LOG_INDEX_MAX) {
        error = log_entries_delete(r->db, g->group, r->last_index + 1, LOG_INDEX_MAX);
    }
    return error;
}

static enum err write_repaired(struct recovery *r)
{
    struct log_group *g = &r->group;
    enum err error = db_begin(&r->db->db);
    if (error != OK) {
        return error;
    }
    if (r->damaged) {
        error = delete_outside(r);
    }
    if (error == OK) {
        error = log_db_set_generation(r->db, g->group, r->kv->generation);
    }
    if (error == OK) {
        error = log_group_write(r->db, g);
    }
    if (error != OK) {
        db_rollback(&r->db->db);
        return error;
    }
    return db_commit(&r->db->db);
}

static enum err repair(struct recovery *r)
{
    struct log_group *g = &r->group;
    enum err error = OK;
    if (r->damaged) {
        /* Pages of different ages may lie side by side now; go on only with a sound b-tree. */
        error = db_check_structure(&r->db->db);
        if (error != OK) {
            return error;
        }
        take_greater_term(r);
        g->may_not_vote = true;
        if (r->mark_state == RAFT_MARK_FOUND && r->mark.persist_sequence > g->persist_sequence) {
            g->persist_sequence = r->mark.persist_sequence;
        }
        /* A number of its own, so that losing this transaction would show again. */
        g->persist_sequence++;
    }
    g->last_log_index = r->last_index;
    g->last_log_term = r->last_term;
    if (r->damaged || !r->known || r->other_generation) {
        error = write_repaired(r);
    }
    bool marked =
        r->mark_state == RAFT_MARK_FOUND && r->mark.persist_sequence == g->persist_sequence;
    if (marked) {
        g->marked = r->mark;
    } else if (error == OK && g->persist_sequence > 0) {
        error = log_group_mark(r->db, g);
        if (error == OK) {
            error = raft_mark_sync(r->db->mark);
        }
    }
    return error;
}

/* ---- the whole --------------------------------------------------------------------------------- */

static enum err find_configuration(const struct recovery *r, struct log_recovered *out)
{
    if (r->configuration_index != 0) {
        out->configuration_index = r->configuration_index;
        return configuration_decode(bytes_view(&r->configuration), &out->configuration);
    }
    if (r->kv->configuration.count > 0) {
        out->configuration = r->kv->configuration;
        out->configuration_index = r->kv->applied_index;
    }
    return OK;
}

static void fill(struct recovery *r, struct log_recovered *out)
{
    const struct log_group *g = &r->group;
    out->current_term = g->current_term;
    out->voted_for = g->voted_for;
    out->trimmed_index = g->trimmed_index;
    out->trimmed_term = g->trimmed_term;
    out->last_log_index = g->last_log_index;
    out->last_log_term = g->last_log_term;
    out->term_runs = r->runs;
    out->term_run_count = r->run_count;
    r->runs = NULL;
    out->persist_sequence = g->persist_sequence;
    out->damaged = r->damaged;
    memcpy(out->damage_text, r->damage_text, sizeof(out->damage_text));
    out->may_not_vote = g->may_not_vote;
    out->observed_commit_index = g->commit_index;
}

_Static_assert(sizeof(((struct log_recovered *)0)->damage_text) == LOG_DAMAGE_TEXT_MAX,
               "the two texts are copied whole");

static enum err read_all(struct recovery *r)
{
    struct log_group *g = &r->group;
    enum err error = read_state(r);
    if (error == OK) {
        error = raft_mark_load(r->db->mark, r->db->identity.member_id, g->group, &r->mark_state,
                               &r->mark);
    }
    if (error != OK) {
        return error;
    }
    if (r->kv->applied_index < g->trimmed_index) {
        log_event(LOG_ERROR, "entries are gone",
                  "kv_applied_index=%" PRIu64 " log_starts_after=%" PRIu64
                  " next=\"kv.db is older than raft.db: put back the kv.db that belongs to it, or "
                  "remove the member and let it join again with an empty data directory\"",
                  r->kv->applied_index, g->trimmed_index);
        return ERR_CORRUPT;
    }
    if (r->db->damage_text[0] != '\0') {
        damage(r, "%s", r->db->damage_text);
    }
    compare_mark(r);
    uint64_t end_index = g->last_log_index;
    uint64_t end_term = g->last_log_term;
    error = settle_entries(r);
    if (error == OK && (r->last_index != end_index || r->last_term != end_term)) {
        damage(r, "the log ends at entry %" PRIu64 ", it should end at %" PRIu64, r->last_index,
               end_index);
    }
    return error;
}

enum err log_db_recover(struct log_db *db, uint32_t group, const struct kv_meta *kv,
                        struct log_recovered *out)
{
    ASSERT(group < RAFT_MARK_GROUPS_MAX);
    ASSERT(log_group_find(db, group) == NULL);
    if (db->db.failed) {
        return ERR_IO;
    }
    struct recovery r = {.db = db, .kv = kv};
    struct log_recovered found = {0};
    r.group.group = group;
    uint64_t generation = 0;
    enum err error = log_db_generation(db, group, &generation);
    r.other_generation = generation != kv->generation;
    if (error == OK) {
        error = read_all(&r);
    }
    if (error == OK) {
        error = repair(&r);
    }
    if (error == OK) {
        error = find_configuration(&r, &found);
    }
    if (error == OK) {
        ARRAY_RESERVE(db->groups, db->group_capacity, db->group_count + 1);
        db->groups[db->group_count++] = r.group;
        fill(&r, &found);
        *out = found;
        if (r.damaged) {
            log_event(LOG_WARNING, "log damaged",
                      "group=%" PRIu32 " found=\"%s\" term=%" PRIu64 " last_log_index=%" PRIu64
                      " next=\"no votes from this node until it has caught up\"",
                      group, r.damage_text, out->current_term, out->last_log_index);
        }
    }
    bytes_free(&r.configuration);
    mem_free(r.runs);
    return log_db_note(db, error);
}

void log_recovered_free(struct log_recovered *r)
{
    mem_free(r->term_runs);
    memset(r, 0, sizeof(*r));
}
