/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_network.c: messages in flight and the passing of time. One list of flights; what is due first
 * happens first, ties in the order of sending, so a seed replays exactly.
 */
#include "cluster_internal.h"

uint64_t cluster_random(struct cluster *c, uint64_t max)
{
    return max == 0 ? 0 : random_below(&c->random, max + 1);
}

/* ---- flights --------------------------------------------------------------------------------------- */

struct raft_message cluster_copy(const struct raft_message *m)
{
    struct raft_message copy = *m;
    copy.entries = m->entries == NULL ? NULL : entries_copy(m->entries);
    copy.chunk = bytes_copy(bytes_view(&m->chunk));
    return copy;
}

static void add_flight(struct cluster *c, const struct raft_message *m)
{
    ARRAY_RESERVE(c->flights, c->flight_capacity, c->flight_count + 1);
    c->flights[c->flight_count++] = (struct cluster_flight){
        .message = *m,
        .arrive_us = c->now_us + cluster_random(c, c->delay_us_max),
    };
}

void cluster_send(struct cluster *c, struct raft_message *m)
{
    ASSERT(m->to >= 1);
    ASSERT(m->to <= c->count);
    struct raft_message sent = *m;
    m->entries = NULL;
    m->chunk = (struct bytes){0};
    c->sent_count++;

    /* Over the wire and back: what the encoding loses, the cluster does not get. */
    struct buffer wire = {0};
    raft_message_encode(&sent, &wire);
    raft_message_free(&sent);
    enum err error = raft_message_decode(view_of(wire.data, wire.size), &sent);
    ASSERT(error == OK);
    buffer_free(&wire);

    if (c->trace != NULL) {
        cluster_print_message(c->trace, &sent);
    }
    bool nobody = !c->network_held && !cluster_node(c, sent.to)->up;
    bool lost = c->cut[sent.from][sent.to] || nobody || cluster_random(c, 999) < c->drop_permille;
    if (lost) {
        cluster_trace(c, "  lost\n");
        raft_message_free(&sent);
        return;
    }
    cluster_trace(c, "\n");
    if (cluster_random(c, 999) < c->duplicate_permille) {
        struct raft_message copy = cluster_copy(&sent);
        add_flight(c, &copy);
    }
    add_flight(c, &sent);
}

static struct raft_message take_flight(struct cluster *c, size_t at)
{
    struct raft_message m = c->flights[at].message;
    c->flight_count--;
    memmove(&c->flights[at], &c->flights[at + 1], (c->flight_count - at) * sizeof(c->flights[0]));
    return m;
}

static bool is_like(const struct raft_message *m, uint64_t from, uint64_t to,
                    enum raft_message_type type)
{
    return (from == 0 || m->from == from) && (to == 0 || m->to == to) &&
           (type == 0 || m->type == type);
}

static size_t find(struct cluster *c, uint64_t from, uint64_t to, enum raft_message_type type)
{
    size_t at = 0;
    while (at < c->flight_count && !is_like(&c->flights[at].message, from, to, type)) {
        at++;
    }
    return at;
}

struct raft_message *cluster_find(struct cluster *c, uint64_t from, uint64_t to,
                                  enum raft_message_type type)
{
    size_t at = find(c, from, to, type);
    return at < c->flight_count ? &c->flights[at].message : NULL;
}

size_t cluster_count_flights(struct cluster *c, uint64_t from, uint64_t to,
                             enum raft_message_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < c->flight_count; i++) {
        count += is_like(&c->flights[i].message, from, to, type) ? 1 : 0;
    }
    return count;
}

static void deliver_at(struct cluster *c, size_t at)
{
    struct raft_message m = take_flight(c, at);
    if (cluster_node(c, m.to)->up && !c->cut[m.from][m.to]) {
        cluster_receive(c, &m);
    } else {
        raft_message_free(&m);
    }
}

bool cluster_deliver(struct cluster *c, uint64_t from, uint64_t to, enum raft_message_type type)
{
    size_t at = find(c, from, to, type);
    if (at == c->flight_count) {
        return false;
    }
    deliver_at(c, at);
    return true;
}

bool cluster_lose(struct cluster *c, uint64_t from, uint64_t to, enum raft_message_type type)
{
    size_t at = find(c, from, to, type);
    if (at == c->flight_count) {
        return false;
    }
    struct raft_message m = take_flight(c, at);
    raft_message_free(&m);
    return true;
}

void cluster_lose_all(struct cluster *c)
{
    while (c->flight_count > 0) {
        struct raft_message m = take_flight(c, c->flight_count - 1);
        raft_message_free(&m);
    }
}

void cluster_forget_flights(struct cluster *c, uint64_t id)
{
    for (size_t i = c->flight_count; i-- > 0;) {
        const struct raft_message *m = &c->flights[i].message;
        if (m->from == id || m->to == id) {
            struct raft_message gone = take_flight(c, i);
            raft_message_free(&gone);
        }
    }
}

void cluster_cut(struct cluster *c, uint64_t from, uint64_t to, bool cut)
{
    c->cut[from][to] = cut;
}

void cluster_isolate(struct cluster *c, uint64_t id, bool isolated)
{
    for (uint64_t other = 1; other <= c->count; other++) {
        if (other != id) {
            c->cut[id][other] = isolated;
            c->cut[other][id] = isolated;
        }
    }
}

void cluster_heal(struct cluster *c)
{
    memset(c->cut, 0, sizeof(c->cut));
}

/* ---- time --------------------------------------------------------------------------------------------- */

enum due_kind { DUE_NOTHING, DUE_FLIGHT, DUE_DISK, DUE_READ, DUE_APPLY, DUE_TICK, DUE_SNAPSHOT };

#define SNAPSHOT_OVERDUE_US (3 * CLUSTER_ELECTION_US)

struct due {
    enum due_kind kind;
    uint64_t at_us;
    size_t which;
};

static void consider(struct due *best, enum due_kind kind, uint64_t at_us, size_t which)
{
    if (best->kind == DUE_NOTHING || at_us < best->at_us) {
        *best = (struct due){.kind = kind, .at_us = at_us, .which = which};
    }
}

static struct due next_due(struct cluster *c, bool ticks)
{
    struct due best = {.kind = DUE_NOTHING, .at_us = UINT64_MAX};
    for (size_t i = 0; i < c->flight_count && !c->network_held; i++) {
        consider(&best, DUE_FLIGHT, c->flights[i].arrive_us, i);
    }
    for (size_t i = 0; i < c->count; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (!n->up) {
            continue;
        }
        if (n->disk.pending_count > 0 && !n->disk.held) {
            consider(&best, DUE_DISK, n->disk.pendings[0].done_us, i);
        }
        if (n->disk.reading && !n->disk.held) {
            consider(&best, DUE_READ, n->disk.read_done_us, i);
        }
        if (n->applying_count > 0 && !n->apply_held) {
            consider(&best, DUE_APPLY, n->apply_done_us, i);
        }
        for (uint64_t id = 1; ticks && id <= c->count; id++) {
            if (n->snapshot_sent_us[id] != 0) {
                consider(&best, DUE_SNAPSHOT, n->snapshot_sent_us[id] + SNAPSHOT_OVERDUE_US,
                         i + c->count * id);
            }
        }
        if (ticks && n->tick_us != UINT64_MAX) {
            consider(&best, DUE_TICK, n->tick_us, i);
        }
    }
    return best;
}

static void finish_apply(struct cluster *c, struct cluster_node *n)
{
    struct entries *block = n->applying[0];
    n->applying_count--;
    memmove(&n->applying[0], &n->applying[1], n->applying_count * sizeof(n->applying[0]));
    n->apply_done_us = c->now_us + cluster_random(c, c->apply_us_max);
    cluster_applied(c, n, block);
    struct raft_event event = {.type = RAFT_EVENT_APPLIED, .index = entries_last_index(block)};
    entries_free(&block);
    cluster_step(c, n->id, &event);
}

static void carry_out(struct cluster *c, const struct due *due)
{
    c->now_us = raft_max(c->now_us, due->at_us);
    struct cluster_node *n = due->kind == DUE_FLIGHT ? NULL : &c->nodes[due->which % c->count];
    switch (due->kind) {
    case DUE_NOTHING:
        break;
    case DUE_FLIGHT:
        deliver_at(c, due->which);
        break;
    case DUE_DISK:
        cluster_disk_release(c, n->id, 1);
        break;
    case DUE_READ:
        cluster_disk_read(c, n);
        break;
    case DUE_APPLY:
        finish_apply(c, n);
        break;
    case DUE_TICK:
        cluster_tick(c, n->id);
        break;
    case DUE_SNAPSHOT:
        cluster_snapshot_overdue(c, n, due->which / c->count);
        break;
    }
}

static void run_until(struct cluster *c, uint64_t until_us, bool ticks)
{
    size_t steps_at_once = 0;
    for (;;) {
        struct due due = next_due(c, ticks);
        if (due.kind == DUE_NOTHING || due.at_us > until_us) {
            break;
        }
        steps_at_once = due.at_us > c->now_us ? 0 : steps_at_once + 1;
        ASSERT(steps_at_once < CLUSTER_SETTLE_STEPS_MAX);
        carry_out(c, &due);
    }
    c->now_us = raft_max(c->now_us, until_us);
}

void cluster_settle(struct cluster *c)
{
    run_until(c, c->now_us, false);
}

void cluster_run(struct cluster *c, uint64_t for_us)
{
    run_until(c, c->now_us + for_us, true);
}

/* ---- leaders --------------------------------------------------------------------------------------------- */

uint64_t cluster_leader(struct cluster *c)
{
    uint64_t leader = 0;
    uint64_t term = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (n->up && n->raft->role == RAFT_LEADER && n->raft->current_term > term) {
            term = n->raft->current_term;
            leader = n->id;
        }
    }
    return leader;
}

void cluster_elect(struct cluster *c, uint64_t id)
{
    /* A living leader would rightly keep its office: others' links to it are cut for the time being. */
    bool cut[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1];
    memcpy(cut, c->cut, sizeof(cut));
    for (uint64_t other = 1; other <= c->count; other++) {
        const struct cluster_node *n = cluster_node(c, other);
        if (other != id && n->up && n->raft->role == RAFT_LEADER) {
            cluster_isolate(c, other, true);
        }
    }
    cluster_time_out(c, id);
    cluster_settle(c);
    ASSERT(cluster_node(c, id)->raft->role == RAFT_LEADER);
    memcpy(c->cut, cut, sizeof(cut));
    for (int beat = 0; beat < 2; beat++) {
        c->now_us += CLUSTER_HEARTBEAT_US; /* the old leader hears of it */
        cluster_tick(c, id);
        cluster_settle(c);
    }
}

void cluster_lead_alone(struct cluster *c, uint64_t id)
{
    ASSERT(c->network_held);
    cluster_time_out(c, id);
    for (int round = 0; round < 2; round++) {
        for (uint64_t other = 1; other <= c->count; other++) {
            const struct raft *r = cluster_node(c, id)->raft;
            bool pre_vote = r->role == RAFT_PRE_CANDIDATE;
            if (other == id || r->role == RAFT_LEADER) {
                continue;
            }
            struct raft_message grant = {
                .type = pre_vote ? RAFT_PRE_VOTE_REPLY : RAFT_VOTE_REPLY,
                .from = other,
                .to = id,
                .term = r->current_term + (pre_vote ? 1 : 0),
                .granted = true,
            };
            cluster_receive(c, &grant);
        }
        cluster_settle(c);
    }
    ASSERT(cluster_node(c, id)->raft->role == RAFT_LEADER);
    cluster_lose_all(c);
}

bool cluster_await_leader(struct cluster *c, uint64_t for_us)
{
    uint64_t until = c->now_us + for_us;
    while (c->now_us < until) {
        cluster_run(c, CLUSTER_HEARTBEAT_US);
        uint64_t leader = cluster_leader(c);
        if (leader != 0 && cluster_status(c, leader).term_committed) {
            return true;
        }
    }
    return false;
}
