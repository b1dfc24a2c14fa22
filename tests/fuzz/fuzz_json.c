/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_json.c: whatever octets come as a JSON body, in whatever pieces, and whatever protobuf octets are
 * shown as JSON. What was read as JSON once reads back the same from what is written of it.
 * The first octet names the message, the second how the rest is used.
 */
#include "base.h"

#include "../unit/api/json_messages.h"

#include "api/base64.h"
#include "api/json.h"

#define SIZE_LIMIT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_object(const ProtobufCMessageDescriptor *type, struct view text)
{
    struct buffer first = {0};
    struct buffer json = {0};
    struct buffer second = {0};
    char problem[JSON_PROBLEM_MAX] = "";
    ASSERT(text.size <= SIZE_LIMIT);
    if (json_to_proto(type, text, &first, problem) == OK) {
        enum err error = json_from_proto(type, view_of(first.data, first.size), &json);
        ASSERT(error == OK);
        error = json_to_proto(type, view_of(json.data, json.size), &second, problem);
        ASSERT(error == OK);
        ASSERT(view_equal(view_of(first.data, first.size), view_of(second.data, second.size)));
    } else {
        ASSERT(problem[0] != 0);
        ASSERT(first.size == 0);
    }
    buffer_free(&first);
    buffer_free(&json);
    buffer_free(&second);
}

static void read_stream(const ProtobufCMessageDescriptor *type, struct view all, size_t piece)
{
    struct json_stream s = {.size_max = SIZE_LIMIT};
    bool good = true;
    while (good && all.size > 0) {
        struct view in = view_of(all.data, all.size < piece ? all.size : piece);
        all.data += in.size;
        all.size -= in.size;
        struct view object;
        enum json_read got;
        while ((got = json_stream_next(&s, &in, &object)) == JSON_READ_OBJECT) {
            read_object(type, object);
        }
        good = got == JSON_READ_MORE;
        ASSERT(!good || in.size == 0);
    }
    json_stream_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = json_messages[data[0] % ARRAY_COUNT(json_messages)];
    struct view rest = view_of(data + 2, size - 2);
    if (data[1] >= 64) {
        read_stream(type, rest, (size_t)data[1] - 63);
        return 0;
    }
    struct buffer json = {0};
    enum err error = json_from_proto(type, rest, &json);
    ASSERT(error == OK || json.size == 0);
    ASSERT(error != OK || utf8_valid(view_of(json.data, json.size)));
    buffer_free(&json);
    if (rest.size <= SIZE_LIMIT) {
        uint8_t room[SIZE_LIMIT];
        size_t got = 0;
        error = base64_read(rest, room, &got);
        ASSERT(error != OK || got <= base64_octets_max(rest.size));
    }
    return 0;
}
