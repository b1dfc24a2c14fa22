/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_in.c: json.h, from JSON to protobuf's octets. It stands on jansson, whose integers are int64: an
 * integer literal outside that range (a member id may well be one) is put into quotes with a mark in front
 * before jansson sees it, and read from the string then.
 */
#include "json.h"

#include "base64.h"
#include "proto.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LONG_DIGITS 18 /* any integer of so many digits fits int64 */
#define MARK        '\x01'

struct reading {
    struct buffer *out;
    char *problem;
    unsigned depth;
};

static enum err fail(struct reading *r, const char *format, ...) PRINTF_LIKE(2, 3);

static enum err fail(struct reading *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(r->problem, JSON_PROBLEM_MAX, format, arguments);
    va_end(arguments);
    return ERR_MALFORMED;
}

static enum err wrong_type(struct reading *r, const ProtobufCFieldDescriptor *field,
                           const char *expected)
{
    return fail(r, "field \"%s\": %s expected", field->name, expected);
}

static void put_varint(struct buffer *out, uint64_t number)
{
    uint8_t room[10];
    buffer_append(out, room, (size_t)(proto_varint_put(room, number) - room));
}

static void put_tag(struct buffer *out, const ProtobufCFieldDescriptor *field, enum proto_wire wire)
{
    put_varint(out, (uint64_t)field->id << 3 | (unsigned)wire);
}

/* lowerCamel of a .proto name: underscores go, the letter behind one becomes a capital. */
static void camel_name(const char *name, char out[JSON_NAME_MAX + 1])
{
    size_t used = 0;
    bool capital = false;
    for (; *name != 0 && used < JSON_NAME_MAX; name++) {
        if (*name == '_') {
            capital = true;
            continue;
        }
        char c = *name;
        out[used++] = capital && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        capital = false;
    }
    out[used] = 0;
}

struct integer {
    bool negative;
    uint64_t magnitude;
};

/* "-?(0|[1-9][0-9]*)" */
static bool parse_integer(const char *text, size_t size, struct integer *out)
{
    size_t at = 0;
    if (size > 0 && text[0] == MARK) {
        at++;
    }
    bool negative = at < size && text[at] == '-';
    at += negative ? 1 : 0;
    if (at == size || (text[at] == '0' && at + 1 < size)) {
        return false;
    }
    uint64_t value = 0;
    for (; at < size; at++) {
        if (text[at] < '0' || text[at] > '9' || value > UINT64_MAX / 10) {
            return false;
        }
        uint64_t digit = (uint64_t)(text[at] - '0');
        value *= 10;
        if (value > UINT64_MAX - digit) {
            return false;
        }
        value += digit;
    }
    *out = (struct integer){negative && value != 0, value};
    return true;
}

/* An integer of a JSON number or string; reals only if they stand for an exact integer. */
static bool take_integer(const json_t *value, struct integer *out)
{
    if (json_is_integer(value)) {
        int64_t number = json_integer_value(value);
        out->negative = number < 0;
        out->magnitude = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
        return true;
    }
    if (json_is_real(value)) {
        double number = json_real_value(value);
        if (!(number > -9007199254740992.0 && number < 9007199254740992.0) ||
            (double)(int64_t)number != number) {
            return false;
        }
        int64_t exact = (int64_t)number;
        out->negative = exact < 0;
        out->magnitude = exact < 0 ? 0 - (uint64_t)exact : (uint64_t)exact;
        return true;
    }
    return json_is_string(value) &&
           parse_integer(json_string_value(value), json_string_length(value), out);
}

/* The varint of a number of the field's type; false: it is none or does not fit. */
static bool take_number(const ProtobufCFieldDescriptor *field, const json_t *value, uint64_t *out)
{
    struct integer n;
    if (!take_integer(value, &n)) {
        return false;
    }
    bool is_signed = field->type == PROTOBUF_C_TYPE_INT32 || field->type == PROTOBUF_C_TYPE_INT64 ||
                     field->type == PROTOBUF_C_TYPE_ENUM;
    bool is_long = field->type == PROTOBUF_C_TYPE_INT64 || field->type == PROTOBUF_C_TYPE_UINT64;
    uint64_t most = is_signed ? (is_long ? INT64_MAX : INT32_MAX)
                    : is_long ? UINT64_MAX
                              : UINT32_MAX;
    uint64_t most_negative = is_signed ? most + 1 : 0;
    if (n.magnitude > (n.negative ? most_negative : most)) {
        return false;
    }
    *out = n.negative ? 0 - n.magnitude : n.magnitude;
    return true;
}

static bool take_enum(const ProtobufCFieldDescriptor *field, const json_t *value, uint64_t *out)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    if (json_is_string(value)) {
        const ProtobufCEnumValue *found =
            protobuf_c_enum_descriptor_get_value_by_name(type, json_string_value(value));
        if (found == NULL) {
            return false;
        }
        *out = (uint64_t)(int64_t)found->value;
        return true;
    }
    return take_number(field, value, out);
}

static enum err put_message(struct reading *r, const ProtobufCMessageDescriptor *type,
                            const json_t *value);

/* Tag, size and content of a message inside another; its size is known when it is written. */
static enum err put_embedded(struct reading *r, const ProtobufCFieldDescriptor *field,
                             const json_t *value)
{
    if (!json_is_object(value)) {
        return wrong_type(r, field, "an object");
    }
    if (++r->depth > JSON_DEPTH_MAX) {
        return fail(r, "field \"%s\": nested too deep", field->name);
    }
    put_tag(r->out, field, PROTO_BYTES);
    size_t start = r->out->size;
    enum err error = put_message(r, field->descriptor, value);
    r->depth--;
    if (error != OK) {
        return error;
    }
    uint8_t head[10];
    size_t size = r->out->size - start;
    size_t head_size = (size_t)(proto_varint_put(head, size) - head);
    (void)buffer_extend(r->out, head_size);
    memmove(r->out->data + start + head_size, r->out->data + start, size);
    memcpy(r->out->data + start, head, head_size);
    return OK;
}

/* One value: a singular field's, or an element's. `always`: write a zero too. */
static enum err put_value(struct reading *r, const ProtobufCFieldDescriptor *field,
                          const json_t *value, bool always)
{
    uint64_t number = 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return put_embedded(r, field, value);
    case PROTOBUF_C_TYPE_BYTES: {
        if (!json_is_string(value)) {
            return wrong_type(r, field, "a text in base64");
        }
        size_t text_size = json_string_length(value);
        size_t size = 0;
        size_t start = r->out->size;
        uint8_t *room = mem_alloc(base64_octets_max(text_size));
        enum err error = base64_read(view_of(json_string_value(value), text_size), room, &size);
        if (error == OK && (size > 0 || always)) {
            put_tag(r->out, field, PROTO_BYTES);
            put_varint(r->out, size);
            buffer_append(r->out, room, size);
        }
        mem_free(room);
        ASSERT(r->out->size >= start);
        return error == OK ? OK : wrong_type(r, field, "a text in base64");
    }
    case PROTOBUF_C_TYPE_STRING: {
        if (!json_is_string(value) || json_string_value(value)[0] == MARK) {
            return wrong_type(r, field, "a text");
        }
        size_t size = json_string_length(value);
        if (size > 0 || always) {
            put_tag(r->out, field, PROTO_BYTES);
            put_varint(r->out, size);
            buffer_append(r->out, json_string_value(value), size);
        }
        return OK;
    }
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(value)) {
            return wrong_type(r, field, "true or false");
        }
        number = json_is_true(value) ? 1 : 0;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        if (!take_enum(field, value, &number)) {
            return wrong_type(r, field, "a name or number of its enum");
        }
        break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        if (!take_number(field, value, &number)) {
            return wrong_type(r, field, "a whole number in range");
        }
        break;
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return wrong_type(r, field, "nothing"); /* no message of ours has these: test_json.c */
    }
    if (number != 0 || always) {
        put_tag(r->out, field, PROTO_VARINT);
        put_varint(r->out, number);
    }
    return OK;
}

static const json_t *find_value(struct reading *r, const ProtobufCFieldDescriptor *field,
                                const json_t *object, enum err *error)
{
    char camel[JSON_NAME_MAX + 1];
    camel_name(field->name, camel);
    const json_t *value = json_object_get(object, field->name);
    if (strcmp(camel, field->name) != 0) {
        const json_t *other = json_object_get(object, camel);
        if (value != NULL && other != NULL) {
            *error = fail(r, "field \"%s\" is given twice", field->name);
            return NULL;
        }
        value = value != NULL ? value : other;
    }
    return json_is_null(value) ? NULL : value;
}

static enum err put_field(struct reading *r, const ProtobufCFieldDescriptor *field,
                          const json_t *value)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        return put_value(r, field, value, json_is_oneof(field));
    }
    if (!json_is_array(value)) {
        return wrong_type(r, field, "an array");
    }
    /* Elements are written one by one, unpacked: every reader of proto3 takes both forms. */
    for (size_t i = 0; i < json_array_size(value); i++) {
        enum err error = put_value(r, field, json_array_get(value, i), true);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

static enum err put_message(struct reading *r, const ProtobufCMessageDescriptor *type,
                            const json_t *value)
{
    const ProtobufCFieldDescriptor *chosen[JSON_FIELDS_MAX];
    size_t chosen_count = 0;
    ASSERT(type->n_fields <= JSON_FIELDS_MAX);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        enum err error = OK;
        const json_t *content = find_value(r, field, value, &error);
        if (error == OK && content != NULL && json_is_oneof(field)) {
            for (size_t j = 0; j < chosen_count; j++) {
                if (chosen[j]->quantifier_offset == field->quantifier_offset) {
                    return fail(r, "\"%s\" and \"%s\" cannot be given together", chosen[j]->name,
                                field->name);
                }
            }
            chosen[chosen_count++] = field;
        }
        if (error == OK && content != NULL) {
            error = put_field(r, field, content);
        }
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

static bool is_of_number(uint8_t octet)
{
    return (octet >= '0' && octet <= '9') || octet == '+' || octet == '-' || octet == '.' ||
           octet == 'e' || octet == 'E';
}

/* Copy the text; integers that may not fit int64 become marked strings. */
static void prepare(struct view text, struct buffer *out)
{
    bool in_string = false;
    bool escaped = false;
    size_t copied = 0;
    for (size_t at = 0; at < text.size; at++) {
        char c = (char)text.data[at];
        if (in_string) {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if (c == '"') {
            in_string = true;
            continue;
        }
        if (c != '-' && (c < '0' || c > '9')) {
            continue;
        }
        size_t end = at;
        bool whole = true;
        for (; end < text.size && is_of_number(text.data[end]); end++) {
            whole = whole && (end == at || (text.data[end] >= '0' && text.data[end] <= '9'));
        }
        size_t digits = end - at - (c == '-' ? 1 : 0);
        if (whole && digits > LONG_DIGITS && text.data[end - digits] != '0') {
            buffer_append(out, text.data + copied, at - copied);
            json_write_raw(out, "\"\\u0001");
            buffer_append(out, text.data + at, end - at);
            buffer_u8(out, '"');
            copied = end;
        }
        at = end - 1;
    }
    if (text.size > copied) {
        buffer_append(out, text.data + copied, text.size - copied);
    }
}

enum err json_to_proto(const ProtobufCMessageDescriptor *type, struct view text, struct buffer *out,
                       char problem[JSON_PROBLEM_MAX])
{
    struct reading r = {.out = out, .problem = problem};
    struct buffer prepared = {0};
    size_t start = out->size;
    json_error_t cause;
    prepare(text, &prepared);
    json_t *value = json_loadb((const char *)prepared.data, prepared.size, JSON_ALLOW_NUL, &cause);
    enum err error = OK;
    if (value == NULL) {
        error = fail(&r, "line %d, column %d: %s", cause.line, cause.column, cause.text);
    } else if (!json_is_object(value)) {
        error = fail(&r, "an object is expected");
    } else {
        error = put_message(&r, type, value);
    }
    if (error != OK) {
        out->size = start;
    }
    json_decref(value);
    buffer_free(&prepared);
    return error;
}
