/* What a server shows of a model and its decisions: the network, class-activation maps, feature
 * maps.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
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

TestSuite(e2e_seeing, .init = start, .fini = stop, .timeout = 300);

/* ---- the network ----------------------------------------------------------------------------- */

Test(e2e_seeing, the_network_is_what_inspect_prints)
{
    struct program program;
    struct reply reply;
    ask_get(&server, "/network", &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    cr_assert_eq(program_run(&program, "inspect --json"), 0, "%s", program.stderr_text);
    cr_assert_str_eq(reply.body, program.stdout_text);
    program_done(&program);
    reply_done(&reply);
    ask_get(&server, "/network?model=cifar10-resnet20", &reply);
    cr_assert_eq(reply.status, 200);
    reply_done(&reply);
    ask_get(&server, "/network?model=none", &reply);
    reply_is_problem(&reply, 404, "unknown-model");
    reply_done(&reply);
    ask_get(&server, "/network?layer=1", &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
}

/* Every layer is reached from the input through layers before it. */
Test(e2e_seeing, layers_are_connected)
{
    struct reply reply;
    ask_get(&server, "/network", &reply);
    const json_t *layers = json_object_get(reply.json, "layers");
    json_t *seen = json_object(), *layer;
    size_t i;
    json_array_foreach(layers, i, layer)
    {
        const json_t *inputs = json_object_get(layer, "inputs");
        const char *op = json_string_value(json_object_get(layer, "op"));
        cr_assert_eq(json_array_size(inputs), i == 0 ? 0 : strcmp(op, "add") == 0 ? 2 : 1);
        for (size_t k = 0; k < json_array_size(inputs); k++)
            cr_assert_not_null(json_object_get(seen, json_string_value(json_array_get(inputs, k))));
        cr_assert_eq(json_object_get(layer, "shortcut") != NULL, strcmp(op, "add") == 0);
        (void)json_object_set_new(seen, json_string_value(json_object_get(layer, "name")),
                                  json_true());
    }
    cr_assert_gt(i, 60);
    json_decref(seen);
    reply_done(&reply);
}

/* ---- class-activation maps ------------------------------------------------------------------- */

/* The logits of the photograph, by the command line. */
static json_t *logits_of_photo(void)
{
    struct program program;
    cr_assert_eq(program_run(&program, "classify --json --logits " PHOTO), 0, "%s",
                 program.stderr_text);
    json_t *line = json_loads(program.stdout_text, 0, NULL);
    json_t *logits = json_incref(json_object_get(line, "logits"));
    cr_assert_eq(json_array_size(logits), 10);
    json_decref(line);
    program_done(&program);
    return logits;
}

/* mean(grid) + bias of an answer's "explain". */
static double logit_of(const json_t *explain)
{
    const json_t *grid = json_object_get(explain, "grid");
    double sum = 0;
    cr_assert_eq(json_array_size(grid), 8);
    for (size_t y = 0; y < 8; y++) {
        const json_t *row = json_array_get(grid, y);
        cr_assert_eq(json_array_size(row), 8);
        for (size_t x = 0; x < 8; x++)
            sum += json_number_value(json_array_get(row, x));
    }
    return sum / 64 + json_number_value(json_object_get(explain, "bias"));
}

Test(e2e_seeing, a_class_activation_map_of_any_class_is_its_logit)
{
    json_t *logits = logits_of_photo();
    struct reply plain, reply;
    ask_file(&server, "/classify", PHOTO, &plain);
    const json_t *predictions = json_object_get(plain.json, "predictions");
    for (int k = -1; k < 10; k++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/classify?explain=cam&explain_class=%d", k);
        ask_file(&server, k < 0 ? "/classify?explain=cam" : path, PHOTO, &reply);
        cr_assert_eq(reply.status, 200, "%s", reply.body);
        cr_assert(json_equal(json_object_get(reply.json, "predictions"), predictions));
        const json_t *explain = json_object_get(reply.json, "explain");
        const int class = (int)json_integer_value(json_object_get(explain, "class"));
        const json_t *best = json_array_get(predictions, 0);
        cr_assert_eq(class, k < 0 ? json_integer_value(json_object_get(best, "index")) : k);
        cr_assert_str_eq(json_string_value(json_object_get(explain, "method")), "cam");
        cr_assert_float_eq(logit_of(explain),
                           json_number_value(json_array_get(logits, (size_t) class)), 5e-4);
        reply_done(&reply);
    }
    cr_assert_null(json_object_get(plain.json, "explain"), "nobody asked");
    reply_done(&plain);
    json_decref(logits);
}

/* baseline-420.jpg has 53 x 38 pixels: 44 x 32 of which 32 are seen, from the sixth on. */
Test(e2e_seeing, the_region_is_the_part_of_the_photograph_that_was_seen)
{
    static const double want[] = {6 * 53 / 44.0, 0, 32 * 53 / 44.0, 38};
    struct reply reply;
    ask_file(&server, "/classify?explain=cam", PHOTO, &reply);
    const json_t *region = json_object_get(json_object_get(reply.json, "explain"), "region");
    for (size_t i = 0; i < 4; i++)
        cr_assert_float_eq(json_number_value(json_array_get(region, i)), want[i], 1e-3);
    reply_done(&reply);
}

Test(e2e_seeing, wrong_explain_parameters_are_named)
{
    static const char *const queries[] = {"explain=lime",
                                          "explain_class=1",
                                          "explain=cam&explain_class=10",
                                          "explain=cam&explain_class=-1",
                                          "explain=cam&explain_class=x",
                                          "explain_format=png",
                                          "explain=cam&explain_format=gif"};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        char path[128];
        struct reply reply;
        (void)snprintf(path, sizeof path, "/classify?%s", queries[i]);
        ask_file(&server, path, PHOTO, &reply);
        reply_is_problem(&reply, 400, "bad-parameter");
        reply_done(&reply);
    }
}

/* With a cache, and plain requests around: no answer has what another one asked for. */
Test(e2e_seeing, neither_cache_nor_company_mix_up_who_asked)
{
    struct server cached;
    struct reply reply;
    server_start(&cached, "--cache-bytes 1M");
    static const struct {
        const char *path;
        const char *cache;
        bool explain;
    } asked[] = {
        {"/classify", "miss", false},
        {"/classify?explain=cam", "miss", true},
        {"/classify", "hit", false},
        {"/classify?explain=cam&explain_class=3", "miss", true},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        ask_file(&cached, asked[i].path, PHOTO, &reply);
        cr_assert_eq(reply.status, 200, "%s", reply.body);
        cr_assert_str_eq(json_string_value(json_object_get(reply.json, "cache")), asked[i].cache);
        cr_assert_eq(json_object_get(reply.json, "explain") != NULL, asked[i].explain);
        reply_done(&reply);
    }
    server_stop(&cached);
}

#define N_COMPANY 12

/* Some ask for a map and some do not, at the same time: all get the same predictions. */
Test(e2e_seeing, who_asks_at_the_same_time_gets_what_it_asked_for)
{
    struct server batching;
    struct reply replies[N_COMPANY];
    CURL *handles[N_COMPANY];
    size_t n;
    char *bytes = read_file(PHOTO, &n);
    server_start(&batching, "--batch-window-ms 200 --decode-workers 1");
    CURLM *multi = curl_multi_init();
    for (int i = 0; i < N_COMPANY; i++) {
        const struct ask ask = {.path = i % 2 ? "/classify?explain=cam" : "/classify?debug=input",
                                .body = bytes,
                                .n = n};
        const struct ask plain = {.path = "/classify", .body = bytes, .n = n};
        handles[i] = ask_prepare(&batching, i % 4 == 0 ? &plain : &ask, &replies[i]);
        (void)curl_multi_add_handle(multi, handles[i]);
    }
    for (int running = 1; running > 0;) {
        (void)curl_multi_perform(multi, &running);
        (void)curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    json_t *first = NULL;
    for (int i = 0; i < N_COMPANY; i++) {
        (void)curl_multi_remove_handle(multi, handles[i]);
        ask_finish(handles[i], &replies[i]);
        cr_assert_eq(replies[i].status, 200, "%s", replies[i].body);
        json_t *predictions = json_object_get(replies[i].json, "predictions");
        cr_assert_eq(json_object_get(replies[i].json, "explain") != NULL, i % 2 == 1);
        if (predictions && !first)
            first = json_incref(predictions);
        if (predictions)
            cr_assert(json_equal(predictions, first));
    }
    json_decref(first);
    for (int i = 0; i < N_COMPANY; i++)
        reply_done(&replies[i]);
    (void)curl_multi_cleanup(multi);
    free(bytes);
    server_stop(&batching);
}

/* Images of one request wait for each other. */
Test(e2e_seeing, images_of_a_form_share_a_batch_and_have_a_map_each)
{
    struct server batching;
    struct reply reply;
    curl_mime *mime = curl_mime_init(NULL);
    server_start(&batching, "--batch-window-ms 1000");
    for (int i = 0; i < 4; i++) {
        curl_mimepart *part = curl_mime_addpart(mime);
        (void)curl_mime_name(part, "image");
        (void)curl_mime_filedata(part, PHOTO);
    }
    ask(&batching, &(struct ask){.path = "/classify?explain=cam", .mime = mime}, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    int largest = 0;
    for (size_t i = 0; i < 4; i++) {
        const json_t *result = json_array_get(json_object_get(reply.json, "results"), i);
        const json_t *batch = json_object_get(result, "batch");
        const int size = (int)json_integer_value(json_object_get(batch, "size"));
        cr_assert_eq(json_array_size(json_object_get(json_object_get(result, "explain"), "grid")),
                     8);
        largest = size > largest ? size : largest;
    }
    cr_assert_gt(largest, 1);
    reply_done(&reply);
    server_stop(&batching);
}

/* ---- feature maps ---------------------------------------------------------------------------- */

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* Asks again while the engine is found busy, as Retry-After says. */
static void ask_features(const struct server *where, const char *method, const char *query,
                         struct reply *reply)
{
    char path[256];
    size_t n;
    char *photo = read_file(PHOTO, &n);
    (void)snprintf(path, sizeof path, "/features?%s", query);
    for (int i = 0; i < 100; i++) {
        ask(where, &(struct ask){.method = method, .path = path, .body = photo, .n = n}, reply);
        if (reply->status != 503) {
            free(photo);
            return;
        }
        reply_is_problem(reply, 503, "engine-busy");
        cr_assert_not_null(reply_header(reply, "Retry-After"));
        reply_done(reply);
        (void)usleep(100000);
    }
    cr_assert_fail("the engine is never idle");
}

Test(e2e_seeing, feature_maps_are_tiles_or_numbers)
{
    struct reply reply;
    ask_features(&server, "POST", "layer=layer2.0.conv1", &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    cr_assert_str_eq(reply_header(&reply, "Content-Type"), "image/png");
    cr_assert_str_eq(reply_header(&reply, "X-Resnetd-Columns"), "4");
    char first[32];
    (void)snprintf(first, sizeof first, "%s", reply_header(&reply, "X-Resnetd-Channels"));
    cr_assert_eq(memcmp(reply.body, "\x89PNG", 4), 0);
    reply_done(&reply);

    ask_features(&server, "POST", "layer=layer2.0.conv1&format=json&top=3", &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    const json_t *maps = json_object_get(reply.json, "maps");
    cr_assert_eq(json_array_size(maps), 3);
    cr_assert_eq((int)number(json_array_get(maps, 0), "channel"), atoi(first));
    double last = INFINITY;
    for (size_t i = 0; i < 3; i++) {
        const json_t *map = json_array_get(maps, i), *rows = json_object_get(map, "values");
        double sum = 0;
        cr_assert_eq(json_array_size(rows), 16);
        for (size_t k = 0; k < 256; k++) {
            const json_t *row = json_array_get(rows, k / 16);
            cr_assert_eq(json_array_size(row), 16);
            sum += json_number_value(json_array_get(row, k % 16));
        }
        cr_assert_float_eq(sum / 256, number(map, "mean"), 1e-4 * fabs(sum));
        cr_assert_leq(number(map, "mean"), last, "best first");
        last = number(map, "mean");
    }
    reply_done(&reply);
}

/* The classifier's own maps are the logits, as the command line prints them. */
Test(e2e_seeing, the_last_maps_are_the_logits)
{
    json_t *logits = logits_of_photo();
    struct reply reply;
    ask_features(&server, "PUT", "layer=fc&format=json&top=64", &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.body);
    const json_t *maps = json_object_get(reply.json, "maps");
    cr_assert_eq(json_array_size(maps), 10, "as many as there are");
    for (size_t i = 0; i < 10; i++) {
        const json_t *map = json_array_get(maps, i);
        const size_t class = (size_t)number(map, "channel");
        cr_assert_float_eq(number(map, "mean"), json_number_value(json_array_get(logits, class)),
                           1e-3);
    }
    json_decref(logits);
    reply_done(&reply);
}

Test(e2e_seeing, every_layer_of_the_network_can_be_seen)
{
    struct reply network, reply;
    ask_get(&server, "/network", &network);
    json_t *layer;
    size_t i;
    json_array_foreach(json_object_get(network.json, "layers"), i, layer)
    {
        char query[256];
        (void)snprintf(query, sizeof query, "layer=%s&top=2",
                       json_string_value(json_object_get(layer, "name")));
        ask_features(&server, "POST", query, &reply);
        cr_assert_eq(reply.status, 200, "%s: %s", query, reply.body);
        reply_done(&reply);
    }
    reply_done(&network);
}

Test(e2e_seeing, wrong_questions_for_features_are_named)
{
    static const struct {
        const char *query;
        int status;
        const char *slug;
    } wrong[] = {
        {"", 400, "bad-parameter"},
        {"?layer=layer9.0.conv1", 400, "bad-parameter"},
        {"?layer=fc&top=0", 400, "bad-parameter"},
        {"?layer=fc&top=65", 400, "bad-parameter"},
        {"?layer=fc&format=gif", 400, "bad-parameter"},
        {"?layer=fc&explain=cam", 400, "bad-parameter"},
        {"?layer=fc&model=none", 404, "unknown-model"},
    };
    struct reply reply;
    char path[128];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        (void)snprintf(path, sizeof path, "/features%s", wrong[i].query);
        ask_file(&server, path, PHOTO, &reply);
        reply_is_problem(&reply, wrong[i].status, wrong[i].slug);
        reply_done(&reply);
    }
    ask_file(&server, "/features?layer=fc", "README.md", &reply);
    reply_is_problem(&reply, 415, "unsupported-format");
    reply_done(&reply);
    ask(&server, &(struct ask){.method = "POST", .path = "/features?layer=fc"}, &reply);
    reply_is_problem(&reply, 400, "empty-body");
    reply_done(&reply);
    ask_get(&server, "/features?layer=fc", &reply);
    reply_is_problem(&reply, 405, "method-not-allowed");
    reply_done(&reply);
}

/* ---- pictures -------------------------------------------------------------------------------- */

static void decode(const char *bytes, size_t n, struct rn_image *out)
{
    struct rn_error err = {0};
    cr_assert_eq(rn_image_decode((const uint8_t *)bytes, n, &rn_image_limits_default, out, &err),
                 RN_OK, "%s", err.text);
}

/* How many pixels in and outside of the region differ between two pictures of the same size. */
static void count_changes(const struct rn_image *a, const struct rn_image *b, const json_t *region,
                          int *n_inside, int *n_outside)
{
    double r[4];
    for (size_t i = 0; i < 4; i++)
        r[i] = json_number_value(json_array_get(region, i));
    *n_inside = *n_outside = 0;
    cr_assert_eq(a->info.width, b->info.width);
    cr_assert_eq(a->info.height, b->info.height);
    for (int y = 0; y < a->info.height; y++)
        for (int x = 0; x < a->info.width; x++) {
            const size_t at = 3 * (size_t)(y * a->info.width + x);
            const bool same = memcmp(a->rgb + at, b->rgb + at, 3) == 0;
            if (x + 0.5 >= r[0] && x + 0.5 < r[0] + r[2] && y + 0.5 >= r[1] &&
                y + 0.5 < r[1] + r[3])
                *n_inside += !same;
            else
                *n_outside += !same;
        }
}

Test(e2e_seeing, a_map_as_a_picture_lies_on_the_upright_image_where_it_was_seen)
{
    static const char *const files[] = {
        PHOTO, "tests/golden/images/orientation-3.jpg", "tests/golden/images/orientation-6.jpg",
        "tests/golden/images/crop-wide.png", "tests/golden/images/crop-thin.png"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct reply picture, json;
        struct rn_image drawn, image;
        size_t n;
        char *bytes = read_file(files[i], &n);
        int n_inside, n_outside;
        ask_file(&server, "/classify?explain=cam&explain_format=png", files[i], &picture);
        cr_assert_eq(picture.status, 200, "%s", picture.body);
        cr_assert_str_eq(reply_header(&picture, "Content-Type"), "image/png");
        ask_file(&server, "/classify?explain=cam", files[i], &json);
        const json_t *best = json_array_get(json_object_get(json.json, "predictions"), 0);
        const json_t *explain = json_object_get(json.json, "explain");
        cr_assert_str_eq(reply_header(&picture, "X-Resnetd-Label"),
                         json_string_value(json_object_get(best, "label")));
        cr_assert_float_eq(atof(reply_header(&picture, "X-Resnetd-Score")), number(best, "score"),
                           1e-6);
        cr_assert(strstr(reply_header(&picture, "Server-Timing"), "inference;dur="));
        decode(bytes, n, &image);
        decode(picture.body, picture.n, &drawn);
        count_changes(&image, &drawn, json_object_get(explain, "region"), &n_inside, &n_outside);
        cr_assert_eq(n_outside, 0, "%s", files[i]);
        cr_assert_gt(n_inside, 0, "%s", files[i]);
        rn_image_done(&image);
        rn_image_done(&drawn);
        free(bytes);
        reply_done(&picture);
        reply_done(&json);
    }
}

Test(e2e_seeing, pictures_are_one_images_and_not_two_at_once)
{
    struct reply reply;
    ask_file(&server, "/classify?explain=cam&explain_format=png&debug=input", PHOTO, &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
    ask_file(&server, "/classify?explain=cam&explain_format=png", "README.md", &reply);
    reply_is_problem(&reply, 415, "unsupported-format");
    reply_done(&reply);
    curl_mime *mime = curl_mime_init(NULL);
    for (int i = 0; i < 2; i++) {
        curl_mimepart *part = curl_mime_addpart(mime);
        (void)curl_mime_name(part, "image");
        (void)curl_mime_filedata(part, PHOTO);
    }
    ask(&server, &(struct ask){.path = "/classify?explain=cam&explain_format=png", .mime = mime},
        &reply);
    reply_is_problem(&reply, 400, "bad-parameter");
    reply_done(&reply);
}

/* Without helper processes pixels take another way. */
Test(e2e_seeing, pictures_are_the_same_when_threads_decode)
{
    static const char *const paths[] = {"/classify?explain=cam&explain_format=png",
                                        "/classify?debug=input"};
    struct server threads;
    server_start(&threads, "--decode-isolation thread");
    for (int i = 0; i < 2; i++) {
        struct reply here, there;
        ask_file(&server, paths[i], PHOTO, &here);
        ask_file(&threads, paths[i], PHOTO, &there);
        cr_assert_eq(there.status, 200, "%s", there.body);
        cr_assert_eq(here.n, there.n);
        cr_assert_eq(memcmp(here.body, there.body, here.n), 0);
        reply_done(&here);
        reply_done(&there);
    }
    server_stop(&threads);
}
