/* The access log: key=value or JSON lines, appended with one write each.
 *
 * SPDX-License-Identifier: MIT */
#include "server/accesslog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/clock.h"
#include "server/http.h"
#include "server/log.h"
#include "server/request.h"
#include "server/text.h"

struct accesslog {
    int fd;
    bool json;
};

/* What a client chose must not be able to end its quotes or its line, nor to keep the line out of
 * readers that want UTF-8 (journalctl shows "blob data" instead of others). */
static void quote(char *out, size_t size, const char *text)
{
    size_t n = 0;
    while (*text != '\0') {
        const size_t length = text_visible(text);
        if (n + (length > 0 ? length : 1) >= size)
            break;
        if (length == 0 || *text == '"' || *text == '\\')
            out[n++] = '?';
        else
            for (size_t i = 0; i < length; i++)
                out[n++] = text[i];
        text += length > 0 ? length : 1;
    }
    out[n] = '\0';
}

enum rn_status accesslog_open(const char *path, bool json, struct accesslog **out,
                              struct rn_error *err)
{
    if (path[0] == '\0') {
        *out = NULL;
        return RN_OK;
    }
    int fd = STDERR_FILENO;
    if (strcmp(path, "-") != 0) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0)
            return rn_fail(err, RN_IO, "access log %s: %s", path, strerror(errno));
    }
    struct accesslog *log = calloc(1, sizeof *log);
    if (!log) {
        if (fd != STDERR_FILENO)
            close(fd);
        return rn_fail(err, RN_NO_MEMORY, "access log %s: out of memory", path);
    }
    log->fd = fd;
    log->json = json;
    *out = log;
    return RN_OK;
}

void accesslog_close(struct accesslog *log)
{
    if (!log)
        return;
    if (log->fd != STDERR_FILENO)
        close(log->fd);
    free(log);
}

/* What a line says, in both formats. */
struct line {
    char date[CLOCK_DATE_SIZE];
    const char *model, *trace;        /* NULL: none */
    int n_images, max_batch;          /* the largest that one of its images ran in */
    const struct request_image *last; /* the one that took longest, NULL for none */
    double ms;
};

static size_t write_text(const struct http_exchange *exchange, const struct line *line, char *out,
                         size_t room)
{
    char method[32], path[1024], trace[128], name[256];
    quote(method, sizeof method, exchange->method);
    quote(path, sizeof path, exchange->path);
    size_t n = (size_t)snprintf(
        out, room,
        "time=%s peer=%s method=\"%s\" path=\"%s\" status=%d bytes_in=%zu bytes_out=%zu ms=%.3f "
        "id=%s",
        line->date, exchange->peer, method, path, exchange->status, exchange->body_bytes,
        exchange->reply_bytes, line->ms, exchange->id);
    if (line->n_images > 0 && n < room) {
        quote(name, sizeof name, line->model ? line->model : "");
        n += (size_t)snprintf(out + n, room - n, " model=\"%s\" images=%d batch=%d", name,
                              line->n_images, line->max_batch);
    }
    if (line->trace && n < room) {
        quote(trace, sizeof trace, line->trace);
        n += (size_t)snprintf(out + n, room - n, " traceparent=\"%s\"", trace);
    }
    return n < room ? n : room - 1;
}

static void add_stages(struct text *text, const struct request_image *image)
{
    double ms[N_REQUEST_STAGES];
    request_stages(image, 0, ms);
    for (int i = 0; i < REQUEST_RESPOND; i++)
        text_format(text, "%s\"%s\":%.3f", i == 0 ? ",\"stages_ms\":{" : ",",
                    request_stage_names[i], ms[i]);
    text_add(text, "}");
}

/* 0 when memory ran out or the line would be too long. */
static size_t write_json(const struct http_exchange *exchange, const struct line *line, char *out,
                         size_t room)
{
    struct text text = {0};
    text_format(&text, "{\"time\":\"%s\",\"peer\":\"%s\"", line->date, exchange->peer);
    text_member(&text, "method", exchange->method);
    text_member(&text, "path", exchange->path);
    if (line->n_images > 0) {
        text_member(&text, "model", line->model ? line->model : "");
        text_format(&text, ",\"images\":%d,\"batch\":%d", line->n_images, line->max_batch);
    }
    if (line->last)
        add_stages(&text, line->last);
    if (line->trace)
        text_member(&text, "traceparent", line->trace);
    text_format(&text,
                ",\"status\":%d,\"bytes_in\":%zu,\"bytes_out\":%zu,\"ms\":", exchange->status,
                exchange->body_bytes, exchange->reply_bytes);
    text_real(&text, line->ms, 3);
    text_format(&text, ",\"id\":\"%s\"}", exchange->id);
    size_t n = 0;
    char *bytes = text_take(&text, &n);
    const bool fits = bytes && n < room;
    if (fits)
        memcpy(out, bytes, n);
    free(bytes);
    return fits ? n : 0;
}

void accesslog_write(struct accesslog *log, const struct http_exchange *exchange, const char *model,
                     const struct request *request)
{
    if (!log)
        return;
    struct timespec wall;
    struct line line = {.model = model,
                        .trace = http_header(exchange, "traceparent"),
                        .ms = clock_ms(exchange->arrived_ns, clock_ns())};
    if (request) {
        line.n_images = request->n_images;
        line.last = request_last_image(request);
    }
    for (int i = 0; i < line.n_images; i++)
        if (request->images[i].batch_size > line.max_batch)
            line.max_batch = request->images[i].batch_size;
    char bytes[LOG_LINE_MAX];
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    (void)clock_date(wall, line.date);
    size_t n = log->json ? write_json(exchange, &line, bytes, sizeof bytes) : 0;
    if (n == 0) /* a line that says it otherwise is better than none */
        n = write_text(exchange, &line, bytes, sizeof bytes);
    bytes[n++] = '\n';
    (void)log_write_line(log->fd, bytes, n);
}
