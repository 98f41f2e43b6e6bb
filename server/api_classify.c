/* The life of a classification as its client sees it: header checked, body handed to the pipeline,
 * answer written, bill paid.
 *
 * Loop thread, except parse(), which the pipeline runs on a worker with the request to itself.
 * A refusal found at the header goes out at once when a long body would follow; before a short body
 * it waits for it, so that the connection can be kept.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_classify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_answer.h"
#include "server/api_body.h"
#include "server/api_job.h"
#include "server/clock.h"
#include "server/picture.h"
#include "server/pipeline.h"
#include "server/png.h"
#include "server/registry.h"
#include "server/routes.h"

struct classification {
    const struct api *api;
    struct http_exchange *exchange;
    struct registry_model *model; /* referenced, until the request has it */
    struct request *request;      /* NULL before the pipeline had it */
    struct api_body body;
    int expected_ms; /* what a proxy in front will wait, 0 unknown */
    struct problem refusal;
    char *picture; /* made by a render function of the request's */
    size_t n_picture;
};

/* ---- at the header --------------------------------------------------------------------------- */

static void read_query(void *arg, const char *key, const char *value)
{
    struct classification *c = arg;
    if (c->refusal.type == PROBLEM_NONE)
        (void)api_params_set(&c->body.params, key, value, &c->refusal);
}

static uint64_t deadline_ns(const struct classification *c)
{
    int ms = c->body.params.timeout_ms ? c->body.params.timeout_ms : c->api->timeout_ms;
    if (c->expected_ms && c->expected_ms < ms)
        ms = c->expected_ms;
    return c->exchange->arrived_ns + (uint64_t)ms * 1000000;
}

/* Takes a reference to the model that the parameters name. */
static bool find_model(struct classification *c)
{
    const char *name = c->body.params.model;
    struct registry_model *model = registry_ref(c->api->registry, name);
    if (!model) {
        problem_set(&c->refusal, PROBLEM_UNKNOWN_MODEL, "no model \"%s\" is loaded", name);
        return false;
    }
    c->model = model;
    return api_params_check(&c->body.params, model->info->classes, &c->refusal);
}

static bool accept_header(struct classification *c)
{
    http_queries(c->exchange, read_query, c);
    if (c->refusal.type != PROBLEM_NONE ||
        !api_job_header(c->api, c->exchange, &c->expected_ms, &c->refusal) || !find_model(c))
        return false;
    pipeline_offered(c->api->pipeline, c->model);
    return pipeline_admit(c->api->pipeline, c->model, 1, deadline_ns(c), &c->refusal);
}

void api_classify_header(const struct api *api, struct http_exchange *exchange)
{
    struct classification *c = calloc(1, sizeof *c);
    if (!c) {
        struct problem problem;
        problem_set(&problem, PROBLEM_INTERNAL, "out of memory");
        http_reply_problem(exchange, &problem);
        return;
    }
    exchange->user = c;
    c->api = api;
    c->exchange = exchange;
    c->body.params = api_params_default;
    c->body.max_images = api->max_images;
    if (!accept_header(c) && routes_spares_body(exchange))
        http_reply_problem(exchange, &c->refusal);
}

/* ---- through the pipeline ---------------------------------------------------------------------
 */

/* On a worker: the key of a lone image in the cache. */
static void hash(struct request *request)
{
    const struct classification *c = request->user;
    request->has_key = c->api->has_cache && request->n_images == 1;
    if (request->has_key)
        request->key = cache_hash(request->images[0].bytes, request->images[0].n_bytes);
}

static void set_raw_image(struct request *request, const struct http_exchange *exchange)
{
    request->images[0].bytes = exchange->body;
    request->images[0].n_bytes = exchange->body_bytes;
}

/* On a worker. */
static void hash_raw(struct request *request)
{
    const struct classification *c = request->user;
    if (request_images(request, 1) != RN_OK) {
        problem_set(&request->problem, PROBLEM_INTERNAL, "out of memory");
        return;
    }
    set_raw_image(request, c->exchange);
    hash(request);
}

/* On a worker: the first image as the network saw it. */
static void render_input(struct request *request)
{
    struct classification *c = request->user;
    const struct request_image *image = request->images;
    const int *input = request->model->info->input;
    if (image->rgb)
        c->picture = png_encode(image->rgb, input[2], input[1], &c->n_picture);
}

/* On a worker: the map over the image, which is no larger than a preview. */
static void render_explain(struct request *request)
{
    struct classification *c = request->user;
    const struct request_image *image = request->images;
    const struct rn_model_info *info = request->model->info;
    const struct rn_region region =
        rn_image_region(image->preview_width, image->preview_height, &info->recipe);
    struct picture picture = {image->preview, image->preview_width, image->preview_height, 0};
    picture_overlay(&picture, &region, image->cam, info->cam[0], info->cam[1]);
    c->picture = png_encode(picture.rgb, picture.width, picture.height, &c->n_picture);
}

/* What the parameters want beside scores. */
static void set_wishes(struct request *request, const struct api_params *params)
{
    request->keep_rgb = params->debug_input;
    request->keep_preview = params->explain_png;
    request->render = params->debug_input   ? render_input
                      : params->explain_png ? render_explain
                                            : NULL;
    request->explain = params->explain;
    request->explain_class = params->has_explain_class ? params->explain_class : -1;
}

/* On a worker. */
static void parse(struct request *request)
{
    struct classification *c = request->user;
    if (!api_body_read(&c->body, request, &request->problem))
        return;
    hash(request);
    set_wishes(request, &c->body.params);
    request_redate(request, deadline_ns(c));
    const struct rn_model_info *info = request->model->info;
    if (c->body.params.model[0] && strcmp(c->body.params.model, info->name) != 0)
        problem_set(&request->problem, PROBLEM_UNKNOWN_MODEL, "the body names another model");
    else
        (void)api_params_check(&c->body.params, info->classes, &request->problem);
    if (request->explain && (c->body.shape == API_SHAPE_HF || c->body.shape == API_SHAPE_HF_MANY))
        problem_parameter(&request->problem, "explain",
                          "explain: the answer to \"inputs\" has no room for it; send \"image\"");
    if (request->keep_preview && request->n_images > 1)
        problem_parameter(&request->problem, "explain_format",
                          "explain_format: a picture is one image's, not %d", request->n_images);
}

/* Models are the loop's to find, so a body that names another one than the query comes back with
 * this problem and goes again, its images being read already. True when it went. */
static bool change_model(struct classification *c)
{
    struct request *request = c->request;
    if (request->problem.type != PROBLEM_UNKNOWN_MODEL || !request->parse)
        return false;
    request->parse = NULL;
    if (!find_model(c)) {
        request->problem = c->refusal;
        return false;
    }
    registry_unref(request->model);
    request->model = c->model;
    c->model = NULL;
    request->problem = (struct problem){0};
    pipeline_submit(c->api->pipeline, request);
    return true;
}

static void add_timing(const struct classification *c, const struct api_answer *answer)
{
    char timing[256];
    api_answer_server_timing(answer, timing, sizeof timing);
    http_reply_header(c->exchange, "Server-Timing", timing);
}

/* With the prediction in headers. */
static void reply_picture(struct classification *c)
{
    if (c->picture && c->request->explain)
        api_answer_headers(c->request->images, c->request->model->info, c->exchange);
    if (c->picture) {
        add_timing(c, &(struct api_answer){.request = c->request, .end_ns = clock_ns()});
        http_reply(c->exchange, 200, "image/png", c->picture, c->n_picture);
        c->picture = NULL;
    } else {
        problem_set(&c->refusal, PROBLEM_INTERNAL, "out of memory");
        http_reply_problem(c->exchange, &c->refusal);
    }
}

static void reply_answer(struct classification *c)
{
    const struct request *request = c->request;
    int classes = request->model->info->classes;
    int top_k = c->api->top_k < classes ? c->api->top_k : classes;
    struct api_answer answer = {
        .id = c->exchange->id,
        .request = request,
        .params = &c->body.params,
        .shape = c->body.shape,
        .top_k = c->body.params.has_top_k ? c->body.params.top_k : top_k,
    };
    bool worked = api_answer_n_worked(request) > 0;
    size_t n = 0;
    char *json = api_answer_json(&answer, &n);
    if (!json) {
        problem_set(&c->refusal, PROBLEM_INTERNAL, "out of memory");
        http_reply_problem(c->exchange, &c->refusal);
        return;
    }
    if (worked)
        add_timing(c, &answer);
    http_reply(c->exchange, worked ? 200 : problem_row(PROBLEM_NO_IMAGE_WORKED)->status,
               worked ? "application/json" : "application/problem+json", json, n);
}

static void done(struct request *request)
{
    struct classification *c = request->user;
    const struct problem *first = request->n_images ? &request->images[0].problem : NULL;
    if (atomic_load(&request->cancelled))
        http_reply(c->exchange, 499, "application/json", NULL, 0); /* nobody is there to read it */
    else if (change_model(c))
        return;
    else if (request->problem.type != PROBLEM_NONE)
        http_reply_problem(c->exchange, &request->problem);
    else if (first->type != PROBLEM_NONE && (request->n_images == 1 || request->render))
        http_reply_problem(c->exchange, first);
    else if (request->render)
        reply_picture(c);
    else
        reply_answer(c);
}

/* The request of a body: a raw one is its image; everything else is parsed on a worker. */
static struct request *make_request(struct classification *c)
{
    const struct http_exchange *exchange = c->exchange;
    const char *type = http_header(exchange, "Content-Type");
    c->body.content_type = type ? type : "";
    c->body.bytes = exchange->body;
    c->body.n_bytes = exchange->body_bytes;
    bool raw =
        api_body_form(c->body.content_type, exchange->body, exchange->body_bytes) == API_FORM_RAW;
    const bool at_once = raw && !c->api->has_cache;
    struct request *request = request_new(at_once ? 1 : 0);
    if (!request)
        return NULL;
    if (at_once)
        set_raw_image(request, exchange);
    else
        request->parse = raw ? hash_raw : parse;
    request->model = c->model;
    c->model = NULL;
    set_wishes(request, &c->body.params);
    request->arrived_ns = exchange->arrived_ns;
    request->received_ns = exchange->received_ns;
    request->deadline_ns = deadline_ns(c);
    request->done = done;
    request->user = c;
    return request;
}

void api_classify_request(const struct api *api, struct http_exchange *exchange)
{
    struct classification *c = exchange->user;
    if (c->refusal.type == PROBLEM_NONE && exchange->body_bytes == 0)
        problem_set(&c->refusal, PROBLEM_EMPTY_BODY, "the body has no bytes");
    if (c->refusal.type == PROBLEM_NONE && !(c->request = make_request(c)))
        problem_set(&c->refusal, PROBLEM_INTERNAL, "out of memory");
    if (c->refusal.type == PROBLEM_NONE)
        pipeline_submit(api->pipeline, c->request);
    else
        http_reply_problem(exchange, &c->refusal);
}

void api_classify_gone(const struct api *api, struct http_exchange *exchange)
{
    struct classification *c = exchange->user;
    pipeline_cancel(api->pipeline, c->request);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

void api_classify_completed(const struct api *api, struct http_exchange *exchange)
{
    struct classification *c = exchange->user;
    const struct request *request = c->request;
    api_job_completed(api, exchange, request, request ? request->model : c->model);
    request_free(c->request);
    api_body_done(&c->body);
    free(c->picture);
    if (c->model)
        registry_unref(c->model);
    free(c);
    exchange->user = NULL;
}
