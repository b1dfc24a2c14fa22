/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method.h: the one table of RPC paths: what a path asks for and whether it streams. A path that etcd
 * knows and holdfast does not serve yet is in it too, so that its answer differs from a typing error's.
 */
#ifndef HOLDFAST_API_METHOD_H
#define HOLDFAST_API_METHOD_H

#include "base.h"

enum method_kind {
    METHOD_RANGE,
    METHOD_PUT,
    METHOD_DELETE_RANGE,
    METHOD_STATUS,
    METHOD_MEMBER_LIST,
    METHOD_HEALTH_CHECK,
    METHOD_HEALTH_WATCH,
    METHOD_NOT_BUILT,
};

struct method {
    enum method_kind kind;
    bool client_streams;
    bool server_streams;
    size_t path_size;
    const char *path; /* "/package.Service/Method" */
};

/* NULL: nobody serves it; *known_service then says whether the service at least is known. */
const struct method *method_find(struct view path, bool *known_service);

#endif
