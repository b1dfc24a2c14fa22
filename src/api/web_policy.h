/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_policy.h: which web pages may talk to the client port. A browser lets any page send simple requests to
 * any address (a form, an image, fetch without a preflight) and names the page in `Origin`; and a name that
 * an attacker owns may be made to point at us (DNS rebinding), which `Host` gives away. So:
 *
 *   Origin  given and not in web.origins: refused, whatever the request is.
 *   Host    none of our names: refused. Ours are loopback names, every IP address (rebinding needs a name),
 *           the hosts of all members and of the listeners, and web.hosts.
 *
 * Programs that are no browsers send no Origin and the host they were told, and never notice.
 */
#ifndef HOLDFAST_API_WEB_POLICY_H
#define HOLDFAST_API_WEB_POLICY_H

#include "base.h"
#include "config.h"

/* host: the Host field (or :authority), port and all; empty: there was none, which no browser does. */
bool web_host_allowed(const struct config *config, struct view host);

/* origin: the Origin field; empty: there was none. */
bool web_origin_allowed(const struct config *config, struct view origin);

/* True if the address is of the loopback: nobody else can reach it. */
bool web_is_loopback(const char *address);

#endif
