/* The access log: key=value lines, appended with one write each.
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

#include "server/http.h"
#include "server/log.h"

struct accesslog {
    int fd;
};

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

/* What a client chose must not be able to end its quotes or its line. */
static void quote(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text != '\0' && n + 1 < size; text++) {
        const unsigned char c = (unsigned char)*text;
        out[n++] = c < 0x20 || c == 0x7f || c == '"' || c == '\\' ? '?' : (char)c;
    }
    out[n] = '\0';
}

enum rn_status accesslog_open(const char *path, struct accesslog **out, struct rn_error *err)
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

void accesslog_write(struct accesslog *log, const struct http_exchange *exchange, const char *model,
                     int n_images, int max_batch)
{
    if (!log)
        return;
    struct timespec wall, monotonic;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    gmtime_r(&wall.tv_sec, &utc);
    const uint64_t now_ns = (uint64_t)monotonic.tv_sec * 1000000000u + (uint64_t)monotonic.tv_nsec;

    char method[32], path[1024], trace[128], name[256], date[32];
    quote(method, sizeof method, exchange->method);
    quote(path, sizeof path, exchange->path);
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);

    char line[LOG_LINE_MAX];
    const size_t room = sizeof line;
    size_t n = (size_t)snprintf(
        line, room,
        "time=%s.%03ldZ peer=%s method=\"%s\" path=\"%s\" status=%d bytes_in=%zu bytes_out=%zu "
        "ms=%.3f id=%s",
        date, wall.tv_nsec / 1000000, exchange->peer, method, path, exchange->status,
        exchange->body_bytes, exchange->reply_bytes, ms_between(exchange->arrived_ns, now_ns),
        exchange->id);
    if (n_images > 0 && n < room) {
        quote(name, sizeof name, model ? model : "");
        n += (size_t)snprintf(line + n, room - n, " model=\"%s\" images=%d batch=%d", name,
                              n_images, max_batch);
    }
    const char *traceparent = http_header(exchange, "traceparent");
    if (traceparent && n < room) {
        quote(trace, sizeof trace, traceparent);
        n += (size_t)snprintf(line + n, room - n, " traceparent=\"%s\"", trace);
    }
    if (n >= room)
        n = room - 1;
    line[n++] = '\n';
    (void)log_write_line(log->fd, line, n);
}
