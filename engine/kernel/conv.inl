/* The convolution tile, written once over a simd/ vocabulary. The includer defines CONV_ROWS,
 * CONV_BLOCKS and CONV_FETCH_BLOCKS, and includes simd/<isa>.h first. Rows and depth are
 * compile-time constants in every instance, so that the accumulators stay in registers.
 *
 * SPDX-License-Identifier: MIT */

#define BLOCK_VECS (CHANNEL_BLOCK / VEC_FLOATS)
#define TILE_VECS (CONV_BLOCKS * BLOCK_VECS)

/* Vector v of a row of outputs: of which output block, and where in it. */
#define VEC_AT(v, stride)                                                                          \
    ((size_t)((v) / BLOCK_VECS) * (stride) + (size_t)((v) % BLOCK_VECS * VEC_FLOATS))

/* One channel block under one tap: acc[r][v] += in[r][step * i] * w[i][v], i = 0 … depth-1. */
SIMD void tile_block(vec (*acc)[TILE_VECS], const float *const *in, const float *w, size_t w_stride,
                     int rows, int n_out, int depth, int step)
{
#pragma GCC unroll 16
    for (int i = 0; i < depth; i++) {
        vec wv[TILE_VECS];
#pragma GCC unroll 4
        for (int v = 0; v < n_out * BLOCK_VECS; v++)
            wv[v] = vec_load(w + VEC_AT(v, w_stride) + i * CHANNEL_BLOCK);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec x = vec_set1(in[r][step * i]);
#pragma GCC unroll 4
            for (int v = 0; v < n_out * BLOCK_VECS; v++)
                vec_accumulate(&acc[r][v], x, wv[v]);
        }
    }
}

/* Bias is in the accumulators already: residual, ReLU, store. `residual` and `relu` are constants
 * where this is called, and what is read of `t` is read first: stores may change it for all the
 * compiler knows. */
SIMD void store_rows(const vec (*acc)[TILE_VECS], const struct conv_tile *t, int rows, int n_out,
                     bool residual, bool relu)
{
    float *out[CONV_ROWS];
    const float *add[CONV_ROWS];
    const size_t stride = t->out_stride;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        out[r] = t->out + t->at[r];
        add[r] = residual ? t->residual + t->at[r] : NULL;
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < n_out * BLOCK_VECS; v++) {
            vec y = acc[r][v];
            if (residual)
                y = vec_add(y, vec_load(add[r] + VEC_AT(v, stride)));
            if (relu)
                y = vec_max(y, vec_set1(0.0f));
            vec_store(out[r] + VEC_AT(v, stride), y);
        }
    }
}

SIMD void tile_store(const vec (*acc)[TILE_VECS], const struct conv_tile *t, int rows, int n_out)
{
    if (t->residual && t->relu)
        store_rows(acc, t, rows, n_out, true, true);
    else if (t->residual)
        store_rows(acc, t, rows, n_out, true, false);
    else if (t->relu)
        store_rows(acc, t, rows, n_out, false, true);
    else
        store_rows(acc, t, rows, n_out, false, false);
}

/* Fetches the lines that will be written, and what will be added: they have left the cache since
 * they were last used. A tile of fewer input blocks than CONV_FETCH_BLOCKS does not take long enough
 * for that to be worth its instructions. */
SIMD void tile_fetch(const struct conv_tile *t, int rows, int n_out)
{
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < n_out; b++) {
            const size_t at = t->at[r] + (size_t)b * t->out_stride;
            __builtin_prefetch(t->out + at, 1);
            if (t->residual)
                __builtin_prefetch(t->residual + at);
        }
}

SIMD void tile(const struct conv_tile *t, int rows, int n_out, int depth)
{
    if (t->n_taps * t->n_blocks >= CONV_FETCH_BLOCKS)
        tile_fetch(t, rows, n_out);
    vec acc[CONV_ROWS][TILE_VECS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < n_out * BLOCK_VECS; v++)
            acc[r][v] = t->resume ? vec_load(t->out + t->at[r] + VEC_AT(v, t->out_stride))
                                  : vec_load(t->bias + v * VEC_FLOATS);

    const float *w = t->weights, *fetch = t->fetch;
    for (int tap = 0; tap < t->n_taps; tap++) {
        const float *const *first = t->tap_offset ? t->in : t->in + tap * rows, *in[CONV_ROWS];
        const size_t offset = t->in_offset + (t->tap_offset ? t->tap_offset[tap] : 0);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            in[r] = first[r] + offset;
        for (int b = 0; b < t->n_blocks; b++) {
            for (int line = 0; line < t->n_fetch; line++, fetch += CHANNEL_BLOCK)
                __builtin_prefetch(fetch, 0, 2);
            tile_block(acc, in, w, t->weights_stride, rows, n_out, depth, 1);
            w += (size_t)depth * CHANNEL_BLOCK;
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++)
                in[r] += t->in_stride;
        }
    }
    tile_store((const vec(*)[TILE_VECS])acc, t, rows, n_out);
}

#define TILE_DEPTHS(n, n_out)                                                                      \
    if (t->depth == CHANNEL_BLOCK)                                                                 \
        tile(t, n, n_out, CHANNEL_BLOCK);                                                          \
    else if (t->depth == 7) /* the stems of ImageNet */                                            \
        tile(t, n, n_out, 7);                                                                      \
    else                                                                                           \
        tile(t, n, n_out, t->depth)

#if CONV_BLOCKS > 1
#define TILE_ROWS(n)                                                                               \
    case n:                                                                                        \
        if (t->n_out == 2) {                                                                       \
            TILE_DEPTHS(n, 2);                                                                     \
        } else {                                                                                   \
            TILE_DEPTHS(n, 1);                                                                     \
        }                                                                                          \
        break;
#else
#define TILE_ROWS(n)                                                                               \
    case n:                                                                                        \
        TILE_DEPTHS(n, 1);                                                                         \
        break;
#endif

static void conv(const struct conv_tile *t)
{
    switch (t->rows) {
        TILE_ROWS(1)
        TILE_ROWS(2)
#if CONV_ROWS > 2
        TILE_ROWS(3)
        TILE_ROWS(4)
        TILE_ROWS(5)
        TILE_ROWS(6)
#endif
#if CONV_ROWS > 6
        TILE_ROWS(7)
        TILE_ROWS(8)
        TILE_ROWS(9)
        TILE_ROWS(10)
#endif
    }
}
