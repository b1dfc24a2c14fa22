/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_text.c: see txn_text.h. Messages are built as protobuf-c's own unpacking would build them, so that
 * its free function takes them apart.
 */
#include "txn_text.h"

#include "cli.h"
#include "txn_words.h"

#include <string.h>

/* ---- octets to messages ---------------------------------------------------------------------------- */

static ProtobufCBinaryData moved(struct bytes *from)
{
    ProtobufCBinaryData to = {.len = from->size, .data = from->data};
    *from = (struct bytes){0};
    if (to.len == 0) {
        mem_free(to.data);
        to.data = NULL;
    }
    return to;
}

static bool number_of(const struct txn_word *word, bool lease, int64_t least, int64_t *out)
{
    char text[32];
    if (word->octets.size == 0 || word->octets.size >= sizeof(text) ||
        memchr(word->octets.data, '\0', word->octets.size) != NULL) {
        return false;
    }
    memcpy(text, word->octets.data, word->octets.size);
    text[word->octets.size] = '\0';
    return lease ? cli_parse_lease(text, out) : cli_parse_number(text, least, INT64_MAX, out);
}

static bool is_text(const struct txn_word *word, const char *text)
{
    return view_equal(bytes_view(&word->octets), view_of_text(text));
}

static void free_words(struct txn_word *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bytes_free(&words[i].octets);
    }
}

/* ---- comparisons ----------------------------------------------------------------------------------- */

struct target {
    const char *name;
    Etcdserverpb__Compare__CompareTarget target;
    Etcdserverpb__Compare__TargetUnionCase union_case;
};

#define TARGET(text, target_name, union_name)                                                      \
    {                                                                                              \
        text, ETCDSERVERPB__COMPARE__COMPARE_TARGET__##target_name,                                \
            ETCDSERVERPB__COMPARE__TARGET_UNION_##union_name                                       \
    }

static const struct target targets[] = {
    TARGET("version", VERSION, VERSION),
    TARGET("ver", VERSION, VERSION),
    TARGET("create", CREATE, CREATE_REVISION),
    TARGET("c", CREATE, CREATE_REVISION),
    TARGET("mod", MOD, MOD_REVISION),
    TARGET("m", MOD, MOD_REVISION),
    TARGET("value", VALUE, VALUE),
    TARGET("val", VALUE, VALUE),
    TARGET("lease", LEASE, LEASE),
};

/* TARGET( */
static const struct target *take_target(struct view *in)
{
    const uint8_t *open = in->size == 0 ? NULL : memchr(in->data, '(', in->size);
    if (open == NULL) {
        return NULL;
    }
    struct view name = view_of(in->data, (size_t)(open - in->data));
    while (name.size > 0 && name.data[name.size - 1] == ' ') {
        name.size--;
    }
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        if (view_equal(name, view_of_text(targets[i].name))) {
            *in = view_of(open + 1, in->size - (size_t)(open + 1 - in->data));
            return &targets[i];
        }
    }
    return NULL;
}

static bool take_octet(struct view *in, uint8_t octet)
{
    txn_skip_blanks(in);
    if (in->size == 0 || in->data[0] != octet) {
        return false;
    }
    *in = view_of(in->data + 1, in->size - 1);
    return true;
}

static bool take_operator(struct view *in, Etcdserverpb__Compare__CompareResult *out)
{
    if (take_octet(in, '=')) {
        *out = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
        return true;
    }
    if (take_octet(in, '<')) {
        *out = ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS;
        return true;
    }
    if (take_octet(in, '>')) {
        *out = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER;
        return true;
    }
    *out = ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL;
    return take_octet(in, '!') && in->size > 0 && in->data[0] == '=' && take_octet(in, '=');
}

/* Fill a comparison from its words; NULL, or why not. Takes the words' octets. */
static const char *fill_compare(Etcdserverpb__Compare *compare, const struct target *target,
                                struct txn_word *key, struct txn_word *range_end,
                                struct txn_word *value)
{
    compare->target = target->target;
    compare->target_union_case = target->union_case;
    int64_t number = 0;
    if (target->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE) {
        compare->value = moved(&value->octets);
    } else {
        bool lease = target->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE;
        if (!number_of(value, lease, INT64_MIN, &number)) {
            compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION__NOT_SET;
            return lease ? "a lease is compared with a hexadecimal number"
                         : "versions and revisions are compared with a decimal number";
        }
        switch (target->union_case) {
        case ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION:
            compare->version = number;
            break;
        case ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION:
            compare->create_revision = number;
            break;
        case ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION:
            compare->mod_revision = number;
            break;
        case ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE:
        case ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE:
        case ETCDSERVERPB__COMPARE__TARGET_UNION__NOT_SET:
        case _ETCDSERVERPB__COMPARE__TARGET_UNION__CASE_IS_INT_SIZE:
            compare->lease = number;
            break;
        }
    }
    compare->key = moved(&key->octets);
    compare->range_end = moved(&range_end->octets);
    return NULL;
}

static const char *parse_compare(struct view line, Etcdserverpb__Compare *compare)
{
    static const char form[] =
        "a comparison is TARGET(\"KEY\") OP \"VALUE\" with a TARGET of version, "
        "create, mod, value or lease and an OP of = != < >";
    struct txn_word key = {0}, range_end = {0}, value = {0};
    const char *problem = NULL;
    const struct target *target = take_target(&line);
    if (target == NULL) {
        return form;
    }
    txn_skip_blanks(&line);
    if (txn_word_take(&line, "),", &key, &problem) == OK && take_octet(&line, ',')) {
        txn_skip_blanks(&line);
        enum err error = txn_word_take(&line, ")", &range_end, &problem);
        UNUSED(error); /* `problem` says it */
    }
    if (problem == NULL && (!take_octet(&line, ')') || !take_operator(&line, &compare->result))) {
        problem = form;
    }
    if (problem == NULL) {
        txn_skip_blanks(&line);
        if (line.size == 0) {
            problem = form;
        } else if (txn_word_take(&line, "", &value, &problem) == OK) {
            txn_skip_blanks(&line);
            problem = line.size > 0 ? "after the value nothing follows"
                                    : fill_compare(compare, target, &key, &range_end, &value);
        }
    }
    bytes_free(&key.octets);
    bytes_free(&range_end.octets);
    bytes_free(&value.octets);
    return problem;
}

/* ---- operations ------------------------------------------------------------------------------------ */

enum op_kind { OP_PUT = 1, OP_GET = 2, OP_DEL = 4 };

struct op_options {
    bool prefix, from_key, previous, ignore_value, ignore_lease, keys_only, count_only,
        serializable;
    int64_t lease, limit, revision, order, target;
    int64_t min_mod_revision, max_mod_revision, min_create_revision, max_create_revision;
};

/* One option: which operations have it, and where its value goes. A flag has no value. */
struct op_option {
    const char *name;
    size_t offset;
    unsigned kinds;
    enum { VALUE_FLAG, VALUE_DECIMAL, VALUE_HEX, VALUE_ORDER, VALUE_TARGET } value;
};

#define OPTION(text, kinds, field, value)                                                          \
    {                                                                                              \
        text, offsetof(struct op_options, field), kinds, value                                     \
    }

static const struct op_option op_options[] = {
    OPTION("--prefix", OP_GET | OP_DEL, prefix, VALUE_FLAG),
    OPTION("--from-key", OP_GET | OP_DEL, from_key, VALUE_FLAG),
    OPTION("--prev-kv", OP_PUT | OP_DEL, previous, VALUE_FLAG),
    OPTION("--ignore-value", OP_PUT, ignore_value, VALUE_FLAG),
    OPTION("--ignore-lease", OP_PUT, ignore_lease, VALUE_FLAG),
    OPTION("--keys-only", OP_GET, keys_only, VALUE_FLAG),
    OPTION("--count-only", OP_GET, count_only, VALUE_FLAG),
    OPTION("--serializable", OP_GET, serializable, VALUE_FLAG),
    OPTION("--lease", OP_PUT, lease, VALUE_HEX),
    OPTION("--limit", OP_GET, limit, VALUE_DECIMAL),
    OPTION("--rev", OP_GET, revision, VALUE_DECIMAL),
    OPTION("--order", OP_GET, order, VALUE_ORDER),
    OPTION("--sort-by", OP_GET, target, VALUE_TARGET),
    OPTION("--min-mod-rev", OP_GET, min_mod_revision, VALUE_DECIMAL),
    OPTION("--max-mod-rev", OP_GET, max_mod_revision, VALUE_DECIMAL),
    OPTION("--min-create-rev", OP_GET, min_create_revision, VALUE_DECIMAL),
    OPTION("--max-create-rev", OP_GET, max_create_revision, VALUE_DECIMAL),
};

static bool set_option(const struct op_option *option, const struct txn_word *value,
                       struct op_options *out)
{
    int64_t *number = (int64_t *)(void *)((uint8_t *)out + option->offset);
    char text[16] = "";
    if (value->octets.size < sizeof(text) && value->octets.size > 0) {
        memcpy(text, value->octets.data, value->octets.size);
    }
    switch (option->value) {
    case VALUE_FLAG:
        *(bool *)((uint8_t *)out + option->offset) = true;
        return true;
    case VALUE_DECIMAL:
        return number_of(value, false, 0, number);
    case VALUE_HEX:
        return number_of(value, true, 0, number);
    case VALUE_ORDER:
        return (*number = cli_parse_word(text, cli_sort_orders)) >= 0;
    case VALUE_TARGET:
        return (*number = cli_parse_word(text, cli_sort_targets)) >= 0;
    }
    return false;
}

/* words[*at] is an option; its value is behind '=' or the next word. NULL, or why not. */
static const char *take_option(const struct txn_word *words, size_t count, size_t *at,
                               enum op_kind kind, struct op_options *out)
{
    struct view word = bytes_view(&words[*at].octets);
    const uint8_t *equals = memchr(word.data, '=', word.size);
    struct view name =
        view_of(word.data, equals == NULL ? word.size : (size_t)(equals - word.data));
    for (size_t i = 0; i < ARRAY_COUNT(op_options); i++) {
        const struct op_option *option = &op_options[i];
        if (!view_equal(name, view_of_text(option->name)) || (option->kinds & kind) == 0) {
            continue;
        }
        struct txn_word value = {0};
        if (option->value == VALUE_FLAG) {
            if (equals != NULL) {
                return "this option takes no value";
            }
        } else if (equals != NULL) {
            size_t used = name.size + 1;
            value.octets = bytes_copy(view_of(word.data + used, word.size - used));
        } else if (*at + 1 < count) {
            (*at)++;
            value.octets = bytes_copy(bytes_view(&words[*at].octets));
        }
        bool set = set_option(option, &value, out);
        bytes_free(&value.octets);
        return set ? NULL : "an option's value is missing or no valid one";
    }
    return "this operation has no such option";
}

static const char *make_put(struct txn_word *plain, size_t count, const struct op_options *options,
                            Etcdserverpb__RequestOp *op)
{
    if (count != 2 && !(count == 1 && options->ignore_value)) {
        return "a put is: put KEY VALUE [--lease ID] [--prev-kv] [--ignore-value] [--ignore-lease]";
    }
    Etcdserverpb__PutRequest *put = mem_alloc(sizeof(*put));
    etcdserverpb__put_request__init(put);
    put->key = moved(&plain[0].octets);
    if (count == 2) {
        put->value = moved(&plain[1].octets);
    }
    put->lease = options->lease;
    put->prev_kv = options->previous;
    put->ignore_value = options->ignore_value;
    put->ignore_lease = options->ignore_lease;
    op->request_put = put;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    return NULL;
}

/* Key and range end of get and del; NULL, or why not. */
static const char *take_range(struct txn_word *plain, size_t count,
                              const struct op_options *options, ProtobufCBinaryData *key,
                              ProtobufCBinaryData *range_end)
{
    struct view key_view = bytes_view(&plain[0].octets);
    struct view end_view = count > 1 ? bytes_view(&plain[1].octets) : view_of(NULL, 0);
    struct bytes end = {0};
    const char *problem = cli_key_end(&key_view, count > 1 ? &end_view : NULL, options->prefix,
                                      options->from_key, &end);
    if (problem == NULL) {
        struct bytes own_key = bytes_copy(key_view);
        *key = moved(&own_key);
        *range_end = moved(&end);
    }
    return problem;
}

static const char *make_get(struct txn_word *plain, size_t count, const struct op_options *options,
                            Etcdserverpb__RequestOp *op)
{
    ProtobufCBinaryData key = {0}, range_end = {0};
    if (count < 1 || count > 2) {
        return "a get is: get KEY [RANGE_END] with the options of holdfastctl get";
    }
    const char *problem = take_range(plain, count, options, &key, &range_end);
    if (problem != NULL) {
        return problem;
    }
    Etcdserverpb__RangeRequest *get = mem_alloc(sizeof(*get));
    etcdserverpb__range_request__init(get);
    get->key = key;
    get->range_end = range_end;
    get->limit = options->limit;
    get->revision = options->revision;
    get->sort_order = (Etcdserverpb__RangeRequest__SortOrder)options->order;
    get->sort_target = (Etcdserverpb__RangeRequest__SortTarget)options->target;
    get->serializable = options->serializable;
    get->keys_only = options->keys_only;
    get->count_only = options->count_only;
    get->min_mod_revision = options->min_mod_revision;
    get->max_mod_revision = options->max_mod_revision;
    get->min_create_revision = options->min_create_revision;
    get->max_create_revision = options->max_create_revision;
    op->request_range = get;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    return NULL;
}

static const char *make_del(struct txn_word *plain, size_t count, const struct op_options *options,
                            Etcdserverpb__RequestOp *op)
{
    ProtobufCBinaryData key = {0}, range_end = {0};
    if (count < 1 || count > 2) {
        return "a del is: del KEY [RANGE_END] [--prefix] [--from-key] [--prev-kv]";
    }
    const char *problem = take_range(plain, count, options, &key, &range_end);
    if (problem != NULL) {
        return problem;
    }
    Etcdserverpb__DeleteRangeRequest *del = mem_alloc(sizeof(*del));
    etcdserverpb__delete_range_request__init(del);
    del->key = key;
    del->range_end = range_end;
    del->prev_kv = options->previous;
    op->request_delete_range = del;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    return NULL;
}

static const char *make_op(struct txn_word *words, size_t count, Etcdserverpb__RequestOp *op)
{
    static const char form[] = "an operation is a line with put, get or del";
    enum op_kind kind = OP_PUT;
    if (is_text(&words[0], "get")) {
        kind = OP_GET;
    } else if (is_text(&words[0], "del")) {
        kind = OP_DEL;
    } else if (!is_text(&words[0], "put")) {
        return form;
    }
    struct op_options options = {0};
    struct txn_word *plain[TXN_WORDS_MAX];
    size_t plain_count = 0;
    bool options_over = false; /* after -- all words are plain */
    for (size_t i = 1; i < count; i++) {
        struct view word = bytes_view(&words[i].octets);
        bool dashes = !words[i].quoted && !options_over && word.size >= 2 && word.data[0] == '-' &&
                      word.data[1] == '-';
        if (!dashes) {
            plain[plain_count++] = &words[i];
        } else if (word.size == 2) {
            options_over = true;
        } else {
            const char *problem = take_option(words, count, &i, kind, &options);
            if (problem != NULL) {
                return problem;
            }
        }
    }
    struct txn_word key_and_second[2] = {0};
    for (size_t i = 0; i < plain_count && i < 2; i++) {
        key_and_second[i] = *plain[i];
        *plain[i] = (struct txn_word){0};
    }
    const char *problem = NULL;
    switch (kind) {
    case OP_PUT:
        problem = make_put(key_and_second, plain_count, &options, op);
        break;
    case OP_GET:
        problem = make_get(key_and_second, plain_count, &options, op);
        break;
    case OP_DEL:
        problem = make_del(key_and_second, plain_count, &options, op);
        break;
    }
    free_words(key_and_second, 2);
    return problem;
}

static const char *parse_op(struct view line, Etcdserverpb__RequestOp *op)
{
    struct txn_word words[TXN_WORDS_MAX] = {0};
    size_t count = 0;
    const char *problem = NULL;
    while (problem == NULL && line.size > 0) {
        if (count == TXN_WORDS_MAX) {
            problem = "too many words in one line";
        } else if (txn_word_take(&line, "", &words[count], &problem) == OK) {
            count++;
            txn_skip_blanks(&line);
        }
    }
    if (problem == NULL) {
        problem = make_op(words, count, op);
    }
    free_words(words, count);
    return problem;
}

/* ---- lines ----------------------------------------------------------------------------------------- */

static const char *add_compare(struct txn_text *t, struct view line)
{
    Etcdserverpb__TxnRequest *request = t->request;
    Etcdserverpb__Compare *compare = mem_alloc(sizeof(*compare));
    etcdserverpb__compare__init(compare);
    const char *problem = parse_compare(line, compare);
    if (problem != NULL) {
        etcdserverpb__compare__free_unpacked(compare, NULL);
        return problem;
    }
    ARRAY_RESERVE(request->compare, t->compare_capacity, request->n_compare + 1);
    request->compare[request->n_compare++] = compare;
    return NULL;
}

static const char *add_op(struct txn_text *t, struct view line)
{
    Etcdserverpb__TxnRequest *request = t->request;
    Etcdserverpb__RequestOp *op = mem_alloc(sizeof(*op));
    etcdserverpb__request_op__init(op);
    const char *problem = parse_op(line, op);
    if (problem != NULL) {
        etcdserverpb__request_op__free_unpacked(op, NULL);
        return problem;
    }
    if (t->part == TXN_SUCCESS) {
        ARRAY_RESERVE(request->success, t->success_capacity, request->n_success + 1);
        request->success[request->n_success++] = op;
    } else {
        ARRAY_RESERVE(request->failure, t->failure_capacity, request->n_failure + 1);
        request->failure[request->n_failure++] = op;
    }
    return NULL;
}

void txn_text_start(struct txn_text *t)
{
    memset(t, 0, sizeof(*t));
    t->request = mem_alloc(sizeof(*t->request));
    etcdserverpb__txn_request__init(t->request);
}

void txn_text_free(struct txn_text *t)
{
    if (t->request != NULL) {
        etcdserverpb__txn_request__free_unpacked(t->request, NULL);
        t->request = NULL;
    }
}

enum err txn_text_line(struct txn_text *t, struct view line, char *problem, size_t problem_size)
{
    const Etcdserverpb__TxnRequest *request = t->request;
    size_t entries = t->part == TXN_COMPARES  ? request->n_compare
                     : t->part == TXN_SUCCESS ? request->n_success
                                              : request->n_failure;
    txn_skip_blanks(&line);
    if (t->part == TXN_COMPLETE) {
        if (line.size == 0) {
            return OK;
        }
        (void)snprintf(problem, problem_size, "text after the third blank line");
        return ERR_MALFORMED;
    }
    if (line.size == 0) {
        t->part++;
        return OK;
    }
    if (line.size > TXN_LINE_BYTES_MAX || entries >= TXN_ENTRIES_MAX) {
        (void)snprintf(problem, problem_size, "the transaction is too large");
        return ERR_TOO_LARGE;
    }
    const char *wrong = t->part == TXN_COMPARES ? add_compare(t, line) : add_op(t, line);
    if (wrong != NULL) {
        (void)snprintf(problem, problem_size, "%s", wrong);
        return ERR_MALFORMED;
    }
    return OK;
}
