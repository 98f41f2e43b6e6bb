/* From start to end of a server: health, metrics, models, CORS, clients that leave, signals,
 * settings.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/support_server.h"

TestSuite(e2e_life, .timeout = 300);

#define POLLS 600 /* of 100 ms, for what comes soon */

static bool is_metric_line(const char *line, size_t n)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:";
    char text[1024], *end;
    cr_assert_lt(n, sizeof text);
    memcpy(text, line, n);
    text[n] = '\0';
    char *at = text + strspn(text, name);
    if (*at == '{') {
        do { /* key="value" with escapes */
            at += 1 + strspn(at + 1, name);
            if (*at++ != '=' || *at++ != '"')
                return false;
            for (; *at && *at != '"'; at++)
                if (*at == '\\' && !strchr("\\\"n", *++at))
                    return false;
            if (*at++ != '"')
                return false;
        } while (*at == ',');
        if (*at++ != '}')
            return false;
    }
    if (at == text || *at++ != ' ')
        return false;
    (void)strtod(at, &end);
    return end != at && *end == '\0';
}

Test(e2e_life, health_metrics_models_and_the_index_answer)
{
    static const char *const ready[] = {"/readyz", "/healthz", "/ping"};
    static const char *const series[] = {
        "resnetd_queue_images",
        "resnetd_in_flight_requests",
        "resnetd_queue_limit_images",
        "resnetd_predicted_wait_seconds",
        "resnetd_engine_busy_seconds_total",
        "resnetd_decode_busy_seconds_total",
        "resnetd_ready",
        "resnetd_saturation_ratio",
        "resnetd_memory_ceiling_bytes",
        "resnetd_batch_size_count",
        "resnetd_stage_duration_seconds_count{stage=\"inference\"}",
        "resnetd_http_requests_total{path=\"/classify\",method=\"POST\",code=\"200\"}",
        "resnetd_images_total{outcome=\"ok\",reason=\"\"}",
        "resnetd_decode_duration_predicted_seconds{format=\"jpeg\",reduction=\"1\",megapixels="
        "\"1\"}",
        "resnetd_engine_batch_duration_predicted_seconds{model=\"cifar10-resnet20\",batch_size="
        "\"1\"}",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_start_time_seconds",
    };
    struct server server;
    struct reply reply;
    server_start(&server, "");
    ask_get(&server, "/livez", &reply);
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    for (size_t i = 0; i < sizeof ready / sizeof *ready; i++) {
        ask_get(&server, ready[i], &reply);
        cr_assert_eq(reply.status, 200);
        cr_assert(json_is_true(json_object_get(reply.json, "ready")));
        cr_assert(json_is_number(json_object_get(reply.json, "predicted_wait_ms")));
        reply_done(&reply);
    }
    ask_file(&server, "/classify", PHOTO, &reply);
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    for (size_t i = 0; i < sizeof series / sizeof *series; i++)
        cr_expect_geq(server_metric(&server, series[i]), 0, "%s is missing", series[i]);
    ask_get(&server, "/metrics", &reply);
    for (const char *line = reply.body; *line; line += strcspn(line, "\n") + 1)
        cr_assert(*line == '#' || is_metric_line(line, strcspn(line, "\n")), "%.*s",
                  (int)strcspn(line, "\n"), line);
    cr_assert(strstr(reply.body, "\nresnetd_model_info{name=\"cifar10-resnet20\",version="));
    cr_assert(strstr(reply.body, "\nresnetd_build_info{version="));
    reply_done(&reply);

    ask_get(&server, "/models", &reply);
    const json_t *model = json_array_get(json_object_get(reply.json, "models"), 0);
    cr_assert_eq(json_integer_value(json_object_get(model, "classes")), 10);
    cr_assert_eq(json_integer_value(json_object_get(model, "parameters")), 269722);
    cr_assert_eq(json_array_size(json_object_get(model, "input")), 3);
    cr_assert_gt(json_string_length(json_object_get(model, "accuracy")), 0);
    cr_assert_gt(json_string_length(json_object_get(model, "source")), 0);
    reply_done(&reply);
    ask(&server, &(struct ask){.method = "GET", .path = "/"}, &reply);
    cr_assert_eq(reply.status, 200);
    cr_assert_str_eq(json_string_value(json_object_get(reply.json, "name")), "resnetd");
    reply_done(&reply);
    server_stop(&server);
}

/* The whole of an attribute's value after `name="` in a page, into out. */
static void attribute(const char *from, char *out, size_t size)
{
    const size_t n = strcspn(from, "\"");
    cr_assert_lt(n, size);
    memcpy(out, from, n);
    out[n] = '\0';
}

Test(e2e_life, browsers_get_the_page_and_everything_that_it_names)
{
    struct server server;
    struct reply reply, part, again;
    server_start(&server, "");
    ask(&server,
        &(struct ask){.method = "GET",
                      .path = "/",
                      .headers = {"Accept: text/html,application/xhtml+xml,*/*;q=0.8"}},
        &reply);
    cr_assert_eq(reply.status, 200);
    cr_assert_str_eq(reply_header(&reply, "Content-Type"), "text/html; charset=utf-8");
    const char *policy = reply_header(&reply, "Content-Security-Policy");
    cr_assert(strstr(policy, "default-src 'none'") && !strstr(policy, "unsafe"));
    int n_parts = 0;
    for (const char *at = reply.body; (at = strstr(at, "=\"web/")); at++, n_parts++) {
        char path[64] = "/", match[64];
        attribute(at + 2, path + 1, sizeof path - 1);
        ask_get(&server, path, &part);
        cr_assert_eq(part.status, 200, "%s", path);
        cr_assert_gt(part.n, 0);
        (void)snprintf(match, sizeof match, "If-None-Match: %s", reply_header(&part, "ETag"));
        ask(&server, &(struct ask){.method = "GET", .path = path, .headers = {match}}, &again);
        cr_assert_eq(again.status, 304, "%s", path);
        cr_assert_eq(again.n, 0);
        reply_done(&again);
        reply_done(&part);
    }
    cr_assert_geq(n_parts, 3);
    reply_done(&reply);
    ask_get(&server, "/web/nothing.js", &reply);
    reply_is_problem(&reply, 404, "not-found");
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_life, pages_of_other_origins_may_call_when_the_setting_says_so)
{
    for (int on = 0; on < 2; on++) {
        struct server server;
        struct reply reply;
        server_start(&server, on ? "--cors-origin https://example.org" : "");
        const struct ask preflight = {.method = "OPTIONS",
                                      .path = "/classify",
                                      .headers = {"Origin: https://example.org",
                                                  "Access-Control-Request-Method: POST",
                                                  "Access-Control-Request-Headers: content-type"}};
        ask(&server, &preflight, &reply);
        cr_assert_eq(reply.status, 204);
        const char *origin = reply_header(&reply, "Access-Control-Allow-Origin");
        cr_assert(on ? origin && strcmp(origin, "https://example.org") == 0 : !origin);
        if (on) {
            cr_assert(strstr(reply_header(&reply, "Access-Control-Allow-Methods"), "POST"));
            cr_assert(strstr(reply_header(&reply, "Access-Control-Allow-Headers"), "Content-Type"));
        }
        reply_done(&reply);
        ask(&server, &(struct ask){.path = "/classify", .body = "no image", .n = 8}, &reply);
        cr_assert_eq(reply.status, 415);
        origin = reply_header(&reply, "Access-Control-Allow-Origin");
        cr_assert(on ? origin && strcmp(origin, "https://example.org") == 0 : !origin);
        reply_done(&reply);
        server_stop(&server);
    }
}

/* ---- clients that leave ---------------------------------------------------------------------- */

static int connect_to(const struct server *server)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)server->port),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

Test(e2e_life, clients_that_leave_take_nobody_along)
{
    struct server server;
    struct reply reply;
    size_t n;
    char *bytes = read_file(PHOTO, &n), header[256];
    server_start(&server, "");
    (void)snprintf(header, sizeof header,
                   "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", n);
    for (int i = 0; i < 60; i++) {
        /* In the header, in the body, after the body. */
        const int fd = connect_to(&server);
        const size_t n_header = i % 3 == 0 ? 20 : strlen(header);
        const size_t n_body = i % 3 == 0 ? 0 : i % 3 == 1 ? n / 2 : n;
        (void)send(fd, header, n_header, MSG_NOSIGNAL);
        (void)send(fd, bytes, n_body, MSG_NOSIGNAL);
        if (i % 2) { /* by a reset */
            const struct linger linger = {1, 0};
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        }
        (void)close(fd);
    }
    ask_file(&server, "/classify", PHOTO, &reply);
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    int polls = 0;
    while (polls++ < POLLS && (server_metric(&server, "resnetd_in_flight_requests") != 0 ||
                               server_metric(&server, "resnetd_queue_images") != 0))
        (void)usleep(100000);
    cr_assert_lt(polls, POLLS, "something is still in flight");
    free(bytes);
    server_stop(&server);
}

/* ---- signals --------------------------------------------------------------------------------- */

Test(e2e_life, both_signals_end_an_idle_server_and_its_kept_connections)
{
    static const int signals[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        struct server server;
        char answer[1024];
        server_start(&server, "");
        const int fd = connect_to(&server);
        cr_assert_gt(send(fd, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 33, 0), 0);
        cr_assert_gt(recv(fd, answer, sizeof answer, 0), 0);
        cr_assert_eq(kill(server.program.pid, signals[i]), 0);
        cr_assert_eq(recv(fd, answer, sizeof answer, 0), 0, "the connection is closed");
        (void)close(fd);
        cr_assert_eq(program_wait(&server.program), 0, "%s", server.program.stderr_text);
        program_done(&server.program);
    }
}

Test(e2e_life, a_draining_server_says_so_and_goes_on_for_its_delay)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--drain-delay-ms 60000");
    cr_assert_eq(kill(server.program.pid, SIGTERM), 0);
    int polls = 0;
    for (long status = 200; status != 503 && polls < POLLS; polls++) {
        ask_get(&server, "/readyz", &reply);
        status = reply.status;
        reply_done(&reply);
    }
    cr_assert_lt(polls, POLLS);
    ask_file(&server, "/classify", PHOTO, &reply);
    cr_assert_eq(reply.status, 200, "who has not noticed yet is served");
    reply_done(&reply);
    cr_assert_eq(kill(server.program.pid, SIGTERM), 0); /* the second one does not wait */
    cr_assert_eq(program_wait(&server.program), 1);
    program_done(&server.program);
}

/* The reload is still going on when the time to drain is over: it is asked for first, and takes
 * longer than two system calls. */
Test(e2e_life, a_model_that_is_still_being_loaded_does_not_spoil_the_end)
{
    struct server server;
    server_start(&server, "--drain-timeout-ms 0");
    cr_assert_eq(kill(server.program.pid, SIGHUP), 0);
    cr_assert_eq(kill(server.program.pid, SIGTERM), 0);
    cr_assert_eq(program_wait(&server.program), 0, "%s", server.program.stderr_text);
    cr_assert_not_null(strstr(server.program.stderr_text, "loading=yes"));
    program_done(&server.program);
}

/* ---- settings -------------------------------------------------------------------------------- */

Test(e2e_life, two_servers_cannot_have_one_port)
{
    struct server server;
    struct program second;
    char args[128];
    server_start(&server, "");
    (void)snprintf(args, sizeof args, "serve --listen 127.0.0.1:%d", server.port);
    cr_assert_eq(program_run(&second, args), 1);
    (void)snprintf(args, sizeof args, "cannot listen on 127.0.0.1:%d", server.port);
    cr_assert(strstr(second.stderr_text, args), "%s", second.stderr_text);
    program_done(&second);
    server_stop(&server);
}

Test(e2e_life, wrong_settings_are_named_and_check_says_before_it_matters)
{
    static const struct {
        const char *args;
        int status;
        const char *says;
    } runs[] = {
        {"serve --check", 0, ""},
        {"serve --check --max-batch 257", 2, "--max-batch"},
        {"serve --check --admin-listen garbage", 1, "garbage"},
        {"serve --check --agent-listen 127.0.0.1:99999", 1, "99999"},
        {"serve --check --agent-listen unix:", 1, "path"},
        {"serve --max-bacth 4", 2, "did you mean --max-batch?"},
        {"serve --check --model README.md", 3, "README.md"},
        {"serve --check --model nothing-here", 3, "nothing-here"},
        {"serve --listen 127.0.0.1:0 --model README.md", 3, "README.md"},
        {"serve --check --cpu mmx", 3, "mmx"},
        {"srve", 2, "did you mean serve?"},
        {"", 2, "usage"},
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct program program;
        const int status = program_run(&program, runs[i].args);
        cr_expect_eq(status, runs[i].status, "%s: %d, %s", runs[i].args, status,
                     program.stderr_text);
        cr_expect(strstr(program.stderr_text, runs[i].says), "%s: %s", runs[i].args,
                  program.stderr_text);
        program_done(&program);
    }
}

Test(e2e_life, the_environment_sets_and_unknown_names_in_it_only_warn)
{
    struct program program;
    program_start(&program, "serve --check", "RESNETD_PORT=tcp://10.0.0.1:80 RESNETD_TOP_K=3",
                  NULL);
    cr_expect_eq(program_wait(&program), 0, "%s", program.stderr_text);
    cr_expect(strstr(program.stderr_text, "RESNETD_PORT"), "%s", program.stderr_text);
    program_done(&program);
    program_start(&program, "serve --check", "RESNETD_TOP_K=many", NULL);
    cr_expect_eq(program_wait(&program), 2);
    cr_expect(strstr(program.stderr_text, "RESNETD_TOP_K"), "%s", program.stderr_text);
    program_done(&program);
}

Test(e2e_life, health_knows_ready_from_not_and_a_local_socket_serves)
{
    struct server server;
    struct program program;
    char args[256], path[64];
    server_start(&server, "");
    (void)snprintf(args, sizeof args, "health --listen 127.0.0.1:%d", server.port);
    cr_assert_eq(program_run(&program, args), 0, "%s", program.stderr_text);
    program_done(&program);
    server_stop(&server);
    cr_assert_eq(program_run(&program, args), 1, "nobody is there any more");
    program_done(&program);

    (void)snprintf(path, sizeof path, "unix:/tmp/resnetd-test-%d", (int)getpid());
    (void)snprintf(args, sizeof args, "serve --listen %s", path);
    program_start(&program, args, NULL, NULL);
    (void)snprintf(args, sizeof args, "health --listen %s", path);
    int status = 1;
    for (int i = 0; i < POLLS && status != 0; i++) {
        struct program health;
        status = program_run(&health, args);
        program_done(&health);
        if (status != 0)
            (void)usleep(100000);
    }
    cr_assert_eq(status, 0);
    cr_assert_eq(kill(program.pid, SIGTERM), 0);
    cr_assert_eq(program_wait(&program), 0, "%s", program.stderr_text);
    program_done(&program);
    cr_assert_neq(access(path + strlen("unix:"), F_OK), 0, "the socket's file is removed");
}

Test(e2e_life, operators_see_the_last_requests_and_why_they_were_refused)
{
    struct server server;
    struct reply reply;
    server_start(&server, "");
    ask_file(&server, "/classify", "tests/golden/images/baseline-420.jpg", &reply);
    reply_done(&reply);
    ask(&server, &(struct ask){.path = "/classify", .body = "no image", .n = 8}, &reply);
    reply_done(&reply);
    ask_get(&server, "/debug/requests", &reply);
    const json_t *requests = json_object_get(reply.json, "requests");
    cr_assert_eq(json_array_size(requests), 2, "%s", reply.body);
    const json_t *bad = json_array_get(requests, 0), *good = json_array_get(requests, 1);
    cr_assert_str_eq(json_string_value(json_object_get(bad, "problem")), "unsupported-format");
    cr_assert_str_eq(json_string_value(json_object_get(good, "problem")), "");
    const json_t *ms = json_object_get(good, "ms");
    cr_assert_gt(json_real_value(json_object_get(ms, "inference")), 0);
    cr_assert_geq(json_real_value(json_object_get(ms, "total")),
                  json_real_value(json_object_get(ms, "inference")));
    reply_done(&reply);
    const struct ask elsewhere = {.path = "/debug/requests", .headers = {"Origin: http://x.org"}};
    ask(&server, &elsewhere, &reply);
    reply_is_problem(&reply, 403, "forbidden");
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_life, the_access_log_can_be_json)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--access-log=- --access-log-format json");
    const struct ask strange = {.path = "/nothing", .headers = {"traceparent: 00-\"\\-00-01"}};
    ask(&server, &strange, &reply);
    reply_done(&reply);
    ask_file(&server, "/classify", PHOTO, &reply);
    reply_done(&reply);
    (void)kill(server.program.pid, SIGTERM);
    cr_assert_eq(program_wait(&server.program), 0);
    const char *line = strstr(server.program.stderr_text, "{\"time\"");
    cr_assert_not_null(line, "%s", server.program.stderr_text);
    json_t *json = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
    cr_assert_eq(json_integer_value(json_object_get(json, "status")), 404);
    cr_assert_str_eq(json_string_value(json_object_get(json, "traceparent")), "00-\"\\-00-01");
    cr_assert_null(json_object_get(json, "stages_ms"), "it is no classification");
    json_decref(json);
    line = strstr(line + 1, "{\"time\"");
    cr_assert_not_null(line, "%s", server.program.stderr_text);
    json = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *stages = json_object_get(json, "stages_ms");
    cr_assert_eq(json_object_size(stages), 5, "%s", line);
    cr_assert_gt(json_real_value(json_object_get(stages, "inference")), 0);
    json_decref(json);
    program_done(&server.program);
}

/* A connection on which an upload of 700,000 bytes is announced and so many are sent. */
static int begin_upload(const struct server *server, const char *bytes, size_t n)
{
    static const char head[] =
        "PUT /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 700000\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(send(fd, head, strlen(head), MSG_NOSIGNAL), (ssize_t)strlen(head));
    cr_assert_eq(send(fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
    return fd;
}

/* Announces an upload without sending it, and waits a little for a refusal. */
static bool would_be_refused(const struct server *server, char *answer, size_t size)
{
    const int fd = begin_upload(server, "", 0);
    const struct timeval wait = {.tv_usec = 50000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    const ssize_t n = recv(fd, answer, size - 1, 0);
    answer[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    return n > 0;
}

Test(e2e_life, uploads_share_a_limit)
{
    enum { N = 350000 };
    struct server server;
    char answer[2048], *bytes = calloc(1, N);
    server_start(&server, "--max-upload-bytes 1M");
    const int fd = begin_upload(&server, bytes, N);
    bool refused = false;
    for (int i = 0; i < POLLS && !refused; i++)
        refused = would_be_refused(&server, answer, sizeof answer);
    cr_assert(refused && strstr(answer, " 503 ") && strstr(answer, "/problems/uploads-full"), "%s",
              answer);
    (void)close(fd);
    for (int i = 0; i < POLLS && refused; i++)
        refused = would_be_refused(&server, answer, sizeof answer);
    cr_assert_not(refused, "there is room again: %s", answer);
    server_stop(&server);
    free(bytes);
}

Test(e2e_life, top_shows_a_screen)
{
    struct server server;
    struct program top;
    char args[128];
    server_start(&server, "");
    (void)snprintf(args, sizeof args, "top --once --interval 0.1 --listen 127.0.0.1:%d",
                   server.port);
    cr_assert_eq(program_run(&top, args), 0, "%s", top.stderr_text);
    cr_assert(strstr(top.stdout_text, " ready ") && strstr(top.stdout_text, "images/s"), "%s",
              top.stdout_text);
    program_done(&top);
    server_stop(&server);
    cr_assert_eq(program_run(&top, args), 1, "nobody is there");
    program_done(&top);
}

/* The library stops listening at its limit and listens again only when it is run once more. */
Test(e2e_life, serves_again_after_as_many_connections_as_it_may_have)
{
    struct server server;
    struct reply reply;
    int sockets[4];
    server_start(&server, "--max-connections 3");
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 4; i++)
            sockets[i] = connect_to(&server);
        for (int i = 0; i < 4; i++)
            (void)close(sockets[i]);
        ask_get(&server, "/livez", &reply);
        cr_assert_eq(reply.status, 200);
        reply_done(&reply);
    }
    server_stop(&server);
}
