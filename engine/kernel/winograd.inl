/* Winograd's minimal filtering for 3×3 kernels (Lavin & Gray 2015, arXiv:1509.09308), written once
 * over a simd/ vocabulary: the transforms of input and product tiles, and the matrix products
 * between them. The includer defines CONV_ROWS and includes conv.inl first.
 *
 * F(m×m, 3×3) computes m×m outputs from a tile of (m+2)×(m+2) inputs by (m+2)² multiplications per
 * pair of channels: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A. F(4) interpolates at 0, ±1, ±2, ∞ and F(2) at 0,
 * ±1, ∞.
 *
 * SPDX-License-Identifier: MIT */

SIMD vec vec_scale(vec a, float s)
{
    return vec_mul(a, vec_set1(s));
}

/* a * s + b */
SIMD vec vec_axpy(vec a, float s, vec b)
{
    return vec_fma(a, vec_set1(s), b);
}

/* One dimension of Bᵀ d: in and out are `step` vectors apart. */
SIMD void filter_in_4(const vec *d, vec *out, int step)
{
    vec even = vec_axpy(d[2 * step], -4.0f, d[4 * step]); /* d4 - 4 d2 */
    vec odd = vec_axpy(d[step], -4.0f, d[3 * step]);      /* d3 - 4 d1 */
    vec even2 = vec_axpy(d[2 * step], -1.0f, d[4 * step]);
    vec odd2 = vec_scale(vec_axpy(d[step], -1.0f, d[3 * step]), 2.0f);
    out[0] = vec_axpy(d[0], 4.0f, vec_axpy(d[2 * step], -5.0f, d[4 * step]));
    out[step] = vec_add(even, odd);
    out[2 * step] = vec_axpy(odd, -1.0f, even);
    out[3 * step] = vec_add(even2, odd2);
    out[4 * step] = vec_axpy(odd2, -1.0f, even2);
    out[5 * step] = vec_axpy(d[step], 4.0f, vec_axpy(d[3 * step], -5.0f, d[5 * step]));
}

SIMD void filter_in_2(const vec *d, vec *out, int step)
{
    out[0] = vec_axpy(d[2 * step], -1.0f, d[0]);
    out[step] = vec_add(d[step], d[2 * step]);
    out[2 * step] = vec_axpy(d[step], -1.0f, d[2 * step]);
    out[3 * step] = vec_axpy(d[step], -1.0f, d[3 * step]);
}

/* One dimension of Aᵀ m. */
SIMD void filter_out_4(const vec *m, vec *out, int step)
{
    vec sum1 = vec_add(m[step], m[2 * step]), dif1 = vec_axpy(m[2 * step], -1.0f, m[step]);
    vec sum2 = vec_add(m[3 * step], m[4 * step]), dif2 = vec_axpy(m[4 * step], -1.0f, m[3 * step]);
    out[0] = vec_add(vec_add(m[0], sum1), sum2);
    out[step] = vec_axpy(dif2, 2.0f, dif1);
    out[2 * step] = vec_axpy(sum2, 4.0f, sum1);
    out[3 * step] = vec_add(vec_axpy(dif2, 8.0f, dif1), m[5 * step]);
}

SIMD void filter_out_2(const vec *m, vec *out, int step)
{
    out[0] = vec_add(vec_add(m[0], m[step]), m[2 * step]);
    out[step] = vec_add(vec_axpy(m[2 * step], -1.0f, m[step]), m[3 * step]);
}

#define WINOGRAD_IN(m)                                                                             \
    static void winograd_in_##m(const struct winograd_in *t)                                       \
    {                                                                                              \
        enum { SIDE = (m) + 2 };                                                                   \
        for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {                                      \
            vec d[SIDE * SIDE], columns[SIDE * SIDE];                                              \
            for (int x = 0; x < SIDE; x++) {                                                       \
                for (int y = 0; y < SIDE; y++)                                                     \
                    d[y * SIDE + x] = vec_load(t->in[y * SIDE + x] + t->in_offset + v);            \
                filter_in_##m(d + x, columns + x, SIDE);                                           \
            }                                                                                      \
            for (int y = 0; y < SIDE; y++) {                                                       \
                vec row[SIDE];                                                                     \
                filter_in_##m(columns + y * SIDE, row, 1);                                         \
                for (int x = 0; x < SIDE; x++)                                                     \
                    vec_store(t->out + (size_t)(y * SIDE + x) * t->out_stride + v, row[x]);        \
            }                                                                                      \
        }                                                                                          \
    }

#define WINOGRAD_OUT(m)                                                                            \
    static void winograd_out_##m(const struct winograd_out *t)                                     \
    {                                                                                              \
        enum { SIDE = (m) + 2 };                                                                   \
        for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {                                      \
            vec p[SIDE * SIDE], columns[(m) * SIDE], bias = vec_load(t->bias + v);                 \
            for (int x = 0; x < SIDE; x++) {                                                       \
                for (int y = 0; y < SIDE; y++)                                                     \
                    p[y * SIDE + x] = vec_load(t->in + (size_t)(y * SIDE + x) * t->in_stride + v); \
                filter_out_##m(p + x, columns + x, SIDE);                                          \
            }                                                                                      \
            for (int y = 0; y < t->rows; y++) {                                                    \
                vec row[m];                                                                        \
                filter_out_##m(columns + y * SIDE, row, 1);                                        \
                for (int x = 0; x < t->columns; x++) {                                             \
                    size_t at = (size_t)y * t->row_stride + (size_t)(x * CHANNEL_BLOCK + v);       \
                    vec value = vec_add(row[x], bias);                                             \
                    if (t->residual)                                                               \
                        value = vec_add(value, vec_load(t->residual + at));                        \
                    if (t->relu)                                                                   \
                        value = vec_max(value, vec_set1(0.0f));                                    \
                    vec_store(t->out + at, value);                                                 \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

WINOGRAD_IN(2)
WINOGRAD_IN(4)
WINOGRAD_OUT(2)
WINOGRAD_OUT(4)

/* `rows` rows of the product: c[r] = Σ_i a[r][i] * b[i]. */
SIMD void gemm_rows(const struct gemm *g, const float *a, float *c, int rows, bool fetch)
{
    vec acc[CONV_ROWS][BLOCK_VECS];
    const float *in[CONV_ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        in[r] = a + (size_t)r * g->a_stride;
#pragma GCC unroll 4
        for (int v = 0; v < BLOCK_VECS; v++)
            acc[r][v] = vec_set1(0.0f);
    }
    const float *b = g->b;
    const ptrdiff_t distance = g->next - g->b;
    for (int i = 0; i < g->depth; i += CHANNEL_BLOCK) {
        if (fetch)
#pragma GCC unroll 16
            for (int line = 0; line < CHANNEL_BLOCK; line++)
                __builtin_prefetch(b + distance + line * CHANNEL_BLOCK, 0, 2);
        tile_block(acc, in, b, rows, CHANNEL_BLOCK);
        b += CHANNEL_BLOCK * CHANNEL_BLOCK;
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            in[r] += CHANNEL_BLOCK;
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < BLOCK_VECS; v++)
            vec_store(c + (size_t)r * g->c_stride + v * VEC_FLOATS, acc[r][v]);
}

#define GEMM_ROWS(n)                                                                               \
    case n:                                                                                        \
        gemm_rows(g, a, c, n, tile == 0);                                                                     \
        break;

/* Rows are spread evenly over as few tiles as there can be, since small tiles are slow. */
static void gemm(const struct gemm *g)
{
    int tiles = (g->rows + CONV_ROWS - 1) / CONV_ROWS;
    for (int tile = 0, row = 0; tile < tiles; tile++) {
        int rows = (g->rows - row) / (tiles - tile);
        const float *a = g->a + (size_t)row * g->a_stride;
        float *c = g->c + (size_t)row * g->c_stride;
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
#endif
        }
        row += rows;
    }
}
