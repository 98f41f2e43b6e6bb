/* libFuzzer: a .safetensors file in memory. What is accepted must run.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/engine.h"
#include "tests/fuzz/fuzz.h"

#define MAX_VALUES (3 * 64 * 64) /* of an input that is run; a recipe may ask for a huge one */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static float image[MAX_VALUES];
    const struct rn_model_options options = {.max_batch = 1};
    const float *input = image;
    struct rn_model *model;
    struct rn_session *session;
    struct rn_threads *threads;
    if (rn_model_open_memory(data, n, "fuzz", &options, &model, NULL) != RN_OK)
        return 0;
    const struct rn_model_info *info = rn_model_info(model);
    if (3 * info->input[1] * info->input[2] <= MAX_VALUES &&
        rn_threads_new(1, &threads, NULL) == RN_OK) {
        if (rn_session_new(model, threads, &session, NULL) == RN_OK) {
            float *logits = malloc((size_t)info->classes * sizeof *logits);
            if (logits)
                rn_session_run(session, &input, 1, logits);
            free(logits);
            rn_session_free(session);
        }
        rn_threads_free(threads);
    }
    rn_model_free(model);
    return 0;
}
