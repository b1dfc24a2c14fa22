/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_text.c: one pass over a configuration file before libconfig reads it. In flows the text as a
 * person wrote it; out flows the same text, line for line, that libconfig 1.5 cannot misread.
 *
 * Why: tried with 1.5, `x = 5000000000;` arrives as 705032704 and nobody is told, because integers
 * are 32 bits wide unless written with an L. So every integer gets its L here. And an @include of
 * something unreadable ends the process from inside the scanner; one file is enough for a
 * configuration, so @include is refused.
 *
 * Deliberately not here: the grammar. Whatever is wrong otherwise, libconfig says.
 */
#include "config_internal.h"

#include <ctype.h>
#include <string.h>

#define DECIMAL_DIGITS_MAX 18 /* always fits 63 bits */
#define HEX_DIGITS_MAX     15

struct scan {
    const char *text;
    size_t size, at;
    unsigned line;
    struct buffer *out;
    const struct config_problem *problem;
};

/* The octet `ahead` places on; 0 at the end (the text holds no zero octet: checked first). */
static char peek(const struct scan *s, size_t ahead)
{
    return s->at + ahead < s->size ? s->text[s->at + ahead] : '\0';
}

static void copy(struct scan *s, size_t count)
{
    for (size_t i = 0; i < count && s->at < s->size; i++) {
        if (s->text[s->at] == '\n') {
            s->line++;
        }
        buffer_u8(s->out, (uint8_t)s->text[s->at]);
        s->at++;
    }
}

static void copy_line_comment(struct scan *s)
{
    while (s->at < s->size && peek(s, 0) != '\n') {
        copy(s, 1);
    }
}

static enum err copy_block_comment(struct scan *s)
{
    unsigned line = s->line;
    copy(s, 2);
    while (s->at < s->size) {
        if (peek(s, 0) == '*' && peek(s, 1) == '/') {
            copy(s, 2);
            return OK;
        }
        copy(s, 1);
    }
    return config_refuse(s->problem, line, "comment is not closed; expected */");
}

static enum err copy_text(struct scan *s)
{
    unsigned line = s->line;
    copy(s, 1);
    while (s->at < s->size) {
        char octet = peek(s, 0);
        copy(s, octet == '\\' ? 2 : 1);
        if (octet == '"') {
            return OK;
        }
    }
    return config_refuse(s->problem, line, "text is not closed; expected \"");
}

static bool is_word(char octet)
{
    return isalnum((unsigned char)octet) || octet == '_' || octet == '-' || octet == '*';
}

/* A name of a setting, or true and false. Its digits are no numbers. */
static void copy_word(struct scan *s)
{
    while (is_word(peek(s, 0))) {
        copy(s, 1);
    }
}

static enum err copy_number(struct scan *s)
{
    unsigned line = s->line;
    bool hex = peek(s, 0) == '0' && (peek(s, 1) == 'x' || peek(s, 1) == 'X');
    size_t start = s->at, digits = 0;
    copy(s, hex ? 2 : 0);
    while (hex ? isxdigit((unsigned char)peek(s, 0)) : isdigit((unsigned char)peek(s, 0))) {
        if (digits > 0 || peek(s, 0) != '0') { /* zeros in front do not count */
            digits++;
        }
        copy(s, 1);
    }
    char next = peek(s, 0);
    if (!hex &&
        (next == '.' || next == 'e' || next == 'E')) { /* a float; its rest in the same way */
        do {
            copy(s, 1);
        } while (isalnum((unsigned char)peek(s, 0)) || peek(s, 0) == '.' ||
                 ((peek(s, 0) == '-' || peek(s, 0) == '+') &&
                  tolower((unsigned char)s->text[s->at - 1]) == 'e'));
        return OK;
    }
    if (digits > (hex ? (size_t)HEX_DIGITS_MAX : (size_t)DECIMAL_DIGITS_MAX)) {
        return config_refuse(s->problem, line,
                             "number %.*s... is too large; expected at most %d digits", 20,
                             s->text + start, hex ? HEX_DIGITS_MAX : DECIMAL_DIGITS_MAX);
    }
    if (next == 'L') {
        copy(s, 1);
        if (peek(s, 0) == 'L') {
            copy(s, 1);
        }
    } else {
        buffer_u8(s->out, 'L');
    }
    return OK;
}

enum err config_text_prepare(struct view text, struct buffer *out, const struct config_problem *at)
{
    struct scan s = {.text = (const char *)text.data, .size = text.size, .line = 1};
    s.out = out;
    s.problem = at;
    enum err error = OK;
    while (s.at < s.size && error == OK) {
        char octet = peek(&s, 0);
        if (octet == '\0') {
            error = config_refuse(at, s.line, "zero octet; expected text");
        } else if (octet == '#' || (octet == '/' && peek(&s, 1) == '/')) {
            copy_line_comment(&s);
        } else if (octet == '/' && peek(&s, 1) == '*') {
            error = copy_block_comment(&s);
        } else if (octet == '"') {
            error = copy_text(&s);
        } else if (octet == '@') {
            error = config_refuse(at, s.line, "@include is not supported; expected one whole file");
        } else if (isdigit((unsigned char)octet)) {
            error = copy_number(&s);
        } else if (isalpha((unsigned char)octet) || octet == '*') {
            copy_word(&s);
        } else {
            copy(&s, 1);
        }
    }
    if (error == OK) {
        buffer_u8(out, 0);
    }
    return error;
}
