/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_rest.c: whatever targets and conditions a client sends to the doors of plain HTTP: paths, queries,
 * percent-encoding, entity tags, hosts and origins. The first octet says how many of the rest are the target
 * (times two), the second the method; behind the target come If-Match, a zero octet and If-None-Match.
 */
#include "base.h"

#include "api/json_text.h"
#include "api/web.h"
#include "api/web_policy.h"
#include "api/web_rest.h"
#include "api/web_target.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct rest_request *r, struct view value)
{
    ASSERT(r->key.size > 0);
    ASSERT(r->prefix == (r->range_end.size > 0));
    ASSERT(r->revision >= 0);
    ASSERT(r->limit >= 0);
    struct key_value kv = {.key = view_of(r->key.data, r->key.size),
                           .value = value,
                           .mod_revision = r->if_match.count > 0 ? r->if_match.revisions[0] : 1};
    int status = rest_conditions(r, &kv);
    ASSERT(status == 0 || status == 304 || status == 412);
    struct buffer out = {0};
    rest_write_kv(&kv, false, &out);
    ASSERT(utf8_valid(view_of(out.data, out.size)));
    out.size = 0;
    if (r->verb != REST_GET && (r->if_match.given || r->if_none_match.given)) {
        struct txn_body *tree = NULL;
        rest_write_body(r, value, &out);
        enum err error = txn_body_decode(view_of(out.data, out.size), &tree);
        ASSERT(error == OK);
        error = txn_body_check(tree, 128);
        ASSERT(error == OK);
        mem_free(tree);
    }
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "POST"};
    static const struct config config = {
        .listen_client = "a:1", .web_hosts = "b *.c", .web_origins = "http://b, null"};
    if (size < 2) {
        return 0;
    }
    const char *method = methods[data[1] % ARRAY_COUNT(methods)];
    struct view target = view_of(data + 2, (size_t)data[0] * 2);
    if (target.size > size - 2) {
        target.size = size - 2;
    }
    struct view match = view_of(target.data + target.size, size - 2 - target.size);
    struct view none_match = {0};
    const uint8_t *zero = match.size > 0 ? memchr(match.data, 0, match.size) : NULL;
    if (zero != NULL) {
        size_t first = (size_t)(zero - match.data);
        none_match = view_of(zero + 1, match.size - first - 1);
        match.size = first;
    }
    struct web_target parts = web_target_split(target);
    struct rest_request r;
    char problem[REST_PROBLEM_MAX] = "";
    int status = rest_parse(method, parts.path, parts.query, match, none_match, &r, problem);
    if (status == 0) {
        look_at(&r, none_match);
        rest_request_free(&r);
    } else {
        ASSERT(problem[0] != 0 && strchr(problem, '\n') == NULL);
        ASSERT(status == 400 || status == 405);
    }
    status = rest_parse_watch(method, parts.path, parts.query, match, &r, problem);
    if (status == 0) {
        rest_request_free(&r);
    }
    struct web_checks checks;
    if (web_checks_parse(parts.path, parts.query, &checks)) {
        struct buffer room = {0};
        (void)web_checks_answer(&checks, &room);
        buffer_free(&room);
    }
    struct buffer encoded = {0};
    struct buffer decoded = {0};
    web_percent_encode(target, &encoded);
    enum err error = web_percent_decode(view_of(encoded.data, encoded.size), &decoded);
    ASSERT(error == OK);
    ASSERT(view_equal(view_of(decoded.data, decoded.size), target));
    buffer_free(&encoded);
    buffer_free(&decoded);
    (void)web_host_allowed(&config, target);
    (void)web_origin_allowed(&config, target);
    return 0;
}
