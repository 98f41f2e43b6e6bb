/* Reads .safetensors: 8 bytes of header length, a JSON header, the tensors' bytes.
 *
 * https://github.com/huggingface/safetensors describes the format. The file is untrusted, so
 * nothing is handed on before everything has been checked: the header's length and its JSON,
 * every dtype, every shape against its byte range, and that the ranges, sorted, cover the data
 * without hole or overlap. Reads from memory only; the bytes stay the caller's. Pure, any thread.
 *
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "engine/load/fields.h"
#include "engine/load/weights.h"

/* A 1202-layer ResNet with Hugging Face's long names has 8,414 tensors and a header of 1.2 MB. */
#define HEADER_MAX_BYTES ((size_t)16 << 20)
#define NAME_MAX_BYTES 128

/* What every step of one read needs. */
struct reader {
    const char *origin;
    const char *header; /* JSON */
    size_t n_header;
    const uint8_t *data; /* what follows the header */
    size_t n_data;
    struct rn_error *err;
};

static const struct dtype {
    const char *name;
    enum weight_type type;
    size_t bytes;
} dtypes[] = {
    {"F32", WEIGHT_F32, 4},
    {"F16", WEIGHT_F16, 2},
    {"BF16", WEIGHT_BF16, 2},
    {"I64", WEIGHT_I64, 8},
};
#define N_DTYPES (sizeof dtypes / sizeof dtypes[0])

static const struct dtype *find_dtype(const char *name)
{
    for (size_t i = 0; i < N_DTYPES; i++)
        if (!strcmp(dtypes[i].name, name))
            return &dtypes[i];
    return NULL;
}

static size_t weight_bytes(const struct weight *weight)
{
    for (size_t i = 0; i < N_DTYPES; i++)
        if (dtypes[i].type == weight->type)
            return weight->count * dtypes[i].bytes;
    assert(false); /* a weight has one of the dtypes above */
    return 0;
}

/* Checks where the header ends; `reader` then knows both parts of the file. */
static enum rn_status find_header(struct reader *reader, const uint8_t *bytes, size_t n)
{
    if (n < 8)
        return rn_fail(reader->err, RN_BAD_MODEL,
                       "%.150s: %zu bytes are too few for a safetensors file", reader->origin, n);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > n - 8)
        return rn_fail(reader->err, RN_BAD_MODEL,
                       "%.150s: a header of %" PRIu64 " bytes is announced, the file has %zu more",
                       reader->origin, length, n - 8);
    if (length > HEADER_MAX_BYTES)
        return rn_fail(reader->err, RN_BAD_MODEL,
                       "%.150s: a header of %" PRIu64 " bytes is announced, the limit is %zu",
                       reader->origin, length, HEADER_MAX_BYTES);
    if (length < 2 || bytes[8] != '{')
        return rn_fail(reader->err, RN_BAD_MODEL, "%.150s: the header does not begin with '{'",
                       reader->origin);
    const enum rn_status status =
        fields_check_size((const char *)bytes + 8, (size_t)length, reader->origin, reader->err);
    if (status != RN_OK)
        return status;
    reader->header = (const char *)bytes + 8;
    reader->n_header = (size_t)length;
    reader->data = bytes + 8 + length;
    reader->n_data = n - 8 - (size_t)length;
    return RN_OK;
}

/* Names appear in messages and logs: short, printable ASCII. */
static enum rn_status check_name(const struct reader *reader, const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > NAME_MAX_BYTES)
        return rn_fail(reader->err, RN_BAD_MODEL,
                       "%.150s: a tensor's name has %zu bytes, 1 to %d are allowed", reader->origin,
                       n, NAME_MAX_BYTES);
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] > '~')
            return rn_fail(reader->err, RN_BAD_MODEL,
                           "%.150s: byte %zu of a tensor's name is not printable ASCII",
                           reader->origin, i);
    return RN_OK;
}

static const char *drop_prefix(const char *name)
{
    static const char *const prefixes[] = {"module.", "model.", "backbone."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0];) {
        size_t n = strlen(prefixes[i]);
        if (!strncmp(name, prefixes[i], n) && name[n]) {
            name += n;
            i = 0;
        } else {
            i++;
        }
    }
    return name;
}

static enum rn_status parse_shape(const struct reader *reader, const char *name,
                                  const json_t *shape, struct weight *weight)
{
    if (!json_is_array(shape))
        return rn_fail(reader->err, RN_BAD_MODEL, "%.150s: %s: shape is not a list", reader->origin,
                       name);
    if (json_array_size(shape) > WEIGHT_MAX_DIMS)
        return rn_fail(
            reader->err, RN_UNSUPPORTED_MODEL,
            "%.150s: %s: shape has %zu dimensions, no layer of a ResNet has more than %d",
            reader->origin, name, json_array_size(shape), WEIGHT_MAX_DIMS);
    weight->n_dims = (int)json_array_size(shape);
    weight->count = 1;
    for (int i = 0; i < weight->n_dims; i++) {
        const json_t *side = json_array_get(shape, (size_t)i);
        if (!json_is_integer(side) || json_integer_value(side) < 1)
            return rn_fail(reader->err, RN_BAD_MODEL,
                           "%.150s: %s: dimension %d of shape is not a positive integer",
                           reader->origin, name, i);
        weight->shape[i] = json_integer_value(side);
        if (size_mul(weight->count, (size_t)weight->shape[i], &weight->count))
            return rn_fail(reader->err, RN_BAD_MODEL,
                           "%.150s: %s: dimension %d of shape, %lld, is absurdly large",
                           reader->origin, name, i, (long long)weight->shape[i]);
    }
    return RN_OK;
}

static enum rn_status parse_range(const struct reader *reader, const char *name,
                                  const json_t *offsets, size_t item_bytes, struct weight *weight)
{
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return rn_fail(reader->err, RN_BAD_MODEL, "%.150s: %s: data_offsets are not two integers",
                       reader->origin, name);
    long long begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin || (unsigned long long)end > reader->n_data)
        return rn_fail(reader->err, RN_BAD_MODEL,
                       "%.150s: %s: data_offsets [%lld, %lld] are not inside the %zu bytes of data",
                       reader->origin, name, begin, end, reader->n_data);
    size_t needed = 0;
    if (size_mul(weight->count, item_bytes, &needed) || needed != (size_t)(end - begin)) {
        char shape[96];
        return rn_fail(reader->err, RN_BAD_MODEL,
                       "%.150s: %s: data_offsets [%lld, %lld] hold %lld bytes, a shape of %s needs "
                       "%zu times %zu",
                       reader->origin, name, begin, end, end - begin,
                       weight_shape_text(weight, shape, sizeof shape), weight->count, item_bytes);
    }
    weight->data = reader->data + begin;
    return RN_OK;
}

static enum rn_status parse_tensor(const struct reader *reader, const char *name,
                                   const json_t *tensor, struct weight *out)
{
    enum rn_status status = check_name(reader, name);
    if (status)
        return status;
    const char *dtype_name = json_string_value(json_object_get(tensor, "dtype"));
    const json_t *shape = json_object_get(tensor, "shape");
    const json_t *offsets = json_object_get(tensor, "data_offsets");
    if (!dtype_name || !shape || !offsets || json_object_size(tensor) != 3)
        return rn_fail(reader->err, RN_BAD_MODEL,
                       "%.150s: %s: expected exactly a dtype, a shape and data_offsets",
                       reader->origin, name);
    const struct dtype *dtype = find_dtype(dtype_name);
    if (!dtype)
        return rn_fail(reader->err, RN_UNSUPPORTED_MODEL,
                       "%.150s: %s: dtype %.20s is not one of F32, F16, BF16 and I64",
                       reader->origin, name, dtype_name);
    struct weight weight = {.name = drop_prefix(name), .type = dtype->type};
    status = parse_shape(reader, name, shape, &weight);
    if (!status)
        status = parse_range(reader, name, offsets, dtype->bytes, &weight);
    if (!status)
        *out = weight;
    return status;
}

static enum rn_status parse_texts(const struct reader *reader, json_t *metadata,
                                  struct weights *weights)
{
    if (!json_is_object(metadata))
        return rn_fail(reader->err, RN_BAD_MODEL, "%.150s: __metadata__ is not an object",
                       reader->origin);
    weights->texts = calloc(json_object_size(metadata) + 1, sizeof *weights->texts);
    if (!weights->texts)
        return rn_fail(reader->err, RN_NO_MEMORY, "%.150s: out of memory", reader->origin);
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return rn_fail(reader->err, RN_BAD_MODEL,
                           "%.150s: the value of %.64s in __metadata__ is not a string",
                           reader->origin, key);
        weights->texts[weights->n_texts++] =
            (struct weights_text){.key = key, .value = json_string_value(value)};
    }
    return RN_OK;
}

static enum rn_status parse_tensors(const struct reader *reader, json_t *root,
                                    struct weights *weights)
{
    weights->items = calloc(json_object_size(root) + 1, sizeof *weights->items);
    if (!weights->items)
        return rn_fail(reader->err, RN_NO_MEMORY, "%.150s: out of memory", reader->origin);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        enum rn_status status;
        if (!strcmp(key, "__metadata__"))
            status = parse_texts(reader, value, weights);
        else
            status = parse_tensor(reader, key, value, &weights->items[weights->n++]);
        if (status)
            return status;
    }
    if (weights->n == 0)
        return rn_fail(reader->err, RN_BAD_MODEL, "%.150s: there is no tensor in it",
                       reader->origin);
    return RN_OK;
}

static int compare_data(const void *a, const void *b)
{
    const uint8_t *x = ((const struct weight *)a)->data, *y = ((const struct weight *)b)->data;
    return (x > y) - (x < y);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct weight *)a)->name, ((const struct weight *)b)->name);
}

/* Sorts by place: each tensor must begin where the one before ends, the last end with the file. */
static enum rn_status check_cover(const struct reader *reader, struct weights *weights)
{
    qsort(weights->items, weights->n, sizeof *weights->items, compare_data);
    const uint8_t *end = reader->data;
    for (size_t i = 0; i < weights->n; i++) {
        const struct weight *item = &weights->items[i];
        if (item->data != end)
            return rn_fail(
                reader->err, RN_BAD_MODEL,
                "%.150s: %s begins at byte %td of the data, the tensors before it end at "
                "byte %td",
                reader->origin, item->name, item->data - reader->data, end - reader->data);
        end = item->data + weight_bytes(item);
    }
    if (end != reader->data + reader->n_data)
        return rn_fail(reader->err, RN_BAD_MODEL,
                       "%.150s: the tensors end at byte %td, the data has %zu bytes",
                       reader->origin, end - reader->data, reader->n_data);
    return RN_OK;
}

/* Sorts by name; dropping prefixes may have made two names equal. */
static enum rn_status check_names(const struct reader *reader, struct weights *weights)
{
    qsort(weights->items, weights->n, sizeof *weights->items, compare_names);
    for (size_t i = 1; i < weights->n; i++)
        if (!compare_names(&weights->items[i - 1], &weights->items[i]))
            return rn_fail(reader->err, RN_BAD_MODEL,
                           "%.150s: %s is there twice, with and without a prefix", reader->origin,
                           weights->items[i].name);
    return RN_OK;
}

enum rn_status safetensors_read(const uint8_t *bytes, size_t n, const char *origin,
                                struct weights *out, struct rn_error *err)
{
    struct reader reader = {.origin = origin, .err = err};
    enum rn_status status = find_header(&reader, bytes, n);
    if (status)
        return status;

    json_error_t error;
    json_t *root = json_loadb(reader.header, reader.n_header, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return rn_fail(
            err, json_error_code(&error) == json_error_out_of_memory ? RN_NO_MEMORY : RN_BAD_MODEL,
            "%.150s: byte %d of the header: %s", origin, error.position, error.text);

    struct weights weights = {.storage = root};
    status = parse_tensors(&reader, root, &weights);
    if (!status)
        status = check_cover(&reader, &weights);
    if (!status)
        status = check_names(&reader, &weights);
    if (status)
        weights_done(&weights);
    else
        *out = weights;
    return status;
}
