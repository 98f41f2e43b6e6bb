/* One uv_work_t, used again and again.
 *
 * SPDX-License-Identifier: MIT */
#include "server/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "server/batcher.h"
#include "server/metrics.h"
#include "server/registry.h"
#include "server/request.h"

struct runner {
    uv_loop_t *loop;
    uv_work_t work;
    struct metrics *metrics;
    void (*done)(void *context, const struct runner_batch *batch);
    void *context;
    struct runner_batch batch;
    bool running;
    const float *inputs[RN_MAX_BATCH];
    float *zeros; /* the image of a measurement that runs */
    struct registry_model *unmeasured;
};

/* The maps of those who asked, while the session still has them. */
static void explain(const struct runner_batch *batch)
{
    const struct registry_model *model = batch->model;
    for (int i = 0; i < batch->n; i++) {
        struct request_image *image = batch->images[i];
        if (!image->cam)
            continue;
        image->cam_class = image->request->explain_class;
        if (image->cam_class < 0)
            rn_top_k(model->logits + (size_t)i * (size_t)model->info->classes, model->info->classes,
                     1, &image->cam_class);
        rn_session_cam(model->session, i, image->cam_class, image->cam, &image->cam_bias);
    }
}

static void run_batch(struct runner *runner)
{
    const struct runner_batch *batch = &runner->batch;
    rn_session_run(batch->model->session, runner->inputs, batch->n, batch->model->logits);
    if (!batch->measurement)
        explain(batch);
}

static void run(uv_work_t *work)
{
    struct runner *runner = work->data;
    struct runner_batch *batch = &runner->batch;
    batch->start_ns = uv_hrtime();
    if (batch->alone)
        batch->images[0]->request->alone(batch->images[0]->request, batch->model->session);
    else
        run_batch(runner);
    batch->end_ns = uv_hrtime();
}

static void learn(struct runner *runner)
{
    const struct runner_batch *batch = &runner->batch;
    const struct registry_model *model = batch->model;
    char name[256], labels[320];
    batcher_learn(model->batcher, batch->n, batch->end_ns - batch->start_ns);
    (void)snprintf(labels, sizeof labels, "%s,batch_size=\"%d\"",
                   metrics_label(name, sizeof name, "model", model->info->name), batch->n);
    metrics_set(runner->metrics, METRIC_BATCH_PREDICTED, labels,
                (double)batcher_cost_ns(model->batcher, batch->n) / 1e9);
}

static void show_batch(struct runner *runner)
{
    const struct runner_batch *batch = &runner->batch;
    const double seconds = (double)(batch->end_ns - batch->start_ns) / 1e9;
    const double expected = (double)batch->expected_ns / 1e9;
    metrics_observe(runner->metrics, METRIC_BATCH_SIZE, "", batch->n);
    metrics_add(runner->metrics, METRIC_ENGINE_BUSY, "", seconds);
    if (expected > 0)
        metrics_observe(runner->metrics, METRIC_PREDICTION_ERROR, "",
                        seconds > expected ? seconds - expected : expected - seconds);
}

static void give_times(struct runner *runner, struct request_image *image)
{
    const struct runner_batch *batch = &runner->batch;
    image->batch_start_ns = batch->start_ns;
    image->batch_end_ns = batch->end_ns;
    metrics_observe_span(runner->metrics, METRIC_STAGE_DURATION, "stage=\"queue\"",
                         image->preprocess_end_ns, batch->start_ns);
    metrics_observe_span(runner->metrics, METRIC_STAGE_DURATION, "stage=\"inference\"",
                         batch->start_ns, batch->end_ns);
}

static void give_logits(struct runner *runner)
{
    const struct runner_batch *batch = &runner->batch;
    stats_batch(&batch->model->stats, batch->images, batch->n, batch->start_ns, batch->end_ns);
    const size_t classes = (size_t)batch->model->info->classes;
    for (int i = 0; i < batch->n; i++) {
        struct request_image *image = batch->images[i];
        memcpy(image->logits, batch->model->logits + (size_t)i * classes,
               classes * sizeof *image->logits);
        give_times(runner, image);
    }
}

static void run_done(uv_work_t *work, int status)
{
    struct runner *runner = work->data;
    (void)status; /* libuv's; could only be UV_ECANCELED, which we never ask for */
    runner->running = false;
    if (!runner->batch.alone)
        learn(runner);
    if (runner->batch.measurement) {
        free(runner->zeros);
        runner->zeros = NULL;
    } else if (runner->batch.alone) {
        give_times(runner, runner->batch.images[0]);
        metrics_add(runner->metrics, METRIC_ENGINE_BUSY, "",
                    (double)(runner->batch.end_ns - runner->batch.start_ns) / 1e9);
    } else {
        show_batch(runner);
        give_logits(runner);
    }
    runner->done(runner->context, &runner->batch);
}

static void start(struct runner *runner)
{
    runner->running = true;
    (void)uv_queue_work(runner->loop, &runner->work, run, run_done);
}

struct runner *runner_new(struct uv_loop_s *loop, struct metrics *metrics,
                          void (*done)(void *context, const struct runner_batch *batch),
                          void *context)
{
    struct runner *runner = calloc(1, sizeof *runner);
    if (!runner)
        return NULL;
    runner->loop = loop;
    runner->work.data = runner;
    runner->metrics = metrics;
    runner->done = done;
    runner->context = context;
    return runner;
}

/* The next in the list is known no more. */
static void forget_unmeasured(struct runner *runner)
{
    struct registry_model *model = runner->unmeasured;
    runner->unmeasured = model->next_unmeasured;
    model->wants_measurement = false;
    registry_unref(model);
}

void runner_free(struct runner *runner)
{
    if (!runner)
        return;
    while (runner->unmeasured)
        forget_unmeasured(runner);
    free(runner);
}

const struct runner_batch *runner_running(const struct runner *runner)
{
    return runner->running ? &runner->batch : NULL;
}

void runner_launch(struct runner *runner, struct registry_model *model, uint64_t now_ns)
{
    struct runner_batch *batch = &runner->batch;
    batch->model = model;
    batch->measurement = batch->alone = false;
    batch->n = batcher_take(model->batcher, now_ns, batch->images);
    batch->launched_ns = now_ns;
    batch->expected_ns = batcher_cost_ns(model->batcher, batch->n);
    for (int i = 0; i < batch->n; i++) {
        batch->images[i]->state = REQUEST_RUNNING;
        batch->images[i]->batch_size = batch->n;
        runner->inputs[i] = batch->images[i]->tensor;
    }
    start(runner);
}

void runner_launch_alone(struct runner *runner, struct request *request, uint64_t now_ns)
{
    struct runner_batch *batch = &runner->batch;
    batch->model = request->model;
    batch->measurement = false;
    batch->alone = true;
    batch->n = 1;
    batch->images[0] = request->images;
    batch->launched_ns = now_ns;
    batch->expected_ns = batcher_cost_ns(request->model->batcher, 1);
    request->images->state = REQUEST_RUNNING;
    request->images->batch_size = 1;
    start(runner);
}

void runner_want_measured(struct runner *runner, struct registry_model *model)
{
    if (model->wants_measurement)
        return;
    model->wants_measurement = true;
    model->refs++;
    model->next_unmeasured = runner->unmeasured;
    runner->unmeasured = model;
}

bool runner_measure(struct runner *runner)
{
    struct registry_model *model = runner->unmeasured;
    if (!model)
        return false;
    struct runner_batch *batch = &runner->batch;
    const int *input = model->info->input;
    batch->n = batcher_unknown_size(model->batcher);
    if (batch->n > 0)
        runner->zeros =
            calloc((size_t)input[0] * (size_t)input[1] * (size_t)input[2], sizeof *runner->zeros);
    if (!runner->zeros) {
        forget_unmeasured(runner);
        return runner_measure(runner);
    }
    batch->model = model;
    batch->measurement = true;
    batch->alone = false;
    batch->launched_ns = uv_hrtime();
    for (int i = 0; i < batch->n; i++)
        runner->inputs[i] = runner->zeros;
    start(runner);
    return true;
}
