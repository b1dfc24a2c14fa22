/* SPDX-License-Identifier: Apache-2.0 */
/*
 * go_quote.h: octets as a string literal of the Go language. etcdctl hands them to a watch's COMMAND in this
 * form, so scripts written for it expect it.
 */
#ifndef HOLDFAST_CLI_GO_QUOTE_H
#define HOLDFAST_CLI_GO_QUOTE_H

#include "base.h"

/*
 * Append `octets` in double quotes: printable UTF-8 as it is, control characters and octets that are no
 * UTF-8 as escapes. Go also escapes some rare characters that it takes for unprintable; of those only
 * U+0080 to U+00A0 and U+00AD are treated so here.
 */
void go_quote(struct view octets, struct buffer *out);

#endif
