/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_calls.c: a hostile client's protobuf messages for leases, watches, members, the cluster and
 * maintenance (KV, Lock and Election are in fuzz_grpc.c and fuzz_txn.c). libFuzzer; each input is one
 * message that every decoder is given. What is read must lie within its bounds: the octets of the input and
 * what the state machine may be asked.
 */
#include "base.h"

#include "api/rpc_admin.h"
#include "api/rpc_cluster.h"
#include "api/rpc_lease.h"
#include "api/rpc_maintenance.h"
#include "api/rpc_members.h"
#include "api/rpc_watch.h"

#include <string.h>

#define TTL_MIN_S 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(struct view in, struct view part)
{
    return part.size <= in.size && part.data >= in.data &&
           part.data + part.size <= in.data + in.size;
}

static void leases(struct view in)
{
    struct command command = {0};
    enum err error = rpc_lease_grant_decode(in, TTL_MIN_S, &command);
    ASSERT(error == OK || error == ERR_MALFORMED || error == ERR_LEASE_TTL_TOO_LARGE);
    if (error == OK) {
        ASSERT(command.ttl_s >= TTL_MIN_S && command.ttl_s <= RPC_LEASE_TTL_MAX_S);
    }
    int64_t lease_id = 0;
    struct query query = {0};
    bool read[] = {rpc_lease_revoke_decode(in, &command) == OK,
                   rpc_lease_keepalive_decode(in, &lease_id) == OK,
                   rpc_lease_time_to_live_decode(in, &query) == OK,
                   rpc_lease_leases_decode(in, &query) == OK};
    ASSERT(read[0] == read[1]); /* the same one field */
}

static void watches(struct view in)
{
    struct watch_call call = {0};
    if (rpc_watch_decode(in, &call) != OK || call.kind != WATCH_CALL_CREATE) {
        return;
    }
    ASSERT(call.key.size > 0);
    ASSERT(call.key.size == 1 || is_within(in, call.key));
    ASSERT(call.range_end.size <= 1 || is_within(in, call.range_end));
}

static bool is_text(const char *text, size_t room)
{
    return memchr(text, 0, room) != NULL;
}

static void members(struct view in)
{
    typedef enum err decoder(struct view in, struct member_request * out);
    static decoder *const decoders[] = {rpc_member_add_decode,    rpc_member_remove_decode,
                                        rpc_member_update_decode, rpc_member_promote_decode,
                                        rpc_set_wish_decode,      rpc_replace_decode};
    for (size_t i = 0; i < ARRAY_COUNT(decoders); i++) {
        struct member_request request = {0};
        if (decoders[i](in, &request) == OK) {
            ASSERT(is_text(request.name, sizeof(request.name)));
            ASSERT(is_text(request.peer, sizeof(request.peer)));
            ASSERT(is_text(request.client, sizeof(request.client)));
        }
    }
    bool flag = false;
    (void)(rpc_get_cluster_decode(in, &flag) == OK);
    (void)(rpc_member_list_decode(in, &flag) == OK);
}

static void maintenance(struct view in)
{
    struct rpc_error error = {0};
    uint64_t target = 0;
    int64_t revision = 0;
    if (!rpc_alarm_decode(in, &error)) {
        ASSERT(error.text != NULL && error.text[0] != '\0');
    }
    ASSERT(!rpc_downgrade_decode(in, &error) && error.text[0] != '\0');
    ASSERT(!rpc_authenticate_decode(in, &error) && error.text[0] != '\0');
    (void)rpc_move_leader_decode(in, &target, &error);
    (void)(rpc_hash_kv_decode(in, &revision) == OK);
    (void)(rpc_empty_decode(in) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view in = view_of(data, size);
    leases(in);
    watches(in);
    members(in);
    maintenance(in);
    return 0;
}
