/* SPDX-License-Identifier: Apache-2.0 */
/* range.h: what range.c offers inside the room; its face to others is kv_read_* in kv.h. */
#ifndef HOLDFAST_KV_RANGE_H
#define HOLDFAST_KV_RANGE_H

#include "command.h"

/* Add a pair unless the result is, or would become, larger than one gRPC message: then its error
 * becomes ERR_TOO_LARGE and its pairs are of no use. */
void range_answer_add(struct result *r, const struct key_value *kv, bool keys_only);

#endif
