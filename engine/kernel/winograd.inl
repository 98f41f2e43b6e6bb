/* Winograd's minimal filtering (Lavin & Gray 2015, arXiv:1509.09308), written once over a simd/
 * vocabulary: the transforms of input and product tiles, and the matrix products between them. The
 * includer defines CONV_ROWS and includes conv.inl first.
 *
 * F(m×m, r×r) computes m×m outputs from a tile of side×side inputs, side = m + r - 1, by side²
 * multiplications per pair of channels: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A. A side of 4 interpolates at
 * 0, ±1, ∞, one of 6 at 0, ±1, ±2, ∞, and one of 7, the stem's F(4×4, 4×4), at -1/2, too.
 *
 * A 3×3 kernel at stride 2 meets, in one dimension, every other input with its middle tap only, and
 * the inputs between them with the outer two. So three outputs are those of F(3, 2) over four
 * inputs plus the middle tap's, of three more: seven products instead of nine.
 *
 * SPDX-License-Identifier: MIT */

/* a * s + b */
SIMD vec vec_axpy(vec a, float s, vec b)
{
    return vec_fma(a, vec_set1(s), b);
}

/* One dimension of Bᵀ d: in and out are `step` vectors apart. */
SIMD void filter_in_6(const vec *d, vec *out, int step)
{
    vec even = vec_axpy(d[2 * step], -4.0f, d[4 * step]); /* d4 - 4 d2 */
    vec odd = vec_axpy(d[step], -4.0f, d[3 * step]);      /* d3 - 4 d1 */
    vec even2 = vec_sub(d[4 * step], d[2 * step]);
    vec odd2 = vec_sub(d[3 * step], d[step]);
    vec last = vec_axpy(d[3 * step], -5.0f, d[5 * step]);
    out[0] = vec_axpy(d[0], 4.0f, vec_axpy(d[2 * step], -5.0f, d[4 * step]));
    out[5 * step] = vec_axpy(d[step], 4.0f, last);
    out[step] = vec_add(even, odd);
    out[2 * step] = vec_sub(even, odd);
    out[3 * step] = vec_axpy(odd2, 2.0f, even2);
    out[4 * step] = vec_axpy(odd2, -2.0f, even2);
}

/* Bᵀ d for the points of side 6 and -1/2. All rows but that point's have the factor 2x + 1 in their
 * polynomials: they are the rows of side 6 over d[i] + 2 d[i + 1]. */
SIMD void filter_in_7(const vec *d, vec *out, int step)
{
    vec e[6], rows[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++)
        e[i] = vec_axpy(d[(i + 1) * step], 2.0f, d[i * step]);
    filter_in_6(e, rows, 1);
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++)
        out[i * step] = rows[i];
    out[5 * step] = vec_axpy(d[step], 4.0f, vec_axpy(d[3 * step], -5.0f, d[5 * step]));
    out[6 * step] = rows[5];
}

SIMD void filter_in_4(const vec *d, int in_step, vec *out, int step)
{
    vec first = vec_sub(d[0], d[2 * in_step]), last = vec_sub(d[3 * in_step], d[in_step]);
    vec sum = vec_add(d[in_step], d[2 * in_step]), dif = vec_sub(d[2 * in_step], d[in_step]);
    out[0] = first;
    out[step] = sum;
    out[2 * step] = dif;
    out[3 * step] = last;
}

/* One dimension of Aᵀ m. */
SIMD void filter_out_6(const vec *m, vec *out, int step)
{
    vec sum1 = vec_add(m[step], m[2 * step]), dif1 = vec_sub(m[step], m[2 * step]);
    vec sum2 = vec_add(m[3 * step], m[4 * step]), dif2 = vec_sub(m[3 * step], m[4 * step]);
    out[0] = vec_add(vec_add(m[0], sum1), sum2);
    out[step] = vec_axpy(dif2, 2.0f, dif1);
    out[2 * step] = vec_axpy(sum2, 4.0f, sum1);
    out[3 * step] = vec_add(vec_axpy(dif2, 8.0f, dif1), m[5 * step]);
}

SIMD void filter_out_7(const vec *m, vec *out, int step)
{
    vec sum1 = vec_add(m[step], m[2 * step]), dif1 = vec_sub(m[step], m[2 * step]);
    vec sum2 = vec_add(m[3 * step], m[4 * step]), dif2 = vec_sub(m[3 * step], m[4 * step]);
    vec half = m[5 * step];
    out[0] = vec_add(vec_add(vec_add(m[0], half), sum1), sum2);
    out[step] = vec_axpy(half, -0.5f, vec_axpy(dif2, 2.0f, dif1));
    out[2 * step] = vec_axpy(half, 0.25f, vec_axpy(sum2, 4.0f, sum1));
    out[3 * step] = vec_axpy(half, -0.125f, vec_add(vec_axpy(dif2, 8.0f, dif1), m[6 * step]));
}

SIMD void filter_out_4(const vec *m, vec *out, int step)
{
    out[0] = vec_add(vec_add(m[0], m[step]), m[2 * step]);
    out[step] = vec_add(vec_sub(m[step], m[2 * step]), m[3 * step]);
}

/* First the values that the outer taps are multiplied with, then those of the middle one. */
SIMD void filter_in_strided(const vec *d, vec *out, int step)
{
    filter_in_4(d, 2 * step, out, step);
    for (int i = 0; i < 3; i++)
        out[(4 + i) * step] = d[(2 * i + 1) * step];
}

SIMD void filter_out_strided(const vec *m, vec *out, int step)
{
    vec sum = vec_add(m[step], m[2 * step]), dif = vec_sub(m[step], m[2 * step]);
    out[0] = vec_add(vec_add(m[0], sum), m[4 * step]);
    out[step] = vec_add(dif, m[5 * step]);
    out[2 * step] = vec_add(vec_add(sum, m[3 * step]), m[6 * step]);
}

#define MAX_SIDE 7
#define MAX_OUTPUTS 4 /* m */

SIMD int side_of(enum winograd_kind kind)
{
    return kind == WINOGRAD_2 ? 4 : kind == WINOGRAD_4 ? 6 : 7;
}

SIMD int outputs_of(enum winograd_kind kind)
{
    return kind == WINOGRAD_2 ? 2 : kind == WINOGRAD_STRIDED ? 3 : 4;
}

SIMD void filter_in(const vec *d, vec *out, int step, enum winograd_kind kind)
{
    if (kind == WINOGRAD_2)
        filter_in_4(d, step, out, step);
    else if (kind == WINOGRAD_4)
        filter_in_6(d, out, step);
    else
        filter_in_strided(d, out, step);
}

SIMD void filter_out(const vec *m, vec *out, int step, enum winograd_kind kind)
{
    if (kind == WINOGRAD_2)
        filter_out_4(m, out, step);
    else if (kind == WINOGRAD_4)
        filter_out_6(m, out, step);
    else if (kind == WINOGRAD_STRIDED)
        filter_out_strided(m, out, step);
    else
        filter_out_7(m, out, step);
}

/* The two dimensions, fully unrolled: `kind` is a constant where these are called. */
SIMD void transform_in(const struct winograd_in *t, enum winograd_kind kind)
{
    const int side = side_of(kind);
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
        vec d[MAX_SIDE * MAX_SIDE], columns[MAX_SIDE * MAX_SIDE];
#pragma GCC unroll 7
        for (int x = 0; x < side; x++) {
#pragma GCC unroll 7
            for (int y = 0; y < side; y++)
                d[y * side + x] = vec_load(t->in[y * side + x] + t->in_offset + v);
            filter_in(d + x, columns + x, side, kind);
        }
#pragma GCC unroll 7
        for (int y = 0; y < side; y++) {
            vec row[MAX_SIDE];
            filter_in(columns + y * side, row, 1, kind);
#pragma GCC unroll 7
            for (int x = 0; x < side; x++)
                vec_store(t->out + (size_t)(y * side + x) * t->out_stride + v, row[x]);
        }
    }
}

/* The rows of outputs from the transformed columns: act(row + bias + residual). */
SIMD void store_outputs(const struct winograd_out *t, const vec *columns, int v,
                        enum winograd_kind kind, int width, bool residual, bool relu)
{
    const int side = side_of(kind);
    const vec bias = vec_load(t->bias + v);
    for (int y = 0; y < t->rows; y++) {
        vec row[MAX_OUTPUTS];
        filter_out(columns + y * side, row, 1, kind);
#pragma GCC unroll 4
        for (int x = 0; x < width; x++) {
            const size_t at = (size_t)y * t->row_stride + (size_t)(x * CHANNEL_BLOCK + v);
            vec value = vec_add(row[x], bias);
            if (residual)
                value = vec_add(value, vec_load(t->residual + at));
            if (relu)
                value = vec_max(value, vec_set1(0.0f));
            vec_store(t->out + at, value);
        }
    }
}

/* The first dimension of Aᵀ m A. */
SIMD void columns_out(const float *in, size_t stride, vec *columns, enum winograd_kind kind)
{
    const int side = side_of(kind);
    vec p[MAX_SIDE * MAX_SIDE];
#pragma GCC unroll 7
    for (int x = 0; x < side; x++) {
#pragma GCC unroll 7
        for (int y = 0; y < side; y++)
            p[y * side + x] = vec_load(in + (size_t)(y * side + x) * stride);
        filter_out(p + x, columns + x, side, kind);
    }
}

SIMD void transform_out(const struct winograd_out *t, enum winograd_kind kind)
{
    const int m = outputs_of(kind);
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
        vec columns[MAX_OUTPUTS * MAX_SIDE];
        columns_out(t->in + v, t->in_stride, columns, kind);
        if (t->columns < m)
            store_outputs(t, columns, v, kind, t->columns, t->residual, t->relu);
        else if (t->residual)
            store_outputs(t, columns, v, kind, m, true, t->relu);
        else if (t->relu)
            store_outputs(t, columns, v, kind, m, false, true);
        else
            store_outputs(t, columns, v, kind, m, false, false);
    }
}

#define WINOGRAD_IN_OF(name, kind)                                                                 \
    static void winograd_in_##name(const struct winograd_in *t)                                    \
    {                                                                                              \
        transform_in(t, kind);                                                                     \
    }
#define WINOGRAD_OUT_OF(name, kind)                                                                \
    static void winograd_out_##name(const struct winograd_out *t)                                  \
    {                                                                                              \
        transform_out(t, kind);                                                                    \
    }
WINOGRAD_IN_OF(2, WINOGRAD_2)
WINOGRAD_IN_OF(4, WINOGRAD_4)
WINOGRAD_IN_OF(strided, WINOGRAD_STRIDED)
WINOGRAD_OUT_OF(2, WINOGRAD_2)
WINOGRAD_OUT_OF(4, WINOGRAD_4)
WINOGRAD_OUT_OF(strided, WINOGRAD_STRIDED)
WINOGRAD_OUT_OF(stem, WINOGRAD_STEM)

/* For the table of kernels. */
#define WINOGRAD_IN                                                                                \
    {                                                                                              \
        [WINOGRAD_2] = winograd_in_2, [WINOGRAD_4] = winograd_in_4,                                \
        [WINOGRAD_STRIDED] = winograd_in_strided                                                   \
    }
#define WINOGRAD_OUT                                                                               \
    {                                                                                              \
        [WINOGRAD_2] = winograd_out_2, [WINOGRAD_4] = winograd_out_4,                              \
        [WINOGRAD_STRIDED] = winograd_out_strided, [WINOGRAD_STEM] = winograd_out_stem             \
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
                 : t->relu               ? vec_max(value, vec_set1(0.0f))
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
        vec_store(out + CHANNEL_BLOCK, more ? vec_max(right, vec_load(out + CHANNEL_BLOCK)) : right);
}

SIMD void pool_tile(const struct winograd_pool *t, int tile, int v, int rows, int width, vec *edge)
{
    vec columns[28], a[4], b[4], m[4];
    const vec bias = vec_load(t->bias + v);
    float *out[3];
    for (int i = 0; i < 3; i++)
        out[i] = t->out[i] ? t->out[i] + 2 * tile * CHANNEL_BLOCK + v : NULL;
    columns_out(t->in + tile * CHANNEL_BLOCK + v, t->in_stride, columns, WINOGRAD_STEM);
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
            edge[i] = t->left ? vec_set1(-__builtin_inff())
                              : vec_load(t->edge + i * CHANNEL_BLOCK + v);
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

/* The rest of the depth, GEMM_STEP by GEMM_STEP: acc[r][v] += in[r][step * i] * b[i][v]. */
SIMD void gemm_tail(vec (*acc)[TILE_VECS], const float **in, const float *b, size_t b_block,
                    int rows, int n_out, int depth, int step)
{
    for (int i = 0; i < depth; i += GEMM_STEP) {
        tile_block(acc, in, b, b_block, rows, n_out, GEMM_STEP, step);
        b += GEMM_STEP * CHANNEL_BLOCK;
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            in[r] += step * GEMM_STEP;
    }
}

/* `rows` rows of `n_out` blocks of the product: c[r] = Σ_i a[r][i] * b[i]. Meanwhile `n_fetch`
 * lines from `fetch` on for each block of channels. */
SIMD void gemm_rows(const struct gemm *g, const float *a, const float *b, float *c, int rows,
                    int n_out, const float *fetch, int n_fetch)
{
    vec acc[CONV_ROWS][TILE_VECS];
    const float *in[CONV_ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        in[r] = a + (size_t)r * g->a_stride;
#pragma GCC unroll 4
        for (int v = 0; v < n_out * BLOCK_VECS; v++)
            acc[r][v] = vec_set1(0.0f);
    }
    const size_t b_block = (size_t)g->depth * CHANNEL_BLOCK;
    int i = 0;
    for (; i + CHANNEL_BLOCK <= g->depth; i += CHANNEL_BLOCK) {
        for (int line = 0; line < n_fetch; line++, fetch += CHANNEL_BLOCK)
            __builtin_prefetch(fetch, 0, 2);
        tile_block(acc, in, b, b_block, rows, n_out, CHANNEL_BLOCK, 1);
        b += CHANNEL_BLOCK * CHANNEL_BLOCK;
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            in[r] += CHANNEL_BLOCK;
    }
    if (g->even)
        gemm_tail(acc, in, b, b_block, rows, n_out, g->depth - i, 2);
    else if (g->depth - i == 4 * GEMM_STEP) /* most of the stem's */
        tile_block(acc, in, b, b_block, rows, n_out, 4 * GEMM_STEP, 1);
    else
        gemm_tail(acc, in, b, b_block, rows, n_out, g->depth - i, 1);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < n_out * BLOCK_VECS; v++)
            vec_store(c + (size_t)r * g->c_stride + VEC_AT(v, g->c_block), acc[r][v]);
}

#define GEMM_ROWS(n)                                                                               \
    case n:                                                                                        \
        gemm_rows(g, a, b, c, n, n_out, fetch, n_fetch);                                               \
        break;

/* All rows of `n_out` blocks from `block` on. Rows are spread evenly over as few tiles as there can
 * be, since small tiles are slow; each fetches its share of the blocks that come next. */
SIMD void gemm_blocks(const struct gemm *g, int block, int n_out)
{
    const size_t b_block = (size_t)g->depth * CHANNEL_BLOCK;
    const float *b = g->b + (size_t)block * b_block;
    const float *fetch = block + n_out < g->n_out ? b + (size_t)n_out * b_block : g->next;
    const int tiles = (g->rows + CONV_ROWS - 1) / CONV_ROWS;
    const int n_fetch = (n_out * CHANNEL_BLOCK - 1) / tiles + 1;
    const int least = g->rows / tiles, n_least = tiles - g->rows % tiles;
    for (int tile = 0, row = 0; tile < tiles; tile++) {
        const int rows = least + (tile >= n_least);
        const float *a = g->a + (size_t)row * g->a_stride;
        float *c = g->c + (size_t)row * g->c_stride + (size_t)block * g->c_block;
        switch (rows) {
            GEMM_ROWS(1)
            GEMM_ROWS(2)
#if CONV_ROWS > 2
            GEMM_ROWS(3)
            GEMM_ROWS(4)
            GEMM_ROWS(5)
            GEMM_ROWS(6)
#endif
#if CONV_ROWS > 6
            GEMM_ROWS(7)
            GEMM_ROWS(8)
            GEMM_ROWS(9)
            GEMM_ROWS(10)
#endif
        }
        row += rows;
        fetch += (size_t)(g->depth * n_fetch);
    }
}

static void gemm(const struct gemm *task)
{
    const struct gemm own = *task, *g = &own; /* which no store can change */
    int block = 0;
#if CONV_BLOCKS > 1
    for (; block + 2 <= g->n_out; block += 2)
        gemm_blocks(g, block, 2);
#endif
    for (; block < g->n_out; block++)
        gemm_blocks(g, block, 1);
}
