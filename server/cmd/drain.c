/* A timer that looks whether all have been answered.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/drain.h"

#include <stdlib.h>

#include "config/config.h"
#include "server/cmd/cmd.h"
#include "server/cmd/listeners.h"
#include "server/cmd/models.h"
#include "server/log.h"
#include "server/pipeline.h"

#define POLL_MS 20

/* With all requests answered nothing is lost: a connection was idle, a model being loaded. */
__attribute__((noreturn)) static void give_up(const struct drain *d)
{
    const size_t n_requests = listeners_in_flight(d->listeners);
    if (n_requests == 0)
        log_event(LOG_WARN, "stopped before all was closed", "connections=%zu loading=%s",
                  listeners_connections(d->listeners), models_busy(d->models) ? "yes" : "no");
    else
        log_event(LOG_ERROR, "drain timed out, giving up", "requests=%zu", n_requests);
    _Exit(n_requests == 0 ? CMD_OK : CMD_FAILED);
}

static void on_tick(uv_timer_t *timer)
{
    struct drain *d = timer->data;
    const uint64_t elapsed_ms = uv_now(timer->loop) - d->started_ms;
    const uint64_t delay_ms = (uint64_t)d->config->drain_delay_ms;
    if (elapsed_ms < delay_ms)
        return;
    if (!d->refusing) {
        d->refusing = true;
        listeners_drain(d->listeners);
    }
    if (listeners_connections(d->listeners) == 0 && pipeline_in_flight(d->pipeline) == 0 &&
        !models_busy(d->models))
        uv_stop(timer->loop);
    else if (elapsed_ms >= delay_ms + (uint64_t)d->config->drain_timeout_ms)
        give_up(d);
}

void drain_start(struct drain *drain, uv_loop_t *loop, const struct config *config,
                 struct listeners *listeners, const struct pipeline *pipeline,
                 const struct models *models)
{
    *drain = (struct drain){.config = config,
                            .listeners = listeners,
                            .pipeline = pipeline,
                            .models = models,
                            .started_ms = uv_now(loop)};
    (void)uv_timer_init(loop, &drain->timer);
    drain->timer.data = drain;
    (void)uv_timer_start(&drain->timer, on_tick, 0, POLL_MS);
}
