/* Workers in front, one batcher per model behind them, one batch at a time on the engine.
 *
 *   submit ─► workers: parse, decode ─► batcher ─► batch: infer ─► done
 *     │            │                       │          │
 *     └────────────┴─ bad, late, cancelled ┴──────────┴─► done
 *
 * A request with an alone() waits behind the workers until no batch does, and one with a render()
 * goes to the workers once more before it is done.
 *
 * The loop thread runs everything here. Every image ends in pipeline_finish_image, every request
 * in pipeline_finish_request.
 *
 * SPDX-License-Identifier: MIT */
#include "server/pipeline_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "server/batcher.h"
#include "server/metrics.h"
#include "server/registry.h"
#include "server/reuse.h"
#include "server/runner.h"
#include "server/workers.h"

/* ---- leaving ------------------------------------------------------------------------------- */

static void count_images(struct pipeline *pipeline, const struct request *request,
                         enum problem_type problem, int n)
{
    metrics_add_images(pipeline->metrics,
                       request_outcome(problem, atomic_load(&request->cancelled)),
                       problem_slug(problem), n);
}

/* n images join (or, negative, leave) those expected by the model's batcher. */
void pipeline_expect(struct pipeline *pipeline, struct registry_model *model, int n)
{
    const bool was_idle = batcher_images(model->batcher) == 0;
    batcher_expect(model->batcher, n);
    pipeline->n_queued += n;
    if (pipeline->n_queued == n && n > 0 && !runner_running(pipeline->runner))
        pipeline->paced_ns = uv_hrtime();
    if (was_idle && n > 0)
        registry_append_busy(&pipeline->busy, model);
    else if (!was_idle && batcher_images(model->batcher) == 0)
        registry_unlink_busy(&pipeline->busy, model);
}

/* n images have left the model's batcher. */
void pipeline_left_batcher(struct pipeline *pipeline, struct registry_model *model, int n)
{
    pipeline->n_queued -= n;
    if (batcher_images(model->batcher) == 0)
        registry_unlink_busy(&pipeline->busy, model);
}

/* Those who waited for the same file get its scores, or go on by themselves. */
void pipeline_finish_request(struct pipeline *pipeline, struct request *request)
{
    const int n_images = request->images ? request->n_images : 1;
    struct request *followers = reuse_leave(pipeline->reuse, request), *next;
    if (request->n_finished < n_images) /* its problem was that of all of them */
        count_images(pipeline, request, request->problem.type, n_images - request->n_finished);
    for (struct request *follower = followers; follower; follower = follower->next_follower)
        if (reuse_share(request, follower))
            follower->images->state = REQUEST_FINISHED;
    pipeline->n_requests--;
    if (!request->alone)
        stats_request(&request->model->stats, request, uv_hrtime());
    if (pipeline->alone == request)
        pipeline->alone = NULL;
    if (request->has_preview_seat)
        pipeline->n_previews--;
    request->has_preview_seat = false;
    request->done(request);
    for (struct request *follower = followers; follower; follower = next) {
        next = follower->next_follower;
        follower->next_follower = NULL;
        if (follower->images->state == REQUEST_FINISHED) {
            pipeline_finish_image(pipeline, follower->images);
        } else {
            *pipeline->last_orphan = follower;
            pipeline->last_orphan = &follower->next_follower;
        }
    }
}

/* The last image is finished: pictures come first, where there is something to show. */
static void end_images(struct pipeline *pipeline, struct request *request)
{
    bool worked = false;
    for (int i = 0; i < request->n_images; i++)
        worked = worked || request->images[i].problem.type == PROBLEM_NONE;
    if (request->render && worked && !atomic_load(&request->cancelled))
        workers_add(pipeline->workers, request, false);
    else
        pipeline_finish_request(pipeline, request);
}

/* An image has its scores or its problem. Ends the request when it was the last. */
void pipeline_finish_image(struct pipeline *pipeline, struct request_image *image)
{
    struct request *request = image->request;
    image->state = REQUEST_FINISHED;
    count_images(pipeline, request, image->problem.type, 1);
    if (image->batch_end_ns == 0 && image->problem.type == PROBLEM_NONE)
        request_late(&image->problem, "queue"); /* cancelled: nobody will read it */
    if (++request->n_finished == request->n_images)
        end_images(pipeline, request);
}

/* ---- from station to station ----------------------------------------------------------------- */

static void advance(struct pipeline *pipeline); /* every station ends by setting the next going */

/* True when there is nothing to compute: the request, of which n_expected images were expected,
 * follows another one, or is finished and may be gone, and its model with it. */
static bool reused(struct pipeline *pipeline, struct request *request, int n_expected)
{
    const bool cached = reuse_cached(pipeline->reuse, request);
    if (!cached && !reuse_follow(pipeline->reuse, request))
        return false;
    pipeline_expect(pipeline, request->model, -n_expected);
    if (cached)
        pipeline_finish_image(pipeline, request->images);
    return true;
}

/* The number of images is known now; until here the request counted as one. */
static void parsed(void *context, struct request *request)
{
    struct pipeline *pipeline = context;
    const int n_more = request->n_images - 1;
    if (request->problem.type == PROBLEM_NONE && atomic_load(&request->cancelled))
        request_late(&request->problem, "receive"); /* for nobody */
    else if (request->problem.type == PROBLEM_NONE && n_more < 0)
        problem_set(&request->problem, PROBLEM_INTERNAL, "the request was parsed to no image");
    else if (request->problem.type == PROBLEM_NONE && pipeline_can_meet(pipeline, request) &&
             n_more > 0)
        (void)pipeline_admit(pipeline, request->model, n_more, request->deadline_ns,
                             &request->problem);
    if (request->problem.type != PROBLEM_NONE || !pipeline_admit_preview(pipeline, request)) {
        pipeline_expect(pipeline, request->model, -1);
        pipeline_finish_request(pipeline, request);
    } else if (!reused(pipeline, request, 1)) {
        reuse_lead(pipeline->reuse, request);
        pipeline_expect(pipeline, request->model, n_more);
        workers_add(pipeline->workers, request, true);
    }
    advance(pipeline);
}

static void decoded(void *context, struct request_image *image)
{
    struct pipeline *pipeline = context;
    struct registry_model *model = image->request->model;
    const bool alone = pipeline->alone == image->request;
    if (image->problem.type == PROBLEM_DEADLINE_EXCEEDED ||
        image->problem.type == PROBLEM_DEADLINE_UNMEETABLE)
        pipeline_learn_admission(pipeline, image->request, uv_hrtime());
    if (image->preprocess_end_ns == 0 || atomic_load(&image->request->cancelled)) {
        pipeline_expect(pipeline, model, alone ? 0 : -1);
        pipeline_finish_image(pipeline, image);
    } else if (alone) {
        image->state = REQUEST_QUEUED;
        pipeline->alone_waits = true;
    } else {
        image->state = REQUEST_QUEUED;
        batcher_add(model->batcher, image);
    }
    advance(pipeline);
}

static void rendered(void *context, struct request *request)
{
    pipeline_finish_request(context, request);
    advance(context);
}

static void ran(void *context, const struct runner_batch *batch)
{
    struct pipeline *pipeline = context;
    const uint64_t now_ns = uv_hrtime();
    const bool is_busy = pipeline->n_queued >= batcher_best_batch(batch->model->batcher);
    if (batch->alone) {
        pipeline_finish_image(pipeline, batch->images[0]);
    } else if (!batch->measurement) {
        batcher_learn_pace(batch->model->batcher, batch->n, now_ns - pipeline->paced_ns);
        if (pipeline->was_busy)
            batcher_learn_capacity(batch->model->batcher, batch->n, now_ns - pipeline->paced_ns);
        for (int i = 0; i < batch->n; i++) {
            struct request_image *image = batch->images[i];
            pipeline_learn_admission(pipeline, image->request, now_ns);
            if (batch->end_ns > image->request->deadline_ns)
                request_late(&image->problem, "inference");
        }
        for (int i = 0; i < batch->n; i++)
            pipeline_finish_image(pipeline,
                                  batch->images[i]); /* the model may go with the last one */
    }
    pipeline->paced_ns = now_ns;
    pipeline->was_busy = is_busy;
    advance(pipeline);
}

static void launch(struct pipeline *pipeline, struct registry_model *model, uint64_t now_ns)
{
    registry_unlink_busy(&pipeline->busy, model);
    runner_launch(pipeline->runner, model, now_ns);
    pipeline_left_batcher(pipeline, model, runner_running(pipeline->runner)->n);
    if (batcher_images(model->batcher) > 0)
        registry_append_busy(&pipeline->busy, model); /* behind the others: they take turns */
    /* Who would be too late behind this batch is told so now, while another server may help. */
    (void)pipeline_drop_expired(pipeline, model, now_ns,
                                now_ns + runner_running(pipeline->runner)->expected_ns);
}

static void woken(uv_timer_t *timer)
{
    advance(timer->data);
}

/* Starts the first batch in turn that is due, or sets the timer for when one will be. */
static void start_batch(struct pipeline *pipeline)
{
    const uint64_t now_ns = uv_hrtime();
    const int window_ms = pipeline->options.batch_window_ms;
    const uint64_t window_ns = window_ms < 0 ? BATCHER_WORTHWHILE : (uint64_t)window_ms * 1000000;
    const uint64_t answer_ns = admission_answer_ns(&pipeline->admission);
    uint64_t wake_ns = UINT64_MAX;
    struct registry_model *next;
    for (struct registry_model *model = pipeline->busy; model; model = next) {
        uint64_t model_wake_ns;
        next = model->next_busy;
        batcher_set_answer(model->batcher, answer_ns);
        if (!pipeline_drop_expired(pipeline, model, now_ns, now_ns))
            continue;
        if (batcher_due(model->batcher, now_ns, window_ns, &model_wake_ns)) {
            launch(pipeline, model, now_ns);
            return;
        }
        if (model_wake_ns < wake_ns)
            wake_ns = model_wake_ns;
    }
    if (wake_ns != UINT64_MAX) {
        uv_update_time(pipeline->loop);
        (void)uv_timer_start(&pipeline->wake, woken, (wake_ns - now_ns + 999999) / 1000000, 0);
    }
}

/* It counts as nobody's company and is not among the work ahead of others, whom it lets go first.
 */
static void take_alone(struct pipeline *pipeline, struct request *request)
{
    pipeline->n_requests++;
    if (!pipeline_admit_alone(pipeline, &request->problem)) {
        pipeline_finish_request(pipeline, request);
        return;
    }
    pipeline->alone = request;
    pipeline->alone_waits = false;
    workers_add(pipeline->workers, request, false);
}

/* When no batch wants the engine, now or soon. */
static void start_alone(struct pipeline *pipeline)
{
    const uint64_t now_ns = uv_hrtime();
    struct request *request = pipeline->alone;
    if (!pipeline->alone_waits)
        return;
    if (request->deadline_ns <= now_ns) {
        pipeline->alone_waits = false;
        request_late(&request->images->problem, "queue");
        pipeline_finish_image(pipeline, request->images);
    } else if (!runner_running(pipeline->runner) && pipeline->n_queued == 0) {
        pipeline->alone_waits = false;
        runner_launch_alone(pipeline->runner, request, now_ns);
    }
}

static void take(struct pipeline *pipeline, struct request *request)
{
    const int n_images = request->images ? request->n_images : 1;
    const bool late = request->received_ns >= request->deadline_ns;
    bool admitted = false;
    pipeline->n_requests++;
    if (!late && request->images && reused(pipeline, request, 0))
        return;
    pipeline->n_requests--; /* it is not among the work ahead of itself */
    if (late)
        request_late(&request->problem, "receive"); /* the upload took all of it */
    else
        admitted = pipeline_admit_request(pipeline, request, n_images) &&
                   (!request->images || pipeline_admit_preview(pipeline, request));
    pipeline->n_requests++;
    if (!admitted) {
        pipeline_finish_request(pipeline, request);
        return;
    }
    if (request->images)
        reuse_lead(pipeline->reuse, request);
    pipeline_expect(pipeline, request->model, n_images);
    workers_add(pipeline->workers, request, false);
}

static void adopt_orphans(struct pipeline *pipeline)
{
    struct request *orphan = pipeline->orphans, *next;
    pipeline->orphans = NULL;
    pipeline->last_orphan = &pipeline->orphans;
    for (; orphan; orphan = next) {
        next = orphan->next_follower;
        orphan->next_follower = NULL;
        pipeline->n_requests--;
        take(pipeline, orphan);
    }
}

static void advance(struct pipeline *pipeline)
{
    (void)uv_timer_stop(&pipeline->wake);
    do {
        adopt_orphans(pipeline);
        pipeline_drop_waiting(pipeline);
        workers_start(pipeline->workers);
        if (!runner_running(pipeline->runner))
            start_batch(pipeline);
        start_alone(pipeline);
    } while (pipeline->orphans);
    if (!runner_running(pipeline->runner) && pipeline->n_requests == 0)
        (void)runner_measure(pipeline->runner);
}

/* ---- the public face ----------------------------------------------------------------------- */

struct pipeline *pipeline_new(struct uv_loop_s *loop, const struct pipeline_options *options,
                              struct metrics *metrics)
{
    struct pipeline *pipeline = calloc(1, sizeof *pipeline);
    if (!pipeline)
        return NULL;
    const struct workers_handlers handlers = {parsed, decoded, rendered, pipeline};
    pipeline->workers = workers_new(loop, options->decode_workers, &options->limits,
                                    options->sandbox, metrics, &handlers);
    pipeline->runner = runner_new(loop, metrics, ran, pipeline);
    pipeline->reuse = reuse_new(options->cache_bytes, metrics);
    if (!pipeline->workers || !pipeline->runner || !pipeline->reuse) {
        workers_free(pipeline->workers);
        runner_free(pipeline->runner);
        reuse_free(pipeline->reuse);
        free(pipeline);
        return NULL;
    }
    pipeline->loop = loop;
    pipeline->metrics = metrics;
    admission_init(&pipeline->admission);
    pipeline->last_orphan = &pipeline->orphans;
    (void)uv_timer_init(loop, &pipeline->wake);
    pipeline->wake.data = pipeline;
    pipeline_set_options(pipeline, options);
    advance(pipeline);
    return pipeline;
}

void pipeline_set_options(struct pipeline *pipeline, const struct pipeline_options *options)
{
    pipeline->options = *options;
    workers_set_limits(pipeline->workers, &options->limits);
    metrics_set(pipeline->metrics, METRIC_QUEUE_LIMIT, "", options->queue_limit);
}

static void timer_closed(uv_handle_t *timer)
{
    struct pipeline *pipeline = timer->data;
    workers_free(pipeline->workers);
    runner_free(pipeline->runner);
    reuse_free(pipeline->reuse);
    free(pipeline);
}

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    assert(pipeline_in_flight(pipeline) == 0);
    uv_close((uv_handle_t *)&pipeline->wake, timer_closed);
}

void pipeline_submit(struct pipeline *pipeline, struct request *request)
{
    if (request->alone)
        take_alone(pipeline, request);
    else
        take(pipeline, request);
    advance(pipeline);
}

void pipeline_measure(struct pipeline *pipeline, struct registry_model *model)
{
    runner_want_measured(pipeline->runner, model);
    advance(pipeline);
}

/* What runs comes back by itself. */
static void cancel_alone(struct pipeline *pipeline, struct request *request)
{
    const enum request_state state = request->images->state;
    if (state == REQUEST_WAITING || state == REQUEST_QUEUED) {
        pipeline->alone_waits = false;
        pipeline_finish_image(pipeline, request->images);
    }
    advance(pipeline);
}

void pipeline_cancel(struct pipeline *pipeline, struct request *request)
{
    struct registry_model *model = request->model;
    atomic_store(&request->cancelled, true);
    if (request->leader) {
        pipeline_finish_image(pipeline, request->images);
        return;
    }
    const bool was_waiting = workers_remove(pipeline->workers, request);
    if (request->on_worker)
        return;
    if (request->images && request->n_finished == request->n_images) { /* was to be rendered */
        pipeline_finish_request(pipeline, request);
        advance(pipeline);
        return;
    }
    if (!request->images) {
        pipeline_expect(pipeline, model, -1);
        pipeline_finish_request(pipeline, request);
        advance(pipeline);
        return;
    }
    if (request->alone) {
        cancel_alone(pipeline, request);
        return;
    }
    int n_left = 0;
    for (const struct request_image *image = batcher_remove(model->batcher, request); image;
         image = image->next)
        n_left++;
    pipeline_left_batcher(pipeline, model, n_left);
    if (was_waiting) {
        const int n_unstarted = request->n_images - request->n_started;
        pipeline_expect(pipeline, model, -n_unstarted);
        n_left += n_unstarted;
    }
    for (int i = 0; n_left > 0; i++) {
        const enum request_state state = request->images[i].state;
        if (state == REQUEST_WAITING || state == REQUEST_QUEUED) {
            n_left--; /* at 0 the request may be gone */
            pipeline_finish_image(pipeline, &request->images[i]);
        }
    }
    advance(pipeline);
}

size_t pipeline_in_flight(const struct pipeline *pipeline)
{
    const bool measures = pipeline->n_requests == 0 && runner_running(pipeline->runner);
    return pipeline->n_requests + measures;
}

size_t pipeline_queued_images(const struct pipeline *pipeline)
{
    return (size_t)pipeline->n_queued;
}

uint64_t pipeline_oldest_due_ns(const struct pipeline *pipeline)
{
    const struct runner_batch *batch = runner_running(pipeline->runner);
    const uint64_t handed_ns = workers_oldest_ns(pipeline->workers);
    const uint64_t batch_ns = batch ? batch->launched_ns + batch->expected_ns : UINT64_MAX;
    return handed_ns < batch_ns ? handed_ns : batch_ns;
}
