/* One image, one layer, the channels with the highest mean activation: as tiles of a PNG, or as
 * numbers.
 *
 * Loop thread, but for compute() and render(), which the pipeline runs on workers. Such requests
 * get the engine only when no classification wants it, one at a time, and are refused while there
 * is load; how many numbers one may take is bounded.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_features.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_job.h"
#include "server/api_params.h"
#include "server/api_reply.h"
#include "server/picture.h"
#include "server/pipeline.h"
#include "server/png.h"
#include "server/registry.h"
#include "server/routes.h"
#include "server/text.h"

#define DEFAULT_TOP 16
#define MAX_PNG_VALUES ((size_t)4 << 20)  /* 16 MiB */
#define MAX_JSON_VALUES ((size_t)1 << 20) /* about 10 MB of text */

struct features {
    const struct api *api;
    struct http_exchange *exchange;
    struct registry_model *model; /* referenced, until the request has it */
    struct request *request;      /* NULL before the pipeline had it */
    struct problem refusal;
    int expected_ms, timeout_ms; /* 0: not said */
    char model_name[128], layer_name[192];
    bool json;
    int top; /* as asked, then no more than there are channels */
    const struct rn_layer *layer;
    size_t layer_index;
    int channels[PICTURE_MAX_TILES];
    float means[PICTURE_MAX_TILES];
    float *maps;  /* [top][h][w] */
    char *answer; /* made by render() */
    size_t n_answer;
    int columns; /* of the PNG's tiles */
};

/* ---- at the header --------------------------------------------------------------------------- */

static void read_text(struct features *f, const char *key, const char *value, char *out,
                      size_t size)
{
    if (strlen(value) >= size)
        problem_parameter(&f->refusal, key, "%s: the name has more than %zu characters", key,
                          size - 1);
    else
        memcpy(out, value, strlen(value) + 1);
}

static void read_number(struct features *f, const char *key, const char *value, int max, int *out)
{
    if (!api_params_int(value, out) || *out < 1 || *out > max)
        problem_parameter(&f->refusal, key, "%s: \"%.40s\" is not a whole number in 1…%d", key,
                          value, max);
}

static void read_query(void *arg, const char *key, const char *value)
{
    struct features *f = arg;
    if (f->refusal.type != PROBLEM_NONE)
        return;
    if (strcmp(key, "layer") == 0)
        read_text(f, key, value, f->layer_name, sizeof f->layer_name);
    else if (strcmp(key, "model") == 0)
        read_text(f, key, value, f->model_name, sizeof f->model_name);
    else if (strcmp(key, "top") == 0)
        read_number(f, key, value, PICTURE_MAX_TILES, &f->top);
    else if (strcmp(key, "timeout_ms") == 0)
        read_number(f, key, value, API_PARAMS_MAX_TIMEOUT_MS, &f->timeout_ms);
    else if (strcmp(key, "format") == 0 && strcmp(value, "json") == 0)
        f->json = true;
    else if (strcmp(key, "format") == 0 && strcmp(value, "png") == 0)
        f->json = false;
    else if (strcmp(key, "format") == 0)
        problem_parameter(&f->refusal, key, "format: \"%.40s\" is neither png nor json", value);
    else
        problem_parameter(&f->refusal, key,
                          "there is no parameter \"%.63s\"; there are layer, top, format, model, "
                          "timeout_ms",
                          key);
}

static size_t n_values(const struct features *f)
{
    return (size_t)f->top * (size_t)f->layer->output[2] * (size_t)f->layer->output[3];
}

static bool find_layer(struct features *f)
{
    size_t n;
    const struct rn_layer *layers = rn_model_layers(f->model->model, &n);
    size_t i = 0;
    while (i < n && strcmp(layers[i].name, f->layer_name) != 0)
        i++;
    if (i == n) {
        problem_parameter(&f->refusal, "layer",
                          "layer: %s has no layer \"%.100s\"; GET /network lists them",
                          f->model->info->name, f->layer_name);
        return false;
    }
    f->layer = &layers[i];
    f->layer_index = i;
    f->top = f->top < f->layer->output[1] ? f->top : f->layer->output[1];
    if (n_values(f) > (f->json ? MAX_JSON_VALUES : MAX_PNG_VALUES)) {
        problem_parameter(&f->refusal, "top", "top: %d maps of %d×%d are too much for one answer",
                          f->top, f->layer->output[2], f->layer->output[3]);
        return false;
    }
    return true;
}

static bool accept_header(struct features *f)
{
    http_queries(f->exchange, read_query, f);
    if (f->refusal.type != PROBLEM_NONE ||
        !api_job_header(f->api, f->exchange, &f->expected_ms, &f->refusal))
        return false;
    f->model = registry_ref(f->api->registry, f->model_name);
    if (!f->model) {
        problem_set(&f->refusal, PROBLEM_UNKNOWN_MODEL, "no model \"%s\" is loaded", f->model_name);
        return false;
    }
    return find_layer(f) && pipeline_admit_alone(f->api->pipeline, &f->refusal);
}

void api_features_header(const struct api *api, struct http_exchange *exchange)
{
    struct features *f = calloc(1, sizeof *f);
    if (!f) {
        struct problem problem;
        problem_set(&problem, PROBLEM_INTERNAL, "out of memory");
        http_reply_problem(exchange, &problem);
        return;
    }
    exchange->user = f;
    f->api = api;
    f->exchange = exchange;
    f->top = DEFAULT_TOP;
    if (!accept_header(f) && routes_spares_body(exchange))
        http_reply_problem(exchange, &f->refusal);
}

/* ---- on workers ------------------------------------------------------------------------------ */

static void compute(struct request *request, struct rn_session *session)
{
    struct features *f = request->user;
    rn_session_features(session, request->images->tensor, f->layer_index, f->top, f->channels,
                        f->means, f->maps);
}

static void write_map(struct text *out, const struct features *f, int i)
{
    const int h = f->layer->output[2], w = f->layer->output[3];
    const float *map = f->maps + (size_t)i * (size_t)h * (size_t)w;
    text_format(out, "{\"channel\":%d,\"mean\":", f->channels[i]);
    text_significant(out, (double)f->means[i], 6);
    text_add(out, ",\"values\":[");
    for (int y = 0; y < h; y++) {
        text_add(out, y ? ",[" : "[");
        for (int x = 0; x < w; x++) {
            text_add(out, x ? "," : "");
            text_significant(out, (double)map[y * w + x], 6);
        }
        text_add(out, "]");
    }
    text_add(out, "]}");
}

static void render_json(struct features *f)
{
    struct text out = {0};
    const struct rn_layer *l = f->layer;
    const struct rn_model_info *info = f->request->model->info;
    const struct rn_image_info *image = &f->request->images->info;
    const struct rn_region r = rn_image_region(image->width, image->height, &info->recipe);
    text_add(&out, "{\"id\":");
    text_json(&out, f->exchange->id);
    text_member(&out, "model", info->name);
    text_member(&out, "layer", l->name);
    text_member(&out, "op", l->op);
    text_format(&out, ",\"shape\":[%d,%d,%d],\"receptive_field\":%d,\"jump\":%d,\"center\":%.1f",
                l->output[1], l->output[2], l->output[3], l->receptive_field, l->jump, l->center);
    text_format(&out, ",\"region\":[%.3f,%.3f,%.3f,%.3f],\"maps\":[", r.x, r.y, r.width, r.height);
    for (int i = 0; i < f->top; i++) {
        text_add(&out, i ? "," : "");
        write_map(&out, f, i);
    }
    text_add(&out, "]}\n");
    f->answer = text_take(&out, &f->n_answer);
}

static void render(struct request *request)
{
    struct features *f = request->user;
    if (f->json) {
        render_json(f);
        return;
    }
    struct picture picture =
        picture_tiles(f->maps, f->top, f->layer->output[2], f->layer->output[3]);
    if (picture.rgb)
        f->answer = png_encode(picture.rgb, picture.width, picture.height, &f->n_answer);
    f->columns = picture.columns;
    free(picture.rgb);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void add_headers(struct features *f)
{
    struct text channels = {0};
    char number[24];
    for (int i = 0; i < f->top; i++)
        text_format(&channels, "%s%d", i ? "," : "", f->channels[i]);
    if (channels.bytes)
        http_reply_header(f->exchange, "X-Resnetd-Channels", channels.bytes);
    text_done(&channels);
    (void)snprintf(number, sizeof number, "%d", f->columns);
    http_reply_header(f->exchange, "X-Resnetd-Columns", number);
}

static void done(struct request *request)
{
    struct features *f = request->user;
    const struct problem *problem =
        request->problem.type != PROBLEM_NONE ? &request->problem : &request->images->problem;
    if (atomic_load(&request->cancelled)) {
        http_reply(f->exchange, 499, "application/json", NULL, 0); /* nobody is there to read it */
    } else if (problem->type != PROBLEM_NONE) {
        http_reply_problem(f->exchange, problem);
    } else {
        if (f->answer && !f->json)
            add_headers(f);
        api_reply(f->exchange, 200, f->json ? "application/json" : "image/png", f->answer,
                  f->n_answer);
        f->answer = NULL;
    }
}

static bool make_request(struct features *f)
{
    const struct http_exchange *exchange = f->exchange;
    int ms = f->timeout_ms ? f->timeout_ms : f->api->timeout_ms;
    if (f->expected_ms && f->expected_ms < ms)
        ms = f->expected_ms;
    f->maps = calloc(n_values(f), sizeof *f->maps);
    struct request *request = f->maps ? request_new(1) : NULL;
    if (!request)
        return false;
    request->model = f->model;
    f->model = NULL;
    request->images[0].bytes = exchange->body;
    request->images[0].n_bytes = exchange->body_bytes;
    request->arrived_ns = exchange->arrived_ns;
    request->received_ns = exchange->received_ns;
    request->deadline_ns = exchange->arrived_ns + (uint64_t)ms * 1000000;
    request->alone = compute;
    request->render = render;
    request->done = done;
    request->user = f;
    f->request = request;
    return true;
}

void api_features_request(const struct api *api, struct http_exchange *exchange)
{
    struct features *f = exchange->user;
    if (f->refusal.type == PROBLEM_NONE && exchange->body_bytes == 0)
        problem_set(&f->refusal, PROBLEM_EMPTY_BODY, "the body has no bytes");
    if (f->refusal.type == PROBLEM_NONE && !make_request(f))
        problem_set(&f->refusal, PROBLEM_INTERNAL, "out of memory");
    if (f->refusal.type == PROBLEM_NONE)
        pipeline_submit(api->pipeline, f->request);
    else
        http_reply_problem(exchange, &f->refusal);
}

void api_features_gone(const struct api *api, struct http_exchange *exchange)
{
    struct features *f = exchange->user;
    pipeline_cancel(api->pipeline, f->request);
}

void api_features_completed(const struct api *api, struct http_exchange *exchange)
{
    struct features *f = exchange->user;
    api_job_completed(api, exchange, f->request, f->request ? f->request->model : f->model);
    request_free(f->request);
    if (f->model)
        registry_unref(f->model);
    free(f->maps);
    free(f->answer);
    free(f);
    exchange->user = NULL;
}
