/* One line per request, to a file or to stderr.
 *
 * Loop thread only. A line that cannot be written (full pipe, full disk) is dropped and counted by
 * log_dropped(); it never holds up or ends the daemon.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_ACCESSLOG_H
#define RESNETD_SERVER_ACCESSLOG_H

#include <stdbool.h>

#include "engine/base/status.h"

struct accesslog;
struct http_exchange;
struct request;

/* `path` of a file to append to, "-" for stderr, "" for no log (*out is NULL then); `json`: an
 * object a line instead of key=value pairs. RN_IO, RN_NO_MEMORY. */
enum rn_status accesslog_open(const char *path, bool json, struct accesslog **out,
                              struct rn_error *err) __attribute__((warn_unused_result));
void accesslog_close(struct accesslog *log);

/* From on_completed. `log` NULL: nothing is written. `model` and `request` NULL where it was no
 * classification, or none that the pipeline has seen. */
void accesslog_write(struct accesslog *log, const struct http_exchange *exchange, const char *model,
                     const struct request *request);

#endif
