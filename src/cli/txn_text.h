/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_text.h: a transaction as people type it, in etcdctl's form: comparisons, a blank line, operations
 * for when all of them hold, a blank line, operations for when not, a blank line.
 *
 *   mod("config/a") > "0"
 *   value("config/b") = "blue"
 *
 *   put config/a "two words" --prev-kv
 *   get config/ --prefix
 *
 *   del config/c
 *
 *
 * A comparison is TARGET("KEY") OP "VALUE" or, for every key of a range, TARGET("KEY", "RANGE_END") OP
 * "VALUE"; TARGET is version (ver), create (c), mod (m), value (val) or lease; OP is = != < >. A lease is
 * hexadecimal, as everywhere; other numbers are decimal. An operation is put, get or del with words and
 * the options of those commands. A word is bare, 'literal', or "quoted" with \n \t \r \a \b \f \v \\ \"
 * \' \ooo \xHH (octets) and \uXXXX \UXXXXXXXX (UTF-8).
 *
 * Flows in: lines. Flows out: the request. Not here: files and terminals (txn_command.c).
 *
 * Invariants
 *  1. A refused line leaves the request as it was.
 *  2. Text that ends before the third blank line is refused: what was cut off might have been part of it.
 */
#ifndef HOLDFAST_CLI_TXN_TEXT_H
#define HOLDFAST_CLI_TXN_TEXT_H

#include "rpc.pb-c.h"

#include "base.h"

#define TXN_LINE_BYTES_MAX (16 * 1024 * 1024)
#define TXN_WORDS_MAX      32
#define TXN_ENTRIES_MAX    65536 /* per part; a server refuses far fewer */

enum txn_part { TXN_COMPARES, TXN_SUCCESS, TXN_FAILURE, TXN_COMPLETE };

struct txn_text {
    enum txn_part part; /* what the next line belongs to */
    Etcdserverpb__TxnRequest *request;
    size_t compare_capacity, success_capacity, failure_capacity;
};

void txn_text_start(struct txn_text *t);
void txn_text_free(struct txn_text *t);
/*
 * Take one line, without its newline.
 *
 * problem  on error: one sentence (problem_size octets)
 *
 * ERR_MALFORMED, ERR_TOO_LARGE.
 */
MUST_USE enum err txn_text_line(struct txn_text *t, struct view line, char *problem,
                                size_t problem_size);

#endif
