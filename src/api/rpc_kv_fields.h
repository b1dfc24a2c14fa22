/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_kv_fields.h: pieces of etcd's KV messages that more than one file of this room reads or writes.
 * Within src/api only.
 */
#ifndef HOLDFAST_API_RPC_KV_FIELDS_H
#define HOLDFAST_API_RPC_KV_FIELDS_H

#include "proto.h"
#include "rpc_kv.h"

enum header_field { HEADER_CLUSTER_ID = 1, HEADER_MEMBER_ID, HEADER_REVISION, HEADER_RAFT_TERM };

enum key_value_field {
    KEY_VALUE_KEY = 1,
    KEY_VALUE_CREATE_REVISION,
    KEY_VALUE_MOD_REVISION,
    KEY_VALUE_VERSION,
    KEY_VALUE_VALUE,
    KEY_VALUE_LEASE,
};

enum { RESPONSE_HEADER = 1 };

/* Read a request's fields over what *out holds already, unchecked; views point into `in`. An enum may
 * become any number. False: malformed. */
MUST_USE bool kv_fields_put(struct view in, struct command *out);
MUST_USE bool kv_fields_delete_range(struct view in, struct command *out);
MUST_USE bool kv_fields_range(struct view in, struct query *out);

/* A header as field 1, a pair as the given field; sizes are those of the content alone. */
size_t rpc_header_size(const struct response_header *header);
uint8_t *rpc_header_put(uint8_t *out, const struct response_header *header);
size_t rpc_key_value_size(const struct key_value *kv);
uint8_t *rpc_key_value_put(uint8_t *out, unsigned field, const struct key_value *kv);

#endif
