/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer_text.h: answers as text, so that what a node said and what the model says can be compared whole, and
 * read side by side when they differ. It fixes a form and knows no rules: the model writes its own answers
 * with the same small parts.
 *
 *   r7 n2 more {k03 17+8 c5 m7 v2 l0}        revision, count, pairs: value's number and size, create, mod, ...
 *   r7 n0 yes [2 r7 n0] [3 r7 n1]            a transaction: each operation's kind and answer
 *   r7 n0 <5a 2>                             leases: id and TTL
 *   r7 error requested lease not found
 */
#ifndef HOLDFAST_SIM_ANSWER_TEXT_H
#define HOLDFAST_SIM_ANSWER_TEXT_H

#include "command.h"

void answer_text_head(struct buffer *out, int64_t revision, int64_t count, bool more,
                      bool succeeded);
void answer_text_error(struct buffer *out, int64_t revision, enum err error);
/* value_size 0: left out. */
void answer_text_pair(struct buffer *out, const struct key_value *pair, uint64_t value,
                      size_t value_size);
void answer_text_lease(struct buffer *out, int64_t id, int64_t ttl_s);
void answer_text_open(struct buffer *out, enum txn_op_kind kind);
void answer_text_close(struct buffer *out);
/* What a node answered; terminated. Nested as deep as transactions are. */
void answer_text_result(struct buffer *out, const struct result *result);
/* As the one above leaves it, for text that was put together from parts. */
const char *answer_text_done(struct buffer *out);

#endif
