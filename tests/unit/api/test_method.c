/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_method.c: the table of RPC paths: what is served, what etcd knows and holdfast does not build yet,
 * and what nobody knows (sheet §1.1).
 */
#include "base.h"
#include "suite.h"

#include "api/method.h"

static const struct method *find(const char *path, bool *known)
{
    return method_find(view_of_text(path), known);
}

static void finds_what_is_served(void)
{
    static const struct {
        const char *path;
        enum method_kind kind;
    } served[] = {{"/etcdserverpb.KV/Range", METHOD_RANGE},
                  {"/etcdserverpb.KV/Put", METHOD_PUT},
                  {"/etcdserverpb.KV/DeleteRange", METHOD_DELETE_RANGE},
                  {"/etcdserverpb.Maintenance/Status", METHOD_STATUS},
                  {"/etcdserverpb.Cluster/MemberList", METHOD_MEMBER_LIST},
                  {"/grpc.health.v1.Health/Check", METHOD_HEALTH_CHECK},
                  {"/grpc.health.v1.Health/Watch", METHOD_HEALTH_WATCH},
                  {"/etcdserverpb.Auth/RoleRevokePermission", METHOD_AUTH_CHANGE},
                  {"/etcdserverpb.Watch/Watch", METHOD_WATCH}};
    for (size_t i = 0; i < ARRAY_COUNT(served); i++) {
        bool known = false;
        const struct method *m = find(served[i].path, &known);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_TRUE(known);
        CU_ASSERT_EQUAL(m->kind, served[i].kind);
        CU_ASSERT_STRING_EQUAL(m->path, served[i].path);
    }
    bool known;
    CU_ASSERT_TRUE(find("/etcdserverpb.Watch/Watch", &known)->client_streams);
    CU_ASSERT_TRUE(find("/etcdserverpb.Maintenance/Snapshot", &known)->server_streams);
    CU_ASSERT_FALSE(find("/etcdserverpb.KV/Put", &known)->server_streams);
}

static void tells_unknown_methods_from_unknown_services(void)
{
    bool known = false;
    CU_ASSERT_PTR_NULL(find("/etcdserverpb.KV/Nope", &known));
    CU_ASSERT_TRUE(known);
    CU_ASSERT_PTR_NULL(find("/etcdserverpb.KV/", &known));
    CU_ASSERT_TRUE(known);
    static const char *const unknown[] = {
        "/etcdserverpb.K/Put",
        "/etcdserverpb.KVX/Put",
        "/",
        "//",
        "",
        "etcdserverpb.KV/Put",
        "/etcdserverpb.KV",
        "/a/b/c",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"};
    for (size_t i = 0; i < ARRAY_COUNT(unknown); i++) {
        CU_ASSERT_PTR_NULL(find(unknown[i], &known));
        CU_ASSERT_FALSE(known);
    }
}

SUITE("api method", TEST(finds_what_is_served), TEST(tells_unknown_methods_from_unknown_services))
