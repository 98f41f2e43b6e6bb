/* Who is told that it will not be in time: while it waits for a worker, and while it waits for the
 * engine.
 *
 * Workers and the engine are held by requests that stand at a gate, until a test has arranged who
 * waits and how little time is left: no test waits for a clock.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "config/embedded.h"
#include "server/batcher.h"
#include "server/metrics.h"
#include "server/pipeline.h"
#include "server/registry.h"
#include "tests/support_blob.h"

#define N_WORKERS 2
#define MAX_BATCH 4
#define MINUTE_NS UINT64_C(60000000000)
#define FAR_NS (6000 * MINUTE_NS)
#define ANSWER_MS 6 /* what admission.c keeps of a deadline before it has seen an answer */

/* What there was when a request was done. */
struct fate {
    int n_done;       /* calls of done() */
    int place;        /* among all that were done: 1, 2, … */
    size_t in_flight; /* the others */
    size_t queued;    /* the others' images */
    int model_images; /* those for the same model */
    enum problem_type type;
};

static uv_loop_t loop;
static struct rn_threads *threads;
static struct registry *registry;
static struct metrics *metrics;
static struct pipeline *pipeline;
static struct registry_model *model; /* "a", borrowed */
static struct blob photo;
static uint8_t *files[8]; /* the photo with a mark of its own behind it: none follows another */
static int n_files;
static struct fate fates[8];
static int n_made, n_done, n_parsed;
static uv_sem_t gate;

static void add_model(const char *name)
{
    const struct rn_model_options options = {.name = name, .max_batch = MAX_BATCH};
    struct rn_model *opened;
    struct rn_error err;
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(),
                                      "embedded", &options, &opened, &err),
                 RN_OK, "%s", err.text);
    cr_assert_eq(registry_add(registry, opened, threads, &err), RN_OK);
}

static void setup(void)
{
    const struct pipeline_options options = {.decode_workers = N_WORKERS,
                                             .queue_limit = 20,
                                             .batch_window_ms = -1,
                                             .limits = rn_image_limits_default};
    struct rn_error err;
    cr_assert_eq(setenv("UV_THREADPOOL_SIZE", "4", 1), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(uv_sem_init(&gate, 0), 0);
    registry = registry_new();
    metrics = metrics_new();
    cr_assert_eq(rn_threads_new(1, &threads, &err), RN_OK);
    add_model("a");
    add_model("b");
    model = registry_first(registry);
    pipeline = pipeline_new(&loop, &options, metrics);
    photo = blob_golden("baseline-420.jpg");
}

static void teardown(void)
{
    cr_expect_eq(pipeline_in_flight(pipeline), 0);
    cr_expect_eq(pipeline_queued_images(pipeline), 0);
    cr_expect_eq(n_done, n_made);
    for (int i = 0; i < n_made; i++)
        cr_expect_eq(fates[i].n_done, 1, "request %d", i);
    for (struct registry_model *m = registry_first(registry); m; m = m->next)
        cr_expect_eq(batcher_images(m->batcher), 0, "%s", m->info->name);
    pipeline_free(pipeline);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    uv_sem_destroy(&gate);
    registry_free(registry);
    rn_threads_free(threads);
    metrics_free(metrics);
    blob_done(&photo);
    while (n_files > 0)
        free(files[--n_files]);
}

TestSuite(pipeline_late, .init = setup, .fini = teardown, .timeout = 120);

static void done(struct request *request)
{
    struct fate *fate = request->user;
    fate->n_done++;
    fate->place = ++n_done;
    fate->in_flight = pipeline_in_flight(pipeline);
    fate->queued = pipeline_queued_images(pipeline);
    fate->model_images = batcher_images(request->model->batcher);
    fate->type = request->images ? request->images->problem.type : request->problem.type;
}

static void done_and_free(struct request *request)
{
    done(request);
    request_free(request);
}

static const struct fate *fate_of(const struct request *request)
{
    return request->user;
}

static struct request *make(const char *name, int n_images)
{
    struct request *request = request_new(n_images);
    uint8_t *file = malloc(photo.n + 1);
    cr_assert(request && file && n_made < 8);
    memcpy(file, photo.bytes, photo.n);
    file[photo.n] = (uint8_t)n_files;
    files[n_files++] = file;
    for (int i = 0; i < n_images; i++) {
        request->images[i].bytes = file;
        request->images[i].n_bytes = photo.n + 1;
    }
    request->model = registry_ref(registry, name);
    request->arrived_ns = request->received_ns = uv_hrtime();
    request->deadline_ns = request->arrived_ns + FAR_NS;
    request->user = &fates[n_made++];
    request->done = done;
    return request;
}

/* Its deadline passed a nanosecond after it had been taken, which was to take no longer. Only while
 * no worker has it. */
static void make_late(struct request *request)
{
    request->predicted_ns = 1;
    request->deadline_ns = request->admitted_ns + 1;
}

static void run_until_done(int n)
{
    while (n_done < n)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static void run_until_ready(int n)
{
    while (batcher_ready(model->batcher) < n)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

/* ---- at the gate ------------------------------------------------------------------------------
 */

static void wait_and_fail(struct request *request)
{
    uv_sem_wait(&gate);
    problem_set(&request->problem, PROBLEM_BAD_JSON, "it was for the gate only");
}

/* Takes all workers, each with a request that has no images when it comes back. */
static void hold_workers(struct request *holders[N_WORKERS])
{
    for (int i = 0; i < N_WORKERS; i++) {
        holders[i] = make("b", 0);
        holders[i]->parse = wait_and_fail;
        pipeline_submit(pipeline, holders[i]);
        cr_assert(holders[i]->on_worker);
    }
}

static void free_holders(struct request *holders[N_WORKERS])
{
    for (int i = 0; i < N_WORKERS; i++)
        request_free(holders[i]);
}

static void wait_with_engine(struct request *request, struct rn_session *session)
{
    (void)request;
    (void)session;
    uv_sem_wait(&gate);
}

/* Takes the engine; what is decoded meanwhile waits in its batcher. */
static struct request *hold_engine(void)
{
    struct request *holder = make("b", 1);
    holder->alone = wait_with_engine;
    pipeline_submit(pipeline, holder);
    while (holder->images->state != REQUEST_RUNNING)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return holder;
}

static int64_t number(const struct problem *problem, const char *key)
{
    for (int i = 0; i < 4 && problem->members[i].key; i++)
        if (strcmp(problem->members[i].key, key) == 0)
            return problem->members[i].number;
    return -1;
}

static double metric(const char *series)
{
    char line[128];
    size_t n;
    char *text = metrics_render(metrics, &n);
    (void)snprintf(line, sizeof line, "\n%s ", series);
    const char *at = strstr(text, line);
    const double value = at ? strtod(at + strlen(line), NULL) : -1;
    free(text);
    return value;
}

/* ---- waiting for a worker ---------------------------------------------------------------------
 */

static void parse_never(struct request *request)
{
    (void)request;
    n_parsed++;
}

Test(pipeline_late, no_worker_is_troubled_with_who_cannot_be_in_time)
{
    struct request *body = make("a", 0), *images = make("a", 3), *good = make("a", 1);
    struct request *holders[N_WORKERS];
    hold_workers(holders);
    body->parse = parse_never;
    pipeline_submit(pipeline, body);
    pipeline_submit(pipeline, images);
    pipeline_submit(pipeline, good);
    make_late(body);
    make_late(images);
    uv_sem_post(&gate);
    run_until_done(3);
    for (int i = 0; i < 3; i++) {
        const struct problem *problem = &images->images[i].problem;
        cr_assert_eq(problem->type, PROBLEM_DEADLINE_UNMEETABLE);
        cr_assert_eq(number(problem, "predicted_ms"), ANSWER_MS);
        cr_assert_eq(number(problem, "deadline_ms"), 0);
        cr_assert_eq(problem->retry_after_ms, ANSWER_MS);
        cr_assert_eq(images->images[i].decode_start_ns, 0);
    }
    cr_assert_eq(body->problem.type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_eq(body->problem.retry_after_ms, ANSWER_MS);
    cr_assert_eq(n_parsed, 0);
    /* Behind the first holder, in their order: what was left of the others each time. */
    cr_assert_eq(fate_of(body)->place, 2);
    cr_assert_eq(fate_of(body)->in_flight, 3);
    cr_assert_eq(fate_of(body)->queued, 1 + 3 + 1);
    cr_assert_eq(fate_of(body)->model_images, 3 + 1);
    cr_assert_eq(fate_of(images)->place, 3);
    cr_assert_eq(fate_of(images)->in_flight, 2);
    cr_assert_eq(fate_of(images)->queued, 2);
    cr_assert_eq(fate_of(images)->model_images, 1);
    uv_sem_post(&gate);
    run_until_done(5);
    cr_assert_eq(good->images->problem.type, PROBLEM_NONE);
    cr_assert_eq(
        metric("resnetd_images_total{outcome=\"rejected\",reason=\"deadline-unmeetable\"}"), 3);
    cr_assert_float_eq(metric("resnetd_prediction_margin_ratio"), 1.1 + 0.04 * 0.997, 1e-6,
                       "one delay teaches once, however many it hits");
    free_holders(holders);
    request_free(images);
    request_free(body);
    request_free(good);
}

Test(pipeline_late, the_run_that_is_ahead_counts_in_the_queue_for_workers)
{
    struct request *hasty = make("a", 1), *holders[N_WORKERS];
    hold_workers(holders);
    hasty->deadline_ns = uv_hrtime() + 60 * MINUTE_NS;
    pipeline_submit(pipeline, hasty);
    batcher_learn(model->batcher, 1, 90 * MINUTE_NS);
    uv_sem_post(&gate);
    run_until_done(2);
    const struct problem *problem = &hasty->images->problem;
    cr_assert_eq(problem->type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_eq(number(problem, "predicted_ms"), 5400000 + ANSWER_MS);
    cr_assert_gt(number(problem, "deadline_ms"), 0);
    cr_assert_leq(number(problem, "deadline_ms"), 3600000);
    cr_assert_eq(hasty->images->decode_start_ns, 0);
    uv_sem_post(&gate);
    run_until_done(3);
    free_holders(holders);
    request_free(hasty);
}

Test(pipeline_late, a_lone_request_is_tried_whatever_a_run_is_said_to_take)
{
    batcher_learn(model->batcher, 1, 1000); /* the fastest that was ever seen */
    while (batcher_cost_ns(model->batcher, 1) < 90 * MINUTE_NS)
        batcher_learn(model->batcher, 1, 400 * MINUTE_NS);
    struct request *lone = make("a", 1);
    lone->deadline_ns = uv_hrtime() + 60 * MINUTE_NS;
    pipeline_submit(pipeline, lone);
    run_until_done(1);
    cr_assert_eq(lone->images->problem.type, PROBLEM_NONE, "%s", lone->images->problem.detail);
    request_free(lone);
}

/* It has one image on a worker and waits with the other: the worker will tell that one. */
Test(pipeline_late, who_has_begun_stays_in_the_queue_for_workers)
{
    struct request *begun = make("a", 2), *holders[N_WORKERS];
    hold_workers(holders);
    begun->deadline_ns = uv_hrtime() + 60 * MINUTE_NS;
    pipeline_submit(pipeline, begun);
    uv_sem_post(&gate);
    run_until_done(1);
    cr_assert_eq(begun->n_started, 1);
    batcher_learn(model->batcher, 1, 90 * MINUTE_NS);
    run_until_done(2);
    cr_assert_eq(begun->n_finished, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(begun->images[i].problem.type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_gt(begun->images[1].decode_start_ns, 0);
    uv_sem_post(&gate);
    run_until_done(3);
    free_holders(holders);
    request_free(begun);
}

static void wait_to_render(struct request *request)
{
    (void)request;
    uv_sem_wait(&gate);
}

/* It was never among the images that are expected. */
Test(pipeline_late, who_wants_the_engine_alone_is_told_by_a_worker)
{
    struct request *other = make("b", 1), *alone = make("a", 1);
    other->render = wait_to_render;
    pipeline_submit(pipeline, other);
    while (other->n_finished == 0 || !other->on_worker)
        (void)uv_run(&loop, UV_RUN_ONCE);
    alone->alone = wait_with_engine;
    alone->deadline_ns = uv_hrtime();
    pipeline_submit(pipeline, alone);
    run_until_done(1);
    cr_assert_eq(alone->images->problem.type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_eq(fate_of(alone)->in_flight, 1);
    uv_sem_post(&gate);
    run_until_done(2);
    cr_assert_eq(other->images->problem.type, PROBLEM_NONE);
    request_free(other);
    request_free(alone);
}

Test(pipeline_late, followers_of_who_is_dropped_go_on_by_themselves)
{
    struct request *leader = make("a", 1), *follower = make("a", 1), *holders[N_WORKERS];
    hold_workers(holders);
    follower->images->bytes = leader->images->bytes;
    pipeline_submit(pipeline, leader);
    pipeline_submit(pipeline, follower);
    cr_assert_eq(follower->leader, leader);
    make_late(leader);
    uv_sem_post(&gate);
    uv_sem_post(&gate);
    run_until_done(4);
    cr_assert_eq(leader->images->problem.type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_eq(follower->images->problem.type, PROBLEM_NONE);
    cr_assert_eq(follower->source, REQUEST_COMPUTED);
    free_holders(holders);
    request_free(leader);
    request_free(follower);
}

/* ---- waiting for the engine -------------------------------------------------------------------
 */

Test(pipeline_late, whose_deadline_has_passed_takes_no_place_in_a_batch)
{
    struct request *holder = hold_engine(), *late[2], *good = make("a", 1);
    for (int i = 0; i < 2; i++) {
        late[i] = make("a", 1 + i);
        pipeline_submit(pipeline, late[i]);
    }
    pipeline_submit(pipeline, good);
    run_until_ready(4);
    make_late(late[0]);
    make_late(late[1]);
    uv_sem_post(&gate);
    run_until_done(4);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k <= i; k++) {
            const struct problem *problem = &late[i]->images[k].problem;
            cr_assert_eq(problem->type, PROBLEM_DEADLINE_EXCEEDED);
            cr_assert_str_eq(problem->members[0].text, "queue");
            cr_assert_eq(late[i]->images[k].batch_size, 0);
        }
        /* All of them leave the batcher at once, then each request ends. */
        cr_assert_eq(fate_of(late[i])->queued, 1);
        cr_assert_eq(fate_of(late[i])->model_images, 1);
        cr_assert_lt(fate_of(late[i])->place, fate_of(good)->place);
    }
    cr_assert_eq(fate_of(late[0])->in_flight + fate_of(late[1])->in_flight, 2 + 1);
    cr_assert_eq(good->images->problem.type, PROBLEM_NONE);
    cr_assert_eq(good->images->batch_size, 1);
    cr_assert_eq(metric("resnetd_images_total{outcome=\"expired\",reason=\"deadline-exceeded\"}"),
                 3);
    cr_assert_float_eq(metric("resnetd_prediction_margin_ratio"), 1.1 + 0.04 * 0.997, 1e-6,
                       "one delay teaches once, however many it hits");
    request_free(holder);
    request_free(good);
    for (int i = 0; i < 2; i++)
        request_free(late[i]);
}

Test(pipeline_late, who_has_less_time_than_a_run_takes_is_told_while_there_is_some)
{
    struct request *holder = hold_engine(), *hasty = make("a", 2), *good = make("a", 1);
    hasty->deadline_ns = uv_hrtime() + 60 * MINUTE_NS;
    pipeline_submit(pipeline, hasty);
    pipeline_submit(pipeline, good);
    run_until_ready(3);
    batcher_learn(model->batcher, 1, 90 * MINUTE_NS);
    uv_sem_post(&gate);
    run_until_done(3);
    for (int i = 0; i < 2; i++) {
        const struct problem *problem = &hasty->images[i].problem;
        cr_assert_eq(problem->type, PROBLEM_DEADLINE_UNMEETABLE);
        cr_assert_eq(number(problem, "predicted_ms"), 5400000 + ANSWER_MS);
        cr_assert_gt(number(problem, "deadline_ms"), 0);
        cr_assert_leq(number(problem, "deadline_ms"), 3600000);
    }
    cr_assert_eq(fate_of(hasty)->in_flight, 1);
    cr_assert_eq(fate_of(hasty)->queued, 1);
    cr_assert_eq(fate_of(hasty)->model_images, 1);
    cr_assert_eq(good->images->problem.type, PROBLEM_NONE);
    request_free(holder);
    request_free(hasty);
    request_free(good);
}

/* There was time for a run, but not for one behind another. */
Test(pipeline_late, who_would_be_too_late_behind_a_batch_is_told_when_that_starts)
{
    struct request *holder = hold_engine(), *batch = make("a", MAX_BATCH), *behind = make("a", 1);
    pipeline_submit(pipeline, batch);
    run_until_ready(MAX_BATCH);
    behind->deadline_ns = uv_hrtime() + 70 * MINUTE_NS;
    pipeline_submit(pipeline, behind);
    run_until_ready(MAX_BATCH + 1);
    batcher_learn(model->batcher, MAX_BATCH, 60 * MINUTE_NS); /* hence one image 15 */
    uv_sem_post(&gate);
    run_until_done(3);
    const struct problem *problem = &behind->images->problem;
    cr_assert_eq(problem->type, PROBLEM_DEADLINE_UNMEETABLE);
    cr_assert_eq(number(problem, "predicted_ms"), (60 + 15) * 60000 + ANSWER_MS);
    cr_assert_lt(fate_of(behind)->place, fate_of(batch)->place);
    cr_assert_eq(fate_of(behind)->in_flight, 1);
    cr_assert_eq(fate_of(behind)->queued, 0);
    cr_assert_eq(fate_of(behind)->model_images, 0);
    cr_assert_eq(batch->images->problem.type, PROBLEM_NONE);
    cr_assert_eq(batch->images->batch_size, MAX_BATCH);
    request_free(holder);
    request_free(batch);
    request_free(behind);
}

/* The next one in turn is served; AddressSanitizer would tell of a look at what is gone. */
Test(pipeline_late, a_model_may_go_with_the_last_who_is_late)
{
    struct request *holder = hold_engine(), *late = make("a", 2), *good = make("b", 1);
    const struct fate *fate = fate_of(late);
    late->done = done_and_free;
    pipeline_submit(pipeline, late);
    run_until_ready(2);
    pipeline_submit(pipeline, good);
    make_late(late);
    cr_assert(registry_remove(registry, "a"));
    uv_sem_post(&gate);
    run_until_done(3);
    cr_assert_eq(fate->type, PROBLEM_DEADLINE_EXCEEDED);
    cr_assert_eq(fate->model_images, 0);
    cr_assert_eq(good->images->problem.type, PROBLEM_NONE);
    request_free(holder);
    request_free(good);
}
