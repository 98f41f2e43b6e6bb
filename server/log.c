/* Events to stderr, one write a line; nothing here waits for a reader.
 *
 * Any thread: a line is built on the caller's stack, the level and the drop count are atomic.
 * Before a write the descriptor is polled: a pipe that is ready takes PIPE_BUF bytes at once, and a
 * line is never longer.
 *
 * SPDX-License-Identifier: MIT */
#include "server/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/text.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static atomic_int level_limit = LOG_INFO;
static atomic_uint_fast64_t n_dropped;

bool log_set_level(const char *name)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            atomic_store(&level_limit, i);
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load(&level_limit);
}

bool log_write_line(int fd, const char *line, size_t n)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0 &&
        write(fd, line, n) == (ssize_t)n)
        return true;
    atomic_fetch_add(&n_dropped, 1);
    return false;
}

uint64_t log_dropped(void)
{
    return atomic_load(&n_dropped);
}

void log_event(enum log_level level, const char *message, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char line[LOG_LINE_MAX];
    const size_t room = sizeof line - 1; /* for the newline */
    size_t n = (size_t)snprintf(line, room, "level=%s msg=\"%s\"%s", level_names[level], message,
                                format[0] != '\0' ? " " : "");
    if (n < room) {
        va_list args;
        va_start(args, format);
        const int more = vsnprintf(line + n, room - n, format, args);
        va_end(args);
        n += more > 0 ? (size_t)more : 0;
    }
    if (n >= room)
        n = room - 1;
    line[n] = '\0';
    for (size_t i = 0; i < n;) {
        const size_t length = text_visible(line + i);
        if (length == 0)
            line[i] = '?';
        i += length > 0 ? length : 1;
    }
    line[n++] = '\n';
    (void)log_write_line(STDERR_FILENO, line, n);
}
