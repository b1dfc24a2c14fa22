/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_header.c: see http2_header.h. gRPC's few fields have fixed places, because every call has them;
 * what only browsers and plain HTTP clients say goes into a list that is made when the first of it comes.
 */
#include "http2_header.h"

#include <string.h>

static void keep(struct http2_stream *s, char *place, size_t place_size, const uint8_t *value,
                 size_t size)
{
    if (size >= place_size) {
        size = place_size - 1;
        s->cut = true;
    }
    memcpy(place, value, size);
    place[size] = 0;
}

/* Into the stream's fields, for web doors. The header list is bounded already. */
static void keep_field(struct http2_stream *s, struct view name, struct view value)
{
    if (s->fields == NULL) {
        s->fields = mem_zalloc(sizeof *s->fields);
    }
    s->cut = !http_fields_add(s->fields, name, value) || s->cut;
}

/* Header fields beside those with a place of their own that somebody looks at. */
static bool is_wanted(const uint8_t *name, size_t size)
{
    static const char *const wanted[] = {"host",
                                         "origin",
                                         "authorization",
                                         "if-match",
                                         "if-none-match",
                                         "last-event-id",
                                         "cache-control",
                                         "access-control-request-method",
                                         "access-control-request-headers"};
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        if (strlen(wanted[i]) == size && memcmp(wanted[i], name, size) == 0) {
            return true;
        }
    }
    return false;
}

#define NAME_IS(text) (memcmp(name.data, text, sizeof(text) - 1) == 0)

void http2_stream_keep(struct http2_stream *s, struct view name, struct view value)
{
    switch (name.size) {
    case 5:
        if (NAME_IS(":path")) {
            keep(s, s->path, sizeof s->path, value.data, value.size);
            s->path_size = strlen(s->path);
            if (value.size > HTTP2_PATH_MAX) {
                keep_field(s, name, value);
            }
        }
        break;
    case 7:
        if (NAME_IS(":method")) {
            keep(s, s->method, sizeof s->method, value.data, value.size);
        }
        break;
    case 10:
        if (NAME_IS(":authority")) {
            size_t size = value.size < HTTP2_PATH_MAX ? value.size : HTTP2_PATH_MAX;
            memcpy(s->authority, value.data, size);
            s->authority[size] = 0;
        }
        break;
    case 4:
    case 6:
    case 8:
    case 29:
    case 30:
        if (is_wanted(name.data, name.size)) {
            keep_field(s, name, value);
        }
        break;
    case 9:
        if (NAME_IS("hasleader")) {
            s->has_leader = value.size == 4 && memcmp(value.data, "true", 4) == 0;
        }
        break;
    case 12:
        if (NAME_IS("content-type")) {
            keep(s, s->content_type, sizeof s->content_type, value.data, value.size);
        } else if (NAME_IS("grpc-timeout")) {
            keep(s, s->grpc_timeout, sizeof s->grpc_timeout, value.data, value.size);
        }
        break;
    case 13:
        if (NAME_IS("grpc-encoding")) {
            keep(s, s->grpc_encoding, sizeof s->grpc_encoding, value.data, value.size);
        } else if (is_wanted(name.data, name.size)) {
            keep_field(s, name, value);
        }
        break;
    case 16:
        if (NAME_IS("max-staleness-ms")) {
            keep(s, s->max_staleness_ms, sizeof s->max_staleness_ms, value.data, value.size);
        }
        break;
    default:
        break;
    }
}
