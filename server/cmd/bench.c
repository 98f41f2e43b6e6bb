/* `resnetd bench`: how fast the engine runs a model on this machine, per net and per layer, beside
 * the machine's own peak measured in the same minute. One team at a time; prints to stdout.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "server/cmd/offline.h"

static const char usage[] =
    "bench [--model PATH] [--batch N[,N]] [--threads T[,T]] [--seconds S] [--json]\n\n"
    "Times whole runs of a batch; without --model, of the embedded one.";

#define MAX_RUNS 100000

struct bench {
    const struct rn_model *model;
    const char *cpu;
    double seconds; /* of each run */
    struct rn_machine machine;
    json_t *runs;
    bool json;
};

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs until the time is over, at least three times; sorts the times. Layer times are the fastest
 * run's. */
static size_t time_runs(struct rn_session *session, const float *const *inputs, int batch,
                        float *logits, double seconds, double *times, uint64_t *layer_ns)
{
    rn_session_run(session, inputs, batch, logits);
    double end = now_ms() + 1e3 * seconds, best = 0;
    size_t n = 0;
    rn_session_profile(session, true);
    while (n < MAX_RUNS && (n < 3 || now_ms() < end)) {
        double start = now_ms();
        rn_session_run(session, inputs, batch, logits);
        times[n] = now_ms() - start;
        if (n == 0 || times[n] < best) {
            size_t n_steps;
            const struct rn_step *steps = rn_session_steps(session, &n_steps);
            for (size_t i = 0; i < n_steps; i++)
                layer_ns[i] = steps[i].ns;
            best = times[n];
        }
        n++;
    }
    qsort(times, n, sizeof *times, by_value);
    return n;
}

static double gflops(double flops, double ms)
{
    return ms > 0 ? flops / ms / 1e6 : 0;
}

static void report(struct bench *b, struct rn_session *session, int batch, int threads,
                   const double *times, size_t n_times, const uint64_t *layer_ns)
{
    const struct rn_model_info *info = rn_model_info(b->model);
    double median = times[n_times / 2], fastest = times[0];
    double rate = gflops((double)info->flops * batch, median);
    size_t n;
    const struct rn_step *steps = rn_session_steps(session, &n);
    json_t *layers = json_array();
    if (!b->json) {
        printf("\n%s, batch %d, %d thread%s: median %.3f ms, min %.3f ms, %.1f images/s, "
               "%.1f GFLOP/s, %.0f %% of peak (%zu runs)\n",
               info->name, batch, threads, threads == 1 ? "" : "s", median, fastest,
               1e3 * batch / median, rate, 100 * rate / b->machine.peak_gflops, n_times);
        printf("  %-28s %-10s %10s %10s %7s\n", "layer", "algorithm", "ms", "GFLOP/s", "% peak");
    }
    for (size_t i = 0; i < n; i++) {
        double ms = 1e-6 * (double)layer_ns[i];
        double layer_rate = gflops((double)steps[i].flops * batch, ms);
        if (!b->json)
            printf("  %-28s %-10s %10.4f %10.1f %7.0f\n", steps[i].name, steps[i].algorithm, ms,
                   layer_rate, 100 * layer_rate / b->machine.peak_gflops);
        (void)json_array_append_new(layers, json_pack("{s:s, s:s, s:f, s:f}", "name", steps[i].name,
                                                      "algorithm", steps[i].algorithm, "ms", ms,
                                                      "gflops", layer_rate));
    }
    (void)json_array_append_new(
        b->runs, json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:o}", "model", info->name,
                           "batch", batch, "threads", threads, "median_ms", median, "min_ms",
                           fastest, "images_per_second", 1e3 * batch / median, "gflops", rate,
                           "peak_fraction", rate / b->machine.peak_gflops, "layers", layers));
}

/* One batch size on one team. */
static enum rn_status run_one(struct bench *b, struct rn_threads *threads, int batch,
                              struct rn_error *err)
{
    const struct rn_model_info *info = rn_model_info(b->model);
    size_t size = (size_t)info->input[0] * (size_t)info->input[1] * (size_t)info->input[2], n_steps;
    struct rn_session *session = NULL;
    enum rn_status status = rn_session_new(b->model, threads, &session, err);
    if (status != RN_OK)
        return status;
    (void)rn_session_steps(session, &n_steps);
    float *images = malloc((size_t)batch * size * sizeof *images);
    float *logits = malloc((size_t)batch * (size_t)info->classes * sizeof *logits);
    const float **inputs = malloc((size_t)batch * sizeof *inputs);
    double *times = malloc(MAX_RUNS * sizeof *times);
    uint64_t *layer_ns = calloc(n_steps, sizeof *layer_ns);
    if (images && logits && inputs && times && layer_ns) {
        uint32_t state = 1;
        for (size_t i = 0; i < (size_t)batch * size; i++) {
            state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
            images[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
        }
        for (int i = 0; i < batch; i++)
            inputs[i] = images + (size_t)i * size;
        size_t n = time_runs(session, inputs, batch, logits, b->seconds, times, layer_ns);
        report(b, session, batch, rn_threads_count(threads), times, n, layer_ns);
    } else {
        status = rn_fail(err, RN_NO_MEMORY, "out of memory for a batch of %d images", batch);
    }
    free(images);
    free(logits);
    free(inputs);
    free(times);
    free(layer_ns);
    rn_session_free(session);
    return status;
}

/* All batch sizes × all thread counts. */
static enum rn_status run_all(struct bench *b, const struct flag_ints *batches,
                              const struct flag_ints *threads, struct rn_error *err)
{
    enum rn_status status = RN_OK;
    for (int i = 0; status == RN_OK && i < batches->n; i++)
        for (int j = 0; status == RN_OK && j < threads->n; j++) {
            struct rn_threads *team = NULL;
            status = rn_threads_new(threads->values[j], &team, err);
            if (status == RN_OK)
                status = run_one(b, team, batches->values[i], err);
            rn_threads_free(team);
        }
    return status;
}

static enum rn_status measure(struct bench *b, int n_threads, struct rn_error *err)
{
    struct rn_threads *team = NULL;
    enum rn_status status = rn_threads_new(n_threads, &team, err);
    if (status == RN_OK)
        status = rn_machine_measure(team, b->cpu, 0.5, &b->machine, err);
    rn_threads_free(team);
    if (status == RN_OK && !b->json)
        printf("peak %.1f GFLOP/s (%s tile in L1), memory %.1f GB/s, %d thread%s\n",
               b->machine.peak_gflops, rn_model_info(b->model)->kernels, b->machine.bandwidth_gbs,
               n_threads, n_threads == 1 ? "" : "s");
    return status;
}

static int largest(const struct flag_ints *list)
{
    int max = 0;
    for (int i = 0; i < list->n; i++)
        max = list->values[i] > max ? list->values[i] : max;
    return max;
}

static enum cmd_exit bench(struct bench *b, const struct flag_ints *batches,
                           const struct flag_ints *threads)
{
    struct rn_error err;
    b->runs = json_array();
    enum rn_status status = measure(b, largest(threads), &err);
    if (status == RN_OK)
        status = run_all(b, batches, threads, &err);
    if (status != RN_OK) {
        offline_complain("%s", err.text);
    } else if (b->json) {
        json_t *root = json_pack("{s:f, s:f, s:O}", "peak_gflops", b->machine.peak_gflops,
                                 "bandwidth_gbs", b->machine.bandwidth_gbs, "runs", b->runs);
        (void)json_dumpf(root, stdout, JSON_REAL_PRECISION(6));
        printf("\n");
        json_decref(root);
    }
    json_decref(b->runs);
    return status == RN_OK ? CMD_OK : CMD_FAILED;
}

int cmd_bench(int argc, char **argv, char **envp)
{
    const char *path = "";
    struct flag_ints batches = {{1, 8}, 2}, threads = {{rn_threads_available()}, 1};
    struct bench b = {.seconds = 2};
    const struct flag flags[] = {
        {.name = "model",
         .type = FLAG_TEXT,
         .out = &path,
         .value = "PATH",
         .help = "a .safetensors file or a hub folder"},
        {.name = "batch",
         .type = FLAG_INTS,
         .out = &batches,
         .min = 1,
         .max = RN_MAX_BATCH,
         .value = "N[,N]",
         .help = "images in a run (1,8)"},
        {.name = "threads",
         .type = FLAG_INTS,
         .out = &threads,
         .min = 1,
         .max = 1024,
         .value = "T[,T]",
         .help = "engine threads (the cores there are)"},
        {.name = "seconds",
         .type = FLAG_REAL,
         .out = &b.seconds,
         .min = 0,
         .max = 3600,
         .value = "S",
         .help = "time for each line (2)"},
        {.name = "json",
         .type = FLAG_SWITCH,
         .out = &b.json,
         .value = "",
         .help = "one JSON object instead of tables"},
    };
    enum cmd_exit code;
    if (!offline_flags(usage, flags, sizeof flags / sizeof *flags, &argc, argv, &code))
        return code;
    if (argc > 0) {
        offline_complain("bench takes no '%s'; did you mean --model?", argv[0]);
        return CMD_USAGE;
    }
    struct config config;
    code = offline_settings(envp, &config);
    if (code != CMD_OK)
        return code;
    struct rn_model *model = NULL;
    code = offline_model(&config, path, largest(&batches), &model);
    if (code == CMD_OK) {
        b.model = model;
        b.cpu = *config.cpu ? config.cpu : NULL;
        code = bench(&b, &batches, &threads);
    }
    rn_model_free(model);
    config_done(&config);
    return code;
}
