/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.c: see grpc.h. The wire form is that of gRPC over HTTP/2 (PROTOCOL-HTTP2).
 */
#include "grpc.h"

#include <stdio.h>
#include <string.h>

const char *grpc_code_text(enum grpc_code code)
{
    static const char *const texts[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                        "9", "10", "11", "12", "13", "14", "15", "16"};
    ASSERT((size_t)code < ARRAY_COUNT(texts));
    return texts[code];
}

enum grpc_read grpc_reader_next(struct grpc_reader *r, struct view *in, struct view *message)
{
    if (r->complete) {
        r->prefix_used = 0;
        r->admitted = r->complete = false;
        r->used = r->size = 0;
        mem_free(r->octets);
        r->octets = NULL;
    }
    if (r->prefix_used < GRPC_PREFIX_BYTES) {
        size_t part = GRPC_PREFIX_BYTES - (size_t)r->prefix_used;
        if (part > in->size) {
            part = in->size;
        }
        if (part > 0) {
            memcpy(r->prefix + r->prefix_used, in->data, part);
            r->prefix_used = (uint8_t)(r->prefix_used + part);
            in->data += part;
            in->size -= part;
        }
        if (r->prefix_used < GRPC_PREFIX_BYTES) {
            return GRPC_READ_MORE;
        }
        r->size = ((uint32_t)r->prefix[1] << 24) | ((uint32_t)r->prefix[2] << 16) |
                  ((uint32_t)r->prefix[3] << 8) | (uint32_t)r->prefix[4];
    }
    if (!r->admitted) {
        if (r->prefix[0] != 0) {
            return r->prefix[0] == 1 ? GRPC_READ_COMPRESSED : GRPC_READ_FORMAT;
        }
        return GRPC_READ_SIZE;
    }
    size_t missing = r->size - r->used;
    if (r->octets == NULL && in->size >= missing) {
        /* the common case: the whole message lies in this piece, nothing is copied */
        *message = view_of(in->data, missing);
        r->complete = true;
        if (missing > 0) {
            in->data += missing;
            in->size -= missing;
        }
        return GRPC_READ_MESSAGE;
    }
    if (in->size == 0) {
        return GRPC_READ_MORE;
    }
    if (r->octets == NULL) {
        r->octets = mem_alloc(r->size);
    }
    size_t part = in->size < missing ? in->size : missing;
    memcpy(r->octets + r->used, in->data, part);
    r->used += (uint32_t)part;
    in->data += part;
    in->size -= part;
    if (r->used < r->size) {
        return GRPC_READ_MORE;
    }
    *message = view_of(r->octets, r->size);
    r->complete = true;
    return GRPC_READ_MESSAGE;
}

void grpc_reader_admit(struct grpc_reader *r)
{
    ASSERT(r->prefix_used == GRPC_PREFIX_BYTES);
    r->admitted = true;
}

bool grpc_reader_is_empty(const struct grpc_reader *r)
{
    return r->prefix_used == 0 || r->complete;
}

void grpc_reader_free(struct grpc_reader *r)
{
    mem_free(r->octets);
    memset(r, 0, sizeof *r);
}

void grpc_prefix_write(uint8_t out[GRPC_PREFIX_BYTES], size_t size)
{
    ASSERT(size <= UINT32_MAX);
    out[0] = 0;
    out[1] = (uint8_t)(size >> 24);
    out[2] = (uint8_t)(size >> 16);
    out[3] = (uint8_t)(size >> 8);
    out[4] = (uint8_t)size;
}

enum err grpc_timeout_parse(const char *text, uint64_t *timeout_us)
{
    uint64_t count = 0;
    size_t digits = 0;
    while (digits < 9 && text[digits] >= '0' && text[digits] <= '9') {
        count = count * 10 + (uint64_t)(text[digits] - '0');
        digits++;
    }
    if (digits == 0 || digits > 8 || text[digits] == 0 || text[digits + 1] != 0) {
        return ERR_MALFORMED;
    }
    switch (text[digits]) {
    case 'H':
        *timeout_us = count * 3600u * 1000000u;
        return OK;
    case 'M':
        *timeout_us = count * 60u * 1000000u;
        return OK;
    case 'S':
        *timeout_us = count * 1000000u;
        return OK;
    case 'm':
        *timeout_us = count * 1000u;
        return OK;
    case 'u':
        *timeout_us = count;
        return OK;
    case 'n':
        *timeout_us = (count + 999u) / 1000u;
        return OK;
    default:
        return ERR_MALFORMED;
    }
}

bool grpc_content_type(const char *content_type, struct view *echo)
{
    static const char plain[] = "application/grpc";
    const size_t plain_size = sizeof plain - 1;
    if (strncmp(content_type, plain, plain_size) != 0) {
        return false;
    }
    switch (content_type[plain_size]) {
    case 0:
    case ';':
        *echo = view_of(plain, plain_size);
        return true;
    case '+':
        *echo = view_of(content_type, strcspn(content_type, ";"));
        return true;
    default:
        return false; /* application/grpc-web and the like */
    }
}

size_t grpc_message_encode(const char *text, char out[GRPC_MESSAGE_MAX])
{
    static const char hex[] = "0123456789ABCDEF";
    size_t used = 0;
    for (size_t i = 0; text[i] != 0; i++) {
        uint8_t octet = (uint8_t)text[i];
        bool plain = octet >= 0x20 && octet <= 0x7e && octet != '%';
        if (used + (plain ? 1 : 3) > GRPC_MESSAGE_MAX) {
            break;
        }
        if (plain) {
            out[used++] = (char)octet;
        } else {
            out[used++] = '%';
            out[used++] = hex[octet >> 4];
            out[used++] = hex[octet & 15];
        }
    }
    return used;
}

void grpc_unknown_text(const char *path, bool known_service, char *out, size_t out_size)
{
    const char *service = path[0] == '/' ? path + 1 : path;
    const char *slash = strrchr(service, '/');
    if (slash == NULL) {
        (void)snprintf(out, out_size, "malformed method name: \"%s\"", path);
        return;
    }
    int service_size = (int)(slash - service);
    if (known_service) {
        (void)snprintf(out, out_size, "unknown method %s for service %.*s", slash + 1, service_size,
                       service);
    } else {
        (void)snprintf(out, out_size, "unknown service %.*s", service_size, service);
    }
}
