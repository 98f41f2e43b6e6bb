/* Rows for `inspect`: shapes, parameters, FLOPs and receptive fields. Pure.
 *
 * Receptive field of a node, in input pixels along one side: r = r_in + (k - 1) * j_in, where the
 * jump j (input pixels between neighbouring values) is multiplied by every stride on the way. Where
 * paths meet, the larger field counts. It is the geometric field: near the edges, and in the last
 * layers of a deep network, it reaches beyond the image into the padding.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdlib.h>

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

enum rn_status graph_stats(const struct graph *graph, struct rn_layer *rows, struct rn_error *err)
{
    int64_t *jump = calloc((size_t)graph->n_nodes + 1, sizeof *jump);
    if (!jump)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the layer table");
    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];
        int64_t field = 1, step = 1;
        for (int k = 0; k < NODE_MAX_INPUTS; k++) {
            int in = node->inputs[k];
            if (in == NODE_NONE)
                continue;
            field = rows[in].receptive_field > field ? rows[in].receptive_field : field;
            step = jump[in] > step ? jump[in] : step;
        }
        field += (window(graph, node) - 1) * step;
        jump[i] = step * (node->attrs.stride > 0 ? node->attrs.stride : 1);
        rows[i] = (struct rn_layer){
            .name = node->name,
            .op = node->op->name,
            .kernel = node->attrs.kernel,
            .stride = node->attrs.stride,
            .output = {1, node->shape.c, node->shape.h, node->shape.w},
            .parameters = node_parameters(node),
            .flops = node_flops(graph, i),
            .receptive_field = field > INT_MAX ? INT_MAX : (int)field,
        };
    }
    free(jump);
    return RN_OK;
}
