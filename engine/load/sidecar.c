/* Recipes and labels from the hub's own files.
 *
 * Where a hub's preprocessing is not a resize of the shorter side and a centre crop (transformers
 * squeezes to a square above 384 pixels), the nearest that keeps the aspect ratio is taken:
 * resize = crop. A resampling filter, a crop mode or a topology that the engine does not have is
 * an error, not a guess.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/load/sidecar.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/load/fields.h"
#include "engine/load/textfile.h"

#define SIDECAR_MAX_BYTES ((size_t)1 << 20)
#define DEFAULT_SIDE 224       /* of timm */
#define DEFAULT_CROP_PCT 0.875 /* of timm and of transformers' ConvNext processor */

/* One file being read. */
struct source {
    const char *where;
    struct meta *meta;
    struct rn_error *err;
};

static enum rn_status no_memory(const struct source *source)
{
    return rn_fail(source->err, RN_NO_MEMORY, "%.150s: out of memory", source->where);
}

static enum rn_status refuse(const struct source *source, const char *key, const char *has)
{
    return rn_fail(source->err, RN_UNSUPPORTED_MODEL,
                   "%.150s: %s is not %s, the only one this engine has", source->where, key, has);
}

/* True where object[key] is the wanted text or is not there. */
static bool text_is(const json_t *object, const char *key, const char *wanted)
{
    const json_t *value = fields_get(object, key);
    return !value || (json_is_string(value) && !strcmp(json_string_value(value), wanted));
}

/* How much of the resized image the crop keeps: 0 < pct <= 1. */
static enum rn_status read_crop_pct(const struct source *source, const json_t *object, double *out)
{
    const json_t *value = fields_get(object, "crop_pct");
    const double pct = value ? json_number_value(value) : DEFAULT_CROP_PCT;
    if (!(pct > 0 && pct <= 1))
        return rn_fail(source->err, RN_BAD_MODEL,
                       "%.150s: crop_pct must be a number above 0, at most 1", source->where);
    *out = pct;
    return RN_OK;
}

/* Believes a crop of `crop` from an image whose shorter side is `resize`. */
static enum rn_status fill_sides(const struct source *source, double resize, int crop)
{
    struct meta *meta = source->meta;
    if (resize > RN_MAX_INPUT_SIDE)
        return rn_fail(source->err, RN_BAD_MODEL,
                       "%.150s: the shorter side becomes %.0f pixels, the limit is %d",
                       source->where, resize, RN_MAX_INPUT_SIDE);
    if (!meta->has_resize)
        meta->recipe.resize = (int)resize;
    if (!meta->has_crop)
        meta->recipe.crop = crop;
    meta->has_resize = meta->has_crop = true;
    return RN_OK;
}

/* ---- labels ------------------------------------------------------------------------------- */

static enum rn_status set_label(const struct source *source, int index, const json_t *value)
{
    if (!json_is_string(value))
        return rn_fail(source->err, RN_BAD_MODEL, "%.150s: there is no text for label %d",
                       source->where, index);
    source->meta->labels[index] = strdup(json_string_value(value));
    return source->meta->labels[index] ? RN_OK : no_memory(source);
}

/* timm: a list. transformers: an object {"0": "tench", …}. */
static enum rn_status read_labels(const struct source *source, const json_t *labels)
{
    struct meta *meta = source->meta;
    bool list = json_is_array(labels);
    size_t n = list ? json_array_size(labels) : json_object_size(labels);
    if (meta->labels || n == 0)
        return RN_OK;
    meta->labels = calloc(n, sizeof *meta->labels);
    if (!meta->labels)
        return no_memory(source);
    meta->n_labels = (int)n;
    meta->labels_from = "config.json";
    for (int i = 0; i < meta->n_labels; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", i);
        enum rn_status status = set_label(
            source, i, list ? json_array_get(labels, (size_t)i) : json_object_get(labels, key));
        if (status)
            return status;
    }
    return RN_OK;
}

/* ---- config.json -------------------------------------------------------------------------- */

/* timm: the crop is input_size, or else 224, the shorter side floor(crop / crop_pct). */
static enum rn_status read_timm_recipe(const struct source *source, const json_t *cfg)
{
    struct meta *meta = source->meta;
    if (!text_is(cfg, "crop_mode", "center"))
        return refuse(source, "crop_mode", "center");
    enum rn_status status =
        fields_interpolation(cfg, source->where, "interpolation", &meta->has_interpolation,
                             &meta->recipe.interpolation, source->err);
    if (!status)
        status = fields_mean_std(cfg, source->where, "mean", "std", &meta->has_mean_std,
                                 &meta->recipe, source->err);
    const json_t *input = fields_get(cfg, "input_size");
    if (status || (!input && !fields_get(cfg, "crop_pct")))
        return status;
    long long height = input ? json_integer_value(json_array_get(input, 1)) : DEFAULT_SIDE;
    long long width = input ? json_integer_value(json_array_get(input, 2)) : DEFAULT_SIDE;
    if ((input && json_array_size(input) != 3) || height != width || height < 1 ||
        height > RN_MAX_INPUT_SIDE)
        return rn_fail(source->err, RN_BAD_MODEL,
                       "%.150s: input_size must be [3, side, side] with a side of 1 to %d",
                       source->where, RN_MAX_INPUT_SIDE);
    double pct;
    status = read_crop_pct(source, cfg, &pct);
    return status ? status : fill_sides(source, floor((double)height / pct), (int)height);
}

/* transformers: the keys of its ResNet that shapes cannot tell. */
static enum rn_status read_topology(const struct source *source, const json_t *config)
{
    struct meta *meta = source->meta;
    if (json_is_true(json_object_get(config, "downsample_in_first_stage")))
        return refuse(source, "downsample_in_first_stage", "false");
    if (!text_is(config, "hidden_act", "relu"))
        return refuse(source, "hidden_act", "relu");
    if (!meta->has_topology)
        meta->stride_in_1x1 = json_is_true(json_object_get(config, "downsample_in_bottleneck"));
    return RN_OK;
}

/* timm's networks that differ from a plain ResNet in what has no weights, so that nothing else
 * tells: those that smooth before they skip pixels, or dilate instead; another pool or another
 * activation. */
static enum rn_status check_timm(const struct source *source, const json_t *config)
{
    static const char *const smoothed[] = {"resnetblur", "resnetaa", "resnextaa"};
    const char *name = json_string_value(json_object_get(config, "architecture"));
    const json_t *args = fields_get(config, "model_args");
    const json_t *stride = fields_get(args, "output_stride");
    for (size_t i = 0; name && i < sizeof smoothed / sizeof *smoothed; i++)
        if (!strncmp(name, smoothed[i], strlen(smoothed[i])))
            return rn_fail(source->err, RN_UNSUPPORTED_MODEL,
                           "%.150s: %.60s smooths its maps, which this engine does not",
                           source->where, name);
    if (!text_is(config, "global_pool", "avg") || !text_is(args, "global_pool", "avg"))
        return refuse(source, "global_pool", "avg");
    if (!text_is(args, "act_layer", "relu"))
        return refuse(source, "act_layer", "relu");
    if (!text_is(args, "aa_layer", ""))
        return refuse(source, "aa_layer", "null");
    if (stride && json_integer_value(stride) != 32)
        return refuse(source, "output_stride", "32");
    return RN_OK;
}

static enum rn_status read_config(const struct source *source, const json_t *config)
{
    /* timm's first files had the recipe's members beside the others. */
    const json_t *recipe = fields_get(config, "pretrained_cfg");
    enum rn_status status = check_timm(source, config);
    if (!status)
        status = read_topology(source, config);
    if (!status)
        status = read_timm_recipe(source, recipe ? recipe : config);
    if (!status)
        status = read_labels(source, json_object_get(config, "label_names"));
    if (!status)
        status = read_labels(source, json_object_get(recipe, "label_names"));
    if (!status)
        status = read_labels(source, json_object_get(config, "labels"));
    if (!status)
        status = read_labels(source, json_object_get(config, "id2label"));
    return status;
}

/* ---- preprocessor_config.json ------------------------------------------------------------- */

/* 224, {"shortest_edge": 224} or {"height": 224, "width": 224}; *has stays false without `key`. */
static enum rn_status read_size(const struct source *source, const json_t *object, const char *key,
                                bool *has, int *out)
{
    const json_t *size = fields_get(object, key);
    if (!json_is_object(size))
        return fields_side(object, source->where, key, has, out, source->err);
    if (fields_get(size, "shortest_edge"))
        return fields_side(size, source->where, "shortest_edge", has, out, source->err);
    int width = 0;
    bool has_width = false;
    enum rn_status status = fields_side(size, source->where, "height", has, out, source->err);
    if (!status)
        status = fields_side(size, source->where, "width", &has_width, &width, source->err);
    if (!status && (!*has || !has_width || *out != width))
        return rn_fail(source->err, RN_BAD_MODEL,
                       "%.150s: %s must be a number, a shortest_edge, or equal height and width",
                       source->where, key);
    return status;
}

static bool is_convnext(const json_t *config)
{
    static const char *const keys[] = {"image_processor_type", "feature_extractor_type"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *type = json_string_value(json_object_get(config, keys[i]));
        if (type && !strncmp(type, "ConvNext", strlen("ConvNext")))
            return true;
    }
    return json_is_number(json_object_get(config, "crop_pct"));
}

/* Processors with a crop_size resize to `size` and crop. The ConvNext one, which the ResNets
 * use, resizes to int(size / crop_pct) and crops to `size` below 384 pixels. */
static enum rn_status read_sides(const struct source *source, const json_t *config)
{
    bool has_size = false, has_crop = false;
    int size = 0, crop = 0;
    enum rn_status status = read_size(source, config, "size", &has_size, &size);
    if (!status && !json_is_false(json_object_get(config, "do_center_crop")))
        status = read_size(source, config, "crop_size", &has_crop, &crop);
    if (status || !has_size)
        return status;
    if (has_crop)
        return fill_sides(source, size, crop);
    if (!is_convnext(config) || size >= 384)
        return fill_sides(source, size, size);
    double pct;
    status = read_crop_pct(source, config, &pct);
    return status ? status : fill_sides(source, floor(size / pct), size);
}

static enum rn_status read_preprocessor(const struct source *source, const json_t *config)
{
    struct meta *meta = source->meta;
    const json_t *factor = json_object_get(config, "rescale_factor");
    if (json_is_number(factor) && fabs(json_number_value(factor) * 255 - 1) > 1e-3)
        return refuse(source, "rescale_factor", "1/255");
    if (json_is_false(json_object_get(config, "do_rescale")))
        return refuse(source, "do_rescale", "true");
    if (json_is_false(json_object_get(config, "do_resize")))
        return refuse(source, "do_resize", "true");
    if (json_is_true(json_object_get(config, "do_flip_channel_order")))
        return refuse(source, "do_flip_channel_order", "false");
    if (!meta->has_mean_std && json_is_false(json_object_get(config, "do_normalize"))) {
        for (int c = 0; c < 3; c++) {
            meta->recipe.mean[c] = 0;
            meta->recipe.std[c] = 1;
        }
        meta->has_mean_std = true;
    }
    enum rn_status status = fields_mean_std(config, source->where, "image_mean", "image_std",
                                            &meta->has_mean_std, &meta->recipe, source->err);
    if (!status)
        status = fields_interpolation(config, source->where, "resample", &meta->has_interpolation,
                                      &meta->recipe.interpolation, source->err);
    return status ? status : read_sides(source, config);
}

/* ------------------------------------------------------------------------------------------- */

typedef enum rn_status (*read_fn)(const struct source *source, const json_t *root);

static enum rn_status read_file(const char *folder, const char *name, read_fn read,
                                struct meta *meta, struct rn_error *err)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return rn_fail(err, RN_IO, "%.150s…: the path is too long", folder);
    struct stat st;
    if (stat(path, &st) != 0)
        return errno == ENOENT ? RN_OK : rn_fail(err, RN_IO, "%.150s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return rn_fail(err, RN_IO, "%.150s: not a regular file", path);

    char *text = NULL;
    size_t n = 0;
    enum rn_status status = textfile_read(path, SIDECAR_MAX_BYTES, &text, &n, err);
    if (status == RN_BAD_ARGUMENT)
        status = RN_BAD_MODEL;
    if (status)
        return status;
    json_t *root = fields_parse(text, n, path, err);
    free(text);
    if (!root)
        return RN_BAD_MODEL;
    status = read(&(struct source){.where = path, .meta = meta, .err = err}, root);
    json_decref(root);
    return status;
}

enum rn_status sidecar_read(const char *folder, struct meta *meta, struct rn_error *err)
{
    enum rn_status status = read_file(folder, "config.json", read_config, meta, err);
    if (status)
        return status;
    return read_file(folder, "preprocessor_config.json", read_preprocessor, meta, err);
}
