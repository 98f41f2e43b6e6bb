/* Which part of a fused step a layer is, by its operator and its neighbours in the step.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/features.h"

#include <string.h>

static bool is(const struct rn_layer *layer, const char *op)
{
    return strcmp(layer->op, op) == 0;
}

void features_taps(const struct rn_layer *layers, size_t n, const int *where, struct plan_tap *taps)
{
    for (size_t i = 0; i < n; i++) {
        const struct rn_layer *layer = &layers[i];
        bool added = false; /* in the same step, behind it */
        for (size_t k = i + 1; k < n && layers[k].block == layer->block; k++)
            added = added || (where[k] == where[i] && is(&layers[k], "add"));
        const bool folded = is(layer, "conv") || is(layer, "bn");
        taps[i] = (struct plan_tap){
            .step = where[i],
            .residual = !folded,
            .relu = !is(layer, "bn") && !is(layer, "add") && !(folded && added),
        };
    }
}

static const float *channel_of(const struct features_map *map, int c, size_t *n, size_t *stride)
{
    *n = (size_t)map->shape.h * (size_t)map->shape.w;
    *stride = map->planar ? 1 : CHANNEL_BLOCK;
    return map->planar
               ? map->values + (size_t)c * *n
               : map->values + (size_t)(c / CHANNEL_BLOCK) * *n * CHANNEL_BLOCK + c % CHANNEL_BLOCK;
}

static float mean_of(const struct features_map *map, int c)
{
    size_t n, stride;
    const float *values = channel_of(map, c, &n, &stride);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)values[i * stride];
    return (float)(sum / (double)n);
}

void features_rank(const struct features_map *map, int n, int *channels, float *means)
{
    int found = 0;
    for (int c = 0; c < map->shape.c; c++) {
        const float mean = mean_of(map, c);
        if (found == n && !(mean > means[n - 1]))
            continue;
        int at = found < n ? found++ : n - 1;
        for (; at > 0 && mean > means[at - 1]; at--) {
            channels[at] = channels[at - 1];
            means[at] = means[at - 1];
        }
        channels[at] = c;
        means[at] = mean;
    }
}

void features_channel(const struct features_map *map, int channel, float *out)
{
    size_t n, stride;
    const float *values = channel_of(map, channel, &n, &stride);
    for (size_t i = 0; i < n; i++)
        out[i] = values[i * stride];
}
