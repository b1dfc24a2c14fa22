/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_answer.h: what answers have in common that protobuf-c writes: their octets behind room for a frame's head, and
 * etcd's header. Answers on the hot path are written by proto.h instead.
 */
#ifndef HOLDFAST_API_RPC_ANSWER_H
#define HOLDFAST_API_RPC_ANSWER_H

#include "rpc_kv.h"

#include "rpc.pb-c.h"

/* `room` octets to be filled in, then the message; *size without the room. mem_free. */
uint8_t *rpc_pack(const ProtobufCMessage *message, size_t room, size_t *size);
Etcdserverpb__ResponseHeader rpc_header(const struct response_header *header);

#endif
