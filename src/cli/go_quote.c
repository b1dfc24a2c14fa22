/* SPDX-License-Identifier: Apache-2.0 */
/* go_quote.c: see go_quote.h. */
#include "go_quote.h"

#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 sequence at the front (RFC 3629), or 0; *code is its character. */
static size_t take_utf8(struct view in, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = in.data[0];
    size_t size = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size == 0 || first > 0xf4 || size > in.size) {
        return 0;
    }
    uint32_t value = size == 1 ? first : first & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((in.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (in.data[i] & 0x3f);
    }
    if (value < least[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    *code = value;
    return size;
}

static void append_text(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

void go_quote(struct view octets, struct buffer *out)
{
    static const char plain[] = "\a\b\f\n\r\t\v\\\"";
    static const char letters[] = "abfnrtv\\\"";
    char text[16];
    buffer_u8(out, '"');
    while (octets.size > 0) {
        uint32_t code = 0;
        size_t size = take_utf8(octets, &code);
        const char *special = size == 1 && code != 0 ? strchr(plain, (int)code) : NULL;
        if (size == 0 || (size == 1 && special == NULL && (code < 0x20 || code == 0x7f))) {
            (void)snprintf(text, sizeof(text), "\\x%02x", octets.data[0]);
            append_text(out, text);
            size = 1;
        } else if (special != NULL) {
            buffer_u8(out, '\\');
            buffer_u8(out, (uint8_t)letters[special - plain]);
        } else if ((code >= 0x80 && code <= 0xa0) || code == 0xad) {
            (void)snprintf(text, sizeof(text), "\\u%04x", (unsigned)code);
            append_text(out, text);
        } else {
            buffer_append(out, octets.data, size);
        }
        octets = view_of(octets.data + size, octets.size - size);
    }
    buffer_u8(out, '"');
}
