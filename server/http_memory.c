/* What idle connections cost. Loop thread.
 *
 * After each request the library clears the whole of a connection's pool, 32 KiB, which so becomes
 * resident however little the request needed. Whole pages of zeros can be given back unnoticed:
 * they are zeros again when they are touched.
 * The pool is malloc'ed and begins with what was read first; where that is a request line, the
 * method stands at its beginning (libmicrohttpd 0.9.75 skips empty lines before it, and of other
 * versions nothing is known here).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http_internal.h"

void http_memory_peek(struct http_conn *conn)
{
    char first;
    const struct http *http = conn->http;
    conn->at_once = http->strings_in_place && !http->options.tls &&
                    recv(conn->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first != '\r' &&
                    first != '\n';
}

void http_memory_found(struct http_conn *conn, const char *method)
{
    if (conn->at_once && conn->fresh && !conn->memory)
        conn->memory = method;
}

static bool is_zero(const char *bytes, size_t n)
{
    return bytes[0] == '\0' && memcmp(bytes, bytes + 1, n - 1) == 0;
}

bool http_memory_release(struct http_conn *conn)
{
    if (!conn->memory || conn->released)
        return false;
    conn->released = true;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t skipped =
        page - (uintptr_t)conn->memory % page; /* the first one has the request */
    const size_t n =
        skipped < HTTP_CONNECTION_MEMORY ? (HTTP_CONNECTION_MEMORY - skipped) / page * page : 0;
    const char *first = conn->memory + skipped;
    if (n == 0 || !is_zero(first, n))
        return false;
    return madvise((void *)(uintptr_t)first, n, MADV_DONTNEED) == 0;
}
