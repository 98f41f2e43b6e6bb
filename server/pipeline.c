/* Workers in front, one batcher per model behind them, one batch at a time on the engine.
 *
 *   submit ─► workers: parse, decode ─► batcher ─► batch: infer ─► done
 *     │            │                       │          │
 *     └────────────┴─ bad, late, cancelled ┴──────────┴─► done
 *
 * The loop thread runs everything here but infer_work, which sees only its batch. Every image ends
 * in finish_image, every request in finish_request.
 *
 * Two estimates guard the deadlines. The expected time (a fit, a running mean) decides whether a
 * busy server takes a request at all. Later looks, and an idle server, refuse only what even the
 * fastest run so far could not make, so that one stalled run never locks the door.
 *
 * SPDX-License-Identifier: MIT */
#include "server/pipeline.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "server/batcher.h"
#include "server/metrics.h"
#include "server/registry.h"
#include "server/workers.h"

/* The batch that runs. */
struct batch {
    uv_work_t work;
    struct pipeline *pipeline;
    struct registry_model *model;
    int n;
    struct request_image *images[RN_MAX_BATCH];
    const float *inputs[RN_MAX_BATCH];
    uint64_t launched_ns, expected_ns; /* the loop's */
    uint64_t start_ns, end_ns;         /* the worker's, until it is done */
};

struct pipeline {
    uv_loop_t *loop;
    uv_timer_t wake; /* a batcher's window closes or a deadline comes near */
    struct pipeline_options options;
    struct metrics *metrics;
    struct workers *workers;
    struct registry_model *busy; /* models with images, the next to serve first */
    struct batch batch;
    bool running;
    size_t n_requests; /* taken and not done */
    int n_queued;      /* images admitted and not yet in a batch */
    int n_undecoded;   /* those of them that are not ready for a batch */
};

/* ---- leaving ------------------------------------------------------------------------------- */

static const char *outcome_of(const struct request_image *image)
{
    if (atomic_load(&image->request->cancelled))
        return "canceled";
    if (image->problem.type == PROBLEM_NONE)
        return "ok";
    const int status = problem_row(image->problem.type)->status;
    return status == 504 ? "expired" : status >= 500 ? "rejected" : "invalid";
}

static void count_image(struct pipeline *pipeline, const struct request_image *image)
{
    const enum problem_type type = image->problem.type;
    char labels[128];
    (void)snprintf(labels, sizeof labels, "outcome=\"%s\",reason=\"%s\"", outcome_of(image),
                   type == PROBLEM_NONE ? "" : problem_row(type)->slug);
    metrics_add(pipeline->metrics, METRIC_IMAGES, labels, 1);
}

static void unlink_model(struct pipeline *pipeline, struct registry_model *model)
{
    struct registry_model **link = &pipeline->busy;
    while (*link && *link != model)
        link = &(*link)->next_busy;
    if (*link)
        *link = model->next_busy;
}

static void append_model(struct pipeline *pipeline, struct registry_model *model)
{
    struct registry_model **link = &pipeline->busy;
    while (*link)
        link = &(*link)->next_busy;
    *link = model;
    model->next_busy = NULL;
}

/* n images join (or, negative, leave) those expected by the model's batcher. */
static void expect(struct pipeline *pipeline, struct registry_model *model, int n)
{
    const bool was_idle = batcher_images(model->batcher) == 0;
    batcher_expect(model->batcher, n);
    pipeline->n_queued += n;
    pipeline->n_undecoded += n;
    if (was_idle && n > 0)
        append_model(pipeline, model);
    else if (!was_idle && batcher_images(model->batcher) == 0)
        unlink_model(pipeline, model);
}

/* n images have left the model's batcher. */
static void left_batcher(struct pipeline *pipeline, struct registry_model *model, int n)
{
    pipeline->n_queued -= n;
    if (batcher_images(model->batcher) == 0)
        unlink_model(pipeline, model);
}

static void finish_request(struct pipeline *pipeline, struct request *request)
{
    pipeline->n_requests--;
    request->done(request);
}

/* An image has its scores or its problem. Ends the request when it was the last. */
static void finish_image(struct pipeline *pipeline, struct request_image *image)
{
    struct request *request = image->request;
    image->state = REQUEST_FINISHED;
    count_image(pipeline, image);
    if (image->batch_end_ns == 0 && image->problem.type == PROBLEM_NONE)
        request_late(&image->problem, "queue"); /* cancelled: nobody will read it */
    if (++request->n_finished == request->n_images)
        finish_request(pipeline, request);
}

/* ---- admission ----------------------------------------------------------------------------- */

/* When the engine would be done with everything ahead of one more batch of this model, from now.
 * Models take turns: of another model no more batches come first than this one has, plus one. */
static uint64_t engine_wait_ns(const struct pipeline *pipeline, const struct registry_model *model,
                               int n_own_batches, uint64_t now_ns)
{
    uint64_t wait_ns = 0;
    if (pipeline->running) {
        const uint64_t end_ns = pipeline->batch.launched_ns + pipeline->batch.expected_ns;
        wait_ns = end_ns > now_ns ? end_ns - now_ns : 0;
    }
    for (const struct registry_model *other = pipeline->busy; other; other = other->next_busy) {
        if (other == model)
            continue;
        const int most = n_own_batches * batcher_max_batch(other->batcher);
        const int n = batcher_images(other->batcher);
        wait_ns += batcher_cost_ns(other->batcher, n < most ? n : most);
    }
    return wait_ns;
}

static uint64_t predict_ns(const struct pipeline *pipeline, const struct registry_model *model,
                           int n_images, uint64_t now_ns)
{
    const struct batcher *batcher = model->batcher;
    if (pipeline->n_requests == 0)
        return batcher_fastest_ns(batcher, n_images);
    const int n = batcher_images(batcher) + n_images;
    const int max_batch = batcher_max_batch(batcher);
    const uint64_t engine_ns =
        engine_wait_ns(pipeline, model, (n + max_batch - 1) / max_batch, now_ns) +
        batcher_cost_ns(batcher, n);
    const uint64_t decode_ns =
        workers_cost_ns(pipeline->workers, pipeline->n_undecoded + n_images) +
        batcher_cost_ns(batcher, n_images < max_batch ? n_images : max_batch);
    return engine_ns > decode_ns ? engine_ns : decode_ns;
}

bool pipeline_admit(struct pipeline *pipeline, struct registry_model *model, int n_images,
                    uint64_t deadline_ns, struct problem *problem)
{
    const uint64_t now_ns = uv_hrtime();
    const uint64_t predicted_ns = predict_ns(pipeline, model, n_images, now_ns);
    const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    const int limit = pipeline->options.queue_limit;
    if (n_images > limit - pipeline->n_queued) {
        problem_set(problem, PROBLEM_QUEUE_FULL, "%d images are queued, the limit is %d",
                    pipeline->n_queued, limit);
        problem_number(problem, "queue_limit", limit);
        problem->retry_after_ms = (int)(predicted_ns / 1000000 % 3600000) + 1;
    } else if (left_ns == 0) {
        request_late(problem, "receive");
    } else if (predicted_ns > left_ns) {
        request_unmeetable(problem, predicted_ns, left_ns);
    } else {
        return true;
    }
    problem_number(problem, "queue_depth", pipeline->n_queued);
    return false;
}

double pipeline_predicted_wait_ms(const struct pipeline *pipeline, struct registry_model *model)
{
    const int n = batcher_images(model->batcher);
    const int n_batches = n / batcher_max_batch(model->batcher) + 1;
    return (double)(engine_wait_ns(pipeline, model, n_batches, uv_hrtime()) +
                    batcher_cost_ns(model->batcher, n)) /
           1e6;
}

/* ---- from station to station ----------------------------------------------------------------- */

static void advance(struct pipeline *pipeline); /* every station ends by setting the next going */

static void infer_work(uv_work_t *work)
{
    struct batch *batch = work->data;
    batch->start_ns = uv_hrtime();
    rn_session_run(batch->model->session, batch->inputs, batch->n, batch->model->logits);
    batch->end_ns = uv_hrtime();
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
    else if (request->problem.type == PROBLEM_NONE && n_more > 0)
        (void)pipeline_admit(pipeline, request->model, n_more, request->deadline_ns,
                             &request->problem);
    if (request->problem.type != PROBLEM_NONE) {
        expect(pipeline, request->model, -1);
        finish_request(pipeline, request);
    } else {
        expect(pipeline, request->model, n_more);
        workers_add(pipeline->workers, request, true);
    }
    advance(pipeline);
}

static void decoded(void *context, struct request_image *image)
{
    struct pipeline *pipeline = context;
    struct registry_model *model = image->request->model;
    if (image->preprocess_end_ns == 0 || atomic_load(&image->request->cancelled)) {
        expect(pipeline, model, -1);
        finish_image(pipeline, image);
    } else {
        image->state = REQUEST_QUEUED;
        pipeline->n_undecoded--;
        batcher_add(model->batcher, image);
    }
    advance(pipeline);
}

static void learn_batch(struct pipeline *pipeline)
{
    const struct batch *batch = &pipeline->batch;
    const double seconds = (double)(batch->end_ns - batch->start_ns) / 1e9;
    const double expected = (double)batch->expected_ns / 1e9;
    char labels[32];
    batcher_learn(batch->model->batcher, batch->n, batch->end_ns - batch->start_ns);
    metrics_observe(pipeline->metrics, METRIC_BATCH_SIZE, "", batch->n);
    metrics_add(pipeline->metrics, METRIC_ENGINE_BUSY, "", seconds);
    if (expected > 0)
        metrics_observe(pipeline->metrics, METRIC_PREDICTION_ERROR, "",
                        seconds > expected ? seconds - expected : expected - seconds);
    (void)snprintf(labels, sizeof labels, "batch_size=\"%d\"", batch->n);
    metrics_set(pipeline->metrics, METRIC_BATCH_PREDICTED, labels,
                (double)batcher_cost_ns(batch->model->batcher, batch->n) / 1e9);
}

static void infer_done(uv_work_t *work, int status)
{
    struct batch *batch = work->data;
    struct pipeline *pipeline = batch->pipeline;
    const size_t classes = (size_t)batch->model->info->classes;
    (void)status; /* libuv's; could only be UV_ECANCELED, which we never ask for */
    learn_batch(pipeline);
    for (int i = 0; i < batch->n; i++) {
        struct request_image *image = batch->images[i];
        memcpy(image->logits, batch->model->logits + (size_t)i * classes,
               classes * sizeof *image->logits);
        image->batch_start_ns = batch->start_ns;
        image->batch_end_ns = batch->end_ns;
        metrics_observe_span(pipeline->metrics, METRIC_STAGE_DURATION, "stage=\"queue\"",
                             image->preprocess_end_ns, batch->start_ns);
        metrics_observe_span(pipeline->metrics, METRIC_STAGE_DURATION, "stage=\"inference\"",
                             batch->start_ns, batch->end_ns);
        if (batch->end_ns > image->request->deadline_ns)
            request_late(&image->problem, "inference");
    }
    pipeline->running = false;
    for (int i = 0; i < batch->n; i++)
        finish_image(pipeline, batch->images[i]);
    advance(pipeline);
}

static void launch(struct pipeline *pipeline, struct registry_model *model, uint64_t now_ns)
{
    struct batch *batch = &pipeline->batch;
    batch->model = model;
    batch->n = batcher_take(model->batcher, batch->images);
    batch->launched_ns = now_ns;
    batch->expected_ns = batcher_cost_ns(model->batcher, batch->n);
    for (int i = 0; i < batch->n; i++) {
        batch->images[i]->state = REQUEST_RUNNING;
        batch->images[i]->batch_size = batch->n;
        batch->inputs[i] = batch->images[i]->tensor;
    }
    unlink_model(pipeline, model);
    left_batcher(pipeline, model, batch->n);
    if (batcher_images(model->batcher) > 0)
        append_model(pipeline, model); /* behind the others: they take turns */
    pipeline->running = true;
    (void)uv_queue_work(pipeline->loop, &batch->work, infer_work, infer_done);
}

/* Ends the images that cannot be done in time any more; false when the model has none left, and may
 * be gone with its last request. */
static bool drop_expired(struct pipeline *pipeline, struct registry_model *model, uint64_t now_ns)
{
    struct request_image *image = batcher_expire(model->batcher, now_ns);
    int n = 0;
    for (const struct request_image *other = image; other; other = other->next)
        n++;
    left_batcher(pipeline, model, n);
    const bool some_left = batcher_images(model->batcher) > 0;
    while (image) {
        struct request_image *next = image->next;
        const uint64_t deadline_ns = image->request->deadline_ns;
        if (deadline_ns <= now_ns)
            request_late(&image->problem, "queue");
        else
            request_unmeetable(&image->problem, batcher_fastest_ns(model->batcher, 1),
                               deadline_ns - now_ns);
        finish_image(pipeline, image);
        image = next;
    }
    return some_left;
}

static void woken(uv_timer_t *timer)
{
    advance(timer->data);
}

/* Starts the first batch in turn that is due, or sets the timer for when one will be. */
static void start_batch(struct pipeline *pipeline)
{
    const uint64_t now_ns = uv_hrtime();
    const uint64_t window_ns = (uint64_t)pipeline->options.batch_window_ms * 1000000;
    uint64_t wake_ns = UINT64_MAX;
    struct registry_model *next;
    for (struct registry_model *model = pipeline->busy; model; model = next) {
        uint64_t model_wake_ns;
        next = model->next_busy;
        if (!drop_expired(pipeline, model, now_ns))
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

static void advance(struct pipeline *pipeline)
{
    workers_start(pipeline->workers);
    (void)uv_timer_stop(&pipeline->wake);
    if (!pipeline->running)
        start_batch(pipeline);
    double wait_ms = 0;
    for (struct registry_model *model = pipeline->busy; model; model = model->next_busy) {
        const double model_wait_ms = pipeline_predicted_wait_ms(pipeline, model);
        if (model_wait_ms > wait_ms)
            wait_ms = model_wait_ms;
    }
    metrics_set(pipeline->metrics, METRIC_QUEUE_IMAGES, "", pipeline->n_queued);
    metrics_set(pipeline->metrics, METRIC_IN_FLIGHT_REQUESTS, "", (double)pipeline->n_requests);
    metrics_set(pipeline->metrics, METRIC_PREDICTED_WAIT, "", wait_ms / 1e3);
}

/* ---- the public face ----------------------------------------------------------------------- */

struct pipeline *pipeline_new(struct uv_loop_s *loop, const struct pipeline_options *options,
                              struct metrics *metrics)
{
    struct pipeline *pipeline = calloc(1, sizeof *pipeline);
    if (!pipeline)
        return NULL;
    const struct workers_handlers handlers = {parsed, decoded, pipeline};
    pipeline->workers =
        workers_new(loop, options->decode_workers, &options->limits, metrics, &handlers);
    if (!pipeline->workers) {
        free(pipeline);
        return NULL;
    }
    pipeline->loop = loop;
    pipeline->options = *options;
    pipeline->metrics = metrics;
    pipeline->batch.pipeline = pipeline;
    pipeline->batch.work.data = &pipeline->batch;
    (void)uv_timer_init(loop, &pipeline->wake);
    pipeline->wake.data = pipeline;
    metrics_set(metrics, METRIC_QUEUE_LIMIT, "", options->queue_limit);
    advance(pipeline);
    return pipeline;
}

static void timer_closed(uv_handle_t *timer)
{
    struct pipeline *pipeline = timer->data;
    workers_free(pipeline->workers);
    free(pipeline);
}

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    assert(pipeline->n_requests == 0);
    uv_close((uv_handle_t *)&pipeline->wake, timer_closed);
}

void pipeline_submit(struct pipeline *pipeline, struct request *request)
{
    const int n_images = request->images ? request->n_images : 1;
    const bool admitted =
        pipeline_admit(pipeline, request->model, n_images, request->deadline_ns, &request->problem);
    pipeline->n_requests++;
    if (!admitted) {
        finish_request(pipeline, request);
        return;
    }
    expect(pipeline, request->model, n_images);
    workers_add(pipeline->workers, request, false);
    advance(pipeline);
}

void pipeline_cancel(struct pipeline *pipeline, struct request *request)
{
    struct registry_model *model = request->model;
    atomic_store(&request->cancelled, true);
    const bool was_waiting = workers_remove(pipeline->workers, request);
    if (request->parsing)
        return;
    if (!request->images) {
        expect(pipeline, model, -1);
        finish_request(pipeline, request);
        advance(pipeline);
        return;
    }
    int n_left = 0;
    for (const struct request_image *image = batcher_remove(model->batcher, request); image;
         image = image->next)
        n_left++;
    left_batcher(pipeline, model, n_left);
    if (was_waiting) {
        const int n_unstarted = request->n_images - request->n_started;
        expect(pipeline, model, -n_unstarted);
        n_left += n_unstarted;
    }
    for (int i = 0; n_left > 0; i++) {
        const enum request_state state = request->images[i].state;
        if (state == REQUEST_WAITING || state == REQUEST_QUEUED) {
            n_left--; /* at 0 the request may be gone */
            finish_image(pipeline, &request->images[i]);
        }
    }
    advance(pipeline);
}

size_t pipeline_in_flight(const struct pipeline *pipeline)
{
    return pipeline->n_requests;
}

size_t pipeline_queued_images(const struct pipeline *pipeline)
{
    return (size_t)pipeline->n_queued;
}
