/* Model files of every architecture with seeded weights, made in memory, and seeded images.
 *
 * The same numbers are made by tests/golden/make_golden.py, so that PyTorch's logits for them can
 * be kept without keeping the weights. A value is a hash of its tensor's name and its own index,
 * brought to a range that keeps activations sane; tests/golden/README.md has the formula. Names
 * are hashed in torchvision's spelling whatever the file's is. Failures fail the test.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_MODEL_H
#define RESNETD_TESTS_SUPPORT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/load/weights.h"

enum support_spelling {
    SUPPORT_TORCHVISION,  /* layer1.0.downsample.0, fc */
    SUPPORT_CIFAR,        /* layer1.0.shortcut.0, linear */
    SUPPORT_HUGGING_FACE, /* resnet.encoder.stages.0.layers.0.shortcut.convolution, classifier.1 */
};

struct support_net {
    enum support_spelling spelling;
    int stem;         /* side of the first convolution: 7 or 3 */
    int convs;        /* in a block: 2 basic, 3 bottleneck */
    int depths[4];    /* blocks of each stage, 0 where there is none */
    int planes;       /* of the first stage, doubled by each next one */
    int groups;       /* of the 3x3 convolutions in bottlenecks … */
    int group_width;  /* … and their channels at 64 planes */
    bool projections; /* shortcuts with weights where the shape changes; false: option A */
    int classes;
    double residual; /* factor of each residual branch's last BN gamma */
};

struct support_options {
    enum weight_type type; /* of the floats in the file */
    const char *prefix;    /* of every name: "", "module.", … */
    int size;              /* of the input, said as resnetd.preprocess; 0: not said */
    bool stride_in_1x1;    /* said as resnetd.topology */
};

/* A .safetensors file. End with support_model_done(). */
struct support_model {
    uint8_t *bytes;
    size_t n;
    uint64_t checksum; /* sum of all 32-bit patterns of the weights before conversion to `type` */
};

void support_model_make(const struct support_net *net, const struct support_options *options,
                        struct support_model *out);
void support_model_done(struct support_model *model);

/* The index-th image: [3][size][size], about -2…2. */
void support_image(int index, int size, float *out);

#endif
