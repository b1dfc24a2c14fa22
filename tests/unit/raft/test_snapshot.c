/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_snapshot.c: who needs a snapshot, what of the log stays while it is made and sent, and how a log begins anew behind
 * one. Raft §7; traps 46 to 48.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#define TERMS(...)     ((const uint64_t[]){__VA_ARGS__, 0})
#define IDS(...)       ((const uint64_t[]){__VA_ARGS__, 0})
#define TRIM_ALL_BYTES 64 /* log_keep_bytes: nothing is kept for others */

static void propose_many(struct cluster *c, uint64_t id, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(cluster_propose(c, id, "something"), OK);
        cluster_settle(c);
    }
}

/* Node 3 was away while 1 and 2 went on and trimmed what it lacks. */
static struct cluster *with_node_3_behind(void)
{
    struct cluster *c = cluster_create(3, 9);
    c->trim_slack_entries = 0;
    c->trim_step_entries = 1;
    c->log_keep_bytes = TRIM_ALL_BYTES;
    c->snapshots_held = true;
    cluster_start_all(c);
    cluster_elect(c, 1);
    propose_many(c, 1, 2);
    cluster_kv_flush(c, 3);
    cluster_isolate(c, 3, true);
    propose_many(c, 1, 40);
    cluster_kv_flush(c, 1);
    cluster_kv_flush(c, 2);
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_node(c, 1)->raft->log.trimmed_index >
                   cluster_node(c, 3)->raft->log.last_index);
    return c;
}

static struct raft_progress progress_of(struct cluster *c, uint64_t member)
{
    struct raft_progress p = {0};
    CU_ASSERT_TRUE(raft_progress_of(cluster_node(c, 1)->raft, member, &p));
    return p;
}

static void a_beat(struct cluster *c)
{
    cluster_run(c, CLUSTER_HEARTBEAT_US + 1);
}

/* §7: it is sent one; heartbeats go on; then it is fed from where the snapshot ends. */
static void who_lacks_what_was_trimmed_gets_a_snapshot(void)
{
    struct cluster *c = with_node_3_behind();
    cluster_heal(c);
    for (int i = 0; i < 5 && !progress_of(c, 3).needs_snapshot; i++) {
        a_beat(c);
    }
    CU_ASSERT_TRUE(progress_of(c, 3).needs_snapshot);
    CU_ASSERT_EQUAL(progress_of(c, 3).snapshot_index, 0);
    /* while it is made: heartbeats, answers, a leader that is heard, and a target nobody may hand over to */
    size_t sent = c->sent_count;
    cluster_run(c, 3 * CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(c->sent_count > sent);
    CU_ASSERT_EQUAL(cluster_leader(c), 1);
    CU_ASSERT_EQUAL(cluster_status(c, 3).leader, 1);
    CU_ASSERT_EQUAL(cluster_transfer(c, 1, 3), ERR_BAD_TRANSFEREE);
    CU_ASSERT_FALSE(progress_of(c, 3).caught_up);
    uint64_t index = cluster_status(c, 1).last_applied;
    CU_ASSERT_EQUAL(cluster_send_snapshot(c, 1, 3), OK);
    CU_ASSERT_EQUAL(progress_of(c, 3).snapshot_index, index);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_node(c, 3)->snapshots_installed, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 3).commit_index, index);
    propose_many(c, 1, 3);
    a_beat(c);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_FALSE(progress_of(c, 3).needs_snapshot);
    cluster_check_logs(c);
    /* and it is a full member: it can be elected and has it all after a restart */
    cluster_kv_flush(c, 3);
    cluster_crash(c, 3, 0);
    cluster_start(c, 3);
    cluster_elect(c, 3);
    CU_ASSERT_EQUAL(cluster_propose(c, 3, "x"), OK);
    cluster_destroy(&c);
}

/* One effect per need, and after a failure another one, but not at once. */
static void a_failed_one_is_wanted_again_after_a_while(void)
{
    struct cluster *c = with_node_3_behind();
    cluster_heal(c);
    for (int i = 0; i < 5 && !progress_of(c, 3).needs_snapshot; i++) {
        a_beat(c);
    }
    struct raft *r = cluster_node(c, 1)->raft;
    CU_ASSERT_TRUE(replication_find(r, 3)->snapshot_said);
    struct raft_event failed = {.type = RAFT_EVENT_SNAPSHOT_SENT,
                                .snapshot_sent = {.member = 3, .installed = false}};
    cluster_step(c, 1, &failed);
    CU_ASSERT_FALSE(progress_of(c, 3).needs_snapshot);
    cluster_run(c, CLUSTER_ELECTION_US / 2);
    CU_ASSERT_FALSE(progress_of(c, 3).needs_snapshot);
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(progress_of(c, 3).needs_snapshot);
    /* nobody is told twice of one need */
    struct raft_event flush = {.type = RAFT_EVENT_FLUSH};
    cluster_step_only(c, 1, &flush);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->effects.snapshot_wanted_count, 0);
    cluster_destroy(&c);
}

static void ready_is_checked(void)
{
    struct cluster *c = with_node_3_behind();
    struct raft_event ready = {.type = RAFT_EVENT_SNAPSHOT_READY,
                               .snapshot_ready = {.member = 2, .index = 3}};
    cluster_step(c, 1, &ready);
    CU_ASSERT_EQUAL(ready.snapshot_ready.error, ERR_NOT_FOUND); /* needs none */
    ready.snapshot_ready.member = 77;
    cluster_step(c, 1, &ready);
    CU_ASSERT_EQUAL(ready.snapshot_ready.error, ERR_NOT_FOUND);
    cluster_heal(c);
    for (int i = 0; i < 5 && !progress_of(c, 3).needs_snapshot; i++) {
        a_beat(c);
    }
    ready.snapshot_ready.member = 3;
    cluster_step(c, 1, &ready);
    CU_ASSERT_EQUAL(ready.snapshot_ready.error, ERR_INVALID); /* 3 is below the log's start */
    ready.snapshot_ready.index = cluster_status(c, 1).last_log_index + 1;
    cluster_step(c, 1, &ready);
    CU_ASSERT_EQUAL(ready.snapshot_ready.error, ERR_INVALID);
    ready.snapshot_ready.index = cluster_node(c, 1)->raft->log.trimmed_index;
    cluster_step(c, 1, &ready);
    CU_ASSERT_EQUAL(ready.snapshot_ready.error, OK);
    cluster_destroy(&c);
}

/* Trap 48: what follows the snapshot stays in the log until it has arrived, within a bound. */
static void the_log_is_kept_from_the_snapshot_on(void)
{
    struct cluster *c = cluster_create(3, 9);
    c->trim_slack_entries = 0;
    c->trim_step_entries = 1;
    c->log_keep_bytes = (uint64_t)16 * (9 + ENTRY_OVERHEAD); /* sixteen entries of propose_many */
    c->snapshots_held = true;
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_isolate(c, 3, true);
    propose_many(c, 1, 60);
    cluster_kv_flush(c, 1);
    cluster_heal(c);
    for (int i = 0; i < 5 && !progress_of(c, 3).needs_snapshot; i++) {
        a_beat(c);
    }
    CU_ASSERT_TRUE(progress_of(c, 3).needs_snapshot);
    CU_ASSERT_EQUAL(cluster_send_snapshot(c, 1, 3), OK);
    uint64_t index = progress_of(c, 3).snapshot_index;
    cluster_node(c, 1)->snapshot_sent_us[3] = 0; /* it takes long */
    cluster_lose_all(c);
    cluster_isolate(c, 3, true);
    propose_many(c, 1, 40); /* more than is kept for a member that lags */
    cluster_kv_flush(c, 1);
    CU_ASSERT_TRUE(cluster_node(c, 1)->raft->log.trimmed_index <= index);
    CU_ASSERT_TRUE(cluster_node(c, 1)->raft->log.trimmed_index + 40 >= index);
    propose_many(c, 1, 60); /* and more than is kept at all */
    cluster_kv_flush(c, 1);
    CU_ASSERT_TRUE(cluster_node(c, 1)->raft->log.trimmed_index > index);
    CU_ASSERT_TRUE(
        cluster_status(c, 1).last_log_index - cluster_node(c, 1)->raft->log.trimmed_index <= 70);
    cluster_destroy(&c);
}

/* Without a bound a log waits for every member, as it must where nobody makes snapshots. */
static void without_a_bound_the_log_waits(void)
{
    struct cluster *c = cluster_create(3, 9);
    c->trim_slack_entries = 0;
    c->trim_step_entries = 1;
    cluster_start_all(c);
    cluster_elect(c, 1);
    cluster_isolate(c, 3, true);
    propose_many(c, 1, 200);
    cluster_kv_flush(c, 1);
    cluster_kv_flush(c, 2);
    cluster_run(c, CLUSTER_ELECTION_US / 2);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->raft->log.trimmed_index, 0);
    cluster_heal(c);
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    CU_ASSERT_EQUAL(cluster_node(c, 3)->snapshots_installed, 0);
    cluster_destroy(&c);
}

/* ---- at the receiver -------------------------------------------------------------------------------------- */

static bool install(struct cluster *c, uint64_t id, uint64_t index, uint64_t term)
{
    struct cluster_node *n = cluster_node(c, id);
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_INSTALLED,
                               .snapshot_installed = {.index = index,
                                                      .term = term,
                                                      .cluster_time_us = 5000000,
                                                      .configuration = &c->configuration}};
    cluster_step_only(c, id, &event);
    if (event.snapshot_installed.accepted) {
        mem_free(n->disk.received);
        n->disk.received = mem_zalloc(sizeof(*n->disk.received));
        n->disk.received->index = index;
        n->disk.received->term = term;
        n->disk.received->configuration = c->configuration;
        n->applied_index = index;
        *n->table = *n->disk.received;
    }
    cluster_flush(c, id);
    return event.snapshot_installed.accepted;
}

static struct raft_message heartbeat(uint64_t term, uint64_t prev, uint64_t prev_term,
                                     uint64_t commit)
{
    return (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                 .from = 2,
                                 .to = 1,
                                 .term = term,
                                 .prev_log_index = prev,
                                 .prev_log_term = prev_term,
                                 .leader_commit = commit};
}

static struct cluster *follower_with(const uint64_t *terms, uint64_t term)
{
    struct cluster *c = cluster_create(3, 9);
    c->network_held = true;
    cluster_set_log(c, 1, terms);
    cluster_set_term(c, 1, term, 0);
    cluster_start(c, 1);
    struct raft_message m = heartbeat(term, 0, 0, 0);
    cluster_receive(c, &m);
    cluster_settle(c);
    cluster_lose_all(c);
    return c;
}

/* Trap 46: it says nothing of what the snapshot brought before the disk has switched to it, and applies nothing. */
static void nothing_is_acknowledged_before_the_switch_is_durable(void)
{
    struct cluster *c = follower_with(TERMS(1, 1), 3);
    cluster_disk_hold(c, 1, true);
    CU_ASSERT_TRUE(install(c, 1, 10, 2));
    struct raft_status s = cluster_status(c, 1);
    CU_ASSERT_EQUAL(s.commit_index, 10);
    CU_ASSERT_EQUAL(s.last_applied, 10);
    CU_ASSERT_EQUAL(s.first_log_index, 11);
    CU_ASSERT_EQUAL(s.cluster_time_us, 5000000);
    CU_ASSERT_EQUAL_FATAL(cluster_node(c, 1)->disk.pending_count, 1);
    const struct raft_persist *p = &cluster_node(c, 1)->disk.pendings[0].persist;
    CU_ASSERT_EQUAL(p->reset_index, 10);
    CU_ASSERT_EQUAL(p->reset_term, 2);
    struct raft_message m = heartbeat(3, 10, 2, 12);
    m.entries = entries_create(2, 0);
    entries_add(m.entries, &(struct entry){.index = 11, .term = 3, .type = ENTRY_NOOP});
    entries_add(m.entries, &(struct entry){.index = 12, .term = 3, .type = ENTRY_NOOP});
    cluster_receive(c, &m);
    struct raft_message *reply = NULL;
    while ((reply = cluster_find(c, 1, 2, RAFT_APPEND_REPLY)) != NULL) {
        CU_ASSERT_TRUE(reply->match_index <= 2);
        (void)cluster_lose(c, 1, 2, RAFT_APPEND_REPLY);
    }
    /* the entries on disk, the switch before them: now both count */
    cluster_disk_release(c, 1, 1);
    reply = cluster_find(c, 1, 2, RAFT_APPEND_REPLY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(reply);
    CU_ASSERT_EQUAL(reply->match_index, 10);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applying_count, 0);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applying_count, 1);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applying[0]->first_index, 11);
    cluster_destroy(&c);
}

/* Trap 46: what follows the snapshot may be durable long since; it is applied to the new table, so not before that one
 * is in its place. */
static void nothing_is_applied_before_the_switch_is_durable(void)
{
    struct cluster *c = follower_with(TERMS(1, 1, 2, 2, 3), 3);
    cluster_disk_hold(c, 1, true);
    cluster_apply_hold(c, 1, true);
    CU_ASSERT_TRUE(install(c, 1, 3, 2));
    struct raft_message m = heartbeat(3, 5, 3, 5);
    cluster_receive(c, &m);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 5);
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 5);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applying_count, 0);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL_FATAL(cluster_node(c, 1)->applying_count, 1);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applying[0]->first_index, 4);
    cluster_destroy(&c);
}

/* Trap 46: killed before the switch it is what it was; after it, it begins behind the snapshot. */
static void a_crash_finds_either_the_old_or_the_new(void)
{
    for (size_t written = 0; written < 2; written++) {
        struct cluster *c = follower_with(TERMS(1, 1, 1), 3);
        cluster_disk_hold(c, 1, true);
        CU_ASSERT_TRUE(install(c, 1, 10, 2));
        cluster_crash(c, 1, written);
        cluster_start(c, 1);
        CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, written == 0 ? 3 : 10);
        CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, written == 0 ? 0 : 10);
        CU_ASSERT_EQUAL(cluster_status(c, 1).first_log_index, written == 0 ? 1 : 11);
        cluster_destroy(&c);
    }
}

/* Trap 47: entries behind the snapshot that agree with it stay; what conflicts goes, on disk too. */
static void a_matching_suffix_is_kept_and_a_conflicting_log_is_not(void)
{
    struct cluster *c = follower_with(TERMS(1, 1, 2, 2, 3), 3);
    CU_ASSERT_TRUE(install(c, 1, 3, 2));
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "2 3");
    CU_ASSERT_EQUAL(cluster_status(c, 1).first_log_index, 4);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.count, 5);
    /* the snapshot's last term answers the question about what comes before */
    struct raft_message m = heartbeat(3, 3, 2, 3);
    cluster_receive(c, &m);
    struct raft_message *reply = NULL;
    bool granted = false;
    while ((reply = cluster_find(c, 1, 2, RAFT_APPEND_REPLY)) != NULL) {
        granted = reply->granted;
        (void)cluster_lose(c, 1, 2, RAFT_APPEND_REPLY);
    }
    CU_ASSERT_TRUE(granted);
    cluster_destroy(&c);

    c = follower_with(TERMS(1, 1, 1, 1, 1), 3);
    CU_ASSERT_TRUE(install(c, 1, 3, 2));
    cluster_settle(c);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "");
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, 3);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.count, 3);
    cluster_crash(c, 1, 0);
    cluster_start(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, 3);
    cluster_destroy(&c);
}

/* Trap 47: not newer than what is committed here: nothing changes, but the leader hears where this node is. */
static void an_old_snapshot_changes_nothing(void)
{
    struct cluster *c = follower_with(TERMS(1, 1, 2, 2), 3);
    struct raft_message m = heartbeat(3, 4, 2, 4);
    cluster_receive(c, &m);
    cluster_settle(c);
    cluster_lose_all(c);
    size_t persists = cluster_node(c, 1)->persist_count;
    for (uint64_t index = 1; index <= 4; index++) {
        CU_ASSERT_FALSE(install(c, 1, index, index <= 2 ? 1 : 2));
    }
    CU_ASSERT_EQUAL(cluster_node(c, 1)->persist_count, persists);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 2 2");
    CU_ASSERT_PTR_NOT_NULL(cluster_find(c, 1, 2, RAFT_APPEND_REPLY));
    /* a term that no snapshot can have yet */
    CU_ASSERT_FALSE(install(c, 1, 9, 4));
    CU_ASSERT_FALSE(install(c, 1, 9, 0));
    cluster_destroy(&c);
}

/* Trap 47, etcd #18055: two in quick succession, the first switch not on disk yet. */
static void two_in_quick_succession(void)
{
    for (size_t written = 0; written < 3; written++) {
        struct cluster *c = follower_with(TERMS(1, 1), 3);
        cluster_disk_hold(c, 1, true);
        CU_ASSERT_TRUE(install(c, 1, 10, 2));
        CU_ASSERT_TRUE(install(c, 1, 20, 3));
        CU_ASSERT_FALSE(install(c, 1, 15, 2));
        CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.pending_count, 2);
        cluster_crash(c, 1, written);
        cluster_start(c, 1);
        CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, written == 0 ? 2 : 10 * written);
        cluster_destroy(&c);
    }
}

/* A leader, and one who stands for election, has no use for one. */
static void a_leader_installs_nothing(void)
{
    struct cluster *c = cluster_create(3, 9);
    cluster_start_all(c);
    cluster_elect(c, 1);
    CU_ASSERT_FALSE(install(c, 1, 100, 1));
    CU_ASSERT_EQUAL(cluster_status(c, 1).role, RAFT_LEADER);
    cluster_destroy(&c);
}

/* Chunks say that the leader lives; those of a former leader are refused with the present term. */
static void chunks_are_words_of_a_leader(void)
{
    struct cluster *c = follower_with(TERMS(1, 1), 3);
    uint64_t deadline = cluster_node(c, 1)->raft->election_deadline_us;
    c->now_us += CLUSTER_HEARTBEAT_US;
    struct raft_message m = {.type = RAFT_INSTALL_SNAPSHOT,
                             .from = 2,
                             .to = 1,
                             .term = 3,
                             .last_included_index = 9,
                             .last_included_term = 2};
    struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .received = &m};
    cluster_step(c, 1, &event);
    CU_ASSERT_TRUE(cluster_node(c, 1)->raft->election_deadline_us > deadline);
    m.term = 2;
    event.received = &m;
    cluster_step(c, 1, &event);
    const struct raft_message *answer = cluster_find(c, 1, 2, RAFT_INSTALL_SNAPSHOT_REPLY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_EQUAL(answer->term, 3);
    CU_ASSERT_FALSE(answer->granted);
    CU_ASSERT_FALSE(answer->done);
    CU_ASSERT_EQUAL(answer->last_included_index, 9);
    cluster_destroy(&c);
}

/* The snapshot's members are in force with it, also for a node that knew none; and what it says is settled. */
static void the_members_come_with_it(void)
{
    struct cluster *c = cluster_create(5, 9);
    c->trim_slack_entries = 0;
    c->trim_step_entries = 1;
    c->log_keep_bytes = TRIM_ALL_BYTES;
    cluster_set_voters(c, 3);
    cluster_start_all(c);
    cluster_elect(c, 1);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4)), OK);
    cluster_settle(c);
    propose_many(c, 1, 40);
    for (uint64_t id = 1; id <= 4; id++) {
        cluster_kv_flush(c, id);
    }
    cluster_settle(c);
    CU_ASSERT_TRUE(cluster_node(c, 1)->raft->log.trimmed_index > 10);
    CU_ASSERT_EQUAL(cluster_change(c, 1, IDS(1, 2, 3), IDS(4, 5)), OK);
    cluster_run(c, CLUSTER_ELECTION_US);
    CU_ASSERT_EQUAL(cluster_node(c, 5)->snapshots_installed, 1);
    CU_ASSERT_EQUAL(raft_configuration(cluster_node(c, 5)->raft)->count, 5);
    CU_ASSERT_TRUE(cluster_is_converged(c));
    cluster_kv_flush(c, 5);
    cluster_crash(c, 5, 0);
    cluster_start(c, 5);
    CU_ASSERT_EQUAL(raft_settled_configuration(cluster_node(c, 5)->raft)->count, 5);
    cluster_destroy(&c);
}

SUITE("raft: snapshot", TEST(who_lacks_what_was_trimmed_gets_a_snapshot),
      TEST(a_failed_one_is_wanted_again_after_a_while), TEST(ready_is_checked),
      TEST(the_log_is_kept_from_the_snapshot_on), TEST(without_a_bound_the_log_waits),
      TEST(nothing_is_acknowledged_before_the_switch_is_durable),
      TEST(nothing_is_applied_before_the_switch_is_durable),
      TEST(a_crash_finds_either_the_old_or_the_new),
      TEST(a_matching_suffix_is_kept_and_a_conflicting_log_is_not),
      TEST(an_old_snapshot_changes_nothing), TEST(two_in_quick_succession),
      TEST(a_leader_installs_nothing), TEST(chunks_are_words_of_a_leader),
      TEST(the_members_come_with_it))
