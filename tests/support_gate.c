/* Requests that wait for a semaphore in their parse() or with the engine, and what became of all.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_gate.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/embedded.h"
#include "server/batcher.h"
#include "server/metrics.h"
#include "tests/support_blob.h"

#define MAX_REQUESTS 16
#define FAR_NS (6000 * GATE_MINUTE_NS)

struct gate gate;

static struct rn_threads *threads;
static struct metrics *metrics;
static struct blob photo;
static uint8_t *files[MAX_REQUESTS]; /* the photo with a mark of its own behind it */
static struct gate_fate fates[MAX_REQUESTS];
static int n_made;
static uv_sem_t worker_gate, engine_gate;

static void add_model(const char *name)
{
    const struct rn_model_options options = {.name = name, .max_batch = GATE_MAX_BATCH};
    struct rn_model *model;
    struct rn_error err;
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(),
                                      "embedded", &options, &model, &err),
                 RN_OK, "%s", err.text);
    cr_assert_eq(registry_add(gate.registry, model, threads, &err), RN_OK);
}

void gate_start(void)
{
    const struct pipeline_options options = {.decode_workers = GATE_WORKERS,
                                             .queue_limit = 20,
                                             .batch_window_ms = -1,
                                             .limits = rn_image_limits_default};
    struct rn_error err;
    cr_assert_eq(setenv("UV_THREADPOOL_SIZE", "4", 1), 0);
    cr_assert_eq(uv_loop_init(&gate.loop), 0);
    cr_assert_eq(uv_sem_init(&worker_gate, 0), 0);
    cr_assert_eq(uv_sem_init(&engine_gate, 0), 0);
    gate.registry = registry_new();
    metrics = metrics_new();
    cr_assert_eq(rn_threads_new(1, &threads, &err), RN_OK);
    add_model("a");
    add_model("b");
    gate.model = registry_first(gate.registry);
    gate.pipeline = pipeline_new(&gate.loop, &options, metrics);
    photo = blob_golden("baseline-420.jpg");
}

void gate_end(void)
{
    cr_expect_eq(pipeline_in_flight(gate.pipeline), 0);
    cr_expect_eq(pipeline_queued_images(gate.pipeline), 0);
    cr_expect_eq(gate.n_done, n_made);
    for (int i = 0; i < n_made; i++)
        cr_expect_eq(fates[i].n_done, 1, "request %d", i);
    for (struct registry_model *m = registry_first(gate.registry); m; m = m->next)
        cr_expect_eq(batcher_images(m->batcher), 0, "%s", m->info->name);
    pipeline_free(gate.pipeline);
    (void)uv_run(&gate.loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&gate.loop), 0);
    uv_sem_destroy(&worker_gate);
    uv_sem_destroy(&engine_gate);
    registry_free(gate.registry);
    rn_threads_free(threads);
    metrics_free(metrics);
    blob_done(&photo);
    for (int i = 0; i < n_made; i++)
        free(files[i]);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

void gate_note(struct request *request)
{
    struct gate_fate *fate = request->user;
    fate->n_done++;
    fate->place = ++gate.n_done;
    fate->in_flight = pipeline_in_flight(gate.pipeline);
    fate->queued = pipeline_queued_images(gate.pipeline);
    fate->model_images = batcher_images(request->model->batcher);
    fate->type = request->images ? request->images->problem.type : request->problem.type;
}

const struct gate_fate *gate_fate(const struct request *request)
{
    return request->user;
}

struct request *gate_make(const char *model, int n_images)
{
    struct request *request = request_new(n_images);
    uint8_t *file = malloc(photo.n + 1);
    cr_assert(request && file && n_made < MAX_REQUESTS);
    memcpy(file, photo.bytes, photo.n);
    file[photo.n] = (uint8_t)n_made;
    for (int i = 0; i < n_images; i++) {
        request->images[i].bytes = file;
        request->images[i].n_bytes = photo.n + 1;
    }
    request->model = registry_ref(gate.registry, model);
    request->arrived_ns = request->received_ns = uv_hrtime();
    request->deadline_ns = request->arrived_ns + FAR_NS;
    request->user = &fates[n_made];
    request->done = gate_note;
    files[n_made++] = file;
    return request;
}

/* ---- at the gate ------------------------------------------------------------------------------
 */

void gate_wait_on_worker(void)
{
    uv_sem_wait(&worker_gate);
}

void gate_let_worker_go(void)
{
    uv_sem_post(&worker_gate);
}

void gate_let_engine_go(void)
{
    uv_sem_post(&engine_gate);
}

static void wait_and_fail(struct request *request)
{
    gate_wait_on_worker();
    problem_set(&request->problem, PROBLEM_BAD_JSON, "it was for the gate only");
}

void gate_hold_workers(struct request *holders[GATE_WORKERS])
{
    for (int i = 0; i < GATE_WORKERS; i++) {
        holders[i] = gate_make("b", 0);
        holders[i]->parse = wait_and_fail;
        pipeline_submit(gate.pipeline, holders[i]);
        cr_assert(holders[i]->on_worker);
    }
}

void gate_free_holders(struct request *holders[GATE_WORKERS])
{
    for (int i = 0; i < GATE_WORKERS; i++)
        request_free(holders[i]);
}

static void wait_with_engine(struct request *request, struct rn_session *session)
{
    (void)request;
    (void)session;
    uv_sem_wait(&engine_gate);
}

struct request *gate_hold_engine(void)
{
    struct request *holder = gate_make("b", 1);
    holder->alone = wait_with_engine;
    pipeline_submit(gate.pipeline, holder);
    while (holder->images->state != REQUEST_RUNNING)
        (void)uv_run(&gate.loop, UV_RUN_ONCE);
    return holder;
}

void gate_run_until_done(int n)
{
    while (gate.n_done < n)
        (void)uv_run(&gate.loop, UV_RUN_ONCE);
}

void gate_run_until_ready(int n)
{
    while (batcher_ready(gate.model->batcher) < n)
        (void)uv_run(&gate.loop, UV_RUN_ONCE);
}

/* ---- looking ----------------------------------------------------------------------------------
 */

int64_t gate_number(const struct problem *problem, const char *key)
{
    for (int i = 0; i < 4 && problem->members[i].key; i++)
        if (strcmp(problem->members[i].key, key) == 0)
            return problem->members[i].number;
    return -1;
}

double gate_metric(const char *series)
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
