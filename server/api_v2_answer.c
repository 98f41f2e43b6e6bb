/* The one output, as JSON or as bytes.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_v2_answer.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_v2_body.h"
#include "server/registry.h"
#include "server/request.h"
#include "server/text.h"

bool api_v2_answer_scores(const struct request *request)
{
    const int classes = request->model->info->classes;
    for (int i = 0; i < request->n_images; i++) {
        float *scores = request->images[i].logits;
        double sum = 0;
        rn_softmax(scores, classes, scores);
        for (int k = 0; k < classes; k++)
            sum += (double)scores[k];
        if (!isfinite(sum))
            return false;
    }
    return true;
}

/* ---- elements: as JSON, or as the binary extension has them
 * -------------------------------------- */

static void add_number(struct text *out, uint32_t number)
{
    const char bytes[4] = {(char)number, (char)(number >> 8), (char)(number >> 16),
                           (char)(number >> 24)};
    text_bytes(out, bytes, sizeof bytes);
}

static void write_scores(struct text *out, const struct request *request, bool binary)
{
    const int classes = request->model->info->classes;
    for (int i = 0; i < request->n_images; i++) {
        for (int k = 0; k < classes; k++) {
            const float score = request->images[i].logits[k];
            uint32_t bits;
            memcpy(&bits, &score, sizeof bits);
            if (binary)
                add_number(out, bits);
            else
                text_format(out, "%s%.9g", i + k ? "," : "", (double)score);
        }
    }
}

/* "SCORE:INDEX:LABEL" */
static void write_class(struct text *out, const struct request_image *image, int index)
{
    const struct rn_model_info *info = image->request->model->info;
    text_real(out, (double)image->logits[index], 6);
    text_format(out, ":%d:", index);
    text_add(out, info->labels[index]);
}

static void write_classes(struct text *out, const struct request *request, int n_best, int *top,
                          bool binary)
{
    const int classes = request->model->info->classes;
    for (int i = 0; i < request->n_images; i++) {
        rn_top_k(request->images[i].logits, classes, n_best, top);
        for (int k = 0; k < n_best; k++) {
            struct text element = {0};
            write_class(&element, &request->images[i], top[k]);
            if (binary) {
                add_number(out, (uint32_t)element.n);
                text_add(out, element.bytes ? element.bytes : "");
            } else {
                text_add(out, i + k ? "," : "");
                text_json(out, element.bytes ? element.bytes : "");
            }
            out->failed = out->failed || element.failed;
            text_done(&element);
        }
    }
}

static bool write_elements(struct text *out, const struct request *request,
                           const struct api_v2_body *body)
{
    if (body->classification == 0) {
        write_scores(out, request, body->binary);
        return true;
    }
    int *top = calloc((size_t)body->classification, sizeof *top);
    if (top)
        write_classes(out, request, body->classification, top, body->binary);
    free(top);
    return top != NULL;
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

const char *api_v2_version(const struct rn_model_info *info)
{
    return info->version[0] ? info->version : "1";
}

/* Of the image that took longest. */
static double longest_ms(const struct request *request, enum request_stage stage)
{
    double longest = 0;
    for (int i = 0; i < request->n_images; i++) {
        double ms[N_REQUEST_STAGES];
        request_stages(&request->images[i], 0, ms);
        longest = ms[stage] > longest ? ms[stage] : longest;
    }
    return longest;
}

static void write_head(struct text *out, const struct request *request,
                       const struct api_v2_body *body)
{
    text_add(out, "{\"model_name\":");
    text_json(out, request->model->info->name);
    text_member(out, "model_version", api_v2_version(request->model->info));
    if (body->id)
        text_member(out, "id", body->id);
    text_format(out, ",\"parameters\":{\"decode_ms\":%.3f,\"queue_ms\":%.3f,\"inference_ms\":%.3f}",
                longest_ms(request, REQUEST_DECODE) + longest_ms(request, REQUEST_PREPROCESS),
                longest_ms(request, REQUEST_QUEUE), longest_ms(request, REQUEST_INFERENCE));
    text_format(out, ",\"outputs\":[{\"name\":\"" API_V2_OUTPUT "\",\"datatype\":\"%s\"",
                body->classification ? "BYTES" : "FP32");
    text_format(out, ",\"shape\":[%d,%d],", request->n_images,
                body->classification ? body->classification : request->model->info->classes);
}

char *api_v2_answer(const struct request *request, const struct api_v2_body *body, size_t *n,
                    size_t *n_json)
{
    struct text out = {0}, elements = {0};
    if (!write_elements(&elements, request, body) || elements.failed) {
        text_done(&elements);
        return NULL;
    }
    write_head(&out, request, body);
    if (body->binary)
        text_format(&out, "\"parameters\":{\"binary_data_size\":%zu}}]}", elements.n);
    else
        text_format(&out, "\"data\":[%s]}]}\n", elements.bytes);
    *n_json = out.n;
    if (body->binary)
        text_bytes(&out, elements.bytes, elements.n);
    text_done(&elements);
    return text_take(&out, n);
}
