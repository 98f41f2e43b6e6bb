/* libFuzzer: the body of an inference to images and tensors. The first byte is the length of the
 * JSON in eights, 255 for no such header.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "server/api_v2_body.h"
#include "server/request.h"
#include "tests/fuzz/fuzz.h"

#define SIDE 2

/* What is read lies in the body or belongs to the request, and tensors are finite. */
static void check(const struct api_v2_body *body, const struct request *request)
{
    for (int i = 0; i < request->n_images; i++) {
        const struct request_image *image = &request->images[i];
        if (image->is_tensor) {
            for (int k = 0; k < 3 * SIDE * SIDE; k++)
                if (!isfinite(image->tensor[k]))
                    abort();
        } else if (!image->owned && (image->bytes < body->bytes ||
                                     image->bytes + image->n_bytes > body->bytes + body->n_bytes)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct rn_model_info info = {
        .classes = 3,
        .input = {3, SIDE, SIDE},
        .recipe = {.resize = SIDE, .crop = SIDE, .std = {1, 1, 1}},
    };
    if (n == 0)
        return 0;
    struct api_v2_body body = {.bytes = data + 1,
                               .n_bytes = n - 1,
                               .header_bytes = data[0] == 255 ? -1 : data[0] * 8,
                               .max_images = 4};
    struct problem problem = {0};
    struct request *request = request_new(0);
    if (!request)
        abort();
    const bool ok = api_v2_body_read(&body, request, &info, &problem);
    if (ok != (problem.type == PROBLEM_NONE) || (ok && request->n_images < 1))
        abort();
    if (ok)
        check(&body, request);
    request_free(request);
    api_v2_body_done(&body);
    return 0;
}
