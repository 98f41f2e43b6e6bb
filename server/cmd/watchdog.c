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

/* How long the oldest work in flight is overdue; what stood still with us is not. */
static uint64_t overdue_ns(struct watchdog *w, uint64_t now_ns)
{
    if (now_ns - w->tick_ns > LATE_TICK_NS) /* the workers have stood still, too */
        w->resumed_ns = now_ns;
    w->tick_ns = now_ns;
    uint64_t due_ns = pipeline_oldest_due_ns(w->pipeline);
    if (due_ns < w->resumed_ns)
        due_ns = w->resumed_ns;
    return due_ns < now_ns ? now_ns - due_ns : 0;
}

static void tell(const struct watchdog *w, uint64_t late_ns)
{
    const bool fresh = w->fresh_ns == 0 || late_ns <= w->fresh_ns;
    const size_t n_requests = pipeline_in_flight(w->pipeline);
    const size_t n_images = pipeline_queued_images(w->pipeline);
    char state[160];
    if (fresh)
        (void)snprintf(state, sizeof state,
                       "WATCHDOG=1\nSTATUS=%s%zu requests in flight, %zu images queued", w->prefix,
                       n_requests, n_images);
    else
        (void)snprintf(state, sizeof state,
                       "STATUS=a worker is overdue by %llu ms, %zu requests in flight",
                       (unsigned long long)(late_ns / 1000000), n_requests);
    notify_again(state);
}

static void on_tick(uv_timer_t *timer)
{
    struct watchdog *w = timer->data;
    const uint64_t late_ns = overdue_ns(w, uv_hrtime());
    if (w->limit_ns > 0 && late_ns > w->limit_ns) {
        log_event(LOG_ERROR, "a worker is stuck, giving up", "overdue_ms=%llu requests=%zu",
                  (unsigned long long)(late_ns / 1000000), pipeline_in_flight(w->pipeline));
        notify_send("STATUS=a worker is stuck");
        _Exit(CMD_FAILED);
    }
    *w->overdue = w->limit_ns > 0 && late_ns > w->limit_ns / 2;
    tell(w, late_ns);
}

/* Half of what systemd waits for, 0 where it does not wait. */
static uint64_t patience_ns(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    return usec ? strtoull(usec, NULL, 10) * 1000 / 2 : 0;
}

void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, const struct pipeline *pipeline,
                    int stuck_after_ms, bool *overdue)
{
    *watchdog = (struct watchdog){.pipeline = pipeline,
                                  .overdue = overdue,
                                  .prefix = "loading models, ",
                                  .limit_ns = (uint64_t)stuck_after_ms * 1000000,
                                  .fresh_ns = patience_ns(),
                                  .tick_ns = uv_hrtime()};
    (void)uv_timer_init(loop, &watchdog->timer);
    watchdog->timer.data = watchdog;
    (void)uv_timer_start(&watchdog->timer, on_tick, 0, TICK_MS);
}

void watchdog_say(struct watchdog *watchdog, const char *prefix)
{
    watchdog->prefix = prefix;
    tell(watchdog, overdue_ns(watchdog, uv_hrtime()));
}
