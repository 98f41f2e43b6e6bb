/* Ends a daemon that hangs, so that its supervisor starts another one.
 *
 * A worker that does not come back cannot be ended alone: it shares memory with all others. Tells
 * systemd every second that the loop turns and no work is overdue (WATCHDOG=1, and a STATUS line).
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_WATCHDOG_H
#define RESNETD_SERVER_CMD_WATCHDOG_H

#include <stdint.h>
#include <uv.h>

struct pipeline;

struct watchdog {
    uv_timer_t timer;
    const struct pipeline *pipeline;
    uint64_t limit_ns;   /* of being overdue; 0: never stuck */
    uint64_t tick_ns;    /* the last one */
    uint64_t resumed_ns; /* when the whole process went on after having been stopped */
};

/* `watchdog` and `pipeline` outlive the loop's run. */
void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, const struct pipeline *pipeline,
                    int stuck_after_ms);

#endif
