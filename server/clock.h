/* The clocks, for who has no loop: durations and dates.
 *
 * Any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CLOCK_H
#define RESNETD_SERVER_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic nanoseconds, the same as uv_hrtime(). */
uint64_t clock_ns(void);
/* CPU time of the calling thread. */
uint64_t clock_thread_ns(void);
/* CPU time of all threads of this process. */
uint64_t clock_process_ns(void);
/* Milliseconds; 0 when a time is not yet set or they are in the wrong order. */
double clock_ms(uint64_t from_ns, uint64_t to_ns);

#define CLOCK_DATE_SIZE 64
/* A wall-clock time as 2026-11-24T13:57:45.123Z (RFC 3339) in buf, which is returned. */
const char *clock_date(struct timespec wall, char buf[CLOCK_DATE_SIZE]);

#endif
