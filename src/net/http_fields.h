/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_fields.h: the header fields of one request, as both engines hand them to their owner: names and
 * values in one piece of memory, looked up without regard to case (RFC 9110 §5.1).
 */
#ifndef HOLDFAST_HTTP_FIELDS_H
#define HOLDFAST_HTTP_FIELDS_H

#include "base.h"

#define HTTP_FIELDS_MAX 100

struct http_field {
    uint32_t name_at, name_size; /* in `text` */
    uint32_t value_at, value_size;
};

/* Zero-initialised is empty. */
struct http_fields {
    struct buffer text;
    size_t count;
    struct http_field items[HTTP_FIELDS_MAX];
};

/* Forget all fields; the memory stays for the next request. */
void http_fields_clear(struct http_fields *f);
void http_fields_free(struct http_fields *f);

/* A field as a whole. False: there are HTTP_FIELDS_MAX already. */
MUST_USE bool http_fields_add(struct http_fields *f, struct view name, struct view value);

/* In pieces: begin a field, then give its name's and value's octets as they come. */
MUST_USE bool http_fields_begin(struct http_fields *f);
void http_fields_name(struct http_fields *f, struct view piece);
void http_fields_value(struct http_fields *f, struct view piece);

/*
 * The value of the next field of this name from *at on (0 to begin), blanks around it cut off; borrowed
 * until the fields change. False: there is none (any more). f may be NULL: no fields.
 */
bool http_fields_next(const struct http_fields *f, const char *name, size_t *at,
                      struct view *value);

/* The value of the first field of this name; an empty view if there is none. */
struct view http_fields_get(const struct http_fields *f, const char *name);

#endif
