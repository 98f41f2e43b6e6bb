/* The stem with the max pool behind it in one run, against the two in turn: the same bits, whatever
 * the sizes, the threads and the batch. test_conv.c has the stem alone against the naive loops.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/op/conv.h"
#include "tests/support_random.h"

#define MAX_IMAGES 3

struct stem_case {
    int n, c, h, w, out_channels, pad;
    bool bias, relu;
};

/* NaN, should anybody read what was not written; exactly as long as was asked for. */
static void *new_bytes(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    cr_assert(p || bytes == 0);
    if (p)
        memset(p, 0xff, bytes);
    return p;
}

static void run(const struct op_prepared *prepared, bool pooled, struct op_args args)
{
    const size_t threads = (size_t)rn_threads_count(args.threads);
    args.scratch = new_bytes(prepared->scratch_bytes);
    args.thread_scratch = new_bytes(threads * prepared->thread_scratch_bytes);
    args.thread_scratch_bytes = prepared->thread_scratch_bytes;
    (pooled ? prepared->run_pooled : prepared->run)(prepared->data, &args);
    free(args.scratch);
    free(args.thread_scratch);
}

/* The stem, and then the pool, into `want`; both at once, into `got`. */
static void run_both(const struct op_spec *stem, const struct op_spec *pool,
                     const float *const *images, int n, struct rn_threads *threads, float *want,
                     float *got)
{
    struct arena arena = {0};
    struct op_prepared prepared, pooling;
    struct rn_error err;
    cr_assert_eq(conv_stem_prepare(stem, &arena, &prepared, &err), RN_OK);
    cr_assert_eq(op_maxpool.prepare(pool, &arena, &pooling, &err), RN_OK);
    cr_assert(prepared.reads_images);
    cr_assert_not_null(prepared.run_pooled);
    float *map = new_bytes((size_t)n * shape_blocked_size(stem->out) * sizeof *map);
    run(&prepared, false,
        (struct op_args){.images = images, .out = map, .n = n, .threads = threads});
    run(&pooling, false, (struct op_args){.in = map, .out = want, .n = n, .threads = threads});
    run(&prepared, true,
        (struct op_args){.images = images, .out = got, .n = n, .threads = threads});
    free(map);
    arena_done(&arena);
}

static void check(const struct stem_case *t, struct rn_threads *threads, uint64_t *seed)
{
    const size_t image = (size_t)(t->c * t->h * t->w),
                 weights = (size_t)(t->out_channels * t->c * 49);
    const struct op_attrs pool = {.kernel = 3, .stride = 2, .pad = 1};
    float *pixels = new_bytes((size_t)t->n * image * sizeof *pixels);
    float *weight = new_bytes((weights + (size_t)t->out_channels) * sizeof *weight);
    random_fill(seed, pixels, (size_t)t->n * image);
    random_fill(seed, weight, weights + (size_t)t->out_channels);
    const float *images[MAX_IMAGES];
    for (int i = 0; i < t->n; i++)
        images[i] = pixels + (size_t)i * image;
    struct op_spec stem = {
        .attrs = {t->out_channels, 7, 2, t->pad, 1, t->relu},
        .params = {.weight = weight, .bias = t->bias ? weight + weights : NULL},
        .in = {t->c, t->h, t->w},
        .pool = &pool,
        .in_border = t->pad,
        .max_batch = t->n,
    };
    struct rn_error err;
    cr_assert_eq(op_conv.infer(&stem.attrs, stem.in, &stem.out, &err), RN_OK);
    struct op_spec pooling = {.attrs = pool, .in = stem.out};
    cr_assert_eq(op_maxpool.infer(&pool, stem.out, &pooling.out, &err), RN_OK);
    const size_t bytes = (size_t)t->n * shape_blocked_size(pooling.out) * sizeof(float);
    float *want = new_bytes(bytes), *got = new_bytes(bytes);
    for (size_t k = 0; k < kernels_count(); k++) {
        stem.kernels = pooling.kernels = kernels_at(k);
        memset(got, 0xff, bytes);
        run_both(&stem, &pooling, images, t->n, threads, want, got);
        cr_assert_arr_eq(got, want, bytes, "%s: %d×%d×%d×%d, pad %d", stem.kernels->name, t->n,
                         t->c, t->h, t->w, t->pad);
    }
    free(pixels);
    free(weight);
    free(want);
    free(got);
}

Test(conv_stem, with_the_pool_in_it_gives_the_bits_of_one_after_the_other)
{
    /* Heights of 1 to 4 rows of outputs in the last tile row; widths of one tile, one group of
     * them, and more; channels of less than a block and more than are multiplied at a time. */
    static const struct stem_case cases[] = {
        {1, 3, 224, 224, 64, 3, true, true},   {2, 3, 256, 192, 64, 3, true, true},
        {1, 3, 33, 35, 64, 3, true, false},    {3, 3, 32, 32, 96, 3, false, true},
        {1, 1, 35, 33, 21, 3, false, false},   {1, 2, 38, 300, 16, 3, true, false},
        {1, 4, 37, 43, 80, 2, true, true},     {2, 3, 7, 9, 33, 0, true, false},
        {1, 3, 1, 1, 16, 3, true, true},       {1, 3, 17, 2, 48, 3, true, false},
        {2, 3, 130, 131, 32, 5, false, false},
    };
    uint64_t seed = 19;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct rn_threads *threads;
        struct rn_error err;
        cr_assert_eq(rn_threads_new(n_threads, &threads, &err), RN_OK);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            check(&cases[i], threads, &seed);
        rn_threads_free(threads);
    }
}

Test(conv_stem, takes_no_other_pool_along)
{
    static const struct op_attrs pools[] = {
        {.kernel = 2, .stride = 2, .pad = 0},
        {.kernel = 3, .stride = 1, .pad = 1},
        {.kernel = 3, .stride = 2, .pad = 0},
    };
    float weight[3 * 49] = {0};
    for (size_t i = 0; i <= sizeof pools / sizeof *pools; i++) {
        struct arena arena = {0};
        struct op_prepared prepared;
        struct rn_error err;
        const struct op_spec stem = {
            .attrs = {1, 7, 2, 3, 1, false},
            .params = {.weight = weight},
            .in = {3, 32, 32},
            .out = {1, 16, 16},
            .pool = i < sizeof pools / sizeof *pools ? &pools[i] : NULL,
            .in_border = 3,
            .max_batch = 1,
            .kernels = kernels_find("portable"),
        };
        cr_assert_eq(conv_stem_prepare(&stem, &arena, &prepared, &err), RN_OK);
        cr_assert_null(prepared.run_pooled);
        arena_done(&arena);
    }
}
