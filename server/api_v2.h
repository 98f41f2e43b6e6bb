/* The Open Inference Protocol v2 (KServe, Triton) but for inference: health, metadata,
 * configuration, statistics, and the form of its errors.
 *
 * Loop thread; answered on the spot.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_V2_H
#define RESNETD_SERVER_API_V2_H

#include <stdbool.h>
#include <stddef.h>

struct api;
struct http_exchange;
struct problem;
struct registry_model;

void api_v2_server(const struct api *api, struct http_exchange *exchange);
void api_v2_live(const struct api *api, struct http_exchange *exchange);
void api_v2_ready(const struct api *api, struct http_exchange *exchange);
void api_v2_stats(const struct api *api, struct http_exchange *exchange); /* of all models */
/* Of the model that the path names. */
void api_v2_model(const struct api *api, struct http_exchange *exchange);
void api_v2_model_ready(const struct api *api, struct http_exchange *exchange);
void api_v2_model_config(const struct api *api, struct http_exchange *exchange);
void api_v2_model_stats(const struct api *api, struct http_exchange *exchange);

/* The model and version of the path, referenced; NULL with a problem where there is none. */
struct registry_model *api_v2_find(const struct api *api, const struct http_exchange *exchange,
                                   struct problem *problem);

/* Is the path one of this protocol, known or not? */
bool api_v2_owns(const char *path);
/* {"error":"…"}, malloc'ed; NULL when out of memory. */
char *api_v2_error(const struct problem *problem, size_t *n);

#endif
