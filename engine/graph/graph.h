/* What a model is: operators in order, each reading earlier ones.
 *
 * A node has one output, named by the node's index, so the array order is the execution order and
 * an input index is always smaller than the node's own. A graph is built by load/, measured by
 * stats.c, simplified by optimize.c and compiled by plan/. It owns its names and weights; one
 * owner, no locking.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_GRAPH_GRAPH_H
#define RESNETD_ENGINE_GRAPH_GRAPH_H

#include "engine/engine.h"
#include "engine/op/op.h"

#define NODE_MAX_INPUTS 2
#define NODE_NONE (-1)

struct node {
    const struct op *op;         /* NULL: dropped by an optimizer pass */
    char *name;                  /* the file's own, prefix dropped: "layer1.0.conv1" */
    int inputs[NODE_MAX_INPUTS]; /* NODE_NONE where unused; [1] of add, or a fused residual */
    struct op_attrs attrs;
    /* Owned, fp32, in the file's layout; see struct op_params. */
    float *weight, *bias, *mean, *var;
    size_t n_weight, n_bias;
    struct shape shape; /* of the output; set by graph_infer */
    int stage, block;   /* where it stands, see rn_layer */
};

struct graph {
    struct node *nodes;
    int n_nodes, capacity;
    struct shape input;
    /* NULL, or [n_where] of the caller's, of the nodes as built: which node each has become a part
     * of. Kept by graph_optimize. */
    int *where;
    int n_where;
    void (*rest)(void); /* called between pieces of work on weights; NULL: nothing is */
};

static inline void graph_rest(const struct graph *graph)
{
    if (graph->rest)
        graph->rest();
}

/* `graph` starts as {0}. */
void graph_done(struct graph *graph);

/* Frees a node's weights; its shape and counts stay. */
void node_drop_weights(struct node *node);

/* Frees what a node owns. */
void node_done(struct node *node);

/* Adds a node and returns its index, NODE_NONE when out of memory. The name is copied (printf
 * arguments); inputs are indices or NODE_NONE. The node pointer is valid until the next add. */
__attribute__((format(printf, 5, 6))) int graph_add(struct graph *graph, const struct op *op, int a,
                                                    int b, const char *name, ...);

/* Sets every node's shape for an input of this shape. Sizes are checked, so that feature maps of up
 * to RN_MAX_BATCH images can be counted in int positions. RN_UNSUPPORTED_MODEL naming the node. */
enum rn_status graph_infer(struct graph *graph, struct shape input, struct rn_error *err)
    __attribute__((warn_unused_result));

/* Multiply + add of one image, convolution and linear layers. */
uint64_t node_flops(const struct graph *graph, int node);
/* Learnable values: weights, biases, gamma, beta. */
uint64_t node_parameters(const struct node *node);

/* Folds batch normalisation into the convolution before it, fuses ReLU and residual additions into
 * the convolution that feeds them, and drops what is dead (optimize.c). Outputs stay the same up to
 * rounding. Never fails: what does not match stays as it is. */
void graph_optimize(struct graph *graph);

/* One row per node for `inspect`: names borrowed from the graph, `rows` is [n_nodes] (stats.c). */
void graph_stats(const struct graph *graph, struct rn_layer *rows);

#endif
