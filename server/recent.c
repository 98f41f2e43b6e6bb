/* Fixed records; texts are cut to fit.
 *
 * SPDX-License-Identifier: MIT */
#include "server/recent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/clock.h"
#include "server/http.h"
#include "server/request.h"
#include "server/text.h"

struct record {
    struct timespec time; /* of its end */
    char id[HTTP_ID_SIZE], peer[64], model[64];
    const char *slug; /* static */
    int status, n_images, batch_size;
    size_t bytes;
    const char *cache; /* static */
    /* Milliseconds. Of the image that took longest; 0 where it did not get so far. */
    double ms[N_REQUEST_STAGES], total;
    double predicted, deadline; /* what admission expected, without its margin; 0 if idle */
};

struct recent {
    uint64_t n; /* ever added */
    struct record records[RECENT_MAX];
};

struct recent *recent_new(void)
{
    return calloc(1, sizeof(struct recent));
}

void recent_free(struct recent *recent)
{
    free(recent);
}

static void add_stages(struct record *record, const struct request *request)
{
    const struct request_image *last = request_last_image(request);
    record->n_images = request->n_images;
    record->cache = request_source_name(request);
    record->predicted = (double)request->predicted_ns / 1e6;
    record->deadline = clock_ms(request->arrived_ns, request->deadline_ns);
    if (!last)
        return;
    record->batch_size = last->batch_size;
    request_stages(last, 0, record->ms);
}

void recent_add(struct recent *recent, const struct http_exchange *exchange,
                const struct request *request, const char *model, const char *slug)
{
    struct record *record = &recent->records[recent->n++ % RECENT_MAX];
    *record = (struct record){
        .slug = slug, .cache = "miss", .status = exchange->status, .bytes = exchange->body_bytes};
    (void)clock_gettime(CLOCK_REALTIME, &record->time);
    memcpy(record->id, exchange->id, sizeof record->id);
    memcpy(record->peer, exchange->peer, sizeof record->peer);
    (void)snprintf(record->model, sizeof record->model, "%s", model);
    record->total = clock_ms(exchange->arrived_ns, clock_ns());
    if (request)
        add_stages(record, request);
}

static void write_record(const struct record *record, struct text *out)
{
    char date[CLOCK_DATE_SIZE];
    text_format(out, "{\"id\":\"%s\",\"time\":\"%s\",\"peer\":\"%s\",\"status\":%d,", record->id,
                clock_date(record->time, date), record->peer, record->status);
    text_format(out, "\"problem\":\"%s\"", record->slug);
    text_member(out, "model", record->model);
    text_format(out, ",\"bytes\":%zu,\"images\":%d,\"batch\":%d,\"cache\":\"%s\",\"ms\":{",
                record->bytes, record->n_images, record->batch_size, record->cache);
    for (int i = 0; i < REQUEST_RESPOND; i++)
        text_format(out, "\"%s\":%.3f,", request_stage_names[i], record->ms[i]);
    text_format(out, "\"total\":%.3f,\"predicted\":%.3f,\"deadline\":%.3f", record->total,
                record->predicted, record->deadline);
    text_add(out, "}}");
}

void recent_write(const struct recent *recent, struct text *out)
{
    text_add(out, "[");
    for (uint64_t i = 0; i < recent->n && i < RECENT_MAX; i++) {
        text_add(out, i > 0 ? ",\n" : "");
        write_record(&recent->records[(recent->n - 1 - i) % RECENT_MAX], out);
    }
    text_add(out, "]");
}
