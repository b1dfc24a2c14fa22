/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c: see lease.h. */
#include "kv/lease.h"

bool lease_exists(const struct kv *kv, int64_t id)
{
    return lease_table_find(&kv->leases, id) != NULL;
}

void lease_attach(struct kv *kv, int64_t id, struct view key)
{
    struct lease *lease = lease_table_find(&kv->leases, id);
    ASSERT(lease != NULL);
    lease_table_attach(&kv->leases, lease, key);
}

void lease_detach(struct kv *kv, int64_t id, struct view key)
{
    UNUSED(id); /* the table knows */
    lease_table_attach(&kv->leases, NULL, key);
}
