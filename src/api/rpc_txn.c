/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_txn.c: see rpc_txn.h. A nested request waits in a list of bodies to be read instead of on the stack;
 * nested answers lie in a list in which children come behind their parents, so that sizes are added up
 * from its end.
 */
#include "rpc_txn.h"

#include "rpc_kv_fields.h"

/* ---- requests ------------------------------------------------------------------------------------- */

enum txn_field { TXN_COMPARE = 1, TXN_SUCCESS, TXN_FAILURE };

enum op_field { OP_RANGE = 1, OP_PUT, OP_DELETE_RANGE, OP_TXN };

enum compare_field {
    COMPARE_RESULT = 1,
    COMPARE_TARGET,
    COMPARE_KEY,
    COMPARE_VERSION,
    COMPARE_CREATE_REVISION,
    COMPARE_MOD_REVISION,
    COMPARE_VALUE,
    COMPARE_LEASE,
    COMPARE_RANGE_END = 64,
};

/* A body that was found and not read yet. */
struct unread {
    struct view octets;
    struct txn_body *body;
    size_t ops_max; /* of each of its lists */
};

struct builder {
    size_t total_left; /* compares and operations that may still come */
    struct unread *unread;
    size_t unread_count, unread_capacity;
    void **blocks;
    size_t block_count, block_capacity;
};

static void *take_block(struct builder *b, size_t size)
{
    void *block = mem_zalloc(size);
    ARRAY_RESERVE(b->blocks, b->block_capacity, b->block_count + 1);
    b->blocks[b->block_count++] = block;
    return block;
}

static struct txn_body *add_body(struct builder *b, struct view octets, size_t ops_max)
{
    struct txn_body *body = take_block(b, sizeof *body);
    ARRAY_RESERVE(b->unread, b->unread_capacity, b->unread_count + 1);
    b->unread[b->unread_count++] =
        (struct unread){.octets = octets, .body = body, .ops_max = ops_max};
    return body;
}

static void builder_free(struct builder *b)
{
    for (size_t i = 0; i < b->block_count; i++) {
        mem_free(b->blocks[i]);
    }
    mem_free(b->blocks);
    mem_free(b->unread);
}

/* Which member of the union belongs to a target; the others count as not there. */
static enum compare_field field_of_target(int32_t target)
{
    switch (target) {
    case TXN_VERSION:
        return COMPARE_VERSION;
    case TXN_CREATE:
        return COMPARE_CREATE_REVISION;
    case TXN_MOD:
        return COMPARE_MOD_REVISION;
    case TXN_VALUE:
        return COMPARE_VALUE;
    default: /* a number from outside, not an enum of ours */
        return COMPARE_LEASE;
    }
}

static bool read_compare(struct view in, struct txn_compare *out)
{
    uint32_t given = 0; /* the member of the union that came last */
    int32_t target = 0;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        switch (r.field) {
        case COMPARE_RESULT:
            out->result = (enum txn_compare_result)(uint32_t)proto_number(&r);
            break;
        case COMPARE_TARGET:
            target = (int32_t)proto_number(&r);
            break;
        case COMPARE_KEY:
            out->key = proto_octets(&r);
            break;
        case COMPARE_VERSION:
        case COMPARE_CREATE_REVISION:
        case COMPARE_MOD_REVISION:
        case COMPARE_LEASE:
            given = r.field;
            out->number = (int64_t)proto_number(&r);
            break;
        case COMPARE_VALUE:
            given = r.field;
            out->value = proto_octets(&r);
            break;
        case COMPARE_RANGE_END:
            out->range_end = proto_octets(&r);
            break;
        default:
            break;
        }
    }
    out->target = (enum txn_compare_target)(uint32_t)target;
    if (given != field_of_target(target) || given == COMPARE_VALUE) {
        out->number = 0;
    }
    if (given != field_of_target(target) || given != COMPARE_VALUE) {
        out->value = (struct view){0};
    }
    return !r.failed;
}

/* Another kind than before begins anew, the same kind goes on (fields of one message may come in pieces);
 * but of a nested transaction the last counts. */
static void begin_kind(struct txn_op *op, enum txn_op_kind kind)
{
    if (op->kind != kind || kind == TXN_TXN) {
        *op = (struct txn_op){.kind = kind};
    }
}

/* *nested: octets of a nested transaction, if that is what the operation is. */
static bool read_op(struct view in, struct txn_op *op, struct view *nested)
{
    struct proto_reader r = proto_reader_of(in);
    bool good = true;
    while (good && proto_next(&r)) {
        struct command c;
        struct view octets;
        switch (r.field) {
        case OP_RANGE:
            octets = proto_octets(&r);
            begin_kind(op, TXN_RANGE);
            good = kv_fields_range(octets, &op->range);
            break;
        case OP_PUT:
            octets = proto_octets(&r);
            begin_kind(op, TXN_PUT);
            c = (struct command){.op = COMMAND_PUT,
                                 .flags = op->flags,
                                 .lease = op->lease,
                                 .key = op->key,
                                 .value = op->value};
            good = kv_fields_put(octets, &c);
            op->flags = c.flags;
            op->lease = c.lease;
            op->key = c.key;
            op->value = c.value;
            break;
        case OP_DELETE_RANGE:
            octets = proto_octets(&r);
            begin_kind(op, TXN_DELETE_RANGE);
            c = (struct command){.op = COMMAND_DELETE_RANGE,
                                 .flags = op->flags,
                                 .key = op->key,
                                 .range_end = op->range_end};
            good = kv_fields_delete_range(octets, &c);
            op->flags = c.flags;
            op->key = c.key;
            op->range_end = c.range_end;
            break;
        case OP_TXN:
            *nested = proto_octets(&r);
            begin_kind(op, TXN_TXN);
            break;
        default:
            break;
        }
    }
    return good && !r.failed;
}

static size_t most_of(const struct txn_body *body)
{
    size_t most = body->compare_count;
    if (body->success_count > most) {
        most = body->success_count;
    }
    return body->failure_count > most ? body->failure_count : most;
}

/* How long the three lists are, and room for them. */
static enum err size_lists(struct builder *b, const struct unread *from)
{
    struct txn_body *body = from->body;
    struct proto_reader r = proto_reader_of(from->octets);
    while (proto_next(&r)) {
        body->compare_count += r.field == TXN_COMPARE;
        body->success_count += r.field == TXN_SUCCESS;
        body->failure_count += r.field == TXN_FAILURE;
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    size_t total = body->compare_count + body->success_count + body->failure_count;
    if (most_of(body) > from->ops_max || total > b->total_left) {
        return ERR_TOO_MANY_OPS;
    }
    b->total_left -= total;
    body->compares = take_block(b, body->compare_count * sizeof *body->compares);
    body->success = take_block(b, body->success_count * sizeof *body->success);
    body->failure = take_block(b, body->failure_count * sizeof *body->failure);
    return OK;
}

static enum err read_body(struct builder *b, struct unread from)
{
    struct txn_body *body = from.body;
    enum err error = size_lists(b, &from);
    if (error != OK) {
        return error;
    }
    size_t left = from.ops_max - most_of(body); /* etcd's rule for what is nested */
    struct txn_compare *compare = body->compares;
    struct txn_op *success = body->success;
    struct txn_op *failure = body->failure;
    bool good = true;
    struct proto_reader r = proto_reader_of(from.octets);
    while (good && proto_next(&r)) {
        struct view octets;
        struct view nested;
        struct txn_op *op;
        switch (r.field) {
        case TXN_COMPARE:
            octets = proto_octets(&r);
            good = !r.failed && read_compare(octets, compare++);
            break;
        case TXN_SUCCESS:
        case TXN_FAILURE:
            octets = proto_octets(&r);
            op = r.field == TXN_SUCCESS ? success++ : failure++;
            good = !r.failed && read_op(octets, op, &nested);
            if (good && op->kind == TXN_TXN) {
                op->txn = add_body(b, nested, left);
            }
            break;
        default:
            break;
        }
    }
    return good && !r.failed ? OK : ERR_MALFORMED;
}

enum err rpc_txn_decode(struct view in, size_t ops_max, size_t request_bytes_max,
                        struct txn_request *out)
{
    struct builder b = {.total_left = RPC_TXN_TOTAL_FACTOR * ops_max};
    struct buffer encoded = {0};
    struct txn_body *body = add_body(&b, in, ops_max);
    enum err error = OK;
    while (b.unread_count > 0 && error == OK) {
        error = read_body(&b, b.unread[--b.unread_count]);
    }
    if (error == OK) {
        error = txn_body_check(body, ops_max);
    }
    if (error != OK) {
        goto out;
    }
    txn_body_encode(body, &encoded);
    struct txn_request request = {
        .body = {.data = encoded.data, .size = encoded.size},
        .first_key = txn_body_first_key(body),
        .read_only = txn_body_is_read_only(body),
        .serializable = txn_body_is_serializable(body),
    };
    struct command command = {
        .op = COMMAND_TXN, .key = request.first_key, .body = bytes_view(&request.body)};
    if (!request.read_only && command_size(&command) > request_bytes_max) {
        buffer_free(&encoded);
        error = ERR_TOO_LARGE;
        goto out;
    }
    *out = request;
out:
    builder_free(&b);
    return error;
}

enum err rpc_compact_decode(struct view in, struct command *out)
{
    enum { COMPACT_REVISION = 1, COMPACT_PHYSICAL };
    struct command c = {.op = COMMAND_COMPACT};
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == COMPACT_REVISION) {
            c.revision = (int64_t)proto_number(&r);
        } else if (r.field == COMPACT_PHYSICAL) {
            c.flags = proto_number(&r) != 0 ? COMMAND_PHYSICAL : 0;
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *out = c;
    return OK;
}

/* ---- responses ------------------------------------------------------------------------------------ */

enum { RESPONSE_SUCCEEDED = 2, RESPONSE_RESPONSES = 3 };

/* An answer of a transaction in the tree of answers. */
struct txn_node {
    const struct result *result;
    size_t first_child; /* its nested transactions' answers lie side by side from here on */
    size_t size;        /* without its own tag and length */
};

/* The header of an answer inside: the revision and nothing else. */
static struct response_header inner_header(const struct result *result)
{
    return (struct response_header){.revision = result->revision};
}

static size_t inner_size(const struct result_response *response)
{
    struct response_header header = inner_header(response->result);
    switch (response->kind) {
    case TXN_RANGE:
        return rpc_range_size(&header, response->result);
    case TXN_PUT:
        return rpc_put_size(&header, response->result);
    case TXN_DELETE_RANGE:
        return rpc_delete_range_size(&header, response->result);
    case TXN_TXN:
    case TXN_NONE:
        break;
    }
    ASSERT(response->kind == TXN_RANGE);
    return 0;
}

static void inner_write(const struct result_response *response, uint8_t *out)
{
    struct response_header header = inner_header(response->result);
    switch (response->kind) {
    case TXN_RANGE:
        rpc_range_write(&header, response->result, out);
        return;
    case TXN_PUT:
        rpc_put_write(&header, response->result, out);
        return;
    case TXN_DELETE_RANGE:
        rpc_delete_range_write(&header, response->result, out);
        return;
    case TXN_TXN:
    case TXN_NONE:
        break;
    }
    ASSERT(response->kind == TXN_RANGE);
}

static void add_node(struct txn_sizes *sizes, const struct result *result)
{
    ARRAY_RESERVE(sizes->nodes, sizes->capacity, sizes->count + 1);
    sizes->nodes[sizes->count++] = (struct txn_node){.result = result};
}

static unsigned field_of_kind(enum txn_op_kind kind)
{
    return (unsigned)kind; /* ResponseOp numbers its members as RequestOp, and so do we */
}
_Static_assert((int)TXN_RANGE == (int)OP_RANGE && (int)TXN_PUT == (int)OP_PUT &&
                   (int)TXN_DELETE_RANGE == (int)OP_DELETE_RANGE && (int)TXN_TXN == (int)OP_TXN,
               "kinds are the numbers of the union's members");

size_t rpc_txn_size(const struct response_header *header, const struct result *result,
                    struct txn_sizes *sizes)
{
    ASSERT(sizes->count == 0);
    add_node(sizes, result);
    for (size_t i = 0; i < sizes->count; i++) {
        const struct result *of = sizes->nodes[i].result;
        sizes->nodes[i].first_child = sizes->count;
        for (size_t k = 0; k < of->response_count; k++) {
            if (of->responses[k].kind == TXN_TXN) {
                add_node(sizes, of->responses[k].result);
            }
        }
    }
    for (size_t i = sizes->count; i-- > 0;) {
        struct txn_node *node = &sizes->nodes[i];
        size_t child = node->first_child;
        /* a nested answer has a header, but an empty one */
        node->size = proto_embedded_size(i == 0 ? rpc_header_size(header) : 0) +
                     proto_uint_size(node->result->succeeded);
        for (size_t k = 0; k < node->result->response_count; k++) {
            const struct result_response *response = &node->result->responses[k];
            size_t inner =
                response->kind == TXN_TXN ? sizes->nodes[child++].size : inner_size(response);
            node->size += proto_embedded_size(proto_embedded_size(inner));
        }
    }
    return sizes->nodes[0].size;
}

/* Where writing a node was left for one of its children. */
struct writing {
    size_t node, next_response, next_child;
};

void rpc_txn_write(const struct response_header *header, const struct result *result,
                   struct txn_sizes *sizes, uint8_t *out)
{
    static const struct response_header empty;
    struct writing *stack = NULL;
    size_t depth = 0;
    size_t capacity = 0;
    size_t entered = 0;
    ASSERT(sizes->count > 0);
    ASSERT(sizes->nodes[0].result == result);
    for (bool entering = true; entering || depth > 0;) {
        if (entering) {
            const struct txn_node *node = &sizes->nodes[entered];
            ARRAY_RESERVE(stack, capacity, depth + 1);
            stack[depth++] = (struct writing){.node = entered, .next_child = node->first_child};
            out = rpc_header_put(out, entered == 0 ? header : &empty);
            out = proto_uint_put(out, RESPONSE_SUCCEEDED, node->result->succeeded);
            entering = false;
        }
        struct writing *at = &stack[depth - 1];
        const struct result *of = sizes->nodes[at->node].result;
        if (at->next_response == of->response_count) {
            depth--;
            continue;
        }
        const struct result_response *response = &of->responses[at->next_response++];
        unsigned field = field_of_kind(response->kind);
        size_t inner = 0;
        if (response->kind == TXN_TXN) {
            entered = at->next_child++;
            inner = sizes->nodes[entered].size;
            entering = true;
        } else {
            inner = inner_size(response);
        }
        out = proto_embedded_put(out, RESPONSE_RESPONSES, proto_embedded_size(inner));
        out = proto_embedded_put(out, field, inner);
        if (!entering) {
            inner_write(response, out);
            out += inner;
        }
    }
    mem_free(stack);
    rpc_txn_sizes_free(sizes);
}

void rpc_txn_sizes_free(struct txn_sizes *sizes)
{
    mem_free(sizes->nodes);
    *sizes = (struct txn_sizes){0};
}
