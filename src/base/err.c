/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.c: the texts of error codes, and the end of a process whose own code is wrong.
 *
 * In flow an error code or a broken assert; out flows a text, or an aborted process. Mapping errors
 * to gRPC codes and etcd's sentences is deliberately not here (src/api does that).
 */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>

const char *err_text(enum err error)
{
    static const char *const texts[ERR_COUNT] = {
#define ERR_TEXT(code, text) [code] = text,
        ERR_TABLE(ERR_TEXT)
#undef ERR_TEXT
    };
    /* A number from a newer peer must not become an index. */
    if ((unsigned)error >= (unsigned)ERR_COUNT) {
        return "unknown error";
    }
    return texts[error];
}

#define ASSERT_LINE_MAX 512

void assert_failed(const char *grade, const char *what, const char *file, int line)
{
    /* Straight to stderr: a sink that hands lines to another thread would not run again. */
    char text[ASSERT_LINE_MAX];
    int length =
        snprintf(text, sizeof(text), "bug: assert failed grade=%s condition=\"%s\" place=%s:%d",
                 grade, what, file, line);
    size_t size = length < 0 ? 0 : (size_t)length;
    if (size >= sizeof(text)) {
        size = sizeof(text) - 1;
    }
    log_write_stderr(LOG_ERROR, text, size);
    abort();
}
