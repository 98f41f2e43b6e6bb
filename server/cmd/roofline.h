/* A roofline (Williams, Waterman, Patterson 2009) as SVG: what each layer reached, over how much
 * it computes per byte, under what the machine can do.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_ROOFLINE_H
#define RESNETD_SERVER_CMD_ROOFLINE_H

#include <stdbool.h>
#include <stddef.h>

struct roofline_dot {
    const char *name, *algorithm;
    double flops_per_byte, gflops; /* both > 0 */
};

struct roofline {
    const char *title;
    double peak_gflops, bandwidth_gbs;
    const struct roofline_dot *dots;
    size_t n_dots;
};

/* False with errno when the file cannot be written. */
bool roofline_write(const char *path, const struct roofline *roofline);

#endif
