/* Processes as /proc shows them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_PROCESS_H
#define RESNETD_TESTS_SUPPORT_PROCESS_H

#include <sys/types.h>

/* The living children of a process, at most `max` of them in `children`; returns how many. */
int process_children(pid_t parent, pid_t *children, int max);

#endif
