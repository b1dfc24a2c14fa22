/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn.c: see txn.h.
 *
 * Rules (etcd v3 API)
 *  1. Compares are ANDed; none hold. A compare over a range must hold for every key of it. A key that is
 *     not there counts as 0 everywhere, but a compare of its value holds never, whatever the operator.
 *  2. Which branches run is decided on the store as it was, nested ones included; then the operations
 *     run in order and each sees what earlier ones did.
 *  3. One refused operation refuses the whole, before anything is changed. What is asked: first of all
 *     puts in order (existence for the ignore flags, then the lease; the reverse of a put alone), then of
 *     all ranges; always against the store as it was.
 *  4. All changes are one revision; their sub numbers go on over all operations.
 *  5. An inner header has the revision as of its operation: the new one once anything was changed.
 *
 * Refusals are decided on every node alike, also where nobody waits for the answer and ranges are not
 * read.
 */
#include "kv/txn.h"

#include "kv/lease.h"
#include "kv/write.h"

/* ---- the course ----------------------------------------------------------------------------------- */

static void path_push(struct txn_path *p, bool succeeded)
{
    ARRAY_RESERVE(p->succeeded, p->capacity, p->count + 1);
    p->succeeded[p->count++] = succeeded;
}

/* Go into a transaction: what course_next gives from now on is its. */
static void course_enter(struct txn_course *c, const struct txn_body *body, bool succeeded,
                         struct result *result)
{
    ASSERT(c->depth < TXN_DEPTH_MAX); /* the decoder sees to it */
    c->branches[c->depth].ops = succeeded ? body->success : body->failure;
    c->branches[c->depth].count = succeeded ? body->success_count : body->failure_count;
    c->branches[c->depth].at = 0;
    c->branches[c->depth].result = result;
    c->depth++;
    c->path_at++;
}

static void course_begin(struct txn_course *c, const struct txn_body *body,
                         const struct txn_path *path, struct result *result)
{
    c->depth = 0;
    c->path_at = 0;
    course_enter(c, body, path->succeeded[0], result);
}

/* The next operation, or NULL. A nested transaction is given and not yet entered. */
static const struct txn_op *course_next(struct txn_course *c)
{
    while (c->depth > 0) {
        if (c->branches[c->depth - 1].at < c->branches[c->depth - 1].count) {
            return &c->branches[c->depth - 1].ops[c->branches[c->depth - 1].at++];
        }
        c->depth--;
    }
    return NULL;
}

/* As course_next, over the operations that are none themselves. */
static const struct txn_op *course_next_leaf(struct txn_course *c, const struct txn_path *path)
{
    const struct txn_op *op = course_next(c);
    while (op != NULL && op->kind == TXN_TXN) {
        course_enter(c, op->txn, path->succeeded[c->path_at], NULL);
        op = course_next(c);
    }
    return op;
}

/* ---- compares --------------------------------------------------------------------------------------- */

static bool compare_holds(const struct txn_compare *c, const struct key_value *pair)
{
    int64_t stored = 0;
    int order = 0;
    switch (c->target) {
    case TXN_VERSION:
        stored = pair->version;
        break;
    case TXN_CREATE:
        stored = pair->create_revision;
        break;
    case TXN_MOD:
        stored = pair->mod_revision;
        break;
    case TXN_LEASE:
        stored = pair->lease;
        break;
    case TXN_VALUE:
        break;
    }
    if (c->target == TXN_VALUE) {
        order = view_compare(pair->value, c->value);
    } else {
        order = (stored > c->number) - (stored < c->number);
    }
    switch (c->result) {
    case TXN_EQUAL:
        return order == 0;
    case TXN_GREATER:
        return order > 0;
    case TXN_LESS:
        return order < 0;
    case TXN_NOT_EQUAL:
        return order != 0;
    }
    return false;
}

static enum err compare_visit(void *context, struct kv *kv, struct scan_row *row, bool *go_on)
{
    struct txn_decision *d = context;
    const struct txn_compare *c = &d->body->compares[d->compare_at];
    bool value = c->target == TXN_VALUE;
    d->found = true;
    if (value) {
        enum err error = scan_value(kv, row);
        if (error != OK) {
            return error;
        }
    }
    d->holds = compare_holds(c, &row->pair);
    *go_on = d->holds;
    scan_keep(kv, row, value);
    return OK;
}

/* Look at the compares of d->body until they are through, or the budget is. */
static enum err decide_one(struct txn_decision *d, struct kv *kv, uint64_t *budget, bool *through)
{
    const struct txn_body *body = d->body;
    while (d->holds && d->compare_at < body->compare_count) {
        const struct txn_compare *c = &body->compares[d->compare_at];
        if (*budget == 0) {
            return OK;
        }
        if (!d->scanning) {
            scan_begin(&d->scan, key_range_of(c->key, c->range_end), d->at_most);
            d->scanning = true;
            d->found = false;
            --*budget; /* a look at nothing is one too */
        }
        if (!d->scan.done && *budget == 0) {
            return OK;
        }
        enum err error = scan_slice(&d->scan, kv, budget, compare_visit, d);
        if (error != OK) {
            return error;
        }
        if (!d->scan.done) {
            continue;
        }
        if (!d->found) {
            const struct key_value absent = {.version = 0};
            d->holds = c->target != TXN_VALUE && compare_holds(c, &absent);
        }
        scan_free(&d->scan);
        d->scanning = false;
        d->compare_at++;
    }
    *through = true;
    return OK;
}

static void decision_take(struct txn_decision *d, const struct txn_body *body)
{
    d->body = body;
    d->compare_at = 0;
    d->holds = true;
}

static void decision_begin(struct txn_decision *d, const struct txn_body *root, int64_t revision)
{
    d->course.depth = 0;
    d->scanning = false;
    d->at_most = change_id(revision, (uint32_t)CHANGE_SUB_MAX);
    decision_take(d, root);
}

static void decision_free(struct txn_decision *d)
{
    if (d->scanning) {
        scan_free(&d->scan);
        d->scanning = false;
    }
}

/* Go on deciding; the path grows. */
static enum err decision_step(struct txn_decision *d, struct kv *kv, uint64_t *budget,
                              struct txn_path *path, bool *done)
{
    *done = false;
    for (;;) {
        if (d->body != NULL) {
            bool through = false;
            enum err error = decide_one(d, kv, budget, &through);
            if (error != OK || !through) {
                return error;
            }
            path_push(path, d->holds);
            course_enter(&d->course, d->body, d->holds, NULL);
            d->body = NULL;
        }
        const struct txn_op *op = course_next(&d->course);
        if (op == NULL) {
            *done = true;
            return OK;
        }
        if (op->kind == TXN_TXN) {
            decision_take(d, op->txn);
        }
    }
}

/* ---- refusals ----------------------------------------------------------------------------------------- */

struct txn {
    struct kv *kv;
    struct txn_body *body;
    struct txn_path path;
    struct txn_course course;
};

static struct put put_of(const struct txn_op *op)
{
    return (struct put){.key = op->key, .value = op->value, .lease = op->lease, .flags = op->flags};
}

/* erased_from: all keys from here on have been deleted before, by a range to the last key; size 0: none.
 * (A put behind any other delete of it is a duplicate and was never proposed.) */
static enum err refuse_put(struct kv *kv, const struct txn_op *op, struct view erased_from,
                           enum err *refusal)
{
    const struct put p = put_of(op);
    struct newest newest = {0};
    *refusal = put_refusal(&p);
    if (*refusal != OK) {
        return OK;
    }
    if ((p.flags & (COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE)) != 0) {
        enum err error = newest_of(kv, p.key, &newest);
        if (error != OK) {
            return error;
        }
        bool erased = erased_from.size > 0 && view_compare(p.key, erased_from) >= 0;
        if (erased || !is_alive(&newest.current)) {
            *refusal = ERR_KEY_NOT_FOUND;
            return OK;
        }
    }
    if (p.lease != 0 && !lease_exists(kv, p.lease)) {
        *refusal = ERR_LEASE_NOT_FOUND;
    }
    return OK;
}

/* The puts and deletes along the course, and whether their changes have room in one revision: counted
 * from above, as if the deletes met nothing of each other. */
static enum err refuse_writes(struct txn *t, enum err *refusal)
{
    const struct txn_op *op = NULL;
    struct view erased_from = {0};
    uint64_t changes = 0;
    uint64_t puts = 0; /* a later delete may meet them */
    course_begin(&t->course, t->body, &t->path, NULL);
    while (*refusal == OK && (op = course_next_leaf(&t->course, &t->path)) != NULL) {
        enum err error = OK;
        if (op->kind == TXN_PUT) {
            changes++;
            puts++;
            error = refuse_put(t->kv, op, erased_from, refusal);
        } else if (op->kind == TXN_DELETE_RANGE && op->key.size == 0) {
            *refusal = ERR_KEY_EMPTY;
        } else if (op->kind == TXN_DELETE_RANGE) {
            struct key_range range = key_range_of(op->key, op->range_end);
            uint64_t count = 0;
            error = write_count_keys(t->kv, range, WRITE_CHANGES_MAX, &count);
            changes += count + (range.single ? 0 : puts);
            if (range.unbounded &&
                (erased_from.size == 0 || view_compare(op->key, erased_from) < 0)) {
                erased_from = op->key;
            }
        }
        if (error != OK) {
            return error;
        }
        if (changes > WRITE_CHANGES_MAX && *refusal == OK) {
            *refusal = ERR_TOO_MANY_OPS;
        }
    }
    return OK;
}

static enum err refuse_ranges(const struct kv *kv, struct txn_course *course,
                              const struct txn_body *body, const struct txn_path *path,
                              int64_t revision)
{
    const struct txn_op *op = NULL;
    course_begin(course, body, path, NULL);
    while ((op = course_next_leaf(course, path)) != NULL) {
        enum err refusal =
            op->kind == TXN_RANGE ? range_refusal(kv, &op->range, revision, true) : OK;
        if (refusal != OK) {
            return refusal;
        }
    }
    return OK;
}

/* ---- answers ------------------------------------------------------------------------------------------ */

/* Room for the answers of a branch that is entered. */
static void answer_begin(struct txn_course *c, bool succeeded)
{
    struct result *result = c->branches[c->depth - 1].result;
    if (result == NULL) {
        return;
    }
    size_t count = c->branches[c->depth - 1].count;
    result->succeeded = succeeded;
    result->responses = mem_zalloc(count * sizeof(result->responses[0]));
}

/* The answer of the operation that course_next gave; NULL: not wanted. */
static struct result *answer_add(struct txn_course *c, const struct txn_op *op)
{
    struct result *result = c->branches[c->depth - 1].result;
    if (result == NULL) {
        return NULL;
    }
    struct result_response *response = &result->responses[result->response_count++];
    response->kind = op->kind;
    response->result = result_create();
    return response->result;
}

/* What the answer holds counts for the whole, and so does what it may not become. */
static void answer_end(struct result *root, struct result *answer)
{
    if (answer == NULL) {
        return;
    }
    root->bytes += answer->bytes;
    if (answer->error != OK || root->bytes > RESULT_BYTES_MAX) {
        root->error = ERR_TOO_LARGE;
    }
}

/* ---- applied ------------------------------------------------------------------------------------------- */

static enum err run_range(struct kv *kv, const struct txn_op *op, int64_t revision,
                          struct result *answer)
{
    struct range_run run;
    enum err error = OK;
    answer->revision = revision;
    range_begin(&run, &op->range, revision, answer);
    while (error == OK && run.phase != RANGE_DONE) {
        uint64_t budget = UINT64_MAX;
        error = range_step(kv, &run, &budget);
    }
    range_free(&run);
    return error;
}

static enum err run_op(struct txn *t, struct write *w, const struct txn_op *op,
                       struct result *answer)
{
    enum err error = OK;
    switch (op->kind) {
    case TXN_RANGE:
        return answer == NULL
                   ? OK
                   : run_range(t->kv, op, w->count > 0 ? w->revision : t->kv->revision, answer);
    case TXN_PUT: {
        const struct put p = put_of(op);
        struct newest newest = {0};
        error = newest_of(t->kv, p.key, &newest);
        if (error == OK) {
            error = write_put(w, &p, &newest, answer);
        }
        break;
    }
    case TXN_DELETE_RANGE:
        error = write_delete_range(w, key_range_of(op->key, op->range_end),
                                   (op->flags & COMMAND_PREV_KV) != 0, answer, NULL);
        break;
    case TXN_TXN:
    case TXN_NONE:
        break;
    }
    if (answer != NULL) {
        answer->revision = w->count > 0 ? w->revision : t->kv->revision;
    }
    return error;
}

static enum err run(struct txn *t, struct result *result)
{
    struct write w = write_begin(t->kv);
    struct txn_course *c = &t->course;
    const struct txn_op *op = NULL;
    course_begin(c, t->body, &t->path, result);
    answer_begin(c, t->path.succeeded[0]);
    while ((op = course_next(c)) != NULL) {
        bool wanted = result != NULL && result->error == OK;
        struct result *answer = wanted ? answer_add(c, op) : NULL;
        if (op->kind == TXN_TXN) {
            bool succeeded = t->path.succeeded[c->path_at];
            course_enter(c, op->txn, succeeded, answer);
            answer_begin(c, succeeded);
            continue;
        }
        enum err error = run_op(t, &w, op, answer);
        if (error != OK) {
            return error;
        }
        answer_end(result, answer);
    }
    write_end(&w);
    return OK;
}

enum err txn_apply(struct kv *kv, struct view body, struct result *result, enum err *refusal)
{
    struct txn t = {.kv = kv};
    struct txn_decision decision = {0};
    bool decided = false;
    uint64_t budget = UINT64_MAX;

    *refusal = txn_body_decode(body, &t.body);
    if (*refusal != OK) {
        return OK;
    }
    decision_begin(&decision, t.body, kv->revision);
    enum err error = decision_step(&decision, kv, &budget, &t.path, &decided);
    ASSERT(decided || error != OK);
    if (error == OK) {
        error = refuse_writes(&t, refusal);
    }
    if (error == OK && *refusal == OK) {
        *refusal = refuse_ranges(kv, &t.course, t.body, &t.path, kv->revision);
    }
    if (error == OK && *refusal == OK) {
        error = run(&t, result);
    }
    decision_free(&decision);
    mem_free(t.path.succeeded);
    mem_free(t.body);
    return error;
}

/* ---- read ------------------------------------------------------------------------------------------------ */

enum err txn_read_begin(const struct query *q, struct result *result, struct txn_read **out)
{
    struct txn_body *body = NULL;
    enum err error = txn_body_decode(q->body, &body);
    if (error != OK) {
        return error;
    }
    if (!txn_body_is_read_only(body)) {
        mem_free(body);
        return ERR_MALFORMED;
    }
    struct txn_read *r = mem_zalloc(sizeof(*r));
    r->body = body;
    r->result = result;
    r->oldest_revision = result->revision;
    decision_begin(&r->decision, body, result->revision);
    *out = r;
    return OK;
}

uint64_t txn_read_bytes(const struct txn_read *r)
{
    return r->running ? r->range.result->bytes : 0;
}

void txn_read_free(struct txn_read **r)
{
    struct txn_read *freed = *r;
    *r = NULL;
    if (freed->running) {
        range_free(&freed->range);
    }
    decision_free(&freed->decision);
    mem_free(freed->path.succeeded);
    mem_free(freed->body);
    mem_free(freed);
}

/* A range of it may ask for an older revision than the one all else is read at. */
static int64_t oldest_of(struct txn_read *r)
{
    const struct txn_op *op = NULL;
    int64_t oldest = r->oldest_revision;
    course_begin(&r->course, r->body, &r->path, NULL);
    while ((op = course_next_leaf(&r->course, &r->path)) != NULL) {
        if (op->kind == TXN_RANGE && op->range.revision > 0 && op->range.revision < oldest) {
            oldest = op->range.revision;
        }
    }
    return oldest;
}

static enum err read_decide(struct kv *kv, struct txn_read *r, uint64_t *budget)
{
    bool decided = false;
    enum err error = decision_step(&r->decision, kv, budget, &r->path, &decided);
    if (error != OK || !decided) {
        return error;
    }
    r->decided = true;
    r->result->error = refuse_ranges(kv, &r->course, r->body, &r->path, r->result->revision);
    r->oldest_revision = oldest_of(r);
    course_begin(&r->course, r->body, &r->path, r->result);
    answer_begin(&r->course, r->path.succeeded[0]);
    return OK;
}

/* The operation of the course that comes next. False: there is none. */
static bool read_next(struct txn_read *r)
{
    const struct txn_op *op = course_next(&r->course);
    if (op == NULL) {
        return false;
    }
    struct result *answer = answer_add(&r->course, op);
    if (op->kind == TXN_TXN) {
        bool succeeded = r->path.succeeded[r->course.path_at];
        course_enter(&r->course, op->txn, succeeded, answer);
        answer_begin(&r->course, succeeded);
        return true;
    }
    answer->revision = r->result->revision;
    range_begin(&r->range, &op->range, r->result->revision, answer);
    r->running = true;
    return true;
}

enum err txn_read_step(struct kv *kv, struct txn_read *r, uint64_t *budget, bool *done)
{
    *done = false;
    if (!r->decided) {
        enum err error = read_decide(kv, r, budget);
        if (error != OK) {
            return error;
        }
    }
    while (r->decided && *budget > 0 && r->result->error == OK) {
        if (!r->running) {
            --*budget;
            if (!read_next(r)) {
                *done = true;
                return OK;
            }
            continue;
        }
        enum err error = range_step(kv, &r->range, budget);
        if (error != OK) {
            return error;
        }
        if (r->range.phase == RANGE_DONE) {
            answer_end(r->result, r->range.result);
            range_free(&r->range);
            r->running = false;
        }
    }
    *done = r->result->error != OK;
    return OK;
}
