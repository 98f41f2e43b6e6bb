/* The HTTP front over real sockets: answers and their headers, clients that leave, draining, and
 * where it listens. tests/support_http.h has the server.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support_http.h"

TestSuite(http, .timeout = 120); /* a loop that does not end would be waited for */

Test(http, answers_with_the_body_and_headers_of_the_handler)
{
    struct http_test *server = http_test_start(&http_usual);
    http_test_expect(server, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                     200, "X-Test: yes");
    http_test_expect(server,
                     "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                     200, "\r\n\r\nhello");
    http_test_expect(server, "GET /echo?a%20b=c HTTP/1.1\r\nHost: a\r\n\r\n", 200, "200");
    cr_expect_str_eq(server->last_query, "a b=c");
    http_test_finish(server);
}

Test(http, keeps_the_connection_and_answers_pipelined_requests_in_order)
{
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
                      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo");
    cr_expect_not_null(strstr(http_test_hear(fd, answer), "one"));
    cr_expect_not_null(strstr(http_test_hear(fd, answer), "two"));
    http_test_say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 200);
    close(fd);
    http_test_finish(server);
}

Test(http, answers_head_without_a_body)
{
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(fd, "HEAD /head HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    size_t n = 0;
    for (ssize_t got = 1; got > 0; n += (size_t)got)
        if ((got = recv(fd, answer + n, HTTP_TEST_ANSWER_BYTES - 1 - n, 0)) < 0)
            break;
    answer[n] = '\0';
    cr_expect_eq(http_test_status(answer), 404);
    cr_expect_not_null(strstr(answer, "Content-Length: 5\r\n"));
    cr_expect_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    close(fd);
    http_test_finish(server);
}

Test(http, echoes_a_good_request_id_and_makes_one_otherwise)
{
    struct http_test *server = http_test_start(&http_usual);
    http_test_expect(server, "GET /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: My-id_1.2\r\n\r\n",
                     200, "X-Request-Id: My-id_1.2\r\n");
    http_test_expect(server, "GET /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: no spaces\r\n\r\n",
                     200, "200");
    http_test_finish(server);
}

Test(http, makes_ids_that_sort_by_time)
{
    struct http_test *server = http_test_start(&http_usual);
    char first[HTTP_ID_SIZE];
    http_test_expect(server, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 200, "200");
    sem_wait(&server->completed);
    memcpy(first, server->last_id, sizeof first);
    http_test_expect(server, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 200, "200");
    sem_wait(&server->completed);
    cr_expect_eq(strlen(first), 26);
    cr_expect_leq(strncmp(first, server->last_id, 10), 0);
    cr_expect_str_neq(first, server->last_id);
    http_test_finish(server);
}

Test(http, asks_for_the_body_when_the_client_expects_it)
{
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(
        fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 100);
    http_test_say(fd, "ok");
    cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 200);
    close(fd);
    const int refused = http_test_dial(server);
    http_test_say(refused, "POST /head HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                           "Expect: 100-continue\r\n\r\n");
    cr_expect_eq(http_test_status(http_test_hear(refused, answer)), 404);
    close(refused);
    http_test_finish(server);
}

Test(http, tells_the_handler_when_the_client_leaves_while_it_waits)
{
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(fd, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    sem_wait(&server->waiting);
    close(fd);
    sem_wait(&server->gone);
    sem_wait(&server->completed);
    cr_expect_eq(server->last_status, 499);
    http_test_finish(server);
}

Test(http, counts_a_client_that_half_closes_while_it_waits_as_gone)
{
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    sem_wait(&server->waiting);
    shutdown(fd, SHUT_WR);
    sem_wait(&server->gone);
    cr_expect(http_test_is_closed(fd));
    close(fd);
    http_test_finish(server);
}

Test(http, ends_the_exchange_when_the_client_leaves_during_the_upload)
{
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    close(fd);
    sem_wait(&server->completed);
    cr_expect_eq(server->last_status, 499);
    http_test_finish(server);
}

Test(http, closes_with_requests_still_waiting)
{
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    sem_wait(&server->waiting);
    http_test_finish(server);
    close(fd);
}

Test(http, drains_by_answering_and_closing)
{
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&http_usual);
    const int busy = http_test_dial(server), idle = http_test_dial(server);
    http_test_say(
        busy,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    cr_expect_eq(http_test_status(http_test_hear(busy, answer)), 100);
    uv_async_send(&server->drain);
    cr_expect(http_test_is_closed(idle));
    http_test_say(busy, "ok");
    http_test_hear(busy, answer);
    cr_expect_eq(http_test_status(answer), 200);
    cr_expect_not_null(strcasestr(answer, "Connection: close"));
    cr_expect(http_test_is_closed(busy));
    const char *port = strrchr(http_address(server->http), ':') + 1;
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)atoi(port)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int late = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_neq(connect(late, (const struct sockaddr *)&address, sizeof address), 0);
    close(late);
    close(busy);
    close(idle);
    http_test_finish(server);
}

Test(http, serves_on_a_unix_socket_and_removes_it)
{
    char folder[] = "/tmp/resnetd-test-XXXXXX", listen[64], answer[HTTP_TEST_ANSWER_BYTES];
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(listen, sizeof listen, "unix:%s/s", folder);
    struct http_options options = http_usual;
    options.listen = listen;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/s", folder);
    /* a socket file that nobody listens on is no obstacle */
    const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(stale, (const struct sockaddr *)&address, sizeof address), 0);
    close(stale);
    struct http_test *server = http_test_start(&options);
    cr_expect_str_eq(http_address(server->http), listen);
    const int fd = http_test_limit(socket(AF_UNIX, SOCK_STREAM, 0));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    http_test_say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 200);
    close(fd);
    http_test_finish(server);
    struct stat found;
    cr_expect_neq(stat(address.sun_path, &found), 0);
    rmdir(folder);
}

Test(http, names_the_address_that_it_cannot_listen_on)
{
    static const char *const wrong[] = {"",      "8080", "host:", "a:b:1", ":99999",
                                        "unix:", "[]:1", "fd:",   "fd:x",  "fd:0"};
    struct http_test *server = http_test_start(&http_usual);
    struct http_options options = http_usual;
    const struct http_handlers none = {0}; /* nothing is ever accepted */
    struct http *http = NULL;
    struct rn_error err = {0};
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        options.listen = wrong[i];
        cr_expect_eq(http_open(&loop, &options, &none, &http, &err), RN_BAD_ARGUMENT, "%s",
                     wrong[i]);
    }
    options.listen = http_address(server->http) + strlen("http://");
    cr_expect_eq(http_open(&loop, &options, &none, &http, &err), RN_IO);
    cr_expect_not_null(strstr(err.text, options.listen), "%s", err.text);
    cr_expect_null(http);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    http_test_finish(server);
}
