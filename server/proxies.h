/* Whose X-Forwarded-For is believed: addresses and networks of the operator's own proxies.
 *
 * Pure; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PROXIES_H
#define RESNETD_SERVER_PROXIES_H

#include <stdint.h>

#include "engine/engine.h"

#define PROXIES_MAX 16

struct proxies {
    struct {
        uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
        int prefix;          /* bits that count; -1: local sockets */
    } items[PROXIES_MAX];
    int n;
};

/* Adds "10.0.0.0/8", "192.0.2.7", "fd00::/8" or "unix". RN_BAD_ARGUMENT. */
RN_MUST_USE enum rn_status proxies_add(struct proxies *proxies, const char *text,
                                       struct rn_error *err);

/* The client behind `peer`: from the right end of X-Forwarded-For the first address that is no
 * trusted proxy; where the peer is none itself, or the header says nothing usable, the peer. `out`
 * has room for n bytes and may be the peer. */
void proxies_client(const struct proxies *proxies, const char *peer, const char *forwarded_for,
                    char *out, size_t n);

#endif
