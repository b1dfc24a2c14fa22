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
    UNARY(TXN, "/etcdserverpb.KV/Txn"),
    UNARY(COMPACT, "/etcdserverpb.KV/Compact"),
    BOTH_STREAM(WATCH, "/etcdserverpb.Watch/Watch"),
    UNARY(LEASE_GRANT, "/etcdserverpb.Lease/LeaseGrant"),
    UNARY(LEASE_REVOKE, "/etcdserverpb.Lease/LeaseRevoke"),
    BOTH_STREAM(LEASE_KEEPALIVE, "/etcdserverpb.Lease/LeaseKeepAlive"),
    UNARY(LEASE_TIME_TO_LIVE, "/etcdserverpb.Lease/LeaseTimeToLive"),
    UNARY(LEASE_LEASES, "/etcdserverpb.Lease/LeaseLeases"),
    UNARY(MEMBER_LIST, "/etcdserverpb.Cluster/MemberList"),
    UNARY(MEMBER_ADD, "/etcdserverpb.Cluster/MemberAdd"),
    UNARY(MEMBER_REMOVE, "/etcdserverpb.Cluster/MemberRemove"),
    UNARY(MEMBER_UPDATE, "/etcdserverpb.Cluster/MemberUpdate"),
    UNARY(MEMBER_PROMOTE, "/etcdserverpb.Cluster/MemberPromote"),
    UNARY(STATUS, "/etcdserverpb.Maintenance/Status"),
    UNARY(ALARM, "/etcdserverpb.Maintenance/Alarm"),
    UNARY(DEFRAGMENT, "/etcdserverpb.Maintenance/Defragment"),
    UNARY(HASH, "/etcdserverpb.Maintenance/Hash"),
    UNARY(HASH_KV, "/etcdserverpb.Maintenance/HashKV"),
    SERVER_STREAM(SNAPSHOT, "/etcdserverpb.Maintenance/Snapshot"),
    UNARY(MOVE_LEADER, "/etcdserverpb.Maintenance/MoveLeader"),
    UNARY(DOWNGRADE, "/etcdserverpb.Maintenance/Downgrade"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/AuthEnable"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/AuthDisable"),
    UNARY(AUTH_STATUS, "/etcdserverpb.Auth/AuthStatus"),
    UNARY(AUTHENTICATE, "/etcdserverpb.Auth/Authenticate"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/UserAdd"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/UserGet"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/UserList"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/UserDelete"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/UserChangePassword"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/UserGrantRole"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/UserRevokeRole"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/RoleAdd"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/RoleGet"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/RoleList"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/RoleDelete"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/RoleGrantPermission"),
    UNARY(AUTH_CHANGE, "/etcdserverpb.Auth/RoleRevokePermission"),
    UNARY(CAMPAIGN, "/v3electionpb.Election/Campaign"),
    UNARY(PROCLAIM, "/v3electionpb.Election/Proclaim"),
    UNARY(LEADER, "/v3electionpb.Election/Leader"),
    SERVER_STREAM(OBSERVE, "/v3electionpb.Election/Observe"),
    UNARY(RESIGN, "/v3electionpb.Election/Resign"),
    UNARY(LOCK, "/v3lockpb.Lock/Lock"),
    UNARY(UNLOCK, "/v3lockpb.Lock/Unlock"),
    UNARY(GET_CLUSTER, "/holdfast.v1.Cluster/GetCluster"),
    UNARY(SET_WISH, "/holdfast.v1.Cluster/SetWish"),
    UNARY(REPLACE, "/holdfast.v1.Cluster/Replace"),
    UNARY(HEALTH_CHECK, "/grpc.health.v1.Health/Check"),
    SERVER_STREAM(HEALTH_WATCH, "/grpc.health.v1.Health/Watch"),
};

const struct method *method_of_kind(enum method_kind kind)
{
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        if (methods[i].kind == kind) {
            return &methods[i];
        }
    }
    return NULL;
}

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
