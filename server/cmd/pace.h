/* Work beside the traffic, little by little: after each piece a thread sleeps for up to twenty
 * times as long as it computed, the longer the busier the process is otherwise, so that cores,
 * caches and the memory's bandwidth are the traffic's for most of the time.
 *
 * Any thread, each by itself. For a piece it takes a core only where none is wanted (SCHED_IDLE):
 * the engine's threads wait for each other, and one that stands behind another thread for a time
 * slice delays them all. Where other processes keep the cores busy such a thread would starve; if
 * the first pieces waited long for a core it therefore stays an ordinary one of less weight. Where
 * a service manager forbids both (our units do), what is left is the rests.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_PACE_H
#define RESNETD_SERVER_CMD_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* For this thread and those that it starts. */
void pace_begin(void);
/* Between two pieces of work. */
void pace_rest(void);

/* From now on nobody rests: the process is about to end and waits for them. */
void pace_hurry(void);

/* What a thread knows of the time, in nanoseconds. */
struct pace_clocks {
    uint64_t now, cpu; /* the clock's, and its own CPU time */
    uint64_t traffic;  /* CPU time of the process's other threads, by the number of cores */
};

/* What a thread has done so far. */
struct pace {
    struct pace_clocks looked;     /* when a piece was last done, */
    uint64_t rested_ns;            /* and the rest after it */
    uint64_t worked_ns, waited_ns; /* in all */
    bool decided;
    double idle; /* of the cores, by the process's other threads; none until it is seen */
};
/* Pure: how long to rest now, 0 for not yet; *yields becomes true once, when there is room enough
 * to take only what nobody wants. */
uint64_t pace_look(struct pace *pace, struct pace_clocks clocks, bool *yields);

#endif
