/* POST /v2/models/{name}/infer, in the four moments of an exchange.
 *
 * Loop thread. Owns exchange->user from the header on until completed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_V2_INFER_H
#define RESNETD_SERVER_API_V2_INFER_H

struct api;
struct http_exchange;

void api_v2_infer_header(const struct api *api, struct http_exchange *exchange);
void api_v2_infer_request(const struct api *api, struct http_exchange *exchange);
void api_v2_infer_gone(const struct api *api, struct http_exchange *exchange);
void api_v2_infer_completed(const struct api *api, struct http_exchange *exchange);

#endif
