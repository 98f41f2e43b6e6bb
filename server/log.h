/* Events for the operator: one line each on stderr, level=info msg="…" key=value.
 *
 * Any thread may log; a line is one write. A line is dropped and counted rather than the daemon
 * held up when stderr is a full pipe or a full disk. Never for request bodies.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_LOG_H
#define RESNETD_SERVER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* "error", "warn", "info", "debug"; false and no change for another word. */
bool log_set_level(const char *name);
bool log_enabled(enum log_level level);

/* `message` is a fixed text; `format` writes the key=value pairs, "" for none. Texts that a client
 * or a file chose are written as key="%s"; control characters come out as '?'. */
__attribute__((format(printf, 3, 4))) void log_event(enum log_level level, const char *message,
                                                     const char *format, ...);

/* Writes a whole line (LOG_LINE_MAX bytes at most) without waiting; false when it was dropped. */
#define LOG_LINE_MAX 4096
bool log_write_line(int fd, const char *line, size_t n);
/* Lines that log_write_line dropped since the start. */
uint64_t log_dropped(void);

#endif
