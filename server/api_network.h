/* GET /network: what a model looks like, layer by layer. Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_NETWORK_H
#define RESNETD_SERVER_API_NETWORK_H

struct api;
struct http_exchange;

void api_network_show(const struct api *api, struct http_exchange *exchange);

#endif
