/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_admin.c: see rpc_admin.h.
 */
#include "rpc_admin.h"

#include "rpc_kv_fields.h"

enum {
    CODE_UNKNOWN = 2,
    CODE_INVALID = 3,
    CODE_FAILED_PRECONDITION = 9,
    CODE_UNIMPLEMENTED = 12,
};

static const struct rpc_error nothing_wrong = {0, ""};

static bool refuse(struct rpc_error *error, uint8_t code, const char *text)
{
    *error = (struct rpc_error){code, text};
    return false;
}

static bool malformed(struct rpc_error *error)
{
    *error = rpc_error_unmarshal;
    return false;
}

bool rpc_alarm_decode(struct view in, struct rpc_error *error)
{
    enum { ALARM_ACTION = 1, ALARM_MEMBER, ALARM_TYPE };
    enum { ACTION_GET = 0, ACTION_ACTIVATE, ACTION_DEACTIVATE };
    int32_t action = ACTION_GET;
    int32_t type = 0;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == ALARM_ACTION) {
            action = (int32_t)proto_number(&r);
        } else if (r.field == ALARM_MEMBER) {
            (void)proto_number(&r);
        } else if (r.field == ALARM_TYPE) {
            type = (int32_t)proto_number(&r);
        }
    }
    if (r.failed) {
        return malformed(error);
    }
    if (action < ACTION_GET || action > ACTION_DEACTIVATE) {
        return refuse(error, CODE_INVALID, "holdfast: unknown alarm action");
    }
    if (action == ACTION_ACTIVATE && type != 0) { /* NONE is a no-op in etcd too */
        return refuse(error, CODE_UNIMPLEMENTED,
                      "holdfast: has no alarms, nothing makes the cluster read-only");
    }
    *error = nothing_wrong;
    return true;
}

/* "3.5" or "3.5.0": numbers and dots. */
static bool is_version(struct view text)
{
    size_t dots = 0;
    size_t digits = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '.' && digits > 0) {
            dots++;
            digits = 0;
        } else if (text.data[i] >= '0' && text.data[i] <= '9') {
            digits++;
        } else {
            return false;
        }
    }
    return digits > 0 && (dots == 1 || dots == 2);
}

bool rpc_downgrade_decode(struct view in, struct rpc_error *error)
{
    enum { DOWNGRADE_ACTION = 1, DOWNGRADE_VERSION };
    enum { ACTION_VALIDATE = 0, ACTION_ENABLE, ACTION_CANCEL };
    int32_t action = ACTION_VALIDATE;
    struct view version = {0};
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == DOWNGRADE_ACTION) {
            action = (int32_t)proto_number(&r);
        } else if (r.field == DOWNGRADE_VERSION) {
            version = proto_octets(&r);
        }
    }
    if (r.failed) {
        return malformed(error);
    }
    if (action < ACTION_VALIDATE || action > ACTION_CANCEL) {
        return refuse(error, CODE_UNKNOWN, "etcdserver: unknown method");
    }
    if (action == ACTION_CANCEL) {
        return refuse(error, CODE_FAILED_PRECONDITION, "etcdserver: no inflight downgrade job");
    }
    if (!is_version(version)) {
        return refuse(error, CODE_INVALID, "etcdserver: wrong downgrade target version format");
    }
    return refuse(error, CODE_INVALID, "etcdserver: invalid downgrade target version");
}

bool rpc_authenticate_decode(struct view in, struct rpc_error *error)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {}
    if (r.failed) {
        return malformed(error);
    }
    return refuse(error, CODE_FAILED_PRECONDITION, "etcdserver: authentication is not enabled");
}

bool rpc_move_leader_decode(struct view in, uint64_t *target, struct rpc_error *error)
{
    enum { MOVE_LEADER_TARGET = 1 };
    uint64_t found = 0;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == MOVE_LEADER_TARGET) {
            found = proto_number(&r);
        }
    }
    if (r.failed) {
        return malformed(error);
    }
    *target = found;
    *error = nothing_wrong;
    return true;
}

struct rpc_error rpc_move_leader_check(uint64_t target, uint64_t self, uint64_t leader,
                                       const struct configuration *configuration)
{
    if (leader != self || leader == 0) {
        return (struct rpc_error){CODE_FAILED_PRECONDITION, "etcdserver: not leader"};
    }
    if (!configuration_is_voter(configuration, target)) {
        return (struct rpc_error){CODE_FAILED_PRECONDITION, "etcdserver: bad leader transferee"};
    }
    return nothing_wrong;
}

size_t rpc_auth_status_size(const struct response_header *header)
{
    return rpc_bare_size(header) + proto_uint_size(1);
}

void rpc_auth_status_write(const struct response_header *header, uint8_t *out)
{
    enum { AUTH_STATUS_REVISION = 3 }; /* field 2, enabled, is false */
    out = rpc_header_put(out, header);
    (void)proto_uint_put(out, AUTH_STATUS_REVISION, 1);
}
