/* Named tensors of a model file, borrowed from the file's bytes in memory.
 *
 * Filled by a format's loader after everything has been checked (name, dtype, shape x dtype =
 * byte range inside the file), so that users need no checks of bytes, only of shapes. Pure reads;
 * `used` is set by the topology code so that a tensor which no layer wants can be named.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_LOAD_WEIGHTS_H
#define RESNETD_ENGINE_LOAD_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/status.h"

enum weight_type { WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16, WEIGHT_I64 };

#define WEIGHT_MAX_DIMS 4

struct weight {
    const char *name; /* as in the file with a leading module., model. or backbone. dropped */
    enum weight_type type;
    int n_dims;                     /* 0…4 */
    int64_t shape[WEIGHT_MAX_DIMS]; /* each >= 1 */
    const uint8_t *data;            /* little-endian, unaligned */
    size_t count;                   /* elements */
    bool used;
};

/* One string pair of the file's metadata. */
struct weights_text {
    const char *key, *value;
};

struct weights {
    struct weight *items; /* sorted by name, names unique */
    size_t n;
    struct weights_text *texts;
    size_t n_texts;
    void *storage; /* what names and texts point into; the loader's */
};

/* Checks a .safetensors file in memory (see the format's README: header length, first byte '{', no
 * duplicate keys, dtype, shape x dtype = range, ranges cover the data without hole or overlap) and
 * lists its tensors. `bytes` is borrowed until weights_done. `origin` stands in messages.
 * RN_BAD_MODEL, RN_UNSUPPORTED_MODEL (a tensor of a dtype or with a number of dimensions that no
 * ResNet has), RN_NO_MEMORY. */
enum rn_status safetensors_read(const uint8_t *bytes, size_t n, const char *origin,
                                struct weights *out, struct rn_error *err)
    __attribute__((warn_unused_result));
void weights_done(struct weights *weights);

/* NULL when there is none. Does not set `used`. */
struct weight *weights_find(const struct weights *weights, const char *name);
/* A metadata value, NULL without it. */
const char *weights_text(const struct weights *weights, const char *key);
/* Converts n elements from `first` on to fp32; out is [n]. F32, F16, BF16 only. */
void weight_floats(const struct weight *weight, size_t first, size_t n, float *out);
/* "64×3×7×7" into buf; returns buf. */
const char *weight_shape_text(const struct weight *weight, char *buf, size_t n);

#endif
