/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_routes.c: see web_routes.h.
 */
#include "web_routes.h"

#include "web_target.h"

#include "election.pb-c.h"
#include "holdfast.pb-c.h"
#include "lock.pb-c.h"
#include "rpc.pb-c.h"

#include <string.h>

const struct web_route web_routes[] = {
    {"kv/range", "/etcdserverpb.KV/Range", &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_response__descriptor},
    {"kv/put", "/etcdserverpb.KV/Put", &etcdserverpb__put_request__descriptor,
     &etcdserverpb__put_response__descriptor},
    {"kv/deleterange", "/etcdserverpb.KV/DeleteRange",
     &etcdserverpb__delete_range_request__descriptor,
     &etcdserverpb__delete_range_response__descriptor},
    {"kv/txn", "/etcdserverpb.KV/Txn", &etcdserverpb__txn_request__descriptor,
     &etcdserverpb__txn_response__descriptor},
    {"kv/compaction", "/etcdserverpb.KV/Compact", &etcdserverpb__compaction_request__descriptor,
     &etcdserverpb__compaction_response__descriptor},
    {"watch", "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_request__descriptor,
     &etcdserverpb__watch_response__descriptor},
    {"lease/grant", "/etcdserverpb.Lease/LeaseGrant",
     &etcdserverpb__lease_grant_request__descriptor,
     &etcdserverpb__lease_grant_response__descriptor},
    {"lease/revoke", "/etcdserverpb.Lease/LeaseRevoke",
     &etcdserverpb__lease_revoke_request__descriptor,
     &etcdserverpb__lease_revoke_response__descriptor},
    {"lease/keepalive", "/etcdserverpb.Lease/LeaseKeepAlive",
     &etcdserverpb__lease_keep_alive_request__descriptor,
     &etcdserverpb__lease_keep_alive_response__descriptor},
    {"lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive",
     &etcdserverpb__lease_time_to_live_request__descriptor,
     &etcdserverpb__lease_time_to_live_response__descriptor},
    {"lease/leases", "/etcdserverpb.Lease/LeaseLeases",
     &etcdserverpb__lease_leases_request__descriptor,
     &etcdserverpb__lease_leases_response__descriptor},
    {"kv/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke",
     &etcdserverpb__lease_revoke_request__descriptor,
     &etcdserverpb__lease_revoke_response__descriptor},
    {"kv/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive",
     &etcdserverpb__lease_time_to_live_request__descriptor,
     &etcdserverpb__lease_time_to_live_response__descriptor},
    {"kv/lease/leases", "/etcdserverpb.Lease/LeaseLeases",
     &etcdserverpb__lease_leases_request__descriptor,
     &etcdserverpb__lease_leases_response__descriptor},
    {"cluster/member/add", "/etcdserverpb.Cluster/MemberAdd",
     &etcdserverpb__member_add_request__descriptor, &etcdserverpb__member_add_response__descriptor},
    {"cluster/member/remove", "/etcdserverpb.Cluster/MemberRemove",
     &etcdserverpb__member_remove_request__descriptor,
     &etcdserverpb__member_remove_response__descriptor},
    {"cluster/member/update", "/etcdserverpb.Cluster/MemberUpdate",
     &etcdserverpb__member_update_request__descriptor,
     &etcdserverpb__member_update_response__descriptor},
    {"cluster/member/list", "/etcdserverpb.Cluster/MemberList",
     &etcdserverpb__member_list_request__descriptor,
     &etcdserverpb__member_list_response__descriptor},
    {"cluster/member/promote", "/etcdserverpb.Cluster/MemberPromote",
     &etcdserverpb__member_promote_request__descriptor,
     &etcdserverpb__member_promote_response__descriptor},
    {"maintenance/alarm", "/etcdserverpb.Maintenance/Alarm",
     &etcdserverpb__alarm_request__descriptor, &etcdserverpb__alarm_response__descriptor},
    {"maintenance/status", "/etcdserverpb.Maintenance/Status",
     &etcdserverpb__status_request__descriptor, &etcdserverpb__status_response__descriptor},
    {"maintenance/defragment", "/etcdserverpb.Maintenance/Defragment",
     &etcdserverpb__defragment_request__descriptor, &etcdserverpb__defragment_response__descriptor},
    {"maintenance/hash", "/etcdserverpb.Maintenance/Hash", &etcdserverpb__hash_request__descriptor,
     &etcdserverpb__hash_response__descriptor},
    {"maintenance/hashkv", "/etcdserverpb.Maintenance/HashKV",
     &etcdserverpb__hash_kvrequest__descriptor, &etcdserverpb__hash_kvresponse__descriptor},
    {"maintenance/snapshot", "/etcdserverpb.Maintenance/Snapshot",
     &etcdserverpb__snapshot_request__descriptor, &etcdserverpb__snapshot_response__descriptor},
    {"maintenance/transfer-leadership", "/etcdserverpb.Maintenance/MoveLeader",
     &etcdserverpb__move_leader_request__descriptor,
     &etcdserverpb__move_leader_response__descriptor},
    {"maintenance/downgrade", "/etcdserverpb.Maintenance/Downgrade",
     &etcdserverpb__downgrade_request__descriptor, &etcdserverpb__downgrade_response__descriptor},
    {"election/campaign", "/v3electionpb.Election/Campaign",
     &v3electionpb__campaign_request__descriptor, &v3electionpb__campaign_response__descriptor},
    {"election/proclaim", "/v3electionpb.Election/Proclaim",
     &v3electionpb__proclaim_request__descriptor, &v3electionpb__proclaim_response__descriptor},
    {"election/leader", "/v3electionpb.Election/Leader", &v3electionpb__leader_request__descriptor,
     &v3electionpb__leader_response__descriptor},
    {"election/observe", "/v3electionpb.Election/Observe",
     &v3electionpb__leader_request__descriptor, &v3electionpb__leader_response__descriptor},
    {"election/resign", "/v3electionpb.Election/Resign", &v3electionpb__resign_request__descriptor,
     &v3electionpb__resign_response__descriptor},
    {"lock/lock", "/v3lockpb.Lock/Lock", &v3lockpb__lock_request__descriptor,
     &v3lockpb__lock_response__descriptor},
    {"lock/unlock", "/v3lockpb.Lock/Unlock", &v3lockpb__unlock_request__descriptor,
     &v3lockpb__unlock_response__descriptor},
    {"cluster", "/holdfast.v1.Cluster/GetCluster", &holdfast__v1__get_cluster_request__descriptor,
     &holdfast__v1__get_cluster_response__descriptor},
    {"cluster/wish", "/holdfast.v1.Cluster/SetWish", &holdfast__v1__set_wish_request__descriptor,
     &holdfast__v1__set_wish_response__descriptor},
    {"cluster/replace", "/holdfast.v1.Cluster/Replace", &holdfast__v1__replace_request__descriptor,
     &holdfast__v1__replace_response__descriptor},
    {"auth/enable", "/etcdserverpb.Auth/AuthEnable", NULL, NULL},
    {"auth/disable", "/etcdserverpb.Auth/AuthDisable", NULL, NULL},
    {"auth/status", "/etcdserverpb.Auth/AuthStatus", &etcdserverpb__auth_status_request__descriptor,
     &etcdserverpb__auth_status_response__descriptor},
    {"auth/authenticate", "/etcdserverpb.Auth/Authenticate",
     &etcdserverpb__authenticate_request__descriptor,
     &etcdserverpb__authenticate_response__descriptor},
    {"auth/user/add", "/etcdserverpb.Auth/UserAdd", NULL, NULL},
    {"auth/user/get", "/etcdserverpb.Auth/UserGet", NULL, NULL},
    {"auth/user/list", "/etcdserverpb.Auth/UserList", NULL, NULL},
    {"auth/user/delete", "/etcdserverpb.Auth/UserDelete", NULL, NULL},
    {"auth/user/changepw", "/etcdserverpb.Auth/UserChangePassword", NULL, NULL},
    {"auth/user/grant", "/etcdserverpb.Auth/UserGrantRole", NULL, NULL},
    {"auth/user/revoke", "/etcdserverpb.Auth/UserRevokeRole", NULL, NULL},
    {"auth/role/add", "/etcdserverpb.Auth/RoleAdd", NULL, NULL},
    {"auth/role/get", "/etcdserverpb.Auth/RoleGet", NULL, NULL},
    {"auth/role/list", "/etcdserverpb.Auth/RoleList", NULL, NULL},
    {"auth/role/delete", "/etcdserverpb.Auth/RoleDelete", NULL, NULL},
    {"auth/role/grant", "/etcdserverpb.Auth/RoleGrantPermission", NULL, NULL},
    {"auth/role/revoke", "/etcdserverpb.Auth/RoleRevokePermission", NULL, NULL},
};

const size_t web_route_count = ARRAY_COUNT(web_routes);

bool web_route_take_version(struct view *path)
{
    return web_path_take(path, "/v3/") || web_path_take(path, "/v3beta/") ||
           web_path_take(path, "/v3alpha/") || web_path_take(path, "/holdfast/v1/");
}

const struct web_route *web_route_find(struct view path)
{
    for (size_t i = 0; i < web_route_count; i++) {
        if (view_equal(path, view_of_text(web_routes[i].path))) {
            return &web_routes[i];
        }
    }
    return NULL;
}

int web_status_of_code(uint8_t code)
{
    static const int statuses[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                   400, 409, 400, 501, 500, 503, 500, 401};
    return code < ARRAY_COUNT(statuses) ? statuses[code] : 500;
}

const char *web_status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 409:
        return "Conflict";
    case 429:
        return "Too Many Requests";
    case 499:
        return "Client Closed Request";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default: /* a number, not an enum */
        return "Internal Server Error";
    }
}

static void write_message(const char *message, struct buffer *out)
{
    json_write_raw(out, "\"message\":");
    json_write_string(out, view_of_text(message));
}

void web_error_body(uint8_t code, const char *message, struct buffer *out)
{
    json_write_raw(out, "{\"error\":");
    json_write_string(out, view_of_text(message));
    json_write_raw(out, ",");
    write_message(message, out);
    json_write_raw(out, ",\"code\":");
    json_write_u64(out, code);
    json_write_raw(out, "}");
}

void web_stream_error(uint8_t code, const char *message, struct buffer *out)
{
    int status = web_status_of_code(code);
    json_write_raw(out, "{\"error\":{\"grpc_code\":");
    json_write_u64(out, code);
    json_write_raw(out, ",\"http_code\":");
    json_write_i64(out, status);
    json_write_raw(out, ",");
    write_message(message, out);
    json_write_raw(out, ",\"http_status\":\"");
    json_write_raw(out, web_status_text(status));
    json_write_raw(out, "\",\"code\":");
    json_write_u64(out, code);
    json_write_raw(out, "}}\n");
}
