/* libmicrohttpd inside the libuv loop: its epoll descriptor is polled, its timeout is a timer, and
 * its callbacks become calls of the handlers. Loop thread.
 *
 * After every MHD_run the timer is set anew from MHD_get_timeout, without which the library would
 * hang with data in its buffers; "0 ms" goes through an idle handle, since a timer of 0 ms that
 * re-arms itself keeps libuv 1.44 from polling. The library suspends connections and takes replies
 * only inside its access handler, so a reply given later resumes the connection and is queued when
 * the library comes back here.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/http_internal.h"
#include "server/log.h"

#define MAX_SWEEP_MS 1000
#define MIN_SWEEP_MS 10
#define DRAIN_SWEEP_MS 100
#define MAX_DRAIN_ACCEPTS 256 /* rounds of accepting what waits in the backlog */
#define SETTLE_MS 5           /* for handshakes that have begun */

/* ---- the library's callbacks ------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 0))) static void on_library_log(void *arg, const char *format,
                                                                 va_list args)
{
    char text[256];
    (void)arg;
    if (!log_enabled(LOG_DEBUG))
        return;
    if (vsnprintf(text, sizeof text, format, args) > 0)
        text[strcspn(text, "\n")] = '\0';
    log_event(LOG_DEBUG, "libmicrohttpd", "text=\"%s\"", text);
}

static void on_library_panic(void *arg, const char *file, unsigned line, const char *reason)
{
    (void)arg;
    log_event(LOG_ERROR, "libmicrohttpd gave up", "file=%s line=%u reason=\"%s\"", file, line,
              reason ? reason : "");
    abort();
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = http_conn_new(arg, mhd);
    } else if (*context) {
        struct http *http = arg;
        http->one_closed = true;
        http_conn_free(*context);
        *context = NULL;
    }
}

/* NULL when there was no memory for it. */
static struct http_conn *conn_of(struct MHD_Connection *mhd)
{
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The request line is there; what is returned is where the exchange will be kept. */
static void *on_target(void *arg, const char *target, struct MHD_Connection *mhd)
{
    struct http_conn *conn = conn_of(mhd);
    (void)arg;
    if (conn) {
        conn->target = target;
        conn->target_end = target ? target + strlen(target) : NULL;
        conn->bad_target = !http_guard_target(target);
        if (target && http_header_parameters(target) > HTTP_MAX_PARAMETERS) {
            struct problem problem;
            problem_set(&problem, PROBLEM_HEADER_TOO_LARGE, "the query has more than %d parameters",
                        HTTP_MAX_PARAMETERS);
            http_exchange_answer_raw(conn, &problem);
            http_conn_abort(conn);
            return NULL;
        }
        if (conn->state == HTTP_CONN_IDLE) {
            const uint64_t accepted_ns = conn->since_ns;
            http_conn_enter(conn, HTTP_CONN_HEADER);
            if (conn->fresh)
                conn->since_ns = accepted_ns;
        }
    }
    return NULL;
}

static enum MHD_Result on_header(struct http_exchange_full *exchange, const char *version)
{
    bool has_body;
    if (http_header_bytes(exchange->conn) > HTTP_MAX_HEADER) {
        struct problem problem; /* by hand: the library may have no room for an answer */
        problem_set(&problem, PROBLEM_HEADER_TOO_LARGE, "the header takes more than %u bytes",
                    HTTP_MAX_HEADER);
        http_exchange_answer_raw(exchange->conn, &problem);
        exchange->linger = true;
        return MHD_NO;
    }
    http_header_check(exchange, version, &has_body);
    http_conn_enter(exchange->conn, has_body ? HTTP_CONN_BODY : HTTP_CONN_WORKING);
    if (!exchange->replied || !has_body)
        return MHD_YES; /* the library comes back when the request is whole */
    exchange->close = exchange->linger = true;
    return http_exchange_queue(exchange);
}

/* In the middle of a body the library takes no reply, so a refusal is written by hand. */
static enum MHD_Result on_body(struct http_exchange_full *exchange, const char *bytes, size_t *n)
{
    const size_t limit = exchange->conn->http->options.max_body_bytes;
    struct problem problem;
    if (*n > limit - exchange->base.body_bytes) {
        problem_set(&problem, PROBLEM_BODY_TOO_LARGE, "the body has more than %zu bytes", limit);
        problem_number(&problem, "limit_bytes", (int64_t)limit);
    } else if (http_exchange_growth(exchange, *n) > http_uploads_left(exchange->conn->http)) {
        http_uploads_full(exchange->conn->http, &problem);
    } else if (http_exchange_append(exchange, bytes, *n)) {
        *n = 0;
        return MHD_YES;
    } else {
        problem_set(&problem, PROBLEM_INTERNAL, "out of memory for the body");
    }
    http_exchange_answer_raw(exchange->conn, &problem);
    exchange->linger = true;
    return MHD_NO;
}

static enum MHD_Result on_whole(struct http_exchange_full *exchange)
{
    const struct http_handlers *handlers = &exchange->conn->http->handlers;
    if (exchange->gone)
        return MHD_NO;
    if (!exchange->replied) {
        exchange->base.received_ns = uv_hrtime();
        http_conn_enter(exchange->conn, HTTP_CONN_WORKING);
        handlers->on_request(handlers->context, &exchange->base);
    }
    if (exchange->replied)
        return http_exchange_queue(exchange);
    http_conn_suspend(exchange->conn);
    return MHD_YES;
}

/* Called when the header is there, for every piece of the body, and when the request is whole; once
 * more after a resume. */
static enum MHD_Result on_access(void *arg, struct MHD_Connection *mhd, const char *path,
                                 const char *method, const char *version, const char *bytes,
                                 size_t *n_bytes, void **user)
{
    (void)arg;
    struct http_conn *conn = conn_of(mhd);
    if (!conn || conn->state == HTTP_CONN_ABORTED)
        return MHD_NO;
    if (!*user) {
        http_memory_found(conn, method);
        *user = http_exchange_new(conn, method, path);
        return *user ? on_header(*user, version) : MHD_NO;
    }
    if (*n_bytes > 0)
        return on_body(*user, bytes, n_bytes);
    return on_whole(*user);
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **user,
                         enum MHD_RequestTerminationCode code)
{
    struct http *http = arg;
    struct http_conn *conn = conn_of(mhd);
    struct http_exchange_full *exchange = *user;
    (void)code; /* "completed" is also said of vanished clients */
    if (exchange) {
        if (exchange->base.status == 0)
            exchange->base.status = 499;
        if (exchange->linger)
            http_conn_linger(conn);
        http->handlers.on_completed(http->handlers.context, &exchange->base);
        http_exchange_free(exchange);
        *user = NULL;
    }
    if (conn) {
        conn->fresh = false;
        http_conn_enter(conn, HTTP_CONN_IDLE);
    }
}

/* ---- the library in the loop ------------------------------------------------------------------
 */

static void run(struct http *http);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

static void on_watch(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    http_conn_look(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_again(uv_idle_t *idle)
{
    run(idle->data);
}

static void run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    http_conn_look(http);
    http->run_before_ns = http->run_ns;
    http->run_ns = uv_hrtime();
    (void)MHD_run(http->daemon);
    (void)uv_timer_stop(&http->timer);
    (void)uv_idle_stop(&http->again);
    const bool timed = MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES;
    /* Out of descriptors or connections the library stops listening, and where one is free again it
     * listens when it is run next, which nothing else may come to ask for. */
    if (http->one_closed || (timed && wait_ms == 0))
        (void)uv_idle_start(&http->again, on_again);
    else if (timed)
        (void)uv_timer_start(&http->timer, on_timer, wait_ms, 0);
    http->one_closed = false;
}

void http_wake(struct http *http)
{
    if (!uv_is_closing((uv_handle_t *)&http->again))
        (void)uv_idle_start(&http->again, on_again);
}

static int sweep_ms(const struct http_options *options)
{
    const int timeouts[] = {options->header_timeout_ms, options->body_timeout_ms,
                            options->idle_timeout_ms, options->write_timeout_ms};
    int ms = MAX_SWEEP_MS;
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++)
        if (timeouts[i] / 4 < ms)
            ms = timeouts[i] / 4;
    return ms > MIN_SWEEP_MS ? ms : MIN_SWEEP_MS;
}

static void add_handle(struct http *http, void *handle)
{
    http->handles[http->n_handles] = handle;
    http->handles[http->n_handles++]->data = http;
}

static void handle_closed(uv_handle_t *handle)
{
    struct http *http = handle->data;
    if (--http->n_handles == 0)
        free(http);
}

static bool start_handles(struct http *http)
{
    const int every_ms = sweep_ms(&http->options);
    const int library_fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    (void)uv_timer_init(http->loop, &http->timer);
    add_handle(http, &http->timer);
    (void)uv_idle_init(http->loop, &http->again);
    add_handle(http, &http->again);
    (void)uv_timer_init(http->loop, &http->sweep);
    add_handle(http, &http->sweep);
    if (uv_poll_init(http->loop, &http->poll, library_fd) != 0)
        return false;
    add_handle(http, &http->poll);
    if (uv_poll_init(http->loop, &http->watch, http->watch_fd) != 0)
        return false;
    add_handle(http, &http->watch);
    (void)uv_timer_start(&http->sweep, http_conn_on_sweep, (uint64_t)every_ms, (uint64_t)every_ms);
    return uv_poll_start(&http->poll, UV_READABLE, on_poll) == 0 &&
           uv_poll_start(&http->watch, UV_READABLE, on_watch) == 0;
}

static struct MHD_Daemon *start_library(struct http *http)
{
    struct MHD_OptionItem tls[HTTP_TLS_OPTIONS];
    http_tls_options(http->options.tls, tls);
    MHD_set_panic_func(on_library_panic, NULL);
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
            (http->options.tls ? MHD_USE_TLS : 0u),
        0, NULL, NULL, on_access, http, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, http->listener.fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)http->options.max_connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)http->options.max_connections_per_address, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_CONNECTION_MEMORY, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_URI_LOG_CALLBACK, on_target,
        http, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

/* ---- the public face --------------------------------------------------------------------------
 */

enum rn_status http_open(struct uv_loop_s *loop, const struct http_options *options,
                         const struct http_handlers *handlers, struct http **out,
                         struct rn_error *err)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the HTTP server");
    http->loop = loop;
    http->options = *options;
    http->options.listen = NULL; /* borrowed; listener.address is ours */
    http->handlers = *handlers;
    http->watch_fd = -1;
    http->listener.fd = -1;
    http->strings_in_place = strcmp(MHD_get_version(), "0.9.75") == 0;
    enum rn_status status =
        listen_open(options->listen, options->tls ? "https" : "http", &http->listener, err);
    if (status != RN_OK)
        goto fail;
    http->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (http->watch_fd >= 0)
        http->daemon = start_library(http);
    if (!http->daemon || !start_handles(http)) {
        status = rn_fail(err, RN_IO, "the HTTP server could not be started on %s", options->listen);
        goto fail;
    }
    *out = http;
    return RN_OK;
fail:
    http_close(http);
    return status;
}

const char *http_address(const struct http *http)
{
    return http->listener.address;
}

static void stop_listening(struct http *http)
{
    if (http->daemon && http->listener.fd >= 0)
        (void)MHD_quiesce_daemon(http->daemon);
    listen_close(&http->listener);
}

void http_leave(struct http *http)
{
    http->leaving = true;
}

void http_drain(struct http *http)
{
    struct pollfd backlog = {.fd = http->listener.fd, .events = POLLIN};
    if (http->draining)
        return;
    http->leaving = http->draining = true;
    if (!http->listener.passed)
        listen_shut(&http->listener);
    const int settle_ms = http->listener.passed ? 0 : SETTLE_MS;
    for (int i = 0; i < MAX_DRAIN_ACCEPTS && poll(&backlog, 1, settle_ms) == 1; i++)
        (void)MHD_run(http->daemon); /* whoever is connected already is served */
    stop_listening(http);
    (void)uv_timer_start(&http->sweep, http_conn_on_sweep, DRAIN_SWEEP_MS, DRAIN_SWEEP_MS);
    run(http);
}

size_t http_in_flight(const struct http *http)
{
    return http->n_exchanges;
}

size_t http_connections(const struct http *http)
{
    return http->n_conns;
}

void http_close(struct http *http)
{
    if (!http)
        return;
    const int n_handles = http->n_handles;
    for (int i = 0; i < n_handles; i++)
        uv_close(http->handles[i], handle_closed);
    stop_listening(http);
    for (struct http_conn *conn = http->conns; conn; conn = conn->next) {
        if (conn->suspended) { /* the library aborts the process over suspended ones */
            conn->exchange->gone = true;
            http_conn_resume(conn);
        }
    }
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    while (http->lingers)
        http_conn_linger_end(http->lingers);
    if (http->watch_fd >= 0)
        close(http->watch_fd);
    if (n_handles == 0)
        free(http);
}
