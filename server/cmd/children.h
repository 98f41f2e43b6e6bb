/* What is done when a child process ends: who forks the decode helpers is replaced, and what was
 * started beside the daemon in its container is waited for.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_CHILDREN_H
#define RESNETD_SERVER_CMD_CHILDREN_H

#include <uv.h>

struct sandbox;

struct children {
    uv_signal_t signal;
    struct sandbox *sandbox;
};

/* Until the loop closes the handle. `sandbox` outlives the loop's run, or is NULL. */
void children_start(struct children *children, uv_loop_t *loop, struct sandbox *sandbox);

#endif
