/* GET /models from the registry; PUT and DELETE hand over to the daemon, which loads beside the
 * traffic.
 *
 * Loop thread. Who may change models is the route's question, not asked here.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_models.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/accesslog.h"
#include "server/api_json.h"
#include "server/api_reply.h"
#include "server/registry.h"
#include "server/routes.h"
#include "server/text.h"

#define MAX_NAME 200
#define MAX_PATH 4096

/* A PUT that waits for its model. */
struct change {
    const struct api *api;
    struct http_exchange *exchange;
    char name[MAX_NAME + 1];
};

/* ---- GET --------------------------------------------------------------------------------------
 */

static void write_model(struct text *out, const struct rn_model_info *info)
{
    text_add(out, "{\"name\":");
    text_json(out, info->name);
    text_member(out, "version", info->version);
    text_member(out, "digest", info->digest);
    text_member(out, "precision", info->precision);
    text_format(out, ",\"classes\":%d,\"input\":[%d,%d,%d],\"parameters\":%" PRIu64, info->classes,
                info->input[0], info->input[1], info->input[2], info->parameters);
    text_member(out, "source", info->source);
    text_member(out, "accuracy", info->accuracy);
    text_add(out, "}");
}

void api_models_list(const struct api *api, struct http_exchange *exchange)
{
    struct text out = {0};
    text_add(&out, "{\"models\":[");
    const struct registry_model *first = api->registry ? registry_first(api->registry) : NULL;
    for (const struct registry_model *model = first; model; model = model->next) {
        text_add(&out, model == first ? "" : ",");
        write_model(&out, model->info);
    }
    text_add(&out, "]}");
    api_reply_json(exchange, 200, &out);
}

/* ---- PUT and DELETE ---------------------------------------------------------------------------
 */

static bool read_name(const struct http_exchange *exchange, char name[MAX_NAME + 1],
                      struct problem *problem)
{
    const char *given = exchange->path + strlen("/models/");
    bool good = strlen(given) <= MAX_NAME;
    for (const char *c = given; *c != '\0' && good; c += text_visible(c))
        good = text_visible(c) > 0 && *c != '=';
    if (!good) {
        problem_parameter(
            problem, "name",
            "a model's name is UTF-8 text of at most %d bytes without = and control characters",
            MAX_NAME);
        return false;
    }
    (void)snprintf(name, MAX_NAME + 1, "%s", given);
    return true;
}

/* The text of a member; "" without it. False when it is there and is no usable text. */
static bool read_text(const json_t *object, const char *key, const char **out,
                      struct problem *problem)
{
    const json_t *value = json_object_get(object, key);
    *out = "";
    if (!value)
        return true;
    if (json_is_string(value) && json_string_length(value) < MAX_PATH) {
        *out = json_string_value(value);
        return true;
    }
    problem_parameter(problem, key, "%s is a text of less than %d bytes", key, MAX_PATH);
    return false;
}

/* Nobody is to believe that something was heeded which was not even read. */
static bool knows_members(const json_t *object, struct problem *problem)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (strcmp(key, "path") == 0 || strcmp(key, "labels") == 0)
            continue;
        problem_parameter(problem, key, "%.64s is not known, path and labels are", key);
        return false;
    }
    return true;
}

static void loaded(void *context, enum rn_status status, const struct rn_error *err)
{
    struct change *change = context;
    struct http_exchange *exchange = change->exchange;
    struct registry_model *model = NULL;
    if (status == RN_OK && (model = registry_ref(change->api->registry, change->name))) {
        struct text out = {0};
        write_model(&out, model->info);
        registry_unref(model);
        api_reply_json(exchange, 200, &out);
        return;
    }
    struct problem problem;
    problem_set(&problem, PROBLEM_MODEL_REFUSED, "%.240s",
                status == RN_OK ? "the model was removed again" : err->text);
    http_reply_problem(exchange, &problem);
}

/* {"path":"/models/x.safetensors","labels":"/models/x.txt"} */
static bool start_load(const struct api *api, struct http_exchange *exchange,
                       struct problem *problem)
{
    const char *path, *labels;
    char name[MAX_NAME + 1], text[MAX_NAME + MAX_PATH + 2];
    if (exchange->body_bytes == 0) {
        problem_set(
            problem, PROBLEM_EMPTY_BODY,
            "what is to be loaded is in a body like {\"path\":\"/models/new.safetensors\"}");
        return false;
    }
    json_t *json = api_json_load(exchange->body, exchange->body_bytes, problem);
    struct change *change = calloc(1, sizeof *change);
    bool ok = false;
    if (json && !change) {
        problem_set(problem, PROBLEM_INTERNAL, "out of memory");
    } else if (json && !json_is_object(json)) {
        problem_set(problem, PROBLEM_BAD_JSON,
                    "the body is an object like "
                    "{\"path\":\"/models/new.safetensors\"}");
    } else if (json && read_name(exchange, name, problem) && knows_members(json, problem) &&
               read_text(json, "path", &path, problem) &&
               read_text(json, "labels", &labels, problem)) {
        (void)snprintf(text, sizeof text, "%s=%s", name, path);
        *change = (struct change){.api = api, .exchange = exchange};
        memcpy(change->name, name, sizeof name);
        if (!path[0])
            problem_parameter(problem, "path", "path is missing");
        else if (!api->registry || !api->put_model(api->daemon, text, labels, loaded, change))
            problem_set(problem, PROBLEM_MODELS_BUSY, "other models are being loaded");
        else
            ok = true;
    }
    json_decref(json);
    if (ok)
        exchange->user = change;
    else
        free(change);
    return ok;
}

static void remove_model(const struct api *api, struct http_exchange *exchange,
                         struct problem *problem)
{
    char name[MAX_NAME + 1];
    if (!read_name(exchange, name, problem))
        return;
    struct registry_model *model = api->registry ? registry_ref(api->registry, name) : NULL;
    if (!model) {
        problem_set(problem, PROBLEM_UNKNOWN_MODEL, "no model \"%s\" is loaded", name);
        return;
    }
    registry_unref(model);
    if (!api->remove_model(api->daemon, name))
        problem_set(problem, PROBLEM_LAST_MODEL, "\"%s\" is the only model", name);
    else
        http_reply(exchange, 204, NULL, NULL, 0);
}

void api_models_change(const struct api *api, struct http_exchange *exchange)
{
    struct problem problem = {0};
    if (strcmp(exchange->method, "DELETE") == 0)
        remove_model(api, exchange, &problem);
    else
        (void)start_load(api, exchange, &problem);
    if (problem.type != PROBLEM_NONE)
        http_reply_problem(exchange, &problem);
}

void api_models_gone(const struct api *api, struct http_exchange *exchange)
{
    (void)api;
    (void)exchange;
}

void api_models_completed(const struct api *api, struct http_exchange *exchange)
{
    accesslog_write(api->accesslog, exchange, NULL, NULL);
    free(exchange->user);
    exchange->user = NULL;
}
