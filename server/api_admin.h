/* The endpoints that look at the daemon: health, metrics, problems. Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_ADMIN_H
#define RESNETD_SERVER_API_ADMIN_H

struct api;
struct http_exchange;

void api_admin_index(const struct api *api, struct http_exchange *exchange);
void api_admin_livez(const struct api *api, struct http_exchange *exchange);
void api_admin_readyz(const struct api *api, struct http_exchange *exchange);
void api_admin_metrics(const struct api *api, struct http_exchange *exchange);
/* /debug/requests */
void api_admin_requests(const struct api *api, struct http_exchange *exchange);
void api_admin_problems(const struct api *api, struct http_exchange *exchange);
/* /problems/{slug} */
void api_admin_problem(const struct api *api, struct http_exchange *exchange);

#endif
