/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_follower.c: the receiver of append_entries, with a leader played by the test. Raft Fig. 2
 * "AppendEntries RPC, receiver implementation", §5.3; traps 13-17, 26.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

/* Node 1 of three runs with this log; 2 and 3 are the test. */
static struct cluster *follower_with(const uint64_t *terms)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, terms);
    cluster_start(c, 1);
    return c;
}

/* append_entries of leader 2 with entries of these terms (0-terminated) after prev. */
static struct raft_message append(uint64_t term, uint64_t prev_log_index, uint64_t prev_log_term,
                                  uint64_t leader_commit, const uint64_t *terms)
{
    size_t count = 0;
    while (terms != NULL && terms[count] != 0) {
        count++;
    }
    struct raft_message m = {
        .type = RAFT_APPEND_ENTRIES,
        .from = 2,
        .to = 1,
        .term = term,
        .prev_log_index = prev_log_index,
        .prev_log_term = prev_log_term,
        .leader_commit = leader_commit,
    };
    if (count > 0) {
        m.entries = entries_create(count, 0);
        for (size_t i = 0; i < count; i++) {
            struct entry e = {
                .index = prev_log_index + 1 + i, .term = terms[i], .type = ENTRY_COMMAND};
            entries_add(m.entries, &e);
        }
    }
    return m;
}

/* Give it to node 1 and let its disk work. */
static void receive(struct cluster *c, struct raft_message m)
{
    cluster_receive(c, &m);
    cluster_settle(c);
}

/* The newest append_reply of node 1; all are taken away. */
static struct raft_message last_reply(struct cluster *c)
{
    struct raft_message last = {0};
    const struct raft_message *m = NULL;
    while ((m = cluster_find(c, 1, 0, RAFT_APPEND_REPLY)) != NULL) {
        last = *m;
        (void)cluster_lose(c, 1, 0, RAFT_APPEND_REPLY);
    }
    CU_ASSERT_EQUAL_FATAL(last.type, RAFT_APPEND_REPLY);
    return last;
}

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* Receiver 2: refused if our log has no entry at prevLogIndex, or one of another term. The refusal
 * says where to look next: the end of a log that is too short, the first of a term that conflicts. */
static void a_refusal_names_the_place_to_try_next(void)
{
    struct cluster *c = follower_with(TERMS(1, 1, 2, 2, 2, 3));
    receive(c, append(5, 9, 4, 0, NULL));
    struct raft_message short_log = last_reply(c);
    CU_ASSERT_FALSE(short_log.granted);
    CU_ASSERT_EQUAL(short_log.conflict_index, 7);
    CU_ASSERT_EQUAL(short_log.conflict_term, 0);
    receive(c, append(5, 5, 4, 0, NULL));
    struct raft_message conflict = last_reply(c);
    CU_ASSERT_FALSE(conflict.granted);
    CU_ASSERT_EQUAL(conflict.conflict_index, 3);
    CU_ASSERT_EQUAL(conflict.conflict_term, 2);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 2 2 2 3");
    cluster_destroy(&c);
}

/* Found by the random cluster: the run of the conflicting term begins below what is known to be equal;
 * the refusal must point above it, or the leader takes it for a late one. */
static void a_refusal_points_above_what_is_equal(void)
{
    struct cluster *c = follower_with(TERMS(5, 5, 5, 5, 5));
    receive(c, append(6, 3, 5, 1, NULL)); /* equal up to 3, committed 1 */
    CU_ASSERT_EQUAL(last_reply(c).match_index, 3);
    receive(c, append(6, 5, 6, 1, NULL));
    CU_ASSERT_EQUAL(last_reply(c).conflict_index, 4);
    cluster_destroy(&c);
}

/* Receiver 3 and 4: a real conflict cuts the log there, in the same persist that writes the new entries. */
static void a_conflict_is_cut_and_replaced_in_one_write(void)
{
    struct cluster *c = follower_with(TERMS(1, 1, 2, 2, 2));
    cluster_disk_hold(c, 1, true);
    receive(c, append(4, 3, 2, 0, TERMS(4)));
    const struct cluster_disk *d = &cluster_node(c, 1)->disk;
    CU_ASSERT_EQUAL_FATAL(d->pending_count, 1);
    CU_ASSERT_EQUAL(d->pendings[0].persist.truncate_from, 4);
    CU_ASSERT_EQUAL(d->pendings[0].persist.entries->first_index, 4);
    CU_ASSERT_EQUAL(d->pendings[0].persist.current_term, 4);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 2 4");
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 3);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(d->count, 4);
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 4);
    CU_ASSERT_EQUAL(last_reply(c).match_index, 4);
    cluster_destroy(&c);
}

/* Trap 15: a shorter, older or doubled message that agrees cuts nothing. */
static void an_old_message_does_not_cut_the_log(void)
{
    struct cluster *c = follower_with(TERMS(1));
    receive(c, append(1, 1, 1, 0, TERMS(1, 1, 1, 1)));
    receive(c, append(1, 1, 1, 0, TERMS(1, 1)));
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 1 1 1");
    receive(c, append(1, 0, 0, 0, TERMS(1)));
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 1 1 1");
    receive(c, append(1, 2, 1, 0, NULL));
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 1 1 1");
    CU_ASSERT_EQUAL(last_reply(c).match_index, 5); /* equality proved once stays proved */
    cluster_destroy(&c);
}

/* Trap 16: what is acknowledged is what this leader's messages proved, not the end of the own log, whose
 * tail may be of an older term and conflict. */
static void an_acknowledgement_does_not_speak_of_the_tail(void)
{
    struct cluster *c = follower_with(TERMS(1, 1, 2, 2, 2));
    receive(c, append(3, 1, 1, 0, TERMS(1)));
    CU_ASSERT_EQUAL(last_reply(c).match_index, 2);
    receive(c, append(3, 2, 1, 0, NULL));
    CU_ASSERT_EQUAL(last_reply(c).match_index, 2);
    CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1 2 2 2");
    cluster_destroy(&c);
}

/* Trap 17: commit_index = min(leaderCommit, index of last new entry), not of the last entry in the log. */
static void commit_stops_at_the_last_new_entry(void)
{
    struct cluster *c = follower_with(TERMS(1, 1, 2, 2, 2));
    receive(c, append(3, 2, 1, 5, NULL));
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 2);
    receive(c, append(3, 2, 1, 5, TERMS(3, 3)));
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 4);
    receive(c, append(3, 4, 3, 3, TERMS(3))); /* commit never falls */
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 4);
    cluster_destroy(&c);
}

/* Trap 13: entries are acknowledged when they are on disk and never beyond it, with several writes under
 * way at once. */
static void acknowledgements_wait_for_the_disk(void)
{
    struct cluster *c = follower_with(TERMS(1));
    receive(c, append(1, 1, 1, 0, NULL));
    CU_ASSERT_EQUAL(last_reply(c).match_index, 1);
    cluster_disk_hold(c, 1, true);
    receive(c, append(1, 1, 1, 0, TERMS(1)));
    receive(c, append(1, 2, 1, 0, TERMS(1, 1)));
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.pending_count, 2);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    receive(c, append(1, 4, 1, 0, NULL)); /* a heartbeat is answered, with what is durable */
    CU_ASSERT_EQUAL(last_reply(c).match_index, 1);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(last_reply(c).match_index, 2);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(last_reply(c).match_index, 4);
    cluster_destroy(&c);
}

/* One acknowledgement covers all that became durable in a batch. */
static void acknowledgements_of_a_batch_are_one(void)
{
    struct cluster *c = follower_with(TERMS(1));
    receive(c, append(1, 1, 1, 0, NULL));
    cluster_lose_all(c);
    for (uint64_t i = 1; i <= 20; i++) {
        struct raft_message m = append(1, i, 1, 0, TERMS(1));
        struct raft_event event = {.type = RAFT_EVENT_RECEIVED, .received = &m};
        cluster_step_only(c, 1, &event);
    }
    cluster_flush(c, 1);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 2, RAFT_APPEND_REPLY), 1);
    CU_ASSERT_EQUAL(last_reply(c).match_index, 21);
    cluster_destroy(&c);
}

/* Trap 14, async-append ABA: entry 2 of term 1 is being written, is cut, entry 2 of term 2 takes its place;
 * the completion of the first write must not make the second durable. */
static void a_late_completion_does_not_make_the_new_entry_durable(void)
{
    struct cluster *c = follower_with(TERMS(1));
    cluster_disk_hold(c, 1, true);
    receive(c, append(1, 1, 1, 0, TERMS(1, 1)));
    struct raft_message m = append(2, 1, 1, 0, TERMS(2, 2, 2));
    m.from = 3;
    receive(c, m);
    cluster_lose_all(c);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.pending_count, 2);
    cluster_disk_release(c, 1, 1); /* the write of 2/1 and 3/1 */
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 1);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 4);
    struct raft_message reply = last_reply(c);
    CU_ASSERT_EQUAL(reply.to, 3);
    CU_ASSERT_EQUAL(reply.match_index, 4);
    cluster_destroy(&c);
}

/* Contract 4: handed out for apply only when committed and durable here, once, in order. */
static void entries_are_applied_when_committed_and_durable(void)
{
    struct cluster *c = follower_with(TERMS(1));
    cluster_disk_hold(c, 1, true);
    receive(c, append(1, 1, 1, 3, TERMS(1, 1)));
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 3);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 1);
    cluster_disk_release(c, 1, 1);
    cluster_settle(c);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 3);
    cluster_destroy(&c);
}

/* A read round and a heartbeat are answered without the disk; and so are entries, with nothing new in the
 * acknowledgement, once nothing was said for a heartbeat interval: a slow disk is not a dead node. */
static void rounds_and_silence_do_not_wait_for_the_disk(void)
{
    struct cluster *c = follower_with(TERMS(1));
    receive(c, append(1, 1, 1, 0, NULL));
    cluster_lose_all(c);
    cluster_disk_hold(c, 1, true);
    struct raft_message with_round = append(1, 1, 1, 0, TERMS(1));
    with_round.read_round = 7;
    receive(c, with_round);
    struct raft_message reply = last_reply(c);
    CU_ASSERT_EQUAL(reply.read_round, 7);
    CU_ASSERT_EQUAL(reply.match_index, 1);
    receive(c, append(1, 2, 1, 0, TERMS(1)));
    CU_ASSERT_EQUAL(c->flight_count, 0);
    c->now_us += CLUSTER_HEARTBEAT_US;
    receive(c, append(1, 3, 1, 0, TERMS(1)));
    CU_ASSERT_EQUAL(last_reply(c).match_index, 1);
    cluster_destroy(&c);
}

/* A new term is told to nobody before it is on disk, not even in the answer to a heartbeat. */
static void a_new_term_is_told_when_it_is_on_disk(void)
{
    struct cluster *c = follower_with(TERMS(1));
    cluster_disk_hold(c, 1, true);
    receive(c, append(8, 1, 1, 0, NULL));
    CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 2);
    CU_ASSERT_EQUAL(c->flight_count, 0);
    receive(c, append(8, 7, 8, 0, NULL)); /* a refusal would tell it as well */
    CU_ASSERT_EQUAL(c->flight_count, 0);
    cluster_disk_release(c, 1, 1);
    CU_ASSERT_EQUAL(cluster_count_flights(c, 1, 2, RAFT_APPEND_REPLY), 2);
    CU_ASSERT_EQUAL(last_reply(c).term, 8);
    cluster_destroy(&c);
}

/* Trap 26: while too much that is committed waits for the state machine, nothing more is acknowledged; it
 * goes on when the state machine does. */
static void a_slow_state_machine_closes_the_window(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    c->uncommitted_bytes_max = (uint64_t)4 * ENTRY_OVERHEAD;
    c->apply_bytes_max = ENTRY_OVERHEAD;
    cluster_set_log(c, 1, TERMS(1));
    cluster_start(c, 1);
    cluster_apply_hold(c, 1, true);
    for (uint64_t i = 1; i <= 10; i++) {
        receive(c, append(1, i, 1, i, TERMS(1)));
    }
    CU_ASSERT_EQUAL(cluster_status(c, 1).durable_index, 11);
    CU_ASSERT_EQUAL(cluster_status(c, 1).commit_index, 10);
    uint64_t acknowledged = last_reply(c).match_index;
    CU_ASSERT_TRUE(acknowledged < 8);
    receive(c, append(1, 11, 1, 10, NULL));
    CU_ASSERT_EQUAL(last_reply(c).match_index, acknowledged);
    cluster_apply_hold(c, 1, false);
    cluster_settle(c);
    CU_ASSERT_EQUAL(last_reply(c).match_index, 11);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->applied_index, 10);
    cluster_destroy(&c);
}

/* What no leader of ours sends is dropped whole: nothing changes, nothing is answered. */
static void malformed_appends_are_dropped(void)
{
    struct cluster *c = follower_with(TERMS(1, 1));
    struct raft_message wrong[5];
    wrong[0] = append(2, 1, 3, 0, NULL); /* prev of a later term than the leader's */
    wrong[1] = append(2, 1, 1, 0, TERMS(3));
    wrong[2] = append(2, 2, 1, 0, TERMS(2)); /* entries not after prev */
    wrong[2].prev_log_index = 1;
    wrong[3] = append(2, 2, 2, 0, TERMS(1)); /* an entry older than the one before it */
    wrong[4] = append(2, 2, 1, 0, TERMS(2)); /* a configuration nobody can read */
    wrong[4].entries->items[0].type = ENTRY_CONFIG;
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        receive(c, wrong[i]);
        CU_ASSERT_STRING_EQUAL(cluster_log_text(c, 1), "1 1");
        CU_ASSERT_EQUAL(cluster_status(c, 1).leader, 0);
        CU_ASSERT_EQUAL(c->flight_count, 0);
    }
    cluster_destroy(&c);
}

/* An append that begins below the commit index, even below the log's start, is taken for what is new. */
static void an_append_from_below_the_start_of_the_log(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    cluster_set_log(c, 1, TERMS(1, 1, 1, 2, 2, 2));
    c->trim_slack_entries = 0;
    c->trim_step_entries = 1;
    cluster_start(c, 1);
    struct raft_message m = append(2, 6, 2, 6, NULL);
    receive(c, m);
    cluster_kv_flush(c, 1);
    struct raft_message trim = append(2, 6, 2, 6, NULL);
    trim.trim_index = 5;
    receive(c, trim);
    CU_ASSERT_EQUAL(cluster_status(c, 1).first_log_index, 6);
    cluster_lose_all(c);
    receive(c, append(2, 2, 1, 6, TERMS(1, 2, 2, 2, 2)));
    CU_ASSERT_EQUAL(last_reply(c).match_index, 7);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_log_index, 7);
    cluster_destroy(&c);
}

/* The log is trimmed to what the leader says every member has, and never beyond what is durable in the own
 * KV table (trap 59), nor within the slack. */
static void trimming_needs_everybody_and_the_own_table(void)
{
    struct cluster *c = cluster_create(3, 1);
    c->network_held = true;
    c->trim_slack_entries = 2;
    c->trim_step_entries = 2;
    cluster_set_log(c, 1, TERMS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    cluster_start(c, 1);
    struct raft_message m = append(1, 10, 1, 10, NULL);
    m.trim_index = 9;
    receive(c, m);
    CU_ASSERT_EQUAL(cluster_status(c, 1).first_log_index, 1);
    cluster_kv_flush(c, 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).first_log_index, 8);
    CU_ASSERT_EQUAL(cluster_node(c, 1)->disk.trim_index, 7);
    cluster_destroy(&c);
}

SUITE("raft: follower", TEST(a_refusal_names_the_place_to_try_next),
      TEST(a_refusal_points_above_what_is_equal), TEST(a_conflict_is_cut_and_replaced_in_one_write),
      TEST(an_old_message_does_not_cut_the_log),
      TEST(an_acknowledgement_does_not_speak_of_the_tail), TEST(commit_stops_at_the_last_new_entry),
      TEST(acknowledgements_wait_for_the_disk), TEST(acknowledgements_of_a_batch_are_one),
      TEST(a_late_completion_does_not_make_the_new_entry_durable),
      TEST(entries_are_applied_when_committed_and_durable),
      TEST(rounds_and_silence_do_not_wait_for_the_disk),
      TEST(a_new_term_is_told_when_it_is_on_disk), TEST(a_slow_state_machine_closes_the_window),
      TEST(malformed_appends_are_dropped), TEST(an_append_from_below_the_start_of_the_log),
      TEST(trimming_needs_everybody_and_the_own_table))
