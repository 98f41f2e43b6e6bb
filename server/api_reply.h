/* Answers that show what is so just now: never to be kept by a cache. Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_REPLY_H
#define RESNETD_SERVER_API_REPLY_H

#include <stddef.h>

struct http_exchange;
struct text;

/* Takes body (malloc'ed; NULL when memory ran out, which is then what the answer says). */
void api_reply(struct http_exchange *exchange, int status, const char *type, char *body, size_t n);
/* The text and a newline as application/json; empties the text. */
void api_reply_json(struct http_exchange *exchange, int status, struct text *text);

#endif
