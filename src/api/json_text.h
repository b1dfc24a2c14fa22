/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text.h: JSON as text: strings written so that they are safe wherever a browser may put them, and a
 * stream of octets cut into its JSON objects, however the pieces come.
 *
 * Not here: what an object means (json.h).
 *
 * Invariants
 *  1. Of a stream no more than one object of size_max octets is kept, and none nested deeper than
 *     JSON_DEPTH_MAX is let through: whoever reads the object may recurse over it.
 */
#ifndef HOLDFAST_API_JSON_TEXT_H
#define HOLDFAST_API_JSON_TEXT_H

#include "base.h"

#define JSON_DEPTH_MAX 64 /* braces and brackets inside each other */

/* The size of the character at the front, with *code set, or 0 if there is none (RFC 3629: no surrogates, no overlong
 * forms). v is not empty. */
size_t utf8_next(struct view v, uint32_t *code);
/* True if the octets are well-formed UTF-8. */
bool utf8_valid(struct view octets);

/*
 * Append text as a JSON string with its quotes. Control characters, quotes, backslashes and the characters
 * that HTML and JavaScript give a meaning (<, >, &, U+2028, U+2029) are escaped; what is not UTF-8 becomes
 * U+FFFD.
 */
void json_write_string(struct buffer *out, struct view text);

/* Append static text as it is; append a number in decimal. */
void json_write_raw(struct buffer *out, const char *text);
void json_write_i64(struct buffer *out, int64_t number);
void json_write_u64(struct buffer *out, uint64_t number);

enum json_read {
    JSON_READ_MORE,      /* everything was taken, and the object (if one was begun) goes on */
    JSON_READ_OBJECT,    /* *object is complete */
    JSON_READ_BAD,       /* something else than an object; nothing more can be read */
    JSON_READ_TOO_DEEP,  /* likewise */
    JSON_READ_TOO_LARGE, /* likewise */
};

/* Zeros but for size_max is empty. */
struct json_stream {
    size_t size_max;
    struct buffer object; /* what has come of it */
    uint32_t depth;
    bool in_string;
    bool escaped;
    bool complete; /* `object` was handed out; it goes with the next call */
};

/* Take octets from *in (which moves on) up to the end of an object. *object is borrowed until the next
 * call. Blanks between objects are passed over. */
enum json_read json_stream_next(struct json_stream *s, struct view *in, struct view *object);
/* An object was begun and is not complete. */
bool json_stream_is_partial(const struct json_stream *s);
void json_stream_free(struct json_stream *s);

#endif
