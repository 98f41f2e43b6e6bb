/* By the thread's CPU time: waiting for a core is no work.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/pace.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include "server/clock.h"

#define NICE 5
#define PIECE_NS 1000000u
#define RESTS 7                /* times the work */
#define LOOK_NS (5 * PIECE_NS) /* of work, until it is known whether there is room */
#define MOST_WAITING 2         /* times the work */

static _Thread_local struct pace self;
static atomic_bool hurries;

uint64_t pace_look(struct pace *pace, uint64_t now_ns, uint64_t cpu_ns, bool *yields)
{
    const uint64_t worked_ns = cpu_ns - pace->rested_cpu_ns;
    const uint64_t passed_ns = now_ns - pace->rested_ns;
    *yields = false;
    if (worked_ns < PIECE_NS)
        return 0;
    pace->worked_ns += worked_ns;
    pace->waited_ns += passed_ns > worked_ns ? passed_ns - worked_ns : 0;
    if (!pace->decided && pace->worked_ns >= LOOK_NS) {
        pace->decided = true;
        *yields = pace->waited_ns <= MOST_WAITING * pace->worked_ns;
    }
    return RESTS * worked_ns;
}

void pace_hurry(void)
{
    atomic_store(&hurries, true);
}

void pace_begin(void)
{
    (void)setpriority(PRIO_PROCESS, 0, NICE); /* Linux: of the thread */
    self = (struct pace){.rested_ns = clock_ns(), .rested_cpu_ns = clock_thread_ns()};
}

void pace_rest(void)
{
    bool yields;
    const uint64_t cpu_ns = clock_thread_ns();
    const uint64_t rest_ns = pace_look(&self, clock_ns(), cpu_ns, &yields);
    if (yields)
        (void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    if (rest_ns == 0 || atomic_load(&hurries))
        return;
    const struct timespec rest = {.tv_sec = (time_t)(rest_ns / 1000000000u),
                                  .tv_nsec = (long)(rest_ns % 1000000000u)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
    self.rested_ns = clock_ns();
    self.rested_cpu_ns = clock_thread_ns();
}
