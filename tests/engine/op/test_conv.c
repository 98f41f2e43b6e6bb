/* Convolution against the naive seven loops in double precision, over odd shapes, strides,
 * paddings and groups, over blocked and planar input, with every kernel table.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/op/conv.h"
#include "tests/support_random.h"

enum { DIRECT, STRASSEN, BF16X3, WINOGRAD }; /* the last plus one of enum winograd_kind */
enum { STEM = WINOGRAD + WINOGRAD_STEM };

#define MAX_IMAGES 9

struct conv_case {
    int n, c, h, w, out_channels, kernel, stride, pad, groups;
    bool planar, residual, relu;
    int algorithm;
};

/* Of the sum of |products|: what rounding may cost, larger intermediate values of Winograd and
 * Strassen, and halves of bf16 (3 · 2⁻¹⁸, and the sum). */
static double tolerance(const struct conv_case *t)
{
    switch (t->algorithm) {
    case WINOGRAD + WINOGRAD_4:
    case WINOGRAD + WINOGRAD_6:
    case STEM:
        return 2e-5;
    case BF16X3:
        return 1.25e-5;
    case DIRECT:
        return 1e-6;
    default:
        return 2e-6;
    }
}

struct buffers {
    float *plain, *weight, *bias; /* [n][c][h][w], [out][c/groups][k][k], [out] */
    float *in, *residual, *out;   /* as the operator wants them */
    float *zeros;
};

static float *new_floats(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof *p + 63) / 64 * 64);
    cr_assert_not_null(p);
    memset(p, 0, n * sizeof *p);
    return p;
}

/* Scratch that ends where no page is, and holds NaN, should anybody read what was not written. */
struct scratch {
    char *pages, *start;
    size_t page_bytes;
};

static struct scratch new_scratch(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (bytes + page - 1) / page * page;
    struct scratch s = {.page_bytes = used + page};
    s.pages = mmap(NULL, s.page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)s.pages, MAP_FAILED);
    memset(s.pages, 0xff, used);
    cr_assert_eq(mprotect(s.pages + used, page, PROT_NONE), 0);
    s.start = s.pages + used - bytes;
    return s;
}

static void free_scratch(const struct scratch *s)
{
    (void)munmap(s->pages, s->page_bytes);
}

static size_t blocked_at(struct shape s, int n, int c, int y, int x)
{
    size_t plane = (size_t)(s.h * s.w);
    return (size_t)n * shape_blocked_size(s) +
           ((size_t)(c / CHANNEL_BLOCK) * plane + (size_t)(y * s.w + x)) * CHANNEL_BLOCK +
           (size_t)(c % CHANNEL_BLOCK);
}

static void make_buffers(const struct conv_case *t, struct shape in, struct shape out,
                         struct buffers *b, uint64_t *seed)
{
    size_t plain = (size_t)(t->n * t->c * t->h * t->w);
    size_t weights = (size_t)(t->out_channels * (t->c / t->groups) * t->kernel * t->kernel);
    b->plain = new_floats(plain);
    b->weight = new_floats(weights);
    b->bias = new_floats((size_t)t->out_channels);
    random_fill(seed, b->plain, plain);
    random_fill(seed, b->weight, weights);
    random_fill(seed, b->bias, (size_t)t->out_channels);
    b->zeros = new_floats(shape_blocked_size(in) + shape_blocked_size(out));
    b->out = new_floats((size_t)t->n * shape_blocked_size(out));
    b->residual = new_floats((size_t)t->n * shape_blocked_size(out));
    random_fill(seed, b->residual, (size_t)t->n * shape_blocked_size(out));
    int border = t->pad, row = t->w + 2 * border;
    b->in = new_floats(t->planar ? (size_t)(t->n * t->c * row * (t->h + 2 * border))
                                 : (size_t)t->n * shape_blocked_size(in));
    for (int i = 0; i < t->n * t->c; i++)
        for (int y = 0; y < t->h; y++)
            for (int x = 0; x < t->w; x++) {
                float value = b->plain[(i * t->h + y) * t->w + x];
                if (t->planar)
                    b->in[(i * (t->h + 2 * border) + y + border) * row + x + border] = value;
                else
                    b->in[blocked_at(in, i / t->c, i % t->c, y, x)] = value;
            }
}

static void free_buffers(struct buffers *b)
{
    free(b->plain);
    free(b->weight);
    free(b->bias);
    free(b->in);
    free(b->residual);
    free(b->out);
    free(b->zeros);
}

/* One output value by definition; *magnitude gets the sum of |products|. */
static double naive(const struct conv_case *t, const struct buffers *b, int n, int o, int y, int x,
                    double *magnitude)
{
    int in_group = t->c / t->groups, out_group = t->out_channels / t->groups;
    double sum = (double)b->bias[o];
    *magnitude = fabs(sum) + 1;
    for (int i = 0; i < in_group; i++)
        for (int ky = 0; ky < t->kernel; ky++)
            for (int kx = 0; kx < t->kernel; kx++) {
                int iy = y * t->stride - t->pad + ky, ix = x * t->stride - t->pad + kx;
                if (iy < 0 || iy >= t->h || ix < 0 || ix >= t->w)
                    continue;
                int c = o / out_group * in_group + i;
                double product =
                    (double)b->plain[((n * t->c + c) * t->h + iy) * t->w + ix] *
                    (double)b->weight[((o * in_group + i) * t->kernel + ky) * t->kernel + kx];
                sum += product;
                *magnitude += fabs(product);
            }
    return sum;
}

static void check_values(const struct conv_case *t, const struct buffers *b, struct shape out,
                         const char *kernels)
{
    for (int n = 0; n < t->n; n++)
        for (int o = 0; o < out.c; o++)
            for (int y = 0; y < out.h; y++)
                for (int x = 0; x < out.w; x++) {
                    size_t at = blocked_at(out, n, o, y, x);
                    double magnitude, want = naive(t, b, n, o, y, x, &magnitude);
                    if (t->residual)
                        want += (double)b->residual[at];
                    if (t->relu && want < 0)
                        want = 0;
                    cr_assert_float_eq(
                        (double)b->out[at], want, tolerance(t) * magnitude,
                        "%s: %d×%d×%d×%d -> %d, kernel %d, stride %d, pad %d, groups %d: "
                        "[%d][%d][%d][%d] is %g, not %g",
                        kernels, t->n, t->c, t->h, t->w, t->out_channels, t->kernel, t->stride,
                        t->pad, t->groups, n, o, y, x, (double)b->out[at], want);
                }
}

static void check(const struct conv_case *t, struct rn_threads *threads, uint64_t *seed)
{
    struct rn_error err;
    enum rn_status status;
    struct shape in = {t->c, t->h, t->w}, out;
    struct op_spec spec = {.attrs = {.out_channels = t->out_channels,
                                     .kernel = t->kernel,
                                     .stride = t->stride,
                                     .pad = t->pad,
                                     .groups = t->groups,
                                     .relu = t->relu},
                           .in = in,
                           .max_batch = t->n,
                           .in_border = t->planar ? t->pad : OP_BLOCKED};
    cr_assert_eq(op_conv.infer(&spec.attrs, in, &out, &err), RN_OK, "%s", err.text);
    struct buffers b;
    make_buffers(t, in, out, &b, seed);
    const float *images[MAX_IMAGES];
    for (int i = 0; i < t->n; i++)
        images[i] = b.plain + (size_t)(i * t->c * t->h * t->w);
    spec.out = out;
    spec.params = (struct op_params){.weight = b.weight, .bias = b.bias};
    spec.zeros = b.zeros;
    for (size_t k = 0; k < kernels_count(); k++) {
        struct arena arena = {0};
        struct op_prepared prepared = {0};
        spec.kernels = kernels_at(k);
        if (t->algorithm == BF16X3 && !conv_bf16x3_possible(&spec))
            continue;
        if (t->algorithm == BF16X3)
            status = conv_bf16x3_prepare(&spec, &arena, &prepared, &err);
        else if (t->algorithm == STRASSEN)
            status = conv_strassen_prepare(&spec, &arena, &prepared, &err);
        else if (t->algorithm == STEM)
            status = conv_stem_prepare(&spec, &arena, &prepared, &err);
        else if (t->algorithm >= WINOGRAD)
            status = conv_winograd_prepare(&spec, (enum winograd_kind)(t->algorithm - WINOGRAD),
                                           &arena, &prepared, &err);
        else
            status = conv_direct_prepare(&spec, &arena, &prepared, &err);
        cr_assert_eq(status, RN_OK, "%s", err.text);
        struct scratch shared = new_scratch(prepared.scratch_bytes);
        struct scratch own =
            new_scratch((size_t)rn_threads_count(threads) * prepared.thread_scratch_bytes);
        struct scratch of_team =
            new_scratch(prepared.team_scratch_bytes
                            ? prepared.team_scratch_bytes(prepared.data, rn_threads_count(threads))
                            : 0);
        struct op_args args = {.images = images,
                               .in = b.in,
                               .residual = t->residual ? b.residual : NULL,
                               .out = b.out,
                               .n = t->n,
                               .threads = threads,
                               .scratch = (float *)(void *)shared.start,
                               .thread_scratch = own.start,
                               .thread_scratch_bytes = prepared.thread_scratch_bytes,
                               .team_scratch = (float *)(void *)of_team.start};
        prepared.run(prepared.data, &args);
        check_values(t, &b, out, spec.kernels->name);
        free_scratch(&shared);
        free_scratch(&own);
        free_scratch(&of_team);
        arena_done(&arena);
    }
    free_buffers(&b);
}

static struct rn_threads *team(int n)
{
    struct rn_threads *threads;
    struct rn_error err;
    cr_assert_eq(rn_threads_new(n, &threads, &err), RN_OK, "%s", err.text);
    return threads;
}

Test(conv, equals_the_naive_loops_on_the_shapes_that_resnets_have)
{
    static const struct conv_case cases[] = {
        {2, 64, 14, 14, 64, 3, 1, 1, 1, false, true, true, DIRECT},
        {1, 64, 7, 7, 128, 1, 1, 0, 1, false, true, true, DIRECT},
        {3, 32, 9, 9, 64, 1, 2, 0, 1, false, false, false, DIRECT},
        {1, 32, 15, 15, 32, 3, 2, 1, 1, false, false, true, DIRECT},
        {2, 3, 32, 32, 16, 3, 1, 1, 1, true, false, true, DIRECT},
        {1, 3, 45, 45, 64, 7, 2, 3, 1, true, false, true, DIRECT},
        {1, 128, 8, 8, 128, 3, 1, 1, 32, false, false, true,
         DIRECT}, /* ResNeXt, 4 channels a group */
        {1, 256, 5, 5, 256, 3, 2, 1, 8, false, false, true, DIRECT}, /* 32 channels a group */
        {2, 1024, 8, 8, 16, 7, 1, 3, 1, false, false, true, DIRECT}, /* items as small as can be */
        /* Inputs are packed, in one pass and in several. */
        {2, 240, 17, 17, 256, 1, 2, 0, 1, false, false, false, DIRECT},
        {3, 512, 7, 7, 272, 1, 1, 0, 1, false, true, true, DIRECT},
        {2, 2048, 5, 5, 256, 1, 1, 0, 1, false, true, true, DIRECT},
        {1, 500, 9, 9, 256, 3, 2, 1, 1, false, true, false, DIRECT},
    };
    struct rn_threads *threads = team(2);
    uint64_t seed = 11;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i], threads, &seed);
    rn_threads_free(threads);
}

Test(conv, equals_the_naive_loops_on_a_hundred_odd_shapes)
{
    struct rn_threads *threads = team(3);
    uint64_t seed = 12;
    for (int i = 0; i < 100; i++) {
        static const int kernels[] = {1, 2, 3, 5, 7};
        struct conv_case t = {.n = 1 + random_below(&seed, 3),
                              .groups = 1 + random_below(&seed, 5),
                              .kernel = kernels[random_below(&seed, 5)],
                              .stride = 1 + random_below(&seed, 3),
                              .residual = random_below(&seed, 2),
                              .relu = random_below(&seed, 2)};
        t.c = t.groups * (1 + random_below(&seed, 13));
        t.out_channels = t.groups * (1 + random_below(&seed, 13));
        t.pad = random_below(&seed, t.kernel);
        t.h = t.kernel + random_below(&seed, 9);
        t.w = t.kernel + random_below(&seed, 9);
        if (t.groups == 1 && t.c * t.kernel < 200)
            t.planar = random_below(&seed, 2);
        check(&t, threads, &seed);
    }
    rn_threads_free(threads);
}

/* One of Winograd's filters, where a map is not too small for its tiles. */
static void check_winograd(const struct conv_case *cases, size_t n, enum winograd_kind kind,
                           int min_side, uint64_t seed)
{
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct rn_threads *threads = team(n_threads);
        for (size_t i = 0; i < n; i++) {
            struct conv_case t = cases[i];
            t.algorithm = WINOGRAD + (int)kind;
            if (op_window_out(t.h, 3, t.stride, 1) >= min_side &&
                op_window_out(t.w, 3, t.stride, 1) >= min_side)
                check(&t, threads, &seed);
        }
        rn_threads_free(threads);
    }
}

Test(conv, winograd_equals_the_naive_loops)
{
    /* Sides of no, one, two and three short tiles, fewer channels than a block and more, one tile
     * and many. */
    static const struct conv_case cases[] = {
        {2, 64, 14, 14, 64, 3, 1, 1, 1, false, true, true, DIRECT},
        {1, 32, 7, 7, 48, 3, 1, 1, 1, false, false, true, DIRECT},
        {9, 32, 7, 10, 16, 3, 1, 1, 1, false, false, true, DIRECT},
        {3, 5, 8, 13, 21, 3, 1, 1, 1, false, true, false, DIRECT},
        {1, 17, 1, 1, 16, 3, 1, 1, 1, false, false, false, DIRECT},
        {1, 16, 2, 3, 80, 3, 1, 1, 1, false, true, true, DIRECT},
        {1, 16, 6, 9, 80, 3, 1, 1, 1, false, true, true, DIRECT},
        {2, 32, 33, 29, 32, 3, 1, 1, 1, false, true, true, DIRECT},
        {2, 48, 28, 56, 32, 3, 1, 1, 1, false, false, false, DIRECT},
        {1, 9, 20, 25, 32, 3, 1, 1, 1, false, true, true, DIRECT},
    };
    check_winograd(cases, sizeof cases / sizeof *cases, WINOGRAD_2, 1, 13);
    check_winograd(cases, sizeof cases / sizeof *cases, WINOGRAD_4, 6, 14);
    check_winograd(cases, sizeof cases / sizeof *cases, WINOGRAD_6, 20, 15);
}

Test(conv, winograd_at_stride_2_equals_the_naive_loops)
{
    /* The same, and even and odd sides. */
    static const struct conv_case cases[] = {
        {2, 64, 28, 28, 64, 3, 2, 1, 1, false, true, true, DIRECT},
        {1, 32, 56, 57, 48, 3, 2, 1, 1, false, false, true, DIRECT},
        {3, 5, 11, 12, 21, 3, 2, 1, 1, false, true, false, DIRECT},
        {1, 17, 1, 1, 16, 3, 2, 1, 1, false, false, false, DIRECT},
        {1, 16, 2, 3, 80, 3, 2, 1, 1, false, true, true, DIRECT},
        {2, 32, 65, 43, 32, 3, 2, 1, 1, false, false, true, DIRECT},
        {2, 160, 9, 9, 144, 3, 2, 1, 1, false, true, true, DIRECT},
        {9, 32, 14, 14, 48, 3, 2, 1, 1, false, false, false, DIRECT},
    };
    check_winograd(cases, sizeof cases / sizeof *cases, WINOGRAD_STRIDED_2, 1, 18);
    check_winograd(cases, sizeof cases / sizeof *cases, WINOGRAD_STRIDED_4, 6, 19);
}

Test(conv, a_stem_by_winograd_equals_the_naive_loops)
{
    /* Even and odd sides, a whole number of tiles and not, one tile and many, one to four planes.
     */
    static const struct conv_case cases[] = {
        {2, 3, 224 / 4, 224 / 4, 64, 7, 2, 3, 1, false, true, false, STEM},
        {1, 3, 75, 62, 48, 7, 2, 3, 1, false, false, false, STEM},
        {3, 1, 7, 9, 21, 7, 2, 0, 1, false, true, true, STEM},
        {1, 4, 40, 33, 16, 7, 2, 2, 1, false, true, true, STEM},
        {1, 2, 5, 5, 80, 7, 2, 1, 1, false, false, true, STEM},
    };
    uint64_t seed = 17;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct rn_threads *threads = team(n_threads);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct conv_case t = cases[i];
            t.planar = true;
            check(&t, threads, &seed);
        }
        rn_threads_free(threads);
    }
}

Test(conv, strassen_equals_the_naive_loops)
{
    /* One pair of positions and many, groups that end within an image, one block a half and more
     * than are multiplied at a time. */
    static const struct conv_case cases[] = {
        {1, 32, 1, 2, 32, 1, 1, 0, 1, false, false, false, DIRECT},
        {3, 64, 5, 6, 96, 1, 1, 0, 1, false, true, true, DIRECT},
        {2, 128, 14, 14, 192, 1, 1, 0, 1, false, true, false, DIRECT},
        {1, 256, 12, 13, 128, 1, 1, 0, 1, false, false, true, DIRECT},
        {2, 2048, 4, 5, 32, 1, 1, 0, 1, false, false, true, DIRECT},
    };
    uint64_t seed = 14;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct rn_threads *threads = team(n_threads);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct conv_case t = cases[i];
            t.algorithm = STRASSEN;
            check(&t, threads, &seed);
        }
        rn_threads_free(threads);
    }
}

Test(conv, bf16x3_equals_the_naive_loops)
{
    if (!kernels_find(NULL)->bf16x3)
        cr_skip_test("this CPU has no matrix unit");
    /* Points, windows and pixels; bands and shared maps; one tile and more, at the end of an image
     * and on into the next; one block of outputs left over; strides; fewer channels than a pair. */
    static const struct conv_case cases[] = {
        {1, 64, 56, 56, 64, 1, 1, 0, 1, false, true, true, BF16X3},
        {3, 64, 7, 7, 80, 1, 1, 0, 1, false, true, true, BF16X3},
        {2, 256, 28, 28, 48, 1, 1, 0, 1, false, false, true, BF16X3},
        {2, 32, 31, 31, 64, 1, 2, 0, 1, false, false, false, BF16X3},
        {1, 1024, 3, 3, 512, 1, 1, 0, 1, false, false, false, BF16X3},
        {1, 64, 56, 56, 64, 3, 1, 1, 1, false, true, true, BF16X3},
        {2, 96, 14, 14, 160, 3, 1, 1, 1, false, true, true, BF16X3},
        {2, 64, 56, 56, 32, 3, 2, 1, 1, false, false, true, BF16X3},
        {3, 128, 14, 14, 64, 3, 2, 1, 1, false, true, true, BF16X3},
        {1, 16, 32, 32, 16, 3, 1, 1, 1, false, true, true, BF16X3},
        {9, 48, 5, 5, 16, 5, 3, 4, 1, false, false, false, BF16X3},
        {1, 128, 14, 14, 128, 3, 1, 1, 32, false, false, true, BF16X3}, /* ResNeXt 32x4d */
        {2, 256, 9, 9, 256, 3, 2, 1, 8, false, true, true, BF16X3},
        {1, 256, 30, 30, 256, 3, 1, 1, 4, false, true, true, BF16X3}, /* two pairs a group */
        {1, 384, 9, 9, 384, 3, 1, 1, 2, false, false, true, BF16X3},  /* chunks within a group */
        {1, 48, 11, 11, 48, 3, 1, 1, 48, false, false, true, BF16X3}, /* depthwise */
        {2, 3, 32, 32, 16, 3, 1, 1, 1, true, false, true, BF16X3},
        {1, 3, 225, 225, 64, 7, 2, 3, 1, true, false, true, BF16X3},
        {2, 1, 19, 37, 33, 8, 1, 0, 1, true, false, true, BF16X3},
    };
    uint64_t seed = 15;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct rn_threads *threads = team(n_threads);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            check(&cases[i], threads, &seed);
        for (int i = 0; i < 60; i++) {
            struct conv_case t = {.n = 1 + random_below(&seed, 3),
                                  .c = 1 + random_below(&seed, 70),
                                  .out_channels = 1 + random_below(&seed, 50),
                                  .groups = 1,
                                  .kernel = 1 + random_below(&seed, 5),
                                  .stride = 1 + random_below(&seed, 3),
                                  .residual = random_below(&seed, 2),
                                  .relu = random_below(&seed, 2),
                                  .algorithm = BF16X3};
            t.pad = random_below(&seed, t.kernel);
            t.h = t.kernel + random_below(&seed, 20);
            t.w = t.kernel + random_below(&seed, 20);
            t.planar = t.c <= 4;
            check(&t, threads, &seed);
        }
        rn_threads_free(threads);
    }
}

Test(conv, takes_the_algorithm_that_the_shape_and_the_largest_batch_ask_for)
{
    static const struct {
        int c, side, kernel, stride, max_batch;
        bool direct;
        const char *algorithm;
    } cases[] = {
        {64, 56, 3, 1, 1, false, "winograd6"},     {64, 56, 3, 1, 1, true, "direct"},
        {512, 7, 3, 1, 8, false, "winograd2"},     {256, 14, 3, 1, 1, false, "winograd4"},
        {256, 14, 3, 1, 8, false, "winograd4"},    {64, 56, 3, 2, 8, false, "winograd4/2"},
        {512, 14, 3, 2, 8, false, "winograd2/2"},  {64, 56, 1, 1, 8, false, "direct"},
        {16, 32, 3, 1, 8, false, "direct"},        {256, 14, 1, 1, 1, false, "strassen"},
        {256, 14, 1, 1, 8, true, "direct"},        {256, 14, 1, 2, 8, false, "direct"},
        {256, 15, 1, 1, 8, false, "direct"},       {256, 8, 1, 1, 8, false, "direct"},
        {3, 224, 7, 2, 1, false, "winograd-stem"}, {3, 224, 7, 2, 8, true, "direct"},
        {3, 32, 3, 1, 8, false, "direct"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct op_prepared prepared;
        struct rn_error err;
        const int c = cases[i].c, k = cases[i].kernel;
        float *weight = new_floats((size_t)(c * c * k * k));
        struct op_spec spec = {
            .attrs = {.out_channels = c,
                      .kernel = k,
                      .stride = cases[i].stride,
                      .pad = k / 2,
                      .groups = 1},
            .params = {.weight = weight},
            .in = {c, cases[i].side, cases[i].side},
            .in_border = c == 3 ? k / 2 : OP_BLOCKED,
            .max_batch = cases[i].max_batch,
            .direct = cases[i].direct,
            .kernels = kernels_find("portable"),
        };
        cr_assert_eq(op_conv.infer(&spec.attrs, spec.in, &spec.out, &err), RN_OK);
        cr_assert_eq(op_conv.prepare(&spec, &arena, &prepared, &err), RN_OK);
        cr_expect_str_eq(prepared.algorithm, cases[i].algorithm, "%d channels, side %d", c,
                         cases[i].side);
        arena_done(&arena);
        free(weight);
    }
}

Test(conv, refuses_shapes_that_cannot_be)
{
    struct rn_error err;
    struct shape out;
    struct op_attrs attrs = {.out_channels = 8, .kernel = 3, .stride = 1, .groups = 1};
    cr_assert_neq(op_conv.infer(&attrs, (struct shape){8, 2, 5}, &out, &err), RN_OK);
    attrs.groups = 3;
    cr_assert_neq(op_conv.infer(&attrs, (struct shape){8, 5, 5}, &out, &err), RN_OK);
    attrs.groups = 1;
    attrs.kernel = OP_MAX_KERNEL + 1;
    cr_assert_neq(op_conv.infer(&attrs, (struct shape){8, 50, 50}, &out, &err), RN_OK);
}
