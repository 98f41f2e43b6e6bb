/* Winograd's minimal filtering (Lavin & Gray 2015, arXiv:1509.09308), written once over a simd/
 * vocabulary: the transforms of input and product tiles, in two dimensions, and those of the stem
 * by the row. winograd_filters.inl has one dimension of them, gemm.inl the products in between.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/kernel/winograd_filters.inl"

#define MAX_SIDE 9
#define MAX_OUTPUTS 6 /* m */

SIMD int outputs_of(enum winograd_kind kind)
{
    return kind == WINOGRAD_2 || kind == WINOGRAD_STRIDED_2 ? 2 : kind == WINOGRAD_6 ? 6 : 4;
}

/* Products, and inputs, of a tile of so many outputs, in one dimension. */
SIMD int products_of(enum winograd_kind kind, int outputs)
{
    return kind == WINOGRAD_STEM                                      ? 7
           : kind == WINOGRAD_STRIDED_2 || kind == WINOGRAD_STRIDED_4 ? 2 * outputs + 1
                                                                      : outputs + 2;
}

/* One dimension of a tile with `n` inputs; at stride 2 the middle tap's follow the others', and
 * what a short tile lacks comes last. */
SIMD void filter_in(const vec *d, vec *out, int step, enum winograd_kind kind, int n)
{
    if (kind == WINOGRAD_2 && n == 4) {
        filter_in_4(d, 1, out, step);
    } else if (kind == WINOGRAD_2) {
        filter_in_3(d, 1, out, step);
    } else if (kind == WINOGRAD_4 && n == 6) {
        filter_in_6(d, out, step);
    } else if (kind == WINOGRAD_4) {
        filter_in_5(d, 1, out, step);
    } else if (kind == WINOGRAD_6 && n == 8) {
        filter_in_8(d, out, step);
    } else if (kind == WINOGRAD_6) {
        filter_in_7(d, out, step);
    } else if (kind == WINOGRAD_STRIDED_2 && n == 5) {
        vec outer[3];
        filter_in_3(d, 2, outer, 1);
        out[0] = outer[0];
        out[step] = outer[1];
        out[2 * step] = d[1];
        out[3 * step] = outer[2];
        out[4 * step] = d[3];
    } else if (kind == WINOGRAD_STRIDED_2) {
        filter_in_2(d, 2, out, step);
        out[2 * step] = d[1];
    } else if (n == 9) {
        vec outer[5];
        filter_in_5(d, 2, outer, 1);
        for (int i = 0; i < 4; i++)
            out[i * step] = outer[i];
        for (int i = 0; i < 3; i++)
            out[(4 + i) * step] = d[2 * i + 1];
        out[7 * step] = outer[4];
        out[8 * step] = d[7];
    } else {
        filter_in_4(d, 2, out, step);
        for (int i = 0; i < 3; i++)
            out[(4 + i) * step] = d[2 * i + 1];
    }
}

/* One dimension of a tile of `n` products. */
SIMD void filter_out(const vec *m, vec *out, int step, enum winograd_kind kind, int n)
{
    if (kind == WINOGRAD_2)
        n == 4 ? filter_out_4(m, out, step) : filter_out_short_3(m, out);
    else if (kind == WINOGRAD_4)
        n == 6 ? filter_out_6(m, out, step) : filter_out_short_5(m, out, step);
    else if (kind == WINOGRAD_6)
        n == 8 ? filter_out_8(m, out, step) : filter_out_short_7(m, out, step);
    else if (kind == WINOGRAD_STRIDED_2)
        n == 5 ? filter_out_strided_5(m, out, step) : filter_out_strided_short_3(m, out);
    else if (kind == WINOGRAD_STRIDED_4)
        n == 9 ? filter_out_strided_9(m, out, step) : filter_out_strided_short_7(m, out, step);
    else
        filter_out_7(m, out, step);
}

/* Loops over the lines of a tile are unrolled if that gives no more code than the CPU's caches of
 * decoded instructions hold. */
#define UNROLLED_SIDE 7
#define EACH_LINE(i, n, side, statement)                                                           \
    if (side <= UNROLLED_SIDE) {                                                                   \
        _Pragma("GCC unroll 7") for (int i = 0; i < n; i++) statement;                             \
    } else {                                                                                       \
        _Pragma("GCC unroll 1") for (int i = 0; i < n; i++) statement;                             \
    }

/* Column x of the inputs, channels from v on, to column x of `half`. */
SIMD void column_in(const struct winograd_in *t, enum winograd_kind kind, int x, int v, int height,
                    int width, vec *half)
{
    vec d[MAX_SIDE];
#pragma GCC unroll 9
    for (int y = 0; y < height; y++)
        d[y] = vec_load(t->in[y * width + x] + t->in_offset + v);
    filter_in(d, half + x, width, kind, height);
}

/* Row y of `half` to row y of the values. */
SIMD void row_in(const struct winograd_in *t, enum winograd_kind kind, int y, int v, int width,
                 const vec *half)
{
    const int m = outputs_of(kind), side = products_of(kind, m), few = products_of(kind, m - 1);
    float *const *parts = t->out + 2 * (y >= few);
    const size_t at = (size_t)(y * side) * t->out_stride + (size_t)v;
    vec row[MAX_SIDE];
    filter_in(half + y * width, row, 1, kind, width);
#pragma GCC unroll 9
    for (int x = 0; x < width; x++)
        vec_store(parts[x >= few] + at + (size_t)x * t->out_stride, row[x]);
}

/* The two dimensions: `kind`, rows and columns are constants where these are called. */
SIMD void transform_in(const struct winograd_in *task, enum winograd_kind kind, int rows,
                       int columns)
{
    const struct winograd_in own = *task, *t = &own; /* which no store can change */
    const int side = products_of(kind, outputs_of(kind));
    const int height = products_of(kind, rows), width = products_of(kind, columns);
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
        vec half[MAX_SIDE * MAX_SIDE];
        EACH_LINE(x, width, side, column_in(t, kind, x, v, height, width, half))
        EACH_LINE(y, height, side, row_in(t, kind, y, v, width, half))
    }
}

/* Row y of outputs from the transformed columns: act(row + bias + residual). */
SIMD void row_out(const struct winograd_out *t, const vec *half, int y, int v,
                  enum winograd_kind kind, int products, int columns, bool residual, bool relu)
{
    const vec bias = vec_load(t->bias + v);
    vec row[MAX_OUTPUTS];
    filter_out(half + y * products, row, 1, kind, products);
#pragma GCC unroll 6
    for (int x = 0; x < outputs_of(kind); x++) {
        if (x >= columns)
            break;
        const size_t at = (size_t)y * t->row_stride + (size_t)(x * CHANNEL_BLOCK + v);
        vec value = vec_add(row[x], bias);
        if (residual)
            value = vec_add(value, vec_load(t->residual + at));
        if (relu)
            value = vec_relu(value);
        vec_store(t->out + at, value);
    }
}

SIMD void store_outputs(const struct winograd_out *t, const vec *half, int v,
                        enum winograd_kind kind, int products, int rows, int columns, bool residual,
                        bool relu)
{
    const int side = products_of(kind, outputs_of(kind));
    EACH_LINE(y, rows, side, row_out(t, half, y, v, kind, products, columns, residual, relu))
}

/* Column x of a tile of products, to column x of `half`. */
SIMD void column_out(const float *const *in, size_t stride, enum winograd_kind kind, int x,
                     int height, int width, vec *half)
{
    const int m = outputs_of(kind), side = products_of(kind, m), few = products_of(kind, m - 1);
    const float *const *parts = in + (x >= few);
    vec p[MAX_SIDE];
#pragma GCC unroll 9
    for (int y = 0; y < height; y++)
        p[y] = vec_load(parts[2 * (y >= few)] + (size_t)(y * side + x) * stride);
    filter_out(p, half + x, width, kind, height);
}

/* The first dimension of Aᵀ m A: `height` by `width` products, to columns of outputs. */
SIMD void columns_out(const float *const *in, size_t stride, vec *half, enum winograd_kind kind,
                      int height, int width)
{
    const int side = products_of(kind, outputs_of(kind));
    EACH_LINE(x, width, side, column_out(in, stride, kind, x, height, width, half))
}

/* A tile that was transformed with so many rows and columns of outputs, not all of which need be
 * stored. */
SIMD void transform_out(const struct winograd_out *task, enum winograd_kind kind, int rows,
                        int columns)
{
    const struct winograd_out own = *task, *t = &own; /* which no store can change */
    const int height = products_of(kind, rows), width = products_of(kind, columns);
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
        const float *in[4];
        for (int i = 0; i < 4; i++)
            in[i] = t->in[i] + v;
        vec half[MAX_OUTPUTS * MAX_SIDE];
        columns_out(in, t->in_stride, half, kind, height, width);
        if (kind == WINOGRAD_STEM)
            store_outputs(t, half, v, kind, width, t->rows, t->columns, t->residual, t->relu);
        else if (t->residual)
            store_outputs(t, half, v, kind, width, rows, columns, true, t->relu);
        else if (t->relu)
            store_outputs(t, half, v, kind, width, rows, columns, false, true);
        else
            store_outputs(t, half, v, kind, width, rows, columns, false, false);
    }
}

/* F(m×m) of either stride, and of m - 1 in either dimension. */
#define WINOGRAD_OF(name, kind, m)                                                                 \
    static void winograd_in_##name(const struct winograd_in *t)                                    \
    {                                                                                              \
        if (t->rows == m)                                                                          \
            t->columns == m ? transform_in(t, kind, m, m) : transform_in(t, kind, m, m - 1);       \
        else                                                                                       \
            t->columns == m ? transform_in(t, kind, m - 1, m)                                      \
                            : transform_in(t, kind, m - 1, m - 1);                                 \
    }                                                                                              \
    static void winograd_out_##name(const struct winograd_out *t)                                  \
    {                                                                                              \
        if (t->rows == m)                                                                          \
            t->columns == m ? transform_out(t, kind, m, m) : transform_out(t, kind, m, m - 1);     \
        else                                                                                       \
            t->columns == m ? transform_out(t, kind, m - 1, m)                                     \
                            : transform_out(t, kind, m - 1, m - 1);                                \
    }
WINOGRAD_OF(2, WINOGRAD_2, 2)
WINOGRAD_OF(4, WINOGRAD_4, 4)
WINOGRAD_OF(6, WINOGRAD_6, 6)
WINOGRAD_OF(strided_2, WINOGRAD_STRIDED_2, 2)
WINOGRAD_OF(strided_4, WINOGRAD_STRIDED_4, 4)

static void winograd_out_stem(const struct winograd_out *t)
{
    transform_out(t, WINOGRAD_STEM, 4, 4);
}

/* For the table of kernels. */
#define WINOGRAD_IN                                                                                \
    {                                                                                              \
        [WINOGRAD_2] = winograd_in_2, [WINOGRAD_4] = winograd_in_4, [WINOGRAD_6] = winograd_in_6,  \
        [WINOGRAD_STRIDED_2] = winograd_in_strided_2, [WINOGRAD_STRIDED_4] = winograd_in_strided_4 \
    }
#define WINOGRAD_OUT                                                                               \
    {                                                                                              \
        [WINOGRAD_2] = winograd_out_2, [WINOGRAD_4] = winograd_out_4,                              \
        [WINOGRAD_6] = winograd_out_6, [WINOGRAD_STRIDED_2] = winograd_out_strided_2,              \
        [WINOGRAD_STRIDED_4] = winograd_out_strided_4, [WINOGRAD_STEM] = winograd_out_stem         \
    }

static void winograd_in_stem(const struct winograd_row *t)
{
    const int step = 7 * CHANNEL_BLOCK; /* from column to column */
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS)
        for (int x = 0; x < 4 * t->n + 3; x++) {
            vec d[7], column[7];
#pragma GCC unroll 7
            for (int y = 0; y < 7; y++)
                d[y] = vec_load(t->rows[y] + x * CHANNEL_BLOCK + v);
            filter_in_7(d, column, 1);
#pragma GCC unroll 7
            for (int y = 0; y < 7; y++)
                vec_store(t->columns + x * step + y * CHANNEL_BLOCK + v, column[y]);
        }
    for (int tile = 0; tile < t->n; tile++)
        for (int y = 0; y < 7; y++)
            for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
                const float *from = t->columns + 4 * tile * step + y * CHANNEL_BLOCK + v;
                float *to = t->out + (size_t)tile * t->out_row + (size_t)(7 * y) * t->out_plane + v;
                vec d[7], row[7];
#pragma GCC unroll 7
                for (int x = 0; x < 7; x++)
                    d[x] = vec_load(from + x * step);
                filter_in_7(d, row, 1);
#pragma GCC unroll 7
                for (int x = 0; x < 7; x++)
                    vec_store(to + (size_t)x * t->out_plane, row[x]);
            }
}

/* Row y of a tile's outputs, -∞ where it is outside. */
SIMD void pool_values(const struct winograd_pool *t, const vec *columns, int y, int rows, int width,
                      vec bias, vec *out)
{
    vec row[4];
    filter_out_7(columns + 7 * y, row, 1);
#pragma GCC unroll 4
    for (int x = 0; x < 4; x++) {
        const vec value = vec_add(row[x], bias);
        out[x] = y >= rows || x >= width ? vec_set1(-__builtin_inff())
                 : t->relu               ? vec_relu(value)
                                         : value;
    }
}

/* Four columns of maxima into two windows and a part of the next. */
SIMD void pool_row(const vec *m, vec *edge, float *out, int width, bool more)
{
    vec left = vec_max(*edge, vec_max(m[0], m[1]));
    vec right = vec_max(m[1], vec_max(m[2], m[3]));
    *edge = m[3];
    if (!out)
        return;
    vec_store(out, more ? vec_max(left, vec_load(out)) : left);
    if (width > 2)
        vec_store(out + CHANNEL_BLOCK,
                  more ? vec_max(right, vec_load(out + CHANNEL_BLOCK)) : right);
}

SIMD void pool_tile(const struct winograd_pool *t, int tile, int v, int rows, int width, vec *edge)
{
    vec columns[28], a[4], b[4], m[4];
    const vec bias = vec_load(t->bias + v);
    float *out[3];
    for (int i = 0; i < 3; i++)
        out[i] = t->out[i] ? t->out[i] + 2 * tile * CHANNEL_BLOCK + v : NULL;
    const float *const in[4] = {t->in + tile * CHANNEL_BLOCK + v}; /* none is short */
    columns_out(in, t->in_stride, columns, WINOGRAD_STEM, 7, 7);
    pool_values(t, columns, 0, rows, width, bias, a);
    pool_values(t, columns, 1, rows, width, bias, b);
#pragma GCC unroll 4
    for (int x = 0; x < 4; x++)
        m[x] = vec_max(a[x], b[x]);
    pool_row(m, &edge[0], out[0], width, t->more);
    pool_values(t, columns, 2, rows, width, bias, a);
#pragma GCC unroll 4
    for (int x = 0; x < 4; x++)
        m[x] = vec_max(a[x], b[x]);
    pool_values(t, columns, 3, rows, width, bias, a);
#pragma GCC unroll 4
    for (int x = 0; x < 4; x++)
        m[x] = vec_max(m[x], a[x]);
    pool_row(m, &edge[1], out[1], width, false);
    pool_row(a, &edge[2], out[2], width, false);
}

static void winograd_pool_stem(const struct winograd_pool *t)
{
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
        vec edge[3];
        for (int i = 0; i < 3; i++)
            edge[i] =
                t->left ? vec_set1(-__builtin_inff()) : vec_load(t->edge + i * CHANNEL_BLOCK + v);
        for (int tile = 0; tile < t->n; tile++) {
            const int width = t->columns - 4 * tile;
            if (t->rows == 4 && width >= 4)
                pool_tile(t, tile, v, 4, 4, edge);
            else
                pool_tile(t, tile, v, t->rows, width, edge);
        }
        for (int i = 0; i < 3; i++)
            vec_store(t->edge + i * CHANNEL_BLOCK + v, edge[i]);
    }
}
