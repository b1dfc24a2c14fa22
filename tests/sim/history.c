/* SPDX-License-Identifier: Apache-2.0 */
/* history.c: see history.h. */
#include "history.h"

#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HISTORY_STEPS_MAX 3000000

void history_fail(struct history *h, const struct history_op *op, const char *format, ...)
{
    static const char *const kinds[] = {"put",   "delete",   "get", "get all", "members",
                                        "write", "txn read", "ttl", "leases"};
    char text[CHECKS_TEXT_MAX];
    int used = snprintf(text, sizeof(text),
                        "client on n%zu, %s%s of k%02u asked at %" PRIu64 " us (request %" PRIx64
                        "/%" PRIx64 "): ",
                        op->node, op->serializable ? "serializable " : "", kinds[op->kind],
                        (unsigned)op->key, op->invoke_us, op->origin, op->request_id);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
    va_end(arguments);
    h->checks->fail(h->checks->context, text);
}

void history_start(struct history *h, struct checks *checks, uint32_t key_count)
{
    ASSERT(key_count <= MODEL_KEYS_MAX);
    *h = (struct history){.checks = checks, .key_count = key_count};
}

void history_free(struct history *h)
{
    for (size_t i = 0; i < h->count; i++) {
        bytes_free(&h->ops[i].body);
    }
    mem_free(h->ops);
    map_free(&h->by_request);
}

uint64_t history_value(struct history *h)
{
    return ++h->value_last;
}

uint64_t history_command_sum(struct view command)
{
    struct bytes copy = bytes_copy(command);
    command_stamp(copy.data, copy.size, 0);
    uint64_t sum = checksum64(bytes_view(&copy));
    bytes_free(&copy);
    return sum;
}

size_t history_ask(struct history *h, const struct history_op *op, uint64_t now_us)
{
    ARRAY_RESERVE(h->ops, h->capacity, h->count + 1);
    struct history_op *asked = &h->ops[h->count];
    *asked = *op;
    asked->outcome = HISTORY_PENDING;
    asked->invoke_us = now_us;
    asked->return_us = LINEARIZABLE_UNKNOWN;
    asked->floor_revision = h->floor_revision;
    asked->floor_index = h->floor_index;
    asked->floor_compact = h->floor_compact;
    asked->floor_lock = h->floor_lock;
    asked->deleted = -1;
    map_put(&h->by_request, op->origin, op->request_id, h->count);
    return h->count++;
}

/* ---- answers -------------------------------------------------------------------------------------- */

static bool is_write(const struct history_op *op)
{
    return op->kind == HISTORY_PUT || op->kind == HISTORY_DELETE || op->kind == HISTORY_WRITE;
}

static void judge_write(struct history *h, struct history_op *op, const struct result *result)
{
    const struct model *m = &h->checks->model;
    uint64_t index = model_index_of(m, op->origin, op->request_id);
    if (index == 0) {
        history_fail(h, op, "acknowledged at revision %" PRId64 " but not committed",
                     result->revision);
        return;
    }
    struct buffer text = {0};
    answer_text_result(&text, result);
    if (strcmp((const char *)text.data, m->entries[index - 1].answer) != 0) {
        history_fail(h, op, "answered \"%s\", should be \"%s\" for its entry %" PRIu64,
                     (const char *)text.data, m->entries[index - 1].answer, index);
    }
    buffer_free(&text);
    op->deleted = op->kind == HISTORY_DELETE ? result->count > 0 : -1;
    if (index > h->floor_index) {
        h->floor_index = index;
    }
    if (result->error == OK) {
        if (op->compacts && op->past_revision > h->floor_compact) {
            h->floor_compact = op->past_revision;
        }
        history_judge_lock(h, op, result);
    }
    if (op->kind == HISTORY_PUT && result->revision <= op->floor_revision) {
        history_fail(h, op,
                     "made revision %" PRId64 " although %" PRId64 " had been answered before",
                     result->revision, op->floor_revision);
    }
}

/* The pair, or nothing, that a result holds for the key must be what the model has at `revision`. */
static void judge_pair(struct history *h, const struct history_op *op, uint32_t key,
                       const struct key_value *kv, int64_t revision)
{
    int64_t mod_revision = 0;
    uint64_t value = model_value_at(&h->checks->model, key, revision, &mod_revision);
    uint64_t got = kv == NULL ? 0 : model_value_of(kv->value);
    if (got != value) {
        history_fail(h, op,
                     "read %" PRIu64 " for k%02u at revision %" PRId64 ", should be %" PRIu64, got,
                     (unsigned)key, revision, value);
    } else if (kv != NULL && kv->mod_revision != mod_revision) {
        history_fail(h, op, "read mod_revision %" PRId64 " for k%02u, should be %" PRId64,
                     kv->mod_revision, (unsigned)key, mod_revision);
    }
}

static void judge_pairs(struct history *h, struct history_op *op, const struct result *result)
{
    int64_t revision = op->past_revision != 0 ? op->past_revision : result->revision;
    const struct key_value *found[MODEL_KEYS_MAX] = {NULL};
    for (size_t i = 0; i < result->kv_count; i++) {
        uint32_t key = 0;
        if (!model_key_of(result->kvs[i].key, &key) || found[key] != NULL) {
            history_fail(h, op, "answered with a key nobody wrote, or one twice");
            return;
        }
        found[key] = &result->kvs[i];
    }
    if (op->kind == HISTORY_GET) {
        judge_pair(h, op, op->key, found[op->key], revision);
        op->value = found[op->key] == NULL ? 0 : model_value_of(found[op->key]->value);
        return;
    }
    for (uint32_t key = 0; key < MODEL_KEYS_MAX; key++) {
        judge_pair(h, op, key, found[key], revision);
    }
}

static void judge_txn_read(struct history *h, struct history_op *op, const struct result *result)
{
    struct buffer said = {0}, right = {0};
    struct txn_body *body = NULL;
    enum err error = txn_body_decode(bytes_view(&op->body), &body);
    ASSERT(error == OK);
    answer_text_result(&said, result);
    model_txn_read(&h->checks->model, body, result->revision, &right);
    if (strcmp((const char *)said.data, answer_text_done(&right)) != 0) {
        history_fail(h, op, "answered \"%s\", should be \"%s\"", (const char *)said.data,
                     (const char *)right.data);
    }
    mem_free(body);
    buffer_free(&said);
    buffer_free(&right);
}

static void judge_read(struct history *h, struct history_op *op, const struct result *result)
{
    bool range = op->kind == HISTORY_GET || op->kind == HISTORY_ALL;
    if (range && op->past_revision > 0 && op->past_revision < op->floor_compact &&
        !op->serializable) {
        history_fail(h, op,
                     "answered at revision %" PRId64 " although %" PRId64
                     " was known to be compacted",
                     op->past_revision, op->floor_compact);
    }
    switch (op->kind) {
    case HISTORY_GET:
    case HISTORY_ALL:
        judge_pairs(h, op, result);
        break;
    case HISTORY_TXN_READ:
        judge_txn_read(h, op, result);
        break;
    case HISTORY_TTL:
    case HISTORY_LEASES:
        history_judge_leases(h, op, result);
        break;
    case HISTORY_PUT:
    case HISTORY_DELETE:
    case HISTORY_WRITE:
    case HISTORY_MEMBERS:
        break;
    }
}

void history_answer(struct history *h, size_t at, const struct result *result,
                    int64_t *session_revision, uint64_t now_us)
{
    struct history_op *op = &h->ops[at];
    ASSERT(op->outcome == HISTORY_PENDING);
    op->outcome = HISTORY_DONE;
    op->return_us = now_us;
    op->revision = result->revision;
    h->done++;
    if (result->error == ERR_COMPACTED && !is_write(op) && op->past_revision > 0 &&
        op->past_revision < h->checks->model.compact_revision) {
        op->outcome = HISTORY_UNKNOWN; /* it says nothing of the keys */
        h->done--;
        h->unknown++;
        return;
    }
    if (result->error != OK && op->kind != HISTORY_WRITE) {
        history_fail(h, op, "answered with error \"%s\"", err_text(result->error));
        return;
    }
    if (result->revision > h->checks->model.revision) {
        history_fail(h, op, "answered from revision %" PRId64 ", committed is %" PRId64,
                     result->revision, h->checks->model.revision);
    }
    if (is_write(op)) {
        judge_write(h, op, result);
    } else {
        judge_read(h, op, result);
    }
    if (!op->serializable && result->revision < op->floor_revision) {
        history_fail(h, op,
                     "stale: answered from revision %" PRId64 " although %" PRId64
                     " had been answered before it was asked",
                     result->revision, op->floor_revision);
    }
    /* Requests of one client overlap, so only what was answered before this was asked would count for
     * linearizable ones (floor above); apply answers in order, so for a session everything does. */
    if (op->physical) {
        return;
    }
    if (result->revision < *session_revision) {
        history_fail(h, op, "goes back from revision %" PRId64 " to %" PRId64, *session_revision,
                     result->revision);
    }
    *session_revision = result->revision;
    if (!op->serializable && result->revision > h->floor_revision) {
        h->floor_revision = result->revision;
    }
}

void history_not(struct history *h, size_t at, uint64_t now_us)
{
    struct history_op *op = &h->ops[at];
    ASSERT(op->outcome == HISTORY_PENDING);
    op->outcome = HISTORY_NOT;
    op->return_us = now_us;
    h->not_done++;
    uint64_t index = model_index_of(&h->checks->model, op->origin, op->request_id);
    if (index != 0) {
        history_fail(h, op, "told \"not carried out\" although it is committed at %" PRIu64, index);
    }
}

void history_unknown(struct history *h, size_t at)
{
    ASSERT(h->ops[at].outcome == HISTORY_PENDING);
    h->ops[at].outcome = HISTORY_UNKNOWN;
    h->unknown++;
}

void history_committed(struct history *h, const struct entry *e, uint64_t now_us)
{
    if (e->type != ENTRY_COMMAND) {
        return;
    }
    history_lease_ended(h, e, now_us);
    if (e->request_id == 0) {
        return; /* a leader's own */
    }
    uint64_t *at = map_get(&h->by_request, e->origin, e->request_id);
    if (at == NULL) {
        h->checks->fail(h->checks->context, "an entry is committed that no client asked for");
        return;
    }
    struct history_op *op = &h->ops[*at];
    if (!is_write(op) || history_command_sum(e->data) != op->command_sum) {
        history_fail(h, op, "committed as something else");
    }
    if (op->outcome == HISTORY_NOT) {
        history_fail(h, op,
                     "committed at %" PRIu64 " after its client was told \"not carried out\"",
                     e->index);
    }
}

/* ---- the end ----------------------------------------------------------------------------------------- */

void history_judge(struct history *h)
{
    struct linearizable_op *ops = mem_alloc((h->count + 1) * sizeof(*ops));
    size_t *places = mem_alloc((h->count + 1) * sizeof(*places));
    for (uint32_t key = 0; key < h->key_count; key++) {
        size_t count = 0;
        for (size_t i = 0; i < h->count; i++) {
            const struct history_op *op = &h->ops[i];
            bool write = op->kind == HISTORY_PUT || op->kind == HISTORY_DELETE;
            bool read = op->kind == HISTORY_GET && !op->serializable && op->past_revision == 0 &&
                        op->outcome == HISTORY_DONE;
            if (op->key != key || !(write || read) || op->outcome == HISTORY_NOT) {
                continue;
            }
            if (count == LINEARIZABLE_OPS_MAX) {
                h->undecided++;
                count = 0;
                break;
            }
            places[count] = i;
            ops[count++] = (struct linearizable_op){
                .kind = op->kind == HISTORY_PUT      ? LINEARIZABLE_PUT
                        : op->kind == HISTORY_DELETE ? LINEARIZABLE_DELETE
                                                     : LINEARIZABLE_GET,
                .value = op->kind == HISTORY_DELETE ? 0 : op->value,
                .deleted = op->deleted,
                .invoke_us = op->invoke_us,
                .return_us = op->outcome == HISTORY_DONE ? op->return_us : LINEARIZABLE_UNKNOWN,
            };
        }
        size_t culprit = 0;
        switch (linearizable_check(ops, count, HISTORY_STEPS_MAX, &culprit)) {
        case LINEARIZABLE_YES:
            break;
        case LINEARIZABLE_NO:
            history_fail(h, &h->ops[places[culprit]],
                         "the history of this key is not linearizable");
            break;
        case LINEARIZABLE_UNDECIDED:
            h->undecided++;
            break;
        }
    }
    mem_free(places);
    mem_free(ops);
}
