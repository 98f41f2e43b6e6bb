/* `resnetd bench`: how fast the engine runs a model on this machine, per net and per layer, beside
 * what the machine itself can do, measured in the same minute. One team at a time; prints to
 * stdout.
 *
 * A layer's GFLOP/s count the operations of its definition; its share of the peak counts those that
 * its algorithm does, which for Winograd's are fewer.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/clock.h"
#include "server/cmd/offline.h"
#include "server/cmd/roofline.h"

static const char usage[] =
    "bench [--model PATH] [--batch N[,N]] [--threads T[,T]] [--seconds S] [--layers] [--svg FILE] "
    "[--json]\n\n"
    "Times whole runs of a batch; without --model, of the settings' first model\n"
    "or, if they name none, of the embedded one.";

#define MAX_RUNS 100000

struct bench {
    const struct rn_model *model;
    const char *cpu;
    double seconds; /* of each run */
    struct rn_machine machine;
    int machine_threads; /* that it was measured on */
    json_t *runs;
    bool json, layers;
    const char *svg; /* "" for none */
};

/* One batch size on one team. */
struct timing {
    int batch, threads;
    double median_ms, min_ms;
    size_t n_runs, n_steps;
    const struct rn_step *steps; /* the session's */
    uint64_t *step_ns;           /* [n_steps], of the fastest run */
};

static double now_ms(void)
{
    return 1e-6 * (double)clock_ns();
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* Runs until the time is over, at least three times. */
static void time_runs(struct rn_session *session, const float *const *inputs, float *logits,
                      double seconds, double *times_ms, struct timing *t)
{
    rn_session_run(session, inputs, t->batch, logits);
    const double end_ms = now_ms() + 1e3 * seconds;
    size_t n = 0;
    rn_session_profile(session, true);
    while (n < MAX_RUNS && (n < 3 || now_ms() < end_ms)) {
        const double start_ms = now_ms();
        rn_session_run(session, inputs, t->batch, logits);
        times_ms[n] = now_ms() - start_ms;
        if (n == 0 || times_ms[n] < t->min_ms) {
            t->steps = rn_session_steps(session, &t->n_steps);
            for (size_t i = 0; i < t->n_steps; i++)
                t->step_ns[i] = t->steps[i].ns;
            t->min_ms = times_ms[n];
        }
        n++;
    }
    qsort(times_ms, n, sizeof *times_ms, by_value);
    t->median_ms = times_ms[n / 2];
    t->n_runs = n;
}

/* ---- reporting ------------------------------------------------------------------------------- */

static double peak_gflops(const struct bench *b, int threads)
{
    return b->machine.peak_gflops * threads / b->machine_threads;
}

static double layer_ms(const struct timing *t, size_t i)
{
    return 1e-6 * (double)t->step_ns[i];
}

/* GFLOP/s of so many operations an image. */
static double rate(const struct timing *t, uint64_t flops, double ms)
{
    return ms > 0 ? (double)flops * t->batch / ms / 1e6 : 0;
}

static uint64_t layer_bytes(const struct timing *t, size_t i)
{
    return t->steps[i].weights_bytes + (uint64_t)t->batch * t->steps[i].map_bytes;
}

/* Operations that the chosen algorithms do, one image. */
static uint64_t total_work(const struct timing *t)
{
    uint64_t work = 0;
    for (size_t i = 0; i < t->n_steps; i++)
        work += t->steps[i].work;
    return work;
}

/* The share of the time that so many operations would take at the peak. */
static double floor_share(const struct bench *b, const struct timing *t, uint64_t flops)
{
    return rate(t, flops, t->median_ms) / peak_gflops(b, t->threads);
}

static void print_text(const struct bench *b, const struct timing *t)
{
    const struct rn_model_info *info = rn_model_info(b->model);
    const double peak = peak_gflops(b, t->threads);
    printf("\n%s, batch %d, %d thread%s: median %.3f ms, min %.3f ms, %.1f images/s (%zu runs)\n"
           "  of the peak: %.0f %% by the layers' definitions, %.0f %% by the chosen algorithms\n",
           info->name, t->batch, t->threads, t->threads == 1 ? "" : "s", t->median_ms, t->min_ms,
           1e3 * t->batch / t->median_ms, t->n_runs, 100 * floor_share(b, t, info->flops),
           100 * floor_share(b, t, total_work(t)));
    if (!b->layers)
        return;
    printf("  %-28s %-13s %10s %10s %7s %10s %8s\n", "layer", "algorithm", "ms", "GFLOP/s",
           "% peak", "MB", "GB/s");
    for (size_t i = 0; i < t->n_steps; i++) {
        const double ms = layer_ms(t, i), bytes = (double)layer_bytes(t, i);
        printf("  %-28s %-13s %10.4f %10.1f %7.0f %10.2f %8.1f\n", t->steps[i].name,
               t->steps[i].algorithm, ms, rate(t, t->steps[i].flops, ms),
               100 * rate(t, t->steps[i].work, ms) / peak, bytes / 1e6,
               ms > 0 ? bytes / ms / 1e6 : 0);
    }
}

static json_t *json_of(const struct bench *b, const struct timing *t)
{
    const struct rn_model_info *info = rn_model_info(b->model);
    const double peak = peak_gflops(b, t->threads);
    json_t *layers = json_array();
    for (size_t i = 0; i < t->n_steps; i++) {
        const double ms = layer_ms(t, i);
        (void)json_array_append_new(layers,
                                    json_pack("{s:s, s:s, s:f, s:f, s:f, s:I}", "name",
                                              t->steps[i].name, "algorithm", t->steps[i].algorithm,
                                              "ms", ms, "gflops", rate(t, t->steps[i].flops, ms),
                                              "peak_fraction", rate(t, t->steps[i].work, ms) / peak,
                                              "bytes", (json_int_t)layer_bytes(t, i)));
    }
    return json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "model", info->name,
                     "batch", t->batch, "threads", t->threads, "median_ms", t->median_ms, "min_ms",
                     t->min_ms, "images_per_second", 1e3 * t->batch / t->median_ms, "gflops",
                     rate(t, info->flops, t->median_ms), "peak_fraction",
                     floor_share(b, t, info->flops), "algorithm_peak_fraction",
                     floor_share(b, t, total_work(t)), "layers", layers);
}

/* The last run's layers that compute. */
static enum rn_status draw(const struct bench *b, const struct timing *t, struct rn_error *err)
{
    char title[256];
    struct roofline_dot *dots = calloc(t->n_steps, sizeof *dots);
    size_t n = 0;
    if (!dots)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the roofline");
    for (size_t i = 0; i < t->n_steps; i++)
        if (t->steps[i].work > 0 && t->step_ns[i] > 0)
            dots[n++] = (struct roofline_dot){
                .name = t->steps[i].name,
                .algorithm = t->steps[i].algorithm,
                .flops_per_byte = (double)t->steps[i].work * t->batch / (double)layer_bytes(t, i),
                .gflops = rate(t, t->steps[i].work, layer_ms(t, i)),
            };
    (void)snprintf(title, sizeof title, "%.100s, batch %d, %d thread%s, %s kernels: %.2f ms",
                   rn_model_info(b->model)->name, t->batch, t->threads, t->threads == 1 ? "" : "s",
                   rn_model_info(b->model)->kernels, t->median_ms);
    const struct roofline roofline = {.title = title,
                                      .peak_gflops = peak_gflops(b, t->threads),
                                      .bandwidth_gbs = b->machine.bandwidth_gbs,
                                      .dots = dots,
                                      .n_dots = n};
    const bool ok = roofline_write(b->svg, &roofline);
    free(dots);
    return ok ? RN_OK : rn_fail(err, RN_IO, "%.150s: %s", b->svg, strerror(errno));
}

static enum rn_status report(struct bench *b, const struct timing *t, struct rn_error *err)
{
    if (b->json)
        (void)json_array_append_new(b->runs, json_of(b, t));
    else
        print_text(b, t);
    return b->svg[0] ? draw(b, t, err) : RN_OK;
}

/* ---- all runs -------------------------------------------------------------------------------- */

static enum rn_status run_one(struct bench *b, struct rn_threads *threads, int batch,
                              struct rn_error *err)
{
    const struct rn_model_info *info = rn_model_info(b->model);
    const size_t size = (size_t)info->input[0] * (size_t)info->input[1] * (size_t)info->input[2];
    struct timing t = {.batch = batch, .threads = rn_threads_count(threads)};
    struct rn_session *session = NULL;
    enum rn_status status = rn_session_new(b->model, threads, &session, err);
    if (status != RN_OK)
        return status;
    (void)rn_session_steps(session, &t.n_steps);
    float *images = malloc((size_t)batch * size * sizeof *images);
    float *logits = malloc((size_t)batch * (size_t)info->classes * sizeof *logits);
    const float **inputs = malloc((size_t)batch * sizeof *inputs);
    double *times_ms = malloc(MAX_RUNS * sizeof *times_ms);
    t.step_ns = calloc(t.n_steps, sizeof *t.step_ns);
    if (images && logits && inputs && times_ms && t.step_ns) {
        uint32_t state = 1;
        for (size_t i = 0; i < (size_t)batch * size; i++) {
            state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
            images[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
        }
        for (int i = 0; i < batch; i++)
            inputs[i] = images + (size_t)i * size;
        time_runs(session, inputs, logits, b->seconds, times_ms, &t);
        status = report(b, &t, err);
    } else {
        status = rn_fail(err, RN_NO_MEMORY, "out of memory for a batch of %d images", batch);
    }
    free(images);
    free(logits);
    free(inputs);
    free(times_ms);
    free(t.step_ns);
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
    b->machine_threads = n_threads;
    if (status == RN_OK && !b->json)
        printf("peak %.1f GFLOP/s (%s tile in L1; %.1f in registers), memory %.1f GB/s, "
               "fork and join %.1f µs, %d thread%s\n",
               b->machine.peak_gflops, rn_model_info(b->model)->kernels, b->machine.fma_gflops,
               b->machine.bandwidth_gbs, b->machine.fork_join_us, n_threads,
               n_threads == 1 ? "" : "s");
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
    struct rn_error err = {0};
    b->runs = json_array();
    enum rn_status status = measure(b, largest(threads), &err);
    if (status == RN_OK)
        status = run_all(b, batches, threads, &err);
    if (status != RN_OK) {
        offline_complain("%s", err.text);
    } else if (b->json) {
        json_t *root = json_pack("{s:f, s:f, s:f, s:f, s:O}", "fma_gflops", b->machine.fma_gflops,
                                 "peak_gflops", b->machine.peak_gflops, "bandwidth_gbs",
                                 b->machine.bandwidth_gbs, "fork_join_us", b->machine.fork_join_us,
                                 "runs", b->runs);
        (void)json_dumpf(root, stdout, JSON_REAL_PRECISION(6));
        printf("\n");
        json_decref(root);
    }
    json_decref(b->runs);
    return status == RN_OK ? CMD_OK : status == RN_BAD_MODEL ? CMD_MODEL : CMD_FAILED;
}

int cmd_bench(int argc, char **argv, char **envp)
{
    const char *path = "";
    struct flag_ints batches = {{1, 8}, 2}, threads = {{0}, 0};
    struct bench b = {.seconds = 2, .svg = ""};
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
         .help = "engine threads (as the server has them)"},
        {.name = "seconds",
         .type = FLAG_REAL,
         .out = &b.seconds,
         .min = 0,
         .max = 3600,
         .value = "S",
         .help = "time for each line (2)"},
        {.name = "layers",
         .type = FLAG_SWITCH,
         .out = &b.layers,
         .value = "",
         .help = "a table of the layers, too"},
        {.name = "svg",
         .type = FLAG_TEXT,
         .out = &b.svg,
         .value = "FILE",
         .help = "draw the last run's layers as a roofline"},
        {.name = "json",
         .type = FLAG_SWITCH,
         .out = &b.json,
         .value = "",
         .help = "one JSON object instead of text, layers included"},
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
    if (threads.n == 0)
        threads = (struct flag_ints){{offline_threads(&config)}, 1};
    struct rn_model *model = NULL;
    code = offline_model(&config, path, largest(&batches), &model);
    if (code == CMD_OK) {
        b.model = model;
        b.cpu = *config.cpu ? config.cpu : NULL;
        code = (int)bench(&b, &batches, &threads);
    }
    rn_model_free(model);
    config_done(&config);
    return code;
}
