/* `resnetd health` and `resnetd top` against a server that answers what the test wants it to.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/support_server.h"

#define ANSWER(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body

static int listener, port;

static void start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(listener, 4), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &(socklen_t){sizeof address}),
                 0);
    port = ntohs(address.sin_port);
}

static void stop(void)
{
    (void)close(listener);
}

TestSuite(e2e_client, .init = start, .fini = stop, .timeout = 60);

/* The next question gets this answer; nothing is sent of an empty one. */
static void answer(const char *path, const char *text, size_t n)
{
    char question[1024], expected[64];
    const int fd = accept(listener, NULL, NULL);
    cr_assert_geq(fd, 0);
    const ssize_t got = recv(fd, question, sizeof question - 1, 0);
    cr_assert_gt(got, 0);
    question[got] = '\0';
    (void)snprintf(expected, sizeof expected, "GET %s HTTP/1.1\r\n", path);
    cr_assert_eq(strncmp(question, expected, strlen(expected)), 0, "%s", question);
    while (n > 0) {
        const ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent <= 0)
            break; /* it has had enough */
        text += sent;
        n -= (size_t)sent;
    }
    (void)close(fd);
}

static void begin(struct program *program, const char *words)
{
    char args[256];
    (void)snprintf(args, sizeof args, "%s --listen 127.0.0.1:%d", words, port);
    program_start(program, args, NULL, NULL);
}

static void expect_end(struct program *program, int status, const char *part)
{
    cr_assert_eq(program_wait(program), status, "%s", program->stderr_text);
    cr_assert(strstr(program->stderr_text, part), "\"%s\" does not say \"%s\"",
              program->stderr_text, part);
    program_done(program);
}

Test(e2e_client, health_takes_only_200_for_an_answer)
{
    static const struct {
        const char *text, *part;
        int status;
    } cases[] = {
        {ANSWER("200 OK", "{}"), "", 0},
        {ANSWER("503 Service Unavailable", "{}"), "/readyz answers 503", 1},
        {"", "no answer", 1},
        {"HTTP/1.1 200 OK\r\n", "no answer", 1},
        {"SSH-2.0-x\r\n\r\n", "no answer", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct program health;
        begin(&health, "health");
        answer("/readyz", cases[i].text, strlen(cases[i].text));
        expect_end(&health, cases[i].status, cases[i].part);
    }
}

Test(e2e_client, an_answer_without_end_is_given_up)
{
    static const char head[] = ANSWER("200 OK", "");
    const size_t n = 5 << 20;
    struct program health;
    char *text = malloc(n);
    cr_assert_not_null(text);
    memset(text, ' ', n);
    memcpy(text, head, sizeof head - 1);
    begin(&health, "health");
    answer("/readyz", text, n);
    expect_end(&health, 1, "no answer");
    free(text);
}

Test(e2e_client, addresses_that_are_none_are_usage_errors)
{
    static const struct {
        const char *args, *part;
        int status;
    } cases[] = {
        {"health --listen localhost", "is not HOST:PORT", 2},
        {"health --listen localhost:", "is not HOST:PORT", 2},
        {"health now", "takes no \"now\"", 2},
        {"top --listen unix:/nonexistent", "No such file", 1},
        {"top --listen "
         "unix:/tmp/0123456789012345678901234567890123456789012345678901234567890123456"
         "78901234567890123456789012345678901234567890123456789",
         "too long", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct program program;
        program_start(&program, cases[i].args, NULL, NULL);
        expect_end(&program, cases[i].status, cases[i].part);
    }
}

/* The wildcard addresses that a server may listen on stand for this machine. */
Test(e2e_client, everywhere_is_here)
{
    static const char *const hosts[] = {"", "*", "0.0.0.0", "[127.0.0.1]"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct program health;
        char args[64];
        (void)snprintf(args, sizeof args, "health --listen %s:%d", hosts[i], port);
        program_start(&health, args, NULL, NULL);
        answer("/readyz", ANSWER("200 OK", ""), strlen(ANSWER("200 OK", "")));
        expect_end(&health, 0, "");
    }
}

Test(e2e_client, of_a_server_with_https_only_the_operators_address_is_asked)
{
    struct program health;
    char env[128];
    (void)snprintf(env, sizeof env,
                   "RESNETD_TLS_CERTIFICATE=/x RESNETD_TLS_KEY=/x RESNETD_ADMIN_LISTEN=:%d", port);
    program_start(&health, "health", env, NULL);
    answer("/readyz", ANSWER("200 OK", ""), strlen(ANSWER("200 OK", "")));
    expect_end(&health, 0, "");
    program_start(&health, "health", "RESNETD_TLS_CERTIFICATE=/x RESNETD_TLS_KEY=/x", NULL);
    expect_end(&health, 1, "speaks HTTPS only; set admin_listen");
}

#define BUCKET "resnetd_http_request_duration_seconds_bucket{path=\"/classify\",code=\"200\",le="
#define COUNT "resnetd_http_request_duration_seconds_count{path=\"/classify\",code="
#define COST "resnetd_engine_batch_duration_predicted_seconds{model=\"m\",batch_size="

/* A hundred answers between the readings: 60 within 10 ms, 35 more within 50, 5 above all edges. */
Test(e2e_client, top_finds_quantiles_of_what_was_between_its_readings)
{
    static const char before[] = ANSWER("200 OK", "resnetd_ready 1\n"                       /**/
                                        BUCKET "\"0.01\"} 1000\n" BUCKET "\"0.05\"} 1000\n" /**/
                                        BUCKET "\"+Inf\"} 1000\n" COUNT "\"200\"} 1000\n");
    static const char after[] =
        ANSWER("200 OK", "resnetd_ready 1\nprocess_resident_memory_bytes 18e6\n"             /**/
                         "resnetd_queue_images 3\nresnetd_queue_limit_images 256\n"          /**/
               BUCKET "\"0.01\"} 1060\n" BUCKET "\"0.05\"} 1095\n" BUCKET "\"+Inf\"} 1100\n" /**/
               COUNT "\"200\"} 1100\n" COUNT "\"503\"} 900\n"                                /**/
               COST "\"1\"} 0.005\n" COST "\"8\"} 0.0345");
    struct program top;
    begin(&top, "top --once --interval 0.1");
    answer("/metrics", before, sizeof before - 1);
    answer("/metrics", after, sizeof after - 1);
    cr_assert_eq(program_wait(&top), 0, "%s", top.stderr_text);
    cr_assert(strstr(top.stdout_text, "  ready  18 MB resident"), "%s", top.stdout_text);
    cr_assert(strstr(top.stdout_text, " 3 of 256 images"), "%s", top.stdout_text);
    cr_assert(strstr(top.stdout_text, "  p50 <= 10  p90 <= 50  p99 > 50\n"), "%s", top.stdout_text);
    cr_assert(strstr(top.stdout_text, "  1: 5.0  8: 34.5\n"), "%s", top.stdout_text);
    program_done(&top);
}

Test(e2e_client, top_without_answers_has_no_quantiles)
{
    static const char same[] =
        ANSWER("200 OK", BUCKET "\"+Inf\"} 1000\n" COUNT "\"200\"} 1000\nresnetd_ready 0\n");
    struct program top;
    begin(&top, "top --once --interval 0.1");
    answer("/metrics", same, sizeof same - 1);
    answer("/metrics", same, sizeof same - 1);
    cr_assert_eq(program_wait(&top), 0, "%s", top.stderr_text);
    cr_assert(strstr(top.stdout_text, "NOT READY"), "%s", top.stdout_text);
    cr_assert(strstr(top.stdout_text, "  p50 -  p90 -  p99 -\n"), "%s", top.stdout_text);
    program_done(&top);
}

Test(e2e_client, top_ends_when_the_server_does)
{
    static const char first[] = ANSWER("200 OK", "resnetd_ready 1\n");
    static const char last[] = ANSWER("503 Service Unavailable", "");
    struct program top;
    begin(&top, "top --once --interval 0.1");
    answer("/metrics", first, sizeof first - 1);
    answer("/metrics", last, sizeof last - 1);
    expect_end(&top, 1, "/metrics answers 503");
}
