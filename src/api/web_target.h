/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_target.h: the target of an HTTP request taken apart: path, query, percent-encoding (RFC 3986).
 */
#ifndef HOLDFAST_API_WEB_TARGET_H
#define HOLDFAST_API_WEB_TARGET_H

#include "base.h"

struct web_target {
    struct view path;  /* as sent */
    struct view query; /* likewise, without the question mark */
};

/* Parts of the target; a scheme and authority in front (absolute form) are passed over. */
struct web_target web_target_split(struct view target);

/* If the path begins with `text`, move it on behind that. */
bool web_path_take(struct view *path, const char *text);

/* The next name=value of a query, as sent; *query moves on. False at its end. */
bool web_query_next(struct view *query, struct view *name, struct view *value, bool *has_value);

/* What a hexadecimal digit is worth; -1: it is none. */
int web_hex_digit(uint8_t octet);
/* Append the octets that a percent-encoded text stands for. ERR_MALFORMED: a % without two digits. */
MUST_USE enum err web_percent_decode(struct view text, struct buffer *out);

/* Append text percent-encoded: all but letters, digits and "-._~/". */
void web_percent_encode(struct view octets, struct buffer *out);

/* A decimal number of int64; false: it is none. */
bool web_number(struct view text, int64_t *out);

#endif
