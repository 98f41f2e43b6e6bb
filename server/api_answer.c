/* The JSON of answers, written by hand: fixed members in a fixed order, scores with six decimals,
 * times with three.
 *
 * Loop thread. The stages of an image's time sum to the total, see request_stages().
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/clock.h"
#include "server/http.h"
#include "server/registry.h"
#include "server/request.h"
#include "server/text.h"

int api_answer_n_worked(const struct request *request)
{
    int n = 0;
    for (int i = 0; i < request->n_images; i++)
        n += request->images[i].problem.type == PROBLEM_NONE;
    return n;
}

/* ---- pieces --------------------------------------------------------------------------------- */

static void write_model(struct text *out, const struct rn_model_info *info)
{
    text_add(out, "{\"name\":");
    text_json(out, info->name);
    text_add(out, ",\"version\":");
    text_json(out, info->version);
    text_format(out, ",\"digest\":\"%s\",\"precision\":\"%s\"}", info->digest, info->precision);
}

static void write_image(struct text *out, const struct rn_image_info *info)
{
    text_format(out,
                "{\"format\":\"%s\",\"width\":%d,\"height\":%d,\"exif_orientation\":%d,"
                "\"bytes\":%zu}",
                rn_image_format_name(info->format), info->width, info->height,
                info->exif_orientation, info->bytes);
}

/* Ours: index, label, id, score; Hugging Face's: label and score. */
static void write_predictions(struct text *out, const struct api_answer *answer,
                              const struct request_image *image, const int *top)
{
    const struct rn_model_info *info = answer->request->model->info;
    bool ours = answer->shape == API_SHAPE_ONE || answer->shape == API_SHAPE_MANY;
    text_add(out, "[");
    for (int i = 0; i < answer->top_k; i++) {
        double score = (double)image->logits[top[i]];
        if (score < answer->params->threshold)
            break;
        text_add(out, i ? ",{" : "{");
        if (ours)
            text_format(out, "\"index\":%d,", top[i]);
        if (!ours || answer->params->labels) {
            text_add(out, "\"label\":");
            text_json(out, info->labels[top[i]]);
            text_add(out, ",");
        }
        if (ours && info->ids) {
            text_add(out, "\"id\":");
            text_json(out, info->ids[top[i]]);
            text_add(out, ",");
        }
        text_add(out, "\"score\":");
        text_real(out, score, 6);
        text_add(out, "}");
    }
    text_add(out, "]");
}

static void write_stages(struct text *out, const struct request_image *image, uint64_t end_ns)
{
    double ms[N_REQUEST_STAGES];
    request_stages(image, end_ns, ms);
    for (int i = 0; i < N_REQUEST_STAGES; i++)
        text_format(out, "%s\"%s\":%.3f", i ? "," : "", request_stage_names[i], ms[i]);
}

static void write_total(struct text *out, const struct api_answer *answer)
{
    text_format(out, "\"total\":%.3f", clock_ms(answer->request->arrived_ns, answer->end_ns));
}

static void write_error(struct text *out, const struct api_answer *answer,
                        const struct request_image *image)
{
    text_add(out, "\"error\":{");
    problem_write(out, &image->problem, answer->id);
    text_add(out, "}");
}

static void write_top_level(struct text *out, const struct api_answer *answer)
{
    text_add(out, "\"id\":");
    text_json(out, answer->id);
    text_add(out, ",\"model\":");
    write_model(out, answer->request->model->info);
}

static void write_explain(struct text *out, const struct rn_model_info *info,
                          const struct request_image *image)
{
    const struct rn_region r =
        rn_image_region(image->info.width, image->info.height, &info->recipe);
    text_format(out, ",\"explain\":{\"method\":\"cam\",\"class\":%d,\"grid\":[", image->cam_class);
    for (int y = 0; y < info->cam[0]; y++) {
        text_add(out, y ? ",[" : "[");
        for (int x = 0; x < info->cam[1]; x++) {
            text_add(out, x ? "," : "");
            text_significant(out, (double)image->cam[y * info->cam[1] + x], 7);
        }
        text_add(out, "]");
    }
    text_add(out, "],\"bias\":");
    text_significant(out, (double)image->cam_bias, 7);
    text_format(out, ",\"region\":[%.3f,%.3f,%.3f,%.3f]}", r.x, r.y, r.width, r.height);
}

static void write_outcome(struct text *out, const struct api_answer *answer,
                          const struct request_image *image, const int *top)
{
    text_add(out, "\"image\":");
    write_image(out, &image->info);
    text_add(out, ",\"predictions\":");
    write_predictions(out, answer, image, top);
    text_format(out, ",\"batch\":{\"size\":%d},\"cache\":\"%s\"", image->batch_size,
                request_source_name(image->request));
    if (image->cam)
        write_explain(out, answer->request->model->info, image);
}

/* ---- shapes --------------------------------------------------------------------------------- */

static void write_one(struct text *out, struct api_answer *answer, const int *tops)
{
    const struct request_image *image = answer->request->images;
    text_add(out, "{");
    write_top_level(out, answer);
    text_add(out, ",");
    write_outcome(out, answer, image, tops);
    answer->end_ns = clock_ns();
    if (answer->params->timings) {
        text_add(out, ",\"timings_ms\":{");
        write_stages(out, image, answer->end_ns);
        text_add(out, ",");
        write_total(out, answer);
        text_add(out, "}");
    }
    text_add(out, "}\n");
}

static void write_results(struct text *out, const struct api_answer *answer, const int *tops)
{
    const struct request *request = answer->request;
    text_add(out, "\"results\":[");
    for (int i = 0; i < request->n_images; i++) {
        const struct request_image *image = &request->images[i];
        text_add(out, i ? ",{\"name\":" : "{\"name\":");
        text_json(out, image->name);
        text_add(out, ",");
        if (image->problem.type != PROBLEM_NONE) {
            write_error(out, answer, image);
        } else {
            write_outcome(out, answer, image, tops + i * answer->top_k);
            if (answer->params->timings) {
                text_add(out, ",\"timings_ms\":{");
                write_stages(out, image, answer->end_ns);
                text_add(out, "}");
            }
        }
        text_add(out, "}");
    }
    text_add(out, "]");
}

static void write_many(struct text *out, const struct api_answer *answer, const int *tops)
{
    text_add(out, "{");
    write_top_level(out, answer);
    text_add(out, ",");
    write_results(out, answer, tops);
    if (answer->params->timings) {
        text_add(out, ",\"timings_ms\":{");
        write_total(out, answer);
        text_add(out, "}");
    }
    text_add(out, "}\n");
}

static void write_hf(struct text *out, const struct api_answer *answer, const int *tops)
{
    const struct request *request = answer->request;
    bool list = answer->shape == API_SHAPE_HF_MANY;
    text_add(out, list ? "[" : "");
    for (int i = 0; i < request->n_images; i++) {
        const struct request_image *image = &request->images[i];
        text_add(out, i ? "," : "");
        if (image->problem.type == PROBLEM_NONE) {
            write_predictions(out, answer, image, tops + i * answer->top_k);
        } else {
            text_add(out, "{");
            write_error(out, answer, image);
            text_add(out, "}");
        }
    }
    text_add(out, list ? "]\n" : "\n");
}

static void write_none_worked(struct text *out, const struct api_answer *answer)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_NO_IMAGE_WORKED, "none of the %d images could be classified",
                answer->request->n_images);
    text_add(out, "{");
    problem_write(out, &problem, answer->id);
    text_add(out, ",");
    write_results(out, answer, NULL);
    text_add(out, "}\n");
}

/* Scores and the best of each image that worked: tops is [n_images][top_k]. */
static int *rank_images(const struct api_answer *answer)
{
    const struct request *request = answer->request;
    int classes = request->model->info->classes;
    int *tops = calloc((size_t)request->n_images, (size_t)answer->top_k * sizeof *tops);
    for (int i = 0; tops && i < request->n_images; i++) {
        const struct request_image *image = &request->images[i];
        if (image->problem.type != PROBLEM_NONE)
            continue;
        rn_softmax(image->logits, classes, image->logits);
        rn_top_k(image->logits, classes, answer->top_k, tops + i * answer->top_k);
    }
    return tops;
}

char *api_answer_json(struct api_answer *answer, size_t *n)
{
    struct text out = {0};
    int *tops = rank_images(answer);
    if (!tops)
        return NULL;
    answer->end_ns = clock_ns();
    if (api_answer_n_worked(answer->request) == 0)
        write_none_worked(&out, answer);
    else if (answer->shape == API_SHAPE_ONE)
        write_one(&out, answer, tops);
    else if (answer->shape == API_SHAPE_MANY)
        write_many(&out, answer, tops);
    else
        write_hf(&out, answer, tops);
    free(tops);
    return text_take(&out, n);
}

void api_answer_headers(const struct request_image *image, const struct rn_model_info *info,
                        struct http_exchange *exchange)
{
    int best;
    char number[32];
    struct text label = {0};
    rn_softmax(image->logits, info->classes, image->logits);
    rn_top_k(image->logits, info->classes, 1, &best);
    for (const char *p = info->labels[best]; *p; p++)
        text_format(&label, *p < ' ' || *p > '~' || *p == '%' ? "%%%02X" : "%c", (uint8_t)*p);
    if (label.bytes)
        http_reply_header(exchange, "X-Resnetd-Label", label.bytes);
    text_done(&label);
    (void)snprintf(number, sizeof number, "%.6f", (double)image->logits[best]);
    http_reply_header(exchange, "X-Resnetd-Score", number);
    (void)snprintf(number, sizeof number, "%d", image->cam_class);
    http_reply_header(exchange, "X-Resnetd-Class", number);
}

void api_answer_server_timing(const struct api_answer *answer, char *out, size_t size)
{
    const struct request *request = answer->request;
    double total = clock_ms(request->arrived_ns, answer->end_ns), ms[N_REQUEST_STAGES];
    if (request->n_images > 1) {
        (void)snprintf(out, size, "receive;dur=%.3f, total;dur=%.3f",
                       clock_ms(request->arrived_ns, request->received_ns), total);
        return;
    }
    request_stages(request->images, answer->end_ns, ms);
    size_t n = 0;
    for (int i = 0; i < N_REQUEST_STAGES && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s;dur=%.3f, ", request_stage_names[i], ms[i]);
    if (n < size)
        (void)snprintf(out + n, size - n, "total;dur=%.3f", total);
}
