/* The CPU time that a decoding may take: limits->max_cpu_ms.
 *
 * Counts the thread's own time, so that a busy machine refuses nothing. Reading that clock is a
 * system call, which a filter makes dearer: it is read when so much time has passed by the wall's
 * clock, which is cheap, that it may have come to its end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_IMAGE_STOPWATCH_H
#define RESNETD_ENGINE_IMAGE_STOPWATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct stopwatch {
    uint64_t end_ns;  /* on the thread's CPU clock */
    uint64_t look_ns; /* on the monotonic clock; earlier than that it cannot be the end */
};

/* Counting from now, on this thread. */
struct stopwatch stopwatch_start(const struct rn_image_limits *limits);
bool stopwatch_expired(struct stopwatch *stopwatch);
/* RN_IMAGE_TOO_MUCH_TIME and its sentence. */
enum rn_status stopwatch_fail(const struct rn_image_limits *limits, struct rn_error *err);

#endif
