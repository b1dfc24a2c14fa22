/* SPDX-License-Identifier: Apache-2.0 */
/* txn_words.c: see txn_words.h. */
#include "txn_words.h"

#include <string.h>

static void drop(struct view *in, size_t count)
{
    in->data += count;
    in->size -= count;
}

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t' || octet == '\r';
}

void txn_skip_blanks(struct view *in)
{
    while (in->size > 0 && is_blank(in->data[0])) {
        drop(in, 1);
    }
}

static int digit_of(uint8_t octet, uint32_t base)
{
    int value = -1;
    if (octet >= '0' && octet <= '9') {
        value = octet - '0';
    } else if ((octet | 0x20) >= 'a' && (octet | 0x20) <= 'f') {
        value = (octet | 0x20) - 'a' + 10;
    }
    return value < (int)base ? value : -1;
}

/* Exactly `count` digits. */
static bool take_digits(struct view *in, uint32_t base, size_t count, uint32_t *out)
{
    uint32_t value = 0;
    if (in->size < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        int digit = digit_of(in->data[i], base);
        if (digit < 0) {
            return false;
        }
        value = value * base + (uint32_t)digit;
    }
    drop(in, count);
    *out = value;
    return true;
}

static bool append_utf8(struct buffer *out, uint32_t code)
{
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return false;
    }
    if (code < 0x80) {
        buffer_u8(out, (uint8_t)code);
    } else if (code < 0x800) {
        buffer_u8(out, (uint8_t)(0xc0 | code >> 6));
        buffer_u8(out, (uint8_t)(0x80 | (code & 0x3f)));
    } else if (code < 0x10000) {
        buffer_u8(out, (uint8_t)(0xe0 | code >> 12));
        buffer_u8(out, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
        buffer_u8(out, (uint8_t)(0x80 | (code & 0x3f)));
    } else {
        buffer_u8(out, (uint8_t)(0xf0 | code >> 18));
        buffer_u8(out, (uint8_t)(0x80 | (code >> 12 & 0x3f)));
        buffer_u8(out, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
        buffer_u8(out, (uint8_t)(0x80 | (code & 0x3f)));
    }
    return true;
}

/* What follows a backslash. */
static bool take_escape(struct view *in, struct buffer *out)
{
    static const char letters[] = "ntrabfv\\\"'";
    static const char meanings[] = "\n\t\r\a\b\f\v\\\"'";
    if (in->size == 0) {
        return false;
    }
    uint8_t letter = in->data[0];
    uint32_t value = 0;
    if (letter >= '0' && letter <= '7') {
        if (!take_digits(in, 8, 3, &value) || value > 0xff) {
            return false;
        }
        buffer_u8(out, (uint8_t)value);
        return true;
    }
    drop(in, 1);
    const char *at = letter == '\0' ? NULL : strchr(letters, letter);
    if (at != NULL) {
        buffer_u8(out, (uint8_t)meanings[at - letters]);
        return true;
    }
    switch (letter) {
    case 'x':
        if (!take_digits(in, 16, 2, &value)) {
            return false;
        }
        buffer_u8(out, (uint8_t)value);
        return true;
    case 'u':
        return take_digits(in, 16, 4, &value) && append_utf8(out, value);
    case 'U':
        return take_digits(in, 16, 8, &value) && append_utf8(out, value);
    default:
        return false;
    }
}

/* The rest of a word whose opening quote has been taken. */
static const char *take_quoted(struct view *in, uint8_t quote, struct buffer *out)
{
    for (;;) {
        if (in->size == 0) {
            return "a quote is not closed";
        }
        uint8_t octet = in->data[0];
        drop(in, 1);
        if (octet == quote) {
            return NULL;
        }
        if (octet != '\\' || quote == '\'') {
            buffer_u8(out, octet);
        } else if (!take_escape(in, out)) {
            return "after \\ comes one of n t r a b f v \\ \" ', three octal digits, xHH, uXXXX "
                   "or UXXXXXXXX";
        }
    }
}

enum err txn_word_take(struct view *in, const char *ends, struct txn_word *out,
                       const char **problem)
{
    struct buffer word = {0};
    struct view rest = *in;
    bool quoted = rest.size > 0 && (rest.data[0] == '"' || rest.data[0] == '\'');
    const char *wrong = NULL;
    if (quoted) {
        uint8_t quote = rest.data[0];
        drop(&rest, 1);
        wrong = take_quoted(&rest, quote, &word);
        if (wrong == NULL && rest.size > 0 && !is_blank(rest.data[0]) &&
            (rest.data[0] == '\0' || strchr(ends, rest.data[0]) == NULL)) {
            wrong = "after a closing quote comes a blank";
        }
    } else {
        while (rest.size > 0 && !is_blank(rest.data[0]) &&
               (rest.data[0] == '\0' || strchr(ends, rest.data[0]) == NULL)) {
            buffer_u8(&word, rest.data[0]);
            drop(&rest, 1);
        }
    }
    if (wrong != NULL) {
        buffer_free(&word);
        *problem = wrong;
        return ERR_MALFORMED;
    }
    out->octets = (struct bytes){.data = word.data, .size = word.size};
    out->quoted = quoted;
    *in = rest;
    return OK;
}
