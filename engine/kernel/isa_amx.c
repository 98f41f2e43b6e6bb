/* The AMX kernels: those of AVX-512, and the matrix product in tiles of bf16 (bf16x3, kernel.h).
 * Eight tile registers hold 16 rows of 64 bytes each: four tiles of sums, two of inputs, two of
 * weights. Exports its init only, so that no code compiled for this ISA can be linked into anything
 * else.
 *
 * SPDX-License-Identifier: MIT */
#include <immintrin.h>

#include "engine/kernel/kernel.h"

#define SIMD static inline __attribute__((always_inline))
#define TILE_ROW_BYTES 64
#define SUMS (BF16X3_ROWS * CHANNEL_BLOCK)
#define STEP_LINES 64 /* of 64 bytes: weights of two blocks of outputs for a pair and tap */

/* Palette 1: all eight tiles of 16 rows × 64 bytes. */
SIMD void configure_tiles(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = TILE_ROW_BYTES;
        config.rows[i] = BF16X3_ROWS;
    }
    _tile_loadconfig(&config);
}

/* Sums of one or two tiles of positions × one or two blocks of outputs. */
struct sums {
    const struct bf16x3_tile *tiles;
    int n_tiles, n_out;
    const float *residual;
    float *out;
    const float *values; /* [n_tiles][2][16 positions][16] */
};

/* Residual, ReLU, and the store of those of positions [from, to) that are inside the map. */
SIMD void store(const struct bf16x3 *g, const struct sums *s, int from, int to)
{
    const __m512 least = _mm512_set1_ps(g->relu ? 0.0f : -__builtin_inff());
    for (int p = from; p < to && p < s->n_tiles * BF16X3_ROWS; p++) {
        size_t at = s->tiles[p / BF16X3_ROWS].at[p % BF16X3_ROWS];
        if (at >= g->limit)
            continue;
        const float *values =
            s->values + p / BF16X3_ROWS * 2 * SUMS + p % BF16X3_ROWS * CHANNEL_BLOCK;
        for (int block = 0; block < s->n_out; block++, values += SUMS, at += g->out_stride) {
            __m512 y = _mm512_load_ps(values);
            if (s->residual)
                y = _mm512_add_ps(y, _mm512_load_ps(s->residual + at));
            _mm512_store_ps(s->out + at, _mm512_max_ps(least, y)); /* NaN stays NaN */
        }
    }
}

/* Fetches n lines of 64 bytes into L2, and returns where the next ones are. */
SIMD const uint16_t *fetch_lines(const uint16_t *at, int n)
{
    for (int line = 0; line < n; line++, at += TILE_ROW_BYTES / sizeof *at)
        __builtin_prefetch(at, 0, 2);
    return at;
}

/* The products of the tiles at a and b, for one pair and tap. Returns where to fetch on. */
SIMD const uint16_t *step(const struct bf16x3 *g, const uint16_t *a, const uint16_t *b, int n_tiles,
                          int n_out, const uint16_t *w, const uint16_t *fetch, int n_fetch)
{
    fetch = fetch_lines(fetch, n_fetch);
    _tile_loadd(6, w, TILE_ROW_BYTES);
    _tile_loadd(4, a + g->in_low, g->in_row);
    _tile_dpbf16ps(0, 4, 6);
    if (n_out == 2) {
        _tile_loadd(7, w + BF16X3_TILE, TILE_ROW_BYTES);
        _tile_dpbf16ps(1, 4, 7);
    }
    fetch = fetch_lines(fetch, n_fetch);
    if (n_tiles == 2) {
        _tile_loadd(5, b + g->in_low, g->in_row);
        _tile_dpbf16ps(2, 5, 6);
        if (n_out == 2)
            _tile_dpbf16ps(3, 5, 7);
    }
    fetch = fetch_lines(fetch, n_fetch);
    _tile_loadd(4, a, g->in_row);
    _tile_dpbf16ps(0, 4, 6);
    if (n_out == 2)
        _tile_dpbf16ps(1, 4, 7);
    if (n_tiles == 2) {
        _tile_loadd(5, b, g->in_row);
        _tile_dpbf16ps(2, 5, 6);
        if (n_out == 2)
            _tile_dpbf16ps(3, 5, 7);
    }
    fetch = fetch_lines(fetch, n_fetch);
    _tile_loadd(6, w + n_out * BF16X3_TILE, TILE_ROW_BYTES);
    _tile_dpbf16ps(0, 4, 6);
    if (n_tiles == 2)
        _tile_dpbf16ps(2, 5, 6);
    if (n_out == 2) {
        _tile_loadd(7, w + 3 * BF16X3_TILE, TILE_ROW_BYTES);
        _tile_dpbf16ps(1, 4, 7);
        if (n_tiles == 2)
            _tile_dpbf16ps(3, 5, 7);
    }
    return fetch;
}

/* The sums of one or two tiles × one or two blocks, from the bias on. The order, low · high,
 * high · high, high · low, is the same however many there are. Meanwhile, since the matrix unit
 * leaves the others free, the sums before are stored, and n_fetch lines fetched four times a step.
 */
SIMD void multiply(const struct bf16x3 *g, const uint16_t *in, const struct bf16x3_tile *tiles,
                   int n_tiles, int n_out, const uint16_t *w, const float *bias,
                   const struct sums *before, const uint16_t *fetch, int n_fetch, float *values)
{
    const int per_step =
        (before->n_tiles * BF16X3_ROWS + g->n_pairs * g->n_taps - 1) / (g->n_pairs * g->n_taps);
    int stored = 0;
    _tile_loadd(0, bias, TILE_ROW_BYTES);
    _tile_loadd(1, bias + SUMS, TILE_ROW_BYTES);
    _tile_loadd(2, bias, TILE_ROW_BYTES);
    _tile_loadd(3, bias + SUMS, TILE_ROW_BYTES);
    for (int pair = 0; pair < g->n_pairs; pair++)
        for (int tap = 0; tap < g->n_taps; tap++, w += 2 * n_out * BF16X3_TILE) {
            const size_t at = (size_t)pair * g->in_stride + g->tap_offset[tap];
            const uint16_t *a = in + tiles[0].in + at;
            const uint16_t *b = in + tiles[n_tiles - 1].in + at;
            fetch = step(g, a, b, n_tiles, n_out, w, fetch, n_fetch);
            store(g, before, stored, stored + per_step);
            stored += per_step;
        }
    _tile_stored(0, values, TILE_ROW_BYTES);
    if (n_out == 2)
        _tile_stored(1, values + SUMS, TILE_ROW_BYTES);
    if (n_tiles == 2)
        _tile_stored(2, values + 2 * SUMS, TILE_ROW_BYTES);
    if (n_tiles == 2 && n_out == 2)
        _tile_stored(3, values + 3 * SUMS, TILE_ROW_BYTES);
}

/* The bias of two blocks as a tile of sums for each. */
SIMD void spread_bias(const float *bias, int n_out, float *tile)
{
    for (int i = 0; i < n_out * BF16X3_ROWS; i++)
        _mm512_store_ps(tile + i * CHANNEL_BLOCK,
                        _mm512_load_ps(bias + i / BF16X3_ROWS * CHANNEL_BLOCK));
    __asm__ volatile("" ::: "memory"); /* tile loads do not tell the compiler what they read */
}

static void bf16x3(const struct bf16x3 *g)
{
    _Alignas(64) float values[2][4 * SUMS], bias[2 * SUMS];
    const size_t block_values = (size_t)(g->n_pairs * g->n_taps) * 2 * BF16X3_TILE;
    const int quarter = (STEP_LINES / 4 - 1) / ((g->n_tiles + 1) / 2) + 1;
    struct sums before = {.n_tiles = 0};
    configure_tiles();
    for (int block = 0, turn = 0; block < g->n_out; block += 2) {
        const int n_out = block + 2 <= g->n_out ? 2 : 1;
        const uint16_t *in = g->in + (size_t)((g->group_at + block) / g->group_out) * g->in_group;
        const uint16_t *w = g->weights + (size_t)block * block_values;
        const uint16_t *fetch = block + 2 < g->n_out ? w + 2 * block_values : g->next;
        const int n_fetch = fetch ? quarter : 0;
        spread_bias(g->bias + block * CHANNEL_BLOCK, n_out, bias);
        for (int t = 0; t < g->n_tiles; t += 2, turn = !turn) {
            const struct sums now = {
                .tiles = g->tiles + t,
                .n_tiles = t + 2 <= g->n_tiles ? 2 : 1,
                .n_out = n_out,
                .residual = g->residual ? g->residual + (size_t)block * g->out_stride : NULL,
                .out = g->out + (size_t)block * g->out_stride,
                .values = values[turn],
            };
            if (now.n_tiles == 2 && n_out == 2)
                multiply(g, in, now.tiles, 2, 2, w, bias, &before, fetch, n_fetch, values[turn]);
            else if (now.n_tiles == 2)
                multiply(g, in, now.tiles, 2, 1, w, bias, &before, fetch, n_fetch, values[turn]);
            else if (n_out == 2)
                multiply(g, in, now.tiles, 1, 2, w, bias, &before, fetch, n_fetch, values[turn]);
            else
                multiply(g, in, now.tiles, 1, 1, w, bias, &before, fetch, n_fetch, values[turn]);
            before = now;
            if (fetch)
                fetch +=
                    (size_t)(g->n_pairs * g->n_taps * 4 * n_fetch) * TILE_ROW_BYTES / sizeof *fetch;
        }
    }
    store(g, &before, 0, before.n_tiles * BF16X3_ROWS);
    _tile_release();
}

/* Of 32 bf16, 16 as fp32. */
SIMD __m512 widen(__m256i bf16)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16));
}

static void bf16x3_split(const struct bf16x3_split *s)
{
    for (int p = 0; p < s->n; p++) {
        const __m512 a = _mm512_load_ps(s->in + (size_t)p * s->in_step);
        const __m512 b =
            s->second ? _mm512_load_ps(s->second + (size_t)p * s->in_step) : _mm512_setzero_ps();
        const __m512i high = (__m512i)_mm512_cvtne2ps_pbh(b, a);
        const __m512i low = (__m512i)_mm512_cvtne2ps_pbh(
            _mm512_sub_ps(b, widen(_mm512_extracti64x4_epi64(high, 1))),
            _mm512_sub_ps(a, widen(_mm512_castsi512_si256(high))));
        _mm512_store_si512(s->out + (size_t)p * BF16X3_DEPTH, high);
        _mm512_store_si512(s->out + (size_t)p * BF16X3_DEPTH + s->low, low);
    }
}

/* Two halves of 16 values each, a word for each pair of them. */
SIMD __m512i pair_up(__m256i even, __m256i odd)
{
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

/* n pixels, 16 at most, of two words each: those of channels 0 and 1, and of 2 and 3. */
SIMD void store_pixels(uint16_t *out, __m512i first, __m512i second, int n)
{
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    const uint32_t words = (uint32_t)((UINT64_C(1) << 2 * n) - 1);
    _mm512_mask_storeu_epi32(out, (__mmask16)words, _mm512_permutex2var_epi32(first, low, second));
    _mm512_mask_storeu_epi32(out + 32, (__mmask16)(words >> 16),
                             _mm512_permutex2var_epi32(first, high, second));
}

static void bf16x3_pixels(const struct bf16x3_pixels *s)
{
    for (int p = 0; p < s->n; p += 16) {
        const int n = s->n - p < 16 ? s->n - p : 16;
        const __mmask16 some = (__mmask16)((1u << n) - 1);
        __m256i high[BF16X3_CHANNELS], low[BF16X3_CHANNELS];
        for (int c = 0; c < BF16X3_CHANNELS; c++) {
            const __m512 x = c < s->channels
                                 ? _mm512_maskz_loadu_ps(some, s->in + (size_t)c * s->plane + p)
                                 : _mm512_setzero_ps();
            high[c] = (__m256i)_mm512_cvtneps_pbh(x);
            low[c] = (__m256i)_mm512_cvtneps_pbh(_mm512_sub_ps(x, widen(high[c])));
        }
        uint16_t *out = s->out + (size_t)p * BF16X3_CHANNELS;
        store_pixels(out, pair_up(high[0], high[1]), pair_up(high[2], high[3]), n);
        store_pixels(out + s->low, pair_up(low[0], low[1]), pair_up(low[2], low[3]), n);
    }
}

void kernels_init_avx512(struct kernels *kernels);

void kernels_init_amx(struct kernels *kernels);
void kernels_init_amx(struct kernels *kernels)
{
    kernels_init_avx512(kernels);
    kernels->name = "amx";
    kernels->bf16x3 = bf16x3;
    kernels->bf16x3_split = bf16x3_split;
    kernels->bf16x3_pixels = bf16x3_pixels;
}
