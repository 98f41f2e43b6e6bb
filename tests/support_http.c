/* A server on its own thread and loop, and the client's side of a test.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_http.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char *copy(const uint8_t *bytes, size_t n)
{
    char *text = malloc(n + 1);
    if (n > 0)
        memcpy(text, bytes, n);
    return text;
}

static void on_header(void *context, struct http_exchange *exchange)
{
    (void)context;
    if (strcmp(exchange->path, "/head") == 0)
        http_reply(exchange, 404, "text/plain", strdup("early"), 5);
}

static void keep_query(void *arg, const char *key, const char *value)
{
    struct http_test *server = arg;
    (void)snprintf(server->last_query, sizeof server->last_query, "%s=%s", key, value);
}

static void on_request(void *context, struct http_exchange *exchange)
{
    struct http_test *server = context;
    http_queries(exchange, keep_query, server);
    if (strcmp(exchange->path, "/wait") == 0) {
        sem_post(&server->waiting);
        return;
    }
    http_reply_header(exchange, "X-Test", "yes");
    http_reply(exchange, 200, "text/plain", copy(exchange->body, exchange->body_bytes),
               exchange->body_bytes);
}

static void on_gone(void *context, struct http_exchange *exchange)
{
    struct http_test *server = context;
    sem_post(&server->gone);
    http_reply(exchange, 200, "text/plain", NULL, 0);
}

static void on_completed(void *context, struct http_exchange *exchange)
{
    struct http_test *server = context;
    server->last_status = exchange->status;
    memcpy(server->last_id, exchange->id, sizeof exchange->id);
    sem_post(&server->completed);
}

static void stop(uv_async_t *async)
{
    struct http_test *server = async->data;
    http_close(server->http);
    uv_close((uv_handle_t *)&server->stop, NULL);
    uv_close((uv_handle_t *)&server->drain, NULL);
}

static void drain(uv_async_t *async)
{
    struct http_test *server = async->data;
    http_drain(server->http);
}

static void *serve(void *arg)
{
    struct http_test *server = arg;
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    return NULL;
}

const struct http_options http_usual = {
    .listen = "127.0.0.1:0",
    .max_body_bytes = 100000,
    .max_upload_bytes = 1 << 30,
    .max_connections = 100,
    .header_timeout_ms = 20000,
    .body_timeout_ms = 20000,
    .idle_timeout_ms = 20000,
    .write_timeout_ms = 20000,
};

struct http_test *http_test_start(const struct http_options *options)
{
    struct http_test *server = calloc(1, sizeof *server);
    const struct http_handlers handlers = {.on_header = on_header,
                                           .on_request = on_request,
                                           .on_gone = on_gone,
                                           .on_completed = on_completed,
                                           .context = server};
    struct rn_error err = {0};
    sem_init(&server->waiting, 0, 0);
    sem_init(&server->gone, 0, 0);
    sem_init(&server->completed, 0, 0);
    uv_loop_init(&server->loop);
    uv_async_init(&server->loop, &server->stop, stop);
    uv_async_init(&server->loop, &server->drain, drain);
    server->stop.data = server->drain.data = server;
    cr_assert_eq(http_open(&server->loop, options, &handlers, &server->http, &err), RN_OK, "%s",
                 err.text);
    pthread_create(&server->thread, NULL, serve, server);
    return server;
}

void http_test_finish(struct http_test *server)
{
    uv_async_send(&server->stop);
    pthread_join(server->thread, NULL);
    cr_expect_eq(uv_loop_close(&server->loop), 0, "a loop handle was left open");
    free(server);
}

int http_test_limit(int fd)
{
    const struct timeval limit = {.tv_sec = 15};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

int http_test_dial(const struct http_test *server)
{
    const char *port = strrchr(http_address(server->http), ':') + 1;
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)atoi(port)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = http_test_limit(socket(AF_INET, SOCK_STREAM, 0));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void http_test_say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

const char *http_test_hear(int fd, char answer[HTTP_TEST_ANSWER_BYTES])
{
    size_t n = 0, n_whole = SIZE_MAX;
    while (n < n_whole && n < HTTP_TEST_ANSWER_BYTES - 1) {
        /* byte by byte in the header, so that a pipelined answer stays in the socket */
        const size_t room = HTTP_TEST_ANSWER_BYTES - 1 - n, left = n_whole - n;
        const size_t want = n_whole == SIZE_MAX ? 1 : left < room ? left : room;
        const ssize_t got = recv(fd, answer + n, want, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
        answer[n] = '\0';
        const char *end = n_whole == SIZE_MAX ? strstr(answer, "\r\n\r\n") : NULL;
        if (end && strncmp(answer, "HTTP/1.1 100", 12) == 0) {
            n_whole = n;
        } else if (end) {
            const char *length = strcasestr(answer, "\r\nContent-Length: ");
            n_whole = n + (length ? (size_t)atoi(length + 18) : 0);
        }
    }
    answer[n] = '\0';
    return answer;
}

bool http_test_is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

int http_test_status(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

void http_test_expect(struct http_test *server, const char *request, int status,
                      const char *contains)
{
    char answer[HTTP_TEST_ANSWER_BYTES];
    const int fd = http_test_dial(server);
    http_test_say(fd, request);
    http_test_hear(fd, answer);
    cr_expect_eq(http_test_status(answer), status, "%.60s -> %.200s", request, answer);
    cr_expect_not_null(strstr(answer, contains), "%.60s -> %s", request, answer);
    cr_expect_not_null(strcasestr(answer, "\r\nDate: "), "%s", answer);
    cr_expect_not_null(strcasestr(answer, "\r\nX-Request-Id: "), "%s", answer);
    if (strcasestr(answer, "Connection: close"))
        cr_expect(http_test_is_closed(fd));
    close(fd);
}
