/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_target.c: see web_target.h.
 */
#include "web_target.h"

#include <string.h>

bool web_path_take(struct view *path, const char *text)
{
    size_t size = strlen(text);
    if (path->size < size || memcmp(path->data, text, size) != 0) {
        return false;
    }
    path->data += size;
    path->size -= size;
    return true;
}

struct web_target web_target_split(struct view target)
{
    struct web_target out = {.path = target};
    if (web_path_take(&target, "http://") || web_path_take(&target, "https://")) {
        const uint8_t *slash = target.size > 0 ? memchr(target.data, '/', target.size) : NULL;
        out.path = slash != NULL ? view_of(slash, target.size - (size_t)(slash - target.data))
                                 : view_of_text("/");
    }
    const uint8_t *mark = out.path.size > 0 ? memchr(out.path.data, '?', out.path.size) : NULL;
    if (mark != NULL) {
        size_t size = (size_t)(mark - out.path.data);
        out.query = view_of(mark + 1, out.path.size - size - 1);
        out.path.size = size;
    }
    return out;
}

bool web_query_next(struct view *query, struct view *name, struct view *value, bool *has_value)
{
    while (query->size > 0) {
        const uint8_t *end = memchr(query->data, '&', query->size);
        size_t size = end != NULL ? (size_t)(end - query->data) : query->size;
        struct view part = view_of(query->data, size);
        size_t step = size < query->size ? size + 1 : size;
        query->data += step;
        query->size -= step;
        if (part.size == 0) {
            continue;
        }
        const uint8_t *mark = memchr(part.data, '=', part.size);
        *has_value = mark != NULL;
        *name = mark != NULL ? view_of(part.data, (size_t)(mark - part.data)) : part;
        *value = mark != NULL ? view_of(mark + 1, part.size - name->size - 1) : (struct view){0};
        return true;
    }
    return false;
}

int web_hex_digit(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }
    octet |= 0x20;
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

enum err web_percent_decode(struct view text, struct buffer *out)
{
    size_t start = out->size;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '%') {
            buffer_u8(out, text.data[i]);
            continue;
        }
        int high = text.size - i > 2 ? web_hex_digit(text.data[i + 1]) : -1;
        int low = high >= 0 ? web_hex_digit(text.data[i + 2]) : -1;
        if (low < 0) {
            out->size = start;
            return ERR_MALFORMED;
        }
        buffer_u8(out, (uint8_t)(high << 4 | low));
        i += 2;
    }
    return OK;
}

void web_percent_encode(struct view octets, struct buffer *out)
{
    static const char digits[] = "0123456789ABCDEF";
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    for (size_t i = 0; i < octets.size; i++) {
        uint8_t octet = octets.data[i];
        if (memchr(plain, octet, sizeof plain - 1) != NULL) {
            buffer_u8(out, octet);
        } else {
            buffer_u8(out, '%');
            buffer_u8(out, (uint8_t)digits[octet >> 4]);
            buffer_u8(out, (uint8_t)digits[octet & 15]);
        }
    }
}

bool web_number(struct view text, int64_t *out)
{
    uint64_t value = 0;
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    if (at == text.size) {
        return false;
    }
    for (; at < text.size; at++) {
        uint64_t d = (uint64_t)text.data[at] - '0';
        if (d > 9 || value > ((uint64_t)INT64_MAX - d) / 10) {
            return false;
        }
        value = value * 10 + d;
    }
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}
