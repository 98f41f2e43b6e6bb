/* The whole engine against PyTorch: logits of every architecture for seeded weights and images.
 *
 * Batches of 1, 3 and 8, one and two threads; the golden numbers and how they were made are in
 * tests/golden. The logits of one image must be the same bits in every one of these runs.
 * GOLDEN_TABLE=1 prints how far each architecture is off. Sanitizer builds, many times slower,
 * leave out the rows marked large.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "engine/engine.h"
#include "tests/support_folder.h"
#include "tests/support_model.h"

#define TOLERANCE 1e-4 /* of the largest |logit| */
#define GOLDEN_IMAGES 3
#define MAX_BATCH 8

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WITH_LARGE false
#else
#define WITH_LARGE true
#endif

struct golden {
    const char *name; /* architecture@input size */
    int size, classes, step;
    uint64_t parameters;
    uint64_t checksum;   /* struct support_model's */
    float largest;       /* |logit| */
    double noise;        /* PyTorch's float32 against its float64, of the largest |logit| */
    const float *logits; /* every step-th: [GOLDEN_IMAGES][ceil(classes / step)] */
};

static const struct golden goldens[] = {
#include "tests/golden/logits.inc"
};

/* ---- the architectures ---------------------------------------------------------------------- */

#define TV SUPPORT_TORCHVISION
#define CIFAR SUPPORT_CIFAR
#define HF SUPPORT_HUGGING_FACE

/* config.json as the Hugging Face hub has it: such a row is opened as a folder. */
static const char hub_basic[] =
    "{\"model_type\": \"resnet\", \"layer_type\": \"basic\", \"depths\": [2, 2, 2, 2],"
    " \"hidden_sizes\": [64, 128, 256, 512], \"embedding_size\": 64,"
    " \"downsample_in_first_stage\": false, \"hidden_act\": \"relu\"}";
static const char hub_bottleneck[] =
    "{\"model_type\": \"resnet\", \"layer_type\": \"bottleneck\", \"depths\": [3, 4, 6, 3],"
    " \"hidden_sizes\": [256, 512, 1024, 2048], \"embedding_size\": 64,"
    " \"downsample_in_first_stage\": false, \"hidden_act\": \"relu\"}";
static const char hub_stride_in_1x1[] =
    "{\"model_type\": \"resnet\", \"downsample_in_bottleneck\": true}";

enum { LARGE = 1, STRIDE_IN_1X1 = 2, F16 = 4, BF16 = 8 };

static const struct row {
    const char *golden;
    struct support_net net;
    unsigned flags;
    const char *config;
} rows[] = {
    {"resnet18@224", {TV, 7, 2, {2, 2, 2, 2}, 64, 1, 64, true, 1000, 0.2}, LARGE, NULL},
    {"resnet50@224", {TV, 7, 3, {3, 4, 6, 3}, 64, 1, 64, true, 1000, 0.2}, LARGE, NULL},
    {"resnext50_32x4d@224", {TV, 7, 3, {3, 4, 6, 3}, 64, 32, 4, true, 1000, 0.2}, LARGE, NULL},
    {"resnet18@75", {TV, 7, 2, {2, 2, 2, 2}, 64, 1, 64, true, 1000, 0.2}, 0, NULL},
    {"resnet34@96", {TV, 7, 2, {3, 4, 6, 3}, 64, 1, 64, true, 1000, 0.2}, LARGE, NULL},
    {"resnet50@96", {TV, 7, 3, {3, 4, 6, 3}, 64, 1, 64, true, 1000, 0.2}, 0, NULL},
    {"resnet50_stride_in_1x1@96",
     {TV, 7, 3, {3, 4, 6, 3}, 64, 1, 64, true, 1000, 0.2},
     LARGE | STRIDE_IN_1X1,
     NULL},
    {"resnet101@96", {TV, 7, 3, {3, 4, 23, 3}, 64, 1, 64, true, 1000, 0.2}, LARGE, NULL},
    {"resnet152@96", {TV, 7, 3, {3, 8, 36, 3}, 64, 1, 64, true, 1000, 0.2}, LARGE, NULL},
    {"resnext101_32x8d@96", {TV, 7, 3, {3, 4, 23, 3}, 64, 32, 8, true, 1000, 0.2}, LARGE, NULL},
    {"wide_resnet50_2@96", {TV, 7, 3, {3, 4, 6, 3}, 64, 1, 128, true, 1000, 0.2}, LARGE, NULL},
    {"wide_resnet101_2@96", {TV, 7, 3, {3, 4, 23, 3}, 64, 1, 128, true, 1000, 0.2}, LARGE, NULL},
    {"resnet18@224", {HF, 7, 2, {2, 2, 2, 2}, 64, 1, 64, true, 1000, 0.2}, LARGE, hub_basic},
    {"resnet50@96", {HF, 7, 3, {3, 4, 6, 3}, 64, 1, 64, true, 1000, 0.2}, 0, hub_bottleneck},
    {"resnet50_stride_in_1x1@96",
     {HF, 7, 3, {3, 4, 6, 3}, 64, 1, 64, true, 1000, 0.2},
     LARGE,
     hub_stride_in_1x1},
    {"cifar_resnet20@32", {CIFAR, 3, 2, {3, 3, 3}, 16, 1, 64, false, 10, 0.2}, 0, NULL},
    {"cifar_resnet20@32", {TV, 3, 2, {3, 3, 3}, 16, 1, 64, false, 10, 0.2}, 0, NULL},
    {"cifar_resnet20@37", {CIFAR, 3, 2, {3, 3, 3}, 16, 1, 64, false, 10, 0.2}, 0, NULL},
    {"cifar_resnet20_f16@32", {CIFAR, 3, 2, {3, 3, 3}, 16, 1, 64, false, 10, 0.2}, F16, NULL},
    {"cifar_resnet20_bf16@32", {CIFAR, 3, 2, {3, 3, 3}, 16, 1, 64, false, 10, 0.2}, BF16, NULL},
    {"cifar_resnet20_option_b@32", {CIFAR, 3, 2, {3, 3, 3}, 16, 1, 64, true, 10, 0.2}, 0, NULL},
    {"cifar_resnet20_option_b@32", {TV, 3, 2, {3, 3, 3}, 16, 1, 64, true, 10, 0.2}, 0, NULL},
    {"cifar_resnet32@32", {CIFAR, 3, 2, {5, 5, 5}, 16, 1, 64, false, 10, 0.2}, 0, NULL},
    {"cifar_resnet44@32", {CIFAR, 3, 2, {7, 7, 7}, 16, 1, 64, false, 10, 0.2}, 0, NULL},
    {"cifar_resnet56@32", {CIFAR, 3, 2, {9, 9, 9}, 16, 1, 64, false, 10, 0.2}, 0, NULL},
    {"cifar_resnet110@32", {CIFAR, 3, 2, {18, 18, 18}, 16, 1, 64, false, 10, 0.2}, 0, NULL},
    {"cifar_resnet1202@32",
     {CIFAR, 3, 2, {200, 200, 200}, 16, 1, 64, false, 10, 0.02},
     LARGE,
     NULL},
    {"cifar_resnet18@32", {CIFAR, 3, 2, {2, 2, 2, 2}, 64, 1, 64, true, 10, 0.2}, 0, NULL},
};
#define N_ROWS (sizeof rows / sizeof rows[0])

static const struct golden *golden_of(const struct row *row)
{
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++)
        if (!strcmp(goldens[i].name, row->golden))
            return &goldens[i];
    cr_assert_fail("%s is not in logits.inc", row->golden);
    return NULL;
}

static const struct row *row_named(const char *golden)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (!strcmp(rows[i].golden, golden))
            return &rows[i];
    cr_assert_fail("there is no row %s", golden);
    return NULL;
}

/* ---- opening and running -------------------------------------------------------------------- */

static enum weight_type weight_type(const struct row *row)
{
    if (row->flags & F16)
        return WEIGHT_F16;
    return row->flags & BF16 ? WEIGHT_BF16 : WEIGHT_F32;
}

/* Through memory, or through a folder when the row has a config.json. */
static struct rn_model *open_row(const struct row *row, const char *prefix,
                                 struct rn_model_options how)
{
    const struct golden *golden = golden_of(row);
    const struct support_options options = {.type = weight_type(row),
                                            .prefix = prefix,
                                            .size = row->config ? 0 : golden->size,
                                            .stride_in_1x1 = row->flags & STRIDE_IN_1X1};
    how.max_batch = MAX_BATCH;
    struct support_model file;
    struct rn_model *model = NULL;
    struct rn_error err = {0};
    enum rn_status status;
    support_model_make(&row->net, &options, &file);
    cr_assert_eq(file.checksum, golden->checksum, "%s: the weights are not those of make_golden.py",
                 golden->name);
    if (row->config) {
        char preprocessor[64];
        (void)snprintf(preprocessor, sizeof preprocessor, "{\"size\": %d, \"crop_pct\": 1.0}",
                       golden->size);
        folder_write_text("config.json", row->config);
        folder_write_text("preprocessor_config.json", preprocessor);
        folder_write("model.safetensors", file.bytes, file.n);
        status = rn_model_open(folder_path(), &how, &model, &err);
    } else {
        status = rn_model_open_memory(file.bytes, file.n, "seeded", &how, &model, &err);
    }
    cr_assert_eq(status, RN_OK, "%s: %s: %s", golden->name, rn_status_name(status), err.text);
    support_model_done(&file);

    const struct rn_model_info *info = rn_model_info(model);
    cr_assert_eq(info->parameters, golden->parameters, "%s: %llu parameters, PyTorch has %llu",
                 golden->name, (unsigned long long)info->parameters,
                 (unsigned long long)golden->parameters);
    cr_assert_eq(info->classes, golden->classes);
    cr_assert_eq(info->input[1], golden->size);
    cr_assert_eq(info->input[2], golden->size);
    return model;
}

static float *make_images(int size)
{
    size_t plane = 3 * (size_t)size * (size_t)size;
    float *images = malloc(MAX_BATCH * plane * sizeof *images);
    cr_assert_not_null(images);
    for (int i = 0; i < MAX_BATCH; i++)
        support_image(i, size, images + (size_t)i * plane);
    return images;
}

/* Images first, first + 1, … (modulo 8) as a batch of n; logits of image i go to logits[i]. */
static void run_batch(const struct rn_model *model, int threads, const float *images, int first,
                      int n, float *logits)
{
    const struct rn_model_info *info = rn_model_info(model);
    size_t plane = 3 * (size_t)info->input[1] * (size_t)info->input[2];
    size_t classes = (size_t)info->classes;
    const float *inputs[MAX_BATCH];
    struct rn_threads *team;
    struct rn_session *session;
    struct rn_error err = {0};
    cr_assert_eq(rn_threads_new(threads, &team, &err), RN_OK, "%s", err.text);
    cr_assert_eq(rn_session_new(model, team, &session, &err), RN_OK, "%s", err.text);
    float *batch = malloc((size_t)n * classes * sizeof *batch);
    cr_assert_not_null(batch);
    for (int i = 0; i < n; i++)
        inputs[i] = images + (size_t)((first + i) % MAX_BATCH) * plane;
    rn_session_run(session, inputs, n, batch);
    for (int i = 0; i < n; i++)
        memcpy(logits + (size_t)((first + i) % MAX_BATCH) * classes, batch + (size_t)i * classes,
               classes * sizeof *logits);
    free(batch);
    rn_session_free(session);
    rn_threads_free(team);
}

/* The largest difference from PyTorch's, as a part of the largest |logit|. */
static double compare(const struct golden *golden, const float *logits)
{
    double worst = 0;
    const float *expected = golden->logits;
    for (int i = 0; i < GOLDEN_IMAGES; i++)
        for (int k = 0; k < golden->classes; k += golden->step, expected++) {
            double difference = fabs((double)logits[i * golden->classes + k] - (double)*expected);
            if (!(difference <= worst)) /* also for NaN */
                worst = difference;
        }
    return worst / (double)golden->largest;
}

/* ---- tests ---------------------------------------------------------------------------------- */

TestSuite(golden, .init = folder_make, .fini = folder_remove);

ParameterizedTestParameters(golden, logits_equal_pytorch)
{
    static int indices[N_ROWS];
    size_t n = 0;
    for (size_t i = 0; i < N_ROWS; i++)
        if (WITH_LARGE || !(rows[i].flags & LARGE))
            indices[n++] = (int)i;
    return cr_make_param_array(int, indices, n);
}

/* The same bits for an image in any batch, on any team. */
static void check_bits(const struct golden *golden, const struct rn_model *model,
                       const float *images, const float *logits)
{
    static const struct {
        int first, n;
    } batches[] = {{5, 8}, {0, 3}, {2, 1}};
    const size_t n = MAX_BATCH * (size_t)golden->classes;
    float *again = malloc(n * sizeof *again);
    cr_assert_not_null(again);
    for (int threads = 1; threads <= 2; threads++)
        for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
            memcpy(again, logits, n * sizeof *logits);
            run_batch(model, threads, images, batches[b].first, batches[b].n, again);
            cr_expect_arr_eq(again, logits, n * sizeof *logits,
                             "%s: a batch of %d on %d threads gives other bits", golden->name,
                             batches[b].n, threads);
        }
    free(again);
}

ParameterizedTest(int *index, golden, logits_equal_pytorch)
{
    const struct row *row = &rows[*index];
    const struct golden *golden = golden_of(row);
    float *images = make_images(golden->size);
    float *logits = malloc(MAX_BATCH * (size_t)golden->classes * sizeof *logits);
    cr_assert_not_null(logits);
    for (int direct = 0; direct < 2; direct++) {
        struct rn_model *model = open_row(row, "", (struct rn_model_options){.direct = direct});
        run_batch(model, 1, images, 0, MAX_BATCH, logits);
        double worst = compare(golden, logits);
        if (getenv("GOLDEN_TABLE"))
            (void)printf("%-28s %11llu parameters  %-8s difference %.1e  (PyTorch's own %.1e)\n",
                         golden->name, (unsigned long long)golden->parameters,
                         direct ? "direct" : "fast", worst, golden->noise);
        cr_expect_leq(worst, TOLERANCE, "%s is off by %.2e of its largest logit", golden->name,
                      worst);
        check_bits(golden, model, images, logits);
        rn_model_free(model);
    }
    free(logits);
    free(images);
}

Test(golden, every_kernel_table_gives_pytorchs_logits)
{
    static const char *const names[] = {"cifar_resnet20@37", "resnet18@75"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (size_t c = 0; rn_cpu_name(c); c++) {
            const struct row *row = row_named(names[i]);
            const struct golden *golden = golden_of(row);
            struct rn_model *model =
                open_row(row, "", (struct rn_model_options){.cpu = rn_cpu_name(c)});
            float *images = make_images(golden->size);
            float *logits = malloc(MAX_BATCH * (size_t)golden->classes * sizeof *logits);
            cr_assert_not_null(logits);
            cr_assert_str_eq(rn_model_info(model)->kernels, rn_cpu_name(c));
            run_batch(model, 2, images, 0, GOLDEN_IMAGES, logits);
            double worst = compare(golden, logits);
            cr_expect_leq(worst, TOLERANCE, "%s with %s is off by %.2e", names[i], rn_cpu_name(c),
                          worst);
            free(logits);
            free(images);
            rn_model_free(model);
        }
}

static void rest(void)
{
}

Test(golden, who_packs_the_weights_changes_nothing)
{
    static const char *const names[] = {"cifar_resnet20@37", "resnet18@75", "resnet50@96"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct row *row = row_named(names[i]);
        float *images = make_images(golden_of(row)->size);
        float by_team[MAX_BATCH * 1000] = {0}, alone[MAX_BATCH * 1000] = {0};
        struct rn_model *model = open_row(row, "", (struct rn_model_options){0});
        run_batch(model, 2, images, 0, 1, by_team);
        rn_model_free(model);
        model = open_row(row, "", (struct rn_model_options){.rest = rest});
        run_batch(model, 2, images, 0, 1, alone);
        rn_model_free(model);
        cr_expect_arr_eq(alone, by_team, sizeof alone, "%s", names[i]);
        free(images);
    }
}

Test(golden, prefixes_of_names_change_nothing)
{
    static const char *const prefixes[] = {"module.", "model.", "backbone."};
    const struct row *row = row_named("cifar_resnet20@32");
    float *images = make_images(golden_of(row)->size);
    float plain[MAX_BATCH * 10] = {0}, prefixed[MAX_BATCH * 10] = {0};
    struct rn_model *model = open_row(row, "", (struct rn_model_options){0});
    run_batch(model, 1, images, 0, 1, plain);
    rn_model_free(model);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        model = open_row(row, prefixes[i], (struct rn_model_options){0});
        run_batch(model, 1, images, 0, 1, prefixed);
        cr_expect_arr_eq(prefixed, plain, sizeof plain, "%s", prefixes[i]);
        rn_model_free(model);
    }
    free(images);
}

Test(golden, depth_costs_no_arena, .disabled = !WITH_LARGE)
{
    struct rn_model *shallow =
        open_row(row_named("cifar_resnet20@32"), "", (struct rn_model_options){0});
    struct rn_model *deep =
        open_row(row_named("cifar_resnet1202@32"), "", (struct rn_model_options){0});
    cr_assert_leq(rn_model_arena_bytes(deep, 2), rn_model_arena_bytes(shallow, 2));
    rn_model_free(deep);
    rn_model_free(shallow);
}
