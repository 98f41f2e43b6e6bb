/* The life of an inference: header checked, body read on a worker, answer or {"error"} written.
 *
 * Loop thread, except parse(), which the pipeline runs on a worker with the request to itself. An
 * image that fails fails the request: the protocol has no errors of parts.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_v2_infer.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/api_job.h"
#include "server/api_v2.h"
#include "server/api_v2_answer.h"
#include "server/api_v2_body.h"
#include "server/pipeline.h"
#include "server/registry.h"
#include "server/routes.h"

#define NS_PER_MS 1000000

struct inference {
    const struct api *api;
    struct http_exchange *exchange;
    struct registry_model *model; /* referenced, until the request has it */
    struct request *request;      /* NULL before the pipeline had it */
    struct api_v2_body body;
    int expected_ms; /* what a proxy in front will wait, 0 unknown */
    struct problem refusal;
};

static uint64_t deadline_ns(const struct inference *self)
{
    uint64_t ns = (uint64_t)self->api->timeout_ms * NS_PER_MS;
    if (self->body.timeout_us > 0)
        ns = (uint64_t)self->body.timeout_us * 1000;
    if (self->expected_ms > 0 && (uint64_t)self->expected_ms * NS_PER_MS < ns)
        ns = (uint64_t)self->expected_ms * NS_PER_MS;
    return self->exchange->arrived_ns + ns;
}

static bool accept_header(struct inference *self)
{
    const struct api *api = self->api;
    const char *length = http_header(self->exchange, "Inference-Header-Content-Length");
    if (!api_job_header(api, self->exchange, &self->expected_ms, &self->refusal) ||
        !api_v2_body_header(length, &self->body.header_bytes, &self->refusal))
        return false;
    self->model = api_v2_find(api, self->exchange, &self->refusal);
    if (!self->model)
        return false;
    pipeline_offered(api->pipeline, self->model);
    return pipeline_admit(api->pipeline, self->model, 1, deadline_ns(self), &self->refusal);
}

void api_v2_infer_header(const struct api *api, struct http_exchange *exchange)
{
    struct inference *self = calloc(1, sizeof *self);
    if (!self) {
        struct problem problem;
        problem_set(&problem, PROBLEM_INTERNAL, "out of memory");
        http_reply_problem(exchange, &problem);
        return;
    }
    exchange->user = self;
    self->api = api;
    self->exchange = exchange;
    self->body.max_images = api->max_images;
    if (!accept_header(self) && routes_spares_body(exchange))
        http_reply_problem(exchange, &self->refusal);
}

/* ---- through the pipeline ---------------------------------------------------------------------
 */

/* On a worker. A tensor is not looked for in the cache: its bytes may be a file's, too. */
static void parse(struct request *request)
{
    struct inference *self = request->user;
    if (!api_v2_body_read(&self->body, request, request->model->info, &request->problem))
        return;
    request_redate(request, deadline_ns(self));
    request->has_key =
        self->api->has_cache && request->n_images == 1 && !request->images[0].is_tensor;
    if (request->has_key)
        request->key = cache_hash(request->images[0].bytes, request->images[0].n_bytes);
}

static void reply_answer(struct inference *self)
{
    struct http_exchange *exchange = self->exchange;
    size_t n = 0, n_json = 0;
    if (!api_v2_answer_scores(self->request)) {
        problem_set(&self->refusal, PROBLEM_BAD_TENSOR,
                    "the values of \"" API_V2_INPUT "\" are too large for the model: its scores "
                    "are no numbers");
        http_reply_problem(exchange, &self->refusal);
        return;
    }
    char *bytes = api_v2_answer(self->request, &self->body, &n, &n_json);
    if (!bytes) {
        problem_set(&self->refusal, PROBLEM_INTERNAL, "out of memory");
        http_reply_problem(exchange, &self->refusal);
        return;
    }
    if (self->body.binary) {
        char length[24];
        (void)snprintf(length, sizeof length, "%zu", n_json);
        http_reply_header(exchange, "Inference-Header-Content-Length", length);
    }
    http_reply(exchange, 200, self->body.binary ? "application/octet-stream" : "application/json",
               bytes, n);
}

/* The request's problem, else that of the first image that has one; NULL for none. */
static const struct problem *find_problem(struct inference *self)
{
    const struct request *request = self->request;
    if (request->problem.type != PROBLEM_NONE)
        return &request->problem;
    for (int i = 0; i < request->n_images; i++) {
        const struct problem *problem = &request->images[i].problem;
        if (problem->type == PROBLEM_NONE)
            continue;
        self->refusal = *problem;
        if (request->n_images > 1)
            (void)snprintf(self->refusal.detail, sizeof self->refusal.detail,
                           "element %d of \"" API_V2_INPUT "\": %.200s", i, problem->detail);
        return &self->refusal;
    }
    return NULL;
}

static void done(struct request *request)
{
    struct inference *self = request->user;
    if (atomic_load(&request->cancelled)) {
        http_reply(self->exchange, 499, "application/json", NULL, 0); /* nobody is there */
        return;
    }
    const struct problem *problem = find_problem(self);
    if (problem)
        http_reply_problem(self->exchange, problem);
    else
        reply_answer(self);
}

static struct request *make_request(struct inference *self)
{
    const struct http_exchange *exchange = self->exchange;
    struct request *request = request_new(0);
    if (!request)
        return NULL;
    self->body.bytes = exchange->body;
    self->body.n_bytes = exchange->body_bytes;
    request->parse = parse;
    request->model = self->model;
    self->model = NULL;
    request->arrived_ns = exchange->arrived_ns;
    request->received_ns = exchange->received_ns;
    request->deadline_ns = deadline_ns(self);
    request->done = done;
    request->user = self;
    return request;
}

void api_v2_infer_request(const struct api *api, struct http_exchange *exchange)
{
    struct inference *self = exchange->user;
    if (self->refusal.type == PROBLEM_NONE && exchange->body_bytes == 0)
        problem_set(&self->refusal, PROBLEM_EMPTY_BODY, "the body has no bytes");
    if (self->refusal.type == PROBLEM_NONE && !(self->request = make_request(self)))
        problem_set(&self->refusal, PROBLEM_INTERNAL, "out of memory");
    if (self->refusal.type == PROBLEM_NONE)
        pipeline_submit(api->pipeline, self->request);
    else
        http_reply_problem(exchange, &self->refusal);
}

void api_v2_infer_gone(const struct api *api, struct http_exchange *exchange)
{
    struct inference *self = exchange->user;
    pipeline_cancel(api->pipeline, self->request);
}

void api_v2_infer_completed(const struct api *api, struct http_exchange *exchange)
{
    struct inference *self = exchange->user;
    struct request *request = self->request;
    api_job_completed(api, exchange, request, request ? request->model : self->model);
    request_free(request);
    api_v2_body_done(&self->body);
    if (self->model)
        registry_unref(self->model);
    free(self);
    exchange->user = NULL;
}
