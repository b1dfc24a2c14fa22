/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_rest.h: the store as files over HTTP, without base64: what a request to /kv/KEY or /watch/KEY asks for,
 * and how key-value pairs are shown. Texts in, a struct out; the reads and writes are the caller's.
 *
 *   GET    /kv/KEY           the value's octets; ETag is the mod_revision
 *   GET    /kv/KEY?prefix    all pairs whose keys begin so, as a JSON array, one pair a line
 *   PUT    /kv/KEY           the body becomes the value
 *   DELETE /kv/KEY           (?prefix)
 *
 * Parameters: prefix, rev=N, limit=N, keys, serializable, max_staleness_ms=N, type=text|json, wait[=N], lease=ID. One that does not
 * belong to the method is refused, so that a typing error cannot turn into another request.
 *
 * A pair in JSON: {"key":"a/b","value":"text","create_revision":2,"mod_revision":3,"version":2,"lease":"77"}. A
 * key or value that is not UTF-8 is "key_base64" or "value_base64" instead. Revisions are numbers (no store
 * gets to 2^53); a lease is a text, because its 63 bits are random.
 */
#ifndef HOLDFAST_API_WEB_REST_H
#define HOLDFAST_API_WEB_REST_H

#include "base.h"
#include "command.h"

#define REST_TAGS_MAX         16 /* in one If-Match or If-None-Match */
#define REST_PROBLEM_MAX      160
#define REST_STALENESS_MAX_MS INT64_C(99999999999)

enum rest_verb { REST_GET, REST_PUT, REST_DELETE };

/* If-Match or If-None-Match. A tag that is none of ours is in it as revision -1, which nothing has. */
struct rest_tags {
    bool given;
    bool any;  /* "*" */
    bool weak; /* one of them was marked as weak */
    size_t count;
    int64_t revisions[REST_TAGS_MAX];
};

struct rest_request {
    enum rest_verb verb; /* HEAD is a GET */
    bool prefix;
    bool keys_only;
    bool serializable;
    int64_t max_staleness_ms; /* 0: linearizable */
    bool wait;
    int64_t wait_revision;    /* what the client knows; -1: not given */
    int64_t revision;         /* 0: now */
    int64_t limit;            /* 0: none */
    int64_t lease;            /* 0: none */
    const char *content_type; /* of a single value */
    struct rest_tags if_match, if_none_match;
    struct buffer key;       /* owned */
    struct buffer range_end; /* owned; empty: one key */
};

/*
 * Read a request to /kv/.
 *
 * key             as sent, behind "/kv/"
 * if_match, if_none_match   the fields' values, several of the same name joined by commas; empty: not given
 * out             on success filled in, to be freed with rest_request_free
 * problem         else what is wrong, one line
 *
 * 0, or the status of the answer: 400, 405.
 */
int rest_parse(const char *method, struct view key, struct view query, struct view if_match,
               struct view if_none_match, struct rest_request *out, char problem[REST_PROBLEM_MAX]);

/* Read a request to /watch/: prefix and rev alone. last_event_id: the field; empty: not given. */
int rest_parse_watch(const char *method, struct view key, struct view query,
                     struct view last_event_id, struct rest_request *out,
                     char problem[REST_PROBLEM_MAX]);

void rest_request_free(struct rest_request *r);

/* Do conditions hold for a pair that was read (NULL: the key is not there)? 0, or 304 or 412. */
int rest_conditions(const struct rest_request *r, const struct key_value *kv);

/* A write with conditions, as the body of a transaction: the write if they hold, else a read of the key
 * without its value. value: of a put. */
void rest_write_body(const struct rest_request *r, struct view value, struct buffer *out);

/* Append a pair as JSON. */
void rest_write_kv(const struct key_value *kv, bool keys_only, struct buffer *out);
/* Append a change: a pair with "type":"put" in front, or of a deletion type, key and mod_revision. */
void rest_write_event(const struct key_value *kv, bool deleted, struct buffer *out);
/* Append the pairs of a result as a JSON array. */
void rest_write_list(const struct result *result, bool keys_only, struct buffer *out);

#endif
