/* PNG by stb_image_write, in memory only. Pure; any thread: stb's settings are left at their
 * defaults.
 *
 * SPDX-License-Identifier: MIT */
#include "server/png.h"

#include <stdlib.h>

#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

char *png_encode(const uint8_t *rgb, int width, int height, size_t *n)
{
    int length = 0;
    unsigned char *file = stbi_write_png_to_mem(rgb, 3 * width, width, height, 3, &length);
    if (!file)
        return NULL;
    *n = (size_t)length;
    return (char *)file;
}
