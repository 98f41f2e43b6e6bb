/* What is looked at when the header is there: its form, its size, and what it announces.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "server/http_internal.h"

int http_header_parameters(const char *target)
{
    int n = 1;
    for (const char *c = target; *c != '\0'; c++)
        n += *c == '&';
    return n;
}

size_t http_header_bytes(const struct http_conn *conn)
{
    const int n = MHD_get_connection_values_n(
        conn->mhd, (enum MHD_ValueKind)(MHD_HEADER_KIND | MHD_GET_ARGUMENT_KIND), NULL, NULL);
    return MHD_get_connection_info(conn->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)
               ->header_size +
           (size_t)n * HTTP_FIELD_BYTES;
}

static enum MHD_Result guard_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                    size_t n_name, const char *value, size_t n_value)
{
    (void)kind;
    http_guard_header(arg, name, n_name, value ? value : "", n_value);
    if (value) /* in the library's copy, which all will read from now on */
        ((char *)(uintptr_t)value)[http_guard_value(value, n_value)] = '\0';
    return MHD_YES;
}

size_t http_uploads_left(const struct http *http)
{
    const size_t limit = http->options.max_upload_bytes;
    return http->n_upload_bytes < limit ? limit - http->n_upload_bytes : 0;
}

void http_uploads_full(const struct http *http, struct problem *problem)
{
    problem_set(problem, PROBLEM_UPLOADS_FULL,
                "%zu bytes of uploads are in flight, the limit is %zu", http->n_upload_bytes,
                http->options.max_upload_bytes);
    problem->retry_after_ms = 1000;
}

/* What is wrong with the header, NULL for nothing. */
static const char *find_fault(const struct http_exchange_full *exchange, const char *version,
                              bool *has_encoding)
{
    const struct http_conn *conn = exchange->conn;
    const bool follows = conn->http->strings_in_place && conn->target;
    struct http_guard guard = {0};
    if (follows)
        http_guard_start(&guard, exchange->base.method, conn->target, conn->target_end, version);
    (void)MHD_get_connection_values_n(conn->mhd, MHD_HEADER_KIND, guard_header, &guard);
    if (follows) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(conn->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        http_guard_end(&guard, exchange->base.method + info->header_size);
    }
    *has_encoding = guard.n_encodings > 0;
    if (conn->bad_target || !http_guard_asterisk(exchange->base.method, exchange->base.path))
        return "the target is not a well-formed absolute path";
    return http_guard_verdict(&guard, version);
}

static void refuse(const struct http *http, struct http_exchange *exchange,
                   const struct problem *problem)
{
    if (http->handlers.on_refused)
        http->handlers.on_refused(http->handlers.context, exchange);
    http_reply_problem(exchange, problem);
}

void http_header_check(struct http_exchange_full *exchange, const char *version, bool *has_body)
{
    struct http *http = exchange->conn->http;
    struct http_exchange *base = &exchange->base;
    const size_t all = http->options.max_upload_bytes, one = http->options.max_body_bytes;
    const size_t limit = one < all ? one : all;
    struct problem problem;
    bool has_encoding;
    const char *fault = find_fault(exchange, version, &has_encoding);
    const char *length = http_header(base, "Content-Length");
    if (length)
        base->declared_bytes = strtoll(length, NULL, 10);
    *has_body = fault != NULL || has_encoding || base->declared_bytes > 0;
    if (fault) {
        problem_set(&problem, PROBLEM_BAD_HTTP, "%s", fault);
        refuse(http, base, &problem);
    } else if (base->declared_bytes > 0 && (uint64_t)base->declared_bytes > limit) {
        problem_set(&problem, PROBLEM_BODY_TOO_LARGE, "the body has %lld bytes, the limit is %zu",
                    (long long)base->declared_bytes, limit);
        problem_number(&problem, "limit_bytes", (int64_t)limit);
        refuse(http, base, &problem);
    } else if (base->declared_bytes > 0 &&
               (uint64_t)base->declared_bytes > http_uploads_left(http)) {
        http_uploads_full(http, &problem);
        refuse(http, base, &problem);
    } else if (http->handlers.on_header) {
        http->handlers.on_header(http->handlers.context, base);
    }
}
