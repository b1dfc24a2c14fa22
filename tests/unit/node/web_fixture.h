/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_fixture.h: HTTP/1.1 by hand with a client actor (client_fixture.h), for the tests of its doors.
 */
#ifndef HOLDFAST_TESTS_WEB_FIXTURE_H
#define HOLDFAST_TESTS_WEB_FIXTURE_H

#include "client_fixture.h"

#include <stdlib.h>

#define NOSNIFF "x-content-type-options: nosniff\r\n"

/* Read until `size` octets came (terminated then), or until the end if size is SIZE_MAX. */
static inline size_t read_text(int fd, char *out, size_t out_size, size_t size)
{
    size_t used = 0;
    while (used < size && used + 1 < out_size) {
        size_t want = size - used < out_size - 1 - used ? size - used : out_size - 1 - used;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        CU_ASSERT_EQUAL_FATAL(poll(&ready, 1, WITNESS_PATIENCE_MS), 1);
        ssize_t part = recv(fd, out + used, want, 0);
        if (part <= 0) {
            break;
        }
        used += (size_t)part;
    }
    out[used] = 0;
    return used;
}

static inline void expect_text(int fd, const char *expected)
{
    char got[2000];
    (void)read_text(fd, got, sizeof got, strlen(expected));
    CU_ASSERT_STRING_EQUAL(got, expected);
}

static inline void expect_end(int fd)
{
    char got[100];
    CU_ASSERT_EQUAL(read_text(fd, got, sizeof got, SIZE_MAX), 0);
}

static inline void say(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

/* A whole answer with a Content-Length (or none and no body), terminated. */
static inline void read_answer(int fd, char *out, size_t out_size)
{
    size_t used = 0;
    char *end = NULL;
    while (end == NULL && used + 1 < out_size) {
        size_t got = read_text(fd, out + used, out_size - used, 1);
        CU_ASSERT_EQUAL_FATAL(got, 1);
        used += got;
        end = strstr(out, "\r\n\r\n");
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(end);
    const char *length = strstr(out, "Content-Length: ");
    if (length != NULL) {
        size_t size = (size_t)strtoul(length + strlen("Content-Length: "), NULL, 10);
        CU_ASSERT_TRUE_FATAL(used + size < out_size);
        CU_ASSERT_EQUAL(read_text(fd, out + used, out_size - used, size), size);
    }
}

static inline bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static inline bool ends(const char *text, const char *with)
{
    size_t size = strlen(text);
    return size >= strlen(with) && strcmp(text + size - strlen(with), with) == 0;
}

#endif
