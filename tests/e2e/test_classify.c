/* Every way to send an image to the real server gives the same answer, and the answer has every
 * member that docs/api.md names.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/support_server.h"

static struct server server;

static void start(void)
{
    server_start(&server, "");
}

static void stop(void)
{
    server_stop(&server);
}

TestSuite(e2e_classify, .init = start, .fini = stop, .timeout = 300);

/* "predictions" of an answer for the photograph, to compare others with. */
static json_t *expected(void)
{
    struct reply reply;
    ask_file(&server, "/classify", PHOTO, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    json_t *predictions = json_incref(json_object_get(reply.json, "predictions"));
    cr_assert_eq(json_array_size(predictions), 5);
    reply_done(&reply);
    return predictions;
}

static void is_expected(const struct reply *reply, const char *form)
{
    json_t *want = expected();
    cr_assert_eq(reply->status, 200, "%s: %s", form, reply->body);
    cr_expect(json_equal(json_object_get(reply->json, "predictions"), want), "%s: %s", form,
              reply->body);
    json_decref(want);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    cr_assert_not_null(text, "no text \"%s\"", key);
    return text;
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *number = json_object_get(object, key);
    cr_assert(json_is_number(number), "no number \"%s\"", key);
    return json_number_value(number);
}

Test(e2e_classify, an_answer_has_all_members)
{
    static const char *const stages[] = {"receive", "decode",    "preprocess",
                                         "queue",   "inference", "respond"};
    struct reply reply;
    ask_file(&server, "/classify?top_k=10", PHOTO, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    cr_assert_str_eq(reply_header(&reply, "Content-Type"), "application/json");
    cr_assert_eq(strlen(text_of(reply.json, "id")), 26, "a ULID");
    cr_assert_str_eq(reply_header(&reply, "X-Request-Id"), text_of(reply.json, "id"));
    const json_t *model = json_object_get(reply.json, "model");
    cr_assert_str_eq(text_of(model, "name"), "cifar10-resnet20");
    cr_assert_str_eq(text_of(model, "precision"), "fp32");
    cr_assert_eq(strlen(text_of(model, "digest")), strlen("sha256:") + 64);
    cr_assert(text_of(model, "version"));
    const json_t *image = json_object_get(reply.json, "image");
    cr_assert_str_eq(text_of(image, "format"), "jpeg");
    cr_assert_gt(number_of(image, "width"), 0);
    cr_assert_gt(number_of(image, "height"), 0);
    cr_assert_eq(number_of(image, "exif_orientation"), 1);
    size_t n;
    free(read_file(PHOTO, &n));
    cr_assert_eq((size_t)number_of(image, "bytes"), n);
    cr_assert_eq(number_of(json_object_get(reply.json, "batch"), "size"), 1, "nobody else is here");

    double sum = 0, last = 1;
    const json_t *predictions = json_object_get(reply.json, "predictions");
    for (size_t i = 0; i < json_array_size(predictions); i++) {
        const json_t *p = json_array_get(predictions, i);
        const double score = number_of(p, "score");
        cr_assert_leq(score, last, "best first");
        cr_assert(number_of(p, "index") >= 0 && number_of(p, "index") < 10);
        cr_assert(text_of(p, "label")[0]);
        sum += score;
        last = score;
    }
    cr_assert_float_eq(sum, 1, 1e-5, "all ten scores sum to %g", sum);

    const json_t *timings = json_object_get(reply.json, "timings_ms");
    const char *header = reply_header(&reply, "Server-Timing");
    cr_assert_not_null(header);
    sum = 0;
    for (size_t i = 0; i < 6; i++) {
        char entry[64];
        const double ms = number_of(timings, stages[i]);
        cr_assert_geq(ms, 0);
        (void)snprintf(entry, sizeof entry, "%s;dur=%.3f", stages[i], ms);
        cr_assert(strstr(header, entry), "no %s in %s", entry, header);
        sum += ms;
    }
    cr_assert_float_eq(sum, number_of(timings, "total"), 0.1);
    reply_done(&reply);
}

Test(e2e_classify, raw_bodies_of_any_content_type)
{
    static const char *const types[] = {"Content-Type: application/x-www-form-urlencoded",
                                        "Content-Type: image/png", "Content-Type: text/plain",
                                        "Content-Type:"};
    size_t n;
    char *bytes = read_file(PHOTO, &n);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int put = 0; put < 2; put++)
            for (int chunked = 0; chunked < 2; chunked++) {
                struct reply reply;
                ask(&server,
                    &(struct ask){.method = put ? "PUT" : "POST",
                                  .path = "/classify",
                                  .headers = {types[i]},
                                  .body = bytes,
                                  .n = n,
                                  .chunked = chunked},
                    &reply);
                is_expected(&reply, types[i]);
                reply_done(&reply);
            }
    free(bytes);
}

static void add_file(curl_mime *mime, const char *field, const char *path, const char *name)
{
    curl_mimepart *part = curl_mime_addpart(mime);
    (void)curl_mime_name(part, field);
    (void)curl_mime_filedata(part, path);
    (void)curl_mime_filename(part, name);
}

Test(e2e_classify, a_form_with_one_file_and_its_parameters)
{
    curl_mime *mime = curl_mime_init(NULL);
    struct reply reply;
    add_file(mime, "anything", PHOTO, "photo.jpg");
    curl_mimepart *part = curl_mime_addpart(mime);
    (void)curl_mime_name(part, "top_k");
    (void)curl_mime_data(part, "2", CURL_ZERO_TERMINATED);
    ask(&server, &(struct ask){.path = "/classify?top_k=7", .mime = mime}, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    cr_assert_eq(json_array_size(json_object_get(reply.json, "predictions")), 2,
                 "a field overrides the query");
    reply_done(&reply);

    mime = curl_mime_init(NULL);
    add_file(mime, "image", PHOTO, "photo.jpg");
    ask(&server, &(struct ask){.path = "/classify", .mime = mime}, &reply);
    is_expected(&reply, "form");
    reply_done(&reply);
}

Test(e2e_classify, a_form_with_several_files_of_which_one_is_bad)
{
    curl_mime *mime = curl_mime_init(NULL);
    struct reply reply;
    add_file(mime, "a", PHOTO, "ä\"b.jpg");
    add_file(mime, "b", "README.md", "b.txt");
    add_file(mime, "c", PHOTO, "c.jpg");
    ask(&server, &(struct ask){.path = "/classify", .mime = mime}, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    json_t *want = expected();
    const json_t *results = json_object_get(reply.json, "results");
    cr_assert_eq(json_array_size(results), 3);
    cr_assert_str_eq(text_of(json_array_get(results, 0), "name"), "ä\"b.jpg");
    cr_assert(json_equal(json_object_get(json_array_get(results, 0), "predictions"), want));
    const json_t *error = json_object_get(json_array_get(results, 1), "error");
    cr_assert_str_eq(text_of(json_array_get(results, 1), "name"), "b.txt");
    cr_assert_str_eq(text_of(error, "type"), "/problems/unsupported-format");
    cr_assert(json_equal(json_object_get(json_array_get(results, 2), "predictions"), want));
    cr_assert_not_null(json_object_get(json_array_get(results, 2), "timings_ms"));
    cr_assert_gt(number_of(json_object_get(reply.json, "timings_ms"), "total"), 0);
    json_decref(want);
    reply_done(&reply);
}

Test(e2e_classify, base64_and_data_uris_in_json)
{
    struct reply reply;
    ask_json(&server, "{\"image\": \"%s\"}", &reply);
    is_expected(&reply, "image");
    reply_done(&reply);
    ask_json(&server, "{\"image\": \"data:image/jpeg;base64,%s\", \"top_k\": 5}", &reply);
    is_expected(&reply, "data: URI");
    reply_done(&reply);
    ask_json(&server, "{\"images\": [\"%s\", \"aGVsbG8=\"]}", &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    const json_t *results = json_object_get(reply.json, "results");
    cr_assert_eq(json_array_size(results), 2);
    cr_assert_not_null(json_object_get(json_array_get(results, 0), "predictions"));
    cr_assert_not_null(json_object_get(json_array_get(results, 1), "error"));
    reply_done(&reply);
}

Test(e2e_classify, the_shape_of_hugging_faces_clients)
{
    struct reply reply;
    ask_json(&server, "{\"inputs\": \"%s\", \"parameters\": {\"top_k\": 2}}", &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    json_t *want = expected();
    cr_assert_eq(json_array_size(reply.json), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *got = json_array_get(reply.json, i), *p = json_array_get(want, i);
        cr_assert_eq(json_object_size(got), 2);
        cr_assert_str_eq(text_of(got, "label"), text_of(p, "label"));
        cr_assert_eq(number_of(got, "score"), number_of(p, "score"));
    }
    json_decref(want);
    reply_done(&reply);
    ask_json(&server, "{\"inputs\": \"%s\", \"parameters\": {\"explain\": \"cam\"}}", &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
}

Test(e2e_classify, parameters_of_the_query)
{
    struct reply reply;
    ask_file(&server, "/classify?threshold=0.5&labels=0&timings=0", PHOTO, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    const json_t *predictions = json_object_get(reply.json, "predictions");
    cr_assert_eq(json_array_size(predictions), 1, "one score is above a half");
    cr_assert_null(json_object_get(json_array_get(predictions, 0), "label"));
    cr_assert_null(json_object_get(reply.json, "timings_ms"));
    reply_done(&reply);
    ask_file(&server, "/classify?model=cifar10-resnet20&timeout_ms=60000", PHOTO, &reply);
    is_expected(&reply, "model by name");
    reply_done(&reply);
}

Test(e2e_classify, debug_input_is_the_png_that_the_network_saw)
{
    struct reply picture, reply;
    ask_file(&server, "/classify?debug=input", PHOTO, &picture);
    cr_assert_eq(picture.status, 200);
    cr_assert_str_eq(reply_header(&picture, "Content-Type"), "image/png");
    cr_assert_eq(memcmp(picture.body, "\x89PNG", 4), 0);
    /* Sent back it needs no resizing, so the network sees the same pixels again. */
    ask(&server, &(struct ask){.path = "/classify", .body = picture.body, .n = picture.n}, &reply);
    is_expected(&reply, "its own input");
    cr_assert_eq(number_of(json_object_get(reply.json, "image"), "width"), 32);
    cr_assert_eq(number_of(json_object_get(reply.json, "image"), "height"), 32);
    reply_done(&picture);
    reply_done(&reply);
}

Test(e2e_classify, a_request_id_is_echoed_when_it_is_harmless)
{
    struct reply reply;
    size_t n;
    char *bytes = read_file(PHOTO, &n);
    struct ask question = {
        .path = "/classify", .headers = {"X-Request-Id: my.own-id_7"}, .body = bytes, .n = n};
    ask(&server, &question, &reply);
    cr_assert_str_eq(reply_header(&reply, "X-Request-Id"), "my.own-id_7");
    cr_assert_str_eq(text_of(reply.json, "id"), "my.own-id_7");
    reply_done(&reply);
    question.headers[0] = "X-Request-Id: <script>";
    ask(&server, &question, &reply);
    cr_assert_eq(strlen(reply_header(&reply, "X-Request-Id")), 26);
    reply_done(&reply);
    free(bytes);
}

Test(e2e_classify, the_command_line_gives_the_same_predictions)
{
    struct program program;
    json_t *want = expected();
    cr_assert_eq(program_run(&program, "classify --json " PHOTO), 0, "%s", program.stderr_text);
    json_error_t err;
    json_t *line = json_loads(program.stdout_text, 0, &err);
    cr_assert_not_null(line, "%s", program.stdout_text);
    cr_assert(json_equal(json_object_get(line, "predictions"), want), "%s", program.stdout_text);
    json_decref(line);
    json_decref(want);
    program_done(&program);
}

/* A browser's FormData, as Node's fetch sends it. */
Test(e2e_classify, form_data_of_a_javascript_client)
{
    FILE *which = popen("command -v node", "re");
    char path[256] = "", command[512], label[64] = "";
    const bool found = which && fgets(path, sizeof path, which);
    cr_assert(which && pclose(which) >= 0);
    if (!found)
        cr_skip_test("node is not installed");
    (void)snprintf(command, sizeof command, "node tests/e2e/fetch.mjs %s/classify %s", server.url,
                   PHOTO);
    FILE *client = popen(command, "re");
    cr_assert_not_null(client);
    cr_assert_not_null(fgets(label, sizeof label, client));
    cr_assert_eq(pclose(client), 0);
    label[strcspn(label, "\n")] = '\0';
    json_t *want = expected();
    cr_assert_str_eq(label, text_of(json_array_get(want, 0), "label"));
    json_decref(want);
}

static void expect_cache(const struct server *cached, const char *path, const char *cache,
                         struct reply *reply)
{
    ask_file(cached, path, PHOTO, reply);
    cr_assert_eq(reply->status, 200, "%s", reply->body);
    cr_assert_str_eq(json_string_value(json_object_get(reply->json, "cache")), cache);
}

Test(e2e_classify, a_cache_knows_what_it_has_seen)
{
    struct server cached;
    struct reply first, second, third;
    server_start(&cached, "--cache-bytes 1M");
    expect_cache(&cached, "/classify", "miss", &first);
    expect_cache(&cached, "/classify", "hit", &second);
    expect_cache(&cached, "/classify?top_k=2", "hit", &third);
    cr_assert(json_equal(json_object_get(first.json, "predictions"),
                         json_object_get(second.json, "predictions")));
    cr_assert(
        json_equal(json_object_get(first.json, "image"), json_object_get(second.json, "image")));
    cr_assert_eq(json_array_size(json_object_get(third.json, "predictions")), 2);
    cr_assert_eq(server_metric(&cached, "resnetd_cache_hits_total"), 2);
    cr_assert_eq(server_metric(&cached, "resnetd_cache_misses_total"), 1);
    cr_assert_eq(server_metric(&cached, "resnetd_batch_size_sum"), 1);
    reply_done(&first);
    reply_done(&second);
    reply_done(&third);
    server_stop(&cached);
}
