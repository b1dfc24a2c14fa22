/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web.h: what the client port answers to plain HTTP beside its doors to the store (sheet §5.1): /version,
 * /health, /livez and /readyz, and the few answers that say no. Texts in, an answer out; reads that a health
 * check needs are carried out by the caller.
 */
#ifndef HOLDFAST_API_WEB_H
#define HOLDFAST_API_WEB_H

#include "base.h"

#define WEB_HEALTH_BODY_MAX 256
#define WEB_HEADERS_MAX     16
#define WEB_PLAIN           "text/plain; charset=utf-8"
#define WEB_JSON            "application/json"
#define WEB_OCTETS          "application/octet-stream"

struct web_header {
    const char *name;  /* static, lower case */
    struct view value; /* lives as long as the body does */
};

struct web_answer {
    int status;
    const char *content_type; /* static; NULL: none */
    size_t header_count;
    struct web_header headers[WEB_HEADERS_MAX];
    struct view body; /* static, or in the buffer given */
};

void web_add_header(struct web_answer *answer, const char *name, struct view value);

/* A whole answer of text; borrowed. */
struct web_answer web_text(int status, const char *text);
struct web_answer web_version(void);
struct web_answer web_not_found(void);
/* allow: the methods that would have been right, static. */
struct web_answer web_not_allowed(const char *allow);

/* The answer of /health. reason: NULL when all is well; no quotes in it; room: the body's place. */
void web_health(const char *reason, char room[WEB_HEALTH_BODY_MAX], struct web_answer *answer);

/* ---- /livez and /readyz ------------------------------------------------------------------------------ */

enum web_check {
    WEB_CHECK_DATA_CORRUPTION,
    WEB_CHECK_SERIALIZABLE_READ,
    WEB_CHECK_LINEARIZABLE_READ,
    WEB_CHECK_NON_LEARNER,
    WEB_CHECK_COUNT
};

struct web_checks {
    bool verbose;
    bool wanted[WEB_CHECK_COUNT];
    char failure[WEB_CHECK_COUNT][96]; /* empty: it passed */
};

/*
 * Which checks a request asks for.
 *
 * path, query  as sent: "/livez", "/readyz/non_learner", "verbose&exclude=linearizable_read"
 *
 * False: the path is none of these.
 */
bool web_checks_parse(struct view path, struct view query, struct web_checks *out);
/* The answer once all wanted checks were made; its body goes into `room`. */
struct web_answer web_checks_answer(const struct web_checks *checks, struct buffer *room);

#endif
