/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_members.h: etcd's Cluster service: MemberAdd, MemberRemove, MemberUpdate, MemberPromote, MemberList. Requests
 * become member requests (member_request.h); answers are made from a configuration. No state, no I/O. Rare calls:
 * protobuf-c does the octets of answers.
 *
 * etcd writes peer addresses as URLs; nodes here talk plain TCP to one address each, so exactly one
 * "http://host:port" is taken.
 */
#ifndef HOLDFAST_API_RPC_MEMBERS_H
#define HOLDFAST_API_RPC_MEMBERS_H

#include "member_request.h"
#include "rpc_kv.h"

/* Requests. ERR_MALFORMED; ERR_MEMBER_URLS: not one URL that can be dialled. out->id of an addition is the caller's
 * to draw. */
MUST_USE enum err rpc_member_list_decode(struct view in, bool *linearizable);
MUST_USE enum err rpc_member_add_decode(struct view in, struct member_request *out);
MUST_USE enum err rpc_member_remove_decode(struct view in, struct member_request *out);
MUST_USE enum err rpc_member_update_decode(struct view in, struct member_request *out);
MUST_USE enum err rpc_member_promote_decode(struct view in, struct member_request *out);

/* Responses. `room` octets are left free before the message (for gRPC's prefix); *size counts the message alone. Free
 * with mem_free. Members in order of their ids, declared ones among them (they have no name yet); addresses
 * become http URLs. */
/* Also the answer to MemberRemove, MemberUpdate and MemberPromote, which have the same fields. */
uint8_t *rpc_member_list_encode(const struct response_header *header,
                                const struct configuration *configuration, size_t room,
                                size_t *size);
uint8_t *rpc_member_add_encode(const struct response_header *header,
                               const struct configuration *configuration,
                               const struct member_request *added, size_t room, size_t *size);

#endif
