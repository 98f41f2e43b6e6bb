/* Pixels to a PNG file in memory. Pure; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PNG_H
#define RESNETD_SERVER_PNG_H

#include <stddef.h>
#include <stdint.h>

/* rgb: [height][width][3]. malloc'ed, *n bytes; NULL when out of memory. */
char *png_encode(const uint8_t *rgb, int width, int height, size_t *n);

#endif
