/* Connections beside the library: whose time is up, who has left, who must be drained. Loop thread.
 *
 * The library's own timeout starts again with every byte, and a suspended connection is outside
 * its epoll: nobody would see the client leave. So every socket is also in an epoll of ours, which
 * tells whenever bytes come in, the first ones of a request among them, and, once a client is
 * waited for or has left, of that alone.
 * Events that come late are told by the connection's state and ignored. Deadlines are checked by a
 * sweep over all connections, which bounds their cost whatever their number.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http_internal.h"
#include "server/log.h"

#define MAX_LINGERS 256
#define LINGER_NS 10000000000u        /* in all */
#define LINGER_SILENCE_NS 2000000000u /* after the last byte */
#define UPLOAD_GRACE_NS 5000000000u   /* before the upload's rate is looked at */
#define DRAIN_IDLE_NS 500000000u      /* for a next request to come in while draining */
#define DRAIN_HEADER_NS 2000000000u   /* for its header to end */
#define IDLE_RELEASE_NS 1000000000u   /* of silence before its memory is looked through */
#define MAX_RELEASES 1000             /* connections in one sweep: some milliseconds */
#define DROP_BYTES 65536              /* read at once from a lingering socket */
#define MAX_EVENTS 64
#define STREAM_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

static void watch(struct http *http, int operation, int fd, uint32_t events, void *entry)
{
    struct epoll_event event = {.events = events, .data.ptr = entry};
    if (epoll_ctl(http->watch_fd, operation, fd, &event) != 0)
        log_event(LOG_WARN, "cannot watch a connection, its client's leaving may go unseen",
                  "errno=%d", errno);
}

/* One event; another one each time that this is called, if the client is gone. */
static void watch_leaving(struct http_conn *conn)
{
    conn->streams = false;
    watch(conn->http, EPOLL_CTL_MOD, conn->fd, EPOLLRDHUP | EPOLLONESHOT, conn);
}

struct http_conn *http_conn_new(struct http *http, struct MHD_Connection *mhd)
{
    struct http_conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    conn->watched = HTTP_WATCHED_CONN;
    conn->http = http;
    conn->mhd = mhd;
    conn->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    conn->fresh = true;
    conn->next = http->conns;
    if (conn->next)
        conn->next->prev = conn;
    http->conns = conn;
    http->n_conns++;
    conn->since_ns = uv_hrtime();
    conn->streams = true;
    watch(http, EPOLL_CTL_ADD, conn->fd, STREAM_EVENTS, conn);
    return conn;
}

void http_conn_free(struct http_conn *conn)
{
    struct http *http = conn->http;
    (void)epoll_ctl(http->watch_fd, EPOLL_CTL_DEL, conn->fd, NULL);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        http->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    http->n_conns--;
    free(conn);
}

void http_conn_enter(struct http_conn *conn, enum http_conn_state state)
{
    if (conn->state == HTTP_CONN_ABORTED)
        return;
    conn->state = state;
    conn->since_ns = uv_hrtime();
    conn->released = false;
    if (state == HTTP_CONN_IDLE && !conn->streams) {
        conn->streams = true;
        watch(conn->http, EPOLL_CTL_MOD, conn->fd, STREAM_EVENTS, conn);
    }
}

void http_conn_suspend(struct http_conn *conn)
{
    conn->suspended = true;
    MHD_suspend_connection(conn->mhd);
    watch_leaving(conn);
}

void http_conn_resume(struct http_conn *conn)
{
    conn->suspended = false;
    MHD_resume_connection(conn->mhd);
    http_wake(conn->http); /* the library does not wake a foreign loop for it */
}

/* ---- lingering ------------------------------------------------------------------------------- */

void http_conn_linger(struct http_conn *conn)
{
    struct http *http = conn->http;
    if (http->n_lingers >= MAX_LINGERS)
        return;
    struct http_linger *linger = calloc(1, sizeof *linger);
    if (!linger)
        return;
    linger->fd = fcntl(conn->fd, F_DUPFD_CLOEXEC, 0);
    if (linger->fd < 0) {
        free(linger);
        return;
    }
    linger->watched = HTTP_WATCHED_LINGER;
    linger->http = http;
    linger->since_ns = linger->read_ns = uv_hrtime();
    linger->next = http->lingers;
    if (linger->next)
        linger->next->prev = linger;
    http->lingers = linger;
    http->n_lingers++;
    watch(http, EPOLL_CTL_ADD, linger->fd, EPOLLIN, linger);
}

void http_conn_linger_end(struct http_linger *linger)
{
    struct http *http = linger->http;
    if (linger->prev)
        linger->prev->next = linger->next;
    else
        http->lingers = linger->next;
    if (linger->next)
        linger->next->prev = linger->prev;
    http->n_lingers--;
    (void)epoll_ctl(http->watch_fd, EPOLL_CTL_DEL, linger->fd, NULL);
    close(linger->fd);
    free(linger);
}

static void drop_bytes(struct http_linger *linger)
{
    uint8_t bytes[DROP_BYTES];
    const ssize_t n = recv(linger->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        linger->read_ns = uv_hrtime();
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        http_conn_linger_end(linger);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void client_left(struct http_conn *conn)
{
    struct http_exchange_full *exchange = conn->exchange;
    const struct http_handlers *handlers = &conn->http->handlers;
    exchange->gone = true;
    exchange->base.status = 499;
    if (handlers->on_gone)
        handlers->on_gone(handlers->context, &exchange->base);
}

/* The library polls edge-triggered and stops reading after a short read, so when the end comes
 * together with the last bytes, it misses it. Shutting down our reading side, which loses no byte
 * that has arrived, makes it look again; as often as needed, since the watch is armed anew. */
static void on_event(const struct epoll_event *event)
{
    if (*(enum http_watched *)event->data.ptr == HTTP_WATCHED_LINGER) {
        drop_bytes(event->data.ptr);
        return;
    }
    struct http_conn *conn = event->data.ptr;
    const bool left = (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (conn->suspended && left && !conn->exchange->gone) {
        client_left(conn);
    } else if (conn->state == HTTP_CONN_IDLE) {
        conn->state = HTTP_CONN_HEADER;
        if (conn->fresh)
            http_memory_peek(conn);
        else /* a fresh one has been on the clock since it was accepted */
            conn->since_ns = uv_hrtime();
        if (left)
            watch_leaving(conn);
    } else if (conn->state == HTTP_CONN_HEADER || conn->state == HTTP_CONN_BODY) {
        if (left) {
            (void)shutdown(conn->fd, SHUT_RD);
            watch_leaving(conn);
        }
    } else { /* too early; to be told again when the next request is waited for */
        conn->streams = false;
    }
}

void http_conn_look(struct http *http)
{
    struct epoll_event ready[MAX_EVENTS];
    /* Handling an event frees no other event's entry: connections end in the library's callbacks,
     * which do not run here, and every lingering socket has one event. */
    const int n = epoll_wait(http->watch_fd, ready, MAX_EVENTS, 0);
    for (int i = 0; i < n; i++)
        on_event(&ready[i]);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

void http_conn_abort(struct http_conn *conn)
{
    conn->state = HTTP_CONN_ABORTED;
    (void)shutdown(conn->fd, SHUT_RDWR);
}

static void refuse_slow(struct http_conn *conn, const char *detail)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_UPLOAD_TIMEOUT, "%s", detail);
    http_exchange_answer_raw(conn, &problem);
    http_conn_abort(conn);
}

static bool is_too_slow(const struct http_conn *conn, uint64_t age_ns)
{
    const double rate = conn->http->options.min_upload_bytes_per_s;
    return age_ns > UPLOAD_GRACE_NS &&
           (double)conn->exchange->base.body_bytes < rate * ((double)age_ns / 1e9);
}

static void check_deadline(struct http_conn *conn, uint64_t now_ns)
{
    const struct http_options *options = &conn->http->options;
    const bool draining = conn->http->draining;
    const uint64_t ms = 1000000, age_ns = now_ns > conn->since_ns ? now_ns - conn->since_ns : 0;
    uint64_t limit_ns;
    switch (conn->state) {
    case HTTP_CONN_IDLE:
        limit_ns =
            ms * (uint64_t)(conn->fresh ? options->header_timeout_ms : options->idle_timeout_ms);
        if (age_ns > limit_ns || (draining && age_ns > DRAIN_IDLE_NS))
            http_conn_abort(conn);
        break;
    case HTTP_CONN_HEADER:
        limit_ns = ms * (uint64_t)options->header_timeout_ms;
        if (age_ns > limit_ns || (draining && age_ns > DRAIN_HEADER_NS))
            refuse_slow(conn, "the header did not arrive in time");
        break;
    case HTTP_CONN_BODY:
        if (age_ns > ms * (uint64_t)options->body_timeout_ms)
            refuse_slow(conn, "the body did not arrive in time");
        else if (is_too_slow(conn, age_ns))
            refuse_slow(conn, "the body came too slowly");
        break;
    case HTTP_CONN_WRITING:
        if (age_ns > ms * (uint64_t)options->write_timeout_ms)
            http_conn_abort(conn);
        break;
    case HTTP_CONN_WORKING:
    case HTTP_CONN_ABORTED:
        break;
    }
}

void http_conn_on_sweep(uv_timer_t *timer)
{
    struct http *http = timer->data;
    const uint64_t now_ns = uv_hrtime();
    int n_released = 0;
    for (struct http_conn *conn = http->conns; conn; conn = conn->next) {
        check_deadline(conn, now_ns);
        if (conn->state == HTTP_CONN_IDLE && now_ns > conn->since_ns + IDLE_RELEASE_NS &&
            n_released < MAX_RELEASES)
            n_released += http_memory_release(conn);
    }
    struct http_linger *next;
    for (struct http_linger *linger = http->lingers; linger; linger = next) {
        next = linger->next;
        if (now_ns > linger->since_ns + LINGER_NS || now_ns > linger->read_ns + LINGER_SILENCE_NS)
            http_conn_linger_end(linger);
    }
}
