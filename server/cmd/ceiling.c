/* Sums of limits.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/ceiling.h"

#include "config/config.h"
#include "engine/engine.h"
#include "server/registry.h"

#define CONNECTION_BYTES ((size_t)34 << 10) /* the library's pool, and our part */
/* A decode helper's own, and the pixels that it hands over. */
#define HELPER_BYTES ((size_t)8 << 20)
/* Previews that are kept, pictures and texts that are being made, one request's feature maps. */
#define PICTURE_BYTES ((size_t)96 << 20)
#define BASE_BYTES ((size_t)24 << 20)

/* What the network sees, as pixels and as floats, its scores and a class-activation map. */
static size_t image_bytes(const struct rn_model_info *info)
{
    const size_t n_values =
        (size_t)info->input[0] * (size_t)info->input[1] * (size_t)info->input[2];
    const size_t n_cam = (size_t)info->cam[0] * (size_t)info->cam[1];
    return n_values * (1 + sizeof(float)) + ((size_t)info->classes + n_cam) * sizeof(float);
}

struct ceiling ceiling_of(const struct config *config, int n_threads, int n_decoders,
                          const struct registry *registry)
{
    size_t largest_image = 0, largest_batch = 0;
    struct ceiling ceiling = {
        .decoding =
            (size_t)n_decoders * (config->max_decode_bytes + config->max_body_bytes + HELPER_BYTES),
        .uploads = config->max_upload_bytes + config->max_upload_bytes / 4 * 3,
        .connections = (size_t)config->max_connections * CONNECTION_BYTES,
        .cache = config->cache_bytes,
        .pictures = PICTURE_BYTES,
        .base = BASE_BYTES,
    };
    for (const struct registry_model *m = registry_first(registry); m; m = m->next) {
        const size_t bytes = image_bytes(m->info);
        ceiling.models += m->info->weights_bytes + rn_model_arena_bytes(m->model, n_threads);
        const size_t batch = (size_t)m->info->max_batch;
        largest_image = bytes > largest_image ? bytes : largest_image;
        largest_batch = batch > largest_batch ? batch : largest_batch;
    }
    ceiling.images = ((size_t)config->queue_limit + largest_batch) * largest_image;
    /* tensors are made before their number is admitted */
    ceiling.images += (size_t)n_decoders * (size_t)config->max_images * largest_image;
    return ceiling;
}

size_t ceiling_total(const struct ceiling *ceiling)
{
    return ceiling->models + ceiling->images + ceiling->decoding + ceiling->uploads +
           ceiling->connections + ceiling->cache + ceiling->pictures + ceiling->base;
}
