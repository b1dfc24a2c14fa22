/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_error.c: see rpc_error.h. Codes are gRPC's numbers; api stands on base alone and does not
 * include net for them.
 */
#include "rpc_error.h"

enum {
    CODE_UNKNOWN = 2,
    CODE_INVALID = 3,
    CODE_DEADLINE = 4,
    CODE_NOT_FOUND = 5,
    CODE_EXHAUSTED = 8,
    CODE_FAILED_PRECONDITION = 9,
    CODE_RANGE = 11,
    CODE_UNIMPLEMENTED = 12,
    CODE_INTERNAL = 13,
    CODE_UNAVAILABLE = 14,
    CODE_DATA_LOSS = 15
};

const struct rpc_error rpc_error_deadline = {CODE_DEADLINE, "context deadline exceeded"};
const struct rpc_error rpc_error_unmarshal = {
    CODE_INTERNAL, "grpc: error unmarshalling request: malformed protobuf"};
const struct rpc_error rpc_error_no_message = {CODE_UNKNOWN, "EOF"};
const struct rpc_error rpc_error_cut_message = {CODE_UNKNOWN, "unexpected EOF"};
const struct rpc_error rpc_error_too_many_streams = {CODE_EXHAUSTED, "holdfast: too many streams"};
const struct rpc_error rpc_error_large_header = {
    CODE_EXHAUSTED, "holdfast: the request's header is larger than client.header_bytes_max"};
const struct rpc_error rpc_error_unknown_health_service = {CODE_NOT_FOUND, "unknown service"};

static const char far_behind[] = "etcdserver: too far behind the leader";

bool rpc_error_names_leader(struct rpc_error error)
{
    return error.text == far_behind;
}

struct rpc_error rpc_error_of(enum err error)
{
    switch (error) {
    case OK:
        return (struct rpc_error){0, ""};
    case ERR_MALFORMED:
    case ERR_TRUNCATED:
        return rpc_error_unmarshal;
    case ERR_TOO_LARGE:
        return (struct rpc_error){CODE_INVALID, "etcdserver: request is too large"};
    case ERR_NO_LEADER:
        return (struct rpc_error){CODE_UNAVAILABLE, "etcdserver: no leader"};
    /* Raft refuses with NOT_LEADER what reached a member that leads no more: for the client that is
     * the same as a change of leader (etcd's own "not leader" belongs to MoveLeader alone). */
    case ERR_NOT_LEADER:
    case ERR_LEADER_CHANGED:
        return (struct rpc_error){CODE_UNAVAILABLE, "etcdserver: leader changed"};
    case ERR_TOO_FAR_BEHIND: /* etcd has no such answer; the code makes its clients ask elsewhere */
        return (struct rpc_error){CODE_UNAVAILABLE, far_behind};
    case ERR_TIMEOUT:
        return (struct rpc_error){CODE_UNAVAILABLE, "etcdserver: request timed out"};
    /* etcd defines 8 and lets 2 slip out; the definition tells a client that trying later helps */
    case ERR_OVERLOAD:
        return (struct rpc_error){CODE_EXHAUSTED, "etcdserver: too many requests"};
    case ERR_STOPPED:
        return (struct rpc_error){CODE_UNAVAILABLE, "etcdserver: server stopped"};
    case ERR_UNIMPLEMENTED:
        return (struct rpc_error){CODE_UNIMPLEMENTED, "holdfast: not built yet"};
    case ERR_COMPACTED:
        return (struct rpc_error){CODE_RANGE,
                                  "etcdserver: mvcc: required revision has been compacted"};
    case ERR_FUTURE_REVISION:
        return (struct rpc_error){CODE_RANGE,
                                  "etcdserver: mvcc: required revision is a future revision"};
    case ERR_KEY_EMPTY:
        return (struct rpc_error){CODE_INVALID, "etcdserver: key is not provided"};
    case ERR_KEY_NOT_FOUND:
        return (struct rpc_error){CODE_INVALID, "etcdserver: key not found"};
    case ERR_VALUE_PROVIDED:
        return (struct rpc_error){CODE_INVALID, "etcdserver: value is provided"};
    case ERR_LEASE_PROVIDED:
        return (struct rpc_error){CODE_INVALID, "etcdserver: lease is provided"};
    case ERR_LEASE_NOT_FOUND:
        return (struct rpc_error){CODE_NOT_FOUND, "etcdserver: requested lease not found"};
    case ERR_INVALID_SORT:
        return (struct rpc_error){CODE_INVALID, "etcdserver: invalid sort option"};
    /* etcd takes an unknown comparison for one that holds; a guard must not be skipped silently */
    case ERR_INVALID_COMPARE:
        return (struct rpc_error){CODE_INVALID, "holdfast: unknown result or target of a compare"};
    case ERR_TOO_MANY_OPS:
        return (struct rpc_error){CODE_INVALID, "etcdserver: too many operations in txn request"};
    case ERR_DUPLICATE_KEY:
        return (struct rpc_error){CODE_INVALID, "etcdserver: duplicate key given in txn request"};
    case ERR_LEASE_EXISTS:
        return (struct rpc_error){CODE_FAILED_PRECONDITION, "etcdserver: lease already exists"};
    case ERR_LEASE_TTL_TOO_LARGE:
        return (struct rpc_error){CODE_RANGE, "etcdserver: too large lease TTL"};
    case ERR_NO_SPACE_LEFT:
        return (struct rpc_error){CODE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"};
    /* etcd has no such states: its changes are single steps that wait for each other. */
    case ERR_CHANGE_PENDING:
        return (struct rpc_error){CODE_UNAVAILABLE,
                                  "holdfast: another change of members is not finished"};
    case ERR_CHANGED_SINCE:
        return (struct rpc_error){CODE_UNAVAILABLE,
                                  "holdfast: the members have changed since they were looked at"};
    case ERR_ID_REUSED:
        return (struct rpc_error){CODE_FAILED_PRECONDITION, "etcdserver: member ID already exist"};
    case ERR_MEMBER_NOT_FOUND:
        return (struct rpc_error){CODE_NOT_FOUND, "etcdserver: member not found"};
    case ERR_PEER_URL_EXISTS:
        return (struct rpc_error){CODE_FAILED_PRECONDITION, "etcdserver: Peer URLs already exists"};
    case ERR_MEMBER_URLS:
        return (struct rpc_error){CODE_INVALID, "etcdserver: given member URLs are invalid"};
    case ERR_TOO_MANY_MEMBERS:
        return (struct rpc_error){CODE_FAILED_PRECONDITION,
                                  "etcdserver: too many learner members in cluster"};
    case ERR_NOT_A_LEARNER:
        return (struct rpc_error){CODE_FAILED_PRECONDITION,
                                  "etcdserver: can only promote a learner member"};
    case ERR_LEARNER_NOT_READY:
        return (struct rpc_error){
            CODE_FAILED_PRECONDITION,
            "etcdserver: can only promote a learner member which is in sync with leader"};
    case ERR_UNHEALTHY:
        return (struct rpc_error){CODE_UNAVAILABLE, "etcdserver: unhealthy cluster"};
    /* By definition FAILED_PRECONDITION; on etcd's wire it is this, and clients see the wire. */
    case ERR_NOT_ENOUGH_STARTED:
        return (struct rpc_error){
            CODE_UNKNOWN, "etcdserver: re-configuration failed due to not enough started members"};
    case ERR_REMOVED:
        return (struct rpc_error){CODE_UNAVAILABLE,
                                  "holdfast: this node was removed from the cluster"};
    case ERR_BAD_TRANSFEREE:
        return (struct rpc_error){CODE_FAILED_PRECONDITION, "etcdserver: bad leader transferee"};
    case ERR_CORRUPT:
        return (struct rpc_error){CODE_DATA_LOSS, "etcdserver: corrupt cluster"};
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_CHECKSUM:
    case ERR_NEWER_FORMAT:
    case ERR_IO:
    case ERR_DISK_FULL:
    case ERR_BUSY_FILE:
    case ERR_IN_USE:
    case ERR_FOREIGN_WRITE:
    case ERR_CONFIG:
    case ERR_ADDRESS:
    case ERR_CLOSED:
    case ERR_PROTOCOL:
    case ERR_VERSION:
    case ERR_CLUSTER_MISMATCH:
    case ERR_UNKNOWN_MEMBER:
    case ERR_NOT_FOUNDED:
    case ERR_IDENTITY:
    case ERR_COUNT:
        break;
    }
    return (struct rpc_error){CODE_UNKNOWN, err_text(error)};
}
