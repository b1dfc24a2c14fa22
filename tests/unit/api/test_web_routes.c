/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_web_routes.c: the 51 paths of the JSON gateway (sheet §5.3), each with an RPC that is known, and the
 * errors' form.
 */
#include "base.h"
#include "suite.h"

#include "api/web_routes.h"

static void every_path_has_its_rpc(void)
{
    CU_ASSERT_EQUAL(web_route_count, 51 + 3);
    for (size_t i = 0; i < web_route_count; i++) {
        bool known = false;
        const struct method *m = method_find(view_of_text(web_routes[i].rpc), &known);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL(web_routes[i].request == NULL, web_routes[i].response == NULL);
        CU_ASSERT_PTR_EQUAL(web_route_find(view_of_text(web_routes[i].path)), &web_routes[i]);
        if (web_routes[i].request != NULL) {
            CU_ASSERT_TRUE(json_knows(web_routes[i].request));
            CU_ASSERT_TRUE(json_knows(web_routes[i].response));
        } else {
            CU_ASSERT_TRUE(strncmp(web_routes[i].path, "auth/", 5) == 0);
        }
    }
    CU_ASSERT_PTR_NULL(web_route_find(view_of_text("kv/ranges")));
    CU_ASSERT_PTR_NULL(web_route_find(view_of_text("")));
}

static void old_names_are_taken(void)
{
    static const char *const paths[] = {"/v3/kv/put", "/v3beta/kv/put", "/v3alpha/kv/put"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct view path = view_of_text(paths[i]);
        CU_ASSERT_TRUE(web_route_take_version(&path));
        CU_ASSERT_TRUE(view_equal(path, view_of_text("kv/put")));
    }
    struct view path = view_of_text("/v2/keys");
    CU_ASSERT_FALSE(web_route_take_version(&path));
}

static void errors_please_all_generations(void)
{
    struct buffer out = {0};
    web_error_body(14, "etcdserver: \"no\" leader", &out);
    CU_ASSERT_TRUE(
        view_equal(view_of(out.data, out.size),
                   view_of_text("{\"error\":\"etcdserver: \\\"no\\\" leader\",\"message\":"
                                "\"etcdserver: \\\"no\\\" leader\",\"code\":14}")));
    out.size = 0;
    web_stream_error(14, "gone", &out);
    CU_ASSERT_TRUE(view_equal(
        view_of(out.data, out.size),
        view_of_text("{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"gone\","
                     "\"http_status\":\"Service Unavailable\",\"code\":14}}\n")));
    buffer_free(&out);
    static const int statuses[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                   400, 409, 400, 501, 500, 503, 500, 401};
    for (uint8_t code = 0; code < ARRAY_COUNT(statuses); code++) {
        CU_ASSERT_EQUAL(web_status_of_code(code), statuses[code]);
    }
    CU_ASSERT_EQUAL(web_status_of_code(200), 500);
    CU_ASSERT_STRING_EQUAL(web_status_text(504), "Gateway Timeout");
}

SUITE("api web routes", TEST(every_path_has_its_rpc), TEST(old_names_are_taken),
      TEST(errors_please_all_generations))
