/* SPDX-License-Identifier: Apache-2.0 */
/* go_quote.c: see go_quote.h. */
#include "go_quote.h"

#include "../api/json_text.h"

#include <stdio.h>
#include <string.h>

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
        size_t size = utf8_next(octets, &code);
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
