/* A network as a picture (SVG) after figure 3 of He et al. 2015: a column for each stage, a box for
 * each convolution, the shortcuts beside them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_DRAWING_H
#define RESNETD_SERVER_CMD_DRAWING_H

#include <stdbool.h>

struct rn_model;

/* False when memory ran out or the file cannot be written. */
bool drawing_write(const char *path, const struct rn_model *model);

#endif
