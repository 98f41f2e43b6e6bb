/* The engine's front with the embedded model: no allocation in a run, scores, top-k, wrong
 * options; receptive fields and the arena's size on whole networks.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/embedded.h"
#include "engine/engine.h"
#include "tests/support_alloc.h"
#include "tests/support_model.h"
#include "tests/support_random.h"

static struct rn_model *open_embedded(int max_batch)
{
    struct rn_model_options options = {.max_batch = max_batch};
    struct rn_model *model;
    struct rn_error err;
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(),
                                      "embedded", &options, &model, &err),
                 RN_OK, "%s", err.text);
    return model;
}

Test(engine, nothing_is_allocated_in_a_run)
{
    struct rn_model *model = open_embedded(4);
    struct rn_threads *threads;
    struct rn_session *session;
    struct rn_error err;
    cr_assert_eq(rn_threads_new(2, &threads, &err), RN_OK);
    cr_assert_eq(rn_session_new(model, threads, &session, &err), RN_OK);
    static float image[3 * 32 * 32], logits[4 * 10];
    const float *inputs[] = {image, image, image, image};
    size_t before = alloc_count();
    cr_assert_gt(before, 0, "the counter counts");
    for (int n = 1; n <= 4; n++)
        rn_session_run(session, inputs, n, logits);
    cr_assert_eq(alloc_count(), before);
    rn_session_free(session);
    rn_threads_free(threads);
    rn_model_free(model);
}

Test(engine, the_embedded_model_says_what_it_is)
{
    struct rn_model *model = open_embedded(1);
    const struct rn_model_info *info = rn_model_info(model);
    cr_assert_str_eq(info->name, "cifar10-resnet20");
    cr_assert_str_eq(info->architecture, "resnet20-cifar");
    cr_assert_eq(info->classes, 10);
    cr_assert_str_eq(info->labels[0], "airplane");
    cr_assert_str_eq(info->labels[9], "truck");
    cr_assert_eq(strlen(info->digest), strlen("sha256:") + 64);
    cr_assert_eq(info->parameters, 269722);
    rn_model_free(model);
}

Test(engine, softmax_sums_to_one_even_for_huge_logits)
{
    float scores[3];
    rn_softmax((const float[]){1e30f, 0, -1e30f}, 3, scores);
    cr_assert_float_eq((double)scores[0], 1, 1e-6);
    rn_softmax((const float[]){1, 2, 3}, 3, scores);
    cr_assert_float_eq((double)(scores[0] + scores[1] + scores[2]), 1, 1e-6);
    cr_assert_float_eq((double)scores[2], 0.66524096, 1e-6);
}

Test(engine, top_k_is_best_first_and_the_lower_index_wins_a_tie)
{
    const float scores[] = {0.1f, 0.4f, 0.1f, 0.4f, 0.0f};
    const int want[] = {1, 3, 0, 2, 4};
    for (int k = 1; k <= 5; k++) {
        int top[5];
        rn_top_k(scores, 5, k, top);
        cr_assert_arr_eq(top, want, (size_t)k * sizeof *top);
    }
}

Test(engine, wrong_options_are_refused_by_name)
{
    struct rn_model *model = NULL;
    struct rn_error err;
    struct rn_model_options options = {.max_batch = 0};
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(), "m",
                                      &options, &model, &err),
                 RN_BAD_ARGUMENT);
    options = (struct rn_model_options){.max_batch = 1, .cpu = "mmx"};
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(), "m",
                                      &options, &model, &err),
                 RN_BAD_ARGUMENT);
    cr_assert_not_null(strstr(err.text, "mmx"));
    cr_assert_eq(rn_model_open("/nonexistent/model", &options, &model, &err), RN_IO);
    cr_assert_null(model);
}

Test(engine, a_session_of_too_many_bytes_is_refused)
{
    struct rn_model *model = open_embedded(4);
    const size_t bytes = rn_model_info(model)->weights_bytes + rn_model_arena_bytes(model, 1);
    rn_model_free(model);
    struct rn_threads *threads;
    struct rn_error err;
    cr_assert_eq(rn_threads_new(1, &threads, &err), RN_OK);
    for (size_t less = 0; less < 2; less++) {
        struct rn_model_options options = {.max_batch = 4, .max_bytes = bytes - less};
        struct rn_session *session = NULL;
        cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(),
                                          "embedded", &options, &model, &err),
                     RN_OK);
        cr_expect_eq(rn_session_new(model, threads, &session, &err), less ? RN_BAD_MODEL : RN_OK);
        rn_session_free(session);
        rn_model_free(model);
    }
    rn_threads_free(threads);
}

static int of_400_million_flops(uint64_t flops)
{
    return (int)(400000000 / flops);
}

Test(engine, a_batch_can_be_chosen_once_the_network_is_known)
{
    struct rn_model_options options = {.choose_batch = of_400_million_flops};
    struct rn_model *model = NULL;
    struct rn_error err;
    cr_assert_eq(rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(), "m",
                                      &options, &model, &err),
                 RN_OK);
    const struct rn_model_info *info = rn_model_info(model);
    cr_assert_eq(info->max_batch, (int)(400000000 / info->flops));
    rn_model_free(model);
}

static struct rn_model *open_net(const struct support_net *net, int size)
{
    struct support_options options = {.type = WEIGHT_F32, .prefix = "", .size = size};
    struct support_model file;
    struct rn_model_options open = {.max_batch = 1};
    struct rn_model *model;
    struct rn_error err;
    support_model_make(net, &options, &file);
    cr_assert_eq(rn_model_open_memory(file.bytes, file.n, "net", &open, &model, &err), RN_OK, "%s",
                 err.text);
    support_model_done(&file);
    return model;
}

/* The receptive field of the last layer before average pooling. */
static int last_field(const struct rn_model *model)
{
    size_t n;
    const struct rn_layer *layers = rn_model_layers(model, &n);
    for (size_t i = 1; i < n; i++)
        if (strcmp(layers[i].op, "avgpool") == 0)
            return layers[i - 1].receptive_field;
    return 0;
}

Test(engine, receptive_fields_of_resnet_18_and_50_are_the_known_ones)
{
    struct support_net net = {.stem = 7,
                              .convs = 2,
                              .depths = {2, 2, 2, 2},
                              .planes = 64,
                              .groups = 1,
                              .group_width = 64,
                              .projections = true,
                              .classes = 1000,
                              .residual = 0.2};
    struct rn_model *model = open_net(&net, 64);
    cr_assert_eq(last_field(model), 435);
    rn_model_free(model);
    net.convs = 3;
    memcpy(net.depths, (int[]){3, 4, 6, 3}, sizeof net.depths);
    model = open_net(&net, 64);
    cr_assert_eq(last_field(model), 427);
    cr_assert_eq(rn_model_info(model)->parameters, 25557032);
    rn_model_free(model);
}

/* Of a net's additions, how many shortcuts are projections; all layers must be in their places. */
static int count_projections(const struct rn_model *model, int n_stages)
{
    size_t n;
    const struct rn_layer *layers = rn_model_layers(model, &n);
    int n_projections = 0, stage = RN_STAGE_STEM;
    for (size_t i = 0; i < n; i++) {
        const struct rn_layer *l = &layers[i];
        cr_assert_geq(l->stage, stage, "%s", l->name);
        stage = l->stage;
        cr_assert_eq(l->block < 0, stage == RN_STAGE_STEM || stage == RN_STAGE_HEAD, "%s", l->name);
        cr_assert_eq(l->shortcut != RN_SHORTCUT_NONE, strcmp(l->op, "add") == 0, "%s", l->name);
        for (int k = 0; k < RN_LAYER_MAX_INPUTS; k++)
            cr_assert_lt(l->inputs[k], (int)i, "%s", l->name);
        n_projections += l->shortcut == RN_SHORTCUT_PROJECTION;
        cr_assert(stage <= n_stages || stage == RN_STAGE_HEAD);
    }
    cr_assert_eq(stage, RN_STAGE_HEAD);
    return n_projections;
}

/* Renames the tensor in the file's header, so that it is not there. */
static void lose_tensor(const struct support_model *file, const char *name)
{
    char quoted[96];
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", name);
    uint8_t *at = memmem(file->bytes, file->n, quoted, strlen(quoted));
    cr_assert_not_null(at, "%s", name);
    at[strlen(quoted) - 2] = '_';
}

Test(engine, a_tensor_that_is_missing_is_named)
{
    static const struct support_net net = {.stem = 7,
                                           .convs = 3,
                                           .depths = {2, 1, 1, 1},
                                           .planes = 8,
                                           .groups = 1,
                                           .group_width = 64,
                                           .projections = true,
                                           .classes = 4,
                                           .residual = 1};
    static const char *const names[] = {
        "layer1.0.conv1.weight",        "layer1.0.conv3.weight",
        "layer1.1.conv1.weight",        "layer4.0.conv1.weight",
        "layer2.0.conv2.weight",        "layer3.0.bn2.running_var",
        "layer1.0.downsample.0.weight", "layer3.0.downsample.0.weight",
        "layer3.0.downsample.1.weight", "fc.weight",
    };
    static const struct support_options options = {.type = WEIGHT_F32, .prefix = ""};
    const struct rn_model_options open = {.max_batch = 1};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct support_model file;
        struct rn_model *model;
        struct rn_error err;
        support_model_make(&net, &options, &file);
        lose_tensor(&file, names[i]);
        cr_expect_eq(rn_model_open_memory(file.bytes, file.n, "net", &open, &model, &err),
                     RN_UNSUPPORTED_MODEL);
        cr_expect(strstr(err.text, names[i]), "%s: %s", names[i], err.text);
        support_model_done(&file);
    }
}

Test(engine, shortcuts_are_told_apart)
{
    struct support_net net = {.stem = 7,
                              .convs = 2,
                              .depths = {2, 2, 2, 2},
                              .planes = 16,
                              .groups = 1,
                              .group_width = 64,
                              .projections = true,
                              .classes = 10,
                              .residual = 0.2};
    struct rn_model *model = open_net(&net, 64);
    cr_assert_eq(count_projections(model, 4), 3, "the first stage keeps the shape");
    rn_model_free(model);
    net.convs = 3;
    model = open_net(&net, 64);
    cr_assert_eq(count_projections(model, 4), 4, "bottlenecks widen in the first stage, too");
    rn_model_free(model);
    net = (struct support_net){
        .stem = 3, .convs = 2, .depths = {2, 2, 2}, .planes = 16, .classes = 10, .residual = 0.2};
    net.groups = 1;
    net.group_width = 64;
    model = open_net(&net, 32);
    cr_assert_eq(count_projections(model, 3), 0, "option A has no weights");
    rn_model_free(model);
}

Test(engine, a_net_of_1202_layers_needs_no_larger_arena_than_one_of_20)
{
    struct support_net net = {.stem = 3,
                              .convs = 2,
                              .depths = {3, 3, 3},
                              .planes = 16,
                              .groups = 1,
                              .group_width = 64,
                              .classes = 10,
                              .residual = 0.02};
    struct rn_model *small = open_net(&net, 32);
    memcpy(net.depths, (int[]){200, 200, 200}, 3 * sizeof(int));
    struct rn_model *large = open_net(&net, 32);
    cr_assert_str_eq(rn_model_info(large)->architecture, "resnet1202-cifar");
    cr_assert_leq(rn_model_arena_bytes(large, 2), rn_model_arena_bytes(small, 2));
    rn_model_free(small);
    rn_model_free(large);
}
