/* Seeded model files and images.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_model.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#define NAME_SIZE 96

/* How a hash becomes a value; tests/golden/make_golden.py has the same list. */
enum kind { CONV, GAMMA, LAST_GAMMA, BETA, MEAN, VARIANCE, LINEAR, BIAS, COUNTER };

struct tensor {
    char name[NAME_SIZE]; /* in the file's spelling */
    char seed[NAME_SIZE]; /* in torchvision's */
    enum kind kind;
    int n_dims;
    int shape[4];
};

struct list {
    struct tensor *items;
    size_t n, capacity;
};

/* ---- the seeded numbers --------------------------------------------------------------------- */

static uint64_t hash_name(const char *name) /* FNV-1a */
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3;
    return hash;
}

/* The index-th number of the splitmix64 stream of `seed`: 24 bits as 0 <= u < 1. */
static double uniform(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (double)((z ^ z >> 31) >> 40) * 0x1p-24;
}

static double value_of(const struct tensor *tensor, double fan_in, double residual, double u)
{
    switch (tensor->kind) {
    case CONV:
        return (2 * u - 1) * sqrt(6 / fan_in);
    case LINEAR:
        return (2 * u - 1) * sqrt(3 / fan_in);
    case GAMMA:
    case VARIANCE:
        return 0.5 + u;
    case LAST_GAMMA:
        return residual * (0.5 + u);
    case BETA:
    case MEAN:
    case BIAS:
        return 0.1 * (2 * u - 1);
    case COUNTER:
        break;
    }
    return 0;
}

void support_image(int index, int size, float *out)
{
    char name[32];
    (void)snprintf(name, sizeof name, "image%d", index);
    uint64_t fine = hash_name(name);
    (void)snprintf(name, sizeof name, "image%d.coarse", index);
    uint64_t coarse = hash_name(name);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++) {
                uint64_t at = (uint64_t)((c * size + y) * size + x);
                uint64_t patch = (uint64_t)((c * 64 + y / 8) * 64 + x / 8);
                out[at] = (float)(0.5 * (2 * uniform(fine, at) - 1) +
                                  1.5 * (2 * uniform(coarse, patch) - 1));
            }
}

/* ---- the list of tensors --------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void format_name(char *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out, NAME_SIZE, format, args);
    va_end(args);
    cr_assert(n >= 0 && n < NAME_SIZE);
}

/* One tensor "<name>.<field>". */
static void add(struct list *list, const char *name, const char *seed, const char *field,
                enum kind kind, int n_dims, const int shape[4])
{
    if (list->n == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 512;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        cr_assert_not_null(list->items);
    }
    struct tensor *tensor = &list->items[list->n++];
    *tensor = (struct tensor){.kind = kind, .n_dims = n_dims};
    format_name(tensor->name, "%s.%s", name, field);
    format_name(tensor->seed, "%s.%s", seed, field);
    memcpy(tensor->shape, shape, sizeof tensor->shape);
}

/* A convolution and its BN: each has a name in the file and a seed. */
struct pair {
    char conv[NAME_SIZE], bn[NAME_SIZE], conv_seed[NAME_SIZE], bn_seed[NAME_SIZE];
};

static void add_conv_bn(struct list *list, const struct pair *names, int out, int in, int side,
                        bool last)
{
    const int shape[4] = {out, in, side, side};
    add(list, names->conv, names->conv_seed, "weight", CONV, 4, shape);
    add(list, names->bn, names->bn_seed, "weight", last ? LAST_GAMMA : GAMMA, 1, shape);
    add(list, names->bn, names->bn_seed, "bias", BETA, 1, shape);
    add(list, names->bn, names->bn_seed, "running_mean", MEAN, 1, shape);
    add(list, names->bn, names->bn_seed, "running_var", VARIANCE, 1, shape);
    add(list, names->bn, names->bn_seed, "num_batches_tracked", COUNTER, 0, shape);
}

/* Names of the conv-th convolution of a block, counted from 0; -1 is the shortcut's. */
static void block_names(const struct support_net *net, int stage, int block, int conv,
                        struct pair *names)
{
    char layer[64], stages[64];
    (void)snprintf(layer, sizeof layer, "layer%d.%d", stage + 1, block);
    (void)snprintf(stages, sizeof stages, "resnet.encoder.stages.%d.layers.%d", stage, block);
    if (conv < 0) {
        format_name(names->conv_seed, "%s.downsample.0", layer);
        format_name(names->bn_seed, "%s.downsample.1", layer);
        format_name(names->conv, "%s.shortcut.0", layer);
        format_name(names->bn, "%s.shortcut.1", layer);
    } else {
        format_name(names->conv_seed, "%s.conv%d", layer, conv + 1);
        format_name(names->bn_seed, "%s.bn%d", layer, conv + 1);
        memcpy(names->conv, names->conv_seed, NAME_SIZE);
        memcpy(names->bn, names->bn_seed, NAME_SIZE);
    }
    if (net->spelling == SUPPORT_TORCHVISION) {
        memcpy(names->conv, names->conv_seed, NAME_SIZE);
        memcpy(names->bn, names->bn_seed, NAME_SIZE);
    } else if (net->spelling == SUPPORT_HUGGING_FACE && conv < 0) {
        format_name(names->conv, "%s.shortcut.convolution", stages);
        format_name(names->bn, "%s.shortcut.normalization", stages);
    } else if (net->spelling == SUPPORT_HUGGING_FACE) {
        format_name(names->conv, "%s.layer.%d.convolution", stages, conv);
        format_name(names->bn, "%s.layer.%d.normalization", stages, conv);
    }
}

/* Returns the number of channels that come out. */
static int add_block(struct list *list, const struct support_net *net, int stage, int block, int in)
{
    struct pair names;
    int planes = net->planes << stage, out = net->convs == 3 ? 4 * planes : planes;
    int width = net->convs == 3 ? planes * net->group_width / 64 * net->groups : planes;
    for (int conv = 0; conv < net->convs; conv++) {
        bool last = conv + 1 == net->convs, middle = net->convs == 3 && conv == 1;
        block_names(net, stage, block, conv, &names);
        add_conv_bn(list, &names, last ? out : width,
                    conv == 0 ? in : width / (middle ? net->groups : 1),
                    net->convs == 2 || middle ? 3 : 1, last);
    }
    if (net->projections && (in != out || (block == 0 && stage > 0))) {
        block_names(net, stage, block, -1, &names);
        add_conv_bn(list, &names, out, in, 1, false);
    }
    return out;
}

static void list_tensors(const struct support_net *net, struct list *list)
{
    static const struct pair stem = {"conv1", "bn1", "conv1", "bn1"};
    static const struct pair embedder = {"resnet.embedder.embedder.convolution",
                                         "resnet.embedder.embedder.normalization", "conv1", "bn1"};
    static const char *const linears[] = {"fc", "linear", "classifier.1"};
    int channels = net->planes;
    add_conv_bn(list, net->spelling == SUPPORT_HUGGING_FACE ? &embedder : &stem, channels, 3,
                net->stem, false);
    for (int stage = 0; stage < 4; stage++)
        for (int block = 0; block < net->depths[stage]; block++)
            channels = add_block(list, net, stage, block, channels);
    const int shape[4] = {net->classes, channels};
    add(list, linears[net->spelling], "fc", "weight", LINEAR, 2, shape);
    add(list, linears[net->spelling], "fc", "bias", BIAS, 1, shape);
}

/* ---- the file ------------------------------------------------------------------------------- */

static size_t tensor_count(const struct tensor *tensor)
{
    size_t count = 1;
    for (int i = 0; i < tensor->n_dims; i++)
        count *= (size_t)tensor->shape[i];
    return count;
}

static size_t item_bytes(const struct tensor *tensor, enum weight_type type)
{
    if (tensor->kind == COUNTER)
        return 8;
    return type == WEIGHT_F32 ? 4 : 2;
}

/* Round to nearest, ties to even; the values made here are far below half's largest. */
static uint16_t float_half(uint32_t bits, float value)
{
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude < 0x38800000) /* below 2^-14: subnormal */
        return (uint16_t)(sign | (uint32_t)lrintf(fabsf(value) * 0x1p24f));
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (magnitude - ((uint32_t)(127 - 15) << 23)) >> 13);
}

static uint16_t float_bfloat(uint32_t bits)
{
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Writes a tensor's values little-endian; returns the sum of their 32-bit patterns. */
static uint64_t write_values(const struct tensor *tensor, double residual, enum weight_type type,
                             uint8_t *out)
{
    size_t count = tensor_count(tensor), bytes = item_bytes(tensor, type);
    if (tensor->kind == COUNTER) {
        memset(out, 0, bytes);
        return 0;
    }
    uint64_t seed = hash_name(tensor->seed), sum = 0;
    double fan_in = 1;
    for (int i = 1; i < tensor->n_dims; i++)
        fan_in *= tensor->shape[i];
    for (size_t i = 0; i < count; i++) {
        float value = (float)value_of(tensor, fan_in, residual, uniform(seed, i));
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        sum += bits;
        if (type == WEIGHT_F16)
            bits = float_half(bits, value);
        else if (type == WEIGHT_BF16)
            bits = float_bfloat(bits);
        for (size_t b = 0; b < bytes; b++)
            *out++ = (uint8_t)(bits >> 8 * b);
    }
    return sum;
}

static void write_metadata(FILE *file, const struct support_options *options)
{
    (void)fputs("{\"__metadata__\":{\"format\":\"pt\"", file);
    if (options->size)
        (void)fprintf(file, ",\"resnetd.preprocess\":\"{\\\"resize\\\": %d, \\\"crop\\\": %d}\"",
                      options->size, options->size);
    if (options->stride_in_1x1)
        (void)fputs(",\"resnetd.topology\":\"{\\\"stride_in_1x1\\\": true}\"", file);
    (void)fputs("}", file);
}

/* The header's JSON, padded to a multiple of 8 bytes; *n_data bytes of tensors follow it. */
static char *make_header(const struct list *list, const struct support_options *options,
                         size_t *n_header, size_t *n_data)
{
    static const char *const dtypes[] = {
        [WEIGHT_F32] = "F32", [WEIGHT_F16] = "F16", [WEIGHT_BF16] = "BF16", [WEIGHT_I64] = "I64"};
    char *header = NULL;
    FILE *file = open_memstream(&header, n_header);
    cr_assert_not_null(file);
    write_metadata(file, options);
    *n_data = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct tensor *tensor = &list->items[i];
        size_t end = *n_data + tensor_count(tensor) * item_bytes(tensor, options->type);
        (void)fprintf(file, ",\"%s%s\":{\"dtype\":\"%s\",\"shape\":[", options->prefix,
                      tensor->name, dtypes[tensor->kind == COUNTER ? WEIGHT_I64 : options->type]);
        for (int d = 0; d < tensor->n_dims; d++)
            (void)fprintf(file, "%s%d", d ? "," : "", tensor->shape[d]);
        (void)fprintf(file, "],\"data_offsets\":[%zu,%zu]}", *n_data, end);
        *n_data = end;
    }
    (void)fputs("}", file);
    (void)fflush(file);
    while (*n_header % 8) {
        (void)fputc(' ', file);
        (void)fflush(file);
    }
    cr_assert_eq(fclose(file), 0);
    return header;
}

void support_model_make(const struct support_net *net, const struct support_options *options,
                        struct support_model *out)
{
    struct list list = {0};
    list_tensors(net, &list);
    size_t n_header, n_data;
    char *header = make_header(&list, options, &n_header, &n_data);
    *out = (struct support_model){.n = 8 + n_header + n_data};
    out->bytes = malloc(out->n);
    cr_assert_not_null(out->bytes);
    uint8_t *p = out->bytes;
    for (int b = 0; b < 8; b++)
        *p++ = (uint8_t)((uint64_t)n_header >> 8 * b);
    memcpy(p, header, n_header);
    p += n_header;
    for (size_t i = 0; i < list.n; i++) {
        out->checksum += write_values(&list.items[i], net->residual, options->type, p);
        p += tensor_count(&list.items[i]) * item_bytes(&list.items[i], options->type);
    }
    free(header);
    free(list.items);
}

void support_model_done(struct support_model *model)
{
    free(model->bytes);
    *model = (struct support_model){0};
}
