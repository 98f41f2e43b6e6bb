/* clock_gettime, which cannot fail for these clocks.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/nanotime.h"

#include <time.h>

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now = {0};
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t nanotime_monotonic(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t nanotime_thread(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}
