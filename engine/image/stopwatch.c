/* The thread's CPU clock against a limit. Pure but for the clocks; any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/stopwatch.h"

#include <time.h>

static uint64_t read_ns(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) == 0 ? (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec
                                         : 0;
}

struct stopwatch stopwatch_start(const struct rn_image_limits *limits)
{
    const uint64_t budget_ns = (uint64_t)limits->max_cpu_ms * 1000000;
    return (struct stopwatch){read_ns(CLOCK_THREAD_CPUTIME_ID) + budget_ns,
                              read_ns(CLOCK_MONOTONIC) + budget_ns};
}

bool stopwatch_expired(struct stopwatch *stopwatch)
{
    const uint64_t now_ns = read_ns(CLOCK_MONOTONIC);
    if (now_ns < stopwatch->look_ns)
        return false;
    const uint64_t cpu_ns = read_ns(CLOCK_THREAD_CPUTIME_ID);
    if (cpu_ns > stopwatch->end_ns)
        return true;
    stopwatch->look_ns = now_ns + (stopwatch->end_ns - cpu_ns);
    return false;
}

enum rn_status stopwatch_fail(const struct rn_image_limits *limits, struct rn_error *err)
{
    return rn_fail(err, RN_IMAGE_TOO_MUCH_TIME,
                   "decoding the image takes more than %d ms of CPU time", limits->max_cpu_ms);
}
