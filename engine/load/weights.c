/* Looking up and converting the tensors of a model file. Pure reads, any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/load/weights.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "see weight_floats");

static float bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. Exact, also for NaN's bits. */
static float half_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0x1f)
        return bits_float(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return bits_float(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

void weights_done(struct weights *weights)
{
    free(weights->items);
    free(weights->texts);
    json_decref(weights->storage);
    *weights = (struct weights){0};
}

static int compare_name(const void *key, const void *item)
{
    return strcmp(key, ((const struct weight *)item)->name);
}

struct weight *weights_find(const struct weights *weights, const char *name)
{
    if (weights->n == 0)
        return NULL;
    return bsearch(name, weights->items, weights->n, sizeof *weights->items, compare_name);
}

const char *weights_text(const struct weights *weights, const char *key)
{
    for (size_t i = 0; i < weights->n_texts; i++)
        if (!strcmp(weights->texts[i].key, key))
            return weights->texts[i].value;
    return NULL;
}

void weight_floats(const struct weight *weight, size_t first, size_t n, float *out)
{
    const uint8_t *data = weight->data;
    assert(first <= weight->count && n <= weight->count - first);
    switch (weight->type) {
    case WEIGHT_F32:
        memcpy(out, data + 4 * first, n * sizeof *out); /* little-endian, like every host here */
        return;
    case WEIGHT_F16:
        data += 2 * first;
        for (size_t i = 0; i < n; i++)
            out[i] = half_float(load_u16(data + 2 * i));
        return;
    case WEIGHT_BF16: /* the upper half of a binary32 */
        data += 2 * first;
        for (size_t i = 0; i < n; i++)
            out[i] = bits_float((uint32_t)load_u16(data + 2 * i) << 16);
        return;
    case WEIGHT_I64:
        break;
    }
    assert(false); /* integers are not weights */
}

const char *weight_shape_text(const struct weight *weight, char *buf, size_t n)
{
    int used = snprintf(buf, n, "%s", weight->n_dims ? "" : "scalar");
    for (int i = 0; i < weight->n_dims && used >= 0 && (size_t)used < n; i++)
        used += snprintf(buf + used, n - (size_t)used, "%s%lld", i ? "×" : "",
                         (long long)weight->shape[i]);
    return buf;
}
