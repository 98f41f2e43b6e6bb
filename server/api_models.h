/* The models: who is there, and an operator's PUT and DELETE. Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_MODELS_H
#define RESNETD_SERVER_API_MODELS_H

struct api;
struct http_exchange;

/* GET /models */
void api_models_list(const struct api *api, struct http_exchange *exchange);
/* PUT and DELETE /models/{name}. PUT answers when the model serves, or was refused. */
void api_models_change(const struct api *api, struct http_exchange *exchange);
/* The client of a PUT left: the load goes on. */
void api_models_gone(const struct api *api, struct http_exchange *exchange);
void api_models_completed(const struct api *api, struct http_exchange *exchange);

#endif
