/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_grpc.c: what a hostile client may put into a gRPC body and header fields: message framing in any
 * pieces, the hot requests' protobuf, paths, timeouts, content types. libFuzzer; each input is one body
 * whose first octet says in which pieces it comes.
 */
#include "base.h"

#include "api/method.h"
#include "api/rpc_kv.h"
#include "api/rpc_members.h"
#include "api/rpc_node.h"
#include "net/grpc.h"

#include <string.h>

#define MESSAGE_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct view message)
{
    struct command command;
    struct query query;
    bool flag;
    if (rpc_put_decode(message, MESSAGE_MAX, &command) == OK) {
        ASSERT(command.key.size > 0);
        ASSERT(command_size(&command) <= MESSAGE_MAX);
    }
    if (rpc_delete_range_decode(message, MESSAGE_MAX, &command) == OK) {
        ASSERT(command.key.size > 0);
    }
    if (rpc_range_decode(message, &query) == OK) {
        ASSERT(query.key.size > 0);
        ASSERT(query.sort_target <= SORT_VALUE);
    }
    enum err seen[] = {rpc_status_decode(message), rpc_member_list_decode(message, &flag),
                       rpc_health_decode(message, &flag)};
    for (size_t i = 0; i < ARRAY_COUNT(seen); i++) {
        ASSERT(seen[i] == OK || seen[i] == ERR_MALFORMED);
    }
}

static void read_body(struct view in, size_t piece)
{
    struct grpc_reader r = {0};
    bool going = true;
    for (size_t at = 0; going && at < in.size; at += piece) {
        struct view part = view_of(in.data + at, in.size - at < piece ? in.size - at : piece);
        struct view message;
        enum grpc_read got;
        while (going && (got = grpc_reader_next(&r, &part, &message)) != GRPC_READ_MORE) {
            if (got == GRPC_READ_SIZE && r.size <= MESSAGE_MAX) {
                grpc_reader_admit(&r);
            } else if (got == GRPC_READ_MESSAGE) {
                decode(message);
            } else {
                going = false;
            }
        }
    }
    grpc_reader_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    read_body(view_of(data + 1, size - 1), (size_t)data[0] + 1);
    decode(view_of(data + 1, size - 1));

    char text[256];
    size_t text_size = size < sizeof text ? size - 1 : sizeof text - 1;
    memcpy(text, data + 1, text_size);
    text[text_size] = 0;
    uint64_t timeout_us = 0;
    if (grpc_timeout_parse(text, &timeout_us) == OK) {
        ASSERT(timeout_us <= UINT64_C(99999999) * 3600 * 1000000);
    }
    struct view echo;
    if (grpc_content_type(text, &echo)) {
        ASSERT(echo.size <= sizeof text);
    }
    char encoded[GRPC_MESSAGE_MAX];
    ASSERT(grpc_message_encode(text, encoded) <= GRPC_MESSAGE_MAX);
    bool known;
    (void)method_find(view_of_text(text), &known);
    char unknown[64];
    grpc_unknown_text(text, known, unknown, sizeof unknown);
    return 0;
}
