/* The Open Inference Protocol v2 over the wire: every form of a request gives the scores that
 * /classify gives, PyTorch's logits come back from tensors, and errors have the protocol's form.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/embedded.h"
#include "engine/engine.h"
#include "tests/e2e/support_server.h"
#include "tests/support_folder.h"
#include "tests/support_model.h"

#define MODEL "/v2/models/cifar10-resnet20"
#define INFER MODEL "/infer"
#define CLASSES 10
#define SIDE 32
#define N_VALUES ((size_t)3 * SIDE * SIDE)

TestSuite(e2e_v2, .timeout = 120, .init = folder_make, .fini = folder_remove);

static const json_t *at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert_not_null(value, "no member %s", key);
    return value;
}

static const char *text_at(const json_t *object, const char *key)
{
    cr_assert(json_is_string(at(object, key)), "%s", key);
    return json_string_value(at(object, key));
}

static void is_error(const struct reply *reply, int status, const char *says)
{
    cr_assert_eq(reply->status, status, "%ld: %s", reply->status, reply->body);
    cr_assert_str_eq(reply_header(reply, "Content-Type"), "application/json");
    cr_assert_eq(json_object_size(reply->json), 1);
    cr_assert(strstr(text_at(reply->json, "error"), says), "%s", reply->body);
}

static void post_json(const struct server *server, const char *path, const char *json,
                      struct reply *reply)
{
    ask(server,
        &(struct ask){.path = path,
                      .headers = {"Content-Type: application/json"},
                      .body = json,
                      .n = strlen(json)},
        reply);
}

/* JSON, and after it the bytes of a tensor. */
static void post_binary(const struct server *server, const char *path, const char *json,
                        const void *bytes, size_t n, struct reply *reply)
{
    char header[80];
    const size_t n_json = strlen(json);
    char *body = malloc(n_json + n);
    cr_assert_not_null(body);
    memcpy(body, json, n_json);
    memcpy(body + n_json, bytes, n);
    (void)snprintf(header, sizeof header, "Inference-Header-Content-Length: %zu", n_json);
    ask(server, &(struct ask){.path = path, .headers = {header}, .body = body, .n = n_json + n},
        reply);
    free(body);
}

/* The binary scores of n images. */
static void take_scores(struct reply *reply, int n, float *scores)
{
    cr_assert_eq(reply->status, 200, "%s", reply->body);
    cr_assert_str_eq(reply_header(reply, "Content-Type"), "application/octet-stream");
    const size_t n_json = strtoul(reply_header(reply, "Inference-Header-Content-Length"), NULL, 10);
    const size_t n_bytes = (size_t)n * CLASSES * sizeof *scores;
    cr_assert_eq(reply->n, n_json + n_bytes);
    json_t *json = json_loadb(reply->body, n_json, 0, NULL);
    const json_t *output = json_array_get(at(json, "outputs"), 0);
    cr_assert_str_eq(text_at(output, "name"), "probabilities");
    cr_assert_str_eq(text_at(output, "datatype"), "FP32");
    cr_assert_eq(json_integer_value(json_array_get(at(output, "shape"), 0)), n);
    cr_assert_eq(json_integer_value(json_array_get(at(output, "shape"), 1)), CLASSES);
    cr_assert_eq(json_integer_value(at(at(output, "parameters"), "binary_data_size")),
                 (json_int_t)n_bytes);
    cr_assert_null(json_object_get(output, "data"));
    memcpy(scores, reply->body + n_json, n_bytes);
    json_decref(json);
    reply_done(reply);
}

#define BINARY_INPUT                                                                               \
    "{\"parameters\":{\"binary_data_output\":true},\"inputs\":[{\"name\":\"input\",\"datatype\":"  \
    "\"%s\",\"shape\":%s,\"parameters\":{\"binary_data_size\":%zu}}]}"

static void infer(const struct server *server, const char *datatype, const char *shape,
                  const void *bytes, size_t n, int n_images, float *scores)
{
    char json[400];
    struct reply reply;
    (void)snprintf(json, sizeof json, BINARY_INPUT, datatype, shape, n);
    post_binary(server, INFER, json, bytes, n, &reply);
    take_scores(&reply, n_images, scores);
}

/* ---- what the server says of itself --------------------------------------------------------- */

Test(e2e_v2, tells_health_and_metadata)
{
    struct server server;
    struct reply reply;
    server_start(&server, "");
    static const char *const healthy[] = {"/v2/health/live", "/v2/health/ready", MODEL "/ready",
                                          MODEL "/versions/1/ready"};
    for (size_t i = 0; i < sizeof healthy / sizeof *healthy; i++) {
        ask_get(&server, healthy[i], &reply);
        cr_assert_eq(reply.status, 200, "%s", healthy[i]);
        cr_assert(json_is_true(at(reply.json, "ready")));
        reply_done(&reply);
    }
    ask_get(&server, "/v2", &reply);
    cr_assert_str_eq(text_at(reply.json, "name"), "resnetd");
    cr_assert_eq(json_array_size(at(reply.json, "extensions")), 5);
    reply_done(&reply);
    static const char *const same[][2] = {{MODEL, MODEL "/versions/1"},
                                          {MODEL "/config", MODEL "/versions/1/config"}};
    for (size_t i = 0; i < 2; i++) {
        struct reply versioned;
        ask_get(&server, same[i][0], &reply);
        ask_get(&server, same[i][1], &versioned);
        cr_assert_str_eq(reply.body, versioned.body);
        reply_done(&reply);
        reply_done(&versioned);
    }
    ask_get(&server, MODEL, &reply);
    cr_assert_str_eq(text_at(reply.json, "platform"), "resnetd_native");
    const json_t *input = json_array_get(at(reply.json, "inputs"), 0);
    cr_assert_str_eq(text_at(input, "name"), "input");
    cr_assert_eq(json_integer_value(json_array_get(at(input, "shape"), 0)), -1);
    cr_assert_eq(json_integer_value(json_array_get(at(input, "shape"), 3)), SIDE);
    reply_done(&reply);
    ask_get(&server, MODEL "/config", &reply);
    cr_assert_eq(json_integer_value(at(reply.json, "max_batch_size")), 16);
    cr_assert_eq(
        json_integer_value(at(at(reply.json, "dynamic_batching"), "max_queue_delay_microseconds")),
        0);
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_v2, the_api_is_described_by_the_file_of_this_version)
{
    struct server server;
    struct reply reply;
    size_t n;
    server_start(&server, "");
    char *file = read_file("server/openapi.json", &n);
    ask_get(&server, "/openapi.json", &reply);
    cr_assert_eq(reply.status, 200);
    cr_assert_str_eq(reply_header(&reply, "Content-Type"), "application/json");
    cr_assert_eq(reply.n, n);
    cr_assert_eq(memcmp(reply.body, file, n), 0);
    cr_assert_str_eq(text_at(at(reply.json, "info"), "version"), RESNETD_VERSION);
    reply_done(&reply);
    free(file);
    server_stop(&server);
}

Test(e2e_v2, is_not_ready_while_it_drains)
{
    struct server server;
    struct reply reply;
    server_start(&server, "--drain-delay-ms 600000");
    cr_assert_eq(kill(server.program.pid, SIGTERM), 0);
    do {
        ask_get(&server, "/v2/health/ready", &reply);
        if (reply.status == 200)
            reply_done(&reply);
    } while (reply.status == 200);
    cr_assert_eq(reply.status, 503);
    cr_assert(json_is_false(at(reply.json, "ready")));
    reply_done(&reply);
    ask_get(&server, MODEL "/ready", &reply);
    cr_assert_eq(reply.status, 503);
    cr_assert(json_is_false(at(reply.json, "ready")));
    reply_done(&reply);
    ask_get(&server, "/v2/health/live", &reply);
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    program_done(&server.program);
}

Test(e2e_v2, counts_what_a_model_has_done)
{
    struct server server;
    struct reply reply;
    float scores[4 * CLASSES];
    static const uint8_t black[4 * N_VALUES];
    server_start(&server, "");
    infer(&server, "UINT8", "[1,3,32,32]", black, N_VALUES, 1, scores);
    infer(&server, "UINT8", "[4,3,32,32]", black, 4 * N_VALUES, 4, scores);
    post_json(&server, INFER, "{}", &reply);
    is_error(&reply, 400, "\"inputs\"");
    reply_done(&reply);
    static const char *const paths[] = {MODEL "/stats", MODEL "/versions/1/stats",
                                        "/v2/models/stats"};
    for (size_t i = 0; i < 3; i++) {
        ask_get(&server, paths[i], &reply);
        const json_t *stats = json_array_get(at(reply.json, "model_stats"), 0);
        const json_t *sums = at(stats, "inference_stats");
        cr_assert_eq(json_integer_value(at(stats, "inference_count")), 5, "%s", reply.body);
        cr_assert_eq(json_integer_value(at(at(sums, "success"), "count")), 2);
        cr_assert_eq(json_integer_value(at(at(sums, "fail"), "count")), 1);
        cr_assert_eq(json_integer_value(at(at(sums, "compute_infer"), "count")), 5);
        cr_assert_gt(json_integer_value(at(at(sums, "compute_infer"), "ns")), 0);
        json_int_t n_images = 0, n_batches = 0;
        size_t k;
        json_t *batch;
        json_array_foreach(at(stats, "batch_stats"), k, batch)
        {
            const json_int_t count = json_integer_value(at(at(batch, "compute_infer"), "count"));
            n_images += count * json_integer_value(at(batch, "batch_size"));
            n_batches += count;
        }
        cr_assert_eq(n_images, 5);
        cr_assert_eq(n_batches, json_integer_value(at(stats, "execution_count")));
        reply_done(&reply);
    }
    server_stop(&server);
}

/* ---- inference --------------------------------------------------------------------------------
 */

/* The photograph as the network sees it: [32][32][3]. */
static void fetch_pixels(const struct server *server, uint8_t *rgb)
{
    struct reply reply;
    struct rn_image image;
    struct rn_error err;
    ask_file(server, "/classify?debug=input", PHOTO, &reply);
    cr_assert_eq(rn_image_decode((const uint8_t *)reply.body, reply.n, &rn_image_limits_default,
                                 &image, &err),
                 RN_OK);
    memcpy(rgb, image.rgb, N_VALUES);
    rn_image_done(&image);
    reply_done(&reply);
}

static void normalize(const uint8_t *rgb, float *tensor)
{
    const struct rn_model_options options = {.max_batch = 1};
    struct rn_model *model;
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(), "test",
                                      &options, &model, NULL),
                 RN_OK);
    rn_image_normalize(rgb, &rn_model_info(model)->recipe, tensor);
    rn_model_free(model);
}

static void infer_file_in_json(const struct server *server, const char *file, size_t n,
                               float *scores)
{
    char *base64 = to_base64(file, n), *json = malloc(strlen(base64) + 400);
    struct reply reply;
    cr_assert_not_null(json);
    (void)sprintf(json,
                  "{\"id\":\"42\",\"inputs\":[{\"name\":\"input\",\"shape\":[1],\"datatype\":"
                  "\"BYTES\",\"parameters\":{\"content_type\":\"base64\"},\"data\":[\"%s\"]}]}",
                  base64);
    post_json(server, MODEL "/versions/1/infer", json, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    cr_assert_str_eq(text_at(reply.json, "id"), "42");
    cr_assert_str_eq(text_at(reply.json, "model_name"), "cifar10-resnet20");
    cr_assert_str_eq(text_at(reply.json, "model_version"), "1");
    const json_t *output = json_array_get(at(reply.json, "outputs"), 0);
    for (size_t k = 0; k < CLASSES; k++)
        scores[k] = (float)json_number_value(json_array_get(at(output, "data"), k));
    reply_done(&reply);
    free(base64);
    free(json);
}

static void infer_raw(const struct server *server, const void *bytes, size_t n, float *scores)
{
    struct reply reply;
    ask(server,
        &(struct ask){.path = INFER,
                      .headers = {"Content-Type: application/octet-stream",
                                  "Inference-Header-Content-Length: 0"},
                      .body = bytes,
                      .n = n},
        &reply);
    take_scores(&reply, 1, scores);
}

static void is_same(const float *scores, const float *first, const char *form)
{
    for (size_t k = 0; k < CLASSES; k++)
        cr_assert_eq(scores[k], first[k], "%s, class %zu: %.9g instead of %.9g", form, k,
                     (double)scores[k], (double)first[k]);
}

Test(e2e_v2, every_form_gives_the_scores_of_classify_bit_for_bit)
{
    struct server server;
    struct reply reply;
    size_t n;
    uint8_t rgb[N_VALUES], planes[N_VALUES];
    float tensor[N_VALUES], first[CLASSES], scores[CLASSES];
    server_start(&server, "");
    char *file = read_file(PHOTO, &n);
    infer_raw(&server, file, n, first);
    ask_file(&server, "/classify?top_k=10", PHOTO, &reply);
    for (size_t i = 0; i < CLASSES; i++) {
        const json_t *best = json_array_get(at(reply.json, "predictions"), i);
        cr_assert_float_eq(json_number_value(at(best, "score")),
                           (double)first[json_integer_value(at(best, "index"))], 5.1e-7);
    }
    reply_done(&reply);

    infer_file_in_json(&server, file, n, scores);
    is_same(scores, first, "base64");
    char *element = malloc(n + 4);
    for (int b = 0; b < 4; b++)
        element[b] = (char)(n >> 8 * b);
    memcpy(element + 4, file, n);
    infer(&server, "BYTES", "[1]", element, n + 4, 1, scores);
    is_same(scores, first, "BYTES");
    free(element);

    fetch_pixels(&server, rgb);
    infer(&server, "UINT8", "[1,32,32,3]", rgb, N_VALUES, 1, scores);
    is_same(scores, first, "UINT8 NHWC");
    for (size_t i = 0; i < N_VALUES; i++)
        planes[i % 3 * SIDE * SIDE + i / 3] = rgb[i];
    infer(&server, "UINT8", "[1,3,32,32]", planes, N_VALUES, 1, scores);
    is_same(scores, first, "UINT8 NCHW");
    normalize(rgb, tensor);
    infer(&server, "FP32", "[1,3,32,32]", tensor, sizeof tensor, 1, scores);
    is_same(scores, first, "FP32");
    infer_raw(&server, tensor, sizeof tensor, scores);
    is_same(scores, first, "raw FP32");
    free(file);
    server_stop(&server);
}

/* Rows of make_golden.py, of which one is used here. */
static const struct golden {
    const char *name;
    int size, classes, step;
    uint64_t parameters, checksum;
    float largest;
    double noise;
    const float *logits;
} goldens[] = {
#include "tests/golden/logits.inc"
};

Test(e2e_v2, tensors_give_the_scores_of_pytorch)
{
    const struct support_net net = {SUPPORT_CIFAR, 3, 2, {3, 3, 3}, 16, 1, 64, false, 10, 0.2};
    const struct support_options made = {.prefix = "", .size = SIDE};
    const struct golden *golden = goldens;
    struct support_model model;
    struct server server;
    char options[400];
    while (strcmp(golden->name, "cifar_resnet20@32") != 0)
        golden++;
    support_model_make(&net, &made, &model);
    folder_write("golden.safetensors", model.bytes, model.n);
    support_model_done(&model);
    (void)snprintf(options, sizeof options, "--model cifar10-resnet20=%s",
                   folder_file("golden.safetensors"));
    server_start(&server, options);
    float tensors[3 * N_VALUES], scores[3 * CLASSES], want[CLASSES];
    for (int i = 0; i < 3; i++)
        support_image(i, SIDE, tensors + (size_t)i * N_VALUES);
    infer(&server, "FP32", "[3,3,32,32]", tensors, sizeof tensors, 3, scores);
    for (int i = 0; i < 3; i++) {
        rn_softmax(golden->logits + i * CLASSES, CLASSES, want);
        for (int k = 0; k < CLASSES; k++)
            cr_expect_float_eq(scores[i * CLASSES + k], want[k], 1e-4, "image %d, class %d", i, k);
    }
    server_stop(&server);
}

Test(e2e_v2, classification_names_the_best_classes)
{
    struct server server;
    struct reply plain, reply;
    size_t n;
    server_start(&server, "");
    char *file = read_file(PHOTO, &n), *base64 = to_base64(file, n);
    char *json = malloc(strlen(base64) * 2 + 400);
    (void)sprintf(json,
                  "{\"inputs\":[{\"name\":\"input\",\"shape\":[2,1],\"datatype\":\"BYTES\","
                  "\"data\":[\"%s\",\"%s\"]}],\"outputs\":[{\"name\":\"probabilities\","
                  "\"parameters\":{\"classification\":3}}]}",
                  base64, base64);
    post_json(&server, INFER, json, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    const json_t *output = json_array_get(at(reply.json, "outputs"), 0);
    cr_assert_str_eq(text_at(output, "datatype"), "BYTES");
    cr_assert_eq(json_integer_value(json_array_get(at(output, "shape"), 0)), 2);
    cr_assert_eq(json_integer_value(json_array_get(at(output, "shape"), 1)), 3);
    cr_assert_eq(json_array_size(at(output, "data")), 6);
    ask_file(&server, "/classify?top_k=3", PHOTO, &plain);
    for (size_t i = 0; i < 6; i++) {
        const json_t *best = json_array_get(at(plain.json, "predictions"), i % 3);
        char want[100];
        (void)snprintf(want, sizeof want, "%.6f:%d:%s", json_number_value(at(best, "score")),
                       (int)json_integer_value(at(best, "index")), text_at(best, "label"));
        cr_assert_str_eq(json_string_value(json_array_get(at(output, "data"), i)), want);
    }
    reply_done(&plain);
    reply_done(&reply);
    free(file);
    free(base64);
    free(json);
    server_stop(&server);
}

Test(e2e_v2, a_tensor_of_extremes_harms_only_itself)
{
    struct server server;
    struct reply reply;
    char json[400];
    static float tensors[2 * N_VALUES];
    float alone[CLASSES], both[2 * CLASSES];
    server_start(&server, "");
    support_image(0, SIDE, tensors);
    infer(&server, "FP32", "[1,3,32,32]", tensors, N_VALUES * 4, 1, alone);
    for (size_t k = 0; k < N_VALUES; k++)
        tensors[N_VALUES + k] = k % 2 ? 1e15f : -1e15f;
    infer(&server, "FP32", "[2,3,32,32]", tensors, sizeof tensors, 2, both);
    is_same(both, alone, "beside a tensor of 1e15");
    for (size_t k = 0; k < N_VALUES; k++)
        tensors[k] = 3e38f;
    (void)snprintf(json, sizeof json, BINARY_INPUT, "FP32", "[1,3,32,32]", N_VALUES * 4);
    post_binary(&server, INFER, json, tensors, N_VALUES * 4, &reply);
    is_error(&reply, 400, "scores are no numbers");
    reply_done(&reply);
    server_stop(&server);
}

/* ---- errors ------------------------------------------------------------------------------------
 */

Test(e2e_v2, errors_have_the_form_of_the_protocol)
{
    static const char input[] = "{\"inputs\":[{\"name\":\"input\",\"shape\":[1],\"datatype\":"
                                "\"BYTES\",\"data\":[\"%s\"]}]%s}";
    static const struct {
        const char *method, *path, *header;
        const char *data, *more; /* of `input`; NULL: no body */
        int status;
        const char *says;
    } wrong[] = {
        {"GET", "/v2/nothing", NULL, NULL, NULL, 404, "/v2/nothing"},
        {"GET", "/v2/models/other", NULL, NULL, NULL, 404, "\"other\""},
        {"GET", MODEL "/versions/2", NULL, NULL, NULL, 404, "version 1"},
        {"GET", MODEL "/versions//ready", NULL, NULL, NULL, 404, "nothing at"},
        {"PUT", "/v2", NULL, "", "", 405, "PUT"},
        {"GET", INFER, NULL, NULL, NULL, 405, "GET"},
        {"POST", "/v2/models/other/infer", NULL, "", "", 404, "\"other\""},
        {"POST", INFER, "Inference-Header-Content-Length: x", "", "", 400, "\"x\""},
        {"POST", INFER, "Content-Encoding: gzip", "", "", 415, "gzip"},
        {"POST", INFER, "Inference-Header-Content-Length: 0", "", "", 415, "format"},
        {"POST", INFER, NULL, "aGVsbG8=", "", 415, "format"},
        {"POST", INFER, NULL, "aGVsbG8=", ",\"x\":1", 400, "\"x\""},
        {"POST", INFER, NULL, "_", "", 400, "element 0"},
    };
    struct server server;
    struct reply reply;
    server_start(&server, "--max-body-bytes 100000");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char body[400] = "";
        if (wrong[i].data)
            (void)snprintf(body, sizeof body, input, wrong[i].data, wrong[i].more);
        ask(&server,
            &(struct ask){.method = wrong[i].method,
                          .path = wrong[i].path,
                          .headers = {wrong[i].header},
                          .body = wrong[i].data ? body : NULL,
                          .n = strlen(body)},
            &reply);
        is_error(&reply, wrong[i].status, wrong[i].says);
        cr_assert(wrong[i].status != 405 || reply_header(&reply, "Allow"));
        reply_done(&reply);
    }
    char *large = calloc(1, 200000);
    for (int chunked = 0; chunked < 2; chunked++) {
        ask(&server,
            &(struct ask){.method = "POST",
                          .path = INFER,
                          .body = large,
                          .n = 200000,
                          .chunked = chunked != 0},
            &reply);
        is_error(&reply, 413, "100000");
        reply_done(&reply);
    }
    free(large);
    ask(&server, &(struct ask){.method = "POST", .path = INFER, .body = "", .n = 0}, &reply);
    is_error(&reply, 400, "no bytes");
    reply_done(&reply);
    server_stop(&server);
}

Test(e2e_v2, a_timeout_is_microseconds)
{
    struct server server;
    struct reply reply;
    size_t n;
    server_start(&server, "");
    char *file = read_file(PHOTO, &n), *base64 = to_base64(file, n);
    char *json = malloc(strlen(base64) + 400);
    static const struct {
        int us;
        bool in_time;
    } timeouts[] = {{0, true}, {1, false}, {60000000, true}};
    for (size_t i = 0; i < 3; i++) {
        (void)sprintf(json,
                      "{\"parameters\":{\"timeout\":%d},\"inputs\":[{\"name\":\"input\",\"shape\":"
                      "[1],\"datatype\":\"BYTES\",\"data\":[\"%s\"]}]}",
                      timeouts[i].us, base64);
        post_json(&server, INFER, json, &reply);
        if (timeouts[i].in_time)
            cr_assert_eq(reply.status, 200, "%s", reply.body);
        else
            is_error(&reply, 503, "deadline");
        reply_done(&reply);
    }
    free(file);
    free(base64);
    free(json);
    server_stop(&server);
}

/* A client that sends its request and leaves. */
static void ask_and_go(const struct server *server, const char *request, size_t n)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)server->port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(send(fd, request, n, MSG_NOSIGNAL), (ssize_t)n);
    (void)close(fd);
}

Test(e2e_v2, clients_that_leave_cost_nothing_that_stays)
{
    struct server server;
    static char request[400 + 16 * N_VALUES];
    static uint8_t black[N_VALUES];
    char json[300];
    float scores[CLASSES];
    server_start(&server, "");
    (void)snprintf(json, sizeof json, BINARY_INPUT, "UINT8", "[16,3,32,32]", 16 * N_VALUES);
    const int n = snprintf(request, 400,
                           "POST " INFER " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n"
                           "Inference-Header-Content-Length: %zu\r\n\r\n%s",
                           strlen(json) + 16 * N_VALUES, strlen(json), json);
    for (int i = 0; i < 100; i++)
        ask_and_go(&server, request, (size_t)n + 16 * N_VALUES);
    infer(&server, "UINT8", "[1,3,32,32]", black, N_VALUES, 1, scores);
    while (server_metric(&server, "resnetd_in_flight_requests") > 0)
        ;
    cr_expect_eq(server_metric(&server, "resnetd_queue_images"), 0);
    server_stop(&server);
}

Test(e2e_v2, wants_the_key_where_there_are_keys)
{
    struct server server;
    struct reply reply;
    char options[400];
    folder_write_text("keys", /* of "abc", FIPS 180-2, B.1 */
                      "a ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");
    (void)snprintf(options, sizeof options, "--api-keys %s", folder_file("keys"));
    server_start(&server, options);
    post_json(&server, INFER, "{}", &reply);
    is_error(&reply, 401, "API key");
    reply_done(&reply);
    ask_get(&server, MODEL "/ready", &reply);
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    ask(&server,
        &(struct ask){
            .path = INFER, .headers = {"Authorization: Bearer abc"}, .body = "{}", .n = 2},
        &reply);
    is_error(&reply, 400, "\"inputs\"");
    reply_done(&reply);
    server_stop(&server);
}
