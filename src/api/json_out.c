/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_out.c: json.h, from protobuf's octets to JSON. The octets are read in place, without a tree in
 * between: once to see which fields are there, then field by field.
 */
#include "json.h"

#include "base64.h"
#include "proto.h"

/* What was found of one field. */
struct found {
    bool present;
    uint64_t number;
    struct view octets;
};

static enum err write_message(const ProtobufCMessageDescriptor *type, struct view message,
                              struct buffer *out, unsigned depth);

static bool is_varint(const ProtobufCFieldDescriptor *field)
{
    return field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_BYTES &&
           field->type != PROTOBUF_C_TYPE_STRING;
}

static void write_quoted_name(struct buffer *out, const char *name)
{
    buffer_u8(out, '"');
    json_write_raw(out, name);
    buffer_u8(out, '"');
}

static enum err write_number(const ProtobufCFieldDescriptor *field, uint64_t number,
                             struct buffer *out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        json_write_raw(out, number != 0 ? "true" : "false");
        return OK;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumValue *value =
            protobuf_c_enum_descriptor_get_value(field->descriptor, (int)(uint32_t)number);
        if (value != NULL) {
            write_quoted_name(out, value->name);
        } else {
            json_write_i64(out, (int32_t)(uint32_t)number);
        }
        return OK;
    }
    case PROTOBUF_C_TYPE_INT32:
        json_write_i64(out, (int32_t)(uint32_t)number);
        return OK;
    case PROTOBUF_C_TYPE_UINT32:
        json_write_u64(out, (uint32_t)number);
        return OK;
    case PROTOBUF_C_TYPE_INT64:
        buffer_u8(out, '"');
        json_write_i64(out, (int64_t)number);
        buffer_u8(out, '"');
        return OK;
    case PROTOBUF_C_TYPE_UINT64:
        buffer_u8(out, '"');
        json_write_u64(out, number);
        buffer_u8(out, '"');
        return OK;
    default: /* protobuf-c's enum: what json_knows does not know */
        return ERR_MALFORMED;
    }
}

static enum err write_value(const ProtobufCFieldDescriptor *field, const struct found *value,
                            struct buffer *out, unsigned depth)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return write_message(field->descriptor, value->octets, out, depth + 1);
    case PROTOBUF_C_TYPE_BYTES:
        buffer_u8(out, '"');
        base64_write(out, value->octets);
        buffer_u8(out, '"');
        return OK;
    case PROTOBUF_C_TYPE_STRING:
        json_write_string(out, value->octets);
        return OK;
    default: /* protobuf-c's enum */
        return write_number(field, value->number, out);
    }
}

static void write_name(const ProtobufCFieldDescriptor *field, bool *first, struct buffer *out)
{
    if (!*first) {
        buffer_u8(out, ',');
    }
    *first = false;
    write_quoted_name(out, field->name);
    buffer_u8(out, ':');
}

/* Elements of a packed field lie in one piece. */
static enum err write_packed(const ProtobufCFieldDescriptor *field, struct view octets, bool *any,
                             struct buffer *out)
{
    struct proto_reader elements = proto_reader_of(octets);
    uint64_t number = 0;
    while (proto_packed_next(&elements, &number)) {
        if (*any) {
            buffer_u8(out, ',');
        }
        *any = true;
        enum err error = write_number(field, number, out);
        if (error != OK) {
            return error;
        }
    }
    return elements.failed ? ERR_MALFORMED : OK;
}

static enum err write_repeated(const ProtobufCFieldDescriptor *field, struct view message,
                               struct buffer *out, unsigned depth)
{
    struct proto_reader r = proto_reader_of(message);
    bool any = false;
    buffer_u8(out, '[');
    while (proto_next(&r)) {
        if (r.field != field->id) {
            continue;
        }
        enum err error = OK;
        if (is_varint(field) && r.wire == PROTO_BYTES) {
            error = write_packed(field, r.octets, &any, out);
        } else {
            struct found element = {.number = r.number, .octets = r.octets};
            if (any) {
                buffer_u8(out, ',');
            }
            any = true;
            error = write_value(field, &element, out, depth);
        }
        if (error != OK) {
            return error;
        }
    }
    buffer_u8(out, ']');
    return OK;
}

static bool is_wire_of(const ProtobufCFieldDescriptor *field, enum proto_wire wire)
{
    if (!is_varint(field)) {
        return wire == PROTO_BYTES;
    }
    return wire == PROTO_VARINT ||
           (wire == PROTO_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED); /* packed */
}

/* Look through the message once: what of each field is there. */
static enum err find_fields(const ProtobufCMessageDescriptor *type, struct view message,
                            struct found found[JSON_FIELDS_MAX])
{
    struct proto_reader r = proto_reader_of(message);
    unsigned guess = 0; /* fields mostly come in order */
    while (proto_next(&r)) {
        unsigned i = guess;
        for (unsigned step = 0; step < type->n_fields;
             step++, i = i + 1 < type->n_fields ? i + 1 : 0) {
            if (type->fields[i].id == r.field) {
                break;
            }
        }
        if (type->n_fields == 0 || type->fields[i].id != r.field) {
            continue;
        }
        guess = i;
        if (!is_wire_of(&type->fields[i], r.wire)) {
            return ERR_MALFORMED;
        }
        for (unsigned j = 0; json_is_oneof(&type->fields[i]) && j < type->n_fields; j++) {
            if (json_is_oneof(&type->fields[j]) &&
                type->fields[j].quantifier_offset == type->fields[i].quantifier_offset) {
                found[j].present = false;
            }
        }
        found[i] = (struct found){.present = true, .number = r.number, .octets = r.octets};
    }
    return r.failed ? ERR_MALFORMED : OK;
}

static bool is_zero(const ProtobufCFieldDescriptor *field, const struct found *f)
{
    return is_varint(field) ? f->number == 0
                            : field->type != PROTOBUF_C_TYPE_MESSAGE && f->octets.size == 0;
}

static enum err write_message(const ProtobufCMessageDescriptor *type, struct view message,
                              struct buffer *out, unsigned depth)
{
    struct found found[JSON_FIELDS_MAX] = {0};
    bool first = true;
    ASSERT(type->n_fields <= JSON_FIELDS_MAX);
    if (depth > JSON_DEPTH_MAX) {
        return ERR_MALFORMED;
    }
    enum err error = find_fields(type, message, found);
    if (error != OK) {
        return error;
    }
    buffer_u8(out, '{');
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (!found[i].present) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            write_name(field, &first, out);
            error = write_repeated(field, message, out, depth);
        } else if (json_is_oneof(field) || !is_zero(field, &found[i])) {
            write_name(field, &first, out);
            error = write_value(field, &found[i], out, depth);
        }
        if (error != OK) {
            return error;
        }
    }
    buffer_u8(out, '}');
    return OK;
}

enum err json_from_proto(const ProtobufCMessageDescriptor *type, struct view message,
                         struct buffer *out)
{
    size_t start = out->size;
    enum err error = write_message(type, message, out, 0);
    if (error != OK) {
        out->size = start;
    }
    return error;
}

/* ---- descriptors ------------------------------------------------------------------------------------ */

static bool knows(const ProtobufCMessageDescriptor *type, unsigned depth)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        switch (field->type) {
        case PROTOBUF_C_TYPE_MESSAGE:
            /* messages that contain themselves are looked at a few times */
            if (depth < 8 && !knows(field->descriptor, depth + 1)) {
                return false;
            }
            break;
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_BOOL:
        case PROTOBUF_C_TYPE_ENUM:
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_BYTES:
            break;
        default: /* protobuf-c's enum */
            return false;
        }
    }
    return type->n_fields <= JSON_FIELDS_MAX;
}

bool json_knows(const ProtobufCMessageDescriptor *type)
{
    return knows(type, 0);
}
