/* `resnetd serve`: the only wiring. Settings -> pipeline -> HTTP -> models and their self-test ->
 * ready, and the way out again: SIGTERM drains.
 *
 * The loop thread owns everything here; models are loaded beside it, see models.h. SIGHUP reads the
 * settings and the models again.
 * Until they have passed their self-test /livez answers, /readyz and /classify say 503.
 * At SIGTERM /readyz says 503 at once, the rest is in drain.h; a second one ends the process
 * without waiting for anything.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "config/config.h"
#include "server/accesslog.h"
#include "server/agent.h"
#include "server/api_json.h"
#include "server/batcher.h"
#include "server/cmd/ceiling.h"
#include "server/cmd/children.h"
#include "server/cmd/cmd.h"
#include "server/cmd/credentials.h"
#include "server/cmd/descriptors.h"
#include "server/cmd/drain.h"
#include "server/cmd/listeners.h"
#include "server/cmd/models.h"
#include "server/cmd/pace.h"
#include "server/cmd/pool.h"
#include "server/cmd/watchdog.h"
#include "server/listen.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/notify.h"
#include "server/pipeline.h"
#include "server/recent.h"
#include "server/registry.h"
#include "server/routes.h"
#include "server/sandbox.h"
#include "server/waiting.h"

struct serve {
    struct config config;
    struct rn_threads *threads;
    struct pool pool;
    struct models *models;
    struct metrics *metrics;
    struct accesslog *accesslog;
    struct recent *recent;
    struct sandbox *sandbox; /* NULL: images are decoded in threads */
    struct pipeline *pipeline;
    struct listeners listeners;
    struct api api;
    uv_loop_t loop;
    uv_signal_t signals[3];
    struct children children;
    int argc; /* of serve's own words, for SIGHUP to read them again */
    char **argv, **envp;
    struct credentials credentials;
    struct config next; /* while it is being loaded, and what it names */
    struct credentials next_credentials;
    bool reload_again; /* a SIGHUP came while models were being loaded */
    struct watchdog watchdog;
    struct waiting waiting;
    struct drain drain;
    enum cmd_exit exit_code;
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

/* ---- the way out ----------------------------------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int number)
{
    struct serve *s = handle->data;
    if (s->api.draining) {
        log_event(LOG_WARN, "second signal, quitting at once", "signal=%d", number);
        _Exit(CMD_FAILED);
    }
    log_event(LOG_INFO, "draining", "signal=%d requests=%zu", number,
              listeners_in_flight(&s->listeners));
    notify_send("STOPPING=1");
    watchdog_say(&s->watchdog, "draining, ");
    s->api.draining = true;
    pace_hurry();
    listeners_leave(&s->listeners);
    metrics_set(s->metrics, METRIC_READY, "", 0);
    drain_start(&s->drain, &s->loop, &s->config, &s->listeners, s->pipeline, s->models);
}

/* ---- settings that others read ----------------------------------------------------------------
 */

static struct pipeline_options pipeline_settings(const struct serve *s)
{
    const struct config *c = &s->config;
    return (struct pipeline_options){
        .decode_workers = s->pool.n_decoders,
        .queue_limit = c->queue_limit,
        .cache_bytes = c->cache_bytes,
        .batch_window_ms = c->batch_window_ms,
        .sandbox = s->sandbox,
        .limits = {.max_bytes = c->max_body_bytes,
                   .max_side = c->max_side,
                   .max_pixels = c->max_pixels,
                   .max_scans = c->max_scans,
                   .max_memory = c->max_decode_bytes,
                   .max_cpu_ms = c->max_decode_ms,
                   .full_size = strcmp(c->jpeg_scaling, "off") == 0},
    };
}

/* What handlers read of the settings; again after a reload. */
static void set_api(struct serve *s)
{
    const struct config *c = &s->config;
    s->api.top_k = c->top_k;
    s->api.timeout_ms = c->timeout_ms;
    s->api.max_images = c->max_images;
    s->api.has_cache = c->cache_bytes > 0;
    s->api.cors_origin = c->cors_origin;
    s->api.keys = s->credentials.keys;
    s->api.admin_token = c->admin_token;
    s->api.admin_listens = listeners_have_admin(&s->listeners, c);
}

/* ---- SIGHUP ---------------------------------------------------------------------------------- */

static void reloaded(void *context, enum rn_status status, const struct rn_error *err)
{
    struct serve *s = context;
    if (status == RN_OK) {
        const struct pipeline_options options = pipeline_settings(s);
        config_adopt(&s->config, &s->next, warn_setting);
        credentials_done(&s->credentials);
        s->credentials = s->next_credentials;
        s->next_credentials.keys = NULL;
        set_api(s);
        pipeline_set_options(s->pipeline, &options);
        (void)log_set_level(s->config.log_level);
        const int n = s->config.model.n;
        log_event(LOG_INFO, "reloaded", "models=%d", n > 0 ? n : 1); /* the embedded one */
    } else {
        log_event(LOG_ERROR, "not reloaded, nothing has changed", "reason=\"%s\"", err->text);
    }
    config_done(&s->next);
    credentials_done(&s->next_credentials);
    notify_send("READY=1");
}

/* Whatever comes of it, the service manager hears of its beginning and its end. */
static void reload(struct serve *s)
{
    struct config_error wrong;
    struct rn_error err = {0};
    s->reload_again = false;
    notify_reloading();
    if (!config_load(&s->next, s->argc, s->argv, s->envp, warn_setting, &wrong)) {
        log_event(LOG_ERROR, "not reloaded, nothing has changed", "reason=\"%s\"", wrong.text);
        notify_send("READY=1");
    } else if (credentials_open(&s->next, &s->next_credentials, &err) != RN_OK) {
        reloaded(s, RN_IO, &err);
    } else if (!models_load(s->models, &s->next, reloaded, s)) {
        (void)rn_fail(&err, RN_NO_THREADS, "no thread could be started");
        reloaded(s, RN_NO_THREADS, &err);
    }
}

static void tell_memory(const struct serve *s)
{
    const struct ceiling m =
        ceiling_of(&s->config, s->pool.n_threads, s->pool.n_decoders, s->api.registry);
    log_event(LOG_INFO, "memory at most",
              "bytes=%zu models=%zu images=%zu decoding=%zu uploads=%zu connections=%zu cache=%zu "
              "pictures=%zu base=%zu",
              ceiling_total(&m), m.models, m.images, m.decoding, m.uploads, m.connections, m.cache,
              m.pictures, m.base);
    metrics_set(s->metrics, METRIC_MEMORY_CEILING, "", (double)ceiling_total(&m));
}

/* After every load. */
static void loaded(void *context)
{
    struct serve *s = context;
    if (s->api.registry)
        tell_memory(s);
    if (s->reload_again && !s->api.draining)
        reload(s);
}

/* The settings are read and the models loaded again. */
static void on_hangup(uv_signal_t *handle, int number)
{
    struct serve *s = handle->data;
    log_event(LOG_INFO, "reloading", "signal=%d", number);
    if (s->api.draining)
        return;
    if (models_busy(s->models))
        s->reload_again = true;
    else
        reload(s);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void clean_up(struct serve *s)
{
    listeners_close(&s->listeners);
    pipeline_free(s->pipeline);
    models_free(s->models);
    uv_walk(&s->loop, close_handle, NULL);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&s->loop);
    sandbox_close(s->sandbox);
    rn_threads_free(s->threads);
    metrics_free(s->metrics);
    recent_free(s->recent);
    accesslog_close(s->accesslog);
    credentials_done(&s->credentials);
    http_tls_done();
}

/* ---- the way in ------------------------------------------------------------------------------ */

static const char *setting(void *context, const char *key)
{
    struct serve *s = context;
    return config_value(&s->config, key, s->setting, sizeof s->setting);
}

static bool put_model(void *daemon, const char *text, const char *labels,
                      void (*done)(void *context, enum rn_status status,
                                   const struct rn_error *err),
                      void *context)
{
    const struct serve *s = daemon;
    return models_put(s->models, text, labels, done, context);
}

static bool remove_model(void *daemon, const char *name)
{
    const struct serve *s = daemon;
    return models_remove(s->models, name);
}

/* Before the loop there is nothing to finish. */
static void leave(int number)
{
    (void)number;
    _exit(CMD_OK);
}

static void start_loop(struct serve *s)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (int i = 0; i < 3; i++) {
        (void)uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        (void)uv_signal_start(&s->signals[i], numbers[i] == SIGHUP ? on_hangup : on_signal,
                              numbers[i]);
    }
    children_start(&s->children, &s->loop, s->sandbox);
    waiting_start(&s->waiting, &s->loop);
    rn_threads_give_way(s->threads, waiting_loop, &s->waiting);
    watchdog_start(&s->watchdog, &s->loop, s->pipeline, s->config.stuck_after_ms, &s->api.overdue);
}

/* Two batches and what is being decoded keep the engine busy; more is better left with the
 * balancer, where any machine can take it. */
static void report(void *context, struct agent_report *out)
{
    const struct serve *s = context;
    const struct registry_model *model = s->api.registry ? registry_first(s->api.registry) : NULL;
    *out = (struct agent_report){.state = s->api.draining  ? AGENT_DRAINING
                                          : s->api.overdue ? AGENT_STUCK
                                          : model          ? AGENT_READY
                                                           : AGENT_LOADING};
    if (!model)
        return;
    const size_t n_http = listeners_in_flight(&s->listeners);
    const size_t n_working = pipeline_in_flight(s->pipeline);
    out->image_ns = batcher_capacity_ns(model->batcher, 1);
    out->flops = model->info->flops;
    out->n_receiving = n_http > n_working ? n_http - n_working : 0;
    out->n_slots = 2 * (size_t)(s->pool.n_decoders + batcher_best_batch(model->batcher));
}

/* Where this machine does not allow helper processes, images are decoded in threads: said once. */
static void open_sandbox(struct serve *s)
{
    const struct sandbox_options options = {.program = "/proc/self/exe",
                                            .n_slots = s->pool.n_decoders,
                                            .max_file_bytes = s->config.max_body_bytes,
                                            .max_memory = s->config.max_decode_bytes};
    struct rn_error err;
    if (strcmp(s->config.decode_isolation, "thread") == 0)
        log_event(LOG_INFO, "images are decoded in the daemon's own threads", "threads=%d",
                  s->pool.n_decoders);
    else if (sandbox_open(&options, &s->sandbox, &err) != RN_OK)
        log_event(LOG_WARN, "no decode helpers, images are decoded in the daemon's own threads",
                  "reason=\"%s\"", err.text);
    else
        log_event(sandbox_is_filtered(s->sandbox) ? LOG_INFO : LOG_WARN,
                  sandbox_is_filtered(s->sandbox)
                      ? "images are decoded in confined processes"
                      : "decode helpers may use all system calls: no seccomp filter here",
                  "helpers=%d", s->pool.n_decoders);
}

/* Everything in front of the listening socket. */
static enum rn_status build(struct serve *s, bool checking, struct rn_error *err)
{
    const struct config *c = &s->config;
    s->metrics = metrics_new();
    s->recent = recent_new();
    if (!s->metrics || !s->recent)
        return rn_fail(err, RN_NO_MEMORY, "out of memory at start");
    enum rn_status status = credentials_open(c, &s->credentials, err);
    if (status == RN_OK)
        status = rn_threads_new(s->pool.n_threads, &s->threads, err);
    if (status == RN_OK)
        status = accesslog_open(c->access_log, strcmp(c->access_log_format, "json") == 0,
                                &s->accesslog, err);
    if (status != RN_OK)
        return status;
    if (!checking)
        open_sandbox(s);
    const struct pipeline_options options = pipeline_settings(s);
    s->pipeline = pipeline_new(&s->loop, &options, s->metrics);
    if (!s->pipeline)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the pipeline");
    s->models = models_new(&s->loop, c, s->threads, s->metrics, s->pipeline, loaded, s);
    if (!s->models)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the models");
    metrics_set(s->metrics, METRIC_READY, "", 0);
    metrics_set(s->metrics, METRIC_BUILD_INFO,
                "version=\"" RESNETD_VERSION "\",commit=\"" RESNETD_COMMIT "\"", 1);
    s->api = (struct api){.pipeline = s->pipeline,
                          .metrics = s->metrics,
                          .accesslog = s->accesslog,
                          .recent = s->recent,
                          .setting = setting,
                          .put_model = put_model,
                          .remove_model = remove_model,
                          .daemon = s};
    set_api(s);
    return RN_OK;
}

static void first_loaded(void *context, enum rn_status status, const struct rn_error *err)
{
    struct serve *s = context;
    struct rn_error failure;
    if (status != RN_OK) {
        complain(err->text);
        s->exit_code = CMD_MODEL;
        uv_stop(&s->loop);
        return;
    }
    s->api.registry = models_registry(s->models);
    if (s->api.draining)
        return;
    if (listeners_ready(&s->listeners, &failure) != RN_OK) {
        complain(failure.text);
        s->exit_code = CMD_FAILED;
        uv_stop(&s->loop);
        return;
    }
    metrics_set(s->metrics, METRIC_READY, "", 1);
    listeners_announce(&s->listeners);
    notify_send("READY=1");
    watchdog_say(&s->watchdog, "");
}

/* From the listening socket to the end of the loop. */
static enum rn_status serve(struct serve *s, struct rn_error *err)
{
    start_loop(s);
    struct listeners_means means = {.loop = &s->loop,
                                    .config = &s->config,
                                    .handlers = routes_handlers,
                                    .proxies = &s->credentials.proxies,
                                    .report = report,
                                    .context = s};
    means.handlers.context = &s->api;
    const enum rn_status status = listeners_open(&s->listeners, &means, err);
    if (status != RN_OK)
        return status;
    if (!models_load(s->models, &s->config, first_loaded, s))
        return rn_fail(err, RN_NO_THREADS, "the thread that loads models could not be started");
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    log_event(LOG_INFO, "stopped", "exit_code=%d", s->exit_code);
    return RN_OK;
}

/* Settings and models as serving would load them, addresses as far as can be said without them. */
static void check(struct serve *s)
{
    const char *const addresses[] = {s->config.listen, s->config.admin_listen,
                                     s->config.agent_listen};
    struct rn_error err = {0};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        if (addresses[i][0] != '\0' && listen_check(addresses[i], &err) != RN_OK) {
            complain(err.text);
            s->exit_code = CMD_FAILED;
            return;
        }
    if (models_check(s->models, &err) == RN_OK) {
        (void)printf("settings and models are good\n");
    } else {
        complain(err.text);
        s->exit_code = CMD_MODEL;
    }
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

int cmd_serve(int argc, char **argv, char **envp)
{
    if (take_word(&argc, argv, "--help") || take_word(&argc, argv, "-h")) {
        (void)printf("usage: resnetd serve [--check] [--config FILE] [--KEY VALUE]…\n\n"
                     "Each option is also a key of the JSON file and an environment variable:\n"
                     "--max-body-bytes is max_body_bytes and RESNETD_MAX_BODY_BYTES.\n"
                     "--check reads the settings and the models, and exits.\n"
                     "What SIGHUP does not change is marked [restart].\n\n");
        config_print_help(stdout);
        return CMD_OK;
    }
    const bool checking = take_word(&argc, argv, "--check");
    static struct serve s;
    struct config_error wrong;
    if (!config_load(&s.config, argc, argv, envp, warn_setting, &wrong)) {
        complain(wrong.text);
        return CMD_USAGE;
    }
    (void)log_set_level(s.config.log_level);
    s.argc = argc;
    s.argv = argv;
    s.envp = envp;
    api_json_init();
    (void)signal(SIGPIPE, SIG_IGN);
    if (!checking) {
        (void)signal(SIGTERM, leave);
        (void)signal(SIGINT, leave);
        (void)signal(SIGHUP, SIG_IGN); /* the settings have just been read */
    }
    struct rn_error err = {0};
    enum rn_status status = passed_take(&s.listeners.passed, &err);
    s.pool = pool_size(&s.config);
    log_event(LOG_INFO, "starting", "version=%s cores=%d threads=%d decode_workers=%d",
              RESNETD_VERSION, s.pool.cores, s.pool.n_threads, s.pool.n_decoders);
    descriptors_fit(&s.config, s.pool.n_decoders);
    pool_start(&s.pool, &s.loop);
    if (status == RN_OK)
        status = build(&s, checking, &err);
    if (status == RN_OK && checking)
        check(&s);
    else if (status == RN_OK)
        status = serve(&s, &err);
    if (status != RN_OK) {
        complain(err.text);
        s.exit_code = status == RN_BAD_ARGUMENT ? CMD_USAGE : CMD_FAILED;
    }
    clean_up(&s);
    config_done(&s.config);
    return (int)s.exit_code;
}
