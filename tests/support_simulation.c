/* The made-up costs are those of ResNet-18 with 500-pixel photographs on two cores, from a server
 * under load: a batch of n takes BASE + n * SLOPE, a decode DECODE on the average, a run that
 * decoding disturbs takes longer, and a few runs stall.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_simulation.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "server/admission.h"
#include "server/batcher.h"
#include "server/request.h"
#include "tests/support_random.h"
#include "tests/support_trace.h"

#define MS 1e6
#define BASE_NS (3.0 * MS)
#define SLOPE_NS (8.2 * MS)
#define DECODE_NS (3.0 * MS)
#define DISTURBED 0.08 /* longer for each decoder at work */
#define NOISE 0.04     /* standard deviation of a run's time */
#define STALLS 0.01    /* of all runs take twice as long */
#define N_DECODERS 2
#define MAX_BATCH 8
#define QUEUE_LIMIT 256
#define WINDOW_NS (2 * MS)
#define NEVER HUGE_VAL
#define FAR_NS (UINT64_C(1) << 62)

struct job {
    struct request request;
    struct request_image image;
    double arrived_ns, ready_ns, deadline_ns; /* header; whole body */
    double decode_ns;
    struct job *next;
};

struct world {
    const struct simulation *s;
    uint64_t random;
    size_t n_arrived;
    struct batcher *batcher;
    struct admission admission;
    double now_ns, next_arrival_ns, engine_end_ns, wake_ns, paced_ns, launched_ns;
    double decode_end_ns[N_DECODERS];
    struct job *decoding[N_DECODERS];
    struct job *uploads; /* by ready_ns */
    struct job *to_decode, **last_to_decode;
    struct request_image *batch[MAX_BATCH];
    int n_batch, n_system; /* images taken and not answered */
    int n_waiting;         /* of them not yet in a batch */
    struct simulation_result count;
};

static double uniform(struct world *w)
{
    return ((double)(random_next(&w->random) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(struct world *w)
{
    return sqrt(-2 * log(uniform(w))) * cos(2 * 3.14159265358979 * uniform(w));
}

static double exponential(struct world *w, double mean)
{
    return -log(uniform(w)) * mean;
}

static bool counts(const struct world *w, const struct job *job)
{
    return job->arrived_ns > 0.2 * w->s->seconds * 1e9;
}

static struct job *job_of(struct request_image *image)
{
    return (struct job *)((char *)image - offsetof(struct job, image));
}

static void end_job(struct world *w, struct job *job, double *outcome)
{
    if (counts(w, job))
        *outcome += 1 / (0.8 * w->s->seconds);
    free(job);
}

/* Of the trace, in turn; NULL where it is made up. */
static const struct trace_request *recorded(const struct world *w, size_t i)
{
    const struct trace *trace = w->s->trace;
    return trace ? &trace->requests[i % trace->n] : NULL;
}

static double left_ns(const struct world *w, const struct job *job)
{
    return job->deadline_ns - w->now_ns;
}

/* As pipeline_bound_ns() for one model. */
static bool admit(struct world *w, struct job *job)
{
    if (w->n_waiting >= QUEUE_LIMIT)
        return false;
    if (w->s->policy != SIMULATION_RESNETD)
        return true;
    double predicted_ns = 0, bound_ns = (double)batcher_fastest_ns(w->batcher, 1);
    if (w->n_system > 0) {
        predicted_ns = (double)batcher_pace_ns(w->batcher, batcher_images(w->batcher) + 1);
        if (w->n_batch > 0)
            predicted_ns += fmax(
                0, w->launched_ns + (double)batcher_pace_ns(w->batcher, w->n_batch) - w->now_ns);
        bound_ns = (double)admission_bound_ns(&w->admission, (uint64_t)predicted_ns);
    }
    job->request.predicted_ns = (uint64_t)predicted_ns;
    job->request.admitted_ns = (uint64_t)w->now_ns;
    return bound_ns <= left_ns(w, job);
}

/* As pipeline_learn_admission(). */
static void learn(struct world *w, const struct job *job, double end_ns)
{
    const struct request *request = &job->request;
    if (2 * admission_bound_ns(&w->admission, request->predicted_ns) >=
        request->deadline_ns - request->admitted_ns)
        admission_learn(&w->admission, request->predicted_ns,
                        (uint64_t)end_ns - request->admitted_ns);
}

static void submit(struct world *w, struct job *job)
{
    if (left_ns(w, job) <= 0 || !admit(w, job)) {
        end_job(w, job, &w->count.refused);
        return;
    }
    if (w->n_waiting == 0 && w->n_batch == 0)
        w->paced_ns = w->now_ns;
    w->n_system++;
    w->n_waiting++;
    batcher_expect(w->batcher, 1);
    job->next = NULL;
    *w->last_to_decode = job;
    w->last_to_decode = &job->next;
}

static double arrival_ns(struct world *w)
{
    const struct trace *trace = w->s->trace;
    if (!trace)
        return w->next_arrival_ns + exponential(w, 1e9 / w->s->rate);
    const double lap_ns = (double)(w->n_arrived / trace->n) * trace->ns;
    return (lap_ns + recorded(w, w->n_arrived)->arrived_ns) * trace_rate(trace) / w->s->rate;
}

static double upload_ns(struct world *w, const struct trace_request *record)
{
    if (record)
        return record->upload_ns;
    if (uniform(w) >= w->s->slow_part)
        return 0;
    return (0.5 + 0.7 * uniform(w)) * w->s->deadline_ms * MS;
}

static void arrive(struct world *w)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    const struct trace_request *record = recorded(w, w->n_arrived++);
    w->next_arrival_ns = arrival_ns(w);
    job->decode_ns = record ? record->decode_ns : exponential(w, DECODE_NS);
    job->arrived_ns = job->ready_ns = w->now_ns;
    job->deadline_ns = w->now_ns + w->s->deadline_ms * MS;
    /* The simpler policies' batches know no deadlines. */
    job->request.deadline_ns =
        w->s->policy == SIMULATION_RESNETD ? (uint64_t)job->deadline_ns : FAR_NS;
    job->image.request = &job->request;
    job->ready_ns += upload_ns(w, record);
    if (job->ready_ns <= w->now_ns) {
        submit(w, job);
        return;
    }
    if (!admit(w, job)) { /* at the header */
        end_job(w, job, &w->count.refused);
        return;
    }
    struct job **link = &w->uploads;
    while (*link && (*link)->ready_ns <= job->ready_ns)
        link = &(*link)->next;
    job->next = *link;
    *link = job;
}

/* Ready images; the first one teaches admission how late it would have been. */
static void give_up(struct world *w, struct request_image *list, double end_ns)
{
    if (list)
        learn(w, job_of(list), end_ns);
    while (list) {
        struct request_image *next = list->next;
        w->n_system--;
        w->n_waiting--;
        end_job(w, job_of(list), &w->count.dropped);
        list = next;
    }
}

/* As pipeline_drop_waiting(). */
static void drop_waiting(struct world *w)
{
    const double run_ns = (double)batcher_cost_ns(w->batcher, 1);
    bool taught = false;
    while (w->s->policy == SIMULATION_RESNETD && w->n_system > 1 && w->to_decode &&
           left_ns(w, w->to_decode) <= run_ns + (double)admission_answer_ns(&w->admission)) {
        struct job *job = w->to_decode;
        if (!taught)
            learn(w, job, w->now_ns + run_ns);
        taught = true;
        w->to_decode = job->next;
        if (!w->to_decode)
            w->last_to_decode = &w->to_decode;
        batcher_expect(w->batcher, -1);
        w->n_system--;
        w->n_waiting--;
        end_job(w, job, &w->count.dropped);
    }
}

static void start_decoders(struct world *w)
{
    drop_waiting(w);
    for (int i = 0; i < N_DECODERS && w->to_decode; i++) {
        if (w->decoding[i])
            continue;
        w->decoding[i] = w->to_decode;
        w->to_decode = w->to_decode->next;
        if (!w->to_decode)
            w->last_to_decode = &w->to_decode;
        w->decode_end_ns[i] = w->now_ns + w->decoding[i]->decode_ns;
    }
}

static double run_ns(struct world *w, int n)
{
    if (w->s->trace)
        return trace_run_ns(w->s->trace, n, (size_t)(uniform(w) * (double)w->s->trace->n));
    double ns = (BASE_NS + n * SLOPE_NS) * (1 + NOISE * normal(w));
    for (int i = 0; i < N_DECODERS; i++)
        if (w->decoding[i])
            ns *= 1 + DISTURBED;
    return uniform(w) < STALLS ? 2 * ns : ns;
}

static void start_batch(struct world *w)
{
    const uint64_t now_ns = (uint64_t)w->now_ns;
    const bool is_ours = w->s->policy == SIMULATION_RESNETD;
    const uint64_t window_ns = is_ours ? BATCHER_WORTHWHILE : (uint64_t)WINDOW_NS;
    uint64_t wake_ns = UINT64_MAX;
    w->wake_ns = NEVER;
    if (w->n_batch > 0)
        return;
    const double run_alone_ns = (double)batcher_cost_ns(w->batcher, 1);
    if (is_ours) {
        batcher_set_answer(w->batcher, admission_answer_ns(&w->admission));
        give_up(w, batcher_expire(w->batcher, now_ns), w->now_ns + run_alone_ns);
    }
    if (!batcher_due(w->batcher, now_ns, window_ns, &wake_ns)) {
        if (wake_ns != UINT64_MAX)
            w->wake_ns = fmax((double)wake_ns, w->now_ns + 1000);
        return;
    }
    w->n_batch = batcher_take(w->batcher, now_ns, w->batch);
    if (w->s->policy == SIMULATION_DROP) {
        int n = 0;
        for (int i = 0; i < w->n_batch; i++) {
            w->batch[i]->next = NULL;
            if (left_ns(w, job_of(w->batch[i])) > 0)
                w->batch[n++] = w->batch[i];
            else
                give_up(w, w->batch[i], w->now_ns);
        }
        w->n_batch = n;
        if (n == 0) {
            w->wake_ns = w->now_ns + 1000;
            return;
        }
    }
    w->n_waiting -= w->n_batch;
    w->launched_ns = w->now_ns;
    w->engine_end_ns = w->now_ns + run_ns(w, w->n_batch);
    const uint64_t expected_ns = batcher_cost_ns(w->batcher, w->n_batch);
    if (is_ours) /* who would be too late behind this batch */
        give_up(w, batcher_expire(w->batcher, now_ns + expected_ns),
                w->now_ns + (double)expected_ns + run_alone_ns);
}

static void end_batch(struct world *w)
{
    batcher_learn(w->batcher, w->n_batch, (uint64_t)(w->now_ns - w->launched_ns));
    batcher_learn_pace(w->batcher, w->n_batch, (uint64_t)(w->now_ns - w->paced_ns));
    w->paced_ns = w->now_ns;
    for (int i = 0; i < w->n_batch; i++) {
        struct job *job = job_of(w->batch[i]);
        learn(w, job, w->now_ns);
        w->n_system--;
        end_job(w, job, left_ns(w, job) >= 0 ? &w->count.good : &w->count.late);
    }
    w->n_batch = 0;
    w->engine_end_ns = NEVER;
}

/* The next thing that happens; false when nothing will. */
static bool step(struct world *w)
{
    double *next = &w->next_arrival_ns;
    double upload_ns = w->uploads ? w->uploads->ready_ns : NEVER;
    if (w->next_arrival_ns > w->s->seconds * 1e9)
        w->next_arrival_ns = NEVER;
    double *const times[] = {&upload_ns, &w->engine_end_ns, &w->wake_ns, &w->decode_end_ns[0],
                             &w->decode_end_ns[1]};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (*times[i] < *next)
            next = times[i];
    if (*next == NEVER)
        return false;
    w->now_ns = *next;
    if (next == &w->next_arrival_ns) {
        arrive(w);
    } else if (next == &upload_ns) {
        struct job *job = w->uploads;
        w->uploads = job->next;
        submit(w, job);
    } else if (next == &w->engine_end_ns) {
        end_batch(w);
    } else {
        for (int i = 0; i < N_DECODERS; i++) {
            if (next != &w->decode_end_ns[i])
                continue;
            w->decoding[i]->image.preprocess_end_ns = (uint64_t)w->now_ns;
            batcher_add(w->batcher, &w->decoding[i]->image);
            w->decoding[i] = NULL;
            w->decode_end_ns[i] = NEVER;
        }
    }
    start_decoders(w);
    start_batch(w);
    return true;
}

struct simulation_result simulation_run(const struct simulation *simulation)
{
    struct world w = {.s = simulation, .random = simulation->seed};
    w.batcher = batcher_new(MAX_BATCH);
    if (!w.batcher)
        abort();
    admission_init(&w.admission);
    w.next_arrival_ns = arrival_ns(&w);
    w.last_to_decode = &w.to_decode;
    w.engine_end_ns = w.wake_ns = w.decode_end_ns[0] = w.decode_end_ns[1] = NEVER;
    while (step(&w))
        ;
    batcher_free(w.batcher);
    return w.count;
}

double simulation_capacity(void)
{
    const double disturbed = 1 + DISTURBED * DECODE_NS / (BASE_NS / MAX_BATCH + SLOPE_NS);
    return MAX_BATCH * 1e9 / ((BASE_NS + MAX_BATCH * SLOPE_NS) * (1 + STALLS) * disturbed);
}
