/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_answer.c: see rpc_answer.h. */
#include "rpc_answer.h"

uint8_t *rpc_pack(const ProtobufCMessage *message, size_t room, size_t *size)
{
    *size = protobuf_c_message_get_packed_size(message);
    uint8_t *out = mem_alloc(room + *size);
    (void)protobuf_c_message_pack(message, out + room);
    return out;
}

Etcdserverpb__ResponseHeader rpc_header(const struct response_header *header)
{
    Etcdserverpb__ResponseHeader out = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    out.cluster_id = header->cluster_id;
    out.member_id = header->member_id;
    out.revision = header->revision;
    out.raft_term = header->raft_term;
    return out;
}
