/* Who may ask and who answers: the API keys, the certificate and the trusted proxies that settings
 * name.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_CREDENTIALS_H
#define RESNETD_SERVER_CMD_CREDENTIALS_H

#include <stdbool.h>

#include "server/keys.h"
#include "server/proxies.h"

struct config;

struct credentials {
    struct keys *keys; /* NULL: anybody may classify */
    struct proxies proxies;
};

/* Does the first listener speak TLS? */
bool credentials_have_tls(const struct config *config);

/* Reads the files. A good certificate is in use from the next handshake on; the rest is for the
 * caller to take over, who ends it with credentials_done(). RN_IO, RN_BAD_ARGUMENT, RN_NO_MEMORY.
 */
RN_MUST_USE enum rn_status credentials_open(const struct config *config, struct credentials *out,
                                            struct rn_error *err);
void credentials_done(struct credentials *credentials); /* a zeroed one is fine */

#endif
