/* What is wrong with a request is told by its problem type, for every type that a client can cause.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/support_server.h"

TestSuite(e2e_problems, .timeout = 300);

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *path, *header, *body;
    size_t n;
    int status;
    const char *slug;
} wrong[] = {
    {"/classify", NULL, BYTES(""), 400, "empty-body"},
    {"/classify", "Content-Type: application/json", BYTES("{\"image\":"), 400, "bad-json"},
    {"/classify", "Content-Type: application/json", BYTES("{\"picture\": \"\"}"), 400, "bad-json"},
    {"/classify", "Content-Type: application/json", BYTES("{\"image\":\"a\",\"image\":\"b\"}"), 400,
     "bad-json"},
    {"/classify", "Content-Type: application/json", BYTES("{\"image\": \"*\"}"), 400, "bad-base64"},
    {"/classify", "Content-Type: multipart/form-data", BYTES("--x\r\n"), 400, "bad-multipart"},
    {"/classify", "Content-Type: multipart/form-data; boundary=x", BYTES("--x\r\nno end"), 400,
     "bad-multipart"},
    {"/classify?top_k=0", NULL, BYTES("x"), 400, "bad-parameter"},
    {"/classify?top_k=11", NULL, BYTES("x"), 400, "bad-parameter"},
    {"/classify?topk=1", NULL, BYTES("x"), 400, "bad-parameter"},
    {"/classify?threshold=2", NULL, BYTES("x"), 400, "bad-parameter"},
    {"/classify?timeout_ms=-1", NULL, BYTES("x"), 400, "bad-parameter"},
    {"/classify?model=resnet9000", NULL, BYTES("x"), 404, "unknown-model"},
    {"/classify", "X-Envoy-Expected-Rq-Timeout-Ms: soon", BYTES("x"), 400, "bad-parameter"},
    {"/classify", "X-Envoy-Expected-Rq-Timeout-Ms: 0", BYTES("x"), 400, "bad-parameter"},
    {"/classify", "X-Envoy-Expected-Rq-Timeout-Ms: 9999999999", BYTES("x"), 415,
     "unsupported-format"},
    {"/nothing", NULL, BYTES("x"), 404, "not-found"},
    {"/problems/nothing", NULL, NULL, 0, 404, "not-found"},
    {"/metrics", NULL, BYTES("x"), 405, "method-not-allowed"},
    {"/classify", NULL, NULL, 0, 405, "method-not-allowed"},
    {"/classify", NULL, BYTES("just some text"), 415, "unsupported-format"},
    {"/classify", NULL, BYTES("RIFF\x24\x00\x00\x00WEBPVP8 "), 415, "unsupported-format"},
    {"/classify", NULL, BYTES("%PDF-1.7"), 415, "unsupported-format"},
    {"/classify", "Content-Encoding: gzip", BYTES("x"), 415, "unsupported-encoding"},
    {"/classify", NULL, BYTES("\xff\xd8\xff\xe0 this is no jpeg"), 422, "image-truncated"},
};

Test(e2e_problems, each_wrong_request_has_its_type)
{
    struct server server;
    server_start(&server, "");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct reply reply;
        ask(&server,
            &(struct ask){.path = wrong[i].path,
                          .headers = {wrong[i].header},
                          .body = wrong[i].body,
                          .n = wrong[i].n},
            &reply);
        reply_is_problem(&reply, wrong[i].status, wrong[i].slug);
        if (wrong[i].status == 405)
            cr_assert(strstr(reply_header(&reply, "Allow"), "OPTIONS"));
        reply_done(&reply);

        /* The type is a URI that the server itself explains. */
        char path[64];
        (void)snprintf(path, sizeof path, "/problems/%s", wrong[i].slug);
        ask_get(&server, path, &reply);
        cr_assert_eq(reply.status, 200, "%s", path);
        cr_assert_eq(json_integer_value(json_object_get(reply.json, "status")), wrong[i].status);
        reply_done(&reply);
    }
    static const struct {
        const char *series;
        int n;
    } counts[] = {
        {"resnetd_images_total{outcome=\"invalid\",reason=\"bad-json\"}", 3},
        {"resnetd_images_total{outcome=\"invalid\",reason=\"bad-multipart\"}", 2},
        {"resnetd_images_total{outcome=\"invalid\",reason=\"bad-parameter\"}", 7},
        {"resnetd_images_total{outcome=\"invalid\",reason=\"unsupported-format\"}", 4},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        cr_expect_eq(server_metric(&server, counts[i].series), counts[i].n, "%s", counts[i].series);
    server_stop(&server);
}

/* Ten megabytes of numbers would take two hundred as a parser's objects. */
Test(e2e_problems, json_of_very_many_values_costs_no_more_memory_than_its_text)
{
    struct server server;
    struct reply reply;
    const size_t n = 9 << 20;
    char *json = malloc(n);
    cr_assert_not_null(json);
    memcpy(json, "{\"image\":[", 10);
    for (size_t i = 10; i < n; i += 2)
        memcpy(json + i, "0,", 2);
    server_start(&server, "");
    const double before = server_metric(&server, "process_resident_memory_bytes");
    ask(&server,
        &(struct ask){.path = "/classify",
                      .headers = {"Content-Type: application/json"},
                      .body = json,
                      .n = n},
        &reply);
    reply_is_problem(&reply, 400, "bad-json");
    reply_done(&reply);
    const double after = server_metric(&server, "process_resident_memory_bytes");
    cr_expect_lt(after - before, 60e6, "%.0f bytes more", after - before);
    free(json);
    server_stop(&server);
}

Test(e2e_problems, what_a_file_was_is_named)
{
    static const char webp[] = "RIFF\x24\x00\x00\x00WEBPVP8 ";
    struct server server;
    struct reply reply;
    server_start(&server, "");
    ask(&server, &(struct ask){.path = "/classify", .body = webp, .n = sizeof webp - 1}, &reply);
    cr_assert_str_eq(json_string_value(json_object_get(reply.json, "detected")), "webp");
    cr_assert_eq(json_array_size(json_object_get(reply.json, "accepts")), 2);
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_problems, a_cut_off_photograph_is_truncated_and_a_damaged_one_corrupt)
{
    struct server server;
    struct reply reply;
    size_t n;
    server_start(&server, "");
    char *jpeg = read_file(PHOTO, &n);
    ask(&server, &(struct ask){.path = "/classify", .body = jpeg, .n = n / 2}, &reply);
    reply_is_problem(&reply, 422, "image-truncated");
    reply_done(&reply);
    free(jpeg);
    char *png = read_file("tests/golden/images/rgb8.png", &n);
    png[n / 2] ^= 0x55; /* a checksum inside does not fit any more */
    ask(&server, &(struct ask){.path = "/classify", .body = png, .n = n}, &reply);
    reply_is_problem(&reply, 422, "image-corrupt");
    reply_done(&reply);
    free(png);
    server_stop(&server);
}

/* A PNG header that announces width × height pixels; the rest is missing. CRC-32 as in PNG's
 * annex D. */
static size_t make_png(unsigned width, unsigned height, unsigned char *out)
{
    static const unsigned char start[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    memcpy(out, start, 16);
    for (int i = 0; i < 4; i++) {
        out[16 + i] = (unsigned char)(width >> (24 - 8 * i));
        out[20 + i] = (unsigned char)(height >> (24 - 8 * i));
    }
    memcpy(out + 24, "\x08\x02\0\0\0", 5);
    unsigned crc = 0xffffffffu;
    for (int i = 12; i < 29; i++) {
        crc ^= out[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? 0xedb88320u ^ crc >> 1 : crc >> 1;
    }
    for (int i = 0; i < 4; i++)
        out[29 + i] = (unsigned char)(~crc >> (24 - 8 * i));
    return 33;
}

Test(e2e_problems, each_limit_has_its_type_and_says_its_value)
{
    struct server server;
    struct reply reply;
    unsigned char png[64];
    server_start(&server, "--max-body-bytes 20000 --max-images 2 --max-side 5000 "
                          "--max-pixels 2000000");
    ask(&server, &(struct ask){.path = "/classify", .body = png, .n = make_png(5001, 10, png)},
        &reply);
    reply_is_problem(&reply, 422, "image-side-too-long");
    cr_assert_eq(json_integer_value(json_object_get(reply.json, "limit_side")), 5000);
    reply_done(&reply);
    ask(&server, &(struct ask){.path = "/classify", .body = png, .n = make_png(1001, 1000, png)},
        &reply);
    reply_is_problem(&reply, 422, "image-too-many-pixels");
    cr_assert_eq(json_integer_value(json_object_get(reply.json, "limit_pixels")), 1000000, "%s",
                 reply.body);
    cr_assert_eq(json_integer_value(json_object_get(reply.json, "width")), 1001);
    reply_done(&reply);

    char *large = calloc(20001, 1);
    for (int chunked = 0; chunked < 2; chunked++) {
        ask(&server,
            &(struct ask){.path = "/classify", .body = large, .n = 20001, .chunked = chunked},
            &reply);
        reply_is_problem(&reply, 413, "body-too-large");
        cr_assert_eq(json_integer_value(json_object_get(reply.json, "limit_bytes")), 20000);
        cr_assert_str_eq(reply_header(&reply, "Connection"), "close");
        reply_done(&reply);
    }
    free(large);

    static const char three[] = "{\"images\": [\"aGVsbG8=\", \"aGVsbG8=\", \"aGVsbG8=\"]}";
    ask(&server,
        &(struct ask){.path = "/classify",
                      .headers = {"Content-Type: application/json"},
                      .body = three,
                      .n = sizeof three - 1},
        &reply);
    reply_is_problem(&reply, 400, "too-many-images");
    reply_done(&reply);
    static const char two[] = "{\"images\": [\"aGVsbG8=\", \"aGVsbG8=\"]}";
    ask(&server,
        &(struct ask){.path = "/classify",
                      .headers = {"Content-Type: application/json"},
                      .body = two,
                      .n = sizeof two - 1},
        &reply);
    reply_is_problem(&reply, 422, "no-image-worked");
    cr_assert_eq(json_array_size(json_object_get(reply.json, "results")), 2);
    reply_done(&reply);
    server_stop(&server);
}

/* ---- raw connections ------------------------------------------------------------------------- */

static int connect_to(const struct server *server)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)server->port),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* What the server says until it closes. */
static void read_answer(int fd, char *answer, size_t size)
{
    size_t n = 0;
    while (n < size - 1) {
        const ssize_t got = recv(fd, answer + n, size - 1 - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    answer[n] = '\0';
    (void)close(fd);
}

static void say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

Test(e2e_problems, a_large_upload_is_refused_at_its_header)
{
    struct server server;
    char answer[4096];
    server_start(&server, "");
    const int fd = connect_to(&server);
    say(fd, "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n"
            "Expect: 100-continue\r\n\r\n");
    read_answer(fd, answer, sizeof answer); /* not one byte of the body was sent */
    cr_assert_eq(strncmp(answer, "HTTP/1.1 413 ", 13), 0, "%s", answer);
    cr_assert(strstr(answer, "/problems/body-too-large"), "%s", answer);
    server_stop(&server);
}

Test(e2e_problems, a_short_upload_that_waits_to_be_asked_for_is_refused_at_its_header)
{
    struct server server;
    char answer[4096];
    server_start(&server, "");
    const int fd = connect_to(&server);
    say(fd, "POST /classify?nonsense=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            "Expect: 100-continue\r\n\r\n");
    read_answer(fd, answer, sizeof answer);
    cr_assert_eq(strncmp(answer, "HTTP/1.1 400 ", 13), 0, "%s", answer);
    server_stop(&server);
}

Test(e2e_problems, a_body_that_does_not_come_is_given_up)
{
    struct server server;
    char answer[4096];
    server_start(&server, "--body-timeout-ms 300 --header-timeout-ms 300");
    int fd = connect_to(&server);
    say(fd, "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this");
    read_answer(fd, answer, sizeof answer);
    cr_assert_eq(strncmp(answer, "HTTP/1.1 408 ", 13), 0, "%s", answer);
    cr_assert(strstr(answer, "/problems/upload-timeout"), "%s", answer);
    fd = connect_to(&server);
    say(fd, "POST /classify HTTP/1.1\r\nHost:");
    read_answer(fd, answer, sizeof answer);
    cr_assert_eq(strncmp(answer, "HTTP/1.1 408 ", 13), 0, "%s", answer);
    server_stop(&server);
}

Test(e2e_problems, requests_that_two_parsers_could_read_differently_are_refused)
{
    static const char *const requests[] = {
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET /readyz HTTP/1.1\r\n\r\n",
        "GET /readyz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    };
    struct server server;
    char answer[4096];
    server_start(&server, "");
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const int fd = connect_to(&server);
        say(fd, requests[i]);
        read_answer(fd, answer, sizeof answer);
        cr_assert_eq(strncmp(answer, "HTTP/1.1 400 ", 13), 0, "%s: %s", requests[i], answer);
    }
    server_stop(&server);
}

Test(e2e_problems, the_server_as_a_whole_is_asked_for_its_methods_and_nothing_else)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"};
    struct server server;
    char answer[4096];
    server_start(&server, "");
    int fd = connect_to(&server);
    say(fd, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    read_answer(fd, answer, sizeof answer);
    cr_assert_eq(strncmp(answer, "HTTP/1.1 204 ", 13), 0, "%s", answer);
    const char *allow = strstr(answer, "\r\nAllow: ");
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        cr_assert(allow && strstr(allow, methods[i]), "%s: %s", methods[i], answer);
    fd = connect_to(&server);
    say(fd, "POST * HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na");
    read_answer(fd, answer, sizeof answer);
    cr_assert_eq(strncmp(answer, "HTTP/1.1 400 ", 13), 0, "%s", answer);
    server_stop(&server);
}

/* ---- what a busy server refuses -------------------------------------------------------------- */

Test(e2e_problems, a_deadline_that_has_no_room_is_refused_with_what_was_predicted)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--timeout-ms 60000");
    ask_file(&server, "/classify", PHOTO, &reply); /* from now on costs are known */
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    /* An hour's queue in front: none can be had in a test, so the deadline is made short instead.
     * Of 1 ms some is over when the header has been read, and sixteen images do not fit the rest.
     * Envoy says in a header how long it will wait. */
    static const struct ask asks[] = {
        {.path = "/classify?timeout_ms=1"},
        {.path = "/classify", .headers = {"X-Envoy-Expected-Rq-Timeout-Ms: 1"}},
    };
    for (size_t k = 0; k < sizeof asks / sizeof *asks; k++) {
        struct ask question = asks[k];
        question.mime = curl_mime_init(NULL);
        for (int i = 0; i < 16; i++) {
            curl_mimepart *part = curl_mime_addpart(question.mime);
            (void)curl_mime_name(part, "image");
            (void)curl_mime_filedata(part, PHOTO);
        }
        ask(&server, &question, &reply);
        const char *type = json_string_value(json_object_get(reply.json, "type"));
        cr_assert(type && (strcmp(type, "/problems/deadline-unmeetable") == 0 ||
                           strcmp(type, "/problems/deadline-exceeded") == 0),
                  "%ld %s", reply.status, reply.body);
        if (reply.status == 503) {
            reply_is_problem(&reply, 503, "deadline-unmeetable");
            cr_assert_not_null(reply_header(&reply, "Retry-After"));
            cr_assert(json_is_integer(json_object_get(reply.json, "predicted_ms")), "%s",
                      reply.body);
            cr_assert_leq(json_integer_value(json_object_get(reply.json, "deadline_ms")), 1);
        }
        reply_done(&reply);
    }
    server_stop(&server);
}

Test(e2e_problems, a_full_queue_refuses_at_once)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--queue-limit 2");
    curl_mime *mime = curl_mime_init(NULL);
    for (int i = 0; i < 3; i++) {
        curl_mimepart *part = curl_mime_addpart(mime);
        (void)curl_mime_name(part, "image");
        (void)curl_mime_filedata(part, PHOTO);
    }
    ask(&server, &(struct ask){.path = "/classify", .mime = mime}, &reply);
    reply_is_problem(&reply, 503, "queue-full");
    cr_assert_not_null(reply_header(&reply, "Retry-After"));
    cr_assert_eq(json_integer_value(json_object_get(reply.json, "queue_limit")), 2);
    cr_assert_gt(json_integer_value(json_object_get(reply.json, "retry_after_ms")), 0);
    reply_done(&reply);
    ask_file(&server, "/classify", PHOTO, &reply);
    cr_assert_eq(reply.status, 200, "there is room for one");
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_problems, a_target_can_do_nothing_to_the_log)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--access-log=-");
    ask_get(&server, "/%22%0a%1b%9b%c2%9b%ff%c3%a9", &reply);
    reply_is_problem(&reply, 404, "not-found");
    reply_done(&reply);
    (void)kill(server.program.pid, SIGTERM);
    cr_assert_eq(program_wait(&server.program), 0);
    cr_expect_not_null(strstr(server.program.stderr_text, " path=\"/???????\xc3\xa9\" status=404"),
                       "%s", server.program.stderr_text);
    program_done(&server.program);
}
