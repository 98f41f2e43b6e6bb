/* Simplifies a graph in passes; each one rewires the users of a node and marks it dropped, and the
 * last one closes the gaps.
 *
 *   fold_bn    conv -> bn            = conv with scaled weights and a bias
 *   fuse_add   add(conv, x)          = conv that adds x before its store
 *   fuse_relu  conv|bn|add -> relu   = the same with the activation
 *
 * A pattern that does not match (a value that others read too) stays as it is and still runs.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/graph/graph.h"

static int count_uses(const struct graph *graph, int of)
{
    int n = of == graph->n_nodes - 1; /* the last node is the network's output */
    for (int i = of + 1; i < graph->n_nodes; i++)
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            n += graph->nodes[i].op && graph->nodes[i].inputs[k] == of;
    return n;
}

/* Everyone who reads `from` reads `to` instead. */
static void replace(struct graph *graph, int from, int to)
{
    for (int i = from + 1; i < graph->n_nodes; i++)
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            if (graph->nodes[i].inputs[k] == from)
                graph->nodes[i].inputs[k] = to;
}

/* What was in `from` is in `to` now. */
static void move(struct graph *graph, int from, int to)
{
    for (int i = 0; i < graph->n_where; i++)
        if (graph->where[i] == from)
            graph->where[i] = to;
}

/* `node` has become a part of `into`. */
static void merge(struct graph *graph, int node, int into)
{
    replace(graph, node, into);
    move(graph, node, into);
    graph->nodes[node].op = NULL;
}

static bool is_plain_conv(const struct graph *graph, int i)
{
    const struct node *node = &graph->nodes[i];
    return node->op == &op_conv && !node->attrs.relu && node->inputs[1] == NODE_NONE &&
           count_uses(graph, i) == 1;
}

static void fold_bn(struct graph *graph, int i)
{
    struct node *bn = &graph->nodes[i];
    if (bn->op != &op_bn || !is_plain_conv(graph, bn->inputs[0]))
        return;
    struct node *conv = &graph->nodes[bn->inputs[0]];
    size_t channels = (size_t)conv->attrs.out_channels;
    if (!conv->bias) {
        conv->bias = calloc(channels, sizeof *conv->bias);
        if (!conv->bias)
            return;
        conv->n_bias = channels;
    }
    struct op_params params = {bn->weight, bn->bias, bn->mean, bn->var};
    size_t per_channel = conv->n_weight / channels;
    for (size_t c = 0; c < channels; c++) {
        float scale, shift;
        op_bn_affine(&params, (int)c, &scale, &shift);
        for (size_t k = 0; k < per_channel; k++)
            conv->weight[c * per_channel + k] *= scale;
        conv->bias[c] = conv->bias[c] * scale + shift;
    }
    merge(graph, i, bn->inputs[0]);
    graph_rest(graph);
}

static void fuse_add(struct graph *graph, int i)
{
    const struct node *add = &graph->nodes[i];
    if (add->op != &op_add)
        return;
    /* The later input runs when the other is there already. */
    int late = add->inputs[0] > add->inputs[1] ? 0 : 1;
    int conv = add->inputs[late], other = add->inputs[1 - late];
    if (conv == other || !is_plain_conv(graph, conv))
        return;
    bool relu = add->attrs.relu;
    graph->nodes[conv].inputs[1] = other;
    graph->nodes[conv].attrs.relu = relu;
    merge(graph, i, conv);
}

static void fuse_relu(struct graph *graph, int i)
{
    const struct node *relu = &graph->nodes[i];
    if (relu->op != &op_relu)
        return;
    struct node *from = &graph->nodes[relu->inputs[0]];
    if ((from->op != &op_conv && from->op != &op_bn && from->op != &op_add) ||
        count_uses(graph, relu->inputs[0]) != 1)
        return;
    from->attrs.relu = true;
    merge(graph, i, relu->inputs[0]);
}

/* Closes the gaps that dropped nodes left. A node only ever moves to a lower free index, so
 * renaming its uses one move at a time cannot hit another node's. */
static void compact(struct graph *graph)
{
    int n = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        struct node *node = &graph->nodes[i];
        if (!node->op) {
            node_done(node);
            continue;
        }
        if (n != i) {
            replace(graph, i, n);
            move(graph, i, n);
        }
        graph->nodes[n++] = *node;
    }
    graph->n_nodes = n;
}

static void (*const passes[])(struct graph *graph, int node) = {fold_bn, fuse_add, fuse_relu};

void graph_optimize(struct graph *graph)
{
    for (size_t p = 0; p < sizeof passes / sizeof *passes; p++)
        for (int i = 0; i < graph->n_nodes; i++)
            passes[p](graph, i);
    compact(graph);
}
