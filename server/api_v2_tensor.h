/* The one input tensor of a request: what it says of itself, checked against the model, and its
 * elements, turned into what the network takes.
 *
 * Pure; runs on a worker.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_V2_TENSOR_H
#define RESNETD_SERVER_API_V2_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t;
struct problem;
struct request;
struct rn_model_info;

#define API_V2_MAX_DIMS 4

enum api_v2_form {
    API_V2_FP32,       /* [n][3][h][w], normalised already */
    API_V2_UINT8,      /* [n][3][h][w], pixels 0…255 */
    API_V2_UINT8_NHWC, /* [n][h][w][3], the same */
    API_V2_BYTES,      /* [n], image files */
};

struct api_v2_tensor {
    enum api_v2_form form;
    size_t dims[API_V2_MAX_DIMS];
    int n_dims;
    int n_images;    /* dims[0] */
    size_t n_values; /* of one image; 1 for BYTES */
};

/* False with a problem unless datatype and shape are such that the model takes them; n_images is 1
 * at least and not limited yet. */
bool api_v2_tensor_check(const char *datatype, const struct json_t *shape,
                         const struct rn_model_info *info, struct api_v2_tensor *out,
                         struct problem *problem);

/* Fill the images of the request, of which there are n_images, from the elements as the binary
 * extension lays them out, or from a JSON array, flat or nested as the shape is. */
bool api_v2_tensor_binary(const struct api_v2_tensor *tensor, const uint8_t *bytes, size_t n,
                          struct request *request, const struct rn_model_info *info,
                          struct problem *problem);
bool api_v2_tensor_json(const struct api_v2_tensor *tensor, const struct json_t *data,
                        struct request *request, const struct rn_model_info *info,
                        struct problem *problem);

#endif
