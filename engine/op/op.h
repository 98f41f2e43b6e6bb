/* What an operator is: shape inference, cost, preparation for given shapes, and the run.
 *
 * Operators know shapes, attributes and tensors; they know nothing of graphs, plans or files.
 * infer and flops are pure. prepare runs once per layer at load: it chooses the algorithm, packs
 * weights into the arena and says what runs. run is called by one thread, spreads its work over the
 * team, and allocates nothing.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_OP_H
#define RESNETD_ENGINE_OP_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/status.h"
#include "engine/base/tensor.h"
#include "engine/kernel/kernel.h"

struct rn_threads;

#define OP_MAX_KERNEL 15 /* largest side of a convolution's window */
#define OP_MAX_SIDE 16384
#define OP_MAX_CHANNELS 131072

struct op_attrs {
    int out_channels;        /* conv, linear, shortcut */
    int kernel, stride, pad; /* conv, maxpool; shortcut: stride only */
    int groups;              /* conv */
    bool relu;               /* fused activation */
};

/* fp32 in the file's layout: conv [out][in/groups][k][k], linear [out][in]; borrowed during
 * prepare. */
struct op_params {
    const float *weight;     /* bn: gamma */
    const float *bias;       /* NULL = zeros; bn: beta */
    const float *mean, *var; /* bn only */
};

/* Everything that prepare may look at. What params, pool and team point to is gone when it has
 * returned. */
struct op_spec {
    struct op_attrs attrs;
    struct op_params params;
    struct shape in, out;
    int in_border; /* >= 0: planar [n][c][h + 2b][w + 2b] with a border of b zeros: what the input
                      operator writes and the stem reads */
    const struct op_attrs *pool; /* of a max pool that alone reads the output, or NULL */
    int max_batch;               /* images of the largest run */
    bool direct;                 /* neither Winograd, Strassen nor bf16x3: slower, smaller error */
    const struct kernels *kernels;
    const float *zeros;      /* as long as the largest feature map of one image; stays valid */
    struct rn_threads *team; /* packs; NULL: the calling thread does, and */
    void (*rest)(void);      /* calls this in between; NULL: nothing */
};

/* Packs a layer's weights in `n` pieces, fn(context, 0 … n-1), each of which writes what no other
 * reads or writes, and does not ask which thread it is on (threads_self). */
void op_pack(const struct op_spec *spec, int n, void (*fn)(void *context, int piece),
             void *context);
/* The layer's bias into `bias`, zeroed and as long as its outputs' channel blocks. */
void op_pack_bias(const struct op_spec *spec, float *bias);
#define OP_BLOCKED (-1) /* in_border of a feature map */

struct op_args {
    const float *const *images; /* [n] of [c][h][w]: what the network was given */
    const float *in;
    const float *residual; /* added before the activation, or NULL; shaped like out */
    bool no_relu;          /* a fused activation is left out */
    float *out;
    int n; /* images */
    struct rn_threads *threads;
    float *scratch;       /* as long as prepare asked for, at the same time for all threads */
    char *thread_scratch; /* of thread 0, */
    size_t thread_scratch_bytes; /* and from one thread's to the next */
    float *team_scratch;         /* as long as prepare said that this team wants */
};

/* A thread's scratch, as long as prepare asked for. */
static inline void *op_thread_scratch(const struct op_args *args, int thread)
{
    return args->thread_scratch + (size_t)thread * args->thread_scratch_bytes;
}

/* What prepare leaves behind for the runs. */
struct op_prepared {
    const void *data;
    void (*run)(const void *data, const struct op_args *args);
    /* Where op_spec.pool can be taken along: both at once; `out` is the pool's. */
    void (*run_pooled)(const void *data, const struct op_args *args);
    bool reads_images;     /* `images`, not `in`: nobody needs to have gathered them */
    const char *algorithm; /* shown by bench */
    size_t scratch_bytes, thread_scratch_bytes; /* what a run wants; multiples of TENSOR_ALIGN */
    /* What a run of a team of n threads wants besides, or NULL. */
    size_t (*team_scratch_bytes)(const void *data, int n_threads);
    uint64_t work; /* multiply + add = 2 of the algorithm, one image; 0: those of the definition */
};

struct op {
    const char *name;
    /* The shape that `in` becomes; the error sentence says what does not fit. */
    enum rn_status (*infer)(const struct op_attrs *attrs, struct shape in, struct shape *out,
                            struct rn_error *err);
    /* Multiply + add = 2, one image; NULL = 0: only convolution and linear layers are counted. */
    uint64_t (*flops)(const struct op_attrs *attrs, struct shape in, struct shape out);
    enum rn_status (*prepare)(const struct op_spec *spec, struct arena *arena,
                              struct op_prepared *out, struct rn_error *err);
};

#define OP(name) extern const struct op op_##name;
#include "engine/op/ops.def"
#undef OP

/* `prepare` for operators with nothing to pack: the data are a copy of the spec. */
enum rn_status op_prepare_copy(const struct op_spec *spec, struct arena *arena,
                               void (*run)(const void *data, const struct op_args *args),
                               const char *algorithm, struct op_prepared *out,
                               struct rn_error *err);

/* Batch normalisation of channel c at inference (Ioffe & Szegedy 2015, algorithm 2), with epsilon
 * 1e-5: (x - mean) / sqrt(var + epsilon) * gamma + beta = x * scale + shift. */
void op_bn_affine(const struct op_params *params, int c, float *scale, float *shift);

/* Floats of one image of the input, blocked or planar. */
static inline size_t op_input_size(const struct op_spec *spec)
{
    if (spec->in_border < 0)
        return shape_blocked_size(spec->in);
    const size_t border = 2 * (size_t)spec->in_border;
    return (size_t)spec->in.c * ((size_t)spec->in.h + border) * ((size_t)spec->in.w + border);
}

/* The output side of a window of `kernel` at `stride` over `side` values with `pad` on both ends.
 */
static inline int op_window_out(int side, int kernel, int stride, int pad)
{
    return (side + 2 * pad - kernel) / stride + 1;
}

#endif
