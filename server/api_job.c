/* Checks of the header, and everything that is counted and logged of a request.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "server/accesslog.h"
#include "server/api_params.h"
#include "server/metrics.h"
#include "server/pipeline.h"
#include "server/recent.h"
#include "server/registry.h"
#include "server/request.h"
#include "server/routes.h"

#define LOADING_RETRY_MS 1000

/* Envoy tells how long it will wait for the answer. */
static bool read_expected_ms(const struct http_exchange *exchange, int *expected_ms,
                             struct problem *refusal)
{
    static const char name[] = "x-envoy-expected-rq-timeout-ms";
    const char *value = http_header(exchange, name);
    if (!value)
        return true;
    errno = 0;
    char *end;
    long ms = strtol(value, &end, 10);
    if (end == value || *end || errno || ms < 1) {
        problem_parameter(refusal, name, "%s: \"%s\" is not a positive whole number", name, value);
        return false;
    }
    *expected_ms = ms < API_PARAMS_MAX_TIMEOUT_MS ? (int)ms : API_PARAMS_MAX_TIMEOUT_MS;
    return true;
}

bool api_job_models(const struct api *api, struct problem *refusal)
{
    if (api->registry)
        return true;
    if (api->draining)
        problem_set(refusal, PROBLEM_DRAINING, "the server stops before it was ready");
    else
        problem_set(refusal, PROBLEM_LOADING, "the self-test has not passed yet");
    refusal->retry_after_ms = LOADING_RETRY_MS;
    return false;
}

bool api_job_header(const struct api *api, const struct http_exchange *exchange, int *expected_ms,
                    struct problem *refusal)
{
    if (!read_expected_ms(exchange, expected_ms, refusal))
        return false;
    const char *encoding = http_header(exchange, "Content-Encoding");
    if (encoding && encoding[0] && strcasecmp(encoding, "identity") != 0) {
        problem_set(refusal, PROBLEM_UNSUPPORTED_ENCODING,
                    "Content-Encoding is \"%.64s\"; send the body as it is", encoding);
        return false;
    }
    return api_job_models(api, refusal);
}

/* The pipeline counts the images that it took and their stages between the two ends. */
static void count(const struct api *api, const struct http_exchange *exchange,
                  const struct request *request)
{
    const bool left = exchange->status == 499;
    if (!request && (left || exchange->problem != PROBLEM_NONE))
        metrics_add_images(api->metrics, request_outcome(exchange->problem, left),
                           problem_slug(exchange->problem), 1);
    if (exchange->received_ns)
        metrics_observe(api->metrics, METRIC_STAGE_DURATION, "stage=\"receive\"",
                        (double)(exchange->received_ns - exchange->arrived_ns) / 1e9);
    if (exchange->status != 200 || !request)
        return;
    uint64_t last_ns = 0;
    for (int i = 0; i < request->n_images; i++) {
        const uint64_t end_ns = request->images[i].batch_end_ns;
        metrics_observe_span(api->metrics, METRIC_STAGE_DURATION, "stage=\"respond\"", end_ns,
                             exchange->replied_ns);
        last_ns = end_ns > last_ns ? end_ns : last_ns;
    }
    if (last_ns)
        pipeline_answered(api->pipeline, last_ns);
}

void api_job_completed(const struct api *api, const struct http_exchange *exchange,
                       const struct request *request, const struct registry_model *model)
{
    count(api, exchange, request);
    accesslog_write(api->accesslog, exchange, model ? model->info->name : NULL, request);
    recent_add(api->recent, exchange, request, model ? model->info->name : "",
               problem_slug(exchange->problem));
}
