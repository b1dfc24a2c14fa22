/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.c: see recover.h. The files are opened and repaired by the same code as at a start of the daemon; what is
 * new is one entry, one row and one id, written as one group commit.
 */
#include "recover.h"

#include <stdio.h>
#include <string.h>

struct recover {
    struct log_db *log;
    struct kv_writer *writer;
    uint32_t group;
    uint64_t persist_sequence;
    struct recover_found found;
};

static enum err look_at_table(struct recover *r, const char *data_dir, char *problem,
                              size_t problem_size)
{
    uint64_t named = 0, generation = 0;
    enum err error = log_db_generation(r->log, r->group, &named);
    if (error == OK) {
        error = kv_generation_find(data_dir, r->group, named, &generation);
    }
    if (error != OK) {
        (void)snprintf(problem, problem_size, "%s: the table's file cannot be found: %s", data_dir,
                       err_text(error));
        return error;
    }
    return kv_writer_open(data_dir, r->group, generation, &r->writer, &r->found.kv, problem,
                          problem_size);
}

static void note_log(struct recover *r, const struct log_recovered *log)
{
    struct recover_found *found = &r->found;
    found->current_term = log->current_term;
    found->first_index = log->trimmed_index + 1;
    found->last_index = log->last_log_index;
    found->last_term = log->last_log_term;
    found->committed_index = log->observed_commit_index;
    if (found->committed_index < found->kv.applied_index) {
        found->committed_index = found->kv.applied_index;
    }
    if (found->committed_index > found->last_index) { /* said before the disk lost its end */
        found->committed_index = found->last_index;
    }
    found->damaged = log->may_not_vote;
    memcpy(found->damage_text, log->damage_text, sizeof(found->damage_text));
    found->configuration = log->configuration;
    r->persist_sequence = log->persist_sequence;
}

enum err recover_look(const char *data_dir, const char *cluster, const char *node, uint32_t group,
                      uint64_t seed, struct recover **out, char *problem, size_t problem_size)
{
    struct recover *r = mem_zalloc(sizeof(*r));
    struct log_recovered log = {0};
    problem[0] = '\0';
    r->group = group;
    enum err error = log_db_open(data_dir, cluster, node, seed, &r->log, problem, problem_size);
    if (error == OK) {
        error = look_at_table(r, data_dir, problem, problem_size);
    }
    if (error != OK) {
        goto out;
    }
    log_db_identity(r->log, &r->found.identity);
    error = log_db_recover(r->log, r->group, &r->found.kv, &log);
    if (error != OK) {
        (void)snprintf(problem, problem_size, "%s/raft.db cannot be read: %s", data_dir,
                       err_text(error));
        goto out;
    }
    note_log(r, &log);
    int own = configuration_find(&r->found.configuration, r->found.identity.member_id);
    if (r->found.identity.cluster_id == 0 || r->found.configuration.count == 0) {
        (void)snprintf(problem, problem_size,
                       "%s holds no member of a cluster: this node has not joined one yet",
                       data_dir);
        error = ERR_NOT_FOUND;
    } else if (own < 0) {
        (void)snprintf(problem, problem_size,
                       "%s belongs to a node that is no member of its cluster any more: it was "
                       "removed or replaced, and may lack what was written since; recover from a "
                       "member, or restore a backup",
                       data_dir);
        error = ERR_NOT_FOUND;
    } else {
        r->found.own_index = (size_t)own;
        *out = r;
        r = NULL;
    }
out:
    log_recovered_free(&log);
    recover_close(&r);
    return error;
}

const struct recover_found *recover_found(const struct recover *r)
{
    return &r->found;
}

bool recover_is_alone(const struct recover *r)
{
    return r->found.configuration.count == 1 && !r->found.damaged &&
           configuration_is_voter(&r->found.configuration, r->found.identity.member_id);
}

static void remember_removed(struct configuration *c, uint64_t id)
{
    if (c->removed_count == REMOVED_MAX) {
        memmove(&c->removed[0], &c->removed[1], (REMOVED_MAX - 1) * sizeof(c->removed[0]));
        c->removed_count--;
    }
    c->removed[c->removed_count++] = id;
}

enum err recover_force(struct recover *r, const struct member *own, uint64_t cluster_id,
                       struct configuration *out)
{
    const struct recover_found *found = &r->found;
    struct configuration alone = found->configuration;
    ASSERT(cluster_id != 0);
    alone.cluster_id = cluster_id;
    alone.count = 1;
    alone.declared_count = 0;
    memset(alone.declared, 0, sizeof(alone.declared));
    memset(alone.members, 0, sizeof(alone.members));
    alone.members[0] = *own;
    alone.members[0].id = found->identity.member_id;
    memcpy(alone.members[0].name, found->identity.name, sizeof(alone.members[0].name));
    alone.members[0].voter_incoming = alone.members[0].voter_outgoing = true;
    alone.members[0].leaving = false;
    for (size_t i = 0; i < found->configuration.count; i++) {
        if (i != found->own_index) {
            remember_removed(&alone, found->configuration.members[i].id);
        }
    }

    struct buffer text = {0};
    configuration_encode(&alone, &text);
    const struct entry e = {.index = found->last_index + 1,
                            .term = found->current_term + 1,
                            .type = ENTRY_CONFIG,
                            .data = view_of(text.data, text.size)};
    struct raft_persist persist = {.sequence = r->persist_sequence + 1,
                                   .current_term = e.term,
                                   .voted_for = found->identity.member_id};
    persist.entries = entries_create(1, e.data.size);
    entries_add(persist.entries, &e);

    enum err error = log_db_begin(r->log);
    if (error == OK) {
        error = log_db_set_cluster_id(r->log, cluster_id);
    }
    if (error == OK) {
        error = log_db_persist(r->log, r->group, &persist);
    }
    if (error == OK) {
        error = log_db_commit(r->log);
    }
    if (error == OK) {
        r->persist_sequence = persist.sequence;
        *out = alone;
    }
    entries_free(&persist.entries);
    buffer_free(&text);
    return error;
}

void recover_close(struct recover **r)
{
    if (*r != NULL) {
        kv_writer_close(&(*r)->writer);
        log_db_close(&(*r)->log);
        mem_free(*r);
        *r = NULL;
    }
}
