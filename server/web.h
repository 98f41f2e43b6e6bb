/* The page for people: GET / for browsers and the files that it is made of under /web/. Loop
 * thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_WEB_H
#define RESNETD_SERVER_WEB_H

struct api;
struct http_exchange;

/* / : the page where text/html is accepted, else what api_admin_index() says. */
void web_index(const struct api *api, struct http_exchange *exchange);
/* /web/{file} */
void web_file(const struct api *api, struct http_exchange *exchange);

#endif
