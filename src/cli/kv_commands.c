/* SPDX-License-Identifier: Apache-2.0 */
/* kv_commands.c: put, get, del. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_READ_BYTES (64 * 1024)
#define VALUE_BYTES_MAX  (64 * 1024 * 1024) /* the server refuses far less, with its own words */

static ProtobufCBinaryData binary(struct view v)
{
    union {
        const uint8_t *borrowed;
        uint8_t *octets; /* packing only reads */
    } data = {.borrowed = v.data};
    return (ProtobufCBinaryData){.len = v.size, .data = data.octets};
}

static struct view view_of_binary(const ProtobufCBinaryData *b)
{
    return view_of(b->data, b->len);
}

static enum cli_exit usage(const char *text)
{
    fprintf(stderr, "holdfastctl: usage: holdfastctl %s\n  all options: holdfastctl --help\n",
            text);
    return CLI_USAGE;
}

static enum cli_exit unreadable(struct cli_answer *answer)
{
    bytes_free(&answer->body);
    fprintf(stderr, "holdfastctl: the server's answer cannot be read; is it an etcd v3 server?\n");
    return CLI_FAILED;
}

/*
 * Key and range end as etcd knows them: KEY [RANGE_END], or --prefix, or --from-key. The end of a
 * prefix is the prefix with its last octet below 0xff raised and the rest cut. `end` is the caller's.
 */
static enum cli_exit key_range(const struct cli_arguments *arguments, struct view *key,
                               struct bytes *end)
{
    static const uint8_t zero[] = {0};
    *key = view_of_text(arguments->words[1]);
    if (arguments->word_count > 2) {
        if (arguments->prefix || arguments->from_key) {
            fprintf(stderr, "holdfastctl: RANGE_END goes with neither --prefix nor --from-key\n");
            return CLI_USAGE;
        }
        *end = bytes_copy(view_of_text(arguments->words[2]));
    } else if (arguments->from_key || (arguments->prefix && key->size == 0)) {
        *end = bytes_copy(view_of(zero, 1));
        if (key->size == 0) {
            *key = view_of(zero, 1);
        }
    } else if (arguments->prefix) {
        *end = bytes_copy(*key);
        while (end->size > 0 && end->data[end->size - 1] == 0xff) {
            end->size--;
        }
        if (end->size == 0) {
            bytes_free(end);
            *end = bytes_copy(view_of(zero, 1));
        } else {
            end->data[end->size - 1]++;
        }
    }
    return CLI_OK;
}

/* ---- printing -------------------------------------------------------------------------------------- */

static void print_octets(struct view v)
{
    if (v.size > 0) { /* data may be NULL */
        (void)fwrite(v.data, 1, v.size, stdout);
    }
}

static void json_kv(const Mvccpb__KeyValue *kv)
{
    putchar('{');
    print_json_octets(stdout, "key", view_of_binary(&kv->key));
    putchar(',');
    print_json_octets(stdout, "value", view_of_binary(&kv->value));
    printf(",\"create_revision\":%" PRId64 ",\"mod_revision\":%" PRId64 ",\"version\":%" PRId64
           ",\"lease\":%" PRId64 "}",
           kv->create_revision, kv->mod_revision, kv->version, kv->lease);
}

static void json_kvs(const char *name, Mvccpb__KeyValue *const *kvs, size_t count)
{
    printf("\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            putchar(',');
        }
        json_kv(kvs[i]);
    }
    putchar(']');
}

static void table_octets(struct table *t, struct view v)
{
    if (text_is_printable(v)) {
        table_cell(t, "%.*s", (int)v.size, (const char *)v.data);
    } else {
        table_cell(t, "(%zu octets)", v.size);
    }
}

static void print_kvs(const struct cli_arguments *arguments, Mvccpb__KeyValue *const *kvs,
                      size_t count)
{
    if (arguments->output == OUTPUT_TABLE) {
        static const char *const titles[] = {"KEY", "VALUE", "CREATED", "MODIFIED", "VERSION"};
        struct table t;
        table_start(&t, ARRAY_COUNT(titles), titles);
        for (size_t i = 0; i < count; i++) {
            table_octets(&t, view_of_binary(&kvs[i]->key));
            table_octets(&t, view_of_binary(&kvs[i]->value));
            table_cell(&t, "%" PRId64, kvs[i]->create_revision);
            table_cell(&t, "%" PRId64, kvs[i]->mod_revision);
            table_cell(&t, "%" PRId64, kvs[i]->version);
        }
        table_print(&t, stdout);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!arguments->value_only) {
            print_octets(view_of_binary(&kvs[i]->key));
            putchar('\n');
        }
        if (!arguments->keys_only) {
            print_octets(view_of_binary(&kvs[i]->value));
            putchar('\n');
        }
    }
}

static int64_t revision_of(const Etcdserverpb__ResponseHeader *header)
{
    return header == NULL ? 0 : header->revision;
}

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
        return usage("put KEY [VALUE]    (without VALUE it is read from standard input)");
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
        request.key = binary(view_of_text(arguments->words[1]));
        request.value = binary(view_of(value.data, value.size));
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
        return unreadable(&answer);
    }
    size_t count = response->prev_kv != NULL ? 1 : 0;
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"revision\":%" PRId64 ",", revision_of(response->header));
        json_kvs("previous", &response->prev_kv, count);
        printf("}\n");
    } else {
        printf("OK\n");
        print_kvs(arguments, &response->prev_kv, count);
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
        printf("{\"revision\":%" PRId64 ",\"count\":%" PRId64 ",\"more\":%s,",
               revision_of(response->header), response->count, response->more ? "true" : "false");
        json_kvs("kvs", response->kvs, response->n_kvs);
        printf("}\n");
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
        return usage("get KEY [RANGE_END]");
    }
    struct view key;
    struct bytes end = {0};
    enum cli_exit code = key_range(arguments, &key, &end);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = binary(key);
    request.range_end = binary(bytes_view(&end));
    request.limit = arguments->limit;
    request.revision = arguments->revision;
    request.keys_only = arguments->keys_only;
    request.count_only = arguments->count_only;
    request.serializable = arguments->serializable;
    request.sort_order = (Etcdserverpb__RangeRequest__SortOrder)arguments->sort_order;
    request.sort_target = (Etcdserverpb__RangeRequest__SortTarget)arguments->sort_target;
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
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
        return unreadable(&answer);
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
        return usage("del KEY [RANGE_END]");
    }
    struct view key;
    struct bytes end = {0};
    enum cli_exit code = key_range(arguments, &key, &end);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = binary(key);
    request.range_end = binary(bytes_view(&end));
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
        return unreadable(&answer);
    }
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"revision\":%" PRId64 ",\"deleted\":%" PRId64 ",", revision_of(response->header),
               response->deleted);
        json_kvs("previous", response->prev_kvs, response->n_prev_kvs);
        printf("}\n");
    } else {
        printf("%" PRId64 "\n", response->deleted);
        print_kvs(arguments, response->prev_kvs, response->n_prev_kvs);
    }
    etcdserverpb__delete_range_response__free_unpacked(response, NULL);
    bytes_free(&answer.body);
    return CLI_OK;
}
