/* The life of requests in a real loop, with real images and the embedded network: who shares a
 * batch, who is refused, and that leaving at any time ends a request exactly once.
 *
 * SPDX-License-Identifier: MIT */
#include "server/pipeline.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "config/embedded.h"
#include "server/metrics.h"
#include "server/registry.h"

#define QUEUE_LIMIT 20
#define MAX_BATCH 4
#define N 12
#define FAR_NS UINT64_C(3600000000000)

static uv_loop_t loop;
static struct rn_threads *threads;
static struct registry *registry;
static struct metrics *metrics;
static struct pipeline *pipeline;
static uint8_t *photo;
static size_t n_photo;
static uint8_t *files[64]; /* the photo again and again, each with a mark of its own behind it */
static int n_files;
static int n_done; /* calls of done() */

static struct rn_model *open_model(const char *name)
{
    const struct rn_model_options options = {.name = name, .max_batch = MAX_BATCH};
    struct rn_model *model;
    struct rn_error err;
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(),
                                      "embedded", &options, &model, &err),
                 RN_OK, "%s", err.text);
    return model;
}

static void setup(void)
{
    const struct pipeline_options options = {.decode_workers = 2,
                                             .queue_limit = QUEUE_LIMIT,
                                             .cache_bytes = 1 << 20,
                                             .batch_window_ms = 1000,
                                             .limits = rn_image_limits_default};
    struct rn_error err;
    cr_assert_eq(setenv("UV_THREADPOOL_SIZE", "4", 1), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    registry = registry_new();
    metrics = metrics_new();
    cr_assert_eq(rn_threads_new(2, &threads, &err), RN_OK);
    static const char *const names[] = {"a", "b"};
    for (int i = 0; i < 2; i++)
        cr_assert_eq(registry_add(registry, open_model(names[i]), threads, &err), RN_OK);
    pipeline = pipeline_new(&loop, &options, metrics);
    FILE *f = fopen("tests/golden/images/baseline-420.jpg", "rbe");
    cr_assert_not_null(f);
    photo = malloc(1 << 20);
    n_photo = fread(photo, 1, 1 << 20, f);
    (void)fclose(f);
}

static void teardown(void)
{
    cr_expect_eq(pipeline_in_flight(pipeline), 0);
    cr_expect_eq(pipeline_queued_images(pipeline), 0);
    pipeline_free(pipeline);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    registry_free(registry);
    rn_threads_free(threads);
    metrics_free(metrics);
    free(photo);
    while (n_files > 0)
        free(files[--n_files]);
}

TestSuite(pipeline, .init = setup, .fini = teardown, .timeout = 120);

static void done(struct request *request)
{
    n_done++;
    request->done = NULL; /* a second call would crash */
}

/* Bytes that no other image has, and the same pixels. */
static const uint8_t *other_file(void)
{
    uint8_t *file = malloc(n_photo + 1);
    cr_assert(file && n_files < 64);
    memcpy(file, photo, n_photo);
    file[n_photo] = (uint8_t)n_files;
    files[n_files++] = file;
    return file;
}

static struct request *make(const char *model, int n_images)
{
    struct request *request = request_new(n_images);
    cr_assert_not_null(request);
    for (int i = 0; i < n_images; i++) {
        request->images[i].bytes = photo;
        request->images[i].n_bytes = n_photo;
    }
    request->model = registry_ref(registry, model);
    request->arrived_ns = request->received_ns = uv_hrtime();
    request->deadline_ns = request->arrived_ns + FAR_NS;
    request->done = done;
    return request;
}

/* Runs the loop until so many requests are done. */
static void run_until(int n)
{
    while (n_done < n)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

Test(pipeline, a_lone_request_runs_alone_and_at_once)
{
    struct request *request = make("a", 1);
    pipeline_submit(pipeline, request);
    cr_assert_eq(pipeline_in_flight(pipeline), 1);
    run_until(1); /* the window is a second long: the test's time limit is not for waiting */
    const struct request_image *image = &request->images[0];
    cr_assert_eq(image->problem.type, PROBLEM_NONE, "%s", image->problem.detail);
    cr_assert_eq(image->batch_size, 1);
    cr_assert(image->has_info);
    cr_assert(image->decode_start_ns >= request->received_ns &&
              image->decode_end_ns >= image->decode_start_ns &&
              image->preprocess_end_ns >= image->decode_end_ns &&
              image->batch_start_ns >= image->preprocess_end_ns &&
              image->batch_end_ns > image->batch_start_ns);
    request_free(request);
}

Test(pipeline, requests_at_the_same_time_share_batches_and_get_the_same_bits_as_alone)
{
    struct request *alone = make("a", 1), *crowd[N];
    pipeline_submit(pipeline, alone);
    run_until(1);
    for (int i = 0; i < N; i++) {
        crowd[i] = make("a", 1);
        crowd[i]->images[0].bytes = other_file();
        crowd[i]->images[0].n_bytes = n_photo + 1;
        pipeline_submit(pipeline, crowd[i]);
    }
    run_until(1 + N);
    int largest = 0;
    for (int i = 0; i < N; i++) {
        const struct request_image *image = &crowd[i]->images[0];
        largest = image->batch_size > largest ? image->batch_size : largest;
        cr_assert_leq(image->batch_size, MAX_BATCH);
        cr_assert_arr_eq(image->logits, alone->images[0].logits, 10 * sizeof(float));
        request_free(crowd[i]);
    }
    cr_assert_gt(largest, 1);
    request_free(alone);
}

Test(pipeline, a_bad_image_fails_alone)
{
    struct request *request = make("a", 3);
    request->images[1].bytes = (const uint8_t *)"no image";
    request->images[1].n_bytes = 8;
    pipeline_submit(pipeline, request);
    run_until(1);
    cr_assert_eq(request->problem.type, PROBLEM_NONE);
    cr_assert_eq(request->images[0].problem.type, PROBLEM_NONE);
    cr_assert_eq(request->images[1].problem.type, PROBLEM_UNSUPPORTED_FORMAT);
    cr_assert_eq(request->images[2].problem.type, PROBLEM_NONE);
    cr_assert_eq(request->images[0].batch_size, 2, "the two that are left wait for nobody else");
    request_free(request);
}

Test(pipeline, refuses_what_the_queue_has_no_room_for)
{
    struct request *large = make("a", QUEUE_LIMIT), *more = make("a", 1);
    struct problem problem;
    pipeline_submit(pipeline, large);
    cr_assert_not(pipeline_admit(pipeline, more->model, 1, more->deadline_ns, &problem));
    cr_assert_eq(problem.type, PROBLEM_QUEUE_FULL);
    cr_assert_gt(problem.retry_after_ms, 0);
    pipeline_submit(pipeline, more);
    cr_assert_eq(n_done, 1, "refused inside the call");
    cr_assert_eq(more->problem.type, PROBLEM_QUEUE_FULL);
    run_until(2);
    request_free(large);
    request_free(more);
}

Test(pipeline, refuses_a_deadline_that_the_queue_in_front_does_not_leave)
{
    struct request *first = make("a", 1), *large = make("a", 16), *late = make("a", 1);
    pipeline_submit(pipeline, first);
    run_until(1);
    pipeline_submit(pipeline, large);
    late->deadline_ns = uv_hrtime() + 1000; /* a microsecond */
    pipeline_submit(pipeline, late);
    cr_assert_eq(n_done, 2);
    cr_assert(late->problem.type == PROBLEM_DEADLINE_UNMEETABLE ||
                  late->problem.type == PROBLEM_DEADLINE_EXCEEDED,
              "%s", late->problem.detail);
    run_until(3);
    request_free(first);
    request_free(large);
    request_free(late);
}

Test(pipeline, models_take_turns)
{
    struct request *crowd[8];
    for (int i = 0; i < 8; i++) {
        crowd[i] = make(i % 2 ? "b" : "a", 2);
        pipeline_submit(pipeline, crowd[i]);
    }
    run_until(8);
    uint64_t first[2] = {UINT64_MAX, UINT64_MAX}, last[2] = {0, 0};
    for (int i = 0; i < 8; i++) {
        const struct request_image *image = &crowd[i]->images[0];
        cr_assert_eq(image->problem.type, PROBLEM_NONE);
        if (image->batch_start_ns < first[i % 2])
            first[i % 2] = image->batch_start_ns;
        if (image->batch_start_ns > last[i % 2])
            last[i % 2] = image->batch_start_ns;
        request_free(crowd[i]);
    }
    cr_assert(first[0] < last[1] && first[1] < last[0], "one had to wait for all of the other");
}

/* Cancels after so many turns of the loop: before decoding, on a worker, in the batcher, running.
 */
Test(pipeline, leaving_at_any_time_ends_a_request_once)
{
    for (int turns = 0; turns < 24; turns++) {
        struct request *crowd[6];
        n_done = 0;
        for (int i = 0; i < 6; i++) {
            crowd[i] = make("a", 1 + i % 3);
            pipeline_submit(pipeline, crowd[i]);
        }
        for (int i = 0; i < turns && n_done < 6; i++)
            (void)uv_run(&loop, UV_RUN_ONCE);
        for (int i = 0; i < 6; i += 2)
            if (crowd[i]->done)
                pipeline_cancel(pipeline, crowd[i]);
        run_until(6);
        for (int i = 0; i < 6; i++) {
            cr_assert_null(crowd[i]->done);
            if (i % 2)
                cr_assert_eq(crowd[i]->images[0].problem.type, PROBLEM_NONE);
            request_free(crowd[i]);
        }
        cr_assert_eq(pipeline_in_flight(pipeline), 0);
        cr_assert_eq(pipeline_queued_images(pipeline), 0);
    }
}

/* ---- the engine alone, and pictures -----------------------------------------------------------
 */

static int n_computed, n_rendered;
static uint64_t computed_ns;

static void compute(struct request *request, struct rn_session *session)
{
    int channel;
    float mean, map[32 * 32];
    rn_session_features(session, request->images->tensor, 1, 1, &channel, &mean, map);
    cr_assert_gt(mean, 0);
    computed_ns = uv_hrtime();
    n_computed++;
}

static void render(struct request *request)
{
    (void)request;
    n_rendered++;
}

static struct request *make_alone(const char *model)
{
    struct request *request = make(model, 1);
    request->alone = compute;
    request->render = render;
    return request;
}

Test(pipeline, one_wants_the_engine_alone_and_comes_after_the_others)
{
    struct request *alone = make_alone("a"), *another = make_alone("a"), *crowd[N];
    struct problem problem;
    cr_assert(pipeline_admit_alone(pipeline, &problem));
    pipeline_submit(pipeline, alone);
    cr_assert_eq(pipeline_queued_images(pipeline), 0, "nobody waits for it");
    cr_assert_not(pipeline_admit_alone(pipeline, &problem), "one at a time");
    pipeline_submit(pipeline, another);
    cr_assert_eq(n_done, 1);
    cr_assert_eq(another->problem.type, PROBLEM_ENGINE_BUSY);
    cr_assert_gt(another->problem.retry_after_ms, 0);
    for (int i = 0; i < N; i++) {
        crowd[i] = make("b", 1);
        crowd[i]->images[0].bytes = other_file();
        crowd[i]->images[0].n_bytes = n_photo + 1;
        pipeline_submit(pipeline, crowd[i]);
    }
    run_until(2 + N);
    cr_assert_eq(n_computed, 1);
    cr_assert_eq(n_rendered, 1);
    cr_assert_eq(alone->images->problem.type, PROBLEM_NONE);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(crowd[i]->images->problem.type, PROBLEM_NONE);
        cr_assert_lt(crowd[i]->images->batch_end_ns, computed_ns);
        request_free(crowd[i]);
    }
    cr_assert(pipeline_admit_alone(pipeline, &problem), "%s", problem.detail);
    request_free(alone);
    request_free(another);
}

Test(pipeline, who_wants_the_engine_alone_is_refused_while_images_wait)
{
    struct request *request = make("a", 3);
    struct problem problem;
    pipeline_submit(pipeline, request);
    cr_assert_not(pipeline_admit_alone(pipeline, &problem));
    cr_assert_eq(problem.type, PROBLEM_ENGINE_BUSY);
    run_until(1);
    request_free(request);
}

Test(pipeline, what_does_not_decode_is_neither_computed_nor_rendered)
{
    struct request *bad = make_alone("a"), *late = make_alone("a");
    bad->images->bytes = (const uint8_t *)"no image";
    bad->images->n_bytes = 8;
    pipeline_submit(pipeline, bad);
    run_until(1);
    cr_assert_eq(bad->images->problem.type, PROBLEM_UNSUPPORTED_FORMAT);
    late->deadline_ns = uv_hrtime();
    pipeline_submit(pipeline, late);
    run_until(2);
    cr_assert_eq(late->images->problem.type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_eq(n_computed + n_rendered, 0);
    request_free(bad);
    request_free(late);
}

/* Before decoding, while it waits for the engine, has it, waits for its picture, has that. */
Test(pipeline, who_wants_the_engine_alone_may_leave_at_any_time)
{
    for (int turns = 0; turns < 12; turns++) {
        struct request *alone = make_alone("a"), *other = make("b", 2);
        other->render = render;
        n_done = 0;
        pipeline_submit(pipeline, alone);
        pipeline_submit(pipeline, other);
        for (int i = 0; i < turns && n_done < 2; i++)
            (void)uv_run(&loop, UV_RUN_ONCE);
        if (alone->done)
            pipeline_cancel(pipeline, alone);
        if (turns % 2 && other->done)
            pipeline_cancel(pipeline, other);
        run_until(2);
        cr_assert_null(alone->done);
        request_free(alone);
        request_free(other);
        cr_assert_eq(pipeline_in_flight(pipeline), 0);
        cr_assert_eq(pipeline_queued_images(pipeline), 0);
    }
    struct problem problem;
    cr_assert(pipeline_admit_alone(pipeline, &problem), "%s", problem.detail);
}

/* In one batch, some who want to know why and some who do not. */
Test(pipeline, maps_are_made_for_those_who_asked_and_change_nothing)
{
    struct request *crowd[N];
    int n_shared = 0;
    for (int i = 0; i < N; i++) {
        crowd[i] = make("a", 1);
        crowd[i]->images[0].bytes = other_file();
        crowd[i]->images[0].n_bytes = n_photo + 1;
        crowd[i]->explain = i % 3 == 1;
        crowd[i]->explain_class = i % 2 ? -1 : i % 10;
        pipeline_submit(pipeline, crowd[i]);
    }
    run_until(N);
    for (int i = 0; i < N; i++) {
        const struct request_image *image = crowd[i]->images;
        int best;
        cr_assert_eq(image->problem.type, PROBLEM_NONE);
        cr_assert_arr_eq(image->logits, crowd[0]->images->logits, 10 * sizeof(float));
        cr_assert_eq(image->cam != NULL, i % 3 == 1);
        if (!image->cam)
            continue;
        double sum = 0;
        for (int k = 0; k < 64; k++)
            sum += (double)image->cam[k];
        rn_top_k(image->logits, 10, 1, &best);
        cr_assert_eq(image->cam_class, i % 2 ? best : i % 10);
        cr_assert_float_eq(sum / 64 + (double)image->cam_bias,
                           (double)image->logits[image->cam_class], 1e-4);
        n_shared += image->batch_size > 1;
    }
    cr_assert_gt(n_shared, 0);
    for (int i = 0; i < N; i++)
        request_free(crowd[i]);
}

/* ---- the same file twice ------------------------------------------------------------------------
 */

Test(pipeline, the_same_file_in_flight_is_computed_once)
{
    struct request *crowd[5];
    for (int i = 0; i < 5; i++) {
        crowd[i] = make(i == 4 ? "b" : "a", 1);
        pipeline_submit(pipeline, crowd[i]);
    }
    cr_assert_eq(pipeline_queued_images(pipeline), 2, "one for each model");
    run_until(5);
    for (int i = 0; i < 5; i++) {
        const struct request_image *image = crowd[i]->images;
        cr_assert_eq(image->problem.type, PROBLEM_NONE);
        cr_assert_eq(crowd[i]->source, i % 4 == 0 ? REQUEST_COMPUTED : REQUEST_COALESCED);
        cr_assert_arr_eq(image->logits, crowd[0]->images->logits, 10 * sizeof(float));
        cr_assert_eq(image->info.width, crowd[0]->images->info.width);
        cr_assert_geq(image->batch_end_ns, crowd[i]->received_ns);
    }
    for (int i = 0; i < 5; i++)
        request_free(crowd[i]);
}

Test(pipeline, followers_share_what_is_wrong_with_the_file)
{
    struct request *first = make("a", 1), *second = make("a", 1);
    first->images->bytes = second->images->bytes = (const uint8_t *)"no image";
    first->images->n_bytes = second->images->n_bytes = 8;
    pipeline_submit(pipeline, first);
    pipeline_submit(pipeline, second);
    run_until(2);
    cr_assert_eq(second->images->problem.type, PROBLEM_UNSUPPORTED_FORMAT);
    cr_assert_eq(second->source, REQUEST_COALESCED);
    request_free(first);
    request_free(second);
}

Test(pipeline, nobody_follows_one_that_may_take_longer)
{
    struct request *patient = make("a", 1), *hasty = make("a", 1);
    hasty->deadline_ns = patient->deadline_ns - 1;
    pipeline_submit(pipeline, patient);
    pipeline_submit(pipeline, hasty);
    cr_assert_eq(pipeline_queued_images(pipeline), 2);
    run_until(2);
    request_free(patient);
    request_free(hasty);
}

/* The leader leaves after so many turns of the loop: its followers must not. */
Test(pipeline, followers_outlive_their_leader)
{
    for (int turns = 0; turns < 12; turns++) {
        struct request *crowd[4];
        n_done = 0;
        for (int i = 0; i < 4; i++) {
            crowd[i] = make("a", 1);
            pipeline_submit(pipeline, crowd[i]);
        }
        for (int i = 0; i < turns && n_done < 4; i++)
            (void)uv_run(&loop, UV_RUN_ONCE);
        if (crowd[0]->done)
            pipeline_cancel(pipeline, crowd[0]);
        if (crowd[2]->done)
            pipeline_cancel(pipeline, crowd[2]);
        run_until(4);
        cr_assert_eq(crowd[1]->images->problem.type, PROBLEM_NONE);
        cr_assert_eq(crowd[3]->images->problem.type, PROBLEM_NONE);
        for (int i = 0; i < 4; i++)
            request_free(crowd[i]);
    }
}

/* ---- parsing on a worker --------------------------------------------------------------------- */

static void parse_two(struct request *request)
{
    cr_assert_eq(request_images(request, 2), RN_OK);
    for (int i = 0; i < 2; i++) {
        request->images[i].bytes = photo;
        request->images[i].n_bytes = n_photo;
    }
}

static void parse_nothing(struct request *request)
{
    problem_set(&request->problem, PROBLEM_BAD_JSON, "no");
}

Test(pipeline, a_body_is_parsed_before_its_images_are_known)
{
    struct request *good = make("a", 0), *bad = make("a", 0), *left = make("a", 0);
    good->parse = left->parse = parse_two;
    bad->parse = parse_nothing;
    pipeline_submit(pipeline, good);
    pipeline_submit(pipeline, bad);
    pipeline_submit(pipeline, left);
    pipeline_cancel(pipeline, left);
    run_until(3);
    cr_assert_eq(good->n_images, 2);
    cr_assert_eq(good->images[1].problem.type, PROBLEM_NONE);
    cr_assert_eq(bad->problem.type, PROBLEM_BAD_JSON);
    request_free(good);
    request_free(bad);
    request_free(left);
}

/* ---- models that leave ------------------------------------------------------------------------
 */

/* Nothing may be touched after this: AddressSanitizer would tell. */
static void done_and_free(struct request *request)
{
    n_done++;
    cr_expect_eq(request->images->problem.type, PROBLEM_NONE);
    request_free(request);
}

static void parse_one_with_key(struct request *request)
{
    cr_assert_eq(request_images(request, 1), RN_OK);
    request->images->bytes = photo;
    request->images->n_bytes = n_photo;
    request->key = cache_hash(photo, n_photo);
    request->has_key = true;
}

Test(pipeline, a_model_may_go_with_its_last_request)
{
    struct request *request = make("a", 1);
    request->done = done_and_free;
    pipeline_submit(pipeline, request);
    cr_assert(registry_remove(registry, "a"));
    run_until(1);
}

Test(pipeline, a_model_may_go_with_a_request_that_the_cache_answers)
{
    for (int i = 0; i < 2; i++) { /* computed, then cached */
        struct request *request = make("a", 0);
        request->parse = parse_one_with_key;
        request->done = done_and_free;
        pipeline_submit(pipeline, request);
        if (i == 1)
            cr_assert(registry_remove(registry, "a"));
        run_until(i + 1);
    }
}
