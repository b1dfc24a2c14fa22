/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method.c: see method.h. The most frequent paths stand first: the search compares sizes, then octets.
 */
#include "method.h"

#include <string.h>

#define UNARY(kind, path)                                                                          \
    {                                                                                              \
        METHOD_##kind, false, false, sizeof(path) - 1, path                                        \
    }
#define SERVER_STREAM(kind, path)                                                                  \
    {                                                                                              \
        METHOD_##kind, false, true, sizeof(path) - 1, path                                         \
    }
#define BOTH_STREAM(kind, path)                                                                    \
    {                                                                                              \
        METHOD_##kind, true, true, sizeof(path) - 1, path                                          \
    }

static const struct method methods[] = {
    UNARY(RANGE, "/etcdserverpb.KV/Range"),
    UNARY(PUT, "/etcdserverpb.KV/Put"),
    UNARY(DELETE_RANGE, "/etcdserverpb.KV/DeleteRange"),
    UNARY(NOT_BUILT, "/etcdserverpb.KV/Txn"),
    UNARY(NOT_BUILT, "/etcdserverpb.KV/Compact"),
    BOTH_STREAM(NOT_BUILT, "/etcdserverpb.Watch/Watch"),
    UNARY(NOT_BUILT, "/etcdserverpb.Lease/LeaseGrant"),
    UNARY(NOT_BUILT, "/etcdserverpb.Lease/LeaseRevoke"),
    BOTH_STREAM(NOT_BUILT, "/etcdserverpb.Lease/LeaseKeepAlive"),
    UNARY(NOT_BUILT, "/etcdserverpb.Lease/LeaseTimeToLive"),
    UNARY(NOT_BUILT, "/etcdserverpb.Lease/LeaseLeases"),
    UNARY(MEMBER_LIST, "/etcdserverpb.Cluster/MemberList"),
    UNARY(NOT_BUILT, "/etcdserverpb.Cluster/MemberAdd"),
    UNARY(NOT_BUILT, "/etcdserverpb.Cluster/MemberRemove"),
    UNARY(NOT_BUILT, "/etcdserverpb.Cluster/MemberUpdate"),
    UNARY(NOT_BUILT, "/etcdserverpb.Cluster/MemberPromote"),
    UNARY(STATUS, "/etcdserverpb.Maintenance/Status"),
    UNARY(NOT_BUILT, "/etcdserverpb.Maintenance/Alarm"),
    UNARY(NOT_BUILT, "/etcdserverpb.Maintenance/Defragment"),
    UNARY(NOT_BUILT, "/etcdserverpb.Maintenance/Hash"),
    UNARY(NOT_BUILT, "/etcdserverpb.Maintenance/HashKV"),
    SERVER_STREAM(NOT_BUILT, "/etcdserverpb.Maintenance/Snapshot"),
    UNARY(NOT_BUILT, "/etcdserverpb.Maintenance/MoveLeader"),
    UNARY(NOT_BUILT, "/etcdserverpb.Maintenance/Downgrade"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/AuthEnable"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/AuthDisable"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/AuthStatus"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/Authenticate"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/UserAdd"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/UserGet"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/UserList"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/UserDelete"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/UserChangePassword"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/UserGrantRole"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/UserRevokeRole"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/RoleAdd"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/RoleGet"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/RoleList"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/RoleDelete"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/RoleGrantPermission"),
    UNARY(NOT_BUILT, "/etcdserverpb.Auth/RoleRevokePermission"),
    UNARY(NOT_BUILT, "/v3electionpb.Election/Campaign"),
    UNARY(NOT_BUILT, "/v3electionpb.Election/Proclaim"),
    UNARY(NOT_BUILT, "/v3electionpb.Election/Leader"),
    SERVER_STREAM(NOT_BUILT, "/v3electionpb.Election/Observe"),
    UNARY(NOT_BUILT, "/v3electionpb.Election/Resign"),
    UNARY(NOT_BUILT, "/v3lockpb.Lock/Lock"),
    UNARY(NOT_BUILT, "/v3lockpb.Lock/Unlock"),
    UNARY(HEALTH_CHECK, "/grpc.health.v1.Health/Check"),
    SERVER_STREAM(HEALTH_WATCH, "/grpc.health.v1.Health/Watch"),
};

const struct method *method_find(struct view path, bool *known_service)
{
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        const struct method *m = &methods[i];
        if (m->path_size == path.size && memcmp(m->path, path.data, path.size) == 0) {
            *known_service = true;
            return m;
        }
    }
    *known_service = false;
    const uint8_t *slash = path.size > 0 ? memrchr(path.data, '/', path.size) : NULL;
    if (slash == NULL) {
        return NULL;
    }
    size_t service_size = (size_t)(slash - path.data) + 1; /* with both slashes */
    for (size_t i = 0; i < ARRAY_COUNT(methods) && !*known_service; i++) {
        *known_service = methods[i].path_size > service_size &&
                         methods[i].path[service_size - 1] == '/' && service_size > 1 &&
                         memcmp(methods[i].path, path.data, service_size) == 0;
    }
    return NULL;
}
