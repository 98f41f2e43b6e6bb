/* Compiling a graph into steps, and running them. plan_run may be called by many threads at once,
 * each with an arena of its own.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/plan/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

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

/* Floats of one image of a node's output. */
static size_t output_size(const struct graph *graph, int i)
{
    struct shape s = graph->nodes[i].shape;
    if (i > 0)
        return shape_blocked_size(s);
    size_t border = (size_t)stem_border(graph);
    return (size_t)s.c * ((size_t)s.h + 2 * border) * ((size_t)s.w + 2 * border);
}

/* Lifetimes from the graph, offsets from the planner: one buffer per node's output, then one per
 * step's scratch. */
static enum rn_status plan_memory(struct plan *plan, const struct graph *graph)
{
    const int n = graph->n_nodes;
    struct memory_use *uses = calloc(2 * (size_t)n, sizeof *uses);
    if (!uses)
        return RN_NO_MEMORY;
    enum rn_status status = RN_OK;
    for (int i = 0; i < n && status == RN_OK; i++) {
        uses[i].first = uses[i].last = uses[n + i].first = uses[n + i].last = i;
        uses[n + i].bytes = plan->steps[i].prepared.scratch_bytes;
        status = size_mul(output_size(graph, i), (size_t)plan->max_batch * sizeof(float),
                          &uses[i].bytes);
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            if (graph->nodes[i].inputs[k] != NODE_NONE)
                uses[graph->nodes[i].inputs[k]].last = i;
    }
    if (status == RN_OK)
        status = memory_plan(uses, 2 * n, &plan->arena_bytes);
    for (int i = 0; i < n && status == RN_OK; i++) {
        const int *inputs = graph->nodes[i].inputs;
        struct plan_step *step = &plan->steps[i];
        step->in = inputs[0] == NODE_NONE ? PLAN_NOTHING : uses[inputs[0]].offset;
        step->residual = inputs[1] == NODE_NONE ? PLAN_NOTHING : uses[inputs[1]].offset;
        step->out = uses[i].offset;
        step->scratch = step->prepared.scratch_bytes == 0 ? PLAN_NOTHING : uses[n + i].offset;
        if (step->prepared.thread_scratch_bytes > plan->thread_scratch_bytes)
            plan->thread_scratch_bytes = step->prepared.thread_scratch_bytes;
    }
    free(uses);
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
        .in_border = i == 0 || is_stem(graph, i) ? stem_border(graph) : OP_BLOCKED,
        .max_batch = options->max_batch,
        .direct = options->direct,
        .kernels = options->kernels,
        .zeros = plan->zeros,
    };
    step->flops = node_flops(graph, i);
    step->name = arena_alloc(&plan->weights, strlen(node->name) + 1);
    if (!step->name)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for the plan");
    memcpy(step->name, node->name, strlen(node->name) + 1);
    return node->op->prepare(&spec, &plan->weights, &step->prepared, err);
}

enum rn_status plan_compile(const struct graph *graph, const struct plan_options *options,
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
    for (int i = 0; i < graph->n_nodes && status == RN_OK; i++)
        status = prepare_step(plan, graph, i, options, err);
    if (status == RN_OK) {
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

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

size_t plan_arena_bytes(const struct plan *plan, int n_threads)
{
    return plan->arena_bytes + (size_t)n_threads * plan->thread_scratch_bytes;
}

static float *at(void *arena, size_t offset)
{
    return offset == PLAN_NOTHING ? NULL : (float *)((char *)arena + offset);
}

const float *plan_run(const struct plan *plan, void *arena, const float *const *images, int n,
                      struct rn_threads *threads, uint64_t *step_ns)
{
    assert(n >= 1 && n <= plan->max_batch);
    uint64_t start = step_ns ? now_ns() : 0;
    for (int i = 0; i < plan->n_steps; i++) {
        const struct plan_step *step = &plan->steps[i];
        struct op_args args = {.images = images,
                               .in = at(arena, step->in),
                               .residual = at(arena, step->residual),
                               .out = at(arena, step->out),
                               .n = n,
                               .threads = threads,
                               .scratch = at(arena, step->scratch),
                               .thread_scratch = (char *)arena + plan->arena_bytes,
                               .thread_scratch_bytes = plan->thread_scratch_bytes};
        step->prepared.run(step->prepared.data, &args);
        if (step_ns) {
            uint64_t end = now_ns();
            step_ns[i] = end - start;
            start = end;
        }
    }
    return at(arena, plan->steps[plan->n_steps - 1].out);
}
