/* The steps of one image on its worker: buffers, pixels, tensor.
 *
 * SPDX-License-Identifier: MIT */
#include "server/decode.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "server/log.h"
#include "server/registry.h"
#include "server/request.h"
#include "server/sandbox.h"

#define TENSOR_ALIGNMENT 64

static size_t n_values(const struct rn_model_info *model)
{
    return (size_t)model->input[0] * (size_t)model->input[1] * (size_t)model->input[2];
}

static bool out_of_memory(struct request_image *image)
{
    problem_set(&image->problem, PROBLEM_INTERNAL, "out of memory for the image");
    return false;
}

/* What has become of a helper; the request is the only one that it costs. */
static void report_death(struct request_image *image, enum sandbox_end end, int signal,
                         const struct rn_image_limits *limits)
{
    switch (end) {
    case SANDBOX_CRASHED:
        problem_set(&image->problem, PROBLEM_IMAGE_BREAKS_DECODER,
                    "the process that decoded this image has crashed");
        break;
    case SANDBOX_TOO_SLOW:
        problem_set(&image->problem, PROBLEM_IMAGE_TOO_MUCH_TIME,
                    "decoding the image did not end and was stopped");
        problem_number(&image->problem, "limit_ms", limits->max_cpu_ms);
        break;
    case SANDBOX_STARVED: /* the machine's fault, not the image's */
        request_late(&image->problem, "decode");
        break;
    default:
        problem_set(&image->problem, PROBLEM_INTERNAL,
                    "the process that decoded this image was ended from outside");
        break;
    }
    log_event(LOG_WARN, "decode helper died, replaced", "problem=%s signal=%d image_bytes=%zu",
              problem_row(image->problem.type)->slug, signal, image->n_bytes);
}

/* The pixels in `own`, or in memory that is borrowed until the worker's next image; NULL with the
 * problem set where no result came back. */
static const uint8_t *make_pixels(struct request_image *image, const struct decode_means *means,
                                  const struct pixels_order *order, struct pixels_result *result,
                                  uint8_t *own)
{
    const uint8_t *rgb = own;
    int signal;
    if (!means->sandbox) {
        pixels_make(order, image->bytes, image->n_bytes, result, own);
        return rgb;
    }
    const enum sandbox_end end = sandbox_run(means->sandbox, means->slot, order, image->bytes,
                                             image->n_bytes, result, &rgb, &signal);
    if (end == SANDBOX_DONE)
        return rgb;
    report_death(image, end, signal, &means->limits);
    return NULL;
}

static bool set_problem(struct request_image *image, const struct pixels_result *result,
                        const struct rn_image_limits *limits)
{
    switch (result->verdict) {
    case PIXELS_MADE:
        return false;
    case PIXELS_LATE:
        request_late(&image->problem, "decode");
        return true;
    case PIXELS_UNMEETABLE:
        request_unmeetable(&image->problem, result->predicted_ns, result->left_ns);
        return true;
    case PIXELS_REFUSED:
        problem_from_image(&image->problem, result->status, &result->err, image->bytes,
                           image->n_bytes, limits);
        return true;
    }
    return true;
}

static bool keep_preview(struct request_image *image, const uint8_t *rgb)
{
    rn_image_fit(image->info.width, image->info.height, PIXELS_PREVIEW_SIDE, &image->preview_width,
                 &image->preview_height);
    const size_t n = (size_t)3 * (size_t)image->preview_width * (size_t)image->preview_height;
    image->preview = malloc(n);
    if (!image->preview)
        return out_of_memory(image);
    memcpy(image->preview, rgb, n);
    return true;
}

/* The network's input from the pixels, which are kept where the request wants them. */
static bool make_tensor(struct request_image *image, const struct rn_model_info *model,
                        const uint8_t *rgb)
{
    const size_t n_bytes = n_values(model) * sizeof *image->tensor;
    const size_t rounded = (n_bytes + TENSOR_ALIGNMENT - 1) / TENSOR_ALIGNMENT * TENSOR_ALIGNMENT;
    image->tensor = aligned_alloc(TENSOR_ALIGNMENT, rounded);
    image->logits = calloc((size_t)model->classes, sizeof *image->logits);
    if (image->request->keep_rgb)
        image->rgb = malloc(n_values(model));
    if (image->request->explain)
        image->cam = calloc((size_t)model->cam[0] * (size_t)model->cam[1], sizeof *image->cam);
    if (!image->tensor || !image->logits || (image->request->keep_rgb && !image->rgb) ||
        (image->request->explain && !image->cam))
        return out_of_memory(image);
    rn_image_normalize(rgb, &model->recipe, image->tensor);
    if (image->rgb)
        memcpy(image->rgb, rgb, n_values(model));
    return true;
}

/* What came as a tensor wants only room for its scores. */
static bool take_tensor(struct request_image *image, const struct rn_model_info *model)
{
    image->decode_start_ns = image->decode_end_ns = uv_hrtime();
    image->logits = calloc((size_t)model->classes, sizeof *image->logits);
    if (!image->logits)
        return out_of_memory(image);
    image->preprocess_end_ns = uv_hrtime();
    return true;
}

bool decode_image(struct request_image *image, const struct decode_means *means)
{
    const struct rn_model_info *model = image->request->model->info;
    if (image->is_tensor)
        return take_tensor(image, model);
    const struct pixels_order order = {.limits = means->limits,
                                       .recipe = model->recipe,
                                       .bounds = means->bounds,
                                       .deadline_ns = image->request->deadline_ns,
                                       .preview = image->request->keep_preview};
    struct pixels_result result;
    image->decode_start_ns = uv_hrtime();
    const size_t n_preview = order.preview ? PIXELS_PREVIEW_BYTES : 0;
    uint8_t *own = means->sandbox ? NULL : malloc(n_values(model) + n_preview);
    if (!means->sandbox && !own)
        return out_of_memory(image);
    const uint8_t *rgb = make_pixels(image, means, &order, &result, own);
    if (rgb) {
        image->info = result.info;
        image->has_info = result.has_info;
        image->decode_end_ns = result.decode_end_ns;
    }
    const bool made = rgb && !set_problem(image, &result, &means->limits) &&
                      make_tensor(image, model, rgb) &&
                      (!order.preview || keep_preview(image, rgb + n_values(model)));
    if (made)
        image->preprocess_end_ns = uv_hrtime();
    free(own);
    return made;
}
