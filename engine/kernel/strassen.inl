/* One step of Strassen's multiplication (1969) in Winograd's form of 7 products and 15 sums, written
 * once over a simd/ vocabulary: the sums of inputs before the products, and of products after them.
 *
 * With the weights A, the inputs B and the outputs C = A·B cut into quarters,
 *
 *   S1 = A21 + A22   S2 = S1 - A11    S3 = A11 - A21   S4 = A12 - S2
 *   T1 = B12 - B11   T2 = B22 - T1    T3 = B22 - B12   T4 = T2 - B21
 *   P1 = A11·B11     P2 = A12·B21     P3 = S4·B22      P4 = A22·T4
 *   P5 = S1·T1       P6 = S2·T2       P7 = S3·T3
 *   C11 = P1 + P2              C12 = P1 + P6 + P5 + P3
 *   C21 = P1 + P6 + P7 - P4    C22 = P1 + P6 + P7 + P5
 *
 * SPDX-License-Identifier: MIT */

static void strassen_in(const struct strassen_in *t)
{
    /* Stores may change *t for all the compiler knows. */
    const size_t position_half = t->position_half, channel_half = t->channel_half;
    const size_t row = t->out_row, plane = t->out_plane;
    const float *in = t->in;
    float *out = t->out;
    for (int p = 0, n = t->n; p < n; p++, in += CHANNEL_BLOCK, out += row) {
#pragma GCC unroll 4
        for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
            vec b11 = vec_load(in + v), b12 = vec_load(in + position_half + v);
            vec b21 = vec_load(in + channel_half + v);
            vec b22 = vec_load(in + channel_half + position_half + v);
            vec t1 = vec_sub(b12, b11), t2 = vec_sub(b22, t1);
            vec_store(out + v, b11);
            vec_store(out + plane + v, b21);
            vec_store(out + 2 * plane + v, b22);
            vec_store(out + 3 * plane + v, vec_sub(t2, b21));
            vec_store(out + 4 * plane + v, t1);
            vec_store(out + 5 * plane + v, t2);
            vec_store(out + 6 * plane + v, vec_sub(b22, b12));
        }
    }
}

/* The outputs, from what is read of the task; `residual` and `relu` are constants where this is
 * called. */
SIMD void strassen_outputs(const struct strassen_out *t, bool residual, bool relu)
{
    const size_t position_half = t->position_half, channel_half = t->channel_half;
    const size_t plane = t->in_plane;
    const float *bias = t->bias, *bias_half = bias + t->bias_half;
    const float *in = t->in, *add = t->residual;
    float *out = t->out;
    for (int p = 0, n = t->n; p < n; p++, in += CHANNEL_BLOCK) {
#pragma GCC unroll 4
        for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
            const size_t at = (size_t)p * CHANNEL_BLOCK + (size_t)v;
            vec product[7], c[4];
            const size_t c_at[4] = {at, at + position_half, at + channel_half,
                                    at + channel_half + position_half};
#pragma GCC unroll 7
            for (int i = 0; i < 7; i++)
                product[i] = vec_load(in + (size_t)i * plane + v);
            vec bias1 = vec_load(bias + v), bias2 = vec_load(bias_half + v);
            vec u2 = vec_add(product[0], product[5]);
            vec u3 = vec_add(vec_add(u2, bias2), product[6]);
            c[0] = vec_add(vec_add(product[0], bias1), product[1]);
            c[1] = vec_add(vec_add(vec_add(u2, bias1), product[4]), product[2]);
            c[2] = vec_sub(u3, product[3]);
            c[3] = vec_add(u3, product[4]);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                if (residual)
                    c[i] = vec_add(c[i], vec_load(add + c_at[i]));
                if (relu)
                    c[i] = vec_relu(c[i]);
                vec_store(out + c_at[i], c[i]);
            }
        }
    }
}

static void strassen_out(const struct strassen_out *t)
{
    if (t->residual && t->relu)
        strassen_outputs(t, true, true);
    else if (t->residual)
        strassen_outputs(t, true, false);
    else if (t->relu)
        strassen_outputs(t, false, true);
    else
        strassen_outputs(t, false, false);
}
