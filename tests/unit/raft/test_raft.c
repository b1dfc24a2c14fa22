/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft.c: the contract of raft_step in include/raft.h: what a flush does and other events do not, the order and
 * ownership of effects, bounds, the deadline, state_changed, and that invariants.c finds what is broken.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#include <sys/wait.h>
#include <unistd.h>

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static struct cluster *lone_leader(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    cluster_lead_alone(c, 1);
    return c;
}

static struct entries *commands(size_t count, size_t bytes)
{
    struct entries *block = entries_create(count, count * bytes);
    uint8_t *data = mem_zalloc(bytes);
    for (size_t i = 0; i < count; i++) {
        struct entry e = {.index = i, .type = ENTRY_COMMAND, .data = view_of(data, bytes)};
        entries_add(block, &e);
    }
    mem_free(data);
    return block;
}

static void step(struct cluster *c, struct raft_effects *out, struct raft_event event)
{
    event.now_us = c->now_us;
    raft_step(cluster_node(c, 1)->raft, &event, out);
}

/* Contract 2: only the flush makes effects. */
static void only_the_flush_has_effects(void)
{
    struct cluster *c = lone_leader();
    struct raft_effects out = {0};
    struct entries *block = commands(3, 10);
    struct raft_message message = {.type = RAFT_APPEND_REPLY,
                                   .from = 2,
                                   .to = 1,
                                   .term = 1,
                                   .granted = true,
                                   .match_index = 1};
    c->now_us += CLUSTER_HEARTBEAT_US;
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = {.commands = block}});
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_READ});
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_RECEIVED, .received = &message});
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_TICK});
    CU_ASSERT_FALSE(out.has_persist);
    CU_ASSERT_EQUAL(out.send_count, 0);
    CU_ASSERT_PTR_NULL(out.apply);
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_FLUSH});
    CU_ASSERT_TRUE(out.has_persist);
    CU_ASSERT_EQUAL(out.persist.entries->count, 3);
    CU_ASSERT_EQUAL(out.persist.entries->items[0].term, 1);
    CU_ASSERT_EQUAL(out.persist.entries->items[0].index, 2);
    CU_ASSERT_EQUAL(out.send_count, 2);
    CU_ASSERT_PTR_NOT_NULL(out.apply); /* the no-op, committed by the message */
    entries_free(&block);
    raft_effects_release(&out);
    cluster_destroy(&c);
}

/* A second flush with nothing new is silent; one with effects still untaken adds to them and overwrites none. */
static void flushing_twice_does_nothing_twice(void)
{
    struct cluster *c = lone_leader();
    struct raft_effects out = {0};
    struct entries *block = commands(1, 1);
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = {.commands = block}});
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_FLUSH});
    uint64_t sequence = out.persist.sequence;
    size_t sends = out.send_count;
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_FLUSH});
    CU_ASSERT_EQUAL(out.persist.sequence, sequence);
    CU_ASSERT_EQUAL(out.send_count, sends);
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = {.commands = block}});
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_FLUSH});
    CU_ASSERT_EQUAL(out.persist.sequence, sequence); /* the first is not taken yet */
    raft_effects_clear(&out);
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_FLUSH});
    CU_ASSERT_TRUE(out.has_persist);
    CU_ASSERT_EQUAL(out.persist.sequence, sequence + 1);
    entries_free(&block);
    raft_effects_release(&out);
    CU_ASSERT_PTR_NULL(out.sends);
    cluster_destroy(&c);
}

/* Several persists may be under way, but not without bound; what waits goes with the next one. */
static void outstanding_persists_are_bounded(void)
{
    struct cluster *c = lone_leader();
    cluster_disk_hold(c, 1, true);
    for (int i = 0; i < 2 * PERSISTS_OUTSTANDING_MAX; i++) {
        CU_ASSERT_EQUAL(cluster_propose(c, 1, "x"), OK);
    }
    struct cluster_disk *d = &cluster_node(c, 1)->disk;
    CU_ASSERT_EQUAL(d->pending_count, PERSISTS_OUTSTANDING_MAX);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(d->pending_count, PERSISTS_OUTSTANDING_MAX);
    CU_ASSERT_EQUAL(d->pendings[PERSISTS_OUTSTANDING_MAX - 1].persist.entries->count,
                    PERSISTS_OUTSTANDING_MAX);
    cluster_disk_release(c, 1, PERSISTS_OUTSTANDING_MAX);
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 1 + 2 * PERSISTS_OUTSTANDING_MAX);
    cluster_destroy(&c);
}

/* Messages that wait for a stuck disk are bounded: the oldest are given up. */
static void held_messages_are_bounded(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    cluster_disk_hold(c, 1, true);
    struct raft_message first = {.type = RAFT_REQUEST_VOTE, .from = 2, .to = 1, .term = 5};
    cluster_receive(c, &first);
    for (int i = 0; i < 3 * OUTBOX_MAX; i++) {
        struct raft_message m = {.type = RAFT_REQUEST_VOTE, .from = 3, .to = 1, .term = 5};
        cluster_receive(c, &m);
    }
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(c->flight_count, OUTBOX_MAX);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 2, 0), 0);
    cluster_destroy(&c);
}

/* What was to be said in a term that is over by the time the disk is ready is not said. */
static void words_of_a_past_term_are_not_said(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    cluster_disk_hold(c, 1, true);
    struct raft_message a = {.type = RAFT_REQUEST_VOTE, .from = 2, .to = 1, .term = 5};
    struct raft_message b = {.type = RAFT_REQUEST_VOTE, .from = 3, .to = 1, .term = 6};
    cluster_receive(c, &a);
    cluster_receive(c, &b);
    cluster_disk_release(c, 1, 9);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 2, 0), 0);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 3, RAFT_VOTE_REPLY), 1);
    cluster_destroy(&c);
}

/* Apply hands out each entry once, in order, and no more than apply_bytes_max beyond what is applied. */
static void apply_is_bounded_by_what_is_outstanding(void)
{
    struct cluster *c = cluster_create(1, 1);
    c->apply_bytes_max = (uint64_t)10 * (ENTRY_OVERHEAD + 8);
    cluster_start(c, 1);
    cluster_settle(c);
    cluster_apply_hold(c, 1, true);
    struct entries *block = commands(100, 8);
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .propose = {.commands = block}};
    cluster_step(c, 1, &event);
    entries_free(&block);
    cluster_settle(c);
    struct cluster_node *n = cluster_node(c, 1);
    CU_ASSERT_EQUAL_FATAL(n->applying_count, 1);
    CU_ASSERT_EQUAL(n->applying[0]->count, 10);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 101);
    cluster_apply_hold(c, 1, false);
    cluster_settle(c); /* the fake state machine asserts the order */
    CU_ASSERT_EQUAL(n->applied_index, 101);
    cluster_destroy(&c);
}

/* state_changed: on a change of role, term, leader, voting right or configuration, and not otherwise. */
static void changes_of_state_are_reported(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    struct raft_effects out = {0};
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_TICK});
    CU_ASSERT_FALSE(out.state_changed);
    struct raft_message beat = {.type = RAFT_APPEND_ENTRIES, .from = 2, .to = 1, .term = 1};
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_RECEIVED, .received = &beat});
    CU_ASSERT_TRUE(out.state_changed);
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_FLUSH});
    CU_ASSERT_TRUE(out.state_changed); /* stays until the caller has cleared it */
    raft_effects_clear(&out);
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_RECEIVED, .received = &beat});
    CU_ASSERT_FALSE(out.state_changed);
    c->now_us += 3 * CLUSTER_ELECTION_US;
    step(c, &out, (struct raft_event){.type = RAFT_EVENT_TICK});
    CU_ASSERT_TRUE(out.state_changed);
    raft_effects_release(&out);
    cluster_destroy(&c);
}

/* The deadline: a follower's election timeout, a leader's heartbeat, a question's retry; time that runs backwards
 * moves nothing. */
static void the_deadline_is_the_next_thing_to_do(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_start(c, 1);
    struct cluster_node *n = cluster_node(c, 1);
    CU_ASSERT_TRUE(n->tick_us >= c->now_us + CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(n->tick_us < c->now_us + 2 * CLUSTER_ELECTION_US);
    cluster_lead_alone(c, 1);
    CU_ASSERT_EQUAL(n->tick_us, c->now_us + CLUSTER_HEARTBEAT_US);
    uint64_t now = c->now_us;
    c->now_us = 5;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(n->tick_us, now + CLUSTER_HEARTBEAT_US);
    c->now_us = now + CLUSTER_HEARTBEAT_US;
    cluster_tick(c, 1);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 0, RAFT_APPEND_ENTRIES), 2);
    CU_ASSERT_EQUAL(n->tick_us, now + 2 * CLUSTER_HEARTBEAT_US);
    cluster_destroy(&c);
}

/* Messages between raft actors pass the core by, and what they own is freed. */
static void forwarded_commands_pass_the_core_by(void)
{
    struct cluster *c = lone_leader();
    for (int i = 0; i < 2; i++) {
        struct raft_message m = {.type = i == 0 ? RAFT_FORWARD : RAFT_FORWARD_REFUSED,
                                 .from = 2,
                                 .to = 1,
                                 .term = 1,
                                 .entries = commands(2, 2)};
        cluster_receive(c, &m);
        CU_ASSERT_PTR_NULL(m.entries);
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, 1);
    cluster_destroy(&c);
}

/* A restart goes on from what was durable: term, vote, log, sequence; committed is what the KV table holds. */
static void a_restart_goes_on_from_the_disk(void)
{
    struct cluster *c = cluster_create(3, 1);
    cluster_start_all(c);
    cluster_elect(c, 1);
    for (int i = 0; i < 10; i++) {
        (void)cluster_propose(c, 1, "x");
        cluster_settle(c);
    }
    cluster_kv_flush(c, 1);
    (void)cluster_propose(c, 1, "y");
    cluster_settle(c);
    struct raft_status before = cluster_status(c, 1);
    uint64_t sequence = cluster_node(c, 1)->raft->log.persist_sequence;
    cluster_crash(c, 1, 0);
    cluster_start(c, 1);
    struct raft_status after = cluster_status(c, 1);
    CU_ASSERT_EQUAL(after.current_term, before.current_term);
    CU_ASSERT_EQUAL(after.voted_for, before.voted_for);
    CU_ASSERT_EQUAL(after.last_log_index, 12);
    CU_ASSERT_EQUAL(after.commit_index, 11);
    CU_ASSERT_EQUAL(after.last_applied, 11);
    CU_ASSERT_EQUAL(after.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->raft->log.persist_sequence, sequence);
    cluster_destroy(&c);
}

/* The roles have names. */
static void roles_have_names(void)
{
    CU_ASSERT_STRING_EQUAL(raft_role_text(RAFT_FOLLOWER), "follower");
    CU_ASSERT_STRING_EQUAL(raft_role_text(RAFT_PRE_CANDIDATE), "pre_candidate");
    CU_ASSERT_STRING_EQUAL(raft_role_text(RAFT_CANDIDATE), "candidate");
    CU_ASSERT_STRING_EQUAL(raft_role_text(RAFT_LEADER), "leader");
}

/* ---- invariants.c ---------------------------------------------------------------------------------------------- */

static void term_falls(struct raft *r)
{
    r->current_term--;
}

static void vote_changes(struct raft *r)
{
    r->voted_for = 3;
}

static void commit_falls(struct raft *r)
{
    r->commit_index = 0;
}

static void commit_beyond_the_log(struct raft *r)
{
    r->commit_index = r->log.last_index + 1;
}

static void durable_beyond_the_log(struct raft *r)
{
    r->log.durable_index = r->log.last_index + 1;
}

static void applied_beyond_commit(struct raft *r)
{
    r->last_applied = r->commit_index + 1;
    r->apply_handed_index = r->commit_index + 1;
}

static void leader_loses_entries(struct raft *r)
{
    r->log.handed_index = r->log.last_index = r->log.durable_index = r->commit_index;
}

static void leader_is_somebody_else(struct raft *r)
{
    r->leader = 2;
}

static void match_reaches_next(struct raft *r)
{
    r->progress[0].match_index = r->progress[0].next_index;
}

static void window_does_not_add_up(struct raft *r)
{
    r->progress[0].inflight_bytes += 1;
}

static void rounds_run_away(struct raft *r)
{
    r->read_round += READ_ROUNDS_MAX + 1;
}

static void configuration_of_no_entry(struct raft *r)
{
    struct configuration c = *membership_current(r);
    membership_append(r, r->log.last_index + 1, &c);
}

static void two_runs_of_one_term(struct raft *r)
{
    r->log.runs[0].term = r->current_term + 1;
}

static void nothing(struct raft *r)
{
    UNUSED(r);
}

/* In a child process, for an assert ends it: does the check end it after this change? */
static bool is_found(void (*harm)(struct raft *r))
{
    struct cluster *c = lone_leader();
    struct raft_message ok = {.type = RAFT_APPEND_REPLY,
                              .from = 2,
                              .to = 1,
                              .term = 1,
                              .granted = true,
                              .match_index = 1};
    cluster_receive(c, &ok);
    (void)cluster_propose(c, 1, "in flight");
    cluster_settle(c);
    pid_t child = fork();
    CU_ASSERT_TRUE_FATAL(child >= 0);
    if (child == 0) {
        struct raft *r = cluster_node(c, 1)->raft;
        raft_check(r);
        if (freopen("/dev/null", "w", stderr) == NULL) {
            _exit(1);
        }
        harm(r);
        raft_check(r);
        _exit(0);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    cluster_destroy(&c);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* raft_check finds each of these, and finds nothing where nothing is wrong. */
static void broken_states_are_found(void)
{
    CU_ASSERT_FALSE(is_found(nothing));
    CU_ASSERT_TRUE(is_found(term_falls));
    CU_ASSERT_TRUE(is_found(vote_changes));
    CU_ASSERT_TRUE(is_found(commit_falls));
    CU_ASSERT_TRUE(is_found(commit_beyond_the_log));
    CU_ASSERT_TRUE(is_found(durable_beyond_the_log));
    CU_ASSERT_TRUE(is_found(applied_beyond_commit));
    CU_ASSERT_TRUE(is_found(leader_loses_entries));
    CU_ASSERT_TRUE(is_found(leader_is_somebody_else));
    CU_ASSERT_TRUE(is_found(match_reaches_next));
    CU_ASSERT_TRUE(is_found(window_does_not_add_up));
    CU_ASSERT_TRUE(is_found(rounds_run_away));
    CU_ASSERT_TRUE(is_found(configuration_of_no_entry));
    CU_ASSERT_TRUE(is_found(two_runs_of_one_term));
}

SUITE("raft: contract", TEST(only_the_flush_has_effects), TEST(flushing_twice_does_nothing_twice),
      TEST(outstanding_persists_are_bounded), TEST(held_messages_are_bounded),
      TEST(words_of_a_past_term_are_not_said), TEST(apply_is_bounded_by_what_is_outstanding),
      TEST(changes_of_state_are_reported), TEST(the_deadline_is_the_next_thing_to_do),
      TEST(forwarded_commands_pass_the_core_by), TEST(a_restart_goes_on_from_the_disk),
      TEST(roles_have_names), TEST(broken_states_are_found))
