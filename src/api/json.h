/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h: a protobuf message as JSON and back, driven by protobuf-c's descriptors alone (sheet §5.3): no
 * message has code of its own here. One direction reads a JSON object and writes protobuf's octets, as if a
 * gRPC client had sent them; the other walks the octets of an answer and writes JSON straight into a buffer.
 *
 * The rules, as etcd's gateways follow them
 *   names      out: the .proto's own (`range_end`, `ID`); in: those and lowerCamel (`rangeEnd`)
 *   bytes      base64 (base64.h)
 *   int64, uint64   out: strings; in: strings or numbers, exact over the whole range
 *   int32, uint32   out: numbers; in: numbers or strings
 *   enums      out: names (a number nobody named: the number); in: names or numbers
 *   oneof      flattened: its members stand among the other fields; one of them at most
 *   zeros      left out, but for a member of a oneof, whose presence says something
 *   unknown    fields are passed over; null stands for a field that is not there
 *
 * Invariants
 *  1. Neither direction recurses deeper than JSON_DEPTH_MAX.
 *  2. On failure the output buffer is as it was.
 */
#ifndef HOLDFAST_API_JSON_H
#define HOLDFAST_API_JSON_H

#include "base.h"
#include "json_text.h"

#include <protobuf-c/protobuf-c.h>

#define JSON_PROBLEM_MAX 160
#define JSON_FIELDS_MAX  32 /* of one message; json_knows looks */
#define JSON_NAME_MAX    63 /* of a field */

/*
 * Append the protobuf octets of a message given as a JSON object.
 *
 * text     one object, nested no deeper than JSON_DEPTH_MAX (json_stream saw to that)
 * problem  on failure: what is wrong, one line
 *
 * ERR_MALFORMED.
 */
MUST_USE enum err json_to_proto(const ProtobufCMessageDescriptor *type, struct view text,
                                struct buffer *out, char problem[JSON_PROBLEM_MAX]);

/*
 * Append a message's octets as a JSON object without blanks, fields in the order of their numbers. Of a
 * singular field that comes twice the last is taken.
 *
 * ERR_MALFORMED: no such message, or nested too deep.
 */
MUST_USE enum err json_from_proto(const ProtobufCMessageDescriptor *type, struct view message,
                                  struct buffer *out);

/* True if every field of the message, and of those inside it, has a type known here and
 * there are no more of them than fit: for tests. */
bool json_knows(const ProtobufCMessageDescriptor *type);

static inline bool json_is_oneof(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

#endif
