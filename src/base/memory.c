/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c: memory that is always there. Exhaustion ends the process
 * (docs/decisions/0001-memory-exhaustion-is-fatal.md): a crashed node is a state Raft is built for, a
 * half-applied entry is not.
 *
 * Invariants
 *  1. No function here returns NULL; size 0 gives a valid pointer of its own.
 *  2. Nothing is multiplied here: sizes arrive whole, and callers ASSERT what bounds them.
 */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXHAUSTED_LINE_MAX 96

/* No allocation on this path, and no abort: a core dump of a full machine helps nobody. */
NO_RETURN static void exhausted(size_t size)
{
    char text[EXHAUSTED_LINE_MAX];
    int length =
        snprintf(text, sizeof(text), "memory exhausted: ending the process bytes=%zu", size);
    log_write_stderr(LOG_ERROR, text, length < 0 ? 0 : (size_t)length);
    _exit(EXIT_CODE_FAILURE);
}

void *mem_alloc(size_t size)
{
    void *pointer = malloc(size == 0 ? 1 : size);
    if (pointer == NULL) {
        exhausted(size);
    }
    return pointer;
}

void *mem_zalloc(size_t size)
{
    void *pointer = calloc(1, size == 0 ? 1 : size);
    if (pointer == NULL) {
        exhausted(size);
    }
    return pointer;
}

void *mem_realloc(void *old, size_t size)
{
    void *pointer = realloc(old, size == 0 ? 1 : size);
    if (pointer == NULL) {
        exhausted(size);
    }
    return pointer;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text) + 1);
}

void *mem_dup(const void *data, size_t size)
{
    void *pointer = mem_alloc(size);
    if (size > 0) { /* memcpy from NULL is undefined even for no octets */
        memcpy(pointer, data, size);
    }
    return pointer;
}

void mem_free(void *pointer)
{
    free(pointer);
}
