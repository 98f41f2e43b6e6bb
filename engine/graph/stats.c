/* Rows for `inspect`: shapes, parameters, FLOPs and receptive fields. Pure.
 *
 * Receptive field of a node, in input pixels along one side: r = r_in + (k - 1) * j_in, where the
 * jump j (input pixels between neighbouring values) is multiplied by every stride on the way. Where
 * paths meet, the larger field counts. Its centre moves by ((k - 1) / 2 - pad) * j_in. It is the
 * geometric field: near the edges, and in the last layers of a deep network, it reaches beyond the
 * image into the padding.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>

#include "engine/graph/graph.h"

/* The side of the node's window, 1 for everything that works position by position. */
static int window(const struct graph *graph, const struct node *node)
{
    if (node->op == &op_avgpool) {
        struct shape in = graph->nodes[node->inputs[0]].shape;
        return in.h > in.w ? in.h : in.w;
    }
    return node->attrs.kernel > 0 ? node->attrs.kernel : 1;
}

/* Of an addition, whose second input is the shortcut's end. */
static enum rn_shortcut shortcut_of(const struct graph *graph, const struct node *node)
{
    if (node->op != &op_add)
        return RN_SHORTCUT_NONE;
    const struct op *end = graph->nodes[node->inputs[1]].op;
    return end == &op_bn || end == &op_conv ? RN_SHORTCUT_PROJECTION : RN_SHORTCUT_IDENTITY;
}

/* What the widest input sees, before the node's own window. */
static void widest_input(const struct node *node, const struct rn_layer *rows, struct rn_layer *row)
{
    row->receptive_field = row->jump = 1;
    row->center = 0.5;
    for (int k = 0; k < NODE_MAX_INPUTS; k++) {
        row->inputs[k] = node->inputs[k];
        if (node->inputs[k] == NODE_NONE)
            continue;
        const struct rn_layer *in = &rows[node->inputs[k]];
        if (in->receptive_field > row->receptive_field || in->jump > row->jump) {
            row->receptive_field = in->receptive_field;
            row->jump = in->jump;
            row->center = in->center;
        }
    }
}

static int capped(int64_t value)
{
    return value > INT_MAX ? INT_MAX : (int)value;
}

void graph_stats(const struct graph *graph, struct rn_layer *rows)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];
        struct rn_layer *row = &rows[i];
        const int side = window(graph, node);
        *row = (struct rn_layer){
            .name = node->name,
            .op = node->op->name,
            .kernel = node->attrs.kernel,
            .stride = node->attrs.stride,
            .output = {1, node->shape.c, node->shape.h, node->shape.w},
            .parameters = node_parameters(node),
            .flops = node_flops(graph, i),
            .stage = node->stage,
            .block = node->block,
            .shortcut = shortcut_of(graph, node),
        };
        widest_input(node, rows, row);
        row->center += ((side - 1) / 2.0 - node->attrs.pad) * row->jump;
        row->receptive_field = capped(row->receptive_field + (int64_t)(side - 1) * row->jump);
        row->jump = capped((int64_t)row->jump * (node->attrs.stride > 0 ? node->attrs.stride : 1));
    }
}
