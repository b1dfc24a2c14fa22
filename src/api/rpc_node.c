/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_node.c: see rpc_node.h.
 */
#include "rpc_node.h"

#include "health.pb-c.h"
#include "rpc_answer.h"
#include "version.h"

/* protobuf-c's memory is ours, so that exhaustion is fatal here as everywhere */
static void *take(void *context, size_t size)
{
    UNUSED(context);
    return mem_alloc(size);
}

static void give_back(void *context, void *pointer)
{
    UNUSED(context);
    mem_free(pointer);
}

static ProtobufCAllocator allocator = {.alloc = take, .free = give_back, .allocator_data = NULL};

/* ---- requests ------------------------------------------------------------------------------------- */

enum err rpc_status_decode(struct view in)
{
    Etcdserverpb__StatusRequest *request =
        etcdserverpb__status_request__unpack(&allocator, in.size, in.data);
    if (request == NULL) {
        return ERR_MALFORMED;
    }
    etcdserverpb__status_request__free_unpacked(request, &allocator);
    return OK;
}

enum err rpc_health_decode(struct view in, bool *known)
{
    Grpc__Health__V1__HealthCheckRequest *request =
        grpc__health__v1__health_check_request__unpack(&allocator, in.size, in.data);
    if (request == NULL) {
        return ERR_MALFORMED;
    }
    *known = request->service[0] == 0;
    grpc__health__v1__health_check_request__free_unpacked(request, &allocator);
    return OK;
}

/* ---- responses ------------------------------------------------------------------------------------ */

uint8_t *rpc_status_encode(const struct response_header *header, const struct status_facts *facts,
                           size_t room, size_t *size)
{
    /* protobuf-c wants char *, but only reads */
    char server[] = API_VERSION_SERVER;
    char storage[] = API_VERSION_STORAGE;
    char no_leader[] = "etcdserver: no leader";
    char no_space[] = "etcdserver: mvcc: database space exceeded";
    char disk_hangs[] = "holdfast: the disk of this member hangs";
    char *errors[3];

    Etcdserverpb__ResponseHeader head = rpc_header(header);
    Etcdserverpb__DowngradeInfo downgrade;
    Etcdserverpb__StatusResponse response;
    etcdserverpb__downgrade_info__init(&downgrade);
    etcdserverpb__status_response__init(&response);
    response.header = &head;
    response.version = server;
    response.dbsize = (int64_t)facts->db_file_bytes;
    response.leader = facts->leader;
    response.raftindex = facts->commit_index;
    response.raftterm = facts->term;
    response.raftappliedindex = facts->applied_index;
    response.errors = errors;
    if (facts->leader == 0) {
        errors[response.n_errors++] = no_leader;
    }
    if (facts->low_space) {
        errors[response.n_errors++] = no_space;
    }
    if (facts->disk_hangs) {
        errors[response.n_errors++] = disk_hangs;
    }
    response.dbsizeinuse = (int64_t)facts->db_used_bytes;
    response.islearner = facts->is_learner;
    response.storageversion = storage;
    response.dbsizequota = API_QUOTA_BYTES;
    response.downgradeinfo = &downgrade;
    return rpc_pack(&response.base, room, size);
}

void rpc_health_write(enum health health, uint8_t out[RPC_HEALTH_BYTES])
{
    ASSERT(health != HEALTH_UNKNOWN); /* zero would have to be left out */
    out[0] = 1 << 3;
    out[1] = (uint8_t)health;
}
