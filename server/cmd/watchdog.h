/* Ends a daemon that hangs, so that its supervisor starts another one.
 *
 * A worker that does not come back cannot be ended alone: it shares memory with all others. Tells
 * systemd every second how many requests there are (STATUS) and, as long as no work is overdue,
 * that the loop turns and all workers do (WATCHDOG=1). Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_WATCHDOG_H
#define RESNETD_SERVER_CMD_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pipeline;

struct watchdog {
    uv_timer_t timer;
    const struct pipeline *pipeline;
    bool *overdue;       /* set while work is overdue by half of limit_ns */
    const char *prefix;  /* of the status: what goes on; static text */
    uint64_t limit_ns;   /* of being overdue; 0: never stuck */
    uint64_t fresh_ns;   /* overdue by more than this, the watchdog is not fed; 0: nobody waits */
    uint64_t tick_ns;    /* the last one */
    uint64_t resumed_ns; /* when the whole process went on after having been stopped */
};

/* All but `loop` are kept, and outlive its run. */
void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, const struct pipeline *pipeline,
                    int stuck_after_ms, bool *overdue);
/* What goes on ("draining, "), in the status from now on. */
void watchdog_say(struct watchdog *watchdog, const char *prefix);

#endif
