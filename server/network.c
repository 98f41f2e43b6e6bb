/* Members in the order of docs/api.md; layers in the network's own order.
 *
 * SPDX-License-Identifier: MIT */
#include "server/network.h"

#include <inttypes.h>

#include "server/text.h"

/* "stem", "stage1", …, "head" */
static const char *stage_name(const struct rn_layer *layer)
{
    static const char *const names[] = {"stem",   "stage1", "stage2",
                                        "stage3", "stage4", [RN_STAGE_HEAD] = "head"};
    return names[layer->stage];
}

static void write_inputs(struct text *out, const struct rn_layer *layers,
                         const struct rn_layer *layer)
{
    text_add(out, ",\"inputs\":[");
    for (int k = 0; k < RN_LAYER_MAX_INPUTS && layer->inputs[k] >= 0; k++) {
        text_add(out, k ? "," : "");
        text_json(out, layers[layer->inputs[k]].name);
    }
    text_add(out, "]");
}

static void write_layer(struct text *out, const struct rn_layer *layers,
                        const struct rn_layer *layer)
{
    text_add(out, "{\"name\":");
    text_json(out, layer->name);
    text_member(out, "op", layer->op);
    text_format(out, ",\"kernel\":%d,\"stride\":%d,\"output\":[%d,%d,%d,%d]", layer->kernel,
                layer->stride, layer->output[0], layer->output[1], layer->output[2],
                layer->output[3]);
    text_format(out, ",\"parameters\":%" PRIu64 ",\"flops\":%" PRIu64 ",\"receptive_field\":%d",
                layer->parameters, layer->flops, layer->receptive_field);
    text_format(out, ",\"jump\":%d,\"center\":", layer->jump);
    text_real(out, layer->center, 1);
    text_member(out, "stage", stage_name(layer));
    if (layer->block >= 0)
        text_format(out, ",\"block\":%d", layer->block);
    write_inputs(out, layers, layer);
    if (layer->shortcut != RN_SHORTCUT_NONE)
        text_member(out, "shortcut",
                    layer->shortcut == RN_SHORTCUT_PROJECTION ? "projection" : "identity");
    text_add(out, "}");
}

void network_write(struct text *out, const struct rn_model *model)
{
    const struct rn_model_info *info = rn_model_info(model);
    size_t n;
    const struct rn_layer *layers = rn_model_layers(model, &n);
    text_add(out, "{\"name\":");
    text_json(out, info->name);
    text_member(out, "architecture", info->architecture);
    text_format(out, ",\"classes\":%d,\"parameters\":%" PRIu64 ",\"flops\":%" PRIu64, info->classes,
                info->parameters, info->flops);
    text_format(out, ",\"input\":[1,%d,%d,%d],\"layers\":[", info->input[0], info->input[1],
                info->input[2]);
    for (size_t i = 0; i < n; i++) {
        text_add(out, i ? ",\n" : "\n");
        write_layer(out, layers, &layers[i]);
    }
    text_add(out, "\n]}");
}
