/* The steps of one image on its worker: header, time check, buffers, pixels, tensor.
 *
 * SPDX-License-Identifier: MIT */
#include "server/decode.h"

#include <stdlib.h>
#include <uv.h>

#include "server/registry.h"
#include "server/request.h"

#define TENSOR_ALIGNMENT 64

/* After the header is known: could the image be done in time at the best speed ever seen? */
static bool can_make_it(struct request_image *image, const struct decode_bounds *bounds)
{
    const uint64_t now_ns = uv_hrtime(), deadline_ns = image->request->deadline_ns;
    const double n_pixels = (double)image->info.width * image->info.height;
    const uint64_t predicted_ns = (uint64_t)(bounds->pixel_ns * n_pixels) + bounds->run_ns;
    if (deadline_ns <= now_ns)
        request_late(&image->problem, "decode");
    else if (predicted_ns > deadline_ns - now_ns)
        request_unmeetable(&image->problem, predicted_ns, deadline_ns - now_ns);
    else
        return true;
    return false;
}

static enum rn_status allocate_buffers(struct request_image *image,
                                       const struct rn_model_info *model, struct rn_error *err)
{
    const size_t n_values =
        (size_t)model->input[0] * (size_t)model->input[1] * (size_t)model->input[2];
    const size_t n_bytes = n_values * sizeof *image->tensor;
    const size_t rounded = (n_bytes + TENSOR_ALIGNMENT - 1) / TENSOR_ALIGNMENT * TENSOR_ALIGNMENT;
    image->tensor = aligned_alloc(TENSOR_ALIGNMENT, rounded);
    image->logits = calloc((size_t)model->classes, sizeof *image->logits);
    image->rgb = malloc(n_values);
    if (image->tensor && image->logits && image->rgb)
        return RN_OK;
    return rn_fail(err, RN_NO_MEMORY, "out of memory for the image");
}

/* Pixels of the upload -> the square that the network sees -> the tensor. */
static enum rn_status make_tensor(struct request_image *image, const struct rn_model_info *model,
                                  const struct rn_image_limits *limits, struct rn_error *err)
{
    struct rn_image pixels;
    enum rn_status status = rn_image_decode(image->bytes, image->n_bytes, limits, &pixels, err);
    if (status != RN_OK)
        return status;
    image->decode_end_ns = uv_hrtime();
    status = rn_image_crop(&pixels, &model->recipe, image->rgb, err);
    rn_image_done(&pixels);
    if (status != RN_OK)
        return status;
    rn_image_normalize(image->rgb, &model->recipe, image->tensor);
    image->preprocess_end_ns = uv_hrtime();
    return RN_OK;
}

bool decode_image(struct request_image *image, const struct rn_image_limits *limits,
                  const struct decode_bounds *bounds)
{
    const struct rn_model_info *model = image->request->model->info;
    struct rn_error err = {0};
    image->decode_start_ns = uv_hrtime();
    enum rn_status status =
        rn_image_probe(image->bytes, image->n_bytes, limits, &image->info, &err);
    image->has_info = status == RN_OK;
    if (image->has_info && !can_make_it(image, bounds))
        return false;
    if (status == RN_OK)
        status = allocate_buffers(image, model, &err);
    if (status == RN_OK)
        status = make_tensor(image, model, limits, &err);
    if (!image->request->keep_rgb) {
        free(image->rgb);
        image->rgb = NULL;
    }
    if (status != RN_OK)
        problem_from_image(&image->problem, status, &err, image->bytes, image->n_bytes, limits);
    return status == RN_OK;
}
