/* As many jobs as workers, allocated once; a request stays at the head of the queue until the last
 * of its images has been handed out.
 *
 * SPDX-License-Identifier: MIT */
#include "server/workers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "server/batcher.h"
#include "server/decode.h"
#include "server/metrics.h"
#include "server/registry.h"
#include "server/request.h"
#include "server/sandbox.h"

struct job {
    uv_work_t work;
    struct workers *workers;
    struct job *next; /* free ones */
    struct request *request;
    struct request_image *image; /* NULL: the request is parsed or rendered */
    struct decode_means means;
    uint64_t handed_ns; /* UINT64_MAX while it is free */
};

struct workers {
    uv_loop_t *loop;
    struct rn_image_limits limits;
    struct metrics *metrics;
    struct workers_handlers handlers;
    int n_workers;
    struct job *jobs, *free_jobs;
    struct request *first, **last;
    struct decodecurve curve;
    unsigned n_learned[DECODECURVE_WAYS];
};

static void parse_work(uv_work_t *work)
{
    struct job *job = work->data;
    if (!atomic_load(&job->request->cancelled))
        job->request->parse(job->request);
}

static void render_work(uv_work_t *work)
{
    struct job *job = work->data;
    if (!atomic_load(&job->request->cancelled))
        job->request->render(job->request);
}

static void decode_work(uv_work_t *work)
{
    struct job *job = work->data;
    if (!atomic_load(&job->request->cancelled))
        (void)decode_image(job->image, &job->means);
}

static void free_job(struct job *job)
{
    job->handed_ns = UINT64_MAX;
    job->next = job->workers->free_jobs;
    job->workers->free_jobs = job;
}

/* The status of after-callbacks is libuv's: it could only be UV_ECANCELED, which we never ask for.
 */
static void parse_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    const struct workers *workers = job->workers;
    (void)status;
    free_job(job);
    job->request->on_worker = false;
    workers->handlers.parsed(workers->handlers.context, job->request);
}

static void render_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    const struct workers *workers = job->workers;
    (void)status;
    free_job(job);
    job->request->on_worker = false;
    workers->handlers.rendered(workers->handlers.context, job->request);
}

#define SHOWN_SIZES 3
#define SHOW_EVERY 16 /* images of a way */

static int way_of(const struct job *job)
{
    const struct rn_image_info *info = &job->image->info;
    const struct rn_recipe *recipe = &job->request->model->info->recipe;
    return decodecurve_way(info->format, rn_image_reduction(info, &job->means.limits, recipe));
}

/* The learned line of a way, at some sizes. */
static void show_curve(const struct workers *workers, int way)
{
    static const struct {
        const char *megapixels;
        double n_pixels;
    } sizes[SHOWN_SIZES] = {{"0.25", 250e3}, {"1", 1e6}, {"12", 12e6}};
    for (int i = 0; i < SHOWN_SIZES; i++) {
        char labels[96];
        (void)snprintf(labels, sizeof labels, "format=\"%s\",reduction=\"%d\",megapixels=\"%s\"",
                       decodecurve_format(way), decodecurve_reduction(way), sizes[i].megapixels);
        metrics_set(workers->metrics, METRIC_DECODE_PREDICTED, labels,
                    (double)decodecurve_expected_ns(&workers->curve, way, sizes[i].n_pixels) / 1e9);
    }
}

static void learn_curve(struct workers *workers, const struct job *job, double ns)
{
    const struct rn_image_info *info = &job->image->info;
    const double n_pixels = (double)info->width * info->height;
    const int way = way_of(job);
    const double expected_ns = (double)decodecurve_expected_ns(&workers->curve, way, n_pixels);
    if (expected_ns > 0)
        metrics_observe(workers->metrics, METRIC_DECODE_PREDICTION_ERROR, "",
                        fabs(ns - expected_ns) / 1e9);
    decodecurve_learn(&workers->curve, way, n_pixels, (uint64_t)ns);
    if (workers->n_learned[way]++ % SHOW_EVERY == 0)
        show_curve(workers, way);
}

static void learn(struct workers *workers, const struct job *job)
{
    const struct request_image *image = job->image;
    const double ns = (double)(image->preprocess_end_ns - image->decode_start_ns);
    metrics_add(workers->metrics, METRIC_DECODE_BUSY, "", ns / 1e9);
    metrics_observe_span(workers->metrics, METRIC_STAGE_DURATION, "stage=\"decode\"",
                         image->decode_start_ns, image->decode_end_ns);
    metrics_observe_span(workers->metrics, METRIC_STAGE_DURATION, "stage=\"preprocess\"",
                         image->decode_end_ns, image->preprocess_end_ns);
    if (!image->is_tensor)
        learn_curve(workers, job, ns);
}

static void decode_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    struct workers *workers = job->workers;
    (void)status;
    free_job(job);
    if (job->means.sandbox)
        metrics_set(workers->metrics, METRIC_DECODE_DEATHS, "",
                    (double)sandbox_deaths(job->means.sandbox));
    if (job->image->preprocess_end_ns != 0)
        learn(workers, job);
    else if (job->image->problem.type == PROBLEM_DEADLINE_UNMEETABLE && job->image->has_info)
        decodecurve_doubt(&workers->curve, way_of(job));
    workers->handlers.decoded(workers->handlers.context, job->image);
}

struct workers *workers_new(struct uv_loop_s *loop, int n_workers,
                            const struct rn_image_limits *limits, struct sandbox *sandbox,
                            struct metrics *metrics, const struct workers_handlers *handlers)
{
    struct workers *workers = calloc(1, sizeof *workers);
    if (!workers)
        return NULL;
    workers->jobs = calloc((size_t)n_workers, sizeof *workers->jobs);
    if (!workers->jobs) {
        free(workers);
        return NULL;
    }
    workers->loop = loop;
    workers->limits = *limits;
    workers->metrics = metrics;
    workers->handlers = *handlers;
    workers->n_workers = n_workers;
    workers->last = &workers->first;
    for (int i = 0; i < n_workers; i++) {
        workers->jobs[i].work.data = &workers->jobs[i];
        workers->jobs[i].workers = workers;
        workers->jobs[i].means.sandbox = sandbox;
        workers->jobs[i].means.slot = i;
        free_job(&workers->jobs[i]);
    }
    return workers;
}

void workers_free(struct workers *workers)
{
    if (!workers)
        return;
    free(workers->jobs);
    free(workers);
}

void workers_set_limits(struct workers *workers, const struct rn_image_limits *limits)
{
    workers->limits = *limits;
}

void workers_add(struct workers *workers, struct request *request, bool first)
{
    struct request **link = first ? &workers->first : workers->last;
    request->next = *link;
    *link = request;
    if (!request->next)
        workers->last = &request->next;
}

bool workers_remove(struct workers *workers, const struct request *request)
{
    struct request **link = &workers->first;
    while (*link && *link != request)
        link = &(*link)->next;
    if (!*link)
        return false;
    *link = request->next;
    if (!*link)
        workers->last = link;
    return true;
}

struct request *workers_next(const struct workers *workers)
{
    return workers->free_jobs ? workers->first : NULL;
}

/* An image that is alone gets every chance: one stalled run or decode never locks the door. */
static void set_bounds(const struct workers *workers, struct job *job)
{
    const struct batcher *batcher = job->request->model->batcher;
    struct decode_bounds *bounds = &job->means.bounds;
    bounds->curve = workers->curve;
    bounds->fastest = batcher_images(batcher) <= 1;
    bounds->run_ns = bounds->fastest ? batcher_fastest_ns(batcher, 1) : batcher_cost_ns(batcher, 1);
}

void workers_start(struct workers *workers)
{
    while (workers->first && workers->free_jobs) {
        struct request *request = workers->first;
        struct job *job = workers->free_jobs;
        workers->free_jobs = job->next;
        job->request = request;
        job->handed_ns = uv_hrtime();
        const bool renders = request->images && request->n_started == request->n_images;
        if (!request->images || renders) {
            request->on_worker = true;
            job->image = NULL;
            (void)workers_remove(workers, request);
            (void)uv_queue_work(workers->loop, &job->work, renders ? render_work : parse_work,
                                renders ? render_done : parse_done);
            continue;
        }
        job->image = &request->images[request->n_started++];
        job->image->state = REQUEST_DECODING;
        job->means.limits = workers->limits;
        set_bounds(workers, job);
        if (request->n_started == request->n_images)
            (void)workers_remove(workers, request);
        (void)uv_queue_work(workers->loop, &job->work, decode_work, decode_done);
    }
}

uint64_t workers_oldest_ns(const struct workers *workers)
{
    uint64_t oldest_ns = UINT64_MAX;
    for (int i = 0; i < workers->n_workers; i++)
        if (workers->jobs[i].handed_ns < oldest_ns)
            oldest_ns = workers->jobs[i].handed_ns;
    return oldest_ns;
}
