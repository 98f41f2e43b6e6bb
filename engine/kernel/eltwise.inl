/* Element-wise kernels and pooling over blocks, written once over a simd/ vocabulary; the
 * includer includes simd/<isa>.h first.
 *
 * SPDX-License-Identifier: MIT */

#define MEAN_RUN 64 /* values that are added up one after the other */

SIMD vec activate(vec x, bool relu)
{
    return relu ? vec_relu(x) : x;
}

static void max(const float *in, size_t row_stride, int rows, int columns, float *out)
{
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
        vec m = vec_load(in + v);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++)
                m = vec_max(m, vec_load(in + (size_t)y * row_stride + (size_t)(x * CHANNEL_BLOCK + v)));
        vec_store(out + v, m);
    }
}

static void larger(const float *a, int n, float *out)
{
    for (size_t at = 0; at < (size_t)n * CHANNEL_BLOCK; at += VEC_FLOATS)
        vec_store(out + at, vec_max(vec_load(a + at), vec_load(out + at)));
}

SIMD vec sum_run(const float *in, int n)
{
    vec sum = vec_set1(0.0f);
    for (int j = 0; j < n; j++)
        sum = vec_add(sum, vec_load(in + (size_t)j * CHANNEL_BLOCK));
    return sum;
}

SIMD vec sum_runs(const float *in, int n)
{
    vec sum = vec_set1(0.0f);
    for (int from = 0; from < n; from += MEAN_RUN)
        sum = vec_add(sum, sum_run(in + (size_t)from * CHANNEL_BLOCK,
                                   from + MEAN_RUN < n ? MEAN_RUN : n - from));
    return sum;
}

/* Sums of sums of sums: the rounding errors of one over a whole large map would be seen. */
static void mean(const float *in, int n, float *out)
{
    const int most = MEAN_RUN * MEAN_RUN;
    vec scale = vec_set1(1.0f / (float)n);
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
        vec sum = vec_set1(0.0f);
        for (int from = 0; from < n; from += most)
            sum = vec_add(sum, sum_runs(in + (size_t)from * CHANNEL_BLOCK + v,
                                        from + most < n ? most : n - from));
        vec_store(out + v, vec_mul(sum, scale));
    }
}

static void affine(const float *in, const float *scale, const float *shift, bool relu, int n,
                   float *out)
{
    for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
        vec a = vec_load(scale + v), b = vec_load(shift + v);
        for (int j = 0; j < n; j++) {
            size_t at = (size_t)j * CHANNEL_BLOCK + (size_t)v;
            vec_store(out + at, activate(vec_fma(vec_load(in + at), a, b), relu));
        }
    }
}

static void add(const float *a, const float *b, bool relu, int n, float *out)
{
    for (size_t at = 0; at < (size_t)n * CHANNEL_BLOCK; at += VEC_FLOATS)
        vec_store(out + at, activate(vec_add(vec_load(a + at), vec_load(b + at)), relu));
}

#define CHAINS 10 /* more than latency × units of the CPUs there are */

static int multiply_add(int n, float *sum)
{
    vec chain[CHAINS], factor = vec_set1(0.5f), term = vec_set1(sum[0]);
#pragma GCC unroll 16
    for (int c = 0; c < CHAINS; c++)
        chain[c] = vec_set1((float)c);
    for (int i = 0; i < n; i++)
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++)
            chain[c] = vec_fma(chain[c], factor, term);
#pragma GCC unroll 16
    for (int c = 1; c < CHAINS; c++)
        chain[0] = vec_add(chain[0], chain[c]);
    vec_store(sum, chain[0]);
    return 2 * CHAINS * VEC_FLOATS;
}
