/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64.h: octets as text (RFC 4648). Written in the standard alphabet with padding; read in the standard
 * and the URL-safe alphabet, with or without padding, as etcd's gateways of all generations do together.
 */
#ifndef HOLDFAST_API_BASE64_H
#define HOLDFAST_API_BASE64_H

#include "base.h"

/* Append the text of `octets`. */
void base64_write(struct buffer *out, struct view octets);

/* The octets a text of this size can stand for at most. */
static inline size_t base64_octets_max(size_t text_size)
{
    return text_size / 4 * 3 + 2;
}

/*
 * Read a text. Line ends inside it are passed over; bits behind the last octet are not looked at.
 *
 * out   room for base64_octets_max(text.size); written also on failure
 * size  the octets found
 *
 * ERR_MALFORMED: another octet, padding in the wrong place, or a single letter left over.
 */
MUST_USE enum err base64_read(struct view text, uint8_t *out, size_t *size);

#endif
