/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_json.c: messages as JSON and back (sheet §5.3): each rule by example, and every message that is
 * known with random content through both directions. That etcd's own gateway agrees is checked by
 * tests/e2e/test_web.py.
 */
#include "base.h"
#include "suite.h"

#include "json_messages.h"

#include "api/base64.h"
#include "api/json.h"
#include "api/proto.h"

#include <jansson.h>

static struct bytes taken(struct buffer *b)
{
    struct bytes all = {.data = b->data, .size = b->size};
    *b = (struct buffer){0};
    return all;
}

/* The protobuf octets of a JSON text; size SIZE_MAX: refused. */
static struct bytes read_json(const ProtobufCMessageDescriptor *type, const char *text)
{
    struct buffer out = {0};
    char problem[JSON_PROBLEM_MAX] = "";
    buffer_u8(&out, 77); /* what was there stays */
    enum err error = json_to_proto(type, view_of_text(text), &out, problem);
    CU_ASSERT_EQUAL(out.data[0], 77);
    buffer_consume(&out, 1);
    if (error != OK) {
        CU_ASSERT_EQUAL(error, ERR_MALFORMED);
        CU_ASSERT_EQUAL(out.size, 0);
        CU_ASSERT_TRUE(problem[0] != 0);
        buffer_free(&out);
        return (struct bytes){.data = NULL, .size = SIZE_MAX};
    }
    return taken(&out);
}

static bool refused(const ProtobufCMessageDescriptor *type, const char *text)
{
    struct bytes got = read_json(type, text);
    bool is = got.size == SIZE_MAX;
    if (is) {
        got.size = 0;
    }
    bytes_free(&got);
    return is;
}

/* JSON in, JSON out again. */
static bool becomes(const ProtobufCMessageDescriptor *type, const char *in, const char *expected)
{
    struct bytes octets = read_json(type, in);
    if (octets.size == SIZE_MAX) {
        return false;
    }
    struct buffer out = {0};
    CU_ASSERT_EQUAL(json_from_proto(type, bytes_view(&octets), &out), OK);
    bool equal = view_equal(view_of(out.data, out.size), view_of_text(expected));
    if (!equal) {
        (void)fprintf(stderr, "got %.*s\n", (int)out.size, (const char *)out.data);
    }
    buffer_free(&out);
    bytes_free(&octets);
    return equal;
}

#define RANGE   &etcdserverpb__range_request__descriptor
#define TXN     &etcdserverpb__txn_request__descriptor
#define COMPARE &etcdserverpb__compare__descriptor
#define WATCH   &etcdserverpb__watch_request__descriptor
#define HEADER  &etcdserverpb__response_header__descriptor
#define GRANT   &etcdserverpb__lease_grant_request__descriptor
#define MEMBERS &etcdserverpb__member_add_request__descriptor
#define HASH    &etcdserverpb__hash_response__descriptor
#define TTL     &etcdserverpb__lease_time_to_live_response__descriptor
#define WATCHED &etcdserverpb__watch_response__descriptor

static void names_go_in_both_ways(void)
{
    CU_ASSERT_TRUE(becomes(RANGE, "{\"key\":\"YQ==\",\"rangeEnd\":\"Yg==\"}",
                           "{\"key\":\"YQ==\",\"range_end\":\"Yg==\"}"));
    CU_ASSERT_TRUE(becomes(RANGE, "{\"range_end\":\"Yg==\",\"key\":\"YQ\"}",
                           "{\"key\":\"YQ==\",\"range_end\":\"Yg==\"}"));
    CU_ASSERT_TRUE(becomes(GRANT, "{\"TTL\":5,\"ID\":7}", "{\"TTL\":\"5\",\"ID\":\"7\"}"));
    CU_ASSERT_TRUE(becomes(MEMBERS, "{\"peerURLs\":[\"a\",\"\",\"b\"],\"isLearner\":true}",
                           "{\"peerURLs\":[\"a\",\"\",\"b\"],\"isLearner\":true}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"range_end\":\"Yg==\",\"rangeEnd\":\"Yg==\"}"));
    CU_ASSERT_TRUE(becomes(RANGE, "{\"none\":{\"of\":[1,2,{}]},\"key\":\"YQ==\",\"Key\":1}",
                           "{\"key\":\"YQ==\"}"));
    CU_ASSERT_TRUE(becomes(RANGE, "{\"key\":null,\"limit\":null}", "{}"));
}

/* Not one of 64 bits is lost, in either spelling. */
static void integers_are_exact(void)
{
    static const char *const numbers[] = {"1",
                                          "9007199254740993",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "13803658152347727308",
                                          "18446744073709551615"};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        char in[200];
        char out[200];
        (void)snprintf(out, sizeof out, "{\"member_id\":\"%s\"}", numbers[i]);
        (void)snprintf(in, sizeof in, "{ \"member_id\" : %s }", numbers[i]);
        CU_ASSERT_TRUE(becomes(HEADER, in, out));
        CU_ASSERT_TRUE(becomes(HEADER, out, out));
    }
    CU_ASSERT_TRUE(becomes(HEADER, "{\"revision\":-9223372036854775808}",
                           "{\"revision\":\"-9223372036854775808\"}"));
    CU_ASSERT_TRUE(becomes(HEADER, "{\"revision\":\"-1\"}", "{\"revision\":\"-1\"}"));
    CU_ASSERT_TRUE(becomes(HEADER, "{\"revision\":1e3}", "{\"revision\":\"1000\"}"));
    CU_ASSERT_TRUE(becomes(HEADER, "{\"revision\":-0}", "{}"));
    CU_ASSERT_TRUE(becomes(HASH, "{\"hash\":4294967295}", "{\"hash\":4294967295}"));
    CU_ASSERT_TRUE(becomes(HASH, "{\"hash\":\"12\"}", "{\"hash\":12}"));
    static const char *const bad[] = {"{\"revision\":9223372036854775808}",
                                      "{\"revision\":\"9223372036854775808\"}",
                                      "{\"revision\":-9223372036854775809}",
                                      "{\"member_id\":-1}",
                                      "{\"member_id\":18446744073709551616}",
                                      "{\"member_id\":184467440737095516150}",
                                      "{\"revision\":1.5}",
                                      "{\"revision\":\"\"}",
                                      "{\"revision\":\"+1\"}",
                                      "{\"revision\":\"01\"}",
                                      "{\"revision\":\"1 \"}",
                                      "{\"revision\":true}",
                                      "{\"revision\":[1]}",
                                      "{\"revision\":{}}",
                                      "{\"revision\":1e300}",
                                      "{\"revision\":01}",
                                      "{\"revision\":\"-\"}"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_TRUE(refused(HEADER, bad[i]));
    }
    CU_ASSERT_TRUE(refused(HASH, "{\"hash\":4294967296}"));
    /* a long number is a number, not a text, wherever it stands */
    CU_ASSERT_TRUE(refused(MEMBERS, "{\"peerURLs\":[18446744073709551615]}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"key\":18446744073709551615}"));
    CU_ASSERT_TRUE(becomes(MEMBERS, "{\"peerURLs\":[\"18446744073709551615 \\\" 1\"]}",
                           "{\"peerURLs\":[\"18446744073709551615 \\\" 1\"]}"));
}

static void enums_and_booleans(void)
{
    CU_ASSERT_TRUE(
        becomes(RANGE, "{\"sort_order\":\"DESCEND\",\"sortTarget\":3,\"keys_only\":true}",
                "{\"sort_order\":\"DESCEND\",\"sort_target\":\"MOD\",\"keys_only\":true}"));
    CU_ASSERT_TRUE(becomes(RANGE, "{\"sort_order\":\"NONE\",\"keys_only\":false}", "{}"));
    CU_ASSERT_TRUE(becomes(RANGE, "{\"sort_order\":99}", "{\"sort_order\":99}"));
    CU_ASSERT_TRUE(becomes(RANGE, "{\"sort_order\":-1}", "{\"sort_order\":-1}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"sort_order\":\"descend\"}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"sort_order\":99999999999}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"keys_only\":1}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"keys_only\":\"true\"}"));
    CU_ASSERT_TRUE(becomes(WATCH, "{\"create_request\":{\"filters\":[\"NODELETE\",0]}}",
                           "{\"create_request\":{\"filters\":[\"NODELETE\",\"NOPUT\"]}}"));
    CU_ASSERT_TRUE(refused(WATCH, "{\"create_request\":{\"filters\":\"NOPUT\"}}"));
    CU_ASSERT_TRUE(refused(WATCH, "{\"create_request\":{\"filters\":[null]}}"));
}

/* A member of a oneof is there even when it is empty or zero, and stands alone. */
static void oneofs_are_flattened(void)
{
    CU_ASSERT_TRUE(becomes(WATCH, "{\"progressRequest\":{}}", "{\"progress_request\":{}}"));
    CU_ASSERT_TRUE(becomes(COMPARE, "{\"key\":\"YQ==\",\"target\":\"MOD\",\"mod_revision\":0}",
                           "{\"target\":\"MOD\",\"key\":\"YQ==\",\"mod_revision\":\"0\"}"));
    CU_ASSERT_TRUE(becomes(COMPARE, "{\"value\":\"\"}", "{\"value\":\"\"}"));
    CU_ASSERT_TRUE(refused(COMPARE, "{\"version\":1,\"lease\":1}"));
    CU_ASSERT_TRUE(becomes(COMPARE, "{\"version\":null,\"lease\":1}", "{\"lease\":\"1\"}"));
    CU_ASSERT_TRUE(becomes(
        TXN,
        "{\"compare\":[{\"key\":\"YQ==\",\"result\":\"NOT_EQUAL\"}],\"success\":[{\"requestPut\":{"
        "\"key\":\"YQ==\"}},{\"request_txn\":{\"failure\":[{\"request_range\":{}}]}}]}",
        "{\"compare\":[{\"result\":\"NOT_EQUAL\",\"key\":\"YQ==\"}],\"success\":[{\"request_put\":{"
        "\"key\":\"YQ==\"}},{\"request_txn\":{\"failure\":[{\"request_range\":{}}]}}]}"));
    /* on the wire the last one wins */
    static const uint8_t two[] = {0x20, 5, 0x40, 6}; /* version = 5, lease = 6 */
    struct buffer out = {0};
    CU_ASSERT_EQUAL(json_from_proto(COMPARE, view_of(two, sizeof two), &out), OK);
    CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size), view_of_text("{\"lease\":\"6\"}")));
    buffer_free(&out);
}

static void bytes_are_base64(void)
{
    CU_ASSERT_TRUE(becomes(RANGE, "{\"key\":\"-_-_\"}", "{\"key\":\"+/+/\"}"));
    CU_ASSERT_TRUE(becomes(RANGE, "{\"key\":\"\"}", "{}"));
    CU_ASSERT_TRUE(becomes(TTL, "{\"keys\":[\"YQ==\",\"\"]}", "{\"keys\":[\"YQ==\",\"\"]}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"key\":\"a\"}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"key\":\"\\u0000\"}"));
    CU_ASSERT_TRUE(refused(RANGE, "{\"key\":5}"));
}

/* What a page might take for markup leaves escaped; what is no UTF-8 is replaced. */
static void strings_are_escaped(void)
{
    CU_ASSERT_TRUE(becomes(
        MEMBERS, "{\"peerURLs\":[\"\\u0000\\t\\\"\\\\<\\u2028\\ud83d\\ude00\\u00e9&>/\"]}",
        "{\"peerURLs\":[\"\\u0000\\t\\\"\\\\\\u003c\\u2028\xf0\x9f\x98\x80\xc3\xa9\\u0026\\u003e/"
        "\"]}"));
    struct buffer out = {0};
    json_write_string(&out, view_of_text("a\xff"
                                         "b\xe2\x82\x7f\xed\xa0\x80"));
    CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size),
                              view_of_text("\"a\xef\xbf\xbd"
                                           "b\xef\xbf\xbd\xef\xbf\xbd\\u007f"
                                           "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"")));
    buffer_free(&out);
}

static void utf8_is_told_from_the_rest(void)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc1\x80",
                                      "\xe0\x9f\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xe2\x82",
                                      "a\xff"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        CU_ASSERT_TRUE(utf8_valid(view_of_text(good[i])));
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_FALSE(utf8_valid(view_of_text(bad[i])));
    }
}

static void refuses_bad_json(void)
{
    static const char *const bad[] = {"",      "{",          "[]",         "null",
                                      "1",     "\"a\"",      "{a:1}",      "{\"a\"}",
                                      "{} {}", "{\"a\":1,}", "{\"a\":tru}"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_TRUE(refused(RANGE, bad[i]));
    }
    /* inside a message: its octets so far do not stay */
    CU_ASSERT_TRUE(
        refused(TXN, "{\"success\":[{\"request_put\":{\"key\":\"YQ==\",\"lease\":{}}}]}"));
    CU_ASSERT_TRUE(refused(TXN, "{\"success\":{}}"));
    CU_ASSERT_TRUE(refused(TXN, "{\"success\":[7]}"));
}

/* Malformed protobuf gives no JSON and no crash; and nesting has its end. */
static void malformed_octets_are_refused(void)
{
    struct buffer out = {0};
    static const uint8_t cut[] = {0x0a, 5, 'a'};
    static const uint8_t wrong[] = {0x08, 1}; /* key as a number */
    CU_ASSERT_EQUAL(json_from_proto(RANGE, view_of(cut, sizeof cut), &out), ERR_MALFORMED);
    CU_ASSERT_EQUAL(json_from_proto(RANGE, view_of(wrong, sizeof wrong), &out), ERR_MALFORMED);
    CU_ASSERT_EQUAL(out.size, 0);

    struct buffer deep = {0};
    for (size_t i = 0; i < JSON_DEPTH_MAX; i++) { /* success { request_txn { ... } } */
        uint8_t head[24];
        uint8_t *end = proto_embedded_put(head, 4, deep.size);
        struct buffer op = {0};
        buffer_append(&op, head, (size_t)(end - head));
        buffer_append(&op, deep.data, deep.size);
        end = proto_embedded_put(head, 2, op.size);
        deep.size = 0;
        buffer_append(&deep, head, (size_t)(end - head));
        buffer_append(&deep, op.data, op.size);
        buffer_free(&op);
    }
    CU_ASSERT_EQUAL(json_from_proto(TXN, view_of(deep.data, deep.size), &out), ERR_MALFORMED);
    CU_ASSERT_EQUAL(out.size, 0);
    buffer_free(&deep);
    buffer_free(&out);
}

/* ---- every message, random content -------------------------------------------------------------------- */

static void put_varint(struct buffer *out, uint64_t number)
{
    uint8_t room[10];
    buffer_append(out, room, (size_t)(proto_varint_put(room, number) - room));
}

static uint64_t random_number(uint64_t *seed)
{
    switch (random_below(seed, 4)) {
    case 0:
        return random_below(seed, 3);
    case 1:
        return UINT64_MAX - random_below(seed, 3);
    case 2:
        return (uint64_t)INT64_MAX + random_below(seed, 3);
    default:
        return random_next(seed) >> random_below(seed, 64);
    }
}

static void random_message(const ProtobufCMessageDescriptor *type, uint64_t *seed, unsigned depth,
                           struct buffer *out);

/* The canonical octets of one value: as proto3 writers write them. */
static void random_value(const ProtobufCFieldDescriptor *f, uint64_t *seed, unsigned depth,
                         bool always, struct buffer *out)
{
    uint64_t number = 0;
    struct buffer content = {0};
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        random_message(f->descriptor, seed, depth + 1, &content);
        always = true;
        break;
    case PROTOBUF_C_TYPE_BYTES:
        for (uint64_t i = random_below(seed, 20); i > 0; i--) {
            buffer_u8(&content, (uint8_t)random_next(seed));
        }
        break;
    case PROTOBUF_C_TYPE_STRING: {
        static const char *const parts[] = {"a",
                                            "\"",
                                            "\\",
                                            "\xc3\xa9",
                                            "\xe2\x82\xac",
                                            "\n",
                                            "<b>",
                                            "\xf0\x9f\x98\x80",
                                            "\x02",
                                            "9999999999999999999"};
        for (uint64_t i = random_below(seed, 5); i > 0; i--) {
            const char *part = parts[random_below(seed, ARRAY_COUNT(parts))];
            buffer_append(&content, part, strlen(part));
        }
        break;
    }
    case PROTOBUF_C_TYPE_BOOL:
        number = random_below(seed, 2);
        break;
    case PROTOBUF_C_TYPE_UINT32:
        number = (uint32_t)random_number(seed);
        break;
    case PROTOBUF_C_TYPE_INT32:
        number = (uint64_t)(int64_t)(int32_t)(uint32_t)random_number(seed);
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *e = f->descriptor;
        number = random_below(seed, 10) == 0 ? 77 : random_below(seed, e->n_values);
        break;
    }
    default:
        number = random_number(seed);
        break;
    }
    bool is_octets = f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_BYTES ||
                     f->type == PROTOBUF_C_TYPE_STRING;
    if (always || number != 0 || content.size > 0) {
        put_varint(out, (uint64_t)f->id << 3 | (is_octets ? 2 : 0));
        put_varint(out, is_octets ? content.size : number);
        if (content.size > 0) {
            buffer_append(out, content.data, content.size);
        }
    }
    buffer_free(&content);
}

static void random_message(const ProtobufCMessageDescriptor *type, uint64_t *seed, unsigned depth,
                           struct buffer *out)
{
    uint64_t member = random_next(seed); /* which one of a oneof */
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        bool is_message = f->type == PROTOBUF_C_TYPE_MESSAGE;
        bool one_of = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
        if ((is_message && depth > 4) || random_below(seed, 4) == 0) {
            continue;
        }
        if (one_of) {
            unsigned first = i;
            unsigned count = 0;
            while (first > 0 && type->fields[first - 1].quantifier_offset == f->quantifier_offset) {
                first--;
            }
            while (first + count < type->n_fields &&
                   type->fields[first + count].quantifier_offset == f->quantifier_offset) {
                count++;
            }
            if (member % count != i - first) {
                continue;
            }
        }
        uint64_t times = f->label == PROTOBUF_C_LABEL_REPEATED ? random_below(seed, 4) : 1;
        for (uint64_t n = 0; n < times; n++) {
            random_value(f, seed, depth, one_of || f->label == PROTOBUF_C_LABEL_REPEATED, out);
        }
    }
}

static void every_message_goes_both_ways(void)
{
    uint64_t seed = 20;
    for (size_t m = 0; m < ARRAY_COUNT(json_messages); m++) {
        const ProtobufCMessageDescriptor *type = json_messages[m];
        CU_ASSERT_TRUE(json_knows(type));
        for (size_t round = 0; round < 200; round++) {
            struct buffer message = {0};
            struct buffer json = {0};
            struct buffer back = {0};
            char problem[JSON_PROBLEM_MAX] = "";
            random_message(type, &seed, 0, &message);
            /* protobuf-c can read what was made up here */
            ProtobufCMessage *unpacked =
                protobuf_c_message_unpack(type, NULL, message.size, message.data);
            CU_ASSERT_PTR_NOT_NULL_FATAL(unpacked);
            protobuf_c_message_free_unpacked(unpacked, NULL);
            CU_ASSERT_EQUAL(json_from_proto(type, view_of(message.data, message.size), &json), OK);
            /* jansson can read what is written (its integers go as far as ours do) */
            json_t *tree = json_loadb((const char *)json.data, json.size, JSON_ALLOW_NUL, NULL);
            CU_ASSERT_TRUE(json_is_object(tree));
            json_decref(tree);
            CU_ASSERT_EQUAL(json_to_proto(type, view_of(json.data, json.size), &back, problem), OK);
            bool equal =
                view_equal(view_of(back.data, back.size), view_of(message.data, message.size));
            CU_ASSERT_TRUE(equal);
            if (!equal) {
                (void)fprintf(stderr, "%s: %.*s %s\n", type->name, (int)json.size,
                              (const char *)json.data, problem);
            }
            buffer_free(&message);
            buffer_free(&json);
            buffer_free(&back);
        }
    }
}

/* Flips and truncations of octets: an answer or a refusal, never more. */
static void flipped_octets_are_survived(void)
{
    uint64_t seed = 21;
    for (size_t round = 0; round < 20000; round++) {
        const ProtobufCMessageDescriptor *type =
            json_messages[random_below(&seed, ARRAY_COUNT(json_messages))];
        struct buffer message = {0};
        struct buffer json = {0};
        random_message(type, &seed, 0, &message);
        if (message.size > 0) {
            message.data[random_below(&seed, message.size)] = (uint8_t)random_next(&seed);
            size_t size = (size_t)random_below(&seed, message.size + 1);
            enum err error = json_from_proto(type, view_of(message.data, size), &json);
            CU_ASSERT_TRUE(error == OK ? json.size > 0 : error == ERR_MALFORMED);
        }
        buffer_free(&message);
        buffer_free(&json);
    }
}

/* A packed field is read as well as an unpacked one. */
static void packed_fields_are_read(void)
{
    static const uint8_t packed[] = {0x2a, 3, 0, 1, 0};
    struct buffer out = {0};
    CU_ASSERT_EQUAL(json_from_proto(&etcdserverpb__watch_create_request__descriptor,
                                    view_of(packed, sizeof packed), &out),
                    OK);
    CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size),
                              view_of_text("{\"filters\":[\"NOPUT\",\"NODELETE\",\"NOPUT\"]}")));
    out.size = 0;
    static const uint8_t cut[] = {0x2a, 2, 0, 0x81};
    CU_ASSERT_EQUAL(json_from_proto(&etcdserverpb__watch_create_request__descriptor,
                                    view_of(cut, sizeof cut), &out),
                    ERR_MALFORMED);
    buffer_free(&out);
}

SUITE("api json", TEST(names_go_in_both_ways), TEST(integers_are_exact), TEST(enums_and_booleans),
      TEST(oneofs_are_flattened), TEST(bytes_are_base64), TEST(strings_are_escaped),
      TEST(utf8_is_told_from_the_rest), TEST(refuses_bad_json), TEST(malformed_octets_are_refused),
      TEST(every_message_goes_both_ways), TEST(flipped_octets_are_survived),
      TEST(packed_fields_are_read))
