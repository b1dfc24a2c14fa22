/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_hand.h: a real raft actor with a real core, moved by hand (hand_runner.h) among others that the test plays:
 * a disk that has everything at once or when the test lets it, and up to four other nodes that vote for this one and
 * take what it sends, unless they are silent. Time goes in steps of 10 ms.
 *
 * What clients are told, and requests about members that travel between nodes, are kept for the test to look at. Not
 * played: what applying an entry does; other leaders (the test says their words itself: raft_hand_receive).
 */
#ifndef HOLDFAST_TESTS_RAFT_HAND_H
#define HOLDFAST_TESTS_RAFT_HAND_H

#include "hand_runner.h"
#include "node/bootstrap.h"
#include "node/member_change.h"
#include "node/raft_state.h"

#define HAND_MS         UINT64_C(1000)
#define HAND_SECOND     UINT64_C(1000000)
#define HAND_ELECTION   HAND_SECOND
#define HAND_STEP       (10 * HAND_MS)
#define HAND_CLUSTER    9
#define HAND_BOOT       7 /* of this node */
#define HAND_OTHERS     4
#define HAND_SLOTS      8
#define HAND_LISTED     2 /* of the others the config file lists as many; the rest by `join` */
#define HAND_TOLD_MAX   256
#define HAND_TRAVEL_MAX 64

/* Node nk's identity: n1 is this one. */
#define HAND_ID(k) (UINT64_C(100) + (k))

struct hand_other {
    bool silent;          /* it neither hears nor speaks */
    bool refuses_votes;   /* ... but follows */
    bool damaged;         /* it says that it may not vote */
    uint64_t disk_age_us; /* as it says */
    uint64_t last_index;  /* of its log, all of which it got from this node */
};

/* What a client was told: its status (error OK), or an error. */
struct hand_told {
    uint64_t number;
    enum err error;
};

/* A request about members, or its reply, as it was sent to another node. */
struct hand_travel {
    enum raft_message_type type;
    uint64_t to, from, origin, request_id;
    struct member_request request; /* RAFT_MEMBERS */
    struct member_reply reply;     /* RAFT_MEMBERS_REPLY */
};

/* Commands on their way between nodes, or given back. */
struct hand_forward {
    enum raft_message_type type; /* RAFT_FORWARD, RAFT_FORWARD_REFUSED */
    uint64_t to, term;
    enum err refusal;
    size_t count;
    uint64_t first_id, last_id; /* the requests' */
};

/* A chunk of a snapshot, or its answer, as it was sent to another node. */
struct hand_chunk {
    enum raft_message_type type;
    uint64_t to, index, term, offset;
    bool granted, done, whole; /* whole: its octets are those that its checksum says */
};

/* A command that was handed to the disk. */
struct hand_command {
    uint64_t index, origin, request_id;
};

struct raft_hand {
    struct node_actors actors;
    struct actor *actor;
    struct raft_actor *raft; /* its inside */
    struct config config;
    uint64_t now_us;
    uint64_t armed_at_us, armed_generation;
    bool disk_waits;       /* nothing becomes durable */
    uint64_t persisted;    /* the last sequence that was handed to the disk */
    size_t config_entries; /* CONFIG entries that were handed to the disk */
    uint64_t last_config_index;
    struct hand_other others[HAND_OTHERS]; /* n2, n3, n4, n5 */
    struct hand_told told[HAND_TOLD_MAX];
    size_t told_count;
    struct hand_travel travels[HAND_TRAVEL_MAX];
    size_t travel_count;
    struct hand_forward forwards[HAND_TRAVEL_MAX];
    size_t forward_count;
    struct hand_chunk chunks[HAND_TRAVEL_MAX];
    size_t chunk_count;
    size_t copies_asked, installs; /* of apply */
    struct hand_command commands[HAND_TOLD_MAX];
    size_t command_count;
};

static inline struct hand_other *hand_other(struct raft_hand *h, uint64_t node)
{
    return &h->others[node - 2];
}

static inline void hand_name(char *out, size_t size, size_t node)
{
    (void)snprintf(out, size, "n%zu", node);
}

static inline void hand_address(char *out, size_t size, size_t node, unsigned port)
{
    (void)snprintf(out, size, "h%zu:%u", node, port);
}

/* Members n1.. of which `voters` vote; 0 members: it belongs to no cluster. Not started. log_begins_late: the first
 * entry has gone from the log, and who lacks it needs a snapshot. */
static inline void raft_hand_create_log(struct raft_hand *h, size_t members, size_t voters,
                                        bool log_begins_late)
{
    memset(h, 0, sizeof(*h));
    h->armed_at_us = UINT64_MAX;
    h->now_us = HAND_SECOND;
    struct config *c = &h->config;
    c->raft.uncommitted_bytes_max = 1 << 20;
    c->raft.heartbeat_ms = 100;
    c->raft.election_timeout_ms = HAND_ELECTION / 1000;
    c->request_timeout_ms = 5000;
    c->member_count = 1 + HAND_LISTED;
    for (size_t i = 0; i < c->member_count; i++) {
        hand_name(c->members[i].name, sizeof(c->members[i].name), i + 1);
        hand_address(c->members[i].peer, sizeof(c->members[i].peer), i + 1, 2380);
        hand_address(c->members[i].client, sizeof(c->members[i].client), i + 1, 2379);
    }
    memcpy(c->node, c->members[0].name, sizeof(c->node));
    c->join_count = HAND_OTHERS - HAND_LISTED;
    for (size_t i = 0; i < c->join_count; i++) {
        hand_address(c->join[i], sizeof(c->join[i]), c->member_count + i + 1, 2380);
    }

    struct node_actors *a = &h->actors;
    a->timer = hand_receiver();
    a->log = hand_receiver();
    a->apply = hand_receiver();
    a->flush = hand_receiver();
    a->copy = hand_receiver();
    a->client_count = 1;
    a->clients[0] = hand_receiver();
    a->peer_count = HAND_LISTED;
    a->peer_slot_count = HAND_SLOTS;
    for (size_t i = 0; i < HAND_SLOTS; i++) {
        a->peers[i] = hand_receiver();
    }
    for (size_t i = 0; i < HAND_OTHERS; i++) {
        h->others[i].last_index = 1;
    }

    struct raft_actor_settings settings = {.config = *c, .actors = a};
    bool cluster = members > 0;
    settings.hello = (struct peer_hello){.member_id = HAND_ID(1),
                                         .boot_id = HAND_BOOT,
                                         .boot_number = 1,
                                         .cluster_id = cluster ? HAND_CLUSTER : 0,
                                         .empty = !cluster,
                                         .list_digest = bootstrap_list_digest(c)};
    memcpy(settings.hello.name, c->node, sizeof(settings.hello.name));
    settings.boot = (struct raft_boot){.id = HAND_ID(1),
                                       .seed = 1,
                                       .election_timeout_ms = c->raft.election_timeout_ms,
                                       .heartbeat_ms = c->raft.heartbeat_ms,
                                       .disk_stall_ms = 3000,
                                       .window_bytes = 1 << 20,
                                       .append_bytes_max = 1 << 20,
                                       .cache_bytes_max = 1 << 20,
                                       .uncommitted_bytes_max = 1 << 20,
                                       .apply_bytes_max = 1 << 20};
    if (cluster) {
        struct configuration *configuration = &settings.configuration;
        configuration->cluster_id = HAND_CLUSTER;
        configuration->wish.heal_after_s = WISH_HEAL_AFTER_S;
        configuration->count = members;
        for (size_t i = 0; i < members; i++) {
            struct member *m = &configuration->members[i];
            m->id = HAND_ID(i + 1);
            m->voter_incoming = m->voter_outgoing = i < voters;
            hand_name(m->name, sizeof(m->name), i + 1);
            hand_address(m->peer, sizeof(m->peer), i + 1, 2380);
            hand_address(m->client, sizeof(m->client), i + 1, 2379);
        }
        settings.boot.current_term = 1;
        settings.boot.last_log_index = 1;
        settings.boot.applied_index = 1;
        settings.boot.configuration_index = 1;
        if (log_begins_late) {
            settings.boot.trimmed_index = settings.boot.trimmed_term = 1;
        } else {
            settings.term_runs = mem_zalloc(sizeof(struct raft_term_run));
            settings.term_runs[0] = (struct raft_term_run){.first_index = 1, .term = 1};
            settings.boot.term_run_count = 1;
        }
    }
    h->actor = raft_actor_create(&settings);
    h->raft = h->actor->self;
}

static inline void raft_hand_create(struct raft_hand *h, size_t members, size_t voters)
{
    raft_hand_create_log(h, members, voters, false);
}

static inline void raft_hand_destroy(struct raft_hand *h)
{
    actor_destroy(h->actor);
    actor_destroy(h->actors.timer);
    actor_destroy(h->actors.log);
    actor_destroy(h->actors.apply);
    actor_destroy(h->actors.flush);
    actor_destroy(h->actors.copy);
    actor_destroy(h->actors.clients[0]);
    for (size_t i = 0; i < HAND_SLOTS; i++) {
        actor_destroy(h->actors.peers[i]);
    }
}

/* ---- words of the others ------------------------------------------------------------------------------- */

static inline void raft_hand_receive(struct raft_hand *h, struct raft_message message)
{
    struct raft_received *m = MSG_NEW(struct raft_received, RAFT_RECEIVED, release_received);
    m->message = message;
    m->message.to = HAND_ID(1);
    ACTOR_SEND(h->actor, m);
}

/* One entry of data from another node, as requests about members travel. The data is let go. */
static inline void raft_hand_receive_data(struct raft_hand *h, enum raft_message_type type,
                                          uint64_t from, uint64_t origin, uint64_t request_id,
                                          struct buffer *data)
{
    const struct entry e = {.index = 1,
                            .type = ENTRY_COMMAND,
                            .origin = origin,
                            .request_id = request_id,
                            .data = view_of(data->data, data->size)};
    struct entries *block = entries_create(1, data->size);
    entries_add(block, &e);
    buffer_free(data);
    raft_hand_receive(h, (struct raft_message){.type = type, .from = from, .entries = block});
}

static inline struct peer_hello raft_hand_hello(uint64_t node)
{
    struct peer_hello hello = {.member_id = HAND_ID(node),
                               .boot_id = 20 + node,
                               .boot_number = 1,
                               .cluster_id = HAND_CLUSTER};
    hand_name(hello.name, sizeof(hello.name), node);
    hand_address(hello.peer, sizeof(hello.peer), node, 2380);
    hand_address(hello.client, sizeof(hello.client), node, 2379);
    return hello;
}

/* The peer actor that talks to a node: that of its name, else the one of its address in the config file. */
static inline size_t hand_slot(const struct raft_hand *h, uint64_t node, const char *name)
{
    size_t at = peer_slots_find(&h->raft->peers.slots, name);
    return at != SIZE_MAX ? at : (size_t)node - 2;
}

static inline void raft_hand_up_as(struct raft_hand *h, uint64_t node,
                                   const struct peer_hello *hello)
{
    struct raft_peer_up *m = MSG_NEW(struct raft_peer_up, RAFT_PEER_UP, NULL);
    m->peer_index = hand_slot(h, node, hello->name);
    m->hello = *hello;
    ACTOR_SEND(h->actor, m);
}

/* Node n2.. has connected. */
static inline void raft_hand_up(struct raft_hand *h, uint64_t node)
{
    const struct peer_hello hello = raft_hand_hello(node);
    raft_hand_up_as(h, node, &hello);
}

static inline void raft_hand_down(struct raft_hand *h, uint64_t node)
{
    struct raft_peer_down *m = MSG_NEW(struct raft_peer_down, RAFT_PEER_DOWN, NULL);
    m->peer_index = hand_slot(h, node, raft_hand_hello(node).name);
    m->member_id = HAND_ID(node);
    ACTOR_SEND(h->actor, m);
}

/* ---- the world plays ------------------------------------------------------------------------------------- */

static inline void hand_play_disk(struct raft_hand *h)
{
    struct msg *m = NULL;
    while ((m = hand_find(h->actors.log, LOG_PERSIST)) != NULL) {
        const struct raft_persist *persist = &((struct log_persist *)m)->persist;
        h->persisted = persist->sequence;
        for (size_t i = 0; persist->entries != NULL && i < persist->entries->count; i++) {
            const struct entry *e = &persist->entries->items[i];
            if (e->type == ENTRY_CONFIG) {
                h->config_entries++;
                h->last_config_index = e->index;
            } else if (e->type == ENTRY_COMMAND) {
                ASSERT(h->command_count < HAND_TOLD_MAX);
                h->commands[h->command_count++] = (struct hand_command){
                    .index = e->index, .origin = e->origin, .request_id = e->request_id};
            }
        }
        msg_free_base(&m);
    }
    if (!h->disk_waits && h->persisted != 0) {
        struct raft_durable *durable = MSG_NEW(struct raft_durable, RAFT_DURABLE, NULL);
        durable->sequence = h->persisted;
        ACTOR_SEND(h->actor, durable);
        h->persisted = 0;
    }
}

static inline void hand_play_apply(struct raft_hand *h)
{
    struct msg *m = NULL;
    while ((m = hand_take(h->actors.apply)) != NULL) {
        if (m->kind == APPLY_ENTRIES) {
            struct raft_index *applied = MSG_NEW(struct raft_index, RAFT_APPLIED, NULL);
            applied->index = entries_last_index(((struct apply_entries *)m)->entries);
            ACTOR_SEND(h->actor, applied);
        }
        h->copies_asked += m->kind == APPLY_COPY;
        h->installs += m->kind == APPLY_INSTALL;
        msg_free_base(&m);
    }
}

static inline void hand_play_clients(struct raft_hand *h)
{
    struct msg *m = NULL;
    while ((m = hand_take(h->actors.clients[0])) != NULL) {
        if (m->kind == CLIENT_REPLY || m->kind == CLIENT_STATUS) {
            bool refused = m->kind == CLIENT_REPLY;
            ASSERT(h->told_count < HAND_TOLD_MAX);
            h->told[h->told_count++] =
                (struct hand_told){.number = refused ? ((struct client_reply *)m)->request_id
                                                     : ((struct node_status *)m)->request_id,
                                   .error = refused ? ((struct client_reply *)m)->error : OK};
        }
        msg_free_base(&m);
    }
}

static inline void hand_keep_travel(struct raft_hand *h, const struct raft_message *m)
{
    ASSERT(h->travel_count < HAND_TRAVEL_MAX);
    ASSERT(m->entries->count == 1);
    struct hand_travel *t = &h->travels[h->travel_count++];
    const struct entry *e = &m->entries->items[0];
    *t = (struct hand_travel){.type = m->type,
                              .to = m->to,
                              .from = m->from,
                              .origin = e->origin,
                              .request_id = e->request_id};
    enum err error = m->type == RAFT_MEMBERS ? member_request_decode(e->data, &t->request)
                                             : member_reply_decode(e->data, &t->reply);
    CU_ASSERT_EQUAL(error, OK);
}

static inline void hand_keep_forward(struct raft_hand *h, const struct raft_message *m)
{
    ASSERT(h->forward_count < HAND_TRAVEL_MAX);
    h->forwards[h->forward_count++] =
        (struct hand_forward){.type = m->type,
                              .to = m->to,
                              .term = m->term,
                              .refusal = m->refusal,
                              .count = m->entries->count,
                              .first_id = m->entries->items[0].request_id,
                              .last_id = m->entries->items[m->entries->count - 1].request_id};
}

static inline void hand_keep_chunk(struct raft_hand *h, const struct raft_message *m)
{
    ASSERT(h->chunk_count < HAND_TRAVEL_MAX);
    h->chunks[h->chunk_count++] =
        (struct hand_chunk){.type = m->type,
                            .to = m->to,
                            .index = m->last_included_index,
                            .term = m->last_included_term,
                            .offset = m->offset,
                            .granted = m->granted,
                            .done = m->done,
                            .whole = checksum64(bytes_view(&m->chunk)) == m->chunk_checksum};
}

static inline void hand_answer_append(struct raft_hand *h, struct hand_other *o,
                                      const struct raft_message *m)
{
    struct raft_message reply = {.type = RAFT_APPEND_REPLY,
                                 .from = m->to,
                                 .term = m->term,
                                 .read_round = m->read_round,
                                 .sent_us = m->sent_us,
                                 .disk_age_us = o->disk_age_us,
                                 .flag_no_vote = o->damaged};
    if (m->prev_log_index > o->last_index) {
        reply.conflict_index = o->last_index + 1;
    } else {
        uint64_t reached = m->prev_log_index + (m->entries == NULL ? 0 : m->entries->count);
        o->last_index = reached > o->last_index ? reached : o->last_index;
        reply.granted = true;
        reply.match_index = o->last_index;
    }
    raft_hand_receive(h, reply);
}

static inline void hand_answer(struct raft_hand *h, struct hand_other *o,
                               const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_REQUEST_PRE_VOTE:
    case RAFT_REQUEST_VOTE:
        raft_hand_receive(h, (struct raft_message){.type = m->type == RAFT_REQUEST_VOTE
                                                               ? RAFT_VOTE_REPLY
                                                               : RAFT_PRE_VOTE_REPLY,
                                                   .from = m->to,
                                                   .term = m->term,
                                                   .granted = !o->refuses_votes});
        break;
    case RAFT_APPEND_ENTRIES:
        hand_answer_append(h, o, m);
        break;
    case RAFT_MEMBERS:
    case RAFT_MEMBERS_REPLY:
        hand_keep_travel(h, m);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
    case RAFT_APPEND_REPLY:
    case RAFT_READ_INDEX:
    case RAFT_READ_INDEX_REPLY:
    case RAFT_TIMEOUT_NOW:
        break;
    case RAFT_INSTALL_SNAPSHOT:
    case RAFT_INSTALL_SNAPSHOT_REPLY:
        hand_keep_chunk(h, m);
        break;
    case RAFT_FORWARD:
    case RAFT_FORWARD_REFUSED:
        hand_keep_forward(h, m);
        break;
    }
}

static inline void hand_play_others(struct raft_hand *h)
{
    for (size_t i = 0; i < HAND_SLOTS; i++) {
        struct msg *m = NULL;
        while ((m = hand_find(h->actors.peers[i], PEER_SEND)) != NULL) {
            const struct raft_message *sent = &((struct peer_send *)m)->message;
            bool played = sent->to > HAND_ID(1) && sent->to <= HAND_ID(1) + HAND_OTHERS;
            struct hand_other *o = played ? hand_other(h, sent->to - HAND_ID(0)) : NULL;
            if (o != NULL && !o->silent) {
                hand_answer(h, o, sent);
            }
            msg_free_base(&m);
        }
    }
}

static inline void hand_play_timer(struct raft_hand *h)
{
    struct msg *m = NULL;
    while ((m = hand_find(h->actors.timer, TIMER_ARM)) != NULL) {
        h->armed_at_us = ((struct timer_arm *)m)->at_us;
        h->armed_generation = ((struct timer_arm *)m)->generation;
        msg_free_base(&m);
    }
    if (h->armed_at_us <= h->now_us) {
        struct tick *tick = MSG_NEW(struct tick, RAFT_TICK, NULL);
        tick->generation = h->armed_generation;
        h->armed_at_us = UINT64_MAX;
        ACTOR_SEND(h->actor, tick);
    }
}

/* One round now, and what came of it is on its way. */
static inline void raft_hand_round(struct raft_hand *h)
{
    hand_round(h->actor, h->now_us);
    hand_play_disk(h);
    hand_play_apply(h);
    hand_play_others(h);
    hand_play_clients(h);
    hand_play_timer(h);
}

/* Nothing but time and the timer's ticks move the actor, for so long. */
static inline void raft_hand_run(struct raft_hand *h, uint64_t us)
{
    for (uint64_t end_us = h->now_us + us; h->now_us < end_us; h->now_us += HAND_STEP) {
        hand_play_timer(h);
        for (size_t rounds = 0; rounds < 64 && h->actor->count > 0; rounds++) {
            raft_hand_round(h);
        }
    }
}

/* ---- the usual beginnings --------------------------------------------------------------------------------- */

static inline bool raft_hand_leads(const struct raft_hand *h)
{
    struct raft_status status;
    raft_status(h->raft->core, &status);
    return status.role == RAFT_LEADER && status.term_committed;
}

static inline void raft_hand_start(struct raft_hand *h, size_t members, size_t voters)
{
    raft_hand_create(h, members, voters);
    hand_started(h->actor, h->now_us);
    for (uint64_t node = 2; node <= members; node++) {
        raft_hand_up(h, node);
    }
    raft_hand_round(h);
}

/* This node leads, and an entry of its term is committed. Nobody else is heard but the members. */
static inline void raft_hand_lead(struct raft_hand *h, size_t members, size_t voters)
{
    raft_hand_start(h, members, voters);
    for (size_t i = 0; i < 500 && !raft_hand_leads(h); i++) {
        raft_hand_run(h, HAND_STEP);
    }
    CU_ASSERT_TRUE_FATAL(raft_hand_leads(h));
}

/* n2 leads `term` and says so, up to prev (of prev_term), committed as far as `commit`. */
static inline void raft_hand_led_by(struct raft_hand *h, uint64_t node, uint64_t term,
                                    uint64_t commit, struct entries *entries, uint64_t prev,
                                    uint64_t prev_term)
{
    raft_hand_receive(h, (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                               .from = HAND_ID(node),
                                               .term = term,
                                               .prev_log_index = prev,
                                               .prev_log_term = prev_term,
                                               .leader_commit = commit,
                                               .entries = entries});
}

/* This node follows n2 in term 3. */
static inline void raft_hand_follow(struct raft_hand *h, size_t members, size_t voters)
{
    raft_hand_start(h, members, voters);
    raft_hand_led_by(h, 2, 3, 1, NULL, 1, 1);
    raft_hand_run(h, 2 * HAND_STEP);
}

/* ---- the test's requests ------------------------------------------------------------------------------------ */

static inline void raft_hand_ask(struct raft_hand *h, uint64_t number, uint64_t within_us,
                                 const struct member_request *request)
{
    struct raft_change_members *m = MSG_NEW(struct raft_change_members, RAFT_CHANGE_MEMBERS, NULL);
    m->request_id = REQUEST_ID(0, number);
    m->deadline_us = h->now_us + within_us;
    m->request = *request;
    ACTOR_SEND(h->actor, m);
}

/* What the client of this request was told; ERR_COUNT: nothing yet. */
static inline enum err raft_hand_told(const struct raft_hand *h, uint64_t number)
{
    enum err found = ERR_COUNT;
    for (size_t i = 0; i < h->told_count; i++) {
        if (h->told[i].number == REQUEST_ID(0, number)) {
            CU_ASSERT_EQUAL(found, ERR_COUNT); /* once */
            found = h->told[i].error;
        }
    }
    return found;
}

static inline const struct configuration *raft_hand_members(const struct raft_hand *h)
{
    return raft_configuration(h->raft->core);
}

#endif
