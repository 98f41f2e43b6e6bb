/* Which handler answers which method and path; CORS, 404, 405; and what handlers share.
 *
 * Loop thread only. A path is a row in routes.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_ROUTES_H
#define RESNETD_SERVER_ROUTES_H

#include <stdbool.h>

#include "server/http.h"

struct pipeline;
struct registry;
struct metrics;
struct accesslog;
struct recent;
struct keys;

/* What every handler may use. Owned by cmd/serve.c, outlives every exchange. */
struct api {
    struct pipeline *pipeline;
    struct registry *registry; /* NULL until its models have passed their self-test */
    struct metrics *metrics;
    struct accesslog *accesslog; /* NULL: no access log */
    struct recent *recent;       /* the last classifications */
    int top_k;                   /* default of the query parameter */
    int timeout_ms;              /* default deadline of a request */
    int max_images;              /* in one request */
    bool has_cache;              /* of results: images are to be hashed */
    const char *cors_origin;     /* "" = no CORS headers, "*" or one origin */
    const struct keys *keys;     /* of who may classify; NULL: anybody */
    const char *admin_token;     /* "" = none: operators are local */
    bool admin_listens;          /* operators have a listener of their own */
    bool draining;
    bool overdue; /* a worker is, by half of what ends the process */
    /* The present value of a setting as text ("10485760"), for /problems; NULL if unknown. */
    const char *(*setting)(void *daemon, const char *key);
    /* Loads [NAME=]PATH beside the traffic and serves it in place of the model of that name; done
     * comes later. False when another load is under way. */
    bool (*put_model)(void *daemon, const char *text, const char *labels,
                      void (*done)(void *context, enum rn_status status,
                                   const struct rn_error *err),
                      void *context);
    bool (*remove_model)(void *daemon, const char *name); /* false: it is the only one */
    void *daemon;
};

static inline bool api_is_ready(const struct api *api)
{
    return api->registry && !api->draining && !api->overdue;
}

/* The handlers for http_open; context is the struct api. */
extern const struct http_handlers routes_handlers;

/* At the header: a refusal should not wait for the body, which is long or only sent when asked for.
 */
bool routes_spares_body(const struct http_exchange *exchange);

#endif
