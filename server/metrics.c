/* The series of each metric in a growing array, found by comparing the label text: there are few,
 * since label values come from fixed sets. Loop thread only.
 *
 * A series that cannot be allocated is not counted; serving goes on. The process_* rows are read
 * from /proc/self when rendered.
 *
 * SPDX-License-Identifier: MIT */
#include "server/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "server/log.h"

#define MAX_BUCKETS 16

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

struct bucket_list {
    int n;
    double bounds[MAX_BUCKETS]; /* upper, rising; +Inf comes on top */
};

static const struct bucket_list NONE = {0};
/* OpenTelemetry's advice for HTTP, with two finer steps for the stages of small models. */
static const struct bucket_list SECONDS = {
    16, {.001, .0025, .005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}};
static const struct bucket_list SIZES = {6, {1, 2, 4, 8, 16, 32}};
static const struct bucket_list ERRORS = {8, {.0001, .0005, .001, .005, .01, .05, .1, .5}};

static const struct {
    enum metric_type type;
    const char *name, *help;
    const struct bucket_list *buckets;
} rows[] = {
#define METRIC(id, type, name, help, buckets) {type, name, help, &buckets},
#include "server/metrics.def"
#undef METRIC
};

struct series {
    char *labels;
    double value;                     /* a histogram's sum */
    uint64_t counts[MAX_BUCKETS + 1]; /* per bucket, not cumulative; last +Inf */
};

struct metrics {
    struct {
        struct series *items;
        size_t n, room;
    } families[N_METRICS];
    double start_time; /* of the process, Unix seconds */
};

static struct series *find(struct metrics *metrics, enum metric id, const char *labels)
{
    const size_t n = metrics->families[id].n;
    for (size_t i = 0; i < n; i++)
        if (strcmp(metrics->families[id].items[i].labels, labels) == 0)
            return &metrics->families[id].items[i];
    if (n == metrics->families[id].room) {
        const size_t room = n ? 2 * n : 4;
        struct series *more =
            realloc(metrics->families[id].items, room * sizeof *metrics->families[id].items);
        if (!more)
            return NULL;
        metrics->families[id].items = more;
        metrics->families[id].room = room;
    }
    char *copy = strdup(labels);
    if (!copy)
        return NULL;
    struct series *series = &metrics->families[id].items[metrics->families[id].n++];
    *series = (struct series){.labels = copy};
    return series;
}

static void render_histogram(FILE *out, const char *name, const struct bucket_list *buckets,
                             const struct series *series)
{
    const char *comma = series->labels[0] != '\0' ? "," : "";
    uint64_t count = 0;
    for (int i = 0; i < buckets->n; i++) {
        count += series->counts[i];
        fprintf(out, "%s_bucket{%s%sle=\"%.15g\"} %" PRIu64 "\n", name, series->labels, comma,
                buckets->bounds[i], count);
    }
    count += series->counts[buckets->n];
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, series->labels, comma, count);
    const char *open = comma[0] != '\0' ? "{" : "", *close = comma[0] != '\0' ? "}" : "";
    fprintf(out, "%s_sum%s%s%s %.15g\n", name, open, series->labels, close, series->value);
    fprintf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, series->labels, close, count);
}

static void render_family(FILE *out, const struct metrics *metrics, enum metric id)
{
    static const char *const type_names[] = {"counter", "gauge", "histogram"};
    if (metrics->families[id].n == 0)
        return;
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[id].name, rows[id].help, rows[id].name,
            type_names[rows[id].type]);
    for (size_t i = 0; i < metrics->families[id].n; i++) {
        const struct series *series = &metrics->families[id].items[i];
        if (rows[id].type == HISTOGRAM)
            render_histogram(out, rows[id].name, rows[id].buckets, series);
        else if (series->labels[0] != '\0')
            fprintf(out, "%s{%s} %.15g\n", rows[id].name, series->labels, series->value);
        else
            fprintf(out, "%s %.15g\n", rows[id].name, series->value);
    }
}

static int count_open_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return -1;
    int n = 0;
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        n += entry->d_name[0] != '.';
    closedir(folder);
    return n - 1; /* the folder itself was open, too */
}

static void render_process(FILE *out, const struct metrics *metrics)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        fprintf(out,
                "# HELP process_cpu_seconds_total User and system CPU time.\n"
                "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.6f\n",
                (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm) {
        unsigned long long total, resident;
        if (fscanf(statm, "%llu %llu", &total, &resident) == 2)
            fprintf(out,
                    "# HELP process_resident_memory_bytes Resident memory.\n"
                    "# TYPE process_resident_memory_bytes gauge\n"
                    "process_resident_memory_bytes %llu\n",
                    resident * (unsigned long long)sysconf(_SC_PAGESIZE));
        fclose(statm);
    }
    const int n_fds = count_open_fds();
    if (n_fds >= 0)
        fprintf(out,
                "# HELP process_open_fds Open file descriptors.\n"
                "# TYPE process_open_fds gauge\nprocess_open_fds %d\n",
                n_fds);
    fprintf(out,
            "# HELP process_start_time_seconds Start of the process, Unix time.\n"
            "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.3f\n",
            metrics->start_time);
}

/* Counters that are there from the start: a rate does not see what begins at 1. */
static const struct {
    enum metric id;
    const char *labels;
} awaited[] = {
    {METRIC_IMAGES, "outcome=\"ok\",reason=\"\""},
    {METRIC_IMAGES, "outcome=\"expired\",reason=\"deadline-exceeded\""},
    {METRIC_IMAGES, "outcome=\"rejected\",reason=\"deadline-unmeetable\""},
    {METRIC_IMAGES, "outcome=\"rejected\",reason=\"queue-full\""},
    {METRIC_ENGINE_BUSY, ""},
    {METRIC_DECODE_BUSY, ""},
    {METRIC_DECODE_DEATHS, ""},
    {METRIC_CACHE_HITS, ""},
    {METRIC_CACHE_MISSES, ""},
    {METRIC_COALESCED, ""},
    {METRIC_MODEL_RELOADS, "result=\"ok\""},
    {METRIC_MODEL_RELOADS, "result=\"failed\""},
};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return NULL;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    metrics->start_time = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    for (size_t i = 0; i < sizeof awaited / sizeof *awaited; i++)
        metrics_add(metrics, awaited[i].id, awaited[i].labels, 0);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    for (int id = 0; id < N_METRICS; id++) {
        for (size_t i = 0; i < metrics->families[id].n; i++)
            free(metrics->families[id].items[i].labels);
        free(metrics->families[id].items);
    }
    free(metrics);
}

void metrics_add_images(struct metrics *metrics, const char *outcome, const char *reason, int n)
{
    char labels[128];
    (void)snprintf(labels, sizeof labels, "outcome=\"%s\",reason=\"%s\"", outcome, reason);
    metrics_add(metrics, METRIC_IMAGES, labels, n);
}

void metrics_add(struct metrics *metrics, enum metric id, const char *labels, double value)
{
    struct series *series = find(metrics, id, labels);
    if (series)
        series->value += value;
}

void metrics_set(struct metrics *metrics, enum metric id, const char *labels, double value)
{
    struct series *series = find(metrics, id, labels);
    if (series)
        series->value = value;
}

void metrics_clear(struct metrics *metrics, enum metric id)
{
    for (size_t i = 0; i < metrics->families[id].n; i++)
        free(metrics->families[id].items[i].labels);
    metrics->families[id].n = 0;
}

void metrics_observe(struct metrics *metrics, enum metric id, const char *labels, double value)
{
    struct series *series = find(metrics, id, labels);
    if (!series)
        return;
    const struct bucket_list *buckets = rows[id].buckets;
    int i = 0;
    while (i < buckets->n && value > buckets->bounds[i])
        i++;
    series->counts[i]++;
    series->value += value;
}

void metrics_observe_span(struct metrics *metrics, enum metric id, const char *labels,
                          uint64_t from_ns, uint64_t to_ns)
{
    if (from_ns != 0 && to_ns >= from_ns)
        metrics_observe(metrics, id, labels, (double)(to_ns - from_ns) / 1e9);
}

const char *metrics_label(char *buf, size_t n, const char *key, const char *value)
{
    size_t used = (size_t)snprintf(buf, n, "%s=\"", key);
    for (; *value != '\0' && used + 4 < n; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n')
            buf[used++] = '\\';
        buf[used++] = *value == '\n' ? 'n' : *value;
    }
    if (used + 2 <= n) {
        buf[used++] = '"';
        buf[used] = '\0';
    }
    return buf;
}

char *metrics_render(struct metrics *metrics, size_t *n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    metrics_set(metrics, METRIC_LOG_DROPPED, "", (double)log_dropped());
    for (int id = 0; id < N_METRICS; id++)
        render_family(out, metrics, (enum metric)id);
    render_process(out, metrics);
    const bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    *n = size;
    return text;
}
