/* Compiling a graph into steps.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/plan/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* More than the cache holds: while one image is computed with some, the next ones come in. */
#define SINGLE_WEIGHTS_BYTES ((size_t)30 << 20)

static bool is_stem(const struct graph *graph, int i)
{
    return i > 0 && graph->nodes[i].inputs[0] == 0;
}

/* The border of the planar input buffer: the padding of the convolution that reads it. */
static int stem_border(const struct graph *graph)
{
    for (int i = 1; i < graph->n_nodes; i++)
        if (is_stem(graph, i))
            return graph->nodes[i].attrs.pad;
    return 0;
}

/* The max pool that alone reads the output of node i, and is the next one; or NULL. */
static const struct op_attrs *pool_behind(const struct graph *graph, int i)
{
    const struct node *next = &graph->nodes[i + 1];
    if (i + 1 >= graph->n_nodes || next->op != &op_maxpool || next->inputs[0] != i ||
        graph->nodes[i].inputs[1] != NODE_NONE)
        return NULL;
    for (int k = i + 2; k < graph->n_nodes; k++)
        for (int input = 0; input < NODE_MAX_INPUTS; input++)
            if (graph->nodes[k].inputs[input] == i)
                return NULL;
    return &next->attrs;
}

/* Floats of one image of a node's output. */
static size_t output_size(const struct graph *graph, int i)
{
    struct shape s = graph->nodes[i].shape;
    if (i > 0)
        return shape_blocked_size(s);
    size_t border = (size_t)stem_border(graph);
    return (size_t)s.c * ((size_t)s.h + 2 * border) * ((size_t)s.w + 2 * border);
}

static bool is_fused(const struct plan *plan, int i)
{
    return i > 0 && plan->steps[i - 1].prepared.run_pooled;
}

/* Bytes of one image that a step reads and writes. */
static size_t step_traffic(const struct plan *plan, const struct graph *graph, int i)
{
    const struct op_prepared *prepared = &plan->steps[i].prepared;
    if (!prepared->run || is_fused(plan, i))
        return 0;
    size_t floats = output_size(graph, prepared->run_pooled ? i + 1 : i);
    for (int k = 0; k < NODE_MAX_INPUTS; k++)
        if (graph->nodes[i].inputs[k] != NODE_NONE)
            floats += output_size(graph, graph->nodes[i].inputs[k]);
    return floats * sizeof(float);
}

/* Up to the last step whose outputs of a whole batch, and what it adds to them, take half the cache
 * or more while the weights so far, which will be read again for every image, are not many. */
static int count_single_steps(const struct plan *plan, const struct graph *graph)
{
    int n = 0;
    size_t weights = 0;
    for (int i = 0; i < graph->n_nodes && plan->max_batch > 1; i++) {
        weights += plan->steps[i].weights_bytes;
        if (weights > SINGLE_WEIGHTS_BYTES)
            break;
        const struct node *node = &graph->nodes[i];
        const size_t floats = output_size(graph, i) * (node->inputs[1] == NODE_NONE ? 1 : 2);
        if (floats * sizeof(float) * (size_t)plan->max_batch >= PLAN_CACHE_BYTES / 2)
            n = i + 1;
    }
    return is_fused(plan, n) ? n + 1 : n;
}

/* A network that ends in global average pooling and one linear layer has its last map kept. */
static void find_map(struct plan *plan, const struct graph *graph)
{
    const int pool = graph->n_nodes - 2;
    plan->map_step = PLAN_NO_MAP;
    if (pool < 1 || graph->nodes[pool].op != &op_avgpool || graph->nodes[pool + 1].op != &op_linear)
        return;
    plan->map_step = graph->nodes[pool].inputs[0];
    plan->map = graph->nodes[plan->map_step].shape;
}

/* Of steps that run image by image only. */
static bool is_single(const struct plan *plan, const struct memory_use *use)
{
    return use->last < plan->n_single;
}

/* Lifetimes of the buffers: of each node's output, then of each step's scratch. What the steps that
 * run image by image leave to the others has room for all images, and is alive from the start,
 * since those steps begin again for every image. */
static enum rn_status find_uses(const struct plan *plan, const struct graph *graph,
                                struct memory_use *uses)
{
    const int n = graph->n_nodes;
    for (int i = 0; i < n; i++) {
        uses[i].first = uses[i].last = uses[n + i].first = uses[n + i].last = i;
        if (is_fused(plan, i))
            uses[i].first = i - 1;
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            if (graph->nodes[i].inputs[k] != NODE_NONE)
                uses[graph->nodes[i].inputs[k]].last = i;
    }
    if (plan->map_step != PLAN_NO_MAP)
        uses[plan->map_step].last = n - 1;
    for (int i = 0; i < n; i++) {
        const bool single = is_single(plan, &uses[i]);
        if (i < plan->n_single && !single)
            uses[i].first = 0;
        enum rn_status status = size_mul(output_size(graph, i) * sizeof(float),
                                         single ? 1 : (size_t)plan->max_batch, &uses[i].bytes);
        if (status != RN_OK)
            return status;
        if (!plan->steps[i].prepared.run)
            uses[i].bytes = 0;
        uses[n + i].bytes = plan->steps[i].prepared.scratch_bytes;
    }
    return RN_OK;
}

/* A step that is the last to read what it adds writes in its place: each value is read, and then
 * written, once. host[i] is the node whose buffer i is in, most often i itself. */
static void share_buffers(const struct plan *plan, const struct graph *graph,
                          struct memory_use *uses, int *host)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        host[i] = i;
        const int added = graph->nodes[i].inputs[1];
        if (added == NODE_NONE || added == graph->nodes[i].inputs[0] || uses[host[added]].last != i)
            continue;
        struct memory_use *use = &uses[host[added]];
        if (is_single(plan, use) != is_single(plan, &uses[i]) || use->bytes != uses[i].bytes)
            continue;
        host[i] = host[added];
        use->last = uses[i].last;
        uses[i].bytes = 0;
    }
}

static struct plan_buffer buffer_of(const struct plan *plan, const struct graph *graph,
                                    const struct memory_use *uses, int node)
{
    if (node == NODE_NONE)
        return (struct plan_buffer){.offset = PLAN_NOTHING};
    const bool single = is_single(plan, &uses[node]);
    return (struct plan_buffer){uses[node].offset,
                                single ? 0 : output_size(graph, node) * sizeof(float), single};
}

/* Gives an offset to each use, in the arena or in a thread's part of it. */
static enum rn_status place(struct plan *plan, struct memory_use *uses, int n)
{
    struct memory_use *single = calloc((size_t)n, sizeof *single);
    if (!single)
        return RN_NO_MEMORY;
    for (int i = 0; i < n; i++) {
        single[i] = uses[i];
        *(is_single(plan, &uses[i]) ? &uses[i].bytes : &single[i].bytes) = 0;
    }
    enum rn_status status = memory_plan(uses, n, &plan->arena_bytes);
    if (status == RN_OK)
        status = memory_plan(single, n, &plan->single_bytes);
    for (int i = 0; i < n && status == RN_OK; i++) {
        const size_t end = uses[i].offset + uses[i].bytes;
        if (is_single(plan, &uses[i]))
            uses[i] = single[i];
        else if (uses[i].first < plan->n_single && end > plan->single_at)
            plan->single_at = end;
    }
    free(single);
    return status;
}

static enum rn_status plan_memory(struct plan *plan, const struct graph *graph)
{
    const int n = graph->n_nodes;
    struct memory_use *uses = calloc(2 * (size_t)n, sizeof *uses);
    int *host = calloc((size_t)n + 1, sizeof *host);
    if (!uses || !host) {
        free(uses);
        free(host);
        return RN_NO_MEMORY;
    }
    plan->n_single = count_single_steps(plan, graph);
    find_map(plan, graph);
    enum rn_status status = find_uses(plan, graph, uses);
    if (status == RN_OK) {
        share_buffers(plan, graph, uses, host);
        status = place(plan, uses, 2 * n);
    }
    for (int i = 0; i < n && status == RN_OK; i++)
        uses[i] = uses[host[i]];
    for (int i = 0; i < n && status == RN_OK; i++) {
        struct plan_step *step = &plan->steps[i];
        step->map_bytes = step_traffic(plan, graph, i);
        step->in = buffer_of(plan, graph, uses, graph->nodes[i].inputs[0]);
        step->residual = buffer_of(plan, graph, uses, graph->nodes[i].inputs[1]);
        step->out = buffer_of(plan, graph, uses, i);
        step->scratch = (struct plan_buffer){
            .offset = step->prepared.scratch_bytes == 0 ? PLAN_NOTHING : uses[n + i].offset,
            .single = is_single(plan, &uses[n + i])};
        if (step->prepared.thread_scratch_bytes > plan->thread_scratch_bytes)
            plan->thread_scratch_bytes = step->prepared.thread_scratch_bytes;
    }
    free(uses);
    free(host);
    return status;
}

/* A mapping of zeros that nobody writes: the kernel backs it with its one page of zeros. */
static enum rn_status map_zeros(struct plan *plan, const struct graph *graph)
{
    size_t floats = CHANNEL_BLOCK;
    for (int i = 1; i < graph->n_nodes; i++) {
        size_t size = shape_blocked_size(graph->nodes[i].shape);
        floats = size > floats ? size : floats;
    }
    plan->zeros_bytes = floats * sizeof(float);
    void *p = mmap(NULL, plan->zeros_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return RN_NO_MEMORY;
    plan->zeros = p;
    return RN_OK;
}

static enum rn_status prepare_step(struct plan *plan, const struct graph *graph, int i,
                                   const struct plan_options *options, struct rn_error *err)
{
    const struct node *node = &graph->nodes[i];
    struct plan_step *step = &plan->steps[i];
    struct op_spec spec = {
        .attrs = node->attrs,
        .params = {node->weight, node->bias, node->mean, node->var},
        .in = i == 0 ? graph->input : graph->nodes[node->inputs[0]].shape,
        .out = node->shape,
        .pool = pool_behind(graph, i),
        .in_border = i == 0 || is_stem(graph, i) ? stem_border(graph) : OP_BLOCKED,
        .max_batch = options->max_batch,
        .direct = options->direct,
        .kernels = options->kernels,
        .zeros = plan->zeros,
        .team = options->team,
        .rest = options->rest,
    };
    step->flops = node_flops(graph, i);
    step->name = arena_alloc(&plan->weights, strlen(node->name) + 1);
    if (!step->name)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the plan");
    memcpy(step->name, node->name, strlen(node->name) + 1);
    const size_t before = plan->weights.bytes;
    enum rn_status status = node->op->prepare(&spec, &plan->weights, &step->prepared, err);
    step->weights_bytes = plan->weights.bytes - before;
    return status;
}

/* What a whole run leaves out: gathering images that are read where they are, and the pool that is
 * fused into the step before it, but not into one that is tapped. */
static void mark_fused(struct plan *plan)
{
    for (int i = 0; i + 1 < plan->n_steps; i++) {
        struct op_prepared *next = &plan->steps[i + 1].prepared;
        if (next->reads_images) {
            plan->steps[i].prepared.run = NULL;
            plan->steps[i].prepared.algorithm = "fused";
        }
        if (plan->steps[i].prepared.run_pooled)
            next->algorithm = "fused";
    }
}

enum rn_status plan_compile(struct graph *graph, const struct plan_options *options,
                            struct plan **out, struct rn_error *err)
{
    assert(graph->n_nodes > 1 && graph->nodes[0].op == &op_input);
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the plan");
    plan->max_batch = options->max_batch;
    plan->n_steps = graph->n_nodes;
    plan->steps = arena_array(&plan->weights, (size_t)graph->n_nodes, sizeof *plan->steps);
    enum rn_status status = plan->steps ? map_zeros(plan, graph) : RN_NO_MEMORY;
    if (status != RN_OK)
        (void)rn_fail(err, status, "out of memory for the plan");
    for (int i = 0; i < graph->n_nodes && status == RN_OK; i++) {
        status = prepare_step(plan, graph, i, options, err);
        if (options->drop_weights)
            node_drop_weights(&graph->nodes[i]);
    }
    if (status == RN_OK) {
        mark_fused(plan);
        status = plan_memory(plan, graph);
        if (status != RN_OK)
            (void)rn_fail(err, status, "out of memory for the plan of %d images",
                          options->max_batch);
    }
    if (status != RN_OK) {
        plan_free(plan);
        return status;
    }
    *out = plan;
    return RN_OK;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    if (plan->zeros)
        (void)munmap((void *)(uintptr_t)plan->zeros, plan->zeros_bytes);
    arena_done(&plan->weights);
    free(plan);
}
