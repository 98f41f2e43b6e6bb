/* What a model says about itself: its own metadata first, then the hub's files, then defaults.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/load/meta.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load/fields.h"
#include "engine/load/imagenet_labels.h"
#include "engine/load/sidecar.h"
#include "engine/load/textfile.h"

#define LABELS_MAX_BYTES ((size_t)16 << 20)

static enum rn_status no_memory(struct rn_error *err)
{
    return rn_fail(err, RN_NO_MEMORY, "out of memory for the model's texts");
}

static void free_texts(char **texts, int n)
{
    for (int i = 0; texts && i < n; i++)
        free(texts[i]);
    free(texts);
}

/* Cuts text at its '\n's: one text more than there are of these. */
static enum rn_status split_lines(const char *text, char ***out, int *n_out, struct rn_error *err)
{
    int n = 1;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        n++;
    char **lines = calloc((size_t)n, sizeof *lines);
    if (!lines)
        return no_memory(err);
    for (int i = 0; i < n; i++) {
        size_t length = strcspn(text, "\n");
        lines[i] = strndup(text, length);
        if (!lines[i]) {
            free_texts(lines, n);
            return no_memory(err);
        }
        text += length + 1;
    }
    *out = lines;
    *n_out = n;
    return RN_OK;
}

static enum rn_status copy_text(const struct weights *weights, const char *key, char **out,
                                struct rn_error *err)
{
    const char *text = weights_text(weights, key);
    if (!text)
        return RN_OK;
    *out = strdup(text);
    return *out ? RN_OK : no_memory(err);
}

static enum rn_status read_names(const struct weights *weights, struct meta *meta,
                                 struct rn_error *err)
{
    const struct {
        const char *key;
        char **out;
    } names[] = {
        {"resnetd.name", &meta->name},
        {"resnetd.version", &meta->version},
        {"resnetd.source", &meta->source},
        {"resnetd.accuracy", &meta->accuracy},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        enum rn_status status = copy_text(weights, names[i].key, names[i].out, err);
        if (status)
            return status;
    }
    return RN_OK;
}

static enum rn_status read_lists(const struct weights *weights, struct meta *meta,
                                 struct rn_error *err)
{
    const char *labels = weights_text(weights, "resnetd.labels");
    const char *ids = weights_text(weights, "resnetd.ids");
    enum rn_status status = RN_OK;
    if (labels)
        status = split_lines(labels, &meta->labels, &meta->n_labels, err);
    if (!status && ids)
        status = split_lines(ids, &meta->ids, &meta->n_ids, err);
    meta->labels_from = "resnetd.labels";
    return status;
}

/* A metadata value that is JSON; *out stays NULL when there is none. */
static enum rn_status parse_text(const struct weights *weights, const char *key,
                                 const char *const *known, json_t **out, struct rn_error *err)
{
    const char *text = weights_text(weights, key);
    if (!text)
        return RN_OK;
    json_t *root = fields_parse(text, strlen(text), key, err);
    if (!root)
        return RN_BAD_MODEL;
    enum rn_status status = fields_check_known(root, key, known, err);
    if (status)
        json_decref(root);
    else
        *out = root;
    return status;
}

static enum rn_status read_preprocess(const struct weights *weights, struct meta *meta,
                                      struct rn_error *err)
{
    static const char where[] = "resnetd.preprocess";
    static const char *const known[] = {"resize", "crop", "interpolation", "mean", "std", NULL};
    struct rn_recipe *recipe = &meta->recipe;
    json_t *root = NULL;
    enum rn_status status = parse_text(weights, where, known, &root, err);
    if (status || !root)
        return status;
    status = fields_side(root, where, "resize", &meta->has_resize, &recipe->resize, err);
    if (!status)
        status = fields_side(root, where, "crop", &meta->has_crop, &recipe->crop, err);
    if (!status)
        status = fields_interpolation(root, where, "interpolation", &meta->has_interpolation,
                                      &recipe->interpolation, err);
    if (!status)
        status = fields_mean_std(root, where, "mean", "std", &meta->has_mean_std, recipe, err);
    json_decref(root);
    return status;
}

/* The logits of rn_golden_input(), by whoever made the file. */
static enum rn_status read_golden(const struct weights *weights, struct meta *meta,
                                  struct rn_error *err)
{
    static const char where[] = "resnetd.golden";
    static const char *const known[] = {"logits", NULL};
    json_t *root = NULL;
    enum rn_status status = parse_text(weights, where, known, &root, err);
    if (status || !root)
        return status;
    const json_t *logits = json_object_get(root, "logits");
    const size_t n = json_array_size(logits);
    if (n == 0 || n > INT_MAX)
        status = rn_fail(err, RN_BAD_MODEL, "%s: logits must be an array of numbers", where);
    else if (!(meta->golden = calloc(n, sizeof *meta->golden)))
        status = no_memory(err);
    for (size_t i = 0; i < n && !status; i++) {
        const json_t *logit = json_array_get(logits, i);
        meta->golden[i] = (float)json_number_value(logit);
        if (!json_is_number(logit) || !isfinite(meta->golden[i]))
            status = rn_fail(err, RN_BAD_MODEL, "%s: logit %zu is not a finite number", where, i);
    }
    meta->n_golden = (int)n;
    json_decref(root);
    return status;
}

static enum rn_status read_topology(const struct weights *weights, struct meta *meta,
                                    struct rn_error *err)
{
    static const char where[] = "resnetd.topology";
    static const char *const known[] = {"stride_in_1x1", NULL};
    json_t *root = NULL;
    enum rn_status status = parse_text(weights, where, known, &root, err);
    if (status || !root)
        return status;
    const json_t *stride = json_object_get(root, "stride_in_1x1");
    if (stride && !json_is_boolean(stride))
        status = rn_fail(err, RN_BAD_MODEL, "%s: stride_in_1x1 must be true or false", where);
    meta->stride_in_1x1 = json_is_true(stride);
    meta->has_topology = stride != NULL;
    json_decref(root);
    return status;
}

enum rn_status meta_read(const struct weights *weights, const char *folder, struct meta *out,
                         struct rn_error *err)
{
    struct meta meta = {0};
    enum rn_status status = read_names(weights, &meta, err);
    if (!status)
        status = read_lists(weights, &meta, err);
    if (!status)
        status = read_preprocess(weights, &meta, err);
    if (!status)
        status = read_topology(weights, &meta, err);
    if (!status)
        status = read_golden(weights, &meta, err);
    if (!status && folder)
        status = sidecar_read(folder, &meta, err);
    if (status)
        meta_done(&meta);
    else
        *out = meta;
    return status;
}

/* Ends every line at its '\n' alone and drops the one behind the last line. */
static void trim_lines(char *text)
{
    char *out = text;
    for (const char *in = text; *in; in++)
        if (in[0] != '\r' || in[1] != '\n')
            *out++ = *in;
    if (out > text && out[-1] == '\n')
        out--;
    *out = '\0';
}

enum rn_status meta_read_labels(struct meta *meta, const char *path, struct rn_error *err)
{
    char *text = NULL;
    size_t n = 0;
    enum rn_status status = textfile_read(path, LABELS_MAX_BYTES, &text, &n, err);
    if (status)
        return status;
    char **labels = NULL;
    int n_labels = 0;
    trim_lines(text);
    status = split_lines(text, &labels, &n_labels, err);
    free(text);
    if (status)
        return status;
    free_texts(meta->labels, meta->n_labels);
    meta->labels = labels;
    meta->n_labels = n_labels;
    meta->labels_from = "the labels file";
    return RN_OK;
}

/* ImageNet-1k's names for 1000 classes, else the class index as text. */
static enum rn_status make_labels(struct meta *meta, int classes, struct rn_error *err)
{
    meta->labels = calloc((size_t)classes, sizeof *meta->labels);
    if (!meta->labels)
        return no_memory(err);
    meta->n_labels = classes;
    for (int i = 0; i < classes; i++) {
        char index[16];
        (void)snprintf(index, sizeof index, "%d", i);
        meta->labels[i] = strdup(classes == IMAGENET_CLASSES ? imagenet_labels[i] : index);
        if (!meta->labels[i])
            return no_memory(err);
    }
    return RN_OK;
}

/* A side that is not said follows the one that is: 224 of 256 pixels, or 32 of 32. */
static void settle_recipe(struct meta *meta, bool imagenet_stem)
{
    static const struct rn_recipe imagenet = {
        .resize = 256,
        .crop = 224,
        .interpolation = RN_BILINEAR,
        .mean = {0.485f, 0.456f, 0.406f},
        .std = {0.229f, 0.224f, 0.225f},
    };
    static const struct rn_recipe cifar10 = {
        .resize = 32,
        .crop = 32,
        .interpolation = RN_BILINEAR,
        .mean = {0.4914f, 0.4822f, 0.4465f},
        .std = {0.2470f, 0.2435f, 0.2616f},
    };
    const struct rn_recipe *usual = imagenet_stem ? &imagenet : &cifar10;
    struct rn_recipe *recipe = &meta->recipe;
    if (!meta->has_crop) {
        recipe->crop = usual->crop;
        if (meta->has_resize && recipe->resize < usual->crop)
            recipe->crop = recipe->resize;
    }
    if (!meta->has_resize)
        recipe->resize = recipe->crop * usual->resize / usual->crop;
    if (recipe->resize > RN_MAX_INPUT_SIDE)
        recipe->resize = RN_MAX_INPUT_SIDE;
    if (!meta->has_interpolation)
        recipe->interpolation = usual->interpolation;
    if (!meta->has_mean_std) {
        memcpy(recipe->mean, usual->mean, sizeof recipe->mean);
        memcpy(recipe->std, usual->std, sizeof recipe->std);
    }
    meta->has_crop = meta->has_resize = meta->has_interpolation = meta->has_mean_std = true;
}

enum rn_status meta_settle(struct meta *meta, int classes, bool imagenet_stem, struct rn_error *err)
{
    if (meta->labels && meta->n_labels != classes)
        return rn_fail(err, RN_BAD_MODEL, "%s has %d labels, the network has %d classes",
                       meta->labels_from, meta->n_labels, classes);
    if (meta->ids && meta->n_ids != classes)
        return rn_fail(err, RN_BAD_MODEL, "resnetd.ids has %d ids, the network has %d classes",
                       meta->n_ids, classes);
    if (meta->golden && meta->n_golden != classes)
        return rn_fail(err, RN_BAD_MODEL,
                       "resnetd.golden has %d logits, the network has %d classes", meta->n_golden,
                       classes);
    settle_recipe(meta, imagenet_stem);
    const struct rn_recipe *recipe = &meta->recipe;
    if (recipe->crop > recipe->resize)
        return rn_fail(err, RN_BAD_MODEL,
                       "a crop of %d pixels does not fit into images resized to %d", recipe->crop,
                       recipe->resize);
    return meta->labels ? RN_OK : make_labels(meta, classes, err);
}

void meta_done(struct meta *meta)
{
    free(meta->name);
    free(meta->version);
    free(meta->source);
    free(meta->accuracy);
    free(meta->golden);
    free_texts(meta->labels, meta->n_labels);
    free_texts(meta->ids, meta->n_ids);
    *meta = (struct meta){0};
}
