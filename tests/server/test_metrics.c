/* The exposition text, read back as Prometheus would.
 *
 * SPDX-License-Identifier: MIT */
#include "server/metrics.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/support_server.h"

static struct metrics *metrics;

static void setup(void)
{
    metrics = metrics_new();
    cr_assert_not_null(metrics);
}

static void teardown(void)
{
    metrics_free(metrics);
}

TestSuite(metrics, .init = setup, .fini = teardown);

/* The value of a series, -1 without it. */
static double value_of(const char *series)
{
    size_t n;
    double value = -1;
    char *text = metrics_render(metrics, &n);
    cr_assert_eq(strlen(text), n);
    char line[512];
    (void)snprintf(line, sizeof line, "\n%s ", series);
    const char *at = strstr(text, line);
    if (at)
        value = strtod(at + strlen(line), NULL);
    free(text);
    return value;
}

Test(metrics, counters_add_and_gauges_are_set_by_label)
{
    metrics_add(metrics, METRIC_IMAGES, "outcome=\"ok\",reason=\"\"", 1);
    metrics_add(metrics, METRIC_IMAGES, "outcome=\"ok\",reason=\"\"", 2);
    metrics_add(metrics, METRIC_IMAGES, "outcome=\"rejected\",reason=\"queue-full\"", 1);
    metrics_set(metrics, METRIC_READY, "", 1);
    metrics_set(metrics, METRIC_READY, "", 0);
    cr_assert_eq(value_of("resnetd_images_total{outcome=\"ok\",reason=\"\"}"), 3);
    cr_assert_eq(value_of("resnetd_images_total{outcome=\"rejected\",reason=\"queue-full\"}"), 1);
    cr_assert_eq(value_of("resnetd_ready"), 0);
    cr_assert_eq(value_of("resnetd_queue_images"), -1, "what was never used is not shown");
}

Test(metrics, histograms_are_cumulative_and_end_in_infinity)
{
    static const double sizes[] = {1, 1, 2, 3, 8, 100};
    for (size_t i = 0; i < 6; i++)
        metrics_observe(metrics, METRIC_BATCH_SIZE, "", sizes[i]);
    cr_assert_eq(value_of("resnetd_batch_size_bucket{le=\"1\"}"), 2);
    cr_assert_eq(value_of("resnetd_batch_size_bucket{le=\"2\"}"), 3);
    cr_assert_eq(value_of("resnetd_batch_size_bucket{le=\"4\"}"), 4);
    cr_assert_eq(value_of("resnetd_batch_size_bucket{le=\"8\"}"), 5);
    cr_assert_eq(value_of("resnetd_batch_size_bucket{le=\"+Inf\"}"), 6);
    cr_assert_eq(value_of("resnetd_batch_size_count"), 6);
    cr_assert_eq(value_of("resnetd_batch_size_sum"), 115);
    metrics_observe_span(metrics, METRIC_STAGE_DURATION, "stage=\"queue\"", 0, 5);
    cr_assert_eq(value_of("resnetd_stage_duration_seconds_count{stage=\"queue\"}"), -1,
                 "a span without a beginning is none");
    metrics_observe_span(metrics, METRIC_STAGE_DURATION, "stage=\"queue\"", 1000000, 21000000);
    cr_assert_eq(value_of("resnetd_stage_duration_seconds_bucket{stage=\"queue\",le=\"0.01\"}"), 0);
    cr_assert_eq(value_of("resnetd_stage_duration_seconds_bucket{stage=\"queue\",le=\"0.025\"}"),
                 1);
}

Test(metrics, a_label_cannot_end_its_quotes_or_its_line)
{
    char label[64], small[12];
    cr_assert_str_eq(metrics_label(label, sizeof label, "name", "a\"b\\c\nd"),
                     "name=\"a\\\"b\\\\c\\nd\"");
    (void)metrics_label(small, sizeof small, "name", "a long name");
    cr_assert_lt(strlen(small), sizeof small);
    cr_assert_eq(small[strlen(small) - 1], '"', "%s", small);
}

Test(metrics, every_family_has_help_and_type_once)
{
    size_t n;
    for (int id = 0; id < N_METRICS; id++)
        metrics_set(metrics, (enum metric)id, "", 0);
    char *text = metrics_render(metrics, &n);
    int helps = 0, types = 0;
    for (const char *at = text; (at = strstr(at, "# HELP ")); at++, helps++) {
        char name[128], type[256];
        cr_assert_eq(sscanf(at, "# HELP %127s", name), 1);
        (void)snprintf(type, sizeof type, "# TYPE %s ", name);
        cr_assert_not_null(strstr(text, type), "%s", name);
        cr_assert_null(strstr(strstr(text, type) + 1, type), "%s twice", name);
    }
    for (const char *at = text; (at = strstr(at, "# TYPE ")); at++)
        types++;
    cr_assert_eq(helps, types);
    cr_assert_eq(helps, N_METRICS + 4, "and the four of the process");
    free(text);
}

/* Every series that docker/ asks for: "\nNAME" with a brace or a space behind it. */
Test(metrics, dashboard_and_alerts_ask_for_what_there_is)
{
#define USE_COUNTER(id) metrics_add(metrics, id, "", 1)
#define USE_GAUGE(id) metrics_set(metrics, id, "", 1)
#define USE_HISTOGRAM(id) metrics_observe(metrics, id, "", 1)
#define METRIC(id, type, name, help, buckets) USE_##type(METRIC_##id);
#include "server/metrics.def"
#undef METRIC
    static const char *const files[] = {"docker/grafana/resnetd.json", "docker/alerts.yaml"};
    static const char *const prefixes[] = {"resnetd_", "process_"};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    size_t n_text, n_names = 0;
    char *text = metrics_render(metrics, &n_text);
    for (size_t f = 0; f < 2; f++) {
        size_t n;
        char *file = read_file(files[f], &n);
        for (size_t p = 0; p < 2; p++)
            for (const char *at = file; (at = strstr(at, prefixes[p])); n_names++) {
                char line[128];
                const int length = (int)strspn(at, letters);
                (void)snprintf(line, sizeof line, "\n%.*s", length, at);
                const char *found = strstr(text, line);
                cr_expect(found && strchr("{ ", found[length + 1]), "%s asks for %s", files[f],
                          line + 1);
                at += length;
            }
        free(file);
    }
    cr_assert_gt(n_names, 50);
    free(text);
}
