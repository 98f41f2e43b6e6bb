/* What pictures in SVG share: escaping, and the way into a file.
 *
 * Pure but for the file; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_SVG_H
#define RESNETD_SERVER_SVG_H

#include <stdbool.h>

struct text;

/* Text of an element: names come from model files. Control characters are left out. */
void svg_text(struct text *out, const char *s);

/* Writes the text and empties it. False when memory ran out or the file cannot be written. */
bool svg_save(struct text *svg, const char *path);

#endif
