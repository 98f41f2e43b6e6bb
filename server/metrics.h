/* Counters, gauges and histograms, one row each in metrics.def; Prometheus text format 0.0.4.
 *
 * Loop thread only. `labels` is the finished text between the braces, e.g. stage="decode", or ""; a
 * series begins to exist with its first use. Label values come from fixed sets, never from a
 * client.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_METRICS_H
#define RESNETD_SERVER_METRICS_H

#include <stddef.h>
#include <stdint.h>

enum metric {
#define METRIC(id, type, name, help, buckets) METRIC_##id,
#include "server/metrics.def"
#undef METRIC
    N_METRICS
};

struct metrics;
struct metrics *metrics_new(void); /* NULL when out of memory */
void metrics_free(struct metrics *metrics);

void metrics_add(struct metrics *metrics, enum metric id, const char *labels, double value);
/* n images of METRIC_IMAGES; reason: the slug of a problem, "" for none. */
void metrics_add_images(struct metrics *metrics, const char *outcome, const char *reason, int n);
void metrics_set(struct metrics *metrics, enum metric id, const char *labels, double value);
void metrics_observe(struct metrics *metrics, enum metric id, const char *labels, double value);
/* Forgets all series of a gauge. */
void metrics_clear(struct metrics *metrics, enum metric id);
/* Observes the seconds between two monotonic times; nothing when one of them is 0. */
void metrics_observe_span(struct metrics *metrics, enum metric id, const char *labels,
                          uint64_t from_ns, uint64_t to_ns);
/* key="value" into buf with the value escaped as the format wants (cut to fit); returns buf. */
const char *metrics_label(char *buf, size_t n, const char *key, const char *value);
/* The exposition text, malloc'ed; *n its length; NULL when out of memory. Adds the process_* rows.
 */
char *metrics_render(struct metrics *metrics, size_t *n);

#endif
