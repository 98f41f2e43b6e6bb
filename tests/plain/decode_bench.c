/* What decoding costs, in this process and in a confined helper: decode_bench RESNETD FILE...
 * For each file the medians over half a second or more each, taken in turn, to the 224 pixels of a
 * usual network; what a helper takes more, in pairs, and how much of that passes before it begins
 * and after it has ended. RESNETD is the program whose helper is asked, with the same decoder.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "server/pixels.h"
#include "server/sandbox.h"

#define MAX_BYTES (16u << 20)
#define MAX_RUNS 400
#define SECONDS 1.0
#define CROP 224

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *ms, int n)
{
    qsort(ms, (size_t)n, sizeof *ms, compare);
    return ms[n / 2];
}

static const struct pixels_order order = {
    .limits = {.max_bytes = MAX_BYTES,
               .max_side = 16384,
               .max_pixels = 50000000,
               .max_scans = 32,
               .max_memory = 192u << 20,
               .max_cpu_ms = 1000},
    .recipe = {.resize = 256, .crop = CROP, .std = {1, 1, 1}},
    .deadline_ns = UINT64_MAX,
};

static void measure(struct sandbox *sandbox, const char *path)
{
    static uint8_t bytes[MAX_BYTES], own[3 * CROP * CROP];
    static double inside[MAX_RUNS], helper[MAX_RUNS], more[MAX_RUNS];
    static double before[MAX_RUNS], after[MAX_RUNS];
    FILE *file = fopen(path, "rb");
    const size_t n_bytes = file ? fread(bytes, 1, MAX_BYTES, file) : 0;
    struct pixels_result result = {0};
    int n = 0;
    if (file)
        (void)fclose(file);
    for (const uint64_t start_ns = uv_hrtime();
         n < MAX_RUNS && (double)(uv_hrtime() - start_ns) < 2e9 * SECONDS; n++) {
        const uint8_t *rgb = own;
        int signal;
        const uint64_t a_ns = uv_hrtime();
        pixels_make(&order, bytes, n_bytes, &result, own);
        const uint64_t b_ns = uv_hrtime();
        const bool made =
            result.verdict == PIXELS_MADE &&
            sandbox_run(sandbox, 0, &order, bytes, n_bytes, &result, &rgb, &signal) == SANDBOX_DONE;
        const uint64_t c_ns = uv_hrtime();
        if (!made || memcmp(rgb, own, sizeof own) != 0) {
            (void)printf("%s: %s\n", path, result.err.text);
            return;
        }
        inside[n] = (double)(b_ns - a_ns) / 1e6;
        helper[n] = (double)(c_ns - b_ns) / 1e6;
        more[n] = helper[n] - inside[n];
        before[n] = (double)(result.start_ns - b_ns) / 1e6;
        after[n] = (double)(c_ns - result.crop_end_ns) / 1e6;
    }
    const char *name = strrchr(path, '/');
    (void)printf("  %-28s %5.2f Mpx  thread %7.2f ms  process %7.2f ms  %+5.0f us: "
                 "%.0f before, %.0f after\n",
                 name ? name + 1 : path, (double)result.info.width * result.info.height / 1e6,
                 median(inside, n), median(helper, n), 1e3 * median(more, n),
                 1e3 * median(before, n), 1e3 * median(after, n));
}

int main(int argc, char **argv)
{
    struct sandbox *sandbox;
    struct rn_error err;
    const struct sandbox_options options = {.program = argc > 1 ? argv[1] : "",
                                            .n_slots = 1,
                                            .max_file_bytes = MAX_BYTES,
                                            .max_memory = 192u << 20};
    if (argc < 3 || sandbox_open(&options, &sandbox, &err) != RN_OK) {
        (void)fprintf(stderr, "decode_bench: %s\n", argc < 3 ? "RESNETD FILE..." : err.text);
        return 1;
    }
    for (int i = 2; i < argc; i++)
        measure(sandbox, argv[i]);
    sandbox_close(sandbox);
    return 0;
}
