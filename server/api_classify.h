/* POST and PUT /classify, in the four moments of an exchange.
 *
 * Loop thread. Owns exchange->user from the header on until completed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_CLASSIFY_H
#define RESNETD_SERVER_API_CLASSIFY_H

struct api;
struct http_exchange;

/* Query, model, admission: what can be refused before the body is. */
void api_classify_header(const struct api *api, struct http_exchange *exchange);
void api_classify_request(const struct api *api, struct http_exchange *exchange);
void api_classify_gone(const struct api *api, struct http_exchange *exchange);
/* Metrics and access log of this request, then the end of everything it owns. */
void api_classify_completed(const struct api *api, struct http_exchange *exchange);

#endif
