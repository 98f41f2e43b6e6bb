/* Who is taken: what is ahead, at the pace of late, against the time that a request has left.
 *
 * Two estimates guard the deadlines. A busy server takes a request when the work ahead of it, at
 * the pace of late, and the usual error of such a prediction leave time for it. An idle server
 * refuses only what even the fastest run so far could not make, so that one stalled run never locks
 * the door.
 *
 * SPDX-License-Identifier: MIT */
#include <uv.h>

#include "server/batcher.h"
#include "server/metrics.h"
#include "server/pipeline_internal.h"
#include "server/registry.h"
#include "server/runner.h"

#define ALONE_MAX_SATURATION 0.5
#define ALONE_RETRY_MS 1000
#define MAX_PREVIEWS 8 /* requests that keep one, of 3 MB each */

/* What is ahead of one more image of this model, from now. Models take turns: of another model no
 * more batches come first than this one has, plus one. */
static uint64_t backlog_ns(const struct pipeline *pipeline, const struct registry_model *model,
                           int n_more, uint64_t now_ns)
{
    const struct batcher *own = model->batcher;
    const int n_own = batcher_images(own) + n_more;
    const int n_own_batches = n_own / batcher_best_batch(own) + 1;
    uint64_t wait_ns = batcher_pace_ns(own, n_own);
    const struct runner_batch *batch = runner_running(pipeline->runner);
    if (batch) {
        const uint64_t end_ns =
            batch->launched_ns + batcher_pace_ns(batch->model->batcher, batch->n);
        wait_ns += end_ns > now_ns ? end_ns - now_ns : 0;
    }
    for (const struct registry_model *other = pipeline->busy; other; other = other->next_busy) {
        if (other == model)
            continue;
        const int most = n_own_batches * batcher_best_batch(other->batcher);
        const int n = batcher_images(other->batcher);
        wait_ns += batcher_pace_ns(other->batcher, n < most ? n : most);
    }
    return wait_ns;
}

/* What such a request should count on; *predicted_ns without the margin for error, 0 if idle. */
static uint64_t bound_ns(const struct pipeline *pipeline, const struct registry_model *model,
                         int n_images, uint64_t now_ns, uint64_t *predicted_ns)
{
    *predicted_ns = 0;
    if (pipeline->n_requests == 0)
        return batcher_fastest_ns(model->batcher, n_images);
    *predicted_ns = backlog_ns(pipeline, model, n_images, now_ns);
    return admission_bound_ns(&pipeline->admission, *predicted_ns);
}

static bool admit(const struct pipeline *pipeline, const struct registry_model *model, int n_images,
                  uint64_t deadline_ns, uint64_t now_ns, uint64_t *predicted_ns,
                  struct problem *problem)
{
    const uint64_t needed_ns = bound_ns(pipeline, model, n_images, now_ns, predicted_ns);
    const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    const int limit = pipeline->options.queue_limit;
    if (n_images > limit - pipeline->n_queued) {
        problem_set(problem, PROBLEM_QUEUE_FULL, "%d images are queued, the limit is %d",
                    pipeline->n_queued, limit);
        problem_number(problem, "queue_limit", limit);
        problem->retry_after_ms = (int)(needed_ns / 1000000 % 3600000) + 1;
    } else if (left_ns == 0 || needed_ns > left_ns) {
        request_unmeetable(problem, needed_ns, left_ns);
    } else {
        return true;
    }
    problem_number(problem, "queue_depth", pipeline->n_queued);
    return false;
}

bool pipeline_admit(struct pipeline *pipeline, struct registry_model *model, int n_images,
                    uint64_t deadline_ns, struct problem *problem)
{
    uint64_t predicted_ns;
    return admit(pipeline, model, n_images, deadline_ns, uv_hrtime(), &predicted_ns, problem);
}

bool pipeline_admit_request(struct pipeline *pipeline, struct request *request, int n_images)
{
    request->admitted_ns = uv_hrtime();
    return admit(pipeline, request->model, n_images, request->deadline_ns, request->admitted_ns,
                 &request->predicted_ns, &request->problem);
}

bool pipeline_can_meet(const struct pipeline *pipeline, struct request *request)
{
    uint64_t predicted_ns;
    const uint64_t now_ns = uv_hrtime(), deadline_ns = request->deadline_ns;
    const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    if (!request->redated)
        return true;
    const uint64_t needed_ns =
        bound_ns(pipeline, request->model, request->n_images, now_ns, &predicted_ns);
    if (left_ns > 0 && needed_ns <= left_ns)
        return true;
    request_unmeetable(&request->problem, needed_ns, left_ns);
    return false;
}

bool pipeline_admit_alone(const struct pipeline *pipeline, struct problem *problem)
{
    if (pipeline->alone)
        problem_set(problem, PROBLEM_ENGINE_BUSY, "another such request is under way");
    else if (pipeline->n_queued > 0)
        problem_set(problem, PROBLEM_ENGINE_BUSY, "%d images are waiting to be classified",
                    pipeline->n_queued);
    else if (pipeline_saturation(pipeline) > ALONE_MAX_SATURATION)
        problem_set(problem, PROBLEM_ENGINE_BUSY,
                    "classifications have been taking %.0f %% of what can be served",
                    100 * pipeline_saturation(pipeline));
    else
        return true;
    problem->retry_after_ms = ALONE_RETRY_MS;
    return false;
}

bool pipeline_admit_preview(struct pipeline *pipeline, struct request *request)
{
    if (!request->keep_preview || request->has_preview_seat)
        return true;
    if (pipeline->n_previews >= MAX_PREVIEWS) {
        problem_set(&request->problem, PROBLEM_ENGINE_BUSY, "%d pictures are being made",
                    pipeline->n_previews);
        request->problem.retry_after_ms = ALONE_RETRY_MS;
        return false;
    }
    request->has_preview_seat = true;
    pipeline->n_previews++;
    return true;
}

void pipeline_answered(struct pipeline *pipeline, uint64_t batch_end_ns)
{
    admission_learn_lag(&pipeline->admission, uv_hrtime() - batch_end_ns);
}

void pipeline_offered(struct pipeline *pipeline, const struct registry_model *model)
{
    admission_offered(&pipeline->admission, batcher_capacity_ns(model->batcher, 1), uv_hrtime());
}

double pipeline_saturation(const struct pipeline *pipeline)
{
    return admission_saturation(&pipeline->admission, uv_hrtime());
}

double pipeline_predicted_wait_ms(const struct pipeline *pipeline, struct registry_model *model)
{
    return (double)backlog_ns(pipeline, model, 0, uv_hrtime()) / 1e6;
}

void pipeline_learn_admission(struct pipeline *pipeline, const struct request *request,
                              uint64_t now_ns)
{
    if (2 * admission_bound_ns(&pipeline->admission, request->predicted_ns) <
        request->deadline_ns - request->admitted_ns)
        return;
    admission_learn(&pipeline->admission, request->predicted_ns, now_ns - request->admitted_ns);
    metrics_set(pipeline->metrics, METRIC_PREDICTION_MARGIN, "", pipeline->admission.margin);
}
