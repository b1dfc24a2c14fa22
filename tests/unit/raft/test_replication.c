/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_replication.c: the leader's side of the log: proposals, commit rule, probing and pipelining,
 * windows, entries from disk, trimming. Raft §5.3, §5.4.2, Thesis §10.2.1; traps 11, 12, 26, 37.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* Node 1 leads two others that the test plays; its no-op is on its disk, nothing is in flight. */
static struct cluster *leader_with(const uint64_t *terms, size_t count)
{
    struct cluster *c = cluster_create(count, 1);
    c->network_held = true;
    if (terms != NULL) {
        cluster_set_log(c, 1, terms);
    }
    cluster_start(c, 1);
    return c;
}

static struct raft_message reply(struct cluster *c, uint64_t from, bool granted)
{
    return (struct raft_message){.type = RAFT_APPEND_REPLY,
                                 .from = from,
                                 .to = 1,
                                 .term = cluster_status(c, 1).current_term,
                                 .granted = granted};
}

static void acknowledge(struct cluster *c, uint64_t from, uint64_t match_index)
{
    struct raft_message m = reply(c, from, true);
    m.match_index = match_index;
    cluster_receive(c, &m);
    cluster_settle(c);
}

static void refuse(struct cluster *c, uint64_t from, uint64_t conflict_index,
                   uint64_t conflict_term)
{
    struct raft_message m = reply(c, from, false);
    m.conflict_index = conflict_index;
    m.conflict_term = conflict_term;
    cluster_receive(c, &m);
    cluster_settle(c);
}

static struct raft_progress progress_of(struct cluster *c, uint64_t id)
{
    struct raft_progress p = {0};
    CU_ASSERT_TRUE(raft_progress_of(cluster_node(c, 1)->raft, id, &p));
    return p;
}

/* Trap 29, Raft §8: the leader appends a no-op of its term and sends it to all at once. */
static void a_term_begins_with_a_no_op(void)
{
    struct cluster *c = leader_with(TERMS(1, 1), 3);
    cluster_time_out(c, 1);
    cluster_lose_all(c);
    struct raft_message pre = {
        .type = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 2, .granted = true};
    cluster_receive(c, &pre);
    cluster_settle(c);
    struct raft_message vote = {
        .type = RAFT_VOTE_REPLY, .from = 2, .to = 1, .term = 2, .granted = true};
    cluster_receive(c, &vote);
    for (uint64_t to = 2; to <= 3; to++) {
        const struct raft_message *m = cluster_find(c, 1, to, RAFT_APPEND_ENTRIES);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL(m->prev_log_index, 2);
        CU_ASSERT_EQUAL(m->prev_log_term, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m->entries);
        CU_ASSERT_EQUAL(m->entries->count, 1);
        CU_ASSERT_EQUAL(m->entries->items[0].type, ENTRY_NOOP);
        CU_ASSERT_EQUAL(m->entries->items[0].term, 2);
    }
    cluster_destroy(&c);
}

/* Trap 11, §5.4.2: entries of earlier terms are not committed by counting, only together with one of the
 * own term. */
static void old_terms_are_not_committed_by_counting(void)
{
    struct cluster *c = leader_with(TERMS(1, 2), 3);
    cluster_lead_alone(c, 1);
    acknowledge(c, 2, 2);
    acknowledge(c, 3, 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 0);
    acknowledge(c, 2, 3);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 3);
    cluster_destroy(&c);
}

/* Trap 12: the leader counts itself only with what its own disk has. It may send, and even commit, without
 * itself; but it applies nothing that is not durable here. */
static void the_leader_counts_itself_when_durable(void)
{
    struct cluster *c = leader_with(NULL, 3);
    cluster_lead_alone(c, 1);
    acknowledge(c, 2, 1);
    cluster_disk_hold(c, 1, true);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    CU_ASSERT_PTR_NOT_NULL(cluster_find(c, 1, 2, RAFT_APPEND_ENTRIES)); /* sent before the disk */
    acknowledge(c, 2, 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 1); /* one of three */
    acknowledge(c, 3, 2);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2); /* two, without the leader */
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 1);
    cluster_disk_hold(c, 1, false);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 2);
    cluster_destroy(&c);
}

/* Trap 12: a single member commits nothing before its disk has it. */
static void a_single_member_waits_for_its_disk(void)
{
    struct cluster *c = cluster_create(1, 1);
    cluster_start(c, 1);
    cluster_settle(c);
    cluster_disk_hold(c, 1, true);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, 2);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2);
    cluster_destroy(&c);
}

/* Whoever does not lead refuses, and says whether it knows of a leader; nothing is appended. */
static void proposals_are_refused_by_others(void)
{
    struct cluster *c = leader_with(NULL, 3);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), ERR_NO_LEADER);
    struct raft_message beat = {.type = RAFT_APPEND_ENTRIES, .from = 2, .to = 1, .term = 1};
    cluster_receive(c, &beat);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, 0);
    cluster_destroy(&c);
}

/* Trap 26: what is not committed is bounded; a block is taken whole or not at all; once entries commit there is
 * room again. Alone even a block above the bound is taken, or it could never be. */
static void the_uncommitted_tail_is_bounded(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    c->uncommitted_bytes_max = (uint64_t)4 * ENTRY_OVERHEAD;
    cluster_start(c, 1);
    cluster_lead_alone(c, 1);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, ""), OK);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, ""), OK);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, ""), OK);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, ""), ERR_OVERLOAD);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, 4);
    acknowledge(c, 2, 4);
    CU_ASSERT_EQUAL(cluster_status(c, 1).uncommitted_bytes, 0);
    char large[1000];
    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = 0;
    CU_ASSERT_EQUAL(cluster_propose(c, 1, large), OK);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, ""), ERR_OVERLOAD);
    cluster_destroy(&c);
}

/* Trap 26: one slow state machine. What is committed and waits for it is bounded in the same way. */
static void a_slow_state_machine_refuses_proposals(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    c->uncommitted_bytes_max = (uint64_t)4 * ENTRY_OVERHEAD;
    cluster_start(c, 1);
    cluster_lead_alone(c, 1);
    cluster_apply_hold(c, 1, true);
    enum err error = OK;
    uint64_t last = 1;
    for (int i = 0; i < 100 && error == OK; i++) {
        error = cluster_propose(c, 1, "");
        last = cluster_status(c, 1).last_log_index;
        acknowledge(c, 2, last);
    }
    CU_ASSERT_EQUAL(error, ERR_OVERLOAD);
    CU_ASSERT_TRUE(last < 10);
    cluster_apply_hold(c, 1, false);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, ""), OK);
    cluster_destroy(&c);
}

/* Many commands in one batch of events: one write, and one append per follower. */
static void a_batch_shares_one_write_and_one_append(void)
{
    struct cluster *c = leader_with(NULL, 3);
    cluster_lead_alone(c, 1);
    acknowledge(c, 2, 1);
    acknowledge(c, 3, 1);
    cluster_lose_all(c);
    size_t persists = cluster_node(c, 1)->persist_count;
    struct entries *block = entries_create(1, 0);
    struct entry e = {.type = ENTRY_COMMAND};
    entries_add(block, &e);
    for (int i = 0; i < 100; i++) {
        struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .propose = {.commands = block}};
        cluster_step_only(c, 1, &event);
        CU_ASSERT_EQUAL(event.propose.error, OK);
    }
    entries_free(&block);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_flush(c, 1);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->persist_count, persists + 1);
    CU_ASSERT_EQUAL(c->flight_count, 2);
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, 0)->entries->count, 100);
    CU_ASSERT_EQUAL(cluster_find(c, 1, 2, 0)->entries->items[99].index, 101);
    cluster_destroy(&c);
}

/* Probing: one append until it is answered; then pipelining, without waiting for answers. */
static void probing_waits_and_replicating_does_not(void)
{
    struct cluster *c = leader_with(NULL, 3);
    cluster_lead_alone(c, 1);
    CU_ASSERT_TRUE(progress_of(c, 2).probing);
    (void)cluster_propose(c, 1, "a");
    (void)cluster_propose(c, 1, "b");
    CU_ASSERT_EQUAL(c->flight_count, 0); /* the first probe was lost, nobody has answered */
    acknowledge(c, 2, 0);
    CU_ASSERT_FALSE(progress_of(c, 2).probing);
    (void)cluster_propose(c, 1, "c");
    (void)cluster_propose(c, 1, "d");
    CU_ASSERT_TRUE(cluster_count_flights(c, 1, 2, RAFT_APPEND_ENTRIES) >= 3);
    CU_ASSERT_EQUAL(progress_of(c, 2).next_index, 6);
    cluster_destroy(&c);
}

/* The heartbeat repeats what is lost: it is a true append_entries at next_index - 1. */
static void a_heartbeat_finds_a_lost_append(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    c->network_held = true;
    (void)cluster_propose(c, 1, "lost");
    cluster_lose_all(c);
    c->network_held = false;
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_EQUAL(cluster_status(c, 3).last_log_index, 2);
    cluster_destroy(&c);
}

/* Raft §5.3, end: the back-up skips a whole term per refusal, in both ways: if the leader has entries of the
 * conflicting term, to its last one; else to the follower's first of it. */
static void refusals_back_up_by_terms(void)
{
    struct cluster *c = leader_with(TERMS(1, 1, 1, 4, 4, 5, 5, 6, 6, 6), 3);
    cluster_lead_alone(c, 1);
    CU_ASSERT_EQUAL(progress_of(c, 2).next_index, 11);
    refuse(c, 2, 6, 4); /* it has term 4 from 6 on: ours ends at 5, below: to its first */
    CU_ASSERT_EQUAL(progress_of(c, 2).next_index, 6);
    refuse(c, 3, 4, 4); /* it has term 4 from 4 on: our last of term 4 is 5 */
    CU_ASSERT_EQUAL(progress_of(c, 3).next_index, 6);
    refuse(c, 3, 4, 0); /* its log is short */
    CU_ASSERT_EQUAL(progress_of(c, 3).next_index, 4);
    refuse(c, 3, 2, 3); /* a term we never had */
    CU_ASSERT_EQUAL(progress_of(c, 3).next_index, 2);
    CU_ASSERT_EQUAL(cluster_find(c, 1, 3, 0)->type, RAFT_APPEND_ENTRIES);
    cluster_destroy(&c);
}

/* A refusal that comes late, after more was acknowledged, changes nothing; nor does one that cannot move the
 * place make a storm. */
static void late_and_useless_refusals_do_no_harm(void)
{
    struct cluster *c = leader_with(TERMS(1, 1, 1), 3);
    cluster_lead_alone(c, 1);
    acknowledge(c, 2, 4);
    cluster_lose_all(c);
    refuse(c, 2, 3, 0);
    CU_ASSERT_FALSE(progress_of(c, 2).probing);
    CU_ASSERT_EQUAL(progress_of(c, 2).next_index, 5);
    refuse(c, 3, 1, 0);
    CU_ASSERT_EQUAL(progress_of(c, 3).next_index, 1);
    cluster_lose_all(c);
    for (int i = 0; i < 10; i++) {
        refuse(c, 3, 1, 0);
    }
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_destroy(&c);
}

/* An acknowledgement of more than there is, or from a stranger, is not counted. */
static void impossible_acknowledgements_are_ignored(void)
{
    struct cluster *c = leader_with(NULL, 3);
    cluster_lead_alone(c, 1);
    acknowledge(c, 2, 99);
    CU_ASSERT_EQUAL(progress_of(c, 2).match_index, 0);
    struct raft_message m = reply(c, 2, true);
    m.from = 55;
    m.match_index = 1;
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 0);
    cluster_destroy(&c);
}

/* In flight: no more bytes than the window, no larger messages than asked for; acknowledgements open it. */
static void the_window_bounds_what_is_in_flight(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    c->append_bytes_max = (uint64_t)2 * ENTRY_OVERHEAD;
    c->window_bytes = (uint64_t)6 * ENTRY_OVERHEAD;
    cluster_start(c, 1);
    cluster_lead_alone(c, 1);
    acknowledge(c, 2, 1);
    cluster_lose_all(c);
    for (int i = 0; i < 50; i++) {
        (void)cluster_propose(c, 1, "");
    }
    uint64_t sent = 0;
    for (size_t i = 0; i < c->flight_count; i++) {
        const struct raft_message *m = &c->flights[i].message;
        if (m->to == 2 && m->entries != NULL) {
            CU_ASSERT_TRUE(m->entries->count <= 2);
            sent += m->entries->count;
        }
    }
    CU_ASSERT_TRUE(sent >= 6);
    CU_ASSERT_TRUE(sent <= 7);
    CU_ASSERT_EQUAL(progress_of(c, 2).inflight_bytes, sent * ENTRY_OVERHEAD);
    cluster_lose_all(c);
    acknowledge(c, 2, 3);
    CU_ASSERT_TRUE(progress_of(c, 2).next_index > 1 + sent);
    CU_ASSERT_TRUE(progress_of(c, 2).inflight_bytes <= (uint64_t)7 * ENTRY_OVERHEAD);
    cluster_destroy(&c);
}

/* An entry larger than a message may be goes alone. */
static void an_entry_above_the_bounds_gets_through(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->append_bytes_max = 100;
    c->window_bytes = 100;
    c->apply_bytes_max = 100;
    c->cache_bytes_max = 0;
    cluster_start_all(c);
    cluster_elect(c, 2);
    char *large = mem_alloc(300001);
    memset(large, 'x', 300000);
    large[300000] = 0;
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(cluster_propose(c, 2, large), OK);
        cluster_settle(c);
    }
    mem_free(large);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_applied, 4);
    CU_ASSERT_EQUAL(cluster_status(c, 2).cache_bytes, 0);
    cluster_destroy(&c);
}

/* PEER_DOWN: what was in flight is lost; back to what was acknowledged, nothing but heartbeats until it is
 * answered. PEER_UP: asked at once, and what it holds is asked afresh. */
static void a_broken_connection_goes_back_to_probing(void)
{
    struct cluster *c = leader_with(NULL, 3);
    cluster_lead_alone(c, 1);
    acknowledge(c, 2, 1);
    (void)cluster_propose(c, 1, "a");
    (void)cluster_propose(c, 1, "b");
    CU_ASSERT_EQUAL(progress_of(c, 2).next_index, 4);
    cluster_lose_all(c);
    struct raft_event down = {.type = RAFT_EVENT_PEER_DOWN, .peer = 2};
    cluster_step(c, 1, &down);
    CU_ASSERT_TRUE(progress_of(c, 2).probing);
    CU_ASSERT_EQUAL(progress_of(c, 2).next_index, 2);
    CU_ASSERT_EQUAL(progress_of(c, 2).inflight_bytes, 0);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    struct raft_event up = {.type = RAFT_EVENT_PEER_UP, .peer = 2};
    cluster_step(c, 1, &up);
    CU_ASSERT_EQUAL(progress_of(c, 2).match_index, 0);
    const struct raft_message *m = cluster_find(c, 1, 2, RAFT_APPEND_ENTRIES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->prev_log_index, 1);
    CU_ASSERT_EQUAL(m->entries->count, 2);
    cluster_destroy(&c);
}

/* Followers hear of a commit at once, not with the next heartbeat: who asked there waits there. */
static void a_commit_is_told_at_once(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    (void)cluster_propose(c, 1, "x");
    cluster_settle(c); /* no time passes */
    for (uint64_t id = 1; id <= 3; id++) {
        CU_ASSERT_EQUAL(cluster_status(c, id).commit_index, 2);
        CU_ASSERT_EQUAL(cluster_node(c, id)->applied_index, 2);
    }
    size_t sent = c->sent_count;
    cluster_settle(c);
    CU_ASSERT_EQUAL(c->sent_count, sent); /* and then there is silence */
    cluster_destroy(&c);
}

/* Applied entries leave memory beyond the cache; a follower that needs them gets them from disk, one read at
 * a time, and then goes on from memory. */
static void a_lagging_follower_is_served_from_disk(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->cache_bytes_max = (uint64_t)8 * ENTRY_OVERHEAD;
    c->append_bytes_max = (uint64_t)100 * ENTRY_OVERHEAD;
    cluster_start(c, 1);
    cluster_start(c, 2);
    cluster_elect(c, 1);
    for (int i = 0; i < 3000; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
    }
    CU_ASSERT_TRUE(cluster_status(c, 1).cache_bytes < (uint64_t)300 * (ENTRY_OVERHEAD + 1));
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.read_count, 0);
    cluster_start(c, 3);
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_EQUAL(cluster_status(c, 3).last_log_index, 3001);
    CU_ASSERT_TRUE(cluster_node(c, 1)->disk.read_count >= 27);
    cluster_check_logs(c);
    cluster_destroy(&c);
}

/* The disk's answer is dropped if it is not what is wanted any more: another role, another place, another
 * content; and one that is empty is asked again later, not at once. */
static void unwanted_answers_of_the_disk_are_dropped(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->cache_bytes_max = 0;
    c->append_bytes_max = (uint64_t)100 * ENTRY_OVERHEAD;
    cluster_set_log(c, 1, TERMS(1)); /* entry 1 is of term 1, the others will be of term 2 */
    cluster_start(c, 1);
    cluster_start(c, 2);
    cluster_elect(c, 1);
    for (int i = 0; i < 1000; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
    }
    cluster_disk_hold(c, 1, true);
    cluster_start(c, 3);
    cluster_settle(c);
    struct cluster_disk *d = &cluster_node(c, 1)->disk;
    CU_ASSERT_TRUE_FATAL(d->reading);
    uint64_t from = d->read_from;
    d->reading = false;

    struct raft_event nothing = {.type = RAFT_EVENT_LOG_ENTRIES,
                                 .log_entries = {.from_index = from, .entries = NULL}};
    cluster_step(c, 1, &nothing);
    CU_ASSERT_FALSE(d->reading);
    c->now_us += CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    CU_ASSERT_TRUE_FATAL(d->reading); /* asked again, a heartbeat later */
    d->reading = false;

    struct entries *other = entries_create(1, 0);
    struct entry e = {.index = from, .term = 2, .type = ENTRY_COMMAND};
    entries_add(other, &e);
    struct raft_event wrong = {.type = RAFT_EVENT_LOG_ENTRIES,
                               .log_entries = {.from_index = from, .entries = other}};
    cluster_step(c, 1, &wrong);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 3).last_log_index, 0);
    cluster_disk_hold(c, 1, false);
    cluster_run(c, 4 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* An answer that comes when the node no longer leads is freed and forgotten. */
static void a_late_answer_of_the_disk_finds_no_leader(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->cache_bytes_max = 0;
    cluster_start(c, 1);
    cluster_start(c, 2);
    cluster_elect(c, 1);
    for (int i = 0; i < 1000; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
    }
    cluster_disk_hold(c, 1, true);
    cluster_start(c, 3);
    cluster_settle(c);
    CU_ASSERT_TRUE_FATAL(cluster_node(c, 1)->disk.reading);
    struct raft_message higher = {.type = RAFT_APPEND_REPLY, .from = 2, .to = 1, .term = 50};
    cluster_receive(c, &higher);
    cluster_disk_hold(c, 1, false);
    cluster_settle(c);
    CU_ASSERT_FALSE(cluster_node(c, 1)->disk.reading);
    CU_ASSERT_TRUE(cluster_await_leader(c, 20 * CLUSTER_ELECTION_US));
    cluster_run(c, 2 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* The leader lets go of what every member, itself included, has durably in its KV table; one that is down
 * or slow holds it back. */
static void the_log_is_trimmed_when_all_have_it(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->trim_slack_entries = 5;
    c->trim_step_entries = 5;
    cluster_start_all(c);
    cluster_elect(c, 1);
    for (int i = 0; i < 99; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
    }
    cluster_kv_flush(c, 1);
    cluster_kv_flush(c, 2);
    cluster_run(c, 3 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_EQUAL(cluster_status(c, 1).first_log_index, 1);
    cluster_kv_flush(c, 3);
    cluster_run(c, 3 * CLUSTER_HEARTBEAT_US);
    for (uint64_t id = 1; id <= 3; id++) {
        CU_ASSERT_EQUAL(cluster_status(c, id).first_log_index, 96);
        CU_ASSERT_EQUAL(cluster_node(c, id)->disk.trim_index, 95);
    }
    /* it starts again from what is left, and goes on */
    cluster_crash(c, 2, 0);
    (void)cluster_propose(c, 1, "y");
    cluster_start(c, 2);
    cluster_run(c, 2 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_destroy(&c);
}

/* A member that lost what all have trimmed cannot be helped by appends; it makes no noise beyond heartbeats. */
static void a_member_below_the_trim_point_makes_no_storm(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->trim_slack_entries = 0;
    c->trim_step_entries = 1;
    cluster_start_all(c);
    cluster_elect(c, 1);
    for (int i = 0; i < 50; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
    }
    cluster_kv_flush(c, 1);
    cluster_kv_flush(c, 2);
    cluster_node(c, 3)->kv_durable_index = 0; /* told durable, but it was not */
    struct raft_event lie = {.type = RAFT_EVENT_KV_DURABLE, .index = 51};
    cluster_step(c, 3, &lie);
    cluster_isolate(c, 3, true);
    cluster_run(c, 0);
    cluster_heal(c);
    cluster_run(c, 3 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_EQUAL(cluster_status(c, 1).first_log_index, 52);
    cluster_crash(c, 3, 0);
    struct cluster_disk *d = &cluster_node(c, 3)->disk;
    d->trimmed_index = 0;
    d->trimmed_term = 0;
    cluster_damage(c, 3, 1);
    cluster_start(c, 3);
    cluster_settle(c);
    size_t sent = c->sent_count;
    cluster_run(c, 10 * CLUSTER_HEARTBEAT_US);
    CU_ASSERT_TRUE(c->sent_count - sent < 100);
    CU_ASSERT_EQUAL(progress_of(c, 3).next_index, 52);
    CU_ASSERT_EQUAL(cluster_propose(c, 1, "goes on"), OK);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_status(c, 2).commit_index, 52);
    cluster_destroy(&c);
}

SUITE("raft: replication", TEST(a_term_begins_with_a_no_op),
      TEST(old_terms_are_not_committed_by_counting), TEST(the_leader_counts_itself_when_durable),
      TEST(a_single_member_waits_for_its_disk), TEST(proposals_are_refused_by_others),
      TEST(the_uncommitted_tail_is_bounded), TEST(a_slow_state_machine_refuses_proposals),
      TEST(a_batch_shares_one_write_and_one_append), TEST(probing_waits_and_replicating_does_not),
      TEST(a_heartbeat_finds_a_lost_append), TEST(refusals_back_up_by_terms),
      TEST(late_and_useless_refusals_do_no_harm), TEST(impossible_acknowledgements_are_ignored),
      TEST(the_window_bounds_what_is_in_flight), TEST(an_entry_above_the_bounds_gets_through),
      TEST(a_broken_connection_goes_back_to_probing), TEST(a_commit_is_told_at_once),
      TEST(a_lagging_follower_is_served_from_disk), TEST(unwanted_answers_of_the_disk_are_dropped),
      TEST(a_late_answer_of_the_disk_finds_no_leader), TEST(the_log_is_trimmed_when_all_have_it),
      TEST(a_member_below_the_trim_point_makes_no_storm))
