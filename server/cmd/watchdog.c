/* A timer that looks at the oldest work in flight.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/watchdog.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/cmd/cmd.h"
#include "server/log.h"
#include "server/notify.h"
#include "server/pipeline.h"

#define TICK_MS 1000
#define LATE_TICK_NS ((uint64_t)3 * TICK_MS * 1000000)

static void on_tick(uv_timer_t *timer)
{
    struct watchdog *w = timer->data;
    const uint64_t now_ns = uv_hrtime();
    if (now_ns - w->tick_ns > LATE_TICK_NS) /* the workers have stood still, too */
        w->resumed_ns = now_ns;
    w->tick_ns = now_ns;
    uint64_t due_ns = pipeline_oldest_due_ns(w->pipeline);
    if (due_ns < w->resumed_ns)
        due_ns = w->resumed_ns;
    if (w->limit_ns > 0 && due_ns != UINT64_MAX && now_ns > due_ns &&
        now_ns - due_ns > w->limit_ns) {
        log_event(LOG_ERROR, "a worker is stuck, giving up", "overdue_ms=%llu requests=%zu",
                  (unsigned long long)((now_ns - due_ns) / 1000000),
                  pipeline_in_flight(w->pipeline));
        notify_send("STATUS=a worker is stuck");
        _Exit(CMD_FAILED);
    }
    char state[96];
    (void)snprintf(state, sizeof state,
                   "WATCHDOG=1\nSTATUS=%zu requests in flight, %zu images queued",
                   pipeline_in_flight(w->pipeline), pipeline_queued_images(w->pipeline));
    notify_send(state);
}

void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, const struct pipeline *pipeline,
                    int stuck_after_ms)
{
    *watchdog = (struct watchdog){.pipeline = pipeline,
                                  .limit_ns = (uint64_t)stuck_after_ms * 1000000,
                                  .tick_ns = uv_hrtime()};
    (void)uv_timer_init(loop, &watchdog->timer);
    watchdog->timer.data = watchdog;
    (void)uv_timer_start(&watchdog->timer, on_tick, TICK_MS, TICK_MS);
}
