/* One dimension of Winograd's minimal filtering (Lavin & Gray 2015, arXiv:1509.09308), written once
 * over a simd/ vocabulary.
 *
 * F(m×m, r×r) computes m×m outputs from a tile of side×side inputs, side = m + r - 1, by side²
 * multiplications per pair of channels: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A. It interpolates at the first
 * `side` of the points 0, ∞, 1, -1, 2, -2, 1/2, -1/2; row p of Bᵀ has the coefficients of the
 * polynomial that vanishes at all the others.
 *
 * So a tile of one output fewer, in a dimension, needs one point fewer and the same weights but for
 * a factor, by which its products are multiplied on their way back. Tiles of m outputs
 * and of m - 1 cover a map without a rest.
 *
 * A 3×3 kernel at stride 2 meets, in one dimension, every other input with its middle tap only, and
 * the inputs between them with the outer two. So m outputs are those of F(m, 2) over m + 1 inputs
 * plus the middle tap's, of m more: 2m + 1 products instead of 3m.
 *
 * SPDX-License-Identifier: MIT */

/* a * s + b */
SIMD vec vec_axpy(vec a, float s, vec b)
{
    return vec_fma(a, vec_set1(s), b);
}

/* One dimension of Bᵀ d for so many points. What goes in lies side by side, or is in_step vectors
 * apart; what comes out, here and below, is `step` vectors apart. */
SIMD void filter_in_2(const vec *d, int in_step, vec *out, int step)
{
    out[0] = d[0];
    out[step] = d[in_step];
}

SIMD void filter_in_3(const vec *d, int in_step, vec *out, int step)
{
    const vec d0 = d[0], d1 = d[in_step], d2 = d[2 * in_step];
    out[0] = vec_sub(d0, d1);
    out[step] = vec_sub(d2, d1);
    out[2 * step] = d1;
}

SIMD void filter_in_4(const vec *d, int in_step, vec *out, int step)
{
    const vec d0 = d[0], d1 = d[in_step], d2 = d[2 * in_step], d3 = d[3 * in_step];
    out[0] = vec_sub(d0, d2);
    out[step] = vec_sub(d3, d1);
    out[2 * step] = vec_add(d1, d2);
    out[3 * step] = vec_sub(d2, d1);
}

SIMD void filter_in_5(const vec *d, int in_step, vec *out, int step)
{
    const vec d0 = d[0], d1 = d[in_step], d2 = d[2 * in_step];
    const vec d4 = d[4 * in_step], two = vec_sub(d[3 * in_step], d1);
    out[0] = vec_axpy(vec_sub(d0, d2), 2.0f, two);
    out[step] = vec_axpy(two, -2.0f, vec_sub(d4, d2));
    out[2 * step] = vec_sub(two, vec_add(d1, d2));
    out[3 * step] = vec_axpy(vec_sub(d1, d2), 3.0f, two);
    out[4 * step] = two;
}

SIMD void filter_in_6(const vec *d, vec *out, int step)
{
    const vec d0 = d[0], d1 = d[1], d2 = d[2];
    const vec d3 = d[3], d4 = d[4], d5 = d[5];
    const vec even = vec_axpy(d2, -4.0f, d4), odd = vec_axpy(d1, -4.0f, d3);
    const vec even2 = vec_sub(d4, d2), odd2 = vec_sub(d3, d1);
    out[0] = vec_axpy(d0, 4.0f, vec_axpy(d2, -5.0f, d4));
    out[step] = vec_axpy(d1, 4.0f, vec_axpy(d3, -5.0f, d5));
    out[2 * step] = vec_add(even, odd);
    out[3 * step] = vec_sub(even, odd);
    out[4 * step] = vec_axpy(odd2, 2.0f, even2);
    out[5 * step] = vec_axpy(odd2, -2.0f, even2);
}

/* All rows but that of 1/2 have the factor 1 - 2x in their polynomials: they are those of six
 * points over d[i] - 2 d[i + 1]. */
SIMD void filter_in_7(const vec *d, vec *out, int step)
{
    const vec d1 = d[1], d3 = d[3], d5 = d[5];
    vec e[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++)
        e[i] = vec_axpy(d[i + 1], -2.0f, d[i]);
    filter_in_6(e, out, step);
    out[6 * step] = vec_axpy(d1, 4.0f, vec_axpy(d3, -5.0f, d5));
}

/* The same with the factor 1 - 4x²: over d[i] - 4 d[i + 2]. */
SIMD void filter_in_8(const vec *d, vec *out, int step)
{
    const vec d1 = d[1], d2 = d[2], d3 = d[3], d4 = d[4];
    const vec d5 = d[5], d6 = d[6];
    const vec odd = vec_axpy(d1, 4.0f, vec_axpy(d3, -5.0f, d5));
    const vec even = vec_axpy(d2, 4.0f, vec_axpy(d4, -5.0f, d6));
    vec e[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++)
        e[i] = vec_axpy(d[i + 2], -4.0f, d[i]);
    filter_in_6(e, out, step);
    out[6 * step] = vec_axpy(odd, 0.5f, even);
    out[7 * step] = vec_axpy(odd, -0.5f, even);
}

/* One dimension of Aᵀ m for F(m, 3) at stride 1, by the number of points; a short one's products
 * were multiplied with the weights for one point more. */
SIMD void filter_out_4(const vec *m, vec *out, int step)
{
    const vec one = m[2], minus = m[3];
    out[0] = vec_add(m[0], vec_add(one, minus));
    out[step] = vec_add(m[1], vec_sub(one, minus));
}

SIMD void filter_out_short_3(const vec *m, vec *out)
{
    out[0] = vec_axpy(m[2], 2.0f, vec_add(m[0], m[1]));
}

SIMD void filter_out_6(const vec *m, vec *out, int step)
{
    const vec sum1 = vec_add(m[2], m[3]), dif1 = vec_sub(m[2], m[3]);
    const vec sum2 = vec_add(m[4], m[5]), dif2 = vec_sub(m[4], m[5]);
    out[0] = vec_add(vec_add(m[0], sum1), sum2);
    out[step] = vec_axpy(dif2, 2.0f, dif1);
    out[2 * step] = vec_axpy(sum2, 4.0f, sum1);
    out[3 * step] = vec_add(vec_axpy(dif2, 8.0f, dif1), m[1]);
}

SIMD void filter_out_short_5(const vec *m, vec *out, int step)
{
    const vec two = m[4];
    const vec sum = vec_axpy(m[2], 3.0f, m[3]), dif = vec_axpy(m[3], -2.0f, sum);
    out[0] = vec_axpy(two, 4.0f, vec_axpy(m[0], 2.0f, sum));
    out[step] = vec_axpy(two, 8.0f, dif);
    out[2 * step] = vec_axpy(two, 16.0f, vec_add(sum, m[1]));
}

SIMD void filter_out_7(const vec *m, vec *out, int step)
{
    const vec half = m[6];
    filter_out_6(m, out, step);
    out[0] = vec_add(out[0], half);
    out[step] = vec_axpy(half, 0.5f, out[step]);
    out[2 * step] = vec_axpy(half, 0.25f, out[2 * step]);
    out[3 * step] = vec_axpy(half, 0.125f, out[3 * step]);
}

SIMD void filter_out_8(const vec *m, vec *out, int step)
{
    const vec sum1 = vec_add(m[2], m[3]), dif1 = vec_sub(m[2], m[3]);
    const vec sum2 = vec_add(m[4], m[5]), dif2 = vec_sub(m[4], m[5]);
    const vec half = vec_add(m[6], m[7]), dif = vec_sub(m[6], m[7]);
    out[0] = vec_add(vec_add(m[0], sum1), vec_add(sum2, half));
    out[step] = vec_axpy(dif, 1.0f / 2, vec_axpy(dif2, 2.0f, dif1));
    out[2 * step] = vec_axpy(half, 1.0f / 4, vec_axpy(sum2, 4.0f, sum1));
    out[3 * step] = vec_axpy(dif, 1.0f / 8, vec_axpy(dif2, 8.0f, dif1));
    out[4 * step] = vec_axpy(half, 1.0f / 16, vec_axpy(sum2, 16.0f, sum1));
    out[5 * step] = vec_axpy(dif, 1.0f / 32, vec_axpy(dif2, 32.0f, vec_add(dif1, m[1])));
}

SIMD void filter_out_short_7(const vec *m, vec *out, int step)
{
    const vec one = m[2], two = m[4], half = m[6];
    const vec dif1 = vec_axpy(one, 3.0f, m[3]);
    const vec sum1 = vec_axpy(m[3], -2.0f, dif1);
    const vec dif2 = vec_axpy(two, 5.0f, vec_mul(m[5], vec_set1(3.0f)));
    const vec sum2 = vec_axpy(m[5], -6.0f, dif2);
    out[0] = vec_add(vec_add(m[0], sum1), vec_add(sum2, half));
    out[step] = vec_axpy(half, 1.0f / 2, vec_axpy(dif2, 2.0f, dif1));
    out[2 * step] = vec_axpy(half, 1.0f / 4, vec_axpy(sum2, 4.0f, sum1));
    out[3 * step] = vec_axpy(half, 1.0f / 8, vec_axpy(dif2, 8.0f, dif1));
    out[4 * step] = vec_axpy(m[1], 2.0f, vec_axpy(half, 1.0f / 16, vec_axpy(sum2, 16.0f, sum1)));
}

/* The same for F(m, 2) of the outer taps at stride 2, plus the products of the middle one. */
SIMD void filter_out_strided_5(const vec *m, vec *out, int step)
{
    const vec one = m[3];
    out[0] = vec_add(vec_add(m[0], one), m[2]);
    out[step] = vec_add(vec_add(m[1], one), m[4]);
}

SIMD void filter_out_strided_short_3(const vec *m, vec *out)
{
    out[0] = vec_add(vec_add(m[0], m[1]), m[2]);
}

SIMD void filter_out_strided_9(const vec *m, vec *out, int step)
{
    const vec two = m[7];
    const vec sum = vec_add(m[2], m[3]), dif = vec_sub(m[2], m[3]);
    out[0] = vec_add(vec_add(vec_add(m[0], sum), two), m[4]);
    out[step] = vec_add(vec_axpy(two, 2.0f, dif), m[5]);
    out[2 * step] = vec_add(vec_axpy(two, 4.0f, sum), m[6]);
    out[3 * step] = vec_add(vec_axpy(two, 8.0f, vec_add(dif, m[1])), m[8]);
}

SIMD void filter_out_strided_short_7(const vec *m, vec *out, int step)
{
    const vec one = m[2], minus = m[3];
    const vec sum = vec_axpy(minus, 3.0f, one);
    out[0] = vec_axpy(m[0], 2.0f, vec_sub(m[4], sum));
    out[step] = vec_add(vec_axpy(one, -2.0f, sum), m[5]);
    out[2 * step] = vec_add(vec_sub(m[1], sum), m[6]);
}
