/* Clocks in nanoseconds. Any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_BASE_NANOTIME_H
#define RESNETD_ENGINE_BASE_NANOTIME_H

#include <stdint.h>

/* Since some moment, whatever is done to the date. */
uint64_t nanotime_monotonic(void);
/* What the calling thread has computed so far. A system call. */
uint64_t nanotime_thread(void);

#endif
