/* Class-activation maps: against PyTorch's, and their identity with the logits for every class of
 * nets whose channels and classes fill no block; runs give the same bits with and without. Feature
 * maps against PyTorch's; the last ones against the logits.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "config/embedded.h"
#include "engine/engine.h"
#include "tests/support_model.h"

#define TOLERANCE 1e-4 /* of the largest value */
#define N_TOP 3
#define MAX_BATCH 4

struct golden_map {
    const char *model, *layer; /* layer "cam": a class-activation map */
    int class;                 /* of it */
    int shape[3];              /* c, h, w */
    int step;                  /* every step-th value of the best map is kept */
    int channels[N_TOP];       /* with the highest means, best first */
    float means[N_TOP];        /* of a class-activation map: the bias */
    const float *values;
};

static const struct golden_map goldens[] = {
#include "tests/golden/maps.inc"
};
#define N_GOLDENS (sizeof goldens / sizeof *goldens)

static const struct net {
    const char *name;
    int size;
    struct support_net net;
} nets[] = {
    {"cifar_resnet20@37", 37, {SUPPORT_CIFAR, 3, 2, {3, 3, 3}, 16, 1, 64, false, 10, 0.2}},
    {"resnet18@75", 75, {SUPPORT_TORCHVISION, 7, 2, {2, 2, 2, 2}, 64, 1, 64, true, 1000, 0.2}},
    {"resnet50@96", 96, {SUPPORT_TORCHVISION, 7, 3, {3, 4, 6, 3}, 64, 1, 64, true, 1000, 0.2}},
};

/* A model, a session for it, images and their logits. */
struct bench {
    struct rn_model *model;
    const struct rn_model_info *info;
    struct rn_threads *team;
    struct rn_session *session;
    float *images, *logits;
    const float *inputs[MAX_BATCH];
};

static void bench_sessions(struct bench *b)
{
    struct rn_error err;
    b->info = rn_model_info(b->model);
    cr_assert_eq(rn_threads_new(2, &b->team, &err), RN_OK, "%s", err.text);
    cr_assert_eq(rn_session_new(b->model, b->team, &b->session, &err), RN_OK, "%s", err.text);
    const int size = b->info->input[1];
    const size_t n = 3 * (size_t)size * (size_t)size;
    b->images = malloc(MAX_BATCH * n * sizeof *b->images);
    b->logits = malloc(MAX_BATCH * (size_t)b->info->classes * sizeof *b->logits);
    cr_assert(b->images && b->logits);
    for (int i = 0; i < MAX_BATCH; i++) {
        support_image(i, size, b->images + (size_t)i * n);
        b->inputs[i] = b->images + (size_t)i * n;
    }
}

static void bench_open(struct bench *b, const struct support_net *net, int size)
{
    const struct support_options how = {.type = WEIGHT_F32, .prefix = "", .size = size};
    const struct rn_model_options options = {.max_batch = MAX_BATCH};
    struct support_model file;
    struct rn_error err;
    support_model_make(net, &how, &file);
    cr_assert_eq(rn_model_open_memory(file.bytes, file.n, "net", &options, &b->model, &err), RN_OK,
                 "%s", err.text);
    support_model_done(&file);
    bench_sessions(b);
}

static void bench_golden(struct bench *b, const char *name)
{
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        if (strcmp(nets[i].name, name) == 0) {
            bench_open(b, &nets[i].net, nets[i].size);
            return;
        }
    cr_assert_fail("there is no net %s", name);
}

static void bench_close(struct bench *b)
{
    rn_session_free(b->session);
    rn_threads_free(b->team);
    rn_model_free(b->model);
    free(b->images);
    free(b->logits);
}

/* The largest difference, as a part of the largest expected value. */
static double compare(const float *got, const float *want, size_t n, int step)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i * (size_t)step < n; i++) {
        const double difference = fabs((double)got[i * (size_t)step] - (double)want[i]);
        if (!(difference <= worst))
            worst = difference;
        largest = fmax(largest, fabs((double)want[i]));
    }
    return worst / largest;
}

/* ---- class-activation maps ------------------------------------------------------------------- */

Test(maps, class_activation_maps_are_pytorchs)
{
    struct bench b = {0};
    int n_compared = 0;
    for (size_t i = 0; i < N_GOLDENS; i++) {
        const struct golden_map *g = &goldens[i];
        if (strcmp(g->layer, "cam") != 0)
            continue;
        bench_golden(&b, g->model);
        cr_assert_eq(b.info->cam[0], g->shape[1]);
        cr_assert_eq(b.info->cam[1], g->shape[2]);
        const size_t n = (size_t)(g->shape[1] * g->shape[2]);
        float *grid = malloc(n * sizeof *grid), bias;
        cr_assert_not_null(grid);
        rn_session_run(b.session, b.inputs, 1, b.logits);
        rn_session_cam(b.session, 0, g->class, grid, &bias);
        const double worst = compare(grid, g->values, n, 1);
        cr_expect_leq(worst, TOLERANCE, "%s, class %d: off by %.1e", g->model, g->class, worst);
        cr_expect_float_eq((double)bias, (double)g->means[0], 1e-6);
        n_compared++;
        free(grid);
        bench_close(&b);
    }
    cr_assert_eq(n_compared, 6);
}

/* |mean + bias - logit| of every image and class, as a part of the largest |logit|. */
static double identity_error(const struct bench *b, int n)
{
    const size_t n_grid = (size_t)(b->info->cam[0] * b->info->cam[1]);
    const int classes = b->info->classes;
    float *grid = malloc(n_grid * sizeof *grid), bias;
    cr_assert_not_null(grid);
    double worst = 0, largest = 0;
    for (int i = 0; i < n * classes; i++) {
        const double logit = (double)b->logits[i];
        double sum = 0;
        rn_session_cam(b->session, i / classes, i % classes, grid, &bias);
        for (size_t k = 0; k < n_grid; k++)
            sum += (double)grid[k];
        const double difference = fabs(sum / (double)n_grid + (double)bias - logit);
        worst = difference <= worst ? worst : difference;
        largest = fmax(largest, fabs(logit));
    }
    free(grid);
    return worst / largest;
}

static void check_identity(struct bench *b, const char *name)
{
    const size_t n = MAX_BATCH * (size_t)b->info->classes * sizeof(float);
    float *again = malloc(n);
    cr_assert_not_null(again);
    rn_session_run(b->session, b->inputs, MAX_BATCH, b->logits);
    const double error = identity_error(b, MAX_BATCH);
    cr_expect_leq(error, TOLERANCE, "%s: mean + bias is off by %.1e of the largest logit", name,
                  error);
    if (getenv("GOLDEN_TABLE"))
        (void)printf("%-28s mean of the map + bias against the logit: %.1e\n", name, error);
    rn_session_run(b->session, b->inputs, MAX_BATCH, again);
    cr_expect_arr_eq(again, b->logits, n, "%s: other bits after a look at the maps", name);
    free(again);
}

Test(maps, the_mean_of_the_map_and_the_bias_are_the_logit)
{
    static const struct {
        const char *name;
        int size;
        struct support_net net;
    } rows[] = {
        {"37 px, odd classes", 37, {SUPPORT_CIFAR, 3, 2, {1, 1, 1}, 20, 1, 64, true, 7, 0.2}},
        {"option A", 32, {SUPPORT_CIFAR, 3, 2, {3, 3, 3}, 16, 1, 64, false, 100, 0.2}},
        {"bottlenecks", 64, {SUPPORT_TORCHVISION, 7, 3, {1, 2, 1, 1}, 16, 1, 64, true, 33, 0.2}},
        {"four stages, 90 px",
         90,
         {SUPPORT_TORCHVISION, 7, 2, {2, 2, 2, 2}, 64, 1, 64, true, 50, 0.2}},
        {"one value a map",
         32,
         {SUPPORT_TORCHVISION, 7, 2, {1, 1, 1, 1}, 16, 1, 64, true, 10, 0.2}},
    };
    struct bench b = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bench_open(&b, &rows[i].net, rows[i].size);
        check_identity(&b, rows[i].name);
        bench_close(&b);
    }
    const struct rn_model_options options = {.max_batch = MAX_BATCH};
    struct rn_error err;
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(),
                                      "embedded", &options, &b.model, &err),
                 RN_OK, "%s", err.text);
    bench_sessions(&b);
    check_identity(&b, "embedded model");
    bench_close(&b);
}

/* ---- feature maps ---------------------------------------------------------------------------- */

/* The row of a layer; the number of rows without one. */
static size_t find_layer(const struct bench *b, const char *name)
{
    size_t n, i = 0;
    const struct rn_layer *layers = rn_model_layers(b->model, &n);
    while (i < n && strcmp(layers[i].name, name) != 0)
        i++;
    return i;
}

static void check_features(const struct bench *b, const struct golden_map *g)
{
    size_t n_layers;
    const struct rn_layer *layers = rn_model_layers(b->model, &n_layers);
    const size_t layer = find_layer(b, g->layer);
    cr_assert_lt(layer, n_layers, "%s has no layer %s", g->model, g->layer);
    cr_assert_arr_eq(&layers[layer].output[1], g->shape, sizeof g->shape);
    const size_t n = (size_t)(g->shape[1] * g->shape[2]);
    int channels[N_TOP];
    float means[N_TOP], *maps = malloc(N_TOP * n * sizeof *maps);
    cr_assert_not_null(maps);
    rn_session_features(b->session, b->inputs[0], layer, N_TOP, channels, means, maps);
    cr_expect_arr_eq(channels, g->channels, sizeof channels, "%s, %s: %d, %d, %d", g->model,
                     g->layer, channels[0], channels[1], channels[2]);
    cr_expect_leq(compare(means, g->means, N_TOP, 1), TOLERANCE, "%s, %s", g->model, g->layer);
    const double worst = compare(maps, g->values, n, g->step);
    cr_expect_leq(worst, TOLERANCE, "%s, %s: off by %.1e", g->model, g->layer, worst);
    if (getenv("GOLDEN_TABLE"))
        (void)printf("%-20s %-24s %.1e\n", g->model, g->layer, worst);
    free(maps);
}

Test(maps, feature_maps_are_pytorchs)
{
    struct bench b = {0};
    int n_compared = 0;
    for (size_t i = 0; i < N_GOLDENS; i++) {
        const struct golden_map *g = &goldens[i];
        if (strcmp(g->layer, "cam") == 0)
            continue;
        if (i == 0 || strcmp(g->model, goldens[i - 1].model) != 0)
            bench_golden(&b, g->model);
        check_features(&b, g);
        n_compared++;
        if (strcmp(goldens[i + 1].layer, "cam") == 0)
            bench_close(&b);
    }
    cr_assert_eq(n_compared, 25);
}

/* Every layer has maps, of its shape, without NaN; the input's are the image's; the last one's are
 * the logits. A whole run afterwards gives the same bits as one before. */
Test(maps, every_layer_has_them)
{
    static const struct support_net net = {
        SUPPORT_TORCHVISION, 7, 3, {1, 2, 1, 1}, 20, 1, 64, true, 33, 0.2};
    struct bench b = {0};
    bench_open(&b, &net, 70);
    const size_t plane = 70 * 70, n_logits = MAX_BATCH * 33 * sizeof(float);
    size_t n;
    const struct rn_layer *layers = rn_model_layers(b.model, &n);
    float *maps = malloc(33 * plane * sizeof *maps), *again = malloc(n_logits), means[33];
    int channels[33];
    cr_assert(maps && again);
    rn_session_run(b.session, b.inputs, MAX_BATCH, b.logits);
    for (size_t i = 0; i < n; i++) {
        const int *shape = &layers[i].output[1], top = shape[0] < 33 ? shape[0] : 33;
        const size_t count = (size_t)(top * shape[1] * shape[2]);
        for (size_t k = 0; k < count; k++)
            maps[k] = NAN;
        rn_session_features(b.session, b.inputs[1], i, top, channels, means, maps);
        for (size_t k = 0; k < count; k++)
            cr_assert(isfinite(maps[k]), "%s", layers[i].name);
        for (int k = 1; k < top; k++)
            cr_assert_leq(means[k], means[k - 1], "%s", layers[i].name);
        for (int k = 0; k < top && i == 0; k++)
            cr_assert_arr_eq(maps + (size_t)k * plane, b.inputs[1] + (size_t)channels[k] * plane,
                             plane * sizeof *maps);
        for (int k = 0; k < top && i == n - 1; k++)
            cr_assert_float_eq((double)maps[k], (double)b.logits[33 + channels[k]], 1e-4);
        if (strcmp(layers[i].op, "relu") == 0)
            for (size_t k = 0; k < count; k++)
                cr_assert_geq(maps[k], 0, "%s", layers[i].name);
    }
    rn_session_run(b.session, b.inputs, MAX_BATCH, again);
    cr_assert_arr_eq(again, b.logits, n_logits);
    free(maps);
    free(again);
    bench_close(&b);
}
