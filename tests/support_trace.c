/* A line a request: arrival, upload, decode in milliseconds, batch size, run in milliseconds,
 * separated by tabs; lines that begin with # say where the trace is from.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_trace.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1e6

static void fail(const char *path, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", path, why);
    exit(1);
}

static void add(struct trace *trace, const struct trace_request *request, const char *path)
{
    const size_t n = trace->n;
    if ((n & (n - 1)) == 0) { /* room for the next power of two */
        struct trace_request *more =
            realloc(trace->requests, (n ? 2 * n : 1) * sizeof *trace->requests);
        if (!more)
            fail(path, "out of memory");
        trace->requests = more;
    }
    trace->requests[trace->n++] = *request;
}

/* Fills mean_run_ns; a batch of n has n lines, so that every batch of a size counts the same. */
static void average(struct trace *trace, const char *path)
{
    double sum[TRACE_MAX_BATCH + 1] = {0};
    int count[TRACE_MAX_BATCH + 1] = {0}, from = 0;
    for (size_t i = 0; i < trace->n; i++) {
        const struct trace_request *request = &trace->requests[i];
        sum[request->batch] += request->run_ns;
        count[request->batch]++;
        if (request->batch > trace->max_batch)
            trace->max_batch = request->batch;
    }
    if (count[1] == 0)
        fail(path, "no request ran alone");
    for (int to = 1; to <= trace->max_batch; to++) {
        if (count[to] == 0)
            continue;
        const double to_ns = sum[to] / count[to], from_ns = trace->mean_run_ns[from];
        for (int n = from + 1; n <= to; n++)
            trace->mean_run_ns[n] = from_ns + (to_ns - from_ns) * (n - from) / (to - from);
        from = to;
    }
    for (int n = from + 1; n <= TRACE_MAX_BATCH; n++) /* no better than the largest recorded one */
        trace->mean_run_ns[n] = trace->mean_run_ns[from] * n / from;
}

void trace_read(const char *path, struct trace *trace)
{
    *trace = (struct trace){0};
    FILE *in = fopen(path, "re");
    char line[256];
    if (!in)
        fail(path, "cannot be opened");
    while (fgets(line, sizeof line, in)) {
        struct trace_request r;
        if (line[0] == '#')
            continue;
        if (sscanf(line, "%lf\t%lf\t%lf\t%d\t%lf", &r.arrived_ns, &r.upload_ns, &r.decode_ns,
                   &r.batch, &r.run_ns) != 5 ||
            r.batch < 1 || r.batch > TRACE_MAX_BATCH)
            fail(path, "a line is no request");
        r.arrived_ns *= MS;
        r.upload_ns *= MS;
        r.decode_ns *= MS;
        r.run_ns *= MS;
        if (trace->n > 0 && r.arrived_ns < trace->requests[trace->n - 1].arrived_ns)
            fail(path, "a request came before the one above it");
        add(trace, &r, path);
    }
    (void)fclose(in);
    if (trace->n < 2)
        fail(path, "has no requests");
    const double first_ns = trace->requests[0].arrived_ns;
    for (size_t i = 0; i < trace->n; i++)
        trace->requests[i].arrived_ns -= first_ns;
    const double last_ns = trace->requests[trace->n - 1].arrived_ns;
    trace->ns = last_ns + last_ns / (double)(trace->n - 1);
    average(trace, path);
}

void trace_done(struct trace *trace)
{
    free(trace->requests);
}

double trace_rate(const struct trace *trace)
{
    return (double)trace->n * 1e9 / trace->ns;
}

double trace_capacity(const struct trace *trace)
{
    return trace->max_batch * 1e9 / trace->mean_run_ns[trace->max_batch];
}

double trace_run_ns(const struct trace *trace, int n, size_t i)
{
    const struct trace_request *like = &trace->requests[i];
    return trace->mean_run_ns[n] * like->run_ns / trace->mean_run_ns[like->batch];
}
