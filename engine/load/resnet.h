/* Which ResNet is it? Names and shapes of the tensors tell; the result is a graph.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_LOAD_RESNET_H
#define RESNETD_ENGINE_LOAD_RESNET_H

#include "engine/graph/graph.h"
#include "engine/load/weights.h"

struct resnet {
    char architecture[64]; /* "resnet50", "resnext50_32x4d", "wide_resnet50_2", "resnet20-cifar" */
    int classes;
    bool imagenet_stem; /* 7×7 stride 2 and max-pool, not 3×3 stride 1 */
};

/* Builds the graph of torchvision's and timm's ResNet, ResNeXt and Wide-ResNet, of the CIFAR family
 * with three or four stages, and of Hugging Face's ResNetForImageClassification. Every tensor must
 * be used and every layer must have its tensors, with the shapes expected and finite values.
 * `stride_in_1x1`: a bottleneck's stride is in its first 1×1 and not in its 3×3. The weights are
 * converted and copied. RN_UNSUPPORTED_MODEL, RN_BAD_MODEL naming the tensor, RN_NO_MEMORY. */
enum rn_status resnet_build(struct weights *weights, bool stride_in_1x1, struct graph *graph,
                            struct resnet *out, struct rn_error *err)
    __attribute__((warn_unused_result));

#endif
