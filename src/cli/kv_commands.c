/* SPDX-License-Identifier: Apache-2.0 */
/* kv_commands.c: put, get, del, compact. */
#include "cli.h"

#include <string.h>
#include <unistd.h>

#define VALUE_READ_BYTES (64 * 1024)
#define VALUE_BYTES_MAX  (64 * 1024 * 1024) /* the server refuses far less, with its own words */

/* ---- put ------------------------------------------------------------------------------------------- */

static enum cli_exit read_value(struct buffer *out)
{
    for (;;) {
        uint8_t *room = buffer_extend(out, VALUE_READ_BYTES);
        ssize_t count = read(STDIN_FILENO, room, VALUE_READ_BYTES);
        out->size -= VALUE_READ_BYTES - (count > 0 ? (size_t)count : 0);
        if (count == 0) {
            return CLI_OK;
        }
        if (count < 0 || out->size > VALUE_BYTES_MAX) {
            fprintf(stderr,
                    "holdfastctl: the value cannot be read from standard input, or is too large\n");
            return CLI_FAILED;
        }
    }
}

enum cli_exit command_put(const struct cli_arguments *arguments)
{
    if (arguments->word_count < 2 || arguments->word_count > 3) {
        return cli_usage("put KEY [VALUE]    (without VALUE it is read from standard input)");
    }
    struct buffer value = {0};
    enum cli_exit code = CLI_OK;
    if (arguments->word_count == 3) {
        buffer_append(&value, arguments->words[2], strlen(arguments->words[2]));
    } else if (!arguments->ignore_value) {
        code = read_value(&value);
    }
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    if (code == CLI_OK) {
        Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
        request.key = cli_binary(view_of_text(arguments->words[1]));
        request.value = cli_binary(view_of(value.data, value.size));
        request.lease = arguments->lease;
        request.prev_kv = arguments->previous;
        request.ignore_value = arguments->ignore_value;
        request.ignore_lease = arguments->ignore_lease;
        code = cli_call_message(&session, "/etcdserverpb.KV/Put", &request.base, true, &answer);
    }
    buffer_free(&value);
    cli_session_close(&session);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__PutResponse *response =
        etcdserverpb__put_response__unpack(NULL, answer.body.size, answer.body.data);
    if (response == NULL) {
        return cli_unreadable(&answer);
    }
    if (arguments->output == OUTPUT_JSON) {
        print_json_put(stdout, response);
        putchar('\n');
    } else {
        printf("OK\n");
        print_kvs(arguments, &response->prev_kv, response->prev_kv != NULL ? 1 : 0);
    }
    etcdserverpb__put_response__free_unpacked(response, NULL);
    bytes_free(&answer.body);
    return CLI_OK;
}

/* ---- get ------------------------------------------------------------------------------------------- */

static enum cli_exit print_range(const struct cli_arguments *arguments,
                                 const Etcdserverpb__RangeResponse *response, bool single)
{
    if (arguments->output == OUTPUT_JSON) {
        print_json_range(stdout, response);
        putchar('\n');
    } else if (arguments->count_only) {
        printf("%" PRId64 "\n", response->count);
    } else {
        print_kvs(arguments, response->kvs, response->n_kvs);
        if (response->more) {
            fprintf(stderr, "holdfastctl: %zu of %" PRId64 " keys; raise --limit for more\n",
                    response->n_kvs, response->count);
        }
    }
    return single && response->count == 0 ? CLI_NOT_FOUND : CLI_OK;
}

enum cli_exit command_get(const struct cli_arguments *arguments)
{
    if (arguments->word_count < 2 || arguments->word_count > 3) {
        return cli_usage("get KEY [RANGE_END]");
    }
    struct view key;
    struct bytes end = {0};
    enum cli_exit code = cli_key_range(arguments, &key, &end);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = cli_binary(key);
    request.range_end = cli_binary(bytes_view(&end));
    request.limit = arguments->limit;
    request.revision = arguments->revision;
    request.keys_only = arguments->keys_only;
    request.count_only = arguments->count_only;
    if (arguments->serializable && arguments->max_staleness_ms > 0) {
        bytes_free(&end);
        return cli_usage("get KEY [RANGE_END] with --serializable or --max-staleness, not both");
    }
    request.serializable = arguments->serializable;
    request.sort_order = (Etcdserverpb__RangeRequest__SortOrder)arguments->sort_order;
    request.sort_target = (Etcdserverpb__RangeRequest__SortTarget)arguments->sort_target;
    request.min_mod_revision = arguments->min_mod_revision;
    request.max_mod_revision = arguments->max_mod_revision;
    request.min_create_revision = arguments->min_create_revision;
    request.max_create_revision = arguments->max_create_revision;
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    session.max_staleness_ms = arguments->max_staleness_ms;
    code = cli_call_message(&session, "/etcdserverpb.KV/Range", &request.base, false, &answer);
    cli_session_close(&session);
    bool single = end.size == 0;
    bytes_free(&end);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__RangeResponse *response =
        etcdserverpb__range_response__unpack(NULL, answer.body.size, answer.body.data);
    if (response == NULL) {
        return cli_unreadable(&answer);
    }
    code = print_range(arguments, response, single);
    etcdserverpb__range_response__free_unpacked(response, NULL);
    bytes_free(&answer.body);
    return code;
}

/* ---- del ------------------------------------------------------------------------------------------- */

enum cli_exit command_del(const struct cli_arguments *arguments)
{
    if (arguments->word_count < 2 || arguments->word_count > 3) {
        return cli_usage("del KEY [RANGE_END]");
    }
    struct view key;
    struct bytes end = {0};
    enum cli_exit code = cli_key_range(arguments, &key, &end);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = cli_binary(key);
    request.range_end = cli_binary(bytes_view(&end));
    request.prev_kv = arguments->previous;
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    code = cli_call_message(&session, "/etcdserverpb.KV/DeleteRange", &request.base, true, &answer);
    cli_session_close(&session);
    bytes_free(&end);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__DeleteRangeResponse *response =
        etcdserverpb__delete_range_response__unpack(NULL, answer.body.size, answer.body.data);
    if (response == NULL) {
        return cli_unreadable(&answer);
    }
    if (arguments->output == OUTPUT_JSON) {
        print_json_delete(stdout, response);
        putchar('\n');
    } else {
        printf("%" PRId64 "\n", response->deleted);
        print_kvs(arguments, response->prev_kvs, response->n_prev_kvs);
    }
    etcdserverpb__delete_range_response__free_unpacked(response, NULL);
    bytes_free(&answer.body);
    return CLI_OK;
}

/* ---- compact --------------------------------------------------------------------------------------- */

enum cli_exit command_compact(const struct cli_arguments *arguments)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    if (arguments->word_count != 2 ||
        !cli_parse_number(arguments->words[1], 0, INT64_MAX, &request.revision)) {
        return cli_usage("compact REVISION [--physical]");
    }
    request.physical = arguments->physical;
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    enum cli_exit code =
        cli_call_message(&session, "/etcdserverpb.KV/Compact", &request.base, true, &answer);
    cli_session_close(&session);
    bytes_free(&answer.body);
    if (code != CLI_OK) {
        return code;
    }
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"compacted\":%" PRId64 "}\n", request.revision);
    } else {
        printf("compacted revision %" PRId64 "\n", request.revision);
    }
    return CLI_OK;
}
