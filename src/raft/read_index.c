/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read_index.c: linearizable reads without the log. In: READ events, READ_INDEX of followers,
 * acknowledged rounds. Out: an index per batch of reads. Raft §8, Thesis §6.4.
 *
 * Reads join the open batch. A batch closes when its question is sent, and no later read joins it
 * (trap 36). On the leader the question is a round: a number that rides on append_entries; when a quorum
 * has acknowledged a number >= it in the same term, nobody else led when the round began, so the commit
 * index of that moment is safe to read at (traps 28, 30). The round waits for the term's no-op, without
 * which the commit index may lag behind what an earlier leader answered (traps 28, 29). On a follower
 * the question is a READ_INDEX to the leader; its answer says how far to apply before reading
 * (trap 33). Ids are a random part drawn at start and a counter, so none is used twice (trap 31), and a
 * new leader gets a new one (trap 32).
 *
 * A follower's question is itself an acknowledgement: it was sent after the batch was closed, and says that its
 * sender had moved to no later term by then. Where the leader and the asker are a quorum, as among three voters, the
 * leader answers at once and its whole share in the batch is one small message. Where they are not (five voters, a
 * learner asks) all questions that have come share a round. With a lease (leader_lease.c) nobody is asked.
 *
 * What is lost is asked again after some tens of milliseconds, or two round trips where those are longer: by a follower its question, by the
 * leader the round, of those who have not acknowledged it and got no append since. A batch whose leader is lost is
 * asked again by itself; how long its readers wait is the caller's to bound. At most READ_ROUNDS_MAX questions are
 * outstanding; further reads gather in the open batch.
 *
 * Each answer carries the moment when its batch was closed, by our own clock: whoever may read what is so old need
 * not ask again (raft_read_answer.as_of_us).
 *
 * Invariants
 *  1. confirmed_round <= read_round <= confirmed_round + READ_ROUNDS_MAX.
 *  2. A request has a round only while this node leads.
 *  3. A damaged node's acknowledgements do not count, nor do its questions (trap 22).
 */
#include "raft_internal.h"

#define READ_ID_COUNTER_BITS 32

void read_index_init(struct raft *r)
{
    uint64_t high = random_next(&r->random) | 1;
    r->read_id_next = (high << READ_ID_COUNTER_BITS) | 1;
    r->open_batch = 1;
}

void read_index_round_trip(struct raft *r, uint64_t asked_us)
{
    uint64_t took_us = r->now_us > asked_us ? r->now_us - asked_us : 0;
    r->round_trip_us = raft_max(took_us, r->round_trip_us - r->round_trip_us / 8);
}

static uint64_t retry_us(const struct raft *r)
{
    return raft_min(raft_max(READ_RETRY_US, 2 * r->round_trip_us), r->heartbeat_us);
}

uint64_t read_index_join(struct raft *r)
{
    r->open_read_count++;
    return r->open_batch;
}

static void remove_at(struct raft *r, size_t at)
{
    r->read_count--;
    memmove(&r->reads[at], &r->reads[at + 1], (r->read_count - at) * sizeof(r->reads[0]));
}

static size_t own_count(const struct raft *r)
{
    size_t count = 0;
    for (size_t i = 0; i < r->read_count; i++) {
        count += r->reads[i].batch != 0 ? 1 : 0;
    }
    return count;
}

void read_index_leader_changed(struct raft *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->read_count; i++) {
        if (r->reads[i].batch != 0) {
            /* Followers ask again by themselves; own batches are kept and asked anew. */
            r->reads[kept++] = (struct read_request){.batch = r->reads[i].batch,
                                                     .closed_us = r->reads[i].closed_us};
        }
    }
    r->read_count = kept;
    r->confirmed_round = r->read_round;
    r->heal_read_id = 0;
}

static void close_batch(struct raft *r)
{
    ASSERT(r->read_count < READ_REQUESTS_MAX);
    r->reads[r->read_count++] =
        (struct read_request){.batch = r->open_batch, .closed_us = r->now_us};
    r->open_batch++;
    r->open_read_count = 0;
}

static void answer(struct raft *r, const struct read_request *q, struct raft_effects *out)
{
    if (q->batch != 0) {
        ARRAY_RESERVE(out->reads, out->read_capacity, out->read_count + 1);
        out->reads[out->read_count++] = (struct raft_read_answer){
            .batch = q->batch, .index = q->read_index, .as_of_us = q->closed_us, .error = OK};
        return;
    }
    struct raft_message m = {
        .type = RAFT_READ_INDEX_REPLY,
        .to = q->from,
        .term = r->current_term,
        .read_id = q->read_id,
        .read_index = q->read_index,
        .granted = true,
    };
    raft_outbox_push(r, &m);
}

/* ---- as leader ------------------------------------------------------------------------------------- */

static uint64_t round_of(void *context, uint64_t id)
{
    const struct raft *r = context;
    if (id == r->id) {
        return r->may_not_vote ? 0 : UINT64_MAX;
    }
    const struct progress *p = replication_find(r, id);
    return p == NULL ? 0 : p->acked_round;
}

static void begin_round(struct raft *r)
{
    bool waiting = r->open_read_count > 0;
    for (size_t i = 0; i < r->read_count; i++) {
        waiting = waiting || r->reads[i].round == 0;
    }
    bool too_many = r->read_round - r->confirmed_round >= READ_ROUNDS_MAX;
    if (!waiting || too_many || r->commit_index < r->term_first_index) {
        return;
    }
    if (r->open_read_count > 0) {
        close_batch(r);
    }
    r->read_round++;
    for (size_t i = 0; i < r->read_count; i++) {
        if (r->reads[i].round == 0) {
            r->reads[i].round = r->read_round;
            r->reads[i].read_index = r->commit_index;
        }
    }
}

struct pair {
    uint64_t leader, asker;
};

static bool is_of_pair(void *context, uint64_t id)
{
    const struct pair *pair = context;
    return id == pair->leader || id == pair->asker;
}

/* The leader and who asks are a quorum by themselves. */
static bool is_vouched(const struct raft *r, const struct read_request *q)
{
    if (q->batch != 0 || !q->vouched || r->may_not_vote) {
        return false;
    }
    struct pair pair = {.leader = r->id, .asker = q->from};
    return configuration_has_quorum(membership_current(r), is_of_pair, &pair);
}

/* Answer what is confirmed: by its round, by who asked, or by the lease. */
static void answer_confirmed(struct raft *r, struct raft_effects *out)
{
    uint64_t confirmed = configuration_quorum_value(membership_current(r), round_of, r);
    confirmed = raft_min(confirmed, r->read_round);
    r->confirmed_round = raft_max(r->confirmed_round, confirmed);
    if (r->commit_index < r->term_first_index) {
        return; /* no round has begun either */
    }
    bool leased = leader_lease_holds(r);
    size_t kept = 0;
    for (size_t i = 0; i < r->read_count; i++) {
        struct read_request q = r->reads[i];
        bool by_round = q.round != 0 && q.round <= r->confirmed_round;
        if (!by_round && !leased && !is_vouched(r, &q)) {
            r->reads[kept++] = q;
            continue;
        }
        q.read_index = by_round ? q.read_index : r->commit_index;
        answer(r, &q, out);
    }
    r->read_count = kept;
    if (leased && r->open_read_count > 0) {
        close_batch(r);
        struct read_request q = r->reads[--r->read_count];
        q.read_index = r->commit_index;
        answer(r, &q, out);
    }
}

void read_index_on_request(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_LEADER || m->term < r->current_term) {
        struct raft_message refusal = {
            .type = RAFT_READ_INDEX_REPLY,
            .to = m->from,
            .term = r->current_term,
            .read_id = m->read_id,
            .granted = false,
        };
        raft_outbox_push(r, &refusal);
        return;
    }
    if (m->flag_no_vote) {
        replication_member_damaged(r, m->from);
    }
    for (size_t i = 0; i < r->read_count; i++) {
        if (r->reads[i].batch == 0 && r->reads[i].from == m->from &&
            r->reads[i].read_id == m->read_id) {
            return; /* asked again while the round is under way */
        }
    }
    /* Room for the own batches stays; who is turned away asks again. */
    if (r->read_count < READ_REQUESTS_MAX - READ_ROUNDS_MAX - 1) {
        r->reads[r->read_count++] = (struct read_request){
            .from = m->from, .read_id = m->read_id, .vouched = !m->flag_no_vote};
    }
}

/* ---- as follower ------------------------------------------------------------------------------------ */

static void ask(struct raft *r, uint64_t *read_id, uint64_t *asked_us)
{
    if (*read_id == 0) {
        *read_id = r->read_id_next++;
    }
    *asked_us = r->now_us;
    struct raft_message m = {
        .type = RAFT_READ_INDEX,
        .to = r->leader,
        .term = r->current_term,
        .read_id = *read_id,
        .flag_no_vote = r->may_not_vote,
    };
    raft_outbox_push(r, &m);
}

static bool is_due(const struct raft *r, uint64_t read_id, uint64_t asked_us)
{
    return read_id == 0 || r->now_us >= asked_us + retry_us(r);
}

static bool wants_heal_index(const struct raft *r)
{
    return r->may_not_vote && r->heal_index == UINT64_MAX;
}

static void ask_leader(struct raft *r)
{
    if (r->leader == 0) {
        return;
    }
    if (r->open_read_count > 0 && own_count(r) < READ_ROUNDS_MAX) {
        close_batch(r);
    }
    for (size_t i = 0; i < r->read_count; i++) {
        struct read_request *q = &r->reads[i];
        if (is_due(r, q->read_id, q->asked_us)) {
            q->first_asked_us = q->read_id == 0 ? r->now_us : q->first_asked_us;
            ask(r, &q->read_id, &q->asked_us);
        }
    }
    if (wants_heal_index(r) && is_due(r, r->heal_read_id, r->heal_asked_us)) {
        ask(r, &r->heal_read_id, &r->heal_asked_us);
    }
}

void read_index_on_reply(struct raft *r, const struct raft_message *m, struct raft_effects *out)
{
    /* Not granted: the leader was not one; the retry or the new leader will do. */
    if (!m->granted || m->read_id == 0 || m->from != r->leader) {
        return;
    }
    if (wants_heal_index(r) && m->read_id == r->heal_read_id) {
        r->heal_index = m->read_index;
        return;
    }
    for (size_t i = 0; i < r->read_count; i++) {
        if (r->reads[i].batch != 0 && r->reads[i].read_id == m->read_id) {
            read_index_round_trip(r, r->reads[i].first_asked_us);
            r->reads[i].read_index = m->read_index;
            answer(r, &r->reads[i], out);
            remove_at(r, i);
            return;
        }
    }
}

void read_index_peer_up(struct raft *r, uint64_t peer)
{
    if (r->role == RAFT_LEADER || peer != r->leader) {
        return;
    }
    /* What we asked over the old connection may be lost. */
    for (size_t i = 0; i < r->read_count; i++) {
        r->reads[i].read_id = 0;
    }
    r->heal_read_id = 0;
}

/* ---- flush ---------------------------------------------------------------------------------------------- */

void read_index_flush(struct raft *r, struct raft_effects *out)
{
    if (r->role == RAFT_LEADER) {
        answer_confirmed(r, out); /* makes room for the next round */
        begin_round(r);
        answer_confirmed(r, out); /* a sole voter needs nobody else */
    } else {
        ask_leader(r);
    }
}

bool read_index_round_lost(const struct raft *r, const struct progress *p)
{
    return r->read_round > r->confirmed_round && p->acked_round < p->sent_round &&
           r->now_us >= p->sent_us + retry_us(r) &&
           configuration_is_voter(membership_current(r), p->id);
}

static uint64_t round_deadline_us(const struct raft *r)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < r->progress_count && r->read_round > r->confirmed_round; i++) {
        const struct progress *p = &r->progress[i];
        if (p->acked_round < p->sent_round &&
            configuration_is_voter(membership_current(r), p->id)) {
            at = raft_min(at, p->sent_us + retry_us(r));
        }
    }
    return at;
}

uint64_t read_index_deadline_us(const struct raft *r)
{
    uint64_t at = UINT64_MAX;
    if (r->role == RAFT_LEADER) {
        return round_deadline_us(r);
    }
    if (r->leader == 0) {
        return at;
    }
    for (size_t i = 0; i < r->read_count; i++) {
        at = raft_min(at, r->reads[i].asked_us + retry_us(r));
    }
    if (wants_heal_index(r)) {
        at = raft_min(at, r->heal_asked_us + retry_us(r));
    }
    return at;
}
