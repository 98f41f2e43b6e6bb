/* libFuzzer: a request's body of any form (the first byte chooses the Content-Type) to images.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "server/api_body.h"
#include "server/problem.h"
#include "server/request.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const types[] = {"application/json", "multipart/form-data; boundary=XX", "",
                                        "image/jpeg"};
    if (n == 0)
        return 0;
    struct api_body body = {.content_type = types[data[0] % 4],
                            .bytes = data + 1,
                            .n_bytes = n - 1,
                            .max_images = 4,
                            .params = api_params_default};
    struct problem problem = {0};
    struct request *request = request_new(0);
    if (!request)
        abort();
    if (api_body_form(body.content_type, body.bytes, body.n_bytes) != API_FORM_RAW &&
        api_body_read(&body, request, &problem) != (problem.type == PROBLEM_NONE))
        abort();
    request_free(request);
    api_body_done(&body);
    return 0;
}
