/* `resnetd top`: what a server is doing, live in a terminal, from its /metrics.
 *
 * Every rate is the difference of two readings.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/clock.h"
#include "server/cmd/client.h"
#include "server/cmd/cmd.h"
#include "server/cmd/offline.h"

struct reading {
    char *text; /* the exposition */
    double at_s;
};

static enum cmd_exit read_metrics(const char *listen, struct reading *out)
{
    struct client_answer answer;
    const enum cmd_exit code = client_get(listen, "/metrics", &answer);
    if (code != CMD_OK)
        return (int)code;
    if (answer.status != 200) {
        offline_complain("%s: /metrics answers %d", listen, answer.status);
        free(answer.body);
        return CMD_FAILED;
    }
    *out = (struct reading){answer.body, 1e-9 * (double)clock_ns()};
    return CMD_OK;
}

/* Calls each(arg, labels, value) for every series of a metric; labels without braces, not
 * NUL-terminated. */
static void each_series(const struct reading *reading, const char *name,
                        void (*each)(void *arg, const char *labels, double value), void *arg)
{
    const size_t n = strlen(name);
    for (const char *line = reading->text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) != 0 || (line[n] != ' ' && line[n] != '{'))
            continue;
        const char *end = strchr(line, '\n');
        const char *space = end ? memrchr(line, ' ', (size_t)(end - line)) : strrchr(line, ' ');
        if (space)
            each(arg, line[n] == '{' ? line + n + 1 : "", strtod(space, NULL));
    }
}

struct sum {
    const char *label; /* that the series must have, "" for any */
    double value;
};

static void add(void *arg, const char *labels, double value)
{
    struct sum *sum = arg;
    const char *found = strstr(labels, sum->label), *end = strchr(labels, '\n');
    if (!sum->label[0] || (found && (!end || found < end)))
        sum->value += value;
}

static double total(const struct reading *reading, const char *name, const char *label)
{
    struct sum sum = {label, 0};
    each_series(reading, name, add, &sum);
    return sum.value;
}

/* Per second, between two readings. */
static double rate(const struct reading *from, const struct reading *to, const char *name,
                   const char *label)
{
    const double seconds = to->at_s - from->at_s;
    return seconds > 0 ? (total(to, name, label) - total(from, name, label)) / seconds : 0;
}

#define DURATION "resnetd_http_request_duration_seconds"
#define ANSWERED "path=\"/classify\",code=\"200\""

/* Looks for the bucket in which a quantile of the answers between two readings lies. */
struct search {
    const struct reading *from;
    double wanted;          /* answers up to there */
    double found_s, last_s; /* upper edge of that bucket, 0 before; of the last finite one */
};

static void look(void *arg, const char *labels, double value)
{
    struct search *search = arg;
    char label[128];
    const size_t n = strcspn(labels, "}");
    const char *edge = strstr(labels, "le=\"");
    if (strncmp(labels, ANSWERED, strlen(ANSWERED)) != 0 || !edge || n >= sizeof label)
        return;
    memcpy(label, labels, n);
    label[n] = '\0';
    const double edge_s = strtod(edge + strlen("le=\""), NULL);
    if (isfinite(edge_s))
        search->last_s = edge_s;
    if (search->found_s == 0 &&
        value - total(search->from, DURATION "_bucket", label) >= search->wanted)
        search->found_s = edge_s;
}

static void print_quantile(const struct reading *from, const struct reading *to, int percent)
{
    const double n =
        total(to, DURATION "_count", ANSWERED) - total(from, DURATION "_count", ANSWERED);
    struct search search = {.from = from, .wanted = n * percent / 100};
    if (n > 0)
        each_series(to, DURATION "_bucket", look, &search);
    if (search.found_s == 0)
        (void)printf("  p%d -", percent);
    else if (isfinite(search.found_s))
        (void)printf("  p%d <= %g", percent, search.found_s * 1e3);
    else
        (void)printf("  p%d > %g", percent, search.last_s * 1e3);
}

static void print_cost(void *arg, const char *labels, double value)
{
    const char *size = strstr(labels, "batch_size=\"");
    (void)arg;
    if (size)
        (void)printf("  %d: %.1f", atoi(size + strlen("batch_size=\"")), value * 1e3);
}

static void print_screen(const char *listen, const struct reading *a, const struct reading *b)
{
    static const char images[] = "resnetd_images_total";
    const double n_batches = rate(a, b, "resnetd_batch_size_count", "");
    (void)printf("resnetd on %s  %s  %.0f MB resident, at most %.0f\n\n", listen,
                 total(b, "resnetd_ready", "") > 0 ? "ready" : "NOT READY",
                 total(b, "process_resident_memory_bytes", "") / 1e6,
                 total(b, "resnetd_memory_ceiling_bytes", "") / 1e6);
    (void)printf("images/s     ok %.1f  refused %.1f  late %.1f  invalid %.1f  canceled %.1f\n",
                 rate(a, b, images, "outcome=\"ok\""), rate(a, b, images, "outcome=\"rejected\""),
                 rate(a, b, images, "outcome=\"expired\""),
                 rate(a, b, images, "outcome=\"invalid\""),
                 rate(a, b, images, "outcome=\"canceled\""));
    (void)printf("reused/s     cache %.1f  coalesced %.1f\n",
                 rate(a, b, "resnetd_cache_hits_total", ""),
                 rate(a, b, "resnetd_coalesced_total", ""));
    (void)printf("queue        %.0f of %.0f images  in flight %.0f  wait %.0f ms  margin %.2f\n",
                 total(b, "resnetd_queue_images", ""), total(b, "resnetd_queue_limit_images", ""),
                 total(b, "resnetd_in_flight_requests", ""),
                 total(b, "resnetd_predicted_wait_seconds", "") * 1e3,
                 total(b, "resnetd_prediction_margin_ratio", ""));
    (void)printf(
        "load         saturation %.2f  engine busy %.0f %%  decoders busy %.2f  CPUs %.2f\n",
        total(b, "resnetd_saturation_ratio", ""),
        100 * rate(a, b, "resnetd_engine_busy_seconds_total", ""),
        rate(a, b, "resnetd_decode_busy_seconds_total", ""),
        rate(a, b, "process_cpu_seconds_total", ""));
    (void)printf("batches      %.1f/s of %.1f images\n", n_batches,
                 n_batches > 0 ? rate(a, b, "resnetd_batch_size_sum", "") / n_batches : 0);
    (void)printf("latency ms ");
    print_quantile(a, b, 50);
    print_quantile(a, b, 90);
    print_quantile(a, b, 99);
    (void)printf("\nbatch ms   ");
    each_series(b, "resnetd_engine_batch_duration_predicted_seconds", print_cost, NULL);
    (void)printf("\n");
    (void)fflush(stdout);
}

static enum cmd_exit watch(const char *listen, double interval_s, bool once)
{
    const struct timespec pause = {.tv_sec = (time_t)interval_s,
                                   .tv_nsec =
                                       (long)((interval_s - (double)(time_t)interval_s) * 1e9)};
    struct reading before = {0}, now = {0};
    enum cmd_exit code = read_metrics(listen, &before);
    while (code == CMD_OK) {
        (void)nanosleep(&pause, NULL);
        code = read_metrics(listen, &now);
        if (code != CMD_OK)
            break;
        if (!once)
            (void)printf("\033[H\033[J"); /* home, and clear to the end */
        print_screen(listen, &before, &now);
        free(before.text);
        before = now;
        if (once)
            break;
    }
    free(before.text);
    return (int)code;
}

int cmd_top(int argc, char **argv, char **envp)
{
    const char *listen = NULL;
    double interval_s = 1;
    bool once = false;
    const struct flag flags[] = {
        {"listen", FLAG_TEXT, &listen, 0, 0, "ADDRESS",
         "where the server listens: HOST:PORT, :PORT, [::1]:PORT or unix:/path"},
        {"interval", FLAG_REAL, &interval_s, 0.1, 3600, "S", "seconds between two readings"},
        {"once", FLAG_SWITCH, &once, 0, 0, "", "print one screen and exit"},
    };
    struct config config;
    enum cmd_exit code;
    if (!client_settings("top [--listen HOST:PORT] [--interval S] [--once]", flags, 3, argc, argv,
                         envp, &config, &code))
        return (int)code;
    listen = client_address(&config, listen);
    code = listen ? watch(listen, interval_s, once || !isatty(STDOUT_FILENO)) : CMD_FAILED;
    config_done(&config);
    return (int)code;
}
