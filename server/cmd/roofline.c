/* Draws a roofline. Both axes are logarithmic; a dot's name shows when it is pointed at.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/roofline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/svg.h"
#include "server/text.h"

#define WIDTH 900
#define HEIGHT 560
#define LEFT 70
#define TOP 50
#define RIGHT 870
#define BOTTOM 500

/* The axes: 0.1 … 1000 operations per byte, 1 … 10000 GFLOP/s. */
#define X_MIN 0.1
#define X_MAX 1000.0
#define Y_MIN 1.0
#define Y_MAX 10000.0

static const struct {
    const char *algorithm, *colour;
} colours[] = {
    {"direct", "#1f77b4"},        {"winograd4", "#d62728"},   {"winograd2", "#ff7f0e"},
    {"winograd4/2", "#e377c2"},   {"winograd2/2", "#bcbd22"}, {"winograd6", "#17becf"},
    {"winograd-stem", "#7f7f7f"}, {"strassen", "#8c564b"},    {"bf16x3", "#9467bd"},
    {"gemm", "#2ca02c"},
};
#define N_COLOURS (sizeof colours / sizeof *colours)

static double place(double value, double min, double max, double from, double to)
{
    const double inside = value < min ? min : value > max ? max : value;
    return from + (to - from) * log10(inside / min) / log10(max / min);
}

static double at_x(double flops_per_byte)
{
    return place(flops_per_byte, X_MIN, X_MAX, LEFT, RIGHT);
}

static double at_y(double gflops)
{
    return place(gflops, Y_MIN, Y_MAX, BOTTOM, TOP);
}

static const char *colour_of(const char *algorithm)
{
    for (size_t i = 0; i < N_COLOURS; i++)
        if (strcmp(colours[i].algorithm, algorithm) == 0)
            return colours[i].colour;
    return "#7f7f7f";
}

static void add_axes(struct text *out)
{
    for (double x = X_MIN; x <= X_MAX * 1.01; x *= 10)
        text_format(out,
                    "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" class=\"grid\"/>"
                    "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                    at_x(x), TOP, at_x(x), BOTTOM, at_x(x), BOTTOM + 18, x);
    for (double y = Y_MIN; y <= Y_MAX * 1.01; y *= 10)
        text_format(out,
                    "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"grid\"/>"
                    "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                    LEFT, at_y(y), RIGHT, at_y(y), LEFT - 8, at_y(y) + 4, y);
    text_format(out,
                "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">operations per byte of weights and "
                "feature maps</text>\n"
                "<text x=\"18\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 18 %d)\">"
                "GFLOP/s</text>\n",
                (LEFT + RIGHT) / 2, BOTTOM + 42, (TOP + BOTTOM) / 2, (TOP + BOTTOM) / 2);
}

static void add_roof(struct text *out, const struct roofline *r)
{
    const double ridge = r->peak_gflops / r->bandwidth_gbs;
    const double low = r->bandwidth_gbs * X_MIN > Y_MIN ? X_MIN : Y_MIN / r->bandwidth_gbs;
    text_format(out, "<polyline points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\" class=\"roof\"/>\n",
                at_x(low), at_y(r->bandwidth_gbs * low), at_x(ridge), at_y(r->peak_gflops),
                at_x(X_MAX), at_y(r->peak_gflops));
    text_format(out,
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.0f GFLOP/s from L1</text>\n"
                "<text x=\"%.1f\" y=\"%.1f\">%.0f GB/s from memory</text>\n",
                RIGHT, at_y(r->peak_gflops) - 8, r->peak_gflops, at_x(low) + 40,
                at_y(r->bandwidth_gbs * low) + 20, r->bandwidth_gbs);
}

static void add_dots(struct text *out, const struct roofline *r)
{
    for (size_t i = 0; i < r->n_dots; i++) {
        const struct roofline_dot *d = &r->dots[i];
        text_format(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\"><title>",
                    at_x(d->flops_per_byte), at_y(d->gflops), colour_of(d->algorithm));
        svg_text(out, d->name);
        text_format(out, ": %s, %.0f GFLOP/s, %.1f operations per byte</title></circle>\n",
                    d->algorithm, d->gflops, d->flops_per_byte);
    }
}

static bool has_dot(const struct roofline *r, const char *algorithm)
{
    for (size_t i = 0; i < r->n_dots; i++)
        if (strcmp(r->dots[i].algorithm, algorithm) == 0)
            return true;
    return false;
}

/* The algorithms that there are dots of, in the lower right corner, the last just above the axis.
 */
static void add_legend(struct text *out, const struct roofline *r)
{
    int y = BOTTOM - 15;
    for (size_t i = N_COLOURS; i-- > 0;) {
        if (!has_dot(r, colours[i].algorithm))
            continue;
        text_format(out,
                    "<circle cx=\"%d\" cy=\"%d\" r=\"5\" fill=\"%s\"/>"
                    "<text x=\"%d\" y=\"%d\">%s</text>\n",
                    RIGHT - 125, y, colours[i].colour, RIGHT - 113, y + 4, colours[i].algorithm);
        y -= 20;
    }
}

bool roofline_write(const char *path, const struct roofline *roofline)
{
    struct text out = {0};
    text_format(&out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                "font-family=\"sans-serif\" font-size=\"13\">\n<style>.grid{stroke:#ddd}"
                ".roof{fill:none;stroke:#333;stroke-width:2}circle{fill-opacity:.75}</style>\n"
                "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
                "<text x=\"%d\" y=\"28\" font-size=\"16\">",
                WIDTH, HEIGHT, LEFT);
    svg_text(&out, roofline->title);
    text_add(&out, "</text>\n");
    add_axes(&out);
    add_roof(&out, roofline);
    add_dots(&out, roofline);
    add_legend(&out, roofline);
    text_add(&out, "</svg>\n");
    return svg_save(&out, path);
}
