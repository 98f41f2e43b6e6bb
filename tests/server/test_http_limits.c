/* What the HTTP front refuses: broken requests, headers and bodies that are too large or take too
 * long.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support_http.h"

TestSuite(http_limits, .timeout = 120); /* a loop that does not end would be waited for */

Test(http_limits, refuses_what_breaks_http_and_closes)
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
    struct http_test *server = http_test_start(&http_usual);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char answer[HTTP_TEST_ANSWER_BYTES];
        const int fd = http_test_dial(server);
        http_test_say(fd, requests[i]);
        http_test_hear(fd, answer);
        /* a version that the library does not know it refuses itself, with 505 */
        cr_expect(http_test_status(answer) == 400 || strstr(requests[i], "HTTP/2.5"), "%s -> %s",
                  requests[i], answer);
        cr_expect(http_test_is_closed(fd), "%s", requests[i]);
        close(fd);
    }
    http_test_finish(server);
}

Test(http_limits, refuses_a_nul_anywhere_in_the_header)
{
    static const char request[] = "GET /echo HTTP/1.1\r\nHost: a\r\nX: yz\r\n\r\n";
    struct http_test *server = http_test_start(&http_usual);
    for (size_t i = 0; i < sizeof request - 1; i++) {
        char bytes[sizeof request], answer[HTTP_TEST_ANSWER_BYTES];
        const int fd = http_test_dial(server);
        memcpy(bytes, request, sizeof request);
        bytes[i] = '\0';
        cr_assert_eq(send(fd, bytes, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
        shutdown(fd, SHUT_WR);
        http_test_hear(fd, answer);
        /* with LF behind it it is an end of line like CR: nothing can be hidden there */
        cr_expect(answer[0] == '\0' || http_test_status(answer) >= 400 || request[i] == '\r',
                  "NUL at %zu -> %s", i, answer);
        close(fd);
    }
    http_test_finish(server);
}

Test(http_limits, takes_a_header_of_many_lines_that_comes_in_pieces)
{
    char line[1100], answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    for (int round = 0; round < 3; round++) {
        http_test_say(fd, "GET /echo?a=b&c=%20 HTTP/1.1\r\nHost: a\r\nEmpty:\r\n");
        for (int i = 0; i < 20; i++) {
            (void)snprintf(line, sizeof line, "X-%d: %01000d\r\n", i, i);
            http_test_say(fd, line);
        }
        http_test_say(fd, "Last: \t \r\n\r\n");
        cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 200, "%s", answer);
    }
    close(fd);
    http_test_finish(server);
}

Test(http_limits, answers_header_fields_up_to_what_leaves_room_for_an_answer)
{
    static char request[40000];
    struct http_test *server = http_test_start(&http_usual);
    for (int n = 25000; n<36000; n += n> 27500 && n < 33000 ? 50 : 500) {
        char answer[HTTP_TEST_ANSWER_BYTES];
        const int fd = http_test_dial(server);
        (void)snprintf(request, sizeof request, "GET /echo HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n",
                       n, 0);
        http_test_say(fd, request);
        const int status = http_test_status(http_test_hear(fd, answer));
        cr_expect_eq(status, n <= 28508 ? 200 : 431, "%d bytes: %s", n, answer);
        close(fd);
    }
    http_test_finish(server);
}

Test(http_limits, refuses_more_parameters_than_anybody_needs_at_once)
{
    char request[2100];
    struct http_test *server = http_test_start(&http_usual);
    for (int n = 99; n < 600; n += n < 103 ? 1 : 37) {
        char answer[HTTP_TEST_ANSWER_BYTES];
        const int fd = http_test_dial(server);
        char *at = stpcpy(request, "GET /echo?a=");
        for (int i = 1; i < n; i++)
            at = stpcpy(at, "&b=");
        (void)stpcpy(at, " HTTP/1.1\r\nHost: a\r\n\r\n");
        http_test_say(fd, request);
        http_test_hear(fd, answer);
        cr_expect_eq(http_test_status(answer), n <= 100 ? 200 : 431, "%d: %s", n, answer);
        cr_expect(n <= 100 || http_test_is_closed(fd));
        close(fd);
    }
    http_test_finish(server);
}

Test(http_limits, takes_blanks_behind_a_value_for_no_part_of_it)
{
    struct http_test *server = http_test_start(&http_usual);
    http_test_expect(server, "GET /echo HTTP/1.1\r\nHost: a \t\r\nX-Request-Id: abc \r\n\r\n", 200,
                     "X-Request-Id: abc\r\n");
    http_test_expect(
        server, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n",
        400, "chunked");
    http_test_finish(server);
}

Test(http_limits, refuses_a_declared_body_that_is_too_large_before_it_comes)
{
    struct http_test *server = http_test_start(&http_usual);
    http_test_expect(server, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n",
                     413, "\"limit_bytes\":100000");
    http_test_expect(server,
                     "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n"
                     "Expect: 100-continue\r\n\r\n",
                     413, "Connection: close");
    http_test_finish(server);
}

Test(http_limits, lets_an_early_answer_arrive_though_the_client_is_still_sending)
{
    char answer[HTTP_TEST_ANSWER_BYTES];
    static char noise[1 << 20];
    memset(noise, 'x', sizeof noise);
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n");
    for (int i = 0; i < 16; i++)
        cr_assert_eq(send(fd, noise, sizeof noise, MSG_NOSIGNAL), (ssize_t)sizeof noise);
    cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 413);
    close(fd);
    http_test_finish(server);
}

Test(http_limits, refuses_a_chunked_body_in_the_middle_once_it_is_too_large)
{
    char answer[HTTP_TEST_ANSWER_BYTES], chunk[16 + 65536];
    struct http_test *server = http_test_start(&http_usual);
    const int fd = http_test_dial(server);
    http_test_say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    int n = snprintf(chunk, sizeof chunk, "10000\r\n");
    memset(chunk + n, 'x', 65536);
    memcpy(chunk + n + 65536, "\r\n", 2);
    for (int i = 0; i < 2; i++)
        (void)send(fd, chunk, (size_t)n + 65538, MSG_NOSIGNAL);
    http_test_hear(fd, answer);
    cr_expect_eq(http_test_status(answer), 413, "%s", answer);
    cr_expect_not_null(strstr(answer, "body-too-large"));
    close(fd);
    sem_wait(&server->completed);
    cr_expect_eq(server->last_status, 413);
    http_test_finish(server);
}

Test(http_limits, takes_a_body_of_exactly_the_limit)
{
    char *request = malloc(100200);
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&http_usual);
    int n =
        snprintf(request, 200, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    memset(request + n, 'y', 100000);
    request[n + 100000] = '\0';
    const int fd = http_test_dial(server);
    http_test_say(fd, request);
    http_test_hear(fd, answer);
    cr_expect_eq(http_test_status(answer), 200);
    close(fd);
    free(request);
    http_test_finish(server);
}

Test(http_limits, answers_408_when_the_header_takes_too_long)
{
    struct http_options options = http_usual;
    options.header_timeout_ms = 100;
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&options);
    const int silent = http_test_dial(server), slow = http_test_dial(server);
    http_test_say(slow, "GET /echo HTTP/1.1\r\nHos");
    cr_expect_eq(http_test_status(http_test_hear(slow, answer)), 408, "%s", answer);
    cr_expect(http_test_is_closed(slow));
    cr_expect(http_test_is_closed(silent));
    close(slow);
    close(silent);
    http_test_finish(server);
}

Test(http_limits, limits_the_header_of_a_later_request_from_its_first_byte)
{
    struct http_options options = http_usual;
    options.header_timeout_ms = 100;
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&options);
    const int fd = http_test_dial(server);
    http_test_say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 200);
    for (int i = 0; i < 3; i++)
        http_test_say(fd, "G"); /* in pieces, each of which is enough */
    cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 408);
    close(fd);
    http_test_finish(server);
}

Test(http_limits, answers_408_when_the_body_takes_too_long)
{
    struct http_options options = http_usual;
    options.body_timeout_ms = 100;
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&options);
    const int fd = http_test_dial(server);
    http_test_say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    http_test_hear(fd, answer);
    cr_expect_eq(http_test_status(answer), 408, "%s", answer);
    cr_expect_not_null(strstr(answer, "upload-timeout"));
    cr_expect(http_test_is_closed(fd));
    sem_wait(&server->completed);
    cr_expect_eq(server->last_status, 408);
    close(fd);
    http_test_finish(server);
}

Test(http_limits, closes_a_kept_connection_that_stays_silent)
{
    struct http_options options = http_usual;
    options.idle_timeout_ms = 100;
    char answer[HTTP_TEST_ANSWER_BYTES];
    struct http_test *server = http_test_start(&options);
    const int fd = http_test_dial(server);
    http_test_say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(http_test_status(http_test_hear(fd, answer)), 200);
    cr_expect(http_test_is_closed(fd));
    close(fd);
    http_test_finish(server);
}
