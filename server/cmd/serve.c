/* `resnetd serve`: the only wiring. Settings -> models -> self-test -> pipeline -> HTTP -> loop,
 * and the way out again: SIGTERM drains.
 *
 * The loop thread owns everything here. Order of a shutdown: /readyz says 503 at once; after
 * drain_delay_ms no connection is accepted any more; when the last one is closed, or after
 * drain_timeout_ms, the loop ends. A second signal ends the process at once.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "config/config.h"
#include "config/embedded.h"
#include "server/accesslog.h"
#include "server/cmd/cmd.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/notify.h"
#include "server/pipeline.h"
#include "server/registry.h"
#include "server/routes.h"

#define DRAIN_POLL_MS 20

struct serve {
    struct config config;
    struct rn_threads *threads;
    int n_threads, n_decoders;
    struct registry *registry;
    struct metrics *metrics;
    struct accesslog *accesslog;
    struct pipeline *pipeline;
    struct http *http;
    struct api api;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t drain_timer;
    uint64_t drain_started_ms;
    bool refusing; /* http_drain was called */
    int exit_code;
    char setting[64]; /* config_value's buffer */
};

static void complain(const char *sentence)
{
    (void)fprintf(stderr, "resnetd: %s\n", sentence);
}

static void warn_setting(const char *sentence)
{
    log_event(LOG_WARN, "setting ignored", "reason=\"%s\"", sentence);
}

/* ---- models ---------------------------------------------------------------------------------- */

/* [NAME=]PATH, or the embedded model for NULL. */
static enum rn_status open_model(const struct serve *s, const char *text, bool first,
                                 struct rn_model **out, struct rn_error *err)
{
    const struct config *c = &s->config;
    struct rn_model_options options = {.cpu = *c->cpu ? c->cpu : NULL,
                                       .labels = first && *c->labels ? c->labels : NULL,
                                       .max_batch = c->max_batch};
    if (!text)
        return rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(),
                                    "embedded model", &options, out, err);
    char name[256];
    const char *equal = strchr(text, '=');
    if (equal && !memchr(text, '/', (size_t)(equal - text)) &&
        (size_t)(equal - text) < sizeof name) {
        (void)snprintf(name, sizeof name, "%.*s", (int)(equal - text), text);
        options.name = name;
        text = equal + 1;
    }
    return rn_model_open(text, &options, out, err);
}

static enum rn_status open_models(struct serve *s, struct rn_error *err)
{
    int n = s->config.model.n > 0 ? s->config.model.n : 1;
    for (int i = 0; i < n; i++) {
        const char *text = s->config.model.n > 0 ? s->config.model.items[i] : NULL;
        struct rn_model *model = NULL;
        enum rn_status status = open_model(s, text, i == 0, &model, err);
        if (status == RN_OK)
            status = registry_add(s->registry, model, s->threads, err);
        if (status != RN_OK)
            return status;
    }
    return RN_OK;
}

static enum rn_status self_test(struct serve *s, struct rn_error *err)
{
    for (struct registry_model *m = registry_first(s->registry); m; m = m->next) {
        enum rn_status status = registry_self_test(m, err);
        if (status != RN_OK)
            return status;
        log_event(LOG_INFO, "model ready",
                  "name=\"%s\" architecture=%s kernels=%s classes=%d weights_bytes=%zu "
                  "arena_bytes=%zu digest=%s",
                  m->info->name, m->info->architecture, m->info->kernels, m->info->classes,
                  m->info->weights_bytes, m->info->arena_bytes, m->info->digest);
        char labels[1024];
        (void)snprintf(labels, sizeof labels,
                       "name=\"%.200s\",version=\"%.200s\",digest=\"%s\",precision=\"%s\"",
                       m->info->name, m->info->version, m->info->digest, m->info->precision);
        metrics_set(s->metrics, METRIC_MODEL_INFO, labels, 1);
    }
    return RN_OK;
}

/* ---- the way out ----------------------------------------------------------------------------- */

static void on_drain_tick(uv_timer_t *timer)
{
    struct serve *s = timer->data;
    uint64_t elapsed = uv_now(&s->loop) - s->drain_started_ms;
    if (!s->refusing && elapsed >= (uint64_t)s->config.drain_delay_ms) {
        s->refusing = true;
        http_drain(s->http);
    }
    if (!s->refusing)
        return;
    if (http_connections(s->http) == 0 && pipeline_in_flight(s->pipeline) == 0) {
        uv_stop(&s->loop);
    } else if (elapsed >=
               (uint64_t)s->config.drain_delay_ms + (uint64_t)s->config.drain_timeout_ms) {
        log_event(LOG_ERROR, "drain timed out, giving up", "requests=%zu", http_in_flight(s->http));
        s->exit_code = CMD_FAILED;
        uv_stop(&s->loop);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct serve *s = handle->data;
    if (s->api.draining) {
        log_event(LOG_WARN, "second signal, quitting at once", "signal=%d", number);
        _Exit(CMD_FAILED);
    }
    log_event(LOG_INFO, "draining", "signal=%d requests=%zu", number, http_in_flight(s->http));
    notify_send("STOPPING=1");
    s->api.draining = true;
    metrics_set(s->metrics, METRIC_READY, "", 0);
    s->drain_started_ms = uv_now(&s->loop);
    (void)uv_timer_start(&s->drain_timer, on_drain_tick, 0, DRAIN_POLL_MS);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* ---- the way in ------------------------------------------------------------------------------ */

static const char *setting(void *context, const char *key)
{
    struct serve *s = context;
    return config_value(&s->config, key, s->setting, sizeof s->setting);
}

static void start_loop(struct serve *s)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        (void)uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        (void)uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
    (void)uv_timer_init(&s->loop, &s->drain_timer);
    s->drain_timer.data = s;
}

static enum rn_status open_http(struct serve *s, struct rn_error *err)
{
    const struct config *c = &s->config;
    struct http_options options = {.listen = c->listen,
                                   .max_body_bytes = c->max_body_bytes,
                                   .max_connections = c->max_connections,
                                   .header_timeout_ms = c->header_timeout_ms,
                                   .body_timeout_ms = c->body_timeout_ms,
                                   .idle_timeout_ms = c->idle_timeout_ms,
                                   .write_timeout_ms = c->write_timeout_ms,
                                   .min_upload_bytes_per_s = c->min_upload_bytes_per_s};
    struct http_handlers handlers = routes_handlers;
    handlers.context = &s->api;
    return http_open(&s->loop, &options, &handlers, &s->http, err);
}

/* Everything in front of the listening socket. */
static enum rn_status build(struct serve *s, struct rn_error *err)
{
    const struct config *c = &s->config;
    s->registry = registry_new();
    s->metrics = metrics_new();
    if (!s->registry || !s->metrics)
        return rn_fail(err, RN_NO_MEMORY, "out of memory at start");
    enum rn_status status = rn_threads_new(s->n_threads, &s->threads, err);
    if (status == RN_OK)
        status = accesslog_open(c->access_log, &s->accesslog, err);
    if (status != RN_OK)
        return status;
    struct pipeline_options options = {
        .decode_workers = s->n_decoders,
        .queue_limit = c->queue_limit,
        .batch_window_ms = c->batch_window_ms,
        .limits = {.max_bytes = c->max_body_bytes,
                   .max_side = c->max_side,
                   .max_pixels = c->max_pixels,
                   .max_scans = c->max_scans,
                   .max_memory = c->max_decode_bytes},
    };
    s->pipeline = pipeline_new(&s->loop, &options, s->metrics);
    if (!s->pipeline)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the pipeline");
    s->api = (struct api){.pipeline = s->pipeline,
                          .registry = s->registry,
                          .metrics = s->metrics,
                          .accesslog = s->accesslog,
                          .top_k = c->top_k,
                          .timeout_ms = c->timeout_ms,
                          .max_images = c->max_images,
                          .cors_origin = c->cors_origin,
                          .setting = setting,
                          .setting_context = s};
    return RN_OK;
}

static void announce(const struct serve *s)
{
    const char *address = http_address(s->http);
    bool local = strncmp(address, "unix:", 5) == 0;
    const char *where = local ? "http://localhost" : address;
    char socket[256] = "";
    if (local)
        (void)snprintf(socket, sizeof socket, "--unix-socket %s ", address + 5);
    log_event(LOG_INFO, "listening", "address=%s threads=%d decode_workers=%d max_batch=%d",
              address, s->n_threads, s->n_decoders, s->config.max_batch);
    (void)fprintf(stderr,
                  "\nresnetd %s is serving on %s. Try:\n"
                  "  curl %s-T photo.jpg %s/classify\n"
                  "  curl %s-F image=@photo.jpg '%s/classify?top_k=3'\n\n",
                  RESNETD_VERSION, address, socket, where, socket, where);
}

/* From the listening socket to the end of the loop. */
static enum rn_status serve(struct serve *s, struct rn_error *err)
{
    start_loop(s);
    enum rn_status status = open_http(s, err);
    if (status == RN_OK)
        status = self_test(s, err);
    if (status != RN_OK)
        return status;
    s->api.ready = true;
    metrics_set(s->metrics, METRIC_READY, "", 1);
    announce(s);
    notify_send("READY=1");
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    log_event(LOG_INFO, "stopped", "exit_code=%d", s->exit_code);
    return RN_OK;
}

static void clean_up(struct serve *s)
{
    http_close(s->http);
    uv_walk(&s->loop, close_handle, NULL);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    pipeline_free(s->pipeline);
    registry_free(s->registry);
    rn_threads_free(s->threads);
    metrics_free(s->metrics);
    accesslog_close(s->accesslog);
    (void)uv_loop_close(&s->loop);
}

/* --help and --check are no settings: taken out of argv before those are read. */
static bool take_word(int *argc, char **argv, const char *word)
{
    for (int i = 0; i < *argc; i++)
        if (strcmp(argv[i], word) == 0) {
            memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof *argv);
            (*argc)--;
            return true;
        }
    return false;
}

/* Thread counts, and libuv's pool before its first use: a batch and one more task always find a
 * thread beside the decoders. */
static void size_pools(struct serve *s)
{
    int cores = rn_threads_available();
    s->n_threads = s->config.threads > 0 ? s->config.threads : cores;
    s->n_decoders = s->config.decode_workers > 0 ? s->config.decode_workers : s->n_threads;
    char text[16];
    (void)snprintf(text, sizeof text, "%d", s->n_decoders + 2);
    (void)setenv("UV_THREADPOOL_SIZE", text, 1);
    log_event(LOG_INFO, "starting", "version=%s cores=%d threads=%d decode_workers=%d",
              RESNETD_VERSION, cores, s->n_threads, s->n_decoders);
}

int cmd_serve(int argc, char **argv, char **envp)
{
    if (take_word(&argc, argv, "--help") || take_word(&argc, argv, "-h")) {
        (void)printf("usage: resnetd serve [--check] [--config FILE] [--KEY VALUE]…\n\n"
                     "Each option is also a key of the JSON file and an environment variable:\n"
                     "--max-body-bytes is max_body_bytes and RESNETD_MAX_BODY_BYTES.\n"
                     "--check reads the settings and the models, and exits.\n\n");
        config_print_help(stdout);
        return CMD_OK;
    }
    bool check = take_word(&argc, argv, "--check");
    static struct serve s;
    struct config_error wrong;
    if (!config_load(&s.config, argc, argv, envp, warn_setting, &wrong)) {
        complain(wrong.text);
        return CMD_USAGE;
    }
    (void)log_set_level(s.config.log_level);
    (void)signal(SIGPIPE, SIG_IGN);
    size_pools(&s);
    (void)uv_loop_init(&s.loop);

    struct rn_error err = {""};
    enum cmd_exit code = CMD_FAILED;
    enum rn_status status = build(&s, &err);
    if (status == RN_OK) {
        status = open_models(&s, &err);
        code = status == RN_OK ? CMD_FAILED : CMD_MODEL;
    }
    if (status == RN_OK && !check)
        status = serve(&s, &err);
    if (status == RN_OK && check)
        status = self_test(&s, &err);
    if (status != RN_OK)
        complain(err.text);
    else
        code = (enum cmd_exit)s.exit_code;
    if (status == RN_OK && check)
        (void)printf("settings and models are good\n");
    clean_up(&s);
    config_done(&s.config);
    return code;
}
