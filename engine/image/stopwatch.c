/* The thread's CPU clock against a limit. Pure but for the clocks; any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/stopwatch.h"

#include "engine/base/nanotime.h"

struct stopwatch stopwatch_start(const struct rn_image_limits *limits)
{
    const uint64_t budget_ns = (uint64_t)limits->max_cpu_ms * 1000000;
    return (struct stopwatch){nanotime_thread() + budget_ns, nanotime_monotonic() + budget_ns};
}

bool stopwatch_expired(struct stopwatch *stopwatch)
{
    const uint64_t now_ns = nanotime_monotonic();
    if (now_ns < stopwatch->look_ns)
        return false;
    const uint64_t cpu_ns = nanotime_thread();
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
