/* The matrix product of Winograd's and Strassen's algorithms, written once over a simd/ vocabulary.
 * The includer defines CONV_ROWS and includes conv.inl first.
 *
 * SPDX-License-Identifier: MIT */

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
        gemm_rows(g, a, b, c, n, n_out, fetch, n_fetch);                                           \
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
