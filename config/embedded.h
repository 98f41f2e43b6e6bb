/* The default model, carried in the binary: models/cifar10-resnet20.safetensors.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_CONFIG_EMBEDDED_H
#define RESNETD_CONFIG_EMBEDDED_H

#include <stddef.h>

extern const unsigned char config_embedded_model[];
size_t config_embedded_model_bytes(void);

#endif
