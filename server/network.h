/* The network as JSON: what `resnetd inspect --json` prints and GET /network answers, in the same
 * bytes.
 *
 * Pure; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_NETWORK_H
#define RESNETD_SERVER_NETWORK_H

#include "engine/engine.h"

struct text;

/* {"name",…,"layers":[…]}, a layer a line, without a newline at the end. */
void network_write(struct text *out, const struct rn_model *model);

#endif
