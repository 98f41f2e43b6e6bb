/* Which model a word of the command line or a setting means.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_MODEL_H
#define RESNETD_SERVER_CMD_MODEL_H

#include "engine/engine.h"

struct config;

/* The largest batch of a network of so many FLOPs an image, where the settings leave it open. */
int model_batch(uint64_t flops);

/* Opens [NAME=]PATH with the kernels that the settings name; "" is the embedded model; a PATH
 * without a '/' that is not here is looked for in the model directory. `labels` is a file of labels
 * instead of the model's own, "" for none; max_batch 0: model_batch()'s; `rest` as in
 * rn_model_options. Fails like rn_model_open(). */
RN_MUST_USE enum rn_status model_open(const struct config *config, const char *text,
                                      const char *labels, int max_batch, void (*rest)(void),
                                      struct rn_model **out, struct rn_error *err);

#endif
