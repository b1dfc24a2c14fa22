/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_methods.h: the ops of every method that is built, by the file that builds them.
 */
#ifndef HOLDFAST_CLIENT_METHODS_H
#define HOLDFAST_CLIENT_METHODS_H

#include "client_actor.h"

/* client_kv.c */
extern const struct call_ops client_range_ops, client_put_ops, client_delete_range_ops;
extern const struct call_ops client_txn_ops, client_compact_ops;

/* client_lease.c */
extern const struct call_ops client_lease_grant_ops, client_lease_revoke_ops;
extern const struct call_ops client_lease_keepalive_ops;
extern const struct call_ops client_lease_time_to_live_ops, client_lease_leases_ops;

/* client_recipes.c, client_election.c */
extern const struct call_ops client_lock_ops, client_unlock_ops;
extern const struct call_ops client_campaign_ops, client_proclaim_ops, client_leader_ops,
    client_observe_ops, client_resign_ops;

/* client_node.c */
extern const struct call_ops client_status_ops;
extern const struct call_ops client_health_check_ops, client_health_watch_ops;

/* client_admin.c */
extern const struct call_ops client_alarm_ops, client_defragment_ops;
extern const struct call_ops client_downgrade_ops;
extern const struct call_ops client_authenticate_ops, client_auth_status_ops;

/* client_members.c */
extern const struct call_ops client_member_list_ops, client_member_add_ops,
    client_member_remove_ops, client_member_update_ops, client_member_promote_ops;
extern const struct call_ops client_move_leader_ops;
extern const struct call_ops client_get_cluster_ops, client_set_wish_ops, client_replace_ops;

/* client_copies.c */
extern const struct call_ops client_hash_ops, client_hash_kv_ops, client_snapshot_ops;

/* client_watch.c */
extern const struct call_ops client_watch_ops;

#endif
