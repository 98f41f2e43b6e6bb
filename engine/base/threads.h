/* A fork-join team: n threads, one of them the caller; work is claimed item by item.
 *
 * The public part (rn_threads_new, _free, _count, _available) is in engine.h. Workers spin
 * briefly after a run, because the next layer follows within microseconds, and then sleep. All
 * team threads have denormals flushed. This is the only user of pthreads in the engine.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_BASE_THREADS_H
#define RESNETD_ENGINE_BASE_THREADS_H

struct rn_threads;

typedef void (*threads_fn)(void *context, int item);

/* Calls fn(context, i) for every 0 <= i < n_items, spread over the team, and returns when all
 * are done. One run at a time per team. Items must not depend on each other; which thread gets
 * which is not defined. */
void threads_run(struct rn_threads *threads, int n_items, threads_fn fn, void *context);

/* Has every thread of the team take part in a run that does nothing: a fork and a join, to be
 * timed.
 */
void threads_meet(struct rn_threads *threads);

/* Inside an item: which of the team's threads runs it, 0 … n-1, 0 being the caller of the run. */
int threads_self(void);

/* Calls fn(context, alone), where `alone` is a team of the calling thread only, 0 to itself, which
 * may be one of `threads` in the middle of an item. It gives way when they do. */
void threads_alone(struct rn_threads *threads, void (*fn)(void *context, struct rn_threads *alone),
                   void *context);

#endif
