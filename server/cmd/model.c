/* [NAME=]PATH, where PATH may be a word of the model directory, or the embedded model. An '='
 * behind a '/' belongs to the path.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/model.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/embedded.h"

/* Between two batches, threads are woken and the loop comes round: with busy cores a millisecond or
 * so, in which no batch runs. So many FLOPs make a batch of 10 to 40 ms on two cores, beside which
 * it is little. */
#define BATCH_FLOPS UINT64_C(4000000000)
#define LEAST_BATCH 8
#define MOST_BATCH 32

/* A word without a '/' that names nothing here may name something in the model directory. */
static const char *find(const struct config *config, const char *text, char path[PATH_MAX])
{
    if (strchr(text, '/') || access(text, F_OK) == 0)
        return text;
    const int n = snprintf(path, PATH_MAX, "%s/%s", config->model_dir, text);
    return n > 0 && n < PATH_MAX && access(path, F_OK) == 0 ? path : text;
}

int model_batch(uint64_t flops)
{
    const uint64_t n = BATCH_FLOPS / (flops > 0 ? flops : 1);
    return n < LEAST_BATCH ? LEAST_BATCH : n > MOST_BATCH ? MOST_BATCH : (int)n;
}

static enum rn_status open_path(const char *path, const struct rn_model_options *options,
                                struct rn_model **out, struct rn_error *err)
{
    if (!path[0])
        return rn_model_open_memory(config_embedded_model, config_embedded_model_bytes(),
                                    "embedded model", options, out, err);
    return rn_model_open(path, options, out, err);
}

enum rn_status model_open(const struct config *config, const char *text, const char *labels,
                          int max_batch, void (*rest)(void), struct rn_model **out,
                          struct rn_error *err)
{
    char name[256];
    struct rn_model_options options = {
        .labels = labels[0] ? labels : NULL,
        .cpu = config->cpu[0] ? config->cpu : NULL,
        .max_batch = max_batch,
        .choose_batch = max_batch > 0 ? NULL : model_batch,
        .direct = strcmp(config->convolution, "direct") == 0,
        .max_bytes = config->max_model_bytes,
        .rest = rest,
    };
    size_t n = strcspn(text, "=/");
    if (text[n] == '=') {
        if (n == 0 || n >= sizeof name)
            return rn_fail(err, RN_BAD_ARGUMENT, "model %s: a name has 1 to %zu bytes", text,
                           sizeof name - 1);
        memcpy(name, text, n);
        name[n] = '\0';
        options.name = name;
        text += n + 1;
    }
    char room[PATH_MAX];
    const char *path = text[0] ? find(config, text, room) : "";
    return open_path(path, &options, out, err);
}
