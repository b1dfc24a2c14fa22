/* SPDX-License-Identifier: Apache-2.0 */
/* clients.c: see clients.h. A slot is idle until its time, or waits for an answer until its deadline. The last one is
 * the keeper's. */
#include "clients_parts.h"

#include <stdio.h>
#include <string.h>

#define FINISH_RETRY_US 200000
#define KEEPER_SLOT     (CLIENT_SLOTS_MAX - 1)

struct slot {
    bool busy;
    uint64_t at_us; /* busy: give up then; idle: ask then. On the node's clock. */
    uint64_t request_id;
    size_t op; /* in the history */
    enum history_kind kind;
    bool writes;
};

struct sim_client {
    struct client_settings s;
    struct actor *raft, *apply;
    uint64_t random, counter;
    int64_t session_revision;
    struct slot slots[CLIENT_SLOTS_MAX];
    struct keeper keeper;
    struct watches watches;
    bool finished;
};

static uint64_t draw(struct sim_client *c, uint64_t least, uint64_t most)
{
    return least + random_below(&c->random, most - least + 1);
}

static bool of_100(struct sim_client *c, uint32_t share)
{
    return random_below(&c->random, 100) < share;
}

static struct drawer drawer_of(struct sim_client *c)
{
    return (struct drawer){.random = &c->random,
                           .load = c->s.load,
                           .history = c->s.history,
                           .session_revision = c->session_revision};
}

/* ---- what parts share -------------------------------------------------------------------------------- */

void asking_free(struct asking *a)
{
    buffer_free(&a->command);
    buffer_free(&a->octets);
}

void asking_command(struct asking *a, const struct command *command)
{
    size_t size = command_size(command);
    command_encode(command, buffer_extend(&a->command, size));
    a->op.command_sum = history_command_sum(view_of(a->command.data, size));
    a->op.kind = HISTORY_WRITE;
}

struct view drawn_value(struct drawer *d, uint8_t *out)
{
    struct buffer number = {0};
    memset(out, 0, 1024);
    buffer_u64(&number, history_value(d->history));
    memcpy(out, number.data, number.size);
    buffer_free(&number);
    return view_of(out, 8 + (size_t)drawn(d, 0, d->load->value_bytes_max - 8));
}

int64_t drawn_lease(struct drawer *d)
{
    const struct history *h = d->history;
    size_t count = h->id_count < HISTORY_IDS_MAX ? h->id_count : HISTORY_IDS_MAX;
    return count == 0 ? 0 : h->ids[drawn(d, 0, count - 1)];
}

/* ---- asking --------------------------------------------------------------------------------------- */

static void draw_plain_write(struct sim_client *c, struct drawer *d, struct asking *a, bool put)
{
    char key[8];
    uint8_t value[1024];
    struct command command = {.op = put ? COMMAND_PUT : COMMAND_DELETE_RANGE};
    a->op.key = (uint32_t)random_below(&c->random, c->s.load->key_count);
    command.key = view_of(key, model_key_text(a->op.key, key, sizeof(key)));
    if (put) {
        command.value = drawn_value(d, value);
        a->op.value = model_value_of(command.value);
    }
    asking_command(a, &command);
    a->op.kind = put ? HISTORY_PUT : HISTORY_DELETE;
}

static void draw_read(struct sim_client *c, struct drawer *d, struct asking *a)
{
    const struct client_load *load = c->s.load;
    char key[8];
    bool all = load->finishing || of_100(c, load->all_of_100);
    a->op.kind = all ? HISTORY_ALL : HISTORY_GET;
    a->op.key = (uint32_t)random_below(&c->random, load->key_count);
    a->op.serializable = !load->finishing && of_100(c, load->serializable_of_100);
    if (!load->finishing && of_100(c, load->past_of_100) && c->session_revision > 1) {
        /* Seen by this session, so every later state of this node holds it. */
        a->op.past_revision = (int64_t)drawn(d, 1, (uint64_t)c->session_revision);
    }
    buffer_append(&a->octets, key, model_key_text(a->op.key, key, sizeof(key)));
    a->query.key = all ? view_of_text("k") : view_of(a->octets.data, a->octets.size);
    a->query.range_end = all ? view_of_text("l") : (struct view){0};
    a->query.revision = a->op.past_revision;
}

static void draw_request(struct sim_client *c, struct drawer *d, struct asking *a)
{
    const struct client_load *load = c->s.load;
    uint32_t kind = (uint32_t)random_below(&c->random, 100);
    uint32_t share = load->put_of_100;
    if (load->finishing) {
        draw_read(c, d, a);
        return;
    }
    if (kind < share) {
        draw_plain_write(c, d, a, true);
        return;
    }
    share += load->delete_of_100;
    if (kind < share) {
        draw_plain_write(c, d, a, false);
        return;
    }
    share += load->txn_of_100;
    if (kind < share) {
        draw_txn(d, a);
        return;
    }
    share += load->shared_of_100;
    if (kind < share) {
        draw_shared_write(d, a);
        return;
    }
    share += load->lease_of_100;
    if (kind < share) {
        draw_lease(d, a);
        return;
    }
    share += load->compact_of_100;
    if (kind < share) {
        draw_compact(d, a);
    } else if (kind == 99) {
        a->op.kind = HISTORY_MEMBERS;
    } else {
        draw_read(c, d, a);
    }
}

static void send_write(struct sim_client *c, struct asking *a, uint64_t deadline_us)
{
    struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, release_propose);
    m->group = GROUP_DEFAULT;
    m->request_id = a->op.request_id;
    m->deadline_us = deadline_us;
    m->command = bytes_copy(view_of(a->command.data, a->command.size));
    ACTOR_SEND(c->raft, m);
}

static void send_read(struct sim_client *c, struct asking *a, uint64_t deadline_us)
{
    struct read_request *m = MSG_NEW(
        struct read_request, a->op.serializable ? APPLY_READ : RAFT_READ, release_read_request);
    m->group = GROUP_DEFAULT;
    m->request_id = a->op.request_id;
    m->deadline_us = deadline_us;
    if (a->op.kind == HISTORY_MEMBERS) {
        m->members = true;
    } else {
        a->query.serializable = a->op.serializable;
        m->query = query_create(&a->query);
    }
    ACTOR_SEND(a->op.serializable ? c->apply : c->raft, m);
}

static void ask(struct sim_client *c, struct slot *slot, uint64_t now_us)
{
    const struct client_load *load = c->s.load;
    struct drawer d = drawer_of(c);
    struct asking a = {.op = {.node = c->s.node,
                              .origin = c->s.origin,
                              .request_id = REQUEST_ID(c->s.client_index, ++c->counter)}};
    if (slot == &c->slots[KEEPER_SLOT]) {
        keeper_ask(&c->keeper, &d, &a);
    } else {
        draw_request(c, &d, &a);
    }
    slot->busy = true;
    slot->kind = a.op.kind;
    slot->writes = a.command.size > 0;
    slot->request_id = a.op.request_id;
    slot->at_us = now_us + draw(c, load->timeout_us_min, load->timeout_us_max);
    slot->op = history_ask(c->s.history, &a.op, runner_exact_us(c->s.runner));
    if (slot->writes) {
        send_write(c, &a, slot->at_us);
    } else {
        send_read(c, &a, slot->at_us);
    }
    asking_free(&a);
}

/* ---- answers ----------------------------------------------------------------------------------------- */

/* result NULL: there is none. */
static void slot_idle(struct sim_client *c, struct slot *slot, const struct result *result,
                      uint64_t now_us)
{
    slot->busy = false;
    slot->request_id = 0;
    if (slot == &c->slots[KEEPER_SLOT]) {
        struct drawer d = drawer_of(c);
        keeper_answer(&c->keeper, &c->s.history->ops[slot->op], result);
        slot->at_us = now_us + keeper_pause_us(&c->keeper, &d);
        return;
    }
    slot->at_us =
        now_us + (c->s.load->finishing ? FINISH_RETRY_US : draw(c, 0, c->s.load->think_us_max));
}

static struct slot *slot_of(struct sim_client *c, uint64_t request_id)
{
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        if (c->slots[i].busy && c->slots[i].request_id == request_id) {
            return &c->slots[i];
        }
    }
    return NULL;
}

/* What these errors say is that it never happens; all others leave it open. */
static bool says_not(enum err error)
{
    return error == ERR_NOT_LEADER || error == ERR_NO_LEADER || error == ERR_OVERLOAD ||
           error == ERR_LEADER_CHANGED || error == ERR_STOPPED;
}

static void take_reply(struct sim_client *c, const struct client_reply *reply, uint64_t now_us)
{
    struct slot *slot = slot_of(c, reply->request_id);
    if (slot == NULL) {
        return; /* given up meanwhile */
    }
    uint64_t exact_us = runner_exact_us(c->s.runner);
    if (reply->error == OK) {
        history_answer(c->s.history, slot->op, reply->result, &c->session_revision, exact_us);
        if (c->s.load->finishing && slot->kind == HISTORY_ALL) {
            c->finished = true;
        }
    } else if (says_not(reply->error)) {
        history_not(c->s.history, slot->op, exact_us);
    } else {
        history_unknown(c->s.history, slot->op);
    }
    slot_idle(c, slot, reply->error == OK ? reply->result : NULL, now_us);
}

static void take_status(struct sim_client *c, const struct node_status *status, uint64_t now_us)
{
    struct slot *slot = slot_of(c, status->request_id);
    if (slot == NULL) {
        return;
    }
    ASSERT(slot->kind == HISTORY_MEMBERS);
    history_unknown(c->s.history, slot->op); /* nothing to judge in it */
    slot_idle(c, slot, NULL, now_us);
}

static void take_barrier(struct sim_client *c, const struct client_barrier *barrier,
                         uint64_t now_us)
{
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        struct slot *slot = &c->slots[i];
        if (slot->busy && slot->request_id <= barrier->request_id && slot->writes) {
            history_not(c->s.history, slot->op, runner_exact_us(c->s.runner));
            slot_idle(c, slot, NULL, now_us);
        }
    }
}

/* A snapshot stands for entries this node has not seen: whether these are among them nobody can say. */
static void take_unknown(struct sim_client *c, const struct client_barrier *unknown,
                         uint64_t now_us)
{
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        struct slot *slot = &c->slots[i];
        if (slot->busy && slot->request_id <= unknown->request_id && slot->writes) {
            history_unknown(c->s.history, slot->op);
            slot_idle(c, slot, NULL, now_us);
        }
    }
}

/* ---- handlers ------------------------------------------------------------------------------------------ */

static void client_started(void *self, uint64_t now_us)
{
    struct sim_client *c = self;
    c->raft = c->s.actors->raft;
    c->apply = c->s.actors->apply;
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        c->slots[i].at_us = now_us + draw(c, 0, c->s.load->think_us_max);
    }
    struct drawer d = drawer_of(c);
    watches_begin(&c->watches, &d, now_us);
}

static void client_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct sim_client *c = self;
    switch ((enum client_kind)m->kind) {
    case CLIENT_REPLY:
        take_reply(c, (const struct client_reply *)m, now_us);
        break;
    case CLIENT_STATUS:
        take_status(c, (const struct node_status *)m, now_us);
        break;
    case CLIENT_BARRIER:
        take_barrier(c, (const struct client_barrier *)m, now_us);
        break;
    case CLIENT_UNKNOWN:
        take_unknown(c, (const struct client_barrier *)m, now_us);
        break;
    case CLIENT_WATCH:
        watches_take(&c->watches, &c->s, (const struct client_watch *)m);
        break;
    case CLIENT_SOCKET:
    case CLIENT_COPY:
    case CLIENT_STATE:
    case CLIENT_FIGURES:
        break;
    }
    msg_free_base(&m);
}

/* Does it ask anything of its own accord now? */
static bool slot_works(const struct sim_client *c, size_t slot)
{
    if (c->s.load->finishing) {
        return slot == 0 && !c->finished;
    }
    return slot < c->s.load->slots || (slot == KEEPER_SLOT && c->s.load->keepers);
}

static void client_expired(void *self, uint64_t now_us)
{
    struct sim_client *c = self;
    if (c->watches.at_us <= now_us) {
        struct drawer d = drawer_of(c);
        watches_act(&c->watches, &d, &c->s, &c->counter, now_us);
    }
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        struct slot *slot = &c->slots[i];
        if (slot->at_us > now_us) {
            continue;
        }
        if (slot->busy) {
            history_unknown(c->s.history, slot->op);
            slot_idle(c, slot, NULL, now_us);
        } else if (slot_works(c, i)) {
            ask(c, slot, now_us);
        } else {
            slot->at_us = now_us + FINISH_RETRY_US;
        }
    }
}

static void client_flush(void *self, uint64_t now_us)
{
    struct sim_client *c = self;
    UNUSED(now_us);
    uint64_t at_us = c->watches.at_us;
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        bool used = c->slots[i].busy || i < c->s.load->slots || i == KEEPER_SLOT;
        if (used && c->slots[i].at_us < at_us) {
            at_us = c->slots[i].at_us;
        }
    }
    actor_set_deadline(actor_self(), at_us);
}

/* Whatever waits for an answer will never have one. */
static void give_up(struct sim_client *c)
{
    watches_give_up(&c->watches);
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        if (c->slots[i].busy) {
            history_unknown(c->s.history, c->slots[i].op);
            c->slots[i].busy = false;
        }
    }
}

static void client_stop(void *self, uint64_t now_us)
{
    UNUSED(now_us);
    give_up(self);
    actor_stopped(actor_self());
}

static void client_destroy(void *self)
{
    give_up(self);
    mem_free(self);
}

struct actor *client_create(const struct client_settings *settings)
{
    static const struct actor_ops ops = {.started = client_started,
                                         .handle = client_handle,
                                         .flush = client_flush,
                                         .expired = client_expired,
                                         .stop = client_stop,
                                         .destroy = client_destroy};
    struct sim_client *c = mem_zalloc(sizeof(*c));
    c->s = *settings;
    c->random = settings->seed;
    char name[32];
    (void)snprintf(name, sizeof(name), "client-%zu", settings->client_index);
    return actor_create(&ops, c, name);
}

bool client_finished(const struct actor *client)
{
    return ((const struct sim_client *)runner_private_of(client))->finished;
}
