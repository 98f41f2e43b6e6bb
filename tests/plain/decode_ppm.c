/* An image file as the engine sees it, to be compared with what other decoders make of it: a PPM on
 * stdout. decode_ppm FILE. Exit 1, with the reason, where it is refused. The comment in the PPM is
 * the Exif orientation, which is applied already.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"

#define MAX_BYTES (64u << 20)

int main(int argc, char **argv)
{
    struct rn_image_limits limits = rn_image_limits_default;
    struct rn_image image;
    struct rn_error err;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    uint8_t *bytes = malloc(MAX_BYTES);
    if (!file || !bytes) {
        (void)fprintf(stderr, "decode_ppm: a file to read, please\n");
        free(bytes);
        return 2;
    }
    const size_t n = fread(bytes, 1, MAX_BYTES, file);
    (void)fclose(file);
    limits.max_cpu_ms = 600000; /* sanitizers are slow */
    const enum rn_status status = rn_image_decode(bytes, n, &limits, &image, &err);
    free(bytes);
    if (status != RN_OK) {
        (void)fprintf(stderr, "decode_ppm: %s\n", err.text);
        return 1;
    }
    (void)printf("P6\n# %d\n%d %d\n255\n", image.info.exif_orientation, image.info.width,
                 image.info.height);
    (void)fwrite(image.rgb, 3, (size_t)image.info.width * (size_t)image.info.height, stdout);
    rn_image_done(&image);
    return fflush(stdout) == 0 ? 0 : 2;
}
