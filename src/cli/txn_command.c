/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_command.c: a transaction from standard input, as text (txn_text.h) or as etcd's JSON of a TxnRequest,
 * and what came of it. Nothing is sent unless the whole input could be read.
 */
#include "cli.h"
#include "txn_text.h"

#include "api/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JSON_READ_BYTES (64 * 1024)
#define JSON_BYTES_MAX  (64 * 1024 * 1024) /* the server refuses far less, with its own words */
#define NESTING_MAX     64                 /* of answers that are printed */

/* ---- input ----------------------------------------------------------------------------------------- */

static void ask(const struct cli_arguments *arguments, enum txn_part part)
{
    static const char *const prompts[] = {
        "comparisons, e.g. mod(\"key\") > \"0\"; an empty line ends them:",
        "operations if they hold (put, get, del); an empty line ends them:",
        "operations if not; an empty line ends them:"};
    if (arguments->interactive && part < TXN_COMPLETE) {
        fprintf(stderr, "%s\n", prompts[part]);
    }
}

static enum cli_exit read_text(const struct cli_arguments *arguments, struct buffer *out)
{
    struct txn_text text;
    txn_text_start(&text);
    char *line = NULL;
    size_t capacity = 0;
    unsigned line_number = 0;
    enum cli_exit code = CLI_OK;
    ask(arguments, text.part);
    while (code == CLI_OK && text.part != TXN_COMPLETE) {
        ssize_t size = getline(&line, &capacity, stdin);
        line_number++;
        if (size <= 0 || line[size - 1] != '\n') {
            fprintf(
                stderr,
                "holdfastctl: the transaction ends early: each of its three parts is ended by an "
                "empty line\n");
            code = CLI_USAGE;
            break;
        }
        size--;
        enum txn_part before = text.part;
        char problem[256];
        if (txn_text_line(&text, view_of(line, (size_t)size), problem, sizeof(problem)) != OK) {
            fprintf(stderr, "holdfastctl: line %u: %s\n", line_number, problem);
            code = arguments->interactive ? CLI_OK : CLI_USAGE; /* a person may try again */
        } else if (text.part != before) {
            ask(arguments, text.part);
        }
    }
    if (code == CLI_OK) {
        cli_pack(&text.request->base, out);
    }
    free(line);
    txn_text_free(&text);
    return code;
}

static enum cli_exit read_json(struct buffer *out)
{
    struct buffer text = {0};
    enum cli_exit code = CLI_OK;
    for (;;) {
        uint8_t *room = buffer_extend(&text, JSON_READ_BYTES);
        ssize_t count = read(STDIN_FILENO, room, JSON_READ_BYTES);
        text.size -= JSON_READ_BYTES - (count > 0 ? (size_t)count : 0);
        if (count == 0) {
            break;
        }
        if (count < 0 || text.size > JSON_BYTES_MAX) {
            fprintf(stderr, "holdfastctl: standard input cannot be read, or is too large\n");
            code = CLI_FAILED;
            break;
        }
    }
    char problem[JSON_PROBLEM_MAX] = "";
    if (code == CLI_OK && json_to_proto(&etcdserverpb__txn_request__descriptor,
                                        view_of(text.data, text.size), out, problem) != OK) {
        fprintf(stderr, "holdfastctl: not a TxnRequest in etcd's JSON: %s\n", problem);
        code = CLI_USAGE;
    }
    buffer_free(&text);
    return code;
}

/* ---- output ---------------------------------------------------------------------------------------- */

static void print_json_txn(const Etcdserverpb__TxnResponse *response, unsigned depth);

static void print_json_op(const Etcdserverpb__ResponseOp *op, unsigned depth)
{
    switch (op->response_case) {
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
        printf("{\"get\":");
        print_json_range(stdout, op->response_range);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
        printf("{\"put\":");
        print_json_put(stdout, op->response_put);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
        printf("{\"del\":");
        print_json_delete(stdout, op->response_delete_range);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN:
        printf("{\"txn\":");
        print_json_txn(op->response_txn, depth + 1);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE__NOT_SET:
    case _ETCDSERVERPB__RESPONSE_OP__RESPONSE__CASE_IS_INT_SIZE:
        printf("{");
        break;
    }
    putchar('}');
}

static void print_json_txn(const Etcdserverpb__TxnResponse *response, unsigned depth)
{
    printf("{\"revision\":%" PRId64 ",\"succeeded\":%s,\"responses\":[",
           cli_revision_of(response->header), response->succeeded ? "true" : "false");
    for (size_t i = 0; i < response->n_responses && depth < NESTING_MAX; i++) {
        if (i > 0) {
            putchar(',');
        }
        print_json_op(response->responses[i], depth);
    }
    printf("]}");
}

static void print_txn(const Etcdserverpb__TxnResponse *response, unsigned depth)
{
    printf("%s\n", response->succeeded ? "SUCCESS" : "FAILURE");
    for (size_t i = 0; i < response->n_responses && depth < NESTING_MAX; i++) {
        const Etcdserverpb__ResponseOp *op = response->responses[i];
        putchar('\n');
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            print_kvs_lines(op->response_range->kvs, op->response_range->n_kvs, true, true);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            printf("OK\n");
            if (op->response_put->prev_kv != NULL) {
                print_kvs_lines(&op->response_put->prev_kv, 1, true, true);
            }
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            printf("%" PRId64 "\n", op->response_delete_range->deleted);
            print_kvs_lines(op->response_delete_range->prev_kvs,
                            op->response_delete_range->n_prev_kvs, true, true);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN:
            print_txn(op->response_txn, depth + 1);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE__NOT_SET:
        case _ETCDSERVERPB__RESPONSE_OP__RESPONSE__CASE_IS_INT_SIZE:
            break;
        }
    }
}

enum cli_exit command_txn(const struct cli_arguments *arguments)
{
    struct buffer request = {0};
    enum cli_exit code =
        arguments->json_request ? read_json(&request) : read_text(arguments, &request);
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    if (code == CLI_OK) {
        code = cli_call(&session, "/etcdserverpb.KV/Txn", view_of(request.data, request.size), true,
                        &answer);
    }
    buffer_free(&request);
    cli_session_close(&session);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__TxnResponse *response =
        etcdserverpb__txn_response__unpack(NULL, answer.body.size, answer.body.data);
    if (response == NULL) {
        return cli_unreadable(&answer);
    }
    if (arguments->output == OUTPUT_JSON) {
        print_json_txn(response, 0);
        putchar('\n');
    } else {
        print_txn(response, 0);
    }
    code = response->succeeded ? CLI_OK : CLI_NOT_FOUND;
    etcdserverpb__txn_response__free_unpacked(response, NULL);
    bytes_free(&answer.body);
    return code;
}
