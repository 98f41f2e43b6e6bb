/* The HTTP front over real sockets: a server on its own thread and loop, raw bytes from the test.
 *
 * Paths of the test's handlers: /echo answers with the body, /head answers at header time, /wait
 * never answers before the client has left. Nothing sleeps: the client side blocks in recv, with a
 * limit that only a failing test reaches.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define ANSWER_BYTES 131072

struct server {
    uv_loop_t loop;
    uv_async_t stop, drain;
    struct http *http;
    pthread_t thread;
    sem_t waiting, gone, completed;
    int last_status;
    char last_id[HTTP_ID_SIZE];
    char last_query[64];
};

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
    struct server *server = arg;
    (void)snprintf(server->last_query, sizeof server->last_query, "%s=%s", key, value);
}

static void on_request(void *context, struct http_exchange *exchange)
{
    struct server *server = context;
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
    struct server *server = context;
    sem_post(&server->gone);
    http_reply(exchange, 200, "text/plain", NULL, 0);
}

static void on_completed(void *context, struct http_exchange *exchange)
{
    struct server *server = context;
    server->last_status = exchange->status;
    memcpy(server->last_id, exchange->id, sizeof exchange->id);
    sem_post(&server->completed);
}

static void stop(uv_async_t *async)
{
    struct server *server = async->data;
    http_close(server->http);
    uv_close((uv_handle_t *)&server->stop, NULL);
    uv_close((uv_handle_t *)&server->drain, NULL);
}

static void drain(uv_async_t *async)
{
    struct server *server = async->data;
    http_drain(server->http);
}

static void *serve(void *arg)
{
    struct server *server = arg;
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    return NULL;
}

TestSuite(http, .timeout = 120); /* a loop that does not end would be waited for */

static const struct http_options usual = {
    .listen = "127.0.0.1:0",
    .max_body_bytes = 100000,
    .max_upload_bytes = 1 << 30,
    .max_connections = 100,
    .header_timeout_ms = 20000,
    .body_timeout_ms = 20000,
    .idle_timeout_ms = 20000,
    .write_timeout_ms = 20000,
};

static struct server *start(const struct http_options *options)
{
    struct server *server = calloc(1, sizeof *server);
    const struct http_handlers handlers = {on_header,    on_request, on_gone,
                                           on_completed, server,     NULL};
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

static void finish(struct server *server)
{
    uv_async_send(&server->stop);
    pthread_join(server->thread, NULL);
    cr_expect_eq(uv_loop_close(&server->loop), 0, "a loop handle was left open");
    free(server);
}

static int set_limit(int fd)
{
    const struct timeval limit = {.tv_sec = 15};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static int dial(const struct server *server)
{
    const char *port = strrchr(http_address(server->http), ':') + 1;
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)atoi(port)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = set_limit(socket(AF_INET, SOCK_STREAM, 0));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* One answer: up to the end of its body by Content-Length. */
static const char *hear(int fd, char *answer)
{
    size_t n = 0, n_whole = SIZE_MAX;
    while (n < n_whole && n < ANSWER_BYTES - 1) {
        /* byte by byte in the header, so that a pipelined answer stays in the socket */
        const size_t room = ANSWER_BYTES - 1 - n, left = n_whole - n;
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

static bool is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

static int status_of(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

/* Sends on a connection of its own; the answer must have this status and end the connection when it
 * says so. */
static void expect_answer(struct server *server, const char *request, int status,
                          const char *contains)
{
    char answer[ANSWER_BYTES];
    const int fd = dial(server);
    say(fd, request);
    hear(fd, answer);
    cr_expect_eq(status_of(answer), status, "%.60s -> %.200s", request, answer);
    cr_expect_not_null(strstr(answer, contains), "%.60s -> %s", request, answer);
    cr_expect_not_null(strcasestr(answer, "\r\nDate: "), "%s", answer);
    cr_expect_not_null(strcasestr(answer, "\r\nX-Request-Id: "), "%s", answer);
    if (strcasestr(answer, "Connection: close"))
        cr_expect(is_closed(fd));
    close(fd);
}

Test(http, answers_with_the_body_and_headers_of_the_handler)
{
    struct server *server = start(&usual);
    expect_answer(server, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 200,
                  "X-Test: yes");
    expect_answer(server,
                  "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                  200, "\r\n\r\nhello");
    expect_answer(server, "GET /echo?a%20b=c HTTP/1.1\r\nHost: a\r\n\r\n", 200, "200");
    cr_expect_str_eq(server->last_query, "a b=c");
    finish(server);
}

Test(http, keeps_the_connection_and_answers_pipelined_requests_in_order)
{
    char answer[ANSWER_BYTES];
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo");
    cr_expect_not_null(strstr(hear(fd, answer), "one"));
    cr_expect_not_null(strstr(hear(fd, answer), "two"));
    say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(status_of(hear(fd, answer)), 200);
    close(fd);
    finish(server);
}

Test(http, answers_head_without_a_body)
{
    char answer[ANSWER_BYTES];
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "HEAD /head HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    size_t n = 0;
    for (ssize_t got = 1; got > 0; n += (size_t)got)
        if ((got = recv(fd, answer + n, ANSWER_BYTES - 1 - n, 0)) < 0)
            break;
    answer[n] = '\0';
    cr_expect_eq(status_of(answer), 404);
    cr_expect_not_null(strstr(answer, "Content-Length: 5\r\n"));
    cr_expect_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    close(fd);
    finish(server);
}

Test(http, echoes_a_good_request_id_and_makes_one_otherwise)
{
    struct server *server = start(&usual);
    expect_answer(server, "GET /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: My-id_1.2\r\n\r\n", 200,
                  "X-Request-Id: My-id_1.2\r\n");
    expect_answer(server, "GET /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: no spaces\r\n\r\n", 200,
                  "200");
    finish(server);
}

Test(http, makes_ids_that_sort_by_time)
{
    struct server *server = start(&usual);
    char first[HTTP_ID_SIZE];
    expect_answer(server, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 200, "200");
    sem_wait(&server->completed);
    memcpy(first, server->last_id, sizeof first);
    expect_answer(server, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 200, "200");
    sem_wait(&server->completed);
    cr_expect_eq(strlen(first), 26);
    cr_expect_leq(strncmp(first, server->last_id, 10), 0);
    cr_expect_str_neq(first, server->last_id);
    finish(server);
}

Test(http, refuses_what_breaks_http_and_closes)
{
    static const char *const requests[] = {
        "GET /echo HTTP/1.1\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET /echo HTTP/2.5\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS *?a HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nBad name: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n",
        "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\nX: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    struct server *server = start(&usual);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char answer[ANSWER_BYTES];
        const int fd = dial(server);
        say(fd, requests[i]);
        hear(fd, answer);
        /* a version that the library does not know it refuses itself, with 505 */
        cr_expect(status_of(answer) == 400 || strstr(requests[i], "HTTP/2.5"), "%s -> %s",
                  requests[i], answer);
        cr_expect(is_closed(fd), "%s", requests[i]);
        close(fd);
    }
    finish(server);
}

Test(http, refuses_a_nul_anywhere_in_the_header)
{
    static const char request[] = "GET /echo HTTP/1.1\r\nHost: a\r\nX: yz\r\n\r\n";
    struct server *server = start(&usual);
    for (size_t i = 0; i < sizeof request - 1; i++) {
        char bytes[sizeof request], answer[ANSWER_BYTES];
        const int fd = dial(server);
        memcpy(bytes, request, sizeof request);
        bytes[i] = '\0';
        cr_assert_eq(send(fd, bytes, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
        shutdown(fd, SHUT_WR);
        hear(fd, answer);
        /* with LF behind it it is an end of line like CR: nothing can be hidden there */
        cr_expect(answer[0] == '\0' || status_of(answer) >= 400 || request[i] == '\r',
                  "NUL at %zu -> %s", i, answer);
        close(fd);
    }
    finish(server);
}

Test(http, takes_a_header_of_many_lines_that_comes_in_pieces)
{
    char line[1100], answer[ANSWER_BYTES];
    struct server *server = start(&usual);
    const int fd = dial(server);
    for (int round = 0; round < 3; round++) {
        say(fd, "GET /echo?a=b&c=%20 HTTP/1.1\r\nHost: a\r\nEmpty:\r\n");
        for (int i = 0; i < 20; i++) {
            (void)snprintf(line, sizeof line, "X-%d: %01000d\r\n", i, i);
            say(fd, line);
        }
        say(fd, "Last: \t \r\n\r\n");
        cr_expect_eq(status_of(hear(fd, answer)), 200, "%s", answer);
    }
    close(fd);
    finish(server);
}

Test(http, refuses_a_declared_body_that_is_too_large_before_it_comes)
{
    struct server *server = start(&usual);
    expect_answer(server, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n", 413,
                  "\"limit_bytes\":100000");
    expect_answer(server,
                  "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n"
                  "Expect: 100-continue\r\n\r\n",
                  413, "Connection: close");
    finish(server);
}

Test(http, lets_an_early_answer_arrive_though_the_client_is_still_sending)
{
    char answer[ANSWER_BYTES];
    static char noise[1 << 20];
    memset(noise, 'x', sizeof noise);
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n");
    for (int i = 0; i < 16; i++)
        cr_assert_eq(send(fd, noise, sizeof noise, MSG_NOSIGNAL), (ssize_t)sizeof noise);
    cr_expect_eq(status_of(hear(fd, answer)), 413);
    close(fd);
    finish(server);
}

Test(http, refuses_a_chunked_body_in_the_middle_once_it_is_too_large)
{
    char answer[ANSWER_BYTES], chunk[16 + 65536];
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    int n = snprintf(chunk, sizeof chunk, "10000\r\n");
    memset(chunk + n, 'x', 65536);
    memcpy(chunk + n + 65536, "\r\n", 2);
    for (int i = 0; i < 2; i++)
        (void)send(fd, chunk, (size_t)n + 65538, MSG_NOSIGNAL);
    hear(fd, answer);
    cr_expect_eq(status_of(answer), 413, "%s", answer);
    cr_expect_not_null(strstr(answer, "body-too-large"));
    close(fd);
    sem_wait(&server->completed);
    cr_expect_eq(server->last_status, 413);
    finish(server);
}

Test(http, takes_a_body_of_exactly_the_limit)
{
    char *request = malloc(100200);
    char answer[ANSWER_BYTES];
    struct server *server = start(&usual);
    int n =
        snprintf(request, 200, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    memset(request + n, 'y', 100000);
    request[n + 100000] = '\0';
    const int fd = dial(server);
    say(fd, request);
    hear(fd, answer);
    cr_expect_eq(status_of(answer), 200);
    close(fd);
    free(request);
    finish(server);
}

Test(http, asks_for_the_body_when_the_client_expects_it)
{
    char answer[ANSWER_BYTES];
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    cr_expect_eq(status_of(hear(fd, answer)), 100);
    say(fd, "ok");
    cr_expect_eq(status_of(hear(fd, answer)), 200);
    close(fd);
    const int refused = dial(server);
    say(refused, "POST /head HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                 "Expect: 100-continue\r\n\r\n");
    cr_expect_eq(status_of(hear(refused, answer)), 404);
    close(refused);
    finish(server);
}

Test(http, tells_the_handler_when_the_client_leaves_while_it_waits)
{
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    sem_wait(&server->waiting);
    close(fd);
    sem_wait(&server->gone);
    sem_wait(&server->completed);
    cr_expect_eq(server->last_status, 499);
    finish(server);
}

Test(http, counts_a_client_that_half_closes_while_it_waits_as_gone)
{
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    sem_wait(&server->waiting);
    shutdown(fd, SHUT_WR);
    sem_wait(&server->gone);
    cr_expect(is_closed(fd));
    close(fd);
    finish(server);
}

Test(http, ends_the_exchange_when_the_client_leaves_during_the_upload)
{
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    close(fd);
    sem_wait(&server->completed);
    cr_expect_eq(server->last_status, 499);
    finish(server);
}

Test(http, closes_with_requests_still_waiting)
{
    struct server *server = start(&usual);
    const int fd = dial(server);
    say(fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    sem_wait(&server->waiting);
    finish(server);
    close(fd);
}

Test(http, answers_408_when_the_header_takes_too_long)
{
    struct http_options options = usual;
    options.header_timeout_ms = 100;
    char answer[ANSWER_BYTES];
    struct server *server = start(&options);
    const int silent = dial(server), slow = dial(server);
    say(slow, "GET /echo HTTP/1.1\r\nHos");
    cr_expect_eq(status_of(hear(slow, answer)), 408, "%s", answer);
    cr_expect(is_closed(slow));
    cr_expect(is_closed(silent));
    close(slow);
    close(silent);
    finish(server);
}

Test(http, limits_the_header_of_a_later_request_from_its_first_byte)
{
    struct http_options options = usual;
    options.header_timeout_ms = 100;
    char answer[ANSWER_BYTES];
    struct server *server = start(&options);
    const int fd = dial(server);
    say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(status_of(hear(fd, answer)), 200);
    for (int i = 0; i < 3; i++)
        say(fd, "G"); /* in pieces, each of which is enough */
    cr_expect_eq(status_of(hear(fd, answer)), 408);
    close(fd);
    finish(server);
}

Test(http, answers_408_when_the_body_takes_too_long)
{
    struct http_options options = usual;
    options.body_timeout_ms = 100;
    char answer[ANSWER_BYTES];
    struct server *server = start(&options);
    const int fd = dial(server);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    hear(fd, answer);
    cr_expect_eq(status_of(answer), 408, "%s", answer);
    cr_expect_not_null(strstr(answer, "upload-timeout"));
    cr_expect(is_closed(fd));
    sem_wait(&server->completed);
    cr_expect_eq(server->last_status, 408);
    close(fd);
    finish(server);
}

Test(http, closes_a_kept_connection_that_stays_silent)
{
    struct http_options options = usual;
    options.idle_timeout_ms = 100;
    char answer[ANSWER_BYTES];
    struct server *server = start(&options);
    const int fd = dial(server);
    say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(status_of(hear(fd, answer)), 200);
    cr_expect(is_closed(fd));
    close(fd);
    finish(server);
}

Test(http, drains_by_answering_and_closing)
{
    char answer[ANSWER_BYTES];
    struct server *server = start(&usual);
    const int busy = dial(server), idle = dial(server);
    say(busy,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    cr_expect_eq(status_of(hear(busy, answer)), 100);
    uv_async_send(&server->drain);
    cr_expect(is_closed(idle));
    say(busy, "ok");
    hear(busy, answer);
    cr_expect_eq(status_of(answer), 200);
    cr_expect_not_null(strcasestr(answer, "Connection: close"));
    cr_expect(is_closed(busy));
    const char *port = strrchr(http_address(server->http), ':') + 1;
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)atoi(port)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int late = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_neq(connect(late, (const struct sockaddr *)&address, sizeof address), 0);
    close(late);
    close(busy);
    close(idle);
    finish(server);
}

Test(http, serves_on_a_unix_socket_and_removes_it)
{
    char folder[] = "/tmp/resnetd-test-XXXXXX", listen[64], answer[ANSWER_BYTES];
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(listen, sizeof listen, "unix:%s/s", folder);
    struct http_options options = usual;
    options.listen = listen;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/s", folder);
    /* a socket file that nobody listens on is no obstacle */
    const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(stale, (const struct sockaddr *)&address, sizeof address), 0);
    close(stale);
    struct server *server = start(&options);
    cr_expect_str_eq(http_address(server->http), listen);
    const int fd = set_limit(socket(AF_UNIX, SOCK_STREAM, 0));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(status_of(hear(fd, answer)), 200);
    close(fd);
    finish(server);
    struct stat found;
    cr_expect_neq(stat(address.sun_path, &found), 0);
    rmdir(folder);
}

Test(http, names_the_address_that_it_cannot_listen_on)
{
    static const char *const wrong[] = {"",      "8080", "host:", "a:b:1", ":99999",
                                        "unix:", "[]:1", "fd:",   "fd:x",  "fd:0"};
    struct server *server = start(&usual);
    struct http_options options = usual;
    const struct http_handlers handlers = {NULL, on_request, NULL, on_completed, NULL, NULL};
    struct http *http = NULL;
    struct rn_error err = {0};
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        options.listen = wrong[i];
        cr_expect_eq(http_open(&loop, &options, &handlers, &http, &err), RN_BAD_ARGUMENT, "%s",
                     wrong[i]);
    }
    options.listen = http_address(server->http) + strlen("http://");
    cr_expect_eq(http_open(&loop, &options, &handlers, &http, &err), RN_IO);
    cr_expect_not_null(strstr(err.text, options.listen), "%s", err.text);
    cr_expect_null(http);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    finish(server);
}
