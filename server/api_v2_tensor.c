/* Shapes and elements. Sizes come from the model once a shape fits it, so that what a client claims
 * is compared and never allocated.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_v2_tensor.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/api_body.h"
#include "server/api_v2_body.h"
#include "server/request.h"

#define TENSOR_ALIGNMENT 64

static bool out_of_memory(struct problem *problem)
{
    problem_set(problem, PROBLEM_INTERNAL, "out of memory for the tensor");
    return false;
}

static size_t n_model_values(const struct rn_model_info *info)
{
    return (size_t)info->input[0] * (size_t)info->input[1] * (size_t)info->input[2];
}

/* ---- datatype and shape -----------------------------------------------------------------------
 */

static bool read_shape(const json_t *shape, struct api_v2_tensor *out, struct problem *problem)
{
    const size_t n = json_array_size(shape);
    if (n < 1 || n > API_V2_MAX_DIMS) {
        problem_set(problem, PROBLEM_BAD_TENSOR, "\"shape\" is no list of 1 to %d dimensions",
                    API_V2_MAX_DIMS);
        return false;
    }
    out->n_dims = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *dim = json_array_get(shape, i);
        const json_int_t value = json_integer_value(dim);
        if (!json_is_integer(dim) || value < 1 || value > INT32_MAX) {
            problem_set(problem, PROBLEM_BAD_TENSOR, "shape[%zu] is no whole number in 1…%d", i,
                        INT32_MAX);
            return false;
        }
        out->dims[i] = (size_t)value;
    }
    return true;
}

static bool ends_with(const struct api_v2_tensor *tensor, int a, int b, int c)
{
    return tensor->n_dims == 4 && tensor->dims[1] == (size_t)a && tensor->dims[2] == (size_t)b &&
           tensor->dims[3] == (size_t)c;
}

bool api_v2_tensor_check(const char *datatype, const struct json_t *shape,
                         const struct rn_model_info *info, struct api_v2_tensor *out,
                         struct problem *problem)
{
    const int c = info->input[0], h = info->input[1], w = info->input[2];
    if (!read_shape(shape, out, problem))
        return false;
    const bool planes = ends_with(out, c, h, w);
    if (strcmp(datatype, "FP32") == 0 && planes)
        out->form = API_V2_FP32;
    else if (strcmp(datatype, "UINT8") == 0 && planes)
        out->form = API_V2_UINT8;
    else if (strcmp(datatype, "UINT8") == 0 && ends_with(out, h, w, c))
        out->form = API_V2_UINT8_NHWC;
    else if (strcmp(datatype, "BYTES") == 0 &&
             (out->n_dims == 1 || (out->n_dims == 2 && out->dims[1] == 1)))
        out->form = API_V2_BYTES;
    else {
        problem_set(problem, PROBLEM_BAD_TENSOR,
                    "%.16s of this shape is not taken; FP32 [n,%d,%d,%d] is, normalised, UINT8 of "
                    "that shape or [n,%d,%d,%d], and BYTES [n], an image file each",
                    datatype, c, h, w, h, w, c);
        return false;
    }
    out->n_images = (int)out->dims[0];
    out->n_values = out->form == API_V2_BYTES ? 1 : n_model_values(info);
    return true;
}

/* ---- elements become tensors -------------------------------------------------------------------
 */

static bool make_tensor(struct request_image *image, size_t n_values, struct problem *problem)
{
    size_t n_bytes;
    if (size_mul(n_values, sizeof *image->tensor, &n_bytes) != RN_OK)
        return out_of_memory(problem);
    const size_t rounded = (n_bytes + TENSOR_ALIGNMENT - 1) / TENSOR_ALIGNMENT * TENSOR_ALIGNMENT;
    image->tensor = aligned_alloc(TENSOR_ALIGNMENT, rounded);
    if (!image->tensor)
        return out_of_memory(problem);
    image->is_tensor = true;
    return true;
}

/* Pixels of one image in planes, rearranged as the recipe's normalisation reads them. */
static void interleave(const uint8_t *planes, size_t n_pixels, uint8_t *rgb)
{
    for (size_t i = 0; i < n_pixels; i++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = planes[c * n_pixels + i];
}

/* pixels: [n_images][n_values], in the order of the form. */
static bool from_pixels(const struct api_v2_tensor *tensor, const uint8_t *pixels,
                        struct request *request, const struct rn_model_info *info,
                        struct problem *problem)
{
    uint8_t *rgb = tensor->form == API_V2_UINT8 ? malloc(tensor->n_values) : NULL;
    bool ok = rgb || tensor->form != API_V2_UINT8 || out_of_memory(problem);
    for (int i = 0; ok && i < tensor->n_images; i++) {
        struct request_image *image = &request->images[i];
        const uint8_t *from = pixels + (size_t)i * tensor->n_values;
        ok = make_tensor(image, tensor->n_values, problem);
        if (ok && rgb)
            interleave(from, tensor->n_values / 3, rgb);
        if (ok)
            rn_image_normalize(rgb ? rgb : from, &info->recipe, image->tensor);
    }
    free(rgb);
    return ok;
}

static bool not_finite(size_t index, struct problem *problem)
{
    problem_set(problem, PROBLEM_BAD_TENSOR, "element %zu of \"%s\" is no finite number", index,
                API_V2_INPUT);
    return false;
}

/* Little-endian, whatever this machine is and wherever the bytes begin. */
static float read_float(const uint8_t *b)
{
    const uint32_t bits =
        (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool from_floats(const struct api_v2_tensor *tensor, const uint8_t *bytes,
                        struct request *request, struct problem *problem)
{
    for (int i = 0; i < tensor->n_images; i++) {
        struct request_image *image = &request->images[i];
        if (!make_tensor(image, tensor->n_values, problem))
            return false;
        for (size_t k = 0; k < tensor->n_values; k++) {
            const size_t at = (size_t)i * tensor->n_values + k;
            image->tensor[k] = read_float(bytes + 4 * at);
            if (!isfinite(image->tensor[k]))
                return not_finite(at, problem);
        }
    }
    return true;
}

static bool bad_bytes(int index, struct problem *problem)
{
    problem_set(problem, PROBLEM_BAD_TENSOR,
                "the binary data of \"%s\" does not hold element %d with its length", API_V2_INPUT,
                index);
    return false;
}

/* Each element is its length, 32 bits little-endian, and its bytes. */
static bool from_elements(const struct api_v2_tensor *tensor, const uint8_t *bytes, size_t n,
                          struct request *request, struct problem *problem)
{
    for (int i = 0; i < tensor->n_images; i++) {
        struct request_image *image = &request->images[i];
        if (n < 4)
            return bad_bytes(i, problem);
        const size_t length = (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 |
                              (size_t)bytes[3] << 24;
        if (length > n - 4)
            return bad_bytes(i, problem);
        image->bytes = bytes + 4;
        image->n_bytes = length;
        bytes += 4 + length;
        n -= 4 + length;
    }
    if (n == 0)
        return true;
    problem_set(problem, PROBLEM_BAD_TENSOR,
                "the binary data of \"%s\" goes on for %zu bytes after the last element",
                API_V2_INPUT, n);
    return false;
}

bool api_v2_tensor_binary(const struct api_v2_tensor *tensor, const uint8_t *bytes, size_t n,
                          struct request *request, const struct rn_model_info *info,
                          struct problem *problem)
{
    if (tensor->form == API_V2_BYTES)
        return from_elements(tensor, bytes, n, request, problem);
    size_t wanted;
    if (size_mul((size_t)tensor->n_images, tensor->n_values, &wanted) != RN_OK ||
        size_mul(wanted, tensor->form == API_V2_FP32 ? 4 : 1, &wanted) != RN_OK || n != wanted) {
        problem_set(problem, PROBLEM_BAD_TENSOR,
                    "the binary data of \"%s\" has %zu bytes, its shape and datatype want %zu",
                    API_V2_INPUT, n, wanted);
        return false;
    }
    return tensor->form == API_V2_FP32 ? from_floats(tensor, bytes, request, problem)
                                       : from_pixels(tensor, bytes, request, info, problem);
}

/* ---- elements in JSON -------------------------------------------------------------------------
 */

struct walk {
    const struct api_v2_tensor *tensor;
    struct request *request;
    uint8_t *pixels; /* of UINT8, where they go */
    const size_t *dims;
    int n_dims;
    size_t at; /* the next element's index */
    struct problem *problem;
};

static bool put(struct walk *walk, const json_t *value)
{
    const size_t at = walk->at++, n_values = walk->tensor->n_values;
    struct request_image *image = &walk->request->images[at / n_values];
    char where[48];
    switch (walk->tensor->form) {
    case API_V2_FP32: {
        const double number = json_number_value(value);
        if (!json_is_number(value) || fabs(number) > (double)FLT_MAX)
            return not_finite(at, walk->problem);
        image->tensor[at % n_values] = (float)number;
        return true;
    }
    case API_V2_BYTES:
        (void)snprintf(where, sizeof where, "element %zu of \"%s\"", at, API_V2_INPUT);
        return api_body_image(value, image, where, walk->problem);
    default:
        break;
    }
    const json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || number > UINT8_MAX) {
        problem_set(walk->problem, PROBLEM_BAD_TENSOR,
                    "element %zu of \"%s\" is no whole number in 0…255", at, API_V2_INPUT);
        return false;
    }
    walk->pixels[at] = (uint8_t)number;
    return true;
}

static bool visit(struct walk *walk, const json_t *array, int level)
{
    const size_t n = json_array_size(array);
    if (!json_is_array(array) || n != walk->dims[level]) {
        problem_set(walk->problem, PROBLEM_BAD_TENSOR,
                    "\"data\" has %zu elements where the shape wants %zu", n, walk->dims[level]);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(array, i);
        if (!(level + 1 < walk->n_dims ? visit(walk, value, level + 1) : put(walk, value)))
            return false;
    }
    return true;
}

bool api_v2_tensor_json(const struct api_v2_tensor *tensor, const struct json_t *data,
                        struct request *request, const struct rn_model_info *info,
                        struct problem *problem)
{
    size_t total;
    if (size_mul((size_t)tensor->n_images, tensor->n_values, &total) != RN_OK)
        return out_of_memory(problem);
    const bool nested = tensor->n_dims > 1 && json_is_array(json_array_get(data, 0));
    struct walk walk = {.tensor = tensor,
                        .request = request,
                        .dims = nested ? tensor->dims : &total,
                        .n_dims = nested ? tensor->n_dims : 1,
                        .problem = problem};
    if (!nested && json_array_size(data) != total)
        return visit(&walk, data, 0); /* says so, before memory is taken */
    for (int i = 0; tensor->form == API_V2_FP32 && i < tensor->n_images; i++)
        if (!make_tensor(&request->images[i], tensor->n_values, problem))
            return false;
    const bool pixels = tensor->form == API_V2_UINT8 || tensor->form == API_V2_UINT8_NHWC;
    if (pixels && !(walk.pixels = malloc(total)))
        return out_of_memory(problem);
    const bool ok = visit(&walk, data, 0) &&
                    (!pixels || from_pixels(tensor, walk.pixels, request, info, problem));
    free(walk.pixels);
    return ok;
}
