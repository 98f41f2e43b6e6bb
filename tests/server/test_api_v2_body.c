/* Requests of the Open Inference Protocol v2 as bytes: what becomes of good ones, and that bad ones
 * are refused by name before anything is allocated for what they claim.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_v2_body.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/json_scan.h"
#include "server/request.h"
#include "tests/support_alloc.h"

#define SIDE 2
#define N_PIXELS ((size_t)SIDE * SIDE)
#define N_VALUES (3 * N_PIXELS)

static const struct rn_model_info info = {
    .classes = 10,
    .input = {3, SIDE, SIDE},
    .recipe = {.resize = SIDE, .crop = SIDE, .mean = {0, 0.5f, 1}, .std = {1, 1, 0.5f}},
};
static struct api_v2_body body;
static struct request *request;
static struct problem problem;

static void start(void)
{
    body = (struct api_v2_body){.header_bytes = -1, .max_images = 4};
    problem = (struct problem){0};
    request = request_new(0);
    cr_assert_not_null(request);
}

static void end(void)
{
    request_free(request);
    api_v2_body_done(&body);
}

TestSuite(api_v2_body, .init = start, .fini = end);

/* Also with a copy that ends where the bytes end, for AddressSanitizer. */
static bool read_bytes(const void *bytes, size_t n)
{
    end();
    request = request_new(0);
    problem = (struct problem){0};
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    body.bytes = copy;
    body.n_bytes = n;
    const bool ok = api_v2_body_read(&body, request, &info, &problem);
    cr_assert_eq(ok, problem.type == PROBLEM_NONE);
    cr_assert(ok || problem.detail[0], "no sentence");
    for (int i = 0; i < request->n_images && !request->images[i].is_tensor; i++)
        request->images[i].bytes = NULL; /* gone with the copy */
    free(copy);
    return ok;
}

static bool read_text(const char *json)
{
    return read_bytes(json, strlen(json));
}

/* JSON and what follows it. */
static bool read_both(const char *json, const void *binary, size_t n)
{
    char bytes[2048];
    const size_t n_json = strlen(json);
    memcpy(bytes, json, n_json);
    memcpy(bytes + n_json, binary, n);
    body.header_bytes = (int64_t)n_json;
    const bool ok = read_bytes(bytes, n_json + n);
    body.header_bytes = -1;
    return ok;
}

#define INPUT(members) "{\"inputs\":[{\"name\":\"input\"," members "}]}"
#define ONE "\"shape\":[1,3,2,2],"
#define ASCENDING "0,1,2,3,4,5,6,7,8,9,10,11"

Test(api_v2_body, floats_go_to_the_network_as_they_are)
{
    static const char *const same[] = {
        INPUT(ONE "\"datatype\":\"FP32\",\"data\":[" ASCENDING "]"),
        INPUT(ONE "\"datatype\":\"FP32\",\"data\":[[[[0,1],[2,3.0]],[[4,5],[6,7]],[[8,9],[1e1,11]]]"
                  "]"),
    };
    for (size_t i = 0; i < 2; i++) {
        cr_assert(read_text(same[i]), "%s", problem.detail);
        cr_assert_eq(request->n_images, 1);
        cr_assert(request->images[0].is_tensor);
        for (size_t k = 0; k < N_VALUES; k++)
            cr_assert_eq(request->images[0].tensor[k], (float)k);
    }
}

Test(api_v2_body, binary_floats_are_little_endian_and_may_lie_anywhere)
{
    static const uint8_t bits[4] = {0, 0, 0x20, 0xc0}; /* -2.5 */
    for (size_t pad = 0; pad < 4; pad++) {
        uint8_t binary[2 * N_VALUES * 4];
        char json[256];
        for (size_t k = 0; k < 2 * N_VALUES; k++)
            memcpy(binary + 4 * k, bits, 4);
        (void)snprintf(json, sizeof json, "%.*s%s", (int)pad, "    ",
                       INPUT("\"shape\":[2,3,2,2],\"datatype\":\"FP32\",\"parameters\":{"
                             "\"binary_data_size\":96}"));
        cr_assert(read_both(json, binary, sizeof binary), "%s", problem.detail);
        cr_assert_eq(request->n_images, 2);
        for (size_t k = 0; k < N_VALUES; k++)
            cr_assert_eq(request->images[1].tensor[k], -2.5f);
    }
}

Test(api_v2_body, pixels_are_normalised_in_either_order)
{
    static const char *const planes =
        INPUT(ONE "\"datatype\":\"UINT8\",\"data\":[0,51,102,255,0,51,102,255,0,51,102,255]");
    static const char *const pixels =
        INPUT("\"shape\":[1,2,2,3],\"datatype\":\"UINT8\","
              "\"data\":[[[[0,0,0],[51,51,51]],[[102,102,102],[255,255,255]]]]");
    static const float shade[] = {0, 0.2f, 0.4f, 1};
    for (int i = 0; i < 2; i++) {
        cr_assert(read_text(i ? pixels : planes), "%s", problem.detail);
        for (size_t k = 0; k < N_PIXELS; k++) {
            const float *t = request->images[0].tensor;
            cr_assert_float_eq(t[k], shade[k], 1e-6);
            cr_assert_float_eq(t[N_PIXELS + k], shade[k] - 0.5f, 1e-6);
            cr_assert_float_eq(t[2 * N_PIXELS + k], (shade[k] - 1) * 2, 1e-6);
        }
    }
}

Test(api_v2_body, files_come_as_base64_or_as_bytes_with_their_length)
{
    cr_assert(read_text(INPUT("\"shape\":[2,1],\"datatype\":\"BYTES\",\"parameters\":null,"
                              "\"data\":[[\"Zm9v\"],[\"data:image/png;base64,YmFy\"]]")),
              "%s", problem.detail);
    cr_assert_eq(memcmp(request->images[0].owned, "foo", 3), 0);
    cr_assert_eq(memcmp(request->images[1].owned, "bar", 3), 0);
    cr_assert(read_both(INPUT("\"shape\":[2],\"datatype\":\"BYTES\",\"parameters\":{"
                              "\"binary_data_size\":11}"),
                        "\3\0\0\0foo\0\0\0\0", 11),
              "%s", problem.detail);
    cr_assert_eq(request->images[0].n_bytes, 3);
    cr_assert_eq(request->images[1].n_bytes, 0);
}

Test(api_v2_body, raw_bytes_are_a_tensor_if_they_have_its_size_and_else_a_file)
{
    uint8_t bytes[N_VALUES * 4] = {0};
    body.header_bytes = 0;
    cr_assert(read_bytes(bytes, sizeof bytes));
    cr_assert(request->images[0].is_tensor);
    cr_assert(body.binary);
    memcpy(bytes, "\xff\xd8\xff\xe0", 4);
    cr_assert(read_bytes(bytes, sizeof bytes));
    cr_assert_not(request->images[0].is_tensor);
    cr_assert(read_bytes(bytes, sizeof bytes - 1));
    cr_assert_not(request->images[0].is_tensor);
}

Test(api_v2_body, parameters_say_when_and_how_to_answer)
{
    cr_assert(read_text("{\"id\":\"a\\\"b\",\"model_name\":\"x\",\"outputs\":null,"
                        "\"parameters\":{\"timeout\":1500,\"priority\":1,\"other\":[1]},"
                        "\"inputs\":[{\"name\":\"input\",\"shape\":[1],\"datatype\":\"BYTES\","
                        "\"parameters\":{\"content_type\":\"base64\"},\"data\":[\"Zg==\"]}]}"),
              "%s", problem.detail);
    cr_assert_str_eq(body.id, "a\"b");
    cr_assert_eq(body.timeout_us, 1500);
    cr_assert_not(body.binary);
    cr_assert(read_text("{\"parameters\":{\"binary_data_output\":true},\"outputs\":[{\"name\":"
                        "\"probabilities\",\"parameters\":{\"classification\":10,"
                        "\"binary_data\":false}}],\"inputs\":[{\"name\":\"input\",\"shape\":[1],"
                        "\"datatype\":\"BYTES\",\"data\":[\"Zg==\"]}]}"),
              "%s", problem.detail);
    cr_assert_eq(body.classification, 10);
    cr_assert_not(body.binary);
}

#define FP32(shape, data) INPUT("\"shape\":" shape ",\"datatype\":\"FP32\",\"data\":" data)
#define BODY(members)                                                                              \
    "{" members ",\"inputs\":[{\"name\":\"input\",\"shape\":[1],\"datatype\":"                     \
    "\"BYTES\",\"data\":[\"Zg==\"]}]}"

static const struct {
    const char *json;
    enum problem_type type;
    const char *says;
} wrong[] = {
    {"", PROBLEM_BAD_JSON, "line 1"},
    {"{", PROBLEM_BAD_JSON, "line 1"},
    {"[]", PROBLEM_BAD_JSON, "no object"},
    {"{}", PROBLEM_BAD_JSON, "\"inputs\""},
    {"{\"inputs\":{}}", PROBLEM_BAD_JSON, "\"inputs\""},
    {"{\"inputs\":[]}", PROBLEM_BAD_JSON, "\"inputs\""},
    {"{\"inputs\":[1]}", PROBLEM_BAD_JSON, "\"inputs\""},
    {"{\"inputs\":[{\"name\":\"x\"}]}", PROBLEM_BAD_JSON, "\"input\""},
    {"{\"inputs\":[{\"name\":\"input\"},{}]}", PROBLEM_BAD_JSON, "\"inputs\""},
    {INPUT("\"shape\":[1]"), PROBLEM_BAD_JSON, "datatype"},
    {INPUT("\"datatype\":\"FP32\""), PROBLEM_BAD_TENSOR, "\"shape\""},
    {FP32("[]", "[]"), PROBLEM_BAD_TENSOR, "\"shape\""},
    {FP32("[1,1,1,1,1]", "[]"), PROBLEM_BAD_TENSOR, "\"shape\""},
    {FP32("[-1,3,2,2]", "[]"), PROBLEM_BAD_TENSOR, "shape[0]"},
    {FP32("[0,3,2,2]", "[]"), PROBLEM_BAD_TENSOR, "shape[0]"},
    {FP32("[1.0,3,2,2]", "[]"), PROBLEM_BAD_TENSOR, "shape[0]"},
    {FP32("[1,3,2,4294967298]", "[]"), PROBLEM_BAD_TENSOR, "shape[3]"},
    {FP32("[9223372036854775807,3,2,2]", "[]"), PROBLEM_BAD_TENSOR, "shape[0]"},
    {FP32("[18446744073709551615,3,2,2]", "[]"), PROBLEM_BAD_JSON, "integer"},
    {FP32("[2147483647,3,2,2]", "[]"), PROBLEM_TOO_MANY_IMAGES, "limit is 4"},
    {FP32("[5,3,2,2]", "[]"), PROBLEM_TOO_MANY_IMAGES, "limit is 4"},
    {FP32("[3,2,2]", "[" ASCENDING "]"), PROBLEM_BAD_TENSOR, "[n,3,2,2]"},
    {FP32("[1,2,2,3]", "[" ASCENDING "]"), PROBLEM_BAD_TENSOR, "[n,3,2,2]"},
    {INPUT(ONE "\"datatype\":\"FP64\",\"data\":[" ASCENDING "]"), PROBLEM_BAD_TENSOR, "FP64"},
    {FP32("[1,3,2,2]", "[1]"), PROBLEM_BAD_TENSOR, "wants 12"},
    {FP32("[1,3,2,2]", "[" ASCENDING ",12]"), PROBLEM_BAD_TENSOR, "has 13"},
    {FP32("[1,3,2,2]", "[[[[0,1],[2]]]]"), PROBLEM_BAD_TENSOR, "wants 3"},
    {FP32("[1,3,2,2]", "\"abc\""), PROBLEM_BAD_TENSOR, "wants 12"},
    {FP32("[1,3,2,2]", "[0,1,2,3,4,5,6,7,8,9,10,null]"), PROBLEM_BAD_TENSOR, "element 11"},
    {FP32("[1,3,2,2]", "[0,1,2,3,4,5,6,7,8,9,10,1e39]"), PROBLEM_BAD_TENSOR, "element 11"},
    {FP32("[1,3,2,2]", "[0,1,2,3,4,5,6,7,8,9,10,true]"), PROBLEM_BAD_TENSOR, "element 11"},
    {INPUT(ONE "\"datatype\":\"UINT8\",\"data\":[0,1,2,3,4,5,6,7,8,9,10,256]"), PROBLEM_BAD_TENSOR,
     "0…255"},
    {INPUT(ONE "\"datatype\":\"UINT8\",\"data\":[0,1,2,3,4,5,6,7,8,9,10,-1]"), PROBLEM_BAD_TENSOR,
     "0…255"},
    {INPUT("\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"*\"]"), PROBLEM_BAD_BASE64,
     "element 0"},
    {INPUT("\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"Zg==\"]"), PROBLEM_BAD_TENSOR,
     "wants 2"},
    {INPUT("\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"Zg==\"],\"parameters\":"
           "{\"content_type\":\"str\"}"),
     PROBLEM_BAD_PARAMETER, "content_type"},
    {INPUT("\"shape\":[1],\"datatype\":\"BYTES\""), PROBLEM_BAD_JSON, "neither"},
    {INPUT("\"shape\":[1],\"datatype\":\"BYTES\",\"parameters\":{\"shared_memory_region\":\"r\"}"),
     PROBLEM_BAD_PARAMETER, "shared"},
    {BODY("\"id\":1"), PROBLEM_BAD_JSON, "\"id\""},
    {BODY("\"output\":[]"), PROBLEM_BAD_JSON, "\"output\""},
    {BODY("\"outputs\":[{\"name\":\"logits\"}]"), PROBLEM_BAD_JSON, "\"probabilities\""},
    {BODY("\"outputs\":7"), PROBLEM_BAD_JSON, "\"probabilities\""},
    {BODY("\"parameters\":[]"), PROBLEM_BAD_JSON, "\"parameters\""},
    {BODY("\"parameters\":{\"timeout\":-1}"), PROBLEM_BAD_PARAMETER, "timeout"},
    {BODY("\"parameters\":{\"timeout\":600000001}"), PROBLEM_BAD_PARAMETER, "timeout"},
    {BODY("\"parameters\":{\"timeout\":1.5}"), PROBLEM_BAD_PARAMETER, "timeout"},
    {BODY("\"parameters\":{\"binary_data_output\":1}"), PROBLEM_BAD_PARAMETER, "binary_data"},
    {BODY("\"outputs\":[{\"name\":\"probabilities\",\"parameters\":{\"classification\":11}}]"),
     PROBLEM_BAD_PARAMETER, "classification"},
    {BODY("\"outputs\":[{\"name\":\"probabilities\",\"parameters\":{\"classification\":0}}]"),
     PROBLEM_BAD_PARAMETER, "classification"},
};

Test(api_v2_body, what_is_wrong_is_named)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_not(read_text(wrong[i].json), "%s", wrong[i].json);
        cr_expect_eq(problem.type, wrong[i].type, "%s: %s", wrong[i].json, problem.detail);
        cr_expect(strstr(problem.detail, wrong[i].says), "%s: %s", wrong[i].json, problem.detail);
    }
}

#define BYTES_OF(size)                                                                             \
    INPUT("\"shape\":[1],\"datatype\":\"BYTES\",\"parameters\":{\"binary_data_size\":" size "}")

Test(api_v2_body, binary_sizes_that_lie_are_refused)
{
    static const struct {
        const char *json, *binary;
        size_t n;
    } lies[] = {
        {BYTES_OF("8"), "\3\0\0\0foo", 7},
        {BYTES_OF("6"), "\3\0\0\0foo", 7},
        {BYTES_OF("-1"), "\3\0\0\0foo", 7},
        {BYTES_OF("9223372036854775807"), "\3\0\0\0foo", 7},
        {BYTES_OF("\"7\""), "\3\0\0\0foo", 7},
        {BYTES_OF("7"), "\4\0\0\0foo", 7},
        {BYTES_OF("7"), "\2\0\0\0foo", 7},
        {BYTES_OF("7"), "\377\377\377\377foo", 7},
        {BYTES_OF("3"), "\3\0\0", 3},
        {BYTES_OF("0"), "", 0},
        {INPUT("\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"Zg==\"]"), "x", 1},
        {INPUT("\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"Zg==\"],\"parameters\":"
               "{\"binary_data_size\":1}"),
         "x", 1},
        {INPUT(ONE "\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":7}"), "1234567", 7},
        {INPUT(ONE "\"datatype\":\"UINT8\",\"parameters\":{\"binary_data_size\":7}"), "1234567", 7},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        cr_expect_not(read_both(lies[i].json, lies[i].binary, lies[i].n), "%s", lies[i].json);
    body.header_bytes = 100;
    cr_assert_not(read_text("{}"));
    cr_assert(strstr(problem.detail, "is 100, the body has 2"), "%s", problem.detail);
}

Test(api_v2_body, numbers_that_are_none_are_refused_in_binary_too)
{
    static const uint32_t bits[] = {0x7f800000, 0xff800000, 0x7fc00000};
    for (size_t i = 0; i < 3; i++) {
        uint8_t binary[N_VALUES * 4] = {0};
        for (int b = 0; b < 4; b++)
            binary[20 + b] = (uint8_t)(bits[i] >> 8 * b);
        cr_assert_not(read_both(INPUT(ONE "\"datatype\":\"FP32\",\"parameters\":"
                                          "{\"binary_data_size\":48}"),
                                binary, sizeof binary));
        cr_assert(strstr(problem.detail, "element 5"), "%s", problem.detail);
    }
}

Test(api_v2_body, cut_off_anywhere_is_no_request)
{
    static const char json[] = FP32("[1,3,2,2]", "[" ASCENDING "]");
    for (size_t n = 0; n < sizeof json - 1; n++)
        cr_assert_not(read_bytes(json, n), "%zu", n);
}

Test(api_v2_body, a_text_of_too_many_values_is_not_even_parsed)
{
    static char json[20000];
    memset(json, '[', sizeof json - 1);
    const size_t before = alloc_count();
    cr_assert_not(read_text(json));
    cr_assert_eq(problem.type, PROBLEM_BAD_TENSOR);
    cr_assert_leq(alloc_count() - before, 3);
}

Test(api_v2_body, each_failing_allocation_is_an_error_of_ours)
{
    static const char *const texts[] = {
        INPUT(ONE "\"datatype\":\"UINT8\",\"data\":[" ASCENDING "]"), BODY("\"id\":\"x\"")};
    for (size_t i = 0; i < 2; i++) {
        bool ok = false;
        for (size_t nth = 1; !ok; nth++) {
            end();
            request = request_new(0);
            problem = (struct problem){0};
            body.bytes = (const uint8_t *)texts[i];
            body.n_bytes = strlen(texts[i]);
            alloc_fail(nth);
            ok = api_v2_body_read(&body, request, &info, &problem);
            alloc_fail(0);
            cr_assert(ok || problem.type == PROBLEM_INTERNAL, "%s", problem.detail);
            cr_assert_lt(nth, 50);
        }
    }
}

Test(api_v2_body, the_header_is_a_number_of_bytes)
{
    int64_t n = 0;
    cr_assert(api_v2_body_header(NULL, &n, &problem));
    cr_assert_eq(n, -1);
    cr_assert(api_v2_body_header("232", &n, &problem));
    cr_assert_eq(n, 232);
    static const char *const bad[] = {"", "-1", "1x", " 1", "0x10", "9999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(api_v2_body_header(bad[i], &n, &problem), "%s", bad[i]);
}

Test(json_scan, counts_at_least_what_a_parser_would_make)
{
    static const struct {
        const char *json;
        size_t n;
    } texts[] = {{"", 1},      {"1", 1},         {"[]", 2},
                 {"[1,2]", 3}, {"{\"a\":1}", 2}, {"[\"a,b[\\\",:\",1]", 3}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_assert_eq(json_scan_values((const uint8_t *)texts[i].json, strlen(texts[i].json)),
                     texts[i].n, "%s", texts[i].json);
    cr_assert_eq(json_scan_values((const uint8_t *)"\"\\", 2), 1);
}
