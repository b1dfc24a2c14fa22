/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_actor.c: shows what the actor around the core does by itself: requests that wait for a
 * leader are let go once their clients have been told, what waits is bounded, a refusal of an earlier
 * term's forward does not close the way to a leader elected again, and a tick counts however busy the
 * actor was while it travelled; a leader stamps what it appends, and what only a leader may propose goes
 * nowhere else. The core has tests of its own. (src/node/raft_actor.c; traps 51, 52, 53)
 */
#include "hand_runner.h"
#include "node/bootstrap.h"
#include "node/node.h"

#define SECOND_US UINT64_C(1000000)
#define OWN_ID    101
#define PEER_ID   102
#define OTHER_ID  103

struct fixture {
    struct node_actors actors;
    struct actor *raft;
    struct config config;
    size_t bytes_max;
    uint64_t armed_at_us, armed_generation; /* the timer's, as play_timer has seen it */
};

static size_t released; /* messages of this test that were let go */

static void count_propose(struct msg *m)
{
    released++;
    release_propose(m);
}

static void count_read(struct msg *m)
{
    released++;
    release_read_request(m);
}

/* Node n1 of three; with voters the first so many of them are a cluster, and the log has its entry. */
static void set_up_voters(struct fixture *f, size_t voters)
{
    bool cluster = voters > 0;
    memset(f, 0, sizeof(*f));
    f->armed_at_us = UINT64_MAX;
    released = 0;
    struct config *c = &f->config;
    f->bytes_max = 64 << 10;
    c->raft.uncommitted_bytes_max = f->bytes_max;
    c->raft.heartbeat_ms = 100;
    c->raft.read_lag_max_entries = 50;
    c->member_count = 3;
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(c->members[i].name, sizeof(c->members[i].name), "n%zu", i + 1);
        (void)snprintf(c->members[i].peer, sizeof(c->members[i].peer), "h%zu:2380", i + 1);
        (void)snprintf(c->members[i].client, sizeof(c->members[i].client), "h%zu:2379", i + 1);
    }
    memcpy(c->node, c->members[0].name, sizeof(c->node));

    struct node_actors *a = &f->actors;
    a->timer = hand_receiver();
    a->log = hand_receiver();
    a->apply = hand_receiver();
    a->flush = hand_receiver();
    a->client_count = 1;
    a->clients[0] = hand_receiver();
    a->peer_count = 2;
    for (size_t i = 0; i < 2; i++) {
        a->peers[i] = hand_receiver();
        memcpy(a->peer_names[i], c->members[i + 1].name, sizeof(a->peer_names[i]));
    }

    c->raft.election_timeout_ms = 1000;
    struct raft_actor_settings settings = {.config = *c, .actors = a};
    settings.hello = (struct peer_hello){.member_id = OWN_ID,
                                         .boot_id = 7,
                                         .boot_number = 1,
                                         .cluster_id = cluster ? 9 : 0,
                                         .empty = !cluster,
                                         .list_digest = bootstrap_list_digest(c)};
    settings.boot = (struct raft_boot){.id = OWN_ID,
                                       .seed = 1,
                                       .election_timeout_ms = 1000,
                                       .heartbeat_ms = 100,
                                       .window_bytes = 1 << 20,
                                       .append_bytes_max = 1 << 20,
                                       .cache_bytes_max = 1 << 20,
                                       .uncommitted_bytes_max = 1 << 20,
                                       .apply_bytes_max = 1 << 20};
    if (cluster) {
        struct configuration *configuration = &settings.configuration;
        configuration->cluster_id = 9;
        configuration->count = voters;
        for (size_t i = 0; i < voters; i++) {
            struct member *m = &configuration->members[i];
            m->id = OWN_ID + i;
            m->voter_incoming = m->voter_outgoing = true;
            memcpy(m->name, c->members[i].name, sizeof(m->name));
        }
        settings.boot.current_term = 1;
        settings.boot.last_log_index = 1;
        settings.boot.applied_index = 1;
        settings.boot.configuration_index = 1;
        settings.term_runs = mem_zalloc(sizeof(struct raft_term_run));
        settings.term_runs[0] = (struct raft_term_run){.first_index = 1, .term = 1};
        settings.boot.term_run_count = 1;
    }
    f->raft = raft_actor_create(&settings);
    hand_started(f->raft, SECOND_US);
}

static void set_up(struct fixture *f, bool cluster)
{
    set_up_voters(f, cluster ? 3 : 0);
}

static void tear_down(struct fixture *f)
{
    actor_destroy(f->raft);
    actor_destroy(f->actors.timer);
    actor_destroy(f->actors.log);
    actor_destroy(f->actors.apply);
    actor_destroy(f->actors.flush);
    actor_destroy(f->actors.clients[0]);
    actor_destroy(f->actors.peers[0]);
    actor_destroy(f->actors.peers[1]);
}

static void propose(struct fixture *f, uint64_t number, uint64_t deadline_us, size_t size)
{
    struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, count_propose);
    m->request_id = REQUEST_ID(0, number);
    m->deadline_us = deadline_us;
    m->command.size = size;
    m->command.data = mem_zalloc(size);
    ACTOR_SEND(f->raft, m);
}

static void read_at(struct fixture *f, uint64_t number, uint64_t deadline_us)
{
    struct read_request *m = MSG_NEW(struct read_request, RAFT_READ, count_read);
    m->request_id = REQUEST_ID(0, number);
    m->deadline_us = deadline_us;
    m->members = true;
    ACTOR_SEND(f->raft, m);
}

/* Play the timer until end_us: the newest arming counts, as with the real one. */
static void play_timer(struct fixture *f, uint64_t end_us)
{
    for (int rounds = 0; rounds < 10000; rounds++) {
        struct msg *m = NULL;
        while ((m = hand_find(f->actors.timer, TIMER_ARM)) != NULL) {
            f->armed_at_us = ((struct timer_arm *)m)->at_us;
            f->armed_generation = ((struct timer_arm *)m)->generation;
            msg_free_base(&m);
        }
        uint64_t now_us = f->armed_at_us;
        if (now_us > end_us) {
            return;
        }
        struct tick *tick = MSG_NEW(struct tick, RAFT_TICK, NULL);
        tick->generation = f->armed_generation;
        f->armed_at_us = UINT64_MAX;
        ACTOR_SEND(f->raft, tick);
        hand_round(f->raft, now_us);
    }
    CU_FAIL("the actor arms its timer without end");
}

/* A node that waits for the other members has no election to time, but its clients do time out. */
static void waiting_requests_end(void)
{
    struct fixture f;
    set_up(&f, false);
    for (uint64_t i = 1; i <= 10; i++) {
        propose(&f, i, 3 * SECOND_US, 100);
        read_at(&f, 100 + i, 3 * SECOND_US);
    }
    hand_round(f.raft, SECOND_US + 1);
    play_timer(&f, 2 * SECOND_US);
    CU_ASSERT_EQUAL(released, 0);
    play_timer(&f, 6 * SECOND_US);
    CU_ASSERT_EQUAL(released, 20);
    tear_down(&f);
}

/* Clients that give up early and ask again must not fill the memory while no leader is known. */
static void waiting_requests_are_bounded(void)
{
    struct fixture f;
    set_up(&f, false);
    const size_t bound = f.bytes_max;
    propose(&f, 1, 100 * SECOND_US, 2 * bound); /* alone, so it gets in */
    propose(&f, 2, 100 * SECOND_US, 1);
    const size_t reads = 2 * bound / sizeof(struct read_request);
    for (size_t i = 0; i < reads; i++) {
        read_at(&f, 3 + i, 100 * SECOND_US);
    }
    hand_round(f.raft, SECOND_US + 1);
    size_t refused = 0;
    struct msg *m = NULL;
    while ((m = hand_find(f.actors.clients[0], CLIENT_REPLY)) != NULL) {
        uint64_t number = ((struct client_reply *)m)->request_id;
        CU_ASSERT_EQUAL(((struct client_reply *)m)->error, ERR_OVERLOAD);
        CU_ASSERT_TRUE(number == REQUEST_ID(0, 2) || number >= REQUEST_ID(0, 3 + reads / 2));
        msg_free_base(&m);
        refused++;
    }
    CU_ASSERT_EQUAL(refused, 1 + reads - bound / sizeof(struct read_request));
    CU_ASSERT_EQUAL(released, refused);
    tear_down(&f);
}

static void peer_up(struct fixture *f, size_t peer)
{
    struct raft_peer_up *m = MSG_NEW(struct raft_peer_up, RAFT_PEER_UP, NULL);
    m->peer_index = peer;
    m->hello = (struct peer_hello){
        .member_id = PEER_ID + peer, .boot_id = 20 + peer, .boot_number = 1, .cluster_id = 9};
    (void)snprintf(m->hello.name, sizeof(m->hello.name), "n%zu", peer + 2);
    ACTOR_SEND(f->raft, m);
}

static void receive(struct fixture *f, struct raft_message message)
{
    struct raft_received *m = MSG_NEW(struct raft_received, RAFT_RECEIVED, release_received);
    m->message = message;
    m->message.to = OWN_ID;
    ACTOR_SEND(f->raft, m);
}

static struct entries *one_command(uint64_t origin, uint64_t request_id)
{
    struct entries *block = entries_create(1, 5);
    struct entry e = {.index = 1,
                      .type = ENTRY_COMMAND,
                      .origin = origin,
                      .request_id = request_id,
                      .data = view_of("\1data", 5)};
    entries_add(block, &e);
    return block;
}

/* The next forward or refusal sent to n2; NULL: none. */
static struct peer_send *sent_to_peer(struct fixture *f, enum raft_message_type type)
{
    struct msg *m = NULL;
    while ((m = hand_find(f->actors.peers[0], PEER_SEND)) != NULL) {
        if (((struct peer_send *)m)->message.type == type) {
            return (struct peer_send *)m;
        }
        msg_free_base(&m);
    }
    return NULL;
}

static void let_go(struct peer_send *m)
{
    CU_ASSERT_PTR_NOT_NULL(m);
    if (m != NULL) {
        MSG_FREE(m);
    }
}

/*
 * n2 led term 3, lost it, and leads term 5. A forward of term 3 reaches it late; its refusal reaches us
 * after its first append of term 5. The way to n2 must stay open.
 */
static void refusal_of_an_earlier_term(void)
{
    struct fixture f;
    set_up(&f, true);
    peer_up(&f, 0);
    receive(&f, (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                      .from = PEER_ID,
                                      .term = 3,
                                      .prev_log_index = 1,
                                      .prev_log_term = 1});
    propose(&f, 1, 100 * SECOND_US, 10);
    hand_round(f.raft, SECOND_US + 1);
    struct peer_send *forward = sent_to_peer(&f, RAFT_FORWARD);
    CU_ASSERT_PTR_NOT_NULL_FATAL(forward);
    CU_ASSERT_EQUAL(forward->message.term, 3);

    receive(&f, (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                      .from = PEER_ID,
                                      .term = 5,
                                      .prev_log_index = 1,
                                      .prev_log_term = 1});
    receive(&f, (struct raft_message){.type = RAFT_FORWARD_REFUSED,
                                      .from = PEER_ID,
                                      .term = forward->message.term,
                                      .refusal = ERR_NOT_LEADER,
                                      .entries = one_command(7, REQUEST_ID(0, 1))});
    MSG_FREE(forward);
    hand_round(f.raft, SECOND_US + 2);
    struct msg *told = hand_find(f.actors.clients[0], CLIENT_REPLY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(told);
    CU_ASSERT_EQUAL(((struct client_reply *)told)->error, ERR_LEADER_CHANGED);
    msg_free_base(&told);

    propose(&f, 2, 100 * SECOND_US, 10);
    hand_round(f.raft, SECOND_US + 3);
    forward = sent_to_peer(&f, RAFT_FORWARD);
    CU_ASSERT_PTR_NOT_NULL_FATAL(forward);
    CU_ASSERT_EQUAL(forward->message.term, 5);
    MSG_FREE(forward);

    /* But a refusal of this very term holds requests back until the next one. */
    receive(&f, (struct raft_message){.type = RAFT_FORWARD_REFUSED,
                                      .from = PEER_ID,
                                      .term = 5,
                                      .refusal = ERR_NOT_LEADER,
                                      .entries = one_command(7, REQUEST_ID(0, 2))});
    propose(&f, 3, 100 * SECOND_US, 10);
    hand_round(f.raft, SECOND_US + 4);
    CU_ASSERT_PTR_NULL(sent_to_peer(&f, RAFT_FORWARD));
    tear_down(&f);
}

/* A leader that hands over refuses; its followers' requests wait for the next leader, or ask it again after a
 * heartbeat, since it may go on in its term (trap 50). */
static void what_a_leader_refuses_while_it_hands_over(void)
{
    struct fixture f;
    set_up(&f, true);
    peer_up(&f, 0);
    struct raft_message lead = {.type = RAFT_APPEND_ENTRIES,
                                .from = PEER_ID,
                                .term = 3,
                                .prev_log_index = 1,
                                .prev_log_term = 1};
    receive(&f, lead);
    propose(&f, 1, 100 * SECOND_US, 10);
    hand_round(f.raft, SECOND_US + 1);
    let_go(sent_to_peer(&f, RAFT_FORWARD));
    const uint64_t heartbeat_us = f.config.raft.heartbeat_ms * UINT64_C(1000);
    uint64_t at_us = SECOND_US + heartbeat_us;
    for (uint64_t number = 2; number <= 3; number++, at_us += 2 * heartbeat_us) {
        receive(&f, (struct raft_message){.type = RAFT_FORWARD_REFUSED,
                                          .from = PEER_ID,
                                          .term = 3,
                                          .refusal = ERR_LEADER_CHANGED,
                                          .entries = one_command(7, REQUEST_ID(0, number - 1))});
        hand_round(f.raft, at_us);
        struct msg *told = hand_find(f.actors.clients[0], CLIENT_REPLY); /* it proposes again */
        CU_ASSERT_PTR_NOT_NULL_FATAL(told);
        CU_ASSERT_EQUAL(((struct client_reply *)told)->error, ERR_LEADER_CHANGED);
        msg_free_base(&told);
        propose(&f, number, 100 * SECOND_US, 10);
        hand_round(f.raft, at_us + 1);
        CU_ASSERT_PTR_NULL(sent_to_peer(&f, RAFT_FORWARD));
        receive(&f, lead); /* still alive: no election meanwhile */
        hand_round(f.raft, at_us + 2);
        CU_ASSERT_PTR_NULL(sent_to_peer(&f, RAFT_FORWARD));
        if (number == 2) {
            play_timer(&f, at_us + heartbeat_us); /* by itself */
        } else {
            lead.term = 4;
            receive(&f, lead);
            hand_round(f.raft, at_us + 3);
        }
        struct peer_send *forward = sent_to_peer(&f, RAFT_FORWARD);
        CU_ASSERT_PTR_NOT_NULL_FATAL(forward);
        CU_ASSERT_EQUAL(forward->message.term, lead.term);
        CU_ASSERT_EQUAL(forward->message.entries->items[0].request_id, REQUEST_ID(0, number));
        MSG_FREE(forward);
    }
    tear_down(&f);
}

/* The other side: the refusal names the term of the forward, not the receiver's own. */
static void refusal_names_the_term_of_the_forward(void)
{
    struct fixture f;
    set_up(&f, true);
    peer_up(&f, 0);
    receive(&f, (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                      .from = PEER_ID,
                                      .term = 5,
                                      .prev_log_index = 1,
                                      .prev_log_term = 1});
    receive(&f, (struct raft_message){.type = RAFT_FORWARD,
                                      .from = PEER_ID,
                                      .term = 3,
                                      .entries = one_command(20, REQUEST_ID(0, 1))});
    hand_round(f.raft, SECOND_US + 1);
    struct peer_send *refused = sent_to_peer(&f, RAFT_FORWARD_REFUSED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(refused);
    CU_ASSERT_EQUAL(refused->message.term, 3);
    CU_ASSERT_EQUAL(refused->message.refusal, ERR_NOT_LEADER);
    MSG_FREE(refused);

    /* A command of a format we cannot read is neither appended nor called refused. */
    struct entry newer = {.index = 1,
                          .origin = 20,
                          .request_id = REQUEST_ID(0, 2),
                          .type = ENTRY_COMMAND,
                          .data = view_of("\377data", 5)};
    struct entries *block = entries_create(1, 5);
    entries_add(block, &newer);
    receive(&f, (struct raft_message){
                    .type = RAFT_FORWARD, .from = PEER_ID, .term = 3, .entries = block});
    hand_round(f.raft, SECOND_US + 2);
    CU_ASSERT_PTR_NULL(sent_to_peer(&f, RAFT_FORWARD_REFUSED));
    tear_down(&f);
}

/* The actor is busy from the moment its time comes until the tick arrives; the tick still counts. */
static void a_tick_counts_in_a_busy_actor(void)
{
    struct fixture f;
    set_up(&f, true);
    peer_up(&f, 0);
    hand_round(f.raft, SECOND_US + 1);
    struct msg *armed = hand_find(f.actors.timer, TIMER_ARM);
    CU_ASSERT_PTR_NOT_NULL_FATAL(armed);
    uint64_t at_us = ((struct timer_arm *)armed)->at_us;
    struct tick *tick = MSG_NEW(struct tick, RAFT_TICK, NULL);
    tick->generation = ((struct timer_arm *)armed)->generation;
    msg_free_base(&armed);

    for (uint64_t i = 0; i < 5; i++) {
        hand_round(f.raft, at_us + i);
    }
    ACTOR_SEND(f.raft, tick);
    hand_round(f.raft, at_us + 5);
    let_go(sent_to_peer(&f, RAFT_REQUEST_PRE_VOTE));
    tear_down(&f);
}

/* ---- as leader: stamps, what is due, the clock ------------------------------------------------------- */

/* Play the log: what was persisted is durable. Returns the entries of one kind of command, the last of them's
 * stamp; -1: there was none. */
static int64_t persist_all(struct fixture *f, enum command_op op, size_t *count)
{
    struct msg *m = NULL;
    int64_t stamp = -1;
    *count = 0;
    while ((m = hand_find(f->actors.log, LOG_PERSIST)) != NULL) {
        struct log_persist *persist = (struct log_persist *)m;
        struct raft_durable *durable = MSG_NEW(struct raft_durable, RAFT_DURABLE, NULL);
        durable->sequence = persist->persist.sequence;
        ACTOR_SEND(f->raft, durable);
        for (size_t i = 0; persist->persist.entries != NULL && i < persist->persist.entries->count;
             i++) {
            struct command c;
            const struct entry *e = &persist->persist.entries->items[i];
            if (e->type == ENTRY_COMMAND && command_decode(e->data, &c) == OK && c.op == op) {
                (*count)++;
                stamp = (int64_t)c.cluster_time_us;
            }
        }
        msg_free_base(&m);
    }
    return stamp;
}

static void propose_command(struct fixture *f, const struct command *c, uint64_t number,
                            bool only_if_leader)
{
    struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, count_propose);
    m->request_id = number == 0 ? 0 : REQUEST_ID(0, number);
    m->deadline_us = UINT64_MAX;
    m->only_if_leader = only_if_leader;
    m->command.size = command_size(c);
    m->command.data = mem_zalloc(m->command.size);
    command_encode(c, m->command.data);
    ACTOR_SEND(f->raft, m);
}

static struct apply_clock clock_told(struct fixture *f, size_t *count)
{
    struct apply_clock last = {0};
    struct msg *m = NULL;
    *count = 0;
    while ((m = hand_find(f->actors.apply, APPLY_CLOCK)) != NULL) {
        last = *(struct apply_clock *)m;
        (*count)++;
        msg_free_base(&m);
    }
    return last;
}

static void applied(struct fixture *f, uint64_t index, uint64_t lease_count)
{
    struct raft_index *m = MSG_NEW(struct raft_index, RAFT_APPLIED, NULL);
    m->index = index;
    m->lease_count = lease_count;
    ACTOR_SEND(f->raft, m);
}

static const struct command grant_command = {.op = COMMAND_LEASE_GRANT, .lease_id = 7, .ttl_s = 10};
static const struct command expire_command = {
    .op = COMMAND_LEASE_EXPIRE, .lease_id = 7, .deadline_us = 1};

/* Alone in the cluster, it has elected itself by `at_us`. Returns when. */
static uint64_t lead(struct fixture *f)
{
    size_t count = 0;
    uint64_t at_us = SECOND_US;
    set_up_voters(f, 1);
    for (size_t i = 0; i < 100; i++, at_us += 100000) {
        play_timer(f, at_us);
        hand_round(f->raft, at_us);
        (void)persist_all(f, COMMAND_CLOCK, &count);
        hand_round(f->raft, at_us);
        if (clock_told(f, &count).leads) {
            return at_us;
        }
    }
    CU_FAIL_FATAL("no leader");
    return 0;
}

/* Proposals of clients are stamped as they are appended, with a clock that moves on. */
static void a_leader_stamps_what_it_appends(void)
{
    struct fixture f;
    size_t count = 0;
    uint64_t at_us = lead(&f);
    propose_command(&f, &grant_command, 1, false);
    hand_round(f.raft, at_us);
    int64_t first = persist_all(&f, COMMAND_LEASE_GRANT, &count);
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_TRUE(first >= 0);
    propose_command(&f, &grant_command, 2, false);
    hand_round(f.raft, at_us + 1234);
    CU_ASSERT_EQUAL(persist_all(&f, COMMAND_LEASE_GRANT, &count), first + 1234);
    tear_down(&f);
}

/* Of a forward too: the stamp that its sender put in counts for nothing. */
static void a_leader_stamps_what_is_forwarded_to_it(void)
{
    struct fixture f;
    size_t count = 0;
    uint8_t octets[64];
    struct command grant = grant_command;
    uint64_t at_us = lead(&f);
    grant.cluster_time_us = UINT64_MAX;
    CU_ASSERT_TRUE_FATAL(command_size(&grant) <= sizeof(octets));
    command_encode(&grant, octets);
    struct entry e = {.index = 1,
                      .type = ENTRY_COMMAND,
                      .origin = 20,
                      .request_id = REQUEST_ID(0, 1),
                      .data = view_of(octets, command_size(&grant))};
    struct entries *block = entries_create(1, e.data.size);
    entries_add(block, &e);
    propose_command(&f, &grant_command, 1, false);
    hand_round(f.raft, at_us);
    int64_t own = persist_all(&f, COMMAND_LEASE_GRANT, &count);
    receive(&f, (struct raft_message){
                    .type = RAFT_FORWARD, .from = PEER_ID, .term = 2, .entries = block});
    hand_round(f.raft, at_us + 5);
    CU_ASSERT_EQUAL(persist_all(&f, COMMAND_LEASE_GRANT, &count), own + 5);
    CU_ASSERT_EQUAL(count, 1);
    tear_down(&f);
}

/* Trap 53: what only a leader may propose is neither held for one nor forwarded to one. */
static void what_is_due_is_proposed_by_a_leader_or_not_at_all(void)
{
    struct fixture f;
    size_t count = 0;
    set_up(&f, true);
    propose_command(&f, &expire_command, 0, true);
    hand_round(f.raft, SECOND_US + 1);
    CU_ASSERT_EQUAL(released, 1);
    peer_up(&f, 0);
    receive(&f, (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                      .from = PEER_ID,
                                      .term = 3,
                                      .prev_log_index = 1,
                                      .prev_log_term = 1});
    propose_command(&f, &expire_command, 0, true);
    hand_round(f.raft, SECOND_US + 2);
    CU_ASSERT_EQUAL(released, 2);
    CU_ASSERT_PTR_NULL(sent_to_peer(&f, RAFT_FORWARD));
    (void)persist_all(&f, COMMAND_LEASE_EXPIRE, &count);
    CU_ASSERT_EQUAL(count, 0);
    (void)clock_told(&f, &count);
    CU_ASSERT_EQUAL(count, 0); /* it never led */
    tear_down(&f);

    uint64_t at_us = lead(&f);
    propose_command(&f, &expire_command, 0, true);
    propose_command(&f, &grant_command, 1, false);
    hand_round(f.raft, at_us);
    CU_ASSERT_TRUE(persist_all(&f, COMMAND_LEASE_EXPIRE, &count) >= 0);
    CU_ASSERT_EQUAL(count, 1);
    tear_down(&f);
}

/* Apply hears the time once a second, and once a heartbeat as soon as there are leases. */
static void apply_hears_the_time(void)
{
    struct fixture f;
    size_t count = 0;
    uint64_t at_us = lead(&f);
    uint64_t end_us = at_us + 5 * SECOND_US;
    for (; at_us < end_us; at_us += 50000) {
        play_timer(&f, at_us);
        hand_round(f.raft, at_us);
    }
    struct apply_clock before = clock_told(&f, &count);
    CU_ASSERT_TRUE(count >= 4);
    CU_ASSERT_TRUE(count <= 6);
    CU_ASSERT_TRUE(before.leads);
    CU_ASSERT_EQUAL(before.term, 2);
    applied(&f, 2, 1);
    end_us = at_us + 5 * SECOND_US;
    for (; at_us < end_us; at_us += 50000) {
        play_timer(&f, at_us);
        hand_round(f.raft, at_us);
    }
    struct apply_clock after = clock_told(&f, &count);
    CU_ASSERT_TRUE(count >= 40);
    CU_ASSERT_TRUE(count <= 51);
    CU_ASSERT_TRUE(after.cluster_time_us - before.cluster_time_us >= 4 * SECOND_US);
    CU_ASSERT_TRUE(after.cluster_time_us - before.cluster_time_us <= 6 * SECOND_US);
    /* Another leads: that is said once. */
    peer_up(&f, 0);
    receive(&f, (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                      .from = PEER_ID,
                                      .term = 9,
                                      .prev_log_index = 1,
                                      .prev_log_term = 1});
    hand_round(f.raft, at_us);
    hand_round(f.raft, at_us + SECOND_US);
    after = clock_told(&f, &count);
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_FALSE(after.leads);
    tear_down(&f);
}

/* Who asks how long a lease has left is told by the cluster time of the moment the read was confirmed. */
static void a_lease_is_looked_up_at_a_time(void)
{
    struct fixture f;
    uint64_t at_us = lead(&f);
    uint64_t end_us = at_us + 2 * SECOND_US;
    for (; at_us < end_us; at_us += 50000) {
        play_timer(&f, at_us);
        hand_round(f.raft, at_us);
    }
    const struct query query = {.kind = QUERY_LEASE_TTL, .lease = 7};
    struct read_request *m = MSG_NEW(struct read_request, RAFT_READ, release_read_request);
    m->request_id = REQUEST_ID(0, 1);
    m->deadline_us = UINT64_MAX;
    m->query = query_create(&query);
    ACTOR_SEND(f.raft, m);
    hand_round(f.raft, at_us);
    struct msg *asked = hand_find(f.actors.apply, APPLY_READ);
    CU_ASSERT_PTR_NOT_NULL_FATAL(asked);
    uint64_t time_us = ((struct read_request *)asked)->query->cluster_time_us;
    CU_ASSERT_TRUE(time_us >= SECOND_US);
    CU_ASSERT_TRUE(time_us <= 3 * SECOND_US);
    msg_free_base(&asked);
    tear_down(&f);
}

/* n2 leads term 3, and this node follows it. */
static void follow(struct fixture *f)
{
    set_up(f, true);
    peer_up(f, 0);
    receive(f, (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                     .from = PEER_ID,
                                     .term = 3,
                                     .prev_log_index = 1,
                                     .prev_log_term = 1,
                                     .leader_commit = 1});
    hand_round(f->raft, SECOND_US);
    struct msg *m = NULL; /* the new term is on disk */
    while ((m = hand_find(f->actors.log, LOG_PERSIST)) != NULL) {
        struct raft_durable *durable = MSG_NEW(struct raft_durable, RAFT_DURABLE, NULL);
        durable->sequence = ((struct log_persist *)m)->persist.sequence;
        ACTOR_SEND(f->raft, durable);
        msg_free_base(&m);
    }
    hand_round(f->raft, SECOND_US);
}

static void read_stale(struct fixture *f, uint64_t number, uint64_t max_staleness_us)
{
    const struct query query = {.kind = QUERY_RANGE, .key = view_of_text("k")};
    struct read_request *m = MSG_NEW(struct read_request, RAFT_READ, release_read_request);
    m->request_id = REQUEST_ID(0, number);
    m->deadline_us = UINT64_MAX;
    m->max_staleness_us = max_staleness_us;
    m->query = query_create(&query);
    ACTOR_SEND(f->raft, m);
}

static void answer_question(struct fixture *f, uint64_t read_id, uint64_t index)
{
    receive(f, (struct raft_message){.type = RAFT_READ_INDEX_REPLY,
                                     .from = PEER_ID,
                                     .term = 3,
                                     .read_id = read_id,
                                     .read_index = index,
                                     .granted = true});
}

/* The index that the next read is passed on with; 0: none is. */
static uint64_t passed_on(struct fixture *f)
{
    struct msg *m = hand_find(f->actors.apply, APPLY_READ);
    uint64_t index = m == NULL ? 0 : ((struct read_request *)m)->read_index;
    if (m != NULL) {
        msg_free_base(&m);
    }
    return index;
}

/* What one question brought serves reads of bounded staleness until it is too old, counted from when the question
 * was asked and not from when it was answered. */
static void a_bounded_staleness_saves_the_question(void)
{
    struct fixture f;
    follow(&f);
    read_stale(&f, 1, 100000);
    hand_round(f.raft, SECOND_US + 1000);
    struct peer_send *question = sent_to_peer(&f, RAFT_READ_INDEX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(question);
    CU_ASSERT_EQUAL(passed_on(&f), 0);
    answer_question(&f, question->message.read_id, 5);
    MSG_FREE(question);
    hand_round(f.raft, SECOND_US + 16000);
    CU_ASSERT_EQUAL(passed_on(&f), 5);

    read_stale(&f, 2, 100000);
    hand_round(f.raft, SECOND_US + 101000);
    CU_ASSERT_EQUAL(passed_on(&f), 5);
    CU_ASSERT_PTR_NULL(sent_to_peer(&f, RAFT_READ_INDEX));
    read_stale(&f, 3, 100000);
    hand_round(f.raft, SECOND_US + 101001);
    CU_ASSERT_EQUAL(passed_on(&f), 0);
    let_go(sent_to_peer(&f, RAFT_READ_INDEX));
    /* and one that wants to know all never takes what is known */
    read_stale(&f, 4, 0);
    hand_round(f.raft, SECOND_US + 101002);
    CU_ASSERT_EQUAL(passed_on(&f), 0);
    tear_down(&f);
}

/* A node that lacks too much says so at once, also to those who would take something old; one that lacks a little
 * waits. */
static void who_is_far_behind_refuses(void)
{
    struct fixture f;
    follow(&f);
    static const struct {
        uint64_t index;
        bool refused;
    } cases[] = {{51, false}, {52, true}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        read_stale(&f, 10 + i, 0);
        hand_round(f.raft, SECOND_US + 1000 + 2 * i);
        struct peer_send *question = sent_to_peer(&f, RAFT_READ_INDEX);
        CU_ASSERT_PTR_NOT_NULL_FATAL(question);
        answer_question(&f, question->message.read_id, cases[i].index);
        MSG_FREE(question);
        hand_round(f.raft, SECOND_US + 1001 + 2 * i);
        CU_ASSERT_EQUAL(passed_on(&f), cases[i].refused ? 0 : cases[i].index);
        struct msg *told = hand_find(f.actors.clients[0], CLIENT_REPLY);
        CU_ASSERT_EQUAL(told != NULL, cases[i].refused);
        if (told != NULL) {
            CU_ASSERT_EQUAL(((struct client_reply *)told)->error, ERR_TOO_FAR_BEHIND);
            msg_free_base(&told);
        }
    }
    read_stale(&f, 20, SECOND_US);
    hand_round(f.raft, SECOND_US + 2000);
    struct msg *told = hand_find(f.actors.clients[0], CLIENT_REPLY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(told);
    msg_free_base(&told);
    tear_down(&f);
}

SUITE("node: raft actor", TEST(a_bounded_staleness_saves_the_question),
      TEST(who_is_far_behind_refuses), TEST(waiting_requests_end),
      TEST(waiting_requests_are_bounded), TEST(refusal_of_an_earlier_term),
      TEST(refusal_names_the_term_of_the_forward), TEST(what_a_leader_refuses_while_it_hands_over),
      TEST(a_tick_counts_in_a_busy_actor), TEST(a_leader_stamps_what_it_appends),
      TEST(a_leader_stamps_what_is_forwarded_to_it),
      TEST(what_is_due_is_proposed_by_a_leader_or_not_at_all), TEST(apply_hears_the_time),
      TEST(a_lease_is_looked_up_at_a_time))
