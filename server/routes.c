/* The table of paths, and what holds for all of them: 404, 405 with Allow, OPTIONS, CORS, the
 * metrics and the access log of what is no classification.
 *
 * Loop thread. A path is one row. HEAD is answered as GET is; http.c leaves the body out.
 *
 * SPDX-License-Identifier: MIT */
#include "server/routes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/accesslog.h"
#include "server/api_admin.h"
#include "server/api_classify.h"
#include "server/api_features.h"
#include "server/api_models.h"
#include "server/api_network.h"
#include "server/api_openapi.h"
#include "server/api_v2.h"
#include "server/api_v2_infer.h"
#include "server/keys.h"
#include "server/metrics.h"
#include "server/web.h"

#define LONG_BODY_BYTES 65536 /* what is shorter is read even when it is refused */

enum access {
    ANYBODY,
    CLIENTS,   /* who has an API key, where there are any */
    OPERATORS, /* who runs the daemon */
};

typedef void (*handle_fn)(const struct api *api, struct http_exchange *exchange);

struct route {
    const char *pattern; /* {…} stands for one segment, […] may be left out; also metrics' label */
    const char *methods[2];
    const char *allow;
    enum access access;
    handle_fn request;                 /* must reply, now or later; NULL: only OPTIONS comes here */
    handle_fn header, gone, completed; /* of a handler that keeps exchange->user, else NULL */
};

#define UPLOAD {"POST", "PUT"}, "POST, PUT, OPTIONS"
#define NOTHING {"", ""}, "GET, HEAD, POST, PUT, DELETE, OPTIONS"
#define READ {"GET", "HEAD"}, "GET, HEAD, OPTIONS"
#define V2_MODEL "/v2/models/{name}[/versions/{version}]"
#define CHANGE {"PUT", "DELETE"}, "PUT, DELETE, OPTIONS"

static const struct route routes[] = {
    {"/classify", UPLOAD, CLIENTS, api_classify_request, api_classify_header, api_classify_gone,
     api_classify_completed},
    {"/features", UPLOAD, CLIENTS, api_features_request, api_features_header, api_features_gone,
     api_features_completed},
    {"*", NOTHING, ANYBODY, NULL, NULL, NULL, NULL}, /* the server as a whole, RFC 9110 9.3.7 */
    {"/", READ, ANYBODY, web_index, NULL, NULL, NULL},
    {"/web/{file}", READ, ANYBODY, web_file, NULL, NULL, NULL},
    {"/openapi.json", READ, ANYBODY, api_openapi, NULL, NULL, NULL},
    {"/livez", READ, ANYBODY, api_admin_livez, NULL, NULL, NULL},
    {"/readyz", READ, ANYBODY, api_admin_readyz, NULL, NULL, NULL},
    {"/healthz", READ, ANYBODY, api_admin_readyz, NULL, NULL, NULL},
    {"/ping", READ, ANYBODY, api_admin_readyz, NULL, NULL, NULL},
    {"/metrics", READ, ANYBODY, api_admin_metrics, NULL, NULL, NULL},
    {"/models", READ, CLIENTS, api_models_list, NULL, NULL, NULL},
    {"/network", READ, CLIENTS, api_network_show, NULL, NULL, NULL},
    {"/models/{name}", CHANGE, OPERATORS, api_models_change, NULL, api_models_gone,
     api_models_completed},
    {"/debug/requests", READ, OPERATORS, api_admin_requests, NULL, NULL, NULL},
    {"/problems", READ, ANYBODY, api_admin_problems, NULL, NULL, NULL},
    {"/problems/{slug}", READ, ANYBODY, api_admin_problem, NULL, NULL, NULL},
    {"/v2[/]", READ, ANYBODY, api_v2_server, NULL, NULL, NULL},
    {"/v2/health/live", READ, ANYBODY, api_v2_live, NULL, NULL, NULL},
    {"/v2/health/ready", READ, ANYBODY, api_v2_ready, NULL, NULL, NULL},
    {"/v2/models/stats", READ, CLIENTS, api_v2_stats, NULL, NULL, NULL},
    {V2_MODEL, READ, CLIENTS, api_v2_model, NULL, NULL, NULL},
    {V2_MODEL "/ready", READ, ANYBODY, api_v2_model_ready, NULL, NULL, NULL},
    {V2_MODEL "/config", READ, CLIENTS, api_v2_model_config, NULL, NULL, NULL},
    {V2_MODEL "/stats", READ, CLIENTS, api_v2_model_stats, NULL, NULL, NULL},
    {V2_MODEL "/infer",
     {"POST", "POST"},
     "POST, OPTIONS",
     CLIENTS,
     api_v2_infer_request,
     api_v2_infer_header,
     api_v2_infer_gone,
     api_v2_infer_completed},
};

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH"};

static bool matches(const char *pattern, const char *path)
{
    for (;;) {
        size_t n_segment;
        switch (*pattern) {
        case '[':
            if (matches(strchr(pattern, ']') + 1, path))
                return true;
            pattern++;
            break;
        case ']':
            pattern++;
            break;
        case '{':
            n_segment = strcspn(path, "/");
            if (n_segment == 0)
                return false;
            path += n_segment;
            pattern = strchr(pattern, '}') + 1;
            break;
        case '\0':
            return *path == '\0';
        default:
            if (*pattern++ != *path++)
                return false;
            break;
        }
    }
}

static const struct route *find(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
        if (matches(routes[i].pattern, path))
            return &routes[i];
    return NULL;
}

static bool takes(const struct route *route, const char *method)
{
    return strcmp(route->methods[0], method) == 0 || strcmp(route->methods[1], method) == 0;
}

bool routes_spares_body(const struct http_exchange *exchange)
{
    return exchange->declared_bytes > LONG_BODY_BYTES ||
           http_header(exchange, "Transfer-Encoding") != NULL ||
           http_header(exchange, "Expect") != NULL;
}

/* ---- who asks ---------------------------------------------------------------------------------
 */

static bool is_local(const char *peer)
{
    static const char mapped[] = "::ffff:";
    if (strncmp(peer, mapped, strlen(mapped)) == 0)
        peer += strlen(mapped);
    return strncmp(peer, "127.", 4) == 0 || strcmp(peer, "::1") == 0 || strcmp(peer, "unix") == 0;
}

/* What a proxy or a web page sends along comes from elsewhere, whoever connected. */
static bool was_passed_on(const struct http_exchange *exchange)
{
    static const char *const names[] = {"Forwarded", "X-Forwarded-For", "Via", "Origin"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (http_header(exchange, names[i]))
            return true;
    return false;
}

/* What stands behind "Authorization: Bearer", NULL without it. */
static const char *bearer(const struct http_exchange *exchange)
{
    static const char scheme[] = "Bearer "; /* in any case, RFC 9110 section 11.1 */
    const char *given = http_header(exchange, "Authorization");
    if (!given || strncasecmp(given, scheme, strlen(scheme)) != 0)
        return NULL;
    given += strlen(scheme);
    return given + strspn(given, " ");
}

/* In a time that does not tell how much of it was right. */
static bool has_token(const struct api *api, const struct http_exchange *exchange)
{
    const char *given = bearer(exchange);
    const size_t n = strlen(api->admin_token);
    if (n == 0 || !given)
        return false;
    unsigned difference = strlen(given) != n;
    for (size_t i = 0; given[i] != '\0'; i++)
        difference |= (unsigned char)given[i] ^ (unsigned char)api->admin_token[i % n];
    return difference == 0;
}

static bool is_operator(const struct api *api, const struct http_exchange *exchange)
{
    return exchange->admin || has_token(api, exchange) ||
           (!api->admin_listens && is_local(exchange->peer) && !was_passed_on(exchange));
}

/* Being local is no key: a proxy on this machine is local, too. */
static bool is_client(const struct api *api, const struct http_exchange *exchange)
{
    const char *given = bearer(exchange);
    return !api->keys || exchange->admin || has_token(api, exchange) ||
           (given && keys_have(api->keys, given));
}

/* ---- what has no handler ------------------------------------------------------------------- */

/* Reading from a page of another origin is allowed by these (Fetch standard, CORS protocol). */
static void allow_origin(const struct api *api, struct http_exchange *exchange)
{
    if (!api->cors_origin[0])
        return;
    http_reply_header(exchange, "Access-Control-Allow-Origin", api->cors_origin);
    http_reply_header(exchange, "Access-Control-Expose-Headers",
                      "X-Request-Id, Server-Timing, Retry-After, Inference-Header-Content-Length, "
                      "X-Resnetd-Label, X-Resnetd-Score, X-Resnetd-Class, X-Resnetd-Channels, "
                      "X-Resnetd-Columns");
    http_reply_header(exchange, "Timing-Allow-Origin", api->cors_origin);
    http_reply_header(exchange, "Vary", "Origin");
}

static void reply_options(const struct api *api, struct http_exchange *exchange,
                          const struct route *route)
{
    http_reply_header(exchange, "Allow", route->allow);
    if (api->cors_origin[0] && route->access != OPERATORS) {
        http_reply_header(exchange, "Access-Control-Allow-Methods", route->allow);
        http_reply_header(exchange, "Access-Control-Allow-Headers",
                          "Authorization, Content-Type, Inference-Header-Content-Length, "
                          "X-Request-Id, traceparent");
        http_reply_header(exchange, "Access-Control-Max-Age", "86400");
    }
    http_reply(exchange, 204, NULL, NULL, 0);
}

/* Why the exchange is none for its route's handler, PROBLEM_NONE where it is. */
static enum problem_type obstacle(const struct api *api, const struct http_exchange *exchange,
                                  const struct route *route)
{
    if (!route)
        return PROBLEM_NOT_FOUND;
    if (!takes(route, exchange->method))
        return PROBLEM_METHOD_NOT_ALLOWED;
    if (route->access == OPERATORS && !is_operator(api, exchange))
        return PROBLEM_FORBIDDEN;
    if (route->access == CLIENTS && !is_client(api, exchange))
        return bearer(exchange) ? PROBLEM_FORBIDDEN : PROBLEM_UNAUTHORIZED;
    return PROBLEM_NONE;
}

static void refuse(struct http_exchange *exchange, const struct route *route,
                   enum problem_type type)
{
    struct problem problem;
    switch (type) {
    case PROBLEM_UNAUTHORIZED:
        http_reply_header(exchange, "WWW-Authenticate", "Bearer realm=\"resnetd\"");
        problem_set(&problem, type, "%.128s wants Authorization: Bearer and an API key",
                    exchange->path);
        break;
    case PROBLEM_FORBIDDEN:
        problem_set(&problem, type,
                    route->access == OPERATORS
                        ? "%.128s is for requests from this machine itself, the admin listener, or "
                          "with the admin token"
                        : "%.128s does not take this API key",
                    exchange->path);
        break;
    case PROBLEM_METHOD_NOT_ALLOWED:
        http_reply_header(exchange, "Allow", route->allow);
        problem_set(&problem, type, "%.128s does not take %.16s but %s", exchange->path,
                    exchange->method, route->allow);
        break;
    default:
        problem_set(&problem, type, "there is nothing at %.128s", exchange->path);
        break;
    }
    http_reply_problem(exchange, &problem);
}

/* ---- the handlers for http_open -------------------------------------------------------------- */

static void on_header(void *context, struct http_exchange *exchange)
{
    const struct api *api = context;
    const struct route *route = find(exchange->path);
    const enum problem_type type = obstacle(api, exchange, route);
    if (!route || route->access != OPERATORS)
        allow_origin(api, exchange);
    if (route && strcmp(exchange->method, "OPTIONS") == 0)
        return; /* whatever body comes with it */
    if (type != PROBLEM_NONE) {
        if (routes_spares_body(exchange))
            refuse(exchange, route, type);
    } else if (route->header) {
        route->header(api, exchange);
    }
}

static void on_refused(void *context, struct http_exchange *exchange)
{
    const struct route *route = find(exchange->path);
    if (!route || route->access != OPERATORS)
        allow_origin(context, exchange);
}

static void on_request(void *context, struct http_exchange *exchange)
{
    const struct api *api = context;
    const struct route *route = find(exchange->path);
    const enum problem_type type = obstacle(api, exchange, route);
    if (route && strcmp(exchange->method, "OPTIONS") == 0)
        reply_options(api, exchange, route);
    else if (type != PROBLEM_NONE)
        refuse(exchange, route, type);
    else
        route->request(api, exchange);
}

/* Only who answers later can find the client gone, and that one keeps exchange->user. */
static void on_gone(void *context, struct http_exchange *exchange)
{
    find(exchange->path)->gone(context, exchange);
}

static void count(const struct api *api, const struct http_exchange *exchange,
                  const struct route *route)
{
    const char *method = "other";
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(methods[i], exchange->method) == 0)
            method = methods[i];
    const char *path = route ? route->pattern : "other";
    char labels[128];
    (void)snprintf(labels, sizeof labels, "path=\"%s\",method=\"%s\",code=\"%d\"", path, method,
                   exchange->status);
    metrics_add(api->metrics, METRIC_HTTP_REQUESTS, labels, 1);
    if (exchange->replied_ns) {
        (void)snprintf(labels, sizeof labels, "path=\"%s\",code=\"%d\"", path, exchange->status);
        metrics_observe(api->metrics, METRIC_HTTP_DURATION, labels,
                        (double)(exchange->replied_ns - exchange->arrived_ns) / 1e9);
    }
}

static void on_completed(void *context, struct http_exchange *exchange)
{
    const struct api *api = context;
    const struct route *route = find(exchange->path);
    count(api, exchange, route);
    if (exchange->user)
        route->completed(api, exchange);
    else
        accesslog_write(api->accesslog, exchange, NULL, NULL);
}

static char *write_problem(void *context, const struct http_exchange *exchange,
                           const struct problem *problem, const char **type, size_t *n)
{
    (void)context;
    const bool v2 = api_v2_owns(exchange->path);
    *type = v2 ? "application/json" : "application/problem+json";
    return v2 ? api_v2_error(problem, n) : problem_json(problem, exchange->id, n);
}

const struct http_handlers routes_handlers = {
    .on_header = on_header,
    .on_refused = on_refused,
    .on_request = on_request,
    .on_gone = on_gone,
    .on_completed = on_completed,
    .write_problem = write_problem,
};
