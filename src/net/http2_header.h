/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_header.h: which header fields of a request an HTTP/2 stream keeps, and where. Inside src/net.
 */
#ifndef HOLDFAST_HTTP2_HEADER_H
#define HOLDFAST_HTTP2_HEADER_H

#include "http2.h"

/* A field of the request's header has come; the caller has bounded the header as a whole. */
void http2_stream_keep(struct http2_stream *s, struct view name, struct view value);

#endif
