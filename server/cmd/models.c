/* One job at a time: a thread fills a registry of its own, the loop moves its models into the
 * served one.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/models.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "config/config.h"
#include "server/cmd/model.h"
#include "server/cmd/pace.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/pipeline.h"
#include "server/registry.h"

struct models_job {
    const struct config *config;
    char *text, *labels; /* of the one model of models_put, else NULL */
    bool aside;          /* traffic is served meanwhile */
    struct registry *fresh;
    models_done done;
    void *context;
    enum rn_status status;
    struct rn_error err;
};

struct models {
    uv_async_t loaded;
    uv_thread_t thread;
    const struct config *config;
    struct rn_threads *threads;
    struct metrics *metrics;
    struct pipeline *pipeline;
    struct registry *registry;
    void (*idle)(void *context);
    void *context;
    bool busy;
    struct models_job job;
};

/* ---- on the job's thread ----------------------------------------------------------------------
 */

static enum rn_status open_one(struct models *models, const char *text, const char *labels)
{
    struct models_job *job = &models->job;
    struct rn_model *model = NULL;
    struct config config = *models->config; /* as long as it runs, but for what may change */
    config.model_dir = job->config->model_dir;
    config.max_model_bytes = job->config->max_model_bytes;
    enum rn_status status = model_open(&config, text, labels, config.max_batch,
                                       job->aside ? pace_rest : NULL, &model, &job->err);
    if (status == RN_OK)
        status = registry_add(job->fresh, model, models->threads, &job->err);
    return status;
}

static enum rn_status open_all(struct models *models)
{
    const struct models_job *job = &models->job;
    if (job->text)
        return open_one(models, job->text, job->labels);
    const struct config_list *list = &job->config->model;
    if (list->n == 0)
        return open_one(models, "", job->config->labels);
    enum rn_status status = RN_OK;
    for (int i = 0; i < list->n && status == RN_OK; i++)
        status = open_one(models, list->items[i], i == 0 ? job->config->labels : "");
    return status;
}

static bool rest_between_steps(void *context)
{
    (void)context;
    pace_rest();
    return false; /* that was all */
}

/* The engine's team belongs to the traffic, if there is any: then a team of one tries the models.
 */
static enum rn_status try_all(struct models_job *job)
{
    struct rn_threads *alone = NULL;
    enum rn_status status = RN_OK;
    if (job->aside)
        status = rn_threads_new(1, &alone, &job->err);
    if (alone)
        rn_threads_give_way(alone, rest_between_steps, NULL);
    for (struct registry_model *m = registry_first(job->fresh); m && status == RN_OK; m = m->next)
        status = registry_self_test(m, alone, &job->err);
    rn_threads_free(alone);
    return status;
}

static enum rn_status load(struct models *models)
{
    const enum rn_status status = open_all(models);
    return status == RN_OK ? try_all(&models->job) : status;
}

static void load_main(void *arg)
{
    struct models *models = arg;
    if (models->job.aside)
        pace_begin();
    models->job.status = load(models);
    (void)malloc_trim(0); /* reading a model takes megabytes that serving it does not */
    (void)uv_async_send(&models->loaded);
}

/* ---- on the loop -------------------------------------------------------------------------------
 */

static void show(struct models *models)
{
    metrics_clear(models->metrics, METRIC_MODEL_INFO);
    metrics_clear(models->metrics, METRIC_BATCH_PREDICTED);
    for (const struct registry_model *m = registry_first(models->registry); m; m = m->next) {
        const struct rn_model_info *info = m->info;
        char name[200], version[200], labels[512];
        (void)snprintf(labels, sizeof labels, "%s,%s,digest=\"%s\",precision=\"%s\"",
                       metrics_label(name, sizeof name, "name", info->name),
                       metrics_label(version, sizeof version, "version", info->version),
                       info->digest, info->precision);
        metrics_set(models->metrics, METRIC_MODEL_INFO, labels, 1);
    }
}

static void log_fresh(const struct registry *fresh, int n_threads)
{
    char name[512];
    for (const struct registry_model *m = registry_first(fresh); m; m = m->next)
        log_event(LOG_INFO, "model ready",
                  "%s architecture=%s kernels=%s classes=%d max_batch=%d weights_bytes=%zu "
                  "arena_bytes=%zu digest=%s",
                  metrics_label(name, sizeof name, "name", m->info->name), m->info->architecture,
                  m->info->kernels, m->info->classes, m->info->max_batch, m->info->weights_bytes,
                  rn_model_arena_bytes(m->model, n_threads), m->info->digest);
}

/* Models whose speed nobody knows yet are measured when the server is idle. */
static void take_over(struct models *models)
{
    struct models_job *job = &models->job;
    log_fresh(job->fresh, rn_threads_count(models->threads));
    if (job->text)
        registry_put(models->registry, job->fresh);
    else
        registry_exchange(models->registry, job->fresh);
    for (struct registry_model *m = registry_first(models->registry); m; m = m->next)
        pipeline_measure(models->pipeline, m);
    show(models);
}

static void end_job(struct models_job *job)
{
    registry_free(job->fresh);
    free(job->text);
    free(job->labels);
    *job = (struct models_job){0};
}

static void on_loaded(uv_async_t *async)
{
    struct models *models = async->data;
    (void)uv_thread_join(&models->thread);
    models->busy = false;
    if (models->job.status == RN_OK)
        take_over(models);
    struct models_job job = models->job;
    models->job = (struct models_job){0};
    if (job.aside)
        metrics_add(models->metrics, METRIC_MODEL_RELOADS,
                    job.status == RN_OK ? "result=\"ok\"" : "result=\"failed\"", 1);
    job.done(job.context, job.status, &job.err);
    end_job(&job);
    if (!models->busy)
        models->idle(models->context);
}

static bool start_job(struct models *models, struct models_job job)
{
    job.aside = registry_first(models->registry) != NULL;
    job.fresh = registry_new();
    models->job = job;
    models->busy = job.fresh && uv_thread_create(&models->thread, load_main, models) == 0;
    if (!models->busy)
        end_job(&models->job);
    return models->busy;
}

struct models *models_new(struct uv_loop_s *loop, const struct config *config,
                          struct rn_threads *threads, struct metrics *metrics,
                          struct pipeline *pipeline, void (*idle)(void *context), void *context)
{
    struct models *models = calloc(1, sizeof *models);
    if (!models)
        return NULL;
    models->registry = registry_new();
    if (!models->registry || uv_async_init(loop, &models->loaded, on_loaded) != 0) {
        registry_free(models->registry);
        free(models);
        return NULL;
    }
    models->loaded.data = models;
    models->config = config;
    models->threads = threads;
    models->metrics = metrics;
    models->pipeline = pipeline;
    models->idle = idle;
    models->context = context;
    return models;
}

static void closed(uv_handle_t *handle)
{
    struct models *models = handle->data;
    registry_free(models->registry);
    free(models);
}

void models_free(struct models *models)
{
    if (models)
        uv_close((uv_handle_t *)&models->loaded, closed);
}

bool models_busy(const struct models *models)
{
    return models->busy;
}

struct registry *models_registry(struct models *models)
{
    return models->registry;
}

bool models_load(struct models *models, const struct config *config, models_done done,
                 void *context)
{
    return !models->busy &&
           start_job(models,
                     (struct models_job){.config = config, .done = done, .context = context});
}

bool models_put(struct models *models, const char *text, const char *labels, models_done done,
                void *context)
{
    struct models_job job = {.config = models->config, .done = done, .context = context};
    if (models->busy)
        return false;
    job.text = strdup(text);
    job.labels = strdup(labels);
    if (!job.text || !job.labels) {
        end_job(&job);
        return false;
    }
    return start_job(models, job);
}

bool models_remove(struct models *models, const char *name)
{
    const struct registry_model *first = registry_first(models->registry);
    if (!first || !first->next || !registry_remove(models->registry, name))
        return false;
    char label[512];
    log_event(LOG_INFO, "model removed", "%s", metrics_label(label, sizeof label, "name", name));
    show(models);
    return true;
}

enum rn_status models_check(struct models *models, struct rn_error *err)
{
    models->job = (struct models_job){.config = models->config, .fresh = registry_new()};
    const enum rn_status status =
        models->job.fresh ? load(models) : rn_fail(err, RN_NO_MEMORY, "out of memory");
    if (status != RN_OK && models->job.fresh)
        *err = models->job.err;
    end_job(&models->job);
    return status;
}
