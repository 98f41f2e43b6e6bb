/* By the thread's CPU time: waiting for a core is no work.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/pace.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include "engine/engine.h"
#include "server/clock.h"

#define NICE 5
#define PIECE_NS 1000000u
#define LEAST_RESTS 1          /* times the work, while the process does nothing else, */
#define MOST_RESTS 20          /* and while that fills the cores; half as much at a quarter */
#define WINDOW_NS 50e6         /* over which the process's load is averaged */
#define LOOK_NS (5 * PIECE_NS) /* of work, until it is known whether there is room */
#define MOST_WAITING 2         /* times the work */

static _Thread_local struct pace self;
static _Thread_local int n_cores;
static atomic_bool hurries;

uint64_t pace_look(struct pace *pace, struct pace_clocks clocks, bool *yields)
{
    const uint64_t worked_ns = clocks.cpu - pace->looked.cpu;
    const uint64_t passed_ns = clocks.now - pace->rested_ns;
    *yields = false;
    if (worked_ns < PIECE_NS)
        return 0;
    pace->worked_ns += worked_ns;
    pace->waited_ns += passed_ns > worked_ns ? passed_ns - worked_ns : 0;
    if (!pace->decided && pace->worked_ns >= LOOK_NS) {
        pace->decided = true;
        *yields = pace->waited_ns <= MOST_WAITING * pace->worked_ns;
    }
    const double passed = (double)(clocks.now - pace->looked.now);
    const double traffic = (double)clocks.traffic - (double)pace->looked.traffic;
    const double busy = fmax(0, fmin(traffic / passed, 1));
    pace->idle += (1 - busy - pace->idle) * passed / (passed + WINDOW_NS);
    pace->looked = clocks;
    return (uint64_t)((LEAST_RESTS + (MOST_RESTS - LEAST_RESTS) * sqrt(1 - pace->idle)) *
                      (double)worked_ns);
}

void pace_hurry(void)
{
    atomic_store(&hurries, true);
}

static struct pace_clocks read_clocks(void)
{
    const uint64_t cpu_ns = clock_thread_ns(), all_ns = clock_process_ns();
    return (struct pace_clocks){
        .now = clock_ns(), .cpu = cpu_ns, .traffic = (all_ns - cpu_ns) / (uint64_t)n_cores};
}

void pace_begin(void)
{
    (void)setpriority(PRIO_PROCESS, 0, NICE); /* Linux: of the thread */
    n_cores = rn_threads_available();
    self = (struct pace){.looked = read_clocks()};
    self.rested_ns = self.looked.now;
}

void pace_rest(void)
{
    bool yields;
    const uint64_t rest_ns = pace_look(&self, read_clocks(), &yields);
    if (yields)
        (void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    if (rest_ns == 0 || atomic_load(&hurries))
        return;
    const struct timespec rest = {.tv_sec = (time_t)(rest_ns / 1000000000u),
                                  .tv_nsec = (long)(rest_ns % 1000000000u)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
    self.rested_ns = clock_ns();
}
