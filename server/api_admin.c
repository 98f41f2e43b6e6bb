/* Health, metrics and problems, all answered on the spot from what the loop owns.
 *
 * Loop thread. None needs a model's name or waits for the engine, so probes stay quick under load.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_admin.h"

#include <stdlib.h>
#include <string.h>

#include "server/api_reply.h"
#include "server/metrics.h"
#include "server/pipeline.h"
#include "server/recent.h"
#include "server/registry.h"
#include "server/routes.h"
#include "server/text.h"

void api_admin_index(const struct api *api, struct http_exchange *exchange)
{
    (void)api;
    struct text out = {0};
    text_add(&out, "{\"name\":\"resnetd\",\"version\":\"" RESNETD_VERSION "\",\"endpoints\":["
                   "\"POST /classify\",\"POST /features\",\"GET /network\",\"GET /models\",\"PUT "
                   "/models/{name}\","
                   "\"DELETE /models/{name}\",\"GET /livez\",\"GET /readyz\","
                   "\"GET /metrics\",\"GET /debug/requests\",\"GET /problems\",\"GET "
                   "/openapi.json\",\"GET /v2\","
                   "\"GET /v2/models/{name}\",\"POST /v2/models/{name}/infer\"]}");
    api_reply_json(exchange, 200, &out);
}

void api_admin_livez(const struct api *api, struct http_exchange *exchange)
{
    (void)api;
    struct text out = {0};
    text_add(&out, "{\"status\":\"alive\"}");
    api_reply_json(exchange, 200, &out);
}

static double predicted_wait_ms(const struct api *api)
{
    struct registry_model *model = api->registry ? registry_first(api->registry) : NULL;
    return model ? pipeline_predicted_wait_ms(api->pipeline, model) : 0;
}

void api_admin_readyz(const struct api *api, struct http_exchange *exchange)
{
    const bool ready = api_is_ready(api);
    const struct registry_model *model = api->registry ? registry_first(api->registry) : NULL;
    struct text name = {0}, out = {0};
    if (model)
        text_add(&name, model->info->name);
    if (model && model->info->version[0])
        text_format(&name, "/%s", model->info->version);
    text_format(&out, "{\"status\":\"%s\",\"ready\":%s,\"model\":",
                api->draining  ? "draining"
                : api->overdue ? "stuck"
                : ready        ? "ready"
                               : "loading",
                ready ? "true" : "false");
    text_json(&out, name.bytes);
    text_format(&out,
                ",\"in_flight\":%zu,\"predicted_wait_ms\":", pipeline_in_flight(api->pipeline));
    text_real(&out, predicted_wait_ms(api), 3);
    text_add(&out, "}");
    text_done(&name);
    api_reply_json(exchange, ready ? 200 : 503, &out);
}

void api_admin_metrics(const struct api *api, struct http_exchange *exchange)
{
    metrics_set(api->metrics, METRIC_QUEUE_IMAGES, "",
                (double)pipeline_queued_images(api->pipeline));
    metrics_set(api->metrics, METRIC_IN_FLIGHT_REQUESTS, "",
                (double)pipeline_in_flight(api->pipeline));
    metrics_set(api->metrics, METRIC_PREDICTED_WAIT, "", predicted_wait_ms(api) / 1e3);
    metrics_set(api->metrics, METRIC_SATURATION, "", pipeline_saturation(api->pipeline));
    metrics_set(api->metrics, METRIC_READY, "", api_is_ready(api));
    size_t n = 0;
    char *body = metrics_render(api->metrics, &n);
    api_reply(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", body, n);
}

void api_admin_requests(const struct api *api, struct http_exchange *exchange)
{
    struct text out = {0};
    text_add(&out, "{\"requests\":");
    recent_write(api->recent, &out);
    text_add(&out, "}");
    api_reply_json(exchange, 200, &out);
}

static void write_problem(struct text *out, const struct api *api, enum problem_type type)
{
    const struct problem_row *row = problem_row(type);
    text_format(out, "{\"type\":\"/problems/%s\",\"title\":", row->slug);
    text_json(out, row->title);
    text_format(out, ",\"status\":%d", row->status);
    text_member(out, "meaning", row->meaning);
    if (row->setting[0]) {
        text_member(out, "setting", row->setting);
        text_member(out, "value", api->setting(api->daemon, row->setting));
    }
    text_add(out, "}");
}

void api_admin_problems(const struct api *api, struct http_exchange *exchange)
{
    struct text out = {0};
    text_add(&out, "{\"problems\":[");
    for (int type = PROBLEM_NONE + 1; type < N_PROBLEMS; type++) {
        text_add(&out, type > PROBLEM_NONE + 1 ? "," : "");
        write_problem(&out, api, (enum problem_type)type);
    }
    text_add(&out, "]}");
    api_reply_json(exchange, 200, &out);
}

void api_admin_problem(const struct api *api, struct http_exchange *exchange)
{
    const char *slug = exchange->path + strlen("/problems/");
    for (int type = PROBLEM_NONE + 1; type < N_PROBLEMS; type++) {
        if (strcmp(problem_row((enum problem_type)type)->slug, slug) != 0)
            continue;
        struct text out = {0};
        write_problem(&out, api, (enum problem_type)type);
        api_reply_json(exchange, 200, &out);
        return;
    }
    struct problem problem;
    problem_set(&problem, PROBLEM_NOT_FOUND, "there is no problem type \"%.64s\"", slug);
    http_reply_problem(exchange, &problem);
}
