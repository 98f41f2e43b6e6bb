/* One request and its one reply: body in, answer out. Loop thread.
 *
 * The reply waits here until the library's access handler runs again, the only place where it takes
 * one. In the middle of a header or body it takes none at all; what must be said then is written to
 * the socket by hand.
 *
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "server/http_internal.h"
#include "server/log.h"
#include "server/proxies.h"

#define FIRST_BODY_BYTES 65536 /* a declared length is believed up to here */
#define N_NOISE 16             /* random digits of an id */
#define TICK_NS 4000000u       /* of the kernel's clock, see waited_ns() */

static struct http_exchange_full *full(struct http_exchange *exchange)
{
    return (struct http_exchange_full *)exchange;
}

/* A ULID: 48 bits of milliseconds and 80 random ones in Crockford's base 32, so that ids sort by
 * time. See github.com/ulid/spec. */
static void make_id(struct http *http, char id[HTTP_ID_SIZE])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    if (http->n_noise < N_NOISE) { /* a system call for many ids */
        http->n_noise = sizeof http->noise;
        arc4random_buf(http->noise, http->n_noise);
    }
    const uint8_t *noise = http->noise + (http->n_noise -= N_NOISE);
    for (int i = 9; i >= 0; i--, ms >>= 5)
        id[i] = digits[ms & 31];
    for (int i = 0; i < N_NOISE; i++)
        id[10 + i] = digits[noise[i] & 31];
    id[26] = '\0';
}

/* The client's own id when it is one that can be echoed safely. */
static bool take_id(char id[HTTP_ID_SIZE], const char *given)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "._-";
    const size_t n = given ? http_guard_value(given, strlen(given)) : 0;
    if (n == 0 || n >= HTTP_ID_SIZE || strspn(given, allowed) != n)
        return false;
    memcpy(id, given, n);
    id[n] = '\0';
    return true;
}

static void name_peer(struct MHD_Connection *mhd, char *out, size_t n)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    const socklen_t n_address = address && address->sa_family == AF_INET6
                                    ? sizeof(struct sockaddr_in6)
                                    : sizeof(struct sockaddr_in);
    (void)snprintf(out, n, "unix");
    if (address && (address->sa_family == AF_INET || address->sa_family == AF_INET6))
        (void)getnameinfo(address, n_address, out, (socklen_t)n, NULL, 0, NI_NUMERICHOST);
}

/* All X-Forwarded-For headers in order, as one list; "" where they are too long to be honest. */
struct forwarded {
    char list[1024];
    size_t n;
};

static enum MHD_Result add_forwarded(void *arg, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct forwarded *forwarded = arg;
    (void)kind;
    if (!value || strcasecmp(name, "X-Forwarded-For") != 0)
        return MHD_YES;
    const int n = snprintf(forwarded->list + forwarded->n, sizeof forwarded->list - forwarded->n,
                           forwarded->n > 0 ? ",%s" : "%s", value);
    if (n < 0 || (size_t)n >= sizeof forwarded->list - forwarded->n) {
        forwarded->list[0] = '\0';
        return MHD_NO;
    }
    forwarded->n += (size_t)n;
    return MHD_YES;
}

/* The client that a proxy of ours speaks for. */
static void name_client(const struct http_conn *conn, char *peer, size_t n)
{
    const struct proxies *proxies = conn->http->options.proxies;
    struct forwarded forwarded = {0};
    if (!proxies || proxies->n == 0)
        return;
    (void)MHD_get_connection_values(conn->mhd, MHD_HEADER_KIND, add_forwarded, &forwarded);
    proxies_client(proxies, peer, forwarded.list, peer, n);
}

/* How long ago, by the kernel and to its tick, the last bytes came in: what a busy loop has let
 * them wait. What came before the library was run last was read then, except on a connection that
 * waited itself; so where that is no longer ago than a tick, there is nothing to ask. 0 where the
 * socket is no TCP one. */
static uint64_t waited_ns(const struct http_conn *conn, uint64_t now_ns)
{
    struct tcp_info info;
    socklen_t n = sizeof info;
    if ((!conn->fresh && now_ns - conn->http->run_before_ns < TICK_NS) ||
        getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
        return 0;
    return (uint64_t)info.tcpi_last_data_recv * 1000000;
}

struct http_exchange_full *http_exchange_new(struct http_conn *conn, const char *method,
                                             const char *path)
{
    struct http_exchange_full *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->conn = conn;
    exchange->base.method = method;
    exchange->base.path = path;
    exchange->base.declared_bytes = -1;
    exchange->base.admin = conn->http->options.admin;
    const uint64_t now_ns = uv_hrtime();
    exchange->base.arrived_ns = now_ns - waited_ns(conn, now_ns);
    if (conn->peer[0] == '\0')
        name_peer(conn->mhd, conn->peer, sizeof conn->peer);
    memcpy(exchange->base.peer, conn->peer, sizeof conn->peer);
    name_client(conn, exchange->base.peer, sizeof exchange->base.peer);
    if (!take_id(exchange->base.id,
                 MHD_lookup_connection_value(conn->mhd, MHD_HEADER_KIND, "X-Request-Id")))
        make_id(conn->http, exchange->base.id);
    conn->exchange = exchange;
    conn->http->n_exchanges++;
    return exchange;
}

void http_exchange_free(struct http_exchange_full *exchange)
{
    exchange->conn->exchange = NULL;
    exchange->conn->http->n_exchanges--;
    exchange->conn->http->n_upload_bytes -= exchange->body_room;
    for (int i = 0; i < exchange->n_headers; i++) {
        free(exchange->headers[i].name);
        free(exchange->headers[i].value);
    }
    free(exchange->reply);
    free(exchange->body);
    free(exchange);
}

size_t http_exchange_growth(const struct http_exchange_full *exchange, size_t n)
{
    const size_t free_room = exchange->body_room - exchange->base.body_bytes;
    return n > free_room ? n - free_room : 0;
}

bool http_exchange_append(struct http_exchange_full *exchange, const char *bytes, size_t n)
{
    const size_t used = exchange->base.body_bytes;
    const int64_t declared = exchange->base.declared_bytes;
    if (http_exchange_growth(exchange, n) > 0) {
        size_t room = exchange->body_room ? 2 * exchange->body_room : FIRST_BODY_BYTES;
        if (room < used + n)
            room = used + n;
        if (declared >= 0 && room > (size_t)declared && (size_t)declared >= used + n)
            room = (size_t)declared;
        if (room - exchange->body_room > http_uploads_left(exchange->conn->http))
            room = used + n;
        uint8_t *body = realloc(exchange->body, room);
        if (!body)
            return false;
        exchange->conn->http->n_upload_bytes += room - exchange->body_room;
        exchange->body = body;
        exchange->body_room = room;
    }
    memcpy(exchange->body + used, bytes, n);
    exchange->base.body = exchange->body;
    exchange->base.body_bytes = used + n;
    return true;
}

enum MHD_Result http_exchange_queue(struct http_exchange_full *exchange)
{
    struct http_conn *conn = exchange->conn;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(exchange->n_reply, exchange->reply, MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    exchange->reply = NULL;
    enum MHD_Result added = MHD_add_response_header(response, "X-Request-Id", exchange->base.id);
    if (exchange->content_type[0] != '\0' && added == MHD_YES)
        added = MHD_add_response_header(response, "Content-Type", exchange->content_type);
    if ((exchange->close || conn->http->leaving) && added == MHD_YES)
        added = MHD_add_response_header(response, "Connection", "close");
    for (int i = 0; i < exchange->n_headers && added == MHD_YES; i++)
        added = MHD_add_response_header(response, exchange->headers[i].name,
                                        exchange->headers[i].value);
    http_conn_enter(conn, HTTP_CONN_WRITING);
    const enum MHD_Result queued =
        added == MHD_YES ? MHD_queue_response(conn->mhd, (unsigned)exchange->base.status, response)
                         : MHD_NO;
    MHD_destroy_response(response);
    return queued;
}

static bool send_raw(const struct http_conn *conn, const char *bytes, size_t n)
{
    if (conn->http->options.tls)
        return http_tls_send(conn->mhd, bytes, n);
    return send(conn->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n;
}

/* malloc'ed; NULL when out of memory. exchange NULL: of a header that could not be read. */
static char *write_problem(const struct http *http, const struct http_exchange *exchange,
                           const struct problem *problem, const char *id, const char **type,
                           size_t *n)
{
    const struct http_handlers *handlers = &http->handlers;
    if (exchange && handlers->write_problem)
        return handlers->write_problem(handlers->context, exchange, problem, type, n);
    *type = "application/problem+json";
    return problem_json(problem, id, n);
}

void http_exchange_answer_raw(struct http_conn *conn, const struct problem *problem)
{
    const struct problem_row *row = problem_row(problem->type);
    struct http_exchange_full *exchange = conn->exchange;
    char id[HTTP_ID_SIZE], date[64], head[512];
    struct tm utc;
    size_t n_body = 0;
    if (exchange)
        memcpy(id, exchange->base.id, sizeof id);
    else
        make_id(conn->http, id);
    const char *type;
    char *body =
        write_problem(conn->http, exchange ? &exchange->base : NULL, problem, id, &type, &n_body);
    const time_t now = time(NULL);
    gmtime_r(&now, &utc);
    (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    const int n_head = snprintf(head, sizeof head,
                                "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\n"
                                "Content-Type: %s\r\n"
                                "Content-Length: %zu\r\nX-Request-Id: %s\r\n",
                                row->status, MHD_get_reason_phrase_for((unsigned)row->status), date,
                                type, body ? n_body : 0, id);
    bool sent = n_head > 0 && send_raw(conn, head, (size_t)n_head);
    for (int i = 0; exchange && sent && i < exchange->n_headers; i++) {
        const char *name = exchange->headers[i].name, *value = exchange->headers[i].value;
        sent = send_raw(conn, name, strlen(name)) && send_raw(conn, ": ", 2) &&
               send_raw(conn, value, strlen(value)) && send_raw(conn, "\r\n", 2);
    }
    sent = sent && send_raw(conn, "\r\n", 2);
    if (sent && body)
        (void)send_raw(conn, body, n_body);
    free(body);
    if (exchange) {
        exchange->base.status = row->status;
        exchange->base.reply_bytes = n_body;
        exchange->base.replied_ns = uv_hrtime();
    }
}

/* ---- for handlers -------------------------------------------------------------------------- */

const char *http_header(const struct http_exchange *exchange, const char *name)
{
    const struct http_exchange_full *self = (const struct http_exchange_full *)exchange;
    return MHD_lookup_connection_value(self->conn->mhd, MHD_HEADER_KIND, name);
}

struct visit {
    void (*each)(void *arg, const char *key, const char *value);
    void *arg;
};

static enum MHD_Result visit_query(void *arg, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    const struct visit *visit = arg;
    (void)kind;
    visit->each(visit->arg, key, value ? value : "");
    return MHD_YES;
}

void http_queries(const struct http_exchange *exchange,
                  void (*each)(void *arg, const char *key, const char *value), void *arg)
{
    const struct http_exchange_full *self = (const struct http_exchange_full *)exchange;
    struct visit visit = {each, arg};
    (void)MHD_get_connection_values(self->conn->mhd, MHD_GET_ARGUMENT_KIND, visit_query, &visit);
}

void http_reply_header(struct http_exchange *exchange, const char *name, const char *value)
{
    struct http_exchange_full *self = full(exchange);
    assert(self->n_headers < HTTP_MAX_REPLY_HEADERS);
    char *name_copy = strdup(name), *value_copy = strdup(value);
    if (!name_copy || !value_copy) { /* the answer goes out without it */
        free(name_copy);
        free(value_copy);
        return;
    }
    self->headers[self->n_headers].name = name_copy;
    self->headers[self->n_headers++].value = value_copy;
}

void http_reply(struct http_exchange *exchange, int status, const char *content_type, char *body,
                size_t n)
{
    struct http_exchange_full *self = full(exchange);
    assert(!self->replied);
    self->replied = true;
    self->reply = body;
    self->n_reply = body ? n : 0;
    (void)snprintf(self->content_type, sizeof self->content_type, "%s",
                   self->n_reply > 0 ? content_type : "");
    exchange->replied_ns = uv_hrtime();
    if (!self->gone) {
        exchange->status = status;
        exchange->reply_bytes = strcmp(exchange->method, "HEAD") == 0 ? 0 : self->n_reply;
    }
    if (self->conn->suspended)
        http_conn_resume(self->conn);
}

void http_reply_problem(struct http_exchange *exchange, const struct problem *problem)
{
    const struct problem_row *row = problem_row(problem->type);
    size_t n = 0;
    const char *type;
    exchange->problem = problem->type;
    char *body =
        write_problem(full(exchange)->conn->http, exchange, problem, exchange->id, &type, &n);
    if (!body)
        log_event(LOG_WARN, "out of memory, answering without a body", "id=%s status=%d",
                  exchange->id, row->status);
    if (problem->retry_after_ms > 0 || row->status == 503) {
        char seconds[16];
        const int ms = problem->retry_after_ms > 0 ? problem->retry_after_ms : 1000;
        (void)snprintf(seconds, sizeof seconds, "%d", ms / 1000 + (ms % 1000 != 0));
        http_reply_header(exchange, "Retry-After", seconds);
    }
    if (problem->type == PROBLEM_BAD_HTTP)
        full(exchange)->close = true;
    http_reply(exchange, row->status, type, body, n);
}
