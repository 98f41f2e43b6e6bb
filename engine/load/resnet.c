/* Tensor names -> ResNet topology (He et al. 2015). One pass in the network's own order; each layer
 * takes its tensors by name and checks their shapes against what the layers before it leave.
 *
 * Two spellings are known, in the table below. A block has two convolutions (basic) or three
 * (bottleneck); it has a projection where the file has weights for one, and an identity where its
 * input and output agree. Elsewhere the nets for CIFAR that have no projection at all have the
 * parameter-free option A; in others a tensor is missing.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/load/resnet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 192
#define MAX_STAGES 4
#define PIECE 65536 /* values, which stay in a cache until they have been looked at */

/* {s}, {b} and {i} stand for stage, block and layer, counted from `first` (blocks from 0). */
struct spelling {
    const char *stem_conv, *stem_bn;
    const char *conv, *bn;
    const char *projections[2][2]; /* alternatives: {conv, bn} */
    const char *linears[2];        /* alternatives */
    const char *block;             /* prefix of the nodes that have no tensors */
    int first_stage, first_layer;
};

static const struct spelling spellings[] = {
    /* torchvision, timm, and the CIFAR trainings that follow them */
    {.stem_conv = "conv1",
     .stem_bn = "bn1",
     .conv = "layer{s}.{b}.conv{i}",
     .bn = "layer{s}.{b}.bn{i}",
     .projections = {{"layer{s}.{b}.downsample.0", "layer{s}.{b}.downsample.1"},
                     {"layer{s}.{b}.shortcut.0", "layer{s}.{b}.shortcut.1"}},
     .linears = {"fc", "linear"},
     .block = "layer{s}.{b}",
     .first_stage = 1,
     .first_layer = 1},
    /* Hugging Face transformers */
    {.stem_conv = "resnet.embedder.embedder.convolution",
     .stem_bn = "resnet.embedder.embedder.normalization",
     .conv = "resnet.encoder.stages.{s}.layers.{b}.layer.{i}.convolution",
     .bn = "resnet.encoder.stages.{s}.layers.{b}.layer.{i}.normalization",
     .projections = {{"resnet.encoder.stages.{s}.layers.{b}.shortcut.convolution",
                      "resnet.encoder.stages.{s}.layers.{b}.shortcut.normalization"}},
     .linears = {"classifier.1"},
     .block = "resnet.encoder.stages.{s}.layers.{b}",
     .first_stage = 0,
     .first_layer = 0},
};

/* What the functions below share while a graph is being built. */
struct builder {
    struct weights *weights;
    struct graph *graph;
    const struct spelling *spelling;
    bool stride_in_1x1;
    bool option_a;    /* shortcuts have no weights */
    int stage, block; /* from 0 */
    int part;         /* RN_STAGE_STEM, 1… in a stage, RN_STAGE_HEAD */
    int last;         /* node whose output the next layer reads */
    int channels;     /* of that output */
    struct rn_error *err;
};

/* Replaces {s}, {b}, {i} of a pattern. */
static const char *expand(const struct builder *b, const char *pattern, int layer, char *name)
{
    size_t n = 0;
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '{' && p[1] && p[2] == '}') {
            int value = p[1] == 's'   ? b->stage + b->spelling->first_stage
                        : p[1] == 'b' ? b->block
                                      : layer + b->spelling->first_layer;
            n += (size_t)snprintf(name + n, NAME_SIZE - n, "%d", value);
            p += 2;
        } else {
            name[n++] = *p;
        }
    }
    name[n] = '\0';
    return name;
}

/* The tensor name.part, NULL without it. */
static struct weight *find(const struct builder *b, const char *name, const char *part)
{
    char full[NAME_SIZE + 16];
    (void)snprintf(full, sizeof full, "%s.%s", name, part);
    return weights_find(b->weights, full);
}

/* Where the first value is that is infinite or not a number, n: nowhere. */
static size_t find_not_finite(const float *values, size_t n)
{
    const uint32_t infinity = 0x7f800000; /* and above, without the sign, what is not a number */
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    size_t at = largest < infinity ? n : 0;
    while (at < n && isfinite(values[at]))
        at++;
    return at;
}

/* Takes the tensor name.part as fp32 of exactly this shape, into *out and its size into *count. */
static enum rn_status take(struct builder *b, const char *name, const char *part,
                           const int64_t *shape, int n_dims, float **out, size_t *count)
{
    struct weight *w = find(b, name, part);
    if (!w)
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL, "the file has no tensor %s.%s", name, part);
    bool same = w->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++)
        same = w->shape[i] == shape[i];
    if (!same) {
        char want[96], have[96];
        struct weight expected = {.n_dims = n_dims};
        memcpy(expected.shape, shape, (size_t)n_dims * sizeof *shape);
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL, "%s: expected %s, the file has %s", w->name,
                       weight_shape_text(&expected, want, sizeof want),
                       weight_shape_text(w, have, sizeof have));
    }
    if (w->type == WEIGHT_I64)
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL, "%s: integers, expected floats", w->name);
    float *values = malloc(w->count * sizeof *values);
    if (!values)
        return rn_fail(b->err, RN_NO_MEMORY, "%s: out of memory for %zu values", w->name, w->count);
    for (size_t at = 0, n; at < w->count; at += n) {
        n = w->count - at < PIECE ? w->count - at : PIECE;
        weight_floats(w, at, n, values + at);
        const size_t bad = find_not_finite(values + at, n);
        if (bad < n) {
            free(values);
            return rn_fail(b->err, RN_BAD_MODEL, "%s: value %zu is not finite", w->name, at + bad);
        }
        graph_rest(b->graph);
    }
    w->used = true;
    *out = values;
    *count = w->count;
    return RN_OK;
}

/* Adds a node that reads b->last and becomes it. */
static enum rn_status add_node(struct builder *b, const struct op *op, int other, const char *name,
                               struct op_attrs attrs)
{
    int node = graph_add(b->graph, op, b->last, other, "%s", name);
    if (node == NODE_NONE)
        return rn_fail(b->err, RN_NO_MEMORY, "out of memory for layer %s", name);
    b->graph->nodes[node].attrs = attrs;
    b->graph->nodes[node].stage = b->part;
    b->graph->nodes[node].block =
        b->part == RN_STAGE_STEM || b->part == RN_STAGE_HEAD ? -1 : b->block;
    b->last = node;
    return RN_OK;
}

/* A convolution without bias; channels, window and (where allowed) groups come from the tensor's
 * shape. */
static enum rn_status add_conv(struct builder *b, const char *name, int kernel, int stride,
                               bool grouped)
{
    const struct weight *w = find(b, name, "weight");
    if (!w)
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL, "the file has no tensor %s.weight", name);
    int64_t in = b->channels;
    if (grouped && w->n_dims == 4 && w->shape[1] < in && in % w->shape[1] == 0)
        in = w->shape[1];
    int64_t out = w->n_dims > 0 ? w->shape[0] : 0;
    if (out > OP_MAX_CHANNELS)
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL, "%s: %lld channels are too many", w->name,
                       (long long)out);
    struct op_attrs attrs = {.out_channels = (int)out,
                             .kernel = kernel,
                             .stride = stride,
                             .pad = kernel / 2,
                             .groups = b->channels / (int)in};
    enum rn_status status = add_node(b, &op_conv, NODE_NONE, name, attrs);
    if (status != RN_OK)
        return status;
    struct node *node = &b->graph->nodes[b->last];
    b->channels = attrs.out_channels;
    return take(b, name, "weight", (int64_t[]){out, in, kernel, kernel}, 4, &node->weight,
                &node->n_weight);
}

static enum rn_status add_bn(struct builder *b, const char *name)
{
    enum rn_status status = add_node(b, &op_bn, NODE_NONE, name, (struct op_attrs){0});
    if (status != RN_OK)
        return status;
    struct node *node = &b->graph->nodes[b->last];
    const int64_t shape[] = {b->channels};
    size_t n_mean = 0, n_var = 0;
    status = take(b, name, "weight", shape, 1, &node->weight, &node->n_weight);
    if (status == RN_OK)
        status = take(b, name, "bias", shape, 1, &node->bias, &node->n_bias);
    if (status == RN_OK)
        status = take(b, name, "running_mean", shape, 1, &node->mean, &n_mean);
    if (status == RN_OK)
        status = take(b, name, "running_var", shape, 1, &node->var, &n_var);
    for (size_t i = 0; status == RN_OK && i < n_var; i++)
        if (node->var[i] < 0)
            status =
                rn_fail(b->err, RN_BAD_MODEL, "%s.running_var: value %zu is negative", name, i);
    return status;
}

static enum rn_status add_relu(struct builder *b, const char *prefix, const char *name)
{
    char full[NAME_SIZE + 16];
    (void)snprintf(full, sizeof full, "%s%s%s", prefix, *prefix ? "." : "", name);
    return add_node(b, &op_relu, NODE_NONE, full, (struct op_attrs){0});
}

static bool has_projections(const struct builder *b)
{
    struct builder at = {.weights = b->weights, .spelling = b->spelling};
    char name[NAME_SIZE];
    for (; at.stage < MAX_STAGES; at.stage++)
        for (size_t i = 0; i < 2 && b->spelling->projections[i][0]; i++)
            if (find(&at, expand(&at, b->spelling->projections[i][0], 0, name), "weight"))
                return true;
    return false;
}

/* Where the shape changes or the file has a projection: the node to add to the block's output. */
static enum rn_status add_shortcut(struct builder *b, int stride, int out_channels)
{
    char name[NAME_SIZE];
    for (size_t i = 0; i < 2 && b->spelling->projections[i][0]; i++) {
        expand(b, b->spelling->projections[i][0], 0, name);
        if (!find(b, name, "weight"))
            continue;
        enum rn_status status = add_conv(b, name, 1, stride, false);
        if (status == RN_OK)
            status = add_bn(b, expand(b, b->spelling->projections[i][1], 0, name));
        return status;
    }
    if (stride == 1 && b->channels == out_channels)
        return RN_OK;
    if (!b->option_a)
        return add_conv(b, expand(b, b->spelling->projections[0][0], 0, name), 1, stride, false);
    expand(b, b->spelling->block, 0, name);
    (void)strncat(name, ".shortcut", NAME_SIZE - strlen(name) - 1);
    b->channels = out_channels;
    return add_node(b, &op_shortcut, NODE_NONE, name,
                    (struct op_attrs){.out_channels = out_channels, .stride = stride});
}

/* One residual block; n_convs = 2 or 3. The shortcut comes before the last convolution, which adds
 * it to its output: not sooner, since it is large. */
static enum rn_status add_block(struct builder *b, int n_convs)
{
    char name[NAME_SIZE], prefix[NAME_SIZE];
    expand(b, b->spelling->block, 0, prefix);
    int stride = b->block == 0 && b->stage > 0 ? 2 : 1;
    int strided = n_convs == 2 || b->stride_in_1x1 ? 0 : 1;
    const struct weight *last = find(b, expand(b, b->spelling->conv, n_convs - 1, name), "weight");
    if (!last || last->n_dims != 4 || last->shape[0] > OP_MAX_CHANNELS)
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL, "%s.weight is missing or not a convolution's",
                       name);

    const int input = b->last, channels = b->channels;
    int shortcut = input, shortcut_channels = channels;
    enum rn_status status = RN_OK;
    for (int i = 0; i < n_convs; i++) {
        bool is_1x1 = n_convs == 3 && i != 1;
        if (i == n_convs - 1) {
            const int inner = b->last, inner_channels = b->channels;
            b->last = input;
            b->channels = channels;
            status = add_shortcut(b, stride, (int)last->shape[0]);
            shortcut = b->last;
            shortcut_channels = b->channels;
            b->last = inner;
            b->channels = inner_channels;
        }
        if (status == RN_OK)
            status = add_conv(b, expand(b, b->spelling->conv, i, name), is_1x1 ? 1 : 3,
                              i == strided ? stride : 1, n_convs == 3 && i == 1);
        if (status == RN_OK)
            status = add_bn(b, expand(b, b->spelling->bn, i, name));
        if (status == RN_OK && i < n_convs - 1) {
            (void)snprintf(name, sizeof name, "relu%d", i + b->spelling->first_layer);
            status = add_relu(b, prefix, name);
        }
        if (status != RN_OK)
            return status;
    }
    if (b->channels != shortcut_channels)
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL,
                       "%s: the shortcut has %d channels, the block %d", prefix, shortcut_channels,
                       b->channels);
    (void)snprintf(name, sizeof name, "%.*s.add", NAME_SIZE - 8, prefix);
    status = add_node(b, &op_add, shortcut, name, (struct op_attrs){0});
    return status == RN_OK ? add_relu(b, prefix, "relu") : status;
}

/* The stem: 7×7 stride 2 and max-pool (ImageNet), or 3×3 stride 1 (CIFAR). */
static enum rn_status add_stem(struct builder *b, struct resnet *out)
{
    const struct spelling *s = b->spelling;
    const struct weight *w = find(b, s->stem_conv, "weight");
    int64_t kernel = w->n_dims == 4 ? w->shape[3] : 0;
    if (kernel != 7 && kernel != 3)
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL,
                       "%s: a stem of 7×7 or 3×3 is expected, not of %lld×%lld", w->name,
                       (long long)kernel, (long long)kernel);
    out->imagenet_stem = kernel == 7;
    enum rn_status status = add_node(b, &op_input, NODE_NONE, "input", (struct op_attrs){0});
    if (status == RN_OK)
        status = add_conv(b, s->stem_conv, (int)kernel, out->imagenet_stem ? 2 : 1, false);
    if (status == RN_OK)
        status = add_bn(b, s->stem_bn);
    if (status == RN_OK)
        status = add_relu(b, "", "relu");
    if (status == RN_OK && out->imagenet_stem)
        status = add_node(b, &op_maxpool, NODE_NONE, "maxpool",
                          (struct op_attrs){.kernel = 3, .stride = 2, .pad = 1});
    return status;
}

static enum rn_status add_head(struct builder *b, struct resnet *out)
{
    enum rn_status status = add_node(b, &op_avgpool, NODE_NONE, "avgpool", (struct op_attrs){0});
    if (status != RN_OK)
        return status;
    const char *name = b->spelling->linears[0];
    if (b->spelling->linears[1] && !find(b, name, "weight"))
        name = b->spelling->linears[1];
    const struct weight *w = find(b, name, "weight");
    if (!w || w->n_dims != 2 || w->shape[0] > OP_MAX_CHANNELS)
        return rn_fail(b->err, RN_UNSUPPORTED_MODEL, "%s.weight is missing or not a linear layer's",
                       b->spelling->linears[0]);
    out->classes = (int)w->shape[0];
    status =
        add_node(b, &op_linear, NODE_NONE, name, (struct op_attrs){.out_channels = out->classes});
    if (status != RN_OK)
        return status;
    struct node *node = &b->graph->nodes[b->last];
    status = take(b, name, "weight", (int64_t[]){out->classes, b->channels}, 2, &node->weight,
                  &node->n_weight);
    if (status == RN_OK)
        status = take(b, name, "bias", (int64_t[]){out->classes}, 1, &node->bias, &node->n_bias);
    return status;
}

/* "resnext50_32x4d" from the first block's 3×3 and the number of layers. */
static void name_architecture(const struct builder *b, int n_stages, int n_blocks, int n_convs,
                              struct resnet *out)
{
    int depth = 2 + n_blocks * n_convs, groups = 1, width = 64;
    char name[NAME_SIZE];
    const struct builder first = {.spelling = b->spelling};
    const struct weight *w = find(b, expand(&first, b->spelling->conv, 1, name), "weight");
    if (n_convs == 3) {
        groups = (int)(w->shape[0] / w->shape[1]);
        width = (int)w->shape[0];
    }
    const char *cifar = out->imagenet_stem ? "" : n_stages == 3 ? "-cifar" : "-cifar4";
    if (groups > 1)
        (void)snprintf(out->architecture, sizeof out->architecture, "resnext%d_%dx%dd%s", depth,
                       groups, width / groups, cifar);
    else if (width > 64 && width % 64 == 0)
        (void)snprintf(out->architecture, sizeof out->architecture, "wide_resnet%d_%d%s", depth,
                       width / 64, cifar);
    else
        (void)snprintf(out->architecture, sizeof out->architecture, "resnet%d%s", depth, cifar);
}

/* A tensor that no layer took means that this is some other network. */
static enum rn_status check_all_used(const struct builder *b)
{
    static const char counter[] = "num_batches_tracked";
    for (size_t i = 0; i < b->weights->n; i++) {
        const struct weight *w = &b->weights->items[i];
        const char *dot = strrchr(w->name, '.');
        if (!w->used && strcmp(dot ? dot + 1 : w->name, counter) != 0)
            return rn_fail(b->err, RN_UNSUPPORTED_MODEL,
                           "tensor %.150s is used by no layer of a ResNet", w->name);
    }
    return RN_OK;
}

/* A basic block's first window is 3×3, a bottleneck's 1×1. */
static int convs_of_block(const struct builder *b)
{
    char name[NAME_SIZE];
    const struct weight *first = find(b, expand(b, b->spelling->conv, 0, name), "weight");
    return (first && first->n_dims == 4 && first->shape[3] == 1) ||
                   find(b, expand(b, b->spelling->conv, 2, name), "weight")
               ? 3
               : 2;
}

/* Whether the file has any tensor of block b->block of stage b->stage. */
static bool has_block(const struct builder *b)
{
    char prefix[NAME_SIZE];
    expand(b, b->spelling->block, 0, prefix);
    const size_t length = strlen(prefix);
    for (size_t i = 0; i < b->weights->n; i++) {
        const char *name = b->weights->items[i].name;
        if (strncmp(name, prefix, length) == 0 && name[length] == '.')
            return true;
    }
    return false;
}

enum rn_status resnet_build(struct weights *weights, bool stride_in_1x1, struct graph *graph,
                            struct resnet *out, struct rn_error *err)
{
    struct builder b = {.weights = weights,
                        .graph = graph,
                        .stride_in_1x1 = stride_in_1x1,
                        .last = NODE_NONE,
                        .channels = 3,
                        .err = err};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings && !b.spelling; i++) {
        b.spelling = &spellings[i];
        if (!find(&b, spellings[i].stem_conv, "weight"))
            b.spelling = NULL;
    }
    if (!b.spelling)
        return rn_fail(err, RN_UNSUPPORTED_MODEL, "no tensor %s.weight or %s.weight: not a ResNet",
                       spellings[0].stem_conv, spellings[1].stem_conv);
    struct resnet net = {0};
    enum rn_status status = add_stem(&b, &net);
    b.option_a = !net.imagenet_stem && !has_projections(&b);
    const int n_convs = convs_of_block(&b);
    int n_blocks = 0;
    for (; status == RN_OK && b.stage < MAX_STAGES; b.stage++) {
        b.part = b.stage + 1;
        for (b.block = 0; status == RN_OK; b.block++, n_blocks++) {
            if (!has_block(&b))
                break;
            status = add_block(&b, n_convs);
        }
        if (b.block == 0)
            break;
    }
    int n_stages = b.stage;
    b.part = RN_STAGE_HEAD;
    if (status == RN_OK && n_stages < 3)
        status =
            rn_fail(err, RN_UNSUPPORTED_MODEL, "%d stages: a ResNet has three or four", n_stages);
    if (status == RN_OK)
        status = add_head(&b, &net);
    if (status == RN_OK)
        status = check_all_used(&b);
    if (status != RN_OK)
        return status;
    name_architecture(&b, n_stages, n_blocks, n_convs, &net);
    *out = net;
    return RN_OK;
}
