/* A separable filter in two passes: rows first, rounded to 8 bit, then columns.
 *
 * To give Pillow's bits this follows its arithmetic where it matters: positions and weights in
 * double in the same order of operations, each axis' weights normalised and then rounded to 22 bits
 * after the point, sums in 32-bit integers, halves rounded up. An axis that keeps its size needs no
 * special case: its weights come out as exactly one pixel each.
 *
 * Pure but for its scratch memory; any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/resample.h"

#include <math.h>
#include <stdlib.h>

/* 8 bits of pixel, 22 of weight, and 2 for the overshoot of a bicubic sum and the sign. */
#define WEIGHT_BITS 22

struct filter {
    double radius; /* in source pixels when enlarging */
    double (*at)(double x);
};

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys (1981), with a = -1/2. */
static double cubic(double x)
{
    static const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static const struct filter filters[] = {
    [RN_BILINEAR] = {1.0, triangle},
    [RN_BICUBIC] = {2.0, cubic},
};

/* The source pixels of one result pixel. */
struct taps {
    int first, n;
};

struct weights {
    int stride;        /* most taps of a pixel */
    struct taps *taps; /* [axis.n] */
    int32_t *fixed;    /* [axis.n][stride] */
};

static void weights_done(struct weights *w)
{
    free(w->taps);
    free(w->fixed);
}

static int32_t to_fixed(double weight)
{
    double scaled = weight * (1 << WEIGHT_BITS);
    return (int32_t)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
}

/* The weights of result pixel `i`; scratch holds `stride` values. */
static struct taps weigh(const struct resample_axis *axis, const struct filter *filter, int i,
                         double *scratch, int32_t *fixed)
{
    double scale = axis->length / axis->to;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double radius = filter->radius * stretch;
    double centre = axis->begin + (i + 0.5) * scale;
    double step = 1.0 / stretch;

    int first = (int)(centre - radius + 0.5);
    first = first < 0 ? 0 : first;
    int end = (int)(centre + radius + 0.5);
    end = end > axis->from ? axis->from : end;

    double sum = 0.0;
    for (int k = 0; k < end - first; k++) {
        scratch[k] = filter->at((k + first - centre + 0.5) * step);
        sum += scratch[k];
    }
    for (int k = 0; k < end - first; k++)
        fixed[k] = to_fixed(sum != 0.0 ? scratch[k] / sum : scratch[k]);
    return (struct taps){first, end - first};
}

/* End with weights_done(), also after a failure. */
static enum rn_status weights_init(struct weights *w, const struct resample_axis *axis,
                                   const struct filter *filter)
{
    double scale = axis->length / axis->to;
    *w = (struct weights){
        .stride = (int)ceil(filter->radius * (scale < 1.0 ? 1.0 : scale)) * 2 + 1,
    };
    size_t n = (size_t)axis->n, stride = (size_t)w->stride, total;
    double *scratch = NULL;
    if (size_mul(n, stride, &total) || !(w->taps = calloc(n, sizeof *w->taps)) ||
        !(w->fixed = calloc(total, sizeof *w->fixed)) ||
        !(scratch = calloc(stride, sizeof *scratch)))
        return RN_NO_MEMORY;
    for (int i = 0; i < axis->n; i++)
        w->taps[i] = weigh(axis, filter, axis->first + i, scratch, w->fixed + (size_t)i * stride);
    free(scratch);
    return RN_OK;
}

static uint8_t to_pixel(int32_t sum)
{
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* One result pixel: taps are `stride` bytes apart. */
static void filter_pixel(const uint8_t *p, size_t stride, const int32_t *weights, int n,
                         uint8_t *out)
{
    int32_t r = 1 << (WEIGHT_BITS - 1), g = r, b = r;
    for (int k = 0; k < n; k++, p += stride) {
        r += weights[k] * p[0];
        g += weights[k] * p[1];
        b += weights[k] * p[2];
    }
    out[0] = to_pixel(r);
    out[1] = to_pixel(g);
    out[2] = to_pixel(b);
}

/* Rows `first` … `first + n` of the source, narrowed: out is [n][x->n][3]. */
static void pass_rows(const uint8_t *rgb, const struct resample_axis *x, const struct weights *w,
                      struct taps rows, uint8_t *out)
{
    for (int y = 0; y < rows.n; y++) {
        const uint8_t *row = rgb + 3 * (size_t)(rows.first + y) * (size_t)x->from;
        for (int i = 0; i < x->n; i++, out += 3)
            filter_pixel(row + 3 * (size_t)w->taps[i].first, 3,
                         w->fixed + (size_t)i * (size_t)w->stride, w->taps[i].n, out);
    }
}

/* narrow: [rows][width][3], its first row being source row `first`; out: [y->n][width][3]. */
static void pass_columns(const uint8_t *narrow, size_t width, int first,
                         const struct resample_axis *y, const struct weights *w, uint8_t *out)
{
    size_t stride = 3 * width;
    for (int i = 0; i < y->n; i++) {
        const uint8_t *top = narrow + (size_t)(w->taps[i].first - first) * stride;
        for (size_t x = 0; x < width; x++, out += 3)
            filter_pixel(top + 3 * x, stride, w->fixed + (size_t)i * (size_t)w->stride,
                         w->taps[i].n, out);
    }
}

enum rn_status resample(const uint8_t *rgb, const struct resample_axis *x,
                        const struct resample_axis *y, enum rn_interpolation interpolation,
                        uint8_t *out, struct rn_error *err)
{
    const struct filter *filter = &filters[interpolation];
    struct weights across = {0}, down = {0};
    uint8_t *narrow = NULL;
    enum rn_status status = RN_NO_MEMORY;
    if (weights_init(&across, x, filter) || weights_init(&down, y, filter))
        goto done;

    struct taps last = down.taps[y->n - 1];
    struct taps rows = {down.taps[0].first, last.first + last.n - down.taps[0].first};
    size_t bytes;
    if (size_mul((size_t)rows.n, 3 * (size_t)x->n, &bytes) || !(narrow = malloc(bytes)))
        goto done;
    pass_rows(rgb, x, &across, rows, narrow);
    pass_columns(narrow, (size_t)x->n, rows.first, y, &down, out);
    status = RN_OK;

done:
    free(narrow);
    weights_done(&across);
    weights_done(&down);
    if (status)
        return rn_fail(err, status, "no memory to resize %d×%d pixels", x->from, y->from);
    return RN_OK;
}
