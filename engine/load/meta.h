/* What a model says about itself beside its weights: labels, ids, recipe, names, topology, golden
 * logits.
 *
 * From the file's own metadata (resnetd.*) and, for a folder, the hub's config.json and
 * preprocessor_config.json; order of belief: metadata > sidecar files > defaults. Owns its texts.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_LOAD_META_H
#define RESNETD_ENGINE_LOAD_META_H

#include <stdbool.h>

#include "engine/engine.h"
#include "engine/load/weights.h"

struct meta {
    char *name, *version, *source, *accuracy; /* NULL where nothing is said */
    char **labels;                            /* [n_labels], NULL without */
    int n_labels;
    const char *labels_from; /* "resnetd.labels", "config.json", … for messages; static */
    float *golden;           /* [n_golden], NULL without */
    int n_golden;
    char **ids; /* [n_ids], NULL without */
    int n_ids;
    bool has_resize, has_crop, has_interpolation, has_mean_std; /* what of recipe is said */
    struct rn_recipe recipe;
    bool has_topology;
    bool stride_in_1x1; /* a bottleneck's stride is in its first 1x1, not in its 3x3 */
};

/* Reads resnetd.* from the weights' metadata, then, when folder is not NULL, fills gaps from
 * folder/config.json (timm's pretrained_cfg and label_names, transformers' id2label) and
 * folder/preprocessor_config.json. JSON is capped (fields_check_size, and files at 1 MiB); texts
 * must be UTF-8.
 * RN_BAD_MODEL naming the key, RN_UNSUPPORTED_MODEL for a recipe or topology that the engine does
 * not have, RN_IO, RN_NO_MEMORY. */
enum rn_status meta_read(const struct weights *weights, const char *folder, struct meta *out,
                         struct rn_error *err) __attribute__((warn_unused_result));

/* Replaces the labels by the lines of a UTF-8 file; a last '\n' and '\r's before '\n' are dropped.
 * RN_IO, RN_BAD_ARGUMENT, RN_NO_MEMORY. */
enum rn_status meta_read_labels(struct meta *meta, const char *path, struct rn_error *err)
    __attribute__((warn_unused_result));

/* Settles what is still open once the network is known: recipe defaults (ImageNet's 256/224
 * bilinear with its mean and std for a 7x7 stem, 32/32 with CIFAR-10's for a 3x3 stem), labels
 * (ImageNet-1k names for 1000 classes, else the index as text). RN_BAD_MODEL when the number of
 * labels, ids or golden logits is not `classes` or the crop is larger than the resized image; that
 * each value is in range (resize and crop 1…2896, std > 0) was checked by meta_read. RN_NO_MEMORY.
 */
enum rn_status meta_settle(struct meta *meta, int classes, bool imagenet_stem, struct rn_error *err)
    __attribute__((warn_unused_result));
void meta_done(struct meta *meta);

#endif
