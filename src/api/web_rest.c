/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_rest.c: see web_rest.h.
 */
#include "web_rest.h"

#include "base64.h"
#include "json_text.h"
#include "web.h"
#include "web_target.h"

#include <stdio.h>
#include <string.h>

void rest_request_free(struct rest_request *r)
{
    buffer_free(&r->key);
    buffer_free(&r->range_end);
}

static bool is(struct view v, const char *text)
{
    return view_equal(v, view_of_text(text));
}

/* ---- tags ------------------------------------------------------------------------------------------- */

/* A list of entity tags (RFC 9110 §8.8.3). False: malformed, or too many. */
static bool parse_tags(struct view text, struct rest_tags *out)
{
    struct rest_tags tags = {.given = text.size > 0};
    size_t at = 0;
    while (at < text.size) {
        if (text.data[at] == ' ' || text.data[at] == '\t' || text.data[at] == ',') {
            at++;
            continue;
        }
        if (text.data[at] == '*') {
            tags.any = true;
            at++;
            continue;
        }
        if (text.size - at > 2 && memcmp(text.data + at, "W/", 2) == 0) {
            tags.weak = true;
            at += 2;
        }
        const uint8_t *end = text.data[at] == '"' && text.size - at > 1
                                 ? memchr(text.data + at + 1, '"', text.size - at - 1)
                                 : NULL;
        if (end == NULL || tags.count == REST_TAGS_MAX) {
            return false;
        }
        struct view tag = view_of(text.data + at + 1, (size_t)(end - text.data) - at - 1);
        int64_t revision = -1;
        if (!web_number(tag, &revision) || revision < 1) {
            revision = -1;
        }
        tags.revisions[tags.count++] = revision;
        at = (size_t)(end - text.data) + 1;
    }
    if (tags.given && !tags.any && tags.count == 0) {
        return false;
    }
    if (tags.any && tags.count > 0) {
        return false;
    }
    *out = tags;
    return true;
}

static bool tags_hold(const struct rest_tags *tags, const struct key_value *kv)
{
    if (kv == NULL) {
        return false;
    }
    for (size_t i = 0; i < tags->count; i++) {
        if (tags->revisions[i] == kv->mod_revision) {
            return true;
        }
    }
    return tags->any;
}

int rest_conditions(const struct rest_request *r, const struct key_value *kv)
{
    if (r->if_match.given && !tags_hold(&r->if_match, kv)) {
        return 412;
    }
    return r->if_none_match.given && tags_hold(&r->if_none_match, kv) ? 304 : 0;
}

/* ---- requests --------------------------------------------------------------------------------------- */

static int refuse(char problem[REST_PROBLEM_MAX], const char *text, struct view what)
{
    (void)snprintf(problem, REST_PROBLEM_MAX, "%s%s%.*s", text, what.size > 0 ? ": " : "",
                   what.size < 64 ? (int)what.size : 64, (const char *)what.data);
    for (char *at = problem; *at != 0; at++) { /* what a client sent goes back as plain text */
        if (*at < 0x20 || *at > 0x7e) {
            *at = '?';
        }
    }
    return 400;
}

/* A lease's id: decimal, or hexadecimal with 0x in front, as etcdctl shows it. */
static bool parse_lease(struct view text, int64_t *out)
{
    if (!web_path_take(&text, "0x")) {
        return web_number(text, out) && *out > 0;
    }
    if (text.size == 0 || text.size > 16) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        int digit = web_hex_digit(text.data[i]);
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (uint64_t)digit;
    }
    *out = (int64_t)value;
    return value > 0 && value <= INT64_MAX;
}

/* The parameters a request may have. */
struct allowed {
    bool prefix, read, write, watch;
};

/* 0, or the status. */
static int parse_parameter(struct rest_request *r, const struct allowed *allowed, struct view name,
                           struct view value, bool has_value, char problem[REST_PROBLEM_MAX])
{
    bool plain = !has_value || is(value, "") || is(value, "true") || is(value, "1");
    if (is(name, "prefix") && allowed->prefix && plain) {
        r->prefix = true;
    } else if (is(name, "keys") && allowed->read && plain) {
        r->keys_only = true;
    } else if (is(name, "serializable") && allowed->read && plain) {
        r->serializable = true;
    } else if (is(name, "max_staleness_ms") && allowed->read) {
        if (!web_number(value, &r->max_staleness_ms) || r->max_staleness_ms < 0 ||
            r->max_staleness_ms > REST_STALENESS_MAX_MS) {
            return refuse(problem, "max_staleness_ms is no number of milliseconds", value);
        }
    } else if (is(name, "rev") && (allowed->read || allowed->watch)) {
        if (!web_number(value, &r->revision) || r->revision < 1) {
            return refuse(problem, "rev is no revision", value);
        }
    } else if (is(name, "limit") && allowed->read) {
        if (!web_number(value, &r->limit) || r->limit < 1) {
            return refuse(problem, "limit is no number above zero", value);
        }
    } else if (is(name, "type") && allowed->read) {
        if (!is(value, "text") && !is(value, "json")) {
            return refuse(problem, "type is neither text nor json", value);
        }
        r->content_type = is(value, "text") ? WEB_PLAIN : WEB_JSON;
    } else if (is(name, "wait") && allowed->read) {
        r->wait = true;
        if (value.size > 0 && (!web_number(value, &r->wait_revision) || r->wait_revision < 0)) {
            return refuse(problem, "wait is no revision", value);
        }
    } else if (is(name, "lease") && allowed->write) {
        if (!parse_lease(value, &r->lease)) {
            return refuse(problem, "lease is no id of a lease", value);
        }
    } else {
        return refuse(problem, "this request has no such parameter, or not with such a value",
                      name);
    }
    return 0;
}

/* The end of the range of all keys that begin like this one. */
static void set_prefix_end(struct rest_request *r)
{
    size_t size = r->key.size;
    while (size > 0 && r->key.data[size - 1] == 0xff) {
        size--;
    }
    if (r->key.size == 0) {
        buffer_u8(&r->key, 0);
    }
    if (size == 0) {
        buffer_u8(&r->range_end, 0); /* to the end of all keys */
        return;
    }
    buffer_append(&r->range_end, r->key.data, size);
    r->range_end.data[size - 1]++;
}

/* True if what is left of a query names it once more. */
static bool comes_again(struct view query, struct view wanted)
{
    struct view name;
    struct view value;
    bool has_value;
    while (web_query_next(&query, &name, &value, &has_value)) {
        if (view_equal(name, wanted)) {
            return true;
        }
    }
    return false;
}

/* Key and query. */
static int parse_rest(struct rest_request *r, const struct allowed *allowed, struct view key,
                      struct view query, char problem[REST_PROBLEM_MAX])
{
    struct view name;
    struct view value;
    bool has_value = false;
    if (web_percent_decode(key, &r->key) != OK) {
        return refuse(problem, "a % in the key is not followed by two hexadecimal digits", key);
    }
    while (web_query_next(&query, &name, &value, &has_value)) {
        int status = parse_parameter(r, allowed, name, value, has_value, problem);
        if (status != 0) {
            return status;
        }
        if (comes_again(query, name)) { /* which of them is meant? */
            return refuse(problem, "this parameter is given twice", name);
        }
    }
    if (r->key.size == 0 && !r->prefix) {
        return refuse(problem, "the key is empty; with ?prefix that means all keys",
                      (struct view){0});
    }
    if (!r->prefix && (r->keys_only || r->limit != 0)) {
        return refuse(problem, "keys and limit go with prefix", (struct view){0});
    }
    if (r->wait && (r->revision != 0 || r->limit != 0)) {
        return refuse(problem, "wait goes with neither rev nor limit", (struct view){0});
    }
    if (r->prefix) {
        set_prefix_end(r);
    }
    return 0;
}

int rest_parse(const char *method, struct view key, struct view query, struct view if_match,
               struct view if_none_match, struct rest_request *out, char problem[REST_PROBLEM_MAX])
{
    struct rest_request r = {.content_type = WEB_OCTETS, .wait_revision = -1};
    struct allowed allowed = {0};
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        r.verb = REST_GET;
        allowed = (struct allowed){.prefix = true, .read = true};
    } else if (strcmp(method, "PUT") == 0) {
        r.verb = REST_PUT;
        allowed = (struct allowed){.write = true};
    } else if (strcmp(method, "DELETE") == 0) {
        r.verb = REST_DELETE;
        allowed = (struct allowed){.prefix = true};
    } else {
        (void)snprintf(problem, REST_PROBLEM_MAX, "Method Not Allowed");
        return 405;
    }
    int status = parse_rest(&r, &allowed, key, query, problem);
    if (status == 0 &&
        (!parse_tags(if_match, &r.if_match) || !parse_tags(if_none_match, &r.if_none_match))) {
        status = refuse(problem, "If-Match or If-None-Match is no list of entity tags",
                        (struct view){0});
    }
    bool conditions = r.if_match.given || r.if_none_match.given;
    if (status == 0 && conditions && r.wait) {
        status =
            refuse(problem, "wait goes with neither If-Match nor If-None-Match", (struct view){0});
    }
    if (status == 0 && conditions && r.prefix) {
        status =
            refuse(problem, "If-Match and If-None-Match are for a single key", (struct view){0});
    }
    if (status == 0 && r.if_match.given && r.verb != REST_GET &&
        (r.if_match.count > 1 || r.if_match.weak)) {
        status = refuse(problem, "If-Match of a write is one strong entity tag", (struct view){0});
    }
    if (status != 0) {
        rest_request_free(&r);
        return status;
    }
    *out = r;
    return 0;
}

int rest_parse_watch(const char *method, struct view key, struct view query,
                     struct view last_event_id, struct rest_request *out,
                     char problem[REST_PROBLEM_MAX])
{
    struct rest_request r = {.verb = REST_GET};
    const struct allowed allowed = {.prefix = true, .watch = true};
    int64_t seen = 0;
    if (strcmp(method, "GET") != 0) {
        (void)snprintf(problem, REST_PROBLEM_MAX, "Method Not Allowed");
        return 405;
    }
    int status = parse_rest(&r, &allowed, key, query, problem);
    if (status == 0 && last_event_id.size > 0) { /* it goes on where it stopped */
        if (!web_number(last_event_id, &seen) || seen < 0 || seen == INT64_MAX) {
            status = refuse(problem, "Last-Event-ID is no revision", last_event_id);
        }
        r.revision = seen + 1;
    }
    if (status != 0) {
        rest_request_free(&r);
        return status;
    }
    *out = r;
    return 0;
}

/* ---- writes ----------------------------------------------------------------------------------------- */

void rest_write_body(const struct rest_request *r, struct view value, struct buffer *out)
{
    struct view key = view_of(r->key.data, r->key.size);
    struct txn_compare compares[2 + REST_TAGS_MAX];
    size_t count = 0;
    ASSERT(r->if_match.count <= 1);
    if (r->if_match.any) {
        compares[count++] =
            (struct txn_compare){.result = TXN_GREATER, .target = TXN_VERSION, .key = key};
    } else if (r->if_match.count == 1) {
        compares[count++] = (struct txn_compare){
            .result = TXN_EQUAL, .target = TXN_MOD, .key = key, .number = r->if_match.revisions[0]};
    }
    if (r->if_none_match.any) {
        compares[count++] =
            (struct txn_compare){.result = TXN_EQUAL, .target = TXN_VERSION, .key = key};
    }
    for (size_t i = 0; i < r->if_none_match.count; i++) {
        compares[count++] = (struct txn_compare){.result = TXN_NOT_EQUAL,
                                                 .target = TXN_MOD,
                                                 .key = key,
                                                 .number = r->if_none_match.revisions[i]};
    }
    struct txn_op write = {.key = key};
    if (r->verb == REST_PUT) {
        write.kind = TXN_PUT;
        write.value = value;
        write.lease = r->lease;
    } else {
        write.kind = TXN_DELETE_RANGE;
    }
    struct txn_op read = {.kind = TXN_RANGE, .range = {.key = key, .keys_only = true}};
    const struct txn_body body = {.compares = compares,
                                  .compare_count = count,
                                  .success = &write,
                                  .success_count = 1,
                                  .failure = &read,
                                  .failure_count = 1};
    txn_body_encode(&body, out);
}

/* ---- pairs ------------------------------------------------------------------------------------------ */

static void write_octets(const char *name, struct view octets, struct buffer *out)
{
    bool text = utf8_valid(octets);
    buffer_u8(out, '"');
    json_write_raw(out, name);
    json_write_raw(out, text ? "\":" : "_base64\":\"");
    if (text) {
        json_write_string(out, octets);
    } else {
        base64_write(out, octets);
        buffer_u8(out, '"');
    }
}

static void write_number(const char *name, int64_t number, struct buffer *out)
{
    json_write_raw(out, ",\"");
    json_write_raw(out, name);
    json_write_raw(out, "\":");
    json_write_i64(out, number);
}

static void write_members(const struct key_value *kv, bool keys_only, struct buffer *out)
{
    write_octets("key", kv->key, out);
    if (!keys_only) {
        buffer_u8(out, ',');
        write_octets("value", kv->value, out);
    }
    write_number("create_revision", kv->create_revision, out);
    write_number("mod_revision", kv->mod_revision, out);
    write_number("version", kv->version, out);
    if (kv->lease != 0) {
        json_write_raw(out, ",\"lease\":\"");
        json_write_i64(out, kv->lease);
        buffer_u8(out, '"');
    }
}

void rest_write_kv(const struct key_value *kv, bool keys_only, struct buffer *out)
{
    buffer_u8(out, '{');
    write_members(kv, keys_only, out);
    buffer_u8(out, '}');
}

void rest_write_event(const struct key_value *kv, bool deleted, struct buffer *out)
{
    if (deleted) {
        json_write_raw(out, "{\"type\":\"delete\",");
        write_octets("key", kv->key, out);
        write_number("mod_revision", kv->mod_revision, out);
    } else {
        json_write_raw(out, "{\"type\":\"put\",");
        write_members(kv, false, out);
    }
    buffer_u8(out, '}');
}

void rest_write_list(const struct result *result, bool keys_only, struct buffer *out)
{
    json_write_raw(out, "[");
    for (size_t i = 0; i < result->kv_count; i++) {
        json_write_raw(out, i > 0 ? ",\n" : "\n");
        rest_write_kv(&result->kvs[i], keys_only, out);
    }
    json_write_raw(out, "\n]\n");
}
