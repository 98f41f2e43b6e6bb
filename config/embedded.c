/* Embeds the default model's file with the assembler's .incbin. Read-only data.
 *
 * SPDX-License-Identifier: MIT */
#include "config/embedded.h"

__asm__(".section .rodata\n"
        ".balign 64\n"
        ".global config_embedded_model\n"
        ".global config_embedded_model_end\n"
        "config_embedded_model:\n"
        ".incbin \"config/models/cifar10-resnet20.safetensors\"\n"
        "config_embedded_model_end:\n"
        ".previous\n");

extern const unsigned char config_embedded_model_end[];

size_t config_embedded_model_bytes(void)
{
    return (size_t)(config_embedded_model_end - config_embedded_model);
}
