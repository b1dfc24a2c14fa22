/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_routes.h: the paths of etcd's JSON gateway and the RPC behind each (sheet §5.3).
 */
#ifndef HOLDFAST_API_WEB_ROUTES_H
#define HOLDFAST_API_WEB_ROUTES_H

#include "base.h"
#include "json.h"
#include "method.h"

struct web_route {
    const char *path; /* behind "/v3/" */
    const char *rpc;
    const ProtobufCMessageDescriptor *request, *response; /* NULL: the service is not built */
};

/* path: behind "/v3/". NULL: there is none. */
const struct web_route *web_route_find(struct view path);

/* Take "/v3/", one of its older names, or "/holdfast/v1/" off the front. */
bool web_route_take_version(struct view *path);

extern const struct web_route web_routes[];
extern const size_t web_route_count;

/* HTTP's status for a code of gRPC. */
int web_status_of_code(uint8_t code);
/* Its text, as the gateways write it into errors of streams. */
const char *web_status_text(int status);

/* Append the body of an error: what clients of all generations look for. */
void web_error_body(uint8_t code, const char *message, struct buffer *out);
/* Append the last line of a stream that fails after its header went out. */
void web_stream_error(uint8_t code, const char *message, struct buffer *out);

#endif
