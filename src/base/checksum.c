/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checksum.c: XXH3 over octets, for torn and flipped bytes on disk and on the wire. It is not
 * cryptographic: nothing here protects against someone who writes a matching checksum. The values are
 * part of formats (raft.db rows, raft.mark, peer frames), so the function never changes under them.
 */
#include "base.h"

#include <xxhash.h>

uint64_t checksum64(struct view data)
{
    return XXH3_64bits(data.data, data.size);
}

uint32_t checksum32(struct view data)
{
    return (uint32_t)checksum64(data);
}
