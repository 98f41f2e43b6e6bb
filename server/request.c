/* Memory of requests and their images, and the wording of what goes wrong with their deadlines.
 * Loop thread, or the worker that has the request or the image.
 *
 * SPDX-License-Identifier: MIT */
#include "server/request.h"

#include <stdlib.h>

#include "server/clock.h"
#include "server/registry.h"

struct request *request_new(int n_images)
{
    struct request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    atomic_init(&request->cancelled, false);
    if (n_images > 0 && request_images(request, n_images) != RN_OK) {
        free(request);
        return NULL;
    }
    return request;
}

enum rn_status request_images(struct request *request, int n_images)
{
    request->images = calloc((size_t)n_images, sizeof *request->images);
    if (!request->images)
        return RN_NO_MEMORY;
    request->n_images = n_images;
    for (int i = 0; i < n_images; i++) {
        request->images[i].request = request;
        request->images[i].name = "";
    }
    return RN_OK;
}

static int64_t to_ms(uint64_t ns)
{
    return (int64_t)((ns + 999999) / 1000000);
}

void request_redate(struct request *request, uint64_t deadline_ns)
{
    request->redated = deadline_ns != request->deadline_ns;
    request->deadline_ns = deadline_ns;
}

void request_late(struct problem *problem, const char *stage)
{
    problem_set(problem, PROBLEM_DEADLINE_EXCEEDED, "the deadline passed in the stage: %s", stage);
    problem_text(problem, "stage", stage);
}

void request_unmeetable(struct problem *problem, uint64_t predicted_ns, uint64_t left_ns)
{
    const int64_t predicted_ms = to_ms(predicted_ns), deadline_ms = to_ms(left_ns);
    const int64_t over_ms = to_ms(predicted_ns - left_ns);
    problem_set(problem, PROBLEM_DEADLINE_UNMEETABLE, "predicted %lld ms, deadline %lld ms",
                (long long)predicted_ms, (long long)deadline_ms);
    problem_number(problem, "predicted_ms", predicted_ms);
    problem_number(problem, "deadline_ms", deadline_ms);
    problem->retry_after_ms = over_ms < 3600000 ? (int)over_ms : 3600000;
}

const char *request_outcome(enum problem_type problem, bool cancelled)
{
    if (cancelled)
        return "canceled";
    if (problem == PROBLEM_NONE)
        return "ok";
    const int status = problem_row(problem)->status;
    return status == 504 ? "expired" : status >= 500 ? "rejected" : "invalid";
}

const char *const request_stage_names[N_REQUEST_STAGES] = {
    [REQUEST_RECEIVE] = "receive",       [REQUEST_DECODE] = "decode",
    [REQUEST_PREPROCESS] = "preprocess", [REQUEST_QUEUE] = "queue",
    [REQUEST_INFERENCE] = "inference",   [REQUEST_RESPOND] = "respond",
};

void request_stages(const struct request_image *image, uint64_t end_ns, double ms[N_REQUEST_STAGES])
{
    const struct request *request = image->request;
    ms[REQUEST_RECEIVE] = clock_ms(request->arrived_ns, request->received_ns);
    ms[REQUEST_DECODE] = clock_ms(image->decode_start_ns, image->decode_end_ns);
    ms[REQUEST_PREPROCESS] = clock_ms(image->decode_end_ns, image->preprocess_end_ns);
    ms[REQUEST_QUEUE] = clock_ms(request->received_ns, image->decode_start_ns) +
                        clock_ms(image->preprocess_end_ns, image->batch_start_ns);
    ms[REQUEST_INFERENCE] = clock_ms(image->batch_start_ns, image->batch_end_ns);
    ms[REQUEST_RESPOND] = clock_ms(image->batch_end_ns, end_ns);
}

const struct request_image *request_last_image(const struct request *request)
{
    const struct request_image *last = request->n_images ? request->images : NULL;
    for (int i = 0; i < request->n_images; i++)
        if (request->images[i].batch_end_ns > last->batch_end_ns)
            last = &request->images[i];
    return last;
}

const char *request_source_name(const struct request *request)
{
    static const char *const names[] = {
        [REQUEST_COMPUTED] = "miss", [REQUEST_CACHED] = "hit", [REQUEST_COALESCED] = "coalesced"};
    return names[request->source];
}

void request_free(struct request *request)
{
    if (!request)
        return;
    for (int i = 0; i < request->n_images; i++) {
        free(request->images[i].owned);
        free(request->images[i].tensor);
        free(request->images[i].rgb);
        free(request->images[i].preview);
        free(request->images[i].logits);
        free(request->images[i].cam);
    }
    free(request->images);
    if (request->model)
        registry_unref(request->model);
    free(request);
}
