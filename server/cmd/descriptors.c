/* See descriptors.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/descriptors.h"

#include <inttypes.h>
#include <sys/resource.h>

#include "config/config.h"
#include "server/log.h"

#define OWN 48 /* loops, listeners, logs, certificates, models being loaded */

void descriptors_fit(struct config *config, int n_decoders)
{
    const rlim_t reserved = OWN + DESCRIPTORS_OPERATORS + (rlim_t)n_decoders;
    const rlim_t wanted = reserved + (rlim_t)config->max_connections;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = before;
    if (limit.rlim_cur >= wanted)
        return;
    config->max_connections = limit.rlim_cur > reserved ? (int)(limit.rlim_cur - reserved) : 1;
    log_event(LOG_WARN, "the limit on open files leaves fewer connections than configured",
              "max_connections=%d open_files=%" PRIuMAX, config->max_connections,
              (uintmax_t)limit.rlim_cur);
}
