/* Sums, and their JSON.
 *
 * SPDX-License-Identifier: MIT */
#include "server/stats.h"

#include <inttypes.h>
#include <time.h>

#include "server/request.h"
#include "server/text.h"

static void add(struct stats_span *span, uint64_t from_ns, uint64_t to_ns)
{
    span->count++;
    span->ns += to_ns > from_ns ? to_ns - from_ns : 0;
}

void stats_batch(struct stats *stats, struct request_image *const *images, int n, uint64_t start_ns,
                 uint64_t end_ns)
{
    stats->n_executions++;
    stats->n_inferences += (uint64_t)n;
    add(&stats->batches[n], start_ns, end_ns);
    for (int i = 0; i < n; i++) {
        const struct request_image *image = images[i];
        stats->batch_input_ns[n] += image->preprocess_end_ns - image->decode_start_ns;
        add(&stats->input, image->decode_start_ns, image->preprocess_end_ns);
        add(&stats->queue, image->preprocess_end_ns, start_ns);
        add(&stats->infer, start_ns, end_ns);
    }
}

void stats_request(struct stats *stats, const struct request *request, uint64_t now_ns)
{
    bool worked = request->problem.type == PROBLEM_NONE;
    for (int i = 0; i < request->n_images; i++)
        worked = worked && request->images[i].problem.type == PROBLEM_NONE;
    add(worked ? &stats->success : &stats->fail, request->arrived_ns, now_ns);
    if (!worked)
        return;
    struct timespec wall;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    stats->last_inference_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
    if (request->source == REQUEST_CACHED)
        add(&stats->hit, request->received_ns, now_ns);
    else if (request->has_key)
        add(&stats->miss, 0, 0);
    for (int i = 0; i < request->n_images; i++)
        add(&stats->output, request->images[i].batch_end_ns, now_ns);
}

static void write_span(struct text *out, const char *key, const struct stats_span *span)
{
    text_format(out, "\"%s\":{\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}", key, span->count,
                span->ns);
}

static void write_batches(const struct stats *stats, struct text *out)
{
    const char *comma = "";
    for (int n = 1; n <= RN_MAX_BATCH; n++) {
        const struct stats_span *infer = &stats->batches[n];
        if (infer->count == 0)
            continue;
        const struct stats_span input = {infer->count, stats->batch_input_ns[n]};
        const struct stats_span output = {infer->count, 0};
        text_format(out, "%s{\"batch_size\":%d,", comma, n);
        write_span(out, "compute_input", &input);
        text_add(out, ",");
        write_span(out, "compute_infer", infer);
        text_add(out, ",");
        write_span(out, "compute_output", &output);
        text_add(out, "}");
        comma = ",";
    }
}

void stats_write(const struct stats *stats, const char *name, const char *version, struct text *out)
{
    const struct {
        const char *key;
        const struct stats_span *span;
    } spans[] = {{"success", &stats->success},     {"fail", &stats->fail},
                 {"queue", &stats->queue},         {"compute_input", &stats->input},
                 {"compute_infer", &stats->infer}, {"compute_output", &stats->output},
                 {"cache_hit", &stats->hit},       {"cache_miss", &stats->miss}};
    text_add(out, "{\"name\":");
    text_json(out, name);
    text_member(out, "version", version);
    text_format(out,
                ",\"last_inference\":%" PRIu64 ",\"inference_count\":%" PRIu64
                ",\"execution_count\":%" PRIu64 ",\"inference_stats\":{",
                stats->last_inference_ms, stats->n_inferences, stats->n_executions);
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        text_add(out, i ? "," : "");
        write_span(out, spans[i].key, spans[i].span);
    }
    text_add(out, "},\"batch_stats\":[");
    write_batches(stats, out);
    text_add(out, "]}");
}
