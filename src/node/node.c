/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.c: opens what is on the disk and builds the core actors from it. Runs before any thread of
 * this node does, so that everything a person can mend (another cluster's files, a newer format)
 * ends in a sentence and an exit code.
 *
 * Recovery order: raft.db is opened, which names the KV table's file; the table (its applied_index is what
 * the log is judged by), the log, then the log's tail after applied_index, which is replayed once it is known to be committed.
 */
#include "node.h"

#include "bootstrap.h"

#include <stdio.h>
#include <string.h>

#define REPLAY_READ_BYTES_MAX                                                                      \
    (64 * 1024 * 1024) /* per read; the tail is joined from as many as needed */

static enum exit_code exit_code_of(enum err error)
{
    switch (error) {
    case OK:
        return EXIT_CODE_OK;
    case ERR_IDENTITY:
    case ERR_CLUSTER_MISMATCH:
        return EXIT_CODE_IDENTITY;
    case ERR_NEWER_FORMAT:
    case ERR_CORRUPT:
    case ERR_CHECKSUM:
    case ERR_FOREIGN_WRITE:
        return EXIT_CODE_DATA_FORMAT;
    case ERR_DISK_FULL:
        return EXIT_CODE_DISK_FULL;
    case ERR_IO:
        return EXIT_CODE_DISK;
    default:
        return EXIT_CODE_FAILURE;
    }
}

/* Read the entries after `after` up to `last` into one block. */
static enum err read_tail(struct log_db *db, uint64_t after, uint64_t last, struct entries **out)
{
    struct entries *tail = NULL;
    enum err error = OK;
    uint64_t from = after + 1;
    while (from <= last) {
        struct entries *part = NULL;
        error = log_db_read(db, GROUP_DEFAULT, from, last, REPLAY_READ_BYTES_MAX, &part);
        if (error != OK) {
            goto out;
        }
        from = entries_last_index(part) + 1;
        if (tail == NULL) {
            tail = part;
            continue;
        }
        struct entries *joined =
            entries_create(tail->count + part->count, tail->bytes + part->bytes);
        for (size_t i = 0; i < tail->count; i++) {
            entries_add(joined, &tail->items[i]);
        }
        for (size_t i = 0; i < part->count; i++) {
            entries_add(joined, &part->items[i]);
        }
        entries_free(&tail);
        entries_free(&part);
        tail = joined;
    }
    *out = tail;
    tail = NULL;
out:
    entries_free(&tail);
    return error;
}

/* Which file is the table; what an installation left besides it is removed once raft.db names it for sure. */
static enum err find_generation(const struct config *config, struct log_db *log,
                                uint64_t *generation, char *problem, size_t problem_size)
{
    uint64_t named = 0;
    enum err error = log_db_generation(log, GROUP_DEFAULT, &named);
    if (error == OK) {
        error = kv_generation_find(config->data_dir, GROUP_DEFAULT, named, generation);
    }
    if (error != OK) {
        (void)snprintf(problem, problem_size, "%s: the table's file cannot be found: %s",
                       config->data_dir, err_text(error));
    } else if (*generation != named) {
        log_event(LOG_WARNING, "table found under its next name",
                  "named=kv-%" PRIu64 ".db found=kv-%" PRIu64
                  ".db reason=\"raft.db has lost what it said last\"",
                  named, *generation);
    }
    return error;
}

enum exit_code node_stores_open(const struct config *config, uint64_t seed, struct node_stores *out,
                                char *problem, size_t problem_size)
{
    memset(out, 0, sizeof(*out));
    problem[0] = '\0';
    uint64_t generation = 0;
    enum err error = log_db_open(config->data_dir, config->cluster, config->node, seed, &out->log,
                                 problem, problem_size);
    if (error != OK) {
        goto fail;
    }
    error = find_generation(config, out->log, &generation, problem, problem_size);
    if (error != OK) {
        goto fail;
    }
    error = kv_writer_open(config->data_dir, GROUP_DEFAULT, generation, &out->writer, &out->meta,
                           problem, problem_size);
    if (error != OK) {
        goto fail;
    }
    error = kv_reader_open(config->data_dir, GROUP_DEFAULT, generation, &out->reader, problem,
                           problem_size);
    if (error != OK) {
        goto fail;
    }
    error = kv_reader_open(config->data_dir, GROUP_DEFAULT, generation, &out->watch_reader, problem,
                           problem_size);
    if (error != OK) {
        goto fail;
    }
    log_db_identity(out->log, &out->identity);
    error = log_db_recover(out->log, GROUP_DEFAULT, &out->meta, &out->recovered);
    if (error != OK) {
        (void)snprintf(problem, problem_size, "%s/raft.db cannot be read: %s", config->data_dir,
                       err_text(error));
        goto fail;
    }
    error = kv_generations_clean(config->data_dir, GROUP_DEFAULT, generation);
    if (error != OK) {
        (void)snprintf(problem, problem_size, "%s: old files of the table cannot be removed: %s",
                       config->data_dir, err_text(error));
        goto fail;
    }
    uint64_t after = out->meta.applied_index;
    if (after < out->recovered.trimmed_index) {
        (void)snprintf(
            problem, problem_size,
            "%s: kv.db ends at entry %" PRIu64 " but the log begins after entry %" PRIu64
            "; kv.db was exchanged or lost: empty the data directory and let the node be "
            "admitted anew",
            config->data_dir, after, out->recovered.trimmed_index);
        error = ERR_CORRUPT;
        goto fail;
    }
    if (after < out->recovered.last_log_index) {
        error = read_tail(out->log, after, out->recovered.last_log_index, &out->tail);
        if (error != OK) {
            (void)snprintf(problem, problem_size, "%s/raft.db cannot be read: %s", config->data_dir,
                           err_text(error));
            goto fail;
        }
    }
    return EXIT_CODE_OK;
fail:
    node_stores_close(out);
    return exit_code_of(error);
}

void node_stores_close(struct node_stores *stores)
{
    log_db_close(&stores->log);
    kv_writer_close(&stores->writer);
    kv_reader_close(&stores->reader);
    kv_reader_close(&stores->watch_reader);
    entries_free(&stores->tail);
    log_recovered_free(&stores->recovered);
    memset(stores, 0, sizeof(*stores));
}

void node_hello(const struct config *config, const struct node_stores *stores, uint64_t boot_id,
                struct peer_hello *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->cluster, config->cluster, sizeof(out->cluster));
    memcpy(out->name, config->node, sizeof(out->name));
    out->member_id = stores->identity.member_id;
    out->cluster_id = stores->identity.cluster_id;
    out->boot_id = boot_id;
    out->boot_number = stores->identity.boot_number;
    out->list_digest = bootstrap_list_digest(config);
    out->empty = stores->identity.cluster_id == 0 && stores->recovered.last_log_index == 0;
    out->bootstrap = config->bootstrap;
    const struct config_member *own = &config->members[config->node_index];
    memcpy(out->peer, own->peer, sizeof(out->peer));
    memcpy(out->client, own->client, sizeof(out->client));
}

const struct configuration *node_configuration(const struct node_stores *stores)
{
    return &stores->meta.configuration;
}

void node_create_core(const struct config *config, struct node_stores *stores, uint64_t seed,
                      uint64_t boot_id, struct node_actors *actors)
{
    const struct kv_limits limits = {
        .batch_changes_max = config->kv.flush_changes_max,
        .batch_bytes_max = config->kv.flush_bytes_max,
        .batch_age_us = (uint64_t)config->kv.flush_interval_ms * 1000,
        .overlay_bytes_max = config->kv.overlay_bytes_max,
        .cache_bytes_max = config->kv.cache_bytes_max,
    };
    const struct log_recovered *found = &stores->recovered;
    struct raft_actor_settings settings = {.config = *config, .actors = actors};
    node_hello(config, stores, boot_id, &settings.hello);
    settings.configuration = *node_configuration(stores);
    settings.term_runs =
        found->term_run_count > 0
            ? mem_dup(found->term_runs, found->term_run_count * sizeof(found->term_runs[0]))
            : NULL;
    settings.boot = (struct raft_boot){
        .id = stores->identity.member_id,
        .seed = seed,
        .current_term = found->current_term,
        .voted_for = found->voted_for,
        .trimmed_index = found->trimmed_index,
        .trimmed_term = found->trimmed_term,
        .term_run_count = found->term_run_count,
        .tail = stores->tail,
        .last_log_index = found->last_log_index,
        .applied_index = stores->meta.applied_index,
        .cluster_time_us = stores->meta.cluster_time_us,
        .configuration_index = found->configuration_index <= stores->meta.applied_index
                                   ? found->configuration_index
                                   : stores->meta.applied_index,
        .may_not_vote = found->may_not_vote,
        .last_persist_sequence = found->persist_sequence,
        .election_timeout_ms = config->raft.election_timeout_ms,
        .heartbeat_ms = config->raft.heartbeat_ms,
        .leader_lease = config->raft.leader_lease,
        .vote_guard = true,
        .window_bytes = config->raft.window_bytes,
        .append_bytes_max = config->raft.append_bytes_max,
        .cache_bytes_max = config->raft.cache_bytes_max,
        .uncommitted_bytes_max = config->raft.uncommitted_bytes_max,
        .apply_bytes_max = config->raft.apply_bytes_max,
        .disk_stall_ms = config->raft.disk_stall_ms,
        .log_keep_bytes = config->raft.log_keep_bytes,
    };
    stores->tail = NULL;

    actors->timer = timer_actor_create();
    actors->log = log_actor_create(stores->log, actors);
    actors->flush = flush_actor_create(stores->writer, config->data_dir, actors);
    actors->copy = copy_actor_create(config->data_dir, stores->meta.generation,
                                     config->raft.snapshot_bytes_per_second, actors);
    actors->apply = apply_actor_create(kv_create(&stores->reader, &stores->meta, &limits), boot_id,
                                       config, actors);
    actors->watch = watch_actor_create(&stores->watch_reader, config, seed, actors);
    actors->raft = raft_actor_create(&settings);
    stores->log = NULL;
    stores->writer = NULL;
    log_recovered_free(&stores->recovered);
}
