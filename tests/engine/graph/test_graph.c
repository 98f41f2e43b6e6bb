/* Graphs: batch normalisation against its definition, before and after folding; receptive fields
 * and parameter counts against known facts; the optimizer leaves nothing that could be fused.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/plan/plan.h"
#include "tests/support_random.h"

#define C 20 /* channels: more than one block, the second one not full */
#define SIDE 6

static float *random_floats(uint64_t *seed, size_t n, float low, float high)
{
    float *p = malloc(n * sizeof *p);
    cr_assert_not_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = low + (high - low) * (random_float(seed) + 1) / 2;
    return p;
}

/* input -> conv 1×1 -> bn, with random weights. */
static void make_conv_bn(struct graph *g, uint64_t *seed)
{
    graph_add(g, &op_input, NODE_NONE, NODE_NONE, "input");
    int conv = graph_add(g, &op_conv, 0, NODE_NONE, "conv");
    g->nodes[conv].attrs =
        (struct op_attrs){.out_channels = C, .kernel = 1, .stride = 1, .groups = 1};
    g->nodes[conv].weight = random_floats(seed, C * 3, -1, 1);
    g->nodes[conv].n_weight = C * 3;
    int bn = graph_add(g, &op_bn, conv, NODE_NONE, "bn");
    g->nodes[bn].weight = random_floats(seed, C, 0.5f, 1.5f);
    g->nodes[bn].bias = random_floats(seed, C, -1, 1);
    g->nodes[bn].mean = random_floats(seed, C, -1, 1);
    g->nodes[bn].var = random_floats(seed, C, 0.01f, 4);
    g->nodes[bn].n_weight = g->nodes[bn].n_bias = C;
}

/* Runs a graph on one image; out is blocked. */
static void run(struct graph *g, const float *image, float *out)
{
    struct plan *plan;
    struct rn_threads *threads;
    struct rn_error err;
    cr_assert_eq(plan_compile(g,
                              &(struct plan_options){
                                  .max_batch = 1, .kernels = kernels_find(NULL), .direct = true},
                              &plan, &err),
                 RN_OK, "%s", err.text);
    cr_assert_eq(rn_threads_new(1, &threads, &err), RN_OK);
    void *arena = aligned_alloc(TENSOR_ALIGN, plan_arena_bytes(plan, 1));
    const float *result = plan_run(plan, arena, &image, 1, threads, NULL);
    memcpy(out, result, shape_blocked_size(g->nodes[g->n_nodes - 1].shape) * sizeof *out);
    free(arena);
    rn_threads_free(threads);
    plan_free(plan);
}

Test(graph, batch_normalisation_equals_its_definition_before_and_after_folding)
{
    uint64_t seed = 31;
    struct graph g = {0};
    struct rn_error err;
    make_conv_bn(&g, &seed);
    cr_assert_eq(graph_infer(&g, (struct shape){3, SIDE, SIDE}, &err), RN_OK, "%s", err.text);
    float image[3 * SIDE * SIDE], before[2 * CHANNEL_BLOCK * SIDE * SIDE],
        after[2 * CHANNEL_BLOCK * SIDE * SIDE];
    random_fill(&seed, image, 3 * SIDE * SIDE);
    run(&g, image, before);

    double want[C][SIDE * SIDE];
    const struct node *conv = &g.nodes[1], *bn = &g.nodes[2];
    for (int c = 0; c < C; c++)
        for (int p = 0; p < SIDE * SIDE; p++) {
            double x = 0;
            for (int i = 0; i < 3; i++)
                x += (double)conv->weight[c * 3 + i] * (double)image[i * SIDE * SIDE + p];
            want[c][p] = (x - (double)bn->mean[c]) / sqrt((double)bn->var[c] + 1e-5) *
                             (double)bn->weight[c] +
                         (double)bn->bias[c];
        }

    graph_optimize(&g);
    cr_assert_eq(g.n_nodes, 2, "the bn is folded away");
    run(&g, image, after);
    for (int c = 0; c < C; c++)
        for (int p = 0; p < SIDE * SIDE; p++) {
            int at = (c / CHANNEL_BLOCK * SIDE * SIDE + p) * CHANNEL_BLOCK + c % CHANNEL_BLOCK;
            double bound = 1e-5 * (1 + fabs(want[c][p]));
            cr_assert_float_eq((double)before[at], want[c][p], bound, "as written");
            cr_assert_float_eq((double)after[at], want[c][p], bound, "folded");
        }
    graph_done(&g);
}

/* The receptive field of n 3×3 convolutions with stride 1. */
static int field_of_3x3(int n)
{
    struct graph g = {0};
    struct rn_layer rows[16];
    struct rn_error err;
    graph_add(&g, &op_input, NODE_NONE, NODE_NONE, "input");
    for (int i = 0; i < n; i++) {
        int node = graph_add(&g, &op_conv, i, NODE_NONE, "conv%d", i);
        g.nodes[node].attrs =
            (struct op_attrs){.out_channels = 3, .kernel = 3, .stride = 1, .pad = 1, .groups = 1};
    }
    cr_assert_eq(graph_infer(&g, (struct shape){3, 32, 32}, &err), RN_OK, "%s", err.text);
    graph_stats(&g, rows);
    int field = rows[g.n_nodes - 1].receptive_field;
    graph_done(&g);
    return field;
}

Test(graph, two_stacked_3x3_see_5x5_and_three_see_7x7)
{
    cr_assert_eq(field_of_3x3(1), 3);
    cr_assert_eq(field_of_3x3(2), 5);
    cr_assert_eq(field_of_3x3(3), 7);
}

Test(graph, a_value_that_others_read_is_not_fused_away)
{
    uint64_t seed = 32;
    struct graph g = {0};
    struct rn_error err;
    make_conv_bn(&g, &seed);
    /* The convolution's own output is added to the normalised one: the bn must stay. */
    graph_add(&g, &op_add, 2, 1, "add");
    graph_add(&g, &op_relu, 3, NODE_NONE, "relu");
    cr_assert_eq(graph_infer(&g, (struct shape){3, SIDE, SIDE}, &err), RN_OK, "%s", err.text);
    float image[3 * SIDE * SIDE], before[2 * CHANNEL_BLOCK * SIDE * SIDE],
        after[2 * CHANNEL_BLOCK * SIDE * SIDE];
    random_fill(&seed, image, 3 * SIDE * SIDE);
    run(&g, image, before);
    graph_optimize(&g);
    cr_assert_eq(g.n_nodes, 4, "only the relu is fused");
    cr_assert(g.nodes[3].op == &op_add && g.nodes[3].attrs.relu);
    run(&g, image, after);
    cr_assert_arr_eq(before, after, sizeof before);
    graph_done(&g);
}

Test(graph, a_sum_of_different_shapes_is_refused_by_name)
{
    uint64_t seed = 33;
    struct graph g = {0};
    struct rn_error err;
    make_conv_bn(&g, &seed);
    graph_add(&g, &op_add, 2, 0, "layer1.0.add");
    cr_assert_eq(graph_infer(&g, (struct shape){3, SIDE, SIDE}, &err), RN_UNSUPPORTED_MODEL);
    cr_assert_not_null(strstr(err.text, "layer1.0.add"), "%s", err.text);
    graph_done(&g);
}
