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
    for (int p = 0; p < t->n; p++) {
        const float *in = t->in + (size_t)p * CHANNEL_BLOCK;
        float *out = t->out + (size_t)p * t->out_row;
#pragma GCC unroll 4
        for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
            vec b11 = vec_load(in + v), b12 = vec_load(in + t->position_half + v);
            vec b21 = vec_load(in + t->channel_half + v);
            vec b22 = vec_load(in + t->channel_half + t->position_half + v);
            vec t1 = vec_sub(b12, b11), t2 = vec_sub(b22, t1);
            vec_store(out + v, b11);
            vec_store(out + t->out_plane + v, b21);
            vec_store(out + 2 * t->out_plane + v, b22);
            vec_store(out + 3 * t->out_plane + v, vec_sub(t2, b21));
            vec_store(out + 4 * t->out_plane + v, t1);
            vec_store(out + 5 * t->out_plane + v, t2);
            vec_store(out + 6 * t->out_plane + v, vec_sub(b22, b12));
        }
    }
}

/* One quarter of the outputs: bias, residual, ReLU, store. */
SIMD void strassen_store(const struct strassen_out *t, size_t at, vec value)
{
    if (t->residual)
        value = vec_add(value, vec_load(t->residual + at));
    if (t->relu)
        value = vec_max(value, vec_set1(0.0f));
    vec_store(t->out + at, value);
}

static void strassen_out(const struct strassen_out *t)
{
    for (int p = 0; p < t->n; p++) {
        const float *in = t->in + (size_t)p * CHANNEL_BLOCK;
#pragma GCC unroll 4
        for (int v = 0; v < CHANNEL_BLOCK; v += VEC_FLOATS) {
            const size_t at = (size_t)p * CHANNEL_BLOCK + (size_t)v;
            vec product[7];
#pragma GCC unroll 7
            for (int i = 0; i < 7; i++)
                product[i] = vec_load(in + (size_t)i * t->in_plane + v);
            vec bias1 = vec_load(t->bias + v), bias2 = vec_load(t->bias + t->bias_half + v);
            vec u2 = vec_add(product[0], product[5]);
            vec u3 = vec_add(vec_add(u2, bias2), product[6]);
            vec c11 = vec_add(vec_add(product[0], bias1), product[1]);
            vec c12 = vec_add(vec_add(vec_add(u2, bias1), product[4]), product[2]);
            strassen_store(t, at, c11);
            strassen_store(t, at + t->position_half, c12);
            strassen_store(t, at + t->channel_half, vec_sub(u3, product[3]));
            strassen_store(t, at + t->channel_half + t->position_half, vec_add(u3, product[4]));
        }
    }
}
