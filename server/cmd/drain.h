/* The way out: who is in is answered, nobody else comes in.
 *
 * After drain_delay_ms no connection is accepted any more; when the last one is closed and no model
 * is being loaded the loop ends. After drain_timeout_ms more the process ends as it is, since
 * nobody could free what workers still use, and fails if a request is not answered. Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_DRAIN_H
#define RESNETD_SERVER_CMD_DRAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct config;
struct listeners;
struct models;
struct pipeline;

struct drain {
    uv_timer_t timer;
    const struct config *config;
    struct listeners *listeners;
    const struct pipeline *pipeline;
    const struct models *models;
    uint64_t started_ms;
    bool refusing; /* listeners_drain() was called */
};

/* Once; stops the loop in the end. All but `loop` are kept, and outlive its run. */
void drain_start(struct drain *drain, uv_loop_t *loop, const struct config *config,
                 struct listeners *listeners, const struct pipeline *pipeline,
                 const struct models *models);

#endif
