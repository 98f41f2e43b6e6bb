/* What the protocol tells about the server and its models.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_v2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_job.h"
#include "server/api_reply.h"
#include "server/api_v2_answer.h"
#include "server/api_v2_body.h"
#include "server/registry.h"
#include "server/routes.h"
#include "server/text.h"

#define PLATFORM "resnetd_native"

static const char prefix[] = "/v2/models/";

/* ---- errors and names --------------------------------------------------------------------------
 */

bool api_v2_owns(const char *path)
{
    return strncmp(path, "/v2", 3) == 0 && (path[3] == '\0' || path[3] == '/');
}

char *api_v2_error(const struct problem *problem, size_t *n)
{
    struct text out = {0};
    text_add(&out, "{\"error\":");
    text_json(&out, problem->detail);
    text_add(&out, "}\n");
    return text_take(&out, n);
}

static bool is_version(const char *path, const char *version)
{
    static const char word[] = "/versions/";
    if (strncmp(path, word, strlen(word)) != 0)
        return true; /* none is asked for */
    path += strlen(word);
    const size_t n = strcspn(path, "/");
    return n == strlen(version) && memcmp(path, version, n) == 0;
}

struct registry_model *api_v2_find(const struct api *api, const struct http_exchange *exchange,
                                   struct problem *problem)
{
    if (!api_job_models(api, problem))
        return NULL;
    char name[256];
    const char *given = exchange->path + strlen(prefix);
    const size_t n = strcspn(given, "/");
    (void)snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), given);
    struct registry_model *model = registry_ref(api->registry, name);
    if (!model) {
        problem_set(problem, PROBLEM_UNKNOWN_MODEL, "no model \"%.128s\" is loaded", name);
        return NULL;
    }
    const char *version = api_v2_version(model->info);
    if (is_version(given + n, version))
        return model;
    problem_set(problem, PROBLEM_UNKNOWN_MODEL, "the model \"%.100s\" has the version %.64s only",
                name, version);
    registry_unref(model);
    return NULL;
}

/* The model of the path, referenced; NULL when that was answered with an error. */
static struct registry_model *require(const struct api *api, struct http_exchange *exchange)
{
    struct problem problem;
    struct registry_model *model = api_v2_find(api, exchange, &problem);
    if (!model)
        http_reply_problem(exchange, &problem);
    return model;
}

/* ---- the server ---------------------------------------------------------------------------------
 */

void api_v2_server(const struct api *api, struct http_exchange *exchange)
{
    (void)api;
    struct text out = {0};
    text_add(&out, "{\"name\":\"resnetd\",\"version\":\"" RESNETD_VERSION "\",\"extensions\":["
                   "\"binary_tensor_data\",\"classification\",\"model_configuration\","
                   "\"statistics\",\"schedule_policy\"]}");
    api_reply_json(exchange, 200, &out);
}

static void reply_health(const struct api *api, struct http_exchange *exchange, int status)
{
    struct text out = {0};
    text_format(&out, "{\"live\":true,\"ready\":%s}", api_is_ready(api) ? "true" : "false");
    api_reply_json(exchange, status, &out);
}

void api_v2_live(const struct api *api, struct http_exchange *exchange)
{
    reply_health(api, exchange, 200);
}

void api_v2_ready(const struct api *api, struct http_exchange *exchange)
{
    reply_health(api, exchange, api_is_ready(api) ? 200 : 503);
}

void api_v2_stats(const struct api *api, struct http_exchange *exchange)
{
    struct text out = {0};
    text_add(&out, "{\"model_stats\":[");
    const struct registry_model *first = api->registry ? registry_first(api->registry) : NULL;
    for (const struct registry_model *model = first; model; model = model->next) {
        text_add(&out, model == first ? "" : ",");
        stats_write(&model->stats, model->info->name, api_v2_version(model->info), &out);
    }
    text_add(&out, "]}");
    api_reply_json(exchange, 200, &out);
}

/* ---- one model ----------------------------------------------------------------------------------
 */

void api_v2_model(const struct api *api, struct http_exchange *exchange)
{
    struct registry_model *model = require(api, exchange);
    if (!model)
        return;
    const struct rn_model_info *info = model->info;
    struct text out = {0};
    text_add(&out, "{\"name\":");
    text_json(&out, info->name);
    text_add(&out, ",\"versions\":[");
    text_json(&out, api_v2_version(info));
    text_format(
        &out,
        "],\"platform\":\"" PLATFORM "\",\"inputs\":[{\"name\":\"" API_V2_INPUT
        "\",\"datatype\":\"FP32\",\"shape\":[-1,%d,%d,%d]}],\"outputs\":[{\"name\":\"" API_V2_OUTPUT
        "\",\"datatype\":\"FP32\",\"shape\":[-1,%d]}]}",
        info->input[0], info->input[1], info->input[2], info->classes);
    registry_unref(model);
    api_reply_json(exchange, 200, &out);
}

void api_v2_model_ready(const struct api *api, struct http_exchange *exchange)
{
    struct registry_model *model = require(api, exchange);
    if (!model)
        return;
    struct text out = {0};
    text_add(&out, "{\"name\":");
    text_json(&out, model->info->name);
    text_format(&out, ",\"ready\":%s}", api_is_ready(api) ? "true" : "false");
    registry_unref(model);
    api_reply_json(exchange, api_is_ready(api) ? 200 : 503, &out);
}

void api_v2_model_config(const struct api *api, struct http_exchange *exchange)
{
    struct registry_model *model = require(api, exchange);
    if (!model)
        return;
    const struct rn_model_info *info = model->info;
    const char *setting = api->setting(api->daemon, "batch_window_ms");
    const int window_ms = setting ? atoi(setting) : 0; /* -1: the curve decides, often for none */
    struct text out = {0};
    text_add(&out, "{\"name\":");
    text_json(&out, info->name);
    text_format(
        &out,
        ",\"platform\":\"" PLATFORM "\",\"backend\":\"resnetd\",\"max_batch_size\":%d,"
        "\"input\":[{\"name\":\"" API_V2_INPUT "\",\"data_type\":\"TYPE_FP32\","
        "\"format\":\"FORMAT_NCHW\",\"dims\":[%d,%d,%d]}],\"output\":[{\"name\":\"" API_V2_OUTPUT
        "\",\"data_type\":\"TYPE_FP32\",\"dims\":[%d]}],",
        api->max_images, info->input[0], info->input[1], info->input[2], info->classes);
    text_format(&out,
                "\"dynamic_batching\":{\"preferred_batch_size\":[%d],"
                "\"max_queue_delay_microseconds\":%d}}",
                info->max_batch < api->max_images ? info->max_batch : api->max_images,
                window_ms > 0 ? window_ms * 1000 : 0);
    registry_unref(model);
    api_reply_json(exchange, 200, &out);
}

void api_v2_model_stats(const struct api *api, struct http_exchange *exchange)
{
    struct registry_model *model = require(api, exchange);
    if (!model)
        return;
    struct text out = {0};
    text_add(&out, "{\"model_stats\":[");
    stats_write(&model->stats, model->info->name, api_v2_version(model->info), &out);
    text_add(&out, "]}");
    registry_unref(model);
    api_reply_json(exchange, 200, &out);
}
