/* Process 1 of a container inherits whatever loses its parent, and has to wait for it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_ORPHANS_H
#define RESNETD_SERVER_CMD_ORPHANS_H

#include <uv.h>

/* Until the loop closes the handle; nothing where somebody else is process 1. */
void orphans_start(uv_signal_t *handle, uv_loop_t *loop);

#endif
