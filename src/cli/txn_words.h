/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_words.h: a line of a transaction's text cut into words. Flows in: octets. Flows out: words whose
 * quotes and escapes are resolved. What the words mean is txn_text.h.
 */
#ifndef HOLDFAST_CLI_TXN_WORDS_H
#define HOLDFAST_CLI_TXN_WORDS_H

#include "base.h"

struct txn_word {
    struct bytes octets;
    bool quoted; /* then it is never an option */
};

/*
 * Take one word from the front of *in, which must not begin with a blank.
 *
 * ends  octets that end a bare word, beside blanks (text, may be "")
 * out   the caller's afterwards: bytes_free
 *
 * ERR_MALFORMED: a quote that is not closed or an escape that is none; *problem is a static sentence.
 */
MUST_USE enum err txn_word_take(struct view *in, const char *ends, struct txn_word *out,
                                const char **problem);

/* Drop blanks (space, tab, carriage return) from the front. */
void txn_skip_blanks(struct view *in);

#endif
