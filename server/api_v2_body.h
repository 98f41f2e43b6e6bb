/* A request of the Open Inference Protocol v2 becomes images or tensors: JSON, JSON followed by
 * binary tensors, or a tensor alone ("raw binary").
 *
 * Pure; runs on a worker, for the request that it was handed. Image files are borrowed from the
 * body or decoded from base64 and then owned by the request; tensors are made here, as the network
 * wants them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_V2_BODY_H
#define RESNETD_SERVER_API_V2_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct problem;
struct request;
struct rn_model_info;

#define API_V2_INPUT "input"
#define API_V2_OUTPUT "probabilities"

struct api_v2_body {
    const uint8_t *bytes; /* borrowed */
    size_t n_bytes;
    int64_t header_bytes; /* Inference-Header-Content-Length: of the JSON; -1 without the header */
    int max_images;
    char *id;           /* out, owned; NULL where the request has none */
    int64_t timeout_us; /* out; 0: the server's */
    int classification; /* out; so many best classes instead of the scores of all; 0: all */
    bool binary;        /* out; the answer's tensor follows its JSON */
};

/* Sets the request's images and what is marked "out". False with a problem, the images then being
 * those read so far. */
bool api_v2_body_read(struct api_v2_body *body, struct request *request,
                      const struct rn_model_info *info, struct problem *problem);
/* Whenever it was read. */
void api_v2_body_done(struct api_v2_body *body);

/* The value of Inference-Header-Content-Length, NULL without it, as header_bytes. */
bool api_v2_body_header(const char *value, int64_t *header_bytes, struct problem *problem);

#endif
