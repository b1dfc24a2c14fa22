/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_maintenance.c: see rpc_maintenance.h. Field numbers are those of src/api/proto/rpc.proto. */
#include "rpc_maintenance.h"

#include "proto.h"
#include "rpc_kv_fields.h"
#include "version.h"

enum { HASH_KV_REVISION = 1 };
enum { HASH_HASH = 2, HASH_COMPACT_REVISION, HASH_HASH_REVISION };
enum { SNAPSHOT_REMAINING = 2, SNAPSHOT_BLOB, SNAPSHOT_VERSION };

enum err rpc_empty_decode(struct view in)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) { /* fields of a later version are stepped over */
    }
    return r.failed ? ERR_MALFORMED : OK;
}

enum err rpc_hash_kv_decode(struct view in, int64_t *revision)
{
    int64_t found = 0;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == HASH_KV_REVISION) {
            found = (int64_t)proto_number(&r);
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *revision = found > 0 ? found : 0;
    return OK;
}

size_t rpc_hash_write(const struct response_header *header, uint32_t hash,
                      uint8_t out[RPC_HASH_BYTES_MAX])
{
    uint8_t *at = rpc_header_put(out, header);
    at = proto_uint_put(at, HASH_HASH, hash);
    return (size_t)(at - out);
}

size_t rpc_hash_kv_write(const struct response_header *header, const struct kv_hash *hash,
                         uint8_t out[RPC_HASH_BYTES_MAX])
{
    uint8_t *at = rpc_header_put(out, header);
    at = proto_uint_put(at, HASH_HASH, hash->hash);
    at = proto_uint_put(at, HASH_COMPACT_REVISION, (uint64_t)hash->compact_revision);
    at = proto_uint_put(at, HASH_HASH_REVISION, (uint64_t)hash->revision);
    return (size_t)(at - out);
}

static struct view storage_version(void)
{
    return view_of_text(API_VERSION_STORAGE);
}

size_t rpc_snapshot_size(struct view blob, uint64_t remaining)
{
    return proto_uint_size(remaining) + proto_bytes_size(blob) +
           proto_bytes_size(storage_version());
}

void rpc_snapshot_write(struct view blob, uint64_t remaining, uint8_t *out)
{
    out = proto_uint_put(out, SNAPSHOT_REMAINING, remaining);
    out = proto_bytes_put(out, SNAPSHOT_BLOB, blob);
    (void)proto_bytes_put(out, SNAPSHOT_VERSION, storage_version());
}
