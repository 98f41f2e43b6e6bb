/* The files that a model hub puts beside model.safetensors.
 *
 * config.json as timm writes it (pretrained_cfg, label_names) and as transformers does (id2label
 * and the few keys that change the network), and transformers' preprocessor_config.json.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_LOAD_SIDECAR_H
#define RESNETD_ENGINE_LOAD_SIDECAR_H

#include "engine/load/meta.h"

/* Fills what `meta` does not say yet from folder/config.json and, after it,
 * folder/preprocessor_config.json; neither has to exist. RN_IO, RN_BAD_MODEL,
 * RN_UNSUPPORTED_MODEL, RN_NO_MEMORY; `meta` may then be partly filled. */
enum rn_status sidecar_read(const char *folder, struct meta *meta,
                            struct rn_error *err) RN_MUST_USE;

#endif
