/* SPDX-License-Identifier: Apache-2.0 */
/*
 * version.h: the versions of etcd that holdfast's behaviour answers to. Clients steer by them
 * (Kubernetes asks for requested watch progress from 3.4.31 on, Patroni for the cluster version), so
 * they say what is spoken here and not what holdfast's own version is.
 */
#ifndef HOLDFAST_API_VERSION_H
#define HOLDFAST_API_VERSION_H

#define API_VERSION_SERVER  "3.6.14"
#define API_VERSION_CLUSTER "3.6.0"
#define API_VERSION_STORAGE "3.6.0"

/* What etcd reports when no quota is configured; holdfast has no quota that stops a cluster. */
#define API_QUOTA_BYTES INT64_C(2147483648)

#endif
