/* The orientation in Exif data, and nothing else of them.
 *
 * Pure, any thread. Every offset is checked against the length; whatever is odd means upright.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_IMAGE_EXIF_H
#define RESNETD_ENGINE_IMAGE_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* tiff: the TIFF structure that follows "Exif\0\0" in a JPEG and is all of a PNG's eXIf chunk.
 * 1…8 as in the Exif standard; 1 where it says nothing sensible. */
int exif_orientation(const uint8_t *tiff, size_t n);

#endif
