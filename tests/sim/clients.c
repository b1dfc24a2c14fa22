/* SPDX-License-Identifier: Apache-2.0 */
/* clients.c: see clients.h. A slot is idle until its time, or waits for an answer until its deadline. */
#include "clients.h"

#include <stdio.h>
#include <string.h>

#define FINISH_RETRY_US 200000

struct slot {
    bool busy;
    uint64_t at_us; /* busy: give up then; idle: ask then. On the node's clock. */
    uint64_t request_id;
    size_t op; /* in the history */
    enum history_kind kind;
};

struct sim_client {
    struct client_settings s;
    struct actor *raft, *apply;
    uint64_t random, counter;
    int64_t session_revision;
    struct slot slots[CLIENT_SLOTS_MAX];
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

/* ---- asking --------------------------------------------------------------------------------------- */

static void send_write(struct sim_client *c, const struct history_op *op, uint64_t deadline_us)
{
    char key[8];
    uint8_t value[1024] = {0};
    struct command command = {.op = op->kind == HISTORY_PUT ? COMMAND_PUT : COMMAND_DELETE_RANGE};
    command.key = view_of(key, model_key_text(op->key, key, sizeof(key)));
    if (op->kind == HISTORY_PUT) {
        struct buffer number = {0};
        buffer_u64(&number, op->value);
        memcpy(value, number.data, number.size);
        buffer_free(&number);
        command.value = view_of(value, 8 + (size_t)draw(c, 0, c->s.load->value_bytes_max - 8));
    }
    struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, release_propose);
    m->group = GROUP_DEFAULT;
    m->request_id = op->request_id;
    m->deadline_us = deadline_us;
    m->command.size = command_size(&command);
    m->command.data = mem_alloc(m->command.size);
    command_encode(&command, m->command.data);
    ACTOR_SEND(c->raft, m);
}

static void send_read(struct sim_client *c, const struct history_op *op, uint64_t deadline_us)
{
    struct read_request *m = MSG_NEW(struct read_request, op->serializable ? APPLY_READ : RAFT_READ,
                                     release_read_request);
    m->group = GROUP_DEFAULT;
    m->request_id = op->request_id;
    m->deadline_us = deadline_us;
    if (op->kind == HISTORY_MEMBERS) {
        m->members = true;
    } else {
        char key[8];
        struct query query = {.revision = op->past_revision, .serializable = op->serializable};
        if (op->kind == HISTORY_ALL) {
            query.key = view_of_text("k");
            query.range_end = view_of_text("l");
        } else {
            query.key = view_of(key, model_key_text(op->key, key, sizeof(key)));
        }
        m->query = query_create(&query);
    }
    ACTOR_SEND(op->serializable ? c->apply : c->raft, m);
}

static void ask(struct sim_client *c, struct slot *slot, uint64_t now_us)
{
    const struct client_load *load = c->s.load;
    struct history_op op = {.node = c->s.node,
                            .origin = c->s.origin,
                            .request_id = REQUEST_ID(c->s.client_index, ++c->counter),
                            .key = (uint32_t)random_below(&c->random, load->key_count)};
    uint64_t kind = random_below(&c->random, 100);
    if (load->finishing) {
        op.kind = HISTORY_ALL;
    } else if (kind < load->put_of_100) {
        op.kind = HISTORY_PUT;
    } else if (kind < load->put_of_100 + load->delete_of_100) {
        op.kind = HISTORY_DELETE;
    } else if (kind == 99) {
        op.kind = HISTORY_MEMBERS;
    } else {
        op.kind = of_100(c, load->all_of_100) ? HISTORY_ALL : HISTORY_GET;
        op.serializable = of_100(c, load->serializable_of_100);
        if (of_100(c, load->past_of_100) && c->session_revision > 1) {
            /* Seen by this session, so every later state of this node holds it. */
            op.past_revision = (int64_t)draw(c, 1, (uint64_t)c->session_revision);
        }
    }
    slot->busy = true;
    slot->kind = op.kind;
    slot->request_id = op.request_id;
    slot->at_us = now_us + draw(c, load->timeout_us_min, load->timeout_us_max);
    slot->op = history_ask(c->s.history, &op, runner_exact_us(c->s.runner));
    op = c->s.history->ops[slot->op]; /* with the value drawn for it */
    if (op.kind == HISTORY_PUT || op.kind == HISTORY_DELETE) {
        send_write(c, &op, slot->at_us);
    } else {
        send_read(c, &op, slot->at_us);
    }
}

/* ---- answers ----------------------------------------------------------------------------------------- */

static void slot_idle(struct sim_client *c, struct slot *slot, uint64_t now_us)
{
    slot->busy = false;
    slot->request_id = 0;
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
    slot_idle(c, slot, now_us);
}

static void take_status(struct sim_client *c, const struct node_status *status, uint64_t now_us)
{
    struct slot *slot = slot_of(c, status->request_id);
    if (slot == NULL) {
        return;
    }
    ASSERT(slot->kind == HISTORY_MEMBERS);
    history_unknown(c->s.history, slot->op); /* nothing to judge in it */
    slot_idle(c, slot, now_us);
}

static void take_barrier(struct sim_client *c, const struct client_barrier *barrier,
                         uint64_t now_us)
{
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        struct slot *slot = &c->slots[i];
        if (slot->busy && slot->request_id <= barrier->request_id &&
            (slot->kind == HISTORY_PUT || slot->kind == HISTORY_DELETE)) {
            history_not(c->s.history, slot->op, runner_exact_us(c->s.runner));
            slot_idle(c, slot, now_us);
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
    case CLIENT_SOCKET:
    case CLIENT_COPY:
    case CLIENT_UNKNOWN:
    case CLIENT_STATE:
    case CLIENT_WATCH: /* nobody watches here */
    case CLIENT_FIGURES:
        break;
    }
    msg_free_base(&m);
}

static void client_expired(void *self, uint64_t now_us)
{
    struct sim_client *c = self;
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        struct slot *slot = &c->slots[i];
        if (slot->at_us > now_us) {
            continue;
        }
        if (slot->busy) {
            history_unknown(c->s.history, slot->op);
            slot_idle(c, slot, now_us);
        } else if (c->s.load->finishing ? i == 0 && !c->finished : i < c->s.load->slots) {
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
    uint64_t at_us = UINT64_MAX;
    for (size_t i = 0; i < CLIENT_SLOTS_MAX; i++) {
        bool used = c->slots[i].busy || i < c->s.load->slots;
        if (used && c->slots[i].at_us < at_us) {
            at_us = c->slots[i].at_us;
        }
    }
    actor_set_deadline(actor_self(), at_us);
}

/* Whatever waits for an answer will never have one. */
static void give_up(struct sim_client *c)
{
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
