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

/* NaN stays NaN: of an operand that is one, x86 takes the second. */
SIMD vec vec_relu(vec x)
{
    return vec_max(vec_set1(0.0f), x);
}

/* What a tile has for itself. */
struct tile {
    const float *const *in; /* [n_taps][rows], or [rows] */
    size_t in_offset;
    const size_t *at; /* [rows] */
    const float *fetch;
};

/* Bias is in the accumulators already: residual, ReLU, store. `residual` and `relu` are constants
 * where this is called, and what is read of `t` is read first: stores may change it for all the
 * compiler knows. */
SIMD void store_rows(const vec (*acc)[TILE_VECS], const struct conv_tiles *t, const size_t *at,
                     int rows, int n_out, bool residual, bool relu)
{
    float *out[CONV_ROWS];
    const float *add[CONV_ROWS];
    const size_t stride = t->out_stride;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        out[r] = t->out + at[r];
        add[r] = residual ? t->residual + at[r] : NULL;
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < n_out * BLOCK_VECS; v++) {
            vec y = acc[r][v];
            if (residual)
                y = vec_add(y, vec_load(add[r] + VEC_AT(v, stride)));
            if (relu)
                y = vec_relu(y);
            vec_store(out[r] + VEC_AT(v, stride), y);
        }
    }
}

SIMD void tile_store(const vec (*acc)[TILE_VECS], const struct conv_tiles *t, const size_t *at,
                     int rows, int n_out)
{
    if (t->residual && t->relu)
        store_rows(acc, t, at, rows, n_out, true, true);
    else if (t->residual)
        store_rows(acc, t, at, rows, n_out, true, false);
    else if (t->relu)
        store_rows(acc, t, at, rows, n_out, false, true);
    else
        store_rows(acc, t, at, rows, n_out, false, false);
}

/* Fetches the lines that will be written, and what will be added: they have left the cache since
 * they were last used. A tile of fewer input blocks than CONV_FETCH_BLOCKS does not take long enough
 * for that to be worth its instructions. */
SIMD void tile_fetch(const struct conv_tiles *t, const size_t *at, int rows, int n_out)
{
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < n_out; b++) {
            const size_t to = at[r] + (size_t)b * t->out_stride;
            __builtin_prefetch(t->out + to, 1);
            if (t->residual)
                __builtin_prefetch(t->residual + to);
        }
}

SIMD void convolve(const struct conv_tiles *t, const struct tile *tile, int rows, int n_out,
                   int depth, int n_taps)
{
    if (n_taps * t->n_blocks >= CONV_FETCH_BLOCKS)
        tile_fetch(t, tile->at, rows, n_out);
    vec acc[CONV_ROWS][TILE_VECS];
    if (t->resume) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < n_out * BLOCK_VECS; v++)
                acc[r][v] = vec_load(t->out + tile->at[r] + VEC_AT(v, t->out_stride));
    } else {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < n_out * BLOCK_VECS; v++)
                acc[r][v] = vec_load(t->bias + v * VEC_FLOATS);
    }

    const float *w = t->weights, *fetch = tile->fetch;
    for (int tap = 0; tap < n_taps; tap++) {
        const float *const *first = t->tap_offset ? tile->in : tile->in + tap * rows;
        const float *in[CONV_ROWS];
        const size_t offset = tile->in_offset + (t->tap_offset ? t->tap_offset[tap] : 0);
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
    __asm__ volatile("" ::: "memory"); /* reads that go with the stores stay behind the loop, which
                                          has no registers for them */
    tile_store((const vec(*)[TILE_VECS])acc, t, tile->at, rows, n_out);
}

#define TILE_ROWS(n)                                                                               \
    case n:                                                                                        \
        convolve(t, &tile, n, n_out, depth, n_taps);                                               \
        break;

/* All tiles; n_out is a constant where this is called, and depth and n_taps where it matters. */
SIMD void tiles(const struct conv_tiles *t, int n_out, int depth, int n_taps)
{
    struct tile tile = {t->in, t->in_offset, t->at, t->fetch};
    const int pointers = t->in_step ? 0 : t->tap_offset ? 1 : n_taps;
    const size_t in_step = t->in_step;
    const size_t fetched = (size_t)(n_taps * t->n_blocks * t->n_fetch) * CHANNEL_BLOCK;
    const int *first = t->first;
    for (int i = 0, n = t->n_tiles; i < n; i++) {
        const int rows = first[i + 1] - first[i];
        switch (rows) {
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
        tile.in += rows * pointers;
        tile.in_offset += in_step;
        tile.at += rows;
        tile.fetch += fetched;
    }
}

#define CONV_OF(name, n_out, depth, n_taps)                                                        \
    static void conv_##name(const struct conv_tiles *t)                                            \
    {                                                                                              \
        tiles(t, n_out, depth, n_taps);                                                            \
    }
CONV_OF(pointwise, 1, CHANNEL_BLOCK, 1)
CONV_OF(blocks, 1, CHANNEL_BLOCK, t->n_taps)
CONV_OF(stem, 1, 7, t->n_taps) /* of ImageNet */
CONV_OF(planar, 1, t->depth, t->n_taps)
#if CONV_BLOCKS > 1
CONV_OF(pointwise_2, 2, CHANNEL_BLOCK, 1)
CONV_OF(blocks_2, 2, CHANNEL_BLOCK, t->n_taps)
CONV_OF(stem_2, 2, 7, t->n_taps)
CONV_OF(planar_2, 2, t->depth, t->n_taps)
#endif

static void conv(const struct conv_tiles *t)
{
    const bool pointwise = t->depth == CHANNEL_BLOCK && t->n_taps == 1;
#if CONV_BLOCKS > 1
    if (t->n_out == 2) {
        if (pointwise)
            conv_pointwise_2(t);
        else if (t->depth == CHANNEL_BLOCK)
            conv_blocks_2(t);
        else if (t->depth == 7)
            conv_stem_2(t);
        else
            conv_planar_2(t);
        return;
    }
#endif
    if (pointwise)
        conv_pointwise(t);
    else if (t->depth == CHANNEL_BLOCK)
        conv_blocks(t);
    else if (t->depth == 7)
        conv_stem(t);
    else
        conv_planar(t);
}
