/* One header and one way out.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_reply.h"

#include "server/http.h"
#include "server/text.h"

void api_reply(struct http_exchange *exchange, int status, const char *type, char *body, size_t n)
{
    if (body) {
        http_reply_header(exchange, "Cache-Control", "no-store");
        http_reply(exchange, status, type, body, n);
        return;
    }
    struct problem problem;
    problem_set(&problem, PROBLEM_INTERNAL, "out of memory");
    http_reply_problem(exchange, &problem);
}

void api_reply_json(struct http_exchange *exchange, int status, struct text *text)
{
    size_t n = 0;
    text_add(text, "\n");
    char *body = text_take(text, &n);
    api_reply(exchange, status, "application/json", body, n);
}
