/* SPDX-License-Identifier: Apache-2.0 */
/* history.c: see history.h. */
#include "history.h"

#include "command.h"

#include <stdarg.h>
#include <stdio.h>

#define HISTORY_STEPS_MAX 3000000

static void fail(struct history *h, const struct history_op *op, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void fail(struct history *h, const struct history_op *op, const char *format, ...)
{
    static const char *const kinds[] = {"put", "delete", "get", "get all", "members"};
    char text[400];
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
    mem_free(h->ops);
    map_free(&h->by_request);
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
    asked->deleted = -1;
    if (asked->kind == HISTORY_PUT) {
        asked->value = ++h->value_last;
    }
    map_put(&h->by_request, op->origin, op->request_id, h->count);
    return h->count++;
}

/* ---- answers -------------------------------------------------------------------------------------- */

static void judge_write(struct history *h, struct history_op *op, const struct result *result)
{
    const struct model *m = &h->checks->model;
    uint64_t index = model_index_of(m, op->origin, op->request_id);
    if (index == 0) {
        fail(h, op, "acknowledged at revision %" PRId64 " but not committed", result->revision);
        return;
    }
    const struct model_entry *e = &m->entries[index - 1];
    if (result->revision != e->revision) {
        fail(h, op, "acknowledged at revision %" PRId64 ", its entry %" PRIu64 " made %" PRId64,
             result->revision, index, e->revision);
    }
    if (op->kind == HISTORY_DELETE) {
        op->deleted = result->count > 0;
        if (result->count != e->deleted) {
            fail(h, op, "deleted %" PRId64 " keys, should be %d", result->count, e->deleted);
        }
    }
    if (op->kind == HISTORY_PUT && result->revision <= op->floor_revision) {
        fail(h, op, "made revision %" PRId64 " although %" PRId64 " had been answered before",
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
        fail(h, op, "read %" PRIu64 " for k%02u at revision %" PRId64 ", should be %" PRIu64, got,
             (unsigned)key, revision, value);
    } else if (kv != NULL && kv->mod_revision != mod_revision) {
        fail(h, op, "read mod_revision %" PRId64 " for k%02u, should be %" PRId64, kv->mod_revision,
             (unsigned)key, mod_revision);
    }
}

static void judge_pairs(struct history *h, struct history_op *op, const struct result *result)
{
    int64_t revision = op->past_revision != 0 ? op->past_revision : result->revision;
    const struct key_value *found[MODEL_KEYS_MAX] = {NULL};
    for (size_t i = 0; i < result->kv_count; i++) {
        uint32_t key = 0;
        if (!model_key_of(result->kvs[i].key, &key) || found[key] != NULL) {
            fail(h, op, "answered with a key nobody wrote, or one twice");
            return;
        }
        found[key] = &result->kvs[i];
    }
    if (op->kind == HISTORY_GET) {
        judge_pair(h, op, op->key, found[op->key], revision);
        op->value = found[op->key] == NULL ? 0 : model_value_of(found[op->key]->value);
        return;
    }
    for (uint32_t key = 0; key < h->key_count; key++) {
        judge_pair(h, op, key, found[key], revision);
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
    if (result->error == ERR_COMPACTED && op->past_revision > 0 &&
        op->past_revision < h->checks->model.compact_revision) {
        op->outcome = HISTORY_UNKNOWN; /* it says nothing of the keys */
        h->done--;
        h->unknown++;
        return;
    }
    if (result->error != OK) {
        fail(h, op, "answered with error \"%s\"", err_text(result->error));
        return;
    }
    if (result->revision > h->checks->model.revision) {
        fail(h, op, "answered from revision %" PRId64 ", committed is %" PRId64, result->revision,
             h->checks->model.revision);
    }
    if (op->kind == HISTORY_PUT || op->kind == HISTORY_DELETE) {
        judge_write(h, op, result);
    } else {
        judge_pairs(h, op, result);
    }
    if (!op->serializable && result->revision < op->floor_revision) {
        fail(h, op,
             "stale: answered from revision %" PRId64 " although %" PRId64
             " had been answered before it was asked",
             result->revision, op->floor_revision);
    }
    /* Requests of one client overlap, so only what was answered before this was asked would count for
     * linearizable ones (floor above); apply answers in order, so for a session everything does. */
    if (result->revision < *session_revision) {
        fail(h, op, "goes back from revision %" PRId64 " to %" PRId64, *session_revision,
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
        fail(h, op, "told \"not carried out\" although it is committed at %" PRIu64, index);
    }
}

void history_unknown(struct history *h, size_t at)
{
    ASSERT(h->ops[at].outcome == HISTORY_PENDING);
    h->ops[at].outcome = HISTORY_UNKNOWN;
    h->unknown++;
}

void history_committed(struct history *h, const struct entry *e)
{
    if (e->type != ENTRY_COMMAND || e->request_id == 0) { /* a leader's own: the model judges it */
        return;
    }
    uint64_t *at = map_get(&h->by_request, e->origin, e->request_id);
    if (at == NULL) {
        h->checks->fail(h->checks->context, "an entry is committed that no client asked for");
        return;
    }
    struct history_op *op = &h->ops[*at];
    struct command c;
    uint32_t key = 0;
    if (command_decode(e->data, &c) != OK || !model_key_of(c.key, &key) || key != op->key ||
        (c.op == COMMAND_PUT) != (op->kind == HISTORY_PUT) ||
        (c.op == COMMAND_PUT && model_value_of(c.value) != op->value)) {
        fail(h, op, "committed as something else");
    }
    if (op->outcome == HISTORY_NOT) {
        fail(h, op, "committed at %" PRIu64 " after its client was told \"not carried out\"",
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
            fail(h, &h->ops[places[culprit]], "the history of this key is not linearizable");
            break;
        case LINEARIZABLE_UNDECIDED:
            h->undecided++;
            break;
        }
    }
    mem_free(places);
    mem_free(ops);
}
