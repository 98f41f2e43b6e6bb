/* Draws a network column by column, layers downwards. Normalisation and activations are part of the
 * convolution before them. A stage of very many blocks is drawn by its first and last ones.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/drawing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "server/svg.h"
#include "server/text.h"

#define MARGIN 24
#define TOP 104
#define GUTTER 28     /* right of a column's texts */
#define CHARACTER 5.8 /* width of one in these texts, about */
#define ARC 46        /* room for shortcuts left of the boxes */
#define BOX 132
#define BOX_HEIGHT 18
#define ROW 24
#define GAP 12 /* between blocks */
#define MAX_BLOCKS 44
#define SHOWN_BLOCKS 4 /* at either end of a longer stage */

struct drawing {
    struct text body;
    const struct rn_layer *layers;
    size_t n;
    int step;      /* from one column to the next */
    int column, y; /* where the next row begins */
    int bottom;    /* of the lowest column */
    int flow_y;    /* where the last box or addition ended */
};

/* ---- numbers and names ----------------------------------------------------------------------- */

/* 9408 -> "9.41 k". */
static const char *short_number(double value, char *out, size_t n)
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    int unit = 0;
    for (; value >= 999.5 && unit < 4; unit++)
        value /= 1000;
    const int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    (void)snprintf(out, n, "%.*f%s", decimals, value, units[unit]);
    return out;
}

static bool is(const struct rn_layer *layer, const char *op)
{
    return strcmp(layer->op, op) == 0;
}

/* Those that have no box of their own. */
static bool is_minor(const struct rn_layer *layer)
{
    return is(layer, "bn") || is(layer, "relu") || is(layer, "add") || is(layer, "input");
}

/* "3×3 conv, 128, /2" as in the paper's figure. */
static void add_title(struct text *out, const struct rn_layer *l)
{
    if (is(l, "conv"))
        text_format(out, "%d×%d conv, %d", l->kernel, l->kernel, l->output[1]);
    else if (is(l, "maxpool"))
        text_format(out, "%d×%d max pool", l->kernel, l->kernel);
    else if (is(l, "avgpool"))
        text_add(out, "average pool");
    else if (is(l, "linear"))
        text_format(out, "fc, %d", l->output[1]);
    else
        text_add(out, l->op);
    if (l->stride > 1)
        text_format(out, ", /%d", l->stride);
}

#define NAME_TAG "<tspan class=\"name\">"
#define NAME_END "</tspan>"

/* Name, shape, parameters with those of its normalisation, FLOPs, receptive field. */
static void add_facts(struct text *out, const struct drawing *d, size_t i)
{
    const struct rn_layer *l = &d->layers[i];
    uint64_t parameters = l->parameters;
    char a[32], b[32];
    for (size_t k = i + 1; k < d->n && is(&d->layers[k], "bn") && d->layers[k].inputs[0] == (int)i;
         k++)
        parameters += d->layers[k].parameters;
    text_add(out, NAME_TAG);
    svg_text(out, l->name);
    text_format(out, NAME_END "  %d×%d×%d", l->output[1], l->output[2], l->output[3]);
    if (parameters > 0)
        text_format(out, " · %s par.", short_number((double)parameters, a, sizeof a));
    if (l->flops > 0)
        text_format(out, " · %sFLOP", short_number((double)l->flops, b, sizeof b));
    text_format(out, " · sees %d", l->receptive_field);
}

/* Characters of the longest of these texts. */
static size_t longest_facts(const struct drawing *d)
{
    size_t longest = 0;
    for (size_t i = 0; i < d->n; i++) {
        struct text facts = {0};
        size_t n = 2; /* "+ " */
        if (!is_minor(&d->layers[i]))
            add_facts(&facts, d, i);
        for (size_t k = 0; k < facts.n; k++)
            n += ((unsigned char)facts.bytes[k] & 0xC0) != 0x80; /* begins one, in UTF-8 */
        text_done(&facts);
        longest = n > longest ? n : longest;
    }
    return longest - (sizeof NAME_TAG NAME_END - 1);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static int box_x(const struct drawing *d)
{
    return MARGIN + d->column * d->step + ARC;
}

static int axis_x(const struct drawing *d)
{
    return box_x(d) + BOX / 2;
}

/* The arrow from what came before to `y`. */
static void draw_flow(struct drawing *d, int y)
{
    if (d->flow_y > 0 && y > d->flow_y)
        text_format(&d->body, "<path d=\"M%d %dV%d\" class=\"flow\"/>\n", axis_x(d), d->flow_y, y);
}

static void draw_box(struct drawing *d, size_t i, const char *class)
{
    const int x = box_x(d);
    draw_flow(d, d->y);
    text_format(&d->body,
                "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"3\" class=\"%s\"/>"
                "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
                x, d->y, BOX, BOX_HEIGHT, class, axis_x(d), d->y + 13);
    add_title(&d->body, &d->layers[i]);
    text_format(&d->body, "</text><text x=\"%d\" y=\"%d\" class=\"facts\">", x + BOX + 10,
                d->y + 13);
    add_facts(&d->body, d, i);
    text_add(&d->body, "</text>\n");
    d->flow_y = d->y + BOX_HEIGHT;
    d->y += ROW;
}

static void draw_note(struct drawing *d, const char *text)
{
    text_format(&d->body, "<text x=\"%d\" y=\"%d\" class=\"facts\">%s</text>\n",
                box_x(d) + BOX + 10, d->y + 13, text);
}

/* The circle where the shortcut comes in, and the shortcut, which left the flow at `from`. */
static void draw_addition(struct drawing *d, const struct rn_layer *add, int from)
{
    const struct rn_layer *end = &d->layers[add->inputs[1]];
    const bool option_a = is(end, "shortcut");
    const char *class = add->shortcut == RN_SHORTCUT_PROJECTION ? "projection"
                        : option_a                              ? "zeros"
                                                                : "identity";
    const int x = axis_x(d), y = d->y + 8, left = box_x(d) - ARC / 2;
    draw_flow(d, y - 7);
    text_format(&d->body,
                "<path d=\"M%d %dH%dQ%d %d %d %dV%dQ%d %d %d %dH%d\" class=\"%s\"/>\n"
                "<circle cx=\"%d\" cy=\"%d\" r=\"7\" class=\"add\"/>"
                "<path d=\"M%d %dh8M%d %dv8\" class=\"plus\"/>\n",
                x, from, left + 12, left, from, left, from + 12, y - 12, left, y, left + 12, y,
                x - 8, class, x, y, x - 4, y, x, y - 4);
    if (add->shortcut == RN_SHORTCUT_PROJECTION) {
        const int conv = is(end, "bn") ? end->inputs[0] : add->inputs[1];
        text_format(&d->body, "<text x=\"%d\" y=\"%d\" class=\"facts\">+ ", box_x(d) + BOX + 10,
                    d->y + 12);
        add_facts(&d->body, d, (size_t)conv);
        text_add(&d->body, "</text>\n");
    } else if (option_a) {
        draw_note(d, "+ every other position, channels of zeros");
    }
    d->flow_y = y + 7;
    d->y += ROW;
}

/* ---- blocks and stages ----------------------------------------------------------------------- */

/* One past the last layer of the same stage and block. */
static size_t end_of_block(const struct drawing *d, size_t i)
{
    size_t end = i;
    while (end < d->n && d->layers[end].stage == d->layers[i].stage &&
           d->layers[end].block == d->layers[i].block)
        end++;
    return end;
}

/* Is layer i on the way of the shortcut that `add` ends? */
static bool is_on_shortcut(const struct drawing *d, size_t i, const struct rn_layer *add)
{
    for (int k = add->inputs[1]; k >= (int)i; k = d->layers[k].inputs[0])
        if (k == (int)i)
            return true;
    return false;
}

static void draw_block(struct drawing *d, size_t from, size_t to, const char *class)
{
    const struct rn_layer *add = NULL;
    for (size_t i = from; i < to; i++)
        if (is(&d->layers[i], "add"))
            add = &d->layers[i];
    const int branch = d->flow_y > 0 && d->y - d->flow_y > 4 ? (d->flow_y + d->y) / 2 : d->y - 6;
    for (size_t i = from; i < to; i++)
        if (!is_minor(&d->layers[i]) && !(add && is_on_shortcut(d, i, add)))
            draw_box(d, i, class);
    if (add)
        draw_addition(d, add, branch);
    d->y += GAP;
}

/* What stands over a column: the stage and its sums. */
static void draw_heading(struct drawing *d, size_t from, size_t to, int n_blocks)
{
    uint64_t parameters = 0, flops = 0;
    char a[32], b[32];
    for (size_t i = from; i < to; i++) {
        parameters += d->layers[i].parameters;
        flops += d->layers[i].flops;
    }
    text_format(&d->body,
                "<text x=\"%d\" y=\"%d\" class=\"heading\">stage %d: %d block%s, %s parameters, "
                "%sFLOP</text>\n",
                box_x(d) + BOX + 10, d->y + 6, d->layers[from].stage, n_blocks,
                n_blocks == 1 ? "" : "s", short_number((double)parameters, a, sizeof a),
                short_number((double)flops, b, sizeof b));
    d->y += ROW;
}

/* From the bottom of a column to the top of the next. */
static void turn_to_next_column(struct drawing *d)
{
    const int x = axis_x(d), end_x = x + d->step;
    const int y = d->flow_y + 12, gutter = MARGIN + (d->column + 1) * d->step - GUTTER / 2;
    text_format(&d->body, "<path d=\"M%d %dV%dH%dV%dH%dv12\" class=\"flow\"/>\n", x, d->flow_y, y,
                gutter, TOP - 12, end_x);
    d->bottom = y > d->bottom ? y : d->bottom;
    d->column++;
    d->y = TOP;
    d->flow_y = TOP;
}

/* Returns one past the stage's last layer. */
static size_t draw_stage(struct drawing *d, size_t from)
{
    static const char *const classes[] = {"s1", "s2", "s3", "s4"};
    const char *class = classes[(d->layers[from].stage - 1) % 4];
    size_t to = from;
    int n_blocks = 0;
    while (to < d->n && d->layers[to].stage == d->layers[from].stage) {
        to = end_of_block(d, to);
        n_blocks++;
    }
    d->y += 8;
    draw_heading(d, from, to, n_blocks);
    for (size_t i = from; i < to; i = end_of_block(d, i)) {
        const int block = d->layers[i].block;
        const bool shown =
            n_blocks <= MAX_BLOCKS || block < SHOWN_BLOCKS || block >= n_blocks - SHOWN_BLOCKS;
        if (shown) {
            draw_block(d, i, end_of_block(d, i), class);
        } else if (block == SHOWN_BLOCKS) {
            char text[64];
            (void)snprintf(text, sizeof text, "… %d more blocks like these …",
                           n_blocks - 2 * SHOWN_BLOCKS);
            draw_note(d, text);
            d->y += ROW + GAP;
        }
    }
    return to;
}

static void draw_network(struct drawing *d)
{
    d->y = TOP;
    d->step = ARC + BOX + 10 + (int)(CHARACTER * (double)longest_facts(d)) + GUTTER;
    for (size_t i = 0; i < d->n;) {
        const int stage = d->layers[i].stage;
        if (stage == RN_STAGE_STEM || stage == RN_STAGE_HEAD) {
            if (!is_minor(&d->layers[i]))
                draw_box(d, i, "end");
            i++;
        } else {
            i = draw_stage(d, i);
            if (i < d->n && d->layers[i].stage != RN_STAGE_HEAD)
                turn_to_next_column(d);
        }
    }
    d->bottom = d->y > d->bottom ? d->y : d->bottom;
}

/* ---- the picture ----------------------------------------------------------------------------- */

static const char style[] =
    "<style>text{fill:#222}.facts{fill:#555;font-size:11px;white-space:pre}.name{fill:#000}"
    ".heading{font-weight:bold}rect{stroke:#333;stroke-width:.8}.end{fill:#eee}.s1{fill:#e3d9f5}"
    ".s2{fill:#d5efd5}.s3{fill:#f8dcd5}.s4{fill:#d6e8f8}path{fill:none;stroke:#333}"
    ".flow{marker-end:url(#tip)}.identity,.projection,.zeros{marker-end:url(#tip);"
    "stroke-width:1.3}.projection{stroke-dasharray:6 3}.zeros{stroke-dasharray:1.5 3}"
    ".add{fill:#fff;stroke:#333}</style>\n"
    "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" "
    "markerHeight=\"6\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" style=\"fill:#333;stroke:none\"/>"
    "</marker></defs>\n";

static void add_legend(struct text *out)
{
    static const struct {
        const char *class, *text;
    } entries[] = {{"identity", "identity"},
                   {"projection", "projection"},
                   {"zeros", "identity, channels of zeros added (option A)"}};
    int x = MARGIN;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++, x += 150)
        text_format(out,
                    "<path d=\"M%d 68h36\" class=\"%s\"/><text x=\"%d\" y=\"72\" class=\"facts\">"
                    "%s</text>\n",
                    x, entries[i].class, x + 44, entries[i].text);
}

static void add_picture(struct text *out, struct drawing *d, const struct rn_model_info *info)
{
    char a[32], b[32];
    const int width = (d->column + 1) * d->step + 2 * MARGIN, height = d->bottom + MARGIN;
    text_format(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
                "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n%s"
                "<rect width=\"100%%\" height=\"100%%\" style=\"fill:#fff;stroke:none\"/>\n"
                "<text x=\"%d\" y=\"32\" font-size=\"18\">",
                width, height, width, height, style, MARGIN);
    svg_text(out, info->name);
    text_format(out, "</text><text x=\"%d\" y=\"52\" class=\"facts\">", MARGIN);
    svg_text(out, info->architecture);
    text_format(
        out,
        ", input %d×%d×%d, %d classes, %s parameters, %sFLOP an image (multiply + add = 2); "
        "“sees”: receptive field in pixels</text>\n",
        info->input[0], info->input[1], info->input[2], info->classes,
        short_number((double)info->parameters, a, sizeof a),
        short_number((double)info->flops, b, sizeof b));
    add_legend(out);
    size_t n;
    char *body = text_take(&d->body, &n);
    if (body)
        text_add(out, body);
    else
        out->failed = true;
    free(body);
    text_add(out, "</svg>\n");
}

bool drawing_write(const char *path, const struct rn_model *model)
{
    struct drawing d = {0};
    struct text svg = {0};
    d.layers = rn_model_layers(model, &d.n);
    draw_network(&d);
    add_picture(&svg, &d, rn_model_info(model));
    return svg_save(&svg, path);
}
