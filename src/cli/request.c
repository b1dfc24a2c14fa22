/* SPDX-License-Identifier: Apache-2.0 */
/* request.c: what the commands need to make requests and to look at answers. */
#include "cli.h"

#include "net/grpc.h"

#include <string.h>

ProtobufCBinaryData cli_binary(struct view v)
{
    union {
        const uint8_t *borrowed;
        uint8_t *octets; /* packing only reads */
    } data = {.borrowed = v.data};
    return (ProtobufCBinaryData){.len = v.size, .data = data.octets};
}

struct view cli_view(const ProtobufCBinaryData *b)
{
    return view_of(b->data, b->len);
}

int64_t cli_revision_of(const Etcdserverpb__ResponseHeader *header)
{
    return header == NULL ? 0 : header->revision;
}

enum cli_exit cli_refused(const char *endpoint, int status, const char *text)
{
    fprintf(stderr, "holdfastctl: %s: %s%s\n", endpoint, text,
            status == GRPC_UNIMPLEMENTED ? "\n  this server does not have that call yet" : "");
    return CLI_FAILED;
}

enum cli_exit cli_usage(const char *text)
{
    fprintf(stderr, "holdfastctl: usage: holdfastctl %s\n  all options: holdfastctl --help\n",
            text);
    return CLI_USAGE;
}

enum cli_exit cli_unreadable(struct cli_answer *answer)
{
    bytes_free(&answer->body);
    fprintf(stderr, "holdfastctl: the server's answer cannot be read; is it an etcd v3 server?\n");
    return CLI_FAILED;
}

void cli_pack(const ProtobufCMessage *message, struct buffer *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    /* An empty message has no octets, but is one: room that is not used keeps `data` from being NULL. */
    (void)protobuf_c_message_pack(message, buffer_extend(out, size + 1));
    out->size--;
}

const char *cli_key_end(struct view *key, const struct view *range_end, bool prefix, bool from_key,
                        struct bytes *end)
{
    static const uint8_t zero[] = {0};
    if (range_end != NULL && (prefix || from_key)) {
        return "RANGE_END goes with neither --prefix nor --from-key";
    }
    if (prefix && from_key) {
        return "--prefix and --from-key exclude each other";
    }
    if (range_end != NULL) {
        *end = bytes_copy(*range_end);
    } else if (from_key || (prefix && key->size == 0)) {
        *end = bytes_copy(view_of(zero, 1));
        if (key->size == 0) {
            *key = view_of(zero, 1);
        }
    } else if (prefix) {
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
    return NULL;
}

enum cli_exit cli_key_range(const struct cli_arguments *arguments, struct view *key,
                            struct bytes *end)
{
    *key = view_of_text(arguments->words[1]);
    struct view range_end = {0};
    if (arguments->word_count > 2) {
        range_end = view_of_text(arguments->words[2]);
    }
    const char *problem = cli_key_end(key, arguments->word_count > 2 ? &range_end : NULL,
                                      arguments->prefix, arguments->from_key, end);
    if (problem != NULL) {
        fprintf(stderr, "holdfastctl: %s\n", problem);
        return CLI_USAGE;
    }
    return CLI_OK;
}
