/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_read_index.c: linearizable reads on the leader and on followers. Raft §8, Thesis §6.4; traps 22
 * (quorum), 28-33, 36. Leases are in test_leader_lease.c. The fake cluster asserts for every answer that its index is not below what was
 * committed anywhere when the read was asked.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

/* Node 1 leads; 2 and 3 are the test. The no-op is committed unless said otherwise. */
static struct cluster *leader(bool committed)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    cluster_lead_alone(c, 1);
    if (committed) {
        struct raft_message m = {.type = RAFT_APPEND_REPLY,
                                 .from = 2,
                                 .to = 1,
                                 .term = 1,
                                 .granted = true,
                                 .match_index = 1};
        cluster_receive(c, &m);
        cluster_settle(c);
        cluster_lose_all(c);
    }
    return c;
}

static void acknowledge(struct cluster *c, uint64_t from, uint64_t match_index, uint64_t round)
{
    struct raft_message m = {.type = RAFT_APPEND_REPLY,
                             .from = from,
                             .to = 1,
                             .term = cluster_status(c, 1).current_term,
                             .granted = true,
                             .match_index = match_index,
                             .read_round = round};
    cluster_receive(c, &m);
    cluster_settle(c);
}

static bool answered(struct cluster *c, uint64_t id, size_t read)
{
    return cluster_node(c, id)->reads[read].answered;
}

/* A round goes to all with the appends; a quorum, the leader included, confirms it. */
static void a_quorum_confirms_a_round(void)
{
    struct cluster *c = leader(true);
    size_t read = cluster_read(c, 1);
    CU_ASSERT_FALSE(answered(c, 1, read));
    for (uint64_t to = 2; to <= 3; to++) {
        const struct raft_message *m = cluster_find(c, 1, to, RAFT_APPEND_ENTRIES);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL(m->read_round, 1);
    }
    acknowledge(c, 3, 0, 1);
    CU_ASSERT_TRUE(answered(c, 1, read));
    CU_ASSERT_EQUAL(cluster_node(c, 1)->reads[read].index, 1);
    cluster_destroy(&c);
}

/* The round rides on an append that is sent anyway: no message of its own. */
static void a_round_rides_on_the_append(void)
{
    struct cluster *c = leader(true);
    acknowledge(c, 3, 1, 0);
    cluster_lose_all(c);
    struct entries *block = entries_create(1, 0);
    struct entry e = {.type = ENTRY_COMMAND};
    entries_add(block, &e);
    struct raft_event propose = {.type = RAFT_EVENT_PROPOSE, .propose = {.commands = block}};
    cluster_step_only(c, 1, &propose);
    entries_free(&block);
    (void)cluster_read(c, 1);
    CU_ASSERT_EQUAL(c->flight_count, 2);
    const struct raft_message *m = cluster_find(c, 1, 2, RAFT_APPEND_ENTRIES);
    CU_ASSERT_EQUAL(m->read_round, 1);
    CU_ASSERT_PTR_NOT_NULL(m->entries);
    cluster_destroy(&c);
}

/* Traps 28, 29: no read before an entry of the term is committed; then it is answered at or above it. */
static void reads_wait_for_the_terms_no_op(void)
{
    struct cluster *c = leader(false);
    size_t read = cluster_read(c, 1);
    CU_ASSERT_EQUAL(c->flight_count, 0); /* not even a round begins */
    acknowledge(c, 2, 0, 0);
    acknowledge(c, 3, 0, 0);
    CU_ASSERT_FALSE(answered(c, 1, read));
    cluster_lose_all(c);
    acknowledge(c, 2, 1, 0); /* commits the no-op; the round begins now */
    CU_ASSERT_FALSE(answered(c, 1, read));
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, 0)->read_round, 1);
    acknowledge(c, 2, 1, 1);
    CU_ASSERT_TRUE(answered(c, 1, read));
    CU_ASSERT_EQUAL(cluster_node(c, 1)->reads[read].index, 1);
    cluster_destroy(&c);
}

/* Trap 30: an acknowledgement of what was sent before the read arrived does not count, however late it
 * comes. */
static void earlier_acknowledgements_do_not_count(void)
{
    struct cluster *c = leader(true);
    size_t first = cluster_read(c, 1);
    size_t second = cluster_read(c, 1);
    acknowledge(c, 2, 1, 0); /* the answer to an older heartbeat */
    CU_ASSERT_FALSE(answered(c, 1, first));
    acknowledge(c, 2, 1, 1);
    CU_ASSERT_TRUE(answered(c, 1, first));
    CU_ASSERT_FALSE(answered(c, 1, second));
    acknowledge(c, 3, 1, 2); /* a later round confirms the earlier ones too */
    CU_ASSERT_TRUE(answered(c, 1, second));
    cluster_destroy(&c);
}

/* Trap 36: the batch is closed when its round begins; a later read has another. */
static void a_closed_batch_takes_no_reads(void)
{
    struct cluster *c = leader(true);
    struct raft_event a = {.type = RAFT_EVENT_READ};
    struct raft_event b = {.type = RAFT_EVENT_READ};
    struct raft_event d = {.type = RAFT_EVENT_READ};
    struct raft_effects out = {0};
    struct raft *r = cluster_node(c, 1)->raft;
    a.now_us = b.now_us = d.now_us = c->now_us;
    raft_step(r, &a, &out);
    raft_step(r, &b, &out);
    CU_ASSERT_EQUAL(a.read.batch, b.read.batch);
    struct raft_event flush = {.type = RAFT_EVENT_FLUSH, .now_us = c->now_us};
    raft_step(r, &flush, &out);
    raft_step(r, &d, &out);
    CU_ASSERT_TRUE(d.read.batch > a.read.batch);
    raft_effects_release(&out);
    cluster_destroy(&c);
}

/* At most READ_ROUNDS_MAX rounds are out; further reads gather and share the next. */
static void outstanding_rounds_are_bounded(void)
{
    struct cluster *c = leader(true);
    size_t reads[READ_ROUNDS_MAX + 20];
    for (size_t i = 0; i < ARRAY_COUNT(reads); i++) {
        reads[i] = cluster_read(c, 1);
    }
    struct cluster_node *n = cluster_node(c, 1);
    CU_ASSERT_EQUAL(n->raft->read_round, READ_ROUNDS_MAX);
    uint64_t shared = n->reads[reads[READ_ROUNDS_MAX]].batch;
    CU_ASSERT_EQUAL(n->reads[reads[ARRAY_COUNT(reads) - 1]].batch, shared);
    /* one batch, one answer: the fake cluster marks all its reads */
    acknowledge(c, 2, 1, 1);
    acknowledge(c, 2, 1, READ_ROUNDS_MAX + 1);
    for (size_t i = 0; i < ARRAY_COUNT(reads); i++) {
        CU_ASSERT_TRUE(answered(c, 1, reads[i]));
    }
    cluster_destroy(&c);
}

/* An acknowledgement of a round never begun is no acknowledgement. */
static void acknowledgements_of_the_future_do_not_count(void)
{
    struct cluster *c = leader(true);
    acknowledge(c, 2, 1, 50);
    acknowledge(c, 3, 1, 50);
    size_t read = cluster_read(c, 1);
    CU_ASSERT_FALSE(answered(c, 1, read));
    cluster_destroy(&c);
}

/* Trap 22: the acknowledgement of a damaged node does not count in a round. */
static void a_damaged_nodes_acknowledgement_does_not_count(void)
{
    struct cluster *c = leader(true);
    size_t read = cluster_read(c, 1);
    struct raft_message m = {.type = RAFT_APPEND_REPLY,
                             .from = 2,
                             .to = 1,
                             .term = 1,
                             .granted = true,
                             .match_index = 1,
                             .read_round = 1,
                             .flag_no_vote = true};
    cluster_receive(c, &m);
    CU_ASSERT_FALSE(answered(c, 1, read));
    acknowledge(c, 3, 1, 1);
    CU_ASSERT_TRUE(answered(c, 1, read));
    cluster_destroy(&c);
}

/* A lost round is asked again long before the heartbeat, and of those alone who have not acknowledged it. */
static void a_lost_round_is_asked_again_soon(void)
{
    struct cluster *c = cluster_create(5, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_run(c, CLUSTER_HEARTBEAT_US);
    c->network_held = true;
    size_t read = cluster_read(c, 1);
    acknowledge(c, 2, cluster_status(c, 1).last_log_index, cluster_find(c, 1, 2, 0)->read_round);
    cluster_lose_all(c);
    CU_ASSERT_TRUE(cluster_node(c, 1)->tick_us <= c->now_us + READ_RETRY_US);
    c->now_us += READ_RETRY_US - 1;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    c->now_us += 1;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 2, 0), 0);
    CU_ASSERT_EQUAL(c->flight_count, 3);
    c->network_held = false;
    cluster_settle(c);
    CU_ASSERT_TRUE(answered(c, 1, read));
    /* and once it is confirmed nobody is asked any more */
    CU_ASSERT_TRUE(cluster_node(c, 1)->tick_us > c->now_us + READ_RETRY_US);
    cluster_destroy(&c);
}

/* Among three voters a follower's batch costs the leader one small message: its question is its acknowledgement. */
static void the_askers_question_is_its_acknowledgement(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_run(c, CLUSTER_HEARTBEAT_US);
    size_t sent = c->sent_count;
    size_t read = cluster_read(c, 2);
    cluster_settle(c);
    CU_ASSERT_TRUE(answered(c, 2, read));
    CU_ASSERT_EQUAL(c->sent_count - sent, 2);
    cluster_destroy(&c);
}

/* ... but not before the term's no-op is committed (trap 28), */
static void a_question_before_the_no_op_waits(void)
{
    struct cluster *c = leader(false);
    struct raft_message question = {
        .type = RAFT_READ_INDEX, .from = 2, .to = 1, .term = 1, .read_id = 5};
    cluster_receive(c, &question);
    cluster_settle(c);
    CU_ASSERT_PTR_NULL(cluster_find(c, 1, 2, RAFT_READ_INDEX_REPLY));
    acknowledge(c, 2, 1, 0);
    const struct raft_message *m = cluster_find(c, 1, 2, RAFT_READ_INDEX_REPLY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->read_index, 1);
    cluster_destroy(&c);
}

/* ... nor a damaged node's (trap 22), nor a learner's. */
static void questions_of_who_does_not_vote_need_a_round(void)
{
    struct cluster *c = cluster_create(4, 1);
    c->configuration.members[3].voter_incoming = false;
    c->configuration.members[3].voter_outgoing = false;
    cluster_start_all(c);
    cluster_elect(c, 1);
    c->network_held = true;
    for (uint64_t from = 3; from <= 4; from++) {
        struct raft_message question = {.type = RAFT_READ_INDEX,
                                        .from = from,
                                        .to = 1,
                                        .term = cluster_status(c, 1).current_term,
                                        .read_id = 5,
                                        .flag_no_vote = from == 3};
        cluster_lose_all(c);
        cluster_receive(c, &question);
        cluster_settle(c);
        CU_ASSERT_PTR_NULL(cluster_find(c, 1, from, RAFT_READ_INDEX_REPLY));
        uint64_t round = cluster_find(c, 1, 2, RAFT_APPEND_ENTRIES)->read_round;
        acknowledge(c, 2, 1, round);
        CU_ASSERT_PTR_NOT_NULL(cluster_find(c, 1, from, RAFT_READ_INDEX_REPLY));
    }
    cluster_destroy(&c);
}

/* What an answer says of its age: the moment when its batch was closed, also if it had to be asked of another. */
static void answers_say_as_of_when(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    c->network_held = true;
    struct cluster_node *n = cluster_node(c, 2);
    struct raft_event read = {.type = RAFT_EVENT_READ};
    cluster_step(c, 2, &read);
    uint64_t asked_us = c->now_us;
    const struct raft_message *question = cluster_find(c, 2, 1, RAFT_READ_INDEX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(question);
    struct raft_message reply = {.type = RAFT_READ_INDEX_REPLY,
                                 .from = 1,
                                 .to = 2,
                                 .term = cluster_status(c, 2).current_term,
                                 .read_id = question->read_id,
                                 .read_index = 1,
                                 .granted = true};
    struct raft_event received = {
        .type = RAFT_EVENT_RECEIVED, .now_us = asked_us + 5000, .received = &reply};
    struct raft_effects out = {0};
    raft_step(n->raft, &received, &out);
    CU_ASSERT_EQUAL_FATAL(out.read_count, 1);
    CU_ASSERT_EQUAL(out.reads[0].as_of_us, asked_us);
    raft_effects_release(&out);
    cluster_destroy(&c);
}

/* Where answers take long, they are waited for: between far places nothing is asked twice. */
static void slow_paths_are_not_asked_twice(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_node(c, 2)->raft->round_trip_us = 30000;
    c->network_held = true;
    (void)cluster_read(c, 2);
    cluster_lose_all(c);
    c->now_us += 59999;
    cluster_tick(c, 2);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 2, 1, RAFT_READ_INDEX), 0);
    c->now_us += 1;
    cluster_tick(c, 2);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 2, 1, RAFT_READ_INDEX), 1);
    cluster_destroy(&c);
}

/* A lost round is found by the heartbeat at the latest. */
static void a_lost_round_is_found_by_the_heartbeat(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    c->network_held = true;
    size_t read = cluster_read(c, 1);
    cluster_lose_all(c);
    c->network_held = false;
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(answered(c, 1, read));
    cluster_destroy(&c);
}

/* A single member needs nobody: the answer comes with the flush. */
static void a_single_member_answers_at_once(void)
{
    struct cluster *c = cluster_create(1, 1);
    cluster_start(c, 1);
    size_t early = cluster_read(c, 1);
    CU_ASSERT_FALSE(answered(c, 1, early));
    cluster_settle(c);
    CU_ASSERT_TRUE(answered(c, 1, early));
    size_t read = cluster_read(c, 1);
    CU_ASSERT_TRUE(answered(c, 1, read));
    cluster_destroy(&c);
}

/* Every node answers; a follower asks the leader, and the read is to wait until it has applied the
 * index (trap 33: the answer names it). */
static void followers_ask_the_leader(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    (void)cluster_propose(c, 1, "x");
    cluster_settle(c);
    cluster_cut(c, 1, 3, true); /* node 3 does not hear of the next commit */
    (void)cluster_propose(c, 1, "y");
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 3);
    CU_ASSERT_EQUAL(cluster_status(c, 3).commit_index, 2);
    cluster_cut(c, 1, 3, false);
    size_t at_2 = cluster_read(c, 2);
    size_t at_3 = cluster_read(c, 3);
    cluster_settle(c);
    CU_ASSERT_TRUE(answered(c, 2, at_2));
    CU_ASSERT_TRUE(answered(c, 3, at_3));
    CU_ASSERT_EQUAL(cluster_node(c, 3)->reads[at_3].index, 3);
    cluster_destroy(&c);
}

/* Learners read linearizably too. */
static void learners_read_too(void)
{
    struct cluster *c = cluster_create(4, 1);
    c->configuration.members[3].voter_incoming = false;
    c->configuration.members[3].voter_outgoing = false;
    cluster_start_all(c);
    cluster_elect(c, 1);
    size_t read = cluster_read(c, 4);
    cluster_settle(c);
    CU_ASSERT_TRUE(answered(c, 4, read));
    cluster_destroy(&c);
}

/* Trap 32: a question lost on the way is asked again after tens of milliseconds, under the same id, and the
 * leader counts it once. (Of five: where the asker is not enough of a quorum.) */
static void a_lost_question_is_asked_again_soon(void)
{
    struct cluster *c = cluster_create(5, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_run(c, CLUSTER_HEARTBEAT_US);
    c->network_held = true;
    size_t read = cluster_read(c, 2);
    uint64_t id = cluster_find(c, 2, 1, RAFT_READ_INDEX)->read_id;
    CU_ASSERT_TRUE(cluster_node(c, 2)->tick_us <= c->now_us + READ_RETRY_US);
    cluster_lose_all(c);
    c->now_us += READ_RETRY_US;
    cluster_tick(c, 2);
    const struct raft_message *again = cluster_find(c, 2, 1, RAFT_READ_INDEX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(again);
    CU_ASSERT_EQUAL(again->read_id, id);
    struct raft_message twice = cluster_copy(again);
    (void)cluster_deliver(c, 2, 1, RAFT_READ_INDEX);
    cluster_receive(c, &twice);
    CU_ASSERT_EQUAL(cluster_status(c, 1).read_batches_waiting, 1);
    c->network_held = false;
    cluster_settle(c);
    CU_ASSERT_TRUE(answered(c, 2, read));
    cluster_destroy(&c);
}

/* Trap 31: ids are never used twice, by no batch, no retry at another leader, no later start. */
static void ids_are_never_used_twice(void)
{
    uint64_t seen[64];
    size_t count = 0;
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    for (int start = 0; start < 8; start++) {
        cluster_start(c, 1);
        for (uint64_t term = 1; term <= 4; term++) {
            struct raft_message beat = {.type = RAFT_APPEND_ENTRIES,
                                        .from = 2 + term % 2,
                                        .to = 1,
                                        .term = (uint64_t)start * 10 + term};
            cluster_receive(c, &beat);
            cluster_settle(c);
            if (term == 1) {
                (void)cluster_read(c, 1); /* stays unanswered: asked again in each term */
            }
            (void)cluster_read(c, 1);
            const struct raft_message *m = NULL;
            while ((m = cluster_find(c, 1, 0, RAFT_READ_INDEX)) != NULL && count < 64) {
                for (size_t i = 0; i < count; i++) {
                    CU_ASSERT_NOT_EQUAL(seen[i], m->read_id);
                }
                seen[count++] = m->read_id;
                (void)cluster_lose(c, 1, 0, RAFT_READ_INDEX);
            }
            cluster_lose_all(c);
        }
        cluster_crash(c, 1, 9);
    }
    CU_ASSERT_EQUAL(count, 64);
    cluster_destroy(&c);
}

/* Trap 32: the answer of a leader that is no more is not taken; the new leader is asked by itself. */
static void a_new_leader_is_asked_again(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    uint64_t ids[3] = {0};
    size_t read = 0;
    for (uint64_t term = 1; term <= 2; term++) {
        struct raft_message beat = {
            .type = RAFT_APPEND_ENTRIES, .from = 1 + term, .to = 1, .term = term};
        cluster_receive(c, &beat);
        cluster_settle(c);
        read = term == 1 ? cluster_read(c, 1) : read;
        const struct raft_message *m = cluster_find(c, 1, 1 + term, RAFT_READ_INDEX);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        ids[term] = m->read_id;
        cluster_lose_all(c);
    }
    struct raft_message answers[3] = {{.from = 2, .term = 1, .read_id = ids[1]},
                                      {.from = 3, .term = 2, .read_id = ids[1]},
                                      {.from = 3, .term = 2, .read_id = ids[2]}};
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        CU_ASSERT_FALSE(answered(c, 1, read));
        answers[i].type = RAFT_READ_INDEX_REPLY;
        answers[i].to = 1;
        answers[i].granted = true;
        cluster_receive(c, &answers[i]);
    }
    CU_ASSERT_TRUE(answered(c, 1, read));
    cluster_destroy(&c);
}

/* A leader that loses its office with a round under way asks the new leader as a follower; its own round,
 * confirmed too late, counts for nothing. */
static void a_deposed_leader_asks_its_successor(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_isolate(c, 1, true);
    size_t read = cluster_read(c, 1);
    cluster_run(c, 4 * CLUSTER_ELECTION_US);
    uint64_t successor = cluster_leader(c);
    CU_ASSERT_NOT_EQUAL_FATAL(successor, 1);
    CU_ASSERT_FALSE(answered(c, 1, read));
    (void)cluster_propose(c, successor, "newer");
    cluster_settle(c);
    cluster_heal(c);
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(answered(c, 1, read));
    CU_ASSERT_TRUE(cluster_node(c, 1)->reads[read].index >= 3);
    cluster_destroy(&c);
}

/* A follower whose question is out becomes leader: the batch gets a round of its own. */
static void a_new_leader_answers_its_own_questions(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    c->network_held = true;
    size_t read = cluster_read(c, 2);
    cluster_lose_all(c);
    c->network_held = false;
    cluster_crash(c, 1, 0);
    cluster_elect(c, 2);
    CU_ASSERT_TRUE(answered(c, 2, read));
    CU_ASSERT_TRUE(cluster_node(c, 2)->reads[read].index >= 2);
    cluster_destroy(&c);
}

/* With no leader known reads wait in one open batch, and are asked when there is one. */
static void without_a_leader_reads_wait(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    size_t first = cluster_read(c, 2);
    size_t second = cluster_read(c, 2);
    CU_ASSERT_EQUAL(cluster_node(c, 2)->reads[first].batch,
                    cluster_node(c, 2)->reads[second].batch);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 2, 0, RAFT_READ_INDEX), 0);
    cluster_elect(c, 1);
    cluster_settle(c);
    CU_ASSERT_TRUE(answered(c, 2, first));
    CU_ASSERT_TRUE(answered(c, 2, second));
    cluster_destroy(&c);
}

/* Whoever is asked but does not lead says so; the asker keeps the batch. */
static void a_non_leader_refuses(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_term(c, 1, 3, 0);
    cluster_start(c, 1);
    for (uint64_t term = 2; term <= 3; term++) {
        struct raft_message m = {
            .type = RAFT_READ_INDEX, .from = 2, .to = 1, .term = term, .read_id = 5};
        cluster_receive(c, &m);
        const struct raft_message *answer = cluster_find(c, 1, 2, RAFT_READ_INDEX_REPLY);
        CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
        CU_ASSERT_FALSE(answer->granted);
        CU_ASSERT_EQUAL(answer->read_id, 5);
        CU_ASSERT_EQUAL(answer->term, 3);
        cluster_lose_all(c);
    }
    struct raft_message beat = {.type = RAFT_APPEND_ENTRIES, .from = 2, .to = 1, .term = 3};
    cluster_receive(c, &beat);
    (void)cluster_read(c, 1);
    struct raft_message refusal = {.type = RAFT_READ_INDEX_REPLY,
                                   .from = 2,
                                   .to = 1,
                                   .term = 3,
                                   .read_id = cluster_find(c, 1, 2, RAFT_READ_INDEX)->read_id};
    cluster_receive(c, &refusal);
    CU_ASSERT_EQUAL(cluster_status(c, 1).read_batches_waiting, 1);
    cluster_destroy(&c);
}

/* An answer that nobody asked for, from somebody else or under another id, is not taken. */
static void strangers_answers_are_not_taken(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    struct raft_message beat = {.type = RAFT_APPEND_ENTRIES, .from = 2, .to = 1, .term = 1};
    cluster_receive(c, &beat);
    cluster_settle(c);
    size_t read = cluster_read(c, 1);
    uint64_t id = cluster_find(c, 1, 2, RAFT_READ_INDEX)->read_id;
    struct raft_message wrong[3];
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        wrong[i] = (struct raft_message){.type = RAFT_READ_INDEX_REPLY,
                                         .from = 2,
                                         .to = 1,
                                         .term = 1,
                                         .granted = true,
                                         .read_id = id,
                                         .read_index = 9};
    }
    wrong[0].from = 3;
    wrong[1].read_id = id + 1;
    wrong[2].read_id = 0;
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        cluster_receive(c, &wrong[i]);
        CU_ASSERT_FALSE(answered(c, 1, read));
    }
    cluster_destroy(&c);
}

/* A leader holds a bounded number of followers' questions; its own reads still find a place. */
static void followers_questions_are_bounded(void)
{
    struct cluster *c = leader(true);
    for (uint64_t i = 1; i <= 2 * READ_REQUESTS_MAX; i++) {
        struct raft_message m = {
            .type = RAFT_READ_INDEX, .from = 2, .to = 1, .term = 1, .read_id = i};
        struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .received = &m};
        cluster_step_only(c, 1, &event);
    }
    size_t read = cluster_read(c, 1);
    CU_ASSERT_TRUE(cluster_status(c, 1).read_batches_waiting <= READ_REQUESTS_MAX);
    acknowledge(c, 2, 1, 1);
    CU_ASSERT_TRUE(answered(c, 1, read));
    CU_ASSERT_TRUE(cluster_count_flights(c, 1, 2, RAFT_READ_INDEX_REPLY) > READ_REQUESTS_MAX / 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).read_batches_waiting, 0);
    cluster_destroy(&c);
}

SUITE("raft: read index", TEST(a_quorum_confirms_a_round), TEST(a_round_rides_on_the_append),
      TEST(reads_wait_for_the_terms_no_op), TEST(earlier_acknowledgements_do_not_count),
      TEST(a_closed_batch_takes_no_reads), TEST(outstanding_rounds_are_bounded),
      TEST(acknowledgements_of_the_future_do_not_count),
      TEST(a_damaged_nodes_acknowledgement_does_not_count), TEST(a_lost_round_is_asked_again_soon),
      TEST(the_askers_question_is_its_acknowledgement), TEST(a_question_before_the_no_op_waits),
      TEST(questions_of_who_does_not_vote_need_a_round), TEST(answers_say_as_of_when),
      TEST(slow_paths_are_not_asked_twice), TEST(a_lost_round_is_found_by_the_heartbeat),
      TEST(a_single_member_answers_at_once), TEST(followers_ask_the_leader),
      TEST(learners_read_too), TEST(a_lost_question_is_asked_again_soon),
      TEST(ids_are_never_used_twice), TEST(a_new_leader_is_asked_again),
      TEST(a_deposed_leader_asks_its_successor), TEST(a_new_leader_answers_its_own_questions),
      TEST(without_a_leader_reads_wait), TEST(a_non_leader_refuses),
      TEST(strangers_answers_are_not_taken), TEST(followers_questions_are_bounded))
