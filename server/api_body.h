/* A request's body becomes images: raw, form or JSON (ours and Hugging Face's).
 *
 * Pure; runs on a worker, for the request that it was handed. The images' bytes are borrowed from
 * the body, or decoded from base64 and then owned by the request.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_BODY_H
#define RESNETD_SERVER_API_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api_params.h"

struct problem;
struct request;
struct request_image;

enum api_form { API_FORM_RAW, API_FORM_MULTIPART, API_FORM_JSON };

/* How the answer looks: it follows the question. */
enum api_shape {
    API_SHAPE_ONE,     /* predictions on top */
    API_SHAPE_MANY,    /* results[] */
    API_SHAPE_HF,      /* Hugging Face: [{label, score}, …] */
    API_SHAPE_HF_MANY, /* a list of those */
};

struct api_body {
    const char *content_type; /* "" without; borrowed, as are the bytes */
    const uint8_t *bytes;
    size_t n_bytes;
    int max_images;
    struct api_params params; /* the query's; what the body says overrides it */
    enum api_shape shape;     /* out */
    char *names;              /* out, owned: what the images' names point into */
};

struct json_t;

/* The file in base64 or in a data: URI, owned by the image; `where` names the place in errors. */
bool api_body_image(const struct json_t *value, struct request_image *image, const char *where,
                    struct problem *problem);

/* Which form it is, by Content-Type and the first bytes; reads nothing more. */
enum api_form api_body_form(const char *content_type, const uint8_t *bytes, size_t n);

/* Sets the request's images, the shape and the parameters of a form or of JSON. False with a
 * problem, the images then being those read so far. */
bool api_body_read(struct api_body *body, struct request *request, struct problem *problem);
/* After the request was freed. */
void api_body_done(struct api_body *body);

#endif
