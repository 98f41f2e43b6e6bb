/* Running a plan. plan_run may be called by many threads at once, each with an arena of its own:
 * the buffers of all images, and behind them the scratch of the team; over that, what the threads
 * have for themselves in the steps that run image by image; then each thread's scratch.
 *
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <string.h>

#include "engine/base/nanotime.h"
#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/plan/plan.h"

/* The most that a step of the first n wants for a team. */
static size_t team_scratch_bytes(const struct plan *plan, int n, int n_threads)
{
    size_t most = 0;
    for (int i = 0; i < n; i++) {
        const struct op_prepared *prepared = &plan->steps[i].prepared;
        const size_t bytes = prepared->team_scratch_bytes
                                 ? prepared->team_scratch_bytes(prepared->data, n_threads)
                                 : 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A thread's part: its buffers, and its scratch as a team of one. */
static size_t part_bytes(const struct plan *plan)
{
    return plan->single_bytes + team_scratch_bytes(plan, plan->n_single, 1);
}

/* Whether a team of so many threads ever takes images alone. */
static bool goes_alone(const struct plan *plan, int n_threads)
{
    return plan->n_single > 0 && n_threads > 1 && n_threads <= plan->max_batch &&
           (size_t)n_threads * plan->single_bytes <= PLAN_CACHE_BYTES;
}

static size_t thread_scratch_at(const struct plan *plan, int n_threads)
{
    const size_t all = plan->arena_bytes + team_scratch_bytes(plan, plan->n_steps, n_threads);
    const size_t team = plan->single_bytes + team_scratch_bytes(plan, plan->n_single, n_threads);
    const size_t alone = goes_alone(plan, n_threads) ? (size_t)n_threads * part_bytes(plan) : 0;
    return larger(all, plan->single_at + larger(team, alone));
}

size_t plan_arena_bytes(const struct plan *plan, int n_threads)
{
    return thread_scratch_at(plan, n_threads) + (size_t)n_threads * plan->thread_scratch_bytes;
}

/* A run's arguments for its steps. */
struct run {
    const struct plan *plan;
    char *arena, *single; /* single: the part of a thread, or of the team */
    char *thread_scratch;
    const float *const *images;
    struct rn_threads *threads;
    uint64_t *step_ns, now_ns; /* NULL: nobody asked */
    unsigned n_at_once;        /* threads that run steps, each its own */
};

static struct run new_run(const struct plan *plan, void *arena, const float *const *images,
                          struct rn_threads *threads)
{
    const int n_threads = rn_threads_count(threads);
    return (struct run){
        .plan = plan,
        .arena = arena,
        .single = (char *)arena + plan->single_at,
        .thread_scratch = (char *)arena + thread_scratch_at(plan, n_threads),
        .images = images,
        .threads = threads,
        .n_at_once = 1,
    };
}

static float *at(const struct run *run, struct plan_buffer buffer, int image)
{
    if (buffer.offset == PLAN_NOTHING)
        return NULL;
    char *start = buffer.single ? run->single : run->arena;
    return (float *)(void *)(start + buffer.offset + (size_t)image * buffer.image);
}

const float *plan_map(const struct plan *plan, const void *arena, int image)
{
    assert(plan->map_step != PLAN_NO_MAP);
    const struct plan_buffer out = plan->steps[plan->map_step].out;
    assert(!out.single);
    return (const float *)(const void *)((const char *)arena + out.offset +
                                         (size_t)image * out.image);
}

/* The arguments of step i for n images, the first of which is `image`. */
static struct op_args args_of(const struct run *run, int i, int image, int n)
{
    const struct plan *plan = run->plan;
    const struct plan_step *step = &plan->steps[i];
    char *team_scratch =
        i < plan->n_single ? run->single + plan->single_bytes : run->arena + plan->arena_bytes;
    return (struct op_args){
        .images = run->images + image,
        .in = at(run, step->in, image),
        .residual = at(run, step->residual, image),
        .out = at(run, step->out, image),
        .n = n,
        .threads = run->threads,
        .scratch = at(run, step->scratch, 0),
        .thread_scratch = run->thread_scratch,
        .thread_scratch_bytes = plan->thread_scratch_bytes,
        .team_scratch = (float *)(void *)team_scratch,
    };
}

/* Runs step i, and the pool behind it if that is fused into it and to be run, too. Returns the next
 * step. */
static int run_step(const struct run *run, int i, int to, int image, int n)
{
    const struct op_prepared *prepared = &run->plan->steps[i].prepared;
    struct op_args args = args_of(run, i, image, n);
    if (prepared->run_pooled && i + 1 < to) {
        args.out = at(run, run->plan->steps[i + 1].out, image);
        prepared->run_pooled(prepared->data, &args);
        return i + 2;
    }
    if (prepared->run)
        prepared->run(prepared->data, &args);
    return i + 1;
}

/* Threads that work alone add theirs, a share of what passes. */
static void add_time(const struct run *run, int step, uint64_t ns)
{
    (void)__atomic_fetch_add(&run->step_ns[step], ns / run->n_at_once, __ATOMIC_RELAXED);
}

/* Steps [from, to). */
static void run_steps(struct run *run, int from, int to, int image, int n)
{
    for (int i = from, next; i < to; i = next) {
        next = run_step(run, i, to, image, n);
        if (run->step_ns) {
            const uint64_t end_ns = nanotime_monotonic();
            add_time(run, i, end_ns - run->now_ns);
            run->now_ns = end_ns;
        }
    }
}

/* An image through the first steps by a thread alone. */
struct single_run {
    const struct run *run;
    int image;
};

static void run_alone(void *context, struct rn_threads *alone)
{
    const struct single_run *single = context;
    struct run own = *single->run;
    own.threads = alone;
    if (own.step_ns)
        own.now_ns = nanotime_monotonic();
    run_steps(&own, 0, own.plan->n_single, single->image, 1);
}

/* Item: an image. */
static void single_item(void *context, int image)
{
    const struct run *run = context;
    const struct plan *plan = run->plan;
    const size_t self = (size_t)threads_self();
    struct run own = *run;
    own.single += self * part_bytes(plan);
    own.thread_scratch += self * plan->thread_scratch_bytes;
    struct single_run single = {&own, image};
    threads_alone(run->threads, run_alone, &single);
}

/* As many images as all threads can take alone, then the others. */
static void run_singles(struct run *run, int n)
{
    const int n_single = run->plan->n_single, n_threads = rn_threads_count(run->threads);
    const int n_alone = goes_alone(run->plan, n_threads) ? n / n_threads * n_threads : 0;
    run->n_at_once = (unsigned)n_threads;
    threads_run(run->threads, n_alone, single_item, run);
    run->n_at_once = 1;
    if (run->step_ns)
        run->now_ns = nanotime_monotonic();
    for (int image = n_alone; image < n; image++)
        run_steps(run, 0, n_single, image, 1);
}

const float *plan_run(const struct plan *plan, void *arena, const float *const *images, int n,
                      struct rn_threads *threads, uint64_t *step_ns)
{
    assert(n >= 1 && n <= plan->max_batch);
    struct run run = new_run(plan, arena, images, threads);
    run.step_ns = step_ns;
    if (step_ns)
        memset(step_ns, 0, (size_t)plan->n_steps * sizeof *step_ns);
    run_singles(&run, n);
    run_steps(&run, plan->n_single, plan->n_steps, 0, n);
    return at(&run, plan->steps[plan->n_steps - 1].out, 0);
}

const float *plan_run_tap(const struct plan *plan, void *arena, const float *image,
                          const struct plan_tap *tap, struct rn_threads *threads)
{
    struct run run = new_run(plan, arena, &image, threads);
    if (tap->step == 0)
        return image;
    run_steps(&run, 0, tap->step, 0, 1);
    const struct op_prepared *prepared = &plan->steps[tap->step].prepared;
    struct op_args args = args_of(&run, tap->step, 0, 1);
    if (!tap->residual)
        args.residual = NULL;
    args.no_relu = !tap->relu;
    prepared->run(prepared->data, &args);
    return args.out;
}
