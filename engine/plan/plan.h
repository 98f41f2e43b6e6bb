/* What a model does, for at most N images: a graph compiled into steps over one arena.
 *
 * A plan is immutable and shared by any number of sessions; the arena memory is the session's.
 * Running is a plain loop over steps: nothing is allocated, nothing depends on the model. The first
 * steps, whose maps of a whole batch would fall out of the cache, run image by image: each thread
 * takes one through all of them alone, or all threads share each step where there are too few
 * images, or so many threads that their maps would fall out of the cache. The others, whose weights
 * are large, run for all images at once. Values do not depend on it. A stem that reads the images
 * where they are and takes the max pool behind it along runs as one step; the two around it are
 * there for taps only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_PLAN_PLAN_H
#define RESNETD_ENGINE_PLAN_PLAN_H

#include "engine/graph/graph.h"

/* Where a step reads or writes. Steps that run image by image have room for one in a part of the
 * arena that each thread has for itself. */
struct plan_buffer {
    size_t offset; /* bytes from the start of the arena; PLAN_NOTHING where unused */
    size_t image;  /* bytes from one image to the next */
    bool single;   /* from the start of the thread's part, and for one image */
};
#define PLAN_NOTHING SIZE_MAX
#define PLAN_CACHE_BYTES ((size_t)16 << 20) /* of the last level, that a run may hope for */
#define PLAN_NO_MAP (-1)

struct plan_step {
    char *name; /* of the node that it came from */
    struct op_prepared prepared;
    struct plan_buffer in, residual, out, scratch;
    size_t weights_bytes; /* packed */
    size_t map_bytes;     /* read and written, one image */
    uint64_t flops;       /* one image */
};

struct plan {
    struct arena weights; /* steps, names, packed weights */
    struct plan_step *steps;
    int n_steps, max_batch;
    int n_single;                /* steps at the beginning that run image by image */
    int map_step;                /* writes the map that pooling and the classifier end with, or */
    struct shape map;            /* PLAN_NO_MAP; stays in the arena until the next run */
    size_t arena_bytes;          /* of all images' buffers; of the threads' parts, */
    size_t single_at;            /* which lie over those that are not in use meanwhile, */
    size_t single_bytes;         /* one's; and what each thread wants besides; */
    size_t thread_scratch_bytes; /* all multiples of TENSOR_ALIGN */
    const float *zeros; /* read-only mapping as long as the largest feature map of an image */
    size_t zeros_bytes;
};

struct plan_options {
    int max_batch;
    const struct kernels *kernels;
    bool direct;       /* neither Winograd, Strassen nor bf16x3 */
    bool drop_weights; /* frees the graph's weights as they are packed, so that not both are held */
    struct rn_threads *team; /* as op.h has them */
    void (*rest)(void);
};

/* Prepares every node of an inferred graph. The graph's first node is its input, read by one
 * convolution. RN_NO_MEMORY, RN_UNSUPPORTED_MODEL. */
enum rn_status plan_compile(struct graph *graph, const struct plan_options *options,
                            struct plan **out, struct rn_error *err)
    __attribute__((warn_unused_result));
void plan_free(struct plan *plan);

/* Bytes of memory that plan_run wants with a team of so many threads. */
size_t plan_arena_bytes(const struct plan *plan, int n_threads);

/* Runs images[0…n), each planar [c][h][w], and returns the last step's output inside the arena
 * (blocked). When step_ns is not NULL, it gets each step's time. */
const float *plan_run(const struct plan *plan, void *arena, const float *const *images, int n,
                      struct rn_threads *threads, uint64_t *step_ns);

/* What a step gives, with or without the addition and the activation that are fused into it. */
struct plan_tap {
    int step;
    bool residual, relu;
};

/* Runs one image as far as the tap and returns what is there, inside the arena: blocked, but for
 * step 0, whose output is the image itself. Nothing else of the run is left. */
const float *plan_run_tap(const struct plan *plan, void *arena, const float *image,
                          const struct plan_tap *tap, struct rn_threads *threads);

/* The last run's feature map of an image, blocked, where the plan has a map_step. */
const float *plan_map(const struct plan *plan, const void *arena, int image);

/* ---- memory.c: lifetimes -> offsets ---------------------------------------------------------- */

/* A buffer is alive from the step that writes it to the last step that reads it, both included. */
struct memory_use {
    int first, last;
    size_t bytes;
    size_t offset; /* result, aligned to TENSOR_ALIGN */
};

/* Gives every use an offset such that no two that are alive at the same step overlap, and the
 * total in *bytes: largest first, each into the lowest gap that fits. RN_NO_MEMORY. */
enum rn_status memory_plan(struct memory_use *uses, int n, size_t *bytes)
    __attribute__((warn_unused_result));

#endif
