/* clock_gettime, in the units and formats of the server.
 *
 * SPDX-License-Identifier: MIT */
#include "server/clock.h"

#include <stdio.h>

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now = {0};
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t clock_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_thread_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t clock_process_ns(void)
{
    return read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

double clock_ms(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns != 0 && to_ns > from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

const char *clock_date(struct timespec wall, char buf[CLOCK_DATE_SIZE])
{
    char seconds[32];
    struct tm utc;
    gmtime_r(&wall.tv_sec, &utc);
    (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(buf, CLOCK_DATE_SIZE, "%s.%03ldZ", seconds, wall.tv_nsec / 1000000);
    return buf;
}
