/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text.c: see json_text.h. RFC 8259.
 */
#include "json_text.h"

#include <stdio.h>
#include <string.h>

/* ---- UTF-8 ------------------------------------------------------------------------------------------ */

size_t utf8_next(struct view v, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = v.data[0];
    if (first < 0x80) {
        *code = first;
        return 1;
    }
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || v.size < size) {
        return 0;
    }
    uint32_t value = first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((v.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (v.data[i] & 0x3f);
    }
    if (value < least[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    *code = value;
    return size;
}

bool utf8_valid(struct view octets)
{
    while (octets.size > 0) {
        uint32_t code;
        size_t size = utf8_next(octets, &code);
        if (size == 0) {
            return false;
        }
        octets.data += size;
        octets.size -= size;
    }
    return true;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

void json_write_raw(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

void json_write_u64(struct buffer *out, uint64_t number)
{
    uint8_t text[20];
    size_t at = sizeof text;
    do {
        text[--at] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(out, text + at, sizeof text - at);
}

void json_write_i64(struct buffer *out, int64_t number)
{
    if (number < 0) {
        buffer_u8(out, '-');
        json_write_u64(out, 0 - (uint64_t)number);
    } else {
        json_write_u64(out, (uint64_t)number);
    }
}

static bool is_plain(uint32_t code)
{
    return code >= 0x20 && code != '"' && code != '\\' && code != '<' && code != '>' &&
           code != '&' && code != 0x7f && code != 0x2028 && code != 0x2029;
}

static void write_escape(struct buffer *out, uint32_t code)
{
    char text[8];
    const char *names = "\"\"\\\\\bb\ff\nn\rr\tt";
    const char *name = names;
    while (*name != 0 && (uint32_t)(uint8_t)name[0] != code) {
        name += 2;
    }
    if (*name != 0) {
        buffer_u8(out, '\\');
        buffer_u8(out, (uint8_t)name[1]);
        return;
    }
    int size = snprintf(text, sizeof text, "\\u%04x", (unsigned)code);
    ASSERT(size == 6);
    buffer_append(out, text, 6);
}

void json_write_string(struct buffer *out, struct view text)
{
    buffer_u8(out, '"');
    struct view plain = view_of(text.data, 0); /* goes out in one piece */
    while (text.size > 0) {
        uint32_t code = 0;
        size_t size = utf8_next(text, &code);
        if (size > 0 && is_plain(code)) {
            plain.size += size;
        } else {
            if (plain.size > 0) {
                buffer_append(out, plain.data, plain.size);
            }
            if (size == 0) {
                buffer_append(out, "\xef\xbf\xbd", 3);
                size = 1;
            } else {
                write_escape(out, code);
            }
            plain = view_of(text.data + size, 0);
        }
        text.data += size;
        text.size -= size;
    }
    if (plain.size > 0) {
        buffer_append(out, plain.data, plain.size);
    }
    buffer_u8(out, '"');
}

/* ---- a stream of objects ---------------------------------------------------------------------------- */

bool json_stream_is_partial(const struct json_stream *s)
{
    return s->depth > 0;
}

void json_stream_free(struct json_stream *s)
{
    buffer_free(&s->object);
}

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t' || octet == '\n' || octet == '\r';
}

enum json_read json_stream_next(struct json_stream *s, struct view *in, struct view *object)
{
    if (s->complete) {
        s->complete = false;
        s->object.size = 0;
    }
    while (s->depth == 0 && in->size > 0 && is_blank(in->data[0])) {
        in->data++;
        in->size--;
    }
    if (in->size == 0) {
        return JSON_READ_MORE;
    }
    if (s->depth == 0 && in->data[0] != '{') {
        return JSON_READ_BAD;
    }
    size_t used = 0;
    bool ended = false;
    while (used < in->size && !ended) {
        uint8_t octet = in->data[used++];
        if (s->in_string) {
            s->in_string = s->escaped || octet != '"';
            s->escaped = !s->escaped && octet == '\\';
        } else if (octet == '"') {
            s->in_string = true;
        } else if (octet == '{' || octet == '[') {
            if (++s->depth > JSON_DEPTH_MAX) {
                return JSON_READ_TOO_DEEP;
            }
        } else if (octet == '}' || octet == ']') {
            ended = --s->depth == 0;
        }
    }
    if (s->object.size + used > s->size_max) {
        return JSON_READ_TOO_LARGE;
    }
    buffer_append(&s->object, in->data, used);
    in->data += used;
    in->size -= used;
    if (!ended) {
        return JSON_READ_MORE;
    }
    s->complete = true;
    *object = view_of(s->object.data, s->object.size);
    return JSON_READ_OBJECT;
}
