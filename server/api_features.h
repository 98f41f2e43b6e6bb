/* POST and PUT /features: what the channels of one layer make of an image. Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_FEATURES_H
#define RESNETD_SERVER_API_FEATURES_H

struct api;
struct http_exchange;

void api_features_header(const struct api *api, struct http_exchange *exchange);
void api_features_request(const struct api *api, struct http_exchange *exchange);
void api_features_gone(const struct api *api, struct http_exchange *exchange);
void api_features_completed(const struct api *api, struct http_exchange *exchange);

#endif
