/* Bodies of /classify as bytes: what becomes of good ones, and what is said of bad ones.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_body.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/problem.h"
#include "server/request.h"

#define JSON "application/json"
#define FORM "multipart/form-data; boundary=X"
#define PART(disposition, bytes)                                                                   \
    "--X\r\nContent-Disposition: form-data; " disposition "\r\n\r\n" bytes "\r\n"
#define FORM_END "--X--\r\n"

static struct api_body body;
static struct request *request;
static struct problem problem;

static void start(void)
{
    request = request_new(0);
    cr_assert_not_null(request);
}

static void end(void)
{
    request_free(request);
    api_body_done(&body);
}

TestSuite(api_body, .init = start, .fini = end);

static bool read_body(const char *type, const char *bytes, size_t n)
{
    end();
    start();
    problem = (struct problem){0};
    body = (struct api_body){.content_type = type,
                             .bytes = (const uint8_t *)bytes,
                             .n_bytes = n,
                             .max_images = 3,
                             .params = api_params_default};
    const bool ok = api_body_read(&body, request, &problem);
    cr_assert_eq(ok, problem.type == PROBLEM_NONE, "%s: %s", bytes, problem.detail);
    return ok;
}

static void holds(int i, const char *name, const char *bytes)
{
    const struct request_image *image = &request->images[i];
    cr_assert_str_eq(image->name, name);
    cr_assert_eq(image->n_bytes, strlen(bytes));
    cr_assert_eq(memcmp(image->bytes, bytes, image->n_bytes), 0, "%s", name);
}

Test(api_body, its_form_is_told_by_its_type_or_its_first_bytes)
{
    static const struct {
        const char *type, *bytes;
        enum api_form form;
    } cases[] = {
        {"Multipart/Form-Data; boundary=X", "", API_FORM_MULTIPART},
        {"multipart/form-data-2", "x", API_FORM_RAW},
        {"Application/JSON;charset=utf-8", "x", API_FORM_JSON},
        {"", "{}", API_FORM_JSON},
        {"application/x-www-form-urlencoded", " \t\r\n{", API_FORM_JSON},
        {"image/x-unknown", "{", API_FORM_RAW},
        {"", "\xff\xd8", API_FORM_RAW},
        {"", " \n", API_FORM_RAW},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(
            api_body_form(cases[i].type, (const uint8_t *)cases[i].bytes, strlen(cases[i].bytes)),
            cases[i].form, "%s, %s", cases[i].type, cases[i].bytes);
}

static bool read_text(const char *type, const char *text)
{
    return read_body(type, text, strlen(text));
}

Test(api_body, anything_else_is_one_image)
{
    cr_assert(read_text("", "pixels"));
    cr_assert_eq(request->n_images, 1);
    cr_assert_eq(body.shape, API_SHAPE_ONE);
    holds(0, "", "pixels");
}

Test(api_body, json_sets_parameters_of_every_type)
{
    cr_assert(read_text(JSON, "{\"top_k\": 3, \"threshold\": 0.25, \"labels\": false, "
                              "\"timings\": true, \"model\": \"m\", \"timeout_ms\": null, "
                              "\"images\": [\"aGVsbG8=\", \"DATA:image/png;BASE64,eW91\"]}"));
    cr_assert_eq(body.params.top_k, 3);
    cr_assert_eq(body.params.threshold, 0.25);
    cr_assert_not(body.params.labels);
    cr_assert(body.params.timings);
    cr_assert_str_eq(body.params.model, "m");
    cr_assert_eq(body.params.timeout_ms, 0);
    cr_assert_eq(body.shape, API_SHAPE_MANY);
    cr_assert_eq(request->n_images, 2);
    holds(0, "images[0]", "hello");
    holds(1, "images[1]", "you");
}

Test(api_body, hugging_faces_inputs_are_one_or_a_list)
{
    cr_assert(read_text(JSON, "{\"inputs\": \"aGVsbG8=\", \"parameters\": null}"));
    cr_assert_eq(body.shape, API_SHAPE_HF);
    holds(0, "inputs", "hello");
    cr_assert(read_text(JSON, "{\"inputs\": [\"aGVsbG8=\"], \"parameters\": {\"top_k\": 2}}"));
    cr_assert_eq(body.shape, API_SHAPE_HF_MANY);
    cr_assert_eq(body.params.top_k, 2);
    holds(0, "inputs[0]", "hello");
}

Test(api_body, a_form_has_files_fields_and_empty_file_fields)
{
    cr_assert(read_text(FORM, PART("name=\"left\"; filename=\"\"", "")
                                  PART("name=\"a\"; filename=\"a.jpg\"", "first")
                                      PART("name=\"top_k\"", "4")
                                          PART("name=\"b\"; filename=\"\"", "second") FORM_END));
    cr_assert_eq(body.params.top_k, 4);
    cr_assert_eq(body.shape, API_SHAPE_MANY);
    cr_assert_eq(request->n_images, 2);
    holds(0, "a.jpg", "first");
    holds(1, "b", "second");
}

static const struct {
    const char *type, *bytes;
    enum problem_type problem;
    const char *part; /* of what is said */
} bad[] = {
    {JSON, "{\"image\":\"a\"", PROBLEM_BAD_JSON, "line 1, column 12"},
    {JSON, "[\"aGVsbG8=\"]", PROBLEM_BAD_JSON, "no object"},
    {JSON, "{\"top_k\":1}", PROBLEM_BAD_JSON, "neither \"image\""},
    {JSON, "{\"image\":\"a\",\"inputs\":\"a\"}", PROBLEM_BAD_JSON, "both \"image\" and \"inputs\""},
    {JSON, "{\"image\":[\"aGVsbG8=\"]}", PROBLEM_BAD_JSON, "\"image\" takes one text"},
    {JSON, "{\"images\":\"aGVsbG8=\"}", PROBLEM_BAD_JSON, "\"images\" takes a list"},
    {JSON, "{\"images\":[]}", PROBLEM_BAD_JSON, "\"images\" has no image"},
    {JSON, "{\"images\":[\"aGVsbG8=\",5]}", PROBLEM_BAD_JSON, "images[1] is no text"},
    {JSON, "{\"images\":[\"a\",\"a\",\"a\",\"a\"]}", PROBLEM_TOO_MANY_IMAGES, "the limit is 3"},
    {JSON, "{\"image\":\"\"}", PROBLEM_EMPTY_BODY, "image is empty"},
    {JSON, "{\"image\":\"data:,hello\"}", PROBLEM_BAD_BASE64, "image: the data: URI"},
    {JSON, "{\"image\":\"data:image/png;base64\"}", PROBLEM_BAD_BASE64, "image: the data: URI"},
    {JSON, "{\"inputs\":[\"aGVsbG8=\",\"?\"]}", PROBLEM_BAD_BASE64, "inputs[1]: "},
    {JSON, "{\"inputs\":\"aGVsbG8=\",\"parameters\":[]}", PROBLEM_BAD_JSON, "\"parameters\""},
    {JSON, "{\"inputs\":\"aGVsbG8=\",\"parameters\":{\"top_k\":\"x\"}}", PROBLEM_BAD_PARAMETER,
     "top_k: \"x\""},
    {JSON, "{\"image\":\"aGVsbG8=\",\"parameters\":{}}", PROBLEM_BAD_PARAMETER, "no parameter"},
    {JSON, "{\"image\":\"aGVsbG8=\",\"top_k\":{}}", PROBLEM_BAD_PARAMETER, "top_k"},
    {JSON, "{\"image\":\"aGVsbG8=\",\"top_k\":true,\"labels\":2}", PROBLEM_BAD_PARAMETER,
     "labels: \"2\""},
    {FORM, PART("name=\"top_k\"", "1") FORM_END, PROBLEM_BAD_MULTIPART, "has no file"},
    {FORM, PART("name=\"f\"; filename=\"a.jpg\"", "") FORM_END, PROBLEM_EMPTY_BODY,
     "file is empty"},
    {FORM, PART("name=\"top_k\"", "x") FORM_END, PROBLEM_BAD_PARAMETER, "top_k: \"x\""},
    {FORM, PART("name=\"f\"; filename=\"a.jpg\"", "x"), PROBLEM_BAD_MULTIPART, "form"},
    {"multipart/form-data", FORM_END, PROBLEM_BAD_MULTIPART, "no boundary"},
};

Test(api_body, bad_ones_are_told_what_is_wrong)
{
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(read_text(bad[i].type, bad[i].bytes), "%s", bad[i].bytes);
        cr_expect_eq(problem.type, bad[i].problem, "%s: %s", bad[i].bytes, problem.detail);
        cr_expect_not_null(strstr(problem.detail, bad[i].part), "%s: \"%s\" does not say \"%s\"",
                           bad[i].bytes, problem.detail, bad[i].part);
    }
}

/* Where a client forgot the filename, or means harm. */
Test(api_body, a_fields_value_is_a_short_text)
{
    static const char zero[] = PART("name=\"model\"", "a\0b") FORM_END;
    char text[600];
    cr_assert_not(read_body(FORM, zero, sizeof zero - 1));
    cr_assert_eq(problem.type, PROBLEM_BAD_PARAMETER);
    cr_assert_str_eq(problem.parameter, "model");
    (void)snprintf(text, sizeof text, PART("name=\"image\"", "%0256d") FORM_END, 0);
    cr_assert_not(read_text(FORM, text));
    cr_assert_eq(problem.type, PROBLEM_BAD_PARAMETER);
    cr_assert_not_null(strstr(problem.detail, "needs a filename"));
}

Test(api_body, json_has_a_limit_of_values_before_it_is_parsed)
{
    char *text = malloc(4096);
    size_t n = (size_t)snprintf(text, 64, "{\"images\":[0");
    while (n < 2048)
        n += (size_t)snprintf(text + n, 64, ",0");
    (void)snprintf(text + n, 64, "]}");
    cr_assert_not(read_text(JSON, text));
    cr_assert_eq(problem.type, PROBLEM_BAD_JSON);
    cr_assert_not_null(strstr(problem.detail, "values"), "%s", problem.detail);
    free(text);
}
