/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster.c: nodes, disks and state machines of the fake cluster. The checks over all of them are in
 * cluster_checks.c, the network and the passing of time in cluster_network.c, what people read in cluster_text.c.
 */
#include "cluster_internal.h"

/* ---- clocks ------------------------------------------------------------------------------------- */

uint64_t cluster_clock_us(const struct cluster *c, uint64_t id)
{
    int64_t gained = (int64_t)(c->now_us - CLUSTER_START_US) * c->drift_permille[id] / 1000;
    return (uint64_t)((int64_t)c->now_us + gained);
}

/* The first moment at which the node's clock shows at least at_us. */
static uint64_t true_time_us(const struct cluster *c, uint64_t id, uint64_t at_us)
{
    if (at_us == UINT64_MAX || at_us <= CLUSTER_START_US || c->drift_permille[id] == 0) {
        return at_us;
    }
    uint64_t after_us = at_us - CLUSTER_START_US;
    return CLUSTER_START_US + after_us * 1000 / (uint64_t)(1000 + c->drift_permille[id]) + 1;
}

/* ---- making ------------------------------------------------------------------------------------- */

struct cluster *cluster_create(size_t count, uint64_t seed)
{
    ASSERT(count > 0);
    ASSERT(count <= CLUSTER_NODES_MAX);
    struct cluster *c = mem_zalloc(sizeof(*c));
    c->count = count;
    c->now_us = CLUSTER_START_US;
    c->random = seed;
    c->window_bytes = 1U << 20;
    c->append_bytes_max = 1U << 16;
    c->cache_bytes_max = 1U << 20;
    c->uncommitted_bytes_max = 1U << 22;
    c->apply_bytes_max = 1U << 20;
    c->configuration.cluster_id = 77;
    c->configuration.count = count;
    for (size_t i = 0; i < count; i++) {
        struct member *m = &c->configuration.members[i];
        m->id = i + 1;
        (void)snprintf(m->name, sizeof(m->name), "n%zu", i + 1);
        (void)snprintf(m->peer, sizeof(m->peer), "10.0.0.%zu:2380", i + 1);
        (void)snprintf(m->client, sizeof(m->client), "10.0.0.%zu:2379", i + 1);
        m->voter_incoming = true;
        m->voter_outgoing = true;
        c->nodes[i].id = i + 1;
        c->nodes[i].table = mem_zalloc(sizeof(*c->nodes[i].table));
        c->nodes[i].durable_table = mem_zalloc(sizeof(*c->nodes[i].durable_table));
    }
    return c;
}

void cluster_set_voters(struct cluster *c, size_t voters)
{
    ASSERT(voters <= c->count);
    c->configuration.count = voters;
}

static void disk_cut(struct cluster_disk *d, uint64_t from)
{
    while (d->count >= from) {
        bytes_free(&d->entries[--d->count].data);
    }
}

static void pending_free(struct cluster_disk *d)
{
    for (size_t i = 0; i < d->pending_count; i++) {
        entries_free(&d->pendings[i].persist.entries);
        mem_free(d->pendings[i].table);
    }
    d->pending_count = 0;
}

static void applying_free(struct cluster_node *n)
{
    for (size_t i = 0; i < n->applying_count; i++) {
        entries_free(&n->applying[i]);
    }
    n->applying_count = 0;
}

void cluster_destroy(struct cluster **c)
{
    for (size_t i = 0; i < (*c)->count; i++) {
        struct cluster_node *n = &(*c)->nodes[i];
        raft_destroy(&n->raft);
        raft_effects_release(&n->effects);
        pending_free(&n->disk);
        mem_free(n->disk.pendings);
        disk_cut(&n->disk, 1);
        mem_free(n->disk.entries);
        mem_free(n->disk.trimmed_configuration);
        mem_free(n->disk.received);
        mem_free(n->table);
        mem_free(n->durable_table);
        applying_free(n);
        mem_free(n->applying);
        mem_free(n->reads);
    }
    cluster_lose_all(*c);
    mem_free((*c)->flights);
    mem_free((*c)->leaderships);
    mem_free((*c)->committed);
    buffer_free(&(*c)->log_text);
    mem_free(*c);
    *c = NULL;
}

struct cluster_node *cluster_node(struct cluster *c, uint64_t id)
{
    ASSERT(id >= 1);
    ASSERT(id <= c->count);
    return &c->nodes[id - 1];
}

static void disk_append(struct cluster_disk *d, const struct entry *e)
{
    ASSERT(e->index == d->count + 1);
    ARRAY_RESERVE(d->entries, d->capacity, d->count + 1);
    d->entries[d->count++] = (struct cluster_entry){.term = e->term,
                                                    .origin = e->origin,
                                                    .request_id = e->request_id,
                                                    .type = e->type,
                                                    .data = bytes_copy(e->data)};
}

void cluster_set_log(struct cluster *c, uint64_t id, const uint64_t *terms)
{
    struct cluster_node *n = cluster_node(c, id);
    ASSERT(!n->up);
    disk_cut(&n->disk, 1);
    for (size_t i = 0; terms[i] != 0; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "entry %zu/%" PRIu64, i + 1, terms[i]);
        struct entry e = {
            .index = i + 1, .term = terms[i], .type = ENTRY_COMMAND, .data = view_of_text(text)};
        disk_append(&n->disk, &e);
        if (n->disk.current_term < terms[i]) {
            n->disk.current_term = terms[i];
        }
    }
}

void cluster_set_term(struct cluster *c, uint64_t id, uint64_t current_term, uint64_t voted_for)
{
    struct cluster_node *n = cluster_node(c, id);
    ASSERT(!n->up);
    n->disk.current_term = current_term;
    n->disk.voted_for = voted_for;
}

/* ---- starting and crashing ------------------------------------------------------------------------- */

static struct entries *disk_block(const struct cluster_disk *d, uint64_t first, uint64_t last)
{
    size_t bytes = 0;
    for (uint64_t i = first; i <= last; i++) {
        bytes += d->entries[i - 1].data.size;
    }
    struct entries *block = entries_create((size_t)(last - first + 1), bytes);
    for (uint64_t i = first; i <= last; i++) {
        const struct cluster_entry *from = &d->entries[i - 1];
        struct entry e = {.index = i,
                          .term = from->term,
                          .origin = from->origin,
                          .request_id = from->request_id,
                          .type = from->type,
                          .data = bytes_view(&from->data)};
        entries_add(block, &e);
    }
    return block;
}

/* The newest CONFIG entry applied durably, or what the test gave to all members. */
static uint64_t disk_configuration(const struct cluster *c, const struct cluster_node *n,
                                   struct configuration *out)
{
    const struct cluster_disk *d = &n->disk;
    for (uint64_t i = raft_min(d->count, n->kv_durable_index); i > d->trimmed_index; i--) {
        if (d->entries[i - 1].type == ENTRY_CONFIG) {
            enum err error = configuration_decode(bytes_view(&d->entries[i - 1].data), out);
            ASSERT(error == OK);
            return i;
        }
    }
    if (d->trimmed_configuration != NULL) {
        *out = *d->trimmed_configuration;
        return d->trimmed_configuration_index;
    }
    if (c->blank || configuration_find(&c->configuration, n->id) < 0) {
        out->count = 0;
    } else {
        *out = c->configuration;
    }
    return 0;
}

void cluster_start(struct cluster *c, uint64_t id)
{
    struct cluster_node *n = cluster_node(c, id);
    struct cluster_disk *d = &n->disk;
    ASSERT(!n->up);
    struct raft_term_run *runs = NULL;
    size_t run_count = 0;
    size_t run_capacity = 0;
    for (uint64_t i = d->trimmed_index + 1; i <= d->count; i++) {
        uint64_t term = d->entries[i - 1].term;
        if (run_count == 0 || runs[run_count - 1].term != term) {
            ARRAY_RESERVE(runs, run_capacity, run_count + 1);
            runs[run_count++] = (struct raft_term_run){.first_index = i, .term = term};
        }
    }
    struct configuration *configuration = mem_zalloc(sizeof(*configuration));
    uint64_t configuration_index = disk_configuration(c, n, configuration);
    struct raft_boot boot = {
        .id = id,
        .seed = random_next(&c->random),
        .now_us = cluster_clock_us(c, id),
        .current_term = d->current_term,
        .voted_for = d->voted_for,
        .trimmed_index = d->trimmed_index,
        .trimmed_term = d->trimmed_term,
        .term_runs = runs,
        .term_run_count = run_count,
        .tail = n->kv_durable_index < d->count ? disk_block(d, n->kv_durable_index + 1, d->count)
                                               : NULL,
        .last_log_index = d->count,
        .applied_index = n->kv_durable_index,
        .configuration = configuration,
        .configuration_index = configuration_index,
        .may_not_vote = d->may_not_vote,
        .last_persist_sequence = d->sequence,
        .election_timeout_ms = CLUSTER_ELECTION_MS,
        .heartbeat_ms = CLUSTER_HEARTBEAT_MS,
        .leader_lease = c->leader_lease,
        .vote_guard = c->leader_lease,
        .window_bytes = c->window_bytes,
        .append_bytes_max = c->append_bytes_max,
        .cache_bytes_max = c->cache_bytes_max,
        .uncommitted_bytes_max = c->uncommitted_bytes_max,
        .apply_bytes_max = c->apply_bytes_max,
        .log_keep_bytes = c->log_keep_bytes,
        .disk_stall_ms = c->disk_stall_ms,
    };
    n->raft = raft_create(&boot);
    if (c->trim_step_entries != 0) {
        n->raft->trim_slack_entries = c->trim_slack_entries;
        n->raft->trim_step_entries = c->trim_step_entries;
    }
    n->up = true;
    n->starts++;
    n->applied_index = n->kv_durable_index;
    *n->table = *n->durable_table;
    mem_free(d->received); /* a file that no raft.db stands for */
    d->received = NULL;
    memset(n->snapshot_sent_us, 0, sizeof(n->snapshot_sent_us));
    n->commit_seen = cluster_status(c, id).commit_index;
    n->leader_term_seen = 0;
    n->role_seen = RAFT_FOLLOWER;
    n->term_seen = d->current_term;
    mem_free(runs);
    mem_free(configuration);
    cluster_tell(c, id, RAFT_EVENT_PEER_UP);
    struct raft_event tick = {.type = RAFT_EVENT_TICK};
    cluster_step(c, id, &tick);
}

void cluster_start_all(struct cluster *c)
{
    for (uint64_t id = 1; id <= c->count; id++) {
        cluster_start(c, id);
    }
}

/* Both directions of every connection of the node break or come up. */
void cluster_tell(struct cluster *c, uint64_t id, enum raft_event_type type)
{
    for (uint64_t other = 1; other <= c->count; other++) {
        if (other == id || !cluster_node(c, other)->up) {
            continue;
        }
        struct raft_event event = {.type = type, .peer = id};
        cluster_step(c, other, &event);
        if (cluster_node(c, id)->up) {
            struct raft_event back = {.type = type, .peer = other};
            cluster_step(c, id, &back);
        }
    }
}

void cluster_crash(struct cluster *c, uint64_t id, size_t keep)
{
    struct cluster_node *n = cluster_node(c, id);
    ASSERT(n->up);
    for (size_t i = 0; i < keep && n->disk.pending_count > 0; i++) {
        cluster_disk_write(n);
    }
    pending_free(&n->disk);
    n->disk.reading = false;
    applying_free(n);
    n->read_count = 0;
    raft_effects_clear(&n->effects);
    raft_destroy(&n->raft);
    n->up = false;
    /* Messages of an older boot are dropped by the handshake, and what was sent to it is lost. */
    cluster_forget_flights(c, id);
    cluster_tell(c, id, RAFT_EVENT_PEER_DOWN);
}

void cluster_damage(struct cluster *c, uint64_t id, uint64_t lost_from)
{
    struct cluster_node *n = cluster_node(c, id);
    ASSERT(!n->up);
    ASSERT(lost_from > n->disk.trimmed_index);
    disk_cut(&n->disk, lost_from);
    n->disk.may_not_vote = true;
}

/* ---- disk and state machine ----------------------------------------------------------------------------- */

/* The log begins anew and the received table takes over, at once. */
static void disk_reset(struct cluster_node *n, uint64_t index, uint64_t term,
                       const struct cluster_table *table)
{
    struct cluster_disk *d = &n->disk;
    ASSERT(index > d->trimmed_index);
    ASSERT(table->index == index);
    for (uint64_t i = d->trimmed_index + 1; i <= index && i <= d->count; i++) {
        bytes_free(&d->entries[i - 1].data);
    }
    while (d->count < index) {
        ARRAY_RESERVE(d->entries, d->capacity, d->count + 1);
        d->entries[d->count++] = (struct cluster_entry){0};
    }
    d->entries[index - 1].term = term;
    d->trimmed_index = index;
    d->trimmed_term = term;
    if (index > n->kv_durable_index) {
        *n->durable_table = *table;
        n->kv_durable_index = index;
    }
    if (d->trimmed_configuration == NULL) {
        d->trimmed_configuration = mem_alloc(sizeof(*d->trimmed_configuration));
    }
    *d->trimmed_configuration = table->configuration;
    d->trimmed_configuration_index = table->configuration_index;
}

/* The oldest persist under way is on disk now. */
uint64_t cluster_disk_write(struct cluster_node *n)
{
    struct cluster_disk *d = &n->disk;
    ASSERT(d->pending_count > 0);
    struct raft_persist *p = &d->pendings[0].persist;
    ASSERT(p->sequence == d->sequence + 1);
    if (p->truncate_from != 0) {
        ASSERT(p->truncate_from > d->trimmed_index);
        disk_cut(d, p->truncate_from);
    }
    if (p->reset_index != 0) {
        disk_reset(n, p->reset_index, p->reset_term, d->pendings[0].table);
        mem_free(d->pendings[0].table);
    }
    for (size_t i = 0; p->entries != NULL && i < p->entries->count; i++) {
        disk_append(d, &p->entries->items[i]);
    }
    ASSERT(p->current_term >= d->current_term);
    ASSERT(p->current_term > d->current_term || d->voted_for == 0 || p->voted_for == d->voted_for);
    d->current_term = p->current_term;
    d->voted_for = p->voted_for;
    d->may_not_vote = p->may_not_vote;
    d->sequence = p->sequence;
    entries_free(&p->entries);
    d->pending_count--;
    memmove(&d->pendings[0], &d->pendings[1], d->pending_count * sizeof(d->pendings[0]));
    return d->sequence;
}

void cluster_disk_hold(struct cluster *c, uint64_t id, bool held)
{
    cluster_node(c, id)->disk.held = held;
}

void cluster_disk_release(struct cluster *c, uint64_t id, size_t count)
{
    struct cluster_node *n = cluster_node(c, id);
    for (size_t i = 0; i < count && n->disk.pending_count > 0; i++) {
        struct raft_event event = {.type = RAFT_EVENT_DURABLE, .sequence = cluster_disk_write(n)};
        cluster_trace(c, "%" PRIu64 " durable %" PRIu64 "\n", id, event.sequence);
        cluster_step(c, id, &event);
    }
}

void cluster_apply_hold(struct cluster *c, uint64_t id, bool held)
{
    cluster_node(c, id)->apply_held = held;
}

void cluster_kv_flush(struct cluster *c, uint64_t id)
{
    struct cluster_node *n = cluster_node(c, id);
    if (raft_log_reset_pending(&n->raft->log)) {
        return; /* the table is not the one that raft.db stands for */
    }
    n->kv_durable_index = n->applied_index;
    *n->durable_table = *n->table;
    struct raft_event event = {.type = RAFT_EVENT_KV_DURABLE, .index = n->kv_durable_index};
    cluster_step(c, id, &event);
}

/* The answer to a log_read. */
void cluster_disk_read(struct cluster *c, struct cluster_node *n)
{
    struct cluster_disk *d = &n->disk;
    ASSERT(d->reading);
    d->reading = false;
    struct entries *block = NULL;
    if (d->read_from > d->trimmed_index && d->read_from <= d->count) {
        uint64_t last = d->read_from;
        uint64_t bytes = d->entries[last - 1].data.size + ENTRY_OVERHEAD;
        while (last < d->read_to && last < d->count) {
            bytes += d->entries[last].data.size + ENTRY_OVERHEAD;
            if (bytes > d->read_bytes_max) {
                break;
            }
            last++;
        }
        block = disk_block(d, d->read_from, last);
    }
    struct raft_event event = {
        .type = RAFT_EVENT_LOG_ENTRIES,
        .log_entries = {.from_index = d->read_from, .entries = block},
    };
    cluster_step(c, n->id, &event);
}

static void disk_trim(struct cluster_disk *d, uint64_t through)
{
    ASSERT(through > d->trimmed_index);
    ASSERT(through <= d->count);
    for (uint64_t i = d->trimmed_index + 1; i <= through; i++) {
        if (d->entries[i - 1].type == ENTRY_CONFIG) {
            if (d->trimmed_configuration == NULL) {
                d->trimmed_configuration = mem_alloc(sizeof(*d->trimmed_configuration));
            }
            enum err error =
                configuration_decode(bytes_view(&d->entries[i - 1].data), d->trimmed_configuration);
            ASSERT(error == OK);
            d->trimmed_configuration_index = i;
        }
        bytes_free(&d->entries[i - 1].data);
    }
    d->trimmed_term = d->entries[through - 1].term;
    d->trimmed_index = through;
    d->trim_index = through;
}

/* ---- effects --------------------------------------------------------------------------------------------------- */

static void take_reads(struct cluster *c, struct cluster_node *n)
{
    for (size_t i = 0; i < n->effects.read_count; i++) {
        const struct raft_read_answer *a = &n->effects.reads[i];
        ASSERT(a->error == OK);
        bool known = false;
        for (size_t k = 0; k < n->read_count; k++) {
            struct cluster_read *read = &n->reads[k];
            if (read->batch == a->batch) {
                ASSERT(!read->answered);
                /* Linearizable: nothing committed before the question may be missed. */
                ASSERT(a->index >= read->index_min);
                read->answered = true;
                read->index = a->index;
                known = true;
            }
        }
        ASSERT(known);
        cluster_trace(c, "%" PRIu64 " read %" PRIu64 " at %" PRIu64 "\n", n->id, a->batch,
                      a->index);
    }
}

static void take_persist(struct cluster *c, struct cluster_node *n)
{
    struct cluster_disk *d = &n->disk;
    uint64_t done = c->now_us + cluster_random(c, c->disk_us_max);
    if (d->pending_count > 0) {
        done = raft_max(done, d->pendings[d->pending_count - 1].done_us);
    }
    cluster_print_persist(c, n->id, &n->effects.persist);
    ARRAY_RESERVE(d->pendings, d->pending_capacity, d->pending_count + 1);
    d->pendings[d->pending_count++] =
        (struct cluster_pending){.persist = n->effects.persist, .done_us = done};
    if (n->effects.persist.reset_index != 0) {
        ASSERT(d->received != NULL);
        d->pendings[d->pending_count - 1].table = d->received;
        d->received = NULL;
    }
    n->effects.persist.entries = NULL;
    n->persist_count++;
}

static void carry_out(struct cluster *c, struct cluster_node *n)
{
    struct raft_effects *out = &n->effects;
    if (out->has_persist) {
        take_persist(c, n);
    }
    for (size_t i = 0; i < out->send_count; i++) {
        cluster_send(c, &out->sends[i]);
    }
    if (out->apply != NULL) {
        ARRAY_RESERVE(n->applying, n->applying_capacity, n->applying_count + 1);
        cluster_trace(c, "%" PRIu64 " apply %" PRIu64 "..%" PRIu64 "\n", n->id,
                      out->apply->first_index, entries_last_index(out->apply));
        if (n->applying_count == 0) {
            n->apply_done_us = c->now_us + cluster_random(c, c->apply_us_max);
        }
        n->applying[n->applying_count++] = out->apply;
        out->apply = NULL;
    }
    take_reads(c, n);
    if (out->log_read_from != 0) {
        ASSERT(!n->disk.reading);
        n->disk.reading = true;
        n->disk.read_from = out->log_read_from;
        n->disk.read_to = out->log_read_to;
        n->disk.read_bytes_max = out->log_read_bytes_max;
        n->disk.read_done_us = c->now_us + cluster_random(c, c->disk_us_max);
        n->disk.read_count++;
    }
    if (out->trim_index != 0) {
        disk_trim(&n->disk, out->trim_index);
    }
    uint64_t wanted[CLUSTER_NODES_MAX];
    size_t wanted_count = out->snapshot_wanted_count;
    ASSERT(wanted_count <= CLUSTER_NODES_MAX);
    for (size_t i = 0; i < wanted_count; i++) {
        wanted[i] = out->snapshots_wanted[i];
        cluster_trace(c, "%" PRIu64 " wants a snapshot sent to %" PRIu64 "\n", n->id, wanted[i]);
    }
    raft_effects_clear(out);
    for (size_t i = 0; i < wanted_count && !c->snapshots_held; i++) {
        (void)cluster_send_snapshot(c, n->id, wanted[i]);
    }
}

/* ---- steps -------------------------------------------------------------------------------------------------------- */

void cluster_step_only(struct cluster *c, uint64_t id, struct raft_event *event)
{
    struct cluster_node *n = cluster_node(c, id);
    ASSERT(n->up);
    event->now_us = cluster_clock_us(c, id);
    raft_step(n->raft, event, &n->effects);
    n->tick_us = true_time_us(c, id, n->effects.deadline_us);
    if (n->raft->role != n->role_seen || n->raft->current_term != n->term_seen) {
        n->role_seen = n->raft->role;
        n->term_seen = n->raft->current_term;
        cluster_trace(c, "%" PRIu64 " is %s, term %" PRIu64 "\n", id, raft_role_text(n->role_seen),
                      n->term_seen);
    }
    uint64_t committed = n->commit_seen;
    cluster_check_node(c, n);
    if (n->commit_seen != committed) {
        cluster_trace(c, "%" PRIu64 " commit %" PRIu64 "\n", id, n->commit_seen);
    }
}

void cluster_flush(struct cluster *c, uint64_t id)
{
    struct raft_event flush = {.type = RAFT_EVENT_FLUSH};
    cluster_step_only(c, id, &flush);
    carry_out(c, cluster_node(c, id));
}

void cluster_step(struct cluster *c, uint64_t id, struct raft_event *event)
{
    cluster_step_only(c, id, event);
    cluster_flush(c, id);
}

void cluster_tick(struct cluster *c, uint64_t id)
{
    struct raft_event tick = {.type = RAFT_EVENT_TICK};
    cluster_step(c, id, &tick);
}

void cluster_time_out(struct cluster *c, uint64_t id)
{
    c->now_us =
        raft_max(c->now_us, true_time_us(c, id, cluster_node(c, id)->raft->election_deadline_us));
    cluster_tick(c, id);
}

void cluster_receive(struct cluster *c, struct raft_message *m)
{
    bool snapshot = m->type == RAFT_INSTALL_SNAPSHOT || m->type == RAFT_INSTALL_SNAPSHOT_REPLY;
    struct raft_message taken = snapshot ? cluster_copy(m) : (struct raft_message){0};
    struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .received = m};
    cluster_step(c, m->to, &event);
    if (snapshot) {
        cluster_take_snapshot_message(c, &taken);
        raft_message_free(&taken);
    }
}

enum err cluster_propose(struct cluster *c, uint64_t id, const char *text)
{
    struct cluster_node *n = cluster_node(c, id);
    struct entries *block = entries_create(1, strlen(text));
    struct entry e = {.type = ENTRY_COMMAND,
                      .origin = id * 1000 + n->starts,
                      .request_id = ++n->next_request,
                      .data = view_of_text(text)};
    entries_add(block, &e);
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .propose = {.commands = block}};
    cluster_step(c, id, &event);
    entries_free(&block);
    return event.propose.error;
}

enum err cluster_change(struct cluster *c, uint64_t id, const uint64_t *voters,
                        const uint64_t *learners)
{
    struct configuration *target = mem_zalloc(sizeof(*target));
    for (int half = 0; half < 2; half++) {
        const uint64_t *ids = half == 0 ? voters : learners;
        for (size_t i = 0; ids != NULL && ids[i] != 0; i++) {
            struct member *m = &target->members[target->count++];
            m->id = ids[i];
            (void)snprintf(m->name, sizeof(m->name), "n%" PRIu64, m->id);
            (void)snprintf(m->peer, sizeof(m->peer), "10.0.0.%" PRIu64 ":2380", m->id);
            (void)snprintf(m->client, sizeof(m->client), "10.0.0.%" PRIu64 ":2379", m->id);
            m->voter_incoming = half == 0;
        }
    }
    struct raft_event event = {.type = RAFT_EVENT_CHANGE_CONFIGURATION,
                               .change = {.target = target}};
    cluster_step(c, id, &event);
    mem_free(target);
    return event.change.error;
}

enum err cluster_transfer(struct cluster *c, uint64_t id, uint64_t target)
{
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .transfer = {.target = target}};
    cluster_step(c, id, &event);
    return event.transfer.error;
}

/* ---- snapshots ---------------------------------------------------------------------------------------------------- */

enum err cluster_send_snapshot(struct cluster *c, uint64_t id, uint64_t member)
{
    struct cluster_node *n = cluster_node(c, id);
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_READY,
                               .snapshot_ready = {.member = member, .index = n->table->index}};
    cluster_step_only(c, id, &event);
    if (event.snapshot_ready.error != OK) {
        return event.snapshot_ready.error;
    }
    struct buffer octets = {0};
    buffer_u64(&octets, n->table->digest);
    buffer_u64(&octets, n->table->configuration_index);
    configuration_encode(&n->table->configuration, &octets);
    struct raft_message m = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .from = id,
        .to = member,
        .term = n->raft->current_term,
        .last_included_index = n->table->index,
        .last_included_term = n->table->term,
        .total_bytes = octets.size,
        .chunk = bytes_copy(view_of(octets.data, octets.size)),
        .done = true,
    };
    buffer_free(&octets);
    n->snapshot_sent_us[member] = c->now_us;
    cluster_send(c, &m);
    return OK;
}

static void install(struct cluster *c, struct cluster_node *n, const struct raft_message *m)
{
    struct cluster_table *t = mem_zalloc(sizeof(*t));
    struct reader in = {.data = m->chunk.data, .size = m->chunk.size};
    t->index = m->last_included_index;
    t->term = m->last_included_term;
    t->digest = reader_u64(&in);
    t->configuration_index = reader_u64(&in);
    enum err error = configuration_decode(view_of(in.data, in.size), &t->configuration);
    ASSERT(error == OK);
    /* No CONFIG entry among what was applied: the members everybody was started with. */
    bool first = t->configuration.count == 0 && !c->blank;
    struct raft_event event = {
        .type = RAFT_EVENT_SNAPSHOT_INSTALLED,
        .snapshot_installed = {.index = t->index,
                               .term = t->term,
                               .configuration = first ? &c->configuration : &t->configuration},
    };
    cluster_step_only(c, n->id, &event);
    if (event.snapshot_installed.accepted) {
        cluster_trace(c, "%" PRIu64 " installs %" PRIu64 "/%" PRIu64 "\n", n->id, t->index,
                      t->term);
        cluster_table_agrees(c, t);
        if (first) {
            t->configuration = c->configuration;
        }
        applying_free(n);
        n->applied_index = t->index;
        *n->table = *t;
        n->snapshots_installed++;
        mem_free(n->disk.received);
        n->disk.received = t;
    } else {
        mem_free(t);
    }
    cluster_flush(c, n->id);
}

void cluster_take_snapshot_message(struct cluster *c, const struct raft_message *m)
{
    struct cluster_node *n = cluster_node(c, m->to);
    if (m->term != n->raft->current_term) {
        return;
    }
    if (m->type == RAFT_INSTALL_SNAPSHOT) {
        install(c, n, m);
        struct raft_message reply = {
            .type = RAFT_INSTALL_SNAPSHOT_REPLY,
            .from = n->id,
            .to = m->from,
            .term = m->term,
            .last_included_index = m->last_included_index,
            .last_included_term = m->last_included_term,
            .offset = m->total_bytes,
            .granted = true,
            .done = true,
        };
        cluster_send(c, &reply);
    } else if (n->snapshot_sent_us[m->from] != 0) {
        n->snapshot_sent_us[m->from] = 0;
        struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_SENT,
                                   .snapshot_sent = {.member = m->from, .installed = m->done}};
        cluster_step(c, n->id, &event);
    }
}

void cluster_snapshot_overdue(struct cluster *c, struct cluster_node *n, uint64_t member)
{
    n->snapshot_sent_us[member] = 0;
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_SENT,
                               .snapshot_sent = {.member = member, .installed = false}};
    cluster_step(c, n->id, &event);
}

size_t cluster_read(struct cluster *c, uint64_t id)
{
    struct cluster_node *n = cluster_node(c, id);
    uint64_t committed = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->nodes[i].up) {
            committed = raft_max(committed, c->nodes[i].raft->commit_index);
        }
    }
    struct raft_event event = {.type = RAFT_EVENT_READ};
    cluster_step_only(c, id, &event);
    ARRAY_RESERVE(n->reads, n->read_capacity, n->read_count + 1);
    n->reads[n->read_count++] =
        (struct cluster_read){.batch = event.read.batch, .index_min = committed};
    cluster_flush(c, id);
    return n->read_count - 1;
}

struct raft_status cluster_status(struct cluster *c, uint64_t id)
{
    struct raft_status status;
    raft_status(cluster_node(c, id)->raft, &status);
    return status;
}
