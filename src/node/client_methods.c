/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_methods.c: which method is carried out by whom. The one place that knows all of them; a file
 * that builds a method adds its ops here and is known nowhere else.
 */
#include "client_methods.h"

const struct call_ops *ops_of_method(enum method_kind kind)
{
    static const struct call_ops *const table[METHOD_COUNT] = {
        [METHOD_RANGE] = &client_range_ops,
        [METHOD_PUT] = &client_put_ops,
        [METHOD_DELETE_RANGE] = &client_delete_range_ops,
        [METHOD_TXN] = &client_txn_ops,
        [METHOD_COMPACT] = &client_compact_ops,
        [METHOD_LEASE_GRANT] = &client_lease_grant_ops,
        [METHOD_LEASE_REVOKE] = &client_lease_revoke_ops,
        [METHOD_LEASE_KEEPALIVE] = &client_lease_keepalive_ops,
        [METHOD_LEASE_TIME_TO_LIVE] = &client_lease_time_to_live_ops,
        [METHOD_LEASE_LEASES] = &client_lease_leases_ops,
        [METHOD_WATCH] = &client_watch_ops,
        [METHOD_CAMPAIGN] = &client_campaign_ops,
        [METHOD_PROCLAIM] = &client_proclaim_ops,
        [METHOD_LEADER] = &client_leader_ops,
        [METHOD_OBSERVE] = &client_observe_ops,
        [METHOD_RESIGN] = &client_resign_ops,
        [METHOD_LOCK] = &client_lock_ops,
        [METHOD_UNLOCK] = &client_unlock_ops,
        [METHOD_STATUS] = &client_status_ops,
        [METHOD_MEMBER_LIST] = &client_member_list_ops,
        [METHOD_MEMBER_ADD] = &client_member_add_ops,
        [METHOD_MEMBER_REMOVE] = &client_member_remove_ops,
        [METHOD_MEMBER_UPDATE] = &client_member_update_ops,
        [METHOD_MEMBER_PROMOTE] = &client_member_promote_ops,
        [METHOD_GET_CLUSTER] = &client_get_cluster_ops,
        [METHOD_SET_WISH] = &client_set_wish_ops,
        [METHOD_REPLACE] = &client_replace_ops,
        [METHOD_ALARM] = &client_alarm_ops,
        [METHOD_DEFRAGMENT] = &client_defragment_ops,
        [METHOD_MOVE_LEADER] = &client_move_leader_ops,
        [METHOD_DOWNGRADE] = &client_downgrade_ops,
        [METHOD_AUTHENTICATE] = &client_authenticate_ops,
        [METHOD_AUTH_STATUS] = &client_auth_status_ops,
        [METHOD_HASH] = &client_hash_ops,
        [METHOD_HASH_KV] = &client_hash_kv_ops,
        [METHOD_SNAPSHOT] = &client_snapshot_ops,
        [METHOD_HEALTH_CHECK] = &client_health_check_ops,
        [METHOD_HEALTH_WATCH] = &client_health_watch_ops,
    };
    ASSERT((size_t)kind < METHOD_COUNT);
    return table[kind];
}
