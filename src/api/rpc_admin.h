/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_admin.h: the rest of etcd's Maintenance service and what clients must be told about Auth: Alarm,
 * MoveLeader, Downgrade, AuthStatus, Authenticate. Requests read, responses written. No state, no I/O.
 *
 * What holdfast has none of is answered as by an etcd that is fine: no alarm is raised, no downgrade is
 * under way, authentication is off. What would pretend to do something is refused with a sentence.
 */
#ifndef HOLDFAST_API_RPC_ADMIN_H
#define HOLDFAST_API_RPC_ADMIN_H

#include "base.h"
#include "membership.h"
#include "rpc_error.h"
#include "rpc_kv.h"

/*
 * Each reads a request and decides what can be decided from it alone.
 *
 * error  out: {0, ""} or what the client is told
 *
 * False: *error says why not; malformed octets too.
 */

/* Alarm: to be answered with an empty list (rpc_bare_write with the store's revision). */
MUST_USE bool rpc_alarm_decode(struct view in, struct rpc_error *error);
/* Downgrade: never true. */
MUST_USE bool rpc_downgrade_decode(struct view in, struct rpc_error *error);
/* Authenticate: never true. */
MUST_USE bool rpc_authenticate_decode(struct view in, struct rpc_error *error);
MUST_USE bool rpc_move_leader_decode(struct view in, uint64_t *target, struct rpc_error *error);

/* What MoveLeader is told before anything is moved, in etcd's order; {0, ""}: `target` may lead.
 * self, leader: member ids; leader 0: none known. */
struct rpc_error rpc_move_leader_check(uint64_t target, uint64_t self, uint64_t leader,
                                       const struct configuration *configuration);

/* AuthStatus: off, at the first revision of auth. */
size_t rpc_auth_status_size(const struct response_header *header);
void rpc_auth_status_write(const struct response_header *header, uint8_t *out);

#endif
