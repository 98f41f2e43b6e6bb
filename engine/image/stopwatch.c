/* The thread's CPU clock against a limit. Pure but for the clock; any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/stopwatch.h"

#include <time.h>

static uint64_t cpu_ns(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0
               ? (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec
               : 0;
}

struct stopwatch stopwatch_start(const struct rn_image_limits *limits)
{
    return (struct stopwatch){cpu_ns() + (uint64_t)limits->max_cpu_ms * 1000000};
}

bool stopwatch_expired(const struct stopwatch *stopwatch)
{
    return cpu_ns() > stopwatch->end_ns;
}

enum rn_status stopwatch_fail(const struct rn_image_limits *limits, struct rn_error *err)
{
    return rn_fail(err, RN_IMAGE_TOO_MUCH_TIME,
                   "decoding the image takes more than %d ms of CPU time", limits->max_cpu_ms);
}
