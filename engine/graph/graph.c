/* Building a graph and inferring its shapes. One owner, no locking.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/graph/graph.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void node_drop_weights(struct node *node)
{
    free(node->weight);
    free(node->bias);
    free(node->mean);
    free(node->var);
    node->weight = node->bias = node->mean = node->var = NULL;
}

void node_done(struct node *node)
{
    free(node->name);
    node_drop_weights(node);
}

void graph_done(struct graph *graph)
{
    for (int i = 0; i < graph->n_nodes; i++)
        node_done(&graph->nodes[i]);
    free(graph->nodes);
    *graph = (struct graph){0};
}

int graph_add(struct graph *graph, const struct op *op, int a, int b, const char *name, ...)
{
    if (graph->n_nodes == graph->capacity) {
        int capacity = graph->capacity ? 2 * graph->capacity : 64;
        struct node *nodes = realloc(graph->nodes, (size_t)capacity * sizeof *nodes);
        if (!nodes)
            return NODE_NONE;
        graph->nodes = nodes;
        graph->capacity = capacity;
    }
    char *copy = NULL;
    va_list args;
    va_start(args, name);
    int written = vasprintf(&copy, name, args);
    va_end(args);
    if (written < 0)
        return NODE_NONE;
    graph->nodes[graph->n_nodes] = (struct node){.op = op, .name = copy, .inputs = {a, b}};
    return graph->n_nodes++;
}

static enum rn_status check_shape(const struct node *node, struct rn_error *err)
{
    struct shape s = node->shape;
    if (s.c < 1 || s.h < 1 || s.w < 1 || s.c > OP_MAX_CHANNELS || s.h > OP_MAX_SIDE ||
        s.w > OP_MAX_SIDE || (int64_t)s.h * s.w > INT_MAX / RN_MAX_BATCH)
        return rn_fail(err, RN_UNSUPPORTED_MODEL, "%s: an output of %d×%d×%d is out of range",
                       node->name, s.c, s.h, s.w);
    return RN_OK;
}

enum rn_status graph_infer(struct graph *graph, struct shape input, struct rn_error *err)
{
    graph->input = input;
    for (int i = 0; i < graph->n_nodes; i++) {
        struct node *node = &graph->nodes[i];
        struct shape in =
            node->inputs[0] == NODE_NONE ? input : graph->nodes[node->inputs[0]].shape;
        struct rn_error why;
        enum rn_status status = node->op->infer(&node->attrs, in, &node->shape, &why);
        if (status != RN_OK)
            return rn_fail(err, status, "%s: %s", node->name, why.text);
        status = check_shape(node, err);
        if (status != RN_OK)
            return status;
        if (node->inputs[1] != NODE_NONE) {
            struct shape other = graph->nodes[node->inputs[1]].shape;
            if (other.c != node->shape.c || other.h != node->shape.h || other.w != node->shape.w)
                return rn_fail(err, RN_UNSUPPORTED_MODEL, "%s: cannot add %d×%d×%d to %d×%d×%d",
                               node->name, other.c, other.h, other.w, node->shape.c, node->shape.h,
                               node->shape.w);
        }
    }
    return RN_OK;
}

uint64_t node_flops(const struct graph *graph, int index)
{
    const struct node *node = &graph->nodes[index];
    if (!node->op->flops)
        return 0;
    struct shape in =
        node->inputs[0] == NODE_NONE ? graph->input : graph->nodes[node->inputs[0]].shape;
    return node->op->flops(&node->attrs, in, node->shape);
}

uint64_t node_parameters(const struct node *node)
{
    return node->n_weight + node->n_bias;
}
