/* One parameter, one answer.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_network.h"

#include <string.h>

#include "server/api_job.h"
#include "server/api_reply.h"
#include "server/network.h"
#include "server/registry.h"
#include "server/routes.h"
#include "server/text.h"

struct query {
    const char *model;
    struct problem problem;
};

static void read_query(void *arg, const char *key, const char *value)
{
    struct query *query = arg;
    if (strcmp(key, "model") == 0)
        query->model = value;
    else
        problem_parameter(&query->problem, key, "there is no parameter \"%.63s\"; there is model",
                          key);
}

void api_network_show(const struct api *api, struct http_exchange *exchange)
{
    struct query query = {.model = ""};
    struct registry_model *model = NULL;
    http_queries(exchange, read_query, &query);
    if (query.problem.type == PROBLEM_NONE && api_job_models(api, &query.problem)) {
        model = registry_ref(api->registry, query.model);
        if (!model)
            problem_set(&query.problem, PROBLEM_UNKNOWN_MODEL, "no model \"%.128s\" is loaded",
                        query.model);
    }
    if (!model) {
        http_reply_problem(exchange, &query.problem);
        return;
    }
    struct text out = {0};
    network_write(&out, model->model);
    registry_unref(model);
    api_reply_json(exchange, 200, &out);
}
