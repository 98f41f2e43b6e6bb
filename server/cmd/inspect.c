/* `resnetd inspect`: the network layer by layer, as written in the file: shapes, parameters, FLOPs,
 * receptive fields. One thread; prints to stdout.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cmd/drawing.h"
#include "server/cmd/offline.h"
#include "server/network.h"
#include "server/text.h"

static const char usage[] =
    "inspect [--json] [--svg FILE] [MODEL]\n\n"
    "Prints the layers of a model; without MODEL, of the settings' first one\n"
    "or, if they name none, of the embedded one.";

/* 25557032 -> "25,557,032". */
static const char *thousands(uint64_t value, char *buf, size_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, value);
    size_t at = 0;
    for (int i = 0; i < len && at + 2 < n; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = '\0';
    return buf;
}

static void print_table(const struct rn_model_info *info, const struct rn_layer *layers, size_t n)
{
    char a[40], b[40];
    int width = 5;
    for (size_t i = 0; i < n; i++)
        width = (int)strlen(layers[i].name) > width ? (int)strlen(layers[i].name) : width;
    printf("%s  %s  %d classes  input 3×%d×%d\n", info->name, info->architecture, info->classes,
           info->input[1], info->input[2]);
    printf("%s\n\n", info->digest);
    printf("%-*s  %-8s  %-14s  %6s  %12s  %15s  %9s\n", width, "layer", "op", "output", "kernel",
           "parameters", "FLOPs", "receptive");
    for (size_t i = 0; i < n; i++) {
        const struct rn_layer *l = &layers[i];
        char output[40], kernel[16] = "";
        (void)snprintf(output, sizeof output, "%dx%dx%d", l->output[1], l->output[2], l->output[3]);
        if (l->kernel > 0)
            (void)snprintf(kernel, sizeof kernel, "%d/%d", l->kernel, l->stride);
        printf("%-*s  %-8s  %-14s  %6s  %12s  %15s  %9d\n", width, l->name, l->op, output, kernel,
               thousands(l->parameters, a, sizeof a), thousands(l->flops, b, sizeof b),
               l->receptive_field);
    }
    printf("\n%s parameters, %s FLOPs an image (multiply + add = 2)\n",
           thousands(info->parameters, a, sizeof a), thousands(info->flops, b, sizeof b));
    const struct rn_recipe *r = &info->recipe;
    printf("recipe: shorter side to %d, %s, crop %d, mean %.4g %.4g %.4g, std %.4g %.4g %.4g\n",
           r->resize, r->interpolation == RN_BICUBIC ? "bicubic" : "bilinear", r->crop,
           (double)r->mean[0], (double)r->mean[1], (double)r->mean[2], (double)r->std[0],
           (double)r->std[1], (double)r->std[2]);
    printf("labels: %s … %s\n", info->labels[0], info->labels[info->classes - 1]);
    if (*info->version)
        printf("version: %s\n", info->version);
    if (*info->accuracy)
        printf("accuracy: %s\n", info->accuracy);
    if (*info->source)
        printf("source: %s\n", info->source);
}

static enum cmd_exit print_json(const struct rn_model *model)
{
    struct text out = {0};
    size_t n;
    network_write(&out, model);
    char *json = text_take(&out, &n);
    if (!json) {
        offline_complain("out of memory");
        return CMD_FAILED;
    }
    (void)puts(json);
    free(json);
    return CMD_OK;
}

int cmd_inspect(int argc, char **argv, char **envp)
{
    bool json = false;
    const char *svg = "";
    const struct flag flags[] = {
        {.name = "json",
         .type = FLAG_SWITCH,
         .out = &json,
         .value = "",
         .help = "one JSON object instead of a table"},
        {.name = "svg",
         .type = FLAG_TEXT,
         .out = &svg,
         .value = "FILE",
         .help = "draw the network into this file instead"},
    };
    enum cmd_exit code;
    if (!offline_flags(usage, flags, sizeof flags / sizeof *flags, &argc, argv, &code))
        return code;
    if (argc > 1) {
        offline_complain("inspect takes one model, not %d", argc);
        return CMD_USAGE;
    }
    struct config config;
    code = offline_settings(envp, &config);
    if (code != CMD_OK)
        return code;
    struct rn_model *model = NULL;
    code = offline_model(&config, argc > 0 ? argv[0] : "", 1, &model);
    config_done(&config);
    if (code != CMD_OK)
        return code;
    size_t n;
    const struct rn_layer *layers = rn_model_layers(model, &n);
    if (svg[0] && !drawing_write(svg, model)) {
        offline_complain("%s: %s", svg, strerror(errno));
        code = CMD_FAILED;
    } else if (json)
        code = print_json(model);
    else if (!svg[0])
        print_table(rn_model_info(model), layers, n);
    rn_model_free(model);
    return code;
}
