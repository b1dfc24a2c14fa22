/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method.h: the one table of RPC paths: what a path asks for and whether it streams. It has every path
 * that etcd 3.6 knows; whether a method is carried out, and by whom, is said where that happens
 * (ops_of_method), so that what is not served is told apart from a typing error.
 */
#ifndef HOLDFAST_API_METHOD_H
#define HOLDFAST_API_METHOD_H

#include "base.h"

enum method_kind {
    METHOD_RANGE,
    METHOD_PUT,
    METHOD_DELETE_RANGE,
    METHOD_TXN,
    METHOD_COMPACT,
    METHOD_WATCH,
    METHOD_LEASE_GRANT,
    METHOD_LEASE_REVOKE,
    METHOD_LEASE_KEEPALIVE,
    METHOD_LEASE_TIME_TO_LIVE,
    METHOD_LEASE_LEASES,
    METHOD_MEMBER_LIST,
    METHOD_MEMBER_ADD,
    METHOD_MEMBER_REMOVE,
    METHOD_MEMBER_UPDATE,
    METHOD_MEMBER_PROMOTE,
    METHOD_STATUS,
    METHOD_ALARM,
    METHOD_DEFRAGMENT,
    METHOD_HASH,
    METHOD_HASH_KV,
    METHOD_SNAPSHOT,
    METHOD_MOVE_LEADER,
    METHOD_DOWNGRADE,
    METHOD_AUTH_STATUS,
    METHOD_AUTHENTICATE,
    METHOD_AUTH_CHANGE, /* all others of the service Auth */
    METHOD_CAMPAIGN,
    METHOD_PROCLAIM,
    METHOD_LEADER,
    METHOD_OBSERVE,
    METHOD_RESIGN,
    METHOD_LOCK,
    METHOD_UNLOCK,
    METHOD_GET_CLUSTER,
    METHOD_SET_WISH,
    METHOD_REPLACE,
    METHOD_HEALTH_CHECK,
    METHOD_HEALTH_WATCH,
    METHOD_COUNT
};

struct method {
    enum method_kind kind;
    bool client_streams;
    bool server_streams;
    size_t path_size;
    const char *path; /* "/package.Service/Method" */
};

/* The first method of this kind. */
const struct method *method_of_kind(enum method_kind kind);

/* NULL: nobody serves it; *known_service then says whether the service at least is known. */
const struct method *method_find(struct view path, bool *known_service);

#endif
