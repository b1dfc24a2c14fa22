/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web.h: what the client port answers to plain HTTP (sheet §5.1): GET /version, GET /health. A target
 * becomes an answer, or the wish for a health check that the caller carries out with a read.
 */
#ifndef HOLDFAST_API_WEB_H
#define HOLDFAST_API_WEB_H

#include "base.h"

#define WEB_HEALTH_BODY_MAX 256

struct web_answer {
    int status;
    const char *content_type;
    const char *allow; /* NULL: no such header */
    struct view body;  /* static, or in the buffer given */
};

enum web_kind {
    WEB_ANSWER, /* the answer is complete */
    WEB_HEALTH, /* find out whether a read succeeds, then web_health */
};

/* serializable: the health check asks this node alone and needs no leader. */
enum web_kind web_route(const char *method, struct view target, struct web_answer *answer,
                        bool *serializable);

/* The answer of /health. reason: NULL when all is well; no quotes in it; room: the body's place. */
void web_health(const char *reason, char room[WEB_HEALTH_BODY_MAX], struct web_answer *answer);

/* A content type that is neither a browser's nor gRPC's (HTTP/2 only). */
void web_unsupported(struct web_answer *answer);

#endif
