/* Feature maps: where the layers of a network are found in its plan, and which of their channels
 * say most.
 *
 * Pure; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_FEATURES_H
#define RESNETD_ENGINE_FEATURES_H

#include "engine/plan/plan.h"

/* One image's map: blocked, or [c][h][w] when planar. */
struct features_map {
    const float *values;
    struct shape shape;
    bool planar;
};

/* Layers are those of the graph as written; layer i has become a part of step where[i]. A
 * convolution is taken with the normalisation that is folded into it, and with its activation where
 * no addition comes between. taps is [n]. */
void features_taps(const struct rn_layer *layers, size_t n, const int *where,
                   struct plan_tap *taps);

/* The n channels with the highest mean, best first, the lower one first among equals. */
void features_rank(const struct features_map *map, int n, int *channels, float *means);

/* out is [h][w]. */
void features_channel(const struct features_map *map, int channel, float *out);

#endif
