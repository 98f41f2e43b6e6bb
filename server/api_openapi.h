/* GET /openapi.json: the description of this API, carried in the binary.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_OPENAPI_H
#define RESNETD_SERVER_API_OPENAPI_H

struct api;
struct http_exchange;

void api_openapi(const struct api *api, struct http_exchange *exchange);

#endif
