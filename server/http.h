/* HTTP/1.1 by libmicrohttpd inside the libuv loop: exchanges in, replies out; knows no endpoint.
 *
 * Everything here runs on the loop thread. An exchange is one request and its one reply. It is
 * created when the header has been read and dies after on_completed, the only place where the
 * handler's `user` pointer may be freed. Between on_request and http_reply the connection is
 * suspended; http_reply may be called inside on_header and on_request or any time later from the
 * loop.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_HTTP_H
#define RESNETD_SERVER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/problem.h"

struct uv_loop_s;
struct proxies;
struct http;

#define HTTP_ID_SIZE 65 /* X-Request-Id of the client (1…64 of [A-Za-z0-9._-]), else a ULID */

struct http_exchange {
    const char *method, *path; /* "POST", "/classify" (query cut off, percent-decoded) */
    char id[HTTP_ID_SIZE];
    char peer[64]; /* the client's address, "unix" for a local socket; what a trusted proxy says */
    const uint8_t *body; /* whole, from on_request on until on_completed; NULL if empty */
    size_t body_bytes;
    int64_t declared_bytes; /* Content-Length, -1 without one */
    uint64_t arrived_ns;    /* monotonic: header complete, by the kernel's clock where it tells */
    uint64_t received_ns;   /* monotonic: body complete */
    uint64_t replied_ns;    /* monotonic: http_reply called; 0 before */
    bool admin;             /* came in on a listener for operators */
    int status;             /* of the reply; 499 when the client left before it; 0 before */
    enum problem_type problem; /* that it was answered with */
    size_t reply_bytes;
    void *user; /* the handler's */
};

struct http_handlers {
    /* Header read, body not: may reply at once (the body is then not kept). */
    void (*on_header)(void *context, struct http_exchange *exchange);
    /* Instead of on_header: the server itself answers with a problem. May add header fields. */
    void (*on_refused)(void *context, struct http_exchange *exchange);
    /* Body complete and within max_body_bytes. Must reply, now or later. */
    void (*on_request)(void *context, struct http_exchange *exchange);
    /* The client left after on_request and before http_reply: the answer is wanted by nobody. The
     * exchange stays until the handler calls http_reply (whose reply is then dropped). */
    void (*on_gone)(void *context, struct http_exchange *exchange);
    /* The exchange is over (written, or the client is gone): log, count, free `user`. */
    void (*on_completed)(void *context, struct http_exchange *exchange);
    void *context;
    /* The body of a problem's answer, malloc'ed, and its Content-Type; NULL: problem+json. */
    char *(*write_problem)(void *context, const struct http_exchange *exchange,
                           const struct problem *problem, const char **type, size_t *n);
};

struct http_options {
    const char *listen; /* "HOST:PORT", ":PORT", "[::1]:PORT", "unix:/path", "fd:3", see listen.h */
    size_t max_body_bytes;
    size_t max_upload_bytes;                          /* of all bodies at the same time */
    int max_connections, max_connections_per_address; /* the latter 0 = any */
    int header_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms;
    bool admin;                    /* exchanges are an operator's */
    bool tls;                      /* with the certificate of http_tls_load() */
    const struct proxies *proxies; /* whose word about the client is taken; outlives the server */
    int min_upload_bytes_per_s;    /* checked after the first five seconds of a body; 0 = off */
};

/* The certificate chain and its key (PEM) for all listeners with TLS, from the next handshake on.
 * On failure the one before goes on. RN_IO, RN_NO_MEMORY. */
enum rn_status http_tls_load(const char *certificate_path, const char *key_path,
                             struct rn_error *err) __attribute__((warn_unused_result));
/* After the last http_close(). */
void http_tls_done(void);

/* Binds and listens; the message names the address. RN_IO, RN_BAD_ARGUMENT. */
enum rn_status http_open(struct uv_loop_s *loop, const struct http_options *options,
                         const struct http_handlers *handlers, struct http **out,
                         struct rn_error *err) __attribute__((warn_unused_result));
/* "http://127.0.0.1:8080" with the real port, or "unix:/path". */
const char *http_address(const struct http *http);
/* Answers from now on carry Connection: close, so that clients take their next request elsewhere.
 */
void http_leave(struct http *http);
/* The same; serves who is connected already, then stops accepting, and closes idle connections
 * soon. Everything is said when http_connections() is 0. */
void http_drain(struct http *http);
/* Exchanges between on_header and on_completed. */
size_t http_in_flight(const struct http *http);
size_t http_connections(const struct http *http);
/* Ends every connection; replies not yet written are lost, and no handler may give one any more.
 * Loop handles are closed: run the loop once more before ending it. NULL is allowed. */
void http_close(struct http *http);

/* A request header's value, NULL without it; name in any case; valid until on_completed. */
const char *http_header(const struct http_exchange *exchange, const char *name);
/* Calls each(arg, key, value) for every query parameter in order; value "" where there is none. */
void http_queries(const struct http_exchange *exchange,
                  void (*each)(void *arg, const char *key, const char *value), void *arg);

/* Adds a header to the reply to come (copied). */
void http_reply_header(struct http_exchange *exchange, const char *name, const char *value);
/* Replies once: takes ownership of body (from malloc; NULL when empty). A second call is a bug. */
void http_reply(struct http_exchange *exchange, int status, const char *content_type, char *body,
                size_t n);
/* The same with the problem+json of problem.h, Retry-After and Allow as the status wants. */
void http_reply_problem(struct http_exchange *exchange, const struct problem *problem);

#endif
